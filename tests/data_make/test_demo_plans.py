"""The rendered datasets as plans, notes and production: nothing here needs a SoundFont."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from compose import compose
from design import BAND, COUNTERFACTUAL, DEMO, GENRES, INSTRUMENTS, SOLO, draw_track, draw_tracks
from production import STEPS, draw_production, rms, stages
from render import draw_labels, draw_split
from synth import MAX_SHIFT, SAMPLE_RATE, active_rms, scaled, timbre_shifts

SEED = 3
HOME, *OTHERS = COUNTERFACTUAL.datasets
designs = st.sampled_from(DEMO.datasets)
seeds = st.integers(0, 2**40)
quick = settings(max_examples=40, deadline=None)


# Tracks, splits, labels


@quick
@given(designs, seeds, st.integers(1, 60))
def test_tracks_hold_the_number_of_clips_asked_for(design, seed, n_clips):
    tracks = draw_tracks(design, n_clips, seed)
    assert sum(track.clips for track in tracks) == n_clips
    assert all(1 <= track.clips <= 3 for track in tracks)
    assert draw_tracks(design, n_clips + 20, seed)[: len(tracks) - 1] == tracks[:-1]
    for track in tracks:
        assert 1 <= len(track.instruments) <= len(design.ensemble)
        assert len(set(track.instruments)) == len(track.instruments)


@quick
@given(designs, seeds, st.integers(40, 300))
def test_split_is_a_quarter_of_the_tracks_and_has_each_instrument(design, seed, n_clips):
    tracks = draw_tracks(design, n_clips, seed)
    splits = draw_split(design, tracks, seed)
    leads: dict[str, list[str]] = {name: [] for name in INSTRUMENTS}
    for track, split in zip(tracks, splits, strict=True):
        leads[track.instruments[0]].append(split)
    for sets in leads.values():
        assert len(sets) < 2 or set(sets) == {"train", "test"}
    moved = sum(len(sets) < 4 for sets in leads.values())  # by the rule above, at most
    assert abs(splits.count("test") - len(tracks) / 4) <= 1 + moved


def test_the_two_datasets_differ_in_which_instruments_a_genre_has():
    for design in DEMO.datasets:
        assert design.joint_weights().shape == (len(GENRES), len(INSTRUMENTS))
        assert design.joint_weights().sum() == pytest.approx(1)
    assert np.abs(SOLO.joint_weights() - BAND.joint_weights()).sum() > 0.4


@quick
@given(st.sampled_from([SOLO, HOME]), seeds, st.integers(0, 500))
def test_labels_are_what_is_played(design, seed, number):
    track = draw_track(design, number, seed)
    labels = draw_labels(design, track, 0, seed)
    assert labels == {name: float(name in track.instruments) for name in INSTRUMENTS}


def test_band_labels_are_partly_observed_and_sometimes_wrong():
    hard = replace(BAND, labels=replace(BAND.labels, graded=False))
    positives, negatives, wrong = [], [], []
    for number in range(1500):
        track = draw_track(BAND, number, 11)
        binary = draw_labels(hard, track, 0, 11)
        for name, likelihood in draw_labels(BAND, track, 0, 11).items():
            truth = name in track.instruments
            (positives if truth else negatives).append(not np.isnan(likelihood))
            assert np.isnan(likelihood) == np.isnan(binary[name])
            if not np.isnan(likelihood):
                assert 0 <= likelihood <= 1
                assert (likelihood > 0.5) == (binary[name] == 1)
                wrong.append((likelihood >= 0.5) != truth)
    assert np.mean(positives) == pytest.approx(0.85, abs=0.03)
    assert np.mean(negatives) == pytest.approx(0.50, abs=0.03)
    assert np.mean(wrong) == pytest.approx(0.02, abs=0.01)


# Notes


@quick
@given(designs, seeds, st.integers(0, 500))
def test_pieces_can_be_played_and_heard(design, seed, number):
    track = draw_track(design, number, seed)
    piece = compose(design, track, seed)
    assert [part.name for part in piece.parts if part.labelled] == list(track.instruments)
    shifts = timbre_shifts(piece, design.source, seed)
    assert max(map(abs, shifts)) <= MAX_SHIFT
    for part, shift in zip(piece.parts, [*shifts, 0, 0, 0], strict=False):
        starts = [note.start for note in part.notes]
        assert starts == sorted(starts)
        assert all(0 <= note.start < note.end for note in part.notes)
        assert all(1 <= note.velocity <= 127 for note in part.notes)
        if part.labelled:
            lowest, highest = INSTRUMENTS[part.name].range(part.program)
            for note in part.notes:
                assert lowest <= note.key <= highest
                assert lowest <= note.key + shift <= highest
        # A note-off silences all notes of its key: notes of one key must not overlap.
        for key in {note.key for note in part.notes}:
            same = [note for note in part.notes if note.key == key]
            assert all(a.end <= b.start for a, b in pairwise(same))
    assert all(b - a >= design.seconds for a, b in pairwise(piece.starts))
    for clip, part in product(range(track.clips), range(len(track.instruments))):
        notes = piece.heard(clip, part)
        assert sum(note.end - note.start for note in notes) >= 0.4
        assert all(0 <= note.start < note.end <= piece.seconds for note in notes)


def test_late_entries_are_silent_before_they_enter():
    late = 0
    for track in draw_tracks(BAND, 100, SEED):
        piece = compose(BAND, track, SEED)
        for clip, entries in enumerate(piece.entries):
            assert entries[0] == 0
            for part, entry in enumerate(entries):
                notes = piece.heard(clip, part, before=1.0)
                late += entry > 0
                assert entry == 0 or min(note.start for note in notes) >= entry
    assert late > 10


# The counterfactual datasets


def test_all_combinations_of_soundfont_and_chain():
    found = [(design.source.soundfont, design.production) for design in COUNTERFACTUAL.datasets]
    fonts = (BAND.source.soundfont, SOLO.source.soundfont)
    assert found == [(f, chain) for chain, f in product((BAND.production, SOLO.production), fonts)]
    for design in OTHERS:
        undone = replace(design, name=HOME.name, source=HOME.source, production=HOME.production)
        assert undone == HOME, "nothing else differs"


def test_the_same_notes_in_all_four():
    """Every event: parts, programs, notes with times and velocities, timbre shifts, entries."""
    tracks = draw_tracks(HOME, 60, SEED)
    assert all(track.clips == 1 for track in tracks)
    for design in OTHERS:
        assert draw_tracks(design, 60, SEED) == tracks
        for track in tracks:
            home, piece = compose(HOME, track, SEED), compose(design, track, SEED)
            assert piece == home
            shifts = timbre_shifts(home, HOME.source, SEED)
            assert timbre_shifts(piece, design.source, SEED) == shifts


def test_the_chain_is_drawn_for_the_piece():
    """The same random numbers, read by two chains; the SoundFont has no say in it."""
    for track in draw_tracks(HOME, 40, SEED):
        home, font, chain, both = (
            draw_production(design.production, track, SEED) for design in COUNTERFACTUAL.datasets
        )
        assert repr(home) == repr(font)
        assert repr(chain) == repr(both)
        assert home.room == chain.room
        ratio = SOLO.production.equaliser_sd / BAND.production.equaliser_sd
        np.testing.assert_allclose(np.multiply(home.equaliser_db, ratio), chain.equaliser_db)
        low, high = BAND.production.level_db
        other_low, other_high = SOLO.production.level_db
        place = (home.level_db - low) / (high - low)
        assert place == pytest.approx((chain.level_db - other_low) / (other_high - other_low))


# Production


def sines(seconds: float = 2.0) -> np.ndarray:
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    wave = sum(np.sin(2 * np.pi * f * t) for f in (110, 440, 1760, 7040))
    return (wave * np.exp(-t)).astype(np.float32)


@pytest.mark.parametrize("design", DEMO.datasets, ids=lambda design: design.name)
def test_chain_keeps_length_and_peaks(design):
    wave = sines()
    for track in draw_tracks(design, 20, 1):
        production = draw_production(design.production, track, 1)
        seen = dict(stages(wave, production, np.random.default_rng(0)))
        assert list(seen) == [*STEPS, "codec"]
        for name, result in seen.items():
            assert result.dtype == np.float32, name
            assert result.shape == wave.shape, name
            assert np.isfinite(result).all(), name
        assert np.abs(seen["peak limit"]).max() < 0.9
        assert 20 * np.log10(rms(seen["level"])) == pytest.approx(production.level_db, abs=0.01)
        noise = seen["noise"] - seen["saturation"]
        expected = 20 * np.log10(rms(seen["saturation"])) + production.noise_db
        assert 20 * np.log10(rms(noise)) == pytest.approx(expected, abs=0.3)


def test_band_limits_take_away_what_is_outside():
    drawn = draw_production(BAND.production, draw_track(BAND, 0, 1), 1)
    production = replace(drawn, highpass_hz=200.0, lowpass_hz=3000.0)
    spectrum = np.abs(np.fft.rfft(STEPS["band limits"](sines(), production, None)))
    gain = 20 * np.log10(spectrum / np.abs(np.fft.rfft(sines())))
    assert gain[2 * 440] == pytest.approx(0, abs=1)
    assert gain[2 * 110] < -15
    assert gain[2 * 7040] < -25


def test_levels_do_not_count_silence():
    wave = np.concatenate([np.zeros(20_480), sines(1.0), np.zeros(20_480)])
    assert active_rms(wave) == pytest.approx(active_rms(sines(1.0)), rel=0.05)
    assert active_rms(scaled(sines(), -6.0)) == pytest.approx(10 ** (-6 / 20))
    assert not scaled(np.zeros(100), 0.0).any()
