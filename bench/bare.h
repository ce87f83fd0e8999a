// SPDX-License-Identifier: Apache-2.0
//
// The bare programs that weir's providers are measured against: for each kind of server one, which
// sends events to it and reads them, and does nothing beside that. Each is
//
// bare-KIND make PLACE MODE
//     Makes at the server what the others want there: a table, a stream.
// bare-KIND send PLACE MODE COUNT PER_SECOND
//     Sends events with the sequences from 0 on, each stamped when it is sent; PER_SECOND 0: as
//     fast as it goes. Prints "rate N", the events a second that were sent.
// bare-KIND rate PLACE MODE COUNT
//     Takes its place at the source and prints "ready 1"; when it reads a line, which is when all
//     is sent, reads and acknowledges as fast as it goes. Prints "rate N cpu NS".
// bare-KIND latency PLACE MODE COUNT
//     Takes its place at the source, prints "ready 1", reads and acknowledges what is sent then.
//     Prints "p50 NS p99 NS".
//
// PLACE is where the server is, MODE what there is read, both as the program of that kind says.
#ifndef WEIR_BENCH_BARE_H
#define WEIR_BENCH_BARE_H

#include "tally.h"

struct bare_place {
    const char *address, *mode;
    bool is_waiting; // of a reader: the events come one by one
};

struct bare_source {
    long at_once; // events that are sent before each `flush`, where they are not paced
    void (*make)(const struct bare_place *place); // NULL: nothing has to be made
    // Of who sends. What `send` was given is with the server, or on its way, when `flush` returns;
    // `is_last`: it has confirmed all of it.
    void *(*open_sender)(const struct bare_place *place);
    void (*send)(void *sender, uint64_t sequence, struct weir_str value);
    void (*flush)(void *sender, bool is_last);
    // Of who reads. `read` waits for events, hands some in, and sees to it that those of the last
    // time are acknowledged; `finish` that all are.
    void *(*open_reader)(const struct bare_place *place);
    void (*read)(void *reader, struct tally *tally);
    void (*finish)(void *reader);
};

// The main of such a program.
int bare_main(const struct bare_source *source, int argument_count, char **arguments);

#endif
