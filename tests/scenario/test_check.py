# SPDX-License-Identifier: Apache-2.0
"""`weir check`: every mistake at once, each with its line and what would be right."""

import re

import pytest

from harness import guest_path, handling

GOOD = """\
# A configuration as people write it.
host:
  workers: 2
  grace: 500ms
bounds:
  time: 2s
resources:
  store: {kind: file, path: ./store}
guests:
  multi:
    wasm: ${GUESTS}/multi.wasm
    bounds: {memory: 32MiB}
    retry: {attempts: 3, backoff: 10ms}
  run-ok: {wasm: "${GUESTS}/run-ok.wasm", run: true, grants: [store]}
subscriptions:
  - {watch: store, key: "orders/*", guest: multi, handler: on-order}
  - watch: store
    key: one
    guest: multi
    name: the-one
"""

# Ten mistakes, each on the line that the second half names.
BAD = """\
host:
  workers: many
  garce: 500ms
bounds:
  time: 5 sec
resources:
  store: {kind: fiel, path: ./store}
  other: {kind: file}
guests:
  multi:
    instance: frehs
    retry: {attempts: 0}
  lost: {wasm: nowhere.wasm, grants: [nothing]}
subscriptions:
  - {watch: stroe, key: "*", guest: mulit}
  - {watch: store, guest: multi}
"""
BAD_LINES = {
    2: r"host\.workers.*many",
    3: r"garce.*grace",
    5: r"bounds\.time.*5 sec.*(250ms|5s)",
    7: r"fiel.*file",
    8: r"path",
    11: r"instance.*frehs.*fresh",
    12: r"attempts.*0",
    13: r"nothing",
    15: r"stroe.*store",
    16: r"key",
}


def guests_env():
    return {"GUESTS": str(guest_path("multi").parent)}


def test_a_good_file_is_summed_up(site):
    site.write_config(GOOD)
    done = site.command("check", "weir.yaml", env=guests_env())
    assert done.stderr == b""
    text = done.stdout.decode()
    for part in ("store", "file", "multi", "on-order", "on-invoice", "handle-event", "run-ok",
                 "latest-value", "orders/*"):
        assert part in text, text


def test_a_good_file_runs(site):
    site.write_config(GOOD)
    weir = site.start("run", "weir.yaml", "--log-format", "json", env=guests_env())
    weir.wait_listening()
    site.put("orders/1", "x")
    site.put("one", "x")
    weir.wait_printed("multi", "on-order got orders/1")
    weir.wait_printed("multi", "handle-event got one")
    weir.wait_printed("run-ok", "run was here")
    assert weir.stop() == 0


@pytest.mark.parametrize("command", ["check", "run"])
def test_all_mistakes_at_once_with_their_lines(site, command):
    site.write_config(BAD)
    done = site.command(command, "weir.yaml", status=2)
    assert done.stdout == b""
    lines = done.stderr.decode().splitlines()
    for number, told in BAD_LINES.items():
        assert any(re.search(rf"weir\.yaml:{number}\b.*{told}", line) for line in lines), (
            f"line {number}: {told} is not in\n" + "\n".join(lines))
    assert any(re.search(r"weir\.yaml:1[01]: guests\.multi: .*wasm.* is missing", line)
               for line in lines)


@pytest.mark.parametrize("text, told", [
    ("resources: [", r"weir\.yaml:[12]\b"),
    ("a: 1\na: 2\n", r"weir\.yaml:2\b"),
    ("resources:\n\tstore: {}\n", r"weir\.yaml:2\b.*tab"),
    ("", r"weir\.yaml"),
    ("- a\n- b\n", r"weir\.yaml:1\b"),
    ("--- {}\n--- {}\n", r"weir\.yaml:2\b"),
    ("guests: {a: {wasm: '${NOT_SET_ANYWHERE}'}}\n", r"weir\.yaml:1\b.*NOT_SET_ANYWHERE"),
    ("bounds: &a {time: 1s}\nhost: *a\n", r"weir\.yaml:\d"),
], ids=["open-bracket", "twice", "tab", "empty", "list", "two-documents", "environment", "alias"])
def test_what_is_no_configuration(site, text, told):
    site.write_config(text)
    done = site.command("check", "weir.yaml", status=2)
    assert re.search(told, done.stderr.decode()), done.stderr.decode()


def test_an_endless_expansion_is_refused(site):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    site.write_config("\n".join(lines))
    site.command("check", "weir.yaml", status=2)


def test_a_file_that_is_not_there(site):
    assert b"nowhere.yaml" in site.command("check", "nowhere.yaml", status=2).stderr


@pytest.mark.parametrize("guest, told", [
    ("import-unknown", "import"),
    ("no-exports", "exports"),
    ("no-memory", "memory"),
    ("no-realloc", "cabi_realloc"),
    ("broken-truncated", ""),
    ("broken-component", "neither a main"),
])
def test_the_guests_files_are_looked_at(site, guest, told):
    site.write_config(handling(guest))
    lines = site.command("check", "weir.yaml", status=2).stderr.decode().splitlines()
    assert any(re.search(r"weir\.yaml:\d+", line) and guest in line and told in line
               for line in lines), lines


def test_mistakes_of_the_reader_and_of_the_guests_come_together(site):
    tree = handling("import-unknown", handler="nonesuch")
    tree["guests"]["multi"] = {"wasm": str(guest_path("multi"))}
    tree["subscriptions"].append({"watch": "store", "key": "*", "guest": "multi",
                                  "handler": "nonesuch"})
    site.write_config(tree)
    told = site.command("check", "weir.yaml", status=2).stderr.decode()
    assert "import" in told
    assert "nonesuch" in told and "on-invoice" in told


def test_run_with_a_main_that_is_none(site):
    site.write_config(handling("print", run=True))
    told = site.command("check", "weir.yaml", status=2).stderr.decode()
    assert re.search(r"run: true|no main", told), told
