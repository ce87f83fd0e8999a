// SPDX-License-Identifier: Apache-2.0
//
// From a request to curl's options. Whatever could be read by a server as something else than was
// meant (a line end in a value, a second length) is refused here, by the grammar of RFC 9110; curl
// writes its lines from what is left.
#include "http/http_private.h"

#include "base/show.h"

#include <stdlib.h>
#include <strings.h>

// ---- checks ----

size_t weir_http_token_bytes(struct weir_str text) {
    static const char others[] = "!#$%&'*+-.^_`|~";
    size_t size = 0;
    while (size < text.size) {
        char c = text.data[size];
        bool is_alphanumeric =
            (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!is_alphanumeric && (c == '\0' || !strchr(others, c))) {
            break;
        }
        size++;
    }
    return size;
}

static bool is_token(struct weir_str text) {
    return text.size > 0 && weir_http_token_bytes(text) == text.size;
}

static bool name_is(struct weir_str name, const char *wanted) {
    return name.size == strlen(wanted) && strncasecmp(name.data, wanted, name.size) == 0;
}

// The names that say where a message goes and where it ends. One that ends in '-' is a prefix.
static const char *const reserved_names[] = {
    "Host",    "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "TE",
    "Trailer", "Upgrade",        "HTTP2-Settings",    "Expect",     "Proxy-",
};

// The entry that the name falls under; NULL where there is none.
static const char *reserved(struct weir_str name) {
    for (size_t i = 0; i < sizeof reserved_names / sizeof reserved_names[0]; i++) {
        const char *entry = reserved_names[i];
        size_t size = strlen(entry);
        bool is_prefix = entry[size - 1] == '-';
        if ((is_prefix ? name.size >= size : name.size == size) &&
            strncasecmp(name.data, entry, size) == 0) {
            return entry;
        }
    }
    return NULL;
}

static bool is_value(struct weir_str value) {
    for (size_t i = 0; i < value.size; i++) {
        unsigned char c = (unsigned char)value.data[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return false;
        }
    }
    return true;
}

// A name is shown only once it is known to be a token: until then it may be a whole line, value
// and all.
static weir_status check_header(const struct weir_http_header *header, size_t number,
                                struct weir_error *err) {
    if (!is_token(header->name)) {
        return weir_fail(err, WEIR_INVALID,
                         "header %zu has no valid name: it is made of letters, digits and "
                         "!#$%%&'*+-.^_`|~",
                         number);
    }
    const char *entry = reserved(header->name);
    if (entry) {
        return weir_fail(err, WEIR_INVALID, "header %zu: %s%s is the client's own to send", number,
                         entry, entry[strlen(entry) - 1] == '-' ? "..." : "");
    }
    if (!is_value(header->value)) {
        char shown[WEIR_SHOW_BYTES];
        return weir_fail(err, WEIR_INVALID, "header %zu (%s) has a control character in its value",
                         number, weir_show(header->name, shown, sizeof shown));
    }
    return WEIR_OK;
}

static weir_status check_method(const struct weir_http_request *request, struct weir_error *err) {
    struct weir_str method = request->method;
    if (!is_token(method) || method.size > WEIR_HTTP_METHOD_BYTES_MAX) {
        return weir_fail(err, WEIR_INVALID, "a method is a token of 1 to %d bytes, as GET",
                         WEIR_HTTP_METHOD_BYTES_MAX);
    }
    if (name_is(method, "CONNECT")) {
        return weir_fail(err, WEIR_INVALID, "the method CONNECT is for proxies");
    }
    if (weir_str_equal(method, WEIR_STR("HEAD")) && request->has_body) {
        return weir_fail(err, WEIR_INVALID, "a request with the method HEAD has no body");
    }
    return WEIR_OK;
}

weir_status weir_http_request_check(const struct weir_http_request *request,
                                    struct weir_error *err) {
    weir_status status = check_method(request, err);
    if (!status && request->header_count > WEIR_HTTP_HEADERS_MAX) {
        status = weir_fail(err, WEIR_LIMIT, "a request has at most %d headers, this one has %zu",
                           WEIR_HTTP_HEADERS_MAX, request->header_count);
    }
    size_t left = WEIR_HTTP_HEADER_BYTES_MAX;
    for (size_t i = 0; i < request->header_count && !status; i++) {
        const struct weir_http_header *header = &request->headers[i];
        if (header->name.size > left || header->value.size > left - header->name.size) {
            return weir_fail(err, WEIR_LIMIT, "a request's headers have at most %d bytes together",
                             WEIR_HTTP_HEADER_BYTES_MAX);
        }
        left -= header->name.size + header->value.size;
        status = check_header(header, i + 1, err);
    }
    return status;
}

// ---- options ----

// Appends one line to curl's list. curl takes "Name:" for the wish not to send a header, and
// "Name;" for one without a value.
static bool append(struct curl_slist **list, struct weir_str name, struct weir_str value) {
    value = weir_http_trimmed(value);
    char *line = malloc(name.size + 2 + value.size + 1);
    if (!line) {
        return false;
    }
    memcpy(line, name.data, name.size);
    if (value.size > 0) {
        memcpy(line + name.size, ": ", 2);
        memcpy(line + name.size + 2, value.data, value.size);
        line[name.size + 2 + value.size] = '\0';
    } else {
        memcpy(line + name.size, ";", 2);
    }
    struct curl_slist *longer = curl_slist_append(*list, line);
    free(line);
    *list = longer ? longer : *list;
    return longer != NULL;
}

static bool append_line(struct curl_slist **list, const char *line) {
    struct curl_slist *longer = curl_slist_append(*list, line);
    *list = longer ? longer : *list;
    return longer != NULL;
}

static bool has_header(const struct weir_http_request *request, const char *name) {
    for (size_t i = 0; i < request->header_count; i++) {
        if (name_is(request->headers[i].name, name)) {
            return true;
        }
    }
    return false;
}

static bool append_all(struct curl_slist **list, const struct weir_http_request *request) {
    // What curl would add for a body, and weir does not: a wait for "100 Continue", a type.
    bool is_done = append_line(list, "Expect:");
    if (!has_header(request, "content-type")) {
        is_done = is_done && append_line(list, "Content-Type:");
    }
    if (!has_header(request, "user-agent")) {
        is_done = is_done && append_line(list, "User-Agent: weir/" WEIR_VERSION);
    }
    if (!has_header(request, "accept-encoding")) {
        is_done = is_done && append_line(list, "Accept-Encoding: identity");
    }
    for (size_t i = 0; i < request->header_count && is_done; i++) {
        is_done = append(list, request->headers[i].name, request->headers[i].value);
    }
    return is_done;
}

static bool wants_body(struct weir_str method) {
    return weir_str_equal(method, WEIR_STR("POST")) || weir_str_equal(method, WEIR_STR("PUT")) ||
           weir_str_equal(method, WEIR_STR("PATCH"));
}

static CURLcode set_body(CURL *easy, struct weir_str body) {
    // The size first: without it curl would look for a NUL. NULL is for it no body at all.
    CURLcode code = curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.size);
    return code ? code : curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body.size > 0 ? body.data : "");
}

weir_status weir_http_sending_init(struct weir_http_sending *sending, CURL *easy,
                                   const struct weir_http_request *request,
                                   struct weir_error *err) {
    *sending = (struct weir_http_sending){0};
    if (!append_all(&sending->headers, request)) {
        return weir_fail_no_memory(err, "a request's headers");
    }
    memcpy(sending->method, request->method.data, request->method.size);
    CURLcode code = curl_easy_setopt(easy, CURLOPT_HTTPHEADER, sending->headers);
    if (!code && strcmp(sending->method, "HEAD") == 0) {
        code = curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    } else if (!code && (request->has_body || wants_body(request->method))) {
        code = set_body(easy, request->has_body ? request->body : (struct weir_str){0});
    }
    if (!code) {
        code = curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, sending->method);
    }
    if (code) {
        return code == CURLE_OUT_OF_MEMORY
                   ? weir_fail_no_memory(err, "a request")
                   : weir_fail(err, WEIR_OTHER, "curl refuses a request: %s",
                               curl_easy_strerror(code));
    }
    return WEIR_OK;
}

void weir_http_sending_finish(struct weir_http_sending *sending) {
    curl_slist_free_all(sending->headers);
    sending->headers = NULL;
}
