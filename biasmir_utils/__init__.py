"""BiasMIR: dataset bias in pre-trained audio embeddings, and how to correct it."""

from typing import Any

from biasmir_utils.corpus import Corpus
from biasmir_utils.files import versions

__version__ = "0.1.0"

__all__ = ["Corpus", "__version__", "evaluate", "versions"]


def __getattr__(name: str) -> Any:
    """Load `evaluate` when it is asked for, since scikit-learn comes with it."""
    if name != "evaluate":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from biasmir_utils.experiments import evaluate

    return evaluate
