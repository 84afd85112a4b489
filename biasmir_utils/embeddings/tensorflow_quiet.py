"""TensorFlow, imported late and without its start-up messages."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from biasmir_utils.embeddings.base import require


def import_tensorflow(purpose: str) -> Any:
    """Import TensorFlow quietly and return it.

    Parameters
    ----------
    purpose : str
        What needs it, for the error message.

    Raises
    ------
    ModelError
        If TensorFlow is not installed.
    """
    require("tensorflow", "tensorflow", purpose)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GLOG_minloglevel", "3")
    if "tensorflow" not in sys.modules:
        with _native_stderr_dropped():
            importlib.import_module("tensorflow")
    tf = sys.modules["tensorflow"]
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    return tf


@contextmanager
def _native_stderr_dropped() -> Iterator[None]:
    """Drop what C++ writes to the process's stderr; Python's exceptions still pass.

    TensorFlow's libraries report on oneDNN and absent GPUs before their own logging, and with
    it TF_CPP_MIN_LOG_LEVEL, is set up; in a notebook these lines would stand in the book.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)
