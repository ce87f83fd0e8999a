#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that each room of src/ includes only what its row allows.

The rows are the picture in ARCHITECTURE.md as a table. A room that wants another one gets a word
in its row, and whoever reads the change sees it. A foreign header belongs to one room; the rest of
weir must not depend on the library behind it.
"""

import pathlib
import re
import sys

SOURCE = pathlib.Path("src")
INCLUDE = re.compile(r'^\s*#\s*include\s*(?P<open>["<])(?P<name>[^">]+)[">]', re.MULTILINE)

# A room may include itself, and these. The most exact folder is a file's room.
ROOMS = {
    "base": [],
    "event": ["base"],
    "observe": ["base"],
    # Option tables are everybody's; what reads weir.yaml is config's own.
    "config": ["base", "provider", "http"],
    "guest": ["base", "event", "observe", "config"],
    "http": ["base"],
    # Whoever handles events notes what it did here; it knows nothing of them.
    "trace": ["base", "event", "observe", "config", "http"],
    # provider.c is the list of all providers.
    "provider": ["base", "event", "observe", "config", "provider/file", "provider/nats",
                 "provider/postgres", "provider/redis", "provider/sqlite", "provider/topic"],
    "provider/file": ["base", "event", "observe", "config", "provider"],
    "provider/nats": ["base", "event", "observe", "config", "provider"],
    "provider/postgres": ["base", "event", "observe", "config", "provider"],
    "provider/redis": ["base", "event", "observe", "config", "provider"],
    "provider/sqlite": ["base", "event", "observe", "config", "provider"],
    "provider/topic": ["base", "event", "observe", "config", "provider"],
    "state": ["base", "event", "observe"],
    # What guests reach: it knows what may be done with a source, and nothing of queues.
    "access": ["base", "event", "observe", "config", "guest", "provider", "http", "trace"],
    "flow": ["base", "event", "observe", "config", "guest", "provider", "access", "state",
             "trace"],
    # Asks the flow and is asked by the commands; nothing that flows knows of it.
    "control": ["base", "event", "observe", "flow", "state"],
    # The admin address: looks at all that flows; nothing that flows knows of it.
    "admin": ["base", "event", "observe", "config", "guest", "trace", "flow", "state", "control"],
    # Projects: their templates, tools and tests. What they run is wired by the commands.
    "project": ["base", "event", "config", "provider", "guest"],
    # The commands wire everything, and nothing includes them.
    "cli": ["base", "event", "observe", "config", "guest", "provider", "provider/file", "access",
            "http", "trace", "flow", "state", "control", "admin", "project"],
}

# Foreign headers, and the folders (of the whole tree) that may include them.
FOREIGN = {
    r"(wasm|wasi|wasmtime)\.h|wasmtime/.*": ["src/guest", "tests/unit/guest", "bench"],
    r"openssl/.*": ["src/guest", "src/provider", "tests/unit/provider"],
    r"hiredis/.*": ["src/provider/redis", "bench"],
    r"libpq.*\.h|postgresql/.*": ["src/provider/postgres", "tests/unit/provider/postgres",
                                  "tests/support", "bench"],
    r"curl/.*": ["src/http"],
    r"n?curses.*\.h": ["src/cli"],
    r"microhttpd\.h": ["src/admin"],
    r"yaml\.h": ["src/config"],
    r"sqlite3\.h": ["src/state", "src/provider/sqlite", "tests/unit/state",
                   "tests/unit/provider/sqlite", "bench"],
    r"jansson\.h": ["src/event", "src/observe", "src/state", "src/control", "src/admin", "src/cli",
                      "src/project", "src/provider", "src/trace", "tests/contract", "tests/support",
                      "tests/unit/admin", "tests/unit/cli", "tests/unit/control",
                      "tests/unit/provider", "tests/unit/support", "tests/unit/trace"],
    r"sys/(inotify|fanotify)\.h": ["src/provider/file", "src/provider/sqlite", "src/project",
                                "bench", "tests"],
    r"linux/openat2\.h": ["src/provider/file"],
}
PLACES = ["src", "bench", "tests/unit", "tests/contract", "tests/fuzz"]


def room_of(path):
    """The row that a path below src/ belongs to; None where no row does."""
    parts = pathlib.PurePath(path).parts[:-1]
    for length in range(len(parts), 0, -1):
        room = "/".join(parts[:length])
        if room in ROOMS:
            return room
    return None


def within(path, folder):
    return pathlib.PurePath(folder) in pathlib.PurePath(path).parents


def check_own(path, name):
    here = room_of(path.relative_to(SOURCE))
    there = room_of(name)
    if here is None:
        return "stands in no room of tools/lint/rooms.py"
    if there is None or not (SOURCE / name).is_file():
        return f'"{name}" is no header below src/ (own headers are included by their path there)'
    if there != here and there not in ROOMS[here]:
        return f'"{name}": {here} may not include {there}'
    return None


def check_foreign(path, name):
    for pattern, folders in FOREIGN.items():
        if re.fullmatch(pattern, name) and not any(within(path, folder) for folder in folders):
            return f"<{name}> belongs to {' and '.join(folders)}"
    return None


def main():
    mistakes = []
    for place in PLACES:
        for path in sorted(pathlib.Path(place).rglob("*.[ch]")):
            for include in INCLUDE.finditer(path.read_text(encoding="utf-8")):
                mistake = check_foreign(path, include["name"])
                if not mistake and include["open"] == '"' and within(path, SOURCE):
                    mistake = check_own(path, include["name"])
                if mistake:
                    line = path.read_text(encoding="utf-8").count("\n", 0, include.start()) + 1
                    mistakes.append(f"{path}:{line}: {mistake}")
    for mistake in mistakes:
        print(mistake)
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
