"""The Python blocks of README and of docs/python.md run as they stand."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def blocks(name: str) -> list[str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return [
        b for b in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "import metaviz\n" in b
    ]


@pytest.mark.parametrize(("name", "count"), [("README.md", 1), ("docs/python.md", 2)])
def test_blocks_run(name, count, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    found = blocks(name)
    assert len(found) == count
    for block in found:
        exec(block, {})
    assert "[" in capsys.readouterr().out
