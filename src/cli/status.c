// SPDX-License-Identifier: Apache-2.0
//
// `weir status`: what becomes of the events, subscription by subscription. A weir that runs is
// asked through its socket; where none runs, the same object is made from what the database keeps,
// with null for what only a running weir knows. How many dead letters there are is the database's
// to say in both cases: a weir counts those of its own time only.
//
// Main thread.
#include "cli/status.h"

#include "base/clock.h"
#include "cli/command.h"
#include "cli/print.h"
#include "cli/state_dir.h"
#include "control/control.h"
#include "state/state.h"

#include <stdio.h>
#include <stdlib.h>

enum { TEXT_BYTES_MAX = 4096 }; // of keys and cursors; as in the answers of a weir that runs

struct arguments {
    struct weir_cli_place place;
    bool is_json;
};

// ---- from the database ----

// What is counted by subscription.
struct counting {
    json_t *by_name; // name to number
    uint64_t in_all;
    bool has_failed; // no memory
};

static void count(struct counting *counting, struct weir_str name) {
    json_t *key = weir_control_text(name, TEXT_BYTES_MAX);
    const char *text = json_string_value(key);
    json_int_t before = text ? json_integer_value(json_object_get(counting->by_name, text)) : 0;
    if (!text ||
        json_object_set_new_nocheck(counting->by_name, text, json_integer(before + 1)) != 0) {
        counting->has_failed = true;
    }
    json_decref(key);
    counting->in_all++;
}

static bool count_letter(void *context, const struct weir_dead_letter *letter) {
    count(context, letter->subscription);
    return true;
}

static bool count_out(void *context, const struct weir_outbox_entry *entry) {
    count(context, entry->subscription);
    return true;
}

static bool count_target(void *context, const struct weir_outbox_entry *entry) {
    count(context, entry->target);
    return true;
}

static json_t *text_or_null(struct weir_str text) {
    return text.size > 0 ? weir_control_text(text, TEXT_BYTES_MAX) : json_null();
}

// What only a weir that runs can tell of a subscription: null, so that the names are always there.
static bool set_unknown(json_t *subscription) {
    static const char *const names[] = {
        "resource_kind",
        "guest",
        "handler",
        "to",
        "queued_events",
        "queued_bytes",
        "in_flight_events",
        "oldest_age_ms",
        "retrying_keys",
        "settled_per_second",
        "received_total",
        "repeated_total",
        "delivered_total",
        "handled_total",
        "failed_attempts_total",
        "retried_total",
        "cut_total",
        "trapped_total",
        "dead_total",
        "dropped_total",
        "derived_total",
        "last_error",
        "progress",
        "guest_refused_total",
    };
    bool is_set = subscription != NULL;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && is_set; i++) {
        is_set = json_object_set_new(subscription, names[i], json_null()) == 0;
    }
    return is_set;
}

struct listing {
    json_t *array;
    bool has_failed; // no memory
};

// A subscription as the database knows it: the names of control/status.c.
static bool add_record(void *context, const struct weir_subscription_record *record) {
    json_t *json = json_pack(
        "{s:o, s:o, s:o, s:s, s:o, s:I, s:I, s:I}", "name",
        weir_control_text(record->name, TEXT_BYTES_MAX), "resource", text_or_null(record->resource),
        "key", text_or_null(record->pattern), "state", "kept", "cursor",
        text_or_null(record->cursor), "lag_events", (json_int_t)record->row_count, "behind_events",
        (json_int_t)record->row_count, "next_seq", (json_int_t)record->next_seq);
    if (!set_unknown(json)) {
        json_decref(json);
        json = NULL;
    }
    struct listing *listing = context;
    listing->has_failed = json_array_append_new(listing->array, json) != 0;
    return !listing->has_failed;
}

static json_t *targets_of(const struct counting *counting) {
    json_t *targets = json_array(), *waiting;
    const char *name;
    json_object_foreach(counting->by_name, name, waiting) {
        if (json_array_append_new(targets, json_pack("{s:s, s:n, s:O, s:n, s:n}", "name", name,
                                                     "kind", "waiting_events", waiting,
                                                     "published_total", "error")) != 0) {
            json_decref(targets);
            return NULL;
        }
    }
    return targets;
}

// The whole status of a weir that does not run.
static weir_status status_of_kept(struct weir_state *state, json_t **ret_json,
                                  struct weir_error *err) {
    struct counting targets = {.by_name = json_object()};
    struct listing subscriptions = {.array = json_array()};
    weir_status status =
        weir_state_store.load_subscriptions(state, add_record, &subscriptions, err);
    if (status == WEIR_OK) {
        status = weir_state_store.load_outbox(state, 0, SIZE_MAX, count_target, &targets, err);
    }
    *ret_json =
        status == WEIR_OK && !targets.has_failed && !subscriptions.has_failed
            ? json_pack("{s:b, s:n, s:n, s:n, s:n, s:n, s:O, s:o, s:[], s:[]}", "is_running", 0,
                        "pid", "version", "uptime_ms", "state_database", "queue", "subscriptions",
                        subscriptions.array, "targets", targets_of(&targets), "resources", "guests")
            : NULL;
    json_decref(subscriptions.array);
    json_decref(targets.by_name);
    return status == WEIR_OK && !*ret_json ? weir_fail_no_memory(err, "the status") : status;
}

// ---- what both have ----

// Gives each subscription its number, 0 where there is none.
static bool distribute(json_t *json, const char *member, const struct counting *counting) {
    size_t i;
    json_t *subscription;
    json_array_foreach(json_object_get(json, "subscriptions"), i, subscription) {
        const char *name = json_string_value(json_object_get(subscription, "name"));
        json_t *number = name ? json_object_get(counting->by_name, name) : NULL;
        if (json_object_set_new(subscription, member, json_integer(json_integer_value(number))) !=
            0) {
            return false;
        }
    }
    return true;
}

// Adds what the database knows of dead letters and of what waits to be published.
static weir_status add_counts(struct weir_state *state, json_t *json, struct weir_error *err) {
    struct counting dead = {.by_name = json_object()}, outbox = {.by_name = json_object()};
    weir_status status = weir_state_store.load_dead(state, 0, SIZE_MAX, count_letter, &dead, err);
    if (status == WEIR_OK) {
        status = weir_state_store.load_outbox(state, 0, SIZE_MAX, count_out, &outbox, err);
    }
    if (status == WEIR_OK &&
        (dead.has_failed || outbox.has_failed || !distribute(json, "dead_letters", &dead) ||
         !distribute(json, "outbox_events", &outbox) ||
         json_object_set_new(json, "dead_letters", json_integer((json_int_t)dead.in_all)) != 0 ||
         json_object_set_new(json, "outbox_events", json_integer((json_int_t)outbox.in_all)) !=
             0)) {
        status = weir_fail_no_memory(err, "the status");
    }
    json_decref(dead.by_name);
    json_decref(outbox.by_name);
    return status;
}

// Of a weir that runs: a database that cannot be read is a part of its status, not the end of it.
static int complete_running(const struct weir_cli *cli, const char *dir, json_t *json) {
    struct weir_state *state = NULL;
    struct weir_error err = {0};
    weir_status status = weir_state_read(dir, &state, &err);
    status = status == WEIR_OK ? add_counts(state, json, &err) : status;
    weir_state_close(state);
    if (status != WEIR_OK) {
        weir_log(cli->log, WEIR_LOG_WARN, "the dead letters cannot be counted",
                 {"reason", weir_str_of(err.message)});
    }
    return json_object_set_new(json, "is_running", json_true()) == 0
               ? WEIR_EXIT_DONE
               : weir_cli_failed(cli, "status: no memory");
}

static int get_kept(const struct weir_cli *cli, const char *dir, json_t **ret_json) {
    struct weir_state *state = NULL;
    struct weir_error err = {0};
    int exit_status = weir_cli_state_read(cli, "status", dir, &state);
    if (exit_status != WEIR_EXIT_DONE) {
        return exit_status;
    }
    weir_status status = status_of_kept(state, ret_json, &err);
    status = status == WEIR_OK ? add_counts(state, *ret_json, &err) : status;
    weir_state_close(state);
    return status == WEIR_OK ? WEIR_EXIT_DONE : weir_cli_state_failed(cli, "status", &err);
}

// The status of whatever is there, in `ret_json`, which is to be freed in each case.
static int get(const struct weir_cli *cli, const char *dir, json_t **ret_json) {
    struct weir_control_link *link = NULL;
    struct weir_error err = {0};
    weir_status status = weir_control_open(dir, &link, &err);
    if (!link && (status == WEIR_UNAVAILABLE || status == WEIR_NOT_FOUND)) {
        return get_kept(cli, dir, ret_json);
    }
    status = status == WEIR_OK
                 ? weir_control_ask(link, json_pack("{s:s}", "command", "status"), ret_json, &err)
                 : status;
    weir_control_close(link);
    return status == WEIR_OK ? complete_running(cli, dir, *ret_json)
                             : weir_cli_failed(cli, "status: %s", err.message);
}

// ---- the command ----

static int parse(const struct weir_cli *cli, int argc, char **argv, struct arguments *ret) {
    static const struct option options[] = {
        {"state", required_argument, NULL, 's'}, {"json", no_argument, NULL, 'j'}, {0}};
    *ret = (struct arguments){0};
    optind = 0; // getopt starts anew
    for (int code; (code = weir_cli_option(cli, argc, argv, ":s:j", options)) != -1;) {
        if (code == '?') {
            return WEIR_EXIT_MISTAKE;
        }
        ret->is_json = ret->is_json || code == 'j';
        ret->place.state = code == 's' ? optarg : ret->place.state;
    }
    if (argc - optind > 1) {
        return weir_cli_mistake(cli, argv[0], "status wants one configuration at most");
    }
    ret->place.file = argv[optind];
    return WEIR_EXIT_DONE;
}

static int print(const struct weir_cli *cli, const char *dir, bool is_json, json_t *json) {
    struct weir_error err;
    if (json_object_set_new(json, "state_directory",
                            weir_control_text(weir_str_of(dir), TEXT_BYTES_MAX)) != 0) {
        return weir_cli_failed(cli, "status: no memory");
    }
    if (!is_json) {
        weir_status_print(json);
        return WEIR_EXIT_DONE;
    }
    return weir_cli_json(stdout, json_incref(json), &err) == WEIR_OK
               ? WEIR_EXIT_DONE
               : weir_cli_failed(cli, "status: %s", err.message);
}

int weir_command_status(const struct weir_cli *cli, int argc, char **argv) {
    struct arguments arguments;
    char *dir = NULL;
    json_t *json = NULL;
    int exit_status = parse(cli, argc, argv, &arguments);
    if (exit_status == WEIR_EXIT_DONE) {
        exit_status = weir_cli_state_dir(cli, "status", &arguments.place, &dir);
    }
    if (exit_status == WEIR_EXIT_DONE) {
        exit_status = get(cli, dir, &json);
    }
    if (exit_status == WEIR_EXIT_DONE) {
        exit_status = print(cli, dir, arguments.is_json, json);
    }
    json_decref(json);
    free(dir);
    return exit_status;
}
