"""The package is built in layers: a module imports only from the layers under its own."""

from __future__ import annotations

import ast
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import biasmir_utils

PACKAGE = Path(biasmir_utils.__file__).parent

# From the bottom to the top; `bias` is the public name of a module of `experiments`.
LAYERS = (
    {"__version__"},
    {"errors"},
    {"files"},
    {"cluster"},
    {"corpus"},
    {"datasets"},
    {"embeddings", "corrections"},
    {"experiments"},
    {"plots", "bias"},
    {"cli"},
    {"notebook"},
)
# Part of the package -> the parts that it may import, besides itself.
MAY_IMPORT = {
    part: set().union(*LAYERS[:height]) for height, layer in enumerate(LAYERS) for part in layer
}
# The two producers of corpora do not know the networks, nor each other; biasmir_utils/__init__.py
# offers the data model.
MAY_IMPORT[""] = {"__version__", "errors", "corpus"}
HEAVY = {
    "IPython",
    "dask",
    "distributed",
    "jupyter_book",
    "librosa",
    "matplotlib",
    "numba",
    "papermill",
    "seaborn",
    "soundfile",
    "soxr",
    "sphinx",
    "tensorflow",
    "tensorflow_hub",
    "tinysoundfont",
}


def modules():
    return [path.relative_to(PACKAGE) for path in sorted(PACKAGE.rglob("*.py"))]


def part_of(module: str) -> str:
    """`biasmir_utils.corpus.writer` -> `corpus`; the package itself -> the empty string."""
    return [*module.split("."), ""][1]


def imports_of(path: Path):
    """Modules of this package that a file imports, anywhere in it, with the line."""
    folder = path.relative_to(PACKAGE.parent).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(folder[: len(folder) - node.level + 1]) if node.level else ""
            base = ".".join(part for part in (start, node.module) if part)
            names = [base]
            if base == "biasmir_utils":
                names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "biasmir_utils":
                yield name, node.lineno


@pytest.mark.parametrize("path", modules(), ids=str)
def test_imports_go_downward(path):
    part = "" if path.name == "__init__.py" and len(path.parts) == 1 else path.parts[0]
    part = part.removesuffix(".py")
    assert part in MAY_IMPORT, f"{path}: give the new part {part!r} a layer in this test"
    wrong = [
        f"{path}, line {line}: imports {name}"
        for name, line in imports_of(PACKAGE / path)
        if part_of(name) != part and part_of(name) not in MAY_IMPORT[part]
    ]
    assert not wrong, "\n".join(wrong)


def test_no_module_loads_a_heavy_library_when_imported():
    found = [
        info.name
        for info in pkgutil.walk_packages([str(PACKAGE)], "biasmir_utils.")
        if not info.name.endswith("__main__")
    ]
    code = (
        "import importlib, json, sys\n"
        f"for name in {found!r}:\n"
        "    before = set(sys.modules)\n"
        "    importlib.import_module(name)\n"
        f"    heavy = sorted({HEAVY!r} & (set(sys.modules) - before))\n"
        "    if heavy: print(json.dumps([name, heavy]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = [json.loads(line) for line in done.stdout.splitlines()]
    assert not loaded, "import inside the functions that need it: " + str(loaded)


@pytest.mark.parametrize("path", modules(), ids=str)
def test_a_module_can_be_read_at_one_sitting(path):
    lines = len((PACKAGE / path).read_text(encoding="utf-8").splitlines())
    assert lines <= 1350, f"{path} has {lines} lines; split it"
