// SPDX-License-Identifier: Apache-2.0
//
// weir.yaml as structs. The reader checks everything it can see without touching the world and
// reports all mistakes at once; `weir check` adds what the guests' files say.
#ifndef WEIR_CONFIG_CONFIG_H
#define WEIR_CONFIG_CONFIG_H

#include "base/error.h"
#include "base/str.h"
#include "config/option.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

struct weir_provider;

enum {
    WEIR_CONFIG_FILE_BYTES_MAX = 4 * 1024 * 1024,
    WEIR_CONFIG_RESOURCES_MAX = 1024,
    WEIR_CONFIG_GUESTS_MAX = 1024,
    WEIR_CONFIG_SUBSCRIPTIONS_MAX = 65536,
    WEIR_CONFIG_GRANTS_MAX = 1024, // of one guest; likewise hosts and env
    WEIR_CONFIG_VALUES_MAX = 256,  // of one guest's `config`
    WEIR_CONFIG_PROBLEMS_MAX = 100,
};

// A place in a configuration file, for messages. Lines and columns count from 1; 0: not from a
// file.
struct weir_place {
    uint32_t line, column;
};

// One mistake.
struct weir_problem {
    struct weir_place place;
    char *key;     // the path to it, "guests.hello.bounds.time"; "" for the file as a whole; owned
    char *message; // what is wrong and what would be right; owned
};

struct weir_problems {
    struct weir_problem items[WEIR_CONFIG_PROBLEMS_MAX];
    size_t count;    // how many items are filled
    size_t left_out; // how many more there were
};

// Adds a problem; beyond WEIR_CONFIG_PROBLEMS_MAX, or without memory for its text, it is only
// counted.
void weir_problems_add(struct weir_problems *problems, struct weir_place place, const char *key,
                       const char *format, ...) __attribute__((format(printf, 4, 5)));
void weir_problems_add_v(struct weir_problems *problems, struct weir_place place, const char *key,
                         const char *format, va_list args) __attribute__((format(printf, 4, 0)));
// Puts them in the order of the file.
void weir_problems_sort(struct weir_problems *problems);
void weir_problems_finish(struct weir_problems *problems);

// The bounds of a guest; `bounds:` at the top level is the default of each guest's own `bounds:`.
// Described by weir_bounds_options.
struct weir_bounds {
    int64_t time_ns; // `time`: of one call of a handler, of main outside exec, and of instantiation
    uint64_t memory_bytes; // `memory`: of one instance
    uint64_t event_bytes;  // `event`: an event to and from the guest, and any text or list that it
                           // hands over
    uint64_t output_bytes; // `output`: what one call may print; main: per exec and in each stretch
                           // between
    uint64_t module_bytes; // `module`: size of the guest's file
    uint64_t handles;      // `handles`: resource handles alive in one instance
    uint64_t watches;      // `watches`: watches that one run of main makes
};
extern const struct weir_option_table weir_bounds_options;

// How a failed event is tried again. Described by weir_retry_options.
struct weir_retry {
    uint64_t attempts;      // `attempts`: in all, the first included
    int64_t backoff_ns;     // `backoff`: before the second attempt; doubles for each further one
    int64_t backoff_max_ns; // `backoff_max`
    double jitter;          // `jitter`: 0 to 1, the share of a wait that is random
};
extern const struct weir_option_table weir_retry_options;

// The bounds of a subscription's queue. Described by weir_queue_options.
struct weir_queue_bounds {
    uint64_t events; // `events`
    uint64_t bytes;  // `bytes`
};
extern const struct weir_option_table weir_queue_options;

// What a subscription may keep in the state database beyond its queue. Described by
// weir_journal_options.
struct weir_journal_bounds {
    uint64_t events; // `events`
    uint64_t bytes;  // `bytes`
};
extern const struct weir_option_table weir_journal_options;

enum weir_on_gap { WEIR_GAP_DELIVER, WEIR_GAP_SKIP, WEIR_GAP_STOP };
enum weir_overflow { WEIR_OVERFLOW_JOURNAL, WEIR_OVERFLOW_DROP_OLDEST, WEIR_OVERFLOW_DROP_NEWEST };

// How a subscription's events are delivered. Described by weir_delivery_options.
struct weir_delivery_policy {
    uint64_t concurrency; // `concurrency`: handlers at a time; 0: as many as there are workers
    int on_gap;           // `on_gap`: enum weir_on_gap
    int overflow;         // `overflow`: enum weir_overflow
    char *to;             // `to`: the resource where returned events are published; NULL: nowhere
};
extern const struct weir_option_table weir_delivery_options;

// `state:`, what is written down so that nothing is lost over a stop. Described by
// weir_state_options.
struct weir_state_config {
    char *path;        // `path`: the directory; default: .weir beside the configuration
    int64_t commit_ns; // `commit`: how long an outcome may wait for others to be written with it
    uint64_t commit_events; // `commit_events`: how many may wait
};
extern const struct weir_option_table weir_state_options;

// `admin:`, where weir tells what it does, by HTTP. Described by weir_admin_options.
struct weir_admin_config {
    char *address; // `address`: IP:PORT; NULL: none
    char *socket;  // `socket`: the path of a Unix socket; NULL: none. Not both
    char *token;   // `token`: where the secret is that changes, and callers from elsewhere, want
    struct weir_place place;
};
extern const struct weir_option_table weir_admin_options;

// `host:`, what holds for weir as a whole. Described by weir_host_options.
struct weir_host_config {
    uint64_t workers; // `workers`: threads that call handlers; 0: one for each core
    int64_t grace_ns; // `grace`: how long handlers in flight may go on after a deadline or a stop
    uint64_t stack_bytes;          // `stack`: wasm stack of each instance
    uint64_t queue_bytes;          // `queue`: bytes of all queues together
    uint64_t hops;                 // `hops`: handlers that a chain of returned events may pass
    char *cache;                   // `cache`: the folder of compiled guests; NULL: the user's
    uint64_t cache_bytes;          // `cache_size`
    int64_t compile_time_ns;       // `compile_time`: of one guest
    uint64_t compile_memory_bytes; // `compile_memory`: of one guest
};
extern const struct weir_option_table weir_host_options;

// `traces:`, what became of events, for a receiver of OpenTelemetry's OTLP/HTTP. Described by
// weir_traces_options.
struct weir_traces_config {
    char *endpoint;      // `endpoint`: its URL; NULL: there are no traces
    char *token;         // `token`: where the secret is, see secret.h; NULL: none
    double sample;       // `sample`: 0 to 1
    uint64_t queue;      // `queue`: spans that may wait
    uint64_t batch;      // `batch`: spans of one request
    int64_t interval_ns; // `interval`: that a span waits for others
    int64_t timeout_ns;  // `timeout`: of one request
};
extern const struct weir_option_table weir_traces_options;

struct weir_resource_config {
    char *name;
    const struct weir_provider *provider;
    void *options; // the provider's option struct
    struct weir_place place;
};

enum weir_instance_policy { WEIR_INSTANCE_FRESH = 0, WEIR_INSTANCE_REUSE = 1 };

enum weir_lane_choice {
    WEIR_LANE_CHOICE_AUTO = 0,
    WEIR_LANE_CHOICE_CORE,
    WEIR_LANE_CHOICE_COMPONENT,
};

// What a guest may do with a resource.
enum {
    WEIR_VERB_GET = 1 << 0,
    WEIR_VERB_SET = 1 << 1,
    WEIR_VERB_DELETE = 1 << 2,
    WEIR_VERB_LIST = 1 << 3,
    WEIR_VERB_WATCH = 1 << 4,
    WEIR_VERB_PUBLISH = 1 << 5,
    WEIR_VERB_QUERY = 1 << 6,   // by SQL; of a resource as a whole, as the next one
    WEIR_VERB_EXECUTE = 1 << 7, // likewise, to change it
    WEIR_VERBS_SQL = WEIR_VERB_QUERY | WEIR_VERB_EXECUTE,
    WEIR_VERBS_READ = WEIR_VERB_GET | WEIR_VERB_LIST | WEIR_VERB_WATCH,
    WEIR_VERBS_ALL = (1 << 8) - 1,
};
// "get", as the configuration writes it.
const char *weir_verb_name(uint32_t verb);

// Described by weir_grant_options, but for the verbs.
struct weir_grant {
    char *resource;
    char *keys;     // a key, or with a final "*" every key that begins so; NULL: all
    uint32_t verbs; // WEIR_VERB_...; with keys none of WEIR_VERBS_SQL
};
extern const struct weir_option_table weir_grant_options;

struct weir_texts {
    char **items;
    size_t count;
};

struct weir_named_text {
    char *name, *value;
};

struct weir_guest_config {
    char *name;
    char *wasm;   // path
    bool run;     // call its main
    int instance; // enum weir_instance_policy
    int lane;     // enum weir_lane_choice
    // What it may reach. `grants`: default: to read the resources of its own subscriptions.
    struct weir_grant *grants;
    size_t grant_count;
    struct weir_texts hosts; // `hosts`: that it may ask by HTTP; see weir_http_grant_check
    struct weir_texts env;   // `env`: names of environment variables that it is given
    struct {
        struct weir_named_text *items;
        size_t count;
    } config; // `config`: what it is told when it asks
    struct weir_bounds bounds;
    // Of the subscriptions that its main makes; the default of those in the configuration.
    struct weir_retry retry;
    struct weir_queue_bounds queue;
    struct weir_journal_bounds journal;
    struct weir_delivery_policy delivery;
    struct weir_place place;
};

struct weir_subscription_config {
    char *name;     // `name`; NULL: derived
    char *resource; // `watch`
    char *key;      // `key`
    char *guest;    // `guest`
    char *handler;  // `handler`, default "handle-event"
    // Default: the guest's.
    struct weir_retry retry;
    struct weir_queue_bounds queue;
    struct weir_journal_bounds journal;
    struct weir_delivery_policy delivery;
    struct weir_place place;
};

// The options that stand directly in a guest's and in a subscription's mapping.
extern const struct weir_option_table weir_guest_options;
extern const struct weir_option_table weir_subscription_options;

struct weir_config {
    char *path;   // of the file, as given; "command line" where there is none
    char *folder; // where relative paths start
    struct weir_host_config host;
    struct weir_state_config state;
    struct weir_traces_config traces;
    struct weir_admin_config admin;
    struct weir_resource_config *resources;
    size_t resource_count;
    struct weir_guest_config *guests;
    size_t guest_count;
    struct weir_subscription_config *subscriptions;
    size_t subscription_count;
};

// Reads a file. `ret_config` is filled as far as possible even where there are problems, and is
// always to be finished. WEIR_OK only if problems->count is 0; WEIR_INVALID with the mistakes in
// `problems`; other statuses (the file cannot be read, no memory) with `err`. Any thread.
weir_status weir_config_read(const char *path, struct weir_config *ret_config,
                             struct weir_problems *problems, struct weir_error *err);

// As weir_config_read, from memory; `path` is only for messages and for relative paths.
weir_status weir_config_parse(struct weir_str text, const char *path,
                              struct weir_config *ret_config, struct weir_problems *problems,
                              struct weir_error *err);

// A configuration without a file: defaults, no resources, no guests.
weir_status weir_config_init(struct weir_config *config, struct weir_error *err);

// The resource or guest of that name, NULL where there is none.
const struct weir_resource_config *weir_config_resource(const struct weir_config *config,
                                                        struct weir_str name);
const struct weir_guest_config *weir_config_guest(const struct weir_config *config,
                                                  struct weir_str name);

// Whether it can name a resource, a guest or a subscription: of letters, digits, ".", "_" and "-",
// not empty, at most WEIR_NAME_BYTES_MAX.
bool weir_name_valid(struct weir_str name);

// Grants verbs on all keys of a resource to a guest, in addition to what is granted.
// WEIR_NOT_FOUND: there is no such guest.
weir_status weir_config_grant(struct weir_config *config, const char *guest, const char *resource,
                              uint32_t verbs, struct weir_error *err);

// Adds what the command line says. `definition`: "NAME=KIND:VALUE", where VALUE is the value of the
// provider's first option, as in "my-container=file:./data", and may be left out with its colon
// where that one is not required, as in "orders=topic"; a relative path starts at the working
// directory. Replaces a resource of that name, and is granted to every guest. WEIR_INVALID.
weir_status weir_config_add_resource(struct weir_config *config, const char *definition,
                                     struct weir_error *err);
// Adds a guest named after its file ("hello" for "build/hello.wasm"), with run: true and every
// resource granted. WEIR_INVALID: there is a guest of that name.
weir_status weir_config_add_guest(struct weir_config *config, const char *wasm,
                                  struct weir_error *err);

void weir_config_finish(struct weir_config *config);

#endif
