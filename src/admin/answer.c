// SPDX-License-Identifier: Apache-2.0
//
// Answers: what handlers have put together becomes a response of libmicrohttpd's, with the headers
// that keep a browser from doing more with it than to show it. Admin thread.
#include "admin/server.h"

#include "control/status.h"

#include <stdlib.h>

enum {
    STREAM_BLOCK_BYTES = 16 * 1024,
    REAL_DIGITS = 9, // as a bound is written
};

static const struct {
    const char *name, *value;
} headers[] = {
    // Nothing but the console's own files, and nobody may frame it.
    {"Content-Security-Policy",
     "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
     "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"X-Frame-Options", "DENY"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
    {"Cache-Control", "no-store"},
};

const char *weir_admin_argument(const struct weir_admin_request *request, const char *name) {
    return MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
}

static unsigned http_status_of(weir_status status) {
    switch (status) {
    case WEIR_NOT_FOUND:
        return MHD_HTTP_NOT_FOUND;
    case WEIR_DENIED:
        return MHD_HTTP_FORBIDDEN;
    case WEIR_INVALID:
    case WEIR_UNSUPPORTED:
        return MHD_HTTP_BAD_REQUEST;
    case WEIR_LIMIT:
        return MHD_HTTP_TOO_MANY_REQUESTS;
    case WEIR_AGAIN:
    case WEIR_UNAVAILABLE:
    case WEIR_STOPPED:
        return MHD_HTTP_SERVICE_UNAVAILABLE;
    default:
        return MHD_HTTP_INTERNAL_SERVER_ERROR;
    }
}

static const char no_memory[] = "{\"error\":\"weir has no memory for the answer\","
                                "\"status\":\"no-memory\"}";

void weir_admin_json(struct weir_admin_answer *answer, json_t *json) {
    answer->type = "application/json";
    char *text = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(REAL_DIGITS)) : NULL;
    json_decref(json);
    if (text) {
        answer->text = (struct weir_text){.data = text, .size = strlen(text)};
        answer->text.room = answer->text.size;
    } else {
        answer->constant = weir_str_of(no_memory);
        answer->status = MHD_HTTP_SERVICE_UNAVAILABLE;
    }
}

void weir_admin_fail(struct weir_admin_answer *answer, const struct weir_error *err) {
    answer->status = http_status_of(err->status);
    weir_admin_json(
        answer, json_pack("{s:o, s:s}", "error",
                          weir_control_text(weir_str_of(err->message), WEIR_ERROR_MESSAGE_BYTES),
                          "status", weir_status_name(err->status)));
}

static struct MHD_Response *make_response(struct weir_admin_answer *answer, size_t *ret_bytes) {
    *ret_bytes = 0;
    if (answer->stream) {
        return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES,
                                                 weir_admin_stream_read, answer->stream,
                                                 weir_admin_stream_end);
    }
    if (answer->text.data && !answer->text.lacks_memory) {
        *ret_bytes = answer->text.size;
        return MHD_create_response_from_buffer(answer->text.size, answer->text.data,
                                               MHD_RESPMEM_MUST_FREE);
    }
    if (answer->text.lacks_memory) {
        weir_text_finish(&answer->text);
        answer->status = MHD_HTTP_SERVICE_UNAVAILABLE;
        answer->type = "application/json";
        answer->constant = weir_str_of(no_memory);
    }
    const char *data = answer->constant.data ? answer->constant.data : "";
    return MHD_create_response_from_buffer(answer->constant.size, (void *)(uintptr_t)data,
                                           MHD_RESPMEM_PERSISTENT);
}

// libmicrohttpd ends the connection where MHD_NO is returned.
enum MHD_Result weir_admin_send(struct MHD_Connection *connection, struct weir_admin_answer *answer,
                                size_t *ret_bytes) {
    struct MHD_Response *response = make_response(answer, ret_bytes);
    if (!response) {
        weir_text_finish(&answer->text);
        if (answer->stream) {
            weir_admin_stream_end(answer->stream);
        }
        return MHD_NO;
    }
    bool is_whole = true;
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        is_whole =
            MHD_add_response_header(response, headers[i].name, headers[i].value) == MHD_YES &&
            is_whole;
    }
    if (answer->type) {
        is_whole = MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer->type) ==
                       MHD_YES &&
                   is_whole;
    }
    unsigned status = answer->status ? answer->status : MHD_HTTP_OK;
    if (status == MHD_HTTP_UNAUTHORIZED) {
        is_whole = MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE,
                                           "Bearer realm=\"weir\"") == MHD_YES &&
                   is_whole;
    }
    // Without all of its headers a page would not be what it should be.
    enum MHD_Result result = is_whole ? MHD_queue_response(connection, status, response) : MHD_NO;
    MHD_destroy_response(response);
    return result;
}
