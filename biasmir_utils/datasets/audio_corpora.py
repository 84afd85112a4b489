"""Corpora of one data set, from its audio: all of its clips, also those the paper leaves out."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biasmir_utils.corpus import Corpus, CorpusWriter, Target
from biasmir_utils.datasets import openmic_tables
from biasmir_utils.datasets.audio_files import (
    IRMAS_FOLDER,
    OPENMIC_FOLDER,
    irmas_audio,
    openmic_audio,
    with_audio,
)
from biasmir_utils.datasets.genres import GENRES
from biasmir_utils.datasets.irmas_tables import read_irmas
from biasmir_utils.datasets.known_counts import check_counts
from biasmir_utils.datasets.openmic_tables import read_classes, read_metadata, read_openmic
from biasmir_utils.datasets.paper import INSTRUMENTS
from biasmir_utils.datasets.records import unchecked_inputs
from biasmir_utils.errors import CorpusError
from biasmir_utils.files import sha256, versions

_DRUMS = {"dru": "yes", "nod": "no"}


def prepare_openmic(root: str | os.PathLike[str], out: str | os.PathLike[str]) -> Corpus:
    """Write a corpus of OpenMIC-2018, whose audio is used in place.

    All clips and all classes are in it; clips whose genre titles match none of the paper's four
    genres have no group. Metadata columns: `genres` (titles), `artist`, `title`, `start_time`
    (seconds into the track) and `licence`, as far as the metadata table has them.

    Parameters
    ----------
    root : path
        The folder that holds `openmic-2018/`.
    out : path
        The corpus folder to make.

    Raises
    ------
    CorpusError
        Naming the file and row that cannot be used; nothing is written then.
    """
    root = Path(root)
    folder = root / OPENMIC_FOLDER
    classes = read_classes(folder)
    clips, without_genre = read_openmic(folder, classes, keep_all=True)
    checked = check_counts(clips, root)
    clips = with_audio(clips, openmic_audio(root, clips["clip"]), out)
    metadata = read_metadata(folder).reindex(clips["clip"]).reset_index(drop=True)
    return _write(
        root,
        out,
        name="openmic",
        title="OpenMIC-2018",
        clips=pd.concat([clips, metadata], axis=1),
        labels=classes,
        folder=OPENMIC_FOLDER,
        tables=[folder / name for name in openmic_tables.FILES],
        notes={"no matching genre": without_genre},
        checked=checked,
        licence={
            "what": "OpenMIC-2018 (each clip of audio: see the column licence)",
            "licence": "CC BY 4.0",
            "url": "https://zenodo.org/records/1432913",
        },
    )


def prepare_irmas(root: str | os.PathLike[str], out: str | os.PathLike[str]) -> Corpus:
    """Write a corpus of the training part of IRMAS, whose audio is used in place.

    The split is the one that the paper's authors published. Clips of Latin and soul, which has
    no counterpart in OpenMIC-2018, have no group. Metadata columns: `instrument_code` and
    `genre_code` as in the clip's name, and `drums` (yes, no, or missing).

    Parameters
    ----------
    root : path
        The folder that holds `IRMAS-TrainingData/` and `paper/irmas_*.csv`.
    out : path
        The corpus folder to make.

    Raises
    ------
    CorpusError
        Naming the file that cannot be used; nothing is written then.
    """
    root = Path(root)
    lists = [root / "paper" / f"irmas_{split}.csv" for split in ("train", "test")]
    clips, without_genre = read_irmas(lists[0], lists[1], INSTRUMENTS, keep_all=True)
    checked = check_counts(clips, root)
    audio = irmas_audio(root)
    unlisted = sorted(set(audio) - set(clips["clip"]))
    if unlisted:
        raise CorpusError(
            f"{audio[unlisted[0]]}: in neither {lists[0]} nor {lists[1]} ({len(unlisted)} such "
            f"file(s)); the split is of another version, fetch both anew"
        )
    clips = with_audio(clips, audio, out)
    codes = [re.findall(r"\[([^\[\]]*)\]", name) for name in clips["clip"]]
    clips = clips.assign(
        instrument_code=[found[0] for found in codes],
        genre_code=[found[-1] for found in codes],
        drums=[
            next((_DRUMS[code] for code in found[1:-1] if code in _DRUMS), np.nan)
            for found in codes
        ],
    )
    return _write(
        root,
        out,
        name="irmas",
        title="IRMAS, training part",
        clips=clips,
        labels=list(INSTRUMENTS),
        folder=IRMAS_FOLDER,
        tables=lists,
        notes={"genre lat_sou": without_genre},
        checked=checked,
        licence={
            "what": "IRMAS, not to be redistributed",
            "licence": "CC BY-NC-SA 3.0",
            "url": "https://zenodo.org/records/1290750",
        },
    )


def _write(
    root: Path,
    out: str | os.PathLike[str],
    *,
    name: str,
    title: str,
    clips: pd.DataFrame,
    labels: list[str],
    folder: str,
    tables: list[Path],
    notes: dict[str, int],
    checked: dict[str, bool],
    licence: dict[str, Any],
) -> Corpus:
    writer = CorpusWriter(
        out,
        name=name,
        title=title,
        datasets=[name],
        groups=GENRES,
        targets=[Target(label, "label") for label in labels],
        provenance={
            "made_by": f"biasmir prepare {name}",
            "versions": versions("numpy", "pandas"),
            "sources": {str(path.relative_to(root)): sha256(path) for path in tables},
            "unchecked": unchecked_inputs(root, [*tables, root / folder]),
            "without_group": {name: notes},
            "without_audio": {name: int(clips["audio"].isna().sum())},
            "counts_as_published": checked,
        },
        licences=[licence],
    )
    return writer.write(clips)
