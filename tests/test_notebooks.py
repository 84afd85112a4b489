"""The notebooks as they are committed; tests/test_book.py runs them and looks at the results."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import nbformat
import pytest
import yaml

from biasmir_utils.book.address import read_address

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# Tags by which a reader of the book does not see the code of a cell at first.
HIDDEN = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
TAGS = HIDDEN | {"parameters", "hide-output", "remove-output"}
CHAPTERS = ["01_embedding_extraction", "02_single_dataset_baselines", "03_cross_dataset_gap"]


def test_the_chapters_are_there_and_in_the_contents():
    names = [path.stem for path in NOTEBOOKS]
    assert names[:3] == CHAPTERS
    text = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    listed = re.findall(r"file: notebooks/(\S+)", text)
    assert listed == names, "every notebook is a chapter, in order"
    assert yaml.safe_load(text)["root"] == "book/introduction"


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell) -> set[str]:
    return set(cell.metadata.get("tags", []))


def test_the_format_is_valid_and_the_kernel_is_python3(notebook):
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"


def test_it_is_committed_without_outputs(notebook):
    for cell in code_cells(notebook):
        assert cell.outputs == []
        assert cell.execution_count is None
    assert "papermill" not in notebook.metadata
    assert "widgets" not in notebook.metadata


def test_it_begins_with_its_title_and_has_no_second_one(notebook):
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    assert len(re.findall(r"^# ", "\n".join(prose), re.MULTILINE)) == 1


def test_the_first_code_cell_installs_on_colab_and_is_left_out_of_the_book(notebook):
    cell = code_cells(notebook)[0]
    assert "remove-cell" in tags(cell)
    assert '"google.colab" in sys.modules' in cell.source
    assert f"git clone -q --depth 1 {read_address(ROOT)}\n" in cell.source
    pinned = re.findall(r"--no-deps musicnn==([\d.]+)", cell.source)
    pins = (ROOT / "requirements-nodeps.txt").read_text(encoding="utf-8")
    assert pinned == re.findall(r"^musicnn==([\d.]+)", pins, re.MULTILINE)


def test_two_to_four_parameters_in_one_cell(notebook):
    cells = [cell for cell in code_cells(notebook) if "parameters" in tags(cell)]
    assert len(cells) == 1
    body = ast.parse(cells[0].source).body
    assert 2 <= len(body) <= 4
    for node in body:
        assert isinstance(node, ast.Assign)
        ast.literal_eval(node.value)


def test_visible_code_is_short(notebook):
    for cell in code_cells(notebook):
        if not tags(cell) & HIDDEN:
            lines = [line for line in cell.source.splitlines() if line.strip()]
            assert len(lines) <= 10, cell.source


def test_tags_are_those_that_the_book_knows(notebook):
    for cell in notebook.cells:
        assert tags(cell) <= TAGS


def test_what_unfolds_a_cell_says_what_is_in_it(notebook):
    """The same words in all chapters, for the parameters and the solutions; else the book's own."""
    for cell in code_cells(notebook):
        if "remove-cell" in tags(cell):
            continue
        what = (
            "the parameters" if "parameters" in tags(cell)
            else "the solution" if "hide-cell" in tags(cell)
            else None
        )  # fmt: skip
        settings = cell.metadata.get("mystnb", {})
        prompts = (settings.get("code_prompt_show"), settings.get("code_prompt_hide"))
        assert prompts == ((f"Show {what}", f"Hide {what}") if what else (None, None)), cell.source


def test_prose_is_plain_markdown(notebook):
    """JupyterLab, Colab and GitHub would show MyST's directives and roles as they are."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            assert not re.search(r"^(```+|:::+)\{|\{[a-z:]+\}`", cell.source, re.MULTILINE), (
                cell.source
            )


def test_figures_have_caption_name_and_alternative_text(notebook):
    names = []
    for cell in code_cells(notebook):
        settings = cell.metadata.get("mystnb", {})
        assert set(settings) <= {"figure", "image", "code_prompt_show", "code_prompt_hide"}
        if "figure" in settings:
            assert len(settings["figure"]["caption"]) > 20
            names.append(settings["figure"]["name"])
            assert len(settings["image"]["alt"]) > 20
            assert settings["image"]["alt"] != settings["figure"]["caption"]
    assert all(re.fullmatch(r"fig-[a-z0-9-]+", name) for name in names)
    assert len(set(names)) == len(names)
    assert names, "a chapter has at least one figure"


def test_figure_names_are_unique_in_the_book():
    names = [
        cell.metadata["mystnb"]["figure"]["name"]
        for path in NOTEBOOKS
        for cell in code_cells(nbformat.read(path, as_version=4))
        if "figure" in cell.metadata.get("mystnb", {})
    ]
    assert len(set(names)) == len(names)
