// SPDX-License-Identifier: Apache-2.0
//
// Live tails, as server-sent events: each line is "data: {...}" and an empty line. A connection
// that has nothing to send is suspended until a tick finds something for it. What a slow reader
// does not take stays with recent.h, whose oldest lines go: nothing piles up here but one tick's
// lines. Source: HTML Living Standard, server-sent events.
#include "admin/server.h"

#include "base/clock.h"
#include "flow/flow.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

enum {
    WAITING_BYTES_MAX = 256 * 1024, // of one stream; above, nothing more is put into it
    // A comment is sent after so long without a line, so that it is known who is still there.
    QUIET_MS_MAX = 5000,
};

static bool copy_argument(const struct weir_admin_request *request, const char *name,
                          char **ret_copy) {
    const char *value = weir_admin_argument(request, name);
    *ret_copy = value && value[0] ? strdup(value) : NULL;
    return *ret_copy || !value || !value[0];
}

static weir_status read_filter(const struct weir_admin_request *request,
                               struct weir_recent_filter *filter, struct weir_error *err) {
    const char *failed = weir_admin_argument(request, "failed");
    filter->is_failed = failed && strcmp(failed, "1") == 0;
    bool is_copied = copy_argument(request, "subscription", &filter->subscription);
    is_copied = copy_argument(request, "type", &filter->type) && is_copied;
    is_copied = copy_argument(request, "key", &filter->key) && is_copied;
    return is_copied ? WEIR_OK : weir_fail_no_memory(err, "a tail");
}

void weir_admin_tail(struct weir_admin *admin, const struct weir_admin_request *request,
                     const char *rest, struct weir_admin_answer *answer) {
    struct weir_recent_filter filter = {0};
    struct weir_error err;
    int tail = -1;
    (void)rest;
    struct weir_admin_stream *stream = calloc(1, sizeof *stream);
    weir_status status =
        stream ? read_filter(request, &filter, &err) : weir_fail_no_memory(&err, "a tail");
    status =
        status == WEIR_OK ? weir_recent_tail_begin(&admin->recent, &filter, &tail, &err) : status;
    weir_recent_filter_finish(&filter);
    if (status != WEIR_OK) {
        free(stream);
        weir_admin_fail(answer, &err);
        return;
    }
    stream->connection = request->connection;
    stream->admin = admin;
    stream->tail = tail;
    stream->quiet_since_ns = weir_clock_monotonic_ns();
    weir_text_put(&stream->waiting, WEIR_STR(": weir tails\n\n"));
    if (!admin->streams) {
        weir_flow_tap(admin->flow, true);
    }
    DL_APPEND(admin->streams, stream);
    answer->type = "text/event-stream; charset=utf-8";
    answer->stream = stream;
}

void weir_admin_stream_end(void *context) {
    struct weir_admin_stream *stream = context;
    struct weir_admin *admin = stream->admin;
    weir_recent_tail_end(&admin->recent, stream->tail);
    DL_DELETE(admin->streams, stream);
    if (!admin->streams) {
        weir_flow_tap(admin->flow, false);
    }
    weir_text_finish(&stream->waiting);
    free(stream);
}

ssize_t weir_admin_stream_read(void *context, uint64_t position, char *buffer, size_t max) {
    struct weir_admin_stream *stream = context;
    size_t left = stream->waiting.size - stream->sent;
    size_t size = left < max ? left : max;
    (void)position;
    if (atomic_load(&stream->admin->is_stopping)) {
        return MHD_CONTENT_READER_END_OF_STREAM;
    }
    if (size == 0) {
        stream->is_suspended = true;
        MHD_suspend_connection(stream->connection);
        return 0;
    }
    memcpy(buffer, stream->waiting.data + stream->sent, size);
    stream->sent += size;
    return (ssize_t)size;
}

// Forgets what was sent.
static void compact(struct weir_admin_stream *stream) {
    struct weir_text *waiting = &stream->waiting;
    size_t left = waiting->size - stream->sent;
    if (stream->sent > 0 && left > 0) {
        memmove(waiting->data, waiting->data + stream->sent, left);
    }
    waiting->size = left;
    stream->sent = 0;
    if (waiting->lacks_memory) { // a line was cut; what is left would begin with its end
        weir_text_finish(waiting);
        *waiting = (struct weir_text){0};
    }
}

static void put_line(struct weir_admin_stream *stream, struct weir_str json) {
    weir_text_put(&stream->waiting, WEIR_STR("data: "));
    weir_text_put(&stream->waiting, json);
    weir_text_put(&stream->waiting, WEIR_STR("\n\n"));
}

static void fill(struct weir_admin_stream *stream, int64_t now_ns) {
    size_t before = stream->waiting.size;
    uint64_t left_out = 0;
    char *line = NULL;
    while (stream->waiting.size < WAITING_BYTES_MAX &&
           (line = weir_recent_tail_next(&stream->admin->recent, stream->tail, &left_out))) {
        put_line(stream, weir_str_of(line));
        free(line);
    }
    if (left_out > 0) {
        char json[48];
        snprintf(json, sizeof json, "{\"left_out\":%" PRIu64 "}", left_out);
        put_line(stream, weir_str_of(json));
    }
    if (stream->waiting.size > before) {
        stream->quiet_since_ns = now_ns;
    } else if (before == 0 && now_ns - stream->quiet_since_ns > QUIET_MS_MAX * WEIR_NS_PER_MS) {
        weir_text_put(&stream->waiting, WEIR_STR(":\n\n"));
        stream->quiet_since_ns = now_ns;
    }
}

static void go_on(struct weir_admin_stream *stream) {
    if (stream->is_suspended) {
        stream->is_suspended = false;
        MHD_resume_connection(stream->connection);
    }
}

void weir_admin_streams_tick(struct weir_admin *admin) {
    int64_t now_ns = weir_clock_monotonic_ns();
    struct weir_admin_stream *stream;
    DL_FOREACH (admin->streams, stream) {
        compact(stream);
        fill(stream, now_ns);
        if (stream->waiting.size > 0) {
            go_on(stream);
        }
    }
}

void weir_admin_streams_wake(struct weir_admin *admin) {
    struct weir_admin_stream *stream;
    DL_FOREACH (admin->streams, stream) {
        go_on(stream);
    }
}
