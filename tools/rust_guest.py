#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Builds a guest in Rust with cargo, and tells ninja what it was made from.

cargo decides by itself what has to be compiled again; ninja asks it only when a file changed that
the depfile names. The folder with what was compiled is shared by all guests, because they share
their dependencies, and by all trees of the machine; a lock keeps the copy of the product together
with the build that made it.
"""

import argparse
import fcntl
import json
import os
import shutil
import subprocess
import sys

TARGET = "wasm32-wasip1"
# From nothing, on two slow cores; what is there already takes a second.
BUILD_SECONDS_MAX = 900


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cargo", required=True)
    parser.add_argument("--rustc", required=True)
    parser.add_argument("--sysroot", required=True, help="empty: rustc's own")
    parser.add_argument("--target-dir", required=True)
    parser.add_argument("--depfile", required=True)
    parser.add_argument("crate", help="folder with Cargo.toml and Cargo.lock")
    parser.add_argument("out")
    return parser.parse_args()


def cargo_build(args):
    """Runs cargo and returns the path of the one module it made."""
    environment = dict(os.environ, RUSTC=args.rustc)
    # What is set here for one target wins over RUSTFLAGS of the user, which are meant for programs.
    environment.pop("RUSTFLAGS", None)
    environment.pop("CARGO_ENCODED_RUSTFLAGS", None)
    variable = "CARGO_TARGET_" + TARGET.upper().replace("-", "_")
    if args.sysroot:
        environment[variable + "_LINKER"] = "wasm-ld-19"
        environment[variable + "_RUSTFLAGS"] = "--sysroot " + args.sysroot
    command = [
        args.cargo, "build", "--locked", "--release", "--quiet",
        "--target", TARGET,
        "--target-dir", args.target_dir,
        "--manifest-path", os.path.join(args.crate, "Cargo.toml"),
        "--message-format", "json-render-diagnostics",
        "-j", str(os.cpu_count() or 1),
    ]  # fmt: skip
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, text=True, timeout=BUILD_SECONDS_MAX
    )
    if done.returncode != 0:
        sys.exit(done.returncode)
    modules = set()
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message.get("reason") == "compiler-artifact":
            modules.update(name for name in message["filenames"] if name.endswith(".wasm"))
    if len(modules) != 1:
        sys.exit(f"{args.crate}: one module is wanted, cargo made {sorted(modules)}")
    return modules.pop()


def write_depfile(args, module):
    """cargo's own depfile, with the product's path here, and the manifest and lock file added."""
    with open(os.path.splitext(module)[0] + ".d", encoding="utf-8") as file:
        _, _, sources = file.read().partition(": ")
    inputs = [os.path.join(args.crate, name) for name in ("Cargo.toml", "Cargo.lock")]
    with open(args.depfile, "w", encoding="utf-8") as file:
        file.write(f"{args.out}: {' '.join(inputs)} {sources.splitlines()[0]}\n")


def main():
    args = arguments()
    os.makedirs(args.target_dir, exist_ok=True)
    with open(os.path.join(args.target_dir, "weir.lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        module = cargo_build(args)
        shutil.copyfile(module, args.out)
        write_depfile(args, module)


if __name__ == "__main__":
    main()
