"""What all tests share: fixtures that may be missing, and a tiny corpus."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from biasmir_utils.cli import main
from biasmir_utils.corpus import Corpus, CorpusWriter, Target, write_embedding_file

REPOSITORY = Path(__file__).resolve().parent.parent
REQUIRED = os.environ.get("BIASMIR_REQUIRE_FIXTURES") == "1"


# A shell starts what runs in the background with interrupts ignored, and programs that tests start
# and interrupt would inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def absent(reason: str) -> None:
    """Skip the test, or fail it where everything must be there (in CI)."""
    if REQUIRED:
        pytest.fail(f"{reason} (required, since BIASMIR_REQUIRE_FIXTURES=1)", pytrace=False)
    pytest.skip(reason)


def run_command(*words: object) -> str:
    """Run a command of `biasmir`, which has to succeed; return what it said."""
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, f"biasmir {' '.join(map(str, words))}\n{done.output}"
    return done.output


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared facts and fixtures beside the repository."""
    folder = Path(os.environ.get("BIASMIR_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "README.md").is_file():
        absent(f"no shared fixtures at {folder}")
    return folder


@pytest.fixture(scope="session")
def soundfonts() -> dict[str, Path]:
    """The General MIDI SoundFonts of the demonstration corpus, by name."""
    from biasmir_utils.errors import BiasMIRError
    from synth import SOUNDFONTS, find_soundfont

    try:
        return {name: find_soundfont(name) for name in SOUNDFONTS}
    except BiasMIRError as error:
        absent(str(error))
        raise


@pytest.fixture(scope="module")
def browser():
    """The system's Chromium; ended with the file, since Playwright keeps an event loop running."""
    import screenshots

    if screenshots.CHROMIUM is None:
        absent("no Chromium on the PATH (Debian package: chromium)")
    with screenshots.chromium() as browser:
        yield browser


@pytest.fixture
def new_page(browser):
    """Open pages, `new_page(width, dark=False)`, that are closed after the test."""
    import screenshots

    opened = []

    def new_page(width: int = 1280, dark: bool = False):
        opened.append(screenshots.new_page(browser, width, dark))
        return opened[-1]

    yield new_page
    for page in opened:
        page.close()


def make_tiny_corpus(
    folder: Path, *, clips_per_dataset: int = 120, frames: int = 2, seed: int = 0
) -> Corpus:
    """Write a small corpus whose two datasets are told apart by an offset.

    Two labels (`piano` is observed everywhere, `voice` in part of `beta`), a category, a
    number, three groups with different frequencies, tracks of two clips; embeddings `toy`
    (8-d, in frames) and `toy2` (12-d, one row a clip, two clips of `beta` missing).
    """
    rng = np.random.default_rng(seed)
    rows, features = [], {}
    for d, dataset in enumerate(("alpha", "beta")):
        n = clips_per_dataset
        group = rng.choice(["rock", "jazz", "folk"], n, p=[0.5, 0.3, 0.2] if d else [0.2, 0.3, 0.5])
        piano = rng.random(n) < np.where(group == "jazz", 0.6, 0.35)
        voice = rng.random(n) < np.where(group == "rock", 0.6, 0.35)
        tempo = rng.uniform(60, 180, n)
        for i in range(n):
            rows.append(
                {
                    "dataset": dataset,
                    "clip": f"{dataset[0]}{i:04d}",
                    "track": f"t{i // 2:04d}",
                    "split": "test" if (i // 2) % 4 == 3 else "train",
                    "group": group[i] if i % 40 else None,
                    "audio": None,
                    "piano": float(piano[i]),
                    "voice": float(voice[i]) if not d or i % 3 else np.nan,
                    "era": "old" if i % 2 else "new",
                    "tempo": tempo[i],
                }
            )
        base = rng.normal(0, 1, (n, 8))
        base[:, 0] += 1.6 * piano
        base[:, 1] += 1.6 * voice
        base[:, 2] += 3.0 * d
        base[:, 3] += np.where(group == "rock", 1.0, 0.0)
        features[dataset] = base
    writer = CorpusWriter(
        folder,
        name="tiny",
        title="A tiny corpus for tests",
        datasets=["alpha", "beta"],
        groups=["rock", "jazz", "folk"],
        targets=[
            Target("piano", "label"),
            Target("voice", "label"),
            Target("era", "category"),
            Target("tempo", "number", unit="bpm"),
        ],
        provenance={"made_by": "tests", "seed": seed},
        licences=[{"what": "everything", "licence": "CC0"}],
    )
    table = pd.DataFrame(rows)
    corpus = writer.write(table)
    names = {d: table.loc[table["dataset"] == d, "clip"].tolist() for d in corpus.datasets}
    noise = rng.normal(0, 0.1, (frames, clips_per_dataset, 8))
    noise -= noise.mean(axis=0)
    toy = {
        d: (
            np.repeat(names[d], frames).tolist(),
            (base[None] + noise).transpose(1, 0, 2).reshape(-1, 8),
        )
        for d, base in features.items()
    }
    mixing = rng.normal(0, 1, (8, 12)) / np.sqrt(8)
    toy2 = {d: (names[d], base @ mixing) for d, base in features.items()}
    toy2["beta"] = (names["beta"][:-2], toy2["beta"][1][:-2])
    left_out = {"beta": {names["beta"][-1]: "too short"}}
    write_embedding_file(folder / "embeddings" / "toy.h5", "toy", toy)
    write_embedding_file(folder / "embeddings" / "toy2.h5", "toy2", toy2, skipped=left_out)
    corpus.add_embedding_file(folder / "embeddings" / "toy.h5", made_here=True)
    return corpus.add_embedding_file(
        folder / "embeddings" / "toy2.h5", {"toy2": {"source": "tests"}}, made_here=True
    )


@pytest.fixture(scope="session")
def _tiny_corpus_original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original") / "tiny"
    make_tiny_corpus(folder)
    return folder


@pytest.fixture
def tiny_corpus(_tiny_corpus_original: Path, tmp_path: Path) -> Path:
    """The folder of a fresh copy of the tiny corpus; see `make_tiny_corpus`."""
    return Path(shutil.copytree(_tiny_corpus_original, tmp_path / "tiny"))


@pytest.fixture
def corpus(tiny_corpus: Path) -> Corpus:
    """The tiny corpus, read."""
    return Corpus.load(tiny_corpus)
