/*
 * stack.h - how much of a thread's stack is used, and another one to go on with.
 *
 * A task that waits may have another run above it, and that one another, to any depth; no stack is that deep. So
 * what would begin in the lower half of a stack begins on a fresh thread, and the thread that waits is parked until
 * it returns: of a worker's threads one runs at any time, and what is the worker's needs no lock for that.
 */
#ifndef DMI_STACK_H
#define DMI_STACK_H

#include <stdbool.h>

struct dmi_worker;

/* Is more than half of the calling thread's stack used? True, too, on a stack that is not the thread's own. */
bool dmi_stack_is_low(void);

/* The memory of this thread's stack below what is in use goes back to the system, if that is much, as far as
 * dmi_stack_is_low saw it in use: nothing else can lie there. */
void dmi_stack_give_back(void);

/* Call run(context) on a thread with a stack of its own, as large as this one's within reason, which is `worker`'s
 * meanwhile; returns when it has. False: no such thread could be had. */
bool dmi_stack_call(struct dmi_worker *worker, void (*run)(void *context), void *context);

#endif
