"""Writing a corpus: the one way in which every producer does it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from biasmir_utils.corpus._corpus import Corpus
from biasmir_utils.corpus.clip_table import FILE_NAMES, check_clip_table
from biasmir_utils.corpus.description import Description, Target, check_path_names, check_targets
from biasmir_utils.errors import CorpusError
from biasmir_utils.files import atomic_path


class CorpusWriter:
    """Writes `corpus.json` and the clip table of a new corpus.

    Parameters
    ----------
    path : path
        The folder; made if missing.
    name, title : str
        A short name for tables, and one for people.
    datasets, groups : sequence of str
        The values of the columns `dataset` and `group`, in order.
    targets : sequence of Target
        Each is a column of the clip table.
    provenance : dict, optional
        What made the corpus, from what, with which versions and seeds.
    licences : sequence of dict, optional
        `what`, `licence`, and perhaps `url` and `attribution`.
    shared_tracks : bool
        Whether a track of one name is the same track in all datasets.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        name: str,
        title: str,
        datasets: Sequence[str],
        groups: Sequence[str],
        targets: Sequence[Target],
        provenance: Mapping[str, Any] | None = None,
        licences: Sequence[Mapping[str, Any]] = (),
        shared_tracks: bool = False,
    ) -> None:
        self.path = Path(path)
        check_targets(targets, str(self.path))
        check_path_names("dataset", datasets, self.path)
        self.description = Description(
            name=name,
            title=title,
            datasets=tuple(datasets),
            groups=tuple(groups),
            targets=tuple(targets),
            provenance=dict(provenance or {}),
            licences=[dict(licence) for licence in licences],
            shared_tracks=shared_tracks,
        )

    def write(self, clips: pd.DataFrame, table_format: str = "parquet") -> Corpus:
        """Check and write the clip table, then `corpus.json`, and return the corpus.

        Parameters
        ----------
        clips : pandas.DataFrame
            As `check_clip_table` wants it.
        table_format : {'parquet', 'csv'}
            How the table is stored.

        Raises
        ------
        CorpusError
            If the table breaks a rule, or the folder holds another corpus or clip table.
        """
        names = {Path(name).suffix[1:]: name for name in FILE_NAMES}
        if table_format not in names:
            raise CorpusError(f"table format {table_format!r}: expected {' or '.join(names)}")
        target = self.path / names[table_format]
        there = [name for name in ("corpus.json", *FILE_NAMES) if (self.path / name).exists()]
        if there:
            raise CorpusError(
                f"{self.path}: there is a {there[0]} already; choose an empty folder, or remove it"
            )
        table = check_clip_table(clips, self.description, target)
        with atomic_path(target) as temporary:
            if table_format == "csv":
                table.to_csv(temporary, index=False)
            else:
                table.to_parquet(temporary, index=False)
        # Last, since a folder counts as a corpus once it has this file.
        self.description.save(self.path)
        return Corpus.load(self.path)
