// SPDX-License-Identifier: Apache-2.0
//
// See tls.h. libssl writes with write(2), which ends a program whose peer is gone by a signal
// unless the program ignores it; so it is given a way to the socket of ours, which does not.
#include "provider/redis/tls.h"

#include "base/show.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

struct weir_redis_tls {
    SSL_CTX *context;
    BIO_METHOD *method;
};

struct weir_redis_tls_session {
    SSL *ssl;
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
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket");
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

static weir_status fail_session(struct weir_redis_tls_session *session, int code, const char *doing,
                                struct weir_error *err) {
    long verified = SSL_get_verify_result(session->ssl);
    if (verified != X509_V_OK) {
        ERR_clear_error();
        return weir_fail(err, WEIR_DENIED,
                         "%s: the server's certificate is not accepted: %s; `tls_ca` names the "
                         "file of who vouches for it, and `address` the host it is for",
                         doing, X509_verify_cert_error_string(verified));
    }
    if (code != 0) {
        ERR_clear_error();
        return weir_fail_errno(err, code, "%s", doing);
    }
    return weir_fail(err, WEIR_UNAVAILABLE, "%s: %s", doing, reason());
}

// What came of a call, by what SSL_get_error says.
static weir_status came(struct weir_redis_tls_session *session, int result, int code,
                        short *ret_events, const char *doing, struct weir_error *err) {
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

// ---- settings ----

static weir_status fail_file(const char *what, const char *path, struct weir_error *err) {
    char shown[4 * WEIR_SHOW_BYTES];
    return weir_fail(err, WEIR_INVALID, "cannot use %s \"%s\": %s", what,
                     weir_show(weir_str_of(path), shown, sizeof shown), reason());
}

static weir_status load(struct weir_redis_tls *tls, const struct weir_redis_tls_files *files,
                        struct weir_error *err) {
    SSL_CTX *context = tls->context;
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1) {
        return weir_fail(err, WEIR_OTHER, "TLS 1.2 is not there: %s", reason());
    }
    if (!files->ca && SSL_CTX_set_default_verify_paths(context) != 1) {
        return weir_fail(err, WEIR_OTHER, "the system's certificate authorities: %s", reason());
    }
    if (files->ca && SSL_CTX_load_verify_file(context, files->ca) != 1) {
        return fail_file("`tls_ca`", files->ca, err);
    }
    if (!files->cert) {
        return WEIR_OK;
    }
    if (SSL_CTX_use_certificate_chain_file(context, files->cert) != 1) {
        return fail_file("`tls_cert`", files->cert, err);
    }
    if (SSL_CTX_use_PrivateKey_file(context, files->key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(context) != 1) {
        return fail_file("`tls_key`", files->key, err);
    }
    return WEIR_OK;
}

weir_status weir_redis_tls_create(const struct weir_redis_tls_files *files,
                                  struct weir_redis_tls **ret_tls, struct weir_error *err) {
    *ret_tls = NULL;
    struct weir_redis_tls *tls = calloc(1, sizeof *tls);
    if (!tls) {
        return weir_fail_no_memory(err, "TLS");
    }
    tls->context = SSL_CTX_new(TLS_client_method());
    tls->method = make_method();
    weir_status status =
        tls->context && tls->method ? load(tls, files, err) : weir_fail_no_memory(err, "TLS");
    if (status != WEIR_OK) {
        weir_redis_tls_destroy(tls);
        return status;
    }
    *ret_tls = tls;
    return WEIR_OK;
}

void weir_redis_tls_destroy(struct weir_redis_tls *tls) {
    if (tls) {
        SSL_CTX_free(tls->context);
        BIO_meth_free(tls->method);
        free(tls);
    }
}

// ---- sessions ----

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

weir_status weir_redis_tls_begin(struct weir_redis_tls *tls, int fd, const char *host,
                                 struct weir_redis_tls_session **ret_session,
                                 struct weir_error *err) {
    *ret_session = NULL;
    struct weir_redis_tls_session *session = calloc(1, sizeof *session);
    BIO *bio = BIO_new(tls->method);
    if (session) {
        session->ssl = SSL_new(tls->context);
    }
    if (!session || !bio || !session->ssl || !set_host(session->ssl, host)) {
        BIO_free(bio);
        weir_redis_tls_end(session);
        ERR_clear_error();
        return weir_fail_no_memory(err, "a TLS session");
    }
    BIO_set_data(bio, (void *)(intptr_t)fd);
    SSL_set_bio(session->ssl, bio, bio); // which owns it now
    SSL_set_connect_state(session->ssl);
    *ret_session = session;
    return WEIR_OK;
}

void weir_redis_tls_end(struct weir_redis_tls_session *session) {
    if (session) {
        SSL_free(session->ssl);
        free(session);
    }
}

weir_status weir_redis_tls_handshake(struct weir_redis_tls_session *session, short *ret_events,
                                     struct weir_error *err) {
    ERR_clear_error();
    errno = 0;
    int result = SSL_do_handshake(session->ssl);
    return result == 1 ? WEIR_OK
                       : came(session, result, errno, ret_events, "TLS with the server", err);
}

weir_status weir_redis_tls_read(struct weir_redis_tls_session *session, char *buffer, size_t size,
                                size_t *ret_size, short *ret_events, struct weir_error *err) {
    ERR_clear_error();
    errno = 0;
    *ret_size = 0;
    int result = SSL_read_ex(session->ssl, buffer, size, ret_size);
    int code = errno;
    // Redis ends a connection without saying so by TLS; replies carry their lengths.
    if (result != 1 && (SSL_get_error(session->ssl, result) == SSL_ERROR_ZERO_RETURN ||
                        ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)) {
        ERR_clear_error();
        return WEIR_OK;
    }
    return result == 1 ? WEIR_OK
                       : came(session, result, code, ret_events, "reading from the server", err);
}

weir_status weir_redis_tls_write(struct weir_redis_tls_session *session, const char *bytes,
                                 size_t size, size_t *ret_size, short *ret_events,
                                 struct weir_error *err) {
    ERR_clear_error();
    errno = 0;
    *ret_size = 0;
    int result = SSL_write_ex(session->ssl, bytes, size, ret_size);
    return result == 1 ? WEIR_OK
                       : came(session, result, errno, ret_events, "writing to the server", err);
}
