// SPDX-License-Identifier: Apache-2.0
//
// A job tells watches what is in their tables, from where a stream goes on without a gap or an
// overlap: a replication slot is made that lives for a moment, and with it a snapshot that shows
// exactly what was committed before the slot's consistent point. A transaction that has taken over
// that snapshot reads the tables; the watches take the stream from that point on.
//
// Rows come one by one and are left in the socket while a sink has no room, so a job needs no
// memory but for a row. It keeps the server from cleaning up what it may still read, for as long as
// the slowest of its watches takes.
//
// Watches that want to be read to while a job is under way wait for the next one. A job that breaks
// is begun again.
//
// The hub's thread.
#include "provider/postgres/source.h"

#include "base/clock.h"
#include "base/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    ROWS_AT_ONCE_MAX = 256,
    RETRY_MS = 1000,
    NO_MEMORY_MS = 10,
    BEGIN_MS = 25000, // while transactions that are open end
    TEXT_BYTES = 512,
};

struct weir_pg_job {
    struct weir_pg_source *source;
    struct weir_pg_stream *stream; // whose watches are read to
    uint64_t number;
    PGconn *connection; // in the transaction that has the snapshot
    struct weir_pg_position position;
    int64_t wall_ns;
    // The table that is read now; NULL: the next one is to be begun.
    struct weir_pg_table *table;
    struct weir_pg_relation *relation;
    uint64_t rows, counted; // that came; of them, those that meters know of
    PGresult *row;          // that was not told to all
    bool is_held;           // a sink had no room for it
    int64_t again_ns;
};

static void end_table(struct weir_pg_job *job) {
    weir_pg_relation_destroy(job->relation);
    job->relation = NULL;
    job->table = NULL;
    PQclear(job->row);
    job->row = NULL;
    job->is_held = false;
}

void weir_pg_job_destroy(struct weir_pg_job *job) {
    if (job) {
        end_table(job);
        PQfinish(job->connection);
        free(job);
    }
}

// ---- beginning ----

static weir_status export_snapshot(struct weir_pg_job *job, PGconn *replication,
                                   const struct weir_waiter *waiter, char *ret_name, size_t room,
                                   struct weir_error *err) {
    char text[TEXT_BYTES];
    struct weir_pg_answer answer;
    const struct weir_pg_statement statement = {.text = text, .is_simple = true};
    snprintf(text, sizeof text,
             "CREATE_REPLICATION_SLOT weir_job_%d_%" PRIx64 " TEMPORARY LOGICAL pgoutput "
             "EXPORT_SNAPSHOT",
             (int)getpid(), (uint64_t)weir_clock_wall_ns());
    weir_status status = weir_pg_run(replication, waiter, &statement, &answer, err);
    if (status != WEIR_OK) {
        return weir_error_prefix(err, status, "cannot make the slot for a snapshot");
    }
    if (PQntuples(answer.result) != 1 || PQnfields(answer.result) < 3 ||
        !weir_pg_lsn_parse(PQgetvalue(answer.result, 0, 1), &job->position.commit_lsn)) {
        status = weir_fail(err, WEIR_OTHER, "the server gave no snapshot");
    } else {
        snprintf(ret_name, room, "%s", PQgetvalue(answer.result, 0, 2));
    }
    PQclear(answer.result);
    return status;
}

static weir_status take_snapshot(struct weir_pg_job *job, const char *name,
                                 const struct weir_waiter *waiter, struct weir_error *err) {
    char text[TEXT_BYTES];
    struct weir_pg_answer answer;
    const struct weir_pg_statement statement = {.text = text, .is_simple = true};
    for (const char *letter = name; *letter; letter++) {
        if (*letter == '\'' || *letter == '\\') {
            return weir_fail(err, WEIR_OTHER, "the server's snapshot has no good name");
        }
    }
    weir_status status =
        weir_pg_connect(&job->source->resource->target, WEIR_PG_SQL, waiter, &job->connection, err);
    if (status != WEIR_OK) {
        return status;
    }
    snprintf(text, sizeof text,
             "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '%s'; SET "
             "LOCAL statement_timeout = 0",
             name);
    status = weir_pg_run(job->connection, waiter, &statement, &answer, err);
    PQclear(answer.result);
    return status;
}

static weir_status begin_at_server(struct weir_pg_job *job, struct weir_error *err) {
    char name[TEXT_BYTES / 4];
    PGconn *replication;
    struct weir_waiter waiter =
        weir_pg_source_waiter(job->source, weir_clock_monotonic_ns() + BEGIN_MS * WEIR_NS_PER_MS);
    weir_status status = weir_pg_connect(&job->source->resource->target, WEIR_PG_REPLICATION,
                                         &waiter, &replication, err);
    if (status != WEIR_OK) {
        return status;
    }
    status = export_snapshot(job, replication, &waiter, name, sizeof name, err);
    status = status == WEIR_OK ? take_snapshot(job, name, &waiter, err) : status;
    PQfinish(replication); // the slot goes with it; the snapshot stays with who has taken it over
    return status;
}

static void take_watches(struct weir_pg_job *job) {
    struct weir_pg_position begin = job->position;
    begin.is_snapshot = false;
    for (struct weir_pg_watch *watch = job->stream->watches; watch; watch = watch->stream_next) {
        if (watch->state == WEIR_PG_SNAPSHOT) {
            watch->job = job->number;
            watch->row = 0;
            watch->told = begin;
        }
    }
}

static bool is_wanted(const struct weir_pg_stream *stream) {
    if (stream->state != WEIR_PG_STREAMING) {
        return false;
    }
    for (struct weir_pg_watch *watch = stream->watches; watch; watch = watch->stream_next) {
        if (watch->state == WEIR_PG_SNAPSHOT) {
            return true;
        }
    }
    return false;
}

static weir_status begin(struct weir_pg_source *source, struct weir_pg_stream *stream,
                         struct weir_error *err) {
    struct weir_pg_job *job = calloc(1, sizeof *job);
    if (!job) {
        return weir_fail_no_memory(err, "the reading of a table");
    }
    job->source = source;
    job->stream = stream;
    job->number = ++source->job_count;
    job->wall_ns = weir_clock_wall_ns();
    job->position = (struct weir_pg_position){
        .is_snapshot = true, .system = stream->system, .timeline = stream->timeline};
    weir_status status = begin_at_server(job, err);
    if (status != WEIR_OK) {
        weir_pg_job_destroy(job);
        return status;
    }
    take_watches(job);
    source->job = job;
    return WEIR_OK;
}

// ---- tables ----

static bool is_of_job(const struct weir_pg_job *job, const struct weir_pg_watch *watch) {
    return watch->state == WEIR_PG_SNAPSHOT && watch->job == job->number &&
           watch->stream == job->stream;
}

static struct weir_pg_table *next_table(const struct weir_pg_job *job) {
    struct weir_pg_watch *watch = job->stream->watches;
    while (watch && !is_of_job(job, watch)) {
        watch = watch->stream_next;
    }
    return watch ? watch->table : NULL;
}

// The only watch of the job that is of the table, if it is of one key of a store.
static const struct weir_pg_watch *find_single(const struct weir_pg_job *job) {
    const struct weir_pg_watch *single = NULL;
    for (struct weir_pg_watch *watch = job->table->watches; watch; watch = watch->table_next) {
        if (is_of_job(job, watch)) {
            if (single || watch->base.pattern.is_prefix) {
                return NULL;
            }
            single = watch;
        }
    }
    return job->source->resource->mode == WEIR_PG_KV ? single : NULL;
}

// About how many rows the table has, as the server's planner thinks; 0: it does not say.
static weir_status estimate(struct weir_pg_job *job, const struct weir_waiter *waiter,
                            uint64_t *ret_rows, struct weir_error *err) {
    char text[TEXT_BYTES];
    struct weir_pg_answer answer;
    const struct weir_pg_statement statement = {.text = text, .is_simple = true};
    *ret_rows = 0;
    snprintf(text, sizeof text, "EXPLAIN SELECT * FROM %s", job->table->name.quoted);
    weir_status status = weir_pg_run(job->connection, waiter, &statement, &answer, err);
    if (status != WEIR_OK) {
        return status;
    }
    // "Seq Scan on orders  (cost=0.00..35.50 rows=2550 width=4)"
    static const char mark[] = " rows=";
    const char *plan = PQntuples(answer.result) > 0 ? PQgetvalue(answer.result, 0, 0) : "";
    const char *rows = strstr(plan, mark);
    *ret_rows = rows ? strtoull(rows + strlen(mark), NULL, 10) : 0;
    PQclear(answer.result);
    return WEIR_OK;
}

static void begin_meters(struct weir_pg_job *job, uint64_t total) {
    job->counted = 0;
    for (struct weir_pg_watch *watch = job->table->watches; watch; watch = watch->table_next) {
        if (is_of_job(job, watch)) {
            weir_meter_begin(watch->base.meter, "snapshot", total);
        }
    }
}

static void count_rows(struct weir_pg_job *job) {
    struct weir_pg_watch *watch = job->table ? job->table->watches : NULL;
    for (; watch && job->rows > job->counted; watch = watch->table_next) {
        if (is_of_job(job, watch)) {
            weir_meter_add(watch->base.meter, job->rows - job->counted);
        }
    }
    job->counted = job->rows;
}

static void log_unread(const struct weir_pg_job *job, const struct weir_error *cause) {
    weir_log(job->source->resource->log, WEIR_LOG_WARN, "what is in a table cannot be read",
             {"resource", weir_str_of(job->source->resource->base.name)},
             {"table", weir_str_of(job->table->name.text)},
             {"reason", weir_str_of(cause->message)});
}

static weir_status begin_table(struct weir_pg_job *job, struct weir_error *err) {
    char text[TEXT_BYTES];
    const struct weir_pg_watch *single = find_single(job);
    const char *values[1] = {single ? single->key_text.data : NULL};
    const int sizes[1] = {single ? (int)single->key_text.size : 0}, formats[1] = {1};
    struct weir_waiter waiter = weir_pg_source_waiter(
        job->source, weir_clock_monotonic_ns() + job->source->resource->target.timeout_ns);
    snprintf(text, sizeof text, "SELECT * FROM %s%s", job->table->name.quoted,
             single ? " WHERE key = $1" : "");
    const struct weir_pg_statement statement = {.text = text,
                                                .is_row_by_row = true,
                                                .count = single ? 1 : 0,
                                                .values = values,
                                                .sizes = sizes,
                                                .formats = formats};
    uint64_t total = 1;
    weir_status status = single ? WEIR_OK : estimate(job, &waiter, &total, err);
    if (status != WEIR_OK) {
        log_unread(job, err); // it may not be read at all
        return status;
    }
    job->rows = 0;
    begin_meters(job, total);
    return weir_pg_send(job->connection, &waiter, &statement, err);
}

// Its watches take the stream from here on.
static void finish_table(struct weir_pg_job *job) {
    struct weir_pg_table *table = job->table;
    end_table(job);
    for (struct weir_pg_watch *watch = table->watches; watch; watch = watch->table_next) {
        if (is_of_job(job, watch)) {
            weir_meter_end(watch->base.meter);
            weir_pg_watch_go_live(watch);
        }
    }
}

// ---- rows ----

static weir_status know_relation(struct weir_pg_job *job, const PGresult *result,
                                 struct weir_error *err) {
    if (job->relation) {
        return WEIR_OK;
    }
    weir_status status = weir_pg_relation_of_result(result, &job->table->name, &job->relation, err);
    if (status != WEIR_OK || job->source->resource->mode == WEIR_PG_KV) {
        return status;
    }
    struct weir_waiter waiter = weir_pg_source_waiter(
        job->source, weir_clock_monotonic_ns() + job->source->resource->target.timeout_ns);
    PGresult *names = NULL;
    status = weir_pg_primary_key(job->source, PQftable(result, 0), &waiter, &names, err);
    if (status == WEIR_OK) {
        weir_pg_relation_set_key(job->relation, names);
    }
    PQclear(names);
    return status;
}

static weir_status tell_row(struct weir_pg_job *job, struct weir_error *err) {
    const struct weir_pg_job_row row = {.job = job->number,
                                        .number = job->rows,
                                        .stream = job->stream,
                                        .table = job->table,
                                        .relation = job->relation,
                                        .result = job->row,
                                        .position = job->position,
                                        .wall_ns = job->wall_ns};
    weir_status status = weir_pg_tell_row(&row, err);
    if (status == WEIR_AGAIN || status == WEIR_NO_MEMORY) {
        job->is_held = true;
        job->again_ns = status == WEIR_NO_MEMORY
                            ? weir_clock_monotonic_ns() + NO_MEMORY_MS * WEIR_NS_PER_MS
                            : INT64_MAX;
        return WEIR_OK;
    }
    PQclear(job->row);
    job->row = NULL;
    return status;
}

// The table's rows have ended, well or not.
static weir_status end_rows(struct weir_pg_job *job, const PGresult *result,
                            struct weir_error *err) {
    if (PQresultStatus(result) == PGRES_TUPLES_OK) {
        return WEIR_OK;
    }
    weir_status status = weir_pg_fail(result, err);
    log_unread(job, err);
    return status;
}

// Takes one result. Returns WEIR_AGAIN where there is none yet.
static weir_status take_result(struct weir_pg_job *job, struct weir_error *err) {
    if (PQisBusy(job->connection)) {
        if (!weir_pg_consume(job->connection)) {
            return weir_pg_fail_connection(job->connection, err);
        }
        if (PQisBusy(job->connection)) {
            return WEIR_AGAIN;
        }
    }
    PGresult *result = PQgetResult(job->connection);
    if (!result) {
        finish_table(job);
        return WEIR_OK;
    }
    if (PQresultStatus(result) != PGRES_SINGLE_TUPLE) {
        weir_status status = end_rows(job, result, err);
        PQclear(result);
        return status;
    }
    job->row = result;
    job->rows++;
    weir_status status = know_relation(job, result, err);
    return status == WEIR_OK ? tell_row(job, err) : status;
}

static weir_status step(struct weir_pg_job *job, struct weir_error *err) {
    if (job->row) {
        return tell_row(job, err);
    }
    if (!job->table) {
        job->table = next_table(job);
        return job->table ? begin_table(job, err) : WEIR_OK;
    }
    return take_result(job, err);
}

// ---- working ----

static bool is_over(const struct weir_pg_job *job) {
    return !job->table && !next_table(job);
}

// A statement that failed has ended the transaction, so the tables behind it cannot be read by it
// either. Those whose table cannot be read go on without that.
static void give_up(struct weir_pg_source *source, weir_status cause, int64_t now_ns) {
    struct weir_pg_job *job = source->job;
    if (job->table && cause != WEIR_UNAVAILABLE && cause != WEIR_STOPPED &&
        cause != WEIR_NO_MEMORY) {
        finish_table(job);
    }
    weir_pg_job_destroy(job);
    source->job = NULL;
    source->job_retry_ns = now_ns + RETRY_MS * WEIR_NS_PER_MS;
}

static int64_t go_on(struct weir_pg_source *source, int64_t now_ns) {
    struct weir_pg_job *job = source->job;
    struct weir_error err = {.status = WEIR_OK};
    if (job->is_held && now_ns >= job->again_ns) {
        job->is_held = false;
    }
    count_rows(job); // of the last batch
    for (int i = 0; i < ROWS_AT_ONCE_MAX && !job->is_held; i++) {
        if (is_over(job)) {
            weir_pg_job_destroy(job);
            source->job = NULL;
            return now_ns;
        }
        weir_status status = step(job, &err);
        if (status == WEIR_AGAIN) {
            return INT64_MAX;
        }
        if (status != WEIR_OK) {
            give_up(source, status, now_ns);
            return source->job_retry_ns;
        }
    }
    return job->is_held ? job->again_ns : now_ns;
}

int64_t weir_pg_job_work(struct weir_pg_source *source, int64_t now_ns) {
    if (source->job) {
        return go_on(source, now_ns);
    }
    if (now_ns < source->job_retry_ns) {
        return source->job_retry_ns;
    }
    for (int i = 0; i < 2; i++) {
        struct weir_error err;
        if (is_wanted(&source->streams[i])) {
            if (begin(source, &source->streams[i], &err) == WEIR_OK) {
                return now_ns;
            }
            weir_log(source->resource->log, WEIR_LOG_WARN,
                     "what is there cannot be read; trying again until it can",
                     {"resource", weir_str_of(source->resource->base.name)},
                     {"reason", weir_str_of(err.message)});
            source->job_retry_ns = weir_clock_monotonic_ns() + RETRY_MS * WEIR_NS_PER_MS;
            return source->job_retry_ns;
        }
    }
    source->job_retry_ns = INT64_MAX; // until somebody wants it
    return INT64_MAX;
}

int weir_pg_job_fd(const struct weir_pg_job *job) {
    return job && !job->is_held ? PQsocket(job->connection) : -1;
}

bool weir_pg_job_is_of(const struct weir_pg_job *job, const struct weir_pg_stream *stream) {
    return job && job->stream == stream;
}

void weir_pg_job_resume(struct weir_pg_job *job) {
    if (job) {
        job->is_held = false;
    }
}
