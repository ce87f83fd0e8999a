// SPDX-License-Identifier: Apache-2.0
//
// The comparison that every hint leads to: what is there now, against what a watch was told last.
// It decides what is an event, and builds it. See keys.h.
//
// Told is a key's present state, so a key that changed twice before it was looked at is told once
// (latest-value), and one that has the same value again not at all: a source that keeps no versions
// cannot tell that from no change. A sink without room costs memory for the keys that changed,
// never for their values: each is one entry in the watch's list, and its value is fetched when
// there is room.
//
// A key is fetched once for all its watches that wait for it. What comes while it is being fetched
// makes the fetch stale: what it brings was a state of the key, so it is told, and the key is
// fetched once more.
//
// A value that is too large for an event is fetched in pieces, for its hash alone.
//
// The order of the dirty keys of a watch is the order in which they became so, and one that was
// fetched in vain, since its sink had no room, goes back to its place.
#include "provider/redis/keys.h"

#include "base/clock.h"
#include "base/digits.h"
#include "base/progress.h"
#include "base/show.h"
#include "provider/keyvalue.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

enum {
    FETCHES_MAX = 64,        // keys that are fetched at a time
    COMMANDS_OF_A_FETCH = 2, // that it begins with
    PIECE_BYTES = 1 << 20,   // of a value that is too large
    NUMBER_BYTES = 24,       // of a number as text
    NO_MEMORY_WAIT_MS = 10,  // before it is tried again
    NO_MEMORY_PASS_MS = 100, // when a key could not even be noted
    ROOM_PASS_MS = 1000,     // when there may be room for keys that were left out
    CHAIN_WORDS = 3 + WEIR_REDIS_CHAIN_FIELDS,
};

// What a fetch has found.
enum presence { LOOKING, ABSENT, PRESENT, FAILED };

struct fetch {
    UT_hash_handle hh; // in keys->fetches, by key
    bool is_stale;
    enum presence presence;
    size_t unanswered;              // commands
    uint64_t value_bytes_max;       // that any of its watches wants to be told
    struct weir_redis_reply *value; // if it is not larger; owned
    struct weir_redis_told told;
    XXH3_state_t *state;           // of one that is larger, while it comes; owned
    struct weir_redis_reply *note; // of where the value comes from; owned
    struct weir_redis_chain chain; // views of it, if it is of this value
    struct weir_event *events[2];  // without and with data; made when first wanted
    size_t key_size;
    char key[];
};

// ---- entries ----

static struct weir_str key_of(const struct entry *entry) {
    return (struct weir_str){.data = entry->key, .size = entry->key_size};
}

static struct entry *find(const struct weir_redis_key_watch *watch, struct weir_str key) {
    struct entry *entry;
    HASH_FIND(hh, watch->entries, key.data, key.size, entry);
    return entry;
}

void weir_redis_keys_update_ready(struct weir_redis_keys *keys,
                                  struct weir_redis_key_watch *watch) {
    bool may_be_told = watch->is_baseline || !weir_hub_is_paused(&watch->hub);
    bool is_ready = watch->is_routed && watch->dirty && may_be_told && !watch->is_stopped;
    if (is_ready && !watch->is_ready) {
        DL_APPEND2(keys->ready, watch, ready_prev, ready_next);
    } else if (!is_ready && watch->is_ready) {
        DL_DELETE2(keys->ready, watch, ready_prev, ready_next);
    }
    watch->is_ready = is_ready;
    if (watch->is_measured && watch->pass == PASS_NONE && !watch->dirty) {
        watch->is_measured = false;
        weir_meter_end(watch->hub.meter);
    }
}

static void ask_for_pass(struct weir_redis_keys *keys, struct weir_redis_key_watch *watch,
                         int64_t wait_ms) {
    int64_t due_ns = weir_clock_monotonic_ns() + wait_ms * WEIR_NS_PER_MS;
    watch->pass = PASS_WANTED;
    keys->again_ns = due_ns < keys->again_ns ? due_ns : keys->again_ns;
}

static struct entry *entry_new(struct weir_redis_key_watch *watch, struct weir_str key) {
    struct entry *entry = calloc(1, sizeof *entry + key.size);
    if (!entry) {
        return NULL;
    }
    entry->key_size = key.size;
    memcpy(entry->key, key.data, key.size);
    HASH_ADD_KEYPTR(hh, watch->entries, entry->key, key.size, entry);
    if (!entry->hh.tbl) {
        free(entry);
        return NULL;
    }
    watch->unlooked += watch->is_baseline;
    return entry;
}

static void entry_leave(struct weir_redis_key_watch *watch, struct entry *entry) {
    if (entry->state == ENTRY_DIRTY) {
        DL_DELETE(watch->dirty, entry);
    }
    entry->state = ENTRY_CLEAN;
}

static void entry_remove(struct weir_redis_keys *keys, struct weir_redis_key_watch *watch,
                         struct entry *entry) {
    entry_leave(watch, entry);
    HASH_DEL(watch->entries, entry);
    free(entry);
    if (watch->is_over) {
        watch->is_over = false;
        ask_for_pass(keys, watch, ROOM_PASS_MS);
    }
}

struct entry *weir_redis_keys_entry(struct weir_redis_keys *keys,
                                    struct weir_redis_key_watch *watch, struct weir_str key) {
    struct entry *entry = find(watch, key);
    if (entry || watch->is_over) {
        return entry;
    }
    if (HASH_COUNT(watch->entries) >= keys->resource->options.keys_max) {
        watch->is_over = true; // until a key goes
        if (!watch->is_baseline) {
            weir_log(keys->resource->log, WEIR_LOG_ERROR,
                     "keys_max is reached: further keys are not told until others are removed",
                     {"resource", weir_str_of(keys->resource->base.name)});
        }
        return NULL;
    }
    entry = entry_new(watch, key);
    if (!entry) {
        ask_for_pass(keys, watch, NO_MEMORY_PASS_MS);
    }
    return entry;
}

weir_status weir_redis_keys_recall(struct weir_redis_keys *keys, struct weir_redis_key_watch *watch,
                                   struct weir_str key, const struct weir_redis_told *told) {
    if (HASH_COUNT(watch->entries) >= keys->resource->options.keys_max) {
        return WEIR_LIMIT;
    }
    struct entry *entry = find(watch, key);
    entry = entry ? entry : entry_new(watch, key);
    if (entry) {
        entry->is_present = true;
        entry->told = *told;
    }
    return entry ? WEIR_OK : WEIR_NO_MEMORY;
}

void weir_redis_keys_make_dirty(struct weir_redis_keys *keys, struct weir_redis_key_watch *watch,
                                struct entry *entry) {
    if (entry->state == ENTRY_CLEAN) {
        entry->state = ENTRY_DIRTY;
        entry->order = ++keys->order;
        DL_APPEND(watch->dirty, entry);
        weir_redis_keys_update_ready(keys, watch);
    }
}

// One that was asked for is dirty again, in its place.
static void take_back(struct weir_redis_keys *keys, struct weir_redis_key_watch *watch,
                      struct entry *entry) {
    if (entry->state == ENTRY_ASKED) {
        struct entry *behind = watch->dirty;
        while (behind && behind->order < entry->order) { // few: those that were asked for with it
            behind = behind->next;
        }
        entry->state = ENTRY_DIRTY;
        if (behind) {
            DL_PREPEND_ELEM(watch->dirty, behind, entry);
        } else {
            DL_APPEND(watch->dirty, entry);
        }
    }
    weir_redis_keys_update_ready(keys, watch);
}

static struct fetch *find_fetch(const struct weir_redis_keys *keys, struct weir_str key) {
    struct fetch *fetch;
    HASH_FIND(hh, keys->fetches, key.data, key.size, fetch);
    return fetch;
}

static void make_dirty(struct weir_redis_keys *keys, struct weir_redis_key_watch *watch,
                       struct weir_str key) {
    struct entry *entry = watch->is_stopped ? NULL : weir_redis_keys_entry(keys, watch, key);
    if (entry) {
        weir_redis_keys_make_dirty(keys, watch, entry);
    }
}

void weir_redis_keys_hint_one(struct weir_redis_keys *keys, struct weir_redis_key_watch *watch,
                              struct weir_str key) {
    struct fetch *fetch = find_fetch(keys, key);
    if (fetch) {
        fetch->is_stale = true;
    }
    make_dirty(keys, watch, key);
}

void weir_redis_keys_hint(struct weir_redis_keys *keys, struct weir_str key) {
    if (weir_redis_check_key(key, NULL) != WEIR_OK) {
        return; // one that cannot be watched
    }
    struct fetch *fetch = find_fetch(keys, key);
    if (fetch) {
        fetch->is_stale = true;
    }
    for (struct weir_routes_walk walk = weir_routes_first(keys->routes, key); walk.route;
         weir_routes_next(&walk)) {
        make_dirty(keys, walk.route->watch, key);
    }
}

void weir_redis_keys_forget(struct weir_redis_key_watch *watch) {
    struct entry *entry, *next;
    HASH_ITER (hh, watch->entries, entry, next) {
        HASH_DEL(watch->entries, entry);
        free(entry);
    }
    watch->dirty = NULL;
}

// ---- events ----

// The event of a key that is there, made once for all watches that want it in the same form.
static weir_status set_event(struct weir_redis_keys *keys, struct fetch *fetch, bool has_data,
                             struct weir_event **ret_event) {
    struct weir_event **event = &fetch->events[has_data];
    weir_status status = WEIR_OK;
    if (!*event) {
        char revision[WEIR_REDIS_REVISION_BYTES], fingerprint[WEIR_REDIS_FINGERPRINT_BYTES];
        struct weir_keyvalue_change change = {
            .source = weir_str_of(keys->resource->source),
            .key = {fetch->key, fetch->key_size},
            .revision = weir_redis_revision(&fetch->told, false, revision),
            .position = weir_redis_fingerprint_encode(&fetch->told, fingerprint),
            .wall_ns = weir_clock_wall_ns(),
            .data = has_data ? &fetch->value->bytes : NULL,
            .size_bytes = fetch->told.size,
            .extensions = fetch->chain.extensions,
            .extension_count = fetch->chain.count,
        };
        status = weir_keyvalue_event(&change, event, NULL);
    }
    *ret_event = *event;
    return status;
}

static weir_status deleted_event(struct weir_redis_keys *keys, const struct entry *entry,
                                 struct weir_event **ret_event) {
    char revision[WEIR_REDIS_REVISION_BYTES];
    struct weir_keyvalue_change change = {
        .source = weir_str_of(keys->resource->source),
        .key = key_of(entry),
        .is_deleted = true,
        .revision = weir_redis_revision(&entry->told, true, revision),
        .wall_ns = weir_clock_wall_ns(),
    };
    return weir_keyvalue_event(&change, ret_event, NULL);
}

static void log_omitted(const struct weir_redis_keys *keys,
                        const struct weir_redis_key_watch *watch, const struct fetch *fetch) {
    char shown[WEIR_SHOW_BYTES], text[WEIR_ERROR_MESSAGE_BYTES];
    snprintf(text, sizeof text, "the value of \"%s\" has %" PRIu64 " bytes, the most is %" PRIu64,
             weir_show((struct weir_str){fetch->key, fetch->key_size}, shown, sizeof shown),
             fetch->told.size, watch->hub.event_bytes_max);
    weir_log(keys->resource->log, WEIR_LOG_WARN, "a change is told without its value",
             {"resource", weir_str_of(keys->resource->base.name)}, {"reason", weir_str_of(text)});
}

// ---- comparing and telling ----

// Offers an event. Returns whether it was taken.
static bool offer(struct weir_redis_keys *keys, struct weir_redis_key_watch *watch,
                  struct weir_event *event) {
    weir_status status = weir_hub_offer(&watch->hub, event);
    watch->is_stopped = watch->is_stopped || status == WEIR_STOPPED;
    weir_redis_keys_update_ready(keys, watch);
    return status == WEIR_OK;
}

static void wait_for_memory(struct weir_redis_keys *keys) {
    keys->memory_ns = weir_clock_monotonic_ns() + NO_MEMORY_WAIT_MS * WEIR_NS_PER_MS;
}

// Tells what was found, if the watch does not know it. Returns whether it knows it now.
static bool tell_set(struct weir_redis_keys *keys, struct weir_redis_key_watch *watch,
                     struct entry *entry, struct fetch *fetch) {
    bool is_same = entry->is_present && weir_redis_told_equal(&entry->told, &fetch->told);
    if (!is_same && !watch->is_baseline) {
        bool fits = fetch->value && fetch->told.size <= watch->hub.event_bytes_max;
        struct weir_event *event;
        if (set_event(keys, fetch, fits, &event) != WEIR_OK) {
            wait_for_memory(keys);
            return false;
        }
        if (!offer(keys, watch, event)) {
            return false;
        }
        if (!fits) {
            log_omitted(keys, watch, fetch);
        }
    }
    entry->is_present = true;
    entry->told = fetch->told;
    return true;
}

static bool tell_deleted(struct weir_redis_keys *keys, struct weir_redis_key_watch *watch,
                         struct entry *entry) {
    struct weir_event *event;
    if (entry->is_present && !watch->is_baseline) {
        if (deleted_event(keys, entry, &event) != WEIR_OK) {
            wait_for_memory(keys);
            return false;
        }
        bool is_taken = offer(keys, watch, event);
        weir_event_unref(event);
        if (!is_taken) {
            return false;
        }
    }
    entry->is_present = false;
    return true;
}

static void compare(struct weir_redis_keys *keys, struct weir_redis_key_watch *watch,
                    struct entry *entry, struct fetch *fetch) {
    bool may_be_told = watch->is_baseline || !weir_hub_is_paused(&watch->hub);
    bool is_told = may_be_told && (fetch->presence == PRESENT ? tell_set(keys, watch, entry, fetch)
                                                              : tell_deleted(keys, watch, entry));
    if (!is_told) {
        take_back(keys, watch, entry);
        return;
    }
    if (watch->is_baseline && !entry->is_looked_at) {
        entry->is_looked_at = true;
        watch->unlooked--;
    }
    if (watch->is_measured) {
        weir_meter_add(watch->hub.meter, 1);
    }
    entry_leave(watch, entry);
    if (fetch->is_stale) {
        weir_redis_keys_make_dirty(keys, watch, entry);
    } else if (!entry->is_present) {
        entry_remove(keys, watch, entry);
    }
    weir_redis_keys_update_ready(keys, watch);
}

// ---- fetching ----

static void fetch_free(struct weir_redis_keys *keys, struct fetch *fetch) {
    HASH_DEL(keys->fetches, fetch);
    weir_redis_reply_free(fetch->value);
    weir_redis_reply_free(fetch->note);
    XXH3_freeState(fetch->state);
    weir_event_unref(fetch->events[0]);
    weir_event_unref(fetch->events[1]);
    free(fetch);
}

// Calls for each watch of the key that waits for it.
static void each_waiting(struct weir_redis_keys *keys, struct fetch *fetch,
                         void (*each)(struct weir_redis_keys *keys,
                                      struct weir_redis_key_watch *watch, struct entry *entry,
                                      struct fetch *fetch)) {
    struct weir_str key = {fetch->key, fetch->key_size};
    for (struct weir_routes_walk walk = weir_routes_first(keys->routes, key); walk.route;
         weir_routes_next(&walk)) {
        struct weir_redis_key_watch *watch = walk.route->watch;
        struct entry *entry = find(watch, key);
        if (entry && entry->state != ENTRY_CLEAN && !watch->is_stopped) {
            each(keys, watch, entry, fetch);
        }
    }
}

static void give_up(struct weir_redis_keys *keys, struct weir_redis_key_watch *watch,
                    struct entry *entry, struct fetch *fetch) {
    (void)fetch;
    take_back(keys, watch, entry);
}

void weir_redis_keys_forget_fetches(struct weir_redis_keys *keys) {
    struct fetch *fetch, *next;
    HASH_ITER (hh, keys->fetches, fetch, next) {
        each_waiting(keys, fetch, give_up);
        fetch_free(keys, fetch);
    }
}

// Reads what is noted beside the value, if it is of this value.
static void read_note(struct fetch *fetch) {
    char revision[WEIR_REDIS_REVISION_BYTES];
    const struct weir_redis_reply *belongs_to = weir_redis_reply_at(fetch->note, 0);
    if (fetch->presence != PRESENT || !weir_redis_reply_is(belongs_to, WEIR_REDIS_BULK) ||
        !weir_str_equal(belongs_to->bytes, weir_redis_revision(&fetch->told, false, revision))) {
        return;
    }
    for (size_t i = 0; i < WEIR_REDIS_CHAIN_FIELDS; i++) {
        weir_redis_chain_add(&fetch->chain, i, weir_redis_reply_at(fetch->note, i + 1));
    }
}

// Tells what came of it, once all is there.
static void conclude(struct weir_redis_keys *keys, struct fetch *fetch) {
    if (fetch->unanswered > 0 || fetch->presence == LOOKING) {
        return;
    }
    if (fetch->presence == FAILED) {
        each_waiting(keys, fetch, give_up);
    } else {
        read_note(fetch);
        each_waiting(keys, fetch, compare);
    }
    fetch_free(keys, fetch);
}

// Not enough memory to hold what came: the keys wait a little.
static void fetch_later(struct weir_redis_keys *keys, struct fetch *fetch) {
    wait_for_memory(keys);
    fetch->presence = FAILED;
}

// What cannot be read because of something that is not the key's is a matter of the connection.
static bool is_bad(struct weir_redis_keys *keys, const struct weir_redis_reply *reply) {
    struct weir_error error;
    weir_status status = weir_redis_reply_status(reply, "fetching a value", &error);
    if (status == WEIR_OK && reply->kind != WEIR_REDIS_BULK && reply->kind != WEIR_REDIS_NIL) {
        status = weir_redis_reply_odd("fetching a value", &error);
    }
    if (status != WEIR_OK) {
        weir_redis_session_fail(keys->session, &error);
    }
    return status != WEIR_OK;
}

static weir_redis_answer take_piece;

static bool ask_for_piece(struct weir_redis_keys *keys, struct fetch *fetch) {
    char start[NUMBER_BYTES], end[NUMBER_BYTES];
    snprintf(start, sizeof start, "%" PRIu64, fetch->told.size);
    snprintf(end, sizeof end, "%" PRIu64, fetch->told.size + PIECE_BYTES - 1);
    const struct weir_str words[] = {
        WEIR_STR("GETRANGE"), {fetch->key, fetch->key_size}, weir_str_of(start), weir_str_of(end)};
    if (weir_redis_session_ask(keys->session, words, 4, take_piece, fetch) != WEIR_OK) {
        return false;
    }
    fetch->unanswered++;
    return true;
}

// Takes what is known of a large value so far, and asks for what is behind it.
static void go_on(struct weir_redis_keys *keys, struct fetch *fetch, struct weir_str piece,
                  bool is_last) {
    XXH3_128bits_update(fetch->state, piece.data, piece.size);
    fetch->told.size += piece.size;
    if (is_last) {
        fetch->told.hash = XXH3_128bits_digest(fetch->state);
        fetch->presence = PRESENT;
    } else if (!ask_for_piece(keys, fetch)) {
        fetch_later(keys, fetch);
    }
}

static void take_piece(void *context, void *token, struct weir_redis_reply **given) {
    struct weir_redis_keys *keys = context;
    struct fetch *fetch = token;
    const struct weir_redis_reply *reply = *given;
    if (!weir_redis_reply_fails_with(reply, "WRONGTYPE") && is_bad(keys, reply)) {
        return;
    }
    fetch->unanswered--;
    if (reply->kind == WEIR_REDIS_BULK) {
        go_on(keys, fetch, reply->bytes, reply->bytes.size < PIECE_BYTES);
    } else {
        fetch->presence = ABSENT;
    }
    conclude(keys, fetch);
}

static void hold_value(struct fetch *fetch, struct weir_redis_reply **given) {
    struct weir_str value = (*given)->bytes;
    fetch->told =
        (struct weir_redis_told){.size = value.size, .hash = XXH3_128bits(value.data, value.size)};
    fetch->value = *given;
    fetch->presence = PRESENT;
    *given = NULL;
}

static void take_whole(void *context, void *token, struct weir_redis_reply **given) {
    struct weir_redis_keys *keys = context;
    struct fetch *fetch = token;
    if (!weir_redis_reply_fails_with(*given, "WRONGTYPE") && is_bad(keys, *given)) {
        return;
    }
    fetch->unanswered--;
    if ((*given)->kind == WEIR_REDIS_BULK) {
        hold_value(fetch, given);
    } else {
        fetch->presence = ABSENT;
    }
    conclude(keys, fetch);
}

// GETRANGE cannot tell a key that is not there from one that is empty.
static void ask_for_whole(struct weir_redis_keys *keys, struct fetch *fetch) {
    const struct weir_str words[] = {WEIR_STR("GET"), {fetch->key, fetch->key_size}};
    if (weir_redis_session_ask(keys->session, words, 2, take_whole, fetch) == WEIR_OK) {
        fetch->unanswered++;
    } else {
        fetch_later(keys, fetch);
    }
}

static void take_start(void *context, void *token, struct weir_redis_reply **given) {
    struct weir_redis_keys *keys = context;
    struct fetch *fetch = token;
    const struct weir_redis_reply *reply = *given;
    bool is_other = weir_redis_reply_fails_with(reply, "WRONGTYPE");
    if (!is_other && is_bad(keys, reply)) {
        return;
    }
    fetch->unanswered--;
    if (is_other || reply->kind == WEIR_REDIS_NIL) {
        fetch->presence = ABSENT;
    } else if (reply->bytes.size == 0) {
        ask_for_whole(keys, fetch);
    } else if (reply->bytes.size <= fetch->value_bytes_max) {
        hold_value(fetch, given);
    } else if ((fetch->state = XXH3_createState())) {
        XXH3_128bits_reset(fetch->state);
        go_on(keys, fetch, reply->bytes, false);
    } else {
        fetch_later(keys, fetch);
    }
    conclude(keys, fetch);
}

// What is noted beside the value. Who may not read it does without.
static void take_note(void *context, void *token, struct weir_redis_reply **given) {
    struct fetch *fetch = token;
    fetch->note = *given;
    fetch->unanswered--;
    *given = NULL;
    conclude(context, fetch);
}

// What is asked for a fetch.
static bool ask_for_start(struct weir_redis_keys *keys, struct fetch *fetch) {
    char end[WEIR_DECIMAL_BYTES_MAX], name[WEIR_REDIS_OWN_BYTES_MAX];
    struct weir_str key = {fetch->key, fetch->key_size};
    const struct weir_str range[] = {
        WEIR_STR("GETRANGE"), key, WEIR_STR("0"), {end, weir_decimal(fetch->value_bytes_max, end)}};
    if (weir_redis_session_ask(keys->session, range, 4, take_start, fetch) != WEIR_OK) {
        return false;
    }
    fetch->unanswered++;
    if (keys->resource->options.chain_ns > 0) {
        struct weir_str chain[CHAIN_WORDS] = {
            WEIR_STR("HMGET"), weir_redis_own_name(WEIR_REDIS_CHAIN_PREFIX, key, name),
            WEIR_STR("value")};
        for (size_t i = 0; i < WEIR_REDIS_CHAIN_FIELDS; i++) {
            chain[3 + i] = weir_str_of(weir_redis_chain_names[i]);
        }
        // Without memory for it there is no chain: better than none of the change.
        fetch->unanswered +=
            weir_redis_session_ask(keys->session, chain, CHAIN_WORDS, take_note, fetch) == WEIR_OK;
    }
    return true;
}

// Marks what is asked for, and notes how much of the value is wanted.
static void begin_waiting(struct weir_redis_keys *keys, struct weir_redis_key_watch *watch,
                          struct entry *entry, struct fetch *fetch) {
    uint64_t bytes_max = watch->hub.event_bytes_max;
    bytes_max = bytes_max < WEIR_REDIS_VALUE_BYTES_MAX ? bytes_max : WEIR_REDIS_VALUE_BYTES_MAX;
    if (bytes_max > fetch->value_bytes_max) {
        fetch->value_bytes_max = bytes_max;
    }
    if (watch->is_ready && entry->state == ENTRY_DIRTY) {
        DL_DELETE(watch->dirty, entry);
        entry->state = ENTRY_ASKED;
        weir_redis_keys_update_ready(keys, watch);
    }
}

// Fetches a key for all watches that wait for it. False without memory.
static bool fetch_begin(struct weir_redis_keys *keys, struct weir_str key) {
    struct fetch *fetch = calloc(1, sizeof *fetch + key.size);
    if (!fetch) {
        return false;
    }
    fetch->key_size = key.size;
    memcpy(fetch->key, key.data, key.size);
    HASH_ADD_KEYPTR(hh, keys->fetches, fetch->key, fetch->key_size, fetch);
    if (!fetch->hh.tbl) {
        free(fetch);
        return false;
    }
    each_waiting(keys, fetch, begin_waiting);
    if (!ask_for_start(keys, fetch)) {
        each_waiting(keys, fetch, give_up);
        fetch_free(keys, fetch);
        return false;
    }
    return true;
}

int64_t weir_redis_keys_fetch(struct weir_redis_keys *keys) {
    if (keys->memory_ns > weir_clock_monotonic_ns()) {
        return keys->memory_ns;
    }
    keys->memory_ns = 0;
    // One that is in flight for others, and became dirty since, waits for its end.
    size_t looked = 0;
    while (keys->ready && HASH_COUNT(keys->fetches) < FETCHES_MAX && looked++ < FETCHES_MAX &&
           weir_redis_session_has_room(keys->session, COMMANDS_OF_A_FETCH)) {
        struct weir_redis_key_watch *watch = keys->ready;
        struct weir_str key = key_of(watch->dirty);
        DL_DELETE2(keys->ready, watch, ready_prev, ready_next); // the next one's turn
        DL_APPEND2(keys->ready, watch, ready_prev, ready_next);
        if (find_fetch(keys, key)) {
            continue;
        }
        if (!fetch_begin(keys, key)) {
            wait_for_memory(keys);
            return keys->memory_ns;
        }
    }
    return INT64_MAX;
}
