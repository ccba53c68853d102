"""The network: a small U-Net over the cells (Ronneberger et al. 2015, arXiv:1505.04597)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTHS = (12, 24, 40)  # channels at 32, 16 and 8 cells a side


def layer(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Return a convolution with its normalisation."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class CellNet(nn.Module):  # type: ignore[misc]
    """From what is known of cells (m, C, S, S) to logits (m, S, S) of being covered."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        a, b, c = WIDTHS
        self.fine = nn.Sequential(layer(channels, a), layer(a, a))
        self.middle = nn.Sequential(layer(a, b, 2), layer(b, b))
        self.coarse = nn.Sequential(layer(b, c, 2), layer(c, c), layer(c, c))
        self.up_middle, self.up_fine = layer(c + b, b), layer(b + a, a)
        self.leave = nn.Conv2d(a, 1, 1)
        self.wider = nn.Upsample(scale_factor=2, mode="nearest")

    def forward(self, cells: Tensor) -> Tensor:
        """Return the logits."""
        fine = self.fine(cells)
        middle = self.middle(fine)
        coarse = self.wider(self.coarse(middle))
        middle = self.wider(self.up_middle(torch.cat([coarse, middle], 1)))
        out: Tensor = self.leave(self.up_fine(torch.cat([middle, fine], 1)))[:, 0]
        return out
