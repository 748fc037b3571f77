"""Problems of features: files of embeddings, and images by the network of a stored run."""

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metaviz.config.options import OptionError
from metaviz.config.run_config import RunConfig, Shared
from metaviz.files.archives import DataError
from metaviz.images.layouts import known_splits
from metaviz.meta.classification import features_of
from metaviz.meta.logistic import solve
from metaviz.meta.tasks import joined
from metaviz.problems import backbone as backbones
from metaviz.problems.backbone import embedded, open_backbone
from metaviz.problems.base_weights import RIDGE, base_weights
from metaviz.problems.features import FeatureOptions, Features
from metaviz.problems.strokes import CLASSES, DRAWERS
from metaviz.runs.storage.store import StoreError, list_runs, open_run
from metaviz.training.recipe import Recipe
from metaviz.training.resume import resume_sessions
from metaviz.training.setting import settle
from tests.unit.command_line import metaviz
from tests.unit.stored import begin, finish, train
from tests.unit.stored import config as usual

D = 6
SHARED = Shared(ways=3, shots=2, query_shots=3, meta_batch=2, eval_tasks=4)
CLASSES_OF = {"train": ["a", "b", "c", "d"], "validation": ["e", "f", "g"], "test": ["h", "i", "j"]}
PER_CLASS = 6


def arrays(names: dict[str, list[str]] | None = None) -> dict[str, np.ndarray]:
    """Features around a centre of each class, in no order."""
    drawn = np.random.default_rng(0)
    rows = [(s, c) for s, group in (names or CLASSES_OF).items() for c in group] * PER_CLASS
    centres = {c: drawn.normal(size=D) for _, c in sorted(set(rows))}
    z = np.stack([centres[c] + 0.1 * drawn.normal(size=D) for _, c in rows])
    return {
        "embeddings": z.astype(np.float32),
        "labels": np.array([c for _, c in rows]),
        "splits": np.array([s for s, _ in rows]),
    }


def written(path: Path, **changed: Any) -> Path:
    kept = {**arrays(), **changed}
    np.savez(path, **{name: value for name, value in kept.items() if value is not None})
    return path


def problem(path: Path, shared: Shared = SHARED, **options: Any) -> Features:
    return Features(FeatureOptions(path=str(path), **options), shared, 0)


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises((DataError, OptionError)) as raised:
        problem(path, **options)
    sentence = str(raised.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


def test_one_file_gives_tasks_of_its_features(tmp_path: Path) -> None:
    path = written(tmp_path / "z.npz")
    plain, known = problem(path, l2=False), arrays()
    assert plain.d == D
    assert {s: list(p.names) for s, p in plain.splits.items()} == CLASSES_OF
    by_bytes = {
        z.tobytes(): (str(split), str(label))
        for z, split, label in zip(
            known["embeddings"], known["splits"], known["labels"], strict=True
        )
    }
    for split in CLASSES_OF:
        tasks = plain.tasks(split, 0, 5)
        assert tasks.support.x.shape == (5, 6, D)
        assert tasks.query.x.shape == (5, 9, D)
        for part in (tasks.support, tasks.query):
            for x, y in zip(part.x, part.y, strict=True):
                found = [by_bytes[one.numpy().tobytes()] for one in x]
                assert {one[0] for one in found} == {split}
                names = {int(label): name for label, (_, name) in zip(y, found, strict=True)}
                assert len(set(names.values())) == 3
                assert [name for _, name in found] == [names[int(label)] for label in y]
        numbers, train = tasks.support.classes, plain.splits["train"].names
        assert (numbers is None) == (split != "train")
        if numbers is not None:
            first = tasks.support[:1]
            names = {
                int(y): by_bytes[x.numpy().tobytes()][1]
                for x, y in zip(first.x[0], first.y[0], strict=True)
            }
            assert [train[n] for n in numbers[0].tolist()] == [names[n] for n in range(3)]
    listed = plain.examples("test", 0, 3 * PER_CLASS, drawn=False)
    assert torch.equal(listed.y[0], torch.arange(3).repeat_interleave(PER_CLASS))


def test_the_other_form_and_texts_of_labels_are_read_too(tmp_path: Path) -> None:
    known = arrays()
    parted = {}
    for split, short in (("train", "train"), ("validation", "val"), ("test", "test")):
        rows = known["splits"] == split
        parted[f"{short}_embeddings"] = known["embeddings"][rows].astype(np.float64)
        parted[f"{short}_labels"] = np.unique(known["labels"][rows], return_inverse=True)[1]
    np.savez_compressed(tmp_path / "parted.npz", **parted)
    one, other = problem(written(tmp_path / "z.npz")), problem(tmp_path / "parted.npz")
    for split in CLASSES_OF:
        assert torch.equal(one.tasks(split, 3, 2).query.x, other.tasks(split, 3, 2).query.x)


def test_features_are_changed_as_asked(tmp_path: Path) -> None:
    path, known = written(tmp_path / "z.npz"), arrays()
    z = known["embeddings"][known["splits"] == "train"]
    for centre in (False, True):
        found = problem(path, centre=centre).examples("train", 0, len(z), drawn=False).x[0]
        assert torch.allclose(found.norm(dim=1), torch.ones(len(z)), atol=1e-6)
        moved = z - z.mean(0) if centre else z
        moved = moved / np.linalg.norm(moved, axis=1, keepdims=True)
        order = np.argsort(known["labels"][known["splits"] == "train"], kind="stable")
        np.testing.assert_allclose(found.numpy(), moved[order], atol=1e-6)


def test_features_of_known_classes_have_the_usual_name_of_their_data(tmp_path: Path) -> None:
    """So that the published rows of miniImageNet stand beside runs on LEO's features."""
    rng = np.random.default_rng(0)
    table: dict[str, np.ndarray] = {}
    for split, names in known_splits()["miniImageNet"].items():
        labels = np.repeat(sorted(names)[:6], 6)
        table[f"{split}_labels"] = labels
        table[f"{split}_embeddings"] = rng.random((len(labels), 3), np.float32)
    np.savez(tmp_path / "mini.npz", **table)
    assert problem(tmp_path / "mini.npz").dataset == "miniImageNet"
    table["test_labels"][:6] = "n00000000"
    np.savez(tmp_path / "other.npz", **table)
    assert problem(tmp_path / "other.npz").dataset == "features of other.npz"


def leo(folder: Path, protocol: int = 2, **changed: Any) -> Path:
    """Write LEO's form: keys name a class between dashes."""
    folder.mkdir()
    known = arrays()
    for split, short in (("train", "train"), ("validation", "val"), ("test", "test")):
        rows = known["splits"] == split
        keys = [
            f"n0-{label}-{label}_{i}.jpg".encode()
            for i, label in enumerate(known["labels"][rows].tolist())
        ]
        table = {"embeddings": known["embeddings"][rows], "keys": keys, **changed}
        (folder / f"{short}_embeddings.pkl").write_bytes(pickle.dumps(table, protocol))
    return folder


def test_leo_s_pickles_are_read_and_nothing_in_them_is_called(tmp_path: Path) -> None:
    one = problem(written(tmp_path / "z.npz"))
    for protocol in (2, 4):
        other = problem(leo(tmp_path / f"leo{protocol}", protocol))
        for split in CLASSES_OF:
            assert torch.equal(one.tasks(split, 3, 2).query.x, other.tasks(split, 3, 2).query.x)
    marker = tmp_path / "called"

    class Hostile:
        def __reduce__(self) -> Any:
            return Path.touch, (marker,)

    assert "pickle" in refusal(leo(tmp_path / "hostile", keys=Hostile()))
    assert not marker.exists()
    assert "names no class" in refusal(leo(tmp_path / "keys", keys=[b"x"] * 24))
    assert "`embeddings` and `keys`" in refusal(leo(tmp_path / "none", embeddings=None))


def test_what_is_wrong_with_a_file_is_told_in_one_sentence(tmp_path: Path) -> None:
    known, path = arrays(), tmp_path / "z.npz"
    assert "does not exist" in refusal(tmp_path / "absent.npz")
    with pytest.raises(OptionError, match=r"features\.pretrained are empty"):
        Features(FeatureOptions(), SHARED, 0)
    (tmp_path / "text.npz").write_text("no archive")
    assert "not a readable .npz" in refusal(tmp_path / "text.npz")
    assert "neither the arrays" in refusal(written(path, labels=None))
    assert "66 embeddings" not in refusal(written(path, labels=known["labels"][:-1]))
    assert "59 labels" in refusal(written(path, labels=known["labels"][:-1]))
    assert "the split 'other'" in refusal(
        written(path, splits=np.where(known["splits"] == "test", "other", known["splits"]))
    )
    broken = known["embeddings"].copy()
    broken[3, 1] = np.nan
    assert "not finite" in refusal(written(path, embeddings=broken))
    shared = np.where(known["labels"] == "h", "a", known["labels"])
    assert "the class 'a' in train and in test" in refusal(written(path, labels=shared))
    objects = known["embeddings"].astype(object)
    assert "z.npz" in refusal(written(path, embeddings=objects))
    np.savez(
        path,
        train_embeddings=np.ones((4, 3)),
        train_labels=np.arange(4),
        test_embeddings=np.ones((4, 2)),
        test_labels=np.arange(4),
    )
    assert "differing length (train 3, test 2)" in refusal(path)
    np.savez(path, train_embeddings=np.ones((4, 3)))
    assert "no train_labels" in refusal(path)
    many = Shared(ways=5, shots=1, query_shots=1)
    with pytest.raises(OptionError, match="ways = 5 is more than the 4 train classes"):
        problem(written(path), many)


@pytest.fixture
def backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Train a tiny classifier on a script of few characters; return its folder."""
    monkeypatch.setenv("METAVIZ_HOME", str(tmp_path / "home"))
    for split in CLASSES:
        monkeypatch.setitem(CLASSES, split, 6)
    return train(usual("classifier", steps=2, batch_size=8), tmp_path / "runs")


def of(folder: Path, **options: Any) -> Features:
    return Features(FeatureOptions(pretrained=str(folder), l2=False, **options), SHARED, 0)


def test_features_of_a_run_are_those_of_its_network(backbone: Path) -> None:
    found, source = of(backbone), open_backbone(str(backbone))
    assert found.dataset == "strokes"
    for split in CLASSES:
        total = CLASSES[split] * DRAWERS
        images = source.problem.examples(split, 0, total, drawn=False).to("cpu", torch.float32)
        wanted = features_of(source.net, source.meta, images.x)[0]
        z = found.examples(split, 0, total, drawn=False)
        torch.testing.assert_close(z.x[0], wanted, rtol=1e-4, atol=1e-5)
        assert torch.equal(z.y, images.y)
    assert found.base is not None
    assert found.base.shape == (6, found.d)


def test_the_cache_is_read_and_goes_on_where_it_was_broken_off(
    backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_backbone(str(backbone))
    first = embedded(source)
    computed: list[tuple[str, int]] = []
    compute = backbones._features

    def counting(one: Any, split: str, place: int, count: int) -> np.ndarray:
        computed.extend((split, place + n) for n in range(count))
        return compute(one, split, place, count)

    monkeypatch.setattr(backbones, "_features", counting)
    assert embedded(source).keys() == first.keys()
    assert computed == []
    wanted = np.array(first["train"].z)
    (path,) = Path(first["train"].z.filename).parent.glob("train.float32")
    del first
    with path.open("r+b") as stream:  # in the middle of the fourth class
        stream.truncate(int(3.5 * DRAWERS) * source.d * 4)
    again = embedded(source)
    assert computed == [("train", n) for n in range(3 * DRAWERS, 6 * DRAWERS)]
    np.testing.assert_array_equal(again["train"].z, wanted)


def test_other_weights_and_other_data_have_features_of_their_own(
    backbone: Path, tmp_path: Path
) -> None:
    one = open_backbone(str(backbone))
    longer = train(usual("classifier", steps=3, batch_size=8), tmp_path / "runs")
    assert open_backbone(str(longer)).key() != one.key()
    copy = tmp_path / "elsewhere" / backbone.name
    shutil.copytree(backbone, copy)
    assert open_backbone(str(copy)).key() == one.key()
    about = copy / "run.toml"
    text = about.read_text(encoding="utf-8")
    about.write_text(text.replace("script = 0", "script = 1"), encoding="utf-8")
    assert open_backbone(str(copy)).key() != one.key()


def test_a_backbone_that_cannot_serve_is_refused(backbone: Path, tmp_path: Path) -> None:
    def told(text: Path | str) -> str:
        with pytest.raises(OptionError) as raised:
            of(Path(text))
        assert str(raised.value).endswith(".")
        return str(raised.value)

    assert "is no run" in told(tmp_path / "deleted")
    maml = train(usual("maml", steps=1), tmp_path / "runs")
    assert "keeps no running statistics" in told(maml)
    (backbone / "checkpoint.pt").write_bytes(b"damaged")
    assert "not a readable checkpoint" in told(backbone)


def test_a_backbone_that_failed_is_refused(backbone: Path, tmp_path: Path) -> None:
    del backbone
    session = begin(usual("classifier", steps=9, batch_size=8), tmp_path / "runs")
    while session.step < 4:
        session.advance()
    session.end("failed")
    with pytest.raises(OptionError, match=r"has failed\.$"):
        of(session.folder)


def test_prototypes_of_features_are_the_nearest_class_means(backbone: Path) -> None:
    run = RunConfig(
        problem="features",
        algorithm="protonet",
        seed=0,
        steps=1,
        problem_options={"pretrained": str(backbone)},
        shared=SHARED,
    )
    chosen = settle(run)
    tasks = chosen.prepare(chosen.problem.evaluation_tasks(0, 4))
    (state,) = chosen.algorithm.adapt(chosen.adapting(tasks, 0), chosen.init())
    outputs = state.predict(tasks.query).outputs
    for task in range(4):
        z, y = tasks.support.x[task].numpy(), tasks.support.y[task].numpy()
        means = np.stack([z[y == n].mean(0) for n in range(3)])
        apart = ((tasks.query.x[task].numpy()[:, None] - means) ** 2).sum(2)
        np.testing.assert_allclose(outputs[task].numpy(), -apart, atol=1e-5)


def test_methods_learn_on_features(backbone: Path) -> None:
    for name in ("maml", "metasgd", "imaml"):
        chosen = settle(
            RunConfig(
                problem="features",
                algorithm=name,
                seed=0,
                steps=1,
                problem_options={"pretrained": str(backbone)},
                shared=SHARED,
            )
        )
        step = chosen.algorithm.meta_gradient(chosen.context(0), chosen.init())
        assert all(torch.isfinite(gradient).all() for gradient in step.gradients.values())
        assert not chosen.traits.transductive
    assert open_run(backbone).state == "done"


def test_weights_of_base_classes_are_the_least_ridge_regression(tmp_path: Path) -> None:
    on = problem(written(tmp_path / "z.npz"), l2=False)
    batch = on.examples("train", 0, 4 * PER_CLASS, drawn=False)
    z = torch.cat([batch.x, torch.ones(1, 4 * PER_CLASS, 1)], 2).double()
    wanted = solve(z, batch.y, 4, RIDGE).weights(z)[0, :, :-1]
    found = base_weights(batch.x[0].double(), batch.y[0], 4)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)
    assert on.base.shape == (4, D)


SETTINGS = """
problem = "strokes"
algorithms = ["classifier"]
steps = 2
[shared]
eval_tasks = 3
shots = 1
query_shots = 3
[options.classifier]
batch_size = 8
[problem_options]
channels = 2
"""


def test_auto_trains_the_backbone_once_and_finds_it_afterwards(
    backbone: Path, tmp_path: Path
) -> None:
    del backbone  # the script is small
    settings = tmp_path / "backbone.toml"
    settings.write_text(SETTINGS, encoding="utf-8")
    asked = (
        *("--problem", "features", "--algorithms", "protonet,bauer", "--steps", "1"),
        *("--seeds", "0-1", "--set", "features.pretrained=auto", "--set", "eval_tasks=3"),
        *("--set", f"features.backbone={settings}", "--set", "ways=3", "--set", "query_shots=3"),
    )
    first = metaviz("compare", *asked, "--out", tmp_path / "one")
    assert first.code == 0, first.error
    assert "Training 2 backbone(s) first" in first.error
    made = sorted((tmp_path / "home" / "runs").glob("classifier-*"))
    assert len(made) == 2
    again = metaviz("compare", *asked, "--out", tmp_path / "two")
    assert again.code == 0, again.error
    assert "backbone(s)" not in again.error
    assert sorted((tmp_path / "home" / "runs").glob("classifier-*")) == made
    records = [open_run(folder) for folder in list_runs(tmp_path / "one" / "runs")]
    assert len(records) == 4
    for record in records:
        assert record.parent["kind"] == "backbone"
        assert f"-s{record.config['seed']}-" in record.parent["run"]
        assert record.config["problem_options"]["pretrained"] == "auto"
    settled = [
        {key: value for key, value in record.config.items() if key not in {"seed", "algorithm"}}
        for record in records
    ]
    assert all(one["problem_options"] == settled[0]["problem_options"] for one in settled)
    with pytest.raises(OptionError, match="No finished run of classifier has seed 7"):
        Features(FeatureOptions(pretrained="auto", backbone=str(settings)), SHARED, 7)


def test_a_run_is_not_resumed_on_other_features(backbone: Path, tmp_path: Path) -> None:
    run = RunConfig(
        problem="features",
        algorithm="maml",
        seed=0,
        steps=9,
        problem_options={"pretrained": str(backbone)},
        shared=SHARED.model_copy(update={"eval_every": 2}),
    )
    session = begin(run, tmp_path / "children")
    while session.step < 4:
        session.advance()
    session.end("stopped")
    resume_sessions([session.folder], 5)[0].end("stopped")
    finish(resume_sessions([backbone], 5)[0])
    with pytest.raises(StoreError, match="whose weights are others now"):
        resume_sessions([session.folder])


def test_numbers_of_classes_travel_with_their_tasks(tmp_path: Path) -> None:
    tasks = problem(written(tmp_path / "z.npz")).tasks("train", 0, 4)
    numbers = tasks.support.classes
    assert numbers is not None
    assert not torch.equal(numbers[0], numbers[1])
    some = tasks[torch.tensor([2, 0])].support
    assert torch.equal(some.classes, numbers[[2, 0]])
    assert torch.equal(some.examples(slice(1)).classes, some.classes)
    assert torch.equal(some.chosen(torch.tensor([[0], [1]])).classes, some.classes)
    assert torch.equal(tasks[:1].support.repeated(3).classes, numbers[:1].expand(3, -1))
    assert torch.equal(joined([tasks[:1], tasks[1:]]).support.classes, numbers)
    assert torch.equal(tasks.to("cpu", torch.float64).support.classes, numbers)
    chosen = settle(usual("gidaris", train_ways=4))
    recipe = Recipe(chosen.algorithm, chosen.context(0), chosen.shards)
    meta, batch = chosen.init(), chosen.batch(0)
    found = recipe.read(recipe(*recipe.inputs(meta, batch)))
    wanted = chosen.algorithm.meta_gradient(chosen.context(0), meta)
    for group, gradient in wanted.gradients.items():
        torch.testing.assert_close(found.gradients[group], gradient)
