"""Allocation problems: evaluation against a slow twin, and every rule with its message."""

import itertools
import re
import time
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitwright.problems import (
    AllocationProblem,
    Choice,
    ExactColumn,
    InputError,
    Interaction,
    LayerChoices,
    Peak,
    Precision,
    Tie,
)

from .strategies import build, decimal, documents, many, some

ARRAYS = {
    "name": "p",
    "layers": ("a", "b"),
    "choice_start": [0, 2, 3],
    "weight_bits": [4, 8, 8],
    "activation_bits": [8, 8, 8],
    "loss": [0.5, 0.1, 0.2],
    "costs": {"ms": [1, 2, 3]},
}


def problem(**changes):
    return AllocationProblem(**{**ARRAYS, **changes})


def twin(document, picks):
    """Loss and costs of one choice per layer, straight from the document and in fractions."""
    taken = {x["name"]: x["choices"][k] for x, k in zip(document["layers"], picks, strict=True)}
    place = {x["name"]: k for x, k in zip(document["layers"], picks, strict=True)}
    loss = sum(Fraction(c["loss"]) for c in taken.values())
    fixed = {n: Fraction(decimal(v)) for n, v in document.get("fixed_costs", {}).items()}
    costs = {
        n: fixed.get(n, 0) + sum(Fraction(decimal(c["costs"][n])) for c in taken.values())
        for n in document["layers"][0]["choices"][0]["costs"]
    }
    for term in document.get("interactions", []):
        a, b = (place[n] for n in term["layers"])
        loss += Fraction(term["loss"][a][b])
        for n, matrix in term["costs"].items():
            costs[n] += Fraction(decimal(matrix[a][b]))
    for peak in document.get("peaks", []):
        costs[peak["cost"]] = fixed.get(peak["cost"], 0) + max(
            sum(Fraction(decimal(v)) * taken[n]["activation_bits"] for n, v in step.items())
            for step in peak["steps"]
        )
    return float(loss), costs


def check_against_twin(document, data):
    built = build(document)
    picks = [data.draw(st.integers(0, len(x["choices"]) - 1)) for x in document["layers"]]
    selection = built.choice_start[:-1] + picks
    evaluation = built.evaluate(selection)
    assert (evaluation.loss, evaluation.costs) == twin(document, picks)
    assert built.cost_names == tuple(evaluation.costs)
    budgets = {n: Fraction(decimal(v)) for n, v in document.get("budgets", {}).items()}
    assert built.budgets == budgets
    over = {n: evaluation.costs[n] - b for n, b in budgets.items() if evaluation.costs[n] > b}
    assert evaluation.over_budget(built.budgets) == over


@some
@given(documents(), st.data())
def test_evaluation_equals_the_slow_twin(document, data):
    """Loss rounds once, costs are exact: with interactions, peaks and fixed costs."""
    check_against_twin(document, data)


@pytest.mark.slow
@many
@given(documents(), st.data())
def test_evaluation_equals_the_slow_twin_on_many(document, data):
    """The same over many more problems."""
    check_against_twin(document, data)


@some
@given(documents(), st.data())
def test_selections_and_configurations_are_the_same(document, data):
    """A selection gives a configuration and back; its bits are those of the document."""
    built = build(document)
    picks = [data.draw(st.integers(0, len(x["choices"]) - 1)) for x in document["layers"]]
    configuration = built.configuration(built.choice_start[:-1] + picks)
    for layer, k in zip(document["layers"], picks, strict=True):
        choice = layer["choices"][k]
        precision = configuration[layer["name"]]
        assert precision.weight_bits == choice["weight_bits"]
        assert precision.activation_bits == choice["activation_bits"]
        assert precision.variant == choice["variant"]
    np.testing.assert_array_equal(built.selection(configuration), built.choice_start[:-1] + picks)


@some
@given(documents())
def test_layers_read_back_as_they_were_given(document):
    """Iterating gives every layer, choice, loss, cost and channel range again."""
    built = build(document)
    assert len(built) == len(document["layers"])
    for read, layer in zip(built, document["layers"], strict=True):
        assert (read.name, list(read.channels or [])) == (layer["name"], layer.get("channels", []))
        assert [c.loss for c in read.choices] == [float(c["loss"]) for c in layer["choices"]]
        for choice, written in zip(read.choices, layer["choices"], strict=True):
            assert choice.costs == {n: _nearest(v) for n, v in written["costs"].items()}


def _nearest(value):
    return int(value) if value == int(value) else float(value)


@pytest.mark.parametrize(("side", "unbroken"), [("all", {(0, 0)}), ("weight", {(0, 0), (0, 1)})])
def test_broken_ties_are_those_whose_layers_differ(side, unbroken):
    """A tie on one side allows what differs on the other."""
    w4a8, w4a4, w8a8 = (Choice(Precision(*b), 0.0, {}) for b in ((4, 8), (4, 4), (8, 8)))
    layers = [LayerChoices("a", (w4a8, w8a8)), LayerChoices("b", (w4a8, w4a4))]
    tie = Tie(("a", "b"), side)
    tied = AllocationProblem.from_layers("p", layers, ties=[tie])
    for a, b in itertools.product(range(2), range(2)):
        broken = tied.broken_ties(np.array([a, 2 + b]))
        assert broken == ([] if (a, b) in unbroken else [tie])


def test_budgets_can_be_replaced():
    """`with_budgets` changes the budgets of a new problem only, and checks them."""
    before = problem(budgets={"ms": 5})
    after = before.with_budgets({"ms": 0.1})
    assert (before.budgets, after.budgets) == ({"ms": 5}, {"ms": Fraction(1, 10)})
    assert after == problem(budgets={"ms": Decimal("0.1")})
    with pytest.raises(InputError, match="budget for unknown cost 'mss'; did you mean 'ms'"):
        before.with_budgets({"mss": 1})
    with pytest.raises(InputError, match="budget 'ms' must not be negative, got -1"):
        before.with_budgets({"ms": -1})


def test_the_callers_arrays_stay_theirs():
    """Arrays and dictionaries are copied, and the problem's own arrays cannot be written."""
    given_arrays = {
        n: np.array(ARRAYS[n]) for n in ("choice_start", "weight_bits", "activation_bits", "loss")
    }
    costs = {"ms": np.array([1, 2, 3])}
    kept = problem(**given_arrays, costs=costs)
    for array in (*given_arrays.values(), costs["ms"]):
        array[:] = 7
    costs.clear()
    assert kept == problem()
    for name in given_arrays:
        with pytest.raises(ValueError, match="read-only"):
            getattr(kept, name)[0] = 0


def test_a_negative_zero_is_zero():
    """-0.0 and 0.0 are equal losses, so the problems are equal and hash equally."""
    plus, minus = problem(loss=[0.0, 1, 1]), problem(loss=[-0.0, 1, 1])
    assert plus == minus
    assert hash(plus) == hash(minus)


def test_a_problem_is_readable():
    """Sizes, costs and budgets are shown, not arrays."""
    text = repr(problem(budgets={"ms": 2.5}))
    assert text == "AllocationProblem('p': 2 layers, 3 choices, costs ms; budgets ms <= 2.5)"


BROKEN = {
    "a problem needs a name, got ''": {"name": ""},
    "problem 'p' has no layers": {"layers": ()},
    "a layer name must be a non-empty string, got ''": {"layers": ("a", "")},
    "a layer name must be a non-empty string, got 5": {"layers": ("a", 5)},
    "layer 'a' is given twice": {"layers": ("a", "a")},
    "choice_start must have length layers + 1 = 3 and run from 0 to the 3 choices, got length 2": {
        "choice_start": [0, 3]
    },
    "choice_start must have length layers + 1 = 3": {"choice_start": [0, 2, 4]},
    "run from 0 to the 3 choices": {"choice_start": [1, 2, 3]},
    "choice_start must be integers, got float64": {"choice_start": [0, 2.5, 3]},
    "layer 'b' has no choices": {"choice_start": [0, 3, 3]},
    "layer 'a' has no choices": {"choice_start": [0, 0, 3]},
    "weight_bits must have one value for each of the 3 choices, got 2": {"weight_bits": [4, 8]},
    "activation_bits must have one value for each of the 3 choices, got 4": {
        "activation_bits": [8] * 4
    },
    "variants must have one value for each of the 3 choices, got 1": {"variants": ("x",)},
    "cost 'ms' must have one value for each of the 3 choices, got 1": {"costs": {"ms": [1]}},
    "weight_bits must be integers, got float64": {"weight_bits": [4.5, 8, 8]},
    "layer 'b': weight_bits must be from 1 to 32, got 33": {"weight_bits": [4, 8, 33]},
    "layer 'a': activation_bits must be from 1 to 32, got 0": {"activation_bits": [8, 0, 8]},
    "variant must be a short label": {"variants": ("", "a b", "")},
    "loss must be numbers": {"loss": ["0.5", "0.1", "0.2"]},
    "layer 'a', choice w8a8: loss must be finite, got nan": {"loss": [0, np.nan, 0]},
    "layer 'b', choice w8a8: loss must be finite, got -inf": {"loss": [0, 0, -np.inf]},
    "layer 'a', choice w8a8: cost 'ms' must not be negative, got -0.5": {
        "costs": {"ms": [0, -0.5, 1]}
    },
    "ms[1] must be finite, got nan": {"costs": {"ms": [0, np.nan, 1]}},
    "layer 'a', choice w4a8 is given twice": {"weight_bits": [4, 4, 8]},
    "a channel range names unknown layer 'A'; did you mean 'a'": {"channels": {"A": (0, 4)}},
    "layer 'a': channels must be [start, stop] with 0 <= start < stop, got [4, 4]": {
        "channels": {"a": (4, 4)}
    },
    "tied layers ['a', 'b'] (side 'activation') have no common choice": {
        "activation_bits": [8, 8, 4],
        "ties": [Tie(("a", "b"), "activation")],
    },
    "interaction names unknown layer 'c'": {"interactions": [Interaction(("a", "c"), [[0]])]},
    "interaction of 'b' and 'a' must have one row and column per choice = (1, 2), got (2, 1)": {
        "interactions": [Interaction(("b", "a"), [[0], [0]])]
    },
    "interaction of 'b' and 'a': unknown cost 'mss'; did you mean 'ms'": {
        "interactions": [Interaction(("b", "a"), [[0, 0]], {"mss": [[0, 0]]})]
    },
    "interaction of 'b' and 'a': cost 'ms' must not be negative": {
        "interactions": [Interaction(("b", "a"), [[0, 0]], {"ms": [[0, -1]]})]
    },
    "peak 'ms' has the name of a cost that is summed over layers": {
        "peaks": [Peak("ms", [{"a": 1}])]
    },
    "peak 'p' names unknown layer 'x'": {"peaks": [Peak("p", [{"x": 1}])]},
    "fixed cost for unknown cost 'us'": {"fixed_costs": {"us": 1}},
    "fixed cost 'ms' must not be negative, got -1": {"fixed_costs": {"ms": -1}},
    "fixed cost 'ms' must be finite, got inf": {"fixed_costs": {"ms": np.inf}},
    "budget for unknown cost 'Ms'; did you mean 'ms'": {"budgets": {"Ms": 1}},
    "budget 'ms' must not be negative, got -0.25": {"budgets": {"ms": -0.25}},
    "budget 'ms' must be a number, got '5'": {"budgets": {"ms": "5"}},
}


@pytest.mark.parametrize("message", BROKEN)
def test_every_rule_has_its_message(message):
    """A broken rule is refused at construction, by name, rule and value."""
    with pytest.raises(InputError, match=re.escape(message)):
        problem(**BROKEN[message])


def test_mistyped_layers_are_refused_with_the_nearest():
    """Ties and configurations that name an unknown layer get the right name."""
    long = {"layers": ("stage1.conv1", "stage2.conv1")}
    with pytest.raises(
        InputError, match=r"unknown layer 'stage1.conv'; did you mean 'stage1.conv1'"
    ):
        problem(**long, ties=[Tie(("stage1.conv", "stage2.conv1"))])
    with pytest.raises(
        InputError, match=r"has no layer 'stage2.cnv1'; did you mean 'stage2.conv1'"
    ):
        problem(**long).selection({"stage2.cnv1": Precision(8, 8)})


def test_configurations_that_do_not_fit_are_refused():
    """A missing layer and a precision that is not offered are named."""
    with pytest.raises(InputError, match="the configuration says nothing of layer 'b'"):
        problem().selection({"a": Precision(8, 8)})
    with pytest.raises(InputError, match=r"layer 'b' does not offer w4a8; .*'w8a8'"):
        problem().selection({"a": Precision(8, 8), "b": Precision(4, 8)})


@pytest.mark.parametrize("selection", [[0], [0, 1], [2, 2], [-1, 2], [0, 3], [[0, 2]]])
def test_a_selection_has_one_choice_of_each_layer(selection):
    """Indices of another layer, and too few, are refused."""
    with pytest.raises(InputError, match="one choice index of each of the 2 layers"):
        problem().evaluate(np.array(selection))


def test_every_choice_must_name_the_same_costs():
    """`from_layers` names the layer and choice whose costs differ."""
    choices = (Choice(Precision(4, 4), 0, {"ms": 1}), Choice(Precision(8, 8), 0, {"us": 1}))
    with pytest.raises(
        InputError, match=r"'a', choice w8a8: .*the same costs; expected \['ms'\], got \['us'\]"
    ):
        AllocationProblem.from_layers("p", [LayerChoices("a", choices)])


@pytest.mark.parametrize(
    ("loss", "cost", "message"),
    [
        (float("nan"), 1, "layer 'a', choice w4a8: loss must be finite, got nan"),
        (10**400, 1, "layer 'a', choice w4a8: loss must be below"),
        (0, Decimal("1e999999999"), "layer 'a', choice w4a8: cost 'ms' must be below"),
        (0, None, "layer 'a', choice w4a8: cost 'ms' must be a number, got None"),
    ],
)
def test_bad_numbers_name_layer_and_choice(loss, cost, message):
    """`from_layers` says where a bad number stands."""
    layer = LayerChoices("a", [Choice(Precision(4, 8), loss, {"ms": cost})])
    with pytest.raises(InputError, match=re.escape(message)):
        AllocationProblem.from_layers("p", [layer])


@pytest.mark.slow
def test_a_hundred_thousand_layers_are_built_and_evaluated():
    """100,000 layers x 16 choices: built in seconds, evaluated exactly in well under one."""
    n, rng = 100_000, np.random.default_rng(0)
    ticks = rng.integers(0, 10**7, 16 * n)
    digits = rng.random(16 * n)
    start = time.perf_counter()
    large = AllocationProblem(
        name="large",
        layers=tuple(f"layer{i}" for i in range(n)),
        choice_start=16 * np.arange(n + 1),
        weight_bits=np.tile(np.arange(1, 17), n),
        activation_bits=np.full(16 * n, 8),
        loss=digits,
        costs={"ms": ticks / 1e4, "nj": ExactColumn.of(digits)},
    )
    built = time.perf_counter()
    selection = large.choice_start[:-1] + rng.integers(0, 16, n)
    evaluation = large.evaluate(selection)
    assert time.perf_counter() - built < 2
    assert built - start < 60
    assert evaluation.costs["ms"] == Fraction(int(ticks[selection].sum()), 10**4)
    assert evaluation.costs["nj"] == sum(Decimal(repr(x)) for x in digits[selection].tolist())
