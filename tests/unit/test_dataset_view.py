"""Looking at data: what is there, one episode of it, and an end before all is decoded."""

from pathlib import Path

import numpy as np
import pytest

from metaviz.config.options import OptionError
from metaviz.config.run_config import Comparison, Shared
from metaviz.paths import data_dir
from metaviz.problems.episodes import refuse_shots, refuse_ways
from metaviz.problems.images import cache_dir
from metaviz.runs.model.dataset import MOST_SHOWN, DatasetView, exchanged
from metaviz.training.engine import LocalEngine
from tests.unit.image_data import image as pixels_of
from tests.unit.test_image_layouts import CLASSES, PER_CLASS, pixels, split_folders_below, unpack
from tests.unit.test_omniglot_files import files

SMALL = {"ways": 2, "shots": 1, "query_shots": 2}


def asked(problem: str, path: Path | None, shared: dict[str, int], **options: object) -> Comparison:
    where = {} if path is None else {"path": str(path)}
    return Comparison(problem=problem, shared=shared, problem_options={**where, **options})


def look(comparison: Comparison, split: str = "train", number: int = 0) -> DatasetView:
    return LocalEngine().dataset_view(comparison, split, number, lambda _line: None)


def two_alphabets(root: Path) -> Path:
    """Write two characters of each of two alphabets, four drawings each."""
    more = {
        name.replace("Latin/character01", "Latin/character02"): d for name, d in files().items()
    }
    return unpack(root, files() | more)


def test_folder_of_images_is_described(tmp_path: Path) -> None:
    view = look(asked("images", split_folders_below(tmp_path), SMALL, side=20))
    assert (view.dataset, view.layout, view.size) == (
        "image folders",
        "folders with a split",
        (20, 20),
    )
    assert {name: (s.classes, s.images, s.fewest, s.most) for name, s in view.splits.items()} == {
        split: (len(names), PER_CLASS * len(names), PER_CLASS, PER_CLASS)
        for split, names in CLASSES.items()
    }


def test_fewest_and_most_images_of_a_class_are_told(tmp_path: Path) -> None:
    root = split_folders_below(tmp_path)
    (root / "mini/data/train/n01/0.png").unlink()
    view = look(asked("images", root, {**SMALL, "query_shots": 1}, side=20))
    assert (view.splits["train"].fewest, view.splits["train"].most) == (PER_CLASS - 1, PER_CLASS)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_episode_holds_images_of_one_class_in_a_row(tmp_path: Path, split: str) -> None:
    view = look(asked("images", split_folders_below(tmp_path), SMALL, side=20), split, 3)
    assert view.episode is not None
    assert view.episode.support.shape == (2, 1, 3, 20, 20)
    assert view.episode.query.shape == (2, 2, 3, 20, 20)
    painted = {int(pixels(name, 0)[0, 0, 0]) for name in CLASSES[split]}
    for support, query in zip(view.episode.support, view.episode.query, strict=True):
        (red,) = set(support[:, 0].ravel()) | set(query[:, 0].ravel())
        assert int(red) in painted


def test_another_number_is_another_episode(tmp_path: Path) -> None:
    comparison = asked("strokes", None, {})
    first, second, again = (look(comparison, "test", number).episode for number in (0, 1, 0))
    assert first is not None
    assert second is not None
    assert again is not None
    assert not np.array_equal(first.support, second.support)
    assert np.array_equal(first.support, again.support)


def test_large_episodes_are_cut_and_keep_their_numbers() -> None:
    episode = look(asked("strokes", None, {"ways": 30, "shots": 1})).episode
    assert episode is not None
    assert episode.ways == 30
    assert episode.support.shape[:2] == (MOST_SHOWN, 1)


def test_omniglot_is_described_without_turned_characters(tmp_path: Path) -> None:
    view = look(asked("omniglot", two_alphabets(tmp_path), SMALL), "test")
    assert view.layout == "alphabets side by side"
    assert {name: (s.classes, s.images) for name, s in view.splits.items()} == {
        "train": (2, 8),
        "test": (2, 8),
    }
    assert view.episode is not None
    assert view.episode.query.shape == (2, 2, 1, 28, 28)


def test_data_too_small_for_the_settings_are_described_with_the_reason(tmp_path: Path) -> None:
    view = look(asked("images", split_folders_below(tmp_path), {**SMALL, "ways": 3}, side=20))
    assert view.splits["train"].classes == 3
    assert view.episode is None
    assert "validation classes: use at most 2" in view.refusal


def test_a_split_too_small_for_an_episode_says_so(tmp_path: Path) -> None:
    root = split_folders_below(tmp_path)
    for image in (root / "mini/data/test/n07").iterdir():
        image.unlink()
    view = look(asked("images", root, SMALL, side=20), "test")
    assert view.refusal.startswith("No test episode can be drawn: 1 test classes have the 3 images")


def test_data_of_which_no_episode_can_be_drawn_are_described(tmp_path: Path) -> None:
    root = unpack(
        tmp_path,
        {f"train/n{n}/{row}.png": pixels_of(9 * n + row) for n in range(3) for row in range(3)},
    )
    view = look(asked("images", root, SMALL, side=20))
    assert (view.size, view.episode) == (None, None)
    assert {split: count.images for split, count in view.splits.items()} == {"train": 9}
    assert "holds no validation classes with the 3 images" in view.refusal


def test_advice_is_never_to_ask_for_less_than_an_episode_has(tmp_path: Path) -> None:
    one = {"train/a": 1, "train/b": 1, "val/c": 1, "val/d": 1}
    contents = {
        f"{name}/{row}.png": pixels_of(9 * place + row)
        for place, (name, count) in enumerate(one.items())
        for row in range(count)
    }
    view = look(asked("images", unpack(tmp_path / "one", contents), SMALL, side=20))
    assert "ask for fewer" not in view.refusal
    assert view.refusal.endswith("add the rest of the data set.")
    few = {
        f"{name}/{row}.png": pixels_of(50 + 9 * place + row)
        for place, name in enumerate(("train/a", "train/b", "val/c"))
        for row in range(3)
    }
    view = look(asked("images", unpack(tmp_path / "few", few), SMALL, side=20))
    assert "ways = 2 is more than the 1 validation classes: add validation classes, 2 at" in (
        view.refusal
    )
    for images, advice in ((1, "add images"), (2, "use at most 2 together")):
        with pytest.raises(OptionError, match=advice):
            refuse_shots(Shared(shots=2, query_shots=2), images, "drawings")
    for classes, advice in ((1, "add classes, 2 at least"), (2, "use at most 2")):
        with pytest.raises(OptionError, match=advice):
            refuse_ways(Shared(ways=5), classes, "classes")


def test_a_problem_without_images_is_refused() -> None:
    with pytest.raises(OptionError, match="Sinusoid regression has no images to look at"):
        look(asked("sinusoid", None, {}))


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(OptionError, match="no split 'holdout'; there are: train, validation, test"):
        look(asked("strokes", None, {}), "holdout")


@pytest.mark.parametrize("problem", ["images", "omniglot"])
def test_reading_reports_how_far_it_is(tmp_path: Path, problem: str) -> None:
    root = two_alphabets(tmp_path) if problem == "omniglot" else split_folders_below(tmp_path)
    lines: list[str] = []
    LocalEngine().dataset_view(asked(problem, root, SMALL), "train", 0, lines.append)
    count = 21 if problem == "images" else 16
    assert lines[1] == f"Decoded 0 of {count} images"
    assert len(lines) > 2


def test_reading_that_is_broken_off_leaves_no_half_cache(tmp_path: Path) -> None:
    def stop(line: str) -> None:
        if line.startswith("Decoded 21"):
            raise InterruptedError("Cancelled.")

    comparison = asked("images", split_folders_below(tmp_path), SMALL, side=20)
    with pytest.raises(InterruptedError, match="Cancelled"):
        LocalEngine().dataset_view(comparison, "train", 0, stop)
    assert list(cache_dir().iterdir()) == []
    assert data_dir() in cache_dir().parents
    assert look(comparison).episode is not None


def test_exchanged_swaps_red_and_blue_only() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(1, 3, 2, 2)
    assert np.array_equal(exchanged(image)[0], image[0, [2, 1, 0]])
