"""What can go wrong. Every error carries the server's own words: what was wrong with what it was given, and what would
be right.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = [
    "BadRequest",
    "CairnError",
    "Conflict",
    "InvalidArgument",
    "MissingDependency",
    "NotFound",
    "Refused",
    "ServerError",
    "TimedOut",
    "TooLarge",
    "Unavailable",
    "Unreachable",
]


class CairnError(Exception):
    """Any error of this package; the others are kinds of it."""

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status: int | None = None,
        hint: str | None = None,
        retry_after_s: float | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        """`message` is shown with the hint below it; the rest is for programs."""
        super().__init__(message if hint is None else f"{message}\nhint: {hint}")
        self.message = message
        """What was wrong, in the server's words."""
        self.code = code
        """The server's name for this kind of problem, such as `not-found`, which never changes."""
        self.status = status
        """The HTTP status; None where the server did not answer."""
        self.hint = hint
        """What would be right, where that is not in the message."""
        self.retry_after_s = retry_after_s
        """Seconds after which the same may be asked again; None where that would not help."""
        self.members = dict(members or {})
        """What else the server says of it, such as the offset in a filter."""


class BadRequest(CairnError):
    """The question was wrong: a filter that does not parse, an unknown path, a reversed range, a time to come."""


class NotFound(CairnError):
    """There is no such thing."""


class Conflict(CairnError):
    """The state of the thing does not allow it."""


class Refused(CairnError):
    """What was asked for cannot be done as things are, such as comparing results of unlike protocols."""


class TooLarge(CairnError):
    """The question or a part of it is too large."""


class Unavailable(CairnError):
    """The server cannot answer this now: it is busy, or has not caught up with the position that was asked for."""


class ServerError(CairnError):
    """The server failed, or answered in a way that this version of the client does not know."""


class Unreachable(CairnError):
    """No server answered at the address."""


class TimedOut(CairnError):
    """There was no answer in the time that was given."""


class InvalidArgument(CairnError, ValueError):
    """An argument was wrong; nothing was asked."""


class MissingDependency(CairnError, ImportError):
    """An optional package is needed for this and is not installed."""


_BY_STATUS: dict[int, type[CairnError]] = {
    400: BadRequest,
    404: NotFound,
    408: TimedOut,
    409: Conflict,
    413: TooLarge,
    422: Refused,
    429: Unavailable,
    503: Unavailable,
    504: TimedOut,
}


def of_problem(status: int, problem: Mapping[str, Any], retry_after: str | None = None) -> CairnError:
    """The error of an RFC 9457 problem, or of the extensions of a GraphQL error."""
    known = {"type", "title", "status", "detail", "hint", "code", "retry_after_s"}
    code = problem.get("code") or str(problem.get("type", "")).rpartition(":")[2] or None
    message = problem.get("detail") or problem.get("title") or f"the server answered with status {status}"
    after = problem.get("retry_after_s", retry_after)
    kind = _BY_STATUS.get(status, BadRequest if 400 <= status < 500 else ServerError)
    return kind(
        str(message),
        code=code,
        status=status,
        hint=problem.get("hint"),
        retry_after_s=_seconds(after),
        members={name: value for name, value in problem.items() if name not in known},
    )


def _seconds(value: object) -> float | None:
    try:
        return None if value is None else float(str(value))
    except ValueError:
        return None
