# SPDX-License-Identifier: Apache-2.0
"""Events, handlers and mains."""

from __future__ import annotations

import json as _json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar, overload

from . import _host
from ._errors import BodyError, reason_of, tell
from ._errors import Reject as _Reject

_Bytes = bytes  # what the class below has a method of the same name for
_NOTHING: Any = object()
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z][a-z0-9]*)*")

_Handler = TypeVar("_Handler", bound="Callable[[Event], Event | None]")
_Main = TypeVar("_Main", bound="Callable[[], object]")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def decode_text(body: str | _Bytes | None, fail: Callable[[str], Exception]) -> str:
    """A body as text; `fail(what)` makes the error where it is none."""
    if body is None:
        return ""
    if isinstance(body, str):
        return body
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as cause:
        raise fail("is no UTF-8") from cause


def decode_json(body: str | _Bytes | None, fail: Callable[[str], Exception]) -> Any:
    """The same, read as JSON."""
    text = decode_text(body, fail)
    try:
        return _json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as cause:
        raise fail("is no JSON") from cause


def encode_json(value: object) -> str:
    """JSON without spaces, as UTF-8 has it. TypeError, ValueError: JSON has nothing for it."""
    return _json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _bad_body(what: str) -> BodyError:
    return BodyError(f"the body {what}")


@dataclass
class Event:
    """A CloudEvent 1.0.2."""

    #: What happened, such as "dev.weir.keyvalue.set".
    type: str
    #: Where: the resource.
    source: str
    #: Unique in its source, and the same at each delivery.
    id: str
    #: What changed: the key.
    subject: str | None = None
    #: The body as it came; `bytes`, `text` and `json` have it whatever its case.
    data: str | _Bytes | None = None
    datacontenttype: str | None = None
    dataschema: str | None = None
    #: RFC 3339.
    time: str | None = None
    #: Extension attributes by their names.
    extensions: dict[str, str] = field(default_factory=dict)
    specversion: str = "1.0"

    @property
    def attempt(self) -> int:
        """Which delivery of the event this is, counted from 1."""
        text = self.extensions.get("attempt", "")
        return int(text) if text.isascii() and text.isdigit() and int(text) > 0 else 1

    def bytes(self) -> _Bytes:
        """The body's bytes; empty where there is none."""
        return self.data.encode() if isinstance(self.data, str) else self.data or b""

    def text(self) -> str:
        """The body as text; empty where there is none. BodyError: it is no UTF-8."""
        return decode_text(self.data, _bad_body)

    def json(self) -> Any:
        """The body, read as JSON. BodyError: it is none, or there is no body."""
        return decode_json(self.data, _bad_body)

    def follow(
        self,
        type: str,
        *,
        json: object = _NOTHING,
        text: str | None = None,
        data: _Bytes | bytearray | memoryview | None = None,
        subject: str | None = _NOTHING,
        datacontenttype: str | None = None,
        dataschema: str | None = None,
        time: str | None = None,
        extensions: Mapping[str, object] | None = None,
    ) -> Event:
        """A new event that follows from this one, to be returned by a handler.

        Its body is one of `json` (with the datacontenttype application/json, unless said), `text`
        and `data`; its subject is this one's, unless said; its id is made of this one's and the type,
        so that the same cause gives the same id at each attempt. Of an event that a handler returns
        weir sets source and id itself, by the same rule.

        TypeError: more than one body, or one that JSON has nothing for. ValueError: text that is no
        Unicode.
        """
        if (json is not _NOTHING) + (text is not None) + (data is not None) > 1:
            raise TypeError("an event has one body: json, text or data")
        body: str | _Bytes | None = text
        if json is not _NOTHING:
            body = encode_json(json)
            datacontenttype = datacontenttype or "application/json"
        if isinstance(body, str):
            body.encode()  # where half a character is in it, that is told here
        elif data is not None:
            body = _Bytes(data)
        return Event(
            type=type,
            source=self.source,
            id=f"{self.id}/{type}",
            subject=self.subject if subject is _NOTHING else subject,
            data=body,
            datacontenttype=datacontenttype,
            dataschema=dataschema,
            time=time,
            extensions={name: str(value) for name, value in (extensions or {}).items()},
        )


def _event_of(record: Any) -> Event:
    return Event(
        type=record.ty,
        source=record.source,
        id=record.id,
        subject=record.subject,
        data=None if record.data is None else record.data.value,
        datacontenttype=record.datacontenttype,
        dataschema=record.dataschema,
        time=record.time,
        extensions=dict(record.extensions),
        specversion=record.specversion,
    )


def _record_of(event: Event) -> Any:
    types = _host.types
    data = event.data
    if isinstance(data, str):
        data = types.Payload_Text(data)
    elif data is not None:
        data = types.Payload_Binary(data)
    return types.Event(
        specversion=event.specversion,
        ty=event.type,
        source=event.source,
        id=event.id,
        data=data,
        datacontenttype=event.datacontenttype,
        dataschema=event.dataschema,
        subject=event.subject,
        time=event.time,
        extensions=list(event.extensions.items()),
    )


def _answer(handle: Callable[[Event], Event | None], record: Any) -> Any:
    """Calls a handler as the WIT has it."""
    try:
        following = handle(_event_of(record))
        if following is not None and not isinstance(following, Event):
            raise TypeError("a handler returns None, or an event such as event.follow(…) makes")
        return None if following is None else _record_of(following)
    except Exception as error:  # each is the handler's answer
        tell(error)
        reason = reason_of(error)
        failure = _host.types.Failure_Reject if isinstance(error, _Reject) else _host.types.Failure_Retry
    raise _host.Err(failure(reason))


def _export(handle: Callable[[Event], Event | None], name: str | None) -> None:
    """Puts what componentize-py looks for into the module of the handler."""
    names = handle.__globals__

    def call(_self: object, record: Any) -> Any:
        return _answer(handle, record)

    if name is None:
        names["EventHandlerOrReject"] = type("EventHandlerOrReject", (), {"handle_event_or_reject": call})
    else:
        world = names.setdefault("WitWorld", type("WitWorld", (), {}))
        setattr(world, name.replace("-", "_"), call)


@overload
def handler(handle: _Handler, /) -> _Handler: ...
@overload
def handler(name: str, /) -> Callable[[_Handler], _Handler]: ...
def handler(handle: Any, /) -> Any:
    """Exports a function of the guest's main module, `(Event) -> Event | None`, as a handler.

    `@weir.handler` is the one that `listen` and a subscription without `handler:` mean;
    `@weir.handler("on-order")` is one of the guest's own names. The function stays as it is.

    What it raises is a retry: the event is tried again later. A Reject is not: no further attempt, it
    goes to the dead letters.
    """
    if callable(handle):
        _export(handle, None)
        return handle
    if not isinstance(handle, str) or not _NAME.fullmatch(handle):
        raise ValueError(f'{handle!r} is no name of a handler, such as "on-order"')

    def export(function: _Handler) -> _Handler:
        _export(function, handle)
        return function

    return export


def main(run: _Main, /) -> _Main:
    """Exports a function of the guest's main module as its main. What it raises ends weir with that
    text."""

    def call(_self: object) -> None:
        try:
            run()
            return
        except Exception as error:  # each is main's answer
            tell(error)
            reason = reason_of(error)
        raise _host.Err(reason)

    names = run.__globals__
    names.setdefault("WitWorld", type("WitWorld", (), {})).run = call
    return run
