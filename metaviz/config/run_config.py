"""What a person asks for: a comparison, and the runs it consists of, as plain values."""

from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import ConfigDict, Field, StrictInt, field_validator

from metaviz.config.options import OptionError, Options, Plain, checked, option
from metaviz.files.foreign import (
    ForeignError,
    MalformedError,
    UnreadableError,
    parsed_toml,
    read_text,
)
from metaviz.paths import resource

MAX_SEEDS = 1000
MAX_SEED = 2**31 - 1
MOST_STEPS = 10_000_000
"""So many meta-steps a stored run may have, or be asked to go on for."""
EngineName = Literal["auto", "eager", "compiled", "captured"]
MACHINE = ("device", "dtype", "engine", "memory_gib", "tf32")
"""Names of a comparison and its runs that say where and how to compute."""
OF_INNER_LOOPS = ("inner_lr", "inner_steps", "eval_steps", "later_scale")
"""Names that have no meaning for methods without an inner loop."""


class Shared(Options):
    """Hyperparameters that all ticked algorithms share."""

    inner_lr: float = option(
        0.01,
        "Inner step size α",
        "Step size of adaptation: φ ← φ − α ∇L_S(φ), on the mean loss over the support set. "
        "Papers that sum the loss over N classes call the same step α/N.",
        gt=0,
        le=1000,
        log=True,
    )
    inner_steps: int = option(
        5,
        "Inner steps K",
        "Gradient steps of adaptation while meta-training. For none, tick joint training.",
        ge=1,
        le=1000,
    )
    outer_lr: float = option(
        0.001,
        "Outer step size β",
        "Step size of the outer optimiser, which moves the meta-parameters.",
        gt=0,
        le=1000,
        log=True,
    )
    outer_optimizer: Literal["adam", "sgd"] = option(
        "adam",
        "Outer optimiser",
        "Adam: (β₁, β₂) = (0.9, 0.999). SGD: θ ← θ − β g.",
        labels={"adam": "Adam", "sgd": "SGD"},
    )
    outer_schedule: Literal["constant", "linear"] = option(
        "constant",
        "Outer schedule",
        "Keep β constant, or anneal it linearly to 0 over the run (as published for Reptile).",
        labels={"constant": "constant", "linear": "linear to 0"},
    )
    clip_norm: float | None = option(
        None,
        "Clip meta-gradient",
        "Scale the meta-gradient down to this norm where it is longer. Empty: never.",
        gt=0,
        log=True,
    )
    meta_batch: int = option(
        25, "Tasks per meta-batch B", "Tasks whose gradients are averaged.", ge=1, le=10_000
    )
    shots: int = option(
        10,
        "Shots",
        "Support examples that a task adapts on: per task in regression, per class otherwise; "
        "where a policy acts, trajectories of each inner step.",
        ge=1,
        le=1000,
    )
    query_shots: int = option(
        10,
        "Query examples",
        "Examples that judge the adapted parameters: per task in regression, per class otherwise; "
        "where a policy acts, trajectories.",
        ge=1,
        le=1000,
    )
    ways: int = option(5, "Ways N", "Classes per task.", ge=2, le=1000)
    eval_tasks: int = option(
        600,
        "Evaluation tasks",
        "Size of the fixed, seeded list of evaluation tasks. Fewer of them are used where "
        "“Evaluate every” is empty and all would take long.",
        ge=2,
        le=100_000,
    )
    eval_steps: int = option(
        10,
        "Evaluation steps",
        "Inner steps shown at evaluation; may exceed K, to see what further steps do.",
        ge=1,
        le=10_000,
    )
    later_scale: float | None = option(
        None,
        "Scale of steps beyond K",
        "Inner steps that evaluations take beyond the trained K are so many times as large. Policy "
        "gradients that were trained to reach the goal in one step overshoot otherwise. Empty: as "
        "large.",
        gt=0,
        le=1,
    )
    eval_every: int | None = option(
        None,
        "Evaluate every",
        "Meta-steps between two evaluations. Empty: about 40, more at the beginning. They are on "
        "fewer tasks where all would take more than a tenth of the training, by counted "
        "operations of MAML with these settings, so that all methods of a comparison are "
        "evaluated alike.",
        unit="steps",
        ge=1,
    )
    reading_every: int = option(
        1,
        "Record loss before adaptation every",
        "Meta-steps between two readings of the training batch: its losses and accuracies before "
        "and after adaptation. At other steps only those are recorded that training computes "
        "anyway, which takes up to a sixth less time on images.",
        unit="steps",
        ge=1,
    )


class EvaluationProtocol(Options):
    """Which tasks a run is judged on, and how."""

    tasks: int = option(600, "Tasks", "Number of tasks.", ge=2, le=100_000)
    split: Literal["test", "validation"] = option("test", "Classes", "Which classes they are of.")
    seed: int = option(0, "Seed", "Draws the tasks; the same for all runs.", ge=0, le=2**31 - 1)
    shots: int | None = option(None, "Shots", "Empty: as in training.", ge=1, le=1000)
    query_shots: int | None = option(
        None, "Query examples", "Empty: as in training.", ge=1, le=1000
    )
    steps: int | None = option(
        None, "Inner steps", "Empty: the method's own number.", ge=1, le=10_000
    )
    together: bool = option(
        True,
        "Query examples together",
        "Predict all query examples of a task as one batch. Where the network normalises by the "
        "batch, they then influence one another (transductive), which usually gives higher "
        "accuracies. Off: one by one, beside the support set.",
    )
    draws: Literal["own", "training"] = option(
        "own",
        "Draws of the tasks",
        "Own: no run evaluates on these tasks while it trains, nor chooses its weights by them. "
        "Training: the tasks on which a run with this seed evaluates while it trains, where it has "
        "these classes; what was stored before there was the choice is of these.",
        labels={"own": "their own", "training": "those of training"},
    )


class Amendment(Options):
    """A change that a run was given on its way, after it had diverged.

    `shared` and `options` replace hyperparameters for the meta-steps after `step`; `skip_task` is
    left out of the meta-batch of meta-step `skip_step`, unless that is 0.
    """

    step: int = Field(default=0, ge=0)
    shared: dict[str, Plain] = Field(default_factory=dict)
    options: dict[str, Plain] = Field(default_factory=dict)
    skip_step: int = Field(default=0, ge=0)
    skip_task: int = Field(default=0, ge=0)

    def text(self) -> str:
        """Say what changes when, like `after step 300: inner_lr = 0.005`."""
        values = {**self.shared, **self.options}
        changes = [f"after step {self.step}: {key} = {value}" for key, value in values.items()]
        if self.skip_step:
            changes.append(f"meta-step {self.skip_step} without task {self.skip_task}")
        return ", ".join(changes)


def amendment_texts(config: dict[str, Any]) -> list[str]:
    """Return the amendments of a stored configuration in words. Raises: OptionError."""
    return [checked(Amendment, one).text() for one in config.get("amendments", ())]


class RunConfig(Options):
    """One run: one algorithm on one problem with one seed."""

    # The tables take any number; the models of their options say better what is wrong with it.
    model_config = ConfigDict(allow_inf_nan=True)

    version: Literal[1] = 1
    problem: str
    algorithm: str
    seed: int = Field(ge=0, le=MAX_SEED)
    steps: int = Field(ge=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["float32", "float64"] = "float32"
    engine: EngineName = "auto"
    memory_gib: float | None = Field(default=None, gt=0)
    tf32: bool = False
    shared: Shared = Shared()
    options: dict[str, Plain] = Field(default_factory=dict)
    problem_options: dict[str, Plain] = Field(default_factory=dict)
    amendments: tuple[Amendment, ...] = ()

    def at(self, step: int) -> "RunConfig":
        """Return the configuration in force after so many meta-steps.

        Raises: OptionError where an amendment holds a wrong shared hyperparameter.
        """
        shared = self.shared.model_dump()
        options = dict(self.options)
        for amendment in self.amendments:
            if amendment.step <= step:
                shared |= amendment.shared
                options |= amendment.options
        update = {"shared": checked(Shared, shared), "options": options}
        return self.model_copy(update=update)

    def skipped(self, step: int) -> frozenset[int]:
        """Return which tasks of a meta-step's batch are left out, the first step being 1."""
        return frozenset(a.skip_task for a in self.amendments if a.skip_step == step)


class Comparison(Options):
    """Several algorithms and seeds on the same tasks.

    `shared`, `options` (by algorithm) and `problem_options` hold only what differs from the
    defaults of the problem and of the algorithms.
    """

    model_config = ConfigDict(allow_inf_nan=True)

    version: Literal[1] = 1
    problem: str = "sinusoid"
    algorithms: tuple[str, ...] = ("maml",)
    seeds: tuple[StrictInt, ...] = (0,)
    steps: int = option(
        2000,
        "Meta-steps",
        "How often each run moves its meta-parameters, once for each meta-batch.",
        ge=1,
        le=10_000_000,
    )
    device: Literal["auto", "cpu", "cuda"] = option(
        "auto", "Device", "Where to train. Auto: the GPU where there is one."
    )
    dtype: Literal["float32", "float64"] = option(
        "float32", "Precision", "Floating type of weights and data."
    )
    engine: EngineName = option(
        "auto",
        "Engine",
        "How meta-steps are computed; results agree up to rounding. Eager: one operation after "
        "another. Compiled: translated to "
        "machine code first, which takes up to a minute and needs a C++ compiler; small networks "
        "then train about twice as fast. Captured: replayed on the GPU without waiting for Python. "
        "Auto: captured on a GPU, eager on a CPU.",
    )
    memory_gib: float | None = option(
        None,
        "Memory budget",
        "What a meta-step may use: a meta-batch that needs more is computed in parts. Empty: half "
        "of the machine's memory, or of the GPU's.",
        unit="GiB",
        gt=0,
        le=100_000,
    )
    tf32: bool = option(
        False,
        "TF32 on the GPU",
        "Let a GPU round the factors of products and convolutions to about 3 decimal digits: "
        "faster, but meta-gradients of float32 lose about half of their digits.",
    )
    shared: dict[str, Plain] = Field(default_factory=dict)
    options: dict[str, dict[str, Plain]] = Field(default_factory=dict)
    problem_options: dict[str, Plain] = Field(default_factory=dict)

    @field_validator("algorithms")
    @classmethod
    def _some_algorithm(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("No algorithm is chosen: tick at least one, for example maml.")
        return tuple(dict.fromkeys(value))

    @field_validator("seeds")
    @classmethod
    def _some_seed(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        wrong = [seed for seed in value if not 0 <= seed <= MAX_SEED]
        if wrong or not value:
            shown = wrong[0] if wrong else "none"
            raise ValueError(
                f"seeds = {shown} is not valid: use whole numbers from 0 to {MAX_SEED}, like 0,1,2."
            )
        return tuple(dict.fromkeys(value))

    def runs(self, shared_defaults: dict[str, Plain]) -> list[RunConfig]:
        """Return one run per algorithm and seed.

        Raises: OptionError where a shared hyperparameter is wrong.
        """
        shared = checked(Shared, {**shared_defaults, **self.shared})
        return [
            RunConfig(
                problem=self.problem,
                algorithm=algorithm,
                seed=seed,
                steps=self.steps,
                **{name: getattr(self, name) for name in MACHINE},
                shared=shared,
                options=self.options.get(algorithm, {}),
                problem_options=self.problem_options,
            )
            for seed in self.seeds
            for algorithm in self.algorithms
        ]


def machine_of(config: dict[str, Any]) -> dict[str, Any]:
    """Return where and how a stored run was asked to be computed."""
    return {name: config[name] for name in MACHINE if name in config}


def settings_of(config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return shared hyperparameters and a method's own, as they were after all amendments."""
    shared, own = dict(config.get("shared", {})), dict(config.get("options", {}))
    for amendment in config.get("amendments", ()):
        shared |= amendment.get("shared", {})
        own |= amendment.get("options", {})
    return shared, own


def comparison_of(config: dict[str, Any]) -> Comparison:
    """Return the comparison with the settings of one run, as they were after all amendments.

    Raises: OptionError where this version knows no such settings.
    """
    algorithm = str(config["algorithm"])
    shared, options = settings_of(config)
    values = {
        "problem": str(config["problem"]),
        "algorithms": (algorithm,),
        "seeds": (int(config["seed"]),),
        "steps": int(config["steps"]),
        **machine_of(config),
        "shared": {key: value for key, value in shared.items() if key in Shared.model_fields},
        "options": {algorithm: options},
        "problem_options": dict(config.get("problem_options", {})),
    }
    return checked(Comparison, values)


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read seeds written as `0,1,5` or `0-4` or both.

    Raises: OptionError with a sentence where the text is neither.
    """
    seeds: list[int] = []
    for part in text.replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        numeric = first.isdecimal() and (not dash or last.isdecimal())
        low, high = (int(first), int(last or first)) if numeric else (1, 0)
        if low > high:
            raise OptionError("seeds", f"seeds = {text!r} is not valid: write 0,1,2 or 0-4.")
        if high - low >= MAX_SEEDS:
            raise OptionError(
                "seeds", f"seeds = {text!r} is not valid: use at most {MAX_SEEDS} seeds."
            )
        seeds += range(low, high + 1)
    return tuple(dict.fromkeys(seeds))


def presets() -> dict[str, Path]:
    """Return the shipped settings of published experiments by name."""
    return {path.stem: path for path in sorted(resource("presets").glob("*.toml"))}


def find_preset(name: str) -> Path:
    """Return the file of a published experiment's settings. Raises: OptionError naming them."""
    known = presets()
    if name not in known:
        near = get_close_matches(name, known, 3) or list(known)[:3]
        raise OptionError(
            "preset",
            f"There is no preset {name!r}; there are {len(known)}, like {', '.join(near)}.",
        )
    return known[name]


def read_demo(name: str) -> Comparison:
    """Read one of the shipped comparisons that take half a minute."""
    return read_comparison(resource("demos") / f"{name}.toml")


def read_comparison(path: Path) -> Comparison:
    """Read a comparison from TOML.

    Raises: OptionError with one sentence where the file or a value in it is wrong.
    """
    return checked(Comparison, read_toml(path))


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises: OptionError with one sentence that names the file and the line.
    """
    try:
        return parsed_toml(read_text(path))
    except UnreadableError as error:
        raise OptionError("config", f"Cannot read {path}: {error}.") from None
    except MalformedError as error:
        raise OptionError("config", f"{path} is not valid TOML: {error}.") from None
    except ForeignError as error:
        raise OptionError("config", f"{path} is not valid here: {error}.") from None


def to_toml(config: Options) -> str:
    """Write a configuration as TOML; nothing at all becomes an empty text."""
    return tomli_w.dumps(_written(config.model_dump(mode="json")))


def _written(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _written(item) for key, item in value.items()}
    return "" if value is None else value
