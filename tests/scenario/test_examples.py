# SPDX-License-Identifier: Apache-2.0
"""What the README shows is what happens: the demo, and the example's own configuration."""

import os
import shutil
import subprocess

from harness import GUESTS_DIR, SOURCE, WEIR_BIN

DEMO_SECONDS_MAX = 50


def build_folder(tmp_path, weir):
    """A folder as a build leaves it, with this run's weir and guests."""
    build = tmp_path / "build"
    build.mkdir()
    (build / "guests").symlink_to(GUESTS_DIR)
    (build / "weir").symlink_to(weir)
    return build


def run_demo(build):
    return subprocess.run(
        [SOURCE / "examples/seed/demo.sh", build], capture_output=True, text=True,
        timeout=DEMO_SECONDS_MAX, check=False, env=os.environ | {"TMPDIR": str(build.parent)})


def test_the_demo_shows_each_change_and_ends(tmp_path):
    demo = run_demo(build_folder(tmp_path, WEIR_BIN))
    assert demo.returncode == 0, demo.stdout + demo.stderr
    for line in ("set with weir", "written by the shell", "moved into place"):
        assert f"[seed] data:   {line}" in demo.stdout
    assert "Every change reached its handler." in demo.stdout


def test_the_demo_fails_where_an_event_does_not_come(tmp_path):
    # A weir that is gone as soon as it listens: every command works, no event is handled.
    deaf = tmp_path / "deaf-weir"
    deaf.write_text(
        '#!/bin/sh\n'
        f'[ "$1" != run ] || exec timeout 1 {WEIR_BIN} "$@" 2>&1 >/dev/null | head -n 1 >&2\n'
        f'exec {WEIR_BIN} "$@"\n')
    deaf.chmod(0o755)
    demo = run_demo(build_folder(tmp_path, deaf))
    assert demo.returncode == 1
    assert "demo:" in demo.stderr


def test_the_examples_configuration_is_good(site, tmp_path):
    # Where it looks for its guest from: a tree of its own, so that nothing is made in this one.
    example = tmp_path / "examples/seed"
    example.mkdir(parents=True)
    shutil.copy(SOURCE / "examples/seed/weir.yaml", example)
    build_folder(tmp_path, WEIR_BIN)
    checked = site.command("check", str(example / "weir.yaml"))
    assert "handlers: handle-event" in checked.stdout.decode()
