"""Writes what is generated in this package: types from the committed SDL, and the synchronous client from the
asynchronous one. `--check` writes nothing and fails where a committed file differs.
"""

from __future__ import annotations

import argparse
import io
import re
import subprocess
import sys
import textwrap
import tokenize
from pathlib import Path

from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLScalarType,
    GraphQLSchema,
    build_schema,
    get_named_type,
)

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "cairn"
SDL = Path(__file__).resolve().parents[3] / "schemas" / "graphql" / "cairn.graphql"

# The Python type of each scalar, the function of `_read` that makes it, and what a column of it holds.
SCALARS = {
    "AsOf": ("int", "whole", "whole"),
    "Boolean": ("bool", "as_is", "truth"),
    "Float": ("float", "real", "real"),
    "ID": ("str", "as_is", "text"),
    "Int": ("int", "whole", "whole"),
    "JSON": ("Any", "as_is", "json"),
    "Long": ("int", "whole", "whole"),
    "Position": ("int", "whole", "whole"),
    "Real": ("float", "real", "real"),
    "Ref": ("str", "as_is", "text"),
    "String": ("str", "as_is", "text"),
    "Timestamp": ("datetime", "instant", "instant"),
}
# What makes a type one of the things that have a name and a history.
THING_FIELDS = {"ref", "name", "state", "attributes"}
# Left out of a thing: what its other fields say once more, and what grows with it; questions of their own ask for it.
LEFT_OUT = {"attributes", "metrics"}
# The fields of wrappers that the client takes apart.
WRAPPERS = ({"edges", "nodes", "pageInfo"}, {"cursor", "node"}, {"hasNextPage", "endCursor"})


def snake(name: str) -> str:
    """`createdAt` as Python writes it."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def is_thing(kind: object) -> bool:
    return isinstance(kind, GraphQLObjectType) and set(kind.fields) >= THING_FIELDS


class Types:
    """Dataclasses for the object types of a schema, each with the fields to ask for."""

    def __init__(self, schema: GraphQLSchema) -> None:
        assert schema.query_type is not None
        self.query = schema.query_type
        reached = sorted(reachable(schema), key=lambda kind: kind.name)
        self.enums = [kind for kind in reached if isinstance(kind, GraphQLEnumType)]
        self.kinds = {kind.name: kind for kind in reached if isinstance(kind, GraphQLObjectType)}

    def class_of(self, name: str) -> str:
        return f"{name}Fields" if is_thing(self.kinds[name]) else name

    def asked(self, kind: GraphQLObjectType, above: tuple[str, ...]) -> dict[str, GraphQLField]:
        """The fields that are read with a type: leaves and values made of them; of a thing leaves alone."""
        found = {}
        for name, field in kind.fields.items():
            inner, _ = bare(field.type)
            needs = any(isinstance(argument.type, GraphQLNonNull) for argument in field.args.values())
            if needs or (is_thing(kind) and (name in LEFT_OUT or field.args)):
                continue
            if isinstance(inner, (GraphQLScalarType, GraphQLEnumType)):
                found[name] = field
            elif isinstance(inner, GraphQLObjectType) and inner.name in self.kinds and inner.name not in above:
                found.update({} if is_thing(inner) or is_thing(kind) else {name: field})
        return found

    def selection(self, kind: GraphQLObjectType, above: tuple[str, ...] = ()) -> str:
        above = (*above, kind.name)
        words = []
        for name, field in self.asked(kind, above).items():
            inner, _ = bare(field.type)
            nested = f" {{ {self.selection(inner, above)} }}" if isinstance(inner, GraphQLObjectType) else ""
            words.append(name + nested)
        return " ".join(words)

    def python(self, kind: GraphQLOutputType) -> tuple[str, str]:
        """The annotation of a field, and the expression that reads it."""
        if not isinstance(kind, GraphQLNonNull):
            annotation, reader = self.python(GraphQLNonNull(kind))
            known = annotation if annotation == "Any" else f"{annotation} | None"
            return known, reader if reader == "as_is" else f"maybe({reader})"
        inner = kind.of_type
        if isinstance(inner, GraphQLList):
            annotation, reader = self.python(inner.of_type)
            return f"tuple[{annotation}, ...]", f"each({reader})"
        if isinstance(inner, GraphQLScalarType):
            if inner.name not in SCALARS:
                sys.exit(f"the scalar {inner.name} is new; give it a line in SCALARS of {__file__}")
            annotation, reader, _ = SCALARS[inner.name]
            return annotation, reader
        if isinstance(inner, GraphQLEnumType):
            return inner.name, "word"
        assert isinstance(inner, GraphQLObjectType)
        return self.class_of(inner.name), f"thing(lambda: {self.class_of(inner.name)})"

    def text(self) -> str:
        out = [HEAD]
        for enum in self.enums:
            words = ", ".join(f'"{word.lower()}"' for word in enum.values)
            out.append(f"{enum.name} = Literal[{words}]\n{documented(enum.description, 0)}\n")
        for name, kind in self.kinds.items():
            out.append(self.one(name, kind))
        return "\n".join([*out, self.arguments()])

    def arguments(self) -> str:
        """The arguments of each question, and of each field of a thing."""
        lines = ["ARGUMENTS: dict[str, dict[str, str]] = {"]
        for kind in [self.query, *(kind for kind in self.kinds.values() if is_thing(kind))]:
            for name, field in kind.fields.items():
                is_asked = field.args if kind is not self.query else not bare(field.type)[0].name.startswith("Pipeline")
                if is_asked:
                    of = name if kind is self.query else f"{kind.name}.{name}"
                    lines += [
                        f'    "{of}": {{',
                        *(f'        "{a}": "{t.type}",' for a, t in field.args.items()),
                        "    },",
                    ]
        return "\n".join([*lines, "}", '"""The GraphQL type of each argument that a question takes."""'])

    def one(self, name: str, kind: GraphQLObjectType) -> str:
        fields = self.asked(kind, (name,))
        lines = ["@dataclass(frozen=True, repr=False)" if is_thing(kind) else "@dataclass(frozen=True)"]
        lines += [f"class {self.class_of(name)}(Read):", documented(kind.description, 4), ""]
        readers, columns = [], []
        for wire, field in fields.items():
            annotation, reader = self.python(field.type)
            python = snake(wire) + ("_" if snake(wire) in {"from", "to_"} else "")
            lines += [f"    {python}: {annotation}", documented(field.description, 4)]
            readers.append(f'        ("{python}", "{wire}", {reader}),')
            inner, is_list = bare(field.type)
            if not is_list and not isinstance(inner, GraphQLObjectType):
                column = SCALARS[inner.name][2] if inner.name in SCALARS else "text"
                columns.append(f'        "{python}": "{column}",')
        words = textwrap.wrap(self.selection(kind), 105, drop_whitespace=False)
        lines += ["", "    SELECTION: ClassVar[str] = (", *(f'        "{part}"' for part in words), "    )"]
        lines += ["    READERS: ClassVar[Readers] = (", *readers, "    )"]
        lines += ["    TYPES: ClassVar[ColumnTypes] = {", *columns, "    }", "", ""]
        return "\n".join(lines)


HEAD = '''"""Types of Cairn's answers, generated from schemas/graphql/cairn.graphql by scripts/generate.py.
Do not edit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal

from ._read import ColumnTypes, Read, Readers, as_is, each, instant, maybe, real, thing, whole, word

'''


def bare(kind: GraphQLOutputType) -> tuple[GraphQLNamedType, bool]:
    """A type without its wrappings, and whether it is a list."""
    return get_named_type(kind), "[" in str(kind)


def documented(description: str | None, indent: int) -> str:
    """A description as the text under what it describes."""
    text = " ".join((description or "").split()).replace("\\", "\\\\").replace('"""', "'''")
    blank = " " * indent
    lines = textwrap.wrap(f'"""{text}', 120 - indent, initial_indent=blank, subsequent_indent=blank)
    closing = ' """' if text.endswith('"') else '"""'
    fits = len(lines) == 1 and len(lines[0]) + len(closing) <= 120
    return lines[0] + closing if fits else "\n".join([*lines, f'{blank}"""'])


def reachable(schema: GraphQLSchema) -> set[GraphQLNamedType]:
    """The types that an answer to a question may hold, those of questions' arguments among them."""
    assert schema.query_type is not None
    found: set[GraphQLNamedType] = set()
    waiting: list[GraphQLNamedType] = [schema.query_type]
    while waiting:
        kind = waiting.pop()
        if kind in found or kind.name.startswith("Pipeline"):
            continue
        found.add(kind)
        if isinstance(kind, GraphQLObjectType):
            for field in kind.fields.values():
                types = [field.type, *(argument.type for argument in field.args.values())]
                waiting += [get_named_type(each) for each in types]
        elif isinstance(kind, GraphQLInputObjectType):
            waiting += [get_named_type(each.type) for each in kind.fields.values()]
    return {kind for kind in found if kind is not schema.query_type and not is_wrapper(kind)}


def is_wrapper(kind: GraphQLNamedType) -> bool:
    """Whether it is a page of items, or an item in one."""
    return isinstance(kind, GraphQLObjectType) and any(fields <= set(kind.fields) for fields in WRAPPERS)


# Names that differ between the two clients; every other `AsyncX` becomes `X`.
WORDS = {
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "aclose": "close",
    "aiter_bytes": "iter_bytes",
    "async_sleep": "sleep",
    "asynccontextmanager": "contextmanager",
    "aread": "read",
    "_async": "_sync",
}
NOTE = "# Generated from ../_async/{name} by scripts/generate.py: do not edit.\n"


def synchronous(source: str) -> str:
    """The synchronous form of asynchronous source: no `async`, no `await`, and names of their own."""
    tokens: list[tokenize.TokenInfo] = list(tokenize.generate_tokens(io.StringIO(source).readline))
    # Kept as text: token positions would put blanks where words go.
    lines = source.splitlines(keepends=True)
    out: list[str] = []
    row, column = 1, 0
    drop_blank = False
    for token in tokens:
        (begin_row, begin), (end_row, end) = token.start, token.end
        between = ""
        while row < begin_row:
            between += lines[row - 1][column:] if row <= len(lines) else ""
            row, column = row + 1, 0
        if begin_row <= len(lines):
            between += lines[begin_row - 1][column:begin]
        out.append(between.lstrip(" ") if drop_blank else between)
        drop_blank = False
        text = token.string
        if token.type == tokenize.NAME and text in {"async", "await"}:
            drop_blank = True
        elif token.type == tokenize.NAME:
            out.append(renamed(text))
        elif token.type in TEXTS:
            out.append(
                re.sub(r"\bawait |\basync (?=for |with )", "", re.sub(r"[A-Za-z_]+", lambda m: renamed(m[0]), text))
            )
        else:
            out.append(text)
        row, column = end_row, end
    return "".join(out)


TEXTS = {tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


def renamed(word: str) -> str:
    return WORDS.get(word) or re.sub(r"^(_?)Async(?=[A-Z])", r"\1", word)


def formatted(text: str, name: str) -> str:
    """As `ruff format` lays it out."""
    for arguments in (["check", "--fix", "--quiet", "--select", "I"], ["format", "--quiet"]):
        command = [sys.executable, "-m", "ruff", *arguments, "--stdin-filename", name, "-"]
        text = subprocess.run(command, input=text, capture_output=True, text=True, check=True, cwd=PACKAGE).stdout
    return text


def outputs() -> dict[Path, str]:
    found: dict[Path, str] = {}
    path = PACKAGE / "_schema.py"
    found[path] = formatted(Types(build_schema(SDL.read_text(encoding="utf-8"))).text(), str(path))
    for source in sorted((PACKAGE / "_async").glob("*.py")):
        path = PACKAGE / "_sync" / source.name
        text = NOTE.format(name=source.name) + synchronous(source.read_text(encoding="utf-8"))
        found[path] = formatted(text, str(path))
    return found


def main() -> str | None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a committed file differs")
    check = parser.parse_args().check
    wanted = outputs()
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    stale += [path for path in (PACKAGE / "_sync").glob("*.py") if path not in wanted]
    for path in stale if not check else []:
        path.unlink() if path not in wanted else path.write_text(wanted[path], encoding="utf-8")
    names = ", ".join(str(path.relative_to(PACKAGE)) for path in stale)
    return f"not what scripts/generate.py writes: {names}; run it without --check" if check and stale else None


if __name__ == "__main__":
    sys.exit(main())
