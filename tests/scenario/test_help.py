# SPDX-License-Identifier: Apache-2.0
"""What the command says of itself."""

import re

import pytest

from harness import SOURCE

COMMANDS = ["new", "build", "test", "dev", "run", "status", "tail", "dlq", "replay", "state", "kv",
            "check", "inspect", "help", "version"]


def test_help_lists_the_commands(site):
    text = site.command("--help").stdout.decode()
    for command in COMMANDS:
        assert re.search(rf"^\s+(weir )?{command}\b", text, re.MULTILINE), text
    for option in "--log-format", "--log-level", "--log-rate", "--help", "--version":
        assert option in text
    assert site.command("help").stdout.decode() == text


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_a_help_of_its_own(site, command):
    done = site.command(command, "--help")
    assert done.stderr == b""
    text = done.stdout.decode()
    assert f"weir {command}" in text
    for option in "--log-format", "--log-level", "--log-rate", "--help":
        assert option in text
    assert all(len(line) <= 88 for line in text.splitlines()), "it fits a terminal"


def test_the_version_names_the_engines(site):
    engine = (SOURCE / "tools/engine/version").read_text(encoding="ascii").strip()
    text = site.command("--version").stdout.decode()
    assert re.fullmatch(rf"weir \d+\.\d+\.\d+ \(wasmtime {re.escape(engine)}\)\n", text)
    assert site.command("version").stdout.decode() == text


def test_help_of_a_provider_names_every_option(site):
    text = site.command("help", "file").stdout.decode()
    for option in "path", "create", "keys_max", "directories_max", "rescan":
        assert option in text


def test_help_of_the_configuration(site):
    text = site.command("help", "config").stdout.decode()
    for part in ("resources", "guests", "subscriptions", "bounds", "retry", "queue", "host",
                 "memory", "64MiB", "attempts", "grace"):
        assert part in text


def test_an_unknown_command_is_told_with_the_nearest(site):
    done = site.command("chekc", status=2)
    assert b"check" in done.stderr and not done.stdout
    site.command(status=2)
    site.command("help", "nonsense", status=2)
    site.command("--nonsense", status=2)


def test_no_colour_where_nobody_sees_it(site):
    for arguments, status in [(["--help"], 0), (["check", "nowhere.yaml"], 2), (["chekc"], 2)]:
        done = site.command(*arguments, status=status)
        assert b"\x1b" not in done.stdout + done.stderr
