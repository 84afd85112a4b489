"""A correction in one file of one's own reaches the command line, its help, reports and files."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from running import run_command

from biasmir_utils.corpus import Corpus
from biasmir_utils.corrections import (
    ALIASES,
    METHODS,
    SETS,
    load_correction,
    make_correction,
    parse_correction,
    save_correction,
)
from biasmir_utils.errors import ArgumentError

FILE = """
import numpy as np

from biasmir_utils.corrections import DomainTransformer, Method, Option, parameter


@Method(
    "flip",
    "turn the first features of the second dataset round",
    information="labelled target",
    aliases={"flop": "flip:first=2"},
    sets={"standard": ("flip",), "all": ("flip", "flop")},
)
class Flip(DomainTransformer):
    alpha: float = parameter(Option(low=0.0, high=1.0), default=1.0, kw_only=False)
    first: int = parameter(Option(low=1, whole=True), default=1)

    def _learn(self, X, y, domains, groups):
        self.sign_ = np.where(np.arange(X.shape[1]) < self.first, -1.0, 1.0)

    def _correct(self, X, sample_domain):
        moved = X.copy()
        rows = np.asarray(sample_domain) == self.domains_[-1]
        moved[rows] += (self.alpha * (self.sign_ - 1) * X[rows]).astype(X.dtype)
        return moved
"""


@pytest.fixture
def flip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    (tmp_path / "flipping.py").write_text(FILE)
    monkeypatch.syspath_prepend(tmp_path)
    with (
        patch.dict(METHODS),
        patch.dict(ALIASES),
        patch.dict(SETS),
        patch.dict(sys.modules),
    ):
        yield import_module("flipping").Flip


def test_it_is_known_by_name(flip: Any) -> None:
    made = make_correction("flop:alpha=0.5")
    assert isinstance(made, flip)
    assert (made.first, made.alpha) == (2, 0.5)
    assert str(parse_correction("flip:first=2")) == "flop"
    assert parse_correction("flip").information == "labelled target"
    assert list(METHODS)[-1] == "flip"
    assert (SETS["standard"][-1], SETS["all"][-2:]) == ("flip", ("flip", "flop"))
    with pytest.raises(ArgumentError, match="first must be a whole number from 1"):
        parse_correction("flip:first=0")
    with pytest.raises(ArgumentError, match="has no option 'groups'"):
        parse_correction("flip:groups=group")


def test_it_is_saved_and_loaded(flip: Any, tmp_path: Path) -> None:
    X, domain = np.random.default_rng(0).normal(size=(9, 3)), list("aabbabbba")
    fitted = flip(0.5, first=2).fit(X, sample_domain=domain)
    save_correction(tmp_path / "c.npz", fitted)
    again = load_correction(tmp_path / "c.npz")
    assert isinstance(again, flip)
    moved = again.transform(X, sample_domain=domain)
    np.testing.assert_array_equal(moved, fitted.transform(X, sample_domain=domain))
    assert not np.array_equal(moved, X)


def test_the_commands_know_it(flip: Any, tiny_corpus: Path, tmp_path: Path) -> None:
    assert "flip:first=2" in run_command("evaluate", "--help")
    out = tmp_path / "out"
    run_command("correct", tiny_corpus, "--correction", "flop", "--out", out)
    before, after = Corpus.load(tiny_corpus), Corpus.load(out)
    beta = (before.clips["dataset"] == "beta").to_numpy()
    expected = before.embedding("toy") * np.where(beta[:, None] & (np.arange(8) < 2), -1, 1)
    np.testing.assert_allclose(after.embedding("toy"), expected, atol=1e-6)
    table = tmp_path / "results.csv"
    options = ["--embedding", "toy", "--correction", "flip", "--report", "full", "--jobs", "1"]
    run_command("evaluate", tiny_corpus, *options, "--out", table)
    assert "flip" in table.read_text()
    assert "labelled target" in table.with_suffix(".report.md").read_text()
