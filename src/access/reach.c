// SPDX-License-Identifier: Apache-2.0
//
// The functions that a guest's imports call: a grant, then the provider. On the thread of the
// guest's call, any number at once; a provider sees to its own locks.
#include "access/access_private.h"

#include "base/show.h"
#include "observe/log.h"

static weir_status cannot(const struct weir_access *access, size_t index, const char *what,
                          struct weir_error *err) {
    const struct weir_resource *resource = access->resources[index];
    return weir_fail(err, WEIR_UNSUPPORTED, "resource %s, of kind %s, cannot %s", resource->name,
                     resource->provider->kind, what);
}

static weir_status reach_open(void *context, struct weir_str name, enum weir_guest_use use,
                              uint32_t *ret_resource, struct weir_error *err) {
    struct weir_access *access = context;
    size_t index = 0;
    weir_status status = weir_access_find(access, name, &index, err);
    *ret_resource = (uint32_t)index;
    if (status != WEIR_OK) {
        return status;
    }
    const struct weir_provider *provider = access->resources[index]->provider;
    bool is_topic = use == WEIR_GUEST_USE_TOPIC;
    if (is_topic ? provider->publish != NULL : provider->get != NULL) {
        return WEIR_OK;
    }
    return cannot(access, index, is_topic ? "be published to" : "be used as a store", err);
}

static weir_status reach_find(void *context, struct weir_str name, uint32_t *ret_resource,
                              struct weir_error *err) {
    const struct weir_access *access = context;
    for (size_t i = 0; i < access->resource_count; i++) {
        if (weir_str_equal(name, weir_str_of(access->resources[i]->name))) {
            *ret_resource = (uint32_t)i;
            return access->resources[i]->provider->get
                       ? WEIR_OK
                       : cannot(access, i, "be used as a store", err);
        }
    }
    char shown[WEIR_SHOW_BYTES];
    return weir_fail(err, WEIR_NOT_FOUND, "there is no resource \"%s\"",
                     weir_show(name, shown, sizeof shown));
}

static weir_status reach_get(void *context, uint32_t index, struct weir_str key,
                             const struct weir_limits *limits, struct weir_value *ret_value,
                             struct weir_error *err) {
    struct weir_access *access = context;
    struct weir_resource *resource = access->resources[index];
    weir_status status = weir_access_check(access, index, WEIR_VERB_GET, key, err);
    return status != WEIR_OK ? status
           : resource->provider->get
               ? resource->provider->get(resource, key, limits, ret_value, err)
               : cannot(access, index, "get", err);
}

static weir_status reach_set(void *context, uint32_t index, struct weir_str key,
                             struct weir_str value, const struct weir_limits *limits,
                             struct weir_error *err) {
    struct weir_access *access = context;
    struct weir_resource *resource = access->resources[index];
    weir_status status = weir_access_check(access, index, WEIR_VERB_SET, key, err);
    return status != WEIR_OK         ? status
           : resource->provider->set ? resource->provider->set(resource, key, value, limits, err)
                                     : cannot(access, index, "set", err);
}

static weir_status reach_remove(void *context, uint32_t index, struct weir_str key,
                                const struct weir_limits *limits, struct weir_error *err) {
    struct weir_access *access = context;
    struct weir_resource *resource = access->resources[index];
    weir_status status = weir_access_check(access, index, WEIR_VERB_DELETE, key, err);
    return status != WEIR_OK            ? status
           : resource->provider->remove ? resource->provider->remove(resource, key, limits, err)
                                        : cannot(access, index, "delete", err);
}

// A listing that leaves out what is not granted, and what comes before `after`.
struct granted_listing {
    const struct weir_access *access;
    size_t index;
    struct weir_str after;
    const struct weir_listing *listing;
};

static bool is_behind(struct weir_str key, struct weir_str after) {
    size_t shorter = key.size < after.size ? key.size : after.size;
    int order = shorter > 0 ? memcmp(key.data, after.data, shorter) : 0;
    return order > 0 || (order == 0 && key.size > after.size);
}

static bool list_one(void *context, struct weir_str key) {
    const struct granted_listing *granted = context;
    bool is_wanted = (granted->after.size == 0 || is_behind(key, granted->after)) &&
                     weir_access_allows(granted->access, granted->index, WEIR_VERB_LIST, key) &&
                     weir_utf8_valid(key); // an interface has no other keys
    return !is_wanted || granted->listing->each(granted->listing->context, key);
}

static weir_status reach_list(void *context, uint32_t index, struct weir_str after,
                              const struct weir_limits *limits, const struct weir_listing *listing,
                              struct weir_error *err) {
    struct weir_access *access = context;
    struct weir_resource *resource = access->resources[index];
    struct weir_str widest = weir_access_widest(access, index, WEIR_VERB_LIST);
    if (widest.size == 0) { // else the listing looks at each key
        return weir_access_check(access, index, WEIR_VERB_LIST, WEIR_STR("*"), err);
    }
    if (!resource->provider->list) {
        return cannot(access, index, "list", err);
    }
    struct granted_listing granted = {
        .access = access, .index = index, .after = after, .listing = listing};
    struct weir_pattern pattern = weir_pattern_of(widest);
    const struct weir_listing own = {.each = list_one, .context = &granted};
    return resource->provider->list(resource, &pattern, limits, &own, err);
}

// Who may update a key reads it and sets it.
static weir_status reach_update(void *context, uint32_t index, struct weir_str key,
                                const struct weir_limits *limits, const struct weir_change *change,
                                struct weir_error *err) {
    struct weir_access *access = context;
    struct weir_resource *resource = access->resources[index];
    weir_status status = weir_access_check(access, index, WEIR_VERB_GET, key, err);
    if (status == WEIR_OK) {
        status = weir_access_check(access, index, WEIR_VERB_SET, key, err);
    }
    return status != WEIR_OK ? status
           : resource->provider->update
               ? resource->provider->update(resource, key, limits, change, err)
               : cannot(access, index, "change a value as one step", err);
}

static weir_status reach_query(void *context, struct weir_str database,
                               const struct weir_sql_statement *statement,
                               const struct weir_limits *limits, struct weir_sql_result *ret_result,
                               struct weir_error *err) {
    struct weir_access *access = context;
    uint32_t verb = statement->is_reading ? WEIR_VERB_QUERY : WEIR_VERB_EXECUTE;
    size_t index = 0;
    *ret_result = (struct weir_sql_result){0};
    weir_status status = weir_access_find(access, database, &index, err);
    if (status == WEIR_OK) {
        status = weir_access_check(access, index, verb, WEIR_STR("*"), err);
    }
    if (status != WEIR_OK) {
        return status;
    }
    struct weir_resource *resource = access->resources[index];
    return resource->provider->query
               ? resource->provider->query(resource, statement, limits, ret_result, err)
               : cannot(access, index, "be asked in SQL", err);
}

static weir_status reach_publish(void *context, uint32_t index, struct weir_call *call,
                                 const struct weir_event_fields *event, struct weir_error *err) {
    struct weir_access *access = context;
    struct weir_str key = event->subject.is_some ? event->subject.value : (struct weir_str){0};
    weir_status status = weir_access_check(access, index, WEIR_VERB_PUBLISH, key, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (!access->publish) {
        return cannot(access, index, "be published to here", err);
    }
    const struct weir_access_publication publication = {
        .guest = access->name,
        .resource = access->resources[index],
        .event = event,
        .cause = call ? call->cause : NULL,
        .ordinal = call ? ++call->sent : 0,
    };
    return access->publish(access->publish_context, &publication, err);
}

static struct weir_attributes reach_config(void *context) {
    const struct weir_access *access = context;
    return (struct weir_attributes){.items = access->config.items, .count = access->config.count};
}

static struct weir_attributes reach_environment(void *context) {
    const struct weir_access *access = context;
    return (struct weir_attributes){.items = access->environment.items,
                                    .count = access->environment.count};
}

static void reach_log(void *context, uint8_t level, struct weir_str log_context,
                      struct weir_str message) {
    static const enum weir_log_level levels[] = {WEIR_LOG_DEBUG, WEIR_LOG_DEBUG, WEIR_LOG_INFO,
                                                 WEIR_LOG_WARN,  WEIR_LOG_ERROR, WEIR_LOG_ERROR};
    static const char *const names[] = {"trace", "debug", "info", "warn", "error", "critical"};
    const struct weir_access *access = context;
    if (level < sizeof levels / sizeof levels[0]) {
        weir_log_each(access->log, levels[level], "a guest says",
                      {"guest", weir_str_of(access->name)}, {"severity", weir_str_of(names[level])},
                      {"context", log_context}, {"text", message});
    }
}

static void reach_ref(void *context) {
    weir_access_ref(context);
}

static void reach_unref(void *context) {
    weir_access_unref(context);
}

const struct weir_guest_access weir_access_reach = {
    .get = reach_get,
    .set = reach_set,
    .remove = reach_remove,
    .list = reach_list,
    .update = reach_update,
    .publish = reach_publish,
    .query = reach_query,
    .http_send = weir_access_http_send,
};

const struct weir_guest_access weir_access_functions = {
    .open = reach_open,
    .find = reach_find,
    .get = weir_access_traced_get,
    .set = weir_access_traced_set,
    .remove = weir_access_traced_remove,
    .list = weir_access_traced_list,
    .update = weir_access_traced_update,
    .publish = weir_access_traced_publish,
    .config = reach_config,
    .environment = reach_environment,
    .query = weir_access_traced_query,
    .http_send = weir_access_traced_http_send,
    .http_finish = weir_access_http_finish,
    .log = reach_log,
    .ref = reach_ref,
    .unref = reach_unref,
};
