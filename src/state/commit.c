// SPDX-License-Identifier: Apache-2.0
//
// A batch becomes a transaction. On the way of every event that is journaled: statements are
// prepared once, what is bound is not copied, and nothing is allocated for a row.
//
// A batch that was given once may be given again: its first COMMIT may have failed after it was
// durable. So every row is written with its number given and in place of what was there, and what
// is to be removed may be gone.
//
// The thread that commits; the lock of state_private.h is held.
#include "state/state.h"

#include "state/state_private.h"

#include <inttypes.h>

int64_t weir_state_row(uint64_t subscription, uint64_t seq) {
    return (int64_t)(subscription << WEIR_STATE_ROW_BITS | seq);
}

static weir_status write_row(struct weir_state *state, enum weir_statement which,
                             enum weir_table table, const struct weir_cell *cells,
                             struct weir_error *err) {
    sqlite3_stmt *statement;
    weir_status status = weir_connection_statement(&state->connection, which, &statement, err);
    if (status != WEIR_OK) {
        return status;
    }
    int code = weir_row_bind(statement, table, cells);
    return weir_connection_run(&state->connection, statement, code, err);
}

// A statement whose one or two parameters are numbers.
static weir_status run_numbers(struct weir_state *state, enum weir_statement which, int64_t first,
                               const int64_t *second, struct weir_error *err) {
    sqlite3_stmt *statement;
    weir_status status = weir_connection_statement(&state->connection, which, &statement, err);
    if (status != WEIR_OK) {
        return status;
    }
    int code = sqlite3_bind_int64(statement, 1, first);
    if (code == SQLITE_OK && second) {
        code = sqlite3_bind_int64(statement, 2, *second);
    }
    return weir_connection_run(&state->connection, statement, code, err);
}

// A number outside of its range would be the row of another subscription.
static weir_status check_row(const struct weir_state *state, uint64_t subscription, uint64_t seq,
                             struct weir_error *err) {
    if (subscription >= 1 && subscription <= WEIR_SUBSCRIPTION_ID_MAX && seq <= WEIR_SEQ_MAX) {
        return WEIR_OK;
    }
    return weir_fail(err, WEIR_OTHER,
                     "%s has no place for event %" PRIu64 " of subscription %" PRIu64
                     ": forget the subscription, then it begins anew",
                     state->paths.database, seq, subscription);
}

// Takes the name away from a subscription that will get another.
static weir_status unname(struct weir_state *state, const struct weir_subscription_record *record,
                          struct weir_error *err) {
    sqlite3_stmt *statement;
    weir_status status = weir_connection_statement(&state->connection, WEIR_SQL_SUBSCRIPTION_UNNAME,
                                                   &statement, err);
    if (status != WEIR_OK) {
        return status;
    }
    struct weir_cell name = weir_cell_text(record->name);
    int code = sqlite3_bind_int64(statement, 1, (int64_t)record->id);
    if (code == SQLITE_OK) {
        code = sqlite3_bind_text64(statement, 2, name.bytes.data, name.bytes.size, SQLITE_STATIC,
                                   SQLITE_UTF8);
    }
    return weir_connection_run(&state->connection, statement, code, err);
}

static weir_status write_subscription(struct weir_state *state, enum weir_statement which,
                                      const struct weir_subscription_record *record,
                                      struct weir_error *err) {
    const struct weir_cell cells[WEIR_SUBSCRIPTION_CELLS] = {
        [WEIR_SUBSCRIPTION_ID] = weir_cell_integer((int64_t)record->id),
        [WEIR_SUBSCRIPTION_NAME] = weir_cell_text(record->name),
        [WEIR_SUBSCRIPTION_RESOURCE] = weir_cell_text(record->resource),
        [WEIR_SUBSCRIPTION_PATTERN] = weir_cell_text(record->pattern),
        [WEIR_SUBSCRIPTION_IS_READY] = weir_cell_integer(record->is_ready),
        [WEIR_SUBSCRIPTION_CURSOR] = weir_cell_blob(record->cursor),
        [WEIR_SUBSCRIPTION_NEXT_SEQ] = weir_cell_integer((int64_t)record->next_seq),
        [WEIR_SUBSCRIPTION_ROW_COUNT] = weir_cell_integer((int64_t)record->row_count),
    };
    weir_status status = check_row(state, record->id, 0, err);
    return status == WEIR_OK ? write_row(state, which, WEIR_TABLE_SUBSCRIPTION, cells, err)
                             : status;
}

// Those that are there under their names are changed in place. Where one is new or has another name
// than before, which is rare, all are written anew: two may have exchanged their names.
static weir_status write_subscriptions(struct weir_state *state,
                                       const struct weir_subscription_record *list,
                                       struct weir_error *err) {
    weir_status status = WEIR_OK;
    bool are_there = true;
    const struct weir_subscription_record *each;
    for (each = list; each && status == WEIR_OK; each = each->next) {
        status = write_subscription(state, WEIR_SQL_SUBSCRIPTION_UPDATE, each, err);
        are_there = are_there && sqlite3_changes(state->connection.db) > 0;
    }
    if (are_there) {
        return status;
    }
    for (each = list; each && status == WEIR_OK; each = each->next) {
        status = unname(state, each, err);
    }
    for (each = list; each && status == WEIR_OK; each = each->next) {
        status = write_subscription(state, WEIR_SQL_SUBSCRIPTION_WRITE, each, err);
    }
    return status;
}

static weir_status write_note(struct weir_state *state, uint64_t subscription, struct weir_str key,
                              struct weir_str fingerprint, struct weir_error *err) {
    const struct weir_cell cells[WEIR_NOTE_CELLS] = {
        [WEIR_NOTE_SUBSCRIPTION] = weir_cell_integer((int64_t)subscription),
        [WEIR_NOTE_KEY] = weir_cell_blob(key),
        [WEIR_NOTE_FINGERPRINT] = weir_cell_blob(fingerprint),
    };
    weir_status status = check_row(state, subscription, 0, err);
    if (status != WEIR_OK || fingerprint.size > 0) {
        return status == WEIR_OK
                   ? write_row(state, WEIR_SQL_NOTE_WRITE, WEIR_TABLE_NOTE, cells, err)
                   : status;
    }
    sqlite3_stmt *statement;
    status = weir_connection_statement(&state->connection, WEIR_SQL_NOTE_REMOVE, &statement, err);
    if (status != WEIR_OK) {
        return status;
    }
    int code = sqlite3_bind_int64(statement, 1, (int64_t)subscription);
    if (code == SQLITE_OK) {
        const struct weir_str *bytes = &cells[WEIR_NOTE_KEY].bytes;
        code = sqlite3_bind_blob64(statement, 2, bytes->data, bytes->size, SQLITE_STATIC);
    }
    return weir_connection_run(&state->connection, statement, code, err);
}

static weir_status write_journal(struct weir_state *state, const struct weir_entry *entry,
                                 struct weir_error *err) {
    struct weir_cell cells[WEIR_JOURNAL_CELLS];
    cells[WEIR_JOURNAL_ROW] = weir_cell_integer(weir_state_row(entry->subscription, entry->seq));
    cells[WEIR_JOURNAL_ATTEMPTS] = weir_cell_integer(entry->attempts);
    weir_status status =
        weir_row_of_event(entry->event, &state->scratch, &cells[WEIR_JOURNAL_EVENT], err);
    return status == WEIR_OK
               ? write_row(state, WEIR_SQL_JOURNAL_WRITE, WEIR_TABLE_JOURNAL, cells, err)
               : status;
}

static weir_status update_attempts(struct weir_state *state, int64_t row, int64_t attempts,
                                   int64_t sum, struct weir_error *err) {
    sqlite3_stmt *statement;
    weir_status status =
        weir_connection_statement(&state->connection, WEIR_SQL_JOURNAL_ATTEMPT, &statement, err);
    if (status != WEIR_OK) {
        return status;
    }
    const int64_t values[] = {attempts, sum, row};
    int code = SQLITE_OK;
    for (int i = 0; i < 3 && code == SQLITE_OK; i++) {
        code = sqlite3_bind_int64(statement, i + 1, values[i]);
    }
    return weir_connection_run(&state->connection, statement, code, err);
}

// The row is read, because its sum is over all of it. A row that is gone was settled later in a
// batch that is given again.
static weir_status write_attempt(struct weir_state *state, const struct weir_entry *entry,
                                 struct weir_error *err) {
    struct weir_cell cells[WEIR_JOURNAL_CELLS];
    struct weir_connection *connection = &state->connection;
    int64_t row = weir_state_row(entry->subscription, entry->seq);
    sqlite3_stmt *statement;
    bool is_row;
    weir_status status =
        weir_connection_statement(connection, WEIR_SQL_JOURNAL_READ, &statement, err);
    if (status != WEIR_OK) {
        return status;
    }
    int code = sqlite3_bind_int64(statement, 1, row);
    if (code != SQLITE_OK) {
        return weir_connection_fail(connection, code, "read", err);
    }
    status = weir_connection_next(connection, statement, WEIR_TABLE_JOURNAL, cells, &is_row, err);
    if (!is_row) {
        return status;
    }
    cells[WEIR_JOURNAL_ATTEMPTS] = weir_cell_integer(entry->attempts);
    int64_t sum = weir_row_sum(WEIR_TABLE_JOURNAL, cells);
    sqlite3_reset(statement); // the cells are gone
    return update_attempts(state, row, entry->attempts, sum, err);
}

static weir_status write_entry(struct weir_state *state, const struct weir_entry *entry,
                               struct weir_error *err) {
    int64_t row = weir_state_row(entry->subscription, entry->seq);
    weir_status status = check_row(state, entry->subscription, entry->seq, err);
    if (status != WEIR_OK) {
        return status;
    }
    switch (entry->op) {
    case WEIR_ENTRY_WRITE:
        status = write_journal(state, entry, err);
        break;
    case WEIR_ENTRY_REMOVE:
        return run_numbers(state, WEIR_SQL_JOURNAL_REMOVE, row, NULL, err);
    case WEIR_ENTRY_ATTEMPT:
        return write_attempt(state, entry, err);
    default: // WEIR_ENTRY_PASS: at most a note
        break;
    }
    if (status == WEIR_OK && entry->has_fingerprint) {
        status =
            write_note(state, entry->subscription, entry->event->key, entry->event->position, err);
    }
    return status;
}

static weir_status write_outbox(struct weir_state *state, const struct weir_outbox_entry *entry,
                                struct weir_error *err) {
    struct weir_cell cells[WEIR_OUTBOX_CELLS];
    cells[WEIR_OUTBOX_ID] = weir_cell_integer((int64_t)entry->id);
    cells[WEIR_OUTBOX_SUBSCRIPTION] = weir_cell_text(entry->subscription);
    cells[WEIR_OUTBOX_TARGET] = weir_cell_text(entry->target);
    weir_status status =
        weir_row_of_event(entry->event, &state->scratch, &cells[WEIR_OUTBOX_EVENT], err);
    return status == WEIR_OK
               ? write_row(state, WEIR_SQL_OUTBOX_WRITE, WEIR_TABLE_OUTBOX, cells, err)
               : status;
}

static weir_status write_dead(struct weir_state *state, const struct weir_dead_letter *letter,
                              struct weir_error *err) {
    struct weir_cell cells[WEIR_DEAD_CELLS];
    cells[WEIR_DEAD_ID] = weir_cell_integer((int64_t)letter->id);
    cells[WEIR_DEAD_SUBSCRIPTION] = weir_cell_text(letter->subscription);
    cells[WEIR_DEAD_TARGET] = weir_cell_text(letter->target);
    cells[WEIR_DEAD_REASON] = weir_cell_text(letter->reason);
    cells[WEIR_DEAD_ATTEMPTS] = weir_cell_integer(letter->attempts);
    cells[WEIR_DEAD_GUEST_HASH] = weir_cell_text(letter->guest_hash);
    cells[WEIR_DEAD_OUTPUT] = weir_cell_blob(letter->output);
    cells[WEIR_DEAD_WALL_NS] = weir_cell_integer(letter->wall_ns);
    weir_status status =
        weir_row_of_event(letter->event, &state->scratch, &cells[WEIR_DEAD_EVENT], err);
    return status == WEIR_OK ? write_row(state, WEIR_SQL_DEAD_WRITE, WEIR_TABLE_DEAD, cells, err)
                             : status;
}

static weir_status remove_rows(struct weir_state *state, enum weir_statement which,
                               const struct weir_removal *removals, struct weir_error *err) {
    weir_status status = WEIR_OK;
    for (const struct weir_removal *each = removals; each && status == WEIR_OK; each = each->next) {
        status = run_numbers(state, which, (int64_t)each->id, NULL, err);
    }
    return status;
}

static weir_status apply_batch(struct weir_state *state, const void *context,
                               struct weir_error *err) {
    const struct weir_batch *batch = context;
    weir_status status = write_subscriptions(state, batch->subscriptions, err);
    if (status == WEIR_OK) {
        status = remove_rows(state, WEIR_SQL_FORGET_NOTES, batch->forgotten, err);
    }
    for (const struct weir_note *each = batch->notes; each && status == WEIR_OK;
         each = each->next) {
        status = write_note(state, each->subscription, each->key, each->fingerprint, err);
    }
    for (const struct weir_entry *each = batch->entries; each && status == WEIR_OK;
         each = each->next) {
        status = write_entry(state, each, err);
    }
    for (const struct weir_outbox_entry *each = batch->outbox; each && status == WEIR_OK;
         each = each->next) {
        status = write_outbox(state, each, err);
    }
    if (status == WEIR_OK) {
        status = remove_rows(state, WEIR_SQL_OUTBOX_REMOVE, batch->published, err);
    }
    for (const struct weir_dead_letter *each = batch->dead; each && status == WEIR_OK;
         each = each->next) {
        status = write_dead(state, each, err);
    }
    return status == WEIR_OK ? remove_rows(state, WEIR_SQL_DEAD_REMOVE, batch->undead, err)
                             : status;
}

static void note_ids(struct weir_state *state, const struct weir_batch *batch) {
    for (const struct weir_outbox_entry *each = batch->outbox; each; each = each->next) {
        state->last_outbox_id = each->id > state->last_outbox_id ? each->id : state->last_outbox_id;
    }
    for (const struct weir_dead_letter *each = batch->dead; each; each = each->next) {
        state->last_dead_id = each->id > state->last_dead_id ? each->id : state->last_dead_id;
    }
}

static weir_status fail_reader(const struct weir_state *state, struct weir_error *err) {
    return weir_fail(err, WEIR_OTHER, "%s is open for reading only", state->paths.database);
}

weir_status weir_state_commit(void *context, const struct weir_batch *batch,
                              struct weir_error *err) {
    struct weir_state *state = context;
    if (state->is_reader) {
        return fail_reader(state, err);
    }
    weir_status status = weir_state_enter(state, WEIR_STATE_TO_COMMIT, err);
    if (status != WEIR_OK) {
        return status;
    }
    status = weir_state_transaction(state, apply_batch, batch, err);
    if (status == WEIR_OK) {
        note_ids(state, batch);
    }
    weir_state_leave(state);
    return status;
}

// ---- forgetting ----

static weir_status find_subscription(struct weir_state *state, struct weir_str name,
                                     uint64_t *ret_id, struct weir_error *err) {
    struct weir_cell cells[WEIR_SUBSCRIPTION_CELLS];
    sqlite3_stmt *statement;
    bool is_row;
    weir_status status =
        weir_connection_statement(&state->connection, WEIR_SQL_FIND_SUBSCRIPTION, &statement, err);
    if (status != WEIR_OK) {
        return status;
    }
    struct weir_cell cell = weir_cell_text(name);
    int code = sqlite3_bind_text64(statement, 1, cell.bytes.data, cell.bytes.size, SQLITE_STATIC,
                                   SQLITE_UTF8);
    if (code != SQLITE_OK) {
        return weir_connection_fail(&state->connection, code, "read", err);
    }
    status = weir_connection_next(&state->connection, statement, WEIR_TABLE_SUBSCRIPTION, cells,
                                  &is_row, err);
    if (is_row) {
        *ret_id = (uint64_t)cells[WEIR_SUBSCRIPTION_ID].integer;
        sqlite3_reset(statement);
    } else if (status == WEIR_OK) {
        status = weir_fail(err, WEIR_NOT_FOUND, "%s knows no subscription \"%.*s\"",
                           state->paths.database, WEIR_STR_ARG(name));
    }
    return status;
}

static weir_status forget_by_name(struct weir_state *state, enum weir_statement which,
                                  struct weir_str name, struct weir_error *err) {
    sqlite3_stmt *statement;
    weir_status status = weir_connection_statement(&state->connection, which, &statement, err);
    if (status != WEIR_OK) {
        return status;
    }
    struct weir_cell cell = weir_cell_text(name);
    int code = sqlite3_bind_text64(statement, 1, cell.bytes.data, cell.bytes.size, SQLITE_STATIC,
                                   SQLITE_UTF8);
    return weir_connection_run(&state->connection, statement, code, err);
}

static weir_status apply_forget(struct weir_state *state, const void *context,
                                struct weir_error *err) {
    const struct weir_str *name = context;
    uint64_t id;
    weir_status status = find_subscription(state, *name, &id, err);
    if (status == WEIR_OK) {
        const int64_t last = weir_state_row(id, WEIR_SEQ_MAX);
        status = run_numbers(state, WEIR_SQL_FORGET_JOURNAL, weir_state_row(id, 0), &last, err);
    }
    if (status == WEIR_OK) {
        status = run_numbers(state, WEIR_SQL_FORGET_NOTES, (int64_t)id, NULL, err);
    }
    if (status == WEIR_OK) {
        status = forget_by_name(state, WEIR_SQL_FORGET_OUTBOX, *name, err);
    }
    if (status == WEIR_OK) {
        status = forget_by_name(state, WEIR_SQL_FORGET_DEAD, *name, err);
    }
    return status == WEIR_OK
               ? run_numbers(state, WEIR_SQL_FORGET_SUBSCRIPTION, (int64_t)id, NULL, err)
               : status;
}

weir_status weir_state_forget(struct weir_state *state, struct weir_str name,
                              struct weir_error *err) {
    if (state->is_reader) {
        return fail_reader(state, err);
    }
    weir_status status = weir_state_enter(state, WEIR_STATE_TO_COMMIT, err);
    if (status == WEIR_OK) {
        status = weir_state_transaction(state, apply_forget, &name, err);
        weir_state_leave(state);
    }
    return status;
}
