"""Tables: pandas, polars and Arrow where they are installed, and plain columns everywhere."""

from __future__ import annotations

import html
import importlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal

from ._read import ColumnType, instant, shown
from .errors import CairnError, InvalidArgument, MissingDependency

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

__all__ = ["Columns", "Coverage", "FrameKind"]

FrameKind = Literal["pandas", "polars", "arrow", "columns"]
"""What holds a table: a pandas or polars DataFrame, a pyarrow Table, or `Columns`."""

Frame = Any
"""A table of the kind that was asked for."""

_ROWS_SHOWN = 10
_PACKAGES = {"pandas": "pandas", "polars": "polars", "arrow": "pyarrow"}


class Coverage:
    """What an answer covers: every event up to `position`, which the signed `checkpoint` of the log covers too."""

    def __init__(self, position: int | None = None, checkpoint: Any = None, as_of: int | None = None) -> None:
        self.position = position
        """Every event up to this one is in the answer; None where the log has none."""
        self.checkpoint = checkpoint
        """The signed state of the log, as the server gave it; None where it gave none."""
        self.as_of = as_of
        """The position that the question asked for, where it asked for a past state."""

    def __repr__(self) -> str:
        past = "" if self.as_of is None else f", as of {self.as_of}"
        return f"<Coverage up to position {self.position}{past}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Coverage) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.position, self.as_of))


class Columns(Mapping[str, list[Any]]):
    """A table without any other package: a mapping from names of columns to lists of equal length.

    >>> table = Columns({"step": [1, 2], "loss": [3.5, 3.25]})
    >>> table["loss"], len(table), table.height
    ([3.5, 3.25], 2, 2)
    >>> list(table.rows())[1]
    {'step': 2, 'loss': 3.25}
    """

    def __init__(self, columns: Mapping[str, Sequence[Any]], coverage: Coverage | None = None) -> None:
        self._columns = {name: list(values) for name, values in columns.items()}
        lengths = {len(values) for values in self._columns.values()}
        if len(lengths) > 1:
            raise InvalidArgument(f"columns have unlike lengths {sorted(lengths)}; give them one")
        self.height = next(iter(lengths), 0)
        """Number of rows."""
        self.coverage = coverage
        """What the answer covers; None where no answer is behind it."""

    def __getitem__(self, name: str) -> list[Any]:
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Each row as a dictionary."""
        names = list(self._columns)
        return (dict(zip(names, values)) for values in zip(*self._columns.values()))

    def __repr__(self) -> str:
        head = [list(map(cell, values[:_ROWS_SHOWN])) for values in self._columns.values()]
        widths = [max(map(len, [name, *values])) for name, values in zip(self._columns, head)]
        lines = ["  ".join(name.ljust(width) for name, width in zip(self._columns, widths)).rstrip()]
        for row in zip(*head):
            lines.append("  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip())
        more = self.height - _ROWS_SHOWN
        lines += [f"… and {more:,} more rows"] if more > 0 else []
        return "\n".join(lines if self.height else [lines[0], "(no rows)"])

    def _repr_html_(self) -> str:
        return table_html(
            list(self._columns), list(zip(*(v[:_ROWS_SHOWN] for v in self._columns.values()))), self.height
        )


def cell(value: object) -> str:
    """A value as a table for people shows it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return shown(value)
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:59] + "…"


def table_html(names: Sequence[str], rows: Sequence[Sequence[object]], total: int, caption: str = "") -> str:
    """A table for notebooks: everything escaped, the number of rows below."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell(v))}</td>" for v in row) + "</tr>" for row in rows)
    left = f"{total:,} rows" if total == len(rows) else f"{len(rows):,} of {total:,} rows"
    note = html.escape(f"{caption}: {left}" if caption else left)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{note}</p>"


def chosen(kind: str | None) -> FrameKind:
    """The kind of frame to make: as asked, else the first that is installed."""
    if kind is None:
        return "pandas" if installed("pandas") else "polars" if installed("polars") else "columns"
    if kind not in {"pandas", "polars", "arrow", "columns"}:
        raise InvalidArgument(f"there are no frames of `{kind}`; there are pandas, polars, arrow and columns")
    return kind  # type: ignore[return-value]


def installed(package: str) -> bool:
    """Whether an optional package is there."""
    try:
        importlib.import_module(package)
    except ImportError:
        return False
    return True


def needed(package: str, extra: str) -> Any:
    """An optional package, or an error that says how to get it."""
    try:
        return importlib.import_module(package)
    except ImportError as e:
        raise MissingDependency(f"{package} is not installed", hint=f"pip install 'cairn[{extra}]'") from e


def frame(
    columns: Mapping[str, Sequence[Any]],
    types: Mapping[str, ColumnType],
    kind: str | None,
    coverage: Coverage | None = None,
) -> Frame:
    """A table of plain values; `types` says what each column holds, so that an empty one is typed too."""
    wanted = chosen(kind)
    if wanted == "columns":
        return Columns(columns, coverage)
    if wanted == "pandas":
        return _pandas(columns, types, coverage)
    if wanted == "polars":
        return _polars(columns, types)
    return _arrow(columns, types, coverage)


def _pandas(
    columns: Mapping[str, Sequence[Any]], types: Mapping[str, ColumnType], coverage: Coverage | None
) -> pd.DataFrame:
    pandas = needed("pandas", "pandas")
    series: dict[str, Any] = {}
    for name, values in columns.items():
        kind = types[name]
        absent = any(value is None for value in values)
        if kind == "instant":
            series[name] = pandas.Series(values, dtype="datetime64[us, UTC]")
        elif kind == "whole":
            series[name] = pandas.Series(values, dtype="Int64" if absent else "int64")
        elif kind == "real":
            series[name] = pandas.Series([math.nan if v is None else v for v in values], dtype="float64")
        elif kind == "truth":
            series[name] = pandas.Series(values, dtype="boolean" if absent else "bool")
        else:
            series[name] = pandas.Series(values, dtype="object")
    made = pandas.DataFrame(series)
    made.attrs["cairn"] = covered(coverage)
    return made


def _polars(columns: Mapping[str, Sequence[Any]], types: Mapping[str, ColumnType]) -> pl.DataFrame:
    polars = needed("polars", "polars")
    kinds = {
        "text": polars.String,
        "whole": polars.Int64,
        "real": polars.Float64,
        "truth": polars.Boolean,
        "instant": polars.Datetime("us", "UTC"),
        "json": polars.String,
    }
    schema = {name: kinds[types[name]] for name in columns}
    values = {name: _flat(column, types[name]) for name, column in columns.items()}
    made: pl.DataFrame = polars.DataFrame(values, schema=schema)
    return made


def _arrow(
    columns: Mapping[str, Sequence[Any]], types: Mapping[str, ColumnType], coverage: Coverage | None
) -> pa.Table:
    arrow = needed("pyarrow", "arrow")
    kinds = {
        "text": arrow.string(),
        "whole": arrow.int64(),
        "real": arrow.float64(),
        "truth": arrow.bool_(),
        "instant": arrow.timestamp("us", "UTC"),
        "json": arrow.string(),
    }
    arrays = [arrow.array(_flat(values, types[name]), type=kinds[types[name]]) for name, values in columns.items()]
    made = arrow.Table.from_arrays(arrays, names=list(columns))
    return made.replace_schema_metadata({"cairn": json.dumps(covered(coverage), default=str)})


def _flat(values: Sequence[Any], kind: ColumnType) -> Sequence[Any]:
    """Nested values as JSON text, which every table can hold."""
    if kind != "json":
        return values
    return [None if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True) for value in values]


def covered(coverage: Coverage | None) -> dict[str, Any]:
    """The coverage as a frame carries it: `frame.attrs["cairn"]` in pandas, metadata of the schema in Arrow."""
    return {} if coverage is None else {k: v for k, v in vars(coverage).items() if v is not None}


def from_arrow(table: Any, kind: str | None, coverage: Coverage | None) -> Frame:
    """A pyarrow table as a frame of the kind that was asked for."""
    wanted = chosen(kind)
    if wanted == "arrow":
        known = {"cairn": json.dumps(covered(coverage), default=str)}
        return table.replace_schema_metadata({**(table.schema.metadata or {}), **known})
    if wanted == "polars":
        return needed("polars", "polars").from_arrow(table)
    if wanted == "pandas":
        needed("pandas", "pandas")
        made = table.to_pandas()
        made.attrs["cairn"] = covered(coverage)
        return made
    return Columns(table.to_pydict(), coverage)


def coverage_in(table: Any) -> Coverage:
    """The coverage that an Arrow table of this client carries."""
    known = json.loads((table.schema.metadata or {}).get(b"cairn", b"{}"))
    return Coverage(known.get("position"), known.get("checkpoint"), known.get("as_of"))


def from_lines(lines: Sequence[Mapping[str, Any]], kind: str | None, coverage: Coverage | None) -> Frame:
    """Rows of JSON lines as a frame; a column's type is that of its values."""
    names: dict[str, None] = {}
    for line in lines:
        names.update(dict.fromkeys(line))
    columns = {name: [line.get(name) for line in lines] for name in names}
    types = {name: _type_of(values) for name, values in columns.items()}
    for name, type_ in types.items():
        if type_ == "real":
            columns[name] = [None if value is None else float(value) for value in columns[name]]
        elif type_ == "instant":
            columns[name] = [instant(value) for value in columns[name]]
    return frame(columns, types, kind, coverage)


_NUMBERS_IN_WORDS = {"NaN", "Infinity", "-Infinity"}


def _type_of(values: Sequence[Any]) -> ColumnType:
    known = [value for value in values if value is not None]
    if known and all(isinstance(value, bool) for value in known):
        return "truth"
    if known and all(isinstance(value, int) and not isinstance(value, bool) for value in known):
        return "whole"
    if known and all(_is_number(value) for value in known):
        return "real"
    if known and all(isinstance(value, str) and _is_instant(value) for value in known):
        return "instant"
    return "text" if all(isinstance(value, str) for value in known) else "json"


def _is_number(value: object) -> bool:
    return (isinstance(value, (int, float)) and not isinstance(value, bool)) or (
        isinstance(value, str) and value in _NUMBERS_IN_WORDS
    )


def _is_instant(text: str) -> bool:
    if len(text) != 27 or text[10] != "T" or not text.endswith("Z"):
        return False
    try:
        return instant(text) is not None
    except ValueError:
        return False


def to_rows(made: Frame) -> list[dict[str, Any]]:
    """The rows of any kind of frame, for drawing and for tests."""
    if isinstance(made, Columns):
        return list(made.rows())
    if hasattr(made, "to_pylist"):
        return list(made.to_pylist())
    if hasattr(made, "to_dicts"):
        return list(made.to_dicts())
    if hasattr(made, "to_dict"):
        return list(made.to_dict("records"))
    raise InvalidArgument(f"{type(made).__name__} is no frame; give one that this client made")


def seconds(moment: datetime | float) -> float:
    """An instant as seconds since the Unix epoch."""
    return moment.timestamp() if isinstance(moment, datetime) else moment


def at_seconds(moment_s: float) -> datetime:
    """Seconds since the Unix epoch as an instant in UTC."""
    return datetime.fromtimestamp(moment_s, timezone.utc)


class Shown:
    """What a lazy answer is in a notebook: an error while it is asked is shown in its place."""

    def _preview(self) -> tuple[list[str], list[list[object]], int, str]:
        raise NotImplementedError

    def _repr_html_(self) -> str:
        try:
            names, rows, total, caption = self._preview()
        except CairnError as e:
            return f"<p><b>{html.escape(type(e).__name__)}</b>: {html.escape(str(e))}</p>"
        return table_html(names, rows, total, caption)
