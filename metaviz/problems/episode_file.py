"""An episode of vectors from a file: support examples with labels, and queries without."""

from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch

from metaviz.config.options import OptionError
from metaviz.files.foreign import MOST_ARRAY_BYTES, ForeignError, read_bytes
from metaviz.files.npy import read_member
from metaviz.files.platform import reason_of
from metaviz.meta.tasks import Batch, TaskBatch

_VECTORS = 2
_FEWEST_CLASSES = 2


@dataclass(frozen=True)
class Episode:
    """One task of float64 vectors, whose classes 0..ways-1 stand for these labels in order."""

    tasks: TaskBatch
    classes: tuple[int, ...]

    @property
    def size(self) -> int:
        """Numbers of an example."""
        return self.tasks.support.x.shape[2]

    @property
    def examples(self) -> int:
        """Support and query examples."""
        return self.tasks.support.x.shape[1] + self.tasks.query.x.shape[1]


def read_episode(path: Path) -> Episode:
    """Read an .npz file of support_x (n, d), support_y (n,) and query_x (m, d).

    Labels are any integers; classes are in increasing order. Query labels are not read, and stand
    as 0. Raises: OptionError with one sentence.
    """
    try:
        data = read_bytes(path, MOST_ARRAY_BYTES)
        found = {name: read_member(data, name) for name in ("support_x", "support_y", "query_x")}
    except OSError as error:
        raise OptionError("episode", f"Cannot read {path}: {reason_of(error)}.") from error
    except ForeignError as error:
        _refuse(path, f"{error}: use an .npz file of plain arrays")
    support, labels, query = (_present(path, name, array) for name, array in found.items())
    support, query = _vectors(path, "support_x", support), _vectors(path, "query_x", query)
    if support.shape[1] != query.shape[1]:
        _refuse(
            path,
            f"support_x has {support.shape[1]} numbers an example and query_x {query.shape[1]}: "
            "give both as many",
        )
    if labels.dtype.kind not in "iu" or labels.shape != support.shape[:1]:
        _refuse(
            path,
            f"support_y is {labels.dtype} of shape {labels.shape}: give an integer for each of the "
            f"{len(support)} rows of support_x",
        )
    classes, numbers = np.unique(labels, return_inverse=True)
    if len(classes) < _FEWEST_CLASSES:
        _refuse(path, f"support_y has the class {classes[0]} alone: give two classes or more")
    x = [torch.from_numpy(array).unsqueeze(0) for array in (support, query)]
    y = torch.from_numpy(numbers.astype(np.int64)).unsqueeze(0)
    asked = Batch(x[1], torch.zeros(1, len(query), dtype=torch.int64))
    return Episode(TaskBatch(Batch(x[0], y), asked), tuple(map(int, classes)))


def _present(path: Path, name: str, array: np.ndarray | None) -> np.ndarray:
    if array is None:
        _refuse(path, f"it has no array {name}: give support_x, support_y and query_x")
    return array


def _vectors(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    """Return finite vectors in float64, a row for each of one or more examples."""
    if array.dtype.kind not in "biuf" or array.ndim != _VECTORS or 0 in array.shape:
        _refuse(
            path,
            f"{name} is {array.dtype} of shape {array.shape}: give numbers with a row for each "
            "example",
        )
    numbers = np.array(array, dtype=np.float64, order="C")
    if not np.isfinite(numbers).all():
        row, column = np.argwhere(~np.isfinite(numbers))[0].tolist()
        _refuse(path, f"{name}[{row}, {column}] = {numbers[row, column]} is not finite")
    return numbers


def _refuse(path: Path, clause: str) -> NoReturn:
    raise OptionError("episode", f"{path.name} is not an episode: {clause}.")
