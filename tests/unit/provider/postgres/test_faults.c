// SPDX-License-Identifier: Apache-2.0
//
// Servers that are away, stand still, or are none; and sinks without room.
#include "support/postgres_rig.h"
#include "unit/test.h"

#include "provider/postgres/postgres.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct weir_limits limits = {.value_bytes_max = 64 << 20, .until_ns = INT64_MAX};

static void open_store(struct postgres_rig *rig) {
    postgres_rig_set(&rig->options.kv, "kv");
    postgres_rig_open(rig);
}

static void set(struct postgres_rig *rig, const char *key, struct weir_str value) {
    struct weir_error err;
    assert_ok(rig->resource->provider->set(rig->resource, weir_str_of(key), value, &limits, &err));
}

// ---- servers ----

static void a_server_that_stands_still_ends_each_call(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub, other;
    struct weir_error err;
    struct weir_value value;
    const struct weir_provider *provider = &weir_postgres_provider;
    rig->options.timeout_ns = 300 * WEIR_NS_PER_MS;
    open_store(rig);
    set(rig, "k", WEIR_STR("1"));
    postgres_sub_init(&sub, rig, "sub", "*");
    postgres_sub_begin(&sub);
    postgres_sub_init(&other, rig, "other", "k");
    test_server_pause(rig->server);
    int64_t began_ns = weir_clock_monotonic_ns();
    assert_int_equal(provider->get(rig->resource, WEIR_STR("k"), &limits, &value, &err),
                     WEIR_UNAVAILABLE);
    assert_int_equal(provider->set(rig->resource, WEIR_STR("k"), WEIR_STR("2"), &limits, &err),
                     WEIR_UNAVAILABLE);
    assert_int_equal(postgres_sub_try_begin(&other, &err), WEIR_UNAVAILABLE);
    assert_in_range(weir_clock_monotonic_ns() - began_ns, 0, 20 * WEIR_NS_PER_S);
    const struct weir_limits soon = {.until_ns = weir_clock_monotonic_ns() + WEIR_NS_PER_MS};
    assert_int_equal(provider->get(rig->resource, WEIR_STR("k"), &soon, &value, &err),
                     WEIR_UNAVAILABLE);
    test_server_continue(rig->server);
    set(rig, "k", WEIR_STR("3"));
    test_sink_skip_to_set(&sub.sink, "k", "3");
    postgres_sub_begin(&other);
    set(rig, "k", WEIR_STR("4"));
    test_sink_skip_to_set(&other.sink, "k", "4");
    postgres_sub_finish(&sub);
    postgres_sub_finish(&other);
}

static void a_resource_closes_while_its_server_stands_still(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    open_store(rig);
    postgres_sub_init(&sub, rig, "sub", "*");
    postgres_sub_begin(&sub);
    test_server_pause(rig->server);
    int64_t began_ns = weir_clock_monotonic_ns();
    postgres_sub_finish(&sub);
    postgres_rig_close(rig);
    assert_in_range(weir_clock_monotonic_ns() - began_ns, 0, 2 * WEIR_NS_PER_S);
    test_server_continue(rig->server);
}

static void calls_go_on_after_the_server_was_restarted(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    struct weir_value value;
    struct weir_error err;
    open_store(rig);
    set(rig, "k", WEIR_STR("1"));
    for (int i = 0; i < 3; i++) {
        test_server_restart(rig->server);
        // The connection that is free was closed by the server: that is noticed before it is used.
        assert_ok(
            rig->resource->provider->get(rig->resource, WEIR_STR("k"), &limits, &value, &err));
        free(value.data);
    }
    test_server_halt(rig->server);
    assert_int_equal(
        rig->resource->provider->get(rig->resource, WEIR_STR("k"), &limits, &value, &err),
        WEIR_UNAVAILABLE);
    assert_message_has(&err, "cannot connect to 127.0.0.1");
    test_server_restart(rig->server);
}

// It ends sessions, and then waits until what it has sent is confirmed; which it is not.
static void an_orderly_stop_waits_for_nobody(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub, other;
    open_store(rig);
    for (int i = 0; i < 3; i++) {
        bool has_room = i == 1;
        set(rig, "k", WEIR_STR("before"));
        postgres_sub_init(&sub, rig, "sub", "*");
        postgres_sub_init(&other, rig, NULL, "*");
        sub.acknowledges = i == 2;
        postgres_sub_begin(&sub);
        postgres_sub_begin(&other);
        test_sink_set_room(&sub.sink, has_room ? SIZE_MAX : 1, WEIR_AGAIN);
        set(rig, "k", WEIR_STR("1"));
        set(rig, "k", WEIR_STR("2"));
        test_sink_await_offers(&sub.sink, 2);
        int64_t began_ns = weir_clock_monotonic_ns();
        test_server_halt(rig->server);
        assert_in_range(weir_clock_monotonic_ns() - began_ns, 0, 5 * WEIR_NS_PER_S);
        test_server_restart(rig->server);
        test_sink_set_room(&sub.sink, SIZE_MAX, WEIR_AGAIN);
        rig->resource->provider->resume(sub.watch);
        set(rig, "k", WEIR_STR("3"));
        test_sink_expect_set(&sub.sink, "k", "1");
        test_sink_expect_set(&sub.sink, "k", "2");
        test_sink_expect_set(&sub.sink, "k", "3");
        postgres_sub_finish(&sub);
        postgres_sub_finish(&other);
    }
}

// A server with a short wal_sender_timeout asks for an answer twice in it.
static void a_server_that_asks_is_told_at_once(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    rig->options.heartbeat_ns = 3600 * WEIR_NS_PER_S;
    postgres_rig_sql(rig, "ALTER SYSTEM SET wal_sender_timeout = '400ms'");
    postgres_rig_sql(rig, "SELECT pg_reload_conf()");
    open_store(rig);
    postgres_sub_init(&sub, rig, "sub", "*");
    postgres_sub_begin(&sub);
    set(rig, "k", WEIR_STR("1"));
    test_sink_expect_set(&sub.sink, "k", "1");
    postgres_rig_sql(rig, "CREATE TABLE place AS SELECT pg_current_wal_insert_lsn() AS lsn");
    WAIT_UNTIL(postgres_rig_is(rig,
                               "SELECT (confirmed_flush_lsn >= lsn)::text FROM "
                               "pg_replication_slots, place",
                               "true"));
    postgres_rig_sql(rig, "ALTER SYSTEM RESET wal_sender_timeout");
    postgres_rig_sql(rig, "SELECT pg_reload_conf()");
    postgres_sub_finish(&sub);
}

// Something that listens, and answers each connection with `text`, or with nothing.
struct impostor {
    int fd;
    const char *text;
    pthread_t thread;
};

static void *answer(void *argument) {
    const struct impostor *impostor = argument;
    for (int fd; (fd = accept(impostor->fd, NULL, NULL)) >= 0;) {
        char asked[64];
        if (impostor->text) {
            ssize_t done = recv(fd, asked, sizeof asked, 0);
            done = send(fd, impostor->text, strlen(impostor->text), MSG_NOSIGNAL);
            (void)done;
            close(fd);
        } // else it stays open until the program ends
    }
    return NULL;
}

static void what_is_no_server_is_refused(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    const char *texts[] = {"HTTP/1.1 400 Bad Request\r\n\r\n", "E\x7f\xff\xff\xff", "R\1\1\1\1",
                           "N", NULL};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        static struct postgres_sub sub;
        struct impostor impostor = {.text = texts[i]};
        struct sockaddr_in place = {.sin_family = AF_INET,
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof place;
        struct weir_error err;
        char address[64];
        impostor.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(impostor.fd, (struct sockaddr *)&place, sizeof place), 0);
        assert_int_equal(listen(impostor.fd, 8), 0);
        getsockname(impostor.fd, (struct sockaddr *)&place, &size);
        assert_int_equal(pthread_create(&impostor.thread, NULL, answer, &impostor), 0);
        snprintf(address, sizeof address, "127.0.0.1:%u/db", ntohs(place.sin_port));
        postgres_rig_set(&rig->options.address, address);
        rig->options.timeout_ns = 300 * WEIR_NS_PER_MS;
        postgres_rig_open(rig);
        postgres_sub_init(&sub, rig, "sub", "t");
        assert_int_equal(postgres_sub_try_begin(&sub, &err), WEIR_UNAVAILABLE);
        assert_message_has(&err, "cannot connect");
        postgres_sub_finish(&sub);
        postgres_rig_close(rig);
        shutdown(impostor.fd, SHUT_RDWR);
        pthread_join(impostor.thread, NULL);
        close(impostor.fd);
    }
}

static void a_host_that_is_not_found_is_told(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    struct weir_error err;
    struct weir_value value;
    postgres_rig_set(&rig->options.address, "no-such-host.invalid/db");
    rig->options.timeout_ns = WEIR_NS_PER_S;
    open_store(rig);
    assert_int_equal(
        rig->resource->provider->get(rig->resource, WEIR_STR("k"), &limits, &value, &err),
        WEIR_UNAVAILABLE);
    assert_message_has(&err, "no-such-host.invalid");
}

// ---- sinks and sizes ----

static size_t resident_bytes(void) {
    char text[128] = "";
    FILE *file = fopen("/proc/self/statm", "re");
    assert_non_null(file);
    size_t pages = 0;
    assert_non_null(fgets(text, sizeof text, file));
    fclose(file);
    assert_int_equal(sscanf(text, "%*u %zu", &pages), 1);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void a_slow_sink_takes_no_memory(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct postgres_sub sub;
    enum { ROWS = 50000, MEBIBYTE = 1 << 20 };
    postgres_rig_sql(rig, "CREATE TABLE t (id int PRIMARY KEY, v text)");
    postgres_rig_open(rig);
    postgres_sub_init(&sub, rig, "sub", "t");
    postgres_sub_begin(&sub);
    test_sink_set_room(&sub.sink, 0, WEIR_AGAIN);
    postgres_rig_sql(rig, "INSERT INTO t VALUES (0)");
    test_sink_await_offers(&sub.sink, 1);
    size_t before = resident_bytes();
    for (int i = 0; i < 10; i++) {
        char sql[128];
        snprintf(sql, sizeof sql,
                 "INSERT INTO t SELECT g, repeat('x', 1800) FROM generate_series(%d, %d) g",
                 1 + i * ROWS / 10, (i + 1) * ROWS / 10);
        postgres_rig_sql(rig, sql);
    }
    assert_int_equal(test_sink_offers(&sub.sink), 1);
    assert_in_range(resident_bytes(), 0, before + 16 * MEBIBYTE); // they are 90 MiB
    test_sink_set_room(&sub.sink, SIZE_MAX, WEIR_AGAIN);
    rig->resource->provider->resume(sub.watch);
    test_sink_await_count(&sub.sink, ROWS + 1);
    for (int i = 0; i <= ROWS; i++) {
        char key[16];
        snprintf(key, sizeof key, "t/%d", i);
        assert_str_equal(test_sink_next(&sub.sink)->key, key);
    }
    postgres_sub_finish(&sub);
}

static void a_large_value_goes_through(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    struct test_sink sink;
    struct weir_watch *watch;
    struct weir_value got;
    struct weir_error err;
    size_t size = 8 << 20;
    char *large = malloc(size);
    assert_non_null(large);
    for (size_t i = 0; i < size; i++) {
        large[i] = (char)(i * 2654435761U >> 13);
    }
    open_store(rig);
    test_sink_init(&sink);
    const struct weir_watch_args args = {.pattern = weir_pattern_of(WEIR_STR("*")),
                                         .sink = test_sink_of(&sink),
                                         .event_bytes_max = 16 << 20};
    assert_ok(rig->resource->provider->watch(rig->resource, &args, &watch, &err));
    set(rig, "large", (struct weir_str){large, size});
    const struct weir_event *event = test_sink_next(&sink);
    assert_int_equal(event->fields.data.value.bytes.size, size);
    assert_memory_equal(event->fields.data.value.bytes.data, large, size);
    assert_ok(rig->resource->provider->get(rig->resource, WEIR_STR("large"), &limits, &got, &err));
    assert_int_equal(got.size, size);
    assert_memory_equal(got.data, large, size);
    free(got.data);
    free(large);
    rig->resource->provider->unwatch(watch);
    test_sink_finish(&sink);
}

static void ten_thousand_watches_share_one_connection(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    enum { WATCHES = 10000 };
    struct weir_watch **watches = calloc(WATCHES, sizeof *watches);
    struct test_sink sink;
    struct weir_error err;
    char key[32];
    assert_non_null(watches);
    test_sink_init(&sink);
    open_store(rig);
    for (int i = 0; i < WATCHES; i++) {
        snprintf(key, sizeof key, "key/%d%s", i, i % 10 ? "" : "/*");
        const struct weir_watch_args args = {.pattern = weir_pattern_of(weir_str_of(key)),
                                             .sink = test_sink_of(&sink),
                                             .event_bytes_max = 1024};
        assert_ok(rig->resource->provider->watch(rig->resource, &args, &watches[i], &err));
    }
    assert_true(postgres_rig_is(rig, "SELECT count(*)::text FROM pg_stat_replication", "1"));
    assert_true(postgres_rig_is(rig,
                                "SELECT (count(*) < 5)::text FROM pg_stat_activity WHERE "
                                "application_name = 'weir'",
                                "true"));
    for (int i = 1; i < WATCHES; i += 1111) {
        snprintf(key, sizeof key, "key/%d%s", i, i % 10 ? "" : "/x");
        set(rig, key, WEIR_STR("v"));
        test_sink_expect_set(&sink, key, "v");
    }
    assert_int_equal(test_sink_offers(&sink), test_sink_count(&sink));
    for (int i = 0; i < WATCHES; i++) {
        rig->resource->provider->unwatch(watches[i]);
    }
    free(watches);
    test_sink_finish(&sink);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, postgres_rig_setup, postgres_rig_teardown)
    const struct CMUnitTest cases[] = {
        CASE(a_server_that_stands_still_ends_each_call),
        CASE(a_resource_closes_while_its_server_stands_still),
        CASE(calls_go_on_after_the_server_was_restarted),
        CASE(an_orderly_stop_waits_for_nobody),
        CASE(a_server_that_asks_is_told_at_once),
        CASE(what_is_no_server_is_refused),
        CASE(a_host_that_is_not_found_is_told),
        CASE(a_slow_sink_takes_no_memory),
        CASE(a_large_value_goes_through),
        CASE(ten_thousand_watches_share_one_connection),
    };
    return cmocka_run_group_tests_name("PostgreSQL, faults", cases, NULL, NULL);
}
