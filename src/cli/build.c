// SPDX-License-Identifier: Apache-2.0
//
// `weir build`: a project's guest, by its language's own tools. Their output is theirs and goes to
// standard error; standard output has one line, of what was made. The guest is then loaded as `weir
// run` would load it, so that what no weir could run fails here.
//
// Main thread. A signal ends the tools and what they started; while the guest is compiled, which
// nothing has to be cleaned up after, it ends weir at once.
#include "project/build.h"
#include "base/show.h"
#include "cli/program.h"
#include "cli/project.h"
#include "guest/engine.h"
#include "guest/guest.h"
#include "project/language.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

int weir_cli_open_project(const struct weir_cli *cli, const char *command, const char *folder,
                          struct weir_project *ret_project) {
    struct weir_error err = {0};
    struct weir_problems *problems = calloc(1, sizeof *problems);
    if (!problems) {
        *ret_project = (struct weir_project){.folder = NULL};
        return weir_cli_failed(cli, "%s: no memory for the project", command);
    }
    weir_status status = weir_project_open(folder, ret_project, problems, &err);
    size_t mistakes = problems->count + problems->left_out;
    weir_cli_problems(cli, ret_project->config_path, problems);
    weir_problems_finish(problems);
    free(problems);
    if (status != WEIR_OK && mistakes == 0) {
        weir_cli_failed(cli, "%s: %s", command, err.message);
    }
    return weir_cli_exit_of(status);
}

int weir_cli_stop_fd(const struct weir_cli *cli, const char *command) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    int fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0) {
        weir_cli_failed(cli, "%s: no descriptor for signals is left", command);
    }
    return fd;
}

static void say(void *context, const char *line) {
    (void)context;
    char shown[WEIR_ERROR_MESSAGE_BYTES];
    fprintf(stderr, "$ %s\n", weir_show(weir_str_of(line), shown, sizeof shown));
}

static void print_product(const char *path, const struct weir_guest *guest) {
    char shown[WEIR_SHOW_BYTES];
    const char *reason;
    bool is_core = weir_guest_lane(guest, &reason) == WEIR_GUEST_LANE_CORE;
    printf("built %s: %" PRIu64 " bytes, %s lane, handlers:", path, weir_guest_file_bytes(guest),
           is_core ? "core" : "component");
    for (uint32_t i = 0; i < weir_guest_handler_count(guest); i++) {
        weir_show(weir_str_of(weir_guest_handler_name(guest, i)), shown, sizeof shown);
        printf("%s %s", i > 0 ? "," : "", shown);
    }
    printf("%s\n", weir_guest_handler_count(guest) > 0 ? "" : " none");
    fflush(stdout); // before what a weir that `dev` starts prints
}

// Compiles what was built, also so that it need not be compiled when it is run.
static weir_status load(const struct weir_cli *cli, const struct weir_project *project,
                        struct weir_error *err) {
    struct weir_program_host output = {.fd = STDOUT_FILENO, .log = cli->log};
    struct weir_engine *engine = NULL;
    struct weir_guest *guest = NULL;
    weir_status status = weir_program_engine(&project->config, cli->live, &engine, err);
    if (status == WEIR_OK) {
        status = weir_program_guest(engine, &project->config, &project->config.guests[0], &output,
                                    &guest, err);
    }
    if (status == WEIR_OK) {
        print_product(project->wasm, guest);
    }
    weir_guest_unref(guest);
    weir_engine_destroy(engine);
    return status;
}

static int build(const struct weir_cli *cli, const struct weir_project *project) {
    struct weir_error err;
    sigset_t before;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    int stop_fd = weir_cli_stop_fd(cli, "build");
    if (stop_fd < 0) {
        return WEIR_EXIT_FAILED;
    }
    weir_status status = weir_project_build(project, stop_fd, say, NULL, &err);
    close(stop_fd);
    if (status == WEIR_OK) {
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        status = load(cli, project, &err);
    }
    return status == WEIR_OK
               ? WEIR_EXIT_DONE
               : weir_cli_failed(cli, "%s was not built: %s", project->guest, err.message);
}

int weir_command_build(const struct weir_cli *cli, int argc, char **argv) {
    static const struct option no_options[] = {{NULL, 0, NULL, 0}};
    struct weir_project project;
    optind = 0;
    if (weir_cli_option(cli, argc, argv, ":", no_options) != -1) {
        return WEIR_EXIT_MISTAKE;
    }
    if (argc - optind > 1) {
        return weir_cli_mistake(cli, "build", "build takes one folder: weir build [DIR]");
    }
    int exit_status =
        weir_cli_open_project(cli, "build", optind < argc ? argv[optind] : ".", &project);
    exit_status = exit_status == WEIR_EXIT_DONE ? build(cli, &project) : exit_status;
    weir_project_finish(&project);
    return exit_status;
}
