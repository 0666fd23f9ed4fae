"""Judges thumbnails: judge.py CORPUS_DIRECTORY THUMBNAILS_DIRECTORY HEIGHTS.

The reference is the whole picture as libjpeg-turbo decodes it, resized with Lanczos3 in floating point. PSNR is of our
pixels before they are encoded; SSIMULACRA2 of the files, beside those of libvips. Ends with 1 when a limit is not held.
"""

import io
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

os.environ["VIPS_CONCURRENCY"] = "1"
import numpy
import pyvips
from PIL import Image
from ssimulacra2 import compute_ssimulacra2

MIN_PSNR_DB = 46.0
MAX_BEHIND_LIBVIPS = 0.5
ANY_WIDTH = 100_000
PROCESSES = 2

pyvips.cache_set_max(0)


def reference(file, size, scratch):
    """In eight bits for SSIMULACRA2, and not rounded for PSNR; kept, as it takes the longest."""
    kept = scratch / f"{file.stem}-{size[0]}x{size[1]}.npy"
    if not kept.exists():
        planes = Image.open(file).convert("RGB").split()
        planes = [plane.convert("F").resize(size, Image.Resampling.LANCZOS) for plane in planes]
        resized = numpy.stack([numpy.asarray(plane) for plane in planes], axis=-1)
        # eight bits cannot overshoot either
        numpy.save(kept, resized.clip(0, 255))
    return numpy.load(kept)


def by_libvips(file, height):
    picture = pyvips.Image.thumbnail(str(file), ANY_WIDTH, height=height, size="down")
    return picture.jpegsave_buffer(Q=82, keep="none")


def similarity(wanted, file, scratch, name):
    rounded, decoded = scratch / f"{name}-wanted.png", scratch / f"{name}-found.png"
    Image.fromarray(wanted.round().astype(numpy.uint8)).save(rounded, compress_level=1)
    found = Image.open(file).convert("RGB")
    found.save(decoded, compress_level=1)
    return compute_ssimulacra2(str(rounded), str(decoded))


def judge(task):
    file, thumbnails, height, scratch = task
    name = f"{file.stem}-{height}"
    ours = numpy.asarray(Image.open(thumbnails / f"{name}.png").convert("RGB")).astype(numpy.float64)
    wanted = reference(file, (ours.shape[1], ours.shape[0]), scratch)
    psnr_db = 10 * numpy.log10(255**2 / max(numpy.mean((ours - wanted) ** 2), 1e-9))
    if os.environ.get("PSNR_ONLY"):
        return name, psnr_db, 0.0, 0.0
    kept = scratch / f"{name}-libvips.txt"
    if not kept.exists():
        theirs = io.BytesIO(by_libvips(file, height))
        size = Image.open(theirs).size
        kept.write_text(str(similarity(reference(file, size, scratch), theirs, scratch, name)))
    return name, psnr_db, similarity(wanted, thumbnails / f"{name}.jpg", scratch, name), float(kept.read_text())


def main(corpus, thumbnails, heights):
    scratch = corpus / "scratch"
    scratch.mkdir(exist_ok=True)
    files = sorted(corpus.glob("*.jpg"))
    tasks = [(file, thumbnails, height, scratch) for height in heights for file in files]
    with ProcessPoolExecutor(PROCESSES) as pool:
        verdicts = list(pool.map(judge, tasks, chunksize=4))
    print("| Picture, height | PSNR dB | SSIMULACRA2 | of libvips | more |\n|:--|--:|--:|--:|--:|")
    low = [verdict for verdict in verdicts if verdict[1] < MIN_PSNR_DB]
    behind = [verdict for verdict in verdicts if verdict[2] < verdict[3] - MAX_BEHIND_LIBVIPS]
    worst = sorted(verdicts, key=lambda v: v[1])[:5] + sorted(verdicts, key=lambda v: v[2] - v[3])[:5]
    listed = {verdict[0]: verdict for verdict in low + behind + worst}
    for name, psnr_db, ours, theirs in listed.values():
        print(f"| {name} | {psnr_db:.2f} | {ours:.2f} | {theirs:.2f} | {ours - theirs:+.2f} |")
    for height in heights:
        of_height = [verdict for verdict in verdicts if verdict[0].endswith(f"-{height}")]
        values = numpy.array([verdict[1:] for verdict in of_height])
        psnr_db, more = values[:, 0], values[:, 1] - values[:, 2]
        print(
            f"\n{len(of_height)} pictures at {height} px: PSNR at least {psnr_db.min():.2f} dB, mean {psnr_db.mean():.2f};"
            f" SSIMULACRA2 at least {more.min():+.2f} from libvips', mean {more.mean():+.2f}"
        )
    print(f"\n{len(low)} below {MIN_PSNR_DB} dB, {len(behind)} more than {MAX_BEHIND_LIBVIPS} below libvips.")
    sys.exit(1 if low or behind else 0)


main(Path(sys.argv[1]), Path(sys.argv[2]), [int(height) for height in sys.argv[3].split(",")])
