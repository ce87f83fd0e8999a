// SPDX-License-Identifier: Apache-2.0
//
// The provider of kind "nats": a key-value bucket of JetStream, a stream, or plain subjects.
// docs/providers/nats.md says what users get.
#ifndef WEIR_PROVIDER_NATS_NATS_H
#define WEIR_PROVIDER_NATS_NATS_H

#include "provider/provider.h"

extern const struct weir_provider weir_nats_provider;

#endif
