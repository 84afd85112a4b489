"""The real book: all chapters run by papermill, the pages built from them, and what they hold.

The notebooks run once and the pages are built once, by the program behind `make book`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup

from biasmir_utils.book.address import read_address
from biasmir_utils.book.browser import Browser
from biasmir_utils.book.checks import check, pages
from biasmir_utils.book.screenshots import photograph
from biasmir_utils.book.stage import find_notebooks, read_runs

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def build_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("book") / "_build"
    done = subprocess.run(
        [sys.executable, "-m", "biasmir_utils.book", "make", "--build", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "html/index.html in a browser." in done.stdout.splitlines()[-1]
    return folder


@pytest.fixture(scope="module")
def html(build_folder):
    return build_folder / "html"


@pytest.fixture(scope="module")
def executed(build_folder):
    return {
        name: nbformat.read(build_folder / "staged" / name, as_version=4)
        for name in find_notebooks(ROOT)
    }


def soup(page: Path):
    return BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")


# The executed notebooks


def test_every_notebook_was_run_and_leaves_the_committed_ones_alone(build_folder, executed):
    runs = read_runs(build_folder)
    assert [run.notebook for run in runs] == find_notebooks(ROOT)
    for notebook in executed.values():
        ran = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
        assert all(cell.execution_count for cell in ran)
    for name in find_notebooks(ROOT):
        committed = nbformat.read(ROOT / name, as_version=4)
        assert not any(cell.get("outputs") for cell in committed.cells)


def test_every_notebook_stays_below_a_gigabyte_and_a_half(build_folder):
    for run in read_runs(build_folder):
        assert 50 < run.peak_megabytes < 1500, run.notebook


def test_every_image_of_a_notebook_has_an_alternative_text(executed):
    images = 0
    for name, notebook in executed.items():
        for cell in notebook.cells:
            for output in cell.get("outputs", []):
                if any(kind.startswith("image/") for kind in output.get("data", {})):
                    images += 1
                    settings = cell.metadata.get("mystnb", {})
                    assert settings.get("image", {}).get("alt"), f"{name}:\n{cell.source}"
    assert images >= 3


def test_nothing_needs_a_widget_or_a_remote_library(executed):
    for name, notebook in executed.items():
        for cell in notebook.cells:
            for output in cell.get("outputs", []):
                kinds = set(output.get("data", {}))
                assert not {kind for kind in kinds if "widget" in kind or "plotly" in kind}, name


# The built pages


def test_pages_have_alternative_texts_and_sound_links_and_load_nothing_from_elsewhere(html):
    assert check(html) == []


def test_every_page_of_the_contents_is_built(html):
    listed = re.findall(r"(?:root|file): (\S+)", (ROOT / "_toc.yml").read_text(encoding="utf-8"))
    built = {page.relative_to(html).with_suffix("").as_posix() for page in pages(html)}
    assert set(listed) <= built
    assert built - set(listed) <= {"index", "genindex", "search"}


def test_the_first_page_leads_to_the_introduction(html):
    assert "book/introduction.html" in (html / "index.html").read_text(encoding="utf-8")


def test_chapters_link_to_the_files_of_the_repository(html):
    address = read_address(ROOT)
    owner_and_name = address.removeprefix("https://github.com/")
    for name in find_notebooks(ROOT):
        page = (html / name).with_suffix(".html")
        links = {link["href"] for link in soup(page).find_all("a", href=True)}
        assert f"{address}/edit/main/{name}" in links
        assert (
            f"https://colab.research.google.com/github/{owner_and_name}/blob/main/{name}" in links
        )
        assert any(
            link.startswith(f"https://mybinder.org/v2/gh/{owner_and_name}/main?urlpath=lab/tree/")
            and link.endswith(name)
            for link in links
        )


def test_figures_are_numbered_and_captioned(html):
    for name in find_notebooks(ROOT):
        page = soup((html / name).with_suffix(".html"))
        figures = [one for one in page.select(".bd-article figure") if one.find("img")]
        assert figures, name
        for figure in figures:
            assert re.match(r"Fig\. \d+\.\d+", figure.find("figcaption").get_text(" ", strip=True))


def test_players_have_a_label_before_them_and_their_sound_in_the_page(html):
    players = 0
    for page in pages(html):
        for player in soup(page).find_all("audio"):
            players += 1
            before = player.find_previous(string=lambda text: text.strip())
            assert before, page.name
            sources = [player.get("src"), *(s.get("src") for s in player.find_all("source"))]
            assert any(source and not source.startswith("http") for source in sources)
    assert players >= 4


def test_timings_name_every_chapter(html):
    table = soup(html / "book" / "timings.html").find("table")
    links = [link["href"] for link in table.find_all("a")]
    assert [Path(link).stem for link in links] == [Path(n).stem for n in find_notebooks(ROOT)]


def test_no_page_names_this_machine(html):
    for page in [*pages(html), *html.rglob("_sources/**/*.ipynb")]:
        text = page.read_text(encoding="utf-8")
        assert str(ROOT) not in text, page.name
        assert sys.prefix not in text, page.name


def test_no_page_is_heavier_than_five_megabytes(html):
    for page in pages(html):
        assert page.stat().st_size < 5e6, page.name


# In a browser


def test_pages_in_a_browser(html, chromium, tmp_path):
    """At desktop and phone width: no error, no request to the network, no sideways scrolling."""
    problems = {
        f"{name} at {width} px": found
        for name, width, _, found in photograph(html, tmp_path / "pictures")
        if found
    }
    assert problems == {}


def test_formulas_are_set_without_a_network(html, chromium):
    with Browser(chromium) as browser:
        browser.open((html / "book" / "timings.html").resolve().as_uri())
        assert browser.evaluate("document.querySelectorAll('mjx-container').length") >= 1
        assert browser.evaluate("document.querySelectorAll('mjx-merror').length") == 0
        assert browser.requests_out() == []
        # A page without formulas does not fetch the program for them.
        browser.open((html / "book" / "introduction.html").resolve().as_uri())
        assert not [address for address in browser.requests if "mathjax" in address]
