"""Results: which was best as of when, what is missing, and what is more than chance."""

from __future__ import annotations

from datetime import timedelta

import pytest

import cairn
import seed as s
from cairn.errors import BadRequest, CairnError, InvalidArgument, NotFound
from cairn.frames import to_rows


def test_results_are_listed_without_what_was_superseded(client: cairn.Client) -> None:
    results = client.evals("answers")
    values = [(result.subject, round(result.value, 6)) for result in results]
    seeds = [(f"run:{run}", round(0.1 * at, 6)) for at, run in enumerate(s.SEEDS, start=1)]
    assert values == [(s.BASE_MODEL, 0.25), (s.TUNED_MODEL, 0.5), *seeds]
    assert len(results) == 5
    every = client.evals("answers", superseded=True).all()
    reasons = [result.superseded.reason for result in every if result.superseded]
    assert reasons == ["the key was in the prompt"]
    assert [result.value for result in client.evals(subject=s.TUNED_MODEL)] == [0.5]
    assert len(client.evals(subject="run:*")) == 3
    assert len(client.evals(protocol="22")) == 3
    with pytest.raises(NotFound, match="no such task"):
        client.evals("no such task").all()
    assert len(client.evals(steps=(5, 10))) == 3
    assert "<table>" in results._repr_html_()
    assert results[0].subject == s.BASE_MODEL
    rows = to_rows(client.evals("answers", superseded=True).frame("columns"))
    assert [row["superseded"] for row in rows if row["superseded"]] == ["the key was in the prompt"]
    with pytest.raises(InvalidArgument, match="lower one first"):
        client.evals(steps=(3, 1))


def test_an_answer_about_the_past_never_changes(client: cairn.Client, seed: s.Seed) -> None:
    then = client.evals("answers", as_of=seed.positions["first"]).all()
    assert [(result.subject, result.value) for result in then] == [(s.BASE_MODEL, 0.25), (s.TUNED_MODEL, 0.75)]
    best = client.best("answers", "exact_match", as_of=seed.positions["first"])
    assert [found.standing.value for found in best] == [0.75]
    occurred = s.BEGIN + timedelta(hours=1, minutes=30)
    assert [result.value for result in client.evals("answers", valid_at=occurred)] == [0.25]


def test_the_best_is_told_apart_by_protocol(client: cairn.Client) -> None:
    best = {found.standing.protocol_digest: found for found in client.best("answers", "exact_match")}
    assert best[s.PROTOCOL].standing.subject == s.TUNED_MODEL
    assert best[s.PROTOCOL].among == 2
    assert best[s.OTHER_PROTOCOL].standing.subject == f"run:{s.SEEDS[2]}"
    board = client.leaderboard("answers", "exact_match", protocol="11").all()
    assert [(result.rank, result.subject) for result in board] == [(1, s.TUNED_MODEL), (2, s.BASE_MODEL)]
    assert client.tasks()[0].task == "answers"


def test_what_is_missing_is_shown_as_missing(client: cairn.Client) -> None:
    matrix = client.matrix([s.BASE_MODEL, s.TUNED_MODEL, s.UNEVALUATED])
    names = matrix.names()
    answers = next(name for name in names if name.startswith("answers"))
    poems = next(name for name in names if name.startswith("poems"))
    states = {row["subject"]: row for row in to_rows(matrix.states("columns"))}
    assert states[s.BASE_MODEL][answers] == "value"
    assert states[s.BASE_MODEL][poems] == "failed"
    assert states[s.UNEVALUATED][answers] == "never_evaluated"
    values = {row["subject"]: row for row in to_rows(matrix.frame("columns"))}
    assert values[s.TUNED_MODEL][answers] == 0.5
    assert values[s.UNEVALUATED][answers] is None
    assert (s.UNEVALUATED, answers, "never_evaluated") in matrix.missing()
    assert "failed" in matrix._repr_html_()


def test_two_models_are_compared_sample_by_sample(client: cairn.Client) -> None:
    found = client.compare(s.BASE_MODEL, s.TUNED_MODEL, task="answers")
    assert found.paired == 200
    assert found.method == "mcnemar"
    (pair,) = found.pairs
    assert pair.difference == pytest.approx(0.25)
    assert (pair.higher, pair.lower, pair.ties) == (50, 0, 150)
    assert pair.verdict == "second_is_better"
    assert pair.low is not None
    assert pair.high is not None
    assert 0.0 < pair.low < 0.25 < pair.high
    assert "second is better" in str(found)
    assert to_rows(found.frame("columns"))[0]["second"] == s.TUNED_MODEL
    assert "<table>" in found._repr_html_()
    again = client.compare(s.BASE_MODEL, s.TUNED_MODEL, task="answers", seed=found.seed)
    assert again == found


def test_unlike_protocols_are_refused_by_name(client: cairn.Client) -> None:
    run = f"run:{s.SEEDS[0]}"
    with pytest.raises(CairnError, match="protocol"):
        client.compare(s.BASE_MODEL, run, task="answers")
    beside = client.compare(s.BASE_MODEL, run, task="answers", side_by_side=True)
    assert beside.no_verdict
    assert all(pair.verdict is None for pair in beside.pairs)
    with pytest.raises(CairnError):
        client.compare(s.BASE_MODEL, task="answers")


def test_results_come_in_bulk(client: cairn.Client) -> None:
    rows = to_rows(client.read("evals", task="answers", to="columns"))
    assert len(rows) == 5
    assert {row["metric"] for row in rows} == {"exact_match"}
    with pytest.raises(BadRequest, match="colour"):
        client.read("evals", colour="red")
    found = client.runs("config.recipe = 'code'").results("columns")
    assert sorted(found["subject"]) == sorted(f"run:{run}" for run in s.SEEDS)
    assert client.runs("config.recipe = 'code'").steps(0, 5).results("columns").height == 0
