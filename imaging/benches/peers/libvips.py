"""Thumbnails by libvips, in this process, on one thread.

Each line of stdin is PATH, HEIGHT[,HEIGHT], OUT_PREFIX and FORMAT, apart by tabs; the answer is a line of JSON.
`--peak PATH HEIGHTS` prints, in KiB, how far the memory of a process rises above what it holds with the file read.
"""

import json
import os
import sys
import time
from functools import cache
from pathlib import Path

# read when libvips is loaded
os.environ["VIPS_CONCURRENCY"] = "1"
import pyvips

pyvips.cache_set_max(0)
# the width comes first and bounds as well: this one never does
ANY_WIDTH = 100_000


@cache
def read(path):
    return Path(path).read_bytes()


def thumbnails(data, heights, extension):
    made = []
    for height in heights:
        picture = pyvips.Image.thumbnail_buffer(data, ANY_WIDTH, height=height, size="down")
        if extension == "jpg":
            made.append(picture.jpegsave_buffer(Q=82, keep="none"))
        else:
            made.append(picture.pngsave_buffer(keep="none"))
    return made


def numbers(heights):
    return [int(height) for height in heights.split(",")]


def answer(line):
    path, heights, prefix, extension = line.rstrip("\n").split("\t")
    data, heights = read(path), numbers(heights)
    started = time.process_time_ns()
    made = thumbnails(data, heights, extension)
    cpu_ms = (time.process_time_ns() - started) / 1e6
    for height, thumbnail in zip(heights, made):
        Path(f"{prefix}-{height}.{extension}").write_bytes(thumbnail)
    return {"cpu_ms": cpu_ms, "bytes": [len(thumbnail) for thumbnail in made]}


def memory(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def peak(path, heights):
    data, extension = read(path), path.rsplit(".", 1)[1]
    tiny = pyvips.Image.black(32, 24, bands=3).copy(interpretation="srgb")
    tiny = tiny.jpegsave_buffer() if extension == "jpg" else tiny.pngsave_buffer()
    thumbnails(tiny, [8], extension)
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    thumbnails(data, numbers(heights), extension)
    return memory("VmHWM") - before


if sys.argv[1:2] == ["--peak"]:
    print(peak(*sys.argv[2:]))
else:
    version = ".".join(str(pyvips.version(part)) for part in range(3))
    print(json.dumps({"version": f"libvips {version}"}), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(line)), flush=True)
