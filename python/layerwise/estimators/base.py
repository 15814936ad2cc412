"""What the estimators share: parameters, data at the border, and a fit that happens whole or not at all."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.base import ClassNamePrefixFeaturesOutMixin as OutputNames
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import validate_data

from layerwise import activations, checkpoints, checks, finetuning, initializers, pretraining
from layerwise.checkpoints import FileKeeper, NotWrittenError
from layerwise.checks import Parameter
from layerwise.column_groups import groups_of, with_groups
from layerwise.estimators import cache, identity
from layerwise.estimators.continuing import Architecture, Continuing, Kept
from layerwise.estimators.fitted import require_fitted
from layerwise.estimators.hidden import HiddenOutputs
from layerwise.estimators.sklearn_callbacks import TaskTree, callback_management_context
from layerwise.estimators.watching import (
    Watch,
    check_callbacks,
    check_seconds,
    last_word,
    what_time_cut,
    what_was_kept,
)
from layerwise.finetuning import FineTuning
from layerwise.network import Network
from layerwise.pretraining import Stage
from layerwise.progress import Progress
from layerwise.settings import Settings, no_settings
from layerwise.training import EpochRecord

Array = NDArray[Any]
E = TypeVar("E", bound="LayerwiseEstimator")

# What "auto" means: the best of those tried with few labels (docs/decisions/0003-defaults.md says on what).
DEFAULT_SIZES = (100, 100)
DEFAULT_ACTIVATION = "tanh"

# Where each consumer of random numbers finds its key: checks.subkey(seed, place).
PRETRAINING_KEY, START_KEY, OUTPUT_KEY, FINETUNING_KEY, CONTINUATION_KEY = range(5)


class LayerwiseEstimator(HiddenOutputs, Continuing, OutputNames, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Base of the estimators."""

    hidden_layer_sizes: Any
    pretraining: Any
    finetuning: Any
    activation: Any
    initializer: Any
    precision: Any
    n_jobs: Any
    random_state: Any
    verbose: Any
    max_seconds: Any = None
    callbacks: Any = None
    checkpoint: Any = None
    memory: Any = None
    stages_: list[Stage]
    history_: list[EpochRecord]
    n_features_in_: int

    # --- parameters ---------------------------------------------------------------------------------------------

    def set_params(self: E, **params: Any) -> E:
        """Set parameters; ``pretraining__corruption__rate=0.1`` replaces the settings object that holds it.

        Parameters
        ----------
        **params : dict
            Parameters by name.

        Returns
        -------
        self
        """
        super().set_params(**{name: value for name, value in params.items() if "__" not in name})
        inner: dict[str, dict[str, Any]] = {}
        for key, value in params.items():
            name, nested, rest = key.partition("__")
            if nested:
                inner.setdefault(name, {})[rest] = value
        for name, changes in inner.items():
            holder: Any = getattr(self, name, None) if name in self._get_param_names() else None
            if isinstance(holder, Settings):
                setattr(self, name, holder.replace(**changes))
            elif hasattr(holder, "set_params"):
                holder.set_params(**changes)
            elif name in self._get_param_names():
                raise no_settings(name, next(iter(changes)), holder, f"estimator {self}")
            else:
                super().set_params(**{f"{name}__{rest}": value for rest, value in changes.items()})
        return self

    def _where(self, name: str = "") -> Parameter:
        return Parameter(type(self).__name__, name)

    def _architecture(self, default_sizes: tuple[int, ...] = DEFAULT_SIZES) -> Architecture:
        auto = isinstance(self.hidden_layer_sizes, str) and self.hidden_layer_sizes == "auto"
        sizes = checks.layer_sizes(
            self._where("hidden_layer_sizes"), default_sizes if auto else self.hidden_layer_sizes
        )
        auto = isinstance(self.activation, str) and self.activation == "auto"
        kinds = checks.per_layer(
            self._where("activation"),
            pretraining.usual_activation(self.pretraining, DEFAULT_ACTIVATION) if auto else self.activation,
            len(sizes),
            activations.resolve,
        )
        starts = checks.per_layer(self._where("initializer"), self.initializer, len(sizes), initializers.resolve)
        return Architecture(sizes, kinds, starts).normalized(self._where("batch_norm"), self.batch_norm)

    def _progress(self) -> Progress:
        verbose = self.verbose
        if not isinstance(verbose, (bool, np.bool_)):
            verbose = checks.integer(self._where("verbose"), verbose, 0)
        return Progress(int(verbose))

    def _watch(self, fitted: dict[str, Any], data: tuple[Any, Any, Any] | None = None) -> Watch:
        """Return who watches this fit, which collects into `fitted`; `data` are X, y and sample_weight as given."""
        callbacks = check_callbacks(self._where("callbacks"), self.callbacks)
        if data is not None and (getattr(self, "_skl_callbacks", None) or hasattr(self, "_parent_callback_ctx")):
            fitted["_tasks"] = TaskTree(self, data, lambda: self._as_it_stands(fitted))
            callbacks.append(fitted["_tasks"])
        watch = Watch(self._progress(), callbacks, check_seconds(self._where("max_seconds"), self.max_seconds))
        fitted["_watch"] = watch
        checkpoints.resolve(self._where("checkpoint"), self.checkpoint)
        cache.resolve(self._where("memory"), self.memory)
        watch.attach(lambda: self._as_it_stands(fitted))
        return watch

    def _as_it_stands(self: E, fitted: dict[str, Any]) -> E | None:
        """Return this estimator as if its fit had ended now; None while there is no network."""
        watch: Watch = fitted["_watch"]
        if watch.network is None:
            return None
        now, model = dict(fitted), copy(self)
        model._collect(now, watch.network(), watch.records)
        model._install(now | {name: value for name, value in vars(self).items() if name.endswith("_in_")})
        return model

    def _threads(self) -> int:
        if self.n_jobs is None:  # as in most predictions of single rows
            return 0
        return checks.threads(self._where("n_jobs"), self.n_jobs)

    def _seed(self) -> int:
        """Draw one 64-bit key from `random_state`; every random number of the fit follows from it."""
        try:
            high, low = check_random_state(self.random_state).randint(0, 2**32, size=2, dtype=np.uint64)
        except (ValueError, TypeError):
            allowed = "None, an integer in [0, 2**32 - 1], or a numpy.random.RandomState"
            raise self._where("random_state").error(allowed, self.random_state) from None
        return int(high) << 32 | int(low)

    # --- data ---------------------------------------------------------------------------------------------------

    def _checked(self, X: Any, *, reset: bool = False, dtype: np.dtype[Any] | None = None) -> Array:
        """Return X as the engine wants it; with its column groups for a fit (`reset`, or of a `dtype` from before)."""
        fits = reset or dtype is not None
        if not reset:
            dtype = self.network_.dtype if dtype is None else dtype
            ready = checks.ready(X, dtype, self)  # of a single row scikit-learn's checks cost more than the network
            if ready is not None:
                return ready
        checks.refuse_odd_dtypes(X)
        groups = groups_of(X) if fits else None
        given, X = X, validate_data(self, X, reset=reset, dtype="numeric", order="C")
        checks.refuse_odd_dtypes(X)
        if dtype is None:
            dtype = checks.engine_dtype(checks.dtype_of(given, X))
        if reset:
            checks.bfloat16(self._where("precision"), self.precision, dtype)
        checked: Array = with_groups(checks.as_engine(X, dtype), groups)
        return checked

    def _network_input(self, X: Array) -> Array:
        """Return checked rows as the network's first layer takes them."""
        return X

    def _apply(self, X: Array, first: int, last: int | None = None, *, logits: bool = False) -> Array:
        return self._run(self.network_, X, first, last, logits=logits)

    def _run(
        self, network: Network, X: Array, first: int = 0, last: int | None = None, *, logits: bool = False
    ) -> Array:
        """Apply a network as this estimator's predictions do."""
        bfloat16 = checks.predicts_in_bfloat16(self._where("precision"), self.precision, network.dtype)
        return network.apply(X, first, last, logits=logits, threads=self._threads(), bfloat16=bfloat16)

    # --- fitting ------------------------------------------------------------------------------------------------

    @contextmanager
    def _fitting(self) -> Iterator[dict[str, Any]]:
        """Collect fitted attributes and set them together at the end.

        After an error the estimator is as it was before. After Ctrl-C, or where a callback raised or a checkpoint could
        not be written, it has what was collected if that holds a finished stage or a network, and is as it was before
        otherwise; a note says which. Where a signal's handler or a callback ends the fit, the checkpoint is written
        once more.
        """
        attributes, fitted = self.__dict__, dict[str, Any]()
        before = attributes.copy()
        try:
            with callback_management_context(self):
                yield fitted
                if "_tasks" in fitted:
                    fitted["_tasks"].end()
        except BaseException as error:
            features = {name: value for name, value in attributes.items() if name.endswith("_in_")}
            attributes.clear()
            attributes.update(before)
            watch = fitted.get("_watch")
            stopped = isinstance(error, (KeyboardInterrupt, NotWrittenError)) or (watch and error is watch.raised)
            if stopped and "stages_" in fitted:  # pretraining, or what stands in its place, had begun
                if fitted["stages_"] or "network_" in fitted:
                    self._install(fitted | features)
                error.add_note(what_was_kept(fitted, self.checkpoint))
            last_word(error, watch)
            raise
        finally:
            if "_watch" in fitted:
                fitted["_watch"].attach(None)
        self._install(fitted | {name: value for name, value in attributes.items() if name.endswith("_in_")})

    def _install(self, fitted: dict[str, Any]) -> None:
        for name in [name for name in vars(self) if name.endswith("_") and not name.startswith("_")]:
            delattr(self, name)
        self.__dict__.pop("_memory", None)  # the optimiser's, of partial_fit
        self.__dict__.update((name, fitted[name]) for name in fitted if name not in ("_watch", "_tasks", "_rows"))

    def _take_up(self, show: Watch, seed: int, kept: Kept | None, **data: Array | None) -> int:
        """Find the checkpoint to go on from, if there is to be one; return the fit's key, which it may decide on.

        `data` are what the fit learns from, by the names that a message may use.
        """
        settings = checkpoints.resolve(self._where("checkpoint"), self.checkpoint)
        if settings is None:
            return seed
        told = {"estimator": self._where().owner, **identity.arithmetic()}
        told |= identity.of_parameters(self.get_params(deep=False))
        told |= {name.replace("_rows", " rows"): identity.of_array(array) for name, array in data.items()}
        if (groups := groups_of(data["X"])) is not None:
            told["column groups"] = str(groups.groups)
        if kept is not None:
            layers = [layer for stage in kept.stages for layer in (stage.encoder, stage.decoder)]
            told["fit before"] = identity.of_layers(layers if kept.network is None else kept.network.layers)
        keeper = FileKeeper(settings, told, seed, any_seed=self.random_state is None)
        show.take_up(keeper)
        return keeper.seed

    def _pretrain(
        self,
        fitted: dict[str, Any],
        X: Array,
        settings: Any,
        shape: Architecture,
        seed: int,
        show: Watch,
        weights: Array | None = None,
        kept: Kept | None = None,
        pretrain: Any = pretraining.pretrain,
        targets: Sequence[Any] = (),
    ) -> None:
        """Pretrain the layers that are not kept, collecting each stage and its history as soon as it is finished.

        `targets` are what `pretrain` learns from beside X.
        """
        before = [] if kept is None else kept.stages
        show.keeper.begin(before)
        done = list(show.keeper.stages or before)
        fitted |= {"stages_": list(done), "history_": [record for stage in done for record in stage.history]}
        key = checks.subkey(seed, PRETRAINING_KEY)
        bfloat16 = checks.bfloat16(self._where("precision"), self.precision, X.dtype)

        def train(done: Sequence[Stage]) -> Iterator[Stage]:
            stages: Iterator[Stage] = pretrain(
                X,
                shape.sizes,
                settings,
                activation=shape.kinds,
                initializer=shape.starts,
                row_weights=weights,
                done=done,
                seed=key,
                threads=self._threads(),
                bfloat16=bfloat16,
                callbacks=show.callbacks,
                out_of_time=show.out_of_time,
                report=show.report,
                owner=self._where(),
                keeper=show.keeper,
            )
            return stages

        memory = cache.resolve(self._where("memory"), self.memory)
        stages = train(done)  # which also checks the settings, before any work
        if memory is not None:
            cache.warn_of_seeds(self.random_state)
            what = [f"{type(settings).__name__}, key {key}, bfloat16 {bfloat16}, columns {groups_of(X)}"]
            what += [*identity.arithmetic().values(), *map(identity.in_words, targets)]
            what += [*map(identity.of_array, (X, weights)), *(identity.of_layers([one.encoder]) for one in before)]
            of_layer = settings.check(self._where("pretraining"), len(shape.sizes))
            stages = cache.stages(memory, shape, of_layer, what, stages, train, done, show)
        for stage in stages:
            fitted["stages_"].append(stage)
            fitted["history_"].extend(stage.history)
            if not show.cut:
                show.keeper.done(stage)

    def _finetune(
        self,
        fitted: dict[str, Any],
        network: Network,
        X: Array,
        Y: Array | None,
        settings: FineTuning,
        seed: int,
        show: Watch,
        **task: Any,
    ) -> None:
        """Fine-tune `network`; what is reached is collected also if Ctrl-C ends it.

        Training that goes on has other random numbers than before.
        """
        place = [FINETUNING_KEY]
        if any(record.stage == "finetuning" for record in fitted["history_"]):
            place = [CONTINUATION_KEY, len(fitted["history_"])]

        self._collect(
            fitted,
            *finetuning.finetune(
                network,
                X,
                Y,
                settings,
                seed=checks.subkey(seed, *place),
                threads=self._threads(),
                bfloat16=checks.bfloat16(self._where("precision"), self.precision, X.dtype),
                callbacks=show.callbacks,
                out_of_time=show.out_of_time,
                on_start=show.follow,
                on_interrupt=lambda network, history: self._collect(fitted, network, history),
                keeper=show.keeper,
                **task,
            ),
        )
        show.keeper.finish()
        if show.cut:
            told = what_time_cut(self.max_seconds, fitted, settings.epochs, self.checkpoint)
            warnings.warn(told, checks.TimeLimitWarning, stacklevel=4)

    def _collect(self, fitted: dict[str, Any], network: Network, history: list[EpochRecord]) -> None:
        fitted["network_"] = network
        fitted["history_"] = fitted["history_"] + history
        fitted["n_iter_"] = max(1, sum(record.stage == "finetuning" for record in fitted["history_"]))
        fitted["coefs_"] = [layer.weights for layer in network.layers]
        fitted["intercepts_"] = [layer.bias for layer in network.layers]

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def save(self, path: Any) -> None:
        """Write the fitted estimator to a file that `layerwise.load` reads back bit for bit.

        Parameters
        ----------
        path : str or path-like
            An existing file is replaced only when the new one is complete.

        Raises
        ------
        NotFittedError
            Before `fit`.
        OSError
            If the file cannot be written; an existing file is then left as it was.
        """
        from layerwise import persistence

        require_fitted(self)
        persistence.save(self, path)
