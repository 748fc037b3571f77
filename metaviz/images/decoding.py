"""Images of any usual format as the pixels that a viewer shows."""

import io
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from metaviz.files.archives import DataError
from metaviz.files.foreign import LIBRARY_ERRORS, ForeignError

SUFFIXES = frozenset(
    {
        *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".webp"),
        *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"),
    }
)
MAX_PIXELS = 16_000_000
MAX_PHOTO_PIXELS = 64_000_000
"""What is larger than MAX_PIXELS is scaled down while it is read, one image at a time."""
_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "WEBP", "TIFF", "PPM")
_MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*")
_DEEP = frozenset({"I", "I;16", "I;16L", "I;16B", "I;16N"})
_DEEP_COLOUR = "RGB;16B"
_HIGHEST, _WHITE = 2**16 - 1, 255
_PHOTO_SIDE = 2048
_ORIENTATION = 0x0112
_STRIP_PIXELS = 2_000_000
_MOST_BYTES = 450_000_000
"""So much memory a file and its pixels may take together, as PIL holds them: 4 bytes each."""
_PIXEL_BYTES = 4
Image.MAX_IMAGE_PIXELS = None  # the size is checked here, before memory is taken
_LARGE = threading.Lock()


def is_image(start: bytes) -> bool:
    """Tell an image by its first bytes, whatever its name."""
    webp = start[:4] == b"RIFF" and start[8:12] == b"WEBP"
    bitmap = start[:2] == b"BM" and start[6:10] == bytes(4)
    grey_map = start[:1] == b"P" and start[1:2] in b"123456" and start[2:3].isspace()
    return webp or bitmap or grey_map or start.startswith(_MAGIC)


def sides_of(data: bytes) -> tuple[int, int] | None:
    """Return the shorter and the longer side in pixels by the head alone; None where damaged."""
    try:
        width, height = _opened(data).size
    except ForeignError:
        return None
    return min(width, height), max(width, height)


def decode_image(
    data: bytes, name: str, mode: str, usual: tuple[str, ...], most: int = MAX_PIXELS
) -> Image.Image:
    """Decode an image as viewers show it, and convert it to the PIL mode L or RGB.

    The content decides on the format; of several pictures the first is taken. Turned by its EXIF
    tag; 16-bit levels v become v >> 8; what is transparent lies on white, unless everything is.
    Raises: DataError, naming the file, if it is damaged, of another format than the `usual` ones
    and their kin, or has more than `most` pixels; the size is checked before memory is taken.
    """
    wanted = " or ".join(usual)
    try:
        image = _opened(data)
        pixels = image.width * image.height
        if pixels > most:
            raise DataError(
                f"{name} has {image.width} x {image.height} pixels; at most {most} are read"
            )
        if pixels <= min(MAX_PIXELS, most):
            return _converted(image, mode)
        size = len(data) + (0 if image.format == "JPEG" else _PIXEL_BYTES * pixels)
        if size > _MOST_BYTES:
            raise DataError(
                f"{name} takes {size / 1e6:.0f} MB of memory; at most {_MOST_BYTES / 1e6:.0f} are "
                "read, so save it smaller, or as a JPEG"
            )
        with _LARGE:
            return _reduced(image, mode)
    except _UnknownFormatError as error:
        raise DataError(
            f"{name} is not a {wanted} image, nor one of another usual format; replace it by the "
            "original"
        ) from error
    except ForeignError as error:
        raise DataError(
            f"{name} is a damaged image ({error}); replace it by the original {wanted} file"
        ) from error


class _UnknownFormatError(ForeignError):
    """A file is no image of a format that is read."""


@contextmanager
def _by_pil() -> Iterator[None]:
    """Turn what PIL raises for damaged bytes into ForeignError.

    Nothing but its own calls may stand inside: of our own code it would hide mistakes.
    """
    try:
        yield
    except UnidentifiedImageError as error:
        raise _UnknownFormatError(str(error)) from error
    except (*LIBRARY_ERRORS, Image.DecompressionBombError, Warning) as error:
        raise ForeignError(str(error) or type(error).__name__) from error


def _opened(data: bytes) -> Image.Image:
    """Return an image of which nothing but its head was read. Raises: ForeignError.

    The transparent colour of one with 16 bits is scaled to the 8 that PIL reads.
    """
    with _by_pil():
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    colour = image.info.get("transparency")
    if isinstance(colour, tuple) and any(part[3] == _DEEP_COLOUR for part in image.tile):
        image.info["transparency"] = tuple(level >> 8 for level in colour)
    return image


def _reduced(image: Image.Image, mode: str) -> Image.Image:
    """Convert a photograph to MAX_PIXELS at most; a JPEG is never held whole."""
    with _by_pil():
        image.draft(mode, (_PHOTO_SIDE, _PHOTO_SIDE))
        image.load()
    factor = math.ceil(math.sqrt(image.width * image.height / MAX_PIXELS))
    if factor == 1:
        return _converted(image, mode)
    with _by_pil():
        turned = image.getexif().get(_ORIENTATION)
    extremes = _extremes(image)
    small = Image.new(mode, (-(-image.width // factor), -(-image.height // factor)))
    rows = factor * max(1, _STRIP_PIXELS // (factor * image.width))
    is_seen = any(_is_seen(strip) for _, strip in _strips(image, rows))
    for top, strip in _strips(image, rows):
        small.paste(_plain(strip, mode, extremes, is_seen).reduce(factor), (0, top // factor))
    if turned is not None:
        small.getexif()[_ORIENTATION] = turned
        _turn_upright(small)
    return small


def _strips(image: Image.Image, rows: int) -> Iterator[tuple[int, Image.Image]]:
    """Yield the parts of so many rows each, and where they begin. Raises: ForeignError."""
    for top in range(0, image.height, rows):
        with _by_pil():
            strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        yield top, strip


def _converted(image: Image.Image, mode: str) -> Image.Image:
    with _by_pil():
        image.load()
    _turn_upright(image)
    return _plain(image, mode, _extremes(image), _is_seen(image))


def _turn_upright(image: Image.Image) -> None:
    with suppress(ForeignError), _by_pil():  # a damaged tag says nothing
        ImageOps.exif_transpose(image, in_place=True)


def _extremes(image: Image.Image) -> tuple[float, float]:
    """Return between which levels an image without a fixed range lies.

    Those of PNG, and those that PIL makes of a PGM with more than 8 bits, have 16.
    """
    if image.mode not in {"I", "F"} or (image.mode == "I" and image.format in {"PNG", "PPM"}):
        return 0, _HIGHEST
    with _by_pil():
        low, high = image.getextrema()
    return low, high  # type: ignore[return-value]


def _is_seen(image: Image.Image) -> bool:
    """Return whether any pixel of an image, or a part of one, is not wholly transparent."""
    with _by_pil():
        if not image.has_transparency_data:
            return True
        known = image if image.mode in _DEEP else image.convert("RGBA").getchannel("A")
        extremes = known.getextrema()
    clear = _transparent_level(image) if known is image else 0
    return extremes != (clear, clear)


def _plain(
    image: Image.Image, mode: str, extremes: tuple[float, float], is_seen: bool
) -> Image.Image:
    """Return an image, or a part of one, as it looks on paper. Raises: ForeignError.

    is_seen: whether the whole is not wholly transparent; otherwise its alpha is ignored.
    """
    low, high = extremes
    most = _HIGHEST if image.mode in _DEEP else _WHITE
    if image.mode in _DEEP or image.mode == "F":
        if not 0 <= low <= high <= most:
            raise ForeignError(
                f"its levels run from {low:g} to {high:g} rather than from 0 to {most}"
            )
        with _by_pil():
            levels = np.asarray(image)
        clear = np.equal(levels, _transparent_level(image))
        if image.mode == "F":
            if not np.isfinite(levels).all():
                raise ForeignError("it has levels that are no numbers")
            levels = np.rint(levels * (_WHITE if high <= 1 else 1))
        elif high > _WHITE or image.mode != "I":
            levels = levels >> 8
        if is_seen:
            levels = np.where(clear, _WHITE, levels)
        return Image.fromarray(levels.astype(np.uint8), "L").convert(mode)
    with _by_pil():
        is_transparent = image.has_transparency_data
        if not is_transparent:
            return image.convert(mode)
    return _on_white(image, is_seen).convert(mode)


def _transparent_level(image: Image.Image) -> int:
    """Return the grey level that stands for nothing; -1 where none does."""
    level = image.info.get("transparency")
    return level if isinstance(level, int) else -1


def _on_white(image: Image.Image, is_seen: bool) -> Image.Image:
    """Return an image in RGB as it looks on paper; the alpha of one that is not seen is ignored."""
    with _by_pil():
        layer = image.convert("RGBA")
    if not is_seen:
        return layer.convert("RGB")
    paper = Image.new("RGBA", layer.size, (_WHITE, _WHITE, _WHITE, _WHITE))
    return Image.alpha_composite(paper, layer).convert("RGB")
