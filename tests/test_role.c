/*
 * The role has one holder at a time: its owner by bias, another thread by the mutex, and one that waited
 * with it and came back. A waiter once came back beside the owner. The bias ends when others come often, and is there
 * again when they don't.
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

/* So often that the bias ends; then not at all for long enough that it is there again. */
static void *comes_in_crowds(void *unused)
{
    enum { CROWD = 150, PAUSE_US = 20000 };
    (void)unused;
    while (!atomic_load(&done)) {
        for (int i = 0; i < CROWD; i++) {
            dmi_role_take(&role);
            work(100);
            dmi_role_leave(&role);
        }
        usleep(PAUSE_US);
    }
    return NULL;
}

/* The owner's part, until this has gone on for a second, and the bias has ended and been there again some times. */
static void take_and_leave(void)
{
    enum { CHANGES = 6, PATIENCE_S = 60 };
    const bool can_be_biased = role.biased;
    bool was = can_be_biased;
    int changes = can_be_biased ? 0 : CHANGES;
    const uint64_t begin = dmi_now_ns(), second = 1000000000;
    while (dmi_now_ns() - begin < second || (changes < CHANGES && dmi_now_ns() - begin < PATIENCE_S * second)) {
        dmi_role_take(&role);
        work(300);
        dmi_role_leave(&role);
        changes += role.biased != was;
        was = role.biased;
    }
    assert_true(changes >= CHANGES);
}

static void one_holder_at_a_time(void **state)
{
    (void)state;
    pthread_t waiter, visitor;
    dmi_role_init(&role);
    pthread_create(&waiter, NULL, waits_again_and_again, NULL);
    pthread_create(&visitor, NULL, comes_in_crowds, NULL);
    take_and_leave();
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
