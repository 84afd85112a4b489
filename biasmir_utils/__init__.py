"""BiasMIR: dataset bias in pre-trained audio embeddings, and how to correct it."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from biasmir_utils.corpus import Corpus
    from biasmir_utils.files import versions

__version__ = "0.1.0"

__all__ = ["Corpus", "__version__", "evaluate", "versions"]

_HOMES = {"Corpus": "corpus", "evaluate": "experiments", "versions": "files"}


def __getattr__(name: str) -> Any:
    """Load a name when it is asked for, since pandas and scikit-learn come with it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
