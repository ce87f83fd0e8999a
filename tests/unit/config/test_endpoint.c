// SPDX-License-Identifier: Apache-2.0
#include "config/endpoint.h"

#include "unit/test.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static void addresses_are_read(void **state) {
    (void)state;
    static const struct {
        const char *text, *address;
        int family;
        uint16_t port;
        bool is_loopback;
    } cases[] = {
        {"127.0.0.1:9464", "127.0.0.1", AF_INET, 9464, true},
        {"127.1.2.3:1", "127.1.2.3", AF_INET, 1, true},
        {"0.0.0.0:65535", "0.0.0.0", AF_INET, 65535, false},
        {"128.0.0.1:80", "128.0.0.1", AF_INET, 80, false},
        {"[::1]:9464", "::1", AF_INET6, 9464, true},
        {"[::]:9464", "::", AF_INET6, 9464, false},
        {"[::ffff:127.0.0.1]:9464", "::ffff:127.0.0.1", AF_INET6, 9464, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct weir_endpoint endpoint;
        struct weir_error err;
        if (weir_endpoint_parse(cases[i].text, &endpoint, &err) != WEIR_OK) {
            fail_msg("%s: %s", cases[i].text, err.message);
        }
        assert_int_equal(endpoint.address.ss_family, cases[i].family);
        assert_int_equal(endpoint.is_loopback, cases[i].is_loopback);
        char text[INET6_ADDRSTRLEN];
        if (cases[i].family == AF_INET) {
            const struct sockaddr_in *v4 = (const void *)&endpoint.address;
            assert_int_equal(endpoint.size, sizeof *v4);
            assert_int_equal(ntohs(v4->sin_port), cases[i].port);
            assert_non_null(inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text));
        } else {
            const struct sockaddr_in6 *v6 = (const void *)&endpoint.address;
            assert_int_equal(endpoint.size, sizeof *v6);
            assert_int_equal(ntohs(v6->sin6_port), cases[i].port);
            assert_non_null(inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text));
        }
        assert_string_equal(text, cases[i].address);
    }
}

static void what_is_none_is_refused(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",
        ":",
        ":80",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:+1",
        "127.0.0.1: 1",
        "127.0.0.1:80x",
        "127.0.0.1:99999999999999",
        "127.1:80",
        "localhost:80",
        "::1:80",
        "[::1]",
        "[::1:80",
        "::1]:80",
        "[]:80",
        "[::1%lo]:80",
        "[127.0.0.1]:80",
        "127.0.0.1.evil:80",
        "[1111111111111111111111111111111111111111111111111111111111]:80",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct weir_endpoint endpoint;
        struct weir_error err;
        if (weir_endpoint_parse(texts[i], &endpoint, &err) != WEIR_INVALID) {
            fail_msg("\"%s\" is taken", texts[i]);
        }
        assert_non_null(strstr(err.message, "127.0.0.1:9464"));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_read),
        cmocka_unit_test(what_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
