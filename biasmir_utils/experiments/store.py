"""Finished tasks on disk, so that a stopped run goes on where it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from biasmir_utils.experiments.tasks import TaskResult
from biasmir_utils.files import atomic_path

FINISHED = "[!.]*.json"
"""Files of finished tasks; one that is being written has a dot before its name."""


class TaskStore:
    """A folder with two files for each finished task: rows (JSON) and scores (npz).

    Parameters
    ----------
    folder : pathlib.Path
        Made when the first task is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, key: str, with_scores: bool) -> TaskResult | None:
        """Return the result kept under a key, None if it is absent, damaged or lacks scores."""
        try:
            kept = json.loads((self.folder / f"{key}.json").read_text(encoding="utf-8"))
            rows = [_from_json(row) for row in kept["rows"]]
            scores = []
            if with_scores:
                with np.load(self.folder / f"{key}.npz", allow_pickle=False) as arrays:
                    for number, score_key in enumerate(kept["score_keys"]):
                        part = {name: arrays[f"{number}/{name}"] for name in kept["score_arrays"]}
                        scores.append((_from_json(score_key), _from_arrays(part)))
            judged = [_from_json(row) for row in kept["judged"]]
            return TaskResult(rows, scores, kept["warnings"], kept["skipped"], judged)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def save(self, key: str, result: TaskResult) -> None:
        """Keep a result; the JSON file comes last and tells that the task is finished."""
        names: list[str] = []
        if result.scores:
            arrays = {}
            for number, (_, part) in enumerate(result.scores):
                names = list(part)
                for name, array in _to_arrays(part).items():
                    arrays[f"{number}/{name}"] = array
            with atomic_path(self.folder / f"{key}.npz") as temporary:
                np.savez_compressed(temporary, allow_pickle=False, **arrays)
        kept = {
            "rows": [_to_json(row) for row in result.rows],
            "score_keys": [_to_json(score_key) for score_key, _ in result.scores],
            "score_arrays": names,
            "warnings": result.warnings,
            "skipped": result.skipped,
            "judged": [_to_json(row) for row in result.judged],
        }
        with atomic_path(self.folder / f"{key}.json") as temporary:
            temporary.write_text(json.dumps(kept, allow_nan=False), encoding="utf-8")

    def keys(self) -> set[str]:
        """Return the keys under which something is kept, by any command."""
        return {path.stem for path in self.folder.glob(FINISHED)}

    def remove(self, keys: Iterable[str] | None = None) -> None:
        """Remove what is kept under some keys, or everything; the folder goes with the last."""
        if keys is None:
            shutil.rmtree(self.folder, ignore_errors=True)
            return
        for key in keys:
            for suffix in (".json", ".npz"):
                (self.folder / f"{key}{suffix}").unlink(missing_ok=True)
        if self.folder.is_dir() and not self.keys():
            shutil.rmtree(self.folder, ignore_errors=True)


def _to_json(row: dict[str, Any]) -> dict[str, Any]:
    return {key: None if value != value else value for key, value in row.items()}


def _from_json(row: dict[str, Any]) -> dict[str, Any]:
    return {key: np.nan if value is None else value for key, value in row.items()}


def _to_arrays(part: dict[str, Any]) -> dict[str, Any]:
    """Turn arrays of texts into plain text arrays; "" stands for a missing group."""
    return {
        name: np.array(["" if v is None else str(v) for v in array], dtype=str)
        if array.dtype == object
        else array
        for name, array in part.items()
    }


def _from_arrays(part: dict[str, Any]) -> dict[str, Any]:
    result = {}
    for name, array in part.items():
        if array.dtype.kind == "U":
            array = array.astype(object)
            array[array == ""] = None
        result[name] = array
    return result
