"""Weights as safetensors: every number by name, and what they are of."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from metaviz import __version__
from metaviz.meta.checkpoint_files import CHECKPOINT, load_checkpoint
from metaviz.training.setting import settle
from tests.unit.command_line import metaviz, refusal
from tests.unit.stored import config, train


@pytest.mark.parametrize(
    ("name", "options"),
    [("metasgd", {}), ("mirror", {}), ("reptile", {"inner_optimizer": "adam"}), ("warpgrad", {})],
)
def test_weights_are_written_by_name_and_read_back_the_same(
    name: str, options: dict[str, str], tmp_path: Path
) -> None:
    asked = config(name, **options)
    folder = train(asked, tmp_path)
    path = tmp_path / "new" / "weights.safetensors"
    outcome = metaviz("weights", folder, "--out", path)
    assert (outcome.code, outcome.out) == (0, f"{path}\n"), outcome.error
    meta = load_checkpoint(folder / CHECKPOINT)["meta"]
    layout = settle(asked).learner.net.layout
    tensors = load_file(path)
    wanted = {f"init.{part}" for part, _ in layout.shapes} | (set(meta) - {"init"})
    assert set(tensors) == wanted
    start = {part: tensors[f"init.{part}"] for part, _ in layout.shapes}
    assert {part: tuple(value.shape) for part, value in start.items()} == dict(layout.shapes)
    assert torch.equal(layout.join(start), meta["init"])
    for group in set(meta) - {"init"}:
        assert torch.equal(tensors[group], meta[group])
    with safe_open(path, "pt") as opened:
        assert opened.metadata() == {
            "run": folder.name,
            "algorithm": name,
            "problem": "sinusoid",
            "seed": "3",
            "step": "7",
            "metaviz": __version__,
            "format": "pt",
            "format_version": "1",
            "groups": json.dumps(sorted(meta)),
            "network": settle(asked).problem.net_spec().to_json(),
        }


def test_a_file_of_another_kind_and_a_folder_without_a_run_are_refused(tmp_path: Path) -> None:
    folder = train(config("maml"), tmp_path)
    said = refusal("weights", folder, "--out", tmp_path / "w.bin")
    assert said.endswith("w.bin' is not valid: use a name ending in .safetensors.")
    assert "holds no runs" in refusal("weights", tmp_path / "no", "--out", "w.safetensors")
    (tmp_path / "file").write_text("")
    blocked = tmp_path / "file" / "w.safetensors"
    assert refusal("weights", folder, "--out", blocked).startswith(f"Cannot write {blocked}: ")
    (folder / CHECKPOINT).unlink()
    assert "has no checkpoint" in refusal("weights", folder, "--out", tmp_path / "w.safetensors")
