// Called for each order that is put into the store: returns its receipt, which weir puts into `out`.
import { handler, reject } from "weir";

const ORDERS = "orders/";

/** What is no order is rejected: no further attempt would make it one. */
function orderOf(event) {
  const { item, amount } = event.json();
  if (typeof item !== "string" || !Number.isInteger(amount)) {
    throw reject("an order has an item, a text, and an amount, a number");
  }
  return { item, amount };
}

export const eventHandler = handler((event) => {
  if (!event.hasBody) {
    return undefined; // the order was removed: nothing follows from that
  }
  if (!event.subject?.startsWith(ORDERS)) {
    throw reject(`its key does not begin with ${ORDERS}`);
  }
  const number = event.subject.slice(ORDERS.length);
  const order = orderOf(event);
  console.log(`order ${number}: ${order.amount} of ${order.item}`);
  return event.follow({
    type: "com.example.receipt",
    subject: `receipts/${number}`,
    json: { receipt: number, order },
  });
});
