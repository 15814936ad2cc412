"""The scikit-learn estimators."""

from layerwise.estimators.anomaly import AnomalyDetector
from layerwise.estimators.autoencoder import StackedAutoencoder
from layerwise.estimators.classifier import PretrainedClassifier
from layerwise.estimators.regressor import PretrainedRegressor
from layerwise.estimators.splits import LabeledSplit
from layerwise.persistence import load
from layerwise.persistence.schema import register

register(StackedAutoencoder)
register(AnomalyDetector, mean_="tensor", scale_="tensor", offset_="number")
register(PretrainedClassifier, n_labeled_="count", classes_="labels")
register(PretrainedRegressor, n_labeled_="count", y_mean_="tensor", y_scale_="tensor", _y_is_vector="flag")

__all__ = [
    "AnomalyDetector",
    "LabeledSplit",
    "PretrainedClassifier",
    "PretrainedRegressor",
    "StackedAutoencoder",
    "load",
]
