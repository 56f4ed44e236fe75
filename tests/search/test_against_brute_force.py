"""Our solvers find what trying every configuration finds, on thousands of awkward problems.

Every solver gets all that its traits take: several budgets, ties of one side, pairwise terms, peaks.
"""

import numpy as np
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from bitwright.problems.errors import UnsupportedProblemError
from bitwright.problems.formats.problem_json import problem_document
from bitwright.problems.protocols import Effort, HasFront
from bitwright.problems.solution import Status
from bitwright.search.door import front, solve
from bitwright.testing.enumeration import enumerated
from bitwright.testing.fronts import check_front
from bitwright.testing.known_cases import KNOWN_CASES
from tests.search.random_problems import PAIRS, SIDES, budgeted, problems_for, tables
from tests.search.solvers import ALL, PROVERS, REGISTERED, made

WITH_FRONT = [name for name in REGISTERED if isinstance(made(name), HasFront)]
ROUNDING = 1e-12
EFFORTS = st.builds(Effort, states=st.sampled_from([1, 2, 5, 50]))


class Shown:
    """A problem that hypothesis prints in full where a test fails, and does not before."""

    def __init__(self, problem):
        self._problem = problem

    def __repr__(self):
        return str(problem_document(self._problem))


def magnitude(problem):
    """What the sizes of losses may add up to, the measure of rounding."""
    sizes = np.maximum.reduceat(np.abs(problem.loss), problem.choice_start[:-1]).sum()
    return float(sizes) + sum(float(np.abs(term.loss).max()) for term in problem.interactions)


def check_answer(problem, solver, effort=Effort()):
    """Whatever is said of the answer, its bound and its status is true; returns both losses."""
    note(Shown(problem))
    solution, least = solve(problem, solver, effort=effort), enumerated(problem).least_loss()
    if least is None:
        assert solution.configuration is None
        assert solution.explanation or not solver.traits.exact
        return solution, least
    rounding = ROUNDING * magnitude(problem)
    assert solution.status is not Status.INFEASIBLE
    assert solution.loss >= least
    assert solution.lower_bound <= least + rounding
    if solution.status is Status.OPTIMAL:
        assert solution.loss <= least + rounding
    return solution, least


def check_proved(problem, solver):
    """The answer is proved, and right to the last bit."""
    solution, least = check_answer(problem, solver)
    if least is None:
        assert solution.status is Status.INFEASIBLE
    else:
        assert solution.status is Status.OPTIMAL
        assert solution.loss == least


def run(examples, strategy, check, *, seeded):
    """Let hypothesis draw problems; a fast suite draws the same ones each time."""
    settings(max_examples=examples, deadline=None, derandomize=seeded)(given(strategy)(check))()


FAST = {"exact": 300, "front": 200, "ilp": 25, "ilp-highs": 25}
THOROUGH = {"exact": 6000, "front": 4000, "ilp": 300, "ilp-highs": 300}
bulk = pytest.mark.parametrize(
    ("examples", "layers"), [(FAST, 4), pytest.param(THOROUGH, 6, marks=pytest.mark.slow)]
)


@bulk
@pytest.mark.parametrize("name", PROVERS)
def test_proved_answers(name, examples, layers):
    """Solvers that prove give the loss that brute force finds, or prove that there is none."""
    solver = made(name)

    def check(problem):
        check_proved(problem, solver)

    problems = problems_for(solver.traits, max_layers=layers)
    run(examples[name], problems, check, seeded=examples is FAST)


@bulk
@pytest.mark.parametrize("name", [name for name in ALL if name not in PROVERS])
def test_true_answers(name, examples, layers):
    """Other solvers never break a budget nor claim what is not so; exact ones come near the best."""
    solver = made(name)

    def check(problem):
        solution, least = check_answer(problem, solver)
        if least is not None and solver.traits.exact:
            assert solution.loss <= least + 1e-6 * magnitude(problem)

    problems = problems_for(solver.traits, max_layers=min(layers, 4))
    run(examples.get(name, examples["front"] // 4), problems, check, seeded=examples is FAST)


@bulk
@pytest.mark.parametrize("name", [name for name in REGISTERED if name != "ilp"])
def test_limited_effort_is_honest(name, examples, layers):
    """Stopped early, a solver's answers and bounds still hold."""
    solver = made(name)

    def check(drawn):
        check_answer(drawn[0], solver, drawn[1])

    problems = st.tuples(problems_for(solver.traits, max_layers=layers), EFFORTS)
    run(examples["front"] // 4, problems, check, seeded=examples is FAST)


@bulk
@pytest.mark.parametrize("name", WITH_FRONT)
def test_fronts_of_one_cost(name, examples, layers):
    """Solvers with a front of their own give the true one, to the last bit."""
    solver = made(name)
    kinds = {"sides": SIDES, "pairs": PAIRS if solver.traits.pairwise else (), "same_lists": False}

    def check(problem):
        note(Shown(problem))
        found = front(problem, ["c0"], solver)
        assert found.exact
        check_front(found, problem)

    problems = tables(**kinds, max_layers=layers) | budgeted(**kinds, max_layers=layers)
    run(examples["front"], problems, check, seeded=examples is FAST)


@bulk
@pytest.mark.parametrize("costs", [1, 2])
@pytest.mark.parametrize("name", WITH_FRONT)
def test_fronts_keep_their_error(name, costs, examples, layers):
    """With an allowed error, little effort or few points, a front misses by no more than it says."""
    solver = made(name)
    refuse_unsupported(solver, costs)
    wishes = st.fixed_dictionaries({
        "epsilon": st.sampled_from([0.0, 1e-3, 0.1, 0.5]),
        "effort": st.just(Effort()) | EFFORTS,
        "points": st.sampled_from([None, None, 1, 2, 5]),
    })  # fmt: skip

    def check(drawn):
        problem, wish = drawn
        note(Shown(problem))
        names = [f"c{k}" for k in range(costs)]
        check_front(front(problem, names, solver, **wish), problem)

    problems = tables(costs=costs, max_layers=layers) | budgeted(costs=costs, max_layers=layers)
    run(examples["front"] // 2, st.tuples(problems, wishes), check, seeded=examples is FAST)


def refuse_unsupported(solver, costs):
    """Skip where the solver has no front over so many costs; there is no trait for that."""
    case = next(c for c in KNOWN_CASES if len(c.problem.cost_names) >= costs)
    problem = case.problem.with_budgets({})
    try:
        front(problem, problem.cost_names[:costs], solver)
    except UnsupportedProblemError as error:
        pytest.skip(str(error))
