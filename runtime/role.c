/*
 * role.c - the slow way into the dispatching role.
 */
#include "runtime/role.h"

#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "objectstore/word.h"
#include "runtime/clock.h"

_Thread_local uint64_t dmi_role_mine;

static _Atomic uint64_t roles; /* private atomic */

static int membarrier(int command)
{
    return (int)syscall(SYS_membarrier, command, 0, 0);
}

/* ThreadSanitizer knows mutexes and atomics, but not membarrier. */
static bool can_be_biased(void)
{
#if defined(__SANITIZE_THREAD__)
    return false;
#else
    return membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0;
#endif
}

bool dmi_role_is_busy(dmi_role *role)
{
    enum { LOOKS = 20 };
    if (!role->biased || dmi_role_mine == role->id)
        return false;
    for (int i = 0; i < LOOKS; i++) {
        if (atomic_load_explicit(&role->inside, memory_order_relaxed)) /* private atomic */
            return true;
        dmi_relax();
    }
    return false;
}

void dmi_role_init(dmi_role *role)
{
    *role = (dmi_role){.id = atomic_fetch_add(&roles, 1) + 1}; /* private atomic */
    pthread_mutex_init(&role->mutex, NULL);
    role->biased = can_be_biased();
    dmi_role_mine = role->biased ? role->id : 0;
}

void dmi_role_fini(dmi_role *role)
{
    if (dmi_role_mine == role->id)
        dmi_role_mine = 0;
    pthread_mutex_destroy(&role->mutex);
}

/* Others come so often that the bias costs more than it saves: but for an owner that comes millions of times a second,
 * who has it back in a moment. */
static bool is_crowded(dmi_role *role)
{
    enum { VISITS = 64, QUICK_NS = 50000000 };
    if (++role->visits % VISITS != 0)
        return false;
    uint64_t now = dmi_now_ns(), since = role->visits_since_ns;
    role->visits_since_ns = now;
    return now - since < QUICK_NS;
}

/* The owner holds the mutex. It may come in by the bias from now on: others have to take care of it again. */
static void bias_again(dmi_role *role)
{
    role->alone = role->visits = 0;
    role->visits_since_ns = dmi_now_ns();
    role->biased = true;
    atomic_store_explicit(&role->wanted, 0, memory_order_release); /* private atomic */
}

/* The owner holds the mutex. */
static void count_alone(dmi_role *role)
{
    enum { LONG = 4096 };
    if (!role->biased && ++role->alone == LONG)
        bias_again(role);
}

/* The mutex is held: keep the owner out, too. */
static void exclude_owner(dmi_role *role)
{
    if (dmi_role_mine == role->id) {
        count_alone(role);
        return;
    }
    role->alone = 0;
    if (!role->biased)
        return;
    atomic_store_explicit(&role->wanted, 1, memory_order_relaxed); /* private atomic */
    membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
    enum { LOOKS = 64 };
    for (int i = 0; atomic_load_explicit(&role->inside, memory_order_acquire); i++)
        if (i < LOOKS)
            dmi_relax();
        else
            sched_yield(); /* it was interrupted in there, and may need this very core */
    if (is_crowded(role))
        role->biased = false; /* `wanted` stays */
}

static void admit_owner(dmi_role *role)
{
    if (role->biased && dmi_role_mine != role->id)
        atomic_store_explicit(&role->wanted, 0, memory_order_release); /* private atomic */
}

void dmi_role_take_slowly(dmi_role *role)
{
    atomic_fetch_add_explicit(&role->waiting, 1, memory_order_relaxed); /* private atomic */
    pthread_mutex_lock(&role->mutex);
    atomic_fetch_sub_explicit(&role->waiting, 1, memory_order_relaxed); /* private atomic */
    atomic_fetch_add_explicit(&role->served, 1, memory_order_relaxed);  /* private atomic */
    exclude_owner(role);
}

void dmi_role_leave_slowly(dmi_role *role)
{
    admit_owner(role);
    pthread_mutex_unlock(&role->mutex);
}

void dmi_role_give_way(dmi_role *role)
{
    enum { LONG_NS = 200000 }; /* a wake-up, and some */
    if (atomic_load_explicit(&role->waiting, memory_order_relaxed) == 0)
        return;
    unsigned served = atomic_load_explicit(&role->served, memory_order_relaxed);
    uint64_t until = dmi_now_ns() + LONG_NS;
    dmi_role_leave(role);
    while (atomic_load_explicit(&role->served, memory_order_relaxed) == served && dmi_now_ns() < until)
        sched_yield();
    dmi_role_take(role);
}

void dmi_role_wait(dmi_role *role, pthread_cond_t *condition, const struct timespec *until)
{
    admit_owner(role);
    if (until == NULL)
        pthread_cond_wait(condition, &role->mutex);
    else
        pthread_cond_timedwait(condition, &role->mutex, until);
    exclude_owner(role); /* it may have come in while the mutex was free */
}
