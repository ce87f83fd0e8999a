// SPDX-License-Identifier: Apache-2.0
//
// The status for people: a line a subscription, at most 80 columns where its name lets it, and
// below it what is only sometimes to be said. A name that is too long for its column has a line of
// its own, so that the numbers stay under each other.
//
// Main thread.
#include "cli/status.h"

#include "base/clock.h"
#include "base/show.h"
#include "cli/print.h"

#include <stdio.h>

// Columns; the numbers' are to the right.
enum {
    NAME_COLUMNS = 25,
    STATE_COLUMNS = 8,
    LAG_COLUMNS = -8,
    AGE_COLUMNS = -6,
    FLIGHT_COLUMNS = -7,
    RATE_COLUMNS = -9,
    RETRY_COLUMNS = -6,
    DEAD_COLUMNS = -6,
    WAITING_COLUMNS = -9,
    PUBLISHED_COLUMNS = -12,
    KIND_COLUMNS = 10,
    LINK_COLUMNS = 11,
    RECONNECTS_COLUMNS = -12,
    SHOWN_BYTES = 1024,
};

static json_int_t number(const json_t *json, const char *name) {
    return json_integer_value(json_object_get(json, name));
}

// "" where it is none.
static const char *text(const json_t *json, const char *name) {
    const char *value = json_string_value(json_object_get(json, name));
    return value ? value : "";
}

static const char *shown(const char *value, char buffer[static SHOWN_BYTES]) {
    return weir_show(weir_str_of(value), buffer, SHOWN_BYTES);
}

// A number in its column, "-" where nobody knows it.
static void cell(const json_t *json, const char *name, int width) {
    const json_t *value = json_object_get(json, name);
    if (json_is_integer(value)) {
        weir_cli_cell_number(stdout, (uint64_t)json_integer_value(value), width);
    } else {
        weir_cli_cell(stdout, "-", width);
    }
}

static void cell_age(const json_t *json, const char *name, int width) {
    char age[WEIR_AGE_BYTES];
    json_int_t ms = number(json, name);
    weir_cli_cell(stdout, ms > 0 ? weir_cli_age(ms * WEIR_NS_PER_MS, age) : "-", width);
}

static void cell_rate(const json_t *json, const char *name, int width) {
    const json_t *value = json_object_get(json, name);
    char rate[32];
    double number_of = json_number_value(value);
    snprintf(rate, sizeof rate, number_of > 0 && number_of < 100 ? "%.1f" : "%.0f", number_of);
    weir_cli_cell(stdout, json_is_number(value) ? rate : "-", width);
}

// A name in the first column, or on a line of its own.
static void cell_name(const char *name) {
    char buffer[SHOWN_BYTES];
    shown(name, buffer);
    if (weir_cli_width(buffer) < NAME_COLUMNS) {
        weir_cli_cell(stdout, buffer, NAME_COLUMNS);
    } else {
        printf("%s\n%*s", buffer, NAME_COLUMNS, "");
    }
}

static void print_detail(const char *title, const char *value) {
    char buffer[SHOWN_BYTES];
    if (value[0]) {
        printf("    %s: %s\n", title, shown(value, buffer));
    }
}

static void print_subscription(const json_t *subscription) {
    cell_name(text(subscription, "name"));
    char share[WEIR_STATE_BYTES];
    weir_cli_cell(stdout, weir_cli_state(subscription, share), STATE_COLUMNS);
    cell(subscription, "lag_events", LAG_COLUMNS);
    cell_age(subscription, "oldest_age_ms", AGE_COLUMNS);
    cell(subscription, "in_flight_events", FLIGHT_COLUMNS);
    cell_rate(subscription, "settled_per_second", RATE_COLUMNS);
    cell(subscription, "retrying_keys", RETRY_COLUMNS);
    cell(subscription, "dead_letters", DEAD_COLUMNS);
    putchar('\n');
    print_detail("cursor", text(subscription, "cursor"));
    const json_t *progress = json_object_get(subscription, "progress");
    if (json_is_object(progress)) {
        char words[WEIR_PROGRESS_BYTES];
        print_detail("under way", weir_cli_progress(progress, words));
    }
    const json_t *error = json_object_get(subscription, "last_error");
    if (json_is_object(error)) {
        char buffer[SHOWN_BYTES];
        printf("    last error, %s: %s\n", text(error, "time"),
               shown(text(error, "message"), buffer));
    }
    if (number(subscription, "guest_refused_total") > 0) {
        printf("    its guest was refused what it has no grant for: %lld times\n",
               (long long)number(subscription, "guest_refused_total"));
    }
    if (number(subscription, "dropped_total") > 0) {
        printf("    dropped: %lld\n", (long long)number(subscription, "dropped_total"));
    }
}

static void print_subscriptions(const json_t *subscriptions) {
    size_t i;
    const json_t *subscription;
    if (json_array_size(subscriptions) == 0) {
        printf("\nThere are no subscriptions.\n");
        return;
    }
    putchar('\n');
    weir_cli_cell(stdout, "SUBSCRIPTION", NAME_COLUMNS);
    weir_cli_cell(stdout, "STATE", STATE_COLUMNS);
    weir_cli_cell(stdout, "LAG", LAG_COLUMNS);
    weir_cli_cell(stdout, "AGE", AGE_COLUMNS);
    weir_cli_cell(stdout, "FLIGHT", FLIGHT_COLUMNS);
    weir_cli_cell(stdout, "RATE/S", RATE_COLUMNS);
    weir_cli_cell(stdout, "RETRY", RETRY_COLUMNS);
    weir_cli_cell(stdout, "DEAD", DEAD_COLUMNS);
    putchar('\n');
    json_array_foreach(subscriptions, i, subscription) {
        print_subscription(subscription);
    }
}

static void print_targets(const json_t *targets) {
    size_t i;
    const json_t *target;
    if (json_array_size(targets) == 0) {
        return;
    }
    putchar('\n');
    weir_cli_cell(stdout, "PUBLISHED TO", NAME_COLUMNS);
    weir_cli_cell(stdout, "WAITING", WAITING_COLUMNS);
    weir_cli_cell(stdout, "PUBLISHED", PUBLISHED_COLUMNS);
    putchar('\n');
    json_array_foreach(targets, i, target) {
        cell_name(text(target, "name"));
        cell(target, "waiting_events", WAITING_COLUMNS);
        cell(target, "published_total", PUBLISHED_COLUMNS);
        putchar('\n');
        print_detail("error", text(target, "error"));
    }
}

static void print_resource(const json_t *resource) {
    char buffer[SHOWN_BYTES];
    const json_t *is_connected = json_object_get(resource, "is_connected");
    const char *since = text(resource, "since");
    cell_name(text(resource, "name"));
    weir_cli_cell(stdout, text(resource, "kind"), KIND_COLUMNS);
    weir_cli_cell(stdout,
                  json_is_true(is_connected)    ? "connected"
                  : json_is_false(is_connected) ? "AWAY"
                                                : "-",
                  LINK_COLUMNS);
    cell(resource, "reconnects_total", RECONNECTS_COLUMNS);
    putchar('\n');
    if (json_is_false(is_connected)) {
        printf("    %s%s: %s\n", since[0] ? "since " : "never connected", since,
               shown(text(resource, "error"), buffer));
    }
}

static void print_resources(const json_t *resources) {
    size_t i;
    const json_t *resource;
    if (json_array_size(resources) == 0) {
        return;
    }
    putchar('\n');
    weir_cli_cell(stdout, "RESOURCE", NAME_COLUMNS);
    weir_cli_cell(stdout, "KIND", KIND_COLUMNS);
    weir_cli_cell(stdout, "CONNECTION", LINK_COLUMNS);
    weir_cli_cell(stdout, "RECONNECTS", RECONNECTS_COLUMNS);
    putchar('\n');
    json_array_foreach(resources, i, resource) {
        print_resource(resource);
    }
}

static void print_head(const json_t *status) {
    char buffer[SHOWN_BYTES], age[WEIR_AGE_BYTES];
    const char *dir = shown(text(status, "state_directory"), buffer);
    if (!json_is_true(json_object_get(status, "is_running"))) {
        printf("No weir runs here. What is kept in %s:\n", dir);
        return;
    }
    printf("weir %s runs with %s, process %lld, for %s\n", text(status, "version"), dir,
           (long long)number(status, "pid"),
           weir_cli_age(number(status, "uptime_ms") * WEIR_NS_PER_MS, age));
    const json_t *database = json_object_get(status, "state_database");
    if (json_is_true(json_object_get(database, "is_failing"))) {
        printf("THE STATE CANNOT BE WRITTEN since %s: %s\n", text(database, "failing_since"),
               shown(text(database, "error"), buffer));
        printf("Nothing is taken from the sources until it can.\n");
    }
}

// Dead letters of subscriptions that are not listed.
static void print_others(const json_t *status) {
    size_t i;
    const json_t *subscription;
    json_int_t left = number(status, "dead_letters");
    json_array_foreach(json_object_get(status, "subscriptions"), i, subscription) {
        left -= number(subscription, "dead_letters");
    }
    if (left > 0) {
        printf("\nDead letters of subscriptions that are gone: %lld\n", (long long)left);
    }
}

void weir_status_print(const json_t *status) {
    print_head(status);
    print_subscriptions(json_object_get(status, "subscriptions"));
    print_targets(json_object_get(status, "targets"));
    print_resources(json_object_get(status, "resources"));
    print_others(status);
}
