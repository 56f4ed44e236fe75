"""The compiled twins of the lists and of the search over the core."""

# The numpy twins have the docstrings and the types; numba infers the types, and takes no keywords.
# ruff: noqa: D103, PLR0917
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import numpy as np

from bitwright.search.kernels.compiling import compiled

_BEYOND = np.int64(2**63 - 1)


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
        head[run] = _BEYOND
        for after in range(i + 1, len(cost)):
            lost = loss[after] + more_loss
            if lost < least:
                total = cost[after] + more_cost
                if total > costs_allowed[1]:
                    break
                penalty = prices[0] * total + prices[1] * lost
                if total >= costs_allowed[0] and penalty <= allowance:
                    at[run], head[run] = after, total
                    break
        place, below = 0, 1
        while below < len(heap):  # the run sinks; as a function of its own this takes twice as long
            other = heap[below]
            if below + 1 < len(heap):
                next_ = heap[below + 1]
                if head[next_] < head[other] or (head[next_] == head[other] and next_ < other):
                    below, other = below + 1, next_
            if head[run] < head[other] or (head[run] == head[other] and run < other):
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
