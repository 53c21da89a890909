/* Preloaded into a server that has no option for the address it listens on: every address becomes 127.0.0.1, and the
   machine is called localhost, because its own name need not have an address at all. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

typedef int (*bind_fn)(int, const struct sockaddr *, socklen_t);

int bind(int fd, const struct sockaddr *where, socklen_t size)
{
    static bind_fn next;
    if (!next)
        next = (bind_fn)dlsym(RTLD_NEXT, "bind");
    if (where && where->sa_family == AF_INET && size >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in here = *(const struct sockaddr_in *)where;
        here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return next(fd, (const struct sockaddr *)&here, sizeof here);
    }
    return next(fd, where, size);
}

int gethostname(char *name, size_t size)
{
    strncpy(name, "localhost", size);
    return 0;
}
