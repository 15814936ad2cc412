"""What the autoencoder and the anomaly detector share: pretrain, unroll, and fine-tune to rebuild the rows."""

from typing import Any

from numpy.typing import NDArray

from layerwise import checks, finetuning, pretraining
from layerwise.autoencoders import DenoisingAutoencoder
from layerwise.batch_normalization import check_training
from layerwise.estimators.base import LayerwiseEstimator
from layerwise.estimators.continuing import Architecture, Kept
from layerwise.estimators.sklearn_callbacks import CallbackSupportMixin
from layerwise.estimators.weights import check_sample_weight, counting
from layerwise.finetuning import FineTuning
from layerwise.network import Network
from layerwise.training import EpochRecord

Array = NDArray[Any]


class RebuildingEstimator(CallbackSupportMixin, LayerwiseEstimator):  # type: ignore[misc]
    """Base of the estimators whose network rebuilds its inputs: all encoders, then all decoders in reverse order."""

    _usual_pretraining: Any = DenoisingAutoencoder()  # what "auto" means
    _usual_finetuning = FineTuning()

    def _fit(self, X: Any, y: Any, sample_weight: Any, *, once: bool = False) -> None:
        """Pretrain and fine-tune; with `once`, what is pretrained already is fine-tuned by one more pass."""
        with self._fitting() as fitted:
            show = self._watch(fitted, (X, y, sample_weight))
            self._check_own()
            shape = self._architecture()
            settings, unrolled = self._settings(shape, once=once)
            self._threads()
            kept = self._kept(shape, always=once)
            X = self._checked(X, reset=kept is None, dtype=None if kept is None else kept.dtype)
            weights, X = counting(check_sample_weight(sample_weight, X), X)
            if kept is None:
                shape = self._architecture()  # whose sizes may depend on the number of columns
            settings, unrolled = self._for_rows(len(X), settings, unrolled)
            if unrolled.early_stopping:
                finetuning.check_enough_rows(len(X), "rows")
            X = self._prepared(fitted, X, weights, kept)
            seed = self._take_up(show, self._seed(), kept, X=X, sample_weight=weights)
            before = self.n_samples_seen_ if once and kept is not None and hasattr(self, "n_samples_seen_") else 0
            fitted["n_samples_seen_"] = before + len(X)
            try:
                if kept is not None and kept.network is not None:
                    fitted |= {"stages_": kept.stages, "history_": kept.history}
                    network = kept.network
                    self._collect(fitted, network, [])  # what an interrupt before the first step leaves
                else:
                    self._pretrain(fitted, X, settings, shape, seed, show, weights, kept)
                    network = finetuning.unroll(fitted["stages_"])
                if unrolled.untie:
                    network = finetuning.untied(network)
                memory = self._memory_of(fitted, unrolled) if once else None
                if unrolled.epochs:
                    show.report(f"fine-tuning the unrolled network of {len(network.layers)} layers")
                first = fitted["stages_"][0]
                self._finetune(
                    fitted,
                    network,
                    X,
                    None,
                    unrolled,
                    seed,
                    show,
                    loss="sigmoid_cross_entropy" if first.loss == "cross_entropy" else first.loss,
                    n_hidden=len(shape.sizes),
                    row_weights=None if weights is None else weights.astype(X.dtype),
                    memory=memory,
                )
            finally:
                show.close()

    def _collect(self, fitted: dict[str, Any], network: Network, history: list[EpochRecord]) -> None:
        super()._collect(fitted, network, history)
        fitted["n_iter_"] = len(fitted["history_"])  # of all stages

    def _settings(self, shape: Architecture, *, once: bool) -> tuple[Any, FineTuning]:
        """Check the settings of both stages before any work, and return them; with `once`, of a single pass."""
        where = self._where("pretraining")
        settings = self._usual_pretraining
        if not checks.is_auto(self.pretraining):
            settings = pretraining.resolve(where, self.pretraining)
        settings.check(where, len(shape.sizes))
        where = self._where("finetuning")
        given = self._usual_finetuning if once or self.finetuning is not None else FineTuning(epochs=0)
        if self.finetuning is not None and not checks.is_auto(self.finetuning):
            given = finetuning.resolve(where, self.finetuning, "None, ")
        unrolled = given.check(where, len(shape.sizes), classes=False, unrolled=True)
        if set(unrolled.start) != {"pretrained"}:
            raise where.child("start").error('"pretrained" for an autoencoder', given.start)
        check_training(where, unrolled, shape.kinds)
        return settings, unrolled.one_pass() if once else unrolled

    def _for_rows(self, n_rows: int, settings: Any, unrolled: FineTuning) -> tuple[Any, FineTuning]:  # noqa: ARG002
        """Return the settings with what depends on the number of rows."""
        return settings, unrolled

    def _check_own(self) -> None:
        """Check the parameters that this kind of estimator has beside the common ones."""

    def _prepared(self, fitted: dict[str, Any], X: Array, weights: Array | None, kept: Kept | None) -> Array:  # noqa: ARG002
        """Return the rows as the network takes them; what that depends on is collected."""
        return X

    def _n_hidden(self) -> int:
        return len(self.network_.layers) // 2
