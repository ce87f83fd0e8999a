// SPDX-License-Identifier: Apache-2.0
//
// An event that a handler returned becomes one of the subscription's own: its source is the
// subscription, and its id is made of the cause's, so that the same cause gives the same id however
// often it is handled, and whoever drops repeated ids drops repeats. What the handler wrote as id
// and source is not kept: the seed's handler returns the very event that it was given, whose id and
// source already belong to something else.
//
// Three extensions make a chain traceable: the cause's id, the id of the chain's first event, and
// how many handlers it has passed. A chain that passes more than hops_max feeds itself, and is cut:
// the event becomes a dead letter.
//
// Runs on the worker, without the lock.
#include "flow/flow_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HOPS_MAX_DEFAULT = 16, ID_BYTES = 40, SOURCE_BYTES = WEIR_SUBSCRIPTION_NAME_BYTES_MAX + 2 };

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

// "xxh128:..." of the subscription's name, the cause's source and its id.
static struct weir_str make_id(const struct weir_subscription *subscription,
                               const struct weir_event *cause, char buffer[static ID_BYTES]) {
    struct weir_str parts[] = {weir_str_of(subscription->name), cause->fields.source,
                               cause->fields.id};
    XXH128_canonical_t hashes[3]; // of each part, so that "ab", "c" is not "a", "bc"
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        XXH128_canonicalFromHash(&hashes[i],
                                 XXH3_128bits(parts[i].data ? parts[i].data : "", parts[i].size));
    }
    XXH128_hash_t hash = XXH3_128bits(hashes, sizeof hashes);
    int size =
        snprintf(buffer, ID_BYTES, "xxh128:%016" PRIx64 "%016" PRIx64, hash.high64, hash.low64);
    return (struct weir_str){buffer, (size_t)size};
}

struct derived {
    struct weir_event_fields fields;
    struct weir_attribute extensions[WEIR_EXTENSIONS_MAX];
    char id[ID_BYTES], source[SOURCE_BYTES], hops[24];
};

static void add_extension(struct derived *derived, const char *name, struct weir_str value) {
    if (derived->fields.extensions.count < WEIR_EXTENSIONS_MAX) {
        derived->extensions[derived->fields.extensions.count++] =
            (struct weir_attribute){weir_str_of(name), value};
    }
}

static void fill(struct derived *derived, const struct weir_subscription *subscription,
                 const struct weir_event *cause, const struct weir_event *returned, uint64_t hops) {
    derived->fields = returned->fields;
    snprintf(derived->source, sizeof derived->source, "/%s", subscription->name);
    snprintf(derived->hops, sizeof derived->hops, "%" PRIu64, hops);
    derived->fields.id = make_id(subscription, cause, derived->id);
    derived->fields.source = weir_str_of(derived->source);
    derived->fields.extensions = (struct weir_attributes){.items = derived->extensions};
    struct weir_str correlation = weir_event_extension(&cause->fields, WEIR_EXTENSION_CORRELATION);
    add_extension(derived, WEIR_EXTENSION_CAUSATION, cause->fields.id);
    add_extension(derived, WEIR_EXTENSION_CORRELATION,
                  correlation.size > 0 ? correlation : cause->fields.id);
    add_extension(derived, WEIR_EXTENSION_HOPS, weir_str_of(derived->hops));
    for (size_t i = 0; i < returned->fields.extensions.count; i++) {
        const struct weir_attribute *extension = &returned->fields.extensions.items[i];
        bool has_room = derived->fields.extensions.count < WEIR_EXTENSIONS_MAX;
        if (has_room && !is_chain_attribute(extension->name)) {
            derived->extensions[derived->fields.extensions.count++] = *extension;
        }
    }
}

weir_status weir_derive(const struct weir_subscription *subscription,
                        const struct weir_event *cause, const struct weir_event *returned,
                        struct weir_out **ret_out, struct weir_dead **ret_dead,
                        struct weir_error *err) {
    *ret_out = NULL;
    *ret_dead = NULL;
    uint64_t hops_max = subscription->flow->config.hops_max;
    hops_max = hops_max > 0 ? hops_max : HOPS_MAX_DEFAULT;
    uint64_t hops = hops_of(cause) + 1;
    struct derived derived;
    fill(&derived, subscription, cause, returned, hops);
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
