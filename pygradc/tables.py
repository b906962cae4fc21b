"""Tables in text files: the fields of each row, and the line and the column of what is wrong.

Fields are separated by commas, semicolons or tabs: the first rows decide, by which of the three
gives all of them as many fields. The first row is a header unless a field in it, the last one
aside, is a number, or has a name that the caller looks for. Columns without a name are called
"column 1", "column 2" and so on. Nothing is guessed about a value: a missing one, or a decimal
comma, is an error. Every message is one line that names file, line and column, which count from 1,
as in editors.
A `Table` owns its text as strings; numbers are converted on demand.
Cost: one pass over the text, about a second for two million fields.
Source: RFC 4180, for quotes; Python's `csv` reads them.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import math
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

LARGEST = 1e100  # the variance of larger numbers would overflow
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}

MOST_NAMES = 20  # of columns in a message
_SAMPLE = 100  # rows that decide the separator
_DECIMAL_COMMA = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+)?,\d+([eE][+-]?\d+)?")
_MISSING = {"", "na", "n/a", "#n/a", "nan", "null", "none", "?", "-"}


class DataError(ValueError):
    """A table cannot be used; the message is one line that names file, line and column.

    >>> from pygradc import datasets
    >>> datasets.load("nowhere.csv")
    Traceback (most recent call last):
        ...
    pygradc.datasets.DataError: nowhere.csv: no such file (nor one of digits, iris, moons)
    """

    __module__ = "pygradc.datasets"  # where it is public


def read(path: str, others: Iterable[str] = ()) -> bytes:
    """The content of a file, decompressed if its name ends in .gz.

    Args:
        others: what a name may be besides a file, for the message.
    Raises:
        DataError: there is no such file, or it can't be read or decompressed.
    """
    try:
        raw = Path(path).read_bytes()
        return gzip.decompress(raw) if path.lower().endswith(".gz") else raw
    except FileNotFoundError:
        known = f" (nor one of {', '.join(others)})" if others else ""
        raise DataError(f"{path}: no such file{known}") from None
    except (OSError, EOFError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path}: cannot be read: {reason}") from None
    except Exception as error:  # zlib.error, a direct subclass of Exception: a damaged .gz
        raise DataError(f"{path}: cannot be decompressed: {error}") from None


class Table:
    """The fields of one text, row by row.

    Attributes:
        file: the name of the text in messages.
        names: one per column; never empty, perhaps not unique.
        has_header: whether the names are from the text.
        lines: of each row, where it starts.
        rows: fields without the blanks around them, as many in each row.
        first_line: of the header, or of the first row.
    """

    def __init__(
        self,
        file: str,
        raw: bytes,
        names: Sequence[str] | None = None,
        known: Collection[str] = (),
        separator: str | None = None,
        fewest: int = 2,
    ) -> None:
        """Split the bytes into rows of fields, all of one length; find the names.

        Args:
            raw: UTF-8, with or without a byte order mark.
            names: the columns' names if the text has no header; None to look for one.
            known: names that the caller looks for: a first row with one of them is a header.
            separator: one character; None to detect it.
            fewest: the fewest columns.
        Raises:
            DataError: undecodable, empty, ragged, no rows, or fewer columns.
        """
        self.file = file
        self.names: list[str] = list(names or [])
        self.lines: list[int] = []
        self.rows: list[list[str]] = []
        text = self._decode(raw)
        self.separator = separator or _separator_of(text)
        self._split(text)
        if not self.rows:
            raise DataError(f"{file}: line 1, column 1: the file is empty")
        self.first_line = self.lines[0]
        self._given = names is not None
        self.has_header = not self._given and _is_header(self.rows[0], known)
        if self.has_header:
            self.names = list(self.rows[0])
        self._check_lengths(fewest)
        if self.has_header:
            del self.rows[0], self.lines[0]
            if not self.rows:
                self.fail(self.first_line + 1, 0, "no rows after the header")
        numbered = enumerate(self.names or [""] * len(self.rows[0]), start=1)
        self.names = [name or f"column {column}" for column, name in numbered]

    def fail(self, line: int, column: int, what: str) -> NoReturn:
        """Raise a DataError about a place; the column counts from 0."""
        has_name = column < len(self.names) and self.names[column] != f"column {column + 1}"
        where = f"column {column + 1}" + (f" ({self.names[column]!r})" if has_name else "")
        raise DataError(f"{self.file}: line {line}, {where}: {what}")

    # ---- columns ----

    def column(self, name: str) -> int:
        """Where the column of this name is, from 0; raises as `columns` does."""
        return self.columns([name])[0]

    def columns(self, names: Sequence[str]) -> list[int]:
        """Where the columns of these names are, from 0.

        Raises:
            DataError: some aren't there, and the message says which there are; or one is twice.
        """
        places: dict[str, list[int]] = {name: [] for name in names}
        for column, name in enumerate(self.names):
            if name in places:
                places[name].append(column)
        missing = [name for name, found in places.items() if not found]
        if missing:
            plural = "s" if len(missing) > 1 else ""
            why = "" if self.has_header or self._given else "; the first line is no header"
            raise DataError(
                f"{self.file}: line {self.first_line}: no column{plural} named "
                f"{_listed(map(repr, missing))}, only {_listed(self.names)}{why}"
            )
        for name, found in places.items():
            if len(found) > 1:
                self.fail(self.first_line, found[1], f"a second column named {name!r}")
        return [places[name][0] for name in names]

    def fields(self, column: int) -> list[str]:
        """The column's fields."""
        return [row[column] for row in self.rows]

    def numbers(self, columns: Sequence[int]) -> npt.NDArray[np.float64]:
        """These columns as numbers, shape (rows, columns).

        Raises:
            DataError: a field isn't a finite number of at most `LARGEST`: the first one.
        """
        found = [
            [self.number(line, column, row[column]) for column in columns]
            for line, row in zip(self.lines, self.rows)
        ]
        return np.array(found, dtype=np.float64).reshape(len(self.rows), len(columns))

    def number(self, line: int, column: int, field: str) -> float:
        """One field as a number; raises as `numbers` does."""
        if not is_number(field):
            self.fail(line, column, self._why_no_number(column, field))
        value = float(field)
        if not math.isfinite(value):
            missing = _to_do(field)
            self.fail(line, column, f"{shown(field)} is not a finite number{missing}")
        if abs(value) > LARGEST:
            self.fail(line, column, f"{shown(field)} is too large (over {LARGEST:g})")
        return value

    def _why_no_number(self, column: int, field: str) -> str:
        if not field:
            return f"empty field{_to_do(field)}"
        if has_decimal_comma(field):
            return f"{shown(field)} has a decimal comma: write numbers with a point, as in 1234.5"
        if not any(map(is_number, self.fields(column))):
            others = "nor is any other in this column: drop the column, or write numbers"
            return f"{shown(field)} is not a number, {others}"
        return f"{shown(field)} is not a number{_to_do(field)}"

    # ---- text -> fields ----

    def _decode(self, raw: bytes) -> str:
        bad = raw.find(b"\0")
        what = "a NUL byte; is this a UTF-8 text file?"
        if bad < 0:
            try:
                return raw.decode("utf-8-sig")
            except UnicodeDecodeError:
                pass
            try:
                raw.decode("utf-8")
            except UnicodeDecodeError as error:
                bad, what = error.start, f"byte 0x{raw[error.start]:02x} is not UTF-8 text"
        before = re.split(rb"\r\n|\r|\n", raw[:bad])
        separator = _separator_of(raw[:bad].decode("utf-8", "replace"))
        self.fail(len(before), _last_column(before[-1].decode("utf-8", "replace"), separator), what)

    def _split(self, text: str) -> None:
        reader = _reader(text, self.separator)
        line = 1
        try:
            for fields in reader:
                if any(fields) or len(fields) > 1:
                    self._append(line, fields)
                line = reader.line_num + 1
        except csv.Error as error:
            start = re.split(r"\r\n|\r|\n", text)[line - 1]
            self.fail(line, _last_column(start, self.separator), f"not a CSV line: {error}")

    def _append(self, line: int, fields: list[str]) -> None:
        fields = [field.strip() for field in fields]
        if fields == [""]:
            return
        for column, field in enumerate(fields):
            if "\n" in field or "\r" in field:
                self.fail(line, column, "a line break inside quotes; is the quote closed?")
        self.lines.append(line)
        self.rows.append(fields)

    def _check_lengths(self, fewest: int) -> None:
        expected = len(self.rows[0])
        if expected < fewest:
            what = "only one column; features and a label are needed, separated by commas, "
            self.fail(self.first_line, 0, what + "semicolons or tabs")
        for line, row in zip(self.lines, self.rows):
            if len(row) != expected:
                by = SEPARATORS.get(self.separator, repr(self.separator))
                what = f"{len(row)} field(s), but line {self.first_line} has {expected}"
                self.fail(line, min(len(row), expected), f"{what} (separated by {by})")


def is_number(field: str) -> bool:
    """Whether Python reads the field as a float; nan and inf, too."""
    try:
        float(field)
    except ValueError:
        return False
    return "_" not in field


def has_decimal_comma(field: str) -> bool:
    """Whether it would be a number with a point for the comma, such as 1,5 or 1.234,5."""
    return _DECIMAL_COMMA.fullmatch(field) is not None


def shown(field: str) -> str:
    """The field in a message."""
    return repr(field if len(field) <= 40 else field[:37] + "...")


def _listed(names: Iterable[str]) -> str:
    first = [*itertools.islice(names, MOST_NAMES + 1)]
    return ", ".join(first[:MOST_NAMES] + ["..."] * (len(first) > MOST_NAMES))


def _to_do(field: str) -> str:
    """What to write in place of a missing value; nothing if it isn't one."""
    if field.lower() not in _MISSING:
        return ""
    return ": a missing value; fill it in, or drop the row or the column"


def _reader(text: str, separator: str) -> Any:
    return csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)


def _separator_of(text: str) -> str:
    """The separator that gives the first rows equally many fields; of two, that with more numbers.

    If none does, that of which the first row has most: the error about lengths names it.
    """
    found = {separator: _first_rows(text, separator) for separator in SEPARATORS}
    even = [s for s, rows in found.items() if len({*map(len, rows)}) == 1 and len(rows[0]) > 1]
    if even:
        return max(even, key=lambda separator: _share_of_numbers(found[separator]))
    return max(found, key=lambda separator: len(found[separator][0]) if found[separator] else 0)


def _first_rows(text: str, separator: str) -> list[list[str]]:
    rows: list[list[str]] = []
    try:
        for row in itertools.islice(_reader(text, separator), _SAMPLE):
            if any(field.strip() for field in row) or len(row) > 1:
                rows.append(row)
    except csv.Error:  # said later, with its line
        pass
    return rows


def _share_of_numbers(rows: list[list[str]]) -> float:
    fields = [field.strip() for row in rows for field in row]
    return sum(is_number(field) or has_decimal_comma(field) for field in fields) / len(fields)


def _is_header(first: list[str], known: Collection[str]) -> bool:
    if any(field and field in known for field in first):
        return True
    numbers = [is_number(field) or has_decimal_comma(field) for field in first]
    return not any(numbers[:-1]) if len(first) > 1 else not numbers[0]


def _last_column(line: str, separator: str) -> int:
    """The column, from 0, in which the start of a line ends."""
    fields = next(csv.reader([line[: csv.field_size_limit() // 2]], delimiter=separator), [])
    return max(len(fields) - 1, 0)
