/* To be loaded before the C library: a system that has no memory, for many writes in a row, for what is written over TCP. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static int is_short(int descriptor) {
  static int count;
  int domain = AF_UNSPEC;
  socklen_t size = sizeof domain;
  int before = errno;
  getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &domain, &size);
  errno = before;
  /* The program's own output goes to Unix sockets. */
  if (domain != AF_INET) return 0;
  if (__atomic_add_fetch(&count, 1, __ATOMIC_RELAXED) % 16 < 8) return 0;
  errno = ENOBUFS;
  return 1;
}

#define SHORT_OF_MEMORY(name, parameters, arguments)                                                                   \
  ssize_t name parameters {                                                                                            \
    ssize_t(*real) parameters = (ssize_t(*) parameters)dlsym(RTLD_NEXT, #name);                                        \
    return is_short(descriptor) ? -1 : real arguments;                                                                 \
  }

SHORT_OF_MEMORY(send, (int descriptor, const void *bytes, size_t size, int flags), (descriptor, bytes, size, flags))
SHORT_OF_MEMORY(sendmsg, (int descriptor, const struct msghdr *message, int flags), (descriptor, message, flags))
SHORT_OF_MEMORY(write, (int descriptor, const void *bytes, size_t size), (descriptor, bytes, size))
SHORT_OF_MEMORY(writev, (int descriptor, const struct iovec *parts, int count), (descriptor, parts, count))
