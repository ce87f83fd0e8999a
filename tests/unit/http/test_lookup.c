// SPDX-License-Identifier: Apache-2.0
//
// A resolver that does not answer. curl calls this program's getaddrinfo, which keeps those who ask
// for a name below "slow.invalid" until it is told to let them go, and passes on all others.
#include "unit/test.h"

#include "http/http.h"
#include "unit/http/web.h"

#include <dlfcn.h>
#include <netdb.h>
#include <stdatomic.h>

static atomic_bool are_kept = true;
static atomic_int kept, let_go;

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret_addresses) {
    if (node && strstr(node, "slow.invalid")) {
        atomic_fetch_add(&kept, 1);
        while (atomic_load(&are_kept)) {
            nanosleep(&(struct timespec){.tv_nsec = WEIR_NS_PER_MS}, NULL);
        }
        atomic_fetch_add(&let_go, 1);
        return EAI_NONAME;
    }
    void *real = dlsym(RTLD_NEXT, "getaddrinfo");
    int (*function)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    memcpy(&function, &real, sizeof function);
    return function(node, service, hints, ret_addresses);
}

static struct test_web web;
static struct weir_http_client *client;

static int start(void **state) {
    (void)state;
    bool is_there = test_web_start(&web);
    return is_there && weir_http_client_create(NULL, &client, NULL) == WEIR_OK ? 0 : -1;
}

static int stop(void **state) {
    (void)state;
    weir_http_client_destroy(client);
    test_web_stop(&web);
    return 0;
}

static bool is_kept(const void *context) {
    const int *before = context;
    return atomic_load(&kept) > *before;
}

static void a_lookup_is_left_behind(void **state) {
    (void)state;
    struct weir_http_response response;
    struct weir_error err;
    struct weir_http_request slow = test_web_get(WEIR_STR("http://slow.invalid/"));
    int64_t from_ns = weir_clock_monotonic_ns();
    slow.until_ns = from_ns + 200 * WEIR_NS_PER_MS;
    assert_int_equal(weir_http_send(client, &slow, &response, &err), WEIR_UNAVAILABLE);
    assert_true(response.is_timeout);
    assert_message_has(&err, "looking up its name");
    assert_in_range((weir_clock_monotonic_ns() - from_ns) / WEIR_NS_PER_MS, 200, 800);

    // Cut as soon as it is under way, until that is enough.
    slow.until_ns = from_ns + TEST_WAIT_MS * WEIR_NS_PER_MS;
    for (int i = 1; i < WEIR_HTTP_LOOKUPS_LEFT_MAX; i++) {
        int before = atomic_load(&kept);
        slow.is_cut = is_kept;
        slow.cut_context = &before;
        assert_int_equal(weir_http_send(client, &slow, &response, &err), WEIR_STOPPED);
        assert_false(response.is_timeout);
    }
    slow.is_cut = NULL;
    assert_int_equal(atomic_load(&kept), WEIR_HTTP_LOOKUPS_LEFT_MAX);
    assert_int_equal(weir_http_send(client, &slow, &response, &err), WEIR_UNAVAILABLE);
    assert_false(response.is_timeout);
    assert_message_has(&err, "64 names");
    assert_int_equal(atomic_load(&kept), WEIR_HTTP_LOOKUPS_LEFT_MAX);

    // Who needs no resolver is served.
    char url[TEST_WEB_URL_BYTES];
    struct weir_http_request other = test_web_get(test_web_url(&web, "status/200", url));
    assert_int_equal(weir_http_send(client, &other, &response, &err), WEIR_OK);
    weir_http_response_finish(&response);
    atomic_store(&are_kept, false);
    WAIT_UNTIL(atomic_load(&let_go) == WEIR_HTTP_LOOKUPS_LEFT_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_lookup_is_left_behind)};
    return cmocka_run_group_tests(tests, start, stop);
}
