// SPDX-License-Identifier: Apache-2.0
//
// Events, and handlers of them. Imports nothing of the host: it is tested without one.
import { BodyError, failureOf, isMeant, reasonOf } from "./errors.js";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Bytes as the WIT's binary wants them: of their own, in an Uint8Array. */
export function bytesOf(value) {
  if (typeof value === "string") {
    return encoder.encode(value);
  }
  if (value instanceof Uint8Array) {
    return value;
  }
  if (ArrayBuffer.isView(value)) {
    return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  }
  if (value instanceof ArrayBuffer) {
    return new Uint8Array(value);
  }
  throw new TypeError("bytes are wanted: a string, an ArrayBuffer, or a view of one");
}

/** A variant of text and binary as text; `fail(what, cause)` makes the error where it is none. */
export function decodeText(body, fail) {
  if (body === undefined) {
    return "";
  }
  if (body.tag === "text") {
    return body.val;
  }
  try {
    return decoder.decode(body.val);
  } catch (cause) {
    throw fail("is no UTF-8", cause);
  }
}

/** The same, read as JSON. */
export function decodeJson(body, fail) {
  const text = decodeText(body, fail);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw fail("is no JSON", cause);
  }
}

/** A value as JSON text; a TypeError where JSON has nothing for it. */
export function encodeJson(value) {
  const text = JSON.stringify(value);
  if (text === undefined) {
    throw new TypeError(`JSON has nothing for a value of the type ${typeof value}`);
  }
  return text;
}

const badBody = (what, cause) => new BodyError(`the body ${what}`, { cause });

const BODIES = ["json", "text", "bytes"];

/** The body that one of `json`, `text` and `bytes` says, as the WIT's payload; undefined: none. */
function payloadOf(init) {
  const given = BODIES.filter((name) => init[name] !== undefined);
  if (given.length > 1) {
    throw new TypeError(`an event has one body, not ${given.join(" and ")}`);
  }
  switch (given[0]) {
    case "json":
      return { tag: "text", val: encodeJson(init.json) };
    case "text":
      return { tag: "text", val: String(init.text) };
    case "bytes":
      return { tag: "binary", val: bytesOf(init.bytes) };
    default:
      return undefined;
  }
}

export class Event {
  #data;

  /** Of the WIT's record; see `handler` and `Event.follow`, which make them. */
  constructor(record) {
    this.specversion = record.specversion;
    this.type = record.ty;
    this.source = record.source;
    this.id = record.id;
    this.datacontenttype = record.datacontenttype;
    this.dataschema = record.dataschema;
    this.subject = record.subject;
    this.time = record.time;
    this.extensions = Object.fromEntries(record.extensions);
    this.#data = record.data;
  }

  get hasBody() {
    return this.#data !== undefined;
  }

  get attempt() {
    const attempt = Number(this.extensions.attempt);
    return Number.isSafeInteger(attempt) && attempt > 0 ? attempt : 1;
  }

  bytes() {
    return this.#data === undefined ? new Uint8Array() : bytesOf(this.#data.val);
  }

  text() {
    return decodeText(this.#data, badBody);
  }

  json() {
    return decodeJson(this.#data, badBody);
  }

  follow(init) {
    if (typeof init?.type !== "string") {
      throw new TypeError("an event that follows has to have a type");
    }
    return new Event({
      specversion: "1.0",
      ty: init.type,
      source: init.source ?? this.source,
      id: init.id ?? `${this.id}/${init.type}`,
      data: payloadOf(init),
      datacontenttype: init.datacontenttype ??
        (init.json === undefined ? undefined : "application/json"),
      dataschema: init.dataschema,
      subject: "subject" in init ? init.subject : this.subject,
      time: init.time,
      extensions: Object.entries(init.extensions ?? {}).map(([name, value]) => [name, `${value}`]),
    });
  }

  /** The WIT's record. */
  toRecord() {
    return {
      specversion: this.specversion,
      ty: this.type,
      source: this.source,
      id: this.id,
      data: this.#data,
      datacontenttype: this.datacontenttype,
      dataschema: this.dataschema,
      subject: this.subject,
      time: this.time,
      extensions: Object.entries(this.extensions),
    };
  }
}

function answer(following) {
  if (following === undefined || following === null) {
    return undefined;
  }
  if (!(following instanceof Event)) {
    throw new TypeError("a handler returns nothing, or an event such as event.follow(…) makes");
  }
  return following.toRecord();
}

/** Tells where an error came from that nobody threw on purpose. */
function tell(error) {
  if (!isMeant(error)) {
    console.error(`${error.name}: ${error.message}\n${error.stack}`); // which says only where
  }
}

function fail(error) {
  tell(error);
  throw failureOf(error);
}

/** A handler as the WIT has it, of a function of an Event. */
export function handler(handle) {
  return (record) => {
    try {
      const following = handle(new Event(record));
      return typeof following?.then === "function"
        ? following.then(answer).catch(fail)
        : answer(following);
    } catch (error) {
      return fail(error);
    }
  };
}

/** A main as the WIT has it: what it throws is its err. */
export function main(run) {
  const err = (error) => {
    tell(error);
    throw reasonOf(error);
  };
  return () => {
    try {
      const done = run();
      return typeof done?.then === "function" ? done.then(() => undefined).catch(err) : undefined;
    } catch (error) {
      return err(error);
    }
  };
}
