#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes files of the tree into a C source, so that weir needs no data folder.

Each file below the given folders of the tree becomes a string of C and a row of
NAME_files (src/base/embedded.h). What tools leave beside sources is left out, and what tests an SDK. The
depfile names the folders too, so that ninja notices a file that comes or goes.
"""

import argparse
import pathlib

LEFT_OUT_OF = {"sdk": {"test", "tests"}}
LEFT_OUT = {"target", "node_modules", "__pycache__", "build", "dist", ".venv", ".weir"}
# A project is small, and so is what weir carries of it.
FILE_BYTES_MAX = 256 * 1024
LINE_BYTES = 64


def files_below(folder, left_out):
    for path in sorted(folder.iterdir()):
        if path.name in left_out or path.suffix == ".pyc":
            continue
        if path.is_dir():
            yield path
            yield from files_below(path, left_out)
        else:
            yield path


def literal(data):
    """The bytes as adjacent strings of C, one a line of the text or a piece of a long one."""
    pieces = []
    for line in data.splitlines(keepends=True):
        pieces += [line[at : at + LINE_BYTES] for at in range(0, len(line), LINE_BYTES)]
    return "\n".join(f'     "{"".join(escape(byte) for byte in piece)}"' for piece in pieces) or '     ""'


def escape(byte):
    character = chr(byte)
    if character in '"\\?':  # a ? so that no trigraph comes about
        return "\\" + character
    return character if 0x20 <= byte < 0x7F else f"\\{byte:03o}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", required=True, type=pathlib.Path, help="the top of the tree")
    parser.add_argument("--depfile", required=True)
    parser.add_argument("--name", required=True, help="of the table: NAME_files, NAME_count")
    parser.add_argument("out")
    parser.add_argument("folders", nargs="+", help="below the root")
    args = parser.parse_args()

    rows, inputs = [], []
    for name in args.folders:
        folder = args.root / name
        inputs.append(folder)
        for path in files_below(folder, LEFT_OUT | LEFT_OUT_OF.get(name, set())):
            inputs.append(path)
            if path.is_dir():
                continue
            data = path.read_bytes()
            if len(data) > FILE_BYTES_MAX:
                raise SystemExit(f"{path}: more than {FILE_BYTES_MAX} bytes are not put into weir")
            rows.append(
                f'    {{"{path.relative_to(args.root).as_posix()}", {len(data)},\n{literal(data)}}},\n'
            )
    with open(args.out, "w", encoding="ascii") as file:
        file.write('#include "base/embedded.h"\n\n')
        # gcc and clang take strings of any length.
        file.write('#pragma GCC diagnostic ignored "-Woverlength-strings"\n')
        file.write(f"const struct weir_embedded_file {args.name}_files[] = {{\n")
        file.writelines(rows)
        file.write(f"}};\nconst size_t {args.name}_count = {len(rows)};\n")
    with open(args.depfile, "w", encoding="utf-8") as file:
        file.write(f"{args.out}: {' '.join(str(path) for path in inputs)}\n")


if __name__ == "__main__":
    main()
