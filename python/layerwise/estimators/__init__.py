"""The scikit-learn estimators."""

from layerwise.estimators.autoencoder import StackedAutoencoder
from layerwise.estimators.classifier import PretrainedClassifier
from layerwise.estimators.regressor import PretrainedRegressor

__all__ = ["PretrainedClassifier", "PretrainedRegressor", "StackedAutoencoder"]
