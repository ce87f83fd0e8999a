// SPDX-License-Identifier: Apache-2.0
//
// `weir dlq ls` and `weir dlq show`: dead letters for people, or as JSON, a line each. Main thread.
#include "cli/dlq.h"

#include "base/clock.h"
#include "base/show.h"
#include "cli/print.h"
#include "cli/state_dir.h"
#include "control/control.h"
#include "event/json.h"

#include <stdio.h>
#include <stdlib.h>

// Columns; a letter is a line of 80 at most.
enum {
    ID_COLUMNS = -6,
    AGE_COLUMNS = -6,
    TRIES_COLUMNS = -6,
    SUBSCRIPTION_COLUMNS = 20,
    SUBJECT_COLUMNS = 16,
    REASON_COLUMNS = 20,
};
enum {
    TEXT_BYTES_MAX = 16 * 1024, // of one text in JSON
    SHOWN_BYTES = 8 * 1024,
};

struct printing {
    const struct weir_dlq *dlq;
    bool is_whole; // everything of a letter
    size_t printed;
    struct weir_error err; // status WEIR_OK: none
};

// ---- JSON ----

static json_t *text_or_null(struct weir_str text) {
    return text.size > 0 ? weir_control_text(text, TEXT_BYTES_MAX) : json_null();
}

static json_t *event_json(const struct weir_event *event) {
    char *text = NULL;
    struct weir_error err;
    if (weir_event_to_json(&event->fields, &text, &err) != WEIR_OK) {
        return json_pack("{s:s}", "error", err.message);
    }
    json_t *json = json_loads(text, JSON_ALLOW_NUL, NULL);
    free(text);
    return json;
}

static weir_status print_json(const struct printing *printing,
                              const struct weir_dead_letter *letter, struct weir_error *err) {
    const struct weir_event_fields *fields = &letter->event->fields;
    json_t *json =
        json_pack("{s:I, s:o, s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:o}",                    //
                  "id", (json_int_t)letter->id,                                            //
                  "time", weir_cli_json_time(letter->wall_ns),                             //
                  "subscription", weir_control_text(letter->subscription, TEXT_BYTES_MAX), //
                  "target", text_or_null(letter->target),                                  //
                  "attempts", (json_int_t)letter->attempts,                                //
                  "reason", weir_control_text(letter->reason, TEXT_BYTES_MAX),             //
                  "guest_hash", text_or_null(letter->guest_hash),                          //
                  "event_id", weir_control_text(fields->id, TEXT_BYTES_MAX),               //
                  "subject", text_or_null(fields->subject.value),                          //
                  "type", weir_control_text(fields->ty, TEXT_BYTES_MAX));
    if (json && printing->is_whole &&
        (json_object_set_new(json, "output", weir_control_text(letter->output, TEXT_BYTES_MAX)) !=
             0 ||
         json_object_set_new(json, "event", event_json(letter->event)) != 0)) {
        json_decref(json);
        json = NULL;
    }
    return weir_cli_json(stdout, json, err);
}

// ---- for people ----

static void print_line(const struct weir_dead_letter *letter) {
    const struct weir_event_fields *fields = &letter->event->fields;
    char age[WEIR_AGE_BYTES], reason[WEIR_CELL_BYTES];
    weir_cli_cell_number(stdout, letter->id, ID_COLUMNS);
    weir_cli_cell(stdout, weir_cli_age(weir_clock_wall_ns() - letter->wall_ns, age), AGE_COLUMNS);
    weir_cli_cell_number(stdout, letter->attempts, TRIES_COLUMNS);
    printf("  ");
    weir_cli_cell_shown(stdout, letter->subscription, SUBSCRIPTION_COLUMNS);
    printf("  ");
    weir_cli_cell_shown(stdout, fields->subject.is_some ? fields->subject.value : fields->id,
                        SUBJECT_COLUMNS);
    printf("  ");
    printf("%s\n", weir_cli_shown(letter->reason, REASON_COLUMNS, reason));
}

static void print_head(void) {
    weir_cli_cell(stdout, "ID", ID_COLUMNS);
    weir_cli_cell(stdout, "AGE", AGE_COLUMNS);
    weir_cli_cell(stdout, "TRIES", TRIES_COLUMNS);
    printf("  ");
    weir_cli_cell(stdout, "SUBSCRIPTION", SUBSCRIPTION_COLUMNS);
    printf("  ");
    weir_cli_cell(stdout, "SUBJECT", SUBJECT_COLUMNS);
    printf("  REASON\n");
}

static void print_field(const char *name, struct weir_str value) {
    char shown[SHOWN_BYTES];
    if (value.size > 0) {
        printf("  %-14s%s\n", name, weir_show(value, shown, sizeof shown));
    }
}

static void print_output(struct weir_str output) {
    char shown[SHOWN_BYTES];
    if (output.size > 0) {
        printf("  output, its end:\n");
    }
    while (output.size > 0) {
        const char *end = memchr(output.data, '\n', output.size);
        size_t size = end ? (size_t)(end - output.data) : output.size;
        printf("    %s\n", weir_show((struct weir_str){.data = output.data, .size = size}, shown,
                                     sizeof shown));
        size += end ? 1 : 0;
        output.data += size;
        output.size -= size;
    }
}

// An event that is not UTF-8 where it should be is told so, and no reason to stop.
static weir_status print_event(const struct weir_event *event, struct weir_error *err) {
    char *text = NULL;
    struct weir_error cause;
    weir_status status = weir_event_to_json(&event->fields, &text, &cause);
    if (status == WEIR_NO_MEMORY) {
        return weir_fail_no_memory(err, "the event");
    }
    printf("  event:\n    %s\n", status == WEIR_OK ? text : cause.message);
    free(text);
    return WEIR_OK;
}

static weir_status print_whole(const struct weir_dead_letter *letter, struct weir_error *err) {
    char time[WEIR_TIME_BYTES], number[24];
    weir_time_format(letter->wall_ns, time);
    printf("dead letter %llu\n", (unsigned long long)letter->id);
    print_field("subscription", letter->subscription);
    print_field("to", letter->target);
    print_field("given up", weir_str_of(time));
    snprintf(number, sizeof number, "%u", letter->attempts);
    print_field("attempts", weir_str_of(number));
    print_field("reason", letter->reason);
    print_field("guest", letter->guest_hash);
    print_output(letter->output);
    return print_event(letter->event, err);
}

static bool print_letter(void *context, const struct weir_dead_letter *letter) {
    struct printing *printing = context;
    weir_status status = WEIR_OK;
    if (printing->dlq->is_json) {
        status = print_json(printing, letter, &printing->err);
    } else if (printing->is_whole) {
        fputs(printing->printed > 0 ? "\n" : "", stdout);
        status = print_whole(letter, &printing->err);
    } else {
        if (printing->printed == 0) {
            print_head();
        }
        print_line(letter);
    }
    printing->printed++;
    return status == WEIR_OK && !ferror(stdout); // main tells of standard output
}

// ---- the actions ----

static int print_all(const struct weir_dlq *dlq, bool is_whole) {
    struct printing printing = {.dlq = dlq, .is_whole = is_whole};
    struct weir_dlq_cursor cursor = {0};
    weir_status status = WEIR_OK;
    struct weir_error err = {0};
    while (status == WEIR_OK && !cursor.is_over && printing.err.status == WEIR_OK) {
        status = weir_dlq_page(dlq, &cursor, print_letter, &printing, &err);
    }
    if (printing.err.status == WEIR_NO_MEMORY) {
        return weir_cli_failed(dlq->cli, "dlq %s: %s", dlq->action, printing.err.message);
    }
    if (status != WEIR_OK) {
        return weir_cli_state_failed(dlq->cli, "dlq", &err);
    }
    if (printing.printed == 0 && !dlq->is_json && cursor.missing == 0) {
        printf("There are no dead letters%s.\n", dlq->subscription ? " of this subscription" : "");
    }
    return cursor.missing > 0 ? WEIR_EXIT_FAILED : WEIR_EXIT_DONE;
}

int weir_dlq_ls(const struct weir_dlq *dlq) {
    return print_all(dlq, false);
}

int weir_dlq_show(const struct weir_dlq *dlq) {
    return print_all(dlq, true);
}
