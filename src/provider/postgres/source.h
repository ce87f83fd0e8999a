// SPDX-License-Identifier: Apache-2.0
//
// What the hub's thread of a resource works with: its watches, the tables that they are of, and the
// streams that tell what changes. Everything here belongs to that thread.
//
// Two streams, since there are two kinds of watches. Those that are kept under a name share a slot
// that the server keeps while weir does not run. The others share a temporary slot, which is gone
// with its connection, so that nothing is left behind by who only wants to look. Either is one
// connection, whatever the number of watches, and is opened by the first that needs it.
//
// A watch takes the stream from its own position on: what is at or before it is passed over. So the
// first stream may go back (rewind) for one that needs what was sent already, because it came
// later, or was read a table to meanwhile: nobody is told anything twice by that. It goes back by
// connecting anew, because a connection streams a logical slot once: the server never clears that
// its client has ended the first time. A temporary slot does not outlive its connection; so the
// second stream cannot go back, and stands still while a table is read to one of its watches.
#ifndef WEIR_PROVIDER_POSTGRES_SOURCE_H
#define WEIR_PROVIDER_POSTGRES_SOURCE_H

#include "base/table.h"
#include "provider/hub.h"
#include "provider/postgres/chain.h"
#include "provider/postgres/pgoutput.h"
#include "provider/postgres/position.h"
#include "provider/postgres/relation.h"
#include "provider/postgres/resource.h"
#include "provider/postgres/visible.h"
#include "provider/routes.h"

enum {
    WEIR_PG_RECENT = 64,    // transactions of which a stream knows that it has told them
    WEIR_PG_REWIND_MS = 10, // until a stream goes back, for others that have to
    WEIR_PG_GHOSTS = 16,    // moments until which the server keeps something for who may come back
    WEIR_PG_REASON_BYTES = 200,
};

enum weir_pg_watch_state {
    // Goes on after a stop, and the server was not asked yet whether it can; or waits for the
    // stream
    // to go back: told anything before, it would pass over what it waits for.
    WEIR_PG_JOINING,
    WEIR_PG_GAP,      // is to be told of a gap
    WEIR_PG_SNAPSHOT, // is to be told what is there
    WEIR_PG_LIVE,     // takes the stream
    WEIR_PG_DONE,     // its sink wants nothing more
};

struct weir_pg_stream;

struct weir_pg_watch {
    struct weir_hub_watch base;
    // Constant.
    struct weir_pg_table_name name; // of its table
    struct weir_str key_text;       // its pattern as the routes of the table have it
    bool is_kept;
    // The thread's.
    struct weir_pg_table *table;
    struct weir_pg_stream *stream;
    struct weir_route routes[2];
    enum weir_pg_watch_state state;
    struct weir_pg_position told; // the last that it was told, or behind which it begins
    uint64_t durable_lsn;         // its sink goes on from here, or from behind it, whatever happens
    bool has_bookmark;            // one is under way
    struct weir_pg_visible *visible; // of one that has just begun: what it must not be told, ...
    uint64_t visible_until_lsn;      // ... of the transactions that committed before this
    uint64_t gap_from_lsn;
    char gap_reason[WEIR_PG_REASON_BYTES];
    uint64_t job, row; // the last row that it was told, and of which reading of its table
    struct weir_pg_watch *table_prev, *table_next, *stream_prev, *stream_next;
};

struct weir_pg_table {
    struct weir_pg_table_name name;
    struct weir_routes *routes;
    struct weir_pg_watch *watches;
    bool is_ready; // it was looked at, and is in the publication
    UT_hash_handle hh;
};

enum weir_pg_stream_state {
    WEIR_PG_DOWN,
    WEIR_PG_STREAMING,
};

struct weir_pg_recent {
    uint32_t xid;
    uint64_t commit_lsn;
};

struct weir_pg_ghost {
    uint64_t lsn;
    int64_t until_ns; // 0: there is none
};

struct weir_pg_stream {
    struct weir_pg_source *source;
    bool is_temporary;
    char slot[WEIR_PG_NAME_BYTES];
    struct weir_pg_watch *watches;
    enum weir_pg_stream_state state;
    PGconn *connection;
    int pid;           // the server's process of the connection, also of the last one
    int64_t retry_ns;  // when to connect again
    int64_t unused_ns; // since when there is no watch; 0: there are some

    // Of the server, and how far it is.
    uint64_t system;
    uint32_t timeline;
    uint64_t server_lsn;    // it was there when last heard of
    uint64_t confirmed_lsn; // it needs not send again what is before this
    uint64_t passed_lsn;    // transactions whose commit is before this were told
    uint64_t asked_lsn;     // it waits for the answer that this is confirmed; 0: it does not
    bool has_slot;          // it is known to be there
    bool is_unreadable;     // there is a place in it that cannot be passed

    // The transaction that is being told, and the change in it.
    bool is_in_transaction;
    uint32_t xid;
    int64_t commit_wall_ns;
    struct weir_pg_position at;
    uint64_t last_change_lsn;
    uint32_t same_lsn; // changes with that LSN before this one
    char chain[WEIR_PG_CHAIN_BYTES_MAX];
    size_t chain_size;
    struct weir_pg_relation *relations; // by id
    struct weir_pg_recent recent[WEIR_PG_RECENT];
    size_t recent_next;

    // What was received and not told to all: offered again when a sink has room. libpq's.
    char *held;
    size_t held_size;
    bool is_held;     // a sink had no room for it
    bool is_repeated; // it was looked at before

    uint64_t rewind_lsn; // to where it is to go back; UINT64_MAX: nowhere
    int64_t rewind_ns;   // when, so that several go back together
    int64_t again_ns;    // memory was short: when to tell again what is held
    int64_t heard_ns, status_ns, beat_ns;
    bool is_status_due;
};

struct weir_pg_job;

struct weir_pg_source {
    struct weir_pg_resource *resource;
    char event_source[WEIR_NAME_BYTES_MAX + 2]; // of the events
    PGconn *control;
    struct weir_pg_table *tables; // by name.text
    struct weir_pg_stream streams[2];
    struct weir_pg_message *message; // read into again and again
    struct weir_pg_job *job;         // NULL: no table is being read
    uint64_t job_count;
    int64_t job_retry_ns;  // INT64_MAX: until a watch wants to be read to
    int64_t check_ns;      // when to look at the publication
    bool are_joining;      // some watch goes on that was not looked at
    bool are_gaps_due;     // some watch is to be told of a gap, and may have room
    int64_t hold_until_ns; // nothing is given up before, for those that come after a start
    struct weir_pg_ghost ghosts[WEIR_PG_GHOSTS];
};

// ---- source.c ----

weir_status weir_pg_source_create(struct weir_pg_resource *resource, struct weir_error *err);
// The hub's thread must have ended.
void weir_pg_source_destroy(struct weir_pg_source *source);
extern const struct weir_hub_functions weir_pg_hub_functions;

static inline struct weir_waiter weir_pg_source_waiter(const struct weir_pg_source *source,
                                                       int64_t until_ns) {
    return (struct weir_waiter){.hub = source->resource->hub, .until_ns = until_ns};
}
// Has the stream go back, if it has passed that already; whether it has. Not the temporary one.
bool weir_pg_rewind(struct weir_pg_stream *stream, uint64_t lsn);
// The watch has missed something: it goes on from where the stream is when it was told so.
void weir_pg_watch_lose(struct weir_pg_watch *watch, const char *reason);
// What is there is to be told to it.
void weir_pg_watch_read(struct weir_pg_watch *watch);
// Its gap was told, or its table read: what comes next for it.
void weir_pg_watch_go_live(struct weir_pg_watch *watch);

// ---- stream.c ----

// Connects and starts it; makes its slot where there is none.
weir_status weir_pg_stream_connect(struct weir_pg_stream *stream, const struct weir_waiter *waiter,
                                   struct weir_error *err);
// Looks whether a watch can go on where it was.
weir_status weir_pg_stream_join(struct weir_pg_stream *stream, struct weir_pg_watch *watch,
                                const struct weir_waiter *waiter, struct weir_error *err);
// Reads a bounded part of what has come. Returns whether there may be more.
bool weir_pg_stream_read(struct weir_pg_stream *stream);
// The connection is lost, because of that.
void weir_pg_stream_down(struct weir_pg_stream *stream, const struct weir_error *cause);
// Ends it without a word.
void weir_pg_stream_close(struct weir_pg_stream *stream);
// What is due of status, questions whether the server lives, and going back. Returns when it is to
// be called again.
int64_t weir_pg_stream_tend(struct weir_pg_stream *stream, int64_t now_ns);
// Whether it is not read now.
bool weir_pg_stream_stands(const struct weir_pg_stream *stream);
// Behind what it has told last.
struct weir_pg_position weir_pg_stream_place(const struct weir_pg_stream *stream);
// How far the server may forget.
uint64_t weir_pg_stream_flushed(const struct weir_pg_stream *stream);
// What watches have acknowledged may be what the server waits for.
void weir_pg_stream_acknowledged(struct weir_pg_stream *stream);

// ---- tell.c ----

// Tells the message that is in source->message, or what is left of it. WEIR_AGAIN: some sink has no
// room for it.
weir_status weir_pg_tell(struct weir_pg_stream *stream, struct weir_error *err);
// A row of a table that is being read.
struct weir_pg_job_row {
    uint64_t job, number; // which reading, and which row of it, from 1 on
    struct weir_pg_stream *stream;
    struct weir_pg_table *table;
    const struct weir_pg_relation *relation;
    const PGresult *result; // of one row
    struct weir_pg_position position;
    int64_t wall_ns;
};
// Tells it to the watches of the stream that are read to by that job. As weir_pg_tell.
weir_status weir_pg_tell_row(const struct weir_pg_job_row *row, struct weir_error *err);
// Tells the watch of its gap. Whether that is done.
bool weir_pg_tell_gap(struct weir_pg_watch *watch);
// Moves the watch's position.
void weir_pg_tell_bookmark(struct weir_pg_watch *watch, uint64_t lsn);

// ---- catalog.c: what is asked on a connection of its own ----

weir_status weir_pg_control(struct weir_pg_source *source, const struct weir_waiter *waiter,
                            struct weir_error *err);
// Runs a statement there: with text parameters, or several statements without.
weir_status weir_pg_ask(struct weir_pg_source *source, const struct weir_waiter *waiter,
                        const char *text, const char *const *values, int count,
                        struct weir_pg_answer *ret_answer, struct weir_error *err);
// Looks at the table, and has it in the publication. Sets *ret_is_added: changes of it were not
// told before now.
weir_status weir_pg_table_prepare(struct weir_pg_source *source, struct weir_pg_table *table,
                                  const struct weir_waiter *waiter, bool *ret_is_added,
                                  struct weir_error *err);
// Nothing is known of tables any more.
void weir_pg_tables_doubt(struct weir_pg_source *source);
// What a transaction that begins now sees, and where the log ends by then.
weir_status weir_pg_visible_now(struct weir_pg_source *source, const struct weir_waiter *waiter,
                                struct weir_pg_visible **ret_visible, uint64_t *ret_lsn,
                                struct weir_error *err);
// Looks whether the publication is still what it has to be; has those watches told of a gap for
// which it was not.
weir_status weir_pg_publication_watch(struct weir_pg_source *source,
                                      const struct weir_waiter *waiter, struct weir_error *err);
// The names of the columns of a table's primary key.
weir_status weir_pg_primary_key(struct weir_pg_source *source, uint32_t relation,
                                const struct weir_waiter *waiter, PGresult **ret_result,
                                struct weir_error *err);

// ---- job.c: reading tables ----

// Begins one, if a watch waits for it, or goes on with the one that is under way, a bounded part of
// it. Returns when it is to be called again.
int64_t weir_pg_job_work(struct weir_pg_source *source, int64_t now_ns);
// Whether it reads to watches of that stream.
bool weir_pg_job_is_of(const struct weir_pg_job *job, const struct weir_pg_stream *stream);
// What to wait for; -1: nothing.
int weir_pg_job_fd(const struct weir_pg_job *job);
// A sink has room again.
void weir_pg_job_resume(struct weir_pg_job *job);
void weir_pg_job_destroy(struct weir_pg_job *job);

#endif
