"""Runs as a list, and what can be asked of all of them at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from .._schema import Checkpoint, Standing
from .._tables import kept
from ..errors import InvalidArgument
from ..frames import Frame, FrameKind, frame
from ..plots import draw
from ..results import standings_frame
from .selection import AsyncSelection
from .things import AsyncRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes

R = TypeVar("R", bound="AsyncRuns")

# Runs whose parts are asked for in one page.
PART = 50


class AsyncRuns(AsyncSelection[AsyncRun]):
    """Runs that meet a filter. Nothing is asked before it is used; each use asks anew."""

    _steps: tuple[int | None, int | None] = (None, None)

    def steps(self: R, first: int | None = None, last: int | None = None) -> R:
        """The same runs, of which curves, checkpoints and results are kept to these steps, both included."""
        if first is not None and last is not None and first > last:
            raise InvalidArgument(f"steps from {first} down to {last}; give the lower one first")
        return self._but(_steps=(first, last))

    def _takes(self, step: int | None) -> bool:
        first, last = self._steps
        return step is not None and (first is None or step >= first) and (last is None or step <= last)

    async def curves(
        self, *metrics: str, x: str = "step", points: int | None = 500, to: FrameKind | None = None
    ) -> Frame:
        """Curves of these runs as one frame: run, name, metric, x, value, step, tokens, time and attempt.

        `x` is what the column `x` holds: `step`, `tokens`, or `time` in seconds since the Unix epoch. Each curve has at
        most `points` points, among them every least and greatest value, so that no spike is lost; None gives every
        point as it was logged.
        """
        client = self._client if self._as_of is None else self._client.using(as_of=self._as_of)
        if self._steps == (None, None):
            return await client.curves_of(await self.all(), metrics, x=x, points=points, to=to)
        found = await client.curves_of(await self.all(), metrics, x=x, points=points, to="columns")
        return kept(found, self._takes, self._client.frames(to))

    async def results(self, to: FrameKind | None = None) -> Frame:
        """Results measured on these runs, a row for each; `superseded` is the reason where one no longer counts."""
        found: list[Standing] = []
        async for page in self._pages(f"results {{ {Standing.SELECTION} }}", PART):
            for node in page:
                found += map(Standing.read, node["results"])
        if self._steps != (None, None):
            found = [standing for standing in found if self._takes(standing.step)]
        return standings_frame(found, self._client.frames(to), self.coverage)

    async def plot(self, *metrics: str, x: str = "step", **options: Any) -> Axes:
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
