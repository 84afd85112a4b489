"""The arrays that an experiment works on, taken from a corpus."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasmir_utils.corpus import Corpus
from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments.targets import LABELS, Subject, is_observed, label_codes, subjects

__all__ = ["DatasetClips", "ExperimentData", "array_sum", "label_codes"]


@dataclass(frozen=True)
class DatasetClips:
    """The clips of one dataset, sorted by name: the protocol's resampling counts in that order.

    Attributes
    ----------
    name : str
    index : ndarray of int, (n,)
        Row of each clip in the corpus's clip table.
    clips : ndarray of object, (n,)
    tracks : ndarray of object, (n,)
    groups : ndarray of int, (n,)
        Position in the corpus's groups; clips without a group come after all others.
    is_train : ndarray of bool, (n,)
    labels : dict of str to ndarray, (n,) or, for tags, (n, n_tags)
        What is true of each clip, see `targets.Subject.codes`. Of a label: 1 present (likelihood
        0.5 or more), 0 absent, -1 not observed.
    shared_tracks : bool
        Whether a track of one name is the same track in the corpus's other datasets.
    """

    name: str
    index: NDArray[np.intp]
    clips: NDArray[Any]
    tracks: NDArray[Any]
    groups: NDArray[np.intp]
    is_train: NDArray[np.bool_]
    labels: dict[str, NDArray[Any]]
    shared_tracks: bool = False

    def train_rows(self, label: str, value: int) -> NDArray[np.intp]:
        """Return the training rows in which the label has the value."""
        return np.flatnonzero(self.is_train & (self.labels[label] == value))

    def observed_train_rows(self, label: str) -> NDArray[np.intp]:
        """Return the training rows that have a value."""
        return np.flatnonzero(self.is_train & is_observed(self.labels[label]))

    def test_rows(self, label: str) -> NDArray[np.intp]:
        """Return the test rows that have a value: in which a label was observed."""
        return np.flatnonzero(~self.is_train & is_observed(self.labels[label]))


@dataclass(frozen=True)
class ExperimentData:
    """The clips of a corpus that have all embeddings of an experiment.

    Attributes
    ----------
    corpus : Corpus
    datasets : dict of str to DatasetClips
        In the corpus's order.
    left_out : dict of str to int
        Clips of each dataset that lack one of the embeddings.
    subjects : tuple of Subject
        What recognisers are trained for.
    """

    corpus: Corpus
    datasets: dict[str, DatasetClips]
    left_out: dict[str, int]
    subjects: tuple[Subject, ...] = ()

    @classmethod
    def of(
        cls,
        corpus: Corpus,
        embeddings: Sequence[str],
        labels: Sequence[str] | None = None,
        target: str | Sequence[str] = LABELS,
    ) -> ExperimentData:
        """Take the arrays out of a corpus; for `labels` and `target` see `targets.subjects`.

        Raises
        ------
        ArgumentError
            If the corpus has no such embedding, label or target, or no clip has all the
            embeddings.
        """
        table, complete = corpus.clips, corpus.complete(embeddings)
        found = tuple(subjects(corpus, target, labels))
        if not complete.any():
            raise ArgumentError(
                f"no clip of corpus {corpus.name!r} has all of the embeddings "
                f"{', '.join(embeddings)}; see `biasmir info`"
            )
        position = {group: code for code, group in enumerate(corpus.groups)}
        datasets, left_out = {}, {}
        for name in corpus.datasets:
            in_dataset = (table["dataset"] == name).to_numpy()
            left_out[name] = int((in_dataset & ~complete).sum())
            rows = np.flatnonzero(in_dataset & complete)
            clips = table["clip"].to_numpy(object)
            rows = rows[np.argsort(clips[rows], kind="stable")]
            part = table.iloc[rows]
            datasets[name] = DatasetClips(
                name=name,
                index=rows,
                clips=clips[rows],
                tracks=part["track"].to_numpy(object),
                groups=np.array([position.get(g, len(position)) for g in part["group"]], np.intp),
                is_train=(part["split"] == "train").to_numpy(),
                labels={subject.name: subject.codes(part) for subject in found},
                shared_tracks=corpus.shared_tracks,
            )
        return cls(corpus, datasets, left_out, found)

    def features(self, embedding: str, dataset: str) -> NDArray[np.float32]:
        """Return an embedding of a dataset's clips, (n, D), in the order of `datasets`."""
        return self.corpus.embedding(embedding)[self.datasets[dataset].index]

    def group_names(self, dataset: str) -> NDArray[Any]:
        """Return the group of each clip of a dataset, None for a clip without one."""
        names = np.array([*self.corpus.groups, None], dtype=object)
        return names[self.datasets[dataset].groups]


def array_sum(*arrays: NDArray[Any]) -> str:
    """Return a sum of the content of arrays, a hexadecimal string."""
    digest = hashlib.sha256()
    for array in arrays:
        if array.dtype == object:
            digest.update("\0".join(map(str, array)).encode())
        else:
            digest.update(str((array.dtype, array.shape)).encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
