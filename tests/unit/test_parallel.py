"""Axes of parallel coordinates: which, on which scale, and where runs stand on them."""

import numpy as np
import pytest

from metaviz.config.catalogue import Catalogue
from metaviz.config.options import OptionSpec
from metaviz.paths import resource
from metaviz.runs.analysis.parallel import ABSENT, inside, parallel_axes, scaled
from metaviz.runs.table.columns import Columns
from tests.unit.entries import entry

LOG = OptionSpec(name="lr", title="Rate", description="", kind="float", default=1.0, log=True)
CHOICE = OptionSpec(
    name="o", title="O", description="", kind="choice", default="b", choices=("sgd", "c", "adam")
)


def test_logarithmic_axis_puts_equal_factors_at_equal_distances():
    axis = scaled("lr", "Rate", [0.001, 0.01, 0.1], LOG)
    assert axis.scale == "log"
    np.testing.assert_allclose(axis.places, [0, 0.5, 1])
    assert [text for _, text in axis.ticks] == ["0.001", "0.01", "0.1"]


def test_number_without_that_wish_or_below_zero_is_linear():
    np.testing.assert_allclose(scaled("k", "K", [1, 2, 5], None).places, [0, 0.25, 1])
    assert scaled("lr", "Rate", [0.0, 1.0], LOG).scale == "linear"


def test_choices_stand_in_their_declared_order():
    axis = scaled("o", "O", ["adam", "sgd", "adam"], CHOICE)
    assert axis.scale == "categorical"
    assert axis.places.tolist() == [1, 0, 1]
    assert scaled("b", "B", [True, False], None).ticks == ((0.0, "false"), (1.0, "true"))


@pytest.mark.parametrize("values", [[None, 0.1, 1.0], [None, "a", "b"]])
def test_absent_has_a_place_of_its_own_below(values):
    axis = scaled("x", "X", values, LOG if isinstance(values[1], float) else None)
    assert axis.absent
    assert axis.places.tolist() == [ABSENT, 0, 1]
    assert inside(axis, (ABSENT - 0.01, -0.01)).tolist() == [True, False, False]


def test_one_value_stands_in_the_middle():
    assert scaled("k", "K", [3, 3], None).places.tolist() == [0.5, 0.5]


def test_brush_holds_its_ends():
    axis = scaled("k", "K", [0, 1, 2, 3, 4], None)
    assert inside(axis, (0.75, 0.25)).tolist() == [False, True, True, True, False]


def test_axes_are_those_in_which_runs_differ_and_the_result():
    catalogue = Catalogue.model_validate_json(resource("catalogue.json").read_text("utf-8"))
    columns = Columns(catalogue)
    runs = [
        entry("a", "maml", loss=0.5, shared={"inner_lr": 0.1}),
        entry("b", "imaml", loss=np.nan, shared={"inner_lr": 0.01}, options={"prox": 2.0}),
    ]
    axes = parallel_axes(runs, "loss", columns.spec, lambda key: columns.column(key).title)
    assert [axis.key for axis in axes] == ["algorithm", "inner_lr", "imaml.prox", "loss"]
    assert axes[1].scale == "log"
    assert axes[2].places[0] == ABSENT
    assert axes[3].places.tolist() == [0.5, ABSENT]


def test_options_of_one_method_among_several_have_no_axis():
    columns = Columns(Catalogue.model_validate_json(resource("catalogue.json").read_text("utf-8")))
    runs = [entry(name, name, loss=0.5) for name in ("maml", "fomaml", "reptile")]
    runs += [entry("b", "imaml", loss=0.1, options={"prox": 2.0})]
    axes = parallel_axes(runs, "loss", columns.spec, lambda key: key)
    assert [axis.key for axis in axes] == ["algorithm", "loss"]
    half = parallel_axes(runs[2:], "loss", columns.spec, lambda key: key)
    assert [axis.key for axis in half] == ["algorithm", "imaml.prox", "loss"]
