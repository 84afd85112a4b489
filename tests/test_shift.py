"""What is left of a difference of two datasets: against formulas, and on data that is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform

from biasmir_utils.corrections import make_correction
from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments.separability import (
    compared_rows,
    damage,
    dataset_distances,
    dataset_probes,
    mean_gap,
    permuted_tracks,
    probe_scale,
)

D = 64


def domain_shift(X, domain, track=None, *, scale=None, **options):
    """All that tells two datasets apart."""
    probes = dataset_probes(X, domain, track, scale=scale, **options)
    return {**probes, **dataset_distances(X, domain, track, **options)}


def two_datasets(n: int, seed: int, d: int = D, shift: float = 1.0):
    """Rows of two Gaussian datasets with one correlated covariance and other means."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(d, d)) / np.sqrt(d) + 0.5 * np.eye(d)
    delta = rng.normal(size=d) * shift
    rows = np.random.default_rng(seed).normal(size=(n, d)) @ mixing
    domain = np.repeat(["a", "b"], n // 2)
    return rows + np.outer(domain == "b", delta), domain


def fitted(name: str, n: int = 600, d: int = D):
    X, domain = two_datasets(n, seed=1, d=d)
    return make_correction(name).fit(X, sample_domain=domain), X, domain


def squared_mmd(X, domain):
    return dataset_distances(X, domain)["mmd2"].value


def test_squared_mmd_is_the_unbiased_formula():
    X, domain = two_datasets(40, seed=3, d=5)
    distances = squareform(pdist(X))
    sigma = np.median(pdist(X))
    K = np.exp(-(distances**2) / (2 * sigma**2))
    a, b = domain == "a", domain == "b"
    n, m = a.sum(), b.sum()
    inside = [
        sum(K[i, j] for i in np.flatnonzero(own) for j in np.flatnonzero(own) if i != j)
        for own in (a, b)
    ]
    expected = inside[0] / (n * (n - 1)) + inside[1] / (m * (m - 1)) - 2 * K[np.ix_(a, b)].mean()
    assert squared_mmd(X, domain) == pytest.approx(expected)
    assert squared_mmd(np.zeros((6, 2)), ["a", "b"] * 3) == 0


def test_squared_mmd_is_unbiased_without_a_difference():
    rng = np.random.default_rng(0)
    values = [squared_mmd(rng.normal(size=(30, 4)), ["a", "b"] * 15) for _ in range(300)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))


def random_halves(n_tracks: int, n_clips: int, seed: int, twins: bool):
    """Clips of tracks that are much alike, each track in one of two datasets, or in both."""
    rng = np.random.default_rng(seed)
    pieces = np.repeat(rng.normal(size=(n_tracks, 6)), n_clips, axis=0)
    track = np.repeat(np.arange(n_tracks), n_clips)
    if twins:
        pieces, track = np.tile(pieces, (2, 1)), np.tile(track, 2)
        domain = np.repeat(["a", "b"], n_tracks * n_clips)
    else:
        domain = np.repeat(rng.permutation(np.repeat(["a", "b"], n_tracks // 2)), n_clips)
    return pieces + 0.2 * rng.normal(size=pieces.shape), domain, track


@pytest.mark.parametrize("twins", [False, True])
def test_squared_mmd_of_random_halves_of_the_tracks_has_both_signs(twins):
    values = []
    for seed in range(40):
        X, domain, track = random_halves(24, 5, seed, twins)
        found = dataset_distances(X, domain, track, n_permutations=20, paired=twins, seed=seed)
        values.append([found["mmd2"].value, found["mmd2"].chance])
    value, chance = np.transpose(values)
    assert 8 <= (value > 0).sum() <= 32
    assert abs(value.mean()) < 3 * value.std() / np.sqrt(len(value))
    assert abs(chance.mean()) < 3 * value.std() / np.sqrt(len(value))


def test_mean_gap_is_the_formula():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 3))
    domain = np.array(["a"] * 20 + ["b"] * 30)
    parts = [X[domain == name] for name in "ab"]
    within = sum(((part - part.mean(axis=0)) ** 2).sum() for part in parts) / 50
    expected = np.linalg.norm(parts[1].mean(axis=0) - parts[0].mean(axis=0)) / np.sqrt(within)
    assert mean_gap(X, domain) == pytest.approx(expected)
    assert mean_gap(np.ones((4, 2)), ["a", "a", "b", "b"]) == 0


def test_damage_of_a_projection_on_an_axis():
    X = np.random.default_rng(0).normal(size=(1000, 4)) * [3, 1, 1, 1] + [5, 0, 0, 0]
    after = X.copy()
    after[:, 0] = 0
    found = damage(X, after, rank=1)
    total = X.var(axis=0).sum()
    # What lies along the axis, but not the mean, which all rows lose alike.
    assert found["variance_moved"] == pytest.approx((X[:, 0].var() / total, 0.25))
    assert found["variance_kept"] == pytest.approx((1 - X[:, 0].var() / total, 0.75))
    assert found["rank"][0] == 1
    shifted = damage(X, X + 2, rank=0)
    assert shifted["variance_moved"][0] == pytest.approx(0)
    assert shifted["variance_kept"][0] == pytest.approx(1)
    assert np.isnan(shifted["variance_moved"][1])
    # Half of the way: a quarter of the variance moves, and three quarters of it are gone.
    half = damage(X, (X + after) / 2, rank=1, alpha=0.5)
    assert half["variance_moved"] == pytest.approx((X[:, 0].var() / total / 4, 0.25 / 4))
    assert half["variance_kept"] == pytest.approx((1 - 0.75 * X[:, 0].var() / total, 1 - 0.75 / 4))
    with pytest.raises(ArgumentError, match="all alike"):
        damage(np.ones((3, 2)), np.ones((3, 2)), 0)


@pytest.mark.parametrize("alpha", [1.0, 0.4])
def test_the_control_is_what_random_projections_do_on_average(alpha):
    X, domain = two_datasets(200, seed=2, d=8)
    found = []
    for seed in range(400):
        random = make_correction(f"random:rank=2,random_state={seed},alpha={alpha}")
        after = random.fit(X, sample_domain=domain).transform(X)
        found.append(damage(X, after, 2, alpha))
    for measure in ("variance_moved", "variance_kept"):
        values = np.array([one[measure] for one in found])
        assert values[:, 0].mean() == pytest.approx(values[0, 1], rel=0.03)


def test_datasets_that_are_moved_apart_from_each_other_count():
    X, domain = two_datasets(200, seed=2, d=8)
    to = np.where(domain == "a", 3.0, -3.0)[:, np.newaxis] * np.eye(8)[0]
    total = X.var(axis=0).sum()
    assert damage(X, X + to, 0)["variance_moved"][0] == pytest.approx(9 / total)
    # The same, told from another origin: a projection that is not centred moves the common mean.
    for name in ("meanproj", "lda"):
        correction = make_correction(name).fit(X, sample_domain=domain)
        far = make_correction(name).fit(X + 100, sample_domain=domain)
        near, away = (
            damage(rows, fitted.transform(rows), 1)["variance_moved"]
            for rows, fitted in ((X, correction), (X + 100, far))
        )
        assert away == pytest.approx(near, rel=1e-6)
        assert near[0] < 1


def test_projecting_out_the_lda_direction_leaves_the_datasets_apart():
    fresh, domain = two_datasets(2000, seed=2)
    before = domain_shift(fresh, domain)
    assert before["linear_probe"].value > 0.99
    lda, *_ = fitted("lda", 2000)
    assert domain_shift(lda.transform(fresh), domain)["linear_probe"].value > 0.99
    for name in ("meanproj", "leace", "center"):
        correction, *_ = fitted(name, 2000)
        after = correction.transform(fresh, sample_domain=domain)
        left = domain_shift(after, domain)
        assert left["linear_probe"].value < 0.65, name
        assert left["mean_gap"].value < before["mean_gap"].value / 5


def test_leace_is_perfect_on_the_rows_of_its_fit_only():
    leace, X, domain = fitted("leace", 300, 256)
    assert mean_gap(leace.transform(X), domain) < 1e-8
    fresh, fresh_domain = two_datasets(2000, seed=2, d=256)
    left = domain_shift(leace.transform(fresh), fresh_domain)
    assert left["linear_probe"].value > 0.7
    assert left["mean_gap"].value > 0.01


def test_chance_is_measured_with_tracks_permuted():
    X, domain = two_datasets(200, seed=2, d=8)
    track = np.repeat(np.arange(100), 2)
    found = domain_shift(X, domain, track, n_permutations=20, seed=1)
    for measure in ("linear_probe", "rbf_probe"):
        assert found[measure].chance == pytest.approx(0.5, abs=0.05)
        assert found[measure].chance <= found[measure].chance_high < found[measure].value
    assert abs(found["mmd2"].chance) < 0.01
    assert found["mean_gap"].chance < found["mean_gap"].value


def test_only_the_rbf_probe_sees_a_difference_of_spread():
    X = np.random.default_rng(0).normal(size=(300, 4))
    domain = np.repeat(["a", "b"], 150)
    X[domain == "b"] *= 3
    found = domain_shift(X, domain)
    assert found["linear_probe"].value < 0.65
    assert found["rbf_probe"].value > 0.85


def test_twins_do_not_push_the_probes_below_chance():
    """The same tracks in both datasets: what a track holds tells nothing of the dataset."""
    rng = np.random.default_rng(0)
    pieces = 3 * rng.normal(size=(60, 40))
    X = np.vstack([pieces, pieces + 0.1 * rng.normal(size=(60, 40))])
    domain, track = np.repeat(["a", "b"], 60), np.tile([f"t{i}" for i in range(60)], 2)
    shift = np.outer(domain == "b", rng.normal(size=40))

    def probed(rows, paired):
        found = domain_shift(rows, domain, track, n_permutations=20, paired=paired, seed=1)
        return found["linear_probe"]

    # Taken for different tracks, a twin in the training folds is called by the wrong dataset.
    assert probed(X, False).value < 0.4
    paired = probed(X, True)
    assert abs(paired.value - 0.5) < 0.1
    assert abs(paired.chance - 0.5) < 0.1
    found = probed(X + shift, True)
    assert found.value > found.chance_high
    assert found.value > probed(X + shift, False).value


def test_tracks_are_swapped_with_their_twins_only():
    track = np.repeat([0, 1, 2, 3, 4, 5], 2)  # tracks 0 and 3 are one piece, and so on
    piece, y = track % 3, track >= 3
    drawn = permuted_tracks(y, track, 200, 0, piece)
    assert drawn.shape == (200, 12)
    first, second = drawn[:, :6:2], drawn[:, 6::2]
    assert (first != second).all()
    assert (drawn[:, ::2] == drawn[:, 1::2]).all()
    assert 0.4 < first.mean() < 0.6


@pytest.mark.parametrize(
    ("of_a", "of_b", "compared"),
    [
        (range(90), range(30), 30),  # b is a new recording of a third of a
        (range(60), range(24, 84), 36),
        (range(60), range(58, 118), 118),  # too few twins: tracks as any others
    ],
)
def test_chance_is_chance_where_not_all_tracks_have_a_twin(of_a, of_b, compared):
    domain = np.repeat(["a", "b"], [len(of_a), len(of_b)])
    track = np.array([f"t{i}" for i in (*of_a, *of_b)])
    kept, twins = compared_rows(domain, track)
    assert len(np.unique(track[kept])) == compared
    assert (twins is None) == kept.all()
    chance = []
    for seed in range(3):
        X = np.random.default_rng(seed).normal(size=(len(track), 10))
        X += 1.5 * (domain == "b")[:, np.newaxis]
        found = domain_shift(X, domain, track, n_permutations=10, paired=True, seed=seed)
        assert found["linear_probe"].value > 0.95
        chance.append([found["linear_probe"].chance, found["rbf_probe"].chance])
        alone = domain_shift(
            *(X[kept], domain[kept], track[kept]), n_permutations=10, paired=True, seed=seed
        )
        assert found == alone
    np.testing.assert_allclose(np.mean(chance, axis=0), 0.5, atol=0.05)


def test_tracks_of_one_name_are_different_unless_told_otherwise():
    X, domain = two_datasets(200, seed=2, d=8)
    numbered = np.tile(np.arange(50), 4)
    apart = np.array([f"{d}/{t}" for d, t in zip(domain, numbered, strict=True)])
    alike, known = (domain_shift(X, domain, t, n_permutations=3) for t in (numbered, apart))
    assert alike == known
    assert domain_shift(X, domain, numbered, n_permutations=3, paired=True) != known


def test_a_probe_needs_as_many_tracks_as_folds():
    X, domain = two_datasets(12, seed=2, d=4)
    found = domain_shift(X, domain, ["same"] * 12)
    assert np.isnan(found["linear_probe"].value)
    assert np.isnan(found["mmd2"].value)
    assert np.isfinite(found["mean_gap"].value)


def test_two_datasets_are_needed():
    with pytest.raises(ArgumentError, match="two datasets"):
        domain_shift(np.eye(3), ["a", "b", "c"])
    with pytest.raises(ArgumentError, match="two datasets"):
        mean_gap(np.eye(3), ["a", "a", "a"])


def test_silent_features_do_not_show_the_dataset_after_a_correction():
    """A feature that hardly varies gets a trace of the domain from any thin map."""
    rng = np.random.default_rng(0)
    X, domain = two_datasets(600, seed=2, d=8, shift=0.15)
    X = np.column_stack([X, 1e-6 * rng.normal(size=(600, 40))])
    traces = X.copy()
    traces[:, 8:] += 1e-4 * (domain == "b")[:, np.newaxis]
    before = domain_shift(X, domain)["linear_probe"].value
    after = domain_shift(traces, domain, scale=probe_scale(X))["linear_probe"].value
    assert before < 0.99
    assert after == pytest.approx(before, abs=0.01)
    # In units of their own spread they would give the dataset away.
    own = domain_shift(traces, domain, scale=traces.std(axis=0))["linear_probe"].value
    assert own > 0.999


def test_probes_divide_by_the_deviation_or_a_tenth_of_the_root_of_the_mean_variance():
    X = np.random.default_rng(0).normal(size=(100, 3)) * [4.0, 1.0, 1e-6] + 7
    own = X.std(axis=0)
    floor = 0.1 * np.sqrt((own**2).mean())
    np.testing.assert_allclose(probe_scale(X), [own[0], own[1], floor])
    assert own[2] < floor < own[1]
    assert (probe_scale(np.zeros((3, 2))) == 1).all()
