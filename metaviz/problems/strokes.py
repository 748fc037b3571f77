"""Strokes: characters of an invented script, drawn from the seed, so that nothing is downloaded."""

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from typing_extensions import override

from metaviz.config.episodes import EpisodeShape
from metaviz.config.options import Options, option
from metaviz.config.run_config import Shared
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.nets.normalisation import Affine, Statistics
from metaviz.nets.spec import NetSpec
from metaviz.problems.base import Classification
from metaviz.problems.episodes import (
    USUAL,
    draw_episodes,
    labels,
    refuse_shots,
    refuse_ways,
    usual_shape,
)
from metaviz.problems.normalising import (
    CELL,
    CELLS,
    DRAWN_BACKBONE,
    DRAWN_HELD_OUT,
    DRAWN_SIDE_OPTION,
    POOLINGS,
    adapted_option,
    affine_option,
    averaged,
    drawn_side,
    drawn_spec,
    eps_option,
    paired,
    statistics_option,
)
from metaviz.problems.omniglot_files import drawn
from metaviz.problems.registry import register_problem
from metaviz.problems.stream import uniforms

IMAGE = 28
DRAWERS = 20
CLASSES = {"train": 2000, "validation": 400, "test": 600}
MOST_STROKES = 4
_CONTROLS = 3
_SAMPLES = 24
_NUMBERS = 1 + 2 * MOST_STROKES * _CONTROLS
_STYLE = 8
_MARGIN = 0.18
_WOBBLE = 0.05
_KEPT = 4096


class StrokesOptions(Options):
    """Options of the invented script."""

    script: int = option(
        0,
        "Script",
        "Seed of the script: its characters and the hands that draw them.",
        ge=0,
        le=2**31 - 1,
    )
    variation: float = option(
        1.0,
        "Variation",
        "How much a character changes from hand to hand: slant, size, place, thickness and the "
        "course of each stroke. 0: all draw alike.",
        ge=0,
        le=3,
    )
    channels: int = option(32, "Channels", "Filters of each convolution.", ge=1, le=512)
    pooling: Literal["max", "stride", "twice", "mean"] = option(
        "max",
        "Halving",
        "Max-pooling after each block, or strided convolutions with a spatial mean at the end. "
        "Twice: after the first two blocks, which convolve without padding, as in relation "
        "networks. Mean: after the first three blocks, and the spatial mean at the end.",
        labels=POOLINGS,
    )
    norm: Statistics = statistics_option()
    norm_affine: Affine = affine_option()
    norm_adapted: bool = adapted_option()
    norm_eps: float = eps_option()
    backbone: Literal["conv4", "cells"] | None = DRAWN_BACKBONE
    cell: str | None = CELL
    cells: int | None = CELLS
    side: Literal["14", "28"] | None = DRAWN_SIDE_OPTION
    held_out: Literal["validation", "test"] | None = DRAWN_HELD_OUT


@register_problem(
    StrokesOptions,
    id="strokes",
    title="Strokes (invented script)",
    summary="Tell N invented characters apart; drawn from the seed, nothing to download.",
    loss_name="cross-entropy (nats)",
    has_accuracy=True,
    has_images=True,
    offers=("classes", "layers", "residuals", "examples", "objective"),
    citation="made for MetaViz after the idea of Omniglot (Lake, Salakhutdinov & Tenenbaum 2015)",
    steps=300,
    shared=USUAL | {"inner_lr": 0.4, "query_shots": 10},
)
class Strokes(Classification):
    """N-way episodes of 28x28 drawings of random Bezier strokes, 20 hands for each character.

    A character is one to four quadratic curves; a hand has a slant, a size, a place, a thickness
    and a wobble of its own for every character. Strokes are bright on dark.
    """

    dataset = "strokes"
    layout = "drawn from the seed of the script"
    chunk = 5
    shards = 2
    stream = "strokes"

    def __init__(self, options: StrokesOptions, shared: Shared, seed: int) -> None:
        """Take the script. Raises: OptionError where it has too few hands or characters."""
        self.options = options
        self.shared = shared
        self.shape = usual_shape(shared)
        self.seed = seed
        self.held_out = options.held_out or "test"
        self.side = drawn_side(options)
        self.size = (self.side, self.side)
        refuse_shots(shared, DRAWERS, "drawings of a character")
        refuse_ways(shared, min(CLASSES.values()), "characters of a split")

    def net_spec(self) -> NetSpec:
        """Describe the network."""
        return drawn_spec(self.options, self.shared)

    def tasks(
        self, split: str, first: int, count: int, shape: EpisodeShape | None = None
    ) -> TaskBatch:
        """Return episodes. Shapes: x (tasks, ways * n, 1, 28, 28), 8-bit levels; y (tasks, n)."""
        shape = shape or self.shape
        purpose = shape.purpose(f"strokes {split}", self.shape)
        sizes = np.full(CLASSES[split], DRAWERS)
        episodes = draw_episodes(self.seed, purpose, first, count, sizes, shape)
        start = _start(split)
        images = np.stack(
            [
                np.stack([self._character(start + c)[rows] for c, rows in zip(*task, strict=True)])
                for task in zip(episodes.classes.tolist(), episodes.images, strict=True)
            ]
        )
        x = torch.from_numpy(averaged(images, self.side)).unsqueeze(3)
        support, query = (
            Batch(part.flatten(1, 2), labels(*part.shape[:3]))
            for part in (x[:, :, chosen] for chosen in shape.parts)
        )
        return paired(support, query, self.options.norm)

    @staticmethod
    def of_pictures(options: StrokesOptions, images: Sequence[Image.Image], side: int) -> Tensor:
        """Return pictures of dark strokes on paper as the examples (n, 1, 28, 28) of episodes."""
        del options
        return torch.from_numpy(np.stack([drawn(one.convert("L"), side) for one in images]))[
            :, None
        ]

    def counts(self) -> dict[str, np.ndarray]:
        """Return the number of drawings of every character, by split."""
        return {split: np.full(count, DRAWERS) for split, count in CLASSES.items()}

    @override
    def _images_of(
        self, split: str, classes: np.ndarray, images: np.ndarray, number: int | None
    ) -> Tensor:
        del number
        start = _start(split)
        chosen = [self._character(start + c)[hand] for c, hand in zip(classes, images, strict=True)]
        return torch.from_numpy(averaged(np.stack(chosen), self.side)).unsqueeze(1)

    def _character(self, number: int) -> np.ndarray:
        return character(self.options.script, self.options.variation, number)


def _start(split: str) -> int:
    """Return the number of a split's first character."""
    names = list(CLASSES)
    return sum(CLASSES[name] for name in names[: names.index(split)])


@cache
def _grid() -> np.ndarray:
    middle = ((np.arange(IMAGE) + 0.5) / IMAGE).astype(np.float32)
    return np.stack(np.meshgrid(middle, middle, indexing="xy"), -1).reshape(-1, 2)


@lru_cache(maxsize=_KEPT)
def character(script: int, variation: float, number: int) -> np.ndarray:
    """Draw one character in all hands, shape (20, 28, 28), uint8."""
    draw = uniforms(script, "strokes character", number, 1, _NUMBERS)[0]
    count = 1 + int(draw[0] * MOST_STROKES)
    controls = draw[1:].reshape(MOST_STROKES, _CONTROLS, 2)[:count]
    controls = _MARGIN + (1 - 2 * _MARGIN) * controls
    hand = uniforms(
        script, "strokes hand", number * DRAWERS, DRAWERS, _STYLE + 2 * MOST_STROKES * _CONTROLS
    )
    hand = 2 * hand - 1
    wobble = hand[:, _STYLE:].reshape(DRAWERS, MOST_STROKES, _CONTROLS, 2)[:, :count]
    points = _curves(controls + _WOBBLE * variation * wobble)
    turned = _placed(points, variation * hand[:, :_STYLE])
    width = 0.035 * np.exp(0.3 * variation * hand[:, 6])
    nearest = _distance(turned.astype(np.float32))
    ink = np.clip(1.5 - nearest / width[:, None], 0, 1)
    levels: np.ndarray = (255 * ink).round().astype(np.uint8)
    return levels.reshape(DRAWERS, IMAGE, IMAGE)


def _distance(points: np.ndarray) -> np.ndarray:
    """Return each pixel's distance to the nearest of points (hands, points, 2), (hands, 784)."""
    grid = _grid()
    squares = (points**2).sum(-1)[:, None] - 2 * grid @ points.transpose(0, 2, 1)
    nearest: np.ndarray = squares.min(-1) + (grid**2).sum(-1)
    distance: np.ndarray = np.sqrt(np.maximum(nearest, 0))
    return distance


def _curves(controls: np.ndarray) -> np.ndarray:
    """Return points (hands, points, 2) along quadratic Bezier curves (hands, strokes, 3, 2)."""
    t = np.linspace(0, 1, _SAMPLES)
    weights = np.stack([(1 - t) ** 2, 2 * t * (1 - t), t**2], -1)
    points: np.ndarray = np.einsum("pc,hscd->hspd", weights, controls)
    return points.reshape(len(controls), -1, 2)


def _placed(points: np.ndarray, hand: np.ndarray) -> np.ndarray:
    """Turn, slant, scale and shift points (hands, points, 2) about the middle."""
    angle, slant = 0.2 * hand[:, 0], 0.2 * hand[:, 1]
    across, down = np.exp(0.15 * hand[:, 2]), np.exp(0.15 * hand[:, 3])
    cosine, sine = np.cos(angle), np.sin(angle)
    matrix = np.stack(
        [
            np.stack([across * cosine, down * (slant * cosine - sine)], -1),
            np.stack([across * sine, down * (slant * sine + cosine)], -1),
        ],
        1,
    )
    moved: np.ndarray = np.einsum("hij,hpj->hpi", matrix, points - 0.5)
    return moved + 0.5 + 0.06 * hand[:, None, 4:6]
