"""Weights of the field's repositories as a start: names, shapes, and sentences on mismatch."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from metaviz.config.options import OptionError
from metaviz.meta.checkpoint_files import load_checkpoint
from metaviz.nets.plain import imported, plain_names
from metaviz.nets.spec import build, net_spec
from metaviz.runs.storage.store import START, open_run
from metaviz.training.session import open_sessions
from tests.unit.command_line import metaviz, refusal
from tests.unit.stored import config, finish

NORM = {"norm": "batch", "norm_affine": "both", "norm_adapted": True, "norm_eps": 1e-5}
CONV4 = net_spec("conv4", channels=4, pooling="max", ways=5, in_channels=3, image=32, **NORM)
RESNET = net_spec("resnet12", widths=[4, 5, 6, 7], ways=5, in_channels=3, image=32, **NORM)


def block(before: int, after: int) -> nn.Sequential:
    """As in prototypical networks and easyfsl."""
    parts = nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()
    return nn.Sequential(*parts, nn.MaxPool2d(2))


class Learn2Learn(nn.Module):
    """Its blocks name the normalisation before the convolution."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.normalize = nn.BatchNorm2d(after)
        self.conv = nn.Conv2d(before, after, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.max_pool2d(torch.relu(self.normalize(self.conv(x))), 2)


class Basic(nn.Module):
    """A block of MetaOptNet's and easyfsl's ResNet-12."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        for n, width in ((1, before), (2, after), (3, after)):
            self.add_module(f"conv{n}", nn.Conv2d(width, after, 3, padding=1, bias=False))
            self.add_module(f"bn{n}", nn.BatchNorm2d(after))
        parts = nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after)
        self.downsample = nn.Sequential(*parts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        u: Any = x
        for n in (1, 2):
            conv, norm = getattr(self, f"conv{n}"), getattr(self, f"bn{n}")
            u = nn.functional.leaky_relu(norm(conv(u)), 0.1)
        u = self.bn3(self.conv3(u)) + self.downsample(x)
        return nn.functional.max_pool2d(nn.functional.leaky_relu(u, 0.1), 2)


def shaken(module: nn.Module) -> nn.Module:
    """Draw γ and β, too, which start at 1 and 0."""
    generator = torch.Generator().manual_seed(1)
    for value in module.parameters():
        value.data = 0.3 * torch.randn(value.shape, generator=generator)
    return module.double().train()


def ours(spec: Any, state: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
    net = build(spec)
    given, absent = imported(spec, net.layout, state)
    drawn = net.layout.split(net.init(torch.Generator().manual_seed(0)))
    weights = {name: value[None] for name, value in {**drawn, **given}.items()}
    assert set(absent) <= {"head.weight", "head.bias"} | {n for n in drawn if ".bias" in n}
    found: torch.Tensor = net.features(weights, x[None])[0]
    return found


@pytest.mark.parametrize("kind", [block, Learn2Learn])
def test_conv4_of_other_repositories_has_the_same_features(kind: Any) -> None:
    body = shaken(nn.Sequential(*(kind(3 if n == 0 else 4, 4) for n in range(4))))
    x = torch.rand(6, 3, 32, 32, dtype=torch.float64)
    expected = body(x).flatten(1)
    assert expected.abs().max() > 0.1
    for prefix in ("", "encoder.", "module.encoder."):
        state = {f"{prefix}{name}": value for name, value in body.state_dict().items()}
        for given in (state, {"state_dict": state, "epoch": 3}):
            assert torch.allclose(ours(CONV4, given, x), expected, atol=1e-12)


def test_resnet12_of_other_repositories_has_the_same_features() -> None:
    widths = (3, 4, 5, 6, 7)
    layers = {f"layer{n}": Basic(widths[n - 1], widths[n]) for n in range(1, 5)}
    body = shaken(nn.ModuleDict(layers))
    x = torch.rand(6, 3, 32, 32, dtype=torch.float64)
    expected = x
    for layer in layers.values():
        expected = layer(expected)
    state = {**body.state_dict(), "fc.weight": torch.zeros(64, 7), "fc.bias": torch.zeros(64)}
    found = ours(RESNET, state, x)
    assert torch.allclose(found, expected.mean((2, 3)), atol=1e-12)


@pytest.mark.parametrize("spec", [CONV4, RESNET])
def test_our_own_exports_come_back_the_same(spec: Any) -> None:
    net = build(spec)
    drawn = net.layout.split(net.init(torch.Generator().manual_seed(2)))
    given, absent = imported(spec, net.layout, plain_names(drawn))
    assert absent == []
    assert all(torch.equal(given[name], value) for name, value in drawn.items())


def test_what_does_not_fit_is_refused_in_a_sentence() -> None:
    layout = build(CONV4).layout
    three = nn.Sequential(*(block(3 if n == 0 else 4, 4) for n in range(3))).state_dict()
    with pytest.raises(OptionError, match="has 3 convolutions, and conv4 4"):
        imported(CONV4, layout, three)
    wide = nn.Sequential(*(block(3 if n == 0 else 8, 8) for n in range(4))).state_dict()
    with pytest.raises(OptionError, match=r"conv1.weight has the shape \(8, 3, 3, 3\) in the file"):
        imported(CONV4, layout, wide)
    with pytest.raises(OptionError, match="holds no weights by name"):
        imported(CONV4, layout, {"epoch": 3})
    plain = plain_names(layout.split(torch.zeros(layout.size, dtype=torch.float64)))
    del plain["conv3.weight"]
    with pytest.raises(OptionError, match=r"no weights for conv3.weight of conv4"):
        imported(CONV4, layout, plain)


def test_runs_start_from_a_file_and_say_so(tmp_path: Path, caplog: Any) -> None:
    asked = config("protonet", steps=1)
    (session,) = open_sessions([asked], tmp_path / "first")
    spec = open_run(session.folder).network
    session.discard()
    net = build(net_spec(spec["id"], **spec["options"]))
    weights = net.init(torch.Generator().manual_seed(9)).float()
    named = plain_names(net.layout.split(weights))
    del named["head.bias"]
    path = tmp_path / "start.safetensors"
    save_file(named, path)
    (session,) = open_sessions([asked], tmp_path, path)
    assert "start.safetensors has no head.bias: drawn from the seed." in caplog.text
    folder = finish(session)
    start = net.layout.split(load_checkpoint(folder / START)["meta"]["init"])
    assert torch.equal(start["conv2.weight"], net.layout.split(weights)["conv2.weight"])
    record = open_run(folder)
    assert (record.parent["kind"], record.parent["file"]) == ("import", "start.safetensors")
    assert metaviz("repeat", folder).code == 0


def test_files_that_hold_no_weights_are_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (print, ("run",))

    path = tmp_path / "w.pt"
    for content in ({"a": Evil()}, [1, 2], {"epoch": 1}):
        torch.save(content, path)
        said = refusal("compare", "--problem", "sinusoid", "--from", path, "--out", tmp_path / "o")
        assert "state_dict" in said
    path.write_bytes(b"no weights")
    assert "no readable weights" in refusal("compare", "--from", path, "--out", tmp_path / "o")
    assert not (tmp_path / "o" / "runs").exists() or not list((tmp_path / "o" / "runs").iterdir())
