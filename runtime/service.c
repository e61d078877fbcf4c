/*
 * service.c - the thread of a worker that polls: its bell, its socket's end, its driver's end.
 *
 * Reads no message from the socket: that is the task's thread. All signals are blocked here, so
 * that nothing a task does to signals keeps a worker alive without its driver.
 */
#include "runtime/service.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/spawn.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { STACK_BYTES = 1 << 20 };
#else
enum { STACK_BYTES = 128 << 10 };
#endif

enum { EXIT_NO_BELL = 70 }; /* EX_SOFTWARE: a task closed the runtime's descriptors */

struct dmi_service {
    pthread_t thread;
    int socket, bell, driver; /* driver: a pidfd; -1 if there is none */
    void (*serve)(void *context);
    void *context;
    atomic_bool stopping;
};

static void serve_bell(dmi_service *service)
{
    uint64_t rings;
    ssize_t got = read(service->bell, &rings, sizeof rings);
    (void)got; /* somebody else may have read it: serving once too often does no harm */
    service->serve(service->context);
}

static void *service_main(void *argument)
{
    dmi_service *service = argument;
    pthread_setname_np(pthread_self(), "dm-service");
    struct pollfd watched[] = {{.fd = service->bell, .events = POLLIN},
                               {.fd = service->socket, .events = POLLRDHUP},
                               {.fd = service->driver, .events = POLLIN}};
    while (!atomic_load(&service->stopping)) {
        if (poll(watched, 3, -1) < 0)
            continue; /* EINTR, or no memory for a moment */
        if (watched[2].revents & POLLIN || watched[1].revents & (POLLRDHUP | POLLHUP))
            dmi_worker_end_group();
        if ((watched[0].revents | watched[1].revents) & POLLNVAL)
            _exit(EXIT_NO_BELL);
        if (watched[0].revents && !atomic_load(&service->stopping))
            serve_bell(service);
    }
    return NULL;
}

/* A driver's forked child may hold a copy of the socket, so the socket alone is not enough. */
static int watch_driver(int socket)
{
    pid_t driver = dmi_worker_driver();
    if (socket < 0 || driver == 0)
        return -1;
    int pidfd = (int)syscall(SYS_pidfd_open, driver, 0);
    if (getppid() != driver) /* gone, and the number may be another's by now */
        dmi_worker_end_group();
    return pidfd;
}

static int start_thread(dmi_service *service)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    int error = pthread_attr_init(&attributes);
    if (error)
        return error;
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&service->thread, &attributes, service_main, service);
    if (error == EINVAL) /* a program with much thread-local data: it lies in the stack, too */
        error = pthread_create(&service->thread, NULL, service_main, service);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return error;
}

dm_status dmi_service_start(dmi_service **out, int socket, int bell, void (*serve)(void *context),
                            void *context)
{
    dmi_service *service = malloc(sizeof *service);
    *out = NULL;
    if (!service)
        return dmi_error(DM_ERR_NOMEM, "no memory for a worker's service thread");
    *service = (dmi_service){.socket = socket,
                             .bell = bell,
                             .driver = watch_driver(socket),
                             .serve = serve,
                             .context = context};
    int error = start_thread(service);
    if (error) {
        if (service->driver >= 0)
            close(service->driver);
        free(service);
        return dmi_error(error == EAGAIN ? DM_ERR_NOMEM : DM_ERR_SYSTEM,
                         "a worker's service thread cannot be started: %s", strerror(error));
    }
    *out = service;
    return DM_OK;
}

void dmi_service_stop(dmi_service *service)
{
    if (!service)
        return;
    atomic_store(&service->stopping, true); /* private atomic */
    uint64_t one = 1;
    ssize_t wrote = write(service->bell, &one, sizeof one);
    (void)wrote; /* a full eventfd is readable, too */
    pthread_join(service->thread, NULL);
    if (service->driver >= 0)
        close(service->driver);
    free(service);
}
