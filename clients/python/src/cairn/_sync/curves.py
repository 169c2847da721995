# Generated from ../_async/curves.py by scripts/generate.py: do not edit.
"""Questions to the curves, and reads of whole tables."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from .._ask import one
from .._schema import Axis
from .._tables import AggregateTable, CurveTable, every_point
from .._wire import chosen_word, names
from ..errors import BadRequest, InvalidArgument
from ..filters import AsOf
from ..frames import Coverage, Frame, FrameKind, installed
from . import bulk
from .asking import Asking
from .things import Run

# What one request may cost, well below the server's limit, and the most runs in one. The server counts a pattern of
# metrics as ten, and a curve as 10 and a tenth of its points.
COST = 40_000
RUNS = 100
CURVE = "run metric unplaced points { x value step tokens time attempt }"
AGGREGATE = "group metric runs unplaced { run why } points { x n mean min max quantiles }"


class CurveQuestions(Asking):
    """Curves of runs as frames, one by one, taken together, or every point of them."""

    def curves_of(
        self,
        runs: Sequence[Run],
        metrics: Sequence[str | Sequence[str]],
        *,
        x: str = "step",
        points: int | None = 500,
        start: float | None = None,
        stop: float | None = None,
        smoothing: float | None = None,
        resample: int | None = None,
        ancestors: bool = False,
        as_of: AsOf | None = None,
        to: FrameKind | None = None,
    ) -> Frame:
        """Curves of these runs as one frame; see `Runs.curves`."""
        wanted = names(metrics)
        if not wanted:
            raise InvalidArgument("no metric is named; name at least one, such as 'loss'")
        axis = chosen_word("x", x, Axis)
        if points is None:
            if (start, stop, smoothing, resample, ancestors) != (None, None, None, None, False):
                raise InvalidArgument(
                    "points=None gives every point as it was logged; a range, smoothing, resample and ancestors need a "
                    "number of points"
                )
            return self._every_point(runs, wanted, x, as_of, to)
        arguments = {
            "metrics": wanted,
            "x": axis,
            "from": start,
            "to": stop,
            "points": points,
            "smoothing": smoothed(smoothing),
            "resample": resample,
            "ancestors": ancestors or None,
            "asOf": self.past(as_of),
        }
        table, coverage, known = CurveTable(), None, {run.id: run.name for run in runs}
        cost = sum(10 if "*" in metric else 1 for metric in wanted) * (10 + max(points, 0) // 10)
        batch, ids = max(1, min(RUNS, COST // cost)), list(known)
        refused: BadRequest | None = None
        for begin in range(0, len(ids), batch):
            try:
                answer = self.ask(one("curves", CURVE, runs=ids[begin : begin + batch], **arguments))
            except BadRequest as error:
                # Only the runs differ from one request to the next: these have none of the metrics, which others may.
                refused = refused or error
                continue
            coverage = answer.coverage
            for curve in answer.data["curves"]:
                table.add(curve, known.get(curve["run"]))
        if refused is not None and coverage is None:
            raise refused
        return table.frame(self.frames(to), coverage)

    def _every_point(
        self, runs: Sequence[Run], metrics: Sequence[str], x: str, as_of: AsOf | None, to: FrameKind | None
    ) -> Frame:
        if x not in {"step", "tokens", "time"}:
            raise InvalidArgument(f"x={x!r} counts along the lineage, which needs a number of points")
        known = {run.id: run.name for run in runs}
        if not known:
            return CurveTable().frame(self.frames(to), None)
        asked = {"runs": list(known), "metrics": list(metrics), "asOf": self.past(as_of)}
        table = bulk.read(self._connection, "curves", asked, "arrow" if installed("pyarrow") else "columns")
        return every_point(table, known, x, self.frames(to))

    def aggregate_of(
        self,
        runs: Sequence[str] | None,
        metric: str,
        *,
        filter: str | None = None,
        by: str | None = None,
        x: str = "step",
        points: int | None = None,
        start: float | None = None,
        stop: float | None = None,
        smoothing: float | None = None,
        ancestors: bool = False,
        quantiles: Sequence[float] = (),
        as_of: AsOf | None = None,
        to: FrameKind | None = None,
    ) -> Frame:
        """Runs, by their ids or by a filter, as one curve or one for each group; see `Runs.aggregate`."""
        if not isinstance(metric, str):
            raise InvalidArgument(f"metric={metric!r}; runs are taken together by one metric, such as 'loss'")
        arguments = {
            "metric": metric,
            "x": chosen_word("x", x, Axis),
            "from": start,
            "to": stop,
            "points": points,
            "smoothing": smoothed(smoothing),
            "ancestors": ancestors or None,
            "quantiles": list(quantiles) or None,
            "asOf": self.past(as_of),
        }
        answer = self.ask(one("aggregateCurves", AGGREGATE, runs=runs, filter=filter, groupBy=by, **arguments))
        table = AggregateTable(quantiles)
        for curve in answer.data["aggregateCurves"]:
            table.add(curve)
        return table.frame(self.frames(to), answer.coverage)

    def read(self, table: str, *, to: FrameKind | None = None, as_of: AsOf | None = None, **arguments: Any) -> Frame:
        """A whole table at once: `read("curves", metrics=["loss"])`, `read("evals", task="answers")`, `read("runs")`.

        It comes as Arrow where pyarrow is installed, as JSON lines elsewhere. The arguments are the server's, which
        docs/queries.md lists; their values are texts, numbers or lists of them.
        """
        asked = {**arguments, "asOf": self.past(as_of)}
        return bulk.read(self._connection, table, asked, self.frames(to))

    def download(
        self, table: str, path: str | os.PathLike[str], *, as_of: AsOf | None = None, **arguments: Any
    ) -> Coverage:
        """Writes a table to a file: `download("evals.parquet", "evals.parquet")`, or as .arrow, .csv or .jsonl.

        It needs little memory whatever the table's size, and the file is there only once it is whole.
        """
        return bulk.download(self._connection, table, {**arguments, "asOf": self.past(as_of)}, path)


def smoothed(given: float | None) -> dict[str, Any] | None:
    """Smoothing as the server reads it: a weight below 1, or a number of points."""
    if given is None:
        return None
    if isinstance(given, bool) or given < 0 or (given >= 1 and given != int(given)):
        raise InvalidArgument(f"smoothing={given!r}; give a weight from 0 to less than 1, or a number of points")
    return {"ema": given} if given < 1 else {"mean": int(given)}
