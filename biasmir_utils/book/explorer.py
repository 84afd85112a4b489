"""The data of the page on which the demonstration corpus is looked at and listened to.

The page shows every clip as a point, for each embedding before and after a correction, and plays
short excerpts of some. Two things are made here:

- `render_excerpts`, from a rendered corpus with all its audio: the excerpts, once, to be kept in
  the repository;
- `write_data`, at every build, from the bundled corpus: the points, as a script that the page
  loads, since a page that was opened from a folder may not fetch a file.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasmir_utils.corpus import Corpus
from biasmir_utils.corrections import make_correction
from biasmir_utils.errors import BookError
from biasmir_utils.files import atomic_path, write_json
from biasmir_utils.notebook import listed

FOLDER = Path("book", "extra", "explorer")
"""Where the page's script, style, excerpts and data lie in the repository."""
DATA = "data.js"
EXCERPTS = "excerpts.json"
CORPUS = Path("data", "demo")

CORRECTIONS = {
    "none": "none, as they are",
    "lda": "lda: the paper's projection",
    "leace": "leace: the difference of the means erased",
    "center": "center: each dataset's own mean subtracted",
}
"""The corrections that the page offers, and what it calls them."""

EXCERPT_SECONDS = 2.5
EXCERPT_RATE = 24_000
EXCERPT_LEVEL_DB = -20.0
"""RMS level of every excerpt, dB relative to full scale, as that of the bundled examples."""
EXCERPT_PEAK = 0.89
EXCERPT_FADE = 0.02
"""Seconds of fade at either end."""
MP3_COMPRESSION = 0.85
"""libsndfile's compression level at constant bit rate: 32 kbit/s in mono at 24 kHz."""
PER_CELL = 2
"""Excerpts for each combination of dataset, genre and leading instrument."""
GRID = 4095
"""Coordinates are whole numbers from 0 to this."""
EDGE = 0.003
"""Share of the points that lie beyond each edge of the picture."""


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
    with_others = f" with {listed(others)}" if others else ""
    return f"{clip['dataset']}: {lead}{with_others}, {str(clip['group']).replace('_', ' ')}"


def choose_clips(corpus: Corpus, per_cell: int = PER_CELL) -> list[int]:
    """Choose the clips that the page plays.

    In each dataset, for each leading instrument and genre, the first clips of different tracks are
    taken, those with fewer instruments first.

    Parameters
    ----------
    corpus : Corpus
        The demonstration corpus, bundled or rendered: both give the same choice.
    per_cell : int
        How many for each combination, as far as there are.

    Returns
    -------
    list of int
        Rows of `corpus.clips`, by dataset, instrument and genre.
    """
    clips = corpus.clips.assign(
        lead=leads(corpus), players=corpus.clips["instruments"].str.split().str.len()
    )
    chosen: list[int] = []
    for dataset in corpus.datasets:
        for lead in range(len(corpus.labels)):
            for group in corpus.groups:
                cell = clips[
                    (clips["dataset"] == dataset)
                    & (clips["lead"] == lead)
                    & (clips["group"] == group)
                ]
                cell = cell.sort_values("players", kind="stable").drop_duplicates("track")
                chosen += cell.index[:per_cell].tolist()
    return chosen


def render_excerpts(rendered: Corpus, out: Path) -> list[str]:
    """Write excerpts of the chosen clips as MP3, and `excerpts.json` that lists them.

    Parameters
    ----------
    rendered : Corpus
        The demonstration corpus with all its audio, from ``data/make/demo.py``.
    out : pathlib.Path
        The page's folder; excerpts of an earlier call are replaced.

    Returns
    -------
    list of str
        The files, relative to `out`.

    Raises
    ------
    BookError
        The corpus has no audio of a chosen clip.
    """
    import soundfile

    excerpts = []
    for row in choose_clips(rendered):
        source = rendered.audio_path(row)
        clip = rendered.clips.iloc[row]
        if source is None:
            raise BookError(
                f"{rendered.path}: has no audio of {clip['clip']}; the excerpts are made from a "
                "corpus that `data/make/demo.py` rendered"
            )
        wave, rate = soundfile.read(source, dtype="float32", always_2d=True)
        content, start, gain_db = encode_excerpt(wave.mean(axis=1), rate)
        name = f"audio/{clip['clip']}.mp3"
        with atomic_path(out / name) as temporary:
            temporary.write_bytes(content)
        excerpts.append(
            {
                "dataset": clip["dataset"],
                "clip": clip["clip"],
                "file": name,
                "start": start,
                "gain_db": gain_db,
            }
        )
    kept = {one["file"] for one in excerpts}
    for path in (out / "audio").glob("*.mp3"):
        if f"audio/{path.name}" not in kept:
            path.unlink()
    write_json(out / EXCERPTS, {"seconds": EXCERPT_SECONDS, "excerpts": excerpts})
    return sorted(kept)


def encode_excerpt(
    wave: NDArray[np.float32],
    rate: int,
    seconds: float = EXCERPT_SECONDS,
    start: float | None = None,
) -> tuple[bytes, float, float]:
    """Cut a stretch out of a clip, bring it to the common level, and encode it as MP3.

    Parameters
    ----------
    wave : ndarray, (n,)
        Mono.
    rate : int
        In Hz.
    seconds : float
        Length of the excerpt.
    start : float, optional
        Where in the clip it begins, in seconds; by default where the clip is loudest.

    Returns
    -------
    content : bytes
    start : float
        Where in the clip it begins, in seconds.
    gain_db : float
        By how much it was made louder.
    """
    import soundfile
    import soxr

    length = min(round(seconds * rate), len(wave))
    power = np.concatenate([[0.0], np.cumsum(np.square(wave, dtype=np.float64))])
    # Half seconds are enough to land on music rather than on a rest.
    starts = np.arange(0, len(wave) - length + 1, max(rate // 2, 1))
    first = int(starts[np.argmax(power[starts + length] - power[starts])])
    if start is not None:
        first = round(start * rate)
    part = soxr.resample(wave[first : first + length], rate, EXCERPT_RATE, "VHQ")
    level = max(float(np.sqrt(np.mean(np.square(part, dtype=np.float64)))), 1e-9)
    gain = min(10 ** (EXCERPT_LEVEL_DB / 20) / level, EXCERPT_PEAK / float(np.abs(part).max()))
    fade = np.minimum(1, np.arange(len(part)) / (EXCERPT_FADE * EXCERPT_RATE))
    shaped = (part * gain * fade * fade[::-1]).astype(np.float32)
    buffer = io.BytesIO()
    soundfile.write(
        buffer,
        shaped,
        EXCERPT_RATE,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode="CONSTANT",
        compression_level=MP3_COMPRESSION,
    )
    return buffer.getvalue(), round(first / rate, 3), round(float(20 * np.log10(gain)), 2)


def points(
    corpus: Corpus, embedding: str, corrections: Sequence[str] = tuple(CORRECTIONS)
) -> dict[str, NDArray[np.float64]]:
    """Project an embedding onto the plane, as it is and after each correction.

    The vectors are standardised by the uncorrected training clips (dimensions that hardly vary are
    not blown up: see `scales`), and corrected by what was fitted on the training clips of both
    datasets; then the two directions of largest variance are taken (PCA), each time anew, and
    turned so that the picture lies as nearly as possible as that of the uncorrected vectors.

    Returns
    -------
    dict of str to ndarray, (n_clips, 2)
        By correction.
    """
    from scipy.linalg import orthogonal_procrustes
    from sklearn.decomposition import PCA

    X = corpus.embedding(embedding).astype(np.float64)
    train = (corpus.clips["split"] == "train").to_numpy()
    center, scale = X[train].mean(axis=0), scales(X[train])
    found: dict[str, NDArray[np.float64]] = {}
    for name in dict.fromkeys(["none", *corrections]):
        Z = (corrected(corpus, X, name) - center) / scale
        plane = PCA(2, svd_solver="covariance_eigh").fit_transform(Z)
        if found:
            # The mean of each picture is the origin, so a rotation or reflection is all there is.
            plane = plane @ orthogonal_procrustes(plane, found["none"])[0]
        found[name] = plane
    return {name: found[name] for name in corrections}


def scales(X: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what each dimension is divided by: its standard deviation, or the typical one.

    Networks that end in a rectifier have dimensions that are zero but for a few clips. Divided by
    their own standard deviation, these few would be all that the picture shows. So a dimension
    counts as varying at least as much as the median of those that vary at all.
    """
    spread = X.std(axis=0)
    varying = spread[spread > 1e-3 * spread.max()]
    return np.maximum(spread, np.median(varying) if len(varying) else 1.0)


def corrected(corpus: Corpus, X: NDArray[np.float64], correction: str) -> NDArray[np.float64]:
    """Return all rows of `X` after a correction that was fitted on the training rows."""
    train = (corpus.clips["split"] == "train").to_numpy()
    domain = corpus.clips["dataset"].to_numpy()
    transformer = make_correction(correction)
    transformer.fit(X[train], sample_domain=domain[train])
    return np.asarray(transformer.transform(X, sample_domain=domain))


def dataset_auc(corpus: Corpus, embedding: str, correction: str) -> float:
    """Return how well a linear probe still reads the dataset from the test clips' vectors.

    As in the chapter on corrections: the correction is fitted on training clips, the probe is
    cross-validated on test clips, with whole tracks in its folds.
    """
    from biasmir_utils.experiments import dataset_separability

    test = (corpus.clips["split"] == "test").to_numpy()
    rows = corrected(corpus, corpus.embedding(embedding).astype(np.float64), correction)[test]
    clips = corpus.clips[test]
    return dataset_separability(rows, clips["dataset"], clips["track"])[0].roc_auc


def write_data(corpus: Corpus, folder: Path) -> Path:
    """Write `data.js`, with all that the page's script needs, beside the excerpts in `folder`.

    Raises
    ------
    BookError
        An excerpt is of a clip that the corpus does not have.
    """
    record = json.loads((folder / EXCERPTS).read_text(encoding="utf-8"))
    row_of = {
        (dataset, clip): row
        for row, (dataset, clip) in enumerate(
            zip(corpus.clips["dataset"], corpus.clips["clip"], strict=True)
        )
    }
    sounds = []
    for one in record["excerpts"]:
        row = row_of.get((one["dataset"], one["clip"]))
        if row is None:
            raise BookError(
                f"{folder / EXCERPTS}: names clip {one['clip']!r}, which {corpus.path} does not "
                "have; make the excerpts anew (python -m biasmir_utils.book sounds RENDERED)"
            )
        sounds.append({"row": row, "name": clip_in_words(corpus, row), "file": one["file"]})
    data = {
        "seconds": record["seconds"],
        "grid": GRID,
        "clips": len(corpus.clips),
        "sounds": sounds,
        "colours": _colours(corpus),
        "corrections": CORRECTIONS,
        "embeddings": {name: _views(corpus, name) for name in corpus.embedding_names},
    }
    target = folder / DATA
    with atomic_path(target) as temporary:
        text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
        temporary.write_text(f"window.BIASMIR_EXPLORER = {text};\n", encoding="ascii")
    return target


def _views(corpus: Corpus, embedding: str) -> dict[str, Any]:
    planes = points(corpus, embedding)
    # One scale for all views of an embedding, so that what shrinks is seen to shrink; the few
    # clips beyond it are drawn at the edge.
    low, high = np.quantile(np.concatenate(list(planes.values())), [EDGE, 1 - EDGE], axis=0)
    return {
        name: {
            "points": _packed(np.rint(np.clip((plane - low) / (high - low), 0, 1) * GRID), "<u2"),
            "auc": round(dataset_auc(corpus, embedding, name), 3),
        }
        for name, plane in planes.items()
    }


def _colours(corpus: Corpus) -> dict[str, Any]:
    """Return what points can be coloured by: names, looks, and the category of each clip."""
    from biasmir_utils.plots import looks

    groups = {name: number for number, name in enumerate(corpus.groups)}
    datasets = {name: number for number, name in enumerate(corpus.datasets)}
    by = {
        "dataset": (corpus.datasets, corpus.clips["dataset"].map(datasets).to_numpy()),
        "instrument": (corpus.labels, leads(corpus)),
        "genre": (corpus.groups, corpus.clips["group"].map(groups).to_numpy()),
    }
    return {
        title: {
            "names": [name.replace("_", " ") for name in names],
            "looks": [[look.colour, look.marker] for look in looks(names).values()],
            "of": _packed(codes, "u1"),
        }
        for title, (names, codes) in by.items()
    }


def _packed(numbers: NDArray[Any], kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(numbers.astype(kind)).tobytes()).decode("ascii")
