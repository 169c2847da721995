# Generated from ../_async/bulk.py by scripts/generate.py: do not edit.
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
    from .connection import Connection


def read(connection: Connection, table: str, params: dict[str, str], to: str | None) -> Frame:
    """A whole table as a frame."""
    if to == "arrow" or installed("pyarrow"):
        return _read_arrow(connection, table, params, to)
    lines: list[dict[str, Any]] = []
    rest = b""
    with connection.stream(f"/v1/{table}.jsonl", params) as response:
        coverage = coverage_of(response.headers)
        for part in response.iter_bytes():
            *whole, rest = (rest + part).split(b"\n")
            lines += [json.loads(line) for line in whole if line]
    if rest:
        raise ServerError(f"the answer breaks off in line {len(lines) + 1}", hint="ask again")
    return from_lines(lines, to, coverage)


def _read_arrow(connection: Connection, table: str, params: dict[str, str], to: str | None) -> Frame:
    from ..frames import needed

    arrow = needed("pyarrow", "arrow")
    with connection.stream(f"/v1/{table}.arrow", params) as response:
        coverage = coverage_of(response.headers)
        body = b"".join([part for part in response.iter_bytes()])
    with arrow.ipc.open_stream(arrow.py_buffer(body)) as reader:
        return from_arrow(reader.read_all(), to, coverage)


def download(connection: Connection, name: str, params: dict[str, str], path: str | os.PathLike[str]) -> Coverage:
    """Writes an answer to a file, part by part; the file is there only once it is whole."""
    target = Path(path)
    handle, fresh = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            with connection.stream(f"/v1/{name}", params) as response:
                coverage = coverage_of(response.headers)
                for part in response.iter_bytes():
                    file.write(part)
        os.replace(fresh, target)
    except BaseException:
        os.unlink(fresh)
        raise
    return coverage
