"""A correction of a whole corpus: fitted on its training clips, applied to all, written anew.

Writing a corpus whose embeddings have been corrected.

Moments of embeddings that do not fit into memory: one pass over the frames of a corpus.

The domain of a frame is the dataset of its clip. A pass holds one chunk of rows (64 MB) and the
moments, whatever the size of the file. Blocks of rows are independent and their moments can be
added, so that processes, on one machine or on many, can share the work:

    from concurrent.futures import ProcessPoolExecutor
    with ProcessPoolExecutor() as executor:
        moments = moments_of_corpus(corpus, "yamnet", executor=executor)

and with Dask ``executor=client.get_executor()``.

The corrections that moments suffice for are affine maps in each domain: to correct frames and to
average them is the same as to correct the average.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from biasmir_utils.corpus import (
    CHUNK_BYTES,
    Corpus,
    CorpusWriter,
    EmbeddingFile,
    open_embedding_file,
    write_embedding_file,
)
from biasmir_utils.corrections.base import DomainTransformer, Labels
from biasmir_utils.corrections.kernel import KernelCorrection
from biasmir_utils.corrections.maps import DomainCenter, DomainMap
from biasmir_utils.corrections.moments import MomentCorrection, Moments
from biasmir_utils.corrections.names import (
    METHODS,
    Correction,
    fit_correction,
    make_correction,
    parse_correction,
)
from biasmir_utils.corrections.storage import load_correction, read_record, save_correction
from biasmir_utils.errors import ArgumentError, BiasMIRError, CorpusError
from biasmir_utils.files import atomic_path, versions

FIT_SPLITS = ("train", "all")


def fit_to_corpus(
    corpus: Corpus,
    embedding: str,
    correction: str | Correction,
    *,
    fit_split: str = "train",
    label: str | None = None,
    random_state: int = 0,
) -> tuple[DomainTransformer, dict[str, Any]]:
    """Fit a correction to the clips of a corpus, with its datasets as domains.

    Parameters
    ----------
    corpus : Corpus
        Of two datasets or more.
    embedding : str
        Clips without it are left out.
    correction : str or Correction
        By name; see `corrections.names`. With ``groups=group`` the groups are the corpus's.
    fit_split : {'train', 'all'}
        Fit to the training clips, or to all.
    label : str, optional
        The label of ``given=label``; clips in which it was not observed are left out of the fit.
    random_state : int
        Seed of random features and of the search for groups.

    Returns
    -------
    transformer : DomainTransformer
    record : dict
        What was fitted to what: parameters, clips of each dataset, versions, sums, warnings.

    Raises
    ------
    ArgumentError
        If a name is unknown, or the corpus lacks what the correction needs.
    """
    spec = parse_correction(correction)
    _check(corpus, spec, fit_split, label)
    table = corpus.clips
    rows = corpus.complete([embedding])
    if fit_split == "train":
        rows &= (table["split"] == "train").to_numpy()
    y = None
    if label is not None:
        rows &= table[label].notna().to_numpy()
        y = (table.loc[rows, label] >= 0.5).to_numpy(dtype=int)
    domain = table.loc[rows, "dataset"].to_numpy(dtype=str)
    counts = {name: int((domain == name).sum()) for name in corpus.datasets}
    if min(counts.values()) == 0 and spec.corrects:
        empty = ", ".join(name for name, n in counts.items() if not n)
        raise ArgumentError(
            f"corpus {corpus.name!r}: no clip of {empty} can be fitted to: none has {embedding}"
            + (f" and {label}" if label else "")
            + (" in the training part" if fit_split == "train" else "")
        )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        transformer = fit_correction(
            spec,
            corpus.embedding(embedding)[rows],
            y,
            sample_domain=domain,
            sample_group=table.loc[rows, "group"].to_numpy(object),
            random_state=random_state,
        )
    record = {
        "correction": str(spec),
        "embedding": embedding,
        "model": corpus.model_record(embedding),
        "fitted_to": {
            "corpus": corpus.name,
            "split": fit_split,
            "clips": counts,
            "label": label,
            "seed": random_state,
            "data": corpus.data_sums(),
        },
        "dimension": corpus.dimension(embedding),
        "versions": versions("numpy", "scipy", "scikit-learn", "h5py"),
        "warnings": list(dict.fromkeys(str(warning.message) for warning in caught)),
    }
    return transformer, record


def correct_corpus(
    corpus: Corpus,
    correction: str | Correction,
    out: str | os.PathLike[str],
    *,
    embeddings: Sequence[str] = (),
    fit_split: str = "train",
    label: str | None = None,
    random_state: int = 0,
) -> Corpus:
    """Fit a correction to each embedding of a corpus, and write a corpus of corrected embeddings.

    The new corpus has the same clips and targets, and its embeddings, a row for each clip, have
    the same names: whatever reads a corpus reads it. Audio stays where it is. The fitted
    corrections are beside them, ``corrections/<embedding>.npz``.

    Parameters
    ----------
    corpus, correction, fit_split, label, random_state
        See `fit_to_corpus`.
    out : path
        The folder to make; it appears when it is complete.
    embeddings : sequence of str
        Default: all that the corpus has.

    Returns
    -------
    Corpus
        What deserves to be known is in `description.provenance["notes"]`.

    Raises
    ------
    ArgumentError
        As `fit_to_corpus`.
    CorpusError
        If `out` exists.
    """
    spec = parse_correction(correction)
    _check(corpus, spec, fit_split, label)
    _check_out(out)
    fitted = {}
    for embedding in _names(corpus, embeddings):
        try:
            fitted[embedding] = fit_to_corpus(
                corpus, embedding, spec, fit_split=fit_split, label=label, random_state=random_state
            )
        except BiasMIRError as error:
            raise ArgumentError(f"{embedding}: {error}") from error
    return write_corrected(corpus, fitted, Path(out), str(spec))


def apply_to_corpus(
    corpus: Corpus,
    corrections: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    embeddings: Sequence[str] = (),
) -> Corpus:
    """Apply saved corrections to the embeddings of a corpus, which they need not have seen.

    What happens to datasets that a correction was not fitted to, says
    `corrected_corpus.unseen_rule`; it goes into the notes.

    Parameters
    ----------
    corpus : Corpus
    corrections : path or sequence of path
        Files that `correct_corpus` or `save_correction` wrote, or a folder of them: that of a
        corrected corpus, for instance.
    out : path
        The folder to make.
    embeddings : sequence of str
        Which embeddings are corrected. With a single file this may name another embedding than
        the one it was fitted to. Default: those that the files were fitted to; what else the
        corpus has is left out, and named in the notes.

    Returns
    -------
    Corpus

    Raises
    ------
    ArgumentError
        If a file cannot be read, was fitted to another embedding, or to another number of
        dimensions.
    CorpusError
        If `out` exists.
    """
    _check_out(out)
    files = _saved(corrections)
    found: dict[str, Path] = {}
    for file in files:
        name = read_record(file).get("embedding", file.stem)
        if len(files) == 1 and len(embeddings) == 1:
            name = embeddings[0]
        if name in found:
            raise ArgumentError(f"{found[name]} and {file} are both for {name!r}; give one of them")
        found[name] = file
    missing = [name for name in embeddings if name not in found]
    if missing:
        raise ArgumentError(
            f"no saved correction for {', '.join(missing)}; there are: {', '.join(found)}"
        )
    fitted = {}
    for name in embeddings or found:
        dimension, transformer = corpus.dimension(name), load_correction(found[name])
        if not isinstance(transformer, DomainTransformer):
            raise ArgumentError(f"{found[name]}: a feature map by itself, not a correction")
        if transformer.n_features_in_ != dimension:
            raise ArgumentError(
                f"{found[name]}: fitted to {transformer.n_features_in_} dimensions, but "
                f"{name} of corpus {corpus.name!r} has {dimension}"
            )
        fitted[name] = transformer, read_record(found[name])
    names = {record.get("correction", type(t).__name__) for t, record in fitted.values()}
    left = [name for name in corpus.embedding_names if name not in fitted]
    notes = []
    if left and not embeddings:
        notes.append(
            f"left out, since no saved correction was fitted to them: {', '.join(left)} of corpus "
            f"{corpus.name!r}"
        )
    return write_corrected(corpus, fitted, Path(out), ", ".join(sorted(names)), notes)


def _check(corpus: Corpus, spec: Correction, fit_split: str, label: str | None) -> None:
    if fit_split not in FIT_SPLITS:
        raise ArgumentError(f"fit split {fit_split!r}: expected {' or '.join(FIT_SPLITS)}")
    if len(corpus.datasets) < 2 and spec.corrects:
        raise ArgumentError(
            f"corpus {corpus.name!r} has one dataset only, so there is nothing to correct; a "
            "correction that was fitted to two can be applied to it (--load)"
        )
    if spec.needs_groups and not corpus.clips["group"].notna().any():
        raise ArgumentError(
            f"{spec}: corpus {corpus.name!r} names no groups; with groups=auto they are looked for"
        )
    if spec.needs_labels and label is None:
        raise ArgumentError(
            f"{spec}: say which label (--label); there are {', '.join(corpus.labels) or 'none'}"
        )
    if label is not None and (label not in corpus.labels or not spec.needs_labels):
        raise ArgumentError(
            f"label {label!r}: "
            + (
                f"corpus {corpus.name!r} has {', '.join(corpus.labels) or 'none'}"
                if spec.needs_labels
                else f"{spec} uses no labels; leave it out, or take given=label"
            )
        )


def _check_out(out: str | os.PathLike[str]) -> None:
    if os.path.lexists(out):
        raise CorpusError(f"{out}: exists already; choose another folder, or remove it")


def _names(corpus: Corpus, embeddings: Sequence[str]) -> list[str]:
    names = list(dict.fromkeys(embeddings)) or corpus.embedding_names
    if not names:
        raise ArgumentError(f"corpus {corpus.name!r} has no embedding (see `biasmir extract`)")
    for name in names:
        corpus.dimension(name)  # raises if there is none
    return names


def _saved(corrections: Any) -> list[Path]:
    one = isinstance(corrections, str | os.PathLike)
    paths = [Path(path) for path in ([corrections] if one else corrections)]
    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        folder = path / "corrections" if (path / "corrections").is_dir() else path
        inside = sorted(folder.glob("*.npz"))
        if not inside:
            raise ArgumentError(f"{path}: no saved correction (.npz) in this folder")
        files.extend(inside)
    if not files:
        raise ArgumentError("at least one saved correction is needed")
    return files


def write_corrected(
    corpus: Corpus,
    fitted: Mapping[str, tuple[DomainTransformer, Mapping[str, Any]]],
    out: Path,
    what: str,
    notes: Sequence[str] = (),
) -> Corpus:
    """Write a corpus with corrected embeddings.

    The folder is made beside `out` and renamed when it is complete.

    Parameters
    ----------
    corpus : Corpus
        Whose clips and embeddings are taken.
    fitted : mapping of str to (DomainTransformer, mapping)
        For each embedding the fitted correction and its record.
    out : pathlib.Path
    what : str
        Name of the correction, for the names of the new corpus.
    notes : sequence of str
        What else deserves to be known; comes first in the notes of the new corpus.

    Returns
    -------
    Corpus
    """
    notes = list(notes)
    models: dict[str, dict[str, Any]] = {}
    with atomic_path(out) as folder:
        for name, (transformer, record) in fitted.items():
            dimension = _write_corrected(corpus, name, transformer, folder)
            save_correction(folder / "corrections" / f"{name}.npz", transformer, record)
            notes += [f"{name}: {text}" for text in record.get("warnings", [])]
            notes += _about_datasets(corpus, name, transformer)
            known = corpus.model_record(name)
            if record.get("model") not in (None, {}, known):
                notes.append(
                    f"{name}: the correction was fitted to an embedding with another record of its "
                    "model; check that it is the same network"
                )
            if dimension != corpus.dimension(name):
                notes.append(f"{name}: {corpus.dimension(name)} dimensions became {dimension}")
            models[name] = {
                "source": f"{name} of corpus {corpus.name}, corrected: {what}",
                "dimension": dimension,
                "correction": {
                    "file": f"corrections/{name}.npz",
                    **_jsonable(record),
                    "parameters": _parameters(transformer),
                },
                "corrected_from": known,
            }
        table = corpus.clips.copy()
        table["audio"] = pd.Series(
            [_moved_path(corpus, row, out) for row in range(len(table))], dtype=object
        )
        writer = CorpusWriter(
            folder,
            name=f"{corpus.name}+{what}",
            title=f"{corpus.title}, corrected: {what}",
            datasets=corpus.datasets,
            groups=corpus.groups,
            targets=corpus.targets,
            provenance={
                "made_by": "biasmir correct",
                "correction": what,
                "versions": versions("numpy", "scipy", "scikit-learn", "pandas", "h5py"),
                "source": {"corpus": corpus.name, "sums": corpus.data_sums()},
                "source_provenance": corpus.description.provenance,
                "unchecked": corpus.description.unchecked,
                "notes": notes,
            },
            licences=corpus.description.licences,
            shared_tracks=corpus.shared_tracks,
        )
        writer.description = replace(
            writer.description,
            embedding_files=tuple(
                EmbeddingFile(f"embeddings/{name}.h5", made_here=True) for name in fitted
            ),
            embedding_models=models,
        )
        writer.write(table)
    return Corpus.load(out)


def _write_corrected(
    corpus: Corpus, name: str, transformer: DomainTransformer, folder: Path
) -> int:
    """Write an embedding of all clips that have it, corrected; return its dimension."""
    complete = corpus.complete([name])
    table = corpus.clips[complete]
    corrected = np.asarray(
        transformer.transform(
            corpus.embedding(name)[complete], sample_domain=table["dataset"].to_numpy(dtype=str)
        ),
        dtype=np.float32,
    )
    missing = corpus.missing(name)
    content, skipped = {}, {}
    for dataset in corpus.datasets:
        rows = (table["dataset"] == dataset).to_numpy()
        if rows.any():
            content[dataset] = table.loc[rows, "clip"].tolist(), corrected[rows]
            left_out = missing[missing["dataset"] == dataset]
            skipped[dataset] = dict(zip(left_out["clip"], left_out["reason"], strict=True))
    write_embedding_file(folder / "embeddings" / f"{name}.h5", name, content, skipped=skipped)
    return int(corrected.shape[1])


def _about_datasets(corpus: Corpus, name: str, transformer: DomainTransformer) -> list[str]:
    seen = set(map(str, transformer.domains_))
    new = [dataset for dataset in corpus.datasets if dataset not in seen]
    if not new or not seen:
        return []
    return [
        f"{name}: the correction was fitted to {', '.join(sorted(seen))} and has not seen "
        f"{dataset}: rows of it {unseen_rule(transformer)}"
        for dataset in new
    ]


def _moved_path(corpus: Corpus, row: int, out: Path) -> Any:
    audio = corpus.audio_path(row)
    if audio is None:
        return np.nan
    try:
        return Path(os.path.relpath(audio.resolve(), out.resolve())).as_posix()
    except ValueError:  # another drive, on Windows
        return audio.resolve().as_posix()


def _parameters(transformer: DomainTransformer) -> dict[str, Any]:
    return {
        key: value if isinstance(value, bool | int | float | str | None) else str(value)
        for key, value in sorted(transformer.get_params().items())
    }


def _jsonable(record: Mapping[str, Any]) -> dict[str, Any]:
    copied: dict[str, Any] = json.loads(json.dumps(dict(record), default=str))
    copied.pop("model", None)  # it is kept once, as `corrected_from`
    return copied


def unseen_rule(transformer: DomainTransformer) -> str:
    """Return in words what becomes of rows of a dataset that a correction was not fitted to.

    The words go on after "rows of it".
    """
    if isinstance(transformer, KernelCorrection):
        return (
            "are standardised by all rows of the fit, mapped to random features, and these "
            f"{unseen_rule(transformer.correction_)}"
        )
    if isinstance(transformer, DomainMap):
        if transformer.unseen == "own":
            return "are moved to the target by the statistics of that dataset's rows, all together"
        moved = "are moved as if they had the statistics of all rows of the fit together"
        if isinstance(transformer, DomainCenter) and not transformer.scale:
            moved = "stay where they are"
        return (
            f"{moved}, as there is no map for that dataset (unseen=training); a correction fitted "
            "with unseen=own would move them by their own statistics"
        )
    return "are corrected like every other row; what that dataset has of its own stays"


BLOCK_ROWS = 65_536


@dataclass(frozen=True)
class RowBlock:
    """Consecutive rows of an embedding file.

    Attributes
    ----------
    path : pathlib.Path
    dataset : str
        The first part of the file's group `/<dataset>/<embedding>`.
    embedding : str
        The second part.
    start : int
        The first row.
    stop : int
        The row after the last.
    """

    path: Path
    dataset: str
    embedding: str
    start: int
    stop: int


def row_blocks(corpus: Corpus, embedding: str, rows: int = BLOCK_ROWS) -> list[RowBlock]:
    """Return blocks that cover all rows of an embedding, each of one dataset."""
    corpus.dimension(embedding)  # raises if there is none
    blocks = []
    for dataset in corpus.datasets:
        path = corpus.embedding_file(embedding, dataset)
        if path is None:
            continue
        with open_embedding_file(path) as file:
            n = len(file[f"{dataset}/{embedding}/features"])
        path = path.resolve()  # for processes that start elsewhere
        for start in range(0, n, rows):
            blocks.append(RowBlock(path, dataset, embedding, start, min(start + rows, n)))
    return blocks


def moments_of_block(
    block: RowBlock, clips: Mapping[str, Any], scatter: str, grouped: bool
) -> Moments:
    """Return the moments of the rows of a block, in bounded memory.

    Parameters
    ----------
    block : RowBlock
    clips : mapping of str to group
        The clips of the block's dataset whose rows count, with their group (None: without one).
    scatter : str
        See `Moments`.
    grouped : bool
        Whether moments are kept for each group.

    Raises
    ------
    CorpusError
        If the file is damaged, or a feature is NaN or infinite; it names the clip.
    """
    where = f"{block.path}, /{block.dataset}/{block.embedding}"
    with open_embedding_file(block.path) as file:
        group = file[f"{block.dataset}/{block.embedding}"]
        features, keys = group["features"], group["keys"]
        moments = Moments(features.shape[1], scatter)
        step = max(1, CHUNK_BYTES // (8 * features.shape[1]))
        for start in range(block.start, block.stop, step):
            stop = min(start + step, block.stop)
            names = _texts(keys[start:stop])
            used = np.fromiter((name in clips for name in names), bool, len(names))
            if not used.any():
                continue
            try:
                X = features[start:stop].astype(np.float64)
            except OSError as error:
                raise CorpusError(
                    f"{where}: rows from {start} cannot be read, the file is damaged ({error}); "
                    f"fetch or make it anew"
                ) from error
            if not used.all():
                X, names = X[used], [name for name, use in zip(names, used, strict=True) if use]
            _check_finite(X, names, where)
            domains = Labels(np.zeros(len(X), dtype=np.intp), [block.dataset])
            groups = _groups([clips[name] for name in names]) if grouped else None
            moments.add(X, domains, groups)
    return moments


def moments_of_corpus(
    corpus: Corpus,
    embedding: str,
    *,
    scatter: str = "pooled",
    fit_split: str = "train",
    grouped: bool = False,
    executor: Executor | None = None,
    block_rows: int = BLOCK_ROWS,
) -> Moments:
    """Return the moments of an embedding's rows (frames, where the file has frames).

    Parameters
    ----------
    corpus : Corpus
    embedding : str
        Rows of clips that the clip table does not list are passed over.
    scatter : {'none', 'variance', 'pooled', 'domain'}
        What is kept of second moments; a correction says it, `required_scatter`.
    fit_split : {'train', 'all'}
        Rows of the training clips, or of all.
    grouped : bool
        Whether moments are kept for each group of the clip table.
    executor : concurrent.futures.Executor, optional
        Does the blocks; by default they are done one after the other. The result is the same up to
        rounding.
    block_rows : int
        Rows of a block.

    Returns
    -------
    Moments
        For the `fit_moments` of a correction.
    """
    if fit_split not in FIT_SPLITS:
        raise ArgumentError(f"fit split {fit_split!r}: expected {' or '.join(FIT_SPLITS)}")
    table = corpus.clips
    if fit_split == "train":
        table = table[table["split"] == "train"]
    group = [name if isinstance(name, str) else None for name in table["group"]]
    clips: dict[str, dict[str, Any]] = {dataset: {} for dataset in corpus.datasets}
    for dataset, clip, name in zip(table["dataset"], table["clip"], group, strict=True):
        clips[dataset][clip] = name
    blocks = row_blocks(corpus, embedding, block_rows)
    # A process is sent the clips of its block's dataset only: of large corpora they are megabytes.
    of_block = [clips[block.dataset] for block in blocks]
    work = partial(moments_of_block, scatter=scatter, grouped=grouped)
    total = Moments(corpus.dimension(embedding), scatter)
    for part in (map if executor is None else executor.map)(work, blocks, of_block):
        total = total + part
    return total


def fit_to_frames(
    corpus: Corpus,
    embedding: str,
    correction: str | Correction | MomentCorrection,
    *,
    fit_split: str = "train",
    executor: Executor | None = None,
) -> MomentCorrection:
    """Fit a correction to all frames of an embedding, without loading them.

    Parameters
    ----------
    corpus : Corpus
    embedding : str
    correction : str, Correction or MomentCorrection
        By name, or as an unfitted transformer; one that moments suffice for. With
        ``groups=group``, in the name or the name that it was made by, groups are the corpus's.
    fit_split, executor
        As in `moments_of_corpus`.

    Returns
    -------
    MomentCorrection
        Fitted.

    Raises
    ------
    ArgumentError
        If moments do not suffice for the correction, or the corpus lacks what it needs; before
        the file is read.
    """
    transformer: Any = correction
    if isinstance(correction, str | Correction):
        transformer = make_correction(correction)
    if not isinstance(transformer, MomentCorrection) or not transformer.moments_suffice:
        names = [n for n, m in METHODS.items() if isinstance(m.make(), MomentCorrection)]
        raise ArgumentError(
            f"{correction} cannot be fitted from moments, it needs all rows at once; "
            f"{', '.join(names)} can (without kernel, given and groups=auto)."
        )
    grouped = transformer._named_with_groups
    if grouped and not corpus.clips["group"].notna().any():
        raise ArgumentError(f"{correction}: corpus {corpus.name!r} names no groups")
    transformer.check_moments(corpus.datasets, grouped=grouped)
    moments = moments_of_corpus(
        corpus,
        embedding,
        scatter=transformer.required_scatter,
        fit_split=fit_split,
        grouped=grouped,
        executor=executor,
    )
    if not moments.cells:
        raise ArgumentError(f"no rows of {embedding} in corpus {corpus.name!r} ({fit_split})")
    return transformer.fit_moments(moments)


def _texts(keys: npt.NDArray[Any]) -> list[str]:
    return [key.decode("utf-8") if isinstance(key, bytes) else str(key) for key in keys.tolist()]


def _groups(names: list[Any]) -> Labels:
    found = sorted({name for name in names if name is not None})
    labels = [*found, None] if None in names else list(found)
    position = {name: code for code, name in enumerate(labels)}
    return Labels(np.fromiter((position[name] for name in names), np.intp, len(names)), labels)


def _check_finite(X: npt.NDArray[np.float64], names: list[str], where: str) -> None:
    # The sum of all is finite unless a value is not; rows are looked for only then.
    if np.isfinite(X.sum()):
        return
    broken = ~np.isfinite(X).all(axis=1)
    if broken.any():
        raise CorpusError(
            f"{where}, clip {names[int(np.flatnonzero(broken)[0])]!r}: the features hold NaN or "
            f"infinite values; extract it anew"
        )
