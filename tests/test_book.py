"""The real book: all chapters run by papermill, the pages built from them, and what they hold.

The notebooks run once and the pages are built once, by the program behind `make book`. While
writing, BIASMIR_BUILT names a folder `_build` with a book that was built before.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from bs4 import BeautifulSoup

from biasmir_utils.book import reference
from biasmir_utils.book.accessibility import violations
from biasmir_utils.book.address import read_address
from biasmir_utils.book.browser import Browser
from biasmir_utils.book.checks import pages
from biasmir_utils.book.screenshots import photograph
from biasmir_utils.book.slim import icons_used
from biasmir_utils.book.stage import find_notebooks, read_runs

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def build_folder(tmp_path_factory):
    if os.environ.get("BIASMIR_BUILT") and os.environ.get("BIASMIR_REQUIRE_FIXTURES") != "1":
        return Path(os.environ["BIASMIR_BUILT"]).resolve()
    folder = tmp_path_factory.mktemp("book") / "_build"
    done = subprocess.run(
        [sys.executable, "-m", "biasmir_utils.book", "make", "--build", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # It has checked the pages, as `check` does: images, links, nothing loaded from elsewhere.
    assert re.search(r"^\d\d pages checked: images, links", done.stdout, re.MULTILINE)
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


@pytest.fixture(scope="module")
def browser(chromium):
    """One Chromium for all tests of this file."""
    with Browser(chromium) as one:
        yield one


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


def test_every_page_can_be_edited_and_complained_about_and_has_the_logo(html):
    address = read_address(ROOT)
    for page in pages(html):
        if page.stem in ("index", "genindex", "search"):
            continue
        text = soup(page)
        links = [link["href"] for link in text.find_all("a", href=True)]
        assert any(link.startswith(f"{address}/edit/main/") for link in links), page.name
        assert any(link.startswith(f"{address}/issues/new?title=") for link in links), page.name
        (icon,) = text.select("link[rel~=icon]")
        assert icon["href"].endswith("logo.svg")
        assert text.select("a.logo img[src$='logo.svg']"), page.name


def test_the_bibliography_has_an_address_for_every_work(html):
    entries = soup(html / "book" / "bibliography.html").select(".bd-article div.citation")
    assert len(entries) >= 20
    assert "\N{LATIN CAPITAL LETTER A WITH ACUTE}lvarez-Esteban" in entries[0].get_text()
    for entry in entries:
        links = [link["href"] for link in entry.find_all("a", href=True)]
        outside = [link for link in links if link.startswith("https://")]
        assert outside, entry.get_text()
        # A journal or a conference without DOIs, and a program.
        known = ("jmlr.org", "proceedings.mlr.press", "github.com")
        assert any("doi.org/10." in link for link in outside) or any(
            host in outside[0] for host in known
        ), entry.get_text()


def test_figures_are_numbered_and_captioned(html):
    for name in find_notebooks(ROOT):
        page = soup((html / name).with_suffix(".html"))
        figures = [one for one in page.select(".bd-article figure") if one.find("img")]
        assert figures, name
        for figure in figures:
            assert re.match(r"Fig\. \d+\.\d+", figure.find("figcaption").get_text(" ", strip=True))


def test_players_are_named_by_their_caption_and_have_their_sound_in_the_book(html):
    players = 0
    for page in pages(html):
        for player in soup(page).find_all("audio"):
            if player.get("data-part") == "player":
                continue  # the explorer's, which gets a sound when a clip is chosen
            players += 1
            caption = player.find_parent("figure").find("figcaption").get_text(strip=True)
            assert caption == player["aria-label"], page.name
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


# The pages that the program writes


def test_the_commands_page_says_what_help_says(html, monkeypatch, capsys):
    from biasmir_utils.cli import main

    monkeypatch.setenv("COLUMNS", "80")
    page = soup(html / "book" / "cli.html")
    blocks = [block.get_text() for block in page.select(".bd-article pre")]
    paths = [(), *reference.commands()]
    assert len(blocks) == len(paths) > 10
    for block, path in zip(blocks, paths, strict=True):
        main([*path, "--help"], prog_name="biasmir", standalone_mode=False)
        said = capsys.readouterr().out
        assert block.strip() == f"$ {' '.join(['biasmir', *path])} --help\n{said.strip()}"


def test_the_api_pages_have_every_public_name_and_nothing_private(html):
    for name, modules in reference.API.items():
        page = soup(html / "book" / f"api-{name}.html")
        documented = {one["id"] for one in page.select("dt.sig[id]")}
        for module in modules:
            offered = reference.public_names(reference.importlib.import_module(module))
            assert {f"{module}.{one}" for one in offered} <= documented
        private = [one for one in documented if re.search(r"\._", one)]
        assert not private
        assert "set_fit_request" not in page.get_text()


def test_the_api_pages_write_names_and_types_as_the_docstrings_do(html):
    text = soup(html / "book" / "api-corrections.html")
    attributes = {
        one.get_text(): one.parent.get_text() for one in text.select("dd li > p > strong")
    }
    for name in ("directions_", "rank_", "coef_", "domains_", "deviations_"):
        assert re.match(rf"{name} \(.+\)|{name}$", attributes[name]), attributes[name]
    for page in (html / "book").glob("api-*.html"):
        text = soup(page)
        for head in text.select("dl.field-list > dt"):
            if head.get_text().startswith("Variables"):
                for name in head.find_next_sibling("dd").select("li > p > strong"):
                    assert re.fullmatch(r"\w+", name.get_text()), (
                        page.name,
                        name.parent.get_text(),
                    )
        # What stood before a colon would be the property's type.
        for head in text.select("dl.py.property dl.field-list > dt"):
            assert not head.get_text().startswith("Type"), (page.name, head.parent.get_text())


def test_no_line_of_text_breaks_before_a_percent_sign(html):
    for page in pages(html):
        text = soup(page).select_one("article.bd-article")
        if text is None:
            continue
        for code in text.select("pre, code, script, style, .math"):
            code.decompose()
        assert not re.search(r"\d %", text.get_text()), page.name


def test_the_models_page_agrees_with_the_vectors_of_the_corpus(html):
    from biasmir_utils.corpus import Corpus
    from biasmir_utils.embeddings import available

    rows = soup(html / "book" / "models.html").find("table").select("tbody tr")
    cells = [[cell.get_text(strip=True) for cell in row.find_all("td")] for row in rows]
    sizes = {name: int(size.replace(",", "")) for name, *_, size in cells}
    assert set(sizes) == set(available())
    corpus = Corpus.load(ROOT / "data" / "demo")
    for name in corpus.embedding_names:
        assert sizes[name] == corpus.dimension(name)
        assert {row[0]: row[1] for row in cells}[name] == (
            f"{corpus.model_record(name)['sample_rate']:,}"
        )


def test_how_to_cite_is_what_the_citation_file_says(html):
    import yaml

    entry = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    text = soup(html / "book" / "cite.html").find("article").get_text(" ", strip=True)
    paper = entry["references"][0]
    names = [author["family-names"] for author in paper["authors"]]
    for said in (entry["title"], str(entry["version"]), entry["repository-code"], *names):
        assert said in text
    assert paper["doi"] in text


def test_the_changelog_names_the_version_first():
    from biasmir_utils import __version__

    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert headings[0].rstrip(",") == __version__


def test_chapters_link_terms_to_the_glossary(html):
    for name in find_notebooks(ROOT):
        links = soup((html / name).with_suffix(".html")).select("a.term")
        # tests/test_book_chapters.py says which terms; here, that the book leads to them.
        written = (ROOT / name).read_text(encoding="utf-8").count("](../book/glossary.md#")
        assert len(links) == written, name
        assert all("glossary.html#term-" in link["href"] for link in links)


# What a page weighs


def weight(addresses: list[str], suffixes_left_out: tuple[str, ...] = ()) -> int:
    files = {Path(unquote(urlsplit(one).path)) for one in addresses if one.startswith("file:")}
    return sum(file.stat().st_size for file in files if file.suffix not in suffixes_left_out)


def test_the_first_page_is_light_and_no_page_is_heavy(html, browser):
    for page in pages(html):
        if page.name == "index.html":
            continue  # it only leads to the introduction
        browser.open(page.resolve().as_uri())
        limit = 1e6 if page.stem == "introduction" else 5e6
        assert weight(browser.requests, (".mp3",)) < limit, page.name


def test_icons_that_were_left_are_those_that_are_shown(html, browser):
    from fontTools.ttLib import TTFont

    used = icons_used(html)
    assert {"fa-bars", "fa-magnifying-glass", "fa-moon", "fa-github"} <= used
    style = (html / "_static/styles/pydata-sphinx-theme.css").read_text(encoding="utf-8")
    fonts = list((html / "_static/vendor/fontawesome/webfonts").iterdir())
    assert fonts
    assert {font.suffix for font in fonts} == {".woff"}
    drawn = {code for font in fonts for code in TTFont(font).getBestCmap()}
    for icon in used:
        rule = re.search(rf'\.{icon}:before[^{{}}]*{{content:"\\([0-9a-f]+)"}}', style)
        assert rule is None or int(rule.group(1), 16) in drawn, icon
    browser.open((html / "notebooks" / "01_embedding_extraction.html").resolve().as_uri())
    shown = browser.evaluate(
        "[...document.querySelectorAll('i[class*=fa-]')].filter(one => one.checkVisibility())"
        ".map(one => [one.className, one.offsetWidth, getComputedStyle(one, ':before').fontFamily,"
        " document.fonts.check(getComputedStyle(one, ':before').font)])"
    )
    assert len(shown) > 5
    for name, width, family, loaded in shown:
        assert width > 5, name
        assert "Book Icons" in family, name
        assert loaded, name


# In a browser


def test_pages_in_a_browser(html, browser, axe):
    """At desktop and phone width: no error, no request to the network, no sideways scrolling.

    Nothing is cut off. And nothing serious that axe-core finds: on every page in the light mode;
    on every chapter, and on one page of each other kind, in the dark mode, at phone width.
    """
    kinds = ("introduction", "explorer", "datasets", "notation", "cli", "plots", "/notebooks/")

    def inspect(browser: Browser) -> list[str]:
        name = browser.evaluate("location.pathname")
        if browser.evaluate("innerWidth") == 390 and not any(kind in name for kind in kinds):
            return []
        return violations(browser, axe)

    problems = {
        f"{name} at {width} px": found
        for name, width, _, found in photograph(
            html, None, dark=[390], inspect=inspect, browser=browser
        )
        if found
    }
    assert problems == {}


def test_labels_of_players_can_be_read_in_the_dark_mode(html, browser):
    """Their colour differs from the ground under them; axe does not see every ground."""
    colours = (
        "[...document.querySelectorAll('figure:has(audio) figcaption')].map(one => {"
        " const ink = getComputedStyle(one).color; let ground = 'rgba(0, 0, 0, 0)';"
        " for (let box = one; box && ground === 'rgba(0, 0, 0, 0)'; box = box.parentElement)"
        " ground = getComputedStyle(box).backgroundColor; return [ink, ground]; })"
    )

    def lightness(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    labels = 0
    for page in pages(html):
        if page.stem == "explorer" or "<audio" not in page.read_text(encoding="utf-8"):
            continue
        for dark in (False, True):
            browser.open(page.resolve().as_uri(), dark=dark)
            for ink, ground in browser.evaluate(colours):
                darker, lighter = sorted((lightness(ink), lightness(ground)))
                assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (page.name, dark, ink, ground)
                labels += 1
    assert labels >= 20


def test_index_and_search_on_a_phone(html, browser):
    browser.open((html / "genindex.html").resolve().as_uri(), width=390)
    cells = "[...document.querySelectorAll('.genindextable td')].map(one => one.offsetWidth)"
    assert min(browser.evaluate(cells)) > 300
    browser.open((html / "search.html").resolve().as_uri(), width=390)
    icon, text = browser.evaluate(
        "(form => [form.querySelector('i, svg').getBoundingClientRect().right,"
        " (one => one.getBoundingClientRect().left"
        " + parseFloat(getComputedStyle(one).paddingLeft))(form.querySelector('input'))])"
        "([...document.querySelectorAll('form.bd-search')].find(one => one.offsetWidth))"
    )
    assert icon < text


def test_formulas_are_set_without_a_network(html, browser):
    browser.open((html / "book" / "notation.html").resolve().as_uri())
    assert browser.evaluate("document.querySelectorAll('mjx-container').length") >= 20
    assert browser.evaluate("document.querySelectorAll('mjx-merror').length") == 0
    assert browser.requests_out() == []
    # A page without formulas does not fetch the program for them.
    browser.open((html / "book" / "introduction.html").resolve().as_uri())
    assert not [address for address in browser.requests if "mathjax" in address]


def test_long_tables_can_be_sorted(html, browser):
    browser.open((html / "book" / "models.html").resolve().as_uri())
    column = "[...document.querySelectorAll('.bd-article tbody tr')].map(r => r.cells[4].innerText)"
    before = browser.evaluate(column)
    sizes = sorted(int(text.replace(",", "")) for text in before)
    button = "document.querySelectorAll('.bd-article th')[4].querySelector('button')"
    for order, expected in (("ascending", sizes), ("descending", sizes[::-1])):
        browser.evaluate(f"{button}.click()")
        assert browser.evaluate(f"{button}.parentNode.getAttribute('aria-sort')") == order
        found = [int(text.replace(",", "")) for text in browser.evaluate(column)]
        assert found == expected
    # The sum of the chapters stays below them.
    browser.open((html / "book" / "timings.html").resolve().as_uri())
    for order in ("ascending", "descending"):
        browser.evaluate("document.querySelectorAll('.bd-article th button')[1].click()")
        *chapters, last = browser.evaluate(
            "[...document.querySelectorAll('.bd-article tbody tr')]"
            ".map(r => [r.cells[0].innerText.trim(), Number(r.cells[1].innerText)])"
        )
        seconds = [second for _, second in chapters]
        assert seconds == sorted(seconds, reverse=order == "descending")
        assert last[0] == "All chapters"
        assert last[1] > max(seconds)
    # A short table is left as it is, beside long ones on the same page.
    browser.open((html / "book" / "corrections.html").resolve().as_uri())
    buttons = browser.evaluate(
        "[...document.querySelectorAll('.bd-article table')]"
        ".map(t => [t.tBodies[0].rows.length, t.querySelectorAll('th button').length])"
    )
    assert all((number > 0) == (rows >= 8) for rows, number in buttons)
    assert {number > 0 for _, number in buttons} == {True, False}
    assert browser.errors == []


# The explorer

EXPLORER = "document.getElementById('explorer')"
PART = EXPLORER + ".querySelector('[data-part=\"{}\"]')"
CANVAS = PART.format("canvas")
LABEL = PART.format("label") + ".textContent"
TOLD = PART.format("told") + ".textContent"


def choose(browser: Browser, part: str, value: str) -> None:
    browser.evaluate(
        f"(() => {{ const one = {PART.format(part)}; one.value = {json.dumps(value)};"
        " one.dispatchEvent(new Event('change')); })()"
    )


@pytest.fixture
def explorer(html, browser):
    address = (html / "book" / "explorer.html").resolve().as_uri()
    browser.open(address)
    browser.evaluate(f"{CANVAS}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
    return browser


def selected(browser: Browser) -> int:
    return int(browser.evaluate(EXPLORER + ".dataset.selected"))


def click_on(browser: Browser, number: int) -> None:
    x, y = browser.evaluate(
        f"(() => {{ const box = {CANVAS}.getBoundingClientRect();"
        f" const [x, y] = {CANVAS}.place({number}); return [box.left + x, box.top + y]; }})()"
    )
    browser.click(x, y)


def loneliest(browser: Browser) -> int:
    """The clip farthest from all others, so that a click finds no other."""
    places = browser.evaluate(
        f"window.BIASMIR_EXPLORER.sounds.map((_, number) => {CANVAS}.place(number))"
    )

    def room(number: int) -> float:
        x, y = places[number]
        return min((x - a) ** 2 + (y - b) ** 2 for n, (a, b) in enumerate(places) if n != number)

    return max(range(1, len(places)), key=room)


def test_a_click_names_and_plays_a_clip_and_another_stops_it(explorer):
    number = loneliest(explorer)
    click_on(explorer, number)
    assert selected(explorer) == number
    said = explorer.evaluate(LABEL)
    assert re.match(r"(solo|band): \w+.*, [\w ]+\. Clip \d+ of \d+ with sound\.", said)
    assert explorer.evaluate(TOLD) == said
    explorer.wait_for(f"{EXPLORER}.dataset.playing === 'true'")
    explorer.wait_for(PART.format("player") + ".currentTime > 0")
    click_on(explorer, number)
    explorer.wait_for(f"{EXPLORER}.dataset.playing === 'false'")
    assert explorer.errors == []
    assert explorer.requests_out() == []


def test_the_explorer_works_by_keyboard_and_tells_a_screen_reader(explorer):
    explorer.evaluate(PART.format("map") + ".focus()")
    assert explorer.evaluate(TOLD) == explorer.evaluate(LABEL)
    seen = [selected(explorer)]
    for key, axis, sign in (
        ("ArrowRight", 0, 1),
        ("ArrowDown", 1, 1),
        ("ArrowLeft", 0, -1),
        ("ArrowUp", 1, -1),
    ):
        before = explorer.evaluate(f"{CANVAS}.place({seen[-1]})")
        explorer.press(key)
        seen.append(selected(explorer))
        after = explorer.evaluate(f"{CANVAS}.place({seen[-1]})")
        assert sign * (after[axis] - before[axis]) > 0, key
        assert explorer.evaluate(TOLD) == explorer.evaluate(LABEL)
    assert len(set(seen)) >= 3
    count = explorer.evaluate("window.BIASMIR_EXPLORER.sounds.length")
    for key, expected in (("Home", 0), ("PageUp", count - 1), ("PageDown", 0), ("End", count - 1)):
        explorer.press(key)
        assert selected(explorer) == expected, key
    explorer.press("Enter")
    explorer.wait_for(f"{EXPLORER}.dataset.playing === 'true'")
    explorer.press("Escape")
    explorer.wait_for(f"{EXPLORER}.dataset.playing === 'false'")
    assert explorer.errors == []


def test_pointing_at_a_clip_names_it_and_plays_nothing(explorer):
    number = loneliest(explorer)
    before = explorer.evaluate(LABEL)
    x, y = explorer.evaluate(
        f"(() => {{ const box = {CANVAS}.getBoundingClientRect();"
        f" const [x, y] = {CANVAS}.place({number}); return [box.left + x, box.top + y]; }})()"
    )
    explorer.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    assert selected(explorer) == number
    assert explorer.evaluate(LABEL) != before
    assert explorer.evaluate(f"{EXPLORER}.dataset.playing") == "false"


@pytest.fixture(scope="module")
def served(html):
    """The address of a plain web server that has nothing but the book."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *about):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=html)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_the_explorer_works_from_a_server_alike(served, browser):
    browser.open(f"{served}book/explorer.html")
    browser.evaluate(PART.format("map") + ".focus()")
    browser.press("ArrowRight")
    browser.press("Enter")
    browser.wait_for(f"{EXPLORER}.dataset.playing === 'true'")
    browser.press("Escape")
    browser.wait_for(f"{EXPLORER}.dataset.playing === 'false'")
    assert browser.errors == []
    assert all(one.startswith((served, "data:", "blob:")) for one in browser.requests)


@pytest.mark.parametrize("where", ["folder", "server"])
def test_the_search_finds_pages(where, served, html, browser):
    start = served if where == "server" else f"{html.resolve().as_uri()}/"
    browser.open(f"{start}search.html?q=cello")
    found = "[...document.querySelectorAll('#search-results li a')].map(one => one.href)"
    browser.wait_for(f"{found}.length >= 5 && /found [0-9]+ page/.test(document.body.innerText)")
    links = browser.evaluate(found)
    assert f"{start}book/datasets.html" in {link.split("?")[0].split("#")[0] for link in links}
    for link in links:
        assert (html / unquote(urlsplit(link.removeprefix(start)).path)).is_file(), link
    assert browser.errors == []


def test_every_view_and_colour_of_the_explorer_can_be_shown(explorer, html):
    pixel = (
        f"(() => {{{{ const [x, y] = {CANVAS}.place({{0}}).map(one => one * devicePixelRatio);"
        f" return [...{CANVAS}.getContext('2d').getImageData(x, y, 1, 1).data]; }}}})()"
    )
    embeddings = explorer.evaluate("Object.keys(window.BIASMIR_EXPLORER.embeddings)")
    corrections = explorer.evaluate("Object.keys(window.BIASMIR_EXPLORER.corrections)")
    assert len(embeddings) == 4
    assert corrections == ["none", "lda", "leace", "center"]
    places = set()
    for embedding in embeddings:
        for correction in corrections:
            choose(explorer, "embedding", embedding)
            choose(explorer, "correction", correction)
            places.add(tuple(explorer.evaluate(f"{CANVAS}.place(7)")))
            assert embedding in explorer.evaluate(PART.format("reading") + ".textContent")
    # (lda hardly moves anything in the large embeddings.)
    assert len(places) >= 12, "a view puts the clip somewhere else"
    number = loneliest(explorer)
    colours = {}
    for by in ("dataset", "instrument", "genre"):
        choose(explorer, "by", by)
        names, looks, row = explorer.evaluate(
            f"[window.BIASMIR_EXPLORER.colours.{by}.names, window.BIASMIR_EXPLORER.colours.{by}"
            f".looks, window.BIASMIR_EXPLORER.sounds[{number}].row]"
        )
        legend = explorer.evaluate(
            "[..." + PART.format("legend") + ".children].map(one => one.textContent)"
        )
        assert legend == names
        code = explorer.evaluate(f"atob(window.BIASMIR_EXPLORER.colours.{by}.of).charCodeAt({row})")
        red, green, blue, _ = explorer.evaluate(pixel.format(number))
        assert f"#{red:02x}{green:02x}{blue:02x}" == looks[code][0]
        colours[by] = names[code]
    words = explorer.evaluate(f"window.BIASMIR_EXPLORER.sounds[{number}].name")
    assert words.startswith(f"{colours['dataset']}: {colours['instrument']}")
    assert words.endswith(f", {colours['genre']}")
    assert explorer.errors == []


def test_the_explorer_weighs_less_than_three_megabytes_with_all_its_sounds(explorer, html):
    folder = html.resolve() / "explorer"
    sounds = sum(path.stat().st_size for path in (folder / "audio").iterdir())
    assert weight(explorer.requests, (".mp3",)) + sounds < 3e6
    for address in explorer.requests:
        if address.startswith("data:"):
            continue
        assert Path(unquote(urlsplit(address).path)).is_relative_to(html.resolve())
    listed = json.loads((folder / "excerpts.json").read_text(encoding="utf-8"))["excerpts"]
    assert {one["file"] for one in listed} == {
        f"audio/{path.name}" for path in (folder / "audio").iterdir()
    }
