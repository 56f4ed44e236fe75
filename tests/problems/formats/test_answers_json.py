"""Solutions and fronts as JSON: the contract's examples, round trips, and bad figures."""

import json
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitwright.problems import InputError, ParetoFront, Precision, Solution, Status, non_dominated
from bitwright.problems.formats import (
    read_front,
    read_problem,
    read_solution,
    write_front,
    write_solution,
)
from bitwright.problems.formats.answers_json import (
    front_document,
    front_from_document,
    solution_document,
    solution_from_document,
)
from bitwright.problems.formats.json_text import parse_json

from ..strategies import configurations, figures, names, some
from .documents import FRONT, FULL_FRONT, SOLUTION
from .test_problem_json import at

FINITE = st.floats(-1e300, 1e300)


def test_the_solution_of_the_contract_means_what_it_says():
    """Every figure of the example is read, and writing it gives the example again."""
    solution = solution_from_document(parse_json(SOLUTION, "file"), "file")
    assert (solution.problem, solution.solver, solution.status) == (
        "resnet18-t4",
        "exact",
        "optimal",
    )
    assert (solution.loss, solution.lower_bound, solution.gap, solution.relative_gap) == (
        *(0.0123, 0.0123),
        *(0, 0),
    )
    assert solution.costs == {"latency_ms": 2.4991, "size_bits": 81231872}
    assert (solution.budgets, solution.slack) == ({"latency_ms": 2.5}, {"latency_ms": 0.0009})
    assert dict(solution.configuration) == {"stage1.unit1.conv1": Precision(4, 4)}
    assert (solution.explanation, solution.seconds, solution.seed) == (None, 0.004, 0)
    assert solution_document(solution) == json.loads(SOLUTION)


def test_the_front_of_the_contract_means_what_it_says():
    """Every figure of the example is read, and writing it gives the example again."""
    front = front_from_document(parse_json(FRONT, "file"), "file")
    assert (front.costs, front.solver, front.exact, front.epsilon) == (
        ("size_bits",),
        "front",
        True,
        0,
    )
    assert [(p.costs, p.loss, dict(p.configuration)) for p in front] == [
        ({"size_bits": 1234}, 0.5, {})
    ]
    assert front_document(front) == json.loads(FRONT)


@st.composite
def solutions(draw):
    status = draw(st.sampled_from(Status))
    loss, bound = (draw(FINITE), draw(FINITE | st.just(-math.inf)))
    if status is Status.OPTIMAL:
        bound = loss
    answer = {"configuration": None, "loss": math.inf, "lower_bound": -math.inf}
    if status.has_answer:
        answer = {"configuration": draw(configurations), "loss": max(loss, bound)}
        answer |= {"lower_bound": min(loss, bound), "costs": draw(figures), "slack": draw(figures)}
    if math.isinf(answer["loss"]) and status.has_answer:
        answer["loss"] = loss
    return Solution(
        problem=draw(names),
        solver=draw(names),
        status=status,
        **answer,
        budgets=draw(figures),
        explanation=draw(st.none() | names),
        seconds=draw(st.integers(0, 10**9)) / 10**6,
        seed=draw(st.integers(0, 2**32)),
        version=draw(names),
    )


@st.composite
def fronts(draw):
    count, columns = draw(st.integers(0, 6)), draw(st.integers(1, 3))
    cells = draw(st.sampled_from([st.integers(0, 9), st.integers(0, 2**62), st.floats(0, 1e300)]))
    rows = draw(
        st.lists(
            st.lists(cells, min_size=columns, max_size=columns), min_size=count, max_size=count
        )
    )
    values = np.array(rows).reshape(count, columns)
    losses = np.array(draw(st.lists(FINITE, min_size=count, max_size=count)))
    kept = non_dominated(values, losses)
    bits = [draw(configurations) for _ in kept] if draw(st.booleans()) else []
    if bits and draw(st.booleans()):
        bits[1:] = [None] * len(bits[1:])
    return ParetoFront(
        problem=draw(names),
        solver=draw(names),
        costs=("size_bits", "ms", "uj")[:columns],
        cost_values=values[kept],
        losses=losses[kept],
        exact=draw(st.booleans()),
        epsilon=draw(st.none() | st.floats(0, 1)),
        configurations=bits,
    )


@some
@given(solutions())
def test_solutions_read_back_equal(tmp_path, solution):
    """Every status, with and without bound, bits and explanation; valid for any JSON reader."""
    write_solution(solution, tmp_path / "s.json")
    assert read_solution(tmp_path / "s.json") == solution
    document = json.loads((tmp_path / "s.json").read_text(), parse_constant=pytest.fail)
    assert set(document) == set(json.loads(SOLUTION))
    assert (
        (document["bits"] is None) == (document["loss"] is None) == (not solution.status.has_answer)
    )


@some
@given(fronts())
def test_fronts_read_back_equal(tmp_path, front):
    """Empty ones, several costs, and bits for all, some or none of the points."""
    write_front(front, tmp_path / "f.json")
    assert read_front(tmp_path / "f.json") == front
    document = json.loads((tmp_path / "f.json").read_text(), parse_constant=pytest.fail)
    assert set(document) == set(json.loads(FRONT))
    assert [("bits" in p) for p in document["points"]] == [
        p.configuration is not None for p in front
    ]


def test_figures_that_follow_may_be_left_out():
    """Other writers need not repeat gap, seed or version."""
    optional = (
        "gap",
        "relative_gap",
        "budgets",
        "slack",
        "explanation",
        "seconds",
        "seed",
        "version",
    )
    document = {k: v for k, v in json.loads(SOLUTION).items() if k not in optional}
    solution = solution_from_document(parse_json(json.dumps(document), "file"), "file")
    assert (solution.gap, solution.seed, solution.slack) == (0, 0, {})


SOLUTION_DOCUMENT = json.loads(SOLUTION)
LAYER = ("bits", "stage1.unit1.conv1")


@pytest.mark.parametrize(
    ("document", "path", "value", "message"),
    [
        (
            SOLUTION_DOCUMENT,
            ("status",),
            "optimel",
            "status: 'optimel' is unknown; did you mean 'optimal'",
        ),
        (SOLUTION_DOCUMENT, ("lower_bound",), 1, "lower_bound <= loss must hold, got 1.0 > 0.0123"),
        (SOLUTION_DOCUMENT, ("loss",), 10**400, "loss: value must be below 1.8e+308"),
        (SOLUTION_DOCUMENT, ("costs", "size_bits"), "1", "costs.size_bits: must be a number"),
        (
            SOLUTION_DOCUMENT,
            ("slack", "latency_ms"),
            -1,
            "slack of a solution must not be negative",
        ),
        (
            SOLUTION_DOCUMENT,
            (*LAYER, "weight_bits"),
            0,
            f"{'.'.join(LAYER)}: weight_bits must be an int",
        ),
        (SOLUTION_DOCUMENT, (*LAYER, "bits"), 1, f"{'.'.join(LAYER)}: unknown key 'bits'"),
        (
            SOLUTION_DOCUMENT,
            ("bits", ""),
            SOLUTION_DOCUMENT["bits"][LAYER[1]],
            "bits: a layer name must",
        ),
        (SOLUTION_DOCUMENT, ("gap",), "none", "gap: must be a number"),
        (FULL_FRONT, ("points", 0, "costs", "ms"), None, "points[0].costs: key 'ms' is missing"),
        (
            FULL_FRONT,
            ("points", 0, "costs", "ms"),
            10**400,
            "points[0].costs.ms: value must be below",
        ),
        (
            FULL_FRONT,
            ("points", 0, "costs", "ms"),
            2,
            "the points of a front must be non-dominated",
        ),
        (
            FULL_FRONT,
            ("points", 0, "cost"),
            1,
            "points[0]: unknown key 'cost'; did you mean 'costs'",
        ),
        (
            FULL_FRONT,
            ("points", 1, "bits", ""),
            {"weight_bits": 4, "activation_bits": 4},
            "points[1].bits: a",
        ),
        (FULL_FRONT, ("exact",), 1, "exact: must be true or false, got 1"),
        (FULL_FRONT, ("costs",), [], "points[0].costs: unknown key 'ms'; none is known"),
        (
            FULL_FRONT,
            ("format",),
            "bitwright-solution/1",
            "is a solution (bitwright-solution/1), where bitwright-front/1 is needed",
        ),
    ],
)
def test_bad_answers_are_named_by_file_place_and_rule(document, path, value, message):
    """One line: file, place, rule, value."""
    read = front_from_document if document is FULL_FRONT else solution_from_document
    text = json.dumps(at(document, path, value))
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read(parse_json(text, "file"), "file")
    assert str(caught.value).startswith("file: ")


@pytest.mark.parametrize("read", [read_solution, read_front, read_problem])
def test_a_document_of_another_kind_is_named_as_what_it_is(tmp_path, read):
    """A network given for something else is called a network, before its keys are found unknown."""
    file = tmp_path / "mine.json"
    file.write_text('{"format": "bitwright-network/1", "name": "x", "layers": []}')
    with pytest.raises(
        InputError, match=r"mine\.json: is a network \(bitwright-network/1\), where"
    ):
        read(file)
