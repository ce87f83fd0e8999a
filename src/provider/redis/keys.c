// SPDX-License-Identifier: Apache-2.0
//
// The watches of the mode `keys`, and the passes over all of their keys. See keys.h.
//
// A watch that begins asks the bell first and then looks at what there is: what changes in between
// is rung for, and compared with what was found. One that goes on after a stop begins with what was
// told before (the fingerprints that its sink kept); after each connection, after a flush, after
// anything that may have been missed, and at a slow pace without a reason, all keys of a watch are
// compared anew.
//
// A pass is one SCAN of what all watches that want one have in common, a page at a time: the next
// page is asked for when the keys of the last one have been fetched (or others have changed for a
// while), so that a pass holds little more than a page. What it has not met is looked for when it
// is over. A pass without a reason rests between its pages, so that at most a tenth of the time
// goes into it.
#include "provider/redis/keys.h"

#include "base/clock.h"
#include "base/progress.h"
#include "base/show.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

enum {
    PAGE_KEYS = 500,         // that the server looks at for a page
    SLOW_SHARE = 10,         // of the time, at least so many times as long rests a slow pass
    SLOW_REST_MS_MAX = 1000, // between two pages
    PATIENCE_MS = 50,        // with other keys, which may have no end, before the next page
};

// ---- passes ----

static bool begin_pass(struct weir_redis_keys *keys, struct pass *pass, struct weir_str prefix,
                       struct weir_redis_key_watch *watch) {
    char *copy = weir_str_copy(prefix);
    if (!copy) {
        return false;
    }
    free(pass->prefix);
    *pass = (struct pass){.watch = watch,
                          .is_running = true,
                          .is_slow = pass->is_slow,
                          .number = ++keys->pass_number,
                          .cursor = "0",
                          .prefix = copy,
                          .prefix_size = prefix.size};
    return true;
}

static void end_pass_of(struct weir_redis_keys *keys, struct weir_redis_key_watch *watch,
                        uint32_t number) {
    for (struct entry *entry = watch->entries; entry; entry = entry->hh.next) {
        if (entry->pass_number != number) {
            weir_redis_keys_make_dirty(keys, watch, entry);
        }
    }
    watch->pass = PASS_NONE;
    weir_redis_keys_update_ready(keys, watch);
}

// All keys have been met that are there.
static void end_pass(struct weir_redis_keys *keys, struct pass *pass) {
    pass->is_running = false;
    for (struct weir_redis_key_watch *watch = keys->watches; watch; watch = watch->next) {
        if (!pass->watch && watch->pass == PASS_RUNNING) {
            end_pass_of(keys, watch, pass->number);
        }
    }
}

static void meet_for(struct weir_redis_keys *keys, const struct pass *pass,
                     struct weir_redis_key_watch *watch, struct weir_str key) {
    weir_redis_keys_hint_one(keys, watch, key);
    struct entry *entry = weir_redis_keys_entry(keys, watch, key);
    if (entry) {
        entry->pass_number = pass->number;
    }
}

static void meet(struct weir_redis_keys *keys, const struct pass *pass, struct weir_str key) {
    if (weir_redis_check_key(key, NULL) != WEIR_OK) {
        return;
    }
    if (pass->watch) {
        if (weir_pattern_matches(&pass->watch->hub.pattern, key)) {
            meet_for(keys, pass, pass->watch, key);
        }
        return;
    }
    for (struct weir_routes_walk walk = weir_routes_first(keys->routes, key); walk.route;
         weir_routes_next(&walk)) {
        struct weir_redis_key_watch *watch = walk.route->watch;
        if (watch->pass == PASS_RUNNING) {
            meet_for(keys, pass, watch, key);
        }
    }
}

static void take_page(void *context, void *token, struct weir_redis_reply **given) {
    struct weir_redis_keys *keys = context;
    struct pass *pass = token;
    struct weir_error error;
    pass->is_asked = false;
    const struct weir_redis_reply *cursor = weir_redis_reply_at(*given, 0);
    const struct weir_redis_reply *page = weir_redis_reply_at(*given, 1), *key;
    weir_status status = weir_redis_reply_status(*given, "looking at all keys", &error);
    bool is_odd = !weir_redis_reply_is(cursor, WEIR_REDIS_BULK) ||
                  cursor->bytes.size >= sizeof pass->cursor ||
                  !weir_redis_reply_is(page, WEIR_REDIS_ARRAY);
    if (status == WEIR_OK && is_odd) {
        status = weir_redis_reply_odd("looking at all keys", &error);
    }
    if (status != WEIR_OK) {
        weir_redis_session_fail(keys->session, &error);
        return;
    }
    if (!pass->is_running) {
        return; // whom it was for is gone
    }
    memcpy(pass->cursor, cursor->bytes.data, cursor->bytes.size + 1);
    for (size_t i = 0; (key = weir_redis_reply_at(page, i)); i++) {
        if (key->kind == WEIR_REDIS_BULK) {
            meet(keys, pass, key->bytes);
        }
    }
    int64_t now_ns = weir_clock_monotonic_ns(), rest_ns = (now_ns - pass->asked_ns) * SLOW_SHARE;
    int64_t rest_max_ns = SLOW_REST_MS_MAX * WEIR_NS_PER_MS;
    pass->due_ns = pass->is_slow ? now_ns + (rest_ns < rest_max_ns ? rest_ns : rest_max_ns) : 0;
    if (strcmp(pass->cursor, "0") == 0) {
        end_pass(keys, pass);
    }
}

static void ask_for_page(struct weir_redis_keys *keys, struct pass *pass) {
    char glob[WEIR_REDIS_GLOB_BYTES_MAX], count[16];
    snprintf(count, sizeof count, "%d", PAGE_KEYS);
    struct weir_str prefix = {pass->prefix, pass->prefix_size};
    const struct weir_str words[] = {WEIR_STR("SCAN"),  weir_str_of(pass->cursor),
                                     WEIR_STR("MATCH"), weir_redis_glob(prefix, glob),
                                     WEIR_STR("COUNT"), weir_str_of(count),
                                     WEIR_STR("TYPE"),  WEIR_STR("string")};
    pass->is_asked = weir_redis_session_ask(keys->session, words, sizeof words / sizeof words[0],
                                            take_page, pass) == WEIR_OK;
    pass->asked_ns = weir_clock_monotonic_ns();
}

// Goes on with a pass, if the keys of its last page have been fetched. Returns when to go on.
static int64_t run_pass(struct weir_redis_keys *keys, struct pass *pass) {
    int64_t patience_ns = pass->asked_ns + PATIENCE_MS * WEIR_NS_PER_MS;
    int64_t due_ns = keys->ready && patience_ns > pass->due_ns ? patience_ns : pass->due_ns;
    if (!pass->is_running || pass->is_asked) {
        return INT64_MAX; // the page wakes the thread
    }
    if (due_ns <= weir_clock_monotonic_ns()) {
        ask_for_page(keys, pass);
        return INT64_MAX;
    }
    return due_ns;
}

// What the patterns of all watches that want a pass have in common.
struct common {
    bool is_some;
    struct weir_str prefix;
};

static void add_common(struct common *common, struct weir_str text) {
    if (!common->is_some) {
        *common = (struct common){.is_some = true, .prefix = text};
        return;
    }
    common->prefix.size = weir_redis_common_bytes(common->prefix, text);
}

// Begins a pass for all that want one. Of a key alone there is no need to walk over all.
static void begin_wanted(struct weir_redis_keys *keys) {
    struct common common = {.is_some = false};
    for (struct weir_redis_key_watch *watch = keys->watches; watch; watch = watch->next) {
        if (watch->pass != PASS_WANTED || watch->is_baseline) {
            continue;
        }
        if (watch->hub.pattern.is_prefix) {
            watch->pass = PASS_RUNNING;
            // One without a reason is nothing that somebody waits for.
            if (!keys->pass.is_slow) {
                watch->is_measured = true;
                weir_meter_begin(watch->hub.meter, "comparing", HASH_COUNT(watch->entries));
            }
            add_common(&common, watch->hub.pattern.text);
        } else {
            watch->pass = PASS_NONE;
            weir_redis_keys_hint_one(keys, watch, watch->hub.pattern.text);
        }
    }
    if (common.is_some && !begin_pass(keys, &keys->pass, common.prefix, NULL)) {
        for (struct weir_redis_key_watch *watch = keys->watches; watch; watch = watch->next) {
            watch->pass = watch->pass == PASS_RUNNING ? PASS_WANTED : watch->pass;
        }
        keys->again_ns = weir_clock_monotonic_ns() + WEIR_NS_PER_S; // there may be memory then
    }
}

static void want_all(struct weir_redis_keys *keys) {
    for (struct weir_redis_key_watch *watch = keys->watches; watch; watch = watch->next) {
        watch->pass = PASS_WANTED;
    }
    keys->again_ns = 0;
}

static void set_rescan(struct weir_redis_keys *keys) {
    int64_t rescan_ns = keys->resource->options.rescan_ns;
    keys->rescan_due_ns = rescan_ns > 0 ? weir_clock_monotonic_ns() + rescan_ns : INT64_MAX;
}

// Begins what is due. Returns when the next one is.
static int64_t look_for_passes(struct weir_redis_keys *keys) {
    int64_t now_ns = weir_clock_monotonic_ns();
    if (keys->pass.is_running) {
        return run_pass(keys, &keys->pass);
    }
    bool is_rescan = keys->rescan_due_ns <= now_ns;
    if (is_rescan) {
        want_all(keys);
        set_rescan(keys);
    }
    if (keys->again_ns <= now_ns && !keys->pass.is_asked) {
        keys->again_ns = INT64_MAX;
        keys->pass.is_slow = is_rescan;
        begin_wanted(keys);
        return run_pass(keys, &keys->pass);
    }
    return keys->again_ns < keys->rescan_due_ns ? keys->again_ns : keys->rescan_due_ns;
}

// ---- what the session asks ----

static bool is_wanted(void *context) {
    const struct weir_redis_keys *keys = context;
    return keys->watches != NULL;
}

// A prefix that the bell is to ring for. Without memory for it there is none for the connection.
static void want_pattern(void *context, const struct weir_pattern *pattern) {
    struct weir_redis_keys *keys = context;
    if (weir_redis_session_want(keys->session, pattern->text, 0, NULL) != WEIR_OK) {
        weir_redis_session_want(keys->session, WEIR_STR(""), 0, NULL);
    }
}

static void connected(void *context) {
    struct weir_redis_keys *keys = context;
    weir_routes_patterns(keys->routes, want_pattern, keys);
}

static void missed(void *context) {
    struct weir_redis_keys *keys = context;
    want_all(keys);
    // One that is running may have been where something was missed: it goes on, and another one
    // comes behind it.
    set_rescan(keys);
}

static void stop_pass(struct pass *pass) {
    pass->is_running = pass->is_asked = false;
}

static void lost(void *context) {
    struct weir_redis_keys *keys = context;
    stop_pass(&keys->pass);
    stop_pass(&keys->baseline);
    weir_redis_keys_forget_fetches(keys);
    weir_pool_flush(keys->resource->pool);
}

static void rung(void *context, struct weir_str key) {
    weir_redis_keys_hint(context, key);
}

static int64_t pump(void *context) {
    struct weir_redis_keys *keys = context;
    if (!keys->watches) {
        weir_redis_session_want_nothing(keys->session);
    }
    int64_t baseline_ns = run_pass(keys, &keys->baseline);
    int64_t pass_ns = look_for_passes(keys); // which finds what is to be fetched
    int64_t fetch_ns = weir_redis_keys_fetch(keys);
    pass_ns = baseline_ns < pass_ns ? baseline_ns : pass_ns;
    return fetch_ns < pass_ns ? fetch_ns : pass_ns;
}

// ---- watches ----

static struct weir_redis_key_watch *watch_of(struct weir_hub_watch *hub) {
    return (struct weir_redis_key_watch *)hub;
}

struct recalling {
    struct weir_redis_keys *keys;
    struct weir_redis_key_watch *watch;
    weir_status status;
};

static bool recall_one(void *context, struct weir_str key, struct weir_str fingerprint) {
    struct recalling *recalling = context;
    struct weir_redis_told told;
    if (!weir_pattern_matches(&recalling->watch->hub.pattern, key)) {
        return true;
    }
    weir_redis_fingerprint_decode(fingerprint, &told);
    recalling->status = weir_redis_keys_recall(recalling->keys, recalling->watch, key, &told);
    return recalling->status == WEIR_OK;
}

static weir_status fail_keys(const struct weir_redis_keys *keys, weir_status status,
                             struct weir_error *err) {
    return status == WEIR_LIMIT
               ? weir_fail(err, status,
                           "more than %" PRIu64 " keys to watch; raise `keys_max`, or watch fewer",
                           keys->resource->options.keys_max)
               : weir_fail_no_memory(err, "the keys of a watch");
}

static weir_status prepare(void *context, struct weir_hub_watch *hub,
                           const struct weir_watch_args *args, struct weir_error *err) {
    struct recalling recalling = {.keys = context, .watch = watch_of(hub)};
    if (!args->resume || !args->resume->recall) {
        return WEIR_OK;
    }
    weir_status status = args->resume->recall(args->resume->context, recall_one, &recalling, err);
    if (status == WEIR_OK && recalling.status != WEIR_OK) {
        status = fail_keys(context, recalling.status, err);
    }
    return status;
}

static weir_status add_watch(struct weir_redis_keys *keys, struct weir_redis_key_watch *watch,
                             struct weir_error *err) {
    weir_status status =
        weir_routes_add(keys->routes, &watch->hub.pattern, watch, &watch->route, err);
    if (status == WEIR_OK) {
        DL_APPEND(keys->watches, watch);
        watch->is_routed = true;
    }
    return status;
}

static void remove_watch(struct weir_redis_keys *keys, struct weir_redis_key_watch *watch) {
    if (watch->is_routed) {
        weir_routes_remove(keys->routes, &watch->route);
        DL_DELETE(keys->watches, watch);
    }
    watch->is_routed = false;
    weir_redis_keys_update_ready(keys, watch);
    weir_redis_keys_forget(watch);
}

// Fetches all there is, until it is known.
static weir_status await_baseline(struct weir_redis_keys *keys, struct weir_redis_key_watch *watch,
                                  int64_t until_ns, struct weir_error *err) {
    weir_status status = WEIR_OK;
    bool is_prefix = watch->hub.pattern.is_prefix;
    while (keys->baseline.is_asked && status == WEIR_OK) { // for one that failed before
        status = weir_redis_session_turn(keys->session, until_ns, err);
    }
    if (status == WEIR_OK && !is_prefix) {
        weir_redis_keys_hint_one(keys, watch, watch->hub.pattern.text);
    }
    if (status == WEIR_OK && is_prefix &&
        !begin_pass(keys, &keys->baseline, watch->hub.pattern.text, watch)) {
        status = weir_fail_no_memory(err, "a watch");
    }
    while (status == WEIR_OK && (keys->baseline.is_running || watch->unlooked > 0)) {
        status = watch->is_over ? fail_keys(keys, WEIR_LIMIT, err)
                                : weir_redis_session_turn(keys->session, until_ns, err);
    }
    keys->baseline.is_running = false;
    keys->baseline.watch = NULL;
    return status == WEIR_OK && watch->is_over ? fail_keys(keys, WEIR_LIMIT, err) : status;
}

static weir_status remember_all(struct weir_redis_key_watch *watch, struct weir_error *err) {
    weir_status status = WEIR_OK;
    char fingerprint[WEIR_REDIS_FINGERPRINT_BYTES];
    for (struct entry *entry = watch->entries; status == WEIR_OK && entry; entry = entry->hh.next) {
        if (entry->is_present) {
            status =
                weir_hub_remember(&watch->hub, (struct weir_str){entry->key, entry->key_size},
                                  weir_redis_fingerprint_encode(&entry->told, fingerprint), err);
        }
    }
    return status;
}

static weir_status begin_fresh(struct weir_redis_keys *keys, struct weir_redis_key_watch *watch,
                               int64_t until_ns, struct weir_error *err) {
    watch->is_baseline = true;
    weir_status status = weir_redis_session_ensure(keys->session, until_ns, err);
    if (status == WEIR_OK) {
        status = weir_redis_session_want(keys->session, watch->hub.pattern.text, until_ns, err);
        watch->pass = PASS_NONE; // until more is missed
    }
    if (status == WEIR_OK) {
        status = await_baseline(keys, watch, until_ns, err);
    }
    if (status == WEIR_OK) {
        watch->is_baseline = false;
        keys->again_ns = watch->pass == PASS_WANTED ? 0 : keys->again_ns;
        status = remember_all(watch, err);
        weir_redis_keys_update_ready(keys, watch);
    }
    return status;
}

// What it was told is there already; all else is found by a pass, when there is a connection.
static void begin_again(struct weir_redis_keys *keys, struct weir_redis_key_watch *watch,
                        int64_t until_ns) {
    if (weir_redis_session_is_up(keys->session)) {
        weir_redis_session_want(keys->session, watch->hub.pattern.text, until_ns, NULL);
    }
    watch->pass = PASS_WANTED;
    keys->again_ns = 0;
}

static weir_status begin(void *context, struct weir_hub_watch *hub, int64_t until_ns,
                         struct weir_error *err) {
    struct weir_redis_keys *keys = context;
    struct weir_redis_key_watch *watch = watch_of(hub);
    uint64_t bytes_max = hub->event_bytes_max;
    weir_redis_session_bound(keys->session, bytes_max < WEIR_REDIS_VALUE_BYTES_MAX
                                                ? bytes_max
                                                : WEIR_REDIS_VALUE_BYTES_MAX);
    weir_status status = add_watch(keys, watch, err);
    if (status == WEIR_OK && hub->is_resumed) {
        begin_again(keys, watch, until_ns);
    } else if (status == WEIR_OK) {
        status = begin_fresh(keys, watch, until_ns, err);
    }
    if (status != WEIR_OK) {
        remove_watch(keys, watch);
        char shown[WEIR_SHOW_BYTES];
        weir_error_prefix(err, status, "watching \"%s%s\"",
                          weir_show(hub->pattern.text, shown, sizeof shown),
                          hub->pattern.is_prefix ? "*" : "");
    }
    return status;
}

static void end(void *context, struct weir_hub_watch *hub) {
    remove_watch(context, watch_of(hub));
}

static void resume(void *context, struct weir_hub_watch *hub) {
    weir_redis_keys_update_ready(context, watch_of(hub));
}

static void discard(struct weir_hub_watch *hub) {
    weir_redis_keys_forget(watch_of(hub));
}

static size_t wait_for(void *context, struct pollfd ret_fds[static WEIR_HUB_FDS_MAX]) {
    const struct weir_redis_keys *keys = context;
    return weir_redis_session_wait_for(keys->session, ret_fds);
}

static int64_t work(void *context, const struct pollfd *fds, size_t count) {
    const struct weir_redis_keys *keys = context;
    (void)fds;
    (void)count;
    return weir_redis_session_work(keys->session);
}

// ---- making ----

static void destroy(void *context) {
    struct weir_redis_keys *keys = context;
    if (keys) {
        weir_redis_keys_forget_fetches(keys);
        weir_routes_destroy(keys->routes);
        free(keys->pass.prefix);
        free(keys->baseline.prefix);
        free(keys);
    }
}

static weir_status create(struct weir_redis_resource *resource, void **ret_context,
                          struct weir_error *err) {
    struct weir_redis_keys *keys = calloc(1, sizeof *keys);
    *ret_context = keys;
    if (keys) {
        keys->resource = resource;
        keys->again_ns = keys->rescan_due_ns = INT64_MAX;
        keys->routes = weir_routes_create();
    }
    return keys && keys->routes ? WEIR_OK : weir_fail_no_memory(err, "a resource");
}

static void set_session(void *context, struct weir_redis_session *session) {
    struct weir_redis_keys *keys = context;
    keys->session = session;
}

const struct weir_redis_mode_functions weir_redis_keys = {
    .hub =
        {
            .watch_bytes = sizeof(struct weir_redis_key_watch),
            .prepare = prepare,
            .begin = begin,
            .end = end,
            .resume = resume,
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
    .capabilities = WEIR_CAN_COMPARE | WEIR_CAN_PAUSE,
    .strength = WEIR_LATEST_VALUE,
};
