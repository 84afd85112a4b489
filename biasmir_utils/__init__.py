"""BiasMIR: dataset bias in pre-trained audio embeddings, and how to correct it."""

from biasmir_utils._version import __version__
from biasmir_utils.corpus import Corpus

__all__ = ["Corpus", "__version__"]
