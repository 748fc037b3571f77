"""Files are opened in a few places, which check what they are; all other code asks those."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2] / "metaviz"
OPENING = {
    *("open", "os.open", "os.fdopen", "io.open", "sqlite3.connect", "zipfile.ZipFile"),
    *("tarfile.open", "np.load", "np.fromfile", "np.memmap", "torch.load", "pickle.load"),
    *("pickle.loads", "tomllib.load", "tomllib.loads", "json.load", "Image.open", "mmap.mmap"),
}
METHODS = {"read_text", "read_bytes"}
CHECKS = {"S_ISREG", "S_ISLNK", "is_fifo", "is_socket", "is_block_device", "is_char_device"}
OWN, SYSTEM = "a file of this program's own", "what the system tells of itself"
BYTES = "bytes in memory, which were read through the door"
ALLOWED = {
    "app.py": SYSTEM + ", and its own log of crashes",
    "benchmarking/memory.py": SYSTEM + ", and a pipe",
    "cli/errors.py": OWN,
    "cli/main.py": "the null device",
    "cli/queue_runner.py": OWN,
    "cli/signals.py": "the null device",
    "cli/tables.py": "presets, which are shipped",
    "guide/shipped.py": "texts that come with the program",
    "images/cache.py": OWN,
    "images/decoding.py": BYTES,
    "images/fetch.py": "a download whose checksum is known",
    "images/unpack.py": "a download whose checksum is known",
    "runs/storage/archive.py": "written, and what it holds was checked by the door before",
    "runs/storage/lock.py": "a lock, which is never read",
    "meta/checkpoint_files.py": BYTES,
    "problems/backbone.py": OWN,
    "training/memory_budget.py": SYSTEM,
}
DOORS = {"files/archives.py", "files/foreign.py", "files/platform.py", "files/atomic.py"}


def sources() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def openings(tree: ast.Module) -> set[str]:
    """Return the calls that open or read a file which is not shipped with the program."""
    found = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        shipped = "resource(" in name
        method = isinstance(node.func, ast.Attribute) and node.func.attr in METHODS
        words = [ast.unparse(a) for a in (*node.args, *(word.value for word in node.keywords))]
        with_mode = name.endswith(".open") and any(
            w.strip("'") in {"rb", "wb", "ab", "r+b", "utf-8"} for w in words
        )
        if (name in OPENING or method or with_mode) and not shipped:
            found.add(name)
    return found


def test_files_are_opened_by_the_doors_alone() -> None:
    found = {name: calls for name, tree in sources() if (calls := openings(tree))}
    outside = {name: calls for name, calls in found.items() if name not in DOORS | ALLOWED.keys()}
    assert not outside
    assert ALLOWED.keys() <= found.keys(), ALLOWED.keys() - found.keys()


def test_what_a_file_is_and_how_large_is_asked_by_the_doors_alone() -> None:
    asking = set()
    for name, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in CHECKS:
                asking.add(name)
    assert asking <= DOORS


def test_libraries_refuse_within_one_call() -> None:
    """Code of ours within `refused` would have its mistakes told as damage."""
    long = []
    for name, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.With) and any(
                ast.unparse(item.context_expr).startswith("refused(") for item in node.items
            ):
                long += [f"{name}:{node.lineno}"] if len(node.body) > 2 else []
    assert not long


def test_readers_catch_no_mistakes_of_their_own() -> None:
    """What a reader raises besides damage is a mistake, and is told as one."""
    mistakes = {"KeyError", "TypeError", "AttributeError", "IndexError", "LookupError"}
    known = {
        "charts/storage.py": "stands on numpy alone; charts refuse what their fields do not hold",
        "gui/runs/runs_dock.py": "a kept state of the window, which is left out",
        "gui/session/session.py": "a kept state of the window, which is left out",
        "images/cache.py": OWN,
        "images/containers.py": "arrays of a pickle that was read within limits",
        "images/unpickle.py": "a name that is looked up among those that are harmless",
        "runs/table/columns.py": "sorts numbers beside words",
        "training/memory_budget.py": SYSTEM,
    }
    for name, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.ExceptHandler) and node.type is not None:
                caught = {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)}
                if caught & mistakes and name.split("/")[0] in {
                    "files",
                    "runs",
                    "cli",
                    "training",
                    "images",
                    "charts",
                    "gui",
                }:
                    assert name in known, (name, node.lineno)
