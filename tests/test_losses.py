"""Do losses give the right number for whatever targets and logits come as, recorded and not?"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import pygradc
from pygradc import Value, losses, reference

SCORES = [0.5, -2.0, 1.5, 0.25]
SIGNS = [1, -1, 1, 1]
COUNTS = [200, 3, 255, 0]

CONVERSIONS: dict[str, Callable[[list[int]], Any]] = {
    "ints": list,
    "floats": lambda t: list(map(float, t)),
    "a tuple": tuple,
    "an iterator": iter,
    "fractions": lambda t: list(map(Fraction, t)),
    "float64": lambda t: np.array(t, dtype=np.float64),
    "float32": lambda t: np.array(t, dtype=np.float32),
    "float16": lambda t: np.array(t, dtype=np.float16),
    "int64": np.array,
    "int16": lambda t: np.array(t, dtype=np.int16),
    "0-d arrays": lambda t: [np.array(x) for x in t],
    "numpy's ints": lambda t: [np.int32(x) for x in t],
    "Values": lambda t: list(map(Value, t)),
    "an object array": lambda t: np.array(list(map(Value, t))),
    "an unmasked array": np.ma.array,
}
SIGNED = {"int8": lambda t: np.array(t, dtype=np.int8), **CONVERSIONS}
UNSIGNED = {
    "uint8": lambda t: np.array(t, dtype=np.uint8),
    "uint8 scalars": lambda t: [np.uint8(x) for x in t],
    "uint64": lambda t: np.array(t, dtype=np.uint64),
    **CONVERSIONS,
}


def of(numbers: Any) -> list[Value]:
    return [Value(x) for x in numbers]


def with_gradients(loss: Callable[..., Any], numbers: Any, targets: Any) -> list[float]:
    values = of(numbers)
    result = loss(values, targets)
    result.backward()
    return [result.data, *(v.grad for v in values)]


# ---- targets of any kind -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SIGNED)
def test_hinge_of_targets_of_any_kind(kind: str) -> None:
    expected = [(0.5 + 0 + 0 + 0.75) / 4, -0.25, 0.0, 0.0, -0.25]
    assert with_gradients(losses.hinge, [0.5, -2.0, 1.5, 0.25], SIGNED[kind](SIGNS)) == expected


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint64, np.int8, np.bool_])
def test_hinge_of_targets_of_few_bits(dtype: Any) -> None:
    """-1 isn't among them; 1 - 1*0.5 is 0.5 and not 1 + 255*0.5."""
    for targets in (np.array([1, 1], dtype=dtype), [dtype(1), dtype(1)]):
        assert losses.hinge(of([0.5, 2.0]), targets).data == 0.25
    assert losses.hinge(Value(0.5), dtype(1)).data == 0.5
    assert losses.hinge(of([0.5]), np.array([-128], dtype=np.int8)).data == 1 + 128 * 0.5


@pytest.mark.parametrize("kind", UNSIGNED)
def test_mse_of_targets_of_any_kind(kind: str) -> None:
    differences = np.array(SCORES) - COUNTS
    found = with_gradients(losses.mse, SCORES, UNSIGNED[kind](COUNTS))
    assert found == pytest.approx([np.mean(differences**2), *(differences / 2)], rel=1e-14)
    assert losses.mse(UNSIGNED[kind](COUNTS), of(SCORES)).data == pytest.approx(found[0])


def test_mse_of_numbers_that_overflow_in_their_own_type() -> None:
    a, b = np.array([200, 0], dtype=np.uint8), np.array([0, 200], dtype=np.uint8)
    assert losses.mse(a, b) == losses.mse(a.astype(np.int8), b.astype(np.int8)) * 0 + 40000.0
    assert losses.mse([np.uint8(3)], of([5.0])).data == 4.0


@pytest.mark.parametrize("kind", ["int8", "uint8", "bool", "0-d"])
def test_probabilities_of_any_kind(kind: str) -> None:
    one_hot = {
        "int8": np.array([0, 1, 0], dtype=np.int8), "uint8": np.array([0, 1, 0], dtype=np.uint8),
        "bool": np.array([False, True, False]), "0-d": [np.array(0), np.array(1), np.array(0)],
    }[kind]  # fmt: skip
    expected = with_gradients(losses.soft_cross_entropy, [0.5, -1.0, 2.0], [0.0, 1.0, 0.0])
    assert with_gradients(losses.soft_cross_entropy, [0.5, -1.0, 2.0], one_hot) == expected


@pytest.mark.parametrize(
    "label",
    [1, 1.0, True, np.int8(1), np.uint8(1), np.float32(1), np.array(1), np.array(1.0), np.True_],
    ids=repr,
)
def test_labels_of_any_kind(label: Any) -> None:
    expected = with_gradients(losses.cross_entropy, [0.5, -1.0, 2.0], 1)
    assert with_gradients(losses.cross_entropy, [0.5, -1.0, 2.0], label) == expected
    rows = [of([0.5, -1.0, 2.0])] * 2
    for labels in ([label, label], np.array([label, label]), iter([label, label])):
        assert losses.cross_entropy(rows, labels).data == pytest.approx(expected[0])


def test_tensors_and_series_are_numbers() -> None:
    torch = pytest.importorskip("torch")
    one, row = torch.tensor(1), [0.5, -1.0, 2.0]
    assert losses.hinge(Value(0.5), one).data == 0.5
    assert losses.mse(of([0.5, 2.0]), torch.tensor([1.0, 2.0])).data == 0.125
    expected = losses.cross_entropy(of(row), 1).data
    assert losses.cross_entropy(of(row), one).data == expected
    assert losses.cross_entropy([of(row)], torch.tensor([1])).data == expected
    pandas = pytest.importorskip("pandas")
    series = pandas.Series([1, 2], index=[5, 6])
    assert losses.mse(of([0.5, 2.0]), series).data == 0.125
    assert losses.mse([of([0.5, 2.0])], pandas.DataFrame({"a": [1], "b": [2]})).data == 0.125


@pytest.mark.parametrize(
    "label", [math.nan, math.inf, 1.5, "1", None, 3, -1, np.array([1]), 1j], ids=repr
)
def test_labels_that_are_no_class(label: Any) -> None:
    with pytest.raises(ValueError, match="cross_entropy: "):
        losses.cross_entropy(of([0.5, -1.0, 2.0]), label)


def test_one_hot_labels_are_told_where_to_go() -> None:
    with pytest.raises(ValueError, match="one-hot rows are for soft_cross_entropy"):
        losses.cross_entropy(of([0.5, -1.0, 2.0]), [0, 1, 0])
    with pytest.raises(ValueError, match="one-hot rows are for soft_cross_entropy"):
        losses.cross_entropy([of([0.5, -1.0])], [[0, 1]])


# ---- batches -------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [losses.mse, losses.hinge])
@pytest.mark.parametrize(
    "convert", [np.array, list, np.float32, lambda t: [np.array(r) for r in t]]
)
def test_a_batch_of_rows_is_the_mean_over_all(loss: Any, convert: Any) -> None:
    numbers, targets = [[0.5, -1.0], [2.0, 0.25], [1.0, -3.0]], [[1, -1], [-1, 1], [1, 1]]
    flat_numbers, flat_targets = ([x for row in rows for x in row] for rows in (numbers, targets))
    rows = [of(row) for row in numbers]
    result = loss(rows, convert(targets))
    result.backward()
    expected = with_gradients(loss, flat_numbers, flat_targets)
    assert [result.data, *(v.grad for row in rows for v in row)] == expected
    assert loss(np.array(rows), convert(targets)).data == expected[0]
    assert loss([np.array(row) for row in rows], convert(targets)).data == expected[0]


def test_a_column_of_targets_for_single_outputs() -> None:
    """torch would make a square of them."""
    found = losses.mse(of([1.0, 2.0, 3.0]), np.array([[1.0], [1.0], [1.0]]))
    assert type(found) is Value and found.data == pytest.approx(5 / 3)


@pytest.mark.parametrize(
    ("numbers", "targets"),
    [
        ([[1.0, 2.0]], [[1.0]]), ([[1.0], [2.0]], [[1.0, 2.0]]),
        ([[1.0, 2.0], [3.0]], np.ones((2, 2))),
        ([1.0, 2.0], np.ones((2, 2))), (np.ones((2, 2)), [1.0, 2.0]), ([[]], [[]]),
    ],
)  # fmt: skip
def test_shapes_that_differ_are_refused(numbers: Any, targets: Any) -> None:
    with pytest.raises(ValueError, match=r"predictions for|nothing to average"):
        losses.mse(numbers, targets)


def test_a_batch_for_soft_cross_entropy() -> None:
    rows, targets = [[0.5, -1.0, 2.0], [1.0, 1.0, 0.0]], np.array([[0.2, 0.3, 0.5], [0, 1, 0]])
    each = [losses.soft_cross_entropy(of(r), t).data for r, t in zip(rows, targets)]
    assert losses.soft_cross_entropy([of(r) for r in rows], targets).data == sum(each) * 0.5


def test_a_recorded_row_of_several_outputs() -> None:
    w = Value(2.0)
    loss = pygradc.compile(lambda x, y: losses.mse([w * xi for xi in x], y))
    xs, ys = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1, 1], [1, 1]], dtype=np.uint8)
    assert loss.map(xs, ys).tolist() == [5.0, 37.0]


# ---- weights of any sum -------------------------------------------------------------------------


def cross_entropy_of(logits: list[float], weights: list[float]) -> tuple[float, list[float]]:
    """-(sum of w * log softmax), and its gradients by the logits and by the weights, by hand."""
    largest = max(logits)
    exps = [math.exp(x - largest) for x in logits]
    total = math.fsum(exps)
    losses_ = [largest + math.log(total) - x for x in logits]
    whole = math.fsum(weights)
    by_logits = [whole * e / total - w for e, w in zip(exps, weights)]
    return math.fsum(w * x for w, x in zip(weights, losses_)), [*by_logits, *losses_]


LOGITS = [0.5, -1.25, 2.0]
WEIGHTS = [
    [0.0, 0.0, 2.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.3, 0.3, 0.3], [-1.0, 3.0, 0.5],
    [0.2, 0.3, 0.5], [0.0, 1.0, 0.0], [0.1, 0.2, 0.70001],
]  # fmt: skip


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_weights_of_any_sum(weights: list[float]) -> None:
    """As of classes, or of several at once: value and gradients, the same bits recorded and not."""
    loss, gradients = cross_entropy_of(LOGITS, weights)
    plain = with_gradients(losses.soft_cross_entropy, LOGITS, weights)
    assert plain == pytest.approx([loss, *gradients[:3]], rel=1e-14, abs=1e-15)
    for engine in (Value, reference.Value):
        values, ps = list(map(engine, LOGITS)), list(map(engine, weights))
        result: Any = losses.soft_cross_entropy(values, ps)
        result.backward()
        assert [result.data, *(v.grad for v in values)] == plain
        assert [p.grad for p in ps] == pytest.approx(gradients[3:], rel=1e-14)
    for mode in ("exact", "fast"):
        recorded = pygradc.compile(losses.soft_cross_entropy, math=mode)
        found, (by_logits, by_weights) = recorded.gradients([LOGITS] * 5, [weights] * 5)
        if mode == "exact":
            assert [found[4], *by_logits[4]] == plain
        assert [found[4], *by_logits[4]] == pytest.approx(plain, rel=1e-14, abs=1e-15)
        assert by_weights[4] == pytest.approx(gradients[3:], rel=1e-14)
        constant = pygradc.compile(lambda *x: losses.soft_cross_entropy(x, weights), math=mode)
        assert constant(*LOGITS).data == pytest.approx(loss, rel=1e-14, abs=1e-15)


def test_small_weights_keep_their_digits() -> None:
    for weights in ([0.0, 0.0, 1.0], [0.25, 0.5, 0.5]):
        full = with_gradients(losses.soft_cross_entropy, LOGITS, [w * 2 for w in weights])
        small = with_gradients(losses.soft_cross_entropy, LOGITS, [w * 2.0**-40 for w in weights])
        assert [x * 2.0**41 for x in small] == pytest.approx(full, rel=1e-14)


def without_sum(logits: list[Value], weights: list[float]) -> Any:
    """As if each sum were 1."""
    half = max(v.data for v in logits) * 0.5
    halves = [v * -0.5 + half for v in logits]
    exps = [(x * -2.0).exp() for x in halves]
    total = sum(exps[1:], exps[0]).log() * 0.5
    for x, p in zip(halves, weights):
        total = total + p * x
    return total * 2.0


def test_a_sum_that_is_1_but_for_rounding_changes_no_bit() -> None:
    rng = np.random.default_rng(3)
    rows = [[0.1] * 10, *rng.dirichlet(np.ones(10), 20).tolist()]
    rows += rng.dirichlet(np.ones(10), 20).astype(np.float32).tolist()
    assert len({math.fsum(row) for row in rows}) > 10
    logits = rng.normal(size=(len(rows), 10))
    recorded = pygradc.compile(losses.soft_cross_entropy)
    found, (by_logits, _) = recorded.gradients(logits, np.array(rows))
    for i, (x, row) in enumerate(zip(logits.tolist(), rows)):
        expected = with_gradients(without_sum, x, row)
        assert with_gradients(losses.soft_cross_entropy, x, row) == expected
        assert with_gradients(losses.soft_cross_entropy, x, of(row)) == expected
        assert [found[i], *by_logits[i]] == expected


def test_weights_that_are_conditions() -> None:
    f = pygradc.compile(lambda x, k: losses.soft_cross_entropy(x, [k == i for i in range(3)]))
    assert f(LOGITS, 2).data == losses.cross_entropy(of(LOGITS), 2).data
    several = pygradc.compile(lambda x, k: losses.soft_cross_entropy(x, [k >= i for i in range(3)]))
    expected = cross_entropy_of(LOGITS, [1.0, 1.0, 0.0])[0]
    assert several(LOGITS, 1).data == pytest.approx(expected, rel=1e-14)


# ---- what is no number ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("compute", "message"),
    [
        (lambda v: losses.mse(v, "1"), r"mse: targets: .* got '1' of type str: .*float\(\)"),
        (lambda v: losses.mse(v, None), r"mse: targets: .* got None of type NoneType: .*leave it"),
        (lambda v: losses.mse(None, 1.0), r"mse: predictions: .* got None"),
        (lambda v: losses.mse([v, v], [1.0, None]), r"mse: targets: .* got None"),
        (lambda v: losses.mse([[v, v]], [[1.0, 1j]]), r"mse: targets: .* got 1j of type complex"),
        (lambda v: losses.hinge(v, "1"), r"hinge: targets: .* got '1' of type str"),
        (lambda v: losses.hinge(v, np.array("1")), r"hinge: targets: .* got .*'1'"),
        (lambda v: losses.hinge([v, v], np.array(["1", "-1"])), r"hinge: targets: .* got '1'"),
        (lambda v: losses.mse(v, np.datetime64(5, "ns")), r"mse: targets: .* of type datetime64"),
        (lambda v: losses.cross_entropy(None, [1]), r"cross_entropy: predictions: .* got None"),
        (lambda v: losses.soft_cross_entropy([v], None), r"soft_cross_entropy: .* got None"),
        (lambda v: losses.soft_cross_entropy([v, v], [1.0, "0"]), r"probabilities: .* got '0'"),
        (
            lambda v: losses.soft_cross_entropy([v] * 3, [[0.2], [0.3], [0.5]]),
            r"expected one probability for each logit, got \[0\.2\]: .*logits must be rows",
        ),
        (
            lambda v: losses.soft_cross_entropy([v] * 3, np.array([[0.2], [0.3], [0.5]])),
            r"expected one probability for each logit, got \[0\.2\]: .*logits must be rows",
        ),
    ],
)
def test_what_is_no_number_is_named(compute: Callable[[Value], Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        compute(Value(0.25))


def test_a_gradient_of_another_library_is_not_lost_in_silence() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"requires grad .*\.item\(\)"):
        losses.mse(Value(0.25), torch.tensor(1.0, requires_grad=True))


# ---- masked --------------------------------------------------------------------------------------


MASKED = np.ma.array([1.0, 1.0, -1.0], mask=[False, True, True])


@pytest.mark.parametrize(
    "compute",
    [
        lambda: losses.mse(of([1.0, 2.0, 3.0]), MASKED),
        lambda: losses.mse(MASKED, of([1.0, 2.0, 3.0])),
        lambda: losses.hinge(of([1.0, 2.0, 3.0]), MASKED),
        lambda: losses.soft_cross_entropy(of([1.0, 2.0, 3.0]), MASKED),
        lambda: losses.cross_entropy([of([1.0, 2.0])] * 3, MASKED),
        lambda: losses.mse([of([1.0, 2.0, 3.0])], [MASKED]),
        lambda: losses.mse(Value(0.25), MASKED[1]),
        lambda: losses.mse(MASKED[1], Value(0.25)),
        lambda: losses.mse([Value(0.25)], [MASKED[1]]),
        lambda: losses.hinge(Value(0.25), np.ma.masked),
        lambda: losses.hinge(Value(0.25), np.ma.array(1, mask=True)),
        lambda: losses.cross_entropy(of([1.0, 2.0, 3.0]), MASKED[1]),
        lambda: losses.cross_entropy(of([1.0, 2.0, 3.0]), np.ma.array(1, mask=True)),
        lambda: losses.mse([of([1.0, 2.0, 3.0])], MASKED.reshape(1, 3)),
        lambda: F.map(MASKED),
        lambda: F.sum(MASKED),
        lambda: F.mean(MASKED.astype(np.int32)),
        lambda: F.gradients(MASKED),
        lambda: F.map([MASKED[0], MASKED[1], MASKED[2]]),
        lambda: G.map([MASKED, MASKED[:0].filled(0.0).tolist() + [1.0, 2.0, 3.0]]),
        lambda: G.map([[1.0, 2.0, 3.0], MASKED]),
        lambda: G.map(MASKED.reshape(1, 3)),
        lambda: D.map({"x": MASKED}),
        lambda: F.map(np.ma.array([1, 2, 3], mask=[0, 1, 1], dtype=object)),
        lambda: pygradc.set_data(of([1.0, 2.0, 3.0]), MASKED),
        lambda: pygradc.data(np.ma.array(of([1.0, 2.0, 3.0]), mask=[0, 1, 1])),
        lambda: pygradc.nn.MLP(1, [1]).load_state_dict(
            {"layers.0.weight": np.ma.array([[1.0]], mask=True), "layers.0.bias": [0.0]}
        ),
        lambda: pygradc.save_state({"x": MASKED}, "never.npz"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*converting a masked element")
def test_masked_entries_are_refused_by_their_count(compute: Callable[[], Any]) -> None:
    with pytest.raises(ValueError, match=r"[12] masked entr(y|ies) without a number"):
        compute()


F = pygradc.compile(lambda x: x * 2.0)
G = pygradc.compile(lambda x: x[0] * 2.0)
D = pygradc.compile(lambda row: row["x"] * 2.0)


def test_unmasked_entries_are_numbers() -> None:
    array = np.ma.array([1.0, 2.0])
    assert F.map(array).tolist() == F.map(np.ma.array([1.0, 2.0], mask=[0, 0])).tolist() == [2, 4]
    assert F.sum(array).data == 6.0
    assert G.map([array, array]).tolist() == [2.0, 2.0]
    values = of([0.0, 0.0])
    pygradc.set_data(values, array)
    assert [v.data for v in values] == [1.0, 2.0]


@pytest.mark.parametrize(
    "compute",
    [
        lambda: G(MASKED), lambda: pygradc.nn.MLP(3, [1])(MASKED), lambda: pygradc.sum(MASKED),
        lambda: pygradc.dot(of([1.0, 2.0, 3.0]), MASKED), lambda: Value(MASKED[1]),
        lambda: F(MASKED[1]), lambda: F(np.ma.array(3.0, mask=True)),
        lambda: setattr(Value(2.0), "data", MASKED[1]), lambda: Value(0.0) == MASKED[1],
        lambda: Value(2.0) * MASKED[1],
    ],
)  # fmt: skip
def test_a_masked_entry_is_no_number_one_by_one(compute: Callable[[], Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        compute()


def test_an_unmasked_array_of_no_dimension_is_its_number() -> None:
    assert Value(np.ma.array(3.0)).data == 3.0
    assert F(np.ma.array(3.0)).data == 6.0


# ---- large logits --------------------------------------------------------------------------------

HUGE = 1.7e308
ROWS = [
    [HUGE, -HUGE], [-HUGE, HUGE], [HUGE, HUGE], [-HUGE, -HUGE], [0.0, -HUGE], [HUGE, 0.0],
    [1e308, -1e308], [HUGE, -HUGE, 0.0],
]  # fmt: skip


def truth(row: list[float], label: int) -> float:
    """In exact arithmetic, rounded once."""
    largest = Fraction(max(row))
    total = math.fsum(math.exp(max(-1e9, Fraction(x) - largest)) for x in row)
    exact = largest - Fraction(row[label]) + Fraction(math.log(total))
    return float(exact) if exact < Fraction(2) ** 1024 else math.inf


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_cross_entropies_of_huge_logits(row: list[float]) -> None:
    for label in range(len(row)):
        one_hot = np.eye(len(row))[label].tolist()
        expected = truth(row, label)
        for loss, target in (
            (losses.soft_cross_entropy, one_hot), (losses.soft_cross_entropy, of(one_hot)),
            (losses.cross_entropy, label),
        ):  # fmt: skip
            assert loss(of(row), target).data == pytest.approx(expected, rel=1e-15)
        assert -losses.log_softmax(of(row))[label].data == pytest.approx(expected, rel=1e-15)
        recorded = losses.soft_cross_entropy
        for mode in ("exact", "fast"):
            found = pygradc.compile(recorded, math=mode).map(np.array([row]), np.array([one_hot]))
            assert found.tolist() == pytest.approx([expected], rel=1e-15)


@pytest.mark.parametrize("row", [r for r in ROWS if len(r) == 2], ids=str)
def test_gradients_of_huge_logits(row: list[float]) -> None:
    """softmax less the one-hot row."""
    best = max(row)
    weights = [float(x == best) for x in row]
    softmax = [w / sum(weights) for w in weights]
    for label in range(2):
        if truth(row, label) == math.inf:
            continue
        one_hot = [float(i == label) for i in range(2)]
        found = with_gradients(losses.soft_cross_entropy, row, one_hot)
        assert found[1:] == [s - t for s, t in zip(softmax, one_hot)]
        recorded = pygradc.compile(losses.soft_cross_entropy)
        _, (gradients, _) = recorded.gradients(np.array([row]), np.array([one_hot]))
        assert gradients.tolist() == [found[1:]]


def test_a_nan_shows() -> None:
    for logits, target in (
        ([math.nan, 1.0], [0.0, 1.0]), ([1.0, 2.0], [math.nan, 1.0]),
    ):  # fmt: skip
        assert math.isnan(losses.soft_cross_entropy(of(logits), target).data)
        found = pygradc.compile(losses.soft_cross_entropy).map(np.array([logits]), [target])
        assert math.isnan(found[0])


def test_the_reference_gives_the_same_bits() -> None:
    def compute(value: Any) -> list[float]:
        logits = [value(x) for x in [1.7e308, -1.7e308, 0.0]]
        total = losses.soft_cross_entropy(logits, np.array([1, 0, 0], dtype=np.int8))
        total = total + losses.mse([[value(3.0), value(4.0)]], np.array([[1, 250]], dtype=np.uint8))
        total.backward()
        return [total.data, *(v.grad for v in logits)]

    assert compute(Value) == compute(reference.Value)


# ---- derivatives as arrays without axes ----------------------------------------------------------


@pytest.mark.parametrize("make", [np.array, np.float32, np.float64, lambda x: np.array(x)[()]])
def test_derivatives_and_numbers_as_0d_arrays(make: Any) -> None:
    a = Value(3.0)
    Value(make(2.0), (a,), local_grads=(make(5.0),)).backward()
    assert a.grad == 5.0
    one = pygradc.op(lambda x: make(math.sin(x)), lambda x, y: make(7.0))
    two = pygradc.op(lambda x, z: make(math.sin(x)), lambda x, z, y: (make(7.0), make(8.0)))
    for call, expected in ((lambda: one(a), 7.0), (lambda: two(a, 1.0), 7.0)):
        a.grad = 0.0
        out = call()
        out.backward()
        assert out.data == pytest.approx(math.sin(3.0), rel=1e-7) and a.grad == expected


def test_derivatives_as_arrays_with_axes_are_counted() -> None:
    a = Value(3.0)
    op = pygradc.op(lambda x: math.sin(x), lambda x, y: np.array([1.0, 2.0]))
    with pytest.raises(ValueError, match="one number for each of 1 operands, got 2"):
        op(a).backward()


@pytest.mark.parametrize("targets", [{0: 5.0, 1: 6.0}, {0.5, 1.5}])
def test_what_has_labels_or_no_order_is_no_list_of_targets(targets: Any) -> None:
    for loss in (pygradc.losses.mse, pygradc.losses.hinge, pygradc.losses.soft_cross_entropy):
        with pytest.raises(TypeError, match=r"expected numbers in order, not a (dict|set)"):
            loss(of([1.0, 2.0]), targets)


# ---- losses of probabilities, scores and numbers -------------------------------------------------


BATCHES: dict[str, tuple[Any, list[float], list[float]]] = {  # predictions, targets
    "bce": (losses.bce, [0.1, 0.9, 0.5, 1e-9, 0.999], [0.0, 1.0, 0.3, 0.0, 0.5]),
    "bce_with_logits": (losses.bce_with_logits, [0.1, -2.0, 5.0, 0.0], [0.0, 1.0, 0.3, 1.0]),
    "mae": (losses.mae, [0.1, 2.0, -3.0], [0.2, 1.0, 4.0]),
    "huber": (losses.huber, [0.1, 2.0, -3.0, 0.75], [0.1, 1.25, 4.0, 2.0]),
    "huber, a quarter": (
        lambda p, t: losses.huber(p, t, delta=0.25), [0.1, 2.0, -3.0], [0.1, 1.75, 4.0],
    ),
}  # fmt: skip
each_batch = pytest.mark.parametrize("name", BATCHES)


@each_batch
def test_every_engine_and_mode_gets_the_same(name: str) -> None:
    loss, predictions, targets = BATCHES[name]
    eager = with_gradients(loss, predictions, targets)
    values: Any = list(map(reference.Value, predictions))
    result = loss(values, targets)
    result.backward()
    assert [result.data, *(v.grad for v in values)] == eager
    for mode in ("exact", "fast"):
        recorded = pygradc.compile(loss, math=mode)
        found, (by_predictions, _) = recorded.gradients([predictions] * 5, [targets] * 5)
        replayed = [found[4], *by_predictions[4]]
        assert replayed == (eager if mode == "exact" else pytest.approx(eager, rel=1e-13))
        rowwise = pygradc.compile(loss, math=mode).map(predictions, targets)
        assert rowwise.mean() == pytest.approx(eager[0], rel=1e-13)


@each_batch
def test_central_differences(name: str) -> None:
    loss, predictions, targets = BATCHES[name]
    inside = [0.9 * p + 0.03 for p in predictions]  # away from kinks, and from 0 and 1
    assert max(x or 0.0 for x in pygradc.check_grad(loss, inside, targets)) < 1e-6


@each_batch
def test_nested_rows_and_numbers(name: str) -> None:
    loss, predictions, targets = BATCHES[name]
    expected = loss(of(predictions), targets).data
    assert loss([of(predictions)], np.array([targets])).data == expected
    assert loss(of(predictions), of(targets)).data == expected
    assert (
        float(getattr(loss(predictions, targets), "data", loss(predictions, targets))) == expected
    )
    assert loss(Value(0.25), 1).data == loss([Value(0.25)], [np.uint8(1)]).data


def test_pytorchs_losses() -> None:
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    theirs = {
        "bce": functional.binary_cross_entropy,
        "bce_with_logits": functional.binary_cross_entropy_with_logits,
        "mae": functional.l1_loss,
        "huber": functional.huber_loss,
        "huber, a quarter": lambda p, t: functional.huber_loss(p, t, delta=0.25),
    }
    for name, (loss, predictions, targets) in BATCHES.items():
        leaf = torch.tensor(predictions, dtype=torch.float64, requires_grad=True)
        result = theirs[name](leaf, torch.tensor(targets, dtype=torch.float64))
        result.backward()
        found = with_gradients(loss, predictions, targets)
        assert found == pytest.approx([result.item(), *leaf.grad.tolist()], rel=1e-12), name
    leaf = torch.tensor([LOGITS, LOGITS[::-1]], dtype=torch.float64, requires_grad=True)
    result = functional.nll_loss(torch.log_softmax(leaf, 1), torch.tensor([0, 2]))
    result.backward()
    rows = [of(LOGITS), of(LOGITS[::-1])]
    ours = losses.nll(list(map(losses.log_softmax, rows)), [0, 2])
    ours.backward()
    assert ours.data == pytest.approx(result.item(), rel=1e-14)
    assert pygradc.grads(rows) == pytest.approx(leaf.grad.numpy(), rel=1e-12)


@pytest.mark.parametrize("logit", [40.0, 1000.0, HUGE, -40.0, -1000.0, -HUGE])
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_bce_with_logits_of_any_size_keeps_its_digits(logit: float, target: float) -> None:
    wrong = logit if target == 0.0 else -logit  # how far the score is on the wrong side
    small = math.exp(-abs(wrong))
    loss, slope = (wrong, 1.0) if wrong > 0.0 else (small, small)
    expected = pytest.approx([loss, slope if target == 0.0 else -slope], rel=1e-13, abs=0.0)
    assert with_gradients(losses.bce_with_logits, [logit], [target]) == expected
    for mode in ("exact", "fast"):
        recorded = pygradc.compile(losses.bce_with_logits, math=mode)
        found, (by_logit, _) = recorded.gradients([logit], [target])
        assert [found[0], by_logit[0]] == expected


def test_bce_at_0_and_1() -> None:
    """The target itself has loss 0 and the derivative of the formula."""
    assert with_gradients(losses.bce, [0.0, 1.0], [0.0, 1.0]) == [0.0, 0.5, -0.5]
    for mode in ("exact", "fast"):
        found, (slopes, _) = pygradc.compile(losses.bce, math=mode).gradients([0.0, 1.0], [0, 1])
        assert found.tolist() == [0.0, 0.0] and slopes.tolist() == [1.0, -1.0]


@pytest.mark.parametrize(
    ("p", "target"), [(0.0, 1.0), (1.0, 0.0), (0.0, 0.5), (1.0, 0.5), (-0.1, 0.0), (1.1, 1.0)]
)
def test_bce_without_a_finite_loss(p: float, target: float) -> None:
    said = rf"bce: probability {p} for target {target}: .* bce_with_logits .* pygradc\.clip"
    for given in (p, Value(p)):
        with pytest.raises(ValueError, match=said):
            losses.bce([given, Value(0.5)], [Value(target), 0.5])
    for mode in ("exact", "fast"):
        with pytest.raises(FloatingPointError, match=r"row 1: log\(-?0\.[01]\d*\): outside"):
            pygradc.compile(losses.bce, math=mode).map([0.5, p], [1.0, target])
    clipped = losses.bce(pygradc.clip(Value(p), 1e-12, 1.0 - 1e-12), target)
    assert 0.0 < clipped.data < 28.0


def test_huber_has_the_curvature_of_the_square_also_at_the_target() -> None:
    for p, curvature in ((1.0, 1.0), (1.5, 1.0), (3.0, 0.0), (-3.0, 0.0)):
        x = Value(p)
        assert pygradc.hessian(losses.huber(x, 1.0), [x])[0][0].data == curvature
    x = Value(1.0)
    y = losses.mae(x, 1.0)
    y.backward()
    assert (y.data, x.grad) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("delta", "error"),
    [(0, ValueError), (-1.0, ValueError), (math.nan, ValueError), ("1", TypeError)],
)
def test_hubers_delta(delta: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="huber: delta must be "):
        losses.huber(Value(1.0), 0.0, delta=delta)
    assert losses.huber(Value(3.0), 0.0, delta=math.inf).data == 4.5
    assert losses.huber(Value(3.0), 0.0, delta=np.float32(2)).data == 4.0


def test_nll_is_the_cross_entropy_of_what_log_softmax_gives() -> None:
    for label in range(3):
        expected = with_gradients(losses.cross_entropy, LOGITS, label)
        one = with_gradients(lambda x, y: losses.nll(losses.log_softmax(x), y), LOGITS, label)
        assert one == pytest.approx(expected, rel=1e-14)
        for mode in ("exact", "fast"):
            recorded = pygradc.compile(
                lambda x, k=label: losses.nll(losses.log_softmax(x), k), math=mode
            )
            found, (slopes,) = recorded.gradients([LOGITS])
            assert [found[0], *slopes[0]] == pytest.approx(expected, rel=1e-13)
    assert losses.nll(np.array([-1.0, -2.0]), np.uint8(1)) == 2.0


def test_what_nll_refuses() -> None:
    row = of(LOGITS)
    for label in (3, -1, 0.5, "1", None):
        with pytest.raises(ValueError, match=r"nll: label .* for 3 classes"):
            losses.nll(row, label)
    with pytest.raises(ValueError, match=r"nll: expected a label.*one-hot rows"):
        losses.nll(row, [0, 1, 0])
    with pytest.raises(ValueError, match="nll: 1 predictions for 2 targets"):
        losses.nll([row], [0, 1])
    with pytest.raises(TypeError, match=r"nll: log_probabilities: .* got 'a'"):
        losses.nll(["a", "b"], 0)


def test_nll_records_with_a_label_that_is_an_input() -> None:
    recorded = pygradc.compile(losses.nll)
    rows = [LOGITS] * 3
    assert recorded.map(rows, [0, 1, 2]).tolist() == [-x for x in LOGITS]
    with pytest.raises(FloatingPointError, match=r"row 1: take: index 3.0 is out of range"):
        recorded.map(rows, [0, 3, 1])


@pytest.mark.parametrize("name", ["bce", "bce_with_logits", "mae", "huber"])
def test_new_losses_refuse_what_mse_refuses(name: str) -> None:
    loss = getattr(losses, name)
    with pytest.raises(TypeError, match=rf"{name}: targets: .* got '1' of type str: .*float\(\)"):
        loss(Value(0.5), "1")
    with pytest.raises(TypeError, match=rf"{name}: predictions: .* got None"):
        loss([Value(0.5), None], [1.0, 1.0])
    with pytest.raises(TypeError, match=r"expected numbers in order, not a dict"):
        loss(of([0.5, 0.5]), {0: 0.5, 1: 0.25})
    with pytest.raises(ValueError, match=f"{name}: 2 predictions for 1 targets"):
        loss(of([0.5, 0.5]), [1.0])
    with pytest.raises(ValueError, match=f"{name}: nothing to average"):
        loss([], [])
    with pytest.raises(ValueError, match="2 masked entries without a number"):
        loss(of([0.5, 0.5, 0.5]), MASKED)


def test_targets_that_are_conditions() -> None:
    for loss in (losses.bce, losses.bce_with_logits, losses.mae, losses.huber):
        recorded = pygradc.compile(lambda x, y, loss=loss: loss(x, y > 0))
        for y in (2.0, -1.0):
            assert recorded(0.25, y).data == loss(Value(0.25), float(y > 0)).data
