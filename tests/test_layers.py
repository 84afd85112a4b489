"""The shape of the package: what may import what, one name for one thing, light to import."""

from __future__ import annotations

import ast
import collections
import graphlib
import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import biasmir_utils

PACKAGE = Path(biasmir_utils.__file__).parent
REPOSITORY = PACKAGE.parent

# From the bottom to the top.
LAYERS = (
    {"errors"},
    {"files"},
    {"cluster"},
    {"corpus"},
    {"datasets"},
    {"embeddings", "corrections"},
    {"experiments"},
    {"plots"},
    {"notebook", "cli"},
    {"__main__"},
)
# Part of the package -> the parts that it may import, besides itself.
MAY_IMPORT = {
    part: set().union(*LAYERS[:height]) for height, layer in enumerate(LAYERS) for part in layer
}
MAY_IMPORT[""] = {"corpus", "experiments", "files", "cli"}
# Where notebooks, book, tools, benchmarks and tests take names from.
PUBLIC = {
    "biasmir_utils",
    *(
        f"biasmir_utils.{part}"
        for part in ("corpus", "datasets", "embeddings", "corrections", "experiments", "plots")
    ),
    "biasmir_utils.notebook",
    "biasmir_utils.errors",
}
HEAVY = {
    "IPython",
    "dask",
    "distributed",
    "jupyter_book",
    "librosa",
    "matplotlib",
    "numba",
    "papermill",
    "pooch",
    "seaborn",
    "soundfile",
    "soxr",
    "sphinx",
    "tensorflow",
    "tensorflow_hub",
}
# Short names of array types, which each module has for its own annotations.
TYPE_NAMES = {"Array", "FloatArray", "Rows"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


def part_of(module: str) -> str:
    """`biasmir_utils.corpus.clip_table` -> `corpus`; the package itself -> the empty string."""
    return [*module.split("."), ""][1]


def imports_of(source: str):
    """Modules and names of this package that a file imports, anywhere in it, with the line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "biasmir_utils":
                    yield alias.name, None, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            if str(node.module).split(".")[0] == "biasmir_utils":
                for alias in node.names:
                    yield node.module, alias.name, node.lineno


def imported_modules(source: str):
    """As `imports_of`, with a module that is imported as a name under its own name."""
    names = {module_name(path) for path in modules()}
    for module, name, line in imports_of(source):
        whole = f"{module}.{name}"
        offered = name in getattr(importlib.import_module(module), "__all__", ())
        yield (whole if whole in names and not offered else module), line


@pytest.mark.parametrize("path", modules(), ids=module_name)
def test_imports_go_downward_and_by_public_names(path):
    mine = part_of(module_name(path))
    assert mine in MAY_IMPORT, f"{path}: give the new part {mine!r} a layer in this test"
    wrong = []
    for module, line in imported_modules(path.read_text(encoding="utf-8")):
        other = part_of(module)
        if other in (mine, ""):
            continue
        if other not in MAY_IMPORT[mine]:
            wrong.append(f"line {line}: {module} is not below")
        elif module.count(".") > 1:
            wrong.append(f"line {line}: take the name from biasmir_utils.{other}, not {module}")
    assert not wrong, f"{path}: " + "; ".join(wrong)


def test_no_module_needs_itself():
    """Imports make no cycle, those inside functions included."""
    graph = {}
    for path in modules():
        name = module_name(path)
        found = {m for m, _ in imported_modules(path.read_text(encoding="utf-8"))}
        graph[name] = found - {name, "biasmir_utils"}
    graphlib.TopologicalSorter(graph).prepare()


def test_a_name_has_one_meaning():
    homes = collections.defaultdict(set)
    for path in modules():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names = [node.name]
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
            else:
                continue
            for name in names:
                if not name.startswith("_") and name not in TYPE_NAMES:
                    homes[name].add(module_name(path))
    # A command has the name of the function that it calls, a figure that of the table it draws.
    twice = {
        name: sorted(where)
        for name, where in homes.items()
        if len({w for w in where if part_of(w) not in ("cli", "plots")}) > 1
    }
    assert not twice


def outside() -> list[Path]:
    """Everything beside the package that may use it."""
    folders = ("benchmarks", "book", "data/make", "notebooks", "tests", "tools")
    return sorted(
        path
        for folder in folders
        for path in (REPOSITORY / folder).rglob("*")
        if path.suffix in (".py", ".ipynb") and ".ipynb_checkpoints" not in path.parts
    )


def code_of(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return text
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    lines = "\n".join("".join(cell["source"]) for cell in cells).splitlines()
    # Commands to the shell and to IPython stand for a statement.
    magic = [line.lstrip()[:1] in ("!", "%") for line in lines]
    return "\n".join(
        line[: len(line) - len(line.lstrip())] + "pass" if is_magic else line
        for line, is_magic in zip(lines, magic, strict=True)
    )


@pytest.mark.parametrize("path", outside(), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_users_of_the_package_take_public_names(path):
    # The command is a program, so its tests may start it in this process; what makes data and book
    # writes files as the package does.
    allowed = PUBLIC | ({"biasmir_utils.cli"} if path.suffix == ".py" else set())
    if path.relative_to(REPOSITORY).parts[0] in ("data", "tools", "book"):
        allowed = allowed | {"biasmir_utils.files"}
    wrong = []
    for module, name, line in imports_of(code_of(path)):
        if module not in allowed:
            wrong.append(f"line {line}: {module} is not public")
        elif name and not hasattr(importlib.import_module(module), name):
            importlib.import_module(f"{module}.{name}")
            wrong += [f"line {line}: {module}.{name}"] * (f"{module}.{name}" not in allowed)
        elif name and (offered := getattr(sys.modules[module], "__all__", None)) is not None:
            public = name in offered or f"{module}.{name}" in allowed
            wrong += [f"line {line}: {module} does not offer {name}"] * (not public)
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


def code_lines(path: Path) -> int:
    """Lines without docstrings, comments and blanks."""
    text = path.read_text(encoding="utf-8")
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    docs: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            docs.update(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") and number not in docs
        for number, line in enumerate(text.splitlines(), 1)
    )


def test_the_package_is_small():
    """What a new colleague has to read: it may shrink, and 10,500 lines in 60 files are the aim."""
    assert sum(map(code_lines, modules())) <= 14_161
    assert len(modules()) <= 71
    long = [str(path) for path in modules() if len(path.read_text().splitlines()) > 1200]
    assert not long


def house(folder: Path = PACKAGE, depth: int = 0):
    """A line for each module: its name, and the first sentence of its docstring."""
    for path in [*sorted(folder.glob("*.py")), *sorted(folder.glob("*/__init__.py"))]:
        if path.name == "__init__.py" and path.parent == folder:
            continue
        name = f"{path.parent.name}/" if path.name == "__init__.py" else path.name
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        about = " ".join(doc.split("\n\n")[0].split()).rstrip(".")
        yield f"{'  ' * depth + name:<24}{about}"
        if name.endswith("/"):
            yield from house(path.parent, depth + 1)


def test_contributors_see_the_whole_house():
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    shown = text.split("```text\n")[1].split("```")[0]
    assert shown.splitlines() == list(house()), "paste:\n" + "\n".join(house())
