"""The headless browser: phone width, keys, pictures, the console and the network."""

from __future__ import annotations

import pytest

from biasmir_utils.book.browser import Browser
from biasmir_utils.book.screenshots import photograph
from biasmir_utils.errors import BookError

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def browser(chromium):
    with Browser(chromium) as one:
        yield one


@pytest.fixture
def page(tmp_path):
    def write(body: str, name: str = "a.html"):
        path = tmp_path / "html" / name
        path.parent.mkdir(exist_ok=True)
        head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        path.write_text(f"<!doctype html><html><head>{head}</head><body>{body}</body></html>")
        return path

    return write


@pytest.mark.parametrize("width", [1280, 390])
def test_a_page_is_laid_out_at_the_width_that_was_asked_for(browser, page, width):
    browser.open(page("<p>x</p>").as_uri(), width=width)
    assert browser.evaluate("window.innerWidth") == width
    assert browser.evaluate("document.documentElement.clientWidth") == width


def test_errors_and_requests_are_noticed(browser, page):
    quiet = page("<p>x</p>", "quiet.html")
    loud = page(
        '<img src="http://127.0.0.1:9/a.png"><script>console.error("oh", 1); nothing();</script>'
    )
    browser.open(loud.as_uri())
    assert browser.requests_out() == ["http://127.0.0.1:9/a.png"]
    said = "\n".join(browser.errors)
    assert "oh 1" in said
    assert "nothing is not defined" in said
    browser.open(quiet.as_uri())
    assert browser.errors == []
    assert browser.requests_out() == []


def test_javascript_values_promises_and_failures(browser, page):
    browser.open(page("<p>x</p>").as_uri())
    assert browser.evaluate("({a: [1, 'b']})") == {"a": [1, "b"]}
    assert browser.evaluate("new Promise(done => setTimeout(() => done(7), 10))") == 7
    with pytest.raises(BookError, match="JavaScript failed: ReferenceError: nothing"):
        browser.evaluate("nothing")


def test_a_page_hears_of_its_focus_before_anything_was_clicked(chromium, page):
    with Browser(chromium) as fresh:
        fresh.open(page("<input onfocus='window.heard = true'>").as_uri())
        fresh.evaluate("document.querySelector('input').focus()")
        assert fresh.evaluate("window.heard") is True


def test_keys_are_pressed(browser, page):
    browser.open(
        page(
            "<button onclick=\"said.push('clicked')\">x</button>"
            "<script>const said = [];"
            "document.addEventListener('keydown', event => said.push(event.key));</script>"
        ).as_uri()
    )
    for key in ("Tab", "ArrowRight", "Enter"):
        browser.press(key)
    assert browser.evaluate("said") == ["Tab", "ArrowRight", "Enter", "clicked"]


def test_pictures_of_every_page_and_what_no_picture_shows(chromium, page, tmp_path):
    page('<div style="height: 5000px; background: #eee">long</div>')
    page('<div style="width: 700px">wide</div>', "wide.html")
    page('<img src="http://127.0.0.1:9/a.png" alt="x">', "asks.html")
    (tmp_path / "html" / "index.html").write_text(
        '<meta http-equiv="Refresh" content="0; url=a.html" />'
    )
    seen = {
        (name, width): (pictures, problems)
        for name, width, pictures, problems in photograph(tmp_path / "html", tmp_path / "pictures")
    }
    assert set(seen) == {(name, w) for name in ("a", "asks", "wide") for w in (1280, 390)}
    pictures, problems = seen["a", 390]
    assert len(pictures) == 2
    assert problems == []
    assert all(path.read_bytes().startswith(PNG) for path in pictures)
    assert pictures[0].parent.name == "390"
    assert seen["wide", 1280][1] == []
    assert any("scrolls sideways at 390 px" in problem for problem in seen["wide", 390][1])
    assert "asks the network for http://127.0.0.1:9/a.png" in seen["asks", 1280][1]


DASH, M = "\N{EN DASH}", "\N{MINUS SIGN}"
COLUMNS = {
    "count": ["1,234", "56", "7", "1,024", "900", "12", "3", "0"],
    "negative": [f"{M}0.012", f"{M}0.2", "0.003", "0.1", f"{M}1", "-0.5", "2", "0.000"],
    "interval": [
        f"+0.01 [{M}0.02, +0.04]", DASH, f"{M}0.03 [{M}0.05, {M}0.01]", "0.00 [0.00, 0.00]",
        "+0.10 [+0.05, +0.15]", DASH, f"{M}0.2 [{M}0.3, {M}0.1]", "+0.02 [0.00, +0.04]",
    ],
    "gaps": ["10", "", "9", "", "100", DASH, f"{M}1", "2"],
    "word": ["lda", "center", DASH, "coral", "none", "", "leace", "inlp"],
}  # fmt: skip
ASCENDING = {
    "count": [7, 6, 2, 5, 1, 4, 3, 0],
    "negative": [4, 5, 1, 0, 7, 2, 3, 6],
    "interval": [6, 2, 3, 0, 7, 4, 1, 5],
    "gaps": [6, 7, 2, 0, 4, 1, 3, 5],
    "word": [1, 3, 7, 0, 6, 4, 2, 5],
}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_is_sorted_by_its_numbers_and_what_has_none_stays_last(
    browser, page, repository, name
):
    rows = "".join(f"<tr><td>{i}</td><td>{v}</td></tr>" for i, v in enumerate(COLUMNS[name]))
    rows = f"<tr><td>All</td><td>5</td></tr>{rows}"  # a sum, not at its place yet
    head = f"<thead><tr><th>row</th><th>{name}</th></tr></thead>"
    script = (repository / "book" / "_static" / "sortable.js").as_uri()
    body = f"<div class='bd-article'><table>{head}<tbody>{rows}</tbody></table></div>"
    browser.open(page(f"{body}<script src='{script}'></script>").as_uri())
    blank = {str(i) for i, v in enumerate(COLUMNS[name]) if v in ("", DASH)}
    ascending = [str(i) for i in ASCENDING[name]]
    head = "document.querySelectorAll('th')[1]"
    for order in ("ascending", "descending"):
        browser.evaluate(f"{head}.querySelector('button').click()")
        assert browser.evaluate(f"{head}.getAttribute('aria-sort')") == order
        *found, last = browser.evaluate(
            "[...document.querySelectorAll('tbody tr')].map(row => row.cells[0].textContent)"
        )
        assert last == "All"
        filled = [row for row in ascending if row not in blank]
        assert found[: len(filled)] == filled[:: 1 if order == "ascending" else -1]
        assert set(found[len(filled) :]) == blank
    assert browser.errors == []


@pytest.mark.parametrize(
    ("rows", "heads", "buttons"),
    [(8, "<th>a</th><th>b</th>", 2), (7, "<th>a</th><th>b</th>", 0), (8, "<th></th><th>b</th>", 0)],
)
def test_short_tables_and_comparisons_are_left_as_they_are(
    browser, page, repository, rows, heads, buttons
):
    script = (repository / "book" / "_static" / "sortable.js").as_uri()
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>{'<tr><td>1<td>2' * rows}</table>"
    body = f"<div class='bd-article'>{table}</div><script src='{script}'></script>"
    browser.open(page(body).as_uri())
    assert browser.evaluate("document.querySelectorAll('th button').length") == buttons


def test_a_picture_shows_the_page_as_it_is_laid_out(browser, page, tmp_path):
    """The theme's left column is out of sight on a narrow window, and slides in on a wide one."""
    from matplotlib.image import imread

    column = (
        "<style>body { margin: 0 } div { background: #c00; width: 250px; height: 7000px;"
        " transition: margin-left 5s } @media (max-width: 959px)"
        " { div { margin-left: -250px; transition: none } }</style><div></div>"
    )
    address = page(column).as_uri()
    picture = tmp_path / "a.png"
    for _ in range(3):
        browser.open(address)
        browser.evaluate("window.scrollTo(0, 1200)")
        for top, height in ((0, 3000), (3000, 3000), (6000, None)):
            browser.screenshot(picture, top, height)
            pixels = imread(picture)
            assert pixels.shape[:2] == (height or 1000, 1280)
            red = (pixels[:, :, 0] > 0.7) & (pixels[:, :, 1] < 0.1)
            assert red[:, :250].all()
            assert not red[:, 250:].any()
    assert browser.evaluate("[innerWidth, innerHeight, scrollY]") == [1280, 900, 1200]


def test_a_browser_that_does_not_start_is_named(tmp_path):
    broken = tmp_path / "chromium"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(BookError, match="ended at once"), Browser(str(broken)):
        pass
