"""The order in which methods are shown; each is a module of this package, found by itself."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from pkgutil import iter_modules

FIRST = (
    *("maml", "penalty", "fomaml", "protomaml", "reptile", "imaml", "neumann"),
    *("metasgd", "metacurvature", "metakfo", "mtnet", "warpgrad", "mirror", "metalstm", "ecml"),
    *("llama", "platipus"),
    *("episodic.protonet", "episodic.matching", "episodic.relation", "episodic.tpn"),
    *("episodic.r2d2", "episodic.siamese", "episodic.tadam", "episodic.snail", "episodic.csn"),
    *("leo", "episodic.qiao", "episodic.gidaris", "episodic.bauer"),
    *("classifier", "joint", "scratch"),
)


def method_modules() -> tuple[str, ...]:
    """Return the modules of this package: those above first, others by their names."""
    from metaviz import algorithms

    found = set(_modules(algorithms.__path__))
    return (*FIRST, *sorted(found - set(FIRST)))


def _modules(paths: Iterable[str], inside: str = "") -> Iterator[str]:
    """Yield the modules below folders, with the names of the packages they lie in."""
    for module in iter_modules(paths):
        name = f"{inside}{module.name}"
        if module.ispkg:
            yield from _modules([str(Path(path) / module.name) for path in paths], f"{name}.")
        else:
            yield name
