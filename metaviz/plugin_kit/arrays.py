"""Problems made of arrays or of torch Datasets: N-way episodes of their classes."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from metaviz.config.episodes import EpisodeShape
from metaviz.config.options import OptionError, Options, option
from metaviz.config.run_config import Shared
from metaviz.files.archives import DataError
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.nets.spec import NETS, NetSpec, net_spec
from metaviz.problems.base import Classification
from metaviz.problems.episodes import USUAL, draw_episodes, labels, refuse_ways, usual_shape
from metaviz.problems.registry import find_problem, register_problem

Arrays = Mapping[str, tuple[np.ndarray, np.ndarray] | torch.utils.data.Dataset[Any]]
"""Examples and their classes by split: train, test and, if there is one, validation."""
Load = Callable[[str], Arrays]
_NEEDED = ("train", "test")


class ArrayOptions(Options):
    """Options of a problem made of arrays."""

    path: str = option("", "Data", "Where the data are; what that means, the plugin says.")


def register_arrays(
    name: str,
    load: Load,
    *,
    network: str,
    title: str = "",
    summary: str = "",
    steps: int = 500,
) -> None:
    """Register a classification problem whose examples `load(path)` returns by split.

    Examples are numbers (n, *features) or 8-bit levels of pictures (n, channels, side, side), and
    their classes (n,); or a torch Dataset of such pairs. Classes of one split are in no other.
    `network` is the id of a network that was registered by `register_network`.
    """

    class Arranged(_FromArrays):
        dataset = title or name
        stream = name
        network_id = network
        loaded = staticmethod(lru_cache(maxsize=2)(lambda path: _splits(load(path))))

    Arranged.plugin = load.__module__
    register_problem(
        ArrayOptions,
        id=name,
        title=title or name,
        summary=summary or f"Tell N classes of {title or name} apart.",
        loss_name="cross-entropy (nats)",
        has_accuracy=True,
        has_images=False,
        offers=("classes", "layers", "residuals", "examples", "objective"),
        steps=steps,
        shared=USUAL,
    )(Arranged)


class _Split:
    """Examples sorted by class."""

    def __init__(self, x: np.ndarray, y: np.ndarray, name: str) -> None:
        if len(x) != len(y) or y.ndim != 1 or x.ndim < 2 or not len(x):  # noqa: PLR2004
            raise DataError(
                f"The {name} examples have the shape {x.shape} and their classes {y.shape}: give "
                "(n, *features) and (n,)."
            )
        if x.dtype.kind not in "biuf" or (x.dtype.kind == "f" and not np.isfinite(x).all()):
            raise DataError(f"The {name} examples are {x.dtype}: give numbers that are finite.")
        order = np.argsort(y, kind="stable")
        self.x = np.ascontiguousarray(x[order])
        _, self.starts, self.counts = np.unique(y[order], return_index=True, return_counts=True)


def _splits(given: Arrays) -> dict[str, _Split]:
    """Return checked splits. Raises: DataError."""
    missing = [name for name in _NEEDED if name not in given]
    if missing:
        raise DataError(f"There are no {missing[0]} examples: give train and test.")
    found = {}
    for name, value in given.items():
        x, y = value if isinstance(value, tuple) else _of_dataset(value)
        found[name] = _Split(np.asarray(x), np.asarray(y), name)
    shapes = {split.x.shape[1:] for split in found.values()}
    if len(shapes) > 1:
        raise DataError(f"Examples of splits have different shapes: {sorted(shapes)}.")
    return found


def _of_dataset(dataset: Any) -> tuple[np.ndarray, np.ndarray]:
    pairs = [dataset[place] for place in range(len(dataset))]
    x = np.stack([np.asarray(one) for one, _ in pairs])
    return x, np.array([int(label) for _, label in pairs])


class _FromArrays(Classification):
    """N-way episodes of the classes of arrays."""

    layout = "arrays of a plugin"
    chunk = 20
    shards = 1
    size = (1, 1)
    plugin = ""
    network_id: str
    loaded: Callable[[str], dict[str, _Split]]

    def __init__(self, options: ArrayOptions, shared: Shared, seed: int) -> None:
        """Load the arrays. Raises: DataError or OptionError with one sentence."""
        self.shared, self.seed, self.shape = shared, seed, usual_shape(shared)
        self.splits = self.loaded(options.path)
        self.example = self.splits["train"].x.shape[1:]
        wanted = shared.shots + shared.query_shots
        for name in _NEEDED:
            enough = int((self.splits[name].counts >= wanted).sum())
            refuse_ways(shared, enough, f"{name} classes with {wanted} examples")

    @override
    def net_spec(self) -> NetSpec:
        return net_spec(self.network_id, example=self.example, outputs=self.shared.ways)

    @override
    def counts(self) -> dict[str, np.ndarray]:
        return {name: split.counts for name, split in self.splits.items()}

    @override
    def tasks(
        self, split: str, first: int, count: int, shape: EpisodeShape | None = None
    ) -> TaskBatch:
        """Return episodes. Shapes: x (tasks, ways * n, *features), y (tasks, ways * n)."""
        part, shape = self.splits[split], shape or self.shape
        classes = np.flatnonzero(part.counts >= shape.examples)
        purpose = shape.purpose(f"{self.stream} {split}", self.shape)
        drawn = draw_episodes(self.seed, purpose, first, count, part.counts[classes], shape)
        rows = part.starts[classes[drawn.classes]][:, :, None] + drawn.images
        support, query = (
            Batch(self._examples(part.x[rows[:, :, chosen]]).flatten(1, 2), labels(*size))
            for chosen in shape.parts
            for size in [rows[:, :, chosen].shape]
        )
        return TaskBatch(support, query)

    @override
    def _images_of(
        self, split: str, classes: np.ndarray, images: np.ndarray, number: int | None
    ) -> Tensor:
        del number
        part = self.splits[split]
        return self._examples(part.x[part.starts[classes] + images])

    @staticmethod
    def _examples(x: np.ndarray) -> Tensor:
        return torch.from_numpy(x if x.dtype == np.uint8 else x.astype(np.float32))

    @override
    def shown(self, x: Tensor) -> np.ndarray:
        pictures = self.splits["train"].x.dtype == np.uint8
        return super().shown(x) if pictures else x.cpu().numpy()


def use_network(problem: str, network: str, name: str, title: str = "") -> None:
    """Register a known image problem with another network, as a problem of its own.

    `network` is the id of a network that was registered by `register_network`.
    Raises: OptionError where the problem has no pictures.
    """
    known = find_problem(problem)
    base: Any = known.factory
    if not known.entry.has_images or not isinstance(base, type):
        raise OptionError("problem", f"{problem} has no pictures, whose network could be another.")

    class Renewed(base):  # type: ignore[misc]
        def net_spec(self) -> NetSpec:
            """Describe the other network."""
            options = super().net_spec().options
            example = options["in_channels"], options["image"], options["image"]
            return net_spec(network, example=example, outputs=options["ways"])

    own = known.entry.model_copy(update={"id": name, "title": title or f"{known.entry.title}, own"})
    described = own.model_dump(exclude={"options"})
    register_problem(known.options, **described)(Renewed)
    made: Any = NETS.find(network).factory
    Renewed.plugin = getattr(made, "plugin", made.__module__)
