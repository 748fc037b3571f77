"""A run's meta-steps alone: as it takes them, without evaluations, and stored nowhere."""

from typing import Self

import torch

from metaviz.config.run_config import RunConfig
from metaviz.problems.base import Problem
from metaviz.runs.model.events import Ended, Noted, Stepped
from metaviz.training.setting import Setting, settle
from metaviz.training.trainer import Progress, begin, train

_NEVER = 10**9


class MetaSteps:
    """Takes the meta-steps of a run, one at a call."""

    def __init__(self, config: RunConfig, problem: Problem | None = None) -> None:
        """Settle a run's configuration; a problem may be shared with runs of the same seed.

        Raises: OptionError or ValueError with one sentence.
        """
        shared = config.shared.model_copy(update={"eval_every": _NEVER})
        endless = config.model_copy(update={"steps": _NEVER, "shared": shared})
        self.setting: Setting = settle(endless, problem)
        self.progress: Progress = begin(self.setting)
        self.progress.evaluated = 0  # as if the evaluation before the first step were done
        self.notes: list[str] = []
        """Warnings of the run, each once: a step that is not compiled, for instance."""
        self._events = train(self.setting, self.progress)

    def __call__(self) -> Stepped:
        """Take one meta-step, until the device has done it.

        Raises: ArithmeticError with one sentence where the run diverges.
        """
        for event in self._events:
            if isinstance(event, Ended):
                raise ArithmeticError(event.message)  # noqa: TRY004 - the run's numbers are wrong
            if isinstance(event, Noted) and event.level == "warning":
                self.notes += [event.message] if event.message not in self.notes else []
            if isinstance(event, Stepped):
                if self.setting.device.type == "cuda":
                    torch.cuda.synchronize(self.setting.device)
                return event
        raise ArithmeticError("The run has ended.")

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Let its threads end."""
        self.setting.shards.close()
