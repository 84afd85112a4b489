"""The page "Corrections at a glance" says what the registry, the grammar and the benchmark say."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from biasmir_utils.corrections import (
    ALIASES,
    METHODS,
    SETS,
    Method,
    parse_correction,
    parse_corrections,
)
from biasmir_utils.errors import ArgumentError

SHARED = {"alpha", "groups", "kernel"}


@pytest.fixture
def page(repository: Path) -> str:
    return (repository / "book" / "corrections.md").read_text(encoding="utf-8")


def table(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table after a heading, without its head."""
    after = page.split(f"\n## {heading}\n")[1]
    lines = re.search(r"(?:^\|.*\n)+", after, re.MULTILINE)
    assert lines is not None
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in lines.group().splitlines()[2:]
    ]


def names_in(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def depends_on_the_domain(method: Method) -> bool:
    """Return whether the same rows, said to be of another domain, are corrected otherwise."""
    domain = np.repeat(["a", "b"], 20)
    X = np.random.default_rng(0).normal(size=(40, 3)) + (domain == "b")[:, np.newaxis]
    fitted = method.make().fit(X, sample_domain=domain)
    one, other = (fitted.transform(X, sample_domain=names) for names in (domain, domain[::-1]))
    return not np.array_equal(one, other)


def test_every_method_is_there_with_what_it_sees(page: str) -> None:
    rows = {names_in(row[0])[0]: row for row in table(page, "The methods")}
    assert list(rows) == list(METHODS)
    for name, method in METHODS.items():
        _, formula, sees, dataset, guarantee, *_ = rows[name]
        assert formula.startswith("$")
        assert sees == method.information == parse_correction(name).information
        assert dataset == ("yes" if depends_on_the_domain(method) else "no")
        assert guarantee


def test_costs_are_those_of_the_benchmark(page: str, repository: Path) -> None:
    text = (repository / "benchmarks" / "results" / "corrections.md").read_text(encoding="utf-8")
    assert text.split("\n")[2].startswith("10,000 rows")
    measured = dict(re.findall(r"^\| (\w+) \| 1,024 \| ([\d.]+) \|", text, re.MULTILINE))
    for row in table(page, "The methods"):
        name, seconds = names_in(row[0])[0], row[5]
        assert seconds == (f"{float(measured[name]):.2f}" if name in measured else "")


def test_every_short_name_is_there(page: str) -> None:
    found = {names_in(name)[0]: names_in(full)[0] for name, full in table(page, "Short names")}
    assert found == ALIASES
    assert set(SETS) <= set(names_in(page.split("## Short names")[1].split("## Options")[0]))


def test_every_option_is_there_with_the_methods_that_take_it(page: str) -> None:
    told: dict[str, set[str]] = {}
    for options, methods, _ in table(page, "Options"):
        for option in names_in(options):
            name = option.split("=")[0]
            takers = set(names_in(methods))
            if methods == "all":
                takers = set(METHODS)
            elif methods == "all but `none`":
                takers = set(METHODS) - {"none"}
            elif methods == "the same":
                takers = told[name]
            told[name] = takers
            for method in takers:
                value = option if "NAME" not in option else "to=irmas"
                parse_correction(f"{method}:{value}")
            for method in set(METHODS) - takers:
                with pytest.raises(ArgumentError):
                    parse_correction(f"{method}:{option}")
    assert set(told) == SHARED.union(*(method.parameters for method in METHODS.values()))


def test_no_name_is_unknown(page: str) -> None:
    """Whatever looks like a correction on the page is one."""
    for text in names_in(page):
        if re.fullmatch(r"[a-z_]+(:[\w=.,]+)", text):
            parse_correction(text)
    for command in re.findall(r"--correction ([\w:=, ]+?) --out", page):
        assert parse_corrections(command.split())
