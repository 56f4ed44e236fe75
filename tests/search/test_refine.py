"""Local refinement: never worse, never infeasible, and at its end no small change gains."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bitwright.problems.errors import InputError, MeasurementError
from bitwright.problems.precision import Precision
from bitwright.problems.terms import Interaction
from bitwright.problems.ties import Tie
from bitwright.search.local.exchanges import exchange
from bitwright.search.local.measurements import Measurements
from bitwright.search.local.move_tables import move_tables
from bitwright.search.local.movers import Movers
from bitwright.search.local.moves import State
from bitwright.search.refine import refine, upgrade
from bitwright.testing.brute_force import brute_force, feasible
from bitwright.testing.known_cases import tabulated
from tests.search.random_problems import PAIRS, SIDES, budgeted

FAST = settings(max_examples=150, deadline=None, derandomize=True)
ALL_KINDS = budgeted(costs=2, sides=SIDES, pairs=(*PAIRS, *PAIRS), peaks=True, same_lists=False)


def tolerance(problem):
    """How far rounding may hide a gain."""
    pairs = sum(abs(v) for t in problem.interactions for row in t.loss for v in row)
    return 1e-12 * (float(np.abs(problem.loss).sum()) + pairs)


def a_start(problem, data):
    """A feasible selection drawn at random."""
    selections = [selection for selection, _ in feasible(problem)]
    assume(selections)
    return data.draw(st.sampled_from(selections))


def fits(problem, selection):
    return not problem.broken_ties(selection) and not problem.evaluate(selection).over_budget(
        problem.budgets
    )


def blocks(problem):
    """The sets of layers that ties of all sides hold together."""
    sets = [{i} for i in range(len(problem))]
    for tie in problem.ties:
        if tie.side == "all":
            joined = {problem.index[n] for n in tie.layers}
            touching = [s for s in sets if s & joined]
            sets = [s for s in sets if not s & joined] + [set.union(*touching)]
    return sets


def changes(problem, selection, count):
    """Every feasible selection that differs in one to `count` blocks of tied layers."""
    for chosen in itertools.combinations(blocks(problem), min(count, len(blocks(problem)))):
        layers = sorted(set.union(*chosen))
        for choices in itertools.product(*(problem.span(i) for i in layers)):
            other = selection.copy()
            other[layers] = choices
            if fits(problem, other):
                yield other


@FAST
@given(ALL_KINDS, st.data())
def test_no_single_move_gains_any_more(problem, data):
    """The answer is feasible, not worse, and no other choice of a layer or tied layers is better."""
    given_selection = a_start(problem, data)
    refined = refine(problem, given_selection)
    assert fits(problem, refined)
    loss = problem.evaluate(refined).loss
    assert loss <= problem.evaluate(given_selection).loss
    for other in changes(problem, refined, 1):
        assert problem.evaluate(other).loss >= loss - tolerance(problem)


@FAST
@given(budgeted(costs=2, pairs=(*PAIRS, *PAIRS), peaks=True, same_lists=False), st.data())
def test_no_exchange_of_two_gains_any_more(problem, data):
    """Without ties of one side, no change of two layers or tied sets of layers is better."""
    refined = refine(problem, a_start(problem, data))
    loss = problem.evaluate(refined).loss
    for other in changes(problem, refined, 2):
        assert problem.evaluate(other).loss >= loss - tolerance(problem)


@FAST
@given(budgeted(costs=2, peaks=True, same_lists=False), st.data())
def test_exchanges_alone_leave_no_pair_that_gains(problem, data):
    """Before any chain is tried, upgrades and exchanges have found every pair of moves that gains."""
    tables = move_tables(problem)
    state = State(tables, tables.rows_of(a_start(problem, data)))
    movers, found = Movers(state), True
    while found:
        upgrade(movers, stop=lambda: False)
        found = exchange(movers, stop=lambda: False)
    loss = problem.evaluate(state.selection()).loss
    for other in changes(problem, state.selection(), 2):
        assert problem.evaluate(other).loss >= loss - tolerance(problem)


@FAST
@given(ALL_KINDS, st.data())
def test_measured_refinement_ends_where_no_single_move_measures_better(problem, data):
    """Each selection is measured once, none is infeasible, and the best that was met is returned."""
    random = np.random.default_rng(len(problem.loss))
    truth = random.normal(size=len(problem.loss))
    asked = []

    def measure(selection):
        assert fits(problem, selection)
        asked.append(tuple(selection))
        return float(truth[selection].sum())

    start = a_start(problem, data)
    refined = refine(problem, start, measurements=Measurements(measure))
    assert asked[0] == tuple(start)
    assert len(set(asked)) == len(asked)
    best = min(float(truth[list(selection)].sum()) for selection in asked)
    assert float(truth[refined].sum()) == best
    for other in changes(problem, refined, 1):
        assert float(truth[other].sum()) >= best


def traded(**terms):
    """Two layers; the one at its best should give way to the other, which needs its budget."""
    return tabulated(
        "traded", [[3, 2, 0], [9, 4, 0]], {"c": [[1, 2, 3], [1, 2, 3]]}, budgets={"c": 4}, **terms
    )


def test_upgrades_use_the_budget_that_is_left():
    """From the cheapest choices the largest gains that fit are taken."""
    problem = traded().with_budgets({"c": 5})
    assert refine(problem, np.array([0, 3])).tolist() == [1, 5]


def test_an_exchange_moves_budget_to_where_it_gains():
    """Neither layer can be moved alone with a gain; both together can."""
    assert refine(traded(), np.array([2, 3])).tolist() == [0, 5]


def test_one_downgrade_makes_room_for_two_upgrades():
    """A chain gains where no exchange of two does."""
    problem = tabulated(
        "chain", [[5, 0], [3, 0], [3, 0]], {"c": [[0, 2], [0, 1], [0, 1]]}, budgets={"c": 2}
    )
    assert refine(problem, np.array([1, 2, 4])).tolist() == [0, 3, 5]


def test_one_upgrade_is_paid_by_two_downgrades():
    """A chain gains where no exchange of two makes enough room."""
    problem = tabulated(
        "chain", [[8, 0], [3, 0], [3, 0]], {"c": [[0, 2], [0, 1], [0, 1]]}, budgets={"c": 2}
    )
    assert refine(problem, np.array([0, 3, 5])).tolist() == [1, 2, 4]


def test_coupled_layers_are_moved_together():
    """Where a pairwise term makes each move a loss, the pair of moves is found."""
    pair = Interaction(("layer0", "layer1"), ((0, 9), (9, -5)))
    problem = tabulated("pair", [[0, 1], [0, 1]], {"c": [[1, 2], [1, 2]]}, interactions=[pair])
    assert refine(problem.with_budgets({"c": 4}), np.array([0, 2])).tolist() == [1, 3]
    assert refine(problem.with_budgets({"c": 3}), np.array([0, 2])).tolist() == [0, 2]


def test_tied_layers_go_to_other_bits_together():
    """A tie of one side does not hold its layers where they stand."""
    bits = [Precision(4, 2), Precision(4, 8)]
    problem = tabulated(
        "tied", [[3, 0], [0, 1]], {"c": [[1, 2], [1, 2]]}, [bits] * 2, budgets={"c": 4},
        ties=[Tie(("layer0", "layer1"), "activation")],
    )  # fmt: skip
    assert refine(problem, np.array([0, 2])).tolist() == [1, 3]


@pytest.mark.parametrize("scale", [10**15, 10**30])
def test_a_single_unit_is_not_overdrawn(scale):
    """An upgrade that is one unit too dear is not taken, whatever the size of the costs."""
    costs = {"c": [[0, scale + 1]]}
    for budget, choice in ((scale + 1, 1), (scale, 0)):
        problem = tabulated("units", [[1, 0]], costs, budgets={"c": budget})
        assert refine(problem, np.array([0])).tolist() == [choice]


def test_decimal_budgets_are_used_up():
    """0.1 + 0.2 + 0.3 is no more than 0.6."""
    costs = {"c_us": [[0, 0.1], [0, 0.2], [0, 0.3]]}
    problem = tabulated("decimals", [[1, 0]] * 3, costs, budgets={"c_us": 0.6})
    assert refine(problem, np.array([0, 2, 4])).tolist() == [1, 3, 5]


def test_an_infeasible_selection_is_refused():
    """A broken budget or tie is named."""
    with pytest.raises(InputError, match="breaks budget 'c': it takes 2 more than 4"):
        refine(traded(), np.array([2, 5]))
    with pytest.raises(InputError, match=r"breaks the tie of \['layer0', 'layer1'\]"):
        refine(traded(ties=[Tie(("layer0", "layer1"))]), np.array([0, 4]))


def test_a_refinement_that_is_stopped_returns_what_it_has():
    """Told to stop at once, it returns the selection that it was given."""
    assert refine(traded(), np.array([0, 3]), stop=lambda: True).tolist() == [0, 3]


@pytest.mark.parametrize("limit", range(1, 7))
def test_measurements_are_limited(limit):
    """No more is measured than allowed, and the best that was measured is returned."""
    problem = tabulated("many", [[3, 0]] * 5, {"c": [[1, 2]] * 5}, budgets={"c": 8})
    measured = {}

    def measure(selection):
        return measured.setdefault(tuple(selection.tolist()), float(problem.loss[selection].sum()))

    start = np.array([0, 2, 4, 6, 8])
    refined = refine(problem, start, measurements=Measurements(measure, limit))
    assert len(measured) <= limit
    assert measured[tuple(refined.tolist())] == min(measured.values())


def test_a_failed_measurement_is_passed_over():
    """A neighbour that cannot be measured is not taken; a start that cannot is an error."""
    problem = tabulated("fails", [[3, 0], [2, 0]], {"c": [[1, 2], [1, 2]]}, budgets={"c": 3})

    def measure(selection):
        if selection[0] == 1:
            raise MeasurementError("the loss is NaN")
        return float(problem.loss[selection].sum())

    assert refine(problem, np.array([0, 2]), measurements=Measurements(measure)).tolist() == [0, 3]
    with pytest.raises(MeasurementError, match="NaN"):
        refine(problem, np.array([1, 2]), measurements=Measurements(measure))


def test_nan_is_worse_than_anything():
    """A measured NaN never replaces a number."""
    problem = tabulated("nan", [[3, 0]], {"c": [[1, 2]]}, budgets={"c": 2})
    measurements = Measurements(lambda s: float("nan") if s[0] else 3.0)
    assert refine(problem, np.array([0]), measurements=measurements).tolist() == [0]


@pytest.mark.parametrize("seed", range(5))
def test_refinement_of_many_layers(seed):
    """Two budgets over 300 layers: feasible, better, and no single move gains."""
    random = np.random.default_rng(seed)
    bits = [Precision(w, a) for w in (2, 3, 4, 8) for a in (2, 4, 8)]
    width = np.array([[p.weight_bits, p.activation_bits] for p in bits])
    fragile, size = random.exponential(size=(2, 300, 1)), random.integers(1, 1000, (300, 1))
    losses = fragile[0] * 4.0 ** -width[:, 0] + fragile[1] * 4.0 ** -width[:, 1]
    costs = {"size": size * width[:, 0], "ops": size[::-1] * width.prod(axis=1)}
    problem = tabulated("many", losses, {n: c.tolist() for n, c in costs.items()}, [bits] * 300)
    limits = {n: int(c.min(axis=1).sum() * Fraction(7, 4)) for n, c in costs.items()}
    problem = problem.with_budgets(limits)
    refined = refine(problem, problem.choice_start[:-1].copy())
    assert fits(problem, refined)
    rest = {n: limits[n] - int(problem.costs[n].units[refined].sum()) for n in limits}
    for i, j in enumerate(refined.tolist()):
        for k in problem.span(i):
            added = {n: int(c.units[k] - c.units[j]) for n, c in problem.costs.items()}
            gains = problem.loss[k] < problem.loss[j] - tolerance(problem)
            assert not (gains and all(added[n] <= rest[n] for n in limits))


def test_small_problems_are_refined_to_the_optimum():
    """Of 100 small problems nearly all are solved from their cheapest configuration."""
    solved = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        losses, costs = random.random((5, 4)), random.integers(1, 20, (5, 4))
        problem = tabulated("small", losses.tolist(), {"c": costs.tolist()})
        problem = problem.with_budgets({"c": int(costs.mean(axis=1).sum())})
        cheapest = problem.choice_start[:-1] + costs.argmin(axis=1)
        found = problem.evaluate(refine(problem, cheapest)).loss
        solved += found <= brute_force(problem).loss + tolerance(problem)
    assert solved >= 95
