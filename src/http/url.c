// SPDX-License-Identifier: Apache-2.0
//
// Where a URL leads. curl's own parser takes it apart; what it says of the host is brought to one
// form here, or refused, and set back into the handle that curl then works with. So a grant is
// compared with exactly what is connected to, whatever a later curl thinks of odd spellings.
//
// Refused is what curl, the resolver and a reader of the URL might take for different things: names
// beyond ASCII (several characters are mapped to dots and letters), and names whose last label is a
// number (0x7f.1 is a name to one and 127.0.0.1 to another).
#include "http/http_private.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

enum { LABEL_BYTES_MAX = 63 };

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static char lower(char c) {
    return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

uint16_t weir_http_port_of(struct weir_str digits) {
    uint32_t port = 0;
    if (digits.size == 0 || digits.size > 5 || digits.data[0] == '0') {
        return 0;
    }
    for (size_t i = 0; i < digits.size; i++) {
        if (!is_digit(digits.data[i])) {
            return 0;
        }
        port = port * 10 + (uint32_t)(digits.data[i] - '0');
    }
    return port <= UINT16_MAX ? (uint16_t)port : 0;
}

static const char *canonical_ipv6(struct weir_str text, char *ret_name) {
    static const char message[] = "what stands in brackets is an IPv6 address";
    struct in6_addr address;
    char inside[INET6_ADDRSTRLEN];
    if (text.size < 2 || text.data[text.size - 1] != ']' || text.size - 2 >= sizeof inside ||
        memchr(text.data, '\0', text.size)) {
        return message;
    }
    memcpy(inside, text.data + 1, text.size - 2);
    inside[text.size - 2] = '\0';
    if (inet_pton(AF_INET6, inside, &address) != 1 ||
        !inet_ntop(AF_INET6, &address, ret_name, WEIR_HTTP_HOST_BYTES)) {
        return message;
    }
    return NULL;
}

// A last label of digits, or 0x and hexadecimal digits, is what some take for (a part of) an
// address. Of a name in its one form it tells that it is one.
bool weir_http_name_is_ipv4(const char *name) {
    const char *dot = strrchr(name, '.');
    const char *label = dot ? dot + 1 : name;
    if (label[0] == '0' && label[1] == 'x') {
        return label[2 + strspn(label + 2, "0123456789abcdef")] == '\0';
    }
    return label[strspn(label, "0123456789")] == '\0';
}

static const char *check_labels(const char *name) {
    for (const char *label = name;; label++) {
        size_t size = strcspn(label, ".");
        if (size == 0 || size > LABEL_BYTES_MAX) {
            return "the parts of a host's name have 1 to 63 characters";
        }
        label += size;
        if (*label == '\0') {
            return NULL;
        }
    }
}

const char *weir_http_name_canonical(struct weir_str text,
                                     char ret_name[static WEIR_HTTP_HOST_BYTES]) {
    if (text.size > 0 && text.data[0] == '[') {
        return canonical_ipv6(text, ret_name);
    }
    if (text.size > 1 && text.data[text.size - 1] == '.') {
        text.size--; // the dot only says that the name is complete
    }
    if (text.size == 0 || text.size >= WEIR_HTTP_HOST_BYTES) {
        return "a host's name has 1 to 253 characters";
    }
    for (size_t i = 0; i < text.size; i++) {
        char c = lower(text.data[i]);
        if (!is_digit(c) && !(c >= 'a' && c <= 'z') && c != '-' && c != '_' && c != '.') {
            return "a host's name has letters a to z, digits, '-', '_' and '.', and is written as "
                   "xn--... where it has others";
        }
        ret_name[i] = c;
    }
    ret_name[text.size] = '\0';
    const char *mistake = check_labels(ret_name);
    struct in_addr address;
    if (!mistake && weir_http_name_is_ipv4(ret_name) &&
        inet_pton(AF_INET, ret_name, &address) != 1) {
        mistake = "an IPv4 address is four decimal numbers";
    }
    return mistake;
}

// ---- curl's parser ----

// Sets the one form of the host in the handle, and tells it.
static weir_status settle_host(CURLU *handle, struct weir_http_host *ret_host,
                               struct weir_error *err) {
    char *text;
    CURLUcode code = curl_url_get(handle, CURLUPART_HOST, &text, 0);
    if (code) {
        return code == CURLUE_OUT_OF_MEMORY
                   ? weir_fail_no_memory(err, "a URL")
                   : weir_fail(err, WEIR_INVALID, "the URL is malformed: it has no host");
    }
    const char *mistake = weir_http_name_canonical(weir_str_of(text), ret_host->name);
    curl_free(text);
    if (mistake) {
        return weir_fail(err, WEIR_INVALID, "the URL's host is malformed: %s", mistake);
    }
    char bracketed[WEIR_HTTP_HOST_BYTES + 2];
    bool is_ipv6 = strchr(ret_host->name, ':') != NULL;
    snprintf(bracketed, sizeof bracketed, is_ipv6 ? "[%s]" : "%s", ret_host->name);
    code = curl_url_set(handle, CURLUPART_HOST, bracketed, 0);
    return code == CURLUE_OK ? WEIR_OK : weir_fail_no_memory(err, "a URL");
}

static weir_status settle_port(CURLU *handle, struct weir_http_host *ret_host,
                               struct weir_error *err) {
    char *text;
    if (curl_url_get(handle, CURLUPART_PORT, &text, CURLU_DEFAULT_PORT) != CURLUE_OK) {
        return weir_fail_no_memory(err, "a URL");
    }
    ret_host->port = weir_http_port_of(weir_str_of(text));
    curl_free(text);
    return ret_host->port > 0
               ? WEIR_OK
               : weir_fail(err, WEIR_INVALID, "the URL's port is no number from 1 to 65535");
}

static bool has_part(CURLU *handle, CURLUPart part) {
    char *text = NULL;
    bool has = curl_url_get(handle, part, &text, 0) == CURLUE_OK;
    curl_free(text);
    return has;
}

static weir_status check_scheme(CURLU *handle, struct weir_error *err) {
    char *scheme = NULL;
    curl_url_get(handle, CURLUPART_SCHEME, &scheme, 0);
    bool is_known = scheme && (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
    curl_free(scheme);
    return is_known ? WEIR_OK
                    : weir_fail(err, WEIR_INVALID, "a URL begins with http:// or https://");
}

static weir_status check_parts(CURLU *handle, struct weir_http_host *ret_host,
                               struct weir_error *err) {
    weir_status status = check_scheme(handle, err);
    if (status) {
        return status;
    }
    if (has_part(handle, CURLUPART_USER) || has_part(handle, CURLUPART_PASSWORD)) {
        return weir_fail(err, WEIR_INVALID,
                         "a URL has no user and password: send them in a header");
    }
    if (has_part(handle, CURLUPART_ZONEID)) {
        return weir_fail(err, WEIR_INVALID, "the URL's IPv6 address has a zone");
    }
    status = settle_host(handle, ret_host, err);
    return status ? status : settle_port(handle, ret_host, err);
}

static weir_status fail_parse(CURLUcode code, struct weir_error *err) {
    switch (code) {
    case CURLUE_OUT_OF_MEMORY:
        return weir_fail_no_memory(err, "a URL");
    case CURLUE_BAD_SCHEME:
    case CURLUE_UNSUPPORTED_SCHEME:
        return weir_fail(err, WEIR_INVALID, "a URL begins with http:// or https://");
    case CURLUE_USER_NOT_ALLOWED:
        return weir_fail(err, WEIR_INVALID,
                         "a URL has no user and password: send them in a header");
    default:
        return weir_fail(err, WEIR_INVALID, "the URL is malformed: %s", curl_url_strerror(code));
    }
}

weir_status weir_http_url_parse(struct weir_str url, CURLU **ret_handle,
                                struct weir_http_host *ret_host, struct weir_error *err) {
    *ret_handle = NULL;
    if (url.size == 0 || url.size > WEIR_HTTP_URL_BYTES_MAX) {
        return weir_fail(err, WEIR_INVALID, "a URL has 1 to %d bytes, this one has %zu",
                         WEIR_HTTP_URL_BYTES_MAX, url.size);
    }
    for (size_t i = 0; i < url.size; i++) {
        unsigned char c = (unsigned char)url.data[i];
        if (c <= ' ' || c == 0x7f) {
            return weir_fail(err, WEIR_INVALID,
                             "the URL is malformed: it has a space or a control character, which "
                             "is written as %%%02X",
                             c);
        }
    }
    CURLU *handle = curl_url();
    char *text = weir_str_copy(url);
    // Bytes beyond ASCII in a path or a query are sent as %XX.
    CURLUcode code = handle && text ? curl_url_set(handle, CURLUPART_URL, text,
                                                   CURLU_DISALLOW_USER | CURLU_URLENCODE)
                                    : CURLUE_OUT_OF_MEMORY;
    free(text);
    weir_status status = code ? fail_parse(code, err) : check_parts(handle, ret_host, err);
    if (status) {
        curl_url_cleanup(handle);
        return status;
    }
    *ret_handle = handle;
    return WEIR_OK;
}

weir_status weir_http_host(struct weir_str url, struct weir_http_host *ret_host,
                           struct weir_error *err) {
    CURLU *handle;
    weir_status status = weir_http_url_parse(url, &handle, ret_host, err);
    curl_url_cleanup(handle);
    return status;
}

const char *weir_http_host_text(const struct weir_http_host *host,
                                char ret_text[static WEIR_HTTP_HOST_TEXT_BYTES]) {
    bool is_ipv6 = strchr(host->name, ':') != NULL;
    snprintf(ret_text, WEIR_HTTP_HOST_TEXT_BYTES, is_ipv6 ? "[%s]:%u" : "%s:%u", host->name,
             host->port);
    return ret_text;
}
