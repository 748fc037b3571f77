"""Data sets that would take memory, time or other files: refused in a sentence, in little memory.

Each is opened by a program of its own whose memory is limited to 512 MB above what it takes to
start, within ten seconds; each has a harmless twin that is read whole.
"""

import io
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from metaviz.files.archives import DataError
from metaviz.images.decoding import decode_image
from metaviz.images.unpickle import unpickle

SIDE = 8
RANDOM = np.random.default_rng(0)
CACHE = "mini-imagenet-cache-{}.pkl"
LIMIT_MB, DEADLINE_SECONDS = 512, 10
# Virtual memory is limited, of which an idle program has mapped more than it uses.
START = """
import resource, sys, time
from contextlib import ExitStack
from pathlib import Path
from metaviz.files.archives import DataError
from metaviz.images.layouts import recognise
import h5py, numpy, PIL.Image
mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
limit = mapped + int(sys.argv[1]) * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
"""
OPEN = """
for path in sys.argv[2:]:
    began = time.monotonic()
    try:
        with ExitStack() as stack:
            found = recognise(Path(path), stack)
            images = [images for split in found.splits.values() for images in split.values()]
            for some in images:
                some[0].image()
            said = "; ".join([str(sum(map(len, images))), *found.remarks])
    except DataError as error:
        said = str(error)
    print(round(time.monotonic() - began, 1), said, flush=True)
"""


def opened(*paths: Path) -> list[str]:
    """Open data sets in a limited program; return how many images each holds, or what is wrong."""
    ended = subprocess.run(
        [sys.executable, "-c", START + OPEN, str(LIMIT_MB), *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS * len(paths),
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert len(lines) == len(paths)
    found = []
    for line in lines:
        seconds, _, said = line.partition(" ")
        assert float(seconds) < DEADLINE_SECONDS
        assert "MemoryError" not in said
        found.append(said)
    return found


def images(count: int) -> np.ndarray:
    return RANDOM.integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def cache(split: str, pixels: np.ndarray) -> dict[str, object]:
    """Return Ren's dictionary of three classes."""
    third = len(pixels) // 3
    rows = {f"{split} {n}": list(range(n * third, (n + 1) * third)) for n in range(3)}
    return {"image_data": pixels, "class_dict": rows}


def pickles(root: Path, hostile: bytes | None) -> None:
    for split in ("train", "val", "test"):
        data = pickle.dumps(cache(split, images(6)), protocol=2)
        (root / CACHE.format(split)).write_bytes(
            hostile if hostile is not None and split == "train" else data
        )


def called(name: str, *arguments: str, module: str = "__builtin__") -> str:
    """Return the text of a pickle that calls a function, without the stop."""
    return f"c{module}\n{name}\n({''.join(arguments)}tR"


def doubled(times: int, begin: str, end: str) -> bytes:
    """Return a pickle that nests a container in itself, so that it stands for 2 ** times."""
    text = f"{begin}I1\n{end}p0\n0"
    for place in range(times):
        text += f"{begin}g{place}\ng{place}\n{end}p{place + 1}\n0"
    return f"{text}g{times}\n".encode()


BILLION = "I1000000000\n"
BOMBS: dict[str, bytes] = {
    "bytearray of a size": f"{called('bytearray', BILLION)}.".encode(),
    "bytes of a size": f"{called('bytes', BILLION)}.".encode(),
    "tuple of a bytearray": f"{called('tuple', called('bytearray', BILLION))}.".encode(),
    "list of a range": f"{called('list', called('xrange', BILLION))}.".encode(),
    "set of a range": f"{called('set', called('range', BILLION))}.".encode(),
    "text of a bytearray": f"{called('str', called('bytearray', BILLION))}.".encode(),
    "copies of a list": (
        b"]p0\n0" + b"(g0\n" + b"I1\n" * 50_000 + b"l0(" + b"I1\n" * 50_000 + b"lp0\n0"
        b"(" + b"c__builtin__\nlist\n(g0\ntR" * 5_000 + b"l."
    ),
    "an array by its class": f"{called('ndarray', f'({BILLION}t', module='numpy')}.".encode(),
    "a type of a size": b"cnumpy\ndtype\n(S'V1000000000'\ntR.",
    "a byte array of a length": b"\x80\x05\x96" + (8 * 10**9).to_bytes(8, "little") + b".",
    "bytes of a length": b"\x80\x04\x8e" + (8 * 10**9).to_bytes(8, "little") + b".",
    "a memo of a place": b"\x80\x02]r\xff\xff\xff\x7f.",
    "a hash of nested tuples": b"}" + doubled(60, "(", "t") + b"I1\ns.",
    "a set of nested tuples": b"c__builtin__\nset\n((" + doubled(60, "(", "t") + b"ltR.",
    "a text of nested lists": b"c__builtin__\nstr\n(" + doubled(60, "(", "l") + b"tR.",
    "pixels of nested lists": b"(S'image_data'\n" + doubled(40, "(", "l") + b"S'class_dict'\n}d.",
    "a class by its rows": pickle.dumps(
        {"image_data": images(3), "class_dict": dict.fromkeys(range(3000), [0, 1] * 3000)}
    ),
    "a file object": b"c__builtin__\nopen\n(S'/dev/zero'\ntR.",
    "a persistent number": b"P1\n.",
    "an instance": b"(S'x'\nios\nsystem\n.",
    "a state of a list": b"](S'__class__'\nI1\ndb.",
}


def test_no_pickle_takes_more_than_its_size_allows(tmp_path: Path) -> None:
    folders = []
    for name, data in [*BOMBS.items(), ("harmless", None)]:
        folders.append(tmp_path / name)
        folders[-1].mkdir()
        pickles(folders[-1], data)
    *said, harmless = opened(*folders)
    for name, sentence in zip(BOMBS, said, strict=True):
        assert "mini-imagenet-cache-train.pkl" in sentence, (name, sentence)
    assert harmless == "18"


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_of_every_protocol_are_read(protocol: int) -> None:
    held = {
        "array": images(2),
        "turned": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "letters": np.array(["ab", "c"]),
        "number": np.float32(2.5),
        "bytes": b"\x00\xff",
        "array of bytes": bytearray(b"ab"),
        "set": {1, "a"},
        "frozen": frozenset({(1, 2)}),
        "nested": [[1, (2.5, None)], {"b": True}],
        "large": 10**30,
    }
    found = unpickle(pickle.dumps(held, protocol=protocol), "x.pkl")
    assert found.keys() == held.keys()
    for name, value in held.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(found[name], value)
        else:
            assert found[name] == value


def archive(path: Path, members: dict[str, bytes], *, packed: bool = True) -> None:
    kind = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as made:
        for name, data in members.items():
            made.writestr(name, data)


def npy(array: np.ndarray, claimed: tuple[int, ...] | None = None) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    data = stream.getvalue()
    return (
        data if claimed is None else data.replace(str(array.shape).encode(), str(claimed).encode())
    )


def tiered(root: Path, data: bytes) -> None:
    """Write tieredImageNet's files of three splits, of which the training images are given."""
    for split in ("train", "val", "test"):
        folder = root / "tiered-imagenet"
        folder.mkdir(exist_ok=True)
        labels = {
            "label_specific": np.arange(6) % 2,
            "label_specific_str": [f"{split} a", f"{split} b"],
        }
        (folder / f"{split}_labels.pkl").write_bytes(pickle.dumps(labels, protocol=2))
        made = folder / f"{split}_images.npz"
        archive(made, {"images.npy": npy(images(6)) if split != "train" else data})


def test_arrays_of_archives_take_no_more_than_there_is(tmp_path: Path) -> None:
    flat = npy(np.zeros((40_000, 64, 64, 3), np.uint8)[:1])
    head = flat[: len(flat) - 64 * 64 * 3].replace(b"(1,", b"(40000,")
    bombs = {
        "fill": head + bytes(40_000 * 64 * 64 * 3),
        "claim": npy(images(6), (6 * 10**9, SIDE, SIDE, 3)),
        "objects": npy(images(6)).replace(b"|u1", b"|O "),
        "version": npy(images(6)).replace(b"NUMPY\x01", b"NUMPY\x09"),
    }
    folders = []
    for name, data in [*bombs.items(), ("harmless", npy(images(6)))]:
        folders.append(tmp_path / name)
        folders[-1].mkdir()
        tiered(folders[-1], data)
    *said, harmless = opened(*folders)
    assert all("train_images.npz" in sentence for sentence in said), said
    assert harmless == "18"


Writes = Callable[[h5py.Group, Path], None]


def torchmeta(root: Path, write: Writes | None) -> None:
    """Write torchmeta's files of three splits, of which the training file is given."""
    for split in ("train", "val", "test"):
        with h5py.File(root / f"{split}_data.hdf5", "w") as file:
            group = file.create_group("datasets")
            if split == "train" and write is not None:
                write(group, root)
            group.create_dataset(f"{split} class", data=images(4))


def fill(group: h5py.Group, _root: Path) -> None:
    shape = (100_000, 64, 64, 3)
    group.create_dataset("bomb", shape, "u1", chunks=(100, 64, 64, 3), fillvalue=7)


def outside(group: h5py.Group, root: Path) -> None:
    (root.parent / "secret").write_bytes(b"s" * 4 * SIDE * SIDE * 3)
    shape = (4, SIDE, SIDE, 3)
    group.create_dataset(
        "bomb", shape, "u1", external=[(str(root.parent / "secret"), 0, h5py.h5f.UNLIMITED)]
    )


def other_file(group: h5py.Group, root: Path) -> None:
    with h5py.File(root.parent / "elsewhere.h5", "w") as file:
        file["x"] = images(4)
    group["bomb"] = h5py.ExternalLink(str(root.parent / "elsewhere.h5"), "/x")


def loop(group: h5py.Group, _root: Path) -> None:
    group["bomb"] = h5py.SoftLink("/datasets/bomb")


def a_group(group: h5py.Group, _root: Path) -> None:
    group.create_group("bomb")


def mapped(group: h5py.Group, root: Path) -> None:
    with h5py.File(root.parent / "elsewhere.h5", "w") as file:
        file["x"] = images(4)
    layout = h5py.VirtualLayout((4, SIDE, SIDE, 3), "u1")
    layout[:] = h5py.VirtualSource(str(root.parent / "elsewhere.h5"), "x", (4, SIDE, SIDE, 3))
    group.create_virtual_dataset("bomb", layout)


def test_hdf5_takes_no_more_than_there_is_and_reads_no_other_file(tmp_path: Path) -> None:
    folders = []
    for write in (fill, outside, other_file, loop, a_group, mapped, None):
        folders.append(tmp_path / (write.__name__ if write else "harmless"))
        folders[-1].mkdir()
        torchmeta(folders[-1], write)
    *said, harmless = opened(*folders)
    assert all("train_data.hdf5" in sentence for sentence in said), said
    assert harmless == "12"


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    folders = [tmp_path / kind for kind in ("pipe", "device", "folder", "harmless")]
    for folder in folders:
        for split in ("train", "val", "test"):
            for name in ("a", "b"):
                (folder / split / f"{split} {name}").mkdir(parents=True)
                picture = Image.fromarray(images(1)[0])
                picture.save(folder / split / f"{split} {name}" / "0.png")
    os.mkfifo(folders[0] / "x.zip")
    (folders[1] / "x.zip").symlink_to("/dev/zero")
    (folders[2] / "x.zip").mkdir()
    said = opened(*folders)
    assert said[3] == "6", said
    assert said[2].startswith("6")
    for sentence in said[:2]:
        assert "x.zip is no regular file" in sentence


def photographs() -> dict[str, Image.Image]:
    """Return photographs of 60 megapixels in every mode that images are stored in."""
    size = (7800, 7700)
    shades = Image.linear_gradient("L").resize(size)
    deep = Image.fromarray(np.broadcast_to(np.arange(size[0], dtype=np.uint16), size[::-1]))
    return {
        "L.png": shades,
        "RGB.png": Image.merge("RGB", (shades,) * 3),
        "RGBA.png": Image.merge("RGBA", (shades,) * 4),
        "LA.png": Image.merge("LA", (shades, shades)),
        "P.gif": shades.convert("P"),
        "deep.png": deep,
        "F.tif": Image.fromarray(np.asarray(shades.reduce(2), np.float32)),
    }


def test_photographs_are_scaled_down_in_little_memory(tmp_path: Path) -> None:
    folders = []
    for name, photograph in photographs().items():
        folders.append(tmp_path / name)
        for kind in "abc":
            (folders[-1] / kind).mkdir(parents=True)
            small = Image.fromarray(images(1)[0])
            small.save(folders[-1] / kind / "small.png")
        options = {"compress_level": 1} if name.endswith("png") else {}
        photograph.save(folders[-1] / "a" / name, **options)
    said = opened(*folders)
    assert [sentence.partition(";")[0] for sentence in said] == ["4"] * len(folders), said


def test_integer_images_keep_their_levels(tmp_path: Path) -> None:
    ramp = np.arange(256, dtype=np.int32).reshape(16, 16)
    for factor in (1, 257):
        path = tmp_path / f"{factor}.tif"
        Image.fromarray(ramp * factor).save(path)
        found = decode_image(path.read_bytes(), path.name, "L", ("TIFF",))
        np.testing.assert_array_equal(np.asarray(found), ramp)
    Image.fromarray(ramp - 5).save(tmp_path / "below.tif")
    with pytest.raises(DataError, match="levels run from -5 to 250"):
        decode_image((tmp_path / "below.tif").read_bytes(), "below.tif", "L", ("TIFF",))


def test_the_limit_is_one() -> None:
    program = "x = bytearray(600 * 2**20)"
    ended = subprocess.run(
        [sys.executable, "-c", START + program, str(LIMIT_MB)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "MemoryError" in ended.stderr
