// SPDX-License-Identifier: Apache-2.0
//
// See rate.h. The slots are walked from the first one: messages are constant sentences, so there
// are few, and a line that is written costs a system call beside which the walk is nothing.
#include "observe/rate.h"

#include <string.h>

// What messages share that found no room.
static const char others[] = "(other messages)";

static bool is_over(const struct weir_rate_slot *slot, int64_t now_ns) {
    return now_ns >= slot->until_ns;
}

// A slot for a message that has none: a new one, or that of a message of which nothing is counted.
static struct weir_rate_slot *obtain(struct weir_rate *rate, const char *message, int64_t now_ns) {
    struct weir_rate_slot *slot = NULL;
    if (rate->count < WEIR_RATE_MESSAGES_MAX) {
        slot = &rate->slots[rate->count++];
    }
    for (size_t i = 0; !slot && i < WEIR_RATE_MESSAGES_MAX; i++) {
        bool is_free = rate->slots[i].rest.left_out == 0 && is_over(&rate->slots[i], now_ns);
        slot = is_free ? &rate->slots[i] : NULL;
    }
    if (!slot) {
        slot = &rate->slots[WEIR_RATE_MESSAGES_MAX];
        slot->rest.message = others;
        return slot;
    }
    *slot = (struct weir_rate_slot){.rest = {.message = message}, .until_ns = INT64_MIN};
    return slot;
}

static struct weir_rate_slot *find(struct weir_rate *rate, const char *message, int64_t now_ns) {
    for (size_t i = 0; i < rate->count; i++) {
        const char *its = rate->slots[i].rest.message;
        if (its == message || strcmp(its, message) == 0) {
            return &rate->slots[i];
        }
    }
    return obtain(rate, message, now_ns);
}

static void count(struct weir_rate_slot *slot, enum weir_log_level level, uint64_t left_out) {
    bool is_graver = slot->rest.left_out == 0 || level > slot->rest.level;
    slot->rest.level = is_graver ? level : slot->rest.level;
    slot->rest.left_out += left_out;
}

static void begin_if_over(const struct weir_rate *rate, struct weir_rate_slot *slot,
                          int64_t now_ns) {
    if (is_over(slot, now_ns)) {
        slot->until_ns = now_ns + rate->window_ns;
        slot->lines = 0;
    }
}

bool weir_rate_take(struct weir_rate *rate, enum weir_log_level level, const char *message,
                    int64_t now_ns, uint64_t *ret_left_out, bool *ret_is_first) {
    *ret_left_out = 0;
    *ret_is_first = false;
    if (rate->lines_max == 0) {
        return true;
    }
    struct weir_rate_slot *slot = find(rate, message, now_ns);
    begin_if_over(rate, slot, now_ns);
    if (slot->lines >= rate->lines_max) {
        *ret_is_first = slot->rest.left_out == 0;
        count(slot, level, 1);
        return false;
    }
    slot->lines++;
    if (slot->rest.message != others) { // whose lines are not of one message
        *ret_left_out = slot->rest.left_out;
        slot->rest.left_out = 0;
    }
    return true;
}

void weir_rate_put_back(struct weir_rate *rate, const struct weir_rate_rest *rest, int64_t now_ns) {
    struct weir_rate_slot *slot = find(rate, rest->message, now_ns);
    begin_if_over(rate, slot, now_ns);
    count(slot, rest->level, rest->left_out);
}

bool weir_rate_collect(struct weir_rate *rate, int64_t now_ns, struct weir_rate_rest *ret_rest) {
    for (size_t i = 0; i <= WEIR_RATE_MESSAGES_MAX; i++) {
        struct weir_rate_slot *slot = &rate->slots[i];
        if (slot->rest.left_out > 0 && is_over(slot, now_ns)) {
            *ret_rest = slot->rest;
            slot->rest.left_out = 0;
            return true;
        }
    }
    return false;
}

int64_t weir_rate_due_ns(const struct weir_rate *rate) {
    int64_t due_ns = INT64_MAX;
    for (size_t i = 0; i <= WEIR_RATE_MESSAGES_MAX; i++) {
        const struct weir_rate_slot *slot = &rate->slots[i];
        if (slot->rest.left_out > 0 && slot->until_ns < due_ns) {
            due_ns = slot->until_ns;
        }
    }
    return due_ns;
}
