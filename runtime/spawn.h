/*
 * spawn.h - starting a worker process, and being one: this same executable, executed again.
 *
 * A worker finds its socket by a marker in its environment, DM_WORKER_SOCKET, which it removes
 * before main: otherwise a task that starts another program of this kind would start a worker. It
 * leads a process group of its own, in which a task's children are, too.
 *
 * How a worker dies with its driver, kill -9 of the driver included:
 *  - the kernel sends it SIGCONT when its parent dies (PR_SET_PDEATHSIG). SIGCONT, because it wakes
 *    a stopped process, where SIGHUP would wait; because it can be caught, where SIGKILL would
 *    leave the task's children; and because it does no harm when somebody else sends it: the
 *    handler looks whether the driver is gone, then kills the whole group;
 *  - its service thread (service.h) watches the driver's pidfd and the socket, whatever a task does
 *    to signals;
 *  - a driver that died before the signal was asked for is noticed by getppid.
 */
#ifndef DMI_SPAWN_H
#define DMI_SPAWN_H

#include <stdbool.h>

#include "dm/status.h"
#include "runtime/session.h"

/* What is started: arguments and environment, copied at one moment (environ is not thread-safe). */
typedef struct dmi_recipe dmi_recipe;

/* Of this process: its arguments, its environment and the marker; one BLAS thread if nothing else
 * is said. Yours: dmi_recipe_destroy (NULL is fine). */
dm_status dmi_recipe_create(dmi_recipe **recipe);
void dmi_recipe_destroy(dmi_recipe *recipe);

/*
 * Start a worker: fills in pid, pidfd, socket and output of *child (all close-on-exec and
 * nonblocking); the bells are left alone. The thread that calls this must live as long as the
 * session. On failure nothing is left. DM_ERR_FDS, DM_ERR_NOMEM, DM_ERR_SYSTEM.
 */
dm_status dmi_spawn(const dmi_recipe *recipe, dmi_child *child);

/* Send a signal to the worker, never to another process that has its number by now. */
void dmi_child_signal(const dmi_child *child, int signal);

/* Kill what is left of a dead or living worker's process group, before it is reaped. */
void dmi_child_end_group(const dmi_child *child);

/* Is it dead, reaped or not? */
bool dmi_child_has_ended(const dmi_child *child);

/* Has it ended? Then reaps it and says how; signal 0 and status -1 if somebody else reaped it. */
bool dmi_child_reap(const dmi_child *child, int *signal, int *exit_status);

/* Close all descriptors, set them to -1 and pid to 0. */
void dmi_child_close(dmi_child *child);

/* ---- in the worker ---- */

/* Is this process a worker, and by which socket (blocking, close-on-exec)? Any time after
 * start-up. */
bool dmi_worker_marked(int *socket);

/* Live and die with the driver. Called by dm_init in a worker; ends the process if the driver is
 * gone. */
void dmi_worker_tie(void);

/* Kill this worker's process group, itself included. Does not return. */
_Noreturn void dmi_worker_end_group(void);

/* The driver's process id; 0 in a process that is no worker. */
pid_t dmi_worker_driver(void);

#endif
