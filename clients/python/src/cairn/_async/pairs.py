"""Pairs of runs of which one went on from the other, by what is recorded and never by names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from .._ask import PAGE, Asked
from .._listing import AsyncListing, at_most
from .._read import ColumnTypes
from ..errors import NotFound
from ..frames import Frame, FrameKind, frame
from ..pairing import Pair
from ..plots import draw
from .runs import AsyncRuns
from .things import AsyncRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .client import AsyncClient

# Runs whose parents are asked for in one request.
PARENTS = 50
# Parents of parents that are gone through: a recorded line of runs is never this long, a wrong one might have no end.
GENERATIONS_MAX = 100


class AsyncPairs(AsyncListing[Pair[AsyncRun]]):
    """Pairs of an earlier run and a later one that descends from it, by recorded parents alone."""

    def __init__(self, client: AsyncClient, earlier: AsyncRuns, later: AsyncRuns, most: int | None = None) -> None:
        """Clients make these: `client.pairs("pretrain", "sft")`."""
        self._client = client
        self._earlier = earlier
        self._later = later
        self._most = most

    def limit(self, most: int) -> AsyncPairs:
        """The first so many of them."""
        most = at_most(most)
        return AsyncPairs(
            self._client, self._earlier, self._later, most if self._most is None else min(most, self._most)
        )

    async def __aiter__(self) -> AsyncIterator[Pair[AsyncRun]]:
        found = await self.all()
        for pair in found[: self._most]:
            yield pair

    async def count(self) -> int:
        """How many there are."""
        return len((await self.all())[: self._most])

    async def all(self) -> list[Pair[AsyncRun]]:
        """All of them, in the order of the later runs: each with its nearest ancestor among the earlier ones."""
        wanted = {run.ref: run async for run in self._earlier}
        later = await self._later.all()
        self.coverage = self._later.coverage
        for side, is_there in ((self._earlier, bool(wanted)), (self._later, bool(later))):
            if side.method is not None and not is_there:
                await self._refuse(side.method)
        known: dict[str, AsyncRun | None] = {}
        lines: dict[str, list[AsyncRun]] = {run.ref: [run] for run in later}
        open_lines = dict(lines)
        for _ in range(GENERATIONS_MAX):
            await self._fetch([line[-1] for line in open_lines.values()], known)
            for start, line in list(open_lines.items()):
                parent = known[line[-1].ref]
                if parent is None or any(parent.ref == run.ref for run in line):
                    del open_lines[start]
                    continue
                line.append(parent)
                if parent.ref in wanted:
                    del open_lines[start]
            if not open_lines:
                break
        found = []
        for run in later:
            line = lines[run.ref]
            if len(line) > 1 and line[-1].ref in wanted:
                found.append(Pair(line[-1], run, tuple(reversed(line[1:-1]))))
        return found

    async def _refuse(self, method: str) -> None:
        """Where no run has a method, says which there are."""
        runs = self._client.runs("method IS NOT NULL")
        found = {str(node["method"]) async for page in runs._pages("method", PAGE) for node in page}
        if method not in found:
            there = f"there are {', '.join(sorted(found))}" if found else "no run has one"
            raise NotFound(f"no run has the method `{method}`; {there}", code="not-found")

    async def _fetch(self, runs: list[AsyncRun], known: dict[str, AsyncRun | None]) -> None:
        """Fills in the parents of runs."""
        missing = [run for run in runs if run.ref not in known]
        for begin in range(0, len(missing), PARENTS):
            batch, asked = missing[begin : begin + PARENTS], Asked()
            for number, run in enumerate(batch):
                asked.field(
                    "run",
                    f"parent {{ {AsyncRun.SELECTION} }}",
                    {"id": run.id, "asOf": self._client.past(None)},
                    alias=f"r{number}",
                )
            answer = await self._client.ask(asked.question())
            for number, run in enumerate(batch):
                parent = (answer.data[f"r{number}"] or {}).get("parent")
                known[run.ref] = None if parent is None else AsyncRun.of(self._client, parent)

    async def frame(self, to: FrameKind | None = None) -> Frame:
        """A row for each pair: names, refs and methods of both, and the number of runs between them."""
        rows = [row(pair) for pair in (await self.all())[: self._most]]
        columns = {name: [row[name] for row in rows] for name in TYPES}
        return frame(columns, TYPES, self._client.frames(to), self.coverage)

    async def runs(self) -> list[AsyncRun]:
        """Every run of every pair once, those between them too, the earlier before the later."""
        found: dict[str, AsyncRun] = {}
        for pair in (await self.all())[: self._most]:
            found.update({run.ref: run for run in (pair.earlier, *pair.between, pair.later)})
        return list(found.values())

    async def curves(self, *metrics: str | Sequence[str], x: str = "lineage_tokens", **options: Any) -> Frame:
        """Curves of all their runs on one axis, which goes on from a parent to its descendants; see `Runs.curves`."""
        return await self._client.curves_of(await self.runs(), metrics, x=x, **options)

    async def plot(self, *metrics: str | Sequence[str], x: str = "lineage_tokens", **options: Any) -> Axes:
        """Draws them on one axis; see `Runs.plot`."""
        style = {name: options.pop(name) for name in ("by", "ax", "log_x", "log_y") if name in options}
        return draw(await self.curves(*metrics, x=x, to="columns", **options), x=x, **style)

    def _row(self, item: Pair[AsyncRun]) -> dict[str, object]:
        return row(item)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._earlier!r} and {self._later!r}>"


TYPES: ColumnTypes = {
    "earlier": "text",
    "later": "text",
    "earlier_name": "text",
    "later_name": "text",
    "earlier_method": "text",
    "later_method": "text",
    "between": "whole",
}


def row(pair: Pair[AsyncRun]) -> dict[str, Any]:
    """A pair as a row of a table."""
    return {
        "earlier": pair.earlier.ref,
        "later": pair.later.ref,
        "earlier_name": pair.earlier.name,
        "later_name": pair.later.name,
        "earlier_method": pair.earlier.method,
        "later_method": pair.later.method,
        "between": len(pair.between),
    }
