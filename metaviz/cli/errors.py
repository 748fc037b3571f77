"""How the command line ends where something is wrong; imports nothing heavy.

Wrong input ends with a sentence and exit code 2. Anything else is a mistake of MetaViz: it ends
with a sentence too, which names the file that holds what is needed to mend it.
"""

import os
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

BAD_INPUT = 2
INTERRUPTED = 130
NOBODY_READS = 141
BUG = 70
"""Exit code of a mistake of MetaViz; EX_SOFTWARE of sysexits.h."""
_MOST_LOG = 1_000_000
# By name, as importing the modules that raise them would load numpy and torch.
_FOR_PEOPLE = {
    "OptionError",
    "StoreError",
    "MarksError",
    "DataError",
    "ForeignError",
    "NoAnswerError",
}


def refuse(error: Exception) -> NoReturn:
    """Say what is wrong and end: with exit code 2 where it is the input, with BUG otherwise."""
    sentence = sentence_for_people(error)
    if sentence:
        end(sentence)
    place = write_report(error)
    if isinstance(error, MemoryError):
        end(
            "Memory ran out: choose fewer or smaller files, or close other programs. If there was "
            f"enough: {place[:1].lower()}{place[1:]}",
            BUG,
        )
    kind = f"{type(error).__name__}: {error}".splitlines()[0].rstrip(".")
    end(f"MetaViz met a mistake of its own ({kind:.200}). {place}", BUG)


def end(sentence: str, code: int = BAD_INPUT) -> NoReturn:
    """End with a sentence and an exit code."""
    from metaviz.cli.output import say

    say(f"metaviz: {sentence}")
    sys.exit(code)


def sentence_for_people(error: BaseException) -> str:
    """Return what input, files or the machine are to blame for; empty for a mistake of ours."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & _FOR_PEOPLE:
        text = str(error).replace("\n", " ").strip() or type(error).__name__
        return text if text.endswith((".", "!", "?")) else f"{text}."
    if not isinstance(error, OSError) or error.errno is None:
        return ""
    from metaviz.files.platform import reason_of

    place = f"{error.filename}: " if error.filename is not None else ""
    return f"{place}{reason_of(error)}."


def write_report(error: Exception) -> str:
    """Write what is needed to mend a mistake to a file; return a sentence that names it."""
    from metaviz.paths import error_log

    told = "".join(traceback.format_exception(error))
    text = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {_asked()}\n{told}\n"
    path = error_log()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        grown = path.exists() and path.stat().st_size > _MOST_LOG
        with path.open("w" if grown else "a", encoding="utf-8", errors="backslashreplace") as log:
            log.write(text)
    except OSError:
        path = Path()
        with suppress(OSError):
            handle, name = tempfile.mkstemp(prefix="metaviz-", suffix=".log")
            with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as log:
                log.write(text)
            path = Path(name)
    if path == Path():
        return "No file could be written that tells more."
    return f"Please report it with the end of {path}."


def need_ending(out: Path, *endings: str) -> None:
    """Refuse a file whose name has none of these endings; the first is advised."""
    from metaviz.config.options import OptionError

    if out.suffix.lower() not in endings:
        raise OptionError(
            "out", f"out = {str(out)!r} is not valid: use a name ending in {endings[0]}."
        )


def _asked() -> str:
    from metaviz import __version__

    return f"MetaViz {__version__}, Python {sys.version.split()[0]}, {sys.platform}: {sys.argv[1:]}"
