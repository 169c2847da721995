# Generated from ../_async/things.py by scripts/generate.py: do not edit.
"""Runs, models, datasets and the other things that have a name: their fields, and what can be asked of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from .._ask import one
from .._read import Read
from .._schema import (
    Change,
    Checkpoint,
    DatasetFields,
    DeploymentFields,
    DocumentFields,
    EntityFields,
    EvaluationFields,
    Gate,
    ModelFields,
    Note,
    Reproducible,
    RunFields,
    RunMetric,
    Standing,
)
from .._tables import dig
from ..errors import InvalidArgument, NotFound
from ..frames import Frame, FrameKind, table_html
from ..graph import Impact, Lineage
from ..plots import draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .client import Client

H = TypeVar("H", bound="Thing")


class Thing(Read):
    """Something with a ref. Two of them are equal where they are the same thing in the same state."""

    FIELD: ClassVar[str]
    """The question that gives one of them."""
    KEY: ClassVar[str]
    """The argument of that question."""

    ref: str
    """Its name everywhere."""
    name: str
    """For people."""
    state: str
    """Where it stands."""
    updated_position: int
    """Position of the last event about it."""
    _client: Client

    @classmethod
    def of(cls: type[H], client: Client, data: Mapping[str, Any]) -> H:
        """Makes one of an answer."""
        made = cls.read(data)
        # Its fields are frozen; the client that it asks by is none of them.
        object.__setattr__(made, "_client", client)
        return made

    def get(self, path: str, default: Any = None) -> Any:
        """What lies at a path such as `config.optimizer.lr`; the default where nothing does."""
        head, _, rest = path.partition(".")
        if head not in {name for name, _, _ in self.READERS}:
            raise InvalidArgument(f"a {type(self).__name__} has no `{head}`; it has {', '.join(self.TYPES)}")
        found = dig(getattr(self, head), rest)
        return default if found is None else found

    def attributes(self) -> dict[str, Any]:
        """Everything its events say of it, by the names of their fields."""
        found = self._ask("attributes", "")
        return dict(found)

    def notes(self) -> list[Note]:
        """What people noted of it, oldest first; the latest 100."""
        return [Note.read(item) for item in self._ask("notes", Note.SELECTION)]

    def lineage(self, direction: str = "up", **limits: Any) -> Lineage:
        """What it was made of (`up`), or what was made of it (`down`); see `Client.lineage`."""
        return self._client.lineage(self.ref, direction, **limits)

    def impact(self, **limits: Any) -> Impact:
        """Everything that it went into; see `Client.impact`."""
        return self._client.impact(self.ref, **limits)

    def _ask(self, field: str, selection: str) -> Any:
        wanted = f"{field} {{ {selection} }}" if selection else field
        key = self.ref.partition(":")[2] if self.KEY in {"id", "name"} else self.ref
        arguments = {self.KEY: key, "asOf": self._client.past(None)}
        found = (self._client.ask(one(self.FIELD, wanted, **arguments))).data[self.FIELD]
        if found is None:
            raise NotFound(f"the ledger has no {self.FIELD} `{key}` any more", code="not-found")
        return found[field]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Thing):
            return NotImplemented
        return (self.ref, self.updated_position) == (other.ref, other.updated_position)

    def __hash__(self) -> int:
        return hash((self.ref, self.updated_position))

    def __repr__(self) -> str:
        label = "" if self.name == self.ref else f"{self.name} "
        return f"<{type(self).__name__} {label}({self.state}) {self.ref}>"

    def _row(self) -> dict[str, object]:
        plain = [name for name, type_ in self.TYPES.items() if type_ != "json"]
        return {name: getattr(self, name) for name in plain}

    def _repr_html_(self) -> str:
        rows = [[name, getattr(self, name)] for name in self.TYPES]
        return table_html(["field", "value"], rows, len(rows), repr(self))


class Run(Thing, RunFields):
    """An execution: a training, a processor's job, or both under one id."""

    FIELD = "run"
    KEY = "id"

    def curves(self, *metrics: str | Sequence[str], to: FrameKind | None = None, **options: Any) -> Frame:
        """Its curves as a frame; see `Runs.curves`."""
        return self._client.curves_of([self], metrics, to=to, **options)

    def plot(self, *metrics: str | Sequence[str], x: str = "step", **options: Any) -> Axes:
        """Draws its curves; see `Runs.plot`."""
        style = {name: options.pop(name) for name in ("by", "ax", "log_x", "log_y") if name in options}
        return draw(self.curves(*metrics, x=x, to="columns", **options), x=x, **style)

    def checkpoints(self) -> list[Checkpoint]:
        """Its checkpoints that count, by step."""
        return [Checkpoint.read(item) for item in self._ask("checkpoints", Checkpoint.SELECTION)]

    def parent(self) -> Run | None:
        """The run that made what it started from; None where none is recorded."""
        found = self._ask("parent", self.SELECTION)
        return None if found is None else Run.of(self._client, found)

    def dataset(self) -> Dataset | None:
        """The dataset that it was trained on."""
        found = self._ask("dataset", Dataset.SELECTION)
        return None if found is None else Dataset.of(self._client, found)

    def models(self) -> list[Model]:
        """The models that were registered from it, at most 100."""
        return [Model.of(self._client, item) for item in self._ask("models", Model.SELECTION)]

    def results(self) -> list[Standing]:
        """Results measured on it."""
        return [Standing.read(item) for item in self._ask("results", Standing.SELECTION)]

    def gates(self) -> list[Gate]:
        """Gates' decisions on it."""
        return [Gate.read(item) for item in self._ask("gates", Gate.SELECTION)]

    def metrics(self) -> list[RunMetric]:
        """What it has of each metric: points, first step, last point, least and greatest value."""
        return [RunMetric.read(item) for item in self._ask("metricSummaries", RunMetric.SELECTION)]

    def reproducible(self) -> Reproducible:
        """Whether it can be run again from what is recorded, and what is missing for that."""
        return Reproducible.read(self._ask("reproducible", Reproducible.SELECTION))


class Model(Thing, ModelFields):
    """A version of a model."""

    FIELD = "model"
    KEY = "ref"

    def run(self) -> Run | None:
        """The run that made it."""
        found = self._ask("run", Run.SELECTION)
        return None if found is None else Run.of(self._client, found)

    def results(self) -> list[Standing]:
        """Results measured on it, in order of position."""
        return [Standing.read(item) for item in self._ask("results", Standing.SELECTION)]

    def gates(self) -> list[Gate]:
        """Gates' decisions on it."""
        return [Gate.read(item) for item in self._ask("gates", Gate.SELECTION)]


class Dataset(Thing, DatasetFields):
    """A version of a dataset."""

    FIELD = "dataset"
    KEY = "ref"

    def run(self) -> Run | None:
        """The run that built it."""
        found = self._ask("run", Run.SELECTION)
        return None if found is None else Run.of(self._client, found)

    def parents(self) -> list[Dataset]:
        """Versions that it was derived from."""
        return [Dataset.of(self._client, item) for item in self._ask("parents", self.SELECTION)]


class Deployment(Thing, DeploymentFields):
    """A place where a model answers."""

    FIELD = "deployment"
    KEY = "name"

    def model(self) -> Model | None:
        """What answers now; None where nothing was promoted or it is retired."""
        found = self._ask("model", Model.SELECTION)
        return None if found is None else Model.of(self._client, found)

    def history(self) -> list[Change]:
        """What changed it, oldest first: what answered from then on, why, and the gate that allowed it."""
        return [Change.read(item) for item in self._ask("history", Change.SELECTION)]


class Evaluation(Thing, EvaluationFields):
    """An evaluation of a subject on a task."""

    FIELD = "evaluation"
    KEY = "ref"


class Document(Thing, DocumentFields):
    """A document as it was ingested; its text is in the artifacts of the run that ingested it."""

    FIELD = "document"
    KEY = "ref"


class Entity(Thing, EntityFields):
    """Anything that has a name, with what all things have in common."""

    FIELD = "entity"
    KEY = "ref"


__all__ = [
    "Dataset",
    "Deployment",
    "Document",
    "Entity",
    "Evaluation",
    "Model",
    "Run",
    "Thing",
]
