"""The program `metaviz`, and `python -m metaviz`."""

import gc
import os
import sys

from metaviz.cli.errors import refuse
from metaviz.cli.output import escape_unknown_letters
from metaviz.preflight import preflight

_WINDOW_ONLY = {"--demo-without-display"}


def main() -> None:
    """Open the window where nothing else is asked for; a command line's parser would delay it."""
    if _WINDOW_ONLY.issuperset(sys.argv[1:]) and preflight(os.environ) is None:
        escape_unknown_letters()
        # The window collects by itself; what imports make stays, and would be searched for 0.1 s.
        gc.disable()
        from metaviz.app import open_window

        try:
            open_window()
        except Exception as error:  # noqa: BLE001 - the command line's door
            refuse(error)
    from metaviz.cli.main import main as run_command

    run_command()


if __name__ == "__main__":
    main()
