// SPDX-License-Identifier: Apache-2.0
//
// Watching in the mode `log`, for its two files: log.c has the watches and reads the stream, a
// place at a time, snapshot.c tells what there is where a part of the history is gone.
//
// The hub's thread, all of it.
#ifndef WEIR_PROVIDER_REDIS_LOG_H
#define WEIR_PROVIDER_REDIS_LOG_H

#include "provider/hub.h"
#include "provider/redis/entry.h"
#include "provider/redis/resource.h"
#include "provider/routes.h"

// A place in the stream.
enum place_kind {
    PLACE_BEHIND,   // behind the entry with this id, which is there as long as nothing is lost
    PLACE_AT,       // before it: it is to be told itself
    PLACE_ANYWHERE, // behind this id; there need not be an entry with it
    PLACE_START,    // as the one before, and it is not known whether entries from before are gone
};

struct place {
    struct weir_redis_id id;
    enum place_kind kind;
};

struct weir_redis_log_watch {
    struct weir_hub_watch hub;
    struct weir_redis_log_watch *prev, *next; // in logs->watches
    struct weir_route route;
    bool is_routed;  // in logs->routes and logs->watches
    bool is_stopped; // the sink wants nothing any more
    // Behind the last entry that it was told, or that it began or goes on behind.
    struct place told;
    // It does not follow the head: it has yet to be told what is behind `from`.
    bool is_behind;
    struct place from;
    bool is_waiting;   // it is behind, and may be told: in logs->waiting
    bool lacks_memory; // not to be told before logs->memory_ns
    struct weir_redis_log_watch *waiting_prev, *waiting_next;
    // A part of the history is gone: it is told so first, then what is behind `from`, and what
    // there is of its keys.
    bool has_gap;
    struct weir_redis_id gap_from, gap_to;
    const char *gap_reason;
    bool has_bookmark;             // one is under way
    bool owes_snapshot;            // counted in logs->owing, if is_routed
    char cursor[32];               // of SCAN: of the page behind this one
    struct weir_redis_reply *page; // keys of which it has not been told all; owned
    size_t page_at;                // how many of them it has been told
};

// A command for a piece of the stream, and where that begins.
struct reading {
    struct place at;
    bool is_asked;
    bool is_void;     // what comes is not wanted any more
    size_t asked_for; // entries
};

// What there is of some keys of a watch at a moment; see snapshot.c.
struct snapshot {
    struct weir_redis_log_watch *watch; // NULL: none is under way
    size_t unanswered;                  // commands, also for who does not want them any more
    struct weir_redis_reply *values;    // what EXEC answered; owned
    size_t count;                       // keys
    struct weir_redis_id as_of;         // what was added last by then
};

struct weir_redis_logs {
    struct weir_redis_resource *resource;
    struct weir_redis_session *session;
    struct weir_routes *routes;
    struct weir_redis_log_watch *watches, *waiting;
    uint64_t unmarked;    // entries that the head has read since there were bookmarks
    bool has_head;        // head.at is known
    bool has_news;        // there may be something behind the head
    struct reading head;  // for those that follow
    struct reading sweep; // for those that are behind
    uint64_t entries_at_once;
    size_t owing; // watches that are owed a snapshot
    struct snapshot snapshot;
    int64_t memory_ns; // when those that lacked memory are to be told; INT64_MAX: there are none
};

// ---- log.c

// What XINFO STREAM says of what was added last; zero where there is no stream.
struct weir_redis_id weir_redis_log_last_added(const struct weir_redis_reply *info);
// The text of a place for the events that are told there; a view of the buffer.
enum { WEIR_REDIS_PLACE_BYTES = WEIR_REDIS_ID_BYTES + 2 };
struct weir_str weir_redis_place_format(const struct place *place, bool owes_snapshot,
                                        char buffer[static WEIR_REDIS_PLACE_BYTES]);
// Offers an event. Returns whether it was taken.
bool weir_redis_log_offer(struct weir_redis_logs *logs, struct weir_redis_log_watch *watch,
                          struct weir_event *event);

// ---- snapshot.c

// Goes on with what is owed to some watch that follows the head.
void weir_redis_log_snapshot(struct weir_redis_logs *logs);
// The head has come to where the next entry is this one, or to the end (NULL): tells what was read
// as of before.
void weir_redis_log_snapshot_at(struct weir_redis_logs *logs, const struct weir_redis_id *next);
// Gives up what is under way of this watch, or of any (NULL), to begin with it anew.
void weir_redis_log_snapshot_stop(struct weir_redis_logs *logs,
                                  const struct weir_redis_log_watch *watch);
// The connection is gone, and with it what was asked.
void weir_redis_log_snapshot_lost(struct weir_redis_logs *logs);
// Forgets how far a watch has come.
void weir_redis_log_snapshot_reset(struct weir_redis_log_watch *watch);

#endif
