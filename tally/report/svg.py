"""Plots as inline SVG, coloured by the page's CSS variables so that they follow light and dark.

A plot is 480 units wide and its text 13 units high: on a phone of 360 points that is still 10.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 480
HEIGHT = 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 50, 14, 30
_TICKS = 4

Formatted = Callable[[float], str]


@dataclass(frozen=True)
class Series:
    """A line: its name and a value for each position on the axis, None where there is none."""

    name: str
    values: Sequence[float | None]


def nice_ticks(highest: float, count: int = _TICKS) -> list[float]:
    """About `count` round steps from 0 to at least `highest`."""
    if highest <= 0:
        return [0, 1]
    rough = highest / count
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(magnitude * n for n in (1, 2, 2.5, 5, 10) if magnitude * n >= rough * (1 - 1e-9))
    return [step * n for n in range(math.ceil(highest / step - 1e-9) + 1)]


def compact(value: float) -> str:
    """1,234 as `1.2k`: for axes, where the exact number is in the table below."""
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{suffix}"
    return f"{value:g}"


def lines(labels: Sequence[str], series: Sequence[Series], *, title: str) -> str:
    """Lines over a common axis, each named at its end."""
    highest = max((v for one in series for v in one.values if v is not None), default=0)
    ticks = nice_ticks(highest)
    x, y = _scale(0, max(len(labels) - 1, 1), _LEFT, WIDTH - _RIGHT), _vertical(ticks)
    parts = [_frame(ticks, y), _dates(labels, x)]
    ends: list[tuple[float, int]] = []
    for number, one in enumerate(series, start=1):
        points = [(x(nth), y(v)) for nth, v in enumerate(one.values) if v is not None]
        if not points:
            continue
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        parts.append(f'<polyline class="line c{number}" points="{path}"/>')
        if len(points) == 1:
            (px, py), *_ = points
            parts.append(f'<circle class="c{number} dot" r="3" cx="{px:.1f}" cy="{py:.1f}"/>')
        ends.append((points[-1][1], number))
    for place, number in _apart(ends):
        name = escape(series[number - 1].name)
        parts.append(_text(WIDTH - _RIGHT + 6, place + 4, name, f"name c{number}"))
    for nth, label in enumerate(labels):
        told = ", ".join(f"{s.name} {s.values[nth]:,}" for s in series if s.values[nth] is not None)
        width = (WIDTH - _LEFT - _RIGHT) / max(len(labels), 1)
        parts.append(
            _hover(x(nth) - width / 2, _TOP, width, HEIGHT - _TOP - _BOTTOM, f"{label}: {told}")
        )
    return _svg(parts, title)


def bars(
    labels: Sequence[str], values: Sequence[float], *, title: str, formatted: Formatted = compact
) -> str:
    """Upright bars; labels are left out where they would overlap."""
    ticks = nice_ticks(max(values, default=0))
    x, y = _scale(0, len(labels), _LEFT, WIDTH - 14), _vertical(ticks)
    parts = [_frame(ticks, y, right=WIDTH - 14, formatted=formatted)]
    every = max(1, math.ceil(len(labels) * max(map(len, labels), default=1) * 9 / (WIDTH - _LEFT)))
    for nth, (label, value) in enumerate(zip(labels, values, strict=True)):
        left, right = x(nth), x(nth + 1)
        gap = min(3.0, (right - left) * 0.2)
        parts.append(
            f'<rect class="bar c1" x="{left + gap / 2:.1f}" y="{y(value):.1f}" '
            f'width="{right - left - gap:.1f}" height="{y(0) - y(value):.1f}">'
            f"<title>{escape(label)}: {value:,}</title></rect>"
        )
        if nth % every == 0:
            parts.append(
                _text((left + right) / 2, HEIGHT - _BOTTOM + 18, escape(label), "tick mid")
            )
    return _svg(parts, title)


def ranked(
    labels: Sequence[str],
    values: Sequence[float],
    told: Sequence[str],
    *,
    title: str,
    mark: float | None = None,
    colour: int = 1,
) -> str:
    """Lying bars with the number beside each; `mark` is a value with a line through all of them."""
    row, left, right = 34, 74, 90
    highest = max([*values, mark or 0], default=0) or 1
    x = _scale(0, highest, left, WIDTH - right)
    parts = []
    for nth, (label, value, number) in enumerate(zip(labels, values, told, strict=True)):
        top = 8 + nth * row
        parts.append(_text(left - 8, top + 17, escape(label), "tick end"))
        parts.append(
            f'<rect class="bar c{colour}" x="{left}" y="{top}" rx="2" '
            f'width="{max(x(value) - left, 1):.1f}" height="24"/>'
        )
        parts.append(_text(WIDTH - 4, top + 17, escape(number), "number end"))
    height = 16 + len(labels) * row
    if mark is not None:
        parts.append(
            f'<line class="mark" x1="{x(mark):.1f}" x2="{x(mark):.1f}" y1="2" y2="{height - 6}"/>'
        )
    return _svg(parts, title, height=height)


def heatmap(
    rows: Sequence[str],
    columns: Sequence[str],
    cells: Sequence[Sequence[float | None]],
    told: Callable[[int, int], str],
    *,
    title: str,
) -> str:
    """A grid of shares from 0 to 1, darker for more; an unknown one is left empty."""
    left, top = 88, 24
    width, height = (WIDTH - left - 12) / max(len(columns), 1), 13
    highest = max((v for row in cells for v in row if v is not None), default=0) or 1
    parts = []
    for nth, name in enumerate(columns):
        if nth == 0 or (nth + 1) % 5 == 0:
            parts.append(_text(left + (nth + 0.5) * width, 16, escape(name), "tick mid"))
    for down, name in enumerate(rows):
        if down % 3 == 0:
            parts.append(_text(left - 8, top + down * height + 11, escape(name), "tick end"))
        for across, value in enumerate(cells[down]):
            if value is not None:
                parts.append(
                    f'<rect class="cell" x="{left + across * width:.1f}" y="{top + down * height}" '
                    f'width="{width - 1:.1f}" height="{height - 1}" '
                    f'style="--heat:{value / highest:.3f}"><title>{escape(told(down, across))}'
                    "</title></rect>"
                )
    return _svg(parts, title, height=top + len(rows) * height + 6)


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _vertical(ticks: Sequence[float]) -> Callable[[float], float]:
    return _scale(0, ticks[-1], HEIGHT - _BOTTOM, _TOP)


def _frame(
    ticks: Sequence[float],
    y: Callable[[float], float],
    *,
    right: float = WIDTH - _RIGHT,
    formatted: Formatted = compact,
) -> str:
    parts = []
    for tick in ticks:
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
        )
        parts.append(_text(_LEFT - 8, y(tick) + 4, formatted(tick), "tick end"))
    return "".join(parts)


def _dates(labels: Sequence[str], x: Callable[[float], float]) -> str:
    """The first, the middle and the last label."""
    places = sorted({0, len(labels) // 2, len(labels) - 1}) if labels else []
    return "".join(
        _text(x(nth), HEIGHT - _BOTTOM + 18, escape(labels[nth]), "tick mid") for nth in places
    )


def _apart(ends: Sequence[tuple[float, int]], distance: float = 15) -> list[tuple[float, int]]:
    """The same places from top to bottom, none nearer than `distance` to the one above it."""
    placed: list[tuple[float, int]] = []
    for place, number in sorted(ends):
        above = placed[-1][0] + distance if placed else -math.inf
        placed.append((max(place, above), number))
    # Not below the axis: the lowest pushes the others up.
    floor = float(HEIGHT - _BOTTOM)
    for nth in reversed(range(len(placed))):
        placed[nth] = (min(placed[nth][0], floor), placed[nth][1])
        floor = placed[nth][0] - distance
    return placed


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{text}</text>'


def _hover(x: float, y: float, width: float, height: float, text: str) -> str:
    return (
        f'<rect class="hover" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}">'
        f"<title>{escape(text)}</title></rect>"
    )


def _svg(parts: Sequence[str], title: str, *, height: float = HEIGHT) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )
