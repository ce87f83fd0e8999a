// SPDX-License-Identifier: Apache-2.0
//
// A replication connection: its slot, and reading from it.
//
// A stream is read message by message, and stops being read where a sink has no room: what the
// server has sent then waits in the socket's buffers, and the rest in its log. The server is told
// that we live all the same, at least every STATUS_MS, and how far it may forget; it would end the
// connection after its wal_sender_timeout.
//
// How far it may forget: to the place from which each watch that is kept would go on if weir ended
// now. A watch that is told nothing for a day would hold that back; so it is offered bookmarks, at
// each beat, and the server may forget what is before one when it is acknowledged. A server that
// asks for an answer waits for that place: it gets a beat at once, and another word whenever what
// it waits for comes nearer.
//
// The hub's thread.
#include "provider/postgres/source.h"

#include "base/clock.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    READ_AT_ONCE_MAX = 1024, // messages
    STATUS_MS = 5000,
    ASK_MS = 15000,  // of silence, before the server is asked whether it is there
    DEAD_MS = 60000, // of silence, after which it is not
    NO_MEMORY_MS = 10,
    RELEASE_MS = 5,         // between two looks at whether the slot is free
    SLOT_CREATE_MS = 25000, // while other transactions end
    TEXT_BYTES = 512,
};

// The server's answer where, at the place in the log that it is at, there was no such publication.
// It is the same each time: that place cannot be passed.
#define UNDEFINED_OBJECT "42704"

// ---- statements on the replication connection ----

static weir_status run(struct weir_pg_stream *stream, const struct weir_waiter *waiter,
                       const char *text, struct weir_pg_answer *ret_answer,
                       struct weir_error *err) {
    const struct weir_pg_statement statement = {.text = text, .is_simple = true};
    return weir_pg_run(stream->connection, waiter, &statement, ret_answer, err);
}

static weir_status fail_answer(const char *what, struct weir_error *err) {
    return weir_fail(err, WEIR_OTHER, "the server's answer to %s is not of the form that it has",
                     what);
}

// Transactions that are not in the server's log, because it was restored, or is another's.
static void forget_recent(struct weir_pg_stream *stream, uint64_t above_lsn) {
    for (size_t i = 0; i < WEIR_PG_RECENT; i++) {
        if (stream->recent[i].commit_lsn > above_lsn) {
            stream->recent[i] = (struct weir_pg_recent){.commit_lsn = 0};
        }
    }
}

static weir_status identify(struct weir_pg_stream *stream, const struct weir_waiter *waiter,
                            struct weir_error *err) {
    struct weir_pg_answer answer;
    weir_status status = run(stream, waiter, "IDENTIFY_SYSTEM", &answer, err);
    if (status != WEIR_OK) {
        return status;
    }
    uint64_t lsn;
    if (PQntuples(answer.result) != 1 || PQnfields(answer.result) < 3 ||
        !weir_pg_lsn_parse(PQgetvalue(answer.result, 0, 2), &lsn)) {
        status = fail_answer("IDENTIFY_SYSTEM", err);
    } else {
        stream->system = strtoull(PQgetvalue(answer.result, 0, 0), NULL, 10);
        stream->timeline = (uint32_t)strtoul(PQgetvalue(answer.result, 0, 1), NULL, 10);
        stream->server_lsn = lsn;
        forget_recent(stream, lsn);
    }
    PQclear(answer.result);
    return status;
}

// ---- the slot ----

struct slot {
    bool is_there, is_lost, is_other; // is_other: of another database, or another plugin
    bool is_active;
    int pid;
    uint64_t confirmed_lsn;
};

static weir_status look_at_slot(struct weir_pg_stream *stream, const struct weir_waiter *waiter,
                                struct slot *ret_slot, struct weir_error *err) {
    char text[TEXT_BYTES];
    struct weir_pg_answer answer;
    *ret_slot = (struct slot){.is_there = false};
    snprintf(
        text, sizeof text,
        "SELECT coalesce(database, '') = current_database() AND coalesce(plugin, '') = "
        "'pgoutput', coalesce(active_pid, 0), coalesce(wal_status, '') = 'lost', "
        "coalesce(confirmed_flush_lsn, '0/0') FROM pg_replication_slots WHERE slot_name = '%s'",
        stream->slot);
    weir_status status = run(stream, waiter, text, &answer, err);
    if (status != WEIR_OK) {
        return status;
    }
    ret_slot->is_there = PQntuples(answer.result) == 1;
    if (ret_slot->is_there) {
        ret_slot->is_other = strcmp(PQgetvalue(answer.result, 0, 0), "t") != 0;
        ret_slot->pid = (int)strtol(PQgetvalue(answer.result, 0, 1), NULL, 10);
        ret_slot->is_active = ret_slot->pid != 0;
        ret_slot->is_lost = strcmp(PQgetvalue(answer.result, 0, 2), "t") == 0;
        if (!weir_pg_lsn_parse(PQgetvalue(answer.result, 0, 3), &ret_slot->confirmed_lsn)) {
            status = fail_answer("a look at the slot", err);
        }
    }
    PQclear(answer.result);
    return status;
}

static weir_status fail_slot(struct weir_pg_stream *stream, const struct slot *slot,
                             struct weir_error *err) {
    if (slot->is_other) {
        return weir_fail(err, WEIR_UNAVAILABLE,
                         "the replication slot \"%s\" belongs to another database or program; give "
                         "the resource another one by the option `slot`",
                         stream->slot);
    }
    return weir_fail(err, WEIR_UNAVAILABLE,
                     "the replication slot \"%s\" is used by another connection (process %d of the "
                     "server): another weir, or this one's before, until the server notices; two "
                     "that run at a time need different names, see the option `slot`",
                     stream->slot, slot->pid);
}

static weir_status create_slot(struct weir_pg_stream *stream, const struct weir_waiter *outer,
                               struct weir_error *err) {
    char text[TEXT_BYTES];
    struct weir_pg_answer answer;
    struct weir_waiter waiter = weir_waiter_within(outer, SLOT_CREATE_MS * WEIR_NS_PER_MS);
    uint64_t lsn = 0;
    snprintf(text, sizeof text,
             "CREATE_REPLICATION_SLOT \"%s\"%s LOGICAL pgoutput NOEXPORT_SNAPSHOT", stream->slot,
             stream->is_temporary ? " TEMPORARY" : "");
    weir_status status = run(stream, &waiter, text, &answer, err);
    if (status == WEIR_OK && (PQntuples(answer.result) != 1 || PQnfields(answer.result) < 2 ||
                              !weir_pg_lsn_parse(PQgetvalue(answer.result, 0, 1), &lsn))) {
        status = fail_answer("CREATE_REPLICATION_SLOT", err);
    }
    PQclear(answer.result);
    if (status != WEIR_OK) {
        return weir_error_prefix(
            err, status,
            "cannot make the replication slot \"%s\" (that waits until transactions that are open "
            "now have ended; it needs wal_level = logical, a slot of max_replication_slots, and a "
            "user with REPLICATION)",
            stream->slot);
    }
    stream->confirmed_lsn = stream->passed_lsn = lsn;
    stream->has_slot = true;
    stream->is_unreadable = false;
    forget_recent(stream, 0); // those before are visible by now, or were of another server
    return WEIR_OK;
}

static weir_status drop_slot(struct weir_pg_stream *stream, const struct weir_waiter *waiter,
                             struct weir_error *err) {
    char text[TEXT_BYTES];
    struct weir_pg_answer answer;
    snprintf(text, sizeof text, "DROP_REPLICATION_SLOT \"%s\"", stream->slot);
    weir_status status = run(stream, waiter, text, &answer, err);
    PQclear(answer.result);
    return status;
}

// ---- where watches go on ----

// Every watch that had begun has missed something.
static void lose_all(struct weir_pg_stream *stream, const char *reason) {
    for (struct weir_pg_watch *watch = stream->watches; watch; watch = watch->stream_next) {
        if (watch->state != WEIR_PG_DONE) {
            weir_pg_watch_lose(watch, reason);
        }
    }
}

static weir_status check_timeline(struct weir_pg_stream *stream, struct weir_pg_watch *watch,
                                  const struct weir_waiter *waiter, bool *ret_is_here,
                                  struct weir_error *err) {
    char text[TEXT_BYTES];
    struct weir_pg_answer answer;
    *ret_is_here = true;
    if (watch->told.timeline == stream->timeline) {
        return WEIR_OK;
    }
    // On a connection of its own, since the stream's may be streaming. It is rare.
    PGconn *connection;
    weir_status status = weir_pg_connect(&stream->source->resource->target, WEIR_PG_REPLICATION,
                                         waiter, &connection, err);
    if (status != WEIR_OK) {
        return status;
    }
    snprintf(text, sizeof text, "TIMELINE_HISTORY %" PRIu32, stream->timeline);
    const struct weir_pg_statement statement = {.text = text, .is_simple = true};
    status = weir_pg_run(connection, waiter, &statement, &answer, err);
    if (status == WEIR_OK) {
        *ret_is_here = PQntuples(answer.result) == 1 && PQnfields(answer.result) == 2 &&
                       weir_pg_history_has(PQgetvalue(answer.result, 0, 1), &watch->told);
    } else if (answer.state[0]) { // there is no such file
        *ret_is_here = false;
        status = WEIR_OK;
    }
    PQclear(answer.result);
    PQfinish(connection);
    return status;
}

static const char *find_loss(const struct weir_pg_stream *stream, const struct weir_pg_watch *watch,
                             bool is_on_timeline) {
    uint64_t lsn = watch->told.commit_lsn;
    if (watch->told.system == 0) {
        return "the position that was kept is not understood";
    }
    if (watch->told.system != stream->system) {
        return "the database is in another cluster than before";
    }
    if (!is_on_timeline) {
        return "the cluster was restored to a moment before, or another server took its place";
    }
    if (lsn > stream->server_lsn && lsn > stream->passed_lsn) {
        return "the server's history ends before what was told already";
    }
    // A reading of the table that was not finished is begun again, wherever the slot is.
    return lsn < stream->confirmed_lsn && !watch->told.is_snapshot
               ? "the replication slot went on without this watch, which was away for too long"
               : NULL;
}

weir_status weir_pg_stream_join(struct weir_pg_stream *stream, struct weir_pg_watch *watch,
                                const struct weir_waiter *waiter, struct weir_error *err) {
    bool is_added, is_on_timeline;
    weir_status status =
        weir_pg_table_prepare(stream->source, watch->table, waiter, &is_added, err);
    bool is_away = status == WEIR_UNAVAILABLE || status == WEIR_STOPPED;
    bool is_unfit = status != WEIR_OK && !is_away; // the table is gone, or cannot be watched now
    if (!is_away) {
        status = check_timeline(stream, watch, waiter, &is_on_timeline, err);
    }
    if (status != WEIR_OK) {
        return status;
    }
    const char *loss = find_loss(stream, watch, is_on_timeline);
    if (!loss && (is_added || is_unfit)) {
        loss = is_added ? "the table was not in the publication any more"
                        : "the table is gone, or cannot be watched any more";
    }
    if (loss) {
        weir_pg_watch_lose(watch, loss);
    } else if (watch->told.is_snapshot) {
        watch->told.is_snapshot = false;
        weir_pg_watch_read(watch);
    } else {
        watch->state =
            weir_pg_rewind(stream, watch->told.commit_lsn) ? WEIR_PG_JOINING : WEIR_PG_LIVE;
    }
    watch->told.timeline = stream->timeline;
    return WEIR_OK;
}

// ---- connecting ----

// From where those that take the stream need it.
static uint64_t start_lsn(const struct weir_pg_stream *stream) {
    uint64_t lsn = UINT64_MAX;
    for (const struct weir_pg_watch *watch = stream->watches; watch; watch = watch->stream_next) {
        if (watch->state == WEIR_PG_LIVE && watch->told.commit_lsn < lsn) {
            lsn = watch->told.commit_lsn;
        }
    }
    if (lsn == UINT64_MAX) {
        lsn = stream->passed_lsn;
    }
    return lsn > stream->confirmed_lsn ? lsn : stream->confirmed_lsn;
}

static void forget_relations(struct weir_pg_stream *stream) {
    struct weir_pg_relation *relation, *next;
    HASH_ITER (hh, stream->relations, relation, next) {
        HASH_DEL(stream->relations, relation);
        weir_pg_relation_destroy(relation);
    }
}

static void forget_held(struct weir_pg_stream *stream) {
    PQfreemem(stream->held);
    stream->held = NULL;
    stream->is_held = stream->is_repeated = false;
    stream->again_ns = 0;
}

static weir_status start(struct weir_pg_stream *stream, uint64_t lsn,
                         const struct weir_waiter *waiter, struct weir_error *err) {
    char text[TEXT_BYTES], lsn_text[WEIR_PG_LSN_BYTES];
    struct weir_pg_answer answer;
    // Those of published events, which carry their chain. A server before 14 cannot send them.
    const char *messages = PQserverVersion(stream->connection) >= 140000 ? ", messages 'true'" : "";
    char publication[2 * WEIR_PG_NAME_BYTES + 4];
    weir_pg_quote(stream->source->resource->publication, publication, sizeof publication);
    snprintf(text, sizeof text,
             "START_REPLICATION SLOT \"%s\" LOGICAL %s (proto_version '1', publication_names "
             "'%s'%s)",
             stream->slot, weir_pg_lsn_format(lsn, lsn_text), publication, messages);
    weir_status status = run(stream, waiter, text, &answer, err);
    if (status == WEIR_OK && PQresultStatus(answer.result) != PGRES_COPY_BOTH) {
        status = fail_answer("START_REPLICATION", err);
    }
    PQclear(answer.result);
    if (status != WEIR_OK) {
        return weir_error_prefix(err, status, "cannot begin to read the replication slot \"%s\"",
                                 stream->slot);
    }
    forget_relations(stream);
    forget_held(stream);
    stream->is_in_transaction = false;
    stream->passed_lsn = lsn;
    stream->asked_lsn = 0;
    stream->rewind_lsn = UINT64_MAX;
    stream->state = WEIR_PG_STREAMING;
    stream->pid = PQbackendPID(stream->connection);
    stream->source->job_retry_ns = 0;    // somebody may wait for it, ...
    stream->source->are_gaps_due = true; // ... or for this
    int64_t now_ns = weir_clock_monotonic_ns();
    stream->heard_ns = stream->status_ns = now_ns;
    stream->is_status_due = true;
    stream->beat_ns = now_ns + stream->source->resource->heartbeat_ns;
    return WEIR_OK;
}

// The tables of the stream's watches, in the publication before there is a slot: one that is older
// than its publication cannot be read. A watch of a table that is gone must not hold up the others;
// but where no table can be published there is no publication either.
static weir_status prepare_tables(struct weir_pg_stream *stream, const struct weir_waiter *waiter,
                                  struct weir_error *err) {
    weir_status status = WEIR_OK;
    bool is_any_ready = !stream->watches;
    for (struct weir_pg_watch *watch = stream->watches; watch; watch = watch->stream_next) {
        bool is_added;
        weir_status one =
            weir_pg_table_prepare(stream->source, watch->table, waiter, &is_added, err);
        if (one == WEIR_UNAVAILABLE || one == WEIR_STOPPED) {
            return one;
        }
        status = one == WEIR_OK ? status : one;
        is_any_ready = is_any_ready || one == WEIR_OK;
    }
    return is_any_ready ? WEIR_OK : status;
}

static weir_status make_slot(struct weir_pg_stream *stream, const struct weir_waiter *waiter,
                             const char *loss, struct weir_error *err) {
    weir_status status = prepare_tables(stream, waiter, err);
    status = status == WEIR_OK ? create_slot(stream, waiter, err) : status;
    if (status == WEIR_OK) {
        lose_all(stream, loss);
    }
    return status;
}

// The server takes a moment to notice that our own last connection has ended.
static weir_status await_release(struct weir_pg_stream *stream, const struct weir_waiter *outer,
                                 struct slot *slot, struct weir_error *err) {
    struct weir_waiter waiter =
        weir_waiter_within(outer, stream->source->resource->target.timeout_ns);
    weir_status status = WEIR_OK;
    while (status == WEIR_OK && slot->is_active && slot->pid == stream->pid &&
           weir_clock_monotonic_ns() < waiter.until_ns) {
        struct weir_waiter pause = weir_waiter_within(&waiter, RELEASE_MS * WEIR_NS_PER_MS);
        weir_wait(&pause, -1, 0);
        status = look_at_slot(stream, outer, slot, err);
    }
    return status;
}

static weir_status replace_slot(struct weir_pg_stream *stream, const struct weir_waiter *waiter,
                                const char *loss, struct weir_error *err) {
    weir_status status = drop_slot(stream, waiter, err);
    return status == WEIR_OK ? make_slot(stream, waiter, loss, err) : status;
}

static weir_status find_slot(struct weir_pg_stream *stream, const struct weir_waiter *waiter,
                             struct weir_error *err) {
    struct slot slot;
    if (stream->is_temporary) {
        return make_slot(stream, waiter, "the connection was lost, and the watch has no name", err);
    }
    weir_status status = look_at_slot(stream, waiter, &slot, err);
    if (status != WEIR_OK) {
        return status;
    }
    status = await_release(stream, waiter, &slot, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (slot.is_other || slot.is_active) {
        return fail_slot(stream, &slot, err);
    }
    if (slot.is_lost) {
        return replace_slot(stream, waiter,
                            "the server has removed what the replication slot kept (see "
                            "max_slot_wal_keep_size)",
                            err);
    }
    if (slot.is_there && stream->is_unreadable) {
        return replace_slot(stream, waiter, "the publication was gone for a while", err);
    }
    if (!slot.is_there) {
        return make_slot(stream, waiter, "the replication slot is gone", err);
    }
    stream->confirmed_lsn = slot.confirmed_lsn;
    stream->passed_lsn = slot.confirmed_lsn;
    stream->has_slot = true;
    return WEIR_OK;
}

// Those that go on, and those that were told of before the connection was lost.
static weir_status join_all(struct weir_pg_stream *stream, const struct weir_waiter *waiter,
                            struct weir_error *err) {
    weir_status status = WEIR_OK;
    struct weir_pg_watch *watch = stream->watches;
    for (; watch && status == WEIR_OK; watch = watch->stream_next) {
        if (watch->state == WEIR_PG_JOINING || watch->state == WEIR_PG_LIVE) {
            status = weir_pg_stream_join(stream, watch, waiter, err);
        }
    }
    return status;
}

static weir_status connect_all(struct weir_pg_stream *stream, const struct weir_waiter *waiter,
                               struct weir_error *err) {
    weir_status status = weir_pg_connect(&stream->source->resource->target, WEIR_PG_REPLICATION,
                                         waiter, &stream->connection, err);
    status = status == WEIR_OK ? identify(stream, waiter, err) : status;
    status = status == WEIR_OK ? find_slot(stream, waiter, err) : status;
    status = status == WEIR_OK ? join_all(stream, waiter, err) : status;
    return status == WEIR_OK ? start(stream, start_lsn(stream), waiter, err) : status;
}

weir_status weir_pg_stream_connect(struct weir_pg_stream *stream, const struct weir_waiter *waiter,
                                   struct weir_error *err) {
    weir_pg_stream_close(stream);
    weir_pg_tables_doubt(stream->source);
    weir_status status = connect_all(stream, waiter, err);
    if (status != WEIR_OK) {
        weir_pg_stream_close(stream);
        return status;
    }
    weir_link_up(&stream->source->resource->link);
    return WEIR_OK;
}

// ---- ending ----

void weir_pg_stream_close(struct weir_pg_stream *stream) {
    forget_held(stream);
    forget_relations(stream);
    PQfinish(stream->connection);
    stream->connection = NULL;
    stream->state = WEIR_PG_DOWN;
    stream->is_in_transaction = false;
    stream->rewind_lsn = UINT64_MAX;
}

void weir_pg_stream_down(struct weir_pg_stream *stream, const struct weir_error *cause) {
    weir_pg_stream_close(stream);
    stream->retry_ns = weir_link_down(&stream->source->resource->link, cause);
}

// ---- reading ----

static void note_server(struct weir_pg_stream *stream, uint64_t lsn) {
    if (lsn > stream->server_lsn) {
        stream->server_lsn = lsn;
    }
}

// Tells what is held. Whether it is done with; else the stream stands still, or is down.
static bool tell_held(struct weir_pg_stream *stream) {
    struct weir_error err = {.status = WEIR_OK};
    struct weir_pg_frame frame;
    struct weir_pg_message *message = stream->source->message;
    const struct weir_str bytes = {stream->held, stream->held_size};
    weir_status status = weir_pg_frame_read(bytes, &frame, &err);
    if (status == WEIR_OK && frame.kind == WEIR_PG_FRAME_KEEPALIVE) {
        if (frame.end_lsn > stream->passed_lsn && !stream->is_in_transaction) {
            stream->passed_lsn = frame.end_lsn;
        }
        note_server(stream, frame.end_lsn);
        if (frame.wants_reply) {
            stream->asked_lsn = frame.end_lsn;
            stream->beat_ns = 0;
        }
        return true;
    }
    status = status == WEIR_OK ? weir_pg_message_read(frame.message, message, &err) : status;
    if (status == WEIR_OK && !stream->is_repeated) {
        bool is_same = frame.start_lsn <= stream->last_change_lsn;
        bool is_change = message->kind == WEIR_PG_INSERT || message->kind == WEIR_PG_UPDATE ||
                         message->kind == WEIR_PG_DELETE || message->kind == WEIR_PG_TRUNCATE;
        if (is_change) {
            stream->same_lsn = is_same ? stream->same_lsn + 1 : 0;
            stream->last_change_lsn = is_same ? stream->last_change_lsn : frame.start_lsn;
            stream->at.change_lsn = stream->last_change_lsn;
        }
        note_server(stream, frame.start_lsn);
    }
    status = status == WEIR_OK ? weir_pg_tell(stream, &err) : status;
    if (status == WEIR_AGAIN || status == WEIR_NO_MEMORY) {
        stream->is_held = stream->is_repeated = true;
        stream->again_ns = status == WEIR_NO_MEMORY
                               ? weir_clock_monotonic_ns() + NO_MEMORY_MS * WEIR_NS_PER_MS
                               : 0;
        return false;
    }
    if (status != WEIR_OK) {
        weir_pg_stream_down(stream, &err);
    }
    return status == WEIR_OK;
}

// The stream has ended at the server, or the connection.
static void read_end(struct weir_pg_stream *stream) {
    struct weir_error err = {.status = WEIR_OK};
    struct weir_waiter waiter = weir_pg_source_waiter(
        stream->source, weir_clock_monotonic_ns() + stream->source->resource->target.timeout_ns);
    PGresult *result = NULL;
    weir_status status = weir_pg_next(stream->connection, &waiter, &result, &err);
    if (status == WEIR_OK && result && PQresultStatus(result) == PGRES_FATAL_ERROR) {
        const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        stream->is_unreadable |= state && strcmp(state, UNDEFINED_OBJECT) == 0;
        weir_pg_fail(result, &err);
    } else if (status == WEIR_OK) {
        weir_pg_fail_connection(stream->connection, &err);
    }
    PQclear(result);
    weir_pg_stream_down(stream, &err);
}

// The next message, into `held`. 1: there is one; 0: not yet; -1: the stream has ended.
static int receive(struct weir_pg_stream *stream) {
    char *bytes = NULL;
    int size = PQgetCopyData(stream->connection, &bytes, 1);
    if (size == 0) {
        if (!weir_pg_consume(stream->connection)) {
            return -1;
        }
        size = PQgetCopyData(stream->connection, &bytes, 1);
    }
    if (size > 0) {
        stream->held = bytes;
        stream->held_size = (size_t)size;
        stream->is_repeated = false;
        stream->heard_ns = weir_clock_coarse_ns();
        return 1;
    }
    return size == 0 ? 0 : -1;
}

bool weir_pg_stream_stands(const struct weir_pg_stream *stream) {
    return stream->is_held ||
           (stream->is_temporary && weir_pg_job_is_of(stream->source->job, stream));
}

bool weir_pg_stream_read(struct weir_pg_stream *stream) {
    for (int i = 0; i < READ_AT_ONCE_MAX && stream->state == WEIR_PG_STREAMING; i++) {
        if (weir_pg_stream_stands(stream)) {
            return false;
        }
        int got = stream->held ? 1 : receive(stream);
        if (got <= 0) {
            if (got < 0) {
                read_end(stream);
            }
            return false;
        }
        if (!tell_held(stream)) {
            return false;
        }
        forget_held(stream);
    }
    return stream->state == WEIR_PG_STREAMING;
}

// ---- what is due ----

struct weir_pg_position weir_pg_stream_place(const struct weir_pg_stream *stream) {
    struct weir_pg_position place = {
        .commit_lsn = stream->passed_lsn, .system = stream->system, .timeline = stream->timeline};
    if (stream->is_in_transaction) { // behind its last change
        place.change_lsn = stream->last_change_lsn;
        place.part = 2 * stream->same_lsn + 1;
    }
    return place;
}

uint64_t weir_pg_stream_flushed(const struct weir_pg_stream *stream) {
    const struct weir_pg_source *source = stream->source;
    int64_t now_ns = weir_clock_coarse_ns();
    uint64_t lsn = stream->passed_lsn;
    if (!stream->is_temporary && now_ns < source->hold_until_ns) {
        return stream->confirmed_lsn;
    }
    for (const struct weir_pg_watch *watch = stream->watches; watch; watch = watch->stream_next) {
        uint64_t wanted_lsn = watch->state == WEIR_PG_LIVE
                                  ? (watch->is_kept ? watch->durable_lsn : UINT64_MAX)
                                  : watch->told.commit_lsn;
        if (watch->state != WEIR_PG_DONE && wanted_lsn < lsn) {
            lsn = wanted_lsn;
        }
    }
    for (int i = 0; !stream->is_temporary && i < WEIR_PG_GHOSTS; i++) {
        const struct weir_pg_ghost *ghost = &source->ghosts[i];
        if (ghost->until_ns > now_ns && ghost->lsn < lsn) {
            lsn = ghost->lsn;
        }
    }
    return lsn > stream->confirmed_lsn ? lsn : stream->confirmed_lsn;
}

static void send_status(struct weir_pg_stream *stream, int64_t now_ns, bool wants_reply) {
    char bytes[WEIR_PG_STATUS_BYTES];
    uint64_t flushed_lsn = weir_pg_stream_flushed(stream);
    const int64_t epoch_us = INT64_C(946684800) * 1000000;
    weir_pg_status_write(flushed_lsn, stream->passed_lsn, weir_clock_wall_ns() / 1000 - epoch_us,
                         wants_reply, bytes);
    stream->status_ns = now_ns;
    stream->is_status_due = false;
    if (PQputCopyData(stream->connection, bytes, sizeof bytes) == 1) {
        stream->confirmed_lsn = flushed_lsn;
        stream->asked_lsn = flushed_lsn < stream->asked_lsn ? stream->asked_lsn : 0;
    } // else libpq has no room: the next one says it
    PQflush(stream->connection); // what is left goes with the next one; an error is read
}

static void beat(struct weir_pg_stream *stream, int64_t now_ns) {
    stream->beat_ns = now_ns + stream->source->resource->heartbeat_ns;
    for (struct weir_pg_watch *watch = stream->watches; watch; watch = watch->stream_next) {
        if (watch->is_kept && watch->state == WEIR_PG_LIVE && !watch->has_bookmark &&
            watch->durable_lsn < stream->passed_lsn &&
            watch->told.commit_lsn < stream->passed_lsn) {
            weir_pg_tell_bookmark(watch, stream->passed_lsn);
        }
    }
    send_status(stream, now_ns, false);
}

void weir_pg_stream_acknowledged(struct weir_pg_stream *stream) {
    if (stream->asked_lsn != 0 && weir_pg_stream_flushed(stream) > stream->confirmed_lsn) {
        stream->beat_ns = 0;
    }
}

static int64_t earlier(int64_t a, int64_t b) {
    return a < b ? a : b;
}

// A connection that says nothing. While a sink has no room nothing is read, so nothing is known.
static bool is_dead(struct weir_pg_stream *stream, int64_t now_ns) {
    if (weir_pg_stream_stands(stream)) {
        stream->heard_ns = now_ns;
    }
    return now_ns - stream->heard_ns > DEAD_MS * WEIR_NS_PER_MS;
}

int64_t weir_pg_stream_tend(struct weir_pg_stream *stream, int64_t now_ns) {
    if (stream->state == WEIR_PG_DOWN) {
        return INT64_MAX;
    }
    if (is_dead(stream, now_ns)) {
        struct weir_error err;
        weir_fail(&err, WEIR_UNAVAILABLE, "the server has said nothing for %d seconds",
                  DEAD_MS / 1000);
        weir_pg_stream_down(stream, &err);
        return stream->retry_ns;
    }
    if (stream->rewind_lsn != UINT64_MAX && now_ns >= stream->rewind_ns) {
        weir_pg_stream_close(stream);
        stream->retry_ns = now_ns;
        return now_ns;
    }
    if (now_ns >= stream->beat_ns) {
        beat(stream, now_ns);
    }
    bool is_quiet = now_ns - stream->heard_ns > ASK_MS * WEIR_NS_PER_MS;
    if (stream->is_status_due || now_ns >= stream->status_ns + STATUS_MS * WEIR_NS_PER_MS) {
        send_status(stream, now_ns, is_quiet);
    }
    int64_t due_ns = earlier(stream->beat_ns, stream->status_ns + STATUS_MS * WEIR_NS_PER_MS);
    if (stream->rewind_lsn != UINT64_MAX) {
        due_ns = earlier(due_ns, stream->rewind_ns);
    }
    return stream->again_ns != 0 ? earlier(due_ns, stream->again_ns) : due_ns;
}
