// SPDX-License-Identifier: Apache-2.0
//
// `weir replay`: one stored event, once more through a handler, here: in a fresh instance of this
// process, with the same bytes, whatever a weir that runs does meanwhile. It is for finding out why
// an event failed and whether a mended guest handles it. Nothing is written: the event stays where
// it is, and what the handler returns is printed, not published.
//
// Main thread.
#include "base/clock.h"
#include "base/show.h"
#include "cli/command.h"
#include "cli/print.h"
#include "cli/program.h"
#include "cli/state_dir.h"
#include "cli/stored.h"
#include "event/json.h"
#include "guest/engine.h"
#include "guest/guest.h"
#include "state/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char default_config[] = "weir.yaml";

enum { NEAREST_MAX = 3, NAME_BYTES = 1024 };

struct arguments {
    struct weir_cli_place place;
    const char *id, *guest, *handler;
    bool is_list;
};

// ---- finding the event ----

struct near_id {
    size_t shared; // bytes that it begins like the wanted one
    char text[WEIR_SHOW_BYTES];
};

struct search {
    struct weir_str id;
    struct weir_event *event; // a reference; NULL: not found yet
    const char *place;
    uint64_t number;
    char subscription[NAME_BYTES];
    struct near_id nearest[NEAREST_MAX]; // the most alike first
    size_t near_count;
};

static size_t shared_bytes(struct weir_str a, struct weir_str b) {
    size_t at = 0;
    while (at < a.size && at < b.size && a.data[at] == b.data[at]) {
        at++;
    }
    return at;
}

// An id is mostly a key and a hash behind it, so what is alike is alike from the beginning.
static void consider(struct search *search, struct weir_str id) {
    struct near_id near = {.shared = shared_bytes(search->id, id)};
    weir_show(id, near.text, sizeof near.text);
    for (size_t i = 0; i < search->near_count; i++) {
        if (strcmp(search->nearest[i].text, near.text) == 0) {
            return;
        }
    }
    size_t at = search->near_count;
    while (at > 0 && search->nearest[at - 1].shared < near.shared) {
        at--;
    }
    if (at == NEAREST_MAX) {
        return;
    }
    size_t last = search->near_count < NEAREST_MAX ? search->near_count++ : NEAREST_MAX - 1;
    memmove(&search->nearest[at + 1], &search->nearest[at],
            (last - at) * sizeof search->nearest[0]);
    search->nearest[at] = near;
}

static bool look(void *context, const struct weir_stored *stored) {
    struct search *search = context;
    struct weir_str id = stored->event->fields.id;
    if (!weir_str_equal(id, search->id)) {
        consider(search, id);
        return true;
    }
    search->event = weir_event_ref(stored->event);
    search->place = stored->place;
    search->number = stored->number;
    snprintf(search->subscription, sizeof search->subscription, "%.*s",
             WEIR_STR_ARG(stored->subscription));
    return false;
}

static int not_found(const struct weir_cli *cli, const struct search *search) {
    char list[NEAREST_MAX * (WEIR_SHOW_BYTES + 4)] = "", shown[WEIR_SHOW_BYTES];
    size_t size = 0;
    for (size_t i = 0; i < search->near_count; i++) {
        size += (size_t)snprintf(list + size, sizeof list - size, "%s\"%s\"", i ? ", " : "",
                                 search->nearest[i].text);
    }
    weir_show(search->id, shown, sizeof shown);
    return search->near_count > 0
               ? weir_cli_failed(cli,
                                 "replay: no event with the id \"%s\" is stored; the nearest: %s",
                                 shown, list)
               : weir_cli_failed(
                     cli, "replay: no event with the id \"%s\" is stored, nor any other", shown);
}

static bool print_stored(void *context, const struct weir_stored *stored) {
    (void)context;
    char id[NAME_BYTES], subscription[NAME_BYTES];
    printf("%s  %s %llu  %s\n", weir_show(stored->event->fields.id, id, sizeof id), stored->place,
           (unsigned long long)stored->number,
           weir_show(stored->subscription, subscription, sizeof subscription));
    return !ferror(stdout); // main tells
}

static int list_all(const struct weir_cli *cli, struct weir_state *state) {
    struct weir_error err = {0};
    return weir_stored_each(state, print_stored, NULL, &err) == WEIR_OK
               ? WEIR_EXIT_DONE
               : weir_cli_state_failed(cli, "replay", &err);
}

// ---- finding the handler ----

// Which guest and which handler are meant.
struct choice {
    const struct weir_guest_config *guest;
    char handler[NAME_BYTES];
    bool is_derived; // `handler` stands in a subscription's name, with colons for slashes
};

static const struct weir_subscription_config *subscription_named(const struct weir_config *config,
                                                                 const char *name) {
    for (size_t i = 0; i < config->subscription_count; i++) {
        const char *own = config->subscriptions[i].name;
        if (own && strcmp(own, name) == 0) {
            return &config->subscriptions[i];
        }
    }
    return NULL;
}

// What the subscription says: one that was given its name has it in the configuration, that of
// every other one is "guest/resource/key/handler", and "#2" behind it for the second of the same;
// see flow/subscription.c.
static void choose_by_subscription(const struct weir_config *config, const char *name,
                                   struct choice *ret_choice) {
    const struct weir_subscription_config *subscription = subscription_named(config, name);
    const char *first = strchr(name, '/'), *last = strrchr(name, '/');
    *ret_choice = (struct choice){.guest = NULL};
    if (subscription) {
        ret_choice->guest = weir_config_guest(config, weir_str_of(subscription->guest));
        snprintf(ret_choice->handler, NAME_BYTES, "%s", subscription->handler);
    } else if (first) {
        ret_choice->guest = weir_config_guest(
            config, (struct weir_str){.data = name, .size = (size_t)(first - name)});
        snprintf(ret_choice->handler, NAME_BYTES, "%.*s", (int)strcspn(last + 1, "#"), last + 1);
        ret_choice->is_derived = true;
    }
}

// The arguments go before what the subscription says.
static int choose(const struct weir_cli *cli, const struct arguments *arguments,
                  const struct weir_config *config, const struct search *search,
                  struct choice *ret_choice) {
    choose_by_subscription(config, search->subscription, ret_choice);
    if (arguments->guest) {
        const struct weir_guest_config *guest =
            weir_config_guest(config, weir_str_of(arguments->guest));
        if (!guest) {
            return weir_cli_mistake(cli, "replay", "%s has no guest \"%s\"", config->path,
                                    arguments->guest);
        }
        if (guest != ret_choice->guest) {
            *ret_choice = (struct choice){.guest = guest, .handler = WEIR_HANDLER_DEFAULT};
        }
    }
    if (arguments->handler) {
        snprintf(ret_choice->handler, NAME_BYTES, "%s", arguments->handler);
        ret_choice->is_derived = false;
    }
    return ret_choice->guest
               ? WEIR_EXIT_DONE
               : weir_cli_mistake(cli, "replay",
                                  "%s does not say which guest handles \"%s\"; name it by --guest",
                                  config->path, search->subscription);
}

// Gives a derived name's handler its slashes back, as the guest has them.
static void restore_slashes(const struct weir_guest *guest, struct choice *choice) {
    for (uint32_t i = 0; i < weir_guest_handler_count(guest) && choice->is_derived; i++) {
        const char *name = weir_guest_handler_name(guest, i);
        size_t at = 0;
        while (name[at] && (name[at] == '/' ? ':' : name[at]) == choice->handler[at]) {
            at++;
        }
        if (!name[at] && !choice->handler[at]) {
            snprintf(choice->handler, NAME_BYTES, "%s", name);
            return;
        }
    }
}

// ---- running it ----

static int print_verdict(const struct weir_cli *cli, const struct weir_verdict *verdict,
                         int64_t took_ns) {
    char shown[WEIR_ERROR_MESSAGE_BYTES * WEIR_SHOWN_BYTES_MAX], *derived = NULL;
    struct weir_error err;
    double took_ms = (double)took_ns / (double)WEIR_NS_PER_MS;
    if (verdict->outcome != WEIR_HANDLED) {
        printf("%s after %.3f ms: %s\n", verdict->outcome == WEIR_REJECTED ? "rejected" : "failed",
               took_ms, weir_show(weir_str_of(verdict->error.message), shown, sizeof shown));
        return WEIR_EXIT_FAILED;
    }
    printf("handled in %.3f ms\n", took_ms);
    if (!verdict->derived) {
        return WEIR_EXIT_DONE;
    }
    if (weir_event_to_json(&verdict->derived->fields, &derived, &err) != WEIR_OK) {
        return weir_cli_failed(cli, "replay: the event that it returned: %s", err.message);
    }
    printf("returned: %s\n", derived);
    free(derived);
    return WEIR_EXIT_DONE;
}

static int handle(const struct weir_cli *cli, struct weir_guest *guest, const char *handler_name,
                  const struct weir_event *event) {
    struct weir_error err;
    struct weir_call call = {0};
    struct weir_verdict verdict = {0};
    uint32_t handler;
    if (weir_guest_handler_find(guest, weir_str_of(handler_name), &handler, &err) != WEIR_OK) {
        return weir_cli_mistake(cli, "replay", "guest %s: %s", weir_guest_name(guest), err.message);
    }
    fflush(stdout); // what the guest prints goes past stdio
    int64_t begun_ns = weir_clock_monotonic_ns();
    weir_guest_handle(guest, handler, &event->fields, &call, &verdict);
    int64_t took_ns = weir_clock_monotonic_ns() - begun_ns;
    int exit_status = print_verdict(cli, &verdict, took_ns);
    weir_event_unref(verdict.derived);
    return exit_status;
}

static int run_guest(const struct weir_cli *cli, const struct weir_config *config,
                     struct choice *choice, const struct search *search) {
    struct weir_program_host output = {.fd = STDOUT_FILENO, .log = cli->log};
    struct weir_guest_config fresh = *choice->guest; // owns nothing
    struct weir_engine *engine = NULL;
    struct weir_guest *guest = NULL;
    struct weir_error err;
    char shown[NAME_BYTES], name[NAME_BYTES];
    fresh.instance = WEIR_INSTANCE_FRESH;
    weir_status status = weir_program_engine(config, cli->live, &engine, &err);
    status = status == WEIR_OK ? weir_program_guest(engine, config, &fresh, &output, &guest, &err)
                               : status;
    int exit_status;
    if (status == WEIR_OK) {
        restore_slashes(guest, choice);
        printf("%s, of %s (%s %llu), through %s.%s\n", weir_show(search->id, shown, sizeof shown),
               weir_show(weir_str_of(search->subscription), name, sizeof name), search->place,
               (unsigned long long)search->number, fresh.name, choice->handler);
        exit_status = handle(cli, guest, choice->handler, search->event);
    } else {
        weir_cli_failed(cli, "replay: %s", err.message);
        exit_status = weir_cli_exit_of(status);
    }
    weir_guest_unref(guest);
    weir_engine_destroy(engine);
    return exit_status;
}

// ---- the command ----

static int replay(const struct weir_cli *cli, const struct arguments *arguments,
                  const struct search *search) {
    struct weir_config config;
    struct choice choice;
    const char *file = arguments->place.file ? arguments->place.file : default_config;
    int exit_status = weir_cli_read_config(cli, file, &config);
    if (exit_status == WEIR_EXIT_DONE) {
        exit_status = choose(cli, arguments, &config, search, &choice);
    }
    if (exit_status == WEIR_EXIT_DONE) {
        exit_status = run_guest(cli, &config, &choice, search);
    }
    weir_config_finish(&config);
    return exit_status;
}

static int find_and_replay(const struct weir_cli *cli, const struct arguments *arguments,
                           const char *dir) {
    struct weir_state *state = NULL;
    struct weir_error err = {0};
    struct search search = {.id = weir_str_of(arguments->id)};
    int exit_status = weir_cli_state_read(cli, "replay", dir, &state);
    if (exit_status != WEIR_EXIT_DONE) {
        return exit_status;
    }
    weir_status status = WEIR_OK;
    if (arguments->is_list) {
        exit_status = list_all(cli, state);
    } else {
        status = weir_stored_each(state, look, &search, &err);
    }
    weir_state_close(state);
    if (status != WEIR_OK) {
        exit_status = weir_cli_state_failed(cli, "replay", &err);
    } else if (search.event) {
        exit_status = replay(cli, arguments, &search);
    } else if (!arguments->is_list) {
        exit_status = not_found(cli, &search);
    }
    weir_event_unref(search.event);
    return exit_status;
}

static const struct option long_options[] = {
    {"file", required_argument, NULL, 'f'},  {"state", required_argument, NULL, 's'},
    {"guest", required_argument, NULL, 'g'}, {"handler", required_argument, NULL, 'H'},
    {"list", no_argument, NULL, 'l'},        {NULL, 0, NULL, 0},
};

static int parse(const struct weir_cli *cli, int argc, char **argv, struct arguments *arguments) {
    optind = 0; // getopt starts anew
    for (int code; (code = weir_cli_option(cli, argc, argv, ":f:s:", long_options)) != -1;) {
        if (code == '?') {
            return WEIR_EXIT_MISTAKE;
        }
        const char **which = code == 'f'   ? &arguments->place.file
                             : code == 's' ? &arguments->place.state
                             : code == 'g' ? &arguments->guest
                                           : &arguments->handler;
        if (code == 'l') {
            arguments->is_list = true;
        } else {
            *which = optarg;
        }
    }
    int words = argc - optind;
    arguments->id = words > 0 ? argv[optind] : NULL;
    if (words != (arguments->is_list ? 0 : 1)) {
        return weir_cli_mistake(cli, "replay",
                                arguments->is_list ? "--list stands without an id"
                                                   : "replay wants the id of one event; --list "
                                                     "tells which are stored");
    }
    return WEIR_EXIT_DONE;
}

int weir_command_replay(const struct weir_cli *cli, int argc, char **argv) {
    struct arguments arguments = {0};
    char *dir = NULL;
    int exit_status = parse(cli, argc, argv, &arguments);
    if (exit_status == WEIR_EXIT_DONE) {
        exit_status = weir_cli_state_dir(cli, "replay", &arguments.place, &dir);
    }
    if (exit_status == WEIR_EXIT_DONE) {
        exit_status = find_and_replay(cli, &arguments, dir);
    }
    free(dir);
    return exit_status;
}
