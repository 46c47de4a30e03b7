"""Draws the dashboard's panels from what a Prometheus answers, as one SVG: for the documentation.

No plotting library: lines, a frame, three marks on each axis and a legend are all that is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from scripts.panels import ROWS, Panel

# The series of a query over the time that is shown: labels, and (seconds, value).
Series = tuple[dict[str, str], Sequence[tuple[float, float]]]
Ask = Callable[[str], Sequence[Series]]

_WIDTH: Final = 1200
_UNIT: Final = _WIDTH / 24
_GAP: Final = 6
_STAT_HEIGHT: Final = 64
_GRAPH_HEIGHT: Final = 150
_ROW_HEIGHT: Final = 24
_LEGEND_AT_MOST: Final = 6
_COLOURS: Final = ("#1f77b4", "#d62728", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b", "#e377c2", "#17becf", "#7f7f7f")
_STYLE: Final = (
    "text{font:11px system-ui,sans-serif;fill:#333}"
    ".title{font-weight:600}.row{font-size:14px;font-weight:600}.stat{font-size:22px;font-weight:600}"
    ".mark{font-size:9px;fill:#777}.frame{fill:#fff;stroke:#ccc}.grid{stroke:#eee}"
)


@dataclass(frozen=True, slots=True)
class _Line:
    legend: str
    points: Sequence[tuple[float, float]]


def picture(ask: Ask, from_s: float, to_s: float, title: str) -> str:
    """The SVG. `ask` answers a query of the dashboard."""
    parts: list[str] = []
    top = 30.0
    for row in ROWS:
        parts.append(_text(4, top + 16, row.title, "row"))
        top += _ROW_HEIGHT
        left, height = 0.0, 0.0
        for panel in row.panels:
            width = panel.width * _UNIT
            if left + width > _WIDTH + 1:
                left, top, height = 0.0, top + height, 0.0
            here = _STAT_HEIGHT if panel.kind == "stat" else _GRAPH_HEIGHT
            box = (left + _GAP / 2, top + _GAP / 2, width - _GAP, here - _GAP)
            lines = _lines(panel, ask)
            parts.append(_stat(panel, lines, box) if panel.kind == "stat" else _graph(panel, lines, box, from_s, to_s))
            left += width
            height = max(height, here)
        top += height
    size = f'viewBox="0 0 {_WIDTH} {top + 4:.0f}" width="{_WIDTH}" height="{top + 4:.0f}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img"><title>{escape(title)}</title>'
    ground = f'<style>{_STYLE}</style><rect width="{_WIDTH}" height="{top + 4:.0f}" fill="#f7f7f7"/>'
    return "\n".join([head, ground, _text(4, 20, title, "row"), *parts, "</svg>"]) + "\n"


def _lines(panel: Panel, ask: Ask) -> list[_Line]:
    lines: list[_Line] = []
    for query in panel.queries:
        for labels, points in ask(query.expr):
            legend = query.legend
            for name, value in labels.items():
                legend = legend.replace(f"{{{{{name}}}}}", value)
            finite = [(at, value) for at, value in points if math.isfinite(value)]
            if finite:
                lines.append(_Line(legend, finite))
    return lines


def _stat(panel: Panel, lines: Sequence[_Line], box: tuple[float, float, float, float]) -> str:
    left, top, _, height = box
    value = max((line.points[-1][1] for line in lines), default=None)
    shown = "no data" if value is None else _number(value, panel.unit)
    is_bad = panel.bad_from is not None and value is not None and value >= panel.bad_from
    colour = "#c00" if is_bad else "#2a7a2a"
    text = f'<text x="{left + 8:.1f}" y="{top + height - 14:.1f}" class="stat" style="fill:{colour}">{shown}</text>'
    return _frame(box) + _text(left + 8, top + 15, panel.title, "title") + text


def _graph(
    panel: Panel, lines: Sequence[_Line], box: tuple[float, float, float, float], from_s: float, to_s: float
) -> str:
    left, top, width, height = box
    parts = [_frame(box), _text(left + 8, top + 14, panel.title, "title")]
    if not lines:
        return "".join([*parts, _text(left + 8, top + 34, "no data", "mark")])
    x, y, w, h = left + 46, top + 22, width - 54, height - 56
    most = max(value for line in lines for _, value in line.points)
    ceiling = _round_up(most)
    for share in (0.0, 0.5, 1.0):
        at = y + h * (1 - share)
        parts.append(f'<line x1="{x:.1f}" x2="{x + w:.1f}" y1="{at:.1f}" y2="{at:.1f}" class="grid"/>')
        parts.append(_text(x - 4, at + 3, _number(ceiling * share, panel.unit), "mark", anchor="end"))
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        parts.append(_text(x + w * share, y + h + 11, f"{(to_s - from_s) * share:.0f} s", "mark", anchor=anchor))
    shown = sorted(lines, key=lambda line: -max(value for _, value in line.points))
    for number, line in enumerate(shown):
        colour = _COLOURS[number % len(_COLOURS)]
        points = " ".join(
            f"{x + w * (at - from_s) / (to_s - from_s):.1f},{y + h * (1 - value / ceiling):.1f}"
            for at, value in line.points
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.3"/>')
    parts.append(_legend([line.legend for line in shown], left + 8, top + height - 7, width - 16))
    return "".join(parts)


def _legend(names: Sequence[str], left: float, baseline: float, width: float) -> str:
    parts = []
    at = left
    for number, name in enumerate(names):
        needed = 16 + 5.2 * len(name)
        if number == _LEGEND_AT_MOST or at + needed > left + width - 30:
            parts.append(_text(at, baseline, f"+{len(names) - number}", "mark"))
            break
        colour = _COLOURS[number % len(_COLOURS)]
        parts.append(f'<rect x="{at:.1f}" y="{baseline - 7:.1f}" width="8" height="8" fill="{colour}"/>')
        parts.append(_text(at + 11, baseline, name, "mark"))
        at += needed
    return "".join(parts)


def _frame(box: tuple[float, float, float, float]) -> str:
    left, top, width, height = box
    return f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" rx="3" class="frame"/>'


def _text(x: float, y: float, text: str, kind: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'


def _round_up(value: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    if value <= 0:
        return 1.0
    power: float = 10 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if value <= step * power * 1.0000001)


def _number(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if unit == "s":
        for limit, factor, name in ((1e-3, 1e6, "us"), (1.0, 1e3, "ms")):
            if 0 < value < limit:
                return f"{value * factor:.3g} {name}"
        return f"{value:.3g} s"
    if unit == "bytes":
        return f"{value / 1e6:.3g} MB"
    per_second = {"reqps": "/s", "cps": "/s"}.get(unit, "")
    return f"{value:.3g}{per_second}"
