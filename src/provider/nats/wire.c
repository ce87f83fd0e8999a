// SPDX-License-Identifier: Apache-2.0
//
// See wire.h.
#include "provider/nats/wire.h"

#include "base/show.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

// The longest form is HMSG SUBJECT SID REPLY HEADERS TOTAL.
enum { PARTS_MAX = 6 };

bool weir_nats_number(struct weir_str text, uint64_t *ret_number) {
    uint64_t number = 0;
    for (size_t i = 0; i < text.size; i++) {
        char digit = text.data[i];
        if (digit < '0' || digit > '9' || __builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, (uint64_t)(digit - '0'), &number)) {
            return false;
        }
    }
    *ret_number = number;
    return text.size > 0;
}

static bool is_blank(char byte) {
    return byte == ' ' || byte == '\t';
}

// Takes the next word off the front of the line; an empty view where there is none.
static struct weir_str take_word(struct weir_str *line) {
    size_t begin = 0;
    while (begin < line->size && is_blank(line->data[begin])) {
        begin++;
    }
    size_t end = begin;
    while (end < line->size && !is_blank(line->data[end])) {
        end++;
    }
    struct weir_str word = {line->data + begin, end - begin};
    *line = (struct weir_str){line->data + end, line->size - end};
    return word;
}

static struct weir_str trim(struct weir_str text) {
    while (text.size > 0 && (is_blank(text.data[0]) || text.data[0] == '\'')) {
        text.data++;
        text.size--;
    }
    while (text.size > 0 &&
           (is_blank(text.data[text.size - 1]) || text.data[text.size - 1] == '\'')) {
        text.size--;
    }
    return text;
}

static bool is_word(struct weir_str word, const char *wanted) {
    return word.size == strlen(wanted) && strncasecmp(word.data, wanted, word.size) == 0;
}

static weir_status fail_line(struct weir_str line, struct weir_error *err) {
    char shown[WEIR_SHOW_BYTES];
    return weir_fail(err, WEIR_INVALID, "what answers is no NATS server: it sends \"%s\"",
                     weir_show(line, shown, sizeof shown));
}

// What the line of a message says of the bytes behind it.
struct sizes {
    uint64_t headers, total;
};

// `line` is what stands behind MSG or HMSG.
static bool read_message_line(struct weir_str line, bool has_headers, struct weir_nats_frame *frame,
                              struct sizes *ret_sizes) {
    struct weir_str parts[PARTS_MAX];
    size_t count = 0, numbers = has_headers ? 2 : 1;
    for (struct weir_str word = take_word(&line); word.size > 0; word = take_word(&line)) {
        if (count == PARTS_MAX) {
            return false;
        }
        parts[count++] = word;
    }
    if (count != 2 + numbers && count != 3 + numbers) {
        return false;
    }
    frame->word = WEIR_NATS_MESSAGE;
    frame->subject = parts[0];
    frame->reply = count == 3 + numbers ? parts[2] : (struct weir_str){0};
    ret_sizes->headers = 0;
    return weir_nats_number(parts[1], &frame->subscription) &&
           (!has_headers || weir_nats_number(parts[count - 2], &ret_sizes->headers)) &&
           weir_nats_number(parts[count - 1], &ret_sizes->total) &&
           ret_sizes->headers <= ret_sizes->total;
}

static weir_status read_message(struct weir_str bytes, size_t line_bytes, const struct sizes *sizes,
                                struct weir_nats_frame *frame, size_t *ret_taken,
                                struct weir_error *err) {
    if (sizes->total > WEIR_NATS_MESSAGE_BYTES_MAX) {
        return weir_fail(err, WEIR_INVALID,
                         "the server sends a message of %" PRIu64 " bytes; the longest has %d",
                         sizes->total, WEIR_NATS_MESSAGE_BYTES_MAX);
    }
    size_t total = (size_t)sizes->total, headers = (size_t)sizes->headers;
    *ret_taken = line_bytes + total + 2;
    if (bytes.size < *ret_taken) {
        return WEIR_AGAIN;
    }
    const char *payload = bytes.data + line_bytes;
    if (memcmp(payload + total, "\r\n", 2) != 0) {
        return weir_fail(err, WEIR_INVALID, "the server sends a message without an end");
    }
    frame->headers = (struct weir_str){payload, headers};
    frame->data = (struct weir_str){payload + headers, total - headers};
    return WEIR_OK;
}

weir_status weir_nats_read(struct weir_str bytes, struct weir_nats_frame *ret_frame,
                           size_t *ret_taken, struct weir_error *err) {
    *ret_frame = (struct weir_nats_frame){0};
    *ret_taken = bytes.size + 1;
    const char *newline = bytes.size > 0 ? memchr(bytes.data, '\n', bytes.size) : NULL;
    size_t line_bytes = newline ? (size_t)(newline - bytes.data) + 1 : bytes.size;
    if (line_bytes > WEIR_NATS_LINE_BYTES_MAX) {
        return fail_line(bytes, err);
    }
    if (!newline) {
        return WEIR_AGAIN;
    }
    struct weir_str line = {bytes.data, line_bytes - 1};
    line.size -= line.size > 0 && line.data[line.size - 1] == '\r';
    struct weir_str rest = line, word = take_word(&rest);
    *ret_taken = line_bytes;
    bool has_headers = is_word(word, "HMSG");
    if (has_headers || is_word(word, "MSG")) {
        struct sizes sizes;
        return read_message_line(rest, has_headers, ret_frame, &sizes)
                   ? read_message(bytes, line_bytes, &sizes, ret_frame, ret_taken, err)
                   : fail_line(line, err);
    }
    static const struct {
        const char *text;
        enum weir_nats_word word;
    } words[] = {{"INFO", WEIR_NATS_INFO},
                 {"PING", WEIR_NATS_PING},
                 {"PONG", WEIR_NATS_PONG},
                 {"+OK", WEIR_NATS_OK},
                 {"-ERR", WEIR_NATS_ERR}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (is_word(word, words[i].text)) {
            ret_frame->word = words[i].word;
            ret_frame->text = trim(rest);
            return WEIR_OK;
        }
    }
    return fail_line(line, err);
}

weir_status weir_nats_put_line(struct weir_nats_buffer *buffer, struct weir_error *err,
                               const char *format, ...) {
    char line[WEIR_NATS_CONTROL_BYTES_MAX + 1];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (size < 0 || (size_t)size >= sizeof line) {
        return weir_fail(err, WEIR_INVALID,
                         "a subject that is too long: a NATS server takes lines of %d bytes",
                         WEIR_NATS_CONTROL_BYTES_MAX);
    }
    return weir_nats_buffer_put(buffer, (struct weir_str){line, (size_t)size})
               ? WEIR_OK
               : weir_fail_no_memory(err, "a message to a NATS server");
}

weir_status weir_nats_put_post(struct weir_nats_buffer *buffer, const struct weir_nats_post *post,
                               struct weir_error *err) {
    size_t total = post->headers.size + post->data.size;
    if (!weir_nats_buffer_reserve(buffer, WEIR_NATS_CONTROL_BYTES_MAX + total + 2)) {
        return weir_fail_no_memory(err, "a message to a NATS server");
    }
    char sizes[64];
    if (post->headers.size > 0) {
        snprintf(sizes, sizeof sizes, "%zu %zu", post->headers.size, total);
    } else {
        snprintf(sizes, sizeof sizes, "%zu", total);
    }
    weir_status status =
        weir_nats_put_line(buffer, err, "%s %.*s %.*s%s%s\r\n",
                           post->headers.size > 0 ? "HPUB" : "PUB", WEIR_STR_ARG(post->subject),
                           WEIR_STR_ARG(post->reply), post->reply.size > 0 ? " " : "", sizes);
    if (status == WEIR_OK) { // there is room for all of it
        weir_nats_buffer_put(buffer, post->headers);
        weir_nats_buffer_put(buffer, post->data);
        weir_nats_buffer_put(buffer, WEIR_STR("\r\n"));
    }
    return status;
}
