// SPDX-License-Identifier: Apache-2.0
//
// Prints one line for each event, of attributes between tabs, and returns an event that follows
// from it: the same subject and data, or, of a deletion, "gone ID". The crash harness reads the
// lines and compares them with what was written. A body with the word "fail-once" fails at the
// first attempt, one with "slow" takes a while, what follows from one with "no-subject" has no
// subject.
//
// Proves: every event is handed over, in order and whole, whenever weir was killed.
#include <stdio.h>
#include <time.h>
#include <weir.h>

enum { SLOW_NS = 20000000, LINE_BYTES = 3500 };

// The line grows here, so that it is one write.
static char line[LINE_BYTES];
static size_t used;

static void put(struct weir_str text) {
    for (size_t i = 0; i < text.size && used + 2 < sizeof line; i++) {
        char byte = text.data[i];
        // What separates attributes, and lines, stays out of values.
        line[used++] = byte == '\n' ? '|' : byte == '\t' ? ' ' : byte;
    }
}

static void put_attribute(const char *mark, struct weir_str name, struct weir_str value) {
    if (used + 2 < sizeof line)
        line[used++] = '\t';
    put(weir_str_of(mark));
    put(name);
    put(WEIR_STR("="));
    put(value);
}

static void put_optional(struct weir_str name, struct weir_optional_str value) {
    if (value.is_some)
        put_attribute("", name, value.value);
}

static bool has_word(struct weir_str body, const char *word) {
    return strstr(weir_str_c(body), word) != NULL;
}

static void trace(const struct weir_event *event, const char *outcome) {
    struct timespec now = {0};

    clock_gettime(CLOCK_REALTIME, &now);
    used = 0;
    put(weir_str_of(outcome));
    put_attribute("", WEIR_STR("id"), event->id);
    put_attribute("", WEIR_STR("type"), event->ty);
    put_attribute("", WEIR_STR("source"), event->source);
    put_optional(WEIR_STR("subject"), event->subject);
    put_optional(WEIR_STR("time"), event->time);
    put_optional(WEIR_STR("datacontenttype"), event->datacontenttype);
    for (size_t i = 0; i < event->extensions.count; i++)
        put_attribute("+", event->extensions.items[i].name, event->extensions.items[i].value);
    put_attribute("", WEIR_STR("at"),
                  weir_format("%lld.%09ld", (long long)now.tv_sec, now.tv_nsec));
    if (event->data.is_some)
        put_attribute("", WEIR_STR("data"), event->data.value.bytes);
    line[used++] = '\n';
    fwrite(line, 1, used, stdout);
}

static struct weir_result handle(const struct weir_event *event) {
    struct weir_str body = weir_event_body(event);

    if (has_word(body, "fail-once") && !weir_event_extension(event, "attempt").is_some) {
        trace(event, "failed");
        return weir_err("it fails once");
    }
    trace(event, "handled");
    if (has_word(body, "slow")) {
        struct timespec pause = {.tv_nsec = SLOW_NS};
        nanosleep(&pause, NULL);
    }
    return weir_ok();
}

static struct weir_result on_last(const struct weir_event *event) {
    return handle(event);
}
WEIR_HANDLER("on-last", on_last)

static struct weir_result handle_event(const struct weir_event *event) {
    struct weir_result result = handle(event);

    if (result.is_err)
        return result;
    struct weir_event next = {
        .specversion = WEIR_STR("1.0"),
        .ty = WEIR_STR("dev.weir.test.copied"),
        .source = WEIR_STR("/trace"),
        .id = weir_format("%.*s", WEIR_STR_ARG(event->id)),
        .subject = event->subject,
        .data = event->data,
    };
    if (!event->data.is_some)
        next.data = weir_text(weir_format("gone %.*s", WEIR_STR_ARG(event->id)));
    if (has_word(weir_event_body(event), "no-subject"))
        next.subject = (struct weir_optional_str){.is_some = false};
    return weir_ok_event(&next);
}
WEIR_EVENT_HANDLER(handle_event)
