# SPDX-License-Identifier: Apache-2.0
"""Real servers for the scenarios: Redis, PostgreSQL, NATS with JetStream, and Prometheus.

Each is a process of the test with a folder, a port of 127.0.0.1 and data of its own, and ends with
the test, however that ends. It begins empty and takes a tenth of a second to start, so each test
has its own: the fixtures are in conftest.py. Its clients are somebody else's: redis-py, psycopg,
nats-py. In C, tests/support/server.h has the same.
"""

import asyncio
import atexit
import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

from harness import DEADLINE_S

# A folder that looks like / and has those servers that are not installed (tools/setup.sh), and
# where Debian has the others.
UNPACKED = os.environ.get("WEIR_SERVERS_DIR")
FOLDERS = ("/usr/lib/postgresql/15/bin", "/usr/sbin", "/usr/bin")
# Below the range that the system gives to clients, so that nobody is given the port of a server
# that is down for a moment. Somebody else may be quicker with one that was free.
PORTS = range(20000, 32000)
PORT_TRIES_MAX = 1000
STARTS_MAX = 3
LOOK_S = 0.002
# Memory that has to be free for a server's data to be there.
ROOM_BYTES_MIN = 1 << 30
LOG_BYTES_SHOWN = 4096

# There are programs that refuse to be root. Nobody keeps the right to go where only root can, also
# by access(2); all others are dropped.
AS_NOBODY = ("--reuid=65534", "--regid=65534", "--clear-groups", "--securebits=+no_setuid_fixup",
             "--inh-caps=-all,+dac_override", "--ambient-caps=+dac_override",
             "--bounding-set=-all,+dac_override")

# What a server still has after a kill: all that it has confirmed; the same, and to confirm waits
# for the disk; Redis: but for the last two seconds; Redis: nothing.
WRITTEN, FLUSHED, SECONDS, NOTHING = "written", "flushed", "seconds", "nothing"


def find_program(name):
    """The path of a program; None where this machine has none."""
    folders = [f"{UNPACKED}{folder}" for folder in FOLDERS] if UNPACKED else []
    path = os.pathsep.join([*folders, *FOLDERS, os.environ.get("PATH", "")])
    return shutil.which(name, path=path)


def free_port():
    for _ in range(PORT_TRIES_MAX):
        port = random.choice(PORTS)
        with socket.socket() as trial, contextlib.suppress(OSError):
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(("127.0.0.1", port))
            return port
    raise AssertionError(f"there is no free port from {PORTS.start} to {PORTS.stop}")


def quick_folder():
    """A new folder, in memory where there is such a file system with room: files are made ten times
    as quickly there, and a process that is killed loses no more."""
    memory = "/dev/shm"
    has_room = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free >= ROOM_BYTES_MIN
    return pathlib.Path(tempfile.mkdtemp(prefix="weir-test-", dir=memory if has_room else None))


def wait_for(predicate, what, deadline_s=DEADLINE_S):
    """Waits until the predicate is true, and returns what it returned; `what()` names it."""
    until_s = time.monotonic() + deadline_s
    while not (result := predicate()):
        assert time.monotonic() < until_s, f"in {deadline_s} s there was not {what()}"
        time.sleep(LOOK_S)
    return result


# ---- processes ----


def state_of(pid):
    """The state of a process and its parent; None where it is gone or only waits to be reaped."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_bytes().decode("utf-8", "replace")
    except OSError:
        return None
    state, parent = text.rpartition(")")[2].split()[:2]
    return None if state in "ZX" else (state, int(parent))


def children_of(pid):
    numbers = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    return [number for number in numbers if (state := state_of(number)) and state[1] == pid]


def send(pid, number):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def stands_still(pid):
    state = state_of(pid)
    return state is None or state[0] == "T"


# ---- what all servers have in common ----


class Server:
    """One server. `keep` is what it has after a kill, `config` more lines of configuration."""

    name = program = None
    stop_signal = signal.SIGTERM
    is_never_root = False

    def __init__(self, password=None, keep=WRITTEN, config=""):
        self.password, self.keep, self.config = password, keep, config
        self.path = find_program(self.program)
        assert self.path, f"there is no {self.program} on this machine: ./dev test brings it"
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-test-")) if keep == FLUSHED \
            else quick_folder()
        self.data = self.folder / "data"
        self.port = self.process = None
        try:
            self._start_new()
        except BaseException:
            self.finish()
            raise

    # ---- what a kind says ----

    def _prepare(self):
        """Makes the data of a first start."""

    def _configure(self):
        """Writes the configuration, and returns the program's arguments."""
        raise NotImplementedError

    def _is_ready(self):
        """Whether the process that was started serves by now; looks once."""
        raise NotImplementedError

    def _begin(self):
        """What a start without data wants when it is ready."""

    def _clean(self):
        """Frees of the system what a killed process leaves."""

    # ---- start and end ----

    def _launch(self):
        user = AS_NOBODY if self.is_never_root and os.geteuid() == 0 else ()
        arguments = self._configure()
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *user, "--", self.path, *arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def start(self):
        """Starts it, where it does not run, and waits until it answers."""
        if self.process:
            return
        is_first = self.port is None
        for _ in range(STARTS_MAX):
            if is_first:
                self.port = free_port()
            self._launch()
            wait_for(lambda: self._is_ready() or self.process.poll() is not None,
                     lambda: f"an answer of {self.path}; the end of its log:\n{self.log_tail()}")
            if self.process.poll() is None:
                return
        self.process = None
        raise AssertionError(f"{self.path} ends as soon as it is started; the end of its log:\n"
                             f"{self.log_tail()}")

    def _start_new(self):
        self._prepare()
        self.start()
        self._begin()

    def stop(self):
        """Ends it in order; its port and its data stay."""
        if self.process:
            self.resume()
            self.process.send_signal(self.stop_signal)
            self.process.wait(DEADLINE_S)
            self.process = None

    def kill(self):
        """Kills all its processes, as no program can notice, and waits until they are gone."""
        if self.process:
            self._pause_one(self.process.pid)  # it makes no more children
            children = children_of(self.process.pid)
            for pid in (*children, self.process.pid):
                send(pid, signal.SIGKILL)
            self.process.wait(DEADLINE_S)
            for pid in children:
                wait_for(lambda pid=pid: state_of(pid) is None,
                         lambda pid=pid: f"the end of process {pid}")
            self.process = None
            self._clean()

    def restart(self):
        """Ends it in order, where it runs, and starts it again with its data."""
        self.stop()
        self.start()

    def wipe(self):
        """Kills it and starts it anew with nothing, on the same port."""
        self.kill()
        shutil.rmtree(self.data, ignore_errors=True)
        self._start_new()

    def save(self):
        """Keeps a copy of its data, as a backup does; it stops for that."""
        self.stop()
        subprocess.run(["cp", "--archive", self.data, self.folder / "saved"], check=True)
        self.start()

    def restore(self):
        """Kills it and starts it with the data that was saved, on the same port."""
        self.kill()
        shutil.rmtree(self.data)
        subprocess.run(["cp", "--archive", self.folder / "saved", self.data], check=True)
        self.start()

    def finish(self):
        """Ends it, whatever state it is in, and removes its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- standing still ----

    def _pause_one(self, pid):
        send(pid, signal.SIGSTOP)
        wait_for(lambda: stands_still(pid), lambda: f"rest in process {pid}")

    def pause(self):
        """All its processes stand still: connections stay, nothing answers."""
        self._pause_one(self.process.pid)
        for pid in children_of(self.process.pid):
            self._pause_one(pid)

    def resume(self):
        """They go on, and answer what was sent meanwhile."""
        for pid in (*children_of(self.process.pid), self.process.pid):
            send(pid, signal.SIGCONT)

    # ---- what is told of it ----

    def log_tail(self):
        """The end of what it has logged."""
        with contextlib.suppress(FileNotFoundError):
            log = (self.folder / "log").read_bytes()
            return log[-LOG_BYTES_SHOWN:].decode("utf-8", "replace")
        return ""

    def show(self):
        """What is told of it when a test failed."""
        return f"{self.name} on port {self.port}, the end of its log:\n{self.log_tail()}"

    def _url(self, scheme, user, port, path):
        return f"{scheme}://{user}{'@' if user else ''}127.0.0.1:{port or self.port}{path}"

    def _ask(self, place, question):
        """The first bytes of the answer to a question; none where there is no answer."""
        family = socket.AF_UNIX if isinstance(place, str) else socket.AF_INET
        with socket.socket(family) as connection, contextlib.suppress(OSError):
            connection.settimeout(DEADLINE_S)
            connection.connect(place)
            connection.sendall(question)
            return connection.recv(4096)
        return b""


class Redis(Server):
    name, program = "redis", "redis-server"

    KEEPING = {WRITTEN: "appendonly yes\nappendfsync no",  # it is with the kernel before it is told
               FLUSHED: "appendonly yes\nappendfsync always",
               SECONDS: "appendonly yes\nappendfsync everysec",
               NOTHING: "appendonly no"}

    @property
    def socket(self):
        """The path of its Unix socket."""
        return str(self.folder / "socket")

    def url(self, port=None):
        """For clients; `port`: that of a proxy before it."""
        return self._url("redis", f":{self.password}" if self.password else "", port, "/0")

    def client(self, port=None, timeout_s=DEADLINE_S):
        """A client that connects with the first command, and tries nothing twice."""
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        return redis.Redis(port=port or self.port, password=self.password,
                           socket_timeout=timeout_s, retry=Retry(NoBackoff(), 0))

    def _prepare(self):
        self.data.mkdir()

    def _configure(self):
        path = self.folder / "redis.conf"
        path.write_text(
            f'bind 127.0.0.1\nport {self.port}\nunixsocket {self.socket}\ndir {self.data}\n'
            f'save ""\n{self.KEEPING[self.keep]}\nenable-debug-command local\n'
            + (f"requirepass {self.password}\n" if self.password else "") + f"{self.config}\n",
            encoding="utf-8")
        return [path]

    def _is_ready(self):
        # Any other answer: it still reads its data.
        return self._ask(self.socket, b"PING\r\n").startswith((b"+PONG", b"-NOAUTH"))


class Postgres(Server):
    name, program = "postgres", "postgres"
    stop_signal = signal.SIGINT  # whoever is connected is not waited for
    is_never_root = True
    user, database = "weir", "postgres"

    # To make a cluster takes a second, to copy one in memory a tenth: all of a process are copies.
    _template = None

    @property
    def socket(self):
        """The folder of its Unix socket, which libpq takes for a host; it asks for no password."""
        return str(self.folder)

    def url(self, port=None):
        password = f":{self.password}" if self.password else ""
        return self._url("postgresql", self.user + password, port, f"/{self.database}")

    def client(self, port=None, **options):
        """A new connection, on which each statement is a transaction of its own."""
        import psycopg

        return psycopg.connect(self.url(port), autocommit=True,
                               **{"connect_timeout": DEADLINE_S} | options)

    @classmethod
    def _make_template(cls):
        folder = quick_folder()
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        user = AS_NOBODY if os.geteuid() == 0 else ()
        subprocess.run(
            ["setpriv", *user, "--", find_program("initdb"), f"--username={cls.user}",
             "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--wal-segsize=1", "--no-sync",
             "-D", folder / "data"],
            check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=DEADLINE_S)
        Postgres._template = folder / "data"

    def wipe(self):
        Postgres._template = None  # a cluster that is made anew has another identifier
        super().wipe()

    def _prepare(self):
        if not self._template:
            self._make_template()
        # shutil copies no owners.
        subprocess.run(["cp", "-a", "--reflink=auto", self._template, self.data], check=True,
                       timeout=DEADLINE_S)

    def _configure(self):
        flushes = "on" if self.keep == FLUSHED else "off"
        settings = {
            "listen_addresses": "'127.0.0.1'", "port": self.port,
            "unix_socket_directories": f"'{self.socket}'", "fsync": flushes,
            "full_page_writes": flushes, "wal_level": "logical", "max_connections": 60,
            "max_wal_senders": 20, "max_replication_slots": 20, "min_wal_size": "2MB",
            "max_wal_size": "64MB", "shared_buffers": "16MB",
            # Files among its data, which go with them.
            "dynamic_shared_memory_type": "mmap",
            # What works in the background when it likes is not wanted here.
            "autovacuum": "off", "jit": "off",
        }
        (self.data / "postgresql.conf").write_text(
            "".join(f"{name} = {value}\n" for name, value in settings.items()) + self.config + "\n",
            encoding="utf-8")
        method = "scram-sha-256" if self.password else "trust"
        (self.data / "pg_hba.conf").write_text(
            "".join(f"{line}\n" for database in ("all", "replication") for line in
                    (f"local {database} all trust",
                     f"host {database} all 127.0.0.1/32 {method}")), encoding="utf-8")
        return ["-D", self.data]

    def _pid_file(self):
        """Its lines: the process, …, the seventh its shared memory's key and id, its state."""
        with contextlib.suppress(OSError):
            return (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        return []

    def _is_ready(self):  # as pg_ctl does it
        lines = self._pid_file()
        return len(lines) >= 8 and lines[0] == str(self.process.pid) and \
            lines[7].strip() == "ready"

    def _begin(self):
        if self.password:
            import psycopg
            from psycopg import sql

            with psycopg.connect(host=self.socket, port=self.port, user=self.user,
                                 dbname=self.database) as connection:
                connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                    sql.Identifier(self.user), sql.Literal(self.password)))

    def _clean(self):
        """A segment that nobody is attached to stays until the system is started anew."""
        lines = self._pid_file()
        numbers = re.findall(r"\d+", lines[6]) if len(lines) >= 7 else []
        if len(numbers) == 2:
            subprocess.run(["ipcrm", "-m", numbers[1]], check=False, timeout=DEADLINE_S,
                           stderr=subprocess.DEVNULL)


class Nats(Server):
    name, program = "nats", "nats-server"

    def url(self, port=None):
        return self._url("nats", self.password or "", port, "")

    def run(self, body, port=None, **options):
        """Calls `await body(client, jetstream)` with a new connection, and returns what it does."""
        import nats

        async def connected():
            client = await nats.connect(self.url(port), **{
                "allow_reconnect": False, "connect_timeout": DEADLINE_S} | options)
            try:
                return await asyncio.wait_for(body(client, client.jetstream()), DEADLINE_S)
            finally:
                await client.close()

        return asyncio.run(connected())

    def _server_name(self):
        return f"weir-test-{os.getpid()}-{self.port}"

    def _configure(self):
        path = self.folder / "nats.conf"
        path.write_text(
            f'listen: 127.0.0.1:{self.port}\nserver_name: "{self._server_name()}"\n'
            f'jetstream {{\n  store_dir: "{self.data}"\n  max_memory_store: 64MB\n'
            '  max_file_store: 1GB\n}\n'
            + (f'authorization {{ token: "{self.password}" }}\n' if self.password else "")
            + f"{self.config}\n", encoding="utf-8")
        return ["-c", path]

    def _is_ready(self):
        # It listens when JetStream has read its store. Its name tells it from others, who may have
        # got the port.
        told = self._ask(("127.0.0.1", self.port), b"")
        return told.startswith(b"INFO ") and self._server_name().encode() in told and \
            b'"jetstream":true' in told


class Prometheus(Server):
    """Scrapes one address; `query` asks it."""

    name, program = "prometheus", "prometheus"

    def __init__(self, target, token=None, **options):
        self.target, self.token = target, token
        super().__init__(**options)

    def _configure(self):
        path = self.folder / "prometheus.yml"
        path.write_text(json.dumps({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "scrape_configs": [{"job_name": "weir", "static_configs": [{"targets": [self.target]}]}
                               | ({"authorization": {"credentials": self.token}} if self.token
                                  else {})],
        }), encoding="utf-8")
        return [f"--config.file={path}", f"--storage.tsdb.path={self.data}",
                f"--web.listen-address=127.0.0.1:{self.port}"]

    def ask(self, path, **arguments):
        url = f"http://127.0.0.1:{self.port}{path}?{urllib.parse.urlencode(arguments)}"
        try:
            with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{url}: {error.code} {error.read().decode()}") from None

    def query(self, expression):
        """What an instant query answers: a list of (labels, value)."""
        answer = json.loads(self.ask("/api/v1/query", query=expression))
        assert answer["status"] == "success", answer
        return [(each["metric"], float(each["value"][1])) for each in answer["data"]["result"]]

    def _is_ready(self):
        with contextlib.suppress(OSError, AssertionError):
            # Somebody else may have got the port.
            return str(self.data) in self.ask("/api/v1/status/flags").decode()
        return False


class Servers:
    """Those of one test."""

    def __init__(self):
        self.running = []

    def start(self, kind, **options):
        """A new server of that class; it ends with the test."""
        server = kind(**options)
        self.running.append(server)
        return server

    def finish(self):
        while self.running:
            self.running.pop().finish()

    def show(self):
        return "\n".join(server.show() for server in self.running)
