// SPDX-License-Identifier: Apache-2.0
//
// provider kinds
//     Prints the kinds of providers that are in this build, a line each.
// provider rate|latency GUEST STATE INSTANCES COUNT KIND KEY OTHERS OTHER_COUNT [OPTION=VALUE]...
//     weir as a reader of what a bare program (bare.h) sends, in its place: it says the same, waits
//     for the same, and prints the same as that one does as a reader. INSTANCES is fresh or reuse.
//     A resource of KIND with these options is watched by a subscription to KEY, and by OTHER_COUNT
//     to "OTHERS0", "OTHERS1", ..., which nothing concerns. STATE is the folder of the state
//     database.
//
// weir is put together as `weir run` does it (host.h). For the rate the guest is that of call.c,
// which does nothing; events are counted where they are settled, and at the end what was settled is
// durable. They wait at the source meanwhile: until the line comes, no handler is called, and weir
// stops reading when its queue is full. For latencies it is that of file.c, which prints what came;
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
    ARGUMENTS_MIN = 11,
    OTHERS_MAX = 100 * 1000,
    LOOK_NS = 500 * 1000,
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

static void read_rate(struct host *host, struct tally *tally) {
    int64_t until_ns = weir_clock_monotonic_ns() + TALLY_WAIT_MS * WEIR_NS_PER_MS;
    say_ready();
    await_go();
    host_execute(host);
    while (!tally_is_full(tally)) {
        if (weir_clock_monotonic_ns() > until_ns) {
            give_up("the rate", "an event did not come");
        }
        nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
        struct weir_subscription_counts counts = host_counts(host);
        if (counts.failed > 0) {
            give_up("a handler", "it failed");
        }
        tally_add(tally, counts.handled - tally->taken);
    }
    host_flush(host);
    tally_print(tally);
}

static void read_latencies(struct host *host, struct tally *tally) {
    host_execute(host);
    say_ready();
    tally_print(tally);
}

int main(int argument_count, char **arguments) {
    if (argument_count == 2 && strcmp(arguments[1], "kinds") == 0) {
        print_kinds();
        return 0;
    }
    if (argument_count < ARGUMENTS_MIN - 1) {
        fprintf(stderr,
                "usage: provider kinds | rate|latency GUEST STATE fresh|reuse COUNT KIND KEY "
                "OTHERS OTHER_COUNT [OPTION=VALUE]...\n");
        return 2;
    }
    bool has_latencies = strcmp(arguments[1], "latency") == 0;
    struct tally tally;
    tally_init(
        &tally,
        (uint64_t)parse_argument(arguments[5], 1, has_latencies ? EVENTS_MAX : TALLY_COUNT_MAX),
        has_latencies);
    struct host_guest guest = {
        .path = arguments[2],
        .is_reused = strcmp(arguments[4], "reuse") == 0,
        .output = {.line = has_latencies ? take_line : ignore_line, .context = &tally}};
    struct host_flow flow = {.state = arguments[3],
                             .resource = open_resource(arguments[6], arguments + ARGUMENTS_MIN - 1),
                             .key = arguments[7],
                             .others = arguments[8],
                             .other_count = (uint32_t)parse_argument(arguments[9], 0, OTHERS_MAX)};
    struct host host;
    host_load(&host, &guest, 0);
    host_subscribe(&host, &flow);
    if (has_latencies) {
        read_latencies(&host, &tally);
    } else {
        read_rate(&host, &tally);
    }
    host_finish(&host);
    flow.resource->provider->close(flow.resource);
    tally_finish(&tally);
    return 0;
}
