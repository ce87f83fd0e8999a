// SPDX-License-Identifier: Apache-2.0
//
// A small HTTP client: one request, and its response as a whole, within a time and within bounds.
// libcurl does the work; only this room includes its headers.
//
// What a guest hands over is distrusted. Everything that curl would take from elsewhere is off:
// redirects, proxies, netrc, cookies, other protocols. Who grants hosts asks weir_http_host, which
// is the parser that weir_http_send uses, and curl connects to what came out of it: there are no
// two opinions of where a URL leads.
//
// Messages name the host and curl's reason; never a path, a query or a header's value, which may
// hold what must not stand in a log.
#ifndef WEIR_HTTP_HTTP_H
#define WEIR_HTTP_HTTP_H

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WEIR_HTTP_URL_BYTES_MAX = 8192,
    WEIR_HTTP_METHOD_BYTES_MAX = 32,
    WEIR_HTTP_HEADERS_MAX = 128,            // of a request, and of a response
    WEIR_HTTP_HEADER_BYTES_MAX = 64 * 1024, // all of them together, names and values
    // How late a call may notice that it is cut.
    WEIR_HTTP_SLICE_MS = 20,
};

// ---- hosts and grants ----

enum {
    WEIR_HTTP_HOST_BYTES = 254,      // the longest name in DNS, and a terminator
    WEIR_HTTP_HOST_TEXT_BYTES = 264, // with brackets, a colon and a port
};

struct weir_http_host {
    // In its one form: a name in lower case without a dot at its end, an IPv4 address as four
    // decimal numbers, an IPv6 address in its shortest form, without brackets.
    char name[WEIR_HTTP_HOST_BYTES];
    uint16_t port; // the URL's, or its scheme's
};

// Where a request for this URL would connect to. WEIR_INVALID: the URL is malformed or longer than
// WEIR_HTTP_URL_BYTES_MAX; its scheme is not http or https; it has a user or a password; its host
// is neither a name of ASCII letters, digits, '-' and '_' (others have to be written as xn--...)
// nor an address, or its IPv6 address has a zone. WEIR_NO_MEMORY. Any thread.
weir_status weir_http_host(struct weir_str url, struct weir_http_host *ret_host,
                           struct weir_error *err);

// Writes "NAME:PORT" for a message, an IPv6 address in brackets. Returns `ret_text`.
const char *weir_http_host_text(const struct weir_http_host *host,
                                char ret_text[static WEIR_HTTP_HOST_TEXT_BYTES]);

// A grant names a host, and a port or none:
//
//     api.example.com         that host, ports 80 and 443
//     api.example.com:8443    that host, that port only
//     *.example.com           every name below example.com, of any depth; not example.com itself
//     127.0.0.1:8080          an address; it does not grant names that lead there
//     [::1]:8080              an IPv6 address, in brackets
//
// Letters match in either case. A grant of a name holds wherever that name leads: whoever can
// change it in DNS can have it lead elsewhere.
//
// Whether a grant is one of these: WEIR_INVALID, with what is wrong in words fit for a message
// about the configuration ("a port is a number from 1 to 65535"). Any thread.
weir_status weir_http_grant_check(struct weir_str grant, struct weir_error *err);

// Whether the grant allows the host, which is one that weir_http_host returned. One that is not
// valid allows nothing. Any thread.
bool weir_http_host_matches(struct weir_str grant, const struct weir_http_host *host);

// ---- requests ----

struct weir_http_header {
    struct weir_str name, value;
};

struct weir_http_request {
    struct weir_str method; // a token, as "GET"; case matters
    struct weir_str url;
    const struct weir_http_header *headers;
    size_t header_count;
    bool has_body; // HEAD has none; POST, PUT and PATCH without one are sent with an empty one
    struct weir_str body;
    // The moment of the monotonic clock at which the whole of it has to be over.
    int64_t until_ns;
    size_t response_bytes_max; // of the response's body
    // Asked every WEIR_HTTP_SLICE_MS on the calling thread: whether the call is to end at once.
    // NULL: it is never cut.
    bool (*is_cut)(const void *context);
    const void *cut_context;
};

struct weir_http_response {
    uint16_t status; // 200 to 999
    // Those of the final response, in the order in which they came; no trailers. Names in lower
    // case, ASCII without control characters; values UTF-8 without CR, LF and NUL: what is not
    // UTF-8 is taken for ISO 8859-1.
    struct weir_http_header *headers;
    size_t header_count;
    struct weir_str body; // any bytes, as they came
    bool is_timeout;      // where the request failed: because its time was over
    char *texts, *bytes;  // what the views point to; the response's own
};

// One for the whole program. A client keeps at most WEIR_HTTP_IDLE_MAX handles that nobody uses,
// each with at most WEIR_HTTP_CONNECTIONS_MAX idle connections, which later requests use again.
struct weir_http_client;
enum {
    WEIR_HTTP_IDLE_MAX = 16,
    WEIR_HTTP_CONNECTIONS_MAX = 4,
    // A handle that nobody has used for that long is closed when another one is given back.
    WEIR_HTTP_IDLE_S = 60,
    // Nothing ends a look-up of a name that the system's resolver has begun. A request whose time
    // is over leaves it behind, on a thread of curl's, to end by itself. When as many were left in
    // the last WEIR_HTTP_LOOKUP_S seconds, requests to names fail at once.
    WEIR_HTTP_LOOKUPS_LEFT_MAX = 64,
    WEIR_HTTP_LOOKUP_S = 60,
};

// `ca_file`: certificates (PEM) that are trusted in place of the system's; NULL: the system's. It
// is read when connections are made. WEIR_NO_MEMORY, WEIR_OTHER (curl cannot be used). Main thread.
weir_status weir_http_client_create(const char *ca_file, struct weir_http_client **ret_client,
                                    struct weir_error *err);

// No request may be under way. NULL is allowed.
void weir_http_client_destroy(struct weir_http_client *client);

// Sends the request and waits for the whole response, whatever its status; redirects are not
// followed. HTTP/1.1, or HTTP/2 where TLS agrees on it; certificates are verified. Unless the
// request has them, "User-Agent: weir/VERSION" and "Accept-Encoding: identity" are sent; a response
// that comes compressed all the same stays so.
//
// Fills the response, which the caller finishes. Where it fails, there is nothing to finish, and
// is_timeout tells whether that was for want of time. Fails with
// - WEIR_INVALID: as weir_http_host; a method that is no token, or CONNECT; a body for HEAD; a
//   header name that is no token, or is one of those that say how a message is framed and belong
//   to the client (Host, Content-Length, Transfer-Encoding, Connection, Keep-Alive, TE, Trailer,
//   Upgrade, HTTP2-Settings, Expect, Proxy-...); a value with a control character other than a tab;
// - WEIR_UNAVAILABLE: the name is not found, nobody answers, TLS fails, the response is not HTTP or
//   ended before it was whole; with is_timeout where until_ns came first;
// - WEIR_LIMIT: the request or the response is larger than its bounds;
// - WEIR_STOPPED: it was cut;
// - WEIR_NO_MEMORY; WEIR_OTHER: curl cannot do it here, such as where `ca_file` cannot be read.
//
// Where a kept connection turns out to be closed before a byte of the response came, curl sends the
// request again on another one, as HTTP clients do: a server may see it twice, whatever its method.
//
// Any thread, many at a time; the program ignores SIGPIPE. Waits until until_ns at most, and for
// WEIR_HTTP_SLICE_MS at most once it is cut.
weir_status weir_http_send(struct weir_http_client *client, const struct weir_http_request *request,
                           struct weir_http_response *ret_response, struct weir_error *err);

// Frees what a response holds and makes it empty; one that is all zero is allowed.
void weir_http_response_finish(struct weir_http_response *response);

#endif
