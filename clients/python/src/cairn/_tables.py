"""Tables made of typed answers: one place that says which columns there are and what each holds."""

from __future__ import annotations

import difflib
import importlib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Callable

from ._read import ColumnType, ColumnTypes, Read, as_is, instant, real, whole
from .errors import InvalidArgument
from .frames import Columns, Coverage, Frame, coverage_in, frame, from_arrow, needed, seconds

CURVE_TYPES: ColumnTypes = {
    "run": "text",
    "name": "text",
    "metric": "text",
    "x": "real",
    "value": "real",
    "step": "whole",
    "tokens": "whole",
    "time": "instant",
    "attempt": "whole",
}
LABELS = {
    "step": "optimizer steps",
    "tokens": "tokens",
    "time": "time (UTC)",
    "lineage_steps": "optimizer steps along the lineage",
    "lineage_tokens": "tokens along the lineage",
}
"""What each axis is called under a drawing."""
_POINT_READERS = {"text": as_is, "real": real, "whole": whole, "instant": instant}


def of_read(items: Sequence[Read], kind: type[Read], to: str | None, coverage: Coverage | None) -> Frame:
    """A row for each item, a column for each of its plain fields."""
    columns = {name: [getattr(item, name) for item in items] for name in kind.TYPES}
    return frame(columns, kind.TYPES, to, coverage)


def of_things(
    things: Sequence[Any],
    kind: type[Read],
    paths: Sequence[str] | None,
    to: str | None,
    coverage: Coverage | None,
    said: Sequence[Mapping[str, Any]] = (),
) -> Frame:
    """A row for each thing, a column for each path; without paths all plain fields but the nested ones.

    `said` is all that is said of each, where paths lead beyond their fields.
    """
    if paths is None:
        paths = [name for name, type_ in kind.TYPES.items() if type_ != "json"]
    columns, types = {}, {}
    for path in paths:
        head, _, rest = path.partition(".")
        if is_field(kind, path):
            columns[path] = [dig(getattr(thing, head), rest) for thing in things]
        else:
            columns[path] = [attribute(of, path) for of in said]
        types[path] = kind.TYPES.get(path) or guessed(columns[path])
    return frame(columns, types, to, coverage)


def is_field(kind: type[Read], path: str) -> bool:
    """Whether a path begins at a field."""
    return path.partition(".")[0] in {name for name, _, _ in kind.READERS}


def check_path(path: str, known: Sequence[str], kind: type[Read]) -> None:
    """Refuses a path where nothing stands, with those that are like it."""
    if path not in known:
        fields = [name for name, _, _ in kind.READERS]
        near = difflib.get_close_matches(path, [*fields, *known], 5, 0.5)
        meant = f"; did you mean {', '.join(near)}?" if near else ""
        raise InvalidArgument(
            f"there is no column `{path}`{meant} There are {', '.join(sorted(fields))}, paths into them such as "
            "config.lr, and those that Client.paths() lists"
        )


# The parts of a run in which what is said of it lies, the first that says something before the others.
_PARTS = ("training", "job", "progress")
_WORDS = {"NaN", "Infinity", "-Infinity"}


def attribute(said: Mapping[str, Any], path: str) -> Any:
    """What stands at a path of the filters, in all that is said of a thing.

    >>> attribute({"training": {"seed": 3}, "progress": {"metrics": {"eval/loss": "NaN"}}}, "metrics.eval/loss")
    nan
    """
    found = None
    for part in (*(said.get(name) for name in _PARTS), said):
        found = dig(part, path)
        if found is not None:
            break
    head, _, name = path.partition(".")
    if path == "trains":
        return "training" in said
    if path == "parent" and isinstance(found, str):
        return found if ":" in found else f"run:{found}"
    if head == "metrics" and isinstance(said.get("metrics"), list):
        # Those of an evaluation are a list.
        found = next((metric["value"] for metric in said["metrics"] if metric["name"] == name), None)
    if isinstance(found, str) and found in _WORDS:
        return real(found)
    return real(found) if head == "metrics" and found is not None else found


def dig(value: Any, path: str) -> Any:
    """What lies at a path in nested settings; a key that holds dots itself is found too. None where nothing does."""
    if not path:
        return value
    if isinstance(value, Mapping):
        if path in value:
            return value[path]
        at = path.find(".")
        while at >= 0:
            if path[:at] in value:
                found = dig(value[path[:at]], path[at + 1 :])
                if found is not None:
                    return found
            at = path.find(".", at + 1)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        head, _, rest = path.partition(".")
        if head.isdigit() and int(head) < len(value):
            return dig(value[int(head)], rest)
    return None


def guessed(values: Iterable[Any]) -> ColumnType:
    """The type of a column of settings: that of its values where they have one, else JSON."""
    kinds = {type(value) for value in values if value is not None}
    if not kinds or kinds == {str}:
        return "text"
    if kinds == {bool}:
        return "truth"
    if kinds == {int}:
        return "whole"
    return "real" if kinds <= {int, float} else "json"


class CurveTable:
    """Gathers the points of curves into one long table."""

    def __init__(self) -> None:
        self.columns: dict[str, list[Any]] = {name: [] for name in CURVE_TYPES}

    def add(self, curve: Mapping[str, Any], name: str | None) -> None:
        """The points of one curve."""
        if curve.get("unplaced"):
            warnings.warn(f"{name or curve['run']}, {curve['metric']}: {curve['unplaced']}", UnplacedWarning, 4)
        points = curve["points"]
        count = len(points)
        for column, value in (("run", curve["run"]), ("name", name), ("metric", curve["metric"])):
            self.columns[column] += [value] * count
        for column in ("x", "value", "step", "tokens", "time", "attempt"):
            reader = _POINT_READERS[CURVE_TYPES[column]]
            self.columns[column] += [reader(point.get(column)) for point in points]

    def frame(self, to: str | None, coverage: Coverage | None) -> Frame:
        """The table so far."""
        return frame(self.columns, CURVE_TYPES, to, coverage)


class UnplacedWarning(UserWarning):
    """A curve is left out because what its ancestors had seen is not known, so that it has no place on the axis."""


class AggregateTable:
    """Gathers groups of runs, each as one curve, into one long table."""

    def __init__(self, quantiles: Sequence[float]) -> None:
        self.quantiles = [f"q{quantile:g}" for quantile in quantiles]
        self.types: ColumnTypes = {"group": "text", "metric": "text", "x": "real", "n": "whole"}
        for name in ("mean", "min", "max", *self.quantiles):
            self.types[name] = "real"
        self.columns: dict[str, list[Any]] = {name: [] for name in self.types}

    def add(self, curve: Mapping[str, Any]) -> None:
        """The points of one group; that of runs without a value, or of all runs, has no name."""
        for left_out in curve["unplaced"]:
            warnings.warn(f"{left_out['run']}: {left_out['why']}", UnplacedWarning, 4)
        for point in curve["points"]:
            row = {"group": curve["group"], "metric": curve["metric"], "n": whole(point["n"])}
            row.update({name: real(point[name]) for name in ("x", "mean", "min", "max")})
            row.update(zip(self.quantiles, map(real, point["quantiles"])))
            for name, values in self.columns.items():
                values.append(row[name])

    def frame(self, to: str | None, coverage: Coverage | None) -> Frame:
        """The table so far."""
        return frame(self.columns, self.types, to, coverage)


def every_point(table: Frame, names: Mapping[str, str], x: str, to: str | None) -> Frame:
    """The table of a bulk read of curves, with the columns that `curves` gives."""
    if isinstance(table, Columns):
        columns = dict(table)
        columns["name"] = [names.get(run) for run in columns["run"]]
        columns["x"] = [seconds(value) for value in columns[x]]
        columns["value"] = [real(value) for value in columns["value"]]
        return frame({name: columns[name] for name in CURVE_TYPES}, CURVE_TYPES, to, table.coverage)
    arrow = needed("pyarrow", "arrow")
    compute = importlib.import_module("pyarrow.compute")
    runs = table["run"].cast(arrow.string()).combine_chunks().dictionary_encode()
    known = arrow.array([names.get(run) for run in runs.dictionary.to_pylist()], type=arrow.string())
    places = table[x].cast(arrow.int64()).cast(arrow.float64())
    columns = {name: table[name] for name in CURVE_TYPES if name in table.column_names}
    columns["run"] = runs.cast(arrow.string())
    columns["name"] = known.take(runs.indices)
    columns["metric"] = table["metric"].cast(arrow.string())
    columns["x"] = compute.divide(places, 1e6) if x == "time" else places
    made = arrow.Table.from_arrays([columns[name] for name in CURVE_TYPES], names=list(CURVE_TYPES))
    return from_arrow(made, to, coverage_in(table))


def kept(table: Columns, takes: Callable[[int | None], bool], to: str | None) -> Frame:
    """The rows of a table of curves whose step is wanted."""
    rows = [row for row in table.rows() if takes(row["step"])]
    return frame({name: [row[name] for row in rows] for name in CURVE_TYPES}, CURVE_TYPES, to, table.coverage)
