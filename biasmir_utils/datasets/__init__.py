"""Where corpora come from: published data sets, fetched and read; tables and audio of one's own.

Each data set is a module of this package, which registers itself with `add_dataset`; all modules
are imported here.
"""

import importlib
import pkgutil

from biasmir_utils.datasets._download import fetch
from biasmir_utils.datasets.base import (
    DATASETS,
    GENRES,
    INSTRUMENTS,
    Dataset,
    RemoteFile,
    add_dataset,
    default_root,
    prepare,
)
from biasmir_utils.datasets.models import OPENL3_FILE, fetched_model
from biasmir_utils.datasets.own import import_corpus
from biasmir_utils.datasets.paper import prepare_paper

for _found in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_found.name}")

__all__ = [
    "DATASETS",
    "GENRES",
    "INSTRUMENTS",
    "OPENL3_FILE",
    "Dataset",
    "RemoteFile",
    "add_dataset",
    "default_root",
    "fetch",
    "fetched_model",
    "import_corpus",
    "prepare",
    "prepare_paper",
]
