// SPDX-License-Identifier: Apache-2.0
//
// What is done for a stream from time to time: entries that were delivered to another consumer of
// the group, which has left them for long, are taken over; and it is looked whether entries were
// trimmed before anybody had read them. See streams.h.
//
// XAUTOCLAIM was left: it takes entries from this very consumer too, those that a slow handler is
// busy with, and tells of trimmed ones since Redis 7 alone. XPENDING says whose an entry is.
//
// Trimmed unread. Redis counts the entries that were ever added, and those that a group was given;
// where the group is at the end of the stream and still lags, or lags more than there are entries
// while it is before the first of them, the difference is gone. The group's count is then set
// right, so that this is found once. Redis 6 does not count: there it is a gap if the entry that
// the group was given last is not in the stream any more and others were added.
#include "provider/redis/streams.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    CLAIMED_AT_ONCE_MAX = 64,
    NUMBER_BYTES = 24,
};

// The entries that were asked for.
struct claimed {
    size_t count;
    char ids[CLAIMED_AT_ONCE_MAX][WEIR_REDIS_ID_BYTES];
};

static struct weir_str key_of(const struct tail *tail) {
    return (struct weir_str){tail->key, tail->key_size};
}

// An answer has come for a tail. False: there is nothing more to do for it.
static bool take(struct weir_redis_streams *streams, struct tail *tail,
                 const struct weir_redis_reply *reply) {
    bool is_absent = weir_redis_reply_fails_with(reply, "NOGROUP") ||
                     weir_redis_reply_fails_with(reply, "WRONGTYPE") ||
                     (weir_redis_reply_is(reply, WEIR_REDIS_ERROR) &&
                      weir_str_has_prefix(reply->bytes, WEIR_STR("ERR no such key")));
    if (!is_absent && weir_redis_tail_is_bad(streams, reply)) {
        return false;
    }
    tail->unanswered--;
    if (weir_redis_tail_is_over(streams, tail)) {
        return false;
    }
    weir_redis_tail_update(streams, tail);
    return !is_absent;
}

static bool ask(struct weir_redis_streams *streams, struct tail *tail, const struct weir_str *words,
                size_t count, weir_redis_answer *answer) {
    bool is_asked = weir_redis_session_ask(streams->session, words, count, answer, tail) == WEIR_OK;
    tail->unanswered += is_asked;
    weir_redis_tail_update(streams, tail);
    return is_asked;
}

// ---- taking over ----

static void take_remains(void *context, void *token, struct weir_redis_reply **given) {
    struct weir_redis_streams *streams = context;
    struct tail *tail = token;
    static const struct weir_redis_id zero;
    if (take(streams, tail, *given) && weir_redis_reply_is(*given, WEIR_REDIS_ARRAY) &&
        (*given)->count == 0) {
        weir_redis_tail_gap(streams, tail, zero, zero,
                            "entries were trimmed after they had been delivered, and before they "
                            "were handled");
    }
}

// Whether an entry that was not given is in the stream: then somebody else was first.
static void look_for(struct weir_redis_streams *streams, struct tail *tail, struct weir_str id) {
    const struct weir_str words[] = {WEIR_STR("XRANGE"), key_of(tail), id, id};
    ask(streams, tail, words, sizeof words / sizeof words[0], take_remains);
}

static bool has(const struct weir_redis_reply *ids, const char *id) {
    const struct weir_redis_reply *item;
    for (size_t i = 0; (item = weir_redis_reply_at(ids, i)); i++) {
        if (weir_redis_reply_says(item, id)) {
            return true;
        }
    }
    return false;
}

static void take_claimed(void *context, void *token, struct weir_redis_reply **given) {
    struct weir_redis_streams *streams = context;
    struct tail *tail = token;
    if (!take(streams, tail, *given) || !weir_redis_reply_is(*given, WEIR_REDIS_ARRAY)) {
        return;
    }
    // They are this consumer's now, and read with what else is pending, from the start: they are
    // older than what was read last.
    if ((*given)->count > 0) {
        tail->phase = TAIL_PENDING;
        tail->cursor = (struct weir_redis_id){0};
        tail->wants_claim = true; // there may be more
    }
    for (size_t i = 0; tail->claimed && i < tail->claimed->count; i++) {
        if (!has(*given, tail->claimed->ids[i])) {
            look_for(streams, tail, weir_str_of(tail->claimed->ids[i]));
        }
    }
    weir_redis_tail_update(streams, tail);
}

static void claim(struct weir_redis_streams *streams, struct tail *tail) {
    char idle[NUMBER_BYTES];
    struct weir_str words[6 + CLAIMED_AT_ONCE_MAX];
    size_t at = 0;
    snprintf(idle, sizeof idle, "%" PRId64, streams->resource->options.claim_ns / WEIR_NS_PER_MS);
    words[at++] = WEIR_STR("XCLAIM");
    words[at++] = key_of(tail);
    words[at++] = weir_str_of(tail->watch->group);
    words[at++] = weir_str_of(streams->consumer);
    words[at++] = weir_str_of(idle);
    for (size_t i = 0; i < tail->claimed->count; i++) {
        words[at++] = weir_str_of(tail->claimed->ids[i]);
    }
    words[at++] = WEIR_STR("JUSTID");
    ask(streams, tail, words, at, take_claimed);
}

static void take_pending(void *context, void *token, struct weir_redis_reply **given) {
    struct weir_redis_streams *streams = context;
    struct tail *tail = token;
    const struct weir_redis_reply *item;
    if (!take(streams, tail, *given)) {
        return;
    }
    free(tail->claimed);
    tail->claimed = calloc(1, sizeof *tail->claimed); // NULL: with the next time
    for (size_t i = 0; tail->claimed && tail->claimed->count < CLAIMED_AT_ONCE_MAX &&
                       (item = weir_redis_reply_at(*given, i));
         i++) {
        struct weir_redis_id id;
        const struct weir_redis_reply *text = weir_redis_reply_at(item, 0);
        const struct weir_redis_reply *consumer = weir_redis_reply_at(item, 1);
        if (weir_redis_reply_is(text, WEIR_REDIS_BULK) && weir_redis_id_parse(text->bytes, &id) &&
            weir_redis_reply_is(consumer, WEIR_REDIS_BULK) &&
            !weir_redis_reply_says(consumer, streams->consumer)) {
            weir_redis_id_format(id, tail->claimed->ids[tail->claimed->count++]);
        }
    }
    if (tail->claimed && tail->claimed->count > 0) {
        claim(streams, tail);
    }
}

void weir_redis_tail_claim(struct weir_redis_streams *streams, struct tail *tail) {
    char idle[NUMBER_BYTES], count[NUMBER_BYTES];
    snprintf(idle, sizeof idle, "%" PRId64, streams->resource->options.claim_ns / WEIR_NS_PER_MS);
    snprintf(count, sizeof count, "%d", CLAIMED_AT_ONCE_MAX);
    const struct weir_str words[] = {
        WEIR_STR("XPENDING"), key_of(tail),      weir_str_of(tail->watch->group),
        WEIR_STR("IDLE"),     weir_str_of(idle), WEIR_STR("-"),
        WEIR_STR("+"),        weir_str_of(count)};
    tail->wants_claim = false;
    ask(streams, tail, words, sizeof words / sizeof words[0], take_pending);
}

// ---- what was trimmed unread ----

static const struct weir_redis_reply *group_of(const struct weir_redis_reply *groups,
                                               const char *name) {
    const struct weir_redis_reply *group;
    for (size_t i = 0; (group = weir_redis_reply_at(groups, i)); i++) {
        if (weir_redis_reply_says(weir_redis_reply_named(group, "name"), name)) {
            return group;
        }
    }
    return NULL;
}

// How many entries of a group are gone unread, and where it goes on. Negative: not known.
static int64_t count_lost(const struct weir_redis_reply *stream,
                          const struct weir_redis_reply *group, struct weir_redis_id *ret_on,
                          int64_t *ret_read) {
    struct weir_redis_id given = weir_redis_info_id(group, "last-delivered-id");
    struct weir_redis_id added = weir_redis_info_id(stream, "last-generated-id");
    int64_t length = weir_redis_info_number(stream, "length"),
            total = weir_redis_info_number(stream, "entries-added");
    int64_t lag = weir_redis_info_number(group, "lag");
    if (weir_redis_id_compare(given, added) >= 0) { // at the end
        *ret_on = given;
        *ret_read = total;
        return lag;
    }
    struct weir_redis_id first = length > 0 ? weir_redis_info_id(stream, "first-entry") : added;
    *ret_on = length > 0 ? weir_redis_id_before(first) : added;
    *ret_read = total - length;
    if (weir_redis_id_compare(given, *ret_on) >= 0) {
        return -1; // in the midst of what there is
    }
    bool knows_nothing = weir_redis_id_is_zero(given);
    return total >= 0 ? (lag >= 0 ? lag - length : -1) : knows_nothing ? -1 : 1;
}

static void set_right(struct weir_redis_streams *streams, const struct tail *tail,
                      struct weir_redis_id on, int64_t read) {
    char id[WEIR_REDIS_ID_BYTES], count[NUMBER_BYTES];
    snprintf(count, sizeof count, "%" PRId64, read);
    const struct weir_str words[] = {WEIR_STR("XGROUP"),
                                     WEIR_STR("SETID"),
                                     key_of(tail),
                                     weir_str_of(tail->watch->group),
                                     weir_redis_id_format(on, id),
                                     WEIR_STR("ENTRIESREAD"),
                                     weir_str_of(count)};
    if (read >= 0) {
        weir_redis_session_ask(streams->session, words, sizeof words / sizeof words[0], NULL, NULL);
    }
}

static void compare(struct weir_redis_streams *streams, struct tail *tail,
                    const struct weir_redis_reply *stream, const struct weir_redis_reply *groups) {
    const struct weir_redis_reply *group = group_of(groups, tail->watch->group);
    struct weir_redis_id on;
    int64_t read;
    if (group && count_lost(stream, group, &on, &read) > 0) {
        weir_redis_tail_gap(streams, tail, weir_redis_info_id(group, "last-delivered-id"), on,
                            "the stream was trimmed before all of it was read");
        set_right(streams, tail, on, read);
    }
}

// Both, of one moment: what EXEC answers.
static void take_info(void *context, void *token, struct weir_redis_reply **given) {
    struct weir_redis_streams *streams = context;
    struct tail *tail = token;
    if (!take(streams, tail, *given)) {
        return;
    }
    const struct weir_redis_reply *stream = weir_redis_reply_at(*given, 0);
    const struct weir_redis_reply *groups = weir_redis_reply_at(*given, 1);
    if (!weir_redis_reply_is(stream, WEIR_REDIS_ARRAY)) {
        return;
    }
    struct weir_str key = key_of(tail);
    for (struct weir_routes_walk walk = weir_routes_first(streams->routes, key); walk.route;
         weir_routes_next(&walk)) {
        struct weir_redis_stream_watch *watch = walk.route->watch;
        struct tail *each;
        HASH_FIND(hh, watch->tails, key.data, key.size, each);
        if (each && watch->group) {
            compare(streams, each, stream, groups);
        }
    }
}

static void take_queued(void *context, void *token, struct weir_redis_reply **given) {
    struct tail *tail = token;
    (void)given;
    tail->unanswered--;
    weir_redis_tail_is_over(context, tail);
}

// Asks once for all watches that read the stream.
void weir_redis_tail_check(struct weir_redis_streams *streams, struct tail *tail) {
    struct weir_str key = key_of(tail);
    const struct weir_str multi[] = {WEIR_STR("MULTI")}, exec[] = {WEIR_STR("EXEC")},
                          stream[] = {WEIR_STR("XINFO"), WEIR_STR("STREAM"), key},
                          groups[] = {WEIR_STR("XINFO"), WEIR_STR("GROUPS"), key};
    if (!weir_redis_session_has_room(streams->session, 4)) {
        return;
    }
    for (struct weir_routes_walk walk = weir_routes_first(streams->routes, key); walk.route;
         weir_routes_next(&walk)) {
        struct weir_redis_stream_watch *watch = walk.route->watch;
        struct tail *each;
        HASH_FIND(hh, watch->tails, key.data, key.size, each);
        if (each) {
            each->wants_check = false;
            weir_redis_tail_update(streams, each);
        }
    }
    bool is_asked =
        ask(streams, tail, multi, 1, take_queued) && ask(streams, tail, stream, 3, take_queued) &&
        ask(streams, tail, groups, 3, take_queued) && ask(streams, tail, exec, 1, take_info);
    if (!is_asked) { // half of it was sent
        struct weir_error error;
        weir_fail_no_memory(&error, "a transaction");
        weir_redis_session_fail(streams->session, &error);
    }
}
