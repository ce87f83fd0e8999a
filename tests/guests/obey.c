// SPDX-License-Identifier: Apache-2.0
//
// The handler does what the event's body says, good and bad: a word and perhaps a number or a text.
// So one guest can get a poisonous event and its harmless neighbours. It prints "WORD: begin", and
// "WORD: end" where it gets there. The words are in the table at the end, README.md has what the
// host is to answer.
//
// Proves: whatever a handler does, it is cut at its bound, and the next event is handled as if
// nothing had been.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include <weir.h>

struct order {
    const struct weir_event *event;
    const char *text; // what is behind the word
    size_t number;    // the same, read as a number
};

extern char **environ;

static volatile unsigned sink;

// ---- answers

static struct weir_result do_ok(const struct order *order) {
    (void)order;
    return weir_ok();
}

static struct weir_result do_err(const struct order *order) {
    return weir_err(order->text);
}

// A derived event with a body of so many bytes.
static struct weir_result do_derive(const struct order *order) {
    struct weir_event derived = *order->event;
    char *bytes = (char *)weir_alloc(order->number);

    memset(bytes, 'd', order->number);
    derived.ty = WEIR_STR("dev.weir.test.derived");
    derived.id = weir_format("%.*s-derived", WEIR_STR_ARG(order->event->id));
    derived.data = weir_text((struct weir_str){.data = bytes, .size = order->number});
    return weir_ok_event(&derived);
}

// A derived event with so many extension attributes.
static struct weir_result do_extend(const struct order *order) {
    struct weir_event derived = *order->event;
    struct weir_attribute *items =
        (struct weir_attribute *)weir_alloc(order->number * sizeof *items);

    for (size_t i = 0; i < order->number; i++)
        items[i] = (struct weir_attribute){.name = weir_format("x%zu", i), .value = WEIR_STR("v")};
    derived.extensions = (struct weir_attributes){.items = items, .count = order->number};
    return weir_ok_event(&derived);
}

// ---- time

static struct weir_result do_loop(const struct order *order) {
    (void)order;
    for (;;)
        sink++;
}

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static struct weir_result do_wait(const struct order *order) {
    int64_t end_ms = now_ms() + (int64_t)order->number;
    while (now_ms() < end_ms)
        ;
    return weir_ok();
}

// Inside a call of the host's, where an engine does not cut by itself.
static struct weir_result do_sleep(const struct order *order) {
    struct timespec pause = {.tv_sec = (time_t)(order->number / 1000),
                             .tv_nsec = (long)(order->number % 1000) * 1000000};
    nanosleep(&pause, NULL);
    return weir_ok();
}

// ---- traps

static struct weir_result do_trap(const struct order *order) {
    (void)order;
    __builtin_trap();
}

static struct weir_result do_divide(const struct order *order) {
    sink = 1000 / (unsigned)order->number;
    return weir_ok();
}

static struct weir_result do_wild_read(const struct order *order) {
    (void)order;
    sink = *(volatile unsigned *)0xfffffff0u;
    return weir_ok();
}

static struct weir_result do_exit(const struct order *order) {
    exit((int)order->number);
}

static struct weir_result do_abort(const struct order *order) {
    (void)order;
    abort();
}

// ---- memory

// `sink` never is 1 here, which the compiler cannot know.
__attribute__((noinline)) static unsigned recurse(unsigned depth) {
    volatile unsigned here[16] = {depth};
    return sink == 1 ? depth : recurse(depth + 1) + here[depth % 16];
}

static struct weir_result do_recurse(const struct order *order) {
    (void)order;
    sink = recurse(0);
    return weir_ok();
}

// On the engine's stack instead of the guest's own: no variable has an address.
__attribute__((noinline)) static unsigned recurse_thin(unsigned depth) {
    return sink == 1 ? depth : recurse_thin(depth + 1) * 3 + 1;
}

static struct weir_result do_recurse_thin(const struct order *order) {
    (void)order;
    sink = recurse_thin(0);
    return weir_ok();
}

static struct weir_result do_grow(const struct order *order) {
    (void)order;
    while (__builtin_wasm_memory_grow(0, 16) != (size_t)-1)
        ;
    return weir_ok();
}

// Out of memory, and what most languages do then.
static struct weir_result do_grow_trap(const struct order *order) {
    do_grow(order);
    __builtin_trap();
}

// What an instance that is kept loses with each event.
static struct weir_result do_leak(const struct order *order) {
    volatile char *block = (volatile char *)malloc(order->number);
    if (!block)
        __builtin_trap();
    block[order->number / 2] = 1;
    return weir_ok();
}

// ---- output

static void print_many(size_t count) {
    for (size_t i = 0; i < count; i++)
        putchar('x');
}

static struct weir_result do_line(const struct order *order) {
    print_many(order->number);
    printf("\n");
    return weir_ok();
}

static struct weir_result do_partial(const struct order *order) {
    print_many(order->number);
    return weir_ok();
}

static struct weir_result do_partial_trap(const struct order *order) {
    print_many(order->number);
    fflush(stdout);
    __builtin_trap();
}

static struct weir_result do_flood(const struct order *order) {
    (void)order;
    for (;;)
        printf("the same line again and again\n");
}

static struct weir_result do_binary(const struct order *order) {
    static const char bytes[] = "\x1b[31m red \xff\xfe \0 \r \a\n";
    (void)order;
    fwrite(bytes, 1, sizeof bytes - 1, stdout);
    return weir_ok();
}

static struct weir_result do_stderr(const struct order *order) {
    fprintf(stderr, "%s\n", order->text);
    return weir_ok();
}

// ---- what there is around it

static void say(const char *call, struct weir_error *err) {
    if (err->status == WEIR_OK)
        printf("%s: ok\n", call);
    else
        printf("%s: %s: %.*s\n", call, weir_status_name(err->status), WEIR_STR_ARG(err->message));
    err->status = WEIR_OK;
}

static struct weir_result do_call_host(const struct order *order) {
    (void)order;
    struct weir_error err = {0};
    struct weir_str rd = weir_open("store", &err);
    say("open", &err);
    struct weir_observable observable = weir_watch(rd, "*", &err);
    say("watch", &err);
    struct weir_events events = weir_events_get(&err);
    say("get", &err);
    if (events.handle != 0) {
        weir_events_listen(events, observable, &err);
        say("listen", &err);
        weir_events_exec(events, 1, &err);
        say("exec", &err);
        weir_events_drop(events);
    }
    return weir_ok();
}

static const char *try_open(const char *path, int flags) {
    return open(path, flags, 0600) < 0 ? strerror(errno) : "opened";
}

static struct weir_result do_look_around(const struct order *order) {
    (void)order;
    struct timespec now = {0};
    unsigned char bytes[8];
    int variables = 0;

    while (environ && environ[variables])
        variables++;
    printf("environment: %d\n", variables);
    printf("open /: %s\n", try_open("/", O_RDONLY));
    printf("open /etc/passwd: %s\n", try_open("/etc/passwd", O_RDONLY));
    printf("create x: %s\n", try_open("x", O_CREAT | O_WRONLY));
    printf("stdin: %zd\n", read(0, bytes, sizeof bytes));
    clock_gettime(CLOCK_REALTIME, &now);
    printf("realtime: %s\n", now.tv_sec > 1600000000 ? "ok" : "no");
    printf("monotonic: %s\n", clock_gettime(CLOCK_MONOTONIC, &now) == 0 ? "ok" : "no");
    printf("random: %s\n", getentropy(bytes, sizeof bytes) == 0 ? "ok" : "no");
    return weir_ok();
}

static const struct {
    const char *word;
    struct weir_result (*obey)(const struct order *order);
} words[] = {
    {"ok", do_ok},
    {"err", do_err},
    {"derive", do_derive},
    {"extend", do_extend},
    {"loop", do_loop},
    {"wait", do_wait},
    {"sleep", do_sleep},
    {"trap", do_trap},
    {"divide", do_divide},
    {"wild-read", do_wild_read},
    {"exit", do_exit},
    {"abort", do_abort},
    {"recurse", do_recurse},
    {"recurse-thin", do_recurse_thin},
    {"grow", do_grow},
    {"grow-trap", do_grow_trap},
    {"leak", do_leak},
    {"line", do_line},
    {"partial", do_partial},
    {"partial-trap", do_partial_trap},
    {"flood", do_flood},
    {"binary", do_binary},
    {"stderr", do_stderr},
    {"call-host", do_call_host},
    {"look-around", do_look_around},
};

static struct weir_result handle_event(const struct weir_event *event) {
    char *word = weir_str_c(weir_event_body(event));
    word[strcspn(word, "\n")] = '\0';
    size_t word_size = strcspn(word, " ");
    const char *text = word[word_size] == '\0' ? "" : word + word_size + 1;
    word[word_size] = '\0';
    struct order order = {.event = event, .text = text, .number = (size_t)strtoul(text, NULL, 10)};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(words[i].word, word) != 0)
            continue;
        printf("%s: begin\n", word);
        struct weir_result result = words[i].obey(&order);
        // A line that the word has left open stays so.
        if (strcmp(word, "partial") != 0)
            printf("%s: end\n", word);
        return result;
    }
    return weir_errf("\"%s\" is nothing that this guest can do", word);
}
WEIR_EVENT_HANDLER(handle_event)
