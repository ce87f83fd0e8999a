// SPDX-License-Identifier: Apache-2.0
//
// Rows of the log, read in order and offered to the watches that they concern. See watcher.h.
//
// The first row that is read is the one that was told last: if it is another one now, by its mark,
// this is not the history that it was; if it is gone, and the next one too, history is missing.
// Both are found by the same reading, at no cost.
//
// A read transaction lasts for one batch, in which nothing waits: a WAL can be checkpointed however
// slow a sink is.
#include "provider/sqlite/watcher.h"

#include "base/clock.h"
#include "base/show.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <utlist.h>

size_t weir_sqlite_write_position(const struct weir_sqlite_watcher *watcher,
                                  struct weir_sqlite_place place,
                                  const struct weir_sqlite_rest *rest,
                                  char buffer[static WEIR_POSITION_BYTES_MAX]) {
    struct weir_sqlite_position position = {.place = place};
    memcpy(position.identity, watcher->identity, sizeof position.identity);
    if (rest) {
        position.rest = *rest;
    }
    return weir_sqlite_position_encode(&position, buffer);
}

void weir_sqlite_log_untold(const struct weir_sqlite_watcher *watcher, struct weir_str key,
                            const struct weir_error *cause) {
    char shown[WEIR_SHOW_BYTES];
    weir_log(watcher->resource->log, WEIR_LOG_WARN, "a change cannot be told",
             {"resource", weir_str_of(watcher->resource->base.name)},
             {"key", weir_str_of(weir_show(key, shown, sizeof shown))},
             {"reason", weir_str_of(cause->message)});
}

weir_status weir_sqlite_offer(struct weir_sqlite_watcher *watcher, struct weir_sqlite_watch *watch,
                              struct weir_event *event, int64_t seq) {
    (void)watcher;
    weir_status status = weir_hub_offer(&watch->hub, event);
    if (status == WEIR_OK) {
        watch->told_seq = seq;
    }
    watch->is_stopped = watch->is_stopped || status == WEIR_STOPPED;
    return status;
}

// ---- one row

// The event of a row, made when it is first wanted and used as long as the next watch wants the
// same.
struct made {
    struct weir_event *event;
    uint64_t event_bytes_max;
    bool is_own; // of one watch alone
};

static void made_forget(struct made *made) {
    weir_event_unref(made->event);
    made->event = NULL;
}

static weir_status make(struct weir_sqlite_watcher *watcher, const struct weir_sqlite_watch *watch,
                        const struct weir_sqlite_record *record, struct made *made,
                        struct weir_error *err) {
    bool is_own = watch->snapshot != NULL; // its position has more in it than others'
    if (made->event && !is_own && !made->is_own &&
        made->event_bytes_max == watch->hub.event_bytes_max) {
        return WEIR_OK;
    }
    char buffer[WEIR_POSITION_BYTES_MAX];
    struct weir_sqlite_rest rest = {.kind = WEIR_SQLITE_REST_NONE};
    if (is_own) {
        rest = weir_sqlite_snapshot_rest(watch->snapshot);
    }
    struct weir_str position = {buffer,
                                weir_sqlite_write_position(watcher, record->place, &rest, buffer)};
    made_forget(made);
    made->event_bytes_max = watch->hub.event_bytes_max;
    made->is_own = is_own;
    return weir_sqlite_record_event(&watcher->reader, record, position, watch->hub.event_bytes_max,
                                    &made->event, err);
}

// Reading the log for some watches.
struct reading {
    struct weir_sqlite_watcher *watcher;
    bool is_of_level;
    struct weir_sqlite_watch *only;  // NULL: all that are behind, or level
    struct weir_sqlite_place before; // the row before the one that is read
    struct made made;
};

// Whether the row is to be offered to the watch.
static bool is_for(const struct reading *reading, const struct weir_sqlite_watch *watch,
                   int64_t seq) {
    return !watch->is_stopped && watch->is_located && seq > watch->at.seq &&
           (reading->only ? watch == reading->only : watch->is_behind != reading->is_of_level) &&
           !watch->gap && !weir_hub_is_paused(&watch->hub);
}

// Level watches are asked even if they cannot take anything now: they have to fall behind.
static bool falls_behind(const struct reading *reading, const struct weir_sqlite_watch *watch,
                         int64_t seq) {
    return reading->is_of_level && !watch->is_behind && !watch->is_stopped && seq > watch->at.seq &&
           weir_hub_is_paused(&watch->hub);
}

static void leave_at(struct reading *reading, struct weir_sqlite_watch *watch) {
    if (reading->before.seq > watch->at.seq) {
        watch->at = reading->before;
    }
    weir_sqlite_fall_behind(reading->watcher, watch);
}

static weir_status offer_to(struct reading *reading, struct weir_sqlite_watch *watch,
                            const struct weir_sqlite_record *record, struct weir_error *err) {
    weir_status status = make(reading->watcher, watch, record, &reading->made, err);
    if (status == WEIR_NO_MEMORY) {
        return status;
    }
    if (status != WEIR_OK) { // it never can be told
        weir_sqlite_log_untold(reading->watcher, record->key, err);
        return WEIR_OK;
    }
    status = weir_sqlite_offer(reading->watcher, watch, reading->made.event, record->place.seq);
    if (status == WEIR_AGAIN) {
        leave_at(reading, watch);
    } else {
        watch->at = record->place;
    }
    return WEIR_OK;
}

static weir_status tell_change(struct reading *reading, const struct weir_sqlite_record *record,
                               struct weir_error *err) {
    struct weir_routes_walk walk = weir_routes_first(reading->watcher->routes, record->key);
    weir_status status = WEIR_OK;
    for (; status == WEIR_OK && walk.route; weir_routes_next(&walk)) {
        struct weir_sqlite_watch *watch = walk.route->watch;
        if (is_for(reading, watch, record->place.seq)) {
            status = offer_to(reading, watch, record, err);
        } else if (falls_behind(reading, watch, record->place.seq)) {
            leave_at(reading, watch);
        }
    }
    made_forget(&reading->made);
    return status;
}

// Of a table, what came before is not in the log.
static weir_status tell_gap(struct reading *reading, const struct weir_sqlite_record *record) {
    struct weir_sqlite_watcher *watcher = reading->watcher;
    struct weir_str reason = weir_sqlite_bytes(record->statement, record->cells);
    struct weir_sqlite_watch *watch, *next;
    weir_status status = WEIR_OK;
    DL_FOREACH_SAFE (watcher->watches, watch, next) {
        bool concerns =
            watcher->reader.shapes.is_kv ||
            weir_sqlite_pattern_concerns(&watch->hub.pattern, weir_str_of(record->shape->table));
        if (status == WEIR_OK && concerns &&
            (is_for(reading, watch, record->place.seq) ||
             falls_behind(reading, watch, record->place.seq))) {
            status =
                weir_sqlite_note_gap(watcher, watch, record->shape->table, record->place, reason);
        }
    }
    return status;
}

// ---- batches

struct batch {
    struct weir_sqlite_place from;
    struct weir_sqlite_place reached;
    bool is_end; // there is nothing behind `reached`
};

// What the first row says of the place that is read from. False: the history is another one.
static bool is_continued(const struct batch *batch, struct weir_sqlite_place first) {
    if (first.seq == batch->from.seq) {
        return batch->from.mark == 0 || batch->from.mark == first.mark;
    }
    return first.seq == batch->from.seq + 1;
}

static weir_status fail_lost(const struct reading *reading, struct weir_error *err) {
    return weir_fail(err, WEIR_AGAIN, "the log of %s is not what it was",
                     reading->watcher->resource->base.name);
}

// There is no row from `from` on: which is right only if that was the last one.
static weir_status check_end(struct reading *reading, const struct batch *batch,
                             struct weir_error *err) {
    struct weir_sqlite_log_state state;
    weir_status status = weir_sqlite_log_look(reading->watcher->db, &state, err);
    if (status == WEIR_OK && (!state.is_there || state.last.seq != batch->from.seq)) {
        return fail_lost(reading, err);
    }
    return status;
}

static weir_status take_row(struct reading *reading, struct batch *batch, bool is_first,
                            struct weir_error *err) {
    struct weir_sqlite_record record;
    sqlite3_stmt *statement = reading->watcher->scan;
    bool is_told = weir_sqlite_record_read(&reading->watcher->reader, statement, &record);
    if (is_first && !is_continued(batch, record.place)) {
        return fail_lost(reading, err);
    }
    weir_status status = WEIR_OK;
    if (record.place.seq > batch->from.seq) {
        if (is_told) {
            status = record.op == WEIR_SQLITE_OP_GAP ? tell_gap(reading, &record)
                                                     : tell_change(reading, &record, err);
        }
    }
    if (status == WEIR_OK) {
        batch->reached = reading->before = record.place;
    }
    return status;
}

static weir_status read_batch(struct reading *reading, struct batch *batch,
                              struct weir_error *err) {
    struct weir_sqlite_watcher *watcher = reading->watcher;
    sqlite3_stmt *statement = watcher->scan;
    batch->reached = reading->before = batch->from;
    int code = sqlite3_bind_int64(statement, 1, batch->from.seq);
    int rows = 0;
    weir_status status = WEIR_OK;
    // One more: the first is the one that was told.
    while (status == WEIR_OK && rows <= WEIR_SQLITE_ROWS_AT_ONCE && code == SQLITE_OK) {
        code = sqlite3_step(statement);
        if (code == SQLITE_ROW) {
            status = take_row(reading, batch, rows == 0, err);
            rows++;
            code = SQLITE_OK;
        }
    }
    batch->is_end = code == SQLITE_DONE;
    if (status == WEIR_OK && code != SQLITE_DONE && code != SQLITE_OK) {
        status = weir_sqlite_db_fail(watcher->db, code, "read the log of", err);
    }
    sqlite3_reset(statement);
    return status == WEIR_OK && rows == 0 ? check_end(reading, batch, err) : status;
}

weir_status weir_sqlite_tell_level(struct weir_sqlite_watcher *watcher, bool *ret_has_more,
                                   struct weir_error *err) {
    struct reading reading = {.watcher = watcher, .is_of_level = true};
    struct batch batch = {.from = watcher->head};
    weir_status status = read_batch(&reading, &batch, err);
    if (status == WEIR_OK || status == WEIR_NO_MEMORY) {
        watcher->head = batch.reached;
    }
    *ret_has_more = status == WEIR_OK && !batch.is_end;
    return status;
}

// ---- those that are behind

// Whether it can be told rows now.
static bool is_active(const struct weir_sqlite_watch *watch) {
    return !watch->is_stopped && watch->is_located && !watch->gap &&
           !weir_hub_is_paused(&watch->hub);
}

static const struct weir_sqlite_watch *hindmost(const struct weir_sqlite_watcher *watcher) {
    const struct weir_sqlite_watch *watch, *found = NULL;
    DL_FOREACH2(watcher->behind, watch, next_behind) {
        if (is_active(watch) && (!found || watch->at.seq < found->at.seq)) {
            found = watch;
        }
    }
    return found;
}

// Those that took everything have come as far as the batch, and perhaps to the head.
static void advance(struct weir_sqlite_watcher *watcher, const struct batch *batch) {
    struct weir_sqlite_watch *watch, *next;
    DL_FOREACH_SAFE2(watcher->behind, watch, next, next_behind) {
        if (!is_active(watch)) {
            continue;
        }
        if (batch->reached.seq > watch->at.seq) {
            watch->at = batch->reached;
        }
        bool is_level = batch->is_end && watch->at.seq >= batch->reached.seq && !watch->snapshot;
        if (is_level && (watcher->level_count == 0 || watch->at.seq >= watcher->head.seq)) {
            weir_sqlite_join(watcher, watch);
        }
    }
}

weir_status weir_sqlite_tell_behind(struct weir_sqlite_watcher *watcher, bool *ret_has_more,
                                    struct weir_error *err) {
    const struct weir_sqlite_watch *last = hindmost(watcher);
    *ret_has_more = false;
    if (!last) {
        return WEIR_OK;
    }
    struct reading reading = {.watcher = watcher};
    struct batch batch = {.from = last->at};
    weir_status status = read_batch(&reading, &batch, err);
    if (status == WEIR_OK) {
        advance(watcher, &batch);
        *ret_has_more = !batch.is_end;
    }
    return status;
}

weir_status weir_sqlite_tell_one(struct weir_sqlite_watcher *watcher,
                                 struct weir_sqlite_watch *watch, bool *ret_is_level,
                                 struct weir_error *err) {
    struct reading reading = {.watcher = watcher, .only = watch};
    struct batch batch = {.from = watch->at};
    *ret_is_level = false;
    weir_status status = read_batch(&reading, &batch, err);
    if (status == WEIR_OK && is_active(watch)) {
        watch->at = batch.reached.seq > watch->at.seq ? batch.reached : watch->at;
        *ret_is_level = batch.is_end;
    }
    return status;
}
