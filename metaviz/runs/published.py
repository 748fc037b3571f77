"""Published few-shot results, and what differs between them and a run of ours."""

import csv
from dataclasses import dataclass
from functools import cache
from typing import Any

from metaviz.paths import resource
from metaviz.runs.judgement import Judgement

_SINUSOID = "sinusoid"
_PAPER_STEPS = {
    **dict.fromkeys(("miniImageNet", "Omniglot", "tieredImageNet"), 60_000),
    _SINUSOID: 70_000,
}
_METHODS = {
    "maml": ("MAML",),
    "fomaml": ("FOMAML", "First-order MAML"),
    "reptile": ("REPTILE", "Reptile"),
    "imaml": ("iMAML",),
    "metasgd": ("Meta-SGD", "MetaSGD"),
    "metacurvature": ("Meta-Curvature", "MetaCurvature"),
    "metakfo": ("MetaKFO",),
    "mtnet": ("MT-net",),
    "warpgrad": ("WarpGrad",),
    "metalstm": ("Meta-learner LSTM",),
    "ecml": ("ECML",),
    "mirror": ("MetaMirrorDescent",),
}


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

    @property
    def is_loss(self) -> bool:
        """Whether smaller is better."""
        return self.dataset == _SINUSOID

    @property
    def name(self) -> str:
        """Method and year, and the number of inner steps where results for several are known."""
        steps = "" if self.steps is None else f", k = {self.steps}"
        return f"{self.method} ({self.year}){steps}"

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
    return (*accuracies, *errors)


def beside(judgement: Judgement, dataset: str) -> list[Published]:
    """Return the published rows of the same data, ways and shots, or of the same inner steps."""
    ways, shots = judgement.protocol["ways"], judgement.protocol["shots"]
    return [
        row
        for row in published()
        if (row.dataset, row.shots) == (dataset, shots)
        and (row.steps == judgement.k if row.is_loss else row.ways == ways)
    ]


def told_beside(judgement: Judgement) -> list[tuple[str, str, str]]:
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
    if usual and judgement.step < usual:
        found.append(f"{judgement.step} of usually {usual} meta-steps")
    if row.is_loss:
        return found
    channels = config["problem_options"].get("channels")
    if row.backbone not in {"convnet", "conv4_64"}:
        found.append(f"Conv4-{channels}, not {row.backbone.replace('_', ' ')}")
    elif row.backbone == "conv4_64" and channels != 64:  # noqa: PLR2004 - the name says it
        found.append(f"{channels} channels, not 64")
    if judgement.protocol["tasks"] < 600:  # noqa: PLR2004 - the usual number
        found.append(f"{judgement.protocol['tasks']} test tasks, not 600")
    if judgement.protocol["together"]:
        found.append("transductive BatchNorm")
    if row.dataset == "Omniglot":
        found.append("our split of alphabets, not of characters")
    return found
