"""The whole guide of a catalogue: found by address, by what it explains, and by search."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from metaviz.config.catalogue import Catalogue
from metaviz.config.quantities import QUANTITIES as RECORDED
from metaviz.config.quantities import quantity_of
from metaviz.guide.chosen import Further, method_topic, option_topics, problem_topic, quantity_topic
from metaviz.guide.shipped import PAGES, TERMS, TUTORIALS, pages, terms, tutorials
from metaviz.guide.topics import Topic, bullets, by_kind, link, paragraphs

HOME = "/"
_LISTED = (TUTORIALS, PAGES)
"""Kinds whose topics the first page lists; the others stand beside it."""
_OPENING = (
    "Everything here is on this machine: nothing is looked up elsewhere, but for papers that you "
    "open. **F1** anywhere in the window opens the page about what has the keyboard."
)


class Library:
    """Every topic of a catalogue."""

    def __init__(self, catalogue: Catalogue, further: Sequence[Further] = ()) -> None:
        """Take the catalogue and options that it lacks; texts are made when first asked for."""
        self._catalogue, self._further = catalogue, further

    @cached_property
    def topics(self) -> tuple[Topic, ...]:
        """Every topic, in the order of contents."""
        return (self._home, *self._others)

    def topic(self, address: str) -> Topic | None:
        """Return the topic at an address, None where there is none."""
        return self._by_address.get(address)

    def named(self, words: str) -> Topic | None:
        """Return what explains a heading or a name: a term, a quantity, an option, a method."""
        return self._by_name.get(words.strip().casefold())

    def search(self, query: str) -> list[Topic]:
        """Return the topics in which all words of a query occur, best first."""
        words = query.casefold().split()
        if not words:
            return list(self.topics)
        ranked = [
            (rank, place, topic)
            for place, topic in enumerate(self._others)
            if (rank := _rank(topic, words)) is not None
        ]
        return [topic for _, _, topic in sorted(ranked, key=lambda found: found[:2])]

    def terms_of(self, owner: str, name: str) -> list[Topic]:
        """Return the terms that explain an option, with its owner's id, or a quantity."""
        keys = {name, f"{owner}.{name}"}
        return [topic for topic in terms() if keys & set(topic.explains)]

    @cached_property
    def _others(self) -> tuple[Topic, ...]:
        catalogue = self._catalogue
        own = dict.fromkeys(name for entry in catalogue.algorithms for name in entry.quantities)
        recorded = {**{name: quantity_of(name) for name in own}, **RECORDED}
        return (
            *tutorials(),
            *pages(),
            *(method_topic(entry, catalogue.problems) for entry in catalogue.algorithms),
            *map(problem_topic, catalogue.problems),
            *terms(),
            *option_topics(catalogue, self._further, self.terms_of),
            *(quantity_topic(quantity, self.terms_of) for quantity in recorded.values()),
        )

    @cached_property
    def _home(self) -> Topic:
        kinds = by_kind(self._others)
        lists = [f"## {kind}\n\n{bullets(map(link, kinds[kind]))}" for kind in _LISTED]
        return Topic(HOME, "Guide", "", paragraphs(_OPENING, *lists))

    @cached_property
    def _by_address(self) -> Mapping[str, Topic]:
        return {topic.address: topic for topic in self.topics}

    @cached_property
    def _by_name(self) -> Mapping[str, Topic]:
        found: dict[str, Topic] = {}
        for name, topic in self._names():
            found.setdefault(name.casefold(), topic)
        return found

    def _names(self) -> Iterator[tuple[str, Topic]]:
        others = [topic for topic in self._others if topic.kind != TERMS]
        for group in (terms(), others):
            for topic in group:
                yield topic.title, topic
            for topic in group:
                yield from ((name, topic) for name in topic.names)


def _rank(topic: Topic, words: Iterable[str]) -> int | None:
    """Return how well a topic fits, 0 being best; None where a word does not occur."""
    title, names = topic.title.casefold(), " ".join(topic.names).casefold()
    text = topic.text.casefold()
    worst = 0
    for word in words:
        places = (title.startswith(word), word in title, word in names, word in text)
        if not any(places):
            return None
        worst = max(worst, places.index(True))
    return worst
