// SPDX-License-Identifier: Apache-2.0
//! A watcher that knows only `wasi:keyvalue` and `wasi:logging`, nothing of weir: what is set in the
//! bucket that it watches is set in the bucket `copy` too, what is deleted is deleted there, and the
//! key `count` of `copy` counts the changes. What goes wrong traps, as the interface has no error.
//! standard.js and standard.py do the same.
use exports::wasi::keyvalue::watcher::{Bucket, Guest};
use wasi::keyvalue::atomics::increment;
use wasi::keyvalue::store::open;
use wasi::logging::logging::{Level, log};

wit_bindgen::generate!({
    path: ["../../../wit", "../wit"],
    world: "weir:test/standard-watcher",
    generate_all,
});

struct Watcher;

impl Guest for Watcher {
    fn on_set(_: Bucket, key: String, value: Vec<u8>) {
        let copy = open("copy").expect("open copy");
        copy.set(&key, &value).expect("set");
        let kept = copy.get(&key).expect("get").expect("the key is there");
        assert_eq!(kept, value);
        count(&copy, "set", &key);
    }

    fn on_delete(_: Bucket, key: String) {
        let copy = open("copy").expect("open copy");
        copy.delete(&key).expect("delete");
        assert!(!copy.exists(&key).expect("exists"));
        count(&copy, "deleted", &key);
    }
}

/// Counts a change, and logs it with how many keys the copy has.
fn count(copy: &wasi::keyvalue::store::Bucket, verb: &str, key: &str) {
    let changes = increment(copy, "count", 1).expect("increment");
    let mut keys = 0;
    let mut cursor = None;
    loop {
        let page = copy.list_keys(cursor.as_deref()).expect("list-keys");
        keys += page.keys.len();
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    log(
        Level::Info,
        "copy",
        &format!("{verb} {key}: change {changes}, {keys} keys"),
    );
}

export!(Watcher);
