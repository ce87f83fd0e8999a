// SPDX-License-Identifier: Apache-2.0
//
// See source.h.
#include "source.h"

#include "base/clock.h"
#include "support.h"

#include <endian.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEY_BYTES = 24,
    ID_BYTES = 16,
    RESUME_WAIT_MS = 60 * 1000, // after which the flow is taken to have forgotten the source
    NO_MEMORY_WAIT_NS = 1000 * 1000,
};

struct source {
    struct weir_resource base; // the first member
    struct weir_provider provider;
    struct weir_watch watch;
    char (*keys)[KEY_BYTES];
    uint32_t key_count;
    char id[ID_BYTES];
    uint64_t sequence; // of the next event
    struct weir_str body;
    pthread_t thread;
    atomic_bool is_ebbing;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    // Everything below is under lock.
    struct weir_sink sink;
    bool is_watched, is_offering;
    uint64_t resumes; // calls of resume
};

static struct source *source_of(struct weir_resource *resource) {
    return (struct source *)(void *)resource;
}

static weir_status watch(struct weir_resource *resource, const struct weir_watch_args *args,
                         struct weir_watch **ret_watch, struct weir_error *err) {
    (void)err;
    struct source *source = source_of(resource);
    pthread_mutex_lock(&source->lock);
    source->sink = args->sink;
    source->is_watched = true;
    pthread_mutex_unlock(&source->lock);
    source->watch = (struct weir_watch){.resource = resource};
    *ret_watch = &source->watch;
    return WEIR_OK;
}

static void unwatch(struct weir_watch *watch) {
    if (!watch) {
        return;
    }
    struct source *source = source_of(watch->resource);
    pthread_mutex_lock(&source->lock);
    source->is_watched = false;
    pthread_cond_broadcast(&source->changed);
    while (source->is_offering) {
        pthread_cond_wait(&source->changed, &source->lock);
    }
    pthread_mutex_unlock(&source->lock);
}

static void resume(struct weir_watch *watch) {
    struct source *source = source_of(watch->resource);
    pthread_mutex_lock(&source->lock);
    source->resumes++;
    pthread_cond_broadcast(&source->changed);
    pthread_mutex_unlock(&source->lock);
}

struct source *source_create(uint32_t capabilities, uint32_t keys) {
    struct source *source = allocate_or_give_up(sizeof *source);
    source->provider = (struct weir_provider){.kind = "bench",
                                              .capabilities = WEIR_CAN_WATCH | capabilities,
                                              .watch = watch,
                                              .unwatch = unwatch,
                                              .resume = resume};
    source->base = (struct weir_resource){.provider = &source->provider, .name = strdup("bench")};
    if (!source->base.name) {
        give_up("the source", "no memory");
    }
    source->sequence = 1;
    source->key_count = keys;
    source->keys = allocate_or_give_up(keys * sizeof *source->keys);
    for (uint32_t i = 0; i < keys; i++) {
        snprintf(source->keys[i], KEY_BYTES, "key-%u", i);
    }
    pthread_mutex_init(&source->lock, NULL);
    pthread_cond_init(&source->changed, NULL);
    return source;
}

void source_destroy(struct source *source) {
    if (!source) {
        return;
    }
    pthread_cond_destroy(&source->changed);
    pthread_mutex_destroy(&source->lock);
    free(source->keys);
    free(source->base.name);
    free(source);
}

struct weir_resource *source_resource(struct source *source) {
    return &source->base;
}

void source_go_on_from(struct source *source, uint64_t sequence) {
    source->sequence = sequence;
}

struct weir_event_fields source_next_fields(struct source *source, struct weir_str body) {
    static const char digits[] = "0123456789abcdef";
    uint64_t rest = source->sequence;
    for (int i = ID_BYTES - 1; i >= 0; i--) {
        source->id[i] = digits[rest & 15];
        rest >>= 4;
    }
    // Without a subject: the guest of the calls returns what has one.
    return (struct weir_event_fields){
        .specversion = WEIR_STR("1.0"),
        .ty = WEIR_STR("dev.weir.keyvalue.set"),
        .source = WEIR_STR("/bench"),
        .id = {source->id, ID_BYTES},
        .data = {.is_some = true, .value = {.kind = WEIR_PAYLOAD_TEXT, .bytes = body}},
        .datacontenttype = {.is_some = true, .value = WEIR_STR("application/json")},
    };
}

// Under lock: waits until resume was called once more than that often.
static void await_resume(struct source *source, uint64_t resumes) {
    struct timespec until =
        weir_clock_timespec(weir_clock_monotonic_ns() + RESUME_WAIT_MS * WEIR_NS_PER_MS);
    while (source->is_watched && source->resumes == resumes && !source->is_ebbing) {
        if (pthread_cond_clockwait(&source->changed, &source->lock, CLOCK_MONOTONIC, &until)) {
            give_up("the source", "it was paused and never resumed");
        }
    }
}

// Offers an event until it is taken.
static bool offer(struct source *source, struct weir_event *event) {
    weir_status status = WEIR_AGAIN;
    pthread_mutex_lock(&source->lock);
    while (source->is_watched && (status == WEIR_AGAIN || status == WEIR_NO_MEMORY)) {
        uint64_t resumes = source->resumes;
        source->is_offering = true;
        pthread_mutex_unlock(&source->lock);
        status = source->sink.offer(source->sink.context, event);
        if (status == WEIR_NO_MEMORY) {
            nanosleep(&(struct timespec){.tv_nsec = NO_MEMORY_WAIT_NS}, NULL);
        }
        pthread_mutex_lock(&source->lock);
        source->is_offering = false;
        if (status == WEIR_AGAIN) {
            await_resume(source, resumes);
        }
        if (source->is_ebbing) {
            break;
        }
    }
    bool is_watched = source->is_watched;
    if (!is_watched) {
        pthread_cond_broadcast(&source->changed); // unwatch waits
    }
    pthread_mutex_unlock(&source->lock);
    return is_watched && status == WEIR_OK;
}

bool source_offer(struct source *source, const char *key, struct weir_str body) {
    struct weir_event_fields fields = source_next_fields(source, body);
    uint64_t position = htobe64(source->sequence);
    uint32_t capabilities = source->provider.capabilities;
    bool has_position = (capabilities & (WEIR_CAN_REPLAY | WEIR_CAN_COMPARE)) != 0;
    struct weir_event_origin origin = {
        .key = weir_str_of(key ? key : source->keys[source->sequence % source->key_count]),
        .position = {(const char *)&position, has_position ? sizeof position : 0}};
    struct weir_event *event;
    struct weir_error err;
    if (weir_event_make(&fields, &origin, &event, &err) != WEIR_OK) {
        give_up("an event", err.message);
    }
    source->sequence++;
    bool is_taken = offer(source, event);
    weir_event_unref(event);
    return is_taken;
}

static void *flood(void *argument) {
    struct source *source = argument;
    while (!atomic_load_explicit(&source->is_ebbing, memory_order_relaxed) &&
           source_offer(source, NULL, source->body)) {
    }
    return NULL;
}

void source_flood(struct source *source, struct weir_str body) {
    source->body = body;
    source->is_ebbing = false;
    int code = pthread_create(&source->thread, NULL, flood, source);
    if (code != 0) {
        give_up("a thread", strerrordesc_np(code));
    }
}

void source_ebb(struct source *source) {
    pthread_mutex_lock(&source->lock);
    source->is_ebbing = true;
    pthread_cond_broadcast(&source->changed);
    pthread_mutex_unlock(&source->lock);
    pthread_join(source->thread, NULL);
    source->is_ebbing = false;
}
