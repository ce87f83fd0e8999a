// SPDX-License-Identifier: Apache-2.0
//
// `weir check`: everything that can be known about a configuration without running it. Mistakes of
// the file come from its reader; what the guests' files and the resources say is added here, and
// all of it is told at once, in the order of the file. Guests are compiled, never instantiated: not
// even a start function runs. Nothing is made or changed. With --connect, resources that are
// elsewhere are tried as well: what the server does not allow is told with what mends it.
//
// Main thread.
#include "cli/command.h"

#include "base/show.h"
#include "cli/program.h"
#include "guest/engine.h"
#include "guest/guest.h"
#include "provider/provider.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { KEY_BYTES = WEIR_NAME_BYTES_MAX + 64 }; // of a key path: "guests.NAME.wasm"

struct check {
    const struct weir_cli *cli;
    struct weir_config config;
    struct weir_problems problems;
    struct weir_engine *engine;
    struct weir_program_host output;  // of guests, none of which is called
    struct weir_guest **guests;       // as config.guests; NULL: it cannot be loaded
    struct weir_resource **resources; // as config.resources; NULL: it cannot be opened
    bool connects;
    bool *are_missing; // as config.resources: it is not there yet, and weir run makes it
};

// ---- looking ----

static void check_guest(struct check *check, size_t i) {
    const struct weir_guest_config *config = &check->config.guests[i];
    static const struct weir_program_host output = {.fd = STDOUT_FILENO};
    struct weir_error err;
    char key[KEY_BYTES];
    if (weir_program_guest(check->engine, &check->config, config, &output, &check->guests[i],
                           &err) != WEIR_OK) {
        check->guests[i] = NULL;
        snprintf(key, sizeof key, "guests.%s.wasm", config->name);
        weir_problems_add(&check->problems, config->place, key, "%s", err.message);
        return;
    }
    if (config->run && !weir_guest_has_main(check->guests[i])) {
        snprintf(key, sizeof key, "guests.%s.run", config->name);
        weir_problems_add(&check->problems, config->place, key,
                          "%s has no main; export run or _start, or write run: false",
                          config->wasm);
    }
}

static bool makes_itself(const struct weir_resource_config *config) {
    const struct weir_option *create =
        weir_option_find(&config->provider->options, WEIR_STR("create"));
    char value[8];
    return create && create->type == WEIR_OPTION_BOOL &&
           strcmp(weir_option_format(create, config->options, value, sizeof value), "true") == 0;
}

// Whether the resource is a path at which there is something, though perhaps not what is wanted.
static bool is_something(const struct weir_resource_config *config) {
    const struct weir_option *first = &config->provider->options.rows[0];
    if (first->type != WEIR_OPTION_PATH) {
        return false;
    }
    const char *path =
        *(char *const *)(const void *)((const char *)config->options + first->offset);
    return path && access(path, F_OK) == 0;
}

// are_missing[i] says whether it may be missing; afterwards, whether it is.
static void check_resource(struct check *check, size_t i) {
    const struct weir_resource_config *config = &check->config.resources[i];
    struct weir_error err;
    weir_status status = weir_program_resource(config, check->cli->log, &check->resources[i], &err);
    check->are_missing[i] =
        check->are_missing[i] && status == WEIR_NOT_FOUND && !is_something(config);
    if (status != WEIR_OK) {
        check->resources[i] = NULL;
    }
    if (status != WEIR_OK && !check->are_missing[i]) {
        char key[KEY_BYTES];
        snprintf(key, sizeof key, "resources.%s", config->name);
        weir_problems_add(&check->problems, config->place, key, "%s", err.message);
    }
}

// The guest or resource that a subscription names; NULL where it is not there, or could not be
// loaded or opened.
static struct weir_guest *guest_of(const struct check *check,
                                   const struct weir_subscription_config *subscription) {
    const struct weir_guest_config *config =
        weir_config_guest(&check->config, weir_str_of(subscription->guest));
    return config ? check->guests[config - check->config.guests] : NULL;
}

static struct weir_resource *resource_of(const struct check *check,
                                         const struct weir_subscription_config *subscription) {
    const struct weir_resource_config *config =
        weir_config_resource(&check->config, weir_str_of(subscription->resource));
    return config ? check->resources[config - check->config.resources] : NULL;
}

// What the watch of a subscription promises; WEIR_NOT_FOUND where its resource is not open.
static weir_status promise_of(const struct check *check,
                              const struct weir_subscription_config *subscription,
                              struct weir_promise *ret_promise, struct weir_error *err) {
    struct weir_resource *resource = resource_of(check, subscription);
    if (!resource) {
        return weir_fail(err, WEIR_NOT_FOUND, "the resource is not open");
    }
    struct weir_pattern pattern = weir_pattern_of(weir_str_of(subscription->key));
    return resource->provider->promise(resource, &pattern, ret_promise, err);
}

static void check_subscription(struct check *check, size_t i) {
    const struct weir_subscription_config *subscription = &check->config.subscriptions[i];
    struct weir_guest *guest = guest_of(check, subscription);
    struct weir_error err;
    char key[KEY_BYTES];
    uint32_t handler;
    if (guest && weir_guest_handler_find(guest, weir_str_of(subscription->handler), &handler,
                                         &err) != WEIR_OK) {
        snprintf(key, sizeof key, "subscriptions[%zu].handler", i);
        weir_problems_add(&check->problems, subscription->place, key, "%s", err.message);
    }
    struct weir_promise promise;
    weir_status status = promise_of(check, subscription, &promise, &err);
    if (status != WEIR_OK && status != WEIR_NOT_FOUND) {
        snprintf(key, sizeof key, "subscriptions[%zu].key", i);
        weir_problems_add(&check->problems, subscription->place, key, "%s", err.message);
    }
}

static void check_resources(struct check *check) {
    struct weir_config *config = &check->config;
    for (size_t i = 0; i < config->resource_count; i++) {
        check->are_missing[i] = makes_itself(&config->resources[i]);
    }
    weir_cli_forbid_create(config, true);
    for (size_t i = 0; i < config->resource_count; i++) {
        check_resource(check, i);
    }
}

// Looks at what the configuration names. Where its reader found mistakes, resources are left alone:
// their options may not be what was meant. WEIR_OK also where problems were added.
static weir_status look(struct check *check, struct weir_error *err) {
    struct weir_config *config = &check->config;
    bool is_read = check->problems.count == 0;
    check->guests = calloc(config->guest_count + 1, sizeof(struct weir_guest *));
    check->resources = calloc(config->resource_count + 1, sizeof(struct weir_resource *));
    check->are_missing = calloc(config->resource_count + 1, sizeof(bool));
    if (!check->guests || !check->resources || !check->are_missing) {
        return weir_fail_no_memory(err, "the check");
    }
    if (config->guest_count > 0) {
        weir_status status = weir_program_engine(config, check->cli->live, &check->engine, err);
        if (status != WEIR_OK) {
            return status;
        }
    }
    if (is_read) {
        check_resources(check);
    }
    for (size_t i = 0; i < config->guest_count; i++) {
        if (config->guests[i].wasm) {
            check_guest(check, i);
        }
    }
    for (size_t i = 0; i < config->subscription_count; i++) {
        check_subscription(check, i);
    }
    weir_problems_sort(&check->problems);
    return WEIR_OK;
}

static void finish(struct check *check) {
    for (size_t i = 0; check->guests && i < check->config.guest_count; i++) {
        weir_guest_unref(check->guests[i]);
    }
    for (size_t i = 0; check->resources && i < check->config.resource_count; i++) {
        check->config.resources[i].provider->close(check->resources[i]);
    }
    free(check->guests);
    free(check->resources);
    free(check->are_missing);
    weir_engine_destroy(check->engine);
    weir_problems_finish(&check->problems);
    weir_config_finish(&check->config);
}

// ---- telling ----

static bool is_called(const struct check *check, const struct weir_guest_config *guest) {
    bool is_subscribed = false;
    for (size_t i = 0; i < check->config.subscription_count && !is_subscribed; i++) {
        is_subscribed = strcmp(check->config.subscriptions[i].guest, guest->name) == 0;
    }
    return guest->run || is_subscribed;
}

static void print_resources(const struct check *check) {
    printf("resources:\n");
    for (size_t i = 0; i < check->config.resource_count; i++) {
        const struct weir_resource_config *resource = &check->config.resources[i];
        char value[256], shown[256];
        const struct weir_option *first = &resource->provider->options.rows[0];
        weir_option_format(first, resource->options, value, sizeof value);
        printf("  %s: %s, %s %s%s\n", resource->name, resource->provider->kind, first->name,
               weir_show(weir_str_of(value), shown, sizeof shown),
               check->are_missing[i] ? " (not there yet; weir run makes it)" : "");
    }
}

// "store", or "store (get, list \"orders/*\")".
static void print_grant(const struct weir_grant *grant, bool is_first) {
    char shown[WEIR_SHOW_BYTES];
    const char *joint = "";
    printf("%s %s", is_first ? "" : ",", grant->resource);
    if (grant->verbs == WEIR_VERBS_ALL && !grant->keys) {
        return;
    }
    printf(" (");
    for (uint32_t verb = 1; verb <= WEIR_VERBS_ALL; verb <<= 1) {
        if (grant->verbs & verb) {
            printf("%s%s", joint, weir_verb_name(verb));
            joint = ", ";
        }
    }
    if (grant->keys) {
        printf(" \"%s\"", weir_show(weir_str_of(grant->keys), shown, sizeof shown));
    }
    printf(")");
}

static void print_guests(const struct check *check) {
    printf("guests:\n");
    for (size_t i = 0; i < check->config.guest_count; i++) {
        const struct weir_guest_config *config = &check->config.guests[i];
        const struct weir_guest *guest = check->guests[i];
        char shown[256];
        const char *reason;
        bool is_core = weir_guest_lane(guest, &reason) == WEIR_GUEST_LANE_CORE;
        printf("  %s: %s, %s lane, instance %s%s\n", config->name,
               weir_show(weir_str_of(config->wasm), shown, sizeof shown),
               is_core ? "core" : "component",
               config->instance == WEIR_INSTANCE_REUSE ? "reuse" : "fresh",
               config->run                ? ", main is run"
               : is_called(check, config) ? ""
                                          : " (nothing calls it: no subscription, no run: true)");
        printf("    handlers:");
        for (uint32_t h = 0; h < weir_guest_handler_count(guest); h++) {
            weir_show(weir_str_of(weir_guest_handler_name(guest, h)), shown, sizeof shown);
            printf("%s %s", h ? "," : "", shown);
        }
        printf("%s\n    grants:", weir_guest_handler_count(guest) ? "" : " none");
        for (size_t g = 0; g < config->grant_count; g++) {
            print_grant(&config->grants[g], g == 0);
        }
        printf("%s\n", config->grant_count ? "" : " none");
    }
}

// The handler that is meant, which is another one where a guest has no handle-event.
static const char *handler_of(const struct check *check,
                              const struct weir_subscription_config *subscription) {
    const struct weir_guest_config *config =
        weir_config_guest(&check->config, weir_str_of(subscription->guest));
    const struct weir_guest *guest = check->guests[config - check->config.guests];
    uint32_t handler;
    return weir_guest_handler_find(guest, weir_str_of(subscription->handler), &handler, NULL) ==
                   WEIR_OK
               ? weir_guest_handler_name(guest, handler)
               : subscription->handler;
}

static void print_subscriptions(const struct check *check) {
    printf("subscriptions:\n");
    for (size_t i = 0; i < check->config.subscription_count; i++) {
        const struct weir_subscription_config *subscription = &check->config.subscriptions[i];
        struct weir_promise promise;
        char shown[WEIR_SHOW_BYTES];
        bool is_open = promise_of(check, subscription, &promise, NULL) == WEIR_OK;
        printf("  %s%s%s %s -> %s.%s, %s\n", subscription->name ? subscription->name : "",
               subscription->name ? ": " : "", subscription->resource,
               weir_show(weir_str_of(subscription->key), shown, sizeof shown), subscription->guest,
               handler_of(check, subscription),
               is_open ? weir_strength_name(promise.strength)
                       : "strength known when the resource is there");
    }
}

// ---- connecting ----

// The keys that subscriptions watch of a resource.
static size_t patterns_of(const struct check *check, const struct weir_resource *resource,
                          struct weir_pattern *ret_patterns) {
    size_t count = 0;
    for (size_t i = 0; i < check->config.subscription_count; i++) {
        const struct weir_subscription_config *subscription = &check->config.subscriptions[i];
        if (strcmp(subscription->resource, resource->name) == 0) {
            ret_patterns[count++] = weir_pattern_of(weir_str_of(subscription->key));
        }
    }
    return count;
}

struct told {
    size_t findings, mistakes;
};

static void tell_finding(void *context, const struct weir_finding *finding) {
    struct told *told = context;
    char shown[WEIR_ERROR_MESSAGE_BYTES];
    told->findings++;
    told->mistakes += finding->is_mistake;
    printf("    %s: %s\n",
           finding->is_mistake ? "missing"
           : finding->remedy   ? "note"
                               : "good",
           weir_show(weir_str_of(finding->what), shown, sizeof shown));
    if (finding->remedy) {
        printf("      mend it: %s\n", weir_show(weir_str_of(finding->remedy), shown, sizeof shown));
    }
}

// Tries one; returns how many mistakes there are.
static size_t connect_to(const struct check *check, struct weir_resource *resource) {
    struct weir_error err = {0};
    char shown[WEIR_ERROR_MESSAGE_BYTES];
    struct told told = {0};
    const struct weir_findings findings = {.tell = tell_finding, .context = &told};
    struct weir_pattern *patterns = calloc(check->config.subscription_count + 1, sizeof *patterns);
    if (!patterns) {
        printf("    no memory\n");
        return 1;
    }
    printf("  %s:\n", resource->name);
    fflush(stdout); // it may take a while
    size_t count = patterns_of(check, resource, patterns);
    weir_status status = resource->provider->examine(resource, patterns, count, &findings, &err);
    free(patterns);
    if (status != WEIR_OK) {
        printf("    failed: %s\n", weir_show(weir_str_of(err.message), shown, sizeof shown));
        return told.mistakes + 1;
    }
    if (told.findings == 0) {
        printf("    good: it has all that is wanted of it\n");
    }
    return told.mistakes;
}

// Tries each resource that is elsewhere. Returns how many mistakes there are.
static size_t connect_to_all(const struct check *check) {
    size_t mistakes = 0, tried = 0;
    for (size_t i = 0; i < check->config.resource_count; i++) {
        struct weir_resource *resource = check->resources[i];
        if (!resource || !resource->provider->examine) {
            continue;
        }
        if (tried++ == 0) {
            printf("connections:\n");
        }
        mistakes += connect_to(check, resource);
    }
    if (tried == 0) {
        printf("connections: no resource is elsewhere\n");
    }
    return mistakes;
}

static int check_file(struct check *check, const char *path) {
    struct weir_error err = {0};
    weir_status status = weir_config_read(path, &check->config, &check->problems, &err);
    if (status != WEIR_OK && check->problems.count == 0) {
        weir_cli_failed(check->cli, "check: %s", err.message);
        return weir_cli_exit_of(status);
    }
    if (look(check, &err) != WEIR_OK) {
        return weir_cli_failed(check->cli, "check: %s", err.message);
    }
    if (check->problems.count > 0) {
        weir_cli_problems(check->cli, path, &check->problems);
        return WEIR_EXIT_MISTAKE;
    }
    print_resources(check);
    print_guests(check);
    print_subscriptions(check);
    if (check->connects && connect_to_all(check) > 0) {
        return WEIR_EXIT_FAILED;
    }
    return WEIR_EXIT_DONE;
}

int weir_command_check(const struct weir_cli *cli, int argc, char **argv) {
    static const struct option options[] = {{"connect", no_argument, NULL, 'c'}, {0}};
    bool connects = false;
    optind = 0; // getopt starts anew
    for (int code; (code = weir_cli_option(cli, argc, argv, ":c", options)) != -1;) {
        if (code == '?') {
            return WEIR_EXIT_MISTAKE;
        }
        connects = true;
    }
    if (argc - optind != 1) {
        return weir_cli_mistake(cli, argv[0],
                                "check wants one configuration: weir check FILE.yaml");
    }
    struct check *check = calloc(1, sizeof *check);
    if (!check) {
        return weir_cli_failed(cli, "no memory for the check");
    }
    check->cli = cli;
    check->connects = connects;
    check->output = (struct weir_program_host){.fd = STDOUT_FILENO, .log = cli->log};
    int exit_status = check_file(check, argv[optind]);
    finish(check);
    free(check);
    return exit_status;
}
