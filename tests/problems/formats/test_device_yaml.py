"""Device files: what is written reads back, ranges of bits are what they say, mistakes are one line."""

from __future__ import annotations

from fractions import Fraction

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bitwright.problems import InputError, Precision
from bitwright.problems.device import ComputeType, Device, Figure, Memory, Support
from bitwright.problems.formats.device_yaml import device_from_yaml, device_to_yaml

LETTERS = st.characters(codec="utf-8", categories=["L", "N", "P", "S"])
WORDS = st.lists(st.text(LETTERS, min_size=1, max_size=6), min_size=1, max_size=3).map(" ".join)
FIGURES = st.builds(
    Figure, st.builds(lambda a, b: Fraction(a, 10**b), st.integers(0, 10**15), st.integers(0, 9)), WORDS
)  # fmt: skip
PRECISIONS = st.builds(
    Precision, st.integers(1, 32), st.integers(1, 32), st.sampled_from(("", "float", "svd-3"))
)


@st.composite
def devices(draw) -> Device:
    """Any device, with one entry per kind so that none contradicts another."""
    names = draw(st.lists(WORDS, min_size=1, max_size=3, unique=True))
    types = [
        ComputeType(
            name,
            draw(st.none() | PRECISIONS),
            draw(st.sampled_from(("fixed", "bit_serial", "weight_serial", "bit_fusion"))),
            draw(st.none() | FIGURES),
            draw(st.none() | FIGURES),
        )
        for name in names
    ]
    runs_as = st.dictionaries(PRECISIONS, st.sampled_from(names), min_size=1, max_size=5)
    kinds = draw(st.lists(WORDS, max_size=3, unique=True))
    support = [Support(draw(runs_as), source=draw(st.just("") | WORDS))]
    for kind in kinds:
        support.append(Support(draw(runs_as), (kind,), draw(st.none() | st.booleans())))
    memories = [
        Memory(name, *(draw(st.none() | FIGURES) for _ in range(3)))
        for name in draw(st.lists(WORDS, max_size=2, unique=True))
    ]
    notes = draw(st.lists(WORDS, max_size=2))
    return Device(
        draw(WORDS), draw(WORDS), types, support, memories, draw(st.none() | FIGURES), notes
    )


@given(devices())
@settings(max_examples=60, deadline=None)
def test_round_trip(device):
    """Every figure comes back to the last digit, every word as it was."""
    assert device_from_yaml(device_to_yaml(device), "d.yaml") == device


def document(**changes) -> str:
    """A small device as YAML; a change replaces a top-level key."""
    figure = {"value": "6e9", "source": "a data sheet"}
    return yaml.safe_dump(
        {
            "format": "bitwright-device/1",
            "name": "board",
            "title": "A board",
            "compute_types": [{"name": "int8", "precision": "w8a8", "macs_per_second": figure}],
            "support": [{"runs_as": {"w8a8": "int8"}}],
        }
        | changes
    )


def test_figures_are_exact_as_written():
    """`6e9`, which YAML 1.1 reads as text, is the number; no float comes between."""
    device = device_from_yaml(document(), "d.yaml")
    figure = device.compute_types[0].macs_per_second
    assert figure == Figure(Fraction(6 * 10**9), "a data sheet")
    text = document(layer_overhead_us={"value": "0.1", "source": "s"})
    assert device_from_yaml(text, "d.yaml").layer_overhead_us == Figure(Fraction(1, 10), "s")


@pytest.mark.parametrize(
    ("label", "weights", "activations", "variant"),
    [
        ("w1..8a2..4", range(1, 9), range(2, 5), ""),
        ("w3a5..6", [3], [5, 6], ""),
        ("w2..2a8-svd-4", [2], [8], "svd-4"),
        ("w16a16-float", [16], [16], "float"),
    ],
)
def test_a_range_stands_for_all_its_precisions(label, weights, activations, variant):
    """Both ends are included."""
    device = device_from_yaml(document(support=[{"runs_as": {label: "int8"}}]), "d.yaml")
    expected = {Precision(w, a, variant) for w in weights for a in activations}
    assert set(device.support[0].runs_as) == expected


def support(runs_as, **keys):
    return document(support=[{"runs_as": runs_as} | keys])


def figure(**keys):
    return document(memories=[{"name": "m", "size_bytes": keys}])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "d.yaml: must be an object, got null"),
        ("[1]", "d.yaml: must be an object"),
        ("{\"format\": \"bitwright-problem/1\"}", "is a problem (bitwright-problem/1), where bitwright-device/1 is needed"),
        (document(format="bitwright-device/2"), "d.yaml: format: 'bitwright-device/2' is unknown"),
        (document(nmae="x"), "unknown key 'nmae'; did you mean 'name'"),
        (document(name=["x"]), "d.yaml: name: must be a string"),
        (document(support="w8a8"), "d.yaml: support: must be a list"),
        (document(support=[]), "needs one entry of supported operations"),
        (support({}), "support[0]: an entry of supported operations needs one precision"),
        (support({"w8a8": "int9"}), "runs as unknown compute type 'int9'; did you mean 'int8'"),
        (support({"w8": "int8"}), "support[0].runs_as: a precision is written like 'w4a8' or 'w1..8a1..8', got 'w8'"),
        (support({"w8..1a8": "int8"}), "bits go from the fewest to the most, got 'w8..1a8'"),
        (support({"w1..33a8": "int8"}), "weight_bits must be an integer from 1 to 32, got 33"),
        (support({"w0a8": "int8"}), "must be an integer from 1 to 32, got 0"),
        (support({"w1..8a8": "int8", "w4a8": "int8"}), "w4a8 is given twice, the second time by 'w4a8'"),
        (support({"w8a8": "int8"}, kinds=[]), "support[0].kinds: must name one kind or more"),
        (support({"w8a8": "int8"}, depthwise="maybe"), "support[0].depthwise: 'maybe' is unknown"),
        (document(compute_types=[{"name": "int8", "scaling": "serial"}]), "compute_types[0].scaling: 'serial' is unknown; did you mean 'bit_serial'"),
        (document(compute_types=[{"name": "int8", "precision": "8"}]), "compute_types[0].precision: a precision is written like"),
        (document(compute_types=[{"name": "int8"}, {"name": "int8"}]), "compute type 'int8' is given twice"),
        (figure(value="1"), "memories[0].size_bytes: key 'source' is missing"),
        (figure(value="many", source="s"), "memories[0].size_bytes.value: must be a number, got 'many'"),
        (figure(value="nan", source="s"), "must be finite"),
        (figure(value="1e999999999", source="s"), "must be below"),
        (figure(value="-1", source="s"), "memories[0].size_bytes: a figure of a device must not be negative"),
        (figure(value="1", source=" "), "memories[0].size_bytes: a figure of a device needs its source"),
        (document() + "name: again\n", "key 'name' is given twice"),
    ],
)  # fmt: skip
def test_bad_files(text, message):
    """Every mistake names the file once, the place, the rule and the value, in one line."""
    with pytest.raises(InputError) as error:
        device_from_yaml(text, "d.yaml")
    assert message in str(error.value)
    assert str(error.value).count("d.yaml: ") == 1
    assert "\n" not in str(error.value)


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
@settings(max_examples=100, deadline=None)
def test_any_text_is_a_device_or_an_error(text):
    """Nothing but `InputError` comes out of a broken file."""
    with pytest.raises(InputError):
        device_from_yaml(text, "d.yaml")


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_damaged_file_is_a_device_or_an_error(data):
    """So is every file that was cut, or in which characters were changed."""
    text = document(memories=[{"name": "m", "size_bytes": {"value": "5", "source": "s"}}])
    at = data.draw(st.integers(0, len(text)))
    middle = data.draw(st.text(max_size=3))
    rest = data.draw(st.sampled_from((text[at:], text[at + 1 :], "")))
    try:
        message = device_from_yaml(text[:at] + middle + rest, "d.yaml").title
    except InputError as error:
        message = str(error)
    assert "\n" not in message
