"""A mistake of MetaViz in any reader is told as one, never as a damaged file of a person's.

Files that are damaged are told in one sentence with another exit code; the fuzz tests show that.
"""

import pickle
import shutil
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from metaviz.cli.errors import BUG
from metaviz.files import archives, foreign, npy
from metaviz.files.foreign import ForeignError, UnreadableError, accessed
from metaviz.gui.session import session_file
from metaviz.gui.session.session_file import SESSION, SessionFile
from metaviz.images import (
    cache,
    containers,
    copies,
    decoding,
    entries,
    hdf5,
    layouts,
    lists,
    unpickle,
)
from metaviz.problems import omniglot_files
from metaviz.runs.model import arrays, evaluation, marks
from metaviz.runs.model.evaluation import store
from metaviz.runs.storage import archive, database, manifest, queue, saved_views, tail
from metaviz.runs.storage.archive import pack_run
from metaviz.runs.storage.queue import Queue
from metaviz.runs.storage.saved_views import read_view, saved_view, write_view
from metaviz.runs.storage.store import open_run
from metaviz.runs.storage.tail import Follower
from metaviz.runs.table import index
from tests.unit.command_line import metaviz
from tests.unit.image_data import images
from tests.unit.test_command_door import judgement
from tests.unit.test_foreign import stored_run
from tests.unit.test_omniglot_files import files as drawings
from tests.unit.test_omniglot_files import unpack

ERRORS = [
    *(ValueError("planted"), OSError("planted"), MemoryError("planted"), TypeError("planted")),
    *(KeyError("planted"), IndexError("planted"), AttributeError("planted")),
    *(RuntimeError("planted"), EOFError("planted"), struct.error("planted")),
    *(sqlite3.ProgrammingError("planted"), sqlite3.OperationalError("planted")),
]


class Reader(NamedTuple):
    """One of our own functions, and the command that has it read a file."""

    place: Any
    name: str
    command: tuple[str, ...]


RUNS = ("runs", "--in", "HERE/store/runs")
LIST = ("list", "--runs", "HERE/store/runs")
EXPORT = ("export", "HERE/store/runs", "--out", "OUT")
REPORT = ("report", "HERE/store/runs", "--out", "OUT/r.html")
UNPACK = ("unpack", "HERE/run.zip", "--out", "OUT/runs")
PACK = ("pack", "RUN", "--out", "OUT/p.zip")
QUEUE = ("queue", "list")


def inspect(data: str) -> tuple[str, ...]:
    return ("data", "inspect", f"HERE/{data}")


def train(data: str, problem: str = "images") -> tuple[str, ...]:
    path = f"{problem}.path=HERE/{data}"
    return ("compare", "--problem", problem, "--set", path, "--device", "cpu", "--out", "OUT")


READERS = [
    Reader(manifest, "traits_of", LIST),
    Reader(manifest, "parsed_toml", RUNS),
    Reader(manifest, "check_config", EXPORT),
    Reader(database, "_numbers", LIST),
    Reader(database, "_check_columns", LIST),
    Reader(database, "_curves", RUNS),
    Reader(database, "state_of", RUNS),
    Reader(database, "read_arrays", REPORT),
    Reader(arrays, "read_array", EXPORT),
    Reader(evaluation, "_judgement", EXPORT),
    Reader(marks, "marks_of", LIST),
    Reader(marks, "cleaned", RUNS),
    Reader(index, "entry_of", RUNS),
    Reader(index, "_places", RUNS),
    Reader(foreign._Bounded, "_counted", LIST),
    Reader(foreign, "_opened", LIST),
    Reader(foreign, "_restrict", RUNS),
    Reader(archive, "_is_part", UNPACK),
    Reader(archive, "_only_folder", UNPACK),
    Reader(archive, "_check_name", UNPACK),
    Reader(archive, "_files", PACK),
    Reader(archives.Zip, "_check", UNPACK),
    Reader(archives, "_directory_bytes", UNPACK),
    Reader(manifest, "traits_of", UNPACK),
    Reader(queue, "_entry", QUEUE),
    Reader(queue, "_mended", QUEUE),
    Reader(queue, "_checked_version", QUEUE),
    Reader(layouts, "_united", inspect("plain")),
    Reader(archives, "is_system_made", inspect("split")),
    Reader(entries, "suffix_of", inspect("split")),
    Reader(copies, "_digest", inspect("copies")),
    Reader(decoding, "_converted", inspect("split")),
    Reader(decoding, "_extremes", inspect("split")),
    Reader(decoding, "_plain", inspect("split")),
    Reader(decoding, "_on_white", inspect("clear")),
    Reader(cache, "without_damaged", train("split")),
    Reader(cache, "squared", train("split")),
    Reader(cache, "_opened", train("split")),
    Reader(decoding, "_plain", train("split")),
    Reader(lists, "_rows_of", inspect("lists")),
    Reader(lists, "_parts", inspect("lists")),
    Reader(lists._Places, "find", train("lists")),
    Reader(containers, "_by_rows", inspect("pickles")),
    Reader(containers, "_pixels", inspect("pickles")),
    Reader(containers, "_flat", train("pickles")),
    Reader(unpickle, "_checked", inspect("pickles")),
    Reader(unpickle, "_check_keys", inspect("pickles")),
    Reader(unpickle._Careful, "_import", inspect("pickles")),
    Reader(unpickle._Careful, "_popped", inspect("pickles")),
    Reader(unpickle._Budget, "take", inspect("pickles")),
    Reader(containers, "read_member", inspect("arrays")),
    Reader(npy, "read_array", inspect("arrays")),
    Reader(containers, "_by_label", inspect("arrays")),
    Reader(hdf5.Hdf5, "_place", inspect("hdf5")),
    Reader(hdf5.Hdf5, "_take", inspect("hdf5")),
    Reader(containers, "_stacked", train("hdf5")),
    Reader(omniglot_files, "_shrink", inspect("omniglot")),
    Reader(omniglot_files, "_place", train("omniglot", "omniglot")),
    Reader(omniglot_files, "_read_drawing", train("omniglot", "omniglot")),
]


def arrays_of_images(root: Path) -> None:
    """Write pickles, npz and HDF5 files of two classes of each split."""
    for name in ("pickles", "arrays", "hdf5"):
        (root / name).mkdir()
    library = pytest.importorskip("h5py", reason="h5py is not installed")
    for seed, split in enumerate(("train", "val", "test")):
        pixels = np.random.default_rng(seed).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
        names = [f"{split} a", f"{split} b"]
        rows = {names[0]: [0, 1], names[1]: [2, 3]}
        held = {"image_data": pixels, "class_dict": rows}
        cached = root / "pickles" / f"mini-imagenet-cache-{split}.pkl"
        cached.write_bytes(pickle.dumps(held, protocol=2))
        labels = {"label_specific": np.arange(4) % 2, "label_specific_str": names}
        (root / "arrays" / f"{split}_labels.pkl").write_bytes(pickle.dumps(labels, protocol=2))
        np.savez(root / "arrays" / f"{split}_images.npz", images=pixels)
        with library.File(root / "hdf5" / f"{split}_data.hdf5", "w") as file:
            for place, name in enumerate(names):
                file[f"datasets/{name}"] = pixels[2 * place : 2 * place + 2]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of every kind that commands read."""
    root = tmp_path_factory.mktemp("readers")
    folder = stored_run(root / "store" / "runs")
    (folder / "marks.toml").write_text('name = "x"')
    store(judgement(), folder)
    pack_run(folder, root / "run.zip")
    split = images("{split}/{name}/{row}.png")
    unpack(root / "split", split)
    unpack(root / "copies", split | {"train/c0/9.png": split["train/c0/0.png"]})
    unpack(root / "plain", images("{name}/{row}.png"))
    unpack(root / "lists", images("{name}/{name}{row}.png"))
    unpack(root / "clear", split)
    for path in (root / "clear").rglob("*.png"):
        Image.new("RGBA", (8, 8), (len(path.parent.name), 9, 9, 9)).save(path)
    for part, names in (("train", "01"), ("val", "23"), ("test", "45")):
        rows = [f"c{name}{row}.png,c{name}" for name in names for row in range(2)]
        (root / "lists" / f"{part}.csv").write_text("\n".join(["filename,label", *rows]))
    drawn = drawings("images_background/")
    more = {name.replace("character01", "character09"): data for name, data in drawn.items()}
    unpack(root / "omniglot", drawn | more)
    arrays_of_images(root)
    return root


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("reader", READERS, ids=lambda r: f"{r.name} of {' '.join(r.command[:3])}")
def test_a_mistake_in_a_reader_is_told_as_a_mistake(
    reader: Reader,
    error: Exception,
    here: Path,
    tmp_path: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with closing(Queue(home)) as made:
        made.add([{"algorithm": "maml", "seed": 1}])
    (run,) = (here / "store" / "runs").iterdir()
    places = {"HERE": str(here), "OUT": str(tmp_path / "out"), "RUN": str(run)}
    command = list(reader.command)
    for short, place in places.items():
        command = [word.replace(short, place) for word in command]

    def planted(*_arguments: Any, **_named: Any) -> None:
        raise error.with_traceback(None)

    monkeypatch.setattr(reader.place, reader.name, planted)
    outcome = metaviz(*command)
    assert outcome.code == BUG, outcome.error
    said = [line for line in outcome.error.splitlines() if "metaviz: " in line]
    assert len(said) == 1
    assert "Traceback" not in outcome.error
    assert "damaged" not in outcome.error
    assert "readable" not in outcome.error
    assert f"{home / 'errors.log'}." in said[0]
    assert "in planted" in (home / "errors.log").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", sorted({reader.command for reader in READERS}))
def test_the_files_of_these_tests_are_read(
    command: tuple[str, ...], here: Path, tmp_path: Path, home: Path
) -> None:
    Queue(home).close()
    (run,) = (here / "store" / "runs").iterdir()
    places = {"HERE": str(here), "OUT": str(tmp_path / "out"), "RUN": str(run)}
    words = list(command)
    for short, place in places.items():
        words = [word.replace(short, place) for word in words]
    if words[0] == "compare":
        words += ["--steps", "1", "--algorithms", "fomaml", "--set", "ways=2", "--set", "shots=1"]
        words += ["--set", "query_shots=1", "--set", "meta_batch=1", "--set", "eval_tasks=2"]
        words += ["--set", f"{words[2]}.channels=4"]
    outcome = metaviz(*words)
    assert outcome.code == 0, outcome.error


def _followed(home: Path) -> None:
    (folder,) = (home / "runs").iterdir()
    with closing(Follower(folder, open_run(folder))) as follower:
        follower.poll()


BESIDE: list[tuple[Any, str, Callable[[Path], object]]] = [
    (saved_views, "read_toml", lambda home: read_view(next((home / "views").iterdir()))),
    (saved_views, "checked", lambda home: read_view(next((home / "views").iterdir()))),
    (session_file, "parsed_toml", lambda home: SessionFile(home).read()),
    (session_file, "read_text", lambda home: SessionFile(home).read()),
    (tail, "read_since", _followed),
    (tail, "still_holds", _followed),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(("place", "name", "read"), BESIDE)
def test_a_mistake_in_what_the_window_reads_is_no_damage(
    place: Any,
    name: str,
    read: Callable[[Path], object],
    error: Exception,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_view(tmp_path / "views", saved_view("Mine", {}, {}, []))
    (tmp_path / SESSION).write_text("version = 1\n")
    stored_run(tmp_path / "runs")
    read(tmp_path)

    def planted(*_arguments: Any, **_named: Any) -> None:
        raise error.with_traceback(None)

    monkeypatch.setattr(place, name, planted)
    with pytest.raises(type(error)) as caught:
        read(tmp_path)
    assert caught.value is error


def test_what_the_system_says_is_told_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="No such file") as caught, accessed():
        (tmp_path / "gone").stat()
    assert caught.value.is_missing
    assert isinstance(caught.value, ForeignError)
    with pytest.raises(ForeignError, match="an own one"), accessed():
        raise ForeignError("an own one")


def test_what_sqlite_says_of_a_statement_is_a_mistake_and_of_a_file_is_damage(
    tmp_path: Path,
) -> None:
    path = tmp_path / "x.db"
    with closing(foreign.open_to_write(path)) as made:
        made.execute("CREATE TABLE t (a INTEGER)")
        made.executemany("INSERT INTO t VALUES (?)", [(number,) for number in range(2000)])
        made.commit()
    torn = tmp_path / "torn.db"
    shutil.copy(path, torn)
    data = bytearray(torn.read_bytes())
    data[4200:] = b"\xff" * len(data[4200:])
    torn.write_bytes(data)
    for opened in (foreign.open_to_write(path), foreign.open_to_read(path, live=False)):
        with closing(opened) as database:
            assert len(database.execute("SELECT a FROM t").fetchall()) == 2000
            assert sum(1 for _ in database.execute("SELECT a FROM t")) == 2000
            with pytest.raises(sqlite3.OperationalError, match="syntax error"):
                database.execute("SELEKT a FROM t")
            with pytest.raises(sqlite3.ProgrammingError):
                database.execute("SELECT a FROM t WHERE a = ?")
            with pytest.raises(ForeignError, match="no such column"):
                database.execute("SELECT b FROM t")
    for read in (list, lambda rows: rows.fetchall(), _one_by_one):
        opened, refused = foreign.open_to_read(torn, live=False), pytest.raises(ForeignError)
        with closing(opened) as database, refused as caught:
            read(database.execute("SELECT a FROM t"))
        assert "malformed" in str(caught.value)


def _one_by_one(rows: sqlite3.Cursor) -> None:
    with suppress(StopIteration):
        while rows.fetchone() is not None:
            continue
