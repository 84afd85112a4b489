"""A full report as Markdown: tables that can be pasted into a paper, and how to read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from biasmir_utils.experiments.information import GROUPED
from biasmir_utils.experiments.planning import REPORT_SEEDS
from biasmir_utils.experiments.report import Report
from biasmir_utils.experiments.report_tables import BOTH, LEVEL, MEAN, SETTING
from biasmir_utils.experiments.shift import SHIFT_MEASURES
from biasmir_utils.experiments.significance import smallest_p
from biasmir_utils.experiments.targets import CATEGORY, GROUP, LABEL, NUMBER, TAGS

METRIC_NAMES = {
    "roc_auc": "ROC-AUC",
    "average_precision": "average precision",
    "balanced_accuracy": "balanced accuracy",
    "brier": "Brier",
    "r2": "R2",
    "mae": "MAE",
}
SIGNIFICANT = 0.05
TRAINING_RULES = {
    LABEL: "Training clips: as many with and as many without the label from both datasets, every "
    "genre in its share.",
    TAGS: "Training clips: as many from each dataset, every genre in its share. A tag that was not "
    "observed in a clip does not count there (for recognisers other than logistic it counts as "
    "absent in training).",
    CATEGORY: "Training clips: as many of each class from both datasets.",
    NUMBER: "Training clips: as many from each dataset, every genre in its share.",
}
GROUPS_ARE_THE_TARGET = (
    "The groups are the target here: corrections that use groups have seen the target's labels, "
    "and are marked so."
)


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
        gains(report),
        caption(report),
    ]
    if figure:
        seen = ", ".join(dict.fromkeys(report.summary["information"]))
        parts.append(
            f"![For each embedding and correction the loss of {name} inside a dataset (to the "
            f"right) against the gain across datasets (upwards), with intervals, marked by what "
            f"the correction has seen: {seen}.]({figure})"
        )
    parts += [f"## What the change of {name} does not tell", other_metrics(report)]
    parts += ["## What is left of the difference, and what was changed", shift_and_damage(report)]
    compared = modes_compared(report)
    if compared:
        parts += ["## What the labels of the target were worth", compared]
    parts += ["## How to read this", "\n".join(f"- {line}" for line in notes(report, record))]
    return "\n\n".join(parts) + "\n"


def report_summary(report: Report, record: Mapping[str, Any]) -> str:
    """Return the part of the report that is printed: its first table, with what it rests on."""
    parts = [gains(report), caption(report), provenance(report, record)]
    if _groups_are_the_target(report, record):
        parts.append(GROUPS_ARE_THE_TARGET)
    return "\n\n".join(parts)


def provenance(report: Report, record: Mapping[str, Any]) -> str:
    """Return a paragraph: the data, the recogniser, the numbers of clips, seeds and versions."""
    asked, facts = record["parameters"], report.facts
    kinds = {
        LABEL: "one recogniser for each label",
        TAGS: "one model for all labels",
        CATEGORY: "multi-class",
        NUMBER: "regression",
    }
    test = "; ".join(
        f"{dataset} {n['clips']} clips of {n['tracks']} tracks"
        for dataset, n in facts["test"].items()
    )
    seeds = facts["seeds"]
    of_seeds = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    table = next((name for name in record["data"] if name.startswith("clips.")), None)
    total = f"; clip table SHA-256 {record['data'][table][:16]}" if table else ""
    what = f"{kinds[report.kind]}, {facts['n_labels']} {_items(report.kind, facts['n_labels'])}"
    return " ".join(
        [
            f"Corpus {asked['corpus']}{total}.",
            f"Target: {', '.join(asked['target'])} ({what}).",
            f"Recogniser: {asked['recogniser']}.",
            f"Test sets: {test}.",
            f"Training clips drawn with {of_seeds} (n = {len(seeds)}).",
            f"{facts['n_replicates']} bootstrap draws of tracks.",
            f"Versions: {versions}.",
        ]
    )


def caption(report: Report) -> str:
    """Return what the columns of the first table are."""
    name, facts = METRIC_NAMES[report.metric], report.facts
    level = f"{100 * LEVEL:.0f} %"
    text = (
        f"Gain and loss: change of mean {name} against no correction, tested on the other dataset "
        f"and on the same one, mean of both directions (n = {facts['n_labels']} "
        f"{_items(report.kind, facts['n_labels'])}); in brackets {level} intervals from tracks "
        f"drawn again. p: paired Wilcoxon test over the {_items(report.kind)}, Holm's correction "
        "over the corrections of an embedding. Worst: change of the worst one. Needs: what the "
        "method needs of the target dataset; sees: what it was given here."
    )
    if len(facts["seeds"]) > 1:
        text += f" Seed SD: standard deviation of the gain over {len(facts['seeds'])} seeds."
    return text


def gains(report: Report) -> str:
    """Return the table of gains and losses."""
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
            "worst across": _signed(row.get("worst_label_across")),
        }
        if several:
            cells["seed SD"] = _plain(row.get("gain_seed_sd"))
        rows.append(cells)
    return markdown_table(rows)


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
            cells[f"pooled {METRIC_NAMES[metric]}"] = _with_interval(
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
        cells["random"] = _plain(row["variance_moved_control"])
        cells["variance kept"] = _plain(row["variance_kept"])
        rows.append(cells)
    return markdown_table(rows)


def modes_compared(report: Report) -> str:
    """Return the table of `global` against `unlabelled`; empty if the report has not both."""
    changes = report.changes
    if changes.empty:
        return ""
    chosen = changes[(changes["baseline"] == "unlabelled") & (changes["metric"] == report.metric)]
    if chosen.empty:
        return ""
    rows = []
    for about, part in chosen.groupby(["embedding", "correction", "alpha", "pair"], sort=False):
        own = dict(zip(("embedding", "correction", "alpha", "pair"), about, strict=True))
        cells = _first(report, {**own, "mode": "global"}, with_mode=False)
        for where in ("across", "inside"):
            (row,) = _rows(part[part["where"] == where])
            cells[where] = _with_interval(row, "change", "low", "high")
            cells[f"p {where}"] = _p(row["p_holm"])
        rows.append(cells)
    name = METRIC_NAMES[report.metric]
    return markdown_table(rows) + (
        f"\n\nMean {name} with the correction fitted on rows matched by label (mode global, the "
        "paper's) minus that with rows drawn without a look at labels (mode unlabelled); the "
        "recogniser's rows are the same. The two differ in the number of rows, too."
    )


def notes(report: Report, record: Mapping[str, Any]) -> list[str]:
    """Return what a reader must know to read the tables right."""
    facts, modes = report.facts, record["parameters"]["modes"]
    items, name = _items(report.kind), METRIC_NAMES[report.metric]
    seeds = facts["seeds"]
    lines = []
    if len(seeds) < REPORT_SEEDS:
        n = "One resampling seed" if len(seeds) == 1 else f"{len(seeds)} resampling seeds"
        lines.append(
            f"{n}: how much the choice of training clips matters is "
            f"{'not' if len(seeds) == 1 else 'hardly'} shown; --seeds {REPORT_SEEDS} shows it."
        )
    least = smallest_p(facts["n_labels"])
    n_tests = report.summary[["correction", "mode", "alpha"]].drop_duplicates().shape[0] - 1
    at_best = min(1.0, least * n_tests)
    lines.append(
        f"With {facts['n_labels']} {_items(report.kind, facts['n_labels'])} the smallest p that "
        f"the Wilcoxon test can give is {least:.2g}, after Holm's correction over {n_tests} "
        f"corrections {at_best:.2g}"
        + (": no change can be significant here." if at_best > SIGNIFICANT else ".")
    )
    lines.append(
        "Intervals hold for the recognisers at hand: tracks of the test sets are drawn again, "
        "nothing is fitted anew."
    )
    lines.append(TRAINING_RULES[report.kind])
    if report.kind in (LABEL, TAGS):
        lines.append(
            "Balanced accuracy is taken at the threshold that is best on the source's training "
            "clips, each scored by the fold that was not trained on it (3 folds)."
        )
    elif report.kind == CATEGORY:
        lines.append(
            "Balanced accuracy: mean recall of the classes, the class with the largest score being "
            "recognised. Brier: each class against the rest, mean over the classes."
        )
    if report.kind != NUMBER:
        lines.append(
            f"{name} on one test set cannot see a shift of all scores; balanced accuracy, Brier "
            "and the metrics pooled over both test sets can."
        )
    lines += [
        "The probes of the dataset (ROC-AUC, 5 folds, no track in training and test of a fold, "
        "features in units of their spread before any correction), "
        "the mean gap (in standard deviations of the embedding) and the squared MMD (Gaussian "
        "kernel, median bandwidth, unbiased) are measured on test clips, on which no correction "
        f"was fitted, for the fit of each of the {items} and averaged. Chance: the same with the "
        "datasets of tracks permuted, before any correction.",
        "Variance moved: mean squared change of a row over the total variance (it counts common "
        "shifts, and can exceed 1); beside it the expectation for a random projection of the same "
        "rank. Rank: directions removed.",
    ]
    seen = dict.fromkeys(report.summary["information"])
    if report.kind in (LABEL, CATEGORY) and {"global", "classwise"} & set(modes):
        shown = (
            "the difference is shown above"
            if "unlabelled" in modes
            else "--mode global unlabelled shows the difference"
        )
        lines.append(
            "The paper's protocol matches the training clips of both datasets by their labels "
            "before a correction is fitted, so every correction there has seen the target's "
            "labels, even if it needs none. --mode unlabelled fits on clips drawn without a look "
            f"at labels; {shown}."
        )
    if GROUPED in seen:
        lines.append("Grouped target: the genres of the target's training clips were used.")
    if _groups_are_the_target(report, record):
        lines.append(GROUPS_ARE_THE_TARGET)
    left = {dataset: n for dataset, n in record["left_out"].items() if n}
    if left:
        lines.append(
            "Clips left out for lack of an embedding: "
            + ", ".join(f"{dataset} {n}" for dataset, n in left.items())
            + "."
        )
    if record["skipped"]:
        lines.append(f"{len(record['skipped'])} skipped, with reasons in the record.")
    return lines


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
    """Return the name of a correction with its dose and, if asked for, its mode."""
    name = str(row["correction"])
    if not pd.isna(row["alpha"]) and row["alpha"] != 1:
        name += f" alpha={row['alpha']:g}"
    return f"{name} ({row['mode']})" if with_mode and row["mode"] != "none" else name


def _groups_are_the_target(report: Report, record: Mapping[str, Any]) -> bool:
    uses_groups = (report.summary["needs"] == GROUPED).any()
    return bool(uses_groups) and GROUP in record["parameters"]["target"]


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


def _items(kind: str, n: int = 2) -> str:
    one, several = {CATEGORY: ("class", "classes"), NUMBER: ("target", "targets")}.get(
        kind, ("label", "labels")
    )
    return one if n == 1 else several


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
