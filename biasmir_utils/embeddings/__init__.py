"""Pre-trained networks as embeddings: one interface, a registry, extraction for a corpus.

`load(name)` gives an `Embedding`, whose `embed(waveform, sample_rate)` returns frames of shape
(frames, D). `extract(corpus, name)` embeds all clips that a corpus has audio for.

Conventions: waveforms are floats in [-1, 1] of shape (samples,) or (samples, channels), at any
sampling rate; embeddings are float32.
"""

from biasmir_utils.embeddings.audio import read_audio
from biasmir_utils.embeddings.base import Embedding, FrontEnd
from biasmir_utils.embeddings.extraction import extract
from biasmir_utils.embeddings.extraction_report import ExtractionReport
from biasmir_utils.embeddings.preparing import default_jobs
from biasmir_utils.embeddings.registry import available, has_network, load

__all__ = [
    "Embedding",
    "ExtractionReport",
    "FrontEnd",
    "available",
    "default_jobs",
    "extract",
    "has_network",
    "load",
    "read_audio",
]
