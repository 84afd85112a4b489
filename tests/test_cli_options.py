"""Options with several values."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from biasmir_utils.cli._options import SeveralCommand, SeveralOption, repeat_options


@pytest.mark.parametrize(
    ("typed", "rewritten"),
    [
        ("c --e a b --out r.csv", "c --e a --e b --out r.csv"),
        ("c --e a --e b", "c --e a --e b"),
        ("c --e=a b", "c --e=a --e b"),
        ("c --e a --out r.csv d", "c --e a --out r.csv d"),
        ("c --e a b -- d", "c --e a --e b -- d"),
        ("c --e - b", "c --e - --e b"),
        ("c --e", "c --e"),
        ("c d", "c d"),
        ("", ""),
    ],
)
def test_repeating(typed, rewritten):
    assert repeat_options(typed.split(), {"--e"}) == rewritten.split()


@click.command(cls=SeveralCommand)
@click.argument("corpus")
@click.option("--embedding", "-e", "embeddings", cls=SeveralOption, required=True)
@click.option("--seed", "seeds", cls=SeveralOption, type=int, default=(0,))
@click.option("--out")
def command(corpus, embeddings, seeds, out):
    click.echo(repr((corpus, embeddings, seeds, out)))


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("c --embedding a b --seed 1 2 --out o", ("c", ("a", "b"), (1, 2), "o")),
        ("c -e a b", ("c", ("a", "b"), (0,), None)),
        ("--out o c --embedding a", ("c", ("a",), (0,), "o")),
        ("--embedding a b --out o c", ("c", ("a", "b"), (0,), "o")),
        ("--embedding a b -- c", ("c", ("a", "b"), (0,), None)),
    ],
)
def test_command(typed, expected):
    result = CliRunner().invoke(command, typed.split())
    assert result.output == f"{expected!r}\n"


def test_errors_and_help():
    swallowed = CliRunner().invoke(command, ["--embedding", "a", "c"])
    assert swallowed.exit_code == 2
    assert "stands before --embedding" in swallowed.output
    wrong = CliRunner().invoke(command, ["c", "--embedding", "a", "--seed", "1", "x"])
    assert "'x' is not a valid integer" in wrong.output
    assert "--embedding TEXT..." in CliRunner().invoke(command, ["--help"]).output
