"""TensorRT's layer precisions, by the grammar of `trtexec --help`."""

import pytest

from bitwright.problems import InputError, Precision
from bitwright.problems.formats.tensorrt import tensorrt_arguments, tensorrt_precision


@pytest.mark.parametrize(
    ("label", "kind"),
    [("w2a8", "int8"), ("w8a8", "int8"), ("w16a16-float", "fp16"), ("w8a16-float", "fp16"),
     ("w16a16-bfloat", "bf16"), ("w16a16", "fp32"), ("w8a32", "fp32"), ("w32a32", "fp32")],
)  # fmt: skip
def test_types(label, kind):
    """Integers of up to 8 bits are int8, casts their type; what TensorRT has no type for is fp32."""
    assert tensorrt_precision(Precision.parse(label)) == kind


def test_arguments():
    """A flag for each type in use, obedience, and `layer:type` pairs behind commas, in order."""
    text = tensorrt_arguments({"stem": Precision(8, 8), "b.0": Precision(16, 16, "float"), "fc": Precision(32, 32)})  # fmt: skip
    assert text.splitlines() == [
        "--int8",
        "--fp16",
        "--precisionConstraints=obey",
        "--layerPrecisions=stem:int8,b.0:fp16,fc:fp32",
    ]


@pytest.mark.parametrize("name", ["a:b", "a,b", "a b", "a*", "'a'"])
def test_names_that_would_be_read_otherwise(name):
    """A name with a sign of the grammar is refused."""
    with pytest.raises(InputError, match="trtexec takes no name with such characters"):
        tensorrt_arguments({name: Precision(8, 8)})
