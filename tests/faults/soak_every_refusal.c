/*
 * Row 28: the system refuses a call of the driver's or a worker's for memory, a descriptor, a thread or a process, any
 * (tests/support/failing.h).
 *
 * The calls of the library are wrapped by the linker (tests/CMakeLists.txt); what other libraries call is not.
 * `--short`: some of them, for every run of the suite.
 */
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "tests/support/failing.h"

void *__real_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
int __real_memfd_create(const char *name, unsigned flags);
int __real_ftruncate(int fd, off_t bytes);
int __real_fcntl(int fd, int command, ...);
int __real_fchmod(int fd, mode_t mode);
int __real_fstat(int fd, struct stat *about);
int __real_madvise(void *at, size_t bytes, int advice);
int __real_fallocate(int fd, int mode, off_t at, off_t bytes);
int __real_eventfd(unsigned count, int flags);
int __real_socketpair(int domain, int type, int protocol, int pair[2]);
int __real_pipe2(int pair[2], int flags);
int __real_open(const char *path, int flags, ...);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *argument);
int __real_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *attributes, char *const argv[], char *const envp[]);

void *__wrap_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);
int __wrap_memfd_create(const char *name, unsigned flags);
int __wrap_ftruncate(int fd, off_t bytes);
int __wrap_fcntl(int fd, int command, ...);
int __wrap_fchmod(int fd, mode_t mode);
int __wrap_fstat(int fd, struct stat *about);
int __wrap_madvise(void *at, size_t bytes, int advice);
int __wrap_fallocate(int fd, int mode, off_t at, off_t bytes);
int __wrap_eventfd(unsigned count, int flags);
int __wrap_socketpair(int domain, int type, int protocol, int pair[2]);
int __wrap_pipe2(int pair[2], int flags);
int __wrap_open(const char *path, int flags, ...);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *argument);
int __wrap_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *attributes, char *const argv[], char *const envp[]);

void *__wrap_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    return is_to_fail(ENOMEM) ? MAP_FAILED : __real_mmap(at, bytes, protection, flags, fd, offset);
}

int __wrap_memfd_create(const char *name, unsigned flags)
{
    return is_to_fail(EMFILE) ? -1 : __real_memfd_create(name, flags);
}

int __wrap_ftruncate(int fd, off_t bytes)
{
    return is_to_fail(ENOMEM) ? -1 : __real_ftruncate(fd, bytes);
}

int __wrap_fcntl(int fd, int command, ...)
{
    va_list values;
    va_start(values, command);
    long argument = va_arg(values, long);
    va_end(values);
    return is_to_fail(command == F_DUPFD_CLOEXEC ? EMFILE : EPERM) ? -1 : __real_fcntl(fd, command, argument);
}

int __wrap_fchmod(int fd, mode_t mode)
{
    return is_to_fail(EPERM) ? -1 : __real_fchmod(fd, mode);
}

int __wrap_fstat(int fd, struct stat *about)
{
    return is_to_fail(EIO) ? -1 : __real_fstat(fd, about);
}

int __wrap_madvise(void *at, size_t bytes, int advice)
{
    return is_to_fail(EAGAIN) ? -1 : __real_madvise(at, bytes, advice);
}

int __wrap_fallocate(int fd, int mode, off_t at, off_t bytes)
{
    return is_to_fail(ENOSPC) ? -1 : __real_fallocate(fd, mode, at, bytes);
}

int __wrap_eventfd(unsigned count, int flags)
{
    return is_to_fail(EMFILE) ? -1 : __real_eventfd(count, flags);
}

int __wrap_socketpair(int domain, int type, int protocol, int pair[2])
{
    return is_to_fail(ENFILE) ? -1 : __real_socketpair(domain, type, protocol, pair);
}

int __wrap_pipe2(int pair[2], int flags)
{
    return is_to_fail(EMFILE) ? -1 : __real_pipe2(pair, flags);
}

int __wrap_open(const char *path, int flags, ...)
{
    return is_to_fail(EMFILE) ? -1 : __real_open(path, flags); /* the library makes no file by it */
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *argument)
{
    return is_to_fail(EAGAIN) ? EAGAIN : __real_pthread_create(thread, attributes, body, argument);
}

int __wrap_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
{
    return is_to_fail(EAGAIN) ? EAGAIN : __real_posix_spawn(pid, path, actions, attributes, argv, envp);
}

static void begin_refusing(void)
{
    may_be_told = DM_ON(DM_ERR_SYSTEM) | DM_ON(DM_ERR_FDS) | DM_ON(DM_ERR_DISK_FULL) | DM_ON(DM_ERR_IO) |
                  DM_ON(DM_ERR_SPILL_UNSAFE);
}

static void refused(bool all_later)
{
    begin_refusing();
    each_of_the_driver(all_later);
}

static void once(void **state)
{
    (void)state;
    refused(false);
}

static void once_while_objects_leave_and_return(void **state)
{
    (void)state;
    begin_refusing();
    each_of_the_driver_in(objects_on_disk);
}

static void once_while_workers_die(void **state)
{
    (void)state;
    begin_refusing();
    each_of_the_driver_in(objects_of_the_dead);
}

static void once_in_a_worker(void **state)
{
    (void)state;
    each_of_workers();
}

static void until_somebody_is_told(void **state)
{
    (void)state;
    refused(true);
}

static const struct CMUnitTest all[] = {cmocka_unit_test(once), cmocka_unit_test(until_somebody_is_told),
                                        cmocka_unit_test(once_while_objects_leave_and_return),
                                        cmocka_unit_test(once_while_workers_die), cmocka_unit_test(once_in_a_worker)};

int main(int argc, char **argv)
{
    return failing_main(argc, argv, all, sizeof all / sizeof *all);
}
