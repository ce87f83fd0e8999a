#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs clang-tidy on the files named on stdin, as many at a time as there are cores.

A file takes a second or two, so one that passed is passed over until what the compiler
reads of it changes: the file, its headers, its flags, or the settings of clang-tidy.
"""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import shlex
import subprocess
import sys
import time

TIDY = "clang-tidy-19"
SETTINGS = pathlib.Path(".clang-tidy")
FILE_SECONDS_MAX = 300
STAMP_DAYS_MAX = 30
# Arguments of the compiler that say where its output goes, and how many words each is.
OUTPUT_ARGUMENTS = {"-c": 1, "-o": 2, "-MD": 1, "-MQ": 2, "-MF": 2}


def compile_commands(build):
    """Of each compiled source: the folder and words of its compilation."""
    entries = json.loads((build / "compile_commands.json").read_text(encoding="utf-8"))
    return {
        (pathlib.Path(entry["directory"]) / entry["file"]).resolve(): (
            entry["directory"],
            shlex.split(entry["command"]),
        )
        for entry in entries
    }


def preprocess(directory, words):
    """What the compiler reads, comments too: some of them are meant for clang-tidy."""
    kept = []
    words = iter(words)
    for word in words:
        length = OUTPUT_ARGUMENTS.get(word, 0)
        if length == 0:
            kept.append(word)
        elif length == 2:
            next(words)
    done = subprocess.run(
        [*kept, "-E", "-C"], cwd=directory, capture_output=True, timeout=FILE_SECONDS_MAX
    )
    return done.stdout if done.returncode == 0 else None


def stamp_of(stamps, command, salt):
    """The file that is there when this state of the source has passed; None where it has none."""
    text = preprocess(*command)
    if text is None:
        return None
    key = hashlib.sha256(salt)
    key.update(" ".join(command[1]).encode())
    key.update(text)
    return stamps / key.hexdigest()


def check(path, build, command, stamps, salt):
    stamp = stamp_of(stamps, command, salt)
    if stamp and stamp.exists():
        stamp.touch()
        return True, ""
    done = subprocess.run(
        [TIDY, "--quiet", "-p", str(build), str(path)],
        capture_output=True, text=True, timeout=FILE_SECONDS_MAX,
    )  # fmt: skip
    if done.returncode == 0 and stamp:
        stamp.touch()
    return done.returncode == 0, done.stdout


def remove_old(stamps):
    oldest = time.time() - STAMP_DAYS_MAX * 24 * 3600
    for stamp in stamps.iterdir():
        if stamp.stat().st_mtime < oldest:
            stamp.unlink(missing_ok=True)


def main():
    build, stamps = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    stamps.mkdir(exist_ok=True)
    remove_old(stamps)
    version = subprocess.run([TIDY, "--version"], capture_output=True, check=True, timeout=60)
    salt = SETTINGS.read_bytes() + version.stdout
    commands = compile_commands(build)
    paths = [pathlib.Path(line.rstrip("\n")) for line in sys.stdin]

    passed = True
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        checks = []
        for path in paths:
            command = commands.get(path.resolve())
            if command is None:
                print(f"{path}: it is not compiled: src/meson.build does not name it")
                passed = False
            else:
                checks.append(pool.submit(check, path, build, command, stamps, salt))
        for done in checks:
            is_clean, output = done.result()
            passed = passed and is_clean
            sys.stdout.write(output)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
