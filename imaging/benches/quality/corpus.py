"""Makes JPEGs of many sizes from a few photos: corpus.py PHOTOS_DIRECTORY CORPUS_DIRECTORY.

Crops (as sharp as the photo) and whole photos in other sizes, 0.5 to 22 megapixels, in 4:2:0, 4:2:2 and 4:4:4, quality 75
to 95. The same photos give the same files; what is there stays.
"""

import os
import random
import sys
from pathlib import Path

import pyvips
from PIL import Image

MEGAPIXELS = [0.5, 0.7, 1, 1.5, 2, 3, 4.5, 6.5, 9, 12, 16, 22]
SAMPLINGS = {"420": "4:2:0", "422": "4:2:2", "444": "4:4:4"}
QUALITIES = [75, 80, 85, 90, 95]
# files of each photo
EACH = 27


def sides(width, height, megapixels):
    factor = (megapixels * 1e6 / (width * height)) ** 0.5
    return round(width * factor), round(height * factor)


def make(photo, target, chance, index):
    picture = pyvips.Image.new_from_file(str(photo)).autorot().colourspace("srgb")
    # each size in turn, each a little different, so that all ratios to a thumbnail come up
    megapixels = MEGAPIXELS[index % len(MEGAPIXELS)] * chance.uniform(0.85, 1.15)
    megapixels = min(max(megapixels, 0.5), 22)
    width, height = sides(picture.width, picture.height, megapixels)
    if index % 2 and width < picture.width:
        x, y = chance.randint(0, picture.width - width), chance.randint(0, picture.height - height)
        picture = picture.crop(x, y, width, height)
    else:
        picture = picture.resize(width / picture.width, vscale=height / picture.height)
    sampling, quality = list(SAMPLINGS)[index % 3], QUALITIES[index % len(QUALITIES)]
    unfinished = target / "unfinished.jpg"
    Image.fromarray(picture.numpy()).save(unfinished, quality=quality, subsampling=SAMPLINGS[sampling])
    os.replace(unfinished, target / f"{photo.stem}-{index:02}-{width}x{height}-{sampling}-q{quality}.jpg")


def main(photos, corpus):
    corpus.mkdir(parents=True, exist_ok=True)
    for photo in sorted(photos.glob("*.jpg")):
        chance = random.Random(photo.name)
        if len(list(corpus.glob(f"{photo.stem}-*.jpg"))) == EACH:
            continue
        for index in range(EACH):
            make(photo, corpus, chance, index)
        print(f"corpus: {photo.name}", file=sys.stderr)


main(Path(sys.argv[1]), Path(sys.argv[2]))
