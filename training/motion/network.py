"""The networks in PyTorch: a temporal convolution, and what is put together from it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

KERNEL = 5  # taps of each convolution
TAP_STEP = 2  # states between the taps of the linear filter
NETWORK_SHARE = 0.4  # of the networks in the mean with the linear filter


class Block(nn.Module):  # type: ignore[misc]
    """A residual convolution over time without padding: the sequence grows shorter."""

    def __init__(self, hidden: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.conv = nn.Conv1d(hidden, hidden, KERNEL, dilation=dilation)
        self.drop = nn.Dropout(dropout)
        self.lost = (KERNEL // 2) * dilation  # states lost at each end

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, n, hidden) to (B, n - 2 lost, hidden)."""
        y = self.conv(nn.functional.gelu(self.norm(x)).transpose(1, 2)).transpose(1, 2)
        kept: Tensor = x[:, self.lost : x.shape[1] - self.lost]
        return kept + self.drop(y)


class TemporalNet(nn.Module):  # type: ignore[misc]
    """Channels over time to channels over time; each output sees ``reach`` inputs on each side."""

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        inputs: int,
        hidden: int,
        outputs: int,
        *,
        dilations: Sequence[int] = (1, 2, 4),
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("scale", torch.ones(inputs))
        self.norm = nn.LayerNorm(inputs)
        self.enter = nn.Linear(inputs, hidden)
        self.blocks = nn.ModuleList(Block(hidden, d, dropout) for d in dilations)
        self.middle = nn.Linear(hidden, hidden)
        self.drop = nn.Dropout(dropout)
        self.leave = nn.Linear(hidden, outputs)
        self.reach = sum((KERNEL // 2) * d for d in dilations)

    def standardise(self, mean: Tensor, deviation: Tensor) -> None:
        """Set the statistics (inputs,) by which inputs are brought to zero mean, unit variance."""
        self.mean.copy_(mean)
        self.scale.copy_(1 / deviation.clamp(min=1e-6))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, n, inputs) to (B, n - 2 reach, outputs)."""
        x = self.enter(self.norm((x - self.mean) * self.scale))
        for block in self.blocks:
            x = block(x)
        x = self.drop(nn.functional.gelu(self.middle(x)))
        out: Tensor = self.leave(x)
        return out


class MotionNet(nn.Module):  # type: ignore[misc]
    """Speech states to the motion of a mouth: the mean of a linear filter and of some networks.

    The filter, found in closed form, carries over to other rooms and voices better than any
    network that was tried; the networks know what is not linear. The networks see the main
    directions of the states, the filter those of each layer.
    """

    def __init__(
        self,
        mean: Tensor,
        directions: Tensor,
        filter_directions: Tensor,
        taps: Tensor,
        members: Sequence[TemporalNet],
    ) -> None:
        """Put the parts together.

        Args:
            mean: (C,) of the states.
            directions: (C, P) main directions, scaled, that the networks see.
            filter_directions: (C, Q) those that the filter sees.
            taps: (K, Q, T) the filter, its taps ``TAP_STEP`` states apart.
            members: networks from P channels to K.
        """
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("directions", directions)
        self.register_buffer("filter_directions", filter_directions)
        self.register_buffer("taps", taps)
        self.members = nn.ModuleList(members)
        spans = [(taps.shape[2] // 2) * TAP_STEP, *(m.reach for m in members)]
        self.reach = max(spans)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, n, C) to (B, n - 2 reach, K)."""
        centred = x - self.mean
        count = x.shape[1] - 2 * self.reach
        channels = (centred @ self.filter_directions).transpose(1, 2)
        filtered = nn.functional.conv1d(channels, self.taps, dilation=TAP_STEP)
        x = centred @ self.directions
        out: Tensor = middle(filtered.transpose(1, 2), count) * (1 - NETWORK_SHARE)
        for member in self.members:
            out = out + middle(member(x), count) * (NETWORK_SHARE / len(self.members))
        return out


def middle(x: Tensor, count: int) -> Tensor:
    """Return the middle *count* of (B, n, K) along time."""
    start = (x.shape[1] - count) // 2
    return x[:, start : start + count]


class ScorerNet(nn.Module):  # type: ignore[misc]
    """Speech states and mouth shapes to vectors that agree when they belong together."""

    def __init__(self, speech: int, mouth: int, vector: int, *, hidden: tuple[int, int]) -> None:
        super().__init__()
        self.speech = TemporalNet(speech, hidden[0], vector, dilations=(1, 2, 2))
        self.mouth = TemporalNet(mouth, hidden[1], vector, dilations=(1, 2))
        self.sharpness = nn.Parameter(torch.tensor(2.5))  # log of the inverse temperature


class Average:
    """Exponential moving average of a network's parameters."""

    def __init__(self, net: nn.Module, decay: float) -> None:
        self._net = net
        self._decay = decay
        self._steps = 0
        self._values = {k: v.detach().clone() for k, v in net.state_dict().items()}

    def update(self) -> None:
        """Take in the network's present parameters; the first steps weigh as a plain mean."""
        self._steps += 1
        decay = min(self._decay, self._steps / (self._steps + 10))
        for name, value in self._net.state_dict().items():
            self._values[name].lerp_(value, 1 - decay)

    def state_dict(self) -> dict[str, Tensor]:
        """Return a copy of the averaged parameters."""
        return {k: v.clone() for k, v in self._values.items()}
