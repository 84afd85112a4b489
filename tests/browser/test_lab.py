"""Chapters as who runs them meets them: opened in a real JupyterLab, all cells run."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from running import absent

import notebooks

ROOT = Path(__file__).resolve().parent.parent.parent
# The cells of the notebook in front: what of them is seen, and where.
SEEN = """() => {
    const box = (one) => [one.getBoundingClientRect().top, one.getBoundingClientRect().bottom];
    return jupyterapp.shell.currentWidget.content.widgets.map((cell) => ({
        kind: cell.model.type,
        tags: cell.model.getMetadata("tags") ?? [],
        source: cell.model.sharedModel.source,
        errors: (cell.model.sharedModel.outputs ?? []).filter(
            (one) => one.output_type === "error" || one.name === "stderr"),
        editor: cell.editorWidget?.node.checkVisibility() ?? false,
        images: [...cell.node.querySelectorAll(".jp-OutputArea-output img")]
            .filter((one) => one.checkVisibility()).map(box),
        text: cell.node.innerText,
        box: box(cell.node),
    }));
}"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a JupyterLab, with settings of its own, on a copy of the chapters."""
    if importlib.util.find_spec("jupyterlab") is None:
        absent("no JupyterLab (make setup installs it)")
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    (folder / "data").symlink_to(ROOT / "data")
    settings = folder / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    # All cells stand in the page, not those alone that are in the window.
    (settings / "tracker.jupyterlab-settings").write_text(json.dumps({"windowingMode": "none"}))
    homes = {f"JUPYTER_{kind}_DIR": str(folder / kind) for kind in ("CONFIG", "DATA", "RUNTIME")}
    homes |= {"JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces")}
    homes |= {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings")}
    words = (
        "-m jupyterlab --no-browser --allow-root --ip=127.0.0.1 --port=0 --IdentityProvider.token="
    )
    options = ["--expose-app-in-browser", "--LabApp.news_url=None"]
    options += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    log = folder / "log"
    with log.open("w") as said:
        server = subprocess.Popen(
            [sys.executable, *words.split(), *options, f"--ServerApp.root_dir={folder}"],
            stdout=said,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **homes},
        )
        found = None
        for line in server.stderr:
            if found := re.search(r"http://127\.0\.0\.1:\d+/lab\b", line):
                break
            said.write(line)
    assert found, log.read_text()
    # What it says further on is nobody's, and must not fill the pipe.
    threading.Thread(target=server.stderr.read, daemon=True).start()
    yield found[0]
    server.terminate()
    server.wait()


@pytest.mark.parametrize("chapter", ["02", "03", "06"])
def test_a_chapter_reads_well_in_jupyterlab_when_all_its_cells_are_run(lab, new_page, chapter):
    (path,) = (ROOT / "notebooks").glob(f"{chapter}_*.ipynb")
    page = new_page()
    page.set_default_timeout(120_000)
    # A workspace of its own: another one would open the chapter before, too.
    page.goto(f"{lab}/workspaces/{chapter}/tree/notebooks/{path.name}")
    page.locator(".jp-NotebookPanel .jp-Notebook .jp-MarkdownOutput").first.wait_for()
    page.evaluate("jupyterapp.shell.currentWidget.sessionContext.ready")
    page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")
    cells = page.evaluate(SEEN)
    assert any(cell["images"] for cell in cells)
    for cell, after in zip(cells, [*cells[1:], None], strict=True):
        assert cell["errors"] == [], cell["source"]
        assert "<!--" not in cell["text"]
        if cell["kind"] == "code":
            assert cell["editor"] == (not notebooks.FOLDED & set(cell["tags"])), cell["source"]
            lines = [line for line in cell["source"].splitlines() if line.strip()]
            assert not cell["editor"] or len(lines) <= 10
        if cell["images"]:
            assert after["tags"] == ["caption"], cell["source"]
            assert after["text"].strip()
            assert 0 <= after["box"][0] - cell["images"][-1][1] < 100, "directly beneath"
