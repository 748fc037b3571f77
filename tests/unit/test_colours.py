"""Text, edges and curves stand out in every theme; methods stay apart, whoever looks at them."""

from itertools import combinations

import numpy as np
import pytest

from metaviz.charts.values import LOOKS, MARKERS, ON_PAPER, PALETTE
from metaviz.config.catalogue import shipped_catalogue
from metaviz.gui.widgets.theme import THEMES, Theme, curve_color
from metaviz.runs.model.styles import algorithm_color, algorithm_marker
from tests.unit.colour_science import contrast, distance, seen, seen_by_deuteranopes

every_theme = pytest.mark.parametrize(
    "theme", THEMES, ids=lambda one: f"{one.name}{'-contrast' * one.contrast}"
)
METHODS = [entry.id for entry in shipped_catalogue().algorithms]


def test_distance_is_that_of_published_pairs() -> None:
    # Sharma, Wu & Dalal 2005, table 1, pairs 1, 17 and 24.
    pairs = (
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((50.0, 2.5, 0.0), (50.0, 0.0, -2.5), 4.3065),
    )
    for one, other, wanted in pairs:
        assert distance(np.array(one), np.array(other)) == pytest.approx(wanted, abs=1e-4)


@every_theme
def test_text_is_read_on_every_ground(theme: Theme) -> None:
    least = 7.0 if theme.contrast else 4.5
    texts = ("foreground", "muted", "error", "warning", "good", "accent")
    for ground in ("background", "window"):
        for text in texts:
            found = contrast(getattr(theme, text), getattr(theme, ground))
            assert found >= least, (text, ground, found)
    for text, ground in (
        ("foreground", "raised"),
        ("on_accent", "accent"),
        ("foreground", "error_background"),
        ("foreground", "warning_background"),
    ):
        assert contrast(getattr(theme, text), getattr(theme, ground)) >= least, (text, ground)


@every_theme
def test_edges_of_fields_are_seen(theme: Theme) -> None:
    for ground in ("background", "window"):
        for edge in ("edge", "accent"):
            assert contrast(getattr(theme, edge), getattr(theme, ground)) >= 3


@every_theme
def test_curves_stand_out(theme: Theme) -> None:
    drawn = [*PALETTE, *(f"ramp-{share:.2f}" for share in np.linspace(0, 1, 9))]
    for color in drawn:
        found = contrast(curve_color(color, theme).name(), theme.background)
        assert found >= 3, (color, found)


@every_theme
def test_colours_of_methods_are_apart_for_everybody(theme: Theme) -> None:
    shades = [curve_color(color, theme).name() for color in PALETTE]
    for one, other in combinations(shades, 2):
        assert distance(seen(one), seen(other)) >= 13, (one, other)
        found = distance(seen_by_deuteranopes(one), seen_by_deuteranopes(other))
        assert found >= 8.5, (one, other, found)


def test_every_method_has_a_look_of_its_own() -> None:
    looks = [(algorithm_color(name), algorithm_marker(name)) for name in METHODS]
    assert len(looks) > 30
    assert len(set(looks)) == len(looks)
    assert set(LOOKS) == set(MARKERS)


def test_methods_are_told_apart_in_print_and_by_deuteranopes() -> None:
    for one, other in combinations(METHODS, 2):
        if algorithm_marker(one) != algorithm_marker(other):
            continue
        shades = [ON_PAPER[algorithm_color(name)] for name in (one, other)]
        grey = abs(seen(shades[0])[0] - seen(shades[1])[0])
        assert grey >= 7, (one, other, grey)
        assert distance(*map(seen_by_deuteranopes, shades)) >= 11, (one, other)
