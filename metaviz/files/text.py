"""Text of strangers as it may be shown: what would steer a terminal or turn letters round is seen.

Escape sequences move a terminal's cursor, set its title and more; marks of direction let a name
read other than it is. Both become the numbers of their letters.
"""

import codecs
import re
from collections.abc import Iterable
from contextlib import suppress

from metaviz.files.platform import joined

_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_SAMPLE = 1000
_BREAKS = re.compile(r"[\t\n]")


def printable(text: str) -> str:
    """Return a text whose every control character but tabs and line ends is written as a number."""
    return _STEERING.sub(_number, text)


def one_line(text: str) -> str:
    """Return a text that is printable and has no tabs and line ends, either."""
    return _BREAKS.sub(" ", printable(text))


def shell_line(words: Iterable[str]) -> str:
    """Return words as one line that a shell reads as those words; control characters as numbers."""
    return joined(map(one_line, words))


def text_of(data: bytes) -> str:
    """Decode the text that a person's program wrote: UTF-8 or UTF-16 with or without a mark.

    What is neither is read by the code page of Western Windows, so that no letter is lost.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encodings = ["utf-16"]
    else:
        some = data[:_SAMPLE]
        wide = {"utf-16-be": some[0::2], "utf-16-le": some[1::2]}
        likely = [name for name, half in wide.items() if 4 * half.count(0) > len(some)]
        encodings = [*likely, "utf-8-sig", "cp1252"]
    for encoding in encodings:
        with suppress(UnicodeDecodeError):
            return data.decode(encoding)
    return data.decode("latin-1")


def _number(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x100:  # noqa: PLR2004 - two digits
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"  # noqa: PLR2004 - four digits
