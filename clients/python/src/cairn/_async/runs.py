"""Runs as a list, and what can be asked of all of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from .._read import ColumnTypes
from .._schema import Checkpoint, RunMetric, Standing
from .._tables import kept
from ..errors import InvalidArgument
from ..frames import Frame, FrameKind, frame
from ..plots import draw, draw_mean
from ..results import standings_frame
from .selection import AsyncSelection
from .things import AsyncRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METRIC_TYPES: ColumnTypes = {
    "run": "text",
    "name": "text",
    "metric": "text",
    "points": "whole",
    "first_step": "whole",
    "last_step": "whole",
    "last": "real",
    "min": "real",
    "max": "real",
}

R = TypeVar("R", bound="AsyncRuns")

# Runs whose parts are asked for in one page.
PART = 50


class AsyncRuns(AsyncSelection[AsyncRun]):
    """Runs that meet a filter. Nothing is asked before it is used; each use asks anew."""

    _steps: tuple[int | None, int | None] = (None, None)
    method: str | None = None
    """The method by which `Client.pairs` chose them; None where they were chosen otherwise."""

    def steps(self: R, first: int | None = None, last: int | None = None) -> R:
        """The same runs, of which curves, checkpoints and results are kept to these steps, both included."""
        if first is not None and last is not None and first > last:
            raise InvalidArgument(f"steps from {first} down to {last}; give the lower one first")
        return self._but(_steps=(first, last))

    def _takes(self, step: int | None) -> bool:
        first, last = self._steps
        return step is not None and (first is None or step >= first) and (last is None or step <= last)

    async def curves(
        self,
        *metrics: str | Sequence[str],
        x: str = "step",
        points: int | None = 500,
        start: float | None = None,
        stop: float | None = None,
        smoothing: float | None = None,
        resample: int | None = None,
        ancestors: bool = False,
        to: FrameKind | None = None,
    ) -> Frame:
        """Curves of these runs as one frame: run, name, metric, x, value, step, tokens, time and attempt.

        Metrics are given one by one or as a list; in them `*` stands for any text. `x` is what the column `x` holds:
        `step`, `tokens`, or `time` in seconds since the Unix epoch; `lineage_steps` and `lineage_tokens` count on from
        the runs that a run went on from.
        `start` and `stop` are the ends of the range on that axis, both included.

        Each curve has at most `points` points, among them every least and greatest value, so that no spike is lost;
        None gives every point as it was logged. `smoothing` is a weight from 0 to less than 1 (exponential, as
        TensorBoard has it) or a number of points to average; `resample` gives so many even places instead. With
        `ancestors` each run's curve begins with those of the runs it went on from.
        """
        first, last = self._steps
        is_range = x == "step" and points is not None
        options: dict[str, Any] = {
            "start": upper(start, first) if is_range else start,
            "stop": lower(stop, last) if is_range else stop,
            "smoothing": smoothing,
            "resample": resample,
        }
        options.update(x=x, points=points, ancestors=ancestors, as_of=self._as_of)
        if is_range or self._steps == (None, None):
            return await self._client.curves_of(await self.all(), metrics, to=to, **options)
        found = await self._client.curves_of(await self.all(), metrics, to="columns", **options)
        return kept(found, self._takes, self._client.frames(to))

    async def aggregate(
        self,
        metric: str,
        *,
        by: str | None = None,
        x: str = "step",
        points: int | None = None,
        quantiles: Sequence[float] = (),
        smoothing: float | None = None,
        start: float | None = None,
        stop: float | None = None,
        ancestors: bool = False,
        to: FrameKind | None = None,
    ) -> Frame:
        """Several runs as one curve, such as the seeds of one recipe: group, metric, x, n, mean, min and max.

        `by` is the path by which runs are grouped, such as `config.size`; without it all of them are one group. There
        may be 1,000 runs at most.
        `quantiles`, each from 0 to 1, are columns such as `q0.5`. The other arguments are those of `curves`.
        """
        # A filter alone is looked up by the server.
        is_filter = self._filter is not None and self._limit is None
        runs = None if is_filter else [ref.partition(":")[2] for ref in await self.refs()]
        options: dict[str, Any] = {"x": x, "points": points, "quantiles": quantiles, "smoothing": smoothing}
        options.update(start=start, stop=stop, ancestors=ancestors, as_of=self._as_of)
        options.update(by=by, filter=self._filter if is_filter else None)
        return await self._client.aggregate_of(runs, metric, to=to, **options)

    async def plot_mean(self, metric: str, *, by: str | None = None, x: str = "step", **options: Any) -> Axes:
        """Draws the mean of each group of runs as a line, in a band from the least to the greatest of their values.

        Options are those of `aggregate` and of `cairn.plots.draw_mean` (ax, log_x, log_y).
        """
        style = {name: options.pop(name) for name in ("ax", "log_x", "log_y") if name in options}
        return draw_mean(await self.aggregate(metric, by=by, x=x, to="columns", **options), x=x, **style)

    async def metrics(self, to: FrameKind | None = None) -> Frame:
        """What these runs have of each metric: run, name, metric, points, first_step, last_step, last, min and max."""
        rows: list[dict[str, Any]] = []
        async for page in self._pages(f"ref name metricSummaries {{ {RunMetric.SELECTION} }}", PART):
            for node in page:
                for metric in map(RunMetric.read, node["metricSummaries"]):
                    row = {"run": node["ref"], "name": node["name"], "metric": metric.name, "points": metric.points}
                    row.update(first_step=metric.first_step, last_step=metric.last.step, last=metric.last.value)
                    rows.append({**row, "min": metric.min, "max": metric.max})
        columns = {name: [row[name] for row in rows] for name in METRIC_TYPES}
        return frame(columns, METRIC_TYPES, self._client.frames(to), self.coverage)

    async def results(self, to: FrameKind | None = None) -> Frame:
        """Results measured on these runs, a row for each; `superseded` is the reason where one no longer counts."""
        found: list[Standing] = []
        async for page in self._pages(f"results {{ {Standing.SELECTION} }}", PART):
            for node in page:
                found += map(Standing.read, node["results"])
        if self._steps != (None, None):
            found = [standing for standing in found if self._takes(standing.step)]
        return standings_frame(found, self._client.frames(to), self.coverage)

    async def plot(self, *metrics: str | Sequence[str], x: str = "step", **options: Any) -> Axes:
        """Draws curves of these runs by matplotlib, a line for each run and metric, and gives back the axes.

        Options are those of `curves` (points, …) and of `cairn.plots.draw` (by, ax, log_x, log_y).
        """
        style = {name: options.pop(name) for name in ("by", "ax", "log_x", "log_y") if name in options}
        return draw(await self.curves(*metrics, x=x, to="columns", **options), x=x, **style)

    async def checkpoints(self, to: FrameKind | None = None) -> Frame:
        """The checkpoints of these runs that count: run, name, and a column for each of their fields."""
        return await self._parts("checkpoints", Checkpoint, to)

    async def _parts(self, field: str, kind: type[Checkpoint], to: FrameKind | None) -> Frame:
        columns: dict[str, list[Any]] = {name: [] for name in ("run", "name", *kind.TYPES)}
        async for page in self._pages(f"ref name {field} {{ {kind.SELECTION} }}", PART):
            for node in page:
                for part in map(kind.read, node[field]):
                    if self._steps == (None, None) or self._takes(part.step):
                        columns["run"].append(node["ref"])
                        columns["name"].append(node["name"])
                        for name in kind.TYPES:
                            columns[name].append(getattr(part, name))
        types = {"run": "text", "name": "text", **kind.TYPES}
        return frame(columns, types, self._client.frames(to), self.coverage)


def upper(one: float | None, other: float | None) -> float | None:
    """The greater of two lower ends, either of which may be absent."""
    return other if one is None else one if other is None else max(one, other)


def lower(one: float | None, other: float | None) -> float | None:
    """The lesser of two upper ends, either of which may be absent."""
    return other if one is None else one if other is None else min(one, other)
