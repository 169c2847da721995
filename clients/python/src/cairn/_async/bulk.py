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


async def read(connection: AsyncConnection, table: str, arguments: dict[str, Any], to: str | None) -> Frame:
    """A whole table as a frame."""
    if to == "arrow" or installed("pyarrow"):
        return await _read_arrow(connection, table, arguments, to)
    lines: list[dict[str, Any]] = []
    rest = b""
    async with connection.stream(f"/v1/{table}.jsonl", arguments) as response:
        coverage = coverage_of(response.headers)
        async for part in response.aiter_bytes():
            *whole, rest = (rest + part).split(b"\n")
            lines += [json.loads(line) for line in whole if line]
    if rest:
        raise ServerError(f"the answer breaks off in line {len(lines) + 1}", hint="ask again")
    return from_lines(lines, to, coverage)


async def _read_arrow(connection: AsyncConnection, table: str, arguments: dict[str, Any], to: str | None) -> Frame:
    from ..frames import needed

    arrow = needed("pyarrow", "arrow")
    async with connection.stream(f"/v1/{table}.arrows", arguments) as response:
        coverage = coverage_of(response.headers)
        body = b"".join([part async for part in response.aiter_bytes()])
    with arrow.ipc.open_stream(arrow.py_buffer(body)) as reader:
        return from_arrow(signed(reader.read_all(), arrow), to, coverage)


def signed(table: Any, arrow: Any) -> Any:
    """The table with whole numbers that can be subtracted: what is recorded unsigned is made signed."""
    unsigned = [arrow.types.is_unsigned_integer(field.type) for field in table.schema]
    columns = [column.cast(arrow.int64()) if cast else column for column, cast in zip(table.columns, unsigned)]
    return arrow.Table.from_arrays(columns, names=table.column_names)


async def download(
    connection: AsyncConnection, name: str, arguments: dict[str, Any], path: str | os.PathLike[str]
) -> Coverage:
    """Writes an answer to a file, part by part; the file is there only once it is whole."""
    target = Path(path)
    handle, fresh = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            async with connection.stream(f"/v1/{name}", arguments) as response:
                coverage = coverage_of(response.headers)
                async for part in response.aiter_bytes():
                    file.write(part)
        os.replace(fresh, target)
    except BaseException:
        os.unlink(fresh)
        raise
    return coverage
