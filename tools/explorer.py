"""The data of the page on which the demonstration corpus is looked at and listened to.

The page shows every clip as a point, for each embedding before and after a correction, and plays
short excerpts of some (tools/sounds.py makes them, once). tools/build.py calls `write_data` at
every build; it writes a script, since a page that was opened from a folder may not fetch a file.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import orthogonal_procrustes
from sklearn.decomposition import PCA

from biasmir_utils.corpus import Corpus
from biasmir_utils.corrections import make_correction
from biasmir_utils.experiments import dataset_separability
from biasmir_utils.plots import looks

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path("book", "extra", "explorer")
EXCERPTS, FALLS = "excerpts.json", "falls.json"

CORRECTIONS = {
    "none": "none, as they are",
    "lda": "lda: the paper's projection",
    "leace": "leace: the difference of the means erased",
    "center": "center: each dataset's own mean subtracted",
}
"""The corrections that the page offers, and what it calls them."""

GRID = 4095
"""Coordinates are whole numbers from 0 to this."""
EDGE = 0.003
"""Share of the points that lie beyond each edge of the picture."""


def demo_corpus() -> Corpus:
    """Return the bundled corpus."""
    return Corpus.load(ROOT / "data" / "demo")


def leads(corpus: Corpus) -> NDArray[np.intp]:
    """Return, for each clip, the position in `corpus.labels` of the instrument that leads."""
    place = {label: number for number, label in enumerate(corpus.labels)}
    return np.array([place[one.split()[0]] for one in corpus.clips["instruments"]])


def clip_in_words(corpus: Corpus, row: int) -> str:
    """Return what plays in a clip, the lead first: `band: flute with piano, pop rock`.

    Not what was labelled: some labels of `band` are missing, and some are wrong.
    """
    clip = corpus.clips.iloc[row]
    lead, *others = clip["instruments"].split()
    with_others = f" with {', '.join(others)}" if others else ""
    return f"{clip['dataset']}: {lead}{with_others}, {str(clip['group']).replace('_', ' ')}"


def write_data(folder: Path) -> Path:
    """Write `data.js`, with all that the page's script needs, beside the excerpts in `folder`."""
    corpus = demo_corpus()
    record = json.loads((folder / EXCERPTS).read_text(encoding="utf-8"))
    names = zip(corpus.clips["dataset"], corpus.clips["clip"], strict=True)
    row_of = {name: row for row, name in enumerate(names)}
    rows = [row_of[one["dataset"], one["clip"]] for one in record["excerpts"]]
    data = {
        "seconds": record["seconds"],
        "grid": GRID,
        "clips": len(corpus.clips),
        "sounds": [
            {"row": row, "name": clip_in_words(corpus, row), "file": one["file"]}
            for row, one in zip(rows, record["excerpts"], strict=True)
        ],
        "colours": colours(corpus),
        "corrections": CORRECTIONS,
        "embeddings": {name: views(corpus, name) for name in corpus.embedding_names},
        # tools/picture.py noted them: mean over labels and both test sets.
        "falls": json.loads((folder / FALLS).read_text(encoding="utf-8")),
    }
    target = folder / "data.js"
    text = json.dumps(data, separators=(",", ":"))
    target.write_text(f"window.BIASMIR_EXPLORER = {text};\n", encoding="ascii")
    return target


def views(corpus: Corpus, embedding: str) -> dict[str, Any]:
    """Return the points of each correction, and how well a probe still reads the dataset.

    The correction is fitted on the training clips of both datasets. For the picture, the vectors
    are standardised by the uncorrected training clips; the two directions of largest variance are
    taken (PCA), each time anew, and turned so that the picture lies as nearly as possible as that
    of the uncorrected vectors. The probe is the one of the chapter on corrections, on test clips.
    """
    X = corpus.embedding(embedding).astype(np.float64)
    train = (corpus.clips["split"] == "train").to_numpy()
    domain = corpus.clips["dataset"].to_numpy()
    center, scale = X[train].mean(axis=0), spread(X[train])
    planes: dict[str, NDArray[np.float64]] = {}
    found: dict[str, dict[str, Any]] = {}
    for name in CORRECTIONS:
        transformer = make_correction(name).fit(X[train], sample_domain=domain[train])
        corrected = np.asarray(transformer.transform(X, sample_domain=domain))
        plane = PCA(2, svd_solver="covariance_eigh").fit_transform((corrected - center) / scale)
        # The mean of each picture is the origin, so a rotation or reflection is all there is.
        planes[name] = plane @ orthogonal_procrustes(plane, planes.get("none", plane))[0]
        test = corpus.clips[~train]
        probe = dataset_separability(corrected[~train], test["dataset"], test["track"])[0]
        found[name] = {"auc": round(probe.roc_auc, 3)}
    # One scale for all views of an embedding, so that what shrinks is seen to shrink; the few
    # clips beyond it are drawn at the edge.
    low, high = np.quantile(np.concatenate(list(planes.values())), [EDGE, 1 - EDGE], axis=0)
    for name, plane in planes.items():
        on_grid = np.rint(np.clip((plane - low) / (high - low), 0, 1) * GRID)
        found[name]["points"] = packed(on_grid, "<u2")
    return found


def spread(X: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what each dimension is divided by: its standard deviation, or the typical one.

    Networks that end in a rectifier have dimensions that are zero but for a few clips. Divided by
    their own standard deviation, these few would be all that the picture shows. So a dimension
    counts as varying at least as much as the median of those that vary at all.
    """
    deviation = X.std(axis=0)
    return np.maximum(deviation, np.median(deviation[deviation > 1e-3 * deviation.max()]))


def colours(corpus: Corpus) -> dict[str, Any]:
    """Return what points can be coloured by: names, looks, and the category of each clip."""
    by = {
        "dataset": (corpus.datasets, corpus.clips["dataset"].map(corpus.datasets.index)),
        "instrument": (corpus.labels, leads(corpus)),
        "genre": (corpus.groups, corpus.clips["group"].map(corpus.groups.index)),
    }
    return {
        title: {
            "names": [name.replace("_", " ") for name in names],
            "looks": [[look.colour, look.marker] for look in looks(names).values()],
            "of": packed(np.asarray(codes), "u1"),
        }
        for title, (names, codes) in by.items()
    }


def packed(numbers: NDArray[Any], kind: str) -> str:
    """Return numbers of a kind of numpy's as base64."""
    return base64.b64encode(np.ascontiguousarray(numbers.astype(kind)).tobytes()).decode("ascii")
