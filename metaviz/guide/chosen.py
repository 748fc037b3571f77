"""Topics of what can be chosen and recorded, made of the catalogue and the list of quantities."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from metaviz.config.catalogue import AlgorithmEntry, Catalogue, ProblemEntry
from metaviz.config.options import OptionSpec, Plain
from metaviz.config.quantities import Quantity, quantity_of
from metaviz.config.traits import Traits
from metaviz.guide.topics import Topic, bullets, formula, link, paragraphs, plain

METHODS, PROBLEMS, OPTIONS, QUANTITIES = "Methods", "Problems", "Settings", "Quantities"
Terms = Callable[[str, str], list[Topic]]
"""Returns the terms that explain an option or quantity: its owner, empty for none, and its name."""

_TRAITS = {
    "transductive": "It is [transductive](/term/transductive): do not rank it with methods that "
    "see one query example at a time.",
    "probabilistic": "It says how sure it is: see the [Posterior](/page/posterior) page.",
}
_BETTER = {"smaller": "Smaller is better.", "larger": "Larger is better.", "": ""}


@dataclass(frozen=True)
class Further:
    """Options that are in no catalogue: whose they are, in Markdown, and what goes before names."""

    owner: str
    home: str
    options: tuple[OptionSpec, ...]


def option_topics(
    catalogue: Catalogue, further: Iterable[Further], terms: Terms
) -> Iterator[Topic]:
    """Yield a topic for every option: shared ones, those of methods and problems, and further."""
    for spec in (*catalogue.comparison, *catalogue.shared):
        yield _option(spec, "", "", terms)
    for group in further:
        for spec in group.options:
            yield _option(spec, group.owner, group.home, terms)
    for entry in catalogue.algorithms:
        for spec in entry.options:
            owner = f"[{plain(entry.title)}](/method/{entry.id})"
            yield _option(spec, entry.id, owner, terms, entry.title)
    for problem in catalogue.problems:
        for spec in problem.options:
            owner = f"[{plain(problem.title)}](/problem/{problem.id})"
            yield _option(spec, problem.id, owner, terms, problem.title)


def method_topic(entry: AlgorithmEntry, problems: Sequence[ProblemEntry]) -> Topic:
    """Return the help of a method: formula, cost, paper, settings, and where it can be used."""
    unsuited = [
        f"{plain(problem.title)}: {plain(reason)}"
        for problem in problems
        if (reason := entry.unsuited(problem))
    ]
    own = [f"[{plain(quantity_of(name).title)}](/quantity/{name})" for name in entry.quantities]
    text = paragraphs(
        plain(entry.summary),
        formula(entry.formula),
        f"**Cost.** {plain(entry.cost)}." if entry.cost else "",
        f"**Paper.** {plain(entry.citation)}.",
        plain(entry.note),
        _traits(entry.traits),
        _listed("Its settings", _of_options(entry.options, entry.id)),
        _listed("What it records of its own", own),
        _listed("Presets", [plain(name) for name in entry.presets]),
        _listed("Where it cannot be used", unsuited),
    )
    return Topic(f"/method/{entry.id}", entry.title, METHODS, text, (entry.id, entry.group))


def problem_topic(problem: ProblemEntry) -> Topic:
    """Return the help of a task family."""
    text = paragraphs(
        plain(problem.summary),
        f"Its loss is {plain(problem.loss_name)}.",
        f"**Source.** {plain(problem.citation)}." if problem.citation else "",
        "It needs data: see [use your own pictures](/guide/own-pictures)."
        if problem.has_images and problem.needs_data
        else "",
        _listed("Its settings", _of_options(problem.options, problem.id)),
    )
    return Topic(f"/problem/{problem.id}", problem.title, PROBLEMS, text, (problem.id,))


def quantity_topic(quantity: Quantity, terms: Terms) -> Topic:
    """Return the help of a number that runs record."""
    facts = [
        f"One number for each {quantity.per}.",
        f"Unit: {quantity.unit}." if quantity.unit else "",
        _BETTER[quantity.better],
        f"In tables and files: `{quantity.id}`.",
    ]
    text = paragraphs(_explained(terms("", quantity.id)), " ".join(filter(None, facts)))
    return Topic(f"/quantity/{quantity.id}", quantity.label, QUANTITIES, text, (quantity.id,))


def _option(spec: OptionSpec, owner: str, home: str, terms: Terms, whose: str = "") -> Topic:
    key = f"{owner}.{spec.name}" if owner else spec.name
    unit = f" ({spec.unit})" if spec.unit else ""
    choices = bullets(
        f"**{plain(spec.labels.get(choice, choice))}**" + (f" (`{choice}`)" if spec.labels else "")
        for choice in spec.choices
    )
    of = f"A setting of {home}." if home else "A setting that all methods of a comparison share."
    text = paragraphs(
        plain(spec.description),
        f"Choices:\n\n{choices}" if choices else f"Use {plain(spec.range_text)}{plain(unit)}.",
        f"Default: {_default(spec.default)}. {of} In files, tables and searches: `{key}`.",
        _explained(terms(owner, spec.name)),
    )
    title = f"{spec.title} – {whose}" if whose else spec.title
    return Topic(f"/option/{key}", title, OPTIONS, text, (key,))


def _default(value: Plain) -> str:
    return "empty" if value in {None, ""} else f"`{str(value).lower()}`"


def _explained(found: Sequence[Topic]) -> str:
    return "\n\n".join(f"**{link(topic)}.** {topic.text}" for topic in found)


def _of_options(specs: Iterable[OptionSpec], owner: str) -> list[str]:
    return [
        f"[{plain(spec.title)}](/option/{owner}.{spec.name}): {plain(spec.description)}"
        for spec in specs
    ]


def _listed(title: str, lines: Sequence[str]) -> str:
    return f"## {title}\n\n{bullets(lines)}" if lines else ""


def _traits(traits: Traits) -> str:
    told = [text for name, text in _TRAITS.items() if getattr(traits, name)]
    if not traits.has_inner_loop:
        told.insert(
            0, "It has no [inner loop](/term/inner-loop): the shared inner step size and number "
            "of inner steps mean nothing to it."
        )  # fmt: skip
    return " ".join(told)
