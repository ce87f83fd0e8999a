// SPDX-License-Identifier: Apache-2.0
//
// The provider of kind "topic": what is published in this process is told to the watches in this
// process. docs/providers/topic.md says what users get.
#ifndef WEIR_PROVIDER_TOPIC_TOPIC_H
#define WEIR_PROVIDER_TOPIC_TOPIC_H

#include "provider/provider.h"

extern const struct weir_provider weir_topic_provider;

// Described by the option table in topic.c.
struct weir_topic_options {
    uint64_t watches_max;
};

#endif
