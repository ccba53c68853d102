"""Write trained networks as ONNX, operator by operator: no tracing, the same bytes every time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from lipwright.motion.train.network import Block, TemporalNet

OPSET = 20  # the first with Gelu
IR_VERSION = 9  # read by ONNX Runtime 1.17 and later


class Graph:
    """An ONNX graph that grows node by node."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, value: Tensor | NDArray[np.float32]) -> str:
        """Add a constant and return its name."""
        array = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

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
        ends = [
            self.weight(f"{name}.{k}", np.array([v], np.int64))
            for k, v in (("from", block.lost), ("to", -block.lost), ("axis", 1))
        ]
        return self.op("Add", [self.op("Slice", [x, *ends], f"{name}.kept"), y], name)

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


def write(
    path: Path,
    networks: Mapping[tuple[str, str], TemporalNet],
    metadata: Mapping[str, str],
    *,
    unit: bool = False,
) -> None:
    """Write networks as one ONNX file.

    Args:
        path: the file to write.
        networks: (name of the input, name of the output) -> network. Input float32
            (1, n, inputs), output float32 (1, n - 2 reach, outputs).
        metadata: what the file shall carry beside, by name.
        unit: whether to bring each output vector to length 1.
    """
    graph, inputs, outputs = Graph(), [], []
    for (source, target), net in networks.items():
        y = graph.temporal(source, net, target + "_net")
        if unit:
            y = graph.op("LpNormalization", [y], target + "_unit", axis=-1, p=2)
        graph.op("Identity", [y], target)
        inputs.append(_value(source, net.enter.in_features))
        outputs.append(_value(target, net.leave.out_features))
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
