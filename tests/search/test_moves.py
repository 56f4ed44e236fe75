"""The state that searches move in: its exact totals, its moves, and what ties drag along."""

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bitwright.problems.errors import InputError
from bitwright.problems.precision import Precision
from bitwright.problems.terms import Interaction
from bitwright.problems.ties import Tie
from bitwright.search.local.downgrade import least_rows
from bitwright.search.local.move_tables import move_tables
from bitwright.search.local.movers import Movers
from bitwright.search.local.moves import State
from bitwright.testing.brute_force import feasible
from bitwright.testing.known_cases import tabulated
from tests.search.random_problems import PAIRS, SIDES, budgeted

FAST = settings(max_examples=150, deadline=None, derandomize=True)
ALL_KINDS = budgeted(costs=2, sides=SIDES, pairs=(*PAIRS, *PAIRS), peaks=True, same_lists=False)
SYMMETRIC = [Precision(2, 2), Precision(4, 4), Precision(8, 8)]


def start(problem):
    """A state at the choices of least loss, or None where ties contradict each other."""
    try:
        tables = move_tables(problem)
        return State(tables, least_rows(tables, tables.losses(problem.loss)))
    except InputError:
        return None


def losses_of(problem, selection):
    return problem.evaluate(selection).loss


def magnitude(problem):
    """What rounding of a state's losses is measured by: the sum of all sizes."""
    pairs = sum(abs(v) for t in problem.interactions for row in t.loss for v in row)
    return float(np.abs(problem.loss).sum()) + pairs


def walk(state, data, steps=6):
    """Take some moves drawn at random and yield what each added to the loss."""
    movers = Movers(state)
    for _ in range(steps):
        open_places = np.flatnonzero(~movers.closed)
        if not len(open_places):
            return
        move = movers.move(int(data.draw(st.sampled_from(open_places.tolist()))))
        yield movers, movers.take(move)


@FAST
@given(ALL_KINDS, st.data())
def test_moves_are_counted_as_the_problem_counts(problem, data):
    """After any moves ties hold, budgets are judged as `evaluate` does, and losses agree."""
    if (state := start(problem)) is None:
        return
    loss, changes = losses_of(problem, state.selection()), [(0.0, 0)]
    for _, added in walk(state, data):
        selection = state.selection()
        assert problem.broken_ties(selection) == []
        over = problem.evaluate(selection).over_budget(problem.budgets)
        assert state.feasible == (not over)
        before, loss = loss, losses_of(problem, selection)
        changes.append((loss - before, added))
    largest, units = max(changes, key=lambda change: abs(change[1]))
    for change, added in changes:
        assert abs(change * units - added * largest) <= 1e-9 * magnitude(problem) * abs(units)


@FAST
@given(ALL_KINDS, st.data())
def test_what_is_kept_up_is_what_is_counted_anew(problem, data):
    """Totals and moves that were kept up to date equal those of a fresh state, to the last unit."""
    if (state := start(problem)) is None:
        return
    for movers, _ in walk(state, data):
        fresh = State(state.tables, state.at)
        for name in ("loss", "units", "excess", "shared"):
            assert np.array_equal(getattr(state, name), getattr(fresh, name)), name
        anew = Movers(fresh)
        for name in ("loss", "units", "closed", "owner"):
            assert np.array_equal(getattr(movers, name), getattr(anew, name)), name


@FAST
@given(ALL_KINDS, st.data())
def test_probing_tells_what_a_move_adds_and_changes_nothing(problem, data):
    """A probe says what taking the move then adds, and leaves the state as it was."""
    if (state := start(problem)) is None:
        return
    movers = Movers(state)
    for place in np.flatnonzero(~movers.closed).tolist():
        move, at, excess = movers.move(place), state.at.copy(), state.excess.copy()
        loss, units = state.probe(move)
        assert np.array_equal(state.at, at)
        assert np.array_equal(state.excess, excess)
        assert (loss, units.tolist()) == (movers.loss[place], movers.units[:, place].tolist())


@FAST
@given(budgeted(sides=SIDES, same_lists=False))
def test_start_is_of_least_loss(problem):
    """The start keeps all ties and no selection that does has less loss, budgets aside."""
    if (state := start(problem)) is None:
        return
    selection = state.selection()
    assert problem.broken_ties(selection) == []
    least = min(e.loss for _, e in feasible(problem.with_budgets({})))
    assert losses_of(problem, selection) <= least + 1e-9 * magnitude(problem)


def test_a_tie_drags_its_layers_and_their_other_ties_along():
    """With equal bits on both sides, a tie of weights takes the tie of activations with it."""
    problem = tabulated(
        "dragged", [[3, 2, 1]] * 3, {"c": [[1, 2, 3]] * 3}, [SYMMETRIC] * 3, budgets={"c": 3},
        ties=[Tie(("layer0", "layer1"), "weight"), Tie(("layer1", "layer2"), "activation")],
    )  # fmt: skip
    state = start(problem)
    moves = state.tie_moves(0)
    assert {tuple(state.after(move)) for move in moves} == {(0, 3, 6), (1, 4, 7)}


def test_a_tie_without_a_way_is_left_alone():
    """Where a layer that would be dragged along cannot follow, the tie has no move."""
    problem = tabulated(
        "no way",
        [[3, 2], [3, 2], [1, 0]],
        {"c": [[1, 2]] * 3},
        [SYMMETRIC[:2], SYMMETRIC[:2], [Precision(2, 2), Precision(4, 2)]],
        budgets={"c": 3},
        ties=[Tie(("layer0", "layer1"), "weight"), Tie(("layer1", "layer2"), "activation")],
    )
    state = start(problem)
    assert state.selection().tolist() == [0, 2, 5]
    assert state.tie_moves(0) == []


def test_followers_are_worth_their_price():
    """Layers that follow a tie stay where a saving costs too much, and go where it is cheap."""
    bits = [Precision(2, 4), Precision(8, 4), Precision(2, 8), Precision(8, 8)]
    problem = tabulated(
        "prices",
        [[100.0, 2, 99, 0], [3, 2, 1, 0]],
        {"c": [[1, 4, 2, 8], [1, 4, 2, 8]]},
        [bits] * 2,
        budgets={"c": 2},
        ties=[Tie(("layer0", "layer1"), "activation")],
    )
    state = start(problem)
    reached = {tuple(state.after(move)) for move in state.tie_moves(0)}
    assert {(1, 5), (1, 4), (0, 4)} <= reached


def test_pairwise_costs_of_any_decimals_are_exact():
    """Conversions of 0.05 beside costs of whole units meet a budget with equality, not more."""
    pair = Interaction(
        ("layer0", "layer1"), ((0, 0), (0, 0)), {"c": ((0, Fraction(1, 20)), (Fraction(1, 20), 0))}
    )
    problem = tabulated(
        "conversions", [[1, 0], [1, 0]], {"c": [[1, 2], [1, 2]]}, interactions=[pair]
    )
    for limit, fits in ((Fraction(61, 20), True), (Fraction(304, 100), False)):
        tables = move_tables(problem.with_budgets({"c": limit}))
        assert State(tables, np.array([0, 3])).feasible == fits


def test_rows_that_nothing_breaks_are_left_out():
    """A budget above the dearest choices needs no row."""
    problem = tabulated("slack", [[1, 0]], {"c": [[1, 2]]}, budgets={"c": 2})
    assert move_tables(problem).units.shape == (0, 2)
