"""Runs that are older than an option are read with what it says they had without it."""

import re
from pathlib import Path

import pytest

from metaviz.config.run_config import comparison_of
from metaviz.runs.storage.store import ABOUT, open_run
from metaviz.runs.table.groups import grouped
from metaviz.runs.table.summary import entry_of
from metaviz.training.resume import resume_sessions
from metaviz.training.session import repeat_session
from tests.unit.stored import assert_same, config, finish, train


def without(folder: Path, *names: str) -> Path:
    """Make a run one of a version that had no such options."""
    text = (folder / ABOUT).read_text(encoding="utf-8")
    for name in names:
        text, count = re.subn(rf"^{name} = .*\n", "", text, flags=re.MULTILINE)
        assert count == 1
    (folder / ABOUT).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("schedule", ["batched", "serial"])
def test_an_older_run_of_reptile_used_the_outer_optimiser(schedule: str, tmp_path: Path) -> None:
    asked = config("reptile", steps=6, schedule=schedule, update="optimiser")
    old = without(train(asked, tmp_path / "old"), "update")
    record = open_run(old)
    assert record.config["options"]["update"] == "optimiser"
    assert comparison_of(record.config).options["reptile"]["update"] == "optimiser"
    again = finish(repeat_session(old, tmp_path / "again"))
    assert_same(again, old)
    (further,) = resume_sessions([old], 9)
    assert_same(finish(further), train(config("reptile", steps=9, **asked.options), tmp_path))


def test_a_new_serial_run_is_direct_and_says_so(tmp_path: Path) -> None:
    folder = train(config("reptile", schedule="serial"), tmp_path)
    assert open_run(folder).config["options"]["update"] == "direct"
    assert 'update = "direct"' in (folder / ABOUT).read_text(encoding="utf-8")


def test_old_and_new_runs_that_are_alike_are_one_group(tmp_path: Path) -> None:
    def rows(name: str, old: tuple[str, ...], **options: str) -> list:
        asked = config(name, steps=2, **options)
        folders = [without(train(asked, tmp_path), *old), train(asked, tmp_path)]
        return [entry_of(open_run(folder), folder) for folder in folders]

    assert len(grouped(rows("reptile", ("update",)))) == 1
    assert len(grouped(rows("metalstm", ("inputs",)))) == 1
    assert len(grouped(rows("reptile", ("update",), schedule="serial"))) == 2
