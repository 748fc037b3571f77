"""Omniglot: handwritten characters, a class per character and rotation."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from typing_extensions import override

from metaviz.config.episodes import EpisodeShape
from metaviz.config.options import OptionError, Options, option
from metaviz.config.run_config import Shared
from metaviz.files.archives import DataError, refuse_unstorable, shown
from metaviz.files.progress import report_reading
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.nets.normalisation import Affine, Statistics
from metaviz.nets.spec import NetSpec
from metaviz.paths import data_dir
from metaviz.problems.base import Classification
from metaviz.problems.episodes import (
    QUARTER_TURNS,
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
from metaviz.problems.omniglot_files import (
    LAYOUTS,
    Characters,
    drawn,
    read_omniglot,
    some_of,
    usual_test_alphabets,
)
from metaviz.problems.registry import register_problem

IMAGE = 28
AUTO = "auto"


class OmniglotOptions(Options):
    """Options of Omniglot."""

    path: str = option(
        "",
        "Data",
        "Folder or zip with Omniglot in any usual layout. Empty: where the download puts it.",
    )
    test_alphabets: str = option(
        "",
        "Test alphabets",
        "Alphabets held out for evaluation, with commas between. Empty: those of the official "
        "evaluation set where they are present, otherwise the last quarter by name.",
    )
    rotations: bool = option(
        True,
        "Rotations as classes",
        "While training, draw one quarter turn per class and task: a turned character is another "
        "class. Test characters are never turned.",
    )
    invert: bool = option(
        True,
        "Strokes bright",
        "Strokes 1 on 0, as in MAML and prototypical networks; off: strokes 0 on 1, as in Reptile "
        "and iMAML. Shifts accuracy; keep it the same in a comparison.",
    )
    channels: int = option(64, "Channels", "Filters of each convolution.", ge=1, le=512)
    pooling: Literal["max", "stride", "twice", "mean"] = option(
        "max",
        "Halving",
        "Max-pooling after each block, or strided convolutions with a spatial mean at the end as "
        "in MAML's Omniglot network. Twice: after the first two blocks, which convolve without "
        "padding, as in relation networks. Mean: after the first three blocks, and the spatial "
        "mean at the end.",
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
    validation_alphabets: str | None = option(
        None,
        "Validation alphabets",
        "Alphabets put aside for validation, with commas between; auto: the last quarter by name "
        "of those that are left. Empty: none, unless validation characters are to be evaluated on.",
    )


@register_problem(
    OmniglotOptions,
    id="omniglot",
    title="Omniglot",
    summary="Tell N handwritten characters apart from a few examples of each.",
    loss_name="cross-entropy (nats)",
    has_accuracy=True,
    needs_data=True,
    has_images=True,
    offers=("classes", "layers", "residuals", "examples", "objective"),
    can_download=True,
    citation="Lake, Salakhutdinov & Tenenbaum 2015; few-shot protocol of Vinyals et al. 2016",
    steps=500,
    shared=USUAL | {"inner_lr": 0.4},
)
class Omniglot(Classification):
    """N-way episodes of 28x28 drawings with Conv4, by default BatchNorm on batch statistics.

    Query predictions then depend on the other query images (transductive evaluation).
    Labels are permuted anew in every task; support and query drawings are disjoint.
    """

    dataset = "Omniglot"
    chunk = 5
    shards = 2
    stream = "omniglot"

    def __init__(self, options: OmniglotOptions, shared: Shared, seed: int) -> None:
        """Read the drawings. Raises: DataError or OptionError with one sentence."""
        self.options = options
        self.shared = shared
        self.shape = usual_shape(shared)
        self.seed = seed
        characters = _load(options.path)
        self.layout = LAYOUTS[characters.layout]
        self.remarks = tuple(f"{shown(sentence)}." for sentence in characters.problems)
        self.alphabets = _split(characters, options)
        self.held_out = options.held_out or "test"
        self.side = drawn_side(options)
        self.size = (self.side, self.side)
        refuse_shots(shared, characters.images.shape[1], "drawings of a character")
        self._images = {
            split: averaged(
                _turned(characters, alphabets, turn=split == "train" and options.rotations),
                self.side,
            )
            for split, alphabets in self.alphabets.items()
        }
        for split, images in self._images.items():
            refuse_ways(shared, images.shape[1], f"{split} characters")

    def net_spec(self) -> NetSpec:
        """Describe the network; Conv4 has 112 261 weights for 64 channels and 5 ways."""
        return drawn_spec(self.options, self.shared)

    def tasks(
        self, split: str, first: int, count: int, shape: EpisodeShape | None = None
    ) -> TaskBatch:
        """Return episodes. Shapes: x (tasks, ways * n, 1, 28, 28) float32, y (tasks, ways * n)."""
        images = self._images[split if split in self._images else "test"]
        turns, characters, drawers = images.shape[:3]
        shape = shape or self.shape
        purpose = shape.purpose(f"omniglot {split}", self.shape)
        sizes = np.full(characters, drawers)
        draw = draw_episodes(self.seed, purpose, first, count, sizes, shape)
        turn = (draw.turns * turns).astype(np.int64)
        chosen = images[turn[:, :, None], draw.classes[:, :, None], draw.images]
        support, query = (self._batch(chosen[:, :, part]) for part in shape.parts)
        return paired(support, query, self.options.norm)

    def counts(self) -> dict[str, np.ndarray]:
        """Return the number of drawings of every character, by split; no turned ones."""
        return {split: np.full(*images.shape[1:3]) for split, images in self._images.items()}

    @override
    def sizes(self, split: str) -> np.ndarray:
        turns, characters, drawers = self._images[split].shape[:3]
        return np.full(turns * characters, drawers)

    @override
    def _images_of(
        self, split: str, classes: np.ndarray, images: np.ndarray, number: int | None
    ) -> Tensor:
        del number
        kept = self._images[split]
        chosen = kept.reshape(-1, *kept.shape[2:])[classes, images]
        return _bright(self.options, chosen).unsqueeze(1)

    @staticmethod
    def of_pictures(options: OmniglotOptions, images: Sequence[Image.Image], side: int) -> Tensor:
        """Return pictures of dark strokes on paper as the examples (n, 1, 28, 28) of episodes."""
        grey = [drawn(image.convert("L"), side) for image in images]
        return _bright(options, np.stack(grey)).unsqueeze(1)

    def _batch(self, drawings: np.ndarray) -> Batch:
        """Turn drawings (tasks, ways, n, 28, 28) into examples, class by class."""
        tasks, ways, examples = drawings.shape[:3]
        x = _bright(self.options, drawings)
        return Batch(x.flatten(1, 2).unsqueeze(2), labels(tasks, ways, examples))


def _bright(options: OmniglotOptions, drawings: np.ndarray) -> Tensor:
    """Return drawings as numbers from 0 to 1."""
    x = torch.from_numpy(drawings).to(torch.float32).div_(255)
    return x if options.invert else 1 - x


def default_folder() -> Path:
    """Return where the download puts Omniglot."""
    return data_dir() / "data"


def _load(path: str) -> Characters:
    refuse_unstorable("omniglot.path", path)
    try:
        place = Path(path).expanduser() if path else default_folder()
    except RuntimeError as error:  # ~USER without such a user
        raise DataError(f"omniglot.path = {path!r} cannot be found: {error}") from None
    if not path and not place.exists():
        raise DataError(
            "There is no Omniglot here yet: set omniglot.path to a folder or zip that has it, or "
            "download it (16 MB) with the Download button or `metaviz data download omniglot`."
        )
    if not place.exists():
        raise DataError(f"omniglot.path = {path!r} does not exist: name a folder or a zip.")
    return _load_once(place.resolve(), place.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _load_once(place: Path, modified: int) -> Characters:
    del modified  # part of the key: data that changed are read again
    return read_omniglot(place, IMAGE, report_reading)


def _split(characters: Characters, options: OmniglotOptions) -> dict[str, frozenset[str]]:
    """Return the alphabets of each split; no alphabet is in two."""
    present = sorted({alphabet for alphabet, _ in characters.names})
    if options.test_alphabets.strip():
        held_out = _named("test_alphabets", options.test_alphabets, present)
    else:
        held_out = usual_test_alphabets(present)
    held_out = some_of(held_out, present)
    if held_out == set(present):
        raise DataError(
            f"These data hold one alphabet only ({present[0]}): training and testing need two."
        )
    found = {"train": frozenset(present) - held_out, "test": held_out}
    asked = (options.validation_alphabets or "").strip()
    if asked or options.held_out == "validation":
        rest = sorted(found["train"])
        named = asked not in {"", AUTO}
        chosen = _named("validation_alphabets", asked, rest) if named else frozenset[str]()
        found["validation"] = some_of(chosen, rest)
        found["train"] -= found["validation"]
        if not found["train"]:
            raise DataError(
                f"These data hold two alphabets only ({', '.join(present)}): training, validation "
                "and testing need three."
            )
    return found


def _named(key: str, text: str, present: list[str]) -> frozenset[str]:
    """Return the alphabets that an option names. Raises: OptionError for one there is not."""
    named = frozenset(name.strip() for name in text.split(",") if name.strip())
    unknown = sorted(named - set(present))
    if unknown:
        raise OptionError(
            f"omniglot.{key}",
            f"There is no alphabet {unknown[0]!r} in these data; there are: {', '.join(present)}.",
        )
    return named


def _turned(characters: Characters, alphabets: frozenset[str], *, turn: bool) -> np.ndarray:
    """Return images (turns, characters, drawers, 28, 28) of some alphabets."""
    chosen = [i for i, (alphabet, _) in enumerate(characters.names) if alphabet in alphabets]
    images = characters.images[chosen]
    turns = range(QUARTER_TURNS if turn else 1)
    return np.stack([np.rot90(images, quarter, axes=(2, 3)) for quarter in turns])
