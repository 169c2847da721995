"""Questions to the lineage graph."""

from __future__ import annotations

from collections.abc import Sequence

from .._ask import PAGE, PAGE_INFO, one
from .._listing import at_most
from .._read import Read
from .._schema import Direction, LineageKind, MetricChange, Path, RunDiff, Touched, ValueChange
from .._wire import chosen_word, positive, ref
from ..errors import InvalidArgument
from ..filters import AsOf
from ..graph import Diff, Explanation, Impact, Lineage
from .asking import AsyncAsking
from .things import AsyncThing

LINEAGE = "nodes { ref kind depth leftOut { kind count } } edges { from to through eventType position } truncated"
IMPACT = f"starts total truncated counts {{ kind count }} things {{ nodes {{ {Touched.SELECTION} }} {PAGE_INFO} }}"
# The lists of a diff that come in pages.
PAGED: dict[str, type[Read]] = {"config": ValueChange, "summary": ValueChange, "metrics": MetricChange}


class AsyncGraphQuestions(AsyncAsking):
    """What was made of what, how far something reached, and what differs between two runs."""

    async def lineage(
        self,
        of: str | AsyncThing,
        direction: str = "up",
        *,
        depth: int | None = None,
        limit: int | None = None,
        fan_out: int | None = None,
        kinds: str | Sequence[str] | None = None,
        as_of: AsOf | None = None,
    ) -> Lineage:
        """What a thing was made of (`up`), what was made of it (`down`), or `both`.

        `depth` is the number of links to walk at most, `limit` the number of things to show, `fan_out` the number of
        neighbours of one thing; what they leave out is counted. With `kinds`, such as `["run", "dataset"]`, only things
        of these kinds are shown; the others are walked through.
        """
        arguments = {
            "of": ref(of),
            "direction": chosen_word("direction", direction, Direction),
            "depth": positive("depth", depth),
            "limit": positive("limit", limit),
            "fanOut": positive("fan_out", fan_out),
            "kinds": kinds_of(kinds),
            "asOf": self.past(as_of),
        }
        answer = await self.ask(one("lineage", LINEAGE, **arguments))
        return Lineage(answer.data["lineage"], answer.coverage, self.settings.frames)

    async def impact(
        self,
        *of: str | AsyncThing,
        commit: str | None = None,
        data_subject: str | None = None,
        kinds: str | Sequence[str] | None = None,
        depth: int | None = None,
        limit: int = 1000,
        as_of: AsOf | None = None,
    ) -> Impact:
        """Everything that these things went into; or the documents of a person, or the runs of a commit.

        A `commit` is given by at least seven of its hexadecimal digits. All that is reached is counted by kind, and the
        nearest `limit` things are listed.
        """
        if (len(of) > 0) + (commit is not None) + (data_subject is not None) != 1:
            raise InvalidArgument("give things, or a commit, or a data_subject: one of the three")
        most, after = at_most(limit), None
        arguments = {
            "of": [ref(thing) for thing in of] or None,
            "commit": commit,
            "dataSubject": data_subject,
            "kinds": kinds_of(kinds),
            "depth": positive("depth", depth),
            "asOf": self.past(as_of),
        }
        things: list[Touched] = []
        while True:
            first = min(most - len(things), PAGE)
            answer = await self.ask(one("impact", IMPACT, first=first, after=after, **arguments))
            found = answer.data["impact"]
            things += [Touched.read(node) for node in found["things"]["nodes"]]
            after = found["things"]["pageInfo"]["endCursor"]
            if len(things) >= most or after is None or not found["things"]["pageInfo"]["hasNextPage"]:
                return Impact(found, things, answer.coverage, self.settings.frames)

    async def explain(
        self, start: str | AsyncThing, end: str | AsyncThing, *, related: bool = False, as_of: AsOf | None = None
    ) -> Explanation | None:
        """The shortest way by which two things are connected, with the events that say so; None where none is recorded.

        With `related` also where neither went into the other: by what both come from or went into.
        """
        arguments = {"from": ref(start), "to": ref(end), "related": related or None, "asOf": self.past(as_of)}
        found = (await self.ask(one("path", Path.SELECTION, **arguments))).data["path"]
        return None if found is None else Explanation.read(found)

    async def diff(self, before: str | AsyncThing, after: str | AsyncThing, *, as_of: AsOf | None = None) -> Diff:
        """What differs between two runs: data, code, config by path, environment, metrics."""
        runs = {"before": ref(before, "run"), "after": ref(after, "run"), "asOf": self.past(as_of)}
        pages = " ".join(_page(name) for name in PAGED)
        data = (await self.ask(one("diffRuns", f"{RunDiff.SELECTION} {pages}", **runs))).data["diffRuns"]
        made = Diff.read(data)
        for name, kind in PAGED.items():
            nodes, info = list(data[name]["nodes"]), data[name]["pageInfo"]
            while info["hasNextPage"]:
                more = await self.ask(one("diffRuns", _page(name, info["endCursor"]), **runs))
                page = more.data["diffRuns"][name]
                nodes, info = nodes + page["nodes"], page["pageInfo"]
            # Its fields are frozen; these lists are read in pages and set once.
            object.__setattr__(made, name, [kind.read(node) for node in nodes])
        return made


def _page(name: str, after: str | None = None) -> str:
    behind = "" if after is None else f', after: "{after}"'
    return f"{name}(first: {PAGE}{behind}) {{ nodes {{ {PAGED[name].SELECTION} }} {PAGE_INFO} }}"


def kinds_of(given: str | Sequence[str] | None) -> list[str] | None:
    """Kinds of things as the server reads them."""
    words = [given] if isinstance(given, str) else given
    return None if words is None else [str(chosen_word("kinds", word, LineageKind)) for word in words]
