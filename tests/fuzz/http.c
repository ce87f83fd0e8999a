// SPDX-License-Identifier: Apache-2.0
//
// URLs and grants from anybody: a grant, a line end, a URL. Whatever the bytes, a URL that is taken
// leads to a host in its one form; a URL made of that host leads to the same one; and what a grant
// allows, it also allows of that URL.
#include "http/http.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition) {
    if (!condition) {
        abort();
    }
}

static void check_form(const struct weir_http_host *host) {
    size_t size = strlen(host->name);
    require(host->port > 0 && size > 0 && size < WEIR_HTTP_HOST_BYTES);
    require(host->name[size - 1] != '.');
    for (size_t i = 0; i < size; i++) {
        require(strchr("abcdefghijklmnopqrstuvwxyz0123456789.-_:", host->name[i]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct weir_str url = {.data = (const char *)data, .size = size};
    struct weir_str grant = {0};
    struct weir_http_host host, again;
    struct weir_error err = {0};
    const char *line_end = size > 0 ? memchr(data, '\n', size) : NULL;
    if (line_end) {
        grant = (struct weir_str){.data = url.data, .size = (size_t)(line_end - url.data)};
        url = (struct weir_str){.data = line_end + 1, .size = size - grant.size - 1};
    }
    bool is_valid = weir_http_grant_check(grant, &err) == WEIR_OK;
    require(is_valid || (err.status == WEIR_INVALID && err.message[0]));
    if (weir_http_host(url, &host, &err) != WEIR_OK) {
        require(err.status == WEIR_INVALID && err.message[0]);
        return 0;
    }
    check_form(&host);
    char text[WEIR_HTTP_HOST_TEXT_BYTES], plain[WEIR_HTTP_HOST_TEXT_BYTES + 16];
    weir_http_host_text(&host, text);
    snprintf(plain, sizeof plain, "http://%s/", text);
    require(weir_http_host(weir_str_of(plain), &again, &err) == WEIR_OK);
    require(strcmp(host.name, again.name) == 0 && host.port == again.port);
    bool is_allowed = weir_http_host_matches(grant, &host);
    require(is_valid || !is_allowed);
    require(is_allowed == weir_http_host_matches(grant, &again));
    // A host is its own grant.
    require(weir_http_host_matches(weir_str_of(text), &host));
    return 0;
}
