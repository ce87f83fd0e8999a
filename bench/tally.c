// SPDX-License-Identifier: Apache-2.0
//
// See tally.h.
#include "tally.h"

#include "base/clock.h"
#include "receipt.h"
#include "support.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { WARM_UP_SHARE = 10, LINE_BYTES = 64 };

void stamp(char ret_value[static STAMPED_BYTES], uint64_t sequence) {
    char text[STAMPED_BYTES + 1];
    int size = snprintf(text, sizeof text, "@%" PRIu64 " %" PRId64 " ", sequence,
                        weir_clock_monotonic_ns());
    memcpy(ret_value, text, (size_t)size);
    memset(ret_value + size, 'x', STAMPED_BYTES - (size_t)size);
}

static int64_t cpu_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec * WEIR_NS_PER_S + now.tv_nsec;
}

void tally_init(struct tally *tally, uint64_t count, bool has_latencies) {
    *tally = (struct tally){.expected = count};
    if (has_latencies) {
        tally->receipts = receipts_create();
        receipts_expect(tally->receipts, 0, (size_t)count);
    }
}

void tally_finish(struct tally *tally) {
    if (tally->receipts) {
        receipts_destroy(tally->receipts);
    }
}

void tally_add(struct tally *tally, uint64_t count) {
    uint64_t warm = tally->expected / WARM_UP_SHARE;
    tally->taken += count;
    if (tally->begin_ns == 0 && tally->taken >= warm) {
        tally->begin_count = tally->taken;
        tally->begin_ns = weir_clock_monotonic_ns();
        tally->begin_cpu_ns = cpu_ns();
    }
}

void tally_take(struct tally *tally, const char *text, size_t size) {
    if (!tally->receipts) {
        tally_add(tally, 1);
        return;
    }
    const char *at = memchr(text, '@', size);
    if (!at) {
        give_up("what was read is not what was sent", "there is no stamp");
    }
    receipts_take(tally->receipts, at + 1, size - (size_t)(at + 1 - text));
    tally->taken++; // of one thread, or nobody asks
}

bool tally_is_full(const struct tally *tally) {
    return tally->taken >= tally->expected;
}

void tally_print(struct tally *tally) {
    if (tally->receipts) {
        if (!receipts_wait(tally->receipts, (size_t)tally->expected)) {
            give_up("latencies", "an event did not come");
        }
        const int64_t *sorted_ns = receipts_latencies_ns(tally->receipts);
        printf("p50 %" PRId64 " p99 %" PRId64 "\n", sorted_ns[tally->expected / 2],
               sorted_ns[tally->expected * 99 / 100]);
        return;
    }
    double count = (double)(tally->taken - tally->begin_count);
    int64_t took_ns = weir_clock_monotonic_ns() - tally->begin_ns,
            took_cpu_ns = cpu_ns() - tally->begin_cpu_ns;
    if (count < 1) {
        give_up("the rate", "all events were there before the measure had begun");
    }
    printf("rate %.1f cpu %.1f\n", count * (double)WEIR_NS_PER_S / (double)took_ns,
           (double)took_cpu_ns / count);
}

void say_ready(void) {
    puts("ready 1");
    fflush(stdout);
}

void await_go(void) {
    char line[LINE_BYTES];
    if (!fgets(line, sizeof line, stdin)) {
        give_up("nobody", "has said when to go");
    }
}
