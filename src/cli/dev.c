// SPDX-License-Identifier: Apache-2.0
//
// `weir dev`: builds a project, runs it, and does both again when its sources change. What runs is
// a `weir run` of its own, a child: a guest that was built again is swapped in by SIGHUP, which
// reads it between two events and loses none; a weir.yaml that changed takes a restart. What cannot
// be built, or a weir.yaml with a mistake, leaves what runs alone.
//
// Main thread.
#include "base/clock.h"
#include "cli/project.h"
#include "project/process.h"
#include "project/sources.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    QUIET_MS = 100,      // without a further change, before what changed is built
    QUIET_MAX_MS = 2000, // of waiting for that
};

struct dev {
    const struct weir_cli *cli;
    const char *folder;
    struct weir_project project;
    struct weir_sources *sources;
    struct weir_process weir; // pid 0: none runs
    int stop_fd;
    bool is_stopped;
    bool is_anew; // the configuration has changed since weir was started
};

static void tell(const struct dev *dev, enum weir_log_level level, const char *message) {
    weir_log(dev->cli->log, level, message, {"guest", weir_str_of(dev->project.guest)});
}

// ---- the weir that runs ----

// A command of this very program, with the log as it is here.
static void add_command(const struct dev *dev, struct weir_arguments *arguments,
                        const char *command, const char *argument) {
    weir_arguments_add(arguments, "/proc/self/exe");
    weir_arguments_add(arguments, "%s", command);
    weir_arguments_add(arguments, "%s", argument);
    weir_arguments_add(arguments, "--log-format");
    weir_arguments_add(arguments, dev->cli->log_format == WEIR_LOG_JSON ? "json" : "text");
}

static weir_status start_weir(struct dev *dev, struct weir_error *err) {
    sigset_t blocked;
    sigemptyset(&blocked);
    // Until it asks for them: a SIGHUP that comes before would end it.
    sigaddset(&blocked, SIGHUP);
    sigaddset(&blocked, SIGTERM);
    struct weir_arguments arguments = {.count = 0};
    add_command(dev, &arguments, "run", dev->project.config_path);
    struct weir_process_args args = {
        .arguments = &arguments, .output_fd = STDOUT_FILENO, .blocked = &blocked};
    weir_status status = weir_process_start(&args, &dev->weir, err);
    weir_arguments_finish(&arguments);
    return status;
}

static void end_weir(struct dev *dev) {
    if (dev->weir.pid > 0) {
        weir_process_end(&dev->weir);
    }
}

static void weir_has_ended(struct dev *dev) {
    int status = weir_process_reap(&dev->weir);
    int exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    weir_log(dev->cli->log, WEIR_LOG_WARN, "weir has ended; the next change starts it again",
             {"exit_status", WEIR_LOG_NUMBER((uint64_t)exit_status)});
}

// ---- building ----

// It tells itself what it made, or why not.
static weir_status run_build(struct dev *dev, struct weir_error *err) {
    struct weir_arguments arguments = {.count = 0};
    add_command(dev, &arguments, "build", dev->folder);
    struct weir_process_args args = {.arguments = &arguments, .output_fd = STDOUT_FILENO};
    weir_status status = weir_process_run(&args, dev->stop_fd, NULL, err);
    weir_arguments_finish(&arguments);
    return status;
}

// Builds, and has what runs take it over.
static void build(struct dev *dev) {
    struct weir_error err;
    weir_status status = run_build(dev, &err);
    if (status != WEIR_OK) {
        dev->is_stopped = status == WEIR_STOPPED;
        if (!dev->is_stopped) {
            tell(dev, WEIR_LOG_WARN,
                 dev->weir.pid > 0 ? "not built; the guest that runs goes on"
                                   : "not built; the next change builds it again");
        }
        return;
    }
    if (dev->weir.pid > 0 && !dev->is_anew) {
        kill(dev->weir.pid, SIGHUP);
        return;
    }
    end_weir(dev);
    dev->is_anew = false;
    if (start_weir(dev, &err) != WEIR_OK) {
        weir_cli_failed(dev->cli, "dev: %s", err.message);
    }
}

// Reads weir.yaml again, and where it is good builds and watches what it says.
static void reopen(struct dev *dev) {
    struct weir_project project;
    struct weir_sources *sources;
    struct weir_error err;
    if (weir_cli_open_project(dev->cli, "dev", dev->folder, &project) != WEIR_EXIT_DONE) {
        weir_project_finish(&project);
        tell(dev, WEIR_LOG_WARN, "weir.yaml cannot be used; all stays as it is");
        return;
    }
    if (weir_sources_watch(&project, &sources, &err) == WEIR_OK) {
        weir_sources_end(dev->sources);
        dev->sources = sources;
    } else {
        weir_cli_failed(dev->cli, "dev: %s", err.message);
    }
    weir_project_finish(&dev->project);
    dev->project = project;
    dev->is_anew = true;
    build(dev);
}

// ---- waiting ----

// Waits until nothing has changed for a while: a save is many changes. False: a signal came.
static bool wait_quiet(struct dev *dev, struct weir_changes *changes) {
    int64_t until_ns = weir_clock_monotonic_ns() + QUIET_MAX_MS * WEIR_NS_PER_MS;
    while (weir_clock_monotonic_ns() < until_ns) {
        struct pollfd entries[] = {{.fd = weir_sources_fd(dev->sources), .events = POLLIN},
                                   {.fd = dev->stop_fd, .events = POLLIN}};
        int count = poll(entries, 2, QUIET_MS);
        if (count > 0 && entries[1].revents) {
            return false;
        }
        if (count == 0) {
            return true;
        }
        weir_sources_read(dev->sources, changes);
    }
    return true;
}

static void take_changes(struct dev *dev) {
    struct weir_changes changes = {.sources = false};
    weir_sources_read(dev->sources, &changes);
    if ((!changes.sources && !changes.config) || !wait_quiet(dev, &changes)) {
        return;
    }
    if (changes.config) {
        reopen(dev);
    } else {
        tell(dev, WEIR_LOG_INFO, "a source has changed");
        build(dev);
    }
}

static void watch(struct dev *dev) {
    while (!dev->is_stopped) {
        struct pollfd entries[] = {
            {.fd = dev->stop_fd, .events = POLLIN},
            {.fd = weir_sources_fd(dev->sources), .events = POLLIN},
            {.fd = dev->weir.pid > 0 ? dev->weir.pid_fd : -1, .events = POLLIN},
        };
        if (poll(entries, sizeof entries / sizeof entries[0], -1) < 0) {
            continue;
        }
        if (entries[0].revents) {
            dev->is_stopped = true;
        } else if (entries[2].revents) {
            weir_has_ended(dev);
        } else if (entries[1].revents) {
            take_changes(dev);
        }
    }
}

// ---- the command ----

static int run(struct dev *dev) {
    struct weir_error err;
    dev->stop_fd = weir_cli_stop_fd(dev->cli, "dev");
    if (dev->stop_fd < 0) {
        return WEIR_EXIT_FAILED;
    }
    // Before the first build: what changes during it is built next.
    if (weir_sources_watch(&dev->project, &dev->sources, &err) != WEIR_OK) {
        return weir_cli_failed(dev->cli, "dev: %s", err.message);
    }
    build(dev);
    watch(dev);
    end_weir(dev);
    return WEIR_EXIT_DONE;
}

int weir_command_dev(const struct weir_cli *cli, int argc, char **argv) {
    static const struct option no_options[] = {{NULL, 0, NULL, 0}};
    struct dev dev = {.cli = cli, .folder = ".", .stop_fd = -1};
    optind = 0;
    if (weir_cli_option(cli, argc, argv, ":", no_options) != -1) {
        return WEIR_EXIT_MISTAKE;
    }
    if (argc - optind > 1) {
        return weir_cli_mistake(cli, "dev", "dev takes one folder: weir dev [DIR]");
    }
    dev.folder = optind < argc ? argv[optind] : ".";
    int exit_status = weir_cli_open_project(cli, "dev", dev.folder, &dev.project);
    if (exit_status == WEIR_EXIT_DONE) {
        exit_status = run(&dev);
    }
    weir_sources_end(dev.sources);
    if (dev.stop_fd >= 0) {
        close(dev.stop_fd);
    }
    weir_project_finish(&dev.project);
    return exit_status;
}
