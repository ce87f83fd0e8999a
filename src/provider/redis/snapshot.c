// SPDX-License-Identifier: Apache-2.0
//
// What there is of a watch's keys, told where a part of the log is gone. See log.h.
//
// Nothing may go backwards: a value must not be told before an entry that is older than it. So some
// keys are read in one transaction with what was added to the log last; the log is told up to
// there, and then the values, which are what the log has led to; entries behind that are newer.
// Only then come the next keys. A watch whose sink has no room keeps the names of a page, never
// values.
#include "provider/redis/log.h"

#include "base/progress.h"
#include "provider/keyvalue.h"
#include "provider/redis/names.h"
#include "provider/redis/value.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    PAGE_KEYS = 64,        // that the server looks at for a page
    BATCH_KEYS = 16,       // that are read at a time
    COMMANDS_OF_A_KEY = 3, // TYPE, STRLEN, GETRANGE
    COMMANDS_AROUND = 3,   // MULTI, XINFO, EXEC
};

void weir_redis_log_snapshot_reset(struct weir_redis_log_watch *watch) {
    weir_redis_reply_free(watch->page);
    watch->page = NULL;
    watch->page_at = 0;
    memcpy(watch->cursor, "0", 2);
}

void weir_redis_log_snapshot_stop(struct weir_redis_logs *logs,
                                  const struct weir_redis_log_watch *watch) {
    struct snapshot *snapshot = &logs->snapshot;
    if (!watch || watch == snapshot->watch) {
        weir_redis_reply_free(snapshot->values);
        snapshot->values = NULL;
        snapshot->watch = NULL;
    }
}

void weir_redis_log_snapshot_lost(struct weir_redis_logs *logs) {
    weir_redis_log_snapshot_stop(logs, NULL);
    logs->snapshot.unanswered = 0;
}

// ---- how far it is ----

// How many keys the database has: about so many the server looks at.
static void take_size(void *context, void *token, struct weir_redis_reply **given) {
    struct weir_redis_logs *logs = context;
    const struct weir_redis_log_watch *watch = logs->snapshot.watch;
    (void)token;
    logs->snapshot.unanswered--;
    if (watch && weir_redis_reply_is(*given, WEIR_REDIS_INTEGER) && (*given)->integer > 0) {
        weir_meter_estimate(watch->hub.meter, (uint64_t)(*given)->integer);
    }
}

// Where the first page is about to be asked for.
static void begin_meter(struct weir_redis_logs *logs, const struct weir_redis_log_watch *watch) {
    const struct weir_str words[] = {WEIR_STR("DBSIZE")};
    weir_meter_begin(watch->hub.meter, "snapshot", 0);
    if (watch->hub.meter &&
        weir_redis_session_ask(logs->session, words, 1, take_size, NULL) == WEIR_OK) {
        logs->snapshot.unanswered++;
    }
}

// ---- asking ----

static bool is_usable(struct weir_redis_logs *logs, const struct weir_redis_reply *reply) {
    struct weir_error error;
    weir_status status = weir_redis_reply_status(reply, "reading what there is", &error);
    if (status == WEIR_OK && reply->kind != WEIR_REDIS_ARRAY) {
        status = weir_redis_reply_odd("reading what there is", &error);
    }
    if (status != WEIR_OK) {
        weir_redis_session_fail(logs->session, &error);
    }
    return status == WEIR_OK;
}

static void take_page(void *context, void *token, struct weir_redis_reply **given) {
    struct weir_redis_logs *logs = context;
    struct weir_redis_log_watch *watch = logs->snapshot.watch;
    (void)token;
    if (!is_usable(logs, *given)) {
        return;
    }
    logs->snapshot.unanswered--;
    const struct weir_redis_reply *cursor = weir_redis_reply_at(*given, 0);
    if (watch && weir_redis_reply_is(cursor, WEIR_REDIS_BULK) &&
        cursor->bytes.size < sizeof watch->cursor) {
        memcpy(watch->cursor, cursor->bytes.data, cursor->bytes.size + 1);
        watch->page = *given;
        watch->page_at = 0;
        *given = NULL;
        weir_meter_add(watch->hub.meter, PAGE_KEYS);
    }
}

static void ask_for_page(struct weir_redis_logs *logs, const struct weir_redis_log_watch *watch) {
    char glob[WEIR_REDIS_GLOB_BYTES_MAX], count[16];
    snprintf(count, sizeof count, "%d", PAGE_KEYS);
    const struct weir_str words[] = {
        WEIR_STR("SCAN"),  weir_str_of(watch->cursor),
        WEIR_STR("MATCH"), weir_redis_glob(watch->hub.pattern.text, glob),
        WEIR_STR("COUNT"), weir_str_of(count),
        WEIR_STR("TYPE"),  WEIR_STR("string")};
    if (weir_redis_session_ask(logs->session, words, sizeof words / sizeof words[0], take_page,
                               NULL) == WEIR_OK) {
        logs->snapshot.unanswered++;
    }
}

// The key in that place of what the watch is to be told. False: there are no more.
static bool key_at(const struct weir_redis_log_watch *watch, size_t at, struct weir_str *ret_key) {
    if (!watch->hub.pattern.is_prefix) {
        *ret_key = watch->hub.pattern.text;
        return at == 0;
    }
    const struct weir_redis_reply *key =
        weir_redis_reply_at(weir_redis_reply_at(watch->page, 1), at);
    *ret_key = weir_redis_reply_is(key, WEIR_REDIS_BULK) ? key->bytes : WEIR_STR("");
    return key != NULL;
}

static void take_queued(void *context, void *token, struct weir_redis_reply **given) {
    struct weir_redis_logs *logs = context;
    (void)token;
    (void)given;
    logs->snapshot.unanswered--;
}

static void take_values(void *context, void *token, struct weir_redis_reply **given) {
    struct weir_redis_logs *logs = context;
    struct snapshot *snapshot = &logs->snapshot;
    (void)token;
    if (!is_usable(logs, *given)) {
        return;
    }
    snapshot->unanswered--;
    if (snapshot->watch) {
        const struct weir_redis_reply *info =
            weir_redis_reply_at(*given, snapshot->count * COMMANDS_OF_A_KEY);
        snapshot->as_of = weir_redis_log_last_added(info);
        snapshot->values = *given;
        *given = NULL;
        logs->has_news = true; // up to there
    }
}

static void ask(struct weir_redis_logs *logs, const struct weir_str *words, size_t count,
                weir_redis_answer *answer) {
    if (weir_redis_session_ask(logs->session, words, count, answer, NULL) == WEIR_OK) {
        logs->snapshot.unanswered++;
    } else {
        struct weir_error error;
        weir_fail_no_memory(&error, "a transaction");
        weir_redis_session_fail(logs->session, &error); // half of it was sent
    }
}

static void ask_for_key(struct weir_redis_logs *logs, struct weir_str key, uint64_t bytes_max) {
    char end[24];
    bytes_max = bytes_max < WEIR_REDIS_VALUE_BYTES_MAX ? bytes_max : WEIR_REDIS_VALUE_BYTES_MAX;
    snprintf(end, sizeof end, "%" PRIu64, bytes_max);
    const struct weir_str type[] = {WEIR_STR("TYPE"), key}, size[] = {WEIR_STR("STRLEN"), key},
                          range[] = {WEIR_STR("GETRANGE"), key, WEIR_STR("0"), weir_str_of(end)};
    ask(logs, type, 2, take_queued);
    ask(logs, size, 2, take_queued);
    ask(logs, range, 4, take_queued);
}

static void ask_for_values(struct weir_redis_logs *logs, const struct weir_redis_log_watch *watch) {
    const struct weir_str multi[] = {WEIR_STR("MULTI")}, exec[] = {WEIR_STR("EXEC")},
                          info[] = {WEIR_STR("XINFO"), WEIR_STR("STREAM"),
                                    weir_str_of(logs->resource->options.log)};
    struct weir_str key;
    struct snapshot *snapshot = &logs->snapshot;
    if (!weir_redis_session_has_room(logs->session,
                                     BATCH_KEYS * COMMANDS_OF_A_KEY + COMMANDS_AROUND)) {
        return;
    }
    snapshot->count = 0;
    ask(logs, multi, 1, take_queued);
    while (snapshot->watch && snapshot->count < BATCH_KEYS &&
           key_at(watch, watch->page_at + snapshot->count, &key)) {
        ask_for_key(logs, key, watch->hub.event_bytes_max);
        snapshot->count++;
    }
    if (snapshot->watch) { // else the connection is lost
        ask(logs, info, 3, take_queued);
        ask(logs, exec, 1, take_values);
    }
}

// ---- telling ----

static weir_status make_event(const struct weir_redis_logs *logs,
                              const struct weir_redis_log_watch *watch, struct weir_str key,
                              const struct weir_redis_reply *value, uint64_t size,
                              struct weir_event **ret_event) {
    char revision[WEIR_REDIS_REVISION_BYTES], position[WEIR_REDIS_PLACE_BYTES];
    bool fits = size <= watch->hub.event_bytes_max && value->bytes.size == size;
    struct weir_redis_told told = {.size = size,
                                   .hash = XXH3_128bits(value->bytes.data, value->bytes.size)};
    struct weir_keyvalue_change change = {
        .source = weir_str_of(logs->resource->source),
        .key = key,
        .revision = weir_redis_revision(&told, false, revision),
        .position = weir_redis_place_format(&watch->told, true, position),
        .is_snapshot = true,
        .data = fits ? &value->bytes : NULL,
        .size_bytes = size,
    };
    return weir_keyvalue_event(&change, ret_event, NULL);
}

// Tells one key of a batch. Returns whether that is done.
static bool tell_key(struct weir_redis_logs *logs, struct weir_redis_log_watch *watch,
                     struct weir_str key, size_t at) {
    const struct weir_redis_reply *values = logs->snapshot.values;
    const struct weir_redis_reply *type = weir_redis_reply_at(values, at * COMMANDS_OF_A_KEY);
    const struct weir_redis_reply *size = weir_redis_reply_at(values, at * COMMANDS_OF_A_KEY + 1);
    const struct weir_redis_reply *value = weir_redis_reply_at(values, at * COMMANDS_OF_A_KEY + 2);
    if (!weir_redis_reply_says(type, "string") || !weir_redis_reply_is(size, WEIR_REDIS_INTEGER) ||
        !weir_redis_reply_is(value, WEIR_REDIS_BULK) ||
        !weir_pattern_matches(&watch->hub.pattern, key) ||
        weir_redis_check_key(key, NULL) != WEIR_OK) {
        return true;
    }
    struct weir_event *event;
    if (make_event(logs, watch, key, value, (uint64_t)size->integer, &event) != WEIR_OK) {
        return false;
    }
    bool is_taken = weir_redis_log_offer(logs, watch, event);
    weir_event_unref(event);
    return is_taken;
}

// Tells a batch. What has no room comes when there is some, read anew.
static void tell_batch(struct weir_redis_logs *logs) {
    struct snapshot *snapshot = &logs->snapshot;
    struct weir_redis_log_watch *watch = snapshot->watch;
    struct weir_str key;
    size_t told = 0;
    while (told < snapshot->count && key_at(watch, watch->page_at + told, &key) &&
           tell_key(logs, watch, key, told)) {
        told++;
    }
    watch->page_at += told;
}

// Whether the watch has been told all.
static bool is_through(const struct weir_redis_log_watch *watch) {
    struct weir_str key;
    bool has_more = key_at(watch, watch->page_at, &key);
    return watch->hub.pattern.is_prefix
               ? watch->page && !has_more && strcmp(watch->cursor, "0") == 0
               : !has_more;
}

static bool may_be_told(const struct weir_redis_log_watch *watch) {
    return watch->owes_snapshot && !watch->is_behind && !watch->is_stopped && !watch->has_gap &&
           !weir_hub_is_paused(&watch->hub);
}

// Looks for what is to be asked for the watch.
static void go_on(struct weir_redis_logs *logs, struct weir_redis_log_watch *watch) {
    struct weir_str key;
    if (is_through(watch)) {
        watch->owes_snapshot = false;
        logs->owing--;
        weir_redis_log_snapshot_stop(logs, watch);
        weir_redis_log_snapshot_reset(watch);
        weir_meter_end(watch->hub.meter);
    } else if (key_at(watch, watch->page_at, &key)) {
        ask_for_values(logs, watch);
    } else {
        if (strcmp(watch->cursor, "0") == 0) { // behind the last page it is through
            begin_meter(logs, watch);
        }
        weir_redis_reply_free(watch->page);
        watch->page = NULL;
        ask_for_page(logs, watch);
    }
}

void weir_redis_log_snapshot_at(struct weir_redis_logs *logs, const struct weir_redis_id *next) {
    const struct snapshot *snapshot = &logs->snapshot;
    if (snapshot->values && (!next || weir_redis_id_compare(*next, snapshot->as_of) > 0)) {
        if (may_be_told(snapshot->watch)) {
            tell_batch(logs);
        }
        weir_redis_log_snapshot_stop(logs, NULL);
    }
}

void weir_redis_log_snapshot(struct weir_redis_logs *logs) {
    struct snapshot *snapshot = &logs->snapshot;
    if (snapshot->unanswered > 0 || snapshot->values) {
        return; // the log first
    }
    if (snapshot->watch && !may_be_told(snapshot->watch)) {
        weir_redis_log_snapshot_stop(logs, NULL);
    }
    for (struct weir_redis_log_watch *watch = logs->watches; watch && !snapshot->watch;
         watch = watch->next) {
        snapshot->watch = may_be_told(watch) ? watch : NULL;
    }
    if (snapshot->watch) {
        go_on(logs, snapshot->watch);
    }
}
