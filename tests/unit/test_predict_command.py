"""`metaviz predict`: episodes in files, checked against plain NumPy; bad files are refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metaviz.algorithms.registry import ALGORITHMS
from tests.unit.command_line import metaviz, refusal

LABELS = np.array([7, -3, 7, -3, 100, 100, -3, 7, 100])


def arrays(seed: int = 0, size: int = 4, queries: int = 6) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {
        "support_x": generator.normal(size=(len(LABELS), size)),
        "support_y": LABELS,
        "query_x": generator.normal(size=(queries, size)),
    }


def written(folder: Path, **changed: Any) -> Path:
    path = folder / "episode.npz"
    kept = {name: value for name, value in {**arrays(), **changed}.items() if value is not None}
    np.savez(path, **kept)
    return path


def predicted(path: Path, algorithm: str, *settings: str, dtype: str = "float64") -> Any:
    chosen = [part for setting in settings for part in ("--set", f"{algorithm}.{setting}")]
    outcome = metaviz(
        *("predict", "--algorithm", algorithm, "--network", "identity", "--episode", path),
        *("--dtype", dtype, "--json", *chosen),
    )
    assert outcome.code == 0, outcome.error
    assert outcome.error == ""
    return json.loads(outcome.out)


def softmax(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(logits - logits.max(1, keepdims=True))
    found: np.ndarray = shares / shares.sum(1, keepdims=True)
    return found


def one_hot(labels: np.ndarray) -> np.ndarray:
    return (labels[:, None] == np.unique(labels)).astype(float)


def prototypes(given: dict[str, np.ndarray], distance: str = "squared") -> np.ndarray:
    x, y, q = given["support_x"], given["support_y"], given["query_x"]
    centres = np.stack([x[y == n].mean(0) for n in np.unique(y)])
    if distance == "cosine":
        lengths = np.linalg.norm(q, axis=1)[:, None] * np.linalg.norm(centres, axis=1)
        cosines: np.ndarray = q @ centres.T / lengths
        return cosines
    apart = np.linalg.norm(q[:, None] - centres, axis=2)
    return -(apart**2) if distance == "squared" else -apart


def attention(given: dict[str, np.ndarray], scale: float = 10) -> np.ndarray:
    x, q = given["support_x"], given["query_x"]
    cosines = q @ x.T / (np.linalg.norm(q, axis=1)[:, None] * np.linalg.norm(x, axis=1))
    shares: np.ndarray = softmax(scale * cosines) @ one_hot(given["support_y"])
    return shares


def propagated(given: dict[str, np.ndarray], k: int = 20, alpha: float = 0.99) -> np.ndarray:
    nodes = np.vstack([given["support_x"], given["query_x"]])
    apart = ((nodes[:, None] - nodes) ** 2).mean(2)
    weights = np.exp(-apart / 2)
    kept = np.zeros(weights.shape, bool)
    for row, places in enumerate(np.argsort(-weights, axis=1)[:, :k]):
        kept[row, places] = True
    weights = weights * (kept | kept.T)
    degrees = weights.sum(1)
    spreading = weights / np.sqrt(degrees[:, None] * degrees)
    labels = np.zeros((len(nodes), len(np.unique(given["support_y"]))))
    labels[: len(given["support_y"])] = one_hot(given["support_y"])
    found = np.linalg.inv(np.eye(len(nodes)) - alpha * spreading) @ labels
    answers: np.ndarray = found[len(given["support_y"]) :]
    return answers


def ridge(given: dict[str, np.ndarray]) -> np.ndarray:
    x, q = (
        np.hstack([given[key], np.ones((len(given[key]), 1))]) for key in ("support_x", "query_x")
    )
    normal = x.T @ x / len(x) + np.eye(x.shape[1])
    logits: np.ndarray = (
        10 * q @ np.linalg.solve(normal, x.T @ one_hot(given["support_y"]) / len(x))
    )
    return logits


Rule = Callable[[dict[str, np.ndarray]], np.ndarray]
RULES: list[tuple[str, tuple[str, ...], Rule]] = [
    ("protonet", (), prototypes),
    ("protonet", ("distance=plain",), lambda given: prototypes(given, "plain")),
    ("protonet", ("distance=cosine",), lambda given: prototypes(given, "cosine")),
    ("protonet", ("distance=cosine", "scale=10"), lambda given: 10 * prototypes(given, "cosine")),
    ("tpn", (), propagated),
    ("tpn", ("k=3",), lambda given: propagated(given, 3)),
    ("tpn", ("k=2", "alpha=0.5", "sigma=1"), lambda given: propagated(given, 2, 0.5)),
    ("r2d2", (), ridge),
]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("algorithm", "settings", "rule"), RULES)
def test_answers_are_those_of_plain_numpy(
    algorithm: str, settings: tuple[str, ...], rule: Rule, seed: int, tmp_path: Path
) -> None:
    given = arrays(seed, size=5 + seed, queries=4 + 9 * seed)
    found = predicted(written(tmp_path, **given), algorithm, *settings)
    assert found["classes"] == [-3, 7, 100]
    expected = rule(given)
    np.testing.assert_allclose(found["outputs"], expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(found["probabilities"], softmax(expected), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("settings", "scale"), [((), 10), (("scale=1",), 1), (("scale=3",), 3)])
def test_matching_gives_the_probabilities_of_attention_themselves(
    settings: tuple[str, ...], scale: float, tmp_path: Path
) -> None:
    found = predicted(written(tmp_path), "matching", *settings)
    expected = attention(arrays(), scale)
    np.testing.assert_allclose(found["probabilities"], expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(found["outputs"], np.log(expected + 1e-6), rtol=1e-12, atol=1e-12)


def test_the_graph_has_at_least_twenty_neighbours_where_there_are_more(tmp_path: Path) -> None:
    given = arrays(queries=30)
    found = predicted(written(tmp_path, **given), "tpn")
    np.testing.assert_allclose(found["outputs"], propagated(given, 20), rtol=1e-10)
    assert not np.allclose(found["outputs"], propagated(given, 39), rtol=1e-3)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    ("x", "y"), [("<f4", "<i4"), (">f8", ">i8"), ("<i8", "<u8"), ("<f2", "|i1"), ("|b1", "<i2")]
)
def test_any_kind_of_number_is_read(save: Any, x: str, y: str, tmp_path: Path) -> None:
    given = arrays()
    labels = np.unique(LABELS, return_inverse=True)[1]
    vectors = {name: (3 * given[name]).astype(x) for name in ("support_x", "query_x")}
    save(tmp_path / "episode.npz", **vectors, support_y=labels.astype(y))
    found = predicted(tmp_path / "episode.npz", "protonet")
    assert found["classes"] == [0, 1, 2]
    exact = {name: value.astype(float) for name, value in vectors.items()}
    expected = prototypes({**exact, "support_y": labels})
    np.testing.assert_allclose(found["outputs"], expected, rtol=1e-10, atol=1e-12)


def test_labels_beyond_signed_numbers_keep_their_names(tmp_path: Path) -> None:
    labels = np.where(LABELS == 100, np.uint64(2**64 - 1), np.abs(LABELS).astype(np.uint64))
    found = predicted(written(tmp_path, support_y=labels), "protonet")
    assert found["classes"] == [3, 7, 2**64 - 1]


def test_single_precision_is_single(tmp_path: Path) -> None:
    path = written(tmp_path)
    rough, exact = (predicted(path, "tpn", dtype=dtype) for dtype in ("float32", "float64"))
    assert rough["outputs"] != exact["outputs"]
    np.testing.assert_allclose(rough["outputs"], exact["outputs"], rtol=1e-3)


def test_a_table_names_the_most_probable_class(tmp_path: Path) -> None:
    path = written(tmp_path)
    outcome = metaviz(
        *("predict", "--algorithm", "protonet", "--network", "identity", "--episode", path)
    )
    assert outcome.code == 0
    shares = softmax(prototypes(arrays()))
    for row, best in enumerate(shares.argmax(1)):
        line = next(line for line in outcome.out.splitlines() if line.startswith(f"│ {row} "))
        cells = [cell.strip() for cell in line.strip("│").split("│")]
        assert cells == [str(row), str([-3, 7, 100][best]), *(f"{one:.4f}" for one in shares[row])]


def said(path: Path, algorithm: str = "protonet", *more: str, network: str = "identity") -> str:
    return refusal(
        *("predict", "--algorithm", algorithm, "--network", network, "--episode", path, "--json"),
        *more,
    )


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "missing": (
        {"query_x": None},
        "it has no array query_x: give support_x, support_y and query_x",
    ),
    "nan": (
        {"query_x": np.array([[0.0, 1, 2, np.nan]])},
        "query_x[0, 3] = nan is not finite",
    ),
    "infinite": (
        {"support_x": np.where(np.arange(36).reshape(9, 4) == 6, np.inf, 0.0)},
        "support_x[1, 2] = inf is not finite",
    ),
    "sizes": (
        {"query_x": np.zeros((2, 3))},
        "support_x has 4 numbers an example and query_x 3: give both as many",
    ),
    "one class": (
        {"support_y": np.full(9, 4)},
        "support_y has the class 4 alone: give two classes or more",
    ),
    "few labels": (
        {"support_y": LABELS[:-1]},
        "support_y is int64 of shape (8,): give an integer for each of the 9 rows of support_x",
    ),
    "no integers": (
        {"support_y": LABELS + 0.5},
        "support_y is float64 of shape (9,): give an integer for each of the 9 rows of support_x",
    ),
    "a column": (
        {"support_y": LABELS[:, None]},
        "support_y is int64 of shape (9, 1): give an integer for each of the 9 rows of support_x",
    ),
    "no matrix": (
        {"query_x": np.zeros(4)},
        "query_x is float64 of shape (4,): give numbers with a row for each example",
    ),
    "empty": (
        {"query_x": np.zeros((0, 4))},
        "query_x is float64 of shape (0, 4): give numbers with a row for each example",
    ),
    "complex": (
        {"query_x": np.zeros((2, 4), complex)},
        "query_x is complex128 of shape (2, 4): give numbers with a row for each example",
    ),
    "text": (
        {"query_x": np.full((2, 4), "a")},
        "query_x is <U1 of shape (2, 4): give numbers with a row for each example",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_episode_is_refused_in_one_sentence(case: str, tmp_path: Path) -> None:
    changed, clause = BAD[case]
    assert said(written(tmp_path, **changed)) == f"episode.npz is not an episode: {clause}."


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "episode.npz"
    np.savez(path, **{**arrays(), "query_x": np.array([[{}, []]], object)}, allow_pickle=True)
    found = said(path)
    assert found.startswith("episode.npz is not an episode: query_x: an array is not as large as")


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    text, array, nothing = (tmp_path / name for name in ("a.npz", "b.npy", "none.npz"))
    text.write_text("support_x = 1")
    np.save(array, np.zeros(3))
    for path in (text, array):
        assert said(path).startswith(f"{path.name} is not an episode: it is damaged (")
    assert said(nothing) == f"Cannot read {nothing}: No such file or directory."
    assert "is not an episode" in said(tmp_path)
    whole = written(tmp_path).read_bytes()
    text.write_bytes(whole[: len(whole) // 2])
    assert "is not an episode" in said(text)


def test_arrays_that_blow_up_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "episode.npz"
    np.savez_compressed(path, **{**arrays(), "query_x": np.zeros((4_000_000, 4))})
    assert path.stat().st_size < 1_000_000
    assert "query_x.npy would take 128 MB out of" in said(path)


@pytest.mark.parametrize("algorithm", ["protonet", "matching", "tpn", "r2d2"])
def test_numbers_that_overflow_are_refused(algorithm: str, tmp_path: Path) -> None:
    path = written(tmp_path, support_x=1e200 * arrays()["support_x"])
    clause = "The numbers of the episode are too large to be squared in"
    assert said(path, algorithm) == f"{clause} float64: scale them all alike."
    path = written(tmp_path, query_x=1e30 * arrays()["query_x"])
    found = said(path, algorithm, "--dtype", "float32")
    assert found == f"{clause} float32: scale them all alike."
    assert np.isfinite(predicted(path, algorithm)["outputs"]).all()


def test_more_neighbours_than_examples_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert said(path, "tpn", "--set", "tpn.k=16") == (
        "tpn.k = 16 is more than the 15 support and query examples of an episode, which are the "
        "graph: use at most 15, or leave it empty."
    )
    assert len(predicted(path, "tpn", "k=15")["outputs"]) == 6


def test_methods_that_must_be_trained_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    able = [name for name, one in ALGORITHMS.items() if one.checked({}).untrained(9) is not None]
    assert {"protonet", "matching", "tpn", "r2d2"} <= set(able)
    for name in ("maml", "relation", "siamese", "joint"):
        assert said(path, name) == (
            f"{name} has to be trained before it predicts; without a run: {', '.join(able)}."
        )
    assert said(path, "matching", "--set", "matching.context=lstm") == (
        "matching has weights to learn with matching.context = lstm: leave that out."
    )


def test_wrong_choices_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert said(path, "protnet").startswith("There is no algorithm 'protnet'; known: maml, ")
    assert "did you mean protonet?" in said(path, "protnet")
    assert said(path, network="conv4") == (
        "network = 'conv4' is not valid: without a run there are no weights, known: identity."
    )
    assert said(path, "protonet", "--set", "matching.scale=1") == (
        "matching.scale is not an option of protonet: use protonet.KEY=VALUE."
    )
    assert said(path, "protonet", "--set", "protonet.scale=-1").startswith(
        "protonet.scale = -1 is not valid (Scale): use a number above 0"
    )
    assert said(path, "protonet", "--set", "protonet.skale=1").startswith(
        "There is no option protonet.skale; known: "
    )
    assert said(path, "protonet", "--set", "scale").startswith("--set 'scale' is not KEY=VALUE")
    assert said(path, "protonet", "--dtype", "float16") == (
        "dtype = 'float16' is not valid: known: float32, float64 (did you mean float64?)."
    )


def odd(kind: str, seed: int) -> dict[str, np.ndarray]:
    """An episode at the edges: one number an example, copies, zeros, labels far from zero."""
    generator = np.random.default_rng(seed)
    size = 1 if kind == "d = 1" else 3
    x, q = generator.normal(size=(8, size)), generator.normal(size=(5, size))
    y = generator.permuted(np.array([-(2**62), -5, 0, 2**61] * 2))
    match kind:
        case "copies":
            q[0] = x[1] = x[0]
        case "zeros":
            x[0] = q[0] = 0
        case "far away":
            x, q = x + 1e4, q + 1e4
        case "one query":
            q = q[:1]
    return {"support_x": x, "support_y": y, "query_x": q}


@pytest.mark.parametrize("kind", ["d = 1", "copies", "zeros", "far away", "one query"])
@pytest.mark.parametrize("seed", [0, 1])
def test_odd_vectors_have_the_answers_of_plain_numpy(kind: str, seed: int, tmp_path: Path) -> None:
    given = odd(kind, seed)
    path = written(tmp_path, **given)
    count = len(given["support_x"]) + len(given["query_x"])
    rules: list[tuple[str, tuple[str, ...], Rule]] = [
        ("protonet", (), prototypes),
        ("protonet", ("distance=plain",), lambda given: prototypes(given, "plain")),
        ("tpn", (f"k={count}", "alpha=0.9"), lambda given: propagated(given, count, 0.9)),
        ("classifier", ("head=un",), prototypes),
    ]
    if kind != "zeros":
        rules.append(("protonet", ("distance=cosine",), lambda given: prototypes(given, "cosine")))
        shares = predicted(path, "matching")["probabilities"]
        np.testing.assert_allclose(shares, attention(given), rtol=1e-8, atol=1e-10)
    for algorithm, settings, rule in rules:
        found = predicted(path, algorithm, *settings)
        assert found["classes"] == sorted(set(given["support_y"].tolist()))
        np.testing.assert_allclose(found["outputs"], rule(given), rtol=1e-7, atol=1e-7)


def test_a_vector_of_zeros_has_the_cosine_zero_with_all(tmp_path: Path) -> None:
    given = odd("zeros", 0)
    cosines = np.array(
        predicted(written(tmp_path, **given), "protonet", "distance=cosine")["outputs"]
    )
    assert cosines[0].tolist() == [0.0] * 4
    shares = predicted(written(tmp_path, **given), "matching")["probabilities"]
    np.testing.assert_allclose(shares[0], [0.25] * 4, rtol=1e-12)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("k=14", "tpn.k = 14 is more than the 13 support and query examples"),
        ("alpha=1", "alpha"),
        ("alpha=0", "alpha"),
        ("sigma=0", "sigma"),
    ],
)
def test_graphs_that_cannot_be_are_refused_in_one_sentence(
    setting: str, words: str, tmp_path: Path
) -> None:
    path = written(tmp_path, **odd("copies", 0))
    told = refusal(
        *("predict", "--algorithm", "tpn", "--network", "identity", "--episode", path),
        *("--set", f"tpn.{setting}"),
    )
    assert words in told
    assert "\n" not in told.strip()
