"""The integer program: its answers hold exactly, its claims are no more than it can prove."""

import math
import subprocess
import sys
import tempfile
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pulp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from bitwright.problems.errors import InputError, MissingDependencyError
from bitwright.problems.precision import Precision
from bitwright.problems.protocols import Effort, SolveSession
from bitwright.problems.solution import Status
from bitwright.problems.terms import Interaction
from bitwright.problems.ties import Tie
from bitwright.search.door import solve
from bitwright.search.exact import ExactSolver
from bitwright.search.ilp import IlpSolver
from bitwright.search.integer_program import solvers as program_solvers
from bitwright.search.integer_program.bound import bound_of
from bitwright.search.integer_program.form import form_of
from bitwright.search.integer_program.program import Program
from bitwright.search.integer_program.solvers import pulp_solver
from bitwright.search.integer_program.walk import open_rows
from bitwright.testing.brute_force import brute_force, feasible
from bitwright.testing.known_cases import tabulated
from tests.search.random_problems import PAIRS, SIDES, budgeted
from tests.search.test_exact import correlated, large

drawn = budgeted(costs=2, max_layers=3, max_choices=3, sides=SIDES, pairs=PAIRS, peaks=True)


@pytest.fixture(params=[None, "HiGHS"], ids=["CBC", "HiGHS"])
def name(request):
    """Name of a PuLP solver; HiGHS is skipped where it is not installed."""
    if request.param == "HiGHS":
        pytest.importorskip("highspy")
    return request.param


def with_pairs(n, seed, scale=1.0):
    """A chain of pairwise losses, some below 0, and of pairwise costs."""
    rng = np.random.default_rng(seed)
    costs = np.sort(rng.integers(1, 1000, (n, 3)), axis=1)
    losses = np.sort(rng.random((n, 3)), axis=1)[:, ::-1]
    terms = [
        Interaction(
            (f"layer{i}", f"layer{i + 1}"),
            (scale * (rng.random((3, 3)) - 0.5)).tolist(),
            {"c": rng.integers(0, 100, (3, 3)).tolist()},
        )
        for i in range(n - 1)
    ]
    problem = tabulated("chain", losses.tolist(), {"c": costs.tolist()}, interactions=terms)
    return problem.with_budgets({"c": int(costs[:, 1].sum()) + 30 * n})


# What is proved.


@pytest.mark.parametrize("scale", [1, 10**3, 10**6, 10**9])
@pytest.mark.parametrize("seed", [0, 1])
def test_large_costs(scale, seed):
    """Up to 1e15 and more, answers keep their budget to the unit and stay near the optimum."""
    rng = np.random.default_rng(seed)
    costs = rng.integers(1, 10**6, (40, 6)) * scale + rng.integers(0, 3, (40, 6))
    problem = large(rng.random((40, 6)), costs, 0.15)
    found, best = solve(problem, IlpSolver()), solve(problem, ExactSolver())
    assert best.status is Status.OPTIMAL
    assert found.lower_bound <= best.loss <= found.loss
    assert found.loss <= best.loss * (1 + 1e-3)


@pytest.mark.parametrize("budget", [3 * 10**15, 3 * 10**15 - 1])
def test_a_unit_of_1e15(name, budget):
    """What the solvers cannot tell apart is cut off where it breaks the budget by a unit."""
    costs = [[0, 10**15], [0, 10**15], [0, 10**15], [0, 10**14]]
    problem = tabulated("unit", [[5, 0]] * 3 + [[1, 0]], {"c": costs}, budgets={"c": budget})
    solution = solve(problem, IlpSolver(name))
    assert solution.costs["c"] <= budget
    assert solution.loss == solve(problem, ExactSolver()).loss


def test_little_left_open_is_gone_through(name):
    """A short list of what may be better is a proof; cut short, the gap that is left is told."""
    problem = correlated(20, 5)
    assert solve(problem.with_budgets({}), IlpSolver(name)).status is Status.OPTIMAL
    best = solve(problem, ExactSolver())
    proved = solve(problem, IlpSolver(name))
    assert (proved.status, proved.loss) == (Status.OPTIMAL, best.loss)
    hasty = solve(problem, IlpSolver(name), effort=Effort(states=60))
    assert hasty.status is Status.FEASIBLE
    assert hasty.lower_bound <= best.loss <= hasty.loss
    assert 0 < hasty.relative_gap < 0.1


@pytest.mark.parametrize("seed", range(3))
def test_what_may_be_better_is_kept(monkeypatch, name, seed):
    """After a poor first answer the program of what is left still holds the best."""
    monkeypatch.setattr("bitwright.search.ilp._FIRST_GAP", 0.5)
    monkeypatch.setattr("bitwright.search.ilp.open_rows", lambda *_: None)
    rng = np.random.default_rng(seed)
    costs = np.sort(rng.integers(1, 10**5, (40, 6)), axis=1)
    problem = large(np.sort(rng.random((40, 6)), axis=1)[:, ::-1], costs, 0.3)
    best = solve(problem, ExactSolver()).loss
    solution = solve(problem, IlpSolver(name))
    assert solution.loss == best
    assert best - 1e-6 < solution.lower_bound <= best


def test_stopped_early_is_not_called_optimal(name):
    """One node is not enough for a proof, and what PuLP calls optimal then is not."""
    problem = correlated(200, 6)
    hasty = solve(problem, IlpSolver(name), effort=Effort(states=1, seconds=20))
    assert hasty.status is Status.FEASIBLE
    assert hasty.lower_bound <= solve(problem, ExactSolver()).loss <= hasty.loss


def test_whole_losses_leave_no_room_below_the_next():
    """Losses that are integers are proved as soon as nothing is open one below."""
    rng = np.random.default_rng(0)
    costs = np.sort(rng.integers(1, 10**6, (40, 8)), axis=1)
    losses = np.sort(rng.integers(0, 20, (40, 8)), axis=1)[:, ::-1].astype(float)
    problem = large(losses, costs, 0.4)
    proved = solve(problem, IlpSolver(), effort=Effort(states=2000))
    assert (proved.status, proved.loss) == (Status.OPTIMAL, solve(problem, ExactSolver()).loss)


def duals(form, shares, seed):
    """Prices that differ by their limits' sizes, and multipliers of either sign."""
    dearest = [float(max(limit.most, 1)) for limit in form.limits]
    prices = np.array([s / d for s, d in zip(shares * 9, dearest, strict=False)])
    return prices, np.random.default_rng(seed).normal(0, 3, len(form.links))


some_shares = st.lists(st.sampled_from([0.0, 0.3, 2.0, 9.0]), min_size=4, max_size=4)
seeds = st.integers(0, 2**32)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(drawn, some_shares, seeds)
def test_any_duals_give_a_bound(problem, shares, seed):
    """Whatever the prices and multipliers, no configuration is below what they prove."""
    form = form_of(problem)
    if any(limit.room < 0 for limit in form.limits):
        return
    prices, multipliers = duals(form, shares, seed)
    bound = bound_of(form, (form.loss, form.loss_size), prices, multipliers)
    for selection, evaluation in feasible(problem):
        rows = rows_of(form, selection)
        left = [-form.excess(limit, rows) for limit in form.limits]
        least = bound.value + bound.penalty[form.variables(rows)].sum() + prices @ left
        assert evaluation.loss >= least - bound.rounding
        assert evaluation.loss >= bound.value


@settings(max_examples=150, deadline=None, derandomize=True)
@given(drawn, some_shares, seeds, st.floats(0, 1))
def test_what_is_open_is_all_that_is(problem, shares, seed, share):
    """The list holds every configuration within budgets and ties up to a loss, and no other."""
    form = form_of(problem)
    if any(limit.room < 0 for limit in form.limits):
        return
    bound = bound_of(form, (form.loss, form.loss_size), *duals(form, shares, seed))
    found = {tuple(s): e.loss for s, e in feasible(problem)}
    losses = sorted(found.values())
    level = losses[int(share * (len(losses) - 1))] if losses else 0.0
    rows = open_rows(form, bound, level, SolveSession(np.random.default_rng(0)))
    listed = {tuple(selection) for selection in form.groups.selection(rows)}
    assert listed <= found.keys()
    assert {s for s, loss in found.items() if loss <= level} <= listed
    assert all(found[s] <= level + 1e-9 * (1 + float(form.loss_size.sum())) for s in listed)


def test_the_bound_is_the_linear_relaxation(name, tmp_path):
    """The duals that PuLP hands over lead to the value that scipy finds for the relaxation."""
    problem = with_pairs(8, 3)
    form = form_of(problem)
    program = Program(form, form.fits)
    duals = program.relax(pulp_solver(name or "PULP_CBC_CMD", str(tmp_path), relaxed=True))
    bound = bound_of(form, (form.loss, form.loss_size), duals.limits, duals.links)
    rows, starts = np.zeros((len(form.links), len(form.loss))), form.start
    for row, (some, others) in zip(rows, form.links, strict=True):
        row[some] += 1
        row[others] -= 1
    ones = [[a <= v < b for v in range(len(form.loss))] for a, b in pairwise(starts)]
    relaxed = linprog(
        form.loss,
        A_ub=[limit.units for limit in form.limits],
        b_ub=[limit.room for limit in form.limits],
        A_eq=np.vstack([rows, np.array(ones, dtype=float)]),
        b_eq=[0] * len(rows) + [1] * len(ones),
        bounds=(0, 1),
    )
    assert bound.value == pytest.approx(relaxed.fun, rel=1e-6)
    assert bound.value <= brute_force(problem).loss


def rows_of(form, selection):
    """The groups' rows that a selection takes."""
    rows = np.arange(form.start[len(form.groups)])
    group = np.searchsorted(form.start, rows, side="right") - 1
    found = np.full(len(form.groups), -1)
    first = form.groups.member_start[:-1]
    for row, g in zip(rows, group, strict=True):
        members = form.groups.members[first[row] : form.groups.member_start[row + 1]]
        layers = np.flatnonzero(form.groups.group_of_layer == g)
        if np.array_equal(members, np.asarray(selection)[layers]):
            found[g] = row
    return found


# What is taken.


@pytest.mark.parametrize("seed", range(3))
def test_pairwise_terms(name, seed):
    """Pairwise losses below 0 and pairwise costs are linearised, priced and checked exactly."""
    problem = with_pairs(7, seed)
    solution = solve(problem, IlpSolver(name))
    assert (solution.status, solution.loss) == (Status.OPTIMAL, brute_force(problem).loss)


def test_pairwise_terms_of_tied_layers_and_of_one_pair_twice(name):
    """Terms inside a group of tied layers, across side ties, and repeated the other way round."""
    bits = [[Precision(w, a) for w in (2, 4) for a in (2, 8)]] * 4
    rng = np.random.default_rng(4)
    matrix = [(rng.random((4, 4)) - 0.5).tolist() for _ in range(5)]
    thirds = [[Fraction(int(v), 10) for v in row] for row in rng.integers(0, 40, (4, 4))]
    pairs = [("layer0", "layer1"), ("layer1", "layer0"), ("layer1", "layer2"),
             ("layer2", "layer1"), ("layer2", "layer3")]  # fmt: skip
    problem = tabulated(
        "tied", rng.random((4, 4)).tolist(), {"c": rng.integers(0, 9, (4, 4)).tolist()}, bits,
        ties=[Tie(("layer0", "layer1")), Tie(("layer2", "layer3"), "activation")],
        interactions=[Interaction(p, m, {"c": thirds}) for p, m in zip(pairs, matrix, strict=True)],
        budgets={"c": Fraction(231, 10)},
    )  # fmt: skip
    solution = solve(problem, IlpSolver(name))
    assert (solution.status, solution.loss) == (Status.OPTIMAL, brute_force(problem).loss)


def test_cuts_lose_nothing_that_holds():
    """What is cut off after an answer over budget leaves every configuration within it."""
    problem = tabulated(
        "cuts", [[2, 1, 0]] * 4, {"c": [[0, 3, 7], [0, 4, 6], [0, 5, 6], [1, 4, 9]]}
    ).with_budgets({"c": 13})
    form = form_of(problem)
    for over in (rows_of(form, s) for s, _ in feasible(problem.with_budgets({}))):
        excess = form.excess(form.limits[0], over)
        if excess <= 0:
            continue
        program = Program(form, np.ones(len(form.loss), dtype=bool))
        program.cut_off(over, {0: excess})
        *_, cut = program._model.constraints()
        assert not holds(cut, program, over)
        assert all(holds(cut, program, rows_of(form, s)) for s, _ in feasible(problem))


def holds(constraint, program, rows):
    """Whether a configuration meets one row of the program."""
    for v, x in program._x.items():
        x.varValue = float(v in rows)
    return constraint.valid()


def test_contradicting_ties_are_refused():
    """Two ties may each hold while no configuration respects both; that is an error of the input."""
    bits = [[Precision(2, 2), Precision(4, 8)], [Precision(2, 8), Precision(4, 2)]]
    ties = [Tie(("layer0", "layer1"), "weight"), Tie(("layer0", "layer1"), "activation")]
    problem = tabulated("p", [[0, 0]] * 2, {"c": [[1, 1]] * 2}, bits, ties=ties)
    for budgets in ({}, {"c": 1}):
        with pytest.raises(InputError, match="contradict each other"):
            IlpSolver().solve(problem.with_budgets(budgets), SolveSession(np.random.default_rng(0)))
    with pytest.raises(InputError, match="contradict each other"):
        solve(problem, IlpSolver())


# PuLP's solvers.


class Fake(pulp.LpSolver):
    """A solver of PuLP's that ends as it is told to."""

    def __init__(self, ending):
        super().__init__(msg=False)
        self._ending = ending

    def available(self):
        return True

    def actualSolve(self, lp):
        return self._ending(lp)


def breaks_down(lp):
    raise pulp.PulpSolverError("no licence")


def calls_infeasible(lp):
    lp.assignStatus(pulp.LpStatusInfeasible, pulp.LpSolutionInfeasible)


def calls_the_first_optimal(lp):
    """Takes the first choice of every layer and calls it optimal."""
    for x in lp.variables():
        x.varValue = float(x.name in {"x0", "x3", "x6"})
    lp.assignStatus(pulp.LpStatusOptimal, pulp.LpSolutionOptimal)


@pytest.mark.parametrize("ending", [breaks_down, calls_infeasible, calls_the_first_optimal])
@pytest.mark.parametrize("states", [1, None])
def test_solvers_that_fail_are_not_believed(monkeypatch, ending, states):
    """After a breakdown, a false infeasible and a false optimum the best is found and proved.

    Where the list is too short for that, only the bound of a false optimum is believed.
    """
    monkeypatch.setattr(program_solvers, "pulp_solver", lambda *_, **__: Fake(ending))
    problem = tabulated(
        "p", [[9, 4, 1], [8, 5, 4], [3, 2, 0]], {"c": [[1, 2, 3], [1, 2, 4], [1, 3, 5]]},
        budgets={"c": 7},
    )  # fmt: skip
    best = brute_force(problem).loss
    solution = solve(problem, IlpSolver(), effort=Effort(states=states))
    assert solution.status is (Status.FEASIBLE if states else Status.OPTIMAL)
    if states is None:
        assert solution.loss == best
    if ending is not calls_the_first_optimal:
        assert solution.lower_bound <= best <= solution.loss
    if ending is breaks_down and states:
        assert solution.explanation == "PuLP's PULP_CBC_CMD broke down: no licence"


def test_what_highs_is_told():
    """Tolerances, gaps, limits and a repeatable search reach HiGHS itself."""
    pytest.importorskip("highspy")
    solver = pulp_solver("HiGHS", "unused", gap=0.25, nodes=7, seconds=3.5)
    model = pulp.LpProblem("p")
    solver.createAndConfigureSolver(model)
    wanted = {
        "mip_feasibility_tolerance": 1e-9, "primal_feasibility_tolerance": 1e-9,
        "dual_feasibility_tolerance": 1e-9, "mip_abs_gap": 1e-9, "mip_rel_gap": 0.25,
        "mip_max_nodes": 7, "time_limit": 3.5, "random_seed": 0, "parallel": "off",
        "output_flag": False,
    }  # fmt: skip
    assert {n: model.solverModel.getOptionValue(n)[1] for n in wanted} == wanted


def test_single_units_beside_thousands_of_millions(name, tmp_path):
    """Three layers; HiGHS 1.15 misses the best by far where the single units are in its rows."""
    bits = [[Precision(w, a) for w in (1, 2) for a in (2, 3)][:n] for n in (4, 2, 3)]
    lossy = Interaction(("layer2", "layer0"), [[-2, 12, 0, 0], [0, 0, 2, 55], [0, 0, 0, 0]])
    costs = [[3000000001, 9000000002, 3000000003, 0], [3, 1000000003], [3, 26000000003, 2]]
    problem = tabulated(
        "units", [[0, 0, 6, 0], [0, 0], [0, 0, 0]], {"c": costs}, bits,
        ties=[Tie(("layer0", "layer2", "layer1"), "activation")], interactions=[lossy],
        budgets={"c": 3000000008},
    )  # fmt: skip
    form = form_of(problem)
    solver = pulp_solver(name or "PULP_CBC_CMD", str(tmp_path))
    answer = Program(form, form.fits).solve(solver, no_gap=True)
    best = brute_force(problem).loss
    assert form.total_loss(answer.rows) == best
    assert best - 1e-6 < answer.bound < best


def test_highs_answers_after_others_took_more_threads():
    """HiGHS refuses another number of threads than the process has begun with; none is asked for."""
    highspy = pytest.importorskip("highspy")
    other = highspy.Highs()
    other.setOptionValue("output_flag", False)
    other.setOptionValue("threads", 2)
    other.addVar(0, 1)
    other.run()
    assert solve(correlated(10, 9), IlpSolver("HiGHS")).status is Status.OPTIMAL


def test_highs_keeps_its_bound_when_nodes_run_out(tmp_path):
    """PuLP knows no name for this ending; the answer comes with HiGHS's own bound, which holds."""
    pytest.importorskip("highspy")
    problem = correlated(60, 3)
    form = form_of(problem)
    program = Program(form, form.fits)
    answer = program.solve(pulp_solver("HiGHS", str(tmp_path), nodes=1), no_gap=True)
    best = solve(problem, ExactSolver()).loss
    assert -math.inf < answer.bound <= best


@pytest.mark.parametrize("order", ["highspy scipy highspy", "scipy highspy scipy"])
def test_two_highs_in_one_process(order):
    """highspy and scipy each bring a HiGHS, and both work, whichever is loaded first."""
    pytest.importorskip("highspy")
    program = f"""
import numpy as np
from bitwright.search.door import solve
from bitwright.search.ilp import IlpSolver
from bitwright.testing.known_cases import tabulated

def with_highspy():
    problem = tabulated("p", [[2, 0], [3, 1]], {{"c": [[0, 4], [0, 5]]}}, budgets={{"c": 5}})
    assert solve(problem, IlpSolver("HiGHS")).loss == 3

def with_scipy():
    from scipy.optimize import LinearConstraint, milp
    row = LinearConstraint([[4, 5]], -np.inf, 5)
    assert milp([-2, -2.5], integrality=[1, 1], bounds=(0, 1), constraints=row).fun == -2.5

for name in {order.split()}:
    {{"highspy": with_highspy, "scipy": with_scipy}}[name]()
print("both")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "both\n", "")


def test_no_files_are_left(name, tmp_path, monkeypatch, capfd):
    """The program writes into a folder that is gone afterwards, and prints nothing."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    solve(correlated(30, 7), IlpSolver(name))
    assert list(Path(tmp_path).iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_solvers_of_pulp_by_name():
    """The CBC that PuLP brings has a name too; a mistyped one gets the nearest, a missing one says so."""
    problem = correlated(5, 8)
    best = solve(problem, IlpSolver())
    assert solve(problem, IlpSolver("PULP_CBC_CMD")).configuration == best.configuration
    with pytest.raises(InputError, match="PuLP has no solver 'HIGHS'; did you mean 'HiGHS'"):
        solve(problem, IlpSolver("HIGHS"))
    for name in ("CPLEX_CMD", "COIN_CMD", "GLPK_CMD"):
        if name in pulp.listSolvers(onlyAvailable=True):
            assert solve(problem, IlpSolver(name)).loss == best.loss
        else:
            with pytest.raises(MissingDependencyError, match=f"PuLP finds no {name} on this"):
                solve(problem, IlpSolver(name))


def test_a_missing_highspy_is_named(monkeypatch):
    """HiGHS is asked for by its package where it is not installed."""
    monkeypatch.setattr(
        "bitwright.search.admission.find_spec", lambda name: name != "highspy" or None
    )
    with pytest.raises(MissingDependencyError, match="solver 'ilp' needs highspy: pip install"):
        solve(correlated(5, 8), IlpSolver("HiGHS"))
