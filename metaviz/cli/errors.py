"""How the command line refuses bad input; imports nothing heavy."""

import sys
from pathlib import Path
from typing import NoReturn

# By name, as importing the modules that raise them would load numpy and torch.
_FOR_PEOPLE = {"OptionError", "StoreError", "MarksError", "DataError"}


def refuse(error: Exception) -> NoReturn:
    """Say what is wrong and end with exit code 2; raise what is no mistake of a person's."""
    if not is_for_people(error):
        raise error
    end(str(error))


def end(sentence: str) -> NoReturn:
    """End with a sentence and exit code 2."""
    sys.stderr.write(f"metaviz: {sentence}\n")
    sys.exit(2)


def is_for_people(error: Exception) -> bool:
    """Return whether an error's message is a sentence for the person who gave the input."""
    return any(kind.__name__ in _FOR_PEOPLE for kind in type(error).__mro__)


def need_ending(out: Path, *endings: str) -> None:
    """Refuse a file whose name has none of these endings; the first is advised."""
    from metaviz.config.options import OptionError

    if out.suffix.lower() not in endings:
        raise OptionError(
            "out", f"out = {str(out)!r} is not valid: use a name ending in {endings[0]}."
        )
