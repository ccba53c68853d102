"""Define the network: a small U-Net over the cells (Ronneberger et al. 2015, arXiv:1505.04597)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTHS = (12, 24, 40)  # channels at 32, 16 and 8 cells a side


def conv_block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Return a 3x3 convolution with batch normalisation and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class OcclusionNet(nn.Module):  # type: ignore[misc]
    """Maps the channels of cells (m, C, S, S) to logits (m, S, S) of being covered."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        a, b, c = WIDTHS
        self.fine = nn.Sequential(conv_block(channels, a), conv_block(a, a))
        self.middle = nn.Sequential(conv_block(a, b, 2), conv_block(b, b))
        self.coarse = nn.Sequential(conv_block(b, c, 2), conv_block(c, c), conv_block(c, c))
        self.up_middle, self.up_fine = conv_block(c + b, b), conv_block(b + a, a)
        self.head = nn.Conv2d(a, 1, 1)
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")

    def forward(self, cells: Tensor) -> Tensor:
        """Return the logits (m, S, S)."""
        fine = self.fine(cells)
        middle = self.middle(fine)
        coarse = self.upsample(self.coarse(middle))
        middle = self.upsample(self.up_middle(torch.cat([coarse, middle], 1)))
        out: Tensor = self.head(self.up_fine(torch.cat([middle, fine], 1)))[:, 0]
        return out
