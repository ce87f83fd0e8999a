// SPDX-License-Identifier: Apache-2.0
//
// tests/unit/http/server.py as a child of the test, which ends with it however it ends.
#ifndef WEIR_TESTS_UNIT_HTTP_WEB_H
#define WEIR_TESTS_UNIT_HTTP_WEB_H

#include "http/http.h"

#include <sys/types.h>

enum { TEST_WEB_URL_BYTES = 200 };

struct test_web {
    pid_t child;
    int in_fd; // closed: the server ends
    uint16_t port, tls_port;
    char certificate[200]; // the file that its HTTPS is to be trusted by
};

// Starts the server and waits until it listens. False: there is no Python on this machine.
bool test_web_start(struct test_web *web);
void test_web_stop(struct test_web *web);

// "http://127.0.0.1:PORT/PATH", in `ret_url`.
struct weir_str test_web_url(const struct test_web *web, const char *path,
                             char ret_url[static TEST_WEB_URL_BYTES]);

// A GET for the URL with bounds that are wide enough not to be met.
struct weir_http_request test_web_get(struct weir_str url);

#endif
