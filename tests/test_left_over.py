"""What a correction leaves where it was fitted, and on fresh clips."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from biasmir_utils.corpus import Corpus, CorpusWriter, Target, write_embedding_file
from biasmir_utils.corrections import make_correction
from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments import left_over
from biasmir_utils.experiments.separability import mean_gap, quiet_dimensions

N, D = 240, 6


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    """Two datasets that are shifted apart; the last dimension is silent but for two clips."""
    folder = tmp_path_factory.mktemp("left_over") / "corpus"
    rng = np.random.default_rng(0)
    parts, features = [], {}
    for number, dataset in enumerate(("a", "b")):
        clip = [f"{dataset}{i}" for i in range(N)]
        split = np.where(np.arange(N) % 3 == 0, "test", "train")
        parts.append(
            pd.DataFrame(
                {
                    "dataset": dataset,
                    "clip": clip,
                    "track": clip,
                    "split": split,
                    "cello": rng.integers(0, 2, N).astype(float),
                }
            )
        )
        X = rng.normal(size=(N, D)) * np.linspace(1, 3, D) + 2.0 * number
        X[:, -1] = 0.0
        X[np.flatnonzero(split == "train")[:2], -1] = 5.0 * number
        features[dataset] = (clip, X.astype(np.float32))
    writer = CorpusWriter(
        folder,
        name="toy",
        title="Toy",
        datasets=["a", "b"],
        groups=[],
        targets=[Target("cello", "label")],
        provenance={},
        licences=[],
    )
    writer.write(pd.concat(parts, ignore_index=True))
    file = folder / "embeddings" / "toy.h5"
    file.parent.mkdir(exist_ok=True)
    write_embedding_file(file, "toy", features)
    corpus = Corpus.load(folder)
    corpus.add_embedding_file(file)
    return Corpus.load(folder)


def test_quiet_dimensions_have_one_value_in_most_rows():
    X = np.random.default_rng(0).normal(size=(100, 4))
    X[:, 1] = 7.0
    X[4:, 2] = -0.1
    X[6:, 3] = 0.0
    assert quiet_dimensions(X).tolist() == [False, True, True, False]
    assert quiet_dimensions(X, 0.5).tolist() == [False, True, True, True]


def test_gaps_are_those_of_the_corrected_clips(corpus):
    table = left_over(corpus, "toy", ["none", "leace"]).set_index("correction")
    clips = corpus.clips
    train, domain = (clips["split"] == "train").to_numpy(), clips["dataset"].to_numpy(str)
    X = corpus.embedding("toy").astype(float)
    after = make_correction("leace").fit(X[train], sample_domain=domain[train]).transform(X)
    assert table.loc["none", "fresh_gap"] == pytest.approx(mean_gap(X[~train], domain[~train]))
    assert table.loc["leace", "fresh_gap"] == pytest.approx(mean_gap(after[~train], domain[~train]))
    assert table.loc["leace", "fitted_gap"] == pytest.approx(0, abs=1e-9)
    assert table.loc["none", "fitted_gap"] > 0.5
    assert (table["chance_gap"] < 0.5).all()
    assert table["clips"].eq(train.sum()).all()


def test_the_chance_gap_is_that_of_permuted_datasets(corpus):
    table = left_over(corpus, "toy", ["none", "leace"]).set_index("correction")
    clips = corpus.clips
    train, domain = (clips["split"] == "train").to_numpy(), clips["dataset"].to_numpy(str)
    X = corpus.embedding("toy").astype(float)
    leace = make_correction("leace").fit(X[train], sample_domain=domain[train])
    rng = np.random.default_rng(7)
    for name, rows in (("none", X), ("leace", leace.transform(X))):
        fresh = rows[~train]
        drawn = [mean_gap(fresh, rng.permutation(domain[~train])) for _ in range(300)]
        # The mean of 20 permutations against that of 300.
        error = np.std(drawn) * np.sqrt(1 / 20 + 1 / 300)
        assert table.loc[name, "chance_gap"] == pytest.approx(np.mean(drawn), abs=3 * error)
        assert np.mean(drawn) > 5 * error


def test_a_quiet_dimension_tells_the_dataset_after_centring(corpus):
    with_it = left_over(corpus, "toy", ["center"])
    without = left_over(corpus, "toy", ["center"], without_quiet=True)
    assert (with_it["dimensions"].item(), without["dimensions"].item()) == (D, D - 1)
    assert with_it["fresh_probe"].item() > 0.95
    assert without["fresh_probe"].item() < 0.75


def test_more_clips_leave_less(corpus):
    table = left_over(corpus, ["toy"], "leace", sizes=[16, 320], without_quiet=True)
    assert table["clips"].tolist() == [16, 320]
    few, many = table["fresh_gap"]
    assert many < few


def test_the_seed_decides(corpus):
    once, again, other = (left_over(corpus, "toy", "lda", sizes=[40], seed=s) for s in (1, 1, 2))
    pd.testing.assert_frame_equal(once, again)
    assert once["fresh_gap"].item() != other["fresh_gap"].item()
    # A random subspace, too, unless it is told its own seed.
    drawn = [left_over(corpus, "toy", "random", seed=s)["fresh_gap"].item() for s in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    told = left_over(corpus, "toy", "random:random_state=1", seed=2)["fresh_gap"].item()
    assert told == pytest.approx(drawn[0])


def test_too_large_a_size_is_refused(corpus):
    with pytest.raises(ArgumentError, match="there are 320 training clips"):
        left_over(corpus, "toy", "lda", sizes=[321])
