"""Features by the network of a stored run that learned to tell all training classes apart."""

import hashlib
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from metaviz.config.options import OptionError, checked
from metaviz.config.run_config import RunConfig
from metaviz.files.archives import DataError
from metaviz.files.atomic import write_text
from metaviz.files.platform import reason_of
from metaviz.files.progress import report_reading
from metaviz.meta.checkpoint_files import CHECKPOINT, read_checkpoint, stored_bytes
from metaviz.meta.classification import BASE, RUNNING, TRUNK, features_of, running_layout
from metaviz.meta.context import Meta
from metaviz.nets.base import Net
from metaviz.nets.order import OTHER_ORDER, lies_as_now
from metaviz.nets.spec import build, read_spec
from metaviz.paths import data_dir, runs_dir
from metaviz.problems.base import Classification
from metaviz.problems.feature_files import SPLITS, FeatureSplit
from metaviz.problems.registry import find_problem
from metaviz.runs.model.record import Record
from metaviz.runs.storage.lock import lock_run
from metaviz.runs.storage.store import ABOUT, StoreError, open_run

_AT_ONCE = 64
_FLOAT = 4
_log = logging.getLogger("metaviz.images")


@dataclass(frozen=True)
class Backbone:
    """A stored run's network and its data, which give features.

    `sha256` is that of the checkpoint that holds the weights.
    """

    record: Record
    net: Net
    meta: Meta
    sha256: str
    problem: Classification

    @property
    def base(self) -> torch.Tensor:
        """The weights of the training classes, (C, d)."""
        flat, d = self.meta[BASE], self.d
        classes = len(self.problem.sizes("train"))
        # Matrices lie column by column; biases come after them.
        return flat[: classes * d].view(d, classes).mT.contiguous()

    @property
    def d(self) -> int:
        """The number of features."""
        return running_layout(self.net).sizes[-1]

    def key(self) -> str:
        """Return what names the features: the weights, and the data that they are of."""
        options = {k: v for k, v in self.record.config["problem_options"].items() if k != "path"}
        source = json.dumps([self.record.config["problem"], options], sort_keys=True)
        seen = hashlib.sha256(source.encode())
        for split in self.splits():
            sizes = self.problem.sizes(split)
            seen.update(f"{split} {sizes.tolist()}".encode())
            for first in (sizes.cumsum() - sizes).tolist() if self._is_kept() else []:
                seen.update(self.problem.examples(split, first, 1, drawn=False).x.numpy().tobytes())
        return hashlib.sha256(f"{self.sha256} {seen.hexdigest()} float32".encode()).hexdigest()[:32]

    def _is_kept(self) -> bool:
        """Return whether the data lie in files, which may change behind their options."""
        return find_problem(str(self.record.config["problem"])).entry.needs_data

    def splits(self) -> list[str]:
        """Return the splits that there are classes of."""
        counts = self.problem.counts()
        return [split for split in SPLITS if len(counts.get(split, ()))]


def open_backbone(text: str, path: str = "") -> Backbone:
    """Open the run that `features.pretrained` names by its folder or id.

    `path` is where its images lie now, where that is not what the run says.
    Raises: OptionError or DataError with one sentence.
    """
    folder = _folder(text)
    try:
        record = open_run(folder)
        config = checked(RunConfig, record.config)
        data = stored_bytes(folder / CHECKPOINT)
        state = read_checkpoint(folder / CHECKPOINT, data)
    except StoreError as error:
        raise _refused(f"cannot be used: {error}", text) from error
    if record.state in {"failed", "diverged", "running"}:
        why = "is still training" if record.state == "running" else f"has {record.state}"
        rest = f": {record.message}" if record.message else "."
        raise _refused(f"{why}{rest}", record.id)
    meta, known = state["meta"], find_problem(config.problem)
    if (
        not isinstance(meta, dict)
        or not {TRUNK, RUNNING, BASE} <= meta.keys()
        or not record.network
    ):
        raise _refused(
            f"is a run of {config.algorithm}, which keeps no running statistics: name a run of "
            "classifier.",
            record.id,
        )
    net = build(read_spec(record.network))
    if not lies_as_now(state, net.layout):
        raise _refused(f"cannot be used: {OTHER_ORDER}", record.id)
    options = {**config.problem_options, **({"path": path} if path else {})}
    problem = known.build(options, config.shared, config.seed)
    if not isinstance(problem, Classification):
        raise _refused("is of a problem without classes.", record.id)
    weights = len(problem.sizes("train")) * running_layout(net).sizes[-1]
    wanted = {TRUNK: net.layout.size, RUNNING: running_layout(net).size}
    fits = all(meta[name].shape == (size,) for name, size in wanted.items())
    if not fits or meta[BASE].numel() < weights:
        raise _refused("has weights that do not fit its network and its data.", record.id)
    return Backbone(record, net, meta, hashlib.sha256(data).hexdigest(), problem)


def _folder(text: str) -> Path:
    for place in (Path(text).expanduser(), runs_dir() / text):
        if (place / ABOUT).is_file():
            return place
    raise _refused(f"is no run: name its folder, or its id in {runs_dir()}.", text)


def _refused(clause: str, name: str) -> OptionError:
    return OptionError("features.pretrained", f"The backbone {name} {clause}")


def embedded(backbone: Backbone, root: Path | None = None) -> dict[str, FeatureSplit]:
    """Return the features of all splits, from the cache or computed into it class by class.

    What was interrupted goes on with the class that it had not finished. Raises: DataError.
    """
    folder = (root or data_dir() / "features") / backbone.key()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        about = {
            "run": backbone.record.made_as,
            "checkpoint": backbone.sha256,
            "features": backbone.d,
        }
        write_text(folder / "about.json", json.dumps(about))
        return {split: _split(backbone, folder, split) for split in backbone.splits()}
    except OSError as error:
        raise DataError(f"Features cannot be kept in {folder}: {reason_of(error)}.") from error


def _split(backbone: Backbone, folder: Path, split: str) -> FeatureSplit:
    sizes = backbone.problem.sizes(split)
    starts, d = np.concatenate([[0], sizes.cumsum()]), backbone.d
    path = folder / f"{split}.float32"
    done = path.stat().st_size // (_FLOAT * d) if path.exists() else 0
    whole = int(np.searchsorted(starts, done, side="right")) - 1
    if whole < len(sizes):
        lock = lock_run(folder)
        if lock is None:
            raise DataError(f"Another process is computing the features in {folder}: wait for it.")
        try:
            _fill(backbone, path, split, whole)
        finally:
            lock.release()
    z = np.memmap(path, np.float32, "r", shape=(int(starts[-1]), d))
    return FeatureSplit(tuple(map(str, range(len(sizes)))), starts, z)


def _fill(backbone: Backbone, path: Path, split: str, first: int) -> None:
    """Write the features of classes from `first` on behind those of the ones before."""
    sizes = backbone.problem.sizes(split)
    starts = np.concatenate([[0], sizes.cumsum()])
    _log.info("Embedding %d %s images; this is for the first use only.", starts[-1], split)
    path.touch()
    with path.open("r+b") as stream:
        stream.truncate(int(starts[first]) * _FLOAT * backbone.d)
        stream.seek(0, os.SEEK_END)
        for start, size in zip(starts[first:-1].tolist(), sizes[first:].tolist(), strict=True):
            for place in range(start, start + size, _AT_ONCE):
                count = min(_AT_ONCE, start + size - place)
                stream.write(_features(backbone, split, place, count).tobytes())
            stream.flush()
            os.fsync(stream.fileno())
            report_reading(start + size, int(starts[-1]))


@torch.no_grad()
def _features(backbone: Backbone, split: str, first: int, count: int) -> np.ndarray:
    batch = backbone.problem.examples(split, first, count, drawn=False).to("cpu", torch.float32)
    meta = {name: value.float() for name, value in backbone.meta.items()}
    found: np.ndarray = features_of(backbone.net, meta, batch.x)[0].numpy()
    return found
