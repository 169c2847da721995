"""Runs and other things: lists, pages, fields, and what is not there."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

import cairn
import seed as s
from cairn.errors import BadRequest, InvalidArgument, NotFound


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
    serving = client.deployment("helper").model()
    assert serving is not None
    assert serving.ref == s.BASE_MODEL
    assert [deployment.name for deployment in client.deployments()] == ["helper"]
    history = client.deployment("helper").history()
    assert [(change.type, change.model) for change in history] == [("created", None), ("promoted", s.BASE_MODEL)]
    assert history[0].position < history[1].position
    assert client.evaluation(f"eval:{s.run_id(101)}").task == "answers"
    assert len(client.evaluations()) > 3
    assert len(client.datasets()) == 0
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
    with pytest.raises(NotFound, match="nothing is called"):
        client.lineage("run:019a0000-0000-7000-8000-ffffffffffff")
    with pytest.raises(InvalidArgument, match="one of up, down, both"):
        client.lineage(s.TUNED_MODEL, "sideways")
    with pytest.raises(cairn.CairnError, match="ref"):
        client.lineage("nonsense")


def test_events_are_read_in_order(client: cairn.Client) -> None:
    events = list(client.events("cairn.evaluation.*"))
    kinds = [event.type.split(".")[2] for event in events if "sample_scored" not in event.type]
    assert kinds == ["completed", "completed", "superseded", *["completed"] * 4, "failed"]
    assert [event.position for event in events] == sorted(event.position for event in events)
    later = list(client.events("cairn.evaluation.*", after=events[1].cursor))
    assert [event.position for event in later] == [event.position for event in events[2:]]
    assert events[0].data["task"] == "answers"
    assert len(list(client.events())) == client.log().size


def test_the_state_of_the_server_is_told(client: cairn.Client) -> None:
    log = client.log()
    assert log.head == log.size
    assert log.checkpoint is not None
    assert "\u2014 " in client.checkpoint()
    assert client.proof(1).startswith("c2sp.org/tlog-proof@v1")
    with pytest.raises(cairn.CairnError, match="nobody"):
        client.using(tenant="nobody").checkpoint()
    coverage = client.coverage(at_least=log.head)
    assert coverage.position is not None
    assert coverage.position >= (log.head or 0)
    assert {projection.name for projection in client.projections()} == {"curves", "evals", "catalog", "lineage"}
    assert client.query("query Q($n: Position!) { event(position: $n) { type } }", n=1)["event"]["type"]


def test_runs_are_found_by_a_filter_and_put_in_order(client: cairn.Client) -> None:
    low = client.runs("config.optimizer.lr < 1e-3", order_by="config.optimizer.lr")
    assert [run.name for run in low] == ["tuned", "base"]
    assert len(low) == 2
    assert [run.name for run in low.order_by("-config.optimizer.lr")] == ["base", "tuned"]
    assert [run.name for run in low.where(method="sft")] == ["tuned"]
    assert [run.name for run in low.where("seed = 1")] == ["base"]
    first = client.runs(order_by=["-seed", "name"]).first()
    assert first is not None
    assert first.name == "base-sft"
    assert client.runs("name = 'nothing is called so'").first() is None
    assert not client.runs("name = 'nothing is called so'")
    assert "where config.optimizer.lr < 1e-3, by config.optimizer.lr" in repr(low)
    assert "2 rows" in low._repr_html_()


def test_select_quotes_what_it_is_given(client: cairn.Client) -> None:
    assert [run.name for run in client.select(recipe="web")] == ["base"]
    code = client.select(recipe="code", size=["150M", "300M"], seed=range(2, 4)).order_by("seed")
    assert [run.id for run in code] == s.SEEDS[1:]
    assert [run.id for run in client.select(name='it\'s "broken"')] == [s.FAILED]
    assert [run.id for run in client.select(config={"odd key.with dot": 1})] == [s.FAILED]
    assert {run.id for run in client.select(method="pretrain", parent=None)} == {s.BASE, s.FAILED, *s.SEEDS}
    assert [run.id for run in client.select(config={"optimizer": {"lr": 3e-4, "name": "adamw"}})] == [s.BASE]
    with pytest.raises(InvalidArgument, match="names no value"):
        client.select(config={"optimizer": {}})
    assert [run.id for run in client.select(where="parent IS NOT NULL", seed=slice(3, None))] == [s.PREFERRED]


def test_a_wrong_filter_is_refused_with_its_place(client: cairn.Client) -> None:
    with pytest.raises(BadRequest) as caught:
        client.runs("seed >= 1 AND AND").all()
    assert "AND" in str(caught.value)
    with pytest.raises(BadRequest, match=r"config\.optimizer"):
        client.runs("config.optimiser.lr < 1").all()
    with pytest.raises(BadRequest):
        client.runs(order_by="no.such.path").all()


def test_runs_become_a_table(client: cairn.Client) -> None:
    table = client.runs(order_by="name").frame("name", "method", "config.optimizer.lr", to="columns")
    assert list(table) == ["name", "method", "config.optimizer.lr"]
    rows = {row["name"]: row for row in table.rows()}
    assert rows["base"]["config.optimizer.lr"] == 3e-4
    assert rows["base-sft"]["config.optimizer.lr"] is None
    assert client.runs().frame(to="columns").height == len(client.runs())
    with pytest.raises(InvalidArgument, match="there is no column `colour`"):
        client.runs().frame("colour", to="columns")


def test_every_path_of_a_filter_is_a_column(client: cairn.Client, seed: s.Seed) -> None:
    wanted = ("name", "seed", "metrics.loss", "parent", "trains", "config.optimizer.lr")
    runs = client.runs("method IS NOT NULL", order_by="seed")
    rows = {row["name"]: row for row in runs.frame(*wanted, to="columns").rows()}
    tuned = rows["tuned"]
    assert (tuned["seed"], tuned["parent"], tuned["trains"]) == (2, f"run:{s.BASE}", True)
    assert (tuned["metrics.loss"], rows["base-sft"]["metrics.loss"]) == (1.0, None)
    # The same values as the server's own table has.
    table = client.read("runs", columns=["seed", "metrics.loss"], filter="method IS NOT NULL", to="columns")
    assert {row["name"]: row["metrics.loss"] for row in table.rows()} == {
        name: row["metrics.loss"] for name, row in rows.items()
    }
    with pytest.raises(InvalidArgument, match="did you mean seed"):
        runs.frame("sead", to="columns")
    measured = client.evaluations("state = 'completed'").frame("task", "metrics.exact_match", to="columns")
    assert 0.5 in measured["metrics.exact_match"]
    before = client.using(as_of=seed.positions["first"]).models().frame("ref", "run", to="columns")
    assert before["run"]


def test_the_past_is_as_it_was(client: cairn.Client, seed: s.Seed) -> None:
    before = client.using(as_of=seed.positions["first"])
    assert {model.ref for model in before.models()} == {s.BASE_MODEL, s.TUNED_MODEL}
    assert s.UNEVALUATED in {model.ref for model in client.models()}
    (base,) = [model for model in before.models() if model.ref == s.BASE_MODEL]
    assert base.aliases == ("production",)
    assert "as of" in repr(before)
    # A date is its first instant: what these tests recorded came later, or it is another day by now.
    today = datetime.now(timezone.utc).date()
    with pytest.raises(BadRequest, match="before the first event"):
        client.using(as_of=today - timedelta(days=1)).models().all()
    with pytest.raises(BadRequest, match="position"):
        client.using(as_of=10_000_000).models().all()


def test_impact_is_counted_and_listed(client: cairn.Client) -> None:
    impact = client.impact(f"run:{s.BASE}")
    assert f"run:{s.TUNED}" in impact
    assert impact.counts["model"] == len(impact.refs("model")) == 3
    assert len(impact) == impact.total == sum(impact.counts.values())
    assert impact.starts == 1
    only = client.run(s.BASE).impact(kinds="model", limit=1)
    assert len(only.things) == 1
    assert only.total == 3
    with pytest.raises(NotFound, match="nothing is called"):
        client.impact("doc:" + "0" * 64)
    with pytest.raises(InvalidArgument, match="one of the three"):
        client.impact()
    with pytest.raises(InvalidArgument, match="kinds='colour'"):
        client.impact(s.BASE_MODEL, kinds="colour")


def test_the_way_between_two_things_is_explained(client: cairn.Client) -> None:
    way = client.explain(f"run:{s.BASE}", s.TUNED_MODEL)
    assert way is not None
    assert way.relation == "went_into"
    assert [(step.from_, step.to) for step in way.steps] == [
        (f"run:{s.BASE}", f"run:{s.TUNED}"),
        (f"run:{s.TUNED}", s.TUNED_MODEL),
    ]
    assert "cairn.model.version_registered.v1" in str(way)
    assert client.explain(f"run:{s.SEEDS[0]}", s.TUNED_MODEL) is None
    assert client.explain(f"run:{s.SEEDS[0]}", s.TUNED_MODEL, related=True) is not None


def test_two_runs_are_compared(client: cairn.Client) -> None:
    diff = client.diff(s.SEEDS[0], s.SEEDS[1])
    assert {change.path for change in diff.facts} >= {"seed"}
    assert diff.config == []
    assert [change.metric for change in diff.metrics] == ["loss"]
    assert diff.documents.added == 0
    lr = [row for row in client.diff(s.BASE, s.TUNED).rows() if row["path"] == "optimizer.lr"]
    assert [(row["part"], row["before"], row["after"]) for row in lr] == [("config", 3e-4, 1e-5)]
    assert "in config" in repr(diff)
    assert client.diff(s.SEEDS[0], s.SEEDS[1]).frame("columns").height == len(list(diff.rows()))


def test_what_is_missing_to_run_a_run_again_is_said(client: cairn.Client) -> None:
    found = client.run(s.BASE).reproducible()
    assert not found.complete
    assert found.by == "outside"
    assert found.missing
    assert all(gap.fix for gap in found.missing)


def test_pairs_are_matched_by_recorded_parents_alone(client: cairn.Client) -> None:
    (pair,) = client.pairs("pretrain", "sft")
    assert (pair.earlier.id, pair.later.id, pair.between) == (s.BASE, s.TUNED, ())
    (far,) = client.pairs("pretrain", "dpo").all()
    assert (far.earlier.id, far.later.id) == (s.BASE, s.PREFERRED)
    assert [run.id for run in far.between] == [s.TUNED]
    assert len(client.pairs("dpo", "pretrain")) == 0
    with pytest.raises(NotFound, match="no run has the method `pretran`; there are dpo, pretrain, sft"):
        client.pairs("pretran", "sft").all()
    assert len(client.pairs(client.runs("seed = 1"), client.runs("method IN ('sft', 'dpo')"))) == 2
    table = client.pairs("pretrain", "sft").frame("columns")
    assert [row["later_name"] for row in table.rows()] == ["tuned"]
    assert "1 rows" in client.pairs("pretrain", "sft")._repr_html_()


def test_anything_is_found_by_its_ref_and_an_alias_by_its_history(client: cairn.Client, seed: s.Seed) -> None:
    entity = client.entity(s.BASE_MODEL)
    assert (entity.kind, entity.name) == ("model", client.model(s.BASE_MODEL).name)
    assert entity.notes() == []
    history = client.alias_history("model://lab/base", "production")
    assert [change.model for change in history] == [s.BASE_MODEL]
    assert client.alias_history("model://lab/base", "production", as_of=1) == []
    assert "config.optimizer.lr" in client.paths()
