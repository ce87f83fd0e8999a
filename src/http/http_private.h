// SPDX-License-Identifier: Apache-2.0
//
// What the files of this room share. url.c and grant.c: where a URL leads and who may go there.
// request.c: from a request to curl's options. response.c: from curl's callbacks to a response.
// client.c: the handles, and a request from its beginning to its end.
#ifndef WEIR_HTTP_HTTP_PRIVATE_H
#define WEIR_HTTP_HTTP_PRIVATE_H

#include "http/http.h"

#include <curl/curl.h>

// ---- url.c ----

// Brings a host to its one form (see struct weir_http_host), an IPv6 address in brackets coming
// out without. Returns NULL, or what is wrong with it, as a sentence about a host.
const char *weir_http_name_canonical(struct weir_str text,
                                     char ret_name[static WEIR_HTTP_HOST_BYTES]);

// Whether a name in its one form is an IPv4 address.
bool weir_http_name_is_ipv4(const char *name);

// As weir_http_host, with the handle for curl, to be freed by curl_url_cleanup; it connects to
// ret_host. NULL after a failure.
weir_status weir_http_url_parse(struct weir_str url, CURLU **ret_handle,
                                struct weir_http_host *ret_host, struct weir_error *err);

// The digits of a port, without a sign, spaces or zeros in front; 0 where it is none from 1 to
// 65535.
uint16_t weir_http_port_of(struct weir_str digits);

// ---- request.c ----

// Checks all of the request but its URL. WEIR_INVALID, WEIR_LIMIT.
weir_status weir_http_request_check(const struct weir_http_request *request,
                                    struct weir_error *err);

// What curl is given for one request, and has to outlive it.
struct weir_http_sending {
    struct curl_slist *headers;
    char method[WEIR_HTTP_METHOD_BYTES_MAX + 1];
};

// Sets the method, headers and body of a checked request; the body is borrowed. `sending` is
// finished by the caller in any case. WEIR_NO_MEMORY, WEIR_OTHER.
weir_status weir_http_sending_init(struct weir_http_sending *sending, CURL *easy,
                                   const struct weir_http_request *request, struct weir_error *err);
void weir_http_sending_finish(struct weir_http_sending *sending);

// ---- response.c ----

enum weir_http_trouble {
    WEIR_HTTP_TROUBLE_NONE,
    WEIR_HTTP_TROUBLE_NO_MEMORY,
    WEIR_HTTP_TROUBLE_HEADER_COUNT, // the bounds by their names
    WEIR_HTTP_TROUBLE_HEADER_BYTES,
    WEIR_HTTP_TROUBLE_BODY_BYTES,
    WEIR_HTTP_TROUBLE_MALFORMED, // a header's name
};

struct weir_http_buffer {
    char *data;
    size_t size, capacity;
};

// Where a text stands in a buffer that may still move.
struct weir_http_span {
    size_t at, size;
};

// Collects a response while it comes.
struct weir_http_receiver {
    CURL *easy;
    size_t body_bytes_max;
    enum weir_http_trouble trouble; // why a callback has ended the transfer
    bool is_head_done;              // of the final response; headers behind it are trailers
    size_t head_bytes;              // that came so far, of interim responses too
    size_t header_count;
    struct {
        struct weir_http_span name, value;
    } headers[WEIR_HTTP_HEADERS_MAX];
    struct weir_http_buffer texts, body;
};

// Sets the callbacks. The receiver outlives the transfer, and is finished by the caller.
CURLcode weir_http_receiver_init(struct weir_http_receiver *receiver, CURL *easy,
                                 size_t body_bytes_max);
void weir_http_receiver_finish(struct weir_http_receiver *receiver);

// Fails with what the receiver's trouble is.
weir_status weir_http_receiver_fail(const struct weir_http_receiver *receiver, const char *host,
                                    struct weir_error *err);

// Moves what was collected into the response. WEIR_NO_MEMORY; WEIR_UNAVAILABLE where there was no
// final response.
weir_status weir_http_receiver_take(struct weir_http_receiver *receiver, const char *host,
                                    struct weir_http_response *ret_response,
                                    struct weir_error *err);

// The size of the token (RFC 9110, 5.6.2) at the start of the text.
size_t weir_http_token_bytes(struct weir_str text);

// Without blanks at both ends, and without the end of a line.
struct weir_str weir_http_trimmed(struct weir_str text);

#endif
