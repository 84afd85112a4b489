"""Corrections judged on test clips: which clips, and exact values of what is told of each."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from biasmir_utils.corrections import make_correction, parse_correction
from biasmir_utils.experiments import MAX_CLIPS
from biasmir_utils.experiments import separability as judging
from biasmir_utils.experiments.protocol import DatasetClips, FeatureSpace
from biasmir_utils.experiments.separability import (
    DISTANCE_PERMUTATIONS,
    PROBE_PERMUTATIONS,
    dataset_distances,
    dataset_probes,
    measure_corrections,
    probe_scale,
    tracks_to_judge,
)

SEED = 42


def clips_of(name: str, tracks: list[str], n_train: int = 0, shared: bool = False) -> DatasetClips:
    """A dataset of training clips, and a test clip for each of some tracks."""
    n = n_train + len(tracks)
    return DatasetClips(
        name=name,
        index=np.arange(n),
        clips=np.array([f"{name}{i:04}" for i in range(n)], dtype=object),
        tracks=np.array([*(f"train{i}" for i in range(n_train)), *tracks], dtype=object),
        groups=np.zeros(n, dtype=np.intp),
        is_train=np.arange(n) < n_train,
        labels={},
        shared_tracks=shared,
    )


def judged(pair, X, corrections=("none",), label="piano"):
    """What is told of corrections that are fitted on the training rows."""
    train = [rows[clips.is_train] for clips, rows in zip(pair, X, strict=True)]
    domain = np.repeat([clips.name for clips in pair], [len(rows) for rows in train])
    fitted = {}
    for text in corrections:
        spec = parse_correction(text)
        made = None
        if spec.corrects:
            made = make_correction(spec).fit(np.concatenate(train), sample_domain=domain)
        fitted[spec, "global"] = made
    found = {}
    space = FeatureSpace(train, None)
    for (spec, _), row in measure_corrections(space, fitted, pair, X, SEED, label):
        found[str(spec), row["measure"]] = row
    return found


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def test_all_clips_are_judged_where_they_are_few():
    clips = clips_of("a", ["t"] * 7, n_train=5)
    rows = np.arange(5, 12)
    np.testing.assert_array_equal(tracks_to_judge(clips, rows, 7, SEED), rows)


def test_of_many_clips_whole_tracks_are_judged():
    tracks = [f"t{i // 3}" for i in range(300)]
    clips = clips_of("a", tracks, n_train=10)
    rows = np.arange(10, 310)
    chosen = tracks_to_judge(clips, rows, 100, SEED)
    assert len(chosen) == 99
    assert (np.diff(chosen) > 0).all()
    assert chosen.min() >= 10
    names, counts = np.unique(clips.tracks[chosen].astype(str), return_counts=True)
    assert (counts == 3).all()
    np.testing.assert_array_equal(tracks_to_judge(clips, rows, 100, SEED), chosen)
    other = np.unique(clips.tracks[tracks_to_judge(clips, rows, 100, 1)].astype(str))
    assert set(other) != set(names)


def test_a_first_track_that_is_too_long_is_cut():
    clips = clips_of("a", [f"t{i // 450}" for i in range(900)])
    chosen = tracks_to_judge(clips, np.arange(900), 300, SEED)
    assert len(np.unique(chosen)) == 300
    assert (np.diff(chosen) > 0).all()
    assert len(set(clips.tracks[chosen])) == 1
    # Drawn from all of the track, not its beginning.
    assert np.ptp(chosen) > 400


def test_datasets_of_a_few_long_recordings_are_judged():
    pair = [
        clips_of("a", [f"t{i // 450}" for i in range(900)], n_train=50),
        clips_of("b", [f"t{i}" for i in range(40)], n_train=50),
    ]
    X = [normal(0, 950, 4), normal(1, 90, 4) + 1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = judged(pair, X)
    # Of one track a probe cannot hold anything out.
    assert np.isnan(found["none", "linear_probe"]["value"])
    assert found["none", "mean_gap"]["value"] > 0.5
    # Nor are there pairs of clips of different tracks.
    assert np.isnan(found["none", "mmd2"]["value"])


@pytest.mark.parametrize("n", [8, 250])
def test_of_datasets_with_the_same_tracks_the_same_ones_are_judged(n):
    """However many clips each has of a track, and whatever else it has."""
    few, many = [f"t{i}" for i in range(n)], [f"t{i // 2}" for i in range(900)]
    pair = [clips_of("a", few, shared=True), clips_of("b", many, shared=True)]
    signal = normal(0, 450, 3)
    X = [signal[:n], np.repeat(signal, 2, axis=0)]
    found = judged(pair, X)
    # Equal rows of equal tracks: as near as can be.
    assert found["none", "mean_gap"]["value"] == pytest.approx(0, abs=1e-12)
    assert len(tracks_to_judge(pair[1], np.arange(900), MAX_CLIPS, SEED)) == 300


@pytest.fixture(scope="module")
def two():
    """Two datasets far apart, and what is told of corrections of them."""
    names = [[f"t{i // 2}" for i in range(60)]] * 2
    pair = [clips_of(name, own, n_train=80) for name, own in zip("ab", names, strict=True)]
    X = [normal(2, 140, 6), normal(3, 140, 6) + np.array([3, 1, 0, 0, 0, 0])]
    corrections = [
        "none",
        "lda",
        "leace",
        "center",
        "random:rank=3",
        "leace:alpha=0.5",
        "lda:alpha=0",
    ]
    return pair, X, judged(pair, X, corrections)


def test_rank_and_controls_are_those_of_each_correction(two):
    found = two[2]
    told = {
        name: (row["value"], found[name, "variance_moved"]["control"])
        for (name, measure), row in found.items()
        if measure == "rank"
    }
    unknown = pytest.approx(np.nan, nan_ok=True)
    assert told == {
        "none": (0, unknown),
        "lda": (1, pytest.approx(1 / 6)),
        "leace": (1, pytest.approx(1 / 6)),
        "center": (0, unknown),
        "random:rank=3": (3, pytest.approx(3 / 6)),
        "leace:alpha=0.5": (1, pytest.approx(1 / 24)),
        "lda:alpha=0": (0, unknown),
    }
    kept = found["leace:alpha=0.5", "variance_kept"]
    assert kept["control"] == pytest.approx(1 - 0.75 / 6)


def test_chance_is_that_of_the_corrected_rows_but_for_the_probes(two):
    pair, X, found = two
    test = np.concatenate([rows[80:] for rows in X])
    domain = np.repeat(["a", "b"], 60)
    track = np.concatenate([clips.tracks[80:] for clips in pair])
    train = np.concatenate([rows[:80] for rows in X])
    leace = make_correction("leace").fit(train, sample_domain=np.repeat(["a", "b"], 80))
    before, after = (
        dataset_probes(
            *(rows, domain, track),
            n_permutations=PROBE_PERMUTATIONS,
            scale=probe_scale(test),
            seed=SEED,
        )
        | dataset_distances(
            *(rows, domain, track),
            n_permutations=DISTANCE_PERMUTATIONS,
            seed=[SEED, *b"piano"],
        )
        for rows in (test, leace.transform(test))
    )
    for measure in before:
        for name, own in (("none", before), ("leace", after)):
            row = found[name, measure]
            chance = before if measure.endswith("probe") else own
            assert row["value"] == own[measure].value
            assert row["chance"] == chance[measure].chance
            assert row["chance_high"] == chance[measure].chance_high
            assert row["chance"] < row["chance_high"]
    for measure in ("mean_gap", "mmd2"):
        assert found["none", measure]["chance_high"] != found["leace", measure]["chance_high"]


def test_uncorrected_rows_are_probed_once(two, monkeypatch):
    pair, X, _ = two
    monkeypatch.setattr(judging, "_MEASURED", {})
    asked = []
    monkeypatch.setattr(
        judging, "dataset_probes", lambda *a, **k: asked.append(k) or dataset_probes(*a, **k)
    )
    first, again = judged(pair, X), judged(pair, X)
    assert len(asked) == 1
    np.testing.assert_equal(first, again)
    # Other rows, another seed: measured anew.
    other = judged(pair, [X[0], X[1] + 1])
    assert len(asked) == 2
    assert other["none", "mean_gap"] != first["none", "mean_gap"]
    spec = (parse_correction("none"), "none")
    list(measure_corrections(FeatureSpace([x[:80] for x in X], None), {spec: None}, pair, X, 1))
    assert len(asked) == 3


def test_the_chance_of_distances_is_drawn_anew_for_each_label(two):
    pair, X, found = two
    other = judged(pair, X, label="voice")
    for measure in ("mean_gap", "mmd2"):
        one, another = found["none", measure], other["none", measure]
        assert one["value"] == another["value"]
        assert one["chance"] != another["chance"]
