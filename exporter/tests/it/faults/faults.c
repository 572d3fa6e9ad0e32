/*
 * Faults of a disk, switched on while the exporter runs. Loaded with LD_PRELOAD.
 *
 * The file in FAULTS_FILE has one fault per line:
 *
 *   ERRNO NAME          writes, syncs and allocations of the file with this name fail with this error number, and so does
 *                       its creation; a sync needs no space, so it does not fail with ENOSPC and EDQUOT
 *   kill NAME TEXT      a write of this text to the file ends the process with SIGKILL
 *
 * NAME is the last component of the path. An absent or empty file means no faults.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static __thread int is_inside;

static const char *name_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Reads the faults. Returns their length, or 0. */
static size_t faults(char *text, size_t size) {
    const char *path = getenv("FAULTS_FILE");
    if (!path) return 0;
    int fd = REAL(open)(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t length = REAL(read)(fd, text, size - 1);
    REAL(close)(fd);
    if (length <= 0) return 0;
    text[length] = 0;
    return (size_t)length;
}

/* Returns the error number for an operation on the file with this name, or 0. Ends the process if the data has the text. */
static int fault(const char *name, const void *data, size_t length) {
    char text[4096];
    if (is_inside) return 0;
    is_inside = 1;
    int error = 0;
    if (faults(text, sizeof text)) {
        char *rest = text, *line;
        while ((line = strsep(&rest, "\n"))) {
            char *what = strsep(&line, " "), *file = strsep(&line, " ");
            if (!file || strcmp(file, name)) continue;
            if (strcmp(what, "kill")) error = atoi(what);
            else if (line && data && memmem(data, length, line, strlen(line))) raise(SIGKILL);
        }
    }
    is_inside = 0;
    return error;
}

static int fault_of_fd(int fd, const void *data, size_t length) {
    char link[64], path[4096];
    if (is_inside) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size <= 0 || path[0] != '/') return 0;
    path[size] = 0;
    return fault(name_of(path), data, length);
}

#define FAIL_IF_FAULT(fd, data, length)                          \
    do {                                                         \
        int error = fault_of_fd(fd, data, length);               \
        if (error) { errno = error; return -1; }                 \
    } while (0)

ssize_t write(int fd, const void *data, size_t length) {
    FAIL_IF_FAULT(fd, data, length);
    return REAL(write)(fd, data, length);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
    FAIL_IF_FAULT(fd, data, length);
    return REAL(pwrite)(fd, data, length, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
    FAIL_IF_FAULT(fd, data, length);
    return REAL(pwrite64)(fd, data, length, offset);
}

static int sync_fault(int fd) {
    int error = fault_of_fd(fd, NULL, 0);
    return error == ENOSPC || error == EDQUOT ? 0 : error;
}

int fsync(int fd) {
    int error = sync_fault(fd);
    if (error) { errno = error; return -1; }
    return REAL(fsync)(fd);
}

int fdatasync(int fd) {
    int error = sync_fault(fd);
    if (error) { errno = error; return -1; }
    return REAL(fdatasync)(fd);
}

int ftruncate(int fd, off_t length) {
    FAIL_IF_FAULT(fd, NULL, 0);
    return REAL(ftruncate)(fd, length);
}

int ftruncate64(int fd, off64_t length) {
    FAIL_IF_FAULT(fd, NULL, 0);
    return REAL(ftruncate64)(fd, length);
}

int fallocate(int fd, int mode, off_t offset, off_t length) {
    FAIL_IF_FAULT(fd, NULL, 0);
    return REAL(fallocate)(fd, mode, offset, length);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t length) {
    FAIL_IF_FAULT(fd, NULL, 0);
    return REAL(fallocate64)(fd, mode, offset, length);
}

static int open_fault(const char *path, int flags) {
    int writes = (flags & O_ACCMODE) != O_RDONLY && (flags & O_CREAT);
    return writes && access(path, F_OK) ? fault(name_of(path), NULL, 0) : 0;
}

#define OPEN(name)                                               \
    int name(const char *path, int flags, ...) {                 \
        va_list args;                                            \
        va_start(args, flags);                                   \
        mode_t mode = va_arg(args, mode_t);                      \
        va_end(args);                                            \
        int error = open_fault(path, flags);                     \
        if (error) { errno = error; return -1; }                 \
        return REAL(name)(path, flags, mode);                    \
    }

OPEN(open)
OPEN(open64)
