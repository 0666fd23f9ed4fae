"""Measures Pictier beside thumbor, Django and nginx: compare.py PHOTOS_DIRECTORY TOOLS_DIRECTORY [--quick].

`benches/compare/run` installs what it needs and starts it.
"""

import argparse
import io
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from PIL import Image, ImageChops, ImageStat

import client
import report
from processes import Failure, busy_seconds
from systems import HEIGHTS, Django, Nginx, Pictier, Thumbor

# the photo of measurements with one photo
SINGLE = "phone-12mp-420.jpg"
# its size where only the number of images counts
SMALL_SIZE = (80, 40)
WARM_UP_PHOTOS = 4
COLD_CLIENTS = 8
READY_CLIENTS = 32
LIST_IMAGES = 50
# mean difference of a sample, of 255, between a thumbnail and its photo; another photo differs by more than 40
MOST_DIFFERENCE = 15

# no round starts that would probably end later
MOST_SECONDS = 330

FULL = SimpleNamespace(rounds=5, singles=8, copies=12, ready_seconds=2, list_seconds=1)
QUICK = SimpleNamespace(rounds=1, singles=3, copies=5, ready_seconds=1, list_seconds=1)
SYSTEMS = [(Pictier, 1), (Thumbor, 1), (Pictier, 2), (Thumbor, 2), (Django, 2), (Nginx, 2)]


@dataclass(frozen=True)
class Photo:
    path: Path
    # the photo that it is a copy of
    source: Path
    width: int
    height: int

    @property
    def squares(self):
        """Squares into which its thumbnails of these heights fit exactly."""
        return tuple(round(height * max(1, self.width / self.height)) for height in HEIGHTS)


def copied(source, target):
    """The same picture in a file that no other file equals: with a comment behind the start of the image."""
    text, data = target.name.encode(), source.read_bytes()
    target.write_bytes(data[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + data[2:])
    with Image.open(source) as picture:
        return Photo(target, source, *picture.size)


def make_corpus(photos, folder, plan):
    """Photos to warm up, for one call at a time, for many at once, and for the list."""
    single, small = photos / SINGLE, folder / "small.jpg"
    if not single.is_file():
        raise Failure(f"{photos} has no {SINGLE}.")
    with Image.open(single) as picture:
        picture.resize(SMALL_SIZE).save(small)
    return SimpleNamespace(
        folder=folder,
        warm_up=[copied(single, folder / f"warm-up-{number}.jpg") for number in range(WARM_UP_PHOTOS)],
        singles=[copied(single, folder / f"single-{number}.jpg") for number in range(plan.singles)],
        many=[
            copied(source, folder / f"{number}-{source.name}")
            for number in range(plan.copies)
            for source in sorted(photos.glob("*.jpg"))
        ],
        small=Photo(small, small, *SMALL_SIZE),
    )


class Checker:
    """Finds out whether answers are the thumbnails that were requested."""

    def __init__(self):
        self.samples = {}

    def check(self, answer, photo, height, who):
        answer.expect(200, f"First request to {who}")
        with Image.open(io.BytesIO(answer.body)) as picture:
            width = photo.width * height / photo.height
            if picture.format != "JPEG" or picture.height != height or abs(picture.width - width) > 1:
                what = f"{picture.format} of {picture.width} x {picture.height} px"
                raise Failure(f"{who} answered a {what} for {photo.source.name} at a height of {height} px.")
            difference = ImageChops.difference(sample(picture), self.sample_of(photo))
        difference = statistics.mean(ImageStat.Stat(difference).mean)
        if difference > MOST_DIFFERENCE:
            raise Failure(f"{who} answered another picture than {photo.source.name}: {difference:.0f} of 255 apart.")

    def sample_of(self, photo):
        if photo.source not in self.samples:
            with Image.open(photo.source) as picture:
                self.samples[photo.source] = sample(picture)
        return self.samples[photo.source]


def sample(picture):
    picture.draft("RGB", (128, 128))
    return picture.convert("RGB").resize((64, 64))


class Measurement:
    """A system's part of a round."""

    def __init__(self, system, corpus, plan, checker):
        self.system = system
        self.corpus = corpus
        self.plan = plan
        self.checker = checker
        self.who = f"{system.name} with {system.workers}"
        self.figures = {}
        # the bodies of the smallest thumbnails
        self.finished = {}

    def run(self):
        self.warm_up()
        self.one_at_a_time()
        paths = self.many_at_once()
        self.ready(paths)
        if self.system.list_path:
            self.list()
        return self.figures

    def first_request(self, reference, height):
        path = self.system.path(reference, height)
        return self.system.client.call("GET", path, headers=self.system.headers)

    def warm_up(self):
        for photo in self.corpus.warm_up:
            reference = self.system.upload(photo)[1]
            for height in HEIGHTS:
                self.checker.check(self.first_request(reference, height), photo, height, self.who)

    def one_at_a_time(self):
        photos = self.corpus.singles
        with self.system.processes.cpu_time() as cpu:
            uploads = [self.system.upload(photo) for photo in photos]
        self.figures["upload_ms"] = [seconds * 1e3 for seconds, _ in uploads]
        self.figures["upload_cpu_ms"] = cpu.seconds * 1e3 / len(photos)
        references = [reference for _, reference in uploads]
        for height in HEIGHTS:
            answers = [self.first_request(reference, height) for reference in references]
            self.figures[f"first_{height}_ms"] = [answer.seconds * 1e3 for answer in answers]
            for answer, photo in zip(answers, photos):
                self.checker.check(answer, photo, height, self.who)

    def many_at_once(self):
        """Returns the paths of the smallest thumbnails."""
        photos, system = self.corpus.many, self.system
        references = [system.store(photo) for photo in photos]
        paths = {height: [system.path(reference, height) for reference in references] for height in HEIGHTS}
        for height in HEIGHTS:
            own = time.process_time()
            with system.processes.cpu_time() as cpu:
                answers, rate = client.first_requests(system.port, paths[height], system.headers, COLD_CLIENTS)
            self.figures[f"cold_{height}_client_cpu_ms"] = (time.process_time() - own) * 1e3 / len(photos)
            self.figures[f"cold_{height}_per_second"] = rate
            self.figures[f"cold_{height}_cpu_ms"] = cpu.seconds * 1e3 / len(photos)
            self.figures[f"bytes_{height}"] = statistics.mean(len(answer.body) for answer in answers)
            for answer, photo in zip(answers, photos):
                self.checker.check(answer, photo, height, self.who)
            if height == HEIGHTS[0]:
                self.finished = {photo.path.name: answer.body for answer, photo in zip(answers, photos)}
        return paths[HEIGHTS[0]]

    def ready(self, paths):
        system = self.system
        with system.processes.cpu_time() as cpu:
            ready = client.load(system.port, paths, system.folder, READY_CLIENTS, self.plan.ready_seconds)
        self.figures["ready_per_second"] = ready["requests"] / ready["seconds"]
        self.figures["ready_p99_ms"] = ready["p99_ms"]
        self.figures["ready_cpu_ms"] = cpu.seconds * 1e3 / ready["requests"]

    def list(self):
        system = self.system
        for _ in range(LIST_IMAGES):
            system.upload(self.corpus.small)
        account = system.account_of(self.corpus.small)
        images = json.loads(account.call("GET", system.list_path).expect(200, f"List of {self.who}").body)
        if len(images) != LIST_IMAGES:
            raise Failure(f"The list of {self.who} has {len(images)} images.")
        header = ("Cookie", account.cookie_header())
        listed = client.load(system.port, [system.list_path], system.folder, 1, self.plan.list_seconds, header)
        self.figures["list_ms"] = listed["p50_ms"]


def measure(kind, workers, work, tools, corpus, plan, checker):
    """Starts a system with nothing in it, measures it and removes it."""
    folder = work / "system"
    folder.mkdir()
    try:
        with kind(workers, folder, tools) as system:
            begun, busy, own = time.monotonic(), busy_seconds() - system.processes.cpu_seconds(), own_seconds()
            measurement = Measurement(system, corpus, plan, checker)
            if kind is Nginx:
                measurement.ready([f"/{name}" for name in tools.finished])
            else:
                measurement.run()
            system.processes.stop_sampling()
            figures = measurement.figures
            figures["memory_bytes"] = system.processes.most_memory
            figures["backends"] = system.processes.most_backends
            figures["cpu_seconds"] = system.processes.cpu_seconds()
            others = busy_seconds() - busy - figures["cpu_seconds"] - (own_seconds() - own)
            figures["other_cpu_share"] = others / (time.monotonic() - begun) / os.cpu_count()
            # files that nginx serves are those that Pictier made
            if kind is Pictier:
                tools.finished = measurement.finished
            return figures
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def own_seconds():
    """CPU time of the client."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def run(photos, folder, plan):
    rounds, checker, started = [], Checker(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pictier-compare-") as work:
        work = Path(work)
        # Postgres runs as another user where this one is root
        work.chmod(0o755)
        (work / "corpus").mkdir()
        corpus = make_corpus(photos, work / "corpus", plan)
        tools = SimpleNamespace(
            pictier=Path(os.environ["PICTIER"]),
            postgres=Path(os.environ["POSTGRES"]),
            django=Path(os.environ["DJANGO"]),
            nginx=Path(os.environ["NGINX"]),
            venv=folder / "venv/bin",
            corpus=corpus.folder,
            shapes={photo.squares for photo in [*corpus.many, *corpus.singles, corpus.small]},
            finished={},
        )
        for number in range(plan.rounds):
            elapsed = time.monotonic() - started
            if number and elapsed * (number + 1) / number > MOST_SECONDS:
                break
            results = {}
            # each system comes first in turn; nginx, which needs files of Pictier, does not in the first round
            first = number % len(SYSTEMS)
            for kind, workers in SYSTEMS[first:] + SYSTEMS[:first]:
                begun = time.monotonic()
                results[f"{kind.name} {workers}"] = measure(kind, workers, work, tools, corpus, plan, checker)
                seconds = time.monotonic() - begun
                print(f"round {number + 1} of {plan.rounds}: {kind.name} {workers}, {seconds:.0f} s", file=sys.stderr)
            rounds.append(results)
        print(f"measured in {time.monotonic() - started:.0f} s", file=sys.stderr)
        return {"machine": report.machine(), "versions": report.versions(tools), "rounds": rounds}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("photos", type=Path)
    parser.add_argument("folder", type=Path, help="where results and the Python environment are")
    parser.add_argument("--quick", action="store_true", help="one short round, to try the comparison out")
    arguments = parser.parse_args()
    # as Ctrl-C: everything that runs is stopped
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        results = run(arguments.photos, arguments.folder, QUICK if arguments.quick else FULL)
    except Failure as failure:
        sys.exit(f"compare: {failure}")
    except KeyboardInterrupt:
        sys.exit("compare: stopped")
    (arguments.folder / "results.json").write_text(json.dumps(results, indent=1))
    text = report.markdown(results)
    print(text)
    if not arguments.quick:
        report.publish(text, results)


main()
