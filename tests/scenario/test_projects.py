# SPDX-License-Identifier: Apache-2.0
"""Projects: made, built with the real tools, tested, run, and worked on."""

import contextlib
import fcntl
import json
import os
import pathlib
import re
import signal
import subprocess

import pytest

from harness import DEADLINE_S, SOURCE, WEIR_BIN, guest_path

# From nothing, on a busy machine: a crate's dependencies, an interpreter's snapshot.
BUILD_S = 280
pytestmark = pytest.mark.timeout(2 * BUILD_S)

LANGUAGES = ["c", "rust", "js", "python"]
# What `weir build` takes from the environment; a test says what it is to be.
TOOL_VARIABLES = ["CARGO", "RUSTC", "WEIR_RUST_SYSROOT", "WEIR_COMPONENTIZE_JS",
                  "WEIR_COMPONENTIZE_PY", "WASI_SDK_PATH"]
# Where each template says what a receipt is called.
SOURCES = {"c": "src/handler.c", "rust": "src/lib.rs", "js": "src/handler.js",
           "python": "src/handler.py"}

CACHE = pathlib.Path(os.environ.get("WEIR_CACHE") or pathlib.Path.home() / ".cache/weir")


def named_or_newest(variable, pattern):
    """What ./dev test names in the environment (empty: it could not be had), or without it the
    newest of that name in its cache."""
    if variable in os.environ:
        return os.environ[variable]
    found = sorted(CACHE.glob(pattern), key=lambda path: path.stat().st_mtime)
    return str(found[-1]) if found else ""


def tools(language):
    """The environment in which a project of that language is built here without the network."""
    missing = "what makes components of {} could not be had: ./dev test says why"
    if language == "rust":
        sysroot = named_or_newest("WEIR_RUST_SYSROOT", "rust-wasm32-wasip1-*")
        return {"CARGO": os.environ.get("CARGO", "/usr/bin/cargo" if sysroot else "cargo"),
                "RUSTC": os.environ.get("RUSTC", "/usr/bin/rustc" if sysroot else "rustc"),
                "WEIR_RUST_SYSROOT": sysroot,
                # What a project depends on is compiled once.
                "CARGO_TARGET_DIR": str(CACHE / "projects-target")}
    if language == "js":
        maker = named_or_newest("WEIR_COMPONENTIZE_JS", "componentize-js-*")
        if not maker:
            pytest.skip(missing.format("JavaScript"))
        return {"WEIR_COMPONENTIZE_JS": maker}
    if language == "python":
        maker = named_or_newest("WEIR_COMPONENTIZE_PY", "componentize-py-*")
        if not maker:
            pytest.skip(missing.format("Python"))
        return {"WEIR_COMPONENTIZE_PY": maker}
    return {}


def nothing_of_tools():
    return dict.fromkeys(TOOL_VARIABLES, "")


def make(site, language, name="orders"):
    site.command("new", name, "--lang", language)
    return site.root / name


def build(site, language, name="orders", **options):
    env = nothing_of_tools() | tools(language)
    with shared_target(site.root / name, env) if language == "rust" else contextlib.nullcontext():
        return site.command("build", name, env=env, deadline_s=BUILD_S, **options)


@contextlib.contextmanager
def shared_target(project, env):
    """What is compiled of a project itself, which lies elsewhere each time, goes again."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "projects-target.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
        subprocess.run(
            [env["CARGO"], "clean", "--quiet", "--offline", "--release",
             "--target", "wasm32-wasip1", "-p", project.name, "-p", "weir", "-p", "weir-macros"],
            cwd=project, env=os.environ | env, timeout=BUILD_S, check=True)


def order(project, number, item="tea", amount=2):
    """Puts an order into the project's store, as any program would."""
    path = project / "store/orders" / number
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"item": item, "amount": amount}), encoding="utf-8")


def receipt_of(project, number):
    with contextlib.suppress(OSError, ValueError):
        return json.loads((project / "out/receipts" / number).read_text(encoding="utf-8"))
    return None


def wait_receipt(weir, project, number):
    return weir.wait_for(lambda: receipt_of(project, number), f"the receipt of {number}")


def replace(path, old, new):
    """Changes a file the way many editors do: a new one takes its name."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    beside = path.with_name(f"{path.name}~new")
    beside.write_text(text.replace(old, new), encoding="utf-8")
    beside.rename(path)


# ---- from nothing to an answer ----

@pytest.mark.parametrize("language", LANGUAGES)
def test_a_new_project_is_built_tested_and_run(site, language):
    env = tools(language)
    project = make(site, language)
    done = build(site, language)
    assert done.stdout.startswith(b"built orders/build/orders.wasm: "), done.stdout
    lane = b"core" if language in ("c", "rust") else b"component"
    assert lane + b" lane, handlers: handle-event-or-reject\n" in done.stdout
    assert list((project / "build").iterdir()) == [project / "build/orders.wasm"]

    done = site.command("test", "orders")
    assert done.stdout.endswith(b"3 passed, 0 failed\n"), done.stdout
    site.command("check", "orders/weir.yaml")

    weir = site.start("run", "orders/weir.yaml", "--log-format", "json", env=env)
    weir.wait_listening()
    order(project, "1")
    assert wait_receipt(weir, project, "1") == {
        "receipt": "1", "order": {"item": "tea", "amount": 2}}
    (project / "store/orders/2").write_text("two pounds of tea", encoding="utf-8")
    weir.wait_log("the handler failed and the event is given up")
    assert receipt_of(project, "2") is None
    assert weir.stop() == 0


@pytest.mark.parametrize("language", ["c", "rust"])
def test_the_tests_of_a_new_project_see_a_change_of_its_handler(site, language):
    project = make(site, language)
    replace(project / SOURCES[language], "com.example.receipt", "com.example.bill")
    build(site, language)
    done = site.command("test", "orders", status=1)
    out = done.stdout.decode()
    assert "FAIL  orders/tests/orders.yaml:2: an order gets its receipt" in out
    assert "      type:\n        - com.example.receipt\n        + com.example.bill\n" in out
    assert out.endswith("2 passed, 1 failed\n")


def files_below(folder):
    return {path.relative_to(folder): path.read_bytes()
            for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_new_project_has_all_of_weir_that_it_needs(site, language):
    project = make(site, language)
    assert files_below(project / "wit") == files_below(SOURCE / "wit")
    sdk = files_below(project / "weir-sdk")
    assert sdk, "the SDK is missing"
    for path, content in sdk.items():
        assert content == (SOURCE / "sdk" / language / path).read_bytes()
    for path, content in files_below(project).items():
        assert b"weir-template" not in content, f"{path} has the template's name"
    assert b"orders" in (project / "README.md").read_bytes()
    if language == "python":
        wanted = (project / "requirements.txt").read_text(encoding="utf-8").split()[-1]
        assert wanted in (SOURCE / "tools/python/requirements.txt").read_text(encoding="utf-8")


# ---- new ----

def test_an_empty_folder_is_taken_and_no_other(site):
    (site.root / "empty").mkdir()
    project = make(site, "c", "empty")
    assert (project / "weir.yaml").exists()
    before = files_below(site.root)
    done = site.command("new", "empty", "--lang", "c", status=2)
    assert b"not an empty folder" in done.stderr
    (site.root / "file").write_text("mine")
    site.command("new", "file", "--lang", "c", status=2)
    assert files_below(site.root) == before | {pathlib.Path("file"): b"mine"}


@pytest.mark.parametrize("arguments, part", [
    (["../x", "--lang", "c"], b"cannot name a project"),
    ([".", "--lang", "c"], b"cannot name a project"),
    (["match", "--lang", "rust"], b"keyword of Rust"),
    (["Orders", "--lang", "js"], b"small letter"),
    (["orders", "--lang", "pyhton"], b'did you mean "python"'),
    (["orders"], b"--lang"),
    (["--lang", "c"], b"one name"),
])
def test_what_cannot_be_a_project_is_told(site, arguments, part):
    before = sorted(site.root.iterdir())
    assert part in site.command("new", *arguments, status=2).stderr
    assert sorted(site.root.iterdir()) == before


def test_nothing_half_made_is_left(site):
    """Where there is no room for a file, as on a full disk."""
    before = sorted(site.root.iterdir())
    done = subprocess.run(
        ["sh", "-c", 'trap "" XFSZ; ulimit -f 8; exec "$0" new orders --lang c', str(WEIR_BIN)],
        cwd=site.root, capture_output=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 1 and b"cannot write" in done.stderr, done.stderr
    assert sorted(site.root.iterdir()) == before


# ---- build ----

@pytest.mark.parametrize("language, tool, advice", [
    ("c", b"clang is missing", b"apt-get install clang"),
    ("rust", b"cargo is missing", b"rustup target add wasm32-wasip1"),
    ("js", b"node is missing", b"Node.js 20"),
    ("python", b"python3 is missing", b"python3-venv"),
])
def test_a_missing_tool_is_told_with_what_to_do(site, language, tool, advice):
    make(site, language)
    done = site.command("build", "orders", env=nothing_of_tools() | {"PATH": "/nowhere"}, status=1)
    assert tool in done.stderr and advice in done.stderr, done.stderr


def test_a_source_that_is_wrong_is_told_by_its_tool(site):
    project = make(site, "c")
    build(site, "c")
    before = (project / "build/orders.wasm").read_bytes()
    replace(project / SOURCES["c"], "on_order(const", "on_order(cnst")
    done = build(site, "c", status=1)
    assert b"src/handler.c:" in done.stderr and b"cnst" in done.stderr
    assert files_below(project / "build") == {pathlib.Path("orders.wasm"): before}


def test_what_is_no_project_is_told(site):
    assert b"weir new" in site.command("build", "store", status=2).stderr
    project = make(site, "c")
    (project / "package.json").write_text("{}")
    (project / "Cargo.toml").write_text("")
    assert b"language cannot be told" in site.command("build", "orders", status=2).stderr
    (project / "weir.yaml").write_text("guests: {orders: {wsm: x}}\n")
    done = site.command("test", "orders", status=2)
    assert b"orders/weir.yaml:1: guests.orders" in done.stderr


@pytest.mark.parametrize("command, exit_status", [("build", 1), ("dev", 0)])
def test_a_signal_ends_the_tools_too(site, command, exit_status):
    """A tool that hangs, with a process of its own."""
    make(site, "c")
    tool = site.root / "sdk/bin/clang"
    tool.parent.mkdir(parents=True)
    tool.write_text(f"#!/bin/sh\nsleep 1000 &\necho $! >{site.root}/pid.new\n"
                    f"mv {site.root}/pid.new {site.root}/pid\nwait\n")
    tool.chmod(0o755)
    weir = site.start(command, "orders", env={"WASI_SDK_PATH": str(site.root / "sdk")})
    pid = site.root / "pid"
    weir.wait_for(pid.exists, "the tool")
    assert weir.stop(signal.SIGINT) == exit_status
    weir.wait_for(lambda: not is_alive(int(pid.read_text())), "the end of the tool",
                  even_if_ended=True)


def is_alive(pid):
    with contextlib.suppress(OSError):
        return ") Z " not in pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    return False


# ---- test ----

def write_tests(project, text):
    (project / "tests/orders.yaml").write_text(text, encoding="utf-8")


def test_resources_are_the_tests_own(site):
    """What is given, what is published to a directory and to a topic; nothing of the project's."""
    project = make(site, "c")
    build(site, "c")
    (project / "store").mkdir()
    (project / "store/old").write_text("old")
    write_tests(project, """
- test: a directory
  given: {store: {a/b: {n: 1}, c: text}}
  events:
    - event: {subject: orders/1, data: {x: 1}}
      expect: event
    - event: {subject: orders/2, data: {x: 2}}
      expect: {event: {subject: receipts/2}}
  then:
    store: {a/b: {n: 1}, c: text, old: null}
    out: {receipts/1: {receipt: '1', order: {x: 1}}, receipts/2: {receipt: '2', order: {x: 2}}}
- test: the next one begins anew
  event: {subject: orders/3}
  expect: none
  then:
    store: {c: null}
    out: {receipts/1: null}
""")
    assert b"2 passed, 0 failed" in site.command("test", "orders").stdout
    assert not (project / "out").exists()
    assert files_below(project / "store") == {pathlib.Path("old"): b"old"}

    replace(project / "weir.yaml", "out: {kind: file, path: ./out}", "out: {kind: topic}")
    write_tests(project, """
- test: a topic
  events:
    - event: {subject: orders/1, data: {x: 1}}
      expect: event
    - event: {subject: orders/2}
      expect: none
  then:
    out: [{subject: receipts/1, data: {receipt: '1', order: {x: 1}}}]
- test: one too few
  event: {subject: orders/1, data: {x: 1}}
  expect: event
  then: {out: []}
""")
    done = site.command("test", "orders", status=1)
    assert b"0 events were expected, 1 were published" in done.stdout
    assert b"1 passed, 1 failed" in done.stdout


TAKES_FROM_STOCK = """
use weir::messaging::{Message, Producer};
use weir::{Event, Result, Store};

#[weir::handler]
fn on_order(event: Event) -> Result<()> {
    let stock = Store::open("stock")?;
    let item = event.text()?;
    let left: u32 = stock.get_text(item)?.unwrap_or_default().parse()?;
    stock.set(item, (left - 1).to_string())?;
    Producer::connect("news")?.send("sold", Message::new(item.as_bytes().to_vec()))?;
    Ok(())
}
"""
OF_STOCK = """
- test: stock is taken
  given: {stock: {tea: "7"}}
  events:
    - event: {subject: orders/1, data: tea}
      expect: none
    - event: {subject: orders/2, data: tea}
      expect: none
    - event: {subject: orders/3, data: coffee}
      expect: error
  then:
    stock: {tea: "5", coffee: null}
    news: [{data: tea, source: /orders}, {data: tea}]
"""
RESOURCES_OF_STOCK = """
  stock: {kind: file, path: ./stock}
  news: {kind: topic}
"""


def test_what_a_handler_does_to_resources_is_seen(site):
    """Within its grants, which are those of the project."""
    project = make(site, "rust")
    replace(project / "weir.yaml", "  out: {kind: file, path: ./out}\n", RESOURCES_OF_STOCK)
    replace(project / "weir.yaml", ", to: out", "")
    (project / "src/lib.rs").write_text(TAKES_FROM_STOCK, encoding="utf-8")
    write_tests(project, OF_STOCK)
    build(site, "rust")
    out = site.command("test", "orders", status=1).stdout.decode()
    assert "answered: error: " in out and "stock" in out, "it has no grant"
    replace(project / "weir.yaml", "orders.wasm}", "orders.wasm, grants: "
            "[{resource: stock, verbs: [get, set]}, {resource: news, verbs: [publish]}]}")
    assert b"1 passed, 0 failed" in site.command("test", "orders").stdout
    assert not (project / "stock").exists()


def test_a_watcher_is_given_the_bucket_that_is_watched(site):
    """standard.c reads the key there before it copies what it was told."""
    project = make(site, "c")
    (project / "weir.yaml").write_text(json.dumps({
        "resources": {name: {"kind": "file", "path": f"./{name}"} for name in ("store", "copy")},
        "guests": {"standard": {"wasm": str(guest_path("standard")), "grants": ["store", "copy"]}},
        "subscriptions": [
            {"watch": "store", "key": "*", "guest": "standard", "handler": "watcher"}],
    }), encoding="utf-8")
    write_tests(project, """
- test: one key is set, one goes
  given: {store: {a: "1"}, copy: {b: old}}
  events:
    - event: {subject: a, data: "2"}
      expect: none
    - event: {subject: b}
      expect: none
  then:
    store: {a: "1"}
    copy: {a: "2", b: null}
""")
    assert b"1 passed, 0 failed" in site.command("test", "orders").stdout


def test_what_differs_is_shown(site):
    project = make(site, "c")
    build(site, "c")
    write_tests(project, """
- test: another body
  event: {subject: orders/1, data: {item: tea, amount: 2}}
  expect: {event: {data: {receipt: "1", order: {item: tea, amount: 3}}}}
- test: another answer
  events:
    - event: {subject: orders/1, data: {}}
      expect: event
    - event: {subject: orders/2, data: nonsense}
      expect: none
- test: another value
  event: {subject: orders/1, data: {}}
  expect: event
  then: {out: {receipts/1: nonsense}, store: {a: b}}
""")
    out = site.command("test", "orders", status=1).stdout.decode()
    assert '        -     "amount": 3,\n        +     "amount": 2,\n' in out
    assert "      the guest printed:\n        order 1\n" in out
    assert ("      event 2, line 9:\n      expected: none\n"
            "      answered: reject: orders/2 is no JSON object\n") in out
    assert '      out: receipts/1:\n        - nonsense\n        + {"receipt":"1","order":{}}\n' in out
    assert "      store: a:\n      there is none, expected was:\n        - b\n" in out
    assert out.endswith("0 passed, 3 failed\n")


def test_a_wrong_file_of_tests_names_the_line(site):
    project = make(site, "c")
    build(site, "c")
    write_tests(project, """
- test: wrong
  event: {subjct: orders/1}
  expect: none
- test: names
  guest: odrers
  event: {subject: orders/1}
  expect: none
- test: resources
  event: {subject: orders/1}
  expect: none
  then:
    otu: {a: b}
    store: [{type: t}]
""")
    done = site.command("test", "orders", status=2)
    err = done.stderr.decode()
    assert 'orders/tests/orders.yaml:3: subjct: an event has no such key; did you mean "subject"?' in err
    assert done.stdout == b"", "nothing is run"
    write_tests(project, (project / "tests/orders.yaml").read_text().replace("subjct", "subject"))
    err = site.command("test", "orders", status=2).stderr.decode()
    assert 'orders/tests/orders.yaml:5: guest: orders/weir.yaml has no guest "odrers"' in err
    assert "orders/tests/orders.yaml:13: otu: orders/weir.yaml has no resource" in err
    assert "orders/tests/orders.yaml:14: store: this resource has keys" in err
    assert b"cannot open" in site.command("test", "orders", "nowhere.yaml", status=2).stderr


def test_tests_want_a_guest_and_tests(site):
    project = make(site, "c")
    assert b'"weir build" makes it' in site.command("test", "orders", status=2).stderr
    build(site, "c")
    (project / "tests/orders.yaml").unlink()
    assert b"there are no tests" in site.command("test", "orders", status=2).stderr
    one = site.root / "one.json"
    one.write_text(json.dumps({"test": "json", "event": {"subject": "orders/1"}, "expect": "none"}))
    assert b"ok    one.json:1: json" in site.command("test", "orders", "one.json").stdout


# ---- dev ----

def descendants(pid):
    """All processes that come from that one."""
    parents = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            rest = stat.read_text(encoding="utf-8", errors="replace").rpartition(") ")[2].split()
            parents[int(stat.parent.name)] = int(rest[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def watched_inodes(pid):
    """What that process watches with inotify."""
    infos = [path.read_text(encoding="ascii") for path in
             pathlib.Path(f"/proc/{pid}/fdinfo").iterdir()]
    return {int(inode, 16) for info in infos
            for inode in re.findall(r"^inotify wd:\S+ ino:(\w+)", info, re.MULTILINE)}


def start_dev(site, language="c"):
    weir = site.start("dev", "orders", "--log-format", "json",
                      env=nothing_of_tools() | tools(language))
    weir.wait_listening(deadline_s=BUILD_S)
    return weir


def test_dev_swaps_what_changes(site):
    project = make(site, "c")
    source = project / SOURCES["c"]
    weir = start_dev(site)
    order(project, "1")
    assert "receipt" in wait_receipt(weir, project, "1")

    replace(source, r'{\"receipt\"', r'{\"bill\"')
    weir.wait_log("a guest was replaced")
    order(project, "2")
    assert "bill" in wait_receipt(weir, project, "2")

    replace(source, "on_order(const", "on_order(cnst")
    weir.wait_log("not built; the guest that runs goes on")
    assert b"cnst" in weir.stderr
    order(project, "3")
    assert "bill" in wait_receipt(weir, project, "3")

    replace(source, "on_order(cnst", "on_order(const")
    replace(source, r'{\"bill\"', r'{\"invoice\"')
    weir.wait_log("a guest was replaced", count=2)
    order(project, "4")
    assert "invoice" in wait_receipt(weir, project, "4")

    children = descendants(weir.pid)
    assert children
    assert weir.stop(signal.SIGINT) == 0
    assert not [pid for pid in children if is_alive(pid)]


def test_dev_sees_folders_and_the_configuration(site):
    project = make(site, "c")
    weir = start_dev(site)
    # A header in a folder that was not there, moved in as a whole.
    (site.root / "more").mkdir()
    (site.root / "more/name.h").write_text('#define NAME "bill"\n')
    (site.root / "more").rename(project / "src/more")
    weir.wait_log("a source has changed")
    replace(project / SOURCES["c"], "#include <weir.h>", '#include <weir.h>\n#include "more/name.h"')
    replace(project / SOURCES["c"], r'"{\"receipt\"', r'"{\"" NAME "\"')
    weir.wait_log("a guest was replaced")
    (project / "src/more/name.h").write_text('#define NAME "invoice"\n')
    order(project, "1")
    weir.wait_log("a guest was replaced", count=2)
    order(project, "2")
    assert "invoice" in wait_receipt(weir, project, "2")

    replace(project / "weir.yaml", 'key: "orders/*"', 'kye: "orders/*"')
    weir.wait_log("weir.yaml cannot be used; all stays as it is")
    assert weir.logs("a mistake in the configuration", key="subscriptions[0].kye")
    order(project, "3")
    assert wait_receipt(weir, project, "3")
    replace(project / "weir.yaml", 'kye: "orders/*"', 'key: "orders/new-*"')
    weir.wait_listening(count=2)
    order(project, "4")
    order(project, "new-5")
    assert wait_receipt(weir, project, "new-5")
    assert receipt_of(project, "4") is None
    assert weir.stop(signal.SIGINT) == 0


def test_dev_begins_with_what_cannot_be_built(site):
    project = make(site, "c")
    replace(project / SOURCES["c"], "on_order(const", "on_order(cnst")
    weir = site.start("dev", "orders", "--log-format", "json")
    weir.wait_log("not built; the next change builds it again")
    replace(project / SOURCES["c"], "on_order(cnst", "on_order(const")
    weir.wait_listening()
    order(project, "1")
    assert wait_receipt(weir, project, "1")
    # What weir itself reads and writes is no source, whatever its name.
    order(project, "2.c")
    assert wait_receipt(weir, project, "2.c")
    replace(project / SOURCES["c"], "order %.*s", "Order %.*s")
    weir.wait_log("a guest was replaced")
    watched = watched_inodes(weir.pid)
    assert (project / "src").stat().st_ino in watched
    for folder in "store", "store/orders", "out", ".weir", "build":
        assert (project / folder).stat().st_ino not in watched
    assert weir.stop(signal.SIGTERM) == 0


def test_dev_leaves_nothing_running_when_it_is_killed(site):
    make(site, "c")
    weir = start_dev(site)
    children = descendants(weir.pid)
    assert children
    weir.process.kill()
    weir.process.wait()
    try:
        weir.wait_for(lambda: not [pid for pid in children if is_alive(pid)], "the end of all",
                      even_if_ended=True)
    finally:
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
