// SPDX-License-Identifier: Apache-2.0
//
// The sources of the simulation: providers that do as provider.h says, in every combination of what
// a source can do that weir knows. A source keeps all that ever changed, which is the truth that
// the oracle compares with; a watch is a place in that. Each source has a fiber of its own, which
// offers. A topic is weir's own.
//
// A source dies with weir and stands up again with it; what it tells then depends on its kind.
#include "unit/flow/sim.h"

#include "provider/topic/topic.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ASK_AGAIN_NS = 10 * 1000 * 1000 };

bool sim_source_can(const struct sim_source *source, enum weir_capability capability) {
    return (source->provider.capabilities & capability) != 0;
}

static struct sim_source *source_of(struct weir_resource *resource) {
    return (struct sim_source *)resource;
}

static uint32_t number_in(struct weir_str text, uint32_t skip) {
    uint32_t number = 0;
    for (size_t i = skip; i < text.size && text.data[i] >= '0' && text.data[i] <= '9'; i++) {
        number = number * 10 + (uint32_t)(text.data[i] - '0');
    }
    return number;
}

// ---- what changes ----

static bool is_wanted(const struct sim_watch *watch, uint32_t key) {
    return watch->is_every || watch->key == key;
}

// What a source does without memory is no matter of the simulation: it tries again.
static struct weir_event *make(const struct weir_event_fields *fields,
                               const struct weir_event_origin *origin) {
    struct weir_event *event;
    while (weir_event_make(fields, origin, &event, NULL) != WEIR_OK) {
    }
    return event;
}

static struct weir_event *make_event(const struct sim_source *source, uint32_t index) {
    const struct sim_change *change = &source->changes[index];
    char id[24], key[8], position[16] = "", data[40];
    snprintf(id, sizeof id, "%s:%" PRIu32, source->name, index);
    snprintf(key, sizeof key, "k%" PRIu32, change->key);
    if (sim_source_can(source, WEIR_CAN_REPLAY)) {
        snprintf(position, sizeof position, "%" PRIu32, index);
    } else if (sim_source_can(source, WEIR_CAN_COMPARE) && !change->is_delete) {
        snprintf(position, sizeof position, "v%" PRIu32, index);
    }
    snprintf(data, sizeof data, "%0*" PRIu32, (int)(1 + index * 7 % 30), index);
    const struct weir_event_fields fields = {
        .specversion = WEIR_STR("1.0"),
        .ty = WEIR_STR("dev.weir.test"),
        .source = weir_str_of(source->name),
        .id = weir_str_of(id),
        .subject = {true, weir_str_of(key)},
        .data = {true, {WEIR_PAYLOAD_TEXT, weir_str_of(data)}},
    };
    const struct weir_event_origin origin = {.key = weir_str_of(key),
                                             .position = weir_str_of(position)};
    struct weir_event *event = make(&fields, &origin);
    struct sim_event *known = sim_event_obtain(weir_str_of(id));
    known->source = (struct sim_source *)(uintptr_t)source;
    known->index = index;
    known->key = change->key;
    sim_event_check(known, &event->fields);
    return event;
}

static struct weir_event *make_gap(const struct sim_watch *watch) {
    const struct sim_source *source = watch->source;
    char id[64], position[16] = "";
    snprintf(id, sizeof id, "%s:gap:%" PRIu32 ":%" PRIu32 ":%" PRIu32, source->name,
             watch->gap_from, watch->gap_to, watch->gap_number);
    if (sim_source_can(source, WEIR_CAN_REPLAY)) {
        snprintf(position, sizeof position, "%" PRIu32, watch->gap_to);
    }
    const struct weir_event_fields fields = {
        .specversion = WEIR_STR("1.0"),
        .ty = WEIR_STR(WEIR_TYPE_GAP),
        .source = weir_str_of(source->name),
        .id = weir_str_of(id),
        .data = {true, {WEIR_PAYLOAD_TEXT, weir_str_of("gap")}},
    };
    const struct weir_event_origin origin = {.position = weir_str_of(position), .is_gap = true};
    struct weir_event *event = make(&fields, &origin);
    struct sim_event *known = sim_event_obtain(weir_str_of(id));
    known->source = (struct sim_source *)(uintptr_t)source;
    known->index = watch->gap_to;
    known->gap_from = watch->gap_from;
    known->key = SIM_KEYS_MAX;
    known->is_gap = true;
    sim_event_check(known, &event->fields);
    return event;
}

void sim_source_change(struct sim_source *source) {
    if (source->count == SIM_CHANGES_MAX || source->is_topic) {
        return;
    }
    uint32_t key = (uint32_t)sim_random(SIM_KEYS_MAX);
    key = sim_chance(1, 2) ? key : 0; // a busy key
    uint32_t before = source->current[key];
    bool is_delete = before != 0 && !source->changes[before].is_delete && sim_chance(1, 5);
    source->changes[++source->count] = (struct sim_change){.key = key, .is_delete = is_delete};
    source->current[key] = source->count;
    sim.counts.changes++;
    SIM_TELL("%s changes k%" PRIu32 ": %" PRIu32 "%s", source->name, key, source->count,
             is_delete ? ", deleted" : "");
    fiber_wake(source);
}

void sim_source_forget(struct sim_source *source) {
    if (source->is_topic || source->count == 0 || sim_source_can(source, WEIR_CAN_ACK)) {
        return;
    }
    if (sim_source_can(source, WEIR_CAN_REPLAY)) {
        uint32_t first =
            source->count + 1 - (uint32_t)sim_random(source->count < 4 ? source->count : 4);
        source->first_kept = first > source->first_kept ? first : source->first_kept;
        SIM_TELL("%s forgets what was before %" PRIu32, source->name, source->first_kept);
    } else {
        for (size_t i = 0; i < SIM_WATCHES_MAX; i++) {
            struct sim_watch *watch = &source->watches[i];
            if (watch->is_used && !watch->is_gap_due && !watch->is_offering) {
                watch->is_gap_due = true;
                watch->gap_from = watch->next;
                watch->gap_to = source->count;
                watch->gap_number = ++source->gaps;
            }
        }
    }
    fiber_wake(source);
}

// ---- watches ----

// What a fresh watch begins with is noted.
static weir_status remember_all(const struct sim_watch *watch, struct sim_sub *sub) {
    const struct sim_source *source = watch->source;
    for (uint32_t key = 0; key < SIM_KEYS_MAX; key++) {
        char name[8], fingerprint[16];
        uint32_t index = watch->told[key];
        sub->fresh_keys[key] = index;
        if (!is_wanted(watch, key) || index == 0 || source->changes[index].is_delete) {
            continue;
        }
        snprintf(name, sizeof name, "k%" PRIu32, key);
        snprintf(fingerprint, sizeof fingerprint, "v%" PRIu32, index);
        weir_status status =
            watch->sink.remember(watch->sink.context, weir_str_of(name), weir_str_of(fingerprint));
        if (status != WEIR_OK) {
            return status;
        }
    }
    return WEIR_OK;
}

static bool recall_one(void *context, struct weir_str key, struct weir_str fingerprint) {
    struct sim_watch *watch = context;
    SIM_CHECK(key.size > 1 && fingerprint.size > 1, "an empty note");
    watch->told[number_in(key, 1)] = number_in(fingerprint, 1);
    return true;
}

static weir_status begin_compare(struct sim_watch *watch, const struct weir_watch_args *args,
                                 struct sim_sub *sub, struct weir_error *err) {
    const struct sim_source *source = watch->source;
    memcpy(watch->told, source->current, sizeof watch->told);
    if (!args->resume) {
        weir_status status = remember_all(watch, sub);
        return status == WEIR_OK ? status : weir_fail(err, status, "nothing is remembered");
    }
    for (uint32_t key = 0; key < SIM_KEYS_MAX; key++) {
        uint32_t index = source->current[key];
        // What is gone and was not told is nothing to tell of.
        watch->told[key] = source->changes[index].is_delete ? index : 0;
    }
    return args->resume->recall(args->resume->context, recall_one, watch, err);
}

static weir_status begin_replay(struct sim_watch *watch, const struct weir_watch_args *args,
                                struct sim_sub *sub, struct weir_error *err) {
    if (args->resume) {
        watch->next = number_in(args->resume->position, 0) + 1;
        return WEIR_OK;
    }
    char position[16];
    uint32_t last = watch->source->count;
    watch->next = last + 1;
    sub->fresh_index = last;
    snprintf(position, sizeof position, "%" PRIu32, last);
    weir_status status =
        watch->sink.remember(watch->sink.context, (struct weir_str){0}, weir_str_of(position));
    return status == WEIR_OK ? status : weir_fail(err, status, "nothing is remembered");
}

// The source tells again what was not acknowledged.
static void begin_acknowledge(struct sim_watch *watch) {
    struct sim_source *source = watch->source;
    if (!source->was_watched) {
        source->was_watched = true;
        source->first_owed = source->count + 1;
    }
    watch->next = source->first_owed;
}

static weir_status sim_watch(struct weir_resource *resource, const struct weir_watch_args *args,
                             struct weir_watch **ret_watch, struct weir_error *err) {
    struct sim_source *source = source_of(resource);
    struct sim_sub *sub = sim_sub_of(args->sink.context);
    *ret_watch = NULL;
    if (sim_fault(1)) {
        return weir_fail(err, WEIR_UNAVAILABLE, "the source does not answer");
    }
    struct sim_watch *watch = source->watches;
    while (watch->is_used) {
        SIM_CHECK(++watch < source->watches + SIM_WATCHES_MAX, "many watches");
    }
    *watch = (struct sim_watch){
        .base.resource = resource,
        .source = source,
        .sink = args->sink,
        .is_every = args->pattern.is_prefix,
        .key = args->pattern.is_prefix ? 0 : number_in(args->pattern.text, 1),
        .next = source->count + 1,
    };
    SIM_CHECK(
        args->resume || !sub->is_known ||
            !(sim_source_can(source, WEIR_CAN_REPLAY) || sim_source_can(source, WEIR_CAN_COMPARE)),
        "a watch begins anew");
    watch->is_used = watch->is_stopped = true; // nothing is offered yet
    weir_status status = WEIR_OK;
    if (sim_source_can(source, WEIR_CAN_REPLAY)) {
        status = begin_replay(watch, args, sub, err);
    } else if (sim_source_can(source, WEIR_CAN_COMPARE)) {
        status = begin_compare(watch, args, sub, err);
    } else if (sim_source_can(source, WEIR_CAN_ACK)) {
        begin_acknowledge(watch);
    }
    if (status != WEIR_OK) {
        watch->is_used = false;
        return status;
    }
    SIM_TELL("%s is watched by %s from %" PRIu32, source->name, sub->name, watch->next);
    watch->is_stopped = false;
    *ret_watch = &watch->base;
    fiber_wake(source);
    return WEIR_OK;
}

static void sim_unwatch(struct weir_watch *base) {
    if (!base) {
        return;
    }
    struct sim_watch *watch = (struct sim_watch *)base;
    SIM_CHECK(watch->is_used, "a watch is ended twice");
    watch->is_stopped = true;
    while (watch->is_offering) {
        fiber_yield();
    }
    watch->is_used = false;
    fiber_wake(watch->source);
}

static void sim_resume(struct weir_watch *base) {
    struct sim_watch *watch = (struct sim_watch *)base;
    SIM_CHECK(watch->is_used, "a watch that has ended is resumed");
    watch->resumes++;
    watch->is_paused = false;
    fiber_wake(watch->source);
}

static void sim_acknowledge(struct weir_watch *base, struct weir_event *event) {
    struct sim_watch *watch = (struct sim_watch *)base;
    SIM_CHECK(watch->is_used, "a watch that has ended is acknowledged to");
    sim_pass(SIM_CRASH_ON_ACKNOWLEDGE);
    if (sim.is_crashed) {
        return;
    }
    const struct sim_event *known = sim_event_of(event->fields.id);
    SIM_CHECK(known, "an event from nowhere is acknowledged");
    sim_oracle_acknowledged(sim_sub_of(watch->sink.context), known);
    if (!known->is_gap) {
        watch->source->changes[known->index].is_acknowledged = true;
    }
}

// ---- the source's thread ----

// What is to be told next through this watch; 0: nothing.
static uint32_t next_change(struct sim_watch *watch) {
    const struct sim_source *source = watch->source;
    if (sim_source_can(source, WEIR_CAN_COMPARE)) {
        uint32_t first = (uint32_t)sim_random(SIM_KEYS_MAX);
        for (uint32_t i = 0; i < SIM_KEYS_MAX; i++) {
            uint32_t key = (first + i) % SIM_KEYS_MAX;
            if (is_wanted(watch, key) && watch->told[key] != source->current[key]) {
                return source->current[key];
            }
        }
        return 0;
    }
    for (; watch->next <= source->count; watch->next++) {
        const struct sim_change *change = &source->changes[watch->next];
        if (is_wanted(watch, change->key) && !change->is_acknowledged) {
            return watch->next;
        }
    }
    return 0;
}

static void look_for_gap(struct sim_watch *watch) {
    const struct sim_source *source = watch->source;
    if (sim_source_can(source, WEIR_CAN_REPLAY) && watch->next < source->first_kept) {
        watch->is_gap_due = true;
        watch->gap_from = watch->next;
        watch->gap_to = source->first_kept - 1;
    }
}

static void note_told(struct sim_watch *watch, uint32_t index) {
    const struct sim_source *source = watch->source;
    if (index == 0) {
        watch->is_gap_due = false;
        watch->next = watch->gap_to + 1 > watch->next ? watch->gap_to + 1 : watch->next;
    } else if (sim_source_can(source, WEIR_CAN_COMPARE)) {
        watch->told[source->changes[index].key] = index;
    } else {
        watch->next = index + 1;
    }
}

// Offers one change. False: there is nothing to tell now.
static bool offer(struct sim_watch *watch) {
    if (!watch->is_used || watch->is_stopped || watch->is_paused || watch->ask_ns > sim_now_ns()) {
        return false;
    }
    look_for_gap(watch);
    uint32_t index = watch->is_gap_due ? 0 : next_change(watch);
    if (index == 0 && !watch->is_gap_due) {
        return false;
    }
    struct weir_event *event = index > 0 ? make_event(watch->source, index) : make_gap(watch);
    uint64_t resumes = watch->resumes;
    watch->is_offering = true;
    weir_status status = watch->sink.offer(watch->sink.context, event);
    watch->is_offering = false;
    switch (status) {
    case WEIR_OK:
        note_told(watch, index);
        break;
    case WEIR_AGAIN:
        watch->is_paused = watch->resumes == resumes;
        break;
    case WEIR_NO_MEMORY:
        watch->ask_ns = sim_now_ns() + ASK_AGAIN_NS;
        break;
    default:
        SIM_CHECK(status == WEIR_STOPPED, "offer answers %s", weir_status_name(status));
        watch->is_stopped = true;
        break;
    }
    weir_event_unref(event);
    return true;
}

static bool is_held_up(const struct sim_source *source) {
    for (size_t i = 0; i < SIM_WATCHES_MAX; i++) {
        const struct sim_watch *watch = &source->watches[i];
        if (watch->is_used && watch->is_paused) {
            return sim_source_can(source, WEIR_SHARES_PAUSE);
        }
    }
    return false;
}

static void *source_main(void *argument) {
    struct sim_source *source = argument;
    while (!source->is_ending) {
        bool has_offered = false;
        size_t first = sim_random(SIM_WATCHES_MAX);
        for (size_t i = 0; i < SIM_WATCHES_MAX && !sim.is_crashed && !is_held_up(source); i++) {
            has_offered |= offer(&source->watches[(first + i) % SIM_WATCHES_MAX]);
        }
        if (!has_offered && !source->is_ending) {
            fiber_wait(source, sim_now_ns() + ASK_AGAIN_NS);
        }
    }
    return NULL;
}

bool sim_source_is_told(const struct sim_source *source) {
    for (size_t i = 0; i < SIM_WATCHES_MAX; i++) {
        struct sim_watch watch = source->watches[i];
        if (!watch.is_used || watch.is_stopped) {
            continue;
        }
        look_for_gap(&watch);
        if (watch.is_offering || watch.is_gap_due || next_change(&watch) != 0) {
            return false;
        }
    }
    return true;
}

// ---- publishing ----

// A returned event, where it is published. What is wrong with it is the event's own.
static bool is_unpublishable(const struct sim_event *event) {
    return event->hash % 32 == 7;
}

static weir_status publish_fault(struct weir_error *err) {
    static const weir_status answers[] = {WEIR_AGAIN, WEIR_UNAVAILABLE, WEIR_NO_MEMORY, WEIR_OTHER};
    return weir_fail(err, answers[sim_random(4)], "nobody is there");
}

static weir_status publish(struct weir_resource *resource, struct weir_event *event,
                           struct weir_error *err) {
    struct sim_source *target = source_of(resource);
    struct sim_event *known = sim_event_of(event->fields.id);
    int64_t since_ns = sim_now_ns();
    if (sim.is_crashed) {
        return publish_fault(err);
    }
    SIM_CHECK(known && known->is_durable, "an event is published and not in the outbox");
    sim_event_check(known, &event->fields);
    if (sim_chance(1, 4)) {
        fiber_sleep((int64_t)sim_random(2 * 1000 * 1000));
    }
    sim_pass(SIM_CRASH_BEFORE_PUBLISH);
    if (sim.is_crashed || sim_fault(sim.publish_faults)) {
        return publish_fault(err);
    }
    if (is_unpublishable(known)) {
        return weir_fail(err, WEIR_INVALID, "such an event cannot be published");
    }
    if (target->is_topic) {
        weir_status status = weir_topic_provider.publish(target->topic, event, err);
        if (status != WEIR_OK) {
            return status;
        }
    }
    if (!sim.is_crashed) {
        sim_oracle_published(known, target, since_ns);
    }
    sim_pass(SIM_CRASH_AFTER_PUBLISH);
    return sim.is_crashed || sim_fault(sim.publish_faults / 2) ? publish_fault(err) : WEIR_OK;
}

// ---- a topic: watches go to weir's own ----

static weir_status topic_watch(struct weir_resource *resource, const struct weir_watch_args *args,
                               struct weir_watch **ret_watch, struct weir_error *err) {
    return weir_topic_provider.watch(source_of(resource)->topic, args, ret_watch, err);
}

void sim_topic_begin(struct sim_source *source) {
    const struct weir_topic_options options = {.watches_max = SIM_WATCHES_MAX};
    const struct weir_resource_args args = {.name = source->name, .options = &options};
    while (weir_topic_provider.open(&args, &source->topic, NULL) != WEIR_OK) {
    }
    // The watches' resource is this one, and what is called of it is called for ours.
}

void sim_topic_end(struct sim_source *source) {
    weir_topic_provider.close(source->topic);
    source->topic = NULL;
}

// ---- making them ----

static void set_up(struct sim_source *source, uint32_t capabilities) {
    source->base.provider = &source->provider;
    source->base.name = source->name;
    source->provider = (struct weir_provider){
        .kind = "sim",
        .capabilities = capabilities | WEIR_CAN_WATCH,
        .watch = sim_watch,
        .unwatch = sim_unwatch,
        .resume = sim_resume,
        .acknowledge = capabilities & WEIR_CAN_ACK ? sim_acknowledge : NULL,
    };
}

void sim_source_init(struct sim_source *source, uint32_t number) {
    static const uint32_t kinds[] = {
        WEIR_CAN_REPLAY | WEIR_CAN_PAUSE,
        WEIR_CAN_REPLAY | WEIR_CAN_PAUSE | WEIR_SHARES_PAUSE,
        WEIR_CAN_REPLAY,
        WEIR_CAN_COMPARE | WEIR_CAN_PAUSE,
        WEIR_CAN_COMPARE | WEIR_CAN_PAUSE | WEIR_SHARES_PAUSE,
        WEIR_CAN_COMPARE,
        WEIR_CAN_PAUSE,
        WEIR_CAN_PAUSE | WEIR_SHARES_PAUSE,
        0,
        0,
        WEIR_CAN_ACK | WEIR_CAN_PAUSE,
        WEIR_CAN_ACK | WEIR_CAN_REPLAY | WEIR_CAN_PAUSE,
        0, // a topic
        0,
    };
    enum { KINDS = sizeof kinds / sizeof kinds[0], TOPIC = KINDS - 2 };
    uint64_t kind = sim_random(KINDS);
    source->number = number;
    source->is_topic = kind >= TOPIC;
    snprintf(source->name, sizeof source->name, "s%" PRIu32, number);
    source->count = source->first_owed = source->gaps = 0;
    source->first_kept = 1;
    source->was_watched = source->is_ending = false;
    source->changes[0] = (struct sim_change){0};
    source->topic = NULL;
    source->fiber = NULL;
    memset(source->current, 0, sizeof source->current);
    memset(source->watches, 0, sizeof source->watches);
    set_up(source, kinds[kind]);
    if (source->is_topic) {
        source->provider = weir_topic_provider;
        source->provider.watch = topic_watch;
        source->provider.publish = publish;
    }
}

void sim_sink_init(void) {
    struct sim_source *sink = &sim.sink;
    sink->base.provider = &sink->provider;
    sink->base.name = sink->name;
    snprintf(sink->name, sizeof sink->name, "sink");
    sink->provider = (struct weir_provider){
        .kind = "sink", .capabilities = WEIR_CAN_PUBLISH, .publish = publish};
}

void sim_source_begin(struct sim_source *source) {
    source->is_ending = false;
    if (source->is_topic) {
        sim_topic_begin(source);
    } else {
        source->fiber = fiber_start(source->name, source_main, source);
    }
}

void sim_source_end(struct sim_source *source) {
    source->is_ending = true;
    if (source->is_topic) {
        sim_topic_end(source);
        return;
    }
    fiber_wake(source);
    fiber_join(source->fiber);
    for (size_t i = 0; i < SIM_WATCHES_MAX; i++) {
        SIM_CHECK(!source->watches[i].is_used, "a watch of %s has not ended", source->name);
    }
}
