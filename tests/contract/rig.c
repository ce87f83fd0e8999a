// SPDX-License-Identifier: Apache-2.0
//
// See rig.h. A new provider is a row in `fixtures`. The test's thread only.
#include "contract/rig.h"

#include <stdlib.h>

static const struct fixture *const fixtures[] = {
    &fixture_file,
    &fixture_sqlite,
    &fixture_redis_keys,
    &fixture_redis_log,
    &fixture_nats_bucket,
    &fixture_nats_stream,
    &fixture_nats_subject,
    &fixture_postgres,
    &fixture_postgres_outbox,
    &fixture_postgres_channel,
    &fixture_redis_streams,
    &fixture_topic,
};

const struct weir_limits rig_limits = {.value_bytes_max = RIG_VALUE_BYTES_MAX,
                                       .until_ns = INT64_MAX};

static const struct fixture *fixture_now; // of the group that runs

const struct weir_str rig_odd_keys[RIG_ODD_KEYS] = {
    {"a", 1},         {".", 1},
    {"u/..", 4},      {".hidden", 7},
    {"%", 1},         {"%41", 3},
    {"a b", 3},       {"/", 1},
    {"/abs/path", 9}, {"x//y", 4},
    {"trailing/", 9}, {"../../up", 8},
    {"new\nline", 8}, {"\x01\x7f", 2},
    {"\xff\xfe", 2},  {"\xc3\xa4", 2},
    {"star*star", 9}, {"d/./e", 5},
    {"d/../f", 6},    {"-rf", 3},
    {"\\", 1},        {"'\"$(x)`", 7},
    {" ", 1},         {"A", 1},
    {"aux.", 4},      {"b/c/d/e/f/g", 11},
};
struct option_target {
    const struct weir_provider *provider;
    void *options;
};

static void set_option(void *context, const char *name, const char *text) {
    struct option_target *target = context;
    struct weir_error err;
    const struct weir_option *option =
        weir_option_find(&target->provider->options, weir_str_of(name));
    assert_non_null(option);
    assert_ok(weir_option_set(option, target->options, weir_str_of(text), NULL, &err));
}

struct weir_resource *rig_open(const struct rig *rig, const char *name) {
    struct weir_error err;
    struct option_target target = {
        .provider = rig->provider,
        .options = calloc(1, rig->provider->options_bytes),
    };
    assert_non_null(target.options);
    assert_ok(weir_options_init(&rig->provider->options, target.options, &err));
    rig->fixture->options(rig->source, set_option, &target);
    struct weir_resource_args args = {.name = name, .options = target.options};
    struct weir_resource *resource = NULL;
    assert_ok(rig->provider->open(&args, &resource, &err));
    weir_options_finish(&rig->provider->options, target.options);
    free(target.options);
    assert_ptr_equal(resource->provider, rig->provider);
    assert_string_equal(resource->name, name);
    return resource;
}

int rig_setup(void **state) {
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    *state = rig;
    rig->fixture = fixture_now;
    rig->provider = weir_provider_find(weir_str_of(fixture_now->kind));
    assert_non_null(rig->provider);
    rig->source = rig->fixture->setup();
    test_sink_init(&rig->sink);
    if (rig->source) {
        rig->resource = rig_open(rig, "store");
    }
    return 0;
}

int rig_teardown(void **state) {
    struct rig *rig = *state;
    rig->provider->close(rig->resource);
    test_sink_finish(&rig->sink);
    if (rig->source) {
        rig->fixture->teardown(rig->source);
    }
    free(rig);
    return 0;
}

struct rig *rig_of(void **state) {
    struct rig *rig = *state;
    if (!rig->source) {
        skip();
    }
    return rig;
}

struct weir_watch *rig_watch_into(const struct rig *rig, struct weir_resource *resource,
                                  const char *key, struct test_sink *sink,
                                  uint64_t event_bytes_max) {
    struct weir_error err;
    struct weir_watch_args args = {
        .pattern = weir_pattern_of(weir_str_of(key)),
        .sink = test_sink_of(sink),
        .event_bytes_max = event_bytes_max,
    };
    struct weir_watch *watch = NULL;
    assert_ok(rig->provider->watch(resource, &args, &watch, &err));
    assert_ptr_equal(watch->resource, resource);
    return watch;
}

struct weir_watch *rig_watch(struct rig *rig, const char *key) {
    return rig_watch_into(rig, rig->resource, key, &rig->sink, RIG_EVENT_BYTES_MAX);
}

void rig_foreign_set(const struct rig *rig, const char *key, const char *value) {
    rig->fixture->foreign_set(rig->source, key, value);
}

void rig_foreign_remove(const struct rig *rig, const char *key) {
    rig->fixture->foreign_remove(rig->source, key);
}

void rig_set(const struct rig *rig, const char *key, const char *value) {
    struct weir_error err;
    assert_ok(
        rig->provider->set(rig->resource, weir_str_of(key), weir_str_of(value), &rig_limits, &err));
}

void rig_check_value(const struct rig *rig, struct weir_str key, struct weir_str value) {
    struct weir_error err;
    struct weir_value got;
    assert_ok(rig->provider->get(rig->resource, key, &rig_limits, &got, &err));
    assert_non_null(got.data);
    assert_int_equal(got.size, value.size);
    if (value.size > 0) {
        assert_memory_equal(got.data, value.data, value.size);
    }
    free(got.data);
}

void rig_reopen(struct rig *rig) {
    rig->provider->close(rig->resource);
    rig->resource = rig_open(rig, "store");
}

static uint32_t capabilities_of(const struct fixture *fixture) {
    const struct weir_provider *provider = weir_provider_find(weir_str_of(fixture->kind));
    assert_non_null(provider);
    return fixture->capabilities ? fixture->capabilities : provider->capabilities;
}

bool rig_can(const struct rig *rig, uint32_t capabilities) {
    return (capabilities_of(rig->fixture) & capabilities) == capabilities;
}

static bool has(const struct fixture *fixture, struct rig_needs needs) {
    return (capabilities_of(fixture) & needs.capabilities) == needs.capabilities &&
           (capabilities_of(fixture) & needs.without) == 0 &&
           (!needs.foreign_changes || fixture->foreign_set) &&
           (!needs.forgetting || fixture->forget);
}

int rig_run(const char *name, struct rig_needs needs, const struct CMUnitTest *cases,
            size_t count) {
    int failed = 0;
    char title[64];
    for (size_t i = 0; i < COUNT_OF(fixtures); i++) {
        if (has(fixtures[i], needs)) {
            fixture_now = fixtures[i];
            snprintf(title, sizeof title, "%s: %s",
                     fixture_now->name ? fixture_now->name : fixture_now->kind, name);
            failed += _cmocka_run_group_tests(title, cases, count, NULL, NULL);
        }
    }
    return failed;
}
