"""The compiled twins: loops for numba, each equal to the numpy function of its name to the last bit.

What a function does, and its source, stands with its numpy twin. All of them are in this one file,
because numba's cache notices a change of the file that a function stands in and no other. Inner
loops are functions of their own: where arrays are exchanged within a loop, numba is slow at them.
"""

# The numpy twins have the docstrings and the types; numba infers the types, and takes no keywords.
# ruff: noqa: D103, PLR0917
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba  # type: ignore[import-not-found, unused-ignore]
import numpy as np

F = TypeVar("F", bound=Callable[..., Any])

_BEYOND = np.int64(2**63 - 1)


def compiled(function: F) -> F:
    """Compile on the first call, or load what an earlier process compiled."""
    return cast("F", numba.njit(cache=True)(function))


@compiled
def relaxed(start, cost, loss, limit):
    low, high = np.empty(len(start) - 1, np.int64), np.empty(len(start) - 1, np.int64)
    capacity = limit - _cheapest(start, cost, loss, low)
    if capacity < 0:
        return capacity, 0.0, low, capacity, np.empty(0), np.empty(0), 0.0
    price, regret = np.empty(len(cost)), np.empty(len(cost))
    _best_fitting(start, cost, loss, capacity, low, high, price, regret)
    line = _break(start, cost, loss, capacity, low, high, price, regret)
    room = _fill(cost, low, high, limit)
    nearest = np.empty(len(low))
    shortfall = _penalise(start, cost, loss, line, low, regret, nearest)
    return capacity, line, low, room, regret, nearest, shortfall


@compiled
def _cheapest(start, cost, loss, low):
    total = 0
    for g in range(len(low)):
        best = start[g]
        for r in range(best + 1, start[g + 1]):
            if cost[r] < cost[best] or (cost[r] == cost[best] and loss[r] < loss[best]):
                best = r
        low[g] = best
        total += cost[best]
    return total


@compiled
def _best_fitting(start, cost, loss, capacity, low, high, price, regret):
    """Fill in the best rows that fit, and all rows' cost and loss above those of the cheapest."""
    for g in range(len(low)):
        least, base, best = cost[low[g]], loss[low[g]], low[g]
        for r in range(start[g], start[g + 1]):
            price[r], regret[r] = cost[r] - least, np.inf
            if cost[r] - least <= capacity:
                regret[r] = loss[r] - base
                if loss[r] < loss[best] or (loss[r] == loss[best] and cost[r] < cost[best]):
                    best = r
        high[g] = best


@compiled
def _break(start, cost, loss, capacity, low, high, price, regret):
    cost_low, cost_high, loss_low, loss_high = 0, 0, 0.0, 0.0
    for g in range(len(low)):
        cost_high += cost[high[g]] - cost[low[g]]
        loss_low += loss[low[g]] - loss[high[g]]
    if cost_high <= capacity:
        for g in range(len(low)):
            low[g] = high[g]
        return 0.0
    active, pick, left = np.arange(len(low)), np.empty(len(low), np.int64), len(low)
    while True:
        line = max((loss_low - loss_high) / (cost_high - cost_low), 0.0)
        total, lost = 0, 0.0
        for k in range(left):
            g = active[k]
            best, least = start[g], np.inf
            for r in range(start[g], start[g + 1]):
                value = regret[r] + line * price[r]
                if value < least:
                    best, least = r, value
            pick[k] = best
            total += cost[best] - cost[low[g]]
            lost += loss[best] - loss[low[g]]
        total, lost = cost_low + total, loss_low + lost
        if not cost_low < total < cost_high:
            return _slope(cost, loss, low, high, line)
        if total <= capacity:
            cost_low, loss_low = total, lost
        else:
            cost_high, loss_high = total, lost
        left = _apart(active, left, pick, low if total <= capacity else high, low, high)


@compiled
def _apart(active, left, pick, moved, low, high):
    """Move active groups to what they picked; those stay active whose two answers still differ."""
    apart = 0
    for k in range(left):
        g = active[k]
        moved[g] = pick[k]
        if low[g] != high[g]:
            active[apart] = g
            apart += 1
    return apart


@compiled
def _slope(cost, loss, low, high, line):
    for g in range(len(low)):
        if cost[high[g]] > cost[low[g]]:
            return max((loss[low[g]] - loss[high[g]]) / (cost[high[g]] - cost[low[g]]), 0.0)
    return line


@compiled
def _fill(cost, low, high, limit):
    room = limit
    for g in range(len(low)):
        room -= cost[low[g]]
    for g in range(len(low)):
        step = cost[high[g]] - cost[low[g]]
        if step > room:
            break
        if step > 0:
            low[g] = high[g]
            room -= step
    return room


@compiled
def _penalise(start, cost, loss, line, picked, regret, nearest):
    """Turn the regrets into penalties, infinite ones excepted; returns the shortfall."""
    below = 0.0
    for g in range(len(picked)):
        p, least, nearest[g] = picked[g], 0.0, np.inf
        for r in range(start[g], start[g + 1]):
            if regret[r] < np.inf:
                value = (loss[r] - loss[p]) + line * (cost[r] - cost[p])
                least = min(least, value)
                regret[r] = max(value, 0.0)
                if r != p and regret[r] < nearest[g]:
                    nearest[g] = regret[r]
        below += least
    return 0.0 - below


@compiled
def gathered(group, start, cost, loss, penalty, picked, worth, unit):
    size = 0
    for g in group:
        size += start[g + 1] - start[g]
    first, row = np.zeros(len(group) + 1, np.int64), np.empty(size, np.int64)
    costs, losses = np.empty(size, np.int64), np.empty(size, np.int64)
    size = divisor = 0
    for k in range(len(group)):
        g = group[k]
        size = _sorted_rows(
            start[g], start[g + 1], picked[g], cost, loss, penalty, worth, unit,
            row, costs, losses, size,
        )  # fmt: skip
        first[k + 1] = size
        for i in range(first[k], size):
            if divisor != 1:
                divisor = _divisor(divisor, abs(costs[i]))
    return first, row[:size].copy(), (costs[:size].copy(), losses[:size].copy()), divisor


@compiled
def _sorted_rows(begin, stop, base, cost, loss, penalty, worth, unit, row, costs, losses, first):
    """Insert the rows of a group that are open, by cost and loss, and drop the dominated ones."""
    last = first
    for r in range(begin, stop):
        if penalty[r] <= worth or r == base:
            above = cost[r] - cost[base]
            difference = loss[r] - loss[base]
            back = difference - loss[r]
            error = (loss[r] - (difference - back)) + (-loss[base] - back)
            lost = np.int64(np.rint(difference / unit)) + np.int64(np.rint(error / unit))
            i = last
            while i > first and (
                costs[i - 1] > above or (costs[i - 1] == above and losses[i - 1] > lost)
            ):
                row[i], costs[i], losses[i] = row[i - 1], costs[i - 1], losses[i - 1]
                i -= 1
            row[i], costs[i], losses[i] = r, above, lost
            last += 1
    size = first
    for i in range(first, last):
        if i == first or losses[i] < losses[size - 1]:
            row[size], costs[size], losses[size] = row[i], costs[i], losses[i]
            size += 1
    return size


@compiled
def _divisor(a, b):
    while b:
        a, b = b, a % b
    return a


@compiled
def joined(states, more, prices, allowance, costs_allowed):
    new, parent, choice = _joined(states, more, prices, allowance, costs_allowed)
    return (new[0].copy(), new[1].copy()), parent.copy(), choice.copy()


@compiled
def _joined(states, more, prices, allowance, costs_allowed):
    runs, size = len(more[0]), 2 * len(states[0]) + 16
    at, head, heap = np.empty(runs, np.int64), np.empty(runs, np.int64), np.empty(runs, np.int64)
    for run in range(runs):
        at[run], head[run], heap[run] = -1, -_BEYOND, run
    new = (np.empty(size, np.int64), np.empty(size, np.int64))
    parent, choice = np.empty(size, np.int32), np.empty(size, np.int32)
    count = 0
    while head[heap[0]] < _BEYOND:
        if count == size:
            size *= 2
            new = (_longer(new[0], size), _longer(new[1], size))
            parent, choice = _longer(parent, size), _longer(choice, size)
        count = _merge(
            states, more, at, head, heap, new, parent, choice, count,
            prices, allowance, costs_allowed,
        )  # fmt: skip
    return (new[0][:count], new[1][:count]), parent[:count], choice[:count]


@compiled
def _merge(
    states, more, at, head, heap, new, parent, choice, count, prices, allowance, costs_allowed
):
    """Move states to the new list, by cost, until it is full or all have moved.

    Every choice makes a run of the states, which stands at state `at[run]` of cost `head[run]`, -1
    and below all at first; the heap has the run of the least head on top, of equal ones the first.
    """
    cost, loss = states
    costs, losses = new
    least = losses[count - 1] if count else _BEYOND
    while count < len(costs) and head[heap[0]] < _BEYOND:
        run = heap[0]
        i, more_cost, more_loss = at[run], more[0][run], more[1][run]
        if i >= 0 and loss[i] + more_loss < least:
            least = loss[i] + more_loss
            if count and costs[count - 1] == head[run]:
                count -= 1
            costs[count], losses[count], parent[count], choice[count] = head[run], least, i, run
            count += 1
        total = _BEYOND
        for i in range(i + 1, len(cost)):
            if loss[i] + more_loss < least:
                total = cost[i] + more_cost
                if total > costs_allowed[1]:
                    total = _BEYOND
                    break
                penalty = prices[0] * total + prices[1] * (loss[i] + more_loss)
                if total >= costs_allowed[0] and penalty <= allowance:
                    at[run] = i
                    break
                total = _BEYOND
        head[run] = total
        place, below = 0, 1
        while below < len(heap):  # the run sinks; as a function of its own this takes twice as long
            other = heap[below]
            if below + 1 < len(heap):
                next_ = heap[below + 1]
                if head[next_] < head[other] or (head[next_] == head[other] and next_ < other):
                    below, other = below + 1, next_
            if total < head[other] or (total == head[other] and run < other):
                break
            heap[place] = other
            place, below = below, 2 * below + 1
        heap[place] = run
    return count


@compiled
def _longer(array, size):
    longer = np.empty(size, array.dtype)
    for i in range(len(array)):
        longer[i] = array[i]
    return longer


@compiled
def paired(cost, loss, other_cost, other_loss, room):
    least, state, partner = 0, -1, -1
    j = len(other_cost) - 1
    for i in range(len(cost)):
        while j >= 0 and other_cost[j] > room - cost[i]:
            j -= 1
        if j < 0:
            break
        total = loss[i] + other_loss[j]
        if state < 0 or total < least:
            least, state, partner = total, i, j
    return least, state, partner


@compiled
def advanced(
    first, start, rows, nearest, place, until, one, other, best, room, capacity,
    most, work, prices, relaxed_gap, rounding, settled,
):  # fmt: skip
    found = (-1, 0, 0, 0)
    side, end = np.empty(until - place, np.int64), np.empty(until - place, np.int64)
    parents, choices = np.empty(1024, np.int32), np.empty(1024, np.int32)
    steps = states = 0
    while place < until and work > 0 and len(one[0]) <= most and len(other[0]) <= most:
        gap = relaxed_gap + best * prices[1]
        slack = rounding + prices[1] * (place + 1)
        if gap <= settled or nearest[place] > gap + slack:
            break
        s = 1 if len(one[0]) > len(other[0]) else 0
        short, long = (other, one) if s else (one, other)
        a, b = start[place - first], start[place - first + 1]
        work -= len(short[0]) * (b - a)
        new, parent, choice = _joined(
            short, (rows[0][a:b], rows[1][a:b]), prices, gap + slack, (-capacity, capacity)
        )
        total, state, partner = paired(new[0], new[1], long[0], long[1], room)
        if total < best:
            best = total
            found = (steps, int(parent[state]), int(choice[state]), partner)
        place += 1
        limit = relaxed_gap + best * prices[1] + slack - nearest[place]
        kept = _kept(new, parent, choice, prices, limit)
        short = (new[0][:kept], new[1][:kept])
        one, other = (long, short) if s else (short, long)
        if states + kept > len(parents):
            parents = _longer(parents, 2 * (states + kept))
            choices = _longer(choices, 2 * (states + kept))
        for i in range(kept):
            parents[states + i], choices[states + i] = parent[i], choice[i]
        states += kept
        side[steps], end[steps] = s, states
        steps += 1
    return (
        place, one, other, best, work, found,
        side[:steps], end[:steps], parents[:states].copy(), choices[:states].copy(),
    )  # fmt: skip


@compiled
def _kept(new, parent, choice, prices, limit):
    """Move the states within a limit of their penalty to the front; returns how many there are."""
    costs, losses = new
    kept = 0
    for i in range(len(costs)):
        if prices[0] * costs[i] + prices[1] * losses[i] <= limit:
            costs[kept], losses[kept] = costs[i], losses[i]
            parent[kept], choice[kept] = parent[i], choice[i]
            kept += 1
    return kept


@compiled
def followed(parents, choices, ends, states):
    taken, at = np.empty((len(ends), len(states)), np.int64), states.copy()
    for k in range(len(ends) - 1, -1, -1):
        begin = ends[k - 1] if k else 0
        for p in range(len(at)):
            taken[k, p] = choices[begin + at[p]]
            at[p] = parents[begin + at[p]]
    return taken


@compiled
def compensated(choices, loss):
    layers, points = choices.shape
    total, rest = np.zeros(points), np.zeros(points)
    for layer in range(layers):
        for p in range(points):
            more = loss[choices[layer, p]]
            after = total[p] + more
            taken = after - total[p]
            rest[p] += (total[p] - (after - taken)) + (more - taken)
            total[p] = after
    return total, rest


@compiled
def added(choices, units):
    layers, points = choices.shape
    total = np.zeros(points, units.dtype)
    for layer in range(layers):
        for p in range(points):
            total[p] += units[choices[layer, p]]
    return total


TWINS: dict[str, Callable[..., Any]] = {
    twin.__name__: twin
    for twin in (
        relaxed,
        gathered,
        joined,
        paired,
        advanced,
        followed,
        compensated,
        added,
    )
}
