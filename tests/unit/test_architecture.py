"""Who may import whom, read from the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "metaviz"
QT = {"PySide6", "pyqtgraph", "qtawesome", "shiboken6"}
ENGINE = {"worlds", "meta", "algorithms", "nets", "problems", "training", "benchmarking"}
PLAIN = ["files", "images", "config", "paths", "registry", "guide", "charts", "theory", "runs"]
FOR_THE_WINDOW = {"files", "gui", "guide", "charts", "theory", "runs", "config", "paths"}
ROOMS = (
    *(
        "files",
        "config",
        "registry",
        "plugin_loader",
        "guide",
        "charts",
        "theory",
        "runs",
        "images",
        "worlds",
        "nets",
        "meta",
        "problems",
    ),
    *("algorithms", "training", "benchmarking", "plugin_kit", "plugin", "gui", "cli", "api"),
)
"""A room imports only rooms that stand before it."""
GUI_ORDER = (
    *("widgets", "plotting", "background", "experiment", "guide", "runs", "queue"),
    *("pages", "dataset"),
    *("session", "window"),
)
RUNS_ORDER = ("model", "storage", "table", "analysis", "export")
MOST_FILES = 30
MOST_LOOSE_FILES = 12


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


def module(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
    return name.removesuffix(".__init__")


def import_graph() -> dict[str, set[str]]:
    """Return which modules of the package each one imports, TYPE_CHECKING imports included."""
    paths = {module(path): path for path in ROOT.rglob("*.py")}
    graph = {}
    for name, path in paths.items():
        found = imports(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
        # What a package's own file offers is not the package's file importing itself.
        graph[name] = {other for other in found if other in paths and other != name}
    return graph


def reached(graph: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    left = set(graph[start])
    while left:
        found |= left
        left = set().union(*(graph[name] for name in left)) - found
    return found


def import_circles() -> list[set[str]]:
    graph = import_graph()
    all_reached = {name: reached(graph, name) for name in graph}
    circles: list[set[str]] = []
    for name, others in all_reached.items():
        if name in others and not any(name in circle for circle in circles):
            circles.append({other for other in others if name in all_reached[other]})
    return circles


def upward_imports(order: tuple[str, ...], depth: int, inside: str) -> list[tuple[str, str]]:
    """Return imports between parts of a package that do not lead to an earlier part."""
    found = []
    for name, others in import_graph().items():
        for other in others:
            parts = [dotted.split(".") for dotted in (name, other)]
            known = [p[depth] if len(p) > depth and p[depth] in order else None for p in parts]
            if all(dotted.startswith(inside) for dotted in (name, other)) and None not in known:
                here, there = (order.index(str(part)) for part in known)
                if there > here:
                    found.append((name, other))
    return found


@pytest.mark.parametrize(
    ("inside", "order"),
    [("metaviz", ROOMS), ("metaviz.gui", GUI_ORDER), ("metaviz.runs", RUNS_ORDER)],
)
def test_rooms_import_only_earlier_rooms(inside, order):
    assert not upward_imports(order, inside.count(".") + 1, inside)


def test_pages_know_nothing_of_runs_dock_queue_and_data_sets():
    unknown = ("metaviz.gui.runs", "metaviz.gui.queue", "metaviz.gui.dataset")
    for name, others in import_graph().items():
        if name.startswith("metaviz.gui.pages."):
            assert not any(other.startswith(unknown) for other in others), name


def test_storage_imports_nothing_of_the_table():
    for name, others in import_graph().items():
        if name.startswith("metaviz.runs.storage."):
            assert not any(other.startswith("metaviz.runs.table") for other in others), name


def test_no_imports_go_in_a_circle():
    assert import_circles() == []


def test_no_folder_has_too_many_files():
    for folder in [ROOT, *(path for path in ROOT.rglob("*") if path.is_dir())]:
        assert len(list(folder.glob("*.py"))) <= MOST_FILES, folder
    assert len(list((ROOT / "gui").glob("*.py"))) <= MOST_LOOSE_FILES


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
