"""What commands share: options with one or more values, lists in the help, common options.

Click's options take a fixed number of values. `several` makes an option whose values go on until
the next option, as in `--embedding yamnet musicnn mfcc`, and `command` one that has such options:
it rewrites `--embedding a b` to `--embedding a --embedding b`, which click understands:

    @_options.command()
    @_options.corpus
    @_options.several("--embedding", "embeddings", required=True)
    def evaluate(corpus: Path, embeddings: tuple[str, ...]) -> None: ...

Repeating the option works too. Arguments stand before such an option, or after `--`. A function
that `command` is given as `listing` writes the end of the help, with click's formatter.

`SEED` is the type of every `--seed`: what NumPy takes as a seed, so that no other number gets as
far as a traceback.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

PATH: click.Path = click.Path(path_type=Path)
FOLDER: click.Path = click.Path(path_type=Path, file_okay=False)
SEED = click.IntRange(0, 2**32 - 1)


def text(value: str) -> str:
    """Return a name in somebody's data as it is matched, whatever its Unicode form."""
    from biasmir_utils.corpus import as_text

    return as_text(value)


NAME = click.types.FuncParamType(text)


class SeveralOption(click.Option):
    """An option with one or more values, given to the command as a tuple."""

    def make_metavar(self, ctx: click.Context) -> str:
        """Show in the help that more values may follow."""
        return f"{super().make_metavar(ctx)}..."


class SeveralCommand(click.Command):
    """A command that may have options with several values."""

    def __init__(self, *args: Any, listing: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.listing = listing

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """End the help with the names that an option knows; imported for the help only."""
        if self.listing is not None:
            self.listing(formatter)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat the option before each of its values, then parse as usual."""
        several = [option for option in self.params if isinstance(option, SeveralOption)]
        names = {name for option in several for name in option.opts}
        try:
            return super().parse_args(ctx, _repeat_options(args, names))
        except click.MissingParameter as error:
            if isinstance(error.param, click.Argument) and names & set(args):
                listed = " and ".join(sorted(names & set(args)))
                said = f"It stands before {listed}, which takes every value after it."
                raise click.MissingParameter(said, ctx=ctx, param=error.param) from error
            raise


def _repeat_options(args: list[str], names: set[str]) -> list[str]:
    """Return arguments in which each of several values has its option before it."""
    rewritten: list[str] = []
    option, n_values = None, 0
    for position, arg in enumerate(args):
        if arg == "--":
            return rewritten + args[position:]
        if arg.startswith("-") and arg != "-":
            name, _, value = arg.partition("=")
            option, n_values = (name, int(bool(value))) if name in names else (None, 0)
        elif option is not None:
            if n_values:
                rewritten.append(option)
            n_values += 1
        rewritten.append(arg)
    return rewritten


def _checked_scheduler(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    from biasmir_utils.cluster import check_scheduler

    if value is not None:
        check_scheduler(value)
    return value


command = functools.partial(click.command, cls=SeveralCommand)
several = functools.partial(click.option, cls=SeveralOption, multiple=True)
corpus = click.argument("corpus", type=PATH)
root = click.option(
    "--root",
    type=FOLDER,
    help="Folder of the files.  [default: $BIASMIR_DATA, or data in $BIASMIR_CACHE or the user's "
    "cache]",
)
base_url = click.option(
    "--base-url",
    metavar="URL",
    help="Mirror that has every file right under this address.  [default: $BIASMIR_BASE_URL]",
)
from_dir = click.option(
    "--from",
    "from_dir",
    type=FOLDER,
    help="Folder that has the files already; nothing is downloaded.",
)
embeddings = several("--embedding", "embeddings", type=NAME, help="Default: all of the corpus.")
jobs = click.option("--jobs", type=click.IntRange(min=1), help="Processes; default: all cores.")
scheduler = click.option(
    "--scheduler",
    metavar="ADDRESS|local",
    callback=_checked_scheduler,
    help="Dask scheduler whose workers do the work, or local to start workers here; needs the "
    "extra distributed.",
)


def seed(help: str, default: int = 0) -> Callable[[Any], Any]:
    """Return the option `--seed`, which says what it is of."""
    return click.option("--seed", type=SEED, default=default, show_default=True, help=help)
