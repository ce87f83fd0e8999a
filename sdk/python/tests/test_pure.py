# SPDX-License-Identifier: Apache-2.0
"""What of the SDK needs no host: bodies, events that follow, errors, and what build.py reads."""

import datetime
import decimal
import importlib.util
import pathlib
import sys
import types

import pytest

SDK = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(SDK))

import weir  # noqa: E402
from weir import BodyError, Event, Reject, Retry, _host  # noqa: E402

spec = importlib.util.spec_from_file_location("weir_build", SDK / "build.py")
build = importlib.util.module_from_spec(spec)
spec.loader.exec_module(build)


def event(data=None):
    return Event(type="com.example.cause", source="/store", id="key@7", subject="key", data=data,
                 datacontenttype="text/plain", dataschema="https://example.com/schema",
                 time="2026-01-01T00:00:00Z", extensions={"attempt": "3"})


@pytest.mark.parametrize("data", ["grüße", "grüße".encode()])
def test_a_body_is_bytes_and_text_whatever_its_case(data):
    assert event(data).bytes() == "grüße".encode()
    assert event(data).text() == "grüße"


def test_no_body_and_no_text():
    assert event().bytes() == b""
    assert event().text() == ""
    with pytest.raises(BodyError, match="^the body is no UTF-8$"):
        event(b"\xff").text()


@pytest.mark.parametrize("data", ['{"a":[1]}', b'{"a":[1]}'])
def test_a_body_is_json(data):
    assert event(data).json() == {"a": [1]}


@pytest.mark.parametrize("data", [None, "pen", "NaN", b"\xff", "[" * 1_000_000])
def test_a_body_that_is_no_json(data):
    with pytest.raises(BodyError):
        event(data).json()


def test_an_event_follows_from_another():
    assert event("body").follow("com.example.effect") == Event(
        type="com.example.effect", source="/store", id="key@7/com.example.effect", subject="key")


def test_what_an_event_is_given():
    following = event().follow("t", json={"ä": [1, None]}, subject="other", extensions={"n": 1})
    assert following.data == '{"ä":[1,null]}'
    assert following.datacontenttype == "application/json"
    assert following.subject == "other"
    assert following.extensions == {"n": "1"}
    assert event().follow("t", json=None, datacontenttype="x/y").data == "null"
    assert event().follow("t", json=None, datacontenttype="x/y").datacontenttype == "x/y"
    assert event().follow("t", text="").data == ""
    assert event().follow("t", data=bytearray(b"\0\xff")).data == b"\0\xff"
    assert event().follow("t", subject=None).subject is None


@pytest.mark.parametrize("body, error", [
    ({"json": {1, 2}}, TypeError), ({"json": float("nan")}, ValueError),
    ({"json": "\ud800"}, ValueError), ({"text": "\ud800"}, ValueError),
    ({"text": "a", "data": b"b"}, TypeError)])
def test_what_no_event_is_given(body, error):
    with pytest.raises(error):
        event().follow("t", **body)


@pytest.mark.parametrize("text, attempt", [("3", 3), ("many", 1), ("-1", 1), ("0", 1), ("²", 1)])
def test_attempts_are_counted(text, attempt):
    assert Event("t", "/s", "i", extensions={"attempt": text}).attempt == attempt
    assert Event("t", "/s", "i").attempt == 1


def test_reasons_have_their_causes():
    try:
        try:
            {}["name"]
        except KeyError as error:
            raise Retry("reading the order") from error
    except Retry as error:
        assert weir.reason_of(error) == "reading the order: KeyError: 'name'"
    assert weir.reason_of(Reject("never")) == "never"
    assert weir.reason_of(ValueError()) == "ValueError"


def test_a_handler_stays_a_function_and_is_exported():
    names = {"weir": weir}
    exec("@weir.handler\ndef a(event): return event\n"
         "@weir.handler('on-order')\ndef b(event): return 7\n"
         "@weir.main\ndef c(): return None", names)
    assert names["a"](3) == 3 and names["b"](3) == 7
    assert callable(names["EventHandlerOrReject"]().handle_event_or_reject)
    assert callable(names["WitWorld"]().on_order) and callable(names["WitWorld"]().run)
    for name in "On-order", "on_order", "-order", "", 7:
        with pytest.raises(ValueError):
            weir.handler(name)


def test_what_needs_a_host_says_so():
    with pytest.raises(RuntimeError, match="keyvalue_store is not there"):
        weir.store("copy")


class Failure(Exception):
    def __init__(self, value):
        self.value = value


class FakeBase:
    """Bindings of weir:sql that answer with the parameters, as two columns."""

    def __init__(self):
        self.asked = []
        for case in "Null", "Boolean", "Integer", "Real", "Text", "Binary", "Decimal", "Json":
            setattr(self, f"Value_{case}", type(f"Value_{case}", (types.SimpleNamespace,), {
                "__init__": (lambda self, *value: self.__dict__.update(zip(["value"], value)))}))

    def query(self, name, statement, values):
        self.asked.append((name, statement))
        if statement == "fail":
            raise Failure(type("Error_NotFound", (), {"value": "there is no resource"})())
        return types.SimpleNamespace(columns=["a", "b"] if values else [], values=values)

    def execute(self, name, statement, values):
        self.query(name, statement, values)
        return len(values)


@pytest.fixture
def base(monkeypatch):
    fake = FakeBase()
    monkeypatch.setattr(_host, "sql", fake)
    monkeypatch.setattr(_host, "HostErr", Failure)
    return fake


def test_values_of_a_database_are_pythons(base):
    shop = weir.database("shop")
    day = datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc)
    given = [None, True, -7, 0.5, "grüße", b"\xff", bytearray(b"x"), decimal.Decimal("0.10"),
             {"a": [None]}, [1], day, day.date()]
    rows = shop.query("s", given)
    values = [value for row in rows for value in row.values()]
    assert [list(row) for row in rows] == [["a", "b"]] * 6
    assert values == [None, True, -7, 0.5, "grüße", b"\xff", b"x", decimal.Decimal("0.10"),
                      {"a": [None]}, [1], "2026-01-02T00:00:00+00:00", "2026-01-02"]
    assert values[1] is True and isinstance(values[7], decimal.Decimal)
    assert str(values[7]) == "0.10"
    assert shop.query("none") == []
    assert shop.execute("t", (each for each in range(3))) == 3
    assert base.asked == [("shop", "s"), ("shop", "none"), ("shop", "t")]


def test_what_is_no_value_of_a_database_is_an_error(base):
    shop = weir.database("shop")
    for parameter, error in (2**63, OverflowError), (-2**63 - 1, OverflowError), (object(), TypeError):
        with pytest.raises(error):
            shop.query("s", [parameter])
    assert base.asked == []
    with pytest.raises(weir.SqlError) as told:
        shop.query("fail")
    assert told.value.kind == "not-found"
    assert str(told.value) == "query shop: there is no resource"
    base.query = lambda *_: types.SimpleNamespace(columns=["a"], values=[base.Value_Json("{")])
    with pytest.raises(weir.SqlError) as told:
        shop.query("s")
    assert told.value.kind == "bad-value"


@pytest.fixture
def world(tmp_path):
    """Makes the world of a guest of these files; the first is the main module."""
    def make(text, **others):
        for name, other in others.items():
            (tmp_path / f"{name}.py").write_text(other, encoding="utf-8")
        main = tmp_path / "guest.py"
        main.write_text(text, encoding="utf-8")
        return build.world_of(main)
    return make


def test_a_world_has_what_the_source_uses(world):
    wit = world("import weir as w\nfrom weir import handler as h, log\n"
                "@h\ndef a(event): w.store('x')\n"
                "@w.handler('on-order')\ndef b(event): log.info(w.database('x'))\n")
    assert "export weir:reactive/event-handler-or-reject@0.1.0;" in wit
    assert "export on-order: func(ev: event) -> result<option<event>, failure>;" in wit
    assert "wasi:keyvalue/store" in wit and "wasi:logging/logging" in wit
    assert "import weir:sql/sql@0.1.0;" in wit
    for word in "wasi:config", "weir:http", "wasi:messaging", "weir:reactive/events", "run":
        assert word not in wit


def test_a_world_has_what_the_sources_modules_use(world):
    wit = world("import weir, helper\n@weir.main\ndef run(): helper.do()\n",
                helper="from other import do\n", other="import weir.config\nfrom weir import open\n",
                stray="from weir import request\n")
    assert "export run: func() -> result<_, string>;" in wit
    assert "wasi:config/store" in wit and "weir:reactive/resources" in wit
    assert "weir:http" not in wit and "weir:sql" not in wit and "handler" not in wit


@pytest.mark.parametrize("text, told", [
    ("import weir\ndef a(event): pass\n", "exports nothing"),
    ("import weir\n@weir.main\ndef a(): pass\n@weir.main\ndef b(): pass\n", "two mains"),
    ("import weir\n@weir.handler\ndef a(e): pass\n@weir.handler\ndef b(e): pass\n", "of one name"),
    ("import weir\nN = 'x'\n@weir.handler(N)\ndef a(e): pass\n", "written there"),
    ("from weir import *\n", "say which"),
    ("def a(:\n", "invalid syntax")])
def test_a_source_that_makes_no_guest(world, text, told):
    with pytest.raises(build.BuildError, match=told):
        world(text)
