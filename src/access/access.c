// SPDX-License-Identifier: Apache-2.0
//
// Grants, and who was refused what; see access.h. What is asked for is done in reach.c.
#include "access/access_private.h"

#include "base/show.h"
#include "observe/log.h"

#include <stdio.h>
#include <stdlib.h>

enum { NAME_LIST_BYTES = 512 };

// ---- made and freed ----

static bool copy_grant(const struct weir_grant *from, struct weir_grant *ret_grant) {
    *ret_grant = (struct weir_grant){.resource = strdup(from->resource),
                                     .keys = from->keys ? strdup(from->keys) : NULL,
                                     .verbs = from->verbs};
    return ret_grant->resource && (ret_grant->keys || !from->keys);
}

// A copy of a name and a value, in one block that the list owns.
static bool add_pair(struct weir_access_pairs *pairs, const char *name, const char *value) {
    char *copy = malloc(strlen(name) + strlen(value) + 2);
    if (!copy) {
        return false;
    }
    size_t name_size = strlen(name);
    memcpy(copy, name, name_size + 1);
    memcpy(copy + name_size + 1, value, strlen(value) + 1);
    pairs->items[pairs->count++] = (struct weir_attribute){
        .name = {.data = copy, .size = name_size}, .value = weir_str_of(copy + name_size + 1)};
    return true;
}

static void finish_pairs(struct weir_access_pairs *pairs) {
    for (size_t i = 0; i < pairs->count; i++) {
        free((void *)(uintptr_t)pairs->items[i].name.data);
    }
    free(pairs->items);
}

static bool copy_config(struct weir_access *access, const struct weir_guest_config *config) {
    access->name = strdup(config->name);
    access->grants = calloc(config->grant_count + 1, sizeof *access->grants);
    access->config.items = calloc(config->config.count + 1, sizeof *access->config.items);
    access->environment.items = calloc(config->env.count + 1, sizeof *access->environment.items);
    access->hosts = calloc(config->hosts.count + 1, sizeof(char *));
    bool is_done = access->name && access->grants && access->config.items &&
                   access->environment.items && access->hosts;
    for (size_t i = 0; is_done && i < config->hosts.count; i++) {
        is_done = (access->hosts[access->host_count++] = strdup(config->hosts.items[i])) != NULL;
    }
    for (size_t i = 0; is_done && i < config->grant_count; i++) {
        is_done = copy_grant(&config->grants[i], &access->grants[access->grant_count++]);
    }
    for (size_t i = 0; is_done && i < config->config.count; i++) {
        const struct weir_named_text *text = &config->config.items[i];
        is_done = add_pair(&access->config, text->name, text->value);
    }
    for (size_t i = 0; is_done && i < config->env.count; i++) {
        const char *value = getenv(config->env.items[i]); // of the time when the guest is loaded
        // A guest's are UTF-8.
        is_done = !value || !weir_utf8_valid(weir_str_of(value)) ||
                  add_pair(&access->environment, config->env.items[i], value);
    }
    return is_done;
}

static void destroy(struct weir_access *access) {
    for (size_t i = 0; i < access->grant_count; i++) {
        free(access->grants[i].resource);
        free(access->grants[i].keys);
    }
    free(access->grants);
    finish_pairs(&access->config);
    finish_pairs(&access->environment);
    for (size_t i = 0; i < access->host_count; i++) {
        free(access->hosts[i]);
    }
    free(access->hosts);
    free(access->resources);
    free(access->told);
    free(access->name);
    free(access);
}

weir_status weir_access_create(const struct weir_access_args *args, struct weir_access **ret_access,
                               struct weir_error *err) {
    struct weir_access *access = calloc(1, sizeof *access);
    *ret_access = NULL;
    if (!access) {
        return weir_fail_no_memory(err, "a guest's grants");
    }
    atomic_init(&access->references, 1);
    atomic_init(&access->refused, 0);
    atomic_init(&access->is_host_told, false);
    access->http = args->http;
    access->log = args->log;
    access->publish = args->publish;
    access->publish_context = args->publish_context;
    if (!copy_config(access, args->guest)) {
        destroy(access);
        return weir_fail_no_memory(err, "a guest's grants");
    }
    *ret_access = access;
    return WEIR_OK;
}

void weir_access_ref(struct weir_access *access) {
    atomic_fetch_add_explicit(&access->references, 1, memory_order_relaxed);
}

void weir_access_unref(struct weir_access *access) {
    if (access && atomic_fetch_sub_explicit(&access->references, 1, memory_order_acq_rel) == 1) {
        destroy(access);
    }
}

weir_status weir_access_bind(struct weir_access *access, struct weir_resource *const *resources,
                             size_t count, struct weir_error *err) {
    struct weir_resource **copy = calloc(count + 1, sizeof(struct weir_resource *));
    atomic_uint *told = calloc(count + 1, sizeof *told);
    if (!copy || !told) {
        free(copy);
        free(told);
        return weir_fail_no_memory(err, "a guest's grants");
    }
    for (size_t i = 0; i < count; i++) {
        copy[i] = resources[i];
        atomic_init(&told[i], 0);
    }
    free(access->resources);
    free(access->told);
    access->resources = copy;
    access->told = told;
    access->resource_count = count;
    return WEIR_OK;
}

size_t weir_access_count(const struct weir_access *access) {
    return access->resource_count;
}

struct weir_resource *weir_access_resource(const struct weir_access *access, size_t index) {
    return access->resources[index];
}

uint64_t weir_access_refused(const struct weir_access *access) {
    return atomic_load_explicit(&access->refused, memory_order_relaxed);
}

// ---- grants ----

// Whether a grant's keys have all keys of a pattern among them.
static bool covers(const char *keys, struct weir_str text) {
    if (!keys) {
        return true;
    }
    struct weir_pattern granted = weir_pattern_of(weir_str_of(keys));
    struct weir_pattern asked = weir_pattern_of(text);
    return granted.is_prefix ? weir_str_has_prefix(asked.text, granted.text)
                             : !asked.is_prefix && weir_str_equal(granted.text, asked.text);
}

static bool is_of(const struct weir_access *access, const struct weir_grant *grant, size_t index) {
    return strcmp(grant->resource, access->resources[index]->name) == 0;
}

bool weir_access_allows(const struct weir_access *access, size_t index, uint32_t verb,
                        struct weir_str pattern) {
    for (size_t i = 0; i < access->grant_count; i++) {
        const struct weir_grant *grant = &access->grants[i];
        if ((grant->verbs & verb) && is_of(access, grant, index) && covers(grant->keys, pattern)) {
            return true;
        }
    }
    return false;
}

struct weir_str weir_access_widest(const struct weir_access *access, size_t index, uint32_t verb) {
    const struct weir_grant *only = NULL;
    for (size_t i = 0; i < access->grant_count; i++) {
        const struct weir_grant *grant = &access->grants[i];
        if (!(grant->verbs & verb) || !is_of(access, grant, index)) {
            continue;
        }
        if (only || !grant->keys) {
            return WEIR_STR("*");
        }
        only = grant;
    }
    return weir_str_of(only ? only->keys : NULL);
}

static bool has_grant(const struct weir_access *access, size_t index) {
    for (size_t i = 0; i < access->grant_count; i++) {
        if (is_of(access, &access->grants[i], index)) {
            return true;
        }
    }
    return false;
}

// "a, b", or "none".
static const char *list_granted(const struct weir_access *access, char buffer[NAME_LIST_BYTES]) {
    size_t used = 0;
    for (size_t i = 0; i < access->resource_count; i++) {
        if (!has_grant(access, i)) {
            continue;
        }
        int written = snprintf(buffer + used, NAME_LIST_BYTES - used, "%s%s", used ? ", " : "",
                               access->resources[i]->name);
        if (written < 0 || (size_t)written >= NAME_LIST_BYTES - used) {
            memcpy(buffer + NAME_LIST_BYTES - 4, "...", 4);
            return buffer;
        }
        used += (size_t)written;
    }
    return used > 0 ? buffer : "none";
}

// Counts a refusal, and logs it unless one like it was logged before.
static void refuse(struct weir_access *access, size_t index, uint32_t verb, const char *message) {
    atomic_fetch_add_explicit(&access->refused, 1, memory_order_relaxed);
    if (!(atomic_fetch_or_explicit(&access->told[index], verb, memory_order_relaxed) & verb)) {
        weir_log(access->log, WEIR_LOG_WARN, "a guest was refused what it has no grant for",
                 {"guest", weir_str_of(access->name)}, {"reason", weir_str_of(message)});
    }
}

weir_status weir_access_find(struct weir_access *access, struct weir_str name, size_t *ret_index,
                             struct weir_error *err) {
    char list[NAME_LIST_BYTES], shown[WEIR_SHOW_BYTES];
    struct weir_error own;
    err = err ? err : &own;
    for (size_t i = 0; i < access->resource_count; i++) {
        if (!weir_str_equal(name, weir_str_of(access->resources[i]->name))) {
            continue;
        }
        *ret_index = i;
        if (has_grant(access, i)) {
            return WEIR_OK;
        }
        weir_fail(err, WEIR_DENIED, "guest %s has no grant for resource %s; it has grants for: %s",
                  access->name, access->resources[i]->name, list_granted(access, list));
        refuse(access, i, WEIR_VERBS_ALL + 1, err->message);
        return WEIR_DENIED;
    }
    return weir_fail(
        err, WEIR_NOT_FOUND, "there is no resource \"%s\"; guest %s has grants for: %s",
        weir_show(name, shown, sizeof shown), access->name, list_granted(access, list));
}

// Says which grant would allow it.
static void describe_refusal(const struct weir_access *access, const char *resource, uint32_t verb,
                             struct weir_str pattern, struct weir_error *err) {
    char shown[WEIR_SHOW_BYTES];
    const char *name = weir_verb_name(verb);
    if (verb & WEIR_VERBS_SQL) {
        weir_fail(err, WEIR_DENIED,
                  "guest %s has no grant to %s %s by SQL; this would be one: {resource: %s, verbs: "
                  "[%s]}, without keys, since a statement reaches every table",
                  access->name, name, resource, resource, name);
    } else {
        weir_fail(err, WEIR_DENIED,
                  "guest %s has no grant to %s \"%s\" of %s; this would be one: {resource: %s, "
                  "verbs: [%s]}",
                  access->name, name, weir_show(pattern, shown, sizeof shown), resource, resource,
                  name);
    }
}

weir_status weir_access_check(struct weir_access *access, size_t index, uint32_t verb,
                              struct weir_str pattern, struct weir_error *err) {
    if (weir_access_allows(access, index, verb, pattern)) {
        return WEIR_OK;
    }
    struct weir_error own;
    err = err ? err : &own;
    describe_refusal(access, access->resources[index]->name, verb, pattern, err);
    refuse(access, index, verb, err->message);
    return WEIR_DENIED;
}
