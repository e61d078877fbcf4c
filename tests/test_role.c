/*
 * The role has one holder at a time: its owner by bias, another thread by the mutex, and one that waited
 * with it and came back. A waiter once came back beside the owner.
 */
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/clock.h"
#include "runtime/role.h"

static dmi_role role;
static pthread_cond_t turn = PTHREAD_COND_INITIALIZER;
static atomic_int holders, overlaps, done;

/* Hold it a little: nobody else may be here. */
static void work(int turns)
{
    if (atomic_fetch_add(&holders, 1) != 0)
        atomic_fetch_add(&overlaps, 1);
    for (volatile int i = 0; i < turns; i++)
        ;
    atomic_fetch_sub(&holders, 1);
}

static void *waits_again_and_again(void *unused)
{
    (void)unused;
    while (!atomic_load(&done)) {
        struct timespec soon;
        clock_gettime(CLOCK_REALTIME, &soon);
        soon.tv_nsec += 300000;
        if (soon.tv_nsec >= 1000000000)
            soon.tv_sec++, soon.tv_nsec -= 1000000000;
        dmi_role_take(&role);
        work(100);
        dmi_role_wait(&role, &turn, &soon);
        work(20000);
        dmi_role_leave(&role);
    }
    return NULL;
}

static void *comes_now_and_then(void *unused)
{
    (void)unused;
    while (!atomic_load(&done)) {
        dmi_role_take(&role);
        work(100);
        dmi_role_leave(&role);
        usleep(200); /* seldom enough that the bias lasts */
    }
    return NULL;
}

static void one_holder_at_a_time(void **state)
{
    (void)state;
    pthread_t waiter, visitor;
    dmi_role_init(&role);
    pthread_create(&waiter, NULL, waits_again_and_again, NULL);
    pthread_create(&visitor, NULL, comes_now_and_then, NULL);
    for (uint64_t until = dmi_now_ns() + 1000000000; dmi_now_ns() < until;) {
        dmi_role_take(&role);
        work(300);
        dmi_role_leave(&role);
    }
    atomic_store(&done, 1);
    pthread_join(waiter, NULL);
    pthread_join(visitor, NULL);
    assert_int_equal(atomic_load(&overlaps), 0);
    dmi_role_fini(&role);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_holder_at_a_time)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
