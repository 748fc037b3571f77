"""Records to compare, made without training."""

import numpy as np

from metaviz.runs.model.events import STEP_COLUMNS, Ended, Evaluated, Stepped
from metaviz.runs.model.record import Record


def record(algorithm="maml", seed=0, curve=(3.0, 2.0, 1.0), *, every=1, state="done", **shared):
    """Return a run whose batch losses and evaluations follow `curve`, one value a meta-step.

    Each meta-step takes (seed + 1) seconds and 6 gradient evaluations.
    """
    usual = {"inner_lr": 0.1, "inner_steps": 1, **shared}
    name = "-".join([algorithm, str(seed), *(str(value) for value in shared.values())])
    made = Record(
        name,
        {"algorithm": algorithm, "problem": "sinusoid", "seed": seed, "steps": 12}
        | {"shared": usual},
    )
    for step, value in enumerate(curve, 1):
        values = dict.fromkeys(STEP_COLUMNS)
        values |= {"seconds": step * (seed + 1.0), "gradient_evaluations": 6.0 * step}
        values |= {"hessian_vector_products": 0.0, "post_query_loss": float(value)}
        made.apply(Stepped(step, values, np.ones(2), np.ones(1)))
        if step % every == 0:
            curves = {"query_loss": np.array([9.0, value]), "support_loss": np.ones(2)}
            curves |= {f"{key}_ci95": np.full(2, 0.01) for key in list(curves)}
            made.apply(Evaluated(step, 5, 1, curves))
    if state:
        made.apply(Ended(len(curve), state, "" if state == "done" else "It broke."))
    return made
