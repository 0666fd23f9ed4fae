"""How far thumbnails are from what they should be: DSSIM = (1 - SSIM) / 2, and PSNR in dB.

Each line of stdin is THUMBNAIL, REFERENCE, WIDTH, HEIGHT and PROFILE, apart by tabs; the answer is a line of JSON.
The reference is RGB as little-endian 32-bit floats from 0 to 255. With a PROFILE (which may be empty) its values are
converted from that to sRGB first: libvips leaves the numbers alone, while the others convert them.
"""

import json
import sys

import numpy
import pyvips
from skimage.metrics import structural_similarity

GREY = 128.0


def thumbnail(path):
    picture = pyvips.Image.new_from_file(path)
    sixteen_bits = picture.format == "ushort"
    bands = picture.numpy().astype(numpy.float64) / (257 if sixteen_bits else 1)
    bands = bands.reshape(picture.height, picture.width, -1)
    if bands.shape[2] in (2, 4):
        alpha = bands[:, :, -1:] / 255
        bands = bands[:, :, :-1] * alpha + GREY * (1 - alpha)
    return bands if bands.shape[2] == 3 else bands.repeat(3, axis=2)


def reference(path, width, height, profile):
    values = numpy.fromfile(path, dtype="<f4").reshape(height, width, 3)
    if profile:
        sixteen_bits = (values * 257).round().astype(numpy.uint16)
        picture = pyvips.Image.new_from_array(sixteen_bits, interpretation="rgb16")
        picture = picture.icc_transform("srgb", input_profile=profile, depth=16, intent="relative")
        values = picture.numpy() / 257
    return values.astype(numpy.float64)


def answer(line):
    path, reference_path, width, height, profile = line.rstrip("\n").split("\t")
    made, wanted = thumbnail(path), reference(reference_path, int(width), int(height), profile)
    similarity = structural_similarity(
        made,
        wanted,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
    )
    psnr_db = 10 * numpy.log10(255**2 / numpy.mean((made - wanted) ** 2))
    return {"dssim": (1 - similarity) / 2, "psnr_db": psnr_db}


print(json.dumps({"version": f"libvips {pyvips.version(0)}.{pyvips.version(1)}.{pyvips.version(2)}"}), flush=True)
for line in sys.stdin:
    print(json.dumps(answer(line)), flush=True)
