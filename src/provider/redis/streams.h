// SPDX-License-Identifier: Apache-2.0
//
// Watching in the mode `streams`, for its files: streams.c has the watches and finds their streams,
// tail.c reads one stream for one watch, claim.c takes over what others have left and finds what
// was trimmed unread.
//
// The hub's thread, all of it.
#ifndef WEIR_PROVIDER_REDIS_STREAMS_H
#define WEIR_PROVIDER_REDIS_STREAMS_H

#include "base/table.h"
#include "provider/hub.h"
#include "provider/redis/entry.h"
#include "provider/redis/names.h"
#include "provider/redis/resource.h"
#include "provider/routes.h"

struct weir_redis_stream_watch;

// An entry that was told and is not known to be acknowledged at the server.
struct flight {
    UT_hash_handle hh; // in tail->flights, by id
    struct weir_redis_id id;
    struct flight *prev, *next; // in tail->acks, when it is to be
};

enum tail_phase {
    TAIL_UNMADE,  // its group is to be made, or found to be there
    TAIL_PENDING, // what was delivered to this consumer before, and is not acknowledged, is read
    TAIL_NEW,     // what was delivered to nobody is read
    TAIL_PLAIN,   // there is no group: the watch has no name
};

// One stream for one watch.
struct tail {
    UT_hash_handle hh;                     // in watch->tails, by key
    struct weir_redis_stream_watch *watch; // NULL: it is over, and waits for its last answer
    struct tail *prev, *next;              // in streams->ready if is_ready, or in streams->over
    bool is_ready;
    enum tail_phase phase;
    bool was_made;                      // the group has been there
    bool has_news;                      // there may be something to read
    bool is_at_end;                     // all there was had been read when it was read last
    bool may_be_missing;                // TAIL_PLAIN: the entry at the cursor need not be there
    bool wants_claim, wants_check;      // see claim.c
    unsigned unanswered;                // commands
    uint64_t asked_for;                 // entries
    struct claimed *claimed;            // ids that were asked for, see claim.c; owned, or NULL
    struct weir_redis_id cursor;        // TAIL_PENDING, TAIL_PLAIN: behind which to go on
    struct flight *flights;             // table
    struct flight *acks;                // list: those that are to be acknowledged ...
    size_t acking;                      // ... and how many of them, from the first on, are being
    struct tail *acks_prev, *acks_next; // in streams->acks, if wants_acks
    bool wants_acks;                    // some are to be, and none are being
    bool has_gap;                       // a part of the stream is gone, and that is not told yet
    struct weir_redis_id gap_from, gap_to;
    const char *gap_reason;
    size_t key_size;
    char key[];
};

struct weir_redis_stream_watch {
    struct weir_hub_watch hub;
    struct weir_redis_stream_watch *prev, *next; // in streams->watches
    struct weir_route route;
    bool is_routed, is_stopped;
    bool lacks_memory;  // not to be told before streams->memory_ns
    char *group;        // owned; NULL: it has no name
    struct tail *tails; // table
    bool is_over;       // keys_max is reached
};

struct weir_redis_streams {
    struct weir_redis_resource *resource;
    struct weir_redis_session *session;
    struct weir_routes *routes;
    struct weir_redis_stream_watch *watches;
    struct tail *ready, *over, *acks;
    char *consumer; // owned
    uint64_t entries_at_once;
    int64_t memory_ns; // when those that lacked memory are tried again; INT64_MAX: there are none
    int64_t claim_due_ns;
    int64_t rescan_due_ns;
    // Looking for streams.
    bool is_scan_wanted, is_scanning, is_scan_asked;
    char cursor[32];
};

// ---- tail.c

// The tail of a stream, made where there is none. NULL: no room or memory, which is looked after.
struct tail *weir_redis_tail_for(struct weir_redis_streams *streams,
                                 struct weir_redis_stream_watch *watch, struct weir_str key);
// It is over; freed when its last answer is there.
void weir_redis_tail_end(struct weir_redis_streams *streams, struct tail *tail);
// Frees those that are over and wait for answers that will not come.
void weir_redis_tails_free_over(struct weir_redis_streams *streams);
// The connection is gone, and came back: what was asked is asked anew.
void weir_redis_tail_reset(struct weir_redis_streams *streams, struct tail *tail);
// Sets it into or takes it out of the list of those for which something is to be asked or told.
void weir_redis_tail_update(struct weir_redis_streams *streams, struct tail *tail);
// Asks or tells the next thing. Only while it is ready.
void weir_redis_tail_act(struct weir_redis_streams *streams, struct tail *tail);
// Tells the entries of a reply. Those that find no room are read again from this consumer's pending
// ones.
void weir_redis_tail_tell(struct weir_redis_streams *streams, struct tail *tail,
                          const struct weir_redis_reply *entries);
// A part of the stream is gone.
void weir_redis_tail_gap(struct weir_redis_streams *streams, struct tail *tail,
                         struct weir_redis_id from, struct weir_redis_id to, const char *reason);
void weir_redis_tail_acknowledge(struct weir_redis_streams *streams, struct tail *tail,
                                 struct weir_redis_id id);
// Sends what is to be acknowledged, of this tail, or of all that want to.
void weir_redis_tail_send_acks(struct weir_redis_streams *streams, struct tail *tail);
void weir_redis_tails_send_acks(struct weir_redis_streams *streams);
// An answer has come, and was counted. False: the tail is over, and may be gone.
bool weir_redis_tail_is_over(struct weir_redis_streams *streams, struct tail *tail);
// A reply that shows that something is wrong with the connection, or not with this stream alone:
// gives the connection up. False: it is none.
bool weir_redis_tail_is_bad(struct weir_redis_streams *streams,
                            const struct weir_redis_reply *reply);

// ---- claim.c

void weir_redis_tail_claim(struct weir_redis_streams *streams, struct tail *tail);
void weir_redis_tail_check(struct weir_redis_streams *streams, struct tail *tail);

#endif
