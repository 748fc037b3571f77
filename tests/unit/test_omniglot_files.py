"""Reading Omniglot from the copies people have, and refusing what is broken or hostile."""

import io
import struct
import sys
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from metaviz.files.archives import DataError
from metaviz.problems.omniglot_files import Characters, read_omniglot

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "omniglot"
NAMES = (("Greek", "character01"), ("Greek", "character02"), ("Latin", "character01"))
DRAWERS = 4


def drawing(character: int, drawer: int, side: int = 105) -> bytes:
    """Draw a black bar on white; its height tells the character, its column the drawer."""
    image = Image.new("1", (side, side), 1)
    column = 10 + 20 * drawer
    ImageDraw.Draw(image).rectangle((column, 10, column + 8, 30 + 20 * character), fill=0)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def files(prefix: str = "", names: tuple[tuple[str, str], ...] = NAMES) -> dict[str, bytes]:
    """Return relative paths and contents of a small Omniglot below a prefix."""
    return {
        f"{prefix}{alphabet}/{character}/{100 + i:04}_{drawer + 1:02}.png": drawing(i, drawer)
        for i, (alphabet, character) in enumerate(NAMES)
        if (alphabet, character) in names
        for drawer in range(DRAWERS)
    }


def unpack(root: Path, contents: dict[str, bytes]) -> Path:
    """Write files below a folder."""
    for name, data in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def pack(path: Path, contents: dict[str, bytes]) -> Path:
    """Write files into a zip archive."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return path


def png_claiming(width: int, height: int) -> bytes:
    """Return a tiny PNG whose header claims a large size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def check_small_omniglot(characters: Characters, layout: str) -> None:
    """Assert that all of the small Omniglot was read, in order, bright on dark."""
    assert characters.layout == layout
    assert characters.names == NAMES
    assert characters.images.shape == (3, DRAWERS, 28, 28)
    assert characters.images.dtype == np.uint8
    ink = characters.images.astype(float)
    heights = ink.sum((1, 2, 3))
    assert (np.diff(heights) > 0).all()
    columns = (ink.sum(2) * np.arange(28)).sum(-1) / ink.sum((2, 3))
    assert (np.diff(columns, axis=1) > 3).all()
    assert characters.images.max() > 200
    assert characters.images[:, :, -1].max() == 0


TREES = [
    ("raw", "images_background/"),
    ("raw", "images_evaluation/"),
    ("raw", "omniglot/python/images_background_small1/"),
    ("merged", ""),
    ("merged", "data/omniglot_resized/"),
    ("torchvision", "omniglot-py/images_background/"),
    ("prototypes", "data/omniglot/data/"),
]


@pytest.mark.parametrize(("layout", "prefix"), TREES)
def test_read_omniglot_knows_layout_of_folder(tmp_path: Path, layout: str, prefix: str) -> None:
    root = unpack(tmp_path / "any name", files(prefix))
    check_small_omniglot(read_omniglot(root), layout)


@pytest.mark.parametrize(("layout", "prefix"), TREES)
def test_read_omniglot_knows_layout_of_zip(tmp_path: Path, layout: str, prefix: str) -> None:
    archive = pack(tmp_path / "any name.zip", files(prefix))
    check_small_omniglot(read_omniglot(archive), layout)
    assert [entry.name for entry in tmp_path.iterdir()] == ["any name.zip"]


def test_read_omniglot_unites_folder_of_zips(tmp_path: Path) -> None:
    pack(tmp_path / "a.zip", files("images_background_small1/", NAMES[:2]))
    pack(tmp_path / "b.zip", files("images_background_small2/", NAMES[1:]))
    characters = read_omniglot(tmp_path)
    check_small_omniglot(characters, "raw")
    assert characters.problems == ()


def test_read_omniglot_unites_background_folder_and_evaluation_zip(tmp_path: Path) -> None:
    unpack(tmp_path, files("omniglot-py/images_background/", NAMES[:1]))
    archive = files("omniglot-py/images_evaluation/", NAMES[1:])
    pack(tmp_path / "omniglot-py" / "images_evaluation.zip", archive)
    check_small_omniglot(read_omniglot(tmp_path), "torchvision")


def test_read_omniglot_reads_character_in_two_folders_once(tmp_path: Path) -> None:
    unpack(tmp_path, files("images_background/") | files("images_background_small1/"))
    check_small_omniglot(read_omniglot(tmp_path), "raw")


def test_read_omniglot_names_second_copy_it_did_not_read(tmp_path: Path) -> None:
    unpack(tmp_path, files("images_background/") | files("omniglot-py/images_background/"))
    characters = read_omniglot(tmp_path)
    check_small_omniglot(characters, "raw")
    assert len(characters.problems) == 1
    assert "torchvision layout" in characters.problems[0]


def test_read_omniglot_ignores_litter(tmp_path: Path) -> None:
    litter = {
        "__MACOSX/images_background/Greek/character01/._0100_01.png": b"litter",
        "images_background/Greek/character01/._0100_01.png": b"litter",
        "images_background/Greek/character01/Thumbs.db": b"litter",
        "images_background/readme.txt": b"litter",
    }
    check_small_omniglot(
        read_omniglot(pack(tmp_path / "a.zip", files("images_background/") | litter)), "raw"
    )


@pytest.mark.parametrize("name", ["._images_background.zip", "backup.zip"])
def test_read_omniglot_is_read_beside_archives_that_are_none(tmp_path: Path, name: str) -> None:
    pack(tmp_path / "images_background_small1.zip", files("images_background_small1/"))
    (tmp_path / name).write_bytes(b"\0\5\x16\7")
    characters = read_omniglot(tmp_path)
    check_small_omniglot(characters, "raw")
    assert len(characters.problems) == (not name.startswith("."))
    (tmp_path / "images_background_small2.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"small2\.zip is not a readable zip archive"):
        read_omniglot(tmp_path)


def test_read_omniglot_keeps_images_of_wanted_size(tmp_path: Path) -> None:
    characters = read_omniglot(unpack(tmp_path, files()), size=105)
    first = np.asarray(Image.open(io.BytesIO(drawing(0, 0))).convert("L"))
    assert np.array_equal(characters.images[0, 0], 255 - first)


def test_read_omniglot_does_not_invert_bright_strokes(tmp_path: Path) -> None:
    inverted = {}
    for name, data in files().items():
        image = Image.open(io.BytesIO(data)).convert("L").point(lambda grey: 255 - grey)
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        inverted[name] = buffer.getvalue()
    characters = read_omniglot(unpack(tmp_path, inverted))
    check_small_omniglot(characters, "merged")
    assert "not inverted" in characters.problems[0]


def test_read_omniglot_leaves_out_character_with_fewer_drawings(tmp_path: Path) -> None:
    contents = files()
    del contents["Greek/character02/0101_02.png"]
    characters = read_omniglot(unpack(tmp_path, contents))
    assert characters.names == (NAMES[0], NAMES[2])
    assert characters.images.shape[:2] == (2, DRAWERS)
    assert characters.problems == (
        "Greek/character02 has 3 drawings where most characters have 4: was left out",
    )


def test_read_omniglot_cuts_character_with_more_drawings(tmp_path: Path) -> None:
    contents = files()
    contents["Latin/character01/0102_99.png"] = drawing(0, 0)
    characters = read_omniglot(unpack(tmp_path, contents))
    check_small_omniglot(characters, "merged")
    assert "only the first 4 were read" in characters.problems[0]


def test_read_omniglot_refuses_single_drawings(tmp_path: Path) -> None:
    single = {name: data for name, data in files().items() if name.endswith("_01.png")}
    with pytest.raises(DataError, match="at least 2 are needed"):
        read_omniglot(unpack(tmp_path, single))


@pytest.mark.parametrize(
    ("member", "sentence"),
    [
        ("../Greek/character01/0100_01.png", "climbs out"),
        ("images_background/../../../x.png", "climbs out"),
        ("images\\..\\..\\x.png", "climbs out"),
        ("/etc/character01/0100_01.png", "absolute path"),
        ("C:/character01/0100_01.png", "absolute path"),
    ],
)
def test_read_omniglot_refuses_zip_with_escaping_member(
    tmp_path: Path, member: str, sentence: str
) -> None:
    archive = pack(tmp_path / "a.zip", files("images_background/") | {member: drawing(0, 0)})
    with pytest.raises(DataError, match=sentence):
        read_omniglot(archive)


def test_read_omniglot_refuses_zip_bomb(tmp_path: Path) -> None:
    bomb = {"images_background/Greek/character01/0100_09.png": bytes(20_000_000)}
    archive = pack(tmp_path / "a.zip", files("images_background/") | bomb)
    assert archive.stat().st_size < 100_000
    with pytest.raises(DataError, match="times its size"):
        read_omniglot(archive)


@pytest.mark.parametrize("limit", ["MAX_MEMBERS", "MAX_TOTAL_BYTES"])
def test_read_omniglot_refuses_zip_over_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    archive = pack(tmp_path / "a.zip", files("images_background/"))
    monkeypatch.setattr(f"metaviz.files.archives.{limit}", 11)
    with pytest.raises(DataError, match=r"at most .* are read"):
        read_omniglot(archive)


def test_read_omniglot_refuses_folder_over_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metaviz.files.archives.MAX_MEMBERS", 11)
    with pytest.raises(DataError, match="more than 11 files"):
        read_omniglot(unpack(tmp_path, files()))


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (drawing(0, 0)[:60], "damaged"),
        (drawing(0, 0)[:-40] + b"\0" * 40, "damaged"),
        (b"", "not a PNG"),
        (b"GIF89a nothing", "not a PNG"),
        (png_claiming(9000, 9000), r"9000 x 9000 pixels; at most 16000000"),
        (png_claiming(60_000, 60_000), "pixels; at most 16000000"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_read_omniglot_names_broken_image(
    tmp_path: Path, data: bytes, sentence: str, *, zipped: bool
) -> None:
    name = "images_background/Greek/character02/0101_03.png"
    contents = files("images_background/") | {name: data}
    path = pack(tmp_path / "a.zip", contents) if zipped else unpack(tmp_path, contents)
    with pytest.raises(DataError, match=sentence) as caught:
        read_omniglot(path)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_read_omniglot_names_member_with_wrong_checksum(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as stored:
        for name, data in files().items():
            stored.writestr(name, data)
    packed = bytearray(archive.read_bytes())
    at = packed.index(b"IDAT")
    packed[at + 8] ^= 255
    archive.write_bytes(packed)
    with pytest.raises(DataError, match=r"0100_01\.png in .* is damaged"):
        read_omniglot(archive)


def test_read_omniglot_refuses_file_that_is_no_zip(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no archive")
    with pytest.raises(DataError, match="not a readable zip archive"):
        read_omniglot(path)


def test_read_omniglot_refuses_truncated_zip(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", files())
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(DataError, match="not a readable zip archive"):
        read_omniglot(archive)


def test_read_omniglot_says_what_it_expects_in_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no Omniglot characters found .* expected folders like"):
        read_omniglot(tmp_path)


def test_read_omniglot_says_that_path_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_omniglot(tmp_path / "nowhere")


def test_read_omniglot_survives_folder_with_links_to_itself(tmp_path: Path) -> None:
    root = unpack(tmp_path / "omniglot", files())
    for i in range(12):
        (root / f"again{i}").symlink_to(root, target_is_directory=True)
    check_small_omniglot(read_omniglot(root), "merged")


def test_read_omniglot_names_package_for_hdf5(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    root = unpack(tmp_path, {"omniglot/data.hdf5": b"\x89HDF\r\n\x1a\n"})
    for path in (root, root / "omniglot" / "data.hdf5"):
        with pytest.raises(DataError, match="install h5py"):
            read_omniglot(path)


def test_read_omniglot_reads_torchmeta_hdf5(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    path = tmp_path / "omniglot" / "data.hdf5"
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        for i, (alphabet, character) in enumerate(NAMES):
            images = [Image.open(io.BytesIO(drawing(i, d))).convert("L") for d in range(DRAWERS)]
            stack = 255 - np.stack([np.asarray(image) for image in images])
            file[f"images_background/{alphabet}/{character}"] = stack
    characters = read_omniglot(tmp_path)
    check_small_omniglot(characters, "torchmeta")
    assert characters.problems == ()
    assert np.array_equal(
        characters.images, read_omniglot(unpack(tmp_path / "other", files())).images
    )


def test_read_omniglot_refuses_other_hdf5(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    with h5py.File(tmp_path / "data.hdf5", "w") as file:
        file["images_background/Greek/character01"] = np.zeros((2, 3))
    with pytest.raises(DataError, match="expected uint8"):
        read_omniglot(tmp_path)
    (tmp_path / "data.hdf5").write_bytes(b"nothing")
    with pytest.raises(DataError, match="not torchmeta's"):
        read_omniglot(tmp_path)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real archives are not on this machine")
def test_read_omniglot_reads_real_small_background_sets() -> None:
    start = time.perf_counter()
    characters = read_omniglot(REAL)
    seconds = time.perf_counter() - start
    assert len(characters.names) == 242
    assert characters.images.shape == (242, 20, 28, 28)
    assert {"Korean", "Tagalog", "Latin", "Greek"} <= {alphabet for alphabet, _ in characters.names}
    assert characters.layout == "raw"
    assert characters.problems == ()
    assert 0.03 < characters.images.mean() / 255 < 0.15
    assert seconds < 10


def test_import_torchvision_gives_working_transforms() -> None:
    from metaviz.problems.torchvision_shim import import_torchvision

    torchvision = import_torchvision()
    assert torchvision is import_torchvision()
    grey = torchvision.transforms.functional.pil_to_tensor(Image.new("L", (3, 2), 7))
    assert grey.shape == (1, 2, 3)
    assert int(grey.sum()) == 42
