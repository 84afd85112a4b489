"""The chapters as they are committed; tests/browser/test_pages.py looks at the book of them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import nbformat
import pytest
import yaml

import notebooks
from biasmir_book import term_anchor

ROOT = Path(__file__).resolve().parent.parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
QUICKSTART = ROOT / "notebooks" / "quickstart.ipynb"
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
    assert listed == [QUICKSTART.stem, *(path.stem for path in NOTEBOOKS)]


def test_the_quickstart_is_one_cell_one_table_and_one_picture():
    assert notebooks.normalise(read(QUICKSTART)) == read(QUICKSTART)
    cells = [cell for cell in code_cells(QUICKSTART) if not tags(cell)]
    assert [len(cell.source.splitlines()) <= 10 for cell in cells] == [True, True]
    assert "show_table(" in cells[0].source
    assert "figure" in cells[1].metadata.mystnb
    assert len(ast.parse(cells[1].source).body) == 1


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


def test_metadata_says_to_jupyterlab_and_colab_what_the_tags_say_to_the_book(chapter):
    """`python tools/notebooks.py --fix` sets it."""
    assert notebooks.normalise(read(chapter)) == read(chapter)


def test_prose_is_plain_markdown_under_one_title(chapter):
    """JupyterLab, Colab and GitHub would show MyST's directives and roles as they are."""
    text = "\n".join(prose(chapter))
    assert not re.search(r"^(```+|:::+)\{|\{[a-z:]+\}`", text, re.MULTILINE)
    assert text.startswith("# ")
    assert len(re.findall(r"^# ", text, re.MULTILINE)) == 1


def test_figures_have_caption_name_and_alternative_text(chapter):
    cells, figures = read(chapter).cells, 0
    for cell, after in zip(cells, [*cells[1:], None], strict=True):
        settings = cell.metadata.get("mystnb", {})
        if "figure" not in settings:
            continue
        figures += 1
        assert "caption" not in settings["figure"]
        assert after.cell_type == "markdown"
        assert after.metadata.tags == ["caption"]
        caption = after.source
        assert "\n\n" not in caption.strip()
        assert len(caption) > 20
        assert re.fullmatch(r"fig-[a-z0-9-]+", settings["figure"]["name"])
        assert len(settings["image"]["alt"]) > 20
        assert settings["image"]["alt"] != caption
    assert figures
    captions = [cell for cell in cells if "caption" in tags(cell)]
    assert len(captions) == figures


def test_no_code_writes_a_sentence_and_one_call_checks_them_all(chapter):
    cells = code_cells(chapter)
    for cell in cells:
        assert not re.search(r"\b(say|holds|number|listed|reveal)\b\(", cell.source), cell.source
    (check,) = (cell for cell in cells if "check_text(" in cell.source)
    assert tags(check) == {"remove-cell"}
    for text in prose(chapter):
        for paragraph in text.split("\n\n"):
            if not paragraph.lstrip().startswith(("|", "- ")):
                assert paragraph.count("<!--") <= 6, "the rest belongs to a table or a figure"


def test_what_is_hidden_is_one_call(chapter):
    """But for the set-up: the cells up to the first that a reader sees, or the first heading."""
    cells = read(chapter).cells
    begun = next(n for n, cell in enumerate(cells) if cell.source.startswith("## "))
    for cell in cells[begun:]:
        folded = tags(cell) & {"hide-input", "remove-input"}
        if cell.cell_type == "code" and folded and "parameters" not in tags(cell):
            assert len(ast.parse(cell.source).body) == 1, cell.source


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
    assert re.search(r"Run all cells: about \d+ s on two cores\b", " ".join(how_long.split()))


def test_it_closes_with_a_take_away_and_exercises_with_folded_solutions(chapter):
    headings = re.findall(r"^## .*$", "\n".join(prose(chapter)), re.MULTILINE)
    assert headings[-2:] == ["## To take away", "## Exercises"]
    cells = read(chapter).cells
    starts = [at for at, cell in enumerate(cells) if re.match(r"\*\*\d\. ", cell.source)]
    for number, at in enumerate(starts, start=1):
        assert cells[at].source.startswith(f"**{number}. ")
    cells, count = cells[starts[0] :], len(starts)
    # Two to think about, one to derive, one to code against an assert, and one open project.
    assert count == 5
    folds = sum(cell.source.count("<details><summary>") for cell in cells)
    assert folds >= 4, "all but the project have an answer"
    turns = [at for at, cell in enumerate(cells) if cell.source.startswith("# Your turn")]
    assert turns
    for at in turns:
        assert cells[at + 1].metadata.tags == ["hide-cell"]
    assert any("assert " in cell.source for cell in cells if cell.cell_type == "code")


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
