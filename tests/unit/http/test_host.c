// SPDX-License-Identifier: Apache-2.0
#include "unit/test.h"

#include "http/http.h"

static void a_url_leads_to_one_host(void **state) {
    (void)state;
    static const struct {
        const char *url, *name;
        uint16_t port;
    } cases[] = {
        {"http://example.com", "example.com", 80},
        {"https://example.com/a?b#c", "example.com", 443},
        {"HTTPS://API.Example.COM:8443/", "api.example.com", 8443},
        {"http://example.com:80/", "example.com", 80},
        {"https://example.com:80/", "example.com", 80},
        {"http://example.com:/", "example.com", 80},
        {"http://example.com./", "example.com", 80},
        {"http://example.com.:81/", "example.com", 81},
        {"http://ex%61mple.com/", "example.com", 80},
        {"http://example%2ecom/", "example.com", 80},
        {"http://my_host-1/", "my_host-1", 80},
        {"http://xn--bcher-kva.example/", "xn--bcher-kva.example", 80},
        {"http://example.com/@other.com", "example.com", 80},
        {"http://example.com?@other.com", "example.com", 80},
        {"http://example.com#@other.com", "example.com", 80},
        {"http://example.com/http://other.com", "example.com", 80},
        {"http://127.0.0.1/", "127.0.0.1", 80},
        {"http://127.0.0.1./", "127.0.0.1", 80},
        // All of them are 127.0.0.1 for whoever connects.
        {"http://0x7f.1/", "127.0.0.1", 80},
        {"http://2130706433/", "127.0.0.1", 80},
        {"http://0177.0.0.01/", "127.0.0.1", 80},
        {"http://127.1/", "127.0.0.1", 80},
        {"http://[::1]/", "::1", 80},
        {"http://[0:0:0:0:0:0:0:1]:8080/", "::1", 8080},
        {"https://[2001:DB8::A]/", "2001:db8::a", 443},
        {"http://[::ffff:127.0.0.1]/", "::ffff:127.0.0.1", 80},
        {"http://example.com:65535/", "example.com", 65535},
        {"http://example.com:0080/", "example.com", 80},
        {"http://example.com/\xc3\xa4?\xc3\xa4", "example.com", 80},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct weir_http_host host;
        struct weir_error err = {0};
        weir_status status = weir_http_host(weir_str_of(cases[i].url), &host, &err);
        if (status || strcmp(host.name, cases[i].name) != 0 || host.port != cases[i].port) {
            fail_msg("%s: %s, %s:%u", cases[i].url, err.message, status ? "" : host.name,
                     status ? 0 : host.port);
        }
    }
}

static void a_url_may_be_refused(void **state) {
    (void)state;
    static const struct {
        const char *url, *message;
    } cases[] = {
        {"", "1 to 8192 bytes"},
        {"example.com", "begins with http"},
        {"example.com/path", "begins with http"},
        {"//example.com/", "begins with http"},
        {"/path", "begins with http"},
        {"ftp://example.com/", "begins with http"},
        {"file:///etc/passwd", "begins with http"},
        {"gopher://example.com/", "begins with http"},
        {"nothing://example.com/", "begins with http"},
        {"http://", "malformed"},
        {"http:///", "malformed"},
        {"http://:80/", "malformed"},
        {"http://a@b/", "user"},
        {"http://a:b@c/", "user"},
        {"http://a\\@b/", "user"},
        {"http://:b@c/", "user"},
        {"http://a@b@c/", "user"},
        {"http://user:SECRET@example.com:x/", "user"},
        {"http://SECRET.com:x/", "malformed"},
        {"http://a\\b/", "malformed"},
        {"http://a b/", "a space or a control"},
        {"http://a\tb/", "a space or a control"},
        {"http://a\r\nb/", "a space or a control"},
        {"http://example.com/\r\nX: y", "a space or a control"},
        {"http://example.com/a b", "a space or a control"},
        {"http://a%00b/", "malformed"},
        {"http://a%20b/", "malformed"},
        {"http://a%2fb/", "malformed"},
        {"http://a%40b/", "malformed"},
        {"http://a%3a80/", "malformed"},
        {"http://b\xc3\xbc"
         "cher.example/",
         "xn--"},
        {"http://example\xe3\x80\x82"
         "com/",
         "xn--"},                                   // an ideographic full stop
        {"http://\xef\xbd\x85xample.com/", "xn--"}, // a wide e
        {"http://a..b/", "1 to 63"},
        {"http://.a/", "1 to 63"},
        {"http://./", "1 to 63"},
        {"http://a../", "1 to 63"},
        {"http://a!b/", "malformed"},
        {"http://a~b/", "letters"},
        {"http://127%2e1/", "four decimal"},
        {"http://0x7f.1./", "four decimal"},
        {"http://1.2.3.4.5/", "four decimal"},
        {"http://256.1.1.1/", "four decimal"},
        {"http://a.1/", "four decimal"},
        {"http://a.0x1f/", "four decimal"},
        {"http://99999999999/", "four decimal"},
        {"http://[::1%25eth0]/", "zone"},
        {"http://[fe80::1%eth0]/", "zone"},
        {"http://[::1/", "malformed"},
        {"http://[v1.x]/", "malformed"},
        {"http://[127.0.0.1]/", "malformed"},
        {"http://::1/", "malformed"},
        {"http://example.com:0/", "malformed"},
        {"http://example.com:65536/", "malformed"},
        {"http://example.com:-1/", "malformed"},
        {"http://example.com:+80/", "malformed"},
        {"http://example.com:80a/", "malformed"},
        {"http://example.com:80:80/", "malformed"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct weir_http_host host;
        struct weir_error err = {0};
        weir_status status = weir_http_host(weir_str_of(cases[i].url), &host, &err);
        if (status != WEIR_INVALID) {
            fail_msg("%s is taken: %s", cases[i].url, status ? err.message : host.name);
        }
        if (!strstr(err.message, cases[i].message) &&
            !(strcmp(cases[i].message, "malformed") == 0 && strstr(err.message, "port"))) {
            fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].url, err.message, cases[i].message);
        }
        assert_null(strstr(err.message, "SECRET"));
    }
}

static void sizes_have_bounds(void **state) {
    (void)state;
    static char url[WEIR_HTTP_URL_BYTES_MAX + 2];
    struct weir_http_host host;
    struct weir_error err;
    memset(url, 'a', sizeof url - 1);
    memcpy(url, "http://h/", strlen("http://h/"));
    struct weir_str text = {.data = url, .size = WEIR_HTTP_URL_BYTES_MAX};
    assert_int_equal(weir_http_host(text, &host, NULL), WEIR_OK);
    text.size++;
    assert_int_equal(weir_http_host(text, &host, &err), WEIR_INVALID);
    // A name of 253 characters in labels of 63, and one more.
    memset(url, 'a', sizeof url - 1);
    memcpy(url, "http://", 7);
    url[7 + 63] = url[7 + 127] = url[7 + 191] = '.';
    text.size = 7 + 253;
    assert_int_equal(weir_http_host(text, &host, &err), WEIR_OK);
    assert_int_equal(strlen(host.name), 253);
    text.size++;
    assert_int_equal(weir_http_host(text, &host, &err), WEIR_INVALID);
    assert_message_has(&err, "253");
    text.size = 7 + 253;
    url[7 + 63] = 'a';
    assert_int_equal(weir_http_host(text, &host, &err), WEIR_INVALID);
    assert_message_has(&err, "63");
    // A NUL ends no URL.
    assert_int_equal(weir_http_host(WEIR_STR("http://good.com\0.bad.com/"), &host, &err),
                     WEIR_INVALID);
    assert_message_has(&err, "%00");
}

static void a_host_is_told_with_its_port(void **state) {
    (void)state;
    char text[WEIR_HTTP_HOST_TEXT_BYTES];
    assert_string_equal(weir_http_host_text(&(struct weir_http_host){"a.com", 80}, text),
                        "a.com:80");
    assert_string_equal(weir_http_host_text(&(struct weir_http_host){"::1", 65535}, text),
                        "[::1]:65535");
}

// ---- grants ----

static void a_grant_allows_what_it_names(void **state) {
    (void)state;
    static const struct {
        const char *grant, *url;
        bool is_allowed;
    } cases[] = {
        {"api.example.com", "http://api.example.com/", true},
        {"api.example.com", "https://API.example.com./", true},
        {"API.Example.com", "https://api.example.com/", true},
        {"api.example.com", "https://api.example.com:80/", true},
        {"api.example.com", "https://api.example.com:8443/", false},
        {"api.example.com", "https://xapi.example.com/", false},
        {"api.example.com", "https://a.api.example.com/", false},
        {"api.example.com", "https://example.com/", false},
        {"api.example.com", "https://api.example.com.evil.com/", false},
        {"api.example.com", "https://evil.com/api.example.com", false},
        {"api.example.com", "https://evil.com?api.example.com", false},
        {"api.example.com", "https://evil.com#@api.example.com", false},
        {"api.example.com:8443", "https://api.example.com:8443/", true},
        {"api.example.com:8443", "https://api.example.com/", false},
        {"api.example.com:443", "https://api.example.com/", true},
        {"api.example.com:443", "http://api.example.com/", false},
        {"*.example.com", "https://api.example.com/", true},
        {"*.example.com", "https://a.b.c.EXAMPLE.com/", true},
        {"*.example.com", "https://example.com/", false},
        {"*.example.com", "https://badexample.com/", false},
        {"*.example.com", "https://example.com.evil.com/", false},
        {"*.example.com", "https://a.example.com:81/", false},
        {"*.example.com:81", "http://a.example.com:81/", true},
        {"127.0.0.1:8080", "http://127.0.0.1:8080/", true},
        {"127.0.0.1:8080", "http://0x7f.1:8080/", true},
        {"127.0.0.1:8080", "http://2130706433:8080/", true},
        {"127.0.0.1:8080", "http://127.0.0.1/", false},
        {"127.0.0.1:8080", "http://[::ffff:127.0.0.1]:8080/", false},
        {"127.0.0.1:8080", "http://localhost:8080/", false},
        {"127.0.0.1", "http://127.0.0.1/", true},
        {"[::1]:8080", "http://[::1]:8080/", true},
        {"[::1]:8080", "http://[0:0::1]:8080/", true},
        {"[0:0::0001]:8080", "http://[::1]:8080/", true},
        {"[::1]", "https://[::1]/", true},
        {"[::1]", "https://[::2]/", false},
        // One that is none allows nothing.
        {"", "https://example.com/", false},
        {"*", "https://example.com/", false},
        {"https://example.com", "https://example.com/", false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct weir_http_host host;
        assert_int_equal(weir_http_host(weir_str_of(cases[i].url), &host, NULL), WEIR_OK);
        if (weir_http_host_matches(weir_str_of(cases[i].grant), &host) != cases[i].is_allowed) {
            fail_msg("%s by %s", cases[i].url, cases[i].grant);
        }
    }
}

static void a_grant_may_be_malformed(void **state) {
    (void)state;
    static const struct {
        const char *grant, *message; // NULL: it is valid
    } cases[] = {
        {"example.com", NULL},
        {"EXAMPLE.com:1", NULL},
        {"localhost:65535", NULL},
        {"*.example.com", NULL},
        {"*.com", NULL},
        {"10.0.0.1", NULL},
        {"[2001:db8::1]", NULL},
        {"xn--bcher-kva.example", NULL},
        {"", "1 to 253"},
        {"*", "'*'"},
        {"*.", "without a dot"},
        {"*:80", "'*'"},
        {"a.*.com", "'*'"},
        {"*.*.com", "'*'"},
        {"*example.com", "'*'"},
        {"example.com.", "without a dot"},
        {".example.com", "1 to 63"},
        {"http://example.com", "not a URL"},
        {"example.com/path", "not a URL"},
        {"user@example.com", "letters"},
        {"exa mple.com", "letters"},
        {"b\xc3\xbc"
         "cher.example",
         "xn--"},
        {"example.com:", "a port"},
        {"example.com:0", "a port"},
        {"example.com:080", "a port"},
        {"example.com:65536", "a port"},
        {"example.com:+80", "a port"},
        {"example.com:http", "a port"},
        {"example.com:80:80", "brackets"},
        {"::1", "brackets"},
        {"[::1", "IPv6"},
        {"[::1]x", "IPv6"},
        {"[::1]x:80", "IPv6"},
        {"[::1]:", "a port"},
        {"[fe80::1%eth0]", "IPv6"},
        {"[example.com]", "IPv6"},
        {"*.[::1]", "IPv6"},
        {"*.127.0.0.1", "below an address"},
        {"0x7f.1", "four decimal"},
        {"127.1", "four decimal"},
        {"010.0.0.1", "four decimal"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct weir_error err = {0};
        weir_status status = weir_http_grant_check(weir_str_of(cases[i].grant), &err);
        if (status != (cases[i].message ? WEIR_INVALID : WEIR_OK)) {
            fail_msg("\"%s\": %s", cases[i].grant, err.message);
        }
        if (status && !strstr(err.message, cases[i].message)) {
            fail_msg("\"%s\": \"%s\" does not say \"%s\"", cases[i].grant, err.message,
                     cases[i].message);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_url_leads_to_one_host),
        cmocka_unit_test(a_url_may_be_refused),
        cmocka_unit_test(sizes_have_bounds),
        cmocka_unit_test(a_host_is_told_with_its_port),
        cmocka_unit_test(a_grant_allows_what_it_names),
        cmocka_unit_test(a_grant_may_be_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
