"""The training loop of all networks: AdamW, one-cycle schedule, averaged parameters."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from training.motion.network import ExponentialMovingAverage

OnStep = Callable[[int, float, ExponentialMovingAverage], None]


def optimize(
    net: nn.Module,
    draw_loss: Callable[[], Tensor],
    *,
    steps: int,
    rate: float,
    decay: float,
    average: float,
    clip: float | None = None,
    on_step: OnStep | None = None,
) -> None:
    """Minimise a loss with AdamW on a one-cycle schedule, then set the averaged parameters.

    Args:
        net: network to train.
        draw_loss: returns the loss of a new batch.
        steps: number of steps.
        rate: largest learning rate.
        decay: weight decay.
        average: decay of the moving average of the parameters.
        clip: largest norm of the gradient; None does not clip.
        on_step: called with the number of each step, its loss and the averaged parameters.
    """
    mean = ExponentialMovingAverage(net, average)
    optimizer = torch.optim.AdamW(net.parameters(), rate, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, total_steps=steps, pct_start=0.1
    )
    for index in range(steps):
        value = draw_loss()
        optimizer.zero_grad()
        value.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(net.parameters(), clip)
        optimizer.step()
        schedule.step()
        mean.update()
        if on_step:
            on_step(index + 1, float(value.detach()), mean)
    net.load_state_dict(mean.state_dict())
    net.eval()
