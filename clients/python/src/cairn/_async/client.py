"""The client: where every question begins."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from .._ask import PAGE, PAGE_INFO, one
from .._schema import AliasChange, Event, Log, Projection
from .._wire import Settings, ref, url_of, variables
from ..errors import NotFound
from ..filters import AsOf, all_of, as_of, compare, selecting
from ..frames import Coverage, FrameKind
from .connection import AsyncConnection
from .curves import AsyncCurveQuestions
from .evaluations import AsyncResultQuestions
from .graph import AsyncGraphQuestions
from .pairs import AsyncPairs
from .runs import AsyncRuns
from .selection import AsyncSelection, Order
from .things import (
    AsyncDataset,
    AsyncDeployment,
    AsyncDocument,
    AsyncEntity,
    AsyncEvaluation,
    AsyncModel,
    AsyncRun,
    AsyncThing,
)

H = TypeVar("H", bound=AsyncThing)


class AsyncClient(AsyncCurveQuestions, AsyncResultQuestions, AsyncGraphQuestions):
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
        http: httpx.AsyncClient | None = None,
    ) -> None:
        settings = Settings(url_of(url), token, tenant, timeout_s, retries, as_of, at_least, frames)
        self._connection = AsyncConnection(settings, http)

    async def aclose(self) -> None:
        """Closes the connections; also those of clients made by `using`."""
        await self._connection.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        past = "" if self.settings.as_of is None else f" as of {as_of(self.settings.as_of)}"
        return f"<{type(self).__name__} of {self.settings.url}{past}>"

    # The log and the views that follow it.

    async def log(self) -> Log:
        """How long the log is, and what an outsider needs to check it."""
        return Log.read((await self.ask(one("log", Log.SELECTION))).data["log"])

    async def checkpoint(self) -> str:
        """The latest signed checkpoint of the tenant's log (C2SP tlog-checkpoint)."""
        return await self._connection.get(f"/log/{quote(self.settings.tenant, safe='')}/checkpoint")

    async def proof(self, position: int) -> str:
        """The proof that an event is in the log (C2SP tlog-proof), which `cairn verify` checks offline."""
        return await self._connection.get(f"/log/{quote(self.settings.tenant, safe='')}/proof/{position}")

    async def projections(self) -> list[Projection]:
        """The views that follow the log, and how far each has come."""
        answer = await self.ask(one("projections", Projection.SELECTION))
        return [Projection.read(item) for item in answer.data["projections"]]

    async def coverage(self, at_least: int | None = None) -> Coverage:
        """What answers cover now; waits until they cover `at_least`."""
        answer = await self.ask(one("coverage", "position checkpoint", atLeast=at_least))
        found = answer.data["coverage"]
        return Coverage(found["position"], found["checkpoint"])

    async def events(
        self,
        types: str | Sequence[str] | None = None,
        *,
        stream: str | None = None,
        project: str | None = None,
        after: str | None = None,
    ) -> AsyncIterator[Event]:
        """Events in order of position.

        `types` are names such as `cairn.training.step_logged.v2`, or beginnings such as `cairn.training.*`; `stream`
        is what they are about; `after` is the `cursor` of an event to go on behind.
        """
        wanted = [types] if isinstance(types, str) else list(types) if types is not None else None
        while True:
            arguments = variables(first=PAGE, after=after, types=wanted, stream=stream, project=project)
            page = (await self.ask(one("events", f"nodes {{ {Event.SELECTION} }} {PAGE_INFO}", **arguments))).data[
                "events"
            ]
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
    ) -> AsyncRuns:
        """Runs that meet a filter, such as `"config.optimizer.lr < 1e-3 AND tags.team = 'search'"`.

        `order_by` is a path or several, each with a minus before it for the greatest first; without it the newest run
        comes first. With `as_of` the runs are as they were then.
        """
        return AsyncRuns(self, "runs", AsyncRun, filter=filter, order_by=order_by, as_of=as_of, limit=limit)

    def select(
        self,
        *,
        step_range: tuple[int | None, int | None] | None = None,
        where: str | None = None,
        **fields: Any,
    ) -> AsyncRuns:
        """Runs by their values: `select(recipe="dolma17", size=["150M", "300M"], seed=range(0, 3))`.

        A keyword is a path of its own (name, state, method, seed, dataset, …) or a setting of the run's config. Its
        value is one value, a list of values, a range, a slice from and to (both included), None for no value, or for
        `config`, `metrics` and `tags` a dictionary of paths, which may hold others. `step_range` keeps the curves,
        checkpoints and results that are asked of these runs to these steps, both included. `where` is a filter beside
        them.
        """
        runs = AsyncRuns(self, "runs", AsyncRun, filter=all_of(where, selecting(fields)))
        return runs if step_range is None else runs.steps(*step_range)

    def pairs(self, earlier: str | AsyncRuns, later: str | AsyncRuns) -> AsyncPairs:
        """Runs and those that went on from them: `pairs("pretrain", "sft")`.

        Each side is a method or a list of runs. A later run is matched with its nearest ancestor on the earlier side,
        by the parents that are recorded and never by names; one without such an ancestor is in no pair.
        """
        return AsyncPairs(self, self._side(earlier), self._side(later))

    def _side(self, given: str | AsyncRuns) -> AsyncRuns:
        return self.runs(compare("method", given))._but(method=given) if isinstance(given, str) else given

    def models(
        self, filter: str | None = None, *, order_by: Order = None, as_of: AsOf | None = None
    ) -> AsyncSelection[AsyncModel]:
        """Versions of models that meet a filter."""
        return AsyncSelection(self, "models", AsyncModel, filter=filter, order_by=order_by, as_of=as_of)

    def datasets(
        self, filter: str | None = None, *, order_by: Order = None, as_of: AsOf | None = None
    ) -> AsyncSelection[AsyncDataset]:
        """Versions of datasets that meet a filter."""
        return AsyncSelection(self, "datasets", AsyncDataset, filter=filter, order_by=order_by, as_of=as_of)

    def deployments(
        self, filter: str | None = None, *, order_by: Order = None, as_of: AsOf | None = None
    ) -> AsyncSelection[AsyncDeployment]:
        """Deployments that meet a filter."""
        return AsyncSelection(self, "deployments", AsyncDeployment, filter=filter, order_by=order_by, as_of=as_of)

    def evaluations(
        self, filter: str | None = None, *, order_by: Order = None, as_of: AsOf | None = None
    ) -> AsyncSelection[AsyncEvaluation]:
        """Evaluations that meet a filter: each is one measurement, also failed ones; `evals` has their results."""
        return AsyncSelection(self, "evaluations", AsyncEvaluation, filter=filter, order_by=order_by, as_of=as_of)

    async def run(self, id: str) -> AsyncRun:
        """A run by its ref or its id; NotFound where there is none."""
        return await self._one(AsyncRun, ref(id, "run"))

    async def model(self, ref: str) -> AsyncModel:
        """A model by `model://project/name@3`; an alias may stand after the @, and without either it is the latest."""
        return await self._one(AsyncModel, ref)

    async def dataset(self, ref: str) -> AsyncDataset:
        """A dataset by `ds://project/name@1.2.0`; without the version its latest committed one."""
        return await self._one(AsyncDataset, ref)

    async def deployment(self, name: str) -> AsyncDeployment:
        """A deployment by its name or its ref."""
        return await self._one(AsyncDeployment, ref(name, "deployment"))

    async def evaluation(self, id: str) -> AsyncEvaluation:
        """An evaluation by its ref or its id."""
        return await self._one(AsyncEvaluation, ref(id, "eval"))

    async def document(self, id: str) -> AsyncDocument:
        """A document by `doc:<blake3>`."""
        return await self._one(AsyncDocument, ref(id, "doc"))

    async def entity(self, ref: str) -> AsyncEntity:
        """Anything by its ref, such as an artifact or a judgment; with `using(as_of=…)` as it was then."""
        return await self._one(AsyncEntity, ref)

    async def alias_history(self, model: str, alias: str, *, as_of: AsOf | None = None) -> list[AliasChange]:
        """What an alias of a model named, oldest first: `alias_history("model://lab/chat", "production")`."""
        asked = one("aliasHistory", AliasChange.SELECTION, model=model, alias=alias, asOf=self.past(as_of))
        return [AliasChange.read(item) for item in (await self.ask(asked)).data["aliasHistory"]]

    async def paths(self, kind: str = "run") -> list[str]:
        """The paths that filters and orders of a kind may name, such as config.optimizer.lr."""
        answer = await self.ask(one("paths", "path", kind=kind))
        return [str(item["path"]) for item in answer.data["paths"]]

    async def _one(self, kind: type[H], key: str) -> H:
        answer = await self.ask(one(kind.FIELD, kind.SELECTION, **{kind.KEY: key, "asOf": self.past(None)}))
        found = answer.data[kind.FIELD]
        if found is None:
            raise NotFound(f"the ledger has no {kind.FIELD} `{key}`", code="not-found")
        return kind.of(self, found)
