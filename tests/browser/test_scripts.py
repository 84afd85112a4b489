"""The book's own scripts and style, on small pages: sorting of tables, what is cut off."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from playwright.sync_api import expect

STATIC = Path(__file__).resolve().parent.parent.parent / "book" / "_static"
CUT_OFF = Path(__file__).with_name("cut_off.js").read_text(encoding="utf-8")
DASH, M = "\N{EN DASH}", "\N{MINUS SIGN}"


@pytest.fixture
def opened(new_page, tmp_path):
    """Open a page with that article, as wide as the book's beside its contents."""

    def open_page(body: str, width: int = 1280, scripts: tuple[str, ...] = ("scrolls.js",)):
        head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        head += f'<link rel="stylesheet" href="{(STATIC / "biasmir.css").as_uri()}">'
        head += "<style>.bd-article { max-width: 688px } pre { padding: 16px; margin: 0 }</style>"
        for name in scripts:
            head += f'<script src="{(STATIC / name).as_uri()}"></script>'
        path = tmp_path / "a.html"
        path.write_text(
            f"<!doctype html><html><head>{head}</head><body><div class='bd-article'>{body}</div>"
        )
        page = new_page(width)
        page.goto(path.as_uri())
        return page

    return open_page


# Players


@pytest.mark.parametrize("width", [1280, 390])
def test_the_picture_of_a_sound_plays_and_stops_it_and_on_a_phone_is_the_player(opened, width):
    sound = io.BytesIO()
    soundfile.write(sound, np.zeros(80_000), 16_000, format="WAV")
    data = base64.b64encode(sound.getvalue()).decode()
    figure = (
        '<figure><figcaption>a {0}</figcaption><img class="spectrogram" alt="" role="presentation" '
        'src="data:,"><audio controls aria-label="a {0}" src="data:audio/wav;base64,{1}"></audio>'
        "</figure>"
    )
    body = (
        f'<div class="players">{figure.format("flute", data)}{figure.format("cello", data)}</div>'
    )
    page = opened(body, width, scripts=("players.js",))
    flute, cello = (page.get_by_role("button", name=f"Play: a {one}") for one in ("flute", "cello"))
    assert page.locator("audio").first.is_visible() == (width == 1280)
    boxes = [one.bounding_box() for one in (flute, cello)]
    assert boxes[0]["y"] == boxes[1]["y"], "beside one another"
    for pressed, states in ((flute, ["true", "false"]), (cello, ["false", "true"])):
        pressed.click()
        expect(flute).to_have_attribute("aria-pressed", states[0])
        expect(cello).to_have_attribute("aria-pressed", states[1])
    cello.click()
    expect(cello).to_have_attribute("aria-pressed", "false")
    # What cannot be played is shown.
    page.locator("audio").first.evaluate("one => { one.src = 'data:audio/wav;base64,AAAA'; }")
    flute.click()
    expect(page.locator("audio").first).to_be_visible()
    expect(flute).to_have_attribute("aria-pressed", "false")
    assert page.locator("audio").last.is_visible() == (width == 1280)


def test_an_enlarged_page_keeps_what_a_keyboard_uses(opened):
    sound = '<button class="spectrogram">Play</button><audio controls aria-label="a"></audio>'
    page = opened(f'<h2>One<a class="headerlink" href="#one">#</a></h2>{sound}')
    page.set_viewport_size({"width": 512, "height": 400})
    assert page.locator("audio").is_visible()
    link = page.get_by_role("link")
    assert link.evaluate("one => getComputedStyle(one).opacity") == "0"
    page.keyboard.press("Tab")
    expect(link).to_be_focused()
    assert link.evaluate("one => getComputedStyle(one).opacity") == "1"


# Sorting

COLUMNS = {
    "count": (["1,234", "56", "7", "1,024", "900", "12", "3", "0"], [7, 6, 2, 5, 1, 4, 3, 0]),
    "negative": (
        [f"{M}0.012", f"{M}0.2", "0.003", "0.1", f"{M}1", "-0.5", "2", "0.000"],
        [4, 5, 1, 0, 7, 2, 3, 6],
    ),
    "interval": (
        [
            f"+0.01 [{M}0.02, +0.04]", DASH, f"{M}0.03 [{M}0.05, {M}0.01]", "0.00 [0.00, 0.00]",
            "+0.10 [+0.05, +0.15]", DASH, f"{M}0.2 [{M}0.3, {M}0.1]", "+0.02 [0.00, +0.04]",
        ],
        [6, 2, 3, 0, 7, 4],
    ),
    "gaps": (["10", "", "9", "", "100", DASH, f"{M}1", "2"], [6, 7, 2, 0, 4]),
    "word": (["lda", "center", DASH, "coral", "none", "", "leace", "inlp"], [1, 3, 7, 0, 6, 4]),
}  # fmt: skip


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_is_sorted_by_its_numbers_and_what_has_none_stays_last(opened, name):
    values, ascending = COLUMNS[name]
    # A sum, not at its place yet.
    rows = "<tr><td>All</td><td>5</td></tr>"
    rows += "".join(f"<tr><td>{i}</td><td>{value}</td></tr>" for i, value in enumerate(values))
    head = f"<thead><tr><th>row</th><th>{name}</th></tr></thead>"
    page = opened(f"<table>{head}<tbody>{rows}</tbody></table>", scripts=("sortable.js",))
    for order, expected in (("ascending", ascending), ("descending", ascending[::-1])):
        page.get_by_role("button", name=name).click()
        assert page.locator("th").nth(1).get_attribute("aria-sort") == order
        *found, last = page.locator("tbody tr td:first-child").all_inner_texts()
        assert last == "All"
        assert [int(row) for row in found[: len(expected)]] == expected
        assert set(found) == {str(row) for row in range(len(values))}


@pytest.mark.parametrize(
    ("rows", "heads", "buttons"),
    [(8, "<th>a</th><th>b</th>", 2), (7, "<th>a</th><th>b</th>", 0), (8, "<th></th><th>b</th>", 0)],
)
def test_short_tables_and_comparisons_are_left_as_they_are(opened, rows, heads, buttons):
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>{'<tr><td>1<td>2' * rows}</table>"
    page = opened(table, scripts=("sortable.js",))
    assert page.locator("th button").count() == buttons


# What is cut off: the check itself, with the book's style and script

CELLS = "".join(f"<td>number_{place}_of_many</td>" for place in range(14))
TABLE = f'<div role="region" style="overflow-x: auto"><table><tr>{CELLS}</tr></table></div>'
OUTPUT = f'<div class="cell_output"><div class="output">{TABLE}</div></div>'
LINK = (
    '<div class="bd-sidebar-secondary" style="width: 120px; overflow: hidden"><nav>'
    '<a href="#"><code>Corpus.add_embedding_file_and_more()</code></a></nav></div>'
)


@pytest.mark.parametrize(
    ("body", "width", "found"),
    [
        (OUTPUT, 390, []),
        (OUTPUT, 1280, ["px too wide"]),
        (OUTPUT.replace("overflow-x: auto", "overflow: hidden"), 390, ["is cut off by"]),
        ('<div style="width: 700px">wide</div>', 390, ["the page is 708 px wide"]),
        (LINK, 390, []),
        (f"{LINK}<style>* {{white-space: pre !important}}</style>", 390, ["the link"]),
        (f'<div class="highlight"><pre>{"x" * 88}</pre></div>', 1280, []),
        (f'<pre style="font-size: 30px; overflow: auto">{"x" * 88}</pre>', 1280, ["88 columns"]),
    ],
)
def test_what_is_cut_off(opened, body, width, found):
    said = opened(body, width).evaluate(CUT_OFF)
    assert len(said) == len(found), said
    assert all(part in one for part, one in zip(found, said, strict=True)), said


def test_the_side_on_which_there_is_more_fades(opened):
    page = opened(f'<div class="cell_output">{TABLE}</div>', 390)
    box = page.get_by_role("region")
    for place, more in (("0", "right"), ("40", "left right"), ("99999", "left")):
        box.evaluate(f"(one) => {{ one.scrollLeft = {place}; }}")
        page.wait_for_function(f"document.querySelector('[role=region]').dataset.more === '{more}'")
        mask = box.evaluate("(one) => getComputedStyle(one).maskImage")
        # On a phone the first column stays, so there is nothing to fade at its side.
        assert ("linear-gradient" in mask) == ("right" in more)
    # Turned on its side, the telephone has room.
    page.set_viewport_size({"width": 4000, "height": 900})
    page.evaluate("document.querySelector('.bd-article').style.maxWidth = 'none'")
    page.wait_for_function("!document.querySelector('[role=region]').dataset.more")
