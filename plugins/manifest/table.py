"""Tables in files, CSV or Parquet: the wanted columns as text, and where each row stands."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from i2i.data.matching import listed
from i2i.errors import I2IError, Problem

MOST_BYTES = 1 << 30
MOST_ROWS = 10_000_000
SEPARATORS = ",;\t"

Choose = Callable[[Sequence[str]], Mapping[str, str]]
"""From the names of all columns to those that are wanted: what each is to be called, and its name in the file."""


@dataclass(frozen=True)
class Table:
    """Some columns of a table.

    Args:
        file: where it is from.
        names: of the columns in the file.
        columns: the cells of each column, without spaces around them; empty for those that hold nothing.
        numbers: of the rows in the file: lines of a CSV, from 1; rows of a Parquet file, from 1.
        unit: what these count.
    """

    file: Path
    names: Mapping[str, str]
    columns: Mapping[str, Sequence[str]]
    numbers: Sequence[int]
    unit: str

    def problem(self, message: str) -> Problem:
        return Problem(str(self.file), message)

    def at(self, rows: Sequence[int]) -> str:
        """Where rows stand: `line 3`; `lines 3, 4 and 12 more`."""
        return f"{self.unit}{'s' if len(rows) > 1 else ''} {listed([str(self.numbers[row]) for row in rows])}"

    def each(self, rows: Sequence[int], column: str) -> str:
        """The first cells of a column in these rows: `x.png (line 3), y.png (line 4) and 12 more`."""
        cells = self.columns[column]
        return listed([f"{shorten(cells[row])} ({self.at([row])})" for row in rows])


def shorten(cell: str) -> str:
    """A cell in a message: no more of it than tells it apart."""
    return cell if len(cell) <= 100 else f"{cell[:99]}…"


def read_table(file: Path, choose: Choose) -> Table:
    """The columns that `choose` picks. Raises I2IError; what `choose` raises comes through."""
    try:
        if file.stat().st_size > MOST_BYTES:
            raise _wrong(file, f"is larger than {MOST_BYTES >> 30} GiB, too large for a list of images")
        with file.open("rb") as start:
            parquet = start.read(4) == b"PAR1"
        return _read_parquet(file, choose) if parquet else _read_csv(file, choose)
    except OSError as error:
        raise _wrong(file, f"cannot be read: {error.strerror or error}") from error


def _read_csv(file: Path, choose: Choose) -> Table:
    """Separated by comma, semicolon or tab, whichever its first line has most of."""
    with file.open(encoding="utf-8-sig", newline="") as text:
        rows = csv.reader(text, delimiter=_separator(text), skipinitialspace=True, strict=True)
        try:
            header = _checked(file, [name.strip() for name in next(rows, [])])
            names = choose(header)
            places = {column: header.index(name) for column, name in names.items()}
            columns: dict[str, list[str]] = {column: [] for column in names}
            numbers: list[int] = []
            uneven: list[str] = []
            for row in rows:
                if not any(map(str.strip, row)):
                    continue
                if len(row) != len(header):
                    uneven.append(str(rows.line_num))
                    continue
                for column, place in places.items():
                    columns[column].append(row[place].strip())
                numbers.append(rows.line_num)
                _count(file, len(numbers))
        except csv.Error as error:
            raise _wrong(file, f"line {rows.line_num} is no CSV: {error}") from error
        except UnicodeDecodeError as error:
            message = f"is not UTF-8 after line {rows.line_num}; save it as CSV in UTF-8, or as Parquet"
            raise _wrong(file, message) from error
    if uneven:
        lines = f"line{'s' if len(uneven) > 1 else ''} {listed(uneven)}"
        raise _wrong(file, f"its first line names {len(header)} columns, but {lines} have more or fewer cells")
    return Table(file, names, columns, numbers, "line")


def _separator(text: TextIO) -> str:
    try:
        first = text.readline(1 << 16)
    except UnicodeDecodeError:
        first = ""  # to be told of when it is read again
    text.seek(0)
    return max(SEPARATORS, key=first.count)


def _read_parquet(file: Path, choose: Choose) -> Table:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise _wrong(file, "Parquet is read by pyarrow, which is missing: pip install pyarrow") from error
    try:
        with parquet.ParquetFile(file) as table:
            names = choose(_checked(file, table.schema_arrow.names))
            _count(file, table.metadata.num_rows)
            for name in names.values():
                _check_type(file, name, table.schema_arrow.field(name).type)
        columns: dict[str, list[str]] = {column: [] for column in names}
        # As dictionaries: a few bytes may say a long text in millions of rows, which must not become as many copies.
        with parquet.ParquetFile(file, read_dictionary=[*names.values()]) as table:
            for batch in table.iter_batches(batch_size=1 << 16, columns=[*names.values()]):
                for column, name in names.items():
                    columns[column] += _cells(file, name, batch.column(name))
        n_rows = len(next(iter(columns.values())))
        return Table(file, names, columns, range(1, n_rows + 1), "row")
    except I2IError:
        raise
    except Exception as error:  # pyarrow raises whatever broken bytes lead it to
        raise _wrong(file, f"is damaged: {error}") from error


def _check_type(file: Path, name: str, type: Any) -> None:
    """Raises I2IError for a column of neither text nor numbers; one that is empty has no type of its own."""
    from pyarrow import types

    values = type.value_type if types.is_dictionary(type) else type
    texts = (types.is_string, types.is_large_string, types.is_string_view)
    if not any(is_right(values) for is_right in (*texts, types.is_primitive, types.is_null)):
        raise _wrong(file, f"the column {name!r} holds {values}; it must hold text or numbers")


def _cells(file: Path, name: str, column: Any) -> Sequence[str]:
    """A column as text; missing values, and what is no number among floats, are empty."""
    from pyarrow import ArrowException, string, types

    is_dictionary = types.is_dictionary(column.type)
    values = column.dictionary if is_dictionary else column
    missing = "nan" if types.is_floating(values.type) else ""
    try:
        texts: Sequence[str | None] = values.cast(string()).to_pylist()
    except ArrowException as error:
        raise _wrong(file, f"the column {name!r} cannot be read as text: {error}") from error
    cells = ["" if text is None or text == missing else text.strip() for text in texts]
    if not is_dictionary:
        return cells
    return ["" if place is None else cells[place] for place in column.indices.to_pylist()]


def _checked(file: Path, names: Sequence[str]) -> Sequence[str]:
    """The names of the columns. Raises I2IError if two are equal."""
    if twice := sorted(name for name, n in Counter(names).items() if name and n > 1):
        raise _wrong(file, f"has several columns of the name {listed([repr(name) for name in twice])}")
    return names


def _count(file: Path, n_rows: int) -> None:
    if n_rows > MOST_ROWS:
        raise _wrong(file, f"has more than {MOST_ROWS:,} rows")


def _wrong(file: Path, message: str) -> I2IError:
    return I2IError(Problem(str(file), message))
