// SPDX-License-Identifier: Apache-2.0
//
// See postgres_rig.h. offer and remember are called on the resource's thread, everything else on
// the test's.
#include "support/postgres_rig.h"

#include "base/clock.h"
#include "observe/log.h"
#include "provider/postgres/postgres.h"
#include "unit/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

// Of the program.
static struct test_server *server;
static struct test_foreign *foreign;

static const struct weir_provider *provider(void) {
    return &weir_postgres_provider;
}

// ---- the rig ----

void postgres_rig_sql(struct postgres_rig *rig, const char *sql) {
    json_decref(test_foreign_sql(rig->foreign, sql, 0, NULL));
}

char *postgres_rig_ask(struct postgres_rig *rig, const char *sql) {
    json_t *rows = test_foreign_sql(rig->foreign, sql, 0, NULL);
    const json_t *cell = json_array_get(json_array_get(rows, 0), 0);
    size_t size;
    char *text = json_is_string(cell) ? test_json_take(cell, &size) : strdup("");
    json_decref(rows);
    assert_non_null(text);
    return text;
}

bool postgres_rig_is(struct postgres_rig *rig, const char *sql, const char *answer) {
    char *text = postgres_rig_ask(rig, sql);
    bool is_same = strcmp(text, answer) == 0;
    free(text);
    return is_same;
}

static bool drop_free_slots(struct postgres_rig *rig) {
    postgres_rig_sql(rig, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
                          "WHERE NOT active");
    return postgres_rig_is(rig, "SELECT count(*)::text FROM pg_replication_slots", "0");
}

void postgres_rig_drop_slots(struct postgres_rig *rig) {
    WAIT_UNTIL(drop_free_slots(rig));
}

// Everything that the last test has left.
static void clean(struct postgres_rig *rig) {
    postgres_rig_drop_slots(rig);
    postgres_rig_sql(rig,
                     "DO $$ DECLARE p text; BEGIN FOR p IN SELECT pubname FROM pg_publication LOOP "
                     "EXECUTE format('DROP PUBLICATION %I', p); END LOOP; END $$");
    postgres_rig_sql(rig, "SET client_min_messages = error; DROP SCHEMA public CASCADE; CREATE "
                          "SCHEMA public; DROP SCHEMA IF EXISTS shop CASCADE");
}

struct postgres_rig *postgres_rig_create(const struct test_server_args *args) {
    char address[64];
    struct weir_error err;
    if (!server) {
        server = test_server_start(TEST_POSTGRES, args);
        foreign = server ? test_foreign_start(server) : NULL;
    }
    if (!foreign) {
        return NULL;
    }
    struct postgres_rig *rig = malloc(sizeof *rig);
    assert_non_null(rig);
    *rig = (struct postgres_rig){.server = server, .foreign = foreign, .log_fd = -1};
    clean(rig);
    assert_ok(weir_options_init(&provider()->options, &rig->options, &err));
    snprintf(address, sizeof address, "127.0.0.1:%u/" TEST_POSTGRES_DATABASE,
             test_server_port(server));
    postgres_rig_set(&rig->options.address, address);
    postgres_rig_set(&rig->options.user, TEST_POSTGRES_USER);
    rig->options.heartbeat_ns = 100 * WEIR_NS_PER_MS;
    rig->options.linger_ns = 2 * WEIR_NS_PER_S;
    rig->log_fd = memfd_create("log", MFD_CLOEXEC);
    assert_true(rig->log_fd >= 0);
    struct weir_log_config config = {.fd = rig->log_fd, .level = WEIR_LOG_DEBUG};
    assert_ok(weir_log_create(&config, &rig->log, &err));
    return rig;
}

void postgres_rig_destroy(struct postgres_rig *rig) {
    if (!rig) {
        return;
    }
    postgres_rig_close(rig);
    weir_options_finish(&provider()->options, &rig->options);
    weir_log_destroy(rig->log);
    close(rig->log_fd);
    free(rig);
}

int postgres_rig_setup(void **state) {
    *state = postgres_rig_create(NULL);
    return 0;
}

int postgres_rig_teardown(void **state) {
    postgres_rig_destroy(*state);
    return 0;
}

struct postgres_rig *postgres_rig_of(void **state) {
    if (!*state) {
        skip();
    }
    return *state;
}

void postgres_rig_set(char **option, const char *text) {
    free(*option);
    *option = text ? strdup(text) : NULL;
    assert_true(!text || *option);
}

weir_status postgres_rig_try_open(struct postgres_rig *rig, struct weir_error *err) {
    const struct weir_resource_args args = {
        .name = "db", .options = &rig->options, .log = rig->log};
    return provider()->open(&args, &rig->resource, err);
}

void postgres_rig_open(struct postgres_rig *rig) {
    struct weir_error err;
    assert_ok(postgres_rig_try_open(rig, &err));
}

void postgres_rig_close(struct postgres_rig *rig) {
    provider()->close(rig->resource);
    rig->resource = NULL;
}

bool postgres_rig_has_logged(struct postgres_rig *rig, const char *text) {
    char *log = malloc(POSTGRES_RIG_LOG_BYTES);
    assert_non_null(log);
    ssize_t size = pread(rig->log_fd, log, POSTGRES_RIG_LOG_BYTES - 1, 0);
    assert_true(size >= 0);
    log[size] = '\0';
    bool has = strstr(log, text) != NULL;
    free(log);
    return has;
}

// ---- subscriptions ----

static void keep(struct postgres_sub *sub, struct weir_str position) {
    pthread_mutex_lock(&sub->lock);
    REQUIRE(position.size <= sizeof sub->position);
    if (position.size > 0) {
        memcpy(sub->position, position.data, position.size);
        sub->position_size = position.size;
    }
    pthread_mutex_unlock(&sub->lock);
}

static weir_status offer(void *context, struct weir_event *event) {
    struct postgres_sub *sub = context;
    if (event->is_bookmark) {
        pthread_mutex_lock(&sub->lock);
        sub->bookmarks++;
        pthread_mutex_unlock(&sub->lock);
    } else {
        struct weir_sink sink = test_sink_of(&sub->sink);
        weir_status status = sink.offer(sink.context, event);
        if (status != WEIR_OK) {
            return status;
        }
    }
    if (sub->acknowledges) {
        keep(sub, event->position);
        pthread_mutex_lock(&sub->lock);
        struct weir_watch *watch = sub->watch; // NULL where `watch` has not returned yet
        pthread_mutex_unlock(&sub->lock);
        if (watch) {
            provider()->acknowledge(watch, event);
        }
    }
    return WEIR_OK;
}

static weir_status remember(void *context, struct weir_str key, struct weir_str position) {
    REQUIRE(key.size == 0);
    keep(context, position);
    return WEIR_OK;
}

void postgres_sub_init(struct postgres_sub *sub, struct postgres_rig *rig, const char *name,
                       const char *pattern) {
    *sub =
        (struct postgres_sub){.rig = rig, .name = name, .pattern = pattern, .acknowledges = true};
    pthread_mutex_init(&sub->lock, NULL);
    test_sink_init(&sub->sink);
}

void postgres_sub_finish(struct postgres_sub *sub) {
    postgres_sub_end(sub);
    test_sink_finish(&sub->sink);
    pthread_mutex_destroy(&sub->lock);
}

weir_status postgres_sub_try_begin(struct postgres_sub *sub, struct weir_error *err) {
    struct weir_watch *watch;
    char position[WEIR_POSITION_BYTES_MAX];
    memcpy(position, sub->position, sub->position_size);
    const struct weir_resume resume = {.position = {position, sub->position_size}};
    const struct weir_watch_args args = {
        .pattern = weir_pattern_of(weir_str_of(sub->pattern)),
        .sink = {.offer = offer, .remember = sub->name ? remember : NULL, .context = sub},
        .name = sub->name,
        .event_bytes_max = POSTGRES_RIG_EVENT_BYTES_MAX,
        .resume = sub->position_size > 0 ? &resume : NULL,
    };
    weir_status status = provider()->watch(sub->rig->resource, &args, &watch, err);
    if (status == WEIR_OK) {
        pthread_mutex_lock(&sub->lock);
        sub->watch = watch;
        pthread_mutex_unlock(&sub->lock);
    }
    return status;
}

void postgres_sub_begin(struct postgres_sub *sub) {
    struct weir_error err;
    assert_ok(postgres_sub_try_begin(sub, &err));
}

void postgres_sub_end(struct postgres_sub *sub) {
    provider()->unwatch(sub->watch);
    pthread_mutex_lock(&sub->lock);
    sub->watch = NULL;
    pthread_mutex_unlock(&sub->lock);
}

size_t postgres_sub_bookmarks(struct postgres_sub *sub) {
    pthread_mutex_lock(&sub->lock);
    size_t bookmarks = sub->bookmarks;
    pthread_mutex_unlock(&sub->lock);
    return bookmarks;
}

void postgres_sub_expect_json(struct postgres_sub *sub, const char *type, const char *key,
                              const char *data) {
    const struct weir_event *event = test_sink_next(&sub->sink);
    struct weir_error err;
    char came[4096];
    snprintf(came, sizeof came, "%.*s %.*s %.*s", WEIR_STR_ARG(event->fields.ty),
             WEIR_STR_ARG(event->key), WEIR_STR_ARG(event->fields.data.value.bytes));
    char wanted[4096];
    snprintf(wanted, sizeof wanted, "%s %s %s", type, key, data);
    assert_string_equal(came, wanted);
    assert_ok(weir_event_fields_check(&event->fields, &err));
}

const struct weir_event *postgres_sub_expect(struct postgres_sub *sub, const char *key,
                                             const char *data) {
    const struct weir_event *event = test_sink_next(&sub->sink);
    assert_false(event->is_gap);
    assert_str_equal(event->key, key);
    assert_str_equal(event->fields.data.value.bytes, data);
    return event;
}

void postgres_sub_expect_gap(struct postgres_sub *sub, const char *reason) {
    const struct weir_event *event = test_sink_next(&sub->sink);
    char data[1024];
    snprintf(data, sizeof data, "%.*s", WEIR_STR_ARG(event->fields.data.value.bytes));
    if (!event->is_gap || !strstr(data, reason)) {
        fail_msg("wanted a gap because of \"%s\", came \"%.*s\" %s", reason,
                 WEIR_STR_ARG(event->key), data);
    }
}
