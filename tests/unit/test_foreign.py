"""Run folders of strangers: they delete nothing, hide no other run, and take little memory."""

import io
import json
import os
import resource
import shutil
import sqlite3
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from metaviz.files.foreign import ForeignError, _by_sqlite, open_to_read, open_to_write
from metaviz.files.platform import is_plain_name
from metaviz.meta.checkpoint_files import CHECKPOINT, load_checkpoint
from metaviz.runs.model.events import STEP_COLUMNS
from metaviz.runs.storage.queue import QUEUE, Queue
from metaviz.runs.storage.store import StoreError, create_run, list_runs, open_run
from metaviz.runs.table.index import INDEX, Index
from tests.unit.command_line import metaviz
from tests.unit.stored import config, killed, train
from tests.unit.test_store import CONFIG, EVENTS

MAGIC = bytes.fromhex("d9d505f920a163d7")
PAGE = 4096
BOMB = 300_000_000
MOST_KB = 250_000
# Lists and opens all runs of a folder, and says what it found and how much memory that took.
READER = """
import json, re, sys
from pathlib import Path
from metaviz.runs.table.index import Index
from metaviz.runs.model.evaluation import stored
from metaviz.runs.model.robustness import stored_robustness
from metaviz.runs.storage.store import StoreError, list_runs, open_run

root = Path(sys.argv[1])
batches = list(Index(None).scan(root))
opened = []
for folder in list_runs(root):
    stored(folder), stored_robustness(folder)
    try:
        open_run(folder)
    except StoreError:
        continue
    opened.append(folder.name)
print(json.dumps({
    "listed": [entry.folder.name for batch in batches for entry in batch.entries],
    "said": [sentence for batch in batches for sentence in batch.warnings],
    "opened": opened,
    "peak": int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]),
}))
"""


def stored_run(root: Path) -> Path:
    """Store a small run that ended."""
    writer = create_run(root, CONFIG, {})
    for event in EVENTS:
        writer.append(event)
    writer.close()
    return writer.folder


def hot_journal(database: Path, victim: Path) -> None:
    """Lay a journal beside a database that has SQLite delete another file as it is played back."""
    head = MAGIC + struct.pack(">IIIII", 0, 1, database.stat().st_size // PAGE, 512, PAGE)
    name = os.fsencode(victim)
    tail = name + struct.pack(">II", len(name), sum(name)) + MAGIC
    lock_page = struct.pack(">I", 2**30 // PAGE + 1)
    journal = database.with_name(f"{database.name}-journal")
    journal.write_bytes(head.ljust(512, b"\0") + lock_page + tail)


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file that nothing here may touch."""
    path = tmp_path / "victim.txt"
    path.write_text("precious")
    return path


def test_the_journal_of_these_tests_does_delete(tmp_path: Path, victim: Path) -> None:
    folder = stored_run(tmp_path / "runs")
    hot_journal(folder / "metrics.db", victim)
    with closing(sqlite3.connect(folder / "metrics.db")) as database:
        database.execute("SELECT count(*) FROM steps").fetchone()
    assert not victim.exists()


@pytest.mark.parametrize(
    "command",
    [
        ("runs", "--in", "ROOT"),
        ("list", "--runs", "ROOT"),
        ("export", "ROOT", "--formats", "png", "--out", "OUT"),
        ("report", "ROOT", "--out", "OUT/report.html"),
        ("pack", "RUN", "--out", "OUT/run.zip"),
        ("resume", "RUN", "--steps", "20"),
        ("evaluate", "RUN"),
        ("repeat", "RUN"),
    ],
)
@pytest.mark.parametrize("log", ["", "with a log"])
def test_no_command_plays_back_the_journal_of_a_stranger(
    tmp_path: Path, victim: Path, command: tuple[str, ...], log: str
) -> None:
    root, out = tmp_path / "runs", tmp_path / "out"
    folder = train(config("maml", steps=2), root)
    hot_journal(folder / "metrics.db", victim)
    if log:
        (folder / "metrics.db-wal").write_bytes(b"x" * 64)
    out.mkdir()
    places = {"ROOT": str(root), "RUN": str(folder)}
    asked = [places.get(word, word.replace("OUT", str(out))) for word in command]
    outcome = metaviz(*asked)
    assert "Traceback" not in outcome.error
    assert victim.read_text() == "precious"
    assert (folder / "metrics.db-journal").exists()


def test_a_run_with_a_journal_is_read_and_the_journal_said(
    tmp_path: Path, victim: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = stored_run(tmp_path / "runs")
    hot_journal(folder / "metrics.db", victim)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert len(open_run(folder)) == 10
    assert [record.getMessage().count("-journal is left alone") for record in caplog.records] == [1]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_reading_a_run_that_ended_leaves_its_folder_as_it_was(tmp_path: Path) -> None:
    folder = stored_run(tmp_path / "runs")
    before = sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir())
    open_run(folder)
    list(Index(None).scan(folder.parent))
    assert sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir()) == before


def test_reading_a_run_that_was_killed_leaves_its_folder_as_it_was(tmp_path: Path) -> None:
    folder, _ = killed(config("maml"), tmp_path, 6)
    assert (folder / "metrics.db-wal").stat().st_size
    (folder / "metrics.db-shm").unlink(missing_ok=True)
    before = sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir())
    assert open_run(folder).state == "interrupted"
    list(Index(None).scan(folder.parent))
    assert sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir()) == before


def test_the_programs_own_databases_play_back_no_such_journal(home: Path, victim: Path) -> None:
    runs = home / "runs"
    folder = stored_run(runs)
    for _ in range(2):
        index = Index(home / INDEX)
        assert [e.folder for batch in index.scan(runs) for e in batch.entries] == [folder]
        index.close()
        if not (home / f"{INDEX}-journal").exists():
            hot_journal(home / INDEX, victim)
    queue = Queue(home)
    queue.add([CONFIG])
    queue.close()
    hot_journal(home / QUEUE, victim)
    queue = Queue(home)
    assert "names another file" in queue.note
    assert queue.entries() == []
    queue.close()
    assert victim.exists()


def test_a_journal_that_names_nothing_is_played_back_where_a_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "own.db"
    with closing(open_to_write(path)) as database:
        database.execute("CREATE TABLE about (key TEXT)")
    code = (
        "import os, sqlite3, sys\n"
        "database = sqlite3.connect(sys.argv[1])\n"
        "database.execute('PRAGMA cache_size=1')\n"
        "database.execute('PRAGMA cache_spill=1')\n"
        "for _ in range(300): database.execute('INSERT INTO about VALUES (hex(zeroblob(4000)))')\n"
        "os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert path.with_name("own.db-journal").stat().st_size
    with closing(open_to_write(path)) as database:
        assert database.execute("SELECT count(*) FROM about").fetchone() == (0,)
    assert not path.with_name("own.db-journal").exists()


def _sql(*statements: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        with closing(sqlite3.connect(folder / "metrics.db")) as database:
            for statement in statements:
                database.execute(statement)
            database.commit()

    return change


def _fifo(name: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return change


def _endless(name: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to("/dev/zero")

    return change


def _bomb(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("mean.npy", "w") as stream:
            header = {"descr": "|u1", "fortran_order": False, "shape": (BOMB,)}
            np.lib.format.write_array_header_1_0(stream, header)
            for _ in range(BOMB // 1_000_000):
                stream.write(bytes(1_000_000))
        about = io.BytesIO()
        np.save(about, np.frombuffer(b'{"factors": []}', np.uint8))
        archive.writestr("about.npy", about.getvalue())


def _bombed(table: str, column: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        bomb = folder.parent.parent / "bomb.npz"
        _bomb(bomb)
        with closing(sqlite3.connect(folder / "metrics.db")) as database:
            database.execute(f"UPDATE {table} SET {column} = ?", (bomb.read_bytes(),))
            database.commit()

    return change


def _large(name: str) -> Callable[[Path], object]:
    return lambda folder: os.truncate(folder / name, 2 * BOMB)


_STEPS = ", ".join(f"0.0 AS {name}" for name in STEP_COLUMNS)
_COUNTING = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)"
_HUGE = f"hex(zeroblob({BOMB}))"
_LISTED, _OPENED, _BOTH, _NEITHER = (True, False), (False, True), (True, True), (False, False)
HOSTILE: dict[str, tuple[Callable[[Path], object], tuple[bool, bool]]] = {
    "endless view": (
        _sql(
            "DROP TABLE steps",
            f"CREATE VIEW steps AS {_COUNTING} SELECT x AS step, {_STEPS}, "
            "x'' AS inner_support_loss, x'' AS inner_gradient_norm FROM c",
        ),
        _NEITHER,
    ),
    "huge view": (
        _sql("DROP TABLE about", f"CREATE VIEW about AS SELECT 'state' AS key, {_HUGE} AS value"),
        _NEITHER,
    ),
    "computed column": (
        _sql(
            "DROP TABLE notes",
            f"CREATE TABLE notes (step INTEGER, level TEXT, message TEXT AS ({_HUGE}))",
            "INSERT INTO notes VALUES (1, 'info')",
        ),
        _NEITHER,
    ),
    "trigger": (
        _sql("CREATE TRIGGER t AFTER INSERT ON notes BEGIN DELETE FROM steps; END"),
        _NEITHER,
    ),
    "index of an expression": (_sql("CREATE INDEX i ON notes (abs(step))"), _NEITHER),
    "pipe for run.toml": (_fifo("run.toml"), _NEITHER),
    "pipe for metrics.db": (_fifo("metrics.db"), _NEITHER),
    "pipe for marks.toml": (_fifo("marks.toml"), _BOTH),
    "pipe for run.lock": (_fifo("run.lock"), _BOTH),
    "pipe for the log": (_fifo("metrics.db-wal"), _BOTH),
    "endless run.toml": (_endless("run.toml"), _NEITHER),
    "endless marks.toml": (_endless("marks.toml"), _BOTH),
    "endless metrics.db": (_endless("metrics.db"), _NEITHER),
    "large run.toml": (_large("run.toml"), _NEITHER),
    "key of many parts": (
        lambda folder: (folder / "run.toml").write_text(".".join("a" * 100_000) + " = 1"),
        _NEITHER,
    ),
    "table of many parts": (
        lambda folder: (folder / "run.toml").write_text("[" + " . ".join(['"a"'] * 30_000) + "]"),
        _NEITHER,
    ),
    "bomb in a picture": (_bombed("pictures", "arrays"), _LISTED),
    "bomb in an evaluation": (_bombed("evaluations", "curves"), _NEITHER),
    "bomb beside it": (lambda folder: _bomb(folder / "evaluations" / "step1.npz"), _BOTH),
    "bomb as a map": (lambda folder: _bomb(folder / "robustness" / "map.npz"), _BOTH),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_folder_is_one_line_and_the_others_show(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "runs"
    healthy, hostile = stored_run(root), stored_run(root)
    change, (listed, opened) = HOSTILE[kind]
    change(hostile)
    command = [sys.executable, "-c", READER, str(root)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    wanted = {healthy.name} | ({hostile.name} if listed else set())
    assert set(found["listed"]) == wanted
    assert set(found["opened"]) == {healthy.name} | ({hostile.name} if opened else set())
    about = [sentence for sentence in found["said"] if hostile.name in sentence]
    assert about == found["said"]
    assert len(about) == int(not listed or "marks" in kind), about
    assert found["peak"] < MOST_KB


def test_arrays_that_claim_more_than_they_have_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    folder = stored_run(root)
    header = str({"descr": "<f8", "fortran_order": False, "shape": (10**15,)}).ljust(117) + "\n"
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00v\x00" + header.encode() + bytes(8))
    with closing(sqlite3.connect(folder / "metrics.db")) as database:
        database.execute("UPDATE pictures SET arrays = ?", ((tmp_path / "a.npz").read_bytes(),))
        database.commit()
    with pytest.raises(StoreError, match="an array is not as large as it claims"):
        open_run(folder)


def test_a_statement_returns_and_computes_as_much_as_the_file_holds(tmp_path: Path) -> None:
    folder = stored_run(tmp_path)
    several = ", ".join(f"steps s{place}" for place in range(9))
    with closing(open_to_read(folder / "metrics.db", live=False)) as database:
        with pytest.raises(ForeignError, match="returns more than it holds"):
            database.execute(f"SELECT s0.inner_support_loss FROM {several}").fetchall()
        with pytest.raises(ForeignError, match="interrupted"):
            database.execute(f"SELECT count(*) FROM {several}").fetchall()
        for _ in range(100):
            assert len(database.execute("SELECT * FROM steps").fetchall()) == 10


def test_a_checkpoint_takes_no_more_memory_than_its_size(tmp_path: Path) -> None:
    folder = train(config("maml", steps=2), tmp_path)
    path = folder / CHECKPOINT
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(StoreError, match="is not a readable checkpoint"):
        load_checkpoint(path)
    # bytearray(10**10), which the careful unpickler of PyTorch allows
    bomb = b"\x80\x02cbuiltins\nbytearray\n\x8a\x05\x00\xe4\x0bT\x02\x85R."
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, bomb if name.endswith("data.pkl") else data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(StoreError, match="is not a readable checkpoint"):
        load_checkpoint(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 100_000
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(StoreError, match="is no regular file"):
        load_checkpoint(path)
    path.unlink()
    path.write_bytes(whole)
    assert load_checkpoint(path)["step"] == 2
    torch.save({"old": 1}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(StoreError, match="is not a readable checkpoint"):
        load_checkpoint(path)


def test_a_run_that_is_written_is_followed_from_its_log(tmp_path: Path) -> None:
    writer = create_run(tmp_path, CONFIG, {})
    for event in EVENTS[:-1]:
        writer.append(event)
    writer.commit()
    record = open_run(writer.folder)
    assert (record.state, len(record)) == ("running", 10)
    copy = tmp_path / "killed"
    shutil.copytree(writer.folder, copy, ignore=shutil.ignore_patterns("*-shm"))
    writer.close()
    record = open_run(copy)
    assert (record.state, len(record)) == ("interrupted", 10)
    assert {folder.name for folder in list_runs(tmp_path)} == {writer.folder.name, "killed"}


def test_names_that_are_no_plain_files_everywhere() -> None:
    for name in ("CON", "con.npz", "a:b", "a/b", "a\\b", "..", ".hidden", "x.", "", "a\nb", "LPT1"):
        assert not is_plain_name(name), name
    for name in ("step3-tasks5.npz", "maml-s0-0123abcd", "Ünïcode", "CONFIG"):
        assert is_plain_name(name), name


def test_a_message_of_sqlite_that_is_no_text_tells_of_damage() -> None:
    """SQLite quotes a damaged schema in its message, which Python then cannot decode."""
    with pytest.raises(ForeignError, match="damaged"), _by_sqlite():
        b"malformed database schema (\x97)".decode()
