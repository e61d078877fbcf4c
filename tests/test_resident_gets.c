/*
 * Who wants room for a large value may have to wait for the system. Others meanwhile get what is there, release
 * what they have, and put what is small.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include "tests/support/marked.h"

enum { STORE = 64 * MARKED_MIB, LARGE = 8 * MARKED_MIB, OBJECT = MARKED_MIB, GETS = 100 };

/* ---- a system that takes its time ---- */

static atomic_bool gate;   /* closed: no memory is put behind pages */
static atomic_int at_gate; /* calls that wait there */

/* In the place of libc's. */
int fallocate(int fd, int mode, off_t at, off_t count)
{
    if (mode == 0 && atomic_load(&gate)) {
        atomic_fetch_add(&at_gate, 1);
        while (atomic_load(&gate))
            watch_pause();
    }
    return (int)syscall(SYS_fallocate, fd, mode, at, count);
}

/* ---- cases ---- */

static void *put_large(void *into)
{
    *(dm_ref *)into = marked_put(LARGE, 3);
    return NULL;
}

static void others_go_on(dm_engine engine)
{
    residue before;
    pthread_t thread;
    dm_ref large = DM_NO_REF;
    residue_begin(&before);
    session_begin_with(&(dm_options){.engine = engine, .workers = 1, .store_bytes = STORE, .log = driver_no_log});
    dm_ref resident = marked_put(OBJECT, 1), other = marked_put(OBJECT, 2), small = DM_NO_REF;
    int seen = atomic_load(&at_gate), number;
    atomic_store(&gate, true);
    assert_int_equal(pthread_create(&thread, NULL, put_large, &large), 0);
    assert_soon(atomic_load(&at_gate) > seen);
    for (int i = 0; i < GETS; i++)
        assert_marked(resident, OBJECT, 1);
    assert_ok(dm_release(other));
    small = dm_put(7);
    assert_ok(dm_get(small, &number));
    assert_int_equal(number, 7);
    atomic_store(&gate, false);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_marked(large, LARGE, 3);
    assert_ok(dm_release(large));
    assert_ok(dm_release(small));
    assert_ok(dm_release(resident));
    marked_end(&before);
}
ON_ENGINES(others_go_on)

static const struct CMUnitTest tests[] = {
    ENGINE_CASES(others_go_on),
};
TEST_MAIN(tests, NULL)
