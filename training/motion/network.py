"""The networks in PyTorch: a temporal convolution, and the motion and scorer networks of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

KERNEL = 5  # taps of each convolution
TAP_STEP = 2  # states between the taps of the linear filter
NETWORK_SHARE = 0.4  # weight of the networks; the linear filter has the rest


class Block(nn.Module):  # type: ignore[misc]
    """A residual convolution over time without padding, which shortens the sequence."""

    def __init__(self, hidden: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.conv = nn.Conv1d(hidden, hidden, KERNEL, dilation=dilation)
        self.drop = nn.Dropout(dropout)
        self.trim = (KERNEL // 2) * dilation  # states trimmed at each end

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, n, hidden) to (B, n - 2 trim, hidden)."""
        y = self.conv(nn.functional.gelu(self.norm(x)).transpose(1, 2)).transpose(1, 2)
        kept: Tensor = x[:, self.trim : x.shape[1] - self.trim]
        return kept + self.drop(y)


class TemporalNet(nn.Module):  # type: ignore[misc]
    """A temporal convolutional network; each output sees ``reach`` inputs on each side."""

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
        """Set mean and deviation (inputs,) that bring the inputs to zero mean and unit variance."""
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
    """Predicts mouth motion from speech states: the mean of a linear filter and some networks.

    The filter, fitted in closed form, generalises to other rooms and voices better than any network
    tried; the networks add what is not linear. The networks take the principal directions of the
    states, the filter those of each layer.
    """

    def __init__(
        self,
        mean: Tensor,
        directions: Tensor,
        filter_directions: Tensor,
        taps: Tensor,
        members: Sequence[TemporalNet],
    ) -> None:
        """Assemble the network.

        Args:
            mean: (C,) of the states.
            directions: (C, P) scaled principal directions, the input of the networks.
            filter_directions: (C, Q) the same for the filter.
            taps: (K, Q, T) coefficients of the filter; its taps are ``TAP_STEP`` states apart.
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
        out: Tensor = crop_middle(filtered.transpose(1, 2), count) * (1 - NETWORK_SHARE)
        for member in self.members:
            out = out + crop_middle(member(x), count) * (NETWORK_SHARE / len(self.members))
        return out


def crop_middle(x: Tensor, count: int) -> Tensor:
    """Return the middle *count* of (B, n, K) along time."""
    start = (x.shape[1] - count) // 2
    return x[:, start : start + count]


class ScorerNet(nn.Module):  # type: ignore[misc]
    """Embeds speech states and mouth shapes as vectors that agree when they belong together."""

    def __init__(self, speech: int, mouth: int, vector: int, *, hidden: tuple[int, int]) -> None:
        super().__init__()
        self.speech = TemporalNet(speech, hidden[0], vector, dilations=(1, 2, 2))
        self.mouth = TemporalNet(mouth, hidden[1], vector, dilations=(1, 2))
        self.log_inverse_temperature = nn.Parameter(
            torch.tensor(2.5)
        )  # log of the inverse temperature


class ExponentialMovingAverage:
    """Exponential moving average of a network's parameters."""

    def __init__(self, net: nn.Module, decay: float) -> None:
        self._net = net
        self._decay = decay
        self._steps = 0
        self._values = {k: v.detach().clone() for k, v in net.state_dict().items()}

    def update(self) -> None:
        """Add the network's current parameters; over the first steps this is a plain mean."""
        self._steps += 1
        decay = min(self._decay, self._steps / (self._steps + 10))
        for name, value in self._net.state_dict().items():
            self._values[name].lerp_(value, 1 - decay)

    def state_dict(self) -> dict[str, Tensor]:
        """Return a copy of the averaged parameters."""
        return {k: v.clone() for k, v in self._values.items()}
