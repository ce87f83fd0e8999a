// SPDX-License-Identifier: Apache-2.0
//
// Loading a guest: everything that can be known of a module without running it is checked here, so
// that a call finds what it needs or never happens. And the instances that are kept between calls
// where the user chose `reuse`.
//
// A guest runs in one of two lanes. A core module has module.c and core.c; a component has
// component.c, unless the core lane can run its main module.
#include "guest/instance.h"

#include "base/clock.h"
#include "base/show.h"
#include "guest/handlers.h"
#include "guest/sections.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

struct weir_idle_instances {
    pthread_mutex_t lock;
    struct weir_instance *first; // under lock
    uint32_t count;              // under lock
};

const char *weir_guest_hash(const struct weir_guest *guest) {
    return guest->hash;
}

const char *weir_guest_name(const struct weir_guest *guest) {
    return guest->args.name;
}

void *weir_guest_access_context(const struct weir_guest *guest) {
    return guest->args.access_context;
}

uint32_t weir_guest_handler_count(const struct weir_guest *guest) {
    return guest->handler_count;
}

const char *weir_guest_handler_name(const struct weir_guest *guest, uint32_t handler) {
    return guest->handlers[handler].name;
}

enum weir_guest_lane weir_guest_lane(const struct weir_guest *guest, const char **ret_reason) {
    *ret_reason = guest->lane_reason;
    return guest->is_in_core_lane ? WEIR_GUEST_LANE_CORE : WEIR_GUEST_LANE_COMPONENT;
}

uint64_t weir_guest_file_bytes(const struct weir_guest *guest) {
    return guest->file_bytes;
}

uint32_t weir_guest_import_count(const struct weir_guest *guest) {
    return guest->import_count;
}

const char *weir_guest_import(const struct weir_guest *guest, uint32_t import) {
    return guest->imports[import];
}

const char *weir_guest_main_name(const struct weir_guest *guest) {
    return guest->main_export;
}

weir_status weir_guest_add_import(struct weir_guest *guest, struct weir_str name,
                                  struct weir_error *err) {
    for (uint32_t i = 0; i < guest->import_count; i++) {
        if (weir_str_equal(name, weir_str_of(guest->imports[i]))) {
            return WEIR_OK;
        }
    }
    char **grown = realloc(guest->imports, (guest->import_count + 1) * sizeof *grown);
    if (!grown) {
        return weir_fail_no_memory(err, "a list of imports");
    }
    guest->imports = grown;
    grown[guest->import_count] = weir_str_copy(name);
    if (!grown[guest->import_count]) {
        return weir_fail_no_memory(err, "an import's name");
    }
    guest->import_count++;
    return WEIR_OK;
}

void weir_guest_forget_imports(struct weir_guest *guest) {
    for (uint32_t i = 0; i < guest->import_count; i++) {
        free(guest->imports[i]);
    }
    free(guest->imports);
    guest->imports = NULL;
    guest->import_count = 0;
}

bool weir_guest_has_main(const struct weir_guest *guest) {
    return guest->main_kind != WEIR_MAIN_NONE;
}

struct weir_str weir_guest_function_name(struct weir_str export) {
    const char *hash = memchr(export.data, '#', export.size);
    struct weir_str name = export;
    if (hash) {
        name.data = hash + 1;
        name.size = export.size - (size_t)(name.data - export.data);
    }
    for (size_t i = 0; i < name.size; i++) {
        char c = name.data[i];
        bool is_letter = c >= 'a' && c <= 'z', is_digit = c >= '0' && c <= '9';
        if (!is_letter && (i == 0 || !(is_digit || c == '-'))) {
            return (struct weir_str){0};
        }
    }
    return name;
}

static struct weir_handler *handler_named(const struct weir_guest *guest, struct weir_str name) {
    for (uint32_t i = 0; i < guest->handler_count; i++) {
        struct weir_handler *handler = &guest->handlers[i];
        if (weir_str_equal(name, weir_str_of(handler->name)) ||
            weir_str_equal(name, weir_str_of(handler->export))) {
            return handler;
        }
    }
    return NULL;
}

// "handle-event, on-order", or that there are none.
static const char *list_handlers(const struct weir_guest *guest,
                                 char buffer[WEIR_HANDLER_LIST_BYTES]) {
    size_t used = 0;
    for (uint32_t i = 0; i < guest->handler_count; i++) {
        int written = snprintf(buffer + used, WEIR_HANDLER_LIST_BYTES - used, "%s%s", i ? ", " : "",
                               guest->handlers[i].name);
        if (written < 0 || (size_t)written >= WEIR_HANDLER_LIST_BYTES - used) {
            memcpy(buffer + WEIR_HANDLER_LIST_BYTES - 4, "...", 4);
            return buffer;
        }
        used += (size_t)written;
    }
    return used > 0 ? buffer : "none";
}

static const struct weir_odd_export *odd_named(const struct weir_guest *guest,
                                               struct weir_str name) {
    for (uint32_t i = 0; i < guest->odd_count; i++) {
        if (weir_str_equal(name, weir_str_of(guest->odd[i].name))) {
            return &guest->odd[i];
        }
    }
    return NULL;
}

weir_status weir_guest_handler_find(const struct weir_guest *guest, struct weir_str name,
                                    uint32_t *ret_handler, struct weir_error *err) {
    const struct weir_handler *handler = handler_named(guest, name);
    const struct weir_odd_export *odd = handler ? NULL : odd_named(guest, name);
    // A handle-event of another type is a mistake to be told of, not to be passed over.
    if (!odd && weir_str_equal(name, WEIR_STR(WEIR_HANDLER_DEFAULT))) {
        static const char *const names[] = {WEIR_HANDLER_DEFAULT_OR_REJECT, WEIR_HANDLER_WATCHER,
                                            WEIR_HANDLER_MESSAGE};
        for (size_t i = 0; !handler && i < sizeof names / sizeof names[0]; i++) {
            handler = handler_named(guest, weir_str_of(names[i]));
        }
    }
    if (handler) {
        *ret_handler = (uint32_t)(handler - guest->handlers);
        return WEIR_OK;
    }
    char list[WEIR_HANDLER_LIST_BYTES];
    if (odd) {
        return weir_fail(err, WEIR_INVALID,
                         "guest %s exports \"%s\" as %s; a handler has handle-event's signature, "
                         "%s; its handlers are: %s",
                         guest->args.name, odd->name, odd->type,
                         guest->is_component ? WEIR_HANDLER_TYPE : "(i32) -> i32 in a core module",
                         list_handlers(guest, list));
    }
    char shown[WEIR_SHOW_BYTES];
    return weir_fail(err, WEIR_NOT_FOUND, "guest %s has no handler \"%s\"; its handlers are: %s",
                     guest->args.name, weir_show(name, shown, sizeof shown),
                     list_handlers(guest, list));
}

// Functions of whatever type are bounded together.
static weir_status check_count(const struct weir_guest *guest, struct weir_error *err) {
    return guest->handler_count + guest->odd_count < WEIR_HANDLERS_MAX
               ? WEIR_OK
               : weir_fail(err, WEIR_LIMIT, "it exports more than %d functions", WEIR_HANDLERS_MAX);
}

weir_status weir_guest_add_odd(struct weir_guest *guest, struct weir_str name,
                               const char type[WEIR_ODD_TYPE_BYTES], struct weir_error *err) {
    weir_status status = check_count(guest, err);
    if (status != WEIR_OK) {
        return status;
    }
    struct weir_odd_export *grown =
        realloc(guest->odd, (guest->odd_count + 1) * sizeof *guest->odd);
    if (!grown) {
        return weir_fail_no_memory(err, "a list of exports");
    }
    guest->odd = grown;
    struct weir_odd_export *odd = &guest->odd[guest->odd_count];
    odd->name = weir_str_copy(name);
    if (!odd->name) {
        return weir_fail_no_memory(err, "an export's name");
    }
    memcpy(odd->type, type, sizeof odd->type);
    guest->odd_count++;
    return WEIR_OK;
}

// Whether a further handler may go by its short name. Of several with the same, weir's own
// interface has it, whatever the order of the exports, or else the first; the others go by their
// whole names.
static weir_status claim_name(struct weir_guest *guest, struct weir_str export,
                              struct weir_str name, bool *ret_is_free, struct weir_error *err) {
    struct weir_handler *holder = handler_named(guest, name);
    bool is_own = weir_str_has_prefix(export, WEIR_STR(WEIR_WIT_EVENT_HANDLER "#")) ||
                  weir_str_has_prefix(export, WEIR_STR(WEIR_WIT_EVENT_HANDLER_OR_REJECT "#"));
    *ret_is_free = !holder || (is_own && strcmp(holder->name, holder->export) != 0);
    if (holder && *ret_is_free) {
        char *whole = strdup(holder->export);
        if (!whole) {
            return weir_fail_no_memory(err, "a handler's name");
        }
        free(holder->name);
        holder->name = whole;
    }
    return WEIR_OK;
}

weir_status weir_guest_add_handler(struct weir_guest *guest, struct weir_str export,
                                   struct weir_str name, enum weir_handler_kind kind,
                                   struct weir_error *err) {
    weir_status status = check_count(guest, err);
    if (status != WEIR_OK) {
        return status;
    }
    struct weir_handler *grown =
        realloc(guest->handlers, (guest->handler_count + 1) * sizeof *guest->handlers);
    if (!grown) {
        return weir_fail_no_memory(err, "a list of handlers");
    }
    guest->handlers = grown;
    bool is_free;
    status = claim_name(guest, export, name, &is_free, err);
    if (status != WEIR_OK) {
        return status;
    }
    struct weir_handler *handler = &guest->handlers[guest->handler_count];
    *handler = (struct weir_handler){.name = weir_str_copy(is_free ? name : export),
                                     .export = weir_str_copy(export),
                                     .kind = kind};
    guest->handler_count++; // from here on it is freed with the guest
    return handler->name && handler->export ? WEIR_OK
                                            : weir_fail_no_memory(err, "a handler's name");
}

static const struct weir_handler *handler_of_kind(const struct weir_guest *guest,
                                                  enum weir_handler_kind kind) {
    for (uint32_t i = 0; i < guest->handler_count; i++) {
        if (guest->handlers[i].kind == kind) {
            return &guest->handlers[i];
        }
    }
    return NULL;
}

weir_status weir_guest_add_watcher(struct weir_guest *guest, struct weir_error *err) {
    const struct weir_handler *set = handler_of_kind(guest, WEIR_HANDLER_KIND_ON_SET);
    const struct weir_handler *deletion = handler_of_kind(guest, WEIR_HANDLER_KIND_ON_DELETE);
    if (!set || !deletion) {
        return WEIR_OK;
    }
    uint32_t on_set = (uint32_t)(set - guest->handlers);
    uint32_t on_delete = (uint32_t)(deletion - guest->handlers);
    struct weir_str export = weir_str_of(weir_handler_types[WEIR_HANDLER_KIND_WATCHER].export);
    weir_status status = weir_guest_add_handler(guest, export, WEIR_STR(WEIR_HANDLER_WATCHER),
                                                WEIR_HANDLER_KIND_WATCHER, err);
    if (status == WEIR_OK) {
        struct weir_handler *watcher = &guest->handlers[guest->handler_count - 1];
        watcher->on_set = on_set;
        watcher->on_delete = on_delete;
    }
    return status;
}

static weir_status compile(struct weir_guest *guest, struct weir_str wasm, struct weir_error *err) {
    if (wasm.size > guest->args.module_bytes) {
        return weir_fail(err, WEIR_LIMIT, "it has %zu bytes, bounds.module allows %llu", wasm.size,
                         (unsigned long long)guest->args.module_bytes);
    }
    if (wasm.size < 4 || memcmp(wasm.data, "\0asm", 4) != 0) {
        return weir_fail(err, WEIR_INVALID,
                         wasm.size == 0 ? "the file is empty"
                                        : "it is not a WebAssembly module: it does not begin with "
                                          "the bytes 00 61 73 6d");
    }
    if (weir_sections_is_component(wasm)) {
        return weir_component_load(guest, wasm, err);
    }
    if (guest->args.lane == WEIR_GUEST_LANE_COMPONENT) {
        return weir_fail(err, WEIR_INVALID,
                         "it is a core module, which `lane: component` cannot run; leave `lane` "
                         "out, or make a component of it");
    }
    guest->is_in_core_lane = true;
    snprintf(guest->lane_reason, sizeof guest->lane_reason, "it is a core module");
    return weir_module_load(guest, wasm, err);
}

static weir_status prepare(struct weir_engine *engine, const struct weir_guest_args *args,
                           struct weir_guest **ret_guest, struct weir_error *err) {
    struct weir_guest *guest = calloc(1, sizeof *guest);
    char *name = strdup(args->name);
    struct weir_idle_instances *idle = calloc(1, sizeof *idle);
    if (!guest || !name || !idle) {
        free(guest);
        free(name);
        free(idle);
        return weir_fail_no_memory(err, "a guest");
    }
    atomic_init(&guest->references, 1);
    guest->engine = engine;
    guest->args = *args;
    guest->name = name;
    guest->args.name = name;
    pthread_mutex_init(&idle->lock, NULL);
    guest->idle = idle;
    if (guest->args.access) {
        guest->args.access->ref(guest->args.access_context);
    }
    *ret_guest = guest;
    return WEIR_OK;
}

static void format_hash(struct weir_str wasm, char ret_hash[static WEIR_GUEST_HASH_BYTES]) {
    XXH128_hash_t hash = XXH3_128bits(wasm.data ? wasm.data : "", wasm.size);
    snprintf(ret_hash, WEIR_GUEST_HASH_BYTES, "xxh128:%016" PRIx64 "%016" PRIx64, hash.high64,
             hash.low64);
}

weir_status weir_guest_compile(struct weir_engine *engine, const struct weir_guest_args *args,
                               struct weir_str wasm, struct weir_guest **ret_guest,
                               struct weir_error *err) {
    *ret_guest = NULL;
    struct weir_guest *guest = NULL;
    weir_status status = prepare(engine, args, &guest, err);
    if (status != WEIR_OK) {
        return status;
    }
    format_hash(wasm, guest->hash);
    guest->file_bytes = wasm.size;
    int64_t began_ns = weir_clock_monotonic_ns();
    status = compile(guest, wasm, err);
    guest->compile_ns = weir_clock_monotonic_ns() - began_ns;
    if (status != WEIR_OK) {
        weir_guest_unref(guest);
        return weir_error_prefix(err, status, "guest %s", args->name);
    }
    *ret_guest = guest;
    return WEIR_OK;
}

// Reads a whole regular file of at most bytes_max. The caller frees *ret_bytes.
static weir_status read_file(const char *path, uint64_t bytes_max, char **ret_bytes,
                             size_t *ret_size, struct weir_error *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); // a FIFO must not hold us up
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0) {
        int code = errno;
        if (fd >= 0) {
            close(fd);
        }
        return weir_fail_errno(err, code, "%s", path);
    }
    if (!S_ISREG(info.st_mode) || (uint64_t)info.st_size > bytes_max) {
        close(fd);
        return S_ISREG(info.st_mode)
                   ? weir_fail(err, WEIR_LIMIT, "%s has %lld bytes, bounds.module allows %llu",
                               path, (long long)info.st_size, (unsigned long long)bytes_max)
                   : weir_fail(err, WEIR_INVALID, "%s is not a regular file", path);
    }
    size_t size = (size_t)info.st_size, done = 0;
    char *bytes = malloc(size + 1);
    int code = bytes ? 0 : ENOMEM;
    while (code == 0 && done < size) {
        ssize_t count = read(fd, bytes + done, size - done);
        if (count == 0) {
            break; // it became shorter meanwhile; the compiler will say so
        }
        code = count < 0 && errno != EINTR ? errno : 0;
        done += count > 0 ? (size_t)count : 0;
    }
    close(fd);
    if (code != 0) {
        free(bytes);
        return weir_fail_errno(err, code, "reading %s", path);
    }
    *ret_bytes = bytes;
    *ret_size = done;
    return WEIR_OK;
}

weir_status weir_guest_load(struct weir_engine *engine, const struct weir_guest_args *args,
                            const char *path, struct weir_guest **ret_guest,
                            struct weir_error *err) {
    char *bytes = NULL;
    size_t size = 0;
    *ret_guest = NULL;
    weir_status status = read_file(path, args->module_bytes, &bytes, &size, err);
    if (status != WEIR_OK) {
        return weir_error_prefix(err, status, "guest %s", args->name);
    }
    status = weir_guest_compile(engine, args, (struct weir_str){.data = bytes, .size = size},
                                ret_guest, err);
    free(bytes);
    return status;
}

bool weir_guest_is_of_file(const struct weir_guest *guest, const char *path) {
    char *bytes = NULL, hash[WEIR_GUEST_HASH_BYTES];
    size_t size = 0;
    if (read_file(path, guest->args.module_bytes, &bytes, &size, NULL) != WEIR_OK) {
        return false;
    }
    format_hash((struct weir_str){.data = bytes, .size = size}, hash);
    free(bytes);
    return strcmp(hash, guest->hash) == 0;
}

void weir_guest_stats(const struct weir_guest *guest, struct weir_guest_stats *ret_stats) {
    // What has gone was made before: read in this order, there are never fewer than none.
    uint64_t gone = atomic_load_explicit(&guest->instances_gone, memory_order_acquire);
    uint64_t made = atomic_load_explicit(&guest->instances_made, memory_order_acquire);
    *ret_stats = (struct weir_guest_stats){
        .instances_made = made,
        .instances = made > gone ? made - gone : 0,
        .memory_bytes_largest =
            atomic_load_explicit(&guest->memory_bytes_largest, memory_order_relaxed),
        .compile_ns = guest->compile_ns,
    };
}

struct weir_guest *weir_guest_ref(struct weir_guest *guest) {
    if (guest) {
        atomic_fetch_add_explicit(&guest->references, 1, memory_order_relaxed);
    }
    return guest;
}

static void destroy(struct weir_guest *guest) {
    while (guest->idle->first) {
        struct weir_instance *instance = guest->idle->first;
        guest->idle->first = instance->next_idle;
        weir_instance_destroy(instance);
    }
    pthread_mutex_destroy(&guest->idle->lock);
    free(guest->idle);
    weir_module_unload(guest);
    weir_component_unload(guest);
    weir_guest_forget_imports(guest);
    for (uint32_t i = 0; i < guest->handler_count; i++) {
        free(guest->handlers[i].name);
        free(guest->handlers[i].export);
    }
    for (uint32_t i = 0; i < guest->odd_count; i++) {
        free(guest->odd[i].name);
    }
    if (guest->args.access) {
        guest->args.access->unref(guest->args.access_context);
    }
    free(guest->handlers);
    free(guest->odd);
    free(guest->main_export);
    free(guest->name);
    free(guest);
}

void weir_guest_unref(struct weir_guest *guest) {
    if (guest && atomic_fetch_sub_explicit(&guest->references, 1, memory_order_acq_rel) == 1) {
        destroy(guest);
    }
}

static struct weir_instance *take_idle(struct weir_guest *guest) {
    pthread_mutex_lock(&guest->idle->lock);
    struct weir_instance *instance = guest->idle->first;
    if (instance) {
        guest->idle->first = instance->next_idle;
        guest->idle->count--;
    }
    pthread_mutex_unlock(&guest->idle->lock);
    return instance;
}

// Keeps an instance for a later call, or not where enough are kept.
static void give_back(struct weir_guest *guest, struct weir_instance *instance) {
    pthread_mutex_lock(&guest->idle->lock);
    bool is_kept = guest->idle->count < guest->args.idle_max;
    if (is_kept) {
        instance->next_idle = guest->idle->first;
        guest->idle->first = instance;
        guest->idle->count++;
    }
    pthread_mutex_unlock(&guest->idle->lock);
    if (!is_kept) {
        weir_instance_destroy(instance);
    }
}

void weir_guest_handle(struct weir_guest *guest, uint32_t handler,
                       const struct weir_event_fields *event, struct weir_call *call,
                       struct weir_verdict *ret_verdict) {
    bool is_reused = guest->args.instances == WEIR_INSTANCES_REUSED, is_sound = false;
    ret_verdict->outcome = WEIR_BROKEN;
    ret_verdict->derived = NULL;
    ret_verdict->error.status = WEIR_OK;
    call->output_tail_size = 0; // what its instance prints while it is made is the call's, too
    call->sent = 0;
    if (!weir_handler_resolve(guest, &handler, event)) {
        ret_verdict->outcome = WEIR_HANDLED;
        return;
    }
    struct weir_instance *instance = is_reused ? take_idle(guest) : NULL;
    if (!instance &&
        weir_instance_new(guest, NULL, call, &instance, &ret_verdict->error) != WEIR_OK) {
        return;
    }
    weir_instance_begin(instance, call);
    weir_instance_handle(instance, handler, event, ret_verdict, &is_sound);
    if (is_reused && is_sound) {
        give_back(guest, instance);
    } else {
        weir_instance_destroy(instance);
    }
}

weir_status weir_guest_run(struct weir_guest *guest, void *session, struct weir_call *call,
                           struct weir_error *err) {
    if (guest->main_kind == WEIR_MAIN_NONE) {
        return weir_fail(err, WEIR_NOT_FOUND,
                         "guest %s has no main: it exports neither run nor _start",
                         guest->args.name);
    }
    struct weir_instance *instance;
    call->output_tail_size = 0;
    call->sent = 0;
    weir_status status = weir_instance_new(guest, session, call, &instance, err);
    if (status != WEIR_OK) {
        return status;
    }
    weir_instance_begin(instance, call);
    status = weir_instance_main(instance, err);
    weir_instance_destroy(instance);
    return status;
}
