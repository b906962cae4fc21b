"""`MLPClassifier` and `MLPRegressor`: scikit-learn's interface to a recorded network.

Of a fitted estimator only arrays, numbers and labels are its state: weights, scaling, the
optimizer's averages, the progress. The `Network` is made of them again where there is none: after
unpickling, in another process. A call that fails leaves the estimator as it was.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt
from scipy import special
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from pygradc import nn
from pygradc.core.masks import refuse_masked
from pygradc.models import Scaling
from pygradc.recorded.rows import Floats
from pygradc.sklearn import settings
from pygradc.sklearn.network import Layers, Network, first_layers
from pygradc.sklearn.rows import Rows, mean_and_scale, standard, weights_of
from pygradc.sklearn.training import Run


def _is_stochastic(estimator: Any) -> bool:
    if estimator.solver == "lbfgs":
        raise AttributeError("partial_fit needs solver='adam' or 'sgd': 'lbfgs' takes all rows")
    return True


class _Perceptron(BaseEstimator):  # type: ignore[misc]
    """What both estimators share. A subclass says what targets and outputs mean."""

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: Any = 10,
        max_fun: int = 15000,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun

    # ---- of a subclass

    def _targets(
        self, y: Any, is_new: bool, partial: bool, classes: Any
    ) -> tuple[Any, dict[str, Any]]:
        """y as numbers; and the attributes out_activation_, n_outputs_, perhaps classes_.

        Raises:
            ValueError: it can't be learned.
        """
        raise NotImplementedError

    def _strata(self, y: Any) -> Any:
        """By what the rows held out are chosen in proportion; None: nothing."""
        return None

    def _target_scaling(self, rows: Rows) -> tuple[Any, Any]:
        """Mean and scale of the targets."""
        return 0.0, 1.0

    def _score_of(
        self, outputs: Floats, out_activation: str, rows: Rows, scaling: Scaling
    ) -> float:
        """Of rows held out."""
        raise NotImplementedError

    # ---- training

    def _train(
        self, X: Any, y: Any, sample_weight: Any, partial: bool = False, classes: Any = None
    ) -> Any:
        """`fit`; or `partial_fit`, one epoch that goes on where training stopped."""
        before = dict(vars(self))
        try:
            self._set_by(X, y, sample_weight, partial, classes)
        except BaseException:
            before.pop("_network", None)  # which may have been trained
            self.__dict__ = before
            raise
        return self

    def _set_by(self, X: Any, y: Any, sample_weight: Any, partial: bool, classes: Any) -> None:
        settings.check(self)
        if partial and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        is_new = not hasattr(self, "coefs_") or not (partial or self.warm_start)
        X, y = self._validated(X, y, is_new)
        weights, used = weights_of(sample_weight, X, type(self).__name__)
        y, about = self._targets(y, is_new, partial, classes)
        rows = Rows(X[used], y[used], weights[used])
        self._require_variety(rows, is_new and not partial, about)

        random = check_random_state(self.random_state)
        sizes = [X.shape[1], *settings.hidden_sizes(self), about["n_outputs_"]]
        network = self._first(sizes, about, random) if is_new else self._same(sizes)
        held_out = None
        if self.early_stopping and self.solver != "lbfgs":
            rows, held_out = self._split(rows, random)
        scaling = self._scaling_of(rows) if is_new else self.scaling_
        run = Run(
            self,
            network,
            standard(rows, scaling),
            self._scorer(network, held_out, scaling),
            random,
            partial,
        )
        fitted = {**about, **run.results(), "scaling_": scaling, "_network": network}
        layers = network.read()
        fitted.update(coefs_=layers.coefs, intercepts_=layers.intercepts, n_layers_=len(sizes))
        if is_new:
            fitted["_activation"] = settings.activation_of(self)
        self.__dict__.update(fitted)

    def _validated(self, X: Any, y: Any, is_new: bool) -> tuple[Floats, Any]:
        refuse_masked("X", X)  # whose entries scikit-learn takes as they are
        refuse_masked("y", y)
        X, y = validate_data(
            self,
            X,
            y,
            multi_output=True,
            dtype=np.float64,
            y_numeric=isinstance(self, RegressorMixin),
            reset=is_new,
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return X, y

    def _require_variety(self, rows: Rows, complete: bool, about: dict[str, Any]) -> None:
        """Raise a ValueError if there is nothing to tell apart; complete: these are all rows."""

    def _first(self, sizes: list[int], about: dict[str, Any], random: Any) -> Network:
        activation = settings.activation_of(self)
        layers = first_layers(sizes, activation, random)
        return Network(layers, activation, about["out_activation_"])

    def _same(self, sizes: list[int]) -> Network:
        """The network fitted so far.

        Raises:
            ValueError: another one was asked for since.
        """
        fitted = [len(self.coefs_[0]), *(len(b) for b in self.intercepts_)]
        for name, before, now in (
            ("outputs", fitted[-1], sizes[-1]),
            ("hidden_layer_sizes", fitted[1:-1], sizes[1:-1]),
            ("activation", self._activation, settings.activation_of(self)),
        ):
            if before != now:
                raise ValueError(
                    f"{type(self).__name__}: {name} {now!r}, but {before!r} in the network fitted "
                    "so far: to begin anew, call fit with warm_start=False"
                )
        return self._fitted()

    def _split(self, rows: Rows, random: Any) -> tuple[Rows, Rows]:
        """The rows to train on, and those that early stopping watches."""
        train, test = train_test_split(
            np.arange(len(rows.X)),
            random_state=random,
            test_size=self.validation_fraction,
            stratify=self._strata(rows.y),
        )
        if len(test) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of "
                "your dataset."
            )
        first, second = (Rows(*(column[index] for column in rows)) for index in (train, test))
        return first, second

    def _scaling_of(self, rows: Rows) -> Scaling:
        mean, scale = mean_and_scale(rows.X, rows.weights, "X: column")
        names = tuple(getattr(self, "feature_names_in_", ()))
        return Scaling(mean, scale, *self._target_scaling(rows), names)

    def _scorer(self, network: Network, held_out: Rows | None, scaling: Scaling) -> Any:
        if held_out is None:
            return None
        X = scaling.of_features(held_out.X)
        kind = network.out_activation
        return lambda: self._score_of(network.outputs(X), kind, held_out, scaling)

    # ---- predictions

    def _outputs(self, X: Any) -> Floats:
        """Of raw rows, shape (n, outputs)."""
        check_is_fitted(self)
        refuse_masked("X", X)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        with np.errstate(over="ignore", invalid="ignore"):
            outputs = self._fitted().outputs(self.scaling_.of_features(X))
        if len(odd := np.flatnonzero(~np.isfinite(outputs).all(axis=1))):
            raise ValueError(f"X: row {odd[0]} has numbers too large: its output isn't finite")
        return outputs

    def _fitted(self) -> Network:
        """The network of the present coefs_ and intercepts_."""
        check_is_fitted(self)
        layers = Layers(self.coefs_, self.intercepts_)
        network: Network | None = self.__dict__.get("_network")
        if network is None or not network.has(layers):
            network = self._network = Network(layers, self._activation, self.out_activation_)
        return network

    @property
    def model_(self) -> nn.MLP:
        """A copy of the network; its inputs are features scaled by `scaling_`."""
        check_is_fitted(self)
        layers = Layers(self.coefs_, self.intercepts_)
        return Network(layers, self._activation, self.out_activation_).model

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        state.pop("_network", None)
        return state


# ---- the estimators -----------------------------------------------------------------------------


class MLPClassifier(ClassifierMixin, _Perceptron):  # type: ignore[misc]
    """A network that classifies rows, trained by recordings.

        >>> from pygradc.sklearn import MLPClassifier
        >>> X = [[0.0], [1.0], [2.0], [3.0]]
        >>> model = MLPClassifier((8,), solver="lbfgs", random_state=0)
        >>> model.fit(X, ["cold", "cold", "warm", "warm"]).predict([[0.5], [2.5]]).tolist()
        ['cold', 'warm']

    The arguments are those of scikit-learn's MLPClassifier, and mean the same; activation may also
    be any other op of one Value by name, such as "gelu". Inside, features are standardized with the
    mean and the standard deviation of the rows of the first call, weighted.

    y: classes of any label, shape (n,); or 0 and 1 for each of several labels, shape (n, labels).

    Attributes:
        classes_: The labels, sorted.
        coefs_, intercepts_: Of each layer, shape (inputs, neurons) and (neurons,), read-only; for
            standardized inputs. Assign other arrays to change them.
        scaling_: pygradc.models.Scaling of the features.
        model_: A copy of the network, an nn.MLP.
        loss_, loss_curve_, best_loss_, n_iter_, t_, validation_scores_, best_validation_score_,
        n_layers_, n_outputs_, out_activation_, n_features_in_, feature_names_in_: as there.
    Errors name the argument: TypeError, ValueError; training that diverges raises a ValueError.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train until the loss no longer falls, or for max_iter epochs.

        Args:
            X: Shape (n, features).
            y: Labels, (n,); at least two of them.
            sample_weight: At least 0, (n,): a weight of 2 counts as the row twice.
        """
        return self._train(X, y, sample_weight)

    @available_if(_is_stochastic)  # type: ignore[untyped-decorator, unused-ignore]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Any:
        """Train for one epoch more.

        Args:
            classes: All labels; must be given in the first call.
        """
        return self._train(X, y, sample_weight, True, classes)

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """The likeliest label of each row."""
        chosen = _chosen(self._outputs(X), self.out_activation_)
        if chosen.ndim == 2:
            return chosen
        labels: npt.NDArray[Any] = self.classes_[chosen]
        return labels

    def predict_proba(self, X: Any) -> Floats:
        """Probabilities, shape (n, classes), in the order of classes_."""
        return _probabilities(self._outputs(X), self.out_activation_)

    def predict_log_proba(self, X: Any) -> Floats:
        """Their logarithms, of the digits that the outputs have: finite where they are."""
        outputs = self._outputs(X)
        if self.out_activation_ == "softmax":
            logarithms: Floats = special.log_softmax(outputs, axis=1)
            return logarithms
        if self.n_outputs_ > 1:
            return np.asarray(special.log_expit(outputs))
        return np.hstack([special.log_expit(-outputs), special.log_expit(outputs)])

    # ---- targets

    def _targets(
        self, y: Any, is_new: bool, partial: bool, classes: Any
    ) -> tuple[Any, dict[str, Any]]:
        check_classification_targets(y)
        if y.ndim == 2 and type_of_target(y) != "multilabel-indicator":
            raise ValueError(
                f"{type(self).__name__}: y of several columns must hold 0 and 1 only, one column "
                "for each label; several columns of classes need one classifier each"
            )
        if partial and is_new and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        labels = self._labels(y, is_new, classes)
        if y.ndim == 2:
            about = {"classes_": labels, "out_activation_": "logistic", "n_outputs_": len(labels)}
            return y.astype(np.float64), about
        encoder = LabelEncoder()
        encoder.classes_ = labels
        numbers = encoder.transform(y)  # names labels that aren't among them
        if len(labels) <= 2:
            about = {"classes_": labels, "out_activation_": "logistic", "n_outputs_": 1}
            return numbers.astype(np.float64), about
        return numbers, {
            "classes_": labels,
            "out_activation_": "softmax",
            "n_outputs_": len(labels),
        }

    def _labels(self, y: Any, is_new: bool, classes: Any) -> Any:
        """The labels, in the order of the outputs."""
        given = None if classes is None else np.unique(np.asarray(classes))
        if is_new:
            present = np.arange(y.shape[1]) if y.ndim == 2 else np.unique(y)
            labels = present if given is None else given
        else:
            labels = self.classes_
            if given is not None and not np.array_equal(given, labels):
                raise ValueError(f"classes={classes!r:.200}, but before they were {labels!r:.200}")
            was_several = self.out_activation_ == "logistic" and self.n_outputs_ > 1
            if was_several != (y.ndim == 2):
                raise ValueError("y has one column of labels, or several, as it hadn't before")
        if y.ndim == 2 and len(labels) != y.shape[1]:
            raise ValueError(f"y has {y.shape[1]} columns for {len(labels)} classes")
        return labels

    def _require_variety(self, rows: Rows, complete: bool, about: dict[str, Any]) -> None:
        found = about["classes_"]
        if complete and rows.y.ndim == 1:
            found = found[np.unique(rows.y).astype(np.intp)]
        if len(found) < 2 and rows.y.ndim == 1:
            raise ValueError(
                f"{type(self).__name__} needs samples of at least 2 classes in the data, but the "
                f"data contains only one class: {found[0]!r}"
            )

    def _strata(self, y: Any) -> Any:
        return y if y.ndim == 1 else None

    def _score_of(
        self, outputs: Floats, out_activation: str, rows: Rows, scaling: Scaling
    ) -> float:
        chosen = _chosen(outputs, out_activation)
        return float(accuracy_score(rows.y, chosen, sample_weight=rows.weights))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _probabilities(outputs: Floats, out_activation: str) -> Floats:
    if out_activation == "softmax":
        found: Floats = special.softmax(outputs, axis=1)
        return found
    if outputs.shape[1] > 1:
        return np.asarray(special.expit(outputs))
    return np.hstack([special.expit(-outputs), special.expit(outputs)])


def _chosen(outputs: Floats, out_activation: str) -> npt.NDArray[Any]:
    """The index of the class of each row; or of several labels which ones, as 0 and 1."""
    probabilities = _probabilities(outputs, out_activation)
    if out_activation == "logistic" and outputs.shape[1] > 1:
        return (probabilities > 0.5).astype(np.int64)
    found: npt.NDArray[Any] = probabilities.argmax(axis=1)
    return found


class MLPRegressor(RegressorMixin, _Perceptron):  # type: ignore[misc]
    """A network that predicts numbers, one or several a row, trained by recordings.

        >>> from pygradc.sklearn import MLPRegressor
        >>> X = [[0.0], [1.0], [2.0], [3.0]]
        >>> model = MLPRegressor((), solver="lbfgs", alpha=0.0).fit(X, [100.0, 102.0, 104.0, 106.0])
        >>> model.predict([[10.0]]).round(3).tolist()
        [120.0]

    The arguments are those of scikit-learn's MLPRegressor, except for its loss, as in
    `MLPClassifier`. Targets are standardized, too: losses, tol and alpha refer to targets of
    variance 1. The loss is half the squared error, of several outputs the sum of theirs.

    y: numbers, shape (n,) or (n, outputs).

    Attributes, Raises: as `MLPClassifier`, without classes_.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train until the loss no longer falls, or for max_iter epochs.

        Args:
            X: Shape (n, features).
            y: Numbers, (n,) or (n, outputs).
            sample_weight: At least 0, (n,): a weight of 2 counts as the row twice.
        """
        return self._train(X, y, sample_weight)

    @available_if(_is_stochastic)  # type: ignore[untyped-decorator, unused-ignore]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train for one epoch more."""
        return self._train(X, y, sample_weight, True)

    def predict(self, X: Any) -> Floats:
        """The targets of rows, in their units: shape (n,) or (n, outputs)."""
        outputs, scaling = self._outputs(X), cast(Scaling, self.scaling_)
        return scaling.to_targets(outputs[:, 0] if self.n_outputs_ == 1 else outputs)

    def _targets(
        self, y: Any, is_new: bool, partial: bool, classes: Any
    ) -> tuple[Any, dict[str, Any]]:
        count = 1 if y.ndim == 1 else y.shape[1]
        return y.astype(np.float64), {"out_activation_": "identity", "n_outputs_": count}

    def _target_scaling(self, rows: Rows) -> tuple[Any, Any]:
        columns = rows.y.reshape(len(rows.y), -1)
        mean, scale = mean_and_scale(columns, rows.weights, "y: column")
        return (mean, scale) if rows.y.ndim == 2 else (float(mean[0]), float(scale[0]))

    def _score_of(
        self, outputs: Floats, out_activation: str, rows: Rows, scaling: Scaling
    ) -> float:
        targets = scaling.to_targets(outputs if rows.y.ndim == 2 else outputs[:, 0])
        return float(r2_score(rows.y, targets, sample_weight=rows.weights))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
