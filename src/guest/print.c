// SPDX-License-Identifier: Apache-2.0
//
// Lines of a guest's output; see print.h. A line is handed over when it ends, when it reaches
// WEIR_OUTPUT_LINE_BYTES (broken between characters) and at the end of the call, so that nothing
// that a guest printed waits for what it may print later.
#include "guest/print.h"

#include "base/clock.h"

void weir_print_begin(struct weir_print_stream *stream, uint64_t bytes_max, int64_t deadline_ns) {
    stream->bytes_left = bytes_max;
    stream->is_over = false;
    stream->is_stuck = false;
    stream->deadline_ns = deadline_ns;
    stream->is_continued = false;
}

// How many bytes of a full line to hand over so that no UTF-8 character is cut.
static size_t whole_characters(const char *line, size_t size) {
    size_t end = size;
    while (end > 0 && size - end < 3 && ((unsigned char)line[end - 1] & 0xC0) == 0x80) {
        end--;
    }
    bool starts_character = end > 0 && ((unsigned char)line[end - 1] & 0xC0) == 0xC0;
    if (!starts_character) {
        return size;
    }
    unsigned char lead = (unsigned char)line[end - 1];
    size_t needs = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    return size - (end - 1) < needs ? end - 1 : size;
}

// The end of a line, from a character's beginning on where it is UTF-8.
static struct weir_str end_of(struct weir_str line, size_t most) {
    if (line.size <= most) {
        return line;
    }
    size_t begin = line.size - most;
    for (size_t i = 0; i < 3 && ((unsigned char)line.data[begin] & 0xC0) == 0x80; i++) {
        begin++;
    }
    return (struct weir_str){.data = line.data + begin, .size = line.size - begin};
}

// Keeps the line with the call. Older ones make room for it, as whole lines.
static void keep(struct weir_call *call, struct weir_str whole) {
    size_t room = sizeof call->output_tail - 1; // for the line's end
    struct weir_str line = end_of(whole, room);
    size_t kept = call->output_tail_size, most = room - line.size;
    if (kept > most) {
        const char *cut = call->output_tail + (kept - most);
        const char *end = memchr(cut - 1, '\n', most + 1); // there is one: they all have their end
        size_t left = (size_t)(call->output_tail + kept - (end + 1));
        memmove(call->output_tail, call->output_tail + kept - left, left);
        kept = left;
    }
    memcpy(call->output_tail + kept, line.data, line.size);
    call->output_tail[kept + line.size] = '\n';
    call->output_tail_size = kept + line.size + 1;
}

static void hand_over(struct weir_print_stream *stream, size_t size) {
    struct weir_str line = {.data = stream->line, .size = size};
    if (stream->call) {
        keep(stream->call, line);
    }
    stream->is_stuck = stream->is_stuck || weir_clock_monotonic_ns() > stream->deadline_ns;
    if (!stream->is_stuck) {
        stream->is_stuck = !stream->to.line(stream->to.context, stream->guest, line);
    }
}

void weir_print_flush(struct weir_print_stream *stream) {
    if (stream->used > 0) {
        hand_over(stream, stream->used);
        stream->used = 0;
    }
    stream->is_continued = false;
}

bool weir_print_spend(struct weir_print_stream *stream, size_t size) {
    if (stream->is_over || size > stream->bytes_left) {
        stream->is_over = true;
        return false;
    }
    stream->bytes_left -= size;
    return true;
}

bool weir_print_write(struct weir_print_stream *stream, const void *bytes, size_t size) {
    if (!weir_print_spend(stream, size)) {
        return false;
    }
    const char *next = bytes, *end = next + size;
    while (next < end) {
        size_t room = sizeof stream->line - stream->used;
        size_t rest = (size_t)(end - next);
        size_t take = rest < room ? rest : room;
        const char *newline = memchr(next, '\n', take);
        if (newline) {
            take = (size_t)(newline - next);
        }
        memcpy(stream->line + stream->used, next, take);
        stream->used += take;
        next += take;
        if (newline) {
            // The end of a line of which all was handed over already is no line of its own.
            if (stream->used > 0 || !stream->is_continued) {
                hand_over(stream, stream->used);
            }
            stream->used = 0;
            stream->is_continued = false;
            next++;
        } else if (stream->used == sizeof stream->line) {
            size_t whole = whole_characters(stream->line, stream->used);
            hand_over(stream, whole);
            memmove(stream->line, stream->line + whole, stream->used - whole);
            stream->used -= whole;
            stream->is_continued = true;
        }
    }
    return true;
}
