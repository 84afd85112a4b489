"""Have Jupyter Book make the pages from the staged tree."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from biasmir_utils.book import explorer
from biasmir_utils.book.reference import write_parts
from biasmir_utils.book.slim import slim
from biasmir_utils.book.stage import find_notebooks, read_runs, timings_table
from biasmir_utils.corpus import Corpus
from biasmir_utils.errors import BookError
from biasmir_utils.files import sha256

# What the book is made from, beside the notebooks: files, folders, and patterns of files that
# pages include.
PAGES = (
    *("_config.yml", "_toc.yml", "book", "data/**/README.md"),
    *("CONTRIBUTING.md", "CHANGELOG.md"),
)

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def build(source: Path, build_folder: Path) -> Path:
    """Build the book from the executed notebooks in `build_folder`/staged.

    Parameters
    ----------
    source : pathlib.Path
        The repository; its pages are copied beside the staged notebooks.
    build_folder : pathlib.Path
        A folder named `_build`, as Jupyter Book wants it.

    Returns
    -------
    pathlib.Path
        The folder of the built pages, `build_folder`/html.

    Raises
    ------
    BookError
        A notebook has not been run, or was edited since; or the build gave a warning or error.
    """
    if build_folder.name != "_build":
        raise BookError(f"{build_folder}: Jupyter Book builds into a folder named _build")
    staged, html = build_folder / "staged", build_folder / "html"
    _check_staged(source, build_folder)
    _copy_pages(source, staged)
    (staged / "book" / "_timings.md").write_text(
        timings_table(read_runs(build_folder)), encoding="utf-8"
    )
    write_parts(source, staged / "book")
    if (staged / explorer.FOLDER / explorer.EXCERPTS).is_file():
        explorer.write_data(Corpus.load(source / explorer.CORPUS), staged / explorer.FOLDER)
    # Left-over pages of an earlier build would be checked, and published, as if they were new.
    for folder in (html, build_folder / ".doctrees", build_folder / "jupyter_execute"):
        shutil.rmtree(folder, ignore_errors=True)
    command = [
        *(sys.executable, "-c", "from jupyter_book.cli.main import main; main()"),
        *("build", str(staged), "--path-output", str(build_folder.parent)),
        *("--warningiserror", "--nitpick", "--keep-going", "--all", "--quiet"),
    ]
    done = subprocess.run(command, cwd=staged, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BookError(f"Jupyter Book found something to mend:\n{_reasons(done, staged)}")
    slim(html)
    return html


def _check_staged(source: Path, build_folder: Path) -> None:
    runs = {run.notebook: run.source_sha256 for run in read_runs(build_folder)}
    notebooks = find_notebooks(source)
    for name in notebooks:
        if name not in runs or not (build_folder / "staged" / name).is_file():
            raise BookError(f"{name} has not been run: make book")
        if runs[name] != sha256(source / name):
            raise BookError(f"{name} was edited since it was run: make book")


def _copy_pages(source: Path, staged: Path) -> None:
    for path in staged.iterdir():
        if path.name != "notebooks":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    kept = {staged / name for name in find_notebooks(source)}
    for path in (staged / "notebooks").iterdir():
        if path not in kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for pattern in PAGES:
        for path in source.glob(pattern):
            target = staged / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                shutil.copytree(path, target)
            else:
                shutil.copy2(path, target)


def _reasons(done: subprocess.CompletedProcess[str], staged: Path) -> str:
    """Return the warnings and errors of a build; all of its output if none is recognised.

    Files are named as in the repository, so that whoever reads it edits the right one.
    """
    output = _COLOUR.sub("", f"{done.stdout}\n{done.stderr}").replace(f"{staged}/", "")
    lines = [line for line in output.splitlines() if "WARNING" in line or "ERROR" in line]
    return "\n".join(lines) if lines else output.strip()
