// SPDX-License-Identifier: Apache-2.0
//
// A topic is nothing but its watches. It keeps no event for later: one is handed to each watch that
// wants it before publish returns, and a watch that has no room makes the publisher wait. So a
// topic needs no queue, no bound of one, and no thread; whoever needs what was published to outlast
// the process has it in the journal of its own subscription.
//
// The event that was published last stays the event under way until a call with another one, whose
// source or id differs. So a further call with it offers it only to the watches that lack it: those
// that had no room when publish gave up with WEIR_AGAIN, and those that began since.
//
// Threads. One lock guards everything, and is never held over a call of a sink. A watch whose sink
// is being called is held in the list by is_offering: unwatch waits for that to end, so the
// publisher finds its place in the list again. What was left: a thread of the topic's own with a
// queue in front of it. It would make an event that publish has answered for live in memory only,
// which is what publish must not do.
//
// Sinks are called on the publisher's thread. A sink that published into the same topic would wait
// for itself; no sink publishes.
#include "provider/topic/topic.h"

#include "base/clock.h"
#include "provider/subject.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

enum { NO_MEMORY_WAIT_MS = 10 }; // before a sink without memory is asked again

struct topic_watch {
    struct weir_watch base;
    struct weir_pattern pattern;
    char *pattern_text; // owned
    struct weir_sink sink;
    uint64_t event_bytes_max;
    struct topic_watch *prev, *next; // in topic->watches

    // Under topic->lock.
    uint64_t taken;   // the number of the last event that it took
    uint64_t resumes; // calls of resume
    int64_t ask_ns;   // of the monotonic clock: not to be asked before, for it had no memory
    bool is_paused;   // the sink had no room, and resume was not called since
    bool is_stopped;  // the sink wants nothing any more
    bool is_offering; // its sink is being called
};

struct topic {
    struct weir_resource base;
    uint64_t watches_max;

    pthread_mutex_t lock;   // never held over a call of a sink
    pthread_cond_t changed; // a watch has room, has gone, or its sink has returned
    struct topic_watch *watches;
    uint64_t watch_count;
    struct weir_event *under_way;    // the one that was published last; NULL: none was
    struct weir_event *without_data; // the same for watches for which its data is too large; made
                                     // when first wanted
    uint64_t number;                 // of the event under way, or of the last one
};

static const struct weir_option option_rows[] = {
    {
        .name = "watches_max",
        .type = WEIR_OPTION_COUNT,
        .offset = offsetof(struct weir_topic_options, watches_max),
        .fallback = "1024",
        .min = 1,
        .max = 65536,
        .help = "watches that there may be at a time; each is asked about every event",
    },
};

// ---- opening and closing ----

static void topic_close(struct weir_resource *base) {
    if (!base) {
        return;
    }
    struct topic *topic = (struct topic *)base;
    weir_event_unref(topic->under_way);
    weir_event_unref(topic->without_data);
    pthread_cond_destroy(&topic->changed);
    pthread_mutex_destroy(&topic->lock);
    free(topic->base.name);
    free(topic);
}

static weir_status topic_open(const struct weir_resource_args *args,
                              struct weir_resource **ret_resource, struct weir_error *err) {
    const struct weir_topic_options *options = args->options;
    *ret_resource = NULL;
    struct topic *topic = calloc(1, sizeof *topic);
    if (!topic) {
        return weir_fail_no_memory(err, "a resource");
    }
    pthread_mutex_init(&topic->lock, NULL);
    pthread_cond_init(&topic->changed, NULL); // waited for by pthread_cond_clockwait
    topic->base.provider = &weir_topic_provider;
    topic->watches_max = options->watches_max;
    topic->base.name = strdup(args->name);
    if (!topic->base.name) {
        topic_close(&topic->base);
        return weir_fail_no_memory(err, "a resource");
    }
    *ret_resource = &topic->base;
    return WEIR_OK;
}

// ---- watching ----

static weir_status pattern_check(const struct weir_pattern *pattern, struct weir_error *err) {
    struct weir_str text = pattern->text;
    if (text.size > WEIR_KEY_BYTES_MAX) {
        return weir_fail(err, WEIR_INVALID, "a key of %zu bytes; the longest is %d", text.size,
                         WEIR_KEY_BYTES_MAX);
    }
    if (text.size == 0 && !pattern->is_prefix) {
        return weir_fail(err, WEIR_INVALID,
                         "an empty key; \"*\" watches everything, events without a subject too");
    }
    if (text.size > 0 && memchr(text.data, '\0', text.size)) {
        return weir_fail(err, WEIR_INVALID, "a key with a NUL byte; every other byte may stand");
    }
    return WEIR_OK;
}

static weir_status topic_promise(struct weir_resource *base, const struct weir_pattern *pattern,
                                 struct weir_promise *ret_promise, struct weir_error *err) {
    *ret_promise = (struct weir_promise){.strength = WEIR_EVERY_CHANGE,
                                         .capabilities = base->provider->capabilities &
                                                         WEIR_WATCH_CAPABILITIES};
    return pattern_check(pattern, err);
}

static void watch_free(struct topic_watch *watch) {
    free(watch->pattern_text);
    free(watch);
}

static weir_status topic_watch(struct weir_resource *base, const struct weir_watch_args *args,
                               struct weir_watch **ret_watch, struct weir_error *err) {
    struct topic *topic = (struct topic *)base;
    *ret_watch = NULL;
    weir_status status = pattern_check(&args->pattern, err);
    if (status) {
        return status;
    }
    struct topic_watch *watch = calloc(1, sizeof *watch);
    if (!watch) {
        return weir_fail_no_memory(err, "a watch");
    }
    size_t size = args->pattern.text.size;
    watch->base.resource = base;
    watch->sink = args->sink;
    watch->event_bytes_max = args->event_bytes_max;
    watch->pattern_text = malloc(size + 1); // never of no size
    if (!watch->pattern_text) {
        watch_free(watch);
        return weir_fail_no_memory(err, "a watch");
    }
    if (size > 0) {
        memcpy(watch->pattern_text, args->pattern.text.data, size);
    }
    watch->pattern = (struct weir_pattern){.text = {.data = watch->pattern_text, .size = size},
                                           .is_prefix = args->pattern.is_prefix};
    pthread_mutex_lock(&topic->lock);
    bool has_place = topic->watch_count < topic->watches_max;
    if (has_place) {
        // Where a publish has not returned yet this watch is told its event too: it will return
        // after this has.
        DL_APPEND(topic->watches, watch);
        topic->watch_count++;
    }
    pthread_mutex_unlock(&topic->lock);
    if (!has_place) {
        watch_free(watch);
        return weir_fail(err, WEIR_LIMIT,
                         "%" PRIu64 " watches of the topic \"%s\", and no more are allowed; raise "
                         "watches_max",
                         topic->watches_max, topic->base.name);
    }
    *ret_watch = &watch->base;
    return WEIR_OK;
}

static void topic_unwatch(struct weir_watch *base) {
    if (!base) {
        return;
    }
    struct topic_watch *watch = (struct topic_watch *)base;
    struct topic *topic = (struct topic *)base->resource;
    pthread_mutex_lock(&topic->lock);
    watch->is_stopped = true;    // no further offer begins
    while (watch->is_offering) { // ends: a sink does not block
        pthread_cond_wait(&topic->changed, &topic->lock);
    }
    DL_DELETE(topic->watches, watch);
    topic->watch_count--;
    pthread_cond_broadcast(&topic->changed); // publish may have waited for its room
    pthread_mutex_unlock(&topic->lock);
    watch_free(watch);
}

static void topic_resume(struct weir_watch *base) {
    struct topic_watch *watch = (struct topic_watch *)base;
    struct topic *topic = (struct topic *)base->resource;
    pthread_mutex_lock(&topic->lock);
    watch->resumes++;
    watch->is_paused = false;
    pthread_cond_broadcast(&topic->changed);
    pthread_mutex_unlock(&topic->lock);
}

// ---- publishing; under topic->lock but where it says otherwise ----

// The event as watches are told it: the subject is the key, and a topic keeps no position.
static weir_status as_told(struct weir_event *event, struct weir_event **ret_event,
                           struct weir_error *err) {
    struct weir_subject_buffer buffer;
    struct weir_event_origin origin = {0};
    *ret_event = NULL;
    weir_status status = weir_subject_key(&event->fields, &buffer, &origin.key, err);
    if (status) {
        return status;
    }
    if (weir_str_equal(event->key, origin.key) && event->position.size == 0 && !event->is_gap) {
        *ret_event = weir_event_ref(event);
        return WEIR_OK;
    }
    return weir_event_make(&event->fields, &origin, ret_event, err);
}

// The event without its data, for a watch for which that is too large.
static weir_status strip_data(const struct weir_event *event, struct weir_event **ret_event,
                              struct weir_error *err) {
    char size[24];
    snprintf(size, sizeof size, "%zu", event->fields.data.value.bytes.size);
    struct weir_attribute extensions[WEIR_EXTENSIONS_MAX + 2];
    size_t count = 0;
    for (size_t i = 0; i < event->fields.extensions.count; i++) {
        struct weir_attribute extension = event->fields.extensions.items[i];
        if (!weir_str_equal(extension.name, WEIR_STR("dataomitted")) &&
            !weir_str_equal(extension.name, WEIR_STR("datasize"))) {
            extensions[count++] = extension;
        }
    }
    extensions[count++] = (struct weir_attribute){WEIR_STR("dataomitted"), WEIR_STR("size")};
    extensions[count++] = (struct weir_attribute){WEIR_STR("datasize"), weir_str_of(size)};
    struct weir_event_fields fields = event->fields;
    fields.data = (struct weir_optional_payload){0};
    fields.datacontenttype = (struct weir_optional_str){0};
    fields.extensions = (struct weir_attributes){.items = extensions, .count = count};
    return weir_event_make(&fields, &(struct weir_event_origin){.key = event->key}, ret_event, err);
}

static void end_event(struct topic *topic) {
    weir_event_unref(topic->under_way);
    weir_event_unref(topic->without_data);
    topic->under_way = topic->without_data = NULL;
}

// Makes this event the one under way, unless it is.
static weir_status begin_event(struct topic *topic, struct weir_event *event,
                               struct weir_error *err) {
    const struct weir_event *before = topic->under_way;
    if (before && weir_str_equal(before->fields.source, event->fields.source) &&
        weir_str_equal(before->fields.id, event->fields.id)) {
        return WEIR_OK;
    }
    end_event(topic);
    topic->number++;
    return as_told(event, &topic->under_way, err);
}

// Offers the event under way to the sink, and notes the answer. The lock is not held while the sink
// is called. Fails where the event cannot be made for this watch.
static weir_status offer(struct topic *topic, struct topic_watch *watch, struct weir_error *err) {
    struct weir_event *event = topic->under_way;
    if (event->fields.data.is_some &&
        event->fields.data.value.bytes.size > watch->event_bytes_max) {
        weir_status status =
            topic->without_data ? WEIR_OK : strip_data(event, &topic->without_data, err);
        if (status) {
            return status;
        }
        event = topic->without_data;
    }
    uint64_t resumes = watch->resumes;
    watch->is_offering = true;
    pthread_mutex_unlock(&topic->lock);
    weir_status status = watch->sink.offer(watch->sink.context, event);
    pthread_mutex_lock(&topic->lock);
    watch->is_offering = false;
    if (watch->is_stopped) {
        pthread_cond_broadcast(&topic->changed); // unwatch waits
        return WEIR_OK;
    }
    switch (status) {
    case WEIR_OK:
        watch->taken = topic->number;
        break;
    case WEIR_STOPPED:
        watch->is_stopped = true;
        break;
    case WEIR_AGAIN:
        watch->is_paused = watch->resumes == resumes; // else it has room again already
        break;
    default: // WEIR_NO_MEMORY
        watch->ask_ns = weir_clock_monotonic_ns() + NO_MEMORY_WAIT_MS * WEIR_NS_PER_MS;
        break;
    }
    return WEIR_OK;
}

// Whether a watch is to get the event under way and has not.
static bool lacks(const struct topic *topic, const struct topic_watch *watch) {
    return !watch->is_stopped && watch->taken != topic->number &&
           weir_pattern_matches(&watch->pattern, topic->under_way->key);
}

static bool may_be_asked(const struct topic_watch *watch, int64_t now_ns) {
    return !watch->is_paused && watch->ask_ns <= now_ns;
}

// Offers the event under way to each watch that lacks it and may be asked.
static weir_status offer_to_all(struct topic *topic, struct weir_error *err) {
    int64_t now_ns = weir_clock_monotonic_ns();
    for (struct topic_watch *watch = topic->watches; watch; watch = watch->next) {
        if (lacks(topic, watch) && may_be_asked(watch, now_ns)) {
            weir_status status = offer(topic, watch, err);
            if (status) {
                return status;
            }
        }
    }
    return WEIR_OK;
}

// What is left to do for the event under way.
struct rest {
    uint64_t lacking; // watches that lack it
    uint64_t askable; // of them: may be asked now
    uint64_t paused;  // of them: wait for resume
    int64_t ask_ns;   // when the first of the others may be asked; INT64_MAX: there are none
};

static struct rest rest_of(const struct topic *topic) {
    struct rest rest = {.ask_ns = INT64_MAX};
    int64_t now_ns = weir_clock_monotonic_ns();
    for (const struct topic_watch *watch = topic->watches; watch; watch = watch->next) {
        if (!lacks(topic, watch)) {
            continue;
        }
        rest.lacking++;
        if (watch->is_paused) {
            rest.paused++;
        } else if (may_be_asked(watch, now_ns)) {
            rest.askable++;
        } else if (watch->ask_ns < rest.ask_ns) {
            rest.ask_ns = watch->ask_ns;
        }
    }
    return rest;
}

static weir_status fail_rest(const struct topic *topic, const struct rest *rest,
                             struct weir_error *err) {
    return weir_fail(err, rest->paused > 0 ? WEIR_AGAIN : WEIR_NO_MEMORY,
                     "%" PRIu64 " of the watches of the topic \"%s\" had no room within %d seconds",
                     rest->lacking, topic->base.name, WEIR_PUBLISH_WAIT_MS / 1000);
}

// Offers the event under way until no watch lacks it, or time is over.
static weir_status deliver(struct topic *topic, struct weir_error *err) {
    int64_t deadline_ns = weir_clock_monotonic_ns() + WEIR_PUBLISH_WAIT_MS * WEIR_NS_PER_MS;
    for (;;) { // ends: at the deadline
        weir_status status = offer_to_all(topic, err);
        struct rest rest = rest_of(topic);
        if (status || rest.lacking == 0) {
            return status;
        }
        if (weir_clock_monotonic_ns() >= deadline_ns) {
            return fail_rest(topic, &rest, err);
        }
        if (rest.askable == 0) {
            struct timespec until =
                weir_clock_timespec(rest.ask_ns < deadline_ns ? rest.ask_ns : deadline_ns);
            pthread_cond_clockwait(&topic->changed, &topic->lock, CLOCK_MONOTONIC, &until);
        }
    }
}

static weir_status topic_publish(struct weir_resource *base, struct weir_event *event,
                                 struct weir_error *err) {
    struct topic *topic = (struct topic *)base;
    pthread_mutex_lock(&topic->lock);
    weir_status status = begin_event(topic, event, err);
    if (!status) {
        status = deliver(topic, err);
    }
    if (status && status != WEIR_AGAIN && status != WEIR_NO_MEMORY) {
        end_event(topic);
    }
    pthread_mutex_unlock(&topic->lock);
    return status;
}

const struct weir_provider weir_topic_provider = {
    .kind = "topic",
    .summary = "what is published in this process, told to whoever watches in it",
    .options = {.rows = option_rows, .count = sizeof option_rows / sizeof option_rows[0]},
    .options_bytes = sizeof(struct weir_topic_options),
    .capabilities = WEIR_CAN_WATCH | WEIR_CAN_PAUSE | WEIR_SHARES_PAUSE | WEIR_CAN_PUBLISH,
    .open = topic_open,
    .close = topic_close,
    .promise = topic_promise,
    .watch = topic_watch,
    .unwatch = topic_unwatch,
    .resume = topic_resume,
    .publish = topic_publish,
};
