"""Experiments on a corpus: recognisers inside and across datasets, and what they lose.

- `evaluate`: the paper's protocol, from training rows to a table of results;
- `resampling`, `recogniser`, `metrics`: its parts;
- `bootstrap`: intervals by resampling tracks;
- `separability`: how well the dataset can be read from an embedding.

Functions here take a `Corpus` or plain arrays, return tables, and write no files; `output`
writes them.
"""

from biasmir_utils.experiments.bias import (
    DirectionSpectrum,
    cosine_similarity,
    direction_cosines,
    direction_spectrum,
    direction_transfer,
    distribution_distances,
    group_counts,
    jensen_shannon,
    label_counts,
    mutual_information,
    random_cosine,
)
from biasmir_utils.experiments.counterfactual import (
    COUNTERFACTUAL_CORRECTIONS,
    ORACLES,
    PARTS,
    Renderings,
    describe_shift,
    factor_shares,
    group_shifts,
    judge_on_renderings,
)
from biasmir_utils.experiments.metrics import recognition_metrics, roc_auc, weighted_roc_auc
from biasmir_utils.experiments.paper import (
    PUBLISHED_CORRECTIONS,
    PUBLISHED_DATASETS,
    PUBLISHED_EMBEDDINGS,
    PUBLISHED_MODES,
    compare,
    comparison_text,
    published_claims,
    published_figures,
    reproduce,
    write_comparison,
)
from biasmir_utils.experiments.recognisers import PAPER_C, LogisticRecogniser, Span
from biasmir_utils.experiments.report import METRIC_NAMES, Report
from biasmir_utils.experiments.results import (
    changes,
    check_table_path,
    falls,
    read_table,
    write_table,
)
from biasmir_utils.experiments.run import (
    TaskStore,
    evaluate,
    output_paths,
    plan_evaluation,
    run_plan,
    set_aside,
    task_keys,
    write_evaluation,
)
from biasmir_utils.experiments.separability import (
    MAX_CLIPS,
    dataset_separability,
    left_over,
    nearest_in_other_tracks,
    probe,
)
from biasmir_utils.experiments.stats import (
    bootstrap_scores,
    interval_over_labels,
    track_weights,
    with_intervals,
)

__all__ = [
    "COUNTERFACTUAL_CORRECTIONS",
    "MAX_CLIPS",
    "METRIC_NAMES",
    "ORACLES",
    "PAPER_C",
    "PARTS",
    "PUBLISHED_CORRECTIONS",
    "PUBLISHED_DATASETS",
    "PUBLISHED_EMBEDDINGS",
    "PUBLISHED_MODES",
    "DirectionSpectrum",
    "LogisticRecogniser",
    "Renderings",
    "Report",
    "Span",
    "TaskStore",
    "bootstrap_scores",
    "changes",
    "check_table_path",
    "compare",
    "comparison_text",
    "cosine_similarity",
    "dataset_separability",
    "describe_shift",
    "direction_cosines",
    "direction_spectrum",
    "direction_transfer",
    "distribution_distances",
    "evaluate",
    "factor_shares",
    "falls",
    "group_counts",
    "group_shifts",
    "interval_over_labels",
    "jensen_shannon",
    "judge_on_renderings",
    "label_counts",
    "left_over",
    "mutual_information",
    "nearest_in_other_tracks",
    "output_paths",
    "plan_evaluation",
    "probe",
    "published_claims",
    "published_figures",
    "random_cosine",
    "read_table",
    "recognition_metrics",
    "reproduce",
    "roc_auc",
    "run_plan",
    "set_aside",
    "task_keys",
    "track_weights",
    "weighted_roc_auc",
    "with_intervals",
    "write_comparison",
    "write_evaluation",
    "write_table",
]
