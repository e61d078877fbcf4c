/*
 * role.h - the lock of the dispatching role, private to the driver's process.
 *
 * Whoever holds it is the one that dispatches, frees, moves and recovers: a thread inside a dm_ call,
 * or the supervisor's. Never held while sleeping or while user code runs.
 *
 * It is biased to the thread that began the session, which takes it with two plain stores and no
 * locked instruction (two of those cost as much as a task). Another thread pays for that: it sets
 * `wanted`, makes every running thread see it (membarrier), and waits until the owner is outside. On a virtual machine
 * that may be ten microseconds, in which the owner waits as well: more than the bias saves it in a thousand visits. When
 * others come often, as with several submitting threads or while objects are spilled, the bias ends and it is a mutex;
 * when they have not come for long, as the owner's visits count it, it is biased again.
 */
#ifndef DMI_ROLE_H
#define DMI_ROLE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

typedef struct dmi_role {
    atomic_int inside; /* the owner holds it, by the bias; private atomic */
    atomic_int wanted; /* another holds the mutex, or the bias has ended; private atomic */
    bool by_bias;      /* how the holder holds it */
    atomic_bool biased; /* others must take care of the owner; private atomic */
    pthread_mutex_t mutex;
    atomic_uint waiting, served; /* threads in front of the mutex, and behind it; private atomic */
    uint64_t id;
    uint32_t visits; /* by others, since */
    uint32_t alone;  /* visits of the owner since the last of others, when the bias has ended */
    uint64_t visits_since_ns;
} dmi_role;

/* The `id` of the role this thread owns by bias; 0: none. Ids are never used twice. */
extern _Thread_local uint64_t dmi_role_mine;

/* The calling thread becomes the owner. */
void dmi_role_init(dmi_role *role);
void dmi_role_fini(dmi_role *role);

/* Is the owner in a call at this very moment, or was it a moment ago? A hint, for who may come later. */
bool dmi_role_is_busy(dmi_role *role);

/* The way by the mutex. */
void dmi_role_take_slowly(dmi_role *role);
void dmi_role_leave_slowly(dmi_role *role);

/* By the bias, for a few instructions that call nothing: dmi_role_end ends them. False: not the owner, or another
 * has it or wants it. */
static inline bool dmi_role_begin(dmi_role *role)
{
    if (__builtin_expect(dmi_role_mine != role->id, 0))
        return false;
    atomic_store_explicit(&role->inside, 1, memory_order_relaxed); /* private atomic */
    atomic_signal_fence(memory_order_seq_cst); /* the other side's membarrier is the fence */
    if (__builtin_expect(!atomic_load_explicit(&role->wanted, memory_order_acquire), 1))
        return true;
    atomic_store_explicit(&role->inside, 0, memory_order_release); /* private atomic */
    return false;
}

static inline void dmi_role_end(dmi_role *role)
{
    atomic_store_explicit(&role->inside, 0, memory_order_release); /* private atomic */
}

static inline void dmi_role_take(dmi_role *role)
{
    if (dmi_role_begin(role))
        role->by_bias = true;
    else
        dmi_role_take_slowly(role);
}

static inline void dmi_role_leave(dmi_role *role)
{
    if (__builtin_expect(role->by_bias, 1)) {
        role->by_bias = false;
        dmi_role_end(role);
        return;
    }
    dmi_role_leave_slowly(role);
}

/* Let those who wait for it have it first: a mutex alone would give it to who asks again at once. For a
 * holder that has much to do. */
void dmi_role_give_way(dmi_role *role);

/* Leave it, wait for the condition (until NULL: for ever), take it again. It is held firmly. */
void dmi_role_wait(dmi_role *role, pthread_cond_t *condition, const struct timespec *until);

/* Hold it by the mutex, so that it can be waited with; the role may have been left in between. */
static inline void dmi_role_take_firmly(dmi_role *role)
{
    if (!role->by_bias)
        return;
    dmi_role_leave(role);
    dmi_role_take_slowly(role);
}

#endif
