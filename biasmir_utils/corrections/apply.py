"""A correction of a whole corpus: fitted on its training clips, applied to all, written, saved.

A correction that moments suffice for can be fitted to the frames of an embedding without loading
them, `fit_to_frames`. Such corrections are affine maps in each domain: to correct frames and to
average them is the same as to correct the average.

A saved correction is arrays and JSON in one .npz file. The file holds the class, its parameters
and what it learned: of every class that is `Storable`, the attributes whose names end in an
underscore. Nothing in it is executed on loading, or unpickled: only such classes are made, with
arrays, numbers and texts.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import fields
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from biasmir_utils.corpus import (
    Corpus,
    CorpusWriter,
    EmbeddingFile,
    relative_path,
    write_embedding_file,
)
from biasmir_utils.corrections.base import METHODS, DomainTransformer, Storable
from biasmir_utils.corrections.maps import SpanMatrix
from biasmir_utils.corrections.moments import MomentCorrection, clips_to_fit, moments_of_corpus
from biasmir_utils.corrections.names import (
    Correction,
    fit_correction,
    make_correction,
    parse_correction,
)
from biasmir_utils.errors import ArgumentError, BiasMIRError, CorpusError
from biasmir_utils.files import atomic_path, check_outputs, locked, versions

CORRECTION_FORMAT, CORRECTION_FORMAT_VERSION = "biasmir-correction", 1
_HEADER = "correction.json"
_INCOMPLETE = (ValueError, KeyError, TypeError, AttributeError)
_DAMAGED = (*_INCOMPLETE, EOFError, zipfile.BadZipFile, zlib.error)
# A fitted correction, and what was fitted to what.
Fitted = tuple[DomainTransformer, Mapping[str, Any]]


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
        Whose clips and embeddings are read.
    embedding : str
        Name of one of its embeddings.
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
    if not (isinstance(transformer, MomentCorrection) and transformer.moments_suffice):
        names = [name for name, one in METHODS.items() if issubclass(one.make, MomentCorrection)]
        raise ArgumentError(
            f"{correction} cannot be fitted from moments, it needs all rows at once; "
            f"{', '.join(names)} can (without kernel, given and groups=auto)."
        )
    transformer._check_parameters(corpus.datasets)
    grouped = transformer._named_with_groups
    if grouped and not corpus.clips["group"].notna().any():
        raise ArgumentError(f"{correction}: corpus {corpus.name!r} names no groups")
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
    corpus : Corpus
        Of two datasets or more, which are the domains.
    correction : str or Correction
        By name; see `corrections.names`. With ``groups=group`` the groups are the corpus's.
    out : path
        The folder to make; it appears when it is complete.
    embeddings : sequence of str
        Default: all that the corpus has. Clips without one are left out of its fit.
    fit_split : {'train', 'all'}
        Fit to the training clips, or to all.
    label : str, optional
        The label of ``given=label``; clips in which it was not observed are left out of the fit.
    random_state : int
        Seed of random features and of the search for groups.

    Returns
    -------
    Corpus
        What deserves to be known is in `description.provenance["notes"]`.

    Raises
    ------
    ArgumentError
        If a name is unknown, or the corpus lacks what the correction needs.
    CorpusError
        If `out` exists.
    """
    spec = parse_correction(correction)
    _check(corpus, spec, label)
    _check_out(out)
    names = list(dict.fromkeys(embeddings)) or corpus.embedding_names
    if not names:
        raise ArgumentError(f"corpus {corpus.name!r} has no embedding (see `biasmir extract`)")
    for name in names:
        corpus.dimension(name)  # raises if there is none
    fitted = {}
    for name in names:
        try:
            fitted[name] = _fit(corpus, name, spec, fit_split, label, random_state)
        except BiasMIRError as error:
            raise ArgumentError(f"{name}: {error}") from error
    return _write_corrected(corpus, fitted, Path(out), str(spec))


def _check(corpus: Corpus, spec: Correction, label: str | None) -> None:
    """Raise an `ArgumentError` if the corpus lacks what the correction needs."""
    asked = "say which label (--label)" if label is None else f"label {label!r}"
    wrong = {
        f"corpus {corpus.name!r} has one dataset only, so there is nothing to correct; one "
        "that was fitted to two datasets can be applied to it (--load)": (
            len(corpus.datasets) < 2 and spec.corrects
        ),
        f"{spec}: corpus {corpus.name!r} names no groups; with groups=auto they are looked for": (
            spec.needs_groups and corpus.clips["group"].isna().all()
        ),
        f"{spec}: {asked}; there are {', '.join(corpus.labels) or 'none'}": (
            spec.needs_labels and label not in corpus.labels
        ),
        f"{asked}: {spec} uses no labels; leave it out, or take given=label": (
            label is not None and not spec.needs_labels
        ),
    }
    if found := [message for message, is_so in wrong.items() if is_so]:
        raise ArgumentError(found[0])


def _fit(
    corpus: Corpus,
    embedding: str,
    spec: Correction,
    fit_split: str,
    label: str | None,
    random_state: int,
) -> Fitted:
    """Fit a correction to the clips of a corpus that have an embedding, and a label if given."""
    table = corpus.clips
    rows = corpus.complete([embedding]) & clips_to_fit(corpus, fit_split)
    y = None
    if label is not None:
        rows &= table[label].notna().to_numpy()
        y = (table.loc[rows, label] >= 0.5).to_numpy(dtype=int)
    domain = table.loc[rows, "dataset"].to_numpy(dtype=str)
    counts = {name: int((domain == name).sum()) for name in corpus.datasets}
    empty = ", ".join(name for name, n in counts.items() if not n)
    if empty and spec.corrects:
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
            sample_track=table.loc[rows, "track"].to_numpy(object),
            shared_tracks=corpus.shared_tracks,
            random_state=random_state,
            draw=random_state,
        )
    return transformer, {
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


def apply_to_corpus(
    corpus: Corpus,
    corrections: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    embeddings: Sequence[str] = (),
) -> Corpus:
    """Apply saved corrections to the embeddings of a corpus, which they need not have seen.

    What happens to rows of datasets that a correction was not fitted to goes into the notes.

    Parameters
    ----------
    corpus : Corpus
        Whose clips and embeddings are read.
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
    files: list[Path] = []
    one = isinstance(corrections, str | os.PathLike)
    for path in map(Path, [corrections] if one else corrections):  # type: ignore[arg-type]
        folder = path / "corrections" if (path / "corrections").is_dir() else path
        inside = sorted(folder.glob("*.npz")) if path.is_dir() else [path]
        if not inside:
            raise ArgumentError(f"{path}: no saved correction (.npz) in this folder")
        files += inside
    if not files:
        raise ArgumentError("at least one saved correction is needed")
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
    fitted: dict[str, Fitted] = {}
    for name in embeddings or found:
        file, dimension = found[name], corpus.dimension(name)
        transformer = load_correction(file)
        if not isinstance(transformer, DomainTransformer):
            raise ArgumentError(f"{file}: a feature map by itself, not a correction")
        if transformer.n_features_in_ != dimension:
            raise ArgumentError(
                f"{file}: fitted to {transformer.n_features_in_} dimensions, but "
                f"{name} of corpus {corpus.name!r} has {dimension}"
            )
        fitted[name] = transformer, read_record(file)
    names = {record.get("correction", type(t).__name__) for t, record in fitted.values()}
    left = [name for name in corpus.embedding_names if name not in fitted]
    told = (
        f"left out, since no saved correction was fitted to them: {', '.join(left)} of corpus "
        f"{corpus.name!r}"
    )
    notes = [told] if left and not embeddings else []
    return _write_corrected(corpus, fitted, Path(out), ", ".join(sorted(names)), notes)


def _check_out(out: str | os.PathLike[str]) -> None:
    if os.path.lexists(out):
        raise CorpusError(f"{out}: exists already; choose another folder, or remove it")
    check_outputs([Path(out)])


def _write_corrected(
    corpus: Corpus, fitted: Mapping[str, Fitted], out: Path, what: str, notes: Sequence[str] = ()
) -> Corpus:
    """Write a corpus with the embeddings corrected, beside `out`, and rename it when complete."""
    notes, models = list(notes), {}
    files = map(corpus.audio_path, range(len(corpus.clips)))
    audio = [np.nan if file is None else relative_path(file, out) for file in files]
    with locked(out.with_name(f".{out.name}.lock")):
        _check_out(out)
        for left in out.parent.glob(f".{escape(out.stem)}.*.partial{escape(out.suffix)}"):
            shutil.rmtree(left, ignore_errors=True)  # of a process that was killed
        with atomic_path(out) as folder:
            for name, one in fitted.items():
                models[name], told = _write_embedding(corpus, name, one, folder, what)
                notes += [f"{name}: {note}" for note in told]
            changed = {
                "name": f"{corpus.name}+{what}",
                "title": f"{corpus.title}, corrected: {what}",
                "embedding_files": [EmbeddingFile(f"embeddings/{n}.h5", True) for n in fitted],
                "embedding_models": models,
                "provenance": {
                    "made_by": "biasmir correct",
                    "correction": what,
                    "versions": versions("numpy", "scipy", "scikit-learn", "pandas", "h5py"),
                    "source": {"corpus": corpus.name, "sums": corpus.data_sums()},
                    "source_provenance": corpus.description.provenance,
                    "unchecked": corpus.description.unchecked,
                    "notes": notes,
                },
            }
            writer = CorpusWriter(folder, **vars(corpus.description) | changed)
            table = corpus.clips.assign(audio=pd.Series(audio, dtype=object))
            writer.write(table)
            for name, (transformer, record) in fitted.items():
                save_correction(folder / "corrections" / f"{name}.npz", transformer, record)
    return Corpus.load(out)


def _write_embedding(
    corpus: Corpus, name: str, fitted: Fitted, folder: Path, what: str
) -> tuple[dict[str, Any], list[str]]:
    """Write an embedding, corrected; return the record of its model, and notes on it.

    One after the other is written, so that memory holds one corrected embedding only.
    """
    transformer, record = fitted
    rows = corpus.clips[corpus.complete([name])]
    domain = rows["dataset"].to_numpy(dtype=str)
    X = corpus.embedding(name)[rows.index]
    corrected = transformer.transform(X, sample_domain=domain)
    content = {
        dataset: (rows.loc[domain == dataset, "clip"].tolist(), corrected[domain == dataset])
        for dataset in np.unique(domain)
    }
    skipped = {
        str(dataset): dict(zip(left_out["clip"], left_out["reason"], strict=True))
        for dataset, left_out in corpus.missing(name).groupby("dataset")
    }
    write_embedding_file(folder / "embeddings" / f"{name}.h5", name, content, skipped=skipped)
    notes = _notes(corpus, name, transformer, record)
    if X.shape != corrected.shape:
        notes.append(f"{X.shape[1]} dimensions became {corrected.shape[1]}")
    # The model's record is kept once, as `corrected_from`.
    about = {key: value for key, value in record.items() if key != "model"}
    about["parameters"] = dict(sorted(transformer.get_params().items()))
    correction = {"file": f"corrections/{name}.npz"}
    return {
        "source": f"{name} of corpus {corpus.name}, corrected: {what}",
        "dimension": int(corrected.shape[1]),
        "correction": correction | json.loads(json.dumps(about, default=str)),
        "corrected_from": corpus.model_record(name),
    }, notes


def _notes(
    corpus: Corpus, embedding: str, transformer: DomainTransformer, record: Mapping[str, Any]
) -> list[str]:
    """Return what is to be known of a fitted correction where it is applied to a corpus."""
    seen = sorted(map(str, transformer.domains_))
    notes = list(record.get("warnings", []))
    notes += [
        f"the correction was fitted to {', '.join(seen)} and has not seen {dataset}: rows of it "
        f"{transformer.unseen_rule()}"
        for dataset in corpus.datasets
        if seen and dataset not in seen
    ]
    if record.get("model") not in (None, {}, corpus.model_record(embedding)):
        notes.append(
            "the correction was fitted to an embedding with another record of its model; check "
            "that it is the same network"
        )
    return notes


def save_correction(
    path: str | os.PathLike[str], correction: Any, record: Mapping[str, Any] | None = None
) -> None:
    """Write a fitted correction to a file, atomically.

    Parameters
    ----------
    path : path
        Usually ending in .npz.
    correction : DomainTransformer or Fastfood
        Fitted.
    record : mapping, optional
        What else to keep, as JSON: for instance what it was fitted on. See `read_record`.

    Raises
    ------
    NotFittedError
        If it is not fitted.
    ArgumentError
        If it is no correction, or has a parameter that is no number, text or other correction (a
        random generator, for instance).
    """
    if not isinstance(correction, Storable):
        raise ArgumentError(f"{correction!r} cannot be saved: it is no correction (path first).")
    check_is_fitted(correction)
    arrays: dict[str, Any] = {}
    header = {
        "format": CORRECTION_FORMAT,
        "format_version": CORRECTION_FORMAT_VERSION,
        "versions": versions("numpy", "scikit-learn"),
        "record": dict(record or {}),
        "correction": _encode(correction, arrays),
    }
    text = json.dumps(header, indent=1, allow_nan=False)
    arrays[_HEADER] = np.frombuffer(text.encode(), dtype=np.uint8)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def load_correction(path: str | os.PathLike[str]) -> DomainTransformer:
    """Read a correction that `save_correction` wrote.

    Parameters
    ----------
    path : path
        Of the .npz file. The class of a correction of one's own must have been imported.

    Returns
    -------
    DomainTransformer
        Fitted; a `Fastfood` where that was saved.

    Raises
    ------
    ArgumentError
        If the file is missing, truncated, or of another kind or version.
    """
    header, arrays = _read(Path(path))
    try:
        loaded: DomainTransformer = _decode(header["correction"], arrays)
    except _INCOMPLETE as error:
        raise ArgumentError(f"{path}: the correction is incomplete ({error!r}).") from error
    return loaded


def read_record(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the record that `save_correction` kept beside a correction; empty without one.

    Parameters
    ----------
    path : path
        Of the .npz file.

    Raises
    ------
    ArgumentError
        As `load_correction`.
    """
    record = _read(Path(path))[0].get("record", {})
    return record if isinstance(record, dict) else {}


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the header and the arrays of a file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            header = json.loads(file[_HEADER].tobytes())
            arrays = {name: file[name] for name in file.files if name != _HEADER}
        found = header["format"], header["format_version"]
    except OSError as error:
        raise ArgumentError(
            f"{path}: no saved correction can be read ({error.strerror or error})."
        ) from error
    except _DAMAGED:
        # NumPy's own messages on such files speak of pickle, which is never the way out here.
        raise ArgumentError(
            f"{path}: not a correction saved by save_correction: it is no .npz archive with "
            f"{_HEADER}, or a damaged one. Give a file that save_correction or `biasmir correct` "
            "wrote, or write it again."
        ) from None
    if found != (CORRECTION_FORMAT, CORRECTION_FORMAT_VERSION):
        raise ArgumentError(
            f"{path}: format {found[0]!r}, version {found[1]!r}; "
            f"this release reads {CORRECTION_FORMAT!r}, version {CORRECTION_FORMAT_VERSION}."
        )
    return header, arrays


def _encode(value: Any, arrays: dict[str, Any]) -> dict[str, Any]:
    """Return a value as JSON that names the kind of what it holds; arrays are put aside."""
    if isinstance(value, Storable):
        parameters = value.get_params(deep=False)
        learned = {key: one for key, one in vars(value).items() if key.endswith("_")}
        return {
            "class": type(value).__name__,
            "parameters": {key: _encode(one, arrays) for key, one in parameters.items()},
            "attributes": {key: _encode(one, arrays) for key, one in learned.items()},
        }
    if isinstance(value, SpanMatrix):
        parts = {one.name: getattr(value, one.name) for one in fields(value)}
        return {"span_matrix": {key: _encode(part, arrays) for key, part in parts.items()}}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        same = (name for name, array in arrays.items() if array is value)
        name = next(same, f"array_{len(arrays)}")  # one basis serves several matrices
        arrays[name] = value
        return {"array": name}
    if isinstance(value, np.ndarray):
        return {"labels": [_encode(item, arrays)["value"] for item in value.tolist()]}
    if isinstance(value, list | tuple):
        return {"list": [_encode(item, arrays) for item in value]}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return {"value": value}
    raise ArgumentError(f"{value!r} cannot be saved: it is no correction, number or text.")


def _decode(node: dict[str, Any], arrays: dict[str, Any]) -> Any:
    """Return what `_encode` has described."""
    (kind, content), *_ = node.items()
    if kind == "array":
        return arrays[content]
    if kind == "labels":
        return np.array(content, dtype=object)
    if kind == "list":
        return [_decode(item, arrays) for item in content]
    if kind == "span_matrix":
        return SpanMatrix(**{key: _decode(part, arrays) for key, part in content.items()})
    if kind == "value":
        return content
    parameters = {key: _decode(value, arrays) for key, value in node["parameters"].items()}
    estimator = Storable.classes[content](**parameters)
    for key, value in node["attributes"].items():
        setattr(estimator, key, _decode(value, arrays))
    return estimator
