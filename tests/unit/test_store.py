"""Runs on disk: fast, readable after a kill, and refused in one sentence where damaged."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from metaviz.runs.export.tables import inner_csv, metrics_csv, summary_csv
from metaviz.runs.model.events import (
    STEP_COLUMNS,
    Ended,
    Evaluated,
    Event,
    Noted,
    Pictured,
    Stepped,
)
from metaviz.runs.storage.store import StoreError, create_run, list_runs, open_run
from tests.unit.command_line import refusal

CONFIG = {
    "algorithm": "maml",
    "problem": "sinusoid",
    "seed": 3,
    "steps": 10,
    "shared": {"inner_lr": 0.1, "clip_norm": None},
    "options": {"memory": "graph"},
    "problem_options": {},
}


def stepped(step: int) -> Stepped:
    """Return a step whose numbers tell it from all others."""
    values: dict[str, float | None] = {c: step + i / 100 for i, c in enumerate(STEP_COLUMNS)}
    values["pre_query_accuracy"] = None
    return Stepped(step, values, np.arange(3.0), np.arange(2.0))


def evaluated(step: int) -> Evaluated:
    """Return an evaluation of two inner steps."""
    names = ("support_loss", "query_loss", "gradient_norm")
    curves = {name: np.array([3.0, 2.0, step + 1.0]) for name in names}
    curves |= {f"{name}_ci95": np.array([0.3, 0.2, 0.1]) for name in names}
    return Evaluated(step, 5, 2, curves, {"query_loss": np.ones(5)})


EVENTS: list[Event] = [
    evaluated(0),
    Pictured(0, {"x": np.arange(4.0)}),
    *(stepped(step) for step in range(1, 11)),
    Noted(4, "warning", "Ünïcode = 漢字"),
    evaluated(10),
    Ended(10, "done", "All is well."),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Store a small run."""
    writer = create_run(tmp_path / "runs", CONFIG, {"python": "3", "command": ["a", "ü"]})
    for event in EVENTS:
        writer.append(event)
    writer.close()
    return writer.folder


def test_store_gives_back_what_it_was_given(folder: Path) -> None:
    record = open_run(folder)
    assert (record.id, record.state, record.message) == (folder.name, "done", "All is well.")
    assert record.config == CONFIG
    assert record.environment == {"python": "3", "command": ["a", "ü"]}
    assert record.column("step").tolist() == list(range(1, 11))
    assert record.column("post_query_loss")[-1] == 10 + STEP_COLUMNS.index("post_query_loss") / 100
    assert np.isnan(record.column("pre_query_accuracy")).all()
    assert [e.step for e in record.evaluations] == [0, 10]
    assert record.evaluations[1].curves["query_loss"].tolist() == [3.0, 2.0, 11.0]
    assert record.pictures[0].arrays["x"].tolist() == [0, 1, 2, 3]
    assert record.notes[0].message == "Ünïcode = 漢字"
    assert record.last_inner is not None
    assert record.last_inner[0].tolist() == [0, 1, 2]


def test_store_has_a_write_ahead_log(folder: Path) -> None:
    with sqlite3.connect(folder / "metrics.db") as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    database.close()


def test_run_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    writer = create_run(tmp_path, CONFIG, {})
    for step in range(1, 151):
        writer.append(stepped(step))
    record = open_run(writer.folder)
    assert record.state == "running"
    assert 100 <= len(record) <= 150
    writer.close()
    assert len(open_run(writer.folder)) == 150


def test_hundred_thousand_rows_store_and_reopen_quickly(tmp_path: Path) -> None:
    writer = create_run(tmp_path, CONFIG, {})
    event = stepped(1)
    began = time.process_time()
    for step in range(1, 100_001):
        writer.append(Stepped(step, event.values, event.inner_support_loss, np.empty(0)))
    writer.append(Ended(100_000, "done"))
    stored = time.process_time()
    record = open_run(writer.folder)
    opened = time.process_time()
    assert len(record) == 100_000
    assert record.step == 100_000
    assert stored - began < 20
    assert opened - stored < 6


def test_kill_loses_no_committed_row(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.unit.test_store import CONFIG, stepped\n"
        "from metaviz.runs.storage.store import create_run\n"
        "writer = create_run(Path(sys.argv[1]), CONFIG, {})\n"
        "for step in range(1, 251): writer.append(stepped(step))\n"
        "print('ready', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            (folder,) = list_runs(tmp_path)
            assert open_run(folder).state == "running"
        finally:
            process.kill()
    assert process.returncode == -signal.SIGKILL
    record = open_run(folder)
    assert record.state == "interrupted"
    assert record.message == "The program ended while this run was training."
    assert len(record) >= 200
    assert record.column("step").tolist() == list(range(1, len(record) + 1))
    assert record.column("seconds").tolist() == list(range(1, len(record) + 1))


@pytest.mark.parametrize(
    ("file", "contents"),
    [
        ("run.toml", b"[run"),
        ("run.toml", b"\xff\xfe"),
        ("run.toml", b""),
        ("run.toml", b"run = 3"),
        ("run.toml", b"[run]\nid = 'x'"),
        ("run.toml", b"[run]\nid='x'\nalgorithm='a'\nproblem='p'\nseed='s'\nsteps=1"),
        ("run.toml", b"[run]\nid='x'\nalgorithm='a'\nproblem='p'\nseed=0\nsteps=1\nshared=[1]"),
        ("run.toml", b"[run]\nid='x'\nalgorithm='a'\nproblem='p'\nseed=0\nsteps=1\n[run.shared]\n"
         b"a=[1]"),
        ("metrics.db", b""),
        ("metrics.db", b"not a database, not at all" * 100),
        ("metrics.db", None),
        ("run.toml", None),
    ],
)  # fmt: skip
def test_damaged_run_is_refused(folder: Path, file: str, contents: bytes | None) -> None:
    if contents is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(contents)
    with pytest.raises(StoreError, match=r"is not a readable run: .*[^.]\.$"):
        open_run(folder)
    if (folder / "run.toml").exists():
        said = refusal("export", folder, "--out", folder / "tables")
        assert said.startswith(f"{folder} is not a readable run: ")
        assert not (folder / "tables").exists()


@pytest.mark.parametrize(
    "change",
    [
        "DROP TABLE steps",
        "DROP TABLE about",
        "UPDATE steps SET post_query_loss = 'x' WHERE step = 3",
        "UPDATE evaluations SET curves = x'00'",
        "UPDATE evaluations SET curves = x''",
        "UPDATE evaluations SET curves = x'504B0304'",
        "UPDATE evaluations SET curves = NULL",
        "UPDATE evaluations SET trained_steps = 9",
        "UPDATE pictures SET arrays = x'504B0304FF'",
        "INSERT OR REPLACE INTO about VALUES ('state', 'running'), ('pid', 'x')",
        "INSERT OR REPLACE INTO about VALUES ('state', 'running'), ('pid', '1' || '000000000000')",
    ],
)
def test_damaged_database_is_refused(folder: Path, change: str) -> None:
    database = sqlite3.connect(folder / "metrics.db")
    database.execute(change)
    database.commit()
    database.close()
    with pytest.raises(StoreError, match="is not a readable run: "):
        open_run(folder)


def test_flipped_bytes_end_in_a_record_or_a_sentence(folder: Path, tmp_path: Path) -> None:
    chance = random.Random(5)
    refused = 0
    for i in range(60):
        copy = tmp_path / f"copy{i}"
        shutil.copytree(folder, copy)
        path = copy / ("metrics.db", "run.toml")[i % 2]
        data = bytearray(path.read_bytes())
        for _ in range(chance.randrange(1, 20)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(data if i % 3 else data[: chance.randrange(len(data))])
        try:
            record = open_run(copy)
        except StoreError as error:
            refused += 1
            assert "\n" not in str(error)
        else:
            assert metrics_csv([record]) + inner_csv([record]) + summary_csv([record])
    assert 10 < refused < 60


def test_list_runs_is_empty_without_folder_and_ignores_other_folders(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "nosuch") == []
    (tmp_path / "notes").mkdir()
    assert list_runs(tmp_path) == []


def test_a_run_that_is_deleted_meanwhile_is_not_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.toml").touch()
    real = Path.stat

    def gone(self: Path, **how: bool) -> os.stat_result:
        if self.parent.name == "one":  # deleted since the folder of runs was read
            raise FileNotFoundError(2, "No such file or directory", str(self))
        return real(self, **how)

    monkeypatch.setattr(Path, "stat", gone)
    assert [folder.name for folder in list_runs(tmp_path)] == ["two"]
