"""What needs no server: filters, tables, and the examples in the docstrings."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from datetime import date, datetime, timezone

import pytest

import cairn
from cairn import filters
from cairn._tables import dig
from cairn._wire import is_read
from cairn.errors import InvalidArgument, MissingDependency
from cairn.frames import Columns, chosen, needed

NEW_YEAR = datetime(2026, 1, 1, tzinfo=timezone.utc)


def test_the_examples_in_the_docstrings_are_right() -> None:
    for module in pkgutil.walk_packages(cairn.__path__, "cairn."):
        found = doctest.testmod(importlib.import_module(module.name))
        assert found.failed == 0, module.name


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"recipe": "web"}, "config.recipe = 'web'"),
        ({"seed": range(3)}, "seed BETWEEN 0 AND 2"),
        ({"seed": range(0, 9, 3)}, "seed IN (0, 3, 6)"),
        ({"size": ["1M", "2M"]}, "config.size IN ('1M', '2M')"),
        ({"size": {"2M", "1M"}}, "config.size IN ('1M', '2M')"),
        (
            {"created_at": slice(NEW_YEAR, None)},
            "created_at >= '2026-01-01T00:00:00Z'",
        ),
        ({"lr": slice(None, 1e-3)}, "config.lr <= 0.001"),
        ({"lr": slice(None, None)}, "config.lr IS NOT NULL"),
        ({"owner": None}, "owner IS NULL"),
        ({"tied": True}, "config.tied = true"),
        ({"name": 'it\'s "x"'}, "name = 'it''s \"x\"'"),
        ({"tags": {"team": "search"}}, "tags.team = 'search'"),
        ({"config": {"odd key": 1}}, "`config.odd key` = 1"),
        ({"config": {"optimizer": {"a.b": 3}}}, "config.optimizer.a.b = 3"),
        ({"created_at": date(2026, 1, 1)}, "created_at = '2026-01-01T00:00:00Z'"),
        ({"metrics.eval/wiki": slice(0, 3)}, "metrics.eval/wiki BETWEEN 0 AND 3"),
        ({"recipe": "a", "seed": 1}, "(config.recipe = 'a') AND (seed = 1)"),
        ({}, None),
    ],
)
def test_values_become_filters(fields: dict[str, object], wanted: str | None) -> None:
    assert filters.selecting(fields) == wanted


def test_values_that_mean_nothing_are_refused() -> None:
    for wanted in ([], range(0), slice(1, 2, 3), object(), datetime(2026, 1, 1), [None]):
        with pytest.raises(InvalidArgument):
            filters.compare("seed", wanted)
    with pytest.raises(InvalidArgument, match="a path is empty"):
        filters.path("")
    with pytest.raises(InvalidArgument, match="no time zone"):
        filters.as_of(datetime(2026, 1, 1))
    assert filters.as_of(date(2026, 1, 1)) == filters.instant_of(date(2026, 1, 1)) == "2026-01-01T00:00:00Z"
    for given in (True, 1.5, ["2026"], object()):
        with pytest.raises(InvalidArgument, match="no past state"):
            filters.as_of(given)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="no time"):
        filters.instant_of(5)  # type: ignore[arg-type]


def test_any_of_and_all_of_keep_their_parts_together() -> None:
    assert filters.any_of("a = 1", "b = 2 AND c = 3") == "(a = 1) OR (b = 2 AND c = 3)"
    assert filters.any_of("a = 1") == "a = 1"
    assert filters.all_of(None, " ", "a = 1") == "a = 1"
    with pytest.raises(InvalidArgument):
        filters.any_of()


def test_columns_show_themselves() -> None:
    table = Columns({"name": ["<b>", "b"], "loss": [1.23456789, None]})
    assert repr(table) == "name  loss\n<b>   1.23457\nb     –"
    assert "<td>&lt;b&gt;</td>" in table._repr_html_()
    assert "2 rows" in table._repr_html_()
    assert repr(Columns({"a": []})) == "a\n(no rows)"
    assert repr(Columns({"a": list(range(100))})).endswith("… and 90 more rows")
    assert list(table.rows()) == [{"name": "<b>", "loss": 1.23456789}, {"name": "b", "loss": None}]
    with pytest.raises(InvalidArgument, match="unlike lengths"):
        Columns({"a": [1], "b": []})


def test_settings_are_found_by_path() -> None:
    config = {"optimizer": {"lr": 0.1, "a.b": 2}, "optimizer.lr": 0.2, "layers": [{"width": 3}]}
    assert dig(config, "optimizer.lr") == 0.2
    assert dig(config, "optimizer.a.b") == 2
    assert dig(config, "layers.0.width") == 3
    assert dig(config, "layers.1.width") is None
    assert dig(config, "none.at.all") is None


def test_a_document_is_known_to_change_nothing_or_not() -> None:
    assert is_read("query mutation { log { size } }") is False
    assert is_read('{ event(stream: "mutation { x }") { type } }')
    assert is_read('query Q($a: String = "{") { log { mutation } }')
    assert not is_read('fragment F on Run { id } mutation M { promote(deployment: "}") { position } }')


def test_a_missing_package_is_named_with_how_to_get_it() -> None:
    with pytest.raises(MissingDependency, match=r"pip install 'cairn\[polars\]'") as caught:
        needed("no_such_package", "polars")
    assert isinstance(caught.value, ImportError)
    with pytest.raises(InvalidArgument, match="pandas, polars, arrow and columns"):
        chosen("excel")
