"""The systems that are compared. Each starts with empty folders, and is stopped by leaving its context.

A reference is what a system calls a stored photo; `path(reference, height)` is where its thumbnail is.
"""

import json
import os
import pwd
import shutil
import subprocess
import urllib.parse
from pathlib import Path

from client import Client, form
from processes import Failure, Processes, free_port

# the quality of our JPEGs: imaging/src/thumbnail/mod.rs
JPEG_QUALITY = 82
HEIGHTS = (200, 400)
ROOT = Path(__file__).parents[2]


class System:
    """A context in which it runs. `workers` is what makes thumbnails: workers of Pictier, processes of the others."""

    # headers of a first request
    headers = {}
    list_path = None

    def __init__(self, workers, folder, tools):
        self.workers = workers
        self.folder = folder
        self.tools = tools
        self.port = free_port()
        self.client = Client(self.port)
        self.processes = Processes(folder)

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.processes.stop()
            raise
        self.processes.start_sampling()
        return self

    def __exit__(self, *_):
        self.processes.stop()

    def answers(self, path, status):
        return lambda: Client(self.port).call("GET", path).status == status

    def store(self, photo):
        """As `upload`, without its time, for photos that only have to be there."""
        return self.upload(photo)[1]


class Pictier(System):
    name = "Pictier"
    headers = {"Prefer": "wait=30"}
    list_path = "/api/images?limit=50"

    def start(self):
        data = self.folder / "data"
        variables = {
            "DATA_DIR": str(data),
            "BIND": f"127.0.0.1:{self.port}",
            "WORKER_CONCURRENCY": "1",
            # one account uploads everything
            "UPLOADS_PER_MINUTE": "1000000",
        }
        # it starts its Postgres and prepares the schema, which the workers then find
        self.processes.start(self.tools.pictier, "api", variables=variables)
        self.processes.wait_until(self.answers("/readyz", 200), "Pictier")
        for _ in range(self.workers):
            self.processes.start(self.tools.pictier, "worker", variables=variables)
        query = "SELECT count(*) FROM apalis.workers WHERE worker_type = 'thumbnails'"
        ask = [self.tools.postgres / "psql", "-h", data / "postgres/run", "-U", "postgres", "-Atc", query, "pictier"]

        def have_started():
            return subprocess.run(ask, capture_output=True, text=True).stdout.strip() == str(self.workers)

        self.processes.wait_until(have_started, "A worker")
        login = json.dumps({"username": "admin", "password": "admin"})
        answer = self.client.call("POST", "/api/session", login, {"Content-Type": "application/json"})
        answer.expect(200, "Login to Pictier")

    def upload(self, photo):
        body, headers = form(photo.path.name, photo.path.read_bytes())
        answer = self.client.call("POST", "/api/images", body, headers).expect(201, "Upload to Pictier")
        return answer.seconds, json.loads(answer.body)["file_urls"]

    def path(self, reference, height):
        return urllib.parse.urlsplit(reference[f"{height} px high"]).path

    def account_of(self, _):
        return self.client


class Thumbor(System):
    name = "thumbor"

    def start(self):
        settings = {
            "LOADER": "thumbor.loaders.file_loader",
            "FILE_LOADER_ROOT_PATH": str(self.tools.corpus),
            # the originals are on this disk already: no second copy
            "STORAGE": "thumbor.storages.no_storage",
            "RESULT_STORAGE": "thumbor.result_storages.file_storage",
            "RESULT_STORAGE_FILE_STORAGE_ROOT_PATH": str(self.folder / "results"),
            "RESULT_STORAGE_STORES_UNSAFE": True,
            "UPLOAD_ENABLED": True,
            "UPLOAD_PHOTO_STORAGE": "thumbor.storages.file_storage",
            "FILE_STORAGE_ROOT_PATH": str(self.folder / "uploads"),
            "QUALITY": JPEG_QUALITY,
        }
        file = self.folder / "thumbor.conf"
        file.write_text("".join(f"{name} = {value!r}\n" for name, value in settings.items()))
        command = [self.tools.venv / "thumbor", "-i", "127.0.0.1", "-p", self.port, "-c", file]
        self.processes.start(*command, "--processes", self.workers)
        self.processes.wait_until(self.answers("/healthcheck", 200), "thumbor")

    def upload(self, photo):
        headers = {"Content-Type": "image/jpeg", "Slug": photo.path.name}
        answer = self.client.call("POST", "/image", photo.path.read_bytes(), headers)
        return answer.expect(201, "Upload to thumbor").seconds, photo

    def store(self, photo):
        # the loader finds it where it is
        return photo

    def path(self, photo, height):
        return f"/unsafe/0x{height}/{photo.path.relative_to(self.tools.corpus)}"


class Django(System):
    name = "Django"
    list_path = "/api/images"

    def start(self):
        socket, user = self.start_postgres()
        self.variables = {
            "PEER_DATA_DIR": str(self.folder / "django"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PEER_DATABASE_HOST": str(socket),
            "PEER_DATABASE_PORT": "5432",
            "PEER_DATABASE_USER": user,
            "PEER_DATABASE_NAME": "postgres",
        }
        (self.folder / "django").mkdir()
        self.manage("prepare")
        # a file fits into a square there: for the same height the square is as large as the longer side of the thumbnail,
        # and each shape of photo has an account whose tier has these squares
        accounts = {shape: "x".join(str(square) for square in shape) for shape in sorted(self.tools.shapes)}
        tiers = ", ".join(f"Tier(name='{name}', heights={list(shape)})" for shape, name in accounts.items())
        self.manage("shell", "-c", f"from imageapi.models import Tier; Tier.objects.bulk_create([{tiers}])")
        self.manage("add_accounts", *(f"{name}:{name}:{name}" for name in accounts.values()))
        command = ["--chdir", ROOT / "benches/peers/django", "--bind", f"127.0.0.1:{self.port}", "--log-level", "warning"]
        self.processes.start(
            self.tools.django / "gunicorn", *command, "--workers", self.workers, "imageapi.wsgi", variables=self.variables
        )
        self.processes.wait_until(self.answers("/api-auth/login/", 200), "Django")
        self.clients = {shape: self.log_in(name) for shape, name in accounts.items()}

    def start_postgres(self):
        """A server with the settings that Pictier gives to its own."""
        root, is_root = self.folder / "postgres", os.geteuid() == 0
        names = {entry.pw_name for entry in pwd.getpwall()}
        # Postgres refuses to run as root
        user = ("postgres" if "postgres" in names else "nobody") if is_root else None
        root.mkdir()
        if user:
            shutil.chown(root, user)
        data = root / "data"
        initdb = [self.tools.postgres / "initdb", "-D", data, "-U", "peer", "-A", "trust", "-E", "UTF8", "--no-locale"]
        made = subprocess.run(initdb, cwd=root, user=user, capture_output=True, text=True)
        if made.returncode != 0:
            raise Failure(f"initdb failed: {made.stderr}")
        settings = ["listen_addresses=", "shared_buffers=128MB", "random_page_cost=1.1", "jit=off", "timezone=UTC"]
        options = [part for setting in settings for part in ("-c", setting)]
        # with SIGINT it ends without waiting for clients; they have ended by then in any case
        self.processes.start(self.tools.postgres / "postgres", "-D", data, "-k", root, *options, user=user)
        ask = [self.tools.postgres / "psql", "-h", root, "-U", "peer", "-Atc", "SELECT 1", "postgres"]
        is_up = lambda: subprocess.run(ask, capture_output=True).returncode == 0  # noqa: E731
        self.processes.wait_until(is_up, "Django's Postgres")
        return root, "peer"

    def manage(self, *arguments):
        command = [self.tools.django / "python", ROOT / "benches/peers/django/manage.py", *arguments]
        done = subprocess.run(command, env={**os.environ, **self.variables}, capture_output=True, text=True)
        if done.returncode != 0:
            raise Failure(f"manage.py {arguments} failed: {done.stderr}")

    def log_in(self, name):
        client = Client(self.port)
        client.call("GET", "/api-auth/login/")
        fields = {"username": name, "password": name, "csrfmiddlewaretoken": client.cookies["csrftoken"]}
        body, headers = urllib.parse.urlencode(fields), {"Content-Type": "application/x-www-form-urlencoded"}
        client.call("POST", "/api-auth/login/", body, headers).expect(302, "Login to Django")
        return client

    def upload(self, photo):
        body, headers = form(photo.path.name, photo.path.read_bytes())
        client = self.clients[photo.squares]
        headers["X-CSRFToken"] = client.cookies["csrftoken"]
        answer = client.call("POST", "/api/images", body, headers).expect(201, "Upload to Django")
        squares = dict(zip(HEIGHTS, photo.squares))
        urls = json.loads(answer.body)["file_urls"]
        return answer.seconds, {height: urls[f"{square} px high"] for height, square in squares.items()}

    def path(self, reference, height):
        return urllib.parse.urlsplit(reference[height]).path

    def account_of(self, photo):
        return self.clients[photo.squares]


class Nginx(System):
    """Serves files that another system made."""

    name = "nginx"

    def start(self):
        files = self.folder / "files"
        files.mkdir()
        for name, body in self.tools.finished.items():
            (files / name).write_bytes(body)
        user = "user root;" if os.geteuid() == 0 else ""
        temporary = "".join(f"{kind}_temp_path temp;" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (self.folder / "nginx.conf").write_text(
            f"{user} daemon off; worker_processes {self.workers}; pid pid; error_log log;\n"
            "events { worker_connections 1024; }\n"
            f"http {{ access_log access.log; sendfile on; tcp_nopush on; default_type image/jpeg; {temporary}\n"
            f"server {{ listen 127.0.0.1:{self.port}; root {files}; }} }}\n"
        )
        self.processes.start(self.tools.nginx, "-p", self.folder, "-c", self.folder / "nginx.conf", "-e", self.folder / "log")
        self.processes.wait_until(self.answers("/", 403), "nginx")
