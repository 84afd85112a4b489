"""Keep the chapters in order: their metadata, and the numbers in their sentences.

    python tools/notebooks.py [--fix] [FOLDER]

Every number in a sentence is marked with its name and format, `0.817<!-- home .3f -->`, and is
compared with what the chapter recorded (`check_text`) when it was run; every claim must hold.
FOLDER has the executed copies, by default _build/staged/notebooks. With --fix, the numbers are
written anew and the metadata set, in notebooks/; without it, what is wrong is listed.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

import nbformat

ROOT = Path(__file__).resolve().parent.parent
EXECUTED = Path("_build", "staged", "notebooks")
RECORD = "application/vnd.biasmir.text+json"
# A number with its sign and percent sign, or one word; emphasis may end between it and its mark.
MARK = re.compile(
    r"(?P<text>[+\-\u2212]?\d[\d,]*(?:\.\d+)?(?:[ \u00a0]?%)?|[^\W\d][^\s*`\[(|<>]*)(?P<end>[*`$]*)"
    r"<!--\s*(?P<name>[A-Za-z_]\w*)(?:\s+(?P<format>\S+))?\s*-->"
)
# Tags by which the book shows the code of a cell folded, or not at all.
FOLDED = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
PROMPTS = {"parameters": "the parameters", "hide-cell": "the solution"}
KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}


def normalise(notebook: Any) -> Any:
    """Set the metadata of a notebook from the tags of its cells, in place; take out what was run.

    JupyterLab and Colab know no tags: a cell that the book folds is folded there by keys of theirs.
    """
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    )
    for cell in notebook.cells:
        known = {key: cell.metadata[key] for key in ("tags", "mystnb") if key in cell.metadata}
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            _fold(known, set(known.get("tags", [])))
        cell.metadata = nbformat.from_dict(dict(sorted(known.items())))
    return notebook


def _fold(metadata: dict[str, Any], tags: set[str]) -> None:
    """Add to a code cell's metadata what its tags ask for."""
    folds = {
        "source_hidden": bool(tags & FOLDED),
        "outputs_hidden": bool(tags & {"hide-cell", "hide-output", "remove-output"}),
    }
    if any(folds.values()):
        metadata["jupyter"] = {key: True for key, folded in sorted(folds.items()) if folded}
    if folds["source_hidden"]:
        metadata["cellView"] = "form"
    shown = {k: v for k, v in metadata.pop("mystnb", {}).items() if not k.startswith("code_prompt")}
    for what in (PROMPTS[tag] for tag in PROMPTS if tag in tags):
        shown |= {"code_prompt_hide": f"Hide {what}", "code_prompt_show": f"Show {what}"}
    if shown:
        metadata["mystnb"] = dict(sorted(shown.items()))


def written(value: Any, form: str) -> str:
    """Write a value as it stands in prose: true minus, no sign before a zero, no break before %."""
    text = format(value, form)
    if isinstance(value, str):
        return text
    if not text.strip("+-0.,%"):
        text = text.lstrip("+-")
    return text.replace("-", "\N{MINUS SIGN}").replace("%", "\N{NO-BREAK SPACE}%")


def record(executed: Any) -> dict[str, Any] | None:
    """Return what `check_text` recorded in an executed notebook, if it was called there."""
    for cell in executed.cells:
        for output in cell.get("outputs", []):
            if RECORD in output.get("data", {}):
                return dict(output["data"][RECORD])
    return None


def renew(source: str, values: dict[str, Any]) -> tuple[str, list[str]]:
    """Return a cell of prose with its numbers as recorded, and what was wrong with the old ones."""
    wrong = []

    def mend(found: re.Match[str]) -> str:
        name = found["name"]
        if name not in values:
            wrong.append(f"{found[0]}: no value {name!r} was recorded")
            return found[0]
        try:
            new = written(values[name], found["format"] or "")
        except ValueError as error:
            wrong.append(f"{found[0]}: {error}")
            return found[0]
        # Of several words, those that stand there already.
        if " " in new and found.string[: found.end("text")].endswith(new):
            return found[0]
        old = found["text"]
        if old.replace(" ", "\N{NO-BREAK SPACE}") != new:
            wrong.append(f"{old} should be {new} ({name})")
        if " " in new:
            return found[0]
        return new + found[0].removeprefix(old)

    text = MARK.sub(mend, source)
    for lost in re.findall("<!--.*?-->", MARK.sub("", source), re.DOTALL):
        wrong.append(f"{lost}: no mark of a number; one is written 0.81<!-- name .2f -->")
    return text, wrong


def check(notebook: Any, executed: Any) -> list[str]:
    """Bring the prose of `notebook` in line with its executed copy; return what was wrong.

    Nothing is said of a notebook without marks and without `check_text`.
    """
    prose = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    recorded = record(executed)
    if recorded is None:
        marked = any("<!--" in cell.source for cell in prose)
        return ["numbers are marked, but no `check_text` recorded any"] if marked else []
    wrong = [f"does not hold: {name}" for name, true in recorded["claims"].items() if not true]
    used: set[str] = set()
    for cell in prose:
        used.update(found["name"] for found in MARK.finditer(cell.source))
        cell.source, stale = renew(cell.source, recorded["values"])
        wrong += stale
    return [
        *wrong,
        *(f"{name} is in no sentence" for name in recorded["values"] if name not in used),
    ]


def with_outputs(notebook: Any, executed: Any) -> Any | None:
    """Return a notebook with the outputs of its executed copy; None if other code was run there."""
    old, new = (
        [cell for cell in one.cells if cell.cell_type == "code"] for one in (executed, notebook)
    )
    if [cell.source for cell in old] != [cell.source for cell in new]:
        return None
    for ran, cell in zip(old, new, strict=True):
        cell.outputs, cell.execution_count = ran.outputs, ran.execution_count
    return notebook


def read(path: Path) -> Any:
    """Read a notebook."""
    return nbformat.read(path, as_version=4)


def keep(path: Path, copy: Path, fix: bool) -> list[str]:
    """Return what is wrong with a chapter; with `fix`, what is left when it was mended."""
    text = path.read_text(encoding="utf-8")
    notebook, found = normalise(read(path)), []
    executed = read(copy) if copy.is_file() else None
    if executed and with_outputs(read(path), executed) is None:
        print(f"notebooks/{path.name}: not compared, its code has changed since it was run")
        executed = None
    if executed:
        found = check(notebook, executed)
    mended = nbformat.writes(notebook) + "\n"
    if fix:
        path.write_text(mended, encoding="utf-8")
        # What cannot be written: a claim, a name, several words.
        return check(notebook, executed) if executed else []
    if mended != text and not found:
        return ["metadata not as the tags say, or outputs: --fix mends it"]
    return found


def main() -> None:
    """Check the chapters, or mend them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / EXECUTED)
    parser.add_argument("--fix", action="store_true", help="write numbers and metadata anew")
    options = parser.parse_args()
    wrong = [
        f"notebooks/{path.name}: {one}"
        for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
        for one in keep(path, options.folder / path.name, options.fix)
    ]
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
