"""The picture of a comparison: every solver's loss and bound on the left, its time on the right."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from bitwright.comparison import Comparison, Entry
from bitwright.plot_base import BLUE, GREEN, GREY, ORANGE, label
from bitwright.text import figure as figure_text

_WIDTH, _ROW, _MARGINS = 9.0, 0.42, 1.6
_CLOSE = 1e-3


def draw_comparison(comparison: Comparison) -> Figure:
    """Draw one row per solver, the first on top; loss, bound and time: lower, higher, lower is better."""
    entries = comparison.entries
    figure = Figure(figsize=(_WIDTH, _MARGINS + _ROW * len(entries)), layout="constrained")
    losses, times = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    for row, entry in enumerate(entries):
        _draw_loss(losses, row, entry)
        _draw_time(times, row, entry)
    if math.isfinite(comparison.lower_bound):
        losses.axvline(
            comparison.lower_bound, color=GREY, linewidth=1, linestyle="--", zorder=0,
            label="highest bound",
        )  # fmt: skip
    losses.set_yticks(range(len(entries)), [label(e.solver) for e in entries], parse_math=False)
    losses.set_ylim(len(entries) - 0.5, -0.5)
    losses.set_xlabel("loss (lower is better)")
    times.set_xlabel("time (s)")
    _scale(losses, times, comparison)
    for axis in (losses, times):
        axis.grid(axis="x", alpha=0.25)
    handles, meanings = losses.get_legend_handles_labels()
    unique = dict(zip(meanings, handles, strict=True))
    figure.legend(
        unique.values(), unique.keys(), loc="outside lower center", ncols=5, frameon=False,
        fontsize="small",
    )  # fmt: skip
    limits = ", ".join(f"{n} ≤ {figure_text(v)}" for n, v in comparison.budgets.items())
    title = f"{comparison.problem}: {limits}" if limits else comparison.problem
    figure.suptitle(label(title, 100), fontsize="medium", parse_math=False)
    return figure


def _scale(losses: Axes, times: Axes, comparison: Comparison) -> None:
    """Show losses that are equal but for rounding as equal, and times by their ratios."""
    solutions = [s for s in comparison.solutions if s.configuration is not None]
    figures = [v for s in solutions for v in (s.loss, s.lower_bound) if math.isfinite(v)]
    if figures:
        low, high = min(figures), max(figures)
        spare = max(0.08 * (high - low), _CLOSE * max(abs(low), abs(high)), 1e-12)
        losses.set_xlim(low - spare, high + spare)
    losses.xaxis.set_major_locator(MaxNLocator(5))
    losses.xaxis.set_major_formatter("{x:g}")
    if seconds := [s for e in comparison.entries for s in e.seconds if s > 0]:
        times.set(xscale="log", xlim=(min(seconds) / 2, max(seconds) * 2))
        times.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        times.xaxis.set_minor_formatter(NullFormatter())
        times.xaxis.set_major_formatter("{x:g}")
        times.tick_params(axis="x", labelsize="small")


def _draw_loss(axis: Axes, row: int, entry: Entry) -> None:
    solution = entry.solution
    if solution is None or solution.configuration is None:
        axis.text(
            0.02, row, entry.word, transform=axis.get_yaxis_transform(), va="center",
            color=GREY, fontsize="small", style="italic", backgroundcolor="white",
        )  # fmt: skip
        return
    if math.isfinite(solution.lower_bound):
        bound = solution.lower_bound
        axis.plot([bound, solution.loss], [row, row], color=ORANGE, linewidth=2, label="gap")
        axis.scatter(bound, row, marker="|", s=120, color=ORANGE, label="lower bound")
    proved = solution.gap == 0
    axis.scatter(
        solution.loss, row, s=50, zorder=3, facecolors=BLUE if proved else "white",
        edgecolors=BLUE, linewidths=1.5, label="loss, proved optimal" if proved else "loss",
    )  # fmt: skip


def _draw_time(axis: Axes, row: int, entry: Entry) -> None:
    if entry.solution is None:
        return
    axis.scatter(entry.seconds, [row] * len(entry.seconds), s=12, color=GREY, alpha=0.6)
    axis.scatter(entry.solution.seconds, row, s=50, marker="D", color=GREEN, zorder=3)
