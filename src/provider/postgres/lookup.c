// SPDX-License-Identifier: Apache-2.0
//
// See lookup.h. A lookup belongs to two: who wants it and the thread that does it. Whoever is done
// with it last frees it. glibc's getaddrinfo_a would do the same with threads of its own, which
// stay for good.
#include "provider/postgres/lookup.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { STACK_BYTES = 256 * 1024 };

struct lookup {
    atomic_int users;
    int done_fd; // eventfd
    char *host;
    atomic_bool is_done;
    // Written by the thread before that.
    int code; // of getaddrinfo
    struct weir_pg_addresses addresses;
};

static void let_go(struct lookup *lookup) {
    if (atomic_fetch_sub(&lookup->users, 1) == 1) {
        if (lookup->done_fd >= 0) {
            close(lookup->done_fd);
        }
        free(lookup->host);
        free(lookup);
    }
}

static void collect(struct lookup *lookup, const struct addrinfo *found) {
    struct weir_pg_addresses *addresses = &lookup->addresses;
    for (; found && addresses->count < WEIR_PG_ADDRESSES_MAX; found = found->ai_next) {
        if (getnameinfo(found->ai_addr, found->ai_addrlen, addresses->texts[addresses->count],
                        WEIR_PG_HOSTADDR_BYTES, NULL, 0, NI_NUMERICHOST) == 0) {
            addresses->count++;
        }
    }
}

static void *thread_main(void *argument) {
    struct lookup *lookup = argument;
    struct addrinfo *found = NULL;
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    lookup->code = getaddrinfo(lookup->host, NULL, &hints, &found);
    if (lookup->code == 0) {
        collect(lookup, found);
        freeaddrinfo(found);
    }
    atomic_store(&lookup->is_done, true);
    const uint64_t one = 1;
    ssize_t written = write(lookup->done_fd, &one, sizeof one);
    (void)written;
    let_go(lookup);
    return NULL;
}

static int start_thread(struct lookup *lookup) {
    pthread_attr_t attributes;
    pthread_t thread;
    int code = pthread_attr_init(&attributes);
    if (code == 0) {
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        pthread_attr_setstacksize(&attributes, STACK_BYTES);
        code = pthread_create(&thread, &attributes, thread_main, lookup);
        pthread_attr_destroy(&attributes);
    }
    return code;
}

static weir_status start(const char *host, struct lookup **ret_lookup, struct weir_error *err) {
    struct lookup *lookup = calloc(1, sizeof *lookup);
    if (!lookup) {
        return weir_fail_no_memory(err, "a look-up");
    }
    atomic_init(&lookup->users, 1);
    atomic_init(&lookup->is_done, false);
    lookup->done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    lookup->host = strdup(host);
    int code = lookup->done_fd < 0 || !lookup->host ? ENOMEM : 0;
    if (code == 0) {
        atomic_store(&lookup->users, 2);
        code = start_thread(lookup);
        if (code != 0) {
            atomic_store(&lookup->users, 1);
        }
    }
    if (code != 0) {
        let_go(lookup);
        return weir_fail_errno(err, code, "cannot look up the host \"%s\"", host);
    }
    *ret_lookup = lookup;
    return WEIR_OK;
}

weir_status weir_pg_lookup(const char *host, const struct weir_waiter *waiter,
                           struct weir_pg_addresses *ret_addresses, struct weir_error *err) {
    struct lookup *lookup = NULL;
    weir_status status = start(host, &lookup, err);
    if (status != WEIR_OK) {
        return status;
    }
    status = weir_wait(waiter, lookup->done_fd, POLLIN);
    if (status == WEIR_OK && !atomic_load(&lookup->is_done)) {
        status = WEIR_UNAVAILABLE; // never: the descriptor says so
    }
    if (status != WEIR_OK) {
        weir_fail(err, status, "looking up the host \"%s\" took too long", host);
    } else if (lookup->code != 0 || lookup->addresses.count == 0) {
        status = weir_fail(err, WEIR_UNAVAILABLE, "the host \"%s\" was not found: %s", host,
                           lookup->code != 0 ? gai_strerror(lookup->code) : "it has no address");
    } else {
        *ret_addresses = lookup->addresses;
    }
    let_go(lookup);
    return status;
}
