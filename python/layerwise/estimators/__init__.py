"""The scikit-learn estimators."""

from layerwise import tabular_files
from layerwise.estimators.anomaly import AnomalyDetector
from layerwise.estimators.autoencoder import StackedAutoencoder
from layerwise.estimators.classifier import PretrainedClassifier
from layerwise.estimators.regressor import PretrainedRegressor
from layerwise.estimators.splits import LabeledSplit
from layerwise.persistence import load, register_pipeline
from layerwise.persistence.schema import register
from layerwise.tabular import TabularPipeline

register(StackedAutoencoder)
register(AnomalyDetector, mean_="tensor", scale_="tensor", offset_="number")
register(PretrainedClassifier, n_labeled_="count", classes_="labels")
register(PretrainedRegressor, n_labeled_="count", y_mean_="tensor", y_scale_="tensor", _y_is_vector="flag")
register_pipeline("tabular", TabularPipeline, tabular_files.encode, tabular_files.decode)

__all__ = [
    "AnomalyDetector",
    "LabeledSplit",
    "PretrainedClassifier",
    "PretrainedRegressor",
    "StackedAutoencoder",
    "load",
]
