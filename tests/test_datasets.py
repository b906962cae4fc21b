"""Does the loader read what is right, and say what is wrong, with line and column?"""

from __future__ import annotations

import doctest
import gzip
import pickle
from pathlib import Path

import numpy as np
import pytest

from pygradc import datasets
from pygradc.datasets import DataError, Dataset, load, train_test_split

GOOD = "width,height,kind\n1,2,cat\n3,4,dog\n5,6.5,cat\n"


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Write a CSV file and return its name, relative to the working directory."""
    monkeypatch.chdir(tmp_path)

    def write(content: str | bytes, name: str = "t.csv") -> str:
        raw = content if isinstance(content, bytes) else content.encode()
        Path(name).write_bytes(raw)
        return name

    return write


def numbered(labels) -> str:
    return "x,y\n" + "".join(f"{row},{label}\n" for row, label in enumerate(labels))


# ---- what is shipped ----------------------------------------------------------------------------


def test_digits_are_the_1797_of_the_source():
    digits = load("digits")
    assert digits.features.shape == (1797, 64) and digits.features.dtype == np.float64
    assert digits.features.min() == 0 and digits.features.max() == 16
    assert np.array_equal(digits.features, np.round(digits.features))
    assert digits.class_names == tuple("0123456789") and digits.target_name == "digit"
    counts = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # the source's table for this part
    assert np.bincount(digits.labels).tolist() == counts
    assert "10.24432/C50P49" in digits.source and "CC BY 4.0" in digits.source


def test_iris_has_three_species_with_names():
    iris = load("iris")
    assert iris.features.shape == (150, 4)
    assert iris.feature_names[0] == "sepal_length" and iris.target_name == "species"
    assert iris.class_names == ("setosa", "versicolor", "virginica")
    assert np.bincount(iris.labels).tolist() == [50, 50, 50]
    assert "10.24432/C56C76" in iris.source


def test_iris_predicts_another_column_only_if_the_rest_is_numbers():
    with pytest.raises(DataError, match=r"iris: line 2, column 5 \('species'\): 'setosa' is not a"):
        load("iris", target="petal_width")


def test_moons_come_from_the_seed():
    first, again, other = load("moons", seed=3), load("moons", seed=3), load("moons", seed=4)
    assert np.array_equal(first.features, again.features)
    assert not np.array_equal(first.features, other.features)
    assert first.features.shape == (500, 2) and np.bincount(first.labels).tolist() == [250, 250]
    with pytest.raises(DataError, match="no column named 'kind'"):
        load("moons", target="kind")


# ---- which tables are read, and how -------------------------------------------------------------


def test_a_file_with_header(table):
    data = load(table(GOOD))
    assert (data.name, data.feature_names, data.target_name) == ("t", ("width", "height"), "kind")
    assert data.features.tolist() == [[1, 2], [3, 4], [5, 6.5]]
    assert data.class_names == ("cat", "dog") and data.labels.tolist() == [0, 1, 0]
    assert data.source == ""


def test_target_takes_a_column_by_name(table):
    data = load(table("kind,a,b\ncat,1,2\ndog,3,4\n"), target="kind")
    assert data.feature_names == ("a", "b") and data.class_names == ("cat", "dog")


@pytest.mark.parametrize(
    "content",
    [
        "1,2,cat\n3,4,dog\n",
        "1,2,cat\r\n3,4,dog",
        "1,2,cat\r3,4,dog\r",
        "\n1 , 2,cat\n\n  \n3,4, dog \n\n",
        '"1","2","cat"\n3,4,dog\n',
        "\ufeff1,2,cat\n3,4,dog\n",
    ],
)
def test_no_header_line_ends_blank_lines_quotes_and_byte_order_mark(table, content):
    data = load(table(content))
    assert data.features.tolist() == [[1, 2], [3, 4]] and data.class_names == ("cat", "dog")
    assert data.feature_names == ("column 1", "column 2")


SEPARATED = {
    "semicolons": "a;b;kind\n1;2;cat\n3;4;dog\n",
    "tabs": "a\tb\tkind\n1\t2\tcat\n3\t4\tdog\n",
    "semicolons, commas in names": "a;b;kind\n1;2;cat, black\n3;4;dog, white\n",
    "commas, semicolons in names": "a,b,kind\n1,2,cat;black\n3,4,dog;white\n",
    "no header, either may be": "1,2,cat;black\n3,4,dog;white\n",
    "quoted separators": '"a;b","c;d","kind"\n1,2,"x;y"\n3,4,"z;y"\n',
    "blank lines": "\n  \na;b;kind\n\n1;2;cat\n3;4;dog\n",
}


@pytest.mark.parametrize("kind", SEPARATED)
def test_the_separator_is_found(table, kind):
    data = load(table(SEPARATED[kind]))
    assert data.features.tolist() == [[1, 2], [3, 4]] and len(data.class_names) == 2


def test_the_separator_is_given(table):
    data = load(table("a|b|kind\n1|2|cat\n3|4|dog\n"), separator="|")
    assert data.features.tolist() == [[1, 2], [3, 4]]
    data = load(table("1;x,cat\n2;x,dog\n"), separator=";")
    assert data.class_names == ("x,cat", "x,dog")


def test_dropped_columns_may_hold_anything(table):
    text = "id,a,b,kind\nx1,1,,cat\nx2,3,n/a,dog\n"
    data = load(table(text), drop=["id", "b"])
    assert data.feature_names == ("a",) and data.features.tolist() == [[1], [3]]
    data = load(table("x1,1,cat\nx2,3,dog\n"), drop=["column 1"], target="column 3")
    assert data.feature_names == ("column 2",) and data.target_name == "column 3"
    for drop, message in (
        (["width"], r"^t.csv: line 1: no column named 'width', only id, a, b, kind$"),
        (["kind"], r"^t.csv: line 1, column 4 \('kind'\): the column to predict cannot be dropped"),
        (["id", "a", "b"], r"^t.csv: line 1, column 4 \('kind'\): no feature is left"),
    ):
        with pytest.raises(DataError, match=message):
            load(table(text), drop=drop)
    with pytest.raises(DataError, match=r"moons: x and y are its features"):
        load("moons", drop=["x"])


@pytest.mark.parametrize(
    ("labels", "task", "expected"),
    [
        ([0, 1, 1], "regress", [0.0, 1.0, 1.0]),
        (["1.50", "2.5", "1.50"], "classify", ("1.50", "2.5")),
        (["10", "9.0", "9"], "classify", ("9", "10")),
        (["x", "7", "7.0"], "classify", ("7", "x")),
        (["1,5", "x", "x"], "classify", ("1,5", "x")),
    ],
)
def test_the_task_may_be_given(table, labels, task, expected):
    quoted = [f'"{label}"' for label in labels]
    data = load(table(numbered(quoted)), task=task)
    if task == "classify":
        assert data.class_names == expected
    else:
        assert data.class_names is None and data.labels.tolist() == expected


def test_a_task_that_the_labels_refuse(table):
    with pytest.raises(
        DataError, match=r"line 2, column 3 \('kind'\): label 'cat' is not a number"
    ):
        load(table(GOOD), task="regress")
    with pytest.raises(DataError, match=r"line 3, column 2 \('y'\): 'x' is not a number"):
        load(table(numbered([1, "x"])), task="regress")
    with pytest.raises(
        DataError, match=r"line 2, column 2 \('y'\): 41 different labels in 41 rows"
    ):
        load(table(numbered(n + 0.5 for n in range(41))), task="classify")
    with pytest.raises(ValueError, match="'classify' or 'regress', not 'cluster'"):
        load("iris", task="cluster")


def test_gzip_and_paths(table, tmp_path):
    assert load(table(gzip.compress(GOOD.encode()), "t.csv.gz")).name == "t"
    assert load(tmp_path / "t.csv.gz").features.shape == (3, 2)


def test_a_file_called_like_a_shipped_set_needs_a_path(table):
    table(GOOD, "iris")
    assert len(load("iris").features) == 150
    data = load("./iris")
    assert len(data.features) == 3 and data.source == ""


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([1, 0, 1], ("0", "1")),
        (["3.0", "-2", "10"], ("-2", "3", "10")),
        (["b", "a", "b"], ("a", "b")),
        (range(20), tuple(str(n) for n in range(20))),
        (range(21), None),
        ([n % 30 for n in range(900)], tuple(str(n) for n in range(30))),
        ([n % 31 for n in range(900)], None),
        ([0.5, 1, 2], None),
    ],
)
def test_few_whole_or_text_labels_are_classes_and_others_regression(table, labels, names):
    data = load(table(numbered(labels)))
    assert data.class_names == names
    kind = np.float64 if names is None else np.int64
    assert data.labels.dtype == kind
    if names is None:
        assert data.labels.tolist() == [float(label) for label in labels]


# ---- what is wrong, and where -------------------------------------------------------------------

BAD = {
    "not a number": (
        "a,b,c\n1,2,x\n3,oops,y\n",
        r"line 3, column 2 \('b'\): 'oops' is not a number",
    ),
    "first row, no header": ("1,x,0\n2,3,1\n", r"line 1, column 2: 'x' is not a number"),
    "after a blank line": ("a,b\n\n1,x\nz,y\n", r"line 4, column 1 \('a'\): 'z' is not a number"),
    "after a CR": ("a,b\r1,x\rz,y\r", r"line 3, column 1 \('a'\): 'z' is not a number"),
    "underscore": ("a,b\n1_000,x\n2,y\n", r"line 2, column 1 \('a'\): '1_000' is not a number"),
    "nan": ("a,b\n1,x\nnan,y\n", r"line 3, column 1 \('a'\): 'nan' is not a finite number"),
    "inf": ("a,b\n1,x\n-inf,y\n", r"line 3, column 1 \('a'\): '-inf' is not a finite number"),
    "overflow": ("a,b\n1e999,x\n1,y\n", r"line 2, column 1 \('a'\): '1e999' is not a finite"),
    "too large": ("a,b\n1e200,x\n1,y\n", r"line 2, column 1 \('a'\): '1e200' is too large"),
    "empty field": ("a,b,c\n1,,x\n1,2,y\n", r"line 2, column 2 \('b'\): empty field"),
    "empty label": ("a,b\n1,x\n2,\n", r"line 3, column 2 \('b'\): empty label"),
    "nan label": ("a,b\n1,0\n2,nan\n", r"line 3, column 2 \('b'\): 'nan' is not a finite"),
    "too short": ("a,b,c\n1,2,x\n1,2\n", r"line 3, column 3 \('c'\): 2 field.*line 1 has 3"),
    "too long": ("a,b,c\n1,2,x\n1,2,y,9\n", r"line 3, column 4: 4 field.*line 1 has 3"),
    "bars": ("a|b\n1|2\n", r"line 1, column 1 \('a\|b'\): only one column; .* semicolons or tabs"),
    "one row": ("a,b\n1,x\n", r"line 2, column 1 \('a'\): only one row"),
    "missing": (
        "a,b\n1,x\nNA,y\n",
        r"line 3, column 1 \('a'\): 'NA' is not .*: a missing value; f",
    ),
    "a text column": (
        "id,a,b\nm,1,x\nn,2,y\n",
        r"line 2, column 1 \('id'\): 'm' is not a number, nor is any other .* drop the column, or",
    ),
    "decimal commas": (
        "a;b\n1,5;x\n2,5;y\n",
        r"line 2, column 1 \('a'\): '1,5' has a decimal comma: write numbers with a point",
    ),
    "decimal commas, no header": ("1,5;2;x\n2,5;3;y\n", r"line 1, column 1: '1,5' has a decimal c"),
    "decimal commas of labels": (
        "a;b\n1;0,5\n2;1.234,5\n",
        r"line 2, column 2 \('b'\): '0,5' has a decimal comma",
    ),
    "quoted decimal commas": (
        'a,b\n"1,5",x\n2,y\n',
        r"line 2, column 1 \('a'\): '1,5' has a decimal",
    ),
    "ragged semicolons": (
        "a;b;c\n1;2;x\n1;2\n",
        r"line 3, column 3 \('c'\): 2 field.* \(separated by semicolons\)",
    ),
    "undecodable after tabs": (
        b"a\tb\n1\tx\n2\t\xff\n",
        r"line 3, column 2: byte 0xff is not UTF-8",
    ),
    "empty": ("", r"line 1, column 1: the file is empty"),
    "blank": ("\n \n\n", r"line 1, column 1: the file is empty"),
    "header only": ("a,b\n", r"line 2, column 1 \('a'\): no rows"),
    "one class": ("a,b\n1,x\n2,x\n", r"line 2, column 2 \('b'\): only one class, x;"),
    "one number": ("a,b\n1,7\n2,7\n", r"line 2, column 2 \('b'\): only one class, 7;"),
    "one measurement": ("a,b\n1,.5\n2,.5\n", r"line 2, column 2 \('b'\): every label is the same"),
    "text among numbers": (
        "a,b\n1,7\n2,8\n3,?\n",
        r"line 4, column 2 \('b'\): label '\?' is not a",
    ),
    "number among text": (
        "a,b\n1,x\n2,8\n3,y\n",
        r"line 3, column 2 \('b'\): label '8' is a number",
    ),
    "texts, not labels": (
        numbered(f"name{n}" for n in range(41)),
        r"line 2, column 2 \('y'\): 41 different labels in 41 rows",
    ),
    "undecodable": (b"a,b\n1,x\n2,\xff\n", r"line 3, column 2: byte 0xff is not UTF-8"),
    "after a quoted comma": (b'a,b\n"1,5",\xe9\n', r"line 2, column 2: byte 0xe9"),
    "UTF-16": ("a,b\n1,x\n".encode("utf-16-le"), r"line 1, column 1: a NUL byte"),
    "open quote": ('a,b\n1,"x\n2,y\n', r"line 2, column 2: a line break inside quotes"),
    "endless field": ('a,b\n1,"x' + "y" * 200_000, r"line 2, column 2: not a CSV line"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_one_line_with_file_line_and_column(table, kind):
    content, message = BAD[kind]
    with pytest.raises(DataError, match="^t.csv: " + message) as error:
        load(table(content))
    assert "\n" not in str(error.value) and len(str(error.value)) < 200


def test_a_missing_or_ambiguous_target(table):
    with pytest.raises(
        DataError, match=r"^t.csv: line 1: no column named 'x', only width, height, k"
    ):
        load(table(GOOD), target="x")
    with pytest.raises(
        DataError, match=r"no column named 'x', only column 1, column 2, .*; the first line is no h"
    ):
        load(table("1,2,3\n4,5,6\n"), target="x")
    with pytest.raises(DataError, match=r"^t.csv: line 1, column 2 \('a'\): a second column named"):
        load(table("a,a,b\n4,5,6\n"), target="a")
    for text in ("a,b,b,c\n1,2,3,x\n4,5,6,y\n", "a,b,b\n1,2,x\n4,5,y\n"):
        with pytest.raises(DataError, match=r"line 1, column 3 \('b'\): a second column named 'b'"):
            load(table(text))


def test_names_that_are_numbers_are_a_header_if_one_is_looked_for(table):
    text = "2019,2020,price\n1,2,0.5\n3,4,1.5\n"
    data = load(table(text), target="price")
    assert data.feature_names == ("2019", "2020") and data.labels.tolist() == [0.5, 1.5]
    with pytest.raises(DataError, match=r"line 1, column 3: label 'price' is not a number"):
        load(table(text))


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.txt", "t.CSV.gz", "t", "t.gz"])
def test_a_files_name_without_its_ending(table, name):
    raw = gzip.compress(GOOD.encode()) if name.endswith("gz") else GOOD.encode()
    assert load(table(raw, name)).name == "t"


def test_a_file_that_cannot_be_read(table, tmp_path):
    with pytest.raises(
        DataError, match=r"^nowhere.csv: no such file \(nor one of digits, iris, moons"
    ):
        load("nowhere.csv")
    with pytest.raises(DataError, match="cannot be read"):
        load(tmp_path)
    damaged = gzip.compress(GOOD.encode() * 100)
    for raw in (b"no gzip", damaged[:-9], damaged[:20] + b"\xff" * 20 + damaged[40:]):
        with pytest.raises(DataError, match=r"^t.csv.gz: cannot be"):
            load(table(raw, "t.csv.gz"))


# ---- the split ----------------------------------------------------------------------------------


def test_the_split_deals_each_row_once_and_standardises_by_the_training_part():
    iris = load("iris")
    split = train_test_split(iris, test=0.2, seed=1)
    assert len(split.train_features) == 120 and len(split.test_features) == 30
    np.testing.assert_allclose(split.train_features.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(split.train_features.std(axis=0), 1.0)
    assert not np.allclose(split.test_features.mean(axis=0), 0.0, atol=1e-3)
    dealt = np.vstack([split.train_features, split.test_features]) * split.scale + split.mean
    labels = np.concatenate([split.train_labels, split.test_labels])
    before = sorted(np.column_stack([iris.features, iris.labels]).round(9).tolist())
    assert sorted(np.column_stack([dealt, labels]).round(9).tolist()) == before


def test_the_split_depends_on_the_seed_only():
    iris = load("iris")
    one, same, other = (train_test_split(iris, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one.test_features, same.test_features)
    assert not np.array_equal(one.test_features, other.test_features)


def test_constant_columns_do_not_divide_by_zero():
    features = np.column_stack([np.full(10, 0.1), np.arange(10.0)])
    data = Dataset("d", features, np.arange(10) % 2, ("a", "b"), ("flat", "ramp"))
    split = train_test_split(data)
    assert np.all(np.isfinite(split.train_features)) and split.scale[0] == 1.0
    np.testing.assert_allclose(split.test_features[:, 0], 0.0, atol=1e-12)


@pytest.mark.parametrize(("rows", "test", "held"), [(2, 0.01, 1), (2, 0.99, 1), (10, 0.3, 3)])
def test_neither_part_is_empty(rows, test, held):
    data = Dataset("d", np.arange(float(rows))[:, None], np.arange(rows) % 2, ("a", "b"), ("x",))
    split = train_test_split(data, test=test)
    assert len(split.test_labels) == held == datasets.held_out(rows, test)
    assert len(split.train_labels) == rows - held


def labelled(labels) -> Dataset:
    rows = np.arange(float(len(labels)))[:, None]
    names = tuple(map(str, range(max(labels) + 1)))
    return Dataset("d", rows, np.array(labels), names, ("x",))


@pytest.mark.parametrize("seed", range(3))
def test_a_stratified_split_holds_out_the_same_share_of_each_class(seed):
    split = train_test_split(labelled([0] * 70 + [1] * 30 + [2] * 5 + [3] * 2), 0.2, seed, True)
    assert np.bincount(split.test_labels).tolist() == [14, 6, 1, 1]
    assert np.bincount(split.train_labels).tolist() == [56, 24, 4, 1]
    dealt = np.vstack([split.train_features, split.test_features]) * split.scale + split.mean
    assert sorted(dealt[:, 0].round(9).tolist()) == [*range(107)]
    assert split.test_labels.tolist() != sorted(split.test_labels.tolist())
    np.testing.assert_allclose(split.train_features.mean(axis=0), 0.0, atol=1e-12)


def test_a_stratified_split_of_small_classes():
    split = train_test_split(labelled([0, 0, 0, 1]), stratify=True)
    assert split.test_labels.tolist() == [0] and sorted(split.train_labels) == [0, 0, 1]
    with pytest.raises(DataError, match="d: no class has two rows"):
        train_test_split(labelled([0, 1, 2]), stratify=True)
    numbers = Dataset("d", np.zeros((3, 1)), np.arange(3.0), None, ("x",))
    with pytest.raises(ValueError, match="stratify needs classes"):
        train_test_split(numbers, stratify=True)


def test_impossible_splits():
    data = Dataset("d", np.zeros((1, 1)), np.zeros(1, dtype=np.int64), ("a", "b"), ("x",))
    with pytest.raises(DataError, match="1 row"):
        train_test_split(data)
    for test in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 1"):
            train_test_split(load("iris"), test=test)


# ---- docstrings ---------------------------------------------------------------------------------


@pytest.mark.parametrize("documented", [DataError, load, train_test_split])
def test_examples_in_docstrings(documented):
    test = doctest.DocTestParser().get_doctest(
        documented.__doc__, {}, documented.__name__, None, None
    )
    assert test.examples and doctest.DocTestRunner().run(test).failed == 0


def test_the_error_is_pickled_by_its_public_name():
    error = pickle.loads(pickle.dumps(DataError("t.csv: line 1")))
    assert type(error) is DataError and str(error) == "t.csv: line 1"
