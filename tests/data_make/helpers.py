"""What the tests of the bundled corpora share."""

from __future__ import annotations

import subprocess
import sys

import demo


def run_demo(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `data/make/demo.py` with arguments, as a user does."""
    command = [sys.executable, demo.__file__, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def card_table(card: str, first_column: str) -> dict[str, list[str]]:
    """Rows of a data card's table with that heading, by their first cell."""
    lines = card[card.index(f"\n| {first_column} |") :].lstrip().splitlines()[2:]
    rows: dict[str, list[str]] = {}
    for line in lines:
        if not line.startswith("|"):
            break
        first, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        rows[first] = cells
    return rows
