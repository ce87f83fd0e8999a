# SPDX-License-Identifier: Apache-2.0
"""The directory as others use it: every way to write, and the directory itself coming and going."""

import os
import signal
import time

import pytest

from harness import handling

# The ways of the world to write a key, each a script of the shell. `count` is how many values the
# watcher has to tell in the end; the last one is "last".
WRITERS = {
    "redirect": "printf last > key",
    "append": "printf la > key; printf st >> key",
    "rename": "printf last > .key.tmp; mv .key.tmp key",
    "rename-from-elsewhere": "printf last > ../elsewhere; mv ../elsewhere key",
    "rename-over": "printf first > key; printf last > .key.tmp; mv .key.tmp key",
    "copy": "printf last > ../elsewhere; cp ../elsewhere key",
    "link": "printf last > ../elsewhere; ln ../elsewhere key",
    "dd": "printf last | dd of=key bs=1 2>/dev/null",
    "dd-in-place": "printf l0st > key; printf a | dd of=key bs=1 seek=1 conv=notrunc 2>/dev/null",
    "truncate": "printf lastly > key; truncate -s 4 key",
    "tee": "printf last | tee key > /dev/null",
    "sed": "printf lost > key; sed -i s/o/a/ key",
    "touch-and-write": "touch key; printf last > key",
    "remove-and-write": "printf first > key; rm key; printf last > key",
    "many": "for i in 1 2 3 4 5 6 7 8 9; do echo $i > key; done; printf last > key",
}


def texts(weir):
    return [event["text"] for event in weir.events() if "text" in event]


def types(weir):
    return [event["type"].rsplit(".", 1)[1] for event in weir.events()]


def subjects(weir):
    return [event["subject"] for event in weir.events()]


def listening(site):
    # One worker: what the guest prints of two keys does not mix.
    weir = site.run(handling("print", host={"workers": 1}))
    weir.wait_listening()
    return weir


@pytest.mark.parametrize("script", WRITERS.values(), ids=WRITERS)
def test_every_way_to_write_is_seen(site, script):
    weir = listening(site)
    site.shell(script)
    weir.wait_for(lambda: texts(weir)[-1:] == ["last"], "the last value")
    site.put("end", "end")
    weir.wait_for(lambda: texts(weir)[-1:] == ["end"], "the end")
    # Programs that work beside the file (sed does) may be seen at it, but not the hidden files.
    assert not any(subject.startswith((".", "%2E")) for subject in subjects(weir))
    assert {"key", "end"} <= set(subjects(weir))


def test_a_writer_who_takes_his_time_is_told_when_he_closes(site):
    weir = listening(site)
    with open(site.store / "key", "w", encoding="ascii") as file:
        for piece in "half", " and", " half":
            file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        # Others are told meanwhile, so the watcher has seen what is going on.
        site.put("other", "other")
        weir.wait_for(lambda: texts(weir) == ["other"], "the other key")
        site.put("other", "another")
        weir.wait_for(lambda: texts(weir) == ["other", "another"], "the other key")
    weir.wait_for(lambda: texts(weir) == ["other", "another", "half and half"], "the whole value")


def test_hidden_files_are_no_keys(site):
    weir = listening(site)
    site.shell("echo no > .hidden; echo no > .key.swp; mkdir .git; echo no > .git/config")
    site.put("key", "yes")
    weir.wait_for(lambda: texts(weir) == ["yes"], "the key")
    assert subjects(weir) == ["key"]


def test_what_is_no_regular_file_is_no_key(site):
    (site.root / "outside").write_text("secret", encoding="ascii")
    weir = listening(site)
    site.shell("mkfifo pipe; ln -s ../outside link; ln -s .. up; mkdir folder")
    site.put("key", "yes")
    weir.wait_for(lambda: texts(weir) == ["yes"], "the key")
    assert subjects(weir) == ["key"]
    assert b"secret" not in weir.stdout


def test_sub_directories_come_and_go(site):
    weir = listening(site)
    site.shell("mkdir -p a/b/c; printf one > a/b/c/key")
    weir.wait_for(lambda: subjects(weir) == ["a/b/c/key"], "a key in a new sub-directory")
    # A whole tree comes in by one rename, and goes by one.
    site.shell("mkdir -p ../tree/x; printf two > ../tree/x/key; printf three > ../tree/key; "
               "mv ../tree tree")
    weir.wait_for(lambda: sorted(subjects(weir)[1:]) == ["tree/key", "tree/x/key"], "the tree")
    site.shell("mv tree ../gone")
    weir.wait_for(lambda: types(weir)[3:] == ["deleted", "deleted"], "the deletions")
    site.shell("mv a/b a/d")
    weir.wait_for(lambda: len(types(weir)) == 7, "the move inside")
    assert sorted(subjects(weir)[5:]) == ["a/b/c/key", "a/d/c/key"]


@pytest.mark.tsan
def test_the_directory_is_removed_and_made_again(site):
    site.put("kept", "same")
    site.put("gone", "x")
    weir = listening(site)
    site.shell("cp -p store/kept kept && rm -r store", cwd=site.root)
    weir.wait_for(lambda: types(weir).count("deleted") == 2, "the deletions")
    weir.wait_log("the directory is gone: its keys are told as deleted, until it is back")
    site.shell("mkdir store && cp -p kept store/kept", cwd=site.root)
    weir.wait_for(lambda: texts(weir) == ["same"], "what is there again")
    site.put("new", "new")
    weir.wait_for(lambda: texts(weir) == ["same", "new"], "a key of the new directory")
    weir.wait_log("the directory is back: comparing all keys")
    assert weir.stop() == 0


def test_the_directory_is_replaced_by_another(site):
    site.put("both", "old")
    site.put("first", "x")
    weir = listening(site)
    site.shell("mkdir other; printf new > other/both; printf y > other/second; "
               "mv store old; mv other store", cwd=site.root)
    # Between the two renames there is no directory: "both" may be told as deleted, and then as set.
    want = {"both": "set", "first": "deleted", "second": "set"}
    weir.wait_for(lambda: dict(zip(subjects(weir), types(weir))) == want, "the differences")
    assert "new" in texts(weir)
    site.put("third", "z")
    weir.wait_for(lambda: texts(weir)[-1:] == ["z"], "a key of the other directory")


def test_a_flood_that_overflows_the_kernels_queue_loses_no_last_value(site):
    """More changes than inotify keeps, while weir stands still: it looks for itself afterwards."""
    with open("/proc/sys/fs/inotify/max_queued_events", encoding="ascii") as file:
        queue_length = int(file.read())
    if queue_length > 65536:
        pytest.skip(f"this system's inotify queues {queue_length} events")
    weir = listening(site)
    site.put("b-key", "before")
    weir.wait_for(lambda: texts(weir) == ["before"], "the first key")
    weir.send(signal.SIGSTOP)  # nobody reads the queue
    names = ["a-key", "b-key"]
    for number in range(queue_length // 4 + 500):  # each makes four records
        path = site.store / names[number % 2]
        path.write_text(str(number), encoding="ascii")
        os.rename(path, site.store / f"c-{number % 7}")
    site.put("a-key", "last a")
    (site.store / "b-key").unlink(missing_ok=True)
    site.put("d-key", "last d")
    weir.send(signal.SIGCONT)
    weir.wait_for(lambda: {"last a", "last d"} <= set(texts(weir)), "the last values")
    weir.wait_for(lambda: ("b-key", "deleted") in zip(subjects(weir), types(weir)), "the deletion")
    weir.wait_log("inotify's queue was full and lost records: comparing all keys")
    assert weir.stop() == 0


@pytest.mark.tsan
def test_writers_side_by_side(site):
    """Eight processes write their own keys and a common one; every last value is told."""
    program = ("import os, sys\n"
               "name = sys.argv[1]\n"
               "for number in range(100):\n"
               "    for key in name, 'common':\n"
               "        with open(f'.{name}.new', 'w') as file:\n"
               "            file.write(f'stderr {key} is {name} {number}')\n"
               "        os.rename(f'.{name}.new', key)\n")
    weir = site.run(handling("obey", host={"workers": 4}))
    weir.wait_listening()
    writers = [site.python(program, f"writer-{number}") for number in range(8)]
    assert [writer.wait() for writer in writers] == [0] * 8
    for number in range(8):
        weir.wait_printed("obey", f"writer-{number} is writer-{number} 99")
    last = (site.store / "common").read_text(encoding="ascii").removeprefix("stderr ")
    weir.wait_for(lambda: [line for line in weir.printed("obey")
                           if line.startswith("common is ")][-1] == last,
                  "the last value of the common key")
    assert weir.stop() == 0


def test_the_same_value_again_is_a_change(site):
    """A writer who writes the same bytes has changed the key; nothing is told for mere reading."""
    weir = listening(site)
    for count in range(1, 4):
        site.shell("printf same > key")
        weir.wait_for(lambda count=count: len(texts(weir)) == count, f"change {count}")
        site.shell("cat key > /dev/null; ls -l > /dev/null")
    site.put("end", "end")
    weir.wait_for(lambda: texts(weir)[-1:] == ["end"], "the end")
    assert texts(weir) == ["same", "same", "same", "end"]


def test_a_change_is_told_soon(site):
    """Not by looking now and then: well below a second from the write to the handler."""
    weir = listening(site)
    fastest_s = 1e9
    for number in range(5):
        begin_s = time.monotonic()
        site.put("key", str(number))
        weir.wait_printed("print", f"text={number}")
        fastest_s = min(fastest_s, time.monotonic() - begin_s)
    assert fastest_s < 0.5
