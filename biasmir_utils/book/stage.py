"""Run all notebooks into the tree that the book is built from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

from biasmir_utils.book.execute import NotebookRun, execute
from biasmir_utils.errors import BookError
from biasmir_utils.files import sha256, write_json

RUNS = "notebook_runs.json"


def find_notebooks(source: Path) -> list[str]:
    """Return the notebooks of the repository at `source`, as sorted relative paths."""
    found = sorted(
        path.relative_to(source).as_posix() for path in (source / "notebooks").glob("*.ipynb")
    )
    if not found:
        raise BookError(f"{source / 'notebooks'} holds no notebook (*.ipynb)")
    return found


def stage(
    source: Path,
    build: Path,
    only: Iterable[str] = (),
    report: Callable[[str], None] = lambda line: None,
) -> list[NotebookRun]:
    """Run the notebooks of `source` once, into `build`/staged.

    Parameters
    ----------
    source : pathlib.Path
        The repository.
    build : pathlib.Path
        The build folder; what each run took is kept in its `notebook_runs.json`.
    only : iterable of str
        Run only the notebooks whose path contains one of these; the others stay as they were
        run before. Empty: all of them.
    report : callable
        Called with a line of progress after each notebook.

    Returns
    -------
    list of NotebookRun
        One for each notebook that was run before or now, in order.

    Raises
    ------
    BookError
        A notebook failed (see `execute.execute`), or `only` fits none.
    """
    only = list(only)
    notebooks = find_notebooks(source)
    chosen = [name for name in notebooks if not only or any(part in name for part in only)]
    if not chosen:
        raise BookError(f"no notebook fits {', '.join(only)}; there are {', '.join(notebooks)}")
    runs = {run.notebook: run for run in read_runs(build)} if only else {}
    for name in chosen:
        record = execute(source / name, build / "staged" / name)
        run = NotebookRun(notebook=name, source_sha256=sha256(source / name), **record)
        runs[name] = run
        report(f"{name}: {run.seconds:.0f} s, at most {run.peak_megabytes:.0f} MB resident")
    ordered = [runs[name] for name in notebooks if name in runs]
    write_json(build / RUNS, [asdict(run) for run in ordered])
    return ordered


def read_runs(build: Path) -> list[NotebookRun]:
    """Return what the notebooks staged in `build` took; an empty list if none was run."""
    path = build / RUNS
    if not path.is_file():
        return []
    return [NotebookRun(**record) for record in json.loads(path.read_text(encoding="utf-8"))]


def timings_table(runs: Iterable[NotebookRun]) -> str:
    """Return a Markdown table of what the notebooks took, as an included file of the book."""
    lines = [
        "| Chapter | Seconds | Slowest cell (s) | Peak memory (MB) |",
        "|:--|--:|--:|--:|",
    ]
    total = 0.0
    for run in runs:
        total += run.seconds
        lines.append(
            f"| [{run.title}](/{run.notebook}) | {run.seconds:.1f} | {run.slowest_seconds:.1f} "
            f"| {run.peak_megabytes:.0f} |"
        )
    lines.append(f"| All chapters | {total:.1f} | | |")
    return "\n".join(lines) + "\n"
