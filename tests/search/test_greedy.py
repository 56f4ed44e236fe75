"""The greedy solver: what it takes, what it promises, and what leads it beyond the table."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings

from bitwright.plugins import options_model
from bitwright.problems.errors import InputError, MeasurementError, UnsupportedProblemError
from bitwright.problems.precision import Precision
from bitwright.problems.problem import AllocationProblem
from bitwright.problems.protocols import Effort, SolveSession
from bitwright.problems.solution import Status
from bitwright.problems.ties import Tie
from bitwright.search.door import solve
from bitwright.search.greedy import GreedySolver
from bitwright.search.local import downgrade as downgrades
from bitwright.search.local.downgrade import downgrade, least_rows
from bitwright.search.local.move_tables import move_tables
from bitwright.search.local.moves import State
from bitwright.testing.brute_force import brute_force
from bitwright.testing.known_cases import tabulated
from bitwright.testing.solver_contract import SolverContract, TableObjective
from tests.search.random_problems import problems_for

FAST = settings(max_examples=200, deadline=None, derandomize=True)
THOROUGH = settings(max_examples=3000, deadline=None)


class TestGreedy(SolverContract):
    @pytest.fixture
    def solver(self):
        return GreedySolver()


class TestGreedyByMeasurement(SolverContract):
    @pytest.fixture
    def solver(self):
        return GreedySolver(measured=True)


def session(seconds=None, evaluations=None, objective=None):
    effort = Effort(seconds=seconds, evaluations=evaluations)
    return SolveSession(np.random.default_rng(0), effort, objective)


def network(layers, seed=0, share=Fraction(3, 10), noise=0.2):
    """Layers of 16 precisions with size, bit-operations and latency, each at a share of its range."""
    random = np.random.default_rng(seed)
    weight = np.tile(np.repeat([2, 3, 4, 8], 4), layers)
    activation = np.tile([2, 4, 6, 8], 4 * layers)
    weights, macs, fragile, awake = (
        np.repeat(np.exp(random.normal(m, 1.2, layers)), 16) for m in (9, 15, 0, 0)
    )
    slow = random.uniform(1 - noise, 1 + noise, len(weight))
    costs = {
        "size_bits": weights * weight,
        "bitops": macs * weight * activation,
        "latency_us": macs / 1000 * (0.3 + 0.1 * np.maximum(weight, activation)) * slow,
    }
    problem = AllocationProblem(
        name="network",
        layers=tuple(f"layer{i}" for i in range(layers)),
        choice_start=np.arange(layers + 1) * 16,
        weight_bits=weight,
        activation_bits=activation,
        loss=weights / 1e4 * (fragile * 4.0**-weight + awake * 4.0**-activation),
        costs={name: np.rint(values).astype(np.int64) for name, values in costs.items()},
    )
    budgets = {}
    for name, column in problem.costs.items():
        by_layer = column.units.reshape(layers, 16)
        least, most = int(by_layer.min(axis=1).sum()), int(by_layer.max(axis=1).sum())
        budgets[name] = least + share * (most - least)
    return problem.with_budgets(budgets)


def only(problem, cost):
    return problem.with_budgets({cost: problem.budgets[cost]})


def check(problem, solver=None):
    """What is found holds (the door sees to that) and is not below the optimum."""
    solution, best = solve(problem, solver or GreedySolver()), brute_force(problem)
    if best is None:
        assert solution.configuration is None
        assert solution.explanation
    elif solution.configuration is not None:
        assert solution.status is Status.FEASIBLE
        assert solution.loss >= best.loss
    return solution, best


@FAST
@given(problems_for(GreedySolver().traits, max_layers=4))
def test_against_brute_force(problem):
    """With ties, pairwise terms and peaks: never a broken budget, never below the optimum."""
    check(problem)


@pytest.mark.slow
@THOROUGH
@given(problems_for(GreedySolver().traits, max_layers=5))
def test_against_brute_force_thoroughly(problem):
    """The same on more and larger problems."""
    check(problem)


def plain_downgrade(problem):
    """The downgrade in plain Python on exact numbers, a slow twin for problems of single layers."""
    names = list(problem.budgets)
    columns = {n: problem.costs[n] for n in names}
    room = {
        n: problem.budgets[n]
        - sum(min(columns[n].value(j) for j in problem.span(i)) for i in range(len(problem)))
        for n in names
    }
    at = [min(problem.span(i), key=lambda j: problem.loss[j]) for i in range(len(problem))]

    def excess(at):
        return {n: columns[n].total(np.array(at)) - problem.budgets[n] for n in names}

    def broken(at):
        return sum(max(excess(at)[n], 0) / room[n] for n in names)

    while broken(at):
        rates = []
        for i in range(len(problem)):
            for j in problem.span(i):
                to = [*at[:i], j, *at[i + 1 :]]
                added, relief = problem.loss[j] - problem.loss[at[i]], broken(at) - broken(to)
                if relief > 0:
                    rates.append((added / float(relief) if added > 0 else added, i, j))
        if not rates:
            return None
        _, i, j = min(rates)
        at[i] = j
    return at


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("costs", [("size_bits",), ("size_bits", "bitops", "latency_us")])
def test_every_step_is_the_one_of_least_loss_per_relief(seed, costs):
    """One by one or many at once, the steps are those of a plain greedy on exact numbers."""
    problem = network(12, seed, Fraction(1, 5), noise=0.9)
    problem = problem.with_budgets({name: problem.budgets[name] for name in costs})
    proposal = GreedySolver(refine=False).solve(problem, session())
    assert proposal.selection.tolist() == plain_downgrade(problem)


@pytest.mark.parametrize("cost", ["size_bits", "bitops", "latency_us"])
def test_many_steps_at_once_are_the_steps_one_by_one(monkeypatch, cost):
    """For one budget, sliding down the hulls changes nothing but the time."""
    problem = only(network(60, 3), cost)
    slid = GreedySolver(refine=False).solve(problem, session()).selection
    monkeypatch.setattr(downgrades, "slide", lambda state, relief: None)
    assert np.array_equal(GreedySolver(refine=False).solve(problem, session()).selection, slid)


def test_a_downgrade_for_one_budget_may_break_another_and_still_ends():
    """Each cheap choice for one budget is dear for the other: no cycle, and the way out is found."""
    problem = tabulated(
        "trap",
        [[0, 1, 5], [0, 1, 5]],
        {"a": [[9, 1, 4], [9, 1, 4]], "b": [[1, 9, 4], [1, 9, 4]]},
        budgets={"a": 10, "b": 10},
    )
    solution, best = check(problem)
    assert solution.loss == best.loss


@pytest.mark.parametrize(
    ("losses", "a", "b", "budgets"),
    [
        ([[0, 3, 8], [3, 6, 7]], [[4, 2, 3], [3, 0, 1]], [[0, 3, 2], [5, 4, 0]], (3, 3)),
        ([[3, 0, 7], [5, 1, 0]], [[4, 3, 0], [5, 1, 4]], [[0, 4, 4], [0, 4, 1]], (4, 5)),
    ],
)
def test_a_dead_end_is_left(losses, a, b, budgets):
    """Where no single move breaks the budgets less, other weights or a detour lead on."""
    costs = {"a": a, "b": b}
    problem = tabulated("dead end", losses, costs, budgets=dict(zip("ab", budgets, strict=True)))
    tables = move_tables(problem)
    state = State(tables, least_rows(tables, tables.losses(problem.loss)))
    assert not downgrade(state, stop=lambda: False)
    solution, best = check(problem)
    assert solution.loss == best.loss


@pytest.mark.parametrize("seed", range(20))
def test_the_only_corner_is_found(seed):
    """Budgets that only the cheapest configuration under hidden weights meets are met."""
    random = np.random.default_rng(seed)
    losses, costs = random.normal(size=(30, 6)), random.integers(0, 100, (3, 30, 6))
    weights = random.random(3)
    cheapest = np.tensordot(weights, costs, 1).argmin(axis=1)
    budgets = {f"c{k}": int(costs[k, np.arange(30), cheapest].sum()) for k in range(3)}
    table = {f"c{k}": costs[k].tolist() for k in range(3)}
    solution = solve(tabulated("corner", losses.tolist(), table, budgets=budgets), GreedySolver())
    assert solution.configuration is not None


def test_what_is_not_found_is_not_called_infeasible():
    """Contradicting budgets give no configuration, an explanation, and no claim of a proof."""
    problem = tabulated("none", [[1, 0]], {"a": [[2, 1]], "b": [[1, 2]]}, budgets={"a": 1, "b": 1})
    solution = solve(problem, GreedySolver())
    assert solution.status is Status.STOPPED
    assert "'a'" in solution.explanation
    assert "'b'" in solution.explanation


def test_decimal_budgets_are_met_with_equality():
    """0.1 + 0.2 + 0.3 meets a budget of 0.6, so that nothing is downgraded."""
    costs = [[0, 0.1], [0, 0.2], [0, 0.3]]
    problem = tabulated("decimals", [[1, 0]] * 3, {"c_us": costs}, budgets={"c_us": 0.6})
    proposal = GreedySolver(refine=False).solve(problem, session())
    assert proposal.selection.tolist() == [1, 3, 5]


@pytest.mark.parametrize("scale", [10**15, 10**30])
def test_a_single_unit_decides_at_any_scale(scale):
    """One unit over the budget is too much, whatever the size of the costs."""
    costs = [[0, scale], [0, scale + 1]]
    for budget, loss in ((2 * scale + 1, 0), (2 * scale, 5)):
        problem = tabulated("units", [[5, 0], [7, 0]], {"c": costs}, budgets={"c": budget})
        assert solve(problem, GreedySolver()).loss == loss


def test_ties_of_one_side_follow():
    """A layer that is downgraded takes its tied layer along, which keeps its other side."""
    bits = [Precision(w, a) for w in (2, 8) for a in (2, 8)]
    problem = tabulated(
        "tied",
        [[30, 20, 10, 0], [30, 1, 29, 0]],
        {"c": [[2, 4, 4, 8], [2, 4, 4, 8]]},
        [bits] * 2,
        budgets={"c": 12},
        ties=[Tie(("layer0", "layer1"), "activation")],
    )
    solution, best = check(problem)
    assert solution.loss == best.loss


class Jumping:
    """The table's losses, but the first downgrade makes the others of its kind ten times as bad."""

    def __init__(self, problem, kinds):
        self.problem, self.kinds, self.asked = problem, kinds, []

    def losses(self, selection):
        self.asked.append(selection.copy())
        losses = self.problem.loss.copy()
        layer = np.repeat(np.arange(len(self.problem)), np.diff(self.problem.choice_start))
        for kind in set(self.kinds):
            of_kind = [i for i, k in enumerate(self.kinds) if k == kind]
            if any(losses[selection[i]] > 0 for i in of_kind):
                losses[np.isin(layer, of_kind)] *= 10
        return losses


def reordered_problem():
    return tabulated(
        "reordered", [[1.0, 0], [1.1, 0], [1.5, 0], [1.6, 0]], {"c": [[1, 2]] * 4}, budgets={"c": 6}
    )


def test_a_changing_loss_orders_the_downgrade_anew():
    """After a downgrade its like become costlier, so that the next is of the other kind."""
    problem = reordered_problem()
    table = GreedySolver(refine=False).solve(problem, session())
    assert table.selection.tolist() == [0, 2, 5, 7]
    loss = Jumping(problem, "aabb")
    proposal = GreedySolver(changing_loss=loss).solve(problem, session())
    assert proposal.selection.tolist() == [0, 3, 4, 7]
    assert [list(s) for s in loss.asked] == [[1, 3, 5, 7], [0, 3, 5, 7]]


def test_an_unchanging_loss_changes_nothing():
    """Asked anew for what it is anyway, the downgrade takes the same steps."""
    problem = network(8, 5)

    class Table:
        def losses(self, selection):
            return problem.loss

    proposal = GreedySolver(changing_loss=Table()).solve(problem, session())
    table = GreedySolver(refine=False).solve(problem, session())
    assert np.array_equal(proposal.selection, table.selection)


@pytest.mark.parametrize("losses", [np.zeros(3), np.full(8, np.nan)])
def test_a_changing_loss_is_checked(losses):
    """Anything but one finite number per choice is refused."""

    class Broken:
        def losses(self, selection):
            return losses

    with pytest.raises(InputError, match=r"one finite number per choice, shape \(8,\), got"):
        GreedySolver(changing_loss=Broken()).solve(reordered_problem(), session())


class Joint:
    """A measured loss that is not the table's: the sum of given losses, and what was asked for."""

    def __init__(self, problem, losses, fails=lambda configuration: False):
        self._truth = tabulated(
            "truth", losses, {"c": [[1, 2]] * len(problem)}, budgets=problem.budgets
        )
        self._fails, self.asked = fails, []

    def evaluate(self, configuration):
        self.asked.append(configuration)
        if len(self.asked) > 1 and self._fails(configuration):
            raise MeasurementError("the loss is NaN")
        return self._truth.evaluate(self._truth.selection(configuration)).loss


TRUTH = [[9.0, 0], [0.1, 0], [0.2, 0], [9.0, 0]]


def test_measurements_decide_between_the_best_by_table():
    """Of the candidates that the table names, those that measure best are downgraded."""
    problem = reordered_problem()
    objective = Joint(problem, TRUTH)
    solution = solve(
        problem, GreedySolver(refine=False, measured=True, candidates=3), objective=objective
    )
    bits = [p.weight_bits for p in solution.configuration.values()]
    assert bits == [2, 1, 1, 2]
    assert len(objective.asked) == len(set(objective.asked)) == 1 + 3 + 3


@pytest.mark.parametrize("limit", [1, 2, 5, 9])
def test_measurements_are_limited(limit):
    """No more is measured than the effort allows; then the table decides, and it is said."""
    problem = reordered_problem()
    objective = Joint(problem, TRUTH)
    proposal = GreedySolver(measured=True).solve(
        problem, session(evaluations=limit, objective=objective)
    )
    assert len(objective.asked) <= limit
    assert not problem.evaluate(proposal.selection).over_budget(problem.budgets)
    assert not proposal.complete


def test_what_cannot_be_measured_is_not_taken():
    """A candidate whose measurement fails counts as bad; one that always fails is an error."""
    problem = reordered_problem()
    objective = Joint(problem, TRUTH, lambda c: c["layer1"].weight_bits == 1)
    solution = solve(problem, GreedySolver(measured=True), objective=objective)
    assert [p.weight_bits for p in solution.configuration.values()] == [1, 2, 1, 2]

    class Down:
        def evaluate(self, configuration):
            raise MeasurementError("no network")

    with pytest.raises(MeasurementError, match="no network"):
        solve(problem, GreedySolver(measured=True), objective=Down())


def test_a_measured_greedy_needs_an_objective():
    """Without one it is refused, by the door and by itself."""
    with pytest.raises(UnsupportedProblemError, match="needs a measured objective"):
        solve(reordered_problem(), GreedySolver(measured=True))
    with pytest.raises(InputError, match="needs a measured objective"):
        GreedySolver(measured=True).solve(reordered_problem(), session())


def test_measuring_the_table_itself_is_as_good_as_the_table():
    """With all moves measured by the table's own loss, the steps are the table's."""
    problem = only(network(6, 2), "bitops")
    by_table = solve(problem, GreedySolver(refine=False))
    measured = GreedySolver(refine=False, measured=True, candidates=6)
    assert solve(problem, measured, objective=TableObjective(problem)).loss == by_table.loss


def test_options_are_checked_and_shown():
    """A run configuration can name the options; candidates below 1 are refused."""
    assert options_model(GreedySolver)().model_dump() == {
        "refine": True, "measured": False, "candidates": 4, "changing_loss": None
    }  # fmt: skip
    with pytest.raises(InputError, match="candidates must be 1 or more, got 0"):
        GreedySolver(candidates=0)


def test_time_that_is_up_is_said():
    """A greedy without time gives no configuration and says why."""
    proposal = GreedySolver().solve(network(20), session(seconds=1e-9))
    assert proposal.selection is None
    assert not proposal.complete
    assert "time was up" in proposal.explanation


def test_a_stopped_downgrade_says_so():
    """Told to stop, the downgrade leaves the state where it is."""
    tables = move_tables(network(5))
    state = State(tables, least_rows(tables, tables.losses(tables.problem.loss)))
    assert not downgrade(state, stop=lambda: True, pick=lambda movers, relief: None)


@pytest.mark.slow
def test_a_hundred_thousand_layers():
    """One budget over 100,000 layers: within it, and next to the bound of the convex hull."""
    problem = only(network(100_000), "bitops")
    assert len(problem.loss) == 1_600_000
    proposal = GreedySolver().solve(problem, session())
    evaluation = problem.evaluate(proposal.selection)
    assert not evaluation.over_budget(problem.budgets)
    loss = problem.loss.reshape(-1, 16)
    cost = problem.costs["bitops"].units.reshape(-1, 16)
    multipliers = np.geomspace(1e-16, 1e-6, 200)
    bound = max(
        float((loss + u * cost).min(axis=1).sum() - u * float(problem.budgets["bitops"]))
        for u in multipliers
    )
    assert bound <= evaluation.loss <= bound * 1.05
