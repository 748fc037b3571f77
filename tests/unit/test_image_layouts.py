"""Reading image data sets from the copies people have, and refusing what is broken or hostile."""

import codecs
import io
import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from metaviz.files import archives
from metaviz.files.archives import DataError
from metaviz.images.cache import ImageData, open_images
from metaviz.images.found import SPLITS
from metaviz.images.layouts import known_splits, recognise
from metaviz.images.unpickle import unpickle
from tests.unit.test_omniglot_files import pack, png_claiming, unpack

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "miniimagenet"
PER_CLASS = 3
SIDE = 20
CLASSES = {
    "train": ("n01", "n02", "n03"),
    "validation": ("n04", "n05"),
    "test": ("n06", "n07"),
}
NUMBER = {name: place for place, name in enumerate(n for names in CLASSES.values() for n in names)}
SHORT = {"train": "train", "validation": "val", "test": "test"}


def pixels(name: str, row: int, side: int = SIDE) -> np.ndarray:
    """Paint an image whose colours tell its class and its row; red and blue differ."""
    image = np.zeros((side, side, 3), np.uint8)
    image[..., 0], image[..., 1], image[..., 2] = 30 * NUMBER[name] + 10, 40 * row + 10, 200
    return image


def encoded(name: str, row: int, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels(name, row)).save(buffer, form, quality=95)
    return buffer.getvalue()


def tree(path: str, form: str = "PNG") -> dict[str, bytes]:
    """Return files named by a pattern with {split}, {name} and {row}."""
    return {
        path.format(split=SHORT[split], name=name, row=row): encoded(name, row, form)
        for split, names in CLASSES.items()
        for name in names
        for row in range(PER_CLASS)
    }


def rows(split: str, header: str, line: str) -> bytes:
    lines = [line.format(name=name, row=row) for name in CLASSES[split] for row in range(PER_CLASS)]
    return "\n".join([header, *lines]).encode()


def split_folders(root: Path) -> Path:
    return unpack(root, tree("{split}/{name}/img{row}.jpg", "JPEG"))


def split_folders_below(root: Path) -> Path:
    return unpack(root, tree("mini/data/{split}/{name}/{row}.png") | {"readme.txt": b"hello"})


def one_zip(root: Path) -> Path:
    return pack(root / "mine.zip", tree("{split}/{name}/{row}.png"))


def zip_per_split(root: Path) -> Path:
    for split in CLASSES:
        some = {k: v for k, v in tree("{split}/{name}/{row}.png").items() if SHORT[split] in k}
        below = {name.partition("/")[2]: data for name, data in some.items()}
        pack(root / f"{SHORT[split]}.zip", below)
    return root


def several_zips(root: Path) -> Path:
    contents = tree("{split}/{name}/{row}.jpg", "JPEG")
    for number, names in enumerate((("n01",), ("n02", "n03"), ("n04", "n05"), ("n06", "n07"))):
        some = {k: v for k, v in contents.items() if k.split("/")[1] in names}
        pack(root / f"{next(iter(some)).split('/')[0]}-{number}.zip", some)
    return root


def csv_flat(root: Path) -> Path:
    lists = {
        f"{SHORT[split]}.csv": rows(split, "filename,label", "{name}0000{row}.jpg,{name}")
        for split in CLASSES
    }
    return unpack(root, tree("images/{name}0000{row}.jpg", "JPEG") | lists)


def csv_and_zip(root: Path) -> Path:
    pack(root / "images.zip", tree("images/{name}0000{row}.jpg", "JPEG"))
    lists = {
        f"splits/ravi/{SHORT[split]}.csv": rows(
            split, "filename,label", "{name}0000{row}.jpg,{name}"
        )
        for split in CLASSES
    }
    return unpack(root, lists)


def easyfsl(root: Path) -> Path:
    lists = {
        f"{SHORT[split]}.csv": rows(split, "class_name,image_name", "{name},{name}_{row}.JPEG")
        for split in CLASSES
    }
    return unpack(root, tree("images/{name}_{row}.JPEG", "JPEG") | lists)


def csv_and_class_folders(root: Path) -> Path:
    lists = {
        f"{SHORT[split]}.csv": rows(split, "filename,label", "{row}.png,{name}")
        for split in CLASSES
    }
    return unpack(root, tree("images/{name}/{row}.png") | lists)


def class_lists(root: Path) -> Path:
    lists = {
        f"splits/bertinetto/{SHORT[split]}.txt": "\n".join(names).encode()
        for split, names in CLASSES.items()
    }
    return unpack(root, tree("data/{name}/{row}.png") | lists)


def stacked(split: str) -> np.ndarray:
    return np.stack([pixels(name, row) for name in CLASSES[split] for row in range(PER_CLASS)])


def ren_pickles(root: Path, *, binary: bool) -> Path:
    """Write learn2learn's pickles, with the bytes keys of Python 2 or with text."""
    for split, names in CLASSES.items():
        groups = {
            (name.encode() if binary else name): list(range(PER_CLASS * i, PER_CLASS * (i + 1)))
            for i, name in enumerate(names)
        }
        keys = (b"image_data", b"class_dict") if binary else ("image_data", "class_dict")
        data = pickle.dumps(dict(zip(keys, (stacked(split), groups), strict=True)), protocol=2)
        unpack(root, {f"mini-imagenet-cache-{SHORT[split]}.pkl": data})
    return root


def tiered_labels(split: str) -> bytes:
    names = CLASSES[split]
    labels = {
        "label_specific": np.repeat(np.arange(len(names)), PER_CLASS),
        "label_general": np.zeros(len(names) * PER_CLASS, int),
        "label_specific_str": list(names),
        "label_general_str": ["thing"],
    }
    return pickle.dumps(labels)


def tiered_png(root: Path) -> Path:
    for split, names in CLASSES.items():
        images = [
            np.frombuffer(encoded(name, row), np.uint8)[:, None]
            for name in names
            for row in range(PER_CLASS)
        ]
        unpack(
            root,
            {
                f"tiered-imagenet/{SHORT[split]}_images_png.pkl": pickle.dumps(images),
                f"tiered-imagenet/{SHORT[split]}_labels.pkl": tiered_labels(split),
            },
        )
    return root


def tiered_npz(root: Path) -> Path:
    for split in CLASSES:
        buffer = io.BytesIO()
        np.savez(buffer, images=stacked(split))
        unpack(
            root,
            {
                f"{SHORT[split]}_images.npz": buffer.getvalue(),
                f"{SHORT[split]}_labels.pkl": tiered_labels(split),
            },
        )
    return root


def torchmeta(root: Path, *, png: bool) -> Path:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    folder = root / "miniimagenet"
    folder.mkdir(parents=True)
    for split, names in CLASSES.items():
        with h5py.File(folder / f"{SHORT[split]}_data.hdf5", "w") as file:
            group = file.create_group("datasets")
            for name in names:
                if png:
                    kind = h5py.special_dtype(vlen=np.uint8)
                    held = group.create_dataset(name, (PER_CLASS,), dtype=kind)
                    for row in range(PER_CLASS):
                        held[row] = np.frombuffer(encoded(name, row), np.uint8)
                else:
                    images = np.stack([pixels(name, row) for row in range(PER_CLASS)])
                    group.create_dataset(name, data=images)
        labels = json.dumps(list(names))
        (folder / f"{SHORT[split]}_labels.json").write_text(labels)
    return root


def torchmeta_cifar(root: Path) -> Path:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    folder = root / "cifar100"
    (folder / "cifar-fs").mkdir(parents=True)
    with h5py.File(folder / "data.hdf5", "w") as file:
        for split, names in CLASSES.items():
            for name in names:
                images = np.stack([pixels(name, row) for row in range(PER_CLASS)])
                file.create_dataset(f"coarse {split}/{name}", data=images)
    for split, names in CLASSES.items():
        pairs = [[f"coarse {split}", name] for name in names]
        (folder / "cifar-fs" / f"{SHORT[split]}_labels.json").write_text(json.dumps(pairs))
    return root


LAYOUTS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "split folders": (split_folders, "folders with a split"),
    "split folders below others": (split_folders_below, "folders with a split"),
    "one zip": (one_zip, "folders with a split"),
    "a zip per split": (zip_per_split, "folders with a split"),
    "several zips": (several_zips, "folders with a split"),
    "csv beside flat images": (csv_flat, "lists of files (CSV)"),
    "csv beside images.zip": (csv_and_zip, "lists of files (CSV)"),
    "easyfsl's csv": (easyfsl, "lists of files (CSV)"),
    "csv of names that repeat": (csv_and_class_folders, "lists of files (CSV)"),
    "class lists": (class_lists, "lists of classes"),
    "pickles with text keys": (lambda root: ren_pickles(root, binary=False), "pickled arrays"),
    "pickles with bytes keys": (lambda root: ren_pickles(root, binary=True), "pickled arrays"),
    "tiered pickles of PNG": (tiered_png, "pickled arrays"),
    "tiered npz": (tiered_npz, "pickled arrays"),
    "torchmeta": (lambda root: torchmeta(root, png=False), "torchmeta (HDF5)"),
    "torchmeta with PNG": (lambda root: torchmeta(root, png=True), "torchmeta (HDF5)"),
    "torchmeta's CIFAR": (torchmeta_cifar, "torchmeta (HDF5)"),
}


def check_images(data: ImageData, classes: dict[str, tuple[str, ...]] = CLASSES) -> None:
    """Assert that every image is where it belongs, within what JPEG changes."""
    for split in SPLITS:
        classed = data.splits[split]
        assert classed.names == classes[split]
        assert classed.counts.tolist() == [PER_CLASS] * len(classed.names)
        for start, name in zip(classed.starts, classed.names, strict=False):
            for row in range(PER_CLASS):
                found = classed.pixels[start + row].astype(int)
                wanted = pixels(name, row).transpose(2, 0, 1)
                assert np.abs(found - wanted).max() <= 4, (split, name, row)


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_layout_is_read(name: str, tmp_path: Path) -> None:
    build, layout = LAYOUTS[name]
    place = build(tmp_path / "data")
    data = open_images(place, tmp_path / "cache", side=SIDE)
    assert (data.layout, data.dataset, data.side) == (layout, "image folders", SIDE)
    check_images(data)


def test_folders_without_a_split_are_divided_by_the_seed(tmp_path: Path) -> None:
    names = [f"c{i:02}" for i in range(25)]
    contents = {f"{name}/{row}.png": encoded("n01", row) for name in names for row in range(2)}
    place = unpack(tmp_path / "data", contents)
    chosen = []
    for seed in (0, 0, 1):
        data = open_images(place, tmp_path / "cache", side=SIDE, seed=seed)
        chosen.append({split: data.splits[split].names for split in SPLITS})
        assert [len(chosen[-1][split]) for split in SPLITS] == [16, 4, 5]
        assert sorted(sum(chosen[-1].values(), ())) == names
        (problem,) = data.problems
        assert f"drawn with seed {seed}" in problem
    assert chosen[0] == chosen[1] != chosen[2]


def test_folders_of_the_same_name_are_united_and_told(tmp_path: Path) -> None:
    names = ("a/x", "b/x", "b/y", "c/z")
    root = unpack(
        tmp_path / "data",
        {f"{name}/{i}.png": encoded("n01", i) for name in names for i in range(3)},
    )
    found = recognise(root, ExitStack())
    assert found.problems[-1] == (
        "1 classes were united from folders of the same name in several places, x from 2 of them"
    )
    (root / "a/x").rename(root / "a/w")
    assert "united" not in " ".join(recognise(root, ExitStack()).problems)


def test_known_classes_get_their_published_split(tmp_path: Path) -> None:
    known = known_splits()["miniImageNet"]
    contents = {
        f"pictures/{name}/0.png": encoded("n01", 0) for names in known.values() for name in names
    }
    data = open_images(unpack(tmp_path / "data", contents), tmp_path / "cache", side=SIDE)
    assert data.dataset == "miniImageNet"
    assert {split: frozenset(data.splits[split].names) for split in SPLITS} == known


@pytest.mark.parametrize("split", ["CIFAR-FS", "FC100"])
def test_raw_cifar_is_divided_as_asked(split: str, tmp_path: Path) -> None:
    coarse_known = json.loads((Path(__file__).parents[2] / "resources" / "splits.json").read_text())
    pairs = sorted(tuple(pair) for names in coarse_known["CIFAR-FS"].values() for pair in names)
    coarse = sorted({name for name, _ in pairs})
    fine = [name for _, name in pairs]
    generator = np.random.default_rng(0)
    flat = generator.integers(0, 256, (2, 100, 3 * 32 * 32), dtype=np.uint8)
    folder = tmp_path / "cifar-100-python"
    for part, data in zip(("train", "test"), flat, strict=True):
        held = {
            b"data": data,
            b"fine_labels": list(range(100)),
            b"coarse_labels": [coarse.index(name) for name, _ in pairs],
        }
        unpack(folder, {part: pickle.dumps(held, protocol=2)})
    names = {
        b"fine_label_names": [name.encode() for name in fine],
        b"coarse_label_names": [name.encode() for name in coarse],
    }
    unpack(folder, {"meta": pickle.dumps(names, protocol=2)})
    data = open_images(tmp_path, tmp_path / "cache", cifar=split)
    assert (data.dataset, data.side) == (split, 32)
    assert [len(data.splits[s].names) for s in SPLITS] == [
        sum(1 for c, f in pairs if [c, f] in coarse_known[split][s] or c in coarse_known[split][s])
        for s in SPLITS
    ]
    train = data.splits["train"]
    label = train.names[3]
    row = fine.index(label)
    first = train.starts[3]
    for place in (0, 1):
        assert (train.pixels[first + place] == flat[place][row].reshape(3, 32, 32)).all()


def test_grey_and_transparent_and_oblong_images_become_square_colour(tmp_path: Path) -> None:
    root = split_folders_below(tmp_path / "data")
    target = root / "mini/data/train/n01"
    Image.new("L", (30, 20), 100).save(target / "0.png")
    Image.new("RGBA", (20, 40), (1, 2, 3, 0)).save(target / "1.png")
    data = open_images(root, tmp_path / "cache", side=SIDE)
    train = data.splits["train"]
    assert (train.pixels[train.starts[0]] == 100).all()
    assert train.pixels[train.starts[0] + 1].max(axis=(1, 2)).tolist() == [1, 2, 3]


def test_second_opening_reads_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = one_zip(tmp_path / "data")
    first = open_images(place, tmp_path / "cache", side=SIDE)
    monkeypatch.setattr("metaviz.images.cache.recognise", None)
    again = open_images(place, tmp_path / "cache", side=SIDE)
    assert again.splits["test"].names == first.splits["test"].names


def test_changed_files_are_decoded_again(tmp_path: Path) -> None:
    root = split_folders_below(tmp_path / "data")
    open_images(root, tmp_path / "cache", side=SIDE)
    changed = root / "mini/data/test/n06/0.png"
    changed.write_bytes(encoded("n01", 2))
    os.utime(changed, ns=(1, 1))
    data = open_images(root, tmp_path / "cache", side=SIDE)
    test = data.splits["test"]
    assert (test.pixels[test.starts[0]] == pixels("n01", 2).transpose(2, 0, 1)).all()


def test_renamed_copy_of_an_archive_shares_the_decoded_images(tmp_path: Path) -> None:
    place = one_zip(tmp_path / "data")
    copied = tmp_path / "elsewhere" / "mine.zip"
    copied.parent.mkdir()
    copied.write_bytes(place.read_bytes())
    for path in (place, copied):
        open_images(path, tmp_path / "cache", side=SIDE)
    assert len([entry for entry in (tmp_path / "cache").iterdir() if entry.is_dir()]) == 1


class Touches:
    """A pickle of this writes a file when it is loaded carelessly."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch {self.path}",))


def test_pickle_that_calls_a_function_is_refused_and_nothing_runs(tmp_path: Path) -> None:
    sign = tmp_path / "executed"
    root = tmp_path / "data"
    unpack(root, {"mini-imagenet-cache-train.pkl": pickle.dumps({"image_data": Touches(sign)})})
    with pytest.raises(DataError, match=r"mini-imagenet-cache-train\.pkl.*system.*never run"):
        open_images(root, tmp_path / "cache")
    assert not sign.exists()


@pytest.mark.parametrize(
    "hostile",
    [
        pickle.dumps(eval),
        pickle.dumps(np.frombuffer),
        pickle.dumps(codecs.encode("x", "rot13")) + b"junk",
        b"cos\nsystem\n(S'true'\ntR.",
        b"c_codecs\nencode\n(S'x'\nS'zlib'\ntR.",
        b"",
        b"\x80\x04\x95",
        bytes(range(7, 71)),
    ],
)
def test_hostile_pickles_are_one_sentence(hostile: bytes) -> None:
    try:
        held = unpickle(hostile, "some.pkl")
    except DataError as error:
        assert "some.pkl" in str(error)
        assert "\n" not in str(error)
    else:
        assert isinstance(held, str)


def test_arrays_of_python_2_are_read() -> None:
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    data = pickle.dumps({b"a": array, b"n": np.float32(2)}, protocol=2)
    data = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    held = unpickle(data, "old.pkl")
    assert (held[b"a"] == array).all()
    assert held[b"n"] == 2


def truncated(root: Path) -> Path:
    whole = pack(root / "a.zip", tree("{split}/{name}/{row}.png")).read_bytes()
    (root / "a.zip").write_bytes(whole[: len(whole) // 2])
    return root


def zipped_with(extra: str) -> Callable[[Path], Path]:
    return lambda root: pack(root / "a.zip", {extra: b"x", **tree("{split}/{name}/{row}.png")})


def folder_with(name: str, data: bytes) -> Callable[[Path], Path]:
    return lambda root: unpack(root, tree("{split}/{name}/{row}.png") | {name: data})


FIRST = "train/n01/0.png"
SPOILT: dict[str, tuple[Callable[[Path], Path], str]] = {
    "empty folder": (lambda root: unpack(root, {"a.txt": b""}), "no images by class found"),
    "no archive": (lambda root: unpack(root, {"a.zip": b"PK"}), "not a readable zip archive"),
    "truncated zip": (truncated, "not a readable zip archive"),
    "climbing zip": (zipped_with("../../evil.png"), "climbs out"),
    "absolute zip": (zipped_with("/tmp/evil.png"), "absolute path"),
    "missing file": (
        folder_with("train.csv", b"filename,label\nmissing.jpg,n01\n"),
        r"train\.csv.*'missing\.jpg'.*not there",
    ),
}


@pytest.mark.parametrize("how", list(SPOILT))
def test_bad_data_is_one_sentence_and_leaves_nothing(how: str, tmp_path: Path) -> None:
    build, said = SPOILT[how]
    place = build(tmp_path / "data")
    with pytest.raises(DataError, match=said) as caught:
        open_images(place, tmp_path / "cache")
    assert "\n" not in str(caught.value)
    cache = tmp_path / "cache"
    assert not cache.exists() or not list(cache.iterdir())
    assert {entry.name for entry in tmp_path.iterdir()} <= {"data", "cache"}


DAMAGED = {
    "not an image": (b"GIF89a", r"n01/0\.png.*not a JPEG or PNG image"),
    "half an image": (encoded("n01", 0)[:60], r"n01/0\.png.*damaged"),
    "huge image": (png_claiming(40_000, 30_000), r"n01/0\.png.*pixels"),
}


@pytest.mark.parametrize("how", list(DAMAGED))
def test_a_damaged_image_is_left_out_and_told(how: str, tmp_path: Path) -> None:
    spoilt, said = DAMAGED[how]
    whole = open_images(folder_with(FIRST, encoded("n01", 0))(tmp_path / "whole"), tmp_path / "a")
    found = open_images(folder_with(FIRST, spoilt)(tmp_path / "data"), tmp_path / "cache")
    (problem,) = found.problems
    assert re.search(said, problem)
    assert "\n" not in problem
    for split, classed in whole.splits.items():
        lost = np.array([name == "n01" for name in classed.names])
        assert (found.splits[split].counts == classed.counts - lost).all()


def test_limits_hold_for_image_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBERS", 5)
    with pytest.raises(DataError, match="at most 5"):
        open_images(one_zip(tmp_path / "data"), tmp_path / "cache")


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    root = split_folders_below(tmp_path / "data")
    (root / "mini/data/train/loop").symlink_to(root, target_is_directory=True)
    data = open_images(root, tmp_path / "cache", side=SIDE)
    check_images(data)


def test_names_that_are_not_utf8_are_read(tmp_path: Path) -> None:
    root = split_folders_below(tmp_path / "data")
    (root / "mini/data/train/n01").rename(root / "mini/data/train" / os.fsdecode(b"n\xff"))
    data = open_images(root, tmp_path / "cache", side=SIDE)
    assert data.splits["train"].names == ("n02", "n03", os.fsdecode(b"n\xff"))


@pytest.mark.parametrize("harm", ["pixels", "index", "folder"])
def test_a_harmed_cache_is_decoded_again(tmp_path: Path, harm: str) -> None:
    place = one_zip(tmp_path / "data")
    before = open_images(place, tmp_path / "cache", side=SIDE)
    wanted = before.splits["train"].pixels.copy()
    (folder,) = [entry for entry in (tmp_path / "cache").iterdir() if entry.is_dir()]
    if harm == "pixels":
        (folder / "pixels.npy").write_bytes(b"\x93NUMPY")
    elif harm == "index":
        (folder / "index.json").write_text("{")
    else:
        shutil.rmtree(folder)
    again = open_images(place, tmp_path / "cache", side=SIDE)
    np.testing.assert_array_equal(again.splits["train"].pixels, wanted)


@pytest.mark.parametrize("groups", [[1, 2], {"n01": 5}, {"n01": "xy"}, {"n01": [99]}])
def test_a_pickle_that_lists_no_images_is_one_sentence(tmp_path: Path, groups: object) -> None:
    for split in CLASSES:
        data = pickle.dumps({"image_data": stacked(split), "class_dict": groups})
        unpack(tmp_path / "data", {f"mini-imagenet-cache-{SHORT[split]}.pkl": data})
    with pytest.raises(DataError, match=r"mini-imagenet-cache-\w+\.pkl.*original file"):
        open_images(tmp_path / "data", tmp_path / "cache", side=SIDE)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_named_pipe_among_images_is_refused_without_waiting(tmp_path: Path) -> None:
    root = split_folders_below(tmp_path / "data")
    pipe = root / "mini/data/train/n01/9.png"
    os.mkfifo(pipe)
    (problem,) = open_images(root, tmp_path / "cache", side=SIDE).problems
    assert "9.png is no regular file" in problem
    assert problem.endswith("they are left out")


def test_missing_h5py_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = torchmeta(tmp_path / "data", png=False)
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(DataError, match="install h5py"):
        open_images(root, tmp_path / "cache")


@pytest.mark.skipif(not REAL.exists(), reason="the real miniImageNet is not here")
def test_real_miniimagenet_is_recognised() -> None:
    with ExitStack() as opened:
        found = recognise(REAL, opened)
    assert (found.dataset, found.layout) == ("miniImageNet", "folders with a split")
    assert found.count() == 60_000
    assert {
        split: (len(classes), {len(images) for images in classes.values()})
        for split, classes in found.splits.items()
    } == {"train": (64, {600}), "validation": (16, {600}), "test": (20, {600})}
