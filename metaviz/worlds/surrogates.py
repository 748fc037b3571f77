"""What is differentiated in place of the return: values apart, its derivatives are estimates."""

from typing import Literal, get_args

from torch import Tensor

from metaviz.worlds.advantages import Credit

Surrogate = Literal["lvc", "plain", "dice"]
SURROGATES: tuple[Surrogate, ...] = get_args(Surrogate)


def surrogate(
    kind: Surrogate, log_probs: Tensor, credit: Credit, before: Tensor | None = None
) -> Tensor:
    """Return the terms (..., H) whose sum over time is differentiated.

    lvc: pi/stop(pi) A_t; plain: log pi A_t; dice: exp(sum_{u <= t} (log pi - stop)) r_t +
    (1 - pi/stop(pi)) b_t, with rewards and baseline values instead of advantages. The first
    derivative of all is that of the return in expectation, the second one that of dice alone;
    lvc lacks the products of different times, and that of plain is of nothing.
    Shapes: log_probs (..., H) with a graph; credit has none. Where trajectories are of another
    policy, `before` are its own log_probs, in place of stop(log pi).
    Source: Foerster et al. 2018 (DiCE), Rothfuss et al. 2019 (low-variance curvature).
    """
    if kind == "plain":
        return log_probs * credit.advantages
    away = log_probs - (log_probs if before is None else before).detach()
    ratio = away.exp()
    if kind == "lvc":
        return ratio * credit.advantages
    return away.cumsum(-1).exp() * credit.rewards + (1 - ratio) * credit.values
