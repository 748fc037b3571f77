"""Two folders of one name are never mixed up in the table: one is shown, the other is told."""

import shutil
from pathlib import Path

import pytest

from metaviz.gui.runs import run_reader
from metaviz.gui.runs.run_reader import RunReaderWorker
from tests.unit.stored import config, train


class Heard:
    """A worker without a thread, and all that it emits."""

    def __init__(self) -> None:
        self.worker = RunReaderWorker()
        self.found: list[Path] = []
        self.changed: list[tuple[list[Path], list[str]]] = []
        self.sentences: list[str] = []
        self.worker.found.connect(lambda rows: self.found.extend(row.folder for row in rows))
        self.worker.changed.connect(
            lambda rows, gone: self.changed.append(([row.folder for row in rows], gone))
        )
        self.worker.unreadable.connect(self.sentences.append)


@pytest.fixture
def heard(qapp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    del qapp
    monkeypatch.setattr(run_reader.paths, "data_dir", lambda: tmp_path / "home")
    (tmp_path / "home").mkdir()
    made = Heard()
    yield made
    made.worker.close()


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two different runs whose folders have one name."""
    mine = train(config("maml"), tmp_path / "mine")
    other = train(config("reptile"), tmp_path / "others")
    there = other.with_name(mine.name)
    other.rename(there)
    return mine, there


def test_of_two_runs_of_one_name_the_second_is_told(heard: Heard, pair: tuple[Path, Path]) -> None:
    mine, there = pair
    heard.worker.scan(mine.parent)
    heard.worker.scan(there.parent)
    assert heard.found == [mine]
    (sentence,) = heard.sentences
    assert sentence.startswith(f"{there} is left out, because {mine} has the same name")
    assert sentence.endswith("rename one of them to see both.")
    heard.worker.scan(there)  # once is enough
    assert heard.sentences == [sentence]


def test_what_happens_to_the_second_leaves_the_first(heard: Heard, pair: tuple[Path, Path]) -> None:
    mine, there = pair
    heard.worker.scan(mine.parent)
    heard.worker.scan(there.parent)
    shutil.rmtree(there)
    heard.worker.rescan()
    assert all(not gone and not rows for rows, gone in heard.changed)


def test_a_run_that_was_renamed_or_moved_is_shown(heard: Heard, pair: tuple[Path, Path]) -> None:
    mine, there = pair
    heard.worker.scan(mine.parent)
    heard.worker.scan(there.parent)
    renamed = there.with_name("renamed")
    there.rename(renamed)
    heard.worker.rescan()
    assert [renamed] in [rows for rows, _ in heard.changed]
    moved = renamed.parent / mine.name
    shutil.move(mine, moved)
    heard.worker.rescan()
    assert [moved] in [rows for rows, _ in heard.changed]
    assert len(heard.sentences) == 1
