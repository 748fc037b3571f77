"""Who may import whom, read from the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "metaviz"
QT = {"PySide6", "pyqtgraph", "qtawesome", "shiboken6"}
ENGINE = {"meta", "algorithms", "nets", "problems", "training", "benchmarking"}
PLAIN = ["files", "images", "config", "paths", "registry", "charts", "runs"]
FOR_THE_WINDOW = {"files", "gui", "charts", "runs", "config", "paths"}


def files(room: str) -> list[Path]:
    path = ROOT / room
    found = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    assert found, f"{room} holds no Python files"
    return found


def imports(path: Path) -> set[str]:
    """Return the full dotted names that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            if node.module == "metaviz":
                found |= {f"metaviz.{alias.name}" for alias in node.names}
    return found


def tops(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


def rooms(path: Path) -> set[str]:
    parts = [name.split(".") for name in imports(path)]
    return {part[1] for part in parts if part[0] == "metaviz" and len(part) > 1}


@pytest.mark.parametrize("room", PLAIN)
def test_plain_rooms_import_neither_torch_nor_qt(room):
    for path in files(room):
        assert not tops(path) & (QT | {"torch", "torchvision"}), path
        assert not rooms(path) & (ENGINE | {"gui"}), path


def test_charts_stand_on_numpy_alone():
    for path in files("charts"):
        assert tops(path) <= {"metaviz", "numpy", "matplotlib"} | set(sys.stdlib_module_names), path
        assert rooms(path) <= {"charts"}, path
        assert path.name == "matplotlib.py" or "matplotlib" not in tops(path), path


def test_pages_leave_drawing_to_the_renderers():
    for path in files("gui/pages"):
        assert not tops(path) & {"pyqtgraph", "matplotlib"}, path
        assert "metaviz.charts.matplotlib" not in imports(path), path


def test_window_imports_no_engine():
    for path in files("gui"):
        assert not tops(path) & {"torch", "torchvision"}, path
        assert not rooms(path) - FOR_THE_WINDOW - {"__version__"}, path


@pytest.mark.parametrize("room", sorted(ENGINE))
def test_engine_rooms_import_no_qt(room):
    for path in files(room):
        assert not tops(path) & QT, path
        assert not rooms(path) & {"gui", "app"}, path


def test_only_the_composition_root_joins_window_and_engine():
    both = [
        path.name
        for path in ROOT.rglob("*.py")
        if "gui" in rooms(path) and rooms(path) & ENGINE and "gui" not in path.parts
    ]
    assert both == ["app.py"]


def test_window_comes_without_torch_matplotlib_and_scipy():
    code = (
        "import sys; import metaviz.gui.window.main_window, metaviz.app; "
        "print(sorted({'torch', 'matplotlib', 'scipy', 'pyqtgraph'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_a_first_run_loads_neither_pytorchs_compiler_nor_scipy(tmp_path):
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "import numpy as np\n"
        "from metaviz.config.run_config import Comparison\n"
        "from metaviz.runs.analysis.smoothing import smooth\n"
        "from metaviz.training.engine import LocalEngine\n"
        "(session,) = LocalEngine().start(Comparison(steps=3), Path(sys.argv[1]))\n"
        "assert list(iter(session.advance, None))\n"
        "smooth(np.ones(100), 0.9)\n"
        "print(sorted({'torch._dynamo', 'sympy', 'scipy', 'matplotlib'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
