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

    async def get(self, path: str) -> str:
        """A small text, asked for again where the server is away."""
        attempt = 0
        while True:
            try:
                return await self._get_once(path)
            except CairnError as error:
                attempt += 1
                pause = pause_s(error, attempt, self.settings)
                if pause is None:
                    raise
            await async_sleep(pause)

    async def _get_once(self, path: str) -> str:
        headers, timeout = self.settings.headers(), self.settings.timeout_s
        try:
            response = await self.http.get(f"{self.settings.url}{path}", headers=headers, timeout=timeout)
        except httpx.HTTPError as error:
            raise transport_error(error, self.settings) from error
        if response.status_code != 200:
            raise problem(response)
        return response.text

    @asynccontextmanager
    async def stream(self, path: str, arguments: dict[str, Any]) -> AsyncIterator[httpx.Response]:
        """A table in parts, begun again where the server is not to be had; once parts were read, never."""
        body = json.dumps({name: value for name, value in arguments.items() if value is not None})
        attempt = 0
        while True:
            request = self.http.build_request(
                "POST",
                f"{self.settings.url}{path}",
                content=body,
                headers={**self.settings.headers(), "content-type": "application/json"},
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

    async def aclose(self) -> None:
        """Closes the connections."""
        await self.http.aclose()
