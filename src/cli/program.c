// SPDX-License-Identifier: Apache-2.0
//
// The composition root; see program.h. The main thread waits for signals and for the threads that
// run mains; it never enters a guest.
#include "cli/program_private.h"

#include "cli/live.h"

#include "access/access.h"
#include "admin/admin.h"
#include "base/clock.h"
#include "base/thread.h"
#include "control/control.h"
#include "flow/flow.h"
#include "guest/engine.h"
#include "http/http.h"
#include "observe/log.h"
#include "observe/notify.h"
#include "provider/provider.h"
#include "state/state.h"
#include "trace/trace.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

// What a thread that runs a main needs of its stack besides the guest's.
enum { THREAD_STACK_BYTES = 1024 * 1024 };
enum {
    BUSY_MS = 15 * 1000, // that the start may go on, told each second while a guest is compiled
    ALIVE_WAIT_MS = 500, // of the watchdog for the flow's lock
    STOP_SLACK_MS = 60 * 1000, // of a stop beyond the grace period: cutting, the last commit
};
// Instances alive beside those of the workers and mains: those being started while others are being
// freed.
enum { INSTANCES_SPARE = 16 };

static uint32_t worker_count(const struct weir_config *config) {
    if (config->host.workers > 0) {
        return (uint32_t)config->host.workers;
    }
    uint32_t cores = weir_thread_cores();
    return cores < WEIR_WORKERS_MAX ? cores : WEIR_WORKERS_MAX;
}

// The folder of compiled guests in the user's cache; NULL: there is none, or no memory. Freed by
// the caller. Source: the XDG Base Directory Specification.
static char *users_cache(void) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char *folder = NULL;
    int size = -1;
    if (cache && cache[0] == '/') {
        size = asprintf(&folder, "%s/weir/compiled", cache);
    } else if (home && home[0] == '/') {
        size = asprintf(&folder, "%s/.cache/weir/compiled", home);
    }
    return size < 0 ? NULL : folder;
}

weir_status weir_program_engine(const struct weir_config *config, struct weir_live *live,
                                struct weir_engine **ret_engine, struct weir_error *err) {
    // Each worker has one instance in use; a guest with `reuse` keeps as many idle ones.
    uint64_t workers = worker_count(config);
    uint64_t instances = workers + config->guest_count + INSTANCES_SPARE, memory_bytes = 0;
    for (size_t i = 0; i < config->guest_count; i++) {
        const struct weir_guest_config *guest = &config->guests[i];
        instances += guest->instance == WEIR_INSTANCE_REUSE ? workers : 0;
        memory_bytes =
            guest->bounds.memory_bytes > memory_bytes ? guest->bounds.memory_bytes : memory_bytes;
    }
    // The configuration's, or the user's, which need not be there.
    char *folder = config->host.cache ? NULL : users_cache();
    struct weir_engine_config engine_config = {
        .compiler = "/proc/self/exe",
        .compile_time_ns = config->host.compile_time_ns,
        .compile_memory_bytes = config->host.compile_memory_bytes,
        .compiling = live ? weir_live_compiling : NULL,
        .compiling_context = live,
        .cache = {.path = config->host.cache ? config->host.cache : folder,
                  .bytes_max = config->host.cache_bytes,
                  .is_optional = !config->host.cache},
        .stack_bytes = config->host.stack_bytes,
        .memory_bytes_max = memory_bytes,
        .instances_max =
            (uint32_t)(instances < WEIR_INSTANCES_MAX ? instances : WEIR_INSTANCES_MAX),
    };
    weir_status status = weir_engine_create(&engine_config, ret_engine, err);
    free(folder);
    return status;
}

static bool print_line(void *context, const char *guest, struct weir_str line) {
    const struct weir_program_host *host = context;
    if (weir_output_line(host->fd, guest, line)) {
        return true;
    }
    weir_log(host->log, WEIR_LOG_WARN, "a guest's output was dropped because nobody reads it",
             {"guest", weir_str_of(guest)});
    return false;
}

static weir_status publish(void *context, const struct weir_access_publication *publication,
                           struct weir_error *err) {
    const struct weir_program_host *host = context;
    if (host->publish) {
        return host->publish(host->publish_context, publication, err);
    }
    const struct weir_send_args args = {.guest = publication->guest,
                                        .resource = publication->resource,
                                        .event = publication->event,
                                        .cause = publication->cause,
                                        .ordinal = publication->ordinal};
    return host->flow ? weir_flow_send(host->flow, &args, err)
                      : weir_fail(err, WEIR_UNSUPPORTED, "nothing is published here");
}

struct weir_access *weir_program_access(const struct weir_guest *guest) {
    return weir_guest_access_context(guest);
}

weir_status weir_program_bind(struct weir_guest *guest, struct weir_resource *const *resources,
                              size_t count, struct weir_error *err) {
    return weir_access_bind(weir_program_access(guest), resources, count, err);
}

weir_status weir_program_guest(struct weir_engine *engine, const struct weir_config *config,
                               const struct weir_guest_config *guest_config,
                               const struct weir_program_host *host, struct weir_guest **ret_guest,
                               struct weir_error *err) {
    static const enum weir_guest_lane lanes[] = {
        [WEIR_LANE_CHOICE_AUTO] = WEIR_GUEST_LANE_AUTO,
        [WEIR_LANE_CHOICE_CORE] = WEIR_GUEST_LANE_CORE,
        [WEIR_LANE_CHOICE_COMPONENT] = WEIR_GUEST_LANE_COMPONENT,
    };
    const struct weir_bounds *bounds = &guest_config->bounds;
    struct weir_guest_args args = {
        .name = guest_config->name,
        .instances = guest_config->instance == WEIR_INSTANCE_REUSE ? WEIR_INSTANCES_REUSED
                                                                   : WEIR_INSTANCES_FRESH,
        .lane = lanes[guest_config->lane],
        .idle_max = worker_count(config),
        .time_ns = bounds->time_ns,
        .memory_bytes = bounds->memory_bytes,
        .event_bytes = bounds->event_bytes,
        .output_bytes = bounds->output_bytes,
        .module_bytes = bounds->module_bytes,
        .handles = (uint32_t)bounds->handles,
        .output = {.line = print_line, .context = (void *)(uintptr_t)host},
        .host = &weir_session_host,
        .access = &weir_access_functions,
    };
    const struct weir_access_args access_args = {.guest = guest_config,
                                                 .log = host->log,
                                                 .publish = publish,
                                                 .publish_context = (void *)(uintptr_t)host,
                                                 .http = host->http};
    struct weir_access *access;
    *ret_guest = NULL;
    weir_status status = weir_access_create(&access_args, &access, err);
    if (status != WEIR_OK) {
        return status;
    }
    args.access_context = access;
    status = weir_guest_load(engine, &args, guest_config->wasm, ret_guest, err);
    weir_access_unref(access); // the guest has a reference of its own
    return status;
}

weir_status weir_program_resource(const struct weir_resource_config *resource_config,
                                  struct weir_log *log, struct weir_resource **ret_resource,
                                  struct weir_error *err) {
    struct weir_resource_args args = {
        .name = resource_config->name, .options = resource_config->options, .log = log};
    weir_status status = resource_config->provider->open(&args, ret_resource, err);
    return status == WEIR_OK ? status
                             : weir_error_prefix(err, status, "resource %s", resource_config->name);
}

// ---- parts ----

weir_status weir_parts_init(struct weir_parts *parts, const struct weir_config *config,
                            struct weir_error *err) {
    *parts = (struct weir_parts){
        .config = config,
        .guests = calloc(config->guest_count + 1, sizeof(struct weir_guest *)),
        .resources = calloc(config->resource_count + 1, sizeof(struct weir_resource *)),
    };
    if (!parts->guests || !parts->resources) {
        weir_parts_finish(parts);
        return weir_fail_no_memory(err, "the program");
    }
    return WEIR_OK;
}

void weir_parts_finish(struct weir_parts *parts) {
    for (size_t i = 0; parts->guests && i < parts->config->guest_count; i++) {
        weir_guest_unref(parts->guests[i]);
    }
    free(parts->guests);
    free(parts->resources);
    *parts = (struct weir_parts){.config = parts->config};
}

struct weir_guest *weir_parts_guest(const struct weir_parts *parts, const char *name) {
    const struct weir_guest_config *config = weir_config_guest(parts->config, weir_str_of(name));
    return config ? parts->guests[config - parts->config->guests] : NULL;
}

struct weir_resource *weir_parts_resource(const struct weir_parts *parts, const char *name) {
    const struct weir_resource_config *config =
        weir_config_resource(parts->config, weir_str_of(name));
    return config ? parts->resources[config - parts->config->resources] : NULL;
}

static weir_status load_guests(struct weir_program *program, struct weir_error *err) {
    const struct weir_config *config = program->parts.config;
    weir_status status = WEIR_OK;
    for (size_t i = 0; status == WEIR_OK && i < config->guest_count; i++) {
        status = weir_program_guest(program->engine, config, &config->guests[i], &program->host,
                                    &program->parts.guests[i], err);
    }
    return status;
}

static weir_status open_resources(struct weir_program *program, struct weir_error *err) {
    const struct weir_config *config = program->parts.config;
    weir_status status = WEIR_OK;
    for (size_t i = 0; status == WEIR_OK && i < config->resource_count; i++) {
        status = weir_program_resource(&config->resources[i], program->log,
                                       &program->parts.resources[i], err);
    }
    return status;
}

static weir_status bind_guests(const struct weir_parts *parts, struct weir_error *err) {
    weir_status status = WEIR_OK;
    for (size_t i = 0; status == WEIR_OK && i < parts->config->guest_count; i++) {
        status = weir_program_bind(parts->guests[i], parts->resources,
                                   parts->config->resource_count, err);
    }
    return status;
}

// ---- subscriptions ----

weir_status weir_program_subscribe(struct weir_program *program, const struct weir_parts *parts,
                                   const struct weir_subscription_config *config,
                                   struct weir_subscription **ret_subscription,
                                   uint32_t *ret_handler, struct weir_error *err) {
    struct weir_guest *guest = weir_parts_guest(parts, config->guest);
    weir_status status =
        weir_guest_handler_find(guest, weir_str_of(config->handler), ret_handler, err);
    if (status != WEIR_OK) {
        return status;
    }
    const struct weir_delivery_policy *delivery = &config->delivery;
    struct weir_subscription_args args = {
        .name = config->name,
        .resource = weir_parts_resource(parts, config->resource),
        .key = weir_str_of(config->key),
        .event_bytes_max =
            weir_config_guest(parts->config, weir_str_of(config->guest))->bounds.event_bytes,
        .guest = guest,
        .handler = weir_guest_handler_name(guest, *ret_handler),
        .retry = config->retry,
        .queue = config->queue,
        .journal = config->journal,
        .concurrency = delivery->concurrency,
        .on_gap = (enum weir_on_gap)delivery->on_gap,
        .overflow = (enum weir_overflow)delivery->overflow,
        .to = delivery->to ? weir_parts_resource(parts, delivery->to) : NULL,
    };
    return weir_subscription_create(program->flow, &args, ret_subscription, err);
}

static weir_status subscribe(struct weir_program *program,
                             const struct weir_subscription_config *config,
                             struct weir_error *err) {
    struct weir_subscription *subscription;
    uint32_t handler;
    weir_status status =
        weir_program_subscribe(program, &program->parts, config, &subscription, &handler, err);
    if (status == WEIR_OK) {
        weir_set_add(program->subscriptions, subscription, handler);
    }
    return status;
}

enum { FLUSH_WAIT_MS = 30000 }; // of the subscriptions' beginning, for the disk

static weir_status subscribe_all(struct weir_program *program, struct weir_error *err) {
    const struct weir_config *config = program->parts.config;
    if (config->subscription_count == 0) {
        return WEIR_OK;
    }
    weir_status status = weir_set_create(program->flow, config->path, &program->subscriptions, err);
    for (size_t i = 0; status == WEIR_OK && i < config->subscription_count; i++) {
        const struct weir_subscription_config *subscription = &config->subscriptions[i];
        status = subscribe(program, subscription, err);
        if (status != WEIR_OK) {
            weir_error_prefix(err, status, "%s:%u: the subscription of %s to %s", config->path,
                              subscription->place.line, subscription->guest,
                              subscription->resource);
        }
    }
    // From now on a stop loses nothing.
    int64_t until_ns = weir_clock_monotonic_ns() + FLUSH_WAIT_MS * WEIR_NS_PER_MS;
    return status == WEIR_OK ? weir_flow_flush(program->flow, until_ns, err) : status;
}

// ---- mains ----

// The session of a guest's main.
static weir_status prepare_main(struct weir_program *program, struct weir_runner *runner,
                                const struct weir_guest_config *config, struct weir_error *err) {
    const struct weir_delivery_policy *delivery = &config->delivery;
    struct weir_session_args args = {
        .flow = program->flow,
        .guest = runner->guest,
        .guest_name = runner->name,
        .access = weir_program_access(runner->guest),
        .watches_max = config->bounds.watches,
        .event_bytes_max = config->bounds.event_bytes,
        .retry = config->retry,
        .queue = config->queue,
        .journal = config->journal,
        .concurrency = delivery->concurrency,
        .on_gap = (enum weir_on_gap)delivery->on_gap,
        .overflow = (enum weir_overflow)delivery->overflow,
        .to = delivery->to ? weir_parts_resource(&program->parts, delivery->to) : NULL,
    };
    return weir_session_create(&args, &runner->session, err);
}

static struct weir_runner *add_runner(struct weir_program *program, const char *name,
                                      struct weir_guest *guest) {
    struct weir_runner *runner = &program->runners[program->runner_count];
    runner->name = strdup(name);
    if (!runner->name) {
        return NULL;
    }
    program->runner_count++;
    runner->program = program;
    runner->guest = weir_guest_ref(guest);
    return runner;
}

static weir_status prepare_runners(struct weir_program *program, struct weir_error *err) {
    const struct weir_config *config = program->parts.config;
    program->runners = calloc(config->guest_count + 1, sizeof *program->runners);
    if (!program->runners) {
        return weir_fail_no_memory(err, "the mains");
    }
    weir_status status = WEIR_OK;
    for (size_t i = 0; status == WEIR_OK && i < config->guest_count; i++) {
        if (!config->guests[i].run) {
            continue;
        }
        struct weir_runner *runner =
            add_runner(program, config->guests[i].name, program->parts.guests[i]);
        if (!runner) {
            return weir_fail_no_memory(err, "the mains");
        }
        if (!weir_guest_has_main(runner->guest)) {
            return weir_fail(err, WEIR_INVALID,
                             "guest %s has no main to run: it exports neither run nor _start; a "
                             "configuration can subscribe its handlers (weir help config)",
                             runner->name);
        }
        status = prepare_main(program, runner, &config->guests[i], err);
    }
    if (status == WEIR_OK && program->subscriptions &&
        !add_runner(program, "subscriptions", NULL)) {
        return weir_fail_no_memory(err, "the mains");
    }
    if (status == WEIR_OK && program->runner_count == 0) {
        return weir_fail(err, WEIR_INVALID,
                         "%s: there is nothing to run: add a subscription, or run: true to a guest",
                         config->path);
    }
    return status;
}

// ---- the whole ----

// What is kept, and who may ask about it.
static weir_status open_state(struct weir_program *program, struct weir_error *err) {
    const struct weir_control_args control = {.dir = program->args.state_dir, .log = program->log};
    weir_status status =
        weir_state_open(program->args.state_dir, program->log, &program->state, err);
    return status == WEIR_OK ? weir_control_create(&control, &program->control, err) : status;
}

static weir_status make_tracer(struct weir_program *program, struct weir_error *err) {
    const struct weir_traces_config *config = &program->parts.config->traces;
    const struct weir_tracer_args args = {
        .endpoint = config->endpoint,
        .token = config->token,
        .sample = config->sample,
        .queue = config->queue,
        .batch = config->batch,
        .interval_ns = config->interval_ns,
        .timeout_ns = config->timeout_ns,
        .log = program->log,
    };
    return config->endpoint ? weir_tracer_create(&args, &program->tracer, err) : WEIR_OK;
}

static weir_status make_admin(struct weir_program *program, struct weir_error *err) {
    const struct weir_admin_config *config = &program->parts.config->admin;
    const struct weir_admin_args args = {.config = config,
                                         .state_dir = program->args.state_dir,
                                         .log = program->log,
                                         .tracer = program->tracer};
    return config->address || config->socket ? weir_admin_create(&args, &program->admin, err)
                                             : WEIR_OK;
}

static void tap(void *context, const struct weir_tap_event *event) {
    const struct weir_program *program = context;
    weir_control_tap(program->control, event);
    weir_admin_tap(program->admin, event);
}

weir_status weir_program_tell_flow(struct weir_program *program, const struct weir_parts *parts,
                                   struct weir_error *err) {
    const struct weir_flow_known known = {.resources = parts->resources,
                                          .resource_count = parts->config->resource_count,
                                          .guests = parts->guests,
                                          .guest_count = parts->config->guest_count};
    return weir_flow_know(program->flow, &known, err);
}

static weir_status make_flow(struct weir_program *program, struct weir_error *err) {
    const struct weir_config *config = program->parts.config;
    struct weir_flow_config flow = {
        .workers = worker_count(config),
        .grace_ns = config->host.grace_ns,
        .queue_bytes = config->host.queue_bytes,
        .stack_bytes = config->host.stack_bytes,
        .hops_max = config->host.hops,
        .log = program->log,
        .store = &weir_state_store,
        .store_context = program->state,
        .commit_ns = config->state.commit_ns,
        .commit_events = config->state.commit_events,
        .tap = tap,
        .tap_context = program,
        .measures = program->admin != NULL,
        .tracer = program->tracer,
    };
    weir_status status = weir_flow_create(&flow, &program->flow, err);
    struct weir_error failure;
    program->host.flow = program->flow;
    if (status == WEIR_OK) {
        status = weir_program_tell_flow(program, &program->parts, err);
    }
    if (status == WEIR_OK &&
        weir_control_start(program->control, program->flow, &failure) != WEIR_OK) {
        // Events flow without it, for example on a file system that has no sockets.
        weir_log(program->log, WEIR_LOG_WARN, "nobody can ask this weir how it is",
                 {"reason", weir_str_of(failure.message)});
    }
    return status;
}

// Somebody waits while a guest is compiled: at the start, or in a reload.
static void look_on(void *context, const char *text) {
    struct weir_program *program = context;
    weir_notify_busy(program->args.notify, BUSY_MS * WEIR_NS_PER_MS, text);
    if (program->flow) {
        weir_program_tell_alive(program);
    }
}

weir_status weir_program_create(const struct weir_program_args *args,
                                struct weir_program **ret_program, struct weir_error *err) {
    *ret_program = NULL;
    struct weir_program *program = calloc(1, sizeof *program);
    if (!program) {
        return weir_fail_no_memory(err, "the program");
    }
    program->args = *args;
    program->log = args->log;
    program->host = (struct weir_program_host){.fd = args->output_fd, .log = args->log};
    if (args->live && args->notify) {
        args->live->look_on = look_on;
        args->live->look_on_context = program;
    }
    program->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    program->alive_due_ns = args->notify && args->notify->watchdog_ns > 0 ? 0 : INT64_MAX;
    weir_status status = weir_parts_init(&program->parts, args->config, err);
    if (status == WEIR_OK && program->ended_fd < 0) {
        status = weir_fail_errno(err, errno, "making an eventfd");
    }
    status = status == WEIR_OK
                 ? weir_program_engine(args->config, args->live, &program->engine, err)
                 : status;
    status = status == WEIR_OK ? weir_http_client_create(NULL, &program->host.http, err) : status;
    status = status == WEIR_OK ? load_guests(program, err) : status;
    status = status == WEIR_OK ? open_resources(program, err) : status;
    status = status == WEIR_OK ? bind_guests(&program->parts, err) : status;
    status = status == WEIR_OK ? open_state(program, err) : status;
    status = status == WEIR_OK ? make_tracer(program, err) : status;
    status = status == WEIR_OK ? make_admin(program, err) : status;
    status = status == WEIR_OK ? make_flow(program, err) : status;
    if (status == WEIR_OK && program->admin) {
        status = weir_admin_start(program->admin, program->flow, err);
    }
    status = status == WEIR_OK ? subscribe_all(program, err) : status;
    status = status == WEIR_OK ? prepare_runners(program, err) : status;
    if (status != WEIR_OK) {
        weir_program_destroy(program);
        return status;
    }
    *ret_program = program;
    return WEIR_OK;
}

static void close_resources(struct weir_resource **resources, size_t count) {
    for (size_t i = 0; resources && i < count; i++) {
        if (resources[i]) {
            resources[i]->provider->close(resources[i]);
        }
    }
}

void weir_program_destroy(struct weir_program *program) {
    if (!program) {
        return;
    }
    weir_admin_stop(program->admin);
    weir_control_stop(program->control);
    if (program->args.live) {
        program->args.live->look_on = NULL;
    }
    for (size_t i = 0; i < program->runner_count; i++) {
        struct weir_runner *runner = &program->runners[i];
        weir_session_destroy(runner->session);
        weir_guest_unref(runner->guest);
        free(runner->name);
    }
    free(program->runners);
    weir_set_unref(program->subscriptions);
    weir_flow_destroy(program->flow);
    weir_tracer_destroy(program->tracer);
    weir_control_destroy(program->control);
    weir_admin_destroy(program->admin);
    weir_state_close(program->state);
    close_resources(program->parts.resources, program->parts.config->resource_count);
    close_resources(program->retired, program->retired_count);
    free(program->retired);
    weir_parts_finish(&program->parts);
    if (program->reread) {
        weir_config_finish(program->reread);
        free(program->reread);
    }
    weir_http_client_destroy(program->host.http);
    weir_engine_destroy(program->engine);
    if (program->ended_fd >= 0) {
        close(program->ended_fd);
    }
    free(program);
}

static void *run(void *argument) {
    struct weir_runner *runner = argument;
    struct weir_program *program = runner->program;
    struct weir_error err;
    runner->status = runner->guest
                         ? weir_guest_run(runner->guest, runner->session, &runner->call, &err)
                         : weir_set_exec(program->subscriptions, 0, &err);
    if (runner->status == WEIR_OK) {
        weir_log(program->log, WEIR_LOG_DEBUG, "main has returned",
                 {"guest", weir_str_of(runner->name)});
    } else {
        weir_log(program->log, WEIR_LOG_ERROR, "main failed", {"guest", weir_str_of(runner->name)},
                 {"reason", weir_str_of(err.message)});
    }
    atomic_store(&runner->has_ended, true);
    const uint64_t one = 1;
    // An eventfd's counter does not overflow by this; the main thread looks again at each wake-up.
    ssize_t written = write(program->ended_fd, &one, sizeof one);
    (void)written;
    return NULL;
}

static weir_status start(struct weir_program *program, struct weir_error *err) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes,
                              program->parts.config->host.stack_bytes + THREAD_STACK_BYTES);
    int code = 0;
    for (size_t i = 0; i < program->runner_count && code == 0; i++) {
        struct weir_runner *runner = &program->runners[i];
        code = pthread_create(&runner->thread, &attributes, run, runner);
        if (code == 0) {
            char name[16]; // the system's limit
            snprintf(name, sizeof name, "weir:%.10s", runner->name);
            pthread_setname_np(runner->thread, name);
            runner->is_started = true;
        }
    }
    pthread_attr_destroy(&attributes);
    return code == 0 ? WEIR_OK : weir_fail_errno(err, code, "starting a guest's main");
}

// Joins the runners that have ended. Returns how many are left.
static size_t reap(struct weir_program *program, bool *ret_has_failed) {
    size_t left = 0;
    for (size_t i = 0; i < program->runner_count; i++) {
        struct weir_runner *runner = &program->runners[i];
        if (!runner->is_started || runner->is_over) {
            continue;
        }
        if (!atomic_load(&runner->has_ended)) {
            left++;
            continue;
        }
        pthread_join(runner->thread, NULL);
        runner->is_over = true;
        *ret_has_failed = *ret_has_failed || runner->status != WEIR_OK;
    }
    return left;
}

// From now on nothing is waited for: handlers and mains that still run are cut.
static void cut(struct weir_program *program) {
    weir_flow_cut(program->flow);
    for (size_t i = 0; i < program->runner_count; i++) {
        atomic_store_explicit(&program->runners[i].call.is_cut, true, memory_order_relaxed);
    }
}

static int open_signals(sigset_t *signals) {
    sigemptyset(signals);
    sigaddset(signals, SIGINT);
    sigaddset(signals, SIGTERM);
    sigaddset(signals, SIGHUP);
    return signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void stop(struct weir_program *program, const char *why) {
    int64_t grace_ns = program->parts.config->host.grace_ns;
    weir_log(program->log, WEIR_LOG_INFO, "stopping", {"reason", weir_str_of(why)});
    weir_notify_stopping(program->args.notify, grace_ns + STOP_SLACK_MS * WEIR_NS_PER_MS);
    weir_admin_set_unready(program->admin, "weir is stopping");
    weir_flow_stop(program->flow);
}

void weir_program_tell_alive(struct weir_program *program) {
    const struct weir_notify *notify = program->args.notify;
    int64_t now_ns = weir_clock_monotonic_ns();
    const char *reason;
    if (now_ns < program->alive_due_ns) {
        return;
    }
    program->alive_due_ns = now_ns + notify->watchdog_ns;
    bool is_alive = weir_flow_is_alive(program->flow, &program->pulse,
                                       now_ns + ALIVE_WAIT_MS * WEIR_NS_PER_MS, &reason);
    if (is_alive) {
        weir_notify_alive(notify);
    } else if (!program->was_stuck) {
        weir_log(program->log, WEIR_LOG_ERROR, "events are stuck: the watchdog is told no more",
                 {"reason", weir_str_of(reason)});
    }
    program->was_stuck = !is_alive;
}

static void tell_ready(struct weir_program *program) {
    char status[64];
    snprintf(status, sizeof status, "%zu subscriptions of the configuration, %zu mains",
             program->parts.config->subscription_count,
             program->runner_count - (program->subscriptions ? 1 : 0));
    weir_notify_ready(program->args.notify, status);
}

static void reload(struct weir_program *program) {
    weir_notify_reloading(program->args.notify);
    weir_program_reload(program);
    tell_ready(program); // also where the new configuration cannot be used: the old one goes on
}

// How the main thread waits, and for what.
struct supervision {
    struct weir_program *program;
    int signals_fd;
    bool is_stopping;
    int64_t cut_at_ns; // INT64_MAX: not yet
};

// How long poll may wait: until the cut that is due, or the watchdog, or for ever.
static int wait_ms(const struct supervision *supervision) {
    int64_t alive_due_ns = supervision->program->alive_due_ns;
    int64_t due_ns = supervision->cut_at_ns < alive_due_ns ? supervision->cut_at_ns : alive_due_ns;
    if (due_ns == INT64_MAX) {
        return -1;
    }
    int64_t left_ms = (due_ns - weir_clock_monotonic_ns()) / WEIR_NS_PER_MS + 1;
    return left_ms <= 0 ? 0 : left_ms < INT_MAX ? (int)left_ms : INT_MAX;
}

static void take_signal(struct supervision *supervision) {
    struct weir_program *program = supervision->program;
    struct signalfd_siginfo signal;
    if (read(supervision->signals_fd, &signal, sizeof signal) != sizeof signal) {
        return;
    }
    if (signal.ssi_signo == SIGHUP) {
        reload(program);
    } else if (supervision->is_stopping) {
        supervision->cut_at_ns = 0;
    } else {
        supervision->is_stopping = true;
        stop(program, strsignal((int)signal.ssi_signo));
        supervision->cut_at_ns = weir_clock_monotonic_ns() + program->parts.config->host.grace_ns;
    }
}

// Waits until every runner has ended, and stops them where a signal says so. Returns whether one
// has failed.
static bool supervise(struct weir_program *program, int signals_fd) {
    struct supervision supervision = {
        .program = program, .signals_fd = signals_fd, .cut_at_ns = INT64_MAX};
    bool has_failed = false;
    while (reap(program, &has_failed) > 0) {
        struct pollfd fds[] = {
            {.fd = signals_fd, .events = POLLIN},
            {.fd = program->ended_fd, .events = POLLIN},
            {.fd = weir_log_left_out_fd(program->log), .events = POLLIN},
        };
        poll(fds, sizeof fds / sizeof fds[0], wait_ms(&supervision));
        uint64_t ended;
        ssize_t drained = read(program->ended_fd, &ended, sizeof ended);
        (void)drained;
        if (fds[2].revents != 0) {
            weir_log_tell_left_out(program->log);
        }
        take_signal(&supervision);
        weir_program_tell_alive(program);
        if (weir_clock_monotonic_ns() >= supervision.cut_at_ns) {
            cut(program);
            supervision.cut_at_ns = INT64_MAX;
        }
    }
    if (!supervision.is_stopping) {
        weir_notify_stopping(program->args.notify, STOP_SLACK_MS * WEIR_NS_PER_MS);
    }
    return has_failed;
}

weir_status weir_program_run(struct weir_program *program, struct weir_error *err) {
    sigset_t signals;
    int signals_fd = open_signals(&signals);
    if (signals_fd < 0) {
        return weir_fail_errno(err, errno, "making a signalfd");
    }
    weir_status status = start(program, err);
    if (status == WEIR_OK) {
        tell_ready(program);
    } else {
        cut(program);
    }
    weir_admin_set_unready(program->admin, NULL);
    bool has_failed = supervise(program, signals_fd);
    weir_admin_set_unready(program->admin, "weir is stopping");
    weir_flow_stop(program->flow); // whose subscriptions end from here on, if no signal said so
    close(signals_fd);
    if (status == WEIR_OK && has_failed) {
        status = weir_fail(err, WEIR_OTHER, "a guest's main failed");
    }
    return status;
}
