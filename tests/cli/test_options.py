"""Options with several values."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from biasmir_utils.cli import main


def table_of(tmp_path, *options: str) -> str:
    out = tmp_path / "table.csv"
    done = CliRunner().invoke(main, ["probe", "--permutations", "0", "--out", str(out), *options])
    assert done.exit_code == 0, done.output
    return out.read_text()


@pytest.mark.parametrize(
    "typed",
    [
        "CORPUS --embedding toy toy2",
        "CORPUS --embedding toy --embedding toy2",
        "CORPUS --embedding=toy toy2",
        "--embedding toy toy2 -- CORPUS",
        "--embedding toy toy2 --leaked CORPUS",
    ],
)
def test_options_take_several_values(tiny_corpus, tmp_path, typed):
    options = typed.replace("CORPUS", str(tiny_corpus)).split()
    told = table_of(tmp_path, *options)
    assert {line.split(",")[1] for line in told.splitlines()[1:]} == {"toy", "toy2"}


def test_what_an_option_has_swallowed_is_told():
    swallowed = CliRunner().invoke(main, ["probe", "--embedding", "toy", "corpus"])
    assert swallowed.exit_code == 2
    assert "stands before --embedding" in swallowed.output
    assert "--embedding TEXT..." in CliRunner().invoke(main, ["probe", "--help"]).output


SEEDED = {"compare", "correct", "evaluate", "import", "probe"}


def test_the_commands_with_a_seed_are_known():
    seeded = {
        name
        for name, command in main.commands.items()
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
