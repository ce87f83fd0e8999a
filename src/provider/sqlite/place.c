// SPDX-License-Identifier: Apache-2.0
//
// Where watches are in the log: level or behind, found in the log of a new connection, or in none.
// See watcher.h.
//
// The place of a watch is right where the row with its number has its mark, or is gone and the next
// one is there; then nothing is missing between what was told and what will be. A log that has lost
// more than that may still have lost only what the watch had acknowledged, or never wanted: so far
// its consumer has come in the database. Everything else is a gap.
#include "provider/sqlite/watcher.h"

#include "base/show.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

// ---- places

void weir_sqlite_fall_behind(struct weir_sqlite_watcher *watcher, struct weir_sqlite_watch *watch) {
    if (!watch->is_behind) {
        watch->is_behind = true;
        watcher->level_count--;
        DL_APPEND2(watcher->behind, watch, prev_behind, next_behind);
    }
}

void weir_sqlite_join(struct weir_sqlite_watcher *watcher, struct weir_sqlite_watch *watch) {
    if (watch->is_behind) {
        DL_DELETE2(watcher->behind, watch, prev_behind, next_behind);
        watch->is_behind = false;
        if (watcher->level_count++ == 0) {
            watcher->head = watch->at;
        }
    }
}

weir_status weir_sqlite_note_gap(struct weir_sqlite_watcher *watcher,
                                 struct weir_sqlite_watch *watch, const char *table,
                                 struct weir_sqlite_place to, struct weir_str reason) {
    struct weir_sqlite_gap *gap = calloc(1, sizeof *gap);
    if (!gap) {
        return WEIR_NO_MEMORY;
    }
    char shown[WEIR_SQLITE_REASON_BYTES];
    gap->from = watch->at;
    snprintf(gap->reason, sizeof gap->reason, "%s", weir_show(reason, shown, sizeof shown));
    gap->table = table ? strdup(table) : NULL;
    if ((table && !gap->table) || weir_sqlite_snapshot_begin(watch, table, NULL) != WEIR_OK) {
        free(gap->table);
        free(gap);
        return WEIR_NO_MEMORY;
    }
    weir_sqlite_gap_free(watch);
    watch->gap = gap;
    watch->at = to;
    weir_sqlite_fall_behind(watcher, watch);
    return WEIR_OK;
}

// The first row from a number on, as it is now; its number is 0 where there is none.
static weir_status read_place(struct weir_sqlite_watcher *watcher, int64_t seq,
                              struct weir_sqlite_place *ret_place, struct weir_error *err) {
    *ret_place = (struct weir_sqlite_place){0};
    int code = sqlite3_bind_int64(watcher->scan, 1, seq);
    code = code == SQLITE_OK ? sqlite3_step(watcher->scan) : code;
    if (code == SQLITE_ROW) {
        ret_place->seq = sqlite3_column_int64(watcher->scan, WEIR_SQLITE_LOG_SEQ);
        ret_place->mark = (uint64_t)sqlite3_column_int64(watcher->scan, WEIR_SQLITE_LOG_MARK);
    }
    sqlite3_reset(watcher->scan);
    return code == SQLITE_ROW || code == SQLITE_DONE
               ? WEIR_OK
               : weir_sqlite_db_fail(watcher->db, code, "read the log of", err);
}

// Whether everything behind `seq` is there; `now` is the first row from it on.
static bool is_all_there(int64_t seq, struct weir_sqlite_place now,
                         const struct weir_sqlite_log_state *state) {
    return now.seq == 0 ? seq == state->last.seq : now.seq <= seq + 1;
}

// What became of the place of a watch in the log that is there. NULL: it is in it.
static const char *find_loss(const struct weir_sqlite_watcher *watcher,
                             const struct weir_sqlite_watch *watch,
                             const struct weir_sqlite_log_state *state,
                             struct weir_sqlite_place now) {
    const struct weir_sqlite_place *at = &watch->at;
    if (!watch->has_place) {
        return "the position that was kept is not understood";
    }
    if (memcmp(watch->identity, watcher->identity, sizeof watch->identity) != 0) {
        return "there is another database, or another log in it, than before";
    }
    if (at->seq > state->last.seq) {
        return "the database is older than it was: it was restored from a copy";
    }
    if (now.seq == at->seq && at->mark != 0 && now.mark != at->mark) {
        return "the database is not what it was: it was restored from a copy and written to";
    }
    return is_all_there(at->seq, now, state)
               ? NULL
               : "the log does not have the changes any more; see log_rows_max";
}

// Where the log begins behind the place of a watch: what is gone may be what it had acknowledged,
// or never wanted, which the database knows. *ret_is_so: then it goes on there.
static weir_status skip_acknowledged(struct weir_sqlite_watcher *watcher,
                                     struct weir_sqlite_watch *watch,
                                     const struct weir_sqlite_log_state *state, bool *ret_is_so,
                                     struct weir_error *err) {
    int64_t seq;
    struct weir_sqlite_place now;
    *ret_is_so = false;
    weir_status status = weir_sqlite_consumer_find(watcher, watch->hub.name, &seq, err);
    if (status != WEIR_OK || seq <= watch->at.seq || seq > state->last.seq) {
        return status;
    }
    status = read_place(watcher, seq, &now, err);
    *ret_is_so = status == WEIR_OK && is_all_there(seq, now, state);
    if (*ret_is_so) {
        watch->at = (struct weir_sqlite_place){seq, now.seq == seq ? now.mark : 0};
    }
    return status;
}

// Finds the place of a watch in the log; where history is missing, notes the gap.
static weir_status locate(struct weir_sqlite_watcher *watcher, struct weir_sqlite_watch *watch,
                          const struct weir_sqlite_log_state *state, struct weir_error *err) {
    struct weir_sqlite_place now;
    weir_status status = read_place(watcher, watch->at.seq, &now, err);
    const char *loss = status == WEIR_OK ? find_loss(watcher, watch, state, now) : NULL;
    bool is_behind_it = loss && watch->has_place && now.seq != watch->at.seq &&
                        watch->at.seq <= state->last.seq &&
                        memcmp(watch->identity, watcher->identity, sizeof watch->identity) == 0;
    if (is_behind_it) {
        bool is_so;
        status = skip_acknowledged(watcher, watch, state, &is_so, err);
        loss = is_so ? NULL : loss;
    }
    if (status == WEIR_OK && loss) {
        status = weir_sqlite_note_gap(watcher, watch, NULL, state->last, weir_str_of(loss));
    }
    if (status == WEIR_OK) {
        memcpy(watch->identity, watcher->identity, sizeof watch->identity);
        watch->has_place = watch->is_located = true;
        weir_sqlite_consumer_start(watcher, watch);
    }
    return status;
}

weir_status weir_sqlite_locate_all(struct weir_sqlite_watcher *watcher, struct weir_error *err) {
    struct weir_sqlite_log_state state;
    struct weir_sqlite_watch *watch;
    if (!watcher->has_unlocated) {
        return WEIR_OK;
    }
    weir_status status = weir_sqlite_db_run(watcher->db, "BEGIN", "read", err);
    status = status == WEIR_OK ? weir_sqlite_log_look(watcher->db, &state, err) : status;
    DL_FOREACH2(watcher->behind, watch, next_behind) {
        if (status == WEIR_OK && !watch->is_located && !watch->is_new) {
            status = locate(watcher, watch, &state, err);
        }
    }
    weir_sqlite_db_rollback(watcher->db);
    watcher->has_unlocated = status != WEIR_OK;
    return status;
}

void weir_sqlite_lose_places(struct weir_sqlite_watcher *watcher) {
    struct weir_sqlite_watch *watch;
    DL_FOREACH (watcher->watches, watch) {
        if (!watch->is_behind && watcher->head.seq > watch->at.seq) {
            watch->at = watcher->head;
        }
        watch->is_located = false;
        weir_sqlite_fall_behind(watcher, watch);
    }
    watcher->has_unlocated = watcher->watches != NULL;
}
