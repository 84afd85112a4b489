"""What earlier downloads left on record, beside the downloads: sums and lists of files."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from biasmir_utils.datasets.archives import changed_files
from biasmir_utils.files import write_json

DOWNLOADS = "downloads"
"""Folder of archives and records, in the root of what was fetched."""


@dataclass(frozen=True)
class Unpacking:
    """An archive that was unpacked.

    Attributes
    ----------
    sum : str
        Of the archive.
    files : dict
        Size in bytes of each file, by its path inside the folder.
    """

    sum: str
    files: dict[str, int]

    def intact(self, folder: Path) -> bool:
        """Tell whether every file is still there with its size."""
        return bool(self.files) and not changed_files(folder, self.files)


class Records:
    """The records in one folder. A record that cannot be read counts as none.

    Parameters
    ----------
    folder : pathlib.Path
        Where they are kept, as small JSON files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._sums = folder / "sums.json"

    def sum(self, name: str) -> str | None:
        """Return the recorded sum of a file that has none in the table."""
        entry = _read(self._sums).get(name)
        value = entry.get("sum") if isinstance(entry, dict) else None
        return value if isinstance(value, str) else None

    def record_sum(
        self, name: str, value: str, told_by: str, *, licence: str | None = None
    ) -> None:
        """Record a sum, where it is from, and the licence that was stated there."""
        self._record(name, {"sum": value, "told_by": told_by, "licence": licence})

    def record_unchecked(self, name: str, value: str, became: str) -> None:
        """Record the sum of a file whose published sum could not be asked for.

        `became` is the file or folder that one uses, relative to the root.
        """
        entry = {"sum": value, "told_by": "nobody", "unchecked": True, "became": became}
        self._record(name, entry)

    def unchecked(self, name: str) -> bool:
        """Tell whether a file is there whose published sum has still to be asked for."""
        entry = _read(self._sums).get(name)
        return isinstance(entry, dict) and entry.get("unchecked") is True

    def unchecked_sums(self) -> dict[str, str]:
        """Return the sums of these files, by what they became."""
        entries = [entry for entry in _read(self._sums).values() if isinstance(entry, dict)]
        return {
            str(entry["became"]): str(entry.get("sum"))
            for entry in entries
            if entry.get("unchecked") is True and "became" in entry
        }

    def licence(self, name: str) -> str | None:
        """Return the licence that was stated with the sum."""
        entry = _read(self._sums).get(name)
        value = entry.get("licence") if isinstance(entry, dict) else None
        return value if isinstance(value, str) else None

    def _record(self, name: str, entry: dict[str, Any]) -> None:
        sums = _read(self._sums)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        known = {key: value for key, value in entry.items() if value is not None}
        sums[name] = {**known, "date": now}
        write_json(self._sums, sums)

    def unpacking(self, name: str) -> Unpacking | None:
        """Return what the archive of this name was unpacked to."""
        content = _read(self._list(name))
        try:
            files = {str(path): int(size) for path, size in content["files"].items()}
            return Unpacking(str(content["sum"]), files)
        except (KeyError, AttributeError, TypeError, ValueError):
            return None

    def record_unpacking(self, name: str, unpacking: Unpacking) -> None:
        """Record that an archive was unpacked."""
        write_json(self._list(name), {"sum": unpacking.sum, "files": unpacking.files})

    def forget_unpacking(self, name: str) -> None:
        """Remove that record, before the folder is changed."""
        self._list(name).unlink(missing_ok=True)

    def _list(self, name: str) -> Path:
        return self.folder / f"{name}.unpacked.json"


def unchecked_inputs(root: Path, used: Iterable[Path]) -> dict[str, str]:
    """Return the sums of fetched files that were used and that nobody has vouched for.

    Parameters
    ----------
    root : pathlib.Path
        Of what was fetched.
    used : iterable of pathlib.Path
        Files, or folders of unpacked archives, in the root.

    Returns
    -------
    dict
        By the path relative to the root.
    """
    files = [path.absolute() for path in used]
    return {
        name: value
        for name, value in Records(root / DOWNLOADS).unchecked_sums().items()
        if any(file.is_relative_to((root / name).absolute()) for file in files)
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
