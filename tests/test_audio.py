"""Decoding: every kind of sound file that a collection may hold."""

from __future__ import annotations

import numpy as np
import pytest

from biasmir_utils.embeddings import read_audio
from biasmir_utils.embeddings.audio import check_waveform, is_silent, resample, to_mono
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
        ("wav", "PCM_24", 2 / 2**23),
        ("wav", "PCM_32", 2 / 2**23),
        ("wav", "FLOAT", 1e-7),
        ("wav", "DOUBLE", 1e-7),
        ("flac", "PCM_24", 2 / 2**23),
        ("aiff", "PCM_16", 2 / 2**16),
        ("ogg", "VORBIS", 0.05),
        ("mp3", "MPEG_LAYER_III", 0.05),
    ],
)
def test_formats_and_depths(tmp_path, extension, subtype, tolerance):
    sound = tone(seconds=1.0)
    path = tmp_path / f"clip.{extension}"
    sf.write(path, sound, 44_100, subtype=subtype)
    waveform, sample_rate = read_audio(path)
    assert (sample_rate, waveform.dtype) == (44_100, np.float32)
    inner = slice(2_000, 40_000)
    np.testing.assert_allclose(waveform[inner], sound[inner], atol=tolerance)


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("sample_rate", [8_000, 44_100, 96_000])
def test_channels_and_rates(tmp_path, channels, sample_rate):
    sf.write(tmp_path / "clip.wav", tone(sample_rate, channels=channels), sample_rate)
    waveform, found = read_audio(tmp_path / "clip.wav")
    assert found == sample_rate
    assert waveform.shape == (sample_rate // 2, channels)


@pytest.mark.parametrize("extension", ["mp3", "ogg", "wav", "flac", "raw", "txt", ""])
@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_content_counts_not_the_extension(tmp_path, kind, extension):
    path = tmp_path / f"clip.{extension}"
    with open(path, "wb") as file:
        sf.write(file, tone(seconds=1.0), 44_100, format=kind)
    waveform, sample_rate = read_audio(path)
    assert sample_rate == 44_100
    assert len(waveform) == pytest.approx(44_100, abs=2_400)


def corrupt(path):
    path.write_bytes(np.random.default_rng(0).bytes(5_000))


def header_only(path):
    sf.write(path, tone(), 44_100)
    path.write_bytes(path.read_bytes()[:20])


def broken_ogg(path):
    with open(path, "wb") as file:
        sf.write(file, tone(seconds=2.0), 44_100, format="OGG")
    content = path.read_bytes()
    path.write_bytes(content[:60] + bytes(len(content) - 60))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (corrupt, "cannot be decoded"),
        (header_only, "cannot be decoded"),
        (broken_ogg, "cannot be decoded"),
        (lambda path: path.write_bytes(b""), "zero bytes"),
        (lambda path: path.write_text("<html>404</html>"), "cannot be decoded"),
        (lambda path: sf.write(path, np.zeros((0, 2)), 44_100), "no samples"),
        (lambda path: sf.write(path, np.full(99, np.nan), 44_100, subtype="FLOAT"), "99 samples"),
        (lambda path: sf.write(path, np.full(9, np.inf), 44_100, subtype="FLOAT"), "infinite"),
        (lambda path: path.mkdir(), "no such sound file"),
        (lambda path: None, "no such sound file"),
    ],
)
def test_bad_files_are_named_with_the_reason(tmp_path, spoil, words):
    path = tmp_path / "clip.wav"
    spoil(path)
    with pytest.raises(AudioError, match=words) as error:
        read_audio(path)
    assert str(path) in str(error.value)


def test_a_real_clip(shared):
    waveform, sample_rate = read_audio(shared / "audio" / "000046_3840.ogg")
    assert (sample_rate, waveform.shape[1]) == (44_100, 2)
    assert len(waveform) / sample_rate == pytest.approx(10, abs=0.01)


def test_mono_is_the_mean_of_the_channels():
    channels = np.random.default_rng(0).normal(size=(100, 6)).astype(np.float32)
    np.testing.assert_allclose(to_mono(channels), channels.mean(axis=1))
    assert to_mono(channels[:, :1]).shape == (100,)
    np.testing.assert_array_equal(to_mono(channels[:, 0]), channels[:, 0])


@pytest.mark.parametrize("sample_rate", [8_000, 22_050, 44_100, 48_000, 96_000])
def test_resampling_keeps_a_tone(sample_rate):
    mono = tone(sample_rate, seconds=1.0)[:, 0].astype(np.float32)
    resampled = resample(mono, sample_rate, 16_000)
    assert resampled.dtype == np.float32
    assert len(resampled) == 16_000
    expected = tone(16_000, seconds=1.0)[:, 0]
    np.testing.assert_allclose(resampled[500:-500], expected[500:-500], atol=2e-3)


def test_resampling_cuts_what_the_new_rate_cannot_hold():
    high = tone(48_000, seconds=1.0, frequency=12_000)[:, 0].astype(np.float32)
    assert np.abs(resample(high, 48_000, 16_000)[500:-500]).max() < 1e-3


def test_silence_counts_after_the_downmix():
    sound = tone(channels=2)
    sound[:, 1] *= -1
    assert is_silent(sound)
    assert not is_silent(sound[:, 0])
    assert is_silent(np.full((10, 1), 1e-6))


@pytest.mark.parametrize(
    ("waveform", "sample_rate", "error", "words"),
    [
        (np.zeros((2, 3, 4)), 16_000, ArgumentError, r"\(2, 3, 4\)"),
        (np.zeros(100, np.int16), 16_000, ArgumentError, "int16"),
        (np.zeros(100), 0, ArgumentError, "sample_rate"),
        (np.zeros(100), float("nan"), ArgumentError, "sample_rate"),
        (np.zeros(0), 16_000, AudioError, "zero length"),
        (np.array([0.0, np.nan]), 16_000, AudioError, "1 samples are NaN"),
    ],
)
def test_bad_waveforms(waveform, sample_rate, error, words):
    with pytest.raises(error, match=words):
        check_waveform(waveform, sample_rate)
