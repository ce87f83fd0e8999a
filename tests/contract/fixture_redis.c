// SPDX-License-Identifier: Apache-2.0
//
// The fixtures of the Redis provider, one for each mode. All cases of a test program share a
// server, which is emptied before each; somebody else is redis-py.
#include "contract/fixture.h"

#include "provider/provider.h"
#include "support/foreign.h"
#include "support/server.h"
#include "unit/test.h"

#include <stdlib.h>

// What is started once, and ends with the test program.
static struct {
    bool is_tried;
    struct test_server *server;
    struct test_foreign *foreign;
} shared;

static void redis(const char *const *words) {
    json_decref(test_foreign_redis_words(shared.foreign, words));
}
#define REDIS(...) redis((const char *const[]){__VA_ARGS__, NULL})

static void stop(void) {
    test_foreign_stop(shared.foreign);
    test_server_stop(shared.server);
}

static void *setup(void) {
    if (!shared.is_tried) {
        shared.is_tried = true;
        shared.server = test_server_start(TEST_REDIS, NULL);
        shared.foreign = shared.server ? test_foreign_start(shared.server) : NULL;
        atexit(stop);
    }
    if (!shared.foreign) {
        return NULL;
    }
    REDIS("FLUSHALL");
    return &shared;
}

static void teardown(void *source) {
    (void)source;
}

static void options(void (*set)(void *context, const char *name, const char *text), void *context,
                    const char *mode) {
    set(context, "address", test_server_socket(shared.server));
    set(context, "mode", mode);
    set(context, "claim", "100ms");
}

// ---- keys: somebody sets and deletes them ----

static void keys_options(void *source,
                         void (*set)(void *context, const char *name, const char *text),
                         void *context) {
    (void)source;
    options(set, context, "keys");
}

static void keys_set(void *source, const char *key, const char *value) {
    (void)source;
    REDIS("SET", key, value);
}

static void keys_remove(void *source, const char *key) {
    (void)source;
    REDIS("DEL", key);
}

// ---- log: somebody writes the value and its entry in one transaction ----

static void log_options(void *source,
                        void (*set)(void *context, const char *name, const char *text),
                        void *context) {
    (void)source;
    options(set, context, "log");
}

static void log_set(void *source, const char *key, const char *value) {
    (void)source;
    REDIS("MULTI");
    REDIS("XADD", "weir:log", "*", "op", "set", "key", key, "value", value);
    REDIS("SET", key, value);
    REDIS("EXEC");
}

static void log_remove(void *source, const char *key) {
    (void)source;
    REDIS("MULTI");
    REDIS("XADD", "weir:log", "*", "op", "del", "key", key);
    REDIS("DEL", key);
    REDIS("EXEC");
}

static void log_forget(void *source) {
    (void)source;
    REDIS("XTRIM", "weir:log", "MAXLEN", "0");
}

const struct fixture fixture_redis_log = {
    .kind = "redis",
    .name = "redis, log",
    .capabilities = WEIR_CAN_GET | WEIR_CAN_SET | WEIR_CAN_LIST | WEIR_CAN_WATCH | WEIR_CAN_REPLAY |
                    WEIR_CAN_PAUSE | WEIR_CAN_PUBLISH | WEIR_CAN_UPDATE,
    .setup = setup,
    .teardown = teardown,
    .options = log_options,
    .foreign_set = log_set,
    .foreign_remove = log_remove,
    .forget = log_forget,
};

// ---- streams: somebody adds entries ----

static void streams_options(void *source,
                            void (*set)(void *context, const char *name, const char *text),
                            void *context) {
    (void)source;
    options(set, context, "streams");
}

static void streams_set(void *source, const char *key, const char *value) {
    (void)source;
    REDIS("XADD", key, "*", "ce_specversion", "1.0", "ce_id", value, "ce_source", "/somebody",
          "ce_type", WEIR_TYPE_KEYVALUE_SET, "ce_subject", key, "data", value);
}

static void streams_remove(void *source, const char *key) {
    (void)source;
    REDIS("XADD", key, "*", "ce_specversion", "1.0", "ce_id", "gone", "ce_source", "/somebody",
          "ce_type", WEIR_TYPE_KEYVALUE_DELETED, "ce_subject", key);
}

const struct fixture fixture_redis_streams = {
    .kind = "redis",
    .name = "redis, streams",
    .capabilities = WEIR_CAN_WATCH | WEIR_CAN_ACK | WEIR_CAN_PAUSE | WEIR_CAN_PUBLISH,
    .setup = setup,
    .teardown = teardown,
    .options = streams_options,
    .foreign_set = streams_set,
    .foreign_remove = streams_remove,
};

const struct fixture fixture_redis_keys = {
    .kind = "redis",
    .name = "redis, keys",
    .capabilities = WEIR_CAN_GET | WEIR_CAN_SET | WEIR_CAN_LIST | WEIR_CAN_WATCH |
                    WEIR_CAN_COMPARE | WEIR_CAN_PAUSE | WEIR_CAN_PUBLISH | WEIR_CAN_UPDATE,
    .setup = setup,
    .teardown = teardown,
    .options = keys_options,
    .foreign_set = keys_set,
    .foreign_remove = keys_remove,
};
