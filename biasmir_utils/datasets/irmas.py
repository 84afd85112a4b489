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
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from biasmir_utils.corpus import Corpus
from biasmir_utils.datasets._fetch import is_published
from biasmir_utils.datasets._prepare import INSTRUMENTS, check_counts, with_audio, write_corpus
from biasmir_utils.datasets.base import DATASETS, Dataset, RemoteFile, add_dataset
from biasmir_utils.errors import CorpusError

IRMAS_FOLDER = "IRMAS-TrainingData"
# Acoustic and electric guitar are one class in the other data set.
IRMAS_INSTRUMENTS = {
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
IRMAS_GENRES = {
    "pop_roc": "pop_rock",
    "jaz_blu": "jazz_blue",
    "cla": "classical",
    "cou_fol": "country_folk",
    "lat_sou": None,
}
IRMAS_LICENCE = {
    "what": "IRMAS, not to be redistributed",
    "licence": "CC BY-NC-SA 3.0",
    "url": "https://zenodo.org/records/1290750",
}
_DRUMS = {"dru": "yes", "nod": "no"}
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
    clips, without_genre = read_irmas(root, INSTRUMENTS, keep_all=True)
    checked = check_irmas(clips, root)
    audio = irmas_audio(root)
    unlisted = sorted(set(audio) - set(clips["clip"]))
    if unlisted:
        raise CorpusError(
            f"{audio[unlisted[0]]}: in neither {lists[0]} nor {lists[1]} ({len(unlisted)} such "
            f"file(s)); the split is of another version, fetch both anew"
        )
    clips = with_audio(clips, audio, out)
    codes = [_codes(name) for name in clips["clip"]]
    drums = [next((_DRUMS[c] for c in found[1:-1] if c in _DRUMS), np.nan) for found in codes]
    clips = clips.assign(
        instrument_code=[found[0] for found in codes],
        genre_code=[found[-1] for found in codes],
        drums=drums,
    )
    return write_corpus(
        out,
        clips,
        root,
        lists,
        [root / IRMAS_FOLDER],
        name="irmas",
        title="IRMAS, training part",
        labels=INSTRUMENTS,
        made_by="biasmir prepare irmas",
        licences=[IRMAS_LICENCE],
        notes={
            "without_group": {"irmas": {"genre lat_sou": without_genre}},
            "without_audio": {"irmas": int(clips["audio"].isna().sum())},
            "counts_as_published": {"irmas": checked},
        },
    )


def irmas_lists(root: Path) -> list[Path]:
    """Return the authors' two lists of clips, train and test, under the root."""
    return [root / file.to for file in DATASETS["paper-split"].files]


def check_irmas(clips: pd.DataFrame, root: Path) -> bool:
    """Check the counts of clips if the lists are the published ones; see `check_counts`."""
    published = all(is_published(root, file) for file in DATASETS["paper-split"].files)
    return check_counts(clips, published, root)


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


def read_irmas(
    root: Path, labels: Sequence[str], *, keep_all: bool = False
) -> tuple[pd.DataFrame, int]:
    """Read the authors' split of IRMAS into a clip table.

    Parameters
    ----------
    root : pathlib.Path
        The folder that holds `paper/irmas_*.csv`, with one clip name a line. They repeat a name
        once for each frame of its embedding.
    labels : sequence of str
        The label columns to make; every clip has every label observed, 1 for its predominant
        instrument and 0 for the others.
    keep_all : bool
        Whether clips of a genre without counterpart stay, with no group.

    Returns
    -------
    table : pandas.DataFrame
        Columns `dataset`, `clip`, `track`, `split`, `group` and the labels, sorted by clip.
    n_dropped : int
        Clips left out for their genre; with `keep_all`, those without a group.

    Raises
    ------
    CorpusError
        Naming the file: a name that cannot be read, or one in both lists.
    """
    rows, n_dropped = [], 0
    seen: dict[str, Path] = {}
    for split, path in zip(("train", "test"), irmas_lists(root), strict=True):
        for clip in _names(path):
            if clip in seen:
                raise CorpusError(f"{path}: the clip {clip!r} is in {seen[clip]} as well")
            seen[clip] = path
            codes, (track, separator, _) = _codes(clip), clip.rpartition("__")
            if len(codes) < 2 or not separator:
                raise CorpusError(
                    f"{path}: the clip name {clip!r} is not of the form 043__[cel][nod][cla]0029__1"
                )
            instrument = _known(path, clip, "instrument", codes[0], IRMAS_INSTRUMENTS)
            genre = _known(path, clip, "genre", codes[-1], IRMAS_GENRES)
            n_dropped += genre is None
            if genre is not None or keep_all:
                observed = {label: float(label == instrument) for label in labels}
                rows.append(("irmas", clip, track, split, genre, *observed.values()))
    table = pd.DataFrame(rows, columns=["dataset", "clip", "track", "split", "group", *labels])
    return table.sort_values("clip", ignore_index=True), n_dropped


def _codes(clip: str) -> list[str]:
    return re.findall(r"\[([^\[\]]*)\]", clip)


def _known(
    path: Path, clip: str, what: str, code: str, known: Mapping[str, str | None]
) -> str | None:
    if code not in known:
        raise CorpusError(
            f"{path}: the clip name {clip!r} has the {what} {code!r}, "
            f"expected one of {', '.join(known)}"
        )
    return known[code]


def _names(path: Path) -> list[str]:
    """Return the distinct names of a list with one name a line, sorted."""
    if not path.is_file():
        raise CorpusError(
            f"{path}: no such file; it is one of the two lists of IRMAS clips: run `biasmir fetch "
            f"paper-split` first (with the same --root)"
        )
    lines = path.read_text(encoding="utf-8").splitlines()
    names = {line.strip().strip('"') for line in lines} - {""}
    if not names:
        raise CorpusError(f"{path}: the list is empty, expected one clip name a line")
    return sorted(names)


add_dataset(
    Dataset(
        name="irmas",
        title="IRMAS, the training part: 6,705 excerpts of 3 s",
        licence="CC BY-NC-SA 3.0, for non-commercial use, no redistribution",
        page="https://zenodo.org/records/1290750",
        files=(
            RemoteFile(
                name="IRMAS-TrainingData.zip",
                url="https://zenodo.org/records/1290750/files/IRMAS-TrainingData.zip?download=1",
                to=IRMAS_FOLDER,
                sum="md5:4fd9f5ed5a18d8e2687e6360b5f60afe",
                size=3_200_000_000,
                unpacked=3_600_000_000,
                holds=tuple(IRMAS_INSTRUMENTS),
            ),
        ),
        # Of Wang, Richard and McFee (ISMIR 2023), and of their published program.
        counts={
            "train": 4997,
            "test": 1666,
            "guitar": 1051,
            "piano": 551,
            "voice": 545,
            "organ": 508,
            "saxophone": 476,
            "violin": 437,
            "trumpet": 427,
            "clarinet": 378,
            "flute": 330,
            "cello": 294,
        },
        prepare=prepare_irmas,
        help="Make a corpus of the IRMAS training part in OUT, whose audio is used in place.",
        needs="IRMAS-TrainingData/ (the archive) and paper/ (the split)",
    )
)
add_dataset(
    Dataset(
        name="paper-split",
        title="The split of IRMAS that the paper's authors published",
        licence="not stated by its authors: for your own use, not to be passed on",
        page="https://github.com/changhongw/audio-embedding-bias",
        files=tuple(
            RemoteFile(
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
