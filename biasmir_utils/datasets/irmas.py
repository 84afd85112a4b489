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
from biasmir_utils.datasets import _download, base
from biasmir_utils.errors import CorpusError

IRMAS_FOLDER = "IRMAS-TrainingData"
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
IRMAS_LICENCE = {
    "what": "IRMAS, not to be redistributed",
    "licence": "CC BY-NC-SA 3.0",
    "url": "https://zenodo.org/records/1290750",
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
    lists = irmas_lists(root)
    clips, checked = read_irmas(root)
    audio = irmas_audio(root)
    unlisted = sorted(set(audio) - set(clips["clip"]))
    if unlisted:
        raise CorpusError(
            f"{audio[unlisted[0]]}: in neither {lists[0]} nor {lists[1]} ({len(unlisted)} such "
            f"file(s)); the split is of another version, fetch both anew"
        )
    return base.write_corpus(
        out,
        base.with_audio(clips, root / IRMAS_FOLDER, audio, out),
        root,
        lists,
        root / IRMAS_FOLDER,
        base.INSTRUMENTS,
        notes={
            "made_by": "biasmir prepare irmas",
            "without_group": {"irmas": {"genre lat_sou": int(clips["group"].isna().sum())}},
            "without_audio": {"irmas": int((~clips["clip"].isin(audio)).sum())},
            "counts_as_published": {"irmas": checked},
        },
        name="irmas",
        title="IRMAS, training part",
        licences=[IRMAS_LICENCE],
    )


def irmas_lists(root: Path) -> list[Path]:
    """Return the authors' two lists of clips, train and test, under the root."""
    return [root / file.to for file in base.DATASETS["paper-split"].files]


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


def read_irmas(root: Path) -> tuple[pd.DataFrame, bool]:
    """Read the authors' split of IRMAS into a clip table.

    Parameters
    ----------
    root : pathlib.Path
        The folder that holds `paper/irmas_*.csv`, with one clip name a line. They repeat a name
        once for each frame of its embedding.

    Returns
    -------
    table : pandas.DataFrame
        Columns `dataset`, `clip`, `track`, `split`, `group` (NaN for a genre without counterpart)
        and the labels of `INSTRUMENTS`, sorted by clip. Every clip has every label observed, 1
        for its predominant instrument and 0 for the others. As metadata `instrument_code`,
        `genre_code` and `drums` (yes, no, or NaN).
    checked : bool
        Whether the lists are the published ones, so that the counts of clips were checked.

    Raises
    ------
    CorpusError
        Naming the file: a name that cannot be read, or one in both lists.
    """
    parts: list[pd.DataFrame] = []
    for split, path in zip(("train", "test"), irmas_lists(root), strict=True):
        lines = pd.Series(read_text(base.existing(path, "paper-split")).splitlines(), dtype=object)
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
    table = found[["dataset", "clip", "track", "split"]].assign(
        group=found["genre"].map(_GENRE_OF),
        **{label: (instrument == label).astype(float) for label in base.INSTRUMENTS},
        instrument_code=found["instrument"],
        genre_code=found["genre"],
        drums=found["clip"].str.extract(r"\[(dru|nod)\]", expand=False).map(_DRUMS),
    )
    files = base.DATASETS["paper-split"].files
    published = all(_download.has_sum(root / file.to, file.sum) for file in files)
    return table, base.check_counts(table, published, root)


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
                to=f"paper/irmas_{split}.csv",
                sum=f"sha256:{sum_}",
            )
            for split, sum_ in (
                ("train", "f3f7047a531899dc6c2a3f4066064f37dcf844f9d8434a6a65ea1defa5ae929f"),
                ("test", "d1a563937a25ccf26c3d87c817ad84d695dbe4bf13de92a9fe52dde008b90985"),
            )
        ),
    )
)
