"""Target platform capabilities of Sony's Model Compression Toolkit (MCT): a device of a JSON file.

The file is what `export_target_platform_capabilities` writes: the fields of the pydantic models in
model_compression_toolkit/target_platform_capabilities/schema/v2.py (schema 2; schema 1 has the same
fields where they are read here). Only weights named `kernel_attr` count as a layer's weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bitwright.cost_models.readers.files import read_profile_text
from bitwright.problems.device import ComputeType, Device, Support
from bitwright.problems.formats.json_text import Place, naming, parse_json
from bitwright.problems.precision import FLOAT_BITS, Precision

_SCHEMAS = (1, 2)
_KERNEL = "kernel_attr"
_SUPPORTED = "supported_input_activation_n_bits"
_ASSUMED = "in which type a precision is computed is assumed: the narrowest that holds both sides"
_CONVOLUTIONS = ("Conv1d", "Conv2d", "Conv3d")
_PRODUCTS = ("MatMul", "Attention")


@dataclass(frozen=True, slots=True)
class _OperatorSet:
    """Which layers an operator set of MCT means."""

    kinds: tuple[str, ...]
    depthwise: bool | None = None
    weights: bool = True


_SETS = {
    "Conv": _OperatorSet(_CONVOLUTIONS, depthwise=False),
    "DepthwiseConv2D": _OperatorSet(_CONVOLUTIONS, depthwise=True),
    "ConvTranspose": _OperatorSet(tuple(f"ConvTranspose{d}d" for d in (1, 2, 3))),
    "FullyConnected": _OperatorSet(("Linear",)),
    "MatMul": _OperatorSet(_PRODUCTS, weights=False),
}


def read_mct(path: str | Path) -> Device:
    """The device of a target platform file: which bits each kind of layer stores and reads.

    Weights in the bits of each configuration's kernel, or float where it does not quantize them;
    inputs in each of `supported_input_activation_n_bits`; the second operand of a product of
    activations in those of the first. A precision runs in the integer type of 8,
    16 or 32 bits that holds the wider side (the file does not say it), and in float32 where a side
    is float. Operator sets without layers of ours (pooling, activations) are passed over; layers
    of no set take the configuration by default. Raises `InputError` naming file and place.
    """
    source = str(path)
    document = Place(parse_json(read_profile_text(path), source), source)
    _require_schema(document)
    given = {name: options for name, options in _sets(document) if name in _SETS}
    if not given:
        document["operator_set"].fail(f"has none of {', '.join(sorted(_SETS))} with configurations")
    where = Path(path).name
    entries = [_support(_OperatorSet(()), document["default_qco"], f"default in {where}")]
    for name, options in _with_defaults(given, document["default_qco"]).items():
        meaning = _SETS[name]
        if name == "Conv" and "DepthwiseConv2D" not in given:
            meaning = replace(meaning, depthwise=None)
        entries.append(_support(meaning, options, f"{name} in {where}"))
    name = _name(document) or Path(path).stem
    types = {t for entry in entries for t in entry.runs_as.values()}
    with naming(source):
        return Device(
            name=name,
            title=f"{name}, read from a target platform file of MCT",
            compute_types=tuple(ComputeType(t, _computed_as(t)) for t in sorted(types)),
            support=tuple(entries),
            notes=(_ASSUMED,),
        )


def _require_schema(document: Place) -> None:
    if "operator_set" not in document or "default_qco" not in document:
        document.fail(
            "is no target platform file of MCT: it has no 'operator_set' and 'default_qco'"
        )
    version = _needed(document, "SCHEMA_VERSION")
    if version.integer() not in _SCHEMAS:
        version.fail(f"schemas 1 and 2 are read, got {version.integer()}")


def _name(document: Place) -> str:
    for key in ("name", "tpc_platform_type"):
        if key in document and document[key].value is not None:
            return document[key].text()
    return ""


def _sets(document: Place) -> list[tuple[str, Place]]:
    """The operator sets that have configurations, by name; a name is given once."""
    seen: set[str] = set()
    found = []
    for place in document["operator_set"].items():
        name = _needed(place, "name").text()
        if name in seen:
            place.fail(f"operator set {name!r} is given twice")
        seen.add(name)
        if "qc_options" in place and place["qc_options"].value is not None:
            found.append((name, place["qc_options"]))
    return found


def _with_defaults(given: Mapping[str, Place], default: Place) -> dict[str, Place]:
    """Products of activations, of which schema 2 has no operator set, take the default."""
    return {"MatMul": default, **given}


def _needed(place: Place, key: str) -> Place:
    return place[key] if key in place else place.fail(f"key {key!r} is missing")


def _support(meaning: _OperatorSet, options: Place, what: str) -> Support:
    """All that the configurations of one set allow."""
    configurations = _needed(options, "quantization_configurations")
    runs_as: dict[Precision, str] = {}
    for place in configurations.items():
        for precision in _precisions(place, meaning.weights):
            runs_as[precision] = _runs_as(precision)
    if not runs_as:
        configurations.fail("must not be empty")
    return Support(
        runs_as, meaning.kinds, meaning.depthwise, f"target platform file of MCT: {what}"
    )


def _precisions(place: Place, weighted: bool) -> Iterator[Precision]:
    """Bits of the kernel with each width that the input may have, which is written without a list, too.

    `activation_n_bits`, those of the output, stand for the input where the file does not say it.
    """
    mapping = _needed(place, "attr_weights_configs_mapping")
    inputs = _needed(place, _SUPPORTED if _SUPPORTED in place else "activation_n_bits")
    widths = inputs.items() if isinstance(inputs.value, list) else [inputs]
    if not widths:
        inputs.fail("must not be empty")
    for bits in map(_bits, widths):
        yield Precision(_weight_bits(mapping) if weighted else bits, bits)


def _weight_bits(attributes: Place) -> int:
    """Bits of the kernel; float where there is none, or where it is not quantized."""
    if _KERNEL not in attributes:
        return FLOAT_BITS
    kernel = attributes[_KERNEL]
    bits = _bits(_needed(kernel, "weights_n_bits"))
    quantized = _needed(kernel, "enable_weights_quantization").boolean()
    return bits if quantized else FLOAT_BITS


def _bits(place: Place) -> int:
    bits = place.integer()
    return bits if 1 <= bits <= FLOAT_BITS else place.fail(f"must be from 1 to {FLOAT_BITS}")


def _runs_as(precision: Precision) -> str:
    widest = max(precision.weight_bits, precision.activation_bits)
    if widest == FLOAT_BITS:
        return "float32"
    return "int8" if widest <= 8 else "int16" if widest <= 16 else "int32"


_TYPES: Mapping[str, int] = {"int8": 8, "int16": 16, "int32": 32, "float32": FLOAT_BITS}


def _computed_as(name: str) -> Precision:
    return Precision(_TYPES[name], _TYPES[name])
