"""What commands share: options with one or more values, lists in the help, common options.

Click's options take a fixed number of values. `SeveralOption` marks an option whose values go
on until the next option, as in `--embedding yamnet musicnn mfcc`, and `SeveralCommand`, the class
of a command that has such options, rewrites `--embedding a b` to `--embedding a --embedding b`,
which click understands:

    @click.command(cls=SeveralCommand)
    @click.argument("corpus", type=PATH)
    @click.option("--embedding", "embeddings", cls=SeveralOption, required=True)
    def evaluate(corpus: Path, embeddings: tuple[str, ...]) -> None: ...

Repeating the option works too. Arguments stand before such an option, or after `--`. The argument
`listing` of a `SeveralCommand` writes what stands at the end of its help.

`SEED` is the type of every `--seed`: what NumPy takes as a seed, so that no other number gets as
far as a traceback.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

PATH: click.Path = click.Path(path_type=Path)
FOLDER: click.Path = click.Path(path_type=Path, file_okay=False)
SEED = click.IntRange(0, 2**32 - 1)


class SeveralOption(click.Option):
    """An option with one or more values, given to the command as a tuple."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "multiple": True})

    def make_metavar(self, ctx: click.Context) -> str:
        """Show in the help that more values may follow."""
        return f"{super().make_metavar(ctx)}..."


class SeveralCommand(click.Command):
    """A command that may have options of the class `SeveralOption`."""

    def __init__(
        self,
        *args: Any,
        listing: Callable[[click.HelpFormatter], object] | None = None,
        **kwargs: Any,
    ) -> None:
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


corpus_argument = click.argument("corpus", type=PATH)
jobs_option = click.option(
    "--jobs", type=click.IntRange(min=1), help="Processes; default: all cores."
)
scheduler_option = click.option(
    "--scheduler",
    metavar="ADDRESS|local",
    callback=_checked_scheduler,
    help="Dask scheduler whose workers do the work, or local to start workers here; needs the "
    "extra distributed.",
)


def seed_option(help: str, default: int = 0) -> Callable[[Any], Any]:
    """Return the option `--seed`, which says what it is of."""
    return click.option("--seed", type=SEED, default=default, show_default=True, help=help)
