"""GraphQL documents, made of fields and arguments whose types the committed schema gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ._schema import ARGUMENTS

# Items of one page, the most that the server gives.
PAGE = 500
PAGE_INFO = "pageInfo { hasNextPage endCursor }"


class Question(NamedTuple):
    """A document and its variables."""

    document: str
    variables: dict[str, Any]


class Asked:
    """Fields to ask in one document, each under an alias of its own."""

    def __init__(self) -> None:
        self._fields: list[str] = []
        self._declared: list[str] = []
        self._variables: dict[str, Any] = {}

    def field(self, name: str, selection: str, arguments: Mapping[str, Any], alias: str | None = None) -> Asked:
        """Adds a field of the root; arguments that are None are left out, so that the server's defaults hold."""
        shown = "" if alias is None else f"{alias}: "
        self._fields.append(f"{shown}{name}{self.arguments(name, arguments)}{braced(selection)}")
        return self

    def arguments(self, of: str, arguments: Mapping[str, Any]) -> str:
        """Arguments in parentheses, their values as variables."""
        written = []
        for name, value in arguments.items():
            if value is None:
                continue
            variable = f"{name}{len(self._declared)}"
            self._declared.append(f"${variable}: {ARGUMENTS[of][name]}")
            self._variables[variable] = value
            written.append(f"{name}: ${variable}")
        return f"({', '.join(written)})" if written else ""

    def question(self) -> Question:
        """The document."""
        declared = f"({', '.join(self._declared)}) " if self._declared else ""
        return Question(f"query {declared}{{ {' '.join(self._fields)} }}", self._variables)


def braced(selection: str) -> str:
    """A selection of fields in braces; nothing where there is none."""
    return f" {{ {selection} }}" if selection else ""


def one(name: str, selection: str, /, **arguments: Any) -> Question:
    """A document of one field."""
    return Asked().field(name, selection, arguments).question()
