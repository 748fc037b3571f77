"""The pages of the documentation that are made of the program itself.

They hold the texts that the window's guide shows (tutorials, glossary, methods, problems, settings,
quantities) and the commands as `--help` tells of them.
"""

import inspect
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from metaviz.cli.main import app
from metaviz.config.catalogue import shipped_catalogue
from metaviz.config.options import specs
from metaviz.config.run_config import EvaluationProtocol
from metaviz.guide.chosen import METHODS, OPTIONS, PROBLEMS, QUANTITIES, Further
from metaviz.guide.library import Library
from metaviz.guide.shipped import PAGES, TERMS, TUTORIALS
from metaviz.guide.topics import Topic, by_kind, plain

_LINK = re.compile(r"\]\(/([^)\s]*)\)")
_ONE_PAGE = {
    TERMS: ("glossary", "Words that the window, the tables and these pages use."),
    PAGES: ("window", "What each page, dock and dialog shows."),
    PROBLEMS: ("problems", "Families of tasks."),
    OPTIONS: (
        "settings",
        "Every option of methods and problems, and those that all methods of a comparison share.",
    ),
    QUANTITIES: ("quantities", "Every number that a run can record."),
}


def write_reference(folder: Path) -> None:
    """Write all pages into a folder, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    further = (Further("protocol", "evaluations", tuple(specs(EvaluationProtocol))),)
    kinds = by_kind(Library(shipped_catalogue(), further).topics)
    known = {topic.address for topics in kinds.values() for topic in topics}
    for kind, (name, opening) in _ONE_PAGE.items():
        parts = [f"# {kind}\n\n{opening}", *(_section(topic, known, 2) for topic in kinds[kind])]
        _write(folder / f"{name}.md", parts)
    for kind, name in ((TUTORIALS, "tutorials"), (METHODS, "methods")):
        _write_each(folder / name, kind, kinds[kind], known)
    _write(folder / "commands.md", _commands())


def _write_each(folder: Path, kind: str, topics: Sequence[Topic], known: set[str]) -> None:
    """Write a page for each topic, and one that lists them."""
    folder.mkdir()
    names = []
    for topic in topics:
        names.append(topic.address.rpartition("/")[2])
        _write(folder / f"{names[-1]}.md", [_section(topic, known, 1)])
    listed = "\n".join(names)
    _write(folder / "index.md", [f"# {kind}", f"```{{toctree}}\n:maxdepth: 1\n\n{listed}\n```"])


def _section(topic: Topic, known: set[str], level: int) -> str:
    """Return a topic under its label, with its own headings below its title."""
    below = re.sub(r"^#", "#" * level, topic.text, flags=re.MULTILINE) if level > 1 else topic.text

    def address(found: re.Match[str]) -> str:
        target = f"/{found[1]}"
        return f"](#{_label(target)})" if target in known else "](/index.md)"

    title = f"({_label(topic.address)})=\n{'#' * level} {plain(topic.title)}"
    return f"{title}\n\n{_LINK.sub(address, below)}"


def _label(address: str) -> str:
    return address.strip("/").replace("/", "-").replace(".", "-").replace("_", "-") or "guide"


def _commands() -> list[str]:
    """Return what every command does, by its own help."""
    root = typer.main.get_command(app)
    parts = ["# Commands", "`metaviz` without a command opens the window."]
    for name, command in _named(vars(root)["commands"]):
        text = inspect.cleandoc(command.help or "")
        parts.append(f"## metaviz {name}\n\n{_escaped(text)}")
        if parameters := [_parameter(one) for one in command.params if one.name != "help"]:
            parts.append("\n".join(parameters))
    return parts


def _named(commands: Mapping[str, Any], before: str = "") -> Iterable[tuple[str, Any]]:
    for name, command in sorted(commands.items()):
        if command.hidden:
            continue
        if "commands" in vars(command):
            yield from _named(vars(command)["commands"], f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def _parameter(one: Any) -> str:
    written = ", ".join(f"`{name}`" for name in (*one.opts, *one.secondary_opts))
    kind = f"`{one.name.upper()}`" if one.param_type_name == "argument" else written
    needed = "" if not one.required else " *(needed)*"
    return f"* {kind}{needed}: {_escaped(getattr(one, 'help', None) or '')}"


def _escaped(text: str) -> str:
    """Return Markdown in which only code between backquotes is more than letters."""
    parts = text.split("`")
    return "`".join(plain(part) if place % 2 == 0 else part for place, part in enumerate(parts))


def _write(path: Path, parts: Sequence[str]) -> None:
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
