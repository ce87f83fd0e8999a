# SPDX-License-Identifier: Apache-2.0
"""What guests are compiled to: by a process of its own, within bounds, once."""

import os
import subprocess
import time

import pytest

from harness import DEADLINE_S, GUESTS_DIR, WEIR_BIN, guest_path, handling

# A first compilation, on a machine that tests other things meanwhile.
COMPILED_S = 300


def folder_of(site):
    return site.root / "compiled"


def config_of(site, **host):
    return handling("print", host={"cache": str(folder_of(site))} | host)


def run_once(site, config):
    weir = site.run(config)
    weir.wait_listening()
    site.put("key", "a value")
    weir.wait_printed("print", "text=a value")
    assert weir.stop() == 0


def entries(site):
    return {path.name: path.stat() for path in folder_of(site).iterdir()}


def test_a_guest_is_compiled_once(site):
    run_once(site, config_of(site))
    first = entries(site)
    assert len(first) == 1
    site.put("key", "another value, so that the next one is a change")
    run_once(site, config_of(site))
    second = entries(site)
    assert {name: stat.st_ino for name, stat in second.items()} == {
        name: stat.st_ino for name, stat in first.items()}


def test_what_is_damaged_is_made_anew(site):
    run_once(site, config_of(site))
    (path,) = folder_of(site).iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:len(whole) // 2])
    site.put("key", "another value, so that the next one is a change")
    run_once(site, config_of(site))
    assert path.stat().st_size == len(whole)


def test_a_folder_that_others_may_write_to_is_refused(site):
    folder_of(site).mkdir()
    folder_of(site).chmod(0o777)
    result = site.command("check", str(site.write_config(config_of(site))), status=2)
    assert "host.cache" in result.stderr.decode()
    assert not list(folder_of(site).iterdir())


def test_a_full_disk_keeps_no_guest_from_running(site):
    """The folder is on a file system that has less room than the compiled code needs."""
    folder_of(site).mkdir()
    alone = ["unshare", "-rm", "sh", "-euc"]
    mount = f"mount -t tmpfs -o size=16k,mode=700 none {folder_of(site)}; "
    if subprocess.run([*alone, mount], check=False, capture_output=True).returncode != 0:
        pytest.skip("no file system can be mounted here")
    command = mount + f'"$@" && echo left: $(ls -A {folder_of(site)})'
    config = site.write_config(config_of(site))
    result = subprocess.run([*alone, command, "-", WEIR_BIN, "check", config], check=True,
                            capture_output=True, text=True, timeout=DEADLINE_S, cwd=site.root)
    assert "handlers: handle-event" in result.stdout
    assert result.stdout.endswith("left:\n")


@pytest.fixture(scope="module", name="bomb")
def make_bomb(tmp_path_factory):
    """A module that takes a compiler very much longer than it is large."""
    folder = tmp_path_factory.mktemp("bomb")
    text = ['(module (memory (export "memory") 1)'
            ' (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 0)'
            ' (func (export "handle-event") (param i32) (result i32) i32.const 0)']
    text += [f"(func (param i32) (result i32) (i32.mul (local.get 0)"
             f" (i32.add (local.get 0) (i32.const {number}))))" for number in range(200000)]
    (folder / "bomb.wat").write_text("\n".join(text) + ")", encoding="ascii")
    subprocess.run(["wat2wasm", folder / "bomb.wat", "-o", folder / "bomb.wasm"], check=True)
    return folder / "bomb.wasm"


def bomb_config(site, bomb, **host):
    config = config_of(site, **host)
    config["guests"]["print"]["wasm"] = str(bomb)
    return str(site.write_config(config))


def test_a_compiler_that_takes_too_long_is_ended(site, bomb):
    begin_s = time.monotonic()
    result = site.command("check", bomb_config(site, bomb, compile_time="500ms"), status=2)
    assert "host.compile_time allows (500 ms)" in result.stderr.decode()
    assert time.monotonic() - begin_s < 20
    assert not list(folder_of(site).iterdir())


@pytest.mark.skipif(os.environ.get("WEIR_BUILD") in ("asan", "tsan"),
                    reason="a sanitizer's own memory is beyond the bound")
def test_a_compiler_that_takes_too_much_memory_is_ended(site, bomb):
    result = site.command("check", bomb_config(site, bomb, compile_memory="64MiB"), status=2)
    assert "host.compile_memory" in result.stderr.decode()
    assert not list(folder_of(site).iterdir())


@pytest.mark.timeout(2 * COMPILED_S)
def test_a_guest_in_javascript_starts_warm_in_100_ms(site):
    path = GUESTS_DIR / "echo-js.wasm"
    if not path.exists():
        pytest.skip("what makes components of JavaScript could not be had")
    # Once, so that it is compiled; what comes then is measured, several times over.
    config = handling("echo-js", bounds={"memory": "256MiB"})
    file = str(site.write_config(config))
    site.command("check", file, deadline_s=COMPILED_S)
    times = []
    for _ in range(5):
        begin_s = time.monotonic()
        site.command("check", file)
        times.append(time.monotonic() - begin_s)
    # Sanitized programs take several times as long to start.
    most_s = 0.1 if os.environ.get("WEIR_BUILD", "release") == "release" else 1
    assert min(times) < most_s, times


def test_it_needs_no_cache(site):
    config = handling("print")
    weir = site.run(config, env={"HOME": "/nonexistent", "XDG_CACHE_HOME": ""})
    weir.wait_listening()
    site.put("key", "a value")
    weir.wait_printed("print", "text=a value")
    assert weir.stop() == 0
    assert guest_path("print").exists()
