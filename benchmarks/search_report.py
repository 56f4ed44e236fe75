"""The search benchmark as a markdown table."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from statistics import median

from benchmarks.search_contenders import OURS
from benchmarks.search_results import Fault, Result, faults, gap
from benchmarks.search_rivals import RIVALS

_COLUMNS = (*OURS, *RIVALS)
_REFERENCE = "PuLP+CBC"


def markdown(results: Sequence[Result]) -> str:
    """A line per row, times as medians over its problems, and what was answered wrongly."""
    head = ["work", *_COLUMNS, f"{_REFERENCE} / ours without, with numba", "to reach"]
    lines = [_line(head), _line(["---"] * len(head)), *(_line(_cells(r)) for r in results)]
    told = list(faults(results))
    if told:
        lines += ["", "Answers that were not what was said of them, recomputed exactly:", ""]
        lines += [
            _faults(name, told) for name in _COLUMNS if any(f.contender == name for f in told)
        ]
    return "\n".join(lines) + "\n"


def _faults(name: str, told: Sequence[Fault]) -> str:
    """A line on one contender's faults."""
    mine = [fault for fault in told if fault.contender == name]
    over = [fault for fault in mine if not isfinite(fault.worse)]
    worse = sorted((f for f in mine if isfinite(f.worse)), key=lambda fault: -fault.worse)
    texts = [f"{len(over)} broke a budget ({over[0].problem})"] if over else []
    if worse:
        most = f"by up to {worse[0].worse:.1e} of the loss ({worse[0].problem})"
        texts.append(f"{len(worse)} called optimal were worse than another's, {most}")
    return f"- {name}: {'; '.join(texts)}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cells(result: Result) -> list[str]:
    told = {"memory": _memory, "within": _within}.get(result.row.kind, _times)
    return [
        result.row.title,
        *(_excuse(result, name) or told(result, name) for name in _COLUMNS),
        _ratio(result) if result.row.kind in ("proved", "points") else "",
        result.row.target,
    ]


def _excuse(result: Result, name: str) -> str:
    """Why there is nothing to tell of a contender, if so."""
    runs = [runs[name] for runs in result.runs if name in runs]
    if not runs:
        return "-"
    for key, words in (("refused", "not taken"), ("idle", "numba not used")):
        if any(key in run.facts for run in runs):
            return words
    if not any(run.seconds for run in runs):
        failed = str(runs[0].facts.get("failed", ""))
        return "not installed" if "No module named" in failed else "failed"
    return ""


def _times(result: Result, name: str) -> str:
    runs = [runs[name] for runs in result.runs]
    text = duration(median(median(run.seconds) for run in runs if run.seconds))
    finished = sum(run.finished for run in runs)
    if finished < len(runs):
        text += f" ({finished} of {len(runs)} proved)"
    points = [run.facts["points"] for run in runs if "points" in run.facts]
    return f"{text} ({points[0]:,} points)" if points else text


def _within(result: Result, name: str) -> str:
    """How many are proved, and the median and largest certified gap."""
    runs = [runs[name] for runs in result.runs]
    gaps = sorted(gap(run.facts) for run in runs)
    proved = sum(run.finished for run in runs)
    shown = [f"{g:.1e}" if isfinite(g) else "none" for g in (median(gaps), gaps[-1])]
    slowest = max(max(run.seconds, default=0.0) for run in runs)
    return (
        f"{proved} of {len(runs)} proved, gap {shown[0]} (at most {shown[1]}), {duration(slowest)}"
    )


def _memory(result: Result, name: str) -> str:
    """The peak beside the problem, in bytes per choice for solves and per point for fronts."""
    facts = [runs[name].facts for runs in result.runs]
    texts = []
    for fact in facts:
        if "points" in fact:
            texts.append(f"{fact['peak'] / 1e6:,.0f} MB for {fact['points']:,} points")
        else:
            each = fact["peak"] / fact["choices"]
            texts.append(f"{each:,.0f} bytes per choice at {fact['choices']:,} choices")
    return "; ".join(texts)


def _ratio(result: Result) -> str:
    texts = []
    for ours in OURS:
        ratio = None if _excuse(result, ours) else result.ratio(_REFERENCE, ours)
        texts.append("-" if ratio is None else f"{ratio[1]}{_rounded(ratio[0])}x")
    return ", ".join(texts)


def duration(seconds: float) -> str:
    """Seconds to two figures, in a unit that suits."""
    if seconds < 1e-3:
        return f"{_rounded(seconds * 1e6)} us"
    return f"{_rounded(seconds * 1e3)} ms" if seconds < 1 else f"{_rounded(seconds)} s"


def _rounded(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{float(f'{value:.2g}'):,.0f}"
