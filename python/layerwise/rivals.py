"""The methods that `compare` puts beside a network: scikit-learn's, with its defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier

from layerwise import checks
from layerwise.checks import Parameter

LINEAR, BOOSTING, SELF_TRAINING, SPREADING = (
    "logistic regression",
    "gradient boosting",
    "self-training",
    "label spreading",
)
RIDGE = "ridge regression"


class Spreading(LabelSpreading):  # type: ignore[misc]
    """Label spreading over nearest neighbours, with an answer for every row.

    scikit-learn's gives no class, and then NaN, to rows that no chain of neighbours joins to a labelled one; here they
    have the classes' shares among the labels.
    """

    def fit(self, X: Any, y: Any) -> Spreading:
        """Spread the labels; -1 where unknown."""
        super().fit(X, y)
        codes = np.asarray(y)
        shares = np.array([(codes == label).sum() for label in self.classes_]) / (codes != -1).sum()
        lost = np.logical_not(self.label_distributions_.sum(axis=1) > 0)  # zeros or NaN
        self.label_distributions_[lost] = shares
        self.transduction_[lost] = self.classes_[shares.argmax()]
        return self


def contenders(where: Parameter, rivals: Any, is_classifier: bool, own_names: Sequence[str]) -> dict[str, Any]:
    """Return the rivals asked for by name, not fitted yet; `own_names` are taken by others."""
    known: dict[str, Any] = {RIDGE: Ridge(), BOOSTING: HistGradientBoostingRegressor()}
    if is_classifier:
        known = {
            LINEAR: LogisticRegression(max_iter=2000),
            BOOSTING: HistGradientBoostingClassifier(),
            SELF_TRAINING: SelfTrainingClassifier(LogisticRegression(max_iter=2000)),
            SPREADING: Spreading(kernel="knn", max_iter=100),
        }
    if isinstance(rivals, str) and rivals == "auto":
        return known
    own = isinstance(rivals, Mapping) and all(
        isinstance(name, str) and name not in (*own_names, *known) and hasattr(model, "fit")
        for name, model in rivals.items()
    )
    if own:
        return dict(rivals)
    if not checks.is_sequence(rivals) or any(not isinstance(name, str) or name not in known for name in rivals):
        raise where.error(f'"auto", a sequence of {list(known)}, or a dict of estimators', rivals)
    return {name: known[name] for name in rivals}


def seeded(rival: Any, seed: int) -> Any:
    """Return a copy that is not fitted, with `seed` for each of its random states."""
    model = clone(rival)
    drawn = [name for name in model.get_params() if name == "random_state" or name.endswith("__random_state")]
    return model.set_params(**dict.fromkeys(drawn, seed))
