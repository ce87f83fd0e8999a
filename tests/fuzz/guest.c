// SPDX-License-Identifier: Apache-2.0
//
// A hostile module: the input is compiled, and what compiles is run with small bounds. Nothing that
// a module says may do more than fail; what is told about it is one line.
#include "guest/guest.h"
#include "base/clock.h"
#include "guest/engine.h"
#include "require.h"

#include <stdio.h>
#include <stdlib.h>

enum { MODULE_BYTES_MAX = 64 * 1024, MEMORY_BYTES_MAX = 1024 * 1024, TIME_MS = 20 };

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct weir_engine *engine; // lives as long as the process

int LLVMFuzzerInitialize(int *count, char ***arguments) {
    (void)count, (void)arguments;
    const struct weir_engine_config config = {
        .stack_bytes = 256 * 1024, .memory_bytes_max = MEMORY_BYTES_MAX, .instances_max = 8};
    struct weir_error err;
    if (weir_engine_create(&config, &engine, &err) != WEIR_OK) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    return 0;
}

static bool take_line(void *context, const char *guest, struct weir_str line) {
    (void)context, (void)guest;
    REQUIRE(line.size <= WEIR_OUTPUT_LINE_BYTES);
    return true;
}

// A host that refuses everything that can be refused.
static weir_status refuse(struct weir_error *err) {
    return weir_fail(err, WEIR_DENIED, "this host gives nothing");
}

static weir_status host_open(void *session, struct weir_str name, struct weir_error *err) {
    (void)session;
    REQUIRE(weir_utf8_valid(name));
    return refuse(err);
}

static weir_status host_watch(void *session, struct weir_str rd, struct weir_str key,
                              struct weir_error *err) {
    (void)session;
    REQUIRE(weir_utf8_valid(rd) && weir_utf8_valid(key));
    return refuse(err);
}

static weir_status host_set_new(void *session, void **ret_set, struct weir_error *err) {
    (void)err;
    *ret_set = session;
    ++*(int *)session;
    return WEIR_OK;
}

static void host_set_ref(void *session, void *set) {
    REQUIRE(session == set);
    ++*(int *)set;
}

static void host_set_unref(void *session, void *set) {
    REQUIRE(session == set && *(int *)set > 0);
    --*(int *)set;
}

static weir_status host_set_listen(void *session, void *set, struct weir_str rd,
                                   struct weir_str key, uint32_t handler, struct weir_error *err) {
    (void)handler;
    REQUIRE(session == set);
    return host_watch(session, rd, key, err);
}

static weir_status host_set_exec(void *session, void *set, uint64_t duration_s,
                                 struct weir_error *err) {
    (void)duration_s;
    REQUIRE(session == set);
    return refuse(err);
}

static const struct weir_guest_host host = {
    .open = host_open,
    .watch = host_watch,
    .set_new = host_set_new,
    .set_ref = host_set_ref,
    .set_unref = host_set_unref,
    .set_listen = host_set_listen,
    .set_exec = host_set_exec,
};

static void call(struct weir_guest *guest) {
    const struct weir_event_fields event = {
        .specversion = WEIR_STR("1.0"),
        .ty = WEIR_STR("dev.weir.fuzz"),
        .source = WEIR_STR("/fuzz"),
        .id = WEIR_STR("1"),
        .data = {true, {WEIR_PAYLOAD_TEXT, WEIR_STR("some text")}},
    };
    for (uint32_t handler = 0; handler < weir_guest_handler_count(guest) && handler < 2;
         handler++) {
        struct weir_call running = {0};
        struct weir_verdict verdict;
        weir_guest_handle(guest, handler, &event, &running, &verdict);
        REQUIRE(verdict.outcome == WEIR_HANDLED || !verdict.derived);
        weir_event_unref(verdict.derived);
    }
    if (weir_guest_has_main(guest)) {
        struct weir_call running = {0};
        struct weir_error err;
        int references = 0;
        weir_guest_run(guest, &references, &running, &err);
        REQUIRE(references == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct weir_guest_args args = {
        .name = "fuzz",
        .time_ns = TIME_MS * WEIR_NS_PER_MS,
        .memory_bytes = MEMORY_BYTES_MAX,
        .event_bytes = 64 * 1024,
        .output_bytes = 4096,
        .module_bytes = MODULE_BYTES_MAX,
        .handles = 4,
        .output = {.line = take_line},
        .host = &host,
    };
    struct weir_guest *guest;
    struct weir_error err = {.message = ""};
    weir_status status = weir_guest_compile(
        engine, &args, (struct weir_str){(const char *)data, size}, &guest, &err);
    if (status == WEIR_OK) {
        call(guest);
    } else {
        REQUIRE(!guest && err.message[0] && !strchr(err.message, '\n'));
    }
    weir_guest_unref(guest);
    return 0;
}
