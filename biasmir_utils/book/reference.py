"""Pages of the book that the program writes itself: commands, public names, models, citation.

Each is a part that a page of the book includes. They are made at every build, so that they cannot
say anything else than the program does.
"""

from __future__ import annotations

import importlib
import inspect
import textwrap
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from biasmir_utils.book import explorer
from biasmir_utils.book.steps import FOLDER as STEPS
from biasmir_utils.book.steps import steps_part, two_sounds_part
from biasmir_utils.corpus import Corpus
from biasmir_utils.errors import BookError
from biasmir_utils.files import atomic_path

HELP_WIDTH = 78
"""Columns of a help text in a terminal of 80 columns, as click lays it out."""

API: dict[str, tuple[str, ...]] = {
    "corpus": ("biasmir_utils.corpus", "biasmir_utils.errors"),
    "sources": ("biasmir_utils.datasets",),
    "embeddings": ("biasmir_utils.embeddings",),
    "corrections": ("biasmir_utils.corrections",),
    "experiments": ("biasmir_utils.experiments",),
    "plots": ("biasmir_utils.plots",),
}
"""The modules of each API page, `book/api-<name>.md`."""


def public_names(module: ModuleType) -> list[str]:
    """Return the names that a module offers: its `__all__`, or else what it defines itself."""
    listed = getattr(module, "__all__", None)
    if listed is None:
        listed = [
            name
            for name, value in vars(module).items()
            if (inspect.isfunction(value) or inspect.isclass(value))
            and value.__module__ == module.__name__
        ]
    return [name for name in listed if not name.startswith("_")]


def api_page(modules: tuple[str, ...]) -> str:
    """Return a part of a page that documents the public names of modules, from their docstrings.

    A table of all names comes first, with the first line of each.
    """
    parts = []
    for module_name in modules:
        module = importlib.import_module(module_name)
        names = public_names(module)
        callables = [name for name in names if callable(getattr(module, name))]
        data = [name for name in names if name not in callables]
        lines = [f".. automodule:: {module_name}", "", ".. autosummary::", "   :nosignatures:", ""]
        lines += [f"   {name}" for name in callables] + [""]
        for name in callables:
            lines += [*_directive(f"{module_name}.{name}", getattr(module, name)), ""]
        for name in data:
            lines += [f".. py:data:: {name}", "", f"   {_contents(module, name)}", ""]
        body = "\n".join(lines)
        parts.append(f"## {module_name}\n\n```{{eval-rst}}\n{body}\n```\n")
    return "\n".join(parts)


def _contents(module: ModuleType, name: str) -> str:
    value = getattr(module, name)
    if isinstance(value, dict):
        return f"A dictionary with the keys {', '.join(f'``{key}``' for key in value)}."
    return f"``{value!r}``"


def _directive(path: str, value: Any) -> list[str]:
    if not inspect.isclass(value):
        return [f".. autofunction:: {path}"]
    if issubclass(value, BaseException):
        return [f".. autoexception:: {path}"]
    # scikit-learn gives every transformer these, for its metadata routing.
    routing = [name for name in dir(value) if name.startswith("set_") and name.endswith("_request")]
    hidden = [f"   :exclude-members: {', '.join(routing)}"] if routing else []
    return [f".. autoclass:: {path}", "   :members:", *hidden]


def command_line() -> str:
    """Return a part of a page with the help of `biasmir` and of each of its commands."""
    parts = [_help_block(())]
    for path in commands():
        parts.append(f"{'#' * (1 + len(path))} {' '.join(path)}\n\n{_help_block(path)}")
    return "\n".join(parts)


def commands() -> list[tuple[str, ...]]:
    """Return the commands of `biasmir`, each followed by those that are commands of its own."""
    import click

    from biasmir_utils.cli import main

    context = click.Context(main)
    found: list[tuple[str, ...]] = []
    for name in main.list_commands(context):
        found.append((name,))
        command = main.get_command(context, name)
        if isinstance(command, click.Group):
            found += [(name, one) for one in command.list_commands(click.Context(command))]
    return found


def help_text(path: Sequence[str] = ()) -> str:
    """Return what `biasmir COMMAND --help` prints in a terminal of 80 columns."""
    import click

    from biasmir_utils.cli import main

    settings: dict[str, Any] = {"resilient_parsing": True, "terminal_width": HELP_WIDTH}
    command: click.Command = main
    context = main.make_context("biasmir", [], **settings)
    for name in path:
        found = command.get_command(context, name) if isinstance(command, click.Group) else None
        if found is None:
            raise BookError(f"biasmir has no command {' '.join(path)!r}")
        command = found
        context = command.make_context(name, [], parent=context, **settings)
    return command.get_help(context)


def _help_block(path: tuple[str, ...]) -> str:
    return f"```text\n$ {' '.join(['biasmir', *path])} --help\n{help_text(path)}\n```\n"


def models_table() -> str:
    """Return a table of what each embedding takes and gives, from the program's own constants."""
    from biasmir_utils.embeddings import mfcc, musicnn, openl3, tfhub

    rows: list[tuple[str, int, float | None, float | None, int]] = []
    for hub in (tfhub.Yamnet, tfhub.Vggish):
        hop = hub.hop_samples / tfhub.SAMPLE_RATE
        window = tfhub.WINDOW / tfhub.SAMPLE_RATE
        rows.append((hub.name, tfhub.SAMPLE_RATE, window, hop, hub.size))
    rows.append(
        (
            openl3.OpenL3.name,
            openl3.SAMPLE_RATE,
            openl3.WINDOW / openl3.SAMPLE_RATE,
            openl3.DEFAULT_HOP,
            openl3.FILTERS[-1],
        )
    )
    patch = musicnn.PATCH * musicnn.HOP_LENGTH / musicnn.SAMPLE_RATE
    for one in (
        musicnn.Musicnn,
        musicnn.MusicnnPenultimate,
        musicnn.MttMusicnn,
        musicnn.MsdVgg,
    ):
        rows.append((one.name, musicnn.SAMPLE_RATE, patch, patch, one.size))
    rows.append((mfcc.Mfcc.name, mfcc.SAMPLE_RATE, None, None, 2 * mfcc.N_MFCC))
    lines = [
        "| name | rate (Hz) | window (s) | hop (s) | dimension |",
        "|:--|--:|--:|--:|--:|",
    ]
    for name, rate, seen, step, size in rows:
        spans = [f"{one:.3f}" if one else "the whole clip" for one in (seen, step)]
        lines.append(f"| `{name}` | {rate:,} | {' | '.join(spans)} | {size:,} |")
    return "\n".join(lines) + "\n"


def citation(source: Path) -> str:
    """Return how to cite the book, as a sentence and as BibTeX, from `source`/CITATION.cff."""
    import yaml

    entry = yaml.safe_load((source / "CITATION.cff").read_text(encoding="utf-8"))
    paper = entry["references"][0]
    authors = [_person(author) for author in entry["authors"]]
    released = str(entry.get("date-released", ""))
    year = released[:4]
    book = [
        ("author", " and ".join(f"{{{name}}}" for name in authors)),
        ("title", f"{{{entry['title']}}}"),
        ("year", year),
        ("version", entry["version"]),
        ("url", entry["repository-code"]),
    ]
    proceedings = [
        ("author", " and ".join(_person(author, last_first=True) for author in paper["authors"])),
        ("title", paper["title"]),
        ("booktitle", paper["collection-title"]),
        ("year", str(paper["year"])),
        ("pages", f"{paper['start']}--{paper['end']}"),
        ("doi", paper["doi"]),
    ]
    of_year = f" ({year})" if year else ""
    text = (
        f"> {', '.join(authors)}{of_year}. *{entry['title']}*, version {entry['version']}. "
        f"<{entry['repository-code']}>\n"
    )
    entries = (
        _bibtex("software", "biasmir", book)
        + "\n"
        + _bibtex("inproceedings", "wang2023transfer", proceedings)
    )
    return f"{text}\n```bibtex\n{entries}```\n"


def _person(author: dict[str, str], last_first: bool = False) -> str:
    if "name" in author:
        return author["name"]
    if last_first:
        return f"{author['family-names']}, {author['given-names']}"
    return f"{author['given-names']} {author['family-names']}"


def _bibtex(kind: str, key: str, fields: list[tuple[str, str]]) -> str:
    lines = [f"  {name} = {{{value}}}," for name, value in fields if value]
    return textwrap.dedent(f"@{kind}{{{key},\n") + "\n".join(lines) + "\n}\n"


def write_parts(source: Path, pages: Path) -> list[Path]:
    """Write the parts that pages of the folder `pages` include, beside them.

    Parameters
    ----------
    source : pathlib.Path
        The repository.
    pages : pathlib.Path
        Its folder `book`, or a copy of it; a page that is not there gets no part.

    Returns
    -------
    list of pathlib.Path
        The parts: `_cli.md` for `cli.md`, and so on.
    """
    makers: dict[str, Callable[[], str]] = {
        "cli": command_line,
        "models": models_table,
        "cite": lambda: citation(source),
        "datasets": lambda: steps_part(source / STEPS),
        "introduction": lambda: two_sounds_part(
            Corpus.load(source / explorer.CORPUS), source / explorer.FOLDER
        ),
    }
    makers |= {f"api-{name}": partial(api_page, modules) for name, modules in API.items()}
    written = []
    for name, make in makers.items():
        if (pages / f"{name}.md").is_file():
            with atomic_path(pages / f"_{name}.md") as temporary:
                temporary.write_text(make(), encoding="utf-8")
            written.append(pages / f"_{name}.md")
    return written
