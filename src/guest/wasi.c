// SPDX-License-Identifier: Apache-2.0
//
// WASI 0.2 for components: clocks, random numbers, output, an empty input, no arguments, no
// environment, no files. It stands in place of the engine's for the reasons that poll.c and write.c
// have: the engine sleeps as long as a guest asks, out of the reach of epochs, and prints on
// threads of its own. Here a sleep ends with its call's time, and output is taken on the thread
// that prints.
//
// The engine does not check what type a component gives to a function that it imports; so each row
// says what it takes, and that is checked at each call.
//
// Source of names and types: WASI 0.2.6, the packages wasi:cli, wasi:io, wasi:clocks, wasi:random
// and wasi:filesystem; functions that versions from 0.2.0 on have in common.
#include "guest/instance.h"

#include "base/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

enum {
    RANDOM_BYTES_MAX = 64 * 1024, // of one call
    WRITE_BYTES_MAX = 64 * 1024,  // that check-write allows
    POLLABLES_MAX = 1024,         // of one poll
    PARAMS_MAX = 2,
};

// What stands for stdin, stdout and stderr; a guest has no other streams.
enum { STREAM_IN = 0, STREAM_OUT = 1, STREAM_ERR = 2 };

typedef wasmtime_component_val_t value;

// What a function's parameters are; the first letters of a row's text.
enum {
    TAKES_U64 = 'u',
    TAKES_U8 = 'b',
    TAKES_BYTES = 'l',
    TAKES_RESULT = 'r',
    TAKES_POLLABLE = 'p',
    TAKES_POLLABLES = 'P',
    TAKES_INPUT = 'i',
    TAKES_OUTPUT = 'o',
    TAKES_IO_ERROR = 'e',
};

// A parameter, checked.
struct param {
    uint64_t number; // u64, u8; a handle; of a result 1 where it is ok
    const wasmtime_component_vallist_t *list;
};

struct row {
    const char *interface; // without a version
    const char *name;
    const char *params;
    // Fills *ret where the function returns something. An error traps the guest.
    wasmtime_error_t *(*function)(struct weir_instance *instance, const struct param *params,
                                  value *ret);
};

// ---- values

static value of_u64(uint64_t number) {
    return (value){.kind = WASMTIME_COMPONENT_U64, .of.u64 = number};
}

static value of_bool(bool is_true) {
    return (value){.kind = WASMTIME_COMPONENT_BOOL, .of.boolean = is_true};
}

static value of_ok(value *carried) {
    value result = {.kind = WASMTIME_COMPONENT_RESULT};
    result.of.result.is_ok = true;
    result.of.result.val = carried ? wasmtime_component_val_new(carried) : NULL;
    return result;
}

// err(closed), of stream-error
static value of_closed(void) {
    value error = {.kind = WASMTIME_COMPONENT_VARIANT};
    wasm_byte_vec_new(&error.of.variant.discriminant, strlen("closed"), "closed");
    value result = {.kind = WASMTIME_COMPONENT_RESULT};
    result.of.result.val = wasmtime_component_val_new(&error);
    return result;
}

static value of_none(void) {
    return (value){.kind = WASMTIME_COMPONENT_OPTION};
}

static value of_list(size_t size) {
    value list = {.kind = WASMTIME_COMPONENT_LIST};
    wasmtime_component_vallist_new_uninit(&list.of.list, size);
    return list;
}

static wasmtime_error_t *give_resource(struct weir_instance *instance, uint32_t rep, uint32_t kind,
                                       value *ret) {
    wasmtime_component_resource_host_t *resource =
        wasmtime_component_resource_host_new(true, rep, kind);
    wasmtime_error_t *error =
        wasmtime_component_resource_host_to_any(instance->context, resource, &ret->of.resource);
    wasmtime_component_resource_host_delete(resource);
    if (!error) {
        ret->kind = WASMTIME_COMPONENT_RESOURCE;
    }
    return error;
}

// ---- wasi:io/poll and wasi:clocks

// A pollable is when it is ready; a stream's always is. The table of handles has pointers.
static void *pack_time(int64_t due_ns) {
    return (void *)(uintptr_t)due_ns;
}

static int64_t unpack_time(void *packed) {
    return (int64_t)(uintptr_t)packed;
}

static wasmtime_error_t *give_pollable(struct weir_instance *instance, int64_t due_ns, value *ret) {
    struct weir_error err;
    uint32_t handle;
    weir_status status = weir_handles_add(&instance->pollables, WEIR_RESOURCE_POLLABLE,
                                          pack_time(due_ns), &handle, &err);
    return status == WEIR_OK ? give_resource(instance, handle, WEIR_RESOURCE_POLLABLE, ret)
                             : wasmtime_error_new(err.message);
}

static bool find_pollable(struct weir_instance *instance, uint64_t handle, int64_t *ret_due_ns) {
    void *packed = NULL;
    weir_status status = weir_handles_get(&instance->pollables, WEIR_RESOURCE_POLLABLE,
                                          (uint32_t)handle, &packed, NULL);
    *ret_due_ns = unpack_time(packed);
    return status == WEIR_OK;
}

static wasmtime_error_t *sleep_until(struct weir_instance *instance, int64_t due_ns) {
    return weir_instance_sleep_until(instance, due_ns) ? NULL : wasmtime_error_new("cut by weir");
}

static wasmtime_error_t *refuse_handle(void) {
    return wasmtime_error_new("a handle that was never given, or has been dropped");
}

static wasmtime_error_t *pollable_ready(struct weir_instance *instance, const struct param *params,
                                        value *ret) {
    int64_t due_ns;
    if (!find_pollable(instance, params[0].number, &due_ns)) {
        return refuse_handle();
    }
    *ret = of_bool(due_ns <= weir_clock_monotonic_ns());
    return NULL;
}

static wasmtime_error_t *pollable_block(struct weir_instance *instance, const struct param *params,
                                        value *ret) {
    (void)ret;
    int64_t due_ns;
    return find_pollable(instance, params[0].number, &due_ns) ? sleep_until(instance, due_ns)
                                                              : refuse_handle();
}

// Takes a borrowed handle over, as the engine wants it before a function returns.
static bool take_handle(struct weir_instance *instance, const value *from, uint32_t kind,
                        uint32_t *ret_rep) {
    wasmtime_component_resource_host_t *resource;
    if (from->kind != WASMTIME_COMPONENT_RESOURCE) {
        return false;
    }
    wasmtime_error_t *error =
        wasmtime_component_resource_any_to_host(instance->context, from->of.resource, &resource);
    if (error) {
        wasmtime_error_delete(error);
        return false;
    }
    bool is_of_kind = wasmtime_component_resource_host_type(resource) == kind;
    *ret_rep = wasmtime_component_resource_host_rep(resource);
    wasmtime_component_resource_host_delete(resource);
    return is_of_kind;
}

static wasmtime_error_t *poll_all(struct weir_instance *instance, const struct param *params,
                                  value *ret) {
    const wasmtime_component_vallist_t *list = params[0].list;
    if (list->size == 0 || list->size > POLLABLES_MAX) {
        return wasmtime_error_new("poll takes 1 to 1024 pollables");
    }
    int64_t dues_ns[POLLABLES_MAX], first_ns = INT64_MAX;
    for (size_t i = 0; i < list->size; i++) {
        uint32_t rep;
        if (!take_handle(instance, &list->data[i], WEIR_RESOURCE_POLLABLE, &rep) ||
            !find_pollable(instance, rep, &dues_ns[i])) {
            return refuse_handle();
        }
        first_ns = dues_ns[i] < first_ns ? dues_ns[i] : first_ns;
    }
    wasmtime_error_t *error = sleep_until(instance, first_ns);
    if (error) {
        return error;
    }
    int64_t now_ns = weir_clock_monotonic_ns();
    size_t count = 0;
    for (size_t i = 0; i < list->size; i++) {
        count += dues_ns[i] <= now_ns;
    }
    *ret = of_list(count);
    size_t used = 0;
    for (size_t i = 0; i < list->size; i++) {
        if (dues_ns[i] <= now_ns) {
            ret->of.list.data[used++] =
                (value){.kind = WASMTIME_COMPONENT_U32, .of.u32 = (uint32_t)i};
        }
    }
    return NULL;
}

static wasmtime_error_t *monotonic_now(struct weir_instance *instance, const struct param *params,
                                       value *ret) {
    (void)instance;
    (void)params;
    *ret = of_u64((uint64_t)weir_clock_monotonic_ns());
    return NULL;
}

static wasmtime_error_t *monotonic_resolution(struct weir_instance *instance,
                                              const struct param *params, value *ret) {
    (void)instance;
    (void)params;
    *ret = of_u64(1);
    return NULL;
}

static wasmtime_error_t *subscribe_instant(struct weir_instance *instance,
                                           const struct param *params, value *ret) {
    uint64_t due_ns = params[0].number;
    return give_pollable(instance, due_ns < INT64_MAX ? (int64_t)due_ns : INT64_MAX, ret);
}

static wasmtime_error_t *subscribe_duration(struct weir_instance *instance,
                                            const struct param *params, value *ret) {
    int64_t due_ns;
    bool is_never =
        params[0].number > INT64_MAX ||
        __builtin_add_overflow(weir_clock_monotonic_ns(), (int64_t)params[0].number, &due_ns);
    return give_pollable(instance, is_never ? INT64_MAX : due_ns, ret);
}

// record datetime { seconds: u64, nanoseconds: u32 }
static value of_datetime(int64_t ns) {
    value record = {.kind = WASMTIME_COMPONENT_RECORD};
    wasmtime_component_valrecord_new_uninit(&record.of.record, 2);
    wasmtime_component_valrecord_entry_t *fields = record.of.record.data;
    wasm_byte_vec_new(&fields[0].name, strlen("seconds"), "seconds");
    fields[0].val = of_u64((uint64_t)(ns / WEIR_NS_PER_S));
    wasm_byte_vec_new(&fields[1].name, strlen("nanoseconds"), "nanoseconds");
    fields[1].val =
        (value){.kind = WASMTIME_COMPONENT_U32, .of.u32 = (uint32_t)(ns % WEIR_NS_PER_S)};
    return record;
}

static wasmtime_error_t *wall_now(struct weir_instance *instance, const struct param *params,
                                  value *ret) {
    (void)instance;
    (void)params;
    *ret = of_datetime(weir_clock_wall_ns());
    return NULL;
}

static wasmtime_error_t *wall_resolution(struct weir_instance *instance, const struct param *params,
                                         value *ret) {
    (void)instance;
    (void)params;
    *ret = of_datetime(1);
    return NULL;
}

// ---- wasi:random

static wasmtime_error_t *fill_random(void *bytes, size_t size) {
    size_t done = 0;
    while (done < size) {
        ssize_t count = getrandom((char *)bytes + done, size - done, 0);
        if (count < 0 && errno != EINTR) {
            return wasmtime_error_new("the system has no random numbers");
        }
        done += count > 0 ? (size_t)count : 0;
    }
    return NULL;
}

static wasmtime_error_t *random_bytes(struct weir_instance *instance, const struct param *params,
                                      value *ret) {
    (void)instance;
    unsigned char bytes[RANDOM_BYTES_MAX];
    if (params[0].number > sizeof bytes) {
        return wasmtime_error_new("more than 65536 random bytes in one call");
    }
    size_t size = (size_t)params[0].number;
    wasmtime_error_t *error = fill_random(bytes, size);
    if (error) {
        return error;
    }
    *ret = of_list(size);
    for (size_t i = 0; i < size; i++) {
        ret->of.list.data[i] = (value){.kind = WASMTIME_COMPONENT_U8, .of.u8 = bytes[i]};
    }
    return NULL;
}

static wasmtime_error_t *random_u64(struct weir_instance *instance, const struct param *params,
                                    value *ret) {
    (void)instance;
    (void)params;
    uint64_t number = 0;
    wasmtime_error_t *error = fill_random(&number, sizeof number);
    *ret = of_u64(number);
    return error;
}

static wasmtime_error_t *random_seed(struct weir_instance *instance, const struct param *params,
                                     value *ret) {
    (void)instance;
    (void)params;
    uint64_t numbers[2] = {0};
    wasmtime_error_t *error = fill_random(numbers, sizeof numbers);
    ret->kind = WASMTIME_COMPONENT_TUPLE;
    wasmtime_component_valtuple_new_uninit(&ret->of.tuple, 2);
    ret->of.tuple.data[0] = of_u64(numbers[0]);
    ret->of.tuple.data[1] = of_u64(numbers[1]);
    return error;
}

// ---- wasi:io/streams and wasi:io/error

static wasmtime_error_t *input_closed(struct weir_instance *instance, const struct param *params,
                                      value *ret) {
    (void)instance;
    (void)params;
    *ret = of_closed();
    return NULL;
}

static wasmtime_error_t *stream_subscribe(struct weir_instance *instance,
                                          const struct param *params, value *ret) {
    (void)params;
    return give_pollable(instance, 0, ret);
}

static wasmtime_error_t *check_write(struct weir_instance *instance, const struct param *params,
                                     value *ret) {
    (void)instance;
    (void)params;
    value room = of_u64(WRITE_BYTES_MAX);
    *ret = of_ok(&room);
    return NULL;
}

static wasmtime_error_t *print(struct weir_instance *instance, const void *bytes, size_t size) {
    if (weir_print_write(&instance->output, bytes, size)) {
        return NULL;
    }
    weir_instance_is_over(instance); // notes why
    return wasmtime_error_new("cut by weir");
}

static wasmtime_error_t *output_write(struct weir_instance *instance, const struct param *params,
                                      value *ret) {
    const wasmtime_component_vallist_t *list = params[1].list;
    unsigned char bytes[1024];
    for (size_t done = 0; done < list->size;) {
        size_t left = list->size - done, take = left < sizeof bytes ? left : sizeof bytes;
        for (size_t i = 0; i < take; i++) {
            if (list->data[done + i].kind != WASMTIME_COMPONENT_U8) {
                return wasmtime_error_new("a list of other things than bytes");
            }
            bytes[i] = list->data[done + i].of.u8;
        }
        wasmtime_error_t *error = print(instance, bytes, take);
        if (error) {
            return error;
        }
        done += take;
    }
    *ret = of_ok(NULL);
    return NULL;
}

static wasmtime_error_t *output_flush(struct weir_instance *instance, const struct param *params,
                                      value *ret) {
    (void)instance;
    (void)params;
    *ret = of_ok(NULL);
    return NULL;
}

static wasmtime_error_t *error_text(struct weir_instance *instance, const struct param *params,
                                    value *ret) {
    (void)instance;
    (void)params;
    ret->kind = WASMTIME_COMPONENT_STRING;
    wasm_byte_vec_new(&ret->of.string, strlen("an error"), "an error");
    return NULL;
}

// ---- wasi:cli and wasi:filesystem

static wasmtime_error_t *empty_list(struct weir_instance *instance, const struct param *params,
                                    value *ret) {
    (void)instance;
    (void)params;
    *ret = of_list(0);
    return NULL;
}

static void name_value(value *text, struct weir_str from) {
    text->kind = WASMTIME_COMPONENT_STRING;
    wasm_byte_vec_new(&text->of.string, from.size, from.data ? from.data : "");
}

static wasmtime_error_t *get_environment(struct weir_instance *instance, const struct param *params,
                                         value *ret) {
    const struct weir_guest_args *args = &instance->guest->args;
    struct weir_attributes all = args->access ? args->access->environment(args->access_context)
                                              : (struct weir_attributes){0};
    (void)params;
    *ret = of_list(all.count);
    for (size_t i = 0; i < all.count; i++) {
        value *pair = &ret->of.list.data[i];
        pair->kind = WASMTIME_COMPONENT_TUPLE;
        wasmtime_component_valtuple_new_uninit(&pair->of.tuple, 2);
        name_value(&pair->of.tuple.data[0], all.items[i].name);
        name_value(&pair->of.tuple.data[1], all.items[i].value);
    }
    return NULL;
}

static wasmtime_error_t *none(struct weir_instance *instance, const struct param *params,
                              value *ret) {
    (void)instance;
    (void)params;
    *ret = of_none();
    return NULL;
}

static wasmtime_error_t *leave(struct weir_instance *instance, int code) {
    char message[64];
    instance->has_exited = true;
    instance->exit_code = code;
    snprintf(message, sizeof message, "it exited with code %d", code);
    return wasmtime_error_new(message);
}

static wasmtime_error_t *exit_with_result(struct weir_instance *instance,
                                          const struct param *params, value *ret) {
    (void)ret;
    return leave(instance, params[0].number == 1 ? 0 : 1);
}

static wasmtime_error_t *exit_with_code(struct weir_instance *instance, const struct param *params,
                                        value *ret) {
    (void)ret;
    return leave(instance, (int)params[0].number);
}

static wasmtime_error_t *get_stdin(struct weir_instance *instance, const struct param *params,
                                   value *ret) {
    (void)params;
    return give_resource(instance, STREAM_IN, WEIR_RESOURCE_INPUT, ret);
}

static wasmtime_error_t *get_stdout(struct weir_instance *instance, const struct param *params,
                                    value *ret) {
    (void)params;
    return give_resource(instance, STREAM_OUT, WEIR_RESOURCE_OUTPUT, ret);
}

static wasmtime_error_t *get_stderr(struct weir_instance *instance, const struct param *params,
                                    value *ret) {
    (void)params;
    return give_resource(instance, STREAM_ERR, WEIR_RESOURCE_OUTPUT, ret);
}

static const struct row rows[] = {
    {"wasi:cli/environment", "get-environment", "", get_environment},
    {"wasi:cli/environment", "get-arguments", "", empty_list},
    {"wasi:cli/environment", "initial-cwd", "", none},
    {"wasi:cli/exit", "exit", "r", exit_with_result},
    {"wasi:cli/exit", "exit-with-code", "b", exit_with_code},
    {"wasi:cli/stdin", "get-stdin", "", get_stdin},
    {"wasi:cli/stdout", "get-stdout", "", get_stdout},
    {"wasi:cli/stderr", "get-stderr", "", get_stderr},
    {"wasi:cli/terminal-stdin", "get-terminal-stdin", "", none},
    {"wasi:cli/terminal-stdout", "get-terminal-stdout", "", none},
    {"wasi:cli/terminal-stderr", "get-terminal-stderr", "", none},
    {"wasi:clocks/monotonic-clock", "now", "", monotonic_now},
    {"wasi:clocks/monotonic-clock", "resolution", "", monotonic_resolution},
    {"wasi:clocks/monotonic-clock", "subscribe-instant", "u", subscribe_instant},
    {"wasi:clocks/monotonic-clock", "subscribe-duration", "u", subscribe_duration},
    {"wasi:clocks/wall-clock", "now", "", wall_now},
    {"wasi:clocks/wall-clock", "resolution", "", wall_resolution},
    {"wasi:filesystem/preopens", "get-directories", "", empty_list},
    {"wasi:io/error", "[method]error.to-debug-string", "e", error_text},
    {"wasi:io/poll", "[method]pollable.ready", "p", pollable_ready},
    {"wasi:io/poll", "[method]pollable.block", "p", pollable_block},
    {"wasi:io/poll", "poll", "P", poll_all},
    {"wasi:io/streams", "[method]input-stream.read", "iu", input_closed},
    {"wasi:io/streams", "[method]input-stream.blocking-read", "iu", input_closed},
    {"wasi:io/streams", "[method]input-stream.skip", "iu", input_closed},
    {"wasi:io/streams", "[method]input-stream.blocking-skip", "iu", input_closed},
    {"wasi:io/streams", "[method]input-stream.subscribe", "i", stream_subscribe},
    {"wasi:io/streams", "[method]output-stream.check-write", "o", check_write},
    {"wasi:io/streams", "[method]output-stream.write", "ol", output_write},
    {"wasi:io/streams", "[method]output-stream.blocking-write-and-flush", "ol", output_write},
    {"wasi:io/streams", "[method]output-stream.flush", "o", output_flush},
    {"wasi:io/streams", "[method]output-stream.blocking-flush", "o", output_flush},
    {"wasi:io/streams", "[method]output-stream.subscribe", "o", stream_subscribe},
    {"wasi:random/random", "get-random-bytes", "u", random_bytes},
    {"wasi:random/random", "get-random-u64", "", random_u64},
    {"wasi:random/insecure", "get-insecure-random-bytes", "u", random_bytes},
    {"wasi:random/insecure", "get-insecure-random-u64", "", random_u64},
    {"wasi:random/insecure-seed", "insecure-seed", "", random_seed},
};

static const struct {
    const char *interface, *name;
    uint32_t kind;
} resources[] = {
    {"wasi:io/error", "error", WEIR_RESOURCE_IO_ERROR},
    {"wasi:io/poll", "pollable", WEIR_RESOURCE_POLLABLE},
    {"wasi:io/streams", "input-stream", WEIR_RESOURCE_INPUT},
    {"wasi:io/streams", "output-stream", WEIR_RESOURCE_OUTPUT},
    {"wasi:cli/terminal-input", "terminal-input", WEIR_RESOURCE_TERMINAL_INPUT},
    {"wasi:cli/terminal-output", "terminal-output", WEIR_RESOURCE_TERMINAL_OUTPUT},
};

// Packages of WASI 0.2 whose other interfaces are there by name only.
static const char *const packages[] = {
    "wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:http/",
    "wasi:io/",  "wasi:random/", "wasi:sockets/",
};

// ---- calls

static bool read_handle(struct weir_instance *instance, const value *from, uint32_t kind,
                        struct param *ret) {
    uint32_t rep;
    bool is_taken = take_handle(instance, from, kind, &rep);
    ret->number = is_taken ? rep : 0;
    return is_taken;
}

static bool read_param(struct weir_instance *instance, char kind, const value *from,
                       struct param *ret) {
    switch (kind) {
    case TAKES_U64:
        ret->number = from->of.u64;
        return from->kind == WASMTIME_COMPONENT_U64;
    case TAKES_U8:
        ret->number = from->of.u8;
        return from->kind == WASMTIME_COMPONENT_U8;
    case TAKES_RESULT:
        ret->number = from->kind == WASMTIME_COMPONENT_RESULT && from->of.result.is_ok;
        return from->kind == WASMTIME_COMPONENT_RESULT;
    case TAKES_BYTES:
    case TAKES_POLLABLES:
        ret->list = &from->of.list;
        return from->kind == WASMTIME_COMPONENT_LIST;
    case TAKES_POLLABLE:
        return read_handle(instance, from, WEIR_RESOURCE_POLLABLE, ret);
    case TAKES_INPUT:
        return read_handle(instance, from, WEIR_RESOURCE_INPUT, ret);
    case TAKES_OUTPUT:
        return read_handle(instance, from, WEIR_RESOURCE_OUTPUT, ret);
    case TAKES_IO_ERROR:
        return read_handle(instance, from, WEIR_RESOURCE_IO_ERROR, ret);
    default:
        return false;
    }
}

static wasmtime_error_t *enter(void *env, wasmtime_context_t *context,
                               const wasmtime_component_func_type_t *type, value *args,
                               size_t arg_count, value *results, size_t result_count) {
    (void)type;
    const struct row *row = env;
    struct weir_instance *instance = wasmtime_context_get_data(context);
    struct param params[PARAMS_MAX] = {0};
    value nowhere = {.kind = WASMTIME_COMPONENT_BOOL};
    bool is_right = arg_count == strlen(row->params) && result_count <= 1;
    for (size_t i = 0; is_right && i < arg_count; i++) {
        is_right = read_param(instance, row->params[i], &args[i], &params[i]);
    }
    if (!is_right) {
        char message[160];
        snprintf(message, sizeof message, "%s#%s is imported with another type than WASI's",
                 row->interface, row->name);
        return wasmtime_error_new(message);
    }
    wasmtime_error_t *error =
        row->function(instance, params, result_count == 1 ? &results[0] : &nowhere);
    wasmtime_component_val_delete(&nowhere);
    return error;
}

static wasmtime_error_t *drop(void *env, wasmtime_context_t *context, uint32_t rep) {
    (void)env;
    (void)context;
    (void)rep;
    return NULL;
}

static wasmtime_error_t *drop_pollable(void *env, wasmtime_context_t *context, uint32_t rep) {
    (void)env;
    struct weir_instance *instance = wasmtime_context_get_data(context);
    void *packed;
    return weir_handles_remove(&instance->pollables, WEIR_RESOURCE_POLLABLE, rep, &packed, NULL) ==
                   WEIR_OK
               ? NULL
               : refuse_handle();
}

// ---- linking

// "wasi:io/poll" of "wasi:io/poll@0.2.3"; empty where the version is none of 0.2.
static struct weir_str without_version(struct weir_str interface) {
    const char *at = interface.size > 0 ? memchr(interface.data, '@', interface.size) : NULL;
    if (!at) {
        return (struct weir_str){0};
    }
    size_t size = (size_t)(at - interface.data);
    struct weir_str version = {.data = at, .size = interface.size - size};
    return weir_str_has_prefix(version, WEIR_STR("@0.2."))
               ? (struct weir_str){.data = interface.data, .size = size}
               : (struct weir_str){0};
}

static bool is_of_package(struct weir_str name) {
    for (size_t i = 0; i < sizeof packages / sizeof packages[0]; i++) {
        if (weir_str_has_prefix(name, weir_str_of(packages[i]))) {
            return true;
        }
    }
    return false;
}

static wasmtime_error_t *define_resource(wasmtime_component_linker_instance_t *instance,
                                         const char *name, uint32_t kind) {
    wasmtime_component_resource_type_t *type = wasmtime_component_resource_type_new_host(kind);
    wasmtime_error_t *error = wasmtime_component_linker_instance_add_resource(
        instance, name, strlen(name), type, kind == WEIR_RESOURCE_POLLABLE ? drop_pollable : drop,
        NULL, NULL);
    wasmtime_component_resource_type_delete(type);
    return error;
}

static wasmtime_error_t *define_all(wasmtime_component_linker_instance_t *instance,
                                    struct weir_str name) {
    wasmtime_error_t *error = NULL;
    for (size_t i = 0; !error && i < sizeof resources / sizeof resources[0]; i++) {
        if (weir_str_equal(name, weir_str_of(resources[i].interface))) {
            error = define_resource(instance, resources[i].name, resources[i].kind);
        }
    }
    for (size_t i = 0; !error && i < sizeof rows / sizeof rows[0]; i++) {
        if (weir_str_equal(name, weir_str_of(rows[i].interface))) {
            error = wasmtime_component_linker_instance_add_func(instance, rows[i].name,
                                                                strlen(rows[i].name), enter,
                                                                (void *)(uintptr_t)&rows[i], NULL);
        }
    }
    return error;
}

weir_status weir_wasi_define(wasmtime_component_linker_instance_t *root, struct weir_str interface,
                             bool *ret_is_wasi, struct weir_error *err) {
    struct weir_str name = without_version(interface);
    *ret_is_wasi = is_of_package(name);
    if (!*ret_is_wasi) {
        return WEIR_OK;
    }
    wasmtime_component_linker_instance_t *instance;
    wasmtime_error_t *error = wasmtime_component_linker_instance_add_instance(
        root, interface.data, interface.size, &instance);
    if (!error) {
        error = define_all(instance, name);
        wasmtime_component_linker_instance_delete(instance);
    }
    return error ? weir_engine_fail(error, NULL, WEIR_OTHER, err) : WEIR_OK;
}
