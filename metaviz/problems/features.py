"""Few-shot classification of features: of a file, or of images by a network that was trained."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from metaviz.config.backbones import AUTO, backbone_of
from metaviz.config.episodes import EpisodeShape
from metaviz.config.options import OptionError, Options, option
from metaviz.config.run_config import Shared
from metaviz.files.archives import DataError, refuse_unstorable
from metaviz.images.layouts import known_data
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.meta.vectors import unit
from metaviz.nets.spec import NetSpec, net_spec
from metaviz.paths import runs_dir
from metaviz.problems.backbone import Backbone, embedded, open_backbone
from metaviz.problems.base import Classification, Family
from metaviz.problems.base_weights import base_weights
from metaviz.problems.episodes import USUAL, draw_episodes, labels, refuse_ways, usual_shape
from metaviz.problems.feature_files import FeatureSplit, read_features
from metaviz.problems.registry import register_problem
from metaviz.runs.storage.backbones import trained_run

_AT_ONCE = 4096


class FeatureOptions(Options):
    """Options of features."""

    path: str = option(
        "",
        "Data",
        "An .npz file with embeddings (n, d), labels (n,) and splits (n,), or with "
        "train_embeddings, train_labels and so on; or a folder with LEO's "
        "{train,val,test}_embeddings.pkl. With a backbone: where its images lie now, if elsewhere.",
    )
    pretrained: str = option(
        "",
        "Backbone",
        "A run of classifier, by its folder or id, whose network turns its images into features. "
        "auto: one with this seed and the settings below, which is trained first where there is "
        "none yet. Empty: features come from the data.",
    )
    backbone: str = option(
        "",
        "Settings of the backbone",
        "For auto: a preset, or a file of a comparison, that trains classifier.",
    )
    held_out: Literal["validation", "test"] = option(
        "validation",
        "Evaluate on",
        "Classes of the evaluation tasks while training. Keep the test classes for the end.",
    )
    l2: bool = option(
        True,
        "Length 1",
        "Divide features by their length, as LEO, Meta-SGD and Gidaris do; Qiao and Bauer do not.",
    )
    centre: bool = option(
        False, "Subtract the mean", "First subtract the mean feature of the training classes."
    )
    bias: bool = option(True, "Bias", "Whether the linear layer has a bias.")


@register_problem(
    FeatureOptions,
    id="features",
    title="Features",
    summary="Tell N classes apart by features that a trained network gives; a linear layer adapts.",
    loss_name="cross-entropy (nats)",
    has_accuracy=True,
    needs_data=True,
    offers=("classes", "residuals", "examples", "features", "base", "objective"),
    citation="Rusu et al. 2019 (embeddings of LEO); Qiao et al. 2018",
    steps=200,
    shared=USUAL | {"inner_lr": 1.0, "meta_batch": 12, "eval_tasks": 300},
)
class Features(Classification):
    """N-way episodes of feature vectors, with a linear layer that begins at zero."""

    chunk = 100
    shards = 1
    stream = "features"
    size = (1, 1)

    def __init__(self, options: FeatureOptions, shared: Shared, seed: int) -> None:
        """Read the features, or compute them. Raises: DataError or OptionError."""
        self.options = options
        self.shared = shared
        self.shape = usual_shape(shared)
        self.seed = seed
        self._backbone: Backbone | None = None
        self.splits, self.dataset, self.layout = self._opened()
        self.d = next(iter(self.splits.values())).z.shape[1]
        self.remarks = ()
        if "train" not in self.splits:
            raise DataError(f"{options.path} has no training classes.")
        self.held_out = options.held_out
        if self.held_out not in self.splits:
            other = "test" if self.held_out == "validation" else "validation"
            if other not in self.splits:
                raise DataError(f"{options.path or options.pretrained} has no {other} classes.")
            self.remarks = (
                f"there are no {self.held_out} classes, so {other} classes take their place.",
            )
            self.held_out = other
        self._mean = self._mean_feature() if options.centre else None
        for split in ("train", self.held_out):
            enough = self._classes(split, self.shape)
            if not len(enough):
                raise DataError(
                    f"No {split} class has shots + query_shots = {self.shape.examples} examples: "
                    "ask for fewer."
                )
            refuse_ways(shared, len(enough), f"{split} classes with {self.shape.examples} examples")

    def _opened(self) -> tuple[dict[str, FeatureSplit], str, str]:
        """Return the features by split, the name of the data, and where they come from."""
        options = self.options
        if options.pretrained:
            self._backbone = backbone = self._opened_backbone()
            found = embedded(backbone), backbone.problem.dataset
            return *found, f"features of {backbone.record.id}"
        if not options.path:
            raise OptionError(
                "features.path",
                "features.path and features.pretrained are empty: name a file of embeddings, or a "
                "run of classifier.",
            )
        refuse_unstorable("features.path", options.path)
        path = Path(options.path).expanduser()
        if not path.exists():
            raise DataError(f"features.path = {options.path!r} does not exist.")
        try:
            splits = read_features(path)
        except DataError as error:
            raise DataError(f"{error}.") from error
        known = known_data({split: part.names for split, part in splits.items()})
        return splits, known or f"features of {path.name}", "read from a file"

    def _opened_backbone(self) -> Backbone:
        options = self.options
        if options.pretrained != AUTO:
            return open_backbone(options.pretrained, options.path)
        asked = {"problem": "features", "seed": self.seed, "problem_options": options.model_dump()}
        need = backbone_of(asked)
        found = None if need is None else trained_run(need, runs_dir())
        if found is None:
            raise OptionError(
                "features.pretrained",
                f"No finished run of classifier has seed {self.seed} and the settings of "
                f"{options.backbone}: train it, or put this run into the queue, which trains it "
                "first.",
            )
        return open_backbone(str(found), options.path)

    @property
    def parent(self) -> dict[str, str]:
        """The run that the features are of and its checkpoint; empty where they are of a file."""
        one = self._backbone
        if one is None:
            return {}
        return {"run": one.record.made_as, "kind": "backbone", "checkpoint_sha256": one.sha256}

    @property
    @override
    def base(self) -> Tensor:
        """The weights of the base classes: the backbone's own, or fitted to the features."""
        if self._backbone is not None:
            return self._backbone.base
        return self._fitted

    @cached_property
    def _fitted(self) -> Tensor:
        total = len(self.splits["train"].z)
        batch = self.examples("train", 0, total, drawn=False)
        return base_weights(batch.x[0], batch.y[0], len(self.splits["train"].names))

    def _mean_feature(self) -> np.ndarray:
        z = self.splits["train"].z
        sums = [
            z[first : first + _AT_ONCE].sum(0, dtype=np.float64)
            for first in range(0, len(z), _AT_ONCE)
        ]
        return np.asarray(np.sum(sums, 0) / len(z), np.float32)

    def _classes(self, split: str, shape: EpisodeShape) -> np.ndarray:
        return np.flatnonzero(self.splits[split].counts >= shape.examples)

    def net_spec(self) -> NetSpec:
        """Describe the linear layer."""
        return net_spec("linear", inputs=self.d, ways=self.shared.ways, bias=self.options.bias)

    def tasks(
        self, split: str, first: int, count: int, shape: EpisodeShape | None = None
    ) -> TaskBatch:
        """Return episodes. Shapes: x (tasks, ways * n, d) float32, y (tasks, ways * n)."""
        shape, part = shape or self.shape, self.splits[split]
        classes = self._classes(split, shape)
        purpose = shape.purpose(f"features {split}", self.shape)
        drawn = draw_episodes(self.seed, purpose, first, count, part.counts[classes], shape)
        rows = part.starts[classes[drawn.classes]][:, :, None] + drawn.images
        support, query = (
            Batch(self._rows(split, rows[:, :, chosen]).flatten(1, 2), labels(*size))
            for chosen in shape.parts
            for size in [rows[:, :, chosen].shape]
        )
        if split == "train":
            support = replace(support, classes=torch.from_numpy(classes[drawn.classes]))
        return TaskBatch(support, query)

    def counts(self) -> dict[str, np.ndarray]:
        """Return the number of examples of every class, by split."""
        return {split: part.counts for split, part in self.splits.items()}

    @override
    def _images_of(
        self, split: str, classes: np.ndarray, images: np.ndarray, number: int | None
    ) -> Tensor:
        del number
        return self._rows(split, self.splits[split].starts[classes] + images)

    def _rows(self, split: str, rows: np.ndarray) -> Tensor:
        """Return the features in some rows, (*rows.shape, d), changed as the options say."""
        found = np.array(self.splits[split].z[rows.reshape(-1)])
        return of_vectors(self.options, found, self._mean).reshape(*rows.shape, -1)

    @property
    def mean(self) -> np.ndarray | None:
        """The mean of the training features, where it is subtracted from all."""
        return self._mean

    @override
    def shown(self, x: Tensor) -> np.ndarray:
        return Family.shown(self, x)


def of_vectors(options: FeatureOptions, z: np.ndarray, mean: np.ndarray | None) -> Tensor:
    """Return features (n, d) changed as the options say; `mean` is what is subtracted, if any."""
    found = torch.from_numpy(z)
    if mean is not None:
        found -= torch.from_numpy(mean)
    return unit(found) if options.l2 else found
