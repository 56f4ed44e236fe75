"""Target platform files of MCT as devices: which kinds store which bits, and what runs as what."""

import json
from pathlib import Path

import pytest

from bitwright.cost_models.readers import read_mct
from bitwright.problems import InputError, Precision

from . import files


def write(path, document):
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def labels(device, kind, **options):
    return {p.label for p in device.storable(kind, **options)}


@pytest.mark.parametrize("version", [1, 2])
def test_operator_sets_become_kinds_of_layers(tmp_path, version):
    """Bits of kernels and inputs per kind, depthwise apart; activations and pooling are passed over."""
    document = {**files.IMX, "SCHEMA_VERSION": version}
    device = read_mct(write(tmp_path / "tpc.json", document))
    assert device.name == "imx500_tp_model"
    assert labels(device, "Conv2d") == {"w8a8", "w4a8", "w2a8"}
    assert labels(device, "Conv2d", depthwise=True) == {"w8a8", "w8a16"}
    assert labels(device, "Linear") == {"w8a8", "w32a8"}  # the second does not quantize its kernel
    # By the default: no set of schema 2 is for products.
    assert labels(device, "MatMul") == {"w8a8"}
    assert labels(device, "LSTM") == {"w32a8"}


def test_a_precision_runs_in_the_type_that_holds_it(tmp_path):
    """Weights of 2 and 4 bits run as int8 and are looked up there; 16 bits of inputs as int16."""
    device = read_mct(write(tmp_path / "tpc.json", files.IMX))
    assert device.runs_as("Conv2d", Precision(2, 8)) == "int8"
    assert device.table_precision("Conv2d", Precision(4, 8)) == Precision(8, 8)
    assert device.runs_as("Conv2d", Precision(8, 16), depthwise=True) == "int16"
    assert device.runs_as("Conv2d", Precision(3, 8)) is None
    assert device.runs_as("Linear", Precision(32, 8)) == "float32"


def test_conv_without_a_depthwise_set_is_both(tmp_path):
    """Where the file tells depthwise convolutions apart by nothing, they are convolutions."""
    device = read_mct(write(tmp_path / "tpc.json", files.mct(Conv=[(4, True, [8])])))
    assert labels(device, "Conv2d", depthwise=True) == labels(device, "Conv2d") == {"w4a8"}


def test_a_name_is_found(tmp_path):
    """Without a name the platform's type is one, and without that the file's."""
    document = {**files.IMX, "name": None}
    assert read_mct(write(tmp_path / "board.json", document)).name == "imx500"
    document["tpc_platform_type"] = None
    assert read_mct(write(tmp_path / "board.json", document)).name == "board"


def changed(path, value):
    """The document with one value changed, or taken away."""
    document = json.loads(files.MCT)
    *steps, last = path
    inner = document
    for step in steps:
        inner = inner[step]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return json.dumps(document)


CONV = ("operator_set", 1, "qc_options", "quantization_configurations")
KERNEL = (*CONV, 0, "attr_weights_configs_mapping", "kernel_attr")
WHERE = r"operator_set\[1\]\.qc_options\.quantization_configurations"
BROKEN = {
    "a list": ("[]", "must be an object"),
    "a profile": (files.TRTEXEC, "must be an object"),
    "another file": ('{"a": 1}', "no target platform file of MCT"),
    "no schema": (changed(["SCHEMA_VERSION"], None), "'SCHEMA_VERSION' is missing"),
    "new schema": (changed(["SCHEMA_VERSION"], 3), "SCHEMA_VERSION: schemas 1 and 2 are read, got 3"),
    "sets no list": (changed(["operator_set"], {}), "operator_set: must be a list"),
    "no sets": (changed(["operator_set"], []), "operator_set: has none of Conv"),
    "set without name": (changed(["operator_set", 1, "name"], None), r"operator_set\[1\]: key 'name'"),
    "set twice": (changed(["operator_set", 2, "name"], "Conv"), r"\[2\]: operator set 'Conv' is given"),
    "no configuration": (changed(CONV, []), f"{WHERE}: must not be empty"),
    "no kernel bits": (changed([*KERNEL, "weights_n_bits"], None), "'weights_n_bits' is missing"),
    "text": (changed([*KERNEL, "weights_n_bits"], "4"), r"kernel_attr\.weights_n_bits: must be an int"),
    "no bits": (changed([*KERNEL, "weights_n_bits"], 0), "weights_n_bits: must be from 1 to 32"),
    "too many": (changed([*CONV, 0, "supported_input_activation_n_bits"], [8, 64]), r"\[1\]: must be from"),
    "no inputs": (changed([*CONV, 0, "supported_input_activation_n_bits"], []), "must not be empty"),
    "odd flag": (changed([*KERNEL, "enable_weights_quantization"], 1), "must be true or false"),
    "cut": (files.MCT[:700], "not valid JSON"),
    "empty": ("", "the file is empty"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "message"), BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_read_is_explained_in_one_line(tmp_path, content, message):
    """Every broken file raises one line that names the file, the place and the rule."""
    path = write(tmp_path / "tpc.json", content)
    with pytest.raises(InputError, match=message) as caught:
        read_mct(Path(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).isprintable()
