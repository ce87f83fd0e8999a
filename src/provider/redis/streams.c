// SPDX-License-Identifier: Apache-2.0
//
// The watches of the mode `streams`, and finding their streams. See streams.h.
//
// A watch with a name has a consumer group of that name in each of its streams, made when the watch
// begins for the first time, at the stream's end. The bell names each stream that something was
// added to, also one that there was not before: of those a watch of a prefix makes its group at the
// stream's start. After a connection, after anything that may have been missed and from time to
// time the server is asked for streams that nobody rang for.
//
// What was left: a blocking XREADGROUP, which waits for one group on a connection of its own; and
// one XREAD for all streams as a doorbell, which names no stream that is new.
#include "provider/redis/streams.h"

#include "base/clock.h"
#include "base/show.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <utlist.h>

enum {
    ACTS_AT_ONCE_MAX = 256,
    COMMANDS_OF_AN_ACT = 8,
    AGAIN_WAIT_MS = 10,          // before what could not be asked is asked
    ENTRIES_AT_ONCE_FIRST = 16,  // adapts to what they weigh
    REPLY_BYTES_MAX = 768 << 20, // one entry may be as large as a server takes it
    SCAN_WORDS = 8,
    GROUP_READABLE_BYTES_MAX = 256, // of a group's name; a longer one is cut and hashed
    CONSUMER_BYTES_MAX = 256,
    CHECKS_OF_A_CLAIM = 2, // it is looked so often in the time after which entries are taken over
};

// ---- groups ----

// The name of a watch's group: readable for people who look at the server.
static char *make_group(const char *name) {
    char *group = NULL;
    int size;
    if (strlen(name) <= GROUP_READABLE_BYTES_MAX) {
        size = asprintf(&group, WEIR_REDIS_GROUP_PREFIX "%s", name);
    } else {
        size = asprintf(&group, WEIR_REDIS_GROUP_PREFIX "%.*s-%016" PRIx64,
                        GROUP_READABLE_BYTES_MAX, name, (uint64_t)XXH3_64bits(name, strlen(name)));
    }
    return size < 0 ? NULL : group;
}

static weir_status call(struct weir_redis_streams *streams, const struct weir_str *words,
                        size_t count, const char *doing, int64_t until_ns,
                        struct weir_redis_reply **ret_reply, struct weir_error *err) {
    return weir_redis_session_call(streams->session, words, count, doing, until_ns, ret_reply, err);
}

// Makes the group at the stream's end, if it is not there.
static weir_status create_group(struct weir_redis_streams *streams, struct tail *tail,
                                int64_t until_ns, struct weir_error *err) {
    const struct weir_str words[] = {WEIR_STR("XGROUP"),
                                     WEIR_STR("CREATE"),
                                     {tail->key, tail->key_size},
                                     weir_str_of(tail->watch->group),
                                     WEIR_STR("$"),
                                     WEIR_STR("MKSTREAM")};
    struct weir_redis_reply *reply;
    size_t count = sizeof words / sizeof words[0] - tail->watch->hub.pattern.is_prefix;
    weir_status status = call(streams, words, count, NULL, until_ns, &reply, err);
    if (status == WEIR_OK && !weir_redis_reply_fails_with(reply, "BUSYGROUP")) {
        status = weir_redis_reply_status(reply, "making a consumer group", err);
    }
    weir_redis_reply_free(reply);
    if (status == WEIR_OK) {
        tail->was_made = true;
        tail->phase = TAIL_PENDING; // the name may have been in use
    }
    return status;
}

// Of a watch without a name: where the stream ends.
static weir_status find_end(struct weir_redis_streams *streams, struct tail *tail, int64_t until_ns,
                            struct weir_error *err) {
    const struct weir_str words[] = {WEIR_STR("XREVRANGE"), {tail->key, tail->key_size},
                                     WEIR_STR("+"),         WEIR_STR("-"),
                                     WEIR_STR("COUNT"),     WEIR_STR("1")};
    struct weir_redis_reply *reply;
    struct weir_redis_entry entry;
    weir_status status = call(streams, words, 6, "reading a stream", until_ns, &reply, err);
    if (status == WEIR_OK && weir_redis_entry_read(weir_redis_reply_at(reply, 0), &entry)) {
        tail->cursor = entry.id;
        tail->may_be_missing = false;
    }
    weir_redis_reply_free(reply);
    return status;
}

static weir_status begin_tail(struct weir_redis_streams *streams,
                              struct weir_redis_stream_watch *watch, struct weir_str key,
                              int64_t until_ns, struct weir_error *err) {
    struct tail *tail = weir_redis_tail_for(streams, watch, key);
    if (!tail) {
        return watch->is_over
                   ? weir_fail(err, WEIR_LIMIT,
                               "more than %" PRIu64 " streams; raise `keys_max`, or watch fewer",
                               streams->resource->options.keys_max)
                   : weir_fail_no_memory(err, "a watch");
    }
    weir_status status = watch->group ? create_group(streams, tail, until_ns, err)
                                      : find_end(streams, tail, until_ns, err);
    tail->has_news = true;
    return status;
}

// ---- looking for streams ----

static void scan_words(const char *cursor, struct weir_str glob,
                       struct weir_str words[static SCAN_WORDS]) {
    words[0] = WEIR_STR("SCAN");
    words[1] = weir_str_of(cursor);
    words[2] = WEIR_STR("MATCH");
    words[3] = glob;
    words[4] = WEIR_STR("COUNT");
    words[5] = WEIR_STR("500"); // keys that the server looks at for a page
    words[6] = WEIR_STR("TYPE");
    words[7] = WEIR_STR("stream");
}

// The keys of a page, and where the next one begins. NULL: that is no page.
static const struct weir_redis_reply *read_page(const struct weir_redis_reply *reply,
                                                char cursor[static 32]) {
    const struct weir_redis_reply *next = weir_redis_reply_at(reply, 0);
    const struct weir_redis_reply *keys = weir_redis_reply_at(reply, 1);
    if (!weir_redis_reply_is(next, WEIR_REDIS_BULK) || next->bytes.size >= 32 ||
        !weir_redis_reply_is(keys, WEIR_REDIS_ARRAY)) {
        return NULL;
    }
    memcpy(cursor, next->bytes.data, next->bytes.size + 1);
    return keys;
}

static bool is_key(const struct weir_redis_reply *key) {
    return weir_redis_reply_is(key, WEIR_REDIS_BULK) &&
           weir_redis_check_key(key->bytes, NULL) == WEIR_OK;
}

static weir_status begin_page(struct weir_redis_streams *streams,
                              struct weir_redis_stream_watch *watch,
                              const struct weir_redis_reply *keys, int64_t until_ns,
                              struct weir_error *err) {
    weir_status status = WEIR_OK;
    for (size_t i = 0; status == WEIR_OK && i < keys->count; i++) {
        if (is_key(&keys->items[i]) &&
            weir_pattern_matches(&watch->hub.pattern, keys->items[i].bytes)) {
            status = begin_tail(streams, watch, keys->items[i].bytes, until_ns, err);
        }
    }
    return status;
}

// Begins each stream that there is.
static weir_status begin_all(struct weir_redis_streams *streams,
                             struct weir_redis_stream_watch *watch, int64_t until_ns,
                             struct weir_error *err) {
    char glob[WEIR_REDIS_GLOB_BYTES_MAX], cursor[32] = "0";
    struct weir_str words[SCAN_WORDS], pattern = weir_redis_glob(watch->hub.pattern.text, glob);
    do { // ends: the server's cursor comes round, or the time is over
        struct weir_redis_reply *reply;
        scan_words(cursor, pattern, words);
        weir_status status =
            call(streams, words, SCAN_WORDS, "looking for streams", until_ns, &reply, err);
        if (status != WEIR_OK) {
            return status;
        }
        const struct weir_redis_reply *keys = read_page(reply, cursor);
        status = keys ? begin_page(streams, watch, keys, until_ns, err)
                      : weir_redis_reply_odd("looking for streams", err);
        weir_redis_reply_free(reply);
        if (status != WEIR_OK) {
            return status;
        }
    } while (strcmp(cursor, "0") != 0);
    return WEIR_OK;
}

// Something may have been added to a stream.
static void hint(struct weir_redis_streams *streams, struct weir_redis_stream_watch *watch,
                 struct weir_str key) {
    struct tail *tail = weir_redis_tail_for(streams, watch, key);
    if (tail) {
        tail->has_news = true;
        weir_redis_tail_update(streams, tail);
    }
}

static void hint_all(struct weir_redis_streams *streams, struct weir_str key) {
    for (struct weir_routes_walk walk = weir_routes_first(streams->routes, key); walk.route;
         weir_routes_next(&walk)) {
        hint(streams, walk.route->watch, key);
    }
}

static void take_page(void *context, void *token, struct weir_redis_reply **given) {
    struct weir_redis_streams *streams = context;
    struct weir_error error;
    (void)token;
    streams->is_scan_asked = false;
    weir_status status = weir_redis_reply_status(*given, "looking for streams", &error);
    const struct weir_redis_reply *keys = read_page(*given, streams->cursor);
    if (status == WEIR_OK && !keys) {
        status = weir_redis_reply_odd("looking for streams", &error);
    }
    if (status != WEIR_OK) {
        weir_redis_session_fail(streams->session, &error);
        return;
    }
    for (size_t i = 0; i < keys->count; i++) {
        if (is_key(&keys->items[i])) {
            hint_all(streams, keys->items[i].bytes);
        }
    }
    streams->is_scanning = strcmp(streams->cursor, "0") != 0;
}

// What the patterns of all watches of prefixes have in common. False: there are none.
static bool find_common(const struct weir_redis_streams *streams, struct weir_str *ret_prefix) {
    bool is_some = false;
    for (const struct weir_redis_stream_watch *watch = streams->watches; watch;
         watch = watch->next) {
        struct weir_str text = watch->hub.pattern.text;
        if (!watch->hub.pattern.is_prefix) {
            continue;
        }
        size_t size = is_some ? weir_redis_common_bytes(*ret_prefix, text) : text.size;
        *ret_prefix = (struct weir_str){text.data, size};
        is_some = true;
    }
    return is_some;
}

static void scan(struct weir_redis_streams *streams) {
    char glob[WEIR_REDIS_GLOB_BYTES_MAX];
    struct weir_str words[SCAN_WORDS], prefix;
    if (streams->is_scan_asked || (!streams->is_scanning && !streams->is_scan_wanted)) {
        return;
    }
    if (!find_common(streams, &prefix)) {
        streams->is_scanning = streams->is_scan_wanted = false;
        return;
    }
    if (!streams->is_scanning) {
        memcpy(streams->cursor, "0", 2);
        streams->is_scanning = true;
        streams->is_scan_wanted = false;
    }
    scan_words(streams->cursor, weir_redis_glob(prefix, glob), words);
    streams->is_scan_asked =
        weir_redis_session_ask(streams->session, words, SCAN_WORDS, take_page, NULL) == WEIR_OK;
}

// ---- what the session asks ----

static bool is_wanted(void *context) {
    const struct weir_redis_streams *streams = context;
    return streams->watches != NULL;
}

static void want_pattern(void *context, const struct weir_pattern *pattern) {
    struct weir_redis_streams *streams = context;
    if (weir_redis_session_want(streams->session, pattern->text, 0, NULL) != WEIR_OK) {
        weir_redis_session_want(streams->session, WEIR_STR(""), 0, NULL);
    }
}

static void reset_tails(struct weir_redis_streams *streams) {
    for (struct weir_redis_stream_watch *watch = streams->watches; watch; watch = watch->next) {
        struct tail *tail, *next;
        HASH_ITER (hh, watch->tails, tail, next) {
            weir_redis_tail_reset(streams, tail);
        }
    }
}

static void connected(void *context) {
    struct weir_redis_streams *streams = context;
    weir_redis_session_bound(streams->session, REPLY_BYTES_MAX);
    weir_routes_patterns(streams->routes, want_pattern, streams);
    reset_tails(streams);
}

static void missed(void *context) {
    struct weir_redis_streams *streams = context;
    for (struct weir_redis_stream_watch *watch = streams->watches; watch; watch = watch->next) {
        struct tail *tail, *next;
        HASH_ITER (hh, watch->tails, tail, next) {
            tail->has_news = true;
            weir_redis_tail_update(streams, tail);
        }
    }
    streams->is_scan_wanted = true;
}

static void lost(void *context) {
    struct weir_redis_streams *streams = context;
    streams->is_scanning = streams->is_scan_asked = false;
    weir_redis_tails_free_over(streams);
    for (struct weir_redis_stream_watch *watch = streams->watches; watch; watch = watch->next) {
        struct tail *tail, *next;
        HASH_ITER (hh, watch->tails, tail, next) {
            weir_redis_tail_reset(streams, tail); // what was asked is not answered
        }
    }
    weir_pool_flush(streams->resource->pool);
}

static void rung(void *context, struct weir_str key) {
    if (weir_redis_check_key(key, NULL) == WEIR_OK) {
        hint_all(context, key);
    }
}

static void update_tails(struct weir_redis_streams *streams,
                         struct weir_redis_stream_watch *watch) {
    struct tail *tail, *next;
    HASH_ITER (hh, watch->tails, tail, next) {
        weir_redis_tail_update(streams, tail);
    }
}

// Does what is due. Returns when the next thing is.
static int64_t look_at_clock(struct weir_redis_streams *streams) {
    int64_t now_ns = weir_clock_monotonic_ns();
    if (streams->memory_ns <= now_ns) {
        streams->memory_ns = INT64_MAX;
        for (struct weir_redis_stream_watch *watch = streams->watches; watch; watch = watch->next) {
            watch->lacks_memory = false;
            update_tails(streams, watch);
        }
    }
    if (streams->claim_due_ns <= now_ns) {
        streams->claim_due_ns = now_ns + streams->resource->options.claim_ns / CHECKS_OF_A_CLAIM;
        for (struct weir_redis_stream_watch *watch = streams->watches; watch; watch = watch->next) {
            struct tail *tail, *next;
            HASH_ITER (hh, watch->tails, tail, next) {
                tail->wants_claim = tail->wants_check = watch->group != NULL;
                weir_redis_tail_update(streams, tail);
            }
        }
    }
    int64_t rescan_ns = streams->resource->options.rescan_ns;
    if (streams->rescan_due_ns <= now_ns) {
        streams->rescan_due_ns = rescan_ns > 0 ? now_ns + rescan_ns : INT64_MAX;
        missed(streams);
    }
    int64_t due_ns =
        streams->memory_ns < streams->claim_due_ns ? streams->memory_ns : streams->claim_due_ns;
    return due_ns < streams->rescan_due_ns ? due_ns : streams->rescan_due_ns;
}

static int64_t pump(void *context) {
    struct weir_redis_streams *streams = context;
    if (!streams->watches) {
        weir_redis_session_want_nothing(streams->session);
        return INT64_MAX;
    }
    int64_t due_ns = look_at_clock(streams);
    weir_redis_tails_send_acks(streams);
    scan(streams);
    for (int i = 0; i < ACTS_AT_ONCE_MAX && streams->ready &&
                    weir_redis_session_has_room(streams->session, COMMANDS_OF_AN_ACT);
         i++) {
        struct tail *tail = streams->ready;
        DL_DELETE(streams->ready, tail); // the next one's turn
        DL_APPEND(streams->ready, tail);
        weir_redis_tail_act(streams, tail);
    }
    int64_t again_ns = weir_clock_monotonic_ns() + AGAIN_WAIT_MS * WEIR_NS_PER_MS;
    return streams->ready && again_ns < due_ns ? again_ns : due_ns;
}

// ---- watches ----

static struct weir_redis_stream_watch *watch_of(struct weir_hub_watch *hub) {
    return (struct weir_redis_stream_watch *)hub;
}

static weir_status prepare(void *context, struct weir_hub_watch *hub,
                           const struct weir_watch_args *args, struct weir_error *err) {
    struct weir_redis_stream_watch *watch = watch_of(hub);
    (void)context;
    watch->group = args->name ? make_group(args->name) : NULL;
    return watch->group || !args->name ? WEIR_OK : weir_fail_no_memory(err, "a watch");
}

static weir_status add_watch(struct weir_redis_streams *streams,
                             struct weir_redis_stream_watch *watch, struct weir_error *err) {
    weir_status status =
        weir_routes_add(streams->routes, &watch->hub.pattern, watch, &watch->route, err);
    if (status == WEIR_OK) {
        DL_APPEND(streams->watches, watch);
        watch->is_routed = true;
        update_tails(streams, watch);
    }
    return status;
}

static void remove_watch(struct weir_redis_streams *streams,
                         struct weir_redis_stream_watch *watch) {
    struct tail *tail, *next;
    if (watch->is_routed) {
        weir_routes_remove(streams->routes, &watch->route);
        DL_DELETE(streams->watches, watch);
        watch->is_routed = false;
    }
    watch->is_over = false;
    HASH_ITER (hh, watch->tails, tail, next) {
        weir_redis_tail_end(streams, tail);
    }
    if (weir_redis_session_is_up(streams->session)) {
        weir_redis_session_flush(streams->session); // what was acknowledged last
    }
}

// Where no bell is heard before it has begun: what rings meanwhile is taken when it is routed.
static weir_status begin_fresh(struct weir_redis_streams *streams,
                               struct weir_redis_stream_watch *watch, int64_t until_ns,
                               struct weir_error *err) {
    const struct weir_pattern *pattern = &watch->hub.pattern;
    weir_status status = weir_redis_session_ensure(streams->session, until_ns, err);
    if (status == WEIR_OK) {
        status = weir_redis_session_want(streams->session, pattern->text, until_ns, err);
    }
    if (status == WEIR_OK) {
        status = pattern->is_prefix ? begin_all(streams, watch, until_ns, err)
                                    : begin_tail(streams, watch, pattern->text, until_ns, err);
    }
    return status == WEIR_OK ? add_watch(streams, watch, err) : status;
}

static weir_status begin_again(struct weir_redis_streams *streams,
                               struct weir_redis_stream_watch *watch, int64_t until_ns,
                               struct weir_error *err) {
    const struct weir_pattern *pattern = &watch->hub.pattern;
    weir_status status = add_watch(streams, watch, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (weir_redis_session_is_up(streams->session)) {
        weir_redis_session_want(streams->session, pattern->text, until_ns, NULL);
    }
    if (pattern->is_prefix) {
        streams->is_scan_wanted = true;
        return WEIR_OK;
    }
    struct tail *tail = weir_redis_tail_for(streams, watch, pattern->text);
    if (!tail) {
        return weir_fail_no_memory(err, "a watch");
    }
    tail->was_made = true;
    tail->has_news = true;
    tail->wants_check = watch->group != NULL;
    weir_redis_tail_update(streams, tail);
    return WEIR_OK;
}

static weir_status begin(void *context, struct weir_hub_watch *hub, int64_t until_ns,
                         struct weir_error *err) {
    struct weir_redis_streams *streams = context;
    struct weir_redis_stream_watch *watch = watch_of(hub);
    weir_status status = hub->is_resumed ? begin_again(streams, watch, until_ns, err)
                                         : begin_fresh(streams, watch, until_ns, err);
    if (status == WEIR_OK) {
        return status;
    }
    remove_watch(streams, watch);
    char shown[WEIR_SHOW_BYTES];
    return weir_error_prefix(err, status, "watching \"%s%s\"",
                             weir_show(hub->pattern.text, shown, sizeof shown),
                             hub->pattern.is_prefix ? "*" : "");
}

static void end(void *context, struct weir_hub_watch *hub) {
    remove_watch(context, watch_of(hub));
}

static void resume(void *context, struct weir_hub_watch *hub) {
    update_tails(context, watch_of(hub));
}

static void acknowledge(void *context, struct weir_hub_watch *hub, struct weir_event *event) {
    struct weir_redis_stream_watch *watch = watch_of(hub);
    struct weir_redis_id id;
    struct tail *tail;
    HASH_FIND(hh, watch->tails, event->key.data, event->key.size, tail);
    if (tail && !event->is_gap && weir_redis_id_parse(event->position, &id)) {
        weir_redis_tail_acknowledge(context, tail, id);
    }
}

static void acknowledged(void *context) {
    struct weir_redis_streams *streams = context;
    weir_redis_tails_send_acks(streams);
    if (weir_redis_session_is_up(streams->session)) {
        weir_redis_session_flush(streams->session);
    }
}

static void discard(struct weir_hub_watch *hub) {
    free(watch_of(hub)->group);
}

static size_t wait_for(void *context, struct pollfd ret_fds[static WEIR_HUB_FDS_MAX]) {
    const struct weir_redis_streams *streams = context;
    return weir_redis_session_wait_for(streams->session, ret_fds);
}

static int64_t work(void *context, const struct pollfd *fds, size_t count) {
    const struct weir_redis_streams *streams = context;
    (void)fds;
    (void)count;
    return weir_redis_session_work(streams->session);
}

// ---- making ----

static void destroy(void *context) {
    struct weir_redis_streams *streams = context;
    if (streams) {
        weir_redis_tails_free_over(streams);
        weir_routes_destroy(streams->routes);
        free(streams->consumer);
        free(streams);
    }
}

static char *make_consumer(const struct weir_redis_options *options) {
    char host[CONSUMER_BYTES_MAX] = "";
    if (options->consumer) {
        return strdup(options->consumer);
    }
    if (gethostname(host, sizeof host - 1) != 0 || host[0] == '\0') {
        snprintf(host, sizeof host, "weir");
    }
    return strdup(host);
}

static weir_status create(struct weir_redis_resource *resource, void **ret_context,
                          struct weir_error *err) {
    struct weir_redis_streams *streams = calloc(1, sizeof *streams);
    *ret_context = streams;
    if (!streams) {
        return weir_fail_no_memory(err, "a resource");
    }
    streams->resource = resource;
    streams->entries_at_once = ENTRIES_AT_ONCE_FIRST;
    streams->memory_ns = INT64_MAX;
    streams->rescan_due_ns = INT64_MAX;
    streams->routes = weir_routes_create();
    streams->consumer = make_consumer(&resource->options);
    return streams->routes && streams->consumer ? WEIR_OK : weir_fail_no_memory(err, "a resource");
}

static void set_session(void *context, struct weir_redis_session *session) {
    struct weir_redis_streams *streams = context;
    streams->session = session;
}

const struct weir_redis_mode_functions weir_redis_streams = {
    .hub =
        {
            .watch_bytes = sizeof(struct weir_redis_stream_watch),
            .prepare = prepare,
            .begin = begin,
            .end = end,
            .resume = resume,
            .acknowledge = acknowledge,
            .acknowledged = acknowledged,
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
    .capabilities = WEIR_CAN_ACK | WEIR_CAN_PAUSE,
    .strength = WEIR_EVERY_CHANGE,
};
