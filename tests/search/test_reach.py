"""The range of a cost is exact, whatever links the layers."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitwright.problems.budgets import Budget
from bitwright.problems.errors import InputError, UnsupportedProblemError
from bitwright.problems.precision import Precision
from bitwright.problems.terms import Interaction, Peak
from bitwright.problems.ties import Tie
from bitwright.search.budgets import binding, resolve
from bitwright.search.reach import Reaches
from bitwright.testing.brute_force import feasible
from bitwright.testing.known_cases import tabulated

WIDTHS = [[Precision(w, a) for w in (2, 4) for a in (2, 8)]] * 4
COSTS = [[3, 8, 5, 9], [2, 7, 6, 4], [1, 1, 8, 3], [5, 2, 2, 6]]


@st.composite
def linked(draw):
    """Four layers with side ties, pairwise costs and a peak in all sorts of places."""
    pairs = st.lists(st.integers(0, 3), min_size=2, max_size=3, unique=True)
    names = [tuple(f"layer{i}" for i in draw(pairs)) for _ in range(draw(st.integers(0, 3)))]
    ties = [Tie(n, draw(st.sampled_from(["all", "weight", "activation"]))) for n in names]
    matrix = st.lists(st.lists(st.integers(0, 9), min_size=4, max_size=4), min_size=4, max_size=4)
    terms = []
    for _ in range(draw(st.integers(0, 2))):
        a, b, *_ = draw(pairs)
        extra = draw(matrix)
        terms.append(Interaction((f"layer{a}", f"layer{b}"), extra, {"c": extra}))
    step = st.dictionaries(
        st.sampled_from([f"layer{i}" for i in range(4)]), st.integers(0, 5), min_size=1
    )
    peak = Peak("peak", tuple(draw(st.lists(step, min_size=1, max_size=2))))
    return tabulated(
        "linked", COSTS, {"c": COSTS}, WIDTHS, ties=ties, interactions=terms, peaks=[peak],
        fixed_costs={"c": Fraction(1, 10), "peak": Fraction(3)},
    )  # fmt: skip


def extremes(problem, cost):
    """Least and largest total of all configurations."""
    totals = [evaluation.costs[cost] for _, evaluation in feasible(problem)]
    return min(totals), max(totals)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(linked())
def test_range_of_a_sum(problem):
    """Least and largest totals meet brute force under ties of all sides and pairwise costs."""
    reach = Reaches(problem)["c"]
    assert (reach.least, reach.largest) == extremes(problem, "c")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(linked())
def test_range_of_a_peak(problem):
    """Peaks are exact too, and refused where ties of weight bits make them uncertain."""
    if any(tie.side == "weight" for tie in problem.ties):
        assert Reaches(problem).known("peak") is None
        with pytest.raises(
            UnsupportedProblemError, match="'peak' cannot be worked out beside ties"
        ):
            Reaches(problem)["peak"]
        return
    reach = Reaches(problem)["peak"]
    assert (reach.least, reach.largest) == extremes(problem, "peak")


def test_contradicting_ties_are_refused():
    """Two ties may each hold while no configuration respects both."""
    bits = [[Precision(2, 2), Precision(4, 8)], [Precision(2, 8), Precision(4, 2)]]
    ties = [Tie(("layer0", "layer1"), "weight"), Tie(("layer0", "layer1"), "activation")]
    problem = tabulated("p", [[0, 0]] * 2, {"c": [[1, 1]] * 2}, bits, ties=ties)
    with pytest.raises(InputError, match=r"the ties of layers \['layer0', 'layer1'\] contradict"):
        Reaches(problem)["c"]


def test_entangled_costs_take_amounts_only():
    """Pairwise costs between everything are refused for a share, and taken for an amount."""
    n, choices = 9, 16
    zeros = [[1] * choices] * choices
    pairs = [(f"layer{i}", f"layer{j}") for i in range(n) for j in range(i)]
    terms = [Interaction(pair, zeros, {"c": zeros}) for pair in pairs]
    table = [[1] * choices] * n
    problem = tabulated("dense", table, {"c": table}, interactions=terms)
    reaches = Reaches(problem)
    with pytest.raises(
        UnsupportedProblemError, match="'c' cannot be a share, give an amount: the range"
    ):
        resolve(problem, [Budget.parse("c=50%")], reaches)
    limits = resolve(problem, [Budget.parse("c=50")], reaches)
    assert binding(limits, reaches) == {"c": 50}


def test_slack_limits_do_not_bind():
    """A limit at the dearest configuration is none."""
    problem = tabulated("p", [[1, 0]], {"c": [[1, 2]]})
    reaches = Reaches(problem)
    assert binding({"c": Fraction(2)}, reaches) == {}
    assert binding({"c": Fraction(19, 10)}, reaches) == {"c": Fraction(19, 10)}
