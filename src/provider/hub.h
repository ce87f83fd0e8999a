// SPDX-License-Identifier: Apache-2.0
//
// The thread of a resource, and what its watches ask of it. What a provider has to say is how a
// watch begins and ends at its source, and what there is to do; that `offer` is called on one
// thread only, that nothing is called after unwatch, and that no caller waits for a server that
// does not answer, is said once, here.
//
// A watch is asked for on any thread, and answered on the hub's: watch -> (prepare) -> begin, and
// its caller waits for that. Resumes, acknowledgements and ends are left in a list and done on the
// hub's thread, in the order in which they came; nobody waits for them.
//
// The hub's thread is started by the first watch. It sleeps in poll(2), on what the provider names
// and on a descriptor of its own.
#ifndef WEIR_PROVIDER_HUB_H
#define WEIR_PROVIDER_HUB_H

#include "base/error.h"
#include "provider/provider.h"

#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct weir_hub;

enum {
    WEIR_HUB_FDS_MAX = 8,            // that a provider can wait for
    WEIR_HUB_NO_MEMORY_WAIT_MS = 10, // before a sink without memory is asked again
    WEIR_HUB_END_WAIT_MS = 1000,     // for what was acknowledged last, when the hub ends
};

struct weir_hub_reply;
struct weir_hub_note;

// A watch; the first member of each provider's own. Made and freed by the hub.
struct weir_hub_watch {
    struct weir_watch base;
    // Constant.
    struct weir_hub *hub;
    struct weir_pattern pattern; // its text is the watch's own
    char *name;                  // see struct weir_watch_args; NULL: nothing is to be kept
    uint64_t event_bytes_max;
    bool is_resumed;          // it goes on after a stop
    struct weir_meter *meter; // see struct weir_watch_args; may be NULL

    // The rest is the hub's.
    struct weir_sink sink;
    // Held over each call of the sink, so that after unwatch has held it once no other comes.
    pthread_mutex_t offer_lock;
    bool is_silenced; // under offer_lock: the sink is gone
    // Under the hub's lock.
    unsigned requests;                                  // in the hub's list while not 0
    struct weir_hub_watch *request_prev, *request_next; // in that list
    struct weir_hub_reply *reply;                       // to who waits for its beginning
    struct weir_event **acknowledged; // with a reference each, in the order in which they came
    size_t acknowledged_count, acknowledged_capacity;
    // The thread's.
    bool has_begun;
    bool is_held;    // the sink does not remember yet what there was when it began
    bool is_paused;  // the sink had no room
    bool is_unasked; // the sink had no memory: it is in the hub's list of those, ...
    int64_t ask_ns;  // ... until this moment
    struct weir_hub_watch *unasked_prev, *unasked_next;
    struct weir_hub_note *notes; // to be remembered
    struct weir_hub_note **notes_end;
};

// What a provider is to its hub. `context` is what weir_hub_create was given. Everything but
// `prepare` and `discard` is called on the hub's thread.
struct weir_hub_functions {
    size_t watch_bytes; // of the provider's own watch struct; zeroed when it is made

    // Reads what is only valid during `watch` (args->resume) into the new watch, which nobody else
    // knows yet. On the thread that watches. NULL: there is nothing to read.
    weir_status (*prepare)(void *context, struct weir_hub_watch *watch,
                           const struct weir_watch_args *args, struct weir_error *err);
    // Begins it: what changes after this has returned will be offered. May reach for the source
    // until until_ns; every wait in it is a weir_hub_wait. May call weir_hub_remember, and offer.
    weir_status (*begin)(void *context, struct weir_hub_watch *watch, int64_t until_ns,
                         struct weir_error *err);
    // Ends one that has begun. Its sink takes nothing any more.
    void (*end)(void *context, struct weir_hub_watch *watch);
    // Its sink may have room again after weir_hub_offer had answered WEIR_AGAIN; it may also come
    // for nothing. Of a watch that has begun.
    void (*resume)(void *context, struct weir_hub_watch *watch);
    // What came of an event is durable. NULL: nobody wants to know.
    void (*acknowledge)(void *context, struct weir_hub_watch *watch, struct weir_event *event);
    // All that were waiting have been told to `acknowledge`: the moment to send them together.
    // May be NULL.
    void (*acknowledged)(void *context);
    // Frees what the provider's own struct holds, not itself. On any thread; it is the last call.
    // NULL: nothing.
    void (*discard)(struct weir_hub_watch *watch);

    // What to wait for: fills at most WEIR_HUB_FDS_MAX, and returns how many.
    size_t (*wait_for)(void *context, struct pollfd ret_fds[static WEIR_HUB_FDS_MAX]);
    // Does what can be done now, a bounded part of it, without waiting but by weir_hub_wait. `fds`
    // are those of wait_for, with what was ready; a hint, since requests were served in between.
    // Returns the moment (monotonic) to be called at if nothing becomes ready before; 0:
    // at once, INT64_MAX: never.
    int64_t (*work)(void *context, const struct pollfd *fds, size_t count);
};

struct weir_hub_args {
    struct weir_resource *resource; // must outlive the hub; kind and name are the thread's
    const struct weir_hub_functions *functions;
    void *context;
};

// Starts no thread yet. WEIR_NO_MEMORY, and what eventfd(2) answers.
weir_status weir_hub_create(const struct weir_hub_args *args, struct weir_hub **ret_hub,
                            struct weir_error *err);
// Ends the thread and waits for it: every weir_hub_wait returns at once. Every watch must have
// ended. NULL is allowed. Not on the hub's thread.
void weir_hub_destroy(struct weir_hub *hub);

// The provider's functions `watch`, `unwatch`, `resume` and `acknowledge` but for finding the hub.
// The pattern must have been checked. Any thread but the hub's.
weir_status weir_hub_watch(struct weir_hub *hub, const struct weir_watch_args *args,
                           struct weir_watch **ret_watch, struct weir_error *err);
void weir_hub_unwatch(struct weir_watch *watch);
void weir_hub_resume(struct weir_watch *watch);
void weir_hub_acknowledge(struct weir_watch *watch, struct weir_event *event);

// Whether there is a watch, be it one that begins or ends just now. Any thread.
bool weir_hub_is_watched(const struct weir_hub *hub);

// Wakes the thread: `work` is called once more. Any thread, also a signal's or a library's.
void weir_hub_wake(struct weir_hub *hub);

// ---- on the hub's thread ----

// Offers an event to the watch's sink. WEIR_OK: taken. WEIR_AGAIN: there is no room; keep it, or
// know how to find it again, and offer nothing more to this watch before `resume` (which comes by
// itself also where memory was short). WEIR_STOPPED: drop it, and offer nothing more.
weir_status weir_hub_offer(struct weir_hub_watch *watch, struct weir_event *event);
// Whether offers would be answered by WEIR_AGAIN now.
bool weir_hub_is_paused(const struct weir_hub_watch *watch);

// In `begin` alone: has the sink remember a fingerprint, or, with an empty key, a position, before
// any event is offered. Nothing where the sink remembers nothing, or the watch goes on.
// WEIR_NO_MEMORY.
weir_status weir_hub_remember(struct weir_hub_watch *watch, struct weir_str key,
                              struct weir_str fingerprint, struct weir_error *err);

// Waits for events (of poll(2)) of a descriptor, until the moment. WEIR_OK: they are there, or an
// error is to be found by reading; WEIR_UNAVAILABLE: they are not; WEIR_STOPPED: the hub ends. fd
// -1: waits for the moment alone.
weir_status weir_hub_wait(struct weir_hub *hub, int fd, short events, int64_t until_ns);
bool weir_hub_is_ending(const struct weir_hub *hub);

#endif
