// SPDX-License-Identifier: Apache-2.0
//
// Requests of a guest to hosts that are granted to it. Which host a URL means is asked of the room
// that sends it, so that nothing else is connected to than what was looked up in the grants.
//
// On the thread of the guest's call, any number at once.
#include "access/access_private.h"

#include "base/show.h"
#include "http/http.h"
#include "observe/log.h"

#include <stdlib.h>

_Static_assert(sizeof(struct weir_http_header) == sizeof(struct weir_attribute) &&
                   offsetof(struct weir_http_header, value) ==
                       offsetof(struct weir_attribute, value),
               "a header is an attribute");

static weir_status check_host(struct weir_access *access, struct weir_str url,
                              struct weir_error *err) {
    struct weir_http_host host;
    char text[WEIR_HTTP_HOST_TEXT_BYTES];
    struct weir_error own;
    err = err ? err : &own;
    weir_status status = weir_http_host(url, &host, err);
    if (status != WEIR_OK) {
        return status;
    }
    for (size_t i = 0; i < access->host_count; i++) {
        if (weir_http_host_matches(weir_str_of(access->hosts[i]), &host)) {
            return WEIR_OK;
        }
    }
    weir_http_host_text(&host, text);
    weir_fail(err, WEIR_DENIED,
              "guest %s has no grant to ask %s by HTTP; this would be one: hosts: [\"%s\"]",
              access->name, text, text);
    atomic_fetch_add_explicit(&access->refused, 1, memory_order_relaxed);
    if (!atomic_exchange_explicit(&access->is_host_told, true, memory_order_relaxed)) {
        weir_log(access->log, WEIR_LOG_WARN, "a guest was refused what it has no grant for",
                 {"guest", weir_str_of(access->name)}, {"reason", weir_str_of(err->message)});
    }
    return WEIR_DENIED;
}

static weir_status send(struct weir_access *access, const struct weir_guest_http_request *request,
                        struct weir_http_response *response, struct weir_error *err) {
    const struct weir_http_request asked = {
        .method = request->method,
        .url = request->url,
        .headers = (const struct weir_http_header *)request->headers.items,
        .header_count = request->headers.count,
        .has_body = request->body.is_some,
        .body = request->body.value.bytes,
        .until_ns = request->until_ns,
        .response_bytes_max = request->response_bytes_max,
        .is_cut = request->is_cut,
        .cut_context = request->cut_context,
    };
    return weir_http_send(access->http, &asked, response, err);
}

weir_status weir_access_http_send(void *context, const struct weir_guest_http_request *request,
                                  struct weir_guest_http_response *ret_response,
                                  struct weir_error *err) {
    struct weir_access *access = context;
    *ret_response = (struct weir_guest_http_response){.held = NULL};
    if (!access->http) {
        return weir_fail(err, WEIR_UNSUPPORTED, "there is no HTTP here");
    }
    weir_status status = check_host(access, request->url, err);
    if (status != WEIR_OK) {
        return status;
    }
    struct weir_http_response *response = calloc(1, sizeof *response);
    if (!response) {
        return weir_fail_no_memory(err, "a response");
    }
    status = send(access, request, response, err);
    ret_response->is_timeout = response->is_timeout;
    if (status != WEIR_OK) {
        free(response);
        return status;
    }
    ret_response->status = response->status;
    ret_response->headers = (struct weir_attributes){
        .items = (const struct weir_attribute *)response->headers, .count = response->header_count};
    ret_response->body = response->body;
    ret_response->held = response;
    return WEIR_OK;
}

void weir_access_http_finish(struct weir_guest_http_response *response) {
    if (response->held) {
        weir_http_response_finish(response->held);
        free(response->held);
        response->held = NULL;
    }
}
