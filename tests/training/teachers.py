"""Small teachers with random weights in the real formats: a TensorFlow Lite classifier and a sentence transformer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as tflite

SIDE, CHANNELS, STRIDE = 64, 12, 32


def save_classifier(file: Path) -> None:
    """One quantized convolution with a stride of 32, a ReLU and a mean: a classifier without its middle."""
    rng = np.random.default_rng(0)
    weights = rng.integers(0, 255, (CHANNELS, STRIDE, STRIDE, 3), dtype=np.uint8)
    bias = rng.integers(-1000, 1000, CHANNELS, dtype=np.int32)
    places = SIDE // STRIDE
    tensors = [
        _tensor("input", (1, SIDE, SIDE, 3), tflite.TensorType.UINT8, 0, 1 / 128, 128),
        _tensor("weights", weights.shape, tflite.TensorType.UINT8, 1, 1e-3, 128),
        _tensor("bias", bias.shape, tflite.TensorType.INT32, 2, 1e-3 / 128, 0),
        _tensor("features", (1, places, places, CHANNELS), tflite.TensorType.UINT8, 0, 6 / 255, 0),
        _tensor("pooled", (1, 1, 1, CHANNELS), tflite.TensorType.UINT8, 0, 6 / 255, 0),
    ]
    convolution = tflite.Conv2DOptionsT()
    convolution.strideW = convolution.strideH = STRIDE
    convolution.padding = tflite.Padding.VALID
    convolution.fusedActivationFunction = tflite.ActivationFunctionType.RELU6
    pooling = tflite.Pool2DOptionsT()
    pooling.padding = tflite.Padding.VALID
    pooling.strideW = pooling.strideH = pooling.filterWidth = pooling.filterHeight = places
    graph = tflite.SubGraphT()
    graph.tensors = tensors
    graph.inputs, graph.outputs = [0], [4]
    graph.operators = [
        _operator(0, [0, 1, 2], [3], tflite.BuiltinOptions.Conv2DOptions, convolution),
        _operator(1, [3], [4], tflite.BuiltinOptions.Pool2DOptions, pooling),
    ]
    model = tflite.ModelT()
    model.version = 3
    model.operatorCodes = [
        _code(tflite.BuiltinOperator.CONV_2D, 3),
        _code(tflite.BuiltinOperator.AVERAGE_POOL_2D, 1),
    ]
    model.subgraphs = [graph]
    model.buffers = [tflite.BufferT(), tflite.BufferT(), tflite.BufferT()]
    model.buffers[1].data = weights.flatten()
    model.buffers[2].data = np.frombuffer(bias.tobytes(), np.uint8)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    file.write_bytes(bytes(builder.Output()))


def save_sentence_transformer(folder: Path, texts: list[str]) -> None:
    """A BERT of two layers whose vocabulary is the words of `texts`."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    words = sorted({word for text in texts for word in text.lower().split()})
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]) + "\n")
    BertTokenizerFast(vocab_file=str(folder / "vocab.txt")).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(words) + 5,
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)


def _tensor(name: str, shape: tuple[int, ...], kind: int, buffer: int, scale: float, zero: int) -> Any:
    tensor = tflite.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name.encode(), list(shape), kind, buffer
    tensor.quantization = tflite.QuantizationParametersT()
    tensor.quantization.scale, tensor.quantization.zeroPoint = [scale], [zero]
    return tensor


def _operator(code: int, inputs: list[int], outputs: list[int], kind: int, options: Any) -> Any:
    operator = tflite.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = code, inputs, outputs
    operator.builtinOptionsType, operator.builtinOptions = kind, options
    return operator


def _code(operator: int, version: int) -> Any:
    code = tflite.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = operator
    code.version = version
    return code
