"""Options that take one or more values: `--embedding yamnet musicnn mfcc`.

Click's options take a fixed number of values. `SeveralOption` marks an option whose values go
on until the next option, and `SeveralCommand`, the class of a command that has such options,
rewrites `--embedding a b` to `--embedding a --embedding b`, which click understands:

    @click.command(cls=SeveralCommand)
    @click.argument("corpus", type=click.Path(path_type=Path))
    @click.option("--embedding", "embeddings", cls=SeveralOption, required=True)
    def evaluate(corpus: Path, embeddings: tuple[str, ...]) -> None: ...

Repeating the option works too. Arguments stand before such an option, or after `--`.

`SEED` is the type of every `--seed`: what NumPy takes as a seed, so that no other number gets as
far as a traceback.
"""

from __future__ import annotations

from typing import Any

import click

SEED = click.IntRange(0, 2**32 - 1)


class SeveralOption(click.Option):
    """An option with one or more values, given to the command as a tuple."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["multiple"] = True
        super().__init__(*args, **kwargs)

    def make_metavar(self, ctx: click.Context) -> str:
        """Show in the help that more values may follow."""
        return f"{super().make_metavar(ctx)}..."


class SeveralCommand(click.Command):
    """A command that may have options of the class `SeveralOption`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat the option before each of its values, then parse as usual."""
        several = [option for option in self.params if isinstance(option, SeveralOption)]
        names = {name for option in several for name in option.opts}
        try:
            return super().parse_args(ctx, _repeat_options(args, names))
        except click.MissingParameter as error:
            if isinstance(error.param, click.Argument) and names & set(args):
                listed = " and ".join(sorted(name for name in names if name in args))
                raise click.MissingParameter(
                    f"It stands before {listed}, which takes every value after it.",
                    ctx=ctx,
                    param=error.param,
                ) from error
            raise


def _repeat_options(args: list[str], names: set[str]) -> list[str]:
    """Return arguments in which each of several values has its option before it.

    Parameters
    ----------
    args : list of str
        As typed.
    names : set of str
        The options that take several values.
    """
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


scheduler_option = click.option(
    "--scheduler",
    metavar="ADDRESS|local",
    callback=_checked_scheduler,
    help=(
        "Dask scheduler whose workers do the work, or local to start workers here; needs the "
        "extra distributed."
    ),
)
