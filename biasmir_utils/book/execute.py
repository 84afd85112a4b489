"""Run one notebook with papermill, and say what it took."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from biasmir_utils.errors import BookError
from biasmir_utils.files import atomic_path

# A cell that takes longer hangs: whole chapters are meant to take a minute.
CELL_TIMEOUT = 1200

_ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class NotebookRun:
    """What running a notebook took.

    Attributes
    ----------
    notebook : str
        Path of the notebook, relative to the repository, with forward slashes.
    title : str
        Its first heading.
    seconds : float
        From the start to the end of the execution, the kernel's start left out.
    slowest_seconds : float
        The seconds of its slowest cell.
    peak_megabytes : float
        The largest resident memory (10^6 bytes) of the kernel and its children together.
    source_sha256 : str
        Sum of the notebook that was run.
    """

    notebook: str
    title: str
    seconds: float
    slowest_seconds: float
    peak_megabytes: float
    source_sha256: str


def execute(source: Path, target: Path, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run the notebook `source` in its own folder and write the executed copy to `target`.

    What a reader cannot use (papermill's paths and times) is taken out of the copy, so that two
    runs with the same results give the same file.

    Parameters
    ----------
    source, target : pathlib.Path
    parameters : dict, optional
        Values for the names of the cell tagged `parameters`.

    Returns
    -------
    dict
        `title`, `seconds`, `slowest_seconds` and `peak_megabytes`, as in `NotebookRun`.

    Raises
    ------
    BookError
        A cell raised, hung, killed the kernel, or wrote to stderr.
    """
    import nbformat
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    with atomic_path(target) as temporary, _this_python_as_kernel(), _MemoryWatch() as memory:
        try:
            notebook = papermill.execute_notebook(
                source,
                temporary,
                parameters=parameters,
                kernel_name="python3",
                cwd=source.parent,
                progress_bar=False,
                request_save_on_cell_execute=False,
                execution_timeout=CELL_TIMEOUT,
            )
        except papermill.PapermillExecutionError as error:
            trace = _ANSI.sub("", "\n".join(error.traceback))
            raise BookError(
                f"{source.name}, cell {error.cell_index}: {error.ename}: {error.evalue}\n{trace}"
            ) from None
        except CellTimeoutError as error:
            raise BookError(
                f"{source.name}: a cell ran for over {CELL_TIMEOUT} s: {error}"
            ) from None
        except DeadKernelError as error:
            raise BookError(f"{source.name}: the kernel died (memory?): {error}") from None
        _refuse_stderr(notebook, source.name)
        record = {
            "title": title(notebook) or source.stem,
            "seconds": float(notebook.metadata.papermill["duration"]),
            "slowest_seconds": max(
                (cell.metadata.get("papermill", {}).get("duration") or 0.0)
                for cell in notebook.cells
            ),
            "peak_megabytes": memory.peak / 1e6,
        }
        notebook.metadata.pop("papermill", None)
        for cell in notebook.cells:
            cell.metadata.pop("papermill", None)
            cell.metadata.pop("execution", None)
        nbformat.write(notebook, temporary)
    return record


def title(notebook: Any) -> str | None:
    """Return the text of the first level-one heading of a notebook, or None."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for line in cell.source.splitlines():
                if line.startswith("# "):
                    return str(line[2:].strip())
    return None


def _refuse_stderr(notebook: Any, name: str) -> None:
    for index, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and output.name == "stderr":
                text = output.text.strip()[:600]
                raise BookError(
                    f"{name}, cell {index} wrote to stderr, which a reader would see in the "
                    f"book; mend the cause, or show it on purpose with print:\n{text}"
                )


@contextmanager
def _this_python_as_kernel() -> Iterator[None]:
    """Make `python3` mean this interpreter, whatever kernels the user has installed.

    JUPYTER_PATH comes before the user's and the system's folders.
    """
    with tempfile.TemporaryDirectory(prefix="biasmir-kernel-") as folder:
        kernel = Path(folder, "kernels", "python3")
        kernel.mkdir(parents=True)
        # What it logs goes to the terminal, not into the notebook: about its transport, its end.
        command = [sys.executable, "-m", "ipykernel_launcher", "--log-level=CRITICAL"]
        specification = {
            "argv": [*command, "-f", "{connection_file}"],
            "display_name": "Python 3 (ipykernel)",
            "language": "python",
        }
        (kernel / "kernel.json").write_text(json.dumps(specification), encoding="utf-8")
        before = os.environ.get("JUPYTER_PATH")
        os.environ["JUPYTER_PATH"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["JUPYTER_PATH"]
            else:
                os.environ["JUPYTER_PATH"] = before


class _MemoryWatch:
    """Follow the resident memory of this process's descendants, ten times a second.

    Pages that a kernel and its workers share are counted for each, so the peak is rather too
    high than too low.
    """

    def __init__(self, interval: float = 0.1) -> None:
        self.peak = 0
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _MemoryWatch:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        import psutil

        this = psutil.Process()
        while not self._stop.wait(self._interval):
            total = 0
            for process in this.children(recursive=True):
                try:
                    total += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self.peak = max(self.peak, total)
