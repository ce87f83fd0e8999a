// SPDX-License-Identifier: Apache-2.0
//
// What a sink keeps over a stop, in memory: the fingerprint of each key that was told or
// remembered. It stands in front of a test_sink.
#ifndef WEIR_TESTS_SUPPORT_NOTES_H
#define WEIR_TESTS_SUPPORT_NOTES_H

#include "support/sink.h"

enum { TEST_NOTES_KEYS_MAX = 4096 };

struct test_notes_key {
    char key[64];
    char fingerprint[WEIR_POSITION_BYTES_MAX];
    size_t key_size, fingerprint_size;
};

struct test_notes {
    pthread_mutex_t lock;
    struct test_sink *sink;      // where events go on to
    struct test_notes_key *keys; // sorted by the keys' bytes
    size_t count;
    size_t remembered;      // calls of remember
    bool is_overtaken;      // an event of a key came before it was remembered
    weir_status refusal;    // the answer of remember and of recall; WEIR_OK: they work
    void (*during)(void *); // called by remember first; NULL: nothing
    void *during_context;
};

void test_notes_init(struct test_notes *memory, struct test_sink *sink);
void test_notes_finish(struct test_notes *memory);
// A sink that remembers, and takes what `sink` takes.
struct weir_sink test_notes_of(struct test_notes *memory);
// How a watch goes on with what is remembered now.
struct weir_resume test_notes_resume(struct test_notes *memory);

// How many keys are known.
size_t test_notes_count(struct test_notes *memory);
// The fingerprint of a key; an empty view where nothing is known of it. It lives until the next
// event.
struct weir_str test_notes_find(struct test_notes *memory, const char *key);
// Puts something else in its place.
void test_notes_put(struct test_notes *memory, const char *key, struct weir_str fingerprint);

#endif
