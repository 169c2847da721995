"""Requests and their answers: repeated where that is safe, errors in words."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from .._clock import async_sleep
from .._wire import Answer, Settings, answer, is_read, pause_s, problem, transport_error
from ..errors import CairnError


class AsyncConnection:
    """One pool of connections to a server."""

    def __init__(self, settings: Settings, http: httpx.AsyncClient | None = None) -> None:
        self.settings = settings
        self.http = http or httpx.AsyncClient(limits=httpx.Limits(max_connections=16))

    async def ask(self, document: str, variables: dict[str, Any]) -> Answer:
        """The answer to a GraphQL document; a question is asked again where the server is away, a mutation never."""
        body = json.dumps({"query": document, "variables": variables}, allow_nan=False)
        attempt = 0
        while True:
            try:
                return await self._ask_once(body)
            except CairnError as error:
                attempt += 1
                pause = pause_s(error, attempt, self.settings) if is_read(document) else None
                if pause is None:
                    raise
            await async_sleep(pause)

    async def _ask_once(self, body: str) -> Answer:
        headers = {**self.settings.headers(), "content-type": "application/json"}
        url, timeout = f"{self.settings.url}/graphql", self.settings.timeout_s
        try:
            response = await self.http.post(url, content=body, headers=headers, timeout=timeout)
        except httpx.HTTPError as error:
            raise transport_error(error, self.settings) from error
        return answer(response)

    @asynccontextmanager
    async def stream(self, path: str, params: dict[str, str]) -> AsyncIterator[httpx.Response]:
        """A body in parts, begun again where the server is not to be had; once parts were read, never."""
        attempt = 0
        while True:
            request = self.http.build_request(
                "GET",
                f"{self.settings.url}{path}",
                params=params,
                headers=self.settings.headers(),
                timeout=self.settings.timeout_s,
            )
            try:
                response = await self._begun(request)
                break
            except CairnError as error:
                attempt += 1
                pause = pause_s(error, attempt, self.settings)
                if pause is None:
                    raise
            await async_sleep(pause)
        try:
            yield response
        except httpx.HTTPError as error:
            raise transport_error(error, self.settings) from error
        finally:
            await response.aclose()

    async def _begun(self, request: httpx.Request) -> httpx.Response:
        try:
            response = await self.http.send(request, stream=True)
            if response.status_code != 200:
                await response.aread()
                raise problem(response)
        except httpx.HTTPError as error:
            raise transport_error(error, self.settings) from error
        return response

    async def get_text(self, path: str) -> str:
        """A small text."""
        async with self.stream(path, {}) as response:
            await response.aread()
            return response.text

    async def aclose(self) -> None:
        """Closes the connections."""
        await self.http.aclose()
