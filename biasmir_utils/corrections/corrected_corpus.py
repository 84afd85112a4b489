"""Writing a corpus whose embeddings have been corrected."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biasmir_utils.corpus import Corpus, CorpusWriter, EmbeddingFile, write_embedding_file
from biasmir_utils.corrections.base import DomainTransformer
from biasmir_utils.corrections.domain_maps import DomainCenter, DomainMap
from biasmir_utils.corrections.kernel import KernelCorrection
from biasmir_utils.corrections.storage import save_correction
from biasmir_utils.files import atomic_path, versions


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
