"""Pre-trained networks as embeddings: one interface, their names, extraction for a corpus.

`load(name)` gives an `Embedding`, whose `embed(waveform, sample_rate)` returns frames of shape
(frames, D). `extract(corpus, name)` embeds all clips that a corpus has audio for.

A new embedding is one class in one file: in this folder it is found by itself, elsewhere it is
there once its module is imported::

    @add_embedding
    class Level(Embedding):
        name, summary = "level", "Root mean square of a clip"
        licence, weights = "none needed", "nothing was learned"
        dimension, sample_rate, hop, window = 1, 16_000, 0.0, 0.0

        def run(self, inputs):
            return [np.float32([[np.sqrt(np.mean(clip**2))]]) for clip in inputs]

Conventions: waveforms are floats in [-1, 1] of shape (samples,) or (samples, channels), at any
sampling rate; embeddings are float32.
"""

from importlib import import_module
from pkgutil import iter_modules

from biasmir_utils.embeddings.base import Embedding, FrontEnd, read_audio
from biasmir_utils.embeddings.extraction import ExtractionReport, extract
from biasmir_utils.embeddings.names import add_embedding, available, check_known, load

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = [
    "Embedding",
    "ExtractionReport",
    "FrontEnd",
    "add_embedding",
    "available",
    "check_known",
    "extract",
    "load",
    "read_audio",
]
