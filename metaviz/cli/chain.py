"""`metaviz gradients --problem chain --problem-file`: exact meta-gradients of a world of tables."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metaviz.cli import options as opt
from metaviz.cli.output import put
from metaviz.config.options import OptionError
from metaviz.files.foreign import ForeignError

_MOST_SECOND = 20_000_000
_SHOWN = 6


def chain_gradients(path: Path, settings: Sequence[str], *, as_json: bool) -> None:
    """Enumerate the trajectories of a file's world and tell meta-gradients, one beside the other.

    Of settings only `inner_lr=NUMBER` means something, where the file has no rate.
    Raises: OptionError or ForeignError with one sentence.
    """
    usual = _asked_rate(settings)
    from metaviz.worlds.chain_file import read_chain
    from metaviz.worlds.enumeration import expected_update, hessian_errors, sampled_update

    asked = read_chain(path, usual)
    world, logits = asked.chains, asked.logits
    if asked.trajectories is None:
        found = expected_update(world, logits, asked.rate)
    else:
        found = sampled_update(world, logits, asked.rate, asked.trajectories)
    gradients = {"exact": found.gradient, **found.estimates}
    if found.score is not None:
        gradients["score"] = found.score

    def plain(one: Any) -> Any:
        return (one.flatten() if asked.flat else one).tolist()

    away = {name: float((one - found.gradient).norm()) for name, one in found.estimates.items()}
    answer: dict[str, Any] = {
        "horizon": world.horizon,
        "rate": asked.rate,
        "update": "expected" if asked.trajectories is None else "sampled",
        "trajectories": asked.trajectories,
        "enumerated": len(world.walks.chance),
        "objective": found.objective,
        "returns": found.returns.tolist(),
        "adapted_returns": found.adapted_returns.tolist(),
        **{name: plain(one) for name, one in gradients.items()},
        "distance": away,
    }
    if world.walks.rewards.numel() * logits.numel() <= _MOST_SECOND:
        answer["hessian_error"] = {
            name: [one if math.isfinite(one) else None for one in values.tolist()]
            for name, values in hessian_errors(world, logits).items()
        }
    if not all(math.isfinite(x) for one in gradients.values() for x in one.flatten().tolist()):
        raise ForeignError("The meta-gradient is not finite: rate, rewards or start are too large")
    if as_json:
        put(json.dumps(answer, allow_nan=False))
        return
    from metaviz.cli.tables import console, table

    rows = [
        (name, _listed(one.flatten().tolist()), f"{away[name]:.3g}" if name in away else "")
        for name, one in gradients.items()
    ]
    columns = ("gradient", "by logit, row by row", "distance")
    paper = console()
    paper.print(table(columns, rows, "Meta-gradients of the mean return", right=(2,)))
    paper.print(
        f"J = {found.objective:.6g} of {len(world.walks.chance)} trajectories, "
        f"rate {asked.rate:g}, {answer['update']} update."
    )


def _asked_rate(settings: Sequence[str]) -> float | None:
    """Return the step size of `--set inner_lr=NUMBER`. Raises: OptionError."""
    others = [one for one in settings if not one.startswith("inner_lr=")]
    if others:
        raise OptionError(
            "set", f"{others[0]:.40} means nothing for the file of a chain: only inner_lr does."
        )
    asked = opt.read_asked({"problem": "chain"}, list(settings))
    return None if not settings else float(str(asked.shared["inner_lr"]))


def _listed(values: list[float]) -> str:
    shown = ", ".join(f"{value:.5g}" for value in values[:_SHOWN])
    return shown + (", …" if len(values) > _SHOWN else "")
