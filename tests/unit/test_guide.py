"""The guide: whatever can be chosen, recorded or looked at has a topic, and no link is dead."""

import re
from pathlib import Path

import pytest

from metaviz.config.catalogue import Catalogue, shipped_catalogue
from metaviz.config.quantities import COUNTED, EVALUATED, RETURNS, STORED, TRUST
from metaviz.guide.library import HOME, Library
from metaviz.guide.shipped import pages, terms, tutorials
from metaviz.guide.topics import Topic
from metaviz.paths import resource

_WORD = re.compile(r"\w+")
_FEWEST_WORDS = 5


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return shipped_catalogue()


@pytest.fixture(scope="module")
def quantities(catalogue: Catalogue) -> set[str]:
    """Ids of all that shipped methods and problems record."""
    shared = {one.id for one in (*STORED, *EVALUATED, *COUNTED, *RETURNS, *TRUST)}
    return shared.union(*(entry.quantities for entry in catalogue.algorithms))


@pytest.fixture(scope="module")
def library(catalogue: Catalogue) -> Library:
    return Library(catalogue)


def test_every_option_has_a_topic_that_says_what_it_is(library, catalogue) -> None:
    own = [(one.id, spec) for one in catalogue.algorithms for spec in one.options]
    own += [(one.id, spec) for one in catalogue.problems for spec in one.options]
    keys = [spec.name for spec in (*catalogue.shared, *catalogue.comparison)]
    keys += [f"{owner}.{spec.name}" for owner, spec in own]
    assert len(keys) > 300
    for key in keys:
        topic = library.topic(f"/option/{key}")
        assert topic is not None, key
        assert len(_WORD.findall(topic.text)) > _FEWEST_WORDS, key


def test_every_shared_option_and_quantity_is_explained_by_a_term(
    library, catalogue, quantities
) -> None:
    names = [spec.name for spec in (*catalogue.shared, *catalogue.comparison)]
    unexplained = [name for name in (*names, *quantities) if not library.terms_of("", name)]
    assert not unexplained, "add them to `explains` of a term in resources/guide/glossary.toml"
    for name in quantities:
        assert library.topic(f"/quantity/{name}") is not None


def test_terms_explain_what_there_is(catalogue, quantities) -> None:
    entries = (*catalogue.algorithms, *catalogue.problems)
    known = {spec.name for spec in (*catalogue.shared, *catalogue.comparison)} | {"seeds"}
    known |= {spec.name for entry in entries for spec in entry.options} | quantities
    known |= {f"{entry.id}.{spec.name}" for entry in entries for spec in entry.options}
    explained = [name for term in terms() for name in term.explains]
    assert [name for name in explained if name not in known] == []
    assert len(explained) == len(set(explained)), "each is explained once"


def test_every_method_tells_formula_cost_and_paper(library, catalogue) -> None:
    for entry in catalogue.algorithms:
        text = library.topic(f"/method/{entry.id}").text
        assert entry.formula in text
        assert "**Cost.**" in text, entry.id
        assert "**Paper.**" in text
        assert all(f"/option/{entry.id}.{spec.name}" in text for spec in entry.options)


def test_every_link_leads_somewhere(library) -> None:
    addresses = {topic.address for topic in library.topics}
    assert len(addresses) == len(library.topics)
    dead = [
        (topic.address, link)
        for topic in library.topics
        for link in topic.links
        if not link.startswith("https://arxiv.org/abs/") and link not in addresses
    ]
    assert dead == []


def test_every_file_of_the_guide_is_read() -> None:
    files = {path.stem for path in resource("guide").glob("*.md")}
    assert {topic.address.rpartition("/")[2] for topic in tutorials()} == files
    assert not {Path(path).suffix for path in resource("guide").iterdir()} - {".md", ".toml"}


def test_tutorials_and_pages_are_long_enough_to_help() -> None:
    assert all(len(_WORD.findall(topic.text)) > 150 for topic in tutorials())
    assert all(len(_WORD.findall(topic.text)) > 10 for topic in (*pages(), *terms()))


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("support set", "/term/support-set"),
        ("hvp", "/term/hessian-vector-product"),
        ("imaml", "/method/imaml"),
        ("sinusoids five minutes", "/guide/sinusoids"),
        ("diverges", "/guide/diverged"),
    ],
)
def test_search_finds_the_best_first(library, query, first) -> None:
    assert library.search(query)[0].address == first


def test_search_asks_for_all_words_and_finds_nothing_for_nonsense(library) -> None:
    assert library.search("zebra crossing") == []
    assert all("hessian" in _all(topic) for topic in library.search("hessian"))


@pytest.mark.parametrize(
    ("words", "address"),
    [
        ("Rate", "/term/convergence-rate"),
        ("HVPs", "/term/hessian-vector-product"),
        ("Query loss", "/term/query-loss"),
        ("imaml.prox", "/option/imaml.prox"),
        ("TF32", "/term/tf32"),
        ("Runs", "/page/runs"),
    ],
)
def test_headings_and_names_are_found(library, words, address) -> None:
    assert library.named(words).address == address


def test_the_first_page_leads_to_every_tutorial_and_page(library) -> None:
    links = library.topic(HOME).links
    assert all(topic.address in links for topic in (*tutorials(), *pages()))


def _all(topic: Topic) -> str:
    return " ".join((topic.title, *topic.names, topic.text)).casefold()
