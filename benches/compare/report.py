"""The table and the chart of a comparison, and where they are kept."""

import os
import statistics
import subprocess
from pathlib import Path

from PIL import Image, features

import plot
from systems import JPEG_QUALITY, ROOT

DOCUMENT = ROOT / "docs/performance.md"
CHART = ROOT / "docs/compare.svg"
BEGIN, END = "<!-- compare -->", "<!-- /compare -->"
GOAL = 3

COLUMNS = {
    "Pictier 1": "Pictier, 1 worker",
    "Pictier 2": "Pictier, 2 workers",
    "thumbor 1": "thumbor, 1 process",
    "thumbor 2": "thumbor, 2 processes",
    "Django 2": "Django, 2 processes",
    "nginx 2": "nginx",
}


def milliseconds(value):
    return f"{value:,.1f} ms" if value < 10 else f"{value:,.0f} ms"


def microseconds(value):
    return f"{value * 1e3:,.0f} µs"


def rate(value):
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def mebibytes(value):
    return f"{value / 2**20:,.0f} MiB"


def kilobytes(value):
    return f"{value / 1e3:,.1f} kB"


def seconds(value):
    return f"{value:,.1f} s"


ROWS = [
    ("upload of 4 MB to 201", "upload_ms", milliseconds),
    ("first request to bytes, 200 px", "first_200_ms", milliseconds),
    ("first request to bytes, 400 px", "first_400_ms", milliseconds),
    ("first requests a second, 200 px", "cold_200_per_second", rate),
    ("first requests a second, 400 px", "cold_400_per_second", rate),
    ("ready requests a second", "ready_per_second", rate),
    ("ready requests, p99", "ready_p99_ms", milliseconds),
    ("list of 50 images", "list_ms", milliseconds),
    ("CPU time of an upload", "upload_cpu_ms", milliseconds),
    ("CPU time of a first request, 200 px", "cold_200_cpu_ms", milliseconds),
    ("CPU time of a first request, 400 px", "cold_400_cpu_ms", milliseconds),
    ("CPU time of a ready request", "ready_cpu_ms", microseconds),
    ("CPU time of the whole round", "cpu_seconds", seconds),
    ("peak memory", "memory_bytes", mebibytes),
    ("most connections to Postgres", "backends", lambda value: f"{value:.0f}"),
    ("thumbnail of 200 px", "bytes_200", kilobytes),
    ("thumbnail of 400 px", "bytes_400", kilobytes),
]

# what is to be three times as quick as thumbor, and whether less is better
COMPARED = [
    ("first request to bytes, 200 px", "first_200_ms", True),
    ("first request to bytes, 400 px", "first_400_ms", True),
    ("first requests a second, 200 px", "cold_200_per_second", False),
    ("first requests a second, 400 px", "cold_400_per_second", False),
]


def in_round(results, number, system, figure):
    """A figure of one round; the median where it is a list. None if the system has none."""
    value = results["rounds"][number].get(system, {}).get(figure)
    return statistics.median(value) if isinstance(value, list) else value


def median(results, system, figure):
    values = [in_round(results, number, system, figure) for number in range(len(results["rounds"]))]
    return None if None in values else statistics.median(values)


def ratios(results, figure, less_is_better, workers):
    """How many times as quick as thumbor Pictier was in each round."""
    for number in range(len(results["rounds"])):
        ours, theirs = (in_round(results, number, f"{who} {workers}", figure) for who in ("Pictier", "thumbor"))
        yield theirs / ours if less_is_better else ours / theirs


def markdown(results):
    versions, rounds = results["versions"], len(results["rounds"])
    shares = [system["other_cpu_share"] for one in results["rounds"] for system in one.values()]
    lines = [
        f"{results['machine']}. {versions}. Medians of {rounds} {'round' if rounds == 1 else 'rounds'}. Meanwhile other "
        f"processes of the machine took {statistics.mean(shares):.0%} of the cores.",
        "",
        "| | " + " | ".join(COLUMNS.values()) + " |",
        "|---" * (len(COLUMNS) + 1) + "|",
    ]
    for label, figure, written in ROWS:
        values = [median(results, system, figure) for system in COLUMNS]
        lines.append(f"| {label} | " + " | ".join("" if value is None else written(value) for value in values) + " |")
    lines += [
        "",
        f"Pictier beside thumbor: the median of the rounds' ratios, with the lowest and the highest. The goal is {GOAL}.",
        "",
        "| times as quick as thumbor | 1 worker, 1 process | 2 workers, 2 processes |",
        "|---|---|---|",
    ]
    for label, figure, less_is_better in COMPARED:
        cells = []
        for workers in (1, 2):
            found = sorted(ratios(results, figure, less_is_better, workers))
            cells.append(f"{statistics.median(found):.1f} ({found[0]:.1f} to {found[-1]:.1f})")
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def publish(text, results):
    document = DOCUMENT.read_text()
    if BEGIN not in document or END not in document:
        raise SystemExit(f"compare: {DOCUMENT} has no lines {BEGIN} and {END} to put the tables between.")
    before, after = document.split(BEGIN)[0], document.split(END)[1]
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")
    plot.draw(results, median, COLUMNS, CHART)


def machine():
    info = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(": ")[1] for line in info if line.startswith("model name")]
    return f"{os.cpu_count()} cores, {models[0] if models else 'unknown processor'}"


def versions(tools):
    def said(*command):
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        return (done.stdout + done.stderr).split("\n")[0]

    def version(environment, package):
        code = f"import importlib.metadata; print(importlib.metadata.version('{package}'))"
        return said(environment / "python", "-c", code)

    jpeg = features.version("libjpeg_turbo")
    return ", ".join(
        [
            f"thumbor {version(tools.venv, 'thumbor')} (engine PIL: Pillow {Image.__version__}, libjpeg-turbo {jpeg})",
            f"Django {version(tools.django, 'Django')} (Pillow {version(tools.django, 'pillow')}, "
            f"gunicorn {version(tools.django, 'gunicorn')})",
            f"nginx {said(tools.nginx, '-v').rpartition('/')[2]}",
            said(tools.postgres / "postgres", "--version").replace("postgres (PostgreSQL)", "PostgreSQL").split(" (")[0],
            f"JPEG quality {JPEG_QUALITY} in Pictier and thumbor",
        ]
    )
