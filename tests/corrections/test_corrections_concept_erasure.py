"""LEACE equals the concept-erasure package's, where that is installed (extra `compare`)."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from biasmir_utils.corrections import LEACE

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch warns on import
    concept_erasure = pytest.importorskip("concept_erasure")
    torch = pytest.importorskip("torch")


def theirs(X: Any, domain: Any) -> Any:
    """Return the rows that concept-erasure makes, without its shrinkage and its variance limit."""
    indicators = (domain[:, None] == np.unique(domain)).astype(float)
    x, z = torch.from_numpy(X), torch.from_numpy(indicators)
    fitter = concept_erasure.LeaceFitter.fit(
        x, z, shrinkage=False, constrain_cov_trace=False, svd_tol=1e-6
    )
    return fitter.eraser(x).numpy()


@pytest.mark.parametrize(
    ("n", "d", "domains"), [(300, 12, 2), (300, 12, 4), (500, 64, 3), (60, 3, 6), (40, 90, 2)]
)
def test_equal_to_concept_erasure(n: int, d: int, domains: int) -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, domains, n)
    X = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=(domains, d))[codes]
    ours = LEACE(shrinkage=0.0).fit_transform(X, sample_domain=codes)
    np.testing.assert_allclose(ours, theirs(X, codes), atol=1e-6 * np.abs(X).max())
