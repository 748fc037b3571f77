"""Downloads, only ever because a person asked."""

from collections.abc import Callable
from pathlib import Path

from metaviz.options import OptionError


def download(problem: str, report: Callable[[str], None]) -> Path:
    """Download a problem's data and return their folder.

    Raises: OptionError for a problem without data, DataError where the download fails.
    """
    if problem != "omniglot":
        raise OptionError("problem", f"{problem!r} has no data set to download; known: omniglot.")
    from metaviz.problems.omniglot import default_folder
    from metaviz.problems.torchvision_shim import download_omniglot

    return download_omniglot(default_folder(), report)
