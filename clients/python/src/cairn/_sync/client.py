# Generated from ../_async/client.py by scripts/generate.py: do not edit.
"""The client: where every question begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, TypeVar

import httpx

from .._ask import PAGE, PAGE_INFO, Question, one
from .._schema import Event, Log, Projection, Task
from .._tables import CurveTable
from .._wire import Answer, Settings, chosen_word, positive, ref, url_of, variables
from ..errors import InvalidArgument, NotFound
from ..filters import AsOf, all_of, as_of, compare, selecting
from ..frames import Coverage, Frame, FrameKind
from ..graph import Lineage
from .connection import Connection
from .pairs import Pairs
from .runs import Runs
from .selection import Order, Selection
from .things import (
    Dataset,
    Deployment,
    Document,
    Evaluation,
    Model,
    Run,
    Thing,
)

H = TypeVar("H", bound=Thing)

AXES = ("step", "time", "tokens")
DIRECTIONS = ("up", "down", "both")
# Curves asked for in one request.
CURVES = 100


class Client:
    """Questions to a Cairn server.

    `url` is its address: else the variable CAIRN_URL, else http://127.0.0.1:8470. `token` is sent as a bearer token.
    `timeout_s` bounds each wait for the server, in seconds; `retries` is how often a question that found the server
    busy or away is asked again. With `as_of` every question is about that past state; with `at_least` every answer
    covers that position, so that a writer reads its own writes. `frames` is what tables are made of; without it pandas
    where that is installed, else polars, else `Columns`.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        tenant: str = "default",
        *,
        timeout_s: float = 30.0,
        retries: int = 3,
        as_of: AsOf | None = None,
        at_least: int | None = None,
        frames: FrameKind | None = None,
        http: httpx.Client | None = None,
    ) -> None:
        settings = Settings(url_of(url), token, tenant, timeout_s, retries, as_of, at_least, frames)
        self._connection = Connection(settings, http)

    @property
    def settings(self) -> Settings:
        """How this client asks."""
        return self._connection.settings

    def using(self, **changed: Any) -> Client:
        """A client with other settings on the same connections: `client.using(as_of="2026-11-01")`.

        It can change token, tenant, timeout_s, retries, as_of, at_least and frames.
        """
        known = set(vars(self.settings)) - {"url"}
        if not set(changed) <= known:
            wrong = ", ".join(sorted(set(changed) - known))
            raise InvalidArgument(f"`{wrong}` cannot be changed; {', '.join(sorted(known))} can")
        made = object.__new__(type(self))
        made._connection = Connection(replace(self.settings, **changed), self._connection.http)
        return made

    def close(self) -> None:
        """Closes the connections; also those of clients made by `using`."""
        self._connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        past = "" if self.settings.as_of is None else f" as of {as_of(self.settings.as_of)}"
        return f"<{type(self).__name__} of {self.settings.url}{past}>"

    def frames(self, to: str | None) -> str | None:
        """What tables are made of: as asked here, else as asked of the client."""
        return to or self.settings.frames

    def ask(self, question: Question) -> Answer:
        """The answer to a question that this package made."""
        return self._connection.ask(question.document, question.variables)

    def query(self, document: str, **values: Any) -> dict[str, Any]:
        """The data of any GraphQL document, its variables given by name. A mutation is never sent twice."""
        return (self._connection.ask(document, values)).data

    # The log and the views that follow it.

    def log(self) -> Log:
        """How long the log is, and what an outsider needs to check it."""
        return Log.read((self.ask(one("log", Log.SELECTION))).data["log"])

    def projections(self) -> list[Projection]:
        """The views that follow the log, and how far each has come."""
        answer = self.ask(one("projections", Projection.SELECTION))
        return [Projection.read(item) for item in answer.data["projections"]]

    def coverage(self, at_least: int | None = None) -> Coverage:
        """What answers cover now; waits until they cover `at_least`."""
        answer = self.ask(one("coverage", "position checkpoint", atLeast=at_least))
        found = answer.data["coverage"]
        return Coverage(found["position"], found["checkpoint"])

    def events(
        self,
        types: str | Sequence[str] | None = None,
        *,
        stream: str | None = None,
        project: str | None = None,
        after: str | None = None,
    ) -> Iterator[Event]:
        """Events in order of position.

        `types` are names such as `cairn.training.step_logged.v2`, or beginnings such as `cairn.training.*`; `stream`
        is what they are about; `after` is the `cursor` of an event to go on behind.
        """
        wanted = [types] if isinstance(types, str) else list(types) if types is not None else None
        while True:
            arguments = variables(first=PAGE, after=after, types=wanted, stream=stream, project=project)
            page = (self.ask(one("events", f"nodes {{ {Event.SELECTION} }} {PAGE_INFO}", **arguments))).data["events"]
            for node in page["nodes"]:
                yield Event.read(node)
            after = page["pageInfo"]["endCursor"] or after
            if not page["pageInfo"]["hasNextPage"]:
                return

    # Things.

    def runs(
        self,
        filter: str | None = None,
        *,
        order_by: Order = None,
        as_of: AsOf | None = None,
        limit: int | None = None,
    ) -> Runs:
        """Runs that meet a filter, such as `"config.optimizer.lr < 1e-3 AND tags.team = 'search'"`.

        `order_by` is a path or several, each with a minus before it for the greatest first; without it the newest run
        comes first. With `as_of` the runs are as they were then.
        """
        return Runs(self, "runs", Run, filter=filter, order_by=order_by, as_of=as_of, limit=limit)

    def select(
        self,
        *,
        step_range: tuple[int | None, int | None] | None = None,
        where: str | None = None,
        **fields: Any,
    ) -> Runs:
        """Runs by their values: `select(recipe="dolma17", size=["150M", "300M"], seed=range(0, 3))`.

        A keyword is a path of its own (name, state, method, seed, dataset, …) or a setting of the run's config. Its
        value is one value, a list of values, a range, a slice from and to (both included), None for no value, or for
        `config`, `metrics` and `tags` a dictionary of paths. `step_range` keeps the curves, checkpoints and results
        that are asked of these runs to these steps, both included. `where` is a filter beside them.
        """
        runs = Runs(self, "runs", Run, filter=all_of(where, selecting(fields)))
        return runs if step_range is None else runs.steps(*step_range)

    def pairs(self, earlier: str | Runs, later: str | Runs) -> Pairs:
        """Runs and those that went on from them: `pairs("pretrain", "sft")`.

        Each side is a method or a list of runs. A later run is matched with its nearest ancestor on the earlier side,
        by the parents that are recorded and never by names; one without such an ancestor is in no pair.
        """
        return Pairs(self, self._side(earlier), self._side(later))

    def _side(self, given: str | Runs) -> Runs:
        return self.runs(compare("method", given)) if isinstance(given, str) else given

    def models(
        self, filter: str | None = None, *, order_by: Order = None, as_of: AsOf | None = None
    ) -> Selection[Model]:
        """Versions of models that meet a filter."""
        return Selection(self, "models", Model, filter=filter, order_by=order_by, as_of=as_of)

    def datasets(
        self, filter: str | None = None, *, order_by: Order = None, as_of: AsOf | None = None
    ) -> Selection[Dataset]:
        """Versions of datasets that meet a filter."""
        return Selection(self, "datasets", Dataset, filter=filter, order_by=order_by, as_of=as_of)

    def deployments(
        self, filter: str | None = None, *, order_by: Order = None, as_of: AsOf | None = None
    ) -> Selection[Deployment]:
        """Deployments that meet a filter."""
        return Selection(self, "deployments", Deployment, filter=filter, order_by=order_by, as_of=as_of)

    def evaluations(
        self, filter: str | None = None, *, order_by: Order = None, as_of: AsOf | None = None
    ) -> Selection[Evaluation]:
        """Evaluations that meet a filter: each is one measurement, also failed ones; `evals` has their results."""
        return Selection(self, "evaluations", Evaluation, filter=filter, order_by=order_by, as_of=as_of)

    def run(self, id: str) -> Run:
        """A run by its ref or its id; NotFound where there is none."""
        return self._one(Run, ref(id, "run"))

    def model(self, ref: str) -> Model:
        """A model by `model://project/name@3`; an alias may stand after the @, and without either it is the latest."""
        return self._one(Model, ref)

    def dataset(self, ref: str) -> Dataset:
        """A dataset by `ds://project/name@1.2.0`; without the version its latest committed one."""
        return self._one(Dataset, ref)

    def deployment(self, name: str) -> Deployment:
        """A deployment by its name or its ref."""
        return self._one(Deployment, ref(name, "deployment"))

    def evaluation(self, id: str) -> Evaluation:
        """An evaluation by its ref or its id."""
        return self._one(Evaluation, ref(id, "eval"))

    def document(self, id: str) -> Document:
        """A document by `doc:<blake3>`."""
        return self._one(Document, ref(id, "doc"))

    def _one(self, kind: type[H], key: str) -> H:
        answer = self.ask(one(kind.FIELD, kind.SELECTION, **{kind.KEY: key}))
        found = answer.data[kind.FIELD]
        if found is None:
            raise NotFound(f"the ledger has no {kind.FIELD} `{key}`", code="not-found")
        return kind.of(self, found)

    # Curves.

    def curves_of(
        self,
        runs: Sequence[Run],
        metrics: Sequence[str],
        *,
        x: str = "step",
        points: int | None = 500,
        to: FrameKind | None = None,
    ) -> Frame:
        """Curves of these runs as one frame; see `Runs.curves`."""
        if not metrics:
            raise InvalidArgument("no metric is named; name at least one, such as 'loss'")
        selection = "run metric points { x value step tokens time attempt }"
        table, coverage, names = CurveTable(), None, {run.id: run.name for run in runs}
        axis = chosen_word("x", x, AXES)
        batch = max(1, CURVES // len(metrics))
        ids = list(names)
        for begin in range(0, len(ids), batch):
            arguments = {"runs": ids[begin : begin + batch], "metrics": list(metrics), "x": axis, "points": points}
            answer = self.ask(one("curves", selection, **arguments))
            coverage = answer.coverage
            for curve in answer.data["curves"]:
                table.add(curve, names.get(curve["run"]))
        return table.frame(self.frames(to), coverage)

    # Lineage.

    def lineage(
        self,
        of: str | Thing,
        direction: str = "up",
        *,
        depth: int | None = None,
        limit: int | None = None,
        fan_out: int | None = None,
    ) -> Lineage:
        """What a thing was made of (`up`), what was made of it (`down`), or `both`.

        `depth` is the number of links to walk at most, `limit` the number of things to show, `fan_out` the number of
        neighbours of one thing; what they leave out is counted.
        """
        arguments = variables(
            of=ref(of),
            direction=chosen_word("direction", direction, DIRECTIONS),
            depth=positive("depth", depth),
            limit=positive("limit", limit),
            fanOut=positive("fan_out", fan_out),
        )
        answer = self.ask(one("lineage", LINEAGE, **arguments))
        return Lineage(answer.data["lineage"], answer.coverage, self.settings.frames)

    # Results.

    def tasks(self) -> list[Task]:
        """The tasks and metrics that results exist for."""
        return [Task.read(item) for item in (self.ask(one("tasks", Task.SELECTION))).data["tasks"]]


LINEAGE = "nodes { ref kind depth leftOut { kind count } } edges { from to eventType position } truncated"
