"""Random crops and colours of training images, by numbers that belong to each image of a task."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from metaviz.problems.torchvision_shim import import_transforms

Crops = Literal["none", "padded", "resized"]

DRAWS = 10
"""Uniform numbers that one image takes: four for its crop, three for colours, three for order."""
_RATIO = 4 / 3


@dataclass(frozen=True)
class Augmentation:
    """What is done to training images.

    Padded: `padding` black pixels on each side, then a square of the old size anywhere. Resized: a
    rectangle of `area` to 1 of the image and 3/4 to 4/3 as wide as high, resized to the old size.
    Jitter s: brightness, contrast and saturation times uniform factors in [1 - s, 1 + s], in random
    order. All by torchvision's transforms v2. Deviation: a rectangle that would not fit is cut at
    the image's sides, where torchvision's class draws again.
    """

    crops: Crops = "none"
    padding: int = 8
    area: float = 0.5
    jitter: float = 0.0

    @property
    def is_on(self) -> bool:
        """Whether anything is done at all."""
        return self.crops != "none" or self.jitter > 0

    def __call__(self, images: Tensor, draws: np.ndarray) -> Tensor:
        """Return changed images.

        Shapes: images (n, 3, side, side) uint8; draws (n, DRAWS), uniform in [0, 1).
        """
        changed = [
            self._coloured(self._cropped(image, draw[:4]), draw[4:])
            for image, draw in zip(images, draws, strict=True)
        ]
        return torch.stack(changed)

    def _cropped(self, image: Tensor, draw: np.ndarray) -> Tensor:
        transforms, side = import_transforms(), image.shape[-1]
        if self.crops == "padded":
            padded = transforms.pad(image, [self.padding])
            top, left = (int(u * (2 * self.padding + 1)) for u in draw[2:])
            cropped: Tensor = transforms.crop(padded, top, left, side, side)
            return cropped
        if self.crops == "resized":
            area = side**2 * (self.area + (1 - self.area) * draw[0])
            ratio = _RATIO ** (2 * draw[1] - 1)
            sizes = (area / ratio) ** 0.5, (area * ratio) ** 0.5
            height, width = (min(max(round(float(size)), 1), side) for size in sizes)
            top, left = int(draw[2] * (side - height + 1)), int(draw[3] * (side - width + 1))
            box = (top, left, height, width)
            resized: Tensor = transforms.resized_crop(image, *box, [side, side], antialias=True)
            return resized
        return image

    def _coloured(self, image: Tensor, draw: np.ndarray) -> Tensor:
        if self.jitter == 0:
            return image
        transforms = import_transforms()
        adjust = (
            transforms.adjust_brightness,
            transforms.adjust_contrast,
            transforms.adjust_saturation,
        )
        for which in draw[3:].argsort(kind="stable"):
            factor = 1 + self.jitter * (2 * float(draw[which]) - 1)
            image = adjust[which](image, factor)
        return image
