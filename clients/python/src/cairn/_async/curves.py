"""Questions to the curves, and reads of whole tables."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from .._ask import one
from .._schema import Axis
from .._tables import CurveTable, every_point
from .._wire import chosen_word
from ..errors import BadRequest, InvalidArgument
from ..filters import AsOf
from ..frames import Coverage, Frame, FrameKind, installed
from . import bulk
from .asking import AsyncAsking
from .things import AsyncRun

# What one request may cost, well below the server's limit, and the most runs in one. The server counts a pattern of
# metrics as ten, and a curve as 10 and a tenth of its points.
COST = 40_000
RUNS = 100
CURVE = "run metric points { x value step tokens time attempt }"


class AsyncCurveQuestions(AsyncAsking):
    """Curves of runs as frames."""

    async def curves_of(
        self,
        runs: Sequence[AsyncRun],
        metrics: Sequence[str],
        *,
        x: str = "step",
        points: int | None = 500,
        to: FrameKind | None = None,
    ) -> Frame:
        """Curves of these runs as one frame; see `Runs.curves`."""
        if not metrics:
            raise InvalidArgument("no metric is named; name at least one, such as 'loss'")
        axis = chosen_word("x", x, Axis)
        if points is None:
            return await self._every_point(runs, metrics, x, to)
        if self.settings.as_of is not None:
            raise InvalidArgument("curves of the past are read whole; give points=None")
        arguments = {"metrics": list(metrics), "x": axis, "points": points}
        table, coverage, names = CurveTable(), None, {run.id: run.name for run in runs}
        cost = sum(10 if "*" in metric else 1 for metric in metrics) * (10 + max(points, 0) // 10)
        batch, ids = max(1, min(RUNS, COST // cost)), list(names)
        refused: BadRequest | None = None
        for begin in range(0, len(ids), batch):
            try:
                answer = await self.ask(one("curves", CURVE, runs=ids[begin : begin + batch], **arguments))
            except BadRequest as error:
                # Only the runs differ from one request to the next: these have none of the metrics, which others may.
                refused = refused or error
                continue
            coverage = answer.coverage
            for curve in answer.data["curves"]:
                table.add(curve, names.get(curve["run"]))
        if refused is not None and coverage is None:
            raise refused
        return table.frame(self.frames(to), coverage)

    async def _every_point(
        self, runs: Sequence[AsyncRun], metrics: Sequence[str], x: str, to: FrameKind | None
    ) -> Frame:
        names = {run.id: run.name for run in runs}
        if not names:
            return CurveTable().frame(self.frames(to), None)
        asked = {"runs": list(names), "metrics": list(metrics), "asOf": self.past(None)}
        table = await bulk.read(self._connection, "curves", asked, "arrow" if installed("pyarrow") else "columns")
        return every_point(table, names, x, self.frames(to))

    async def read(
        self, table: str, *, to: FrameKind | None = None, as_of: AsOf | None = None, **arguments: Any
    ) -> Frame:
        """A whole table at once: `read("curves", metrics=["loss"])`, `read("evals", task="answers")`, `read("runs")`.

        It comes as Arrow where pyarrow is installed, as JSON lines elsewhere. The arguments are the server's, which
        docs/queries.md lists; their values are texts, numbers or lists of them.
        """
        asked = {**arguments, "asOf": self.past(as_of)}
        return await bulk.read(self._connection, table, asked, self.frames(to))

    async def download(
        self, table: str, path: str | os.PathLike[str], *, as_of: AsOf | None = None, **arguments: Any
    ) -> Coverage:
        """Writes a table to a file: `download("evals.parquet", "evals.parquet")`, or as .arrow, .csv or .jsonl.

        It needs little memory whatever the table's size, and the file is there only once it is whole.
        """
        return await bulk.download(self._connection, table, {**arguments, "asOf": self.past(as_of)}, path)
