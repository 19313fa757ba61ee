/* Make the N-th call that writes below a folder fail: preloaded into a process under test.
 *
 * fault_arm(under, at, error): calls on paths that hold `under` are counted from now on, and call
 * number `at` fails with errno `error`; at = 0 only counts, under = "" disarms.
 * fault_calls(): how many there were. fault_what(): what the failed call was.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static volatile int calls = 0, chosen = 0, error = 0;
static char folder[4096], what_failed[4200];

void fault_arm(const char *under, int at, int err) {
    folder[0] = 0;
    calls = 0; chosen = at; error = err; what_failed[0] = 0;
    strncpy(folder, under, sizeof folder - 1);
}
int fault_calls(void) { return calls; }
const char *fault_what(void) { return what_failed; }

static int fails(const char *what, const char *path) {
    if (!folder[0] || !path || !strstr(path, folder)) return 0;
    if (__sync_add_and_fetch(&calls, 1) != chosen) return 0;
    snprintf(what_failed, sizeof what_failed, "%s %s", what, path);
    errno = error;
    return 1;
}

static const char *path_of(int fd) {
    static __thread char path[4096];
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return NULL;
    path[n] = 0;
    return path;
}

#define REAL(type, name, ...) static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *b, size_t n) {
    REAL(ssize_t, write, int, const void *, size_t);
    return fails("write", path_of(fd)) ? -1 : real(fd, b, n);
}
ssize_t pwrite(int fd, const void *b, size_t n, off_t o) {
    REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
    return fails("pwrite", path_of(fd)) ? -1 : real(fd, b, n, o);
}
ssize_t pwrite64(int fd, const void *b, size_t n, off_t o) {
    REAL(ssize_t, pwrite64, int, const void *, size_t, off_t);
    return fails("pwrite", path_of(fd)) ? -1 : real(fd, b, n, o);
}
ssize_t writev(int fd, const struct iovec *v, int n) {
    REAL(ssize_t, writev, int, const struct iovec *, int);
    return fails("writev", path_of(fd)) ? -1 : real(fd, v, n);
}
int fsync(int fd) {
    REAL(int, fsync, int);
    return fails("fsync", path_of(fd)) ? -1 : real(fd);
}
int fdatasync(int fd) {
    REAL(int, fdatasync, int);
    return fails("fdatasync", path_of(fd)) ? -1 : real(fd);
}
int ftruncate(int fd, off_t n) {
    REAL(int, ftruncate, int, off_t);
    return fails("ftruncate", path_of(fd)) ? -1 : real(fd, n);
}
int mkdir(const char *p, mode_t m) {
    REAL(int, mkdir, const char *, mode_t);
    return fails("mkdir", p) ? -1 : real(p, m);
}
int rename(const char *a, const char *b) {
    REAL(int, rename, const char *, const char *);
    return fails("rename", b) ? -1 : real(a, b);
}
int unlink(const char *p) {
    REAL(int, unlink, const char *);
    return fails("unlink", p) ? -1 : real(p);
}
static int creates(int flags) { return flags & (O_CREAT | O_WRONLY | O_RDWR); }
int open(const char *p, int flags, ...) {
    REAL(int, open, const char *, int, ...);
    va_list a; va_start(a, flags); mode_t m = va_arg(a, mode_t); va_end(a);
    return creates(flags) && fails("open", p) ? -1 : real(p, flags, m);
}
int open64(const char *p, int flags, ...) {
    REAL(int, open64, const char *, int, ...);
    va_list a; va_start(a, flags); mode_t m = va_arg(a, mode_t); va_end(a);
    return creates(flags) && fails("open", p) ? -1 : real(p, flags, m);
}
int openat(int d, const char *p, int flags, ...) {
    REAL(int, openat, int, const char *, int, ...);
    va_list a; va_start(a, flags); mode_t m = va_arg(a, mode_t); va_end(a);
    return creates(flags) && fails("open", p) ? -1 : real(d, p, flags, m);
}
int openat64(int d, const char *p, int flags, ...) {
    REAL(int, openat64, int, const char *, int, ...);
    va_list a; va_start(a, flags); mode_t m = va_arg(a, mode_t); va_end(a);
    return creates(flags) && fails("open", p) ? -1 : real(d, p, flags, m);
}
