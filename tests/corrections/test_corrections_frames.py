"""Running moments: chunks and sums equal the whole; one pass over the frames of a corpus."""

from __future__ import annotations

import itertools
import sys
from contextlib import nullcontext
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from biasmir_utils.corpus import Corpus
from biasmir_utils.corrections import (
    CORAL,
    LEACE,
    DomainLDA,
    DomainWarning,
    MeanProjection,
    Moments,
    fit_to_frames,
    make_correction,
    moments_of_corpus,
)
from biasmir_utils.errors import ArgumentError, CorpusError


def damage(corpus: Corpus) -> None:
    with h5py.File(corpus.embedding_file("toy", "beta"), "r+") as content:
        content["beta/toy/features"][5, 3] = np.nan


def all_frames(corpus: Corpus, part: str | None = "train") -> tuple[Any, Any, Any]:
    """Read everything into memory: frames, domains, groups of the clips of a part."""
    X, domain, group = [], [], []
    for row in corpus.clips.itertuples():
        if part is None or row.split == part:
            found = corpus.frames("toy", row.dataset, row.clip)
            X.append(found)
            domain += [row.dataset] * len(found)
            group += [row.group if isinstance(row.group, str) else None] * len(found)
    return np.concatenate(X).astype(float), np.array(domain), np.array(group, dtype=object)


def assert_same(one: Moments, other: Moments) -> None:
    assert one.cells.keys() == other.cells.keys()
    for key, cell in one.cells.items():
        assert cell.count == other.cells[key].count
        np.testing.assert_allclose(cell.mean, other.cells[key].mean, rtol=1e-9, atol=1e-12)
        if cell.scatter is not None:
            np.testing.assert_allclose(cell.scatter, other.cells[key].scatter, rtol=1e-6)
    if one.scatter == "pooled":
        np.testing.assert_allclose(one.total_covariance(), other.total_covariance(), atol=1e-10)
    np.testing.assert_array_equal(one.largest, other.largest)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("part", ["train", "all"])
@pytest.mark.parametrize("chunk_rows", [7, 10_000])
def test_one_pass_equals_all_rows_in_memory(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch, grouped: bool, part: str, chunk_rows: int
) -> None:
    monkeypatch.setattr(sys.modules[moments_of_corpus.__module__], "CHUNK_BYTES", chunk_rows * 64)
    X, domain, group = all_frames(corpus, None if part == "all" else part)
    assert len(X) == 480 if part == "all" else 300 < len(X) < 480
    expected = Moments(8, "pooled").update(X, domain, group if grouped else None)
    found = moments_of_corpus(corpus, "toy", fit_split=part, grouped=grouped, block_rows=50)
    assert_same(found, expected)


@pytest.mark.parametrize(
    "name",
    ["leace", "leace:groups=group", "meanproj", "center", "zscore", "coral", "gaussian_ot:to=beta"],
)
def test_a_fit_to_frames_equals_a_fit_to_rows(corpus: Corpus, name: str) -> None:
    X, domain, group = all_frames(corpus)
    expected = make_correction(name).fit(
        X, sample_domain=domain, sample_group=group if "groups" in name else None
    )
    for how in (name, make_correction(name)):
        np.testing.assert_allclose(
            fit_to_frames(corpus, "toy", how).transform(X, sample_domain=domain),
            expected.transform(X, sample_domain=domain),
            atol=1e-7,
        )


def test_moments_over_dask_partitions_equal_the_serial_ones(corpus: Corpus) -> None:
    distributed = pytest.importorskip("distributed")
    serial = moments_of_corpus(corpus, "toy", grouped=True)
    # Threads of this process: the same scheduler and the same pickled tasks, started at once.
    cluster = distributed.LocalCluster(
        2, threads_per_worker=1, processes=False, dashboard_address=None
    )
    with cluster, distributed.Client(cluster) as client, client.get_executor() as executor:
        shared = moments_of_corpus(corpus, "toy", grouped=True, executor=executor, block_rows=40)
        fitted = fit_to_frames(corpus, "toy", "leace", executor=executor)
    assert_same(shared, serial)
    alone = fit_to_frames(corpus, "toy", "leace")
    np.testing.assert_allclose(fitted.left_, alone.left_, atol=1e-10)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: LEACE(given="label"),
            r"^LEACE\(given='label'\) cannot be fitted from moments, it needs all rows at once",
        ),
        (lambda: "klda", r"cannot be fitted from moments.*center, meanproj"),
        (lambda: make_correction("leace:groups=auto"), "cannot be fitted from moments"),
        (lambda: LEACE(alpha=2.0), "alpha must be"),
        (lambda: CORAL(to="gamma"), "to must be .* 'alpha', 'beta', not 'gamma'"),
    ],
)
def test_what_cannot_be_fitted_is_refused_before_the_file_is_read(
    corpus: Corpus, make: Any, message: str
) -> None:
    damage(corpus)  # a pass over the file would end in another error
    with pytest.raises(ArgumentError, match=message):
        fit_to_frames(corpus, "toy", make())


def test_bad_arguments_and_files_are_named(corpus: Corpus) -> None:
    with pytest.raises(ArgumentError, match="no embedding 'x'"):
        moments_of_corpus(corpus, "x")
    with pytest.raises(ArgumentError, match="expected train or all"):
        moments_of_corpus(corpus, "toy", fit_split="test")
    with pytest.raises(ArgumentError, match="cannot be fitted from moments"):
        fit_to_frames(corpus, "toy", DomainLDA())  # type: ignore[arg-type]
    corpus.clips["group"] = np.nan
    for correction in ("leace:groups=group", make_correction("meanproj:groups=group")):
        with pytest.raises(ArgumentError, match="names no groups"):
            fit_to_frames(corpus, "toy", correction)  # type: ignore[arg-type]
    damage(corpus)
    with pytest.raises(CorpusError, match="/beta/toy, clip 'b0002': the features hold NaN"):
        moments_of_corpus(corpus, "toy")


def test_a_dataset_without_the_embedding_is_passed_over(corpus: Corpus) -> None:
    with h5py.File(corpus.embedding_file("toy", "beta"), "r+") as content:
        del content["beta"]
    assert moments_of_corpus(Corpus.load(corpus.path), "toy").domains == ["alpha"]


def rows(n: int = 90, d: int = 4, seed: int = 0) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    domain = rng.choice(["a", "b", "c"], n, p=[0.6, 0.3, 0.1])
    group = rng.choice(["rock", "jazz", None], n)
    return rng.normal(size=(n, d)) * 3 + 1e4 + (domain == "b")[:, None], domain, group


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 90), max_size=6), st.sampled_from(["none", "variance", "domain"]))
def test_chunks_and_sums_equal_the_whole(cuts: list[int], scatter: str) -> None:
    X, domain, group = rows()
    edges = sorted({0, 90, *cuts})
    whole = Moments(4, scatter).update(X, domain, group)
    stream, total = Moments(4, scatter), Moments(4, scatter)
    for chunk in (slice(a, b) for a, b in itertools.pairwise(edges)):
        stream.update(X[chunk], domain[chunk], group[chunk])
        total = total + Moments(4, scatter).update(X[chunk], domain[chunk], group[chunk])
    for moments in (stream, total):
        assert_same(whole, moments)
        np.testing.assert_array_equal(moments.largest, np.abs(X).max(axis=0))


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("scatter", ["pooled", "domain"])
def test_covariances_are_numpys(scatter: str, grouped: bool) -> None:
    X, domain, group = rows()
    moments = Moments(4, scatter)
    for part in np.array_split(np.arange(90), 5):
        moments.update(X[part], domain[part], group[part] if grouped else None)
    np.testing.assert_allclose(moments.total_covariance(), np.cov(X.T, bias=True), rtol=1e-6)
    cell = domain.astype(str)
    if moments.grouped:
        cell = np.char.add(cell, group.astype(str))
    assert len(moments.cells) == len(np.unique(cell))
    for name in np.unique(cell):
        X[cell == name] -= X[cell == name].mean(axis=0)
    np.testing.assert_allclose(moments.within_scatter(), X.T @ X, rtol=1e-6, atol=1e-6)


NOT_YET = [
    *(("leace", ""), ("zscore", ""), ("coral:to=c", "not 'c'"), ("gaussian_ot:to=c", "not 'c'")),
    *((f"{name}:groups=group", "no group has rows of two") for name in ("meanproj", "leace")),
]


@pytest.mark.filterwarnings("ignore:group .* has no rows")
@pytest.mark.parametrize("d", [4, 120])
@pytest.mark.parametrize(("name", "not_yet"), NOT_YET)
def test_a_stream_equals_a_fit_when_its_rows_determine_it(name: str, not_yet: str, d: int) -> None:
    X, domain, _ = rows(d=d)
    order = np.argsort(domain, kind="stable")
    X, domain = X[order] - 1e4, domain[order]
    group = np.where(domain == "b", "jazz", "rock") if "groups" in name else np.full(90, None)
    stream, n = make_correction(name), int((domain == "a").sum())

    def add(part: slice, message: str, sample_domain: Any = domain) -> None:
        more = {"sample_group": group[part]} if "groups" in name else {}
        with pytest.warns(DomainWarning, match=message) if message else nullcontext():
            stream.partial_fit(X[part], sample_domain=sample_domain[part], **more)
        if message:
            np.testing.assert_array_equal(stream.transform(X, sample_domain=domain), X)

    add(slice(n), "nothing to correct")
    add(slice(n, n + 9), not_yet and f"{n + 9} rows so far do not determine.*{not_yet}")
    add(slice(n + 9, 90), "")
    whole = make_correction(name).fit(X, sample_domain=domain, sample_group=group)
    found, expected = (one.transform(X, sample_domain=domain) for one in (stream, whole))
    np.testing.assert_allclose(found, expected, atol=1e-8)
    with pytest.warns(DomainWarning, match="90 rows without sample_domain are not counted"):
        stream.partial_fit(X, sample_group=None)
    np.testing.assert_array_equal(stream.transform(X, sample_domain=domain), found)
    if "to=" in name:  # what was solved before does not stay as if it were of all rows
        add(slice(1), "91 rows so far do not determine.*domain 'd' is singular", np.array(["d"]))
        assert not hasattr(stream, "covariance_")


def test_moments_that_do_not_fit() -> None:
    X, domain, group = rows()
    one, by_domain = Moments(4).update(X, domain), Moments(4, "domain").update(X, domain)
    for wrong, message in (
        (lambda: LEACE().fit_moments(by_domain), "needs moments with scatter 'pooled', not"),
        (lambda: LEACE(given="label").fit_moments(by_domain), "needs all rows at once"),
        (lambda: LEACE().fit(X[:3], sample_domain=[*"aab"]).partial_fit(X), "has kept no moments"),
        (lambda: Moments(4, "domain").update(X, domain, group[:9]), "one label for each of the 90"),
        (lambda: Moments(4, "all"), "scatter must be one of none, variance"),
        (lambda: Moments(4).update(X[:, :3], domain), "X must have 4 features"),
        (lambda: one + Moments(3), "moments can be added that"),
        (lambda: one + by_domain, "moments can be added that"),
        (lambda: one + Moments(4).update(X, domain, group), "moments can be added that"),
        (lambda: one.update(X, domain, group), "for all chunks of rows, or for none"),
        (one.total_covariance, "have no covariance"),
    ):
        with pytest.raises(ArgumentError, match=message):
            wrong()
    assert not hasattr(LEACE(given="label"), "partial_fit")
    with pytest.warns(DomainWarning, match="nothing to correct"):
        same = MeanProjection().fit_moments(Moments(4).update(X, ["a"] * 90))
    np.testing.assert_array_equal(same.transform(X), X)
