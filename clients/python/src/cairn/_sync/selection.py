# Generated from ../_async/selection.py by scripts/generate.py: do not edit.
"""Lists of things: narrowed, put in order and gone through on the server, page by page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Union

from .._ask import PAGE, PAGE_INFO, one
from .._listing import Listing, at_most
from .._tables import check_path, is_field, of_things
from ..filters import AsOf, all_of, as_of, path, selecting
from ..frames import Frame, FrameKind
from .things import Thing

if TYPE_CHECKING:
    from .client import Client

T = TypeVar("T", bound=Thing)
S = TypeVar("S", bound="Selection[Any]")

Order = Union[str, Sequence[str], None]
"""Paths to sort by, each with a minus before it for the greatest first: `"-metrics.loss"`."""


class Selection(Listing[T], Generic[T]):
    """Things of one kind that meet a filter. Nothing is asked before it is used; each use asks anew."""

    def __init__(
        self,
        client: Client,
        field: str,
        kind: type[T],
        *,
        filter: str | None = None,
        order_by: Order = None,
        as_of: AsOf | None = None,
        limit: int | None = None,
    ) -> None:
        """Clients make these: `client.runs(…)`."""
        self._client = client
        self._field = field
        self._kind = kind
        self._filter = filter
        self._order: tuple[str, ...] = (order_by,) if isinstance(order_by, str) else tuple(order_by or ())
        self._as_of = as_of if as_of is not None else client.settings.as_of
        self._limit = None if limit is None else at_most(limit)

    def _but(self: S, **changed: Any) -> S:
        made = type(self).__new__(type(self))
        made.__dict__.update(self.__dict__, coverage=None, **changed)
        return made

    def where(self: S, filter: str | None = None, **fields: Any) -> S:
        """Those of them that also meet this filter, and have these values; see `select` for the values."""
        return self._but(_filter=all_of(self._filter, filter, selecting(fields)))

    def order_by(self: S, *paths: str) -> S:
        """The same in another order: `order_by("-metrics.loss", "name")` puts the greatest loss first."""
        return self._but(_order=paths)

    def limit(self: S, most: int) -> S:
        """The first so many of them."""
        most = at_most(most)
        return self._but(_limit=most if self._limit is None else min(most, self._limit))

    def _arguments(self) -> dict[str, Any]:
        found: dict[str, Any] = {"filter": self._filter, "asOf": as_of(self._as_of)}
        if self._order:
            found["orderBy"] = ", ".join(map(ordered, self._order))
        return found

    def _pages(self, selection: str, size: int = PAGE) -> Iterator[list[dict[str, Any]]]:
        """Raw items, page by page."""
        left, after = self._limit, None
        while left is None or left > 0:
            first = size if left is None else min(size, left)
            wanted = f"nodes {{ {selection} }} {PAGE_INFO}"
            answer = self._client.ask(one(self._field, wanted, first=first, after=after, **self._arguments()))
            self.coverage = answer.coverage
            page = answer.data[self._field]
            yield page["nodes"]
            left = None if left is None else left - len(page["nodes"])
            after = page["pageInfo"]["endCursor"]
            if not page["pageInfo"]["hasNextPage"] or after is None:
                return

    def __iter__(self) -> Iterator[T]:
        # What is asked of a thing of the past is asked of that past.
        client = self._client if self._as_of is None else self._client.using(as_of=self._as_of)
        for page in self._pages(self._kind.SELECTION):
            for node in page:
                yield self._kind.of(client, node)

    def all(self) -> list[T]:
        """All of them."""
        return [thing for thing in self]

    def first(self) -> T | None:
        """The first of them; None where there is none."""
        found = [thing for thing in self.limit(1)]
        return found[0] if found else None

    def count(self) -> int:
        """How many there are."""
        answer = self._client.ask(one(self._field, "totalCount", first=1, **self._arguments()))
        self.coverage = answer.coverage
        total = int(answer.data[self._field]["totalCount"])
        return total if self._limit is None else min(total, self._limit)

    def refs(self) -> list[str]:
        """The names of all of them, without anything else."""
        return [node["ref"] for page in self._pages("ref") for node in page]

    def frame(self, *columns: str, to: FrameKind | None = None) -> Frame:
        """A table with a row for each.

        Columns are fields such as `name` and `created_at`, and paths as filters name them, such as `seed`,
        `config.optimizer.lr` and `metrics.eval/loss`; without any, all fields that are not nested.
        """
        further = [column for column in columns if not is_field(self._kind, column)]
        if not further:
            things = self.all()
            return of_things(things, self._kind, list(columns) or None, self._client.frames(to), self.coverage)
        known = self._client.paths(self._field[:-1])
        for column in further:
            check_path(column, known, self._kind)
        things, said = [], []
        for page in self._pages(f"{self._kind.SELECTION} attributes"):
            for node in page:
                things.append(self._kind.of(self._client, node))
                said.append(node["attributes"])
        return of_things(things, self._kind, list(columns), self._client.frames(to), self.coverage, said)

    def _row(self, item: T) -> dict[str, object]:
        return item._row()

    def __repr__(self) -> str:
        words = [f"where {self._filter}"] if self._filter else []
        words += [f"by {', '.join(self._order)}"] if self._order else []
        words += [f"as of {as_of(self._as_of)}"] if self._as_of is not None else []
        words += [f"at most {self._limit:,}"] if self._limit is not None else []
        return f"<{type(self).__name__} of {self._field}{' ' if words else ''}{', '.join(words)}>"


def ordered(given: str) -> str:
    """One path to sort by, as the server reads it; what says ASC or DESC itself is left as it is."""
    if given.upper().endswith((" ASC", " DESC")):
        return given
    return f"{path(given[1:])} DESC" if given.startswith("-") else path(given)
