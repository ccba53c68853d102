"""Export the network as ONNX, with normalisation folded in (stage ``export``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from lipwright.face.lower_face_raster import RASTER_SIDE
from lipwright.face.occlusion_input import CHANNELS
from training.face.network import OcclusionNet

OPSET = 18
IR_VERSION = 9  # read by ONNX Runtime 1.17 and later


class _Graph:
    """Nodes and initializers of an ONNX graph that is being built."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add_op(self, kind: str, inputs: list[str], name: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def add_weight(self, name: str, value: NDArray[Any]) -> str:
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add_layers(self, x: str, net: nn.Module, name: str) -> str:
        """Add one convolution block, or all blocks of a sequence; return the output name."""
        parts = list(net.children())
        if not isinstance(parts[0], nn.Conv2d):
            for i, part in enumerate(parts):
                x = self.add_layers(x, part, f"{name}.{i}")
            return x
        conv, norm = parts[0], parts[1]
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        gain = norm.weight / (norm.running_var + norm.eps).sqrt()
        kernel = (conv.weight * gain[:, None, None, None]).detach().numpy()
        bias = (norm.bias - norm.running_mean * gain).detach().numpy()
        inputs = [x, self.add_weight(f"{name}.w", kernel), self.add_weight(f"{name}.b", bias)]
        y = self.add_op("Conv", inputs, f"{name}.conv", pads=[1] * 4, strides=list(conv.stride))
        return self.add_op("Relu", [y], name)

    def upsample(self, x: str, name: str) -> str:
        scales = self.add_weight(f"{name}.scales", np.array([1, 1, 2, 2], np.float32))
        return self.add_op(
            *("Resize", [x, "", scales], name),
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )


def write_onnx(net: OcclusionNet, path: Path) -> None:
    """Write the network as ONNX.

    Input ``cells`` (m, CHANNELS, SIDE, SIDE); output ``chances`` (m, SIDE, SIDE), probabilities.
    """
    graph = _Graph()
    fine = graph.add_layers("cells", net.fine, "fine")
    middle = graph.add_layers(fine, net.middle, "middle")
    coarse = graph.upsample(graph.add_layers(middle, net.coarse, "coarse"), "coarse.wide")
    joined = graph.add_op("Concat", [coarse, middle], "middle.joined", axis=1)
    wide = graph.upsample(graph.add_layers(joined, net.up_middle, "up_middle"), "middle.wide")
    joined = graph.add_op("Concat", [wide, fine], "fine.joined", axis=1)
    out = graph.add_layers(joined, net.up_fine, "up_fine")
    head = [
        graph.add_weight("head.w", net.head.weight.detach().numpy()),
        graph.add_weight("head.b", net.head.bias.detach().numpy()),
    ]
    probability = graph.add_op("Sigmoid", [graph.add_op("Conv", [out, *head], "logits")], "sure")
    one = graph.add_weight("channel", np.array([1], np.int64))
    graph.add_op("Squeeze", [probability, one], "chances")
    value = helper.make_tensor_value_info
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "occlusion",
            [value("cells", TensorProto.FLOAT, ["m", CHANNELS, RASTER_SIDE, RASTER_SIDE])],
            [value("chances", TensorProto.FLOAT, ["m", RASTER_SIDE, RASTER_SIDE])],
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="lipwright",
    )
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
