# SPDX-License-Identifier: Apache-2.0
"""The fixtures of the scenarios; what they are made of is in harness.py."""

import contextlib
import os
import pathlib
import shutil
import tempfile

import pytest

from harness import WEIR_BIN, Site, has_kind
from places import PLACES
from proxy import Proxy
from servers import Nats, Postgres, Redis, Servers, find_program

SITE = pytest.StashKey()
SERVERS = pytest.StashKey()
HAS_FAILED = pytest.StashKey()


def pytest_configure():
    if not WEIR_BIN.exists():
        pytest.exit(f"there is no {WEIR_BIN}: ./dev build makes it, WEIR_BIN names another", 2)


@pytest.fixture
def site(tmp_path, request):
    """A temporary folder in which weir runs; everything that runs there ends with the test."""
    site = Site(tmp_path)
    request.node.stash[SITE] = site
    yield site
    problems = site.finish()
    assert not problems, "\n".join(problems)


@pytest.fixture
def servers(request):
    """Starts servers, which end with the test: servers.start(Redis, password="x")."""
    servers = Servers()
    request.node.stash[SERVERS] = servers
    yield servers
    servers.finish()


def server_or_skip(servers, kind, **options):
    if not find_program(kind.program):
        pytest.skip(f"there is no {kind.program} on this machine")
    return servers.start(kind, **options)


@pytest.fixture
def redis_server(servers):
    return server_or_skip(servers, Redis)


@pytest.fixture
def postgres_server(servers):
    return server_or_skip(servers, Postgres)


@pytest.fixture
def nats_server(servers):
    return server_or_skip(servers, Nats)


def begin_place(place_class, folder, servers):
    """A new place of that class, with a server of its own where it has one."""
    if not has_kind(place_class.kind):
        pytest.skip(f"this weir was built without {place_class.kind}")
    server = None
    if place_class.server_class:
        server = server_or_skip(servers, place_class.server_class, **place_class.server_options)
    return place_class(folder, server)


@pytest.fixture(params=PLACES, ids=lambda each: each.name)
def place(request, quick_path, servers):
    """Each place in turn; `on(condition)` of places.py marks a test that is about some of them."""
    return begin_place(request.param, quick_path, servers)


@pytest.fixture
def proxy_before():
    """Makes a proxy before a server, which ends with the test: proxy_before(redis_server)."""
    with contextlib.ExitStack() as made:
        yield lambda server: made.enter_context(Proxy(server.port))


@pytest.fixture
def quick_path(tmp_path, request):
    """A folder in memory, where there is such a file system: a flush of the disk costs nothing
    there, and a process that is killed loses no more. What is in it goes to tmp_path in the end."""
    memory = pathlib.Path("/dev/shm")
    folder = tmp_path / "quick"
    if not os.access(memory, os.W_OK):
        folder.mkdir()
        yield folder
        return
    quick = pathlib.Path(tempfile.mkdtemp(prefix="weir-test-", dir=memory))
    yield quick
    if request.node.stash.get(HAS_FAILED, False):
        shutil.copytree(quick, folder, symlinks=True, ignore=_sockets)
    shutil.rmtree(quick)


def _sockets(folder, names):
    return [name for name in names if not (pathlib.Path(folder) / name).is_file() and
            not (pathlib.Path(folder) / name).is_dir()]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Adds what the processes printed to the report of a test that failed."""
    report = yield
    if report.failed:
        item.stash[HAS_FAILED] = True
    site = item.stash.get(SITE, None)
    servers = item.stash.get(SERVERS, None)
    if report.failed and hasattr(report.longrepr, "addsection"):
        for ran in filter(None, (site, servers)):
            report.longrepr.addsection("what ran", ran.show())
    return report
