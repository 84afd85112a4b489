"""What is recognised, on which rows: subjects, clips as arrays, training rows, feature space.

`--target` names what is recognised: `labels` (the default, as in the paper: one recogniser for
each label), `tags` (one multi-label model for all labels), or the name of targets or of the clip
table's column `group`: a category makes one multi-class recogniser, a number one regression.

Training rows of the paper's protocol: two datasets made alike in size, not in genre. For a label,
each dataset's positives are cut down to the smaller of the two datasets' counts of positives, and
likewise its negatives. Within a dataset, every genre keeps its share. The other kinds keep the
idea, that a training set is no larger than what the other dataset has to offer:

- tags (one model): as many training clips from each dataset, whatever their labels;
- a category: as many training clips of each class from both datasets;
- a number: as many training clips from each dataset that have the number.

Clips of one track resemble each other, so as many clips of fewer tracks teach less; the choice
`match="tracks"` cuts both down to as many tracks, and as many clips of each (`matched_by_track`).

All of that looks at the labels of both datasets. The mode `unlabelled` does not look at the
target's: a recogniser is trained on all that its own dataset has (`own_rows`), a correction is
fitted on rows of both datasets that were drawn without their labels (`drawn_rows`).

Source: Wang, Richard and McFee, ISMIR 2023, Section 3.2, and the authors' program.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from biasmir_utils.corpus import Corpus
from biasmir_utils.corrections import Fastfood
from biasmir_utils.errors import ArgumentError, did_you_mean

LABEL, TAGS, CATEGORY, NUMBER = "label", "tags", "category", "number"
LABELS = "labels"
GROUP = "group"
PRESENT, ABSENT, UNOBSERVED = 1, 0, -1
CLIPS, TRACKS = "clips", "tracks"
"""What training rows of two datasets are matched by."""
# A recogniser needs as many clips of each class as the cross-validation has folds.
MIN_CLIPS = 3
MIN_NUMBERS = 10
# Least spread that a feature counts as having, as a share of the median one. Less, and the few test
# clips in which a feature does vary would be far out: nets that end in a rectifier have many such.
LEAST_SPREAD = 0.1

Array = NDArray[Any]
Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Subject:
    """Something that recognisers are trained for.

    Attributes
    ----------
    name : str
        What the results call it in the column `label`; of `tags` that is each tag.
    kind : {'label', 'tags', 'category', 'number'}
    names : tuple of str
        The tags, or the classes in the order of their codes; empty otherwise.
    """

    name: str
    kind: str
    names: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The names in the column `label` of the results: each tag, or the subject's own."""
        return self.names if self.kind == TAGS else (self.name,)

    def codes(self, clips: pd.DataFrame) -> NDArray[Any]:
        """Return what is true of each clip.

        Returns
        -------
        ndarray
            Label: int8, 1 present, 0 absent, -1 not observed. Tags: the same, (n_clips, n_tags).
            Category: the position of the class in `names`, -1 where missing. Number: float64, NaN
            where missing.
        """
        if self.kind == CATEGORY:
            return pd.Categorical(clips[self.name], self.names).codes.astype(int)
        values = clips[list(self.columns)].to_numpy(dtype=np.float64)
        if self.kind != NUMBER:
            values = np.where(np.isnan(values), UNOBSERVED, values >= 0.5).astype(np.int8)
        return values if self.kind == TAGS else values[:, 0]


def subjects(
    corpus: Corpus, target: str | Sequence[str] = LABELS, labels: Sequence[str] | None = None
) -> list[Subject]:
    """Return what a target stands for.

    Parameters
    ----------
    corpus : Corpus
    target : str or sequence of str
        `labels`, `tags`, `group`, or names of targets of one kind.
    labels : sequence of str, optional
        For `labels` and `tags`: which; default all of the corpus.

    Raises
    ------
    ArgumentError
        If a name is unknown, or the names are of several kinds, or `labels` was given with
        another target.
    """
    names = [target] if isinstance(target, str) else list(dict.fromkeys(target))
    if names in ([LABELS], [TAGS]):
        chosen = list(corpus.labels if labels is None else dict.fromkeys(labels))
        for name in chosen:
            if name not in corpus.labels:
                raise ArgumentError(
                    f"corpus {corpus.name!r} has no label {name!r}; it has "
                    f"{', '.join(corpus.labels) or 'none'}.{did_you_mean(name, corpus.labels)}"
                )
        if not chosen:
            raise ArgumentError("at least one label is needed")
        if names == [TAGS]:
            return [Subject(TAGS, TAGS, tuple(chosen))]
        return [Subject(name, LABEL) for name in chosen]
    kinds = {GROUP: CATEGORY, **{found.name: found.kind for found in corpus.targets}}
    for name in names:
        if name in (LABELS, TAGS):
            others = ", ".join(other for other in names if other != name)
            raise ArgumentError(f"the target {name} stands by itself, not with {others}")
        if name not in kinds:
            known = [LABELS, TAGS, *kinds]
            raise ArgumentError(
                f"corpus {corpus.name!r} has no target {name!r}; there are {', '.join(known)}."
                f"{did_you_mean(name, known)}"
            )
    if labels is not None:
        raise ArgumentError(
            f"labels are chosen for the targets {LABELS} and {TAGS}, not for {', '.join(names)}; "
            "leave them out"
        )
    if len({kinds[name] for name in names}) != 1:
        raise ArgumentError(
            f"the targets {', '.join(names) or '(none)'} are not of one kind; evaluate labels, "
            "categories and numbers one after the other"
        )
    return [Subject(name, kinds[name], _classes(corpus, name, kinds[name])) for name in names]


def _classes(corpus: Corpus, name: str, kind: str) -> tuple[str, ...]:
    if kind != CATEGORY:
        return ()
    if name == GROUP:
        return tuple(corpus.groups)
    return tuple(sorted(map(str, corpus.clips[name].dropna().unique())))


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
    group_names : ndarray of object, (n,)
        None for a clip without a group.
    is_train : ndarray of bool, (n,)
    labels : dict of str to ndarray, (n,) or, for tags, (n, n_tags)
        What is true of each clip, see `Subject.codes`. Of a label: 1 present (likelihood
        0.5 or more), 0 absent, -1 not observed.
    shared_tracks : bool
        Whether a track of one name is the same track in the corpus's other datasets.
    """

    name: str
    index: NDArray[np.intp]
    clips: NDArray[Any]
    tracks: NDArray[Any]
    groups: NDArray[np.intp]
    group_names: NDArray[Any]
    is_train: NDArray[np.bool_]
    labels: dict[str, NDArray[Any]]
    shared_tracks: bool = False

    def train_rows(self, name: str, value: int | None = None) -> Rows:
        """Return the training rows in which something has the value; default any."""
        codes = self.labels[name]
        return np.flatnonzero(
            self.is_train & (_observed(codes) if value is None else codes == value)
        )

    def test_rows(self, name: str) -> Rows:
        """Return the test rows that have a value: in which a label was observed."""
        return np.flatnonzero(~self.is_train & _observed(self.labels[name]))

    def is_tested(self, name: str) -> NDArray[np.bool_]:
        """Return which clips are of tracks that something is tested on."""
        tested = set(self.tracks[self.test_rows(name)])
        return np.array([track in tested for track in self.tracks], dtype=bool)

    def gaps(self, subject: Subject) -> list[str]:
        """Return the columns of a subject that have no honest score inside the dataset.

        Those of which a class (or any number) is tested only on clips of tracks that are in the
        training part, too: a recogniser may know the track, not the class.
        """
        # A set: np.isin compares every object with every other.
        test, known = ~self.is_train, set(self.tracks[self.is_train])
        new = np.array([track not in known for track in self.tracks], dtype=bool)
        codes = self.labels[subject.name]
        if subject.kind == NUMBER:
            codes = np.where(np.isnan(codes), UNOBSERVED, PRESENT)
        return [
            name
            for name, own in zip(subject.columns, np.atleast_2d(codes.T), strict=True)
            if any(not new[test & (own == code)].any() for code in set(own[test]) - {UNOBSERVED})
        ]


def _observed(codes: Array) -> NDArray[np.bool_]:
    """Return which clips have a value, of tags at least one."""
    if codes.dtype.kind == "f":
        return ~np.isnan(codes)
    known = codes != UNOBSERVED
    return known.any(axis=1) if codes.ndim == 2 else known


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
        """Take the arrays out of a corpus; for `labels` and `target` see `subjects`.

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
            codes = np.array([position.get(g, len(position)) for g in part["group"]], np.intp)
            datasets[name] = DatasetClips(
                name=name,
                index=rows,
                clips=clips[rows],
                tracks=part["track"].to_numpy(object),
                groups=codes,
                group_names=np.array([*corpus.groups, None], dtype=object)[codes],
                is_train=(part["split"] == "train").to_numpy(),
                labels={subject.name: subject.codes(part) for subject in found},
                shared_tracks=corpus.shared_tracks,
            )
        return cls(corpus, datasets, left_out, found)

    def features(self, embedding: str, dataset: str) -> NDArray[np.float32]:
        """Return an embedding of a dataset's clips, (n, D), in the order of `datasets`."""
        return self.corpus.embedding(embedding)[self.datasets[dataset].index]


def left_out_lines(left_out: Mapping[str, int]) -> list[str]:
    """Say how many clips of each dataset lack one of the embeddings that are compared."""
    return [
        f"{n} clip(s) of {dataset} left out: they lack one of the embeddings"
        for dataset, n in left_out.items()
        if n
    ]


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


def resample_by_group(groups: ArrayLike, size: int, seed: int) -> Rows:
    """Choose about `size` rows such that every group keeps its share of them.

    The random generator starts anew from the seed. For each group in order, all of its m rows
    are shuffled and the first ``int(m * size / n)`` kept, so the result can be a few rows
    short of `size`: at most one for each group.

    Parameters
    ----------
    groups : array-like of int, (n,)
        Group of each row; groups are taken in the order of these numbers.
    size : int
        Rows wanted, 0 to n.
    seed : int
        Seed of Python's `random.Random`.

    Returns
    -------
    ndarray of int
        Positions in `groups`, group after group, shuffled within a group.

    Raises
    ------
    ArgumentError
        If `size` is negative or exceeds n.
    """
    groups = np.asarray(groups)
    if not 0 <= size <= len(groups):
        raise ArgumentError(f"size must lie between 0 and the {len(groups)} rows, found {size}")
    generator = random.Random(seed)
    chosen = []
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        shuffled = generator.sample(range(len(members)), len(members))
        chosen.append(members[shuffled[: int(len(members) * size / len(groups))]])
    return np.concatenate(chosen) if chosen else np.empty(0, dtype=np.intp)


def matched_by_track(
    datasets: Sequence[DatasetClips], available: Sequence[Rows], seed: int
) -> list[Rows]:
    """Choose rows such that all datasets have as many tracks, and as many clips of each.

    As many tracks are drawn as the dataset with the fewest has, such that every group keeps its
    share of them (see `resample_by_group`). Tracks with many clips are put beside those with
    many, and of each as many clips drawn as all have.

    Parameters
    ----------
    datasets : sequence of DatasetClips
    available : sequence of ndarray of int
        Rows of each to choose from.
    seed : int
        Used anew for each dataset.

    Returns
    -------
    list of ndarray of int
        For each dataset rows, track after track.
    """
    tracks = [
        np.unique(clips.tracks[rows].astype(str), True, True, True)[1:]
        for clips, rows in zip(datasets, available, strict=True)
    ]
    fewest = min(len(first) for first, _, _ in tracks)
    drawn = [
        resample_by_group(clips.groups[rows[first]], fewest, seed)
        for clips, rows, (first, _, _) in zip(datasets, available, tracks, strict=True)
    ]
    # A group's share is rounded down.
    fewest = min(map(len, drawn))
    drawn = [
        own[np.sort(np.random.default_rng(seed).permutation(len(own))[:fewest])] for own in drawn
    ]
    sizes = [count[own] for (_, _, count), own in zip(tracks, drawn, strict=True)]
    taken = np.min([np.sort(size) for size in sizes], axis=0)
    found = []
    for rows, (_, track, _), own, size in zip(available, tracks, drawn, sizes, strict=True):
        quota = np.empty(fewest, dtype=np.intp)
        quota[np.argsort(size, kind="stable")] = taken
        rng = np.random.default_rng(seed)
        clips_of = [
            rng.permutation(rows[track == code])[:n] for code, n in zip(own, quota, strict=True)
        ]
        found.append(np.concatenate([np.empty(0, np.intp), *clips_of]))
    return found


def _alike(
    datasets: Sequence[DatasetClips], available: Sequence[Rows], seed: int, match: str
) -> list[Rows]:
    """Return as many rows of each dataset: as many clips, or as many tracks with as many."""
    if match == TRACKS:
        return matched_by_track(datasets, available, seed)
    size = min(len(rows) for rows in available)
    return [
        rows[resample_by_group(clips.groups[rows], size, seed)]
        for clips, rows in zip(datasets, available, strict=True)
    ]


def effective_tracks(track: ArrayLike) -> float:
    """Return how many tracks of equally many clips would be as uneven: Kish's effective number.

    Parameters
    ----------
    track : array-like, (n_clips,)
        Track of each clip.
    """
    counts = np.unique(np.asarray(track).astype(str), return_counts=True)[1]
    return float(counts.sum() ** 2 / max(1, (counts**2).sum()))


@dataclass(frozen=True)
class TrainingRows:
    """Rows that a recogniser or a correction of one dataset is trained on.

    Attributes
    ----------
    all : ndarray of int, (n_rows,)
        Row numbers, in the order in which they enter the training matrix: unshuffled folds depend
        on it. Of a label, positives come first.
    y : ndarray, (n_rows,) or (n_rows, n_tags), or None
        What is true of each, see `Subject.codes`; None where nobody looked.
    """

    all: Rows
    y: Array | None

    @property
    def positives(self) -> Rows:
        """Of a label, the rows in which it is present."""
        return self.all[np.asarray(self.y) == PRESENT]


def subject_rows(
    name: str, kind: str, datasets: Sequence[DatasetClips], seed: int, match: str = CLIPS
) -> list[TrainingRows]:
    """Return training rows of each dataset, cut down to the counts that they share.

    Of a label, positives come first, then negatives; of a category one class after the other.

    Parameters
    ----------
    name : str
        A key of `DatasetClips.labels`.
    kind : {'label', 'tags', 'category', 'number'}
    datasets : sequence of DatasetClips
    seed : int
        Used anew for each dataset and value.
    match : {'clips', 'tracks'}
        What there are as many of.
    """
    return _cut_down(name, _values(name, kind, datasets), datasets, seed, match)


def own_rows(
    name: str, kind: str, datasets: Sequence[DatasetClips], seed: int, match: str = CLIPS
) -> list[TrainingRows]:
    """Return all training rows of each of the datasets, none cut down to another's counts.

    Their order follows the rules of `subject_rows`. Of a category only the classes that the
    datasets share are there, since there is nothing to test the others on. With `match='tracks'`
    they are those of the `drawn_rows`: as many tracks, whatever their labels.
    """
    values = _values(name, kind, datasets)
    found = [_cut_down(name, values, [clips], seed, CLIPS)[0] for clips in datasets]
    if match == TRACKS:
        for k, drawn in enumerate(drawn_rows(datasets, seed, match)):
            kept = np.isin(found[k].all, drawn.all)
            found[k] = TrainingRows(found[k].all[kept], np.asarray(found[k].y)[kept])
    return found


def _values(name: str, kind: str, datasets: Sequence[DatasetClips]) -> Sequence[int | None]:
    """Return of which values there have to be as many training rows; None is any."""
    if kind == CATEGORY:
        return shared_classes(name, datasets)
    return (PRESENT, ABSENT) if kind == LABEL else (None,)


def _cut_down(
    name: str,
    values: Sequence[int | None],
    datasets: Sequence[DatasetClips],
    seed: int,
    match: str,
) -> list[TrainingRows]:
    parts: list[list[Rows]] = [[np.empty(0, np.intp)] for _ in datasets]
    for value in values:
        available = [clips.train_rows(name, value) for clips in datasets]
        for part, rows in zip(parts, _alike(datasets, available, seed, match), strict=True):
            # Folds are not shuffled, and rows of any value are in the order of their groups.
            part.append(np.random.default_rng(seed).permutation(rows) if value is None else rows)
    chosen = zip(datasets, map(np.concatenate, parts), strict=True)
    return [TrainingRows(rows, clips.labels[name][rows]) for clips, rows in chosen]


def shared_classes(name: str, datasets: Sequence[DatasetClips]) -> list[int]:
    """Return the codes of the classes that all datasets can train (`MIN_CLIPS`) and test."""
    highest = max(int(clips.labels[name].max(initial=-1)) for clips in datasets)
    return [
        code
        for code in range(highest + 1)
        if all(
            len(clips.train_rows(name, code)) >= MIN_CLIPS
            and (clips.labels[name][clips.test_rows(name)] == code).any()
            for clips in datasets
        )
    ]


def drawn_rows(
    datasets: Sequence[DatasetClips], seed: int, match: str = CLIPS
) -> list[TrainingRows]:
    """Return training rows drawn without their labels, as many from each dataset.

    They are drawn uniformly, or, with `match='tracks'`, see `matched_by_track`.
    """
    train = [np.flatnonzero(clips.is_train) for clips in datasets]
    if match == TRACKS:
        drawn = matched_by_track(datasets, train, seed)
    else:
        size = min(map(len, train))
        drawn = [np.random.default_rng(seed).permutation(rows)[:size] for rows in train]
    return [TrainingRows(np.sort(rows), None) for rows in drawn]


def why_impossible(
    name: str,
    pair: Sequence[DatasetClips],
    seed: int,
    kind: str = LABEL,
    match: str = CLIPS,
    blindly: bool = False,
    tags: Sequence[str] = (),
) -> str | None:
    """Return why something cannot be evaluated on a pair of datasets, None if it can.

    Parameters
    ----------
    name, kind, seed, match
        As for `subject_rows`.
    pair : sequence of DatasetClips
    blindly : bool
        Whether to look at the rows that are drawn without labels (`own_rows`), too.
    tags : sequence of str
        The names of tags, or of a category's classes, in their order.
    """
    if few := _why_few_values(name, pair, kind):
        return few
    if kind == NUMBER or (kind == CATEGORY and match == CLIPS):
        return None
    if kind == CATEGORY:
        codes = shared_classes(name, pair)
        values = [(code, "", f" of {tags[code] if tags else code}") for code in codes]
    else:
        values = [(PRESENT, "positive ", ""), (ABSENT, "negative ", "")]
    every = [TrainingRows(clips.train_rows(name), None) for clips in pair]
    draws = [every, subject_rows(name, kind, pair, seed, match)]
    if blindly and match == TRACKS:  # else all rows are there
        draws.append(own_rows(name, kind, pair, seed, match))
    for rows, (side, clips), (value, word, of) in itertools.product(draws, enumerate(pair), values):
        held = clips.labels[name][rows[side].all] == value
        if (n := held.sum(axis=0).min()) < MIN_CLIPS:
            where = "" if rows is every else " after the resampling"
            few = _which(tags, held, MIN_CLIPS) if kind == TAGS else ""
            return (
                f"{clips.name} has {n} {word}training clips{of}{where}, at least {MIN_CLIPS} are "
                f"needed{few}"
            )
        held = clips.labels[name][clips.test_rows(name)] == value
        if not held.any(axis=0).all():
            few = _which(tags, held, 1) if kind == TAGS else ""
            return f"{clips.name} has no {word}test clips{of}{few}"
    return None


def _why_few_values(name: str, pair: Sequence[DatasetClips], kind: str) -> str | None:
    """Return where there are too few classes to tell apart, too few values, or only one number."""
    if kind == CATEGORY and (n := len(shared_classes(name, pair))) < 2:
        return (
            f"{n} class(es) have {MIN_CLIPS} training clips or more and a test clip in both "
            f"datasets, at least 2 are needed"
        )
    for clips in pair if kind in (TAGS, NUMBER) else ():
        parts = {"training": clips.train_rows(name), "test": clips.test_rows(name)}
        n_train, n_test = map(len, parts.values())
        if n_train < MIN_NUMBERS or n_test < 2:
            return (
                f"{clips.name} has {n_train} training and {n_test} test clips with a value, "
                f"at least {MIN_NUMBERS} and 2 are needed"
            )
        for part, rows in parts.items() if kind == NUMBER else ():
            # Nothing can be learnt or told apart there.
            if np.ptp(known := clips.labels[name][rows]) == 0:
                return f"all {len(known)} {part} clips of {clips.name} have the value {known[0]:g}"
    return None


def _which(tags: Sequence[str], held: Array, least: int) -> str:
    """Name the tags that fewer clips hold than are needed, if their names are known."""
    counts = zip(tags, held.sum(axis=0), strict=True) if len(tags) else ()
    few = [f"{tag} ({n})" for tag, n in counts if n < least]
    return f", of the tags {', '.join(few)}; choose the tags with --labels" if few else ""


def truth_and_tests(
    subject: Subject, pair: Sequence[DatasetClips]
) -> tuple[tuple[str, ...], list[Array], list[Rows]]:
    """Return what a recogniser tells apart, what is true of each clip, and the test rows.

    Returns
    -------
    names : tuple of str
        The tags; of a category the classes that both datasets can train and test.
    truth : list of ndarray
        For each dataset; see `Subject.codes`. Of a category positions in `names`, -1 for others.
    test_rows : list of ndarray
        For each dataset the test rows in which it is known.
    """
    names, truth = subject.names, [clips.labels[subject.name] for clips in pair]
    tests = [clips.test_rows(subject.name) for clips in pair]
    if subject.kind == CATEGORY:
        codes = shared_classes(subject.name, pair)
        position = np.full(len(names) + 1, UNOBSERVED)
        position[codes] = np.arange(len(codes))
        names, truth = tuple(names[code] for code in codes), [position[own] for own in truth]
        tests = [rows[own[rows] >= 0] for rows, own in zip(tests, truth, strict=True)]
    return names, truth, tests


class FeatureSpace:
    """The map from embeddings of two datasets to what recognisers and corrections get.

    Parameters
    ----------
    train : sequence of ndarray, (n_clips, D)
        Rows of both datasets: they decide means, scales and bandwidth.
    random : Fastfood or None
        Unfitted map to random features; its bandwidth is the median distance of the
        standardised training rows of both datasets (see `floored`). None: the rows are taken as
        they are.
    """

    def __init__(self, train: Sequence[Array], random: Fastfood | None) -> None:
        self._random = random
        if random is not None:
            rows = [np.asarray(X, dtype=np.float64) for X in train]
            self._scalers = [_scaler(X) for X in rows]
            random.fit(np.concatenate([self._scaled(X, side) for side, X in enumerate(rows)]))

    def train(self, X: Array, side: int) -> Array:
        """Return training rows of a dataset, in double precision."""
        return self._map(X, side)

    def test(self, X: Array, side: int) -> Array:
        """Return test rows of any dataset for the recogniser of the training dataset `side`.

        Random features are in single precision: nothing is fitted on test rows.
        """
        return self._map(X, side, np.float32)

    @property
    def depends_on_side(self) -> bool:
        """Whether a row's features depend on the dataset that the recogniser comes from."""
        return self._random is not None

    def _map(self, X: Array, side: int, dtype: type = np.float64) -> Array:
        X = np.asarray(X, dtype=np.float64)
        if self._random is None:
            return X
        mapped: Array = self._random.transform(self._scaled(X, side).astype(dtype))
        return mapped

    def _scaled(self, X: Array, side: int) -> Array:
        center, scale = self._scalers[side]
        return (X - center) / scale


def _scaler(X: Array) -> tuple[Array, Array]:
    """Return the mean of each feature, and what it is divided by."""
    deviation = X.std(axis=0)
    deviation[deviation <= 10 * np.finfo(X.dtype).eps * np.abs(X).max(axis=0)] = 0.0
    return X.mean(axis=0), floored(deviation)


def floored(deviation: Array) -> Array:
    """Return what features are divided by: their standard deviations, but for the smallest.

    Parameters
    ----------
    deviation : ndarray, (n_features,)
        0 where a feature is constant.

    Returns
    -------
    ndarray, (n_features,)
        At least `LEAST_SPREAD` times the median of those that are not 0; 1 where all are.
    """
    varying = deviation[deviation > 0]
    return np.maximum(deviation, LEAST_SPREAD * np.median(varying) if len(varying) else 1.0)
