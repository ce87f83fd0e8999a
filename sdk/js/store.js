// SPDX-License-Identifier: Apache-2.0
//
// Key-value buckets, by wasi:keyvalue.
import { Cas, increment, swap } from "wasi:keyvalue/atomics@0.2.0-draft2";
import * as batch from "wasi:keyvalue/batch@0.2.0-draft2";
import { open } from "wasi:keyvalue/store@0.2.0-draft2";
import { ServiceError, payloadOf } from "./errors.js";
import { bytesOf, decodeJson, decodeText, encodeJson } from "./event.js";

/** How often `update` begins anew where others change the key meanwhile. */
const UPDATE_TRIES_MAX = 100;

const REASONS = {
  "no-such-store": "the configuration has no such resource",
  "access-denied": "the guest has no grant for it",
};

export class StoreError extends ServiceError {
  name = "StoreError";
}

/** Calls the host; what it throws becomes a StoreError with what was tried. */
function attempt(what, call) {
  try {
    return call();
  } catch (error) {
    const failure = payloadOf(error);
    if (typeof failure?.tag !== "string") {
      throw error;
    }
    throw new StoreError(failure.tag, `${what}: ${REASONS[failure.tag] ?? failure.val}`);
  }
}

/** One try of a swap: undefined where it was done, the newer Cas where it was overtaken. */
function overtaken(cas, value) {
  try {
    swap(cas, value);
    return undefined;
  } catch (error) {
    const failure = payloadOf(error);
    if (failure?.tag === "cas-failed") {
      return failure.val;
    }
    throw failure?.tag === "store-error" ? failure.val : error;
  }
}

export class Store {
  #bucket;

  constructor(name) {
    this.name = name;
    this.#bucket = attempt(`open ${name}`, () => open(name));
  }

  /** What is tried, for an error. */
  #what(verb, key) {
    return `${verb} ${this.name}/${key}`;
  }

  get(key) {
    return attempt(this.#what("get", key), () => this.#bucket.get(key)) ?? undefined;
  }

  getText(key) {
    return this.#decoded(key, decodeText);
  }

  getJson(key) {
    return this.#decoded(key, decodeJson);
  }

  #decoded(key, decode) {
    const value = this.get(key);
    return value === undefined ? undefined
      : decode({ tag: "binary", val: value }, (what) =>
        new StoreError("bad-value", `${this.#what("get", key)}: the value ${what}`));
  }

  set(key, value) {
    const bytes = bytesOf(value);
    attempt(this.#what("set", key), () => this.#bucket.set(key, bytes));
  }

  setJson(key, value) {
    this.set(key, encodeJson(value));
  }

  delete(key) {
    attempt(this.#what("delete", key), () => this.#bucket.delete(key));
  }

  exists(key) {
    return attempt(this.#what("look for", key), () => this.#bucket.exists(key));
  }

  *keys() {
    let cursor;
    do {
      const page = attempt(`list ${this.name}`, () => this.#bucket.listKeys(cursor));
      yield* page.keys;
      cursor = page.cursor;
    } while (cursor !== undefined && cursor !== null);
  }

  increment(key, delta = 1) {
    const sum = attempt(this.#what("increment", key),
      () => increment(this.#bucket, key, BigInt(delta)));
    return typeof delta === "bigint" ? sum : Number(sum);
  }

  update(key, change) {
    const what = this.#what("update", key);
    let cas = attempt(what, () => Cas.new(this.#bucket, key));
    for (let tries = 0; tries < UPDATE_TRIES_MAX; tries++) {
      const old = attempt(what, () => cas.current()) ?? undefined;
      const value = bytesOf(change(old));
      cas = attempt(what, () => overtaken(cas, value));
      if (cas === undefined) {
        return value;
      }
    }
    throw new StoreError("contended",
      `${what}: it was changed by others ${UPDATE_TRIES_MAX} times meanwhile`);
  }

  getMany(keys) {
    const found = attempt(`get ${keys.length} keys of ${this.name}`,
      () => batch.getMany(this.#bucket, keys));
    return found.map((each) => each?.[1]);
  }

  setMany(values) {
    const list = Object.entries(values).map(([key, value]) => [key, bytesOf(value)]);
    attempt(`set ${list.length} keys of ${this.name}`, () => batch.setMany(this.#bucket, list));
  }

  deleteMany(keys) {
    attempt(`delete ${keys.length} keys of ${this.name}`,
      () => batch.deleteMany(this.#bucket, keys));
  }
}

/** Opens a bucket: a resource of the configuration that the guest has a grant for. */
export function store(name) {
  return new Store(name);
}
