"""What both clients share: requests, answers, and when to ask again. Nothing here waits or touches a network."""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union, get_args
from urllib.parse import urlsplit

import httpx

from .errors import BadRequest, CairnError, InvalidArgument, ServerError, TimedOut, Unreachable, of_problem
from .filters import AsOf
from .frames import Coverage

DEFAULT_URL = "http://127.0.0.1:8470"
VERSION = "0.1.0"

# Seconds before the first repeat; each later one waits twice as long, up to the longest.
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 10.0
# Characters of an answer that is no JSON which an error shows.
_SHOWN = 200


@dataclass(frozen=True)
class Settings:
    """How a client asks; `Client.using` makes a client with others."""

    url: str
    token: str | None = None
    tenant: str = "default"
    timeout_s: float = 30.0
    retries: int = 3
    as_of: AsOf | None = None
    at_least: int | None = None
    frames: str | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise InvalidArgument(f"url={self.url!r} is no address; one is like {DEFAULT_URL}")
        if not self.timeout_s > 0:
            raise InvalidArgument(f"timeout_s={self.timeout_s!r} is no length of time; give seconds above 0")
        if self.retries < 0:
            raise InvalidArgument(f"retries={self.retries!r} is negative; give 0 for none")

    def headers(self) -> dict[str, str]:
        """What every request carries."""
        found = {"user-agent": f"cairn-python/{VERSION}", "accept-encoding": "identity"}
        if self.token is not None:
            found["authorization"] = f"Bearer {self.token}"
        if self.at_least is not None:
            found["cairn-at-least"] = str(self.at_least)
        return found


def url_of(given: str | None) -> str:
    """The server's address: as given, else CAIRN_URL, else where `cairn serve` listens unless told otherwise."""
    return (given or os.environ.get("CAIRN_URL") or DEFAULT_URL).rstrip("/")


@dataclass(frozen=True)
class Answer:
    """The data of a GraphQL answer and what it covers."""

    data: dict[str, Any]
    coverage: Coverage


def is_read(document: str) -> bool:
    """Whether a GraphQL document only asks, so that it may be sent again.

    >>> is_read("{ log { size } }"), is_read('query Q { log { size } } # mutation'), is_read("mutation { x }")
    (True, True, False)
    """
    bare = re.sub(r'"""(?:[^"\\]|\\.|"(?!""))*"""|"(?:[^"\\]|\\.)*"|#[^\n]*', " ", document)
    depth, outside = 0, []
    for character in bare:
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            outside.append(character)
    return re.search(r"\b(mutation|subscription)\b", "".join(outside)) is None


def answer(response: httpx.Response) -> Answer:
    """The data of a GraphQL response, or the error it is."""
    payload = _json(response)
    errors = payload.get("errors")
    if errors:
        raise _graphql_error(errors)
    if response.status_code != 200 or "data" not in payload:
        raise problem(response)
    covered = (payload.get("extensions") or {}).get("coverage") or {}
    coverage = Coverage(covered.get("position"), covered.get("checkpoint"), covered.get("asOf"))
    return Answer(payload["data"] or {}, coverage)


def _graphql_error(errors: list[dict[str, Any]]) -> CairnError:
    first = errors[0]
    extensions = dict(first.get("extensions") or {})
    if "code" not in extensions and "status" not in extensions:
        # What the schema's own validation says, before any of our code is asked.
        extensions["code"], extensions["status"] = "invalid-query", 400
    status = int(extensions.get("status", 400))
    places = ".".join(map(str, first.get("path") or []))
    members = {**extensions, "detail": first.get("message"), **({"path": places} if places else {})}
    if len(errors) > 1:
        members["others"] = [error.get("message") for error in errors[1:]]
    return of_problem(status, members)


def problem(response: httpx.Response) -> CairnError:
    """The error of a response that is none of those that were asked for."""
    try:
        payload = _json(response)
    except ServerError:
        payload = {"detail": _foreign(response)}
    return of_problem(response.status_code, payload, response.headers.get("retry-after"))


def _json(response: httpx.Response) -> dict[str, Any]:
    try:
        payload = response.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        payload = None
    if not isinstance(payload, dict):
        raise ServerError(
            _foreign(response),
            status=response.status_code,
            hint="is this the address of a Cairn server, or of another?",
        )
    return payload


def _foreign(response: httpx.Response) -> str:
    text = " ".join(response.text.split())[:_SHOWN]
    return f"{response.request.url} answered with status {response.status_code} and no JSON: {text or '(nothing)'}"


def transport_error(error: httpx.HTTPError, settings: Settings) -> CairnError:
    """An error on the way to the server or back, in words that help."""
    if isinstance(error, httpx.TimeoutException):
        hint = "give a longer timeout_s, or ask for less at a time"
        return TimedOut(f"{settings.url} did not answer within {settings.timeout_s:g} s", hint=hint)
    hint = "is `cairn serve` running there? Client(url=…) or CAIRN_URL names another address"
    return Unreachable(f"{settings.url} cannot be reached: {error or type(error).__name__}", hint=hint)


def pause_s(error: CairnError, attempt: int, settings: Settings) -> float | None:
    """Seconds to wait before the same is asked again, for the `attempt`th time from 1; None where it is not."""
    if attempt > settings.retries:
        return None
    if error.status in {429, 502, 503} or isinstance(error, Unreachable):
        wanted = error.retry_after_s or FIRST_PAUSE_S * 2 ** (attempt - 1)
        if wanted > LONGEST_PAUSE_S and error.retry_after_s:
            return None
        # A quarter more or less, so that many clients do not come back at once.
        return float(min(wanted, LONGEST_PAUSE_S) * random.uniform(0.75, 1.25))
    return None


def coverage_of(headers: httpx.Headers) -> Coverage:
    """What a bulk read covers, as its headers say."""
    position = headers.get("cairn-position")
    return Coverage(int(position) if position else None, headers.get("cairn-checkpoint"))


def ref(given: object, kind: str | None = None) -> str:
    """The ref of a thing or of a name for it; a bare id is completed where the kind is known."""
    text = getattr(given, "ref", given)
    if not isinstance(text, str) or not text.strip():
        raise InvalidArgument(f"{given!r} names nothing; give a ref such as run:<uuid> or model://project/name@3")
    return f"{kind}:{text}" if kind and ":" not in text else text


def variables(**given: Any) -> dict[str, Any]:
    """Variables of a query: those that are None are left out, so that the server's defaults hold."""
    return {name: value for name, value in given.items() if value is not None}


def chosen_word(name: str, given: str | None, kind: Any) -> str | None:
    """A word of an enumeration as GraphQL writes it, or an error that lists them."""
    known = get_args(kind)
    if given is None:
        return None
    if given.lower() not in known:
        raise InvalidArgument(f"{name}={given!r} is not known; it is one of {', '.join(known)}")
    return given.upper()


def names(given: Sequence[str | Sequence[str]]) -> list[str]:
    """Names that were given one by one, as a list, or both.

    >>> names(["loss", ["lr", "grad_norm"]])
    ['loss', 'lr', 'grad_norm']
    """
    found: list[str] = []
    for one in given:
        some = [one] if isinstance(one, str) else one
        if not (isinstance(some, Collection) and all(isinstance(name, str) for name in some)):
            raise InvalidArgument(f"{one!r} is no name of a metric; give names such as 'loss', or a list of them")
        found += some
    return found


def positive(name: str, given: int | None) -> int | None:
    """A count of at least 1, or an error."""
    if given is not None and (isinstance(given, bool) or given < 1):
        raise InvalidArgument(f"{name}={given!r}; give a whole number from 1")
    return given


Params = Mapping[str, Union[str, int, float, None]]

__all__ = ["Answer", "BadRequest", "Settings"]
