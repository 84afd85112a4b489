"""What the checks of built pages find, on pages with one fault each."""

from __future__ import annotations

import pytest

from biasmir_utils.book.checks import (
    broken_links,
    check,
    external_loads,
    links_out,
    missing_alternatives,
    pages,
)


@pytest.fixture
def site(tmp_path):
    """Write pages: `site(a="<p>...", ...)` gives the folder with a.html."""

    def write(**bodies: str):
        for name, body in bodies.items():
            (tmp_path / f"{name}.html").write_text(f"<html><body>{body}</body></html>")
        return tmp_path

    return write


@pytest.mark.parametrize(
    "image",
    [
        '<img src="a.png" alt="Two lines that cross.">',
        '<img src="a.png" alt="" role="presentation">',
        '<img src="a.png" alt="" aria-hidden="true">',
    ],
)
def test_images_with_words_or_for_decoration_pass(site, image):
    assert missing_alternatives(site(a=image)) == []


@pytest.mark.parametrize(
    "alternative",
    [
        "",
        'alt=""',
        'alt="../_images/3f2a9bc01d3f2a9bc01d3f2a9bc01d3f2a9bc01d.png"',
        'alt="3f2a9bc01d3f2a9bc01d3f2a9bc01d3f2a9bc01d"',
        'alt="output_3_0.png"',
    ],
)
def test_images_without_words_are_found(site, alternative):
    (problem,) = missing_alternatives(site(a=f'<img src="a.png" {alternative}>'))
    assert problem.startswith("a.html: image a.png has the alternative text")


CAPTION = "<figcaption>a cello</figcaption>"
LABELLED = '<audio src="a.mp3" aria-label="a cello"></audio>'


@pytest.mark.parametrize(
    "player",
    [
        f"<figure>{CAPTION}{LABELLED}</figure>",
        f"<figure><div>{LABELLED}</div>{CAPTION}</figure>",
        '<audio data-part="player"></audio>',
    ],
)
def test_players_with_both_labels_pass_and_so_does_the_explorers(site, player):
    assert missing_alternatives(site(a=player)) == []


@pytest.mark.parametrize(
    ("player", "told"),
    [
        (f'<figure>{CAPTION}<audio src="a.mp3"></audio></figure>', ["no aria-label"]),
        (
            f'<figure>{CAPTION}<audio src="a.mp3" aria-label=" "></audio></figure>',
            ["no aria-label"],
        ),
        (f"<p>words before</p>{LABELLED}", ["no caption"]),
        (f"<figure>{LABELLED}</figure>", ["no caption"]),
        (f"<figure><figcaption> </figcaption>{LABELLED}</figure>", ["no caption"]),
        (f"<figure>{CAPTION}</figure>{LABELLED}", ["no caption"]),
        ('<audio><source src="a.mp3"></audio>', ["no aria-label", "no caption"]),
    ],
)
def test_players_without_a_label_are_found(site, player, told):
    problems = missing_alternatives(site(a=player))
    assert [problem.split(";")[0] for problem in problems] == [
        f"a.html: player of a.mp3 has {one}" for one in told
    ]


@pytest.mark.parametrize(
    ("body", "address"),
    [
        ('<script src="https://cdn.example/x.js"></script>', "https://cdn.example/x.js"),
        ('<script src="//cdn.example/x.js"></script>', "//cdn.example/x.js"),
        ('<link rel="stylesheet" href="https://f.example/f.css">', "https://f.example/f.css"),
        ('<link rel="preload" href="http://f.example/f.woff">', "http://f.example/f.woff"),
        ('<img alt="x" srcset="a.png 1x, https://i.example/b.png 2x">', "https://i.example/b.png"),
        ('<audio src="https://s.example/s.mp3"></audio>', "https://s.example/s.mp3"),
        ('<iframe src="https://v.example/"></iframe>', "https://v.example/"),
        ("<style>@import 'https://f.example/a.css';</style>", "https://f.example/a.css"),
        ('<p style="background: url(https://i.example/b.png)">', "https://i.example/b.png"),
    ],
)
def test_what_a_page_fetches_from_elsewhere_is_found(site, body, address):
    assert external_loads(site(a=body)) == [f"a.html loads {address}"]


def test_style_sheets_are_read_too(site):
    folder = site(a="<p>")
    (folder / "own.css").write_text("p { background: url('https://i.example/b.png') }")
    assert external_loads(folder) == ["own.css loads https://i.example/b.png"]


def test_links_out_and_canonical_addresses_are_no_loads(site):
    folder = site(
        a='<a href="https://x.example/">x</a><link rel="canonical" href="https://x.example/a">'
        '<img alt="dot" src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">'
    )
    assert external_loads(folder) == []
    assert links_out(folder) == ["https://x.example/"]


@pytest.mark.parametrize(
    ("link", "problem"),
    [
        ("b.html", None),
        ("b.html#place", None),
        ("b.html#na%C3%AFve", None),
        ("#", None),
        ("#here", None),
        ("https://x.example/#y", None),
        ("mailto:a@b.example", None),
        ("c.html", "there is no such file"),
        ("b.html#other", "the page has no such place"),
        ("#nowhere", "the page has no such place"),
        ("../outside.html", "it leaves the book's folder"),
    ],
)
def test_links_inside_the_book(site, link, problem):
    folder = site(
        a=f'<p id="here"></p><a href="{link}">x</a>',
        b='<p id="place"></p><a name="naïve"></a>',
    )
    expected = [f"a.html links to {link}: {problem}"] if problem else []
    assert broken_links(folder) == expected


def test_files_that_a_page_needs_are_there(site):
    assert broken_links(site(a='<audio src="a.mp3"></audio>')) == [
        "a.html links to a.mp3: there is no such file"
    ]


def test_sphinx_own_files_are_no_pages(site):
    folder = site(a="<p>")
    (folder / "_static").mkdir()
    (folder / "_static" / "webpack-macros.html").write_text("<script src='https://x.example'>")
    assert [page.name for page in pages(folder)] == ["a.html"]
    assert check(folder) == []


def test_a_page_that_was_changed_is_read_again(site):
    assert check(site(a="<p>")) == []
    assert len(check(site(a='<img src="https://i.example/b.png">'))) == 2
