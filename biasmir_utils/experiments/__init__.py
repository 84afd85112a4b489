"""Experiments on a corpus: recognisers inside and across datasets, and what they lose.

- `evaluate`: the paper's protocol, from training rows to a table of results with the metrics of
  `METRICS`; in steps, with files, `plan_evaluation`, `run_plan` and `write_evaluation`;
- `falls`, `changes`, `bootstrap_scores`, `refit_scores`: what is lost and gained, and how sure
  that is;
- `Report`: what corrections gain, lose and leave;
- `probe`, `dataset_separability`: how well the dataset can be read from an embedding;
- `compare`, `reproduce`: the paper's own results, and ours beside them; `join_runs`: our runs;
- `judge_on_renderings`: corrections where the true shift is known.

Functions here take a `Corpus` or plain arrays, return tables, and write no files, but those whose
name begins with `write`, `run_plan` where it is to keep finished tasks, and `reproduce`.
"""

import types

from biasmir_utils.experiments.bias import (
    cosine_similarity as cosine_similarity,
    direction_cosines as direction_cosines,
    direction_transfer as direction_transfer,
    distribution_distances as distribution_distances,
    group_counts as group_counts,
    label_counts as label_counts,
    mutual_information as mutual_information,
    random_cosine as random_cosine,
)
from biasmir_utils.experiments.counterfactual import (
    PARTS as PARTS,
    Renderings as Renderings,
    deal_pieces as deal_pieces,
    describe_shift as describe_shift,
    factor_shares as factor_shares,
    group_shifts as group_shifts,
    judge_on_renderings as judge_on_renderings,
)
from biasmir_utils.experiments.fewshot import (
    LABEL_SIZES as LABEL_SIZES,
    label_worth as label_worth,
)
from biasmir_utils.experiments.metrics import (
    METRICS as METRICS,
    Answers as Answers,
    Metric as Metric,
    alike as alike,
    best_threshold as best_threshold,
    metrics_of as metrics_of,
    recognition_metrics as recognition_metrics,
    register_metric as register_metric,
    roc_auc as roc_auc,
    weighted_metric as weighted_metric,
)
from biasmir_utils.experiments.paper import (
    PUBLISHED_CORRECTIONS as PUBLISHED_CORRECTIONS,
    PUBLISHED_DATASETS as PUBLISHED_DATASETS,
    PUBLISHED_EMBEDDINGS as PUBLISHED_EMBEDDINGS,
    PUBLISHED_MODES as PUBLISHED_MODES,
    compare as compare,
    comparison_text as comparison_text,
    published_claims as published_claims,
    published_cosines as published_cosines,
    published_figures as published_figures,
    reproduce as reproduce,
    write_comparison as write_comparison,
)
from biasmir_utils.experiments.protocol import (
    ExperimentData as ExperimentData,
    drawn_rows as drawn_rows,
    own_rows as own_rows,
    resample_by_group as resample_by_group,
    subject_rows as subject_rows,
)
from biasmir_utils.experiments.recognisers import (
    PAPER_C as PAPER_C,
    RECOGNISERS as RECOGNISERS,
    LogisticRecogniser as LogisticRecogniser,
    Span as Span,
    make_recogniser as make_recogniser,
    recogniser_names as recogniser_names,
    recogniser_scores as recogniser_scores,
)
from biasmir_utils.experiments.report import (
    Report as Report,
    information_used as information_used,
    report_latex as report_latex,
    report_markdown as report_markdown,
)
from biasmir_utils.experiments.results import (
    KEY_COLUMNS as KEY_COLUMNS,
    SCORE_COLUMNS as SCORE_COLUMNS,
    changes as changes,
    check_table_outputs as check_table_outputs,
    falls as falls,
    mean_over_labels as mean_over_labels,
    read_table as read_table,
    result_columns as result_columns,
    write_table as write_table,
)
from biasmir_utils.experiments.run import (
    OutputPaths as OutputPaths,
    TaskStore as TaskStore,
    evaluate as evaluate,
    join_runs as join_runs,
    plan_evaluation as plan_evaluation,
    run_plan as run_plan,
    task_keys as task_keys,
    write_evaluation as write_evaluation,
)
from biasmir_utils.experiments.separability import (
    compared_rows as compared_rows,
    damage as damage,
    dataset_separability as dataset_separability,
    dataset_shift as dataset_shift,
    left_over as left_over,
    mean_gap as mean_gap,
    measure_corrections as measure_corrections,
    nearest_in_other_tracks as nearest_in_other_tracks,
    probe as probe,
    probe_scale as probe_scale,
)
from biasmir_utils.experiments.stats import (
    Draws as Draws,
    TrackDraws as TrackDraws,
    bootstrap_scores as bootstrap_scores,
    holm as holm,
    interval_over_labels as interval_over_labels,
    paired_wilcoxon as paired_wilcoxon,
    refit_scores as refit_scores,
    small_sample_stretch as small_sample_stretch,
    smallest_p as smallest_p,
    with_intervals as with_intervals,
)

__all__ = sorted(
    name
    for name, value in globals().items()
    if not (name.startswith("_") or isinstance(value, types.ModuleType))
)
