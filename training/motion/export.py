"""Stage ``export``: write the trained networks as ONNX, operator by operator.

Nothing is traced, so the same networks give the same bytes with every version of PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from lipwright.motion.basis import Basis
from training.motion.network import (
    NETWORK_SHARE,
    TAP_STEP,
    Block,
    MotionNet,
    ScorerNet,
    TemporalNet,
)

OPSET = 20  # the first with Gelu
IR_VERSION = 9  # read by ONNX Runtime 1.17 and later
LARGE = 1000  # values; larger constants are stored in half precision, the runtime casts them once


class Graph:
    """Builds an ONNX graph node by node."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, value: Tensor | NDArray[np.float32]) -> str:
        """Add a constant and return its name; large ones are stored in half precision."""
        array = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
        large = array.size >= LARGE
        stored = array.astype(np.float16) if large else array
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(stored), name))
        if not large:
            return name
        return self.op("Cast", [name], f"{name}.f32", to=TensorProto.FLOAT)

    def op(self, kind: str, inputs: list[str], name: str, **attributes: object) -> str:
        """Add a node with one output and return the output's name."""
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def norm(self, x: str, layer: nn.LayerNorm, name: str) -> str:
        """Add a layer normalisation over the last axis."""
        inputs = [x, self.weight(f"{name}.w", layer.weight), self.weight(f"{name}.b", layer.bias)]
        return self.op("LayerNormalization", inputs, name, axis=-1, epsilon=layer.eps)

    def linear(self, x: str, layer: nn.Linear, name: str) -> str:
        """Add a matrix product and a bias."""
        product = self.op("MatMul", [x, self.weight(f"{name}.w", layer.weight.T)], f"{name}.mul")
        return self.op("Add", [product, self.weight(f"{name}.b", layer.bias)], name)

    def block(self, x: str, block: Block, name: str) -> str:
        """Add a residual convolution over time."""
        y = self.op("Gelu", [self.norm(x, block.norm, f"{name}.norm")], f"{name}.gelu")
        y = self.op("Transpose", [y], f"{name}.channels", perm=[0, 2, 1])
        weights = [
            self.weight(f"{name}.conv.w", block.conv.weight),
            self.weight(f"{name}.conv.b", block.conv.bias),
        ]
        y = self.op("Conv", [y, *weights], f"{name}.conv", dilations=[int(block.conv.dilation[0])])
        y = self.op("Transpose", [y], f"{name}.time", perm=[0, 2, 1])
        return self.op("Add", [self.crop(x, block.trim, f"{name}.kept"), y], name)

    def crop(self, x: str, count: int, name: str) -> str:
        """Crop *count* states at each end of time."""
        if not count:
            return x
        ends = [
            self.weight(f"{name}.{k}", np.array([v], np.int64))
            for k, v in (("from", count), ("to", -count), ("axis", 1))
        ]
        return self.op("Slice", [x, *ends], name)

    def scaled(self, x: str, factor: float, name: str) -> str:
        """Multiply by a number."""
        return self.op("Mul", [x, self.weight(f"{name}.by", np.array(factor, np.float32))], name)

    def motion(self, x: str, net: MotionNet) -> str:
        """Add a whole :class:`MotionNet`."""
        x = self.op("Sub", [x, self.weight("states.mean", net.mean)], "states.centred")
        directions = self.weight("filter.directions", net.filter_directions)
        y = self.op("MatMul", [x, directions], "filter.seen")
        x = self.op("MatMul", [x, self.weight("states.directions", net.directions)], "states.seen")
        y = self.op("Transpose", [y], "filter.channels", perm=[0, 2, 1])
        taps = self.weight("filter.taps", net.taps)
        y = self.op("Conv", [y, taps], "filter.conv", dilations=[TAP_STEP])
        y = self.op("Transpose", [y], "filter.time", perm=[0, 2, 1])
        y = self.crop(y, net.reach - net.taps.shape[2] // 2 * TAP_STEP, "filter.kept")
        parts = [self.scaled(y, 1 - NETWORK_SHARE, "filter")]
        for i, member in enumerate(net.members):
            assert isinstance(member, TemporalNet)
            y = self.crop(self.temporal(x, member, f"{i}"), net.reach - member.reach, f"{i}.kept")
            parts.append(self.scaled(y, NETWORK_SHARE / len(net.members), f"{i}.share"))
        return self.op("Sum", parts, "mean")

    def temporal(self, x: str, net: TemporalNet, name: str) -> str:
        """Add a whole :class:`TemporalNet`."""
        x = self.op("Sub", [x, self.weight(f"{name}.mean", net.mean)], f"{name}.centred")
        x = self.op("Mul", [x, self.weight(f"{name}.scale", net.scale)], f"{name}.scaled")
        x = self.linear(self.norm(x, net.norm, f"{name}.norm"), net.enter, f"{name}.enter")
        for i, block in enumerate(net.blocks):
            assert isinstance(block, Block)
            x = self.block(x, block, f"{name}.{i}")
        x = self.op("Gelu", [self.linear(x, net.middle, f"{name}.middle")], f"{name}.gelu")
        return self.linear(x, net.leave, f"{name}.leave")


def write_motion(net: MotionNet, basis: Basis, path: Path) -> None:
    """Write the motion network with its basis.

    Input ``states`` float32 (1, n, C), output ``coefficients`` float32 (1, n - 2 reach, K).
    """
    graph = Graph()
    graph.op("Identity", [graph.motion("states", net)], "coefficients")
    inputs = [_value("states", net.directions.shape[0])]
    outputs = [_value("coefficients", net.taps.shape[0])]
    _write(path, graph, inputs, outputs, {"basis": basis.to_text(), "reach": str(net.reach)})


def write_scorer(net: ScorerNet, path: Path) -> None:
    """Write both networks of the sync scorer.

    Inputs ``states`` (1, n, C) and ``mouth`` (1, m, 183), outputs ``states_vector`` and
    ``mouth_vector`` (1, · - 2 reach, 64) of length 1, all float32.
    """
    graph, inputs, outputs = Graph(), [], []
    for name, part in (("states", net.speech), ("mouth", net.mouth)):
        y = graph.temporal(name, part, f"{name}_net")
        graph.op("LpNormalization", [y], f"{name}_vector", axis=-1, p=2)
        inputs.append(_value(name, part.enter.in_features))
        outputs.append(_value(f"{name}_vector", part.leave.out_features))
    metadata = {"states": str(net.speech.reach), "mouth": str(net.mouth.reach)}
    _write(path, graph, inputs, outputs, metadata)


def _write(
    path: Path,
    graph: Graph,
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    metadata: Mapping[str, str],
) -> None:
    body = helper.make_graph(graph.nodes, path.stem, inputs, outputs, graph.weights)
    model = helper.make_model(
        body,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="lipwright",
    )
    helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _value(name: str, channels: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, f"{name}_n", channels])
