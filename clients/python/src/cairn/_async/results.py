"""Results of evaluations as a list."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from .._ask import PAGE, PAGE_INFO, one
from .._listing import AsyncListing, at_most
from .._schema import Standing
from ..frames import Frame, FrameKind
from ..results import standings_frame

if TYPE_CHECKING:
    from .asking import AsyncAsking


class AsyncResults(AsyncListing[Standing]):
    """Results that meet a question. Nothing is asked before it is used; each use asks anew."""

    def __init__(
        self, client: AsyncAsking, field: str, arguments: dict[str, Any], superseded: bool, most: int | None = None
    ) -> None:
        """Clients make these: `client.evals(…)` and `client.leaderboard(…)`."""
        self._client = client
        self._field = field
        self._arguments = arguments
        self._superseded = superseded
        self._most = most

    def limit(self, most: int) -> AsyncResults:
        """The first so many of them."""
        most = at_most(most)
        fewest = most if self._most is None else min(most, self._most)
        return AsyncResults(self._client, self._field, self._arguments, self._superseded, fewest)

    async def __aiter__(self) -> AsyncIterator[Standing]:
        left, after = self._most, None
        # Superseded results are left out here, so that a page may give fewer than were asked for.
        while left is None or left > 0:
            selection = f"nodes {{ {Standing.SELECTION} }} {PAGE_INFO}"
            answer = await self._client.ask(one(self._field, selection, first=PAGE, after=after, **self._arguments))
            self.coverage = answer.coverage
            page = answer.data[self._field]
            for node in page["nodes"]:
                found = Standing.read(node)
                if self._superseded or found.superseded is None:
                    yield found
                    left = None if left is None else left - 1
                    if left == 0:
                        return
            after = page["pageInfo"]["endCursor"]
            if not page["pageInfo"]["hasNextPage"] or after is None:
                return

    async def all(self) -> list[Standing]:
        """All of them."""
        return [standing async for standing in self]

    async def first(self) -> Standing | None:
        """The first of them; None where there is none."""
        found = await self.limit(1).all()
        return found[0] if found else None

    async def count(self) -> int:
        """How many there are."""
        return len(await self.all())

    async def frame(self, to: FrameKind | None = None) -> Frame:
        """A row for each result; `superseded` is the reason where it is no longer to be relied on."""
        found = await self.all()
        return standings_frame(found, self._client.frames(to), self.coverage)

    def _row(self, item: Standing) -> dict[str, object]:
        names = ("subject", "step", "suite", "task", "slice", "metric", "value", "standard_error", "n", "recorded_at")
        rank = {} if item.rank is None else {"rank": item.rank}
        return {**rank, **{name: getattr(item, name) for name in names}}

    def __repr__(self) -> str:
        words = [f"{name}={value!r}" for name, value in self._arguments.items() if value is not None]
        return f"<{type(self).__name__} of {self._field}{' ' if words else ''}{', '.join(words)}>"
