// SPDX-License-Identifier: Apache-2.0
//
// Which hosts a grant allows. A grant's host goes through the same function as a URL's, so two
// spellings of one host are one text by the time that they are compared.
#include "http/http_private.h"

enum { PORT_HTTP = 80, PORT_HTTPS = 443 };

struct grant {
    bool is_below; // "*.": all names below `host`
    char host[WEIR_HTTP_HOST_BYTES];
    uint16_t port; // 0: PORT_HTTP and PORT_HTTPS
};

// Takes ":PORT" off the end, where there is one. A colon within brackets is not one's.
static weir_status take_port(struct weir_str *text, uint16_t *ret_port, struct weir_error *err) {
    *ret_port = 0;
    if (text->size == 0) {
        return WEIR_OK;
    }
    const char *bracket = text->data[0] == '[' ? memchr(text->data, ']', text->size) : NULL;
    const char *from = bracket ? bracket : text->data;
    const char *end = text->data + text->size;
    const char *colon = memchr(from, ':', (size_t)(end - from));
    if (!colon) {
        return WEIR_OK;
    }
    struct weir_str digits = {.data = colon + 1, .size = (size_t)(end - colon - 1)};
    if (digits.size > 0 && memchr(digits.data, ':', digits.size)) {
        return weir_fail(err, WEIR_INVALID, "an IPv6 address stands in brackets, as [::1]:8080");
    }
    text->size = (size_t)(colon - text->data);
    *ret_port = weir_http_port_of(digits);
    return *ret_port > 0 ? WEIR_OK
                         : weir_fail(err, WEIR_INVALID, "a port is a number from 1 to 65535");
}

static weir_status grant_parse(struct weir_str text, struct grant *ret_grant,
                               struct weir_error *err) {
    if (text.size > 0 && memchr(text.data, '/', text.size)) {
        return weir_fail(err, WEIR_INVALID,
                         "a host, and a port or none, as api.example.com:8443; not a URL");
    }
    weir_status status = take_port(&text, &ret_grant->port, err);
    if (status) {
        return status;
    }
    if (text.size > 0 && text.data[text.size - 1] == '.') {
        return weir_fail(err, WEIR_INVALID, "a host ends without a dot here");
    }
    ret_grant->is_below = weir_str_has_prefix(text, WEIR_STR("*."));
    if (ret_grant->is_below) {
        text.data += 2;
        text.size -= 2;
    }
    if (text.size > 0 && memchr(text.data, '*', text.size)) {
        return weir_fail(err, WEIR_INVALID, "a '*' stands at the start only, as in *.example.com");
    }
    const char *mistake = weir_http_name_canonical(text, ret_grant->host);
    if (mistake) {
        return weir_fail(err, WEIR_INVALID, "%s", mistake);
    }
    bool is_address = strchr(ret_grant->host, ':') || weir_http_name_is_ipv4(ret_grant->host);
    if (ret_grant->is_below && is_address) {
        return weir_fail(err, WEIR_INVALID, "there is nothing below an address: no '*' there");
    }
    return WEIR_OK;
}

weir_status weir_http_grant_check(struct weir_str grant, struct weir_error *err) {
    struct grant parsed;
    return grant_parse(grant, &parsed, err);
}

static bool is_below(const char *name, const char *above) {
    size_t name_size = strlen(name), above_size = strlen(above);
    return name_size > above_size + 1 && name[name_size - above_size - 1] == '.' &&
           strcmp(name + name_size - above_size, above) == 0;
}

bool weir_http_host_matches(struct weir_str grant, const struct weir_http_host *host) {
    struct grant parsed;
    if (grant_parse(grant, &parsed, NULL) != WEIR_OK) {
        return false;
    }
    bool port_matches = parsed.port == 0 ? host->port == PORT_HTTP || host->port == PORT_HTTPS
                                         : host->port == parsed.port;
    return port_matches && (parsed.is_below ? is_below(host->name, parsed.host)
                                            : strcmp(host->name, parsed.host) == 0);
}
