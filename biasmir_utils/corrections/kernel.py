"""Random Fourier features of a Gaussian kernel by fast Hadamard transforms, and what they correct.

References
----------
Q. Le, T. Sarlos and A. Smola, "Fastfood: approximating kernel expansions in loglinear time",
ICML 2013. D. J. Sutherland and J. Schneider, "On the error of random Fourier features",
UAI 2015, for the use of cosine and sine of each basis function. F. X. Yu et al., "Orthogonal
random features", NeurIPS 2016, for the variant with signs.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import hadamard
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin, clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from biasmir_utils.corrections import base
from biasmir_utils.corrections.base import POSITIVE, SEED, FloatArray, Labels, Option, parameter
from biasmir_utils.corrections.maps import DomainCenter
from biasmir_utils.errors import ArgumentError

# Rows are mapped in pieces of about this many numbers, which stay in the processor's cache.
_PIECE = 1 << 16
_MOST_ROWS = 5000
_hadamard = cache(hadamard)


def hadamard_transform(X: FloatArray) -> FloatArray:
    """Return ``X @ H`` for the unnormalised Hadamard matrix H, over the last axis.

    H of size d = a b is the Kronecker product of two small ones, so the transform is two
    matrix products with matrices of about sqrt(d) rows: 2 d sqrt(d) multiplications a row
    instead of d log2(d) additions, but at the speed of matrix products.

    Parameters
    ----------
    X : ndarray, (..., d)
        d is a power of two.
    """
    log = X.shape[-1].bit_length() - 1
    outer, inner = 1 << (log // 2), 1 << (log - log // 2)
    cells = X.reshape(-1, inner) @ _hadamard(inner, X.dtype)
    if outer > 1:
        cells = _hadamard(outer, X.dtype) @ cells.reshape(-1, outer, inner)
    return cells.reshape(X.shape)


def median_distance(X: Any) -> float:
    """Return the median of the Euclidean distances between all pairs of rows.

    Of more than 5,000 rows it is that of a random subset of so many, the same at each call: the
    cost is quadratic, and the paper's training sets are smaller.

    Parameters
    ----------
    X : array-like, (n_samples, n_features)
        At least two rows.

    Raises
    ------
    ArgumentError
        If there are fewer than two rows, or the median is zero or not finite.
    """
    X = np.asarray(X, dtype=np.float64)
    if len(X) > _MOST_ROWS:
        X = X[np.sort(check_random_state(0).choice(len(X), _MOST_ROWS, replace=False))]
    n_samples = len(X)
    X = X - X.mean(axis=0)  # keeps the differences of squares below exact
    lengths = np.einsum("ij,ij->i", X, X)
    found = [np.empty(0)]
    for first in range(0, n_samples, 512):
        product = lengths[first : first + 512, np.newaxis] + lengths
        product -= 2.0 * (X[first : first + 512] @ X.T)
        found.append(np.concatenate([row[first + k + 1 :] for k, row in enumerate(product)]))
    squares, median = np.concatenate(found), 0.0
    if len(squares):
        middle = [(len(squares) - 1) // 2, len(squares) // 2]
        squares.partition(middle)
        median = float(np.sqrt(np.maximum(squares[middle], 0.0)).mean())
    if not (np.isfinite(median) and median > 0):
        raise ArgumentError(
            f"the median distance between rows (n_samples={n_samples}) is {median}, so it gives no "
            "bandwidth: there is one row, or most are equal or too large. Standardise them, or "
            "set sigma to a number."
        )
    return median


class Fastfood(ClassNamePrefixFeaturesOutMixin, TransformerMixin, base.Storable):
    r"""Random Fourier features of the kernel ``exp(-|x - y|^2 / (2 sigma^2))``.

    Each block of d basis functions is ``V = S H G P H B / (sigma sqrt(d))`` with random signs
    B, a permutation P, Gaussian G, the Hadamard matrix H, and lengths S that make the rows of V
    as long as Gaussian vectors. The features of x are cos(Vx) and sin(Vx), divided by the root
    of the number of basis functions: the inner product of two rows approximates the kernel,
    and each row has length one.

    Rows are padded with zeros to d, the next power of two. With the default number of basis
    functions the features are 8 d: 1,024 for 128 dimensions (VGGish), 4,096 for 512 (OpenL3),
    8,192 for 1,024 (YAMNet), and 8,192 as well for musicnn's 753, which are padded to 1,024.

    The map has no opinion on standardisation: do it before.

    Why not scikit-learn's `RBFSampler`: with as many features it needs about the same time at
    128 dimensions and 3 to 5 times as much at 1,024 (1,200 rows, one thread).
    In accuracy it wins slightly over 'gaussian', whose error is 1.04 to 1.14 times as large,
    and loses to 'signs', whose error is a quarter of its (`benchmarks/corrections_lda.py`).

    Parameters
    ----------
    n_components : int or None, default None
        Number of basis functions; there are twice as many features. None is 4 d.
    sigma : 'median' or float, default 'median'
        Bandwidth; 'median' is the median distance between the rows of `fit`.
    diagonal : {'gaussian', 'signs'}, default 'gaussian'
        What G holds. 'gaussian' is Fastfood, the paper's map. 'signs' makes the basis
        functions of a block orthogonal (Yu et al. 2016, with two Hadamard matrices): the same
        cost and a fourth to a fifth of the error.
    random_state : int, RandomState or None, default 0
        Seed of the random matrices.

    Attributes
    ----------
    sigma_ : float
        Bandwidth, in the unit of the rows.
    n_components_ : int
        Number of basis functions; there are twice as many features.
    padded_ : int
        d, the power of two that rows are padded to.
    signs_ : ndarray, (n_blocks, padded_)
        Diagonals of B.
    diagonals_ : ndarray, (n_blocks, padded_)
        Diagonals of G.
    lengths_ : ndarray, (n_blocks, padded_)
        Diagonals of S, over sigma and the norms of G and H.
    permutations_ : ndarray of int, (n_blocks, padded_)
        P: which number goes to each place.

    Examples
    --------
    >>> import numpy as np
    >>> from biasmir_utils.corrections import Fastfood
    >>> X = np.random.default_rng(0).normal(size=(6, 128))
    >>> features = Fastfood().fit_transform(X)
    >>> features.shape
    (6, 1024)
    >>> bool(np.allclose(np.linalg.norm(features, axis=1), 1))
    True
    """

    n_components: int | None = parameter(
        Option((None,), low=1, whole=True), default=None, kw_only=False
    )
    sigma: Any = parameter(Option(("median",), low=POSITIVE.low), default="median")
    diagonal: str = parameter(Option(("gaussian", "signs")), default="gaussian")
    random_state: Any = parameter(SEED, default=0)

    def fit(self, X: Any, y: Any = None) -> Fastfood:
        """Find the bandwidth and draw the random matrices.

        Parameters
        ----------
        X : array-like, (n_samples, n_features)
            Rows, standardised as those of `transform` will be.
        y : ignored
            Not used.

        Raises
        ------
        ArgumentError
            If a parameter has an impossible value, or the rows give no bandwidth.
        """
        X = validate_data(self, X, dtype=base.FLOAT_DTYPES)
        self._check_parameters()
        width = 1 << (X.shape[1] - 1).bit_length()
        self.n_components_ = 4 * width if self.n_components is None else int(self.n_components)
        self.padded_ = width
        self.sigma_ = median_distance(X) if self.sigma == "median" else float(self.sigma)
        random = check_random_state(self.random_state)
        shape = (-(-self.n_components_ // width), width)
        self.signs_ = random.choice([-1.0, 1.0], size=shape)
        self.permutations_ = np.stack([random.permutation(width) for _ in range(shape[0])])
        self.diagonals_: npt.NDArray[Any] = random.standard_normal(shape)
        if self.diagonal == "signs":
            self.diagonals_ = np.where(self.diagonals_ < 0, -1.0, 1.0)
        chi = np.sqrt(random.chisquare(width, size=shape))
        norms = np.linalg.norm(self.diagonals_, axis=1, keepdims=True)
        self.lengths_ = chi / (norms * np.sqrt(width) * self.sigma_)
        return self

    def transform(self, X: Any) -> Any:
        """Return the features of the rows.

        Parameters
        ----------
        X : array-like, (n_samples, n_features)
            Rows of embeddings, or of features made of them.

        Returns
        -------
        ndarray, (n_samples, 2 * n_components_)
            Cosines first, then sines; float32 for float32 input and float64 otherwise.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=base.FLOAT_DTYPES, reset=False)
        n_basis, width = self.n_components_, self.padded_
        features = np.empty((len(X), 2 * n_basis), dtype=X.dtype)
        step = max(1, _PIECE // width)
        for first in range(0, len(X), step):
            piece = features[first : first + step]
            padded = np.zeros((len(piece), width), dtype=X.dtype)
            padded[:, : X.shape[1]] = X[first : first + step]
            for block in range(len(self.signs_)):
                start, stop = block * width, min((block + 1) * width, n_basis)
                # Vx of each row, for the basis functions of one block.
                angles = hadamard_transform(padded * self.signs_[block].astype(X.dtype))
                angles = np.take(angles, self.permutations_[block], axis=1)
                angles = hadamard_transform(angles * self.diagonals_[block].astype(X.dtype))
                angles = (angles * self.lengths_[block].astype(X.dtype))[:, : stop - start]
                np.cos(angles, out=piece[:, start:stop])
                np.sin(angles, out=piece[:, n_basis + start : n_basis + stop])
            piece *= X.dtype.type(1.0 / np.sqrt(n_basis))
        return features

    @property
    def _n_features_out(self) -> int:
        return 2 * self.n_components_


class KernelCorrection(base.DomainTransformer):
    r"""Correct in the space of random Fourier features: the paper's `k`, `klda` and `mklda`.

    The rows of each domain are standardised by themselves, mapped to random features whose
    bandwidth is the median distance of all of these, and corrected there. Rows of an unseen
    domain, or without one, are standardised by all training rows.

    The paper's recognisers standardise all their rows, train and test, by the training dataset
    instead; `biasmir_utils.experiments` does so, from the same parts.

    Parameters
    ----------
    correction : DomainTransformer or None, default None
        What corrects the features; None is no correction.
    feature_map : Fastfood or None, default None
        None is `Fastfood()`.

    Attributes
    ----------
    scaler_ : DomainCenter
        What makes the domains alike in mean and standard deviation.
    mean_ : ndarray, (n_features,)
        Of all domains after that.
    deviation_ : ndarray, (n_features,)
        Of all domains after that; of a constant feature it is 1.
    feature_map_ : Fastfood
        Fitted to the standardised rows.
    correction_ : DomainTransformer
        Fitted to the random features.
    domains_ : list
        The domains seen in `fit`, sorted.

    Notes
    -----
    For a row of domain z, with mean :math:`\bar x_z` and standard deviation :math:`s_z` of each
    feature, and f the correction,

    .. math:: x' = f(\varphi((x - \bar x_z) / s_z)), \qquad
        \varphi(u) = \tfrac{1}{\sqrt m} (\cos \Omega u, \sin \Omega u).

    The features have other dimensions than the rows.

    Information used: unlabelled rows of all domains, with their domain
    (for scale and bandwidth, even without a correction), and the domain of each row at transform
    time; beyond that, what the correction uses.

    Guarantee: that of the correction, for the features: a projection out of these is linear in
    them, not in the rows, and the features of every row keep a length of one before it.

    References
    ----------
    C. Wang, G. Richard and B. McFee, "Transfer learning and bias correction with pre-trained audio
    embeddings", ISMIR 2023. Q. Le, T. Sarlos and A. Smola, "Fastfood: approximating kernel
    expansions in loglinear time", ICML 2013.
    """

    correction: base.DomainTransformer | None = parameter(None, default=None, kw_only=False)
    feature_map: Fastfood | None = parameter(None, default=None, kw_only=False)

    def _learn(self, X: FloatArray, y: Any, domains: Labels | None, groups: Labels | None) -> None:
        self.scaler_: Any = base.NoCorrection() if domains is None else DomainCenter(scale=True)
        alike = self.scaler_.fit_transform(X, sample_domain=domains)
        self.mean_, deviation = alike.mean(axis=0), alike.std(axis=0)
        rounding = base.rounding(base.largest_values(X))
        self.deviation_ = np.where(deviation <= rounding, 1.0, deviation)
        standardised = (alike - self.mean_) / self.deviation_
        self.feature_map_ = clone(self.feature_map or Fastfood()).fit(standardised)
        features = self.feature_map_.transform(standardised)
        self.correction_: base.DomainTransformer = base.NoCorrection()
        if domains is not None and self.correction is not None:
            self.correction_ = clone(self.correction)
        self.correction_.fit(features, y, sample_domain=domains, sample_group=groups)

    def _correct(self, X: FloatArray, sample_domain: Any) -> FloatArray:
        alike = self.scaler_.transform(X, sample_domain=sample_domain)
        standardised = ((alike - self.mean_) / self.deviation_).astype(X.dtype)
        features = self.feature_map_.transform(standardised)
        return np.asarray(self.correction_.transform(features, sample_domain=sample_domain))

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        """Return the names of the features: those of the feature map.

        Parameters
        ----------
        input_features : array-like of str, or None
            Names of the rows' features, which must be those of `fit`.
        """
        super().get_feature_names_out(input_features)  # checks the names of the input
        return self.feature_map_.get_feature_names_out()

    def unseen_rule(self) -> str:
        """Return in words what becomes of rows of a domain that was not in the fit."""
        return (
            "are standardised by all rows of the fit, mapped to random features, and these "
            f"{self.correction_.unseen_rule()}"
        )
