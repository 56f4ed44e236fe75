"""Packed codes against onnx's own reader."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from bitwright.problems import InputError
from bitwright.problems.storage import packed_bytes, stored_bits
from bitwright.quantization.export.types import SIGNED, UNSIGNED, integer_type, raw_bytes


@pytest.mark.parametrize("kind", [*UNSIGNED.values(), *SIGNED.values()], ids=lambda kind: kind.name)
@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13])
def test_codes_read_back(kind, count):
    """onnx reads the codes that were packed, at any length, in as many bytes as `packed_bytes` says."""
    codes = np.random.default_rng(count).integers(kind.low, kind.high + 1, count)
    codes[0] = kind.low
    data = raw_bytes(codes, kind)
    tensor = onnx.TensorProto(
        data_type=getattr(onnx.TensorProto, kind.name), dims=[count], raw_data=data
    )
    assert onnx.numpy_helper.to_array(tensor).astype(int).tolist() == codes.tolist()
    assert len(data) == packed_bytes(count, kind.bits)


@pytest.mark.parametrize("bits", range(2, 17))
def test_the_narrowest_type(bits):
    """Codes of every width go into the type that is called the stored width."""
    top = 2 ** (bits - 1) - 1
    assert integer_type(-top, top, "fc").bits == stored_bits(bits)
    assert integer_type(0, 2**bits - 1, "fc").bits == stored_bits(bits)


def test_more_than_sixteen_bits():
    """Wider codes have no type: an error with the layer and its bits."""
    with pytest.raises(InputError, match=r"layer 'fc': .* take 17 bits"):
        integer_type(0, 2**17 - 1, "fc")
    with pytest.raises(InputError, match="17 bits"):
        stored_bits(17)
