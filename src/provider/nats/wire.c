// SPDX-License-Identifier: Apache-2.0
//
// See wire.h.
#include "provider/nats/wire.h"

#include "base/digits.h"
#include "base/show.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

// The longest form is HMSG SUBJECT SID REPLY HEADERS TOTAL.
enum { PARTS_MAX = 6 };

static bool is_blank(char byte) {
    return byte == ' ' || byte == '\t';
}

// How long the word at the start of the line is. memchr, for most words are long and have no tab.
static size_t word_bytes(struct weir_str line) {
    const char *space = memchr(line.data, ' ', line.size);
    size_t size = space ? (size_t)(space - line.data) : line.size;
    const char *tab = memchr(line.data, '\t', size);
    return tab ? (size_t)(tab - line.data) : size;
}

// Takes the next word off the front of the line; an empty view where there is none.
static struct weir_str take_word(struct weir_str *line) {
    while (line->size > 0 && is_blank(line->data[0])) {
        line->data++;
        line->size--;
    }
    struct weir_str word = {line->data, word_bytes(*line)};
    *line = (struct weir_str){word.data + word.size, line->size - word.size};
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
    return weir_decimal_read(parts[1], &frame->subscription) &&
           (!has_headers || weir_decimal_read(parts[count - 2], &ret_sizes->headers)) &&
           weir_decimal_read(parts[count - 1], &ret_sizes->total) &&
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

static weir_status fail_long(struct weir_error *err) {
    return weir_fail(err, WEIR_INVALID,
                     "a subject that is too long: a NATS server takes lines of %d bytes",
                     WEIR_NATS_CONTROL_BYTES_MAX);
}

weir_status weir_nats_put_line(struct weir_nats_buffer *buffer, struct weir_error *err,
                               const char *format, ...) {
    char line[WEIR_NATS_CONTROL_BYTES_MAX + 1];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (size < 0 || (size_t)size >= sizeof line) {
        return fail_long(err);
    }
    return weir_nats_buffer_put(buffer, (struct weir_str){line, (size_t)size})
               ? WEIR_OK
               : weir_fail_no_memory(err, "a message to a NATS server");
}

// A number and a byte behind it.
static void put_number(struct weir_nats_buffer *buffer, size_t number, char behind) {
    char text[WEIR_DECIMAL_BYTES_MAX + 1];
    size_t size = weir_decimal(number, text);
    text[size] = behind;
    weir_nats_buffer_put(buffer, (struct weir_str){text, size + 1});
}

// The line is put without printf, for an acknowledgement is a post.
weir_status weir_nats_put_post(struct weir_nats_buffer *buffer, const struct weir_nats_post *post,
                               struct weir_error *err) {
    const size_t words_max = sizeof "HPUB" + sizeof " " + 2 * (WEIR_DECIMAL_BYTES_MAX + 1) + 2;
    size_t total = post->headers.size + post->data.size;
    size_t line_max = words_max + post->subject.size + post->reply.size;
    if (!weir_nats_buffer_reserve(buffer, line_max + total + 2)) { // of all that is put here
        return weir_fail_no_memory(err, "a message to a NATS server");
    }
    size_t begin = buffer->end;
    weir_nats_buffer_put(buffer, post->headers.size > 0 ? WEIR_STR("HPUB ") : WEIR_STR("PUB "));
    weir_nats_buffer_put(buffer, post->subject);
    weir_nats_buffer_put(buffer, WEIR_STR(" "));
    if (post->reply.size > 0) {
        weir_nats_buffer_put(buffer, post->reply);
        weir_nats_buffer_put(buffer, WEIR_STR(" "));
    }
    if (post->headers.size > 0) {
        put_number(buffer, post->headers.size, ' ');
    }
    put_number(buffer, total, '\r');
    weir_nats_buffer_put(buffer, WEIR_STR("\n"));
    if (buffer->end - begin > WEIR_NATS_CONTROL_BYTES_MAX) {
        buffer->end = begin;
        return fail_long(err);
    }
    weir_nats_buffer_put(buffer, post->headers);
    weir_nats_buffer_put(buffer, post->data);
    weir_nats_buffer_put(buffer, WEIR_STR("\r\n"));
    return WEIR_OK;
}
