"""BiasMIR: dataset bias in pre-trained audio embeddings, and how to correct it."""

from biasmir_utils.corpus import Corpus

__version__ = "0.1.0"

__all__ = ["Corpus", "__version__"]
