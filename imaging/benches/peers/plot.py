"""Draws the CPU time of a thumbnail by kind: plot.py RESULTS.json CHART.svg. The same results give the same file."""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "peers", "svg.fonttype": "none", "font.size": 9})
from matplotlib import pyplot

COLOURS = {"imaging": "#0b6e4f", "libvips": "#e07a1f", "sharp": "#3a6ea5", "image": "#9a9a9a"}
BAR = 0.2


def time(case, who):
    if who == "image":
        return case["image_cpu_ms"]
    return case["ours" if who == "imaging" else who]["cpu_ms"]


def panel(axes, cases, height):
    cases = [case for case in cases if case["heights"] == [height]]
    for row, (who, colour) in enumerate(COLOURS.items()):
        times = [time(case, who) for case in cases]
        places = [place + (row - 1.5) * BAR for place in range(len(cases))]
        axes.barh(places, times, BAR * 0.92, color=colour, label=who)
        for place, value in zip(places, times):
            axes.annotate(f"{value:.3g}", (value, place), (3, 0), textcoords="offset points", va="center", fontsize=6)
    axes.set_yticks(range(len(cases)), [case["kind"] for case in cases])
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
    # room for the number at the longest bar
    axes.set_xlim(left=1, right=axes.get_xlim()[1] * 1.3)
    axes.set_xlabel("ms (logarithmic)")
    axes.set_title(f"{height} px high", fontsize=10)
    axes.grid(axis="x", which="major", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.margins(y=0.01)
    axes.spines[["top", "right"]].set_visible(False)


def main(results, chart):
    cases = json.loads(Path(results).read_text())["cases"]
    kinds = len({case["kind"] for case in cases})
    figure, (left, right) = pyplot.subplots(
        1, 2, figsize=(11, 1.6 + 0.6 * kinds), sharex=True, sharey=True, layout="constrained"
    )
    panel(left, cases, 200)
    panel(right, cases, 400)
    # the first kind on top; the axis is shared
    left.invert_yaxis()
    figure.suptitle("CPU time of one thumbnail, file in memory to file in memory, one thread", fontsize=12)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(COLOURS), frameon=False)
    figure.savefig(chart, metadata={"Date": None, "Creator": None})


main(*sys.argv[1:])
