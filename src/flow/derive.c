// SPDX-License-Identifier: Apache-2.0
//
// An event that a handler returned becomes one of the subscription's own: its source is the
// subscription, and its id is made of the cause's, so that the same cause gives the same id however
// often it is handled, and whoever drops repeated ids drops repeats. What the handler wrote as id
// and source is not kept: the seed's handler returns the very event that it was given, whose id and
// source already belong to something else.
//
// Three extensions make a chain traceable: the cause's id, the id of the chain's first event, and
// how many handlers it has passed; where there are traces, `traceparent` and `tracestate` besides,
// in place of what the handler wrote there. A chain that passes more than hops_max feeds itself,
// and is cut: the event becomes a dead letter.
//
// Runs on the worker, without the lock.
#include "flow/flow_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { HOPS_MAX_DEFAULT = 16, ID_BYTES = 40, SOURCE_BYTES = WEIR_SUBSCRIPTION_NAME_BYTES_MAX + 2 };

static struct weir_str put_hash(XXH128_hash_t hash, char buffer[static ID_BYTES]) {
    int size =
        snprintf(buffer, ID_BYTES, "xxh128:%016" PRIx64 "%016" PRIx64, hash.high64, hash.low64);
    return (struct weir_str){buffer, (size_t)size};
}

static bool is_chain_attribute(struct weir_str name) {
    return weir_str_equal(name, WEIR_STR(WEIR_EXTENSION_CAUSATION)) ||
           weir_str_equal(name, WEIR_STR(WEIR_EXTENSION_CORRELATION)) ||
           weir_str_equal(name, WEIR_STR(WEIR_EXTENSION_HOPS)) ||
           weir_str_equal(name, WEIR_STR(WEIR_EXTENSION_ATTEMPT));
}

// How many handlers the cause's chain has passed; what is no number counts as none.
static uint64_t hops_of(const struct weir_event *cause) {
    struct weir_str text = weir_event_extension(&cause->fields, WEIR_EXTENSION_HOPS);
    uint64_t hops = 0;
    for (size_t i = 0; i < text.size && i < 9; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return 0;
        }
        hops = hops * 10 + (uint64_t)(text.data[i] - '0');
    }
    return hops;
}

// "xxh128:..." of the subscription's name, the cause's source and its id, and, of the events that a
// call has sent itself, the how manieth it is; the one that it returned is number 0.
static struct weir_str make_id(const char *subscription, const struct weir_event *cause,
                               uint32_t ordinal, char buffer[static ID_BYTES]) {
    char number[sizeof "4294967295"];
    snprintf(number, sizeof number, "%" PRIu32, ordinal);
    struct weir_str parts[] = {weir_str_of(subscription), cause->fields.source, cause->fields.id,
                               weir_str_of(number)};
    size_t count = ordinal > 0 ? 4 : 3;
    XXH128_canonical_t hashes[4]; // of each part, so that "ab", "c" is not "a", "bc"
    for (size_t i = 0; i < count; i++) {
        XXH128_canonicalFromHash(&hashes[i],
                                 XXH3_128bits(parts[i].data ? parts[i].data : "", parts[i].size));
    }
    return put_hash(XXH3_128bits(hashes, count * sizeof hashes[0]), buffer);
}

// One that no other event has: of a main, which is called for no event.
static weir_status make_fresh_id(char buffer[static ID_BYTES], struct weir_str *ret_id,
                                 struct weir_error *err) {
    XXH128_hash_t random;
    if (getrandom(&random, sizeof random, 0) != sizeof random) {
        return weir_fail_errno(err, errno, "the system gives no random bytes");
    }
    *ret_id = put_hash(random, buffer);
    return WEIR_OK;
}

struct derived {
    struct weir_event_fields fields;
    struct weir_attribute extensions[WEIR_EXTENSIONS_MAX];
    bool has_trace;
    char id[ID_BYTES], source[SOURCE_BYTES], hops[24], traceparent[WEIR_TRACEPARENT_BYTES];
};

static void add_extension(struct derived *derived, const char *name, struct weir_str value) {
    if (derived->fields.extensions.count < WEIR_EXTENSIONS_MAX) {
        derived->extensions[derived->fields.extensions.count++] =
            (struct weir_attribute){weir_str_of(name), value};
    }
}

// Begins with what the guest gave; `sender` is whose event it becomes.
static void begin(struct derived *derived, const char *sender,
                  const struct weir_event_fields *given) {
    derived->fields = *given;
    derived->has_trace = false;
    snprintf(derived->source, sizeof derived->source, "/%s", sender);
    derived->fields.source = weir_str_of(derived->source);
    derived->fields.extensions = (struct weir_attributes){.items = derived->extensions};
}

static void add_chain(struct derived *derived, const struct weir_event *cause, uint64_t hops) {
    snprintf(derived->hops, sizeof derived->hops, "%" PRIu64, hops);
    struct weir_str correlation = weir_event_extension(&cause->fields, WEIR_EXTENSION_CORRELATION);
    add_extension(derived, WEIR_EXTENSION_CAUSATION, cause->fields.id);
    add_extension(derived, WEIR_EXTENSION_CORRELATION,
                  correlation.size > 0 ? correlation : cause->fields.id);
    add_extension(derived, WEIR_EXTENSION_HOPS, weir_str_of(derived->hops));
}

// The trace of the handler's call goes on, sampled or not.
static void add_trace(struct derived *derived, const struct weir_trace_call *trace) {
    if (!trace) {
        return;
    }
    derived->has_trace = true;
    weir_traceparent_write(&trace->own, derived->traceparent);
    add_extension(derived, WEIR_EXTENSION_TRACEPARENT, weir_str_of(derived->traceparent));
    if (trace->state.size > 0) {
        add_extension(derived, WEIR_EXTENSION_TRACESTATE, trace->state);
    }
}

static bool is_trace_attribute(struct weir_str name) {
    return weir_str_equal(name, WEIR_STR(WEIR_EXTENSION_TRACEPARENT)) ||
           weir_str_equal(name, WEIR_STR(WEIR_EXTENSION_TRACESTATE));
}

static void add_given(struct derived *derived, const struct weir_event_fields *given) {
    for (size_t i = 0; i < given->extensions.count; i++) {
        const struct weir_attribute *extension = &given->extensions.items[i];
        bool has_room = derived->fields.extensions.count < WEIR_EXTENSIONS_MAX;
        bool is_weirs = is_chain_attribute(extension->name) ||
                        (derived->has_trace && is_trace_attribute(extension->name));
        if (has_room && !is_weirs) {
            derived->extensions[derived->fields.extensions.count++] = *extension;
        }
    }
}

static uint64_t hops_max_of(const struct weir_flow *flow) {
    return flow->config.hops_max > 0 ? flow->config.hops_max : HOPS_MAX_DEFAULT;
}

weir_status weir_derive_sent(const struct weir_flow *flow, const struct weir_send_args *args,
                             struct weir_event **ret_event, struct weir_error *err) {
    const struct weir_cause *cause = args->cause;
    struct derived derived;
    begin(&derived, cause ? cause->subscription : args->guest, args->event);
    derived.fields.specversion = WEIR_STR(WEIR_CLOUDEVENTS_VERSION);
    weir_status status = WEIR_OK;
    if (cause) {
        uint64_t hops = hops_of(cause->event) + 1, hops_max = hops_max_of(flow);
        if (hops > hops_max) {
            return weir_fail(err, WEIR_LIMIT,
                             "the chain has passed %" PRIu64 " handlers; host.hops allows %" PRIu64,
                             hops, hops_max);
        }
        derived.fields.id = make_id(cause->subscription, cause->event, args->ordinal, derived.id);
        add_chain(&derived, cause->event, hops);
        add_trace(&derived, cause->trace);
    } else {
        status = make_fresh_id(derived.id, &derived.fields.id, err);
    }
    add_given(&derived, args->event);
    struct weir_str key =
        derived.fields.subject.is_some ? derived.fields.subject.value : (struct weir_str){0};
    return status == WEIR_OK ? weir_event_new_checked(&derived.fields, key, ret_event, err)
                             : status;
}

weir_status weir_derive(const struct weir_subscription *subscription,
                        const struct weir_cause *cause, const struct weir_event *returned,
                        struct weir_out **ret_out, struct weir_dead **ret_dead,
                        struct weir_error *err) {
    *ret_out = NULL;
    *ret_dead = NULL;
    uint64_t hops_max = hops_max_of(subscription->flow), hops = hops_of(cause->event) + 1;
    struct derived derived;
    begin(&derived, subscription->name, &returned->fields);
    derived.fields.id = make_id(subscription->name, cause->event, 0, derived.id);
    add_chain(&derived, cause->event, hops);
    add_trace(&derived, cause->trace);
    add_given(&derived, &returned->fields);
    struct weir_str key =
        derived.fields.subject.is_some ? derived.fields.subject.value : (struct weir_str){0};
    struct weir_event *event;
    weir_status status = weir_event_new(&derived.fields, key, &event, err);
    if (status != WEIR_OK) {
        return status;
    }
    struct weir_str name = weir_str_of(subscription->name),
                    target = weir_str_of(subscription->target->resource->name);
    if (hops <= hops_max) {
        *ret_out = weir_out_new(name, target, event);
        if (*ret_out) {
            (*ret_out)->is_sampled = cause->trace && weir_trace_is_sampled(&cause->trace->own);
        }
    } else {
        char reason[96];
        snprintf(reason, sizeof reason,
                 "the chain has passed %" PRIu64 " handlers; host.hops allows %" PRIu64, hops,
                 hops_max);
        struct weir_dead_args args = {.subscription = name,
                                      .target = target,
                                      .reason = weir_str_of(reason),
                                      .attempts = 1,
                                      .guest_hash =
                                          weir_str_of(weir_guest_hash(subscription->guest)),
                                      .event = event};
        *ret_dead = weir_dead_new(&args);
    }
    weir_event_unref(event);
    return *ret_out || *ret_dead ? WEIR_OK : weir_fail_no_memory(err, "a returned event");
}
