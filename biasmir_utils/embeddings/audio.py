"""Sound files to waveforms, and waveforms to the rate that a network wants.

Conventions: a waveform is an array of floats in [-1, 1], of shape (samples,) for one channel
or (samples, channels); mono is the mean of the channels. Durations are in seconds, sampling
rates in Hz.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from biasmir_utils.errors import ArgumentError, AudioError

RESAMPLER_QUALITY = "HQ"
SILENCE_PEAK = 1e-5
"""Below this peak (-100 dB of full scale) a clip is noted as silent."""


def read_audio(path: str | os.PathLike[str]) -> tuple[NDArray[np.float32], int]:
    """Decode a sound file, whatever its extension says.

    Parameters
    ----------
    path : path
        Any format that libsndfile knows by its content (WAV, FLAC, Ogg Vorbis and Opus,
        MP3, AIFF and more), with any number of channels and any sampling rate.

    Returns
    -------
    waveform : ndarray of shape (samples, channels), float32
    sample_rate : int

    Raises
    ------
    AudioError
        If the file is missing, is no sound file, is damaged, has no samples, or holds NaN or
        infinite samples.
    """
    import soundfile

    path = Path(path)
    if not path.is_file():
        raise AudioError(f"{path}: no such sound file; put it there, or correct the clip table")
    if path.stat().st_size == 0:
        raise AudioError(f"{path}: the file has zero bytes; fetch or export it again")
    try:
        # Without its name: soundfile takes ".raw" for samples without a header.
        source = io.BytesIO(path.read_bytes()) if path.suffix.lower() == ".raw" else path
        with soundfile.SoundFile(source) as sound:
            waveform = sound.read(dtype="float32", always_2d=True)
            sample_rate = sound.samplerate
    except (soundfile.SoundFileError, TypeError, ValueError, OSError) as error:
        raise AudioError(
            f"{path}: cannot be decoded ({_reason(error)}); fetch the file again, or convert it "
            f"to WAV or FLAC"
        ) from error
    try:
        check_waveform(waveform, sample_rate)
    except AudioError as error:
        raise AudioError(f"{path}: {error}") from error
    return waveform, sample_rate


def check_waveform(waveform: ArrayLike, sample_rate: float) -> NDArray[np.floating[Any]]:
    """Return a waveform as an array of floats, or say what is wrong with it.

    Parameters
    ----------
    waveform : array of shape (samples,) or (samples, channels)
        Floats in [-1, 1]. Larger values are kept: decoders of lossy formats give them.
    sample_rate : int or float
        In Hz.

    Raises
    ------
    ArgumentError
        If the array has another shape, holds integers, or the sampling rate is not positive.
    AudioError
        If there are no samples, or some are NaN or infinite.
    """
    array = np.asarray(waveform)
    if array.ndim not in (1, 2):
        raise ArgumentError(
            f"waveform: expected shape (samples,) or (samples, channels), found {array.shape}"
        )
    if not np.issubdtype(array.dtype, np.floating):
        raise ArgumentError(
            f"waveform: expected floats in [-1, 1], found {array.dtype}; "
            f"divide integers by their full scale"
        )
    if not np.isfinite(sample_rate) or sample_rate <= 0:
        raise ArgumentError(f"sample_rate: expected a positive number of Hz, found {sample_rate!r}")
    if array.size == 0:
        raise AudioError("no samples (zero length); replace the file, or leave the clip out")
    if not np.isfinite(array).all():
        raise AudioError(
            f"{int((~np.isfinite(array)).sum())} samples are NaN or infinite; "
            f"export the sound again"
        )
    return array


def to_mono(waveform: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Average the channels of a waveform of shape (samples,) or (samples, channels)."""
    if waveform.ndim == 1:
        return waveform
    # Channel by channel: numpy's mean over a short axis takes ten times as long.
    mono = waveform[:, 0].copy()
    for channel in waveform.T[1:]:
        mono += channel
    mono /= waveform.shape[1]
    return mono


def resample(
    mono: NDArray[np.floating[Any]], sample_rate: float, target: float
) -> NDArray[np.floating[Any]]:
    """Resample one channel with soxr (its quality `HQ`, librosa's default too).

    Parameters
    ----------
    mono : ndarray of shape (samples,)
    sample_rate, target : float
        In Hz.

    Returns
    -------
    ndarray of shape (about samples * target / sample_rate,), of the same type
        The array itself if the rates are equal.
    """
    if sample_rate == target:
        return mono
    import soxr

    return soxr.resample(np.ascontiguousarray(mono), sample_rate, target, RESAMPLER_QUALITY)


def is_silent(waveform: NDArray[np.floating[Any]]) -> bool:
    """Tell whether the peak of a waveform's mono is under -100 dB of full scale."""
    mono = to_mono(waveform)
    return bool(max(mono.max(initial=0.0), -mono.min(initial=0.0)) < SILENCE_PEAK)


def _reason(error: Exception) -> str:
    """Return libsndfile's words without the address of the file object before them."""
    text = getattr(error, "error_string", None) or str(error) or type(error).__name__
    return str(text).rstrip(". ")
