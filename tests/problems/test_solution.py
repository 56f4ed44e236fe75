"""Solutions: what goes together, the gap, and the line for people."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitwright.problems import BitConfiguration, InputError, Precision, Solution, Status

from .strategies import some

BITS = BitConfiguration({"conv1": Precision(4, 8)})


def solution(**changes):
    given_fields = {
        "problem": "p",
        "solver": "exact",
        "status": "feasible",
        "configuration": BITS,
        "loss": 2.0,
        "lower_bound": 1.5,
    }
    return Solution(**{**given_fields, **changes})


def no_answer(status="infeasible", **changes):
    return solution(status=status, configuration=None, loss=math.inf, **changes)


@some
@given(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300))
def test_the_gap_is_loss_minus_bound(loss, bound):
    """As formats.md says; the relative gap is its share of the larger magnitude."""
    low, high = sorted((loss, bound))
    answer = solution(loss=high, lower_bound=low)
    assert answer.gap == high - low
    assert answer.relative_gap == (0 if high == low else (high - low) / max(abs(high), abs(low)))


def test_an_optimal_solution_has_no_gap_and_none_is_infinite():
    """0 when proved, infinite without a bound or without an answer, and never NaN."""
    assert solution(status="optimal", lower_bound=2.0).gap == 0
    without = [
        solution(lower_bound=-math.inf),
        no_answer(lower_bound=-math.inf),
        no_answer(lower_bound=math.inf),
        no_answer("stopped"),
    ]
    assert [(s.gap, s.relative_gap) for s in without] == [(math.inf, math.inf)] * 4


def test_the_line_for_people_says_what_happened():
    """Loss, certainty and each budget; or the reason why there is no answer."""
    answer = solution(costs={"ms": 2.4991}, budgets={"ms": 2.5}, slack={"ms": 0.0009})
    assert answer.summary() == "loss 2, feasible; optimality not proved; ms 2.4991 of 2.5"
    assert solution().summary() == "loss 2, feasible; optimality not proved"
    reason = "budget 'ms' = 1, least reachable 1.87"
    assert no_answer(explanation=reason).summary().endswith(f"meets every budget: {reason}")


def test_every_status_has_its_words_in_the_contract():
    """The four statuses of formats.md, each with its own sentence; two hold an answer."""
    assert {str(s) for s in Status} == {"optimal", "feasible", "infeasible", "stopped"}
    assert len({s.meaning for s in Status}) == 4
    assert {str(s) for s in Status if s.has_answer} == {"optimal", "feasible"}


def test_the_callers_dictionaries_stay_theirs():
    """Costs, budgets and slack are copied."""
    costs = {"ms": 1.0}
    answer = solution(costs=costs)
    costs["ms"] = 9
    assert answer.costs == {"ms": 1.0}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"status": "optimel"}, "unknown status 'optimel'; did you mean 'optimal'"),
        ({"configuration": None}, "status feasible and configuration None do not go together"),
        ({"status": "stopped"}, "status stopped and configuration .* do not go together"),
        ({"loss": math.nan}, "the loss of a configuration must be finite, got nan"),
        ({"loss": math.inf}, "the loss of a configuration must be finite, got inf"),
        ({"lower_bound": 2.5}, "lower_bound <= loss must hold, got 2.5 > 2.0"),
        ({"status": "optimal"}, "an optimal solution has a lower bound equal to its loss"),
        ({"slack": {"ms": -1e-9}}, r"slack of a solution must not be negative: \['ms'\]"),
    ],
)
def test_what_does_not_go_together_is_refused(fields, message):
    """Each rule has its own message."""
    with pytest.raises(InputError, match=message):
        solution(**fields)


@pytest.mark.parametrize("fields", [{"loss": 2.0}, {"costs": {"ms": 1}}, {"slack": {"ms": 1}}])
def test_without_an_answer_there_are_no_figures(fields):
    """An infeasible problem has neither a finite loss nor costs."""
    with pytest.raises(InputError, match="status infeasible needs an infinite loss and neither"):
        solution(**{"status": "infeasible", "configuration": None, "loss": math.inf, **fields})
