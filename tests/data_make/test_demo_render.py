"""A handful of clips, rendered: determinism, resumption, peaks, files, errors."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from demo_command import run_demo
from test_stopping import stopped

import demo
import synth
from biasmir_utils.corpus import Corpus
from biasmir_utils.errors import ArgumentError
from compose import Note
from design import BAND, COUNTERFACTUAL, DEMO, GENRES, INSTRUMENTS, SOLO, draw_track, draw_tracks
from production import STEPS
from render import Task, clip_table, render_clip, render_corpus, render_stages
from synth import (
    SAMPLE_RATE,
    SOUNDFONTS,
    Sampler,
    SoundFontError,
    active_rms,
    find_soundfont,
    open_piano_filters,
    sampler,
)

CLIPS, SEED = 6, 3
SECONDS = {design.name: design.seconds for design in DEMO.datasets}


@pytest.fixture(scope="module")
def rendered(soundfonts, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("rendered") / "demo"
    render_corpus(folder, clips=CLIPS, seed=SEED, jobs=2, progress=False)
    return folder


def samples(folder: Path, dataset: str | None = None) -> dict[str, np.ndarray]:
    corpus = Corpus.load(folder)
    return {
        f"{clip['dataset']} {clip['clip']}": soundfile.read(corpus.audio_path(row))[0]
        for row, clip in corpus.clips.iterrows()
        if dataset in (None, clip["dataset"])
    }


def decoded(content: bytes) -> np.ndarray:
    return soundfile.read(io.BytesIO(content), dtype="float32")[0]


def test_clips_have_the_right_length_and_peaks(rendered):
    corpus = Corpus.load(rendered)
    assert corpus.clips.groupby("dataset").size().to_dict() == {"solo": CLIPS, "band": CLIPS}
    for row, clip in corpus.clips.iterrows():
        wave, rate = soundfile.read(corpus.audio_path(row))
        assert rate == SAMPLE_RATE
        assert wave.shape == (SECONDS[clip["dataset"]] * rate,)
        # A lossy codec may overshoot what went in, which was below 0.9.
        assert np.abs(wave).max() < (0.9 if clip["codec"] == "none" else 1.0)
        level = 20 * np.log10(np.sqrt(np.mean(wave**2)))
        assert level == pytest.approx(clip["level_db"], abs=1.0 if clip["codec"] != "none" else 5.0)


@pytest.mark.parametrize("dataset", SECONDS)
def test_bundled_examples_are_rendered_again(soundfonts, repository, dataset):
    """What `data/demo` lets hear is what the program makes today, but for MP3."""
    corpus = Corpus.load(repository / "data" / "demo")
    design = next(design for design in DEMO.datasets if design.name == dataset)
    tracks = {track.name: track for track in draw_tracks(design, DEMO.clips, 1)}
    examples = corpus.clips[corpus.clips["audio"].notna() & (corpus.clips["dataset"] == dataset)]
    for row, clip in examples.iloc[::10].iterrows():
        number = int(clip["clip"].rsplit("_", 1)[1])
        font = soundfonts[design.source.soundfont]
        anew = decoded(render_clip(Task(design, tracks[clip["track"]], number, font, 1)))
        bundled = soundfile.read(corpus.audio_path(row), dtype="float32")[0]
        anew = anew * 10 ** (clip["example_gain_db"] / 20)
        assert np.sqrt(np.mean((bundled - anew) ** 2) / np.mean(anew**2)) < 0.2, clip["clip"]


def test_same_audio_whatever_the_number_of_jobs(rendered, tmp_path):
    render_corpus(tmp_path / "one", clips=CLIPS, seed=SEED, jobs=1, progress=False)
    two, one = samples(rendered), samples(tmp_path / "one")
    assert two.keys() == one.keys()
    for clip in two:
        np.testing.assert_array_equal(two[clip], one[clip], err_msg=clip)
    assert Corpus.load(rendered).clips.equals(Corpus.load(tmp_path / "one").clips)
    assert not clip_table(BAND, 2, SEED).equals(clip_table(BAND, 2, SEED + 1))


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
    assert not list(folder.rglob(".*")), "nothing half-written is left behind"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": SEED + 1}, f"other parameters.*seed {SEED}"),
        ({"clips": CLIPS + 1}, f"other parameters.*clips {CLIPS}"),
        ({"design": replace(DEMO, datasets=(SOLO,))}, "other parameters.*designs"),
        ({"clips": 0}, "clips: expected 1 or more"),
        ({"seed": -1}, "seed: expected 0 or more"),
        ({"jobs": 0}, "jobs: expected 1 or more, or -1"),
        ({"jobs": -2}, "jobs: expected 1 or more, or -1"),
    ],
)
def test_what_does_not_fit_is_refused(rendered, changed, message):
    before = sorted(rendered.rglob("*"))
    with pytest.raises(ArgumentError, match=message):
        render_corpus(rendered, **({"clips": CLIPS, "seed": SEED, "progress": False} | changed))
    assert sorted(rendered.rglob("*")) == before


def test_a_folder_of_something_else_is_left_alone(soundfonts, tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ArgumentError, match="is there already"):
        render_corpus(tmp_path, clips=1)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_provenance_tells_how_it_was_made(rendered):
    description = json.loads((rendered / "corpus.json").read_text())
    provenance = description["provenance"]
    command = f"python data/make/demo.py OUT --clips {CLIPS} --seed {SEED}"
    assert provenance["command"] == command
    assert provenance["soundfonts"].keys() == SOUNDFONTS.keys()
    for name, fact in provenance["soundfonts"].items():
        assert fact["sha256"] == hashlib.sha256(find_soundfont(name).read_bytes()).hexdigest()
    assert {"numpy", "scipy", "tinysoundfont", "libsndfile"} <= set(provenance["versions"])
    assert provenance["designs"]["band"]["labels"]["flipped"] == BAND.labels.flipped
    assert any("CC BY 4.0" in licence["licence"] for licence in description["licences"])


# The counterfactual corpus


@pytest.fixture(scope="module")
def four(soundfonts, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("counterfactual") / "corpus"
    result = run_demo(folder, "--counterfactual", "--clips", 2, "--seed", SEED, "--quiet")
    assert result.returncode == 0, result.stderr
    assert COUNTERFACTUAL.datasets[0].name in result.stdout
    return folder


def test_each_piece_is_there_four_times(four):
    corpus = Corpus.load(four)
    assert corpus.name == "counterfactual"
    assert corpus.datasets == [design.name for design in COUNTERFACTUAL.datasets]
    assert corpus.shared_tracks
    assert (corpus.clips.groupby("clip")["dataset"].nunique() == 4).all()
    waves = [list(samples(four, name).values()) for name in corpus.datasets]
    for renderings in zip(*waves, strict=True):
        assert len({wave.shape for wave in renderings}) == 1
        assert len({wave.tobytes() for wave in renderings}) == 4


def test_its_home_is_band(four, tmp_path):
    """What plays and processes as `band` does gives the samples of `band`."""
    band = replace(DEMO, datasets=(replace(BAND, clips_per_track=(1.0,)),))
    render_corpus(tmp_path / "b", band, clips=2, seed=SEED, jobs=1, progress=False)
    proper, home = samples(tmp_path / "b"), samples(four, COUNTERFACTUAL.datasets[0].name)
    for one, other in zip(proper.values(), home.values(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_stages_end_in_the_clip_and_the_dry_mix_does_not_know_the_chain(soundfonts):
    track = draw_track(COUNTERFACTUAL.datasets[0], 0, SEED)
    seen = []
    for design in COUNTERFACTUAL.datasets:
        task = Task(design, track, 0, soundfonts[design.source.soundfont], SEED)
        seen.append(dict(render_stages(task)))
        assert list(seen[-1]) == ["dry", *STEPS, "codec"]
        np.testing.assert_array_equal(seen[-1]["codec"], decoded(render_clip(task)))
    home, font, chain, both = (stages["dry"] for stages in seen)
    np.testing.assert_array_equal(home, chain)
    np.testing.assert_array_equal(font, both)
    assert not np.array_equal(home, font)


# SoundFonts


def test_a_missing_soundfont_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(synth, "SYSTEM_FOLDERS", (str(tmp_path / "nothing"),))
    monkeypatch.delenv("BIASMIR_SOUNDFONTS", raising=False)
    with pytest.raises(SoundFontError) as caught:
        render_corpus(tmp_path / "out", clips=1)
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
        render_corpus(tmp_path / "out", clips=1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"not a SoundFont", b"RIFF\x04\0\0\0sfbk", b"pdtaphdr"])
def test_a_file_that_is_no_soundfont(tmp_path, content):
    (tmp_path / "noise.sf2").write_bytes(content)
    with pytest.raises(SoundFontError, match=r"noise\.sf2 cannot be read as a SoundFont"):
        Sampler(tmp_path / "noise.sf2")


@pytest.mark.parametrize("name", SOUNDFONTS)
def test_every_program_sounds_over_its_range(soundfonts, name):
    """A silent key would leave a labelled instrument out of its clip."""
    player = sampler(str(soundfonts[name]))

    def level(key: int, program: int | None) -> float:
        return active_rms(player.play((Note(0.0, 0.15, key, 80),), 0.2, program))

    for instrument, how in INSTRUMENTS.items():
        for program in {*how.programs, *(p for ps in how.by_genre.values() for p in ps)}:
            lowest, highest = how.range(program)
            loud = [level(key, program) for key in range(lowest, highest + 1)]
            assert min(loud) > np.median(loud) / 20, (instrument, program)
    for genre in GENRES.values():
        assert min(level(60, program) for program in genre.chord_programs) > 1e-4
        assert min(level(35, program) for program in genre.bass_programs) > 1e-4
    assert min(level(key, None) for key in (36, 38, 42, 44, 51)) > 1e-4


@pytest.mark.parametrize("name", SOUNDFONTS)
@pytest.mark.parametrize("shift", [-5, 0, 5])
def test_notes_sound_at_their_pitch(soundfonts, name, shift):
    """Also when the timbre is shifted: what is played higher is bent back."""
    wave = sampler(str(soundfonts[name])).play((Note(0.0, 1.0, 69, 90),), 1.0, 73, shift=shift)
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    spectrum[: int(0.8 * 440)] = 0  # 1 s: bins are Hz
    harmonic = np.argmax(spectrum[: 3 * 440]) / 440
    assert harmonic == pytest.approx(round(harmonic), abs=0.03)


def test_musescore_pianos_are_not_shut(soundfonts, monkeypatch):
    """Without the repair of their filters only a thud is heard."""
    path = soundfonts["MuseScore_General_Lite"]
    repaired = Sampler(path)
    monkeypatch.setattr(synth, "open_piano_filters", lambda content: content)
    shut = Sampler(path)

    def brightness(wave: np.ndarray) -> float:
        spectrum = np.abs(np.fft.rfft(wave))
        return float(np.average(np.fft.rfftfreq(len(wave), 1 / SAMPLE_RATE), weights=spectrum))

    note = (Note(0.0, 1.0, 72, 80),)
    ours, theirs = (player.play(note, 1.0, 0) for player in (repaired, shut))
    assert brightness(ours) > 3 * brightness(theirs)
    assert active_rms(ours) > 5 * active_rms(theirs)
    flutes = [player.play(note, 0.5, 73) for player in (repaired, shut)]
    np.testing.assert_array_equal(*flutes)  # other instruments are not touched
    fluid = soundfonts["FluidR3_GM"].read_bytes()
    assert open_piano_filters(fluid) == fluid


# Command line


def test_command_tells_of_a_missing_soundfont_and_of_options_that_do_not_fit(tmp_path):
    (tmp_path / "empty").mkdir()
    result = run_demo(tmp_path / "d", "--soundfonts", tmp_path / "empty")
    assert result.returncode == 1
    assert result.stderr.startswith("Error: SoundFont FluidR3_GM.sf2 not found")
    for options in (["--pieces", 2], ["--bundle", tmp_path, "--seed", 1]):
        result = run_demo(tmp_path / "d", *options)
        assert result.returncode == 2
        assert "options of bundling need --bundle" in result.stderr


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
    arguments = [out, "--clips", 60, "--quiet", *options]
    returned, said, _ = stopped(
        tmp_path, out, "audio/*/[!.]*", number, *arguments, script=demo.__file__
    )
    assert returned == 128 + number, said
    assert said.endswith(
        f"Stopped; finished clips are kept in {out}, and the same command goes on from there.\n"
    )
    assert "Traceback" not in said
    kept = [path for path in out.glob("audio/*/*") if not path.name.startswith(".")]
    assert 1 <= len(kept) < 60
    assert not list(out.glob("audio/*/.*"))
    assert not (out / "corpus.json").exists()
