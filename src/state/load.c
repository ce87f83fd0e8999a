// SPDX-License-Identifier: Apache-2.0
//
// Reading what was written. Every row's sum is checked before anybody sees the row.
//
// The thread that commits; load_notes any: it has a connection of its own, made for the call, so
// that a source can go through a million keys while events are journaled beside it.
#include "state/state.h"

#include "state/state_private.h"

#include <inttypes.h>
#include <stdio.h>

// What a load hands out: returns false to end. Fails where a row is not what weir writes.
struct reading {
    enum weir_table table;
    weir_status (*hand_out)(const struct reading *reading, const struct weir_cell *cells,
                            bool *ret_goes_on, struct weir_error *err);
    struct weir_scratch *scratch;
    union {
        bool (*entry)(void *context, const struct weir_entry *entry);
        bool (*record)(void *context, const struct weir_subscription_record *record);
        bool (*note)(void *context, struct weir_str key, struct weir_str fingerprint);
        bool (*outbox)(void *context, const struct weir_outbox_entry *entry);
        bool (*dead)(void *context, const struct weir_dead_letter *letter);
    } each;
    void *each_context;
};

// A statement's parameters.
struct question {
    enum weir_statement which;
    int64_t numbers[3];
    int number_count;
    const struct weir_str *key; // the parameter behind them; NULL: none
};

static int bind_question(sqlite3_stmt *statement, const struct question *question) {
    int code = SQLITE_OK;
    for (int i = 0; i < question->number_count && code == SQLITE_OK; i++) {
        code = sqlite3_bind_int64(statement, i + 1, question->numbers[i]);
    }
    if (code == SQLITE_OK && question->key) {
        struct weir_cell key = weir_cell_blob(*question->key);
        code = sqlite3_bind_blob64(statement, question->number_count + 1, key.bytes.data,
                                   key.bytes.size, SQLITE_STATIC);
    }
    return code;
}

static weir_status read_rows(struct weir_connection *connection, const struct question *question,
                             const struct reading *reading, struct weir_error *err) {
    struct weir_cell cells[WEIR_CELLS_MAX];
    sqlite3_stmt *statement;
    bool is_row, goes_on = true;
    weir_status status = weir_connection_statement(connection, question->which, &statement, err);
    if (status != WEIR_OK) {
        return status;
    }
    int code = bind_question(statement, question);
    if (code != SQLITE_OK) {
        return weir_connection_fail(connection, code, "read", err);
    }
    do { // ends with the rows, of which there are at most the statement's LIMIT or the table's
        status = weir_connection_next(connection, statement, reading->table, cells, &is_row, err);
        if (is_row) {
            struct weir_error cause;
            status = reading->hand_out(reading, cells, &goes_on, &cause);
            if (status == WEIR_NO_MEMORY) {
                status = weir_fail(err, status, "%s", cause.message);
            } else if (status != WEIR_OK) {
                status =
                    weir_connection_fail_row(connection, reading->table, cells, cause.message, err);
            }
        }
    } while (is_row && goes_on && status == WEIR_OK);
    sqlite3_reset(statement);
    return status;
}

static weir_status load(struct weir_state *state, const struct question *question,
                        const struct reading *reading, struct weir_error *err) {
    weir_status status = weir_state_enter(state, WEIR_STATE_TO_LOAD, err);
    if (status == WEIR_OK) {
        status = read_rows(&state->connection, question, reading, err);
        weir_state_leave(state);
    }
    return status;
}

static int64_t limit(size_t rows_max) {
    return rows_max > INT64_MAX ? INT64_MAX : (int64_t)rows_max;
}

// ---- the tables ----

static weir_status hand_out_entry(const struct reading *reading, const struct weir_cell *cells,
                                  bool *ret_goes_on, struct weir_error *err) {
    uint64_t row = (uint64_t)cells[WEIR_JOURNAL_ROW].integer;
    struct weir_entry entry = {
        .subscription = row >> WEIR_STATE_ROW_BITS,
        .seq = row & WEIR_SEQ_MAX,
        .attempts = (uint32_t)cells[WEIR_JOURNAL_ATTEMPTS].integer,
        .op = WEIR_ENTRY_WRITE,
    };
    weir_status status =
        weir_row_to_event(&cells[WEIR_JOURNAL_EVENT], reading->scratch, &entry.event, err);
    if (status == WEIR_OK) {
        *ret_goes_on = reading->each.entry(reading->each_context, &entry);
        weir_event_unref(entry.event);
    }
    return status;
}

weir_status weir_state_load_journal(void *context, const struct weir_load *wanted,
                                    bool (*each)(void *each_context,
                                                 const struct weir_entry *entry),
                                    void *each_context, struct weir_error *err) {
    struct weir_state *state = context;
    uint64_t last = wanted->seq_to < WEIR_SEQ_MAX ? wanted->seq_to : WEIR_SEQ_MAX;
    if (wanted->seq_from > last || wanted->subscription > WEIR_SUBSCRIPTION_ID_MAX) {
        return WEIR_OK; // nothing is there
    }
    const struct question question = {
        .which = wanted->key ? WEIR_SQL_LOAD_JOURNAL_OF_KEY : WEIR_SQL_LOAD_JOURNAL,
        .numbers = {weir_state_row(wanted->subscription, wanted->seq_from),
                    weir_state_row(wanted->subscription, last), limit(wanted->rows_max)},
        .number_count = 3,
        .key = wanted->key,
    };
    const struct reading reading = {.table = WEIR_TABLE_JOURNAL,
                                    .hand_out = hand_out_entry,
                                    .scratch = &state->scratch,
                                    .each.entry = each,
                                    .each_context = each_context};
    return load(state, &question, &reading, err);
}

struct weir_subscription_record weir_state_record_of(const struct weir_cell *cells) {
    return (struct weir_subscription_record){
        .id = (uint64_t)cells[WEIR_SUBSCRIPTION_ID].integer,
        .name = cells[WEIR_SUBSCRIPTION_NAME].bytes,
        .resource = cells[WEIR_SUBSCRIPTION_RESOURCE].bytes,
        .pattern = cells[WEIR_SUBSCRIPTION_PATTERN].bytes,
        .is_ready = cells[WEIR_SUBSCRIPTION_IS_READY].integer != 0,
        .cursor = cells[WEIR_SUBSCRIPTION_CURSOR].bytes,
        .next_seq = (uint64_t)cells[WEIR_SUBSCRIPTION_NEXT_SEQ].integer,
        .row_count = (uint64_t)cells[WEIR_SUBSCRIPTION_ROW_COUNT].integer,
    };
}

static weir_status hand_out_record(const struct reading *reading, const struct weir_cell *cells,
                                   bool *ret_goes_on, struct weir_error *err) {
    (void)err;
    struct weir_subscription_record record = weir_state_record_of(cells);
    *ret_goes_on = reading->each.record(reading->each_context, &record);
    return WEIR_OK;
}

weir_status weir_state_load_subscriptions(
    void *context, bool (*each)(void *each_context, const struct weir_subscription_record *record),
    void *each_context, struct weir_error *err) {
    const struct question question = {.which = WEIR_SQL_LOAD_SUBSCRIPTIONS};
    const struct reading reading = {.table = WEIR_TABLE_SUBSCRIPTION,
                                    .hand_out = hand_out_record,
                                    .each.record = each,
                                    .each_context = each_context};
    return load(context, &question, &reading, err);
}

static weir_status hand_out_note(const struct reading *reading, const struct weir_cell *cells,
                                 bool *ret_goes_on, struct weir_error *err) {
    (void)err;
    *ret_goes_on = reading->each.note(reading->each_context, cells[WEIR_NOTE_KEY].bytes,
                                      cells[WEIR_NOTE_FINGERPRINT].bytes);
    return WEIR_OK;
}

weir_status weir_state_load_notes(void *context, uint64_t subscription,
                                  bool (*each)(void *each_context, struct weir_str key,
                                               struct weir_str fingerprint),
                                  void *each_context, struct weir_error *err) {
    const struct weir_state *state = context; // of which only what never changes is looked at
    const struct question question = {
        .which = WEIR_SQL_LOAD_NOTES, .numbers = {(int64_t)subscription}, .number_count = 1};
    const struct reading reading = {.table = WEIR_TABLE_NOTE,
                                    .hand_out = hand_out_note,
                                    .each.note = each,
                                    .each_context = each_context};
    struct weir_connection connection;
    weir_status status =
        weir_connection_open(&connection, state->paths.database, WEIR_CONNECTION_READ, err);
    if (status == WEIR_OK) {
        status = read_rows(&connection, &question, &reading, err);
        weir_connection_close(&connection, false);
    }
    return status;
}

static weir_status hand_out_outbox(const struct reading *reading, const struct weir_cell *cells,
                                   bool *ret_goes_on, struct weir_error *err) {
    struct weir_outbox_entry entry = {
        .id = (uint64_t)cells[WEIR_OUTBOX_ID].integer,
        .subscription = cells[WEIR_OUTBOX_SUBSCRIPTION].bytes,
        .target = cells[WEIR_OUTBOX_TARGET].bytes,
    };
    weir_status status =
        weir_row_to_event(&cells[WEIR_OUTBOX_EVENT], reading->scratch, &entry.event, err);
    if (status == WEIR_OK) {
        *ret_goes_on = reading->each.outbox(reading->each_context, &entry);
        weir_event_unref(entry.event);
    }
    return status;
}

static weir_status hand_out_dead(const struct reading *reading, const struct weir_cell *cells,
                                 bool *ret_goes_on, struct weir_error *err) {
    struct weir_dead_letter letter = {
        .id = (uint64_t)cells[WEIR_DEAD_ID].integer,
        .subscription = cells[WEIR_DEAD_SUBSCRIPTION].bytes,
        .target = cells[WEIR_DEAD_TARGET].bytes,
        .reason = cells[WEIR_DEAD_REASON].bytes,
        .attempts = (uint32_t)cells[WEIR_DEAD_ATTEMPTS].integer,
        .guest_hash = cells[WEIR_DEAD_GUEST_HASH].bytes,
        .output = cells[WEIR_DEAD_OUTPUT].bytes,
        .wall_ns = cells[WEIR_DEAD_WALL_NS].integer,
    };
    weir_status status =
        weir_row_to_event(&cells[WEIR_DEAD_EVENT], reading->scratch, &letter.event, err);
    if (status == WEIR_OK) {
        *ret_goes_on = reading->each.dead(reading->each_context, &letter);
        weir_event_unref(letter.event);
    }
    return status;
}

// Also for what is below: the parameters are the same.
static struct question above(enum weir_statement which, uint64_t after, size_t rows_max) {
    return (struct question){
        .which = which,
        .numbers = {after > INT64_MAX ? INT64_MAX : (int64_t)after, limit(rows_max)},
        .number_count = 2};
}

weir_status weir_state_load_outbox(void *context, uint64_t after, size_t rows_max,
                                   bool (*each)(void *each_context,
                                                const struct weir_outbox_entry *entry),
                                   void *each_context, struct weir_error *err) {
    struct weir_state *state = context;
    const struct question question = above(WEIR_SQL_LOAD_OUTBOX, after, rows_max);
    const struct reading reading = {.table = WEIR_TABLE_OUTBOX,
                                    .hand_out = hand_out_outbox,
                                    .scratch = &state->scratch,
                                    .each.outbox = each,
                                    .each_context = each_context};
    return load(state, &question, &reading, err);
}

static weir_status load_dead(struct weir_state *state, const struct question *question,
                             bool (*each)(void *each_context,
                                          const struct weir_dead_letter *letter),
                             void *each_context, struct weir_error *err) {
    const struct reading reading = {.table = WEIR_TABLE_DEAD,
                                    .hand_out = hand_out_dead,
                                    .scratch = &state->scratch,
                                    .each.dead = each,
                                    .each_context = each_context};
    return load(state, question, &reading, err);
}

weir_status weir_state_load_dead(void *context, uint64_t after, size_t rows_max,
                                 bool (*each)(void *each_context,
                                              const struct weir_dead_letter *letter),
                                 void *each_context, struct weir_error *err) {
    const struct question question = above(WEIR_SQL_LOAD_DEAD, after, rows_max);
    return load_dead(context, &question, each, each_context, err);
}

weir_status weir_state_load_dead_before(struct weir_state *state, uint64_t before, size_t rows_max,
                                        bool (*each)(void *each_context,
                                                     const struct weir_dead_letter *letter),
                                        void *each_context, struct weir_error *err) {
    const struct question question = above(WEIR_SQL_LOAD_DEAD_BEFORE, before, rows_max);
    return load_dead(state, &question, each, each_context, err);
}

weir_status weir_state_count_dead(struct weir_state *state, uint64_t max, uint64_t *ret_count,
                                  struct weir_error *err) {
    char sql[96];
    int64_t count = 0;
    snprintf(sql, sizeof sql, "SELECT count(*) FROM (SELECT 1 FROM dead LIMIT %" PRId64 ")",
             limit(max));
    weir_status status = weir_state_enter(state, WEIR_STATE_TO_LOAD, err);
    if (status == WEIR_OK) {
        status = weir_connection_ask(&state->connection, sql, &count, NULL, 0, err);
        weir_state_leave(state);
    }
    *ret_count = (uint64_t)count;
    return status;
}

weir_status weir_state_last_ids(void *context, uint64_t *ret_outbox, uint64_t *ret_dead,
                                struct weir_error *err) {
    struct weir_state *state = context;
    (void)err; // they were read when it was opened
    pthread_mutex_lock(&state->lock);
    *ret_outbox = state->last_outbox_id;
    *ret_dead = state->last_dead_id;
    pthread_mutex_unlock(&state->lock);
    return WEIR_OK;
}
