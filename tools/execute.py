"""Run the notebooks with papermill, into _build/staged, from which tools/build.py makes the book.

    python tools/execute.py [--out FOLDER] [PART ...]

A notebook is left out when its code is what was run last and nothing else that it is made from (the
package, the bundled data, the pinned versions) is newer. With PARTs, only notebooks are run whose
name has one.
"""

from __future__ import annotations

import argparse
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import nbformat
import papermill
import psutil

import notebooks
import widths

ROOT = Path(__file__).resolve().parent.parent
# A cell that takes longer hangs: whole chapters are meant to take a minute.
CELL_SECONDS = 1200


def execute(source: Path, target: Path, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run the notebook `source` in its own folder and write the executed copy to `target`.

    What papermill notes about this machine and hour is taken out of the copy, so that two runs
    with the same results give the same file. Figures for other widths are drawn into the folder
    `widths` beside that of the copy.

    Parameters
    ----------
    source, target : pathlib.Path
    parameters : dict, optional
        Values for the names of the cell tagged `parameters`.

    Returns
    -------
    dict
        `seconds`; `slowest_cell`, in seconds; `peak_megabytes` (10^6 bytes), the largest resident
        memory of the kernel and its children together.
    """
    with _peak_memory() as peak:
        notebook = papermill.execute_notebook(
            source,
            None,
            parameters=parameters,
            kernel_name="python3",
            cwd=source.parent,
            progress_bar=False,
            execution_timeout=CELL_SECONDS,
            # What the kernel logs about its transport would be shown as output of a cell.
            extra_arguments=[
                "--log-level=CRITICAL",
                f"--IPKernelApp.exec_lines={widths.first_line()}",
            ],
        )
    notes = [cell.metadata.pop("papermill", {}) for cell in notebook.cells]
    run = {
        "seconds": notebook.metadata.pop("papermill")["duration"],
        "slowest_cell": max(note.get("duration") or 0.0 for note in notes),
        "peak_megabytes": max(peak) / 1e6,
    }
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    widths.draw_all(notebook, target.parent.parent / "widths")
    target.parent.mkdir(parents=True, exist_ok=True)
    half = target.with_suffix(".part")
    nbformat.write(notebook, half)
    half.replace(target)
    return run


@contextmanager
def _peak_memory() -> Iterator[list[int]]:
    """Measure this process's descendants, ten times a second; shared pages count for each."""
    seen, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            total = 0
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    total += process.memory_info().rss
            seen.append(total)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def is_current(source: Path, target: Path) -> bool:
    """Tell whether nothing that `target` was made from has changed since."""
    parts = [ROOT / "constraints.txt", *(ROOT / "biasmir_utils").rglob("*.py")]
    parts += [path for path in (ROOT / "data").rglob("*") if path.is_file()]
    if not target.is_file() or max(p.stat().st_mtime for p in parts) >= target.stat().st_mtime:
        return False
    return notebooks.with_outputs(notebooks.read(source), notebooks.read(target)) is not None


def main() -> None:
    """Run the notebooks that have to be run, and note what they took in staged/timings.json."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("part", nargs="*", help="run only notebooks whose name has one of these")
    parser.add_argument("--out", type=Path, default=ROOT, help="where the folder _build goes")
    options = parser.parse_args()
    staged = options.out.resolve() / "_build" / "staged"
    record = staged / "timings.json"
    known = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    sources = sorted((ROOT / "notebooks").glob("*.ipynb"))
    runs = {source.name: known[source.name] for source in sources if source.name in known}
    for source in sources:
        target = staged / "notebooks" / source.name
        if options.part and not any(part in source.name for part in options.part):
            continue
        if is_current(source, target) and source.name in runs:
            print(f"{source.name}: nothing has changed since it was run")
            continue
        print(f"{source.name}: ", end="", flush=True)
        runs[source.name] = run = execute(source, target)
        print(f"{run['seconds']:.0f} s, at most {run['peak_megabytes']:.0f} MB resident")
        record.write_text(json.dumps(runs, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
