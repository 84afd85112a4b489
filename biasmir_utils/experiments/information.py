"""What a correction was allowed to see of the dataset that its recogniser is taken to.

The levels, from nothing to everything, are `corrections.registry.INFORMATION`: `source only`;
`unlabelled target`, its training clips; `grouped target`, with their genres; `labelled target`,
with the labels that are to be recognised.

What a method needs is one thing, what an experiment gives it another. The paper's protocol fits
every correction on training rows that were matched by their labels, the target's too, so there
even a correction that needs no labels has seen some, or, where rows are only drawn by the shares
of the genres (tags, numbers), the genres. The mode `unlabelled` does neither.
"""

from __future__ import annotations

from collections.abc import Sequence

from biasmir_utils.corrections.grammar import Correction
from biasmir_utils.corrections.registry import INFORMATION
from biasmir_utils.experiments.results import UNLABELLED as UNLABELLED_MODE
from biasmir_utils.experiments.targets import CATEGORY, GROUP, LABEL

SOURCE_ONLY, UNLABELLED, GROUPED, LABELLED = INFORMATION


def information_used(
    spec: Correction,
    mode: str = "global",
    kind: str = LABEL,
    targets: Sequence[str] = (),
    grouped: bool = True,
) -> str:
    """Return what a correction sees of the target dataset in an experiment.

    Parameters
    ----------
    spec : Correction
    mode : {'none', 'global', 'classwise', 'unlabelled'}
        On which training rows it is fitted; see `planning.MODES`.
    kind : {'label', 'tags', 'category', 'number'}
        What is recognised. Rows are matched by label for a label and a category only.
    targets : sequence of str
        Names of the targets: a correction that uses groups has seen the labels where the groups
        are the target.
    grouped : bool
        Whether the clips have groups.

    Returns
    -------
    str
        One of `corrections.registry.INFORMATION`. The number of clips that a recogniser is
        trained on is cut down to what the target has to offer; that does not count here.
    """
    level = spec.information
    if level == SOURCE_ONLY:
        return level
    matched = mode != UNLABELLED_MODE
    if matched and grouped and level == UNLABELLED:
        level = GROUPED
    by_labels = kind in (LABEL, CATEGORY) and matched
    if by_labels or mode == "classwise" or (level == GROUPED and GROUP in targets):
        return LABELLED
    return level
