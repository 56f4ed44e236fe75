"""The compiled twin of the relaxation."""

# The numpy twins have the docstrings and the types; numba infers the types, and takes no keywords.
# ruff: noqa: D103, PLR0917
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

import numpy as np

from bitwright.search.kernels.compiling import compiled


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
