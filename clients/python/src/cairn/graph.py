"""Lineage as it is answered: things, and what went into what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ._schema import LineageEdge, LineageNode
from ._tables import of_read
from .frames import Coverage, Frame, FrameKind, Shown

__all__ = ["Lineage"]


class Lineage(Shown):
    """Part of the lineage graph: goes through its nodes in the order of the walk, the start first."""

    def __init__(self, data: Mapping[str, Any], coverage: Coverage, frames: str | None) -> None:
        self.nodes = [LineageNode.read(node) for node in data["nodes"]]
        """Things in the order of the walk: by depth, documents last."""
        self.edges = [LineageEdge.read(edge) for edge in data["edges"]]
        """Links between these things that the walk came along, in order of position."""
        self.truncated = bool(data["truncated"])
        """Whether anything was left out for depth or size."""
        self.coverage = coverage
        """What the answer covers."""
        self._frames = frames

    def __iter__(self) -> Iterator[LineageNode]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    def __contains__(self, ref: object) -> bool:
        return any(node.ref == getattr(ref, "ref", ref) for node in self.nodes)

    def refs(self, kind: str | None = None) -> list[str]:
        """The names of its things, or of those of one kind, such as `dataset` or `run`."""
        return [node.ref for node in self.nodes if kind is None or node.kind == kind]

    def left_out(self) -> dict[str, int]:
        """How many neighbours the limits left out, by kind."""
        found: dict[str, int] = {}
        for node in self.nodes:
            for left in node.left_out:
                found[left.kind] = found.get(left.kind, 0) + left.count
        return found

    def frame(self, to: FrameKind | None = None) -> Frame:
        """A table of its things: ref, kind and depth."""
        return of_read(self.nodes, LineageNode, to or self._frames, self.coverage)

    def edge_frame(self, to: FrameKind | None = None) -> Frame:
        """A table of its links: from_, to, event_type and position."""
        return of_read(self.edges, LineageEdge, to or self._frames, self.coverage)

    def __repr__(self) -> str:
        more = ", more was left out" if self.truncated else ""
        return f"<Lineage of {len(self.nodes):,} things and {len(self.edges):,} links{more}>"

    def __str__(self) -> str:
        return "\n".join(f"{'  ' * node.depth}{node.ref}  ({node.kind})" for node in self.nodes)

    def _preview(self) -> tuple[list[str], list[list[object]], int, str]:
        rows: list[list[object]] = [[node.depth, node.kind, node.ref] for node in self.nodes[:50]]
        return ["depth", "kind", "ref"], rows, len(self.nodes), repr(self)
