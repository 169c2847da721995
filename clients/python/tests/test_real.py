"""The same on what others published: the OLMo ladder, OLMo 2 7B, and DataDecide's list."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

import cairn
from cairn.frames import to_rows

DATA = Path(__file__).resolve().parents[3] / "tests" / "data"
LOSS = "eval/c4_en-validation/CrossEntropyLoss"


@pytest.fixture(scope="module")
def real(real_url: str) -> Iterator[cairn.Client]:
    with cairn.Client(real_url) as asking:
        yield asking.using(at_least=asking.log().head)


def test_the_ladders_curves_are_its_files(real: cairn.Client) -> None:
    runs = real.runs("project = 'ladder'", order_by="name")
    assert len(runs) == 8
    rows = to_rows(runs.curves(LOSS, x="tokens", points=5000, to="columns"))
    every = to_rows(runs.curves(LOSS, x="tokens", points=None, to="columns"))
    for name in ("190M-1xC", "370M-10xC"):
        with open(DATA / "olmo" / "ladder" / f"{name}.csv", newline="", encoding="utf-8") as file:
            wanted = [(float(row["throughput/total_tokens"]), float(row[LOSS])) for row in csv.DictReader(file)]
        for found in (rows, every):
            assert sorted((row["x"], row["value"]) for row in found if row["name"] == name) == wanted


def test_models_are_selected_by_recipe_size_and_seed(real: cairn.Client) -> None:
    assert len(real.runs("project = 'datadecide'")) == 1103
    chosen = real.select(recipe="dolma17", size="150M", step_range=(0, 10_000))
    assert 1 <= len(chosen) <= 3
    assert {run.get("config.recipe") for run in chosen} == {"dolma17"}
    checkpoints = to_rows(chosen.checkpoints("columns"))
    assert checkpoints
    assert all(row["step"] <= 10_000 for row in checkpoints)
    assert len(to_rows(real.select(recipe="dolma17", size="150M").checkpoints("columns"))) > len(checkpoints)


def test_all_checkpoints_are_there(real: cairn.Client) -> None:
    lines = (DATA / "datadecide" / "weka_paths.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1103
    assert real.runs("project = 'datadecide'").checkpoints("columns").height == 31_491


def test_stage_two_is_paired_with_the_run_whose_checkpoint_it_loaded(real: cairn.Client) -> None:
    pairs = real.pairs("pretrain", "midtrain").all()
    assert sorted(pair.later.name for pair in pairs) == [
        "OLMo2-7B-stage2-seed42",
        "OLMo2-7B-stage2-seed42069",
        "OLMo2-7B-stage2-seed666",
    ]
    assert {pair.earlier.name for pair in pairs} == {"OLMo2-7B-stage1"}
    way = real.explain(pairs[0].earlier, pairs[0].later)
    assert way is not None
    assert way.relation == "went_into"
    diff = real.diff(pairs[0].later, pairs[1].later)
    assert {change.path for change in diff.config} >= {"seed"}


def test_results_are_asked_as_which_was_best(real: cairn.Client) -> None:
    board = real.leaderboard("hellaswag_rc_5shot", "accuracy_length_normalized").all()
    assert len(board) == 8
    assert [result.rank for result in board] == sorted(result.rank or 0 for result in board)
    assert real.run(board[0].subject).name == "370M-10xC"


def test_a_notebook_of_every_kind_shows_something(real: cairn.Client) -> None:
    for shown in (real.runs(), real.evals(), real.matrix(task="hellaswag*"), real.pairs("pretrain", "midtrain")):
        assert "<table>" in shown._repr_html_()
