"""The examples of the README give what it says they give, on the data that it says they are about."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

import cairn

README = Path(__file__).resolve().parent.parent / "README.md"


def test_every_example_gives_what_the_readme_says(
    real_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for package in ("pandas", "polars", "pyarrow", "matplotlib"):
        pytest.importorskip(package)
    monkeypatch.setenv("CAIRN_URL", real_url)
    monkeypatch.chdir(tmp_path)
    text = README.read_text(encoding="utf-8")
    # Other lines become empty, so that an error names the line of the page.
    kept, inside = [], False
    for line in text.splitlines():
        fence = line.startswith("```")
        inside = line == "```python" if fence else inside
        kept.append(line if inside and not fence else "")
    example = doctest.DocTestParser().get_doctest("\n".join(kept) + "\n", {}, "README.md", str(README), 0)
    assert len(example.examples) > 10
    said: list[str] = []
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, _ = doctest.DocTestRunner(optionflags=options).run(example, out=said.append, clear_globs=False)
    for value in example.globs.values():
        if isinstance(value, cairn.Client):
            value.close()
    assert failed == 0, "".join(said)
    assert re.search(r"savefig\(", text)
