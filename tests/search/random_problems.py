"""Small random problems of awkward kinds, and how to draw them."""

import itertools
from fractions import Fraction

from hypothesis import strategies as st

from bitwright.problems.precision import Precision
from bitwright.problems.terms import Interaction, Peak
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
PAIRS = ("chain", "skip", "dense", "duplicate", "tied", "any")
"""Which layers interact: neighbours, neighbours of neighbours too, all, one pair twice and the
other way round, those that ties bind, or two at random."""

_COMMON = Precision(2, 4)
_OTHERS = [
    Precision(2, 8), Precision(4, 4), Precision(4, 8), Precision(8, 4),
    Precision(8, 8), Precision(4, 8, "svd-32"), Precision(16, 16, "float"),
]  # fmt: skip


@st.composite
def tables(
    draw,
    costs=1,
    max_layers=4,
    max_choices=4,
    sides=("all",),
    same_lists=True,
    pairs=(),
    peaks=False,
):
    """A problem without budgets: `costs` costs c0, c1, ... and up to two ties of these sides.

    In most of them losses fall from choice to choice, while most costs rise and some fall. Without
    `same_lists` every layer has the first choice in common with all others, and others of its own.
    `pairs` are kinds of interactions, of which one is drawn; `peaks` may add a peak cost.
    """
    loss = LOSSES[draw(st.sampled_from(sorted(LOSSES)))]
    kinds = [COSTS[draw(st.sampled_from(sorted(COSTS)))] for _ in range(costs)]
    layers = draw(st.integers(1, max_layers))
    counts = draw(st.lists(st.integers(1, max_choices), min_size=layers, max_size=layers))
    traded, orders = draw(st.integers(0, 3)) > 0, st.sampled_from([1, 1, -1, 0])

    def table(values, order):
        rows = [draw(st.lists(values, min_size=n, max_size=n)) for n in counts]
        return [sorted(row)[::order] for row in rows] if order else rows

    drawn = [
        ([i for i in draw(TIES) if i < len(counts)], draw(st.sampled_from(sides))) for _ in "ab"
    ]
    ties = [Tie(_names(tied), side) for tied, side in drawn if len(tied) > 1]
    widths = [[Precision(1 + j // 2, 2 + j % 2) for j in range(n)] for n in counts]
    if not same_lists:
        widths = [[_COMMON, *draw(st.permutations(_OTHERS))[: n - 1]] for n in counts]
    return tabulated(
        "drawn",
        table(loss, -1 if traded else 0),
        {f"c{k}": table(v, draw(orders) if traded else 0) for k, v in enumerate(kinds)},
        widths,
        ties=ties,
        interactions=draw(_interactions(counts, [t for t, _ in drawn], pairs, loss, kinds)),
        peaks=draw(_peaks(len(counts))) if peaks else (),
        fixed_costs=draw(st.sampled_from([{}, {}, {"c0": 1}, {"c0": Fraction(1, 4)}])),
    )


@st.composite
def _interactions(draw, counts, tied, kinds, loss, cost_kinds):
    if not kinds:
        return ()
    terms = []
    for a, b in draw(_linked(len(counts), tied, draw(st.sampled_from(kinds)))):
        shape = (counts[a], counts[b])
        costs = {
            f"c{k}": draw(_matrix(kind, shape))
            for k, kind in enumerate(cost_kinds)
            if draw(st.integers(0, 2)) == 0
        }
        terms.append(Interaction(_names((a, b)), draw(_matrix(loss, shape)), costs))
    return tuple(terms)


@st.composite
def _linked(draw, layers, tied, kind):
    """The pairs of layers that interact; few where they are many, to stay quick."""
    chain = list(itertools.pairwise(range(layers)))
    if kind == "chain":
        return chain
    if kind == "skip":
        return chain + [(i, i + 2) for i in range(layers - 2)]
    if kind == "dense":
        return list(itertools.combinations(range(layers), 2))
    if kind == "tied":
        return [tuple(group[:2]) for group in tied if len(group) > 1]
    ordered = list(itertools.permutations(range(layers), 2))
    if not ordered:
        return []
    a, b = draw(st.sampled_from(ordered))
    return [(a, b), (a, b), (b, a)] if kind == "duplicate" else [(a, b)]


@st.composite
def _matrix(draw, values, shape):
    """A matrix of such values, of one value and zeros, or of zeros alone."""
    rows, columns = shape
    kind = draw(st.integers(0, 3))
    if kind < 2:
        flat = draw(st.lists(values, min_size=rows * columns, max_size=rows * columns))
        return [flat[r * columns : (r + 1) * columns] for r in range(rows)]
    value = draw(values) if kind == 2 else 0
    return [[value if r != c else 0 for c in range(columns)] for r in range(rows)]


@st.composite
def _peaks(draw, layers):
    """No peak, or one of up to three steps, over two entries at times."""
    number = st.sampled_from([0, 1, 3, Fraction(5, 2), 10**12])
    step = st.dictionaries(st.sampled_from(_names(range(layers))), number, min_size=1)
    steps = draw(st.lists(step, max_size=3))
    if not steps:
        return ()
    if len(steps) > 1 and draw(st.booleans()):
        return (Peak("peak", tuple(steps[:1])), Peak("peak", tuple(steps[1:])))
    return (Peak("peak", tuple(steps)),)


@st.composite
def budgeted(draw, most=9, **options):
    """A problem with a budget per cost: what some configuration takes, a unit less, or a share.

    All budgets go by one configuration, or each by one of its own: reachable alone, often not
    together. A tight budget goes by the cheapest choices. With more costs than the `most` budgets
    allowed, some have none.
    """
    problem = draw(tables(**options))
    together = draw(st.booleans())
    taken = _selection(draw, problem)
    budgets = {}
    for name in draw(st.permutations(problem.cost_names))[:most]:
        if not together:
            tight = name in problem.costs and draw(st.booleans())
            taken = _cheapest(problem, name) if tight else _selection(draw, problem)
        total = problem.evaluate(taken).costs[name]
        digits = problem.costs[name].digits if name in problem.costs else 1
        unit = Fraction(1, 10**digits)
        change = draw(
            st.sampled_from([Fraction(0), Fraction(0), -unit, unit, -unit / 2, total / 7])
        )
        budgets[name] = max(total + change, Fraction(0))
    return problem.with_budgets(budgets)


@st.composite
def problems_for(draw, traits, **options):
    """Problems with all that solvers of these traits take: several budgets, pairwise terms, peaks."""
    costs = draw(st.integers(1, 3))
    peaks = traits.peaks and draw(st.booleans())
    settings = {
        "most": draw(st.integers(1, costs + peaks)) if traits.several_budgets else 1,
        "costs": costs,
        "sides": SIDES if traits.side_ties else SIDES[:1],
        "pairs": PAIRS if traits.pairwise and draw(st.booleans()) else (),
        "peaks": peaks,
        "same_lists": False,
    }
    return draw(budgeted(**{**settings, **options}))


def _selection(draw, problem):
    return _tied(problem, [draw(st.sampled_from(problem.span(i))) for i in range(len(problem))])


def _cheapest(problem, cost):
    units = problem.costs[cost].units
    spans = [problem.span(i) for i in range(len(problem))]
    return _tied(problem, [min(span, key=lambda j: units[j]) for span in spans])


def _tied(problem, selection):
    """The selection, with the first choice, which all have in common, where it broke a tie."""
    for tie in problem.ties if problem.broken_ties(selection) else ():
        for name in tie.layers:
            selection[problem.index[name]] = problem.span(name).start
    return selection


def _names(layers):
    return tuple(f"layer{i}" for i in layers)
