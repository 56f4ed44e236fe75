"""What every value type keeps: frozen, equal by value, hashed alike, pickled, readable."""

import math
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import FrozenInstanceError, fields, is_dataclass
from fractions import Fraction

import numpy as np
import pytest

from bitwright.problems import (
    AllocationProblem,
    BitConfiguration,
    Budget,
    Choice,
    CriticalClasses,
    Evaluation,
    ExactColumn,
    FrontPoint,
    InputError,
    Interaction,
    LayerChoices,
    LayerDescription,
    NetworkDescription,
    ParetoFront,
    Peak,
    Precision,
    Quality,
    SignificanceTable,
    Solution,
    Tie,
)

W4, W8 = Precision(4, 8), Precision(8, 8)


def _problem(loss):
    choices = (Choice(W4, loss, {"ms": 0.1}), Choice(W8, 0.0, {"ms": 3}))
    layers = [LayerChoices("a", choices, (0, 4)), LayerChoices("b", choices)]
    return AllocationProblem.from_layers(
        "p",
        layers,
        ties=[Tie(("a", "b"))],
        interactions=[Interaction(("a", "b"), [[0, 1], [2, 3]], {"ms": [[0, 0.1], [0, 0]]})],
        peaks=[Peak("peak_bytes", [{"a": 0.5}])],
        fixed_costs={"ms": 0.1},
        budgets={"ms": 5},
    )


def _layer(macs):
    return LayerDescription("fc", "Linear", 10, macs, (1, 10), (1, 1), ("relu",), W8)


def _solution(loss):
    return Solution("p", "s", "optimal", BitConfiguration({"a": W4}), loss, loss, {"ms": 1})


def _quality(figure):
    return Quality(("x",), {"accuracy": figure}, {"x": math.nan}, np.array([[1]]))


def _table(score):
    return SignificanceTable("m", ("fc",), (W4, W8), [[score, math.nan]], details={"seed": 0})


# Each makes a new value from a number; the same number must make an equal one.
MAKERS = {
    "AllocationProblem": _problem,
    "BitConfiguration": lambda x: BitConfiguration({"a": Precision(int(x), 8)}),
    "Budget": lambda x: Budget("ms", amount=Fraction(x)),
    "Choice": lambda x: Choice(W4, x, {"ms": 1}),
    "CriticalClasses": lambda x: CriticalClasses(("a", "b"), (("a", "b", x),)),
    "Evaluation": lambda x: Evaluation(x, {"ms": Fraction(1)}),
    "ExactColumn": lambda x: ExactColumn.of([x, 10**30]),
    "FrontPoint": lambda x: FrontPoint({"ms": 1}, x),
    "Interaction": lambda x: Interaction(("a", "b"), [[x]], {"ms": [[0.1]]}),
    "LayerChoices": lambda x: LayerChoices("a", (Choice(W4, x, {"ms": 1}),)),
    "LayerDescription": lambda x: _layer(int(x)),
    "NetworkDescription": lambda x: NetworkDescription("n", (_layer(int(x)),)),
    "ParetoFront": lambda x: ParetoFront("p", "s", ("ms",), [1, 2], [x, 0], True, None),
    "Peak": lambda x: Peak("peak_bytes", [{"a": x}]),
    "Precision": lambda x: Precision(int(x), 8),
    "Quality": _quality,
    "SignificanceTable": _table,
    "Solution": _solution,
    "Tie": lambda x: Tie(("a", f"b{x}")),
}


@pytest.fixture(params=MAKERS)
def make(request):
    return MAKERS[request.param]


def attributes(value):
    if is_dataclass(value):
        return [field.name for field in fields(value)]
    return [name for name in ("units", "digits", "_by_layer") if hasattr(value, name)]


def arrays(value):
    found = [getattr(value, name) for name in attributes(value)]
    if isinstance(value, AllocationProblem):
        found += [column.units for column in value.costs.values()]
    return [a for a in found if isinstance(a, np.ndarray)]


def test_nothing_can_be_assigned(make):
    """Attributes cannot be set, and arrays cannot be written."""
    value = make(2.0)
    for name in attributes(value):
        with pytest.raises((FrozenInstanceError, AttributeError)):
            setattr(value, name, None)
    assert not any(a.flags.writeable for a in arrays(value))


def test_values_are_equal_by_value(make):
    """What was made alike is equal and hashes equally; other values and other types differ."""
    value, twin, other = make(2.0), make(2.0), make(3.0)
    assert value == twin
    assert hash(value) == hash(twin)
    assert value != other
    assert value != "something else"


def test_values_survive_pickling(make):
    """A copy is equal, hashes equally, and its arrays are still read-only."""
    value = make(2.0)
    copy = pickle.loads(pickle.dumps(value))
    assert copy == value
    assert hash(copy) == hash(value)
    assert not any(a.flags.writeable for a in arrays(copy))


def test_values_travel_to_a_spawned_process_and_back():
    """Workers that share no memory with us receive and return equal values."""
    values = [make(2.0) for make in MAKERS.values()]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        assert pool.submit(pickle.loads, pickle.dumps(values)).result() == values


def test_values_are_readable_when_printed(make):
    """The text names the type and holds no memory address."""
    value = make(2.0)
    assert repr(value).startswith(f"{type(value).__name__}(")
    assert " at 0x" not in repr(value)
    assert "\n" not in repr(value)


def test_unpickling_checks_the_rules_again():
    """A problem that was tampered with on its way is refused when it arrives."""
    problem = _problem(2.0)
    object.__setattr__(problem, "weight_bits", np.array([4, 99, 4, 8]))
    with pytest.raises(InputError, match="layer 'a': weight_bits must be from 1 to 32, got 99"):
        pickle.loads(pickle.dumps(problem))
