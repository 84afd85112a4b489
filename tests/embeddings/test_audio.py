"""Decoding every kind of sound file that a collection may hold, and what a front end takes."""

from __future__ import annotations

import os

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


PROMISES = {"wav": {}, "aiff": {}, "au": {}, "mp3": {}, "w64": {}, "rf.wav": {"format": "RF64"}}
PROMISES |= {"gsm.wav": {"subtype": "GSM610"}, "ogg": {}, "opus": {"subtype": "OPUS"}}


@pytest.mark.parametrize("kind", PROMISES)
def test_half_a_file_is_told(tmp_path, kind, capfd):
    path, rate = tmp_path / f"clip.{kind}", 48_000
    kinds = {"format": "OGG" if kind == "opus" else None, **PROMISES[kind]}
    sf.write(path, np.random.default_rng(0).normal(0, 0.1, 8 * rate), rate, **kinds)
    whole = len(read_audio(path)[0])
    assert whole == pytest.approx(8 * rate, abs=400)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.warns(UserWarning, match=r"the file holds [2-4]\.\d{3} s") as told:
        n = len(read_audio(path)[0])
    assert 0 < n < 0.6 * whole
    assert str(path) in str(told[0].message)
    if kind not in ("ogg", "opus"):  # whose headers promise nothing
        assert "promises 8.0" in str(told[0].message) or "promises 7.999" in str(told[0].message)
    assert capfd.readouterr().err == "", "chatter of the decoder"


def put(path, where, content):
    """Write something over the bytes at, or after a mark in, a file."""
    data = path.read_bytes()
    at = where if isinstance(where, int) else data.index(where) + len(where)
    path.write_bytes(data[:at] + content + data[at + len(content) :])


# A format, options, where the length stands, and what stands there.
UNKNOWN = [
    *(("wav", {}, b"data", content * 4) for content in (b"\0", b"\xff")),
    ("aiff", {}, b"SSND", bytes(4)),
    *(("au", {}, 8, content * 4) for content in (b"\0", b"\xff")),
    *(("wav", {"format": "RF64"}, 20, content * 24) for content in (b"\0", b"\xff")),
    ("flac", {}, 22, bytes(4)),
]


@pytest.mark.parametrize(("extension", "options", "where", "size"), UNKNOWN)
def test_a_stream_of_unknown_length_is_read_to_its_end(
    tmp_path, extension, options, where, size, recwarn
):
    path = tmp_path / f"clip.{extension}"
    sf.write(path, tone(seconds=1.0, channels=2), 44_100, **options)
    expected = read_audio(path)[0]
    put(path, where, size)
    np.testing.assert_array_equal(read_audio(path)[0], expected)
    assert not recwarn.list


def test_a_length_that_cannot_be_is_no_reason_to_take_the_memory(tmp_path):
    path = tmp_path / "clip.flac"
    sf.write(path, tone(seconds=1.0), 44_100)
    byte = path.read_bytes()[21] | 15
    put(path, 21, bytes([byte]) + b"\xff" * 4)
    with pytest.warns(UserWarning, match=r"promises 1558264\.\d* s, the file holds 1\.000 s"):
        assert len(read_audio(path)[0]) == 44_100


def test_blocks_are_the_whole_and_too_much_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "clip.ogg"
    sf.write(path, np.random.default_rng(0).normal(0, 0.1, (50_000, 2)), 16_000)
    expected = sf.read(path, dtype="float32")[0]
    monkeypatch.setattr("biasmir_utils.embeddings.base._BLOCK", 2 * 7_001)
    np.testing.assert_array_equal(read_audio(path)[0], expected)
    monkeypatch.setattr("biasmir_utils.embeddings.base._MOST_SAMPLES", 60_000)
    assert len(FrontEnd(16_000, 0.1)(expected, 16_000)) == 50_000
    with pytest.raises(AudioError, match="too long"):
        FrontEnd(22_050, 0.1)(expected, 16_000)
    monkeypatch.setattr("biasmir_utils.embeddings.base._MOST_SAMPLES", 30_000)
    with pytest.raises(AudioError, match=r"clip\.ogg: too long: .*cut it into shorter clips"):
        read_audio(path)


def broken_ogg(path):
    with open(path, "wb") as file:
        sf.write(file, tone(seconds=2.0), 44_100, format="OGG")
    content = path.read_bytes()
    path.write_bytes(content[:60] + bytes(len(content) - 60))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (broken_ogg, "cannot be decoded"),
        (lambda path: path.write_text("\n <!DOCTYPE html>404</html>"), "web page"),
        (
            lambda path: path.write_text("version https://git-lfs.github.com/spec/v1"),
            "git lfs pull",
        ),
        (lambda path: sf.write(path, np.zeros(11_000), 1), "sampling rate is 1 Hz"),
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
        (np.zeros((2, 30_000)), 16_000, ArgumentError, r"\(2, 30000\); is it to be transposed"),
        ((np.zeros(100), 16_000), 16_000, ArgumentError, "one array of samples"),
        (np.zeros(100, np.int16), 16_000, ArgumentError, "int16"),
        *(
            (np.zeros(100), rate, ArgumentError, "sample_rate")
            for rate in (0, 1, float("nan"), None, "22050", [16_000], 2**31)
        ),
        (np.zeros(0), 16_000, AudioError, "zero length"),
        (np.array([0.0, np.nan]), 16_000, AudioError, "1 samples are NaN"),
        (np.zeros(100), 16_000, AudioError, r"too short: 0\.006 s"),
    ],
)
def test_bad_waveforms(waveform, sample_rate, error, words):
    with pytest.raises(error, match=words):
        FrontEnd(16_000, shortest=0.1)(waveform, sample_rate)
