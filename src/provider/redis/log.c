// SPDX-License-Identifier: Apache-2.0
//
// The watches of the mode `log`: each change that is made through weir, or by somebody who keeps to
// the same form, is an entry of one stream, and an entry's id is its position.
//
// Reading. All watches share two readings of the stream. The head is where those are that have been
// told everything; it goes on when the bell rings. A watch that goes on after a stop, or whose sink
// had no room, is behind; the sweep starts where the one that is furthest behind has to go on,
// offers what it reads to all that are behind, and at the head they join the others. A watch that
// gets room and is further behind has the sweep go back to it: what others have been told already
// they are not told again, since each knows its place. So memory holds one piece of the stream,
// whatever waits, and 10,000 watches are read for once.
//
// History that is gone. A stream is trimmed at its old end, so as long as the entry is there from
// which a reading goes on, nothing behind it is lost: each piece is asked for with that entry as
// its first, and where it is missing there is a gap, unless nothing was added since. That the
// stream was removed and made anew, or restored, shows in the same way. It is a gap too many where
// somebody trims exactly up to that entry; that is told rather than nothing. Places where there
// never was an entry (an empty stream) are marked, in positions too.
//
// So that a watch that is told little does not find its place trimmed after a stop, its position is
// moved by a bookmark each time the head has read a part of what the log keeps.
//
// After a gap a watch is told what there is of its keys, since the mode has their values: see
// snapshot.c. Until that is done its positions say so, and a stop in between begins it anew.
#include "provider/redis/log.h"

#include "base/clock.h"
#include "base/show.h"
#include "provider/keyvalue.h"
#include "provider/redis/names.h"
#include "provider/redis/value.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

enum {
    ENTRIES_AT_ONCE_FIRST = 16, // of a piece; adapts to what they weigh
    ENTRIES_AT_ONCE_MAX = 512,
    PIECE_BYTES_LOW = 1 << 20, // a piece that weighs less may have more entries
    PIECE_BYTES_HIGH = 8 << 20,
    REPLY_BYTES_MAX = 768 << 20, // of a piece: one entry may be as large as a server takes it
    NUMBER_BYTES = 24,
    NO_MEMORY_WAIT_MS = 10, // before a watch without memory is told
    BOOKMARKS_IN_A_LOG = 8, // while as many entries are added as the log keeps
};

#define MAY_BE_MISSING '+'
#define OWES_SNAPSHOT  '*'

// ---- places ----

struct weir_str weir_redis_place_format(const struct place *place, bool owes_snapshot,
                                        char buffer[static WEIR_REDIS_PLACE_BYTES]) {
    size_t size = weir_redis_id_format(place->id, buffer).size;
    if (place->kind == PLACE_ANYWHERE || place->kind == PLACE_START) {
        buffer[size++] = MAY_BE_MISSING;
    }
    if (owes_snapshot) {
        buffer[size++] = OWES_SNAPSHOT;
    }
    return (struct weir_str){buffer, size};
}

static bool take_end(struct weir_str *text, char end) {
    bool has_it = text->size > 0 && text->data[text->size - 1] == end;
    text->size -= has_it;
    return has_it;
}

static bool place_parse(struct weir_str text, struct place *ret_place, bool *ret_owes_snapshot) {
    *ret_owes_snapshot = take_end(&text, OWES_SNAPSHOT);
    bool may_be_missing = take_end(&text, MAY_BE_MISSING);
    bool is_place = weir_redis_id_parse(text, &ret_place->id);
    ret_place->kind = !may_be_missing                        ? PLACE_BEHIND
                      : weir_redis_id_is_zero(ret_place->id) ? PLACE_START
                                                             : PLACE_ANYWHERE;
    return is_place;
}

static bool is_before(struct place a, struct place b) {
    int order = weir_redis_id_compare(a.id, b.id);
    return order < 0 || (order == 0 && a.kind == PLACE_AT && b.kind != PLACE_AT);
}

// ---- who is where ----

static void update_waiting(struct weir_redis_logs *logs, struct weir_redis_log_watch *watch) {
    bool is_waiting = watch->is_routed && watch->is_behind && !watch->is_stopped &&
                      !watch->lacks_memory && !weir_hub_is_paused(&watch->hub);
    if (is_waiting && !watch->is_waiting) {
        bool is_first = logs->waiting == NULL;
        DL_APPEND2(logs->waiting, watch, waiting_prev, waiting_next);
        if (is_first || is_before(watch->from, logs->sweep.at)) {
            logs->sweep.at = watch->from;
            logs->sweep.is_void = logs->sweep.is_asked;
        }
    } else if (!is_waiting && watch->is_waiting) {
        DL_DELETE2(logs->waiting, watch, waiting_prev, waiting_next);
    }
    watch->is_waiting = is_waiting;
}

static void fall_behind(struct weir_redis_logs *logs, struct weir_redis_log_watch *watch,
                        struct place from) {
    watch->is_behind = true;
    watch->from = from;
    update_waiting(logs, watch);
}

static void wait_for_memory(struct weir_redis_logs *logs, struct weir_redis_log_watch *watch) {
    int64_t due_ns = weir_clock_monotonic_ns() + NO_MEMORY_WAIT_MS * WEIR_NS_PER_MS;
    watch->lacks_memory = true;
    logs->memory_ns = logs->memory_ns < due_ns ? logs->memory_ns : due_ns;
    update_waiting(logs, watch);
}

// Those that are swept for have reached the head.
static void join_head(struct weir_redis_logs *logs) {
    while (logs->waiting) {
        struct weir_redis_log_watch *watch = logs->waiting;
        watch->is_behind = false;
        update_waiting(logs, watch);
    }
}

bool weir_redis_log_offer(struct weir_redis_logs *logs, struct weir_redis_log_watch *watch,
                          struct weir_event *event) {
    weir_status status = weir_hub_offer(&watch->hub, event);
    watch->is_stopped = watch->is_stopped || status == WEIR_STOPPED;
    update_waiting(logs, watch);
    return status == WEIR_OK;
}

// ---- telling ----

// An entry as a change of a key. False: it is none, or not of a key that can be watched.
struct change {
    struct weir_str key, value;
    bool is_deletion;
};

static bool read_change(const struct weir_redis_entry *entry, struct change *ret_change) {
    struct weir_str op = weir_redis_entry_field(entry, "op");
    *ret_change = (struct change){.key = weir_redis_entry_field(entry, "key"),
                                  .value = weir_redis_entry_field(entry, "value"),
                                  .is_deletion = weir_str_equal(op, WEIR_STR("del"))};
    bool is_known =
        ret_change->is_deletion || (weir_str_equal(op, WEIR_STR("set")) && ret_change->value.data);
    return is_known && weir_redis_check_key(ret_change->key, NULL) == WEIR_OK;
}

static weir_status make_event(struct weir_redis_logs *logs,
                              const struct weir_redis_log_watch *watch,
                              const struct weir_redis_entry *entry, const struct change *change,
                              struct weir_event **ret_event) {
    char position[WEIR_REDIS_PLACE_BYTES];
    const struct place place = {.id = entry->id, .kind = PLACE_BEHIND};
    struct weir_redis_chain chain = {.count = 0};
    for (size_t i = 0; i < WEIR_REDIS_CHAIN_FIELDS; i++) {
        weir_redis_chain_add(&chain, i,
                             weir_redis_reply_named(entry->fields, weir_redis_chain_names[i]));
    }
    struct weir_keyvalue_change event = {
        .source = weir_str_of(logs->resource->source),
        .key = change->key,
        .revision = entry->id_text,
        .position = weir_redis_place_format(&place, watch->owes_snapshot, position),
        .wall_ns =
            entry->id.ms < INT64_MAX / WEIR_NS_PER_MS ? (int64_t)entry->id.ms * WEIR_NS_PER_MS : 0,
        .is_deleted = change->is_deletion,
        .data = change->value.size <= watch->hub.event_bytes_max ? &change->value : NULL,
        .size_bytes = change->value.size,
        .extensions = chain.extensions,
        .extension_count = chain.count,
    };
    return weir_keyvalue_event(&event, ret_event, NULL);
}

// Tells a watch an entry that it has not been told. One that cannot be told now is where it goes
// on.
static void tell(struct weir_redis_logs *logs, struct weir_redis_log_watch *watch,
                 const struct weir_redis_entry *entry, const struct change *change) {
    struct weir_event *event = NULL;
    bool is_made = make_event(logs, watch, entry, change, &event) == WEIR_OK;
    if (is_made && weir_redis_log_offer(logs, watch, event)) {
        watch->told = (struct place){.id = entry->id, .kind = PLACE_BEHIND};
    } else if (!watch->is_stopped) {
        if (!is_made) {
            wait_for_memory(logs, watch);
        }
        fall_behind(logs, watch, (struct place){.id = entry->id, .kind = PLACE_AT});
    }
    weir_event_unref(event);
}

// Tells an entry to those that follow the head, or to those that the sweep is for.
static void dispatch(struct weir_redis_logs *logs, const struct weir_redis_entry *entry,
                     bool is_sweep) {
    struct change change;
    if (!read_change(entry, &change)) {
        return;
    }
    for (struct weir_routes_walk walk = weir_routes_first(logs->routes, change.key); walk.route;
         weir_routes_next(&walk)) {
        struct weir_redis_log_watch *watch = walk.route->watch;
        bool is_for = is_sweep ? watch->is_waiting : !watch->is_behind;
        if (is_for && !watch->is_stopped && weir_redis_id_compare(entry->id, watch->told.id) > 0) {
            tell(logs, watch, entry, &change);
        }
    }
}

// ---- bookmarks ----

static void tell_bookmark(struct weir_redis_logs *logs, struct weir_redis_log_watch *watch) {
    char position[WEIR_REDIS_PLACE_BYTES];
    struct weir_event *event;
    if (weir_event_of_bookmark(weir_str_of(logs->resource->source),
                               weir_redis_place_format(&logs->head.at, false, position), &event,
                               NULL) != WEIR_OK) {
        return; // with the next ones
    }
    watch->has_bookmark = weir_redis_log_offer(logs, watch, event);
    weir_event_unref(event);
    if (watch->has_bookmark) {
        watch->told = logs->head.at;
    }
}

// Moves the positions of those that follow, when the head has read enough.
static void tell_bookmarks(struct weir_redis_logs *logs, size_t read) {
    uint64_t kept = logs->resource->options.log_entries;
    logs->unmarked += read;
    if (kept == 0 || logs->unmarked < kept / BOOKMARKS_IN_A_LOG) {
        return;
    }
    logs->unmarked = 0;
    for (struct weir_redis_log_watch *watch = logs->watches; watch; watch = watch->next) {
        bool follows = !watch->is_behind && !watch->is_stopped && !watch->owes_snapshot &&
                       !weir_hub_is_paused(&watch->hub);
        if (follows && watch->hub.name && !watch->has_bookmark &&
            is_before(watch->told, logs->head.at)) {
            tell_bookmark(logs, watch);
        }
    }
}

// ---- gaps ----

static void set_owing(struct weir_redis_logs *logs, struct weir_redis_log_watch *watch) {
    logs->owing += !watch->owes_snapshot;
    watch->owes_snapshot = true;
    weir_redis_log_snapshot_stop(logs, watch);
    weir_redis_log_snapshot_reset(watch);
}

// The watch goes on at `on`, and what is between is gone.
static void begin_gap(struct weir_redis_logs *logs, struct weir_redis_log_watch *watch,
                      struct place was, struct place on, const char *reason) {
    if (!watch->has_gap) {
        watch->gap_from = was.id;
    }
    watch->has_gap = true;
    watch->gap_to = on.id;
    watch->gap_reason = reason;
    watch->told = on;
    set_owing(logs, watch);
    fall_behind(logs, watch, on);
}

// Tells of the gap. The place behind which the watch goes on is the one that it is behind.
static void tell_gap(struct weir_redis_logs *logs, struct weir_redis_log_watch *watch) {
    char from[WEIR_REDIS_ID_BYTES], to[WEIR_REDIS_ID_BYTES], position[WEIR_REDIS_PLACE_BYTES];
    struct weir_event *event;
    char pattern[WEIR_KEY_BYTES_MAX + 1];
    size_t size = watch->hub.pattern.text.size;
    memcpy(pattern, watch->hub.pattern.text.data, size);
    pattern[size] = '*';
    const struct weir_gap gap = {
        .source = weir_str_of(logs->resource->source),
        .pattern = {pattern, size + watch->hub.pattern.is_prefix},
        .from = weir_redis_id_format(watch->gap_from, from),
        .to = weir_redis_id_format(watch->gap_to, to),
        .reason = weir_str_of(watch->gap_reason),
        .position = weir_redis_place_format(&watch->from, true, position),
    };
    if (weir_event_of_gap(&gap, &event, NULL) != WEIR_OK) {
        wait_for_memory(logs, watch);
        return;
    }
    watch->has_gap = !weir_redis_log_offer(logs, watch, event);
    weir_event_unref(event);
}

// ---- reading ----

// Asks for the entries from a place on, the one that is there among them.
static void ask_for_piece(struct weir_redis_logs *logs, struct reading *reading,
                          weir_redis_answer *answer) {
    char start[WEIR_REDIS_ID_BYTES], count[NUMBER_BYTES];
    snprintf(count, sizeof count, "%" PRIu64, logs->entries_at_once + 1);
    const struct weir_str range[] = {WEIR_STR("XRANGE"),
                                     weir_str_of(logs->resource->options.log),
                                     weir_redis_id_format(reading->at.id, start),
                                     WEIR_STR("+"),
                                     WEIR_STR("COUNT"),
                                     weir_str_of(count)};
    if (weir_redis_session_ask(logs->session, range, 6, answer, reading) == WEIR_OK) {
        reading->is_asked = true;
        reading->is_void = false;
        reading->asked_for = logs->entries_at_once + 1;
    }
}

// Adapts how much is asked for at once to what a piece weighs.
static void weigh(struct weir_redis_logs *logs, size_t bytes) {
    if (bytes > PIECE_BYTES_HIGH && logs->entries_at_once > 1) {
        logs->entries_at_once /= 2;
    } else if (bytes < PIECE_BYTES_LOW && logs->entries_at_once < ENTRIES_AT_ONCE_MAX) {
        logs->entries_at_once *= 2;
    }
}

// What a piece has of the place where it begins.
enum piece { PIECE_GOES_ON, PIECE_IS_LAST, PIECE_HAS_A_HOLE };

// Whether the first entry of a piece, or that there is none, shows that others were before it.
static bool has_hole(const struct place *at, const struct weir_redis_entry *first) {
    switch (at->kind) {
    case PLACE_BEHIND:
    case PLACE_AT:
        return !first || weir_redis_id_compare(first->id, at->id) != 0;
    case PLACE_ANYWHERE:
        return false;
    case PLACE_START:
        return true; // it is to be asked for
    }
    return true;
}

// Tells the entries of a piece.
static enum piece take_piece(struct weir_redis_logs *logs, struct reading *reading,
                             const struct weir_redis_reply *piece, bool is_sweep) {
    struct weir_redis_entry entry;
    size_t bytes = 0;
    bool has_first = weir_redis_entry_read(weir_redis_reply_at(piece, 0), &entry);
    if (has_hole(&reading->at, has_first ? &entry : NULL)) {
        return PIECE_HAS_A_HOLE;
    }
    for (size_t i = 0; i < piece->count; i++) {
        if (!weir_redis_entry_read(&piece->items[i], &entry)) {
            continue;
        }
        bytes += weir_redis_entry_bytes(&entry);
        if (is_before(reading->at, (struct place){.id = entry.id, .kind = PLACE_BEHIND})) {
            if (!is_sweep) {
                weir_redis_log_snapshot_at(logs, &entry.id);
            }
            dispatch(logs, &entry, is_sweep);
            reading->at = (struct place){.id = entry.id, .kind = PLACE_BEHIND};
        }
    }
    weigh(logs, bytes);
    return piece->count >= reading->asked_for ? PIECE_GOES_ON : PIECE_IS_LAST;
}

// Whether a reply to a reading is one to go on with.
static bool is_usable(struct weir_redis_logs *logs, const struct weir_redis_reply *reply) {
    struct weir_error error;
    weir_status status = weir_redis_reply_status(reply, "reading the log", &error);
    if (status == WEIR_OK && reply->kind != WEIR_REDIS_ARRAY) {
        status = weir_redis_reply_odd("reading the log", &error);
    }
    if (status != WEIR_OK) {
        weir_redis_session_fail(logs->session, &error);
    }
    return status == WEIR_OK;
}

// What XINFO STREAM says of the stream; all zero where there is none.
struct state {
    struct weir_redis_id last_added; // also where it is not there any more
    struct weir_redis_id first;      // if it is not empty
    int64_t length, added;           // added: -1: the server does not count (Redis 6)
};

struct weir_redis_id weir_redis_log_last_added(const struct weir_redis_reply *info) {
    return weir_redis_info_id(info, "last-generated-id");
}

static struct state read_state(const struct weir_redis_reply *info) {
    return (struct state){
        .last_added = weir_redis_log_last_added(info),
        .first = weir_redis_info_id(info, "first-entry"),
        .length = weir_redis_info_number(info, "length"),
        .added = weir_redis_info_number(info, "entries-added"),
    };
}

// Why what is behind a place is not all there; NULL: it is.
static const char *hole_behind(const struct state *state, struct place place) {
    static const char trimmed[] =
        "the log was trimmed: raise log_entries, or have the handler keep pace";
    int order = weir_redis_id_compare(place.id, state->last_added);
    if (place.kind == PLACE_START) {
        return state->added > state->length ? trimmed : NULL;
    }
    if (order == 0 && place.kind != PLACE_AT) {
        return NULL; // nothing was added since
    }
    return order <= 0                                 ? trimmed
           : weir_redis_id_is_zero(state->last_added) ? "the log is gone"
                                                      : "the log is older than what was read of "
                                                        "it: it was made anew, or restored";
}

// Where to go on: before the first entry there is.
static struct place place_before(const struct state *state) {
    return (struct place){.id = state->length == 0 ? state->last_added
                                                   : weir_redis_id_before(state->first),
                          .kind = PLACE_ANYWHERE};
}

// Whether entries between a place and the first one there is are gone.
static bool lacks(struct place was, struct place on) {
    int order = weir_redis_id_compare(was.id, on.id);
    return order < 0 || (order == 0 && was.kind == PLACE_AT) || was.kind == PLACE_START;
}

// The place of a reading is not there any more: so it is for those whom it was for.
static void take_hole(struct weir_redis_logs *logs, struct reading *reading, bool is_sweep,
                      const struct state *state) {
    const char *reason = hole_behind(state, reading->at);
    struct place on = place_before(state), at = reading->at;
    if (!reason) {
        reading->at.kind = PLACE_ANYWHERE;
        return;
    }
    bool is_older = weir_redis_id_compare(at.id, state->last_added) > 0;
    for (struct weir_redis_log_watch *watch = logs->watches; watch; watch = watch->next) {
        bool is_for = is_sweep ? watch->is_waiting : !watch->is_behind;
        struct place was = is_sweep ? watch->from : at;
        if (is_for && !watch->is_stopped && (is_older || lacks(was, on))) {
            begin_gap(logs, watch, was, on, reason);
        }
    }
    reading->at = on;
}

static void take_state(struct weir_redis_logs *logs, struct reading *reading, bool is_sweep,
                       const struct weir_redis_reply *reply) {
    struct weir_error error;
    reading->is_asked = false;
    bool is_missing = weir_str_has_prefix(
        reply->kind == WEIR_REDIS_ERROR ? reply->bytes : WEIR_STR(""), WEIR_STR("ERR no such key"));
    if (!is_missing && weir_redis_reply_status(reply, "reading the log", &error) != WEIR_OK) {
        weir_redis_session_fail(logs->session, &error);
        return;
    }
    if (!reading->is_void) {
        struct state state = is_missing ? (struct state){.added = -1} : read_state(reply);
        take_hole(logs, reading, is_sweep, &state);
    }
}

static void take_head_state(void *context, void *token, struct weir_redis_reply **given) {
    struct weir_redis_logs *logs = context;
    logs->has_news = true;
    take_state(logs, token, false, *given);
}

static void take_sweep_state(void *context, void *token, struct weir_redis_reply **given) {
    take_state(context, token, true, *given);
}

static void ask_for_state(struct weir_redis_logs *logs, struct reading *reading,
                          weir_redis_answer *answer) {
    const struct weir_str words[] = {WEIR_STR("XINFO"), WEIR_STR("STREAM"),
                                     weir_str_of(logs->resource->options.log)};
    reading->is_asked = weir_redis_session_ask(logs->session, words, 3, answer, reading) == WEIR_OK;
}

static void take_head(void *context, void *token, struct weir_redis_reply **given) {
    struct weir_redis_logs *logs = context;
    struct reading *head = token;
    if (!is_usable(logs, *given)) {
        return;
    }
    head->is_asked = false;
    if (head->is_void) {
        return;
    }
    switch (take_piece(logs, head, *given, false)) {
    case PIECE_GOES_ON:
        logs->has_news = true;
        tell_bookmarks(logs, (*given)->count);
        break;
    case PIECE_IS_LAST:
        weir_redis_log_snapshot_at(logs, NULL);
        tell_bookmarks(logs, (*given)->count);
        break;
    case PIECE_HAS_A_HOLE:
        ask_for_state(logs, head, take_head_state);
        break;
    }
}

static void take_sweep(void *context, void *token, struct weir_redis_reply **given) {
    struct weir_redis_logs *logs = context;
    struct reading *sweep = token;
    if (!is_usable(logs, *given)) {
        return;
    }
    sweep->is_asked = false;
    if (sweep->is_void) {
        return;
    }
    enum piece piece = take_piece(logs, sweep, *given, true);
    if (piece == PIECE_HAS_A_HOLE) {
        ask_for_state(logs, sweep, take_sweep_state);
        return;
    }
    if (!logs->has_head && piece == PIECE_IS_LAST) {
        logs->has_head = true;
        logs->head.at = sweep->at;
    }
    if (piece == PIECE_IS_LAST || (logs->has_head && !is_before(sweep->at, logs->head.at))) {
        join_head(logs);
    }
}

// ---- what the session asks ----

static bool is_wanted(void *context) {
    const struct weir_redis_logs *logs = context;
    return logs->watches != NULL;
}

static void connected(void *context) {
    struct weir_redis_logs *logs = context;
    weir_redis_session_bound(logs->session, REPLY_BYTES_MAX);
    weir_redis_session_want(logs->session, weir_str_of(logs->resource->options.log), 0, NULL);
}

static void missed(void *context) {
    struct weir_redis_logs *logs = context;
    logs->has_news = true;
}

static void lost(void *context) {
    struct weir_redis_logs *logs = context;
    logs->head.is_asked = logs->sweep.is_asked = false;
    weir_redis_log_snapshot_lost(logs);
    weir_pool_flush(logs->resource->pool);
}

static void rung(void *context, struct weir_str key) {
    struct weir_redis_logs *logs = context;
    logs->has_news =
        logs->has_news || weir_str_equal(key, weir_str_of(logs->resource->options.log));
}

// Those that lacked memory are tried again.
static void try_again(struct weir_redis_logs *logs) {
    if (logs->memory_ns > weir_clock_monotonic_ns()) {
        return;
    }
    logs->memory_ns = INT64_MAX;
    for (struct weir_redis_log_watch *watch = logs->watches; watch; watch = watch->next) {
        watch->lacks_memory = false;
        update_waiting(logs, watch);
    }
}

static int64_t pump(void *context) {
    struct weir_redis_logs *logs = context;
    try_again(logs);
    if (logs->has_head && logs->has_news && !logs->head.is_asked) {
        logs->has_news = false;
        ask_for_piece(logs, &logs->head, take_head);
    }
    struct weir_redis_log_watch *watch, *next;
    DL_FOREACH_SAFE2(logs->waiting, watch, next, waiting_next) {
        if (watch->has_gap) {
            tell_gap(logs, watch);
        }
    }
    if (logs->waiting && !logs->sweep.is_asked) {
        ask_for_piece(logs, &logs->sweep, take_sweep);
    }
    if (logs->owing > 0) {
        weir_redis_log_snapshot(logs);
    }
    return logs->memory_ns;
}

// ---- watches ----

static struct weir_redis_log_watch *watch_of(struct weir_hub_watch *hub) {
    return (struct weir_redis_log_watch *)hub;
}

static weir_status prepare(void *context, struct weir_hub_watch *hub,
                           const struct weir_watch_args *args, struct weir_error *err) {
    struct weir_redis_log_watch *watch = watch_of(hub);
    (void)context;
    (void)err;
    weir_redis_log_snapshot_reset(watch);
    if (!args->resume) {
        return WEIR_OK;
    }
    watch->is_behind = true;
    if (!place_parse(args->resume->position, &watch->from, &watch->owes_snapshot)) {
        watch->from = (struct place){.kind = PLACE_ANYWHERE};
        watch->has_gap = watch->owes_snapshot = true;
        watch->gap_reason = "the position that was kept is none of this source's";
    }
    watch->told = watch->from;
    return WEIR_OK;
}

// Where the stream ends now.
static weir_status find_end(struct weir_redis_logs *logs, int64_t until_ns, struct place *ret_end,
                            struct weir_error *err) {
    const char *log = logs->resource->options.log;
    const struct weir_str last[] = {WEIR_STR("XREVRANGE"), weir_str_of(log),  WEIR_STR("+"),
                                    WEIR_STR("-"),         WEIR_STR("COUNT"), WEIR_STR("1")};
    const struct weir_str exists[] = {WEIR_STR("EXISTS"), weir_str_of(log)};
    const struct weir_str info[] = {WEIR_STR("XINFO"), WEIR_STR("STREAM"), weir_str_of(log)};
    struct weir_redis_reply *reply;
    struct weir_redis_entry entry;
    *ret_end = (struct place){.kind = PLACE_START};
    weir_status status =
        weir_redis_session_call(logs->session, last, 6, "reading the log", until_ns, &reply, err);
    if (status != WEIR_OK) {
        return status;
    }
    bool has_entry = weir_redis_entry_read(weir_redis_reply_at(reply, 0), &entry);
    if (has_entry) {
        *ret_end = (struct place){.id = entry.id, .kind = PLACE_BEHIND};
    }
    weir_redis_reply_free(reply);
    if (has_entry) {
        return WEIR_OK;
    }
    status =
        weir_redis_session_call(logs->session, exists, 2, "reading the log", until_ns, &reply, err);
    bool is_there = reply && reply->kind == WEIR_REDIS_INTEGER && reply->integer > 0;
    weir_redis_reply_free(reply);
    if (status == WEIR_OK && is_there) {
        status = weir_redis_session_call(logs->session, info, 3, "reading the log", until_ns,
                                         &reply, err);
        if (status == WEIR_OK) {
            *ret_end =
                (struct place){.id = weir_redis_log_last_added(reply), .kind = PLACE_ANYWHERE};
        }
        weir_redis_reply_free(reply);
    }
    return status;
}

static weir_status begin_fresh(struct weir_redis_logs *logs, struct weir_redis_log_watch *watch,
                               int64_t until_ns, struct weir_error *err) {
    char position[WEIR_REDIS_PLACE_BYTES];
    weir_status status = weir_redis_session_ensure(logs->session, until_ns, err);
    if (status == WEIR_OK) {
        status = weir_redis_session_want(logs->session, weir_str_of(logs->resource->options.log),
                                         until_ns, err);
    }
    if (status == WEIR_OK) {
        status = find_end(logs, until_ns, &watch->told, err);
    }
    if (status != WEIR_OK) {
        return status;
    }
    if (!logs->has_head) {
        logs->has_head = true;
        logs->head.at = watch->told;
    }
    logs->has_news = true;
    return weir_hub_remember(&watch->hub, (struct weir_str){0},
                             weir_redis_place_format(&watch->told, false, position), err);
}

static weir_status add_watch(struct weir_redis_logs *logs, struct weir_redis_log_watch *watch,
                             struct weir_error *err) {
    weir_status status =
        weir_routes_add(logs->routes, &watch->hub.pattern, watch, &watch->route, err);
    if (status == WEIR_OK) {
        DL_APPEND(logs->watches, watch);
        watch->is_routed = true;
        logs->owing += watch->owes_snapshot;
    }
    return status;
}

static void remove_watch(struct weir_redis_logs *logs, struct weir_redis_log_watch *watch) {
    weir_redis_log_snapshot_stop(logs, watch);
    if (watch->is_routed) {
        weir_routes_remove(logs->routes, &watch->route);
        DL_DELETE(logs->watches, watch);
        watch->is_routed = false;
        logs->owing -= watch->owes_snapshot;
    }
    update_waiting(logs, watch);
    if (!logs->watches) { // nobody follows: where it was is of no interest to who comes next
        logs->has_head = false;
        logs->head.is_void = logs->head.is_asked;
    }
}

static weir_status begin(void *context, struct weir_hub_watch *hub, int64_t until_ns,
                         struct weir_error *err) {
    struct weir_redis_logs *logs = context;
    struct weir_redis_log_watch *watch = watch_of(hub);
    weir_status status = hub->is_resumed ? WEIR_OK : begin_fresh(logs, watch, until_ns, err);
    if (status == WEIR_OK) {
        status = add_watch(logs, watch, err);
    }
    if (status == WEIR_OK) {
        update_waiting(logs, watch);
        return status;
    }
    remove_watch(logs, watch);
    char shown[WEIR_SHOW_BYTES];
    return weir_error_prefix(err, status, "watching \"%s%s\"",
                             weir_show(hub->pattern.text, shown, sizeof shown),
                             hub->pattern.is_prefix ? "*" : "");
}

static void end(void *context, struct weir_hub_watch *hub) {
    remove_watch(context, watch_of(hub));
}

static void resume(void *context, struct weir_hub_watch *hub) {
    update_waiting(context, watch_of(hub));
}

static void acknowledge(void *context, struct weir_hub_watch *hub, struct weir_event *event) {
    struct weir_redis_log_watch *watch = watch_of(hub);
    (void)context;
    watch->has_bookmark = watch->has_bookmark && !event->is_bookmark;
}

static void discard(struct weir_hub_watch *hub) {
    weir_redis_log_snapshot_reset(watch_of(hub));
}

static size_t wait_for(void *context, struct pollfd ret_fds[static WEIR_HUB_FDS_MAX]) {
    const struct weir_redis_logs *logs = context;
    return weir_redis_session_wait_for(logs->session, ret_fds);
}

static int64_t work(void *context, const struct pollfd *fds, size_t count) {
    const struct weir_redis_logs *logs = context;
    (void)fds;
    (void)count;
    return weir_redis_session_work(logs->session);
}

// ---- making ----

static void destroy(void *context) {
    struct weir_redis_logs *logs = context;
    if (logs) {
        weir_redis_log_snapshot_stop(logs, NULL);
        weir_redis_log_snapshot_lost(logs);
        weir_routes_destroy(logs->routes);
        free(logs);
    }
}

static weir_status create(struct weir_redis_resource *resource, void **ret_context,
                          struct weir_error *err) {
    struct weir_redis_logs *logs = calloc(1, sizeof *logs);
    *ret_context = logs;
    if (logs) {
        logs->resource = resource;
        logs->entries_at_once = ENTRIES_AT_ONCE_FIRST;
        logs->memory_ns = INT64_MAX;
        logs->routes = weir_routes_create();
    }
    return logs && logs->routes ? WEIR_OK : weir_fail_no_memory(err, "a resource");
}

static void set_session(void *context, struct weir_redis_session *session) {
    struct weir_redis_logs *logs = context;
    logs->session = session;
}

const struct weir_redis_mode_functions weir_redis_log = {
    .hub =
        {
            .watch_bytes = sizeof(struct weir_redis_log_watch),
            .prepare = prepare,
            .begin = begin,
            .end = end,
            .resume = resume,
            .acknowledge = acknowledge,
            .discard = discard,
            .wait_for = wait_for,
            .work = work,
        },
    .session =
        {
            .is_wanted = is_wanted,
            .connected = connected,
            .missed = missed,
            .lost = lost,
            .rung = rung,
            .pump = pump,
        },
    .create = create,
    .set_session = set_session,
    .destroy = destroy,
    .capabilities = WEIR_CAN_REPLAY | WEIR_CAN_ACK | WEIR_CAN_PAUSE, // ACK: for bookmarks
    .strength = WEIR_EVERY_CHANGE,
};
