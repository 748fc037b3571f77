"""What a terminal can write."""

import io
import sys


def escape_unknown_letters() -> None:
    """Let Greek letters meet a terminal without them: their numbers are written instead."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
