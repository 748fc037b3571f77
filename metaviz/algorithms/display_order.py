"""The order in which methods are shown; each is a module of this package, found by itself."""

from pkgutil import iter_modules

FIRST = (
    *("maml", "penalty", "fomaml", "reptile", "imaml", "neumann"),
    *("metasgd", "metacurvature", "metakfo", "mtnet", "warpgrad", "mirror", "metalstm", "ecml"),
    *("protonet", "joint", "scratch"),
)


def method_modules() -> tuple[str, ...]:
    """Return the modules of this package: those above first, others by their names."""
    from metaviz import algorithms

    found = {module.name for module in iter_modules(algorithms.__path__)}
    return (*FIRST, *sorted(found - set(FIRST)))
