"""Pictures of how a number comes about show what was counted."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import texts
from matplotlib.colors import to_rgba
from scipy.integrate import trapezoid
from sklearn.metrics import roc_auc_score

from biasmir_utils import plots
from biasmir_utils.errors import ArgumentError


def test_a_clip_becomes_patches_frames_and_their_mean():
    rng = np.random.default_rng(0)
    frames = rng.normal(size=(3, 20))
    figure = plots.embedding_steps(rng.normal(0, 0.1, 10 * 8000), 8000, frames, window=3, hop=3)
    wave, _, above, mean = figure.axes[:4]
    assert "3 patches of 3 s" in wave.get_title()
    shown, average = (ax.collections[0].get_array().reshape(20, -1) for ax in (above, mean))
    np.testing.assert_allclose(shown, frames.T)
    np.testing.assert_allclose(average[:, 0], frames.mean(axis=0))
    low, high = above.collections[0].get_clim()
    assert low == -high, "zero has the middle colour"
    assert mean.collections[0].get_clim() == (low, high)
    with pytest.raises(ArgumentError, match=r"found \(80000, 2\)"):
        plots.embedding_steps(np.zeros((80000, 2)), 8000, frames, window=3, hop=3)


def test_the_area_under_the_curve_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(1)
    truth = rng.random(200) < 0.2
    scores = rng.normal(size=200) + truth
    left, right = plots.roc_and_pairs(truth, scores, few=(4, 6)).axes
    area = roc_auc_score(truth, scores)
    x, y = (np.array(part) for part in right.get_lines()[0].get_data())
    assert trapezoid(y, x) / (truth.sum() * (~truth).sum()) == pytest.approx(area)
    assert right.get_title().endswith(f"pairs: {area:.3f}")
    assert "of 24" in left.get_title()
    with pytest.raises(ArgumentError, match="positive and negative"):
        plots.roc_and_pairs(np.ones(3), np.arange(3))


def test_a_track_on_both_sides_is_marked_and_no_other():
    tracks = np.repeat(["a", "b", "c"], [4, 2, 1])
    tested = {"by clip": [1, 0, 0, 0, 1, 1, 0], "by track": [0, 0, 0, 0, 1, 1, 0]}
    by_clip, by_track = plots.leaking_folds(tracks, tested, most=2).axes
    assert texts(by_clip) == ["a", "b"], "those with most clips"
    assert len(by_clip.patches) == 1
    assert not by_track.patches
    filled = [line for line in by_clip.get_lines() if line.get_markerfacecolor() != "white"]
    assert [len(line.get_xdata()) for line in filled] == [1, 2]
    assert to_rgba(filled[0].get_markerfacecolor()) != to_rgba("white")
