"""From the values of an answer to typed, immutable objects."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Callable, ClassVar, Literal, TypeVar

Reader = Callable[[Any], Any]
Readers = tuple[tuple[str, str, Reader], ...]
R = TypeVar("R", bound="Read")

ColumnType = Literal["text", "whole", "real", "truth", "instant", "json"]
"""What a column holds. Instants are in UTC to the microsecond; json is any nested value."""
ColumnTypes = dict[str, ColumnType]


class Read:
    """What is read from an answer.

    `SELECTION` is what to ask for, `READERS` how each field is made of it, `TYPES` what a column of each field holds.
    """

    SELECTION: ClassVar[str]
    READERS: ClassVar[Readers]
    TYPES: ClassVar[ColumnTypes]

    @classmethod
    def read(cls: type[R], data: Mapping[str, Any], **extra: Any) -> R:
        """Makes one of an object of an answer; fields that were not asked for are None."""
        fields = {name: reader(data.get(wire)) for name, wire, reader in cls.READERS}
        return cls(**fields, **extra)


def as_is(value: Any) -> Any:
    """Texts, truth values and free-form JSON."""
    return value


def whole(value: Any) -> int | None:
    """A whole number, also where it came as digits."""
    return None if value is None else int(value)


def real(value: Any) -> float | None:
    """A number; NaN and infinities come as texts, which JSON numbers cannot say."""
    return None if value is None else float(value)


def word(value: Any) -> str | None:
    """A value of an enumeration, in small letters."""
    return None if value is None else str(value).lower()


def instant(value: Any) -> datetime | None:
    """An instant in UTC, to the microsecond."""
    if value is None:
        return None
    text = str(value)
    if text.endswith("Z"):
        text = text[:-1] + "+00:00"
    return datetime.fromisoformat(text).astimezone(timezone.utc)


def maybe(reader: Reader) -> Reader:
    """The same for a value that may be absent."""
    return lambda value: None if value is None else reader(value)


def each(reader: Reader) -> Reader:
    """The same for a list."""

    def read(values: Sequence[Any] | None) -> tuple[Any, ...]:
        return () if values is None else tuple(reader(value) for value in values)

    return read


def thing(kind: Callable[[], type[Read]]) -> Reader:
    """An object of the answer; late, because types name one another."""
    return lambda value: None if value is None else kind().read(value)


def shown(value: float) -> str:
    """A number as people read it: six digits that count."""
    return "NaN" if math.isnan(value) else f"{value:.6g}"
