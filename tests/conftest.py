"""What all tests share: fixtures, which may be missing."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from running import absent
from small_sounds import make_tiny_corpus

from biasmir_utils.corpus import Corpus

REPOSITORY = Path(__file__).resolve().parent.parent


# A shell starts what runs in the background with interrupts ignored, and programs that tests start
# and interrupt would inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the file that makes the book, and with the one that waits much, beside it."""
    first = ("test_pages.py", "test_cluster.py")
    items.sort(key=lambda item: item.path.name not in first)


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
