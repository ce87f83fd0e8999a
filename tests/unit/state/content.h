// SPDX-License-Identifier: Apache-2.0
//
// Something to write into a state database, and all that can be read from one as a single run of
// bytes, so that two states are the same where these are. The test's thread only.
#ifndef WEIR_TESTS_UNIT_STATE_CONTENT_H
#define WEIR_TESTS_UNIT_STATE_CONTENT_H

#include "state/state.h"

// Events of every shape: optional attributes absent, empty and given, payloads of both kinds and
// none, extensions of all sorts, bytes that are not UTF-8, NUL. The caller's reference.
enum { SAMPLE_EVENT_COUNT = 96 };
struct weir_event *sample_event(size_t number);
void assert_same_event(const struct weir_event *a, const struct weir_event *b);

// A batch with something in every list, which depends on the round; rounds build on each other.
enum { SAMPLE_ROUND_ENTRIES = 12 };
struct sample_batch {
    struct weir_batch batch;
    struct weir_subscription_record subscriptions[2];
    struct weir_note notes[4];
    struct weir_entry entries[SAMPLE_ROUND_ENTRIES + 3];
    struct weir_outbox_entry outbox[3];
    struct weir_removal published, undead;
    struct weir_dead_letter dead[2];
    char texts[8][64];
    size_t event_count;
    struct weir_event *events[SAMPLE_ROUND_ENTRIES + 8];
};
void sample_batch_init(struct sample_batch *sample, uint64_t round);
void sample_batch_finish(struct sample_batch *sample);
// Commits the rounds from..to, both included; fails the test if one is refused.
void sample_commit(struct weir_state *state, uint64_t from, uint64_t to);

struct content {
    char *bytes;
    size_t size, capacity;
};
// All of it: subscriptions, and of each its journal and notes; outbox; dead letters.
weir_status content_read(struct weir_state *state, struct content *ret_content,
                         struct weir_error *err);
// As content_read, into one that is empty and may have room: nothing is allocated within it.
weir_status content_read_into(struct weir_state *state, struct content *content,
                              struct weir_error *err);
void content_reserve(struct content *content, size_t capacity);
// Opens the folder, reads it and closes it again; fails the test where that fails.
struct content content_of_folder(const char *dir);
void content_finish(struct content *content);
bool content_equal(const struct content *a, const struct content *b);

#endif
