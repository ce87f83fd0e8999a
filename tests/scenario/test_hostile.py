# SPDX-License-Identifier: Apache-2.0
"""Guests that mean harm (tests/guests): each gets its answer, and nobody else notices."""

import re
import subprocess
import sys

import pytest

from harness import DEADLINE_S, SOURCE, configuration, handling

GIVEN_UP = "the handler failed and the event is given up"
ONCE = {"attempts": 1}

# Guests that are refused when they are loaded, and the reason that the user is told. None: means
# nothing, and does no harm.
REFUSED = {
    "broken-component": r"neither a main \(run\) nor a handler",
    "broken-custom-sections": None,
    "broken-deep-blocks": None,
    "broken-empty": r".",
    "broken-flipped": r".",
    "broken-function-count": r".",
    "broken-long-name": None,
    "broken-many-exports": r"256",
    "broken-many-functions": None,
    "broken-many-handlers": r"256",
    "broken-noise": r".",
    "broken-noise-after-header": r".",
    "broken-odd-name": None,
    "broken-section-length": r".",
    "broken-text": r".",
    "broken-truncated": r".",
    "broken-truncated-by-1": r".",
    "broken-version": r".",
    "handler-type": r"neither a main .* nor a handler|handle-event",
    "huge-memory": r"bounds\.memory",
    "huge-table": r".",
    "import-memory": r"imports|memory",
    "import-type": r"\bopen\b",
    "import-unknown": r"imports \"[^\"]+\" from \"[^\"]+\"",
    "import-unknown-weir": r"imports \"[^\"]+\" from \"weir:reactive",
    "import-version": r"imports \"[^\"]+\" from \"weir:reactive[^\"]+@",
    "many-memories": r".",
    "memory-is-function": r"no memory",
    "memory64": r".",
    "no-exports": r"exports",
    "no-memory": r"no memory",
    "no-realloc": r"cabi_realloc",
    "post-type": r"cabi_post_.*must be \(i32\) -> \(\)",
    "realloc-type": r"cabi_realloc.*must be \(i32, i32, i32, i32\) -> i32",
    "run-type": r"run.*must be \(\) -> i32",
    "shared-memory": r".",
}

# Guests whose every call ends badly, and what the log says of it. None: harmless to the host, and
# the call is an ordinary one.
FAILING = {
    "broken-many-locals": None,
    "data-outside": r"starting an instance: .*memory",
    "fill-loop": r"bounds\.time",
    "initialize-loop": r"starting an instance: .*bounds\.time",
    "initialize-trap": r"starting an instance: .*unreachable",
    "post-loop": r"cabi_post_.*bounds\.time",
    "post-trap": r"cabi_post_.*unreachable",
    "realloc-across-end": r"cabi_realloc answered 0x[0-9a-f]+ .*outside of the memory",
    "realloc-good": None,
    "realloc-grow": None,
    "realloc-loop": r"cabi_realloc: .*bounds\.time",
    "realloc-low": None,
    "realloc-null": None,
    "realloc-outside": r"cabi_realloc answered 0x[0-9a-f]+ .*outside of the memory",
    "realloc-same": None,
    "realloc-trap": r"cabi_realloc: .*unreachable",
    "realloc-unaligned": r"cabi_realloc answered 0x[0-9a-f]+ .*aligned",
    "reentrant": r".",
    "start-calls-host": r"starting an instance: .*before the module was ready",
    "start-loop": r"starting an instance: .*bounds\.time",
    "start-trap": r"starting an instance: .*unreachable",
}

# What `wild` does wrong with its result, by the event's body, and what the log says of it.
FIELDS = ("specversion", "ty", "source", "id", "data", "datacontenttype", "dataschema", "subject",
          "time", "name", "value", "err")
TEXT_OFFSETS = (8, 16, 24, 32, 48, 60, 72, 84, 96)
OUTSIDE = r"outside of the memory|bounds\.event"
WILD = {
    "": None,
    "edge=0": None,
    # The result itself.
    "return=4294967280": OUTSIDE,
    "return=4294967292": OUTSIDE,
    "end=8": OUTSIDE,
    "end=0": OUTSIDE,
    "return=1": r"aligned",
    "edge=2": r"aligned",
    # Discriminants.
    "+0=2": r"discriminant.* is 2",
    "+0=255": r"discriminant.* is 255",
    "+4=7": r"discriminant.* is 7",
    "+40=9": r"discriminant.* is 9",
    "+44=2": r"discriminant.* is 2",
    "+56=3": r"discriminant.* is 3",
    "+68=3": r"discriminant.* is 3",
    "+80=3": r"discriminant.* is 3",
    "+92=3": r"discriminant.* is 3",
    # The list of extensions.
    "+104=4294967288 +108=16": OUTSIDE,
    "+108=4294967295": r"items|" + OUTSIDE,
    "+108=1000000": r"items|" + OUTSIDE,
    "+104=3": r"aligned",
    # Not a CloudEvent.
    "id=": r"id is empty",
    "source=": r"source is empty",
    "ty=": r"type is empty",
    "specversion=302e33": r"specversion is \"0\.3\"",
    "specversion=": r"specversion",
    "time=796573746572646179": r"time",
    "name=": r"extension",
    "name=4e616d65": r"extension",
    "name=6964": r"extension",
    "name=612d62": r"extension",
}
WILD |= {f"+{offset}=4294967295": OUTSIDE for offset in TEXT_OFFSETS}
WILD |= {f"+{offset + 4}=4294967295": OUTSIDE for offset in TEXT_OFFSETS}
WILD |= {f"+{offset}=4294967290 +{offset + 4}=12": OUTSIDE for offset in TEXT_OFFSETS}
# A payload of text is as good as a field: it has to be UTF-8.
WILD |= {f"{field}={bad}": r"UTF-8" for field in FIELDS for bad in ("ff", "c080", "eda080")}


def with_neighbour(guest, **options):
    """The guest beside a harmless one that hears of the same keys, under short bounds."""
    bounds = {"time": "500ms", "event": "1MiB"}
    return configuration(
        {guest: {"bounds": bounds, "retry": ONCE} | options, "print": {}},
        [{"key": "*", "guest": guest}, {"key": "*", "guest": "print"}],
        host={"workers": 2})


def make_broken(site, kind):
    """A module of tests/guests/broken.py that is too large to be kept."""
    path = site.root / f"{kind}.wasm"
    subprocess.run([sys.executable, str(SOURCE / "tests/guests/broken.py"), kind, str(path)],
                   check=True, timeout=DEADLINE_S)
    return path


def assert_told(weir, name, reason):
    """Refused with that reason, by name, and without a control character in it."""
    assert weir.wait_exit() in (1, 2)
    told = weir.stderr.decode("utf-8").replace('\\"', '"')
    assert name in told
    assert re.search(reason, told), told
    assert not set(weir.stderr) & (set(range(32)) - {10})


@pytest.mark.parametrize("guest", REFUSED)
def test_a_module_that_is_none(site, guest):
    """What cannot be run is refused when it is loaded; what is only odd runs."""
    weir = site.run(with_neighbour(guest))
    if REFUSED[guest]:
        assert_told(weir, guest, REFUSED[guest])
        return
    weir.wait_listening()
    site.put("key", "value")
    weir.wait_printed("print", "text=value")
    assert weir.stop() == 0
    assert weir.logs("listening is over", handled=2, given_up=0)


def test_a_large_function_is_compiled_or_refused_and_does_not_hang(site):
    path = make_broken(site, "long-body")
    tree = handling("print")
    tree["guests"]["print"]["wasm"] = str(path)
    weir = site.run(tree)
    weir.wait_for(lambda: weir.logs("listening") or weir.has_ended(), "an answer",
                  even_if_ended=True)


def test_a_module_over_the_bound_is_not_even_read(site):
    path = make_broken(site, "large")
    tree = handling("print")
    tree["guests"]["print"]["wasm"] = str(path)
    weir = site.run(tree)
    assert_told(weir, "print", r"bounds\.module")


@pytest.mark.parametrize("guest", FAILING)
def test_a_guest_whose_calls_end_badly(site, guest):
    weir = site.run(with_neighbour(guest))
    weir.wait_listening()
    for number in range(2):  # the second call finds nothing of the first
        site.put("key", f"value {number}")
        weir.wait_printed("print", f"text=value {number}")
        if FAILING[guest]:
            record = weir.wait_log(GIVEN_UP, count=number + 1)
            assert re.search(FAILING[guest], record["reason"]), record["reason"]
    assert weir.stop() == 0
    given_up = 2 if FAILING[guest] else 0
    assert weir.logs("listening is over", given_up=given_up)


@pytest.mark.parametrize("guest", ["start-loop", "start-trap", "initialize-loop",
                                   "initialize-trap", "start-calls-host"])
def test_a_main_whose_instance_cannot_be_made(site, guest):
    """The same where the guest's main is to run, if it has one; the neighbour goes on."""
    config = with_neighbour(guest, run=True)
    weir = site.run(config)
    weir.wait_for(lambda: weir.logs("main failed", guest=guest) or weir.has_ended(), "an answer",
                  even_if_ended=True)
    if weir.has_ended():
        assert re.search("main", weir.stderr.decode())
        return
    site.put("key", "value")
    weir.wait_printed("print", "text=value")
    assert weir.stop() == 1


@pytest.mark.parametrize("instance", ["fresh", "reuse"])
def test_wild_results(site, instance):
    """Every pointer, length, discriminant and text of a result is looked at."""
    weir = site.run(configuration(
        {"wild": {"retry": ONCE, "instance": instance,
                  "bounds": {"time": "1s", "event": "1MiB"}}, "print": {}},
        [{"key": "*", "guest": "wild"}, {"key": "good", "guest": "print"}], host={"workers": 2}))
    weir.wait_listening()
    for number, body in enumerate(WILD):
        site.put(f"{number}", body)
    failing = {str(number): body for number, body in enumerate(WILD) if WILD[body]}
    weir.wait_log(GIVEN_UP, count=len(failing))
    reasons = {record["event"].split("@")[0]: record["reason"] for record in weir.logs(GIVEN_UP)}
    wrong = [f"{body}: {reasons.get(number)!r} is not {WILD[body]!r}"
             for number, body in failing.items()
             if not re.search(WILD[body], reasons.get(number, ""))]
    assert not wrong, "\n".join(wrong)
    assert reasons.keys() == failing.keys()
    site.put("good", "")
    weir.wait_printed("print", "subject=good")
    assert weir.stop() == 0
    assert weir.logs("listening is over", given_up=len(failing))
