"""The window starts, shows and closes whatever the files of its data folder hold."""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from metaviz import paths
from metaviz.gui.session.session_file import BACKUP, SESSION
from metaviz.runs.storage.queue import QUEUE
from metaviz.runs.table.index import INDEX
from tests.fuzz import mutations as how
from tests.fuzz.kinds import a_queue, a_run, a_view
from tests.fuzz.mutations import Mutation

SEEDS = 5
DEADLINE_SECONDS = 240
FILES: dict[str, tuple[Mutation, ...]] = {
    SESSION: (how.changed_toml, how.changed_toml, how.harmed, how.junk),
    BACKUP: (how.changed_toml, how.harmed),
    QUEUE: (how.changed_database, how.changed_database, how.harmed, how.junk),
    INDEX: (how.changed_database, how.changed_database, how.harmed, how.junk),
    "metaviz.ini": (how.changed_text, how.harmed, how.junk),
    "views/*.toml": (how.changed_toml, how.harmed),
    "runs/*/run.toml": (how.changed_toml,),
    "runs/*/metrics.db": (how.changed_database, how.changed_database, how.harmed),
    "runs/*/marks.toml": (how.changed_toml, how.harmed),
    "runs/*/*/*.npz": (how.harmed, how.changed_zip(how.harmed)),
}


def windows(*homes: Path) -> list[str]:
    """Start windows on these folders in one program; return the names of those that closed."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.windows", *map(str, homes)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
    )
    closed = ended.stdout.split()
    assert ended.returncode == 0, (closed[-1:], ended.returncode, ended.stderr[-3000:])
    return closed


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that a window has left behind: a run, a queue, a view, a session, an index."""
    place = tmp_path_factory.mktemp("harmed") / "home"
    a_run(place)
    a_queue(place)
    (place / "views").mkdir()
    a_view(place / "views")
    assert windows(place) == [place.name]
    for pattern in FILES:
        if pattern not in {BACKUP, "metaviz.ini"}:
            assert list(place.glob(pattern)), pattern
    for name in (BACKUP, "metaviz.ini"):
        if not (place / name).exists():
            (place / name).write_bytes(
                (place / SESSION).read_bytes() if name == BACKUP else b"[window]\ntheme=dark\n"
            )
    return place


@pytest.mark.parametrize("pattern", FILES)
def test_the_window_starts_on_harmed_files(pattern: str, home: Path, tmp_path: Path) -> None:
    homes = []
    for seed in range(SEEDS):
        chance = random.Random(seed)
        homes.append(tmp_path / str(seed))
        shutil.copytree(home, homes[-1])
        path = chance.choice(sorted(homes[-1].glob(pattern)))
        how.written(path, chance.choice(FILES[pattern]), chance)
    assert windows(*homes) == [place.name for place in homes]
    assert paths.data_dir() not in homes
