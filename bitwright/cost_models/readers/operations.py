"""What the tools' words for operations mean: multiplying, converting, or anything else."""

from __future__ import annotations

from typing import Literal

from bitwright.cost_models.readers.names import last_word, parts_of
from bitwright.cost_models.readers.profile import Measurement
from bitwright.problems.network import LayerDescription

Role = Literal["layer", "conversion", "other", "unknown"]
Family = Literal["convolution", "depthwise", "transposed", "product", "recurrent", "attention"]

_CONVOLUTIONS = {
    "conv", "conv1d", "conv2d", "conv3d", "convolution", "fusedconv", "nhwcfusedconv", "nhwcconv",
    "qlinearconv", "qconv", "convinteger", "groupconvolution", "binaryconvolution",
}  # fmt: skip
_DEPTHWISE = {"depthwiseconv2d", "depthwise", "depthwiseconvolution"}
_TRANSPOSED = {
    "convtranspose", "convtranspose2d", "transposeconv", "deconvolution", "convolutionbackpropdata",
    "groupconvolutionbackpropdata", "conv2dtranspose", "conv2dbackpropinput",
}  # fmt: skip
_PRODUCTS = {
    "gemm", "fusedgemm", "qgemm", "matmul", "fusedmatmul", "qlinearmatmul", "matmulinteger",
    "matmulintegertofloat", "dynamicquantizematmul", "matmulnbits", "fullyconnected",
    "innerproduct", "batchmatmul", "einsum", "linear", "addmm",
}  # fmt: skip
_RECURRENT = {
    "rnn", "lstm", "gru", "dynamicquantizelstm", "lstmsequence", "grusequence", "rnnsequence",
    "unidirectionalsequencelstm", "unidirectionalsequencernn", "bidirectionalsequencelstm",
}  # fmt: skip
_ATTENTION = {
    "attention", "multiheadattention", "qattention", "groupqueryattention",
    "scaleddotproductattention", "scaleddotproductattentionwithkvcache",
}  # fmt: skip
_CONVERSIONS = {
    "reorder", "reorderinput", "reorderoutput", "quantizelinear", "dequantizelinear",
    "dynamicquantizelinear", "quantize", "dequantize", "fakequantize", "cast", "convert",
    "convertlike", "memcpyfromhost", "memcpytohost", "reformat",
}  # fmt: skip
_OTHERS = {
    "relu", "relu6", "leakyrelu", "prelu", "elu", "selu", "celu", "gelu", "silu", "swish",
    "hardswish", "hardsigmoid", "sigmoid", "tanh", "softmax", "logsoftmax", "softplus", "clip",
    "add", "biasadd", "sub", "mul", "div", "pow", "sqrt", "exp", "erf", "min", "max", "mean",
    "maxpool", "maxpool2d", "averagepool", "averagepool2d", "avgpool", "globalaveragepool",
    "globalmaxpool", "reducemean", "reducesum", "reducemax", "concat", "concatenation", "split",
    "slice", "stridedslice", "gather", "reshape", "flatten", "squeeze", "unsqueeze", "transpose",
    "permute", "expand", "tile", "pad", "resize", "upsample", "resizebilinear", "shuffle",
    "batchnormalization", "layernormalization", "instancenormalization", "groupnormalization",
    "normalize", "topk", "argmax", "nonmaxsuppression", "shape", "constant", "identity", "where",
    "depthtospace", "spacetodepth", "eltwise", "subgraph",
}  # fmt: skip
FAMILIES: dict[str, Family] = {
    **dict.fromkeys(_CONVOLUTIONS, "convolution"),
    **dict.fromkeys(_DEPTHWISE, "depthwise"),
    **dict.fromkeys(_TRANSPOSED, "transposed"),
    **dict.fromkeys(_PRODUCTS, "product"),
    **dict.fromkeys(_RECURRENT, "recurrent"),
    **dict.fromkeys(_ATTENTION, "attention"),
}
_KNOWN = {*FAMILIES, *_CONVERSIONS, *_OTHERS}
_REFORMATS = ("Reformatting CopyNode", "[QUANTIZE]", "[DEQUANTIZE]")


def plain_word(word: str) -> str:
    """A tool's word without case, underscores and what stands before it (`aten::`)."""
    return word.rpartition("::")[2].replace("_", "").lower()


def is_operation(word: str) -> bool:
    """Whether a part of a name is an operation's, such as `Conv`, `MatMul_1` or `aten::linear`."""
    words = {plain_word(word), plain_word(_without_number(word))}
    return "::" in word or not words.isdisjoint(_KNOWN)


def role_of(row: Measurement) -> Role:
    """What a row does, by the tool's own word, or else by its name (TensorRT gives no word)."""
    if row.kind:
        word = plain_word(row.kind)
        if word in FAMILIES:
            return "layer"
        return "conversion" if word in _CONVERSIONS else "other"
    if row.name.startswith(_REFORMATS) or _is_reformatter(row.name):
        return "conversion"
    words = {plain_word(_without_number(last_word(part))) for part in parts_of(row.name)}
    if words & set(FAMILIES):
        return "layer"
    if words and words <= _CONVERSIONS:
        return "conversion"
    return "other" if words and words <= _OTHERS | _CONVERSIONS else "unknown"


def _is_reformatter(name: str) -> bool:
    """TensorRT's `X input reformatter 0` and `X output reformatter 0`, and copies of a concatenation."""
    words = name.rsplit(" ", 3)
    reformats = len(words) == 4 and words[1] in ("input", "output") and words[2] == "reformatter"
    return reformats or name.endswith(" copy")


def _without_number(word: str) -> str:
    return word.rstrip("0123456789").rstrip("_") if "_" in word else word


def family_of_row(row: Measurement) -> Family | None:
    """The family of a row that multiplies; None where neither word nor name says it."""
    if row.kind:
        return FAMILIES.get(plain_word(row.kind))
    for part in parts_of(row.name):
        family = FAMILIES.get(plain_word(_without_number(last_word(part))))
        if family:
            return family
    return None


def family_of_layer(layer: LayerDescription) -> Family:
    """The family of a layer by its kind, and by its groups where it is a convolution."""
    if layer.kind.startswith("ConvTranspose"):
        return "transposed"
    if layer.kind.startswith("Conv"):
        groups = layer.groups or 1
        return "depthwise" if groups > 1 and groups == layer.in_channels else "convolution"
    if layer.kind.removesuffix("Cell") in ("RNN", "LSTM", "GRU"):
        return "recurrent"
    return "attention" if layer.kind == "Attention" else "product"


def may_compute(row: Family | None, layer: Family) -> bool:
    """Whether an operation of one family may be what computes a layer of another.

    Most tools have one word for convolutions, depthwise or not.
    """
    return row is None or row == layer or (row == "convolution" and layer == "depthwise")
