"""Episodes: which classes and images a task is made of."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from metaviz.config.episodes import EpisodeShape
from metaviz.config.options import OptionError
from metaviz.config.run_config import Shared
from metaviz.files.archives import DataError
from metaviz.problems.episodes import draw_episodes
from metaviz.problems.image_options import ImageOptions
from metaviz.problems.images import FewShotImages
from tests.unit.test_image_layouts import REAL, encoded, unpack

SIZES = st.lists(st.integers(6, 40), min_size=3, max_size=12)


@settings(max_examples=60, deadline=None)
@given(sizes=SIZES, seed=st.integers(0, 2**31 - 1), first=st.integers(0, 10**6), data=st.data())
def test_episodes_hold_different_classes_and_different_images(
    sizes: list[int], seed: int, first: int, data: st.DataObject
) -> None:
    ways = data.draw(st.integers(2, len(sizes)))
    count = data.draw(st.integers(1, 5))
    images = data.draw(st.integers(2, min(sizes)))
    drawn = draw_episodes(seed, "x", first, count, np.array(sizes), EpisodeShape(ways, images, 0))
    assert drawn.classes.shape == (count, ways)
    assert drawn.images.shape == (count, ways, images)
    for classes, rows in zip(drawn.classes, drawn.images, strict=True):
        assert len(set(classes.tolist())) == ways
        for number, places in zip(classes, rows, strict=True):
            assert len(set(places.tolist())) == images
            assert places.min() >= 0
            assert places.max() < sizes[number]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), first=st.integers(0, 1000), data=st.data())
def test_a_task_is_the_same_in_whatever_batch(seed: int, first: int, data: st.DataObject) -> None:
    sizes = np.array([9, 7, 8, 12])
    ends = sorted(data.draw(st.lists(st.integers(0, 7), min_size=0, max_size=4)))
    whole = draw_episodes(seed, "x", first, 7, sizes, EpisodeShape(3, 2, 4))
    for start, stop in zip([0, *ends], [*ends, 7], strict=True):
        if stop > start:
            part = draw_episodes(
                seed, "x", first + start, stop - start, sizes, EpisodeShape(3, 2, 4)
            )
            for one, other in zip(part, whole, strict=True):
                np.testing.assert_array_equal(one, other[start:stop])


def test_every_label_goes_to_every_class() -> None:
    drawn = draw_episodes(3, "x", 0, 4000, np.full(4, 9), EpisodeShape(3, 1, 1))
    shares = np.array([[(drawn.classes[:, way] == c).mean() for c in range(4)] for way in range(3)])
    assert shares == pytest.approx(np.full((3, 4), 0.25), abs=0.03)
    places = np.bincount(drawn.images.ravel(), minlength=9) / drawn.images.size
    assert places == pytest.approx(np.full(9, 1 / 9), abs=0.01)


def small(root: Path, per_class: int = 6) -> str:
    """Build a data set of 5, 3 and 3 classes of tiny images; return its path.

    What stands behind the end of an image changes nothing but makes it a picture of its own.
    """
    contents = {
        f"{split}/{split}{c}/{row}.png": encoded(f"n0{1 + c}", row) + split.encode()
        for split, classes in (("train", 5), ("val", 3), ("test", 3))
        for c in range(classes)
        for row in range(per_class)
    }
    return str(unpack(root, contents))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("METAVIZ_HOME", str(tmp_path / "home"))
    return tmp_path


def problem(home: Path, **options: object) -> FewShotImages:
    shared = Shared(ways=3, shots=2, query_shots=3)
    chosen = ImageOptions(path=small(home / "data"), side=20, **options)
    return FewShotImages(chosen, shared, 0)


def test_images_of_a_task_belong_to_its_labels(home: Path) -> None:
    for split in ("train", "validation", "test"):
        tasks = problem(home).tasks(split, 4, 6)
        assert tasks.support.x.shape == (6, 6, 3, 20, 20)
        assert tasks.query.x.shape == (6, 9, 3, 20, 20)
        for support, query, y, z in zip(
            tasks.support.x, tasks.query.x, tasks.support.y, tasks.query.y, strict=True
        ):
            red = {label: set() for label in range(3)}
            for image, label in zip([*support, *query], [*y, *z], strict=True):
                red[int(label)].add(int(image[0, 0, 0]))
            assert all(len(values) == 1 for values in red.values())
            assert len(set.union(*red.values())) == 3
            for label in range(3):
                rows = [
                    int(image[1, 0, 0])
                    for image, other in zip([*support, *query], [*y, *z], strict=True)
                    if other == label
                ]
                assert len(set(rows)) == 5


def test_levels_become_numbers_from_zero_to_one(home: Path) -> None:
    tasks = problem(home).tasks("train", 0, 2)
    assert tasks.support.x.dtype == torch.uint8
    moved = tasks.to("cpu", torch.float64).support.x
    assert moved.dtype == torch.float64
    assert torch.allclose(moved, tasks.support.x.double() / 255)


def test_imagenet_scale_is_that_of_the_levels(home: Path) -> None:
    levels = problem(home).tasks("train", 0, 2).support.x / 255
    scaled = problem(home, normalise="imagenet").tasks("train", 0, 2).support.x
    back = scaled * torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    assert torch.allclose(
        back + torch.tensor([0.485, 0.456, 0.406])[:, None, None], levels, atol=1e-6
    )


def test_swapped_channels(home: Path) -> None:
    plain = problem(home).tasks("train", 0, 2).query.x
    swapped = problem(home, swap_channels=True).tasks("train", 0, 2).query.x
    assert torch.equal(swapped, plain.flip(2))


def test_turns_and_flips_are_for_training_alone(home: Path) -> None:
    root = home / "data"
    plain, turned = problem(home), problem(home, rotations=True, flips=True)
    # Corners tell how an image was turned: mark one in every file.
    for split in ("validation", "test"):
        for one, other in zip(
            (plain.tasks(split, 0, 3),), (turned.tasks(split, 0, 3),), strict=True
        ):
            assert torch.equal(one.support.x, other.support.x)
    for path in root.rglob("*.png"):
        marked = np.zeros((20, 20, 3), np.uint8)
        marked[0, 5] = 255
        Image.fromarray(marked).save(path)
        with path.open("ab") as stream:
            stream.write(str(path).encode())  # a picture of its own
    plain, turned = problem_at(root), problem_at(root, rotations=True, flips=True)
    before, after = plain.tasks("train", 0, 40).query.x, turned.tasks("train", 0, 40).query.x
    turned_by = [torch.rot90(before, k, (3, 4)) for k in range(4)]
    group = [form for image in turned_by for form in (image, image.flip(4))]
    which = torch.stack([(one == after).flatten(2).all(2) for one in group])
    assert which.any(0).all()
    assert which.float().mean((1, 2)) == pytest.approx(np.full(8, 1 / 8), abs=0.06)
    by_class = which.reshape(4, 2, 40, 3, 3).any(1)
    assert (by_class.all(3).any(0)).all(), "a class is turned as one"


def problem_at(root: Path, **options: object) -> FewShotImages:
    chosen = ImageOptions(path=str(root), side=20, **options)
    return FewShotImages(chosen, Shared(ways=3, shots=2, query_shots=3), 0)


def test_classes_with_too_few_images_are_left_out_and_named(home: Path) -> None:
    path = small(home / "data")
    for row in (3, 4, 5):
        (home / "data" / "train" / "train0" / f"{row}.png").unlink()
    found = problem_at(home / "data")
    assert path
    assert found.remarks == (
        "1 train classes have fewer than shots + query_shots = 5 images and are left out, train0 "
        "with 3 among them.",
    )
    reds = found.tasks("train", 0, 50).support.x[:, :, 0, 0, 0].unique()
    assert len(reds) == 4


def test_too_many_ways_or_shots_are_refused(home: Path) -> None:
    path = small(home / "data")
    with pytest.raises(OptionError, match="ways = 4 is more than the 3 validation classes"):
        FewShotImages(ImageOptions(path=path), Shared(ways=4, shots=1, query_shots=1), 0)
    with pytest.raises(DataError, match="no train classes with the 12 images"):
        FewShotImages(ImageOptions(path=path), Shared(ways=3, shots=6, query_shots=6), 0)
    with pytest.raises(DataError, match=r"images\.path is empty"):
        FewShotImages(ImageOptions(), Shared(), 0)
    with pytest.raises(DataError, match="does not exist"):
        FewShotImages(ImageOptions(path=str(home / "nothing")), Shared(), 0)


@pytest.mark.skipif(not REAL.exists(), reason="the real miniImageNet is not here")
def test_all_of_miniimagenet_makes_episodes(home: Path) -> None:
    shared = Shared(ways=5, shots=1, query_shots=15, meta_batch=4)
    found = FewShotImages(ImageOptions(path=str(REAL)), shared, 0)
    assert found.data.dataset == "miniImageNet"
    assert not found.remarks
    assert found.net().layout.size == 121_093
    for split, classes in (("train", 64), ("validation", 16), ("test", 20)):
        assert found.data.splits[split].counts.tolist() == [600] * classes
        tasks = found.tasks(split, 0, 4)
        assert tasks.query.x.shape == (4, 75, 3, 84, 84)
        assert 20 < tasks.query.x.float().mean() < 200
    again = FewShotImages(ImageOptions(path=str(REAL)), shared, 0).tasks("test", 1, 2)
    assert torch.equal(again.query.x, found.tasks("test", 0, 4).query.x[1:3])
