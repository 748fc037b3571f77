"""Images of every usual format and kind look as in a viewer; damaged ones are named at once."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metaviz.files.archives import DataError
from metaviz.images import decoding
from metaviz.images.cache import open_images
from metaviz.images.decoding import decode_image
from metaviz.problems.inspection import inspect_data
from metaviz.problems.omniglot_files import read_omniglot
from tests.unit.command_line import metaviz
from tests.unit.image_data import SIX, counts, found_in, image, images
from tests.unit.test_omniglot_files import files as drawings
from tests.unit.test_omniglot_files import png_claiming, unpack

SIDE = 16
RAMP = np.linspace(0, 255, SIDE).astype(np.uint8)
GREY = np.tile(RAMP[:, None], (1, SIDE))
COLOUR = np.stack([GREY, GREY.T, np.full_like(GREY, 90)], axis=2)


def saved(picture: Image.Image, form: str = "PNG", **how: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **how)
    return buffer.getvalue()


def levels(data: bytes, mode: str = "RGB") -> np.ndarray:
    return np.asarray(decode_image(data, "it", mode, ("JPEG", "PNG"))).astype(int)


LOSSLESS = {
    "PNG": saved(Image.fromarray(COLOUR)),
    "BMP": saved(Image.fromarray(COLOUR), "BMP"),
    "WebP": saved(Image.fromarray(COLOUR), "WEBP", lossless=True),
    "TIFF": saved(Image.fromarray(COLOUR), "TIFF"),
    "TIFF, LZW": saved(Image.fromarray(COLOUR), "TIFF", compression="tiff_lzw"),
    "PPM": saved(Image.fromarray(COLOUR), "PPM"),
    "TIFF of two": saved(
        Image.fromarray(COLOUR), "TIFF", save_all=True, append_images=[Image.new("RGB", (9, 9))]
    ),
    "animated WebP": saved(
        Image.fromarray(COLOUR), "WEBP", lossless=True, save_all=True,
        append_images=[Image.new("RGB", (SIDE, SIDE), "red")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", list(LOSSLESS))
def test_formats_without_loss_are_read_exactly(form: str) -> None:
    np.testing.assert_array_equal(levels(LOSSLESS[form]), COLOUR)


def test_formats_with_loss_are_read_nearly() -> None:
    for form in ("JPEG", "WEBP"):
        data = saved(Image.fromarray(np.repeat(COLOUR, 4, 1).repeat(4, 0)), form, quality=98)
        wanted = COLOUR.repeat(4, 0).repeat(4, 1)
        assert np.abs(levels(data) - wanted).mean() < 4


def test_first_picture_of_a_gif_is_read() -> None:
    frames = [Image.new("P", (SIDE, SIDE), place) for place in (1, 2)]
    for frame in frames:
        frame.putpalette([0, 0, 0, 200, 10, 20, 1, 250, 3])
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (levels(data) == (200, 10, 20)).all()


ENDINGS = {
    ".bmp": "BMP", ".dib": "BMP", ".webp": "WEBP", ".tif": "TIFF", ".TIFF": "TIFF", ".gif": "GIF",
    ".jpe": "JPEG", ".jfif": "JPEG", ".JPG": "JPEG", ".Jpeg": "JPEG", ".PNG": "PNG", ".ppm": "PPM",
}  # fmt: skip


@pytest.mark.parametrize("ending", list(ENDINGS))
def test_files_with_any_ending_of_images_are_read(ending: str, tmp_path: Path) -> None:
    extra = {f"train/c1/more{ending}": image(90, ENDINGS[ending])}
    found = found_in(tmp_path, images("{split}/{name}/{row}.png") | extra)
    assert counts(found) == SIX | {"train": {"c0": 2, "c1": 3}}
    assert found.remarks == ()


@pytest.mark.parametrize("form", ["BMP", "WEBP", "GIF", "TIFF", "JPEG"])
@pytest.mark.parametrize("name", ["0.png", "0.jpg", "noending", "0.jpg_large", "0.001"])
def test_content_decides_on_the_format(form: str, name: str, tmp_path: Path) -> None:
    own = images("{split}/{name}/{row}.png")
    del own["train/c0/0.png"]
    unpack(tmp_path / "data", own | {f"train/c0/{name}": image(0, form)})
    data = open_images(tmp_path / "data", tmp_path / "cache", side=8)
    assert data.splits["train"].counts.tolist() == [2, 2]
    assert data.problems == ()


def sixteen(kind: str) -> bytes:
    deep = (GREY.astype(np.uint16) << 8) + 7
    if kind == "TIFF, big-endian":
        big = io.BytesIO()
        Image.frombytes("I;16B", (SIDE, SIDE), deep.astype(">u2").tobytes()).save(big, "TIFF")
        return big.getvalue()
    return saved(Image.fromarray(deep), kind)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "TIFF, big-endian"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_sixteen_bits_are_scaled_to_eight(kind: str, mode: str) -> None:
    found = levels(sixteen(kind), mode)
    np.testing.assert_array_equal(found if mode == "L" else found[..., 0], GREY)


def test_integers_of_a_tiff_are_scaled_and_floats_understood() -> None:
    deep = Image.fromarray((GREY.astype(np.int32) << 8) + 7)
    np.testing.assert_array_equal(levels(saved(deep, "TIFF"), "L"), GREY)
    for scale in (1, 1 / 255):
        data = saved(Image.fromarray(GREY.astype(np.float32) * np.float32(scale)), "TIFF")
        np.testing.assert_array_equal(levels(data, "L"), GREY)
    for odd in (GREY * -1.0, GREY * 99.0, GREY * np.nan):
        with pytest.raises(DataError, match="rather than from 0 to 255"):
            levels(saved(Image.fromarray(odd.astype(np.float32)), "TIFF"))


def test_float_image_with_levels_that_are_no_numbers_is_damaged() -> None:
    some = GREY.astype(np.float32)
    np.testing.assert_array_equal(levels(saved(Image.fromarray(some), "TIFF"), "L"), GREY)
    some[3, 3] = np.nan
    with pytest.raises(DataError, match="levels that are no numbers"):
        levels(saved(Image.fromarray(some), "TIFF"))


@pytest.mark.parametrize("ground", [1, 255, 65535])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_transparent_level_of_sixteen_bits_is_white(ground: int, mode: str) -> None:
    drawing = np.full((SIDE, SIDE), ground, np.uint16)
    drawing[2:4] = 0
    buffer = io.BytesIO()
    Image.fromarray(drawing).save(buffer, "PNG", transparency=ground)
    found = levels(buffer.getvalue(), mode)
    assert (found[2:4] == 0).all()
    assert (found[:2] == 255).all()
    twin = levels(saved(Image.fromarray(drawing), "PNG"), mode)
    assert (twin[:2] == ground >> 8).all()


@pytest.mark.parametrize("brightest", [200, 255, 256, 300, 65535])
@pytest.mark.parametrize("kind", ["P5", "P2"])
def test_declared_depth_of_a_grey_map_decides(brightest: int, kind: str) -> None:
    deep = np.arange(256, dtype=np.uint16).reshape(16, 16) % 199
    deep[0, 0] = brightest
    text = " ".join(map(str, deep.ravel())).encode()
    body = deep.astype(">u2").tobytes() if kind == "P5" else text
    found = levels(kind.encode() + b" 16 16 65535\n" + body, "L")
    np.testing.assert_array_equal(found, deep >> 8)


def test_transparent_grounds_are_white() -> None:
    ink = np.zeros((SIDE, SIDE), np.uint8)
    alpha = np.zeros_like(ink)
    alpha[4:8], alpha[8:] = 255, 51
    wanted = 255 - alpha.astype(int)
    palette = Image.fromarray((alpha == 255).astype(np.uint8), "P")
    palette.putpalette([9, 9, 9, 0, 0, 0])
    drawn = {
        "LA": saved(Image.fromarray(np.stack([ink, alpha], 2), "LA")),
        "RGBA": saved(Image.fromarray(np.stack([ink, ink, ink, alpha], 2), "RGBA")),
        "WebP": saved(
            Image.fromarray(np.stack([ink, ink, ink, alpha], 2), "RGBA"), "WEBP",
            lossless=True, exact=True,
        ),
    }  # fmt: skip
    for name, data in drawn.items():
        for mode in ("L", "RGB"):
            found = levels(data, mode)
            assert np.abs((found if mode == "L" else found[..., 0]) - wanted).max() <= 1, name
    keyed = np.where(alpha == 255, 0, 255)
    for form in ("PNG", "GIF"):
        np.testing.assert_array_equal(levels(saved(palette, form, transparency=0), "L"), keyed)
    ground = Image.fromarray(np.where(alpha[..., None] == 255, 0, 7).repeat(3, 2).astype(np.uint8))
    np.testing.assert_array_equal(levels(saved(ground, transparency=(7, 7, 7)), "L"), keyed)


def test_opaque_images_of_those_kinds_stay(tmp_path: Path) -> None:
    opaque = np.full_like(GREY, 255)
    pictures = [
        Image.fromarray(np.stack([GREY, opaque], 2), "LA"),
        Image.fromarray(np.dstack([COLOUR, opaque]), "RGBA"),
        Image.fromarray(GREY).convert("P"),
        Image.fromarray(GREY),
    ]
    for picture in pictures:
        wanted = np.asarray(picture.convert("RGB")).astype(int)
        np.testing.assert_array_equal(levels(saved(picture)), wanted)


@pytest.mark.parametrize("tag", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_photographs_are_turned_as_their_tag_says(tag: int, form: str) -> None:
    corners = np.zeros((64, 48, 3), np.uint8)
    corners[:32, :24], corners[:32, 24:], corners[32:, :24] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    stored = {
        1: corners, 2: corners[:, ::-1], 3: corners[::-1, ::-1], 4: corners[::-1],
        5: corners.swapaxes(0, 1), 6: np.rot90(corners), 7: np.rot90(corners, 2).swapaxes(0, 1),
        8: np.rot90(corners, 3),
    }[tag]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = tag
    how = {"PNG": {}, "JPEG": {"quality": 98}, "WEBP": {"lossless": True}, "TIFF": {}}[form]
    found = levels(saved(Image.fromarray(np.ascontiguousarray(stored)), form, exif=exif, **how))
    assert found.shape == corners.shape
    assert np.abs(found - corners).mean() < 4


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_tag_turns_nothing() -> None:
    for junk in (b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0junk", b"\0"):
        found = levels(saved(Image.fromarray(COLOUR), "JPEG", quality=98, exif=junk))
        assert found.shape == COLOUR.shape


def test_inks_of_printers_become_colours() -> None:
    for colour in ((255, 255, 255), (0, 0, 0), (250, 10, 20)):
        inks = Image.new("RGB", (SIDE, SIDE), colour).convert("CMYK")
        for form in ("JPEG", "TIFF"):
            assert np.abs(levels(saved(inks, form)) - colour).max() < 4


def test_omniglot_drawings_of_other_kinds_are_read(tmp_path: Path) -> None:
    plain = read_omniglot(unpack(tmp_path / "plain", drawings()))
    other = {}
    for name, data in drawings().items():
        drawn = Image.open(io.BytesIO(data)).convert("L")
        ink = Image.new("LA", drawn.size, 0)
        ink.putalpha(drawn.point(lambda grey: 255 - grey))
        other[name.replace(".png", ".BMP")] = saved(drawn, "BMP")
        unpack(tmp_path / "transparent", {name: saved(ink)})
    for place in (unpack(tmp_path / "bmp", other), tmp_path / "transparent"):
        np.testing.assert_array_equal(read_omniglot(place).images, plain.images)


def test_photograph_of_fifty_megapixels_is_scaled_down_while_it_is_read(tmp_path: Path) -> None:
    Image.new("RGB", (8660, 5773), (10, 200, 30)).save(tmp_path / "p.jpg", quality=40)
    Image.new("L", (8000, 6250), 77).save(tmp_path / "p.png")
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from metaviz.images.decoding import decode_image\n"
        "import numpy as np\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "data = Path(sys.argv[1]).read_bytes()\n"
        "image = decode_image(data, 'it', 'RGB', ('JPEG',), 64_000_000)\n"
        "print(image.size, image.getpixel((5, 5)))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    for name, most, colour in (("p.jpg", 60, (10, 200, 30)), ("p.png", 350, (77, 77, 77))):
        done = subprocess.run(
            [sys.executable, "-c", script, tmp_path / name],
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        told, taken = done.stdout.splitlines()
        width, height, *seen = map(
            int, told.replace("(", "").replace(")", "").replace(",", "").split()
        )
        assert width * height <= 16_000_000
        assert np.abs(np.subtract(seen, colour)).max() < 5
        assert int(taken) < most * 1024, (name, taken)


def test_image_of_more_pixels_is_refused_before_memory_is_taken() -> None:
    with pytest.raises(DataError, match="9000 x 9000 pixels; at most 64000000 are read"):
        decode_image(png_claiming(9000, 9000), "it", "RGB", ("PNG",), 64_000_000)


DAMAGED = {
    "train/c0/0.png": b"",
    "train/c1/1.png": b"<html>404 not found</html>",
    "val/c2/0.png": image(0)[:40],
    "test/c5/1.png": png_claiming(9000, 9000),
}


@pytest.mark.parametrize("count", [1, 2, 4])
def test_damaged_images_are_left_out_and_named_in_one_go(count: int, tmp_path: Path) -> None:
    some = dict(list(DAMAGED.items())[:count])
    contents = images("{split}/{name}/{row}.png")
    unpack(tmp_path / "data", contents | some)
    data = open_images(tmp_path / "data", tmp_path / "cache", side=8)
    (told,) = data.problems
    assert all(name in told for name in some)
    assert told.startswith(f"{count} of 12 images cannot be read: ")
    assert told.endswith("; they are left out")
    assert "\n" not in told
    kept = {name: content for name, content in contents.items() if name not in some}
    alone = open_images(unpack(tmp_path / "alone", kept), tmp_path / "cache", side=8)
    assert alone.problems == ()
    for split, classed in data.splits.items():
        other = alone.splits[split]
        assert classed.names == other.names
        assert classed.counts.tolist() == other.counts.tolist()
        first, last = classed.starts[0], classed.starts[-1]
        assert np.array_equal(classed.pixels[first:last], other.pixels[first:last])


@pytest.mark.parametrize("command", ["inspect", "compare"])
def test_a_class_without_an_image_that_can_be_read_is_refused(command: str, tmp_path: Path) -> None:
    spoilt = {"train/c1/0.png": b"", "train/c1/1.png": b"<html>", "val/c2/0.png": b""}
    root = unpack(tmp_path / "data", images("{split}/{name}/{row}.png") | spoilt)
    asked = ("--problem", "images", "--steps", "1", "--device", "cpu", "--out", tmp_path / "out")
    words = {
        "inspect": ("data", "inspect", root),
        "compare": ("compare", *asked, "--set", f"images.path={root}"),
    }[command]
    outcome = metaviz(*words)
    assert outcome.code == 2
    told = outcome.error.splitlines()[-1]
    assert told.startswith("metaviz: 3 of 12 images cannot be read: train/c1/0.png")
    assert told.endswith("none of the class c1 is left.")


def test_inspect_counts_what_training_reads(tmp_path: Path) -> None:
    root = unpack(tmp_path / "data", images("{split}/{name}/{row}.png") | DAMAGED)
    data = open_images(root, tmp_path / "cache", side=8)
    found = inspect_data(root, lambda _line: None)
    assert found.left_out == {"images that cannot be read": 4}
    assert {split: list(held.values()) for split, held in found.splits.items()} == {
        split: classed.counts.tolist() for split, classed in data.splits.items()
    }
    assert found.remarks == tuple(f"{problem}." for problem in data.problems)


def test_of_many_damaged_images_the_first_are_named(tmp_path: Path) -> None:
    spoilt = dict.fromkeys(images("{split}/{name}/{row}.png"), b"<html>")
    unpack(tmp_path / "data", spoilt)
    with pytest.raises(DataError, match=r"^12 of 12 images cannot be read: .*; and 7 more"):
        open_images(tmp_path / "data", tmp_path / "cache", side=8)
    assert not list((tmp_path / "cache").iterdir())


def test_damaged_drawings_of_omniglot_are_named_in_one_go(tmp_path: Path) -> None:
    contents = drawings()
    first, *_, last = contents
    root = unpack(tmp_path, contents | {first: b"", last: b"<html>"})
    with pytest.raises(DataError, match="2 of 12 images cannot be read") as caught:
        read_omniglot(root)
    assert first in str(caught.value)
    assert last in str(caught.value)


BOUNDED = """
import io, re, sys
from pathlib import Path
import numpy as np
from PIL import Image
from metaviz.files.archives import DataError
from metaviz.images.decoding import decode_image
kind, side, path = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
Image.fromarray(np.zeros((side, side), kind)).save(path, "TIFF")

def peak():
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])

data = path.read_bytes()
Path("/proc/self/clear_refs").write_text("5")
before = peak() - len(data) // 1024
try:
    said = str(decode_image(data, "x.tif", "RGB", ("PNG",), 64_000_000).size)
except DataError as error:
    said = str(error)
print(said, (peak() - before) // 1000, sep="|")
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells")
@pytest.mark.parametrize(
    ("kind", "side", "said"),
    [
        ("float32", 2000, "(2000, 2000)"),
        ("float32", 7000, "(3500, 3500)"),
        ("float32", 7900, "takes 499 MB of memory; at most 450 are read"),
        ("int32", 7900, "takes 499 MB of memory; at most 450 are read"),
        ("uint16", 7900, "(3950, 3950)"),
    ],
)
def test_large_uncompressed_images_are_read_within_bounds(
    kind: str, side: int, said: str, tmp_path: Path
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", BOUNDED, kind, str(side), str(tmp_path / "x.tif")],
        capture_output=True,
        text=True,
        check=True,
    )
    told, _, peak = ended.stdout.rpartition("|")
    assert said in told
    assert int(peak) < 512


def deep_colours(ground: tuple[int, int, int]) -> bytes:
    """Return a PNG of 16 bits with black rows on a transparent colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    rows = np.full((SIDE, SIDE, 3), ground, ">u2")
    rows[2:4] = 0
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    parts = [
        chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 16, 2, 0, 0, 0)),
        chunk(b"tRNS", struct.pack(">HHH", *ground)),
        chunk(b"IDAT", zlib.compress(lines)),
        chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("ground", [(1000, 2000, 65535), (256, 0, 0), (65535, 0, 0)])
def test_transparent_colour_of_sixteen_bits_is_white(ground: tuple[int, int, int]) -> None:
    found = levels(deep_colours(ground), "RGB")
    assert (found[2:4] == 0).all()
    assert (found[:2] == 255).all()


def test_transparent_part_of_a_large_image_is_white(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_PIXELS", SIDE * SIDE // 4)
    monkeypatch.setattr(decoding, "_STRIP_PIXELS", 2 * SIDE)
    drawn = np.zeros((SIDE, SIDE, 4), np.uint8)
    drawn[SIDE // 2 :, :, 3] = 255
    found = np.asarray(
        decode_image(saved(Image.fromarray(drawn), "PNG"), "x", "L", ("PNG",), SIDE * SIDE)
    )
    half = len(found) // 2
    assert ((found[:half] == 255).all(), (found[half:] == 0).all()) == (True, True)
    unseen = drawn * np.array([1, 1, 1, 0], np.uint8)
    unseen[..., :3] = 99
    data = saved(Image.fromarray(unseen), "PNG")
    assert (np.asarray(decode_image(data, "x", "L", ("PNG",), SIDE * SIDE)) == 99).all()
