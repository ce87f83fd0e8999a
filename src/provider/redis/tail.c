// SPDX-License-Identifier: Apache-2.0
//
// One stream read for one watch, as one consumer of the watch's group. See streams.h.
//
// The group at the server is what is kept: which entries were delivered to whom, and not
// acknowledged. In memory are the ids of the entries that were told and wait for that, so that they
// are not told again when what is pending is read anew: after a connection was lost, after others'
// entries were taken over, and after the sink had no room, when the rest of what had come was let
// go. So a watch that pauses costs no memory, and its entries wait at the server.
//
// One command is under way for a tail at a time, and one XACK beside it.
#include "provider/redis/streams.h"

#include "base/clock.h"
#include "provider/redis/stream_event.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

enum {
    FLIGHTS_MAX = 100000, // of one tail; then it reads no more before some are acknowledged
    ENTRIES_AT_ONCE_MAX = 512,
    ACKS_AT_ONCE_MAX = ENTRIES_AT_ONCE_MAX, // with fewer they would fall behind what is read
    PIECE_BYTES_LOW = 1 << 20,              // a piece that weighs less may have more entries
    PIECE_BYTES_HIGH = 8 << 20,
    NO_MEMORY_WAIT_MS = 10, // before it is tried again
    NUMBER_BYTES = 24,
};

static struct weir_str key_of(const struct tail *tail) {
    return (struct weir_str){tail->key, tail->key_size};
}

// ---- tails ----

static bool may_be_told(const struct tail *tail) {
    const struct weir_redis_stream_watch *watch = tail->watch;
    return watch && watch->is_routed && !watch->is_stopped && !watch->lacks_memory &&
           !weir_hub_is_paused(&watch->hub);
}

void weir_redis_tail_update(struct weir_redis_streams *streams, struct tail *tail) {
    bool has_room = HASH_COUNT(tail->flights) < FLIGHTS_MAX;
    bool reads = has_room && (tail->has_news || tail->phase == TAIL_PENDING || tail->wants_claim);
    bool is_ready =
        may_be_told(tail) && tail->unanswered == 0 && (reads || tail->has_gap || tail->wants_check);
    if (is_ready && !tail->is_ready) {
        DL_APPEND(streams->ready, tail);
    } else if (!is_ready && tail->is_ready) {
        DL_DELETE(streams->ready, tail);
    }
    tail->is_ready = is_ready;
}

// Sets it into or takes it out of the list of those that have something to acknowledge.
static void update_acks(struct weir_redis_streams *streams, struct tail *tail) {
    bool wants_acks = tail->watch && tail->acks && tail->acking == 0;
    if (wants_acks && !tail->wants_acks) {
        DL_APPEND2(streams->acks, tail, acks_prev, acks_next);
    } else if (!wants_acks && tail->wants_acks) {
        DL_DELETE2(streams->acks, tail, acks_prev, acks_next);
    }
    tail->wants_acks = wants_acks;
}

struct tail *weir_redis_tail_for(struct weir_redis_streams *streams,
                                 struct weir_redis_stream_watch *watch, struct weir_str key) {
    struct tail *tail;
    HASH_FIND(hh, watch->tails, key.data, key.size, tail);
    if (tail || watch->is_stopped) {
        return tail;
    }
    if (HASH_COUNT(watch->tails) >= streams->resource->options.keys_max) {
        if (!watch->is_over) {
            weir_log(streams->resource->log, WEIR_LOG_ERROR,
                     "keys_max is reached: further streams are not read until others are removed",
                     {"resource", weir_str_of(streams->resource->base.name)});
        }
        watch->is_over = true;
        return NULL;
    }
    tail = calloc(1, sizeof *tail + key.size);
    if (tail) {
        tail->watch = watch;
        tail->phase = watch->group ? TAIL_UNMADE : TAIL_PLAIN;
        tail->may_be_missing = true;
        tail->key_size = key.size;
        memcpy(tail->key, key.data, key.size);
        HASH_ADD_KEYPTR(hh, watch->tails, tail->key, tail->key_size, tail);
    }
    if (!tail || !tail->hh.tbl) {
        free(tail);
        streams->is_scan_wanted = true;
        streams->rescan_due_ns = 0; // it is found again, when there may be memory
        return NULL;
    }
    return tail;
}

static void send_last_acks(struct weir_redis_streams *streams, struct tail *tail);

static void tail_free(struct tail *tail) {
    struct flight *flight, *next;
    HASH_ITER (hh, tail->flights, flight, next) {
        HASH_DEL(tail->flights, flight);
        free(flight);
    }
    free(tail->claimed);
    free(tail);
}

void weir_redis_tail_end(struct weir_redis_streams *streams, struct tail *tail) {
    struct weir_redis_stream_watch *watch = tail->watch;
    send_last_acks(streams, tail);
    HASH_DEL(watch->tails, tail);
    if (watch->is_over) {
        watch->is_over = false;
        streams->is_scan_wanted = true;
    }
    tail->watch = NULL;
    weir_redis_tail_update(streams, tail);
    update_acks(streams, tail);
    if (tail->unanswered > 0 || tail->acking > 0) {
        DL_APPEND(streams->over, tail);
    } else {
        tail_free(tail);
    }
}

void weir_redis_tails_free_over(struct weir_redis_streams *streams) {
    while (streams->over) {
        struct tail *tail = streams->over;
        DL_DELETE(streams->over, tail);
        tail_free(tail);
    }
}

bool weir_redis_tail_is_over(struct weir_redis_streams *streams, struct tail *tail) {
    if (tail->watch) {
        return false;
    }
    if (tail->unanswered == 0 && tail->acking == 0) { // it was the last one
        DL_DELETE(streams->over, tail);
        tail_free(tail);
    }
    return true;
}

void weir_redis_tail_reset(struct weir_redis_streams *streams, struct tail *tail) {
    tail->unanswered = 0;
    tail->acking = 0;
    free(tail->claimed);
    tail->claimed = NULL;
    update_acks(streams, tail);
    tail->has_news = true;
    tail->is_at_end = false;
    tail->wants_check = tail->watch->group != NULL;
    if (tail->watch->group) {
        tail->phase = TAIL_UNMADE;
        tail->cursor = (struct weir_redis_id){0};
    }
    weir_redis_tail_update(streams, tail);
}

// Removes one whose stream is gone, unless it has been rung for since, or there is something left
// to say of it.
static void remove_if_gone(struct weir_redis_streams *streams, struct tail *tail) {
    bool is_needed =
        !tail->watch->hub.pattern.is_prefix || tail->has_news || tail->has_gap || tail->flights;
    if (is_needed) {
        weir_redis_tail_update(streams, tail);
    } else {
        weir_redis_tail_end(streams, tail);
    }
}

// ---- telling ----

static void wait_for_memory(struct weir_redis_streams *streams,
                            struct weir_redis_stream_watch *watch) {
    int64_t due_ns = weir_clock_monotonic_ns() + NO_MEMORY_WAIT_MS * WEIR_NS_PER_MS;
    watch->lacks_memory = true; // its tails are found not to be ready one by one
    streams->memory_ns = streams->memory_ns < due_ns ? streams->memory_ns : due_ns;
}

static bool offer(struct weir_redis_streams *streams, struct tail *tail, struct weir_event *event) {
    weir_status status = weir_hub_offer(&tail->watch->hub, event);
    tail->watch->is_stopped = tail->watch->is_stopped || status == WEIR_STOPPED;
    (void)streams;
    return status == WEIR_OK;
}

void weir_redis_tail_gap(struct weir_redis_streams *streams, struct tail *tail,
                         struct weir_redis_id from, struct weir_redis_id to, const char *reason) {
    if (!tail->has_gap) {
        tail->gap_from = from;
    }
    tail->gap_to = to;
    tail->has_gap = true;
    tail->gap_reason = reason;
    weir_redis_tail_update(streams, tail);
}

static void tell_gap(struct weir_redis_streams *streams, struct tail *tail) {
    char from[WEIR_REDIS_ID_BYTES], to[WEIR_REDIS_ID_BYTES];
    struct weir_event *event;
    const struct weir_gap gap = {
        .source = weir_str_of(streams->resource->source),
        .pattern = key_of(tail),
        .from = weir_redis_id_format(tail->gap_from, from),
        .to = weir_redis_id_format(tail->gap_to, to),
        .reason = weir_str_of(tail->gap_reason),
    };
    if (weir_event_of_gap(&gap, &event, NULL) != WEIR_OK) {
        wait_for_memory(streams, tail->watch);
    } else {
        tail->has_gap = !offer(streams, tail, event);
        weir_event_unref(event);
    }
    weir_redis_tail_update(streams, tail);
}

static struct flight *find_flight(const struct tail *tail, struct weir_redis_id id) {
    struct flight *flight;
    HASH_FIND(hh, tail->flights, &id, sizeof id, flight);
    return flight;
}

static struct flight *add_flight(struct tail *tail, struct weir_redis_id id) {
    struct flight *flight = calloc(1, sizeof *flight);
    if (flight) {
        flight->id = id;
        HASH_ADD(hh, tail->flights, id, sizeof id, flight);
        if (!flight->hh.tbl) {
            free(flight);
            flight = NULL;
        }
    }
    return flight;
}

static void remove_flight(struct tail *tail, struct flight *flight) {
    HASH_DEL(tail->flights, flight);
    free(flight);
}

// Tells one entry. Returns whether it was taken, or is not to be told at all.
static bool tell(struct weir_redis_streams *streams, struct tail *tail,
                 const struct weir_redis_entry *entry) {
    bool is_kept = tail->watch->group != NULL;
    if (!may_be_told(tail)) {
        return false;
    }
    if (is_kept && find_flight(tail, entry->id)) {
        return true;
    }
    struct flight *flight = is_kept ? add_flight(tail, entry->id) : NULL;
    struct weir_event *event = NULL;
    const struct weir_redis_stream_entry described = {
        .source = weir_str_of(streams->resource->source),
        .stream = key_of(tail),
        .entry = entry,
        .event_bytes_max = tail->watch->hub.event_bytes_max,
        .is_repeat =
            tail->phase == TAIL_PENDING, // it was delivered, to this consumer or to another
    };
    if ((is_kept && !flight) || weir_redis_stream_event(&described, &event, NULL) != WEIR_OK) {
        wait_for_memory(streams, tail->watch);
    }
    bool is_taken = event && offer(streams, tail, event);
    weir_event_unref(event);
    if (!is_taken && flight) {
        remove_flight(tail, flight);
    }
    return is_taken;
}

// One that was delivered to this consumer and is not in the stream any more.
static void lose(struct weir_redis_streams *streams, struct tail *tail, struct weir_redis_id id) {
    struct flight *flight = find_flight(tail, id);
    if (!flight) {
        weir_redis_tail_gap(streams, tail, weir_redis_id_before(id), id,
                            "an entry was deleted, or trimmed, before it was handled");
        flight = add_flight(tail, id);
        if (flight) {
            DL_APPEND(tail->acks, flight);
            update_acks(streams, tail);
        }
    }
}

// Adapts how much is asked for at once to what a piece weighs.
static void weigh(struct weir_redis_streams *streams, size_t bytes) {
    if (bytes > PIECE_BYTES_HIGH && streams->entries_at_once > 1) {
        streams->entries_at_once /= 2;
    } else if (bytes < PIECE_BYTES_LOW && streams->entries_at_once < ENTRIES_AT_ONCE_MAX) {
        streams->entries_at_once *= 2;
    }
}

void weir_redis_tail_tell(struct weir_redis_streams *streams, struct tail *tail,
                          const struct weir_redis_reply *entries) {
    size_t bytes = 0;
    const struct weir_redis_reply *item;
    for (size_t i = 0; (item = weir_redis_reply_at(entries, i)); i++) {
        struct weir_redis_entry entry;
        if (!weir_redis_entry_read(item, &entry)) {
            continue;
        }
        bytes += weir_redis_entry_bytes(&entry);
        if (!entry.fields) {
            lose(streams, tail, entry.id);
        } else if (!tell(streams, tail, &entry)) {
            if (tail->watch->group && tail->phase == TAIL_NEW) {
                tail->phase = TAIL_PENDING;
                tail->cursor = weir_redis_id_before(entry.id);
            }
            tail->is_at_end = false;
            return;
        }
        if (tail->phase != TAIL_NEW) {
            tail->cursor = entry.id;
            tail->may_be_missing = false;
        }
    }
    weigh(streams, bytes);
}

// ---- acknowledging ----

static void take_acks(void *context, void *token, struct weir_redis_reply **given) {
    struct weir_redis_streams *streams = context;
    struct tail *tail = token;
    bool is_bad = weir_redis_reply_is(*given, WEIR_REDIS_ERROR) &&
                  !weir_redis_reply_fails_with(*given, "NOGROUP") &&
                  !weir_redis_reply_fails_with(*given, "WRONGTYPE");
    if (is_bad && weir_redis_tail_is_bad(streams, *given)) {
        return;
    }
    for (; tail->acking > 0; tail->acking--) {
        struct flight *flight = tail->acks;
        DL_DELETE(tail->acks, flight);
        remove_flight(tail, flight);
    }
    if (!weir_redis_tail_is_over(streams, tail)) {
        update_acks(streams, tail);
        weir_redis_tail_send_acks(streams, tail);
        weir_redis_tail_update(streams, tail);
    }
}

// Sends one command for those from this one on, as many as it takes. Returns how many; 0: there is
// no room, or no memory.
static size_t ask_for_acks(struct weir_redis_streams *streams, struct tail *tail,
                           const struct flight *from, weir_redis_answer *answer) {
    struct weir_str words[3 + ACKS_AT_ONCE_MAX] = {WEIR_STR("XACK"), key_of(tail),
                                                   weir_str_of(tail->watch->group)};
    char ids[ACKS_AT_ONCE_MAX][WEIR_REDIS_ID_BYTES];
    size_t count = 0;
    for (; from && count < ACKS_AT_ONCE_MAX; from = from->next) {
        words[3 + count] = weir_redis_id_format(from->id, ids[count]);
        count++;
    }
    bool is_asked = weir_redis_session_ask(streams->session, words, 3 + count, answer,
                                           answer ? tail : NULL) == WEIR_OK;
    return is_asked ? count : 0;
}

void weir_redis_tail_send_acks(struct weir_redis_streams *streams, struct tail *tail) {
    if (tail->acks && tail->acking == 0 && weir_redis_session_has_room(streams->session, 1)) {
        tail->acking = ask_for_acks(streams, tail, tail->acks, take_acks);
        update_acks(streams, tail);
    }
}

// All that are not being acknowledged, of a tail that comes to its end: nobody waits for the
// answers.
static void send_last_acks(struct weir_redis_streams *streams, struct tail *tail) {
    const struct flight *from = tail->acks;
    for (size_t i = 0; from && i < tail->acking; i++) {
        from = from->next;
    }
    while (from) {
        size_t sent = ask_for_acks(streams, tail, from, NULL);
        if (sent == 0) {
            return; // these will be told again
        }
        for (; sent > 0; sent--) {
            from = from->next;
        }
    }
}

void weir_redis_tails_send_acks(struct weir_redis_streams *streams) {
    while (streams->acks && weir_redis_session_has_room(streams->session, 1)) {
        struct tail *tail = streams->acks;
        weir_redis_tail_send_acks(streams, tail);
        if (streams->acks == tail) {
            return; // no memory: with the next turn
        }
    }
}

void weir_redis_tail_acknowledge(struct weir_redis_streams *streams, struct tail *tail,
                                 struct weir_redis_id id) {
    struct flight *flight = find_flight(tail, id);
    if (flight && !flight->prev) { // not in the list yet
        DL_APPEND(tail->acks, flight);
        update_acks(streams, tail);
    }
}

// ---- asking ----

bool weir_redis_tail_is_bad(struct weir_redis_streams *streams,
                            const struct weir_redis_reply *reply) {
    struct weir_error error;
    if (weir_redis_reply_status(reply, "reading a stream", &error) == WEIR_OK) {
        return false;
    }
    weir_redis_session_fail(streams->session, &error);
    return true;
}

static void ask(struct weir_redis_streams *streams, struct tail *tail, const struct weir_str *words,
                size_t count, weir_redis_answer *answer) {
    if (weir_redis_session_ask(streams->session, words, count, answer, tail) == WEIR_OK) {
        tail->unanswered++;
    } else {
        tail->has_news = true; // as before
    }
    weir_redis_tail_update(streams, tail);
}

static void take_group(void *context, void *token, struct weir_redis_reply **given) {
    static const struct weir_redis_id zero;
    struct weir_redis_streams *streams = context;
    struct tail *tail = token;
    bool is_new = weir_redis_reply_says(*given, "OK");
    bool is_there = is_new || weir_redis_reply_fails_with(*given, "BUSYGROUP");
    bool is_gone = !is_there && weir_redis_reply_is(*given, WEIR_REDIS_ERROR) &&
                   weir_str_has_prefix((*given)->bytes, WEIR_STR("ERR The XGROUP"));
    bool is_other = weir_redis_reply_fails_with(*given, "WRONGTYPE"); // not a stream
    if (!is_there && !is_gone && !is_other && weir_redis_tail_is_bad(streams, *given)) {
        return;
    }
    tail->unanswered--;
    if (weir_redis_tail_is_over(streams, tail)) {
        return;
    }
    if (tail->was_made && !tail->is_at_end && !(is_there && !is_new)) {
        weir_redis_tail_gap(
            streams, tail, zero, zero,
            "the stream was removed, and the group with it; what was not read of it "
            "is gone");
    }
    tail->was_made = is_there;
    if (is_there) {
        tail->phase = TAIL_PENDING;
        tail->cursor = zero;
        tail->has_news = true;
        weir_redis_tail_update(streams, tail);
    } else {
        remove_if_gone(streams, tail);
    }
}

// A stream that is found later than its watch has begun to be is read from its start.
static void ask_for_group(struct weir_redis_streams *streams, struct tail *tail) {
    const struct weir_str words[] = {WEIR_STR("XGROUP"), WEIR_STR("CREATE"), key_of(tail),
                                     weir_str_of(tail->watch->group), WEIR_STR("0")};
    tail->has_news = false; // what rings from now on is behind this
    ask(streams, tail, words, sizeof words / sizeof words[0], take_group);
}

// Handles what a reading answers where the stream or its group is not there. False: they are.
static bool take_absence(struct weir_redis_streams *streams, struct tail *tail,
                         const struct weir_redis_reply *reply) {
    if (weir_redis_reply_fails_with(reply, "WRONGTYPE")) {
        remove_if_gone(streams, tail);
        return true;
    }
    if (weir_redis_reply_fails_with(reply, "NOGROUP")) {
        tail->phase = TAIL_UNMADE;
        tail->has_news = true;
        weir_redis_tail_update(streams, tail);
        return true;
    }
    return false;
}

static bool is_absence(const struct weir_redis_reply *reply) {
    return weir_redis_reply_fails_with(reply, "WRONGTYPE") ||
           weir_redis_reply_fails_with(reply, "NOGROUP");
}

static void take_entries(void *context, void *token, struct weir_redis_reply **given) {
    struct weir_redis_streams *streams = context;
    struct tail *tail = token;
    if (!is_absence(*given) && weir_redis_tail_is_bad(streams, *given)) {
        return;
    }
    tail->unanswered--;
    if (weir_redis_tail_is_over(streams, tail) || take_absence(streams, tail, *given)) {
        return;
    }
    // [[key, [entry, ...]]], or nil where there is nothing new
    const struct weir_redis_reply *entries = weir_redis_reply_at(weir_redis_reply_at(*given, 0), 1);
    size_t count = weir_redis_reply_is(entries, WEIR_REDIS_ARRAY) ? entries->count : 0;
    if (tail->phase == TAIL_PENDING && count == 0) {
        tail->phase = TAIL_NEW;
        tail->has_news = true;
    } else {
        tail->is_at_end = count < tail->asked_for;
        tail->has_news = tail->has_news || !tail->is_at_end;
        weir_redis_tail_tell(streams, tail, entries);
        weir_redis_tail_send_acks(streams, tail); // of what was lost
    }
    weir_redis_tail_update(streams, tail);
}

static void ask_for_entries(struct weir_redis_streams *streams, struct tail *tail) {
    char count[NUMBER_BYTES], behind[WEIR_REDIS_ID_BYTES];
    snprintf(count, sizeof count, "%" PRIu64, streams->entries_at_once);
    const struct weir_str words[] = {
        WEIR_STR("XREADGROUP"),
        WEIR_STR("GROUP"),
        weir_str_of(tail->watch->group),
        weir_str_of(streams->consumer),
        WEIR_STR("COUNT"),
        weir_str_of(count),
        WEIR_STR("STREAMS"),
        key_of(tail),
        tail->phase == TAIL_NEW ? WEIR_STR(">") : weir_redis_id_format(tail->cursor, behind)};
    tail->has_news = false; // what rings from now on is behind this
    tail->asked_for = streams->entries_at_once;
    ask(streams, tail, words, sizeof words / sizeof words[0], take_entries);
}

// Of a watch without a name: whether entries behind the one that was told last are gone.
static bool has_hole(const struct tail *tail, const struct weir_redis_reply *entries) {
    struct weir_redis_entry first;
    return !tail->may_be_missing &&
           weir_redis_entry_read(weir_redis_reply_at(entries, 0), &first) &&
           weir_redis_id_compare(first.id, tail->cursor) != 0;
}

static void take_plain(void *context, void *token, struct weir_redis_reply **given) {
    struct weir_redis_streams *streams = context;
    struct tail *tail = token;
    if (!is_absence(*given) && weir_redis_tail_is_bad(streams, *given)) {
        return;
    }
    tail->unanswered--;
    if (weir_redis_tail_is_over(streams, tail) || take_absence(streams, tail, *given)) {
        return;
    }
    struct weir_redis_entry entry;
    bool is_empty = !weir_redis_entry_read(weir_redis_reply_at(*given, 0), &entry);
    if (is_empty) { // trimmed, or removed: what comes next is new
        tail->may_be_missing = true;
    } else if (has_hole(tail, *given)) {
        tail->may_be_missing = true;
        tail->has_news = true;
        weir_redis_tail_gap(streams, tail, tail->cursor, entry.id, "the stream was trimmed");
    } else {
        struct weir_redis_reply rest = **given; // without the one that was told before
        bool is_told = !tail->may_be_missing || weir_redis_id_compare(entry.id, tail->cursor) == 0;
        rest.items += is_told;
        rest.count -= is_told;
        tail->has_news = tail->has_news || rest.count > 0;
        weir_redis_tail_tell(streams, tail, &rest);
    }
    weir_redis_tail_update(streams, tail);
}

static void ask_for_plain(struct weir_redis_streams *streams, struct tail *tail) {
    char count[NUMBER_BYTES], from[WEIR_REDIS_ID_BYTES];
    snprintf(count, sizeof count, "%" PRIu64, streams->entries_at_once + 1);
    const struct weir_str words[] = {
        WEIR_STR("XRANGE"), key_of(tail),      weir_redis_id_format(tail->cursor, from),
        WEIR_STR("+"),      WEIR_STR("COUNT"), weir_str_of(count)};
    tail->has_news = false;
    ask(streams, tail, words, sizeof words / sizeof words[0], take_plain);
}

void weir_redis_tail_act(struct weir_redis_streams *streams, struct tail *tail) {
    bool reads = tail->has_news || tail->phase == TAIL_PENDING;
    if (tail->has_gap) {
        tell_gap(streams, tail);
    } else if (tail->phase == TAIL_PLAIN) {
        ask_for_plain(streams, tail);
    } else if (tail->phase == TAIL_UNMADE && tail->has_news) {
        ask_for_group(streams, tail);
    } else if (tail->phase == TAIL_UNMADE) {
        tail->wants_claim = tail->wants_check = false;
        weir_redis_tail_update(streams, tail);
    } else if (tail->wants_check) {
        weir_redis_tail_check(streams, tail);
    } else if (reads) {
        ask_for_entries(streams, tail);
    } else {
        weir_redis_tail_claim(streams, tail);
    }
}
