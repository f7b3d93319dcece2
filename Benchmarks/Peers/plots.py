# SPDX-License-Identifier: Apache-2.0
"""Plots as SVG, without a library: bars for comparisons, lines for growth. Readable on light and dark pages."""

import html
import math

STYLE = """<style>
text { font: 12px system-ui, sans-serif; fill: #24292f } .small { font-size: 11px; fill: #57606a }
.title { font-weight: 600 } .axis { stroke: #8c959f; stroke-width: 1 } .grid { stroke: #8c959f; stroke-width: 0.5; stroke-dasharray: 2 3 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .small { fill: #9198a1 } }
</style>"""
COLOURS = {"fairlead": "#1a7f64", "nats": "#3b7dd8", "redis-always": "#c0392b", "redis-everysec": "#e59866", "rabbitmq": "#b9770e"}
SERIES = ("#1a7f64", "#3b7dd8", "#c0392b", "#b9770e")


def short(value):
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def bars(groups, unit):
    """`groups`: (title, [(system, value, lowest, highest)]). Each group has a scale of its own, that of its largest bar."""
    label, width, row, gap = 118, 720, 18, 34
    parts, top = [], 10
    for title, rows in groups:
        parts.append(f'<text class="title" x="0" y="{top + 12}">{html.escape(title)}</text>')
        top += 20
        largest = max(highest for _, _, _, highest in rows)
        scale = (width - label - 110) / largest
        for system, value, lowest, highest in rows:
            y, end = top + row / 2, label + value * scale
            parts.append(f'<text x="0" y="{y + 4}">{html.escape(system)}</text>')
            parts.append(f'<rect x="{label}" y="{top + 2}" width="{max(1, value * scale):.1f}" height="{row - 5}" rx="2" '
                         f'fill="{COLOURS.get(system, "#57606a")}"/>')
            parts.append(f'<line class="axis" x1="{label + lowest * scale:.1f}" x2="{label + highest * scale:.1f}" y1="{y}" y2="{y}"/>')
            parts.append(f'<text class="small" x="{max(end, label + highest * scale) + 6:.1f}" y="{y + 4}">{short(value)} {unit}</text>')
            top += row
        top += gap - 20
    return svg(width, top, parts)


def lines(title, across, series, unit, bottom=None):
    """`series`: name → [(x, y)]; both axes logarithmic in x, linear from 0 in y."""
    width, height, left, base, head = 340, 220, 48, 34, 26
    xs = sorted({x for points in series.values() for x, _ in points})
    most = max(y for points in series.values() for _, y in points) * 1.1 or 1
    low, high = math.log10(xs[0]), math.log10(xs[-1])
    place = lambda x, y: (left + (math.log10(x) - low) / ((high - low) or 1) * (width - left - 14),
                          height - base - y / most * (height - base - head))
    parts = [f'<text class="title" x="0" y="14">{html.escape(title)}</text>']
    for part in (0, 0.25, 0.5, 0.75, 1):
        y = place(xs[0], most * part)[1]
        parts.append(f'<line class="{"axis" if part == 0 else "grid"}" x1="{left}" x2="{width - 8}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="small" x="{left - 5}" y="{y + 4:.1f}" text-anchor="end">{short(most * part)}</text>')
    for x in xs:
        parts.append(f'<text class="small" x="{place(x, 0)[0]:.1f}" y="{height - base + 15}" text-anchor="middle">{short(x)}</text>')
    parts.append(f'<text class="small" x="{(left + width) / 2}" y="{height - 4}" text-anchor="middle">{html.escape(across)}</text>')
    for number, (name, points) in enumerate(series.items()):
        colour = SERIES[number % len(SERIES)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for point in points:
            x, y = place(*point)
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>')
        if len(series) > 1:
            parts.append(f'<text class="small" x="{width - 10}" y="{14 + 13 * number}" text-anchor="end" style="fill:{colour}">{html.escape(name)}</text>')
    return parts, width, height


def grid(charts, columns=2):
    """Several charts of ``lines`` in one picture."""
    parts, gap = [], 24
    for number, (content, width, height) in enumerate(charts):
        x, y = number % columns * (width + gap), number // columns * (height + gap)
        parts.append(f'<g transform="translate({x} {y})">' + "".join(content) + "</g>")
    _, width, height = charts[0]
    rows = (len(charts) + columns - 1) // columns
    return svg(columns * (width + gap) - gap, rows * (height + gap), parts)


def svg(width, height, parts):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-8 -4 {width + 16} {height + 8}" width="{width + 16}" '
            f'role="img">{STYLE}\n' + "\n".join(parts) + "\n</svg>\n")
