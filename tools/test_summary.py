#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Counts the cases of a whole test run, shows the failed ones, and says it all in one last line.

It reads what the tools left in a folder: Meson's log of the unit tests (*.json, in each the TAP
that cmocka wrote), pytest's reports (*.xml), and cases.tsv for what writes no report of its own.
"""

import json
import pathlib
import re
import sys
import typing
import xml.etree.ElementTree as ElementTree

# Of a failed case that much is shown, the end of it: what went wrong stands there.
OUTPUT_LINES_MAX = 60
# So many failed cases are shown with their output, the others by name.
SHOWN_MAX = 20

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


class Case(typing.NamedTuple):
    suite: str
    name: str
    outcome: str
    output: str = ""


def cases_of_program(suite, test):
    """The cases of one cmocka program, out of Meson's record of it."""
    stdout, stderr = test.get("stdout", ""), test.get("stderr", "")
    output = stdout + stderr
    cases, planned = [], 0
    for line in stdout.splitlines():
        plan = re.fullmatch(r"1\.\.(\d+)", line)
        if plan:
            planned += int(plan[1])
            continue
        result = re.fullmatch(r"(not )?ok \d+ ?-? ?(# SKIP)? ?(.*)", line)
        if not result:
            continue
        # cmocka marks a skipped case as "not ok" too.
        outcome = SKIPPED if result[2] else FAILED if result[1] else PASSED
        cases.append(Case(suite, f"{test['name']}: {result[3]}", outcome, output))
    died = test.get("returncode") != 0 and not any(case.outcome == FAILED for case in cases)
    if died or len(cases) < planned or not cases:
        text = f"{test.get('result')}, exit status {test.get('returncode')}"
        name = f"{test['name']}: ended after {len(cases)} of {planned} cases ({text})"
        cases.append(Case(suite, name, FAILED, output))
    return cases


def cases_of_meson(path):
    with path.open(encoding="utf-8", errors="replace") as file:
        return [case for line in file for case in cases_of_program(path.stem, json.loads(line))]


def cases_of_junit(path):
    # A case that fails, and then once more while it is cleaned up, is reported twice: it is one.
    cases = {}
    for element in ElementTree.parse(path).iter("testcase"):
        name = f"{element.get('classname')}::{element.get('name')}"
        broken = [child for child in element if child.tag in ("failure", "error")]
        if broken:
            output = "\n".join(f"{child.get('message', '')}\n{child.text or ''}" for child in broken)
            earlier = cases[name].output + "\n" if name in cases else ""
            cases[name] = Case(path.stem, name, FAILED, earlier + output)
        elif element.find("skipped") is not None:
            cases.setdefault(name, Case(path.stem, name, SKIPPED))
        else:
            cases.setdefault(name, Case(path.stem, name, PASSED))
    return list(cases.values())


def cases_of_table(path):
    cases = []
    for line in path.read_text(encoding="utf-8").splitlines():
        suite, name, outcome, log = line.split("\t")
        output = ""
        if outcome == FAILED:
            output = pathlib.Path(log).read_text(encoding="utf-8", errors="replace")
        cases.append(Case(suite, name, outcome, output))
    return cases


def read_cases(folder):
    readers = {".json": cases_of_meson, ".xml": cases_of_junit, ".tsv": cases_of_table}
    cases = []
    for path in sorted(folder.iterdir()):
        reader = readers.get(path.suffix)
        if reader is None:
            continue
        try:
            cases += reader(path)
        except (ValueError, KeyError, OSError, ElementTree.ParseError) as error:
            cases.append(Case(path.stem, f"{path} cannot be read", FAILED, str(error)))
    return cases


def show_failed(failed):
    for number, case in enumerate(failed):
        print(f"FAILED {case.suite}: {case.name}")
        if number < SHOWN_MAX:
            for line in case.output.rstrip().splitlines()[-OUTPUT_LINES_MAX:]:
                print(f"    {line}")
    # Once more by name: the end of a long output is what people see first, or alone.
    if len(failed) > 1:
        print(f"{len(failed)} failed:")
        for case in failed:
            print(f"  {case.suite}: {case.name}")


def main():
    cases = read_cases(pathlib.Path(sys.argv[1]))
    count = {outcome: 0 for outcome in (PASSED, FAILED, SKIPPED)}
    for case in cases:
        count[case.outcome] += 1
    show_failed([case for case in cases if case.outcome == FAILED])
    print(", ".join(f"{number} {outcome}" for outcome, number in count.items()))
    # A run that tested nothing has shown nothing.
    return 0 if count[FAILED] == 0 and count[PASSED] > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
