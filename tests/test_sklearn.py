"""Do the estimators behave as scikit-learn's do, by its own checks and beside its own MLPs?"""

from __future__ import annotations

import copy
import doctest
import io
import pickle
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6.0")

import sklearn.neural_network as theirs
from joblib.externals.loky import get_reusable_executor
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.estimator_checks import parametrize_with_checks
from threadpoolctl import threadpool_limits  # which scikit-learn needs

import pygradc
from pygradc import datasets, nn
from pygradc.sklearn import MLPClassifier, MLPRegressor, estimators
from pygradc.sklearn.progress import Progress

pytestmark = [
    pytest.mark.unsanitized,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]
ROOT = Path(__file__).resolve().parent.parent
KINDS = {MLPClassifier: theirs.MLPClassifier, MLPRegressor: theirs.MLPRegressor}
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(90, 4))
X = (X - X.mean(axis=0)) / X.std(axis=0)
LABELS = (X[:, 0] > 0.4).astype(int) + (X[:, 1] > X[:, 2])
NUMBERS = X[:, 0] - np.abs(X[:, 1]) + RANDOM.normal(0.0, 0.1, 90)
NUMBERS = (NUMBERS - NUMBERS.mean()) / NUMBERS.std()
TARGETS: dict[str, tuple[Any, Any]] = {
    "three classes": (MLPClassifier, LABELS),
    "two classes": (MLPClassifier, LABELS > 0),
    "several labels": (MLPClassifier, (X[:, :3] > 0.0).astype(int)),
    "a number": (MLPRegressor, NUMBERS),
    "two numbers": (MLPRegressor, np.stack([NUMBERS, X[:, 3]], axis=1)),
}
each_target = pytest.mark.parametrize("what", TARGETS)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """numpy's and scipy's own threads make small products wait for each other."""
    with threadpool_limits(1):
        yield


def quick(kind: Any, **given: Any) -> Any:
    return kind(**{"hidden_layer_sizes": (6,), "max_iter": 15, "random_state": 0, **given})


def fitted(what: str, **given: Any) -> tuple[Any, Any]:
    kind, y = TARGETS[what]
    return quick(kind, **given).fit(X, y), y


def same_state(one: Any, other: Any) -> bool:
    """Are weights and losses the same, bit for bit?"""
    pairs = zip([*one.coefs_, *one.intercepts_], [*other.coefs_, *other.intercepts_])
    return all(map(np.array_equal, *zip(*pairs))) and one.loss_curve_ == other.loss_curve_


# ---- scikit-learn's own checks -------------------------------------------------------------------

CHECKED = {"hidden_layer_sizes": (10,), "max_iter": 30, "learning_rate_init": 0.03}


@parametrize_with_checks(
    [
        MLPClassifier(**CHECKED),
        MLPClassifier(**{**CHECKED, "activation": "tanh"}, solver="lbfgs"),
        MLPRegressor(**CHECKED),
        MLPRegressor(**{**CHECKED, "activation": "tanh"}, solver="sgd"),
    ]
)
def test_check_estimator(estimator: Any, check: Any) -> None:
    check(estimator)


# ---- beside scikit-learn's -----------------------------------------------------------------------

SOLVERS: dict[str, dict[str, Any]] = {
    "sgd": {"solver": "sgd", "nesterovs_momentum": False},
    "nesterov": {"solver": "sgd"},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "momentum": 0.0},
    "adaptive": {
        "solver": "sgd",
        "learning_rate": "adaptive",
        "momentum": 0.0,
        "tol": 10.0,  # nothing is an improvement
        "n_iter_no_change": 3,
        "max_iter": 60,
    },
    "converging": {"solver": "sgd", "tol": 0.01, "n_iter_no_change": 2, "max_iter": 300},
    "adam": {"solver": "adam", "epsilon": 1e-14},
    "lbfgs": {"solver": "lbfgs"},
}


def beside(what: str, **given: Any) -> tuple[Any, Any]:
    """Ours and theirs, fitted to the same standardized rows with the same settings."""
    kind, y = TARGETS[what]
    given = {"hidden_layer_sizes": (5, 4), "max_iter": 25, "random_state": 3, **given}
    return kind(**given).fit(X, y), KINDS[kind](**given).fit(X, y)


def assert_same_weights(one: Any, other: Any, tolerance: float) -> None:
    assert one.n_iter_ == other.n_iter_
    for a, b in zip([*one.coefs_, *one.intercepts_], [*other.coefs_, *other.intercepts_]):
        np.testing.assert_allclose(a, b, rtol=0.0, atol=tolerance)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("what", [what for what in TARGETS if what != "two numbers"])
def test_weights_are_scikit_learns_up_to_rounding(solver: str, activation: str, what: str) -> None:
    """The same initial weights, penalty, steps, rates and end of training."""
    given = {"learning_rate_init": 0.01, "alpha": 0.3, "activation": activation, **SOLVERS[solver]}
    one, other = beside(what, **given)
    assert_same_weights(one, other, 1e-7)
    assert one.loss_ == pytest.approx(other.loss_, abs=1e-9)
    assert one.out_activation_ == other.out_activation_ and one.n_layers_ == other.n_layers_
    if solver != "lbfgs":
        np.testing.assert_allclose(one.loss_curve_, other.loss_curve_, atol=1e-9)
        assert one.t_ == other.t_ and one.best_loss_ == pytest.approx(other.best_loss_)
    if isinstance(one, MLPClassifier):
        np.testing.assert_allclose(one.predict_proba(X), other.predict_proba(X), atol=1e-7)
    assert one.score(X, TARGETS[what][1]) == pytest.approx(other.score(X, TARGETS[what][1]))


def test_two_numbers_take_the_steps_of_the_sum_of_their_losses() -> None:
    """As scikit-learn's gradient does; its loss is their mean."""
    one, other = beside("two numbers", solver="sgd", alpha=0.0, tol=0.0, activation="tanh")
    assert_same_weights(one, other, 1e-12)
    assert one.loss_ == pytest.approx(2.0 * other.loss_)


def test_minibatches_are_scikit_learns_in_the_order_of_the_rows() -> None:
    given = {"shuffle": False, "batch_size": 40, "alpha": 0.0, "solver": "sgd"}
    assert_same_weights(*beside("three classes", **given), 1e-12)


@pytest.mark.parametrize("what", ["two classes", "a number"])
def test_early_stopping_is_scikit_learns(what: str) -> None:
    given = {
        "early_stopping": True,
        "solver": "sgd",
        "learning_rate_init": 0.05,
        "max_iter": 200,
        "validation_fraction": 0.2,
        "n_iter_no_change": 4,
    }
    kind, y = TARGETS[what]
    one = quick(kind, **given).fit(X, y)
    scaling = one.scaling_  # of the rows to train on only; with it, theirs see the same rows
    assert (scaling.mean != X.mean(axis=0)).all()
    targets = y if kind is MLPClassifier else (y - scaling.target_mean) / scaling.target_scale
    other = KINDS[kind](**{"hidden_layer_sizes": (6,), "random_state": 0, **given})
    other.fit(scaling.of_features(X), targets)
    assert 4 < one.n_iter_ < 200
    assert_same_weights(one, other, 1e-9)  # those of the best score
    np.testing.assert_allclose(one.validation_scores_, other.validation_scores_, atol=1e-9)
    assert one.best_validation_score_ == max(one.validation_scores_) and one.best_loss_ is None


# ---- labels --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ["no", "yes"],
        [False, True],
        [-3, 7],
        ["a", "bb", "ccc"],
        [0.0, 1.0, 2.0],
        [10, 20, 30],
    ],
    ids=str,
)
def test_classes_are_of_any_label(names: list[Any]) -> None:
    labels = np.array(names)[LABELS % len(names)]
    model = quick(MLPClassifier, solver="lbfgs", max_iter=200).fit(X, labels)
    assert model.classes_.tolist() == names and model.predict(X).dtype == labels.dtype
    assert model.score(X, labels) > 0.9
    proba = model.predict_proba(X)
    assert proba.shape == (90, len(names)) and np.allclose(proba.sum(axis=1), 1.0)
    assert (model.classes_[proba.argmax(axis=1)] == model.predict(X)).all()
    np.testing.assert_allclose(model.predict_log_proba(X), np.log(proba), atol=1e-9)


def test_logarithms_of_tiny_probabilities_are_finite() -> None:
    model = quick(MLPClassifier, solver="lbfgs", max_iter=50).fit(X, LABELS > 0)
    far = 1e4 * X
    assert (model.predict_proba(far) == 0.0).any()
    assert np.isfinite(model.predict_log_proba(far)).all()


@pytest.mark.parametrize("make", [list, np.array], ids=["list", "array"])
def test_lists_of_strings_are_labels(make: Any) -> None:
    labels = make(["high" if label else "low" for label in LABELS])
    model = quick(MLPClassifier).fit(X.tolist(), labels)
    assert model.classes_.tolist() == ["high", "low"]


# ---- predictions ---------------------------------------------------------------------------------


def test_features_and_targets_are_scaled_inside() -> None:
    raw, far = X * [1e-6, 1.0, 1e3, 1e9] + [0.0, 50.0, -1e4, 1e10], 1e7 + 1e5 * NUMBERS
    model = quick(MLPRegressor, solver="lbfgs", max_iter=300).fit(raw, far)
    assert model.score(raw, far) > 0.9
    plain = quick(MLPRegressor, solver="lbfgs", max_iter=300).fit(X, NUMBERS)
    np.testing.assert_allclose(model.predict(raw), 1e7 + 1e5 * plain.predict(X), rtol=1e-3)
    inputs = (raw - model.scaling_.mean) / model.scaling_.scale
    outputs = model.model_.predict(inputs)
    assert (model.scaling_.to_targets(outputs) == model.predict(raw)).all()


def test_a_constant_column_does_no_harm() -> None:
    raw = np.hstack([X, np.full((90, 1), 0.1)])
    model = quick(MLPRegressor, solver="lbfgs").fit(raw, NUMBERS)
    assert model.scaling_.scale[4] == 1.0 and np.isfinite(model.predict(raw)).all()


def test_numbers_too_large_to_scale_are_named() -> None:
    raw = X.copy()
    raw[3, 2] = 1e200
    with pytest.raises(ValueError, match="X: column 2 has numbers too large to be scaled"):
        quick(MLPRegressor).fit(raw, NUMBERS)


@each_target
def test_shapes_of_predictions(what: str) -> None:
    model, y = fitted(what)
    assert model.predict(X).shape == np.shape(y) and model.predict(X[:1]).shape == (1, *y.shape[1:])


@each_target
def test_changed_weights_take_effect(what: str) -> None:
    model, _ = fitted(what)
    before = model._outputs(X)
    with pytest.raises(ValueError, match="read-only"):
        model.coefs_[0][0, 0] = 1.0
    model.coefs_ = [2.0 * weight for weight in model.coefs_]
    assert not np.allclose(model._outputs(X), before)
    model.coefs_[0], model.coefs_[1] = (weight / 2.0 for weight in model.coefs_)
    assert (model._outputs(X) == before).all()


def test_the_network_is_an_mlp_to_go_on_with(tmp_path: Path) -> None:
    labels = np.array(["a", "b", "c"])[LABELS]
    model = quick(MLPClassifier).fit(X, labels)
    assert isinstance(model.model_, nn.MLP)
    before, network = model.predict_proba(X), model.model_
    pygradc.set_data(network.parameters(), np.zeros(len(network.parameters())))
    assert (model.predict_proba(X) == before).all()  # it is a copy
    pygradc.save_model(model.model_, tmp_path / "m.npz", model.scaling_, model.classes_.tolist())
    assert (pygradc.load_model(tmp_path / "m.npz").predict(X) == model.predict(X)).all()


# ---- copies, files, processes --------------------------------------------------------------------


def through_joblib(model: Any) -> Any:
    joblib = pytest.importorskip("joblib")
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    return joblib.load(file)


COPIES = {
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "deepcopy": copy.deepcopy,
    "joblib": through_joblib,
}


@pytest.mark.parametrize("how", COPIES)
@each_target
def test_a_copy_predicts_the_same_bits(what: str, how: str) -> None:
    model, _ = fitted(what)
    again = COPIES[how](model)
    assert (again.predict(X) == model.predict(X)).all()
    assert (again._outputs(X) == model._outputs(X)).all() and same_state(again, model)
    assert again.get_params() == model.get_params()
    kind = type(model)
    assert COPIES[how](kind(alpha=0.5)).alpha == 0.5  # not fitted
    with pytest.raises(ValueError, match="read-only"):
        again.coefs_[0][0, 0] = 1.0


@pytest.mark.parametrize("solver", ["adam", "nesterov", "sgd", "invscaling", "adaptive"])
def test_a_copy_goes_on_with_the_same_bits(solver: str) -> None:
    given = {"batch_size": 20, **SOLVERS[solver]}
    model, y = fitted("three classes", **given)
    again = pickle.loads(pickle.dumps(model))
    for each in (model, again):
        for _ in range(5):
            each.partial_fit(X, y)
    assert same_state(again, model)
    assert len(model.loss_curve_) > 5 and model.n_iter_ == 1


def test_another_process_predicts_the_same_bits(tmp_path: Path) -> None:
    model, _ = fitted("three classes", activation="tanh")
    (tmp_path / "model").write_bytes(pickle.dumps((model, X)))
    code = (
        "import pickle, sys; model, X = pickle.load(open(sys.argv[1], 'rb'));"
        "sys.stdout.buffer.write(model.predict_proba(X).tobytes())"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "model")]
    done = subprocess.run(command, capture_output=True, cwd=ROOT)
    assert done.stdout == model.predict_proba(X).tobytes(), done.stderr


def test_a_pickle_holds_no_recording() -> None:
    model, _ = fitted("three classes")
    assert b"_network" not in pickle.dumps(model) and len(pickle.dumps(model)) < 20_000


@pytest.mark.once
def test_a_grid_search_in_two_processes() -> None:
    grid = {"mlpclassifier__hidden_layer_sizes": [(2,), (8,)], "mlpclassifier__alpha": [0.0, 1.0]}
    model = make_pipeline(StandardScaler(), quick(MLPClassifier, solver="lbfgs"))
    try:
        search = GridSearchCV(model, grid, n_jobs=2, cv=2).fit(X, LABELS)
    finally:
        get_reusable_executor().shutdown(wait=True, kill_workers=True)  # or they stay for minutes
    alone = GridSearchCV(model, grid, cv=2).fit(X, LABELS)
    assert (
        search.cv_results_["mean_test_score"] == alone.cv_results_["mean_test_score"]
    ).all() and search.best_params_ == alone.best_params_
    assert (search.predict_proba(X) == alone.predict_proba(X)).all()


def test_cross_validation() -> None:
    given = {"solver": "lbfgs", "max_iter": 100}
    scores = cross_val_score(quick(MLPClassifier, **given), X, LABELS, cv=3)
    others = cross_val_score(quick(MLPRegressor, **given), X, NUMBERS, cv=3)
    assert scores.shape == others.shape == (3,) and scores.min() > 0.6 and others.min() > 0.6


def test_threads_predict_with_one_estimator() -> None:
    model, _ = fitted("three classes")
    expected, model = model.predict_proba(X), pickle.loads(pickle.dumps(model))
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(model.predict_proba(X))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and all((each == expected).all() for each in found)


# ---- determinism ---------------------------------------------------------------------------------


@each_kind
def test_a_random_state_determines_every_bit(kind: Any) -> None:
    y = LABELS if kind is MLPClassifier else NUMBERS
    given = {"batch_size": 20, "early_stopping": True, "validation_fraction": 0.3}
    runs = [quick(kind, random_state=seed, **given).fit(X, y) for seed in (1, 1, 2)]
    drawn = [quick(kind, random_state=np.random.RandomState(1), **given).fit(X, y) for _ in (1, 2)]
    assert same_state(runs[0], runs[1]) and not same_state(runs[0], runs[2])
    assert same_state(drawn[0], drawn[1]) and same_state(drawn[0], runs[0])


def test_without_one_runs_differ_and_numpy_decides() -> None:
    free = [quick(MLPRegressor, random_state=None) for _ in range(2)]
    assert not same_state(*(model.fit(X, NUMBERS) for model in free))
    np.random.seed(5)
    one = clone(free[0]).fit(X, NUMBERS)
    np.random.seed(5)
    assert same_state(one, clone(free[0]).fit(X, NUMBERS))


# ---- going on ------------------------------------------------------------------------------------


@each_target
@pytest.mark.parametrize("solver", ["adam", "nesterov", "adaptive"])
def test_partial_fits_are_the_epochs_of_a_fit(what: str, solver: str) -> None:
    kind, y = TARGETS[what]
    given = {**SOLVERS[solver], "max_iter": 12, "tol": 0.0}
    whole = quick(kind, **given).fit(X, y)
    steps = quick(kind, **given)
    first = {"classes": np.unique(y)} if kind is MLPClassifier else {}
    if y.ndim == 2 and first:
        first = {"classes": [0, 1, 2]}
    for epoch in range(12):
        steps.partial_fit(X, y, **(first if not epoch else {}))
    assert same_state(steps, whole) and steps.t_ == whole.t_


def test_partial_fit_sees_some_classes_at_a_time() -> None:
    model = quick(MLPClassifier, learning_rate_init=0.02)
    order = np.argsort(LABELS, kind="stable")
    model.partial_fit(X, LABELS, classes=[0, 1, 2])
    for _ in range(60):
        for part in np.array_split(np.random.RandomState(0).permutation(order), 9):
            model.partial_fit(X[part], LABELS[part])
    assert model.score(X, LABELS) > 0.9
    model.partial_fit(X[LABELS == 1], LABELS[LABELS == 1], classes=[2, 1, 0])  # of one class


def test_partial_fit_says_what_is_wrong() -> None:
    model = quick(MLPClassifier)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        model.partial_fit(X, LABELS)
    with pytest.raises(ValueError, match="previously unseen labels"):
        model.partial_fit(X, LABELS, classes=[0, 1])
    model.partial_fit(X, LABELS, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="before they were"):
        model.partial_fit(X, LABELS, classes=[0, 1, 2, 3])
    with pytest.raises(ValueError, match="4 features"):
        model.partial_fit(X[:, :3], LABELS)
    with pytest.raises(ValueError, match="one column of labels, or several"):
        model.partial_fit(X, TARGETS["several labels"][1])
    with pytest.raises(ValueError, match="does not support early_stopping"):
        model.set_params(early_stopping=True).partial_fit(X, LABELS)
    with pytest.raises(AttributeError, match="partial_fit"):
        _ = quick(MLPClassifier, solver="lbfgs").partial_fit
    with pytest.raises(ValueError, match="2 columns for 3 classes"):
        quick(MLPClassifier).partial_fit(X, (X[:, :2] > 0).astype(int), classes=[0, 1, 2])


@each_target
def test_warm_start_goes_on_with_the_weights(what: str) -> None:
    kind, y = TARGETS[what]
    model = quick(kind, solver="sgd", momentum=0.0, tol=0.0, max_iter=10, warm_start=True)
    model.fit(X, y).fit(X, y)
    whole = quick(kind, solver="sgd", momentum=0.0, tol=0.0, max_iter=20).fit(X, y)
    assert same_state(model, whole) and len(model.loss_curve_) == 20 and model.n_iter_ == 10
    with pytest.raises(ValueError, match=r"hidden_layer_sizes \[7\], but \[6\]"):
        model.set_params(hidden_layer_sizes=(7,)).fit(X, y)
    with pytest.raises(ValueError, match="activation 'tanh', but 'relu'"):
        model.set_params(hidden_layer_sizes=(6,), activation="tanh").fit(X, y)
    cold = model.set_params(warm_start=False).fit(X, y)
    assert len(cold.loss_curve_) == 10


def test_another_solver_goes_on_from_the_weights() -> None:
    model, y = fitted("a number", max_iter=3)
    before = model.score(X, y)
    model.set_params(solver="lbfgs", warm_start=True, max_iter=100).fit(X, y)
    assert model.score(X, y) > max(before, 0.8)
    model.set_params(solver="sgd", learning_rate_init=1e-6).partial_fit(X, y)
    assert model.score(X, y) > 0.8


# ---- weights of rows -----------------------------------------------------------------------------


@each_target
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_weight_counts_as_so_many_rows(what: str, solver: str) -> None:
    kind, y = TARGETS[what]
    weights = np.random.default_rng(5).integers(0, 3, 90)
    weights[np.flatnonzero(LABELS == 0)[:2]] = 1
    given = {"alpha": 0.5, "activation": "tanh", **SOLVERS[solver]}
    one = quick(kind, **given).fit(X, y, sample_weight=weights)
    other = quick(kind, **given).fit(np.repeat(X, weights, axis=0), np.repeat(y, weights, axis=0))
    for a, b in zip(one.coefs_, other.coefs_):
        np.testing.assert_allclose(a, b, atol=1e-6)
    plain = quick(kind, **given).fit(X, y)
    assert not np.allclose(one.coefs_[0], plain.coefs_[0], atol=1e-3)
    scaled = quick(kind, **{**given, "alpha": 5.0}).fit(X, y, sample_weight=10.0 * weights)
    for a, b in zip(one.coefs_, scaled.coefs_):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (np.full(90, -1.0), "must not be negative"),
        (np.zeros(90), "all weights are zero"),
        (np.ones(89), r"shape \(89,\), expected \(90,\)"),
        (np.ones((90, 2)), r"shape \(90, 2\)"),
        (np.where(np.arange(90) == 3, np.nan, 1.0), "sample_weight contains NaN"),
    ],
    ids=["negative", "zero", "short", "table", "nan"],
)
def test_wrong_weights_are_named(weights: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        quick(MLPClassifier).fit(X, LABELS, weights)


# ---- what a newcomer trips over ------------------------------------------------------------------


def test_a_data_frame_is_known_by_its_names() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X.copy(), columns=["north", "east", "south", "west"])
    for labels in (
        pandas.Series(LABELS).map({0: "a", 1: "b", 2: "c"}),
        pandas.Series(LABELS).map({0: "a", 1: "b", 2: "c"}).astype("category"),
        pandas.Series(LABELS).map({0: "a", 1: "b", 2: "c"}).astype("string"),
    ):
        model = quick(MLPClassifier).fit(frame, labels)
        assert model.classes_.tolist() == ["a", "b", "c"]
        assert model.feature_names_in_.tolist() == [*frame] and model.n_features_in_ == 4
        assert model.scaling_.feature_names == tuple(frame)
        assert (model.predict(frame) == quick(MLPClassifier).fit(X, labels).predict(X)).all()
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[["east", "north", "south", "west"]])
    with pytest.warns(UserWarning, match="valid feature names"):
        model.predict(X)
    frame.loc[2, "east"] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        model.fit(frame, labels)
    with pytest.raises(ValueError, match="could not convert string to float"):
        model.fit(frame.assign(north="x"), labels)


def test_a_column_of_targets_is_flattened_with_a_warning() -> None:
    for kind, y in ((MLPClassifier, LABELS), (MLPRegressor, NUMBERS)):
        with pytest.warns(DataConversionWarning):
            model = quick(kind).fit(X, y.reshape(-1, 1))
        assert model.predict(X).shape == (90,)


def test_single_precision_is_converted() -> None:
    model = quick(MLPRegressor).fit(X.astype(np.float32), NUMBERS.astype(np.float32))
    again = quick(MLPRegressor).fit(X.astype(np.float32).astype(float), NUMBERS.astype(np.float32))
    assert model.predict(X.astype(np.float32)).dtype == np.float64 and same_state(model, again)


def test_integers_are_features_and_targets() -> None:
    rows = np.arange(20).reshape(10, 2)
    model = quick(MLPRegressor, solver="lbfgs", max_iter=200).fit(rows, np.arange(10))
    assert model.score(rows, np.arange(10)) > 0.9


@each_kind
def test_masked_entries_are_refused(kind: Any) -> None:
    y = LABELS if kind is MLPClassifier else NUMBERS
    masked = np.ma.masked_array(X, mask=X > 1.0)
    with pytest.raises(ValueError, match="masked"):
        quick(kind).fit(masked, y)
    with pytest.raises(ValueError, match="masked"):
        quick(kind).fit(X, np.ma.masked_array(y, mask=X[:, 0] > 1.0))
    with pytest.raises(ValueError, match="masked"):
        quick(kind).fit(X, y).predict(masked)


@each_kind
def test_sparse_rows_are_refused(kind: Any) -> None:
    y = LABELS if kind is MLPClassifier else NUMBERS
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        quick(kind).fit(sparse.csr_matrix(X), y)
    model = quick(kind).fit(X, y)
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        model.predict(sparse.csr_matrix(X))


def test_one_class_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"at least 2 classes .* only one class: .*'a'"):
        quick(MLPClassifier).fit(X, ["a"] * 90)
    with pytest.raises(ValueError, match="only one class"):
        quick(MLPClassifier).fit(X, LABELS, (LABELS == 1).astype(float))
    with pytest.raises(ValueError, match="only one class"):
        quick(MLPClassifier).partial_fit(X, ["a"] * 90, classes=["a"])


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_tiny_data_sets(rows: int) -> None:
    model = quick(MLPRegressor, solver="lbfgs").fit(X[:rows], NUMBERS[:rows])
    assert np.allclose(model.predict(X[:rows]), NUMBERS[:rows], atol=0.2)
    if rows == 1:
        with pytest.raises(ValueError, match="one class"):
            quick(MLPClassifier).fit(X[:1], [1])
        return
    labels = np.arange(rows)
    model = quick(MLPClassifier, solver="lbfgs", alpha=0.0).fit(X[:rows], labels)
    assert (model.predict(X[:rows]) == labels).all()
    with pytest.raises(
        ValueError, match=r"least populated class|validation set is too small|test_size"
    ):
        quick(MLPClassifier, early_stopping=True).fit(X[:rows], labels)


def test_one_feature_and_one_row() -> None:
    model = quick(MLPRegressor).fit(X[:, :1], NUMBERS)
    assert model.predict([[0.5]]).shape == (1,)
    for wrong in ([0.5], 0.5):
        with pytest.raises(ValueError, match=r"[Rr]eshape"):
            model.predict(wrong)


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (NUMBERS, "Unknown label type: continuous"),
        (np.stack([LABELS, LABELS], axis=1) + 1, "several columns of classes|multioutput"),
        (np.where(LABELS == 0, np.nan, 1.0), "NaN"),
        (LABELS[:50], "inconsistent numbers of samples"),
        (None, "requires y to be passed"),
    ],
    ids=["numbers", "columns of classes", "nan", "short", "none"],
)
def test_wrong_labels_are_named(y: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        quick(MLPClassifier).fit(X, y)


def test_strings_are_no_numbers() -> None:
    with pytest.raises(ValueError, match="could not convert string to float"):
        quick(MLPRegressor).fit(X, np.array(["a", "b", "c"])[LABELS])


@each_kind
def test_what_isnt_fitted_says_so(kind: Any) -> None:
    for ask in (kind().predict, lambda rows: kind().model_):
        with pytest.raises(NotFittedError, match="not fitted yet"):
            ask(X)


def test_unknown_arguments_are_refused() -> None:
    with pytest.raises(TypeError, match="class_weight"):
        MLPClassifier(class_weight="balanced")
    with pytest.raises(TypeError, match="loss"):
        MLPRegressor(loss="poisson")
    with pytest.raises(ValueError, match="Invalid parameter 'hidden'"):
        MLPClassifier().set_params(hidden=3)


def test_weights_balance_classes() -> None:
    rare = X[:, 0] + X[:, 1] > 1.8
    model = quick(MLPClassifier, hidden_layer_sizes=(), solver="lbfgs", alpha=3.0)
    plain = model.fit(X, rare).predict(X)
    balanced = model.fit(X, rare, compute_sample_weight("balanced", rare)).predict(X)
    assert rare.sum() < 15 and balanced[rare].mean() == 1.0 > plain[rare].mean()


# ---- arguments -----------------------------------------------------------------------------------


@each_kind
def test_arguments_have_scikit_learns_names_and_defaults(kind: Any) -> None:
    others = KINDS[kind]().get_params()
    others.pop("loss", None)
    assert kind().get_params() == others


WRONG = [
    ("hidden_layer_sizes", (0,), ValueError, "at least 1"),
    ("hidden_layer_sizes", (3.5,), TypeError, "whole numbers"),
    ("hidden_layer_sizes", "ab", TypeError, "whole numbers"),
    ("hidden_layer_sizes", -1, ValueError, "at least 1"),
    ("activation", "rellu", ValueError, "'relu'"),
    ("activation", np.tanh, TypeError, "must be a name"),
    ("solver", "rmsprop", ValueError, "one of .*adam"),
    ("alpha", -0.1, ValueError, r"in \[0, inf\)"),
    ("alpha", "0.1", TypeError, "must be a number"),
    ("alpha", np.nan, ValueError, r"in \[0, inf\)"),
    ("batch_size", 0, ValueError, "at least 1"),
    ("batch_size", "all", TypeError, "whole number"),
    ("learning_rate", 0.1, ValueError, "one of .*constant"),
    ("learning_rate_init", 0, ValueError, r"in \(0, inf\)"),
    ("power_t", -1, ValueError, "in"),
    ("max_iter", 0, ValueError, "at least 1"),
    ("max_iter", 1.5, TypeError, "whole number"),
    ("shuffle", "no", TypeError, "True or False"),
    ("random_state", "x", ValueError, "seed"),
    ("tol", -1.0, ValueError, "in"),
    ("verbose", "yes", TypeError, "True, False or a whole number"),
    ("warm_start", 1, TypeError, "True or False"),
    ("momentum", 1.5, ValueError, r"in \[0, 1\]"),
    ("nesterovs_momentum", None, TypeError, "True or False"),
    ("early_stopping", 5, TypeError, "True or False"),
    ("validation_fraction", 1.0, ValueError, r"in \[0, 1\)"),
    ("beta_1", 1.0, ValueError, r"in \[0, 1\)"),
    ("beta_2", True, TypeError, "must be a number"),
    ("epsilon", 0.0, ValueError, r"in \(0, inf\)"),
    ("n_iter_no_change", 0, ValueError, "at least 1"),
    ("max_fun", 0.5, TypeError, "whole number"),
]


@pytest.mark.parametrize(("name", "value", "error", "words"), WRONG)
def test_wrong_arguments_are_named(name: str, value: Any, error: Any, words: str) -> None:
    model = MLPClassifier(**{name: value})  # checked by fit, so that grids may be built
    pattern = words if name == "random_state" else rf"MLPClassifier: {name}.*{words}"
    with pytest.raises(error, match=pattern):
        model.fit(X, LABELS)


def test_every_argument_has_a_wrong_value() -> None:
    assert {name for name, *_ in WRONG} == MLPClassifier().get_params().keys()


def test_numbers_of_numpy_are_arguments() -> None:
    model = quick(
        MLPClassifier,
        hidden_layer_sizes=np.array([4, 3]),
        alpha=np.float32(0.1),
        batch_size=np.int64(20),
        momentum=1,
        n_iter_no_change=np.inf,
        early_stopping=np.bool_(False),
    ).fit(X, LABELS)
    assert [weight.shape for weight in model.coefs_] == [(4, 4), (4, 3), (3, 3)]


@pytest.mark.parametrize("activation", ["gelu", "silu", "sin", "softplus"])
def test_other_ops_are_activations(activation: str) -> None:
    model = quick(MLPRegressor, activation=activation, solver="lbfgs", max_iter=200)
    assert model.fit(X, NUMBERS).score(X, NUMBERS) > 0.8
    assert f"{activation}" in model.model_.summary()


def test_no_hidden_layer_is_a_linear_model() -> None:
    model = MLPRegressor((), solver="lbfgs", alpha=0.0, tol=1e-10, max_iter=1000).fit(
        X, X @ [1, 2, 3, 4]
    )
    assert np.allclose(model.coefs_[0][:, 0] * model.scaling_.target_scale, [1, 2, 3, 4], atol=1e-6)


def test_a_batch_beyond_the_rows_warns() -> None:
    with pytest.warns(UserWarning, match="batch_size=500 is more than the 90 rows"):
        quick(MLPRegressor, batch_size=500).fit(X, NUMBERS)


# ---- how training ends ---------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_training_that_hasnt_converged_warns(solver: str) -> None:
    with pytest.warns(ConvergenceWarning, match=r"max_iter=2|lbfgs"):
        quick(MLPClassifier, solver=solver, max_iter=2).fit(X, LABELS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick(MLPClassifier, max_iter=2000, tol=0.01, solver=solver).fit(X, LABELS)


def test_training_that_diverges_is_an_error_that_names_the_rate() -> None:
    model = quick(MLPRegressor, solver="sgd", learning_rate_init=0.01).fit(X, NUMBERS)
    before = model.predict(X)
    model.set_params(learning_rate_init=1e200, warm_start=True)
    for warm, rows in ((True, X), (False, X[:, :2])):
        model.set_params(warm_start=warm)
        with pytest.raises(ValueError, match=r"training diverged.*learning_rate_init=1e\+200"):
            model.fit(rows, NUMBERS)
        assert (model.predict(X) == before).all() and model.n_features_in_ == 4
    with pytest.raises(ValueError, match="training diverged"):
        model.partial_fit(X, 1e300 * NUMBERS, 1e300 * np.abs(NUMBERS))
    assert (model.predict(X) == before).all() and len(model.loss_curve_) == 15


def test_a_first_fit_that_fails_leaves_nothing_fitted() -> None:
    model = quick(MLPRegressor, solver="sgd", learning_rate_init=1e200)
    with pytest.raises(ValueError, match="training diverged"):
        model.fit(X, NUMBERS)
    assert vars(model) == model.get_params()


def test_rows_too_large_to_predict_are_named() -> None:
    model = quick(MLPClassifier).fit(1e-3 * X, LABELS)
    with pytest.raises(ValueError, match="X: row 2 has numbers too large"):
        model.predict([X[0], X[1], [1e308, -1e308, 1e308, 1e308]])


def test_ctrl_c_keeps_what_was_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    is_over = Progress.is_over

    def press(self: Progress, *given: Any) -> bool:
        over = is_over(self, *given)
        if len(self.losses) == 5:
            raise KeyboardInterrupt
        return over

    monkeypatch.setattr(Progress, "is_over", press)
    with pytest.warns(UserWarning, match="interrupted by user"):
        model = quick(MLPClassifier).fit(X, LABELS)
    monkeypatch.undo()
    assert model.n_iter_ == 5 == len(model.loss_curve_)
    assert same_state(model, quick(MLPClassifier, max_iter=5).fit(X, LABELS))


def test_verbose_prints_each_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    quick(MLPClassifier, max_iter=2, verbose=True).fit(X, LABELS)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[0].startswith("Iteration 1, loss = ")
    given = {"early_stopping": True, "validation_fraction": 0.3, "verbose": 1}
    quick(MLPClassifier, max_iter=2, **given).fit(X, LABELS)
    assert "Validation score: " in capsys.readouterr().out
    quick(MLPClassifier, max_iter=3, solver="lbfgs", verbose=True).fit(X, LABELS)
    assert "Iteration 3, loss = " in capsys.readouterr().out


def test_digits() -> None:
    data = datasets.load("digits")
    train = np.arange(len(data.labels)) % 4 > 0
    names = np.array(data.class_names)[data.labels]
    model = MLPClassifier(max_iter=60, random_state=0).fit(data.features[train], names[train])
    assert model.score(data.features[~train], names[~train]) > 0.96


# ---- the import, the documents -------------------------------------------------------------------


def test_import_leaves_scikit_learn_alone() -> None:
    code = "import sys, pygradc; print('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "False\n", done.stderr


def test_without_scikit_learn_the_extra_is_named() -> None:
    code = "import sys; sys.modules['sklearn'] = None; import pygradc.sklearn"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: pygradc.sklearn needs scikit-learn 1.6 or newer")
    assert 'pip install "pygradc[sklearn]"' in last


def programs(text: str) -> Iterator[list[str]]:
    """The lines of code of each session."""
    for block in text.split("```python\n")[1:]:
        lines = block.partition("```")[0].splitlines()
        yield [line for line in lines if line.startswith((">>> ", "... "))]


def test_the_page_and_the_docstrings_print_what_they_say() -> None:
    page = ROOT / "docs" / "scikit-learn.md"
    results = doctest.testfile(str(page), module_relative=False)
    assert results.attempted > 20 and results.failed == 0
    assert doctest.testmod(estimators) == (0, 8)
    lengths = [len(lines) for lines in programs(page.read_text(encoding="utf-8"))]
    assert lengths and max(lengths) <= 12
