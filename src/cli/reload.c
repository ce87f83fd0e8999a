// SPDX-License-Identifier: Apache-2.0
//
// SIGHUP: the configuration is read again, and what has changed in it changes here, without
// touching the rest: subscriptions come, go and change, and a guest whose file or bounds have
// changed is compiled beside the one that runs and takes over between two events. What runs and has
// not changed goes on meanwhile.
//
// Everything that can fail is done first: reading, compiling, opening, finding handlers. A mistake
// then leaves all as it was. Only the watch of a new or changed subscription begins after the old
// one has ended, for they may have the same name; where the source refuses it then, that is logged.
//
// Not changed without a restart, and told so: `host`, `state`, `traces`, a resource that is there
// already under its name, and which guests' mains are run.
#include "cli/program_private.h"

#include "config/tables.h"
#include "flow/flow.h"
#include "observe/log.h"
#include "provider/provider.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- comparing ----

static bool same_text(const char *a, const char *b) {
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_options(const struct weir_option_table *table, const void *a, const void *b) {
    char one[WEIR_ERROR_MESSAGE_BYTES], other[WEIR_ERROR_MESSAGE_BYTES];
    for (size_t i = 0; i < table->count; i++) {
        weir_option_format(&table->rows[i], a, one, sizeof one);
        weir_option_format(&table->rows[i], b, other, sizeof other);
        if (strcmp(one, other) != 0) {
            return false;
        }
    }
    return true;
}

static bool same_resource(const struct weir_resource_config *a,
                          const struct weir_resource_config *b) {
    return a->provider == b->provider &&
           same_options(&a->provider->options, a->options, b->options);
}

static bool same_subscription(const struct weir_subscription_config *a,
                              const struct weir_subscription_config *b) {
    return same_text(a->name, b->name) && same_text(a->resource, b->resource) &&
           same_text(a->key, b->key) && same_text(a->guest, b->guest) &&
           same_text(a->handler, b->handler) &&
           same_options(&weir_retry_options, &a->retry, &b->retry) &&
           same_options(&weir_queue_options, &a->queue, &b->queue) &&
           same_options(&weir_journal_options, &a->journal, &b->journal) &&
           same_options(&weir_delivery_options, &a->delivery, &b->delivery);
}

static bool has_subscription(const struct weir_config *config,
                             const struct weir_subscription_config *wanted) {
    for (size_t i = 0; i < config->subscription_count; i++) {
        if (same_subscription(&config->subscriptions[i], wanted)) {
            return true;
        }
    }
    return false;
}

// ---- what may fail ----

// Takes over or opens the resources; is_opened[i]: it was opened here.
static weir_status take_resources(struct weir_program *program, struct weir_parts *parts,
                                  bool *is_opened, struct weir_error *err) {
    const struct weir_config *config = parts->config;
    for (size_t i = 0; i < config->resource_count; i++) {
        const struct weir_resource_config *wanted = &config->resources[i];
        const struct weir_resource_config *before =
            weir_config_resource(program->parts.config, weir_str_of(wanted->name));
        if (before && !same_resource(before, wanted)) {
            return weir_fail(err, WEIR_INVALID,
                             "resource %s has changed; that needs a restart, or another name",
                             wanted->name);
        }
        if (before) {
            parts->resources[i] = weir_parts_resource(&program->parts, wanted->name);
            continue;
        }
        weir_status status = weir_program_resource(wanted, program->log, &parts->resources[i], err);
        if (status != WEIR_OK) {
            return status;
        }
        is_opened[i] = true;
    }
    return WEIR_OK;
}

static bool same_grants(const struct weir_guest_config *a, const struct weir_guest_config *b) {
    bool is_same = a->grant_count == b->grant_count;
    for (size_t i = 0; is_same && i < a->grant_count; i++) {
        is_same = a->grants[i].verbs == b->grants[i].verbs &&
                  same_text(a->grants[i].resource, b->grants[i].resource) &&
                  same_text(a->grants[i].keys, b->grants[i].keys);
    }
    return is_same;
}

static bool same_texts(const struct weir_texts *a, const struct weir_texts *b) {
    bool is_same = a->count == b->count;
    for (size_t i = 0; is_same && i < a->count; i++) {
        is_same = same_text(a->items[i], b->items[i]);
    }
    return is_same;
}

static bool same_access(const struct weir_guest_config *a, const struct weir_guest_config *b) {
    bool is_same = a->config.count == b->config.count;
    for (size_t i = 0; is_same && i < a->config.count; i++) {
        is_same = same_text(a->config.items[i].name, b->config.items[i].name) &&
                  same_text(a->config.items[i].value, b->config.items[i].value);
    }
    return is_same && same_grants(a, b) && same_texts(&a->env, &b->env) &&
           same_texts(&a->hosts, &b->hosts);
}

// The guest that runs and is what the configuration wants, its file included; NULL: there is none.
static struct weir_guest *find_same_guest(const struct weir_program *program,
                                          const struct weir_guest_config *wanted) {
    const struct weir_guest_config *before =
        weir_config_guest(program->parts.config, weir_str_of(wanted->name));
    if (!before || before->instance != wanted->instance || before->lane != wanted->lane ||
        !same_options(&weir_bounds_options, &before->bounds, &wanted->bounds) ||
        !same_access(before, wanted)) {
        return NULL;
    }
    struct weir_guest *running = weir_parts_guest(&program->parts, wanted->name);
    return weir_guest_is_of_file(running, wanted->wasm) ? running : NULL;
}

// Takes over the guests that are the same as before, and compiles the others.
static weir_status take_guests(struct weir_program *program, struct weir_parts *parts,
                               struct weir_error *err) {
    const struct weir_config *config = parts->config;
    weir_status status = WEIR_OK;
    for (size_t i = 0; status == WEIR_OK && i < config->guest_count; i++) {
        const struct weir_guest_config *wanted = &config->guests[i];
        parts->guests[i] = weir_guest_ref(find_same_guest(program, wanted));
        if (!parts->guests[i]) {
            status = weir_program_guest(program->engine, config, wanted, &program->host,
                                        &parts->guests[i], err);
            status = status == WEIR_OK ? weir_program_bind(parts->guests[i], parts->resources,
                                                           config->resource_count, err)
                                       : status;
        }
    }
    return status;
}

static weir_status find_handlers(const struct weir_parts *parts, struct weir_error *err) {
    const struct weir_config *config = parts->config;
    for (size_t i = 0; i < config->subscription_count; i++) {
        const struct weir_subscription_config *wanted = &config->subscriptions[i];
        uint32_t handler;
        weir_status status = weir_guest_handler_find(weir_parts_guest(parts, wanted->guest),
                                                     weir_str_of(wanted->handler), &handler, err);
        if (status != WEIR_OK) {
            return weir_error_prefix(err, status, "%s:%u", config->path, wanted->place.line);
        }
    }
    return WEIR_OK;
}

// ---- what is changed ----

// The name under which a subscription of the parts' configuration runs.
static void name_of(const struct weir_parts *parts, const struct weir_subscription_config *config,
                    char ret_name[static WEIR_SUBSCRIPTION_NAME_BYTES_MAX]) {
    const struct weir_guest *guest = weir_parts_guest(parts, config->guest);
    uint32_t handler;
    if (config->name) {
        snprintf(ret_name, WEIR_SUBSCRIPTION_NAME_BYTES_MAX, "%s", config->name);
        return;
    }
    bool is_there =
        weir_guest_handler_find(guest, weir_str_of(config->handler), &handler, NULL) == WEIR_OK;
    weir_subscription_derive_name(
        guest, weir_parts_resource(parts, config->resource), weir_str_of(config->key),
        is_there ? weir_guest_handler_name(guest, handler) : config->handler, ret_name);
}

static bool has_name(const struct weir_parts *parts, const char *name) {
    for (size_t i = 0; i < parts->config->subscription_count; i++) {
        char its_name[WEIR_SUBSCRIPTION_NAME_BYTES_MAX];
        name_of(parts, &parts->config->subscriptions[i], its_name);
        if (strcmp(its_name, name) == 0) {
            return true;
        }
    }
    return false;
}

static void end_subscription(struct weir_program *program, const struct weir_parts *after,
                             const struct weir_subscription_config *config) {
    char name[WEIR_SUBSCRIPTION_NAME_BYTES_MAX];
    name_of(&program->parts, config, name);
    if (weir_set_remove(program->subscriptions, name, has_name(after, name))) {
        weir_log(program->log, WEIR_LOG_INFO, "a subscription has ended",
                 {"subscription", weir_str_of(name)});
    }
}

static void begin_subscription(struct weir_program *program, const struct weir_parts *parts,
                               const struct weir_subscription_config *config) {
    char name[WEIR_SUBSCRIPTION_NAME_BYTES_MAX];
    struct weir_subscription *subscription;
    struct weir_error err;
    uint32_t handler;
    name_of(parts, config, name);
    weir_status status =
        weir_program_subscribe(program, parts, config, &subscription, &handler, &err);
    if (status == WEIR_OK) {
        weir_set_add(program->subscriptions, subscription, handler);
        weir_log(program->log, WEIR_LOG_INFO, "a subscription has begun",
                 {"subscription", weir_str_of(name)});
        return;
    }
    weir_log(program->log, WEIR_LOG_ERROR, "a subscription cannot begin",
             {"subscription", weir_str_of(name)}, {"reason", weir_str_of(err.message)});
}

static void change_subscriptions(struct weir_program *program, const struct weir_parts *parts) {
    const struct weir_config *before = program->parts.config, *after = parts->config;
    for (size_t i = 0; i < before->subscription_count; i++) {
        const struct weir_subscription_config *old = &before->subscriptions[i];
        if (!has_subscription(after, old)) {
            end_subscription(program, parts, old);
            weir_program_tell_alive(program); // handlers in flight may have taken their grace
        }
    }
    for (size_t i = 0; i < after->subscription_count; i++) {
        const struct weir_subscription_config *wanted = &after->subscriptions[i];
        if (!has_subscription(before, wanted)) {
            begin_subscription(program, parts, wanted);
        }
    }
}

static void swap_guests(struct weir_program *program, const struct weir_parts *parts) {
    const struct weir_config *config = parts->config;
    for (size_t i = 0; i < config->guest_count; i++) {
        const char *name = config->guests[i].name;
        struct weir_guest *before = weir_parts_guest(&program->parts, name);
        struct weir_guest *after = parts->guests[i];
        if (!before || before == after) {
            continue;
        }
        size_t left = weir_flow_swap_guest(program->flow, before, after);
        weir_log(program->log, WEIR_LOG_INFO, "a guest was replaced", {"guest", weir_str_of(name)},
                 {"before", weir_str_of(weir_guest_hash(before))},
                 {"now", weir_str_of(weir_guest_hash(after))});
        if (left > 0) {
            weir_log(program->log, WEIR_LOG_WARN, "subscriptions keep the guest's old version",
                     {"guest", weir_str_of(name)}, {"subscriptions", WEIR_LOG_NUMBER(left)},
                     {"reason", WEIR_STR("the new one lacks their handlers")});
        }
    }
}

// Resources that no configuration names any more stay open until the end: mains may use them. First
// room for them, which may fail.
static bool make_room(struct weir_program *program) {
    size_t count = program->retired_count + program->parts.config->resource_count + 1;
    struct weir_resource **retired =
        realloc(program->retired, count * sizeof(struct weir_resource *));
    program->retired = retired ? retired : program->retired;
    return retired != NULL;
}

static void retire_resources(struct weir_program *program, const struct weir_parts *parts) {
    const struct weir_config *before = program->parts.config;
    for (size_t i = 0; i < before->resource_count; i++) {
        if (!weir_config_resource(parts->config, weir_str_of(before->resources[i].name))) {
            program->retired[program->retired_count++] = program->parts.resources[i];
        }
    }
}

static void tell_restarts(const struct weir_program *program, const struct weir_config *after) {
    const struct weir_config *before = program->parts.config;
    if (!same_options(&weir_host_options, &before->host, &after->host) ||
        !same_options(&weir_state_options, &before->state, &after->state) ||
        !same_options(&weir_traces_options, &before->traces, &after->traces) ||
        !same_options(&weir_admin_options, &before->admin, &after->admin)) {
        weir_log(program->log, WEIR_LOG_WARN, "this change takes a restart",
                 {"key", WEIR_STR("host, state, traces, admin")});
    }
    for (size_t i = 0; i < after->guest_count; i++) {
        const struct weir_guest_config *old =
            weir_config_guest(before, weir_str_of(after->guests[i].name));
        if (after->guests[i].run != (old && old->run)) {
            weir_log(program->log, WEIR_LOG_WARN, "this change takes a restart",
                     {"guest", weir_str_of(after->guests[i].name)}, {"key", WEIR_STR("run")});
        }
    }
}

// ---- the whole ----

static weir_status prepare(struct weir_program *program, struct weir_parts *parts, bool *is_opened,
                           struct weir_error *err) {
    if (!program->subscriptions && parts->config->subscription_count > 0) {
        return weir_fail(err, WEIR_UNSUPPORTED,
                         "weir was started without subscriptions; the first ones need a restart");
    }
    weir_status status = take_resources(program, parts, is_opened, err);
    status = status == WEIR_OK ? take_guests(program, parts, err) : status;
    status = status == WEIR_OK ? find_handlers(parts, err) : status;
    // The last that may fail: were it undone, the flow would know resources that are closed.
    return status == WEIR_OK ? weir_program_tell_flow(program, parts, err) : status;
}

static void apply(struct weir_program *program, struct weir_parts *parts,
                  struct weir_config *config) {
    tell_restarts(program, config);
    swap_guests(program, parts);
    change_subscriptions(program, parts);
    retire_resources(program, parts);
    weir_parts_finish(&program->parts);
    program->parts = *parts;
    if (program->reread) {
        weir_config_finish(program->reread);
        free(program->reread);
    }
    program->reread = config;
    weir_log(program->log, WEIR_LOG_INFO, "the configuration was read again",
             {"path", weir_str_of(config->path)});
}

static void give_up(struct weir_program *program, struct weir_parts *parts, const bool *is_opened,
                    const char *reason) {
    for (size_t i = 0; is_opened && i < parts->config->resource_count; i++) {
        if (is_opened[i]) {
            parts->resources[i]->provider->close(parts->resources[i]);
        }
    }
    if (parts->config) {
        weir_parts_finish(parts);
    }
    weir_log(program->log, WEIR_LOG_ERROR, "the configuration cannot be used; all stays as it is",
             {"reason", weir_str_of(reason)});
}

void weir_program_reload(struct weir_program *program) {
    struct weir_config *config = calloc(1, sizeof *config);
    struct weir_parts parts = {0};
    struct weir_error err = {.message = "it has mistakes"};
    bool *is_opened = NULL;
    weir_status status = WEIR_INVALID;
    if (!program->args.reread) {
        weir_log_write(program->log, WEIR_LOG_WARN,
                       "there is no configuration that could be read again", NULL, 0);
        free(config);
        return;
    }
    if (config && program->args.reread(program->args.reread_context, config)) {
        status = weir_parts_init(&parts, config, &err);
        is_opened = calloc(config->resource_count + 1, sizeof *is_opened);
    }
    if (status == WEIR_OK && (!is_opened || !make_room(program))) {
        status = weir_fail_no_memory(&err, "the configuration");
    }
    status = status == WEIR_OK ? prepare(program, &parts, is_opened, &err) : status;
    if (status == WEIR_OK) {
        apply(program, &parts, config);
    } else {
        give_up(program, &parts, is_opened, err.message);
        if (config) {
            weir_config_finish(config);
        }
        free(config);
    }
    free(is_opened);
}
