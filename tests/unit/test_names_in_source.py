"""The engine's methods are known by what they say of themselves: the source names none of them."""

import ast
from collections.abc import Iterator
from pathlib import Path

from metaviz.config.catalogue import shipped_catalogue

ROOT = Path(__file__).parents[2] / "metaviz"
METHOD_ROOMS = {"meta", "nets", "algorithms"}
IDS = {entry.id for entry in shipped_catalogue().algorithms}
DATA = {
    "runs/analysis/published.py": "published rows name methods as papers do",
    "config/run_config.py": "what is ticked at the first start",
    "theory/expansion.py": "the gradients whose expansion is known in closed form",
}
FIGURES = {"mirror"}
"""Also the id of a page, of its figure and of its file, which are stored and exported by it."""
OF_0_1 = {"config/traits.py"}
"""Runs of 0.1 do not say in which group the weights of their network are."""


def sources() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if name.split("/")[0] not in METHOD_ROOMS:
            yield name, ast.parse(path.read_text(encoding="utf-8"))


def texts(tree: ast.Module) -> set[str]:
    nodes = ast.walk(tree)
    return {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}


def test_no_file_outside_names_a_method() -> None:
    named = {name: found for name, tree in sources() if (found := texts(tree) & IDS - FIGURES)}
    assert named.keys() <= DATA.keys(), named


def test_no_file_outside_knows_the_group_of_the_start() -> None:
    known = {name for name, tree in sources() if "init" in texts(tree)}
    assert known <= OF_0_1


def test_no_file_outside_asks_what_adapted_for_its_weights() -> None:
    """What adaptation yields is asked for predictions.

    Only tests look at a network's weights, and the one place that writes them for other programs.
    """
    asking = set()
    for name, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr == "weights":
                asking.add(f"{name}: {ast.unparse(node)}")
    assert asking <= {
        "benchmarking/exercise.py: self.weights",  # its own field
        "training/prediction/predict.py: states[place].weights",  # to be written into a file
        "training/band.py: share.weights",  # which meta-parameters a share was computed from
    }, asking
