"""Meta-gradients that are clipped group by group."""

from pathlib import Path

import pytest
import torch

from metaviz.config.outer_rule import OuterRule
from metaviz.meta.checkpoint_files import CHECKPOINT, load_checkpoint
from metaviz.training.setting import settle
from metaviz.training.trainer import clipped
from tests.unit.stored import config, train


def test_a_gradient_is_scaled_to_its_limit() -> None:
    gradient = torch.tensor([3.0, 4.0])
    assert clipped(gradient, None) is clipped(gradient, OuterRule(1.0)) is gradient
    assert torch.equal(clipped(gradient, OuterRule(1.0, clip=10.0)), gradient)
    assert torch.allclose(clipped(gradient, OuterRule(1.0, clip=1.0)), torch.tensor([0.6, 0.8]))
    assert torch.equal(clipped(torch.zeros(2), OuterRule(1.0, clip=1.0)), torch.zeros(2))


def test_entries_are_cut_before_the_norm_is_scaled() -> None:
    gradient = torch.tensor([3.0, -8.0, 1.0])
    assert torch.equal(
        clipped(gradient, OuterRule(1.0, entry_clip=3.0)), torch.tensor([3.0, -3.0, 1.0])
    )
    both = clipped(gradient, OuterRule(1.0, clip=1.0, entry_clip=2.0))
    assert torch.allclose(both, torch.tensor([2.0, -2.0, 1.0]) / 3)


@pytest.mark.parametrize("together", [None, 1e-4])
def test_every_group_of_leo_moves_by_its_own_limit(together: float | None, tmp_path: Path) -> None:
    asked = config("leo", steps=1, group_clip=1e-3)
    shared = {"outer_optimizer": "sgd", "outer_lr": 1.0, "clip_norm": together}
    asked = asked.model_copy(update={"shared": asked.shared.model_copy(update=shared)})
    first = settle(asked).init()
    folder = train(asked, tmp_path)
    last = load_checkpoint(folder / CHECKPOINT)["meta"]
    moved = {name: float((last[name] - first[name]).norm()) for name in first}
    assert set(moved) == {"encoder", "decoder", "rates"}
    if together is None:
        assert moved == pytest.approx(dict.fromkeys(moved, 1e-3), rel=1e-2)
    else:
        assert sum(one**2 for one in moved.values()) ** 0.5 == pytest.approx(together, rel=1e-2)
