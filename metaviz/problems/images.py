"""Few-shot classification of photographs: miniImageNet and whatever folders a person has."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from typing_extensions import override

from metaviz.config.episodes import EpisodeShape
from metaviz.config.options import OptionError
from metaviz.config.run_config import Shared
from metaviz.files.archives import DataError, refuse_unstorable, shown
from metaviz.images.cache import Classed, ImageData, open_images, squared
from metaviz.images.progress import ProgressReport
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.nets.spec import NetSpec
from metaviz.paths import data_dir
from metaviz.problems.augmentation import DRAWS, Augmentation
from metaviz.problems.base import Classification
from metaviz.problems.episodes import (
    FEWEST,
    QUARTER_TURNS,
    USUAL,
    draw_episodes,
    labels,
    refuse_ways,
    usual_shape,
)
from metaviz.problems.image_options import ImageOptions
from metaviz.problems.normalising import cells_spec, conv4_spec, paired, spec_of
from metaviz.problems.registry import register_problem
from metaviz.problems.resident import FreeBytes, SplitPixels, free_bytes
from metaviz.problems.stream import uniforms

# ImageNet's mean and standard deviation by channel, as torchvision's models expect them.
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)
_CHUNK_PIXELS = 5 * 28 * 28
_SIMPLE_WIDTHS: tuple[int, ...] = (64, 96, 128, 256)


@register_problem(
    ImageOptions,
    id="images",
    title="Few-shot images",
    summary="Tell N classes of photographs apart: miniImageNet, CIFAR-FS or your own folders.",
    loss_name="cross-entropy (nats)",
    has_accuracy=True,
    needs_data=True,
    can_download=True,
    has_images=True,
    offers=("classes", "layers", "residuals", "examples", "objective"),
    citation="Vinyals et al. 2016; split of Ravi & Larochelle 2017",
    steps=500,
    shared=USUAL | {"eval_steps": 10},
)
class FewShotImages(Classification):
    """N-way episodes of colour images, by default with Conv4 and BatchNorm on batch statistics.

    Query predictions then depend on the other query images (transductive evaluation).
    Labels are permuted anew in every task; support and query images are disjoint.
    """

    shards = 2
    stream = "images"

    def __init__(self, options: ImageOptions, shared: Shared, seed: int) -> None:
        """Open the images. Raises: DataError or OptionError with one sentence."""
        self.options = options
        self.shared = shared
        self.shape = usual_shape(shared)
        self.seed = seed
        self.data = _load(options)
        self.dataset, self.side = self.data.dataset, self.data.side
        self.layout, self.size = self.data.layout, (self.side, self.side)
        self.chunk = max(1, round(_CHUNK_PIXELS / self.side**2))
        problems = list(self.data.problems)
        wanted = shared.shots + shared.query_shots
        self._splits: dict[str, Classed] = {}
        if options.crops == "padded" and options.crop_padding > self.side // 2:
            raise OptionError(
                "images.crop_padding",
                f"images.crop_padding = {options.crop_padding} is more than half of the side "
                f"{self.side}: use at most {self.side // 2}.",
            )
        self._augment = Augmentation(
            options.crops, options.crop_padding, options.crop_area, options.jitter
        )
        self._pixels = {split: SplitPixels(part) for split, part in self.data.splits.items()}
        self._classes: dict[str, np.ndarray] = {}
        for split, classed in self.data.splits.items():
            enough = np.flatnonzero(classed.counts >= wanted)
            short = len(classed.names) - len(enough)
            if short:
                least = classed.names[int(classed.counts.argmin())]
                problems.append(
                    f"{short} {split} classes have fewer than shots + query_shots = {wanted} "
                    f"images and are left out, {least} with {classed.counts.min()} among them"
                )
            self._splits[split], self._classes[split] = classed, enough
        self.held_out = self._held_out(problems)
        for split in ("train", self.held_out):
            self._check_ways(split)
        self.remarks = tuple(f"{shown(sentence)}." for sentence in problems)

    def net_spec(self) -> NetSpec:
        """Describe the backbone; Conv4 has 121 093 weights for 64 channels, 84 pixels, 5 ways."""
        options = self.options
        if options.backbone == "conv4":
            return conv4_spec(options, self.shared, 3, self.side)
        if options.backbone == "cells":
            return cells_spec(options, self.shared, 3, self.side)
        widths = _SIMPLE_WIDTHS
        if options.backbone == "resnet12":
            widths = tuple(map(int, options.widths.split("-")))
        own = {"widths": widths, "in_channels": 3, "image": self.side}
        return spec_of(options.backbone, options, self.shared, **own)

    def tasks(
        self, split: str, first: int, count: int, shape: EpisodeShape | None = None
    ) -> TaskBatch:
        """Return episodes.

        Shapes: x (tasks, ways * n, 3, side, side), 8-bit levels; y (tasks, ways * n).
        """
        classed, classes = self._splits[split], self._classes[split]
        shape = shape or self.shape
        if shape != self.shape:
            classes = np.flatnonzero(classed.counts >= shape.examples)
        purpose = shape.purpose(f"images {split}", self.shape)
        drawn = draw_episodes(self.seed, purpose, first, count, classed.counts[classes], shape)
        rows = classed.starts[classes[drawn.classes]][:, :, None] + drawn.images
        quarters = np.zeros(drawn.turns.shape, np.int64)
        if split == "train" and self.options.rotations:
            quarters = (drawn.turns * QUARTER_TURNS).astype(np.int64)
        per_task = rows[0].size
        purpose = shape.purpose(f"images flips {split}", self.shape)
        drawn_flips = uniforms(self.seed, purpose, first, count, per_task).reshape(rows.shape)
        flips = drawn_flips if split == "train" and self.options.flips else None
        draws = None
        if split == "train" and self._augment.is_on:
            purpose = shape.purpose(f"images augmentation {split}", self.shape)
            size = per_task * DRAWS
            draws = uniforms(self.seed, purpose, first, count, size).reshape(*rows.shape, DRAWS)
        support, query = (
            Batch(
                self._changed(
                    split,
                    rows[:, :, part],
                    quarters,
                    None if flips is None else flips[:, :, part],
                    None if draws is None else draws[:, :, part],
                ),
                labels(*rows[:, :, part].shape),
            )
            for part in shape.parts
        )
        return paired(support, query, self.options.norm)

    def counts(self) -> dict[str, np.ndarray]:
        """Return the number of images of every class, by split."""
        return {split: classed.counts for split, classed in self.data.splits.items()}

    @override
    def sizes(self, split: str) -> np.ndarray:
        turned = split == "train" and self.options.rotations
        return np.tile(self.data.splits[split].counts, QUARTER_TURNS if turned else 1)

    @override
    def _images_of(
        self, split: str, classes: np.ndarray, images: np.ndarray, number: int | None
    ) -> Tensor:
        classed = self.data.splits[split]
        quarters, classes = np.divmod(classes, len(classed.counts))
        rows = (classed.starts[classes] + images)[None, :, None]
        flips = draws = None
        if number is not None and self.options.flips:
            flips = uniforms(self.seed, "images flips examples", number, len(rows[0]), 1)[None]
        if number is not None and self._augment.is_on:
            purpose = "images augmentation examples"
            draws = uniforms(self.seed, purpose, number, len(rows[0]), DRAWS)[None, :, None]
        return self._changed(split, rows, quarters[None], flips, draws)[0]

    def place(self, device: torch.device, free: FreeBytes = free_bytes) -> None:
        """Gather episodes on a GPU, from splits that are kept there if they fit."""
        for pixels in self._pixels.values():
            pixels.place(device, free)

    def _changed(
        self,
        split: str,
        rows: np.ndarray,
        quarters: np.ndarray,
        flips: np.ndarray | None,
        draws: np.ndarray | None,
    ) -> Tensor:
        """Return the images in some rows (tasks, ways, n), changed where asked.

        Shapes: quarters (tasks, ways), quarter turns; flips (tasks, ways, n); draws (tasks, ways,
        n, DRAWS); result (tasks, ways * n, 3, side, side).
        """
        pixels = _in_order(self.options, self._pixels[split].gather(rows))
        for task, way in zip(*np.nonzero(quarters), strict=True):
            turned = torch.rot90(pixels[task, way], int(quarters[task, way]), (2, 3))
            pixels[task, way] = turned.contiguous()
        if flips is not None:
            mirrored = torch.from_numpy(flips < 1 / 2).to(pixels.device)
            pixels[mirrored] = pixels[mirrored].flip(-1)
        if draws is not None:
            changed = self._augment(pixels.flatten(0, 2), draws.reshape(-1, DRAWS))
            pixels = changed.reshape(pixels.shape)
        return _scaled(self.options, pixels).flatten(1, 2)

    @staticmethod
    def of_pictures(options: ImageOptions, images: Sequence[Image.Image], side: int) -> Tensor:
        """Return pictures in RGB as the examples (n, 3, side, side) of episodes."""
        pixels = torch.from_numpy(np.stack([squared(image, side) for image in images]))
        return _scaled(options, _in_order(options, pixels))

    def shown(self, x: Tensor) -> np.ndarray:
        """Return images as 8-bit levels, whatever they were normalised by."""
        return super().shown(restored(x) if x.is_floating_point() else x)

    def _held_out(self, problems: list[str]) -> str:
        """Return the split of the evaluation tasks; the other one where it has no classes."""
        asked = self.options.held_out
        other = "test" if asked == "validation" else "validation"
        if len(self._classes[asked]) or not len(self._classes[other]):
            return asked
        problems.append(f"there are no {asked} classes, so {other} classes take their place")
        return other

    def _check_ways(self, split: str) -> None:
        there = len(self._classes[split])
        if not there:
            wanted = self.shared.shots + self.shared.query_shots
            most = max(self._splits[split].counts, default=0)
            advice = ", or ask for fewer" if most >= FEWEST else ""
            raise DataError(
                f"{self.options.path} holds no {split} classes with the {wanted} images that shots "
                f"+ query_shots ask for: add the rest of the data set{advice}."
            )
        refuse_ways(self.shared, there, f"{split} classes")


def _in_order(options: ImageOptions, pixels: Tensor) -> Tensor:
    """Return levels (..., 3, H, W) with their channels in the order that the options ask for."""
    return pixels.flip(-3) if options.swap_channels else pixels


def _scaled(options: ImageOptions, pixels: Tensor) -> Tensor:
    """Return levels (..., 3, H, W) as they are, or as numbers around ImageNet's mean."""
    if options.normalise == "unit":
        return pixels
    mean = torch.tensor(_MEAN)[:, None, None]
    scale = 1 / torch.tensor(_DEVIATION)[:, None, None]
    shift, scale = (each.to(pixels.device) for each in (-mean * scale, scale / 255))
    return torch.addcmul(shift, pixels.float(), scale)


def restored(x: Tensor) -> Tensor:
    """Return numbers (..., 3, H, W) around ImageNet's mean as levels from 0 to 1, on the CPU."""
    x = x.cpu() * torch.tensor(_DEVIATION)[:, None, None]
    x += torch.tensor(_MEAN)[:, None, None]
    return x


def cache_dir() -> Path:
    """Return where decoded images are kept."""
    return data_dir() / "images"


def _load(options: ImageOptions) -> ImageData:
    if not options.path:
        raise DataError(
            "images.path is empty: choose a folder or zip of miniImageNet, CIFAR-FS or any images "
            "in one folder per class, or have CIFAR-100 downloaded."
        )
    refuse_unstorable("images.path", options.path)
    try:
        place = Path(options.path).expanduser().resolve()
    except (RuntimeError, OSError) as error:
        raise DataError(f"images.path = {options.path!r} cannot be found: {error}.") from None
    try:
        return open_images(
            place,
            cache_dir(),
            report=ProgressReport(),
            side=options.side,
            cifar=options.cifar,
            seed=options.split_seed,
        )
    except DataError as error:
        raise DataError(f"{error}.") from error
