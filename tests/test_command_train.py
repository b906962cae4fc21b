"""Does `python -m pygradc train` take the tables that people have, and say what it makes of it?"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pygradc
from pygradc.__main__ import main
from pygradc.command import reports
from pygradc.command.scoring import amount
from pygradc.datasets import load, train_test_split

pytestmark = pytest.mark.unsanitized
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No picture, no bar, and a folder of its own."""
    monkeypatch.chdir(tmp_path)
    for name in ("pygradc.command.picture", "tqdm"):
        monkeypatch.setitem(sys.modules, name, None)


def train(capsys: Captured, text: str, *arguments: str, code: int = 0) -> tuple[str, str]:
    """Train on a file of this content, `t.csv`; returns what is printed to stdout and stderr."""
    Path("t.csv").write_text(text, encoding="utf-8")
    how = ["--epochs", "3", "--hidden", "4", "--out", "out"]
    assert main(["train", "--data", "t.csv", *how, *arguments]) == code
    out, error = capsys.readouterr()
    return out, error


def prices(separator: str = ";") -> str:
    rows = [("id", "size", "age", "price")]
    rows += [(f"h{x}", f"{x % 9}", f"{x % 7}", f"{3000.5 * (x % 9) + x % 7}") for x in range(50)]
    return "".join(separator.join(row) + "\n" for row in rows)


def kinds(counts: dict[str, int]) -> str:
    names = [name for name, count in counts.items() for _ in range(count)]
    return "x,kind\n" + "".join(f"{row},{name}\n" for row, name in enumerate(names))


def saved() -> pygradc.models.SavedModel:
    return pygradc.load_model("out/weights.npz")


# ---- tables -------------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_and_dropped_columns(separator: str, capsys: Captured) -> None:
    out, error = train(capsys, prices(separator), "--drop", "id", "--drop", "age")
    assert out.startswith("t: 50 rows, 1 features, target price, regression") and error == ""
    assert saved().scaling.feature_names == ("size",) and saved().scaling.target_name == "price"


def test_a_separator_of_ones_own(capsys: Captured) -> None:
    out, _ = train(capsys, prices("|"), "--separator", "|", "--drop", "id")
    assert "2 features" in out
    out, _ = train(capsys, prices("\t"), "--separator", "tab", "--drop", "id")
    assert "2 features" in out


def test_a_target_anywhere(capsys: Captured) -> None:
    out, _ = train(capsys, prices(), "--drop", "id", "--target", "size", "--task", "regress")
    assert "2 features, target size, regression\n" in out
    assert saved().scaling.feature_names == ("age", "price")


BAD: dict[str, tuple[str, list[str], str]] = {
    "a column to drop that is not there": (
        prices(), ["--drop", "town"], r"line 1: no column named 'town', only id, size, age, price$",
    ),
    "the target dropped": (
        prices(), ["--drop", "price"], r"line 1, column 4 \('price'\): the column to predict",
    ),
    "nothing left": (
        kinds({"a": 5, "b": 5}), ["--drop", "x"], r"line 1, column 2 \('kind'\): no feature is",
    ),
    "a text column": (prices(), [], r"line 2, column 1 \('id'\): 'h0' is not .* drop the column"),
    "decimal commas": ("a;b\n1,5;2\n2,5;3\n", [], r"line 2, column 1 \('a'\): '1,5' has a decimal"),
    "missing": ("a,b\n1,x\n,y\n", [], r"line 3, column 1 \('a'\): empty field: a missing value"),
    "nan": ("a,b\n1,x\nNaN,y\n", [], r"line 3, column 1 \('a'\): 'NaN' is not a finite number: "),
    "empty": ("", [], r"line 1, column 1: the file is empty"),
    "one column": ("a\n1\n2\n", [], r"line 1, column 1 \('a'\): only one column"),
    "one row": ("a,b\n1,x\n", [], r"line 2, column 1 \('a'\): only one row"),
    "one class": ("a,b\n1,x\n2,x\n", [], r"line 2, column 2 \('b'\): only one class, x"),
    "a class a row": ("a,b\n1,x\n2,y\n", [], r"t: no class has two rows"),
    "text to regress": (
        kinds({"a": 5, "b": 5}), ["--task", "regress"],
        r"line 2, column 2 \('kind'\): label 'a' is not a number, as for regression",
    ),
    "amounts to classify": (
        prices(), ["--drop", "id", "--task", "classify"],
        r"line 2, column 4 \('price'\): 50 different labels in 50 rows; are these classes\?",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_table_is_one_line_and_nothing_is_written(kind: str, capsys: Captured) -> None:
    text, arguments, message = BAD[kind]
    _, error = train(capsys, text, *arguments, code=1)
    assert re.match(rf"pygradc train: error: (t\.csv: )?{message}", error.rstrip("\n"))
    assert error.count("\n") == 1 and not Path("out/weights.npz").exists()


def test_files_that_are_no_tables(capsys: Captured) -> None:
    Path("latin.csv").write_bytes("a,b\n1,x\n2,ä\n".encode("latin-1"))
    Path("bad.csv.gz").write_bytes(b"no gzip")
    for data, message in (
        ("nowhere.csv", "nowhere.csv: no such file"),
        (".", ".: cannot be read: Is a directory"),
        ("latin.csv", "latin.csv: line 3, column 2: byte 0xe4 is not UTF-8 text"),
        ("bad.csv.gz", "bad.csv.gz: cannot be read: Not a gzipped file"),
    ):
        assert main(["train", "--data", data]) == 1
        error = capsys.readouterr().err
        assert error.startswith(f"pygradc train: error: {message}") and error.count("\n") == 1


# ---- tasks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["a", "b"], "2 classes (guessed from its text)"),
        (["0", "1"], "2 classes (guessed from its few whole numbers; for amounts: --task regress)"),
        (["0.5", "1"], "regression (guessed from its numbers; for classes: --task classify)"),
    ],
)
def test_a_guess_is_said_and_a_given_task_is_not_guessed(
    labels: list[str], said: str, capsys: Captured
) -> None:
    text = "x,y\n" + "".join(f"{row},{labels[row % 2]}\n" for row in range(20))
    out, _ = train(capsys, text)
    assert out.splitlines()[0] == f"t: 20 rows, 1 features, target y, {said}"
    task, other = ("regress", "regression") if labels == ["0", "1"] else ("classify", "2 classes")
    out, _ = train(capsys, text, "--task", task)
    assert out.splitlines()[0] == f"t: 20 rows, 1 features, target y, {other}"
    assert saved().class_names == (tuple(sorted(labels)) if task == "classify" else None)


def test_nothing_is_guessed_of_a_shipped_set(capsys: Captured) -> None:
    assert main(["train", "--data", "iris", "--epochs", "1"]) == 0
    assert "150 rows, 4 features, target species, 3 classes\n" in capsys.readouterr().out


def test_regression_is_told_in_the_targets_units(capsys: Captured) -> None:
    out, _ = train(capsys, prices(), "--drop", "id")
    dataset = load("t.csv", drop=["id"])
    split = train_test_split(dataset)
    model = saved()

    def errors(features: Any, labels: Any) -> tuple[float, float]:
        found = model.predict(features * split.scale + split.mean) - labels
        squares, spread = np.sum(found**2), np.sum((labels - labels.mean()) ** 2)
        return float(np.sqrt(np.mean(found**2))), float(1 - squares / spread)

    (trained, r2), (tested, test_r2) = (
        errors(split.train_features, split.train_labels),
        errors(split.test_features, split.test_labels),
    )
    where = "{} on 40 training rows, {} on 10 test rows\n"
    assert "RMSE      " + where.format(amount(trained), amount(tested)) in out
    assert "R^2       " + where.format(f"{r2:.3f}", f"{test_r2:.3f}") in out
    epochs = re.findall(r"^epoch \d/3  RMSE (\S+)  test -?\d\.\d{3}$", out, re.MULTILINE)
    assert len(epochs) == 3 and float(epochs[-1]) > 100.0
    assert f"RMSE      {epochs[-1]} in the last epoch, in the units of price\n" in out
    assert "loss" not in out


def test_r2_of_one_test_row_is_undefined(capsys: Captured) -> None:
    out, _ = train(capsys, "a,b\n1,0.5\n2,1.5\n3,2.5\n")
    assert "on 2 training rows, undefined on 1 test rows" in out


# ---- the split ----------------------------------------------------------------------------------


def test_each_class_has_its_share_of_the_test_rows(capsys: Captured) -> None:
    out, error = train(capsys, kinds({"a": 80, "b": 15, "c": 5}))
    assert "on 80 training rows" in out and "on 20 test rows" in out and error == ""


def test_small_classes_are_said(capsys: Captured) -> None:
    out, error = train(capsys, kinds({"a": 20, "b": 4, "c": 1}))
    assert error == (
        "pygradc train: warning: the score says little about classes of few rows: "
        "'b' has 4, 1 of them for testing; 'c' has 1, 0 of them for testing\n"
    )
    assert "on 20 training rows" in out and "on 5 test rows" in out
    assert saved().class_names == ("a", "b", "c")


def test_many_small_classes_are_one_short_line(capsys: Captured) -> None:
    _, error = train(capsys, kinds({f"k{i}": 2 for i in range(20)}))
    assert error.count("\n") == 1 and error.endswith("; and 10 more\n")


def test_weights_are_written_before_the_result_is_told(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(result: Any) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(reports, "say_result", gone)
    train(capsys, kinds({"a": 20, "b": 20}), code=141)
    assert saved().class_names == ("a", "b")


# ---- and then -----------------------------------------------------------------------------------


def test_it_says_how_to_predict_and_that_works(capsys: Captured) -> None:
    out, _ = train(capsys, kinds({"a": 20, "b": 20}), "--out", "a folder")
    line = out.splitlines()[-1]
    assert line == "predict   python -m pygradc predict 'a folder/weights.npz' TABLE.csv"
    assert main(["predict", "a folder/weights.npz", "t.csv"]) == 0
    found = capsys.readouterr()
    assert found.out.count("\n") == 41 and "on 40 rows with kind" in found.err
