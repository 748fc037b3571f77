"""What distinguishes runs in every plot: colours and dashes."""

from itertools import permutations

from metaviz.runs.model.record import Record
from metaviz.runs.model.styles import styles


def record(run: str, algorithm: str, seed: int) -> Record:
    return Record(run, {"algorithm": algorithm, "problem": "sinusoid", "seed": seed}, {})


def test_a_seed_has_one_dash_whatever_order_the_runs_are_in() -> None:
    runs = [
        record("a", "maml", 0),
        record("b", "maml", 1),
        record("c", "reptile", 1),
        record("d", "reptile", 2),
    ]
    found = {
        tuple((run, style.dash) for run, style in sorted(styles(order).items()))
        for order in permutations(runs)
    }
    assert found == {(("a", "solid"), ("b", "dash"), ("c", "dash"), ("d", "dot"))}


def test_runs_of_one_algorithm_and_seed_are_told_apart() -> None:
    runs = [record("a", "maml", 0), record("b", "maml", 0), record("c", "maml", 1)]
    assert {run: style.dash for run, style in styles(runs[::-1]).items()} == {
        "a": "solid",
        "b": "dash",
        "c": "dot",
    }
    assert styles([]) == {}
