"""All costs of all choices in one table."""

from decimal import Decimal
from fractions import Fraction

import pytest

from bitwright.cost_models import BitOperations, WeightSize, tabulate
from bitwright.problems import AllocationProblem, Choice, InputError, LayerChoices, Precision

from .resnet18 import resnet18

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
