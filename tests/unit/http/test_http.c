// SPDX-License-Identifier: Apache-2.0
//
// The client against a real server, which also does what no server should (server.py).
#include "unit/test.h"

#include "http/http.h"
#include "unit/http/web.h"

#include <pthread.h>
#include <stdatomic.h>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

static struct test_web web;
static struct weir_http_client *client;

static int start(void **state) {
    (void)state;
    // None of this may be used: nobody listens there.
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("https_proxy", "http://127.0.0.1:1", 1);
    setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
    if (!test_web_start(&web)) {
        return -1;
    }
    return weir_http_client_create(NULL, &client, NULL) == WEIR_OK ? 0 : -1;
}

static int stop(void **state) {
    (void)state;
    weir_http_client_destroy(client);
    test_web_stop(&web);
    return 0;
}

// ---- asking ----

struct asked {
    struct weir_http_response response;
    struct weir_error err;
    weir_status status;
};

static struct asked send_request(const struct weir_http_request *request) {
    struct asked asked = {0};
    asked.status = weir_http_send(client, request, &asked.response, &asked.err);
    return asked;
}

// GET, with a query that no message may have.
static struct asked get(const char *path) {
    char url[TEST_WEB_URL_BYTES], with_query[TEST_WEB_URL_BYTES];
    snprintf(with_query, sizeof with_query, "%s?SECRET", path);
    struct weir_http_request request = test_web_get(test_web_url(&web, with_query, url));
    return send_request(&request);
}

static void must_be_ok(const struct asked *asked, uint16_t status) {
    if (asked->status || asked->response.status != status) {
        fail_msg("%s (%s), status %u", weir_status_name(asked->status), asked->err.message,
                 asked->response.status);
    }
}

static void must_fail(struct asked *asked, weir_status status, const char *message) {
    if (asked->status != status) {
        fail_msg("%s: %s", weir_status_name(asked->status), asked->err.message);
    }
    assert_message_has(&asked->err, message);
    assert_null(strstr(asked->err.message, "SECRET"));
    assert_null(asked->response.headers);
    assert_null(asked->response.body.data);
}

// The value of a header of that name, the nth of them; NULL-data where there is none.
static struct weir_str header_of(const struct weir_http_response *response, const char *name,
                                 int nth) {
    for (size_t i = 0; i < response->header_count; i++) {
        if (weir_str_equal(response->headers[i].name, weir_str_of(name)) && nth-- == 0) {
            return response->headers[i].value;
        }
    }
    return (struct weir_str){0};
}

static bool body_has(const struct weir_http_response *response, const char *part) {
    return response->body.size > 0 &&
           memmem(response->body.data, response->body.size, part, strlen(part));
}

static int connections(void) {
    struct asked asked = get("connection_count");
    must_be_ok(&asked, 200);
    char text[16] = {0};
    assert_true(asked.response.body.size < sizeof text);
    memcpy(text, asked.response.body.data, asked.response.body.size);
    weir_http_response_finish(&asked.response);
    return (int)strtol(text, NULL, 10);
}

// ---- what is sent ----

static void a_request_is_sent_as_it_is(void **state) {
    (void)state;
    char url[TEST_WEB_URL_BYTES], host[64];
    struct weir_http_header headers[] = {
        {WEIR_STR("X-One"), WEIR_STR("1")},
        {WEIR_STR("x-empty"), WEIR_STR("")},
        {WEIR_STR("X-Blank"), WEIR_STR(" \t ")},
        {WEIR_STR("X-Trimmed"), WEIR_STR("\t a b ")},
        {WEIR_STR("X-One"), WEIR_STR("2; \"x\": @\xc3\xbc\xff")},
        {WEIR_STR("Authorization"), WEIR_STR("Bearer t")},
    };
    struct weir_http_request request =
        test_web_get(test_web_url(&web, "seen/a;b%20c/\xc3\xbc?q=%0d%0a&r=\xc3\xbc#fragment", url));
    request.headers = headers;
    request.header_count = COUNT_OF(headers);
    struct asked asked = send_request(&request);
    must_be_ok(&asked, 200);
    snprintf(host, sizeof host, "\r\nHost: 127.0.0.1:%u\r\n", web.port);
    static const char *const parts[] = {
        "GET /seen/a;b%20c/%c3%bc?q=%0d%0a&r=%c3%bc HTTP/1.1\r\n",
        "\r\nUser-Agent: weir/" WEIR_VERSION "\r\n",
        "\r\nAccept-Encoding: identity\r\n",
        "\r\nX-One: 1\r\nx-empty:\r\nX-Blank:\r\nX-Trimmed: a b\r\n",
        "a b\r\nX-One: 2; \"x\": @\xc3\xbc\xff\r\nAuthorization: Bearer t\r\n",
    };
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        if (!body_has(&asked.response, parts[i])) {
            fail_msg("%.*s\nhas no %s", WEIR_STR_ARG(asked.response.body), parts[i]);
        }
    }
    assert_true(body_has(&asked.response, host));
    static const char *const absent[] = {"Expect", "Content-", "Transfer-", "Connection",
                                         "Cookie", "Proxy",    "Referer",   "fragment"};
    for (size_t i = 0; i < COUNT_OF(absent); i++) {
        assert_false(body_has(&asked.response, absent[i]));
    }
    weir_http_response_finish(&asked.response);
}

static void defaults_give_way(void **state) {
    (void)state;
    char url[TEST_WEB_URL_BYTES];
    struct weir_http_header headers[] = {
        {WEIR_STR("user-agent"), WEIR_STR("me")},
        {WEIR_STR("accept-encoding"), WEIR_STR("gzip")},
        {WEIR_STR("content-type"), WEIR_STR("text/plain")},
        {WEIR_STR("accept"), WEIR_STR("text/html")},
    };
    struct weir_http_request request = test_web_get(test_web_url(&web, "seen", url));
    request.method = WEIR_STR("PUT");
    request.headers = headers;
    request.header_count = COUNT_OF(headers);
    struct asked asked = send_request(&request);
    must_be_ok(&asked, 200);
    assert_true(body_has(&asked.response, "user-agent: me\r\naccept-encoding: gzip\r\n"
                                          "content-type: text/plain\r\naccept: text/html\r\n"));
    assert_false(body_has(&asked.response, "weir/"));
    assert_false(body_has(&asked.response, "identity"));
    assert_false(body_has(&asked.response, "*/*"));
    assert_false(body_has(&asked.response, "form-urlencoded"));
    weir_http_response_finish(&asked.response);
}

static void methods_are_sent_with_their_bodies(void **state) {
    (void)state;
    static const struct {
        const char *method, *first, *length; // NULL: no length
        const char *body;                    // NULL: none
    } cases[] = {
        {"GET", "GET /seen", NULL, NULL},
        {"GET", "GET /seen", "Content-Length: 1\r\n", "b"},
        {"POST", "POST /seen", "Content-Length: 0\r\n", NULL},
        {"POST", "POST /seen", "Content-Length: 0\r\n", ""},
        {"PUT", "PUT /seen", "Content-Length: 0\r\n", NULL},
        {"PATCH", "PATCH /seen", "Content-Length: 2\r\n", "ab"},
        {"DELETE", "DELETE /seen", NULL, NULL},
        {"DELETE", "DELETE /seen", "Content-Length: 3\r\n", "abc"},
        {"OPTIONS", "OPTIONS /seen", NULL, NULL},
        {"get", "get /seen", NULL, NULL},
        {"M-SEARCH", "M-SEARCH /seen", NULL, NULL},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char url[TEST_WEB_URL_BYTES];
        struct weir_http_request request = test_web_get(test_web_url(&web, "seen", url));
        request.method = weir_str_of(cases[i].method);
        request.has_body = cases[i].body != NULL;
        request.body = weir_str_of(cases[i].body);
        struct asked asked = send_request(&request);
        must_be_ok(&asked, 200);
        const char *length = cases[i].length ? cases[i].length : "Content-Length";
        if (!body_has(&asked.response, cases[i].first) ||
            body_has(&asked.response, length) != (cases[i].length != NULL) ||
            body_has(&asked.response, "Content-Type") || body_has(&asked.response, "Expect")) {
            fail_msg("case %zu: %.*s", i, WEIR_STR_ARG(asked.response.body));
        }
        weir_http_response_finish(&asked.response);
    }
}

// ---- bodies ----

// Sends the bytes and compares what comes back.
static void there_and_back(const char *path, struct weir_str bytes) {
    char url[TEST_WEB_URL_BYTES];
    struct weir_http_request request = test_web_get(test_web_url(&web, path, url));
    request.method = WEIR_STR("POST");
    request.has_body = true;
    request.body = bytes;
    struct asked asked = send_request(&request);
    must_be_ok(&asked, 200);
    assert_true(weir_str_equal(asked.response.body, bytes));
    weir_http_response_finish(&asked.response);
}

static void bodies_have_any_bytes_of_any_size(void **state) {
    (void)state;
    enum { LARGE = 8 * 1024 * 1024 };
    static const size_t sizes[] = {0, 1, 256, 1025, 16384, 65537, 1024 * 1024 + 1, LARGE};
    char *bytes = malloc(LARGE);
    assert_non_null(bytes);
    for (size_t i = 0; i < LARGE; i++) {
        bytes[i] = (char)(i % 251 + i / 65536);
    }
    for (size_t i = 0; i < 256; i++) {
        bytes[i] = (char)i;
    }
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        there_and_back("echo", (struct weir_str){.data = bytes, .size = sizes[i]});
        there_and_back("chunked", (struct weir_str){.data = bytes, .size = sizes[i]});
    }
    free(bytes);
}

static void a_body_is_as_it_came(void **state) {
    (void)state;
    struct asked asked = get("encoded");
    must_be_ok(&asked, 200);
    assert_str_equal(asked.response.body, "\x1f\x8bnot really");
    assert_str_equal(header_of(&asked.response, "content-encoding", 0), "gzip");
    weir_http_response_finish(&asked.response);
}

static void some_responses_have_no_body(void **state) {
    (void)state;
    static const uint16_t statuses[] = {204, 304};
    for (size_t i = 0; i < COUNT_OF(statuses); i++) {
        char path[32];
        snprintf(path, sizeof path, "status/%u", statuses[i]);
        struct asked asked = get(path);
        must_be_ok(&asked, statuses[i]);
        assert_int_equal(asked.response.body.size, 0);
        assert_str_equal(header_of(&asked.response, "etag", 0), "\"1\"");
        weir_http_response_finish(&asked.response);
    }
    // The length that HEAD tells is no reason to wait, nor beyond a bound.
    char url[TEST_WEB_URL_BYTES];
    struct weir_http_request request = test_web_get(test_web_url(&web, "head", url));
    request.method = WEIR_STR("HEAD");
    request.response_bytes_max = 10;
    struct asked asked = send_request(&request);
    must_be_ok(&asked, 200);
    assert_int_equal(asked.response.body.size, 0);
    assert_str_equal(header_of(&asked.response, "content-length", 0), "123456789");
    weir_http_response_finish(&asked.response);
}

// ---- statuses and headers ----

static void any_status_is_a_response(void **state) {
    (void)state;
    static const uint16_t statuses[] = {200, 201, 400, 401, 404, 407, 417, 429, 500, 503, 599, 999};
    for (size_t i = 0; i < COUNT_OF(statuses); i++) {
        char path[32], text[32];
        snprintf(path, sizeof path, "status/%u", statuses[i]);
        snprintf(text, sizeof text, "it is %u", statuses[i]);
        struct asked asked = get(path);
        must_be_ok(&asked, statuses[i]);
        assert_str_equal(asked.response.body, text);
        assert_str_equal(header_of(&asked.response, "x-status", 0), "yes");
        weir_http_response_finish(&asked.response);
    }
    struct asked asked = get("redirect");
    must_be_ok(&asked, 302);
    assert_str_equal(header_of(&asked.response, "location", 0), "/echo");
    weir_http_response_finish(&asked.response);
}

static void headers_come_in_order_and_one_form(void **state) {
    (void)state;
    static const struct {
        const char *name, *value;
    } wanted[] = {
        {"set-cookie", "a=1"},     {"x-empty", ""},         {"x-latin", "gr\xc3\xbcn"},
        {"x-utf8", "gr\xc3\xbcn"}, {"x-folded", "one two"}, {"set-cookie", "b=2"},
        {"x-colon", "a:b"},        {"content-length", "3"},
    };
    struct asked asked = get("headers");
    must_be_ok(&asked, 200);
    assert_int_equal(asked.response.header_count, COUNT_OF(wanted));
    for (size_t i = 0; i < COUNT_OF(wanted); i++) {
        assert_str_equal(asked.response.headers[i].name, wanted[i].name);
        assert_str_equal(asked.response.headers[i].value, wanted[i].value);
    }
    weir_http_response_finish(&asked.response);
    assert_null(asked.response.headers);
    weir_http_response_finish(&asked.response); // again is allowed
    // No cookie has been kept.
    asked = get("seen");
    must_be_ok(&asked, 200);
    assert_false(body_has(&asked.response, "ookie"));
    weir_http_response_finish(&asked.response);
}

static void headers_are_the_final_responses(void **state) {
    (void)state;
    struct asked asked = get("interim");
    must_be_ok(&asked, 200);
    assert_int_equal(asked.response.header_count, 2);
    assert_str_equal(header_of(&asked.response, "x-final", 0), "1");
    assert_str_equal(asked.response.body, "final");
    weir_http_response_finish(&asked.response);
    // Trailers are no headers.
    asked = get("chunked");
    must_be_ok(&asked, 200);
    assert_int_equal(asked.response.header_count, 2);
    assert_null(header_of(&asked.response, "x-sum", 0).data);
    weir_http_response_finish(&asked.response);
}

// ---- what servers should not do ----

static void a_response_may_be_broken(void **state) {
    (void)state;
    static const struct {
        const char *path, *message;
    } cases[] = {
        {"vanish", "Empty reply"},
        {"cut", "95 bytes"},
        {"cut_chunked", "outstanding"},
        {"cut_head", ""},
        {"bad_length", "Content-Length"},
        {"nul", "eader"},
        {"no_colon", "eader"},
        {"bad_name", "header"},
        {"not_http", "HTTP/0.9"},
        {"switch", "no final"},
        {"bare_cr", "malformed header"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct asked asked = get(cases[i].path);
        must_fail(&asked, WEIR_UNAVAILABLE, cases[i].message);
        char host[64];
        snprintf(host, sizeof host, "127.0.0.1:%u", web.port);
        assert_message_has(&asked.err, host);
        assert_false(asked.response.is_timeout);
    }
    struct asked asked = get("too_much");
    must_be_ok(&asked, 200);
    assert_str_equal(asked.response.body, "12345");
    weir_http_response_finish(&asked.response);
}

static void a_response_has_bounds(void **state) {
    (void)state;
    static const struct {
        const char *path, *message;
    } cases[] = {
        {"endless_headers", "65536 bytes"},        {"endless_line", "65536 bytes"},
        {"endless_status", "65536 bytes"},         {"endless_interim", "65536 bytes"},
        {"endless_body", "16777216 bytes"},        {"big/16777217", "16777216 bytes"},
        {"big/999999999999999", "16777216 bytes"}, {"many_headers/129", "128 headers"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct asked asked = get(cases[i].path);
        must_fail(&asked, WEIR_LIMIT, cases[i].message);
    }
    struct asked asked = get("big/16777216");
    must_be_ok(&asked, 200);
    assert_int_equal(asked.response.body.size, 16777216);
    weir_http_response_finish(&asked.response);
    asked = get("many_headers/128");
    must_be_ok(&asked, 200);
    assert_int_equal(asked.response.header_count, WEIR_HTTP_HEADERS_MAX);
    weir_http_response_finish(&asked.response);
    // No body is allowed at all, and there is none.
    char url[TEST_WEB_URL_BYTES];
    struct weir_http_request request = test_web_get(test_web_url(&web, "echo", url));
    request.response_bytes_max = 0;
    asked = send_request(&request);
    must_be_ok(&asked, 200);
    weir_http_response_finish(&asked.response);
}

// ---- time ----

static void time_is_told_when_it_is_over(void **state) {
    (void)state;
    static const struct {
        const char *path, *message;
    } cases[] = {{"silent", "waiting for its response"},
                 {"begin_and_wait", "reading its response"}};
    enum { MS = 300 };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char url[TEST_WEB_URL_BYTES];
        struct weir_http_request request = test_web_get(test_web_url(&web, cases[i].path, url));
        int64_t from_ns = weir_clock_monotonic_ns();
        request.until_ns = from_ns + MS * WEIR_NS_PER_MS;
        struct asked asked = send_request(&request);
        int64_t took_ms = (weir_clock_monotonic_ns() - from_ns) / WEIR_NS_PER_MS;
        must_fail(&asked, WEIR_UNAVAILABLE, cases[i].message);
        assert_true(asked.response.is_timeout);
        // The machine may be busy, but a look once a second would be too late.
        assert_in_range(took_ms, MS, MS + 600);
    }
    // Nobody answers there: the port's queue is full.
    struct weir_http_request request = test_web_get(WEIR_STR("http://127.0.0.1:1/"));
    request.until_ns = weir_clock_monotonic_ns();
    struct asked asked = send_request(&request);
    must_fail(&asked, WEIR_UNAVAILABLE, "in time");
    assert_true(asked.response.is_timeout);
}

// A listener whose queue is full: who connects gets no answer at all.
static void connecting_takes_time_too(void **state) {
    (void)state;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(listener, 0), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    int others[4];
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        others[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(others[i], (struct sockaddr *)&address, size);
    }
    char url[TEST_WEB_URL_BYTES];
    snprintf(url, sizeof url, "http://127.0.0.1:%u/?SECRET", ntohs(address.sin_port));
    struct weir_http_request request = test_web_get(weir_str_of(url));
    request.until_ns = weir_clock_monotonic_ns() + 200 * WEIR_NS_PER_MS;
    struct asked asked = send_request(&request);
    must_fail(&asked, WEIR_UNAVAILABLE, "connecting");
    assert_true(asked.response.is_timeout);
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        close(others[i]);
    }
    close(listener);
}

struct cut {
    atomic_bool is_cut;
    atomic_int asked;
    int64_t cut_ns;
};

static bool is_cut(const void *context) {
    struct cut *cut = (struct cut *)(uintptr_t)context;
    atomic_fetch_add(&cut->asked, 1);
    return atomic_load(&cut->is_cut);
}

// Cuts the request once it is under way.
static void *cut_it(void *context) {
    struct cut *cut = context;
    WAIT_UNTIL(atomic_load(&cut->asked) > 10);
    cut->cut_ns = weir_clock_monotonic_ns();
    atomic_store(&cut->is_cut, true);
    return NULL;
}

static void a_request_can_be_cut(void **state) {
    (void)state;
    static const char *const paths[] = {"silent", "begin_and_wait"};
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        char url[TEST_WEB_URL_BYTES];
        struct cut cut = {0};
        struct weir_http_request request = test_web_get(test_web_url(&web, paths[i], url));
        request.is_cut = is_cut;
        request.cut_context = &cut;
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, cut_it, &cut), 0);
        struct asked asked = send_request(&request);
        int64_t end_ns = weir_clock_monotonic_ns();
        pthread_join(thread, NULL);
        must_fail(&asked, WEIR_STOPPED, "cut");
        assert_false(asked.response.is_timeout);
        // Some slices at the most, on a machine that may be busy.
        assert_in_range((end_ns - cut.cut_ns) / WEIR_NS_PER_MS, 0, 600);
        // One that is cut before it begins is not sent.
        int before = connections();
        request.url = test_web_url(&web, "vanish", url);
        asked = send_request(&request);
        must_fail(&asked, WEIR_STOPPED, "cut");
        assert_int_equal(connections(), before);
    }
}

// ---- connections ----

static void a_connection_is_used_again(void **state) {
    (void)state;
    int before = connections();
    for (int i = 0; i < 1000; i++) {
        there_and_back("echo", WEIR_STR("again"));
    }
    assert_int_equal(connections(), before);
}

static void a_closed_connection_is_replaced(void **state) {
    (void)state;
    for (int i = 0; i < 20; i++) {
        struct asked asked = get("stale");
        must_be_ok(&asked, 200);
        weir_http_response_finish(&asked.response);
        there_and_back("echo", WEIR_STR("fresh"));
    }
}

enum { THREADS = 16, REQUESTS = 40 };

static void *ask_many(void *context) {
    size_t number = *(size_t *)context;
    char url[TEST_WEB_URL_BYTES], body[64];
    for (int i = 0; i < REQUESTS; i++) {
        snprintf(body, sizeof body, "thread %zu, request %d", number, i);
        struct weir_http_request request = test_web_get(test_web_url(&web, "echo", url));
        struct weir_http_response response;
        struct weir_error err;
        request.method = WEIR_STR("POST");
        request.has_body = true;
        request.body = weir_str_of(body);
        REQUIRE(weir_http_send(client, &request, &response, &err) == WEIR_OK);
        REQUIRE(weir_str_equal(response.body, request.body));
        weir_http_response_finish(&response);
    }
    return NULL;
}

static void many_threads_ask_at_once(void **state) {
    (void)state;
    pthread_t threads[THREADS];
    size_t numbers[THREADS];
    int before = connections();
    for (size_t i = 0; i < THREADS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, ask_many, &numbers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    // One for each handle that there was, not one for each request.
    assert_in_range(connections() - before, 0, 2 * THREADS);
}

static void refused_is_unavailable(void **state) {
    (void)state;
    // A port that was free a moment ago.
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    char url[TEST_WEB_URL_BYTES];
    snprintf(url, sizeof url, "http://127.0.0.1:%u/?SECRET", ntohs(address.sin_port));
    struct weir_http_request request = test_web_get(weir_str_of(url));
    struct asked asked = send_request(&request);
    must_fail(&asked, WEIR_UNAVAILABLE, "127.0.0.1");
    assert_false(asked.response.is_timeout);
    close(listener);
    request.url = WEIR_STR("http://no-such-name.invalid/?SECRET");
    asked = send_request(&request);
    must_fail(&asked, WEIR_UNAVAILABLE, "no-such-name.invalid:80");
    assert_false(asked.response.is_timeout);
}

// ---- TLS ----

static void tls_is_verified(void **state) {
    (void)state;
    char url[TEST_WEB_URL_BYTES];
    snprintf(url, sizeof url, "https://127.0.0.1:%u/seen?SECRET", web.tls_port);
    struct weir_http_request request = test_web_get(weir_str_of(url));
    struct asked asked = send_request(&request);
    must_fail(&asked, WEIR_UNAVAILABLE, "certificate");
    assert_false(asked.response.is_timeout);

    // The same server, whose certificate is trusted.
    struct weir_http_client *own = client;
    assert_int_equal(weir_http_client_create(web.certificate, &client, NULL), WEIR_OK);
    for (int i = 0; i < 3; i++) {
        asked = send_request(&request);
        must_be_ok(&asked, 200);
        assert_true(body_has(&asked.response, "GET /seen"));
        weir_http_response_finish(&asked.response);
    }
    // But not under another name.
    snprintf(url, sizeof url, "https://localhost:%u/seen?SECRET", web.tls_port);
    request.url = weir_str_of(url);
    asked = send_request(&request);
    must_fail(&asked, WEIR_UNAVAILABLE, "localhost");
    weir_http_client_destroy(client);

    assert_int_equal(weir_http_client_create("/does/not/exist.pem", &client, NULL), WEIR_OK);
    asked = send_request(&request);
    must_fail(&asked, WEIR_OTHER, "/does/not/exist.pem");
    weir_http_client_destroy(client);
    client = own;
    // TLS is spoken to somebody who does not.
    snprintf(url, sizeof url, "https://127.0.0.1:%u/seen?SECRET", web.port);
    request.url = weir_str_of(url);
    request.until_ns = weir_clock_monotonic_ns() + 500 * WEIR_NS_PER_MS;
    asked = send_request(&request);
    must_fail(&asked, WEIR_UNAVAILABLE, "127.0.0.1");
}

// ---- requests that are refused ----

static struct asked send_with(struct weir_str method, struct weir_str name, struct weir_str value) {
    char url[TEST_WEB_URL_BYTES];
    struct weir_http_header header = {name, value};
    struct weir_http_request request = test_web_get(test_web_url(&web, "vanish?SECRET", url));
    request.method = method;
    request.headers = &header;
    request.header_count = name.data ? 1 : 0;
    return send_request(&request);
}

static void a_method_is_a_token(void **state) {
    (void)state;
    static const struct weir_str methods[] = {
        WEIR_STR(""),        WEIR_STR("GET /x HTTP/1.1\r\nX: y\r\n\r\nGET"),
        WEIR_STR("G T"),     WEIR_STR("GET\r\n"),
        WEIR_STR("GET\0"),   WEIR_STR("G\xc3\xbcT"),
        WEIR_STR("GET:"),    WEIR_STR("012345678901234567890123456789012"),
        WEIR_STR("CONNECT"), WEIR_STR("connect"),
    };
    int before = connections();
    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        struct asked asked = send_with(methods[i], (struct weir_str){0}, (struct weir_str){0});
        must_fail(&asked, WEIR_INVALID, "method");
    }
    char url[TEST_WEB_URL_BYTES];
    struct weir_http_request request = test_web_get(test_web_url(&web, "echo", url));
    request.method = WEIR_STR("HEAD");
    request.has_body = true;
    struct asked asked = send_request(&request);
    must_fail(&asked, WEIR_INVALID, "HEAD");
    assert_int_equal(connections(), before);
}

static void a_header_cannot_be_more_than_one(void **state) {
    (void)state;
    static const struct weir_str names[] = {
        WEIR_STR(""),          WEIR_STR("X: SECRET\r\nY"),
        WEIR_STR("X\r\n"),     WEIR_STR("X\0Y"),
        WEIR_STR("X Y"),       WEIR_STR(" X"),
        WEIR_STR("X:"),        WEIR_STR("X;"),
        WEIR_STR(":path"),     WEIR_STR("@file"),
        WEIR_STR("X\xc3\xbc"),
    };
    static const struct weir_str values[] = {
        WEIR_STR("SECRET\r\nY: z"), WEIR_STR("SECRET\n"),     WEIR_STR("\rSECRET"),
        WEIR_STR("SECRET\0"),       WEIR_STR("SECRET\x1b[m"), WEIR_STR("SECRET\x7f"),
    };
    static const char *const reserved[] = {
        "Host",
        "host",
        "Content-Length",
        "content-length",
        "Transfer-Encoding",
        "TE",
        "te",
        "Connection",
        "Upgrade",
        "UPGRADE",
        "Trailer",
        "Expect",
        "Keep-Alive",
        "HTTP2-Settings",
        "Proxy-Authorization",
        "Proxy-",
        "proxy-connection",
    };
    int before = connections();
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct asked asked = send_with(WEIR_STR("GET"), names[i], WEIR_STR("SECRET"));
        must_fail(&asked, WEIR_INVALID, "header 1 has no valid name");
    }
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        struct asked asked = send_with(WEIR_STR("GET"), WEIR_STR("X-Name"), values[i]);
        must_fail(&asked, WEIR_INVALID, "header 1 (X-Name)");
    }
    for (size_t i = 0; i < COUNT_OF(reserved); i++) {
        struct asked asked =
            send_with(WEIR_STR("GET"), weir_str_of(reserved[i]), WEIR_STR("SECRET"));
        must_fail(&asked, WEIR_INVALID, "the client's own");
    }
    assert_int_equal(connections(), before);
}

static void a_request_has_bounds(void **state) {
    (void)state;
    char url[TEST_WEB_URL_BYTES];
    struct weir_http_request request = test_web_get(test_web_url(&web, "echo", url));
    struct weir_http_header headers[WEIR_HTTP_HEADERS_MAX + 1];
    for (size_t i = 0; i < COUNT_OF(headers); i++) {
        headers[i] = (struct weir_http_header){WEIR_STR("x-n"), WEIR_STR("1")};
    }
    request.headers = headers;
    request.header_count = WEIR_HTTP_HEADERS_MAX;
    struct asked asked = send_request(&request);
    must_be_ok(&asked, 200);
    weir_http_response_finish(&asked.response);
    request.header_count++;
    asked = send_request(&request);
    must_fail(&asked, WEIR_LIMIT, "128");
    char *value = malloc(WEIR_HTTP_HEADER_BYTES_MAX);
    assert_non_null(value);
    memset(value, 'v', WEIR_HTTP_HEADER_BYTES_MAX);
    headers[0].value = (struct weir_str){.data = value, .size = WEIR_HTTP_HEADER_BYTES_MAX - 3};
    request.header_count = 1;
    asked = send_request(&request);
    must_be_ok(&asked, 200);
    weir_http_response_finish(&asked.response);
    headers[0].value.size++;
    asked = send_request(&request);
    must_fail(&asked, WEIR_LIMIT, "65536");
    free(value);
}

static void a_url_is_checked_before_it_is_used(void **state) {
    (void)state;
    static const char *const urls[] = {"ftp://127.0.0.1/?SECRET", "http://u:SECRET@127.0.0.1/",
                                       "127.0.0.1/SECRET", "http://127.0.0.1/SECRET SECRET",
                                       "file:///etc/passwd"};
    for (size_t i = 0; i < COUNT_OF(urls); i++) {
        struct weir_http_request request = test_web_get(weir_str_of(urls[i]));
        struct asked asked = send_request(&request);
        must_fail(&asked, WEIR_INVALID, "URL");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_sent_as_it_is),
        cmocka_unit_test(defaults_give_way),
        cmocka_unit_test(methods_are_sent_with_their_bodies),
        cmocka_unit_test(bodies_have_any_bytes_of_any_size),
        cmocka_unit_test(a_body_is_as_it_came),
        cmocka_unit_test(some_responses_have_no_body),
        cmocka_unit_test(any_status_is_a_response),
        cmocka_unit_test(headers_come_in_order_and_one_form),
        cmocka_unit_test(headers_are_the_final_responses),
        cmocka_unit_test(a_response_may_be_broken),
        cmocka_unit_test(a_response_has_bounds),
        cmocka_unit_test(time_is_told_when_it_is_over),
        cmocka_unit_test(connecting_takes_time_too),
        cmocka_unit_test(a_request_can_be_cut),
        cmocka_unit_test(a_connection_is_used_again),
        cmocka_unit_test(a_closed_connection_is_replaced),
        cmocka_unit_test(many_threads_ask_at_once),
        cmocka_unit_test(refused_is_unavailable),
        cmocka_unit_test(tls_is_verified),
        cmocka_unit_test(a_method_is_a_token),
        cmocka_unit_test(a_header_cannot_be_more_than_one),
        cmocka_unit_test(a_request_has_bounds),
        cmocka_unit_test(a_url_is_checked_before_it_is_used),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
