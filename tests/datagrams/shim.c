// Stands in front of system calls and refuses what a kernel may refuse, or has it refuse by itself; loaded with LD_PRELOAD.
// WINDLASS_REFUSES names what:
//   cuts:ERRNO        messages that are to be cut into datagrams (UDP_SEGMENT), and all others of such a call
//   long-cuts:N:ERRNO the same, where they are longer than N bytes each
//   many:ERRNO        sendmmsg and recvmmsg, always
//   sources:N:ERRNO   messages from an address of the sender's choice (IP_PKTINFO, IPV6_PKTINFO); the call behind the
//                     first N ends the process
//   more-than-one     what sendmmsg is given behind the first message
//   full:ERRNO        sendmmsg, 20 times, and then never more
//   starved:ERRNO     recvmmsg, 20 times, and then never more
//   owner:USER        nothing; but a file that bind creates gets another owner, as on NFS with root_squash
//   mode:MODE         nothing; but it gets another mode, as on FUSE
//   no-ipv6           sockets of IPv6
//   no-checksums      nothing; but UDP sockets send without checksums, and so the kernel cuts no messages for them
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static int cut_length(struct msghdr *message) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        unsigned short length;
        if (c->cmsg_level != SOL_UDP || c->cmsg_type != UDP_SEGMENT) continue;
        memcpy(&length, CMSG_DATA(c), sizeof length);
        return length;
    }
    return 0;
}

static int has_source(struct msghdr *message) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) return 1;
        if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) return 1;
    }
    return 0;
}

static int refuse(int number) {
    errno = number;
    return -1;
}

int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags) {
    static int calls;
    const char *word = getenv("WINDLASS_REFUSES");
    int number, longer;
    if (word && sscanf(word, "cuts:%d", &number) == 1 && cut_length(&messages[0].msg_hdr)) return refuse(number);
    if (word && sscanf(word, "long-cuts:%d:%d", &longer, &number) == 2 && cut_length(&messages[0].msg_hdr) > longer)
        return refuse(number);
    if (word && sscanf(word, "many:%d", &number) == 1) return refuse(number);
    if (word && sscanf(word, "sources:%d:%d", &longer, &number) == 2 && has_source(&messages[0].msg_hdr)) {
        if (calls++ == longer) fprintf(stderr, "more than %d calls\n", longer), abort();
        return refuse(number);
    }
    if (word && !strcmp(word, "more-than-one")) count = 1;
    if (word && sscanf(word, "full:%d", &number) == 1 && calls < 20) return calls++, refuse(number);
    return syscall(SYS_sendmmsg, fd, messages, count, flags);
}

int recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout) {
    static int calls;
    const char *word = getenv("WINDLASS_REFUSES");
    int number;
    if (word && sscanf(word, "many:%d", &number) == 1) return refuse(number);
    if (word && sscanf(word, "starved:%d", &number) == 1 && calls < 20) return calls++, refuse(number);
    return syscall(SYS_recvmmsg, fd, messages, count, flags, timeout);
}

int socket(int domain, int kind, int protocol) {
    const char *word = getenv("WINDLASS_REFUSES");
    if (word && !strcmp(word, "no-ipv6") && domain == AF_INET6) return refuse(EAFNOSUPPORT);
    int fd = syscall(SYS_socket, domain, kind, protocol), on = 1;
    if (fd >= 0 && word && !strcmp(word, "no-checksums")) setsockopt(fd, SOL_SOCKET, SO_NO_CHECK, &on, sizeof on);
    return fd;
}

int bind(int fd, const struct sockaddr *address, socklen_t length) {
    const char *word = getenv("WINDLASS_REFUSES"), *path = ((const struct sockaddr_un *)address)->sun_path;
    int bound = syscall(SYS_bind, fd, address, length);
    unsigned number;
    if (bound || !word || address->sa_family != AF_UNIX || !*path) return bound;
    if (sscanf(word, "owner:%u", &number) == 1) return lchown(path, number, -1);
    if (sscanf(word, "mode:%u", &number) == 1) return chmod(path, number);
    return bound;
}
