"""Contours of a plane: where they are, and how pieces are joined."""

import numpy as np
import pytest

from metaviz.charts.contours import contours


def plane(n: int = 41) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    u, v = np.linspace(-2, 2, n), np.linspace(-1, 3, n + 4)
    return u, v, u[:, None] ** 2 + (v[None, :] - 1) ** 2


def test_contours_of_a_bowl_are_circles_of_its_levels():
    u, v, heights = plane(161)
    levels = np.array([0.5, 1.0, 2.0])
    x, y = contours(u, v, heights, levels)
    pieces = np.stack([x, y], axis=1).reshape(-1, 3, 2)
    assert np.isnan(pieces[:, 2]).all()
    lengths = np.hypot(*(pieces[:, :2] - [0.0, 1.0]).reshape(-1, 2).T) ** 2
    nearest = levels[np.abs(lengths[:, None] - levels).argmin(1)]
    assert lengths == pytest.approx(nearest, abs=1e-3)
    for level in levels:
        ends = pieces[np.isclose(nearest.reshape(-1, 2)[:, 0], level)][:, :2]
        around = np.hypot(*(ends[:, 1] - ends[:, 0]).T).sum()
        assert around == pytest.approx(2 * np.pi * np.sqrt(level), rel=1e-3)


def test_contours_of_a_saddle_join_both_pairs_of_sides():
    x, y = contours(np.arange(2.0), np.arange(2.0), np.array([[1.0, 0], [0, 1]]), np.array([0.5]))
    assert np.isfinite(x).sum() == np.isfinite(y).sum() == 4


def test_a_flat_plane_has_no_contours():
    x, y = contours(np.arange(3.0), np.arange(4.0), np.zeros((3, 4)), np.array([0.5]))
    assert len(x) == len(y) == 0
