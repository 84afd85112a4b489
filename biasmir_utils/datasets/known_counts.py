"""What the published files must give: a check of our readers, wherever those files are read.

Source: Wang, Richard and McFee (ISMIR 2023), and the authors' published program.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from biasmir_utils.datasets.archives import changed_files
from biasmir_utils.datasets.openmic_tables import FILES
from biasmir_utils.datasets.records import Records
from biasmir_utils.datasets.registry import Registry
from biasmir_utils.errors import CorpusError
from biasmir_utils.files import sha256

# Of the clips that have one of the paper's four genres.
SPLITS = {
    "irmas": {"train": 4997, "test": 1666},
    "openmic": {"train": 6838, "test": 2491},
}
IRMAS_TRAIN_LABELS = {
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
}
OPENMIC_TRAIN_GENRES = {
    "pop_rock": 2996,
    "country_folk": 1573,
    "jazz_blue": 1247,
    "classical": 1022,
}


def published_files(root: Path, registry: Registry | None = None) -> dict[str, bool]:
    """Tell for each data set whether the tables under `root` are the published ones.

    Those of IRMAS by their sums; those of OpenMIC-2018 by the sum that their archive had when
    `biasmir fetch` unpacked it, and their sizes since.
    """
    registry = registry or Registry.load()
    lists = [registry.file(f"irmas_{split}.csv") for split in ("train", "test")]
    irmas = all(
        (root / file.to).is_file() and file.sum == f"sha256:{sha256(root / file.to)}"
        for file in lists
    )
    archive = registry.file("openmic-2018-v1.0.0.tgz")
    unpacking = Records(root / "downloads").unpacking(archive.name)
    openmic = unpacking is not None and unpacking.sum == archive.sum
    if unpacking is not None and openmic:
        tables = {name: size for name, size in unpacking.files.items() if name in FILES}
        openmic = len(tables) == len(FILES) and not changed_files(root / archive.result, tables)
    return {"irmas": irmas, "openmic": openmic}


def check_counts(
    table: pd.DataFrame, root: Path, registry: Registry | None = None
) -> dict[str, bool]:
    """Raise CorpusError if published files give other counts than they must.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns `dataset`, `split`, `group` and the labels; clips without a group do not count.
    root : pathlib.Path
        The folder with the files.
    registry : Registry, optional
        The table of sources whose sums count as published.

    Returns
    -------
    dict
        For each data set of the table, whether its counts were checked.
    """
    published = published_files(root, registry)
    checked = {name: published[name] for name in dict.fromkeys(table["dataset"])}
    for dataset in (name for name, known in checked.items() if known):
        part = table[(table["dataset"] == dataset) & table["group"].notna()]
        train = part[part["split"] == "train"]
        _compare(dataset, root, "clips", part["split"].value_counts(), SPLITS[dataset])
        if dataset == "irmas":
            positives = (train[list(IRMAS_TRAIN_LABELS)] >= 0.5).sum()
            _compare(dataset, root, "training clips", positives, IRMAS_TRAIN_LABELS)
        else:
            groups = train["group"].value_counts()
            _compare(dataset, root, "training clips", groups, OPENMIC_TRAIN_GENRES)
    return checked


def _compare(
    dataset: str, root: Path, what: str, found: pd.Series, expected: Mapping[str, int]
) -> None:
    for name, count in expected.items():
        if int(found.get(name, 0)) != count:
            raise CorpusError(
                f"{root}: the files of {dataset} are the published ones, but give "
                f"{int(found.get(name, 0))} {what} of {name}, expected {count}; this is an error "
                f"of BiasMIR, please report it"
            )
