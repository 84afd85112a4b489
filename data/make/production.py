"""What happens to the music after it is played: a chain of named steps, then a codec.

:data:`STEPS` lists the chain in order. Each step takes a waveform (mono float32, 44.1 kHz), the
:class:`Production` of its track and a random stream for the clip, and gives a waveform of the same
length. :func:`stages` yields what each step gives, to be heard one after the other.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.signal
import soundfile
from numpy.random import Generator

from design import ProductionDesign, Track
from synth import SAMPLE_RATE

PEAK = 0.89  # largest sample before the codec (a lossy one may overshoot a little)
DRIVE = 1.3  # gain into the soft clipper, where there is one
DRIEST = 0.05  # degradations of the room below this leave out the reverberation
EQUALISER_OCTAVES = (-5.0, 4.5)  # lowest and highest knot of the equaliser, octaves from 1 kHz
EQUALISER_KNOTS = 7


@dataclass(frozen=True)
class Production:
    """The production of one track.

    Attributes
    ----------
    equaliser_db : tuple of float
        Gains at :data:`EQUALISER_KNOTS` frequencies, 31 Hz to 23 kHz, dB.
    reverb_seconds : float
        Decay time (60 dB); 0 for none.
    reverb_wet : float
        Share of the reverberated sound; 0 for none.
    highpass_hz : float
        Lower band limit.
    lowpass_hz : float
        Upper band limit.
    level_db : float
        RMS level, dB relative to full scale.
    saturated : bool
        Whether a soft clipper follows.
    noise_db : float
        Level of white noise relative to the signal.
    codec : str
        ``"none"`` or ``"vorbis"``.
    codec_compression : float
        Compression level of the codec, 0 (best) to 1; NaN without one.
    room : int
        Seed of the room's impulse response.
    """

    equaliser_db: tuple[float, ...]
    reverb_seconds: float
    reverb_wet: float
    highpass_hz: float
    lowpass_hz: float
    level_db: float
    saturated: bool
    noise_db: float
    codec: str
    codec_compression: float
    room: int


def draw_production(design: ProductionDesign, track: Track, seed: int) -> Production:
    """Draw the production of a track.

    The random numbers are the same for every design; the design only says what they mean. Two
    designs thus give the same track two productions that differ by nothing but the design.
    """
    rng = track.stream(seed, "production")
    around = rng.normal(0.0, 1.0, 4)
    tilt = rng.normal(0.0, 1.0, EQUALISER_KNOTS)
    loudness, room = rng.uniform(), int(rng.integers(2**31))
    mean = design.degradation[track.genre]
    wet, band, noise, codec = np.clip(mean + design.degradation_sd * around, 0.0, 1.0).tolist()

    def between(u: float, clean: float, worn: float) -> float:
        return clean + (worn - clean) * u

    return Production(
        equaliser_db=tuple((tilt * design.equaliser_sd).tolist()),
        reverb_seconds=between(wet, 0.25, 1.6) if wet > DRIEST else 0.0,
        reverb_wet=between(wet, 0.0, 0.45) if wet > DRIEST else 0.0,
        highpass_hz=between(band, 25.0, 180.0),
        lowpass_hz=float(np.exp(between(band, np.log(16_000.0), np.log(3_000.0)))),
        level_db=between(loudness, *design.level_db),
        saturated=design.saturated,
        noise_db=between(noise, -72.0, -36.0),
        codec=design.codec,
        codec_compression=between(codec, 0.5, 0.99) if design.codec == "vorbis" else float("nan"),
        room=room,
    )


def equalise(wave: np.ndarray, production: Production, rng: Generator) -> np.ndarray:
    """Tilt and bend the spectrum."""
    frequencies = np.fft.rfftfreq(len(wave), 1 / SAMPLE_RATE)
    octaves = np.log2(np.maximum(frequencies, 20.0) / 1000.0)
    knots = np.linspace(*EQUALISER_OCTAVES, EQUALISER_KNOTS)
    gains = 10 ** (np.interp(octaves, knots, production.equaliser_db) / 20)
    return np.fft.irfft(np.fft.rfft(wave) * gains, len(wave))


def reverberate(wave: np.ndarray, production: Production, rng: Generator) -> np.ndarray:
    """Put the music into a room: noise that decays by 60 dB, darkened."""
    if production.reverb_wet == 0:
        return wave
    length = round(production.reverb_seconds * SAMPLE_RATE)
    decay = np.exp(-np.log(1000.0) * np.arange(length) / length)
    response = np.random.default_rng(production.room).normal(0.0, 1.0, length) * decay
    response = scipy.signal.lfilter([0.4], [1.0, -0.6], response)
    wet = scipy.signal.fftconvolve(wave, response)[: len(wave)]
    wet *= rms(wave) / max(rms(wet), 1e-12)
    return (1 - production.reverb_wet) * wave + production.reverb_wet * wet


def limit_band(wave: np.ndarray, production: Production, rng: Generator) -> np.ndarray:
    """Take away the lowest and the highest frequencies."""
    edges = (production.highpass_hz, production.lowpass_hz)
    sections = scipy.signal.butter(4, edges, "bandpass", fs=SAMPLE_RATE, output="sos")
    return scipy.signal.sosfilt(sections, wave)


def set_level(wave: np.ndarray, production: Production, rng: Generator) -> np.ndarray:
    """Bring the RMS to the track's level."""
    return wave * (10 ** (production.level_db / 20) / max(rms(wave), 1e-12))


def saturate(wave: np.ndarray, production: Production, rng: Generator) -> np.ndarray:
    """Drive the signal into a soft clipper, as loud masters are."""
    return PEAK * np.tanh(DRIVE * wave / PEAK) if production.saturated else wave


def add_noise(wave: np.ndarray, production: Production, rng: Generator) -> np.ndarray:
    """Add white noise."""
    level = rms(wave) * 10 ** (production.noise_db / 20)
    return wave + level * rng.normal(0.0, 1.0, len(wave))


def limit_peak(wave: np.ndarray, production: Production, rng: Generator) -> np.ndarray:
    """Turn a clip down whose peak is above :data:`PEAK`."""
    peak = np.abs(wave).max()
    return wave * (PEAK / peak) if peak > PEAK else wave


STEPS: dict[str, Callable[[np.ndarray, Production, Generator], np.ndarray]] = {
    "equaliser": equalise,
    "reverberation": reverberate,
    "band limits": limit_band,
    "level": set_level,
    "saturation": saturate,
    "noise": add_noise,
    "peak limit": limit_peak,
}


def stages(
    wave: np.ndarray, production: Production, rng: Generator
) -> Iterator[tuple[str, np.ndarray]]:
    """Send a clip through the chain and the codec, step by step.

    Parameters
    ----------
    wave : ndarray of shape (n,)
        Dry mix, 44.1 kHz.
    production : Production
        Production of its track.
    rng : numpy.random.Generator
        Stream of the clip's own randomness (noise).

    Yields
    ------
    name : str
        Name of the step, a key of :data:`STEPS`, or at the end ``"codec"``.
    wave : ndarray of shape (n,)
        What the step gives, float32.
    """
    for name, step in STEPS.items():
        wave = step(wave, production, rng).astype(np.float32)
        yield name, wave
    yield "codec", soundfile.read(io.BytesIO(encode(wave, production)), dtype="float32")[0]


def encode(wave: np.ndarray, production: Production) -> bytes:
    """Encode a clip as the track's codec wants it: Ogg Vorbis, or 16-bit FLAC for none."""
    how: dict[str, Any] = {"format": "FLAC", "subtype": "PCM_16"}
    if production.codec == "vorbis":
        how = {"format": "OGG", "subtype": "VORBIS"}
        how["compression_level"] = production.codec_compression
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, SAMPLE_RATE, **how)
    return buffer.getvalue()


def rms(wave: np.ndarray) -> float:
    """Root mean square of a waveform."""
    return float(np.sqrt(np.mean(np.square(wave, dtype=np.float64))))
