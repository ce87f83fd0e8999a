// SPDX-License-Identifier: Apache-2.0
//
// weir.h: what a guest written in C includes. One file; nothing to generate, nothing to link.
//
//     #include <stdio.h>
//     #include <weir.h>
//
//     static struct weir_result on_event(const struct weir_event *event) {
//         printf("%.*s changed\n", WEIR_STR_ARG(event->subject.value));
//         return weir_ok();
//     }
//     WEIR_EVENT_HANDLER(on_event)
//
//     clang --target=wasm32-wasi -mexec-model=reactor -O2 -I sdk/c hello.c -o hello.wasm
//
// What crosses the border between guest and host is laid out by the canonical ABI of the
// WebAssembly component model, and on wasm32 a C compiler lays out the structs below in the same
// way: the host writes an event into the guest's memory and the handler reads it where it lies,
// with no conversion. The assertions at the end of the types hold the two together.
// wit/reactive.wit is the contract in its own language.
//
// Memory. Everything that belongs to a call is in one arena: the event, what the functions below
// return, and what weir_alloc and weir_format give. It lives until the host has read the call's
// result and is then given back as a whole. Nothing is freed one by one, and a result may point to
// anything that lasts so long: the arena, a literal, a static variable; never to a local array.
// What must outlive the call has to be copied, and what must outlive the instance belongs into a
// resource: by default every event gets a fresh instance. In main, the call is all of main. Out of
// memory traps: the host reports it, and the guest needs no checks for NULL.
//
// Output. stdout is made line-buffered at the start, so that a line is seen when it is written, and
// also if the guest traps after it; a line begun and not ended is written when the handler returns.
// With WEIR_NO_STDIO defined before the include, <stdio.h> stays out, and with it weir_format,
// weir_errf and weir_error_print: a handler that prints nothing then imports nothing of WASI.
//
// A guest is single-threaded, and the host never enters an instance twice at a time. Several files
// of one guest may include this header.
#ifndef WEIR_H
#define WEIR_H

#ifndef __wasm32__
#error "weir.h is for guests: compile with clang --target=wasm32-wasi"
#endif

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifndef WEIR_NO_STDIO
#include <stdio.h>
#endif

// -------------------------------------------------------------------------------------------------
// Types

// A view of bytes: no terminator, no ownership. UTF-8 everywhere but in a binary payload.
struct weir_str {
    const char *data; // anything where size is 0
    size_t size;      // bytes
};

// A view of a string literal.
#define WEIR_STR(literal) ((struct weir_str){.data = "" literal, .size = sizeof(literal) - 1})
// For printf's "%.*s".
#define WEIR_STR_ARG(s) (int)(s).size, (s).size > 0 ? (s).data : ""

struct weir_optional_str {
    bool is_some;
    struct weir_str value; // undefined unless is_some
};

enum weir_payload_kind { WEIR_PAYLOAD_TEXT = 0, WEIR_PAYLOAD_BINARY = 1 };

struct weir_payload {
    uint8_t kind; // enum weir_payload_kind
    struct weir_str bytes;
};

struct weir_optional_payload {
    bool is_some;
    struct weir_payload value; // undefined unless is_some
};

struct weir_attribute {
    struct weir_str name, value;
};

struct weir_attributes {
    const struct weir_attribute *items;
    size_t count;
};

// A CloudEvent 1.0.2.
struct weir_event {
    struct weir_str specversion; // "1.0"
    struct weir_str ty;          // the attribute `type`: what happened, "dev.weir.keyvalue.set"
    struct weir_str source;      // where: the resource
    struct weir_str id;          // unique in its source, and the same at each delivery
    struct weir_optional_payload data;
    struct weir_optional_str datacontenttype;
    struct weir_optional_str dataschema;
    struct weir_optional_str subject; // what changed: the key
    struct weir_optional_str time;    // RFC 3339
    struct weir_attributes extensions;
};

// What a handler answers: made by weir_ok, weir_ok_event, weir_err, weir_errf.
struct weir_result {
    bool is_err;
    union {
        struct {
            bool is_some;
            struct weir_event event;
        } ok;
        struct weir_str err;
    };
};

enum weir_failure_kind { WEIR_FAILURE_RETRY = 0, WEIR_FAILURE_REJECT = 1 };

// What a handler that may reject answers: made by weir_accept, weir_accept_event, weir_retry,
// weir_retryf, weir_reject, weir_rejectf. A type of its own, so that the compiler sees where an
// answer is of the other kind.
struct weir_result_or_reject {
    bool is_err;
    union {
        struct {
            bool is_some;
            struct weir_event event;
        } ok;
        struct {
            uint8_t kind; // enum weir_failure_kind
            struct weir_str reason;
        } failure;
    };
};

// One key of one resource, watched.
struct weir_observable {
    struct weir_str rd, key;
};

// A set of subscriptions: a handle, valid in the instance that got it.
struct weir_events {
    int32_t handle;
};

enum weir_status {
    WEIR_OK,
    WEIR_NOT_FOUND,   // no resource, key or handler of that name; the message names what there is
    WEIR_DENIED,      // the guest holds no grant for it
    WEIR_INVALID,     // an argument is malformed
    WEIR_UNSUPPORTED, // the provider cannot do it, or not as strongly as asked
    WEIR_UNAVAILABLE, // the provider cannot be reached now
    WEIR_LIMIT,       // a bound was reached
    WEIR_OTHER,
};

// What failed. Begin with = {0}: a call that is given an error which has happened already does
// nothing, so that several calls need one test behind them.
struct weir_error {
    enum weir_status status;
    struct weir_str message; // undefined where status is WEIR_OK
};

_Static_assert(sizeof(struct weir_str) == 8, "string");
_Static_assert(offsetof(struct weir_optional_str, value) == 4, "option<string>");
_Static_assert(sizeof(struct weir_attribute) == 16, "tuple<string, string>");
_Static_assert(offsetof(struct weir_payload, bytes) == 4, "payload");
_Static_assert(offsetof(struct weir_optional_payload, value) == 4, "option<payload>");
_Static_assert(offsetof(struct weir_event, data) == 32, "event");
_Static_assert(offsetof(struct weir_event, datacontenttype) == 48, "event");
_Static_assert(offsetof(struct weir_event, extensions) == 96, "event");
_Static_assert(sizeof(struct weir_event) == 104, "event");
_Static_assert(offsetof(struct weir_result, ok.is_some) == 4, "result<option<event>, string>");
_Static_assert(offsetof(struct weir_result, ok.event) == 8, "result<option<event>, string>");
_Static_assert(offsetof(struct weir_result, err) == 4, "result<option<event>, string>");
_Static_assert(sizeof(struct weir_result) == 112, "result<option<event>, string>");
_Static_assert(offsetof(struct weir_result_or_reject, ok.is_some) == 4, "result<_, failure>");
_Static_assert(offsetof(struct weir_result_or_reject, ok.event) == 8, "result<_, failure>");
_Static_assert(offsetof(struct weir_result_or_reject, failure.kind) == 4, "result<_, failure>");
_Static_assert(offsetof(struct weir_result_or_reject, failure.reason) == 8, "result<_, failure>");
_Static_assert(sizeof(struct weir_result_or_reject) == 112, "result<option<event>, failure>");
_Static_assert(sizeof(struct weir_observable) == 16, "observable");

// -------------------------------------------------------------------------------------------------
// The arena. The weak symbols are merged by the linker when several files include this header.

enum {
    WEIR_ARENA_FIRST_BYTES = 4096,  // in the module's own memory: a small event costs no malloc
    WEIR_ARENA_CHUNK_BYTES = 16384, // taken from malloc at a time, beside what is asked for
    WEIR_ARENA_ALIGN = 16,          // the largest alignment; the canonical ABI asks for at most 8
};

struct weir_arena_chunk_ {
    _Alignas(WEIR_ARENA_ALIGN) struct weir_arena_chunk_ *previous;
    size_t capacity;
    _Alignas(WEIR_ARENA_ALIGN) char bytes[];
};

struct weir_arena_ {
    struct weir_arena_chunk_ *newest; // NULL while `first` is enough
    size_t used;                      // of the newest chunk, or of `first`
    _Alignas(WEIR_ARENA_ALIGN) char first[WEIR_ARENA_FIRST_BYTES];
};

__attribute__((weak)) struct weir_arena_ weir_arena_;

__attribute__((weak)) void *weir_arena_take_(size_t size, size_t align) {
    struct weir_arena_ *arena = &weir_arena_;
    char *bytes = arena->newest ? arena->newest->bytes : arena->first;
    size_t capacity = arena->newest ? arena->newest->capacity : WEIR_ARENA_FIRST_BYTES;
    size_t start = (arena->used + align - 1) & ~(align - 1);

    if (start > capacity || size > capacity - start) {
        if (size > PTRDIFF_MAX - WEIR_ARENA_CHUNK_BYTES)
            __builtin_trap();
        capacity = size + WEIR_ARENA_CHUNK_BYTES;
        struct weir_arena_chunk_ *chunk =
            (struct weir_arena_chunk_ *)malloc(sizeof *chunk + capacity);
        if (!chunk)
            __builtin_trap();
        chunk->previous = arena->newest;
        chunk->capacity = capacity;
        arena->newest = chunk;
        bytes = chunk->bytes;
        start = 0;
    }
    arena->used = start + size;
    return bytes + start;
}

__attribute__((weak)) void weir_arena_reset_(void) {
    while (weir_arena_.newest) {
        struct weir_arena_chunk_ *chunk = weir_arena_.newest;
        weir_arena_.newest = chunk->previous;
        free(chunk);
    }
    weir_arena_.used = 0;
}

// How the host gets memory of the guest, for an event and for what the imports return.
__attribute__((weak, export_name("cabi_realloc"))) void *
weir_cabi_realloc_(void *old, size_t old_size, size_t align, size_t size) {
    if (size <= old_size)
        return size > 0 ? old : (void *)align;
    void *block = weir_arena_take_(size, align);
    if (old_size > 0)
        memcpy(block, old, old_size);
    return block;
}

// -------------------------------------------------------------------------------------------------
// Strings and memory

// `size` bytes, not set to anything, aligned for any type, until the end of the call. Never NULL.
static inline void *weir_alloc(size_t size) {
    return weir_arena_take_(size, WEIR_ARENA_ALIGN);
}

// A view of a C string.
static inline struct weir_str weir_str_of(const char *text) {
    return (struct weir_str){.data = text, .size = text ? strlen(text) : 0};
}

static inline bool weir_str_equal(struct weir_str a, struct weir_str b) {
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

// A copy of one's own with a terminating NUL, for functions that want a C string. Until the end of
// the call.
static inline char *weir_str_c(struct weir_str text) {
    char *copy = (char *)weir_arena_take_(text.size + 1, 1);
    if (text.size > 0)
        memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    return copy;
}

#ifndef WEIR_NO_STDIO
__attribute__((format(printf, 1, 0))) static inline struct weir_str
weir_format_v(const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int size = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (size < 0)
        __builtin_trap();
    char *text = (char *)weir_arena_take_((size_t)size + 1, 1);
    vsnprintf(text, (size_t)size + 1, format, args);
    return (struct weir_str){.data = text, .size = (size_t)size};
}

// As printf, into a string that lives until the end of the call.
__attribute__((format(printf, 1, 2))) static inline struct weir_str weir_format(const char *format,
                                                                                ...) {
    va_list args;
    va_start(args, format);
    struct weir_str text = weir_format_v(format, args);
    va_end(args);
    return text;
}
#endif

// -------------------------------------------------------------------------------------------------
// Events

static inline struct weir_optional_str weir_some(struct weir_str value) {
    return (struct weir_optional_str){.is_some = true, .value = value};
}

// A body of text, which has to be UTF-8.
static inline struct weir_optional_payload weir_text(struct weir_str text) {
    return (struct weir_optional_payload){.is_some = true,
                                          .value = {.kind = WEIR_PAYLOAD_TEXT, .bytes = text}};
}

// A body of any bytes.
static inline struct weir_optional_payload weir_binary(const void *bytes, size_t size) {
    return (struct weir_optional_payload){
        .is_some = true,
        .value = {.kind = WEIR_PAYLOAD_BINARY,
                  .bytes = {.data = (const char *)bytes, .size = size}}};
}

// The body's bytes, text or not; empty where the event has no body.
static inline struct weir_str weir_event_body(const struct weir_event *event) {
    return event->data.is_some ? event->data.value.bytes : WEIR_STR("");
}

// The value of an extension attribute; not is_some where the event has none of that name.
static inline struct weir_optional_str weir_event_extension(const struct weir_event *event,
                                                            const char *name) {
    struct weir_str wanted = weir_str_of(name);
    for (size_t i = 0; i < event->extensions.count; i++)
        if (weir_str_equal(event->extensions.items[i].name, wanted))
            return weir_some(event->extensions.items[i].value);
    return (struct weir_optional_str){.is_some = false};
}

// -------------------------------------------------------------------------------------------------
// Results

// Handled.
static inline struct weir_result weir_ok(void) {
    return (struct weir_result){.is_err = false, .ok = {.is_some = false}};
}

// Handled, and here is an event that follows from it.
static inline struct weir_result weir_ok_event(const struct weir_event *event) {
    return (struct weir_result){.is_err = false, .ok = {.is_some = true, .event = *event}};
}

// Not handled; try again. After its last attempt the event is put aside with this text.
static inline struct weir_result weir_err(const char *reason) {
    return (struct weir_result){.is_err = true, .err = weir_str_of(reason)};
}

#ifndef WEIR_NO_STDIO
__attribute__((format(printf, 1, 2))) static inline struct weir_result weir_errf(const char *format,
                                                                                 ...) {
    va_list args;
    va_start(args, format);
    struct weir_str reason = weir_format_v(format, args);
    va_end(args);
    return (struct weir_result){.is_err = true, .err = reason};
}
#endif

// Those of a handler that may reject.

// Handled.
static inline struct weir_result_or_reject weir_accept(void) {
    return (struct weir_result_or_reject){.is_err = false, .ok = {.is_some = false}};
}

// Handled, and here is an event that follows from it.
static inline struct weir_result_or_reject weir_accept_event(const struct weir_event *event) {
    return (struct weir_result_or_reject){.is_err = false, .ok = {.is_some = true, .event = *event}};
}

static inline struct weir_result_or_reject weir_failure_(enum weir_failure_kind kind,
                                                         struct weir_str reason) {
    return (struct weir_result_or_reject){
        .is_err = true, .failure = {.kind = (uint8_t)kind, .reason = reason}};
}

// Not handled; try again, as weir_err.
static inline struct weir_result_or_reject weir_retry(const char *reason) {
    return weir_failure_(WEIR_FAILURE_RETRY, weir_str_of(reason));
}

// Not handled, and never will be: the event is put aside with this text at once.
static inline struct weir_result_or_reject weir_reject(const char *reason) {
    return weir_failure_(WEIR_FAILURE_REJECT, weir_str_of(reason));
}

#ifndef WEIR_NO_STDIO
__attribute__((format(printf, 1, 2))) static inline struct weir_result_or_reject
weir_retryf(const char *format, ...) {
    va_list args;
    va_start(args, format);
    struct weir_str reason = weir_format_v(format, args);
    va_end(args);
    return weir_failure_(WEIR_FAILURE_RETRY, reason);
}

__attribute__((format(printf, 1, 2))) static inline struct weir_result_or_reject
weir_rejectf(const char *format, ...) {
    va_list args;
    va_start(args, format);
    struct weir_str reason = weir_format_v(format, args);
    va_end(args);
    return weir_failure_(WEIR_FAILURE_REJECT, reason);
}
#endif

// The status as the contract spells it: "not-found".
static inline const char *weir_status_name(enum weir_status status) {
    static const char *const names[] = {"ok",          "not-found",   "denied", "invalid",
                                        "unsupported", "unavailable", "limit",  "other"};
    return (unsigned)status <= WEIR_OTHER ? names[status] : "other";
}

#ifndef WEIR_NO_STDIO
// Writes "name: status: message" to stderr; for main.
static inline void weir_error_print(const char *name, const struct weir_error *error) {
    fprintf(stderr, "%s: %s: %.*s\n", name, weir_status_name(error->status),
            WEIR_STR_ARG(error->message));
}
#endif

// -------------------------------------------------------------------------------------------------
// What the host offers. Where a call fails it fills *err and returns zeros. A wrong handle traps.

#define WEIR_IMPORT_(module, name) \
    __attribute__((import_module("weir:reactive/" module "@0.1.0"), import_name(name)))

WEIR_IMPORT_("resources", "open") void weir_import_open_(const char *name, size_t size, void *ret);
WEIR_IMPORT_("resources", "watch")
void weir_import_watch_(const char *rd, size_t rd_size, const char *key, size_t key_size,
                        void *ret);
WEIR_IMPORT_("events", "[static]events.get") void weir_import_get_(void *ret);
WEIR_IMPORT_("events", "[method]events.listen")
void weir_import_listen_(int32_t self, const char *rd, size_t rd_size, const char *key,
                         size_t key_size, void *ret);
WEIR_IMPORT_("events", "[method]events.listen-to")
void weir_import_listen_to_(int32_t self, const char *rd, size_t rd_size, const char *key,
                            size_t key_size, const char *handler, size_t handler_size, void *ret);
WEIR_IMPORT_("events", "[method]events.exec")
void weir_import_exec_(int32_t self, uint64_t duration_s, void *ret);
WEIR_IMPORT_("events", "[resource-drop]events") void weir_import_drop_(int32_t self);

// Where the host writes an answer: result<T, error>, for each T there is.
struct weir_answer_ {
    bool is_err;
    union {
        struct {
            uint8_t kind; // a status other than WEIR_OK, counted from 0
            struct weir_str message;
        } err;
        struct weir_str rd;
        struct weir_observable observable;
        struct weir_events events;
    };
};
_Static_assert(offsetof(struct weir_answer_, err) == 4, "result<_, error>");
_Static_assert(offsetof(struct weir_answer_, err.message) == 8, "result<_, error>");
_Static_assert(sizeof(struct weir_answer_) == 20, "result<observable, error>");

// Whether the call was done; fills *err where it was not.
static inline bool weir_answered_(const struct weir_answer_ *answer, struct weir_error *err) {
    if (answer->is_err)
        *err = (struct weir_error){.status = (enum weir_status)(answer->err.kind + 1),
                                   .message = answer->err.message};
    return !answer->is_err;
}

// Opens a resource that the host's configuration names, and returns its descriptor.
static inline struct weir_str weir_open(const char *name, struct weir_error *err) {
    struct weir_answer_ answer;
    if (err->status == WEIR_OK) {
        weir_import_open_(name, strlen(name), &answer);
        if (weir_answered_(&answer, err))
            return answer.rd;
    }
    return (struct weir_str){0};
}

// Observes the changes of one key from this moment on. A key that ends in `*` stands for every key
// with that prefix.
static inline struct weir_observable weir_watch(struct weir_str rd, const char *key,
                                                struct weir_error *err) {
    struct weir_answer_ answer;
    if (err->status == WEIR_OK) {
        weir_import_watch_(rd.data, rd.size, key, strlen(key), &answer);
        if (weir_answered_(&answer, err))
            return answer.observable;
    }
    return (struct weir_observable){0};
}

// A new, empty set of subscriptions. weir_events_drop gives it back; so does the end of the
// instance.
static inline struct weir_events weir_events_get(struct weir_error *err) {
    struct weir_answer_ answer;
    if (err->status == WEIR_OK) {
        weir_import_get_(&answer);
        if (weir_answered_(&answer, err))
            return answer.events;
    }
    return (struct weir_events){0};
}

// Gives the handle back, unless it is zero. Using it afterwards traps.
static inline void weir_events_drop(struct weir_events events) {
    if (events.handle != 0)
        weir_import_drop_(events.handle);
}

// Delivers the observable's events to the guest's event handler. Returns whether it was done, as do
// the next two.
static inline bool weir_events_listen(struct weir_events events, struct weir_observable observable,
                                      struct weir_error *err) {
    struct weir_answer_ answer;
    if (err->status != WEIR_OK)
        return false;
    weir_import_listen_(events.handle, observable.rd.data, observable.rd.size, observable.key.data,
                        observable.key.size, &answer);
    if (!weir_answered_(&answer, err))
        return false;
    // A second handle of the same set, for languages that chain calls.
    weir_events_drop(answer.events);
    return true;
}

// Delivers them to a handler of the guest's own, by the name that WEIR_HANDLER gave it.
static inline bool weir_events_listen_to(struct weir_events events,
                                         struct weir_observable observable, const char *handler,
                                         struct weir_error *err) {
    struct weir_answer_ answer;
    if (err->status != WEIR_OK)
        return false;
    weir_import_listen_to_(events.handle, observable.rd.data, observable.rd.size,
                           observable.key.data, observable.key.size, handler, strlen(handler),
                           &answer);
    if (!weir_answered_(&answer, err))
        return false;
    weir_events_drop(answer.events);
    return true;
}

// Lets the host deliver events for duration_s seconds in all; 0 is until the host stops. The
// handlers run in other instances of this module, not in the one that waits here.
static inline bool weir_events_exec(struct weir_events events, uint64_t duration_s,
                                    struct weir_error *err) {
    struct weir_answer_ answer;
    if (err->status != WEIR_OK)
        return false;
    weir_import_exec_(events.handle, duration_s, &answer);
    return weir_answered_(&answer, err);
}

// -------------------------------------------------------------------------------------------------
// What the guest offers

#ifndef WEIR_NO_STDIO
__attribute__((constructor)) static void weir_line_buffer_(void) {
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
}
#define WEIR_FLUSH_() ((void)fflush(stdout))
#else
#define WEIR_FLUSH_() ((void)0)
#endif

#define WEIR_PASTE__(a, b) a##b
#define WEIR_PASTE_(a, b)  WEIR_PASTE__(a, b)

// An export `name` with its cabi_post_: what `call` returns is kept until the host has read it.
#define WEIR_EXPORT_(name, unique, type, parameters, call)                                  \
    __attribute__((export_name(name))) const type *WEIR_PASTE_(weir_export_, unique)        \
        parameters {                                                                        \
        static type result;                                                                 \
        result = call;                                                                      \
        WEIR_FLUSH_();                                                                      \
        return &result;                                                                     \
    }                                                                                       \
    __attribute__((export_name("cabi_post_" name))) void WEIR_PASTE_(weir_post_, unique)(   \
        const type *r) {                                                                    \
        (void)r;                                                                            \
        weir_arena_reset_();                                                                \
    }

// A module's functions have no other types than numbers: what a handler answers, the host knows by
// the end of its name.
#define WEIR_MAY_REJECT_ "-or-reject"
#define WEIR_MAY_REJECT_NAME_(name)                                                        \
    (sizeof(name) > sizeof(WEIR_MAY_REJECT_) &&                                            \
     __builtin_strcmp(&(name)[sizeof(name) > sizeof(WEIR_MAY_REJECT_)                      \
                                  ? sizeof(name) - sizeof(WEIR_MAY_REJECT_)                \
                                  : 0],                                                    \
                      WEIR_MAY_REJECT_) == 0)

// Exports `function`, a `struct weir_result (const struct weir_event *)`, as a handler under the
// name `name`: a string literal of lower-case letters, digits and dashes, such as "on-order". Put
// it outside of functions, behind the handler. A function can have one name only.
#define WEIR_HANDLER(name, function)                                                       \
    _Static_assert(!WEIR_MAY_REJECT_NAME_(name),                                           \
                   name ": by its name it may reject, see WEIR_HANDLER_OR_REJECT");        \
    WEIR_EXPORT_(name, function, struct weir_result, (const struct weir_event *event),     \
                 function(event))

// The same with a `struct weir_result_or_reject (const struct weir_event *)`, which can tell a
// failure that will last from one that will pass. Its name has to end in "-or-reject", such as
// "on-order-or-reject", and is given with it wherever the handler is chosen.
#define WEIR_HANDLER_OR_REJECT(name, function)                                             \
    _Static_assert(WEIR_MAY_REJECT_NAME_(name),                                            \
                   name ": the name of a handler that may reject ends in -or-reject");     \
    WEIR_EXPORT_(name, function, struct weir_result_or_reject,                             \
                 (const struct weir_event *event), function(event))

// Exports `function` as the handler `handle-event`, the one that `listen` means.
#define WEIR_EVENT_HANDLER(function) \
    WEIR_HANDLER("weir:reactive/event-handler@0.1.0#handle-event", function)

// Exports `function` as the handler `handle-event-or-reject`, which `listen` means where there is no
// `handle-event`.
#define WEIR_EVENT_HANDLER_OR_REJECT(function)                                                \
    WEIR_HANDLER_OR_REJECT("weir:reactive/event-handler-or-reject@0.1.0#handle-event-or-reject", \
                           function)

// Exports `function`, a `struct weir_result (void)`, as the guest's main: weir_ok or weir_err. A
// program with a plain `int main(void)`, compiled without -mexec-model=reactor, needs no WEIR_RUN.
#define WEIR_RUN(function) WEIR_EXPORT_("run", function, struct weir_result, (void), function())

#endif
