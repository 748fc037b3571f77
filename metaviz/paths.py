"""Where things are: shipped resources, and the folder for a person's runs.

appdirs is wrapped here alone, so that its successor platformdirs can replace it in one line.
"""

import os
from pathlib import Path

import appdirs

_PACKAGE = Path(__file__).parent


def resource(name: str) -> Path:
    """Return the path of a shipped file, in a checkout as in an installed wheel."""
    installed = _PACKAGE / "resources" / name
    return installed if installed.exists() else _PACKAGE.parent / "resources" / name


def data_dir() -> Path:
    """Return the folder of runs and downloads; METAVIZ_HOME overrides it. It may not exist yet."""
    home = os.environ.get("METAVIZ_HOME")
    return Path(home) if home else Path(appdirs.user_data_dir("MetaViz", appauthor=False))


def runs_dir() -> Path:
    """Return the folder that holds one folder per run."""
    return data_dir() / "runs"


def settings_file() -> Path:
    """Return the INI file of window preferences."""
    home = os.environ.get("METAVIZ_HOME")
    folder = Path(home) if home else Path(appdirs.user_config_dir("MetaViz", appauthor=False))
    return folder / "metaviz.ini"


def error_log() -> Path:
    """Return the file to which commands write what they met unexpectedly."""
    return data_dir() / "errors.log"


def log_file() -> Path:
    """Return the log file of the window."""
    return data_dir() / "metaviz.log"
