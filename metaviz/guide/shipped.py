"""The texts that come with the program: glossary, tutorials and what pages show."""

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from metaviz.guide.topics import Topic, bullets, paragraphs
from metaviz.paths import resource

TERMS, TUTORIALS, PAGES = "Glossary", "Tutorials", "The window"
_ORDER = ("sinusoids", "compare", "own-pictures", "sweep", "diverged", "reproduce")
_HEADING = re.compile(r"\A# (.+)\n")


@cache
def terms() -> tuple[Topic, ...]:
    """Return the glossary, by title."""
    found = [
        Topic(
            f"/term/{name}",
            entry["title"],
            TERMS,
            entry["text"].strip(),
            tuple(entry.get("also", ())),
            tuple(entry.get("explains", ())),
        )
        for name, entry in _toml("glossary.toml").items()
    ]
    return tuple(sorted(found, key=lambda topic: topic.title.casefold()))


@cache
def tutorials() -> tuple[Topic, ...]:
    """Return the tutorials, in the order in which they are best read."""
    return tuple(_tutorial(resource(f"guide/{name}.md")) for name in _ORDER)


@cache
def pages() -> tuple[Topic, ...]:
    """Return what pages, docks and dialogs of the window show."""
    titles = {topic.address: topic.title for topic in terms()}
    found = []
    for name, entry in _toml("pages.toml").items():
        used = [f"/term/{term}" for term in entry["terms"]]
        listed = bullets(f"[{titles.get(at, at)}]({at})" for at in used)
        text = paragraphs(entry["text"], f"Terms used there:\n\n{listed}" if used else "")
        found.append(Topic(f"/page/{name}", entry["title"], PAGES, text))
    return tuple(found)


def _tutorial(path: Path) -> Topic:
    text = path.read_text(encoding="utf-8")
    heading = _HEADING.match(text)
    if heading is None:
        raise ValueError(f"{path.name} does not begin with a heading.")
    return Topic(f"/guide/{path.stem}", heading.group(1), TUTORIALS, text[heading.end() :].strip())


def _toml(name: str) -> Mapping[str, Any]:
    return tomllib.loads(resource(f"guide/{name}").read_text(encoding="utf-8"))
