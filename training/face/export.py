"""Stage ``export``: write the network as ONNX, operator by operator, normalisation folded in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from lipwright.face.raster import SIDE
from lipwright.face.uncovered import CHANNELS
from training.face.network import CellNet

OPSET = 18
IR_VERSION = 9  # read by ONNX Runtime 1.17 and later


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def op(self, kind: str, inputs: list[str], name: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def weight(self, name: str, value: NDArray[Any]) -> str:
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def layers(self, x: str, net: nn.Module, name: str) -> str:
        """Add a convolution and its activation, or several."""
        parts = list(net.children())
        if not isinstance(parts[0], nn.Conv2d):
            for i, part in enumerate(parts):
                x = self.layers(x, part, f"{name}.{i}")
            return x
        conv, norm = parts[0], parts[1]
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        gain = norm.weight / (norm.running_var + norm.eps).sqrt()
        kernel = (conv.weight * gain[:, None, None, None]).detach().numpy()
        bias = (norm.bias - norm.running_mean * gain).detach().numpy()
        inputs = [x, self.weight(f"{name}.w", kernel), self.weight(f"{name}.b", bias)]
        y = self.op("Conv", inputs, f"{name}.conv", pads=[1] * 4, strides=list(conv.stride))
        return self.op("Relu", [y], name)

    def wider(self, x: str, name: str) -> str:
        scales = self.weight(f"{name}.scales", np.array([1, 1, 2, 2], np.float32))
        return self.op(
            *("Resize", [x, "", scales], name),
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )


def write(net: CellNet, path: Path) -> None:
    """Write the network: ``cells`` (m, CHANNELS, SIDE, SIDE) to ``chances`` (m, SIDE, SIDE)."""
    graph = _Graph()
    fine = graph.layers("cells", net.fine, "fine")
    middle = graph.layers(fine, net.middle, "middle")
    coarse = graph.wider(graph.layers(middle, net.coarse, "coarse"), "coarse.wide")
    joined = graph.op("Concat", [coarse, middle], "middle.joined", axis=1)
    wide = graph.wider(graph.layers(joined, net.up_middle, "up_middle"), "middle.wide")
    joined = graph.op("Concat", [wide, fine], "fine.joined", axis=1)
    out = graph.layers(joined, net.up_fine, "up_fine")
    leave = [
        graph.weight("leave.w", net.leave.weight.detach().numpy()),
        graph.weight("leave.b", net.leave.bias.detach().numpy()),
    ]
    sure = graph.op("Sigmoid", [graph.op("Conv", [out, *leave], "logits")], "sure")
    one = graph.weight("channel", np.array([1], np.int64))
    graph.op("Squeeze", [sure, one], "chances")
    value = helper.make_tensor_value_info
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "occlusion",
            [value("cells", TensorProto.FLOAT, ["m", CHANNELS, SIDE, SIDE])],
            [value("chances", TensorProto.FLOAT, ["m", SIDE, SIDE])],
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="lipwright",
    )
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
