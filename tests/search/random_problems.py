"""Small random problems of awkward kinds, and how to draw them."""

from fractions import Fraction

from hypothesis import strategies as st

from bitwright.problems.precision import Precision
from bitwright.problems.ties import Tie
from bitwright.testing.known_cases import tabulated

_MANTISSAS = st.integers(-9999, 9999)
LOSSES = {
    "few integers": st.integers(-2, 2).map(float),
    "decimals": st.integers(-20, 20).map(lambda k: k / 10),
    "eight decades": st.builds(lambda m, e: m * 10.0**e, _MANTISSAS, st.integers(-8, 0)),
    "any": st.floats(-1e3, 1e3).map(lambda x: x if abs(x) > 1e-9 else 0.0),
}
COSTS = {
    "few integers": st.integers(0, 3),
    "decimals": st.integers(0, 12).map(lambda k: k / 10),
    "bit operations": st.integers(0, 10**15),
    "near a large number": st.integers(-2, 2).map(lambda k: 10**12 + k),
    "beyond int64": st.integers(10**29, 10**30),
    "free": st.just(0),
}
TIES = st.sampled_from([(), (0, 1), (0, 2), (1, 3), (0, 1, 2)])
SIDES = ("all", "weight", "activation")


@st.composite
def tables(draw, costs=1, max_layers=4, max_choices=4, sides=("all",)):
    """A problem without budgets: `costs` costs c0, c1, ... and up to two ties of these sides."""
    loss = LOSSES[draw(st.sampled_from(sorted(LOSSES)))]
    kinds = [COSTS[draw(st.sampled_from(sorted(COSTS)))] for _ in range(costs)]
    counts = draw(st.lists(st.integers(1, max_choices), min_size=1, max_size=max_layers))

    def table(values):
        return [draw(st.lists(values, min_size=n, max_size=n)) for n in counts]

    drawn = [
        ([i for i in draw(TIES) if i < len(counts)], draw(st.sampled_from(sides))) for _ in "ab"
    ]
    ties = [Tie(tuple(f"layer{i}" for i in tied), side) for tied, side in drawn if len(tied) > 1]
    widths = [[Precision(1 + j // 2, 2 + j % 2) for j in range(n)] for n in counts]
    return tabulated(
        "drawn", table(loss), {f"c{k}": table(v) for k, v in enumerate(kinds)}, widths, ties=ties
    )


@st.composite
def budgeted(draw, **options):
    """A problem with a budget per cost: what some configuration takes, a unit less, or a share."""
    problem = draw(tables(**options))
    budgets = {}
    for name, column in problem.costs.items():
        taken = [draw(st.sampled_from(problem.span(i))) for i in range(len(problem))]
        total = sum((column.value(j) for j in taken), Fraction(0))
        unit = Fraction(1, 10**column.digits)
        change = draw(st.sampled_from([Fraction(0), -unit, unit, -unit / 2, total / 7]))
        budgets[name] = max(total + change, Fraction(0))
    return problem.with_budgets(budgets)
