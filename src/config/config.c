// SPDX-License-Identifier: Apache-2.0
//
// A configuration as an object: made, read from a file, completed from the command line, freed; and
// the list of its mistakes. What weir.yaml means is in reader.c. Any thread; a configuration
// belongs to one at a time.
#include "config/config.h"

#include "base/nearest.h"
#include "base/show.h"
#include "config/document.h"
#include "config/tables.h"
#include "provider/provider.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

// ---- problems ----

void weir_problems_add_v(struct weir_problems *problems, struct weir_place place, const char *key,
                         const char *format, va_list args) {
    if (problems->count == WEIR_CONFIG_PROBLEMS_MAX) {
        problems->left_out++;
        return;
    }
    struct weir_problem problem = {.place = place, .key = strdup(key)};
    char message[WEIR_ERROR_MESSAGE_BYTES];
    vsnprintf(message, sizeof message, format, args);
    problem.message = strdup(message);
    if (!problem.key || !problem.message) {
        free(problem.key);
        free(problem.message);
        problems->left_out++;
        return;
    }
    problems->items[problems->count++] = problem;
}

void weir_problems_add(struct weir_problems *problems, struct weir_place place, const char *key,
                       const char *format, ...) {
    va_list args;
    va_start(args, format);
    weir_problems_add_v(problems, place, key, format, args);
    va_end(args);
}

static int compare_problems(const void *a, const void *b) {
    const struct weir_problem *one = a, *other = b;
    if (one->place.line != other->place.line) {
        return one->place.line < other->place.line ? -1 : 1;
    }
    if (one->place.column != other->place.column) {
        return one->place.column < other->place.column ? -1 : 1;
    }
    return strcmp(one->key, other->key);
}

void weir_problems_sort(struct weir_problems *problems) {
    if (problems->count > 1) {
        qsort(problems->items, problems->count, sizeof problems->items[0], compare_problems);
    }
}

void weir_problems_finish(struct weir_problems *problems) {
    for (size_t i = 0; i < problems->count; i++) {
        free(problems->items[i].key);
        free(problems->items[i].message);
    }
    problems->count = 0;
    problems->left_out = 0;
}

// ---- making and freeing ----

weir_status weir_config_init(struct weir_config *config, struct weir_error *err) {
    *config = (struct weir_config){.path = strdup("command line"), .folder = strdup(".")};
    if (!config->path || !config->folder) {
        return weir_fail_no_memory(err, "the configuration");
    }
    weir_status status = weir_options_init(&weir_host_options, &config->host, err);
    status =
        status == WEIR_OK ? weir_options_init(&weir_state_options, &config->state, err) : status;
    status =
        status == WEIR_OK ? weir_options_init(&weir_traces_options, &config->traces, err) : status;
    return status == WEIR_OK ? weir_options_init(&weir_admin_options, &config->admin, err) : status;
}

static void finish_resource(struct weir_resource_config *resource) {
    free(resource->name);
    if (resource->options) {
        weir_options_finish(&resource->provider->options, resource->options);
        free(resource->options);
    }
    *resource = (struct weir_resource_config){0};
}

static void finish_texts(struct weir_texts *texts) {
    for (size_t i = 0; i < texts->count; i++) {
        free(texts->items[i]);
    }
    free(texts->items);
}

static void finish_guest(struct weir_guest_config *guest) {
    free(guest->name);
    for (size_t i = 0; i < guest->grant_count; i++) {
        weir_options_finish(&weir_grant_options, &guest->grants[i]);
    }
    free(guest->grants);
    finish_texts(&guest->hosts);
    finish_texts(&guest->env);
    for (size_t i = 0; i < guest->config.count; i++) {
        free(guest->config.items[i].name);
        free(guest->config.items[i].value);
    }
    free(guest->config.items);
    weir_options_finish(&weir_guest_options, guest);
    weir_options_finish(&weir_delivery_options, &guest->delivery);
    *guest = (struct weir_guest_config){0};
}

void weir_config_finish(struct weir_config *config) {
    for (size_t i = 0; i < config->resource_count; i++) {
        finish_resource(&config->resources[i]);
    }
    for (size_t i = 0; i < config->guest_count; i++) {
        finish_guest(&config->guests[i]);
    }
    for (size_t i = 0; i < config->subscription_count; i++) {
        weir_options_finish(&weir_subscription_options, &config->subscriptions[i]);
        weir_options_finish(&weir_delivery_options, &config->subscriptions[i].delivery);
    }
    weir_options_finish(&weir_host_options, &config->host);
    weir_options_finish(&weir_state_options, &config->state);
    weir_options_finish(&weir_traces_options, &config->traces);
    weir_options_finish(&weir_admin_options, &config->admin);
    free(config->resources);
    free(config->guests);
    free(config->subscriptions);
    free(config->path);
    free(config->folder);
    *config = (struct weir_config){0};
}

// ---- finding ----

static size_t resource_index(const struct weir_config *config, struct weir_str name) {
    size_t i = 0;
    while (i < config->resource_count &&
           !weir_str_equal(name, weir_str_of(config->resources[i].name))) {
        i++;
    }
    return i;
}

static size_t guest_index(const struct weir_config *config, struct weir_str name) {
    size_t i = 0;
    while (i < config->guest_count && !weir_str_equal(name, weir_str_of(config->guests[i].name))) {
        i++;
    }
    return i;
}

const struct weir_resource_config *weir_config_resource(const struct weir_config *config,
                                                        struct weir_str name) {
    size_t i = resource_index(config, name);
    return i < config->resource_count ? &config->resources[i] : NULL;
}

const struct weir_guest_config *weir_config_guest(const struct weir_config *config,
                                                  struct weir_str name) {
    size_t i = guest_index(config, name);
    return i < config->guest_count ? &config->guests[i] : NULL;
}

// ---- reading a file ----

weir_status weir_config_read(const char *path, struct weir_config *ret_config,
                             struct weir_problems *problems, struct weir_error *err) {
    *ret_config = (struct weir_config){0};
    *problems = (struct weir_problems){.count = 0};
    char *text = NULL;
    size_t size = 0;
    weir_status status = weir_document_read(path, &text, &size, err);
    if (status != WEIR_OK) {
        return status;
    }
    status = weir_config_parse((struct weir_str){.data = text, .size = size}, path, ret_config,
                               problems, err);
    free(text);
    return status;
}

// ---- the command line ----

bool weir_name_valid(struct weir_str name) {
    for (size_t i = 0; i < name.size; i++) {
        char letter = name.data[i];
        bool is_good = (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
                       (letter >= '0' && letter <= '9') || letter == '.' || letter == '_' ||
                       letter == '-';
        if (!is_good) {
            return false;
        }
    }
    return name.size > 0 && name.size <= WEIR_NAME_BYTES_MAX;
}

static weir_status add_grant(struct weir_guest_config *guest, const char *resource, uint32_t verbs,
                             struct weir_error *err) {
    for (size_t i = 0; i < guest->grant_count; i++) {
        if (strcmp(guest->grants[i].resource, resource) == 0 && !guest->grants[i].keys) {
            guest->grants[i].verbs |= verbs;
            return WEIR_OK;
        }
    }
    if (guest->grant_count == WEIR_CONFIG_GRANTS_MAX) {
        return weir_fail(err, WEIR_LIMIT, "guest %s has more than %d grants", guest->name,
                         WEIR_CONFIG_GRANTS_MAX);
    }
    char *copy = strdup(resource);
    struct weir_grant *grants = realloc(guest->grants, (guest->grant_count + 1) * sizeof *grants);
    if (grants) {
        guest->grants = grants;
    }
    if (!copy || !grants) {
        free(copy);
        return weir_fail_no_memory(err, "a grant");
    }
    grants[guest->grant_count++] = (struct weir_grant){.resource = copy, .verbs = verbs};
    return WEIR_OK;
}

weir_status weir_config_grant(struct weir_config *config, const char *guest, const char *resource,
                              uint32_t verbs, struct weir_error *err) {
    size_t i = guest_index(config, weir_str_of(guest));
    if (i == config->guest_count) {
        return weir_fail(err, WEIR_NOT_FOUND, "there is no guest %s", guest);
    }
    return add_grant(&config->guests[i], resource, verbs, err);
}

// "file:./data" to a resource without a name.
static weir_status make_resource(struct weir_str definition, struct weir_resource_config *resource,
                                 struct weir_error *err) {
    const char *colon = memchr(definition.data, ':', definition.size);
    struct weir_str kind = {.data = definition.data,
                            .size = colon ? (size_t)(colon - definition.data) : definition.size};
    char shown[WEIR_SHOW_BYTES];
    weir_show(kind, shown, sizeof shown);
    resource->provider = weir_provider_find(kind);
    if (!resource->provider) {
        struct weir_nearest nearest;
        weir_nearest_init(&nearest, kind);
        for (const struct weir_provider *const *one = weir_providers; *one; one++) {
            weir_nearest_offer(&nearest, (*one)->kind);
        }
        return weir_fail(err, WEIR_INVALID, "\"%s\" is no kind of resource; %s%s%s", shown,
                         nearest.best ? "did you mean \"" : "\"weir help\" lists them",
                         nearest.best ? nearest.best : "", nearest.best ? "\"?" : "");
    }
    const struct weir_option_table *table = &resource->provider->options;
    if (!colon && table->rows[0].is_required) {
        return weir_fail(err, WEIR_INVALID, "%s says nothing of its %s; write %s:%s", shown,
                         table->rows[0].name, resource->provider->kind, "VALUE");
    }
    resource->options = calloc(1, resource->provider->options_bytes);
    if (!resource->options) {
        return weir_fail_no_memory(err, "a resource");
    }
    weir_status status = weir_options_init(table, resource->options, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (colon) {
        struct weir_str value = {.data = colon + 1, .size = definition.size - kind.size - 1};
        status = weir_option_set(&table->rows[0], resource->options, value, NULL, err);
    }
    if (status != WEIR_OK) {
        return weir_error_prefix(err, status, "%s", table->rows[0].name);
    }
    for (size_t i = 1; i < table->count; i++) {
        if (table->rows[i].is_required) {
            return weir_fail(
                err, WEIR_INVALID,
                "a resource of kind %s also needs \"%s\"; define it in a configuration",
                resource->provider->kind, table->rows[i].name);
        }
    }
    return WEIR_OK;
}

static weir_status put_resource(struct weir_config *config, struct weir_resource_config *resource,
                                struct weir_error *err) {
    size_t i = resource_index(config, weir_str_of(resource->name));
    if (i < config->resource_count) {
        finish_resource(&config->resources[i]);
    } else {
        if (i == WEIR_CONFIG_RESOURCES_MAX) {
            return weir_fail(err, WEIR_LIMIT, "more than %d resources", WEIR_CONFIG_RESOURCES_MAX);
        }
        struct weir_resource_config *resources =
            realloc(config->resources, (i + 1) * sizeof *resources);
        if (!resources) {
            return weir_fail_no_memory(err, "a resource");
        }
        config->resources = resources;
        config->resource_count++;
    }
    config->resources[i] = *resource;
    *resource = (struct weir_resource_config){0};
    for (size_t g = 0; g < config->guest_count; g++) {
        weir_status status =
            add_grant(&config->guests[g], config->resources[i].name, WEIR_VERBS_ALL, err);
        if (status != WEIR_OK) {
            return status;
        }
    }
    return WEIR_OK;
}

weir_status weir_config_add_resource(struct weir_config *config, const char *definition,
                                     struct weir_error *err) {
    char shown[WEIR_SHOW_BYTES];
    weir_show(weir_str_of(definition), shown, sizeof shown);
    const char *equals = strchr(definition, '=');
    if (!equals) {
        return weir_fail(err, WEIR_INVALID,
                         "\"%s\" defines no resource; write NAME=KIND:VALUE, "
                         "such as my-container=file:./data",
                         shown);
    }
    struct weir_str name = {.data = definition, .size = (size_t)(equals - definition)};
    if (!weir_name_valid(name)) {
        return weir_fail(err, WEIR_INVALID,
                         "\"%s\" does not begin with a name; write NAME=KIND:VALUE, the name of "
                         "letters, digits, \".\", \"_\" and \"-\", at most %d bytes",
                         shown, WEIR_NAME_BYTES_MAX);
    }
    struct weir_resource_config resource = {.name = strndup(name.data, name.size)};
    weir_status status = resource.name ? make_resource(weir_str_of(equals + 1), &resource, err)
                                       : weir_fail_no_memory(err, "a resource");
    if (status == WEIR_OK) {
        status = put_resource(config, &resource, err);
    }
    finish_resource(&resource);
    return status;
}

// "hello" for "build/hello.wasm"; what a name may not hold becomes "-".
static char *guest_name_of(const char *path) {
    const char *slash = strrchr(path, '/');
    struct weir_str base = weir_str_of(slash ? slash + 1 : path);
    const char *dot = base.size > 0 ? memrchr(base.data, '.', base.size) : NULL;
    if (dot && dot != base.data) {
        base.size = (size_t)(dot - base.data);
    }
    if (base.size > WEIR_NAME_BYTES_MAX) {
        base.size = WEIR_NAME_BYTES_MAX;
    }
    char *name = base.size > 0 ? strndup(base.data, base.size) : strdup("guest");
    for (size_t i = 0; name && name[i]; i++) {
        if (!weir_name_valid((struct weir_str){.data = &name[i], .size = 1})) {
            name[i] = '-';
        }
    }
    return name;
}

static weir_status make_guest(struct weir_config *config, const char *wasm,
                              struct weir_guest_config *guest, struct weir_error *err) {
    guest->name = guest_name_of(wasm);
    if (!guest->name) {
        return weir_fail_no_memory(err, "a guest");
    }
    if (weir_config_guest(config, weir_str_of(guest->name))) {
        return weir_fail(err, WEIR_INVALID, "there are two guests \"%s\"; rename one of the files",
                         guest->name);
    }
    const struct weir_option *path = weir_option_find(&weir_guest_options, WEIR_STR("wasm"));
    weir_status status = weir_options_init(&weir_guest_options, guest, err);
    if (status == WEIR_OK) {
        status = weir_option_set(path, guest, weir_str_of(wasm), NULL, err);
    }
    if (status == WEIR_OK) {
        status = weir_options_init(&weir_bounds_options, &guest->bounds, err);
    }
    if (status == WEIR_OK) {
        status = weir_options_init(&weir_retry_options, &guest->retry, err);
    }
    if (status == WEIR_OK) {
        status = weir_options_init(&weir_queue_options, &guest->queue, err);
    }
    if (status == WEIR_OK) {
        status = weir_options_init(&weir_journal_options, &guest->journal, err);
    }
    if (status == WEIR_OK) {
        status = weir_options_init(&weir_delivery_options, &guest->delivery, err);
    }
    guest->run = true;
    for (size_t i = 0; i < config->resource_count && status == WEIR_OK; i++) {
        status = add_grant(guest, config->resources[i].name, WEIR_VERBS_ALL, err);
    }
    return status;
}

weir_status weir_config_add_guest(struct weir_config *config, const char *wasm,
                                  struct weir_error *err) {
    if (config->guest_count == WEIR_CONFIG_GUESTS_MAX) {
        return weir_fail(err, WEIR_LIMIT, "more than %d guests", WEIR_CONFIG_GUESTS_MAX);
    }
    struct weir_guest_config guest = {0};
    weir_status status = make_guest(config, wasm, &guest, err);
    if (status == WEIR_OK) {
        struct weir_guest_config *guests =
            realloc(config->guests, (config->guest_count + 1) * sizeof *guests);
        if (guests) {
            config->guests = guests;
            config->guests[config->guest_count++] = guest;
            return WEIR_OK;
        }
        status = weir_fail_no_memory(err, "a guest");
    }
    finish_guest(&guest);
    return status;
}
