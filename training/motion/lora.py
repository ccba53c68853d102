"""The upper layers of the speech encoder in PyTorch, with low-rank adapters (LoRA).

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021: a product of two thin
matrices is added to each frozen weight matrix. The product starts at zero and has too few
parameters to memorise its speakers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lipwright.speech.encoder import LAYER_SIZE
from lipwright.types import Floats

UPPER = (2, 3)  # index of the adapted layers, from 0
HEADS = 8
EPSILON = 1e-5  # of the layer norms


def read_weights(path: Path) -> dict[str, Floats]:
    """Return the weights in the encoder's ONNX file by name; matrices are (in, out)."""
    import onnx

    graph = onnx.load(str(path)).graph
    return {i.name: onnx.numpy_helper.to_array(i).astype(np.float32) for i in graph.initializer}


class LowRankLinear(nn.Module):  # type: ignore[misc]
    """A frozen linear map plus a trainable one of low rank."""

    matrix: Tensor
    bias: Tensor | None

    def __init__(self, matrix: Floats, bias: Floats | None, rank: int) -> None:
        super().__init__()
        inputs, outputs = matrix.shape
        self.register_buffer("matrix", torch.from_numpy(matrix.T.copy()))
        self.register_buffer("bias", None if bias is None else torch.from_numpy(bias.copy()))
        self.down = nn.Parameter(torch.randn(rank, inputs) / inputs**0.5)
        self.up = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, inputs) to (…, outputs)."""
        frozen: Tensor = nn.functional.linear(x, self.matrix, self.bias)
        return frozen + (x @ self.down.T) @ self.up.T


class _Norm(nn.Module):  # type: ignore[misc]
    """A frozen layer norm."""

    gamma: Tensor
    beta: Tensor

    def __init__(self, weights: Mapping[str, Floats], name: str) -> None:
        super().__init__()
        self.register_buffer("gamma", torch.from_numpy(weights[f"{name}.gamma"].copy()))
        self.register_buffer("beta", torch.from_numpy(weights[f"{name}.beta"].copy()))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.layer_norm(x, (LAYER_SIZE,), self.gamma, self.beta, EPSILON)


class EncoderLayer(nn.Module):  # type: ignore[misc]
    """One pre-norm transformer layer, as ``scripts/export_whisper_encoder.py`` writes it."""

    def __init__(self, weights: Mapping[str, Floats], index: int, rank: int) -> None:
        super().__init__()
        attention, ffn = (f"encoder/layer_{index}/{part}" for part in ("self_attention", "ffn"))

        def adapted(name: str) -> LowRankLinear:
            return LowRankLinear(weights[f"{name}.weight"], weights.get(f"{name}.bias"), rank)

        self.attention_norm, self.ffn_norm = (
            _Norm(weights, f"{x}/layer_norm") for x in (attention, ffn)
        )
        self.query, self.key, self.value, self.output = (
            adapted(f"{attention}.{x}") for x in "qkvo"
        )
        self.expand, self.contract = (adapted(f"{ffn}/linear_{x}") for x in (0, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, n, 512) to (B, n, 512)."""
        normed = self.attention_norm(x)
        parts = [
            part(normed).unflatten(2, (HEADS, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        ]
        mixed = nn.functional.scaled_dot_product_attention(*parts)
        x = x + self.output(mixed.transpose(1, 2).flatten(2))
        out: Tensor = x + self.contract(nn.functional.gelu(self.expand(self.ffn_norm(x))))
        return out


class UpperLayers(nn.Sequential):  # type: ignore[misc]
    """Layers 3 and 4: map raw states of layer 2 (B, n, 512) to states of layer 4."""

    def __init__(self, weights: Mapping[str, Floats], rank: int) -> None:
        super().__init__(*(EncoderLayer(weights, index, rank) for index in UPPER))
