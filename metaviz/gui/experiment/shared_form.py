"""The settings that all algorithms share: the usual ones, and a section with the rest."""

from PySide6.QtWidgets import QWidget

from metaviz.config.catalogue import Catalogue
from metaviz.config.options import OptionSpec
from metaviz.config.run_config import MACHINE, parse_seeds
from metaviz.gui.widgets.option_form import OptionForm

SEEDS = OptionSpec(
    name="seeds",
    title="Seeds",
    description="One run per algorithm and seed; all algorithms of a seed see the same tasks. "
    "Write 0,1,2 or 0-4.",
    kind="text",
    default="0",
)
USUAL = ("inner_lr", "inner_steps", "outer_lr", "meta_batch", "shots", "query_shots", "ways")
OF_THE_COMPARISON = ("steps", "seeds", *MACHINE)
"""Names that a comparison holds itself, outside its shared hyperparameters."""


def shared_form(catalogue: Catalogue, parent: QWidget) -> OptionForm:
    """Make the form of what all algorithms of a catalogue share: the usual, and more."""
    known = {spec.name: spec for spec in (*catalogue.comparison, *catalogue.shared)}
    usual = [known["steps"], SEEDS, *(known[name] for name in USUAL if name in known)]
    names = {spec.name for spec in usual}
    more = [spec for name, spec in known.items() if name not in names]
    more.sort(key=lambda spec: spec.name in OF_THE_COMPARISON)
    return OptionForm(
        usual,
        checks={"seeds": parse_seeds},
        parent=parent,
        more=more,
        more_title="More shared settings",
    )
