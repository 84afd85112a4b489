"""Where corpora come from: readers of published data sets' own files."""

from biasmir_utils.datasets.audio_corpora import prepare_irmas, prepare_openmic
from biasmir_utils.datasets.download import Patience
from biasmir_utils.datasets.fetch import default_root, fetch, fetched_model
from biasmir_utils.datasets.genres import GENRES
from biasmir_utils.datasets.paper import INSTRUMENTS, prepare_paper
from biasmir_utils.datasets.registry import Registry
from biasmir_utils.datasets.tabular import import_corpus

__all__ = [
    "GENRES",
    "INSTRUMENTS",
    "Patience",
    "Registry",
    "default_root",
    "fetch",
    "fetched_model",
    "import_corpus",
    "prepare_irmas",
    "prepare_openmic",
    "prepare_paper",
]
