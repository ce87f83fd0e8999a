# SPDX-License-Identifier: Apache-2.0
"""Does what the event's subject says with what weir gives beside events, by sdk/python, and returns
what came of it. Proves: the SDK's calls reach the interfaces that they are for. services-rust and
services.js do the same, and return the same bytes."""

import weir


def do_store(_: str) -> dict:
    copy = weir.store("copy")
    copy.set("a", "one")
    copy.set_json("b", {"two": 2})
    copy.update("a", lambda value: value + b"!")
    copy.set_many({"c": "3", "d": b"4"})
    copy.delete_many(["c"])
    keys = list(copy.keys())
    many = copy.get_many(["a", "none"])
    copy.delete("d")
    return {
        "a": copy.get_text("a"),
        "b": copy.get_json("b"),
        "count": copy.increment("count", 2),
        "exists": [copy.exists("a"), copy.exists("d")],
        "keys": keys,
        "many": [value and len(value) for value in many],
        "none": copy.get("none"),
    }


def do_config(_: str) -> dict:
    return {"greeting": weir.config.get("greeting"), "none": weir.config.get("none")}


def do_log(body: str) -> None:
    weir.log.info(f"logged {body}")


def do_send(body: str) -> None:
    weir.producer("out").send("sent", body, content_type="text/plain", type="dev.weir.test.sent")


def do_http(url: str) -> dict:
    response = weir.request(url, method="POST", headers={"x-test": "1"}, body="ping")
    return {"body": response.text(), "status": response.status}


def do_sql(_: str) -> dict:
    shop = weir.database("shop")
    changed = shop.execute(
        "insert into t values (?1, ?2, ?3, ?4, ?5)", [1, "größe", 0.5, None, b"\x00\xff"])
    rows = shop.query("select * from t where id = ?1", [1])
    for row in rows:
        row["bytes"] = list(row["bytes"])
    try:
        shop.query("select nothing from")
        kind = ""
    except weir.SqlError as error:
        kind = error.kind
    return {"changed": changed, "kind": kind, "rows": rows}


@weir.handler
def on_event(event: weir.Event) -> weir.Event:
    deed = globals().get(f"do_{event.subject}")
    if deed is None:
        raise weir.Reject(f"there is no deed {event.subject}")
    return event.follow("dev.weir.test.done", json=deed(event.text()))
