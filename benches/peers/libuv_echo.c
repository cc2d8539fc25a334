/* An echo server on libuv, with the interface of the library's `echo` example: tcp://IP:PORT and unix:PATH.
 *
 * One loop on one thread; all connections read into one buffer. A reply is offered to the kernel at once, and only what it does
 * not take is copied; meanwhile the peer is not read. Options other than --listen have no effect.
 *
 * cc -O2 -o libuv-echo benches/peers/libuv_echo.c -luv
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define BUFFER_BYTES (64 * 1024)

static char buffer[BUFFER_BYTES];

typedef union {
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
} Socket;

typedef struct {
    uv_write_t request;
    char bytes[];
} Rest;

static void on_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buf);
static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf);

static void check(int result, const char *what) {
    if (result < 0) {
        fprintf(stderr, "%s: %s\n", what, uv_strerror(result));
        exit(1);
    }
}

static void on_close(uv_handle_t *handle) { free(handle); }

static void end(uv_stream_t *stream) {
    if (!uv_is_closing((uv_handle_t *)stream)) uv_close((uv_handle_t *)stream, on_close);
}

static void on_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
    (void)handle, (void)suggested;
    *buf = uv_buf_init(buffer, sizeof buffer);
}

static void on_written(uv_write_t *request, int status) {
    uv_stream_t *stream = request->handle;
    free(request);
    if (status < 0 || uv_read_start(stream, on_buffer, on_read) < 0) end(stream);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf) {
    if (count == 0) return;
    if (count < 0) return end(stream);
    uv_buf_t all = uv_buf_init(buf->base, (unsigned)count);
    int sent = uv_try_write(stream, &all, 1);
    if (sent == count) return;
    if (sent < 0 && sent != UV_EAGAIN) return end(stream);
    size_t taken = sent < 0 ? 0 : (size_t)sent, left = (size_t)count - taken;
    Rest *rest = malloc(sizeof *rest + left);
    if (rest == NULL) return end(stream);
    memcpy(rest->bytes, buf->base + taken, left);
    uv_buf_t behind = uv_buf_init(rest->bytes, (unsigned)left);
    uv_read_stop(stream);
    if (uv_write(&rest->request, stream, &behind, 1, on_written) < 0) {
        free(rest);
        end(stream);
    }
}

static void on_connection(uv_stream_t *listener, int status) {
    if (status < 0) return;
    Socket *socket = calloc(1, sizeof *socket);
    int is_tcp = listener->type == UV_TCP;
    if (is_tcp) check(uv_tcp_init(listener->loop, &socket->tcp), "tcp");
    else check(uv_pipe_init(listener->loop, &socket->pipe, 0), "pipe");
    if (uv_accept(listener, &socket->stream) < 0) return end(&socket->stream);
    if (is_tcp) uv_tcp_nodelay(&socket->tcp, 1);
    if (uv_read_start(&socket->stream, on_buffer, on_read) < 0) end(&socket->stream);
}

static void listen_tcp(uv_loop_t *loop, const char *address) {
    Socket *socket = calloc(1, sizeof *socket);
    char host[64];
    const char *colon = strrchr(address, ':');
    if (colon == NULL || (size_t)(colon - address) >= sizeof host) check(UV_EINVAL, address);
    snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
    struct sockaddr_in in;
    check(uv_ip4_addr(host, atoi(colon + 1), &in), address);
    check(uv_tcp_init(loop, &socket->tcp), address);
    check(uv_tcp_bind(&socket->tcp, (struct sockaddr *)&in, 0), address);
    check(uv_listen(&socket->stream, 4096, on_connection), address);
    int length = sizeof in;
    check(uv_tcp_getsockname(&socket->tcp, (struct sockaddr *)&in, &length), address);
    printf("listening on tcp://%s:%d\n", host, ntohs(in.sin_port));
}

static void listen_unix(uv_loop_t *loop, const char *path) {
    Socket *socket = calloc(1, sizeof *socket);
    check(uv_pipe_init(loop, &socket->pipe, 0), path);
    check(uv_pipe_bind(&socket->pipe, path), path);
    check(uv_listen(&socket->stream, 4096, on_connection), path);
    printf("listening on unix:%s\n", path);
}

int main(int count, char **arguments) {
    uv_loop_t *loop = uv_default_loop();
    for (int at = 1; at + 1 < count; at += 2) {
        const char *value = arguments[at + 1];
        if (strcmp(arguments[at], "--listen") != 0) continue;
        if (strncmp(value, "tcp://", 6) == 0) listen_tcp(loop, value + 6);
        else if (strncmp(value, "unix:", 5) == 0) listen_unix(loop, value + 5);
        else check(UV_EINVAL, value);
    }
    fflush(stdout);
    return uv_run(loop, UV_RUN_DEFAULT);
}
