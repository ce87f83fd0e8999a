// SPDX-License-Identifier: Apache-2.0
//
// `weir tail`: what flows through a weir that runs, live. It comes as lines of JSON through the
// control socket and goes out as lines for people, or as it is. Whoever does not read it delays
// nobody: weir keeps a bounded number of lines for each, and tells how many it had to drop.
//
// The main thread waits in one place only, poll(), on everything that can end the command: a
// signal, the time, weir's end, the reader's end of the pipe. Writing is at most PIPE_BUF bytes
// after poll() said that there is room, so it does not wait.
#include "base/clock.h"
#include "base/nearest.h"
#include "base/show.h"
#include "cli/command.h"
#include "cli/print.h"
#include "cli/state_dir.h"
#include "control/control.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum {
    COUNT_MAX = 1000 * 1000 * 1000,
    WAIT_MS_MAX = 60 * 1000, // of one poll; it is called again
    // Columns of a line for people.
    TIME_COLUMNS = 12,
    OUTCOME_COLUMNS = 7,
    TRY_COLUMNS = -3,
    TOOK_COLUMNS = -6,
    SUBSCRIPTION_COLUMNS = 20,
    SUBJECT_COLUMNS = 20,
    TYPE_COLUMNS = 24,
};
#define TIMEOUT_NS_MAX (366 * 24 * 3600 * WEIR_NS_PER_S)

struct arguments {
    struct weir_cli_place place;
    const char *subscription, *type, *key;
    bool is_failed, is_json;
    // Described by option_rows:
    uint64_t count;
    int64_t timeout_ns;
};

static const struct weir_option option_rows[] = {
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

// Why it ended.
enum end { GOES_ON, COUNT_REACHED, TIME_OVER, STOPPED, WEIR_GONE, READER_GONE, FAILED };

struct tail {
    const struct weir_cli *cli;
    const struct arguments *arguments;
    struct weir_control_link *link;
    int signals_fd;
    int64_t deadline_ns;
    char *line; // being written; NULL: none
    size_t line_size, line_done;
    bool is_delivery; // the line; not a word about lines that are missing
    uint64_t printed;
    struct weir_error err; // of FAILED
};

// ---- lines ----

static struct weir_str text_of(const json_t *json, const char *name) {
    return weir_str_of(json_string_value(json_object_get(json, name)));
}

static const char *took_of(const json_t *json, char buffer[static 32]) {
    double ns = (double)json_integer_value(json_object_get(json, "took_ns"));
    if (ns < 1e6) {
        snprintf(buffer, 32, "%.0fus", ns / 1e3);
    } else if (ns < 1e9) {
        snprintf(buffer, 32, ns < 1e7 ? "%.1fms" : "%.0fms", ns / 1e6);
    } else {
        snprintf(buffer, 32, ns < 1e11 ? "%.1fs" : "%.0fs", ns / 1e9);
    }
    return buffer;
}

static void print_for_people(FILE *out, const json_t *json) {
    char took[32], shown[WEIR_CELL_BYTES];
    struct weir_str time = text_of(json, "time"), reason = text_of(json, "reason");
    struct weir_str trace = text_of(json, "trace");
    const json_t *dropped = json_object_get(json, "dropped");
    if (dropped) {
        fprintf(out, "(%lld more were too quick to be shown)\n",
                (long long)json_integer_value(dropped));
        return;
    }
    // "2026-01-31T12:34:56.123456Z": the time of the day, to the millisecond.
    bool is_whole = time.size == WEIR_TIME_BYTES - 1;
    struct weir_str hour = {.data = is_whole ? time.data + 11 : "", .size = is_whole ? 12 : 0};
    weir_cli_cell_shown(out, hour, TIME_COLUMNS);
    fputs("  ", out);
    weir_cli_cell_shown(out, text_of(json, "outcome"), OUTCOME_COLUMNS);
    weir_cli_cell_number(out, (uint64_t)json_integer_value(json_object_get(json, "attempt")),
                         TRY_COLUMNS);
    fputs("  ", out);
    weir_cli_cell(out, took_of(json, took), TOOK_COLUMNS);
    fputs("  ", out);
    weir_cli_cell_shown(out, text_of(json, "subscription"), SUBSCRIPTION_COLUMNS);
    fputs("  ", out);
    weir_cli_cell_shown(out, text_of(json, "subject"), SUBJECT_COLUMNS);
    fprintf(out, "  %s\n", weir_cli_shown(text_of(json, "type"), TYPE_COLUMNS, shown));
    if (reason.size > 0) {
        fprintf(out, "    %s\n", weir_show(reason, shown, sizeof shown));
    }
    if (reason.size > 0 && trace.size > 0) {
        fprintf(out, "    trace %s\n", weir_show(trace, shown, sizeof shown));
    }
}

static weir_status make_line(struct tail *tail, json_t *json) {
    FILE *out = open_memstream(&tail->line, &tail->line_size);
    weir_status status = out ? WEIR_OK : weir_fail_no_memory(&tail->err, "a line");
    if (status == WEIR_OK && tail->arguments->is_json) {
        status = weir_cli_json(out, json_incref(json), &tail->err);
    } else if (status == WEIR_OK) {
        print_for_people(out, json);
    }
    bool is_whole = out && fclose(out) == 0;
    tail->line_done = 0;
    tail->is_delivery = !json_object_get(json, "dropped");
    return status == WEIR_OK && !is_whole ? weir_fail_no_memory(&tail->err, "a line") : status;
}

// ---- the loop ----

static enum end next_line(struct tail *tail) {
    json_t *json;
    weir_status status = weir_control_next(tail->link, &json, &tail->err);
    if (status == WEIR_AGAIN) {
        return GOES_ON;
    }
    if (status != WEIR_OK) {
        return status == WEIR_STOPPED ? WEIR_GONE : FAILED;
    }
    status = make_line(tail, json);
    json_decref(json);
    return status == WEIR_OK ? GOES_ON : FAILED;
}

// Writes a part of the line; there is room for it.
static enum end write_line(struct tail *tail) {
    size_t left = tail->line_size - tail->line_done;
    ssize_t written =
        write(STDOUT_FILENO, tail->line + tail->line_done, left < PIPE_BUF ? left : PIPE_BUF);
    if (written < 0) {
        if (errno == EAGAIN || errno == EINTR) {
            return GOES_ON;
        }
        weir_fail_errno(&tail->err, errno, "cannot write to standard output");
        return errno == EPIPE ? READER_GONE : FAILED;
    }
    tail->line_done += (size_t)written;
    if (tail->line_done < tail->line_size) {
        return GOES_ON;
    }
    free(tail->line);
    tail->line = NULL;
    tail->printed += tail->is_delivery ? 1 : 0;
    return tail->printed == tail->arguments->count && tail->is_delivery ? COUNT_REACHED : GOES_ON;
}

static int wait_ms(int64_t deadline_ns) {
    int64_t left_ns = deadline_ns - weir_clock_monotonic_ns();
    if (left_ns <= 0) {
        return 0;
    }
    return left_ns / WEIR_NS_PER_MS < WAIT_MS_MAX ? (int)(left_ns / WEIR_NS_PER_MS + 1)
                                                  : WAIT_MS_MAX;
}

static enum end step(struct tail *tail) {
    enum end end = tail->line ? GOES_ON : next_line(tail);
    if (end != GOES_ON) {
        return end;
    }
    struct pollfd fds[] = {
        {.fd = tail->signals_fd, .events = POLLIN},
        {.fd = tail->line ? -1 : weir_control_fd(tail->link), .events = POLLIN},
        // Without events, the end of the pipe's other side is still told.
        {.fd = STDOUT_FILENO, .events = tail->line ? POLLOUT : 0},
    };
    if (poll(fds, sizeof fds / sizeof fds[0], wait_ms(tail->deadline_ns)) < 0 && errno != EINTR) {
        weir_fail_errno(&tail->err, errno, "cannot wait");
        return FAILED;
    }
    if (fds[0].revents) {
        return STOPPED;
    }
    if (fds[2].revents & (POLLERR | POLLHUP)) {
        return READER_GONE;
    }
    if (weir_clock_monotonic_ns() >= tail->deadline_ns) {
        return TIME_OVER;
    }
    return fds[2].revents & POLLOUT ? write_line(tail) : GOES_ON;
}

static int exit_status_of(const struct tail *tail, enum end end) {
    uint64_t wanted = tail->arguments->count;
    if (end == FAILED) {
        return weir_cli_failed(tail->cli, "tail: %s", tail->err.message);
    }
    if ((end == TIME_OVER || end == WEIR_GONE) && wanted > 0) {
        return weir_cli_failed(tail->cli, "tail: %llu of %llu deliveries were seen %s",
                               (unsigned long long)tail->printed, (unsigned long long)wanted,
                               end == TIME_OVER ? "in time" : "before weir ended");
    }
    if (end == WEIR_GONE) {
        weir_log_write(tail->cli->log, WEIR_LOG_INFO, "weir has ended", NULL, 0);
    }
    return WEIR_EXIT_DONE;
}

// ---- beginning ----

static weir_status open_signals(int *ret_fd, struct weir_error *err) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    *ret_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    return *ret_fd >= 0 ? WEIR_OK : weir_fail_errno(err, errno, "cannot make a signalfd");
}

// A name that nothing runs under would be waited for in silence.
static weir_status check_subscription(struct tail *tail) {
    json_t *answer = NULL, *subscription;
    size_t i;
    const char *wanted = tail->arguments->subscription;
    bool is_there = false;
    if (!wanted) {
        return WEIR_OK;
    }
    weir_status status =
        weir_control_ask(tail->link, json_pack("{s:s}", "command", "status"), &answer, &tail->err);
    if (status != WEIR_OK) {
        return status;
    }
    struct weir_nearest nearest;
    weir_nearest_init(&nearest, weir_str_of(wanted));
    json_array_foreach(json_object_get(answer, "subscriptions"), i, subscription) {
        const char *name = json_string_value(json_object_get(subscription, "name"));
        is_there = is_there || (name && strcmp(name, wanted) == 0);
        weir_nearest_offer(&nearest, name ? name : "");
    }
    if (!is_there && nearest.best) {
        status = weir_fail(&tail->err, WEIR_INVALID,
                           "there is no subscription \"%s\"; did you mean \"%s\"?", wanted,
                           nearest.best);
    } else if (!is_there) {
        status = weir_fail(&tail->err, WEIR_INVALID,
                           "there is no subscription \"%s\"; weir status lists them", wanted);
    }
    json_decref(answer);
    return status;
}

// Adds a member unless there is no value. Takes the request over and returns it.
static json_t *with(json_t *request, const char *name, const char *value) {
    if (value && json_object_set_new(request, name, json_string(value)) != 0) {
        json_decref(request);
        return NULL;
    }
    return request;
}

static weir_status begin(struct tail *tail, const char *dir) {
    const struct arguments *arguments = tail->arguments;
    json_t *answer = NULL;
    weir_status status = open_signals(&tail->signals_fd, &tail->err);
    status = status == WEIR_OK ? weir_control_open(dir, &tail->link, &tail->err) : status;
    status = status == WEIR_OK ? check_subscription(tail) : status;
    if (status != WEIR_OK) {
        return status;
    }
    json_t *request =
        json_pack("{s:s, s:b}", "command", "tail", "failed", (int)arguments->is_failed);
    request = with(request, "subscription", arguments->subscription);
    request = with(request, "type", arguments->type);
    request = with(request, "key", arguments->key);
    status = weir_control_ask(tail->link, request, &answer, &tail->err);
    json_decref(answer);
    if (status == WEIR_OK) {
        weir_log(tail->cli->log, WEIR_LOG_INFO, "tailing", {"path", weir_str_of(dir)});
        tail->deadline_ns =
            arguments->timeout_ns ? weir_clock_monotonic_ns() + arguments->timeout_ns : INT64_MAX;
    }
    return status;
}

static int run(const struct weir_cli *cli, const struct arguments *arguments, const char *dir) {
    struct tail tail = {.cli = cli, .arguments = arguments, .signals_fd = -1};
    enum end end = FAILED;
    weir_status status = begin(&tail, dir);
    if (status == WEIR_OK) {
        do {
            end = step(&tail);
        } while (end == GOES_ON);
    }
    int exit_status = exit_status_of(&tail, end);
    free(tail.line);
    weir_control_close(tail.link);
    if (tail.signals_fd >= 0) {
        close(tail.signals_fd);
    }
    return status == WEIR_INVALID || status == WEIR_NOT_FOUND ? WEIR_EXIT_MISTAKE : exit_status;
}

// ---- arguments ----

static const struct option long_options[] = {
    {"state", required_argument, NULL, 's'},
    {"subscription", required_argument, NULL, 'S'},
    {"type", required_argument, NULL, 'T'},
    {"key", required_argument, NULL, 'k'},
    {"failed", no_argument, NULL, 'F'},
    {"json", no_argument, NULL, 'j'},
    {"count", required_argument, NULL, 'n'},
    {"timeout", required_argument, NULL, 't'},
    {NULL, 0, NULL, 0},
};

static int take_bound(const struct weir_cli *cli, struct arguments *arguments, const char *name) {
    struct weir_error err;
    const struct weir_option *option = weir_option_find(&option_table, weir_str_of(name));
    return weir_option_set(option, arguments, weir_str_of(optarg), NULL, &err) == WEIR_OK
               ? WEIR_EXIT_DONE
               : weir_cli_mistake(cli, "tail", "--%s: %s", name, err.message);
}

static int take_option(const struct weir_cli *cli, struct arguments *arguments, int code) {
    switch (code) {
    case 's':
        arguments->place.state = optarg;
        return WEIR_EXIT_DONE;
    case 'S':
        arguments->subscription = optarg;
        return WEIR_EXIT_DONE;
    case 'T':
        arguments->type = optarg;
        return WEIR_EXIT_DONE;
    case 'k':
        arguments->key = optarg;
        return WEIR_EXIT_DONE;
    case 'F':
        arguments->is_failed = true;
        return WEIR_EXIT_DONE;
    case 'j':
        arguments->is_json = true;
        return WEIR_EXIT_DONE;
    case 'n':
        return take_bound(cli, arguments, "count");
    case 't':
        return take_bound(cli, arguments, "timeout");
    default:
        return WEIR_EXIT_MISTAKE;
    }
}

static int parse(const struct weir_cli *cli, int argc, char **argv, struct arguments *arguments) {
    struct weir_error err;
    if (weir_options_init(&option_table, arguments, &err) != WEIR_OK) {
        return weir_cli_failed(cli, "tail: %s", err.message);
    }
    optind = 0; // getopt starts anew
    for (int code; (code = weir_cli_option(cli, argc, argv, ":s:n:t:", long_options)) != -1;) {
        int exit_status = take_option(cli, arguments, code);
        if (exit_status != WEIR_EXIT_DONE) {
            return exit_status;
        }
    }
    if (argc - optind > 1) {
        return weir_cli_mistake(cli, "tail", "tail wants one configuration at most");
    }
    arguments->place.file = argv[optind];
    return WEIR_EXIT_DONE;
}

int weir_command_tail(const struct weir_cli *cli, int argc, char **argv) {
    struct arguments arguments = {0};
    char *dir = NULL;
    int exit_status = parse(cli, argc, argv, &arguments);
    if (exit_status == WEIR_EXIT_DONE) {
        exit_status = weir_cli_state_dir(cli, "tail", &arguments.place, &dir);
    }
    if (exit_status == WEIR_EXIT_DONE) {
        exit_status = run(cli, &arguments, dir);
    }
    free(dir);
    return exit_status;
}
