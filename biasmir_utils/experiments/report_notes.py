"""What a reader must know to read the tables of a full report right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from biasmir_utils.corrections.grammar import parse_correction
from biasmir_utils.experiments.information import GROUPED
from biasmir_utils.experiments.planning import REPORT_SEEDS, skipped_lines
from biasmir_utils.experiments.report import Report
from biasmir_utils.experiments.shift import N_FOLDS
from biasmir_utils.experiments.significance import smallest_p
from biasmir_utils.experiments.targets import CATEGORY, GROUP, LABEL, NUMBER, TAGS

SIGNIFICANT = 0.05
FEW_TRACKS = 20
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


def notes(report: Report, record: Mapping[str, Any], name: str) -> list[str]:
    """Return what a reader must know to read the tables right.

    Parameters
    ----------
    report : Report
    record : dict
        Of the evaluation.
    name : str
        Of the main metric, for readers.
    """
    facts, modes = report.facts, record["parameters"]["modes"]
    items = items_of(report.kind)
    seeds = facts["seeds"]
    lines = []
    if len(seeds) < REPORT_SEEDS:
        n = "One resampling seed" if len(seeds) == 1 else f"{len(seeds)} resampling seeds"
        lines.append(
            f"{n}: how much the choice of training clips matters is "
            f"{'not' if len(seeds) == 1 else 'hardly'} shown; --seeds {REPORT_SEEDS} shows it."
        )
    lines.append(significance_note(report)[0])
    lines.append(
        "Intervals hold for the recognisers at hand: tracks of the test sets are drawn again, "
        "nothing is fitted anew."
    )
    few = [name for name, n in facts["test"].items() if n["tracks"] < FEW_TRACKS]
    if few:
        lines.append(
            f"Fewer than {FEW_TRACKS} test tracks in {', '.join(few)}: intervals drawn from so few "
            f"are too narrow, and with fewer than {N_FOLDS} in a dataset there are no probes."
        )
    if {"global", "classwise"} & set(modes):
        rule = TRAINING_RULES[report.kind]
        lines.append(rule if facts["grouped"] else rule.replace(", every genre in its share", ""))
        if report.kind in (LABEL, CATEGORY):
            lines.append(
                "So the number of clips that a recogniser is trained on follows the label counts "
                "of the target, without a correction, too. The column sees is about the "
                "correction only."
            )
    if "unlabelled" in modes:
        lines.append(
            "In the mode unlabelled nothing depends on the target's labels: recognisers are "
            "trained on all observed training clips of their own dataset, corrections are fitted "
            "on as many clips of both, drawn blindly, and gains and losses are against none in "
            "that mode."
        )
    n_models = {LABEL: facts["n_labels"], TAGS: 1}.get(
        report.kind, len(record["parameters"]["target"])
    )
    n_draws = len(seeds) * n_models
    if "random" in set(report.summary["correction"].str.split(":").str[0]):
        lines.append(
            "The control random has a subspace of its own for each recogniser's target"
            + (" and seed" if len(seeds) > 1 else "")
            + f": its means are over {n_draws} draw{'' if n_draws == 1 else 's'}. The intervals "
            "hold these draws fixed" + ("; the seed SD holds them, too." if len(seeds) > 1 else ".")
        )
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
        "datasets of tracks permuted; of the probes before any correction, of mean gap and MMD "
        "after it.",
        "Variance moved: variance of the change of the rows over the variance of the rows (a "
        "translation of all rows alike does not count); beside it the expectation for a random "
        "projection of the same rank and dose. Rank: directions removed.",
    ]
    mapped = [
        one for one in dict.fromkeys(report.summary["correction"]) if parse_correction(one).kernel
    ]
    if mapped:
        lines.append(
            f"With random features ({', '.join(mapped)}) the probes, mean gap, MMD and variances "
            "are those of the features, not of the embedding: there are more of them, every row of "
            "them has length one, and they hold what a nonlinear probe would find. They are to be "
            "compared with k (none:kernel=fastfood), not with the corrections of the embedding. "
            "Their gains and losses, too, are against no features and no correction, so that they "
            "hold what the features alone change, which is the row k"
            + ("." if "k" in mapped else " (to be asked for with --correction).")
        )
    brier = report.task.loc[report.task["metric"] == "brier", "value"]
    if len(brier) and brier.isna().all():
        lines.append(
            f"Brier is blank: the recogniser {record['parameters']['recogniser']} gives scores, "
            "but no probabilities."
        )
    twins = _shared_tracks(report)
    if twins:
        lines.append(twins)
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
            f"labels, even if it needs none. --mode unlabelled does without them; {shown}."
        )
    if GROUPED in seen:
        lines.append("Grouped target: the genres of the target's training clips were used.")
    if groups_are_the_target(report, record):
        lines.append(GROUPS_ARE_THE_TARGET)
    left = {dataset: n for dataset, n in record["left_out"].items() if n}
    if left:
        lines.append(
            "Clips left out for lack of an embedding: "
            + ", ".join(f"{dataset} {n}" for dataset, n in left.items())
            + "."
        )
    if record["skipped"]:
        told = dict.fromkeys(
            line.removeprefix("skipped ") for line in skipped_lines(record["skipped"])
        )
        lines.append(f"Left out: {'; '.join(told)}.")
    for name, source in facts["corrected"].items():
        lines.append(
            f"The embedding {name} was corrected before ({source}). What that correction has seen "
            "is not in the column sees, and test clips may have been among those of its fit: its "
            "record is in corpus.json."
        )
    if (report.kind == NUMBER) and facts["n_labels"] > 1:
        lines.append(
            "The mean absolute error is not averaged over targets, which have units of their own; "
            "the table of tasks has it for each."
        )
    lines.append(
        "The columns of the tables of numbers are described at biasmir_utils.experiments.report."
    )
    return [*lines, *warnings_of_the_corpus(report)]


def significance_note(report: Report) -> tuple[str, bool]:
    """Return the smallest p that the tests could give, and whether that is significant."""
    n_labels = report.facts["n_labels"]
    corrected = report.summary[report.summary["correction"] != "none"]
    n_tests = corrected[["correction", "mode", "alpha"]].drop_duplicates().shape[0]
    least = smallest_p(n_labels)
    at_best = min(1.0, least * max(n_tests, 1))
    reachable = at_best <= SIGNIFICANT
    text = (
        f"With {n_labels} {items_of(report.kind, n_labels)} the smallest p that the Wilcoxon test "
        f"can give is {least:.2g}, after Holm's correction over {n_tests} "
        f"correction{'' if n_tests == 1 else 's'} (of one embedding and pair of datasets) "
        f"{at_best:.2g}{'.' if reachable else ': no change can be significant here.'}"
    )
    return text, reachable


def warnings_of_the_corpus(report: Report) -> list[str]:
    """Return the warnings that `biasmir info` gives of the corpus."""
    return [f"Warning of the corpus: {text}" for text in report.facts["warnings"]]


def _shared_tracks(report: Report) -> str:
    """Return what to say if datasets share tracks; nothing if they do not."""
    pairs = report.facts.get("shared_tracks", [])
    if not pairs:
        return ""
    return (
        f"{', '.join(pairs)}: the corpus says that a track of one name is the same track in both "
        "datasets. Probes, mean gap and MMD are of the tracks that both hold; both versions are in "
        "one fold of a probe, chance is the same with the datasets swapped within tracks, and the "
        "intervals draw the same tracks for both test sets."
    )


def groups_are_the_target(report: Report, record: Mapping[str, Any]) -> bool:
    """Return whether corrections have used groups that are what is recognised."""
    uses_groups = (report.summary["needs"] == GROUPED).any()
    return bool(uses_groups) and GROUP in record["parameters"]["target"]


def items_of(kind: str, n: int = 2) -> str:
    """Return what the subjects of a kind are called."""
    one, several = {CATEGORY: ("class", "classes"), NUMBER: ("target", "targets")}.get(
        kind, ("label", "labels")
    )
    return one if n == 1 else several
