"""Image splits that stay in a GPU's memory, so that episodes are gathered where they are used."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from metaviz.images.cache import Classed

SHARE = 0.25
_AT_ONCE = 4096
FreeBytes = Callable[[torch.device], int]


def fits(needed: int, free: int) -> bool:
    """Return whether a split of `needed` bytes may take that much of `free` bytes: a quarter."""
    return needed <= SHARE * free


def free_bytes(device: torch.device) -> int:
    """Return the free memory of a GPU; 0 for a CPU, where the file's pages are memory already."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0


class SplitPixels:
    """The images of one split, in their memory-mapped file or on a device."""

    def __init__(self, classed: Classed) -> None:
        """Take the split; nothing is moved before `place`."""
        self._classed = classed
        self._device = torch.device("cpu")
        self._free: FreeBytes = free_bytes
        self._kept: Tensor | None = None
        self._decided = False

    def place(self, device: torch.device, free: FreeBytes = free_bytes) -> None:
        """Keep the split on a device from its first use on, if it then fits."""
        if device != self._device or free is not self._free:
            self._device, self._free = device, free
            self._kept, self._decided = None, False

    def gather(self, rows: np.ndarray) -> Tensor:
        """Return the images in some rows of the data set, (*rows.shape, 3, side, side) uint8.

        They are on the split's device where it is resident, else on the CPU.
        """
        if not self._decided:
            self._kept, self._decided = self._moved(), True
        flat = rows.reshape(-1)
        if self._kept is None:
            found = torch.from_numpy(self._classed.pixels[flat])
        else:
            places = torch.from_numpy(flat - self._classed.starts[0])
            found = self._kept[places.to(self._kept.device)]
        return found.reshape(*rows.shape, *found.shape[1:])

    def _moved(self) -> Tensor | None:
        """Copy the split to the device in pieces, or return None where it does not fit."""
        first, last = (int(self._classed.starts[end]) for end in (0, -1))
        shape = (last - first, *self._classed.pixels.shape[1:])
        if not fits(int(np.prod(shape)), self._free(self._device)):
            return None
        kept = torch.empty(shape, dtype=torch.uint8, device=self._device)
        for start in range(first, last, _AT_ONCE):
            piece = np.array(self._classed.pixels[start : min(start + _AT_ONCE, last)])
            kept[start - first : start - first + len(piece)] = torch.from_numpy(piece)
        return kept
