"""The client, which is the same for all systems: one call at a time, many first requests at once, and wrk."""

import http.client
import json
import queue
import subprocess
import threading
import time
from pathlib import Path
from uuid import uuid4

from processes import Failure

HERE = Path(__file__).parent
ANSWER_SECONDS = 60


class Answer:
    def __init__(self, response, seconds):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()
        self.seconds = seconds

    def expect(self, status, what):
        if self.status != status:
            raise Failure(f"{what}: {self.status} instead of {status}: {self.body[:500]!r}")
        return self


class Client:
    """One connection, which is opened again when the server closes it, and what a login set."""

    def __init__(self, port):
        self.port = port
        self.cookies = {}
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)

    def call(self, method, path, body=None, headers=None):
        headers = dict(headers or {})
        if self.cookies:
            headers["Cookie"] = self.cookie_header()
        started = time.perf_counter()
        try:
            self.connection.request(method, path, body, headers)
            response = self.connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            # an idle connection that the server closed: only a new one says whether it answers
            self.connection.close()
            started = time.perf_counter()
            self.connection.request(method, path, body, headers)
            response = self.connection.getresponse()
        answer = Answer(response, 0)
        answer.seconds = time.perf_counter() - started
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer

    def cookie_header(self):
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())


def form(name, file):
    """A body of multipart/form-data with one file, and its headers."""
    boundary = uuid4().hex
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    body = head.encode() + file + f"\r\n--{boundary}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def first_requests(port, paths, headers, clients):
    """Requests each path once, by so many clients; the answers in the paths' order, and how many there were a second.

    Each request has a connection of its own, so that a server with several processes can give it to an idle one. The
    rate is that of the time in which every client has a request under way: at the end some processes have nothing left.
    """
    waiting, answers, ends = queue.SimpleQueue(), [None] * len(paths), []
    for place in range(len(paths)):
        waiting.put(place)

    def work():
        while True:
            try:
                place = waiting.get_nowait()
            except queue.Empty:
                return
            answers[place] = Client(port).call("GET", paths[place], headers={**headers, "Connection": "close"})
            ends.append(time.perf_counter())

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if None in answers:
        raise Failure("A first request got no answer.")
    # the last path is taken by the client whose request ended as the one before the last `clients`
    first, last = clients - 1, len(paths) - clients - 1
    return answers, (last - first) / (ends[last] - ends[first])


def load(port, paths, folder, clients, seconds, header=()):
    """What wrk measures with these paths in turn."""
    file = folder / "paths"
    file.write_text("".join(f"{path}\n" for path in paths))
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "10s", "-s", HERE / "ready.lua"]
    command += [f"http://127.0.0.1:{port}", "--", file, *header]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise Failure(f"wrk failed: {done.stderr}")
    result = json.loads(done.stdout.splitlines()[-1])
    if result["errors"] or not result["requests"]:
        raise Failure(f"wrk got errors: {done.stdout}")
    return result
