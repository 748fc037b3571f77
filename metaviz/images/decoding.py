"""Images of any usual format as the pixels that a viewer shows."""

import io
import math
import threading

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from metaviz.files.archives import DataError
from metaviz.files.foreign import LIBRARY_ERRORS

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
_HIGHEST, _WHITE = 2**16 - 1, 255
_PHOTO_SIDE = 2048
_LARGE = threading.Lock()


def is_image(start: bytes) -> bool:
    """Tell an image by its first bytes, whatever its name."""
    webp = start[:4] == b"RIFF" and start[8:12] == b"WEBP"
    bitmap = start[:2] == b"BM" and start[6:10] == bytes(4)
    grey_map = start[:1] == b"P" and start[1:2] in b"123456" and start[2:3].isspace()
    return webp or bitmap or grey_map or start.startswith(_MAGIC)


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
        image: Image.Image = Image.open(io.BytesIO(data), formats=_FORMATS)
        pixels = image.width * image.height
        if pixels <= min(MAX_PIXELS, most):
            return _converted(image, mode)
        if pixels <= most:
            with _LARGE:
                return _reduced(image, mode)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{name} has far too many pixels; at most {most} are read") from error
    except UnidentifiedImageError as error:
        raise DataError(
            f"{name} is not a {wanted} image, nor one of another usual format; replace it by the "
            "original"
        ) from error
    except LIBRARY_ERRORS as error:
        raise DataError(
            f"{name} is a damaged image ({error}); replace it by the original {wanted} file"
        ) from error
    raise DataError(f"{name} has {image.width} x {image.height} pixels; at most {most} are read")


def _reduced(image: Image.Image, mode: str) -> Image.Image:
    """Convert a photograph to MAX_PIXELS at most; a JPEG is never held whole."""
    image.draft(mode, (_PHOTO_SIDE, _PHOTO_SIDE))
    image = _converted(image, mode)
    factor = math.ceil(math.sqrt(image.width * image.height / MAX_PIXELS))
    return image.reduce(factor) if factor > 1 else image


def _converted(image: Image.Image, mode: str) -> Image.Image:
    _turn_upright(image)
    if image.mode in _DEEP:
        deep = np.asarray(image).clip(0, _HIGHEST).astype(np.uint16)
        return Image.fromarray((deep >> 8).astype(np.uint8), "L").convert(mode)
    if image.mode == "F":
        return _of_floats(image).convert(mode)
    if image.has_transparency_data:
        return _on_white(image).convert(mode)
    return image.convert(mode)


def _turn_upright(image: Image.Image) -> None:
    image.load()
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except LIBRARY_ERRORS:
        return  # a damaged tag says nothing


def _of_floats(image: Image.Image) -> Image.Image:
    """Return levels from 0 to 1, or from 0 to 255. Raises: ValueError for others."""
    levels = np.asarray(image)
    low, high = levels.min(), levels.max()
    if not (0 <= low <= high <= _WHITE):
        raise ValueError(f"its levels run from {low:g} to {high:g} rather than from 0 to 255")
    scale = _WHITE if high <= 1 else 1
    return Image.fromarray(np.rint(levels * scale).astype(np.uint8), "L")


def _on_white(image: Image.Image) -> Image.Image:
    """Return an image in RGB as it looks on paper; the alpha of one that is not seen is ignored."""
    layer = image.convert("RGBA")
    _, highest = layer.getchannel("A").getextrema()
    if not highest:
        return layer.convert("RGB")
    paper = Image.new("RGBA", layer.size, (_WHITE, _WHITE, _WHITE, _WHITE))
    return Image.alpha_composite(paper, layer).convert("RGB")
