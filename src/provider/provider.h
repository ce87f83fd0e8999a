// SPDX-License-Identifier: Apache-2.0
//
// The contract of a provider. A provider (struct weir_provider) is a kind of source; a resource
// (struct weir_resource) is one opened source of that kind, under the name that the configuration
// gives it; its options are a struct that the provider's option table describes. Three things,
// never one.
//
// The law of threads. A resource has one thread of its own, started by its first watch at the
// latest and ended by close. `offer` is called on that thread only and never blocks; where a source
// is in this process and has no thread (the topic), on the one that publishes. Every other function
// here may be called from any thread, by several at once. unwatch and close wait for an `offer`
// that is under way, so they are never called from `offer`; once they have returned, nothing of
// that watch or resource is called again.
#ifndef WEIR_PROVIDER_PROVIDER_H
#define WEIR_PROVIDER_PROVIDER_H

#include "base/error.h"
#include "base/sql.h"
#include "base/str.h"
#include "base/value.h"
#include "config/option.h"
#include "event/event.h"

#include <stdbool.h>
#include <stdint.h>

struct weir_log;
struct weir_meter;

enum weir_capability {
    WEIR_CAN_GET = 1 << 0,
    WEIR_CAN_SET = 1 << 1, // set and remove
    WEIR_CAN_LIST = 1 << 2,
    WEIR_CAN_WATCH = 1 << 3,
    // How a watch goes on after a stop. At most one of the first two; a source with neither tells
    // what changes while it is watched and nothing else, so weir journals it.
    WEIR_CAN_REPLAY =
        1 << 4, // an event's position is its place in the source's history, ascending:
                // a watch can start behind it, and is told everything since
    WEIR_CAN_COMPARE = 1 << 5, // an event's position is a fingerprint of its key's new state, empty
                               // where the key is gone: a watch can start with the fingerprints
                               // that were told, and is told what differs. States in between are
                               // gone, so weir journals it too
    WEIR_CAN_ACK = 1 << 6,     // the source keeps what was not acknowledged and tells it again
    // What a sink without room does to the source.
    WEIR_CAN_PAUSE = 1 << 7, // WEIR_AGAIN stops it, and nothing is lost by that; without it, what
                             // finds no room is journaled or dropped
    WEIR_SHARES_PAUSE = 1 << 8, // a watch that is paused holds up the resource's other watches, so
                                // weir journals before it pauses
    WEIR_CAN_PUBLISH = 1 << 9,
    WEIR_CAN_UPDATE = 1 << 10,
    WEIR_CAN_QUERY = 1 << 11,
};

// What a watch promises; a fact of the provider and the key.
enum weir_strength {
    WEIR_LATEST_VALUE, // each key's last state is delivered; states that were overwritten before
                       // may be left out
    WEIR_EVERY_CHANGE, // each committed change is delivered
};

const char *weir_strength_name(enum weir_strength strength);

// What a watch of some keys is: what it promises, and how it goes on after a stop and takes a
// pause. The capabilities are those of enum weir_capability from WEIR_CAN_REPLAY to
// WEIR_SHARES_PAUSE; a provider whose keys are not all of one kind answers with some of its own
// only.
struct weir_promise {
    enum weir_strength strength;
    uint32_t capabilities;
};
enum {
    WEIR_WATCH_CAPABILITIES =
        WEIR_CAN_REPLAY | WEIR_CAN_COMPARE | WEIR_CAN_ACK | WEIR_CAN_PAUSE | WEIR_SHARES_PAUSE,
};

// A key, or every key with a prefix.
struct weir_pattern {
    struct weir_str text; // without the final "*"
    bool is_prefix;
};

// "orders/*" is the prefix "orders/"; any other text is a key. The view points into `text`.
static inline struct weir_pattern weir_pattern_of(struct weir_str text) {
    bool is_prefix = text.size > 0 && text.data[text.size - 1] == '*';
    return (struct weir_pattern){
        .text = {.data = text.data, .size = text.size - (is_prefix ? 1 : 0)},
        .is_prefix = is_prefix};
}

static inline bool weir_pattern_matches(const struct weir_pattern *pattern, struct weir_str key) {
    return pattern->is_prefix ? weir_str_has_prefix(key, pattern->text)
                              : weir_str_equal(key, pattern->text);
}

// Where a watch's events go. `offer` borrows the event and takes a reference of its own if it keeps
// it. It answers:
//
// - WEIR_OK: taken.
// - WEIR_AGAIN: no room now. The provider keeps the change (or knows how to find it again), goes on
//   with its other watches, and offers it again after `resume`. It must not ask again before.
// - WEIR_NO_MEMORY: as WEIR_AGAIN, but nobody will call `resume`; offer it again after a while.
// - WEIR_STOPPED: the watch is ending; drop it.
//
// A source that can replay, and does not keep a position for as long as it takes until the watch is
// told something, offers bookmarks (weir_event_of_bookmark) to a watch that has a name: what moves
// its position over what does not concern it. One at a time: the next when that is acknowledged.
struct weir_sink {
    weir_status (*offer)(void *context, struct weir_event *event);
    // Notes the fingerprint of a key without an event, for a source that can compare: what is there
    // when the watch begins. Of a source that can replay: with an empty key, the position behind
    // which the watch begins. Called within `watch` only, on any thread; may wait for the disk, at
    // most WEIR_REMEMBER_WAIT_MS. NULL where nothing is kept. WEIR_NO_MEMORY, WEIR_UNAVAILABLE:
    // `watch` fails with it.
    weir_status (*remember)(void *context, struct weir_str key, struct weir_str fingerprint);
    void *context;
};
enum { WEIR_REMEMBER_WAIT_MS = 30000 };

// Where a watch goes on after a stop. A source that keeps positions under names knows that by
// itself; that there is this struct tells it that the name was in use.
struct weir_resume {
    // Of a source that can replay: the position behind which to start.
    struct weir_str position;
    // Of a source that can compare: calls `each` for every key that was told and its fingerprint,
    // in the order of the keys' bytes, until it returns false. Called within `watch` only, on any
    // thread.
    weir_status (*recall)(void *context,
                          bool (*each)(void *each_context, struct weir_str key,
                                       struct weir_str fingerprint),
                          void *each_context, struct weir_error *err);
    void *context;
};

struct weir_resource_args {
    const char *name; // as the configuration calls it; [A-Za-z0-9._-], at most WEIR_NAME_BYTES_MAX
    const void *options; // the provider's option struct, valid during open only
    struct weir_log *log;
};

struct weir_watch_args {
    struct weir_pattern pattern;
    struct weir_sink sink;
    // Under which a source that keeps the position itself keeps it: the same for the same
    // subscription at each start, at most WEIR_WATCH_NAME_BYTES_MAX. NULL: it is not to be kept.
    const char *name;
    uint64_t event_bytes_max; // a value above it is reported without data; see the provider's page
    // Valid during the call. NULL: what changes from now on; of a source that keeps positions under
    // names (WEIR_CAN_ACK without WEIR_CAN_REPLAY), from where the name is, if it knows the name.
    const struct weir_resume *resume;
    // Where the watch counts what takes it long: telling what is there, comparing. Outlives the
    // watch. NULL: nobody looks.
    struct weir_meter *meter;
};

enum {
    WEIR_NAME_BYTES_MAX = 128, // names of resources, guests and subscriptions
    WEIR_KEY_BYTES_MAX = 4096, // a key, and a pattern
    WEIR_WATCH_NAME_BYTES_MAX = 1024,
};

// How a resource is, for people.
struct weir_health {
    bool is_known; // something has needed it so far; else the rest says nothing
    bool is_connected;
    int64_t since_wall_ns; // how long it has been so; 0: it was never connected
    uint64_t reconnects;   // connections after the first one
    uint64_t errors;       // connections that were lost or could not be made
    char reason[512];      // why it is not connected; "" where it is
};

// What somebody who tried a resource has found.
struct weir_finding {
    bool is_mistake;    // it does not work so; else it is good to know
    const char *what;   // one line: what was found
    const char *remedy; // what mends it, a command where there is one; NULL: nothing is to be done
};
struct weir_findings {
    void (*tell)(void *context, const struct weir_finding *finding);
    void *context;
};

struct weir_provider;

// The base of each provider's own resource struct, its first member. Owned by the provider.
struct weir_resource {
    const struct weir_provider *provider;
    char *name;
};

// The base of each provider's own watch struct, its first member. Owned by the provider.
struct weir_watch {
    struct weir_resource *resource;
};

// NULL members are operations that the provider does not have: the caller answers WEIR_UNSUPPORTED.
struct weir_provider {
    const char *kind;    // "file"
    const char *summary; // one line for `weir help`
    struct weir_option_table options;
    size_t options_bytes;  // sizeof the struct that the table describes
    uint32_t capabilities; // of enum weir_capability

    // Opens a resource: checks that it is there and may be used.
    weir_status (*open)(const struct weir_resource_args *args, struct weir_resource **ret_resource,
                        struct weir_error *err);
    // Ends its thread and frees it; every watch must have ended. NULL is allowed.
    void (*close)(struct weir_resource *resource);

    // How it is now. NULL: on this machine, so it is there or its calls say why not. Never blocks.
    void (*health)(struct weir_resource *resource, struct weir_health *ret_health);
    // Tries the source for what watches of these patterns, and reading and writing, want of it, and
    // tells what it finds; changes nothing there. The error, where it could not be tried. NULL:
    // open has tried all there is. Before any watch of the resource.
    weir_status (*examine)(struct weir_resource *resource, const struct weir_pattern *patterns,
                           size_t count, const struct weir_findings *findings,
                           struct weir_error *err);

    // Takes away what weir has made at the source for watches (triggers, groups, slots), and tells
    // what that was. Without any watch of the resource; what was kept for one is gone with it.
    // NULL: weir makes nothing there.
    weir_status (*withdraw)(struct weir_resource *resource, const struct weir_findings *findings,
                            struct weir_error *err);

    // Reading and writing. Each ends by limits->until_ns; WEIR_UNAVAILABLE: the source cannot be
    // reached, or did not answer by then, and a change may have been made or not.

    // The value of a key. WEIR_NOT_FOUND; WEIR_LIMIT above limits->value_bytes_max.
    weir_status (*get)(struct weir_resource *resource, struct weir_str key,
                       const struct weir_limits *limits, struct weir_value *ret_value,
                       struct weir_error *err);
    // Sets a key, all or nothing, and durably when it returns, as far as the source is durable.
    weir_status (*set)(struct weir_resource *resource, struct weir_str key, struct weir_str value,
                       const struct weir_limits *limits, struct weir_error *err);
    // Removes a key. WEIR_NOT_FOUND where there is none.
    weir_status (*remove)(struct weir_resource *resource, struct weir_str key,
                          const struct weir_limits *limits, struct weir_error *err);
    // Calls `each` for each key that matches, in byte order; `each` returns false to end the
    // listing.
    weir_status (*list)(struct weir_resource *resource, const struct weir_pattern *pattern,
                        const struct weir_limits *limits, const struct weir_listing *listing,
                        struct weir_error *err);

    // Reads a key, has `change` make a new value of it, and sets that, as one step: no other change
    // that is made through this provider, by whatever process, comes between. What the provider's
    // page says of changes by others holds. The error of `change`; WEIR_UNAVAILABLE: others were
    // always first; otherwise as `get` and `set`, but that a missing key is no error. NULL without
    // WEIR_CAN_UPDATE.
    weir_status (*update)(struct weir_resource *resource, struct weir_str key,
                          const struct weir_limits *limits, const struct weir_change *change,
                          struct weir_error *err);

    // Runs a statement. WEIR_INVALID: the database does not understand it; WEIR_LIMIT: more rows or
    // bytes (limits->value_bytes_max, of all values together) than allowed; WEIR_DENIED. The caller
    // finishes a result. NULL without WEIR_CAN_QUERY.
    weir_status (*query)(struct weir_resource *resource, const struct weir_sql_statement *statement,
                         const struct weir_limits *limits, struct weir_sql_result *ret_result,
                         struct weir_error *err);

    // What a watch of these keys would be. Also checks the pattern. Asks no server: never blocks.
    // NULL: each is every-change, with the capabilities of the provider.
    weir_status (*promise)(struct weir_resource *resource, const struct weir_pattern *pattern,
                           struct weir_promise *ret_promise, struct weir_error *err);
    // Starts to watch: every change that happens after this has returned is offered to the sink, in
    // order per key. One that begins has reached the source by then, or WEIR_UNAVAILABLE within
    // WEIR_WATCH_WAIT_MS; one that goes on needs not: its source may be away, and is told from
    // where it was when it comes back.
    weir_status (*watch)(struct weir_resource *resource, const struct weir_watch_args *args,
                         struct weir_watch **ret_watch, struct weir_error *err);
    // Ends a watch and frees it. NULL is allowed.
    void (*unwatch)(struct weir_watch *watch);
    // The sink that answered WEIR_AGAIN has room; it may come before that `offer` has returned.
    // Never blocks.
    void (*resume)(struct weir_watch *watch);
    // What came of an event that this watch offered is durable, of a bookmark that the position is.
    // In the order of the offers unless
    // several are in flight; never blocks. NULL without WEIR_CAN_ACK.
    void (*acknowledge)(struct weir_watch *watch, struct weir_event *event);

    // Publishes an event, durably when it returns. Called by one thread at a time for a resource;
    // may block up to WEIR_PUBLISH_WAIT_MS. WEIR_AGAIN (no room), WEIR_UNAVAILABLE, WEIR_NO_MEMORY
    // and WEIR_OTHER: call it again later with the same event, before any other. After WEIR_OK too
    // it may be called with the same event again, whose id and source tell so. Everything else:
    // the event cannot be published, ever. NULL without WEIR_CAN_PUBLISH.
    weir_status (*publish)(struct weir_resource *resource, struct weir_event *event,
                           struct weir_error *err);
};
enum { WEIR_PUBLISH_WAIT_MS = 5000, WEIR_WATCH_WAIT_MS = 30000 };

// The providers of this build, in the order in which `weir help` lists them; ended by NULL.
extern const struct weir_provider *const weir_providers[];

// The provider of that kind, NULL where there is none.
const struct weir_provider *weir_provider_find(struct weir_str kind);

#endif
