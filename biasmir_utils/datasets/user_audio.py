"""The sound file of each clip of a user's table."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from biasmir_utils.datasets.user_table import UserTable, to_texts
from biasmir_utils.errors import CorpusError

SOUND_SUFFIXES = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac"),
    *(".aif", ".aiff", ".au", ".caf", ".w64", ".wma"),
)


def find_audio(
    table: UserTable, audio_root: str | os.PathLike[str] | None
) -> list[Path | None] | None:
    """Return the sound file of each row, None where the table names none.

    Parameters
    ----------
    table : UserTable
        With `dataset`, and `audio` (paths) or `clip` (names of files, with or without suffix).
    audio_root : path, optional
        Where paths start, or where files are looked for in all subfolders.

    Returns
    -------
    list of pathlib.Path or None, or None
        None as a whole if the corpus has no audio.

    Raises
    ------
    CorpusError
        Naming line and file: none there, or more than one of the name.
    """
    root = None if audio_root is None else Path(audio_root)
    if root is not None and not root.is_dir():
        raise CorpusError(f"{root}: no such folder; it should hold the audio")
    if "audio" in table.rows:
        return _named(table, table.path.parent if root is None else root)
    if root is None:
        return None
    if "clip" not in table.rows:
        return None
    return _looked_for(table, root)


def relative_to(file: Path, folder: Path) -> str:
    """Return a path from a folder to a file, with forward slashes."""
    try:
        return Path(os.path.relpath(file.resolve(), folder.resolve())).as_posix()
    except ValueError:  # another drive, on Windows
        return file.resolve().as_posix()


def _named(table: UserTable, root: Path) -> list[Path | None]:
    files: list[Path | None] = []
    for row, name in enumerate(to_texts(table.rows["audio"])):
        if pd.isna(name):
            files.append(None)
            continue
        file = root / name
        if not file.is_file():
            raise table.error(
                row, "audio", f"{file}: no such file; --audio-root names where paths start"
            )
        files.append(file)
    return files


def _looked_for(table: UserTable, root: Path) -> list[Path | None]:
    by_name: dict[str, list[Path]] = {}
    for file in sorted(root.rglob("*")):
        if file.suffix.lower() in SOUND_SUFFIXES and file.is_file():
            for name in (file.name, file.stem):
                by_name.setdefault(name, []).append(file)
    files: list[Path | None] = []
    clips, datasets = to_texts(table.rows["clip"]), table.rows["dataset"]
    for row, (clip, dataset) in enumerate(zip(clips, datasets, strict=True)):
        if pd.isna(clip):
            files.append(None)  # an error of its own, told elsewhere
            continue
        found = by_name.get(clip, [])
        # Two datasets may use one name, each in a folder of its own.
        inside = [file for file in found if dataset in file.relative_to(root).parts[:-1]]
        found = inside or found
        if not found:
            raise table.error(
                row,
                "clip",
                f"no sound file of the name {clip!r} in {root}; a column 'audio' can "
                f"hold paths, or nothing where there is none",
            )
        if len(found) > 1:
            raise table.error(
                row,
                "clip",
                f"{found[0]} and {found[1]} have the name {clip!r}; a column 'audio' "
                f"can tell which it is",
            )
        files.append(found[0])
    return files
