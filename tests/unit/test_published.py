"""Published results: papers beside one framework's own measurements, and whose method is whose."""

import csv
from pathlib import Path

import pytest

from metaviz.algorithms.registry import find_algorithm
from metaviz.runs.analysis.benchmark import Choice
from metaviz.runs.analysis.published import LIBFEWSHOT, PAPERS, published

RESOURCES = Path(__file__).parents[2] / "resources"


def test_every_number_of_the_framework_is_a_row() -> None:
    with (RESOURCES / "libfewshot_results.csv").open(encoding="utf-8", newline="") as stream:
        table = list(csv.DictReader(stream))
    numbers = sorted(
        float(value)
        for row in table
        for name, value in row.items()
        if name.endswith("shot") and value
    )
    rows = [row for row in published() if Choice(collection=LIBFEWSHOT).admits(row)]
    assert sorted(row.value for row in rows) == numbers
    assert len(numbers) == 62  # 17 rows of four numbers, three without tieredImageNet
    one = next(r for r in rows if r.method == "ProtoNet" and r.backbone == "resnet12")
    assert (one.value, one.half_width, one.dataset, one.shots) == (54.25, 0.37, "miniImageNet", 1)
    assert one.name == "ProtoNet (LibFewShot)"


def test_papers_come_without_the_framework() -> None:
    papers = [row for row in published() if Choice(collection=PAPERS).admits(row)]
    assert {row.collection for row in papers} == {PAPERS}
    assert all(row.name.startswith(f"{row.method} ({row.year})") for row in papers)


@pytest.mark.parametrize(
    ("algorithm", "methods"),
    [
        (
            "protonet",
            {"Prototypical networks", "Prototypical Nets (Ren et al. 2018)", "ProtoNet"},
        ),
        (
            "metasgd",
            {
                *("MetaSGD", "Meta-SGD", "Meta-SGD (LEO features)"),
                "Meta-SGD (pretrained; MC-paper rerun)",
            },
        ),
    ],
)
def test_a_method_knows_its_rows(algorithm: str, methods: set[str]) -> None:
    assert find_algorithm(algorithm).entry.id == algorithm
    assert {row.method for row in published() if row.is_of(algorithm)} == methods
