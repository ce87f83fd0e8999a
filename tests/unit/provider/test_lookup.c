// SPDX-License-Identifier: Apache-2.0
//
// Looking up hosts with a resolver that does not answer. This program's getaddrinfo keeps those who
// ask for a name below "slow.invalid" until it is told to let them go, knows one name, and passes
// on all others.
#include "unit/test.h"

#include "provider/hub.h"
#include "provider/lookup.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

static atomic_bool are_kept = true;
static atomic_int kept, let_go;

static int real_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                            struct addrinfo **ret_addresses) {
    void *real = dlsym(RTLD_NEXT, "getaddrinfo");
    int (*function)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    memcpy(&function, &real, sizeof function);
    return function(node, service, hints, ret_addresses);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret_addresses) {
    bool is_numeric = hints && (hints->ai_flags & AI_NUMERICHOST);
    if (is_numeric || !node || !strstr(node, ".invalid")) {
        return real_getaddrinfo(node, service, hints, ret_addresses);
    }
    if (strcmp(node, "known.invalid") == 0) {
        return real_getaddrinfo("192.0.2.7", service, hints, ret_addresses);
    }
    if (strstr(node, "slow.invalid")) {
        atomic_fetch_add(&kept, 1);
        while (atomic_load(&are_kept)) {
            nanosleep(&(struct timespec){.tv_nsec = WEIR_NS_PER_MS}, NULL);
        }
        atomic_fetch_add(&let_go, 1);
        // What was found is nobody's any more.
        return real_getaddrinfo("192.0.2.9", service, hints, ret_addresses);
    }
    return EAI_NONAME;
}

static struct weir_lookups *lookups;

static int make(void **state) {
    (void)state;
    lookups = weir_lookups_create();
    return lookups ? 0 : -1;
}

static int destroy(void **state) {
    (void)state;
    weir_lookups_destroy(lookups);
    return 0;
}

static weir_status look_up(const char *host, const char *port, int64_t within_ms,
                           struct addrinfo **ret_addresses, struct weir_error *err) {
    const struct weir_place place = {.host = host, .port = port};
    const struct weir_waiter waiter = {.until_ns =
                                           weir_clock_monotonic_ns() + within_ms * WEIR_NS_PER_MS};
    return weir_lookup(lookups, &place, &waiter, ret_addresses, err);
}

static void assert_first(const struct addrinfo *addresses, const char *host, const char *port) {
    char got_host[64], got_port[16];
    assert_non_null(addresses);
    assert_int_equal(addresses->ai_socktype, SOCK_STREAM);
    assert_int_equal(getnameinfo(addresses->ai_addr, addresses->ai_addrlen, got_host,
                                 sizeof got_host, got_port, sizeof got_port,
                                 NI_NUMERICHOST | NI_NUMERICSERV),
                     0);
    assert_string_equal(got_host, host);
    assert_string_equal(got_port, port);
}

static void names_and_numbers_are_found(void **state) {
    (void)state;
    const struct {
        const char *host, *port, *found, *found_port;
    } cases[] = {
        {"127.0.0.1", "4222", "127.0.0.1", "4222"},
        {"::1", "6379", "::1", "6379"},
        {"known.invalid", "5432", "192.0.2.7", "5432"},
        {"known.invalid", NULL, "192.0.2.7", "0"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct addrinfo *addresses;
        struct weir_error err;
        assert_int_equal(look_up(cases[i].host, cases[i].port, TEST_WAIT_MS, &addresses, &err),
                         WEIR_OK);
        assert_first(addresses, cases[i].found, cases[i].found_port);
        freeaddrinfo(addresses);
    }
}

static void what_there_is_not_is_told_by_name(void **state) {
    (void)state;
    struct addrinfo *addresses;
    struct weir_error err;
    assert_int_equal(look_up("nowhere.invalid", "1", TEST_WAIT_MS, &addresses, &err),
                     WEIR_UNAVAILABLE);
    assert_null(addresses);
    assert_message_has(&err, "cannot look up the host \"nowhere.invalid\": ");
    assert_message_has(&err, gai_strerror(EAI_NONAME));
    assert_int_equal(look_up("nowhere.invalid", "1", TEST_WAIT_MS, &addresses, NULL),
                     WEIR_UNAVAILABLE);
}

static void a_lookup_is_left_behind(void **state) {
    (void)state;
    struct addrinfo *addresses;
    struct weir_error err;
    int64_t from_ns = weir_clock_monotonic_ns();
    atomic_store(&are_kept, true);
    atomic_store(&kept, 0);
    atomic_store(&let_go, 0);
    assert_int_equal(look_up("slow.invalid", "1", 200, &addresses, &err), WEIR_UNAVAILABLE);
    assert_null(addresses);
    assert_message_has(&err, "\"slow.invalid\": no name server has answered");
    assert_in_range((weir_clock_monotonic_ns() - from_ns) / WEIR_NS_PER_MS, 200, 800);

    // As many as there may be, and no thread more.
    for (int i = 1; i < WEIR_LOOKUPS_MAX; i++) {
        assert_int_equal(look_up("slow.invalid", "1", 0, &addresses, NULL), WEIR_UNAVAILABLE);
    }
    WAIT_UNTIL(atomic_load(&kept) == WEIR_LOOKUPS_MAX);
    assert_int_equal(look_up("known.invalid", "1", TEST_WAIT_MS, &addresses, &err),
                     WEIR_UNAVAILABLE);
    assert_null(addresses);
    assert_message_has(&err, "8 look-ups have not been answered");

    // Who needs no resolver is served, and so is another resource.
    assert_int_equal(look_up("127.0.0.1", "1", TEST_WAIT_MS, &addresses, &err), WEIR_OK);
    freeaddrinfo(addresses);
    struct weir_lookups *first = lookups;
    lookups = weir_lookups_create();
    assert_non_null(lookups);
    assert_int_equal(look_up("known.invalid", "1", TEST_WAIT_MS, &addresses, &err), WEIR_OK);
    freeaddrinfo(addresses);
    weir_lookups_destroy(lookups);
    lookups = first;

    // Those that have ended make room.
    atomic_store(&are_kept, false);
    WAIT_UNTIL(look_up("known.invalid", "1", TEST_WAIT_MS, &addresses, NULL) == WEIR_OK);
    freeaddrinfo(addresses);
    assert_int_equal(atomic_load(&kept), WEIR_LOOKUPS_MAX);
    WAIT_UNTIL(atomic_load(&let_go) == WEIR_LOOKUPS_MAX);
}

// A resource is closed while a name server is silent: nobody waits for it.
static void closing_does_not_wait(void **state) {
    (void)state;
    struct addrinfo *addresses;
    atomic_store(&are_kept, true);
    atomic_store(&let_go, 0);
    assert_int_equal(look_up("slow.invalid", "1", 20, &addresses, NULL), WEIR_UNAVAILABLE);
    weir_lookups_destroy(lookups);
    lookups = NULL;
    assert_int_equal(atomic_load(&let_go), 0);
    atomic_store(&are_kept, false);
    WAIT_UNTIL(atomic_load(&let_go) == 1);
    assert_int_equal(make(NULL), 0);
}

// An answer may come in the moment in which the time is over: either is right, and nothing is lost
// or freed twice.
static void an_answer_at_the_last_moment(void **state) {
    (void)state;
    atomic_store(&are_kept, false);
    for (int i = 0; i < 300; i++) {
        const struct weir_place place = {.host = "known.invalid", .port = "1"};
        const struct weir_waiter waiter = {.until_ns = weir_clock_monotonic_ns() + i * 1000};
        struct addrinfo *addresses;
        weir_status status = weir_lookup(lookups, &place, &waiter, &addresses, NULL);
        assert_true(status == WEIR_OK || status == WEIR_UNAVAILABLE);
        assert_int_equal(status == WEIR_OK, addresses != NULL);
        if (addresses) {
            freeaddrinfo(addresses);
        }
    }
}

// ---- on a hub's thread ----

// One whose watches look up a name as they begin.
struct looker {
    struct weir_resource resource;
    struct weir_hub *hub;
    weir_status status;
    struct weir_error error;
};

static weir_status begin(void *context, struct weir_hub_watch *watch, int64_t until_ns,
                         struct weir_error *err) {
    (void)watch;
    (void)err;
    struct looker *looker = context;
    const struct weir_place place = {.host = "slow.invalid", .port = "1"};
    const struct weir_waiter waiter = {.hub = looker->hub, .until_ns = until_ns};
    struct addrinfo *addresses;
    looker->status = weir_lookup(lookups, &place, &waiter, &addresses, &looker->error);
    return looker->status;
}

static void end(void *context, struct weir_hub_watch *watch) {
    (void)context;
    (void)watch;
}

static size_t wait_for(void *context, struct pollfd ret_fds[static WEIR_HUB_FDS_MAX]) {
    (void)context;
    (void)ret_fds;
    return 0;
}

static int64_t work(void *context, const struct pollfd *fds, size_t count) {
    (void)context;
    (void)fds;
    (void)count;
    return INT64_MAX;
}

static weir_status take(void *context, struct weir_event *event) {
    (void)context;
    (void)event;
    return WEIR_OK;
}

static void *watch_main(void *argument) {
    struct looker *looker = argument;
    const struct weir_watch_args args = {.pattern = weir_pattern_of(WEIR_STR("*")),
                                         .sink = {.offer = take}};
    struct weir_watch *watch;
    assert_int_equal(weir_hub_watch(looker->hub, &args, &watch, NULL), WEIR_STOPPED);
    return NULL;
}

static void a_hub_that_ends_waits_for_nobody(void **state) {
    (void)state;
    static const struct weir_provider provider = {.kind = "looker"};
    static const struct weir_hub_functions functions = {
        .watch_bytes = sizeof(struct weir_hub_watch),
        .begin = begin,
        .end = end,
        .resume = end,
        .wait_for = wait_for,
        .work = work,
    };
    char name[] = "shop";
    struct looker looker = {.resource = {.provider = &provider, .name = name}};
    const struct weir_hub_args args = {
        .resource = &looker.resource, .functions = &functions, .context = &looker};
    pthread_t thread;
    atomic_store(&are_kept, true);
    atomic_store(&kept, 0);
    atomic_store(&let_go, 0);
    assert_int_equal(weir_hub_create(&args, &looker.hub, NULL), WEIR_OK);
    assert_int_equal(pthread_create(&thread, NULL, watch_main, &looker), 0);
    WAIT_UNTIL(atomic_load(&kept) == 1);
    int64_t from_ns = weir_clock_monotonic_ns();
    weir_hub_destroy(looker.hub);
    assert_in_range((weir_clock_monotonic_ns() - from_ns) / WEIR_NS_PER_MS, 0, 2000);
    pthread_join(thread, NULL);
    assert_int_equal(looker.status, WEIR_STOPPED);
    assert_message_has(&looker.error, "\"slow.invalid\" was given up");
    atomic_store(&are_kept, false);
    WAIT_UNTIL(atomic_load(&let_go) == 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_numbers_are_found),
        cmocka_unit_test(what_there_is_not_is_told_by_name),
        cmocka_unit_test(a_lookup_is_left_behind),
        cmocka_unit_test(closing_does_not_wait),
        cmocka_unit_test(an_answer_at_the_last_moment),
        cmocka_unit_test(a_hub_that_ends_waits_for_nobody),
    };
    return cmocka_run_group_tests(tests, make, destroy);
}
