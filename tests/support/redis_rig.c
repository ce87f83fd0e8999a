// SPDX-License-Identifier: Apache-2.0
//
// See redis_rig.h.
#include "support/redis_rig.h"

#include "provider/redis/redis.h"
#include "support/folder.h"
#include "unit/test.h"

void redis_rig_init(struct redis_rig *rig, const struct test_server_args *args) {
    *rig = (struct redis_rig){.server = test_server_start(TEST_REDIS, args)};
    rig->foreign = rig->server ? test_foreign_start(rig->server) : NULL;
    test_sink_init(&rig->sink);
    if (!rig->foreign) {
        redis_rig_finish(rig);
        skip();
    }
}

void redis_rig_finish(struct redis_rig *rig) {
    weir_redis_provider.close(rig->resource);
    test_foreign_stop(rig->foreign);
    test_server_stop(rig->server);
    test_sink_finish(&rig->sink);
}

// Sets the options of a text.
static weir_status set_options(const char *text, void *options, struct weir_error *err) {
    char copy[REDIS_RIG_OPTIONS_BYTES];
    char *rest = copy;
    REQUIRE(snprintf(copy, sizeof copy, "%s", text) < (int)sizeof copy);
    for (char *word = strsep(&rest, " "); word; word = strsep(&rest, " ")) {
        char *value = strchr(word, '=');
        if (!value) {
            continue;
        }
        *value++ = '\0';
        const struct weir_option *option =
            weir_option_find(&weir_redis_provider.options, weir_str_of(word));
        REQUIRE(option);
        weir_status status = weir_option_set(option, options, weir_str_of(value), NULL, err);
        if (status != WEIR_OK) {
            return status;
        }
    }
    return WEIR_OK;
}

weir_status redis_rig_try_open(const struct redis_rig *rig, const char *name, const char *options,
                               struct weir_resource **ret_resource, struct weir_error *err) {
    struct weir_redis_options set = {.address = NULL};
    char address[TEST_PATH_BYTES + 16] = "";
    REQUIRE(weir_options_init(&weir_redis_provider.options, &set, err) == WEIR_OK);
    if (!strstr(options, "address=")) {
        snprintf(address, sizeof address, "address=%s", test_server_socket(rig->server));
    }
    weir_status status = set_options(address, &set, err);
    status = status == WEIR_OK ? set_options(options, &set, err) : status;
    const struct weir_resource_args args = {.name = name, .options = &set};
    if (status == WEIR_OK) {
        status = weir_redis_provider.open(&args, ret_resource, err);
    }
    weir_options_finish(&weir_redis_provider.options, &set);
    return status;
}

void redis_rig_open(struct redis_rig *rig, const char *options) {
    struct weir_error err;
    snprintf(rig->options, sizeof rig->options, "%s", options);
    assert_ok(redis_rig_try_open(rig, "store", options, &rig->resource, &err));
}

void redis_rig_reopen(struct redis_rig *rig) {
    struct weir_error err;
    weir_redis_provider.close(rig->resource);
    rig->resource = NULL;
    assert_ok(redis_rig_try_open(rig, "store", rig->options, &rig->resource, &err));
}

weir_status redis_rig_try_watch(const struct redis_rig *rig, const struct redis_rig_watch *wanted,
                                struct weir_watch **ret_watch, struct weir_error *err) {
    struct test_sink *sink =
        wanted->sink ? wanted->sink : (struct test_sink *)(uintptr_t)&rig->sink;
    const struct weir_watch_args args = {
        .pattern = weir_pattern_of(weir_str_of(wanted->key)),
        .sink = wanted->notes ? test_notes_of(wanted->notes) : test_sink_of(sink),
        .name = wanted->name,
        .event_bytes_max = wanted->event_bytes_max ? wanted->event_bytes_max : 1 << 20,
        .resume = wanted->resume,
    };
    return weir_redis_provider.watch(rig->resource, &args, ret_watch, err);
}

struct weir_watch *redis_rig_watch(const struct redis_rig *rig,
                                   const struct redis_rig_watch *wanted) {
    struct weir_error err;
    struct weir_watch *watch = NULL;
    assert_ok(redis_rig_try_watch(rig, wanted, &watch, &err));
    return watch;
}

int64_t redis_rig_number(const struct redis_rig *rig, const char *const *words) {
    json_t *answer = test_foreign_redis_words(rig->foreign, words);
    assert_true(json_is_integer(answer));
    int64_t number = json_integer_value(answer);
    json_decref(answer);
    return number;
}

static struct weir_health health_of(const struct redis_rig *rig) {
    struct weir_health health;
    weir_redis_provider.health(rig->resource, &health);
    return health;
}

void redis_rig_await_health(const struct redis_rig *rig, bool is_connected) {
    WAIT_UNTIL(health_of(rig).is_connected == is_connected);
}

uint64_t redis_rig_reconnects(const struct redis_rig *rig) {
    return health_of(rig).reconnects;
}
