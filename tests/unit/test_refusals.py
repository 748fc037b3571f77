"""Bad input ends with exit code 2 and one sentence that names it and what would be right."""

import io
import re
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from metaviz.cli.main import main
from tests.unit.command_line import compare, metaviz, refusal

MATRICES = {
    "support_hessian": "[[2.0, 0.5], [0.5, 1.0]]",
    "support_linear": "[1.0, -1.0]",
    "query_hessian": "[[1.0, -0.25], [-0.25, 3.0]]",
    "query_linear": "[0.5, 2.0]",
    "start": "[1.0, 2.0]",
}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--algorithms|", "No algorithm is chosen: tick at least one, for example maml."),
        ("--algorithms| , ", "No algorithm is chosen: tick at least one, for example maml."),
        ("--algorithms|maml,nosuch", "There is no algorithm 'nosuch'; known: maml, penalty, "),
        (
            "--problem|nosuch",
            "There is no problem 'nosuch'; known: sinusoid, mixture, quadratic, linear, strokes, "
            "omniglot, images, features, navigation, chain, bandit.",
        ),
        ("--steps|0", "steps = 0 is not valid (Meta-steps): use a whole number at least 1 and "),
        ("--steps|-3", "steps = -3 is not valid (Meta-steps): use a whole number at least 1 "),
        ("--steps|many", "steps = 'many' is not valid (Meta-steps): use a whole number "),
        ("--steps|1e99", "steps = 1e+99 is not valid (Meta-steps): use a whole number "),
        ("--seeds|-1", "seeds = '-1' is not valid: write 0,1,2 or 0-4."),
        ("--seeds|", "seeds = '' is not valid: write 0,1,2 or 0-4."),
        ("--seeds|a", "seeds = 'a' is not valid: write 0,1,2 or 0-4."),
        ("--seeds|1.5", "seeds = '1.5' is not valid: write 0,1,2 or 0-4."),
        ("--seeds|3-1", "seeds = '3-1' is not valid: write 0,1,2 or 0-4."),
        ("--seeds|0,,1", "seeds = '0,,1' is not valid: write 0,1,2 or 0-4."),
        ("--seeds|²", "seeds = '²' is not valid: write 0,1,2 or 0-4."),
        ("--seeds|0-99999999999999999999", "is not valid: use at most 1000 seeds."),
        ("--seeds|2147483648", "seeds = 2147483648 is not valid: use whole numbers from 0 to "),
        ("--dtype|float16", "dtype = 'float16' is not valid (Precision): use one of float32, "),
        ("--device|tpu", "device = 'tpu' is not valid (Device): use one of auto, cpu, cuda."),
        ("--nosuch", "No such option: --nosuch"),
        ("extra", "Got unexpected extra argument"),
        ("--config", "Option '--config' requires an argument."),
    ],
)
def test_compare_refuses_argument(tmp_path: Path, arguments: str, sentence: str) -> None:
    said = refusal("compare", "--out", tmp_path / "out", *arguments.split("|"))
    assert sentence in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("inner_steps=0", "inner_steps = 0 is not valid (Inner steps K): use a whole number at "),
        ("inner_steps=2.5", "inner_steps = 2.5 is not valid (Inner steps K): use a whole number "),
        ("inner_steps=two", "inner_steps = 'two' is not valid (Inner steps K)"),
        ("inner_steps=true", "inner_steps = True is not valid (Inner steps K)"),
        ("inner_lr=0", "inner_lr = 0 is not valid (Inner step size α): use a number above 0 and "),
        ("inner_lr=1e9", "inner_lr = 1000000000.0 is not valid (Inner step size α)"),
        ("inner_lr=nan", "inner_lr = nan is not valid (Inner step size α): use a number above 0"),
        ("inner_lr=-inf", "inner_lr = -inf is not valid (Inner step size α)"),
        ("inner_lr=false", "inner_lr = False is not valid (Inner step size α)"),
        ("inner_lr=", "inner_lr = nothing is not valid (Inner step size α): use a number above 0"),
        ("outer_optimizer=rms", "outer_optimizer = 'rms' is not valid (Outer optimiser): use one"),
        ("ways=1", "ways = 1 is not valid (Ways N): use a whole number at least 2 and at most 1"),
        ("inner_lr", "--set 'inner_lr' is not KEY=VALUE, like inner_lr=0.01."),
        ("=3", "--set '=3' is not KEY=VALUE, like inner_lr=0.01."),
        ("", "--set '' is not KEY=VALUE, like inner_lr=0.01."),
        ("maml.=3", "--set 'maml.=3' is not KEY=VALUE, like inner_lr=0.01."),
        ("nosuch=1", "There is no setting 'nosuch'; known: inner_lr, inner_steps, "),
        ("nosuch.a=1", "There is no algorithm or problem 'nosuch', so nosuch.a cannot be set."),
        ("imaml.nosuch=1", "There is no option imaml.nosuch; known: imaml.inner_lr, "),
        ("imaml.prxo=1", "imaml.learn_prox (did you mean imaml.prox?)."),
        ("iner_lr=1", "reading_every (did you mean inner_lr?)."),
        (
            "imalm.prox=1",
            "There is no algorithm or problem 'imalm' (did you mean imaml?), so imalm.prox cannot "
            "be set.",
        ),
        ("imaml.prox=x", "imaml.prox = 'x' is not valid (Prox weight λ): use a number above 0 and"),
        ("imaml.cg_steps=nan", "imaml.cg_steps = nan is not valid (CG steps): use a whole number"),
        ("imaml.operator=x", "use one of gauss_newton, hessian, damped."),
        ("imaml.preset=x", "imaml.preset = 'x' is not valid: known presets are paper, official "),
        ("imaml.learn_prox=2", "imaml.learn_prox = 2 is not valid (Learn λ): use true or false."),
        ("quadratic.spread=1", "quadratic.spread is set, but the problem is 'sinusoid'."),
        ("sinusoid.nosuch=1", "There is no option sinusoid.nosuch; known: sinusoid.sign, "),
        ("sinusoid.noise=nan", "sinusoid.noise = nan is not valid (Target noise σ)"),
        ("sinusoid.amplitude_low=9", "is above amplitude_high = 5: swap them."),
        ("sinusoid.x_low=9", "sinusoid.x_low = 9 must be below x_high = 5."),
        ("sinusoid.x_high=1e308", "sinusoid.x_high = 1e+308 is not valid (Largest input)"),
    ],
)
def test_compare_refuses_setting(tmp_path: Path, setting: str, sentence: str) -> None:
    said = refusal("compare", "--out", tmp_path / "out", "--set", setting)
    assert sentence in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("toml", "sentence"),
    [
        (b'problem = "sinu', "is not valid TOML: "),
        (b'problem = "\xff"', "is not valid TOML: "),
        (b"nosuch = 1", "There is no option nosuch; known: problem, algorithms, seeds, steps, "),
        (b"problem = 3", "problem = 3 is not valid: use text."),
        (b'steps = "many"', "steps = 'many' is not valid (Meta-steps): use a whole number "),
        (b"steps = true", "steps = True is not valid (Meta-steps): use a whole number "),
        (b"steps = 2024-01-01", "steps = datetime.date(2024, 1, 1) is not valid (Meta-steps)"),
        (b'algorithms = "maml"', "algorithms = 'maml' is not valid: use a list, with brackets."),
        (b"algorithms = []", "No algorithm is chosen: tick at least one, for example maml."),
        (b"algorithms = [1]", "algorithms.0 = 1 is not valid: use text."),
        (b"seeds = 3", "seeds = 3 is not valid: use a list, with brackets."),
        (b"seeds = []", "seeds = none is not valid: use whole numbers from 0 to "),
        (b"seeds = [-2]", "seeds = -2 is not valid: use whole numbers from 0 to 2147483647"),
        (b'seeds = ["a"]', "seeds.0 = 'a' is not valid: use a whole number."),
        (b"seeds = [true]", "seeds.0 = True is not valid: use a whole number."),
        (b"version = 2", "version = 2 is not valid: input should be 1."),
        (b"options = 3", "options = 3 is not valid: it must be a TOML table, like [options]."),
        (b"[options]\nmaml = 3", "options.maml = 3 is not valid: it must be a TOML table, like "),
        (b"[options.nosuch]\na = 1", "There is no algorithm 'nosuch'; known: "),
        (b"[options.maml]\na = 1", "There is no option maml.a; known: "),
        (b"[shared]\ninner_lr = [1, 2]", "shared.inner_lr = [1, 2] is not valid: use a number, "),
        (b"[shared]\ninner_lr = '0.1'", "inner_lr = '0.1' is not valid (Inner step size α)"),
        (b"[shared]\nmeta_batch = inf", "meta_batch = inf is not valid (Tasks per meta-batch B)"),
        (b"[problem_options]\na = 1", "There is no option sinusoid.a; known: "),
    ],
)
def test_compare_refuses_config(tmp_path: Path, toml: bytes, sentence: str) -> None:
    config = tmp_path / "comparison.toml"
    config.write_bytes(toml)
    assert sentence in refusal("compare", "--config", config, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_compare_refuses_config_that_is_not_there(tmp_path: Path) -> None:
    said = refusal("compare", "--config", tmp_path / "nosuch.toml", "--out", tmp_path / "out")
    assert said == f"Cannot read {tmp_path / 'nosuch.toml'}: No such file or directory."
    assert "is no regular file" in refusal(
        "compare", "--config", tmp_path, "--out", tmp_path / "out"
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
@pytest.mark.parametrize("command", ["compare", "gradients"])
def test_command_refuses_cuda_where_there_is_none(command: str) -> None:
    said = refusal(command, "--device", "cuda")
    assert said == "device = 'cuda' is not available here: use cpu or auto."


@pytest.mark.parametrize("place", ["/proc/x", "{tmp}/file", "{tmp}/file/x", "/dev/null"])
def test_compare_refuses_folder_it_cannot_write(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("in the way")
    out = Path(place.format(tmp=tmp_path))
    said = refusal("compare", "--out", out)
    assert said.startswith(f"Cannot write runs to {out / 'runs'}: ")
    assert said.endswith("Choose a folder that you may write to.")


@pytest.mark.parametrize("name", ["comparison.toml", "summary.csv", "inner.png"])
def test_compare_refuses_folder_in_the_way_of_a_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    said = compare(tmp_path, "--steps", "1", code=2).error
    assert "\nmetaviz: Cannot write " in f"\n{said}"
    assert str(tmp_path) in said
    assert said.rstrip().endswith("directory.") or "Is a directory" in said


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"support_hessian": "[[2.0, 0.5], [0.6, 1.0]]"}, "support_hessian is not symmetric: "),
        ({"support_hessian": "[[nan, 0.5], [0.5, 1.0]]"}, "support_hessian.0.0 = nan is not valid"),
        ({"query_hessian": "[[1.0, 0.5]]"}, "query_hessian has 1 rows of 2, but must be 2 x 2"),
        ({"start": "[1.0]"}, "support_linear has 2 numbers, but start has 1."),
        ({"start": "[]"}, "start has 0 numbers; use 1 to 500."),
        ({"start": "1"}, "start = 1 is not valid: use a list, with brackets."),
        ({"start": '["a", 1]'}, "start.0 = 'a' is not valid: use a number."),
        ({"nosuch": "1"}, "There is no option nosuch; known: support_hessian, "),
        ({"start": ""}, "lacks start."),
    ],
)
def test_matrices_are_refused(tmp_path: Path, changes: dict[str, str], sentence: str) -> None:
    path = tmp_path / "matrices.toml"
    values = {**MATRICES, **changes}
    path.write_text("".join(f"{key} = {value}\n" for key, value in values.items() if value))
    for arguments in (
        ("compare", "--out", tmp_path / "out", "--set", f"quadratic.file={path}"),
        ("gradients", "--problem-file", path),
    ):
        assert sentence in refusal(*arguments, "--problem", "quadratic")


def test_matrices_that_are_not_there_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "nosuch.toml"
    said = refusal("gradients", "--problem", "quadratic", "--problem-file", path)
    assert said == f"Cannot read {path}: No such file or directory."
    said = refusal("gradients", "--problem-file", path)
    assert said == "--problem-file holds numbers of quadratic or chain: name one with --problem."


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("gradients --seed x", "--seed': x is not a whole number from 0 to 2147483647."),
        ("gradients --seed -1", "--seed': -1 is not a whole number from 0 to 2147483647."),
        ("gradients --step -1", "--step': -1 is not a whole number from 0 to 1000000000."),
        ("gradients --start /nosuch", "/nosuch has no checkpoint: it is no run, or one that ended"),
        ("gradients --start /dev/null", "/dev/null/checkpoint.pt is not a readable checkpoint: "),
        ("list --runs /nosuch", "/nosuch holds no runs: name a run folder or a folder of runs."),
        ("export /nosuch", "/nosuch holds no runs: name a run folder or a folder of runs."),
        ("export", "Missing argument 'runs'."),
        ("export /nosuch --formats gif", "formats = 'gif' is not valid: use png, pdf or svg."),
        ("export /nosuch --formats ,", "formats = ',' is not valid: use png, pdf or svg."),
        ("export /nosuch --dpi 5", "--dpi': 5 is not a whole number from 30 to 1200."),
        ("export /nosuch --width-cm nan", "--width-cm': nan is not a number from 2 to 200."),
        ("export /nosuch --height-cm x", "--height-cm': x is not a number from 2 to 200."),
        ("options nosuch", "There is no 'nosuch'; known: shared, maml, "),
        ("data download nosuch", "There is no download of 'nosuch'; known: omniglot, cifar100."),
        ("nosuch", "No such command 'nosuch'."),
        ("--nosuch", "No such option: --nosuch"),
    ],
)
def test_command_refuses_argument(arguments: str, sentence: str) -> None:
    assert sentence in refusal(*arguments.split())


def test_omniglot_without_data_says_where_to_get_them() -> None:
    said = refusal("compare", "--problem", "omniglot")
    assert "set omniglot.path to a folder or zip" in said
    assert "metaviz data download omniglot" in said


@pytest.mark.parametrize("path", ["/nosuch", "~nosuchperson/x", "3", "true"])
def test_omniglot_path_that_is_not_there_is_named(tmp_path: Path, path: str) -> None:
    said = refusal("compare", "--problem", "omniglot", "--set", f"omniglot.path={path}")
    assert f"omniglot.path = {path!r}" in said


def test_home_that_cannot_exist_stops_only_what_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METAVIZ_HOME", "/proc/x")
    compare(tmp_path / "out", "--steps", "1")
    assert "There is no Omniglot here yet" in refusal("compare", "--problem", "omniglot")


def test_help_and_version_end_well() -> None:
    assert metaviz("--version").out.startswith("MetaViz ")
    for command in ("compare", "gradients", "list", "options", "export", "demo", "data"):
        outcome = metaviz(command, "--help")
        assert outcome.code == 0
        assert "Usage:" in outcome.out


def test_terminal_without_greek_letters_is_no_error() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with (
        patch.object(sys, "argv", ["metaviz", "options", "imaml"]),
        patch.object(sys, "stdout", out),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    assert ended.value.code == 0
    out.flush()
    assert b"\\u03bb" in out.buffer.getvalue()  # type: ignore[attr-defined]


def test_options_without_a_name_explains_the_shared_ones() -> None:
    outcome = metaviz("options")
    assert outcome.code == 0
    assert "inner_lr" in outcome.out
    assert "eval_every" in outcome.out


def test_an_option_of_a_method_that_is_not_compared_is_refused() -> None:
    for command in ("compare", "sweep", "gradients --algorithms maml,reptile"):
        told = refusal(*command.split(), "--set", "imaml.prox=1")
        chosen = "maml, reptile" if command.startswith("gradients") else "maml"
        assert told == (
            f"imaml.prox is set, but imaml is not among the algorithms ({chosen}): add it to them, "
            "or leave the setting out."
        )
    assert "use a number above 0" in refusal("compare", "--set", "imaml.prox=-1")
    hidden = ("--set", "protonet.distance=cosine", "--algorithms", "protonet")
    assert "the sinusoid problem has none" in refusal("compare", *hidden)


def test_settings_that_mean_nothing_and_methods_left_out_of_all_are_told(tmp_path: Path) -> None:
    problem = ("--problem", "quadratic", "--steps", "1", "--out", tmp_path, "--set", "eval_tasks=2")
    outcome = metaviz(
        *("gradients", "--problem", "quadratic", "--algorithms", "all", "--set", "ways=3"),
        *("--set", "mtnet.inner_steps=2"),  # an option of a method that all leaves out
    )
    assert outcome.code == 0, outcome.error
    left_out, meaningless = outcome.error.splitlines()
    names, reasons = left_out.removeprefix("Left out of all: ").split(". ", 1)
    assert {"mtnet", "warpgrad", "ecml", "protonet"} <= set(names.split(", "))
    assert not {"maml", "reptile", "joint"} & set(names.split(", "))
    assert "MT-net transforms" in reasons
    assert "ProtoNet tells classes apart, and the quadratic problem has none." in left_out
    assert meaningless == "ways means nothing for quadratic."
    outcome = metaviz("compare", "--algorithms", "maml,reptile", *problem)
    assert "Left out" not in outcome.error
    assert "means nothing" not in outcome.error


def shown_options(*arguments: str) -> str:
    outcome = metaviz("options", *arguments)
    assert outcome.code == 0, outcome.error
    return " ".join(outcome.out.replace("│", " ").split())


def test_options_tell_defaults_that_a_problem_changes() -> None:
    every = shown_options()
    assert re.search(r"inner_lr 0\.01 .{0,30}0\.1 \(quadratic, navigation\)", every)
    assert re.search(r"0\.4 \(strokes, .{0,40}omniglot\)", every)
    assert not re.search(r"inner_lr 0\.01 .{0,80}0\.01 \(", every)
    strokes = shown_options("--problem", "strokes")
    assert "default for strokes" in strokes
    assert re.search(r"inner_lr 0\.4 Step size", strokes)
    assert "(quadratic" not in strokes
    sinusoid = shown_options("shared", "--problem", "sinusoid")
    assert "Classes per task" not in sinusoid
    assert "Left out, as they mean nothing for sinusoid: ways." in sinusoid
    assert re.search(r"reptile\.inner_lr 0\.02", shown_options("reptile", "--problem", "sinusoid"))
    assert "0.02 (sinusoid)" in shown_options("reptile")
    assert "metaviz options --problem omniglot" in shown_options("omniglot")
    assert "There is no problem 'omnglot'" in refusal("options", "--problem", "omnglot")
    assert "leave --problem out" in refusal("options", "strokes", "--problem", "sinusoid")
