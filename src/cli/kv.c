// SPDX-License-Identifier: Apache-2.0
//
// `weir kv`: the keys of a resource from a shell. It goes through the provider's contract like
// everything else, so what it can do is what the provider can. watch is in kv_watch.c.
//
// Reading standard input and writing standard output may block for as long as the other side likes,
// as with any tool in a pipe; SIGINT ends it. Main thread.
#include "cli/kv.h"

#include "base/clock.h"
#include "base/nearest.h"
#include "base/show.h"
#include "cli/program.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    RESOURCE_OPTIONS_MAX = 64,    // --resource on one command line
    DEFINITION_BYTES_MAX = 8192,  // of KIND:VALUE
    READ_BYTES_FIRST = 64 * 1024, // of a value from standard input; doubles as needed
    COUNT_MAX = 1000 * 1000 * 1000,
};
#define TIMEOUT_NS_MAX (366 * 24 * 3600 * WEIR_NS_PER_S)

static const char default_config[] = "weir.yaml";

// The arguments as they were given.
struct arguments {
    const char *file; // NULL: the default
    const char *resources[RESOURCE_OPTIONS_MAX];
    size_t resource_count;
    const char *words[4]; // action, RESOURCE, KEY, VALUE
    size_t word_count;
    char letters[8]; // of the options that belong to some actions only, as given
    bool is_null_ended;
    // Described by option_rows:
    uint64_t value_bytes_max, count;
    int64_t timeout_ns;
};

static const struct weir_option option_rows[] = {
    {
        .name = "value-max",
        .type = WEIR_OPTION_SIZE,
        .offset = offsetof(struct arguments, value_bytes_max),
        .fallback = "64MiB",
        .min = 1,
        .max = INT64_C(4) << 30,
    },
    {
        .name = "count",
        .type = WEIR_OPTION_COUNT,
        .offset = offsetof(struct arguments, count),
        .min = 1,
        .max = COUNT_MAX,
    },
    {
        .name = "timeout",
        .type = WEIR_OPTION_DURATION,
        .offset = offsetof(struct arguments, timeout_ns),
        .min = WEIR_NS_PER_MS,
        .max = TIMEOUT_NS_MAX,
    },
};
static const struct weir_option_table option_table = {
    .rows = option_rows, .count = sizeof option_rows / sizeof option_rows[0]};

int weir_kv_failed(const struct weir_kv *kv, const struct weir_error *err) {
    weir_cli_failed(kv->cli, "kv %s: %s", kv->action, err->message);
    return err->status == WEIR_INVALID ? WEIR_EXIT_MISTAKE : WEIR_EXIT_FAILED;
}

static int cannot(const struct weir_kv *kv) {
    weir_cli_failed(kv->cli, "kv %s: a resource of kind %s cannot do that", kv->action,
                    kv->provider->kind);
    return WEIR_EXIT_MISTAKE;
}

// ---- the actions ----

// Writes it all. A reader that is gone has what it wanted.
static int write_all(const struct weir_kv *kv, struct weir_str bytes) {
    while (bytes.size > 0) {
        ssize_t written = write(STDOUT_FILENO, bytes.data, bytes.size);
        if (written < 0 && errno == EPIPE) {
            return WEIR_EXIT_DONE;
        }
        if (written < 0 && errno != EINTR) {
            struct weir_error err;
            weir_fail_errno(&err, errno, "cannot write to standard output");
            return weir_kv_failed(kv, &err);
        }
        bytes.data += written > 0 ? written : 0;
        bytes.size -= written > 0 ? (size_t)written : 0;
    }
    return WEIR_EXIT_DONE;
}

static int get(const struct weir_kv *kv) {
    struct weir_value value;
    struct weir_error err;
    if (!kv->provider->get) {
        return cannot(kv);
    }
    weir_status status = kv->provider->get(kv->resource, kv->key, &kv->limits, &value, &err);
    if (status != WEIR_OK) {
        return weir_kv_failed(kv, &err);
    }
    int exit_status = write_all(kv, (struct weir_str){.data = value.data, .size = value.size});
    bool has_line_end = value.size > 0 && value.data[value.size - 1] == '\n';
    if (exit_status == WEIR_EXIT_DONE && !has_line_end && isatty(STDOUT_FILENO)) {
        exit_status = write_all(kv, WEIR_STR("\n")); // so that the prompt starts on its own line
    }
    free(value.data);
    return exit_status;
}

// Reads standard input to its end. `ret_value` is to be freed, also after an error.
static weir_status read_value(uint64_t bytes_max, char **ret_value, size_t *ret_size,
                              struct weir_error *err) {
    size_t size = 0, room = 0;
    for (;;) {
        if (size == room) {
            room = room ? room * 2 : READ_BYTES_FIRST;
            char *grown = realloc(*ret_value, room);
            if (!grown) {
                return weir_fail_no_memory(err, "the value");
            }
            *ret_value = grown;
        }
        ssize_t more = read(STDIN_FILENO, *ret_value + size, room - size);
        if (more < 0 && errno != EINTR) {
            return weir_fail_errno(err, errno, "cannot read the value from standard input");
        }
        if (more == 0) {
            *ret_size = size;
            return WEIR_OK;
        }
        size += more > 0 ? (size_t)more : 0;
        if (size > bytes_max) {
            return weir_fail(err, WEIR_LIMIT,
                             "the value has more than %llu bytes; --value-max allows larger ones",
                             (unsigned long long)bytes_max);
        }
    }
}

static int set(const struct weir_kv *kv) {
    struct weir_error err;
    weir_status status = WEIR_OK;
    char *read = NULL;
    struct weir_str value = weir_str_of(kv->value);
    if (!kv->provider->set) {
        return cannot(kv);
    }
    if (!kv->value) {
        status = read_value(kv->limits.value_bytes_max, &read, &value.size, &err);
        value.data = read;
    }
    if (status == WEIR_OK) {
        status = kv->provider->set(kv->resource, kv->key, value, &kv->limits, &err);
    }
    free(read);
    return status == WEIR_OK ? WEIR_EXIT_DONE : weir_kv_failed(kv, &err);
}

static int rm(const struct weir_kv *kv) {
    struct weir_error err;
    if (!kv->provider->remove) {
        return cannot(kv);
    }
    weir_status status = kv->provider->remove(kv->resource, kv->key, &kv->limits, &err);
    return status == WEIR_OK ? WEIR_EXIT_DONE : weir_kv_failed(kv, &err);
}

static bool print_key(void *context, struct weir_str key) {
    const struct weir_kv *kv = context;
    if (isatty(STDOUT_FILENO)) {
        char shown[WEIR_KEY_BYTES_MAX * WEIR_SHOWN_BYTES_MAX + 1];
        fputs(weir_show(key, shown, sizeof shown), stdout);
    } else {
        fwrite(key.data, 1, key.size, stdout);
    }
    putchar(kv->is_null_ended ? '\0' : '\n');
    return !ferror(stdout); // the caller of the command tells why
}

static int ls(const struct weir_kv *kv) {
    struct weir_error err;
    if (!kv->provider->list) {
        return cannot(kv);
    }
    struct weir_pattern pattern = weir_pattern_of(kv->key);
    const struct weir_listing listing = {.each = print_key, .context = (void *)(uintptr_t)kv};
    weir_status status = kv->provider->list(kv->resource, &pattern, &kv->limits, &listing, &err);
    return status == WEIR_OK ? WEIR_EXIT_DONE : weir_kv_failed(kv, &err);
}

struct action {
    const char *name;
    int (*run)(const struct weir_kv *kv);
    size_t words_min, words_max; // itself included
    const char *letters;         // the options that it has besides -f and -r
    const char *usage;
    bool may_create;  // make what the resource's own `create` makes
    bool is_watching; // it sees to signals itself
};

static const struct action actions[] = {
    {.name = "get",
     .run = get,
     .words_min = 3,
     .words_max = 3,
     .letters = "m",
     .usage = "get RESOURCE KEY"},
    {.name = "set",
     .run = set,
     .words_min = 3,
     .words_max = 4,
     .letters = "m",
     .usage = "set RESOURCE KEY [VALUE]",
     .may_create = true},
    {.name = "rm",
     .run = rm,
     .words_min = 3,
     .words_max = 3,
     .letters = "",
     .usage = "rm RESOURCE KEY"},
    {.name = "ls",
     .run = ls,
     .words_min = 2,
     .words_max = 3,
     .letters = "0",
     .usage = "ls RESOURCE [KEY]"},
    {.name = "watch",
     .run = weir_kv_watch,
     .words_min = 2,
     .words_max = 3,
     .letters = "mnt",
     .usage = "watch RESOURCE [KEY]",
     .may_create = true,
     .is_watching = true},
};
enum { ACTIONS = sizeof actions / sizeof actions[0] };

// ---- arguments ----

static const struct option long_options[] = {
    {"file", required_argument, NULL, 'f'},
    {"resource", required_argument, NULL, 'r'},
    {"value-max", required_argument, NULL, 'm'},
    {"null", no_argument, NULL, '0'},
    {"count", required_argument, NULL, 'n'},
    {"timeout", required_argument, NULL, 't'},
    {NULL, 0, NULL, 0},
};

static const char *long_name(char letter) {
    const struct option *option = long_options;
    while (option->val != letter) {
        option++;
    }
    return option->name;
}

// Returns an exit status.
static int take_option(const struct weir_cli *cli, struct arguments *arguments, int code) {
    if (code == 'f') {
        arguments->file = optarg;
        return WEIR_EXIT_DONE;
    }
    if (code == 'r') {
        if (arguments->resource_count == RESOURCE_OPTIONS_MAX) {
            return weir_cli_mistake(cli, "kv", "more than %d --resource", RESOURCE_OPTIONS_MAX);
        }
        arguments->resources[arguments->resource_count++] = optarg;
        return WEIR_EXIT_DONE;
    }
    if (!strchr(arguments->letters, code)) {
        arguments->letters[strlen(arguments->letters)] = (char)code;
    }
    if (code == '0') {
        arguments->is_null_ended = true;
        return WEIR_EXIT_DONE;
    }
    const char *name = long_name((char)code);
    const struct weir_option *option = weir_option_find(&option_table, weir_str_of(name));
    struct weir_error err;
    if (weir_option_set(option, arguments, weir_str_of(optarg), NULL, &err) != WEIR_OK) {
        return weir_cli_mistake(cli, "kv", "--%s: %s", name, err.message);
    }
    return WEIR_EXIT_DONE;
}

static int parse_arguments(const struct weir_cli *cli, int argc, char **argv,
                           struct arguments *arguments) {
    struct weir_error err;
    if (weir_options_init(&option_table, arguments, &err) != WEIR_OK) {
        return weir_cli_failed(cli, "kv: %s", err.message);
    }
    optind = 0; // getopt starts anew
    int code;
    while ((code = weir_cli_option(cli, argc, argv, ":f:r:m:0n:t:", long_options)) != -1) {
        int exit_status = code == '?' ? WEIR_EXIT_MISTAKE : take_option(cli, arguments, code);
        if (exit_status != WEIR_EXIT_DONE) {
            return exit_status;
        }
    }
    for (int i = optind; i < argc; i++) {
        if (arguments->word_count == sizeof arguments->words / sizeof arguments->words[0]) {
            char shown[WEIR_SHOW_BYTES];
            return weir_cli_mistake(cli, "kv", "\"%s\" is too much; quote a value with spaces",
                                    weir_show(weir_str_of(argv[i]), shown, sizeof shown));
        }
        arguments->words[arguments->word_count++] = argv[i];
    }
    return WEIR_EXIT_DONE;
}

static const struct action *find_action(const struct weir_cli *cli,
                                        const struct arguments *arguments) {
    if (arguments->word_count == 0) {
        weir_cli_mistake(cli, "kv", "kv wants an action: get, set, rm, ls or watch");
        return NULL;
    }
    struct weir_nearest nearest;
    weir_nearest_init(&nearest, weir_str_of(arguments->words[0]));
    for (size_t i = 0; i < ACTIONS; i++) {
        if (strcmp(actions[i].name, arguments->words[0]) == 0) {
            return &actions[i];
        }
        weir_nearest_offer(&nearest, actions[i].name);
    }
    char shown[WEIR_SHOW_BYTES];
    weir_show(weir_str_of(arguments->words[0]), shown, sizeof shown);
    if (nearest.best) {
        weir_cli_mistake(cli, "kv", "kv cannot %s; did you mean %s?", shown, nearest.best);
    } else {
        weir_cli_mistake(cli, "kv", "kv cannot %s; it can get, set, rm, ls and watch", shown);
    }
    return NULL;
}

static int check_arguments(const struct weir_cli *cli, const struct action *action,
                           const struct arguments *arguments) {
    if (arguments->word_count < action->words_min || arguments->word_count > action->words_max) {
        return weir_cli_mistake(cli, "kv", "it is written: weir kv %s", action->usage);
    }
    for (const char *letter = arguments->letters; *letter; letter++) {
        if (!strchr(action->letters, *letter)) {
            return weir_cli_mistake(cli, "kv", "kv %s has no option --%s", action->name,
                                    long_name(*letter));
        }
    }
    return WEIR_EXIT_DONE;
}

// ---- the resource ----

static int unknown_resource(const struct weir_cli *cli, const struct weir_config *config,
                            const char *name) {
    struct weir_nearest nearest;
    weir_nearest_init(&nearest, weir_str_of(name));
    for (size_t i = 0; i < config->resource_count; i++) {
        weir_nearest_offer(&nearest, config->resources[i].name);
    }
    char shown[WEIR_SHOW_BYTES];
    weir_show(weir_str_of(name), shown, sizeof shown);
    if (nearest.best) {
        return weir_cli_mistake(cli, "kv", "%s has no resource \"%s\"; did you mean \"%s\"?",
                                config->path, shown, nearest.best);
    }
    return weir_cli_mistake(cli, "kv", "%s has no resource \"%s\"", config->path, shown);
}

// Fills a configuration in which RESOURCE can be found: by --resource, by KIND:VALUE, or a file.
// `ret_name` is what it is called there. Returns an exit status.
static int find_config(const struct weir_cli *cli, const struct arguments *arguments,
                       struct weir_config *config, const char **ret_name) {
    struct weir_error err;
    const char *wanted = arguments->words[1];
    *ret_name = wanted;
    weir_status status = weir_config_init(config, &err);
    for (size_t i = 0; i < arguments->resource_count && status == WEIR_OK; i++) {
        status = weir_config_add_resource(config, arguments->resources[i], &err);
    }
    const char *colon = strchr(wanted, ':');
    if (status == WEIR_OK && colon) {
        char definition[DEFINITION_BYTES_MAX];
        int size = snprintf(definition, sizeof definition, "%.*s=%s", (int)(colon - wanted), wanted,
                            wanted);
        status = size < DEFINITION_BYTES_MAX
                     ? weir_config_add_resource(config, definition, &err)
                     : weir_fail(&err, WEIR_LIMIT, "RESOURCE has more than %d bytes",
                                 DEFINITION_BYTES_MAX);
        *ret_name =
            config->resource_count ? config->resources[config->resource_count - 1].name : wanted;
    }
    if (status != WEIR_OK) {
        return weir_cli_mistake(cli, "kv", "%s", err.message);
    }
    if (colon || weir_config_resource(config, weir_str_of(wanted))) {
        return WEIR_EXIT_DONE;
    }
    const char *file = arguments->file ? arguments->file : default_config;
    if (!arguments->file && access(file, F_OK) != 0) {
        char shown[WEIR_SHOW_BYTES];
        return weir_cli_mistake(
            cli, "kv",
            "there is no %s here that says what \"%s\" is; name a configuration "
            "by --file, or write KIND:VALUE, such as file:./data",
            file, weir_show(weir_str_of(wanted), shown, sizeof shown));
    }
    weir_config_finish(config);
    return weir_cli_read_config(cli, file, config);
}

static void block_signals(void) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
}

static int run(const struct weir_cli *cli, const struct action *action,
               const struct arguments *arguments, const struct weir_resource_config *resource) {
    struct weir_kv kv = {
        .cli = cli,
        .action = action->name,
        .provider = resource->provider,
        .key = weir_str_of(arguments->word_count > 2 ? arguments->words[2] : "*"),
        .value = arguments->words[3] && strcmp(arguments->words[3], "-") != 0 ? arguments->words[3]
                                                                              : NULL,
        .limits = {.value_bytes_max = arguments->value_bytes_max, .until_ns = INT64_MAX},
        .count = arguments->count,
        .timeout_ns = arguments->timeout_ns,
        .is_null_ended = arguments->is_null_ended,
    };
    struct weir_error err;
    if (action->is_watching) {
        block_signals(); // before the provider's thread is there, which inherits it
    }
    weir_status status = weir_program_resource(resource, cli->log, &kv.resource, &err);
    if (status != WEIR_OK) {
        return weir_kv_failed(&kv, &err);
    }
    int exit_status = action->run(&kv);
    kv.provider->close(kv.resource);
    return exit_status;
}

int weir_command_kv(const struct weir_cli *cli, int argc, char **argv) {
    struct arguments arguments = {0};
    int exit_status = parse_arguments(cli, argc, argv, &arguments);
    if (exit_status != WEIR_EXIT_DONE) {
        return exit_status;
    }
    const struct action *action = find_action(cli, &arguments);
    if (!action) {
        return WEIR_EXIT_MISTAKE;
    }
    exit_status = check_arguments(cli, action, &arguments);
    if (exit_status != WEIR_EXIT_DONE) {
        return exit_status;
    }
    struct weir_config config = {0};
    const char *name = NULL;
    exit_status = find_config(cli, &arguments, &config, &name);
    if (exit_status == WEIR_EXIT_DONE) {
        if (!action->may_create) {
            weir_cli_forbid_create(&config, false);
        }
        const struct weir_resource_config *resource =
            weir_config_resource(&config, weir_str_of(name));
        exit_status = resource ? run(cli, action, &arguments, resource)
                               : unknown_resource(cli, &config, name);
    }
    weir_config_finish(&config);
    return exit_status;
}
