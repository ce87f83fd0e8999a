# SPDX-License-Identifier: Apache-2.0
"""Does what the event's subject says, by sdk/python. Proves: a body is JSON, text and bytes whatever
its case, events that follow are what the SDK says, and errors become retries and rejections. sdk-rust
and sdk.js do the same, and return the same bytes."""

import weir
from weir import Event, Reject


def do_json(event: Event) -> Event:
    person = event.json()
    try:
        greeting = {
            "greeting": "hello " + person["name"],
            "count": len(person["numbers"]),
            "sum": sum(person["numbers"]),
        }
    except (LookupError, TypeError) as error:
        raise Reject("the body has no name or no numbers") from error
    return event.follow("dev.weir.test.greeted", json=greeting)


def do_text(event: Event) -> Event:
    return event.follow(
        "dev.weir.test.text",
        text=event.text().upper(),
        datacontenttype="text/plain",
        extensions={"attemptseen": event.attempt},
    )


def do_bytes(event: Event) -> Event:
    return event.follow("dev.weir.test.bytes", data=event.bytes()[::-1], subject="reversed")


def do_none(event: Event) -> None:
    return None


def do_retry(event: Event) -> None:
    raise weir.Retry("not now")


def do_number(event: Event) -> Event:
    """A cause and what was being done."""
    try:
        return event.follow("dev.weir.test.number", text=str(int(event.text())))
    except ValueError as error:
        raise weir.Retry("the body is no number") from error


def do_number_or_reject(event: Event) -> Event:
    try:
        return event.follow("dev.weir.test.number", text=str(int(event.text())))
    except ValueError as error:
        raise Reject("the body is no number") from error


def do_bug(event: Event) -> Event:
    return {}["nothing"]


@weir.handler
def on_event(event: Event) -> Event | None:
    deed = globals().get("do_" + event.subject.replace("-", "_"))
    if deed is None:
        raise Reject(f"there is no deed {event.subject}")
    return deed(event)


@weir.handler("on-order")
def on_order(event: Event) -> None:
    print("on-order got", event.text(), flush=True)
    raise weir.Retry("no orders now")


@weir.handler("on-order-or-reject")
def on_order_or_reject(event: Event) -> None:
    print("on-order-or-reject got", event.text(), flush=True)
    raise Reject("no orders")
