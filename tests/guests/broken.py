#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes modules that no compiler and no assembler would make: cut off, noise, far too much.

    broken.py KIND OUTPUT [GOOD_MODULE]

Each kind is a function below whose name begins with make_; its first line says what it proves. What
is cut from a good module, is cut from the third argument. The same command makes the same bytes
each time.
"""
import random
import sys

HANDLER = "weir:reactive/event-handler@0.1.0#handle-event"
HEADER = b"\0asm\1\0\0\0"

I32 = 0x7F
TYPE, FUNCTION, MEMORY, EXPORT, CODE = 1, 3, 5, 7, 10


def leb(number):
    out = bytearray()
    while True:
        byte = number & 0x7F
        number >>= 7
        if number == 0:
            out.append(byte)
            return bytes(out)
        out.append(byte | 0x80)


def name(text):
    data = text.encode()
    return leb(len(data)) + data


def vector(items):
    return leb(len(items)) + b"".join(items)


def section(number, content):
    return bytes([number]) + leb(len(content)) + content


def function_type(params, results):
    return b"\x60" + vector([bytes([p]) for p in params]) + vector([bytes([r]) for r in results])


def body(code, locals_=()):
    content = vector([leb(count) + bytes([kind]) for count, kind in locals_]) + code + b"\x0b"
    return leb(len(content)) + content


def i32_const(number):
    """A constant below 64, in one byte."""
    return b"\x41" + bytes([number])


def module(handler, functions=(), exports=()):
    """A good module: function 0 is cabi_realloc, 1 the handler, then others of its type."""
    handlers = [handler, *functions]
    return (
        HEADER
        + section(TYPE, vector([function_type([I32] * 4, [I32]), function_type([I32], [I32])]))
        + section(FUNCTION, vector([leb(0)] + [leb(1)] * len(handlers)))
        + section(MEMORY, vector([b"\0\1"]))
        + section(
            EXPORT,
            vector(
                [
                    name("memory") + b"\2\0",
                    name("cabi_realloc") + b"\0\0",
                    name(HANDLER) + b"\0\1",
                    *exports,
                ]
            ),
        )
        + section(CODE, vector([body(b"\x41\x80\x08"), *handlers]))  # cabi_realloc returns 1024
    )


ANSWER = body(i32_const(0))


def make_empty(good):
    """No byte at all."""
    return b""


def make_text(good):
    """A text, as when a path is mistaken."""
    return b"resources:\n  my-container: {kind: file, path: ./data}\n"


def make_noise(good):
    """64 KiB of chance."""
    return random.Random(1).randbytes(1 << 16)


def make_noise_after_header(good):
    """A module's header, and chance behind it."""
    return HEADER + random.Random(2).randbytes(1 << 16)


def make_version(good):
    """A module of a version of the format that there is not."""
    return b"\0asm\xff\0\0\0" + good[8:]


def make_component(good):
    """An empty component: the message says what it lacks."""
    return b"\0asm\x0d\0\1\0"


def make_truncated(good):
    """A good module that ends in the middle."""
    return good[: len(good) // 2]


def make_truncated_by_1(good):
    """A good module without its last byte."""
    return good[:-1]


def make_flipped(good):
    """A good module with one bit in 1000 turned over."""
    out = bytearray(good)
    chance = random.Random(3)
    for _ in range(len(out) // 125):
        out[chance.randrange(8, len(out))] ^= 1 << chance.randrange(8)
    return bytes(out)


def make_section_length(good):
    """A section that claims to be 4 GiB long."""
    return HEADER + bytes([TYPE]) + b"\xff\xff\xff\xff\x0f"


def make_function_count(good):
    """A function section that claims four thousand million functions."""
    return HEADER + section(FUNCTION, b"\xff\xff\xff\xff\x0f")


def make_many_functions(good):
    """20,000 functions: seconds to compile, not long to call."""
    return module(ANSWER, [ANSWER] * 20_000)


def make_many_handlers(good):
    """1,000 exports with a handler's signature: more than a guest may have."""
    return module(
        ANSWER,
        [ANSWER] * 1_000,
        [name(f"on-{i}") + b"\0" + leb(2 + i) for i in range(1_000)],
    )


def make_many_exports(good):
    """20,000 names for one function that is no handler."""
    return module(ANSWER, (), [name(f"realloc-{i}") + b"\0\0" for i in range(20_000)])


def make_long_name(good):
    """A handler with a name of 90,000 bytes, which has to fit no message."""
    return module(ANSWER, [ANSWER], [name("n" * 90_000) + b"\0\2"])


def make_odd_name(good):
    """A handler whose name holds a line's end and a terminal's escape."""
    return module(ANSWER, [ANSWER], [name("on\n\x1b[31m-red\0x") + b"\0\2"])


def make_deep_blocks(good):
    """50,000 blocks inside each other."""
    depth = 50_000
    return module(body(b"\x02\x40" * depth + b"\x0b" * depth + i32_const(0)))


def make_many_locals(good):
    """A function with 50,000 variables, as many as the engine takes."""
    touch = b"".join(b"\x20" + leb(i) + b"\x1a" for i in range(1, 1000))
    return module(body(touch + i32_const(0), [(50_000 - 1, 0x7E)]))


def make_custom_sections(good):
    """10,000 sections that mean nothing."""
    return good + section(0, name("filler") + b"x" * 16) * 10_000


def make_long_body(good):
    """One function of 50 MB, all of it instructions that do nothing."""
    return module(body(b"\x01" * 50_000_000 + i32_const(0)))


def make_large(good):
    """A good module of 65 MiB: over the default bound, and not even read."""
    return good + section(0, name("filler") + bytes(65 << 20))


def main():
    kinds = {
        key.removeprefix("make_").replace("_", "-"): value
        for key, value in globals().items()
        if key.startswith("make_")
    }
    if len(sys.argv) not in (3, 4) or sys.argv[1] not in kinds:
        sys.exit("usage: broken.py KIND OUTPUT [GOOD_MODULE]; KIND is one of " + " ".join(kinds))
    good = module(ANSWER)
    if len(sys.argv) == 4:
        with open(sys.argv[3], "rb") as file:
            good = file.read()
    with open(sys.argv[2], "wb") as file:
        file.write(kinds[sys.argv[1]](good))


if __name__ == "__main__":
    main()
