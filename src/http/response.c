// SPDX-License-Identifier: Apache-2.0
//
// From curl's callbacks to a response. Headers come line by line, of every response that there is:
// interim ones ("100 Continue", "103 Early Hints"), then the final one, then trailers. Each begins
// with a status line and ends with an empty one; those of the final one are kept. Bounds are looked
// at before anything is kept, and over all lines, so that a server that never stops sending them is
// left too.
//
// Runs on the thread that sends.
#include "http/http_private.h"

#include <stdlib.h>

enum { BUFFER_BYTES_MIN = 1024 };

// Makes room for `more` bytes: doubles, so that a long body is copied a few times at most.
static bool reserve(struct weir_http_buffer *buffer, size_t more) {
    size_t wanted;
    if (__builtin_add_overflow(buffer->size, more, &wanted)) {
        return false;
    }
    if (wanted <= buffer->capacity) {
        return true;
    }
    size_t capacity = buffer->capacity > SIZE_MAX / 2 ? wanted : buffer->capacity * 2;
    capacity = capacity < wanted ? wanted : capacity;
    capacity = capacity < BUFFER_BYTES_MIN ? BUFFER_BYTES_MIN : capacity;
    char *data = realloc(buffer->data, capacity);
    if (!data) {
        return false;
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

static bool add(struct weir_http_buffer *buffer, struct weir_str bytes) {
    if (!reserve(buffer, bytes.size)) {
        return false;
    }
    if (bytes.size > 0) {
        memcpy(buffer->data + buffer->size, bytes.data, bytes.size);
        buffer->size += bytes.size;
    }
    return true;
}

// ---- headers ----

struct weir_str weir_http_trimmed(struct weir_str text) {
    static const char blanks[] = {' ', '\t', '\r', '\n'};
    while (text.size > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text.data++;
        text.size--;
    }
    while (text.size > 0 && memchr(blanks, text.data[text.size - 1], sizeof blanks)) {
        text.size--;
    }
    return text;
}

// A name as servers send it: not every one is a token.
static bool is_name(struct weir_str name) {
    for (size_t i = 0; i < name.size; i++) {
        if (name.data[i] <= ' ' || name.data[i] > '~') {
            return false;
        }
    }
    return name.size > 0;
}

static bool add_name(struct weir_http_buffer *texts, struct weir_str name) {
    if (!add(texts, name)) {
        return false;
    }
    for (char *c = texts->data + texts->size - name.size; c < texts->data + texts->size; c++) {
        *c = (char)(*c >= 'A' && *c <= 'Z' ? *c - 'A' + 'a' : *c);
    }
    return true;
}

// A value as UTF-8. The older of the two ways to send others than ASCII is ISO 8859-1, in which
// each byte is the character of that number.
static bool add_value(struct weir_http_buffer *texts, struct weir_str value) {
    if (weir_utf8_valid(value)) {
        return add(texts, value);
    }
    if (!reserve(texts, value.size * 2)) {
        return false;
    }
    for (size_t i = 0; i < value.size; i++) {
        unsigned char c = (unsigned char)value.data[i];
        if (c < 0x80) {
            texts->data[texts->size++] = (char)c;
        } else {
            texts->data[texts->size++] = (char)(0xc0 | c >> 6);
            texts->data[texts->size++] = (char)(0x80 | (c & 0x3f));
        }
    }
    return true;
}

static enum weir_http_trouble keep_header(struct weir_http_receiver *receiver,
                                          struct weir_str line) {
    const char *colon = memchr(line.data, ':', line.size);
    size_t name_size = colon ? (size_t)(colon - line.data) : line.size;
    struct weir_str name =
        weir_http_trimmed((struct weir_str){.data = line.data, .size = name_size});
    if (!colon || !is_name(name)) {
        return WEIR_HTTP_TROUBLE_MALFORMED;
    }
    if (receiver->header_count == WEIR_HTTP_HEADERS_MAX) {
        return WEIR_HTTP_TROUBLE_HEADER_COUNT;
    }
    struct weir_http_buffer *texts = &receiver->texts;
    size_t name_at = texts->size;
    bool is_kept = add_name(texts, name);
    size_t value_at = texts->size;
    is_kept =
        is_kept && add_value(texts, weir_http_trimmed((struct weir_str){
                                        .data = colon + 1, .size = line.size - name_size - 1}));
    if (!is_kept) {
        return WEIR_HTTP_TROUBLE_NO_MEMORY;
    }
    size_t index = receiver->header_count++;
    receiver->headers[index].name =
        (struct weir_http_span){.at = name_at, .size = value_at - name_at};
    receiver->headers[index].value =
        (struct weir_http_span){.at = value_at, .size = texts->size - value_at};
    return WEIR_HTTP_TROUBLE_NONE;
}

// A line that begins with white space goes on with the value before it, which is the last in the
// buffer (RFC 9112, 5.2).
static enum weir_http_trouble continue_header(struct weir_http_receiver *receiver,
                                              struct weir_str line) {
    if (receiver->header_count == 0) {
        return WEIR_HTTP_TROUBLE_MALFORMED;
    }
    struct weir_http_span *value = &receiver->headers[receiver->header_count - 1].value;
    if (!add(&receiver->texts, WEIR_STR(" ")) ||
        !add_value(&receiver->texts, weir_http_trimmed(line))) {
        return WEIR_HTTP_TROUBLE_NO_MEMORY;
    }
    value->size = receiver->texts.size - value->at;
    return WEIR_HTTP_TROUBLE_NONE;
}

static long status_of(CURL *easy) {
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

static enum weir_http_trouble take_line(struct weir_http_receiver *receiver, struct weir_str line) {
    if (line.size > WEIR_HTTP_HEADER_BYTES_MAX - receiver->head_bytes) {
        return WEIR_HTTP_TROUBLE_HEADER_BYTES;
    }
    receiver->head_bytes += line.size;
    if (receiver->is_head_done) {
        return WEIR_HTTP_TROUBLE_NONE;
    }
    if (weir_str_has_prefix(line, WEIR_STR("HTTP/"))) {
        receiver->header_count = 0;
        receiver->texts.size = 0;
        return WEIR_HTTP_TROUBLE_NONE;
    }
    struct weir_str rest = weir_http_trimmed(line);
    if (rest.size == 0) {
        receiver->is_head_done = status_of(receiver->easy) >= 200;
        return WEIR_HTTP_TROUBLE_NONE;
    }
    if (memchr(rest.data, '\r', rest.size) || memchr(rest.data, '\0', rest.size)) {
        return WEIR_HTTP_TROUBLE_MALFORMED; // to some, a CR alone ends a line
    }
    bool is_continued = line.data[0] == ' ' || line.data[0] == '\t';
    return is_continued ? continue_header(receiver, line) : keep_header(receiver, line);
}

static size_t on_header(char *data, size_t size, size_t count, void *context) {
    struct weir_http_receiver *receiver = context;
    receiver->trouble = take_line(receiver, (struct weir_str){.data = data, .size = size * count});
    return receiver->trouble == WEIR_HTTP_TROUBLE_NONE ? size * count : 0;
}

// ---- the body ----

// The length that the server told, as far as it is allowed; 0 where it told none.
static size_t expected_bytes(const struct weir_http_receiver *receiver) {
    curl_off_t length = -1;
    curl_easy_getinfo(receiver->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    return length < 0 ? 0 : (size_t)length;
}

static enum weir_http_trouble take_bytes(struct weir_http_receiver *receiver,
                                         struct weir_str bytes) {
    struct weir_http_buffer *body = &receiver->body;
    size_t wanted = bytes.size;
    if (body->size == 0) {
        // One that is too large is left with its first bytes, and others are kept where they come.
        size_t expected = expected_bytes(receiver);
        wanted = expected > wanted ? expected : wanted;
    }
    if (wanted > receiver->body_bytes_max - body->size) {
        return WEIR_HTTP_TROUBLE_BODY_BYTES;
    }
    return reserve(body, wanted) && add(body, bytes) ? WEIR_HTTP_TROUBLE_NONE
                                                     : WEIR_HTTP_TROUBLE_NO_MEMORY;
}

static size_t on_body(char *data, size_t size, size_t count, void *context) {
    struct weir_http_receiver *receiver = context;
    receiver->trouble = take_bytes(receiver, (struct weir_str){.data = data, .size = size * count});
    return receiver->trouble == WEIR_HTTP_TROUBLE_NONE ? size * count : 0;
}

// ---- the whole ----

CURLcode weir_http_receiver_init(struct weir_http_receiver *receiver, CURL *easy,
                                 size_t body_bytes_max) {
    memset(receiver, 0, sizeof *receiver);
    receiver->easy = easy;
    receiver->body_bytes_max = body_bytes_max;
    CURLcode code = curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    code = code ? code : curl_easy_setopt(easy, CURLOPT_HEADERDATA, receiver);
    code = code ? code : curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    return code ? code : curl_easy_setopt(easy, CURLOPT_WRITEDATA, receiver);
}

void weir_http_receiver_finish(struct weir_http_receiver *receiver) {
    free(receiver->texts.data);
    free(receiver->body.data);
    receiver->texts = receiver->body = (struct weir_http_buffer){0};
}

weir_status weir_http_receiver_fail(const struct weir_http_receiver *receiver, const char *host,
                                    struct weir_error *err) {
    switch (receiver->trouble) {
    case WEIR_HTTP_TROUBLE_HEADER_COUNT:
        return weir_fail(err, WEIR_LIMIT, "the response of %s has more than %d headers", host,
                         WEIR_HTTP_HEADERS_MAX);
    case WEIR_HTTP_TROUBLE_HEADER_BYTES:
        return weir_fail(err, WEIR_LIMIT, "the response of %s has headers of more than %d bytes",
                         host, WEIR_HTTP_HEADER_BYTES_MAX);
    case WEIR_HTTP_TROUBLE_BODY_BYTES:
        return weir_fail(err, WEIR_LIMIT, "the response of %s has a body of more than %zu bytes",
                         host, receiver->body_bytes_max);
    case WEIR_HTTP_TROUBLE_MALFORMED:
        return weir_fail(err, WEIR_UNAVAILABLE, "the response of %s has a malformed header", host);
    case WEIR_HTTP_TROUBLE_NO_MEMORY:
    case WEIR_HTTP_TROUBLE_NONE:
        break;
    }
    return weir_fail_no_memory(err, "a response");
}

static struct weir_str text_at(const struct weir_http_receiver *receiver,
                               struct weir_http_span span) {
    return (struct weir_str){.data = receiver->texts.data + span.at, .size = span.size};
}

weir_status weir_http_receiver_take(struct weir_http_receiver *receiver, const char *host,
                                    struct weir_http_response *ret_response,
                                    struct weir_error *err) {
    if (!receiver->is_head_done) {
        return weir_fail(err, WEIR_UNAVAILABLE, "%s sent no final response", host);
    }
    size_t count = receiver->header_count;
    struct weir_http_header *headers = count > 0 ? calloc(count, sizeof *headers) : NULL;
    if (count > 0 && !headers) {
        return weir_fail_no_memory(err, "a response");
    }
    for (size_t i = 0; i < count; i++) {
        headers[i].name = text_at(receiver, receiver->headers[i].name);
        headers[i].value = text_at(receiver, receiver->headers[i].value);
    }
    *ret_response = (struct weir_http_response){
        .status = (uint16_t)status_of(receiver->easy),
        .headers = headers,
        .header_count = count,
        .body = {.data = receiver->body.data, .size = receiver->body.size},
        .texts = receiver->texts.data,
        .bytes = receiver->body.data,
    };
    receiver->texts = receiver->body = (struct weir_http_buffer){0};
    return WEIR_OK;
}

void weir_http_response_finish(struct weir_http_response *response) {
    free(response->headers);
    free(response->texts);
    free(response->bytes);
    *response = (struct weir_http_response){0};
}
