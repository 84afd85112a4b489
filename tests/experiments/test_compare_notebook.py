"""Chapter 6 both ways: the published results alone, and with results of one's own."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from test_compare import as_measured

from biasmir_utils.datasets import prepare_paper
from biasmir_utils.experiments import write_table
from execute import execute

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "06_reproducing_the_paper.ipynb"

pytestmark = pytest.mark.xdist_group("chapter 6")


def run(folder: Path, **parameters: object) -> dict[str, str]:
    """What each cell shows, as text; images by their kind."""
    execute(NOTEBOOK, folder / "out.ipynb", parameters or None)
    shown = {}
    for cell in nbformat.read(folder / "out.ipynb", as_version=4).cells:
        texts = []
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            kinds = ("image/png", "text/markdown", "text/html", "text/plain")
            kind = next((kind for kind in kinds if kind in data), "")
            text = output.get("text", data.get(kind, ""))
            texts.append(kind if kind == "image/png" else re.sub("<[^>]+>", " ", text))
        shown[cell.id] = re.sub(r"\s+", " ", " ".join(texts))
    return shown


def test_by_default_it_shows_the_published_results(tmp_path):
    shown = run(tmp_path)
    assert shown["pairs"] == shown["changes"] == "image/png"
    assert shown["compared"].strip() == "No results were given."
    assert "yours" not in shown["claims"]


def test_with_a_corpus_it_evaluates_and_compares(shared, tmp_path):
    prepare_paper(shared / "oracle" / "a", tmp_path / "oracle")
    shown = run(tmp_path, CORPUS=str(tmp_path / "oracle"), CORRECTIONS=["none", "lda"])
    assert shown["pairs"] == shown["changes"] == "image/png"
    assert "16 of 144 published means matched" in shown["compared"]
    assert "irmas has 400 test clips here, 1,666 in the paper" in shown["compared"]
    assert re.search(
        r"VGGish falls across datasets \+6\.46 \+\d\.\d\d \[.*?\] holds", shown["claims"]
    )
    assert "not checked: the table lacks openl3 and yamnet" in shown["claims"]


def test_with_results_it_compares_them(tmp_path):
    write_table(as_measured(shift=0.002), tmp_path / "results.csv")
    shown = run(tmp_path, RESULTS=str(tmp_path / "results.csv"))
    assert "144 of 144 published means matched" in shown["compared"]
    assert "+0.20 to +0.20, mean size 0.20" in shown["compared"]
    assert len(re.findall(r"\] holds\b", shown["claims"])) == 10
    assert shown["check"] == ""
