"""A picture of a few operations: a lane for each session, a bar from call to return, and lanes for what was done to the target.

Bars are as long as their labels need, so time is only roughly to scale; the axis tells it. What is left of another thing ended before that
one began, and what overlaps was there at once: that is all a proof needs. Where nothing happens for long, the picture is cut, with a mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import pairwise
from statistics import median
from typing import Final
from unicodedata import combining, east_asian_width

from harness.monitors.calls import NEVER, NOTHING, Calls, Ended, F, name
from harness.monitors.lines import reads_are_whole
from harness.monitors.words import AT_ONCE_NS, Moment, answered_text, asked_text, moment_text, named_rows, time_text, value_text
from harness.words import printable

MOST_DRAWN: Final = 40
"""Operations that are drawn; of more, the first and the last ones, and the rest is counted."""

MOST_MOMENTS: Final = 12
COLUMNS: Final = 100
LONGEST_LABEL: Final = 14
LONGEST_NAME: Final = 26
IDLE: Final = 10
"""A time in which nothing began or ended, and nothing was under way that would, is cut when it is so many median ones."""

CUT: Final = 3
"""How long a time that was cut looks, in median ones."""

_CUT_COLUMNS: Final = 10

_KINDS: Final = {Ended.OK: "ok", Ended.FAIL: "refused", Ended.INFO: "unknown"}
_LINES: Final = " ├┤─╞╡═→✗▼△⫽"
_BAR_ENDS: Final = tuple("┤╡→✗")
_ENDS: Final = {"ok": "┤", "refused": "✗", "unknown": "→"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bar:
    """What is drawn, from the slot ``first`` to the slot ``last``; -1: it has no length. ``row`` is a line of the lane, from 0.

    A slot is an instant, or rather what ends at it or what begins at it: beginnings come first, as operations that touch are concurrent.
    """

    lane: str
    label: str
    title: str
    kind: str
    first: tuple[int, int]
    last: tuple[int, int]
    row: int = 0

    @property
    def at_once(self) -> bool:
        return self.first == self.last


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picture:
    """Where all goes, in columns of one character.

    Attributes:
        bars: With the columns of both of their ends.
        lanes: The names of lanes from top to bottom, and how many lines each has.
        ticks: Columns and the times that are there.
        cuts: Columns at which time was cut.
        width: Columns of all.
        missing: Operations that are not drawn.
    """

    bars: tuple[tuple[_Bar, int, int], ...]
    lanes: dict[str, int]
    ticks: tuple[tuple[int, str], ...]
    cuts: tuple[int, ...]
    width: int
    missing: int


def text(calls: Calls, moments: Sequence[Moment] = ()) -> list[str]:
    """The picture for a terminal, at most 100 columns wide; what is wider goes on below."""
    if not len(calls):
        return ["no operation"]
    labels = {*(_lane(calls, row) for row in range(len(calls))), *(_narrow(moment.replica or "target") for moment in moments)}
    margin = min(LONGEST_NAME, max(map(len, labels))) + 1
    room = COLUMNS - margin
    picture = _drawn(calls, moments, room)
    canvas = _painted(picture)
    lines: list[str] = []
    for start, end in _pages([row for _, _, row in canvas], picture.width, room):
        if start:
            lines.append("")
        for lane, number, row in canvas:
            part = row[start:end].rstrip()
            label = lane if number == 0 else ""
            if part:
                lines.append(f"{_cut(label, COLUMNS - room - 1):<{COLUMNS - room - 1}} {part}")
    lines.append("├─┤ answered, ├─✗ refused, ├─→ never answered, ▼ fault, ⫽ time left out")
    return [*lines, _missing(picture.missing)] if picture.missing else lines


def _pages(canvas: list[str], width: int, room: int) -> list[tuple[int, int]]:
    """The picture in pieces of at most ``room`` columns, each ending where the fewest labels and bars are cut."""

    def cuts(column: int) -> tuple[int, int]:
        around = [row[column - 1 : column + 1] for row in canvas]
        return sum(not set(both) & set(_LINES) for both in around), sum(" " not in both and both[:1] not in _BAR_ENDS for both in around)

    pages, start = [], 0
    while width - start > room:
        end = min(range(start + room, start + room // 2, -1), key=cuts)
        pages.append((start, end))
        start = end
    return [*pages, (start, width + 12)]


def _painted(picture: _Picture) -> list[tuple[str, int, str]]:
    """Each line of the picture with its lane and its number within it."""
    canvas = {(lane, row): [" "] * (picture.width + 1) for lane, rows in picture.lanes.items() for row in range(rows)}
    for bar, first, last in picture.bars:
        line = canvas[bar.lane, bar.row]
        if bar.at_once:
            drawn = ("▼" if bar.kind == "fault" else "△") + bar.label
        else:
            inner = last - first - 1
            dash, begin, end = ("═", "╞", "╡") if bar.kind in ("fault", "event") else ("─", "├", _ENDS[bar.kind])
            drawn = begin + bar.label.center(inner, dash) + ("→" if bar.last[0] == NEVER else end)
        line[first : first + len(drawn)] = drawn
    axis = [" "] * (picture.width + 12)
    for column, told in picture.ticks:
        axis[column : column + len(told)] = told
    for column in picture.cuts:
        axis[column] = "⫽"
    return [(lane, row, "".join(line)) for (lane, row), line in canvas.items()] + [("", 0, "".join(axis))]


_PX, _LINE, _PAD = 7.3, 26, 12


def svg(calls: Calls, moments: Sequence[Moment] = ()) -> str:
    """The picture as one SVG element that needs nothing else, on light and on dark pages."""
    picture = _drawn(calls, moments, COLUMNS) if len(calls) else _Picture(bars=(), lanes={}, ticks=(), cuts=(), width=1, missing=0)
    left = _PAD + round(_PX * (min(LONGEST_NAME, max(map(len, picture.lanes), default=0)) + 2))
    width = left + round(_PX * (picture.width + 8)) + _PAD
    tops: dict[str, int] = {}
    top = _PAD
    for lane, rows in picture.lanes.items():
        tops[lane] = top
        top += rows * _LINE
    parts = [f'<rect class="jl-page" width="{width}" height="{top + 2 * _LINE}" rx="6"/>']
    for lane, at in tops.items():
        parts.append(f'<line class="jl-rule" x1="{_PAD}" x2="{width - _PAD}" y1="{at - 1}" y2="{at - 1}"/>')
        parts.append(f'<text class="jl-text" x="{_PAD}" y="{at + 17}">{escape(_cut(lane, LONGEST_NAME))}</text>')
    parts += [_across(bar, left + _PX * first, left + _PX * last, top) for bar, first, last in picture.bars if bar.kind == "fault"]
    parts += [_box(bar, left + _PX * first, left + _PX * last, tops[bar.lane] + bar.row * _LINE) for bar, first, last in picture.bars]
    parts += [
        f'<path class="jl-cut" d="{_zigzag(left + _PX * (column + 0.5), _PAD, top)}"><title>cut</title></path>' for column in picture.cuts
    ]
    parts.append(f'<line class="jl-axis" x1="{left}" x2="{width - _PAD}" y1="{top}" y2="{top}"/>')
    for column, when in picture.ticks:
        x = left + _PX * column
        parts.append(f'<line class="jl-axis" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{top + 4}"/>')
        parts.append(f'<text class="jl-small" x="{x:.1f}" y="{top + 17}">{when}</text>')
    legend = ["green: answered, grey: refused, amber: never answered, zigzag: time left out"]
    if picture.missing:
        legend.append(_missing(picture.missing))
    told = "; ".join(legend)
    parts.append(f'<text class="jl-small" x="{_PAD}" y="{top + 40}">{told}</text>')
    size = f'width="{width}" height="{top + 2 * _LINE}" viewBox="0 0 {width} {top + 2 * _LINE}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="operations by session">{_STYLE}{"".join(parts)}</svg>'


_STYLE: Final = (
    "<style>"
    ".jl-page{fill:#fff}.jl-text,.jl-small{fill:#1f2328;font:12px ui-monospace,monospace}.jl-small{fill:#59636e;font-size:11px}"
    ".jl-rule{stroke:#d1d9e0}.jl-axis{stroke:#59636e}.jl-cut{stroke:#59636e;fill:none;stroke-dasharray:none}"
    ".jl-ok{fill:#aceebb;stroke:#1a7f37}.jl-refused{fill:#d1d9e0;stroke:#59636e}.jl-unknown{fill:#ffe08a;stroke:#9a6700}"
    ".jl-fault{fill:#ffc1bc;stroke:#cf222e}.jl-event{fill:#b6e3ff;stroke:#0969da}.jl-across{fill:#cf222e;opacity:.16}"
    "@media (prefers-color-scheme:dark){"
    ".jl-page{fill:#0d1117}.jl-text{fill:#f0f6fc}.jl-small{fill:#9198a1}.jl-rule{stroke:#30363d}.jl-axis,.jl-cut{stroke:#9198a1}"
    ".jl-ok{fill:#0f5323;stroke:#3fb950}.jl-refused{fill:#30363d;stroke:#9198a1}.jl-unknown{fill:#693e00;stroke:#d29922}"
    ".jl-fault{fill:#8e1519;stroke:#f85149}.jl-event{fill:#0c4a8f;stroke:#4493f8}.jl-across{fill:#f85149;opacity:.22}}"
    "</style>"
)


def _box(bar: _Bar, x: float, end: float, y: float) -> str:
    """One bar with its label and what is told of it under the pointer."""
    if bar.at_once:
        shape = f'<path class="jl-{bar.kind}" d="M{x:.1f} {y + 20}l-5 -9h10z"/>'
        at = f'x="{x + 8:.1f}"'
    else:
        shape = f'<rect class="jl-{bar.kind}" x="{x:.1f}" y="{y + 3}" width="{end - x:.1f}" height="{_LINE - 7}" rx="3"/>'
        at = f'x="{(x + end) / 2:.1f}" text-anchor="middle"'
    arrow = f'<path class="jl-{bar.kind}" d="M{end:.1f} {y + 3}l9 9.5l-9 9.5z"/>' if bar.last[0] == NEVER else ""
    return f'<g><title>{escape(bar.title)}</title>{shape}{arrow}<text class="jl-text" {at} y="{y + 17}">{escape(bar.label)}</text></g>'


def _across(bar: _Bar, x: float, end: float, bottom: float) -> str:
    """The shadow of a fault over all lanes."""
    width = 2.0 if bar.at_once else end - x
    return f'<rect class="jl-across" x="{x - 1:.1f}" y="{_PAD}" width="{width:.1f}" height="{bottom - _PAD}"/>'


def _zigzag(x: float, top: float, bottom: float) -> str:
    return f"M{x:.1f} {top}" + "".join(f"l{4 if step % 2 else -4} 8" for step in range(int(bottom - top) // 8))


def _drawn(calls: Calls, moments: Sequence[Moment], room: int) -> _Picture:
    """The picture, in ``room`` columns where its labels let it be so narrow."""
    named = named_rows(calls, range(len(calls)))
    rows = list(named)
    if len(rows) > MOST_DRAWN:
        rows = rows[: MOST_DRAWN // 2] + rows[-MOST_DRAWN // 2 :]
    begin_ns = int(calls.call_ns[rows[0]])
    bars = [_moment_bar(moment) for moment in _shown(moments, calls, rows)]
    bars += [_bar(calls, row, named[row]) for row in rows]
    slots = sorted({slot for bar in bars for slot in (bar.first, bar.last)})
    column, cuts = _columns(slots, bars, room)
    placed: list[tuple[_Bar, int, int]] = []
    ends: dict[str, list[int]] = {}
    for bar in bars:
        first = column[bar.first]
        last = first + len(bar.label) + 1 if bar.at_once else column[bar.last]
        lines = ends.setdefault(bar.lane, [])
        free = next((number for number, end in enumerate(lines) if end < first), len(lines))
        lines[free : free + 1] = [last]
        placed.append((replace(bar, row=free), first, last))
    return _Picture(
        bars=tuple(placed),
        lanes={lane: len(lines) for lane, lines in ends.items()},
        ticks=_ticks([bar.first for bar in bars], column, cuts, begin_ns),
        cuts=cuts,
        width=max(last for _, _, last in placed) + 1,
        missing=len(calls) - len(rows),
    )


def _columns(slots: list[tuple[int, int]], bars: list[_Bar], room: int) -> tuple[dict[tuple[int, int], int], tuple[int, ...]]:
    """The column of each slot, and those in which time is cut."""
    gaps = [after[0] - before[0] if after[0] != NEVER else 0 for before, after in pairwise(slots)]
    usual = median([gap for gap in gaps if gap] or [1])
    busy = [any(bar.first <= before and after <= bar.last and bar.last[0] != NEVER for bar in bars) for before, after in pairwise(slots)]
    long = [gap > IDLE * usual and not bound for gap, bound in zip(gaps, busy, strict=True)]
    told = [CUT * usual if cut else gap for gap, cut in zip(gaps, long, strict=True)]
    total = sum(told) or 1

    def columns(share: float) -> dict[tuple[int, int], int]:
        """As near to scale as ``share`` wants (1: all of the room), and as wide as labels need."""
        column = {slots[0]: 0}
        passed = 0.0
        for (before, slot), gap, cut in zip(pairwise(slots), told, long, strict=True):
            passed += gap
            needed = [column[bar.first] + len(bar.label) + 1 for bar in bars if bar.last == slot and not bar.at_once]
            column[slot] = max([column[before] + (_CUT_COLUMNS if cut else 1), round(passed / total * share * (room - 2)), *needed])
        return column

    tries = [columns(share / 10) for share in range(10, 0, -1)]
    chosen = next((column for column in tries if max(column.values()) < room - 1), columns(0))
    cuts = tuple(chosen[after] - 1 for (_, after), cut in zip(pairwise(slots), long, strict=True) if cut)
    return chosen, cuts


def _ticks(
    begins: list[tuple[int, int]], column: dict[tuple[int, int], int], cuts: tuple[int, ...], begin_ns: int
) -> tuple[tuple[int, str], ...]:
    """The times of beginnings, as many as there is room for."""
    ticks: list[tuple[int, str]] = []
    free = 0
    for slot in sorted(set(begins)):
        away_ns = slot[0] - begin_ns
        told = f"{'-' if away_ns < 0 else '+'}{time_text(abs(away_ns))}" if away_ns else "0"
        end = column[slot] + len(told)
        if column[slot] >= free and not any(column[slot] <= cut < end for cut in cuts):
            ticks.append((column[slot], told))
            free = end + 1
    return tuple(ticks)


def _shown(moments: Sequence[Moment], calls: Calls, rows: list[int]) -> list[Moment]:
    """What happened while the operations lasted, and what came last before each replica's own and before all."""
    first_ns = min(int(calls.call_ns[row]) for row in rows)
    ends = [int(calls.ret_ns[row]) if calls.ret_ns[row] != NEVER else int(calls.call_ns[row]) for row in rows]
    during = [moment for moment in moments if moment.at_ns <= max(ends) and moment.until_ns >= first_ns]
    before = sorted((moment for moment in moments if moment.until_ns < first_ns), key=lambda moment: moment.at_ns)
    replicas = {name(calls.replicas, int(calls.replica[row])) for row in rows if calls.replica[row] >= 0}
    latest = [moment for moment in before if moment.fault][-1:]
    for replica in sorted(replicas):
        latest += [moment for moment in before if moment.replica == replica and not moment.fault][-1:]
    return sorted({*latest, *during[: MOST_MOMENTS - len(latest)]}, key=lambda moment: (moment.at_ns, moment.replica, moment.text))


def _moment_bar(moment: Moment) -> _Bar:
    return _Bar(
        lane=_narrow(moment.replica or "target"),
        label=_cut(_narrow(moment.text), LONGEST_LABEL),
        title=moment_text(moment),
        kind="fault" if moment.fault else "event",
        first=(moment.at_ns, 0),
        last=(moment.until_ns, 1) if moment.until_ns - moment.at_ns >= AT_ONCE_NS else (moment.at_ns, 0),
    )


def _bar(calls: Calls, row: int, named: str) -> _Bar:
    ret_ns = int(calls.ret_ns[row])
    return _Bar(
        lane=_lane(calls, row),
        label=_cut(f"{named} {_value(calls, row)}".rstrip(), LONGEST_LABEL),
        title=f"{named}: {asked_text(calls, row)}; it {answered_text(calls, row)}",
        kind=_KINDS[Ended(calls.ended[row])],
        first=(int(calls.call_ns[row]), 0),
        last=(ret_ns, 1),
    )


def _lane(calls: Calls, row: int) -> str:
    """Who asked, and which replica."""
    who, replica = _narrow(name(calls.sessions, int(calls.session[row]))), int(calls.replica[row])
    who = f"client {who}" if who.isdigit() else who
    return f"{who} at {_narrow(name(calls.replicas, replica))}".strip() if replica >= 0 else who


def _value(calls: Calls, row: int) -> str:
    """What the label of a bar says of values: ``3``, ``3→4``."""
    f, result = F(calls.f[row]), int(calls.result[row])
    if f is F.CAS:
        told = f"{value_text(calls, int(calls.arg[row]))}→{value_text(calls, int(calls.arg2[row]))}"
    elif f is F.READ and reads_are_whole(calls) and result != NOTHING:
        told = f"[{' '.join(value_text(calls, item) for item in calls.items_of(row).tolist()[:8])}]"
    elif f in (F.READ, F.DEQUEUE):
        told = value_text(calls, result) if result != NOTHING else "?"
    else:
        told = value_text(calls, int(calls.arg[row]))
    return _narrow(told)


def _narrow(told: str) -> str:
    """``told`` with a dot for each character that is not one column wide."""
    return "".join(char if east_asian_width(char) not in "WF" and not combining(char) else "·" for char in printable(told))


def _cut(told: str, length: int) -> str:
    return told if len(told) <= length else f"{told[: length - 1]}…"


def _missing(number: int) -> str:
    return f"{number:,} more {'operation is' if number == 1 else 'operations are'} not drawn".replace(",", " ")
