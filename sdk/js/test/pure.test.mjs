// SPDX-License-Identifier: Apache-2.0
//
// What of the SDK needs no host: bodies, events that follow, errors. `node --test`.
import assert from "node:assert/strict";
import { test } from "node:test";
import { BodyError, Rejection, ServiceError, failureOf, reasonOf, reject, retry } from "../errors.js";
import { Event, handler, main } from "../event.js";
import { decimal, rowsOf, valueOf } from "../values.js";

const record = (data, more = {}) => ({
  specversion: "1.0",
  ty: "com.example.cause",
  source: "/store",
  id: "key@7",
  data,
  datacontenttype: "text/plain",
  dataschema: "https://example.com/schema",
  subject: "key",
  time: "2026-01-01T00:00:00Z",
  extensions: [["attempt", "3"]],
  ...more,
});
const text = (val) => new Event(record({ tag: "text", val }));
const binary = (...bytes) => new Event(record({ tag: "binary", val: new Uint8Array(bytes) }));
const utf8 = (val) => new TextEncoder().encode(val);

test("a body is bytes and text whatever its case", () => {
  for (const event of [text("\ufeffgrüße"), binary(...utf8("\ufeffgrüße"))]) {
    assert.deepEqual(event.bytes(), utf8("\ufeffgrüße"));
    assert.equal(event.text(), "\ufeffgrüße");
    assert.ok(event.hasBody);
  }
  const none = new Event(record(undefined));
  assert.deepEqual(none.bytes(), new Uint8Array());
  assert.equal(none.text(), "");
  assert.ok(!none.hasBody && text("").hasBody);
  assert.throws(() => binary(255).text(), BodyError);
});

test("a body is JSON", () => {
  for (const event of [text('{"a":[1]}'), binary(...utf8('{"a":[1]}'))]) {
    assert.deepEqual(event.json(), { a: [1] });
  }
  for (const event of [text("pen"), binary(255), new Event(record(undefined))]) {
    assert.throws(() => event.json(), BodyError);
  }
});

test("an event follows from another", () => {
  assert.deepEqual(text("body").follow({ type: "com.example.effect" }).toRecord(), {
    specversion: "1.0",
    ty: "com.example.effect",
    source: "/store",
    id: "key@7/com.example.effect",
    data: undefined,
    datacontenttype: undefined,
    dataschema: undefined,
    subject: "key",
    time: undefined,
    extensions: [],
  });
});

test("what an event is given", () => {
  const follow = (init) => text("").follow({ type: "t", ...init }).toRecord();
  const json = follow({ json: [1, 2], subject: "other", extensions: { a: 1, b: "2" } });
  assert.deepEqual(json.data, { tag: "text", val: "[1,2]" });
  assert.equal(json.datacontenttype, "application/json");
  assert.equal(json.subject, "other");
  assert.deepEqual(json.extensions, [["a", "1"], ["b", "2"]]);
  assert.equal(follow({ json: null, datacontenttype: "x/y" }).datacontenttype, "x/y");
  assert.deepEqual(follow({ text: "" }).data, { tag: "text", val: "" });
  assert.equal(follow({ subject: undefined }).subject, undefined);
  for (const bytes of [new Uint8Array([0, 255]), new Uint8Array([0, 255]).buffer,
    new DataView(new Uint8Array([7, 0, 255, 7]).buffer, 1, 2)]) {
    assert.deepEqual(follow({ bytes }).data, { tag: "binary", val: new Uint8Array([0, 255]) });
  }
  for (const init of [{ json: () => 1 }, { bytes: 7 }, { text: "a", json: 1 }, { type: undefined }]) {
    assert.throws(() => follow(init), TypeError, JSON.stringify(init));
  }
});

test("attempts are counted", () => {
  assert.equal(text("").attempt, 3);
  for (const extensions of [[], [["attempt", "many"]], [["attempt", "-1"]]]) {
    assert.equal(new Event(record(undefined, { extensions })).attempt, 1);
  }
});

test("errors tell their causes", () => {
  const circle = new Error("a");
  circle.cause = new Error("b", { cause: circle });
  assert.match(reasonOf(circle), /^a: b: a: b/);
  const typed = new Error("reading", { cause: new TypeError("no number") });
  assert.equal(reasonOf(typed), "reading: TypeError: no number");
  assert.equal(reasonOf("a text"), "a text");
  // As the runtime makes them: of another Error than this one's.
  const ofHost = { message: "x", payload: { tag: "not-found", val: "there is no a" } };
  assert.equal(reasonOf(ofHost), "not-found: there is no a");
});

test("all but a rejection is a retry", () => {
  for (const error of [new Error("x"), retry("x"), "x", new ServiceError("other", "x")]) {
    assert.deepEqual(failureOf(error), { tag: "retry", val: "x" });
  }
  assert.deepEqual(failureOf(reject("x")), { tag: "reject", val: "x" });
  assert.deepEqual(failureOf(reject(new Error("x"))), { tag: "reject", val: "x" });
  assert.deepEqual(failureOf(new BodyError("x")), { tag: "reject", val: "x" });
});

test("a handler answers as the WIT says", async () => {
  const call = (handle) => handler(handle)(record({ tag: "text", val: "b" }));
  assert.equal(call(() => {}), undefined);
  assert.equal(call(() => null), undefined);
  assert.deepEqual(call((event) => event), record({ tag: "text", val: "b" }));
  assert.equal((await call(async (event) => event.follow({ type: "t" }))).ty, "t");
  const never = { tag: "reject", val: "never" };
  const thrown = (value) => (error) => assert.deepEqual(error, value) ?? true;
  assert.throws(() => call(() => { throw reject("never"); }), thrown(never));
  await assert.rejects(call(async () => { throw reject("never"); }), thrown(never));
  assert.throws(() => call((event) => event.json()), (error) => error.tag === "reject");
});

test("what a handler returns has to be an event", (t) => {
  const told = t.mock.method(console, "error", () => {});
  assert.throws(() => handler(() => 42)(record(undefined)), (error) =>
    error.tag === "retry" && error.val.startsWith("TypeError: a handler returns"));
  assert.equal(told.mock.callCount(), 1, "where it came from is told");
});

test("a main's error is a text", async () => {
  assert.equal(main(() => 7)(), undefined);
  assert.throws(main(() => { throw new Rejection("no"); }), (error) => error === "no");
  await assert.rejects(main(async () => { throw retry("later"); })(), (error) => error === "later");
});

test("parameters are values of SQL", () => {
  const bytes = new Uint8Array([0, 255]);
  for (const [parameter, tag, val] of [
    [null, "null", undefined], [undefined, "null", undefined], [true, "boolean", true],
    [7, "integer", 7n], [-(2 ** 53 - 1), "integer", -(2n ** 53n) + 1n], [2 ** 53, "real", 2 ** 53],
    [0.5, "real", 0.5], [-0, "real", -0], [2n ** 63n - 1n, "integer", 2n ** 63n - 1n],
    ["grüße", "text", "grüße"], [bytes, "binary", bytes], [bytes.buffer, "binary", bytes],
    [decimal("0.10"), "decimal", "0.10"], [[1], "json", "[1]"], [{ a: null }, "json", '{"a":null}'],
    [new Date(0), "text", "1970-01-01T00:00:00.000Z"],
  ]) {
    const value = valueOf(parameter);
    assert.equal(value.tag, tag);
    assert.deepEqual(value.val, val);
  }
  assert.throws(() => valueOf(2n ** 63n), RangeError);
  assert.throws(() => valueOf(() => 1), TypeError);
});

test("rows are objects with the columns' names", () => {
  const value = (tag, val) => ({ tag, val });
  const rows = rowsOf({
    columns: ["a", "b", "c", "__proto__"],
    values: [
      value("integer", 7n), value("integer", 2n ** 53n), value("json", '{"x":1}'), value("text", "p"),
      value("null"), value("real", 0.5), value("decimal", "0.10"), value("binary", new Uint8Array([1])),
    ],
  });
  assert.equal(rows.length, 2);
  assert.deepEqual(Object.entries(rows[0]),
    [["a", 7], ["b", 2n ** 53n], ["c", { x: 1 }], ["__proto__", "p"]]);
  assert.deepEqual(Object.values(rows[1]), [null, 0.5, "0.10", new Uint8Array([1])]);
  assert.deepEqual(rowsOf({ columns: ["a"], values: [] }), []);
  assert.deepEqual(rowsOf({ columns: [], values: [] }), []);
});
