// SPDX-License-Identifier: Apache-2.0
//
// See lookup.h. A search is owned by who waits and by its thread; the one who leaves last frees it.
#include "provider/nats/lookup.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct search {
    atomic_int owners;
    atomic_bool is_done; // hands over what the thread has written, as done_fd wakes
    int done_fd;         // eventfd: it is over
    int code;            // of getaddrinfo
    struct addrinfo *addresses;
    char *host, *port;
};

static const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};

static void leave(struct search *search) {
    if (atomic_fetch_sub(&search->owners, 1) > 1) {
        return;
    }
    if (search->addresses) {
        freeaddrinfo(search->addresses);
    }
    if (search->done_fd >= 0) {
        close(search->done_fd);
    }
    free(search->host);
    free(search->port);
    free(search);
}

static void *search_main(void *argument) {
    struct search *search = argument;
    const uint64_t one = 1;
    search->code = getaddrinfo(search->host, search->port, &hints, &search->addresses);
    atomic_store(&search->is_done, true);
    ssize_t written = write(search->done_fd, &one, sizeof one);
    (void)written;
    leave(search);
    return NULL;
}

static struct search *search_new(const char *host, const char *port) {
    struct search *search = calloc(1, sizeof *search);
    if (!search) {
        return NULL;
    }
    atomic_init(&search->owners, 1);
    search->host = strdup(host);
    search->port = strdup(port);
    search->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!search->host || !search->port || search->done_fd < 0) {
        leave(search);
        return NULL;
    }
    return search;
}

static bool search_start(struct search *search) {
    sigset_t all, before; // signals are for the program's own threads
    pthread_attr_t detached;
    pthread_t thread;
    sigfillset(&all);
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    atomic_fetch_add(&search->owners, 1);
    int code = pthread_create(&thread, &detached, search_main, search);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&detached);
    if (code != 0) {
        atomic_fetch_sub(&search->owners, 1);
    }
    return code == 0;
}

weir_status weir_nats_lookup(const char *host, const char *port, const struct weir_nats_wait *wait,
                             int64_t until_ns, struct addrinfo **ret_addresses,
                             struct weir_error *err) {
    struct addrinfo numeric = hints;
    numeric.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    *ret_addresses = NULL;
    if (getaddrinfo(host, port, &numeric, ret_addresses) == 0) {
        return WEIR_OK;
    }
    struct search *search = search_new(host, port);
    if (!search || !search_start(search)) {
        if (search) {
            leave(search);
        }
        return weir_fail_no_memory(err, "the look-up of a host");
    }
    weir_status status = wait->wait(wait->context, search->done_fd, POLLIN, until_ns);
    if (status == WEIR_OK && !atomic_load(&search->is_done)) {
        status = WEIR_UNAVAILABLE;
    }
    if (status != WEIR_OK) {
        weir_fail(err, status, "the address of %s was not found in time", host);
    } else if (search->code != 0) {
        status = weir_fail(err, WEIR_UNAVAILABLE, "the address of %s is not known: %s", host,
                           gai_strerror(search->code));
    } else {
        *ret_addresses = search->addresses;
        search->addresses = NULL;
    }
    leave(search);
    return status;
}
