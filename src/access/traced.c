// SPDX-License-Identifier: Apache-2.0
//
// What a guest asks of its host, as spans of its handler's call; each function is that of reach.c,
// and where the call's event is sampled, how long it took is noted. To open something asks nobody,
// so there is no span of it. A request to a host carries the trace on by a header, sampled or not,
// unless the guest has set one itself.
//
// On the thread of the guest's call.
#include "access/access_private.h"

#include "base/clock.h"
#include "http/http.h"
#include "trace/trace.h"

#include <strings.h>

// What is noted of one request.
struct noting {
    struct weir_trace_call *trace; // NULL: nothing is, since the call's event is not sampled
    struct weir_trace_request request;
};

static struct noting begin(struct weir_trace_call *trace, const char *name, struct weir_str peer) {
    struct noting noting = {.trace = NULL};
    if (trace && weir_trace_is_sampled(&trace->own)) {
        noting.trace = trace;
        noting.request.name = weir_str_of(name);
        noting.request.peer = peer;
        noting.request.began_ns = weir_clock_monotonic_ns();
    }
    return noting;
}

static struct noting begin_with(struct weir_trace_call *trace, const char *name,
                                const void *context, uint32_t index) {
    const struct weir_access *access = context;
    return begin(trace, name, weir_str_of(access->resources[index]->name));
}

// Returns the status.
static weir_status end(struct noting *noting, weir_status status, const struct weir_error *err) {
    struct weir_trace_request *request = &noting->request;
    if (!noting->trace) {
        return status;
    }
    request->ended_ns = weir_clock_monotonic_ns();
    if (status != WEIR_OK && status != WEIR_NOT_FOUND) { // that there is no key is an answer
        request->failure = err ? err->message : weir_status_name(status);
    }
    weir_trace_request(noting->trace, request);
    return status;
}

// ---- resources ----

weir_status weir_access_traced_get(void *context, uint32_t index, struct weir_str key,
                                   const struct weir_limits *limits, struct weir_value *ret_value,
                                   struct weir_error *err) {
    struct noting noting = begin_with(limits->trace, "get", context, index);
    weir_status status = weir_access_reach.get(context, index, key, limits, ret_value, err);
    return end(&noting, status, err);
}

weir_status weir_access_traced_set(void *context, uint32_t index, struct weir_str key,
                                   struct weir_str value, const struct weir_limits *limits,
                                   struct weir_error *err) {
    struct noting noting = begin_with(limits->trace, "set", context, index);
    weir_status status = weir_access_reach.set(context, index, key, value, limits, err);
    return end(&noting, status, err);
}

weir_status weir_access_traced_remove(void *context, uint32_t index, struct weir_str key,
                                      const struct weir_limits *limits, struct weir_error *err) {
    struct noting noting = begin_with(limits->trace, "delete", context, index);
    weir_status status = weir_access_reach.remove(context, index, key, limits, err);
    return end(&noting, status, err);
}

weir_status weir_access_traced_list(void *context, uint32_t index, struct weir_str after,
                                    const struct weir_limits *limits,
                                    const struct weir_listing *listing, struct weir_error *err) {
    struct noting noting = begin_with(limits->trace, "list", context, index);
    weir_status status = weir_access_reach.list(context, index, after, limits, listing, err);
    return end(&noting, status, err);
}

weir_status weir_access_traced_update(void *context, uint32_t index, struct weir_str key,
                                      const struct weir_limits *limits,
                                      const struct weir_change *change, struct weir_error *err) {
    struct noting noting = begin_with(limits->trace, "update", context, index);
    weir_status status = weir_access_reach.update(context, index, key, limits, change, err);
    return end(&noting, status, err);
}

weir_status weir_access_traced_query(void *context, struct weir_str database,
                                     const struct weir_sql_statement *statement,
                                     const struct weir_limits *limits,
                                     struct weir_sql_result *ret_result, struct weir_error *err) {
    struct noting noting =
        begin(limits->trace, statement->is_reading ? "query" : "execute", database);
    weir_status status =
        weir_access_reach.query(context, database, statement, limits, ret_result, err);
    return end(&noting, status, err);
}

weir_status weir_access_traced_publish(void *context, uint32_t index, struct weir_call *call,
                                       const struct weir_event_fields *event,
                                       struct weir_error *err) {
    struct weir_trace_call *trace = call && call->cause ? call->cause->trace : NULL;
    struct noting noting = begin_with(trace, "send", context, index);
    noting.request.kind = WEIR_TRACE_PEER_TOPIC;
    weir_status status = weir_access_reach.publish(context, index, call, event, err);
    return end(&noting, status, err);
}

// ---- hosts ----

enum { HTTP_ERROR = 400 }; // from here on a status is a failure of the request

static bool has_header(const struct weir_attributes *headers, const char *name) {
    for (size_t i = 0; i < headers->count; i++) {
        const struct weir_str *its = &headers->items[i].name;
        if (its->size == strlen(name) && strncasecmp(its->data, name, its->size) == 0) {
            return true;
        }
    }
    return false;
}

// The request with the headers that carry the trace on.
struct carrying {
    struct weir_guest_http_request request;
    struct weir_attribute headers[WEIR_HTTP_HEADERS_MAX];
    char traceparent[WEIR_TRACEPARENT_BYTES];
};

static void carry(const struct weir_guest_http_request *request,
                  const struct weir_trace_context *context, struct weir_str state,
                  struct carrying *ret_carrying) {
    size_t count = request->headers.count;
    ret_carrying->request = *request;
    if (count + 2 > WEIR_HTTP_HEADERS_MAX ||
        has_header(&request->headers, WEIR_EXTENSION_TRACEPARENT)) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        ret_carrying->headers[i] = request->headers.items[i];
    }
    ret_carrying->headers[count++] = (struct weir_attribute){
        .name = WEIR_STR(WEIR_EXTENSION_TRACEPARENT),
        .value = weir_str_of(weir_traceparent_write(context, ret_carrying->traceparent))};
    if (state.size > 0 && !has_header(&request->headers, WEIR_EXTENSION_TRACESTATE)) {
        ret_carrying->headers[count++] =
            (struct weir_attribute){.name = WEIR_STR(WEIR_EXTENSION_TRACESTATE), .value = state};
    }
    ret_carrying->request.headers =
        (struct weir_attributes){.items = ret_carrying->headers, .count = count};
}

weir_status weir_access_traced_http_send(void *context,
                                         const struct weir_guest_http_request *request,
                                         struct weir_guest_http_response *ret_response,
                                         struct weir_error *err) {
    struct weir_trace_call *trace = request->trace;
    if (!trace) {
        return weir_access_reach.http_send(context, request, ret_response, err);
    }
    struct carrying carrying;
    struct weir_trace_context own = trace->own;
    own.span = weir_span_id_next(&trace->ids);
    carry(request, &own, trace->state, &carrying);
    struct weir_http_host host;
    bool is_url = weir_http_host(request->url, &host, NULL) == WEIR_OK;
    struct noting noting = begin(trace, "", weir_str_of(is_url ? host.name : NULL));
    struct weir_trace_request *noted = &noting.request;
    noted->name = request->method;
    noted->kind = WEIR_TRACE_PEER_HOST;
    noted->span = own.span;
    weir_status status = weir_access_reach.http_send(context, &carrying.request, ret_response, err);
    noted->http_status = status == WEIR_OK ? ret_response->status : 0;
    noted->failure = noted->http_status >= HTTP_ERROR ? "" : NULL;
    return end(&noting, status, err);
}
