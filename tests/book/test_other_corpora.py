"""Chapters with other parameters: each adapts, or tells before anything runs what it needs."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
import soundfile
from small_sounds import add_embedding
from threadpoolctl import threadpool_limits

from biasmir_utils.corpus import CorpusWriter, Target
from biasmir_utils.datasets import import_corpus
from biasmir_utils.errors import ArgumentError

ROOT = Path(__file__).resolve().parents[2]


def run(chapter: str, parameters: dict[str, object]) -> None:
    """Run the cells of a chapter in this process, which is quicker than a kernel."""
    (path,) = (ROOT / "notebooks").glob(f"{chapter}_*.ipynb")
    # The first code cell installs the package on Colab.
    _, *cells = [c for c in nbformat.read(path, 4).cells if c.cell_type == "code"]
    assert cells[0].metadata.tags[0] == "parameters"
    names: dict[str, object] = {"__name__": "__main__"}
    exec(cells[0].source, names)
    assert set(parameters) <= set(names)
    if "RECORDINGS" in names:
        names["RECORDINGS"] = str(ROOT / "data" / "recordings")
    names |= parameters
    for number, cell in enumerate(cells[1:]):
        try:
            exec(compile(cell.source, f"chapter {chapter}: {cell.id}", "exec"), names)
        except ArgumentError:
            if number == 0:
                raise
            raise AssertionError(f"chapter {chapter} had begun to run: {cell.id}") from None
        finally:
            plt.close("all")


def write(folder: Path, clips: pd.DataFrame, labels: list[str], **about: object):
    """Write a corpus with a row for each clip of `clips`, tracks of two clips."""
    n = clips.groupby("dataset").cumcount() // 2
    clips = clips.assign(track=n.astype(str), split=np.where(n % 3 == 2, "test", "train"))
    about = {"name": folder.name, "title": folder.name, "groups": [], **about}
    datasets, targets = list(clips["dataset"].unique()), [Target(name, "label") for name in labels]
    clips = clips.assign(**{name: None for name in ("group", "audio") if name not in clips})
    return CorpusWriter(folder, datasets=datasets, targets=targets, **about).write(clips)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory) -> Path:
    """A folder of corpora that are like other people's, not like the bundled ones."""
    folder, rng = tmp_path_factory.mktemp("corpora"), np.random.default_rng(0)
    # That of the page on real data: no audio, two labels, no embedding of the book's.
    page = (ROOT / "book" / "real-data.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(import numpy.*?)```", page, re.DOTALL)[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(code.replace("n = 400", "n = 120"), {})
    import_corpus(folder / "page", folder / "made-up.csv", features={"mine": folder / "X.npy"})
    # Two sites: no groups; a label with gaps, and one that is never absent in one; some sound.
    n = np.arange(120)
    birds = pd.DataFrame({"dataset": np.where(n < 60, "wood", "town"), "clip": n.astype(str)})
    birds["robin"] = np.where(n % 10 < 9, n % 2, np.nan)
    birds["wren"] = np.where(n < 60, 1, n // 2 % 2)
    birds["audio"] = [f"{i}.wav" if i % 60 < 4 else None for i in n]
    corpus = write(folder / "birds", birds, ["robin", "wren"])
    for name in birds["audio"].dropna():
        soundfile.write(corpus.path / name, rng.normal(0, 0.1, 3 * 16_000), 16_000)
    for name, size in (("mfcc", 50), ("musicnn", 753)):
        X = rng.normal(size=(120, size)) + np.outer(n % 2, np.arange(size) < 4)
        corpus.clips = corpus.clips.iloc[:-2] if name == "mfcc" else corpus.clips
        corpus = add_embedding(corpus, name, X + np.outer(n < 60, np.arange(size) > size - 9))
    # The same pieces in four datasets.
    lead = rng.choice(["piano", "voice"], 72)
    piece = pd.DataFrame({"clip": np.arange(72).astype(str), "instruments": lead})
    piece = piece.assign(group=rng.choice(["x", "y"], 72), piano=lead == "piano")
    piece["piano"] = piece["piano"].astype(float)
    twice = pd.concat([piece.assign(dataset=name) for name in "abcd"], ignore_index=True)
    corpus = write(folder / "four", twice, ["piano"], groups=["x", "y"], shared_tracks=True)
    X = rng.normal(size=(72, 6)) + np.outer(lead == "piano", [2, 0, 0, 0, 0, 0])
    moved = X + rng.normal(scale=0.3, size=(4, *X.shape))
    moved[2:, :, 1] += 2
    add_embedding(corpus, "mine", moved.reshape(-1, 6))
    return folder


@pytest.fixture
def shown(monkeypatch, tmp_path) -> list[str]:
    """What chapters display."""
    texts: list[str] = []
    monkeypatch.setattr(
        "IPython.display.display", lambda one, **_: texts.append(str(getattr(one, "data", one)))
    )
    monkeypatch.chdir(tmp_path)
    return texts


@pytest.mark.parametrize(
    ("chapter", "corpus", "parameters"),
    [
        ("01", "birds", {"EMBEDDINGS": "mfcc", "SEED": 3}),
        ("02", "page", {"EMBEDDINGS": "mine", "SEED": 7}),
        ("02", "birds", {"EMBEDDINGS": ["mfcc", "musicnn"]}),
        ("03", "page", {"EMBEDDINGS": ["mine"], "SEED": 2**32 - 1}),
        ("03", "birds", {"EMBEDDINGS": "mfcc"}),
        ("04", "page", {"EMBEDDINGS": "mine", "SEED": 7}),
        ("05", "page", {"EMBEDDINGS": "mine", "SEED": 7}),
        ("05", "birds", {"EMBEDDINGS": "mfcc"}),
        ("07", "page", {"EMBEDDINGS": "mine", "SEED": 7}),
        ("07", "birds", {"EMBEDDINGS": "mfcc"}),
        ("09", "birds", {"LABEL": "robin", "REPORTED": "robin", "SEED": 7}),
        ("08", "four", {"EMBEDDINGS": "mine", "SEED": 7}),
    ],
)
def test_chapters_run_with(corpora, shown, chapter, corpus, parameters):
    with threadpool_limits(1):
        run(chapter, {"CORPUS": str(corpora / corpus), **parameters})
    told = [text for text in shown if text.startswith("Left out of this chapter")]
    assert bool(told) == (corpus == "birds")
    assert not told or told[0].startswith("Left out of this chapter: 2 clips without an embedding")
    assert not told or "the label wren (wood has 0 negative training clips" in told[0]


@pytest.mark.parametrize(
    ("chapter", "corpus", "parameters", "needed"),
    [
        ("01", "page", {"EMBEDDINGS": "mine"}, "needs 2 datasets and clips with audio in each"),
        ("02", "page", {}, "has no embedding 'yamnet'; it has mine"),
        ("03", "four", {"EMBEDDINGS": "mine"}, "needs 2 datasets; there are a, b, c and d"),
        ("04", "birds", {"EMBEDDINGS": "mfcc"}, "needs 2 datasets and clips with group in each"),
        ("05", "page", {"EMBEDDINGS": []}, "at least one embedding is needed"),
        ("06", "birds", {}, "needs 2 datasets and clips with group in each"),
        ("06", "page", {}, "has no embedding 'vggish'"),
        ("07", "four", {"EMBEDDINGS": "mine"}, "needs 2 datasets; there are a, b, c and d"),
        ("09", "page", {}, "has no embedding 'mfcc'"),
        ("09", "birds", {}, "has no label 'guitar'; it has robin"),
        ("09", "birds", {"LABEL": "wren"}, "has no label 'wren'; it has robin"),
        ("08", "page", {"EMBEDDINGS": "mine"}, "needs 4 datasets and clips with instruments"),
        ("02", "page", {"EMBEDDINGS": "mine", "SEED": -1}, "SEED must be a whole number from 0"),
    ],
)
def test_chapters_tell_first_what_they_need(corpora, shown, chapter, corpus, parameters, needed):
    with pytest.raises(ArgumentError, match=re.escape(needed)):
        run(chapter, {"CORPUS": str(corpora / corpus), **parameters})
    assert all(text.startswith("Left out of this chapter") for text in shown)


def test_chapter_6_tells_first_which_results_it_needs(shown):
    with pytest.raises(ArgumentError, match=r"no-such\.csv: no such file"):
        run("06", {"RESULTS": "no-such.csv"})
