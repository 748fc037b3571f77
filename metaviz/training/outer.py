"""The outer optimiser."""

import torch

# A step of torch.optim spends several times as long on bookkeeping as on a few thousand weights.
_FUSED = getattr(torch, "_fused_adam_", None)


@torch.no_grad()
def advance(optimizer: torch.optim.Optimizer) -> None:
    """Take the optimiser's step: for fused Adam by its own kernel alone, with the same bits."""
    begun = all(optimizer.state.get(weights) for weights in _weights(optimizer))
    if _FUSED is None or not begun or not isinstance(optimizer, torch.optim.Adam):
        optimizer.step()
        return
    for group in optimizer.param_groups:
        states = [optimizer.state[weights] for weights in group["params"]]
        counts = [state["step"] for state in states]
        torch._foreach_add_(counts, 1)
        _FUSED(
            group["params"],
            [weights.grad for weights in group["params"]],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            counts,
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=group["amsgrad"],
            maximize=group["maximize"],
        )


def _weights(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [weights for group in optimizer.param_groups for weights in group["params"]]
