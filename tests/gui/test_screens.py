"""The first window fits the screen, whatever its scale and fonts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPORT = """
import sys
from metaviz import app, paths
from metaviz.gui.widgets.settings_file import Settings
application = app.create_application(["metaviz"])
window = app.create_window(Settings(paths.settings_file()))
window.show()
application.processEvents()
room, needs = application.primaryScreen().availableSize(), window.minimumSizeHint()
size = window.size()
print(room.width(), room.height(), size.width(), size.height(), needs.width(), needs.height())
sys.stdout.flush()
import os
os._exit(0)
"""


@pytest.mark.parametrize(
    ("width", "height", "dpi"),
    [
        (1024, 640, 96),
        (1366, 768, 96),
        (1366, 768, 144),
        (1600, 1000, 144),
        (1600, 1000, 192),
        (3840, 2160, 192),
    ],
)
def test_the_first_window_fits_the_screen(
    tmp_path: Path, width: int, height: int, dpi: int
) -> None:
    screen = {"name": "s", "x": 0, "y": 0, "width": width, "height": height}
    described = {"screens": [screen | {"logicalDpi": dpi, "logicalBaseDpi": 96}]}
    (tmp_path / "screen.json").write_text(json.dumps(described))
    (tmp_path / "home").mkdir()
    inherited = {key: value for key, value in os.environ.items() if key != "QT_FONT_DPI"}
    environment = {
        **inherited,
        "QT_QPA_PLATFORM": f"offscreen:configfile={tmp_path / 'screen.json'}",
        "METAVIZ_HOME": str(tmp_path / "home"),
    }
    done = subprocess.run(
        [sys.executable, "-c", REPORT], env=environment, capture_output=True, text=True, check=True
    )
    room_x, room_y, x, y, least_x, least_y = map(int, done.stdout.split())
    assert (room_x, room_y) == (round(width * 96 / dpi), round(height * 96 / dpi))
    assert x <= room_x
    assert y <= room_y
    assert least_x <= room_x
    assert least_y <= room_y
    assert x >= min(1200, room_x - 20)
