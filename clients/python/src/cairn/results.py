"""Results of evaluations as they are answered: grids in which what is missing is shown, and comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import _schema
from ._read import ColumnType, ColumnTypes
from ._schema import MatrixCell, MatrixColumn, MatrixRow, Standing
from .errors import InvalidArgument
from .frames import Coverage, Frame, FrameKind, Shown, frame

__all__ = ["Comparison", "Matrix", "standings_frame"]

SHORT = {"value": "", "failed": "failed", "superseded": "superseded", "never_evaluated": "–"}


def result_filter(
    suite: str | None,
    slice: str | None,
    dataset: object,
    protocol: str | None,
    subject: object = None,
    steps: tuple[int | None, int | None] | None = None,
) -> dict[str, Any] | None:
    """Which results, as the server reads it."""
    first, last = steps or (None, None)
    if first is not None and last is not None and first > last:
        raise InvalidArgument(f"steps from {first} down to {last}; give the lower one first")
    given = {
        "suite": suite,
        "slice": slice,
        "dataset": getattr(dataset, "ref", dataset),
        "protocol": protocol,
        "subject": getattr(subject, "ref", subject),
        "fromStep": first,
        "toStep": last,
    }
    return {name: value for name, value in given.items() if value is not None} or None


def standings_frame(standings: Sequence[Standing], to: str | None, coverage: Coverage | None) -> Frame:
    """A row for each result; `superseded` is the reason where it is no longer to be relied on."""
    types: ColumnTypes = {**Standing.TYPES, "superseded": "text"}
    columns: dict[str, list[Any]] = {name: [getattr(item, name) for item in standings] for name in Standing.TYPES}
    columns["superseded"] = [None if item.superseded is None else item.superseded.reason for item in standings]
    return frame(columns, types, to, coverage)


class Matrix(Shown):
    """A grid of subjects and tasks, in which what is missing is shown as missing."""

    def __init__(
        self,
        columns: tuple[MatrixColumn, ...],
        rows: list[MatrixRow],
        coverage: Coverage,
        frames: str | None,
    ) -> None:
        """Clients make these: `client.matrix(…)`."""
        self.columns = columns
        """What was measured, in order of suite, task, metric and slice."""
        self.rows = rows
        """Subjects or checkpoints, each with a cell for each column."""
        self.coverage = coverage
        """What the answer covers."""
        self._frames = frames

    def __len__(self) -> int:
        return len(self.rows)

    def names(self) -> list[str]:
        """What each column is called: its task, and as much more as tells it from the others."""
        parts = [[column.task, column.metric, column.suite, column.slice] for column in self.columns]
        for used in range(1, 5):
            names = ["/".join(part or "–" for part in column[:used]) for column in parts]
            if len(set(names)) == len(names):
                return names
        return [f"{name} ({number})" for number, name in enumerate(names)]

    def frame(self, to: FrameKind | None = None) -> Frame:
        """A row for each subject and a column for each task; where there is no result that counts, no value."""
        return self._wide(lambda cell: cell.result.value if _counts(cell) else None, "real", to)

    def states(self, to: FrameKind | None = None) -> Frame:
        """The same table of words: value, failed, superseded or never_evaluated."""
        return self._wide(lambda cell: cell.state, "text", to)

    def missing(self) -> list[tuple[str, str, str]]:
        """Subject, column and state of every cell without a result that counts."""
        names = self.names()
        return [
            (row.subject, name, cell.state)
            for row in self.rows
            for name, cell in zip(names, row.cells)
            if cell.state != "value"
        ]

    def _wide(self, of: Any, kind: ColumnType, to: FrameKind | None) -> Frame:
        columns: dict[str, list[Any]] = {"subject": [row.subject for row in self.rows]}
        types: ColumnTypes = {"subject": "text"}
        if any(row.step is not None for row in self.rows):
            columns["step"], types["step"] = [row.step for row in self.rows], "whole"
        for number, name in enumerate(self.names()):
            columns[name] = [of(row.cells[number]) for row in self.rows]
            types[name] = kind
        return frame(columns, types, to or self._frames, self.coverage)

    def __repr__(self) -> str:
        missing = len(self.missing())
        return f"<Matrix of {len(self.rows):,} subjects and {len(self.columns):,} columns, {missing:,} cells missing>"

    def _preview(self) -> tuple[list[str], list[list[object]], int, str]:
        shown: list[list[object]] = []
        for row in self.rows[:50]:
            step = "" if row.step is None else f" #{row.step}"
            shown.append([row.subject + step, *map(_shown, row.cells)])
        return ["subject", *self.names()], shown, len(self.rows), repr(self)


def _counts(cell: MatrixCell) -> bool:
    return cell.state == "value" and cell.result is not None


def _shown(cell: MatrixCell) -> object:
    return cell.result.value if cell.state == "value" and cell.result is not None else SHORT[cell.state]


class Comparison(_schema.Comparison, Shown):
    """Two to four subjects on a metric of a task; `pairs` has what can be said of every two of them."""

    def frame(self, to: FrameKind | None = None) -> Frame:
        """A row for each pair: the two subjects, the difference with its interval, p-values and the verdict."""
        types: ColumnTypes = {"first": "text", "second": "text"}
        types.update({name: kind for name, kind in _schema.ComparedPair.TYPES.items() if name not in types})
        columns: dict[str, list[Any]] = {name: [getattr(pair, name) for pair in self.pairs] for name in types}
        for name in ("first", "second"):
            columns[name] = [self.sides[number].subject for number in columns[name]]
        return frame(columns, types, to, None)

    def __str__(self) -> str:
        lines = [f"{self.task} {self.metric}, {self.paired:,} samples in common"]
        lines += [f"  {side.subject}  {side.value:.4f}" for side in self.sides]
        lines += [f"  differs: {difference.field}" for difference in self.differences]
        for pair in self.pairs:
            span = "" if pair.low is None or pair.high is None else f" [{pair.low:+.4f}, {pair.high:+.4f}]"
            chance = "" if pair.p_adjusted is None else f" p = {pair.p_adjusted:.3g}"
            verdict = (pair.verdict or "no verdict").replace("_", " ")
            lines.append(f"  {pair.second} against {pair.first}: {pair.difference:+.4f}{span}{chance}: {verdict}")
        return "\n".join([*lines, *([f"  {self.no_verdict}"] if self.no_verdict else [])])

    def _preview(self) -> tuple[list[str], list[list[object]], int, str]:
        table = self.frame("columns")
        return list(table), [list(row.values()) for row in table.rows()], len(self.pairs), str(self).splitlines()[0]
