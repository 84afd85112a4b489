"""The demo corpus as plans and notes: nothing here needs a SoundFont."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from biasmir_utils.corpus import Corpus, CorpusWriter
from compose import CHORD_PATTERNS, compose
from design import (
    BAND,
    DATASETS,
    GENRES,
    INSTRUMENTS,
    PLAYERS,
    SOLO,
    STYLES,
    LabelDesign,
    draw_track,
    draw_tracks,
    stream,
)
from production import (
    PEAK,
    STEPS,
    draw_production,
    encode,
    master,
    pass_codec,
    rms,
    stages,
)
from render import TARGETS, clip_table, draw_labels, draw_split
from synth import (
    MAX_SHIFT,
    SAMPLE_RATE,
    active_rms,
    scaled,
    timbre_shifts,
)

designs = st.sampled_from(list(DATASETS.values()))
seeds = st.integers(0, 2**40)
quick = settings(max_examples=40, deadline=None)


# Random streams


def test_streams_are_named():
    assert stream(1, "a", 2).random() == stream(1, "a", 2).random()
    others = [stream(2, "a", 2), stream(1, "a", 3), stream(1, "b", 2), stream(1, "a")]
    assert len({stream(1, "a", 2).random(), *(rng.random() for rng in others)}) == 5


# Tracks and splits


@quick
@given(designs, seeds, st.integers(1, 60))
def test_tracks_hold_the_number_of_clips_asked_for(design, seed, n_clips):
    tracks = draw_tracks(design, n_clips, seed)
    assert sum(track.clips for track in tracks) == n_clips
    assert all(1 <= track.clips <= 3 for track in tracks)
    for track in tracks:
        assert track.genre in GENRES
        assert 1 <= len(track.instruments) <= len(design.ensemble)
        assert len(set(track.instruments)) == len(track.instruments)


def test_a_track_does_not_depend_on_how_many_there_are():
    few, many = draw_tracks(BAND, 10, 5), draw_tracks(BAND, 50, 5)
    assert many[: len(few) - 1] == few[:-1]


@quick
@given(designs, seeds, st.integers(40, 300))
def test_split_is_a_quarter_of_the_tracks_and_has_each_instrument(design, seed, n_clips):
    tracks = draw_tracks(design, n_clips, seed)
    splits = draw_split(design, tracks, seed)
    leads = {
        instrument: [
            split
            for track, split in zip(tracks, splits, strict=True)
            if track.instruments[0] == instrument
        ]
        for instrument in INSTRUMENTS
    }
    for sets in leads.values():
        assert len(sets) < 2 or set(sets) == {"train", "test"}
    moved = sum(len(sets) < 4 for sets in leads.values())  # by the rule above, at most
    assert abs(splits.count("test") - len(tracks) / 4) <= 1 + moved


def test_the_two_datasets_differ_in_which_instruments_a_genre_has():
    for design in (SOLO, BAND):
        joint = design.joint_weights()
        assert joint.shape == (len(GENRES), len(INSTRUMENTS))
        assert joint.sum() == pytest.approx(1)
    assert np.abs(SOLO.joint_weights() - BAND.joint_weights()).sum() > 0.4


# Notes


@quick
@given(designs, seeds, st.integers(0, 500))
def test_pieces_can_be_played(design, seed, number):
    track = draw_track(design, number, seed)
    piece = compose(design, track, seed)
    slowest, fastest = STYLES[track.genre].tempo
    assert slowest <= piece.tempo <= fastest
    assert [part.name for part in piece.parts if part.labelled] == list(track.instruments)
    for part in piece.parts:
        starts = [note.start for note in part.notes]
        assert starts == sorted(starts)
        assert all(0 <= note.start < note.end for note in part.notes)
        assert all(1 <= note.velocity <= 127 for note in part.notes)
        if part.labelled:
            lowest, highest = PLAYERS[part.name].range(part.program)
            assert all(lowest <= note.key <= highest for note in part.notes)
        # A note-off silences all notes of its key: notes of one key must not overlap.
        for key in {note.key for note in part.notes}:
            same = [note for note in part.notes if note.key == key]
            assert all(a.end <= b.start for a, b in pairwise(same))


@quick
@given(designs, seeds, st.integers(0, 500))
def test_every_labelled_instrument_is_heard_in_every_clip(design, seed, number):
    track = draw_track(design, number, seed)
    piece = compose(design, track, seed)
    for clip in range(track.clips):
        for part, name in enumerate(track.instruments):
            notes = piece.heard(clip, part)
            assert sum(note.end - note.start for note in notes) >= 0.4, name
            assert all(0 <= note.start < note.end <= piece.seconds for note in notes)
        keys = [note.key for note in piece.heard(clip, 0)]
        assert min(keys) - 1e-9 <= piece.mean_pitch(clip) <= max(keys) + 1e-9


@quick
@given(designs, seeds, st.integers(0, 500))
def test_clips_of_a_track_do_not_overlap(design, seed, number):
    piece = compose(design, draw_track(design, number, seed), seed)
    assert all(b - a >= design.seconds for a, b in pairwise(piece.starts))


def test_late_entries_are_silent_before_they_enter():
    late = 0
    for number in range(60):
        track = draw_track(BAND, number, 3)
        piece = compose(BAND, track, 3)
        for clip in range(track.clips):
            for part, entry in enumerate(piece.entries[clip]):
                notes = piece.heard(clip, part, before=1.0)
                if entry > 0:
                    late += 1
                    assert part > 0
                    assert min(note.start for note in notes) >= entry
    assert late > 10


def test_notes_do_not_depend_on_sound_source_and_production():
    """The counterfactual: the same music, twice."""
    other = replace(BAND, name="other", source=SOLO.source, production=SOLO.production)
    for number in range(20):
        track = draw_track(BAND, number, 8)
        assert draw_track(other, number, 8) == track
        assert compose(other, track, 8) == compose(BAND, track, 8)


def test_production_designs_share_their_random_numbers():
    track = draw_track(BAND, 4, 8)
    band = draw_production(BAND.production, track, 8)
    assert draw_production(BAND.production, track, 8) == band
    louder = draw_production(replace(BAND.production, level_db=(-22.0, -10.0)), track, 8)
    assert louder.level_db == pytest.approx(band.level_db + 10)
    assert replace(louder, level_db=band.level_db) == band


@pytest.mark.parametrize("name", CHORD_PATTERNS)
def test_chord_patterns_fit_into_a_bar(name):
    for chord in ((48, 52, 55), (48, 51, 55, 58)):
        hits = CHORD_PATTERNS[name](chord, np.random.default_rng(0))
        assert hits
        for onset, length, keys in hits:
            assert 0 <= onset < 4
            assert length > 0
            assert keys


@quick
@given(designs, seeds, st.integers(0, 500))
def test_timbre_shifts_stay_within_the_range(design, seed, number):
    piece = compose(design, draw_track(design, number, seed), seed)
    for part, shift in zip(piece.parts, timbre_shifts(piece, design.source, seed), strict=False):
        lowest, highest = PLAYERS[part.name].range(part.program)
        assert abs(shift) <= MAX_SHIFT
        assert all(lowest <= note.key + shift <= highest for note in part.notes)


# Labels and the clip table


@quick
@given(seeds, st.integers(0, 500))
def test_solo_labels_are_the_truth(seed, number):
    track = draw_track(SOLO, number, seed)
    labels = draw_labels(SOLO, track, 0, seed)
    assert labels == {name: float(name in track.instruments) for name in INSTRUMENTS}


def test_band_labels_are_partly_observed_and_sometimes_wrong():
    positives, negatives, wrong = [], [], []
    for number in range(1500):
        track = draw_track(BAND, number, 11)
        for name, likelihood in draw_labels(BAND, track, 0, 11).items():
            truth = name in track.instruments
            (positives if truth else negatives).append(not np.isnan(likelihood))
            if not np.isnan(likelihood):
                assert 0 <= likelihood <= 1
                assert likelihood != 0.5
                wrong.append((likelihood >= 0.5) != truth)
    assert np.mean(positives) == pytest.approx(0.85, abs=0.03)
    assert np.mean(negatives) == pytest.approx(0.50, abs=0.03)
    assert np.mean(wrong) == pytest.approx(0.02, abs=0.01)


def test_labels_do_not_depend_on_how_they_are_graded():
    track = draw_track(BAND, 0, 2)
    hard = replace(BAND, labels=replace(BAND.labels, graded=False))
    graded, binary = draw_labels(BAND, track, 0, 2), draw_labels(hard, track, 0, 2)
    for name in INSTRUMENTS:
        assert np.isnan(graded[name]) == np.isnan(binary[name])
        assert np.isnan(graded[name]) or (graded[name] >= 0.5) == (binary[name] == 1)


def test_clip_table_makes_a_corpus(tmp_path):
    tables = {name: clip_table(design, 60, 4) for name, design in DATASETS.items()}
    writer = CorpusWriter(
        tmp_path / "demo",
        name="demo",
        title="Demo",
        datasets=list(tables),
        groups=list(GENRES),
        targets=list(TARGETS),
    )
    corpus = writer.write(pd.concat(tables.values(), ignore_index=True))
    assert isinstance(corpus, Corpus)
    assert corpus.warnings == []  # above all, no track on both sides of the split
    assert corpus.labels == list(INSTRUMENTS)
    solo, band = tables["solo"], tables["band"]
    assert set(solo["soundfont"]).isdisjoint(band["soundfont"])
    assert solo["codec_compression"].isna().all()
    assert band["codec_compression"].between(0.5, 1).all()
    for table in (solo, band):
        one = table.groupby("track")[["tempo", "level_db", "lowpass_hz", "instruments", "group"]]
        assert (one.nunique() == 1).all().all()
        assert table.groupby("track").size().between(1, 3).all()
        assert table["tempo"].between(55, 200).all()
        assert table["lead_pitch"].between(36, 98).all()
        assert (table["instruments"].str.split().str.len() >= 1).all()


def test_clip_table_repeats_for_a_seed():
    assert clip_table(BAND, 25, 9).equals(clip_table(BAND, 25, 9))
    assert not clip_table(BAND, 25, 9).equals(clip_table(BAND, 25, 10))


# Production


def sines(seconds: float = 2.0) -> np.ndarray:
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    wave = sum(np.sin(2 * np.pi * f * t) for f in (110, 440, 1760, 7040))
    return (wave * np.exp(-t)).astype(np.float32)


PRODUCTIONS = {
    f"{name}{number}": draw_production(design.production, draw_track(design, number, 1), 1)
    for name, design in DATASETS.items()
    for number in range(12)
}


@pytest.mark.parametrize("production", PRODUCTIONS.values(), ids=PRODUCTIONS)
def test_chain_keeps_length_and_peaks(production):
    wave = sines()
    seen = dict(stages(wave, production, np.random.default_rng(0)))
    assert list(seen) == list(STEPS)
    for name, result in seen.items():
        assert result.dtype == np.float32, name
        assert result.shape == wave.shape, name
        assert np.isfinite(result).all(), name
    assert np.abs(seen["peak limit"]).max() < 0.9
    assert 20 * np.log10(rms(seen["level"])) == pytest.approx(production.level_db, abs=0.01)
    noise = seen["noise"] - seen["saturation"]
    expected = 20 * np.log10(rms(seen["saturation"])) + production.noise_db
    assert 20 * np.log10(rms(noise)) == pytest.approx(expected, abs=0.3)
    again = master(wave, production, np.random.default_rng(0))
    np.testing.assert_array_equal(again, seen["peak limit"])
    np.testing.assert_array_equal(pass_codec(again, production, None), seen["codec"])


def test_band_limits_take_away_what_is_outside():
    track = draw_track(BAND, 0, 1)
    production = replace(
        draw_production(BAND.production, track, 1), highpass_hz=200.0, lowpass_hz=3000.0
    )
    spectrum = np.abs(np.fft.rfft(STEPS["band limits"](sines(), production, None)))
    before = np.abs(np.fft.rfft(sines()))

    def gain(hertz: int) -> float:
        return 20 * np.log10(spectrum[2 * hertz] / before[2 * hertz])

    assert gain(440) == pytest.approx(0, abs=1)
    assert gain(110) < -15
    assert gain(7040) < -25


def test_loud_clips_are_turned_down():
    production = PRODUCTIONS["solo0"]
    loud = STEPS["peak limit"](3 * sines(), production, None)
    assert np.abs(loud).max() == pytest.approx(PEAK)
    quiet = 0.1 * sines()
    np.testing.assert_array_equal(STEPS["peak limit"](quiet, production, None), quiet)


def test_flac_repeats_to_the_byte_and_vorbis_to_the_sample():
    for production in PRODUCTIONS.values():
        wave = master(sines(), production, np.random.default_rng(0))
        one, two = encode(wave, production), encode(wave, production)
        if production.codec == "none":
            assert one == two
        first, second = (soundfile.read(io.BytesIO(content))[0] for content in (one, two))
        np.testing.assert_array_equal(first, second)


# Levels


def test_active_rms_ignores_silence():
    wave = np.concatenate([np.zeros(20_480), sines(1.0), np.zeros(20_480)])
    assert active_rms(wave) == pytest.approx(active_rms(sines(1.0)), rel=0.05)
    assert active_rms(np.zeros(100)) == 0


def test_scaled():
    assert active_rms(scaled(sines(), -6.0)) == pytest.approx(10 ** (-6 / 20))
    assert not scaled(np.zeros(100), 0.0).any()


def test_label_design_defaults_to_the_truth():
    assert LabelDesign() == SOLO.labels
