// SPDX-License-Identifier: Apache-2.0
//
// See tls.h. libssl writes with write(2), which ends a program whose peer is gone by a signal
// unless the program ignores it; so it is given a way to the socket of ours, which does not.
#include "provider/tls.h"

#include "base/show.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

// By which it shows that a file is another one.
struct stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
};

enum { FILES = 3 };

struct weir_tls {
    struct weir_tls_files files;
    BIO_METHOD *method;
    pthread_mutex_t lock;
    // Under lock.
    SSL_CTX *context;           // NULL: nothing was read yet
    struct stamp stamps[FILES]; // of what was read
};

struct weir_tls_session {
    SSL *ssl;                        // holds a context of its own
    short read_events, write_events; // what each waits for where it cannot go on
};

// ---- the way to the socket ----

static int fd_of(BIO *bio) {
    return (int)(intptr_t)BIO_get_data(bio);
}

static bool is_for_later(int code) {
    return code == EAGAIN || code == EINTR;
}

static int socket_write(BIO *bio, const char *bytes, int size) {
    ssize_t sent = send(fd_of(bio), bytes, (size_t)size, MSG_NOSIGNAL);
    BIO_clear_retry_flags(bio);
    if (sent < 0 && is_for_later(errno)) {
        BIO_set_retry_write(bio);
    }
    return (int)sent;
}

static int socket_read(BIO *bio, char *buffer, int size) {
    ssize_t got = recv(fd_of(bio), buffer, (size_t)size, 0);
    BIO_clear_retry_flags(bio);
    if (got < 0 && is_for_later(errno)) {
        BIO_set_retry_read(bio);
    }
    return (int)got;
}

static long socket_control(BIO *bio, int command, long number, void *pointer) {
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH || command == BIO_CTRL_DUP ? 1 : 0;
}

static int socket_create(BIO *bio) {
    BIO_set_init(bio, 1);
    return 1;
}

static BIO_METHOD *make_method(void) {
    // Nobody looks for it by its type; of new types (BIO_get_new_index) a process has 127.
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "socket");
    if (method && BIO_meth_set_write(method, socket_write) &&
        BIO_meth_set_read(method, socket_read) && BIO_meth_set_ctrl(method, socket_control) &&
        BIO_meth_set_create(method, socket_create)) {
        return method;
    }
    BIO_meth_free(method);
    return NULL;
}

// ---- errors ----

// Why libssl failed, by what it left behind; also empties that.
static const char *reason(void) {
    unsigned long code = ERR_peek_last_error();
    const char *text = code ? ERR_reason_error_string(code) : NULL;
    ERR_clear_error();
    return text ? text : "no reason is given";
}

static weir_status fail_session(struct weir_tls_session *session, int code, const char *doing,
                                struct weir_error *err) {
    long verified = SSL_get_verify_result(session->ssl);
    if (verified != X509_V_OK) {
        ERR_clear_error();
        return weir_fail(err, WEIR_DENIED,
                         "%s: the server's certificate is not accepted: %s; it must be for the "
                         "host that is connected to, and `tls_ca` names the file of who vouches "
                         "for it",
                         doing, X509_verify_cert_error_string(verified));
    }
    if (code != 0) {
        char buffer[128];
        ERR_clear_error();
        return weir_fail(err, WEIR_UNAVAILABLE, "%s: %s", doing,
                         strerror_r(code, buffer, sizeof buffer));
    }
    return weir_fail(err, WEIR_UNAVAILABLE, "%s: %s", doing, reason());
}

// What came of a call, by what SSL_get_error says.
static weir_status came(struct weir_tls_session *session, int result, int code, short *ret_events,
                        const char *doing, struct weir_error *err) {
    switch (SSL_get_error(session->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        *ret_events = POLLIN;
        return WEIR_AGAIN;
    case SSL_ERROR_WANT_WRITE:
        *ret_events = POLLOUT;
        return WEIR_AGAIN;
    case SSL_ERROR_SYSCALL:
        return fail_session(session, code, doing, err);
    default:
        return fail_session(session, 0, doing, err);
    }
}

// ---- files ----

static weir_status fail_file(const char *what, const char *path, struct weir_error *err) {
    char shown[4 * WEIR_SHOW_BYTES];
    return weir_fail(err, WEIR_INVALID, "cannot use %s \"%s\" for TLS: %s", what,
                     weir_show(weir_str_of(path), shown, sizeof shown), reason());
}

static weir_status load(SSL_CTX *context, const struct weir_tls_files *files,
                        struct weir_error *err) {
    if (!files->ca && SSL_CTX_set_default_verify_paths(context) != 1) {
        return weir_fail(err, WEIR_OTHER, "the system's certificate authorities: %s", reason());
    }
    if (files->ca && SSL_CTX_load_verify_file(context, files->ca) != 1) {
        return fail_file("the authorities in", files->ca, err);
    }
    if (!files->cert) {
        return WEIR_OK;
    }
    if (SSL_CTX_use_certificate_chain_file(context, files->cert) != 1) {
        return fail_file("the certificate", files->cert, err);
    }
    if (SSL_CTX_use_PrivateKey_file(context, files->key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(context) != 1) {
        return fail_file("the key", files->key, err);
    }
    return WEIR_OK;
}

static weir_status make_context(const struct weir_tls_files *files, SSL_CTX **ret_context,
                                struct weir_error *err) {
    ERR_clear_error();
    SSL_CTX *context = *ret_context = SSL_CTX_new(TLS_client_method());
    if (!context || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1) {
        return weir_fail_no_memory(err, "TLS");
    }
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    // Servers end a connection without saying so by TLS. What they send says where it ends.
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    return load(context, files, err);
}

static void take_stamps(const struct weir_tls_files *files, struct stamp ret_stamps[static FILES]) {
    const char *paths[FILES] = {files->ca ? files->ca : X509_get_default_cert_file(), files->cert,
                                files->key};
    memset(ret_stamps, 0, FILES * sizeof *ret_stamps);
    for (size_t i = 0; i < FILES; i++) {
        struct stat file;
        if (paths[i] && stat(paths[i], &file) == 0) {
            ret_stamps[i].device = file.st_dev;
            ret_stamps[i].inode = file.st_ino;
            ret_stamps[i].size = file.st_size;
            ret_stamps[i].changed = file.st_mtim;
        }
    }
}

// Under lock: reads the files, where that was not done or they have changed. It takes 50 ms where
// they are those of the system.
static weir_status refresh(struct weir_tls *tls, struct weir_error *err) {
    struct stamp stamps[FILES];
    SSL_CTX *context;
    take_stamps(&tls->files, stamps); // before they are read: what changes now is seen next time
    if (tls->context && memcmp(stamps, tls->stamps, sizeof stamps) == 0) {
        return WEIR_OK;
    }
    weir_status status = make_context(&tls->files, &context, err);
    if (status != WEIR_OK) {
        SSL_CTX_free(context);
        return status;
    }
    SSL_CTX_free(tls->context); // sessions have references of their own
    tls->context = context;
    memcpy(tls->stamps, stamps, sizeof stamps);
    return WEIR_OK;
}

struct weir_tls *weir_tls_create(const struct weir_tls_files *files) {
    struct weir_tls *tls = calloc(1, sizeof *tls);
    if (!tls) {
        return NULL;
    }
    tls->files = *files;
    pthread_mutex_init(&tls->lock, NULL);
    tls->method = make_method();
    if (!tls->method) {
        weir_tls_destroy(tls);
        return NULL;
    }
    return tls;
}

void weir_tls_destroy(struct weir_tls *tls) {
    if (tls) {
        SSL_CTX_free(tls->context);
        BIO_meth_free(tls->method);
        pthread_mutex_destroy(&tls->lock);
        free(tls);
    }
}

weir_status weir_tls_check(struct weir_tls *tls, struct weir_error *err) {
    pthread_mutex_lock(&tls->lock);
    weir_status status = refresh(tls, err);
    pthread_mutex_unlock(&tls->lock);
    return status;
}

// ---- beginning and ending ----

static bool is_address(const char *host) {
    char bytes[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

// Which host the certificate has to be for, and which one is asked for.
static bool set_host(SSL *ssl, const char *host) {
    if (is_address(host)) {
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    }
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    // What the macro SSL_set_tlsext_host_name does, which takes the const away.
    return SSL_set1_host(ssl, host) == 1 &&
           SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                    (void *)(uintptr_t)host) == 1;
}

static weir_status attach(struct weir_tls *tls, const struct weir_tls_args *args, SSL **ret_ssl,
                          struct weir_error *err) {
    *ret_ssl = NULL;
    pthread_mutex_lock(&tls->lock);
    weir_status status = refresh(tls, err);
    SSL *ssl = *ret_ssl = status == WEIR_OK ? SSL_new(tls->context) : NULL;
    pthread_mutex_unlock(&tls->lock);
    if (status != WEIR_OK) {
        return status;
    }
    BIO *bio = BIO_new(tls->method);
    if (!bio || !ssl || !set_host(ssl, args->host)) {
        BIO_free(bio);
        ERR_clear_error();
        return weir_fail_no_memory(err, "TLS");
    }
    BIO_set_data(bio, (void *)(intptr_t)args->fd);
    SSL_set_bio(ssl, bio, bio); // which owns it now
    SSL_set_connect_state(ssl);
    return WEIR_OK;
}

static weir_status shake_hands(struct weir_tls_session *session, int fd,
                               const struct weir_waiter *waiter, struct weir_error *err) {
    for (;;) { // ends by the waiter's moment
        short events = 0;
        ERR_clear_error();
        errno = 0;
        int result = SSL_do_handshake(session->ssl);
        if (result == 1) {
            return WEIR_OK;
        }
        weir_status status = came(session, result, errno, &events, "TLS with the server", err);
        if (status != WEIR_AGAIN) {
            return status;
        }
        status = weir_wait(waiter, fd, events);
        if (status != WEIR_OK) {
            return weir_fail(err, status,
                             status == WEIR_STOPPED ? "TLS with the server was given up"
                                                    : "TLS with the server was not ready in time");
        }
    }
}

weir_status weir_tls_begin(struct weir_tls *tls, const struct weir_tls_args *args,
                           const struct weir_waiter *waiter, struct weir_tls_session **ret_session,
                           struct weir_error *err) {
    *ret_session = NULL;
    struct weir_tls_session *session = calloc(1, sizeof *session);
    if (!session) {
        return weir_fail_no_memory(err, "TLS");
    }
    *session = (struct weir_tls_session){.read_events = POLLIN, .write_events = POLLOUT};
    weir_status status = attach(tls, args, &session->ssl, err);
    status = status == WEIR_OK ? shake_hands(session, args->fd, waiter, err) : status;
    if (status != WEIR_OK) {
        weir_tls_end(session);
        return status;
    }
    *ret_session = session;
    return WEIR_OK;
}

void weir_tls_end(struct weir_tls_session *session) {
    if (session) {
        SSL_free(session->ssl);
        free(session);
    }
}

// ---- bytes ----

weir_status weir_tls_read(struct weir_tls_session *session, char *buffer, size_t size,
                          size_t *ret_size, struct weir_error *err) {
    ERR_clear_error();
    errno = 0;
    *ret_size = 0;
    session->read_events = POLLIN;
    int result = SSL_read_ex(session->ssl, buffer, size, ret_size);
    int code = errno;
    if (result == 1 || SSL_get_error(session->ssl, result) == SSL_ERROR_ZERO_RETURN) {
        return WEIR_OK;
    }
    return came(session, result, code, &session->read_events, "reading from the server", err);
}

weir_status weir_tls_write(struct weir_tls_session *session, const char *bytes, size_t size,
                           size_t *ret_size, struct weir_error *err) {
    ERR_clear_error();
    errno = 0;
    *ret_size = 0;
    session->write_events = POLLOUT;
    int result = SSL_write_ex(session->ssl, bytes, size, ret_size);
    return result == 1
               ? WEIR_OK
               : came(session, result, errno, &session->write_events, "writing to the server", err);
}

short weir_tls_events(const struct weir_tls_session *session, bool has_unsent) {
    return (short)(session->read_events | (has_unsent ? session->write_events : 0));
}
