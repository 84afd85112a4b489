"""The figures of the book, one function each, in one style.

Every function takes a tidy table or arrays, draws with seaborn and matplotlib in the book's
style (`style`), and returns the Axes or Figure. matplotlib is loaded only when one is called.
"""

from biasmir_utils.plots.bias import (
    cosine_similarities,
    group_shares,
    label_by_group,
    singular_values,
)
from biasmir_utils.plots.counterfactual import (
    closing_gap,
    cosine_grid,
    factor_bars,
    found_and_lost,
    shift_arrows,
)
from biasmir_utils.plots.erasure import by_size, domain_means
from biasmir_utils.plots.judging import gain_and_loss
from biasmir_utils.plots.pairs import ranking, train_test_pairs
from biasmir_utils.plots.points import category_means, projection, toy_domains
from biasmir_utils.plots.published import published_changes, published_pairs
from biasmir_utils.plots.scores import (
    change_by_label,
    changes,
    dots_and_whiskers,
    falls,
    label_scores,
    score_distributions,
)
from biasmir_utils.plots.sound import frames, spectrogram
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
    "label_scores",
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
