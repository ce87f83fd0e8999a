// SPDX-License-Identifier: Apache-2.0
//
// weir:http: one request, and its response as a whole. It ends with the call's own time at the
// latest, and at once where the call is cut.
//
// Runs on the thread that runs the instance.
#include "guest/imports.h"

#include "base/clock.h"

#define CLIENT "weir:http/client@0.1.0"

enum {
    HEADERS_MAX = 256, // of a request, and of a response
    RESERVE_MS = 20,   // of the call's time, for the guest to do something about a timeout
};

// ---- the WIT

struct optional_u32 {
    uint8_t is_some;
    uint32_t number;
};
static const struct weir_wit_field optional_u32_cases[] = {
    {"none", NULL, 4, 0},
    {"some", &weir_wit_u32, 4, offsetof(struct optional_u32, number)},
};
static const struct weir_wit_type optional_u32_type = {.kind = WEIR_WIT_OPTION,
                                                       .guest_size = 8,
                                                       .guest_align = 4,
                                                       .host_size = sizeof(struct optional_u32),
                                                       WEIR_WIT_FIELDS(optional_u32_cases)};
static const struct weir_wit_type headers_type = {.kind = WEIR_WIT_LIST,
                                                  .guest_size = 8,
                                                  .guest_align = 4,
                                                  .host_size = sizeof(struct weir_attributes),
                                                  .element = &weir_wit_attribute,
                                                  .items_max = HEADERS_MAX};

struct request {
    struct weir_str method, url;
    struct weir_attributes headers;
    struct weir_optional_payload body;
    struct optional_u32 timeout_ms;
};
static const struct weir_wit_field request_fields[] = {
    {"method", &weir_wit_string, 0, offsetof(struct request, method)},
    {"url", &weir_wit_string, 8, offsetof(struct request, url)},
    {"headers", &headers_type, 16, offsetof(struct request, headers)},
    {"body", &weir_wit_optional_payload, 24, offsetof(struct request, body)},
    {"timeout-ms", &optional_u32_type, 40, offsetof(struct request, timeout_ms)},
};
static const struct weir_wit_type request_type = {.kind = WEIR_WIT_RECORD,
                                                  .guest_size = 48,
                                                  .guest_align = 4,
                                                  .host_size = sizeof(struct request),
                                                  WEIR_WIT_FIELDS(request_fields)};

struct response {
    uint16_t status;
    struct weir_attributes headers;
    struct weir_payload body;
};
static const struct weir_wit_field response_fields[] = {
    {"status", &weir_wit_u16, 0, offsetof(struct response, status)},
    {"headers", &headers_type, 4, offsetof(struct response, headers)},
    {"body", &weir_wit_payload, 12, offsetof(struct response, body)},
};
static const struct weir_wit_type response_type = {.kind = WEIR_WIT_RECORD,
                                                   .guest_size = 24,
                                                   .guest_align = 4,
                                                   .host_size = sizeof(struct response),
                                                   WEIR_WIT_FIELDS(response_fields)};

enum {
    ERROR_DENIED,
    ERROR_INVALID,
    ERROR_UNAVAILABLE,
    ERROR_TIMEOUT,
    ERROR_LIMIT,
    ERROR_OTHER,
};
#define ERROR_CASE(name) {name, &weir_wit_string, 4, offsetof(struct weir_wit_error, message)}
static const struct weir_wit_field error_cases[] = {
    [ERROR_DENIED] = ERROR_CASE("denied"),
    [ERROR_INVALID] = ERROR_CASE("invalid"),
    [ERROR_UNAVAILABLE] = ERROR_CASE("unavailable"),
    [ERROR_TIMEOUT] = ERROR_CASE("timeout"),
    [ERROR_LIMIT] = ERROR_CASE("limit"),
    [ERROR_OTHER] = ERROR_CASE("other"),
};
static const struct weir_wit_type error_type = {.kind = WEIR_WIT_VARIANT,
                                                .guest_size = 12,
                                                .guest_align = 4,
                                                .host_size = sizeof(struct weir_wit_error),
                                                WEIR_WIT_FIELDS(error_cases)};

// result<response, error>
struct sent {
    uint8_t is_err;
    struct response ok;
    struct weir_wit_error err;
};
static const struct weir_wit_field sent_cases[] = {
    {"ok", &response_type, 4, offsetof(struct sent, ok)},
    {"err", &error_type, 4, offsetof(struct sent, err)},
};
static const struct weir_wit_type sent_type = {.kind = WEIR_WIT_RESULT,
                                               .guest_size = 28,
                                               .guest_align = 4,
                                               .host_size = sizeof(struct sent),
                                               WEIR_WIT_FIELDS(sent_cases)};

struct send_params {
    struct request request;
};
static const struct weir_wit_field send_params[] = {
    {"request", &request_type, 0, offsetof(struct send_params, request)},
};

// ---- what it does

static bool is_cut(const void *context) {
    const struct weir_call *call = context;
    return call && atomic_load_explicit(&call->is_cut, memory_order_relaxed);
}

// When the request has to be over: as it asks itself, and before the call's own time is.
static int64_t until_ns(const struct weir_instance *instance, const struct optional_u32 *timeout) {
    int64_t last_ns = instance->deadline_ns - RESERVE_MS * WEIR_NS_PER_MS;
    int64_t asked_ns = weir_clock_monotonic_ns() + (int64_t)timeout->number * WEIR_NS_PER_MS;
    return timeout->is_some && asked_ns < last_ns ? asked_ns : last_ns;
}

// Copies what the response has, to live as long as the call.
static weir_status keep(struct weir_import_call *call,
                        const struct weir_guest_http_response *response, struct response *ret,
                        struct weir_error *err) {
    size_t bytes = response->body.size;
    for (size_t i = 0; i < response->headers.count; i++) {
        bytes += response->headers.items[i].name.size + response->headers.items[i].value.size;
    }
    char *texts = weir_import_room(call, bytes + 1, 1, err);
    struct weir_attribute *headers =
        weir_import_room(call, response->headers.count + 1, sizeof *headers, err);
    if (!texts || !headers) {
        return WEIR_NO_MEMORY;
    }
    for (size_t i = 0; i < response->headers.count; i++) {
        const struct weir_attribute *from = &response->headers.items[i];
        memcpy(texts, from->name.data ? from->name.data : "", from->name.size);
        headers[i].name = (struct weir_str){.data = texts, .size = from->name.size};
        texts += from->name.size;
        memcpy(texts, from->value.data ? from->value.data : "", from->value.size);
        headers[i].value = (struct weir_str){.data = texts, .size = from->value.size};
        texts += from->value.size;
    }
    memcpy(texts, response->body.data ? response->body.data : "", response->body.size);
    ret->status = response->status;
    ret->headers = (struct weir_attributes){.items = headers, .count = response->headers.count};
    ret->body = weir_payload_of((struct weir_str){.data = texts, .size = response->body.size});
    return WEIR_OK;
}

static uint8_t kind_of(weir_status status, bool is_timeout) {
    switch (status) {
    case WEIR_DENIED:
        return ERROR_DENIED;
    case WEIR_INVALID:
        return ERROR_INVALID;
    case WEIR_UNAVAILABLE:
        return is_timeout ? ERROR_TIMEOUT : ERROR_UNAVAILABLE;
    case WEIR_LIMIT:
        return ERROR_LIMIT;
    default:
        return ERROR_OTHER;
    }
}

static weir_status do_send(struct weir_import_call *call, const void *given, void *result,
                           struct weir_error *err) {
    const struct request *request = &((const struct send_params *)given)->request;
    struct weir_instance *instance = call->instance;
    struct sent *sent = result;
    const struct weir_guest_access *access;
    void *context;
    struct weir_guest_http_response response = {.held = NULL};
    const struct weir_guest_http_request asked = {
        .method = request->method,
        .url = request->url,
        .headers = request->headers,
        .body = request->body,
        .until_ns = until_ns(instance, &request->timeout_ms),
        .response_bytes_max = instance->guest->args.event_bytes,
        .is_cut = is_cut,
        .cut_context = instance->call,
        .trace = weir_instance_trace(instance),
    };
    weir_status status = weir_import_access(instance, &access, &context, err);
    if (status == WEIR_OK) {
        status = access->http_send(context, &asked, &response, err);
    }
    if (status == WEIR_OK) {
        status = keep(call, &response, &sent->ok, err);
        access->http_finish(&response);
        return status;
    }
    if (weir_instance_is_over(instance)) { // its time was all that there was, or it is cut
        *err = instance->stopped;
        return err->status;
    }
    if (!weir_import_is_told(status)) {
        return status;
    }
    sent->is_err = 1;
    sent->err = (struct weir_wit_error){.kind = kind_of(status, response.is_timeout),
                                        .message = weir_str_of(err->message)};
    return WEIR_OK;
}

static const struct weir_import functions[] = {
    {.wit = {.interface = CLIENT,
             .name = "send",
             WEIR_IMPORT_PARAMS(send_params, send_params),
             .result = &sent_type},
     .function = do_send},
};
const struct weir_import_interface weir_import_http_client = {
    .name = CLIENT,
    .functions = functions,
    .function_count = WEIR_IMPORT_COUNT_OF(functions),
};
