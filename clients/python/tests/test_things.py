"""Runs and other things: lists, pages, fields, and what is not there."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

import cairn
import seed as s
from cairn.errors import InvalidArgument, NotFound


def test_a_run_has_typed_fields(client: cairn.Client) -> None:
    run = client.run(s.BASE)
    assert (run.name, run.state, run.method, run.id) == ("base", "completed", "pretrain", s.BASE)
    assert run.ref == f"run:{s.BASE}"
    assert isinstance(run.created_at, datetime)
    assert run.created_at.tzinfo == timezone.utc
    assert run.get("config.optimizer.lr") == 3e-4
    assert run.get("config.layers.1") == 2
    assert run.get("config.optimizer.absent", 7) == 7
    assert "base (completed)" in repr(run)
    assert "<table>" in run._repr_html_()
    assert client.run(run.ref) == run
    assert len({run, client.run(s.BASE), client.run(s.TUNED)}) == 2
    with pytest.raises(InvalidArgument, match="has no `confg`"):
        run.get("confg.lr")


def test_runs_are_gone_through_in_pages(client: cairn.Client) -> None:
    runs = client.runs()
    names = {run.name for run in runs}
    assert {"base", "tuned", "preferred", "base-sft"} <= names
    assert len(runs) == len(list(runs)) == len(runs.refs()) == len(names)
    assert runs.coverage is not None
    pages = list(runs._pages("ref", 2))
    assert [len(page) for page in pages[:-1]] == [2] * (len(pages) - 1)
    assert [node["ref"] for page in pages for node in page] == runs.refs()
    assert [run.ref for run in runs[:3]] == runs.refs()[:3]
    assert runs[1].ref == runs.refs()[1]
    assert runs[-1].ref == runs.refs()[-1]
    assert runs.limit(2).refs() == runs.refs()[:2]
    assert len(runs.limit(2)) == 2
    with pytest.raises(IndexError):
        runs[10_000]
    with pytest.raises(InvalidArgument, match="whole number from 1"):
        runs.limit(0)


def test_what_is_not_there_is_named(client: cairn.Client) -> None:
    with pytest.raises(NotFound, match="no run `run:019a0000-0000-7000-8000-ffffffffffff`"):
        client.run("019a0000-0000-7000-8000-ffffffffffff")
    with pytest.raises(cairn.CairnError):
        client.run("not a run")
    with pytest.raises(NotFound):
        client.model("model://lab/none@1")


def test_a_run_leads_to_what_belongs_to_it(client: cairn.Client) -> None:
    tuned = client.run(s.TUNED)
    parent = tuned.parent()
    assert parent is not None
    assert parent.id == s.BASE
    assert parent.parent() is None
    assert [checkpoint.step for checkpoint in parent.checkpoints()] == [20, 40]
    assert [model.ref for model in parent.models()] == [s.BASE_MODEL]
    model = client.model(s.BASE_MODEL)
    run = model.run()
    assert run is not None
    assert run.id == s.BASE
    assert [(result.metric, result.value) for result in model.results()] == [("exact_match", 0.25)]
    assert s.BASE in str(tuned.attributes())
    assert tuned.gates() == []


def test_lineage_is_walked(client: cairn.Client) -> None:
    lineage = client.lineage(s.TUNED_MODEL, "up")
    assert lineage.nodes[0].ref == s.TUNED_MODEL
    assert f"run:{s.BASE}" in lineage
    assert s.CORPUS in lineage.refs("dataset")
    assert {edge.to for edge in lineage.edges} >= {s.TUNED_MODEL}
    assert len(lineage) == len(lineage.nodes) > 3
    assert "things" in repr(lineage)
    assert str(lineage).startswith(s.TUNED_MODEL)
    assert "<table>" in lineage._repr_html_()
    assert f"run:{s.PREFERRED}" in client.run(s.BASE).lineage("down")
    short = client.lineage(s.TUNED_MODEL, depth=1)
    assert short.truncated
    assert not len(client.lineage("run:019a0000-0000-7000-8000-ffffffffffff"))
    with pytest.raises(InvalidArgument, match="one of up, down, both"):
        client.lineage(s.TUNED_MODEL, "sideways")
    with pytest.raises(cairn.CairnError, match="ref"):
        client.lineage("nonsense")


def test_events_are_read_in_order(client: cairn.Client) -> None:
    events = list(client.events("cairn.evaluation.*"))
    assert [event.type.split(".")[2] for event in events] == ["completed", "completed", "superseded", "completed"]
    assert [event.position for event in events] == sorted(event.position for event in events)
    later = list(client.events("cairn.evaluation.*", after=events[1].cursor))
    assert [event.position for event in later] == [event.position for event in events[2:]]
    assert events[0].data["task"] == "answers"
    assert len(list(client.events())) == client.log().size


def test_the_state_of_the_server_is_told(client: cairn.Client) -> None:
    log = client.log()
    assert log.head == log.size
    assert log.checkpoint is not None
    coverage = client.coverage(at_least=log.head)
    assert coverage.position is not None
    assert coverage.position >= (log.head or 0)
    assert {projection.name for projection in client.projections()} == {"curves", "evals", "catalog", "lineage"}
    assert client.query("query Q($n: Position!) { event(position: $n) { type } }", n=1)["event"]["type"]
