"""Bits as YAML: what is written reads back, and everything else is refused with one line."""

from __future__ import annotations

import pytest
import yaml

from bitwright.problems import BitConfiguration, InputError, Precision
from bitwright.problems.formats.bits_yaml import (
    Bits,
    GridFigures,
    LayerGrids,
    bits_from_yaml,
    bits_to_yaml,
)

BITS = Bits(
    "net",
    BitConfiguration(
        {
            "0": Precision(4, 8),
            "head": Precision(16, 16, "float"),
            "fc": Precision(32, 32),
            "factors": Precision(4, 8, "svd-2+integer"),
        }
    ),
    {
        "0": LayerGrids(
            GridFigures((0.1, 1e-30, 3.4e38), (0, 0, 0), -7, 7, 0),
            GridFigures((1 / 3,), (12,), 0, 255),
        ),
        "factors": LayerGrids(
            left=GridFigures((0.5, 0.25, 2.0), (0, 0, 0), -7, 7, 0),
            right=GridFigures((0.5, 0.75), (0, 0), -7, 7, 0),
            output=GridFigures((0.125,), (3,), 0, 255),
        ),
    },
)


def test_round_trip():
    """Configuration and scales come back to the last digit, and plain YAML readers see them too."""
    text = bits_to_yaml(BITS)
    assert bits_from_yaml(text, "b.yaml") == BITS
    assert yaml.safe_load(text)["layers"]["0"]["weight"]["scale"] == [0.1, 1e-30, 3.4e38]


def document(**changes):
    grid = {"scale": [0.5], "zero_point": [1], "quant_min": 0, "quant_max": 15}
    layer = {"weight_bits": 4, "activation_bits": 4, "input": grid} | changes
    return yaml.safe_dump({"format": "bitwright-bits/1", "network": "n", "layers": {"fc": layer}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "b.yaml: not valid YAML"),
        ("format: bitwright-bits/1\nformat: x", "key 'format' is given twice"),
        ("format: bitwright-bits/2\nnetwork: n\nlayers: {}", "b.yaml: format: 'bitwright-bits/2' is unknown"),
        (document(weight_bits=0), "layers.fc: weight_bits must be an integer from 1 to 32, got 0"),
        (document(activation_bits="8"), "layers.fc.activation_bits: must be an integer"),
        (document(wieght=1), "layers.fc: unknown key 'wieght'; did you mean 'weight'"),
        (document(input={"scale": [1], "zero_point": [0], "quant_min": 0}), "input: key 'quant_max' is missing"),
        (document(input={"scale": [0.0], "zero_point": [0], "quant_min": 0, "quant_max": 1}), "a scale must be a finite number above 0"),
        (document(input={"scale": [True], "zero_point": [0], "quant_min": 0, "quant_max": 1}), "must be a number, got True"),
        (document(input={"scale": [1, 2], "zero_point": [0, 0], "quant_min": 0, "quant_max": 1}), "2 scales need a channel_axis"),
        (document(input={"scale": [1], "zero_point": [0, 0], "quant_min": 0, "quant_max": 1}), "as many zero points as scales"),
        (document(input={"scale": [1], "zero_point": [0], "quant_min": 1, "quant_max": 1}), "quant_min must be below quant_max"),
    ],
)  # fmt: skip
def test_bad_files(text, message):
    """Every mistake is one line that names file and place."""
    with pytest.raises(InputError) as error:
        bits_from_yaml(text, "b.yaml")
    assert message in str(error.value)
    assert str(error.value).startswith("b.yaml: ")
