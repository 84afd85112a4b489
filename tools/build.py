"""Build the book, into _build/html, from the notebooks that tools/execute.py ran.

    python tools/build.py [--out FOLDER]

The pages are copied beside the executed notebooks in _build/staged, and the prose of the chapters
into these; Jupyter Book makes the book from that tree, with execution off and every warning an
error. A number in a sentence that the run did not give is an error, too (tools/notebooks.py).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

import explorer
import notebooks
import sliders

ROOT = Path(__file__).resolve().parent.parent
PAGES = "_config.yml _toc.yml CITATION.cff CONTRIBUTING.md CHANGELOG.md book data/*/README.md"


def stage(staged: Path) -> None:
    """Copy the pages beside the executed notebooks, and compute what two of them show."""
    for name in ("book", "data"):
        shutil.rmtree(staged / name, ignore_errors=True)
    for notebook in (staged / "notebooks").glob("*.ipynb"):
        if not (ROOT / "notebooks" / notebook.name).is_file():
            notebook.unlink()
    for pattern in PAGES.split():
        for path in ROOT.glob(pattern):
            target = staged / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(path, target)
    explorer.write_data(staged / explorer.FOLDER)
    sliders.write_data(staged / sliders.FOLDER, explorer.demo_corpus())


def take_prose(executed: Path, sources: Path) -> list[str]:
    """Give executed notebooks the prose of their sources; return what in it is not true of the run.

    One whose code was changed since it was run stays as it is.
    """
    wrong = []
    for copy in sorted(executed.glob("*.ipynb")):
        ran, source = notebooks.read(copy), notebooks.normalise(notebooks.read(sources / copy.name))
        new = notebooks.with_outputs(source, ran)
        if new is None:
            print(f"notebooks/{copy.name}: its code has changed since it was run")
            new = ran
        else:
            before = copy.stat()
            nbformat.write(new, copy)
            # tools/execute.py tells by its time whether it has to be run.
            os.utime(copy, (before.st_atime, before.st_mtime))
        wrong += [f"notebooks/{copy.name}: {one}" for one in notebooks.check(new, ran)]
    return wrong


def build(out: Path) -> Path:
    """Make the pages in `out`/_build/html from those in `out`/_build/staged.

    Files are named in warnings as they are in the repository, so that whoever reads one edits the
    right file.
    """
    staged, html = out / "_build" / "staged", out / "_build" / "html"
    # Left-over pages of an earlier build would be published as if they were new.
    shutil.rmtree(html, ignore_errors=True)
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build"]
    command += [str(staged), "--path-output", str(out), "--all", "--quiet"]
    command += ["--warningiserror", "--nitpick", "--keep-going"]
    done = subprocess.run(command, cwd=staged, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}\n{done.stderr}".replace(f"{staged}/", ""))
    return html


def main() -> None:
    """Build the book."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT, help="where the folder _build goes")
    out = parser.parse_args().out.resolve()
    stage(out / "_build" / "staged")
    wrong = take_prose(out / "_build" / "staged" / "notebooks", ROOT / "notebooks")
    if wrong:
        said = "\n".join(wrong)
        sys.exit(f"{said}\npython tools/notebooks.py --fix writes the numbers anew")
    html = build(out)
    print(f"The book is ready: open {os.path.relpath(html / 'index.html')} in a browser.")


if __name__ == "__main__":
    main()
