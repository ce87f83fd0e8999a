// SPDX-License-Identifier: Apache-2.0
//
// Watching in the mode `keys`, for its two files: keys.c has the watches and the passes over all
// keys, compare.c what a watch was told of each key, compared with what there is.
//
// What the bell says is a hint, nothing more: "this key may have changed". A hint leads to a
// comparison of what is there now with what a watch was last told (struct entry), and what differs
// is offered to its sink. A lost, doubled or late hint therefore does no harm as long as another
// one comes, and after anything that may have been missed there is a pass: a hint for every key.
//
// The hub's thread, all of it.
#ifndef WEIR_PROVIDER_REDIS_KEYS_H
#define WEIR_PROVIDER_REDIS_KEYS_H

#include "base/table.h"
#include "provider/hub.h"
#include "provider/redis/names.h"
#include "provider/redis/resource.h"
#include "provider/redis/value.h"
#include "provider/routes.h"

struct weir_redis_key_watch;

enum entry_state {
    ENTRY_CLEAN, // nothing is to be done
    ENTRY_DIRTY, // to be fetched and compared: in watch->dirty
    ENTRY_ASKED, // it is being fetched
};

// What one watch knows of one key: what its sink was told last, or what was there when the watch
// began.
struct entry {
    UT_hash_handle hh;         // in watch->entries, by key
    struct entry *prev, *next; // in watch->dirty
    enum entry_state state;
    bool is_present;      // else it was never told, or told as deleted, and is here for its state
    bool is_looked_at;    // of a watch that begins: it was fetched
    uint32_t pass_number; // of the last pass that met it
    uint64_t order;       // when it became dirty: the dirty ones are sorted by it
    struct weir_redis_told told; // if is_present
    size_t key_size;
    char key[];
};

// Whether all keys of a watch are to be compared.
enum pass_state { PASS_NONE, PASS_WANTED, PASS_RUNNING };

struct weir_redis_key_watch {
    struct weir_hub_watch hub;
    struct weir_redis_key_watch *prev, *next;             // in keys->watches
    struct weir_redis_key_watch *ready_prev, *ready_next; // in keys->ready, if is_ready
    bool is_ready;    // it has dirty keys, and a sink that may have room
    bool is_routed;   // in keys->routes and keys->watches
    bool is_stopped;  // the sink wants nothing any more
    bool is_over;     // keys_max is reached, some keys are not followed
    bool is_baseline; // it begins: what there is is not told but known
    struct weir_route route;
    enum pass_state pass;
    bool is_measured;      // its meter counts what is compared, because of a pass
    struct entry *entries; // table
    struct entry *dirty;
    size_t unlooked; // is_baseline: entries that were not fetched yet
};

// A walk over all keys of a pattern.
struct pass {
    struct weir_redis_key_watch *watch; // for it alone; NULL: for all whose pass is running
    bool is_running, is_asked;
    bool is_slow; // it takes few of the server's time
    uint32_t number;
    char cursor[32];
    char *prefix; // owned
    size_t prefix_size;
    int64_t asked_ns, due_ns;
};

// The key that is being fetched; see compare.c.
struct fetch;

struct weir_redis_keys {
    struct weir_redis_resource *resource;
    struct weir_redis_session *session;
    struct weir_routes *routes;
    struct weir_redis_key_watch *watches, *ready;
    uint64_t order;       // of the last key that became dirty
    struct pass pass;     // for those that go on
    struct pass baseline; // for the one that begins
    uint32_t pass_number;
    int64_t rescan_due_ns; // when all are compared for no reason
    int64_t again_ns;      // when some are, for which there was no room or memory; INT64_MAX: none
    struct fetch *fetches; // table, by key
    int64_t memory_ns;     // not to fetch before, for there was no memory; 0: at once
};

// ---- compare.c

// A key may have changed: for all its watches, or for this one.
void weir_redis_keys_hint(struct weir_redis_keys *keys, struct weir_str key);
// The same for one watch.
void weir_redis_keys_hint_one(struct weir_redis_keys *keys, struct weir_redis_key_watch *watch,
                              struct weir_str key);
// The entry of a key, made where there is none. NULL: there is no room or no memory for it, and
// that a pass is to come is noted.
struct entry *weir_redis_keys_entry(struct weir_redis_keys *keys,
                                    struct weir_redis_key_watch *watch, struct weir_str key);
// Notes what a watch was told before a stop. WEIR_LIMIT, WEIR_NO_MEMORY. Any thread: nobody else
// knows the watch yet.
weir_status weir_redis_keys_recall(struct weir_redis_keys *keys, struct weir_redis_key_watch *watch,
                                   struct weir_str key, const struct weir_redis_told *told);
// Makes it be fetched and compared.
void weir_redis_keys_make_dirty(struct weir_redis_keys *keys, struct weir_redis_key_watch *watch,
                                struct entry *entry);
// Whether the watch's keys are fetched: sets it into or takes it out of the list of those.
void weir_redis_keys_update_ready(struct weir_redis_keys *keys, struct weir_redis_key_watch *watch);
// Starts as many fetches as may be. Returns when to be called again.
int64_t weir_redis_keys_fetch(struct weir_redis_keys *keys);
// What was being fetched will not come: its keys are dirty again.
void weir_redis_keys_forget_fetches(struct weir_redis_keys *keys);
// Forgets all that a watch knows. Any thread, if nobody else knows the watch.
void weir_redis_keys_forget(struct weir_redis_key_watch *watch);

#endif
