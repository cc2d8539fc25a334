/* A preloaded library under which system calls misbehave as a kernel may, chosen by a seed.
 *
 * Torments only what a process has put into an epoll set: peers on plain sockets in the same process see the true world.
 * Where edge triggering would lose a lie for good, the shim owes the event and pays it in a later epoll_wait, with what
 * poll(2) says then.
 *
 * TORTURE_SEED=N        the dice; without it nothing is thrown
 * TORTURE_RATES=LIST    per mille: short, interrupt, again, accept, starve, connect, shuffle,
 *                       repeat, idle, hold, wake; comma-separated
 * TORTURE_FAIL=K:N:E:M  the N-th call of kind K and the M - 1 behind it fail with errno E; M is 1 without it
 * TORTURE_THREAD=NAME   only calls of the thread of that name count for TORTURE_FAIL
 * TORTURE_LOG=1         what it does, on stderr
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS 65536
#define SLICES 64
/* A run of interrupts is longer than any bounded retry. */
#define STORM 40

enum { SHORT, INTERRUPT, AGAIN, ACCEPT, STARVE, CONNECT, SHUFFLE, REPEAT, IDLE, HOLD, WAKE, RATES };

static struct watched {
    int set; /* the epoll set that watches it, 0 if none does */
    uint32_t interest, owed;
    epoll_data_t data;
    int is_socket;
} watched[FDS];
/* Which epoll set a descriptor names; it may have duplicates. */
static int sets[FDS], sets_made;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t dice;
static unsigned rates[RATES];
static int storm, debts, logs, highest;
static struct epoll_event last_seen;
static char fail_kind[32], fail_thread[16];
static long fail_at, fail_count, fail_times = 1;
static int fail_errno;

#define REAL(name)                             \
    ({                                         \
        static __typeof__(&name) found;        \
        if (!found) found = real(#name);       \
        found;                                 \
    })

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

__attribute__((constructor)) static void begin(void) {
    const char *seed = getenv("TORTURE_SEED"), *list = getenv("TORTURE_RATES"), *fail = getenv("TORTURE_FAIL");
    const char *thread = getenv("TORTURE_THREAD");
    logs = getenv("TORTURE_LOG") != NULL;
    if (seed && list) {
        dice = (strtoull(seed, NULL, 10) + 1) * 0x9E3779B97F4A7C15u;
        for (int i = 0; i < RATES && *list; i++) {
            rates[i] = strtoul(list, (char **)&list, 10);
            if (*list == ',') list++;
        }
    }
    if (fail && sscanf(fail, "%31[^:]:%ld:%d:%ld", fail_kind, &fail_at, &fail_errno, &fail_times) < 3) abort();
    if (thread) strncpy(fail_thread, thread, sizeof fail_thread - 1);
}

static void say(const char *form, ...) {
    if (!logs) return;
    char line[128];
    va_list args;
    va_start(args, form);
    int length = vsnprintf(line, sizeof line, form, args);
    va_end(args);
    int kept = errno;
    ssize_t ignored = REAL(write)(2, line, length < (int)sizeof line ? length : (int)sizeof line - 1);
    (void)ignored;
    errno = kept;
}

static uint64_t roll(void) {
    dice ^= dice >> 12, dice ^= dice << 25, dice ^= dice >> 27;
    return dice * 0x2545F4914F6CDD1Du;
}

/* With the lock held. */
static int happens(int what) { return rates[what] && roll() >> 33 < ((uint64_t)rates[what] << 31) / 1000; }

static struct watched *known(int fd) {
    return fd >= 0 && fd < FDS && watched[fd].set ? &watched[fd] : NULL;
}

static void owe(int fd, uint32_t events) {
    struct watched *w = known(fd);
    if (!w || !events) return;
    debts += !w->owed;
    w->owed |= events;
}

static void forget(int fd) {
    pthread_mutex_lock(&lock);
    struct watched *w = known(fd);
    if (w) {
        debts -= !!w->owed;
        memset(w, 0, sizeof *w);
    }
    pthread_mutex_unlock(&lock);
}


/* Whether this call is one of those that are to fail; sets errno. */
static int fails(const char *kind, int fd) {
    if (!fail_at || strcmp(kind, fail_kind)) return 0;
    if (fail_thread[0]) {
        char name[16] = "";
        pthread_getname_np(pthread_self(), name, sizeof name);
        if (strcmp(name, fail_thread)) return 0;
    }
    long number = __atomic_add_fetch(&fail_count, 1, __ATOMIC_SEQ_CST);
    if (number < fail_at || number >= fail_at + fail_times) return 0;
    say("torture: failed %s %ld on %d with %d\n", kind, number, fd, fail_errno);
    errno = fail_errno;
    return 1;
}

/* What becomes of a transfer of `len` bytes: -1 with errno, or how many to let through. */
static ssize_t judge(const char *kind, int fd, size_t len, uint32_t direction) {
    struct watched *w = known(fd);
    if (fails(kind, fd)) {
        if (errno == EAGAIN) {
            pthread_mutex_lock(&lock);
            owe(fd, direction);
            pthread_mutex_unlock(&lock);
        }
        return -1;
    }
    if (!dice || !w || !len) return len;
    ssize_t let = len;
    pthread_mutex_lock(&lock);
    if (!w->is_socket) {
        /* An eventfd whose count is at its end: whoever wakes must take it away and try again. */
        int full = direction == EPOLLOUT && happens(WAKE);
        pthread_mutex_unlock(&lock);
        if (!full) return len;
        say("torture: wake on %d\n", fd);
        errno = EAGAIN;
        return -1;
    }
    if (storm > 0) {
        storm--, errno = EINTR, let = -1;
    } else if (happens(INTERRUPT)) {
        if (roll() % 32 == 0) storm = STORM;
        errno = EINTR, let = -1;
    } else if (happens(AGAIN)) {
        owe(fd, direction);
        errno = EAGAIN, let = -1;
    } else if (happens(SHORT)) {
        let = 1 + roll() % (roll() % 3 == 0 && len > 16 ? 16 : len);
    }
    pthread_mutex_unlock(&lock);
    if (let != (ssize_t)len) say("torture: %s on %d: %zd of %zu\n", kind, fd, let, len);
    return let;
}

/* A cut transfer that went through whole looks like the end of what there is: the event is owed. */
static ssize_t settle(int fd, ssize_t done, size_t let, size_t len, uint32_t direction) {
    if (done >= 0 && let < len && (size_t)done == let) {
        pthread_mutex_lock(&lock);
        owe(fd, direction);
        pthread_mutex_unlock(&lock);
    }
    return done;
}

#define TRANSFER(kind, call, length, direction)                       \
    ssize_t let = judge(kind, fd, length, direction);                 \
    if (let < 0) return -1;                                           \
    return settle(fd, call, let, length, direction)

ssize_t recv(int fd, void *to, size_t len, int flags) {
    if (flags & MSG_PEEK) return REAL(recv)(fd, to, len, flags);
    TRANSFER("recv", REAL(recv)(fd, to, let, flags), len, EPOLLIN);
}

ssize_t recvfrom(int fd, void *to, size_t len, int flags, __SOCKADDR_ARG from, socklen_t *size) {
    if (flags & MSG_PEEK) return REAL(recvfrom)(fd, to, len, flags, from, size);
    TRANSFER("recv", REAL(recvfrom)(fd, to, let, flags, from, size), len, EPOLLIN);
}

ssize_t send(int fd, const void *from, size_t len, int flags) {
    TRANSFER("send", REAL(send)(fd, from, let, flags), len, EPOLLOUT);
}

ssize_t sendto(int fd, const void *from, size_t len, int flags, __CONST_SOCKADDR_ARG to, socklen_t size) {
    TRANSFER("send", REAL(sendto)(fd, from, let, flags, to, size), len, EPOLLOUT);
}

ssize_t read(int fd, void *to, size_t len) {
    if (!known(fd)) return REAL(read)(fd, to, len);
    TRANSFER("recv", REAL(read)(fd, to, let), len, EPOLLIN);
}

ssize_t write(int fd, const void *from, size_t len) {
    struct watched *w = known(fd);
    if (!w) return REAL(write)(fd, from, len);
    TRANSFER(w->is_socket ? "send" : "wake", REAL(write)(fd, from, let), len, EPOLLOUT);
}

static size_t total(const struct iovec *slices, size_t count) {
    size_t sum = 0;
    for (size_t i = 0; i < count; i++) sum += slices[i].iov_len;
    return sum;
}

/* The first `let` bytes of the slices. */
static size_t cut(struct iovec *out, const struct iovec *in, size_t count, size_t let) {
    size_t used = 0;
    for (; used < count && used < SLICES && let; used++) {
        out[used] = in[used];
        if (out[used].iov_len > let) out[used].iov_len = let;
        let -= out[used].iov_len;
    }
    return used;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    struct iovec slices[SLICES];
    struct msghdr less = *message;
    size_t len = total(message->msg_iov, message->msg_iovlen);
    less.msg_iov = slices;
    TRANSFER("sendmsg",
             (less.msg_iovlen = cut(slices, message->msg_iov, message->msg_iovlen, let), REAL(sendmsg)(fd, &less, flags)),
             len, EPOLLOUT);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
    if (flags & (MSG_PEEK | MSG_ERRQUEUE)) return REAL(recvmsg)(fd, message, flags);
    struct iovec slices[SLICES], *whole = message->msg_iov;
    size_t count = message->msg_iovlen, len = total(whole, count);
    ssize_t done;
    TRANSFER("recv",
             (message->msg_iov = slices, message->msg_iovlen = cut(slices, whole, count, let),
              done = REAL(recvmsg)(fd, message, flags), message->msg_iov = whole, message->msg_iovlen = count, done),
             len, EPOLLIN);
}

ssize_t readv(int fd, const struct iovec *in, int count) {
    struct iovec slices[SLICES];
    size_t len = total(in, count);
    TRANSFER("recv", REAL(readv)(fd, slices, cut(slices, in, count, let)), len, EPOLLIN);
}

ssize_t writev(int fd, const struct iovec *in, int count) {
    if (!known(fd)) return REAL(writev)(fd, in, count);
    struct iovec slices[SLICES];
    size_t len = total(in, count);
    TRANSFER("sendmsg", REAL(writev)(fd, slices, cut(slices, in, count, let)), len, EPOLLOUT);
}

int accept4(int fd, __SOCKADDR_ARG peer, socklen_t *size, int flags) {
    static const int passing[] = {EINTR, ECONNABORTED, EPROTO, ENETDOWN, EPERM, EHOSTUNREACH, ETIMEDOUT};
    static const int lacking[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM};
    if (fails("accept", fd)) {
        if (errno == EAGAIN) {
            pthread_mutex_lock(&lock);
            owe(fd, EPOLLIN);
            pthread_mutex_unlock(&lock);
        }
        return -1;
    }
    int errored = 0;
    if (dice && known(fd)) {
        pthread_mutex_lock(&lock);
        if (happens(AGAIN)) {
            owe(fd, EPOLLIN);
            errored = EAGAIN;
        } else if (happens(ACCEPT)) {
            errored = passing[roll() % (sizeof passing / sizeof *passing)];
        } else if (happens(STARVE)) {
            errored = lacking[roll() % (sizeof lacking / sizeof *lacking)];
        }
        pthread_mutex_unlock(&lock);
    }
    if (!errored) return REAL(accept4)(fd, peer, size, flags);
    say("torture: accept on %d: %d\n", fd, errored);
    errno = errored;
    return -1;
}

int connect(int fd, __CONST_SOCKADDR_ARG to, socklen_t size) {
    int family = to.__sockaddr__->sa_family, errored = 0;
    if (fails("connect", fd)) errored = errno;
    /* A Unix connect that does not block has nothing that a signal could interrupt. */
    if (errored == EINTR && family == AF_UNIX) errored = 0;
    if (!errored && dice && fcntl(fd, F_GETFL) & O_NONBLOCK) {
        pthread_mutex_lock(&lock);
        if (happens(CONNECT)) errored = family == AF_UNIX ? EAGAIN : EINTR;
        pthread_mutex_unlock(&lock);
        if (errored) say("torture: connect of %d: %d\n", fd, errored);
    }
    /* An interrupted connect goes on in the kernel. */
    if (!errored || errored == EINTR) {
        int done = REAL(connect)(fd, to, size);
        if (!errored || (done < 0 && errno != EINPROGRESS)) return done;
    }
    errno = errored;
    return -1;
}

int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event) {
    if (fails("epoll_ctl", fd)) return -1;
    int done = REAL(epoll_ctl)(epfd, op, fd, event);
    if (done < 0 || fd < 0 || fd >= FDS) return done;
    forget(fd);
    if (op != EPOLL_CTL_DEL) {
        struct stat stat;
        pthread_mutex_lock(&lock);
        watched[fd] = (struct watched){sets[epfd], event->events, 0, event->data, !fstat(fd, &stat) && S_ISSOCK(stat.st_mode)};
        if (fd > highest) highest = fd;
        pthread_mutex_unlock(&lock);
    }
    return done;
}

/* What the kernel would say of a descriptor now. */
static uint32_t truth(int fd, struct watched *w) {
    struct pollfd one = {fd, POLLIN | POLLOUT | POLLPRI | POLLRDHUP, 0};
    if (poll(&one, 1, 0) < 1 || one.revents & POLLNVAL) return 0;
    return (uint32_t)(unsigned short)one.revents & (w->interest | EPOLLERR | EPOLLHUP);
}

/* Pays what is owed, all of it or what the dice say. */
static int pay(int set, struct epoll_event *events, int count, int max, int all) {
    for (int fd = 0; debts && fd <= highest && count < max; fd++) {
        struct watched *w = &watched[fd];
        if (w->set != set || !w->owed || (!all && roll() % 2)) continue;
        uint32_t now = truth(fd, w);
        uint32_t told = now & (w->owed | EPOLLERR | EPOLLHUP | EPOLLRDHUP | EPOLLPRI);
        int due = !!(now & w->owed);
        w->owed = 0;
        debts--;
        /* What is not ready now will be told by the kernel. */
        if (due) events[count++] = (struct epoll_event){told, w->data};
        say("torture: paid %d: %x of %x\n", fd, told, now);
    }
    return count;
}

/* Holds events back, repeats some, adds idle ones, and mixes them. */
static int stir(int set, struct epoll_event *events, int count, int max) {
    int kept = 0;
    for (int i = 0; i < count; i++) {
        int owner = -1;
        if (happens(HOLD))
            for (int fd = 0; owner < 0 && fd <= highest; fd++)
                if (watched[fd].set == set && watched[fd].data.u64 == events[i].data.u64) owner = fd;
        if (owner >= 0)
            owe(owner, events[i].events);
        else
            events[kept++] = events[i];
    }
    count = kept;
    for (int i = 0; i < kept && count < max; i++)
        if (happens(REPEAT)) events[count++] = events[i];
    if (last_seen.events && count < max && happens(REPEAT)) events[count++] = last_seen;
    if (kept) last_seen = events[roll() % kept];
    for (int fd = 0; rates[IDLE] && fd <= highest && count < max; fd++)
        if (watched[fd].set == set && watched[fd].is_socket && happens(IDLE))
            events[count++] = (struct epoll_event){truth(fd, &watched[fd]) | EPOLLIN, watched[fd].data};
    if (happens(SHUFFLE))
        for (int i = count - 1; i > 0; i--) {
            int j = roll() % (i + 1);
            struct epoll_event kept = events[i];
            events[i] = events[j], events[j] = kept;
        }
    return count;
}

int epoll_wait(int epfd, struct epoll_event *events, int max, int timeout) {
    if (fails("epoll_wait", epfd)) return -1;
    if (!dice && !debts) return REAL(epoll_wait)(epfd, events, max, timeout);
    for (;;) {
        pthread_mutex_lock(&lock);
        int interrupted = happens(INTERRUPT), in_debt = debts;
        pthread_mutex_unlock(&lock);
        if (interrupted) {
            errno = EINTR;
            return -1;
        }
        int wait = in_debt && (timeout < 0 || timeout > 1) ? 1 : timeout;
        int count = REAL(epoll_wait)(epfd, events, max, wait);
        if (count < 0) return count;
        pthread_mutex_lock(&lock);
        if (dice) count = stir(sets[epfd], events, count, max);
        count = pay(sets[epfd], events, count, max, count == 0);
        pthread_mutex_unlock(&lock);
        if (count || timeout >= 0) return count;
    }
}

int close(int fd) {
    forget(fd);
    if (fd >= 0 && fd < FDS) sets[fd] = 0;
    if (!fails("close", fd)) return REAL(close)(fd);
    int errored = errno;
    REAL(close)(fd);
    errno = errored;
    return -1;
}

/* Calls that fail when asked and are true otherwise. */
#define PLAIN(kind, name, fd, ...) \
    if (fails(kind, fd)) return -1; \
    return REAL(name)(__VA_ARGS__)

int socket(int domain, int type, int protocol) { PLAIN("socket", socket, -1, domain, type, protocol); }
int bind(int fd, __CONST_SOCKADDR_ARG at, socklen_t size) { PLAIN("bind", bind, fd, fd, at, size); }
int listen(int fd, int backlog) { PLAIN("listen", listen, fd, fd, backlog); }
int shutdown(int fd, int how) { PLAIN("shutdown", shutdown, fd, fd, how); }
int epoll_create1(int flags) {
    if (fails("epoll_create", -1)) return -1;
    int made = REAL(epoll_create1)(flags);
    if (made >= 0 && made < FDS) sets[made] = __atomic_add_fetch(&sets_made, 1, __ATOMIC_SEQ_CST);
    return made;
}

int fcntl(int fd, int what, ...) {
    va_list args;
    va_start(args, what);
    long value = va_arg(args, long);
    va_end(args);
    if (fails("fcntl", fd)) return -1;
    int done = REAL(fcntl)(fd, what, value);
    if ((what == F_DUPFD || what == F_DUPFD_CLOEXEC) && done >= 0 && done < FDS && fd < FDS) sets[done] = sets[fd];
    return done;
}

int eventfd(unsigned count, int flags) { PLAIN("eventfd", eventfd, -1, count, flags); }
int getpeername(int fd, __SOCKADDR_ARG name, socklen_t *size) { PLAIN("getpeername", getpeername, fd, fd, name, size); }
int getsockname(int fd, __SOCKADDR_ARG name, socklen_t *size) { PLAIN("getsockname", getsockname, fd, fd, name, size); }
int getsockopt(int fd, int level, int name, void *value, socklen_t *size) {
    PLAIN("getsockopt", getsockopt, fd, fd, level, name, value, size);
}
int setsockopt(int fd, int level, int name, const void *value, socklen_t size) {
    PLAIN("setsockopt", setsockopt, fd, fd, level, name, value, size);
}
