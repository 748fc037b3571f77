"""Text of strangers as it may be shown: what would steer a terminal or turn letters round is seen.

Escape sequences move a terminal's cursor, set its title and more; marks of direction let a name
read other than it is. Both become the numbers of their letters.
"""

import re

_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_BREAKS = re.compile(r"[\t\n]")


def printable(text: str) -> str:
    """Return a text whose every control character but tabs and line ends is written as a number."""
    return _STEERING.sub(_number, text)


def one_line(text: str) -> str:
    """Return a text that is printable and has no tabs and line ends, either."""
    return _BREAKS.sub(" ", printable(text))


def _number(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x100:  # noqa: PLR2004 - two digits
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"  # noqa: PLR2004 - four digits
