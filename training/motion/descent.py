"""The loop in which every network here learns."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from training.motion.network import Average

OnStep = Callable[[int, float, Average], None]


def descend(
    net: nn.Module,
    draw: Callable[[], Tensor],
    *,
    steps: int,
    rate: float,
    decay: float,
    average: float,
    clip: float | None = None,
    on_step: OnStep | None = None,
) -> None:
    """Take a network down a loss by AdamW on a one-cycle schedule; leave it averaged.

    Args:
        net: that learns.
        draw: returns the loss of another batch.
        steps: how many.
        rate: learning rate at its height.
        decay: of the weights.
        average: decay of the parameters' moving average, which the network ends with.
        clip: largest norm of the gradient; None: any.
        on_step: told the number of each step, its loss and the averaged parameters.
    """
    mean = Average(net, average)
    optimiser = torch.optim.AdamW(net.parameters(), rate, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, rate, total_steps=steps, pct_start=0.1
    )
    for index in range(steps):
        value = draw()
        optimiser.zero_grad()
        value.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(net.parameters(), clip)
        optimiser.step()
        schedule.step()
        mean.update()
        if on_step:
            on_step(index + 1, float(value.detach()), mean)
    net.load_state_dict(mean.state_dict())
    net.eval()
