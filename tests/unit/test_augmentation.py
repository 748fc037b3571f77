"""Random crops and colours: of training images alone, and the same in whatever batch."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from metaviz.config.options import OptionError
from metaviz.config.run_config import Shared
from metaviz.problems.augmentation import DRAWS, Augmentation
from metaviz.problems.image_options import ImageOptions
from metaviz.problems.images import FewShotImages
from metaviz.problems.torchvision_shim import import_transforms
from tests.unit.test_episodes import small

SIDE = 20
KINDS: list[dict[str, Any]] = [
    {"crops": "padded", "crop_padding": 4},
    {"crops": "resized"},
    {"jitter": 0.4},
    {"crops": "padded", "jitter": 0.4, "rotations": True, "flips": True, "norm": "support"},
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("METAVIZ_HOME", str(tmp_path / "home"))
    path = small(tmp_path / "data")
    generator = np.random.default_rng(3)
    for file in sorted((tmp_path / "data").rglob("*.png")):
        Image.fromarray(generator.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(file)
    return path


def problem(folder: str, seed: int = 0, **options: Any) -> FewShotImages:
    shared = Shared(ways=3, shots=2, query_shots=3)
    return FewShotImages(ImageOptions(path=folder, side=SIDE, **options), shared, seed)


def pictures(count: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    levels = torch.randint(1, 256, (1, 3, SIDE, SIDE), generator=generator, dtype=torch.uint8)
    return levels.expand(count, -1, -1, -1)


def draws(count: int) -> np.ndarray:
    return np.random.default_rng(7).random((count, DRAWS))


@pytest.mark.parametrize("options", KINDS)
def test_a_task_is_changed_the_same_in_whatever_batch(folder: str, options: dict[str, Any]) -> None:
    whole = problem(folder, **options).tasks("train", 2, 5)
    part = problem(folder, **options).tasks("train", 4, 2)
    plain = problem(folder).tasks("train", 2, 5)
    other = problem(folder, seed=1, **options).tasks("train", 2, 5)
    for name in ("support", "query"):
        ours = getattr(whole, name).x
        assert ours.dtype == torch.uint8
        assert torch.equal(ours[2:4], getattr(part, name).x)
        assert not torch.equal(ours, getattr(plain, name).x)
        assert not torch.equal(ours, getattr(other, name).x)


@pytest.mark.parametrize("options", KINDS)
def test_evaluation_tasks_are_left_as_they_are(folder: str, options: dict[str, Any]) -> None:
    for split in ("validation", "test"):
        found, plain = (problem(folder, **o).tasks(split, 0, 3) for o in (options, {}))
        assert torch.equal(found.support.x, plain.support.x)
        assert torch.equal(found.query.x, plain.query.x)


def test_padded_crop_is_the_image_shifted_into_black() -> None:
    image, count, margin = pictures()[0], 600, 3
    found = Augmentation("padded", padding=margin)(pictures(count), draws(count))
    padded = torch.nn.functional.pad(image, [margin] * 4)
    windows = {
        (top, left): padded[:, top : top + SIDE, left : left + SIDE]
        for top in range(2 * margin + 1)
        for left in range(2 * margin + 1)
    }
    places = [
        next(place for place, window in windows.items() if torch.equal(window, crop))
        for crop in found
    ]
    assert set(places) == set(windows)


def test_resized_crop_is_that_of_the_numbers() -> None:
    count, augment = 200, Augmentation("resized", area=0.25)
    numbers = draws(count)
    found = augment(pictures(count), numbers)
    transforms = import_transforms()
    shares, ratios = [], []
    for crop, (area, shape, top, left, *_) in zip(found, numbers, strict=True):
        height = ((0.25 + 0.75 * area) / (4 / 3) ** (2 * shape - 1)) ** 0.5 * SIDE
        width = (0.25 + 0.75 * area) * SIDE**2 / height
        h, w = min(round(height), SIDE), min(round(width), SIDE)
        box = (int(top * (SIDE - h + 1)), int(left * (SIDE - w + 1)), h, w)
        expected = transforms.resized_crop(pictures()[0], *box, [SIDE, SIDE], antialias=True)
        assert torch.equal(crop, expected)
        shares.append(h * w / SIDE**2)
        ratios.append(w / h)
    assert 0.2 < min(shares) < 0.35
    assert max(shares) > 0.9
    assert 0.7 < min(ratios) < 0.85
    assert 1.2 < max(ratios) < 1.45


def test_jitter_moves_brightness_within_its_bounds() -> None:
    count, grey = 300, torch.full((1, 3, SIDE, SIDE), 100, dtype=torch.uint8)
    found = Augmentation(jitter=0.4)(grey.expand(count, -1, -1, -1), draws(count))
    # A grey image has neither contrast nor saturation: brightness alone moves it.
    levels = found.flatten(1).float()
    assert (levels == levels[:, :1]).all()
    # Truncation of levels costs up to one in each of three steps.
    assert 57 <= levels.min() < 66
    assert 133 < levels.max() <= 140
    coloured = Augmentation(jitter=0.4)(pictures(count), draws(count)).float()
    spread = coloured.mean(1).flatten(1).std(1) / coloured.mean((1, 2, 3))
    assert spread.max() > 1.3 * spread.min()
    assert torch.equal(Augmentation()(pictures(3), draws(3)), pictures(3))


def test_saturation_sees_the_channels_as_they_are_shown(folder: str) -> None:
    plain = problem(folder, jitter=0.4, swap_channels=True).tasks("train", 0, 3).query.x
    swapped = problem(folder, jitter=0.4).tasks("train", 0, 3).query.x.flip(2)
    assert not torch.equal(plain, swapped)


def test_margin_of_more_than_half_the_image_is_refused(folder: str) -> None:
    said = r"images\.crop_padding = 11 is more than half of the side 20: use at most 10\."
    with pytest.raises(OptionError, match=said):
        problem(folder, crops="padded", crop_padding=11)
    problem(folder, crop_padding=11)


def test_torchvision_is_imported_for_augmentation_alone(folder: str) -> None:
    code = (
        "import sys; from metaviz.config.run_config import Shared; "
        "from metaviz.problems.image_options import ImageOptions; "
        "from metaviz.problems.images import FewShotImages; "
        f"p = FewShotImages(ImageOptions(path={folder!r}, side=20), "
        "Shared(ways=3, shots=2, query_shots=3), 0); p.tasks('train', 0, 1); "
        "print('torchvision' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "False"
