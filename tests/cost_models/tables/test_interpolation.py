"""Estimates between measured operations: against laws that are known, and refused where they would be guesses."""

import math
import re
from dataclasses import replace
from fractions import Fraction

import pytest

from bitwright.cost_models import CostTable, tabulate
from bitwright.problems import FLOAT32, InputError, NetworkDescription
from bitwright.problems.operation import operation_key

from .boards import OPERATION, W4A8, W8A8, board, by_layer, conv, row

CHANNELS, SIDES = (8, 16, 32, 64), (7, 14, 28)


def macs(layer):
    return layer.macs


def elements(layer):
    """Input, weights and output of a convolution that keeps its size."""
    return math.prod(layer.input_shape) + layer.parameters + math.prod(layer.output_shape)


def power_law(layer):
    return 0.001 * macs(layer) ** 0.8 * elements(layer) ** 0.15


def roofline(layer):
    """Compute or memory, whichever is slower, and a start: no power law, but monotone."""
    return 2 + max(macs(layer) / 5000, elements(layer) / 800)


def table(tmp_path, law, precisions=(W8A8,), but=()):
    """All squares of `CHANNELS` on `SIDES` but some, each costing what the law says."""
    layers = [conv("x", c, c, side) for c in CHANNELS for side in SIDES if (c, side) not in but]
    rows = [
        row(operation_key(la), p, f"{law(la) * (1 if p == W8A8 else 100):.6f}")
        for la in layers
        for p in precisions
    ]
    path = tmp_path / "t.csv"
    path.write_text("\n".join([OPERATION, *rows]))
    return path


def test_a_power_law_is_met(tmp_path):
    """Where costs follow a power of multiply-adds and elements, estimates are right to three digits."""
    model = CostTable(file=table(tmp_path, power_law), interpolate=True)
    for channels, side in ((12, 14), (24, 20), (48, 9)):
        layer = conv("new", channels, channels, side)
        assert float(model.cost(layer, W8A8)) == pytest.approx(power_law(layer), rel=1e-3)
        assert model.source(layer, W8A8).interpolated


def test_what_was_measured_stays_as_measured(tmp_path):
    """An operation with a row has its figure and no mark, whether or not interpolation is on."""
    path = table(tmp_path, roofline)
    plain, estimating = CostTable(file=path), CostTable(file=path, interpolate=True)
    layer = conv("known", 16, 16, 14)
    assert plain.cost(layer, W8A8) == estimating.cost(layer, W8A8)
    assert not estimating.source(layer, W8A8).interpolated
    with pytest.raises(InputError, match="no row for layer 'new'"):
        plain.cost(conv("new", 24, 24, 14), W8A8)


def test_the_stated_error_is_that_of_rows_left_out(tmp_path):
    """The notes count and list estimates, with the error of every inner row that the others estimate."""
    squares = [(c, side) for c in CHANNELS for side in SIDES]
    errors = []
    for left_out in squares:
        model = CostTable(file=table(tmp_path, roofline, but=[left_out]), interpolate=True)
        layer = conv("new", left_out[0], left_out[0], left_out[1])
        try:
            errors.append(abs(float(model.cost(layer, W8A8)) / roofline(layer) - 1))
        except InputError:  # the smallest and the largest, which the others do not cover
            assert left_out in (squares[0], squares[-1])
    assert len(errors) == len(squares) - 2
    mean = sum(errors) / len(errors)
    layer = conv("new", 24, 24, 14)
    network = NetworkDescription("n", (layer, conv("known", 16, 16, 14)))
    models = [CostTable(file=table(tmp_path, roofline), interpolate=True)]
    costs = tabulate(network, dict.fromkeys(network.names, (W8A8,)), models)
    (note,) = [note for note in costs.notes["latency_us"] if "interpolated" in note]
    assert note.startswith("1 of 2 figures are interpolated (off by up to ")
    assert note.endswith(": new at w8a8")
    assert int(re.search(r"(\d+)%", note)[1]) == pytest.approx(100 * mean, abs=0.6)
    assert 0.01 < mean < 0.25
    source = costs.sources["latency_us"]["new"][W8A8]
    amount = float(costs.of["new"][W8A8]["latency_us"])
    assert source.spread == pytest.approx(amount * mean, rel=1e-2)


def test_estimates_never_cross_types(tmp_path):
    """Rows of float32 alone give no figure for int8, and those of int8 are estimated among themselves."""
    new = conv("new", 24, 24, 14)
    floats = CostTable(file=table(tmp_path, power_law, (FLOAT32,)), interpolate=True)
    with pytest.raises(InputError, match="there are Conv2d at w8a8: none"):
        floats.cost(new, W8A8)
    both = CostTable(file=table(tmp_path, power_law, (W8A8, FLOAT32)), interpolate=True)
    assert float(both.cost(new, FLOAT32) / both.cost(new, W8A8)) == pytest.approx(100, rel=1e-3)


def test_rows_that_ran_as_another_type_are_left_out(tmp_path):
    """Where 8 bits ran as float32 here and there, the type that the device says decides, or the frequent one."""
    lines = table(tmp_path, power_law).read_text().splitlines()
    path, new = tmp_path / "t.csv", conv("new", 24, 24, 14)
    ran = [f"{line},{'float32' if ',64,64,' in line else 'int8'}" for line in lines[1:]]
    slow = [line.replace(",8,8,", ",8,8,9") if line.endswith("float32") else line for line in ran]
    path.write_text("\n".join([f"{lines[0]},runs_as", *slow]))
    model = CostTable(file=path, interpolate=True)
    assert float(model.cost(new, W8A8)) == pytest.approx(power_law(new), rel=1e-3)
    source = model.source(new, W8A8)
    assert source.runs_as == "int8"
    assert source.text.endswith("from 9 rows at w8a8, measured as int8")
    path.write_text(
        path.read_text().replace("int8", "x").replace("float32", "int8").replace("x", "float32")
    )
    bound = CostTable(file=path, interpolate=True).for_network(
        NetworkDescription("n", (new,)), board()
    )
    with pytest.raises(InputError, match="at w8a8: 3 from"):
        bound.cost(new, W8A8)


def test_a_device_estimates_among_rows_of_what_runs(tmp_path):
    """W4A8 that runs as int8 is estimated from rows of w8a8, with the factor of those, and marked."""
    path = table(tmp_path, power_law)
    path.write_text("# factor_us_w8a8: 0.5\n" + path.read_text())
    new = conv("new", 24, 24, 14)
    model = CostTable(file=path, interpolate=True)
    bound = model.for_network(NetworkDescription("n", (new,)), board())
    assert bound.cost(new, W4A8) == bound.cost(new, W8A8) == model.cost(new, W8A8)
    assert float(bound.cost(new, W4A8)) == pytest.approx(0.5 * power_law(new), rel=1e-3)
    source = bound.source(new, W4A8)
    assert (source.runs_as, source.interpolated) == ("int8", True)
    with pytest.raises(InputError, match="w4a8"):
        model.cost(new, W4A8)


OUTSIDE = {
    "larger": (
        conv("new", 128, 128, 28),
        "12 from 2.82e\\+04 to .* multiply-adds and 1.36e\\+03 to",
    ),
    "smaller": (conv("new", 4, 4, 7), "interpolation needs 4 rows or more"),
    "other kernel": (conv("new", 24, 24, 14, 1), "there are Conv2d at w8a8: none"),
    "other stride": (replace(conv("new", 24, 24, 14), stride=(2, 2)), "Conv2d at w8a8: none"),
    "depthwise": (
        replace(conv("new", 24, 24, 14), groups=24, macs=24 * 9 * 196),
        "Conv2d at w8a8: none",
    ),
    "other kind": (replace(conv("new", 24, 24, 14), kind="Conv3d"), "Conv3d at w8a8: none"),
}


@pytest.mark.parametrize(("layer", "message"), OUTSIDE.values(), ids=OUTSIDE)
def test_nothing_is_extrapolated(tmp_path, layer, message):
    """Outside the rows' sizes, and for another kernel, stride, grouping or kind, the answer is an error."""
    model = CostTable(file=table(tmp_path, power_law), interpolate=True)
    with pytest.raises(InputError, match=message):
        model.cost(layer, W8A8)


def test_few_rows_and_free_ones_give_no_estimate(tmp_path):
    """Three rows are too few, and a cost of 0, which has no logarithm, counts for none."""
    path = table(tmp_path, lambda la: 0 if la.input_shape[1] > 8 else power_law(la))
    model = CostTable(file=path, interpolate=True)
    with pytest.raises(InputError, match=r"there are Conv2d at w8a8: 3 from"):
        model.cost(conv("new", 8, 8, 20), W8A8)
    assert model.cost(conv("free", 16, 16, 14), W8A8) == 0


def test_an_activation_may_be_left_out_of_an_estimate(tmp_path):
    """Rows with the activation come first; without any, those of the bare operation serve."""
    model = CostTable(file=table(tmp_path, power_law), interpolate=True)
    new = replace(conv("new", 24, 24, 14), activation="Hardswish")
    assert model.cost(new, W8A8) == model.cost(replace(new, activation=""), W8A8)
    assert "for Conv2d 24->24" in model.source(new, W8A8).text


def test_tables_by_layer_have_no_sizes(tmp_path):
    """Interpolation is refused at once where rows are names."""
    path = tmp_path / "t.csv"
    path.write_text(by_layer((), [("a", W8A8, 1)]))
    with pytest.raises(InputError, match="interpolate needs a table keyed by operation"):
        CostTable(file=path, interpolate=True)


def test_extreme_amounts_do_not_break_the_fit(tmp_path):
    """Amounts of any size that a table may hold give a finite estimate."""
    for scale in (Fraction(1, 10**300), Fraction(10**290)):
        layers = [conv("x", c, c, side) for c in CHANNELS for side in SIDES]
        rows = [
            row(
                operation_key(la),
                W8A8,
                f"{la.macs * scale.numerator}e-{len(str(scale.denominator)) - 1}",
            )
            for la in layers
        ]
        path = tmp_path / "t.csv"
        path.write_text("\n".join([OPERATION, *rows]))
        new = conv("new", 24, 24, 14)
        cost = CostTable(file=path, interpolate=True).cost(new, W8A8)
        assert float(cost / scale) == pytest.approx(new.macs, rel=2e-3)
