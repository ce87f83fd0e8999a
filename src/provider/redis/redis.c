// SPDX-License-Identifier: Apache-2.0
//
// The provider's table, its options, and the opening and closing of a resource. The other rooms:
// reply.c reads what a server answers, connection.c is how it is reached, loan.c and session.c who
// has connections: threads that read and write (store.c, publish.c, log_write.c), and the hub's
// thread, which watches: in one of three modes, keys.c with compare.c, log.c and streams.c.
// examine.c tries a server for people.
//
// Any thread.
#include "provider/redis/redis.h"

#include "base/clock.h"
#include "provider/redis/names.h"
#include "provider/redis/resource.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IDLE_S = 60 }; // a connection that was not used for so long is closed

static const char *const modes[] = {"keys", "log", "streams", NULL};

static const struct weir_option option_rows[] = {
    {
        .name = "address",
        .type = WEIR_OPTION_TEXT,
        .offset = offsetof(struct weir_redis_options, address),
        .is_required = true,
        .min = 1,
        .max = 1024,
        .help = "HOST:PORT, [IPV6]:PORT, or the path of a Unix socket",
    },
    {
        .name = "mode",
        .type = WEIR_OPTION_CHOICE,
        .offset = offsetof(struct weir_redis_options, mode),
        .fallback = "keys",
        .choices = modes,
        .help = "keys: values, compared; log: values, each change; streams: by consumer groups",
    },
    {
        .name = "database",
        .type = WEIR_OPTION_COUNT,
        .offset = offsetof(struct weir_redis_options, database),
        .fallback = "0",
        .min = 0,
        .max = 1000000,
        .help = "its number",
    },
    {
        .name = "user",
        .type = WEIR_OPTION_TEXT,
        .offset = offsetof(struct weir_redis_options, user),
        .min = 1,
        .max = 1024,
        .help = "of the server's access control list; else the default one",
    },
    {
        .name = "password",
        .type = WEIR_OPTION_SECRET,
        .offset = offsetof(struct weir_redis_options, password),
        .help = "of the user",
    },
    {
        .name = "tls",
        .type = WEIR_OPTION_BOOL,
        .offset = offsetof(struct weir_redis_options, tls),
        .fallback = "false",
        .help = "speak TLS; the server has to show a certificate for its host",
    },
    {
        .name = "tls_ca",
        .type = WEIR_OPTION_PATH,
        .offset = offsetof(struct weir_redis_options, tls_ca),
        .help = "PEM file of who vouches for the server; else the system's authorities",
    },
    {
        .name = "tls_cert",
        .type = WEIR_OPTION_PATH,
        .offset = offsetof(struct weir_redis_options, tls_cert),
        .help = "PEM file of a certificate to show to the server, with tls_key",
    },
    {
        .name = "tls_key",
        .type = WEIR_OPTION_PATH,
        .offset = offsetof(struct weir_redis_options, tls_key),
        .help = "PEM file of its private key",
    },
    {
        .name = "timeout",
        .type = WEIR_OPTION_DURATION,
        .offset = offsetof(struct weir_redis_options, timeout_ns),
        .fallback = "5s",
        .min = 100 * WEIR_NS_PER_MS,
        .max = 60 * WEIR_NS_PER_S,
        .help = "the longest wait for a connection, and for an answer",
    },
    {
        .name = "ping",
        .type = WEIR_OPTION_DURATION,
        .offset = offsetof(struct weir_redis_options, ping_ns),
        .fallback = "10s",
        .min = 100 * WEIR_NS_PER_MS,
        .max = 3600 * WEIR_NS_PER_S,
        .help = "silence after which the server is asked whether it is there",
    },
    {
        .name = "connections",
        .type = WEIR_OPTION_COUNT,
        .offset = offsetof(struct weir_redis_options, connections),
        .fallback = "8",
        .min = 1,
        .max = 256,
        .help = "for reading and writing; a resource that is watched has two more",
    },
    {
        .name = "keys_max",
        .type = WEIR_OPTION_COUNT,
        .offset = offsetof(struct weir_redis_options, keys_max),
        .fallback = "1000000",
        .min = 1,
        .max = 100000000,
        .help = "keys that one watch follows, each some 200 bytes of memory, or that are listed",
    },
    {
        .name = "rescan",
        .type = WEIR_OPTION_DURATION,
        .offset = offsetof(struct weir_redis_options, rescan_ns),
        .fallback = "1h",
        .min = 0,
        .max = 7 * 24 * 3600 * WEIR_NS_PER_S,
        .help =
            "how often to compare all watched keys, for what the server does not tell; 0: never",
    },
    {
        .name = "chain",
        .type = WEIR_OPTION_DURATION,
        .offset = offsetof(struct weir_redis_options, chain_ns),
        .fallback = "1h",
        .min = 0,
        .max = 30 * 24 * 3600 * WEIR_NS_PER_S,
        .help = "keys: how long to keep which event a published value comes from; 0: not at all",
    },
    {
        .name = "log",
        .type = WEIR_OPTION_TEXT,
        .offset = offsetof(struct weir_redis_options, log),
        .fallback = "weir:log",
        .min = 1,
        .max = 512,
        .help = "log: the stream that has each change",
    },
    {
        .name = "log_entries",
        .type = WEIR_OPTION_COUNT,
        .offset = offsetof(struct weir_redis_options, log_entries),
        .fallback = "100000",
        .min = 0,
        .max = 1000000000,
        .help = "log: about how many of the last changes it keeps; 0: all",
    },
    {
        .name = "consumer",
        .type = WEIR_OPTION_TEXT,
        .offset = offsetof(struct weir_redis_options, consumer),
        .min = 1,
        .max = 256,
        .help = "streams: this weir's name in groups, its own in each; else the host's name",
    },
    {
        .name = "claim",
        .type = WEIR_OPTION_DURATION,
        .offset = offsetof(struct weir_redis_options, claim_ns),
        .fallback = "1m",
        .min = 100 * WEIR_NS_PER_MS,
        .max = 24 * 3600 * WEIR_NS_PER_S,
        .help = "streams: entries that others have left for so long are taken over",
    },
};

// ---- options ----

static bool copy_text(char **text) {
    char *copy = *text ? strdup(*text) : NULL;
    bool is_copied = copy || !*text;
    *text = copy;
    return is_copied;
}

// The resource's own texts, in place of those that are valid during open only.
static bool copy_texts(struct weir_redis_options *options) {
    char **const texts[] = {&options->address, &options->user,     &options->password,
                            &options->tls_ca,  &options->tls_cert, &options->tls_key,
                            &options->log,     &options->consumer};
    bool are_copied = true;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        are_copied = copy_text(texts[i]) && are_copied;
    }
    return are_copied;
}

static void free_texts(struct weir_redis_options *options) {
    free(options->address);
    free(options->user);
    free(options->password);
    free(options->tls_ca);
    free(options->tls_cert);
    free(options->tls_key);
    free(options->log);
    free(options->consumer);
}

static weir_status check_options(const struct weir_redis_options *options, struct weir_error *err) {
    bool has_tls_files = options->tls_ca || options->tls_cert || options->tls_key;
    if (!options->tls && has_tls_files) {
        return weir_fail(err, WEIR_INVALID, "there are files for TLS, but not `tls: true`");
    }
    if (options->tls && options->address[0] == '/') {
        return weir_fail(err, WEIR_INVALID, "`tls` is for a HOST:PORT; `address` is a Unix socket");
    }
    if (!options->tls_cert != !options->tls_key) {
        return weir_fail(err, WEIR_INVALID, "`tls_cert` and `tls_key` stand together");
    }
    if (options->user && !options->password) {
        return weir_fail(err, WEIR_INVALID, "`user` stands with `password`");
    }
    if (weir_redis_is_own(weir_str_of(options->log))) {
        return weir_fail(err, WEIR_INVALID, "`log`: weir has keys of that name for something else");
    }
    return WEIR_OK;
}

// ---- opening and closing ----

static weir_status pool_open(void *context, int64_t until_ns, void **ret_connection,
                             struct weir_error *err) {
    struct weir_redis_resource *resource = context;
    struct weir_redis_connection *connection;
    const struct weir_waiter waiter = {.until_ns = until_ns};
    weir_status status = weir_redis_connect(&resource->endpoint, &waiter, &connection, err);
    *ret_connection = connection;
    return status;
}

static void pool_close(void *context, void *connection) {
    (void)context;
    weir_redis_disconnect(connection);
}

static weir_status make_endpoint(struct weir_redis_resource *resource, struct weir_error *err) {
    const struct weir_redis_options *options = &resource->options;
    struct weir_redis_endpoint *endpoint = &resource->endpoint;
    weir_status status = weir_redis_endpoint_parse(endpoint, options->address, err);
    endpoint->address = options->address;
    endpoint->user = options->user;
    endpoint->password = options->password;
    endpoint->name = resource->connection_name;
    endpoint->database = options->database;
    endpoint->timeout_ns = options->timeout_ns;
    endpoint->lookups = weir_lookups_create();
    if (status == WEIR_OK && !endpoint->lookups) {
        status = weir_fail_no_memory(err, "a resource");
    }
    if (status == WEIR_OK && options->tls) {
        const struct weir_tls_files files = {
            .ca = options->tls_ca, .cert = options->tls_cert, .key = options->tls_key};
        endpoint->tls = weir_tls_create(&files);
        status = endpoint->tls ? weir_tls_check(endpoint->tls, err)
                               : weir_fail_no_memory(err, "a resource");
    }
    return status;
}

static weir_status make_session(struct weir_redis_resource *resource, struct weir_error *err) {
    const struct weir_redis_mode_functions *mode = resource->mode;
    weir_status status = mode->create(resource, &resource->watches, err);
    const struct weir_redis_session_args session = {
        .endpoint = &resource->endpoint,
        .functions = &mode->session,
        .context = resource->watches,
        .link = &resource->link,
        .ping_ns = resource->options.ping_ns,
    };
    const struct weir_hub_args hub = {
        .resource = &resource->base, .functions = &mode->hub, .context = resource->watches};
    if (status == WEIR_OK) {
        status = weir_redis_session_create(&session, &resource->session, err);
    }
    if (status == WEIR_OK) {
        mode->set_session(resource->watches, resource->session);
        status = weir_hub_create(&hub, &resource->hub, err);
    }
    if (status == WEIR_OK) {
        weir_redis_session_set_hub(resource->session, resource->hub);
    }
    return status;
}

static weir_status make(struct weir_redis_resource *resource, struct weir_error *err) {
    static const struct weir_redis_mode_functions *const functions[] = {
        [WEIR_REDIS_KEYS] = &weir_redis_keys,
        [WEIR_REDIS_LOG] = &weir_redis_log,
        [WEIR_REDIS_STREAMS] = &weir_redis_streams,
    };
    const struct weir_pool_args pool = {
        .connections_max = (uint32_t)resource->options.connections,
        .idle_ns = IDLE_S * WEIR_NS_PER_S,
        .open = pool_open,
        .close = pool_close,
        .context = resource,
        .link = &resource->link,
    };
    resource->mode = functions[resource->options.mode];
    weir_status status = make_endpoint(resource, err);
    status = status == WEIR_OK ? weir_pool_create(&pool, &resource->pool, err) : status;
    return status == WEIR_OK ? make_session(resource, err) : status;
}

static void redis_close(struct weir_resource *base) {
    if (!base) {
        return;
    }
    struct weir_redis_resource *resource = (struct weir_redis_resource *)base;
    weir_hub_destroy(resource->hub);
    weir_redis_session_destroy(resource->session);
    if (resource->mode) {
        resource->mode->destroy(resource->watches);
    }
    weir_pool_destroy(resource->pool);
    weir_redis_endpoint_finish(&resource->endpoint);
    weir_link_finish(&resource->link);
    free_texts(&resource->options);
    free(resource->connection_name);
    free(resource->source);
    free(resource->base.name);
    free(resource);
}

static weir_status redis_open(const struct weir_resource_args *args,
                              struct weir_resource **ret_resource, struct weir_error *err) {
    const struct weir_redis_options *options = args->options;
    *ret_resource = NULL;
    weir_status status = check_options(options, err);
    if (status != WEIR_OK) {
        return status;
    }
    struct weir_redis_resource *resource = calloc(1, sizeof *resource);
    if (!resource) {
        return weir_fail_no_memory(err, "a resource");
    }
    resource->base.provider = &weir_redis_provider;
    resource->log = args->log;
    resource->options = *options;
    bool is_copied = copy_texts(&resource->options);
    resource->base.name = strdup(args->name);
    weir_link_init(&resource->link, resource->base.name, args->log);
    if (asprintf(&resource->source, "/%s", args->name) < 0) {
        resource->source = NULL;
    }
    if (asprintf(&resource->connection_name, "weir:%s", args->name) < 0) {
        resource->connection_name = NULL;
    }
    is_copied = is_copied && resource->base.name && resource->source && resource->connection_name;
    status = is_copied ? make(resource, err) : weir_fail_no_memory(err, "a resource");
    if (status != WEIR_OK) {
        redis_close(&resource->base);
        return status;
    }
    *ret_resource = &resource->base;
    return WEIR_OK;
}

static void redis_health(struct weir_resource *base, struct weir_health *ret_health) {
    struct weir_redis_resource *resource = (struct weir_redis_resource *)base;
    weir_link_health(&resource->link, weir_hub_is_watched(resource->hub), ret_health);
}

// ---- watching ----

static weir_status redis_promise(struct weir_resource *base, const struct weir_pattern *pattern,
                                 struct weir_promise *ret_promise, struct weir_error *err) {
    const struct weir_redis_resource *resource = (const struct weir_redis_resource *)base;
    *ret_promise = (struct weir_promise){.strength = resource->mode->strength,
                                         .capabilities = resource->mode->capabilities};
    return weir_redis_check_pattern(pattern, err);
}

static weir_status redis_watch(struct weir_resource *base, const struct weir_watch_args *args,
                               struct weir_watch **ret_watch, struct weir_error *err) {
    *ret_watch = NULL;
    weir_status status = weir_redis_check_pattern(&args->pattern, err);
    return status == WEIR_OK
               ? weir_hub_watch(((struct weir_redis_resource *)base)->hub, args, ret_watch, err)
               : status;
}

const struct weir_provider weir_redis_provider = {
    .kind = "redis",
    .summary = "a database of a Redis server: its keys, a log of their changes, or its streams",
    .options = {.rows = option_rows, .count = sizeof option_rows / sizeof option_rows[0]},
    .options_bytes = sizeof(struct weir_redis_options),
    .capabilities = WEIR_CAN_GET | WEIR_CAN_SET | WEIR_CAN_LIST | WEIR_CAN_WATCH | WEIR_CAN_REPLAY |
                    WEIR_CAN_COMPARE | WEIR_CAN_ACK | WEIR_CAN_PAUSE | WEIR_CAN_PUBLISH |
                    WEIR_CAN_UPDATE,
    .open = redis_open,
    .close = redis_close,
    .health = redis_health,
    .examine = weir_redis_examine,
    .withdraw = weir_redis_withdraw,
    .get = weir_redis_get,
    .set = weir_redis_set,
    .remove = weir_redis_remove,
    .list = weir_redis_list,
    .update = weir_redis_update,
    .promise = redis_promise,
    .watch = redis_watch,
    .unwatch = weir_hub_unwatch,
    .resume = weir_hub_resume,
    .acknowledge = weir_hub_acknowledge,
    .publish = weir_redis_publish,
};
