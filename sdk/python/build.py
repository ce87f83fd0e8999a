#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes a component of a guest in Python, with componentize-py.

The world of a guest that is written with this SDK follows from its source: which of its functions
have `@weir.handler` or `@weir.main`, and which names of `weir` it uses. So a guest imports what it
uses, and nobody writes WIT for it. The source is read, not run. A guest that is written against
interfaces of its own choice names its world.
"""

import argparse
import ast
import os
import pathlib
import subprocess
import sys
import tempfile

SDK = pathlib.Path(__file__).resolve().parent
WIT_FOLDERS = (SDK.parent / "wit", SDK.parents[1] / "wit")
WIT_PACKAGE = "weir-guest-of-python"  # no name that a module has

# The interfaces behind the names of the package weir, and the names under which weir/_host.py wants
# their bindings.
KEYVALUE = {
    "wasi:keyvalue/store@0.2.0-draft2": "keyvalue_store",
    "wasi:keyvalue/atomics@0.2.0-draft2": "keyvalue_atomics",
    "wasi:keyvalue/batch@0.2.0-draft2": "keyvalue_batch",
}
CONFIG = {"wasi:config/store@0.2.0-rc.1": "config_store"}
LOGGING = {"wasi:logging/logging@0.1.0-draft": "logging"}
MESSAGING = {"wasi:messaging/producer@0.2.0-draft": "messaging_producer"}
HTTP = {"weir:http/client@0.1.0": "http_client"}
SQL = {"weir:sql/sql@0.1.0": "weir_sql"}
RESOURCES = {"weir:reactive/resources@0.1.0": "weir_resources"}
EVENTS = {"weir:reactive/events@0.1.0": "weir_events"}
INTERFACES = {
    "store": KEYVALUE,
    "Store": KEYVALUE,
    "config": CONFIG,
    "log": LOGGING,
    "producer": MESSAGING,
    "Producer": MESSAGING,
    "request": HTTP,
    "database": SQL,
    "Database": SQL,
    "open": RESOURCES,
    "watch": RESOURCES,
    "Events": EVENTS,
}
# Those that come with others.
TYPES = {
    "weir:reactive/types@0.1.0": "weir_types",
    "wasi:messaging/types@0.2.0-draft": "messaging_types",
}


class BuildError(Exception):
    pass


class Uses(ast.NodeVisitor):
    """What a module takes from the package weir, and which of its own functions it decorates."""

    def __init__(self):
        self.modules = set()  # local names of the package
        self.names = {}  # local names of what is in it
        self.used = set()
        self.imported = set()  # other modules, which may use it too
        self.handlers = []  # names; None is the default handler
        self.mains = 0

    def visit_Import(self, node):
        for alias in node.names:
            package, _, rest = alias.name.partition(".")
            if package == "weir":
                self.modules.add(alias.asname or "weir")
                self.used.update(rest.split(".")[:1])
            else:
                self.imported.add(alias.name)

    def visit_ImportFrom(self, node):
        package, _, rest = (node.module or "").partition(".")
        if package != "weir" or node.level > 0:
            self.imported.update([node.module or "", *(
                f"{node.module}.{alias.name}" if node.module else alias.name
                for alias in node.names)])  # fmt: skip
            return
        for alias in node.names:
            if alias.name == "*":
                raise BuildError("from weir import *: say which names are wanted")
            name = rest.split(".")[0] or alias.name
            self.used.add(name)
            self.names[alias.asname or alias.name] = name

    def visit_Attribute(self, node):
        name = self.name_of(node)
        if name:
            self.used.add(name)
        self.generic_visit(node)

    def name_of(self, node):
        """The name in weir that an expression stands for, or None."""
        if isinstance(node, ast.Name):
            return self.names.get(node.id)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            return node.attr if node.value.id in self.modules else None
        return None

    def visit_FunctionDef(self, node):
        for decorator in node.decorator_list:
            call = decorator if isinstance(decorator, ast.Call) else None
            name = self.name_of(call.func if call else decorator)
            if name == "handler":
                self.handlers.append(self.literal(call) if call else None)
            elif name == "main":
                self.mains += 1
        self.generic_visit(node)

    @staticmethod
    def literal(call):
        if len(call.args) != 1 or not isinstance(call.args[0], ast.Constant):
            raise BuildError(f"line {call.lineno}: a handler's name is a text that is written there")
        return call.args[0].value


def read(path):
    uses = Uses()
    try:
        uses.visit(ast.parse(path.read_bytes(), str(path)))
    except SyntaxError as error:
        raise BuildError(f"{path}: {error}") from None
    return uses


def all_used(path, first):
    """The names of weir that are used by a module, or by those of its folder that it imports."""
    used, todo, seen = set(first.used), list(first.imported), set()
    while todo:
        module = todo.pop()
        stem = path.parent.joinpath(*module.split("."))
        for file in (stem.with_suffix(".py"), stem / "__init__.py"):
            if module and file not in seen and file.is_file():
                seen.add(file)
                uses = read(file)
                used |= uses.used
                todo += uses.imported
    return used


def world_of(path):
    """The WIT of a guest's world."""
    uses = read(path)
    if not uses.handlers and not uses.mains:
        raise BuildError(
            f"{path} exports nothing: a handler is a function of it with @weir.handler before it")
    if uses.mains > 1 or len(set(uses.handlers)) < len(uses.handlers):
        raise BuildError(f"{path} has two mains, or two handlers of one name")
    interfaces = {}
    for name in all_used(path, uses):
        interfaces |= INTERFACES.get(name, {})
    items = [f"import {interface};" for interface in sorted(interfaces)]
    for name in uses.handlers:
        items.append(
            "export weir:reactive/event-handler-or-reject@0.1.0;" if name is None else
            f"export {name}: func(ev: event) -> result<option<event>, failure>;")
    if uses.mains:
        items.append("export run: func() -> result<_, string>;")
    lines = "\n  ".join(items)
    return (f"package weir:{WIT_PACKAGE};\nworld {WIT_PACKAGE} {{\n"
            f"  use weir:reactive/types@0.1.0.{{event, failure}};\n  {lines}\n}}\n")


def wit_folder(told):
    folders = [told] if told else list(WIT_FOLDERS)
    for folder in folders:
        if (folder / "reactive.wit").is_file():
            return folder
    raise BuildError("weir's folder wit, with reactive.wit, is not at " +
                     " or ".join(map(str, folders)))


def names_of_bindings():
    """componentize-py's options for the names that weir/_host.py wants."""
    names = set(TYPES.items()).union(*(each.items() for each in INTERFACES.values()))
    return [option for interface, name in sorted(names)
            for option in ("--import-interface-name", f"{interface}={name}")]  # fmt: skip


def componentize(source, out, wits, world, options=()):
    options = [*options, *(option for each in wits for option in ("--wit-path", str(each)))]
    # As a module of this Python: the command beside it may be one of a folder that was renamed.
    done = subprocess.run(
        [sys.executable, "-c", "import componentize_py; componentize_py.script()", "--quiet",
         *options, "--world", world, "componentize", "--python-path", str(source.parent),
         "--python-path", str(SDK), "--output", str(out), source.stem],
        # What lies in a virtual environment is not the guest's.
        env={name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"},
        check=False)  # fmt: skip
    if done.returncode != 0:
        raise BuildError("componentize-py has not made a component")


def build(arguments):
    source = arguments.source.resolve()
    out = arguments.output or source.with_suffix(".wasm")
    if not source.stem.isidentifier() or source.suffix != ".py" or not source.is_file():
        raise BuildError(f"{source} is no file with a name that a module can have, such as guest.py")
    if arguments.world:
        componentize(source, out, [arguments.wit or wit_folder(None)], arguments.world)
        return
    with tempfile.TemporaryDirectory(prefix="weir-build-") as work:
        (pathlib.Path(work) / "guest.wit").write_text(world_of(source), encoding="utf-8")
        componentize(source, out, [wit_folder(arguments.wit), work],
                     f"weir:{WIT_PACKAGE}/{WIT_PACKAGE}", names_of_bindings())


def main():
    parser = argparse.ArgumentParser(description="Makes a component of a guest in Python.")
    parser.add_argument("source", type=pathlib.Path, help="the guest's main module")
    parser.add_argument("-o", "--output", type=pathlib.Path,
                        help="the component; the source's name with .wasm, unless told otherwise")
    parser.add_argument("--wit", type=pathlib.Path, metavar="FOLDER",
                        help="weir's folder wit; beside this folder or two up, unless told otherwise")
    parser.add_argument("--world", metavar="NAME",
                        help="of a guest that exports what a world of FOLDER says, and not handlers "
                             "of this SDK")
    try:
        build(parser.parse_args())
    except (BuildError, OSError) as error:
        sys.exit(f"build: {error}")


if __name__ == "__main__":
    main()
