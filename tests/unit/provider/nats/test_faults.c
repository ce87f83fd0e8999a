// SPDX-License-Identifier: Apache-2.0
//
// Servers that go, stand still, lose what they had or are none; sinks without room; many watches.
#include "unit/test.h"

#include "base/clock.h"
#include "provider/nats/resource.h"
#include "support/folder.h"
#include "unit/provider/nats/nats_rig.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#define NAME "on-order"

static struct nats_rig *rig_of(void **state) {
    struct nats_rig *rig = *state;
    if (!rig->foreign) {
        skip();
    }
    return rig;
}

static void acknowledge_from(struct nats_rig *rig, size_t from) {
    for (size_t i = from; i < test_sink_count(&rig->sink); i++) {
        weir_nats_provider.acknowledge(rig->watch, rig->sink.events[i]);
    }
}

// ---- servers that go

static void a_server_that_is_killed_and_comes_back_loses_nothing(void **state) {
    struct nats_rig *rig = rig_of(state);
    enum { ROUNDS = 5, CHANGES = 20 };
    char key[32];
    bool is_told[ROUNDS * CHANGES] = {false};
    rig->watch = nats_rig_watch(rig->resource, "*", NAME, false, &rig->sink);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < CHANGES; i++) {
            snprintf(key, sizeof key, "k%d", round * CHANGES + i);
            nats_rig_put(rig, key, "v");
            if (i == CHANGES / 2) {
                acknowledge_from(rig, 0);
            }
        }
        test_server_kill(rig->server);
        WAIT_UNTIL(!nats_rig_is_connected(rig));
        acknowledge_from(rig, 0); // what is durable meanwhile
        test_server_restart(rig->server);
        WAIT_UNTIL(nats_rig_is_connected(rig));
    }
    for (size_t left = ROUNDS * CHANGES; left > 0;) {
        const struct weir_event *event = test_sink_next(&rig->sink);
        assert_false(event->is_gap);
        snprintf(key, sizeof key, "%.*s", WEIR_STR_ARG(event->key));
        int number = atoi(key + 1);
        assert_in_range(number, 0, ROUNDS * CHANGES - 1);
        left -= !is_told[number];
        is_told[number] = true;
    }
    struct weir_health health;
    weir_nats_provider.health(rig->resource, &health);
    assert_int_equal(health.reconnects, ROUNDS);
    assert_true(nats_rig_has_logged(rig, "connected again"));
    // A server that is killed may forget an acknowledgement, and then tells again.
    WAIT_UNTIL((acknowledge_from(rig, 0),
                nats_rig_consumer(rig, "KV_" NATS_RIG_BUCKET, NAME, "num_ack_pending") == 0));
}

static void a_server_that_has_lost_everything_is_a_gap(void **state) {
    struct nats_rig *rig = rig_of(state);
    rig->watch = nats_rig_watch(rig->resource, "*", NAME, false, &rig->sink);
    nats_rig_put(rig, "a", "1");
    test_sink_expect_set(&rig->sink, "a", "1");
    acknowledge_from(rig, 0);
    test_server_wipe(rig->server);
    WAIT_UNTIL(nats_rig_has_logged(rig, "a watch cannot go on"));
    nats_rig_make_bucket(rig);
    nats_rig_put(rig, "b", "1");
    weir_nats_provider.acknowledge(rig->watch,
                                   (struct weir_event *)(uintptr_t)nats_rig_expect_gap(&rig->sink));
    const struct weir_event *event = test_sink_expect_set(&rig->sink, "b", "1");
    assert_str_equal(test_extension(event, WEIR_EXTENSION_SNAPSHOT), "true");
    nats_rig_put(rig, "c", "1");
    test_sink_expect_set(&rig->sink, "c", "1");
    assert_true(nats_rig_has_logged(rig, "a watch goes on again"));
}

static void a_server_that_stands_still_goes_on(void **state) {
    struct nats_rig *rig = rig_of(state);
    struct weir_error err;
    struct weir_value got;
    weir_nats_provider.close(rig->resource);
    nats_rig_option(rig, "timeout", "300ms");
    nats_rig_open(rig);
    rig->watch = nats_rig_watch(rig->resource, "*", NAME, false, &rig->sink);
    nats_rig_put(rig, "a", "1");
    test_sink_expect_set(&rig->sink, "a", "1");
    assert_ok(weir_nats_provider.get(rig->resource, WEIR_STR("a"), &nats_rig_limits, &got, &err));
    free(got.data);
    test_server_pause(rig->server);
    int64_t began_ns = weir_clock_monotonic_ns();
    assert_int_equal(
        weir_nats_provider.get(rig->resource, WEIR_STR("a"), &nats_rig_limits, &got, &err),
        WEIR_UNAVAILABLE);
    assert_int_equal(
        weir_nats_provider.set(rig->resource, WEIR_STR("a"), WEIR_STR("2"), &nats_rig_limits, &err),
        WEIR_UNAVAILABLE);
    assert_in_range(weir_clock_monotonic_ns() - began_ns, 0, 5 * WEIR_NS_PER_S);
    // The connection of the watches is given up when nothing has come for a while.
    WAIT_UNTIL(!nats_rig_is_connected(rig));
    struct weir_health health;
    weir_nats_provider.health(rig->resource, &health);
    assert_true(strlen(health.reason) > 0);
    test_server_continue(rig->server);
    WAIT_UNTIL(nats_rig_is_connected(rig));
    nats_rig_put(rig, "b", "1");
    test_sink_skip_to_set(&rig->sink, "b", "1");
}

static void closing_does_not_wait_for_a_server_that_stands_still(void **state) {
    struct nats_rig *rig = rig_of(state);
    rig->watch = nats_rig_watch(rig->resource, "*", NAME, false, &rig->sink);
    nats_rig_put(rig, "a", "1");
    test_sink_expect_set(&rig->sink, "a", "1");
    test_server_pause(rig->server);
    acknowledge_from(rig, 0);
    int64_t began_ns = weir_clock_monotonic_ns();
    weir_nats_provider.unwatch(rig->watch);
    rig->watch = NULL;
    weir_nats_provider.close(rig->resource);
    rig->resource = NULL;
    assert_in_range(weir_clock_monotonic_ns() - began_ns, 0, 3 * WEIR_NS_PER_S);
    test_server_continue(rig->server);
}

static void a_watch_that_goes_on_needs_no_server(void **state) {
    struct nats_rig *rig = rig_of(state);
    struct weir_error err;
    rig->watch = nats_rig_watch(rig->resource, "*", NAME, false, &rig->sink);
    weir_nats_provider.unwatch(rig->watch);
    rig->watch = NULL;
    nats_rig_reopen(rig);
    nats_rig_put(rig, "a", "1");
    test_server_kill(rig->server);
    struct weir_watch *fresh = NULL;
    int64_t began_ns = weir_clock_monotonic_ns();
    assert_int_equal(
        nats_rig_try_watch(rig->resource, "*", "other", false, &rig->sink, &fresh, &err),
        WEIR_UNAVAILABLE);
    assert_message_has(&err, "cannot connect to NATS at 127.0.0.1:");
    assert_in_range(weir_clock_monotonic_ns() - began_ns, 0, 10 * WEIR_NS_PER_S);
    rig->watch = nats_rig_watch(rig->resource, "*", NAME, true, &rig->sink);
    assert_false(nats_rig_is_connected(rig));
    test_server_restart(rig->server);
    test_sink_expect_set(&rig->sink, "a", "1");
}

static void reading_survives_a_restart(void **state) {
    struct nats_rig *rig = rig_of(state);
    struct weir_error err;
    struct weir_value got;
    for (int i = 0; i < 3; i++) {
        assert_ok(weir_nats_provider.set(rig->resource, WEIR_STR("a"), WEIR_STR("v"),
                                         &nats_rig_limits, &err));
        test_server_restart(rig->server);
        assert_ok(
            weir_nats_provider.get(rig->resource, WEIR_STR("a"), &nats_rig_limits, &got, &err));
        free(got.data);
    }
}

// ---- servers that are none

// A server that greets and then does what a test wants.
struct impostor {
    int fd;
    uint16_t port;
    const char *greeting; // sent to everyone
    bool floods;          // and then bytes without an end
    pthread_t thread;
};

static void *impostor_main(void *argument) {
    struct impostor *impostor = argument;
    int client = -1, last;
    while ((last = accept4(impostor->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        if (client >= 0) {
            close(client);
        }
        client = last;
        ssize_t sent = send(client, impostor->greeting, strlen(impostor->greeting), MSG_NOSIGNAL);
        char noise[4096];
        memset(noise, 'x', sizeof noise);
        while (impostor->floods && sent > 0) {
            sent = send(client, noise, sizeof noise, MSG_NOSIGNAL);
        }
    }
    if (client >= 0) {
        close(client);
    }
    return NULL;
}

static void impostor_start(struct impostor *impostor) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    impostor->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(impostor->fd >= 0);
    assert_int_equal(bind(impostor->fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(impostor->fd, 16), 0);
    assert_int_equal(getsockname(impostor->fd, (struct sockaddr *)&address, &size), 0);
    impostor->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&impostor->thread, NULL, impostor_main, impostor), 0);
}

static void impostor_stop(struct impostor *impostor) {
    shutdown(impostor->fd, SHUT_RDWR);
    pthread_join(impostor->thread, NULL);
    close(impostor->fd);
}

static struct weir_resource *open_on(uint16_t port, const char *timeout) {
    struct weir_error err;
    struct weir_nats_options options = {0};
    struct nats_rig rig = {0};
    struct weir_resource *resource = NULL;
    char server[32];
    assert_ok(weir_options_init(&weir_nats_option_table, &options, &err));
    rig.options = options;
    snprintf(server, sizeof server, "127.0.0.1:%u", port);
    nats_rig_option(&rig, "server", server);
    nats_rig_option(&rig, "bucket", NATS_RIG_BUCKET);
    nats_rig_option(&rig, "timeout", timeout);
    struct weir_resource_args args = {.name = "shop", .options = &rig.options};
    assert_ok(weir_nats_provider.open(&args, &resource, &err));
    weir_options_finish(&weir_nats_option_table, &rig.options);
    return resource;
}

#define INFO_LINE                                                               \
    "INFO {\"server_id\":\"x\",\"version\":\"2.9.10\",\"max_payload\":1048576," \
    "\"headers\":true,\"proto\":1}\r\n"

static void what_is_no_server_is_an_error(void **state) {
    (void)state;
    static const struct {
        const char *greeting, *message;
        bool floods;
    } cases[] = {
        {"HTTP/1.1 400 Bad Request\r\n\r\n", "is no NATS server", false},
        {"", "does not answer", false},        // libnats waits for ever here ...
        {INFO_LINE, "does not answer", false}, // ... and takes all memory here
        {"INFO {", "does not answer", false},
        {"INFO {\r\n", "no JSON", false},
        {"INFO ", "is no NATS server", true},
        {INFO_LINE "-ERR 'Authorization Violation'\r\n", "Authorization Violation", false},
        {INFO_LINE "MSG a 1 999999999999\r\n", "999999999999 bytes", false},
        {INFO_LINE "MSG a 1 1000000\r\nx", "does not answer", false},
        {INFO_LINE "MSG a 1 18446744073709551616\r\n", "is no NATS server", false},
        {INFO_LINE "HMSG a 1 5 3\r\nxxx\r\n", "is no NATS server", false},
        {INFO_LINE "MSG a 1 3\r\nxxxxx\r\n", "without an end", false},
        {"INFO {\"tls_required\":true}\r\nx", "before TLS", false},
        {"INFO {\"tls_required\":true}\r\n", "TLS", false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct impostor impostor = {.greeting = cases[i].greeting, .floods = cases[i].floods};
        struct weir_error err;
        struct weir_value got;
        struct test_sink sink;
        struct weir_watch *none = NULL;
        test_sink_init(&sink);
        impostor_start(&impostor);
        struct weir_resource *resource = open_on(impostor.port, "200ms");
        int64_t began_ns = weir_clock_monotonic_ns();
        weir_status status =
            weir_nats_provider.get(resource, WEIR_STR("a"), &nats_rig_limits, &got, &err);
        assert_true(status == WEIR_UNAVAILABLE || status == WEIR_INVALID || status == WEIR_DENIED);
        assert_message_has(&err, cases[i].message);
        assert_int_not_equal(nats_rig_try_watch(resource, "*", NAME, false, &sink, &none, &err),
                             WEIR_OK);
        assert_null(none);
        weir_nats_provider.close(resource);
        assert_in_range(weir_clock_monotonic_ns() - began_ns, 0, 5 * WEIR_NS_PER_S);
        impostor_stop(&impostor);
        test_sink_finish(&sink);
    }
}

static void no_server_is_an_error_that_names_it(void **state) {
    (void)state;
    struct weir_error err;
    struct weir_value got;
    struct weir_resource *resource = open_on(1, "1s");
    assert_int_equal(weir_nats_provider.get(resource, WEIR_STR("a"), &nats_rig_limits, &got, &err),
                     WEIR_UNAVAILABLE);
    assert_message_has(&err, "cannot connect to NATS at 127.0.0.1:1: Connection refused");
    weir_nats_provider.close(resource);
}

// ---- sinks, and many watches

static void a_slow_sink_keeps_memory_flat_and_loses_nothing(void **state) {
    struct nats_rig *rig = rig_of(state);
    enum { MESSAGES = 3000, BYTES = 20000 };
    char *payload = malloc(BYTES + 1);
    assert_non_null(payload);
    memset(payload, 'x', BYTES);
    payload[BYTES] = '\0';
    rig->watch = nats_rig_watch(rig->resource, "*", NAME, false, &rig->sink);
    test_sink_set_room(&rig->sink, 0, WEIR_AGAIN);
    nats_rig_publish(rig, "shop.k", "first");
    test_sink_await_offers(&rig->sink, 1);
    for (int i = 0; i < MESSAGES; i++) { // 60 MB
        snprintf(payload, 16, "%d", i);
        payload[strlen(payload)] = ' ';
        nats_rig_publish(rig, "shop.k", payload);
    }
    // All of it is at the server, and little of it here: two requests' worth.
    uint64_t here = nats_rig_consumer(rig, NATS_RIG_STREAM, NAME, "num_ack_pending");
    assert_in_range(here, 1, 2 * WEIR_NATS_BATCH_BYTES_MAX / BYTES + 1);
    assert_int_equal(nats_rig_consumer(rig, NATS_RIG_STREAM, NAME, "num_pending"),
                     MESSAGES + 1 - here);
    assert_int_equal(test_sink_offers(&rig->sink), 1);
    test_sink_set_room(&rig->sink, SIZE_MAX, WEIR_AGAIN);
    weir_nats_provider.resume(rig->watch);
    nats_rig_expect_message(&rig->sink, "k", "first");
    for (int i = 0; i < MESSAGES; i++) {
        const struct weir_event *event = test_sink_next(&rig->sink);
        assert_int_equal(event->fields.data.value.bytes.size, BYTES);
        char number[16];
        int digits = snprintf(number, sizeof number, "%d ", i);
        assert_memory_equal(event->fields.data.value.bytes.data, number, (size_t)digits);
        weir_nats_provider.acknowledge(rig->watch, (struct weir_event *)(uintptr_t)event);
    }
    free(payload);
}

static void many_small_messages_are_told_in_order(void **state) {
    struct nats_rig *rig = rig_of(state);
    enum { MESSAGES = 20000, AT_ONCE = 1000 };
    char payload[16];
    rig->watch = nats_rig_watch(rig->resource, "*", NAME, false, &rig->sink);
    test_sink_set_room(&rig->sink, 0, WEIR_AGAIN);
    for (int i = 0; i < MESSAGES;) {
        json_t *messages = json_array();
        for (int end = i + AT_ONCE; i < end; i++) {
            snprintf(payload, sizeof payload, "%d", i);
            json_array_append_new(messages, json_pack("{s:s, s:o}", "subject", "shop.k", "payload",
                                                      test_json_bytes(weir_str_of(payload))));
        }
        json_decref(test_foreign_call(
            rig->foreign, json_pack("{s:s, s:o}", "op", "publish_many", "messages", messages)));
    }
    test_sink_set_room(&rig->sink, SIZE_MAX, WEIR_AGAIN);
    int64_t began_ns = weir_clock_monotonic_ns();
    weir_nats_provider.resume(rig->watch);
    for (int i = 0; i < MESSAGES; i++) {
        snprintf(payload, sizeof payload, "%d", i);
        const struct weir_event *event = nats_rig_expect_message(&rig->sink, "k", payload);
        weir_nats_provider.acknowledge(rig->watch, (struct weir_event *)(uintptr_t)event);
    }
    print_message("# %d messages are told in %lld ms\n", MESSAGES,
                  (long long)((weir_clock_monotonic_ns() - began_ns) / WEIR_NS_PER_MS));
    WAIT_UNTIL(nats_rig_consumer(rig, NATS_RIG_STREAM, NAME, "num_ack_pending") == 0);
}

static void ten_thousand_watches_are_one_connection(void **state) {
    struct nats_rig *rig = rig_of(state);
    enum { WATCHES = 10000 };
    static struct weir_watch *watches[WATCHES];
    char key[24];
    struct weir_watch *first = nats_rig_watch(rig->resource, "none", NULL, false, &rig->sink);
    size_t fds = test_count_fds(), threads = test_count_threads();
    int64_t began_ns = weir_clock_monotonic_ns();
    for (int i = 0; i < WATCHES; i++) {
        snprintf(key, sizeof key, "k.%d", i);
        watches[i] = nats_rig_watch(rig->resource, key, NULL, false, &rig->sink);
    }
    print_message("# 10,000 watches begin in %lld ms\n",
                  (long long)((weir_clock_monotonic_ns() - began_ns) / WEIR_NS_PER_MS));
    assert_int_equal(test_count_fds(), fds);
    assert_int_equal(test_count_threads(), threads);
    began_ns = weir_clock_monotonic_ns();
    for (int i = 0; i < 200; i++) {
        snprintf(key, sizeof key, "k.%d", i * 37);
        nats_rig_put(rig, key, "v");
        test_sink_expect_set(&rig->sink, key, "v");
    }
    print_message("# 200 changes are told in %lld ms\n",
                  (long long)((weir_clock_monotonic_ns() - began_ns) / WEIR_NS_PER_MS));
    // And all are there again when the server was away.
    test_server_kill(rig->server);
    test_server_restart(rig->server);
    began_ns = weir_clock_monotonic_ns();
    for (int i = 0; i < 200; i++) {
        snprintf(key, sizeof key, "k.%d", i * 41);
        nats_rig_put(rig, key, "w");
    }
    for (int i = 0; i < 200; i++) {
        test_sink_next(&rig->sink);
    }
    print_message("# 10,000 watches go on in %lld ms\n",
                  (long long)((weir_clock_monotonic_ns() - began_ns) / WEIR_NS_PER_MS));
    for (int i = 0; i < WATCHES; i++) {
        weir_nats_provider.unwatch(watches[i]);
    }
    weir_nats_provider.unwatch(first);
}

int main(void) {
#define BUCKET_CASE(name) \
    cmocka_unit_test_setup_teardown(name, nats_rig_setup_bucket, nats_rig_teardown)
    const struct CMUnitTest tests[] = {
        BUCKET_CASE(a_server_that_is_killed_and_comes_back_loses_nothing),
        BUCKET_CASE(a_server_that_has_lost_everything_is_a_gap),
        BUCKET_CASE(a_server_that_stands_still_goes_on),
        BUCKET_CASE(closing_does_not_wait_for_a_server_that_stands_still),
        BUCKET_CASE(a_watch_that_goes_on_needs_no_server),
        BUCKET_CASE(reading_survives_a_restart),
        cmocka_unit_test(what_is_no_server_is_an_error),
        cmocka_unit_test(no_server_is_an_error_that_names_it),
        cmocka_unit_test_setup_teardown(a_slow_sink_keeps_memory_flat_and_loses_nothing,
                                        nats_rig_setup_stream, nats_rig_teardown),
        cmocka_unit_test_setup_teardown(many_small_messages_are_told_in_order,
                                        nats_rig_setup_stream, nats_rig_teardown),
        BUCKET_CASE(ten_thousand_watches_are_one_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
