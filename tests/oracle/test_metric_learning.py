"""Metric methods learn to tell characters of new alphabets apart, on the real images."""

from pathlib import Path

import pytest

from metaviz.config.run_config import RunConfig, Shared
from metaviz.runs.model.events import Evaluated
from metaviz.training.setting import settle
from metaviz.training.trainer import begin, train

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "omniglot"
FLOORS = [
    ("matching", 100, 0.78),
    ("r2d2", 100, 0.78),
    ("siamese", 100, 0.70),
    ("relation", 100, 0.60),
    ("tpn", 300, 0.65),
]
"""Accuracies after so many episodes that every seed of three exceeded, less a margin."""


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="the real archives are not on this machine")
@pytest.mark.parametrize(("name", "episodes", "floor"), FLOORS)
def test_episodes_of_omniglot_teach_new_alphabets(name: str, episodes: int, floor: float) -> None:
    asked = RunConfig(
        problem="omniglot",
        algorithm=name,
        seed=0,
        steps=episodes,
        problem_options={"path": str(REAL), "test_alphabets": "Korean,Tagalog"},
        shared=Shared(
            ways=5, shots=1, query_shots=15, meta_batch=1, eval_tasks=100, eval_every=episodes
        ),
        device="cpu",
    )
    setting = settle(asked)
    events = list(train(setting, begin(setting)))
    first, last = (event for event in events if isinstance(event, Evaluated))
    assert first.at("query_accuracy") < 0.65
    assert last.at("query_accuracy") >= floor
