"""Infeasible budgets are explained, and nothing is called proved that is not."""

import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from scipy.optimize import linprog

from bitwright.problems.precision import Precision
from bitwright.problems.protocols import Effort
from bitwright.problems.solution import Status
from bitwright.problems.terms import Interaction, Peak
from bitwright.problems.ties import Tie
from bitwright.search.door import solve
from bitwright.search.explain import contradiction, in_short, unreachable, worded
from bitwright.search.ilp import IlpSolver
from bitwright.search.integer_program.closest import closest
from bitwright.search.integer_program.form import form_of
from bitwright.search.integer_program.multipliers import solve_game
from bitwright.search.reach import Reaches
from bitwright.search.rows import budget_rows
from bitwright.testing.brute_force import brute_force, feasible
from bitwright.testing.known_cases import tabulated
from tests.search.random_problems import PAIRS, SIDES, budgeted, tables

SWAP = {"a_us": [[1, 3]] * 4, "b_uj": [[3, 1]] * 4}


def swap(a, b, **terms):
    """Four layers that each cost 1 and 3, or 3 and 1: together always 4 a layer."""
    return tabulated("swap", [[0, 0]] * 4, SWAP, budgets={"a_us": a, "b_uj": b}, **terms)


# Budgets that cannot be met alone.


def test_least_reachable_and_its_configuration():
    """The text names the budget, the least total, what is missing, and who takes the least."""
    problem = swap(3, 99)
    text = unreachable(problem.budgets, Reaches(problem), problem)
    assert text == (
        "budget 'a_us' = 3 cannot be met: the least that any configuration takes is 4, 1 more, "
        "with every layer at w1a8"
    )
    assert unreachable({"a_us": Fraction(4)}, Reaches(problem), problem) is None


@settings(max_examples=80, deadline=None, derandomize=True)
@given(tables(costs=2, sides=SIDES, pairs=PAIRS, peaks=True))
def test_the_configuration_named_takes_the_least(problem):
    """Whatever links the layers, a configuration is only named if it takes the least total."""
    every = [evaluation.costs for _, evaluation in feasible(problem)]
    for name in problem.cost_names:
        least = min((costs[name] for costs in every), default=None)
        if least is None or least == 0:
            continue
        limit = {name: least - Fraction(1, 1000) * least}
        text = unreachable(limit, Reaches(problem), problem.with_budgets(limit))
        if text is None or ", with " not in text:
            continue
        short = text.partition(", with ")[2]
        named = [s for s, _ in feasible(problem) if in_short(problem, s) == short]
        assert least in [problem.evaluate(s).costs[name] for s in named]


def test_pairwise_costs_are_in_the_least_total():
    """Going through one precision costs no conversion, so that it is the least."""
    conversion = [[0, 9], [9, 0]]
    term = Interaction(("layer0", "layer1"), conversion, {"c": conversion})
    problem = tabulated(
        "p", [[0, 0]] * 2, {"c": [[1, 2], [4, 2]]}, interactions=[term], budgets={"c": 3}
    )
    text = unreachable(problem.budgets, Reaches(problem), problem)
    assert "is 4, 1 more, with every layer at w2a8" in text


@pytest.mark.parametrize(
    ("bits", "text"),
    [
        ([2], "layer0 at w2a8"),
        ([2, 2, 2], "every layer at w2a8"),
        ([2, 4], "layer0 at w2a8, layer1 at w4a8"),
        ([2] * 48 + [4] * 2, "w2a8 in 48 layers, w4a8 in 2"),
        ([1, 2, 3, 4, 5, 6] + [4, 3, 2, 1] * 2,
         "w1a8 in 3 layers, w2a8 in 3, w3a8 in 3, w4a8 in 3, other precisions in 2"),
    ],
)  # fmt: skip
def test_configurations_in_short(bits, text):
    """Few layers are named, many are counted by precision."""
    offered = [[Precision(b, 8) for b in range(1, 7)]] * len(bits)
    flat = [[0] * 6] * len(bits)
    problem = tabulated("p", flat, {"c": flat}, offered)
    assert in_short(problem, problem.choice_start[:-1] + np.array(bits) - 1) == text


# Budgets that contradict each other.


def test_multipliers_prove_the_contradiction():
    """Sixteen in all cannot be met with seven and eight."""
    problem = swap(7, 8)
    proof = contradiction(problem)
    assert proof.least > 1
    assert sum(proof.weights) == 1
    for _, evaluation in feasible(problem.with_budgets({})):
        shares = [evaluation.costs[r.cost] / problem.budgets[r.cost] for r in budget_rows(problem)]
        assert sum(w * s for w, s in zip(proof.weights, shares, strict=True)) >= proof.least
    text = worded(problem, proof)
    assert "budgets 'a_us' and 'b_uj' can each be met, but not together" in text
    figures = re.search(r"([\d.]+) x a_us / 7 \+ ([\d.]+) x b_uj / 8 is at least ([\d.]+)", text)
    assert float(figures[1]) + float(figures[2]) == pytest.approx(1)
    assert float(figures[3]) == pytest.approx(16 / 15, rel=1e-5)


def test_the_closest_configuration_is_named_with_its_excess():
    """One over of seven is a smaller share than two over of eight, and so on."""
    text = worded(swap(7, 8), contradiction(swap(7, 8)))
    assert "; the closest found, with layer0 at w" in text
    assert text.endswith("exceeds 'a_us' by 1 (14.3 %)")
    assert worded(swap(7, 9), None).endswith("exceeds 'b_uj' by 1 (11.1 %)")


@settings(max_examples=80, deadline=None, derandomize=True)
@given(budgeted(costs=2, max_layers=3, max_choices=3, sides=SIDES, pairs=PAIRS, peaks=True))
def test_the_closest_found_keeps_every_tie(problem):
    """What is called closest is a configuration that the ties allow."""
    form = form_of(problem)
    rows = closest(form)
    if rows is not None:
        assert problem.broken_ties(form.groups.selection(rows)) == []


def test_the_closest_found_is_close():
    """On small random problems no configuration exceeds its budgets by less, but for a few."""
    missed = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        tables_ = {f"c{k}": rng.integers(1, 50, (5, 4)).tolist() for k in range(3)}
        budgets = {n: int(np.array(t).min(axis=1).sum() * 1.2) for n, t in tables_.items()}
        problem = tabulated("p", [[0] * 4] * 5, tables_, budgets=budgets)
        form = form_of(problem)
        found = worst(problem, form.groups.selection(closest(form)))
        every = [worst(problem, s) for s, _ in feasible(problem.with_budgets({}))]
        assert found <= sorted(every)[len(every) // 50]
        missed += found > min(every)
    assert missed <= 20


def worst(problem, selection):
    """The largest excess as a share of a budget."""
    costs = problem.evaluate(selection).costs
    return max((costs[n] - b) / b for n, b in problem.budgets.items())


def test_whole_layers_only():
    """Half a layer each way would do: no multipliers exist, a search proves it, the text says which."""
    problem = swap(7, 9)
    assert brute_force(problem) is None
    assert contradiction(problem) is None
    solution = solve(problem, IlpSolver())
    assert solution.status is Status.INFEASIBLE
    assert "no configuration meets budgets 'a_us' and 'b_uj': parts" in solution.explanation
    assert "a search through all whole ones has proved it" in solution.explanation
    assert "not proved" not in solution.explanation


def test_not_found_is_not_called_proved():
    """Where the search is cut short the text says no more than that nothing was found."""
    rng = np.random.default_rng(0)
    table = rng.integers(1, 10**12, (14, 4))
    other = 10**12 - table
    half = int(table.sum()) // 4
    problem = tabulated(
        "pinned", [[0] * 4] * 14, {"a": table.tolist(), "b": other.tolist()},
        budgets={"a": half, "b": 14 * 10**12 - half},
    )  # fmt: skip
    assert contradiction(problem) is None
    solution = solve(problem, IlpSolver(), effort=Effort(states=2))
    assert solution.status is Status.STOPPED
    text = "no configuration that meets budgets 'a' and 'b' was found; that there is none is not proved"
    assert solution.explanation.startswith(text)
    assert "the closest found" in solution.explanation


def test_feasible_budgets_have_no_contradiction():
    """Budgets that some configuration meets exactly have no proof against them."""
    assert contradiction(swap(8, 8)) is None
    assert contradiction(swap(16, 16)) is None


def test_peak_against_a_sum():
    """A step of a peak is a row like any other."""
    problem = tabulated(
        "p", [[0, 0]], {"c": [[9, 9]]}, budgets={"c": 9, "peak": 15},
        peaks=[Peak("peak", ({"layer0": Fraction(1)}, {"layer0": Fraction(2)}))],
    )  # fmt: skip
    rows = budget_rows(problem)
    assert [row.label for row in rows] == ["c", "step 0 of peak", "step 1 of peak"]
    assert [row.limit for row in rows] == [9, 15, 15]
    assert rows[2].units.tolist() == [16, 16]
    text = worded(problem, contradiction(problem))
    assert "budget 'peak' cannot be met: 1 x step 1 of peak / 15 is at least 1.06667" in text
    assert text.endswith("the closest found, with layer0 at w1a8, exceeds 'peak' by 1 (6.67 %)")


def test_pairwise_costs_take_part_in_the_proof():
    """Neither row alone nor without the conversion is there a contradiction."""
    term = Interaction(("layer0", "layer1"), [[0, 0]] * 2, {"a_us": [[2, 2]] * 2})
    problem = swap(9, 8, interactions=[term])
    proof = contradiction(problem)
    assert contradiction(swap(9, 8)) is None
    assert proof.least == pytest.approx(Fraction(18, 17), rel=1e-6)


def test_entangled_pairwise_costs():
    """Where the range of a cost cannot be worked out, a budget below its least is still refused."""
    ones = [[1] * 16] * 16
    pairs = [(f"layer{i}", f"layer{j}") for i in range(9) for j in range(i)]
    terms = [Interaction(pair, ones, {"c": ones}) for pair in pairs]
    table = [[1] * 16] * 9
    problem = tabulated("dense", table, {"c": table}, interactions=terms, budgets={"c": 40})
    assert Reaches(problem).known("c") is None
    solution = solve(problem, IlpSolver())
    assert solution.status is Status.INFEASIBLE
    text = "budget 'c' cannot be met: 1 x c / 40 is at least 1.125 for every configuration"
    assert solution.explanation.startswith(text)


def test_a_budget_of_nothing():
    """A budget of 0 has no shares; it counts in plain units, and the budgets allow less than 1."""
    problem = swap(0, 99)
    text = worded(problem, contradiction(problem))
    assert "budget 'a_us' cannot be met: 1 x a_us is at least 4 for every configuration" in text
    assert "the budgets ask for at most 0" in text
    costs = {"a": [[0, 1]] * 2, "b": [[5, 1]] * 2}
    both = tabulated("p", [[0, 0]] * 2, costs, budgets={"a": 0, "b": 9})
    proof = contradiction(both)
    for _, evaluation in feasible(both.with_budgets({})):
        total = (
            proof.weights[0] * evaluation.costs["a"] + proof.weights[1] * evaluation.costs["b"] / 9
        )
        assert total >= proof.least > proof.allowed == proof.weights[1]


@settings(max_examples=80, deadline=None, derandomize=True)
@given(budgeted(costs=3, max_layers=3, sides=SIDES, pairs=PAIRS, peaks=True))
def test_no_false_proof(problem):
    """Where brute force finds a configuration, no multipliers are offered."""
    if brute_force(problem) is not None:
        assert contradiction(problem) is None


@settings(max_examples=60, deadline=None, derandomize=True)
@given(budgeted(costs=2, max_layers=3))
def test_every_linear_contradiction_is_found(problem):
    """Multipliers are found wherever scipy finds no mixture of choices within the budgets."""
    form = form_of(problem)
    limits = [limit for limit in form.limits if limit.most]
    if not limits or any(limit.room < 0 for limit in form.limits):
        return
    blocks = np.repeat(np.eye(len(form.groups)), np.diff(form.start), axis=1)
    scale = [float(limit.most) for limit in limits]
    mixed = linprog(
        [*np.zeros(len(form.loss)), 1.0],
        A_ub=[[*(m.units / s).astype(float), -1.0] for m, s in zip(limits, scale, strict=True)],
        b_ub=[float((m.budget - m.base) / m.unit) / s for m, s in zip(limits, scale, strict=True)],
        A_eq=np.column_stack([blocks, np.zeros(len(blocks))]),
        b_eq=np.ones(len(blocks)),
        bounds=[(0, 1)] * len(form.loss) + [(None, None)],
    )
    if mixed.fun > 1e-6:
        assert contradiction(problem) is not None


def test_many_budgets():
    """Multipliers are found for more budgets than two."""
    rng = np.random.default_rng(0)
    costs = {f"c{k}": np.eye(4)[k] * 9 + 1 for k in range(4)}
    tables_ = {n: np.tile(row, (20, 1)).astype(int).tolist() for n, row in costs.items()}
    losses = rng.random((20, 4)).tolist()
    tight = tabulated("p", losses, tables_, budgets=dict.fromkeys(tables_, 60))
    assert contradiction(tight).least == pytest.approx(65 / 60, rel=1e-6)
    assert contradiction(tight.with_budgets(dict.fromkeys(tables_, 65))) is None


@pytest.mark.parametrize("seed", range(20))
def test_games_are_solved(seed):
    """The value of a matrix game is the one that a linear program finds."""
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(1, 8, 2)
    payoff = rng.integers(-3, 4, (rows, columns)) * 10.0 ** rng.integers(-6, 7)
    weights, value = solve_game(payoff)
    assert weights.sum() == pytest.approx(1)
    assert weights.min() >= 0
    wanted = linprog(
        [*np.zeros(rows), -1.0],
        A_ub=np.column_stack([-payoff.T / np.abs(payoff).max(initial=1e-9), np.ones(columns)]),
        b_ub=np.zeros(columns),
        A_eq=[[1.0] * rows + [0.0]],
        b_eq=[1.0],
        bounds=[(0, None)] * rows + [(None, None)],
    )
    size = max(np.abs(payoff).max(), 1e-9)
    assert value / size == pytest.approx(-wanted.fun, abs=1e-7)


def test_ties_that_leave_nothing():
    """Without budgets only ties can be at fault; whether that is proved is said."""
    problem = swap(7, 8).with_budgets({})
    assert worded(problem, None) == "no configuration respects all ties"
    assert "not proved" in worded(problem, None, proved=False)


def test_ties_of_one_side_keep_the_closest_honest():
    """The closest configuration respects ties, though the multipliers do not see them."""
    bits = [[Precision(2, 8), Precision(4, 8)], [Precision(4, 8), Precision(2, 8)]]
    problem = tabulated(
        "p", [[0, 0]] * 2, {"a": [[1, 9], [1, 6]], "b": [[3, 2], [1, 2]]}, bits,
        ties=[Tie(("layer0", "layer1"), "weight")], budgets={"a": 9, "b": 4},
    )  # fmt: skip
    assert brute_force(problem) is None
    assert contradiction(problem) is None
    solution = solve(problem, IlpSolver())
    assert solution.status is Status.INFEASIBLE
    text = "; the closest found, with every layer at w4a8, exceeds 'a' by 1 (11.1 %)"
    assert solution.explanation.endswith(text)
