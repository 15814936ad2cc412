"""scikit-learn's transformers of a table's columns, with what tables need beside."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer


class RankGauss(QuantileTransformer):  # type: ignore[misc]
    """scikit-learn's QuantileTransformer, without its warning that a small table has few quantiles."""

    def fit(self, X: Any, y: Any = None) -> RankGauss:
        """Learn the quantiles.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        self
        """
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "n_quantiles .* is greater than the total number of samples")
            super().fit(X, y)
        return self


class Levels(OneHotEncoder):  # type: ignore[misc]
    """scikit-learn's OneHotEncoder, which also takes the holes of pandas' own strings and numbers (pandas.NA)."""

    def fit(self, X: Any, y: Any = None) -> Levels:
        """Learn the levels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        self
        """
        super().fit(_with_nan(X), y)
        return self

    def transform(self, X: Any) -> Any:
        """Return the columns of 0 and 1.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_levels)
        """
        return super().transform(_with_nan(X))


def _with_nan(X: Any) -> Any:
    """Return a pandas frame with NaN in each hole; anything else as it is."""
    return X.astype(object).where(X.notna(), np.nan) if hasattr(X, "notna") else X
