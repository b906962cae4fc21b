"""Are arrays of other libraries rows: read in place where they can be, exactly, or refused by name?

Each test skips without its library. JAX starts threads, and other tests fork: its tests run in a
process of their own, by the last test.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import pygradc
from pygradc import Value, losses, nn, optim
from pygradc.core.foreign import array_of
from pygradc.recorded.rows import Rows

pytestmark = [pytest.mark.once, pytest.mark.unsanitized]  # reaches the core as numpy's arrays do

NUMBERS = np.array([[1.5, -2.0], [0.25, 4.0], [3.0, 0.1]])


def torch() -> ModuleType:
    return pytest.importorskip("torch")  # type: ignore[no-any-return]


def pandas() -> ModuleType:
    return pytest.importorskip("pandas")  # type: ignore[no-any-return]


def of_torch(array: Any, dtype: str = "float64") -> Any:
    return torch().tensor(array, dtype=getattr(torch(), dtype))


def of_jax(array: Any, dtype: str = "float64") -> Any:
    if "PYGRADC_TEST_JAX" not in os.environ:
        pytest.skip("in a process of their own")
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        return jax.numpy.array(array, dtype=dtype)


def of_pandas(array: Any, dtype: str = "float64") -> Any:
    make = pandas().DataFrame if np.ndim(array) == 2 else pandas().Series
    return make(np.array(array, order="C"), dtype=dtype, copy=False)


def of_arrow(array: Any, dtype: str = "float64") -> Any:
    arrow = pytest.importorskip("pyarrow")
    columns = np.transpose(np.array(array, dtype))
    if columns.ndim == 1:
        return arrow.array(columns)
    return arrow.table({f"column {i}": column for i, column in enumerate(columns)})


def of_polars(array: Any, dtype: str = "float64") -> Any:
    polars = pytest.importorskip("polars")
    make = polars.DataFrame if np.ndim(array) == 2 else polars.Series
    return make(np.array(array, dtype))


class OnlyDLPack:
    """An array of a library of which numpy knows nothing."""

    def __init__(self, array: Any, device: int = 1) -> None:
        self.array, self.device = array, device

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device, 0


class OnlyArray:
    def __init__(self, array: Any) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.array


MAKERS: dict[str, Any] = {
    "torch": of_torch,
    "jax": of_jax,
    "pandas": of_pandas,
    "arrow": of_arrow,
    "polars": of_polars,
    "DLPack": lambda array, dtype="float64": OnlyDLPack(np.array(array, dtype)),
    "__array__": lambda array, dtype="float64": OnlyArray(np.array(array, dtype)),
}
IN_PLACE = ("torch", "jax", "pandas", "DLPack", "__array__")


def address(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


# ---- Everywhere that rows are taken --------------------------------------------------------------


@pytest.mark.parametrize("library", MAKERS)
def test_a_recording_takes_them(library: str) -> None:
    x, y = MAKERS[library](NUMBERS), MAKERS[library](NUMBERS[:, 0])
    w = Value(3.0)
    f = pygradc.compile(lambda x, y: w * x[0] * x[1] - y)
    assert f.map(x, y).tolist() == f.map(NUMBERS, NUMBERS[:, 0]).tolist()
    assert f.mean(x, y).data == f.mean(NUMBERS, NUMBERS[:, 0]).data
    for ours, theirs in zip(f.gradients(x, y)[1], f.gradients(NUMBERS, NUMBERS[:, 0])[1]):
        assert ours.tolist() == theirs.tolist()
    assert f.hessian(x, y).tolist() == f.hessian(NUMBERS, NUMBERS[:, 0]).tolist()
    along = MAKERS[library]([2.0])
    assert f.hvp(along, x, y).tolist() == f.hvp([2.0], NUMBERS, NUMBERS[:, 0]).tolist()
    by_name = pygradc.compile(lambda d: d["a"] * 2.0)
    assert by_name.map({"a": y}).tolist() == (NUMBERS[:, 0] * 2.0).tolist()


@pytest.mark.parametrize("library", MAKERS)
def test_fit_and_a_network_take_them(library: str) -> None:
    x, y = MAKERS[library](NUMBERS), MAKERS[library](NUMBERS[:, 1])
    ends = []
    for rows in ((x, y), (NUMBERS, NUMBERS[:, 1])):
        model = nn.MLP(2, [3, 1], seed=0)
        loss = pygradc.compile(lambda x, y, model=model: losses.mse(model(x), y))
        history = pygradc.fit(
            loss, *rows, optimizer=optim.SGD(model.parameters(), lr=0.1), epochs=3,
            batch_size=2, seed=0, validation_data=rows,
        )  # fmt: skip
        figures = model.predict(rows[0]).tolist(), model.score(*rows), history.validation_loss
        ends.append((list(history), *figures))
    assert ends[0] == ends[1]


@pytest.mark.parametrize("library", [name for name in MAKERS if name not in ("arrow", "DLPack")])
def test_one_row(library: str) -> None:
    row = MAKERS[library]([1.5, -2.0])
    f = pygradc.compile(lambda x: x[0] * x[1])
    assert f(row).data == -3.0
    model = nn.MLP(2, [3, 1], seed=0)
    assert model(row).data == model([1.5, -2.0]).data
    model.layers[0].neurons[0].w = [Value(0.0), Value(0.0)]
    pygradc.set_data(model.layers[0].neurons[0].w, row)
    assert pygradc.data(model.layers[0].neurons[0].w).tolist() == [1.5, -2.0]
    assert losses.mse([Value(1.0), Value(1.0)], row).data == (0.25 + 9.0) / 2


def test_a_row_inside_of_a_recording() -> None:
    row = of_torch([2.0, 5.0])
    inner = pygradc.compile(lambda x: x[0] * x[1])
    assert pygradc.compile(lambda y: inner(row) + y).map([1.0, 2.0]).tolist() == [11.0, 12.0]


def test_rows_given_to_a_call_are_explained() -> None:
    for rows in (of_torch(np.ones((3, 1))), of_pandas(np.ones((3, 1)))):
        with pytest.raises(IndexError, match=r"arrays of shape \(3, 1\), and a call takes one row"):
            pygradc.compile(lambda x: x[0] * x[5])(rows)


# ---- Without a copy ------------------------------------------------------------------------------


@pytest.mark.parametrize("library", IN_PLACE)
def test_float64_is_read_in_place(library: str) -> None:
    for numbers in (NUMBERS, NUMBERS[:, 0].copy()):
        x = MAKERS[library](numbers)
        (first, *_), (again, *_) = Rows((x,)).columns[0], Rows((x,)).columns[0]
        assert np.shares_memory(first, again) and first.tolist() == numbers.tolist()
        assert address(first) == address(again) != address(numbers)


def test_it_is_the_librarys_own_memory() -> None:
    tensor = of_torch(NUMBERS)
    assert address(Rows((tensor,)).columns[0][0]) == tensor.data_ptr()
    f = pygradc.compile(lambda x: x[0] * x[1])
    before = f.map(tensor)
    tensor[0, 0] = 7.0
    assert f.map(tensor).tolist() == [-14.0, *before[1:]]


def test_jaxs_own_memory_which_is_read_only() -> None:
    array = of_jax(NUMBERS)
    column = Rows((array,)).columns[0][0]
    assert address(column) == array.unsafe_buffer_pointer() and not column.flags.writeable


def test_pandas_own_memory() -> None:
    numbers = NUMBERS.copy()
    frame = pandas().DataFrame(numbers, copy=False)
    assert np.shares_memory(Rows((frame,)).columns[0][0], numbers)


def test_what_is_not_contiguous_is_copied() -> None:
    tensor = of_torch(NUMBERS).T
    column = Rows((tensor,)).columns[0][0]
    assert column.flags.c_contiguous and column.tolist() == NUMBERS.T.tolist()
    assert address(column) != tensor.data_ptr()


# ---- Exactly -------------------------------------------------------------------------------------

NARROW = [1.0, 1.1, -3.3, 65504.0, 6e-8]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("library", ["torch", "jax"])
def test_floats_are_those_of_the_tensor(library: str, dtype: str) -> None:
    x = MAKERS[library](NARROW, dtype)
    expected = [float(item) for item in x]
    f = pygradc.compile(lambda x: x * 1.0)
    assert f.map(x).tolist() == expected != NARROW or dtype == "float64"
    assert f.map([x[i] for i in range(5)]).tolist() == expected
    assert [Value(item).data for item in x] == [(Value(1.0) * item).data for item in x] == expected
    assert f(x)[1].data == expected[1]


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8", "bool"])
@pytest.mark.parametrize("library", ["torch", "jax", "pandas"])
def test_whole_numbers(library: str, dtype: str) -> None:
    x = MAKERS[library]([0, 1, 1], dtype)
    assert pygradc.compile(lambda x: x * 3.0).map(x).tolist() == [0.0, 3.0, 3.0]


def test_float8_and_a_lazy_minus() -> None:
    eight = of_torch([1.1, 3.0], "float32").to(torch().float8_e4m3fn)
    assert array_of("x", eight).tolist() == eight.double().tolist() == [1.125, 3.0]
    conjugate = torch().tensor([1.0 + 2.0j, 3.0 - 4.0j]).conj().imag
    assert array_of("x", conjugate).tolist() == [-2.0, 4.0]


def test_nullable_columns_without_missing_entries() -> None:
    pd = pandas()
    frame = pd.DataFrame(
        {"a": pd.array([1, 2], dtype="Int64"), "b": pd.array([True, False], dtype="boolean")}
    )
    assert pygradc.compile(lambda x: x[0] - x[1]).map(frame).tolist() == [0.0, 2.0]


# ---- Single numbers ------------------------------------------------------------------------------


def test_single_numbers() -> None:
    numbers: list[Any] = [
        np.float32(1.1),
        np.array(2.0),
        np.int8(3),
        of_torch(2.5),
        of_torch(3, "int32"),
    ]
    for number in numbers:
        assert Value(number).data == float(number) == (Value(0.0) + number).data
    assert Value(of_torch(1.1, "bfloat16")).data == 1.1015625
    f = pygradc.compile(lambda x, t: x * t)
    assert f.map([1.0, 2.0], of_torch(2.5)).tolist() == [2.5, 5.0]
    assert nn.Neuron(1)(of_torch(2.5)).data != 0.0


def test_lists_of_jaxs_numbers() -> None:
    f = pygradc.compile(lambda x: x[0] * x[1])
    assert f.map([[of_jax(1.0), 2.0]]).tolist() == [2.0] == f.map([of_jax([1.0, 2.0])]).tolist()
    assert Value(of_jax(1.1, "bfloat16")).data == (Value(0.0) + of_jax(1.1, "bfloat16")).data


def test_lists_of_single_numbers() -> None:
    pairs = [[of_torch(1.0), of_torch(2.0)], [of_torch(3.0), of_torch(4.0)]]
    f = pygradc.compile(lambda x: x[0] * x[1])
    assert f.map(pairs).tolist() == [2.0, 12.0]
    assert f.map([of_torch([1.0, 2.0]), np.array([3.0, 4.0]), [5.0, 6.0]]).tolist() == [2, 12, 30]
    narrow = [[of_torch(1.1, "bfloat16"), of_torch(2.0)], [3.0, 4.0]]
    assert f.map(narrow).tolist() == [2.203125, 12.0]


# ---- Refused -------------------------------------------------------------------------------------


def with_missing(dtype: str, numbers: Any = (1, None)) -> Any:
    return pandas().array(list(numbers), dtype=dtype)


REFUSED: dict[str, Any] = {
    "a gradient": (
        lambda: of_torch([1.0]).requires_grad_(),
        r"a Tensor that requires grad would lose its gradient here: pass x\.detach\(\)$",
    ),
    "a parameter": (
        lambda: torch().nn.Parameter(of_torch([1.0])),
        r"a Parameter that requires grad .*: pass x\.detach\(\)$",
    ),
    "another device": (
        lambda: torch().empty(1, device="meta"),
        r"a Tensor on the device 'meta': pass x\.cpu\(\)$",
    ),
    "both": (
        lambda: torch().empty(1, device="meta").requires_grad_(),
        r"on the device 'meta' that requires grad .*: pass x\.detach\(\)\.cpu\(\)$",
    ),
    "a gradient in a list": (
        lambda: [of_torch(1.0).requires_grad_(), of_torch(2.0)],
        r"requires grad .*: pass x\.detach\(\)$",
    ),
    "a gradient in a list of rows": (
        lambda: [[of_torch(1.0).requires_grad_(), of_torch(2.0)]],
        r"requires grad .*: pass x\.detach\(\)$",
    ),
    "sparse": (lambda: of_torch([0.0, 1.0]).to_sparse(), r"torch\.sparse_coo: pass x\.to_dense"),
    "complex": (
        lambda: torch().tensor([1j]),
        "expected real numbers, got an array of complex64, such as 1j",
    ),
    "jax's complex": (lambda: of_jax([1j], "complex64"), "real numbers, got an array of complex64"),
    "a missing integer": (
        lambda: pandas().Series(with_missing("Int64"), name="age"),
        r"got <NA> \(row 1 of column 'age', whose dtype is Int64\): leave .* fillna",
    ),
    "in a table": (
        lambda: pandas().DataFrame({"a": [1.0, 2.0], "b": with_missing("boolean", [None, True])}),
        r"got <NA> \(row 0 of column 'b', whose dtype is boolean\)",
    ),
    "a missing float": (lambda: with_missing("Float64"), r"got <NA> \(row 1, whose dtype is Float"),
    "in an index": (lambda: pandas().Index(with_missing("Int64")), r"got <NA> \(row 1, "),
    "rows with missing entries": (
        lambda: [pandas().Series(with_missing("Int64"))] * 2,
        r"got <NA> \(row 1, ",
    ),
    "no category": (
        lambda: pandas().Series([3, None], dtype="category"),
        r"got nan \(row 1, whose dtype is category\)",
    ),
    "Arrow's null": (
        lambda: pytest.importorskip("pyarrow").array([1, None]),
        "got a Int64Array with 1 nulls",
    ),
    "in Arrow's table": (
        lambda: pytest.importorskip("pyarrow").table({"a": [1, None, None]}),
        "got a Table with 2 nulls",
    ),
    "polars' null": (
        lambda: pytest.importorskip("polars").DataFrame({"a": [1, None]}),
        "got a DataFrame with 1 nulls",
    ),
    "DLPack's other device": (
        lambda: OnlyDLPack(np.ones(2), device=2),
        r"another device's memory \(DLPack's device 2\)",
    ),
    "unreadable": (lambda: OnlyArray(None), "numpy can't read a OnlyArray: "),
    "masked": (
        lambda: np.ma.array([1.0, 2.0], mask=[False, True]),
        "1 masked entry without a number",
    ),
    "masked rows": (
        lambda: [np.ma.array([1.0, 2.0], mask=[False, True]), np.ones(2)],
        "1 masked entry without a number",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_would_be_another_number_is_refused_by_name(what: str) -> None:
    make, message = REFUSED[what]
    with pytest.raises((TypeError, ValueError), match=f"^argument 0: .*{message}"):
        pygradc.compile(lambda x: x * 2.0).map(make())
    with pytest.raises((TypeError, ValueError), match=rf"^argument 0\['x'\]: .*{message}"):
        pygradc.compile(lambda x: x["x"] * 2.0).map({"x": make()})


def test_nan_of_a_float_column_is_a_number() -> None:
    series = pandas().Series([1.0, None])
    assert np.isnan(pygradc.compile(lambda x: x * 2.0).map(series)).tolist() == [False, True]


def test_one_row_that_requires_grad() -> None:
    row = of_torch([1.0, 2.0]).requires_grad_()
    for take in (nn.MLP(2, [1]), pygradc.compile(lambda x: x[0])):
        with pytest.raises(TypeError, match=r"requires grad would lose .*: pass x\.detach\(\)"):
            take(row)


# ---- The document --------------------------------------------------------------------------------

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "using-recordings.md"


def programs() -> dict[str, str]:
    """The section's programs, by the library that they import first."""
    section = DOCUMENT.read_text(encoding="utf-8").split("### Arrays of other libraries")[1]
    blocks = re.findall("```python\n(.*?)```", section.split("\n## ")[0], re.DOTALL)
    return {re.split(r"\W+", block)[1]: block for block in blocks}


@pytest.mark.skipif(not DOCUMENT.is_file(), reason="no documents here")
@pytest.mark.parametrize("library", ["torch", "jax", "pandas"])
def test_the_documents_program_prints_what_it_says(library: str, capsys: Any) -> None:
    program = programs()[library]
    if library == "jax" and "PYGRADC_TEST_JAX" not in os.environ:
        pytest.skip("in a process of their own")
    pytest.importorskip(library)
    assert len(program.splitlines()) <= 12
    exec(compile(program, str(DOCUMENT), "exec"), {})
    said = re.findall(r"print\(.*\S  +# (.*)", program)
    assert capsys.readouterr().out.splitlines() == said and said


def test_those_of_jax() -> None:
    from importlib.util import find_spec

    if find_spec("jax") is None:
        pytest.skip("no JAX here")
    if "PYGRADC_TEST_JAX" in os.environ:
        pytest.skip("this is it")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", __file__, "-k"]
    names = "jax and not those_of"
    done = subprocess.run(
        [*command, names],
        env={**os.environ, "PYGRADC_TEST_JAX": "1", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout + done.stderr
