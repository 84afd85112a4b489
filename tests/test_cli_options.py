"""Options with several values."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from biasmir_utils.cli import COMMANDS, main
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


SEEDED = {"compare", "correct", "evaluate", "import", "probe"}


def test_the_commands_with_a_seed_are_known():
    context = click.Context(main)
    commands = {name: main.get_command(context, name) for name in COMMANDS}
    seeded = {
        name
        for name, command in commands.items()
        if any("--seed" in option.opts for option in command.params)
    }
    assert seeded == SEEDED


@pytest.mark.parametrize("command", sorted(SEEDED))
@pytest.mark.parametrize("seed", [-1, 2**32])
def test_what_numpy_does_not_take_as_a_seed_is_refused(command, seed):
    done = CliRunner().invoke(main, [command, "corpus", "--seed", str(seed)])
    assert done.exit_code == 2
    assert f"{seed} is not in the range 0<=x<=4294967295" in done.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["correct", "--correction", "klda", "--embedding", "toy", "--out", "corrected"],
        ["evaluate", "--correction", "klda", "--embedding", "toy", "--jobs", "1"],
        ["probe", "--kind", "rbf", "--permutations", "1"],
    ],
)
def test_the_largest_seed_is_taken(tiny_corpus, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    command, *options = arguments
    done = CliRunner().invoke(main, [command, str(tiny_corpus), *options, "--seed", str(2**32 - 1)])
    assert done.exit_code == 0, done.output


def test_permutations_are_counted_from_none(tiny_corpus):
    def probe(permutations: int):
        arguments = ["--embedding", "toy", "--permutations", str(permutations)]
        return CliRunner().invoke(main, ["probe", str(tiny_corpus), *arguments])

    refused = probe(-3)
    assert refused.exit_code == 2
    assert "-3 is not in the range x>=0" in refused.output
    assert "chance_max" in probe(1).output
    without = probe(0)
    assert without.exit_code == 0
    assert "roc_auc" in without.output
    assert "chance" not in without.output
    assert "NaN" not in without.output
