"""The real book: all chapters run, the pages built from them, and what they hold and show.

It is made once, by the programs behind `make book`; so all tests of it stand in this file. While
writing, BIASMIR_BUILT names a folder `_build` with a book that was built before.
"""

from __future__ import annotations

import importlib
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
import yaml
from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup
from sklearn.metrics import roc_auc_score

from biasmir_book import public_names
from screenshots import pages, visit

ROOT = Path(__file__).resolve().parent.parent.parent
NOTEBOOKS = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
ADDRESS = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]
# It would fetch style sheets again, which a page from a folder may not do.
AXE = {"resultTypes": ["violations"], "preload": False}
CUT_OFF = Path(__file__).with_name("cut_off.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def build_folder(tmp_path_factory):
    if os.environ.get("BIASMIR_BUILT") and os.environ.get("BIASMIR_REQUIRE_FIXTURES") != "1":
        return Path(os.environ["BIASMIR_BUILT"]).resolve()
    out = tmp_path_factory.mktemp("book")
    for tool in ("execute", "build"):
        command = [sys.executable, f"tools/{tool}.py", "--out", str(out)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return out / "_build"


@pytest.fixture(scope="module")
def html(build_folder):
    return build_folder / "html"


def soup(page: Path) -> BeautifulSoup:
    return BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")


def chapters(html: Path) -> dict[str, BeautifulSoup]:
    return {name: soup((html / "notebooks" / name).with_suffix(".html")) for name in NOTEBOOKS}


# The executed notebooks


def test_every_notebook_was_run_within_a_gigabyte_and_a_half(build_folder):
    runs = json.loads((build_folder / "staged" / "timings.json").read_text(encoding="utf-8"))
    assert sorted(runs) == NOTEBOOKS
    for name, run in runs.items():
        assert 50 < run["peak_megabytes"] < 1500, name


def test_outputs_have_alternative_texts_and_need_no_widget(build_folder):
    for name in NOTEBOOKS:
        notebook = nbformat.read(build_folder / "staged" / "notebooks" / name, as_version=4)
        for cell in notebook.cells:
            assert cell.cell_type != "code" or not cell.source.strip() or cell.execution_count
            for output in cell.get("outputs", []):
                kinds = " ".join(output.get("data", {}))
                assert not re.search("widget|plotly", kinds), name
                if "image/" in kinds:
                    settings = cell.metadata.get("mystnb", {})
                    assert settings.get("image", {}).get("alt"), f"{name}:\n{cell.source}"


# What the pages hold


def test_every_page_of_the_contents_is_built_and_the_first_leads_to_the_introduction(html):
    listed = re.findall(r"(?:root|file): (\S+)", (ROOT / "_toc.yml").read_text(encoding="utf-8"))
    built = {page.relative_to(html).with_suffix("").as_posix() for page in pages(html)}
    assert built == {*listed, "genindex", "search"}
    assert "book/introduction.html" in (html / "index.html").read_text(encoding="utf-8")


def test_pages_can_be_edited_complained_about_and_launched(html):
    """Once it is said where the sources are; until then, nothing that leads nowhere is shown."""
    slug = ADDRESS.removeprefix("https://github.com/")
    for page in pages(html):
        if page.stem in ("genindex", "search"):
            continue
        text = soup(page)
        links = {link["href"] for link in text.find_all("a", href=True)}
        assert text.select("a.logo img[src$='logo.svg']"), page.name
        if slug.startswith("OWNER/"):
            assert "OWNER" not in text.select_one("main").get_text(), page.name
            assert not [link for link in links if "OWNER" in link], page.name
            continue
        assert any(link.startswith(f"{ADDRESS}/edit/main/") for link in links), page.name
        assert any(link.startswith(f"{ADDRESS}/issues/new?title=") for link in links), page.name
        if page.parent.name == "notebooks":
            name = f"notebooks/{page.stem}.ipynb"
            colab = f"https://colab.research.google.com/github/{slug}/blob/main/{name}"
            binder = f"https://mybinder.org/v2/gh/{slug}/main?urlpath=lab/tree/{name}"
            assert {f"{ADDRESS}/edit/main/{name}", colab, binder} <= links


def test_a_link_to_a_page_is_shown_with_words_and_a_picture(html):
    for page in pages(html):
        about = {
            one.get("property") or one["name"]: one["content"]
            for one in soup(page).select("meta[property], meta[name=description]")
        }
        assert len(about["description"]) <= 201, page.name
        assert about["og:description"] == about["description"]
        assert re.search(r"\w", about["og:title"])
        assert (html / "_static" / about["og:image"].rsplit("/", 1)[1]).is_file()
    first = soup(html / "book" / "introduction.html")
    assert "measure how much" in first.select_one("meta[name=description]")["content"]


def test_the_first_page_has_a_card_for_each_chapter(html):
    cards = soup(html / "book" / "introduction.html").select("ol.chapters li")
    stems = [Path(name).stem for name in NOTEBOOKS if name[0].isdigit()]
    assert [Path(card.a["href"]).stem for card in cards] == stems
    for card in cards:
        assert (html / "book" / card.img["src"]).is_file()
        assert re.search(r"(minutes|hour) to read", card.get_text())


@pytest.mark.parametrize("width", [1280, 390])
def test_the_first_700_pixels_say_what_it_is_and_what_to_do(html, new_page, width):
    page = new_page(width)
    visit(page, (html / "book" / "introduction.html").as_uri())
    parts = ["h1", ".buttons a >> nth=2", "audio >> nth=0", "audio >> nth=1"]
    boxes = {one: page.locator(f".bd-article {one}").bounding_box() for one in parts}
    figure = page.locator("#fig-gap img").bounding_box()
    assert all(box["y"] + box["height"] <= 700 for box in boxes.values()), boxes
    assert figure["y"] + (figure["height"] if width == 1280 else 0) <= 700


def test_the_bibliography_has_an_address_for_every_work(html):
    entries = soup(html / "book" / "bibliography.html").select(".bd-article div.citation")
    assert len(entries) >= 20
    # Where a journal, a conference or a program has no DOI.
    known = r"doi\.org/10\.|jmlr\.org|proceedings\.mlr\.press|github\.com|dblp\.org/db/conf/"
    for entry in entries:
        links = " ".join(link["href"] for link in entry.find_all("a", href=True))
        assert re.search(known, links), entry.get_text()


def test_chapters_number_their_figures_and_link_their_terms(html):
    for name, page in chapters(html).items():
        # Players are figures, too, under the picture of their sound.
        figures = page.select(".bd-article figure:has(img):not(:has(audio))")
        assert figures, name
        for figure in figures:
            assert re.match(
                r"Fig\. \d+(\.\d+)? ", figure.find("figcaption").get_text(" ", strip=True)
            )
        links = page.select("a.term")
        written = (ROOT / "notebooks" / name).read_text(encoding="utf-8")
        assert len(links) == written.count("](../book/glossary.md#"), name
        assert all("glossary.html#term-" in link["href"] for link in links)


def test_images_have_words_and_players_are_named_by_their_caption(html):
    players = 0
    for page in pages(html):
        text = soup(page)
        for image in text.select("img:not([role=presentation], [aria-hidden=true])"):
            # Not a name that a program gave: a hash, or the name of the image's file.
            assert re.search(r"\w \w|BiasMIR", image.get("alt", "")), (page.name, image)
        for player in text.select("audio:not([data-part=player])"):
            players += 1
            assert (
                player.find_parent("figure").find("figcaption").get_text(strip=True)
                == player["aria-label"]
            ), page.name
    assert players >= 10


def test_no_page_names_this_machine(html):
    for page in [*pages(html), *html.rglob("_sources/**/*.ipynb")]:
        text = page.read_text(encoding="utf-8")
        assert str(ROOT) not in text, page.name
        assert sys.prefix not in text, page.name


# The pages that the program writes


def test_the_commands_page_has_every_command_with_its_options(html):
    import click

    from biasmir_utils.cli import main

    page = soup(html / "book" / "cli.html").select_one("article")
    text = page.get_text()

    def check(command: click.Command, path: str) -> None:
        context = click.Context(command, info_name=path)
        assert f"{path} [OPTIONS]" in text
        for option in command.get_params(context):
            if isinstance(option, click.Option) and "--help" not in option.opts:
                assert page.find(id=re.compile(f"^cmdoption-.*{option.opts[-1].strip('-')}$"))
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                check(command.get_command(context, name), f"{path} {name}")

    check(main, "biasmir")
    assert "Sets of them:" in text, "what --help lists below the options"


def test_the_api_pages_have_every_public_name_and_nothing_private(html):
    for source in (ROOT / "book").glob("api-*.md"):
        page = soup(html / "book" / f"{source.stem}.html")
        documented = {one["id"] for one in page.select("dt.sig[id]")}
        for module in re.findall(r"automodule:: (\S+)", source.read_text(encoding="utf-8")):
            offered = public_names(importlib.import_module(module))
            assert offered
            assert {f"{module}.{one}" for one in offered} <= documented
        assert not [one for one in documented if re.search(r"\._", one)]
        assert "set_fit_request" not in page.get_text()
    text = soup(html / "book" / "api-corrections.html").get_text()
    assert re.search(r"directions_\s*:?\s*ndarray", text), "a name with an underscore at its end"


def test_the_models_page_agrees_with_the_vectors_of_the_corpus(html):
    from biasmir_utils.corpus import Corpus
    from biasmir_utils.embeddings import available

    rows = soup(html / "book" / "models.html").find("table").select("tbody tr")
    cells = {}
    for row in rows:
        name, rate, *_, size = (cell.get_text(strip=True) for cell in row.find_all("td"))
        cells[name] = (rate, size)
    assert set(cells) == set(available())
    corpus = Corpus.load(ROOT / "data" / "demo")
    for name in corpus.embedding_names:
        rate = corpus.model_record(name)["sample_rate"]
        assert cells[name] == (f"{rate:,}", f"{corpus.dimension(name):,}")


def test_how_to_cite_is_what_the_citation_file_says(html):
    entry = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    text = soup(html / "book" / "cite.html").find("article").get_text(" ", strip=True)
    paper = entry["references"][0]
    names = [author["family-names"] for author in paper["authors"]]
    for said in (entry["title"], str(entry["version"]), paper["doi"]):
        assert said in text
    assert (entry["repository-code"] in text) == ("OWNER" not in entry["repository-code"])
    assert all(name in text for name in names)


def test_timings_name_every_chapter(html):
    table = soup(html / "book" / "timings.html").find("table")
    assert [Path(link["href"]).stem for link in table.find_all("a")] == [
        Path(name).stem for name in NOTEBOOKS
    ]


# In a browser


def watch(page) -> list[str]:
    """Note what a page reports as an error, and what it asks of any machine by network."""
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on(
        "request",
        lambda request: (
            None
            if re.match("file:|data:|blob:|http://127.0.0.1", request.url)
            else wrong.append(f"asks the network for {request.url}")
        ),
    )
    return wrong


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_pages_load_nothing_from_the_net_fit_and_are_accessible(html, new_page, width, dark):
    """No error, nothing cut off, no sideways scrolling, nothing serious that axe-core finds.

    Every link inside the book leads to a file and, in it, to the place that it names.

    axe is slow to measure contrast, which the style decides: it does so on the chapters and on one
    page of each other kind, in both modes, and all the rest on every page, once.
    """
    kinds = ("introduction", "explorer", "datasets", "notation", "cli", "plots", "notebooks")
    page, problems = new_page(width, dark), {}
    wrong, links, places = watch(page), {}, {}
    for file in pages(html):
        wrong.clear()
        visit(page, file.as_uri())
        places[file] = set(page.eval_on_selector_all("[id]", "all => all.map(one => one.id)"))
        links[file] = page.eval_on_selector_all(
            "a[href], audio[src]", "all => all.map(one => one.href ?? one.src)"
        )
        found = [*wrong, *page.evaluate(CUT_OFF)]
        sample = any(kind in str(file.relative_to(html)) for kind in kinds)
        if sample or not dark:
            rules = {"color-contrast": {"enabled": sample}}
            options = AXE | ({"runOnly": ["color-contrast"]} if dark else {"rules": rules})
            found += [
                f"{one['help']} ({one['id']}) at {node['target']}: {node['failureSummary']}"
                for one in Axe().run(page, options=options).response["violations"]
                if one["impact"] in ("serious", "critical")
                for node in one["nodes"][:5]
            ]
        if found:
            problems[file.name] = found
    assert problems == {}
    assert astray(links, places) == []


def astray(links: dict[Path, list[str]], places: dict[Path, set[str]]) -> list[str]:
    """Return the links inside the book that lead to no file, or to no place in a page."""
    found = []
    for page, addresses in links.items():
        for address in sorted(one for one in set(addresses) if one.startswith("file:")):
            _, _, path, _, place = urlsplit(address)
            file, place = Path(unquote(path)), unquote(place)
            if not (file.is_file() and (not place or place in places.get(file, {place}))):
                found.append(f"{page.name} links to {address}")
    return found


def test_labels_of_players_can_be_read_in_the_dark_mode(html, new_page):
    """Their colour differs from the ground under them; axe does not see every ground."""
    colours = (
        "() => [...document.querySelectorAll('figure:has(audio) figcaption')].map(one => {"
        " const ink = getComputedStyle(one).color; let ground = 'rgba(0, 0, 0, 0)';"
        " for (let box = one; box && ground === 'rgba(0, 0, 0, 0)'; box = box.parentElement)"
        " ground = getComputedStyle(box).backgroundColor; return [ink, ground]; })"
    )

    def lightness(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    page, labels = new_page(dark=True), 0
    for file in pages(html):
        if file.stem == "explorer" or "<audio" not in file.read_text(encoding="utf-8"):
            continue
        visit(page, file.as_uri())
        for ink, ground in page.evaluate(colours):
            darker, lighter = sorted((lightness(ink), lightness(ground)))
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (file.name, ink, ground)
            labels += 1
    assert labels >= 10


def test_formulas_are_set_without_a_network(html, new_page):
    page = new_page()
    wrong = watch(page)
    visit(page, (html / "book" / "notation.html").as_uri())
    assert page.locator("mjx-container").count() >= 20
    assert page.locator("mjx-merror").count() == 0
    assert wrong == []


def test_long_tables_can_be_sorted(html, new_page):
    page = new_page()
    page.goto((html / "book" / "models.html").as_uri())
    sizes = page.locator(".bd-article tbody tr td:nth-child(5)")
    before = sorted(int(text.replace(",", "")) for text in sizes.all_inner_texts())
    for expected in (before, before[::-1]):
        page.get_by_role("button", name="dimension").click()
        assert [int(text.replace(",", "")) for text in sizes.all_inner_texts()] == expected


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


@pytest.mark.parametrize("where", ["folder", "server"])
def test_the_search_finds_pages(where, served, html, new_page):
    start = served if where == "server" else f"{html.as_uri()}/"
    page = new_page()
    wrong = watch(page)
    page.goto(f"{start}search.html?q=cello")
    page.get_by_text(re.compile(r"found \d+ page")).wait_for()
    links = page.eval_on_selector_all("#search-results li a", "all => all.map(one => one.href)")
    assert len(links) >= 5
    assert f"{start}book/datasets.html" in {re.split("[?#]", link)[0] for link in links}
    for link in links:
        assert (html / unquote(urlsplit(link.removeprefix(start)).path)).is_file(), link
    assert wrong == []


# Two sliders


def test_a_full_dose_helps_or_destroys_and_a_threshold_moves_all_but_the_roc_auc(html, new_page):
    page = new_page()
    wrong = watch(page)
    page.goto((html / "book" / "sliders.html").as_uri())

    def dose(toy: str, value: int) -> list[float]:
        page.locator("[data-part=toy]").select_option(toy)
        page.locator("[data-part=dose]").fill(str(value))
        said = page.locator("[data-part=dose-said]").inner_text()
        return [float(number) for number in re.findall(r"\d\.\d\d", said)]

    assert dose("a shift beside the task", 0)[0] == 0
    for toy, better in (("a shift beside the task", True), ("a shift along the task", False)):
        none, half, full = (dose(toy, value) for value in (0, 10, 20))
        assert (none[0], half[0], full[0]) == (0, 0.5, 1)
        assert (full[2] > none[2]) == better
        assert (full[1] >= none[1]) == better
    assert dose("a faint direction", 0)[1:] == dose("a faint direction", 20)[1:]

    def rates(value: str) -> list[list[str]]:
        page.locator("[data-part=threshold]").fill(value)
        rows = page.locator("[data-part=rates] tr")
        return [row.locator("td").all_inner_texts() for row in rows.all()]

    low, high = rates("-1"), rates("1")
    for one, other, side in zip(low, high, ("same", "other"), strict=True):
        assert int(one[0][:-2]) > int(other[0][:-2]), side
        assert int(one[1][:-2]) < int(other[1][:-2]), side
        assert one[3] == other[3]
    data = page.evaluate("window.BIASMIR_SLIDERS.threshold.sides")
    (same, _) = data
    found = [score > 1 for score, y in zip(same["score"], same["y"], strict=True) if y]
    assert high[0][0] == f"{100 * sum(found) / len(found):.0f}\N{NO-BREAK SPACE}%"
    assert float(low[0][3]) == pytest.approx(roc_auc_score(same["y"], same["score"]), abs=0.006)
    assert wrong == []


# The explorer


@pytest.fixture(params=["folder", "server"])
def explorer(request, html, new_page):
    """Its page, opened from a folder and from a server."""
    start = f"{html.as_uri()}/"
    if request.param == "server":
        start = request.getfixturevalue("served")
    page = new_page()
    page.wrong = watch(page)
    page.goto(f"{start}book/explorer.html")
    part(page, "canvas").evaluate("one => one.scrollIntoView({block: 'center'})")
    yield page
    assert page.wrong == []


def part(page, name: str):
    return page.locator(f"#explorer [data-part={name}]")


def selected(page) -> int:
    return int(page.locator("#explorer").get_attribute("data-selected"))


def until_playing(page, playing: bool) -> None:
    page.locator(f"#explorer[data-playing={str(playing).lower()}]").wait_for()


def places(page) -> list[list[float]]:
    """Where each clip with sound stands on the map, in pixels."""
    return page.evaluate(
        "window.BIASMIR_EXPLORER.sounds.map((_, number) =>"
        " document.querySelector('#explorer [data-part=canvas]').place(number))"
    )


def loneliest(page) -> tuple[int, dict[str, float]]:
    """The clip farthest from all others, so that a click finds no other; and its place."""
    at = places(page)

    def room(number: int) -> float:
        x, y = at[number]
        return min((x - a) ** 2 + (y - b) ** 2 for n, (a, b) in enumerate(at) if n != number)

    number = max(range(1, len(at)), key=room)
    return number, {"x": at[number][0], "y": at[number][1]}


def test_it_opens_on_the_fall(explorer):
    said = part(explorer, "reading").inner_text()
    falls = explorer.evaluate("window.BIASMIR_EXPLORER.falls")
    assert f"on musicnn lose {falls['musicnn']['none']:.3f} of their mean ROC-AUC." in said
    part(explorer, "correction").select_option("leace")
    said = part(explorer, "reading").inner_text()
    both = [f"{falls['musicnn'][name]:.3f}" for name in ("leace", "none")]
    assert "lose {} of their mean ROC-AUC ({} uncorrected).".format(*both) in said


def test_pointing_names_a_clip_and_a_click_plays_and_stops_it(explorer):
    number, place = loneliest(explorer)
    part(explorer, "canvas").hover(position=place)
    assert selected(explorer) == number
    until_playing(explorer, False)
    part(explorer, "canvas").click(position=place)
    said = part(explorer, "label").inner_text()
    assert re.match(r"(solo|band): \w+.*, [\w ]+\. Clip \d+ of \d+ with sound\.", said)
    assert part(explorer, "told").inner_text() == said
    until_playing(explorer, True)
    part(explorer, "canvas").click(position=place)
    until_playing(explorer, False)


def test_the_explorer_works_by_keyboard_and_tells_a_screen_reader(explorer):
    part(explorer, "map").focus()
    seen = [selected(explorer)]
    for key, axis, sign in (
        ("ArrowRight", 0, 1),
        ("ArrowDown", 1, 1),
        ("ArrowLeft", 0, -1),
        ("ArrowUp", 1, -1),
    ):
        explorer.keyboard.press(key)
        seen.append(selected(explorer))
        before, after = (places(explorer)[number] for number in seen[-2:])
        assert sign * (after[axis] - before[axis]) > 0, key
        assert part(explorer, "told").inner_text() == part(explorer, "label").inner_text()
    assert len(set(seen)) >= 3
    last = len(places(explorer)) - 1
    for key, expected in (("Home", 0), ("PageUp", last), ("PageDown", 0), ("End", last)):
        explorer.keyboard.press(key)
        assert selected(explorer) == expected, key
    explorer.keyboard.press("Enter")
    until_playing(explorer, True)
    explorer.keyboard.press("Escape")
    until_playing(explorer, False)


def test_every_view_and_colour_of_the_explorer_can_be_shown(explorer):
    data = explorer.evaluate("window.BIASMIR_EXPLORER")
    assert len(data["embeddings"]) == 4
    assert list(data["corrections"]) == ["none", "lda", "leace", "center"]
    seen = set()
    for embedding in data["embeddings"]:
        for correction in data["corrections"]:
            part(explorer, "embedding").select_option(embedding)
            part(explorer, "correction").select_option(correction)
            seen.add(tuple(places(explorer)[7]))
            assert embedding in part(explorer, "reading").inner_text()
    # (lda hardly moves anything in the large embeddings.)
    assert len(seen) >= 12, "a view puts the clip somewhere else"
    number, place = loneliest(explorer)
    sound, colours = data["sounds"][number], {}
    for by, look in data["colours"].items():
        part(explorer, "by").select_option(by)
        legend = part(explorer, "legend").locator("> *").all_text_contents()
        assert legend == look["names"]
        code = explorer.evaluate(f"atob('{look['of']}').charCodeAt({sound['row']})")
        red, green, blue, _ = part(explorer, "canvas").evaluate(
            "(one, place) => [...one.getContext('2d').getImageData(place.x * devicePixelRatio,"
            " place.y * devicePixelRatio, 1, 1).data]",
            place,
        )
        assert f"#{red:02x}{green:02x}{blue:02x}" == look["looks"][code][0]
        colours[by] = look["names"][code]
    assert sound["name"].startswith(f"{colours['dataset']}: {colours['instrument']}")
    assert sound["name"].endswith(f", {colours['genre']}")


def test_the_explorer_weighs_less_than_three_megabytes_with_all_its_sounds(html):
    files = [path for path in (html / "explorer").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 3e6
    listed = json.loads((html / "explorer" / "excerpts.json").read_text(encoding="utf-8"))
    assert {one["file"] for one in listed["excerpts"]} == {
        f"audio/{path.name}" for path in (html / "explorer" / "audio").iterdir()
    }
