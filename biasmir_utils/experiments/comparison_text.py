"""A comparison in words and columns, as `biasmir compare` prints it; in points of 100."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from biasmir_utils.experiments.claims import PAIRS
from biasmir_utils.experiments.compare import BOTH, Comparison
from biasmir_utils.experiments.published import DATASETS

WIDTH = 100
PAIRS_BESIDE_EACH_OTHER = 2


def comparison_text(comparison: Comparison) -> str:
    """Return the report: means, falls, changes, claims, notes.

    All figures are ROC-AUC times 100, that is points; published ones stand in brackets. Where
    nothing was published, as for a corpus of one's own, only what the results say by themselves
    is told.
    """
    if not comparison.n_matched:
        return _own_text(comparison)
    parts = [
        f"Mean ROC-AUC x 100 (published), train>test\n{_means(comparison)}",
        f"Fall without correction x 100: in-domain minus cross-dataset, the test set held fixed "
        f"(published)\n{_falls(comparison)}",
    ]
    for baseline in ("none", "k"):
        table = comparison.quantity(f"change against {baseline}")
        if len(table):
            parts.append(
                f"Change x 100 against {baseline}, mean of the cross-dataset pairs (published)\n"
                f"{_changes(table)}"
            )
    parts.append(_claims(comparison))
    parts.extend(_wrapped(f"Note: {note}", 6) for note in comparison.notes)
    return "\n\n".join(parts)


def _own_text(comparison: Comparison) -> str:
    """Return the report for results that have no published counterpart."""
    how = _intervals_in_words(comparison)
    parts = [
        _wrapped(comparison.notes[0], 0),
        f"Mean ROC-AUC x 100, train>test\n{_means(comparison)}",
        f"Fall without correction x 100: in-domain minus cross-dataset, the test set held fixed,"
        f"\n{how}\n{_own_falls(comparison)}",
    ]
    for baseline in ("none", "k"):
        table = comparison.quantity(f"change against {baseline}")
        if len(table):
            parts.append(f"Change x 100 against {baseline}, {how}\n{_own_changes(table)}")
    parts.extend(_wrapped(f"Note: {note}", 6) for note in comparison.notes[1:])
    return "\n\n".join(parts)


def _own_falls(comparison: Comparison) -> str:
    """Write the falls: a row for each pair, with its interval, where two have no common mean."""
    table = comparison.quantity("fall")
    table = table[table["correction"] == "none"]
    if not len(table) or (table["train_set"] == BOTH).any():
        return _falls(comparison)
    rows = [
        {
            "": f"{cell['embedding']} {cell['train_set']}>{cell['test_set']}",
            "fall": _with_interval(cell, False),
        }
        for cell in table.to_dict("records")
    ]
    return _columns(rows)


def _own_changes(table: pd.DataFrame) -> str:
    """Write what each correction changed across datasets, and how much of it is clear."""
    across = table[table["train_set"] != table["test_set"]]
    n_pairs = len(across.drop_duplicates(["train_set", "test_set"]))
    rows: list[dict[str, str]] = []
    for key, part in across.groupby(["embedding", "correction", "mode"], sort=False):
        setting, row = _setting(*map(str, key)), {}
        for cell in part.to_dict("records"):
            pair = f"{cell['train_set']}>{cell['test_set']}"
            change = _with_interval(cell, True)
            if n_pairs > PAIRS_BESIDE_EACH_OTHER:
                rows.append({"": f"{setting} {pair}", "change": change})
            else:
                row[pair] = change
        if row:
            rows.append({"": setting, **row})
    text = _columns(rows)
    if across["low"].notna().any():
        gains, losses = int((across["low"] > 0).sum()), int((across["high"] < 0).sum())
        text += (
            f"\n  of {len(across)} changes, {gains} up and {losses} down with the whole interval "
            f"on one side of 0"
        )
    return text


def _intervals_in_words(comparison: Comparison) -> str:
    how = comparison.record["intervals"]
    if how["resampled"] == "nothing":
        return "without intervals: there is one label only"
    what = "tracks of the test sets" if how["resampled"] == "tracks" else "labels"
    return (
        f"with {100 * how['level']:g} % intervals ({what} resampled {how['n_replicates']:,} times)"
    )


def _means(comparison: Comparison) -> str:
    table = comparison.quantity("mean")
    found = dict.fromkeys(zip(table["train_set"], table["test_set"], strict=True))
    pairs = [pair for pair in PAIRS if pair in found]
    pairs += [pair for pair in found if pair not in pairs]
    rows = []
    for key, part in table.groupby(["embedding", "correction", "mode"], sort=False):
        row = {"": _setting(*map(str, key))}
        for train, test in pairs:
            cell = part[(part["train_set"] == train) & (part["test_set"] == test)]
            row[f"{train}>{test}"] = _beside(cell)
        rows.append(row)
    apart = table["difference"].dropna()
    if not comparison.n_matched:
        return _columns(rows)
    last = f"  {comparison.n_matched} of 144 published means matched"
    if len(apart):
        last += (
            f"; ours minus published from {_points(apart.min(), True)} to "
            f"{_points(apart.max(), True)}, {_points(apart.abs().mean())} in the mean of sizes"
        )
    return f"{_columns(rows)}\n{last}"


def _falls(comparison: Comparison) -> str:
    table = comparison.quantity("fall")
    table = table[table["correction"] == "none"]
    rows = []
    for embedding, part in table.groupby("embedding", sort=False):
        row = {"": str(embedding)}
        order = [*DATASETS, *sorted(set(part["test_set"]) - {*DATASETS, BOTH}), BOTH]
        for test in (name for name in order if (part["test_set"] == name).any()):
            cell = part[part["test_set"] == test]
            row["mean" if test == BOTH else f"on {test}"] = _beside(cell)
            if test == BOTH:
                row["interval"] = _interval(cell["low"].iloc[0], cell["high"].iloc[0])
        rows.append(row)
    return _columns(rows) if rows else "  no cross-dataset rows without correction"


def _changes(table: pd.DataFrame) -> str:
    across = table[table["train_set"] != table["test_set"]]
    embeddings = list(dict.fromkeys(across["embedding"]))
    rows = []
    for (correction, mode), part in across.groupby(["correction", "mode"], sort=False):
        row = {"": _setting(str(correction), str(mode))}
        for embedding in embeddings:
            row[embedding] = _beside(part[part["embedding"] == embedding], sign=True)
        rows.append(row)
    return _columns(rows)


def _claims(comparison: Comparison) -> str:
    lines = [f"Claims, {_intervals_in_words(comparison)}"]
    for number, claim in enumerate(comparison.claims, start=1):
        verdict = re.sub("^[^,:]+", lambda words: words[0].upper(), claim.verdict)
        lines.append(_wrapped(f"{number:3d}. {claim.statement}: {verdict}", 5))
        figures = f"published {_points(claim.published, True)}"
        if claim.lacking:
            figures = (
                f"published, over the same part, {_points(claim.published, True)}, over all "
                f"{_points(claim.published_whole, True)}"
            )
        if claim.holds is not None:
            interval = "" if np.isnan(claim.low) else f" {_interval(claim.low, claim.high, True)}"
            figures = f"ours {_points(claim.ours, True)}{interval}, {figures}"
        lines.append(_wrapped(f"     {claim.figure}: {figures}", 5))
    return "\n".join(lines)


def _setting(*words: str) -> str:
    return " ".join(word for word in words if word != "none") or "none"


def _beside(cells: pd.DataFrame, sign: bool = False) -> str:
    """Write ours and, in brackets, the published figure; the mean if there are several rows."""
    if cells.empty:
        return "-"
    published = cells["published"].mean(skipna=False)
    text = _points(cells["ours"].mean(), sign)
    return text if np.isnan(published) else f"{text} ({_points(published, sign)})"


def _points(value: float, sign: bool = False) -> str:
    if np.isnan(value):
        return "-"
    # Adding zero turns a rounded -0.0 into 0.0.
    rounded = round(100 * value, 2) + 0.0
    return f"{rounded:+.2f}" if sign else f"{rounded:.2f}"


def _interval(low: float, high: float, sign: bool = False) -> str:
    return f"[{_points(low, sign)}, {_points(high, sign)}]"


def _with_interval(cell: Mapping[Hashable, Any], sign: bool) -> str:
    text = _points(cell["ours"], sign)
    if np.isnan(cell["low"]):
        return text
    return f"{text} {_interval(cell['low'], cell['high'], sign)}"


def _columns(rows: list[dict[str, str]]) -> str:
    """Align rows of texts: the first column to the left, the others to the right."""
    table = pd.DataFrame(rows).fillna("-")
    widths = [max(len(str(name)), *table[name].map(len)) for name in table.columns]
    lines = []
    for cells in (list(map(str, table.columns)), *table.to_numpy().tolist()):
        first, *others = [
            cell.rjust(width) if position else cell.ljust(width)
            for position, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        lines.append("  ".join(["", first, *others]).rstrip())
    return "\n".join(lines)


def _wrapped(text: str, indent: int) -> str:
    return "\n".join(textwrap.wrap(text, WIDTH, subsequent_indent=" " * indent))
