"""Every kind of file that MetaViz reads: a valid one, what may be wrong, and its readers."""

import io
import json
import pickle
import random
import shutil
import sqlite3
import tomllib
import zipfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tomli_w
from PIL import Image

from metaviz.config import run_config
from metaviz.config.run_config import Comparison, EvaluationProtocol, read_comparison, to_toml
from metaviz.files import archives, foreign, npy
from metaviz.gui.session import session_file
from metaviz.gui.session.session_file import SESSION, SessionFile, layout_of, layout_part
from metaviz.images import containers, hdf5, layouts, lists, unpickle
from metaviz.images.layouts import recognise
from metaviz.meta.checkpoint_files import CHECKPOINT, load_checkpoint
from metaviz.problems import omniglot_files, quadratic
from metaviz.problems.omniglot_files import read_omniglot
from metaviz.runs.model import arrays, evaluation, marks, robustness
from metaviz.runs.model.evaluation import stored
from metaviz.runs.model.marks import change_marks, read_marks
from metaviz.runs.model.robustness import stored_robustness
from metaviz.runs.storage import archive, database, manifest, queue, saved_views, store
from metaviz.runs.storage.archive import pack_run, unpack_run
from metaviz.runs.storage.queue import QUEUE, Queue
from metaviz.runs.storage.saved_views import read_view, saved_view, write_view
from metaviz.runs.storage.store import open_last, open_run, read_divergence
from metaviz.runs.table import index
from metaviz.runs.table.index import INDEX, Index
from metaviz.training import checkpoints, protocol
from metaviz.training.checkpoints import find_checkpoint
from tests.fuzz import mutations as how
from tests.fuzz.mutations import Mutation
from tests.unit.stored import config, train

SIDE = 8


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    `make` writes valid files into a folder, of which those that `files` match are changed by one of
    the `mutations`; `read` reads the folder. `readers` are the functions and classes that read it.
    """

    name: str
    make: Callable[[Path], None]
    files: str
    mutations: tuple[Mutation, ...]
    read: Callable[[Path], object]
    readers: tuple[Any, ...]

    def change(self, folder: Path, chance: random.Random) -> None:
        """Change one of the files."""
        path = chance.choice(sorted(folder.glob(self.files)))
        if path.suffix == ".db" and chance.random() < 0.2:
            beside = path.with_name(path.name + chance.choice(("-journal", "-wal", "-shm")))
            beside.write_bytes(how.junk(b"", chance))
        how.written(path, chance.choice((*self.mutations, how.harmed, how.junk)), chance)


def a_run(root: Path) -> None:
    """Train a small run that has all that a run can have."""
    folder = train(config("metasgd"), root / "runs")
    wish = EvaluationProtocol(tasks=3)
    protocol.judge(folder, wish)
    protocol.robustness(folder, wish)
    change_marks(folder, {"tags": ("a", "b"), "name": "Mine", "notes": "x", "star": True})


def an_amended_run(root: Path) -> None:
    """Train a run, and say that it went on with other settings from its third meta-step."""
    a_run(root)
    path = the_run(root) / "run.toml"
    about = tomllib.loads(path.read_text(encoding="utf-8"))
    amendment = {"step": 3, "shared": {"inner_steps": 2}, "options": {"inner_lr": 0.1}}
    about["run"]["amendments"] = [amendment]
    path.write_text(tomli_w.dumps(about), encoding="utf-8")


def a_diverged_run(root: Path) -> None:
    """Train a run whose losses are no numbers after a few meta-steps."""
    wish = config("maml", steps=40)
    shared = wish.shared.model_copy(update={"outer_lr": 1e30})
    folder = train(wish.model_copy(update={"shared": shared}), root / "runs")
    assert open_run(folder).state == "diverged"


def a_run_without_hashes(root: Path) -> None:
    a_run(root)
    with closing(sqlite3.connect(the_run(root) / "metrics.db")) as made:
        made.execute("DROP TABLE checkpoints")
        made.commit()


def the_run(root: Path) -> Path:
    return next(path.parent for path in (root / "runs").glob("*/metrics.db"))


def read_run(root: Path) -> None:
    """Read a run by every door."""
    folder = the_run(root)
    problems: list[Exception] = []
    for read in (open_run, open_last, read_divergence):
        try:
            read(folder)
        except store.StoreError as error:
            problems.append(error)
    found = list(Index(None).scan(root / "runs"))
    listed = sum(len(batch.entries) + len(batch.warnings) for batch in found)
    assert listed == 1, found
    if problems:
        raise problems[0]


def a_packed_run(root: Path) -> None:
    a_run(root / "made")
    pack_run(the_run(root / "made"), root / "run.zip")
    shutil.rmtree(root / "made")


def a_queue(root: Path) -> None:
    made = Queue(root)
    made.add([config("maml").model_dump(mode="json")] * 3, "sweep")
    entry = made.claim("worker")
    assert entry is not None
    made.begun("worker", "maml-x", root / "maml-x")
    made.close()


def read_queue(root: Path) -> None:
    opened = Queue(root)
    try:
        opened.entries()
        opened.counts()
        opened.recover()
        opened.claim("other")
    finally:
        opened.close()


def an_index(root: Path) -> None:
    a_run(root)
    made = Index(root / INDEX)
    list(made.scan(root / "runs"))
    made.close()


def read_index(root: Path) -> None:
    opened = Index(root / INDEX)
    try:
        found = list(opened.scan(root / "runs"))
    finally:
        opened.close()
    assert sum(len(batch.entries) for batch in found) == 1


def a_session(root: Path) -> None:
    SessionFile(root).write(
        {
            "layout": layout_part(b"geometry", b"state"),
            "form": {"comparison": "steps = 3", "groups": ["a"]},
            "runs": {"shown": ["maml-x"], "table": "{}"},
        }
    )


def read_session(root: Path) -> None:
    values, _ = SessionFile(root).read()
    part = values.get("layout")
    layout_of(part if isinstance(part, dict) else {})


def picture(chance: np.random.Generator) -> bytes:
    stream = io.BytesIO()
    pixels = chance.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def class_folders(root: Path) -> None:
    chance = np.random.default_rng(0)
    for name in "abcdef":
        (root / "data" / name).mkdir(parents=True)
        for number in range(2):
            (root / "data" / name / f"{name}{number}.png").write_bytes(picture(chance))


def tables(root: Path) -> None:
    class_folders(root)
    for split, names in (("train", "ab"), ("val", "cd"), ("test", "ef")):
        rows = [f"{name}{number}.png,{name}" for name in names for number in range(2)]
        (root / "data" / f"{split}.csv").write_text("\n".join(["filename,label", *rows, ""]))


def text_lists(root: Path) -> None:
    class_folders(root)
    for split, names in (("train", "ab"), ("val", "cd"), ("test", "ef")):
        (root / "data" / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))


def json_lists(root: Path) -> None:
    class_folders(root)
    for split, names in (("train", "ab"), ("val", "cd"), ("test", "ef")):
        told = {"class_names": list(names), "class_roots": [f"data/{name}" for name in names]}
        (root / "data" / f"{split}.json").write_text(json.dumps(told))


SPLITS = {"train": "ab", "val": "cd", "test": "ef"}
_FILES = {
    split: {n: [f"{n}/{n}0.png", f"{n}/{n}1.png"] for n in names} for split, names in SPLITS.items()
}
_PLACED = {
    split: [(path, place, n) for place, n in enumerate(of) for path in of[n]]
    for split, of in _FILES.items()
}
_ROWS = [(split, path, name) for split, rows in _PLACED.items() for path, _, name in rows]


def _table(header: str, row: Callable[[str, str, str], str]) -> str:
    return "\n".join([header, *(row(*one) for one in _ROWS)])


ALONE = {
    "all.csv": _table("filename,label,split", lambda s, p, n: f"{p},{n},{s}"),
    "flags.csv": _table(
        "filename,label,is_train,is_test",
        lambda s, p, n: f"{p},{n},{int(s == 'train')},{int(s != 'train')}",
    ),
    "fastai.csv": _table("filename,label,is_valid", lambda s, p, n: f"{p},{n},{s != 'train'}"),
    "numbered.csv": _table(
        "filename,label,set", lambda s, p, n: f"{p},{n},{list(SPLITS).index(s)}"
    ),
    "twice.csv": _table(
        "filename,label,split,subset,is_train",
        lambda s, p, n: f"{p},{n},{s},{s},{int(s == 'train')}",
    ),
    "fine.csv": _table(
        "filename,label,class,split", lambda s, p, n: f"{p},{n},{'abcdef'.index(n) // 2},{s}"
    ),
    "classes.csv": "\n".join(
        ["class,split", *(f"{n},{split}" for split, names in SPLITS.items() for n in names)]
    ),
    "files.txt": "\n".join(f"{path} {split}" for split, path, _ in _ROWS),
    "labelled.txt": "\n".join(f"{path} {name} {split}" for split, path, name in _ROWS),
    "split.json": json.dumps({split: list(names) for split, names in SPLITS.items()}),
    "zhou.json": json.dumps(_PLACED),
    "files.json": json.dumps(_FILES),
    "closer.json": json.dumps(
        {
            split: {
                "label_names": list(SPLITS[split]),
                "image_names": [path for path, _, _ in rows],
                "image_labels": [place for _, place, _ in rows],
            }
            for split, rows in _PLACED.items()
        }
    ),
}
"""Lists of all splits in one file, as several programs write them."""


def one_list(root: Path, name: str, text: str) -> None:
    class_folders(root)
    (root / "data" / name).write_text(text)


def numbered_lists(root: Path) -> None:
    class_folders(root)
    told = [f"{int(split == 'train')}" for split, _, _ in _ROWS]
    for name, texts in (("images", [path for _, path, _ in _ROWS]), ("train_test_split", told)):
        lines = (f"{number} {text}\n" for number, text in enumerate(texts, 1))
        (root / "data" / f"{name}.txt").write_text("".join(lines))


def zipped_images(root: Path) -> None:
    chance = np.random.default_rng(0)
    (root / "data").mkdir()
    with zipfile.ZipFile(root / "data" / "images.zip", "w", zipfile.ZIP_DEFLATED) as made:
        for split, names in (("train", "ab"), ("val", "cd"), ("test", "ef")):
            for name in names:
                for number in range(2):
                    made.writestr(f"{split}/{name}/{number}.png", picture(chance))


def pixels(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def pickles(root: Path) -> None:
    (root / "data").mkdir()
    for seed, split in enumerate(("train", "val", "test")):
        rows = {f"{split} a": [0, 1], f"{split} b": [2, 3]}
        held = {"image_data": pixels(4, seed), "class_dict": rows}
        path = root / "data" / f"mini-imagenet-cache-{split}.pkl"
        path.write_bytes(pickle.dumps(held, protocol=(0, 2, 5)[seed]))


def labelled_pickles(root: Path) -> None:
    (root / "data").mkdir()
    for seed, split in enumerate(("train", "val", "test")):
        held = {"data": pixels(4, seed), "labels": [f"{split} {n % 2}" for n in range(4)]}
        (root / "data" / f"CIFAR_FS_{split}.pickle").write_bytes(pickle.dumps(held, protocol=2))


def pickled_files(root: Path) -> None:
    """Write tieredImageNet's pickles of PNG files."""
    chance = np.random.default_rng(0)
    folder = root / "data" / "tiered-imagenet"
    folder.mkdir(parents=True)
    for split in ("train", "val", "test"):
        names = [f"{split} a", f"{split} b"]
        labels = {"label_specific": np.arange(4) % 2, "label_specific_str": names}
        files = [np.frombuffer(picture(chance), np.uint8) for _ in range(4)]
        (folder / f"{split}_labels.pkl").write_bytes(pickle.dumps(labels, protocol=2))
        (folder / f"{split}_images_png.pkl").write_bytes(pickle.dumps(files, protocol=2))


def numpy_archives(root: Path) -> None:
    folder = root / "data" / "tiered-imagenet"
    folder.mkdir(parents=True)
    for seed, split in enumerate(("train", "val", "test")):
        names = [f"{split} a", f"{split} b"]
        labels = {"label_specific": np.arange(4) % 2, "label_specific_str": names}
        (folder / f"{split}_labels.pkl").write_bytes(pickle.dumps(labels, protocol=2))
        np.savez(folder / f"{split}_images.npz", images=pixels(4, seed))


def hdf5_files(root: Path) -> None:
    (root / "data").mkdir()
    for seed, split in enumerate(("train", "val", "test")):
        with h5py.File(root / "data" / f"{split}_data.hdf5", "w") as file:
            group = file.create_group("datasets")
            group.create_dataset(f"{split} a", data=pixels(3, seed))
            group.create_dataset(f"{split} b", data=pixels(3, 10 + seed), compression="gzip")


def omniglot(root: Path) -> None:
    chance = np.random.default_rng(0)
    for alphabet in ("Greek", "Latin", "Braille"):
        for number in (1, 2):
            folder = root / "data" / "images_background" / alphabet / f"character0{number}"
            folder.mkdir(parents=True)
            for drawer in range(3):
                drawn = Image.fromarray(chance.random((105, 105)) > 0.1)
                drawn.save(folder / f"000{number}_0{drawer}.png")


def omniglot_hdf5(root: Path) -> None:
    chance = np.random.default_rng(0)
    (root / "data").mkdir()
    with h5py.File(root / "data" / "data.hdf5", "w") as file:
        for alphabet in ("Greek", "Latin", "Braille"):
            group = file.create_group(f"images_background/{alphabet}")
            drawn = (chance.random((3, 105, 105)) > 0.1) * np.uint8(255)
            group.create_dataset("character01", data=drawn)


def omniglot_twice(root: Path) -> None:
    omniglot(root)
    for folder in list((root / "data" / "images_background").iterdir()):
        shutil.copytree(folder, root / "data" / "merged" / folder.name)


def read_images(root: Path) -> None:
    with ExitStack() as opened:
        found = recognise(root / "data", opened)
        for split in found.splits.values():
            for some in split.values():
                some[0].image()


def matrices(root: Path) -> None:
    held = {
        "support_hessian": [[2.0, 0.0], [0.0, 1.0]],
        "support_linear": [1.0, 0.0],
        "query_hessian": [[1.0, 0.0], [0.0, 3.0]],
        "query_linear": [0.0, 1.0],
        "start": [0.5, 0.5],
    }
    (root / "q.toml").write_text(tomli_w.dumps(held))


def a_view(root: Path) -> None:
    write_view(root, saved_view("Mine", {"axis": "step"}, {"columns": ["run"]}, ["maml-x"]))


def a_comparison(root: Path) -> None:
    wish = Comparison(algorithms=("maml", "reptile"), seeds=(0, 1), options={"maml": {}})
    (root / "comparison.toml").write_text(to_toml(wish), encoding="utf-8")


_TOML = (how.changed_toml,) * 6
_NPZ = (how.changed_zip(how.harmed, how.changed_text),)
_IMAGES = (layouts, lists, archives.Folder)

KINDS = (
    Kind(
        "run.toml",
        a_run,
        "runs/*/run.toml",
        _TOML,
        read_run,
        (manifest.read_about, manifest.check_config, store._read_once),
    ),
    Kind(
        "run.toml of an amended run",
        an_amended_run,
        "runs/*/run.toml",
        _TOML,
        read_run,
        (manifest.check_config, manifest._check_loop),
    ),
    Kind(
        "metrics.db",
        a_run,
        "runs/*/metrics.db",
        (how.changed_database,) * 4,
        read_run,
        (database.read, database.read_last, foreign._opened, foreign._restrict),
    ),
    Kind(
        "metrics.db of a run that diverged",
        a_diverged_run,
        "runs/*/metrics.db",
        (how.changed_database,) * 4,
        read_run,
        (database.divergence_of,),
    ),
    Kind(
        "marks.toml",
        a_run,
        "runs/*/marks.toml",
        _TOML,
        lambda r: read_marks(the_run(r)),
        (marks.read_marks, marks.marks_of, marks.cleaned),
    ),
    Kind(
        "evaluation",
        a_run,
        f"runs/*/{evaluation.FOLDER}/*.npz",
        _NPZ,
        lambda r: stored(the_run(r)),
        (evaluation.stored, evaluation._judgement, arrays.read_described),
    ),
    Kind(
        "robustness",
        a_run,
        f"runs/*/{robustness.FOLDER}/*.npz",
        _NPZ,
        lambda r: stored_robustness(the_run(r)),
        (robustness.stored_robustness, robustness._robustness, arrays.read_arrays),
    ),
    Kind(
        "checkpoint",
        a_run,
        "runs/*/checkpoint*.pt",
        (how.changed_zip(how.harmed), how.changed_checkpoint),
        lambda r: (find_checkpoint(the_run(r)), load_checkpoint(the_run(r) / CHECKPOINT)),
        (checkpoints.find_checkpoint, checkpoints.read_checkpoint, foreign.check_pickled),
    ),
    Kind(
        "checkpoint of an earlier version",
        a_run_without_hashes,
        "runs/*/checkpoint*.pt",
        (how.changed_checkpoint,) * 6,
        lambda r: find_checkpoint(the_run(r)),
        (checkpoints.find_checkpoint, checkpoints.read_checkpoint),
    ),
    Kind(
        "packed run",
        a_packed_run,
        "run.zip",
        (how.changed_zip(how.harmed, how.changed_toml, how.junk),) * 3,
        lambda r: unpack_run(r / "run.zip", r / "unpacked"),
        (archive.unpack_run, archive._only_folder, archive._unpack, archives.Zip),
    ),
    Kind(
        "queue.db",
        a_queue,
        QUEUE,
        (how.changed_database,) * 4,
        read_queue,
        (
            queue.Queue.entries,
            queue._entry,
            queue._connected,
            queue.Queue.claim,
        ),
    ),
    Kind(
        "index",
        an_index,
        INDEX,
        (how.changed_database,) * 4,
        read_index,
        (index._unpacked, index._summary, index._Cache.load, index._Cache._open),
    ),
    Kind(
        "session.toml",
        a_session,
        SESSION,
        _TOML,
        read_session,
        (session_file.SessionFile.read, session_file.layout_of, session_file.to_bytes),
    ),
    Kind(
        "view",
        a_view,
        "*.toml",
        _TOML,
        lambda r: read_view(next(r.glob("*.toml"))),
        (saved_views.read_view,),
    ),
    Kind(
        "configuration",
        a_comparison,
        "comparison.toml",
        _TOML,
        lambda r: read_comparison(r / "comparison.toml"),
        (run_config.read_comparison,),
    ),
    Kind(
        "matrices",
        matrices,
        "q.toml",
        _TOML,
        lambda r: quadratic.read_matrices(str(r / "q.toml")),
        (quadratic.read_matrices,),
    ),
    Kind("tables of files", tables, "data/*.csv", (how.changed_text,) * 3, read_images, (lists,)),
    Kind(
        "lists of classes", text_lists, "data/*.txt", (how.changed_text,) * 3, read_images, (lists,)
    ),
    Kind(
        "lists as JSON", json_lists, "data/*.json", (how.changed_json,) * 3, read_images, (lists,)
    ),
    Kind(
        "numbered lists",
        numbered_lists,
        "data/*.txt",
        (how.changed_text,) * 3,
        read_images,
        (lists,),
    ),
    *(
        Kind(
            f"{name} for all splits",
            partial(one_list, name=name, text=text),
            f"data/{name}",
            (how.changed_json if name.endswith("json") else how.changed_text,) * 3,
            read_images,
            (lists,),
        )
        for name, text in ALONE.items()
    ),
    Kind(
        "zipped images",
        zipped_images,
        "data/*.zip",
        (how.changed_zip(how.harmed),) * 3,
        read_images,
        (archives.Zip,),
    ),
    Kind("image", class_folders, "data/*/*.png", (), read_images, ()),
    Kind(
        "pickles",
        pickles,
        "data/*.pkl",
        (how.changed_pickle,) * 6,
        read_images,
        (unpickle, containers.pickled_arrays),
    ),
    Kind(
        "pickles with labels",
        labelled_pickles,
        "data/*.pickle",
        (how.changed_pickle,) * 6,
        read_images,
        (containers.pickled_arrays, containers._numbered),
    ),
    Kind(
        "pickles of PNG files",
        pickled_files,
        "data/*/*.pkl",
        (how.changed_pickle,) * 6,
        read_images,
        (containers.pickled_arrays, containers._by_label),
    ),
    Kind(
        "NumPy archives",
        numpy_archives,
        "data/*/*",
        (how.changed_zip(how.harmed),),
        read_images,
        (containers.numpy_images, npy.read_member),
    ),
    Kind(
        "HDF5",
        hdf5_files,
        "data/*.hdf5",
        (how.changed_hdf5,) * 4,
        read_images,
        (hdf5, containers.torchmeta_splits),
    ),
    Kind(
        "Omniglot",
        omniglot,
        "data/*/*/*/*.png",
        (),
        lambda r: read_omniglot(r / "data", 14),
        (omniglot_files.read_omniglot,),
    ),
    Kind(
        "Omniglot as HDF5",
        omniglot_hdf5,
        "data/*.hdf5",
        (),
        lambda r: read_omniglot(r / "data", 14),
        (omniglot_files.read_omniglot, omniglot_files._read_hdf5),
    ),
    Kind(
        "Omniglot in two layouts",
        omniglot_twice,
        "data/*/*/*/*.png",
        (),
        lambda r: read_omniglot(r / "data", 14),
        (omniglot_files.read_omniglot,),
    ),
)
