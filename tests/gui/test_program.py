"""The program as it is started: what it imports, and how it ends."""

import os
import subprocess
import sys

import pytest

from metaviz.preflight import DISPLAY_MISSING, LIBRARIES_MISSING

START = """
import gc
import sys
from PySide6.QtCore import QTimer
from metaviz.__main__ import main
from metaviz.gui.window.main_window import MainWindow

class Watcher:
    @staticmethod
    def find_spec(name, *_):
        if name == "metaviz.app":
            print("garbage is collected:", gc.isenabled())

def look(window):
    found = {"typer", "rich", "click", "torch", "matplotlib", "PIL"} & set(sys.modules)
    print(sorted(found), flush=True)
    window.close()

sys.meta_path.insert(0, Watcher)

MainWindow.begin = lambda window: QTimer.singleShot(0, window, lambda: look(window))
sys.argv = ["metaviz", *sys.argv[1:]]
main()
"""


def start(*arguments: str, code: str = START, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("arguments", [(), ("--demo-without-display",)])
def test_window_opens_without_the_command_line(arguments) -> None:
    done = start(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["garbage is collected: False", "[]"]


def test_a_command_is_left_to_the_command_line() -> None:
    done = start("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("MetaViz ")


def test_a_bad_command_ends_with_one_sentence_and_code_2() -> None:
    done = start("--wrong")
    assert done.returncode == 2
    assert done.stderr.startswith("metaviz: ")


def test_without_a_display_the_program_says_so() -> None:
    done = start(QT_QPA_PLATFORM="xcb", DISPLAY="", WAYLAND_DISPLAY="")
    assert done.returncode in {LIBRARIES_MISSING, DISPLAY_MISSING}
    assert done.stderr.startswith("MetaViz cannot open a window")
    assert "Traceback" not in done.stderr
