"""A handful of clips, rendered: determinism, resumption, peaks, files, errors."""

from __future__ import annotations

import io
import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile
from helpers import run_demo

import demo
import synth
from biasmir_utils.corpus import Corpus
from biasmir_utils.errors import ArgumentError
from biasmir_utils.files import sha256
from compose import Note, compose
from design import BAND, DATASETS, PLAYERS, SOLO, STYLES, draw_track
from production import STEPS
from render import Task, render_clip, render_corpus, render_stages
from synth import (
    SAMPLE_RATE,
    SOUNDFONTS,
    Sampler,
    SoundFontError,
    active_rms,
    find_soundfont,
    open_piano_filters,
    sampler,
    synthesise,
)

CLIPS, SEED = 6, 3


@pytest.fixture(scope="module")
def rendered(soundfonts, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("rendered") / "demo"
    render_corpus(folder, clips=CLIPS, seed=SEED, jobs=2, progress=False)
    return folder


def samples(folder: Path) -> dict[str, np.ndarray]:
    corpus = Corpus.load(folder)
    return {
        clip: soundfile.read(corpus.audio_path(row), dtype="float32")[0]
        for row, clip in enumerate(corpus.clips["clip"])
    }


def test_clips_have_the_right_length_and_peaks(rendered):
    corpus = Corpus.load(rendered)
    assert corpus.clips.groupby("dataset").size().to_dict() == {"solo": CLIPS, "band": CLIPS}
    for row, clip in corpus.clips.iterrows():
        wave, rate = soundfile.read(corpus.audio_path(row))
        assert rate == SAMPLE_RATE
        assert wave.shape == (DATASETS[clip["dataset"]].seconds * rate,)
        # A lossy codec may overshoot what went in, which was below 0.9.
        assert np.abs(wave).max() < (0.9 if clip["codec"] == "none" else 1.0)
        level = 20 * np.log10(np.sqrt(np.mean(wave**2)))
        assert level == pytest.approx(clip["level_db"], abs=1.0 if clip["codec"] != "none" else 5.0)


def test_same_audio_whatever_the_number_of_jobs(rendered, tmp_path):
    render_corpus(tmp_path / "one", clips=CLIPS, seed=SEED, jobs=1, progress=False)
    two, one = samples(rendered), samples(tmp_path / "one")
    assert two.keys() == one.keys()
    for clip in two:
        np.testing.assert_array_equal(two[clip], one[clip], err_msg=clip)
    assert Corpus.load(rendered).clips.equals(Corpus.load(tmp_path / "one").clips)


def test_audio_does_not_depend_on_what_was_rendered_before(soundfonts):
    tasks = [
        Task(BAND, draw_track(BAND, number, 5), 0, soundfonts[BAND.source.soundfont], 5)
        for number in range(3)
    ]
    forwards = [decoded(render_clip(task)) for task in tasks]
    backwards = [decoded(render_clip(task)) for task in reversed(tasks)][::-1]
    for one, other in zip(forwards, backwards, strict=True):
        np.testing.assert_array_equal(one, other)


def decoded(content: bytes) -> np.ndarray:
    return soundfile.read(io.BytesIO(content), dtype="float32")[0]


def test_another_seed_gives_other_audio(rendered, soundfonts, tmp_path):
    render_corpus(tmp_path / "other", clips=2, seed=SEED + 1, jobs=1, progress=False)
    ours, other = samples(rendered), samples(tmp_path / "other")
    for clip in set(ours) & set(other):
        assert not np.array_equal(ours[clip], other[clip])


def test_an_interrupted_rendering_goes_on(rendered, tmp_path):
    folder = tmp_path / "half"
    shutil.copytree(rendered, folder)
    corpus = Corpus.load(folder)
    removed = [corpus.audio_path(row) for row in (0, CLIPS, CLIPS + 1)]
    kept = corpus.audio_path(1)
    kept.write_bytes(b"finished before")
    for file in (*removed, folder / "corpus.json"):
        file.unlink()
    render_corpus(folder, clips=CLIPS, seed=SEED, jobs=1, progress=False)
    assert kept.read_bytes() == b"finished before", "a finished clip was rendered again"
    for file in removed:
        original = rendered / file.relative_to(folder)
        np.testing.assert_array_equal(soundfile.read(file)[0], soundfile.read(original)[0])
    assert Corpus.load(folder).clips.equals(Corpus.load(rendered).clips)
    # Nothing half-written is left behind.
    assert not list(folder.rglob("*partial*"))


@pytest.mark.parametrize("changed", [{"seed": SEED + 1}, {"clips": CLIPS + 1}])
def test_another_corpus_is_not_mixed_in(rendered, changed):
    (name,) = changed
    with pytest.raises(
        ArgumentError, match=f"other parameters.*{name} {CLIPS if name == 'clips' else SEED}"
    ):
        render_corpus(rendered, **({"clips": CLIPS, "seed": SEED, "progress": False} | changed))


def test_a_folder_of_something_else_is_left_alone(soundfonts, tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ArgumentError, match="is there already"):
        render_corpus(tmp_path, clips=1, seed=1)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clips": 0, "seed": 1}, "clips: expected 1 or more"),
        ({"clips": 1, "seed": -1}, "seed: expected 0 or more"),
        ({"clips": 1, "seed": 1, "jobs": 0}, "jobs: expected 1 or more, or -1"),
        ({"clips": 1, "seed": 1, "jobs": -2}, "jobs: expected 1 or more, or -1"),
    ],
)
def test_arguments_out_of_range(tmp_path, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        render_corpus(tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_provenance_tells_how_it_was_made(rendered):
    description = json.loads((rendered / "corpus.json").read_text())
    provenance = description["provenance"]
    assert provenance["command"] == f"python data/make/demo.py OUT --clips {CLIPS} --seed {SEED}"
    assert set(provenance["soundfonts"]) == set(SOUNDFONTS)
    for name, fact in provenance["soundfonts"].items():
        assert fact["sha256"] == sha256(find_soundfont(name))
    assert {"numpy", "scipy", "tinysoundfont", "libsndfile"} <= set(provenance["versions"])
    assert provenance["designs"]["band"]["labels"]["flipped"] == BAND.labels.flipped
    assert any("CC BY 4.0" in licence["licence"] for licence in description["licences"])


# SoundFonts


def test_a_missing_soundfont_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(synth, "SYSTEM_FOLDERS", (str(tmp_path / "nothing"),))
    monkeypatch.delenv("BIASMIR_SOUNDFONTS", raising=False)
    with pytest.raises(SoundFontError) as caught:
        render_corpus(tmp_path / "out", clips=1, seed=1)
    for part in ("FluidR3_GM.sf2", "apt-get install fluid-soundfont-gm", "dpkg-deb -x"):
        assert part in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_soundfonts_are_searched_where_one_says(tmp_path, monkeypatch):
    unpacked = tmp_path / "usr" / "share" / "sounds" / "sf2"
    unpacked.mkdir(parents=True)
    (unpacked / "FluidR3_GM.sf2").write_bytes(b"RIFF")
    assert find_soundfont("FluidR3_GM", tmp_path) == unpacked / "FluidR3_GM.sf2"
    monkeypatch.setenv("BIASMIR_SOUNDFONTS", str(tmp_path))
    assert find_soundfont("FluidR3_GM") == unpacked / "FluidR3_GM.sf2"
    with pytest.raises(SoundFontError, match="musescore-general-soundfont-small"):
        find_soundfont("MuseScore_General_Lite", tmp_path)


def test_a_missing_synthesiser_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tinysoundfont", None)
    with pytest.raises(SoundFontError, match="pip install --no-deps tinysoundfont"):
        render_corpus(tmp_path / "out", clips=1, seed=1)
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_soundfont(tmp_path):
    (tmp_path / "noise.sf2").write_bytes(b"not a SoundFont")
    with pytest.raises(SoundFontError, match=r"noise\.sf2 cannot be read as a SoundFont"):
        Sampler(tmp_path / "noise.sf2")


@pytest.mark.parametrize("name", SOUNDFONTS)
def test_every_program_sounds_over_its_range(soundfonts, name):
    """A silent key would leave a labelled instrument out of its clip."""
    player = sampler(str(soundfonts[name]))
    for instrument, how in PLAYERS.items():
        for program in {*how.programs, *(p for ps in how.by_genre.values() for p in ps)}:
            lowest, highest = how.range(program)
            loud = [
                active_rms(player.play((Note(0.0, 0.15, key, 80),), 0.2, program))
                for key in range(lowest, highest + 1)
            ]
            assert min(loud) > np.median(loud) / 20, (instrument, program)
    for style in STYLES.values():
        for program in style.chord_programs:
            assert active_rms(player.play((Note(0.0, 0.5, 60, 80),), 0.6, program)) > 1e-4
        for program in style.bass_programs:
            assert active_rms(player.play((Note(0.0, 0.5, 35, 80),), 0.6, program)) > 1e-4
    for key in (36, 38, 42, 44, 51):
        assert active_rms(player.play((Note(0.0, 0.5, key, 80),), 0.6, 0, drums=True)) > 1e-4


@pytest.mark.parametrize("name", SOUNDFONTS)
@pytest.mark.parametrize("shift", [-5, 0, 5])
def test_notes_sound_at_their_pitch(soundfonts, name, shift):
    """Also when the timbre is shifted: what is played higher is bent back."""
    wave = sampler(str(soundfonts[name])).play((Note(0.0, 1.0, 69, 90),), 1.0, 73, shift=shift)
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    spectrum[: int(0.8 * 440)] = 0  # 1 s: bins are Hz
    harmonic = np.argmax(spectrum[: 3 * 440]) / 440
    assert harmonic == pytest.approx(round(harmonic), abs=0.03)


def test_musescore_pianos_are_not_shut(soundfonts):
    """Without the repair of their filters only a thud is heard."""
    import tinysoundfont

    note = (Note(0.0, 1.0, 72, 80),)
    path = soundfonts["MuseScore_General_Lite"]

    def brightness(wave: np.ndarray) -> float:
        spectrum = np.abs(np.fft.rfft(wave))
        return float(np.average(np.fft.rfftfreq(len(wave), 1 / SAMPLE_RATE), weights=spectrum))

    repaired = sampler(str(path)).play(note, 1.0, 0)
    player = Sampler.__new__(Sampler)
    player._synth = tinysoundfont.Synth(gain=-10, samplerate=SAMPLE_RATE)
    player._font = player._synth.sfload(str(path))
    shut = player.play(note, 1.0, 0)
    assert brightness(repaired) > 3 * brightness(shut)
    assert active_rms(repaired) > 5 * active_rms(shut)
    # Other instruments are not touched.
    np.testing.assert_array_equal(
        sampler(str(path)).play(note, 0.5, 73), player.play(note, 0.5, 73)
    )


def test_only_soundfonts_with_shut_pianos_are_changed(soundfonts):
    fluid = soundfonts["FluidR3_GM"].read_bytes()
    assert open_piano_filters(fluid) == fluid
    assert open_piano_filters(b"") == b""
    assert open_piano_filters(b"RIFF\x04\0\0\0sfbk") == b"RIFF\x04\0\0\0sfbk"


# What later chapters build on


def test_stages_end_in_the_clip(soundfonts):
    task = Task(BAND, draw_track(BAND, 1, 2), 0, soundfonts[BAND.source.soundfont], 2)
    seen = dict(render_stages(task))
    assert list(seen) == ["dry", *STEPS]
    np.testing.assert_array_equal(seen["codec"], decoded(render_clip(task)))


def test_sound_source_and_production_can_be_exchanged_alone(soundfonts):
    """Four renderings of the same notes: SoundFont and production, each alone."""
    track = draw_track(BAND, 1, 2)
    piece = compose(BAND, track, 2)
    design = replace(BAND, production=replace(SOLO.production, saturated=False, codec="none"))
    band = synthesise(piece, 0, BAND.source, soundfonts[BAND.source.soundfont], 2)
    solo = synthesise(piece, 0, SOLO.source, soundfonts[SOLO.source.soundfont], 2)
    assert band.shape == solo.shape
    assert not np.array_equal(band, solo)
    same = synthesise(
        compose(design, track, 2), 0, design.source, soundfonts[BAND.source.soundfont], 2
    )
    np.testing.assert_array_equal(same, band)


# Command line


def test_command_renders_and_repeats(soundfonts, tmp_path):
    for _ in range(2):
        result = run_demo(tmp_path / "d", "--clips", 1, "--seed", 2, "--jobs", 2, "--quiet")
        assert result.returncode == 0, result.stderr
        assert "solo" in result.stdout
    assert len(Corpus.load(tmp_path / "d").clips) == 2


def test_command_tells_of_a_missing_soundfont(tmp_path):
    (tmp_path / "empty").mkdir()
    result = run_demo(tmp_path / "d", "--soundfonts", tmp_path / "empty")
    assert result.returncode == 1
    assert result.stderr.startswith("Error: SoundFont FluidR3_GM.sf2 not found")
    assert run_demo(tmp_path / "d", "--pieces", 2).returncode == 2


@pytest.mark.parametrize(
    ("options", "number"),
    [
        (["--jobs", "2"], signal.SIGINT),
        (["--counterfactual", "--jobs", "2"], signal.SIGTERM),
        (["--counterfactual", "--jobs", "1"], signal.SIGINT),
    ],
)
def test_stopped_command_keeps_what_is_finished(soundfonts, tmp_path, options, number):
    out = tmp_path / "demo"
    command = [sys.executable, demo.__file__, str(out), "--clips", "60", "--quiet", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not list(out.glob("audio/*/[!.]*")):
        time.sleep(0.005)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    _, said = process.communicate()
    assert process.returncode == 128 + number, said
    assert said.endswith(
        f"Stopped; finished clips are kept in {out}, and the same command goes on from there.\n"
    )
    assert "Traceback" not in said
    assert not psutil.wait_procs(workers, timeout=30)[1]
    kept = [path for path in out.glob("audio/*/*") if not path.name.startswith(".")]
    assert 1 <= len(kept) < 60
    assert not list(out.glob("audio/*/.*"))
    assert not (out / "corpus.json").exists()
