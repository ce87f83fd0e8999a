// SPDX-License-Identifier: Apache-2.0
//
// `weir top`: what becomes of the events of a weir that runs, live, on a terminal; once, as text,
// where there is none. It asks over the control socket, once each interval, and draws what is told.
// A weir that goes away is waited for.
//
// The main thread waits in one place only, poll(), on everything there is: signals, keys, answers,
// the time of the next question. Signals are blocked and read as bytes, so that nothing happens to
// the terminal in the middle of a drawing.
#include "base/clock.h"
#include "cli/command.h"
#include "cli/state_dir.h"
#include "cli/top_draw.h"
#include "cli/top_model.h"
#include "cli/top_screen.h"
#include "cli/top_text.h"
#include "cli/top_view.h"
#include "control/control.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum {
    INTERVAL_MS_MIN = 100,
    INTERVAL_S_MAX = 3600,
    SILENCE_MS = 2500,  // without an answer, before it is told
    LOAD_SHARE = 4,     // an answer that took 1 s is followed by a question after so many seconds
    WAIT_MS_MAX = 1000, // of one poll; it is called again
    KEYS_MAX = 256,     // that are taken between two drawings
};

struct arguments {
    struct weir_cli_place place;
    bool is_once;
    // Described by option_rows:
    int64_t interval_ns;
};

static const struct weir_option option_rows[] = {
    {
        .name = "interval",
        .type = WEIR_OPTION_DURATION,
        .offset = offsetof(struct arguments, interval_ns),
        .fallback = "1s",
        .min = INTERVAL_MS_MIN * WEIR_NS_PER_MS,
        .max = INTERVAL_S_MAX * WEIR_NS_PER_S,
    },
};
static const struct weir_option_table option_table = {
    .rows = option_rows, .count = sizeof option_rows / sizeof option_rows[0]};

struct top {
    const struct weir_cli *cli;
    const struct arguments *arguments;
    const char *dir;
    struct weir_control_link *link; // NULL: there is no weir
    bool is_asked;                  // an answer is to come
    int64_t asked_ns, next_ns;
    bool has_changed; // something is to be drawn
    bool is_stopped;
    char trouble[WEIR_ERROR_MESSAGE_BYTES]; // why there is no new answer; "": there is none
    struct weir_top_model model;
    struct weir_top_view view;
    struct weir_top_screen *screen;
    int signals_fd;
};

// ---- asking ----

static void set_trouble(struct top *top, const char *trouble) {
    if (strcmp(top->trouble, trouble) != 0) {
        snprintf(top->trouble, sizeof top->trouble, "%s", trouble);
        top->has_changed = true;
    }
}

static void hang_up(struct top *top, const struct weir_error *err) {
    weir_control_close(top->link);
    top->link = NULL;
    top->is_asked = false;
    top->next_ns = weir_clock_monotonic_ns() + top->arguments->interval_ns;
    set_trouble(top, err->message);
}

// Asks, and connects before where that is to be done.
static weir_status ask(struct top *top, struct weir_error *err) {
    weir_status status = top->link ? WEIR_OK : weir_control_open(top->dir, &top->link, err);
    status = status == WEIR_OK
                 ? weir_control_send(top->link, json_pack("{s:s}", "command", "status"), err)
                 : status;
    if (status != WEIR_OK) {
        hang_up(top, err);
        return status;
    }
    top->is_asked = true;
    top->asked_ns = weir_clock_monotonic_ns();
    return WEIR_OK;
}

// When to ask again: each interval, and never so often that a large weir does nothing else.
static void plan_next(struct top *top) {
    int64_t now_ns = weir_clock_monotonic_ns(), took_ns = now_ns - top->asked_ns;
    int64_t due_ns = top->asked_ns + top->arguments->interval_ns;
    int64_t fair_ns = top->asked_ns + took_ns * LOAD_SHARE;
    top->next_ns = due_ns > fair_ns ? due_ns : fair_ns;
}

static weir_status take(struct top *top, json_t *answer, struct weir_error *err) {
    top->is_asked = false;
    top->has_changed = true;
    set_trouble(top, "");
    plan_next(top);
    weir_status status = weir_top_model_take(&top->model, answer, err);
    weir_status seen = weir_top_view_update(&top->view, &top->model, err);
    return status == WEIR_OK ? seen : status;
}

// Takes the answer, where it has come. One that is an error, or that there is no memory for, is
// told; the next one may be better.
static void receive(struct top *top) {
    struct weir_error err;
    json_t *answer;
    weir_status status = weir_control_next(top->link, &answer, &err);
    if (status == WEIR_AGAIN) {
        return;
    }
    if (status == WEIR_STOPPED) {
        weir_fail(&err, WEIR_STOPPED, "weir has ended");
    }
    if (status != WEIR_OK) {
        hang_up(top, &err);
        return;
    }
    status = weir_control_error_of(answer, &err);
    status = status == WEIR_OK ? take(top, json_incref(answer), &err) : status;
    json_decref(answer);
    if (status != WEIR_OK) {
        top->is_asked = false;
        plan_next(top);
        set_trouble(top, err.message);
    }
}

// Says so where an answer does not come, and asks somebody else in the end.
static void look_after_answer(struct top *top) {
    struct weir_error err;
    int64_t waited_ms = (weir_clock_monotonic_ns() - top->asked_ns) / WEIR_NS_PER_MS;
    if (!top->is_asked || waited_ms < SILENCE_MS) {
        return;
    }
    weir_fail(&err, WEIR_UNAVAILABLE, "weir has not answered for %lld s",
              (long long)waited_ms / 1000);
    set_trouble(top, err.message);
    if (waited_ms >= WEIR_CONTROL_ASK_MS) {
        hang_up(top, &err);
    }
}

// ---- the terminal ----

static void draw(struct top *top) {
    struct weir_top_scene scene = {.model = &top->model,
                                   .view = &top->view,
                                   .dir = top->dir,
                                   .trouble = top->trouble,
                                   .has_keys = true};
    weir_top_screen_draw(top->screen, &scene);
    top->has_changed = false;
}

static void take_keys(struct top *top) {
    uint32_t key;
    for (size_t i = 0;
         i < KEYS_MAX && (key = weir_top_screen_key(top->screen)) != WEIR_TOP_KEY_NONE; i++) {
        struct weir_error err;
        weir_top_view_key(&top->view, key);
        if (weir_top_view_update(&top->view, &top->model, &err) != WEIR_OK) {
            set_trouble(top, err.message);
        }
        top->has_changed = true;
    }
}

// Stops this process as ^Z asks, with the terminal as it was found; goes on when it is continued.
static void suspend(struct top *top) {
    struct sigaction before, stop = {.sa_handler = SIG_DFL};
    sigset_t signals;
    sigemptyset(&stop.sa_mask);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTSTP);
    weir_top_screen_leave(top->screen);
    sigaction(SIGTSTP, &stop, &before);
    raise(SIGTSTP);
    sigprocmask(SIG_UNBLOCK, &signals, NULL); // stops here
    sigprocmask(SIG_BLOCK, &signals, NULL);
    sigaction(SIGTSTP, &before, NULL);
    weir_top_screen_return(top->screen);
}

static void take_signals(struct top *top) {
    struct signalfd_siginfo info;
    while (read(top->signals_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        switch (info.ssi_signo) {
        case SIGWINCH:
            weir_top_screen_refit(top->screen);
            break;
        case SIGTSTP:
            suspend(top);
            break;
        case SIGCONT:
            weir_top_screen_return(top->screen);
            break;
        default:
            top->is_stopped = true;
        }
        top->has_changed = true;
    }
}

static weir_status open_signals(int *ret_fd, struct weir_error *err) {
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGTSTP, SIGCONT};
    sigset_t signals;
    sigemptyset(&signals);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        sigaddset(&signals, numbers[i]);
    }
    sigprocmask(SIG_BLOCK, &signals, NULL);
    *ret_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    return *ret_fd >= 0 ? WEIR_OK : weir_fail_errno(err, errno, "cannot make a signalfd");
}

// ---- the loop ----

static int wait_ms(const struct top *top) {
    int64_t left_ns = top->next_ns - weir_clock_monotonic_ns();
    if (top->is_asked || top->view.is_paused || left_ns > WAIT_MS_MAX * WEIR_NS_PER_MS) {
        return WAIT_MS_MAX;
    }
    return left_ns > 0 ? (int)(left_ns / WEIR_NS_PER_MS) + 1 : 0;
}

static weir_status step(struct top *top, struct weir_error *err) {
    bool is_due = !top->is_asked && !top->view.is_paused;
    if (is_due && weir_clock_monotonic_ns() >= top->next_ns) {
        struct weir_error trouble;
        ask(top, &trouble);
    }
    if (top->has_changed) {
        draw(top);
    }
    struct pollfd fds[] = {
        {.fd = top->signals_fd, .events = POLLIN},
        {.fd = STDIN_FILENO, .events = POLLIN},
        {.fd = top->link ? weir_control_fd(top->link) : -1, .events = POLLIN},
    };
    if (poll(fds, sizeof fds / sizeof fds[0], wait_ms(top)) < 0 && errno != EINTR) {
        return weir_fail_errno(err, errno, "cannot wait");
    }
    if (fds[0].revents) {
        take_signals(top);
    }
    if (fds[1].revents & POLLIN) {
        take_keys(top);
    } else if (fds[1].revents) {
        top->is_stopped = true; // the terminal is gone
    }
    if (fds[2].revents) {
        receive(top);
    }
    look_after_answer(top);
    return WEIR_OK;
}

static int run_live(struct top *top) {
    struct weir_error err = {0};
    weir_status status = open_signals(&top->signals_fd, &err);
    status = status == WEIR_OK ? weir_top_screen_open(&top->screen, &err) : status;
    top->has_changed = true;
    while (status == WEIR_OK && !top->is_stopped && !top->view.has_ended) {
        status = step(top, &err);
    }
    weir_top_screen_close(top->screen);
    if (top->signals_fd >= 0) {
        close(top->signals_fd);
    }
    return status == WEIR_OK ? WEIR_EXIT_DONE : weir_cli_failed(top->cli, "top: %s", err.message);
}

// ---- once ----

// Asks and waits for the answer.
static weir_status ask_and_wait(struct top *top, struct weir_error *err) {
    json_t *answer;
    weir_status status =
        weir_control_ask(top->link, json_pack("{s:s}", "command", "status"), &answer, err);
    return status == WEIR_OK ? take(top, answer, err) : status;
}

// Two answers, an interval apart, because a rate is a difference.
static int run_once(struct top *top) {
    struct weir_error err = {0};
    struct weir_top_scene scene = {
        .model = &top->model, .view = &top->view, .dir = top->dir, .trouble = ""};
    weir_status status = weir_control_open(top->dir, &top->link, &err);
    status = status == WEIR_OK ? ask_and_wait(top, &err) : status;
    if (status == WEIR_OK) {
        poll(NULL, 0, (int)(top->arguments->interval_ns / WEIR_NS_PER_MS));
        status = ask_and_wait(top, &err);
    }
    if (status != WEIR_OK) {
        weir_cli_failed(top->cli, "top: %s", err.message);
        return status == WEIR_NOT_FOUND ? WEIR_EXIT_MISTAKE : WEIR_EXIT_FAILED;
    }
    weir_top_text_write(stdout, &scene, weir_top_is_utf8());
    return WEIR_EXIT_DONE;
}

// ---- the command ----

static bool has_terminal(void) {
    const char *term = getenv("TERM");
    return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && term && term[0] &&
           strcmp(term, "dumb") != 0;
}

static int run(const struct weir_cli *cli, const struct arguments *arguments, const char *dir) {
    struct top top = {.cli = cli, .arguments = arguments, .dir = dir, .signals_fd = -1};
    weir_top_view_init(&top.view);
    int exit_status = arguments->is_once || !has_terminal() ? run_once(&top) : run_live(&top);
    weir_control_close(top.link);
    weir_top_view_finish(&top.view);
    weir_top_model_finish(&top.model);
    return exit_status;
}

static int take_option(const struct weir_cli *cli, struct arguments *arguments, int code) {
    struct weir_error err;
    switch (code) {
    case 's':
        arguments->place.state = optarg;
        return WEIR_EXIT_DONE;
    case 'o':
        arguments->is_once = true;
        return WEIR_EXIT_DONE;
    case 'i':
        return weir_option_set(&option_rows[0], arguments, weir_str_of(optarg), NULL, &err) ==
                       WEIR_OK
                   ? WEIR_EXIT_DONE
                   : weir_cli_mistake(cli, "top", "--interval: %s", err.message);
    default:
        return WEIR_EXIT_MISTAKE;
    }
}

static int parse(const struct weir_cli *cli, int argc, char **argv, struct arguments *arguments) {
    static const struct option options[] = {
        {"state", required_argument, NULL, 's'},
        {"interval", required_argument, NULL, 'i'},
        {"once", no_argument, NULL, 'o'},
        {0},
    };
    struct weir_error err;
    if (weir_options_init(&option_table, arguments, &err) != WEIR_OK) {
        return weir_cli_failed(cli, "top: %s", err.message);
    }
    optind = 0; // getopt starts anew
    for (int code; (code = weir_cli_option(cli, argc, argv, ":s:i:", options)) != -1;) {
        int exit_status = take_option(cli, arguments, code);
        if (exit_status != WEIR_EXIT_DONE) {
            return exit_status;
        }
    }
    if (argc - optind > 1) {
        return weir_cli_mistake(cli, "top", "top wants one configuration at most");
    }
    arguments->place.file = argv[optind];
    return WEIR_EXIT_DONE;
}

int weir_command_top(const struct weir_cli *cli, int argc, char **argv) {
    struct arguments arguments = {.is_once = false};
    char *dir = NULL;
    int exit_status = parse(cli, argc, argv, &arguments);
    if (exit_status == WEIR_EXIT_DONE) {
        exit_status = weir_cli_state_dir(cli, "top", &arguments.place, &dir);
    }
    if (exit_status == WEIR_EXIT_DONE) {
        exit_status = run(cli, &arguments, dir);
    }
    free(dir);
    return exit_status;
}
