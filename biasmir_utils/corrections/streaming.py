"""Corrections that need no more than moments, and can therefore be fitted in chunks."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from sklearn.utils.validation import validate_data

from biasmir_utils.corrections.base import FLOAT_DTYPES, DomainTransformer, FloatArray
from biasmir_utils.corrections.labels import DomainWarning, Labels, domain_labels, group_labels
from biasmir_utils.corrections.moments import Moments
from biasmir_utils.errors import ArgumentError


class MomentCorrection(DomainTransformer):
    """Base of the corrections that are functions of the domains' moments.

    A subclass names the second moments that it needs in `_scatter`, and turns moments into its
    attributes in `_solve`; with fewer than two domains it must become the identity. Where moments
    of more do not determine a correction, `_solve` raises an `ArgumentError`.
    """

    _scatter = "none"

    __metadata_request__partial_fit = {  # noqa: RUF012
        "sample_domain": True,
        "sample_group": True,
    }

    def partial_fit(
        self, X: Any, y: Any = None, *, sample_domain: Any = None, sample_group: Any = None
    ) -> MomentCorrection:
        """Add rows to those seen before, and learn the correction of all of them.

        The result equals that of one `fit`, up to rounding, in whatever order the rows come. Until
        a second domain is seen the correction is the identity; so it is, with a `DomainWarning`,
        while the rows of two domains do not determine it: no group has two domains yet, a domain
        has too few rows for a covariance, or the domain that others are moved to has not come.
        For many chunks it is faster to collect `Moments` and to call `fit_moments` once.

        Parameters
        ----------
        X, y, sample_domain, sample_group
            As in `fit`; `sample_group` for all chunks or for none. Rows without `sample_domain`
            are not counted.

        Returns
        -------
        self
        """
        first = not hasattr(self, "_moments")  # also after a fit that ended in an error
        X = validate_data(self, X, dtype=FLOAT_DTYPES, reset=first)
        self._check_parameters()
        self._check_moments_suffice()
        moments: Moments | None = Moments(X.shape[1], self._scatter) if first else self._moments
        if moments is None:
            raise ArgumentError(
                f"partial_fit cannot continue this fit of {type(self).__name__}, which kept no "
                "moments; call partial_fit from the first chunk on."
            )
        if sample_domain is not None:
            self._check_groups(sample_group is not None)
            groups = None if sample_group is None else group_labels(sample_group, len(X))
            moments.add(X, domain_labels(sample_domain, len(X)), groups)
        elif moments.cells:
            _warn(f"{len(X)} rows without sample_domain are not counted.")
        else:
            self._warn_of_one_domain()
        self._moments: Moments | None = moments
        self.domains_ = moments.domains
        try:
            self._solve(moments)
        except ArgumentError as error:
            # The rows are counted: more of them may determine it.
            self._solve(Moments(moments.n_features, moments.scatter))
            _warn(
                f"the {moments.count} rows so far do not determine {type(self).__name__}, and rows "
                f"will be left as they are until more have come: {error}"
            )
        return self

    def fit_moments(self, moments: Moments) -> MomentCorrection:
        """Learn the correction of the rows that the moments are of.

        Parameters
        ----------
        moments : Moments
            With the scatter that the correction needs, `required_scatter`.

        Returns
        -------
        self

        Raises
        ------
        ArgumentError
            As `check_moments`, or if the moments do not determine the correction.
        """
        if moments.scatter != self._scatter:
            raise ArgumentError(
                f"{type(self).__name__} needs moments with scatter {self._scatter!r}, not "
                f"{moments.scatter!r}."
            )
        self.check_moments(moments.domains, grouped=moments.grouped)
        self.n_features_in_ = moments.n_features
        self.domains_ = moments.domains
        if len(self.domains_) < 2:
            self._warn_of_one_domain()
        self._solve(moments)
        self._moments = moments
        return self

    @property
    def required_scatter(self) -> str:
        """What `Moments` must keep for this correction."""
        return self._scatter

    def _learn(self, X: FloatArray, y: Any, domains: Labels | None, groups: Labels | None) -> None:
        self.__dict__.pop("_moments", None)  # a fit that ends in an error leaves none behind
        moments = Moments(X.shape[1], self._scatter)
        if domains is not None:
            moments.add(X, domains, groups)
        self._solve(moments)
        self._moments = moments

    def check_moments(self, domains: Sequence[Any], *, grouped: bool) -> None:
        """Raise what `fit_moments` would raise, before anybody has passed over the rows.

        Parameters
        ----------
        domains : sequence
            Those that the moments will be of.
        grouped : bool
            Whether they will be kept for each group.

        Raises
        ------
        ArgumentError
            If moments do not suffice, or a parameter asks for something else.
        """
        self._check_parameters()
        self._check_moments_suffice()
        if len(domains) > 1:
            self._check_groups(grouped)
            self._check_domains(list(domains))

    @property
    def moments_suffice(self) -> bool:
        """Whether the correction, with its parameters, can be fitted from moments."""
        return True

    def _check_moments_suffice(self) -> None:
        if not self.moments_suffice:
            raise ArgumentError(
                f"{self} needs all rows at once and cannot be fitted from moments or in chunks; "
                "use fit."
            )

    def _check_domains(self, domains: list[Any]) -> None:
        """Raise an `ArgumentError` if a parameter names a domain that is not among these."""

    def _solve(self, moments: Moments) -> None:
        raise NotImplementedError


def _warn(message: str) -> None:
    warnings.warn(message, DomainWarning, stacklevel=3)
