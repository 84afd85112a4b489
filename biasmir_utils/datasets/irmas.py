"""IRMAS, the training part: what the name of a clip tells, and the authors' lists of clips.

A name such as ``043__[cel][nod][cla]0029__1`` holds the predominant instrument (first
bracket), the genre (last bracket) and the track (what stands before the last ``__``).

References
----------
J. J. Bosch, J. Janer, F. Fuhrmann and P. Herrera, "A comparison of sound segregation techniques
for predominant instrument recognition in musical audio signals", ISMIR 2012.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from biasmir_utils.corpus import Corpus, read_text
from biasmir_utils.datasets import base
from biasmir_utils.errors import CorpusError

IRMAS_FOLDER = "IRMAS-TrainingData"
IRMAS_LISTS = {"train": "paper/irmas_train.csv", "test": "paper/irmas_test.csv"}
# Acoustic and electric guitar are one class in the other data set.
_INSTRUMENT_OF = {
    "cel": "cello",
    "cla": "clarinet",
    "flu": "flute",
    "gac": "guitar",
    "gel": "guitar",
    "org": "organ",
    "pia": "piano",
    "sax": "saxophone",
    "tru": "trumpet",
    "vio": "violin",
    "voi": "voice",
}
# Latin and soul has no counterpart in the other data set.
_GENRE_OF = {
    "pop_roc": "pop_rock",
    "jaz_blu": "jazz_blue",
    "cla": "classical",
    "cou_fol": "country_folk",
    "lat_sou": np.nan,
}
# Training clips of each class, in the order of `INSTRUMENTS`.
_TRAINING = (294, 378, 330, 1051, 508, 551, 476, 427, 437, 545)
_DRUMS = {"dru": "yes", "nod": "no"}
# Such as 043__[cel][nod][cla]0029__1; the track is all before the last __.
_NAME = r"^(?P<track>[^\[]*\[(?P<instrument>[^\[\]]*)\].*\[(?P<genre>[^\[\]]*)\].*)__.*$"
_AUTHORS = "https://raw.githubusercontent.com/changhongw/audio-embedding-bias"


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
    clips, audio = read_irmas(root), irmas_audio(root)
    unlisted = sorted(set(audio) - set(clips["clip"]))
    if unlisted:
        raise CorpusError(
            f"{audio[unlisted[0]]}: in neither of {' and '.join(IRMAS_LISTS.values())} in {root} "
            f"({len(unlisted)} such file(s)); the split is of another version, fetch both anew"
        )
    folder = root / IRMAS_FOLDER
    return base.write_corpus(
        out,
        root,
        {"irmas": base.with_audio(clips, folder, audio, out)},
        folder,
        base.INSTRUMENTS,
        name="irmas",
        title="IRMAS, training part",
    )


def irmas_audio(root: Path) -> dict[str, Path]:
    """Return the WAV file of each clip of the IRMAS training part.

    Raises
    ------
    CorpusError
        If a clip is in two folders.
    """
    folder = root / IRMAS_FOLDER
    found: dict[str, Path] = {}
    for code in _INSTRUMENT_OF:
        for path in sorted((folder / code).glob("*.wav")):
            if path.stem in found:
                raise CorpusError(f"{path}: the same clip is in {found[path.stem]}; delete one")
            found[path.stem] = path
    return found


def read_irmas(root: Path) -> pd.DataFrame:
    """Read the authors' split of IRMAS into a clip table.

    Parameters
    ----------
    root : pathlib.Path
        The folder that holds `paper/irmas_*.csv`, with one clip name a line. They repeat a name
        once for each frame of its embedding.

    Returns
    -------
    pandas.DataFrame
        Columns `dataset`, `clip`, `track`, `split`, `group` (NaN for a genre without counterpart)
        and the labels of `INSTRUMENTS`, sorted by clip. Every clip has every label observed, 1
        for its predominant instrument and 0 for the others. As metadata `instrument_code`,
        `genre_code` and `drums` (yes, no, or NaN).

    Raises
    ------
    CorpusError
        Naming the file: a name that cannot be read, or one in both lists.
    """
    parts: list[pd.DataFrame] = []
    for split, name in IRMAS_LISTS.items():
        path = base.existing(root / name, "paper-split")
        lines = pd.Series(read_text(path).splitlines(), dtype=object)
        names = lines.str.strip().str.strip('"').replace("", np.nan).dropna().drop_duplicates()
        if names.empty:
            raise CorpusError(f"{path}: the list is empty, expected one clip name a line")
        part = names.str.extract(_NAME).assign(dataset="irmas", clip=names, split=split)
        part.index = pd.Index(part.index + 1, name="line")
        problems = {
            "not of the form 043__[cel][nod][cla]0029__1": part["track"].isna(),
            f"the instrument is none of {', '.join(_INSTRUMENT_OF)}": (
                ~part["instrument"].isin(_INSTRUMENT_OF)
            ),
            f"the genre is none of {', '.join(_GENRE_OF)}": ~part["genre"].isin(_GENRE_OF),
            "a clip of the other list": part["clip"].isin(parts[0]["clip"] if parts else []),
        }
        base.refuse_rows(path, part, ["clip"], problems)
        parts.append(part)
    found = pd.concat(parts).sort_values("clip", ignore_index=True)
    instrument = found["instrument"].map(_INSTRUMENT_OF)
    return found[["dataset", "clip", "track", "split"]].assign(
        group=found["genre"].map(_GENRE_OF),
        **{label: (instrument == label).astype(float) for label in base.INSTRUMENTS},
        instrument_code=found["instrument"],
        genre_code=found["genre"],
        drums=found["clip"].str.extract(r"\[(dru|nod)\]", expand=False).map(_DRUMS),
    )


base.add_dataset(
    base.Dataset(
        name="irmas",
        title="IRMAS, the training part: 6,705 excerpts of 3 s",
        licence="CC BY-NC-SA 3.0, for non-commercial use, no redistribution",
        page="https://zenodo.org/records/1290750",
        files=(
            base.RemoteFile(
                name="IRMAS-TrainingData.zip",
                url="https://zenodo.org/records/1290750/files/IRMAS-TrainingData.zip?download=1",
                to=IRMAS_FOLDER,
                sum="md5:4fd9f5ed5a18d8e2687e6360b5f60afe",
                size=3_200_000_000,
                unpacked=3_600_000_000,
                holds=tuple(_INSTRUMENT_OF),
            ),
        ),
        tables=tuple(IRMAS_LISTS.values()),
        without_group="genre lat_sou",
        # Of Wang, Richard and McFee (ISMIR 2023), and of their published program.
        counts={
            "train": 4997,
            "test": 1666,
            **dict(zip(base.INSTRUMENTS, _TRAINING, strict=True)),
        },
        prepare=prepare_irmas,
        help="Make a corpus of the IRMAS training part in OUT, whose audio is used in place.",
        needs="IRMAS-TrainingData/ (the archive) and paper/ (the split)",
    )
)
base.add_dataset(
    base.Dataset(
        name="paper-split",
        title="The split of IRMAS that the paper's authors published",
        licence="not stated by its authors: for your own use, not to be passed on",
        page="https://github.com/changhongw/audio-embedding-bias",
        files=tuple(
            base.RemoteFile(
                name=f"irmas_{split}.csv",
                url=f"{_AUTHORS}/e0e20bfed5af55d2de8cf084bd95bf0d348d4f6d/data/irmas/irmas_{split}.csv",
                to=IRMAS_LISTS[split],
                sum=f"sha256:{sum_}",
            )
            for split, sum_ in (
                ("train", "f3f7047a531899dc6c2a3f4066064f37dcf844f9d8434a6a65ea1defa5ae929f"),
                ("test", "d1a563937a25ccf26c3d87c817ad84d695dbe4bf13de92a9fe52dde008b90985"),
            )
        ),
    )
)
