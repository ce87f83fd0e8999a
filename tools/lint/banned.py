#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the files named on stdin for what must not stand in them.

In C: functions that cannot be given a bound or that swallow an error, each with what to use
instead. In any text: tabs, spaces at a line's end, a missing last newline, what an unfinished merge
leaves, and marks of unfinished work. Compiled things are not checked in at all.
"""

import pathlib
import re
import sys

FUNCTIONS = {
    r"strcpy|strcat|stpcpy|sprintf|vsprintf|gets": "it knows no bound: snprintf, memcpy",
    r"strncpy|strncat": "it may leave a string without an end: memcpy, snprintf",
    r"strtok": "it keeps hidden state: strchr, memchr",
    r"atoi|atol|atoll|atof": "it hides errors: strtoll with errno and an end pointer",
    r"sscanf|scanf|fscanf": "it overflows in silence: read the text by hand",
    r"system|popen": "it runs a shell",
    r"alloca|strdupa": "the stack has no error to return: malloc with a maximum",
    r"localtime|gmtime|asctime|ctime": "it is not safe with threads: the _r function",
    r"rand|srand|drand48": "it is one state for all threads and can be guessed: getrandom",
    r"tmpnam|mktemp|tempnam": "somebody else may be faster: mkostemp, O_TMPFILE",
    r"signal": "its meaning varies: sigaction",
    r"usleep|sleep": "it cannot be woken: a condition with a deadline",
}
# Tests wait and convert as they like; a guest has no threads.
FUNCTIONS_OF = ("src/", "include/", "bench/")
CALLS = [(re.compile(rf"(?<![\w.>])({names})\s*\("), why) for names, why in FUNCTIONS.items()]

TEXT_SUFFIXES = {
    ".c", ".h", ".py", ".sh", ".md", ".yaml", ".yml", ".toml", ".wit", ".wat", ".rs", ".txt", ".build",
    ".html", ".css", ".js",
}  # fmt: skip
COMPILED_SUFFIXES = {".wasm", ".o", ".a", ".so", ".pyc"}
# Put together here, so that this file passes its own check.
UNFINISHED = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X"]) + r")\b")
MERGE = re.compile(r"(<{7}|>{7}|={7})( |$)")
LITERAL_OR_COMMENT = re.compile(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
# Inputs of the fuzzers are any bytes.
ANY_BYTES = ("tests/fuzz/corpus/",)


def blank(match):
    """Spaces in place of a comment or literal, so that lines and columns stay."""
    return re.sub(r"[^\n]", " ", match[0])


def mistakes_of_c(text):
    code = LITERAL_OR_COMMENT.sub(blank, text)
    for call, why in CALLS:
        for match in call.finditer(code):
            yield code.count("\n", 0, match.start()) + 1, f"{match[1]}: {why}"


def mistakes_of_text(text):
    for number, line in enumerate(text.splitlines(), 1):
        if line != line.rstrip():
            yield number, "white space at the end of the line"
        if "\t" in line:
            yield number, "a tab"
        if MERGE.match(line):
            yield number, "a mark of a merge"
        if UNFINISHED.search(line):
            yield number, "unfinished: finish it, or say what is missing in an issue"
    if text and not text.endswith("\n"):
        yield text.count("\n") + 1, "no newline at the end of the file"


def mistakes_of(path):
    name = path.as_posix()
    if name.startswith(ANY_BYTES):
        return
    if path.suffix in COMPILED_SUFFIXES:
        yield 1, "a compiled file; it is built from source"
        return
    if path.suffix not in TEXT_SUFFIXES:
        return
    text = path.read_text(encoding="utf-8")
    yield from mistakes_of_text(text)
    if path.suffix in {".c", ".h"} and name.startswith(FUNCTIONS_OF):
        yield from mistakes_of_c(text)


def main():
    found = 0
    for line in sys.stdin:
        path = pathlib.Path(line.rstrip("\n"))
        for number, mistake in mistakes_of(path):
            print(f"{path}:{number}: {mistake}")
            found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
