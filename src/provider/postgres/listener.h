// SPDX-License-Identifier: Apache-2.0
//
// LISTEN: notifications as events, best effort. PostgreSQL keeps nothing of a notification: what is
// sent while there is no connection is missed, and each watch is told of that as a gap.
//
// One connection listens to all channels of the resource, for all of its watches. It is read
// whether their sinks have room or not, since a session that does not read fills the queue that all
// sessions of the server share. What a sink has no room for waits here, up to a bound; what comes
// beyond that is dropped, and that is told as a gap, too.
#ifndef WEIR_PROVIDER_POSTGRES_LISTENER_H
#define WEIR_PROVIDER_POSTGRES_LISTENER_H

#include "provider/hub.h"
#include "provider/postgres/resource.h"

weir_status weir_pg_listener_create(struct weir_pg_resource *resource, struct weir_error *err);
// The hub's thread must have ended.
void weir_pg_listener_destroy(struct weir_pg_listener *listener);
extern const struct weir_hub_functions weir_pg_listener_hub_functions;

#endif
