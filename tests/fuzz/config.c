// SPDX-License-Identifier: Apache-2.0
//
// weir.yaml from anybody: whatever the bytes, the reader ends, stays within its bounds, tells at
// least one mistake where it does not accept, and leaves a configuration that can be freed.
// Relative paths and the environment are the only things that it takes from outside.
#include "config/config.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition) {
    if (!condition) {
        abort();
    }
}

static void check_good(const struct weir_config *config) {
    for (size_t i = 0; i < config->resource_count; i++) {
        require(weir_name_valid(weir_str_of(config->resources[i].name)));
        require(config->resources[i].provider && config->resources[i].options);
    }
    for (size_t i = 0; i < config->guest_count; i++) {
        const struct weir_guest_config *guest = &config->guests[i];
        require(weir_name_valid(weir_str_of(guest->name)));
        require(guest->wasm && guest->bounds.time_ns > 0 && guest->retry.attempts > 0);
        require(guest->retry.backoff_max_ns >= guest->retry.backoff_ns);
        for (size_t g = 0; g < guest->grant_count; g++) {
            require(weir_config_resource(config, weir_str_of(guest->grants[g].resource)));
            require(guest->grants[g].verbs != 0);
        }
    }
    for (size_t i = 0; i < config->subscription_count; i++) {
        const struct weir_subscription_config *subscription = &config->subscriptions[i];
        require(weir_config_resource(config, weir_str_of(subscription->resource)));
        require(weir_config_guest(config, weir_str_of(subscription->guest)));
        require(subscription->key[0] && subscription->handler[0]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct weir_config config;
    struct weir_error err = {0};
    struct weir_problems *problems = calloc(1, sizeof *problems);
    require(problems);
    weir_status status =
        weir_config_parse((struct weir_str){.data = (const char *)data, .size = size},
                          "conf/weir.yaml", &config, problems, &err);
    require((status == WEIR_OK) ==
            (problems->count + problems->left_out == 0 && err.status == WEIR_OK));
    for (size_t i = 0; i < problems->count; i++) {
        const struct weir_problem *problem = &problems->items[i];
        require(problem->message[0] && problem->place.line > 0);
        require(weir_utf8_valid(weir_str_of(problem->key)));
        require(!strchr(problem->message, '\n') && !strchr(problem->key, '\n'));
    }
    if (status == WEIR_OK) {
        check_good(&config);
    }
    weir_problems_finish(problems);
    free(problems);
    weir_config_finish(&config);
    return 0;
}
