// SPDX-License-Identifier: Apache-2.0
//
// bare-nats: see bare.h. PLACE is HOST:PORT. MODE stream: messages to the subject "bench.events" of
// the stream "bench"; kv: keys "key.N" of the bucket "bench". Either is read by a durable consumer
// that is asked for messages (pull), ASK_COUNT at a time and always so that the server has another
// request to go on with; each message is acknowledged by itself, as weir has to, and what was
// acknowledged of one read from the socket goes in one write.
//
// It speaks the protocol itself, as weir does. The C client of NATS has a thread that reads and one
// that is told, with a lock and an allocation for each message between them: its pull consumer is
// slower than the server, this one waits for the server.
#include "bare.h"
#include "base/clock.h"
#include "support.h"

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    ASK_COUNT = 250,
    IN_FLIGHT_MAX = 1000, // messages without acknowledgement; what weir has by default
    BUFFER_BYTES = 1 << 20,
    TEXT_BYTES = 1024,
    HOST_BYTES = 256,
    INBOX_BYTES = 64,
    WORDS_MAX = 6,
};

#define STREAM   "bench"
#define CONSUMER "bare"

struct buffer {
    size_t begin, end;
    char bytes[BUFFER_BYTES];
};

struct nats {
    int fd;
    bool is_kv;
    char inbox[INBOX_BYTES];
    int64_t wanted; // messages that were asked for and did not come yet
    struct buffer in, out;
};

// A message: views into the buffer, good until the next one is read.
struct message {
    struct weir_str subject, reply, payload;
};

// ---- bytes ----

static void write_out(struct nats *nats) {
    struct buffer *out = &nats->out;
    while (out->begin < out->end) {
        ssize_t size = send(nats->fd, out->bytes + out->begin, out->end - out->begin, MSG_NOSIGNAL);
        if (size < 0) {
            give_up_errno("sending to the server");
        }
        out->begin += (size_t)size;
    }
    out->begin = out->end = 0;
}

static void put(struct nats *nats, const char *bytes, size_t size) {
    struct buffer *out = &nats->out;
    if (size > sizeof out->bytes - out->end) {
        write_out(nats);
    }
    memcpy(out->bytes + out->end, bytes, size);
    out->end += size;
}

static void publish(struct nats *nats, const char *subject, struct weir_str reply,
                    struct weir_str payload) {
    char line[TEXT_BYTES];
    int size = snprintf(line, sizeof line, "PUB %s %.*s%s%zu\r\n", subject, WEIR_STR_ARG(reply),
                        reply.size > 0 ? " " : "", payload.size);
    put(nats, line, (size_t)size);
    put(nats, payload.data, payload.size);
    put(nats, "\r\n", 2);
}

// Waits for more bytes.
static void read_in(struct nats *nats) {
    struct buffer *in = &nats->in;
    if (in->begin > 0) {
        memmove(in->bytes, in->bytes + in->begin, in->end - in->begin);
        in->end -= in->begin;
        in->begin = 0;
    }
    ssize_t size = recv(nats->fd, in->bytes + in->end, sizeof in->bytes - in->end, 0);
    if (size <= 0) {
        give_up("the server", size < 0 ? strerrordesc_np(errno) : "it has hung up");
    }
    in->end += (size_t)size;
}

// The next line, without its end, if there is a whole one.
static bool next_line(struct nats *nats, struct weir_str *ret_line) {
    const struct buffer *in = &nats->in;
    const char *begin = in->bytes + in->begin;
    const char *end = memchr(begin, '\n', in->end - in->begin);
    if (!end) {
        return false;
    }
    *ret_line = (struct weir_str){begin, (size_t)(end - begin) - 1};
    return true;
}

static size_t split(struct weir_str line, struct weir_str ret_words[static WORDS_MAX]) {
    size_t count = 0;
    const char *at = line.data, *end = line.data + line.size;
    while (at < end && count < WORDS_MAX) {
        const char *space = memchr(at, ' ', (size_t)(end - at));
        const char *stop = space ? space : end;
        ret_words[count++] = (struct weir_str){at, (size_t)(stop - at)};
        at = stop + 1;
    }
    return count;
}

static size_t number_of(struct weir_str text) {
    size_t number = 0;
    for (size_t i = 0; i < text.size; i++) {
        number = number * 10 + (size_t)(text.data[i] - '0');
    }
    return number;
}

// Reads what is in the buffer up to and with the next message; of one with headers these are its
// payload too. False: there is none, or not all of it.
static bool next_message(struct nats *nats, struct message *ret_message) {
    struct weir_str line, words[WORDS_MAX];
    struct buffer *in = &nats->in;
    while (next_line(nats, &line)) {
        size_t line_bytes = line.size + 2;
        if (weir_str_has_prefix(line, WEIR_STR("MSG ")) ||
            weir_str_has_prefix(line, WEIR_STR("HMSG "))) {
            // MSG SUBJECT ID [REPLY] SIZE; HMSG SUBJECT ID [REPLY] HEADER_SIZE SIZE
            size_t count = split(line, words), sizes = line.data[0] == 'H' ? 2 : 1;
            size_t size = number_of(words[count - 1]);
            if (in->end - in->begin < line_bytes + size + 2) {
                return false;
            }
            *ret_message =
                (struct message){.subject = words[1],
                                 .reply = count > 3 + sizes ? words[3] : (struct weir_str){0},
                                 .payload = {line.data + line_bytes, size}};
            in->begin += line_bytes + size + 2;
            return true;
        }
        if (weir_str_has_prefix(line, WEIR_STR("-ERR"))) {
            give_up("the server", line.data);
        }
        if (weir_str_has_prefix(line, WEIR_STR("PING"))) {
            put(nats, "PONG\r\n", 6);
        }
        in->begin += line_bytes;
    }
    return false;
}

// ---- connecting, and JetStream's requests ----

static int connect_socket(const char *address) {
    char host[HOST_BYTES];
    const char *colon = strrchr(address, ':');
    size_t size = colon ? (size_t)(colon - address) : sizeof host;
    if (size >= sizeof host) {
        give_up(address, "not HOST:PORT");
    }
    memcpy(host, address, size);
    host[size] = '\0';
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    int code = getaddrinfo(host, colon + 1, &hints, &found);
    if (code != 0) {
        give_up(address, gai_strerror(code));
    }
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
    if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) != 0) {
        give_up_errno(address);
    }
    freeaddrinfo(found);
    return fd;
}

static struct nats *connect_to(const struct bare_place *place) {
    struct nats *nats = allocate_or_give_up(sizeof *nats);
    nats->fd = connect_socket(place->address);
    nats->is_kv = strcmp(place->mode, "kv") == 0;
    char hello[TEXT_BYTES];
    snprintf(nats->inbox, sizeof nats->inbox, "_INBOX.%ld", (long)getpid());
    int size = snprintf(hello, sizeof hello,
                        "CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\n"
                        "SUB %s 1\r\n",
                        nats->inbox);
    put(nats, hello, (size_t)size);
    return nats;
}

// Waits for the answer to a request.
static void ask(struct nats *nats, const char *subject, const char *body) {
    struct message message;
    publish(nats, subject, weir_str_of(nats->inbox), weir_str_of(body));
    write_out(nats);
    while (!next_message(nats, &message)) {
        read_in(nats);
    }
    static const char error[] = "\"error\"";
    if (memmem(message.payload.data, message.payload.size, error, sizeof error - 1)) {
        fprintf(stderr, "%.*s\n", WEIR_STR_ARG(message.payload));
        give_up(subject, "the server answers with an error");
    }
}

static const char *stream_of(const struct nats *nats) {
    return nats->is_kv ? "KV_" STREAM : STREAM;
}

static void make(const struct bare_place *place) {
    char subject[TEXT_BYTES], body[TEXT_BYTES];
    struct nats *nats = connect_to(place);
    const char *stream = stream_of(nats);
    snprintf(subject, sizeof subject, "$JS.API.STREAM.CREATE.%s", stream);
    snprintf(body, sizeof body,
             "{\"name\":\"%s\",\"subjects\":[\"%s.>\"],\"storage\":\"file\",\"num_replicas\":1%s}",
             stream, nats->is_kv ? "$KV." STREAM : STREAM,
             nats->is_kv ? ",\"max_msgs_per_subject\":1,\"discard\":\"new\",\"deny_delete\":true,"
                           "\"allow_rollup_hdrs\":true"
                         : "");
    ask(nats, subject, body);
    close(nats->fd);
    free(nats);
}

// ---- sending ----

static void *open_sender(const struct bare_place *place) {
    return connect_to(place);
}

static void send_one(void *context, uint64_t sequence, struct weir_str value) {
    struct nats *nats = context;
    char subject[TEXT_BYTES] = STREAM ".events";
    if (nats->is_kv) {
        snprintf(subject, sizeof subject, "$KV." STREAM ".key.%" PRIu64, sequence);
    }
    publish(nats, subject, (struct weir_str){0}, value);
}

// The stream has what was published before a request that it answers.
static void flush(void *context, bool is_last) {
    struct nats *nats = context;
    write_out(nats);
    if (is_last) {
        publish(nats, nats->is_kv ? "$KV." STREAM ".end" : STREAM ".end", weir_str_of(nats->inbox),
                WEIR_STR("end"));
        write_out(nats);
        struct message message;
        while (!next_message(nats, &message)) {
            read_in(nats);
        }
    }
}

// ---- reading ----

static void want(struct nats *nats) {
    char subject[TEXT_BYTES];
    static const char body[] = "{\"batch\":250,\"expires\":30000000000}";
    snprintf(subject, sizeof subject, "$JS.API.CONSUMER.MSG.NEXT.%s." CONSUMER, stream_of(nats));
    while (nats->wanted <= ASK_COUNT) {
        publish(nats, subject, weir_str_of(nats->inbox), weir_str_of(body));
        nats->wanted += ASK_COUNT;
    }
}

static void *open_reader(const struct bare_place *place) {
    char subject[TEXT_BYTES], body[TEXT_BYTES];
    struct nats *nats = connect_to(place);
    snprintf(subject, sizeof subject, "$JS.API.CONSUMER.DURABLE.CREATE.%s." CONSUMER,
             stream_of(nats));
    snprintf(body, sizeof body,
             "{\"stream_name\":\"%s\",\"config\":{\"durable_name\":\"" CONSUMER "\","
             "\"deliver_policy\":\"new\",\"ack_policy\":\"explicit\",\"ack_wait\":30000000000,"
             "\"max_ack_pending\":%d,\"filter_subject\":\"%s\"}}",
             stream_of(nats), IN_FLIGHT_MAX,
             nats->is_kv ? "$KV." STREAM ".key.>" : STREAM ".events");
    ask(nats, subject, body);
    return nats;
}

static void acknowledge(struct nats *nats, struct weir_str reply) {
    put(nats, "PUB ", 4);
    put(nats, reply.data, reply.size);
    put(nats, " 4\r\n+ACK\r\n", 10);
}

static void read_some(void *context, struct tally *tally) {
    struct nats *nats = context;
    struct message message;
    want(nats);
    write_out(nats); // the acknowledgements of the last time too
    read_in(nats);
    while (next_message(nats, &message)) {
        if (message.reply.size == 0) {
            nats->wanted = 0; // a request is over, and this says why
            continue;
        }
        nats->wanted--;
        tally_take(tally, message.payload.data, message.payload.size);
        acknowledge(nats, message.reply);
    }
}

static void finish(void *context) {
    struct nats *nats = context;
    char subject[TEXT_BYTES];
    snprintf(subject, sizeof subject, "$JS.API.CONSUMER.INFO.%s." CONSUMER, stream_of(nats));
    ask(nats, subject, "");
    close(nats->fd);
    free(nats);
}

int main(int argument_count, char **arguments) {
    static const struct bare_source source = {
        .at_once = 256,
        .make = make,
        .open_sender = open_sender,
        .send = send_one,
        .flush = flush,
        .open_reader = open_reader,
        .read = read_some,
        .finish = finish,
    };
    return bare_main(&source, argument_count, arguments);
}
