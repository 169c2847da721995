"""Filters as the server reads them, made of Python values with everything quoted.

The language itself is described in docs/queries.md; a filter may as well be written by hand, as a text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import date, datetime, timezone
from typing import Any, Union

from .errors import InvalidArgument

__all__ = ["all_of", "any_of", "compare", "path", "value"]

# Paths that are not settings: any other keyword of `select` is looked for in a run's config.
_OWN = {
    "created_at", "dataset", "id", "job", "kind", "method", "name", "owner", "parent", "project", "ref", "seed",
    "state", "updated_at",
}  # fmt: skip
_PLAIN = re.compile(r"[^\W\d][\w\-/:@#$]*(\.[\w\-/:@#$]+)*")
_KEYWORDS = {
    "AND", "ASC", "BETWEEN", "DESC", "FALSE", "HAS", "IN", "INF", "INFINITY", "IS", "LIKE", "MATCHES", "NAN", "NOT",
    "NULL", "OR", "TRUE",
}  # fmt: skip


def path(name: str) -> str:
    """A path as a filter writes it: in backticks where it needs them.

    >>> path("config.optimizer.lr"), path("metrics.eval/wiki loss")
    ('config.optimizer.lr', '`metrics.eval/wiki loss`')
    """
    if not name:
        raise InvalidArgument("a path is empty; one is like config.optimizer.lr")
    is_plain = _PLAIN.fullmatch(name) and name.upper() not in _KEYWORDS
    return name if is_plain else "`" + name.replace("`", "``") + "`"


def value(given: object) -> str:
    """A value as a filter writes it: texts in quotes, times as RFC 3339.

    >>> value("it's"), value(1e-3), value(True)
    ("'it''s'", '0.001', 'true')
    """
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, (int, float)):
        return _number(float(given)) if isinstance(given, float) else str(given)
    if isinstance(given, date):
        return f"'{recorded(given)}'"
    if isinstance(given, str):
        return "'" + given.replace("'", "''") + "'"
    raise InvalidArgument(
        f"{given!r} cannot stand in a filter; a text, a number, a truth value, a date or a datetime can"
    )


def _number(given: float) -> str:
    if given != given:
        return "nan"
    return repr(given) if abs(given) != float("inf") else ("inf" if given > 0 else "-inf")


def recorded(given: date) -> str:
    """An instant as RFC 3339: a date is its first one in UTC.

    One without a time zone is refused, since it could mean several.

    >>> recorded(date(2026, 1, 31))
    '2026-01-31T00:00:00Z'
    """
    if not isinstance(given, datetime):
        return f"{given.isoformat()}T00:00:00Z"
    if given.tzinfo is None:
        raise InvalidArgument(f"{given!r} has no time zone; give it one, such as tzinfo=timezone.utc")
    return given.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


def compare(name: str, wanted: Any) -> str:
    """A condition on one path.

    A list, tuple or set means any of its values; a range means from its first to its last; a slice means from and to,
    both included, either of which may be absent; None means that there is no value.

    >>> compare("config.size", ["150M", "300M"]), compare("seed", None), compare("seed", slice(2, 4))
    ("config.size IN ('150M', '300M')", 'seed IS NULL', 'seed BETWEEN 2 AND 4')
    """
    at = path(name)
    if wanted is None:
        return f"{at} IS NULL"
    if isinstance(wanted, range):
        if not wanted:
            raise InvalidArgument(f"{name}={wanted!r} holds no number; give at least one")
        if abs(wanted.step) != 1:
            return f"{at} IN ({', '.join(map(str, wanted))})"
        return f"{at} BETWEEN {min(wanted)} AND {max(wanted)}"
    if isinstance(wanted, slice):
        if wanted.step is not None:
            raise InvalidArgument(f"{name}={wanted!r} has a step; a slice here has a first and a last value")
        return _between(at, wanted)
    if isinstance(wanted, Collection) and not isinstance(wanted, (str, bytes, Mapping)):
        if not wanted:
            raise InvalidArgument(f"{name} is any of no values, which nothing is; give at least one")
        some = sorted(wanted, key=repr) if isinstance(wanted, (set, frozenset)) else wanted
        return f"{at} IN ({', '.join(map(value, some))})"
    return f"{at} = {value(wanted)}"


def _between(at: str, wanted: slice) -> str:
    if wanted.start is None and wanted.stop is None:
        return f"{at} IS NOT NULL"
    if wanted.stop is None:
        return f"{at} >= {value(wanted.start)}"
    if wanted.start is None:
        return f"{at} <= {value(wanted.stop)}"
    return f"{at} BETWEEN {value(wanted.start)} AND {value(wanted.stop)}"


def all_of(*conditions: str | None) -> str | None:
    """A filter that asks for all of these; those that are None ask for nothing.

    >>> all_of("seed = 1", None, "a = 1 OR b = 2")
    '(seed = 1) AND (a = 1 OR b = 2)'
    """
    given = [condition for condition in conditions if condition is not None and condition.strip()]
    return " AND ".join(f"({condition})" for condition in given) if len(given) > 1 else (given[0] if given else None)


def any_of(*conditions: str) -> str:
    """A filter that asks for at least one of these."""
    if not conditions:
        raise InvalidArgument("any of no conditions, which nothing meets; give at least one")
    return " OR ".join(f"({condition})" for condition in conditions) if len(conditions) > 1 else conditions[0]


def selecting(fields: Mapping[str, Any]) -> str | None:
    """The filter of `select`: keywords that are no paths of their own are looked for in the config."""
    conditions: list[str] = []
    for name, wanted in fields.items():
        at = name if name in _OWN or "." in name else f"config.{name}"
        if isinstance(wanted, Mapping):
            conditions += inside(name, wanted)
        else:
            conditions.append(compare(at, wanted))
    return all_of(*conditions)


def inside(name: str, wanted: Mapping[Any, Any]) -> list[str]:
    """Conditions on what lies below a path, however deep it is nested.

    >>> inside("config", {"optimizer": {"lr": 0.1, "a.b": 3}})
    ['config.optimizer.lr = 0.1', 'config.optimizer.a.b = 3']
    """
    if not wanted:
        raise InvalidArgument(f"{name}={{}} names no value; give at least one, or None where there is none")
    conditions: list[str] = []
    for key, inner in wanted.items():
        at = f"{name}.{key}"
        conditions += inside(at, inner) if isinstance(inner, Mapping) else [compare(at, inner)]
    return conditions


AsOf = Union[int, str, date]
"""A past state: a position, or a recorded time as a datetime with a time zone, a date (its first instant in UTC) or RFC
3339 text.
"""


def as_of(given: AsOf | None) -> int | str | None:
    """A past state as the server reads it."""
    if isinstance(given, date):
        return recorded(given)
    if isinstance(given, bool) or not (given is None or isinstance(given, (int, str))):
        raise InvalidArgument(f"as_of={given!r} is no past state; give a position or a time")
    return given


def instant_of(given: date | str | None) -> str | None:
    """An instant as the server reads it."""
    if isinstance(given, date):
        return recorded(given)
    if not (given is None or isinstance(given, str)):
        raise InvalidArgument(
            f"valid_at={given!r} is no time; give a datetime with a time zone, a date or RFC 3339 text"
        )
    return given
