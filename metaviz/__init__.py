"""MetaViz: explore meta-learning on your desktop; `import metaviz` reads, trains and predicts.

Nothing is imported before it is asked for, PyTorch only where something is computed.
"""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"
_PLACES = {
    "Comparison": "comparing",
    "Evaluation": "judging",
    "Run": "stored",
    "Runs": "stored",
    "Store": "stored",
    "Table": "tables",
    "open_run": "stored",
    "open_store": "stored",
    **dict.fromkeys(("Adapted", "Predictions", "adapt", "predict"), "predicting"),
    **dict.fromkeys(("compare", "evaluate", "train"), "working"),
}
"""In which module of `metaviz.api` each public name is."""
__all__ = ["OptionError", "StoreError", "__version__", *_PLACES]  # noqa: PLE0604 - all are texts


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name == "OptionError":
        module = "metaviz.config.options"
    elif name == "StoreError":
        module = "metaviz.runs.storage.store"
    elif name in _PLACES:
        module = f"metaviz.api.{_PLACES[name]}"
    else:
        raise AttributeError(f"module 'metaviz' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(module), name)
    return found


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
