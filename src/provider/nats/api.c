// SPDX-License-Identifier: Apache-2.0
//
// See api.h.
#include "provider/nats/api.h"

#include "base/clock.h"
#include "base/digits.h"
#include "base/show.h"
#include "provider/nats/header.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// How long a consumer without a name outlives who asked it last.
static const int64_t inactive_ns = 300 * WEIR_NS_PER_S;

// ---- answers ----

static uint64_t number_of(const json_t *object, const char *name) {
    json_int_t number = json_integer_value(json_object_get(object, name));
    return number > 0 ? (uint64_t)number : 0;
}

static void text_of(const json_t *object, const char *name, char *ret_text, size_t size) {
    const char *text = json_string_value(json_object_get(object, name));
    snprintf(ret_text, size, "%s", text ? text : "");
}

static json_t *fault(struct weir_nats_fault *fault, int status, int code, const char *text) {
    *fault = (struct weir_nats_fault){.status = status, .code = code};
    weir_show(weir_str_of(text), fault->text, sizeof fault->text);
    return NULL;
}

json_t *weir_nats_api_read(const struct weir_nats_frame *frame, struct weir_nats_fault *ret_fault) {
    unsigned status = weir_nats_headers_status(frame->headers);
    if (status == 503) {
        return fault(ret_fault, 503, 0, "nobody answers");
    }
    json_t *answer = json_loadb(frame->data.data, frame->data.size, 0, NULL);
    if (!json_is_object(answer)) {
        json_decref(answer);
        return fault(ret_fault, 500, 0, "the answer is no JSON");
    }
    const json_t *error = json_object_get(answer, "error");
    if (error) {
        const char *text = json_string_value(json_object_get(error, "description"));
        fault(ret_fault, (int)number_of(error, "code"), (int)number_of(error, "err_code"),
              text ? text : "an error without a text");
        json_decref(answer);
        return NULL;
    }
    return answer;
}

weir_status weir_nats_api_fail(const struct weir_nats_fault *fault, const char *what,
                               struct weir_error *err) {
    switch (fault->code) {
    case WEIR_NATS_NO_STREAM:
        return weir_fail(err, WEIR_UNAVAILABLE,
                         "%s: there is no such bucket or stream; make it (nats kv add, nats stream "
                         "add), or set create: true",
                         what);
    case WEIR_NATS_NO_MESSAGE:
        return weir_fail(err, WEIR_NOT_FOUND, "%s: there is no such key", what);
    case WEIR_NATS_TOO_MANY_CONSUMERS:
    case WEIR_NATS_NO_RESOURCES:
        return weir_fail(err, WEIR_UNAVAILABLE, "%s: a bound of the server's: %s", what,
                         fault->text);
    case WEIR_NATS_NOT_FOR_ACCOUNT:
    case WEIR_NATS_NOT_ENABLED:
        return weir_fail(err, WEIR_UNAVAILABLE,
                         "%s: JetStream is not enabled (jetstream {} in the server's "
                         "configuration, or for the account): %s",
                         what, fault->text);
    default:
        break;
    }
    if (fault->status == 503) {
        return weir_fail(err, WEIR_UNAVAILABLE,
                         "%s: nobody answers; JetStream is not enabled, the bucket or stream does "
                         "not exist, or has no leader now",
                         what);
    }
    return weir_fail(err, fault->status == 403 ? WEIR_DENIED : WEIR_UNAVAILABLE, "%s: %s", what,
                     fault->text);
}

bool weir_nats_stream_read(const json_t *answer, struct weir_nats_stream *ret_stream) {
    const json_t *state = json_object_get(answer, "state");
    const json_t *config = json_object_get(answer, "config");
    const json_t *subjects = json_object_get(config, "subjects");
    const char *discard = json_string_value(json_object_get(config, "discard"));
    *ret_stream = (struct weir_nats_stream){
        .first = number_of(state, "first_seq"),
        .last = number_of(state, "last_seq"),
        .messages = number_of(state, "messages"),
        .consumers = number_of(state, "consumer_count"),
        .consumers_max = number_of(config, "max_consumers"),
        .history = number_of(config, "max_msgs_per_subject"),
        .age_max_ns = (int64_t)number_of(config, "max_age"),
        .value_bytes_max = number_of(config, "max_msg_size"),
        .rolls_over = (number_of(config, "max_bytes") > 0 || number_of(config, "max_msgs") > 0) &&
                      !(discard && strcmp(discard, "new") == 0),
        .subjects = json_array_size(subjects),
    };
    const char *subject = json_string_value(json_array_get(subjects, 0));
    snprintf(ret_stream->subject, sizeof ret_stream->subject, "%s", subject ? subject : "");
    text_of(answer, "created", ret_stream->created, sizeof ret_stream->created);
    return json_is_object(state) && json_is_object(config);
}

bool weir_nats_consumer_read(const json_t *answer, struct weir_nats_consumer *ret_consumer) {
    const json_t *config = json_object_get(answer, "config");
    const json_t *delivered = json_object_get(answer, "delivered");
    const json_t *floor = json_object_get(answer, "ack_floor");
    const char *policy = json_string_value(json_object_get(config, "ack_policy"));
    *ret_consumer = (struct weir_nats_consumer){
        .floor = number_of(floor, "stream_seq"),
        .delivered = number_of(delivered, "stream_seq"),
        .delivered_consumer = number_of(delivered, "consumer_seq"),
        .ack_pending = number_of(answer, "num_ack_pending"),
        .waiting = number_of(answer, "num_waiting"),
        .pending = number_of(answer, "num_pending"),
        .ack_wait_ns = (int64_t)number_of(config, "ack_wait"),
        .ack_pending_max = number_of(config, "max_ack_pending"),
        .is_explicit = policy && strcmp(policy, "explicit") == 0,
        .is_pulled = !json_object_get(config, "deliver_subject"),
    };
    text_of(answer, "name", ret_consumer->name, sizeof ret_consumer->name);
    return ret_consumer->name[0] && !strpbrk(ret_consumer->name, ". \r\n") &&
           json_is_object(config);
}

bool weir_nats_consumer_has_filter(const json_t *answer, const char *filter) {
    const char *text =
        json_string_value(json_object_get(json_object_get(answer, "config"), "filter_subject"));
    return text && strcmp(text, filter) == 0;
}

bool weir_nats_receipt_read(const json_t *answer, struct weir_nats_receipt *ret_receipt) {
    *ret_receipt = (struct weir_nats_receipt){
        .sequence = number_of(answer, "seq"),
        .is_duplicate = json_is_true(json_object_get(answer, "duplicate")),
    };
    return ret_receipt->sequence > 0;
}

// ---- requests ----

static char *dump(json_t *object) {
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    return text;
}

static const char *policy_of(enum weir_nats_start start) {
    static const char *const names[] = {
        [WEIR_NATS_FROM_NOW] = "new",
        [WEIR_NATS_FROM_ALL] = "all",
        [WEIR_NATS_FROM_LATEST] = "last_per_subject",
        [WEIR_NATS_FROM_SEQUENCE] = "by_start_sequence",
    };
    return names[start];
}

char *weir_nats_consumer_request(const struct weir_nats_consumer_args *args) {
    json_t *config = json_pack("{s:s, s:s, s:s, s:s}", "deliver_policy", policy_of(args->start),
                               "ack_policy", args->is_listing ? "none" : "explicit",
                               "replay_policy", "instant", "filter_subject", args->filter);
    bool is_set = config != NULL;
    if (args->start == WEIR_NATS_FROM_SEQUENCE) {
        is_set &= json_object_set_new(config, "opt_start_seq",
                                      json_integer((json_int_t)args->start_sequence)) == 0;
    }
    if (args->description) {
        is_set &= json_object_set_new(config, "description", json_string(args->description)) == 0;
    }
    if (args->durable) {
        is_set &= json_object_set_new(config, "durable_name", json_string(args->durable)) == 0;
    } else {
        is_set &= json_object_set_new(config, "inactive_threshold", json_integer(inactive_ns)) == 0;
        is_set &= json_object_set_new(config, "mem_storage", json_true()) == 0;
        is_set &= json_object_set_new(config, "num_replicas", json_integer(1)) == 0;
    }
    if (args->is_listing) {
        is_set &= json_object_set_new(config, "headers_only", json_true()) == 0;
    } else {
        is_set &= json_object_set_new(config, "ack_wait", json_integer(args->ack_wait_ns)) == 0;
        is_set &= json_object_set_new(config, "max_ack_pending",
                                      json_integer((json_int_t)args->ack_pending_max)) == 0;
        is_set &= json_object_set_new(config, "max_deliver", json_integer(-1)) == 0;
    }
    if (!is_set) {
        json_decref(config);
        return NULL;
    }
    return dump(json_pack("{s:s, s:o}", "stream_name", args->stream, "config", config));
}

char *weir_nats_consumer_change(const json_t *answer, const struct weir_nats_consumer_args *args) {
    struct weir_nats_consumer is;
    if (!weir_nats_consumer_read(answer, &is) ||
        (is.ack_wait_ns == args->ack_wait_ns && is.ack_pending_max == args->ack_pending_max)) {
        return NULL;
    }
    json_t *config = json_deep_copy(json_object_get(answer, "config"));
    if (!config || json_object_set_new(config, "ack_wait", json_integer(args->ack_wait_ns)) != 0 ||
        json_object_set_new(config, "max_ack_pending",
                            json_integer((json_int_t)args->ack_pending_max)) != 0) {
        json_decref(config);
        return NULL;
    }
    return dump(json_pack("{s:s, s:o}", "stream_name", args->stream, "config", config));
}

char *weir_nats_stream_request(const struct weir_nats_options *options, const char *stream,
                               const char *subject) {
    bool is_bucket = options->mode == WEIR_NATS_KV;
    json_t *config = json_pack(
        "{s:s, s:[s], s:s, s:s, s:I, s:I, s:I, s:i, s:i}", "name", stream, "subjects", subject,
        "retention", "limits", "storage", "file", "num_replicas", (json_int_t)options->replicas,
        "max_bytes", options->max_bytes > 0 ? (json_int_t)options->max_bytes : (json_int_t)-1,
        "max_msgs_per_subject", is_bucket ? (json_int_t)options->history : (json_int_t)-1,
        "max_msgs", -1, "max_consumers", -1);
    if (config && is_bucket) { // as every client of NATS makes a bucket
        bool is_set = json_object_set_new(config, "allow_rollup_hdrs", json_true()) == 0 &&
                      json_object_set_new(config, "deny_delete", json_true()) == 0 &&
                      json_object_set_new(config, "allow_direct", json_true()) == 0 &&
                      json_object_set_new(config, "discard", json_string("new")) == 0;
        if (!is_set) {
            json_decref(config);
            config = NULL;
        }
    }
    return dump(config);
}

size_t weir_nats_pull_request(uint64_t batch, uint64_t bytes_max, int64_t expires_ns,
                              char ret_text[static WEIR_NATS_PULL_BYTES]) {
    char bound[48] = "";
    if (bytes_max > 0) {
        snprintf(bound, sizeof bound, ",\"max_bytes\":%" PRIu64, bytes_max);
    }
    return (size_t)snprintf(ret_text, WEIR_NATS_PULL_BYTES,
                            "{\"batch\":%" PRIu64 ",\"expires\":%" PRId64 "%s}", batch, expires_ns,
                            bound);
}

// ---- messages ----

// "$JS.ACK.STREAM.CONSUMER.TIMES.SEQUENCE.OWN.TIME.PENDING"; newer servers put the domain and the
// account behind ACK, and may put something at the end.
bool weir_nats_delivery_read(struct weir_str reply, struct weir_nats_delivery *ret_delivery) {
    enum { TOKENS_MAX = 16, OLD = 9, NEW = 11 };
    struct weir_str tokens[TOKENS_MAX];
    size_t count = 0;
    if (!weir_str_has_prefix(reply, WEIR_STR("$JS.ACK."))) {
        return false;
    }
    for (;;) {
        const char *dot = reply.size > 0 ? memchr(reply.data, '.', reply.size) : NULL;
        size_t size = dot ? (size_t)(dot - reply.data) : reply.size;
        if (count == TOKENS_MAX) {
            return false;
        }
        tokens[count++] = (struct weir_str){reply.data, size};
        if (!dot) {
            break;
        }
        reply = (struct weir_str){dot + 1, reply.size - size - 1};
    }
    if (count != OLD && count < NEW) {
        return false;
    }
    const struct weir_str *numbers = tokens + (count == OLD ? 4 : 6);
    uint64_t own, wall_ns;
    bool is_good = weir_decimal_read(numbers[0], &ret_delivery->times) &&
                   weir_decimal_read(numbers[1], &ret_delivery->sequence) &&
                   weir_decimal_read(numbers[2], &own) && weir_decimal_read(numbers[3], &wall_ns) &&
                   weir_decimal_read(numbers[4], &ret_delivery->pending) && wall_ns <= INT64_MAX;
    ret_delivery->wall_ns = is_good ? (int64_t)wall_ns : 0;
    return is_good && ret_delivery->sequence > 0;
}

int64_t weir_nats_time_read(const char *text) {
    struct tm tm = {0};
    const char *rest = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
    if (!rest) {
        return 0;
    }
    int64_t ns = 0, unit = WEIR_NS_PER_S;
    if (*rest == '.') {
        for (rest++; *rest >= '0' && *rest <= '9' && unit > 1; rest++) {
            unit /= 10;
            ns += (*rest - '0') * unit;
        }
    }
    return *rest == 'Z' ? (int64_t)timegm(&tm) * WEIR_NS_PER_S + ns : 0;
}
