// SPDX-License-Identifier: Apache-2.0
//
// weir's main: finds the command, makes the log, calls the command. The options that every command
// has (--log-format,
// --log-level, --help) are taken out of the arguments here, wherever they stand before a "--", so
// that a command knows only its own.
//
// Main thread; nothing else runs yet.
#include "cli/command.h"
#include "cli/live.h"
#include "guest/engine.h"

#include "base/memory.h"
#include "base/nearest.h"
#include "base/show.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { LOG_RATE_MAX = 1000000 }; // who wants more wants all: 0

// The options that every command has.
struct globals {
    int log_format; // enum weir_log_format
    int log_level;  // enum weir_log_level
    uint64_t log_rate;
    bool wants_help;
};

static const char *const log_formats[] = {[WEIR_LOG_TEXT] = "text", [WEIR_LOG_JSON] = "json", NULL};
static const char *const log_levels[] = {[WEIR_LOG_DEBUG] = "debug",
                                         [WEIR_LOG_INFO] = "info",
                                         [WEIR_LOG_WARN] = "warn",
                                         [WEIR_LOG_ERROR] = "error",
                                         NULL};

static const struct weir_option global_rows[] = {
    {
        .name = "log-format",
        .type = WEIR_OPTION_CHOICE,
        .offset = offsetof(struct globals, log_format),
        .fallback = "text",
        .choices = log_formats,
        .help = "how weir's log on standard error is written",
    },
    {
        .name = "log-level",
        .type = WEIR_OPTION_CHOICE,
        .offset = offsetof(struct globals, log_level),
        .fallback = "info",
        .choices = log_levels,
        .help = "what is logged: this and what is graver",
    },
    {
        .name = "log-rate",
        .type = WEIR_OPTION_COUNT,
        .offset = offsetof(struct globals, log_rate),
        .fallback = "20",
        .max = LOG_RATE_MAX,
        .help = "how many lines of one message are written in 10 s; 0: all of them",
    },
};
static const struct weir_option_table global_options = {
    .rows = global_rows, .count = sizeof global_rows / sizeof global_rows[0]};

// If argument `*at` is one of the global options, takes it (and its value, which moves `*at` on)
// and returns true. A mistake is left in `err`.
static bool take_global(struct globals *globals, int argc, char **argv, int *at,
                        struct weir_error *err) {
    const char *argument = argv[*at];
    if (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0) {
        globals->wants_help = true;
        return true;
    }
    if (strncmp(argument, "--", 2) != 0) {
        return false;
    }
    struct weir_str name = weir_str_of(argument + 2);
    const char *equals = memchr(name.data, '=', name.size);
    name.size = equals ? (size_t)(equals - name.data) : name.size;
    const struct weir_option *option = weir_option_find(&global_options, name);
    if (!option) {
        return false;
    }
    if (!equals && *at + 1 == argc) {
        weir_fail(err, WEIR_INVALID, "%s wants a value behind it", argument);
        return true;
    }
    struct weir_str value = weir_str_of(equals ? equals + 1 : argv[++*at]);
    weir_status status = weir_option_set(option, globals, value, NULL, err);
    if (status != WEIR_OK) {
        weir_error_prefix(err, status, "--%s", option->name);
    }
    return true;
}

// Takes the global options out of argv. Returns the new argc.
static int take_globals(struct globals *globals, int argc, char **argv, struct weir_error *err) {
    int kept = 1, at = 1;
    for (; at < argc && strcmp(argv[at], "--") != 0; at++) {
        if (!take_global(globals, argc, argv, &at, err)) {
            argv[kept++] = argv[at];
        }
    }
    while (at < argc) {
        argv[kept++] = argv[at++];
    }
    argv[kept] = NULL;
    return kept;
}

// A closed standard descriptor would be given to the next file that is opened, and be written to by
// a message.
static void open_standard_descriptors(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF) {
            int opened =
                open("/dev/null", O_RDWR); // takes the lowest number that is free, this one
            (void)opened;
        }
    }
}

// A reader that is gone is an error of write(2), not the end of the process.
static void ignore_broken_pipes(void) {
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigemptyset(&ignore.sa_mask);
    sigaction(SIGPIPE, &ignore, NULL);
}

static bool is_stderr_coloured(void) {
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(STDERR_FILENO) && !(no_color && no_color[0]) && term && strcmp(term, "dumb") != 0;
}

// A terminal that people look at, where a line can be written anew.
static bool is_stderr_live(enum weir_log_format format) {
    const char *term = getenv("TERM");
    return format == WEIR_LOG_TEXT && isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
}

static int unknown_command(const struct weir_cli *cli, const char *name) {
    struct weir_nearest nearest;
    weir_nearest_init(&nearest, weir_str_of(name));
    for (const struct weir_command *command = weir_commands; command->name; command++) {
        weir_nearest_offer(&nearest, command->name);
    }
    char shown[WEIR_SHOW_BYTES];
    weir_show(weir_str_of(name), shown, sizeof shown);
    const char *what = name[0] == '-' ? "option" : "command";
    if (nearest.best && name[0] != '-') {
        return weir_cli_mistake(cli, "", "there is no command \"%s\"; did you mean \"%s\"?", shown,
                                nearest.best);
    }
    return weir_cli_mistake(cli, "", "there is no %s \"%s\"", what, shown);
}

static int dispatch(const struct weir_cli *cli, const struct globals *globals, int argc,
                    char **argv) {
    char help_name[] = "help", version_name[] = "version";
    if (argc < 2 && globals->wants_help) {
        return weir_command_help(cli, 1, (char *[]){help_name, NULL});
    }
    if (argc < 2) {
        return weir_cli_mistake(cli, "", "there is no command");
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        return weir_command_version(cli, 1, (char *[]){version_name, NULL});
    }
    const struct weir_command *command = weir_command_find(argv[1]);
    if (!command) {
        return unknown_command(cli, argv[1]);
    }
    if (globals->wants_help) {
        return weir_command_help(cli, 2, (char *[]){help_name, argv[1], NULL});
    }
    return command->run(cli, argc - 1, argv + 1);
}

// What was printed has to arrive, or the exit status must tell. A reader that has gone (`weir kv ls
// | head`) has what it wanted.
static int flush_output(const struct weir_cli *cli, int exit_status) {
    errno = 0;
    if ((fflush(stdout) == 0 && !ferror(stdout)) || errno == EPIPE) {
        return exit_status;
    }
    char cause[128];
    int failed = weir_cli_failed(cli, "cannot write to standard output: %s",
                                 strerror_r(errno, cause, sizeof cause));
    return exit_status == WEIR_EXIT_DONE ? failed : exit_status;
}

int main(int argc, char **argv) {
    open_standard_descriptors();
    ignore_broken_pipes();
    // Weir's own, in a process of its own: see guest/compile.h.
    if (argc > 1 && strcmp(argv[1], "compile-guest") == 0) {
        _exit(weir_compile_child(argc - 2, argv + 2)); // at once: it leaves all it has
    }
    weir_memory_keep();
    struct globals globals = {0};
    struct weir_error err = {0};
    struct weir_cli cli = {0};
    weir_status status = weir_options_init(&global_options, &globals, &err);
    if (status == WEIR_OK) {
        argc = take_globals(&globals, argc, argv, &err);
        cli.log_format = (enum weir_log_format)globals.log_format;
        struct weir_log_config log_config = {
            .fd = STDERR_FILENO,
            .level = (enum weir_log_level)globals.log_level,
            .format = cli.log_format,
            .is_coloured = is_stderr_coloured(),
            .rate_lines = globals.log_rate,
        };
        status = err.status == WEIR_OK ? weir_log_create(&log_config, &cli.log, &err) : err.status;
    }
    if (status != WEIR_OK) {
        cli.log_format = WEIR_LOG_TEXT;
        return weir_cli_mistake(&cli, "", "%s", err.message);
    }
    struct weir_live live = {.log = cli.log, .is_live = is_stderr_live(cli.log_format)};
    cli.live = &live;
    int exit_status = flush_output(&cli, dispatch(&cli, &globals, argc, argv));
    weir_log_destroy(cli.log);
    return exit_status;
}
