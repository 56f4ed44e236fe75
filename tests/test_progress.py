"""Progress on stderr."""

from __future__ import annotations

from bitwright import progress
from bitwright.progress import Reporter

ODD = ":car: [bold]x[/bold] [/] {task.id} " + "long " * 40


def test_names_are_never_markup(capsys):
    """Brackets, emoji codes and long lines come out as they went in, and only on stderr."""
    Reporter().say(ODD)
    assert capsys.readouterr() == ("", f"{ODD}\n")


def test_quiet_says_nothing(capsys):
    """A quiet reporter writes nothing, whatever is reported."""
    reporter = Reporter(quiet=True)
    reporter.say("x")
    with reporter.bar("work") as bar:
        bar.update(1, 2, "note")
    assert capsys.readouterr() == ("", "")


def test_plain_lines_are_few_and_tell_the_time_left(capsys, monkeypatch):
    """Off a terminal there is a line at most every ten seconds, counted from what this run did itself."""
    clock = iter([0.0, 1.0, 9.9, 20.0, 25.0, 31.0, 99.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with Reporter().bar("work") as bar:
        for done in (50, 51, 60, 61, 70, 100):
            bar.update(done, 100, ODD)
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"  work: 60 of 100, about 80 s left, {ODD}"
    assert second.startswith("  work: 70 of 100, about 46 s left")


def test_a_terminal_gets_a_bar(capsys, monkeypatch):
    """On a terminal a bar is drawn, names in it again no markup."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Reporter().bar("[red]work") as bar:
        bar.update(1, 2, "[/] {x} :car:")
    shown = capsys.readouterr().err
    assert "[red]work" in shown
    assert "1/2" in shown
