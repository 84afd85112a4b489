"""What `data/counterfactual` promises, measured anew from what is bundled there."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import soundfile
from helpers import card_table

from biasmir_utils.corpus import Corpus
from biasmir_utils.experiments import Renderings, describe_shift, factor_shares
from design import GENRES, INSTRUMENTS
from render import COUNTERFACTUAL, PIECES, clip_table

EMBEDDINGS = ("yamnet", "musicnn", "msd_vgg", "mfcc")
DATASETS = tuple(design.name for design in COUNTERFACTUAL)


@pytest.fixture(scope="module")
def twice(repository) -> Corpus:
    return Corpus.load(repository / "data" / "counterfactual")


@pytest.fixture(scope="module")
def card(repository) -> str:
    return (repository / "data" / "counterfactual" / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def renderings(twice) -> dict[str, Renderings]:
    return {name: Renderings.of(twice, name) for name in EMBEDDINGS}


# What is in it


def test_every_piece_is_in_all_four_datasets(twice):
    assert twice.warnings == []
    assert twice.shared_tracks
    assert tuple(twice.datasets) == DATASETS
    assert twice.groups == list(GENRES)
    assert len(twice.clips) == 4 * PIECES
    for _, renderings in twice.clips.groupby("clip"):
        assert tuple(renderings["dataset"]) == DATASETS
        same = ["track", "split", "group", "tempo", "instruments", "programs", "timbre_shifts"]
        assert (renderings[[*same, *twice.labels]].nunique() == 1).all()
    assert twice.clips.groupby("track")["clip"].nunique().max() == 1


def test_the_split_has_every_genre_and_instrument(twice):
    home = twice.clips[twice.clips["dataset"] == DATASETS[0]]
    assert (home["split"] == "test").mean() == pytest.approx(0.25, abs=0.01)
    for split, fewest in (("train", 40), ("test", 12)):
        part = home[home["split"] == split]
        assert set(part["group"]) == set(GENRES)
        assert part[list(INSTRUMENTS)].sum().min() >= fewest


def test_every_clip_has_every_embedding(twice):
    assert twice.embedding_names == list(EMBEDDINGS)
    assert twice.complete(EMBEDDINGS).all()
    for name in EMBEDDINGS:
        assert np.isfinite(twice.embedding(name)).all()
        assert twice.model_record(name)["stored"]["dtype"] == "float16"


def test_the_embeddings_are_made_as_those_of_the_demo_corpus(twice, repository):
    demo = Corpus.load(repository / "data" / "demo")
    for name in EMBEDDINGS:
        ours, theirs = (dict(corpus.model_record(name)) for corpus in (twice, demo))
        for field in ("sums", "dimension", "sample_rate", "hop", "window", "parameters"):
            assert ours[field] == theirs[field], (name, field)


def test_its_home_is_the_band_of_the_demo_corpus(twice, repository):
    """Rendered and embedded in another run, the same clips come to the same numbers."""
    demo = Corpus.load(repository / "data" / "demo")
    band = demo.clips[demo.clips["dataset"] == "band"].reset_index().set_index("clip")
    home = twice.clips[twice.clips["dataset"] == DATASETS[0]].reset_index().set_index("clip")
    band = band.loc[home.index]
    # A timbre shift is cut by the range of the whole piece, which is longer there; and a note that
    # begins in the last instant of a clip is missing here, where the piece ends with it.
    same = (band["timbre_shifts"] == home["timbre_shifts"]).to_numpy()
    assert same.mean() > 0.95
    for name in EMBEDDINGS:
        theirs = demo.embedding(name)[band["index"][same]]
        ours = twice.embedding(name)[home["index"][same]]
        near = np.isclose(ours, theirs, atol=1e-3 * np.abs(theirs).max(), rtol=2e-3).all(axis=1)
        assert near.mean() > 0.99


def test_the_program_still_makes_this_table(twice):
    made = pd.concat([clip_table(design, PIECES, 1) for design in COUNTERFACTUAL])
    made = made.reset_index(drop=True).drop(columns="audio")
    pd.testing.assert_frame_equal(twice.clips[made.columns], made, check_dtype=False)


def test_it_is_small(twice):
    size = sum(file.stat().st_size for file in twice.path.rglob("*") if file.is_file())
    assert size < 5e6


def test_two_pieces_can_be_heard_in_all_four(twice):
    heard = twice.clips[twice.clips["audio"].notna()]
    assert heard.groupby("clip")["dataset"].nunique().tolist() == [4, 4]
    assert heard["group"].nunique() == 2
    for row in heard.index:
        wave, rate = soundfile.read(twice.audio_path(row))
        assert wave.shape == (10 * rate,)
        level = 20 * np.log10(np.sqrt(np.mean(wave**2)))
        assert -24 < level < -19
    files = {path.relative_to(twice.path).as_posix() for path in twice.path.rglob("*.mp3")}
    assert files == set(heard["audio"])


# What the card says


def test_card_tells_the_measured_numbers(card, renderings):
    rows = card_table(card, "embedding")
    assert tuple(rows) == EMBEDDINGS
    for name, cells in rows.items():
        found = renderings[name]
        pieces = found.pieces
        said = describe_shift(
            found.shift(DATASETS[-1]), found.X[0], pieces["lead"], pieces["track"], n_replicates=1
        ).set_index("quantity")["value"]
        shares = factor_shares(found.X, pieces["track"], n_replicates=1)
        shares = shares[shares["of"] == "single pieces"].set_index("part")["value"]
        expected = [said["size"], said["piece_size"], said["constant"], *shares]
        assert [float(cell) for cell in cells] == pytest.approx(expected, abs=0.006), name


def test_card_tells_the_sums(card, twice):
    made = {
        name.strip("`"): cells[0].strip("`") for name, cells in card_table(card, "made").items()
    }
    assert made == twice.data_sums()


def test_card_names_the_commands_that_made_it(card, twice):
    provenance = twice.description.provenance
    for command in (provenance["command"], provenance["bundle"]["command"]):
        words = re.sub(r"\b(OUT|RENDERED)\b", "", command).split()
        assert any(set(words) <= set(line.split()) for line in card.splitlines()), words
    for package, version in provenance["versions"].items():
        assert package == "biasmir_utils" or f"{package} {version}" in card


def test_licences_name_both_soundfonts(card, twice):
    for fact in twice.description.licences:
        assert fact["licence"].split()[0] in card
    for design in COUNTERFACTUAL:
        assert design.source.soundfont in card
        assert design.source.soundfont in twice.description.provenance["soundfonts"]
