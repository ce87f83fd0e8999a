// SPDX-License-Identifier: Apache-2.0
//
// See bare.h. One thread.
#include "bare.h"

#include "base/clock.h"
#include "receipt.h"
#include "support.h"

#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

enum {
    PER_SECOND_MAX = 10000000,
    ARGUMENTS_MIN = 4,
    SEND_ARGUMENTS = 6,
    READ_ARGUMENTS = 5,
};

// Waits for the moment of the next event of a paced sender, unless it is over.
static void await_turn(const struct bare_source *source, void *sender, int64_t due_ns) {
    if (due_ns > weir_clock_monotonic_ns()) {
        source->flush(sender, false);
        struct timespec until = weir_clock_timespec(due_ns);
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    }
}

static void send_all(const struct bare_source *source, const struct bare_place *place, long count,
                     long per_second) {
    char value[STAMPED_BYTES];
    prctl(PR_SET_TIMERSLACK, 1UL); // else each wait may be 50 us longer
    void *sender = source->open_sender(place);
    int64_t begin_ns = weir_clock_monotonic_ns();
    for (long i = 0; i < count; i++) {
        if (per_second > 0) {
            await_turn(source, sender, begin_ns + i * WEIR_NS_PER_S / per_second);
        } else if (i > 0 && i % source->at_once == 0) {
            source->flush(sender, false);
        }
        stamp(value, (uint64_t)i);
        source->send(sender, (uint64_t)i, (struct weir_str){value, sizeof value});
    }
    source->flush(sender, true);
    double took_ns = (double)(weir_clock_monotonic_ns() - begin_ns);
    printf("rate %.1f\n", (double)count * (double)WEIR_NS_PER_S / took_ns);
}

static void read_all(const struct bare_source *source, const struct bare_place *place, long count) {
    struct tally tally;
    tally_init(&tally, (uint64_t)count, place->is_waiting);
    void *reader = source->open_reader(place);
    say_ready();
    if (!place->is_waiting) {
        await_go();
    }
    while (!tally_is_full(&tally)) {
        source->read(reader, &tally);
    }
    source->finish(reader);
    tally_print(&tally);
    tally_finish(&tally);
}

int bare_main(const struct bare_source *source, int argument_count, char **arguments) {
    struct bare_place place = {0};
    const char *what = argument_count >= ARGUMENTS_MIN ? arguments[1] : "";
    if (argument_count >= ARGUMENTS_MIN) {
        place = (struct bare_place){.address = arguments[2], .mode = arguments[3]};
    }
    if (strcmp(what, "make") == 0 && argument_count == ARGUMENTS_MIN) {
        if (source->make) {
            source->make(&place);
        }
    } else if (strcmp(what, "send") == 0 && argument_count == SEND_ARGUMENTS) {
        send_all(source, &place, parse_argument(arguments[4], 1, TALLY_COUNT_MAX),
                 parse_argument(arguments[5], 0, PER_SECOND_MAX));
    } else if (strcmp(what, "rate") == 0 && argument_count == READ_ARGUMENTS) {
        read_all(source, &place, parse_argument(arguments[4], 1, TALLY_COUNT_MAX));
    } else if (strcmp(what, "latency") == 0 && argument_count == READ_ARGUMENTS) {
        place.is_waiting = true;
        read_all(source, &place, parse_argument(arguments[4], 1, EVENTS_MAX));
    } else {
        fprintf(stderr, "usage: make PLACE MODE | send PLACE MODE COUNT PER_SECOND | "
                        "rate PLACE MODE COUNT | latency PLACE MODE COUNT\n");
        return 2;
    }
    return 0;
}
