"""Lineage as it is answered: what went into what, how far something reached, and what differs between two runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from . import _schema
from ._read import ColumnTypes
from ._schema import LineageEdge, LineageNode, MetricChange, Touched, ValueChange
from ._tables import of_read
from .frames import Coverage, Frame, FrameKind, Shown, frame

__all__ = ["Diff", "Explanation", "Impact", "Lineage"]


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


class Impact(Shown):
    """Everything that something went into: goes through the things that were reached, the nearest first."""

    def __init__(self, data: Mapping[str, Any], things: list[Touched], coverage: Coverage, frames: str | None) -> None:
        """Clients make these: `client.impact(…)`."""
        self.things = things
        """What was reached, as many as were asked for."""
        self.counts: dict[str, int] = {item["kind"]: int(item["count"]) for item in data["counts"]}
        """How many things of each kind were reached in all."""
        self.total = int(data["total"])
        """How many things were reached in all."""
        self.starts = int(data["starts"])
        """Those of the things asked for that the graph knows; the others went into nothing."""
        self.truncated = bool(data["truncated"])
        """Whether anything lies beyond the depth."""
        self.coverage = coverage
        """What the answer covers."""
        self._frames = frames

    def __iter__(self) -> Iterator[Touched]:
        return iter(self.things)

    def __len__(self) -> int:
        return self.total

    def __contains__(self, ref: object) -> bool:
        return any(item.ref == getattr(ref, "ref", ref) for item in self.things)

    def refs(self, kind: str | None = None) -> list[str]:
        """The names of what was reached, or of those of one kind, such as `model`."""
        return [item.ref for item in self.things if kind is None or item.kind == kind]

    def frame(self, to: FrameKind | None = None) -> Frame:
        """A table of what was reached: ref, kind and depth."""
        return of_read(self.things, Touched, to or self._frames, self.coverage)

    def __repr__(self) -> str:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in self.counts.items() if count)
        return f"<Impact on {self.total:,} things{': ' if kinds else ''}{kinds}>"

    def _preview(self) -> tuple[list[str], list[list[object]], int, str]:
        rows: list[list[object]] = [[item.depth, item.kind, item.ref] for item in self.things[:50]]
        return ["depth", "kind", "ref"], rows, self.total, repr(self)


class Explanation(_schema.Path, Shown):
    """A shortest way by which two things are connected, each hop with the events that say so."""

    def __len__(self) -> int:
        return len(self.steps)

    def __str__(self) -> str:
        lines = [self.relation.replace("_", " ")]
        for step in self.steps:
            said = ", ".join(f"{saying.event_type} at {saying.first}" for saying in step.said)
            lines.append(f"  {step.from_} -> {step.to}  ({said})")
        return "\n".join(lines)

    def _preview(self) -> tuple[list[str], list[list[object]], int, str]:
        rows: list[list[object]] = []
        for step in self.steps:
            rows.append([step.from_, step.to, ", ".join(f"{said.event_type} at {said.first}" for said in step.said)])
        return ["from", "to", "said by"], rows, len(self.steps), self.relation


DIFF_TYPES: ColumnTypes = {"part": "text", "path": "text", "before": "json", "after": "json"}


class Diff(_schema.RunDiff, Shown):
    """How two runs differ; what is equal is not in it."""

    config: list[ValueChange]
    """Settings, by path."""
    summary: list[ValueChange]
    """Figures of jobs that are no trainings, by path."""
    metrics: list[MetricChange]
    """Metrics whose figures differ, or that one of the two does not have, by name."""

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every difference: the part of the run, the path in it, and the two values."""
        for part in ("facts", "code", "config", "environment", "summary"):
            for change in getattr(self, part):
                yield {"part": part, "path": change.path, "before": change.before, "after": change.after}
        for metric in self.metrics:
            for figure in ("last", "min"):
                values = [None if side is None else getattr(side, figure) for side in (metric.before, metric.after)]
                yield {"part": "metrics", "path": f"{metric.metric}.{figure}", "before": values[0], "after": values[1]}
        for part, before, after in (
            ("datasets", self.datasets_before, self.datasets_after),
            ("inputs", self.inputs_removed, self.inputs_added),
        ):
            if before != after:
                yield {"part": part, "path": "", "before": list(before), "after": list(after)}

    def frame(self, to: FrameKind | None = None) -> Frame:
        """A row for each difference: part, path, before and after."""
        rows = list(self.rows())
        return frame({name: [row[name] for row in rows] for name in DIFF_TYPES}, DIFF_TYPES, to)

    def __repr__(self) -> str:
        counts = [f"{len(getattr(self, part))} in {part}" for part in ("facts", "code", "config", "environment")]
        documents = f"{self.documents.added:,} documents added, {self.documents.removed:,} removed"
        same = "the same work; " if self.same_work else ""
        return f"<Diff: {same}{', '.join(counts)}, {len(self.metrics)} in metrics; {documents}>"

    def _preview(self) -> tuple[list[str], list[list[object]], int, str]:
        rows = list(self.rows())
        return list(DIFF_TYPES), [list(row.values()) for row in rows[:100]], len(rows), repr(self)
