// SPDX-License-Identifier: Apache-2.0
//
// See nats.h: the provider's table, opening and closing.
#include "provider/nats/nats.h"

#include "base/clock.h"
#include "provider/keyvalue.h"
#include "provider/nats/resource.h"

#include <stdio.h>
#include <stdlib.h>

static void nats_close(struct weir_resource *base) {
    if (!base) {
        return;
    }
    struct weir_nats_resource *resource = weir_nats_of(base);
    weir_hub_destroy(resource->hub);
    if (resource->client) { // a connection that is cut takes with it what was sent last
        const struct weir_waiter waiter = {.until_ns = weir_clock_monotonic_ns() +
                                                       WEIR_NATS_CLOSE_MS * WEIR_NS_PER_MS};
        weir_nats_client_flush(resource->client, &waiter, NULL);
    }
    weir_nats_client_close(resource->client);
    weir_pool_destroy(resource->pool);
    weir_lookups_destroy(resource->login.lookups);
    weir_tls_destroy(resource->login.tls);
    weir_link_finish(&resource->link);
    weir_options_finish(&weir_nats_option_table, &resource->options);
    free(resource->base.name);
    free(resource);
}

// What follows from the options.
static void name_things(struct weir_nats_resource *resource) {
    const struct weir_nats_options *options = &resource->options;
    const char *prefix = options->prefix ? options->prefix : "";
    resource->naming.is_bucket = options->mode == WEIR_NATS_KV;
    if (options->mode == WEIR_NATS_KV) {
        snprintf(resource->stream, sizeof resource->stream, "KV_%s", options->bucket);
        snprintf(resource->naming.prefix, sizeof resource->naming.prefix, "$KV.%s.",
                 options->bucket);
    } else {
        snprintf(resource->stream, sizeof resource->stream, "%s",
                 options->stream ? options->stream : "");
        snprintf(resource->naming.prefix, sizeof resource->naming.prefix, "%s", prefix);
    }
    if (options->domain) {
        snprintf(resource->api, sizeof resource->api, "$JS.%s.API.", options->domain);
    } else {
        snprintf(resource->api, sizeof resource->api, "$JS.API.");
    }
    snprintf(resource->source, sizeof resource->source, "/%s", resource->base.name);
    snprintf(resource->label, sizeof resource->label, "weir %s", resource->base.name);
    const struct weir_tls_files files = {
        .ca = options->tls_ca, .cert = options->tls_certificate, .key = options->tls_key};
    resource->login = (struct weir_nats_login){
        .options = options,
        .servers = &resource->servers,
        .name = resource->label,
        .lookups = weir_lookups_create(),
        .tls = weir_tls_create(&files),
    };
}

static weir_status make_parts(struct weir_nats_resource *resource, struct weir_error *err) {
    struct weir_pool_args pool = weir_nats_pool_args;
    pool.connections_max = (uint32_t)resource->options.connections;
    pool.context = resource;
    pool.link = &resource->link;
    const struct weir_hub_args hub = {
        .resource = &resource->base,
        .functions = &weir_nats_hub_functions,
        .context = resource,
    };
    weir_status status = resource->login.lookups && resource->login.tls
                             ? weir_pool_create(&pool, &resource->pool, err)
                             : weir_fail_no_memory(err, "a resource");
    return status == WEIR_OK ? weir_hub_create(&hub, &resource->hub, err) : status;
}

static weir_status nats_open(const struct weir_resource_args *args,
                             struct weir_resource **ret_resource, struct weir_error *err) {
    *ret_resource = NULL;
    struct weir_nats_resource *resource = calloc(1, sizeof *resource);
    if (!resource) {
        return weir_fail_no_memory(err, "a resource");
    }
    resource->base.provider = &weir_nats_provider;
    resource->base.name = strdup(args->name);
    resource->log = args->log;
    weir_link_init(&resource->link, resource->base.name, args->log);
    weir_status status = resource->base.name ? WEIR_OK : weir_fail_no_memory(err, "a resource");
    if (status == WEIR_OK) {
        status = weir_nats_options_copy(args->options, &resource->options, err);
    }
    status = status == WEIR_OK ? weir_nats_options_check(&resource->options, err) : status;
    if (status == WEIR_OK) {
        status =
            weir_nats_servers_parse(weir_str_of(resource->options.server), &resource->servers, err);
    }
    if (status == WEIR_OK) {
        name_things(resource);
        status = make_parts(resource, err);
    }
    if (status != WEIR_OK) {
        nats_close(&resource->base);
        return status;
    }
    *ret_resource = &resource->base;
    return WEIR_OK;
}

static void nats_health(struct weir_resource *base, struct weir_health *ret_health) {
    struct weir_nats_resource *resource = weir_nats_of(base);
    weir_link_health(&resource->link, weir_hub_is_watched(resource->hub), ret_health);
}

static weir_status nats_promise(struct weir_resource *base, const struct weir_pattern *pattern,
                                struct weir_promise *ret_promise, struct weir_error *err) {
    struct weir_nats_resource *resource = weir_nats_of(base);
    struct weir_nats_subject filter;
    *ret_promise = (struct weir_promise){
        .strength =
            resource->options.mode == WEIR_NATS_STREAM ? WEIR_EVERY_CHANGE : WEIR_LATEST_VALUE,
        .capabilities = resource->stream[0] ? WEIR_CAN_ACK | WEIR_CAN_PAUSE : 0,
    };
    weir_status status = weir_keyvalue_check_pattern(pattern, err);
    return status == WEIR_OK ? weir_nats_filter_of(&resource->naming, pattern, &filter, err)
                             : status;
}

static weir_status nats_watch(struct weir_resource *base, const struct weir_watch_args *args,
                              struct weir_watch **ret_watch, struct weir_error *err) {
    *ret_watch = NULL;
    weir_status status = weir_keyvalue_check_pattern(&args->pattern, err);
    return status == WEIR_OK ? weir_hub_watch(weir_nats_of(base)->hub, args, ret_watch, err)
                             : status;
}

const struct weir_provider weir_nats_provider = {
    .kind = "nats",
    .summary = "NATS: a key-value bucket or a stream of JetStream, or plain subjects",
    .options = {.rows = weir_nats_option_rows, .count = WEIR_NATS_OPTIONS},
    .options_bytes = sizeof(struct weir_nats_options),
    .capabilities = WEIR_CAN_GET | WEIR_CAN_SET | WEIR_CAN_LIST | WEIR_CAN_WATCH | WEIR_CAN_ACK |
                    WEIR_CAN_PAUSE | WEIR_CAN_PUBLISH | WEIR_CAN_UPDATE,
    .open = nats_open,
    .close = nats_close,
    .health = nats_health,
    .examine = weir_nats_examine,
    .withdraw = weir_nats_withdraw,
    .get = weir_nats_get,
    .set = weir_nats_set,
    .remove = weir_nats_remove,
    .list = weir_nats_list,
    .update = weir_nats_update,
    .promise = nats_promise,
    .watch = nats_watch,
    .unwatch = weir_hub_unwatch,
    .resume = weir_hub_resume,
    .acknowledge = weir_hub_acknowledge,
    .publish = weir_nats_publish,
};
