// SPDX-License-Identifier: Apache-2.0
//
// The world of one test; see test_world.h.
#include "cli/test_world.h"

#include "access/access.h"
#include "base/show.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { PATH_BYTES = 4096, SENT_ID_BYTES = 32 };

// ---- resources ----

bool weir_test_has_keys(const struct weir_resource_config *resource) {
    return (resource->provider->capabilities & WEIR_CAN_GET) != 0;
}

static weir_status replace(struct weir_resource_config *resource, struct weir_error *err) {
    const struct weir_provider *provider =
        weir_provider_find(weir_test_has_keys(resource) ? WEIR_STR("file") : WEIR_STR("topic"));
    weir_options_finish(&resource->provider->options, resource->options);
    free(resource->options);
    resource->provider = provider;
    resource->options = calloc(1, provider->options_bytes);
    if (!resource->options) {
        return weir_fail_no_memory(err, "the resources of a test");
    }
    return weir_options_init(&provider->options, resource->options, err);
}

weir_status weir_test_replace_resources(struct weir_config *config, struct weir_error *err) {
    weir_status status = WEIR_OK;
    for (size_t i = 0; i < config->resource_count && status == WEIR_OK; i++) {
        status = replace(&config->resources[i], err);
    }
    return status;
}

// Makes a folder for a resource with keys.
static weir_status give_folder(struct weir_resource_config *resource, const char *folder,
                               struct weir_error *err) {
    char path[PATH_BYTES];
    int size = snprintf(path, sizeof path, "%s/%s", folder, resource->name);
    if (size < 0 || (size_t)size >= sizeof path) {
        return weir_fail(err, WEIR_LIMIT, "the path of a resource below %s is too long", folder);
    }
    if (mkdir(path, 0777) != 0) {
        return weir_fail_errno(err, errno, "cannot make the folder %s", path);
    }
    return weir_option_set(&resource->provider->options.rows[0], resource->options,
                           weir_str_of(path), NULL, err);
}

static weir_status keep(void *context, struct weir_event *event) {
    struct weir_test_resource *resource = context;
    struct weir_event **published =
        resource->published_count < WEIR_TEST_PUBLISHED_MAX
            ? realloc(resource->published,
                      (resource->published_count + 1) * sizeof(struct weir_event *))
            : NULL;
    if (!published) {
        return WEIR_STOPPED;
    }
    resource->published = published;
    published[resource->published_count++] = weir_event_ref(event);
    return WEIR_OK;
}

static weir_status open_resource(struct weir_test_world *world, size_t i, const char *folder,
                                 uint64_t event_bytes_max, struct weir_error *err) {
    struct weir_resource_config *config = &world->config->resources[i];
    struct weir_test_resource *resource = &world->resources[i];
    bool has_keys = weir_test_has_keys(config);
    weir_status status = has_keys ? give_folder(config, folder, err) : WEIR_OK;
    if (status == WEIR_OK) {
        status = weir_program_resource(config, NULL, &resource->resource, err);
    }
    if (status != WEIR_OK || has_keys) {
        return status;
    }
    struct weir_watch_args args = {
        .pattern = {.is_prefix = true},
        .sink = {.offer = keep, .context = resource},
        .event_bytes_max = event_bytes_max,
    };
    return config->provider->watch(resource->resource, &args, &resource->watch, err);
}

struct weir_test_resource *weir_test_world_resource(const struct weir_test_world *world,
                                                    const char *name) {
    const struct weir_resource_config *config =
        weir_config_resource(world->config, weir_str_of(name));
    return config ? &world->resources[config - world->config->resources] : NULL;
}

static weir_status give(struct weir_test_world *world, const struct weir_test_key *key,
                        struct weir_error *err) {
    struct weir_resource *resource = weir_test_world_resource(world, key->resource)->resource;
    char shown[WEIR_SHOW_BYTES];
    const struct weir_limits limits = {.until_ns = INT64_MAX};
    weir_status status = key->data.is_there ? resource->provider->set(resource, key->key,
                                                                      key->data.bytes, &limits, err)
                                            : WEIR_OK;
    return status == WEIR_OK ? status
                             : weir_error_prefix(err, status, "given: %s: %s", key->resource,
                                                 weir_show(key->key, shown, sizeof shown));
}

// ---- the guest ----

// The first subscription that leads to what the test is about; NULL: none does.
static const struct weir_subscription_config *subscription_of(const struct weir_config *config,
                                                              const struct weir_test *test) {
    for (size_t i = 0; i < config->subscription_count; i++) {
        const struct weir_subscription_config *one = &config->subscriptions[i];
        bool is_guest = !test->guest || strcmp(one->guest, test->guest) == 0;
        if (is_guest && (!test->handler || strcmp(one->handler, test->handler) == 0)) {
            return one;
        }
    }
    return NULL;
}

const struct weir_guest_config *weir_test_guest(const struct weir_config *config,
                                                const struct weir_test *test) {
    const struct weir_subscription_config *subscription = subscription_of(config, test);
    const char *name = test->guest    ? test->guest
                       : subscription ? subscription->guest
                                      : config->guests[0].name;
    return weir_config_guest(config, weir_str_of(name));
}

// What a guest publishes itself goes to its resource at once: there is no outbox here. An id and a
// source are weir's to give.
static weir_status publish_sent(void *context, const struct weir_access_publication *publication,
                                struct weir_error *err) {
    struct weir_test_world *world = context;
    struct weir_resource *resource = publication->resource;
    struct weir_event_fields fields = *publication->event;
    struct weir_event *event;
    char source[WEIR_NAME_BYTES_MAX + 2], id[SENT_ID_BYTES];
    snprintf(source, sizeof source, "/%s", publication->guest);
    snprintf(id, sizeof id, "sent-%zu", ++world->sent);
    fields.specversion = WEIR_STR(WEIR_CLOUDEVENTS_VERSION);
    fields.source = weir_str_of(source);
    fields.id = weir_str_of(id);
    struct weir_str key = fields.subject.is_some ? fields.subject.value : (struct weir_str){0};
    weir_status status = weir_event_new_checked(&fields, key, &event, err);
    if (status == WEIR_OK) {
        status = resource->provider->publish(resource, event, err);
        weir_event_unref(event);
    }
    return status;
}

static weir_status bind_guest(struct weir_test_world *world, struct weir_error *err) {
    size_t count = world->config->resource_count;
    struct weir_resource **resources = calloc(count + 1, sizeof(struct weir_resource *));
    if (!resources) {
        return weir_fail_no_memory(err, "the resources of a test");
    }
    for (size_t i = 0; i < count; i++) {
        resources[i] = world->resources[i].resource;
    }
    weir_status status = weir_program_bind(world->guest, resources, count, err);
    free(resources);
    return status;
}

static weir_status load_guest(struct weir_test_world *world, const struct weir_test *test,
                              struct weir_engine *engine, struct weir_error *err) {
    const struct weir_subscription_config *subscription = subscription_of(world->config, test);
    const char *handler = test->handler  ? test->handler
                          : subscription ? subscription->handler
                                         : WEIR_HANDLER_DEFAULT;
    weir_status status =
        weir_program_guest(engine, world->config, weir_test_guest(world->config, test),
                           &world->host, &world->guest, err);
    status = status == WEIR_OK ? bind_guest(world, err) : status;
    if (status == WEIR_OK) {
        status = weir_guest_handler_find(world->guest, weir_str_of(handler), &world->handler, err);
    }
    world->watched = subscription ? subscription->resource : "test";
    world->to = subscription && subscription->delivery.to
                    ? weir_test_world_resource(world, subscription->delivery.to)
                    : NULL;
    return status;
}

// ---- the whole ----

weir_status weir_test_world_make(struct weir_config *config, const struct weir_test *test,
                                 const char *folder, struct weir_engine *engine,
                                 const struct weir_program_host *host,
                                 struct weir_test_world *ret_world, struct weir_error *err) {
    uint64_t event_bytes_max = weir_test_guest(config, test)->bounds.event_bytes;
    *ret_world = (struct weir_test_world){
        .config = config,
        .resources = calloc(config->resource_count + 1, sizeof *ret_world->resources),
        .host = *host,
    };
    ret_world->host.publish = publish_sent;
    ret_world->host.publish_context = ret_world;
    if (!ret_world->resources) {
        return weir_fail_no_memory(err, "the resources of a test");
    }
    weir_status status = WEIR_OK;
    for (size_t i = 0; i < config->resource_count && status == WEIR_OK; i++) {
        status = open_resource(ret_world, i, folder, event_bytes_max, err);
    }
    for (size_t i = 0; i < test->given_count && status == WEIR_OK; i++) {
        status = give(ret_world, &test->given[i], err);
    }
    return status == WEIR_OK ? load_guest(ret_world, test, engine, err) : status;
}

void weir_test_world_finish(struct weir_test_world *world) {
    weir_guest_unref(world->guest);
    for (size_t i = 0; world->resources && i < world->config->resource_count; i++) {
        struct weir_test_resource *resource = &world->resources[i];
        const struct weir_provider *provider = world->config->resources[i].provider;
        if (resource->watch) {
            provider->unwatch(resource->watch);
        }
        provider->close(resource->resource);
        for (size_t j = 0; j < resource->published_count; j++) {
            weir_event_unref(resource->published[j]);
        }
        free(resource->published);
    }
    free(world->resources);
    *world = (struct weir_test_world){.config = world->config};
}

weir_status weir_test_world_publish(struct weir_test_world *world, struct weir_event *event,
                                    struct weir_error *err) {
    if (!world->to) {
        return WEIR_OK;
    }
    struct weir_resource *resource = world->to->resource;
    weir_status status = resource->provider->publish(resource, event, err);
    return status == WEIR_OK ? status
                             : weir_error_prefix(err, status, "publishing the returned event to %s",
                                                 resource->name);
}
