"""Lists that are asked for when they are used: what the two clients cannot share word for word."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Generic, TypeVar, overload

from .errors import InvalidArgument
from .frames import Coverage, Shown

T = TypeVar("T")
L = TypeVar("L", bound="Listing[Any]")
PREVIEW = 10


class AsyncListing(Generic[T]):
    """Things in order, asked for page by page as they are gone through: `async for`, `await listing.count()`."""

    coverage: Coverage | None = None
    """What the last answer covers; None before anything was asked."""

    def __aiter__(self) -> AsyncIterator[T]:
        raise NotImplementedError

    async def count(self) -> int:
        """How many there are."""
        raise NotImplementedError


class Listing(Shown, Generic[T]):
    """Things in order, asked for page by page as they are gone through; each use asks anew."""

    coverage: Coverage | None = None
    """What the last answer covers; None before anything was asked."""

    def __iter__(self) -> Iterator[T]:
        raise NotImplementedError

    def count(self) -> int:
        """How many there are."""
        raise NotImplementedError

    def limit(self: L, most: int) -> L:
        """The same, but at most so many."""
        raise NotImplementedError

    def __len__(self) -> int:
        return self.count()

    def __bool__(self) -> bool:
        return next(iter(self), None) is not None

    @overload
    def __getitem__(self, at: int) -> T: ...

    @overload
    def __getitem__(self, at: slice) -> list[T]: ...

    def __getitem__(self, at: int | slice) -> T | list[T]:
        if isinstance(at, slice):
            needed = at.stop if at.stop is not None and at.stop > 0 and (at.start or 0) >= 0 else None
            return list(iter(self if needed is None else self.limit(needed)))[at]
        found = list(iter(self if at < 0 else self.limit(at + 1)))
        if not -len(found) <= at < len(found):
            raise IndexError(f"there is no item {at}; there are {len(found)} up to there")
        return found[at]

    def _row(self, item: T) -> dict[str, object]:
        raise NotImplementedError

    def _preview(self) -> tuple[list[str], list[list[object]], int, str]:
        rows = [self._row(item) for item in self.limit(PREVIEW)]
        names = list(rows[0]) if rows else []
        return names, [list(row.values()) for row in rows], self.count(), type(self).__name__


def at_most(given: int) -> int:
    """A number of items, or an error."""
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise InvalidArgument(f"a limit of {given!r} items; give a whole number from 1")
    return given
