"""Where the audio of the unpacked data sets lies, for corpora that use it in place."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from biasmir_utils.datasets.irmas_tables import IRMAS_INSTRUMENTS
from biasmir_utils.errors import CorpusError

OPENMIC_FOLDER = "openmic-2018"
IRMAS_FOLDER = "IRMAS-TrainingData"


def openmic_audio(root: Path, clips: Iterable[str]) -> dict[str, Path]:
    """Return the Ogg file of each clip of OpenMIC-2018 that has one.

    Raises
    ------
    CorpusError
        If the folder has none of them.
    """
    folder = root / OPENMIC_FOLDER / "audio"
    places = {clip: folder / clip[:3] / f"{clip}.ogg" for clip in clips}
    found = {clip: path for clip, path in places.items() if path.is_file()}
    if not found:
        raise CorpusError(
            f"{folder}: no audio of OpenMIC-2018; run `biasmir fetch openmic` first "
            f"(with the same --root)"
        )
    return found


def irmas_audio(root: Path) -> dict[str, Path]:
    """Return the WAV file of each clip of the IRMAS training part.

    Raises
    ------
    CorpusError
        If there is none, or a clip is in two folders.
    """
    folder = root / IRMAS_FOLDER
    found: dict[str, Path] = {}
    for code in IRMAS_INSTRUMENTS:
        for path in sorted((folder / code).glob("*.wav")):
            if path.stem in found:
                raise CorpusError(f"{path}: the same clip is in {found[path.stem]}; delete one")
            found[path.stem] = path
    if not found:
        raise CorpusError(
            f"{folder}: no audio of IRMAS; run `biasmir fetch irmas` first (with the same --root)"
        )
    return found


def with_audio(
    table: pd.DataFrame, files: Mapping[str, Path], out: str | os.PathLike[str]
) -> pd.DataFrame:
    """Return the table with the column `audio`: paths relative to the corpus folder `out`.

    A clip without a file has NaN there.
    """
    folder = Path(out).resolve()
    paths = [files.get(clip) for clip in table["clip"]]
    audio = [np.nan if path is None else _relative(path.resolve(), folder) for path in paths]
    return table.assign(audio=pd.Series(audio, index=table.index, dtype=object))


def _relative(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # another drive, on Windows
        return path.as_posix()
