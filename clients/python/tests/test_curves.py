"""Curves: every point where it belongs, no spike lost, in any kind of frame."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import cairn
import seed as s
from cairn.errors import BadRequest, InvalidArgument
from cairn.frames import FrameKind, to_rows


def test_a_curve_is_what_was_logged(client: cairn.Client) -> None:
    table = client.run(s.BASE).curves("loss", x="tokens", to="columns")
    assert isinstance(table, cairn.Columns)
    assert table["step"] == list(range(1, 41))
    assert table["x"] == [1024.0 * step for step in range(1, 41)]
    assert table["tokens"] == [1024 * step for step in range(1, 41)]
    for step, value in zip(table["step"], table["value"]):
        wanted = float(s.base_loss(step))
        assert value == wanted or (math.isnan(value) and math.isnan(wanted))
    assert set(table["metric"]) == {"loss"}
    assert set(table["name"]) == {"base"}
    assert table["time"][0] < table["time"][1]
    assert table.coverage is not None


def test_no_spike_is_lost_in_fewer_points(client: cairn.Client) -> None:
    table = client.run(s.BASE).curves("loss", points=8, to="columns")
    assert len(table["value"]) < 40
    assert 99.0 in table["value"]
    assert any(math.isnan(value) for value in table["value"])


def test_several_metrics_of_several_runs_are_one_frame(client: cairn.Client) -> None:
    rows = to_rows(client.runs().curves("loss", "grad_norm", to="columns"))
    of_base = [row for row in rows if row["run"] == s.BASE]
    assert {row["metric"] for row in of_base} == {"loss", "grad_norm"}
    assert {row["run"] for row in rows} == {s.BASE, s.TUNED, s.PREFERRED, *s.SEEDS}
    listed = to_rows(client.runs().curves(["loss", "grad_norm"], to="columns"))
    assert [(row["run"], row["metric"], row["step"]) for row in listed] == [
        (row["run"], row["metric"], row["step"]) for row in rows
    ]
    every = client.run(s.BASE).curves(["loss", "grad_norm"], points=None, to="columns")
    assert set(every["metric"]) == {"loss", "grad_norm"}
    with pytest.raises(InvalidArgument, match="7 is no name of a metric"):
        client.run(s.BASE).curves(7)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="by one metric"):
        client.runs().aggregate(["loss"])  # type: ignore[arg-type]


def test_what_is_not_there_gives_an_empty_typed_frame(client: cairn.Client) -> None:
    table = client.runs("name = 'base-sft'").curves("loss", to="columns")
    assert table.height == 0
    assert list(table) == ["run", "name", "metric", "x", "value", "step", "tokens", "time", "attempt"]
    with pytest.raises(InvalidArgument, match="name at least one"):
        client.runs().curves()
    with pytest.raises(BadRequest, match="no such metric"):
        client.run(s.BASE).curves("no such metric")
    with pytest.raises(InvalidArgument, match="one of step, "):
        client.run(s.BASE).curves("loss", x="epochs")


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow"])
def test_frames_of_every_kind_hold_the_same(client: cairn.Client, kind: FrameKind) -> None:
    pytest.importorskip("pyarrow" if kind == "arrow" else kind)
    run = client.run(s.BASE)
    made = run.curves("loss", to=kind)
    plain = run.curves("loss", to="columns")
    for row, wanted in zip(to_rows(made), plain.rows()):
        assert row["step"] == wanted["step"]
        assert row["time"] == wanted["time"]
        assert row["value"] == wanted["value"] or math.isnan(wanted["value"])
    empty = client.runs("name = 'base-sft'").curves("loss", to=kind)
    assert len(empty) == 0
    assert list(getattr(empty, "column_names", None) or empty.columns) == list(plain)


def test_checkpoints_are_kept_to_the_steps_asked_for(client: cairn.Client) -> None:
    runs = client.runs()
    assert to_rows(runs.checkpoints(to="columns"))[0]["step"] == 20
    later = to_rows(runs.steps(21, None).checkpoints(to="columns"))
    assert [row["step"] for row in later] == [40]
    assert later[0]["run"] == f"run:{s.BASE}"
    with pytest.raises(InvalidArgument, match="lower one first"):
        runs.steps(5, 2)


def test_curves_are_drawn(client: cairn.Client) -> None:
    pytest.importorskip("matplotlib")
    runs = client.runs()
    axes = runs.plot("loss", x="tokens", log_x=True)
    legend = axes.get_legend()
    assert legend is not None
    labels = [text.get_text() for text in legend.get_texts()]
    assert {"base", "tuned", "code-150M-1"} <= set(labels)
    assert len(axes.get_lines()) == len(labels)
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_xscale()) == ("tokens", "loss", "log")
    before = len(axes.get_lines())
    again = client.run(s.BASE).plot("grad_norm", ax=axes, x="time")
    assert again is axes
    assert len(axes.get_lines()) == before + 1
    with pytest.raises(InvalidArgument, match="the frame has the columns"):
        runs.plot("loss", by="colour")


def test_drawing_without_matplotlib_says_what_to_install(client: cairn.Client) -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        with pytest.raises(cairn.errors.MissingDependency, match=r"cairn\[plot\]"):
            client.run(s.BASE).plot("loss")
    else:
        pytest.skip("matplotlib is installed")


def test_a_fine_tuning_goes_on_where_its_pretraining_ended(client: cairn.Client) -> None:
    table = client.pairs("pretrain", "sft").curves("loss", to="columns")
    rows = list(table.rows())
    base = [row["x"] for row in rows if row["run"] == s.BASE]
    tuned = [row["x"] for row in rows if row["run"] == s.TUNED]
    assert max(base) == 40 * 1024
    assert tuned == [40 * 1024 + step * 512 for step in range(1, 11)]
    whole = client.run(s.TUNED).curves("loss", x="lineage_steps", ancestors=True, to="columns")
    assert whole["x"] == list(range(1, 51))


def test_ranges_smoothing_and_even_places_are_the_servers(client: cairn.Client) -> None:
    run = client.runs(f"ref = 'run:{s.SEEDS[0]}'")
    assert run.curves("loss", start=3, stop=5, to="columns")["step"] == [3, 4, 5]
    assert run.steps(3, 5).curves("loss", to="columns")["step"] == [3, 4, 5]
    assert run.steps(3, 5).curves("loss", x="tokens", to="columns")["step"] == [3, 4, 5]
    means = run.curves("loss", smoothing=2, to="columns")["value"]
    plain = run.curves("loss", to="columns")["value"]
    assert means[1:] == pytest.approx([(a + b) / 2 for a, b in zip(plain, plain[1:])])
    assert run.curves("loss", smoothing=0.0, to="columns")["value"] == pytest.approx(plain)
    assert run.curves("loss", resample=19, to="columns").height == 19
    with pytest.raises(BadRequest):
        run.curves("loss", start=5, stop=3)
    for wrong in (-1, 1.5, True):
        with pytest.raises(InvalidArgument, match="smoothing"):
            run.curves("loss", smoothing=wrong)


def test_seeds_are_taken_together(client: cairn.Client) -> None:
    runs = client.runs("config.recipe = 'code'")
    table = runs.aggregate("loss", by="config.size", quantiles=[0.5], to="columns")
    assert set(table["group"]) == {"150M"}
    assert table["n"] == [3] * 10
    assert table["mean"] == pytest.approx([4.0 - 0.1 * step + 2 for step in range(1, 11)])
    assert table["max"] == pytest.approx([4.0 - 0.1 * step + 3 for step in range(1, 11)])
    assert table["q0.5"] == pytest.approx(table["mean"])


def test_every_point_comes_in_bulk_and_is_the_same(client: cairn.Client) -> None:
    runs = client.runs(f"ref IN ('run:{s.BASE}', 'run:{s.TUNED}')")
    for axis in ("step", "tokens", "time"):
        some, every = (runs.curves("loss", x=axis, points=points, to="columns") for points in (500, None))
        key = ("run", "step")
        rows = [sorted(table.rows(), key=lambda row: tuple(row[k] for k in key)) for table in (some, every)]
        assert len(rows[0]) == len(rows[1]) == 50
        for one, other in zip(*rows):
            assert list(one) == list(other)
            for name in one:
                assert one[name] == other[name] or math.isnan(one[name])
    assert runs.steps(10, 11).curves("loss", points=None, to="columns").height == 3
    with pytest.raises(InvalidArgument, match="need a number of points"):
        runs.curves("loss", points=None, smoothing=0.5)


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow", "columns"])
def test_bulk_reads_become_any_frame(client: cairn.Client, kind: FrameKind) -> None:
    if kind != "columns":
        pytest.importorskip("pyarrow" if kind == "arrow" else kind)
    rows = to_rows(client.read("curves", metrics=["grad_norm"], to=kind))
    assert sorted(row["step"] for row in rows) == list(range(1, 41))
    assert {row["run"] for row in rows} == {s.BASE}


def test_a_download_is_a_whole_file(client: cairn.Client, tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    coverage = client.download("curves.csv", path, metrics=["grad_norm"])
    assert coverage.position is not None
    assert len(path.read_text().splitlines()) == 41
    with pytest.raises(cairn.CairnError):
        client.download("curves.csv", path, colour="red")
    assert [entry.name for entry in tmp_path.iterdir()] == ["curves.csv"]


def test_metrics_are_summed_up(client: cairn.Client) -> None:
    (norm,) = [metric for metric in client.run(s.BASE).metrics() if metric.name == "grad_norm"]
    assert (norm.points, norm.first_step, norm.last.step, norm.max) == (40, 1, 40, 1.0)
    table = client.runs("config.recipe = 'code'").metrics("columns")
    assert table["metric"] == ["loss"] * 3
    assert table["last_step"] == [10] * 3


def test_groups_are_drawn_in_bands(client: cairn.Client) -> None:
    pytest.importorskip("matplotlib")
    axes = client.runs("config.recipe = 'code'").plot_mean("loss", by="config.size")
    (line,) = axes.get_lines()
    assert line.get_label() == "150M (n = 3)"
    assert len(axes.collections) == 1
