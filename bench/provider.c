// SPDX-License-Identifier: Apache-2.0
//
// provider kinds
//     Prints the kinds of providers that are in this build, a line each.
// provider rate|resume|latency GUEST STATE INSTANCES COUNT KIND KEY OTHERS OTHER_COUNT
// [OPTION=VALUE]...
//     weir as a reader of what a bare program (bare.h) sends, in its place: it says the same, waits
//     for the same, and prints the same as that one does as a reader. INSTANCES is fresh or reuse.
//     A resource of KIND with these options is watched by a subscription to KEY, and by OTHER_COUNT
//     to "OTHERS0", "OTHERS1", ..., which nothing concerns. STATE is the folder of the state
//     database.
//
// weir is put together as `weir run` does it (host.h). For the rate the guest is that of call.c,
// which does nothing; events are counted where they are settled, and at the end what was settled is
// durable. They wait at the source meanwhile: until the line comes no handler is called, and weir
// stops reading when its queue is full. "resume" is the same, but weir ends when it has taken its
// place, and goes on from there when the line comes: where the source sends by itself, a part would
// already be with weir. For latencies it is that of file.c, which prints what came;
// so they end in the middle of the handler.
#include "provider/provider.h"
#include "base/clock.h"
#include "host.h"
#include "receipt.h"
#include "support.h"
#include "tally.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    ARGUMENTS_MIN = 10,
    OTHERS_MAX = 100 * 1000,
    LOOK_NS = 2 * 1000 * 1000,
};

static void print_kinds(void) {
    for (size_t i = 0; weir_providers[i]; i++) {
        puts(weir_providers[i]->kind);
    }
}

// ---- the resource ----

static void set_option(const struct weir_provider *provider, void *options, const char *argument) {
    struct weir_error err;
    const char *equals = strchr(argument, '=');
    if (!equals) {
        give_up(argument, "not OPTION=VALUE");
    }
    struct weir_str name = {argument, (size_t)(equals - argument)};
    const struct weir_option *option = weir_option_find(&provider->options, name);
    if (!option) {
        give_up(argument, "there is no such option");
    }
    if (weir_option_set(option, options, weir_str_of(equals + 1), NULL, &err) != WEIR_OK) {
        give_up(argument, err.message);
    }
}

static struct weir_resource *open_resource(const char *kind, char **arguments) {
    const struct weir_provider *provider = weir_provider_find(weir_str_of(kind));
    struct weir_error err;
    if (!provider) {
        give_up(kind, "there is no such provider");
    }
    void *options = allocate_or_give_up(provider->options_bytes);
    host_defaults(&provider->options, options);
    for (; *arguments; arguments++) {
        set_option(provider, options, *arguments);
    }
    struct weir_resource_args args = {.name = "bench", .options = options};
    struct weir_resource *resource;
    if (provider->open(&args, &resource, &err) != WEIR_OK) {
        give_up(kind, err.message);
    }
    weir_options_finish(&provider->options, options);
    free(options);
    return resource;
}

// ---- reading ----

static bool take_line(void *context, const char *guest, struct weir_str line) {
    (void)guest;
    tally_take(context, line.data, line.size);
    return true;
}

static bool ignore_line(void *context, const char *guest, struct weir_str line) {
    (void)context, (void)guest, (void)line;
    return true;
}

// What one run is made of.
struct run {
    struct host host;
    struct host_guest guest;
    struct host_flow flow;
    const char *kind;
    char **options;
    struct tally tally;
};

static void begin(struct run *run) {
    run->flow.resource = open_resource(run->kind, run->options);
    host_subscribe(&run->host, &run->flow);
}

static void end(struct run *run) {
    host_unsubscribe(&run->host);
    run->flow.resource->provider->close(run->flow.resource);
}

static void count_all(struct run *run) {
    int64_t until_ns = weir_clock_monotonic_ns() + TALLY_WAIT_MS * WEIR_NS_PER_MS;
    while (!tally_is_full(&run->tally)) {
        if (weir_clock_monotonic_ns() > until_ns) {
            give_up("the rate", "an event did not come");
        }
        nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
        struct weir_subscription_counts counts = host_counts(&run->host);
        if (counts.failed > 0) {
            give_up("a handler", "it failed");
        }
        tally_add(&run->tally, counts.handled - run->tally.taken);
    }
    host_flush(&run->host);
}

static void read_rate(struct run *run, bool is_resumed) {
    begin(run);
    if (is_resumed) {
        end(run);
    }
    say_ready();
    await_go();
    if (is_resumed) {
        begin(run);
    }
    host_execute(&run->host);
    count_all(run);
    tally_print(&run->tally);
    end(run);
}

static void read_latencies(struct run *run) {
    begin(run);
    host_execute(&run->host);
    say_ready();
    tally_print(&run->tally);
    end(run);
}

int main(int argument_count, char **arguments) {
    if (argument_count == 2 && strcmp(arguments[1], "kinds") == 0) {
        print_kinds();
        return 0;
    }
    if (argument_count < ARGUMENTS_MIN) {
        fprintf(
            stderr,
            "usage: provider kinds | rate|resume|latency GUEST STATE fresh|reuse COUNT KIND KEY "
            "OTHERS OTHER_COUNT [OPTION=VALUE]...\n");
        return 2;
    }
    bool has_latencies = strcmp(arguments[1], "latency") == 0;
    long most = has_latencies ? EVENTS_MAX : TALLY_COUNT_MAX;
    struct run run = {
        .guest = {.path = arguments[2],
                  .is_reused = strcmp(arguments[4], "reuse") == 0,
                  .output = {.line = has_latencies ? take_line : ignore_line,
                             .context = &run.tally}},
        .flow = {.state = arguments[3],
                 .key = arguments[7],
                 .others = arguments[8],
                 .other_count = (uint32_t)parse_argument(arguments[9], 0, OTHERS_MAX)},
        .kind = arguments[6],
        .options = arguments + ARGUMENTS_MIN,
    };
    tally_init(&run.tally, (uint64_t)parse_argument(arguments[5], 1, most), has_latencies);
    host_load(&run.host, &run.guest, 0);
    if (has_latencies) {
        read_latencies(&run);
    } else {
        read_rate(&run, strcmp(arguments[1], "resume") == 0);
    }
    host_finish(&run.host);
    tally_finish(&run.tally);
    return 0;
}
