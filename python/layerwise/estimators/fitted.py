"""Whether an estimator is fitted."""

from typing import Any

from sklearn.utils.validation import check_is_fitted


def require_fitted(estimator: Any) -> None:
    """Raise scikit-learn's NotFittedError if the estimator has no network yet.

    scikit-learn's own check makes the estimator's tags first, which takes as long as the prediction of a single row.
    """
    if "network_" not in vars(estimator):
        check_is_fitted(estimator)
