// SPDX-License-Identifier: Apache-2.0
//
// A guest in TypeScript. Proves: index.d.ts says what a guest may write, and refuses the rest. It is
// compiled, never run.
import {
  type Event, Events, StoreError, config, database, decimal, handler, log, main, open, producer, reject,
  request, retry, store, watch,
} from "../index.js";

export const eventHandler = handler((event: Event) => {
  const order = event.json();
  const subject: string | undefined = event.subject;
  if (subject === undefined || event.attempt > 3) {
    throw reject("no key");
  }
  log.info(`got ${subject}`, "orders");
  log("warn", order);
  return event.follow({ type: "t", json: { order }, extensions: { n: 1, b: true } });
});

export const onBytes = handler((event) => event.follow({ type: "t", bytes: event.bytes() }));

export const onNothing = handler(async () => {});

export const onStore = handler((event) => {
  const copy = store("copy");
  const value: Uint8Array | undefined = copy.get("a");
  copy.set("a", value ?? "none");
  copy.update("a", (old) => old ?? new ArrayBuffer(1));
  const sum: number = copy.increment("n");
  const large: bigint = copy.increment("n", 1n);
  copy.setMany({ a: "1", b: new Uint8Array([1]) });
  for (const key of copy.keys()) {
    copy.setJson(key, { sum, large: String(large) });
  }
  const greeting: string | undefined = config.get("greeting");
  const response = request("https://example.com", { method: "POST", json: greeting, timeout: 100 });
  if (!response.ok) {
    throw retry(new Error(response.header("x-why")));
  }
  producer("out").send("topic", response.bytes(), { contentType: "text/plain", type: "t", metadata: { a: 1 } });
  const error: Error & { kind: string } = new StoreError("other");
  return error.kind === "" ? undefined : null;
});

export const onSql = handler((event) => {
  const shop = database("shop");
  const [first] = shop.query("select ?1, ?2", [event.id, decimal("0.10")]);
  const changed: number = shop.execute("delete from t where a = ?1", [first?.a ?? null, [1], { b: 2 }]);
  // @ts-expect-error a symbol is no value
  shop.query("select ?1", [Symbol("a")]);
  return changed > 0 ? event.follow({ type: "t", json: first }) : undefined;
});

export const run = main(() => {
  Events.get().listenTo(watch(open("store"), "*"), "on-bytes").exec(0n);
});

// @ts-expect-error a type is wanted
export const onUntyped = handler((event) => event.follow({ json: 1 }));
// @ts-expect-error a handler returns nothing or an event
export const onNumber = handler(() => 42);
// @ts-expect-error an event is made by another's follow
export const made = () => new (Object.getPrototypeOf(0) as typeof Event)();
