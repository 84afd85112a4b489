"""Moments of embeddings that do not fit into memory: one pass over the frames of a corpus.

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

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from biasmir_utils.corpus import CHUNK_BYTES, Corpus, open_embedding_file
from biasmir_utils.corrections.corpora import FIT_SPLITS
from biasmir_utils.corrections.grammar import Correction, make_correction
from biasmir_utils.corrections.labels import Labels
from biasmir_utils.corrections.moments import Moments
from biasmir_utils.corrections.registry import METHODS
from biasmir_utils.corrections.streaming import MomentCorrection
from biasmir_utils.errors import ArgumentError, CorpusError

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
