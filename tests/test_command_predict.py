"""Does `python -m pygradc predict` give what the trained model gives, by the columns' names?"""

from __future__ import annotations

import csv
import gzip
import io
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pygradc
from pygradc import nn
from pygradc.__main__ import main
from pygradc.command.scoring import amount
from pygradc.datasets import load

pytestmark = pytest.mark.unsanitized
Captured = pytest.CaptureFixture[str]


def predict(capsys: Captured, *arguments: Any, code: int = 0) -> tuple[list[dict[str, str]], str]:
    """The rows that are printed, and what is said on stderr, which has no other lines."""
    capsys.readouterr()
    assert main(["predict", *map(str, arguments)]) == code
    out, error = capsys.readouterr()
    assert all(line.startswith("pygradc predict: ") for line in error.splitlines())
    return list(csv.DictReader(io.StringIO(out))), error.replace("pygradc predict: ", "")


def wrong(capsys: Captured, *arguments: Any) -> str:
    """The message of a failure: one line, and nothing on stdout."""
    rows, error = predict(capsys, *arguments, code=1)
    assert rows == [] and error.startswith("error: ") and error.count("\n") == 1
    return error[len("error: ") : -1]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models of iris, of a table of prices, and of one without a header."""
    folder = tmp_path_factory.mktemp("trained")
    rows = [f"{x % 9},{x % 7},{3 * (x % 9) - 2 * (x % 7) + 100.5}\n" for x in range(60)]
    (folder / "prices.csv").write_text("size,age,price\n" + "".join(rows))
    (folder / "bare.csv").write_text("".join(f"{x % 9},{x % 7},{x % 2}\n" for x in range(60)))
    for name, data in (("iris", "iris"), ("prices", folder / "prices.csv"),
                       ("bare", folder / "bare.csv")):  # fmt: skip
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, "pygradc.command.picture", None)
            arguments = ["--data", str(data), "--hidden", "6", "--epochs", "40"]
            assert main(["train", *arguments, "--out", str(folder / name)]) == 0
    return folder


@pytest.fixture
def table(tmp_path: Path) -> Any:
    def write(text: str, name: str = "new.csv") -> Path:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write


# ---- what it gives ------------------------------------------------------------------------------


def test_classes_of_a_shipped_set_and_their_score(trained: Path, capsys: Captured) -> None:
    rows, said = predict(capsys, trained / "iris" / "weights.npz", "iris")
    iris, saved = load("iris"), pygradc.load_model(trained / "iris" / "weights.npz")
    names = [row["prediction"] for row in rows]
    assert names == saved.predict(iris.features).tolist() and rows[0].keys() == {"prediction"}
    right = np.mean([iris.class_names.index(name) for name in names] == iris.labels)
    assert right > 0.9 and said == f"accuracy {right:.1%} on 150 rows with species\n"
    assert predict(capsys, trained / "iris", "iris") == (rows, said)  # the folder


def test_probabilities_are_softmax_and_sum_to_1(trained: Path, capsys: Captured) -> None:
    rows, _ = predict(capsys, trained / "iris", "iris", "--probabilities")
    assert list(rows[0]) == ["prediction", "P(setosa)", "P(versicolor)", "P(virginica)"]
    found = np.array([[float(row[name]) for name in list(row)[1:]] for row in rows])
    saved = pygradc.load_model(trained / "iris" / "weights.npz")
    powers = np.exp(saved.model.predict(saved.scaling.of_features(load("iris").features)))
    np.testing.assert_allclose(found, powers / powers.sum(axis=1, keepdims=True), rtol=1e-12)
    names = np.array(["setosa", "versicolor", "virginica"])
    assert names[found.argmax(axis=1)].tolist() == [row["prediction"] for row in rows]


def test_probabilities_of_large_outputs_are_finite(
    tmp_path: Path, table: Any, capsys: Captured
) -> None:
    model = nn.Linear(1, 2)
    for parameter, number in zip(model.parameters(), (900.0, 0.0, -900.0, 0.0)):
        parameter.data = number
    pygradc.save_model(model, tmp_path / "m.npz", class_names=["up", "down"])
    rows, _ = predict(capsys, tmp_path / "m.npz", table("x\n1\n-1\n"), "--probabilities")
    assert [[row["P(up)"], row["P(down)"]] for row in rows] == [["1.0", "0.0"], ["0.0", "1.0"]]


def test_numbers_have_all_their_digits_and_the_targets_units(
    trained: Path, capsys: Captured
) -> None:
    rows, said = predict(capsys, trained / "prices", trained / "prices.csv")
    dataset = load(trained / "prices.csv")
    expected = pygradc.load_model(trained / "prices" / "weights.npz").predict(dataset.features)
    found = np.array([float(row["prediction"]) for row in rows])
    assert found.tolist() == expected.tolist()
    errors = found - dataset.labels
    r2 = 1 - np.sum(errors**2) / np.sum((dataset.labels - dataset.labels.mean()) ** 2)
    rmse = np.sqrt(np.mean(errors**2))
    assert rmse < 3.0 and r2 > 0.9
    assert said == f"RMSE {amount(rmse)}, R^2 {r2:.3f} on 60 rows with price\n"


def test_columns_are_matched_by_name(trained: Path, table: Any, capsys: Captured) -> None:
    rows, said = predict(capsys, trained / "prices", table("size,age\n1,2\n8,3\n"))
    assert said == ""
    other = "id;age;city;size\nm1;2;Bonn;1\nm2;3;;8\n"
    assert predict(capsys, trained / "prices", table(other)) == (
        rows, "ignored, as the model has no such columns: id, city\n",
    )  # fmt: skip
    zipped = table("", "n.csv.gz")
    zipped.write_bytes(gzip.compress(other.encode()))
    assert predict(capsys, trained / "prices", zipped)[0] == rows
    bars = table("age|size\n2|1\n3|8\n")
    assert predict(capsys, trained / "prices", bars, "--separator", "|")[0] == rows


def test_a_table_without_header_for_a_model_of_one(
    trained: Path, table: Any, capsys: Captured
) -> None:
    rows, said = predict(capsys, trained / "bare", trained / "bare.csv")
    assert re.fullmatch(r"accuracy \S+% on 60 rows with column 3\n", said)
    first, said = predict(capsys, trained / "bare", table("0,0\n1,1\n"))
    assert (first, said) == (rows[:2], "")


def test_one_column_is_enough_for_a_model_of_one_input(
    tmp_path: Path, table: Any, capsys: Captured
) -> None:
    pygradc.save_model(nn.Linear(1, 1), tmp_path / "m.npz", ([0.0], [1.0], 0.0, 1.0, ["x"], "y"))
    assert len(predict(capsys, tmp_path / "m.npz", table("x\n1\n2\n"))[0]) == 2


def test_out_is_written_whole(trained: Path, tmp_path: Path, capsys: Captured) -> None:
    rows, _ = predict(capsys, trained / "iris", "iris")
    out = tmp_path / "p.csv"
    printed, said = predict(capsys, trained / "iris", "iris", "--out", out)
    assert printed == [] and f"predictions are in {out}\n" in said and "accuracy" in said
    assert list(csv.DictReader(out.open(encoding="utf-8", newline=""))) == rows
    assert "No such file" in wrong(capsys, trained / "iris", "iris", "--out", tmp_path / "no" / "p")


def test_several_outputs_are_several_columns(tmp_path: Path, table: Any, capsys: Captured) -> None:
    model = nn.Linear(2, 3)
    pygradc.save_model(model, tmp_path / "m.npz", ([0.0] * 2, [1.0] * 2))
    rows, said = predict(capsys, tmp_path / "m.npz", table("a,b\n1,2\n3,4\n"))
    assert list(rows[0]) == ["prediction 1", "prediction 2", "prediction 3"]
    assert [*map(float, rows[1].values())] == model.predict([[3.0, 4.0]])[0].tolist()
    assert said == "the model has no names of columns: they are taken in order\n"


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (10412.3, "10410"), (0.0123456, "0.01235"), (9.9996, "10.00"), (1.5, "1.500"),
        (123456789.0, "123500000"), (1e-7, "1e-07"), (1.23456e15, "1.235e+15"), (0.0, "0"),
    ],
)  # fmt: skip
def test_amounts_have_four_digits(x: float, text: str) -> None:
    assert amount(x) == text


def test_a_first_row_with_a_missing_value_is_no_header(
    tmp_path: Path, table: Any, capsys: Captured
) -> None:
    pygradc.save_model(nn.MLP(2, [1]), tmp_path / "m.npz", ([0.0] * 2, [1.0] * 2))
    capsys.readouterr()
    assert main(["predict", str(tmp_path / "m.npz"), str(table("1,\n3,4\n"))]) == 1
    assert "line 1, column 2: empty field" in capsys.readouterr().err


# ---- scores -------------------------------------------------------------------------------------


def test_rows_without_a_label_are_left_out(trained: Path, table: Any, capsys: Captured) -> None:
    labels = [row["prediction"] for row in predict(capsys, trained / "iris", "iris")[0]]
    text = "sepal_length,sepal_width,petal_length,petal_width,species\n"
    first = ["5.1,3.5,1.4,0.2", "4.9,3.0,1.4,0.2", "4.7,3.2,1.3,0.2"]

    def said(*species: str) -> str:
        rows = "".join(f"{row},{name}\n" for row, name in zip(first, species))
        return predict(capsys, trained / "iris", table(text + rows))[1]

    assert labels[:3] == ["setosa"] * 3
    assert said("setosa", "", "virginica") == "accuracy 50.0% on 2 of 3 rows with species\n"
    assert said("", "", "") == "no score: no row has species\n"
    unknown = "1 of a class that the model doesn't know, such as 'rosa'"
    assert said("setosa", "rosa", "setosa") == f"accuracy 66.7% on 3 rows with species; {unknown}\n"


def test_whole_numbers_are_the_same_class_however_written(
    trained: Path, table: Any, capsys: Captured
) -> None:
    rows, _ = predict(capsys, trained / "bare", table("0,0\n1,1\n"))
    labels = [f"{int(row['prediction'])}.0" for row in rows]
    _, said = predict(capsys, trained / "bare", table(f"0,0,{labels[0]}\n1,1,{labels[1]}\n"))
    assert said == "accuracy 100.0% on 2 rows with column 3\n"


def test_the_target_may_be_another_column(trained: Path, table: Any, capsys: Captured) -> None:
    text = table("size,age,paid\n1,2,100\n8,3,100\n")
    rows, said = predict(capsys, trained / "prices", text, "--target", "paid")
    errors = [float(row["prediction"]) - 100.0 for row in rows]
    rmse = float(np.sqrt(np.mean(np.square(errors))))
    assert said == f"RMSE {amount(rmse)}, R^2 undefined on 2 rows with paid\n"
    message = wrong(capsys, trained / "prices", text, "--target", "cost")
    assert message.endswith("line 1: no column named 'cost', only size, age, paid")


# ---- what it refuses ----------------------------------------------------------------------------

BAD_TABLES = {
    "one missing": ("age,city\n1,2\n", r"line 1: no column named 'size', only age, city$"),
    "two missing": ("a,b\n1,2\n", r"line 1: no columns named 'size', 'age', only a, b$"),
    "no header": ("1,2\n3,4\n", r"named 'size', 'age', only column 1, .*; the first line is no"),
    "twice": ("size,age,age\n1,2,3\n", r"line 1, column 3 \('age'\): a second column named 'age'"),
    "a missing value": ("size,age\n1,2\n3,\n", r"line 3, column 2 \('age'\): empty field"),
    "nan": ("size,age\n1,2\nnan,4\n", r"line 3, column 1 \('size'\): 'nan' is not a finite"),
    "text": ("size,age\n1,2\n3,old\n", r"line 3, column 2 \('age'\): 'old' is not a number"),
    "decimal commas": (
        "size;age\n1,5;2\n",
        r"line 2, column 1 \('size'\): '1,5' has a decimal comma",
    ),
    "label of text": (
        "size,age,price\n1,2,much\n",
        r"line 2, column 3 \('price'\): 'much' is not a",
    ),
    "empty": ("", r"line 1, column 1: the file is empty"),
    "no rows": ("size,age\n", r"line 2, column 1 \('size'\): no rows after the header"),
}


@pytest.mark.parametrize("kind", BAD_TABLES)
def test_a_bad_table_is_one_line(kind: str, trained: Path, table: Any, capsys: Captured) -> None:
    text, message = BAD_TABLES[kind]
    path = table(text)
    error = wrong(capsys, trained / "prices", path)
    assert error.startswith(f"{path}: ") and re.search(message, error)


def test_a_file_that_is_no_table(trained: Path, tmp_path: Path, capsys: Captured) -> None:
    assert "nowhere.csv: no such file" in wrong(capsys, trained / "iris", "nowhere.csv")
    assert "cannot be read: Is a directory" in wrong(capsys, trained / "iris", tmp_path)
    assert "drawn at random" in wrong(capsys, trained / "iris", "moons")
    (tmp_path / "b.csv").write_bytes(b"size,age\n1,\xff\n")
    message = wrong(capsys, trained / "prices", tmp_path / "b.csv")
    assert message.endswith("line 2, column 2: byte 0xff is not UTF-8 text")


def test_a_file_that_is_no_model(trained: Path, tmp_path: Path, capsys: Captured) -> None:
    assert "nowhere.npz: No such file" in wrong(capsys, "nowhere.npz", "iris")
    assert "weights.npz: No such file" in wrong(capsys, tmp_path, "iris")
    path = tmp_path / "m.npz"
    path.write_bytes(b"no archive")
    assert f"{path}: not an archive" in wrong(capsys, path, "iris")
    pygradc.save_state(nn.MLP(4, [3]).state_dict(), path)
    assert "holds no model that save_model wrote" in wrong(capsys, path, "iris")


def test_a_model_that_does_not_fit(
    trained: Path, tmp_path: Path, table: Any, capsys: Captured
) -> None:
    path = tmp_path / "m.npz"
    pygradc.save_model(nn.MLP(3, [2]), path)
    message = wrong(capsys, path, table("a,b\n1,2\n"))
    assert message.endswith(
        "line 1: 2 columns for a model of 3 inputs, which has no names of columns"
    )
    message = wrong(capsys, trained / "prices", trained / "prices.csv", "--probabilities")
    assert message.endswith("the model has no classes, and so no probabilities")
    layer = nn.Layer(1, 1, "log")
    for parameter, number in zip(layer.parameters(), (1.0, 0.0)):
        parameter.data = number
    pygradc.save_model(layer, path, ([0.0], [1.0], 0.0, 1.0, ["x"]))
    message = wrong(capsys, path, table("x\n2\n-1\n1\n"))
    assert re.search(r"new\.csv: .*row 1: log\(-1.*\(rows count from 0\)$", message)
