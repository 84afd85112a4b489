"""Agreement of found groups with named ones: where the answer is known, and on the demo corpus."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biasmir_utils.corpus import Corpus, CorpusWriter, Target, write_embedding_file
from biasmir_utils.corrections import group_agreement


def corpus_of_genres(folder: Path, strength: float, sizes: tuple[int, int] = (200, 200)) -> Corpus:
    """Write a corpus whose embedding shows the genre with a given strength."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    content = {}
    centers, offsets = rng.normal(size=(3, 12)), rng.normal(size=(3, 12))
    for number, (dataset, size) in enumerate(zip(("one", "two"), sizes, strict=True)):
        genre = rng.integers(0, 3, size)
        piano = rng.random(size) < 0.5
        rows += [
            {
                "dataset": dataset,
                "clip": f"c{i:03d}",
                "split": "train" if i % 4 else "test",
                "group": ["rock", "jazz", "folk"][genre[i]] if i % 50 else None,
                "piano": float(piano[i]),
            }
            for i in range(size)
        ]
        X = rng.normal(size=(size, 12)) + strength * centers[genre]
        X += number * (5.0 + strength / 4 * offsets[genre])
        content[dataset] = [row["clip"] for row in rows[-size:]], X
    writer = CorpusWriter(
        folder,
        name="genres",
        title="Genres",
        datasets=["one", "two"],
        groups=["rock", "jazz", "folk"],
        targets=[Target("piano", "label")],
    )
    corpus = writer.write(pd.DataFrame(rows))
    write_embedding_file(folder / "toy.h5", "toy", content)
    return corpus.add_embedding_file(folder / "toy.h5", made_here=True)


def test_genres_that_the_embedding_shows_are_found(tmp_path: Path) -> None:
    found = group_agreement(corpus_of_genres(tmp_path / "c", strength=4.0)).loc["toy"]
    assert found["groups"] == 3
    assert found["adjusted_rand"] > 0.95
    assert abs(found["adjusted_rand_dataset"]) < 0.05
    assert found["overlap"] > 0.95 > found["overlap_chance"]
    assert found["clips"] == 296  # of 300 training clips, those with a genre


def test_genres_that_it_does_not_show_are_not(tmp_path: Path) -> None:
    found = group_agreement(corpus_of_genres(tmp_path / "c", strength=0.0)).loc["toy"]
    assert abs(found["adjusted_rand"]) < 0.1
    assert found["label"] == "piano"


def test_on_the_demonstration_corpus_the_groups_are_not_its_genres(repository: Path) -> None:
    found = group_agreement(Corpus.load(repository / "data" / "demo"))
    assert list(found.index) == ["yamnet", "musicnn", "msd_vgg", "mfcc"]
    assert (found["adjusted_rand_dataset"].abs() < 0.05).all()
    assert (found["smallest_share"] >= 0.1).all()
    # The page says what was found.
    page = (repository / "book" / "corrections.md").read_text(encoding="utf-8")
    told = re.search(r"chance, is ([\d.]+) to ([\d.]+) in its four embeddings", page)
    assert told is not None
    low, high = found["adjusted_rand"].min(), found["adjusted_rand"].max()
    assert told.groups() == (f"{low:.2f}", f"{high:.2f}")
    assert found["adjusted_rand_label"].idxmax() == "yamnet"
    assert (found["adjusted_rand_label"] > found["adjusted_rand"]).all()
