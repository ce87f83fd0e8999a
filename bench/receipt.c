// SPDX-License-Identifier: Apache-2.0
//
// See receipt.h.
#include "receipt.h"

#include "base/clock.h"
#include "support.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct receipts {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    // Everything below is under lock.
    uint64_t first;
    size_t expected, taken, wanted; // wanted: how many receipts_wait waits for
    int64_t first_written_ns, last_read_ns;
    int64_t latencies_ns[EVENTS_MAX]; // by write; 0: not read yet
};

size_t value_print(char ret_text[VALUE_BYTES], uint64_t sequence, int64_t written_ns) {
    int size = snprintf(ret_text, VALUE_BYTES, "%" PRIu64 " %" PRId64 "\n", sequence, written_ns);
    if (size < 0 || size >= VALUE_BYTES) {
        give_up("a value", "too long");
    }
    return (size_t)size;
}

// Reads a number of digits and moves *at behind it; ends the process where there is none.
static uint64_t parse_number(const char **at, const char *end) {
    uint64_t number = 0;
    const char *begin = *at;
    while (*at < end && **at >= '0' && **at <= '9') {
        number = number * 10 + (uint64_t)(**at - '0');
        *at += 1;
    }
    if (*at == begin) {
        give_up("what was read is not what was written",
                begin < end ? "no number" : "its end is missing");
    }
    return number;
}

struct receipts *receipts_create(void) {
    struct receipts *receipts = allocate_or_give_up(sizeof *receipts);
    pthread_mutex_init(&receipts->lock, NULL);
    pthread_cond_init(&receipts->changed, NULL);
    return receipts;
}

void receipts_destroy(struct receipts *receipts) {
    pthread_cond_destroy(&receipts->changed);
    pthread_mutex_destroy(&receipts->lock);
    free(receipts);
}

void receipts_expect(struct receipts *receipts, uint64_t first, size_t count) {
    pthread_mutex_lock(&receipts->lock);
    receipts->first = first;
    receipts->expected = count;
    receipts->taken = 0;
    receipts->wanted = 0;
    memset(receipts->latencies_ns, 0, count * sizeof receipts->latencies_ns[0]);
    pthread_mutex_unlock(&receipts->lock);
}

void receipts_take(struct receipts *receipts, const char *text, size_t size) {
    int64_t now_ns = weir_clock_monotonic_ns();
    const char *at = text, *end = text + size;
    uint64_t sequence = parse_number(&at, end);
    at += at < end; // the space
    int64_t written_ns = (int64_t)parse_number(&at, end);

    pthread_mutex_lock(&receipts->lock);
    uint64_t index = sequence - receipts->first; // wraps for what was written earlier
    if (index < receipts->expected && receipts->latencies_ns[index] == 0) {
        receipts->latencies_ns[index] = now_ns > written_ns ? now_ns - written_ns : 1;
        receipts->taken++;
        receipts->last_read_ns = now_ns;
        if (index == 0) {
            receipts->first_written_ns = written_ns;
        }
        if (receipts->taken == receipts->wanted) {
            pthread_cond_signal(&receipts->changed);
        }
    }
    pthread_mutex_unlock(&receipts->lock);
}

bool receipts_wait(struct receipts *receipts, size_t count) {
    struct timespec until =
        weir_clock_timespec(weir_clock_monotonic_ns() + RECEIPTS_WAIT_MS * WEIR_NS_PER_MS);
    int code = 0;
    pthread_mutex_lock(&receipts->lock);
    receipts->wanted = count;
    while (receipts->taken < count && code == 0) {
        code = pthread_cond_clockwait(&receipts->changed, &receipts->lock, CLOCK_MONOTONIC, &until);
    }
    bool is_complete = receipts->taken >= count;
    pthread_mutex_unlock(&receipts->lock);
    return is_complete;
}

static int compare(const void *a, const void *b) {
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return left < right ? -1 : left > right;
}

const int64_t *receipts_latencies_ns(struct receipts *receipts) {
    qsort(receipts->latencies_ns, receipts->expected, sizeof receipts->latencies_ns[0], compare);
    return receipts->latencies_ns;
}

int64_t receipts_span_ns(const struct receipts *receipts) {
    return receipts->last_read_ns - receipts->first_written_ns;
}
