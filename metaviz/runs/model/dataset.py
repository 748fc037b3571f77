"""What a data set of images holds, and one episode of it."""

from dataclasses import dataclass

import numpy as np

MOST_SHOWN = 20
"""Classes of an episode, and images of each, that are kept for display."""


@dataclass(frozen=True)
class SplitCount:
    """The size of one split; `fewest` and `most` are images of a class."""

    classes: int
    images: int
    fewest: int
    most: int


@dataclass(frozen=True)
class SampleEpisode:
    """Images of one task, class by class: the first MOST_SHOWN of each kind.

    ways, shots and queries are the numbers of the whole task, the latter two per class.
    Shapes: support and query (classes, images, channels, height, width), uint8.
    """

    split: str
    number: int
    ways: int
    shots: int
    queries: int
    support: np.ndarray
    query: np.ndarray


@dataclass(frozen=True)
class DatasetView:
    """What was recognised.

    dataset: its usual name. layout: how it is kept, in words. size: height and width in pixels;
    None where no image was decoded. remarks: what was left out or guessed, in sentences. episode:
    None where `refusal` says why the settings allow none.
    """

    dataset: str
    layout: str
    size: tuple[int, int] | None
    splits: dict[str, SplitCount]
    remarks: tuple[str, ...]
    episode: SampleEpisode | None
    refusal: str = ""


def exchanged(images: np.ndarray) -> np.ndarray:
    """Return colour images (..., 3, height, width) with red and blue exchanged."""
    return images[..., ::-1, :, :]
