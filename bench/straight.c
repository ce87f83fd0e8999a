// SPDX-License-Identifier: Apache-2.0
//
// See straight.h. The values wait in a ring under one lock.
#include "straight.h"

#include "floor.h"
#include "inotify.h"
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct value {
    size_t size;
    char bytes[VALUE_BYTES];
};

struct straight {
    struct floor *floor;
    struct receipts *receipts;
    struct bare_reader *reader;
    pthread_t handling;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    // Everything below is under lock.
    size_t first, count; // of `waiting`
    bool is_ending;
    struct value waiting[EVENTS_MAX];
};

// On the reader's thread.
static void take(void *context, struct weir_str text) {
    struct straight *straight = context;
    pthread_mutex_lock(&straight->lock);
    if (straight->count == EVENTS_MAX) {
        give_up("straight", "too many values wait");
    }
    struct value *value = &straight->waiting[(straight->first + straight->count) % EVENTS_MAX];
    value->size = text.size;
    memcpy(value->bytes, text.data, text.size);
    straight->count++;
    pthread_mutex_unlock(&straight->lock);
    pthread_cond_signal(&straight->changed);
}

// False: the end has come.
static bool await(struct straight *straight, struct value *ret_value) {
    pthread_mutex_lock(&straight->lock);
    while (straight->count == 0 && !straight->is_ending) {
        pthread_cond_wait(&straight->changed, &straight->lock);
    }
    bool has_value = straight->count > 0;
    if (has_value) {
        *ret_value = straight->waiting[straight->first];
        straight->first = (straight->first + 1) % EVENTS_MAX;
        straight->count--;
    }
    pthread_mutex_unlock(&straight->lock);
    return has_value;
}

struct handled {
    struct receipts *receipts;
    const struct value *value;
};

static void hand_in(void *context) {
    const struct handled *handled = context;
    receipts_take(handled->receipts, handled->value->bytes, handled->value->size);
}

// As many fields as weir's events of files have. Without a subject: the guest then returns nothing.
static void handle(struct straight *straight, const struct value *value) {
    struct weir_attribute revision = {WEIR_STR("revision"),
                                      WEIR_STR("18b9e6d3f1a2b3c4-1a2b-11-9f")};
    struct weir_event_fields event = {
        .specversion = WEIR_STR("1.0"),
        .ty = WEIR_STR("dev.weir.keyvalue.set"),
        .source = WEIR_STR("/bench"),
        .id = WEIR_STR("l50@18b9e6d3f1a2b3c4-1a2b-11-9f"),
        .time = {true, WEIR_STR("2026-01-31T12:34:56.123456Z")},
        .datacontenttype = {true, WEIR_STR("text/plain")},
        .data = {true, {WEIR_PAYLOAD_TEXT, {value->bytes, value->size}}},
        .extensions = {.items = &revision, .count = 1},
    };
    struct handled handled = {straight->receipts, value};
    floor_call_told(straight->floor, &event, hand_in, &handled);
}

static void *run(void *argument) {
    struct straight *straight = argument;
    struct value value;
    while (await(straight, &value)) {
        handle(straight, &value);
    }
    return NULL;
}

struct straight *straight_create(const char *folder, struct weir_str wasm,
                                 struct receipts *receipts) {
    struct straight *straight = allocate_or_give_up(sizeof *straight);
    straight->floor = floor_create(wasm);
    straight->receipts = receipts;
    pthread_mutex_init(&straight->lock, NULL);
    pthread_cond_init(&straight->changed, NULL);
    errno = pthread_create(&straight->handling, NULL, run, straight);
    if (errno != 0) {
        give_up_errno("the straight handler's thread");
    }
    straight->reader = bare_reader_create(folder, take, straight);
    return straight;
}

void straight_destroy(struct straight *straight) {
    bare_reader_destroy(straight->reader);
    pthread_mutex_lock(&straight->lock);
    straight->is_ending = true;
    pthread_mutex_unlock(&straight->lock);
    pthread_cond_signal(&straight->changed);
    pthread_join(straight->handling, NULL);
    pthread_cond_destroy(&straight->changed);
    pthread_mutex_destroy(&straight->lock);
    floor_destroy(straight->floor);
    free(straight);
}
