"""Moments of a corpus in one pass over its frames, in one process or in several."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from biasmir_utils.corpus import Corpus
from biasmir_utils.corrections import (
    CORAL,
    LEACE,
    DomainLDA,
    Moments,
    fit_to_frames,
    make_correction,
    moments_of_corpus,
)
from biasmir_utils.errors import ArgumentError, CorpusError


@pytest.fixture
def corpus(tiny_corpus: Path) -> Corpus:
    return Corpus.load(tiny_corpus)


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
    assert one.grouped == other.grouped
    for key, cell in one.cells.items():
        assert cell.count == other.cells[key].count
        np.testing.assert_allclose(cell.mean, other.cells[key].mean, rtol=1e-9, atol=1e-12)
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
    expected = Moments(8, "domain").update(X, domain, group if grouped else None)
    found = moments_of_corpus(
        corpus, "toy", scatter="domain", fit_split=part, grouped=grouped, block_rows=50
    )
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
    found = fit_to_frames(corpus, "toy", name)
    np.testing.assert_allclose(
        found.transform(X, sample_domain=domain),
        expected.transform(X, sample_domain=domain),
        atol=1e-7,
    )


def test_moments_over_dask_partitions_equal_the_serial_ones(corpus: Corpus) -> None:
    distributed = pytest.importorskip("distributed")
    serial = moments_of_corpus(corpus, "toy", grouped=True)
    # Threads of this process: the same scheduler and the same pickled tasks, started at once.
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
        client.get_executor() as executor,
    ):
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
        (lambda: make_correction("meanproj:given=group"), "cannot be fitted from moments"),
        (lambda: "klda", r"cannot be fitted from moments.*center, meanproj"),
        (lambda: make_correction("leace:groups=auto"), "cannot be fitted from moments"),
        (lambda: LEACE(alpha=2.0), "alpha must be"),
        (lambda: CORAL(to="gamma"), "to must be .* 'alpha', 'beta', not 'gamma'"),
        (lambda: "coral:to=gamma", "to must be .* 'alpha', 'beta', not 'gamma'"),
    ],
)
def test_what_cannot_be_fitted_is_refused_before_the_file_is_read(
    corpus: Corpus, make: Any, message: str
) -> None:
    file = corpus.embedding_file("toy", "beta")
    assert file is not None
    with h5py.File(file, "r+") as content:  # a pass over it would end in another error
        content["beta/toy/features"][5, 3] = np.nan
    with pytest.raises(ArgumentError, match=message):
        fit_to_frames(corpus, "toy", make())


@pytest.mark.parametrize("name", ["leace:groups=group", "meanproj:groups=group"])
def test_what_was_made_with_groups_is_fitted_with_them(corpus: Corpus, name: str) -> None:
    X, domain, group = all_frames(corpus)
    made = fit_to_frames(corpus, "toy", make_correction(name))
    expected = make_correction(name).fit(X, sample_domain=domain, sample_group=group)
    np.testing.assert_allclose(made.transform(X), expected.transform(X), atol=1e-7)
    corpus.clips["group"] = np.nan
    for correction in (name, make_correction(name)):
        with pytest.raises(ArgumentError, match="names no groups"):
            fit_to_frames(corpus, "toy", correction)


def test_bad_arguments_and_files_are_named(corpus: Corpus) -> None:
    with pytest.raises(ArgumentError, match="no embedding 'x'"):
        moments_of_corpus(corpus, "x")
    with pytest.raises(ArgumentError, match="expected train or all"):
        moments_of_corpus(corpus, "toy", fit_split="test")
    with pytest.raises(ArgumentError, match="cannot be fitted from moments"):
        fit_to_frames(corpus, "toy", DomainLDA())  # type: ignore[arg-type]
    file = corpus.embedding_file("toy", "beta")
    assert file is not None
    with h5py.File(file, "r+") as content:
        content["beta/toy/features"][5, 3] = np.nan
    with pytest.raises(CorpusError, match="/beta/toy, clip 'b0002': the features hold NaN"):
        moments_of_corpus(corpus, "toy")


def test_a_dataset_without_the_embedding_is_passed_over(corpus: Corpus, tmp_path: Path) -> None:
    description = json.loads((corpus.path / "corpus.json").read_text())
    file = corpus.embedding_file("toy", "beta")
    assert file is not None
    with h5py.File(file, "r+") as content:
        del content["beta"]
    assert description["datasets"] == ["alpha", "beta"]
    moments = moments_of_corpus(Corpus.load(corpus.path), "toy")
    assert moments.domains == ["alpha"]
