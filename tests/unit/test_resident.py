"""Splits kept on a device give the same episodes, bit by bit, as splits in their file."""

from pathlib import Path
from typing import Any

import pytest
import torch

from metaviz.config.run_config import RunConfig, Shared
from metaviz.meta.tasks import TaskBatch
from metaviz.problems.image_options import ImageOptions
from metaviz.problems.images import FewShotImages
from metaviz.problems.resident import fits, free_bytes
from metaviz.training.setting import settle
from tests.unit.test_episodes import small

CPU = torch.device("cpu")
TINY = Shared(ways=3, shots=2, query_shots=3, meta_batch=2)
SPLITS = ("train", "validation", "test")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("METAVIZ_HOME", str(tmp_path / "home"))
    return small(tmp_path / "data")


def problem(folder: str, **options: Any) -> FewShotImages:
    return FewShotImages(ImageOptions(path=folder, side=20, **options), TINY, 0)


def plenty(device: torch.device) -> int:
    del device
    return 10**12


def same(one: TaskBatch, other: TaskBatch) -> bool:
    parts = [(getattr(b, s).x, getattr(b, s).y) for s in ("support", "query") for b in (one, other)]
    return all(
        torch.equal(x.cpu(), z.cpu()) and torch.equal(y, w)
        for (x, y), (z, w) in zip(parts[::2], parts[1::2], strict=True)
    )


@pytest.mark.parametrize(
    ("needed", "free", "expected"),
    [(25, 100, True), (26, 100, False), (1, 0, False), (1_270_080_000, 8 * 2**30, True)],
)
def test_a_split_may_take_a_quarter_of_what_is_free(needed: int, free: int, expected: bool) -> None:
    assert fits(needed, free) == expected


def test_nothing_is_kept_on_a_cpu_unless_it_is_forced(folder: str) -> None:
    assert free_bytes(CPU) == 0
    plain = problem(folder)
    plain.place(CPU)
    plain.tasks("train", 0, 1)
    assert all(pixels._kept is None for pixels in plain._pixels.values())


VARIANTS: list[dict[str, Any]] = [
    {},
    {"rotations": True, "flips": True},
    {"normalise": "imagenet", "swap_channels": True},
    {"norm": "support"},
]


@pytest.mark.parametrize("options", VARIANTS)
def test_resident_split_gives_the_same_episodes(
    folder: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metaviz.problems.resident._AT_ONCE", 7)
    plain, kept = problem(folder, **options), problem(folder, **options)
    kept.place(CPU, plenty)
    for split in SPLITS:
        whole = plain.tasks(split, 3, 6)
        assert same(kept.tasks(split, 3, 6), whole)
        assert same(kept.tasks(split, 5, 2), whole[2:4])
        assert kept._pixels[split]._kept is not None
        # What is resident is read no more from the file.
        assert kept._pixels[split]._kept is not None
        kept._pixels[split]._kept.zero_()
        changed = kept.tasks(split, 3, 6)
        assert not same(changed, whole)


def test_split_that_does_not_fit_stays_in_its_file(folder: str) -> None:
    plain, crowded = problem(folder), problem(folder)
    size = 30 * 3 * 20 * 20
    crowded.place(CPU, lambda _: 4 * size - 1)
    assert same(crowded.tasks("train", 0, 2), plain.tasks("train", 0, 2))
    assert crowded._pixels["train"]._kept is None
    crowded.tasks("test", 0, 2)
    assert crowded._pixels["test"]._kept is not None
    roomy = problem(folder)
    roomy.place(CPU, lambda _: 4 * size)
    roomy.tasks("train", 0, 2)
    assert roomy._pixels["train"]._kept is not None


def test_settling_places_the_problem_on_the_device_of_the_run(folder: str) -> None:
    found: list[torch.device] = []

    class Noting(FewShotImages):
        def place(self, device: torch.device, free: Any = free_bytes) -> None:
            found.append(device)
            super().place(device, free)

    options = {"path": folder, "side": 20, "channels": 4}
    made = Noting(ImageOptions(**options), TINY, 0)
    config = RunConfig(
        problem="images",
        algorithm="maml",
        seed=0,
        steps=1,
        device="cpu",
        shared=TINY,
        problem_options=options,
    )
    settle(config, made)
    assert found == [CPU]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("options", VARIANTS)
def test_split_on_cuda_gives_the_episodes_of_the_cpu(folder: str, options: dict[str, Any]) -> None:
    plain, kept = problem(folder, **options), problem(folder, **options)
    kept.place(torch.device("cuda"))
    for split in SPLITS:
        found, expected = kept.tasks(split, 3, 6), plain.tasks(split, 3, 6)
        assert found.query.x.device.type == "cuda"
        torch.testing.assert_close(found.query.x.cpu(), expected.query.x)
        torch.testing.assert_close(found.support.x.cpu(), expected.support.x)
