// SPDX-License-Identifier: Apache-2.0
//
// What a guest of weir in JavaScript or TypeScript imports.

/** Bytes, or a text that is written as UTF-8. */
export type Bytes = string | Uint8Array | ArrayBuffer | ArrayBufferView;

/** What JSON can write. */
export type Json = unknown;

/** What an event that follows has; see {@link Event.follow}. At most one of `json`, `text`, `bytes`. */
export interface Following {
  /** What happened, such as "com.example.order.accepted". */
  type: string;
  /** A body of JSON, and the `datacontenttype` application/json. */
  json?: Json;
  /** A body of text. */
  text?: string;
  /** A body of any bytes. */
  bytes?: Bytes;
  /** What it is about; of the cause, unless said. `undefined`: nothing. */
  subject?: string | undefined;
  datacontenttype?: string;
  dataschema?: string;
  /** RFC 3339. */
  time?: string;
  /** Extension attributes: names of lower-case letters and digits, at most 64 of them. */
  extensions?: Record<string, string | number | boolean>;
  /** Where it happened; of the cause, unless said. weir sets it anew where a handler returns it. */
  source?: string;
  /** Made of the cause's id and the type, unless said. weir sets it anew where a handler returns it. */
  id?: string;
}

/** A CloudEvent 1.0.2. */
export class Event {
  private constructor();
  specversion: string;
  /** What happened, such as "dev.weir.keyvalue.set". */
  type: string;
  /** Where: the resource. */
  source: string;
  /** Unique in its source, and the same at each delivery. */
  id: string;
  datacontenttype: string | undefined;
  dataschema: string | undefined;
  /** What changed: the key. */
  subject: string | undefined;
  /** RFC 3339. */
  time: string | undefined;
  /** Extension attributes by their names. */
  extensions: Record<string, string>;
  /** Whether there is a body; an empty one is one. */
  readonly hasBody: boolean;
  /** Which delivery of the event this is, counted from 1. */
  readonly attempt: number;
  /** The body's bytes; empty where there is none. */
  bytes(): Uint8Array;
  /** The body as text; empty where there is none. @throws {BodyError} it is no UTF-8 */
  text(): string;
  /** The body, read as JSON. @throws {BodyError} it is none, or there is no body */
  json(): any;
  /** A new event that follows from this one, to be returned by a handler. */
  follow(init: Following): Event;
}

/** What a handler returns: nothing, or an event that follows from the one that was handled. */
export type Answer = Event | undefined | null | void;

/**
 * Makes a handler, which the guest exports: as `eventHandler` the one that `listen` and a subscription
 * without `handler:` mean, under another name one of its own (`onOrder` is `handler: on-order`).
 *
 * What it throws is a *retry*: the event is tried again later. A {@link Rejection} is not: no further
 * attempt, it goes to the dead letters. It may be async.
 */
export function handler(handle: (event: Event) => Answer | Promise<Answer>): (record: any) => any;

/** Makes a main, which the guest exports as `run`. What it throws ends weir with that text. */
export function main(run: () => void | Promise<void>): () => any;

/** The event never will be handled. */
export class Rejection extends Error {}
/** An event's body is not what was asked for. */
export class BodyError extends Rejection {}
/** Something that weir gives failed. */
export class ServiceError extends Error {
  /** Which failure it is, as the interface's WIT names it. */
  readonly kind: string;
}

/** `throw reject("why")`: no further attempt. An error as the reason is told with its causes. */
export function reject(reason: unknown): Rejection;
/** `throw retry("why")`: try again later, as any other error does. */
export function retry(reason: unknown): ServiceError;

/** What a bucket could not do: `no-such-store`, `access-denied`, `bad-value`, `contended`, `other`. */
export class StoreError extends ServiceError {}

/** A bucket. Every call may throw a {@link StoreError}. */
export class Store {
  private constructor();
  readonly name: string;
  /** The key's value; undefined where there is no such key. */
  get(key: string): Uint8Array | undefined;
  /** The same as text. `bad-value` where it is no UTF-8. */
  getText(key: string): string | undefined;
  /** The same, read as JSON. `bad-value` where it is none. */
  getJson(key: string): any;
  /** All of the value or nothing of it. When it has returned, it is there after a power failure. */
  set(key: string, value: Bytes): void;
  setJson(key: string, value: Json): void;
  /** Also does nothing wrong where there is no such key. */
  delete(key: string): void;
  exists(key: string): boolean;
  /** The keys that the guest may list, in the order of their bytes, asked for page by page. */
  keys(): Generator<string, void, void>;
  /** Adds to a number that is kept as decimal digits, in one step, and returns the sum. */
  increment(key: string, delta?: number): number;
  /** The same beyond 2^53. */
  increment(key: string, delta: bigint): bigint;
  /**
   * Sets the key to what `change` makes of its value, if nobody changes it meanwhile; else it is called
   * again with the newer value, up to 100 times (`contended`). Returns what was set.
   */
  update(key: string, change: (value: Uint8Array | undefined) => Bytes): Uint8Array;
  /** The values in the order of the keys; undefined for one that there is not. */
  getMany(keys: string[]): (Uint8Array | undefined)[];
  /** In order; the first that fails ends it, and those before it stay. */
  setMany(values: Record<string, Bytes>): void;
  deleteMany(keys: string[]): void;
}

/** Opens a bucket: a resource that the guest has a grant for. @throws {StoreError} */
export function store(name: string): Store;

export const config: {
  /** What the configuration says under the guest's `config`; undefined: nothing of that name. */
  get(name: string): string | undefined;
  all(): Record<string, string>;
};

export type Level = "trace" | "debug" | "info" | "warn" | "error" | "critical";
type Line = (message: unknown, context?: string) => void;

/** Writes a line to weir's log; `context` says what of the guest speaks. */
export const log: Record<Level, Line> & ((level: Level, message: unknown, context?: string) => void);

/**
 * There was no response (`denied`, `invalid`, `unavailable`, `timeout`, `limit`, `other`), or its body
 * is not what was asked for (`bad-response`).
 */
export class HttpError extends ServiceError {}

export interface RequestInit {
  /** GET, unless said. */
  method?: string;
  headers?: Record<string, string> | [string, string][];
  body?: Bytes;
  /** A body of JSON, and its content-type unless the headers have one. In place of `body`. */
  json?: Json;
  /** Milliseconds for the whole of it; what is left of the call's time, unless said. */
  timeout?: number;
}

export class Response {
  private constructor();
  readonly status: number;
  /** Whether the status is one of 200 to 299. */
  readonly ok: boolean;
  /** In the order in which they came, names in lower case. */
  readonly headers: [string, string][];
  /** The first header of that name. */
  header(name: string): string | undefined;
  bytes(): Uint8Array;
  /** @throws {HttpError} `bad-response`: it is no UTF-8 */
  text(): string;
  /** @throws {HttpError} `bad-response`: it is no JSON */
  json(): any;
}

/** Sends a request and waits for its response, whatever its status. @throws {HttpError} there is none */
export function request(url: string | URL, init?: RequestInit): Response;

/**
 * A statement was not run: `not-found`, `denied`, `invalid`, `unsupported`, `unavailable`, `limit`,
 * `other`; or a column that is to be JSON is none (`bad-value`).
 */
export class SqlError extends ServiceError {}

/** A decimal, to be handed over with all its digits. */
export interface Decimal {
  readonly text: string;
}
export function decimal(text: string | number | bigint): Decimal;

/**
 * What stands for a parameter. A number without fraction is an integer; a Date is its ISO text; what
 * is no bytes, and no other value, is JSON.
 */
export type SqlParameter =
  null | undefined | boolean | number | bigint | string | Date | Decimal
  | Uint8Array | ArrayBuffer | ArrayBufferView | Json[] | { [name: string]: Json };

/** A resource that takes SQL. Every call may throw an {@link SqlError}. */
export class Database {
  private constructor();
  readonly name: string;
  /**
   * Runs a statement that reads, and returns its rows: objects with the columns' names. Integers are
   * numbers, beyond 2^53 bigints; decimals are texts; binary values are Uint8Arrays; JSON is parsed.
   * Parameters are handed over beside the text: `?1` of SQLite, `$1` of PostgreSQL.
   */
  query(statement: string, parameters?: readonly SqlParameter[]): Record<string, any>[];
  /**
   * Runs a statement that changes, which is a transaction of its own, and returns how many rows it has
   * inserted, updated or deleted. What it did stays, also where the handler fails then.
   */
  execute(statement: string, parameters?: readonly SqlParameter[]): number;
}

/** A database by its name, for which the guest has a grant of `query` or `execute`. */
export function database(name: string): Database;

/** A message was not sent: `timeout`, `connection`, `permission-denied`, `other`. */
export class MessagingError extends ServiceError {}

export interface MessageInit {
  /** The event's type, such as "com.example.order.accepted". */
  type?: string;
  /** The event's datacontenttype. */
  contentType?: string;
  /** Extension attributes of the event: names of lower-case letters and digits. */
  metadata?: Record<string, string | number | boolean>;
}

export class Producer {
  private constructor();
  readonly name: string;
  /**
   * Sends to a topic, the event's subject. The message is kept by the end of the handler at the latest,
   * and published behind that, also where the handler fails; called again, it sends the same id.
   */
  send(topic: string, body: Bytes, init?: MessageInit): void;
  sendJson(topic: string, value: Json, init?: MessageInit): void;
}

/** Connects to a resource that events can be published to. @throws {MessagingError} */
export function producer(name: string): Producer;

/** For a main: what is observed. */
export interface Observable {
  rd: string;
  key: string;
}

/** For a main: opens a resource, and returns its descriptor. */
export function open(name: string): string;
/** For a main: observes a key from now on, or with a `*` at its end all with that prefix. */
export function watch(rd: string, key: string): Observable;

/** For a main: a set of subscriptions. */
export class Events {
  private constructor();
  static get(): Events;
  /** To the guest's default handler. */
  listen(ob: Observable): Events;
  /** To a handler of the guest's own, such as "on-order". */
  listenTo(ob: Observable, handler: string): Events;
  /** Lets events come for so many seconds; 0n is until weir stops. */
  exec(duration: bigint): void;
}
