"""The same music with two SoundFonts and two productions: only these two differ."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
import soundfile
from helpers import run_demo

from biasmir_utils.corpus import Corpus, CorpusWriter
from biasmir_utils.corpus.embedding_file import write_embedding_file
from biasmir_utils.errors import ArgumentError
from bundle import choose_pieces, write_bundle
from compose import compose
from design import BAND, GENRES, INSTRUMENTS, SOLO, draw_tracks
from production import draw_production
from render import (
    COUNTERFACTUAL,
    TARGETS,
    Task,
    clip_table,
    render_corpus,
    render_counterfactual,
    render_stages,
)
from synth import timbre_shifts

SEED, FEW = 3, 3
HOME, OTHER_FONT, OTHER_CHAIN, BOTH = COUNTERFACTUAL


def tables(pieces: int, seed: int = SEED) -> list[pd.DataFrame]:
    return [clip_table(design, pieces, seed) for design in COUNTERFACTUAL]


# Plans and notes


def test_all_combinations_of_soundfont_and_chain():
    found = [(design.source.soundfont, design.production) for design in COUNTERFACTUAL]
    fonts = (BAND.source.soundfont, SOLO.source.soundfont)
    expected = [(f, chain) for chain, f in product((BAND.production, SOLO.production), fonts)]
    assert found == expected
    assert len({design.name for design in COUNTERFACTUAL}) == 4
    for design in COUNTERFACTUAL:
        undone = replace(design, name=HOME.name, source=HOME.source, production=HOME.production)
        assert undone == HOME, "nothing else differs"


def test_the_same_notes_in_all_four():
    """Every event: parts, programs, notes with times and velocities, timbre shifts, entries."""
    listed = [draw_tracks(design, 60, SEED) for design in COUNTERFACTUAL]
    assert all(tracks == listed[0] for tracks in listed)
    assert all(track.clips == 1 for track in listed[0])
    for track in listed[0]:
        home = compose(HOME, track, SEED)
        shifts = timbre_shifts(home, HOME.source, SEED)
        assert sum(len(part.notes) for part in home.parts) > 0
        for design in COUNTERFACTUAL[1:]:
            piece = compose(design, track, SEED)
            assert piece == home
            assert timbre_shifts(piece, design.source, SEED) == shifts
            for part in range(len(home.parts)):
                assert piece.heard(0, part, before=1.0) == home.heard(0, part, before=1.0)


def test_the_chain_is_drawn_for_the_piece():
    """The same random numbers, read by two chains; the SoundFont has no say in it."""
    for track in draw_tracks(HOME, 40, SEED):
        home, font, chain, both = (
            draw_production(design.production, track, SEED) for design in COUNTERFACTUAL
        )
        assert (home.room, home.equaliser_db) == (font.room, font.equaliser_db)
        assert repr(home) == repr(font)
        assert repr(chain) == repr(both)
        assert home.room == chain.room
        ratio = SOLO.production.equaliser_sd / BAND.production.equaliser_sd
        np.testing.assert_allclose(np.multiply(home.equaliser_db, ratio), chain.equaliser_db)
        low, high = BAND.production.level_db
        other_low, other_high = SOLO.production.level_db
        place = (home.level_db - low) / (high - low)
        assert place == pytest.approx((chain.level_db - other_low) / (other_high - other_low))


def test_the_tables_differ_by_sound_only():
    home, *others = tables(80)
    sound = {"dataset", "audio", "soundfont"}
    chain = {
        *("equaliser_db", "reverb_seconds", "reverb_wet", "highpass_hz", "lowpass_hz"),
        *("level_db", "saturated", "noise_db", "codec", "codec_compression"),
    }
    for other, design in zip(others, COUNTERFACTUAL[1:], strict=True):
        differ = {
            name for name in home if not home[name].astype(str).equals(other[name].astype(str))
        }
        same_font = design.source == HOME.source
        same_chain = design.production == HOME.production
        expected = sound - ({"soundfont"} if same_font else set())
        assert differ == expected | (set() if same_chain else chain)


def test_labels_are_what_is_played():
    table = tables(80)[0]
    for _, row in table.iterrows():
        assert [name for name in INSTRUMENTS if row[name] == 1] == sorted(
            row["instruments"].split()
        )
        assert set(row[list(INSTRUMENTS)]) <= {0.0, 1.0}


def test_the_pieces_are_first_clips_of_the_tracks_of_band():
    ours = tables(120)[0].set_index("clip")
    demo = clip_table(BAND, 400, SEED).set_index("clip").loc[ours.index]
    for column in ("track", "group", "instruments", "programs", "tempo", "start", "level_db"):
        assert ours[column].equals(demo[column]), column


# Sound


@pytest.fixture(scope="module")
def rendered(soundfonts, tmp_path_factory) -> Corpus:
    folder = tmp_path_factory.mktemp("counterfactual") / "corpus"
    return render_counterfactual(folder, pieces=FEW, seed=SEED, progress=False)


def sound(corpus: Corpus, dataset: str) -> dict[str, np.ndarray]:
    rows = corpus.clips.index[corpus.clips["dataset"] == dataset]
    return {
        corpus.clips["clip"][row]: soundfile.read(corpus.audio_path(row), dtype="float32")[0]
        for row in rows
    }


def test_each_piece_is_there_four_times(rendered):
    assert rendered.datasets == [design.name for design in COUNTERFACTUAL]
    assert rendered.shared_tracks
    assert len(rendered.clips) == 4 * FEW
    assert (rendered.clips.groupby("clip")["dataset"].nunique() == 4).all()
    waves = [sound(rendered, name) for name in rendered.datasets]
    for clip in waves[0]:
        assert {wave[clip].shape for wave in waves} == {waves[0][clip].shape}
        for i, one in enumerate(waves):
            assert not any(np.array_equal(one[clip], other[clip]) for other in waves[i + 1 :])


def test_its_home_is_band(rendered, soundfonts, tmp_path):
    """What plays and processes as `band` does gives the samples of `band`."""
    band = replace(BAND, clips_per_track=(1.0,))
    proper = render_corpus(tmp_path / "b", clips=FEW, seed=SEED, designs=[band], progress=False)
    expected, found = sound(proper, "band"), sound(rendered, HOME.name)
    assert expected.keys() == found.keys()
    for clip, wave in expected.items():
        np.testing.assert_array_equal(wave, found[clip])


def test_the_dry_mix_does_not_know_the_chain(soundfonts):
    track = draw_tracks(HOME, 1, SEED)[0]

    def dry(design):
        task = Task(design, track, 0, soundfonts[design.source.soundfont], SEED)
        return next(wave for name, wave in render_stages(task) if name == "dry")

    np.testing.assert_array_equal(dry(HOME), dry(OTHER_CHAIN))
    np.testing.assert_array_equal(dry(OTHER_FONT), dry(BOTH))
    assert not np.array_equal(dry(HOME), dry(OTHER_FONT))


def test_command(soundfonts, tmp_path):
    out = tmp_path / "c"
    result = run_demo(out, "--counterfactual", "--clips", 1, "--jobs", 1, "--seed", SEED)
    assert result.returncode == 0, result.stderr
    corpus = Corpus.load(out)
    assert corpus.name == "counterfactual"
    assert corpus.description.provenance["command"] == (
        f"python data/make/demo.py OUT --counterfactual --clips 1 --seed {SEED}"
    )
    assert HOME.name in result.stdout


# The bundle


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> Corpus:
    """A corpus of noise in the place of music."""
    folder = tmp_path_factory.mktemp("full") / "corpus"
    writer = CorpusWriter(
        folder,
        name="counterfactual",
        title="Noise",
        datasets=[design.name for design in COUNTERFACTUAL],
        groups=list(GENRES),
        targets=list(TARGETS),
        provenance={"seed": SEED},
        licences=[{"what": "everything", "licence": "CC BY 4.0"}],
        shared_tracks=True,
    )
    corpus = writer.write(pd.concat(tables(40), ignore_index=True))
    rng = np.random.default_rng(0)
    for row in corpus.clips.index:
        file = corpus.audio_path(row)
        file.parent.mkdir(parents=True, exist_ok=True)
        wave = np.clip(rng.normal(0, 0.1, 4410), -0.9, 0.9)
        vorbis = {"format": "OGG", "subtype": "VORBIS"} if file.suffix == ".ogg" else {}
        soundfile.write(file, wave, 44_100, **vorbis)
    content = {
        name: (part["clip"].tolist(), rng.normal(0, 1, (len(part), 4)))
        for name, part in corpus.clips.groupby("dataset")
    }
    file = folder / "embeddings" / "toy.h5"
    write_embedding_file(file, "toy", content)
    return corpus.add_embedding_file(file, {"toy": {"source": "noise"}}, made_here=True)


def test_pieces_to_listen_to_are_heard_in_all_four(full):
    chosen = full.clips.loc[choose_pieces(full, 4)]
    assert len(chosen) == 16
    assert set(chosen.groupby("clip")["dataset"].nunique()) == {4}
    assert set(chosen["group"]) == set(GENRES)
    assert chosen["instruments"].str.split().str.len().max() <= 2
    assert chosen["instruments"].str.split().str[0].nunique() == 4
    assert len(choose_pieces(full, 1000)) == len(full.clips)


def test_bundle_of_pieces(full, tmp_path):
    result = run_demo(tmp_path / "b", "--bundle", full.path, "--pieces", 2, "--quiet")
    assert result.returncode == 0, result.stderr
    bundle = Corpus.load(tmp_path / "b")
    assert bundle.shared_tracks
    heard = bundle.clips[bundle.clips["audio"].notna()]
    assert len(heard) == 8
    assert all(bundle.audio_path(row).is_file() for row in heard.index)
    record = bundle.description.provenance["bundle"]
    assert record["command"] == "python data/make/demo.py OUT --bundle RENDERED --pieces 2"
    assert record["pieces_to_listen_to"] == 2


def test_corpora_without_pairs_and_numbers_that_make_no_sense_are_refused(full, tmp_path):
    with pytest.raises(ArgumentError, match="expected 1 or more, got 0"):
        write_bundle(full, tmp_path / "out", pieces=0, progress=False)
    clips = full.clips.drop(index=full.clips.index[-1])
    unpaired = CorpusWriter(
        tmp_path / "unpaired",
        name="counterfactual",
        title="Noise",
        datasets=full.datasets,
        groups=list(GENRES),
        targets=list(TARGETS),
        provenance={},
        licences=[],
    ).write(clips)
    with pytest.raises(ArgumentError, match="do not hold the same pieces"):
        choose_pieces(unpaired, 2)
