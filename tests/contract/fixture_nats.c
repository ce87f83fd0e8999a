// SPDX-License-Identifier: Apache-2.0
//
// The fixtures of the NATS provider: a bucket, a stream and plain subjects, each new for each case,
// on one server that lives as long as the test program. Somebody else is nats-py.
#include "contract/fixture.h"

#include "provider/provider.h"
#include "support/foreign.h"
#include "support/server.h"
#include "unit/test.h"

#include <stdlib.h>

// Values of the suite are larger than what a server takes by default.
#define SERVER_CONFIG "max_payload: 32MB\n"

struct source {
    char server[TEST_SERVER_URL_BYTES];
    char name[32];   // of the bucket or stream
    char prefix[48]; // of subjects
};

static struct test_server *server_now;
static struct test_foreign *foreign_now; // NULL: this machine has no nats-py

static struct source *new_source(void) {
    static unsigned number;
    if (!server_now) {
        server_now = test_server_start(TEST_NATS, &(struct test_server_args){
                                                      .config = SERVER_CONFIG,
                                                  });
        foreign_now = server_now ? test_foreign_start(server_now) : NULL;
    }
    if (!foreign_now) {
        return NULL;
    }
    struct source *source = calloc(1, sizeof *source);
    assert_non_null(source);
    number++;
    test_server_url(server_now, source->server);
    snprintf(source->name, sizeof source->name, "weir%u", number);
    snprintf(source->prefix, sizeof source->prefix, "weir.%u.", number);
    return source;
}

static json_t *call(const char *op, const char *name, const char *value) {
    return test_foreign_call(foreign_now, json_pack("{s:s, s:s}", "op", op, name, value));
}

// ---- a bucket ----

static void *setup_bucket(void) {
    struct source *source = new_source();
    if (source) {
        json_decref(call("kv_create", "bucket", source->name));
    }
    return source;
}

static void teardown_bucket(void *context) {
    struct source *source = context;
    char stream[48];
    snprintf(stream, sizeof stream, "KV_%s", source->name);
    json_decref(call("delete_stream", "stream", stream));
    free(source);
}

static void options_bucket(void *context,
                           void (*set)(void *context, const char *name, const char *text),
                           void *set_context) {
    const struct source *source = context;
    set(set_context, "server", source->server);
    set(set_context, "bucket", source->name);
}

static void set_bucket(void *context, const char *key, const char *value) {
    const struct source *source = context;
    test_foreign_kv_put(foreign_now, source->name, key, weir_str_of(value));
}

static void remove_bucket(void *context, const char *key) {
    const struct source *source = context;
    test_foreign_kv_delete(foreign_now, source->name, key);
}

const struct fixture fixture_nats_bucket = {
    .kind = "nats",
    .name = "nats bucket",
    .setup = setup_bucket,
    .teardown = teardown_bucket,
    .options = options_bucket,
    .foreign_set = set_bucket,
    .foreign_remove = remove_bucket,
};

// ---- a stream ----

static void *setup_stream(void) {
    struct source *source = new_source();
    if (source) {
        char subjects[64];
        snprintf(subjects, sizeof subjects, "%s>", source->prefix);
        json_decref(test_foreign_call(foreign_now, json_pack("{s:s, s:{s:s, s:[s]}}", "op",
                                                             "stream_add", "config", "name",
                                                             source->name, "subjects", subjects)));
    }
    return source;
}

static void teardown_stream(void *context) {
    struct source *source = context;
    json_decref(call("delete_stream", "stream", source->name));
    free(source);
}

static void options_stream(void *context,
                           void (*set)(void *context, const char *name, const char *text),
                           void *set_context) {
    const struct source *source = context;
    set(set_context, "server", source->server);
    set(set_context, "stream", source->name);
    set(set_context, "prefix", source->prefix);
}

const struct fixture fixture_nats_stream = {
    .kind = "nats",
    .name = "nats stream",
    .capabilities = WEIR_CAN_WATCH | WEIR_CAN_ACK | WEIR_CAN_PAUSE | WEIR_CAN_PUBLISH,
    .setup = setup_stream,
    .teardown = teardown_stream,
    .options = options_stream,
};

// ---- plain subjects ----

static void *setup_subject(void) {
    return new_source();
}

static void options_subject(void *context,
                            void (*set)(void *context, const char *name, const char *text),
                            void *set_context) {
    const struct source *source = context;
    set(set_context, "server", source->server);
    set(set_context, "mode", "subject");
    set(set_context, "prefix", source->prefix);
}

const struct fixture fixture_nats_subject = {
    .kind = "nats",
    .name = "nats subject",
    .capabilities = WEIR_CAN_WATCH | WEIR_CAN_PUBLISH,
    .setup = setup_subject,
    .teardown = free,
    .options = options_subject,
};
