"""Decoding every kind of sound file that a collection may hold, and what a front end takes."""

from __future__ import annotations

import numpy as np
import pytest

from biasmir_utils.embeddings import FrontEnd, read_audio
from biasmir_utils.errors import ArgumentError, AudioError

sf = pytest.importorskip("soundfile")


def tone(sample_rate=44_100, seconds=0.5, channels=1, frequency=440.0):
    time = np.arange(int(seconds * sample_rate)) / sample_rate
    one = 0.5 * np.sin(2 * np.pi * frequency * time)
    return np.repeat(one[:, None], channels, axis=1)


@pytest.mark.parametrize(
    ("extension", "subtype", "tolerance"),
    [
        ("wav", "PCM_U8", 2 / 256),
        ("wav", "PCM_16", 2 / 2**16),
        ("wav", "PCM_32", 2 / 2**23),
        ("wav", "DOUBLE", 1e-7),
        ("flac", "PCM_24", 2 / 2**23),
        ("aiff", "PCM_16", 2 / 2**16),
        ("ogg", "VORBIS", 0.05),
        ("mp3", "MPEG_LAYER_III", 0.05),
    ],
)
def test_formats_and_depths(tmp_path, extension, subtype, tolerance):
    sound = tone(seconds=1.0, channels=2)
    path = tmp_path / f"clip.{extension}"
    sf.write(path, sound, 44_100, subtype=subtype)
    waveform, sample_rate = read_audio(path)
    assert (sample_rate, waveform.dtype) == (44_100, np.float32)
    inner = slice(2_000, 40_000)
    np.testing.assert_allclose(waveform[inner], sound[inner], atol=tolerance)


@pytest.mark.parametrize(("kind", "extension"), [("WAV", "raw"), ("OGG", "")])
def test_content_counts_not_the_extension(tmp_path, kind, extension):
    path = tmp_path / f"clip.{extension}"
    with open(path, "wb") as file:
        sf.write(file, tone(seconds=1.0), 44_100, format=kind)
    waveform, sample_rate = read_audio(path)
    assert sample_rate == 44_100
    assert len(waveform) == pytest.approx(44_100, abs=2_400)


def broken_ogg(path):
    with open(path, "wb") as file:
        sf.write(file, tone(seconds=2.0), 44_100, format="OGG")
    content = path.read_bytes()
    path.write_bytes(content[:60] + bytes(len(content) - 60))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (broken_ogg, "cannot be decoded"),
        (lambda path: path.write_text("<html>404</html>"), "cannot be decoded"),
        (lambda path: sf.write(path, np.full(9, np.inf), 44_100, subtype="FLOAT"), "infinite"),
        (lambda path: path.mkdir(), "no such sound file"),
    ],
)
def test_bad_files_are_named_with_the_reason(tmp_path, spoil, words):
    path = tmp_path / "clip.wav"
    spoil(path)
    with pytest.raises(AudioError, match=words) as error:
        read_audio(path)
    assert str(path) in str(error.value)


def test_mono_is_the_mean_of_the_channels():
    channels = np.random.default_rng(0).normal(size=(100, 6)).astype(np.float32)
    front_end = FrontEnd(16_000, shortest=0.001)
    np.testing.assert_allclose(front_end(channels, 16_000), channels.mean(axis=1), rtol=1e-6)
    np.testing.assert_array_equal(front_end(channels[:, 0], 16_000), channels[:, 0])


@pytest.mark.parametrize("sample_rate", [8_000, 44_100, 96_000])
def test_resampling_keeps_a_tone(sample_rate):
    resampled = FrontEnd(16_000, 0.1)(tone(sample_rate, seconds=1.0), sample_rate)
    assert resampled.dtype == np.float32
    assert len(resampled) == 16_000
    expected = tone(16_000, seconds=1.0)[:, 0]
    np.testing.assert_allclose(resampled[500:-500], expected[500:-500], atol=2e-3)


@pytest.mark.parametrize(
    ("waveform", "sample_rate", "error", "words"),
    [
        (np.zeros((2, 3, 4)), 16_000, ArgumentError, r"\(2, 3, 4\)"),
        (np.zeros(100, np.int16), 16_000, ArgumentError, "int16"),
        (np.zeros(100), 0, ArgumentError, "sample_rate"),
        (np.zeros(100), float("nan"), ArgumentError, "sample_rate"),
        (np.zeros(0), 16_000, AudioError, "zero length"),
        (np.array([0.0, np.nan]), 16_000, AudioError, "1 samples are NaN"),
        (np.zeros(100), 16_000, AudioError, r"too short: 0\.006 s"),
    ],
)
def test_bad_waveforms(waveform, sample_rate, error, words):
    with pytest.raises(error, match=words):
        FrontEnd(16_000, shortest=0.1)(waveform, sample_rate)
