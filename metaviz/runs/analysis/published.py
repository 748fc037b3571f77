"""Published few-shot results, and what differs between them and a run of ours."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from metaviz.paths import resource
from metaviz.runs.analysis.presets import other_settings, preset_of, short_of
from metaviz.runs.model.evaluation import Judgement

PAPERS, LIBFEWSHOT = "papers", "LibFewShot"
_SINUSOID = "sinusoid"
_PAPER_STEPS = {
    **dict.fromkeys(("miniImageNet", "Omniglot", "tieredImageNet"), 60_000),
    _SINUSOID: 70_000,
}
_METHODS = {
    "maml": ("MAML",),
    "fomaml": ("FOMAML", "First-order MAML"),
    "reptile": ("REPTILE", "Reptile", "Auto-Meta"),
    "imaml": ("iMAML",),
    "metasgd": ("Meta-SGD", "MetaSGD"),
    "metacurvature": ("Meta-Curvature", "MetaCurvature"),
    "metakfo": ("MetaKFO",),
    "mtnet": ("MT-net",),
    "warpgrad": ("WarpGrad",),
    "metalstm": ("Meta-learner LSTM",),
    "llama": ("LLAMA",),
    "platipus": ("PLATIPUS",),
    "ecml": ("ECML",),
    "mirror": ("MetaMirrorDescent",),
    "protonet": ("Prototypical", "ProtoNet"),
    "matching": ("Matching networks",),
    "relation": ("Relation Net", "RelationNet"),
    "tpn": ("Transductive Propagation Nets",),
    "snail": ("SNAIL",),
    "tadam": ("TADAM",),
    "csn": ("Munkhdalai et al.",),
    "leo": ("LEO",),
    "gidaris": ("Gidaris",),
    "qiao": ("Qiao",),
    "bauer": ("Bauer",),
    "deml": ("DEML",),
    "r2d2": ("R2D2",),
    "classifier": ("SimpleShot", "Baseline"),
}
_HEADS = {
    "SimpleShot (UN)": "un",
    "SimpleShot (L2N)": "l2n",
    "SimpleShot (CL2N)": "cl2n",
    "Baseline": "logistic",
    "Baseline++": "cosine",
}
"""The head of our classifier that a published row has."""

_FROZEN = "pretrained"
"""The option of problems whose features somebody else's network has given."""
_SIDES = {"miniImageNet": 84, "tieredImageNet": 84, "CIFAR-FS": 32, "FC100": 32}
_QUERIES = 15
_CONV4 = {"convnet": None, "conv4_64": 64, "conv4_128": 128}
_TRANSDUCTIVE = " + transduction"
# Measured with the authors' code, whose BatchNorm shifts alone and is not adapted.
_BETA_ALONE = {"MAML", "FOMAML"}
# Their inner steps follow the loss summed over the classes, as in the code published with MAML.
_SUMMED = ("MAML", "FOMAML", "First-order MAML", "Meta-Curvature", "MetaCurvature", "MT-net")


@dataclass(frozen=True)
class Published:
    """One published result with the half-width of its 95 % interval.

    Accuracies are in per cent. On sinusoids it is the mean squared error after `steps` inner steps,
    and there are no `ways` (0).
    """

    method: str
    year: int
    dataset: str
    backbone: str
    ways: int
    shots: int
    value: float
    half_width: float | None
    source: str
    steps: int | None = None
    collection: str = PAPERS
    """Who measured it: the papers, or one framework under one protocol."""

    @property
    def is_loss(self) -> bool:
        """Whether smaller is better."""
        return self.dataset == _SINUSOID

    @property
    def name(self) -> str:
        """Method and year or framework, and the inner steps where results for several are known."""
        steps = "" if self.steps is None else f", k = {self.steps}"
        whose = self.year if self.collection == PAPERS else self.collection
        return f"{self.method} ({whose}){steps}"

    def is_of(self, algorithm: str) -> bool:
        """Return whether this is a result of one of our methods."""
        return any(self.method.startswith(name) for name in _METHODS.get(algorithm, ()))


@cache
def published() -> tuple[Published, ...]:
    """Return every published row."""
    with resource("published_results.csv").open(encoding="utf-8", newline="") as stream:
        accuracies = [
            Published(
                method=row["method"],
                year=int(row["year"]),
                dataset=row["dataset"],
                backbone=row["backbone_group"],
                ways=int(row["ways"]),
                shots=int(row["shots"]),
                value=float(row["accuracy_percent"]),
                half_width=float(row["ci95_percent"]) if row["ci95_percent"] else None,
                source=row["source_seed"],
            )
            for row in csv.DictReader(stream)
        ]
    with resource("published_sinusoid_mse.csv").open(encoding="utf-8", newline="") as stream:
        errors = [
            Published(
                method=row["method"],
                year=2017,
                dataset=_SINUSOID,
                backbone="mlp",
                ways=0,
                shots=int(row["shots"]),
                value=float(row["mse"]),
                half_width=None,
                source=row["source"],
                steps=int(row["gradient_steps"]),
            )
            for row in csv.DictReader(stream)
        ]
    return (*accuracies, *errors, *_of_libfewshot())


_NETWORKS = {"Conv64F": "conv4_64", "ResNet12": "resnet12"}


def _of_libfewshot() -> Iterator[Published]:
    """Yield what LibFewShot measured again: Li et al. 2021, arXiv:2109.04898, and its tables."""
    with resource("libfewshot_results.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            for dataset in ("miniImageNet", "tieredImageNet"):
                for shots in (1, 5):
                    name = f"{dataset}_{shots}shot"
                    if row[name]:
                        yield Published(
                            method=row["method"],
                            year=2021,
                            dataset=dataset,
                            backbone=_NETWORKS[row["backbone"]],
                            ways=5,
                            shots=shots,
                            value=float(row[name]),
                            half_width=float(row[f"{name}_ci95"]),
                            source="arXiv:2109.04898",
                            collection=LIBFEWSHOT,
                        )


def beside(judgement: Judgement, dataset: str) -> list[Published]:
    """Return the published rows of the same data, ways and shots, or of the same inner steps."""
    ways, shots = judgement.protocol["ways"], judgement.protocol["shots"]
    return [
        row
        for row in published()
        if (row.dataset, row.shots) == (dataset, shots)
        and (row.steps == judgement.k if row.is_loss else row.ways == ways)
    ]


def published_beside(judgement: Judgement) -> list[tuple[str, str, str]]:
    """Return name, result and known differences of the same method's rows."""
    found = []
    for row in beside(judgement, judgement.dataset):
        if row.is_of(str(judgement.config["algorithm"])):
            half = "" if row.half_width is None else f" ± {row.half_width:g}"
            what = "; ".join(differences(judgement, row)) or "none that is known"
            found.append((row.name, f"{row.value:g}{half}", what))
    return found


def differences(judgement: Judgement, row: Published) -> list[str]:
    """Say in which ways a run's number is not the published experiment's.

    What papers leave open is not listed; a run without differences may still not be a
    reproduction.
    """
    config: dict[str, Any] = judgement.config
    found = []
    usual = _PAPER_STEPS.get(row.dataset)
    if usual and judgement.adapts and row.collection == PAPERS and judgement.step < usual:
        found.append(f"{judgement.step} of usually {usual} meta-steps")
    if row.method in _HEADS:
        found += _of_classifier(judgement, row)
    if row.is_loss:
        return found
    options, protocol = config["problem_options"], judgement.protocol
    found += _of_network(options, row)
    found += _of_images(options, row)
    if protocol["split"] != "test":
        found.append(f"{protocol['split']} classes, not test classes")
    if protocol["tasks"] < 600 and row.collection == PAPERS:  # noqa: PLR2004 - the usual number
        found.append(f"{protocol['tasks']} tasks, not 600")
    if row.dataset in _SIDES and protocol["query"] != _QUERIES:
        found.append(f"{protocol['query']} query images per class, usually {_QUERIES}")
    found += _of_normalisation(config, row, together=protocol["together"])
    if row.method.startswith(_SUMMED):
        found.append(f"α is on the mean loss, theirs on the sum over {row.ways} classes")
    if row.dataset == "Omniglot":
        found.append("our split of alphabets, not of characters")
    return found


def distance(judgement: Judgement, row: Published) -> tuple[int, ...]:
    """Return what sorts the published rows of a method by how near they are to a run's experiment.

    Another network counts most, then transduction; then papers come before frameworks, and the
    plain method before variants.
    """
    if row.is_loss:
        return (len(row.method),)
    config, together = judgement.config, judgement.protocol["together"]
    transduction = _of_normalisation(config, row, together=together)
    return (
        len(_of_network(config["problem_options"], row)),
        int(row.method in _HEADS and _HEADS[row.method] != config.get("options", {}).get("head")),
        sum("transductive" in text for text in transduction),
        int(row.collection != PAPERS),
        len(row.method),
    )


def _of_classifier(judgement: Judgement, row: Published) -> list[str]:
    """Compare plain classification: how long and how it was trained, and the head of new classes.

    Chen et al. train 400 epochs, by settings for which there is no preset.
    """
    config = judgement.config
    found = []
    head = config.get("options", {}).get("head")
    if head != _HEADS[row.method]:
        found.append(f"head {head}, not {_HEADS[row.method]}")
    if row.method.startswith("Baseline"):
        return [*found, "trained by SimpleShot's settings or others, not by theirs"]
    preset = preset_of(config, row.dataset)
    if preset is not None:
        short = short_of(config, judgement.step, preset)
        found += [short] if short else []
        others = other_settings(config, preset)
        found += [text for text in others if not text.startswith("head =")]
    return found


def _of_network(options: dict[str, Any], row: Published) -> list[str]:
    """Compare the backbone; runs from before there was a choice have Conv4."""
    if _FROZEN in options:
        return [f"features of {options[_FROZEN] or 'a file'}, not {row.backbone.replace('_', ' ')}"]
    backbone, channels = options.get("backbone", "conv4"), options.get("channels")
    if backbone == "conv4" and row.backbone in _CONV4:
        wanted = _CONV4[row.backbone]
        same = wanted is None or channels == wanted
        return [] if same else [f"{channels} channels, not {wanted}"]
    ours = {
        "conv4": f"Conv4-{channels}",
        "resnet12": f"ResNet-12 ({options.get('widths')})",
        "resnet12_simple": "simple ResNet-12",
        "cells": f"cells {options.get('cell')}",
    }.get(backbone, str(backbone))
    if backbone == row.backbone:
        return ["no dropout"]
    return [f"{ours}, not {row.backbone.replace('_', ' ')}"]


def _of_images(options: dict[str, Any], row: Published) -> list[str]:
    """Compare what images were trained on: their size, and whether they were augmented."""
    usual = _SIDES.get(row.dataset)
    if usual is None:
        return []
    found = []
    side = options.get("side") or usual
    if side != usual:
        found.append(f"images of {side} pixels, not {usual}")
    if row.method in _HEADS:
        return found
    augmented = options.get("rotations") or options.get("flips") or options.get("jitter")
    if augmented or options.get("crops", "none") != "none":
        found.append("augmented training images")
    return found


def _of_normalisation(config: dict[str, Any], row: Published, *, together: bool) -> list[str]:
    """Compare how the network normalises; runs from before there was a choice use BatchNorm.

    Runs are transductive where batch statistics meet query examples that are predicted together.
    """
    found = []
    options = config["problem_options"]
    statistics = options.get("norm", "" if _FROZEN in options else "batch")
    transductive = statistics == "batch" and together and not config.get("inductive")
    if _TRANSDUCTIVE in row.method and not transductive:
        found.append("not transductive")
    if transductive and _TRANSDUCTIVE not in row.method:
        found.append("transductive BatchNorm")
    if statistics == "group":
        found.append("GroupNorm, not BatchNorm")
    if row.method.removesuffix(_TRANSDUCTIVE) in _BETA_ALONE:
        if options.get("norm_affine", "both") == "both":
            found.append("BatchNorm with a scale")
        if options.get("norm_adapted", True):
            found.append("BatchNorm adapted")
    return found
