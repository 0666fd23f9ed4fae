"""Draws a comparison. The same results give the same file."""

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "compare", "svg.fonttype": "none", "font.size": 9})
from matplotlib import pyplot

COLOURS = {
    "Pictier 1": "#4fa583",
    "Pictier 2": "#0b6e4f",
    "thumbor 1": "#efb27a",
    "thumbor 2": "#e07a1f",
    "Django 2": "#3a6ea5",
    "nginx 2": "#9a9a9a",
}
PANELS = [
    ("First request to bytes, 12 MP\nms, less is better", {"first_200_ms": "200 px", "first_400_ms": "400 px"}, False),
    (
        "First requests a second\nmore is better",
        {"cold_200_per_second": "200 px", "cold_400_per_second": "400 px"},
        False,
    ),
    ("Ready requests a second, 32 clients\nlogarithmic, more is better", {"ready_per_second": "200 px"}, True),
    (
        "CPU time of a first request\nms, less is better",
        {"cold_200_cpu_ms": "200 px", "cold_400_cpu_ms": "400 px"},
        False,
    ),
]


def draw(results, median, columns, chart):
    figure, panels = pyplot.subplots(1, len(PANELS), figsize=(13, 3.6), layout="constrained")
    for axes, (title, figures, is_logarithmic) in zip(panels, PANELS):
        systems = [name for name in columns if median(results, name, next(iter(figures))) is not None]
        width = 0.85 / len(systems)
        for place, name in enumerate(systems):
            values = [median(results, name, one) for one in figures]
            spots = [group + (place - (len(systems) - 1) / 2) * width for group in range(len(values))]
            axes.bar(spots, values, width * 0.92, color=COLOURS[name])
            for spot, value in zip(spots, values):
                text = f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
                axes.annotate(text, (spot, value), (0, 2), textcoords="offset points", ha="center", fontsize=7)
        axes.set_xticks(range(len(figures)), figures.values())
        axes.set_title(title, fontsize=10)
        if is_logarithmic:
            axes.set_yscale("log")
        axes.margins(y=0.12)
        axes.grid(axis="y", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    handles = [pyplot.Rectangle((0, 0), 1, 1, color=COLOURS[name]) for name in columns]
    figure.legend(handles, columns.values(), loc="outside lower center", ncols=len(columns), frameon=False)
    figure.savefig(chart, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
