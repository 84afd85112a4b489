"""The chapters as they are committed; tests/browser/test_pages.py looks at the book of them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import nbformat
import pytest
import yaml

from biasmir_book import term_anchor

ROOT = Path(__file__).resolve().parent.parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LINK = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")
# Tags by which a reader of the book does not see the code of a cell at first.
HIDDEN = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
TAGS = HIDDEN | {"parameters", "hide-output", "remove-output"}


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def chapter(request) -> Path:
    return request.param


def read(path: Path):
    return nbformat.read(path, as_version=4)


def prose(path: Path) -> list[str]:
    """Return the cells of prose of a notebook."""
    return [cell.source for cell in read(path).cells if cell.cell_type == "markdown"]


def code_cells(path: Path):
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def tags(cell) -> set[str]:
    return set(cell.metadata.get("tags", []))


def glossary_terms() -> list[str]:
    text = (ROOT / "book" / "glossary.md").read_text(encoding="utf-8")
    return re.findall(r"^(\S.*)$", text.split("```{glossary}\n")[1].split("```")[0], re.MULTILINE)


# As JupyterLab, Colab and the book need it


def test_every_notebook_is_a_chapter_in_order():
    listed = re.findall(r"file: notebooks/(\S+)", (ROOT / "_toc.yml").read_text(encoding="utf-8"))
    assert listed == [path.stem for path in NOTEBOOKS]


def test_it_is_valid_and_committed_without_outputs(chapter):
    notebook = read(chapter)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert not {"papermill", "widgets"} & set(notebook.metadata)
    for cell in code_cells(chapter):
        assert cell.outputs == []
        assert cell.execution_count is None


def test_the_first_code_cell_installs_on_colab_and_is_left_out_of_the_book(chapter):
    cell = code_cells(chapter)[0]
    assert "remove-cell" in tags(cell)
    assert '"google.colab" in sys.modules' in cell.source
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert f"git clone -q --depth 1 {config['repository']['url']}\n" in cell.source
    pinned = re.findall(r"--no-deps musicnn==([\d.]+)", cell.source)
    pins = (ROOT / "requirements-nodeps.txt").read_text(encoding="utf-8")
    assert pinned == re.findall(r"^musicnn==([\d.]+)", pins, re.MULTILINE)


def test_two_to_four_parameters_in_one_cell(chapter):
    (cell,) = (cell for cell in code_cells(chapter) if "parameters" in tags(cell))
    body = ast.parse(cell.source).body
    assert 2 <= len(body) <= 4
    for node in body:
        assert isinstance(node, ast.Assign)
        ast.literal_eval(node.value)


def test_visible_code_is_short(chapter):
    for cell in code_cells(chapter):
        assert tags(cell) <= TAGS
        if not tags(cell) & HIDDEN:
            assert len([line for line in cell.source.splitlines() if line.strip()]) <= 10


def test_what_unfolds_a_cell_says_what_is_in_it(chapter):
    """The same words in all chapters, for the parameters and the solutions; else the book's own."""
    for cell in code_cells(chapter):
        if "remove-cell" in tags(cell):
            continue
        what = {"parameters": "the parameters", "hide-cell": "the solution"}
        (said,) = [what[tag] for tag in what if tag in tags(cell)] or [None]
        settings = cell.metadata.get("mystnb", {})
        prompts = (settings.get("code_prompt_show"), settings.get("code_prompt_hide"))
        assert prompts == ((f"Show {said}", f"Hide {said}") if said else (None, None)), cell.source


def test_prose_is_plain_markdown_under_one_title(chapter):
    """JupyterLab, Colab and GitHub would show MyST's directives and roles as they are."""
    text = "\n".join(prose(chapter))
    assert not re.search(r"^(```+|:::+)\{|\{[a-z:]+\}`", text, re.MULTILINE)
    assert text.startswith("# ")
    assert len(re.findall(r"^# ", text, re.MULTILINE)) == 1


def test_figures_have_caption_name_and_alternative_text(chapter):
    settings = [cell.metadata.get("mystnb", {}) for cell in code_cells(chapter)]
    figures = [one for one in settings if "figure" in one]
    assert figures
    for one in figures:
        assert len(one["figure"]["caption"]) > 20
        assert re.fullmatch(r"fig-[a-z0-9-]+", one["figure"]["name"])
        assert len(one["image"]["alt"]) > 20
        assert one["image"]["alt"] != one["figure"]["caption"]


# As a reader meets it


def test_it_opens_with_what_is_learned_what_is_needed_and_how_long_it_takes(chapter):
    opening = prose(chapter)[0]
    question = opening.split("\n\n")[1]
    assert question.startswith("*"), "the question comes first"
    assert "?" in question
    heads = ("What you will learn.", "What you need.", "How long.")
    places = [opening.index(f"**{head}**") for head in heads]
    assert places == sorted(places)
    how_long = opening[places[2] :]
    assert re.search(r"(minutes|hour)\b.* to read", how_long)
    assert "](../book/timings.md)" in how_long, "what the computing takes is measured"


def test_it_closes_with_a_take_away_and_two_to_four_exercises_with_folded_solutions(chapter):
    headings = re.findall(r"^## .*$", "\n".join(prose(chapter)), re.MULTILINE)
    assert headings[-2:] == ["## To take away", "## Exercises"]
    cells = read(chapter).cells
    starts = [at for at, cell in enumerate(cells) if re.match(r"\*\*\d\. ", cell.source)]
    assert 2 <= len(starts) <= 4
    for number, at in enumerate(starts, start=1):
        assert cells[at].source.startswith(f"**{number}. ")
        assert cells[at + 1].metadata.tags == ["hide-cell"]
        assert "say(" in cells[at + 1].source, "an answer in words, not numbers alone"


def test_links_lead_to_files_sections_and_terms(chapter):
    terms = {term_anchor(term) for term in glossary_terms()}
    linked = set()
    for _, address in LINK.findall("\n".join(prose(chapter))):
        if address.startswith("https://"):
            continue
        path, _, place = address.partition("#")
        target = (chapter.parent / path).resolve()
        assert target.is_file(), address
        if target.name == "glossary.md" and place:
            linked.add(place)
        elif place:
            headings = re.findall(r"^#+ (.+)$", "\n".join(prose(target)), re.MULTILINE)
            # As JupyterLab names them.
            assert place in [one.strip().replace(" ", "-") for one in headings], address
    assert linked <= terms
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
        # The opening may announce a word that the text then explains.
        before = [n for n in used if n > 0 and (not linked or n < linked[0])]
        assert not before, path.name
        if linked:
            return
    raise AssertionError(f"no chapter links {term}")
