"""What a device stores, and what it runs as: entries by kind, forms of precisions, checks at birth."""

from __future__ import annotations

import pickle
from fractions import Fraction

import pytest

from bitwright.problems import InputError, LayerDescription, Precision
from bitwright.problems.device import (
    ComputeType,
    Device,
    Figure,
    Memory,
    Support,
    is_depthwise,
)

INT8, FLOAT = ComputeType("int8", Precision(8, 8)), ComputeType("float32", Precision(32, 32))
SERIAL = ComputeType("serial", scaling="bit_serial")


def labels(**runs_as: str) -> dict[Precision, str]:
    return {Precision.parse(label): name for label, name in runs_as.items()}


BOARD = Device(
    "board",
    "A board",
    (INT8, FLOAT, SERIAL),
    (
        Support(labels(w8a8="int8", w4a8="int8", w32a32="float32")),
        Support(labels(w8a8="int8"), ("Conv2d", "Conv1d"), depthwise=True),
        Support(labels(w8a8="int8", w2a8="int8"), ("Conv2d",), depthwise=False),
        Support(labels(w1a8="serial", w3a8="serial"), ("Linear",)),
    ),
)


def layer(kind: str, groups: int | None = 1, channels: int = 4) -> LayerDescription:
    return LayerDescription(
        "x", kind, 8, 8, (1, channels, 4, 4), (1, 4, 4, 4), in_channels=channels, groups=groups
    )


@pytest.mark.parametrize(
    ("what", "stored"),
    [
        (layer("Conv2d", groups=4), "w8a8"),
        (layer("Conv2d", groups=2), "w2a8 w8a8"),
        (layer("Conv2d"), "w2a8 w8a8"),
        (layer("Conv2d", channels=1), "w2a8 w8a8"),
        (layer("Conv1d", groups=4), "w8a8"),
        (layer("Conv1d"), ""),
        (layer("Linear", groups=None), "w1a8 w3a8"),
        (layer("LSTM", groups=None), "w4a8 w8a8 w32a32"),
    ],
)
def test_the_entry_of_a_kind_is_for_it_alone(what, stored):
    """A kind that is named has its entries and none of the others', whole or by depthwise."""
    found = BOARD.storable(what.kind, depthwise=is_depthwise(what))
    assert " ".join(p.label for p in sorted(found)) == stored
    for weight_bits in range(1, 33):
        precision = Precision(weight_bits, 8 if weight_bits < 32 else 32)
        assert BOARD.layer_runs_as(what, precision) == found.get(precision)


@pytest.mark.parametrize(
    ("kind", "label", "name", "listed"),
    [
        ("LSTM", "w4a8", "int8", "w8a8"),
        ("LSTM", "w4a8-hybrid", "int8", "w8a8-hybrid"),
        ("LSTM", "w4a8-svd-3+integer", "int8", "w8a8-svd-3+integer"),
        ("LSTM", "w32a32", "float32", "w32a32"),
        ("Linear", "w3a8", "serial", "w3a8"),
        ("Linear", "w3a8-svd-2", "serial", "w3a8-svd-2"),
        ("Linear", "w4a8", None, None),
        ("LSTM", "w16a16-float", None, None),
        ("LSTM", "w8a8-nf8", None, None),
    ],
)
def test_tables_list_what_a_precision_runs_as(kind, label, name, listed):
    """Forms go with the plain precision; other variants are types of their own."""
    precision = Precision.parse(label)
    assert BOARD.runs_as(kind, precision) == name
    expected = None if listed is None else Precision.parse(listed)
    assert BOARD.table_precision(kind, precision) == expected


def test_without_a_kind_any_entry_counts_and_the_general_one_speaks_first():
    """`anywhere` knows a precision exactly where some kind of layer does."""
    for weight_bits in range(1, 9):
        for activation_bits in (4, 8):
            precision = Precision(weight_bits, activation_bits)
            some = any(precision in entry.runs_as for entry in BOARD.support)
            assert (BOARD.anywhere(precision) is not None) == some
    two = Device(
        "d",
        "D",
        (INT8, FLOAT),
        (Support(labels(w8a8="float32"), ("Linear",)), Support(labels(w8a8="int8"))),
    )
    assert two.anywhere(Precision(8, 8)) == "int8"
    assert two.anywhere(Precision(8, 8, "integer")) == "int8"


def test_a_device_is_a_value():
    """Equal by value, and it survives pickling."""
    assert pickle.loads(pickle.dumps(BOARD)) == BOARD


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Device("d", "D", (INT8, INT8), BOARD.support), "compute type 'int8' is given twice"),
        (lambda: Device("d", "D", (INT8,), (Support(labels(w8a8="int9")),)), "w8a8 runs as unknown compute type 'int9'; did you mean 'int8'"),
        (lambda: Device("", "D", (INT8,), (Support(labels(w8a8="int8")),)), "a device needs a name and a title"),
        (lambda: Device("d\x1b[31m", "D", (INT8,), BOARD.support), "names of a device are one line of printable text, got 'd\\x1b[31m'"),
        (lambda: Device("d", "two\nlines", (INT8,), BOARD.support), "printable text, got 'two\\nlines'"),
        (lambda: Device("d", "D", (INT8,), ()), "needs one entry of supported operations"),
        (lambda: Device("d", "D", (INT8,), (Support(labels(w8a8="int8")),), (Memory("m"), Memory("m"))), "memory 'm' is given twice"),
        (lambda: Device("d", "D", (INT8,), (Support(labels(w8a8="int8")),) * 2), "w8a8 is given twice for every other kind"),
        (lambda: Device("d", "D", (INT8,), (Support(labels(w8a8="int8"), ("A", "B")), Support(labels(w8a8="int8"), ("B",), True))), "w8a8 is given twice for B"),
        (lambda: BOARD.compute_type("int9"), "has no compute type 'int9'; did you mean 'int8'"),
        (lambda: Support({}), "needs one precision or more"),
        (lambda: ComputeType("x", scaling="serial"), "unknown scaling 'serial'; did you mean 'bit_serial'"),
        (lambda: ComputeType(""), "a compute type needs a name"),
        (lambda: Figure(Fraction(-1), "x"), "must not be negative, got -1"),
        (lambda: Figure(Fraction(1), " "), "a figure of a device needs its source"),
    ],
)  # fmt: skip
def test_what_breaks_a_rule_is_refused(make, message):
    """One line with the thing, the rule and the value."""
    with pytest.raises(InputError) as error:
        make()
    assert message in str(error.value)


def test_depthwise_entries_stand_side_by_side():
    """The same precision for depthwise and for other convolutions is no repetition."""
    both = (Support(labels(w8a8="int8"), ("C",), flag) for flag in (True, False))
    assert Device("d", "D", (INT8,), tuple(both)).storable("C", depthwise=True)
