"""Called for each order that is put into the store: returns its receipt, which weir puts into `out`."""

import weir

ORDERS = "orders/"


def order_of(event: weir.Event) -> dict:
    """What is no order is rejected: no further attempt would make it one."""
    order = event.json()
    try:
        return {"item": str(order["item"]), "amount": int(order["amount"])}
    except (KeyError, TypeError, ValueError) as cause:
        raise weir.Reject("an order has an item and an amount, a number") from cause


@weir.handler
def on_order(event: weir.Event) -> weir.Event | None:
    if event.data is None:
        return None  # the order was removed: nothing follows from that
    if not event.subject or not event.subject.startswith(ORDERS):
        raise weir.Reject(f"its key does not begin with {ORDERS}")
    number = event.subject.removeprefix(ORDERS)
    order = order_of(event)
    print(f"order {number}: {order['amount']} of {order['item']}")
    return event.follow(
        "com.example.receipt",
        subject=f"receipts/{number}",
        json={"receipt": number, "order": order},
    )
