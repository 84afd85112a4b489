"""What `data/demo` promises, measured anew from the embeddings that are bundled there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from helpers import card_table

from biasmir_utils.corpus import Corpus
from biasmir_utils.experiments import evaluate, probe
from design import DATASETS, GENRES, INSTRUMENTS
from render import clip_table

PRETRAINED = ("yamnet", "musicnn", "msd_vgg")
EMBEDDINGS = (*PRETRAINED, "mfcc")


@pytest.fixture(scope="module")
def demo(repository) -> Corpus:
    return Corpus.load(repository / "data" / "demo")


@pytest.fixture(scope="module")
def card(repository) -> str:
    return (repository / "data" / "demo" / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def means(demo) -> pd.Series:
    """Mean ROC-AUC over the instruments, by embedding, training set and test set."""
    results = evaluate(demo, EMBEDDINGS, jobs=1).results
    assert len(results) == len(EMBEDDINGS) * len(INSTRUMENTS) * 4
    return results.groupby(["embedding", "train_set", "test_set"])["roc_auc"].mean()


@pytest.fixture(scope="module")
def separability(demo) -> pd.Series:
    return probe(demo, EMBEDDINGS, ("linear",)).set_index("embedding")["roc_auc"]


# What it must show


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("embedding", PRETRAINED)
def test_recognisers_do_well_inside_a_dataset(means, embedding, dataset):
    assert 0.75 <= means[embedding, dataset, dataset] <= 0.98


@pytest.mark.parametrize(("test_set", "other"), [("solo", "band"), ("band", "solo")])
@pytest.mark.parametrize("embedding", PRETRAINED)
def test_they_fall_when_the_dataset_changes(means, embedding, test_set, other):
    fall = means[embedding, test_set, test_set] - means[embedding, other, test_set]
    assert fall >= 0.03


@pytest.mark.parametrize("embedding", PRETRAINED)
def test_the_datasets_are_linearly_separable(separability, embedding):
    assert separability[embedding] > 0.95


# What is in it


def test_every_instrument_has_100_positives_in_each_training_set(demo):
    train = demo.clips[demo.clips["split"] == "train"]
    positives = (train[demo.labels] >= 0.5).groupby(train["dataset"]).sum()
    assert demo.labels == list(INSTRUMENTS)
    assert positives.loc[list(DATASETS)].min().min() >= 100


def test_clips_tracks_and_split(demo):
    assert demo.warnings == []
    assert demo.groups == list(GENRES)
    for _, clips in demo.clips.groupby("dataset"):
        assert len(clips) == 1800
        assert clips.groupby("track").size().between(1, 3).all()
        assert (clips["split"] == "test").mean() == pytest.approx(0.25, abs=0.01)
        for split in ("train", "test"):
            part = clips[clips["split"] == split]
            assert set(part["group"]) == set(GENRES)
            assert ((part[demo.labels] >= 0.5).sum() > 20).all()


def test_every_clip_has_every_embedding(demo):
    assert demo.embedding_names == list(EMBEDDINGS)
    assert demo.complete(EMBEDDINGS).all()
    for name in EMBEDDINGS:
        assert demo.model_record(name)["stored"]["dtype"] == "float16"
        assert np.isfinite(demo.embedding(name)).all()


def test_the_program_still_makes_this_table(demo):
    """The rows follow from the seed: the card's first command has not gone stale."""
    made = pd.concat([clip_table(design, 1800, 1) for design in DATASETS.values()])
    made = made.reset_index(drop=True).drop(columns="audio")
    pd.testing.assert_frame_equal(demo.clips[made.columns], made, check_dtype=False)


def test_it_is_small(demo):
    size = sum(file.stat().st_size for file in demo.path.rglob("*") if file.is_file())
    assert size < 15e6


def test_listening_examples_cover_everything(demo):
    examples = demo.clips[demo.clips["audio"].notna()]
    assert len(examples) >= 40
    for dataset in DATASETS:
        mine = examples[examples["dataset"] == dataset]
        assert set(mine["group"]) == set(GENRES)
        assert ((mine[demo.labels] >= 0.5).sum() >= 1).all()
        assert set(mine["instruments"].str.split().str[0]) == set(INSTRUMENTS)
    files = {path.relative_to(demo.path).as_posix() for path in demo.path.rglob("*.mp3")}
    assert files == set(examples["audio"])


def test_listening_examples_sound_and_are_equally_loud(demo):
    levels = []
    for row in demo.clips.index[demo.clips["audio"].notna()]:
        wave, rate = soundfile.read(demo.audio_path(row))
        assert wave.shape == (DATASETS[demo.clips["dataset"][row]].seconds * rate,)
        assert np.abs(wave).max() < 1
        levels.append(20 * np.log10(np.sqrt(np.mean(wave**2))))
    assert max(levels) < -19
    assert min(levels) > -24


def test_embeddings_are_those_of_the_listening_examples(demo):
    """Embedded anew, with the gain undone, an example comes close to what is bundled."""
    from biasmir_utils.embeddings import registry

    musicnn = registry.load("musicnn")
    bundled = demo.embedding("musicnn")
    examples = demo.clips[demo.clips["audio"].notna()]
    for row in examples.groupby("dataset").head(3).index:
        wave, rate = soundfile.read(demo.audio_path(row), dtype="float32")
        wave *= 10 ** (-examples["example_gain_db"][row] / 20)
        live = musicnn.embed(wave, rate).mean(axis=0)
        assert np.corrcoef(live, bundled[row])[0, 1] > 0.98
        others = bundled[demo.clips["dataset"] == demo.clips["dataset"][row]]
        nearest = np.argmin(np.square(others - live).sum(axis=1))
        assert (others[nearest] == bundled[row]).all()


# What the card says


def test_card_tells_the_measured_numbers(card, means, separability):
    rows = card_table(card, "embedding")
    assert list(rows) == list(EMBEDDINGS)
    for embedding, cells in rows.items():
        ours = means[embedding]
        expected = [
            ours["solo", "solo"],
            ours["band", "band"],
            ours["band", "solo"],
            ours["solo", "band"],
            ours["solo", "solo"] - ours["band", "solo"],
            ours["band", "band"] - ours["solo", "band"],
            separability[embedding],
        ]
        # Another processor or library may move the last digit.
        assert [float(cell) for cell in cells] == pytest.approx(expected, abs=0.003), embedding


def test_card_tells_the_sums(card, demo):
    made = {
        name.strip("`"): cells[0].strip("`") for name, cells in card_table(card, "made").items()
    }
    assert made == demo.data_sums()
    used = {cells[0].strip("`") for cells in card_table(card, "used").values()}
    provenance = demo.description.provenance
    models = [demo.model_record(name)["sums"] for name in PRETRAINED]
    recorded = {fact["sha256"] for fact in provenance["soundfonts"].values()}
    recorded |= {value for sums in models for value in sums.values()}
    assert used == recorded


def test_card_names_the_yamnet_that_is_shared(card, shared):
    from biasmir_utils.embeddings.base import folder_sum

    assert folder_sum(Path(shared) / "models" / "yamnet") in card


def test_card_names_the_commands_that_made_it(card, demo):
    provenance = demo.description.provenance
    for command in (provenance["command"], provenance["bundle"]["command"]):
        words = re.sub(r"\b(OUT|RENDERED)\b", "", command).split()
        assert any(set(words) <= set(line.split()) for line in card.splitlines()), words
    for name in EMBEDDINGS:
        assert re.search(rf"^biasmir extract rendered --embedding .*\b{name}\b", card, re.M)
    for package, version in provenance["versions"].items():
        assert package == "biasmir_utils" or f"{package} {version}" in card
