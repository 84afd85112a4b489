"""Fitted corrections on disk: arrays and JSON in one .npz file, without pickle.

The file holds the class, its parameters and what it learned: of every class that is `Storable`,
the attributes whose names end in an underscore. Nothing in it is executed on loading: only such
classes are made, with arrays, numbers and texts.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from biasmir_utils.corrections.base import DomainTransformer, Storable
from biasmir_utils.corrections.maps import SpanMatrix
from biasmir_utils.errors import ArgumentError
from biasmir_utils.files import atomic_path, versions

CORRECTION_FORMAT, CORRECTION_FORMAT_VERSION = "biasmir-correction", 1
_HEADER = "correction.json"
_INCOMPLETE = (ValueError, KeyError, TypeError, AttributeError)
_DAMAGED = (*_INCOMPLETE, EOFError, zipfile.BadZipFile, zlib.error)


def save_correction(
    path: str | os.PathLike[str], correction: Any, record: Mapping[str, Any] | None = None
) -> None:
    """Write a fitted correction to a file, atomically.

    Parameters
    ----------
    path : path
        Usually ending in .npz.
    correction : DomainTransformer or Fastfood
        Fitted.
    record : mapping, optional
        What else to keep, as JSON: for instance what it was fitted on. See `read_record`.

    Raises
    ------
    NotFittedError
        If it is not fitted.
    ArgumentError
        If it is no correction, or has a parameter that is no number, text or other correction (a
        random generator, for instance).
    """
    if not isinstance(correction, Storable):
        raise ArgumentError(f"{correction!r} cannot be saved: it is no correction (path first).")
    check_is_fitted(correction)
    arrays: dict[str, Any] = {}
    header = {
        "format": CORRECTION_FORMAT,
        "format_version": CORRECTION_FORMAT_VERSION,
        "versions": versions("numpy", "scikit-learn"),
        "record": dict(record or {}),
        "correction": _encode(correction, arrays),
    }
    text = json.dumps(header, indent=1, allow_nan=False)
    arrays[_HEADER] = np.frombuffer(text.encode(), dtype=np.uint8)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def load_correction(path: str | os.PathLike[str]) -> DomainTransformer:
    """Read a correction that `save_correction` wrote.

    Parameters
    ----------
    path : path
        Of the .npz file. The class of a correction of one's own must have been imported.

    Returns
    -------
    DomainTransformer
        Fitted; a `Fastfood` where that was saved.

    Raises
    ------
    ArgumentError
        If the file is missing, truncated, or of another kind or version.
    """
    header, arrays = _read(Path(path))
    try:
        loaded: DomainTransformer = _decode(header["correction"], arrays)
    except _INCOMPLETE as error:
        raise ArgumentError(f"{path}: the correction is incomplete ({error!r}).") from error
    return loaded


def read_record(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the record that `save_correction` kept beside a correction; empty without one.

    Parameters
    ----------
    path : path
        Of the .npz file.

    Raises
    ------
    ArgumentError
        As `load_correction`.
    """
    record = _read(Path(path))[0].get("record", {})
    return record if isinstance(record, dict) else {}


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the header and the arrays of a file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            header = json.loads(file[_HEADER].tobytes())
            arrays = {name: file[name] for name in file.files if name != _HEADER}
        found = header["format"], header["format_version"]
    except OSError as error:
        raise ArgumentError(
            f"{path}: no saved correction can be read ({error.strerror or error})."
        ) from error
    except _DAMAGED:
        # NumPy's own messages on such files speak of pickle, which is never the way out here.
        raise ArgumentError(
            f"{path}: not a correction saved by save_correction: it is no .npz archive with "
            f"{_HEADER}, or a damaged one. Give a file that save_correction or `biasmir correct` "
            "wrote, or write it again."
        ) from None
    if found != (CORRECTION_FORMAT, CORRECTION_FORMAT_VERSION):
        raise ArgumentError(
            f"{path}: format {found[0]!r}, version {found[1]!r}; "
            f"this release reads {CORRECTION_FORMAT!r}, version {CORRECTION_FORMAT_VERSION}."
        )
    return header, arrays


def _encode(value: Any, arrays: dict[str, Any]) -> dict[str, Any]:
    """Return a value as JSON that names the kind of what it holds; arrays are put aside."""
    if isinstance(value, Storable):
        parameters = value.get_params(deep=False)
        learned = {key: one for key, one in vars(value).items() if key.endswith("_")}
        return {
            "class": type(value).__name__,
            "parameters": {key: _encode(one, arrays) for key, one in parameters.items()},
            "attributes": {key: _encode(one, arrays) for key, one in learned.items()},
        }
    if isinstance(value, SpanMatrix):
        parts = {one.name: getattr(value, one.name) for one in fields(value)}
        return {"span_matrix": {key: _encode(part, arrays) for key, part in parts.items()}}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        same = (name for name, array in arrays.items() if array is value)
        name = next(same, f"array_{len(arrays)}")  # one basis serves several matrices
        arrays[name] = value
        return {"array": name}
    if isinstance(value, np.ndarray):
        return {"labels": [_encode(item, arrays)["value"] for item in value.tolist()]}
    if isinstance(value, list | tuple):
        return {"list": [_encode(item, arrays) for item in value]}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return {"value": value}
    raise ArgumentError(f"{value!r} cannot be saved: it is no correction, number or text.")


def _decode(node: dict[str, Any], arrays: dict[str, Any]) -> Any:
    """Return what `_encode` has described."""
    (kind, content), *_ = node.items()
    if kind == "array":
        return arrays[content]
    if kind == "labels":
        return np.array(content, dtype=object)
    if kind == "list":
        return [_decode(item, arrays) for item in content]
    if kind == "span_matrix":
        return SpanMatrix(**{key: _decode(part, arrays) for key, part in content.items()})
    if kind == "value":
        return content
    parameters = {key: _decode(value, arrays) for key, value in node["parameters"].items()}
    estimator = Storable.classes[content](**parameters)
    for key, value in node["attributes"].items():
        setattr(estimator, key, _decode(value, arrays))
    return estimator
