"""Task families: the numbers they draw, their losses, and which tasks a seed means."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from metaviz.config.options import OptionError
from metaviz.config.run_config import Shared
from metaviz.files.archives import DataError
from metaviz.problems.base import Problem
from metaviz.problems.mixture import Mixture, MixtureOptions
from metaviz.problems.omniglot import Omniglot
from metaviz.problems.quadratic import Quadratic
from metaviz.problems.registry import PROBLEMS, find_problem
from metaviz.problems.sinusoid import Sinusoid
from metaviz.problems.stream import derived_seed, normals, uniforms
from metaviz.problems.strokes import Strokes, character
from tests.unit.command_line import metaviz, refusal
from tests.unit.test_omniglot_files import pack, unpack

ALPHABETS = {"Greek": 4, "Hebrew": 3, "Latin": 5, "Tibetan": 3}
DRAWERS = 6


def test_families_are_shown_in_the_same_order_whatever_was_imported_first() -> None:
    assert list(PROBLEMS) == [
        *("sinusoid", "mixture", "quadratic", "linear"),
        *("strokes", "omniglot", "images", "features"),
        *("navigation", "chain", "bandit"),
    ]


# Streams


@pytest.mark.parametrize("draws", [1, 3, 4, 22])
def test_uniforms_of_a_task_do_not_depend_on_the_batch(draws: int) -> None:
    whole = uniforms(7, "x", 0, 50, draws)
    parts = [uniforms(7, "x", first, 10, draws) for first in range(0, 50, 10)]
    assert np.array_equal(whole, np.concatenate(parts))
    assert np.array_equal(whole[33:34], uniforms(7, "x", 33, 1, draws))


def test_uniforms_of_other_seeds_purposes_and_tasks_are_others() -> None:
    streams = [
        uniforms(seed, purpose, first, 500, 4).ravel()
        for seed in (0, 1)
        for purpose in ("sinusoid train", "sinusoid test", "sinusoid evaluation")
        for first in (0, 500)
    ]
    together = np.concatenate(streams)
    assert len(np.unique(together)) == len(together)
    for i, one in enumerate(streams):
        for other in streams[:i]:
            assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(len(one))


def test_uniforms_are_uniform_across_tasks_and_draws() -> None:
    values = uniforms(3, "x", 0, 5000, 6)
    assert values.min() >= 0
    assert values.max() < 1
    for column in values.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-4
    assert np.abs(np.corrcoef(values.T) - np.eye(6)).max() < 0.07


def test_normals_are_normal() -> None:
    values = normals(uniforms(1, "noise", 0, 20_000, 4))
    assert values.shape == (20_000, 4)
    assert values.mean() == pytest.approx(0, abs=0.015)
    assert values.var() == pytest.approx(1, abs=0.015)
    assert stats.kstest(values.ravel(), "norm").pvalue > 1e-4
    assert np.abs(np.corrcoef(values.T) - np.eye(4)).max() < 0.03
    assert np.isfinite(normals(np.array([[0.0, 0.0], [1 - 2**-53, 0.5]]))).all()


def test_derived_seeds_differ() -> None:
    places = [(seed, purpose, i) for seed in range(5) for purpose in "ab" for i in range(50)]
    assert len({derived_seed(*place) for place in places}) == len(places)
    assert derived_seed(1, "a", 2) == derived_seed(1, "a", 2)


# Sinusoids


def sinusoid(seed: int = 0, shots: int = 10, **options: object) -> Sinusoid:
    shared = Shared(shots=shots, query_shots=10)
    problem = find_problem("sinusoid").build(options, shared, seed)
    assert isinstance(problem, Sinusoid)
    return problem


def test_sinusoid_reference_levels_are_those_of_the_family() -> None:
    tasks = sinusoid().tasks("train", 0, 40_000)
    x, y = tasks.query.x, tasks.query.y
    zero = y.square().mean((1, 2)).numpy()
    best = (y + 1.6234 * torch.cos(x)).square().mean((1, 2)).numpy()
    for losses, expected in ((zero, 4.2517), (best, 3.0057)):
        error = losses.std() / np.sqrt(len(losses))
        assert error < 0.03
        assert losses.mean() == pytest.approx(expected, abs=4 * error)


def amplitudes_and_phases(problem: Sinusoid, sign: float) -> tuple[np.ndarray, np.ndarray]:
    """Fit A sin(x + sign p) to the evaluation tasks; the fit is exact."""
    query = problem.evaluation_tasks(0, 2000).query
    x, y = query.x[0, :, 0].numpy(), query.y[:, :, 0].numpy()
    parts = np.linalg.lstsq(np.stack([np.sin(x), np.cos(x)], 1), y.T, rcond=None)
    assert parts[1].max() < 1e-18
    sine, cosine = parts[0]
    return np.hypot(sine, cosine), np.arctan2(sign * cosine, sine)


@pytest.mark.parametrize(("sign", "factor"), [("minus", -1.0), ("plus", 1.0)])
def test_sinusoid_amplitudes_and_phases_are_uniform(sign: str, factor: float) -> None:
    amplitude, phase = amplitudes_and_phases(sinusoid(sign=sign), factor)
    assert stats.kstest(amplitude, stats.uniform(0.1, 4.9).cdf).pvalue > 1e-4
    assert stats.kstest(phase, stats.uniform(0, np.pi).cdf).pvalue > 1e-4
    assert abs(np.corrcoef(amplitude, phase)[0, 1]) < 0.1


def test_sinusoid_inputs_are_uniform_and_fresh_for_the_query() -> None:
    tasks = sinusoid().tasks("train", 0, 2000)
    support, query = tasks.support.x.flatten().numpy(), tasks.query.x.flatten().numpy()
    for inputs in (support, query):
        assert stats.kstest(inputs, stats.uniform(-5, 10).cdf).pvalue > 1e-4
    assert not np.isin(support, query).any()


def test_sinusoid_noise_is_only_where_documented() -> None:
    clean, noisy = sinusoid(), sinusoid(noise=0.5)
    for split in ("train", "test"):
        ours, theirs = (problem.tasks(split, 0, 3000) for problem in (noisy, clean))
        for name in ("support", "query"):
            assert torch.equal(getattr(ours, name).x, getattr(theirs, name).x)
            noise = (getattr(ours, name).y - getattr(theirs, name).y).flatten().numpy()
            assert stats.kstest(noise, stats.norm(0, 0.5).cdf).pvalue > 1e-4
    ours, theirs = noisy.evaluation_tasks(0, 500), clean.evaluation_tasks(0, 500)
    assert torch.equal(ours.query.y, theirs.query.y)
    assert float((ours.support.y - theirs.support.y).std()) == pytest.approx(0.5, abs=0.03)


def test_sinusoid_evaluation_query_is_an_even_grid() -> None:
    query = sinusoid(x_low=-2, x_high=3).evaluation_tasks(4, 3).query
    assert query.x.shape == query.y.shape == (3, 100, 1)
    assert np.allclose(query.x[1, :, 0], np.linspace(-2, 3, 100), rtol=0, atol=1e-12)


def test_evaluation_tasks_are_none_of_the_training_tasks() -> None:
    problem = sinusoid()
    train = problem.tasks("train", 0, 500).support.y.flatten().numpy()
    test = problem.evaluation_tasks(0, 500).support.y.flatten().numpy()
    assert not np.isin(train, test).any()


# All families


@pytest.fixture
def omniglot_tree(tmp_path: Path) -> Path:
    """Write four alphabets of drawings that tell alphabet, character and drawer apart."""
    root = tmp_path / "omniglot"
    for name, data in tree_files().items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def sketch(character: int, drawer: int) -> bytes:
    """Return a PNG of dots on white that no other character, drawer or quarter turn has."""
    ink = np.random.default_rng([character, drawer]).random((28, 28)) < 0.2
    buffer = io.BytesIO()
    Image.fromarray(~ink).save(buffer, "PNG")
    return buffer.getvalue()


def tree_files() -> dict[str, bytes]:
    found = {}
    number = 0
    for alphabet, characters in ALPHABETS.items():
        for place in range(characters):
            for drawer in range(DRAWERS):
                name = f"{alphabet}/character{place + 1:02}/{number:04}_{drawer + 1:02}.png"
                found[name] = sketch(number, drawer)
            number += 1
    return found


def omniglot(path: Path, seed: int = 0, **values: object) -> Omniglot:
    """Build 3-way 2-shot episodes with 2 queries, or as `values` say."""
    of_shared = {"ways": 3, "shots": 2, "query_shots": 2}
    shared = Shared(**{k: values.pop(k, v) for k, v in of_shared.items()})  # type: ignore[arg-type]
    problem = find_problem("omniglot").build({"path": str(path), **values}, shared, seed)
    assert isinstance(problem, Omniglot)
    return problem


# Strokes


def strokes(seed: int = 0, **options: object) -> Strokes:
    problem = find_problem("strokes").build(options, Shared(shots=2, query_shots=3, ways=4), seed)
    assert isinstance(problem, Strokes)
    return problem


def test_strokes_are_the_same_in_every_run_and_differ_between_scripts() -> None:
    assert np.array_equal(character(0, 1.0, 17), character.__wrapped__(0, 1.0, 17))
    assert (character(0, 1.0, 17) != character(1, 1.0, 17)).any()
    assert (character(0, 1.0, 17) != character(0, 1.0, 18)).any()
    drawings = character(0, 1.0, 17)
    assert drawings.shape == (20, 28, 28)
    assert len({drawing.tobytes() for drawing in drawings}) == 20
    alike = character(0, 0.0, 17)
    assert all((drawing == alike[0]).all() for drawing in alike)


def test_every_character_leaves_ink_and_paper() -> None:
    for number in range(0, 3000, 97):
        share = (character(0, 1.0, number) > 127).mean((1, 2))
        assert share.min() > 0.002
        assert share.max() < 0.6


def test_characters_are_more_like_themselves_than_like_others() -> None:
    flat = np.stack([character(0, 1.0, c).reshape(20, -1) for c in range(60)]) / 255.0
    middle = flat[:, 10:].mean(1)
    apart = ((flat[:, :10, None] - middle) ** 2).sum(-1)
    right = (apart.argmin(-1) == np.arange(60)[:, None]).mean()
    # Far from chance (1/60), far from trivial.
    assert 0.2 < right < 0.9


def test_splits_of_strokes_share_no_character() -> None:
    problem = strokes()
    seen = {}
    for split in ("train", "validation", "test"):
        tasks = problem.tasks(split, 0, 40)
        assert tasks.support.x.shape == (40, 8, 1, 28, 28)
        assert tasks.support.x.dtype == torch.uint8
        seen[split] = {image.numpy().tobytes() for image in tasks.query.x.flatten(0, 1)}
    assert not seen["train"] & seen["test"]
    assert not seen["validation"] & seen["test"]
    with pytest.raises(OptionError, match="more than the 20 drawings"):
        find_problem("strokes").build({}, Shared(shots=10, query_shots=11), 0)
    with pytest.raises(OptionError, match="more than the 400 characters"):
        find_problem("strokes").build({}, Shared(shots=1, query_shots=1, ways=401), 0)


@pytest.mark.parametrize("family", ["sinusoid", "quadratic", "omniglot", "strokes"])
def test_tasks_do_not_depend_on_batch_size_and_order(family: str, omniglot_tree: Path) -> None:
    problems: dict[str, Problem] = {
        "sinusoid": sinusoid(noise=0.2),
        "quadratic": quadratic(spread=1.0),
        "omniglot": omniglot(omniglot_tree),
        "strokes": strokes(),
    }
    problem = problems[family]
    whole = problem.tasks("train", 0, 12)
    parts = [problem.tasks("train", first, 4) for first in (8, 0, 4)]
    for name in ("support", "query"):
        for part in ("x", "y"):
            pieces = [getattr(getattr(parts[i], name), part) for i in (1, 2, 0)]
            assert torch.equal(getattr(getattr(whole, name), part), torch.cat(pieces))
    listed = problem.evaluation_tasks(0, 9).query.y
    assert torch.equal(listed[5:], problem.evaluation_tasks(5, 4).query.y)


@pytest.mark.parametrize("family", ["sinusoid", "quadratic", "omniglot", "strokes"])
def test_other_seeds_give_other_tasks(family: str, omniglot_tree: Path) -> None:
    makers = {
        "sinusoid": sinusoid,
        "quadratic": lambda seed: quadratic(seed, spread=1.0),
        "omniglot": lambda seed: omniglot(omniglot_tree, seed),
        "strokes": strokes,
    }
    one, same, other = (makers[family](seed).tasks("train", 0, 8).support for seed in (0, 0, 1))
    assert torch.equal(one.x, same.x)
    assert torch.equal(one.y, same.y)
    assert not (torch.equal(one.x, other.x) and torch.equal(one.y, other.y))


# Quadratic losses


def quadratic(seed: int = 0, **options: object) -> Quadratic:
    problem = find_problem("quadratic").build(options, Shared(), seed)
    assert isinstance(problem, Quadratic)
    return problem


def test_quadratic_loss_and_gradient_are_those_of_numpy() -> None:
    problem = quadratic(spread=0.7)
    tasks = problem.tasks("train", 0, 6)
    points = torch.randn(6, 1, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    points.requires_grad_()
    for name in ("support", "query"):
        batch = getattr(tasks, name)
        losses = problem.loss(points, batch)
        (gradient,) = torch.autograd.grad(losses.sum(), points)
        hessian = np.array(getattr(problem.matrices, f"{name}_hessian"))
        for task in range(6):
            p, linear = points[task, 0].detach().numpy(), batch.y[task, 0].numpy()
            assert np.array_equal(batch.x[task, 0].numpy(), hessian)
            expected = p @ hessian @ p / 2 - linear @ p
            assert float(losses[task].detach()) == pytest.approx(expected, abs=1e-13)
            assert gradient[task, 0].numpy() == pytest.approx(hessian @ p - linear, abs=1e-13)


def test_quadratic_spread_is_the_deviation_of_the_linear_terms() -> None:
    tasks = quadratic(spread=2.0).tasks("train", 0, 4000)
    for batch, mean in ((tasks.support, [1.0, -1.0]), (tasks.query, [0.5, 2.0])):
        shift = (batch.y[:, 0].numpy() - mean) / 2
        for column in shift.T:
            assert stats.kstest(column, "norm").pvalue > 1e-4
    same = quadratic().tasks("train", 0, 3).support.y
    assert torch.equal(same[0], same[2])


# Omniglot


def keys(images: torch.Tensor) -> list[bytes]:
    """Return something to tell drawings apart by."""
    return [image.numpy().tobytes() for image in images.reshape(-1, 28, 28)]


def owners(problem: Omniglot, split: str) -> dict[bytes, tuple[int, int, int]]:
    """Map every drawing to its turn, character and drawer."""
    images = problem._images[split]
    scaled = torch.from_numpy(images.copy()).to(torch.float32).div(255)
    places = list(np.ndindex(images.shape[:3]))
    found = dict(zip(keys(scaled), places, strict=True))
    assert len(found) == len(places), "the synthetic drawings must all differ"
    return found


def episodes(problem: Omniglot, split: str, count: int) -> np.ndarray:
    """Return turn, character and drawer of every drawing, (tasks, ways, drawings, 3)."""
    known = owners(problem, split)
    tasks = problem.tasks(split, 0, count)
    found = []
    for name in ("support", "query"):
        batch = getattr(tasks, name)
        ways = problem.shared.ways
        found.append(np.array([known[k] for k in keys(batch.x)]).reshape(count, ways, -1, 3))
        expected = torch.arange(ways).repeat_interleave(batch.y.shape[1] // ways)
        assert (batch.y == expected).all()
    return np.concatenate(found, 2)


def test_omniglot_episodes_are_made_of_whole_classes(omniglot_tree: Path) -> None:
    found = episodes(omniglot(omniglot_tree), "train", 200)
    turn, character, drawer = np.moveaxis(found, 3, 0)
    assert (turn == turn[:, :, :1]).all()
    assert (character == character[:, :, :1]).all()
    for task in range(200):
        assert len(set(character[task, :, 0])) == 3
        for way in range(3):
            assert len(set(drawer[task, way])) == 4, "support and query share a drawing"
    assert set(turn.ravel()) == {0, 1, 2, 3}
    assert set(drawer.ravel()) == set(range(DRAWERS))


def test_omniglot_labels_are_permuted_from_task_to_task(omniglot_tree: Path) -> None:
    character = episodes(omniglot(omniglot_tree), "train", 600)[:, :, 0, 1]
    for way in range(3):
        counts = np.bincount(character[:, way])
        assert stats.chisquare(counts).pvalue > 1e-4


def test_omniglot_test_characters_are_never_turned_and_never_trained_on(
    omniglot_tree: Path,
) -> None:
    problem = omniglot(omniglot_tree)
    assert problem.alphabets == {
        "train": {"Greek", "Hebrew", "Latin"},
        "test": {"Tibetan"},
    }
    assert set(episodes(problem, "test", 100)[..., 0].ravel()) == {0}
    train = set(keys(problem.tasks("train", 0, 300).support.x))
    test = set(keys(problem.evaluation_tasks(0, 300).query.x))
    assert not train & test
    assert problem._images["train"].shape[:2] == (4, 12)
    assert problem._images["test"].shape[:2] == (1, 3)


def test_omniglot_options_are_obeyed(omniglot_tree: Path) -> None:
    chosen = omniglot(omniglot_tree, test_alphabets=" Greek, Latin ", rotations=False)
    assert chosen.alphabets["test"] == {"Greek", "Latin"}
    assert chosen._images["train"].shape[:2] == (1, 6)
    bright = omniglot(omniglot_tree).tasks("train", 0, 2).support.x
    dark = omniglot(omniglot_tree, invert=False).tasks("train", 0, 2).support.x
    assert torch.equal(dark, 1 - bright)
    assert 0 <= float(bright.min()) < float(bright.mean()) < 0.5 < float(bright.max()) <= 1


def test_omniglot_refuses_more_drawings_or_classes_than_there_are(omniglot_tree: Path) -> None:
    said = "shots + query_shots = 7 is more than the 6 drawings of a character: use at most 6 "
    with pytest.raises(OptionError, match=said.replace("+", r"\+")):
        omniglot(omniglot_tree, shots=3, query_shots=4)
    with pytest.raises(OptionError, match="ways = 4 is more than the 3 test characters: use at m"):
        omniglot(omniglot_tree, ways=4)
    with pytest.raises(OptionError, match="ways = 13 is more than the 12 train characters"):
        omniglot(omniglot_tree, ways=13)
    with pytest.raises(OptionError, match="There is no alphabet 'Nosuch' in these data; there ar"):
        omniglot(omniglot_tree, test_alphabets="Nosuch")


def test_omniglot_refuses_a_single_alphabet(tmp_path: Path) -> None:
    files = {name: data for name, data in tree_files().items() if name.startswith("Greek")}
    with pytest.raises(DataError, match=r"These data hold one alphabet only \(Greek\)"):
        omniglot(unpack(tmp_path, files))


def test_command_line_names_corrupt_image_and_hostile_archive(
    omniglot_tree: Path, tmp_path: Path
) -> None:
    arguments = ("compare", "--problem", "omniglot", "--out", tmp_path / "out", "--set")
    broken = next(omniglot_tree.glob("Latin/*/*.png"))
    broken.write_bytes(broken.read_bytes()[:50])
    said = refusal(*arguments, f"omniglot.path={omniglot_tree}")
    assert str(broken.relative_to(omniglot_tree)) in said
    archive = pack(tmp_path / "a.zip", {**tree_files(), "../evil.png": sketch(0, 0)})
    said = refusal(*arguments, f"omniglot.path={archive}")
    assert "climbs out of its folder, '../evil.png'" in said
    archive.write_bytes(archive.read_bytes()[:-100])
    assert "is not a readable zip archive" in refusal(*arguments, f"omniglot.path={archive}")
    assert not (tmp_path / "out").exists()


def test_command_line_trains_on_omniglot(omniglot_tree: Path, tmp_path: Path) -> None:
    settings = ["ways=3", "shots=1", "query_shots=2", "meta_batch=2", "eval_tasks=2"]
    settings += ["inner_steps=1", "eval_steps=1", "omniglot.channels=2"]
    command = ["compare", "--problem", "omniglot", "--algorithms", "maml", "--steps", "1"]
    for setting in (*settings, f"omniglot.path={omniglot_tree}"):
        command += ["--set", setting]
    outcome = metaviz(*command, "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.error
    said = refusal(*command, "--set", "ways=9")
    assert said == "ways = 9 is more than the 3 test characters: use at most 3."
    said = refusal(*command, "--set", "shots=5")
    assert said.startswith("shots + query_shots = 7 is more than the 6 drawings of a character")


# Sinusoids and lines


def mixture(**options: float) -> Mixture:
    return Mixture(MixtureOptions(**options), Shared(shots=5, query_shots=7), 2)  # type: ignore[arg-type]


def test_tasks_of_the_mixture_are_lines_and_sinusoids_in_the_share_asked_for() -> None:
    tasks = mixture(noise=0.0, share_of_lines=0.3).tasks("train", 0, 3000)
    x, y = (
        torch.cat([getattr(part, name) for part in (tasks.support, tasks.query)], 1)[..., 0]
        for name in ("x", "y")
    )
    columns = torch.stack([x, torch.ones_like(x)], 2)
    line = torch.linalg.lstsq(columns, y.unsqueeze(2)).solution
    is_line = ((columns @ line).squeeze(2) - y).abs().amax(1) < 1e-9
    assert float(is_line.double().mean()) == pytest.approx(0.3, abs=0.03)
    slope, intercept = line[is_line].squeeze(2).T
    for values in (slope, intercept):
        assert stats.kstest(values.numpy() / 3, "uniform", (-1, 2)).pvalue > 1e-4
    waves, at = y[~is_line], x[~is_line]
    columns = torch.stack([at.sin(), at.cos()], 2)
    found = torch.linalg.lstsq(columns, waves.unsqueeze(2)).solution
    assert torch.allclose((columns @ found).squeeze(2), waves, atol=1e-8)
    amplitude = found.squeeze(2).norm(dim=1).numpy()
    assert stats.kstest(amplitude, "uniform", (0.1, 4.9)).pvalue > 1e-4


def test_mixture_has_noise_on_all_but_evaluation_queries() -> None:
    noisy, clean = mixture(), mixture(noise=0.0)
    for of in (lambda one: one.tasks("train", 0, 4000), lambda one: one.evaluation_tasks(0, 4000)):
        away = of(noisy).support.y - of(clean).support.y
        assert float(away.std()) == pytest.approx(0.3, rel=0.03)
        assert torch.equal(of(noisy).support.x, of(clean).support.x)
    queries = (one.evaluation_tasks(0, 5).query.y for one in (noisy, clean))
    assert torch.equal(*queries)


def test_picture_of_the_mixture_says_which_tasks_are_lines() -> None:
    problem = mixture(noise=0.0)
    shown = problem.picture(lambda tasks: torch.zeros(2, *tasks.query.y.shape))
    bent = np.abs(np.diff(shown["truth"].astype(float), 2)).max(1) > 1e-4
    assert np.array_equal(shown["family"] == 0, bent)
    assert 0 < shown["family"].sum() < len(bent)


@pytest.mark.parametrize("wrong", [{"amplitude_low": 6.0}, {"x_low": 5.0}, {"share_of_lines": 1.5}])
def test_ranges_of_the_mixture_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(OptionError, match="mixture"):
        find_problem("mixture").build(wrong, Shared(), 0)
