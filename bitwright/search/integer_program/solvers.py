"""PuLP's solvers by name, set up to work silently, repeatably and to the last digit they can.

HiGHS (highspy 1.15) and the HiGHS inside scipy live together in one process, whichever comes first.
"""

from __future__ import annotations

import inspect
from typing import Any

import pulp
from pulp.apis.coin_api import PULP_CBC_CMD

from bitwright.problems.errors import InputError, MissingDependencyError, nearest

BUNDLED_CBC = "PULP_CBC_CMD"

_TOLERANCE = 1e-9
"""On feasibility and reduced costs. With the 1e-7 that CBC takes by itself it calls answers optimal
that are worse than others by 1e-7 of the largest loss."""


def pulp_solver(
    name: str,
    folder: str,
    *,
    relaxed: bool = False,
    gap: float = 0.0,
    nodes: int | None = None,
    seconds: float | None = None,
) -> Any:
    """A fresh PuLP solver that keeps its files in the folder.

    `relaxed` solves the linear relaxation, whose duals PuLP then holds; `gap` is the relative gap at
    which the solver may stop. Raises `InputError` for a name that PuLP does not have, and
    `MissingDependencyError` for a solver that is not installed.
    """
    limits = {"timeLimit": seconds, "gapRel": gap, "gapAbs": 1e-9}
    options = {"mip": not relaxed, "msg": False, **limits}
    if name in (BUNDLED_CBC, "COIN_CMD"):
        solver = _cbc(name, nodes, options)
    elif name == "HiGHS":
        solver = _highs(nodes, options)
    elif name in pulp.listSolvers():
        kind, taken = type(pulp.getSolver(name, msg=False)), _parameters(name)
        solver = kind(**{n: value for n, value in options.items() if n in taken})
    else:
        raise InputError(f"PuLP has no solver {name!r}; {nearest(name, pulp.listSolvers())}")
    if not solver.available():
        raise MissingDependencyError(f"PuLP finds no {name} on this machine")
    solver.tmpDir = folder
    return solver


def leaves_no_gap(name: str) -> bool:
    """Whether the solver can be told to go on to the optimum, so that its last value is a bound."""
    return name in (BUNDLED_CBC, "COIN_CMD", "HiGHS") or "gapRel" in _parameters(name)


def _parameters(name: str) -> set[str]:
    kind = type(pulp.getSolver(name, msg=False))
    return set(inspect.signature(kind.__init__).parameters)


def _cbc(name: str, nodes: int | None, options: dict[str, Any]) -> Any:
    # No `threads`: told to use one, this CBC now and then waits ten seconds for itself.
    precise = [f"primalTolerance {_TOLERANCE:g}", f"dualTolerance {_TOLERANCE:g}"]
    path = PULP_CBC_CMD.pulp_cbc_path if name == BUNDLED_CBC else None
    return pulp.COIN_CMD(path=path, maxNodes=nodes, options=precise, **options)


def _highs(nodes: int | None, options: dict[str, Any]) -> Any:
    # Not `threads=1`: HiGHS refuses that where something in the process has used more before.
    limits = {} if nodes is None else {"mip_max_nodes": nodes}
    return _Highs(
        parallel="off",
        random_seed=0,
        mip_feasibility_tolerance=_TOLERANCE,
        primal_feasibility_tolerance=_TOLERANCE,
        dual_feasibility_tolerance=_TOLERANCE,
        **limits,
        **options,
    )


class _Highs(pulp.HiGHS):  # type: ignore[misc]  # PuLP comes without types
    """HiGHS with an answer to the endings that PuLP does not know, such as nodes running out."""

    def findSolutionValues(self, lp: Any) -> tuple[int, int]:  # noqa: N802 - PuLP's name
        """Take over the values that HiGHS found; PuLP's status and solution status."""
        import highspy

        ended, info = lp.solverModel.getModelStatus(), lp.solverModel.getInfo()
        lp.dual_bound = info.mip_dual_bound
        if ended == highspy.HighsModelStatus.kOptimal:
            found: tuple[int, int] = super().findSolutionValues(lp)
            return found
        if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
            return pulp.LpStatusNotSolved, pulp.LpSolutionNoSolutionFound
        values = lp.solverModel.getSolution().col_value
        for variable in lp.variables():
            variable.varValue = values[variable.index]
        return pulp.LpStatusOptimal, pulp.LpSolutionIntegerFeasible
