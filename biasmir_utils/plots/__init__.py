"""The figures of the book, one function each, in one style.

Every function takes a tidy table or arrays, draws with seaborn and matplotlib in the book's
style (`style`), and returns the Axes or Figure. matplotlib is loaded only when one is called.
"""

import types

from biasmir_utils.plots.clips import (
    category_means as category_means,
    domain_means as domain_means,
    projection as projection,
    spectrograms as spectrograms,
    toy_correction as toy_correction,
)
from biasmir_utils.plots.explained import (
    embedding_steps as embedding_steps,
    leaking_folds as leaking_folds,
    roc_and_pairs as roc_and_pairs,
)
from biasmir_utils.plots.scores import (
    change_by_label as change_by_label,
    changes as changes,
    dots_and_whiskers as dots_and_whiskers,
    falls as falls,
    gain_and_loss as gain_and_loss,
    joined_runs as joined_runs,
    published_changes as published_changes,
    published_pairs as published_pairs,
    ranking as ranking,
    score_distributions as score_distributions,
    train_test_pairs as train_test_pairs,
    worth_in_labels as worth_in_labels,
)
from biasmir_utils.plots.shifts import (
    closing_gap as closing_gap,
    cosine_grid as cosine_grid,
    cosine_similarities as cosine_similarities,
    factor_bars as factor_bars,
    found_and_lost as found_and_lost,
    group_shares as group_shares,
    label_by_group as label_by_group,
    shift_arrows as shift_arrows,
    transfer_grids as transfer_grids,
)
from biasmir_utils.plots.style import Look as Look, looks as looks, style as style

__all__ = sorted(
    name
    for name, value in globals().items()
    if not (name.startswith("_") or isinstance(value, types.ModuleType))
)
