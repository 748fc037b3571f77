"""Runs the command line as a person does, in this process."""

import contextlib
import csv
import io
import sys
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

from metaviz.cli.main import main

TINY = [
    *("--set", "eval_tasks=5", "--set", "eval_steps=2", "--set", "inner_steps=2"),
    *("--set", "meta_batch=3", "--set", "sinusoid.hidden=4"),
]


class Outcome(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    error: str


def metaviz(*arguments: str | Path) -> Outcome:
    """Run one command and return its exit code and what it wrote."""
    out, error = io.StringIO(), io.StringIO()
    code: object = None
    with (
        patch.object(sys, "argv", ["metaviz", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(error),
    ):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    assert isinstance(code, int), f"the command ended without a code: {code!r}"
    return Outcome(code, out.getvalue(), error.getvalue())


def compare(out: Path, *arguments: str | Path, code: int = 0) -> Outcome:
    """Run a tiny comparison on sinusoids."""
    outcome = metaviz("compare", "--device", "cpu", *TINY, "--out", out, *arguments)
    assert outcome.code == code, outcome.error
    return outcome


def refusal(*arguments: str | Path) -> str:
    """Return the one sentence with which a command refuses its arguments."""
    outcome = metaviz(*arguments)
    assert outcome.code == 2, outcome
    assert outcome.out == ""
    assert outcome.error.startswith("metaviz: ")
    assert outcome.error.count("\n") == 1, outcome.error
    assert outcome.error.endswith("\n")
    return outcome.error.removeprefix("metaviz: ").rstrip("\n")


def rows(path: Path) -> list[dict[str, str]]:
    """Read a table."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def header(path: Path) -> str:
    """Return the first line of a file."""
    return path.read_text(encoding="utf-8").partition("\n")[0]


def numbers(folder: Path) -> list[tuple[str, ...]]:
    """Return every number of the two tables but times, memory and the names of runs."""
    left_out = {"run", "seconds", "peak_memory_mb"}
    found = []
    for name in ("metrics.csv", "inner.csv"):
        for row in rows(folder / name):
            found.append(tuple(v for k, v in row.items() if k not in left_out))
    return found
