// SPDX-License-Identifier: Apache-2.0
//
// A watcher that knows only wasi:keyvalue and wasi:logging, nothing of weir: what is set in the bucket
// that it watches is set in the bucket `copy` too, what is deleted is deleted there, and the key
// `count` of `copy` counts the changes. What goes wrong traps, as the interface has no error.
// standard-rust and standard.py do the same.
import { increment } from "wasi:keyvalue/atomics@0.2.0-draft2";
import { open } from "wasi:keyvalue/store@0.2.0-draft2";
import { log } from "wasi:logging/logging@0.1.0-draft";

/** Counts a change, and logs it with how many keys the copy has. */
function count(copy, verb, key) {
  const changes = increment(copy, "count", 1n);
  let keys = 0, cursor;
  do {
    const page = copy.listKeys(cursor);
    keys += page.keys.length;
    cursor = page.cursor;
  } while (cursor !== undefined);
  log("info", "copy", `${verb} ${key}: change ${changes}, ${keys} keys`);
}

export const watcher = {
  onSet(bucket, key, value) {
    const copy = open("copy");
    copy.set(key, value);
    const kept = copy.get(key);
    if (kept.length !== value.length || kept.some((byte, at) => byte !== value[at])) {
      throw new Error("another value is there");
    }
    count(copy, "set", key);
  },
  onDelete(bucket, key) {
    const copy = open("copy");
    copy.delete(key);
    if (copy.exists(key)) {
      throw new Error("the key is there");
    }
    count(copy, "deleted", key);
  },
};
