// SPDX-License-Identifier: Apache-2.0
//
// `weir help`. Texts of commands stand in command.c; everything about options is made from the
// option tables, so help cannot differ from what the reader accepts. Main thread.
#include "cli/help.h"

#include "base/nearest.h"
#include "base/show.h"
#include "cli/command.h"
#include "config/tables.h"

enum { NAME_WIDTH = 20, DEFAULT_WIDTH = 14, RANGE_WIDTH = 18 };

// One line; an indent makes the name's column narrower, so that the others stay where they are.
static void print_row(FILE *out, int indent, const char *name, const char *fallback,
                      const char *range, const char *help) {
    bool is_wide = strlen(range) >= RANGE_WIDTH;
    fprintf(out, "%*s%-*s%-*s%-*s%s%s\n", indent, "", NAME_WIDTH - indent, name, DEFAULT_WIDTH,
            fallback, RANGE_WIDTH, range, is_wide ? "  " : "", help);
}

static void print_options(FILE *out, int indent, const struct weir_option_table *table) {
    for (size_t i = 0; i < table->count; i++) {
        const struct weir_option *option = &table->rows[i];
        char range[WEIR_OPTION_EXPECTED_BYTES];
        print_row(out, indent, option->name,
                  option->fallback      ? option->fallback
                  : option->is_required ? "(required)"
                                        : "-",
                  weir_option_range(option, range, sizeof range), option->help);
    }
}

static void print_sections(FILE *out, int indent, const struct weir_sections *sections) {
    for (size_t i = 0; i < sections->count; i++) {
        const struct weir_section *section = &sections->rows[i];
        print_row(out, indent, section->name, "-", section->table ? "as below" : "", section->help);
    }
}

static void print_title(FILE *out, const char *title, const char *help) {
    fprintf(out, "\n%s\n  %s\n", title, help);
    print_row(out, 2, "KEY", "DEFAULT", "WHAT", "MEANING");
}

void weir_help_config(FILE *out) {
    fprintf(out,
            "The keys of a configuration (weir.yaml). Durations are written 250ms, 5s, 2m, 1h; "
            "sizes 512, 64KiB, 16MiB, 1GiB.\n");
    print_title(out, "host:", "what holds for weir as a whole");
    print_options(out, 2, &weir_host_options);
    print_title(out, "state:", "what is written down so that nothing is lost over a stop");
    print_options(out, 2, &weir_state_options);
    print_title(out,
                "traces:", "what became of events, for a receiver of OpenTelemetry's OTLP/HTTP");
    print_options(out, 2, &weir_traces_options);
    print_title(out, "admin:",
                "where weir tells what it does, by HTTP: metrics, health, the console; off unless "
                "it is given; also just IP:PORT, or the path of a socket");
    print_options(out, 2, &weir_admin_options);
    print_title(out, "bounds:",
                "what a guest may use; at the top level the default of all guests, "
                "in a guest its own");
    print_options(out, 2, &weir_bounds_options);
    print_title(out, "resources: NAME:", "what can be read, changed and watched");
    print_row(out, 2, "kind", "(required)", "see weir help",
              "the provider; \"weir help KIND\" lists "
              "its own options, which stand beside it");
    print_title(out, "guests: NAME:", "the programs that handle events");
    print_options(out, 2, &weir_guest_options);
    print_options(out, 2, &weir_delivery_options);
    print_sections(out, 2, &weir_guest_sections);
    print_title(out, "grants: -", "of a guest: what it may do with a resource");
    print_options(out, 2, &weir_grant_options);
    print_sections(out, 2, &weir_grant_sections);
    print_title(out, "subscriptions: -", "whose changes go to which handler; a list");
    print_options(out, 2, &weir_subscription_options);
    print_options(out, 2, &weir_delivery_options);
    print_sections(out, 2, &weir_subscription_sections);
    print_title(out, "retry:", "of a guest or a subscription: how a failed event is tried again");
    print_options(out, 2, &weir_retry_options);
    print_title(out, "queue:", "of a guest or a subscription: how much may wait in memory");
    print_options(out, 2, &weir_queue_options);
    print_title(out, "journal:", "of a guest or a subscription: how much may wait on disk");
    print_options(out, 2, &weir_journal_options);
}

static void print_capabilities(FILE *out, uint32_t capabilities) {
    static const struct {
        uint32_t bit;
        const char *name;
    } rows[] = {
        {WEIR_CAN_GET, "get"},         {WEIR_CAN_SET, "set"},         {WEIR_CAN_LIST, "list"},
        {WEIR_CAN_WATCH, "watch"},     {WEIR_CAN_REPLAY, "replay"},   {WEIR_CAN_COMPARE, "compare"},
        {WEIR_CAN_ACK, "acknowledge"}, {WEIR_CAN_PUBLISH, "publish"}, {WEIR_CAN_UPDATE, "update"},
        {WEIR_CAN_QUERY, "query"},
    };
    const char *joint = "";
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (capabilities & rows[i].bit) {
            fprintf(out, "%s%s", joint, rows[i].name);
            joint = ", ";
        }
    }
    fprintf(out, "\n");
}

void weir_help_provider(FILE *out, const struct weir_provider *provider) {
    const char *first = provider->options.rows[0].name;
    fprintf(out, "%s: %s\n\nIt can: ", provider->kind, provider->summary);
    print_capabilities(out, provider->capabilities);
    if (provider->options.rows[0].is_required) {
        fprintf(out, "In a configuration:   my-data: {kind: %s, %s: ...}\n", provider->kind, first);
        fprintf(out, "On a command line:    --resource my-data=%s:...   (%s behind the colon)\n\n",
                provider->kind, first);
    } else {
        fprintf(out, "In a configuration:   my-data: {kind: %s}\n", provider->kind);
        fprintf(out, "On a command line:    --resource my-data=%s\n\n", provider->kind);
    }
    print_row(out, 2, "KEY", "DEFAULT", "WHAT", "MEANING");
    print_options(out, 2, &provider->options);
}

// The options that main.c takes.
static void print_common_options(FILE *out) {
    fprintf(out, "\n"
                 "Options of every command:\n"
                 "  --log-format FORMAT   of weir's log on standard error: text (default) or json\n"
                 "  --log-level LEVEL     what is logged: debug, info (default), warn or error\n"
                 "  --log-rate N          lines of one message in 10 s (default 20); 0: all\n"
                 "  -h, --help            explain the command\n");
}

static void print_overview(FILE *out) {
    fprintf(out, "weir runs WebAssembly guests reactively: something changes in a resource, and\n"
                 "weir calls the handler that a guest exports, with a CloudEvent.\n"
                 "\n"
                 "Usage: weir COMMAND [ARGUMENT...]\n"
                 "\n"
                 "Commands:\n");
    for (const struct weir_command *command = weir_commands; command->name; command++) {
        fprintf(out, "  %-10s%s\n", command->name, command->summary);
    }
    fprintf(out, "\nKinds of resources:\n");
    for (const struct weir_provider *const *provider = weir_providers; *provider; provider++) {
        fprintf(out, "  %-10s%s\n", (*provider)->kind, (*provider)->summary);
    }
    print_common_options(out);
    fprintf(out, "  -V, --version         print the versions of weir and its engine\n"
                 "\n"
                 "Exit status: 0 done, 1 failed while running, 2 a mistake in what was asked for.\n"
                 "\n"
                 "\"weir help config\" explains the configuration, \"weir help KIND\" a kind of\n"
                 "resource, \"weir help COMMAND\" a command.\n");
}

static int unknown_topic(const struct weir_cli *cli, const char *topic) {
    struct weir_nearest nearest;
    weir_nearest_init(&nearest, weir_str_of(topic));
    weir_nearest_offer(&nearest, "config");
    for (const struct weir_command *command = weir_commands; command->name; command++) {
        weir_nearest_offer(&nearest, command->name);
    }
    for (const struct weir_provider *const *provider = weir_providers; *provider; provider++) {
        weir_nearest_offer(&nearest, (*provider)->kind);
    }
    char shown[WEIR_SHOW_BYTES];
    weir_show(weir_str_of(topic), shown, sizeof shown);
    if (nearest.best) {
        return weir_cli_mistake(cli, "", "there is no help on \"%s\"; did you mean \"%s\"?", shown,
                                nearest.best);
    }
    return weir_cli_mistake(cli, "",
                            "there is no help on \"%s\"; there is on each command, each kind of "
                            "resource, and config",
                            shown);
}

int weir_command_help(const struct weir_cli *cli, int argc, char **argv) {
    if (argc > 2) {
        return weir_cli_mistake(cli, argv[0], "help takes one topic");
    }
    if (argc < 2) {
        print_overview(stdout);
        return WEIR_EXIT_DONE;
    }
    const struct weir_command *command = weir_command_find(argv[1]);
    const struct weir_provider *provider = weir_provider_find(weir_str_of(argv[1]));
    if (command) {
        fputs(command->help, stdout);
        print_common_options(stdout);
    } else if (provider) {
        weir_help_provider(stdout, provider);
    } else if (strcmp(argv[1], "config") == 0) {
        weir_help_config(stdout);
    } else {
        return unknown_topic(cli, argv[1]);
    }
    return WEIR_EXIT_DONE;
}
