"""Drawings of curves by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ._tables import LABELS
from .errors import InvalidArgument
from .frames import Frame, at_seconds, needed, to_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw", "draw_mean"]


def draw(
    frame: Frame,
    *,
    x: str = "step",
    by: str | Sequence[str] = ("name", "metric"),
    ax: Axes | None = None,
    log_x: bool = False,
    log_y: bool = False,
) -> Axes:
    """Draws curves from a frame that `curves` gave: a line for each value of the columns `by`.

    `x` says what the frame's column `x` holds, for the label. Points that are no numbers leave gaps. With `ax` the
    lines are added to a drawing that is there.
    """
    pyplot = needed("matplotlib.pyplot", "plot")
    drawing: Axes = ax if ax is not None else pyplot.subplots()[1]
    lines = _lines(to_rows(frame), [by] if isinstance(by, str) else list(by))
    for label, (xs, ys) in lines.items():
        places: Any = [at_seconds(value) for value in xs] if x == "time" else xs
        drawing.plot(places, ys, label=label, linewidth=1.2)
    metrics = sorted({str(row["metric"]) for row in to_rows(frame)})
    _finish(drawing, LABELS.get(x, x), metrics, log_x, log_y)
    return drawing


def draw_mean(
    frame: Frame, *, x: str = "step", ax: Axes | None = None, log_x: bool = False, log_y: bool = False
) -> Axes:
    """Draws a frame that `aggregate` gave: the mean of each group, in a band from the least to the greatest value."""
    pyplot = needed("matplotlib.pyplot", "plot")
    drawing: Axes = ax if ax is not None else pyplot.subplots()[1]
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in to_rows(frame):
        groups.setdefault(str(row["group"] or "all"), []).append(row)
    for group, rows in groups.items():
        places: Any = [at_seconds(row["x"]) if x == "time" else row["x"] for row in rows]
        label = f"{group} (n = {max(row['n'] for row in rows)})"
        (line,) = drawing.plot(places, [row["mean"] for row in rows], label=label)
        low, high = [row["min"] for row in rows], [row["max"] for row in rows]
        drawing.fill_between(places, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    metrics = sorted({str(row["metric"]) for rows in groups.values() for row in rows})
    _finish(drawing, LABELS.get(x, x), metrics, log_x, log_y)
    return drawing


def _finish(drawing: Axes, x: str, metrics: Sequence[str], log_x: bool, log_y: bool) -> None:
    drawing.set_xlabel(x)
    drawing.set_ylabel(metrics[0] if len(metrics) == 1 else "value")
    if log_x:
        drawing.set_xscale("log")
    if log_y:
        drawing.set_yscale("log")
    if drawing.get_legend_handles_labels()[1]:
        drawing.legend(fontsize="small")


def _lines(rows: Sequence[dict[str, Any]], by: Sequence[str]) -> dict[str, tuple[list[Any], list[Any]]]:
    if rows and not set(by) <= set(rows[0]):
        raise InvalidArgument(f"lines by {', '.join(by)}: the frame has the columns {', '.join(rows[0])}")
    # What is the same everywhere tells no line from another.
    telling = [column for column in by if len({str(row[column]) for row in rows}) > 1] or list(by)[:1]
    runs: dict[str, set[str]] = {}
    for row in rows:
        runs.setdefault(_label(row, telling), set()).add(str(row.get("run")))
    lines: dict[str, tuple[list[Any], list[Any]]] = {}
    for row in rows:
        label = _label(row, telling)
        if len(runs[label]) > 1:
            # Runs of one name are lines of their own.
            label = f"{label} ({str(row['run'])[-6:]})"
        xs, ys = lines.setdefault(label, ([], []))
        xs.append(row["x"])
        ys.append(row["value"])
    return lines


def _label(row: dict[str, Any], by: Sequence[str]) -> str:
    return ", ".join(str(row[column]) for column in by)
