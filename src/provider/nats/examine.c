// SPDX-License-Identifier: Apache-2.0
//
// What a resource wants of its server, tried before anybody depends on it; and what weir has made
// there, taken away again. Examining changes nothing: where a right can only be known by using it,
// what is used is a question.
#include "provider/nats/resource.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    TEXT_BYTES = 1024,
    PAGES_MAX = 4096,  // of a list of consumers
    EXAMINE_STEPS = 4, // requests, each of which may take the timeout
};

// An examination, or a withdrawal, under way.
struct visit {
    struct weir_nats_resource *resource;
    struct weir_nats_client *client;
    const struct weir_findings *findings;
    struct weir_waiter waiter;
};

static void tell(const struct visit *visit, bool is_mistake, const char *remedy, const char *format,
                 ...) __attribute__((format(printf, 4, 5)));
static void tell(const struct visit *visit, bool is_mistake, const char *remedy, const char *format,
                 ...) {
    char what[TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    const struct weir_finding finding = {.is_mistake = is_mistake, .what = what, .remedy = remedy};
    visit->findings->tell(visit->findings->context, &finding);
}

static const char *remedy_of(char buffer[static TEXT_BYTES], const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static const char *remedy_of(char buffer[static TEXT_BYTES], const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(buffer, TEXT_BYTES, format, args);
    va_end(args);
    return buffer;
}

// Asks. NULL: it was refused, and the fault says how; where there was no answer at all, *ret_status
// is not WEIR_OK.
static json_t *ask(const struct visit *visit, const char *subject, const char *body,
                   struct weir_nats_fault *ret_fault, weir_status *ret_status,
                   struct weir_error *err) {
    struct weir_nats_frame frame;
    *ret_fault = (struct weir_nats_fault){0};
    *ret_status = weir_nats_api_ask(visit->resource, visit->client, &visit->waiter, subject, body,
                                    &frame, err);
    return *ret_status == WEIR_OK ? weir_nats_api_read(&frame, ret_fault) : NULL;
}

// ---- examining ----

static void examine_login(const struct visit *visit) {
    const struct weir_nats_options *options = &visit->resource->options;
    bool has_secret = options->password || options->token;
    if (has_secret && !weir_nats_client_is_secret(visit->client)) {
        tell(visit, false,
             "have the server use TLS (tls {} in its configuration), and set tls: true",
             "the connection is not encrypted, and the %s goes over it",
             options->token ? "token" : "password");
    }
}

static weir_status examine_rights(const struct visit *visit, weir_status status,
                                  const char *subject, const struct weir_error *cause,
                                  struct weir_error *err) {
    char remedy[TEXT_BYTES];
    if (status != WEIR_DENIED) {
        *err = *cause;
        return status;
    }
    tell(visit, true,
         remedy_of(remedy,
                   "in the user's permissions: publish: [\"%s>\", \"$JS.ACK.>\", \"%s>\"], "
                   "subscribe: [\"%s.>\"]",
                   visit->resource->api, visit->resource->naming.prefix,
                   visit->resource->options.inbox),
         "the user may not ask %s%s: %s", visit->resource->api, subject, cause->message);
    return WEIR_OK;
}

// Whether JetStream is there for this account, and has room. *ret_goes_on: there is more to ask.
static weir_status examine_account(const struct visit *visit, bool *ret_goes_on,
                                   struct weir_error *err) {
    struct weir_nats_fault fault;
    struct weir_error cause = {0};
    weir_status status;
    json_t *answer = ask(visit, "INFO", "", &fault, &status, &cause);
    *ret_goes_on = answer != NULL;
    if (status != WEIR_OK) {
        *ret_goes_on = status == WEIR_DENIED; // the rest may be allowed
        return examine_rights(visit, status, "INFO", &cause, err);
    }
    if (!answer) {
        tell(visit, true,
             "put jetstream {} into the server's configuration, or start it with --jetstream; with "
             "accounts, enable it for this one",
             "JetStream is not enabled%s%s", fault.text[0] ? ": " : "", fault.text);
        return WEIR_OK;
    }
    const json_t *limits = json_object_get(answer, "limits");
    json_int_t most = json_integer_value(json_object_get(limits, "max_consumers"));
    json_int_t now = json_integer_value(json_object_get(answer, "consumers"));
    if (most > 0 && now >= most) {
        tell(visit, true,
             "raise max_consumers of the account, or remove consumers: nats consumer rm",
             "the account has %lld consumers, and may have no more; each watch is one",
             (long long)now);
    }
    json_int_t space = json_integer_value(json_object_get(limits, "max_storage"));
    json_int_t used = json_integer_value(json_object_get(answer, "storage"));
    if (space > 0 && used >= space) {
        tell(visit, true, "raise max_file_store of the account, or remove data: nats stream purge",
             "the account's storage is used up: %lld of %lld bytes", (long long)used,
             (long long)space);
    }
    json_decref(answer);
    return WEIR_OK;
}

static void tell_missing(const struct visit *visit) {
    const struct weir_nats_resource *resource = visit->resource;
    const struct weir_nats_options *options = &resource->options;
    char remedy[TEXT_BYTES];
    bool is_bucket = options->mode == WEIR_NATS_KV;
    if (options->create) {
        tell(visit, false, NULL, "the %s %s does not exist yet; weir makes it",
             is_bucket ? "bucket" : "stream", is_bucket ? options->bucket : options->stream);
        return;
    }
    if (is_bucket) {
        remedy_of(remedy, "nats kv add %s, or create: true", options->bucket);
    } else {
        remedy_of(remedy, "nats stream add %s --subjects '%s>', or create: true with a prefix",
                  options->stream,
                  resource->naming.prefix[0] ? resource->naming.prefix : "SUBJECT.");
    }
    tell(visit, true, remedy, "there is no %s %s", is_bucket ? "bucket" : "stream",
         is_bucket ? options->bucket : options->stream);
}

static bool may_overlap(const char *subject, const char *prefix) {
    size_t common = strcspn(subject, "*>");
    size_t size = strlen(prefix);
    return strncmp(subject, prefix, common < size ? common : size) == 0;
}

static void examine_config(const struct visit *visit, const struct weir_nats_stream *stream) {
    const struct weir_nats_resource *resource = visit->resource;
    bool is_bucket = resource->options.mode == WEIR_NATS_KV;
    char remedy[TEXT_BYTES];
    if (stream->consumers_max > 0 && stream->consumers >= stream->consumers_max) {
        tell(visit, true,
             remedy_of(remedy, "nats consumer rm %s, or a stream with more (max_consumers)",
                       resource->stream),
             "%s has %" PRIu64 " consumers, and may have no more; each watch is one",
             resource->stream, stream->consumers);
    }
    if (is_bucket && stream->age_max_ns > 0) {
        tell(visit, false, NULL,
             "values of the bucket expire after %" PRId64 " seconds, and NATS tells nobody when "
             "one does",
             stream->age_max_ns / WEIR_NS_PER_S);
    }
    if (!is_bucket && (stream->age_max_ns > 0 || stream->rolls_over || stream->history > 0)) {
        tell(visit, false, NULL,
             "the stream lets go of what is old; what is gone before weir was told is told as a "
             "gap");
    }
    if (stream->subjects == 1 && !is_bucket &&
        !may_overlap(stream->subject, resource->naming.prefix)) {
        tell(visit, true, remedy_of(remedy, "prefix: the beginning of %s", stream->subject),
             "the stream has the subjects %s, and the resource's keys stand below \"%s\"",
             stream->subject, resource->naming.prefix);
    }
}

static weir_status examine_stream(const struct visit *visit, struct weir_error *err) {
    char subject[128];
    struct weir_nats_fault fault;
    struct weir_error cause = {0};
    struct weir_nats_stream stream;
    weir_status status;
    snprintf(subject, sizeof subject, "STREAM.INFO.%s", visit->resource->stream);
    json_t *answer = ask(visit, subject, "", &fault, &status, &cause);
    if (status != WEIR_OK) {
        return examine_rights(visit, status, subject, &cause, err);
    }
    if (answer && weir_nats_stream_read(answer, &stream)) {
        examine_config(visit, &stream);
    } else if (fault.code == WEIR_NATS_NO_STREAM) {
        tell_missing(visit);
    } else {
        weir_nats_api_fail(&fault, "looking at the stream", &cause);
        tell(visit, true, NULL, "%s", cause.message);
    }
    json_decref(answer);
    return WEIR_OK;
}

// A plain subject: whether it may be subscribed to.
static weir_status examine_subjects(const struct visit *visit, const struct weir_pattern *patterns,
                                    size_t count, struct weir_error *err) {
    for (size_t i = 0; i < count; i++) {
        struct weir_nats_subject filter;
        struct weir_error cause = {0};
        weir_status status =
            weir_nats_filter_of(&visit->resource->naming, &patterns[i], &filter, err);
        uint64_t id = 100 + i;
        status = status == WEIR_OK
                     ? weir_nats_client_subscribe(visit->client, weir_str_of(filter.text), id, err)
                     : status;
        if (status != WEIR_OK) {
            return status;
        }
        status = weir_nats_client_flush(visit->client, &visit->waiter, &cause);
        if (status == WEIR_DENIED) {
            char remedy[TEXT_BYTES];
            tell(visit, true,
                 remedy_of(remedy, "in the user's permissions: subscribe: [\"%s\"]", filter.text),
                 "the user may not subscribe to %s: %s", filter.text, cause.message);
        } else if (status != WEIR_OK) {
            *err = cause;
            return status;
        }
    }
    return WEIR_OK;
}

static weir_status open_visit(struct weir_nats_resource *resource,
                              const struct weir_findings *findings, struct visit *ret_visit,
                              struct weir_error *err) {
    *ret_visit = (struct visit){
        .resource = resource,
        .findings = findings,
        .waiter = {.until_ns =
                       weir_clock_monotonic_ns() + EXAMINE_STEPS * resource->options.timeout_ns},
    };
    const struct weir_waiter waiter = {.until_ns = weir_nats_until_ns(resource, INT64_MAX)};
    return weir_nats_client_open(&resource->login, &waiter, &ret_visit->client, err);
}

weir_status weir_nats_examine(struct weir_resource *base, const struct weir_pattern *patterns,
                              size_t count, const struct weir_findings *findings,
                              struct weir_error *err) {
    struct weir_nats_resource *resource = weir_nats_of(base);
    struct weir_error error = {0};
    struct visit visit;
    bool goes_on = true;
    weir_status status = open_visit(resource, findings, &visit, &error);
    if (status == WEIR_OK) {
        examine_login(&visit);
        if (!resource->stream[0]) {
            status = examine_subjects(&visit, patterns, count, &error);
        } else {
            status = examine_account(&visit, &goes_on, &error);
            if (status == WEIR_OK && goes_on) {
                status = examine_stream(&visit, &error);
            }
        }
        weir_nats_client_close(visit.client);
    }
    if (status != WEIR_OK && err) {
        *err = error;
    }
    return status;
}

// ---- withdrawing ----

static weir_status remove_consumer(const struct visit *visit, const char *name,
                                   const char *description, struct weir_error *err) {
    char subject[256];
    struct weir_nats_fault fault;
    weir_status status;
    snprintf(subject, sizeof subject, "CONSUMER.DELETE.%s.%s", visit->resource->stream, name);
    json_t *answer = ask(visit, subject, "", &fault, &status, err);
    if (status == WEIR_OK && !answer && fault.code != WEIR_NATS_NO_CONSUMER) {
        status = weir_nats_api_fail(&fault, "removing a consumer", err);
    }
    if (answer) {
        tell(visit, false, NULL, "the consumer %s of %s is removed (%s)", name,
             visit->resource->stream, description);
    }
    json_decref(answer);
    return status;
}

// Whether weir has made it for this resource.
static bool is_ours(const struct visit *visit, const json_t *consumer, const char **ret_name,
                    const char **ret_description) {
    char ours[WEIR_NAME_BYTES_MAX + 16];
    const json_t *config = json_object_get(consumer, "config");
    *ret_name = json_string_value(json_object_get(consumer, "name"));
    *ret_description = json_string_value(json_object_get(config, "description"));
    weir_nats_description(visit->resource, "", ours, sizeof ours);
    return *ret_name && *ret_description && json_object_get(config, "durable_name") &&
           !strpbrk(*ret_name, ". \r\n") && strncmp(*ret_description, ours, strlen(ours)) == 0;
}

// Removes those of a page that are weir's. *ret_kept: how many are not.
static weir_status withdraw_page(const struct visit *visit, const json_t *consumers,
                                 uint64_t *ret_kept, struct weir_error *err) {
    size_t i;
    const json_t *consumer;
    json_array_foreach((json_t *)(uintptr_t)consumers, i, consumer) {
        const char *name, *description;
        if (!is_ours(visit, consumer, &name, &description)) {
            (*ret_kept)++;
            continue;
        }
        weir_status status = remove_consumer(visit, name, description, err);
        if (status != WEIR_OK) {
            return status;
        }
    }
    return WEIR_OK;
}

static weir_status withdraw_all(struct visit *visit, struct weir_error *err) {
    char subject[128], body[48];
    struct weir_nats_fault fault;
    weir_status status = WEIR_OK;
    uint64_t kept = 0;
    snprintf(subject, sizeof subject, "CONSUMER.LIST.%s", visit->resource->stream);
    for (int page = 0; status == WEIR_OK && page < PAGES_MAX; page++) {
        // What was removed is not in the list any more, so the next page begins behind what stays.
        snprintf(body, sizeof body, "{\"offset\":%" PRIu64 "}", kept);
        visit->waiter.until_ns =
            weir_clock_monotonic_ns() + EXAMINE_STEPS * visit->resource->options.timeout_ns;
        json_t *answer = ask(visit, subject, body, &fault, &status, err);
        if (!answer) {
            return status != WEIR_OK || fault.code == WEIR_NATS_NO_STREAM
                       ? status
                       : weir_nats_api_fail(&fault, "listing the consumers", err);
        }
        const json_t *consumers = json_object_get(answer, "consumers");
        bool is_last = json_array_size(consumers) == 0;
        status = withdraw_page(visit, consumers, &kept, err);
        json_decref(answer);
        if (is_last) {
            return status;
        }
    }
    return status;
}

weir_status weir_nats_withdraw(struct weir_resource *base, const struct weir_findings *findings,
                               struct weir_error *err) {
    struct weir_nats_resource *resource = weir_nats_of(base);
    struct weir_error error = {0};
    struct visit visit;
    if (!resource->stream[0]) {
        return WEIR_OK; // nothing is made for plain subjects
    }
    weir_status status = open_visit(resource, findings, &visit, &error);
    if (status == WEIR_OK) {
        status = withdraw_all(&visit, &error);
        weir_nats_client_close(visit.client);
    }
    if (status != WEIR_OK && err) {
        *err = error;
    }
    return status;
}
