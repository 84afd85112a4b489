"""What every chapter has, as a reader meets it: its opening, links, terms, exercises."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from biasmir_utils.book.extension import heading_anchor, term_anchor

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LINK = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")


def prose(path: Path) -> list[str]:
    """Return the cells of prose of a notebook."""
    cells = nbformat.read(path, as_version=4).cells
    return [cell.source for cell in cells if cell.cell_type == "markdown"]


def glossary_terms() -> list[str]:
    text = (ROOT / "book" / "glossary.md").read_text(encoding="utf-8")
    body = text.split("```{glossary}\n")[1].split("```")[0]
    return re.findall(r"^(\S.*)$", body, re.MULTILINE)


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def chapter(request) -> Path:
    return request.param


def test_it_opens_with_what_is_learned_what_is_needed_and_how_long_it_takes(chapter):
    opening = prose(chapter)[0]
    question = opening.split("\n\n")[1]
    assert question.startswith("*"), "the question comes first"
    assert "?" in question
    places = [
        opening.find(f"**{part}**")
        for part in ("What you will learn.", "What you need.", "How long.")
    ]
    assert places == sorted(places)
    assert places[0] > 0
    how_long = opening[places[2] :]
    assert re.search(r"(minutes|hour)\b.* to read", how_long)
    assert "](../book/timings.md)" in how_long, "what the computing takes is measured"


def test_it_closes_with_a_take_away_and_two_to_four_exercises_with_folded_solutions(chapter):
    cells = nbformat.read(chapter, as_version=4).cells
    headings = [
        line
        for cell in cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line.startswith("## ")
    ]
    assert headings[-2:] == ["## To take away", "## Exercises"]
    starts = [
        place
        for place, cell in enumerate(cells)
        if cell.cell_type == "markdown" and re.match(r"\*\*\d\. ", cell.source)
    ]
    assert 2 <= len(starts) <= 4
    for number, place in enumerate(starts, start=1):
        assert cells[place].source.startswith(f"**{number}. ")
        solution = cells[place + 1]
        assert solution.cell_type == "code"
        assert solution.metadata.tags == ["hide-cell"]
        assert solution.metadata.mystnb.code_prompt_show == "Show the solution"
        assert "say(" in solution.source, "an answer in words, not numbers alone"


def test_links_lead_to_files_sections_and_terms(chapter):
    terms = {term_anchor(term) for term in glossary_terms()}
    for cell in prose(chapter):
        for _, address in LINK.findall(cell):
            if address.startswith("https://"):
                continue
            path, _, place = address.partition("#")
            target = (chapter.parent / path).resolve()
            assert target.is_file(), address
            if target.name == "glossary.md" and place:
                assert place in terms, address
            elif place:
                headings = re.findall(r"^#+ (.+)$", "\n".join(prose(target)), re.MULTILINE)
                assert place in map(heading_anchor, headings), address


def test_it_links_terms_to_the_glossary(chapter):
    linked = {
        address
        for cell in prose(chapter)
        for _, address in LINK.findall(cell)
        if "glossary.md#" in address
    }
    assert len(linked) >= 3


@pytest.mark.parametrize("term", glossary_terms())
def test_a_term_is_linked_where_it_is_first_used(term):
    """In the first chapter that uses it, and not long after its first use there."""
    words = "[ -]".join(map(re.escape, term.split()))
    word = re.compile(rf"(?<![\w-]){words}(e?s)?\b", re.IGNORECASE)
    link = f"](../book/glossary.md#{term_anchor(term)})"
    for path in NOTEBOOKS:
        cells = prose(path)
        used = [n for n, cell in enumerate(cells) if word.search(LINK.sub(r"\1", cell))]
        linked = [n for n, cell in enumerate(cells) if link in cell]
        if linked:
            # The opening may announce a word that the text then explains.
            before = [n for n in used if 0 < n < linked[0]]
            assert not before, path.name
            return
        assert not [n for n in used if n > 0], path.name
    raise AssertionError(f"no chapter links {term}")
