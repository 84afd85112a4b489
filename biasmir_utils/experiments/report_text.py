"""A full report as Markdown: tables that can be pasted into a paper, and how to read them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from biasmir_utils.experiments.report import Report
from biasmir_utils.experiments.report_notes import (
    GROUPS_ARE_THE_TARGET,
    groups_are_the_target,
    items_of,
    notes,
    significance_note,
    warnings_of_the_corpus,
)
from biasmir_utils.experiments.report_tables import BOTH, LEVEL, MEAN, SETTING
from biasmir_utils.experiments.results import UNLABELLED
from biasmir_utils.experiments.shift import SHIFT_MEASURES
from biasmir_utils.experiments.targets import CATEGORY, LABEL, NUMBER, TAGS

METRIC_NAMES = {
    "roc_auc": "ROC-AUC",
    "average_precision": "average precision",
    "balanced_accuracy": "balanced accuracy",
    "brier": "Brier",
    "r2": "R2",
    "mae": "MAE",
}


def report_markdown(report: Report, record: Mapping[str, Any], figure: str | None = None) -> str:
    """Return the whole report.

    Parameters
    ----------
    report : Report
    record : dict
        Of the evaluation.
    figure : str, optional
        File name of the figure beside the report.
    """
    name = METRIC_NAMES[report.metric]
    parts = [
        f"# Corrections judged on the corpus {record['parameters']['corpus']}",
        provenance(report, record),
        "## Gain across datasets, loss inside",
        markdown_table(gains(report)),
        caption(report),
    ]
    if figure:
        seen = ", ".join(dict.fromkeys(report.summary["information"]))
        parts.append(
            f"![For each embedding a row for each correction: the gain of {name} across datasets "
            f"and the loss inside one (its axis runs backwards: further right is better in both), "
            f"with intervals, marked by what the correction has seen: {seen}.]({figure})"
        )
    parts += [f"## What the change of {name} does not tell", other_metrics(report)]
    parts += ["## What is left of the difference, and what was changed", shift_and_damage(report)]
    compared = modes_compared(report)
    if compared:
        parts += ["## What the labels of the target were worth", compared]
    parts += ["## How to read this", "\n".join(f"- {line}" for line in notes(report, record, name))]
    return "\n\n".join(parts) + "\n"


def report_summary(report: Report, record: Mapping[str, Any]) -> str:
    """Return the part of the report that is printed: its first table, with what it rests on."""
    parts = [markdown_table(gains(report)), caption(report), provenance(report, record)]
    if groups_are_the_target(report, record):
        parts.append(GROUPS_ARE_THE_TARGET)
    told, reachable = significance_note(report)
    parts += [] if reachable else [told]
    return "\n\n".join([*parts, *warnings_of_the_corpus(report)])


def provenance(report: Report, record: Mapping[str, Any]) -> str:
    """Return a paragraph: the data, the recogniser, the numbers of clips, seeds and versions."""
    asked, facts = record["parameters"], report.facts
    kinds = {
        LABEL: "one recogniser for each label",
        TAGS: "one model for all labels",
        CATEGORY: "multi-class",
        NUMBER: "regression",
    }
    test = "; ".join(_test_set(dataset, n) for dataset, n in facts["test"].items())
    seeds = facts["seeds"]
    of_seeds = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    table = next((name for name in record["data"] if name.startswith("clips.")), None)
    total = f"; clip table SHA-256 {record['data'][table][:16]}" if table else ""
    what = f"{kinds[report.kind]}, {facts['n_labels']} {items_of(report.kind, facts['n_labels'])}"
    return " ".join(
        [
            f"Corpus {asked['corpus']}{total}.",
            f"Target: {', '.join(asked['target'])} ({what}).",
            f"Recogniser: {asked['recogniser']}.",
            f"Mode: {' and '.join(asked['modes'])}.",
            f"Test sets: {test}.",
            f"Training clips drawn with {of_seeds} (n = {len(seeds)}).",
            f"{facts['n_replicates']} bootstrap draws of tracks.",
            f"Versions: {versions}.",
        ]
    )


def _test_set(dataset: str, n: Mapping[str, int]) -> str:
    text = f"{dataset} {n['clips']} clips of {n['tracks']} tracks"
    if n["fewest"] == n["clips"]:
        return text
    return f"{text}, of which one label was tested on {n['fewest']} to {n['most']}"


def caption(report: Report) -> str:
    """Return what the columns of the first table are."""
    name, facts = METRIC_NAMES[report.metric], report.facts
    level = f"{100 * LEVEL:.0f} %"
    text = (
        f"Gain and loss: change of mean {name} against no correction, tested on the other dataset "
        f"and on the same one, mean of both directions (n = {facts['n_labels']} "
        f"{items_of(report.kind, facts['n_labels'])}); in brackets {level} intervals from tracks "
        f"drawn again. p: paired Wilcoxon test over the {items_of(report.kind)}, Holm's correction "
        "over the corrections of an embedding and pair of datasets. Change of the smallest "
        f"across: the smallest {name} of the {items_of(report.kind)} across datasets (mean "
        "of both directions) with the correction, minus the smallest without; that need not be the "
        "same one. Needs: what the method needs of the target dataset; sees: what it was given "
        "here."
    )
    if len(facts["seeds"]) > 1:
        text += f" Seed SD: standard deviation of the gain over {len(facts['seeds'])} seeds."
    return text


def gains(report: Report) -> list[dict[str, str]]:
    """Return the rows of the table of gains and losses."""
    name, several = METRIC_NAMES[report.metric], len(report.facts["seeds"]) > 1
    rows = []
    for row in _rows(report.summary):
        cells = {
            **_first(report, row),
            "needs": row["needs"],
            "sees": row["information"],
            f"{name} across": _plain(row[f"{report.metric}_across"]),
            "gain across": _with_interval(row, "gain", "gain_low", "gain_high"),
            "p gain": _p(row.get("gain_p_holm")),
            "loss inside": _with_interval(row, "loss", "loss_low", "loss_high"),
            "p loss": _p(row.get("loss_p_holm")),
            "change of the smallest across": _signed(row.get("worst_label_across")),
        }
        if several:
            cells["seed SD"] = _plain(row.get("gain_seed_sd"))
        rows.append(cells)
    return rows


def other_metrics(report: Report) -> str:
    """Return the table of the changes of all other metrics, and of all pooled ones."""
    of_mean = report.task[(report.task["label"] == MEAN)]
    across = of_mean[(of_mean["train_set"] != of_mean["test_set"]) & (of_mean["test_set"] != BOTH)]
    values = across.groupby([*SETTING, "metric"], dropna=False, sort=False)["value"].mean()
    table = values.unstack("metric").reset_index()
    summary = report.summary.merge(table, on=list(SETTING), how="left", suffixes=("", "_value"))
    metrics = [name for name in METRIC_NAMES if name in table]
    rows = []
    for row in _rows(summary):
        cells = _first(report, row)
        for metric in metrics:
            if metric != report.metric:
                label = METRIC_NAMES[metric]
                start = f"{metric}_across_change"
                cells[f"{label} across"] = _plain(row[metric])
                cells[f"change of {label}"] = _with_interval(
                    row, start, f"{start}_low", f"{start}_high"
                )
        for metric in metrics:
            start = f"{metric}_pooled_change"
            cells[f"change of pooled {METRIC_NAMES[metric]}"] = _with_interval(
                row, start, f"{start}_low", f"{start}_high"
            )
        rows.append(cells)
    return markdown_table(rows)


def shift_and_damage(report: Report) -> str:
    """Return the table of what is left of the datasets' difference, and of the damage."""
    names = dict(
        zip(SHIFT_MEASURES, ("linear probe", "RBF probe", "mean gap", "squared MMD"), strict=True)
    )
    rows = []
    for row in _rows(report.summary):
        cells = _first(report, row)
        for measure, name in names.items():
            cells[name] = _plain(row[measure])
            cells[f"chance {name}"] = _plain(row[f"{measure}_chance"])
        cells["rank"] = f"{row['rank']:.3g}"
        cells["variance moved"] = _plain(row["variance_moved"])
        cells["by random projection"] = _plain(row["variance_moved_control"])
        cells["variance kept"] = _plain(row["variance_kept"])
        rows.append(cells)
    return markdown_table(rows)


def modes_compared(report: Report) -> str:
    """Return the table of `global` against `unlabelled`; empty if the report has not both."""
    changes = report.changes
    if changes.empty:
        return ""
    chosen = changes[changes["baseline"] == UNLABELLED]
    if chosen.empty:
        return ""
    main = report.metric
    shown = [(main, "across"), (main, "inside"), (main, "pooled")]
    if (chosen["metric"] == "balanced_accuracy").any():
        shown += [("balanced_accuracy", "across"), ("balanced_accuracy", "inside")]
    rows = []
    keys = ["embedding", "correction", "alpha", "pair"]
    for about, part in chosen.groupby(keys, sort=False, dropna=False):
        own = dict(zip(keys, about, strict=True))
        cells = _first(report, {**own, "mode": "global"}, with_mode=False)
        for metric, where in shown:
            (row,) = _rows(part[(part["where"] == where) & (part["metric"] == metric)])
            title = METRIC_NAMES[metric]
            title = f"pooled {title}" if where == "pooled" else f"{title} {where}"
            cells[title] = _with_interval(row, "change", "low", "high")
            if metric == main and where != "pooled":
                cells[f"p {where}"] = _p(row["p_holm"])
        rows.append(cells)
    return markdown_table(rows) + (
        f"\n\nEach column is a difference, mean over the {items_of(report.kind)}: with the paper's "
        "training clips (mode global: of both datasets, matched by their labels) minus without a "
        "look at the target's labels (mode unlabelled: recognisers trained on all clips of their "
        "own dataset, corrections fitted on clips of both that were drawn blindly). The row none "
        "is what the recognisers' clips alone are worth. The two modes differ in the number of "
        f"clips, too. p: of {METRIC_NAMES[main]}."
    )


def report_latex(report: Report, record: Mapping[str, Any]) -> str:
    """Return the first table as LaTeX (package booktabs), its caption what it rests on."""
    rows = gains(report)
    names = list(rows[0])
    lines = [" & ".join(map(_latex, names)), *(" & ".join(map(_latex, r.values())) for r in rows)]
    head, *body = [f"{line} \\\\" for line in lines]
    text = f"{caption(report)} {provenance(report, record)}"
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            "\\begin{table}",
            f"\\caption{{{_latex(text)}}}",
            f"\\begin{{tabular}}{{{'l' * len(names)}}}",
            *("\\toprule", head, "\\midrule", *body, "\\bottomrule"),
            "\\end{tabular}",
            "\\end{table}",
            "",
        ]
    )


def _latex(text: str) -> str:
    """Escape a text; numbers with a sign get a minus of mathematics."""
    text = re.sub(r"([%&_#$])", r"\\\1", text).replace("<", "$<$")
    return re.sub(r"(?<![\w.])([+-])(?=\d)", r"$\1$", text)


def markdown_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Return rows of texts as a Markdown table with aligned columns."""
    if not rows:
        return "(nothing)"
    names = list(rows[0])
    widths = [max(len(name), *(len(row[name]) for row in rows), 3) for name in names]
    lines = [
        "| " + " | ".join(n.ljust(w) for n, w in zip(names, widths, strict=True)) + " |",
        "|" + "|".join("-" * (width + 2) for width in widths) + "|",
    ]
    for row in rows:
        cells = (row[name].ljust(width) for name, width in zip(names, widths, strict=True))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def setting_name(row: Mapping[str, Any], with_mode: bool) -> str:
    """Return the name of a correction with its dose and, if asked for, its mode.

    What has nothing to fit is trained on the same clips as the mode `global`.
    """
    name = str(row["correction"])
    if not pd.isna(row["alpha"]) and row["alpha"] != 1:
        name += f" alpha={row['alpha']:g}"
    mode = "global" if row["mode"] == "none" else row["mode"]
    return f"{name} ({mode})" if with_mode else name


def _first(report: Report, row: Mapping[str, Any], with_mode: bool | None = None) -> dict[str, str]:
    summary = report.summary
    modes = set(summary["mode"]) - {"none"}
    if with_mode is None:
        with_mode = len(modes) > 1 or not modes <= {"global"}
    cells = {"embedding": str(row["embedding"])}
    if summary["pair"].nunique() > 1:
        cells["datasets"] = str(row["pair"])
    return {**cells, "correction": setting_name(row, with_mode)}


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _missing(value: Any) -> bool:
    return value is None or bool(np.isnan(value))


def _plain(value: Any) -> str:
    return "" if _missing(value) else f"{value:.3f}".replace("-0.000", "0.000")


def _signed(value: Any) -> str:
    text = "" if _missing(value) else f"{value:+.3f}"
    return "0.000" if text in ("+0.000", "-0.000") else text


def _with_interval(row: Mapping[str, Any], value: str, low: str, high: str) -> str:
    if _missing(row.get(value)):
        return ""
    return f"{_signed(row[value])} [{_signed(row[low])}, {_signed(row[high])}]"


def _p(value: Any) -> str:
    if _missing(value):
        return ""
    return "<.001" if value < 0.001 else f"{value:.3f}".lstrip("0") if value < 1 else "1"
