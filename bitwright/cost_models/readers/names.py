"""The names that tools give to steps of a network, taken apart: which modules or nodes they speak of.

Everything here takes time proportional to the length of a name, whoever made it up.
"""

from __future__ import annotations

from collections.abc import Iterator

_SEPARATORS = (" || ", ", ", ";")
_SUFFIXES = (
    "_nchwc", "_nhwc", "_quant", "_fused", "/WithoutBiases", ".weight_quantized", ".weight", ".bias",
    "_weight_quantized", "_quantized", "/fq_weights_1", "/fq_input_0",
)  # fmt: skip
_NUMBERED = ("_token_", "_output_")
_FOREIGN, _END = "{ForeignNode[", "]}"


def parts_of(name: str) -> tuple[str, ...]:
    """The names that a fused name is made of, as the tool wrote them.

    TensorRT writes `conv + relu`, `a || b` for layers run side by side, `PWN(...)` around pointwise
    operations; Torch-TensorRT `[CONVOLUTION]-[aten_ops.convolution.default]-[/features/0/conv]`;
    TensorFlow Lite `[a;b;c]:0`.

    >>> parts_of("conv1.weight + /conv1/Conv + PWN(/act/Sigmoid, /act/Mul)")
    ('conv1.weight', '/conv1/Conv', '/act/Sigmoid', '/act/Mul')
    >>> parts_of("[model/conv1/Relu;model/conv1/Conv2D]:3")
    ('model/conv1/Relu', 'model/conv1/Conv2D')
    """
    text = name
    for separator in _SEPARATORS:
        text = text.replace(separator, " + ")
    parts = (_bare(part) for part in text.replace("PWN(", "").split(" + "))
    return tuple(part for part in parts if part)


def _bare(part: str) -> str:
    part = part.strip()
    if part.startswith("(Unnamed Layer*"):
        return ""
    part = part.rstrip(")")
    if "]-[" in part:  # Torch-TensorRT: the module's place comes last
        return part.rpartition("]-[")[2].rstrip("]")
    head, colon, number = part.rpartition(":")
    if colon and number.isdecimal():
        part = head
    return part.strip("[]")


def foreign_ends(name: str) -> tuple[str, str] | None:
    """First and last name of a region that TensorRT left to its compiler: `{ForeignNode[a...b]}`."""
    start, end = name.find(_FOREIGN), name.rfind(_END)
    if start < 0 or end < start:
        return None
    first, dots, last = name[start + len(_FOREIGN) : end].partition("...")
    return (first, last) if dots else (first, first)


def stripped(part: str) -> str:
    """A name without what optimizers and exporters append to it.

    >>> stripped("/layer1/layer1.0/conv1/Conv_output_0_nchwc")
    '/layer1/layer1.0/conv1/Conv'
    >>> stripped("conv1_quant_token_12")
    'conv1'
    """
    while True:
        before = part
        for suffix in _SUFFIXES:
            part = part.removesuffix(suffix)
        bare = part.rstrip("0123456789")
        for mark in _NUMBERED:
            if bare != part and bare.endswith(mark):
                part = bare.removesuffix(mark)
        if part == before or not part:
            return part or before


def last_word(part: str) -> str:
    """The last step of a path: the operation, in names of ONNX and TensorFlow.

    >>> last_word("/layer1/layer1.0/conv1/Conv_output_0")
    'Conv'
    """
    return stripped(part).rpartition("/")[2]


def steps_of(part: str) -> list[str]:
    """The modules on the way to a part of the network, the operation included.

    PyTorch's exporters name each module by its attribute, those in a `Sequential` once more with the
    attribute in front.

    >>> steps_of("/features/features.1/block/block.0/block.0.2/Relu")
    ['features.1', 'block.0.2', 'Relu']
    """
    steps: list[str] = []
    for step in stripped(part).removeprefix("__module.").split("/"):
        if steps and step.startswith(f"{steps[-1]}."):
            steps[-1] = step
        elif step:
            steps.append(step)
    return steps


def canonical(path: str) -> str:
    """A name with one separator and one case, for tools that allow neither dots nor slashes."""
    return path.replace(".", "_").replace("/", "_").lower()


def endings(path: str) -> Iterator[str]:
    """A dotted name, and what is left of it without its first step, its first two, and so on.

    No more than the last 20 steps are looked at.

    >>> list(endings("model.layer1.conv"))
    ['model.layer1.conv', 'layer1.conv', 'conv']
    """
    steps = path.split(".")
    for start in range(max(0, len(steps) - 20), len(steps)):
        yield ".".join(steps[start:])
