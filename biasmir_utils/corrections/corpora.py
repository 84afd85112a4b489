"""A correction of a whole corpus: fitted on its training clips, applied to all, written anew."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from biasmir_utils.corpus import Corpus
from biasmir_utils.corrections.base import DomainTransformer
from biasmir_utils.corrections.by_name import fit_correction
from biasmir_utils.corrections.corrected_corpus import write_corrected
from biasmir_utils.corrections.grammar import Correction, parse_correction
from biasmir_utils.corrections.storage import load_correction, read_record
from biasmir_utils.errors import ArgumentError, BiasMIRError, CorpusError
from biasmir_utils.files import versions

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
        By name; see `corrections.grammar`. With ``groups=group`` the groups are the corpus's.
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
