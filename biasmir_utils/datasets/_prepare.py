"""What the readers of published data sets share: the paper's genres and classes, audio, records."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biasmir_utils.corpus import SPLITS, Corpus, CorpusWriter, Target
from biasmir_utils.datasets._fetch import unchecked_inputs
from biasmir_utils.datasets.base import DATASETS
from biasmir_utils.errors import CorpusError
from biasmir_utils.files import sha256, versions

GENRES = ("pop_rock", "jazz_blue", "classical", "country_folk")
"""The genres of the paper, which both data sets have."""
INSTRUMENTS = (
    *("cello", "clarinet", "flute", "guitar", "organ"),
    *("piano", "saxophone", "trumpet", "violin", "voice"),
)
"""The classes that both data sets have, in the paper's order."""


def with_audio(
    table: pd.DataFrame, files: Mapping[str, Path], out: str | os.PathLike[str]
) -> pd.DataFrame:
    """Return a clip table with the column `audio`: paths relative to the corpus folder.

    Parameters
    ----------
    table : pandas.DataFrame
        With the column `clip`.
    files : mapping of str to pathlib.Path
        The sound file of each clip that has one; the others have NaN then.
    out : path
        The corpus folder.
    """
    paths = [files.get(clip) for clip in table["clip"]]
    audio = [np.nan if path is None else relative_path(path, out) for path in paths]
    return table.assign(audio=pd.Series(audio, index=table.index, dtype=object))


def relative_path(file: Path, folder: str | os.PathLike[str]) -> str:
    """Return the path from a folder to a file, with forward slashes."""
    try:
        return Path(os.path.relpath(file.resolve(), Path(folder).resolve())).as_posix()
    except ValueError:  # another drive, on Windows
        return file.resolve().as_posix()


def check_counts(table: pd.DataFrame, published: bool, root: Path) -> bool:
    """Raise `CorpusError` if published files give other counts than `Dataset.counts`.

    Parameters
    ----------
    table : pandas.DataFrame
        The clips of one data set; those without a group do not count.
    published : bool
        Whether the files that were read are the published ones; others are not checked.
    root : pathlib.Path
        The folder of the files, for the message.

    Returns
    -------
    bool
        Whether the counts were checked.
    """
    dataset = table["dataset"].iloc[0]
    part = table[table["group"].notna()]
    train = part[part["split"] == "train"]
    found = {**part["split"].value_counts(), **train["group"].value_counts()}
    for name, expected in DATASETS[dataset].counts.items() if published else ():
        count = (train[name] >= 0.5).sum() if name in train else found.get(name, 0)
        if count != expected:
            raise CorpusError(
                f"{root}: the files of {dataset} are the published ones, but give {count} "
                f"{'' if name in SPLITS else 'training '}clips of {name}, expected {expected}; "
                f"this is an error of BiasMIR, please report it"
            )
    return published


def write_corpus(
    out: str | os.PathLike[str],
    clips: pd.DataFrame,
    root: Path,
    tables: Sequence[Path],
    used: Sequence[Path],
    *,
    name: str,
    title: str,
    labels: Sequence[str],
    made_by: str,
    licences: Sequence[Mapping[str, Any]],
    notes: Mapping[str, Any],
) -> Corpus:
    """Write a corpus of published data sets, and what it was made from.

    Parameters
    ----------
    out : path
        The corpus folder to make.
    clips : pandas.DataFrame
        As `CorpusWriter.write` wants it.
    root : pathlib.Path
        The folder of fetched files.
    tables : sequence of pathlib.Path
        The files in it that were read; their sums are recorded.
    used : sequence of pathlib.Path
        Files and folders in it that the corpus uses in place.
    name, title : str
        Of the corpus.
    labels : sequence of str
        The targets.
    made_by : str
        The command.
    licences : sequence of dict
        See `Description`.
    notes : mapping
        What else is recorded.
    """
    writer = CorpusWriter(
        out,
        name=name,
        title=title,
        datasets=list(dict.fromkeys(clips["dataset"])),
        groups=GENRES,
        targets=[Target(label, "label") for label in labels],
        provenance={
            "made_by": made_by,
            "versions": versions("numpy", "pandas"),
            "sources": {str(path.relative_to(root)): sha256(path) for path in tables},
            "unchecked": unchecked_inputs(root, [*tables, *used]),
            **notes,
        },
        licences=licences,
    )
    return writer.write(clips)
