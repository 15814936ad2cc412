"""What the classifier and the regressor share: pretrain on all rows, stack, fine-tune on the labelled ones."""

import warnings
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import _check_feature_names, check_is_fitted

from layerwise import checks, finetuning, initializers, pretraining, restarts, supervised_pretraining
from layerwise.batch_normalization import check_training
from layerwise.checks import SeenRowsWarning
from layerwise.estimators.autoencoder import StackedAutoencoder
from layerwise.estimators.base import OUTPUT_KEY, START_KEY, LayerwiseEstimator
from layerwise.estimators.continuing import Architecture, Kept
from layerwise.estimators.labels import check_unlabeled
from layerwise.estimators.sklearn_callbacks import CallbackSupportMixin
from layerwise.estimators.watching import Watch
from layerwise.estimators.weights import label_weights
from layerwise.finetuning import FineTuning
from layerwise.network import DenseLayer
from layerwise.supervised_pretraining import SupervisedPretraining, pretrain_supervised
from layerwise.supervision import Labels

Array = NDArray[Any]


class PretrainedEstimator(CallbackSupportMixin, LayerwiseEstimator):  # type: ignore[misc]
    """Base of the estimators that learn from labels."""

    unlabeled: Any

    def _n_hidden(self) -> int:
        return len(self.network_.layers) - 1

    def _settings(self) -> tuple[Architecture, Any, FineTuning]:
        """Check every parameter before any work; return the architecture and the settings of both stages."""
        before: Any = self._pretrained()
        shape = self._architecture() if before is None else self._architecture_of(before)
        if before is None and self.pretraining is not None:
            where = self._where("pretraining")
            before = supervised_pretraining.resolve(where, self.pretraining)
            before.check(where, len(shape.sizes))
        where = self._where("finetuning")
        given = finetuning.resolve(where, self.finetuning)
        settings = given.check(where, len(shape.sizes), classes=is_classifier(self))
        check_training(where, settings, shape.kinds)
        if before is None and set(settings.start) != {"pretrained"}:
            raise where.child("start").error('"pretrained" with pretraining=None', given.start)
        check_unlabeled(self._where("unlabeled"), self.unlabeled)
        self._threads()
        return shape, before, settings

    def _pretrained(self) -> StackedAutoencoder | None:
        """Return the fitted autoencoder given as `pretraining`, bare or in scikit-learn's FrozenEstimator."""
        inner = self.pretraining
        if isinstance(inner, FrozenEstimator):
            inner = inner.estimator
        if not isinstance(inner, StackedAutoencoder):
            return None
        check_is_fitted(
            inner,
            msg="The StackedAutoencoder given as pretraining is not fitted. Fit it first; where the estimator is "
            "cloned (cross-validation, searches), wrap it in sklearn.frozen.FrozenEstimator: a clone is not fitted.",
        )
        return inner

    def _architecture_of(self, autoencoder: StackedAutoencoder) -> Architecture:
        """Return the autoencoder's architecture; what the parameters say must be "auto" or the same."""
        layers = autoencoder.network_.layers[: len(autoencoder.stages_)]
        sizes, kinds = tuple(layer.n_out for layer in layers), [layer.activation for layer in layers]
        given = self._architecture(sizes)
        same_kinds = [kind.bare for kind in given.kinds] == [kind.bare for kind in kinds]
        same_norms = [kind.batch_norm for kind in given.kinds] == [kind.batch_norm for kind in kinds]
        same_parts = {"hidden_layer_sizes": given.sizes == sizes, "activation": same_kinds, "batch_norm": same_norms}
        for name, same in same_parts.items():
            value = getattr(self, name)
            if not same and not (isinstance(value, str) and value == "auto"):
                allowed = f'"auto" or that of the StackedAutoencoder given as pretraining ({sizes}, {_names(kinds)})'
                raise self._where(name).error(allowed, value)
        if not (isinstance(self.initializer, str) and self.initializer == "auto"):
            raise self._where("initializer").error('"auto" with a StackedAutoencoder as pretraining', self.initializer)
        rules = checks.per_layer(self._where("initializer"), autoencoder.initializer, len(sizes), initializers.resolve)
        return Architecture(sizes, kinds, rules)

    def _matrix(self, X: Any, before: Any, kept: Kept | None) -> Any:
        """Return X for fit; with a fitted autoencoder or a kept network, in its dtype and with its features."""
        if kept is not None:
            return self._checked(X, dtype=kept.dtype)
        if not isinstance(before, StackedAutoencoder):
            return self._checked(X, reset=True)
        data = self._checked(X, reset=True, dtype=before.network_.dtype)
        _check_feature_names(before, X, reset=False)
        if data.shape[1] != before.n_features_in_:
            raise ValueError(
                f"X has {data.shape[1]} features, but the StackedAutoencoder given as pretraining was fitted with "
                f"{before.n_features_in_} features."
            )
        return data

    def _hidden_layers(
        self,
        fitted: dict[str, Any],
        X: Array,
        before: Any,
        shape: Architecture,
        seed: int,
        show: Watch,
        weights: Array | None,
        kept: Kept | None,
        labels: Labels,
    ) -> list[DenseLayer]:
        """Return the hidden layers to stack: pretrained here, pretrained before, or at a random start."""
        fitted |= {"stages_": [], "history_": []}
        if isinstance(before, StackedAutoencoder):
            self._say_what_was_seen(before, len(X))
            fitted["stages_"] = list(before.stages_)
            return list(before.network_.layers[: len(before.stages_)])
        if before is None:
            key = checks.subkey(seed, START_KEY)
            return finetuning.random_layers(X.shape[1], shape.sizes, shape.kinds, shape.starts, key, X.dtype)
        if before.supervised_optimizer is not None and len(labels.Y) == 0:
            raise ValueError("Partially supervised pretraining needs labelled rows, and there are none.")
        pretrain = partial(pretraining.pretrain, labels=labels)
        targets = () if before.supervised_optimizer is None else (labels.X, labels.Y, labels.output, labels.row_weights)
        self._pretrain(fitted, X, before, shape, seed, show, weights, kept, pretrain, targets)
        return [stage.encoder for stage in fitted["stages_"]]

    def _say_what_was_seen(self, before: StackedAutoencoder, n_rows: int) -> None:
        """Warn where layers may have seen rows that a cross-validation keeps apart.

        Only those that cross-validate freeze the autoencoder; without, more rows to pretrain on are the plan.
        """
        seen = getattr(before, "n_samples_seen_", 0)
        if isinstance(self.pretraining, FrozenEstimator) and seen > n_rows:
            warnings.warn(
                f"The layers were pretrained on {seen} rows, this fit has {n_rows}. If the other rows are those that a "
                "cross-validation keeps apart, their inputs (not their labels) have been seen, and the scores tell of "
                "new rows no more. Give settings as pretraining, and memory, to pretrain on each training part alone.",
                SeenRowsWarning,
                stacklevel=6,
            )

    def _pretrain_supervised(
        self,
        fitted: dict[str, Any],
        X: Array,
        Y: Array,
        row_weights: Array | None,
        settings: SupervisedPretraining,
        shape: Architecture,
        output: str,
        seed: int,
        show: Watch,
        kept: Kept | None,
    ) -> list[DenseLayer]:
        """Pretrain the layers that are not kept on the labelled rows' targets; return the hidden layers to stack."""
        if len(Y) == 0:
            raise ValueError("Supervised pretraining needs labelled rows, and there are none.")

        def on_targets(X: Array, sizes: Any, settings: Any, **options: Any) -> Any:
            return pretrain_supervised(X, Y, sizes, settings, output=output, **options)

        self._pretrain(fitted, X, settings, shape, seed, show, row_weights, kept, on_targets, (Y, output))
        return [stage.encoder for stage in fitted["stages_"]]

    def _learn(
        self,
        fitted: dict[str, Any],
        X: Array,
        labelled: Array,
        Y: Array,
        *,
        settings: tuple[Architecture, Any, FineTuning],
        output: str,
        loss: str,
        groups: Array | None,
        weights: Array | None,
        factors: Array | None = None,
        bias: Array | None = None,
        kept: Kept | None,
        once: bool,
        seed: int,
        show: Watch,
    ) -> None:
        """Do the three steps: pretrain, stack, fine-tune; what is `kept` of a fit before is not done again.

        `weights` are those of all rows; `factors` multiply those of the labelled ones for fine-tuning. `bias` is
        where the output layer's biases start. `once`: a pass of partial_fit.
        """
        shape, before, finetuning_settings = settings
        if finetuning_settings.early_stopping:
            finetuning.check_enough_rows(len(Y))  # before the layers are pretrained for nothing
        seed = self._take_up(show, seed, kept, X=X, y=Y, labelled_rows=labelled, sample_weight=weights)
        of_labels = label_weights(None if weights is None else weights[labelled], factors)
        row_weights = None if of_labels is None else of_labels.astype(X.dtype)
        rows = X if labelled.all() else np.ascontiguousarray(X[labelled])
        if kept is not None and kept.network is not None:
            fitted |= {"stages_": kept.stages, "history_": kept.history}
            network = kept.network
            self._collect(fitted, network, [])  # what an interrupt before the first step leaves
        else:
            if isinstance(before, SupervisedPretraining):
                hidden = self._pretrain_supervised(
                    fitted, rows, Y, row_weights, before, shape, output, seed, show, kept
                )
            else:
                labels = Labels(rows, Y, output, row_weights)
                hidden = self._hidden_layers(fitted, X, before, shape, seed, show, weights, kept, labels)
            key = checks.subkey(seed, START_KEY)
            hidden = restarts.restarted(hidden, finetuning_settings.start, shape.starts, key)
            key = checks.subkey(seed, OUTPUT_KEY)
            network = finetuning.stack(hidden, Y.shape[1], output, seed=key, bias=bias)
        if len(Y) == 0:  # partial_fit without a label
            self._collect(fitted, network, [])
            return
        memory = self._memory_of(fitted, finetuning_settings) if once else None
        show.report(f"fine-tuning on {len(Y)} labelled rows of {len(X)}")
        self._finetune(
            fitted,
            network,
            rows,
            Y,
            finetuning_settings.one_pass() if once else finetuning_settings,
            seed,
            show,
            loss=loss,
            n_hidden=len(shape.sizes),
            groups=groups,
            row_weights=row_weights,
            memory=memory,
        )


def _names(kinds: list[Any]) -> str:
    return ", ".join(kind.title for kind in kinds)
