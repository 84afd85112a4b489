"""Running notebooks and building pages from them, on a small book made for the test."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import nbformat
import pytest

from biasmir_utils.book.build import build
from biasmir_utils.book.checks import broken_links
from biasmir_utils.book.compare import differences
from biasmir_utils.book.execute import execute
from biasmir_utils.book.stage import find_notebooks, read_runs, stage, timings_table
from biasmir_utils.errors import BookError

CONFIG = """
title: A small book
only_build_toc_files: true
repository: {url: "https://github.com/OWNER/small", branch: main}
execute: {execute_notebooks: "off", stderr_output: error}
launch_buttons: {binderhub_url: "https://mybinder.org"}
html: {use_edit_page_button: true}
sphinx:
  recursive_update: true
  extra_extensions: [biasmir_utils.book.extension]
"""
TOC = "format: jb-book\nroot: book/start\nchapters:\n- file: notebooks/01_first\n"


def write_notebook(path: Path, *sources: str, heading: str = "# The first chapter") -> Path:
    notebook = nbformat.v4.new_notebook()
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "x", "language": "python"}
    notebook.cells = [nbformat.v4.new_markdown_cell(heading)]
    for source in sources:
        tags = {"tags": ["parameters"]} if source.startswith("seed =") else {}
        notebook.cells.append(nbformat.v4.new_code_cell(source, metadata=tags))
    notebook.cells.append(nbformat.v4.new_markdown_cell("## The end of it\n\nHere."))
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


@pytest.fixture
def book(tmp_path):
    source = tmp_path / "source"
    write_notebook(source / "notebooks" / "01_first.ipynb", "seed = 3", "print('seed', seed)")
    (source / "book").mkdir()
    (source / "book" / "start.md").write_text(
        "# Start\n\nSee {{ repository }}, and "
        "[how it ends](../notebooks/01_first.ipynb#The-end-of-it).\n"
    )
    (source / "_config.yml").write_text(CONFIG)
    (source / "_toc.yml").write_text(TOC)
    return source


def outputs(path: Path) -> str:
    notebook = nbformat.read(path, as_version=4)
    return "".join(
        output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])
    )


def test_the_kernel_is_this_python_whatever_else_is_installed(tmp_path, monkeypatch):
    """Another kernel named python3, where Jupyter would look first, must not be used."""
    other = tmp_path / "jupyter" / "kernels" / "python3"
    other.mkdir(parents=True)
    specification = {"argv": ["/bin/false"], "display_name": "other", "language": "python"}
    (other / "kernel.json").write_text(json.dumps(specification))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    notebook = write_notebook(tmp_path / "a.ipynb", "import sys; print(sys.executable)")
    execute(notebook, tmp_path / "out" / "a.ipynb")
    assert outputs(tmp_path / "out" / "a.ipynb").strip() == sys.executable


def test_a_notebook_runs_in_its_own_folder_and_its_memory_is_measured(tmp_path):
    notebook = write_notebook(
        tmp_path / "here" / "a.ipynb",
        "import os, time; print(os.getcwd())",
        "held = bytearray(os.urandom(1)) * 300_000_000; time.sleep(0.5)",
    )
    record = execute(notebook, tmp_path / "out" / "a.ipynb")
    assert outputs(tmp_path / "out" / "a.ipynb").strip() == str(notebook.parent)
    assert 300 < record["peak_megabytes"] < 1000
    assert 0 < record["slowest_seconds"] <= record["seconds"]
    assert record["title"] == "The first chapter"


def test_parameters_reach_the_cell_and_nothing_of_this_machine_stays(tmp_path):
    notebook = write_notebook(tmp_path / "a.ipynb", "seed = 3", "print('seed', seed)")
    target = tmp_path / "out" / "a.ipynb"
    execute(notebook, target, parameters={"seed": 8})
    assert "seed 8" in outputs(target)
    text = target.read_text()
    assert str(tmp_path) not in text
    assert '"papermill"' not in text


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("1 / 0", r"a.ipynb, cell 1: ZeroDivisionError"),
        ("import sys; print('oh', file=sys.stderr)", r"a.ipynb, cell 1 wrote to stderr.*\noh"),
        ("import warnings; warnings.warn('look out')", r"wrote to stderr.*\n.*look out"),
        ("import os; os._exit(1)", r"a.ipynb: the kernel died"),
    ],
)
def test_what_may_not_happen_in_a_notebook_is_an_error(tmp_path, source, message):
    notebook = write_notebook(tmp_path / "a.ipynb", source)
    with pytest.raises(BookError, match=message):
        execute(notebook, tmp_path / "out" / "a.ipynb")
    assert not list((tmp_path / "out").iterdir())


def test_stage_and_build(book, tmp_path):
    folder = tmp_path / "_build"
    said = []
    runs = stage(book, folder, report=said.append)
    assert [run.notebook for run in runs] == ["notebooks/01_first.ipynb"]
    assert said[0].startswith("notebooks/01_first.ipynb: ")
    assert read_runs(folder) == runs

    html = build(book, folder)
    page = (html / "notebooks" / "01_first.html").read_text()
    assert "seed 3" in page
    # Edit and launch links lead to the repository's notebook, not to the staged copy.
    assert "https://github.com/OWNER/small/edit/main/notebooks/01_first.ipynb" in page
    assert "OWNER/small/main?urlpath=tree/notebooks/01_first.ipynb" in page
    assert "thebe" not in page.lower()
    start = (html / "book" / "start.html").read_text()
    assert "https://github.com/OWNER/small" in start
    # A section is named as JupyterLab names it, and found.
    assert 'href="../notebooks/01_first.html#the-end-of-it"' in start
    assert broken_links(html) == []
    assert (html / "index.html").is_file()

    # A second build of the same pages gives the same files, byte for byte.
    first = {path: path.read_bytes() for path in html.rglob("*") if path.is_file()}
    build(book, folder)
    assert {path: path.read_bytes() for path in html.rglob("*") if path.is_file()} == first

    # A notebook that was edited must be run again, and a page that warns is an error.
    write_notebook(book / "notebooks" / "01_first.ipynb", "print('edited')")
    with pytest.raises(BookError, match="was edited since it was run: make book"):
        build(book, folder)
    stage(book, folder, only=["first"])
    (book / "book" / "start.md").write_text("# Start\n\n{ref}`nowhere`\n")
    with pytest.raises(BookError, match=r"\nbook/start\.md:3: WARNING: .*nowhere"):
        build(book, folder)
    # The page that failed is not left behind as if it were good.
    assert "edited" not in (html / "book" / "start.html").read_text()


def test_two_builds_from_one_commit_differ_in_the_timings_only(book, tmp_path):
    (book / "book" / "timings.md").write_text("# Timings\n\n```{include} _timings.md\n```\n")
    (book / "_toc.yml").write_text(f"{TOC}- file: book/timings\n")
    write_notebook(
        book / "notebooks" / "01_first.ipynb",
        "import matplotlib.pyplot as plt\nplt.plot([1, 3, 2]);",
        "import pandas as pd\npd.DataFrame({'a': [1, 2]})",
    )
    html = []
    for name in ("one", "two"):
        folder = tmp_path / name / "_build"
        runs = stage(book, folder)
        # However long it took: the second run is said to have taken longer.
        record = json.loads((folder / "notebook_runs.json").read_text())
        record[0]["seconds"] = runs[0].seconds + (77.7 if name == "two" else 0)
        (folder / "notebook_runs.json").write_text(json.dumps(record))
        html.append(build(book, folder))
    one, two = html
    timings = [(folder / "book" / "timings.html").read_text() for folder in html]
    assert timings[0] != timings[1]
    assert differences(one, two) == []

    page = two / "book" / "start.html"
    page.write_text(page.read_text().replace("<h1>Start", "<h1>Begin"))
    (two / "left-over.txt").write_text("x")
    (two / "objects.inv").write_bytes(b"\xff\x00")
    found = differences(one, two)
    assert [line.split()[0] for line in found] == [
        "book/start.html",
        "left-over.txt",
        "objects.inv",
    ]
    assert "<h1>Start" in found[0]
    assert "<h1>Begin" in found[0]
    with pytest.raises(BookError, match="holds no page; build the book first: make book"):
        differences(one, tmp_path / "one" / "_build" / "staged")


def test_only_some_notebooks_can_be_run(book, tmp_path):
    write_notebook(book / "notebooks" / "02_second.ipynb", "2", heading="# The second")
    folder = tmp_path / "_build"
    assert [run.title for run in stage(book, folder, only=["02"])] == ["The second"]
    with pytest.raises(BookError, match="has not been run: make book"):
        build(book, folder)
    assert len(stage(book, folder, only=["01"])) == 2
    with pytest.raises(BookError, match="no notebook fits 09; there are notebooks/01"):
        stage(book, folder, only=["09"])


def test_a_repository_without_notebooks_is_named(tmp_path):
    with pytest.raises(BookError, match="holds no notebook"):
        find_notebooks(tmp_path)


def test_the_build_folder_has_the_name_that_jupyter_book_wants(book, tmp_path):
    with pytest.raises(BookError, match="folder named _build"):
        build(book, tmp_path / "elsewhere")


def test_timings_are_a_table_with_a_row_for_each_chapter(book, tmp_path):
    runs = stage(book, tmp_path / "_build")
    lines = timings_table(runs).splitlines()
    assert lines[2].startswith("| [The first chapter](/notebooks/01_first.ipynb) | ")
    assert lines[-1].startswith("| All chapters | ")
    assert len({line.count("|") for line in lines}) == 1
