// SPDX-License-Identifier: Apache-2.0
//
// A guest: a compiled WebAssembly module or component, its handlers by name, and calls to them.
// What a guest may do is decided by whoever implements struct weir_guest_host; this room knows
// nothing of resources or queues.
//
// Threads: a guest may be used by any number of threads at once. Each call runs on the caller's
// thread in an instance (a store of its own) that no other thread enters and no other call shares.
#ifndef WEIR_GUEST_GUEST_H
#define WEIR_GUEST_GUEST_H

#include "base/error.h"
#include "base/sql.h"
#include "base/str.h"
#include "base/value.h"
#include "event/event.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct weir_engine;
struct weir_guest;

enum {
    WEIR_HANDLERS_MAX = 256,       // handlers of one guest
    WEIR_OUTPUT_LINE_BYTES = 4096, // a longer line of a guest's output is broken
    WEIR_HANDLER_LIST_BYTES = 512, // of a message's list of handlers
    WEIR_GUEST_HASH_BYTES = 40,    // "xxh128:", 32 digits and the terminator
    WEIR_CALL_TAIL_BYTES = 2048,   // of what a call printed last
    WEIR_LANE_REASON_BYTES = WEIR_ERROR_MESSAGE_BYTES,
    WEIR_GUEST_CONFIG_MAX = 256, // values of the configuration for one guest
};

// The handler that `listen` means, and so does a subscription that names none; and the one that
// they mean where a guest has no such.
#define WEIR_HANDLER_DEFAULT           "handle-event"
#define WEIR_HANDLER_DEFAULT_OR_REJECT "handle-event-or-reject"

// Handlers by the standard interfaces. A watcher has three names: WEIR_HANDLER_WATCHER is told all
// changes, the others those that their name says, and handle the rest by doing nothing.
#define WEIR_HANDLER_WATCHER   "watcher"   // wasi:keyvalue/watcher
#define WEIR_HANDLER_ON_SET    "on-set"    // of it
#define WEIR_HANDLER_ON_DELETE "on-delete" // of it
#define WEIR_HANDLER_MESSAGE   "handle"    // wasi:messaging/incoming-handler

// What a guest's main can ask of its host; implemented by whoever runs it. `session` is what
// weir_guest_run was given. Every function is called on the thread of that weir_guest_run. Statuses
// WEIR_NOT_FOUND to WEIR_OTHER reach the guest as its `error`; the rest trap it.
struct weir_guest_host {
    // resources.open: checks that the guest may open this resource. The descriptor is the name.
    weir_status (*open)(void *session, struct weir_str name, struct weir_error *err);
    // resources.watch: starts to capture.
    weir_status (*watch)(void *session, struct weir_str rd, struct weir_str key,
                         struct weir_error *err);
    // events.get: a new set, with one reference.
    weir_status (*set_new)(void *session, void **ret_set, struct weir_error *err);
    void (*set_ref)(void *session, void *set);
    void (*set_unref)(void *session, void *set); // the last reference ends the set
    // events.listen and listen-to: `handler` is an index of this guest's handlers.
    weir_status (*set_listen)(void *session, void *set, struct weir_str rd, struct weir_str key,
                              uint32_t handler, struct weir_error *err);
    // events.exec: returns when `duration_s` seconds are over (0: when the host stops).
    weir_status (*set_exec)(void *session, void *set, uint64_t duration_s, struct weir_error *err);
};

// What a resource is opened for.
enum weir_guest_use { WEIR_GUEST_USE_STORE, WEIR_GUEST_USE_TOPIC };

struct weir_call;
struct weir_trace_call;

// One request of weir:http, and its response.
struct weir_guest_http_request {
    struct weir_str method, url;
    struct weir_attributes headers;
    struct weir_optional_payload body;
    int64_t until_ns; // monotonic
    uint64_t response_bytes_max;
    bool (*is_cut)(const void *context); // asked while it lasts
    const void *cut_context;
    struct weir_trace_call *trace; // of the call that asks; NULL: there is none
};
struct weir_guest_http_response {
    uint16_t status;
    struct weir_attributes headers; // beyond WEIR_EXTENSIONS_MAX
    struct weir_str body;
    bool is_timeout; // where it failed: because its time was over
    void *held;      // what the views point to
};

// What a guest asks of its host in its main and in handlers alike: resources, by the numbers that
// `open` gave, its configuration, the log. Implemented by src/access/, which also decides what is
// granted. Called on the thread of the guest's call, by any number of threads at once. Statuses
// from WEIR_NOT_FOUND to WEIR_OTHER reach the guest, in the form that its interface has for them;
// the rest trap it.
struct weir_guest_access {
    // WEIR_NOT_FOUND; WEIR_DENIED: the guest has no grant for it; WEIR_UNSUPPORTED: it is nothing
    // that can be used so.
    weir_status (*open)(void *context, struct weir_str name, enum weir_guest_use use,
                        uint32_t *ret_resource, struct weir_error *err);
    // The resource of that name as a store, whatever is granted: what is done with it is what
    // counts. WEIR_NOT_FOUND.
    weir_status (*find)(void *context, struct weir_str name, uint32_t *ret_resource,
                        struct weir_error *err);
    // Each of these is granted or WEIR_DENIED, with a message that names the missing grant; the
    // rest is the provider's, see provider.h. The caller frees a value.
    weir_status (*get)(void *context, uint32_t resource, struct weir_str key,
                       const struct weir_limits *limits, struct weir_value *ret_value,
                       struct weir_error *err);
    weir_status (*set)(void *context, uint32_t resource, struct weir_str key, struct weir_str value,
                       const struct weir_limits *limits, struct weir_error *err);
    weir_status (*remove)(void *context, uint32_t resource, struct weir_str key,
                          const struct weir_limits *limits, struct weir_error *err);
    // Tells the keys that the guest may list and that come behind `after` (empty: all), in the
    // order of their bytes.
    weir_status (*list)(void *context, uint32_t resource, struct weir_str after,
                        const struct weir_limits *limits, const struct weir_listing *listing,
                        struct weir_error *err);
    weir_status (*update)(void *context, uint32_t resource, struct weir_str key,
                          const struct weir_limits *limits, const struct weir_change *change,
                          struct weir_error *err);
    // The event's type, data, datacontenttype, subject and extensions; the rest is the host's. Kept
    // to be published when it returns, in any case before what the call was made for is settled.
    weir_status (*publish)(void *context, uint32_t resource, struct weir_call *call,
                           const struct weir_event_fields *event, struct weir_error *err);
    // What the configuration says to the guest; lives as long as it.
    struct weir_attributes (*config)(void *context);
    // Environment variables that it is given, likewise.
    struct weir_attributes (*environment)(void *context);
    // Waits for the response, which is to be given back by http_finish if it is WEIR_OK.
    weir_status (*http_send)(void *context, const struct weir_guest_http_request *request,
                             struct weir_guest_http_response *ret_response, struct weir_error *err);
    void (*http_finish)(struct weir_guest_http_response *response);
    // Runs a statement in the database of that name, for reading it or for changing it, as the
    // statement says. As `open` besides, and as `get`. The caller finishes a result.
    weir_status (*query)(void *context, struct weir_str database,
                         const struct weir_sql_statement *statement,
                         const struct weir_limits *limits, struct weir_sql_result *ret_result,
                         struct weir_error *err);
    // level: 0 trace, 1 debug, 2 info, 3 warn, 4 error, 5 critical.
    void (*log)(void *context, uint8_t level, struct weir_str log_context, struct weir_str message);
    // A guest holds a reference of its own as long as it lives.
    void (*ref)(void *context);
    void (*unref)(void *context);
};

// Where a guest's output goes, a line at a time without its end. Called on the thread of the call
// that prints. Returns false where nobody took the line in time: the rest of that call's output is
// then dropped without being offered, so that a reader who does not read delays a call once.
struct weir_guest_output {
    bool (*line)(void *context, const char *guest, struct weir_str line);
    void *context;
};

// How a guest is run: a core module by the canonical ABI in weir's own tables, or a component by
// the engine's dynamic values, which any component can be, and which is some times slower.
enum weir_guest_lane {
    WEIR_GUEST_LANE_AUTO, // the core lane where it can
    WEIR_GUEST_LANE_CORE, // or not at all
    WEIR_GUEST_LANE_COMPONENT,
};

enum weir_guest_instances { WEIR_INSTANCES_FRESH, WEIR_INSTANCES_REUSED };

struct weir_guest_args {
    const char *name;
    enum weir_guest_instances instances;
    enum weir_guest_lane lane;
    uint32_t idle_max;     // with WEIR_INSTANCES_REUSED: instances kept between calls
    int64_t time_ns;       // of one call, see bounds.time
    uint64_t memory_bytes; // bounds.memory
    uint64_t event_bytes;  // bounds.event
    uint64_t output_bytes; // bounds.output
    uint64_t module_bytes; // bounds.module
    uint32_t handles;      // bounds.handles
    struct weir_guest_output output;
    const struct weir_guest_host *host;
    const struct weir_guest_access *access; // NULL: there is nothing to reach
    void *access_context;
};

// What a handler is called for.
struct weir_cause {
    const char *subscription;
    const char *resource; // that the event is of
    const struct weir_event *event;
    struct weir_trace_call *trace; // NULL: there are no traces
};

// A running call that another thread may cut. Zero is_cut before use.
struct weir_call {
    atomic_bool is_cut; // set it, and the guest is cut within WEIR_EPOCH_TICK_MS and a half
    // The end of what the call printed, also of what nobody took: whole lines, or the end of one
    // that alone is longer. Until the next call with it, on the thread of the call.
    size_t output_tail_size;
    char output_tail[WEIR_CALL_TAIL_BYTES];
    const struct weir_cause *cause; // set by whoever has a handler called; NULL: nobody says
    uint32_t sent;                  // events that the call has published itself
};

enum weir_outcome {
    WEIR_HANDLED,  // ok(none) or ok(some)
    WEIR_FAILED,   // err(text), or err(retry(text)): the text is in `error`
    WEIR_REJECTED, // err(reject(text)): likewise, and another attempt is of no use
    WEIR_BROKEN,   // trap, cut, bound, or a result that breaks the contract: `error` says which
};

struct weir_verdict {
    enum weir_outcome outcome;
    struct weir_event *derived; // ok(some): owned by whoever holds the verdict; else NULL
    struct weir_error error;    // filled unless WEIR_HANDLED
};

// Compiles a guest from a file, or from bytes. The name is copied. WEIR_INVALID: nothing that
// weir can run, with the reason; WEIR_LIMIT: larger than module_bytes; WEIR_NOT_FOUND and others
// from the file system.
weir_status weir_guest_load(struct weir_engine *engine, const struct weir_guest_args *args,
                            const char *path, struct weir_guest **ret_guest,
                            struct weir_error *err);
weir_status weir_guest_compile(struct weir_engine *engine, const struct weir_guest_args *args,
                               struct weir_str wasm, struct weir_guest **ret_guest,
                               struct weir_error *err);
// Whether the file has what the guest was compiled from. False also where it cannot be read:
// weir_guest_load says why.
bool weir_guest_is_of_file(const struct weir_guest *guest, const char *path);
// A guest is made with one reference. The last one that is given back frees it; whoever calls a
// guest holds one meanwhile. NULL is allowed in both. Any thread.
struct weir_guest *weir_guest_ref(struct weir_guest *guest);
void weir_guest_unref(struct weir_guest *guest);

const char *weir_guest_name(const struct weir_guest *guest);
// Of the guest's file: "xxh128:" and 32 hexadecimal digits.
const char *weir_guest_hash(const struct weir_guest *guest);

// args.access_context, as it was loaded.
void *weir_guest_access_context(const struct weir_guest *guest);

// Which lane it is in (never WEIR_GUEST_LANE_AUTO), and why, in a sentence's end for a person:
// "it is a core module". As long as the guest.
enum weir_guest_lane weir_guest_lane(const struct weir_guest *guest, const char **ret_reason);

// Why a body that is no text is dear to some handler of it (annex.h), in a sentence's end; NULL: it
// is to none. As long as the guest.
const char *weir_guest_dear_bodies(const struct weir_guest *guest);

// What is measured of a guest.
struct weir_guest_stats {
    uint64_t instances_made;       // since it was loaded, of handlers and mains
    uint64_t instances;            // now: in a call, or kept for the next one
    uint64_t memory_bytes_largest; // that an instance has had at the end of a call; 0: not known,
                                   // as of components, whose memory the engine shows to nobody
    int64_t compile_ns; // that it took to make it ready to run, compiled or from the cache
};
// Any thread.
void weir_guest_stats(const struct weir_guest *guest, struct weir_guest_stats *ret_stats);

// What a person wants to know of a guest: the size of its file, and, by number from 0, what it
// imports in its lane: "wasi:io/poll@0.2.3", "wasi_snapshot_preview1". As long as the guest.
uint64_t weir_guest_file_bytes(const struct weir_guest *guest);
uint32_t weir_guest_import_count(const struct weir_guest *guest);
const char *weir_guest_import(const struct weir_guest *guest, uint32_t import);
// The export that is its main; NULL: it has none.
const char *weir_guest_main_name(const struct weir_guest *guest);

// Handlers are numbered from 0 in the order of the module's exports.
uint32_t weir_guest_handler_count(const struct weir_guest *guest);
const char *weir_guest_handler_name(const struct weir_guest *guest, uint32_t handler);
// Finds a handler. WEIR_HANDLER_DEFAULT stands for WEIR_HANDLER_DEFAULT_OR_REJECT where the guest
// exports no such function, then for WEIR_HANDLER_WATCHER, then for WEIR_HANDLER_MESSAGE.
// WEIR_NOT_FOUND lists those there are; WEIR_INVALID: exported with another signature.
weir_status weir_guest_handler_find(const struct weir_guest *guest, struct weir_str name,
                                    uint32_t *ret_handler, struct weir_error *err);

// Whether it exports a main: run, _start or wasi:cli/run.
bool weir_guest_has_main(const struct weir_guest *guest);
// Calls its main in an instance of its own, with imports that ask `session`. Blocks until main has
// returned. WEIR_OTHER: main returned an error or a code other than 0; WEIR_TRAPPED: it was cut or
// trapped; WEIR_NOT_FOUND: it has none.
weir_status weir_guest_run(struct weir_guest *guest, void *session, struct weir_call *call,
                           struct weir_error *err);

// Calls a handler with an event. The verdict is always filled.
void weir_guest_handle(struct weir_guest *guest, uint32_t handler,
                       const struct weir_event_fields *event, struct weir_call *call,
                       struct weir_verdict *ret_verdict);

#endif
