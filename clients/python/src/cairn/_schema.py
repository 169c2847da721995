"""Types of Cairn's answers, generated from schemas/graphql/cairn.graphql by scripts/generate.py.
Do not edit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal

from ._read import ColumnTypes, Read, Readers, as_is, each, instant, maybe, real, thing, whole, word

Axis = Literal["step", "time", "tokens", "lineage_steps", "lineage_tokens"]
"""The axis of a curve."""

CellState = Literal["value", "failed", "superseded", "never_evaluated"]
"""What is known of a subject in a column of the grid."""

ComparisonMethod = Literal["mcnemar", "permutation"]
"""How it was decided whether a difference is more than chance."""

ComparisonVerdict = Literal["first_is_better", "second_is_better", "undecided"]
"""What can be said of two sides."""

Direction = Literal["up", "down", "both"]
"""Which way to walk."""

DocumentChangeKind = Literal["removed", "added"]
"""What became of a document from one side to the other."""

GateOutcome = Literal["pass", "block", "insufficient_evidence"]
"""What a gate decided."""

LineageKind = Literal["deployment", "model", "run", "dataset", "evaluation", "judgment", "artifact", "document"]
"""Kinds of things in the lineage graph."""

ProjectionState = Literal["following", "catching_up", "rebuilding", "stopped"]
"""What a projection does."""

Relation = Literal["same", "went_into", "made_of", "related"]
"""How two things are connected."""

ReproductionManner = Literal["replayed", "checked"]
"""How `cairn reproduce` goes about a run."""

RunBy = Literal["cairn", "outside"]
"""Whose program ran it."""

ValueChangeKind = Literal["added", "removed", "changed"]
"""What became of a value from the first run to the second."""


@dataclass(frozen=True)
class AggregateCurve(Read):
    """Several runs as one curve."""

    group: str | None
    """What the runs have in common at the path that they were grouped by; null where they were not, or lack it."""
    runs: tuple[str, ...]
    """Ids of those of the runs that have points in the range."""
    metric: str
    """The metric."""
    axis: Axis
    """The axis that `x` lies on."""
    exact: bool
    """Whether the points stand where the runs logged, rather than at even places."""
    points: tuple[AggregatePoint, ...]
    """The points in order along the axis."""
    unplaced: tuple[UnplacedRun, ...]
    """Runs that have no place on this axis, and why."""

    SELECTION: ClassVar[str] = "group runs metric axis exact points { x n mean min max quantiles } unplaced { run why }"
    READERS: ClassVar[Readers] = (
        ("group", "group", as_is),
        ("runs", "runs", each(as_is)),
        ("metric", "metric", as_is),
        ("axis", "axis", word),
        ("exact", "exact", as_is),
        ("points", "points", each(thing(lambda: AggregatePoint))),
        ("unplaced", "unplaced", each(thing(lambda: UnplacedRun))),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "group": "text",
        "metric": "text",
        "axis": "text",
        "exact": "truth",
    }


@dataclass(frozen=True)
class AggregatePoint(Read):
    """What several runs have at one place. NaN counts as nothing."""

    x: float
    """Where it lies on the axis."""
    n: int
    """Runs that have a value here."""
    mean: float
    """The mean of their values; NaN where these are infinite both ways."""
    min: float
    """The least value of any of their points about here."""
    max: float
    """The greatest value of any of their points about here."""
    quantiles: tuple[float, ...]
    """The quantiles that were asked for, in that order."""

    SELECTION: ClassVar[str] = "x n mean min max quantiles"
    READERS: ClassVar[Readers] = (
        ("x", "x", real),
        ("n", "n", whole),
        ("mean", "mean", real),
        ("min", "min", real),
        ("max", "max", real),
        ("quantiles", "quantiles", each(real)),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "x": "real",
        "n": "whole",
        "mean": "real",
        "min": "real",
        "max": "real",
    }


@dataclass(frozen=True)
class AliasChange(Read):
    """What an alias named from an event on."""

    model: str | None
    """The version that carries it from then on; null where it was cleared."""
    reason: str | None
    """Why."""
    position: int
    """Position of the event that says so."""
    recorded_at: datetime
    """When that was recorded."""

    SELECTION: ClassVar[str] = "model reason position recordedAt"
    READERS: ClassVar[Readers] = (
        ("model", "model", as_is),
        ("reason", "reason", as_is),
        ("position", "position", whole),
        ("recorded_at", "recordedAt", instant),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "model": "text",
        "reason": "text",
        "position": "whole",
        "recorded_at": "instant",
    }


@dataclass(frozen=True)
class Best(Read):
    """The best of the results that are comparable with one another."""

    standing: Standing
    """The result."""
    among: int
    """Results of its suite, slice and protocol that it stands before or beside, itself among them."""

    SELECTION: ClassVar[str] = (
        "standing { rank subject step suite task slice metric value n standardError unit higherIsBetter evaluation"
        " dataset run protocolDigest position recordedAt occurredAt superseded { by reason position recordedAt } }"
        " among"
    )
    READERS: ClassVar[Readers] = (
        ("standing", "standing", thing(lambda: Standing)),
        ("among", "among", whole),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "among": "whole",
    }


@dataclass(frozen=True)
class Change(Read):
    """Something that changed what a deployment answers with."""

    type: str
    """created, promoted, rolled_back, traffic_shifted or retired."""
    model: str | None
    """What answered from then on."""
    weights_digest: str | None
    """BLAKE3 of its weights."""
    from_: str | None
    """What answered before."""
    gate: str | None
    """The gate's judgment that allowed it."""
    reason: str | None
    """Why."""
    position: int
    """Position of the event that says so."""
    recorded_at: datetime
    """When that was recorded."""

    SELECTION: ClassVar[str] = "type model weightsDigest from gate reason position recordedAt"
    READERS: ClassVar[Readers] = (
        ("type", "type", as_is),
        ("model", "model", as_is),
        ("weights_digest", "weightsDigest", as_is),
        ("from_", "from", as_is),
        ("gate", "gate", as_is),
        ("reason", "reason", as_is),
        ("position", "position", whole),
        ("recorded_at", "recordedAt", instant),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "type": "text",
        "model": "text",
        "weights_digest": "text",
        "from_": "text",
        "gate": "text",
        "reason": "text",
        "position": "whole",
        "recorded_at": "instant",
    }


@dataclass(frozen=True)
class Checkpoint(Read):
    """A state of a training run: stored, with its digests, or only known to be kept elsewhere, without them."""

    step: int
    """The step after which it was stored."""
    attempt: int
    """The attempt that stored it."""
    tokens: int | None
    """Tokens seen until then; null where its list does not say."""
    artifact: str | None
    """The artifact that holds it; for one kept elsewhere its description, where something began from it."""
    state_digest: str | None
    """BLAKE3 of the state alone: no time, no run id."""
    weights_digest: str | None
    """BLAKE3 of the weights alone."""
    location: str | None
    """Where one that is kept elsewhere is kept."""
    position: int
    """Position of the event that says so."""
    recorded_at: datetime
    """When that was recorded."""

    SELECTION: ClassVar[str] = "step attempt tokens artifact stateDigest weightsDigest location position recordedAt"
    READERS: ClassVar[Readers] = (
        ("step", "step", whole),
        ("attempt", "attempt", whole),
        ("tokens", "tokens", maybe(whole)),
        ("artifact", "artifact", as_is),
        ("state_digest", "stateDigest", as_is),
        ("weights_digest", "weightsDigest", as_is),
        ("location", "location", as_is),
        ("position", "position", whole),
        ("recorded_at", "recordedAt", instant),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "step": "whole",
        "attempt": "whole",
        "tokens": "whole",
        "artifact": "text",
        "state_digest": "text",
        "weights_digest": "text",
        "location": "text",
        "position": "whole",
        "recorded_at": "instant",
    }


@dataclass(frozen=True)
class ComparedPair(Read):
    """Two of the sides."""

    first: int
    """Number of the first among the sides, from 0."""
    second: int
    """Number of the second among the sides, from 0."""
    difference: float
    """Second minus first: of the samples' means where samples are paired, else of the values."""
    standard_error: float | None
    """Standard error of the difference."""
    low: float | None
    """Lower end of the bootstrap's interval of this difference alone."""
    high: float | None
    """Upper end of that interval."""
    higher: int | None
    """Samples on which the second scores higher."""
    lower: int | None
    """Samples on which the second scores lower."""
    ties: int | None
    """Samples on which both score the same."""
    p_value: float | None
    """Two-sided."""
    p_adjusted: float | None
    """Corrected for the number of pairs (Holm): what the verdict rests on."""
    verdict: ComparisonVerdict | None
    """What can be said; null where there are no verdicts."""

    SELECTION: ClassVar[str] = (
        "first second difference standardError low high higher lower ties pValue pAdjusted verdict"
    )
    READERS: ClassVar[Readers] = (
        ("first", "first", whole),
        ("second", "second", whole),
        ("difference", "difference", real),
        ("standard_error", "standardError", maybe(real)),
        ("low", "low", maybe(real)),
        ("high", "high", maybe(real)),
        ("higher", "higher", maybe(whole)),
        ("lower", "lower", maybe(whole)),
        ("ties", "ties", maybe(whole)),
        ("p_value", "pValue", maybe(real)),
        ("p_adjusted", "pAdjusted", maybe(real)),
        ("verdict", "verdict", maybe(word)),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "first": "whole",
        "second": "whole",
        "difference": "real",
        "standard_error": "real",
        "low": "real",
        "high": "real",
        "higher": "whole",
        "lower": "whole",
        "ties": "whole",
        "p_value": "real",
        "p_adjusted": "real",
        "verdict": "text",
    }


@dataclass(frozen=True)
class ComparedSample(Read):
    """One sample's scores."""

    sample: str
    """The sample's id in its dataset version."""
    scores: tuple[float, ...]
    """Its score on each side, in their order."""

    SELECTION: ClassVar[str] = "sample scores"
    READERS: ClassVar[Readers] = (
        ("sample", "sample", as_is),
        ("scores", "scores", each(real)),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "sample": "text",
    }


@dataclass(frozen=True)
class Comparison(Read):
    """A comparison of subjects on a metric of a task."""

    task: str
    """The task."""
    metric: str
    """The metric."""
    higher_is_better: bool
    """Whether more is better."""
    sides: tuple[Standing, ...]
    """The results that were compared, in the order asked for."""
    differences: tuple[ProtocolDifference, ...]
    """What is not the same in all of them; empty where they are comparable."""
    method: ComparisonMethod | None
    """How verdicts were come to; null where there are none."""
    no_verdict: str | None
    """Why there are no verdicts, where there are none."""
    confidence: float
    """Of the intervals, and of the verdicts together."""
    resamples: int
    """Draws of the bootstrap, and of the permutation test where it is not exact."""
    seed: int
    """The seed of the draws."""
    paired: int
    """Samples that every side scored."""
    pairs: tuple[ComparedPair, ...]
    """Every two of the sides."""
    samples: tuple[ComparedSample, ...]
    """Samples on which the scores differ most."""

    SELECTION: ClassVar[str] = (
        "task metric higherIsBetter sides { rank subject step suite task slice metric value n standardError unit "
        "higherIsBetter evaluation dataset run protocolDigest position recordedAt occurredAt superseded { by "
        "reason position recordedAt } } differences { field values } method noVerdict confidence resamples seed "
        "paired pairs { first second difference standardError low high higher lower ties pValue pAdjusted verdict "
        "} samples { sample scores }"
    )
    READERS: ClassVar[Readers] = (
        ("task", "task", as_is),
        ("metric", "metric", as_is),
        ("higher_is_better", "higherIsBetter", as_is),
        ("sides", "sides", each(thing(lambda: Standing))),
        ("differences", "differences", each(thing(lambda: ProtocolDifference))),
        ("method", "method", maybe(word)),
        ("no_verdict", "noVerdict", as_is),
        ("confidence", "confidence", real),
        ("resamples", "resamples", whole),
        ("seed", "seed", whole),
        ("paired", "paired", whole),
        ("pairs", "pairs", each(thing(lambda: ComparedPair))),
        ("samples", "samples", each(thing(lambda: ComparedSample))),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "task": "text",
        "metric": "text",
        "higher_is_better": "truth",
        "method": "text",
        "no_verdict": "text",
        "confidence": "real",
        "resamples": "whole",
        "seed": "whole",
        "paired": "whole",
    }


@dataclass(frozen=True)
class Coverage(Read):
    """What the answers of a query cover: every event up to `position` is in them, later ones may be."""

    position: int | None
    """Every event up to this one is in the answers; null where no event is."""
    head: int | None
    """Position of the last event of the log."""
    checkpoint: str | None
    """The signed checkpoint of the log (C2SP tlog-checkpoint), which covers at least this position."""

    SELECTION: ClassVar[str] = "position head checkpoint"
    READERS: ClassVar[Readers] = (
        ("position", "position", maybe(whole)),
        ("head", "head", maybe(whole)),
        ("checkpoint", "checkpoint", as_is),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "position": "whole",
        "head": "whole",
        "checkpoint": "text",
    }


@dataclass(frozen=True)
class Curve(Read):
    """A metric of a run over its steps; a later attempt's steps take the place of an earlier one's."""

    run: str
    """The run's id."""
    metric: str
    """The metric."""
    axis: Axis
    """The axis that `x` lies on."""
    points: tuple[CurvePoint, ...]
    """The points in order along the axis."""
    total_points: int
    """How many points lie in the range."""
    exact: bool
    """Whether `points` are all of them, as logged."""
    unplaced: str | None
    """Why there are no points on this axis: what an ancestor had seen is not known."""
    parts: tuple[CurvePart, ...]
    """The runs that it is made of, the oldest first."""

    SELECTION: ClassVar[str] = (
        "run metric axis points { x value step tokens time attempt position } totalPoints exact unplaced parts { "
        "run toStep stepsBefore tokensBefore estimated }"
    )
    READERS: ClassVar[Readers] = (
        ("run", "run", as_is),
        ("metric", "metric", as_is),
        ("axis", "axis", word),
        ("points", "points", each(thing(lambda: CurvePoint))),
        ("total_points", "totalPoints", whole),
        ("exact", "exact", as_is),
        ("unplaced", "unplaced", as_is),
        ("parts", "parts", each(thing(lambda: CurvePart))),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "run": "text",
        "metric": "text",
        "axis": "text",
        "total_points": "whole",
        "exact": "truth",
        "unplaced": "text",
    }


@dataclass(frozen=True)
class CurvePart(Read):
    """One of the runs that a curve is made of."""

    run: str
    """The run's id."""
    to_step: int | None
    """The last step that the next run went on from; null in the last run."""
    steps_before: int | None
    """Steps that its ancestors had taken; null where that is not known."""
    tokens_before: int | None
    """Tokens that its ancestors had seen; null where that is not known."""
    estimated: bool
    """Whether tokensBefore lies between two logged steps, on the straight line."""

    SELECTION: ClassVar[str] = "run toStep stepsBefore tokensBefore estimated"
    READERS: ClassVar[Readers] = (
        ("run", "run", as_is),
        ("to_step", "toStep", maybe(whole)),
        ("steps_before", "stepsBefore", maybe(whole)),
        ("tokens_before", "tokensBefore", maybe(whole)),
        ("estimated", "estimated", as_is),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "run": "text",
        "to_step": "whole",
        "steps_before": "whole",
        "tokens_before": "whole",
        "estimated": "truth",
    }


@dataclass(frozen=True)
class CurvePoint(Read):
    """A point of a curve."""

    x: float
    """Where it lies on the axis that was asked for."""
    value: float
    """The value; NaN and infinities as they were logged."""
    step: int
    """The step."""
    tokens: int
    """Tokens that the run had seen; 0 where its producer does not count them."""
    time: datetime
    """When the step was taken, as its producer says."""
    attempt: int
    """The attempt of the run that took the step, from 1."""
    position: int
    """Position of the event that says so."""

    SELECTION: ClassVar[str] = "x value step tokens time attempt position"
    READERS: ClassVar[Readers] = (
        ("x", "x", real),
        ("value", "value", real),
        ("step", "step", whole),
        ("tokens", "tokens", whole),
        ("time", "time", instant),
        ("attempt", "attempt", whole),
        ("position", "position", whole),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "x": "real",
        "value": "real",
        "step": "whole",
        "tokens": "whole",
        "time": "instant",
        "attempt": "whole",
        "position": "whole",
    }


@dataclass(frozen=True, repr=False)
class DatasetFields(Read):
    """A version of a dataset."""

    ref: str
    """Its name everywhere."""
    name: str
    """For people: project/name, a job's name, a document's URI."""
    state: str
    """Where it stands: running, completed, failed, cancelled (runs); building, committed, withdrawn (datasets);
    registered (models); created, active, retired (deployments); ingested, removed (documents), or named where a
    dataset names one that was not ingested; completed, failed, superseded (evaluations).
    """
    project: str
    """The project it belongs to."""
    created_at: datetime
    """When the ledger first heard of it."""
    created_position: int
    """Position of the first event about it."""
    updated_at: datetime
    """When the last event about it was recorded."""
    updated_position: int
    """Position of the last event about it."""
    owner: str | None
    """Who answers for it, as people said by annotations."""
    tags: Any
    """What people said of it by name: an object."""
    rows: int | None
    """Number of rows; null while it is being built."""
    document_count: int
    """Number of documents it is made of."""
    manifest: str | None
    """The artifact whose digest is the version's content address."""
    card: str | None
    """The artifact with a description for people."""
    config: Any
    """What decided its content: templates, splits, seed, redaction."""
    withdrawn_because: str | None
    """Why it must no longer be used."""

    SELECTION: ClassVar[str] = (
        "ref name state project createdAt createdPosition updatedAt updatedPosition owner tags rows documentCount "
        "manifest card config withdrawnBecause"
    )
    READERS: ClassVar[Readers] = (
        ("ref", "ref", as_is),
        ("name", "name", as_is),
        ("state", "state", as_is),
        ("project", "project", as_is),
        ("created_at", "createdAt", instant),
        ("created_position", "createdPosition", whole),
        ("updated_at", "updatedAt", instant),
        ("updated_position", "updatedPosition", whole),
        ("owner", "owner", as_is),
        ("tags", "tags", as_is),
        ("rows", "rows", maybe(whole)),
        ("document_count", "documentCount", whole),
        ("manifest", "manifest", as_is),
        ("card", "card", as_is),
        ("config", "config", as_is),
        ("withdrawn_because", "withdrawnBecause", as_is),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "ref": "text",
        "name": "text",
        "state": "text",
        "project": "text",
        "created_at": "instant",
        "created_position": "whole",
        "updated_at": "instant",
        "updated_position": "whole",
        "owner": "text",
        "tags": "json",
        "rows": "whole",
        "document_count": "whole",
        "manifest": "text",
        "card": "text",
        "config": "json",
        "withdrawn_because": "text",
    }


@dataclass(frozen=True, repr=False)
class DeploymentFields(Read):
    """A place where a model answers."""

    ref: str
    """Its name everywhere."""
    name: str
    """For people: project/name, a job's name, a document's URI."""
    state: str
    """Where it stands: running, completed, failed, cancelled (runs); building, committed, withdrawn (datasets);
    registered (models); created, active, retired (deployments); ingested, removed (documents), or named where a
    dataset names one that was not ingested; completed, failed, superseded (evaluations).
    """
    project: str
    """The project it belongs to."""
    created_at: datetime
    """When the ledger first heard of it."""
    created_position: int
    """Position of the first event about it."""
    updated_at: datetime
    """When the last event about it was recorded."""
    updated_position: int
    """Position of the last event about it."""
    owner: str | None
    """Who answers for it, as people said by annotations."""
    tags: Any
    """What people said of it by name: an object."""
    target: str | None
    """local, or where it runs."""
    config: Any
    """Its settings."""
    responses: int
    """Answers it gave."""
    weights_digest: str | None
    """BLAKE3 of the weights that answer now."""
    previous: str | None
    """What a roll-back would go back to."""

    SELECTION: ClassVar[str] = (
        "ref name state project createdAt createdPosition updatedAt updatedPosition owner tags target config "
        "responses weightsDigest previous"
    )
    READERS: ClassVar[Readers] = (
        ("ref", "ref", as_is),
        ("name", "name", as_is),
        ("state", "state", as_is),
        ("project", "project", as_is),
        ("created_at", "createdAt", instant),
        ("created_position", "createdPosition", whole),
        ("updated_at", "updatedAt", instant),
        ("updated_position", "updatedPosition", whole),
        ("owner", "owner", as_is),
        ("tags", "tags", as_is),
        ("target", "target", as_is),
        ("config", "config", as_is),
        ("responses", "responses", whole),
        ("weights_digest", "weightsDigest", as_is),
        ("previous", "previous", as_is),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "ref": "text",
        "name": "text",
        "state": "text",
        "project": "text",
        "created_at": "instant",
        "created_position": "whole",
        "updated_at": "instant",
        "updated_position": "whole",
        "owner": "text",
        "tags": "json",
        "target": "text",
        "config": "json",
        "responses": "whole",
        "weights_digest": "text",
        "previous": "text",
    }


@dataclass(frozen=True, repr=False)
class DocumentFields(Read):
    """A document as it was ingested; its text is in the artifacts of the run that ingested it."""

    ref: str
    """Its name everywhere."""
    name: str
    """For people: project/name, a job's name, a document's URI."""
    state: str
    """Where it stands: running, completed, failed, cancelled (runs); building, committed, withdrawn (datasets);
    registered (models); created, active, retired (deployments); ingested, removed (documents), or named where a
    dataset names one that was not ingested; completed, failed, superseded (evaluations).
    """
    project: str
    """The project it belongs to."""
    created_at: datetime
    """When the ledger first heard of it."""
    created_position: int
    """Position of the first event about it."""
    updated_at: datetime
    """When the last event about it was recorded."""
    updated_position: int
    """Position of the last event about it."""
    owner: str | None
    """Who answers for it, as people said by annotations."""
    tags: Any
    """What people said of it by name: an object."""
    source_uri: str | None
    """Where it came from."""
    source: str | None
    """The source it was read from."""
    author: str | None
    """Who wrote it."""
    access_policy: str | None
    """Tag of the policy that governs access to it."""
    content_type: str | None
    """Media type."""
    language: str | None
    """BCP 47 tag; und where it could not be told."""
    bytes: int | None
    """Length of its text as kept."""
    sha256: str | None
    """SHA-256 of its text as kept; its ref has the BLAKE3."""
    redactions: Any
    """Personal data findings that were redacted, by kind."""

    SELECTION: ClassVar[str] = (
        "ref name state project createdAt createdPosition updatedAt updatedPosition owner tags sourceUri source "
        "author accessPolicy contentType language bytes sha256 redactions"
    )
    READERS: ClassVar[Readers] = (
        ("ref", "ref", as_is),
        ("name", "name", as_is),
        ("state", "state", as_is),
        ("project", "project", as_is),
        ("created_at", "createdAt", instant),
        ("created_position", "createdPosition", whole),
        ("updated_at", "updatedAt", instant),
        ("updated_position", "updatedPosition", whole),
        ("owner", "owner", as_is),
        ("tags", "tags", as_is),
        ("source_uri", "sourceUri", as_is),
        ("source", "source", as_is),
        ("author", "author", as_is),
        ("access_policy", "accessPolicy", as_is),
        ("content_type", "contentType", as_is),
        ("language", "language", as_is),
        ("bytes", "bytes", maybe(whole)),
        ("sha256", "sha256", as_is),
        ("redactions", "redactions", as_is),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "ref": "text",
        "name": "text",
        "state": "text",
        "project": "text",
        "created_at": "instant",
        "created_position": "whole",
        "updated_at": "instant",
        "updated_position": "whole",
        "owner": "text",
        "tags": "json",
        "source_uri": "text",
        "source": "text",
        "author": "text",
        "access_policy": "text",
        "content_type": "text",
        "language": "text",
        "bytes": "whole",
        "sha256": "text",
        "redactions": "json",
    }


@dataclass(frozen=True)
class DocumentChange(Read):
    """A document that only one side has."""

    ref: str
    """The document."""
    change: DocumentChangeKind
    """Which side has it."""

    SELECTION: ClassVar[str] = "ref change"
    READERS: ClassVar[Readers] = (
        ("ref", "ref", as_is),
        ("change", "change", word),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "ref": "text",
        "change": "text",
    }


@dataclass(frozen=True)
class DocumentsDiff(Read):
    """How two sets of documents differ."""

    added: int
    """How many only the second has."""
    removed: int
    """How many only the first has."""
    kept: int
    """How many both have."""

    SELECTION: ClassVar[str] = "added removed kept"
    READERS: ClassVar[Readers] = (
        ("added", "added", whole),
        ("removed", "removed", whole),
        ("kept", "kept", whole),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "added": "whole",
        "removed": "whole",
        "kept": "whole",
    }


@dataclass(frozen=True, repr=False)
class EntityFields(Read):
    """Anything that has a name, with what all things have in common."""

    ref: str
    """Its name everywhere; source:<name> and schema:<kind> where there is no ref for its kind."""
    kind: str
    """artifact, dataset, deployment, document, evaluation, judgment, model, run, schema or source."""
    name: str
    """For people."""
    state: str
    """Where it stands."""
    project: str
    """The project it belongs to."""
    created_at: datetime
    """When the ledger first heard of it."""
    created_position: int
    """Position of the first event about it."""
    updated_at: datetime
    """When the last event about it was recorded."""
    updated_position: int
    """Position of the last event about it."""
    owner: str | None
    """Who answers for it, as people said by annotations."""
    tags: Any
    """What people said of it by name: an object."""

    SELECTION: ClassVar[str] = (
        "ref kind name state project createdAt createdPosition updatedAt updatedPosition owner tags"
    )
    READERS: ClassVar[Readers] = (
        ("ref", "ref", as_is),
        ("kind", "kind", as_is),
        ("name", "name", as_is),
        ("state", "state", as_is),
        ("project", "project", as_is),
        ("created_at", "createdAt", instant),
        ("created_position", "createdPosition", whole),
        ("updated_at", "updatedAt", instant),
        ("updated_position", "updatedPosition", whole),
        ("owner", "owner", as_is),
        ("tags", "tags", as_is),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "ref": "text",
        "kind": "text",
        "name": "text",
        "state": "text",
        "project": "text",
        "created_at": "instant",
        "created_position": "whole",
        "updated_at": "instant",
        "updated_position": "whole",
        "owner": "text",
        "tags": "json",
    }


@dataclass(frozen=True, repr=False)
class EvaluationFields(Read):
    """An evaluation of a subject on a task."""

    ref: str
    """Its name everywhere."""
    name: str
    """For people: project/name, a job's name, a document's URI."""
    state: str
    """Where it stands: running, completed, failed, cancelled (runs); building, committed, withdrawn (datasets);
    registered (models); created, active, retired (deployments); ingested, removed (documents), or named where a
    dataset names one that was not ingested; completed, failed, superseded (evaluations).
    """
    project: str
    """The project it belongs to."""
    created_at: datetime
    """When the ledger first heard of it."""
    created_position: int
    """Position of the first event about it."""
    updated_at: datetime
    """When the last event about it was recorded."""
    updated_position: int
    """Position of the last event about it."""
    owner: str | None
    """Who answers for it, as people said by annotations."""
    tags: Any
    """What people said of it by name: an object."""
    subject: str | None
    """What was measured: a model or a run."""
    suite: str | None
    """The suite that the task belongs to."""
    task: str | None
    """The task."""
    slice: str | None
    """The part of the task's samples: all, or a name."""
    step: int | None
    """The checkpoint's step, where the subject is a run."""
    protocol_digest: str | None
    """Results are comparable where this BLAKE3 is equal."""
    samples: str | None
    """The artifact with every sample, its answer and its scores."""
    error: str | None
    """Why it failed."""
    superseded_by: str | None
    """The evaluation that takes its place, where it is superseded by one."""
    superseded_because: str | None
    """Why it is no longer to be relied on."""

    SELECTION: ClassVar[str] = (
        "ref name state project createdAt createdPosition updatedAt updatedPosition owner tags subject suite task "
        "slice step protocolDigest samples error supersededBy supersededBecause"
    )
    READERS: ClassVar[Readers] = (
        ("ref", "ref", as_is),
        ("name", "name", as_is),
        ("state", "state", as_is),
        ("project", "project", as_is),
        ("created_at", "createdAt", instant),
        ("created_position", "createdPosition", whole),
        ("updated_at", "updatedAt", instant),
        ("updated_position", "updatedPosition", whole),
        ("owner", "owner", as_is),
        ("tags", "tags", as_is),
        ("subject", "subject", as_is),
        ("suite", "suite", as_is),
        ("task", "task", as_is),
        ("slice", "slice", as_is),
        ("step", "step", maybe(whole)),
        ("protocol_digest", "protocolDigest", as_is),
        ("samples", "samples", as_is),
        ("error", "error", as_is),
        ("superseded_by", "supersededBy", as_is),
        ("superseded_because", "supersededBecause", as_is),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "ref": "text",
        "name": "text",
        "state": "text",
        "project": "text",
        "created_at": "instant",
        "created_position": "whole",
        "updated_at": "instant",
        "updated_position": "whole",
        "owner": "text",
        "tags": "json",
        "subject": "text",
        "suite": "text",
        "task": "text",
        "slice": "text",
        "step": "whole",
        "protocol_digest": "text",
        "samples": "text",
        "error": "text",
        "superseded_by": "text",
        "superseded_because": "text",
    }


@dataclass(frozen=True)
class Event(Read):
    """Something that happened, as the ledger recorded it."""

    position: int
    """Where it stands in the log."""
    cursor: str
    """Pass it as `after` or `from` to go on after this event."""
    type: str
    """cairn.<family>.<past_tense>.v<N>, in its latest version."""
    source: str
    """Who produced it; source and id together identify it."""
    id: str
    """Its identity at its source."""
    stream: str
    """The stream: what it is about. CloudEvents calls it subject."""
    stream_version: int
    """Its number in its stream, from 1."""
    project: str
    """The project it belongs to."""
    occurred_at: datetime
    """When it happened, as its producer says."""
    recorded_at: datetime
    """When the ledger recorded it; never decreasing along the log."""
    causation: str | None
    """Id of the event that caused it."""
    extensions: Any
    """CloudEvents extension attributes that Cairn does not know, kept as received."""
    used: tuple[str, ...]
    """The refs it used."""
    produced: tuple[str, ...]
    """The refs it produced."""
    data: Any
    """Its payload, whose JSON Schema stands in schemas/json."""
    cloud_event: Any
    """The whole event as a CloudEvent 1.0 in JSON."""

    SELECTION: ClassVar[str] = (
        "position cursor type source id stream streamVersion project occurredAt recordedAt causation extensions "
        "used produced data cloudEvent"
    )
    READERS: ClassVar[Readers] = (
        ("position", "position", whole),
        ("cursor", "cursor", as_is),
        ("type", "type", as_is),
        ("source", "source", as_is),
        ("id", "id", as_is),
        ("stream", "stream", as_is),
        ("stream_version", "streamVersion", whole),
        ("project", "project", as_is),
        ("occurred_at", "occurredAt", instant),
        ("recorded_at", "recordedAt", instant),
        ("causation", "causation", as_is),
        ("extensions", "extensions", as_is),
        ("used", "used", each(as_is)),
        ("produced", "produced", each(as_is)),
        ("data", "data", as_is),
        ("cloud_event", "cloudEvent", as_is),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "position": "whole",
        "cursor": "text",
        "type": "text",
        "source": "text",
        "id": "text",
        "stream": "text",
        "stream_version": "whole",
        "project": "text",
        "occurred_at": "instant",
        "recorded_at": "instant",
        "causation": "text",
        "extensions": "json",
        "data": "json",
        "cloud_event": "json",
    }


@dataclass(frozen=True)
class FailedEvaluation(Read):
    """An evaluation that ended by an error."""

    evaluation: str
    """The evaluation."""
    subject: str
    """What was to be measured."""
    suite: str
    """The suite that the task belongs to."""
    task: str
    """The task."""
    error: str
    """Why it failed."""
    position: int
    """Position of the event that recorded it."""
    recorded_at: datetime
    """When the ledger recorded it."""

    SELECTION: ClassVar[str] = "evaluation subject suite task error position recordedAt"
    READERS: ClassVar[Readers] = (
        ("evaluation", "evaluation", as_is),
        ("subject", "subject", as_is),
        ("suite", "suite", as_is),
        ("task", "task", as_is),
        ("error", "error", as_is),
        ("position", "position", whole),
        ("recorded_at", "recordedAt", instant),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "evaluation": "text",
        "subject": "text",
        "suite": "text",
        "task": "text",
        "error": "text",
        "position": "whole",
        "recorded_at": "instant",
    }


@dataclass(frozen=True)
class Gate(Read):
    """A gate's decision on a subject."""

    judgment: str
    """The judgment that recorded it."""
    gate: str
    """The gate's name."""
    subject: str
    """What it decided on."""
    baseline: str | None
    """What the subject was compared with."""
    outcome: GateOutcome
    """What it decided."""
    checks: tuple[GateCheck, ...]
    """Its conditions, each with what was measured."""
    evaluations: tuple[str, ...]
    """The evaluations it rests on."""
    position: int
    """Position of the event that recorded it."""
    recorded_at: datetime
    """When the ledger recorded it."""

    SELECTION: ClassVar[str] = (
        "judgment gate subject baseline outcome checks { condition outcome observed threshold n standardError "
        "detail } evaluations position recordedAt"
    )
    READERS: ClassVar[Readers] = (
        ("judgment", "judgment", as_is),
        ("gate", "gate", as_is),
        ("subject", "subject", as_is),
        ("baseline", "baseline", as_is),
        ("outcome", "outcome", word),
        ("checks", "checks", each(thing(lambda: GateCheck))),
        ("evaluations", "evaluations", each(as_is)),
        ("position", "position", whole),
        ("recorded_at", "recordedAt", instant),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "judgment": "text",
        "gate": "text",
        "subject": "text",
        "baseline": "text",
        "outcome": "text",
        "position": "whole",
        "recorded_at": "instant",
    }


@dataclass(frozen=True)
class GateCheck(Read):
    """One condition of a gate."""

    condition: str
    """As written: format_validity >= 0.8."""
    outcome: GateOutcome
    """Whether it holds."""
    observed: float | None
    """What was measured."""
    threshold: float | None
    """What it was held against."""
    n: int | None
    """Number of samples."""
    standard_error: float | None
    """Standard error of what was measured."""
    detail: str
    """In words: what was compared and what was missing."""

    SELECTION: ClassVar[str] = "condition outcome observed threshold n standardError detail"
    READERS: ClassVar[Readers] = (
        ("condition", "condition", as_is),
        ("outcome", "outcome", word),
        ("observed", "observed", maybe(real)),
        ("threshold", "threshold", maybe(real)),
        ("n", "n", maybe(whole)),
        ("standard_error", "standardError", maybe(real)),
        ("detail", "detail", as_is),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "condition": "text",
        "outcome": "text",
        "observed": "real",
        "threshold": "real",
        "n": "whole",
        "standard_error": "real",
        "detail": "text",
    }


@dataclass(frozen=True)
class Impact(Read):
    """Everything that something went into."""

    position: int | None
    """The position that this is as of; null where nothing was recorded by then."""
    starts: int
    """Those of the things asked for that an event says something was made of, or that were made of something; the
    others went into nothing.
    """
    counts: tuple[LineageCount, ...]
    """How many things of each kind were reached, without those it began at."""
    total: int
    """All of them."""
    truncated: bool
    """Whether anything lies beyond the depth."""

    SELECTION: ClassVar[str] = "position starts counts { kind count } total truncated"
    READERS: ClassVar[Readers] = (
        ("position", "position", maybe(whole)),
        ("starts", "starts", whole),
        ("counts", "counts", each(thing(lambda: LineageCount))),
        ("total", "total", whole),
        ("truncated", "truncated", as_is),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "position": "whole",
        "starts": "whole",
        "total": "whole",
        "truncated": "truth",
    }


@dataclass(frozen=True)
class KnownPath(Read):
    """A path that filters and orders may name."""

    path: str
    """Such as config.optimizer.lr."""
    numbers: int
    """Entities with a number there."""
    others: int
    """Entities with a text or a truth value there."""

    SELECTION: ClassVar[str] = "path numbers others"
    READERS: ClassVar[Readers] = (
        ("path", "path", as_is),
        ("numbers", "numbers", whole),
        ("others", "others", whole),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "path": "text",
        "numbers": "whole",
        "others": "whole",
    }


@dataclass(frozen=True)
class Lineage(Read):
    """Part of the lineage graph."""

    nodes: tuple[LineageNode, ...]
    """Things in the order of the walk: by depth, and of one thing's neighbours documents last."""
    edges: tuple[LineageEdge, ...]
    """Links between these things that the walk came along, in order of position."""
    truncated: bool
    """Whether anything was left out for depth or size."""

    SELECTION: ClassVar[str] = (
        "nodes { ref kind depth leftOut { kind count } } edges { from to through eventType position } truncated"
    )
    READERS: ClassVar[Readers] = (
        ("nodes", "nodes", each(thing(lambda: LineageNode))),
        ("edges", "edges", each(thing(lambda: LineageEdge))),
        ("truncated", "truncated", as_is),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "truncated": "truth",
    }


@dataclass(frozen=True)
class LineageCount(Read):
    """Things of one kind, counted."""

    kind: str
    """document, run, dataset, …"""
    count: int
    """How many."""

    SELECTION: ClassVar[str] = "kind count"
    READERS: ClassVar[Readers] = (
        ("kind", "kind", as_is),
        ("count", "count", whole),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "kind": "text",
        "count": "whole",
    }


@dataclass(frozen=True)
class LineageEdge(Read):
    """Something was used to produce something."""

    from_: str
    """What was used."""
    to: str
    """What it went into."""
    through: int
    """Things of kinds that were not asked for which lie between the two; 0 where none does."""
    event_type: str
    """Type of the first event that says so; of the last hop, where things lie between."""
    position: int
    """Position of that event."""

    SELECTION: ClassVar[str] = "from to through eventType position"
    READERS: ClassVar[Readers] = (
        ("from_", "from", as_is),
        ("to", "to", as_is),
        ("through", "through", whole),
        ("event_type", "eventType", as_is),
        ("position", "position", whole),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "from_": "text",
        "to": "text",
        "through": "whole",
        "event_type": "text",
        "position": "whole",
    }


@dataclass(frozen=True)
class LineageNeighbour(Read):
    """A thing that is directly linked."""

    ref: str
    """What it is."""
    kind: str
    """dataset, model, run, document, evaluation, judgment, deployment or artifact."""

    SELECTION: ClassVar[str] = "ref kind"
    READERS: ClassVar[Readers] = (
        ("ref", "ref", as_is),
        ("kind", "kind", as_is),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "ref": "text",
        "kind": "text",
    }


@dataclass(frozen=True)
class LineageNeighbours(Read):
    """What a thing is directly linked to, one way."""

    total: int
    """How many there are, of the kind asked for."""

    SELECTION: ClassVar[str] = "total"
    READERS: ClassVar[Readers] = (("total", "total", whole),)
    TYPES: ClassVar[ColumnTypes] = {
        "total": "whole",
    }


@dataclass(frozen=True)
class LineageNode(Read):
    """A thing in the graph."""

    ref: str
    """What it is."""
    kind: str
    """dataset, model, run, document, evaluation, judgment, deployment or artifact."""
    depth: int
    """Edges between it and where the walk began, by the shortest way."""
    left_out: tuple[LineageCount, ...]
    """Neighbours in the direction of the walk that a limit left out: `neighbours` pages through them. Not counted
    where kinds were named.
    """

    SELECTION: ClassVar[str] = "ref kind depth leftOut { kind count }"
    READERS: ClassVar[Readers] = (
        ("ref", "ref", as_is),
        ("kind", "kind", as_is),
        ("depth", "depth", whole),
        ("left_out", "leftOut", each(thing(lambda: LineageCount))),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "ref": "text",
        "kind": "text",
        "depth": "whole",
    }


@dataclass(frozen=True)
class Log(Read):
    """The log: how long it is, and what an outsider needs to check it."""

    size: int
    """Number of events."""
    head: int | None
    """Position of the last event; null while there is none."""
    checkpoint: str | None
    """The signed checkpoint (C2SP tlog-checkpoint) of everything that is durable now; null while there is no event."""
    verifier_key: str | None
    """The public key that signs checkpoints, as a C2SP verifier key: name+id+key. Get it by another way than this
    server before you trust it.
    """
    chain_head: str | None
    """The BLAKE3 chain over all frames up to the head, in hexadecimal; null while there is no event."""

    SELECTION: ClassVar[str] = "size head checkpoint verifierKey chainHead"
    READERS: ClassVar[Readers] = (
        ("size", "size", whole),
        ("head", "head", maybe(whole)),
        ("checkpoint", "checkpoint", as_is),
        ("verifier_key", "verifierKey", as_is),
        ("chain_head", "chainHead", as_is),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "size": "whole",
        "head": "whole",
        "checkpoint": "text",
        "verifier_key": "text",
        "chain_head": "text",
    }


@dataclass(frozen=True)
class Matrix(Read):
    """A page of the grid of subjects and tasks."""

    columns: tuple[MatrixColumn, ...]
    """What was measured, in order of suite, task, metric and slice; the same on all pages."""
    rows: tuple[MatrixRow, ...]
    """The rows of this page."""
    total: int
    """Rows of the whole grid."""

    SELECTION: ClassVar[str] = (
        "columns { suite task metric slice comparable } rows { subject step cells { state result { rank subject "
        "step suite task slice metric value n standardError unit higherIsBetter evaluation dataset run "
        "protocolDigest position recordedAt occurredAt superseded { by reason position recordedAt } } failure { "
        "evaluation subject suite task error position recordedAt } } cursor } total"
    )
    READERS: ClassVar[Readers] = (
        ("columns", "columns", each(thing(lambda: MatrixColumn))),
        ("rows", "rows", each(thing(lambda: MatrixRow))),
        ("total", "total", whole),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "total": "whole",
    }


@dataclass(frozen=True)
class MatrixCell(Read):
    """What is known of a subject in a column."""

    state: CellState
    """Which of the others is set."""
    result: Standing | None
    """The latest result that counts; where it is superseded, the one that was."""
    failure: FailedEvaluation | None
    """The evaluation that failed."""

    SELECTION: ClassVar[str] = (
        "state result { rank subject step suite task slice metric value n standardError unit higherIsBetter "
        "evaluation dataset run protocolDigest position recordedAt occurredAt superseded { by reason position "
        "recordedAt } } failure { evaluation subject suite task error position recordedAt }"
    )
    READERS: ClassVar[Readers] = (
        ("state", "state", word),
        ("result", "result", maybe(thing(lambda: Standing))),
        ("failure", "failure", maybe(thing(lambda: FailedEvaluation))),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "state": "text",
    }


@dataclass(frozen=True)
class MatrixColumn(Read):
    """A metric of a task."""

    suite: str
    """The suite that the task belongs to."""
    task: str
    """The task."""
    metric: str | None
    """The metric; null where nothing is known of the task but that its evaluations failed."""
    slice: str | None
    """all, or the name of a part; null where the metric is."""
    comparable: bool
    """Whether the values on this page are of one protocol. Unlike ones are shown beside each other, not compared."""

    SELECTION: ClassVar[str] = "suite task metric slice comparable"
    READERS: ClassVar[Readers] = (
        ("suite", "suite", as_is),
        ("task", "task", as_is),
        ("metric", "metric", as_is),
        ("slice", "slice", as_is),
        ("comparable", "comparable", as_is),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "suite": "text",
        "task": "text",
        "metric": "text",
        "slice": "text",
        "comparable": "truth",
    }


@dataclass(frozen=True)
class MatrixRow(Read):
    """A subject, or one checkpoint of it."""

    subject: str
    """What was measured, or was to be."""
    step: int | None
    """The checkpoint's step, where rows are steps."""
    cells: tuple[MatrixCell, ...]
    """A cell for each column, in their order."""
    cursor: str
    """Where this row stands: pass it as `after`."""

    SELECTION: ClassVar[str] = (
        "subject step cells { state result { rank subject step suite task slice metric value n standardError unit "
        "higherIsBetter evaluation dataset run protocolDigest position recordedAt occurredAt superseded { by "
        "reason position recordedAt } } failure { evaluation subject suite task error position recordedAt } } "
        "cursor"
    )
    READERS: ClassVar[Readers] = (
        ("subject", "subject", as_is),
        ("step", "step", maybe(whole)),
        ("cells", "cells", each(thing(lambda: MatrixCell))),
        ("cursor", "cursor", as_is),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "subject": "text",
        "step": "whole",
        "cursor": "text",
    }


@dataclass(frozen=True)
class Measure(Read):
    """One metric of one evaluation."""

    name: str
    """exact_match, f1, perplexity, …"""
    value: float
    """What was measured."""
    n: int
    """Number of samples it is over."""
    standard_error: float | None
    """Standard error of the value, where one is defined."""
    higher_is_better: bool
    """Whether more is better."""
    unit: str | None
    """Unit, where the value is not a pure number."""

    SELECTION: ClassVar[str] = "name value n standardError higherIsBetter unit"
    READERS: ClassVar[Readers] = (
        ("name", "name", as_is),
        ("value", "value", real),
        ("n", "n", whole),
        ("standard_error", "standardError", maybe(real)),
        ("higher_is_better", "higherIsBetter", as_is),
        ("unit", "unit", as_is),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "name": "text",
        "value": "real",
        "n": "whole",
        "standard_error": "real",
        "higher_is_better": "truth",
        "unit": "text",
    }


@dataclass(frozen=True)
class MetricChange(Read):
    """A metric that differs, or that only one of two runs has."""

    metric: str
    """Its name."""
    before: MetricFigure | None
    """In the first run; null where it has none."""
    after: MetricFigure | None
    """In the second run; null where it has none."""

    SELECTION: ClassVar[str] = "metric before { points lastStep last min max } after { points lastStep last min max }"
    READERS: ClassVar[Readers] = (
        ("metric", "metric", as_is),
        ("before", "before", maybe(thing(lambda: MetricFigure))),
        ("after", "after", maybe(thing(lambda: MetricFigure))),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "metric": "text",
    }


@dataclass(frozen=True)
class MetricFigure(Read):
    """A metric as a run's points have it."""

    points: int
    """Points that count."""
    last_step: int
    """The step of the last one."""
    last: float
    """Its value."""
    min: float
    """The least value."""
    max: float
    """The greatest value."""

    SELECTION: ClassVar[str] = "points lastStep last min max"
    READERS: ClassVar[Readers] = (
        ("points", "points", whole),
        ("last_step", "lastStep", whole),
        ("last", "last", real),
        ("min", "min", real),
        ("max", "max", real),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "points": "whole",
        "last_step": "whole",
        "last": "real",
        "min": "real",
        "max": "real",
    }


@dataclass(frozen=True, repr=False)
class ModelFields(Read):
    """A version of a model."""

    ref: str
    """Its name everywhere."""
    name: str
    """For people: project/name, a job's name, a document's URI."""
    state: str
    """Where it stands: running, completed, failed, cancelled (runs); building, committed, withdrawn (datasets);
    registered (models); created, active, retired (deployments); ingested, removed (documents), or named where a
    dataset names one that was not ingested; completed, failed, superseded (evaluations).
    """
    project: str
    """The project it belongs to."""
    created_at: datetime
    """When the ledger first heard of it."""
    created_position: int
    """Position of the first event about it."""
    updated_at: datetime
    """When the last event about it was recorded."""
    updated_position: int
    """Position of the last event about it."""
    owner: str | None
    """Who answers for it, as people said by annotations."""
    tags: Any
    """What people said of it by name: an object."""
    parameters: int | None
    """Number of its parameters."""
    architecture: Any
    """Architecture and sizes."""
    weights: str | None
    """The artifact with its weights."""
    weights_digest: str | None
    """BLAKE3 of its weights."""
    tokenizer: str | None
    """The artifact with its tokenizer."""
    aliases: tuple[str, ...]
    """Aliases that it carries now."""
    metadata: Any
    """Anything else that was registered with it."""

    SELECTION: ClassVar[str] = (
        "ref name state project createdAt createdPosition updatedAt updatedPosition owner tags parameters "
        "architecture weights weightsDigest tokenizer aliases metadata"
    )
    READERS: ClassVar[Readers] = (
        ("ref", "ref", as_is),
        ("name", "name", as_is),
        ("state", "state", as_is),
        ("project", "project", as_is),
        ("created_at", "createdAt", instant),
        ("created_position", "createdPosition", whole),
        ("updated_at", "updatedAt", instant),
        ("updated_position", "updatedPosition", whole),
        ("owner", "owner", as_is),
        ("tags", "tags", as_is),
        ("parameters", "parameters", maybe(whole)),
        ("architecture", "architecture", as_is),
        ("weights", "weights", as_is),
        ("weights_digest", "weightsDigest", as_is),
        ("tokenizer", "tokenizer", as_is),
        ("aliases", "aliases", each(as_is)),
        ("metadata", "metadata", as_is),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "ref": "text",
        "name": "text",
        "state": "text",
        "project": "text",
        "created_at": "instant",
        "created_position": "whole",
        "updated_at": "instant",
        "updated_position": "whole",
        "owner": "text",
        "tags": "json",
        "parameters": "whole",
        "architecture": "json",
        "weights": "text",
        "weights_digest": "text",
        "tokenizer": "text",
        "metadata": "json",
    }


@dataclass(frozen=True)
class Note(Read):
    """Something that was noted of a thing."""

    note: str
    """What was noted."""
    position: int
    """Position of the event that says so."""
    recorded_at: datetime
    """When that was recorded."""

    SELECTION: ClassVar[str] = "note position recordedAt"
    READERS: ClassVar[Readers] = (
        ("note", "note", as_is),
        ("position", "position", whole),
        ("recorded_at", "recordedAt", instant),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "note": "text",
        "position": "whole",
        "recorded_at": "instant",
    }


@dataclass(frozen=True)
class Path(Read):
    """A shortest way between two things."""

    relation: Relation
    """How the first is connected with the last."""
    steps: tuple[PathStep, ...]
    """From the one to the other."""

    SELECTION: ClassVar[str] = "relation steps { from to isAlong said { eventType first last events } }"
    READERS: ClassVar[Readers] = (
        ("relation", "relation", word),
        ("steps", "steps", each(thing(lambda: PathStep))),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "relation": "text",
    }


@dataclass(frozen=True)
class PathStep(Read):
    """A hop of a path."""

    from_: str
    """What was used."""
    to: str
    """What it went into."""
    is_along: bool
    """Whether the path goes from what was used to what it went into."""
    said: tuple[Saying, ...]
    """The events that say so, by type, in order of the first."""

    SELECTION: ClassVar[str] = "from to isAlong said { eventType first last events }"
    READERS: ClassVar[Readers] = (
        ("from_", "from", as_is),
        ("to", "to", as_is),
        ("is_along", "isAlong", as_is),
        ("said", "said", each(thing(lambda: Saying))),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "from_": "text",
        "to": "text",
        "is_along": "truth",
    }


@dataclass(frozen=True)
class Projection(Read):
    """A view that follows the log."""

    name: str
    """curves, evals, catalog or lineage."""
    version: int
    """Version of its rows: a store of another version is rebuilt."""
    engine: str
    """What its rows lie in: sled, fjall or memory."""
    watermark: int | None
    """The last position it covers; null where it covers none."""
    lag: int
    """Events of the log that it does not cover yet."""
    state: ProjectionState
    """What it does now."""
    answers: bool
    """Whether questions to it are answered: not while its first store is still being filled."""
    rebuild_done: int | None
    """Events that the store being filled holds; null where none is."""
    rebuild_total: int | None
    """Events that the store being filled will hold; null where none is."""
    stopped_position: int | None
    """Position of the event that it cannot apply; null where it goes on."""
    error: str | None
    """Why it cannot apply that event; null where it goes on."""

    SELECTION: ClassVar[str] = (
        "name version engine watermark lag state answers rebuildDone rebuildTotal stoppedPosition error"
    )
    READERS: ClassVar[Readers] = (
        ("name", "name", as_is),
        ("version", "version", whole),
        ("engine", "engine", as_is),
        ("watermark", "watermark", maybe(whole)),
        ("lag", "lag", whole),
        ("state", "state", word),
        ("answers", "answers", as_is),
        ("rebuild_done", "rebuildDone", maybe(whole)),
        ("rebuild_total", "rebuildTotal", maybe(whole)),
        ("stopped_position", "stoppedPosition", maybe(whole)),
        ("error", "error", as_is),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "name": "text",
        "version": "whole",
        "engine": "text",
        "watermark": "whole",
        "lag": "whole",
        "state": "text",
        "answers": "truth",
        "rebuild_done": "whole",
        "rebuild_total": "whole",
        "stopped_position": "whole",
        "error": "text",
    }


@dataclass(frozen=True)
class ProtocolDifference(Read):
    """A field that is not the same in the protocols of the results."""

    field: str
    """suite, slice, dataset, or a path of the protocol such as protocol.how.max_new_tokens."""
    values: tuple[str | None, ...]
    """What each of them has, as JSON, in their order; null where it has none."""

    SELECTION: ClassVar[str] = "field values"
    READERS: ClassVar[Readers] = (
        ("field", "field", as_is),
        ("values", "values", each(as_is)),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "field": "text",
    }


@dataclass(frozen=True)
class ProvenanceGap(Read):
    """Something without which the run cannot be run again."""

    what: str
    """code, config, environment, data, input, parent, result, start."""
    why: str
    """What is wrong with it."""
    fix: str
    """What would have to be recorded or restored."""

    SELECTION: ClassVar[str] = "what why fix"
    READERS: ClassVar[Readers] = (
        ("what", "what", as_is),
        ("why", "why", as_is),
        ("fix", "fix", as_is),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "what": "text",
        "why": "text",
        "fix": "text",
    }


@dataclass(frozen=True)
class ProvenancePart(Read):
    """Something that is recorded of a run."""

    what: str
    """code, config, environment, seed, inputs stored, result, …"""
    value: str
    """In a few words."""

    SELECTION: ClassVar[str] = "what value"
    READERS: ClassVar[Readers] = (
        ("what", "what", as_is),
        ("value", "value", as_is),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "what": "text",
        "value": "text",
    }


@dataclass(frozen=True)
class Reproducible(Read):
    """Whether a run can be run again from what is recorded."""

    complete: bool
    """Whether nothing is missing."""
    by: RunBy
    """Whose program ran it."""
    manner: ReproductionManner | None
    """How `cairn reproduce` goes about it; null where another program must run it."""
    recorded: tuple[ProvenancePart, ...]
    """What is recorded."""
    missing: tuple[ProvenanceGap, ...]
    """What is missing."""

    SELECTION: ClassVar[str] = "complete by manner recorded { what value } missing { what why fix }"
    READERS: ClassVar[Readers] = (
        ("complete", "complete", as_is),
        ("by", "by", word),
        ("manner", "manner", maybe(word)),
        ("recorded", "recorded", each(thing(lambda: ProvenancePart))),
        ("missing", "missing", each(thing(lambda: ProvenanceGap))),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "complete": "truth",
        "by": "text",
        "manner": "text",
    }


@dataclass(frozen=True, repr=False)
class RunFields(Read):
    """An execution: a processor's job, a training, or both under one id."""

    ref: str
    """Its name everywhere."""
    name: str
    """For people: project/name, a job's name, a document's URI."""
    state: str
    """Where it stands: running, completed, failed, cancelled (runs); building, committed, withdrawn (datasets);
    registered (models); created, active, retired (deployments); ingested, removed (documents), or named where a
    dataset names one that was not ingested; completed, failed, superseded (evaluations).
    """
    project: str
    """The project it belongs to."""
    created_at: datetime
    """When the ledger first heard of it."""
    created_position: int
    """Position of the first event about it."""
    updated_at: datetime
    """When the last event about it was recorded."""
    updated_position: int
    """Position of the last event about it."""
    owner: str | None
    """Who answers for it, as people said by annotations."""
    tags: Any
    """What people said of it by name: an object."""
    id: str
    """Its id: a UUID."""
    kind: str
    """ingest, dataset, tokenizer, train, evaluate, judge, gate or deploy."""
    method: str | None
    """pretrain, sft, …, where it is a training."""
    attempt: int | None
    """The latest attempt, from 1."""
    error: str | None
    """Why it failed or was cancelled."""
    config: Any
    """Its settings: of the training as resolved, else of the job as given."""
    environment: Any
    """Library, device, threads and instruction sets of a training."""
    code: Any
    """Name, version and digest of the program of a training."""
    summary: Any
    """Figures that the job gave at its end."""
    progress: Any
    """The latest step with its metrics."""
    inputs: tuple[str, ...]
    """What the job's inputs resolved to."""
    outputs: tuple[str, ...]
    """What the job made."""

    SELECTION: ClassVar[str] = (
        "ref name state project createdAt createdPosition updatedAt updatedPosition owner tags id kind method "
        "attempt error config environment code summary progress inputs outputs"
    )
    READERS: ClassVar[Readers] = (
        ("ref", "ref", as_is),
        ("name", "name", as_is),
        ("state", "state", as_is),
        ("project", "project", as_is),
        ("created_at", "createdAt", instant),
        ("created_position", "createdPosition", whole),
        ("updated_at", "updatedAt", instant),
        ("updated_position", "updatedPosition", whole),
        ("owner", "owner", as_is),
        ("tags", "tags", as_is),
        ("id", "id", as_is),
        ("kind", "kind", as_is),
        ("method", "method", as_is),
        ("attempt", "attempt", maybe(whole)),
        ("error", "error", as_is),
        ("config", "config", as_is),
        ("environment", "environment", as_is),
        ("code", "code", as_is),
        ("summary", "summary", as_is),
        ("progress", "progress", as_is),
        ("inputs", "inputs", each(as_is)),
        ("outputs", "outputs", each(as_is)),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "ref": "text",
        "name": "text",
        "state": "text",
        "project": "text",
        "created_at": "instant",
        "created_position": "whole",
        "updated_at": "instant",
        "updated_position": "whole",
        "owner": "text",
        "tags": "json",
        "id": "text",
        "kind": "text",
        "method": "text",
        "attempt": "whole",
        "error": "text",
        "config": "json",
        "environment": "json",
        "code": "json",
        "summary": "json",
        "progress": "json",
    }


@dataclass(frozen=True)
class RunDiff(Read):
    """How two runs differ. A list without entries says that they are equal there."""

    position: int | None
    """The position that this is as of."""
    same_work: bool
    """Whether code, config, environment and data are the same: what was measured does not count."""
    facts: tuple[ValueChange, ...]
    """Kind, method, state, parent, seed, tokenizer, …"""
    code: tuple[ValueChange, ...]
    """Program, version, digest."""
    environment: tuple[ValueChange, ...]
    """Library, device, threads."""
    metrics_equal: int
    """How many metrics are equal in both."""
    datasets_before: tuple[str, ...]
    """Dataset versions that the first run used, or else made."""
    datasets_after: tuple[str, ...]
    """Dataset versions that the second run used, or else made."""
    inputs_removed: tuple[str, ...]
    """What only the first run used, besides datasets."""
    inputs_added: tuple[str, ...]
    """What only the second run used, besides datasets."""
    documents: DocumentsDiff
    """Documents of the two runs' datasets, or of the runs where they ingest."""

    SELECTION: ClassVar[str] = (
        "position sameWork facts { path change before after } code { path change before after } environment { path"
        " change before after } metricsEqual datasetsBefore datasetsAfter inputsRemoved inputsAdded documents { "
        "added removed kept }"
    )
    READERS: ClassVar[Readers] = (
        ("position", "position", maybe(whole)),
        ("same_work", "sameWork", as_is),
        ("facts", "facts", each(thing(lambda: ValueChange))),
        ("code", "code", each(thing(lambda: ValueChange))),
        ("environment", "environment", each(thing(lambda: ValueChange))),
        ("metrics_equal", "metricsEqual", whole),
        ("datasets_before", "datasetsBefore", each(as_is)),
        ("datasets_after", "datasetsAfter", each(as_is)),
        ("inputs_removed", "inputsRemoved", each(as_is)),
        ("inputs_added", "inputsAdded", each(as_is)),
        ("documents", "documents", thing(lambda: DocumentsDiff)),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "position": "whole",
        "same_work": "truth",
        "metrics_equal": "whole",
    }


@dataclass(frozen=True)
class RunMetric(Read):
    """What a run has of a metric."""

    name: str
    """Its name."""
    points: int
    """How many points count."""
    first_step: int
    """The step of the first one."""
    last: CurvePoint
    """The last one."""
    min: float | None
    """The least value that is a number; null where none is."""
    max: float | None
    """The greatest value that is a number; null where none is."""

    SELECTION: ClassVar[str] = "name points firstStep last { x value step tokens time attempt position } min max"
    READERS: ClassVar[Readers] = (
        ("name", "name", as_is),
        ("points", "points", whole),
        ("first_step", "firstStep", whole),
        ("last", "last", thing(lambda: CurvePoint)),
        ("min", "min", maybe(real)),
        ("max", "max", maybe(real)),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "name": "text",
        "points": "whole",
        "first_step": "whole",
        "min": "real",
        "max": "real",
    }


@dataclass(frozen=True)
class Saying(Read):
    """Events of one type that say that something was used to produce something."""

    event_type: str
    """Their type."""
    first: int
    """Position of the first."""
    last: int
    """Position of the last."""
    events: int
    """How many there are."""

    SELECTION: ClassVar[str] = "eventType first last events"
    READERS: ClassVar[Readers] = (
        ("event_type", "eventType", as_is),
        ("first", "first", whole),
        ("last", "last", whole),
        ("events", "events", whole),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "event_type": "text",
        "first": "whole",
        "last": "whole",
        "events": "whole",
    }


@dataclass(frozen=True)
class Split(Read):
    """A part of a version."""

    name: str
    """train, validation, test, …"""
    rows: int
    """Number of rows."""
    digest: str
    """BLAKE3 of the rows in order."""
    shards: tuple[str, ...]
    """The artifacts that hold the rows."""

    SELECTION: ClassVar[str] = "name rows digest shards"
    READERS: ClassVar[Readers] = (
        ("name", "name", as_is),
        ("rows", "rows", whole),
        ("digest", "digest", as_is),
        ("shards", "shards", each(as_is)),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "name": "text",
        "rows": "whole",
        "digest": "text",
    }


@dataclass(frozen=True)
class Standing(Read):
    """A result of a subject on a metric of a task."""

    rank: int | None
    """On a leaderboard, its rank among the results that it is comparable with: of its suite, slice and protocol.
    Equal values share it. Null elsewhere.
    """
    subject: str
    """What was measured: a model or a run."""
    step: int | None
    """The checkpoint's step, where the subject is a run."""
    suite: str
    """The suite that the task belongs to."""
    task: str
    """The task."""
    slice: str
    """The part of the task's samples: `all`, or a name."""
    metric: str
    """The metric."""
    value: float
    """What was measured."""
    n: int
    """Number of samples it is over."""
    standard_error: float | None
    """Standard error of the value, where one is defined."""
    unit: str | None
    """Unit, where the value is not a pure number."""
    higher_is_better: bool
    """Whether more is better."""
    evaluation: str
    """The evaluation that measured it."""
    dataset: str | None
    """The dataset that it was measured on."""
    run: str | None
    """The run that measured it."""
    protocol_digest: str
    """Results are comparable where this BLAKE3 is equal."""
    position: int
    """Position of the event that recorded it."""
    recorded_at: datetime
    """When the ledger recorded it: what `asOf` means."""
    occurred_at: datetime
    """When it was measured, as its producer says."""
    superseded: Supersession | None
    """Set where the evaluation is no longer to be relied on; in an answer about the past, where that was known
    then.
    """

    SELECTION: ClassVar[str] = (
        "rank subject step suite task slice metric value n standardError unit higherIsBetter evaluation dataset "
        "run protocolDigest position recordedAt occurredAt superseded { by reason position recordedAt }"
    )
    READERS: ClassVar[Readers] = (
        ("rank", "rank", maybe(whole)),
        ("subject", "subject", as_is),
        ("step", "step", maybe(whole)),
        ("suite", "suite", as_is),
        ("task", "task", as_is),
        ("slice", "slice", as_is),
        ("metric", "metric", as_is),
        ("value", "value", real),
        ("n", "n", whole),
        ("standard_error", "standardError", maybe(real)),
        ("unit", "unit", as_is),
        ("higher_is_better", "higherIsBetter", as_is),
        ("evaluation", "evaluation", as_is),
        ("dataset", "dataset", as_is),
        ("run", "run", as_is),
        ("protocol_digest", "protocolDigest", as_is),
        ("position", "position", whole),
        ("recorded_at", "recordedAt", instant),
        ("occurred_at", "occurredAt", instant),
        ("superseded", "superseded", maybe(thing(lambda: Supersession))),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "rank": "whole",
        "subject": "text",
        "step": "whole",
        "suite": "text",
        "task": "text",
        "slice": "text",
        "metric": "text",
        "value": "real",
        "n": "whole",
        "standard_error": "real",
        "unit": "text",
        "higher_is_better": "truth",
        "evaluation": "text",
        "dataset": "text",
        "run": "text",
        "protocol_digest": "text",
        "position": "whole",
        "recorded_at": "instant",
        "occurred_at": "instant",
    }


@dataclass(frozen=True)
class Supersession(Read):
    """That an evaluation is no longer to be relied on."""

    by: str | None
    """The evaluation that takes its place."""
    reason: str
    """Why."""
    position: int
    """Position of the event that says so."""
    recorded_at: datetime
    """When that was recorded."""

    SELECTION: ClassVar[str] = "by reason position recordedAt"
    READERS: ClassVar[Readers] = (
        ("by", "by", as_is),
        ("reason", "reason", as_is),
        ("position", "position", whole),
        ("recorded_at", "recordedAt", instant),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "by": "text",
        "reason": "text",
        "position": "whole",
        "recorded_at": "instant",
    }


@dataclass(frozen=True)
class Tally(Read):
    """Verdicts of one judge on one criterion of a subject; superseded judgments are not counted."""

    criterion: str
    """What was judged upon."""
    judge_kind: str
    """human, rule or llm."""
    judge: str
    """Name and version of the judge."""
    passed: int
    """Verdicts in favour."""
    failed: int
    """Verdicts against."""
    unscored: int
    """Where the judge could give no verdict."""
    pass_rate: float | None
    """Passed among those with a verdict; null where there is none."""

    SELECTION: ClassVar[str] = "criterion judgeKind judge passed failed unscored passRate"
    READERS: ClassVar[Readers] = (
        ("criterion", "criterion", as_is),
        ("judge_kind", "judgeKind", as_is),
        ("judge", "judge", as_is),
        ("passed", "passed", whole),
        ("failed", "failed", whole),
        ("unscored", "unscored", whole),
        ("pass_rate", "passRate", maybe(real)),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "criterion": "text",
        "judge_kind": "text",
        "judge": "text",
        "passed": "whole",
        "failed": "whole",
        "unscored": "whole",
        "pass_rate": "real",
    }


@dataclass(frozen=True)
class Task(Read):
    """A metric of a task that results exist for."""

    suite: str
    """The suite."""
    task: str
    """The task: what `leaderboard` takes."""
    metric: str
    """The metric: what `leaderboard` takes."""
    slice: str
    """`all`, or the name of a part."""
    higher_is_better: bool
    """Whether more is better."""
    unit: str | None
    """Unit, where values are not pure numbers."""
    results: int
    """Results recorded, superseded ones among them."""

    SELECTION: ClassVar[str] = "suite task metric slice higherIsBetter unit results"
    READERS: ClassVar[Readers] = (
        ("suite", "suite", as_is),
        ("task", "task", as_is),
        ("metric", "metric", as_is),
        ("slice", "slice", as_is),
        ("higher_is_better", "higherIsBetter", as_is),
        ("unit", "unit", as_is),
        ("results", "results", whole),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "suite": "text",
        "task": "text",
        "metric": "text",
        "slice": "text",
        "higher_is_better": "truth",
        "unit": "text",
        "results": "whole",
    }


@dataclass(frozen=True)
class Touched(Read):
    """Something that was reached."""

    ref: str
    """What it is."""
    kind: str
    """dataset, model, run, document, evaluation, judgment, deployment or artifact."""
    depth: int
    """Edges from the nearest thing where it began; a commit's runs are 1 away from it."""

    SELECTION: ClassVar[str] = "ref kind depth"
    READERS: ClassVar[Readers] = (
        ("ref", "ref", as_is),
        ("kind", "kind", as_is),
        ("depth", "depth", whole),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "ref": "text",
        "kind": "text",
        "depth": "whole",
    }


@dataclass(frozen=True)
class UnplacedRun(Read):
    """A run that has no place on an axis."""

    run: str
    """The run's id."""
    why: str
    """What is not known."""

    SELECTION: ClassVar[str] = "run why"
    READERS: ClassVar[Readers] = (
        ("run", "run", as_is),
        ("why", "why", as_is),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "run": "text",
        "why": "text",
    }


@dataclass(frozen=True)
class ValueChange(Read):
    """One place where two runs differ."""

    path: str
    """Where: names joined by dots, elements of lists in brackets."""
    change: ValueChangeKind
    """Which of the two runs has a value there."""
    before: Any
    """The first run's value; null where it is that, or has none."""
    after: Any
    """The second run's value; null where it is that, or has none."""

    SELECTION: ClassVar[str] = "path change before after"
    READERS: ClassVar[Readers] = (
        ("path", "path", as_is),
        ("change", "change", word),
        ("before", "before", as_is),
        ("after", "after", as_is),
    )
    TYPES: ClassVar[ColumnTypes] = {
        "path": "text",
        "change": "text",
        "before": "json",
        "after": "json",
    }


ARGUMENTS: dict[str, dict[str, str]] = {
    "coverage": {
        "asOf": "AsOf",
        "atLeast": "Position",
    },
    "log": {},
    "projections": {},
    "event": {
        "position": "Position!",
    },
    "events": {
        "first": "Int",
        "after": "String",
        "last": "Int",
        "before": "String",
        "types": "[String!]",
        "stream": "String",
        "project": "String",
    },
    "run": {
        "id": "String!",
        "asOf": "AsOf",
        "atLeast": "Position",
    },
    "runs": {
        "first": "Int",
        "after": "String",
        "newestFirst": "Boolean!",
        "filter": "String",
        "orderBy": "String",
        "kind": "String",
        "state": "String",
        "project": "String",
        "asOf": "AsOf",
        "atLeast": "Position",
    },
    "dataset": {
        "ref": "String!",
        "asOf": "AsOf",
        "atLeast": "Position",
    },
    "datasets": {
        "first": "Int",
        "after": "String",
        "newestFirst": "Boolean!",
        "filter": "String",
        "orderBy": "String",
        "state": "String",
        "project": "String",
        "asOf": "AsOf",
        "atLeast": "Position",
    },
    "model": {
        "ref": "String!",
        "asOf": "AsOf",
        "atLeast": "Position",
    },
    "models": {
        "first": "Int",
        "after": "String",
        "newestFirst": "Boolean!",
        "filter": "String",
        "orderBy": "String",
        "project": "String",
        "asOf": "AsOf",
        "atLeast": "Position",
    },
    "aliasHistory": {
        "model": "String!",
        "alias": "String!",
        "asOf": "AsOf",
        "atLeast": "Position",
    },
    "deployment": {
        "name": "String!",
        "asOf": "AsOf",
        "atLeast": "Position",
    },
    "deployments": {
        "first": "Int",
        "after": "String",
        "newestFirst": "Boolean!",
        "filter": "String",
        "orderBy": "String",
        "state": "String",
        "asOf": "AsOf",
        "atLeast": "Position",
    },
    "document": {
        "ref": "String!",
        "asOf": "AsOf",
        "atLeast": "Position",
    },
    "evaluation": {
        "ref": "String!",
        "asOf": "AsOf",
        "atLeast": "Position",
    },
    "evaluations": {
        "first": "Int",
        "after": "String",
        "newestFirst": "Boolean!",
        "filter": "String",
        "orderBy": "String",
        "state": "String",
        "project": "String",
        "asOf": "AsOf",
        "atLeast": "Position",
    },
    "entity": {
        "ref": "String!",
        "asOf": "AsOf",
        "atLeast": "Position",
    },
    "entities": {
        "kind": "String!",
        "first": "Int",
        "after": "String",
        "newestFirst": "Boolean!",
        "filter": "String",
        "orderBy": "String",
        "asOf": "AsOf",
        "atLeast": "Position",
    },
    "count": {
        "kind": "String!",
        "filter": "String",
        "asOf": "AsOf",
        "atLeast": "Position",
    },
    "paths": {
        "kind": "String!",
        "atLeast": "Position",
    },
    "curves": {
        "runs": "[String!]",
        "filter": "String",
        "metrics": "[String!]!",
        "x": "Axis!",
        "from": "Float",
        "to": "Float",
        "points": "Int",
        "smoothing": "SmoothingInput",
        "resample": "Int",
        "ancestors": "Boolean!",
        "asOf": "AsOf",
        "atLeast": "Position",
    },
    "aggregateCurves": {
        "runs": "[String!]",
        "filter": "String",
        "metric": "String!",
        "x": "Axis!",
        "from": "Float",
        "to": "Float",
        "points": "Int",
        "smoothing": "SmoothingInput",
        "quantiles": "[Float!]",
        "ancestors": "Boolean!",
        "groupBy": "String",
        "asOf": "AsOf",
        "atLeast": "Position",
    },
    "leaderboard": {
        "task": "String!",
        "metric": "String!",
        "where": "ResultFilter",
        "asOf": "AsOf",
        "validAt": "Timestamp",
        "first": "Int",
        "after": "String",
        "atLeast": "Position",
    },
    "best": {
        "task": "String!",
        "metric": "String!",
        "where": "ResultFilter",
        "asOf": "AsOf",
        "validAt": "Timestamp",
        "atLeast": "Position",
    },
    "results": {
        "task": "String",
        "metric": "String",
        "where": "ResultFilter",
        "asOf": "AsOf",
        "validAt": "Timestamp",
        "first": "Int",
        "after": "String",
        "atLeast": "Position",
    },
    "matrix": {
        "subjects": "[Ref!]",
        "task": "String",
        "metric": "String",
        "where": "ResultFilter",
        "byStep": "Boolean!",
        "asOf": "AsOf",
        "validAt": "Timestamp",
        "first": "Int",
        "after": "String",
        "atLeast": "Position",
    },
    "compareEvaluations": {
        "subjects": "[String!]!",
        "task": "String!",
        "metric": "String",
        "where": "ResultFilter",
        "sideBySide": "Boolean!",
        "confidence": "Real!",
        "resamples": "Int!",
        "seed": "Long!",
        "samples": "Int!",
        "asOf": "AsOf",
        "validAt": "Timestamp",
        "atLeast": "Position",
    },
    "tasks": {
        "asOf": "AsOf",
        "validAt": "Timestamp",
        "atLeast": "Position",
    },
    "lineage": {
        "of": "Ref!",
        "direction": "Direction!",
        "depth": "Int",
        "limit": "Int",
        "fanOut": "Int",
        "kinds": "[LineageKind!]",
        "asOf": "AsOf",
        "atLeast": "Position",
    },
    "neighbours": {
        "of": "Ref!",
        "direction": "Direction!",
        "kind": "LineageKind",
        "first": "Int",
        "after": "String",
        "asOf": "AsOf",
        "atLeast": "Position",
    },
    "impact": {
        "of": "[Ref!]",
        "commit": "String",
        "dataSubject": "String",
        "kinds": "[LineageKind!]",
        "depth": "Int",
        "first": "Int",
        "after": "String",
        "asOf": "AsOf",
        "atLeast": "Position",
    },
    "path": {
        "from": "Ref!",
        "to": "Ref!",
        "related": "Boolean!",
        "asOf": "AsOf",
        "atLeast": "Position",
    },
    "diffRuns": {
        "before": "String!",
        "after": "String!",
        "asOf": "AsOf",
        "atLeast": "Position",
    },
    "diffDocuments": {
        "from": "[Ref!]!",
        "to": "[Ref!]!",
        "first": "Int",
        "after": "String",
        "asOf": "AsOf",
        "atLeast": "Position",
    },
    "Dataset.lineage": {
        "direction": "Direction!",
        "depth": "Int",
        "limit": "Int",
        "fanOut": "Int",
        "kinds": "[LineageKind!]",
        "asOf": "AsOf",
    },
    "Dataset.documents": {
        "first": "Int",
        "after": "String",
    },
    "Deployment.lineage": {
        "direction": "Direction!",
        "depth": "Int",
        "limit": "Int",
        "fanOut": "Int",
        "kinds": "[LineageKind!]",
        "asOf": "AsOf",
    },
    "Deployment.history": {
        "asOf": "AsOf",
    },
    "Document.lineage": {
        "direction": "Direction!",
        "depth": "Int",
        "limit": "Int",
        "fanOut": "Int",
        "kinds": "[LineageKind!]",
        "asOf": "AsOf",
    },
    "Evaluation.lineage": {
        "direction": "Direction!",
        "depth": "Int",
        "limit": "Int",
        "fanOut": "Int",
        "kinds": "[LineageKind!]",
        "asOf": "AsOf",
    },
    "Model.lineage": {
        "direction": "Direction!",
        "depth": "Int",
        "limit": "Int",
        "fanOut": "Int",
        "kinds": "[LineageKind!]",
        "asOf": "AsOf",
    },
    "Model.results": {
        "asOf": "AsOf",
        "validAt": "Timestamp",
    },
    "Model.judgments": {
        "asOf": "AsOf",
    },
    "Model.gates": {
        "asOf": "AsOf",
    },
    "Run.lineage": {
        "direction": "Direction!",
        "depth": "Int",
        "limit": "Int",
        "fanOut": "Int",
        "kinds": "[LineageKind!]",
        "asOf": "AsOf",
    },
    "Run.checkpoints": {
        "asOf": "AsOf",
    },
    "Run.metrics": {
        "asOf": "AsOf",
    },
    "Run.metricSummaries": {
        "asOf": "AsOf",
    },
    "Run.curves": {
        "metrics": "[String!]!",
        "x": "Axis!",
        "points": "Int",
        "smoothing": "SmoothingInput",
        "ancestors": "Boolean!",
        "asOf": "AsOf",
    },
    "Run.results": {
        "asOf": "AsOf",
        "validAt": "Timestamp",
    },
    "Run.gates": {
        "asOf": "AsOf",
    },
    "Run.reproducible": {
        "asOf": "AsOf",
    },
}
"""The GraphQL type of each argument that a question takes."""
