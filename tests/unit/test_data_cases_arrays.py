"""Images in pickles, NumPy and HDF5 files, as several generations of programs wrote them."""

import io
import json
import pickle
import resource
import struct
from collections import OrderedDict, defaultdict
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from metaviz.files.archives import DataError
from metaviz.images.unpickle import unpickle
from tests.unit.image_data import SHORT, SIX, counts, found_in, images, united
from tests.unit.test_omniglot_files import unpack

FOLDERS = images("pictures/{name}/{row}.png")
UNSPLIT = {name: 2 for names in SIX.values() for name in names}


def array(split: str) -> np.ndarray:
    """Return four images of a split; no two of all splits are the same."""
    first = 10 * list(SIX).index(split)
    return np.stack([np.full((8, 8, 3), first + row, np.uint8) for row in range(4)])


def ren(split: str) -> dict[str, object]:
    groups = {name: [2 * place, 2 * place + 1] for place, name in enumerate(SIX[split])}
    return {"image_data": array(split), "class_dict": groups}


def numbered(split: str) -> dict[str, object]:
    return {"data": array(split), "labels": [name for name in SIX[split] for _ in range(2)]}


def pickles(name: str, write: object, protocol: int = 4) -> dict[str, bytes]:
    return {
        name.format(split=split, short=SHORT[split]): pickle.dumps(write(split), protocol)
        for split in SIX
    }


WRITTEN = {
    "Ren": pickles("mini-imagenet-cache-{short}.pkl", ren),
    "protocol 5": pickles("mini-imagenet-cache-{short}.pkl", ren, 5),
    "protocol 2": pickles("mini-imagenet-cache-{short}.pkl", ren, 2),
    "protocol 0": pickles("mini-imagenet-cache-{short}.pkl", ren, 0),
    "long name": pickles("mini-imagenet-cache-{split}.pkl", ren),
    "FC100 of learn2learn": pickles("FC100_{short}.pickle", numbered),
    "MetaOptNet's CIFAR-FS": pickles("CIFAR_FS_{short}.pickle", numbered),
    "bytes keys": pickles(
        "FC100_{short}.pickle",
        lambda split: {key.encode(): value for key, value in numbered(split).items()},
    ),
    "labels as array": pickles(
        "FC100_{short}.pickle",
        lambda split: numbered(split) | {"labels": np.array(numbered(split)["labels"])},
    ),
    "MetaOptNet's miniImageNet": pickles(
        "miniImageNet_category_split_{short}.pickle",
        lambda split: numbered(split) | {"catname2label": {"x": 1}},
    ),
    "dictionaries of other kinds": pickles(
        "mini-imagenet-cache-{short}.pkl",
        lambda split: OrderedDict(
            image_data=array(split), class_dict=defaultdict(list, ren(split)["class_dict"])
        ),
        5,
    ),
    "Fortran order": pickles(
        "mini-imagenet-cache-{short}.pkl",
        lambda split: ren(split) | {"image_data": np.asfortranarray(array(split))},
        5,
    ),
}


@pytest.mark.parametrize("how", list(WRITTEN))
def test_pickles_are_read(how: str, tmp_path: Path) -> None:
    found = found_in(tmp_path, WRITTEN[how])
    assert (counts(found), found.remarks) == (SIX, ())
    for split in SIX:
        levels = [
            np.asarray(picture.image())[0, 0, 0]
            for pictures in found.splits[split].values()
            for picture in pictures
        ]
        assert levels == array(split)[:, 0, 0, 0].tolist()


def test_numbers_of_labels_name_the_classes(tmp_path: Path) -> None:
    held = pickles(
        "FC100_{short}.pickle",
        lambda split: {"data": array(split), "labels": [3, 3, 2 + len(split), 2 + len(split)]},
    )
    found = found_in(tmp_path, held)
    assert counts(found)["train"] == {"3": 2, "7": 2}
    assert "1 of 2 validation classes are training classes too" in found.remarks[0]


def test_numbered_classes_of_a_known_data_set_are_named(tmp_path: Path) -> None:
    sizes = dict(zip(SIX, (60, 20, 20), strict=True))
    first = dict(zip(SIX, (0, 60, 80), strict=True))
    own = pickles(
        "FC100_{short}.pickle",
        lambda split: {
            "data": np.arange(sizes[split] * 3072, dtype=np.uint32)
            .astype(np.uint8)
            .reshape(-1, 32, 32, 3),
            "labels": [first[split] + place for place in range(sizes[split])],
        },
    )
    assert found_in(tmp_path / "a", own).dataset == "FC100"
    other = {name.replace("FC100", "mine"): data for name, data in own.items()}
    assert found_in(tmp_path / "b", other).dataset == "image folders"


NO_IMAGES = {
    "mini-imagenet-bookkeeping-train.pkl": pickle.dumps({"labels": [1, 2], "x": {0: "c0"}}),
    "train_log.pkl": pickle.dumps([0.1, 0.2]),
    "test_results.pickle": pickle.dumps({"accuracy": np.ones(3)}, 5),
    "val.pkl": pickle.dumps(frozenset({"a"})),
    "train_state.pkl": b"\x80\x04junk",
    "test_results.npz": b"PK no archive",
}


@pytest.mark.parametrize("name", list(NO_IMAGES))
@pytest.mark.parametrize("data", ["Ren", "folders"])
def test_file_without_images_is_no_data(name: str, data: str, tmp_path: Path) -> None:
    own = FOLDERS if data == "folders" else WRITTEN["Ren"]
    found = found_in(tmp_path, own | {name: NO_IMAGES[name]})
    assert found.layout == ("class folders" if data == "folders" else "pickled arrays")
    assert united(found) == UNSPLIT
    assert any(name in remark for remark in found.remarks)


def test_results_of_numpy_beside_images_are_no_data(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, accuracy=np.ones(3))
    found = found_in(tmp_path, FOLDERS | {"test_results.npz": buffer.getvalue()})
    assert united(found) == UNSPLIT


def test_damaged_file_of_a_split_is_refused(tmp_path: Path) -> None:
    own = WRITTEN["Ren"] | {"mini-imagenet-cache-val.pkl": b"\x80\x04\x95"}
    with pytest.raises(DataError, match=r"cache-val\.pkl in .* is a damaged pickle"):
        found_in(tmp_path, own)


def test_files_for_other_phases_of_training_are_told(tmp_path: Path) -> None:
    own = pickles("miniImageNet_category_split_{short}.pickle", numbered)
    train = own.pop("miniImageNet_category_split_train.pickle")
    for phase in ("train", "val", "test"):
        own[f"miniImageNet_category_split_train_phase_{phase}.pickle"] = train
    found = found_in(tmp_path, own)
    assert counts(found) == SIX
    assert found.left_out == {"files of arrays for several splits": 2}


def test_two_files_of_one_split_are_refused(tmp_path: Path) -> None:
    own = WRITTEN["Ren"] | WRITTEN["FC100 of learn2learn"]
    with pytest.raises(DataError, match=r"is a second file of .* images; keep the one you mean"):
        found_in(tmp_path, own)


def test_row_that_a_class_names_twice_counts_once(tmp_path: Path) -> None:
    own = pickles(
        "mini-imagenet-cache-{short}.pkl",
        lambda split: (
            ren(split) | {"class_dict": {n: [p, p, p + 2] for p, n in enumerate(SIX[split])}}
        ),
    )
    found = found_in(tmp_path, own)
    assert counts(found) == SIX
    assert found.left_out == {"copies of images that are read": 6}


def test_images_that_splits_of_arrays_share_are_told(tmp_path: Path) -> None:
    own = pickles(
        "mini-imagenet-cache-{short}.pkl", lambda split: ren(split) | {"image_data": array("train")}
    )
    told = found_in(tmp_path, own).remarks
    assert "4 of 4 validation images are training images too, and not new" in told


def hdf5(root: Path, *, classes: dict[str, dict[str, int]]) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    root.mkdir(parents=True, exist_ok=True)
    for split, names in classes.items():
        with h5py.File(root / f"{SHORT[split]}_data.hdf5", "w") as file:
            for place, name in enumerate(names):
                file[f"datasets/{name}"] = array(split)[2 * place : 2 * place + 2]


def test_classes_that_splits_of_hdf5_share_are_told(tmp_path: Path) -> None:
    hdf5(tmp_path, classes=SIX)
    assert (counts(found_in(tmp_path)), found_in(tmp_path).remarks) == (SIX, ())
    hdf5(tmp_path, classes=SIX | {"test": {"c0": 2, "c5": 2}})
    assert "1 of 2 test classes are training classes too" in found_in(tmp_path).remarks[0]


@pytest.mark.parametrize("name", ["model.h5", "train_weights.h5", "test_features.hdf5"])
def test_other_hdf5_beside_images_is_no_data(name: str, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    unpack(tmp_path, FOLDERS)
    with h5py.File(tmp_path / name, "w") as file:
        file["layer/weights"] = np.ones((3, 4))
        file["datasets"] = np.ones(3)
    assert united(found_in(tmp_path)) == UNSPLIT
    (tmp_path / name).write_bytes(b"no HDF5")
    assert united(found_in(tmp_path)) == UNSPLIT


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_containers_of_every_protocol_are_read(protocol: int) -> None:
    held = {
        "c": np.arange(6, dtype=np.int16).reshape(2, 3),
        "f": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "turned": np.arange(24, dtype=np.uint8).reshape(2, 3, 4).transpose(1, 2, 0),
        "number": np.float32(2),
        "default": defaultdict(list, {"a": [1]}),
        "sets": [{1}, frozenset({2}), slice(1, 2), 1j, b"x", bytearray(b"y")],
    }
    found = unpickle(pickle.dumps(held, protocol), "some.pkl")
    for name in ("c", "f", "turned"):
        np.testing.assert_array_equal(found[name], held[name])
    assert found["default"] == {"a": [1]}
    assert found["sets"] == held["sets"]
    assert found["number"] == 2


class Makes:
    """A pickle of this calls something."""

    def __init__(self, *made: object) -> None:
        self.made = made

    def __reduce__(self) -> tuple[object, ...]:
        return self.made[0], self.made[1:]


@pytest.mark.parametrize(
    "made", [(bytes, 10**12), (bytearray, 10**12), (np.ndarray, (10**12,)), (range, 10**12)]
)
def test_pickle_that_makes_much_of_a_number_is_refused(made: tuple[object, ...]) -> None:
    held = Makes(list, Makes(*made))
    with pytest.raises(DataError, match=r"some\.pkl"):
        unpickle(pickle.dumps(held), "some.pkl")


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04]r" + struct.pack("<I", 2**32 - 1) + b".",
        b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"]",
        b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.",
        b"\x80\x02c_codecs\nencode\n}X\x08\x00\x00\x00__wrong__" + b"K\x01sb.",
    ],
    ids=["memo", "frame", "bytes", "state"],
)
def test_pickle_that_claims_much_takes_neither_time_nor_memory(data: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with suppress(DataError):
        assert unpickle(data, "some.pkl") == []
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.parametrize("copies", [1, 400])
def test_files_of_arrays_that_swell_are_refused(copies: int, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    hdf5(tmp_path / "a", classes=SIX)
    with h5py.File(tmp_path / "a" / "train_data.hdf5", "a") as file:
        shape = (2, 256, 256, 3)
        file.create_dataset("datasets/c9", shape, np.uint8, chunks=(1, 64, 64, 3))
        for place in range(1, copies):
            file[f"datasets/c9-{place}"] = file["datasets/c9"]
    buffer = io.BytesIO()
    np.savez_compressed(buffer, images=np.zeros((copies, 256, 256, 3), np.uint8))
    unpack(tmp_path / "b", FOLDERS | {"train_images.npz": buffer.getvalue()})
    if copies == 1:
        assert counts(found_in(tmp_path / "a"))["train"]["c9"] == 1  # two black images are one
        assert "more than 50 times" not in found_in(tmp_path / "b").remarks[0]
        return
    with pytest.raises(DataError, match="more than 50 times"):
        found_in(tmp_path / "a")
    assert "more than 50 times" in found_in(tmp_path / "b").remarks[0]


class Calls:
    """A pickle of this makes an array of a buffer with what it should not."""

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments

    def __reduce__(self) -> tuple[object, ...]:
        return np._core.numeric._frombuffer, self.arguments


@pytest.mark.parametrize(
    "arguments",
    [
        (b"12345678", "O", (1,), "C"),
        (b"1234", "uint8", (9,), "C"),
        (b"1234", "uint8", (4,), "X"),
        (b"1234", "uint8", 2**62, "C"),
        ([], None, None, None),
    ],
)
def test_buffers_of_hostile_pickles_are_one_sentence(arguments: tuple[object, ...]) -> None:
    with pytest.raises(DataError, match=r"some\.pkl"):
        unpickle(pickle.dumps(Calls(*arguments)), "some.pkl")
    with pytest.raises(DataError, match=r"some\.pkl"):
        unpickle(pickle.dumps(defaultdict(eval)), "some.pkl")


LATIN = [b"caf\xe9", b"caf\xe8"]


def with_train(name: str, write: object, held: object) -> dict[str, bytes]:
    """Return pickles of which the one for train holds something else."""
    train = name.format(split="train", short="train")
    return pickles(name, write) | {train: pickle.dumps(held, 4)}


def test_names_that_are_no_utf8_stay_apart(tmp_path: Path) -> None:
    groups = {LATIN[0]: [0, 1], LATIN[1]: [2, 3]}
    held = {b"image_data": array("train"), b"class_dict": groups}
    own = with_train("mini-imagenet-cache-{short}.pkl", ren, held)
    found = found_in(tmp_path / "Ren", own)
    assert counts(found) == SIX | {"train": {"café": 2, "cafè": 2}}
    held = {b"data": array("train"), b"labels": [label for label in LATIN for _ in range(2)]}
    found = found_in(tmp_path / "labels", with_train("FC100_{short}.pickle", numbered, held))
    assert (counts(found), found.problems) == (SIX | {"train": {"café": 2, "cafè": 2}}, ())


@pytest.mark.parametrize("keys", [(1, "1"), (b"ant", "ant"), (LATIN[0], "café")])
def test_keys_that_read_the_same_are_refused_or_told(
    keys: tuple[object, object], tmp_path: Path
) -> None:
    groups = {keys[0]: [0, 1], keys[1]: [2, 3]}
    held = {"image_data": array("train"), "class_dict": groups}
    with pytest.raises(DataError, match="it has two keys that read"):
        found_in(tmp_path / "Ren", with_train("mini-imagenet-cache-{short}.pkl", ren, held))
    held = {"data": array("train"), "labels": [key for key in keys for _ in range(2)]}
    found = found_in(tmp_path / "labels", with_train("FC100_{short}.pickle", numbered, held))
    assert list(counts(found)["train"].values()) == [4]
    assert "1 classes of FC100_train.pickle" in found.remarks[0]
    assert "were united from several labels of the same name" in found.remarks[0]


@pytest.mark.parametrize("names", [["ant", "ant"], [b"ant", "ant"], LATIN])
def test_two_numbers_of_one_name_are_told(names: list[object], tmp_path: Path) -> None:
    for split in SIX:
        kept = names if split == "train" else list(SIX[split])
        labels = {"label_specific": np.array([0, 0, 1, 1]), "label_specific_str": kept}
        buffer = io.BytesIO()
        np.savez(buffer, images=array(split))
        files = {
            f"{SHORT[split]}_images.npz": buffer.getvalue(),
            f"{SHORT[split]}_labels.pkl": pickle.dumps(labels, 2),
        }
        unpack(tmp_path, files)
    found = found_in(tmp_path)
    if names is LATIN:
        assert (counts(found)["train"], found.remarks) == ({"café": 2, "cafè": 2}, ())
    else:
        assert counts(found)["train"] == {"ant": 4}
        assert "1 classes of train_labels.pkl" in found.remarks[0]


def test_rows_that_no_class_lists_are_counted(tmp_path: Path) -> None:
    held = ren("train") | {"class_dict": {"c0": [0], "c1": [3]}}
    found = found_in(tmp_path, with_train("mini-imagenet-cache-{short}.pkl", ren, held))
    assert counts(found) == SIX | {"train": {"c0": 1, "c1": 1}}
    assert found.left_out == {"images that no class of class_dict lists": 2}


def test_two_hdf5_files_of_one_split_are_refused(tmp_path: Path) -> None:
    hdf5(tmp_path, classes=SIX)
    hdf5(tmp_path / "old", classes={"train": {"c8": 2, "c9": 2}})
    with pytest.raises(DataError, match="is a second file of train images"):
        found_in(tmp_path)


def test_classes_of_one_name_in_several_groups_are_united_and_told(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    with h5py.File(tmp_path / "data.hdf5", "w") as file:
        for place, group in enumerate(("fish", "birds", "cats", "dogs")):
            file[f"{group}/{'ray' if place < 2 else group}"] = array("train")[place : place + 1]
    for split, groups in (("train", ["fish", "birds"]), ("val", ["cats"]), ("test", ["dogs"])):
        unpack(tmp_path, {f"cifar-fs/{split}_labels.json": json.dumps(groups).encode()})
    found = found_in(tmp_path)
    assert counts(found) == {"train": {"ray": 2}, "validation": {"cats": 1}, "test": {"dogs": 1}}
    assert "1 classes of data.hdf5" in found.remarks[0]
