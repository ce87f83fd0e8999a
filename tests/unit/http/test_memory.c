// SPDX-License-Identifier: Apache-2.0
//
// Memory that runs out in the HTTP client: each of weir's own allocations fails in turn (curl's are
// not seen). The request says so, leaves nothing behind (the sanitizer looks), and works when it is
// made again.
#include "unit/test.h"

#include "http/http.h"
#include "unit/failing_malloc.h"
#include "unit/http/web.h"

enum { ALLOCATIONS_MAX = 1000 };

// `size` bytes come back in chunks, so that the buffer has to grow.
static weir_status ask(struct weir_http_client *client, const struct test_web *web,
                       const char *path, struct weir_http_response *ret_response) {
    static char body[100 * 1024];
    char url[TEST_WEB_URL_BYTES];
    struct weir_http_header header = {WEIR_STR("X-One"), WEIR_STR("1")};
    struct weir_http_request request = test_web_get(test_web_url(web, path, url));
    request.method = WEIR_STR("POST");
    request.headers = &header;
    request.header_count = 1;
    request.has_body = true;
    request.body = (struct weir_str){.data = body, .size = sizeof body};
    return weir_http_send(client, &request, ret_response, NULL);
}

static void each_allocation_may_fail(void **state) {
    (void)state;
    static const char *const paths[] = {"chunked", "headers"};
    struct test_web web;
    if (!test_web_start(&web)) {
        skip();
    }
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        size_t failures = 0;
        bool has_failed = true;
        for (size_t number = 1; has_failed; number++) {
            assert_in_range(number, 1, ALLOCATIONS_MAX);
            struct weir_http_client *client = NULL;
            struct weir_http_response response = {0};
            failing_malloc_arm(number);
            weir_status status = weir_http_client_create(web.certificate, &client, NULL);
            bool is_created = status == WEIR_OK;
            if (is_created) {
                status = ask(client, &web, paths[i], &response);
            }
            has_failed = failing_malloc_disarm();
            assert_int_equal(status, has_failed ? WEIR_NO_MEMORY : WEIR_OK);
            weir_http_response_finish(&response);
            if (is_created) {
                assert_int_equal(ask(client, &web, paths[i], &response), WEIR_OK);
                weir_http_response_finish(&response);
            }
            weir_http_client_destroy(client);
            failures += has_failed;
        }
        assert_true(failures >= 9);
    }
    test_web_stop(&web);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_allocation_may_fail)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
