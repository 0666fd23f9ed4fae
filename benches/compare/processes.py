"""The processes of one system: starting and stopping them, their CPU time and their memory."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from types import SimpleNamespace

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
SAMPLE_SECONDS = 0.2
STOP_SECONDS = 30
START_SECONDS = 60
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


class Failure(Exception):
    """A sentence for whoever runs the comparison."""


def end_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Processes:
    """What was started for a system, with all descendants."""

    def __init__(self, folder):
        self.folder = folder
        self.roots = []
        self.most_memory = 0
        self.most_backends = 0
        self._sampling = threading.Event()
        self._sampler = None

    def stop(self):
        self.stop_sampling()
        # those that were started last depend on the others
        for process in reversed(self.roots):
            end(process)

    def start(self, *command, variables=None, user=None):
        log = self.folder / "log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [str(part) for part in command],
                cwd=self.folder,
                env={**os.environ, **(variables or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                user=user,
                # a Ctrl-C at the terminal is for the comparison, which stops everything in order
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
        self.roots.append(process)
        return process

    def wait_until(self, is_ready, what):
        """Polls until `is_ready()`, which may raise OSError before the server listens."""
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                if is_ready():
                    return
            except OSError:
                pass
            ended = [process for process in self.roots if process.poll() is not None]
            if ended or time.monotonic() > until:
                log = (self.folder / "log").read_text(errors="replace")[-2000:]
                raise Failure(f"{what} did not start. The end of its log:\n{log}")
            time.sleep(0.02)

    def cpu_seconds(self):
        """User and system time of all of them, also of children that have ended."""
        ticks = 0
        for pid in self._tree():
            fields = stat(pid)
            if fields:
                # utime, stime, cutime and cstime, counted from the state
                ticks += sum(int(field) for field in fields[11:15])
        return ticks / TICKS_PER_SECOND

    @contextlib.contextmanager
    def cpu_time(self):
        """Its value has the CPU time of the block in `seconds` afterwards."""
        spent, before = SimpleNamespace(), self.cpu_seconds()
        yield spent
        spent.seconds = self.cpu_seconds() - before

    def start_sampling(self):
        """Looks at the memory and at the connections of Postgres several times a second."""
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampler.start()

    def stop_sampling(self):
        self._sampling.set()
        if self._sampler:
            self._sampler.join()

    def _sample(self):
        while not self._sampling.wait(SAMPLE_SECONDS):
            tree = self._tree()
            self.most_memory = max(self.most_memory, sum(proportional_bytes(pid) for pid in tree))
            self.most_backends = max(self.most_backends, sum(is_backend(pid) for pid in tree))

    def _tree(self):
        children = {}
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                fields = stat(entry.name)
                if fields:
                    children.setdefault(int(fields[1]), []).append(int(entry.name))
        found, ahead = [], [process.pid for process in self.roots]
        while ahead:
            pid = ahead.pop()
            found.append(pid)
            ahead += children.get(pid, [])
        return found


def busy_seconds():
    """CPU time of everything on this machine, and what its host took away, on all cores together."""
    # user, nice, system, idle, iowait, irq, softirq, steal
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICKS_PER_SECOND


def stat(pid):
    """The fields of a process from its state on; nothing if it has ended."""
    try:
        # the name before them may have spaces
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return None


def proportional_bytes(pid):
    """Resident memory; a page that n processes share counts as 1/n."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def is_backend(pid):
    """Whether it is a process of Postgres that serves a connection."""
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return title.startswith(b"postgres: ") and b"[local]" in title


def end(process):
    """Ends a process in an orderly way, and then whatever it left."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
