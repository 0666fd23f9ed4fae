"""Makes the corpus from camera files: corpus.py PHOTOS_DIRECTORY CORPUS_DIRECTORY.

What is newer than its photo stays. Everything that is derived comes from one photo, so that kinds can be compared.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyvips
from PIL import Image

AS_THEY_ARE = {
    "phone-12mp-420.jpg": "phone-12mp.jpg",
    "dslr-18mp-422.jpg": "dslr-18mp-422.jpg",
    "phone-16mp-420.jpg": "phone-16mp.jpg",
    "dslr-12mp-444-restart.jpg": "dslr-12mp-444-restart.jpg",
    "portrait-3mp-420.jpg": "portrait-3mp.jpg",
}
DERIVED_FROM = "phone-12mp-420.jpg"


def jpegtran(*options):
    def make(photo, target):
        subprocess.run(["jpegtran", *options, "-outfile", target, photo], check=True)

    return make


def smaller(photo, target):
    picture = pyvips.Image.new_from_file(str(photo))
    picture = picture.resize(1632 / picture.width, vscale=1224 / picture.height)
    picture.jpegsave(str(target), Q=90, keep="none")


def cmyk(photo, target):
    Image.open(photo).convert("CMYK").save(target, quality=90, icc_profile=None, exif=b"")


def progressive_cmyk(photo, target):
    plain = target.with_suffix(".plain.jpg")
    cmyk(photo, plain)
    jpegtran("-progressive")(plain, target)
    plain.unlink()


def png_by_libpng(photo, target):
    # as libpng encodes by itself, which most programs leave to it
    Image.open(photo).convert("RGB").save(target, icc_profile=None, exif=b"")


def png(change=lambda picture: picture, **options):
    # libvips leaves filters out unless it is asked
    options.setdefault("filter", "none" if options.get("palette") else "all")

    def make(photo, target):
        change(pyvips.Image.new_from_file(str(photo))).pngsave(str(target), keep="none", **options)

    return make


def with_gradient(picture):
    alpha = pyvips.Image.xyz(picture.width, picture.height)[0] * (255 / (picture.width - 1))
    return picture.bandjoin(alpha.cast("uchar"))


def sixteen_bits(picture):
    # 257, not a shift: white is 65,535 then
    return (picture * 257).cast("ushort").copy(interpretation="rgb16")


DERIVED = {
    "restart.jpg": jpegtran("-restart", "1", "-copy", "all"),
    "progressive.jpg": jpegtran("-progressive", "-copy", "all"),
    # a colour profile would be wrong without colour
    "grey.jpg": jpegtran("-grayscale", "-copy", "none"),
    "2mp.jpg": smaller,
    "cmyk.jpg": cmyk,
    "progressive-cmyk.jpg": progressive_cmyk,
    "libpng.png": png_by_libpng,
    "rgb.png": png(),
    "unfiltered.png": png(filter="none"),
    "rgba.png": png(with_gradient),
    "palette.png": png(palette=True),
    "sixteen.png": png(sixteen_bits),
    "interlaced.png": png(interlace=True),
}


def main(photos, corpus):
    corpus.mkdir(parents=True, exist_ok=True)
    wanted = [(photos / name, corpus / target, shutil.copyfile) for name, target in AS_THEY_ARE.items()]
    wanted += [(photos / DERIVED_FROM, corpus / target, make) for target, make in DERIVED.items()]
    for photo, target, make in wanted:
        if not photo.is_file():
            sys.exit(f"corpus: {photo} is missing")
        if target.exists() and target.stat().st_mtime >= photo.stat().st_mtime:
            continue
        # a run that is cut short leaves nothing that looks whole
        unfinished = target.with_stem("unfinished")
        make(photo, unfinished)
        os.replace(unfinished, target)
        print(f"corpus: {target.name}", file=sys.stderr)


main(Path(sys.argv[1]), Path(sys.argv[2]))
