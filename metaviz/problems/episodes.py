"""Draws of N-way episodes: which classes, which of their images, and how they are turned."""

from typing import NamedTuple

import numpy as np
import torch

from metaviz.config.episodes import EpisodeShape
from metaviz.config.options import OptionError, Plain
from metaviz.config.run_config import Shared
from metaviz.problems.stream import uniforms

QUARTER_TURNS = 4
USUAL: dict[str, Plain] = {
    **{"inner_lr": 0.01, "inner_steps": 5, "meta_batch": 4, "shots": 1, "query_shots": 15},
    **{"ways": 5, "eval_tasks": 100, "eval_steps": 5, "reading_every": 10},
}
"""Shared hyperparameters that suit families of images."""


class Episodes(NamedTuple):
    """The draws of some tasks.

    Shapes: classes (tasks, ways); images (tasks, ways, n), places within their class, all
    different; turns (tasks, ways) uniform numbers in [0, 1).
    """

    classes: np.ndarray
    images: np.ndarray
    turns: np.ndarray


def draw_episodes(
    seed: int, purpose: str, first: int, count: int, sizes: np.ndarray, shape: EpisodeShape
) -> Episodes:
    """Draw tasks first..first+count-1 of a shape from classes with `sizes` images each.

    The order of a task's classes is its labels: 0..ways-1, drawn anew for every task. A task's
    draws depend on (seed, purpose, its number) alone.
    """
    classes, most, ways, images = len(sizes), int(sizes.max()), shape.ways, shape.examples
    draw = uniforms(seed, purpose, first, count, classes + ways + ways * most)
    by_class, turns, by_image = np.split(draw, [classes, classes + ways], axis=1)
    chosen = by_class.argsort(1, kind="stable")[:, :ways]
    order = by_image.reshape(count, ways, most)
    beyond = np.arange(most) >= sizes[chosen][:, :, None]
    order = np.where(beyond, 2.0, order)
    first_ones = np.argpartition(order, images - 1, axis=2)[:, :, :images]
    sorted_ones = np.take_along_axis(order, first_ones, 2).argsort(2)
    places = np.take_along_axis(first_ones, sorted_ones, 2)
    return Episodes(chosen, places, turns)


FEWEST = 2
"""An episode has so many classes, and so many images of each, at least."""


def labels(tasks: int, ways: int, examples: int) -> torch.Tensor:
    """Return the labels of examples that come class by class, shape (tasks, ways * examples)."""
    return torch.arange(ways).repeat_interleave(examples).expand(tasks, -1).contiguous()


def usual_shape(shared: Shared) -> EpisodeShape:
    """Return the shape of episodes that all methods share."""
    return EpisodeShape(shared.ways, shared.shots, shared.query_shots)


def refuse_shots(shared: Shared, images: int, name: str) -> None:
    """Refuse more examples of a class than there are `name`s. Raises: OptionError."""
    wanted = shared.shots + shared.query_shots
    if wanted > images:
        advice = f"use at most {images} together" if images >= FEWEST else "add images"
        raise OptionError(
            "query_shots",
            f"shots + query_shots = {wanted} is more than the {images} {name}: {advice}.",
        )


def refuse_ways(shared: Shared, classes: int, name: str) -> None:
    """Refuse more classes than there are `name`s. Raises: OptionError."""
    if shared.ways > classes:
        advice = f"use at most {classes}" if classes >= FEWEST else f"add {name}, {FEWEST} at least"
        raise OptionError(
            "ways", f"ways = {shared.ways} is more than the {classes} {name}: {advice}."
        )
