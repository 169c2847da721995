"""What every part of the client asks by."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from .._ask import Question
from .._wire import Answer, Settings
from ..errors import InvalidArgument
from ..filters import AsOf, as_of, instant_of
from .connection import AsyncConnection

C = TypeVar("C", bound="AsyncAsking")


class AsyncAsking:
    """Settings, connections, and questions of one's own."""

    _connection: AsyncConnection

    @property
    def settings(self) -> Settings:
        """How this client asks."""
        return self._connection.settings

    def using(self: C, **changed: Any) -> C:
        """A client with other settings on the same connections: `client.using(as_of="2026-11-01")`.

        It can change token, tenant, timeout_s, retries, as_of, at_least and frames.
        """
        known = set(vars(self.settings)) - {"url"}
        if not set(changed) <= known:
            wrong = ", ".join(sorted(set(changed) - known))
            raise InvalidArgument(f"`{wrong}` cannot be changed; {', '.join(sorted(known))} can")
        made = object.__new__(type(self))
        made._connection = AsyncConnection(replace(self.settings, **changed), self._connection.http)
        return made

    def frames(self, to: str | None) -> str | None:
        """What tables are made of: as asked here, else as asked of the client."""
        return to or self.settings.frames

    async def ask(self, question: Question) -> Answer:
        """The answer to a question that this package made."""
        return await self._connection.ask(question.document, question.variables)

    async def query(self, document: str, **values: Any) -> dict[str, Any]:
        """The data of any GraphQL document, its variables given by name. A mutation is never sent twice."""
        return (await self._connection.ask(document, values)).data

    def past(self, given: AsOf | None) -> int | str | None:
        """The past state that a question is about: as asked here, else as asked of the client."""
        return as_of(given if given is not None else self.settings.as_of)

    def when(self, as_of: AsOf | None, valid_at: datetime | str | None) -> dict[str, Any]:
        """The two times of a question: recorded and occurred."""
        return {"asOf": self.past(as_of), "validAt": instant_of(valid_at)}
