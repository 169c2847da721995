"""Millions of rows at once, as Arrow where that is installed and as JSON lines elsewhere."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._wire import coverage_of
from ..errors import ServerError
from ..frames import Coverage, Frame, from_arrow, from_lines, installed

if TYPE_CHECKING:
    from .connection import AsyncConnection


async def read(connection: AsyncConnection, table: str, params: dict[str, str], to: str | None) -> Frame:
    """A whole table as a frame."""
    if to == "arrow" or installed("pyarrow"):
        return await _read_arrow(connection, table, params, to)
    lines: list[dict[str, Any]] = []
    rest = b""
    async with connection.stream(f"/v1/{table}.jsonl", params) as response:
        coverage = coverage_of(response.headers)
        async for part in response.aiter_bytes():
            *whole, rest = (rest + part).split(b"\n")
            lines += [json.loads(line) for line in whole if line]
    if rest:
        raise ServerError(f"the answer breaks off in line {len(lines) + 1}", hint="ask again")
    return from_lines(lines, to, coverage)


async def _read_arrow(connection: AsyncConnection, table: str, params: dict[str, str], to: str | None) -> Frame:
    from ..frames import needed

    arrow = needed("pyarrow", "arrow")
    async with connection.stream(f"/v1/{table}.arrow", params) as response:
        coverage = coverage_of(response.headers)
        body = b"".join([part async for part in response.aiter_bytes()])
    with arrow.ipc.open_stream(arrow.py_buffer(body)) as reader:
        return from_arrow(reader.read_all(), to, coverage)


async def download(
    connection: AsyncConnection, name: str, params: dict[str, str], path: str | os.PathLike[str]
) -> Coverage:
    """Writes an answer to a file, part by part; the file is there only once it is whole."""
    target = Path(path)
    handle, fresh = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            async with connection.stream(f"/v1/{name}", params) as response:
                coverage = coverage_of(response.headers)
                async for part in response.aiter_bytes():
                    file.write(part)
        os.replace(fresh, target)
    except BaseException:
        os.unlink(fresh)
        raise
    return coverage
