// SPDX-License-Identifier: Apache-2.0
//
// weir run: a configuration, or one guest with resources from the command line, runs until it is
// over or until a signal ends it.
//
// Main thread.
#include "cli/command.h"
#include "cli/program.h"
#include "cli/state_dir.h"
#include "observe/notify.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum { RESOURCES_MAX = 64 }; // of one command line

struct run_args {
    const struct weir_cli *cli;
    const char *file;
    const char *state;                    // the directory; NULL: the configuration's
    const char *resources[RESOURCES_MAX]; // definitions, "NAME=KIND:VALUE"
    size_t resource_count;
};

static int parse(const struct weir_cli *cli, int argc, char **argv, struct run_args *ret_args) {
    static const struct option options[] = {
        {"resource", required_argument, NULL, 'r'}, {"state", required_argument, NULL, 's'}, {0}};
    *ret_args = (struct run_args){.cli = cli};
    optind = 0;
    for (int code; (code = weir_cli_option(cli, argc, argv, ":r:s:", options)) != -1;) {
        if (code == 's') {
            ret_args->state = optarg;
            continue;
        }
        if (code != 'r') {
            return WEIR_EXIT_MISTAKE;
        }
        if (ret_args->resource_count == RESOURCES_MAX) {
            return weir_cli_mistake(
                cli, "run", "more than %d resources: put them into a configuration", RESOURCES_MAX);
        }
        ret_args->resources[ret_args->resource_count++] = optarg;
    }
    if (argc - optind != 1) {
        return weir_cli_mistake(cli, "run", "run wants one file, a configuration or a guest");
    }
    ret_args->file = argv[optind];
    return WEIR_EXIT_DONE;
}

static bool is_guest(const char *path) {
    static const char suffix[] = ".wasm";
    size_t size = strlen(path);
    return size >= sizeof suffix - 1 && strcmp(path + size - (sizeof suffix - 1), suffix) == 0;
}

static int configure_guest(const struct weir_cli *cli, const char *path,
                           struct weir_config *ret_config) {
    struct weir_error err;
    if (weir_config_init(ret_config, &err) != WEIR_OK ||
        weir_config_add_guest(ret_config, path, &err) != WEIR_OK) {
        return weir_cli_failed(cli, "%s", err.message);
    }
    return WEIR_EXIT_DONE;
}

// Whose fault a status is, where something could not be made from what the user wrote.
static bool is_mistake(weir_status status) {
    return status == WEIR_NOT_FOUND || status == WEIR_DENIED || status == WEIR_INVALID ||
           status == WEIR_UNSUPPORTED || status == WEIR_LIMIT;
}

// Reads what is to be run, and completes it from the command line. Returns an exit status.
static int read_config(const struct run_args *args, struct weir_config *ret_config) {
    int result = is_guest(args->file) ? configure_guest(args->cli, args->file, ret_config)
                                      : weir_cli_read_config(args->cli, args->file, ret_config);
    struct weir_error err;
    for (size_t i = 0; result == WEIR_EXIT_DONE && i < args->resource_count; i++) {
        weir_status status = weir_config_add_resource(ret_config, args->resources[i], &err);
        if (status != WEIR_OK) {
            result = weir_cli_mistake(args->cli, "run", "--resource %s: %s", args->resources[i],
                                      err.message);
        }
    }
    return result;
}

static bool reread(void *context, struct weir_config *ret_config) {
    return read_config(context, ret_config) == WEIR_EXIT_DONE;
}

// Before any thread is made, so that every thread has them blocked: they are read from a
// descriptor.
static void block_signals(void) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
}

static int run_config(struct run_args *args, const struct weir_config *config) {
    const struct weir_cli *cli = args->cli;
    struct weir_error err;
    struct weir_program *program;
    struct weir_notify notify;
    char *state_dir;
    block_signals();
    weir_status status = weir_cli_state_dir_of(config, args->state, &state_dir, &err);
    if (status != WEIR_OK) {
        return weir_cli_failed(cli, "%s", err.message);
    }
    if (weir_notify_init(&notify, &err) != WEIR_OK) {
        weir_log(cli->log, WEIR_LOG_WARN, "the service manager cannot be told of weir",
                 {"reason", weir_str_of(err.message)});
    }
    struct weir_program_args program_args = {
        .config = config,
        .log = cli->log,
        .live = cli->live,
        .notify = &notify,
        .output_fd = STDOUT_FILENO,
        .state_dir = state_dir,
        .reread = reread,
        .reread_context = args,
    };
    bool is_made = false;
    status = weir_program_create(&program_args, &program, &err);
    if (status == WEIR_OK) {
        is_made = true;
        status = weir_program_run(program, &err);
        weir_program_destroy(program);
    }
    weir_notify_finish(&notify);
    free(state_dir);
    if (status == WEIR_OK) {
        return WEIR_EXIT_DONE;
    }
    weir_cli_failed(cli, "%s", err.message);
    return !is_made && is_mistake(status) ? WEIR_EXIT_MISTAKE : WEIR_EXIT_FAILED;
}

int weir_command_run(const struct weir_cli *cli, int argc, char **argv) {
    struct run_args args;
    struct weir_config config;
    int result = parse(cli, argc, argv, &args);
    if (result != WEIR_EXIT_DONE) {
        return result;
    }
    result = read_config(&args, &config);
    if (result == WEIR_EXIT_DONE) {
        result = run_config(&args, &config);
    }
    weir_config_finish(&config);
    return result;
}
