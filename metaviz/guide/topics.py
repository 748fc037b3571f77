"""What can be read of the guide: each topic with its address, title and text as Markdown."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")
_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Topic:
    """One page of the guide.

    `kind` is the heading that contents list it under, `names` are other words that mean the same,
    and `explains` the options and quantities that it is about.
    """

    address: str
    title: str
    kind: str
    text: str
    names: tuple[str, ...] = ()
    explains: tuple[str, ...] = ()

    @property
    def links(self) -> list[str]:
        """The addresses that its text leads to."""
        return _LINK.findall(self.text)


def plain(text: str) -> str:
    """Return Markdown that shows the letters of a text, with papers on arXiv as links."""
    return _ARXIV.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", _SPECIAL.sub(r"\\\1", text))


def formula(text: str) -> str:
    """Return Markdown that shows a formula in a line of its own."""
    return f"    {text}" if text else ""


def link(topic: Topic) -> str:
    """Return Markdown that leads to a topic."""
    return f"[{plain(topic.title)}]({topic.address})"


def bullets(lines: Iterable[str]) -> str:
    """Return Markdown of a list."""
    return "\n".join(f"* {line}" for line in lines)


def paragraphs(*parts: str) -> str:
    """Return Markdown of the parts that are not empty."""
    return "\n\n".join(part.strip("\n") for part in parts if part)


def by_kind(topics: Sequence[Topic]) -> Mapping[str, list[Topic]]:
    """Return topics under their kinds, in order."""
    found: dict[str, list[Topic]] = {}
    for topic in topics:
        found.setdefault(topic.kind, []).append(topic)
    return found
