"""The shipped catalogue is the one that the engine would give."""

from metaviz.config.catalogue import Catalogue
from metaviz.paths import resource
from metaviz.training.engine import build_catalogue


def test_shipped_catalogue_is_in_step_with_the_engine():
    text = resource("catalogue.json").read_text(encoding="utf-8")
    assert Catalogue.model_validate_json(text) == build_catalogue(), (
        "run: python packaging/write_catalogue.py"
    )
