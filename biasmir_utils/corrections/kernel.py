"""A correction behind a map to random features, as one transformer."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone

from biasmir_utils.corrections.base import DomainTransformer, FloatArray, NoCorrection
from biasmir_utils.corrections.differences import rounding
from biasmir_utils.corrections.domain_maps import DomainCenter
from biasmir_utils.corrections.fastfood import Fastfood
from biasmir_utils.corrections.labels import Labels


class KernelCorrection(DomainTransformer):
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
    correction_ : DomainTransformer
    domains_ : list

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

    def __init__(
        self, correction: DomainTransformer | None = None, feature_map: Fastfood | None = None
    ) -> None:
        self.correction = correction
        self.feature_map = feature_map

    def _learn(self, X: FloatArray, y: Any, domains: Labels | None, groups: Labels | None) -> None:
        names = group = None
        if domains is not None:
            names = np.array(domains.names)[domains.codes]
        if groups is not None:
            group = np.array(groups.names, dtype=object)[groups.codes]
        self.scaler_: DomainTransformer = NoCorrection().fit(X)
        if names is not None:
            self.scaler_ = DomainCenter(scale=True).fit(X, sample_domain=names)
        alike = self.scaler_.transform(X, sample_domain=names)
        self.mean_, deviation = alike.mean(axis=0), alike.std(axis=0)
        constant = deviation <= rounding(np.abs(X).max(axis=0))
        self.deviation_ = np.where(constant, 1.0, deviation)
        standardised = (alike - self.mean_) / self.deviation_
        self.feature_map_ = clone(self.feature_map or Fastfood()).fit(standardised)
        self.correction_ = NoCorrection() if names is None else self._new_correction()
        features = self.feature_map_.transform(standardised)
        self.correction_.fit(features, y, sample_domain=names, sample_group=group)

    def _new_correction(self) -> DomainTransformer:
        fresh: DomainTransformer = clone(self.correction or NoCorrection())
        return fresh

    def _correct(self, X: FloatArray, sample_domain: Any) -> FloatArray:
        alike = self.scaler_.transform(X, sample_domain=sample_domain)
        standardised = ((alike - self.mean_) / self.deviation_).astype(X.dtype)
        features = self.feature_map_.transform(standardised)
        corrected: FloatArray = self.correction_.transform(features, sample_domain=sample_domain)
        return corrected

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        """Return the names of the features: those of the feature map."""
        super().get_feature_names_out(input_features)  # checks the names of the input
        return self.feature_map_.get_feature_names_out()
