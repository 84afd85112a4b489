"""What is cut off on a page: the check of it, with the book's own style and script."""

from __future__ import annotations

import pytest

from biasmir_utils.book.browser import Browser
from biasmir_utils.book.layout import cut_off

CELLS = "".join(f"<td>number_{place}_of_many</td>" for place in range(14))
TABLE = f'<div role="region" style="overflow-x: auto"><table><tr>{CELLS}</tr></table></div>'
CODE = '<div class="highlight"><pre>{}</pre></div>'


@pytest.fixture(scope="module")
def browser(chromium):
    with Browser(chromium) as one:
        yield one


@pytest.fixture
def opened(browser, tmp_path, repository):
    """Open a page with that article, as wide as the book's beside its contents."""
    static = repository / "book" / "_static"

    def open_page(body: str, width: int, script: bool = True) -> Browser:
        path = tmp_path / "a.html"
        style = (static / "biasmir.css").as_uri()
        scrolls = f'<script src="{(static / "scrolls.js").as_uri()}"></script>' if script else ""
        path.write_text(
            '<!doctype html><html><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width">'
            f'<link rel="stylesheet" href="{style}">{scrolls}'
            "<style>.bd-article { max-width: 688px } pre { padding: 16px; margin: 0 }</style>"
            f'</head><body><div class="bd-article">{body}</div></body></html>'
        )
        browser.open(path.as_uri(), width=width)
        return browser

    return open_page


def test_a_wide_table_shows_that_it_scrolls_on_a_phone_and_has_to_fit_on_a_desktop(opened):
    page = f'<div class="cell_output"><div class="output">{TABLE}</div></div>'
    assert cut_off(opened(page, 390)) == []
    (found,) = cut_off(opened(page, 1280))
    assert "px too wide" in found
    (found,) = cut_off(opened(page, 390, script=False))
    assert found.endswith("does not show that it scrolls")
    (found,) = cut_off(opened(page.replace("overflow-x: auto", "overflow: hidden"), 390))
    assert "is cut off by" in found


def test_the_side_on_which_there_is_more_fades(opened):
    browser = opened(f'<div class="cell_output">{TABLE}</div>', 390)
    box = "document.querySelector('[role=region]')"
    drawn = "new Promise(d => requestAnimationFrame(() => requestAnimationFrame(() => d(true))))"
    for place, more in (("0", "right"), ("40", "left right"), ("99999", "left")):
        browser.evaluate(f"{box}.scrollLeft = {place}")
        browser.evaluate(drawn)
        assert browser.evaluate(f"{box}.dataset.more") == more
        assert "linear-gradient" in browser.evaluate(f"getComputedStyle({box}).maskImage")
    # Turned on its side, the telephone has room.
    browser.send(
        "Emulation.setDeviceMetricsOverride",
        width=4000, height=900, deviceScaleFactor=1, mobile=False,
    )  # fmt: skip
    browser.evaluate("document.querySelector('.bd-article').style.maxWidth = 'none'")
    browser.evaluate(drawn)
    assert browser.evaluate(f"{box}.dataset.more ?? null") is None
    assert browser.evaluate(f"getComputedStyle({box}).maskImage") == "none"


@pytest.mark.parametrize("columns", [88, 120])
def test_code_of_88_columns_fits_beside_the_contents(opened, columns):
    browser = opened(CODE.format("x" * columns), 1280)
    assert cut_off(browser) == []
    beyond = "(one => one.scrollWidth - one.clientWidth)(document.querySelector('pre'))"
    assert (browser.evaluate(beyond) > 0) == (columns > 88)


def test_code_that_should_fit_is_named(opened):
    wide = f"<style>pre {{ font-size: 30px !important }}</style>{CODE.format('x' * 88)}"
    (found,) = cut_off(opened(wide, 1280))
    assert found.endswith("of 88 columns is cut off")


def test_links_that_leave_their_place_are_named(opened):
    links = (
        '<div class="bd-sidebar-secondary" style="width: 120px; overflow: hidden"><nav>'
        '<a href="#"><code>{}</code></a></nav></div>'
        '<div class="prev-next-area"><a href="#" style="display: flex; width: 100px">{}</a></div>'
    )
    assert cut_off(opened(links.format("short()", "short"), 390)) == []
    long = "Corpus.add_embedding_file_and_more()"
    found = cut_off(
        opened(
            links.format(long, "x" * 40)
            + "<style>* {white-space: pre !important; overflow-wrap: normal !important}</style>",
            390,
        )
    )
    assert len(found) == 2
    assert cut_off(opened(links.format(long, "short"), 390)) == []
