"""The grids of a quantized model in plain numbers."""

from __future__ import annotations

from torch import nn

from bitwright.problems.formats.bits_yaml import GridFigures, LayerGrids
from bitwright.quantization.apply import applied_quantizers
from bitwright.quantization.grids import QuantizationGrid
from bitwright.quantization.quantizers import Quantizer


def grid_figures(model: nn.Module) -> dict[str, LayerGrids]:
    """The grids at work on every layer of a quantized model; casts have none."""
    return {
        name: LayerGrids(_figures(found.weight), _figures(found.input))
        for name, found in applied_quantizers(model).items()
    }


def _figures(quantizer: Quantizer | None) -> GridFigures | None:
    grid = getattr(quantizer, "grid", None)
    if not isinstance(grid, QuantizationGrid):
        return None
    return GridFigures(
        tuple(grid.scale.detach().flatten().tolist()),
        tuple(grid.zero_point.detach().int().flatten().tolist()),
        grid.quant_min,
        grid.quant_max,
        grid.channel_axis,
    )
