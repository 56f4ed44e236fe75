"""The same problems in other people's solvers, from the arrays to a selection.

Each takes a problem and a time limit in seconds, builds the textbook integer program (one binary
variable per choice, one row per layer and per budget) and solves it with one thread to no gap.
Pairwise terms are products of variables, in the tight form: the products that take a choice add up
to its variable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitwright.problems.problem import AllocationProblem


@dataclass(frozen=True)
class Found:
    """What a solver says: a selection or None, its lower bound, and whether it calls that optimal."""

    selection: NDArray[np.int64] | None
    bound: float = -np.inf
    proved: bool = False


Solve = Callable[[AllocationProblem, float], Found]


def pulp_cbc(problem: AllocationProblem, seconds: float) -> Found:
    """PuLP with the CBC of its wheel, called as HAWQ-V3, Sony MCT and NVIDIA ModelOpt call it."""
    import pulp
    from pulp.apis.coin_api import PULP_CBC_CMD

    path = PULP_CBC_CMD.pulp_cbc_path  # the class itself warns that it will be renamed
    return _pulp(problem, pulp.COIN_CMD(path=path, msg=False, timeLimit=seconds))


def pulp_highs(problem: AllocationProblem, seconds: float) -> Found:
    """PuLP with HiGHS."""
    import pulp

    return _pulp(problem, pulp.HiGHS(msg=False, timeLimit=seconds, threads=1, gapRel=0.0))


def _pulp(problem: AllocationProblem, solver: Any) -> Found:
    import pulp

    program = pulp.LpProblem("allocation", pulp.LpMinimize)
    x = [program.add_variable(f"x{j}", 0, 1, pulp.LpInteger) for j in range(len(problem.loss))]
    terms = [(x[j], loss) for j, loss in enumerate(problem.loss.tolist())]
    for k, (pair, loss, sides) in enumerate(_products(problem)):
        y = [program.add_variable(f"y{k}_{p}", 0, 1) for p in range(pair.size)]
        terms += zip(y, loss, strict=True)
        for j, line in sides:
            program.addConstraint(pulp.lpSum([y[p] for p in line]) - x[j] == 0)
    program.setObjective(pulp.LpAffineExpression(terms))
    for i in range(len(problem)):
        program.addConstraint(pulp.lpSum([x[j] for j in problem.span(i)]) == 1)
    for name, limit in problem.budgets.items():
        costs = problem.costs[name].floats().tolist()
        used = pulp.LpAffineExpression(list(zip(x, costs, strict=True)))
        program.addConstraint(used <= float(limit))
    program.solve(solver)
    if program.sol_status not in (pulp.LpSolutionOptimal, pulp.LpSolutionIntegerFeasible):
        return Found(None)
    proved = program.sol_status == pulp.LpSolutionOptimal
    values = np.array([v.value() or 0.0 for v in x])
    bound = float(pulp.value(program.objective)) if proved else -np.inf
    return Found(_largest(problem, values), bound, proved)


def scipy_milp(problem: AllocationProblem, seconds: float) -> Found:
    """HiGHS as `scipy.optimize.milp`."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    m, rows = len(problem.loss), len(problem)
    layer = np.repeat(np.arange(rows), np.diff(problem.choice_start))
    objective, r, c, v = [problem.loss], [layer], [np.arange(m)], [np.ones(m)]
    low, high = [np.ones(rows)], [np.ones(rows)]
    for name, limit in problem.budgets.items():
        r.append(np.full(m, rows))
        c.append(np.arange(m))
        v.append(problem.costs[name].floats())
        low.append(np.array([-np.inf]))
        high.append(np.array([float(limit)]))
        rows += 1
    size = m
    for pair, loss, sides in _products(problem):
        objective.append(loss)
        for j, line in sides:
            r.append(np.full(len(line) + 1, rows))
            c.append(np.append(size + line, j))
            v.append(np.append(np.ones(len(line)), -1.0))
            rows += 1
        low.append(np.zeros(len(sides)))
        high.append(np.zeros(len(sides)))
        size += pair.size
    matrix = csr_array(
        (np.concatenate(v), (np.concatenate(r), np.concatenate(c))), shape=(rows, size)
    )
    result = milp(
        np.concatenate(objective),
        constraints=LinearConstraint(matrix, np.concatenate(low), np.concatenate(high)),
        integrality=(np.arange(size) < m).astype(int),
        bounds=Bounds(0, 1),
        options={"time_limit": seconds, "mip_rel_gap": 0.0},
    )
    bound = -np.inf if result.mip_dual_bound is None else float(result.mip_dual_bound)
    if result.x is None:
        return Found(None, bound)
    return Found(_largest(problem, result.x[:m]), bound, proved=result.status == 0)


_CP_SAT_LARGEST_LOSS = 10**9
"""Losses become integers for CP-SAT: the largest difference in a layer becomes this."""


def cp_sat(problem: AllocationProblem, seconds: float) -> Found:
    """OR-tools' CP-SAT, in integers; losses are rounded to about nine digits."""
    from ortools.sat.python import cp_model

    pairs = list(_products(problem))
    least = np.minimum.reduceat(problem.loss, problem.choice_start[:-1])
    regret = problem.loss - np.repeat(least, np.diff(problem.choice_start))
    span = max([float(regret.max()), *(float(np.ptp(loss)) for _, loss, _ in pairs)]) or 1.0
    scale = _CP_SAT_LARGEST_LOSS / span
    model = cp_model.CpModel()
    x = [model.new_bool_var("") for _ in problem.loss]
    variables, weights, offset = [*x], np.rint(regret * scale).astype(int).tolist(), least.sum()
    for pair, loss, sides in pairs:
        y = [model.new_bool_var("") for _ in range(pair.size)]
        variables += y
        weights += np.rint((loss - loss.min()) * scale).astype(int).tolist()
        offset += loss.min()
        for j, line in sides:
            model.add(sum(y[p] for p in line) == x[j])
    for i in range(len(problem)):
        model.add_exactly_one([x[j] for j in problem.span(i)])
    for name, limit in problem.budgets.items():
        column = problem.costs[name]
        used = cp_model.LinearExpr.weighted_sum(x, column.units.tolist())
        model.add(used <= column.in_units(limit))
    model.minimize(cp_model.LinearExpr.weighted_sum(variables, weights))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.max_time_in_seconds = seconds
    status = solver.solve(model)
    bound = solver.best_objective_bound / scale + float(offset)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Found(None, bound)
    values = np.array([solver.value(v) for v in x])
    return Found(_largest(problem, values), bound, proved=status == cp_model.OPTIMAL)


RIVALS: dict[str, Solve] = {
    "PuLP+CBC": pulp_cbc,
    "PuLP+HiGHS": pulp_highs,
    "scipy milp": scipy_milp,
    "CP-SAT": cp_sat,
}
NEEDS = {"PuLP+CBC": "pulp", "PuLP+HiGHS": "highspy", "scipy milp": "scipy", "CP-SAT": "ortools"}

Sides = list[tuple[int, NDArray[np.int64]]]


def _products(
    problem: AllocationProblem,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64], Sides]]:
    """Of every interaction: product numbers by choice and choice, their losses, and its rows.

    A row is a choice and the numbers of the products that take it.
    """
    for term in problem.interactions:
        a, b = (problem.span(name) for name in term.layers)
        pair = np.arange(len(a) * len(b)).reshape(len(a), len(b))
        sides = [*zip(a, pair, strict=True), *zip(b, pair.T, strict=True)]
        yield pair, np.array(term.loss).ravel(), sides


def _largest(problem: AllocationProblem, values: NDArray[np.float64]) -> NDArray[np.int64]:
    """The choice with the largest variable in every layer."""
    spans = [problem.span(i) for i in range(len(problem))]
    return np.array([s.start + int(np.argmax(values[s.start : s.stop])) for s in spans])
