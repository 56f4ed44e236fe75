"""All costs of all choices in one table."""

from decimal import Decimal
from fractions import Fraction

import pytest

from bitwright.cost_models import BitOperations, WeightSize, tabulate
from bitwright.problems import AllocationProblem, Choice, InputError, LayerChoices, Peak, Precision
from bitwright.problems.costing import CostInteraction

from .resnet18 import resnet18
from .speaking import Speaking

W4, W8 = Precision(4, 4), Precision(8, 8)


class Constant:
    """A cost model that gives one number for everything, fixed cost included."""

    def __init__(self, value, fixed=0, name="constant"):
        self.value, self.fixed, self.name = value, fixed, name

    def cost(self, layer, precision):
        return self.value

    def fixed_cost(self, network):
        return self.fixed


def everywhere(*precisions):
    return dict.fromkeys(resnet18().names, precisions)


def test_every_choice_has_every_cost():
    """Each candidate of each layer gets the number that its model gives it."""
    network = resnet18()
    models = (BitOperations(), WeightSize())
    costs = tabulate(network, {**everywhere(W4, W8), "fc": (W8,)}, models)
    assert list(costs.of) == list(network.names)
    assert list(costs.of["conv1"]) == [W4, W8]
    assert list(costs.of["fc"]) == [W8]
    assert costs.fixed == {"bitops": 0, "size_bits": 0}
    for layer in network:
        for precision, by_name in costs.of[layer.name].items():
            assert by_name == {model.name: model.cost(layer, precision) for model in models}


def test_a_problem_takes_the_table_as_it_is():
    """Costs and fixed costs go into an allocation problem without losing a digit."""
    costs = tabulate(resnet18(), everywhere(W4, W8), [Constant(Decimal("0.1"), Decimal("0.3"))])
    layers = [
        LayerChoices(name, [Choice(p, 0.0, by_name) for p, by_name in choices.items()])
        for name, choices in costs.of.items()
    ]
    problem = AllocationProblem.from_layers("p", layers, fixed_costs=costs.fixed)
    cheapest = problem.choice_start[:-1]
    assert problem.evaluate(cheapest).costs["constant"] == Fraction(21, 10) + Fraction(3, 10)


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (-1, "not be negative"),
        (float("nan"), "finite"),
        (float("inf"), "finite"),
        ("3", "a number"),
    ],
)
def test_bad_costs_name_model_layer_and_precision(value, rule):
    """A cost that is no finite number from 0 up is refused with model, layer and precision."""
    with pytest.raises(InputError, match=rf"'constant'.*layer 'conv1' at w4a4.*{rule}"):
        tabulate(resnet18(), everywhere(W4), [Constant(value)])
    with pytest.raises(InputError, match=rf"'constant': the fixed cost.*{rule}"):
        tabulate(resnet18(), everywhere(W4), [Constant(1, fixed=value)])


def test_names_of_models_are_distinct():
    """Two models of one name are refused, for one would hide the other."""
    with pytest.raises(InputError, match="two cost models are named 'bitops'"):
        tabulate(resnet18(), everywhere(W4), [BitOperations(), Constant(1, name="bitops")])


def test_candidates_cover_just_the_layers():
    """A mistyped layer is named with the nearest one; a layer without candidates is named too."""
    with pytest.raises(InputError, match="'conv_1'; did you mean 'conv1'"):
        tabulate(resnet18(), {**everywhere(W4), "conv_1": (W4,)}, [])
    with pytest.raises(InputError, match="layer 'fc' has no candidate"):
        tabulate(resnet18(), {**everywhere(W4), "fc": ()}, [])


class Between(Constant):
    """Costs nothing but for the pairs that it is given."""

    def __init__(self, *terms, name="change_us"):
        super().__init__(0, name=name)
        self.terms = terms

    def interactions(self, network, candidates):
        return [CostInteraction(pair, amounts) for pair, amounts in self.terms]


def problem_of(costs):
    """The allocation problem of a table, with no loss anywhere."""
    layers = [
        LayerChoices(name, [Choice(p, 0.0, by_name) for p, by_name in choices.items()])
        for name, choices in costs.of.items()
    ]
    return AllocationProblem.from_layers(
        "p", layers, fixed_costs=costs.fixed, interactions=costs.interactions, peaks=costs.peaks
    )


def test_interactions_of_several_models_share_a_term():
    """One pair that two models charge for is one term with both costs; totals are those by hand."""
    one = Between((("conv1", "fc"), ((0, 2), (Decimal("1.5"), 0))))
    other = Between((("conv1", "fc"), ((1, 1), (1, 1))), name="change_uj")
    costs = tabulate(resnet18(), everywhere(W4, W8), [one, other])
    (term,) = costs.interactions
    assert term.layers == ("conv1", "fc")
    assert set(term.costs) == {"change_us", "change_uj"}
    problem = problem_of(costs)
    chosen = dict.fromkeys(problem.layers, W4)
    for first, last, amount in ((W4, W8, 2), (W8, W4, 1.5), (W4, W4, 0)):
        selection = problem.selection(chosen | {"conv1": first, "fc": last})
        evaluated = problem.evaluate(selection)
        assert evaluated.costs == {"change_us": Fraction(str(amount)), "change_uj": 1}
        assert evaluated.loss == 0


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ([(("conv1", "fcc"), ((0, 0), (0, 0)))], "an interaction names unknown layer 'fcc'; did you mean 'fc'"),
        ([(("conv1", "fc"), ((0, 0),))], "of 'conv1' and 'fc' must have 2 rows of 2 amounts"),
        ([(("conv1", "fc"), ((0, 0), (0,)))], "of 'conv1' and 'fc' must have 2 rows of 2 amounts"),
        ([(("conv1", "fc"), ((0, -1), (0, 0)))], "of 'conv1' and 'fc' must not be negative, got -1"),
        ([(("conv1", "fc"), ((0, 0), (0, 0)))] * 2, "of 'conv1' and 'fc' is given twice"),
        ([(("fc", "fc"), ((0, 0), (0, 0)))], "needs two different layers"),
    ],
)  # fmt: skip
def test_bad_interactions_are_refused(terms, message):
    """Unknown layers, wrong shapes, negative amounts and a pair given twice are named."""
    with pytest.raises(InputError, match=message):
        tabulate(resnet18(), everywhere(W4, W8), [Between(*terms)])


class OnlyPeak:
    """Memory in use: both named layers at once, in bytes per activation bit."""

    name = "peak_activation_bytes"

    def peaks(self, network, candidates):
        return [Peak(self.name, ({"conv1": 100, "fc": 1}, {"conv1": 90}))]


def test_peaks_are_terms_and_no_column():
    """A peak is no layer's cost; the problem judges it by its largest step."""
    costs = tabulate(resnet18(), everywhere(W4, W8), [OnlyPeak(), WeightSize()])
    assert set(costs.fixed) == {"size_bits"}
    problem = problem_of(costs)
    chosen = dict.fromkeys(problem.layers, W4) | {"fc": W8}
    assert problem.evaluate(problem.selection(chosen)).costs["peak_activation_bytes"] == 408


def test_sources_and_notes_are_kept_by_model():
    """Models that say where figures come from are asked for every choice; the others are not listed."""
    costs = tabulate(resnet18(), everywhere(W4, W8), [Speaking(), WeightSize()])
    assert set(costs.sources) == set(costs.notes) == {"latency_us"}
    assert costs.notes["latency_us"] == ("device: a board", "date: today")
    for by_precision in costs.sources["latency_us"].values():
        assert [by_precision[p].interpolated for p in (W4, W8)] == [True, False]
        assert [by_precision[p].runs_as for p in (W4, W8)] == ["", "int8"]


class OnDevice(Constant):
    """Costs what the device says, once it is told which."""

    def for_network(self, network, device):
        return Constant(len(network) if device is None else 1, name=self.name)


def test_models_are_asked_for_the_network():
    """What depends on the network is asked for the model of this one first."""
    costs = tabulate(resnet18(), everywhere(W4), [OnDevice(None)])
    assert costs.of["fc"][W4] == {"constant": 21}


def test_a_model_that_fails_is_named():
    """Whatever goes wrong inside a model is one line with cost, layer and precision; the cause is kept."""

    class Failing(Constant):
        def cost(self, layer, precision):
            return 1 / 0

    with pytest.raises(
        InputError, match="'constant': layer 'conv1' at w4a4: ZeroDivisionError"
    ) as e:
        tabulate(resnet18(), everywhere(W4), [Failing(1)])
    assert isinstance(e.value.__cause__, ZeroDivisionError)
