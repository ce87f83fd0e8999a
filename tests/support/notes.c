// SPDX-License-Identifier: Apache-2.0
//
// See notes.h. offer is called on the resource's thread, remember and recall on any, everything
// else on the test's.
#include "support/notes.h"

#include "unit/test.h"

#include <string.h>

void test_notes_init(struct test_notes *memory, struct test_sink *sink) {
    *memory = (struct test_notes){.sink = sink};
    pthread_mutex_init(&memory->lock, NULL);
    memory->keys = calloc(TEST_NOTES_KEYS_MAX, sizeof *memory->keys);
    assert_non_null(memory->keys);
}

void test_notes_finish(struct test_notes *memory) {
    pthread_mutex_destroy(&memory->lock);
    free(memory->keys);
}

static struct weir_str key_at(const struct test_notes *memory, size_t i) {
    return (struct weir_str){memory->keys[i].key, memory->keys[i].key_size};
}

static struct weir_str fingerprint_at(const struct test_notes *memory, size_t i) {
    return (struct weir_str){memory->keys[i].fingerprint, memory->keys[i].fingerprint_size};
}

static int compare(struct weir_str a, struct weir_str b) {
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

// The place of a key, or where it belongs.
static size_t place_of(const struct test_notes *memory, struct weir_str key, bool *ret_is_there) {
    size_t i = 0;
    while (i < memory->count && compare(key_at(memory, i), key) < 0) {
        i++;
    }
    *ret_is_there = i < memory->count && weir_str_equal(key_at(memory, i), key);
    return i;
}

// Called with the lock held. An empty fingerprint forgets the key.
static void put(struct test_notes *memory, struct weir_str key, struct weir_str fingerprint) {
    bool is_there;
    size_t i = place_of(memory, key, &is_there);
    struct test_notes_key *place = &memory->keys[i];
    if (fingerprint.size == 0) {
        if (is_there) {
            memory->count--;
            memmove(place, place + 1, (memory->count - i) * sizeof *place);
        }
        return;
    }
    if (!is_there) {
        REQUIRE(memory->count < TEST_NOTES_KEYS_MAX && key.size <= sizeof place->key);
        memmove(place + 1, place, (memory->count - i) * sizeof *place);
        memory->count++;
        memcpy(place->key, key.data, key.size);
        place->key_size = key.size;
    }
    memcpy(place->fingerprint, fingerprint.data, fingerprint.size);
    place->fingerprint_size = fingerprint.size;
}

static weir_status offer(void *context, struct weir_event *event) {
    struct test_notes *memory = context;
    struct weir_sink sink = test_sink_of(memory->sink);
    pthread_mutex_lock(&memory->lock);
    weir_status status = sink.offer(sink.context, event);
    if (status == WEIR_OK) {
        put(memory, event->key, event->position);
    }
    pthread_mutex_unlock(&memory->lock);
    return status;
}

static weir_status remember(void *context, struct weir_str key, struct weir_str fingerprint) {
    struct test_notes *memory = context;
    if (memory->during) {
        memory->during(memory->during_context);
    }
    bool is_there;
    pthread_mutex_lock(&memory->lock);
    place_of(memory, key, &is_there);
    memory->remembered++;
    memory->is_overtaken = memory->is_overtaken || is_there;
    weir_status status = memory->refusal;
    if (!status) {
        put(memory, key, fingerprint);
    }
    pthread_mutex_unlock(&memory->lock);
    return status;
}

struct weir_sink test_notes_of(struct test_notes *memory) {
    return (struct weir_sink){.offer = offer, .remember = remember, .context = memory};
}

static weir_status recall(void *context,
                          bool (*each)(void *each_context, struct weir_str key,
                                       struct weir_str fingerprint),
                          void *each_context, struct weir_error *err) {
    struct test_notes *memory = context;
    if (memory->refusal) {
        return weir_fail(err, memory->refusal, "the memory is told to refuse");
    }
    for (size_t i = 0; i < memory->count; i++) {
        if (!each(each_context, key_at(memory, i), fingerprint_at(memory, i))) {
            break;
        }
    }
    return WEIR_OK;
}

struct weir_resume test_notes_resume(struct test_notes *memory) {
    return (struct weir_resume){.recall = recall, .context = memory};
}

size_t test_notes_count(struct test_notes *memory) {
    pthread_mutex_lock(&memory->lock); // an event is told before it is noted
    size_t count = memory->count;
    pthread_mutex_unlock(&memory->lock);
    return count;
}

struct weir_str test_notes_find(struct test_notes *memory, const char *key) {
    bool is_there;
    pthread_mutex_lock(&memory->lock);
    size_t i = place_of(memory, weir_str_of(key), &is_there);
    struct weir_str fingerprint = is_there ? fingerprint_at(memory, i) : (struct weir_str){0};
    pthread_mutex_unlock(&memory->lock);
    return fingerprint;
}

void test_notes_put(struct test_notes *memory, const char *key, struct weir_str fingerprint) {
    pthread_mutex_lock(&memory->lock);
    put(memory, weir_str_of(key), fingerprint);
    pthread_mutex_unlock(&memory->lock);
}
