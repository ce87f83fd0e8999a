// SPDX-License-Identifier: Apache-2.0
//
// See nats_rig.h.
#include "unit/provider/nats/nats_rig.h"

#include "base/clock.h"
#include "observe/log.h"
#include "provider/nats/resource.h"
#include "unit/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

const struct weir_limits nats_rig_limits = {.value_bytes_max = NATS_RIG_EVENT_BYTES_MAX,
                                            .until_ns = INT64_MAX};

// ---- the rig ----

void nats_rig_make_bucket(struct nats_rig *rig) {
    json_decref(test_foreign_call(
        rig->foreign, json_pack("{s:s, s:s}", "op", "kv_create", "bucket", NATS_RIG_BUCKET)));
}

void nats_rig_make_stream(struct nats_rig *rig) {
    json_decref(test_foreign_call(
        rig->foreign, json_pack("{s:s, s:{s:s, s:[s]}}", "op", "stream_add", "config", "name",
                                NATS_RIG_STREAM, "subjects", NATS_RIG_PREFIX ">")));
}

void nats_rig_option(struct nats_rig *rig, const char *name, const char *text) {
    struct weir_error err;
    const struct weir_option *option = weir_option_find(&weir_nats_option_table, weir_str_of(name));
    assert_non_null(option);
    assert_ok(weir_option_set(option, &rig->options, weir_str_of(text), NULL, &err));
}

void nats_rig_init(struct nats_rig *rig, const struct test_server_args *args, bool is_stream) {
    struct weir_error err;
    char url[TEST_SERVER_URL_BYTES];
    *rig = (struct nats_rig){.log_fd = -1};
    test_sink_init(&rig->sink);
    rig->server = test_server_start(TEST_NATS, args);
    rig->foreign = rig->server ? test_foreign_start(rig->server) : NULL;
    if (!rig->foreign) {
        return;
    }
    nats_rig_make_bucket(rig);
    nats_rig_make_stream(rig);
    assert_ok(weir_options_init(&weir_nats_option_table, &rig->options, &err));
    snprintf(url, sizeof url, "127.0.0.1:%u", test_server_port(rig->server));
    nats_rig_option(rig, "server", url);
    nats_rig_option(rig, is_stream ? "stream" : "bucket",
                    is_stream ? NATS_RIG_STREAM : NATS_RIG_BUCKET);
    if (is_stream) {
        nats_rig_option(rig, "prefix", NATS_RIG_PREFIX);
    }
    rig->log_fd = memfd_create("log", MFD_CLOEXEC);
    assert_true(rig->log_fd >= 0);
    struct weir_log_config config = {.fd = rig->log_fd, .level = WEIR_LOG_DEBUG};
    assert_ok(weir_log_create(&config, &rig->log, &err));
}

struct weir_resource *nats_rig_other(struct nats_rig *rig) {
    struct weir_error err;
    struct weir_resource *resource = NULL;
    struct weir_resource_args args = {.name = "shop", .options = &rig->options, .log = rig->log};
    assert_ok(weir_nats_provider.open(&args, &resource, &err));
    return resource;
}

void nats_rig_open(struct nats_rig *rig) {
    rig->resource = nats_rig_other(rig);
}

void nats_rig_reopen(struct nats_rig *rig) {
    weir_nats_provider.close(rig->resource);
    nats_rig_open(rig);
}

void nats_rig_finish(struct nats_rig *rig) {
    if (rig->resource) {
        weir_nats_provider.unwatch(rig->watch);
        weir_nats_provider.close(rig->resource);
    }
    weir_options_finish(&weir_nats_option_table, &rig->options);
    weir_log_destroy(rig->log);
    if (rig->log_fd >= 0) {
        close(rig->log_fd);
    }
    test_sink_finish(&rig->sink);
    test_foreign_stop(rig->foreign);
    test_server_stop(rig->server);
}

static int setup(void **state, bool is_stream) {
    struct nats_rig *rig = malloc(sizeof *rig);
    assert_non_null(rig);
    *state = rig;
    nats_rig_init(rig, &(struct test_server_args){.config = "max_payload: 16MB\n"}, is_stream);
    if (rig->foreign) {
        nats_rig_open(rig);
    }
    return 0;
}

int nats_rig_setup_bucket(void **state) {
    return setup(state, false);
}

int nats_rig_setup_stream(void **state) {
    return setup(state, true);
}

int nats_rig_teardown(void **state) {
    nats_rig_finish(*state);
    free(*state);
    return 0;
}

// ---- watching ----

weir_status nats_rig_try_watch(struct weir_resource *resource, const char *key, const char *name,
                               bool goes_on, struct test_sink *sink, struct weir_watch **ret_watch,
                               struct weir_error *err) {
    const struct weir_resume resume = {0};
    const struct weir_watch_args args = {
        .pattern = weir_pattern_of(weir_str_of(key)),
        .sink = test_sink_of(sink),
        .name = name,
        .event_bytes_max = NATS_RIG_EVENT_BYTES_MAX,
        .resume = goes_on ? &resume : NULL,
    };
    return weir_nats_provider.watch(resource, &args, ret_watch, err);
}

struct weir_watch *nats_rig_watch(struct weir_resource *resource, const char *key, const char *name,
                                  bool goes_on, struct test_sink *sink) {
    struct weir_error err;
    struct weir_watch *watch = NULL;
    assert_ok(nats_rig_try_watch(resource, key, name, goes_on, sink, &watch, &err));
    return watch;
}

// ---- somebody else ----

void nats_rig_put(struct nats_rig *rig, const char *key, const char *value) {
    test_foreign_kv_put(rig->foreign, NATS_RIG_BUCKET, key, weir_str_of(value));
}

void nats_rig_publish(struct nats_rig *rig, const char *subject, const char *payload) {
    test_foreign_publish(rig->foreign, subject, weir_str_of(payload));
}

void nats_rig_api(struct nats_rig *rig, const char *subject, json_t *body) {
    json_t *request = json_pack("{s:s, s:s}", "op", "api", "subject", subject);
    if (body) {
        json_object_set_new(request, "body", body);
    }
    json_decref(test_foreign_call(rig->foreign, request));
}

static json_t *consumer_info(struct nats_rig *rig, const char *stream, const char *name) {
    char consumer[WEIR_NATS_CONSUMER_NAME_BYTES];
    const char *error;
    weir_nats_consumer_name(name, consumer);
    return test_foreign_try(
        rig->foreign,
        json_pack("{s:s, s:s, s:s}", "op", "consumer_info", "stream", stream, "consumer", consumer),
        &error);
}

bool nats_rig_has_consumer(struct nats_rig *rig, const char *stream, const char *name) {
    json_t *info = consumer_info(rig, stream, name);
    json_decref(info);
    return info != NULL;
}

uint64_t nats_rig_consumer(struct nats_rig *rig, const char *stream, const char *name,
                           const char *number) {
    json_t *info = consumer_info(rig, stream, name);
    assert_non_null(info);
    uint64_t value = (uint64_t)json_integer_value(json_object_get(info, number));
    json_decref(info);
    return value;
}

// ---- looking ----

bool nats_rig_has_logged(struct nats_rig *rig, const char *text) {
    char log[32768];
    ssize_t size = pread(rig->log_fd, log, sizeof log - 1, 0);
    assert_true(size >= 0);
    log[size] = '\0';
    return strstr(log, text) != NULL;
}

bool nats_rig_is_connected(struct nats_rig *rig) {
    struct weir_health health;
    weir_nats_provider.health(rig->resource, &health);
    return health.is_connected;
}

const struct weir_event *nats_rig_expect_gap(struct test_sink *sink) {
    const struct weir_event *event = test_sink_next(sink);
    assert_true(event->is_gap);
    assert_str_equal(event->fields.ty, WEIR_TYPE_GAP);
    return event;
}

const struct weir_event *nats_rig_expect_message(struct test_sink *sink, const char *key,
                                                 const char *payload) {
    const struct weir_event *event = test_sink_next(sink);
    assert_false(event->is_gap);
    assert_str_equal(event->key, key);
    assert_str_equal(event->fields.data.value.bytes, payload);
    return event;
}
