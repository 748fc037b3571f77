"""Move modules to other places: files with git, and every import of them; nothing else.

`python packaging/move_modules.py ROOM [ROOM ...]` moves what `packaging/moves.toml` lists under
those rooms, `all` what it lists under any. What has moved already is left alone, so that a branch
which began before a move can be brought up to it, and merged, by running the same command on it.
"""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SEARCHED = ("metaviz", "tests", "packaging")
TEXTS = (".py", ".toml", ".md", ".ini", ".yml")
SCRIPT = {"moves.toml", "move_modules.py", "CHANGELOG.md"}


def read_moves(rooms: list[str]) -> dict[str, str]:
    """Return new paths by old ones, both without `.py` and below the package."""
    table = tomllib.loads((ROOT / "packaging" / "moves.toml").read_text(encoding="utf-8"))
    chosen = list(table) if rooms == ["all"] else rooms
    if unknown := set(chosen) - set(table):
        sys.exit(f"There is no room {min(unknown)!r}; known: {', '.join(table)}.")
    return {old: new for room in chosen for old, new in table[room].items()}


def move_files(moves: dict[str, str]) -> None:
    """Move files with git, making packages where they are missing.

    All leave their old places before any arrives: a module may make room for a package of its name.
    """
    present = [old for old in moves if (ROOT / "metaviz" / f"{old}.py").exists()]
    waiting = []
    for number, old in enumerate(present):
        source = ROOT / "metaviz" / f"{old}.py"
        aside = source.with_name(f"moving_{number}.py")
        git("mv", str(source), str(aside))
        waiting.append((aside, ROOT / "metaviz" / f"{moves[old]}.py"))
    for aside, target in waiting:
        for folder in reversed([target.parent, *target.parents]):
            if ROOT / "metaviz" in folder.parents and not (folder / "__init__.py").exists():
                folder.mkdir(exist_ok=True)
                (folder / "__init__.py").write_text(f'"""{folder.name}."""\n', encoding="utf-8")
                git("add", str(folder / "__init__.py"))
        git("mv", str(aside), str(target))


def rewriter(moves: dict[str, str]) -> tuple[re.Pattern[str], dict[str, str]]:
    """Return a pattern for old names, dotted or as paths, and what replaces them."""
    dotted = {_dotted(old): _dotted(new) for old, new in moves.items()}
    paths = {f"metaviz/{old}.py": f"metaviz/{new}.py" for old, new in moves.items()}
    # `metaviz.config` is now a package: `metaviz.config.run_config` is a new name, not an old one.
    now = {name.rpartition(".") for name in dotted.values()}
    inside = {parent: [] for parent, _, _ in now}
    for parent, _, name in now:
        inside[parent].append(name)
    parts = []
    for old in sorted(dotted, key=len, reverse=True):
        below = inside.get(old, [])
        guard = rf"(?!\.(?:{'|'.join(below)})\b)" if below else ""
        parts.append(rf"{re.escape(old)}(?!\w){guard}")
    names = "|".join(parts)
    files = "|".join(re.escape(path) for path in sorted(paths, key=len, reverse=True))
    return re.compile(rf"(?<![\w.])(?:{names})|(?<![\w])(?:{files})"), {**dotted, **paths}


def rewrite(moves: dict[str, str]) -> list[Path]:
    """Replace old names in every text of the repository; return the files that changed."""
    pattern, news = rewriter(moves)
    changed = []
    for path in texts():
        before = path.read_text(encoding="utf-8")
        split = split_imports(before, news) if path.suffix == ".py" else before
        after = pattern.sub(lambda match: news[match[0]], split)
        if after != before:
            path.write_text(after, encoding="utf-8")
            changed.append(path)
    return changed


def split_imports(text: str, news: dict[str, str]) -> str:
    """Return a source in which `from package import module` names the module's new package."""
    lines = text.splitlines(keepends=True)
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)]
    for node in sorted(nodes, key=lambda node: node.lineno, reverse=True):
        moved = [alias for alias in node.names if f"{node.module}.{alias.name}" in news]
        if not moved:
            continue
        indent = " " * node.col_offset
        stay = [ast.unparse(alias) for alias in node.names if alias not in moved]
        made = [f"{indent}from {node.module} import {', '.join(stay)}\n"] if stay else []
        for alias in moved:
            package, _, name = news[f"{node.module}.{alias.name}"].rpartition(".")
            called = alias.asname or alias.name
            suffix = "" if called == name else f" as {called}"
            made.append(f"{indent}from {package} import {name}{suffix}\n")
        lines[node.lineno - 1 : node.end_lineno] = made
    return "".join(lines)


def texts() -> list[Path]:
    """Return every text that may name a module."""
    found = [ROOT / "pyproject.toml", ROOT / "README.md"]
    for folder in SEARCHED:
        found += [path for path in sorted((ROOT / folder).rglob("*")) if path.suffix in TEXTS]
    return [path for path in found if path.name not in SCRIPT and "fixtures" not in path.parts]


def sort_imports(changed: list[Path]) -> None:
    """Bring imports into their order and width again."""
    sources = [str(path) for path in changed if path.suffix == ".py"]
    if sources:
        ruff = [sys.executable, "-m", "ruff"]
        quiet = subprocess.DEVNULL
        subprocess.run(
            [*ruff, "check", "--select", "I,UP", "--fix", "-q", *sources], check=False, stdout=quiet
        )
        subprocess.run([*ruff, "format", "-q", *sources], check=True)


def git(*words: str) -> None:
    """Run git in the repository. Raises: CalledProcessError."""
    subprocess.run(["git", *words], cwd=ROOT, check=True)


def _dotted(path: str) -> str:
    return f"metaviz.{path.replace('/', '.')}"


def main() -> None:
    """Move what the command line names."""
    if len(sys.argv) == 1:
        sys.exit(__doc__)
    moves = read_moves(sys.argv[1:])
    move_files(moves)
    sort_imports(rewrite(moves))


if __name__ == "__main__":
    main()
