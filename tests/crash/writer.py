# SPDX-License-Identifier: Apache-2.0
"""A writer that knows nothing of weir: python3 writer.py NAME STORE CONTROL SEED CHANGES_PER_S

Changes keys of its own in the directory STORE, each in every way a program may, until there is
CONTROL/stop; does nothing while there is CONTROL/pause. What it does stands in CONTROL/NAME.log:
a line before it is done, `set KEY TEXT`, `append KEY TEXT` or `del KEY`, and `end` after it. A line
break in a value is written as "|".
"""

import os
import pathlib
import random
import shutil
import sys
import time

KEYS, FOLDER_KEYS = 6, 3
PAUSE_LOOK_S = 0.005
BURST = 10  # changes on end, on average


class Writer:
    def __init__(self, name, store, control, seed):
        self.name, self.store, self.control = name, pathlib.Path(store), pathlib.Path(control)
        self.random = random.Random(seed)
        self.log = os.open(self.control / f"{name}.log",
                           os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.number = 0
        self.keys = [f"{name}-{key}" for key in range(KEYS)]
        self.keys += [f"{name}.d/{key}" for key in range(FOLDER_KEYS)]

    def note(self, text):
        os.write(self.log, (text + "\n").encode())

    def value(self, key):
        self.number += 1
        words = [self.name, key, str(self.number)]
        words += ["fail-once"] * (self.random.random() < 1 / 20)
        words += ["slow"] * (self.random.random() < 1 / 50)
        words.append("x" * int(self.random.expovariate(1 / 20)))
        return " ".join(words)

    def rename(self, key):
        value, path = self.value(key), self.store / key
        self.note(f"set {key} {value}")
        path.parent.mkdir(exist_ok=True)
        beside = path.with_name("." + path.name)
        beside.write_text(value, encoding="ascii")
        os.rename(beside, path)

    def write(self, key):
        value, path = self.value(key), self.store / key
        self.note(f"set {key} {value}")
        path.parent.mkdir(exist_ok=True)
        with path.open("w", encoding="ascii") as file:
            file.write(value[:len(value) // 2])
            file.flush()
            file.write(value[len(value) // 2:])

    def append(self, key):
        path = self.store / key
        if not path.exists() or path.stat().st_size > 500:
            self.rename(key)
            return
        value = self.value(key)
        self.note(f"append {key} |{value}")
        with path.open("a", encoding="ascii") as file:
            file.write("\n" + value)

    def remove(self, key):
        path = self.store / key
        if path.exists():
            self.note(f"del {key}")
            path.unlink()

    def remove_folder(self, _):
        folder = self.store / f"{self.name}.d"
        if folder.exists():
            for path in sorted(folder.iterdir()):
                self.note(f"del {self.name}.d/{path.name}")
            shutil.rmtree(folder)

    def change(self):
        ways = [(self.rename, 45), (self.write, 20), (self.append, 20), (self.remove, 12),
                (self.remove_folder, 3)]
        way = self.random.choices([way for way, _ in ways], [weight for _, weight in ways])[0]
        way(self.random.choice(self.keys))
        self.note("end")

    def run(self, changes_per_s):
        while not (self.control / "stop").exists():
            if (self.control / "pause").exists():
                time.sleep(PAUSE_LOOK_S)
                continue
            burst = 1 + int(self.random.expovariate(1 / BURST))
            for _ in range(burst):
                self.change()
            time.sleep(burst / changes_per_s)


if __name__ == "__main__":
    Writer(*sys.argv[1:5]).run(float(sys.argv[5]))
