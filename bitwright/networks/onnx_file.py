"""Loading an ONNX file with the shapes of its tensors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bitwright.problems.errors import InputError, missing_dependency


def load_onnx(path: Path, shapes: Sequence[tuple[int, ...]]) -> Any:
    """The model of a file, with the shapes of all tensors as far as they can be inferred."""
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise missing_dependency("reading ONNX files", "onnx") from error
    try:
        model = onnx.load(str(path), load_external_data=False)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except Exception as error:  # whatever protobuf says of a file that is something else
        raise InputError(f"{path}: not an ONNX model: {type(error).__name__}") from error
    _set_shapes(model, path, shapes)
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    return inferred if _is_complete(inferred) else _with_computed_shapes(inferred)


def _is_complete(model: Any) -> bool:
    """Whether the shapes of all tensors are known in numbers."""
    known = {
        value.name
        for value in (*model.graph.value_info, *model.graph.output)
        if value.type.tensor_type.HasField("shape")
        and all(size.dim_value for size in value.type.tensor_type.shape.dim)
    }
    return all(name in known for node in model.graph.node for name in node.output if name)


def _with_computed_shapes(model: Any) -> Any:
    """Follow shapes that the file computes from others, by ONNX Runtime's inference where it is there."""
    try:
        from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference

        return SymbolicShapeInference.infer_shapes(model, auto_merge=True)
    except Exception:  # it gives up in many ways; what is missing is asked for by name later
        return model


def model_inputs(model: Any) -> list[Any]:
    """The inputs that are no constants."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in constants]


def _set_shapes(model: Any, path: Path, shapes: Sequence[tuple[int, ...]]) -> None:
    inputs = model_inputs(model)
    if len(shapes) > len(inputs):
        raise InputError(f"{path}: has {len(inputs)} inputs, got {len(shapes)} shapes")
    for value, shape in zip(inputs, shapes, strict=False):
        sizes = value.type.tensor_type.shape.dim
        if len(sizes) != len(shape):
            raise InputError(
                f"{path}: input {value.name!r} has {len(sizes)} dimensions, got {list(shape)}"
            )
        for place, size in zip(sizes, shape, strict=True):
            place.dim_value = size
    if shapes:
        del model.graph.value_info[:]  # what the file says of other inputs
        for output in model.graph.output:
            output.type.tensor_type.ClearField("shape")
    for value in inputs:
        sizes = value.type.tensor_type.shape.dim
        if any(not size.dim_value for size in sizes):
            named = [size.dim_value or size.dim_param or "?" for size in sizes]
            raise InputError(
                f"{path}: input {value.name!r} leaves its shape open, {named}; "
                "give one, such as --input 1,3,224,224"
            )


def attributes(node: Any) -> dict[str, Any]:
    """The attributes of a node by name."""
    from onnx.helper import get_attribute_value

    return {attribute.name: get_attribute_value(attribute) for attribute in node.attribute}
