"""The figures of the book, one function each, in one style.

Every function takes a tidy table or arrays, draws with seaborn and matplotlib in the book's
style (`style`), and returns the Axes or Figure. matplotlib is loaded only when one is called.
"""

from biasmir_utils.plots.clips import (
    category_means,
    domain_means,
    frames,
    projection,
    spectrogram,
    toy_domains,
)
from biasmir_utils.plots.scores import (
    by_size,
    change_by_label,
    changes,
    dots_and_whiskers,
    falls,
    gain_and_loss,
    published_changes,
    published_pairs,
    ranking,
    score_distributions,
    train_test_pairs,
)
from biasmir_utils.plots.shifts import (
    closing_gap,
    cosine_grid,
    cosine_similarities,
    factor_bars,
    found_and_lost,
    group_shares,
    label_by_group,
    shift_arrows,
    singular_values,
)
from biasmir_utils.plots.style import Look, looks, style

__all__ = [
    "Look",
    "by_size",
    "category_means",
    "change_by_label",
    "changes",
    "closing_gap",
    "cosine_grid",
    "cosine_similarities",
    "domain_means",
    "dots_and_whiskers",
    "factor_bars",
    "falls",
    "found_and_lost",
    "frames",
    "gain_and_loss",
    "group_shares",
    "label_by_group",
    "looks",
    "projection",
    "published_changes",
    "published_pairs",
    "ranking",
    "score_distributions",
    "shift_arrows",
    "singular_values",
    "spectrogram",
    "style",
    "toy_domains",
    "train_test_pairs",
]
