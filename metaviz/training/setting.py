"""Where and on what a run computes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from threading import Event, Lock
from typing import Any

import torch

from metaviz.algorithms.registry import MethodOptions, find_algorithm
from metaviz.config.episodes import EpisodeShape, PlainBatches
from metaviz.config.options import OptionError
from metaviz.config.outer_rule import OuterRule
from metaviz.config.run_config import EngineName, RunConfig
from metaviz.config.schedule import Schedule, schedule_of
from metaviz.config.traits import Traits
from metaviz.meta.algorithm import Algorithm, CannotTrainError
from metaviz.meta.context import Context, Meta
from metaviz.meta.draws import NO_DRAWS, Draws, Uniforms
from metaviz.meta.learner import Learner
from metaviz.meta.sharding import Shards
from metaviz.meta.tasks import Batch, TaskBatch
from metaviz.meta.trust_region import outer_graph
from metaviz.nets.spec import NETS
from metaviz.plugin_loader import PLUGINS
from metaviz.problems.base import Problem
from metaviz.problems.registry import find_problem
from metaviz.problems.stream import derived_seed, uniforms
from metaviz.runs.storage.worker_process import usable_cores
from metaviz.training.compiled import keep_compiled
from metaviz.training.environment import describe_environment
from metaviz.training.memory_budget import budget_bytes, keep_freed_memory


def settle_process() -> None:
    """Give torch one thread per worker, and let memory and compiled programs be kept.

    Two spinning OpenMP threads collapse as soon as something else, like a window, wants a core.
    """
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)
    keep_freed_memory()
    keep_compiled()


def find_device(name: str) -> torch.device:
    """Return the device of a configuration; `auto` is the GPU where there is one.

    Raises: OptionError where CUDA is asked for and absent.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise OptionError("device", "device = 'cuda' is not available here: use cpu or auto.")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda")


def _check_engine(engine: EngineName, device: torch.device) -> None:
    """Raise OptionError where an engine is of no use on a device."""
    if engine == "captured" and device.type != "cuda":
        raise OptionError("engine", "engine = 'captured' needs a GPU: use auto, eager or compiled.")
    if engine == "compiled" and device.type == "cuda":
        raise OptionError("engine", "engine = 'compiled' is for CPUs: use captured on a GPU.")


def device_text() -> str:
    """Describe the device that `auto` means, for the status bar."""
    device = find_device("auto")
    if device.type == "cpu":
        return f"CPU · {usable_cores()} cores"
    memory = torch.cuda.get_device_properties(device).total_memory / 2**30
    return f"CUDA · {torch.cuda.get_device_name(device)} · {memory:.0f} GiB"


class Tally:
    """A count that several threads add to and any thread reads."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self.count = 0
        self._lock = Lock()

    def add(self, more: int) -> None:
        """Count so many more."""
        with self._lock:
            self.count += more

    def reset(self) -> None:
        """Begin again."""
        with self._lock:
            self.count = 0


@dataclass(frozen=True)
class Setting:
    """Problem, algorithm and device of one run."""

    config: RunConfig
    problem: Problem
    options: MethodOptions
    algorithm: Algorithm
    device: torch.device
    dtype: torch.dtype
    cut_short: Event = field(default_factory=Event)
    """Set from any thread to cut an evaluation short, because the run is about to be ended."""
    evaluated: Tally = field(default_factory=Tally)
    """How many tasks of the evaluation under way are done; read from any thread."""
    start: Meta | None = None
    """Meta-parameters to start from instead of those that the seed draws."""
    amended: int = 0
    """How many of the configuration's amendments are in force."""

    @cached_property
    def learner(self) -> Learner:
        """The network and the loss that judges it."""
        net = self.problem.net()
        asked = self.algorithm.episodes
        plain = isinstance(asked, PlainBatches) or asked.plain
        classes = len(self.problem.sizes("train")) if plain else 0
        needed = "base" in find_algorithm(self.config.algorithm).entry.needs
        base = self.problem.base if needed else None
        return Learner(net, self.problem, self.algorithm.rests(net), classes, base)

    @property
    def _plain(self) -> PlainBatches | None:
        """The batches that the method trains on instead of episodes, None with episodes."""
        asked = self.algorithm.episodes
        return asked if isinstance(asked, PlainBatches) else None

    @cached_property
    def tasks_per_step(self) -> int:
        """Tasks of a meta-batch; a plain batch is one."""
        return 1 if self._plain else self.config.shared.meta_batch

    def epochs(self, step: int) -> int:
        """Return how often every training example has been seen after so many plain batches.

        Where training is by episodes, each step is an epoch.
        """
        plain = self._plain
        return step if plain is None else step * plain.size // self._examples

    @cached_property
    def _examples(self) -> int:
        return int(self.problem.sizes("train").sum())

    @cached_property
    def outer(self) -> dict[str, OuterRule]:
        """How the outer optimiser moves each group that is trained."""
        algorithm, shared = self.algorithm, self.config.shared
        return {
            name: self.options.outer_rule(shared, of_network=name == algorithm.network)
            for name in algorithm.trained()
        }

    @property
    def clip_norm(self) -> float | None:
        """The largest norm of the meta-gradient, None where it is not clipped."""
        return self.options.own_clip() or self.config.shared.clip_norm

    @cached_property
    def shape(self) -> EpisodeShape | None:
        """The shape of training episodes where the method has one of its own."""
        shared, asked = self.config.shared, self.algorithm.episodes
        if isinstance(asked, PlainBatches) or asked.usual:
            return None
        return asked.shape(EpisodeShape(shared.ways, shared.shots, shared.query_shots))

    @cached_property
    def traits(self) -> Traits:
        """What is true of the method on this problem."""
        traits = self.algorithm.traits
        by_batch = self.config.problem_options.get("norm") == "batch" and not traits.inductive
        entry = find_algorithm(self.config.algorithm).entry
        return replace(
            traits,
            network=self.algorithm.network or "",
            transductive=traits.transductive or by_batch,
            quantities=entry.quantities,
            charts=entry.charts,
        )

    @cached_property
    def schedule(self) -> Schedule:
        """When the run is evaluated, and on how many tasks."""
        return schedule_of(self.config, find_problem(self.config.problem).entry)

    @property
    def resolved(self) -> dict[str, Any]:
        """What the options come to: the step sizes and sizes in force."""
        found: dict[str, Any] = {"inner_lr": self.algorithm.rate, "inner_steps": None}
        if self.traits.has_inner_loop:
            found["inner_steps"] = self.algorithm.steps
        if self.shape is not None:
            found["training_episodes"] = asdict(self.shape)
        if (plain := self._plain) is not None:
            found["training_examples"] = {
                "classes": self.learner.classes,
                "examples": self._examples,
                "batch": plain.size,
                "epochs": self.config.steps * plain.size / self._examples,
            }
        found["evaluation"] = self._evaluation()
        found["per_step"] = self._per_step()
        found["outer_lr"] = {name: rule.rate for name, rule in sorted(self.outer.items())}
        return found | {"clip_norm": self.clip_norm}

    def _evaluation(self) -> dict[str, Any]:
        """Return on how many tasks the run is evaluated, and how often or after which steps."""
        when = self.schedule
        found: dict[str, Any] = {"tasks": when.tasks}
        return found | ({"steps": when.points} if when.every is None else {"every": when.every})

    def _per_step(self) -> dict[str, int]:
        """Return how many episodes and examples a meta-step takes, by the ids of COUNTED."""
        if (plain := self._plain) is not None:
            return {"images_seen": plain.size}
        shared, tasks = self.config.shared, self.tasks_per_step
        entry = find_problem(self.config.problem).entry
        if "shots" in entry.hidden:
            return {"episodes": tasks}
        shape = self.shape or EpisodeShape(shared.ways, shared.shots, shared.query_shots)
        classes = 1 if "ways" in entry.hidden else shape.ways
        asked = self.algorithm.episodes
        beside = 0 if isinstance(asked, PlainBatches) else asked.plain
        return {"episodes": tasks, "images_seen": tasks * (classes * shape.examples + beside)}

    @cached_property
    def shards(self) -> Shards:
        """The threads over which meta-batches are split."""
        on_cpu = self.device.type == "cpu"
        return Shards(min(self.problem.shards, usable_cores()) if on_cpu else 1)

    @property
    def engine(self) -> EngineName:
        """How meta-steps are to be computed: eager, compiled or captured."""
        asked = self.config.engine
        if asked == "auto":
            return "captured" if self.device.type == "cuda" else "eager"
        return asked

    def init(self) -> Meta:
        """Draw the meta-parameters of the run's seed: the same for every device and precision.

        A run that starts from another one's weights gets copies of these.
        """
        if self.start is not None:
            return {name: value.clone() for name, value in self.start.items()}
        generator = torch.Generator().manual_seed(derived_seed(self.config.seed, "weights"))
        drawn = self.algorithm.init(self.learner, generator)
        return {name: value.to(self.device, self.dtype) for name, value in drawn.items()}

    def at(self, step: int) -> "Setting":
        """Return the setting in force after so many meta-steps: this one, or an amended one.

        Raises: OptionError where an amendment does not suit the run.
        """
        due = sum(amendment.step <= step for amendment in self.config.amendments)
        if due == self.amended:
            return self
        self.shards.close()
        made = settle(self.config.at(step), self.problem)
        kept = replace(made, cut_short=self.cut_short, evaluated=self.evaluated)
        return replace(kept, start=self.start, amended=due)

    def batch(self, step: int) -> TaskBatch:
        """Return the meta-batch of a step, counted from 0, on the device."""
        size, plain = self.tasks_per_step, self._plain
        if plain is not None:
            examples = self.problem.examples("train", step * plain.size, plain.size)
            return self.prepare(TaskBatch(examples.examples(slice(0)), examples))
        drawn = self.problem.tasks("train", step * size, size, self.shape)
        tasks = self.prepare(self._with_plain(drawn, step))
        places = self.places(step)
        return tasks if len(places) == size else tasks[torch.tensor(places, device=self.device)]

    def _with_plain(self, tasks: TaskBatch, step: int) -> TaskBatch:
        """Return tasks with the plain examples that the method asks for beside each of them."""
        asked, size = self.algorithm.episodes, self.tasks_per_step
        if isinstance(asked, PlainBatches) or not asked.plain:
            return tasks
        count = size * asked.plain
        row = self.problem.examples("train", step * count, count)
        x, y = (values[0].unflatten(0, (size, asked.plain)) for values in (row.x, row.y))
        return replace(tasks, plain=Batch(x, y))

    def places(self, step: int) -> list[int]:
        """Return which tasks of the meta-batch of a step, counted from 0, are not left out."""
        if not self.config.amendments:
            return self._every_place
        skipped = self.config.skipped(step + 1)
        return [place for place in self._every_place if place not in skipped] or [0]

    @cached_property
    def _every_place(self) -> list[int]:
        return list(range(self.tasks_per_step))

    def prepare(self, tasks: TaskBatch) -> TaskBatch:
        """Move tasks to the device and type of the run."""
        return tasks.to(self.device, self.dtype)

    def draws(self, step: int) -> Draws:
        """Return the random numbers of the tasks of the meta-batch of a step."""
        size = self.tasks_per_step
        numbers: Sequence[int] = range(step * size, (step + 1) * size)
        if self.config.amendments:
            numbers = [numbers[place] for place in self.places(step)]
        return Draws(((self._uniforms, numbers),))

    def context(
        self, step: int, tasks: TaskBatch | None = None, *, reading: bool = True
    ) -> Context:
        """Return what the method is called with at a step: its batch, or these tasks of it."""
        return Context(
            self.learner,
            self.batch(step) if tasks is None else tasks,
            self.algorithm.steps,
            self.draws(step),
            reading,
            self.ways,
            step / max(self.config.steps, 1),
        )

    def adapting(
        self,
        tasks: TaskBatch,
        steps: int,
        *,
        drawn: Meta | None = None,
        numbers: range | None = None,
    ) -> Context:
        """Return what the method is called with to adapt to evaluation tasks.

        A method that draws samples has the tasks' own random numbers where these have `numbers`.
        """
        ways = self.config.shared.ways if self.problem.has_accuracy else 0
        later = self.config.shared.later_scale or 1.0
        sampled = numbers is not None and self.algorithm.traits.probabilistic
        draws = Draws(((self._uniforms, numbers),)) if sampled and numbers else NO_DRAWS
        return Context(
            self.learner,
            tasks,
            steps,
            draws,
            ways=ways,
            drawn=drawn or {},
            later_scale=later,
        )

    @cached_property
    def ways(self) -> int:
        """The number of classes of a training task, 0 in regression."""
        if self.shape is not None:
            return self.shape.ways
        return self.config.shared.ways if self.problem.has_accuracy else 0

    @cached_property
    def _uniforms(self) -> Uniforms:
        return partial(uniforms, self.config.seed)


def environment_of(setting: Setting) -> dict[str, Any]:
    """Return what a setting's run computes on, to be stored with it."""
    budget = budget_bytes(setting.device, setting.config.memory_gib)
    described = describe_environment(setting.device, setting.shards.count, budget)
    used = PLUGINS.of_modules(_modules(setting))
    plugins = {"plugins": ", ".join(plugin.text for plugin in used)} if used else {}
    return {**described, "engine": setting.engine, **plugins}


def _modules(setting: Setting) -> set[str]:
    """Return in which modules a run's method, problem and network are."""
    config = setting.config
    kinds = find_algorithm(config.algorithm), find_problem(config.problem)
    network = NETS.find(setting.problem.net_spec().id)
    made = (*(kind.factory for kind in kinds), network.factory)
    return {getattr(one, "plugin", one.__module__) for one in made}


def changed_since(setting: Setting, environment: Mapping[str, Any]) -> str:
    """Say in what a setting's numbers differ from those of a run that has such an environment.

    Empty where this version's bits are those of the version that the run was begun with.
    """
    version = tuple(map(int, re.findall(r"\d+", str(environment.get("metaviz", "")))))
    return setting.options.changed_since(version, setting.config.shared)


def _check_memory(setting: Setting) -> None:
    """Raise OptionError where trajectories are so long that no meta-batch would fit."""
    config, problem = setting.config, setting.problem
    budget = budget_bytes(setting.device, config.memory_gib)
    steps = setting.algorithm.steps
    for evaluating, key in ((False, "horizon"), (True, "eval_horizon")):
        tasks = problem.chunk if evaluating else setting.tasks_per_step
        needed = problem.bytes_of(tasks, steps, evaluating=evaluating)
        if needed > budget:
            name = f"{config.problem}.{key if key in config.problem_options else 'horizon'}"
            raise OptionError(
                name,
                f"{name} = {config.problem_options.get(key)} needs about {needed / 2**30:.2g} GiB "
                f"for {tasks} tasks, more than the budget of {budget / 2**30:.2g} GiB: use a "
                "shorter horizon, or fewer shots or tasks per meta-batch.",
            )


def _check_trust_region(setting: Setting) -> None:
    """Raise OptionError where a method's outer step cannot be one in a trust region."""
    if setting.problem.trust_region is not None and outer_graph(setting.algorithm) is None:
        key, method = f"{setting.config.problem}.outer", setting.config.algorithm
        raise OptionError(
            key,
            f"{key} = trpo does not suit {method}, whose meta-gradient is not that of the return "
            "after inner steps: use optimiser, or a method like maml, fomaml or joint.",
        )


def settle(config: RunConfig, problem: Problem | None = None) -> Setting:
    """Build everything that a run needs; a problem may be shared between runs of one seed.

    The setting's configuration names every option, also those left at their defaults, so that a
    stored run does not change its meaning with a later version's defaults.
    Raises: OptionError for wrong options, ValueError for data that cannot be read.
    """
    settle_process()
    registered = find_problem(config.problem)
    method = find_algorithm(config.algorithm)
    if reason := method.entry.unsuited(registered.entry):
        raise OptionError("algorithm", reason)
    suited = method.entry.defaults.get(config.problem, {})
    options = method.checked({**suited, **config.options})
    problem_options = registered.checked(dict(config.problem_options))
    if problem is None:
        problem = registered.factory(problem_options, config.shared, config.seed)
    own = {"options": options.stored(), "problem_options": problem_options.model_dump()}
    device = find_device(config.device)
    _check_engine(config.engine, device)
    if config.engine == "compiled" and not problem.compiles:
        raise OptionError(
            "engine",
            "engine = 'compiled' would translate every step of a trajectory by itself, which takes "
            "many minutes: use auto or eager.",
        )
    problem.place(device)
    algorithm = method.make(options, config.shared)
    problem.expect(algorithm.steps, max(algorithm.steps, config.shared.eval_steps))
    setting = Setting(
        config.model_copy(update=own),
        problem,
        options,
        algorithm,
        device,
        torch.float64 if config.dtype == "float64" else torch.float32,
    )
    _check_memory(setting)
    _check_trust_region(setting)
    if setting.shape is not None:
        problem.check_training(setting.shape, config.algorithm)
    try:
        setting.algorithm.fit(setting.learner)
    except CannotTrainError as error:
        key = f"{config.problem}.norm_adapted"
        raise OptionError(
            key, f"{key} = false does not suit {config.algorithm}: {error}"
        ) from error
    return setting
