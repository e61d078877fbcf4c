/*
 * Who wants room, large or small, for a put, for what comes back from the disk, or for the reserve, may have to wait for
 * the system. Others meanwhile get what is there, release what they have, and put numbers.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include "runtime/role.h"
#include "runtime/session.h"
#include "tests/support/marked.h"

enum { STORE = 64 * MARKED_MIB, LARGE = 8 * MARKED_MIB, OBJECT = MARKED_MIB, LITTLE = 4096, GETS = 100 };

/* ---- a system that takes its time ---- */

static atomic_bool gate;   /* closed: no memory is put behind pages */
static atomic_int at_gate; /* calls that wait there */
static atomic_int sleeper; /* a thread that will wait */

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

static void close_gate(void)
{
    atomic_store(&at_gate, 0);
    atomic_store(&gate, true);
}

/* ---- the program ---- */

static void begin_spilling_at(dm_engine engine, double threshold)
{
    session_begin_with(&(dm_options){.engine = engine,
                                     .workers = 1,
                                     .store_bytes = STORE,
                                     .spill_threshold = threshold,
                                     .log = driver_no_log});
}

static void begin(dm_engine engine)
{
    begin_spilling_at(engine, 0); /* as it is by itself */
}

/* From now on the driver's heap has nothing warm. */
static void cool_down(void)
{
    dmi_role_take(&dmi_the_session->role);
    dmi_heap_trim(dmi_the_session->heap);
    dmi_role_leave(&dmi_the_session->role);
}

/* What needs no room is done, while another waits for some. */
static void others_go_on(dm_ref resident, dm_ref other)
{
    int number;
    for (int i = 0; i < GETS; i++)
        assert_marked(resident, OBJECT, 1);
    assert_ok(dm_release(other));
    dm_ref small = dm_put(7);
    assert_ok(dm_get(small, &number));
    assert_int_equal(number, 7);
    assert_ok(dm_release(small));
}

static pthread_t begin_thread(void *(*run)(void *), dm_ref *ref)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, run, ref), 0);
    return thread;
}

static void *put_large(void *into)
{
    *(dm_ref *)into = marked_put(LARGE, 3);
    return NULL;
}

static void *put_little(void *into)
{
    *(dm_ref *)into = marked_put(LITTLE, 4);
    return NULL;
}

/* NULL if it is not what it was. */
static void *get_what_is_away(void *of)
{
    return marked_is_there(*(dm_ref *)of, OBJECT, 0) ? of : NULL;
}

/* ---- cases ---- */

static void while_a_value_is_put(dm_engine engine, void *(*put)(void *), size_t bytes, uint64_t whose)
{
    residue before;
    dm_ref value = DM_NO_REF;
    residue_begin(&before);
    begin(engine);
    dm_ref resident = marked_put(OBJECT, 1), other = marked_put(OBJECT, 2);
    cool_down();
    close_gate();
    pthread_t thread = begin_thread(put, &value);
    assert_soon(atomic_load(&at_gate) > 0);
    others_go_on(resident, other);
    atomic_store(&gate, false);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_marked(value, bytes, whose);
    assert_ok(dm_release(value));
    assert_ok(dm_release(resident));
    marked_end(&before);
}

static void while_a_large_value_is_put(dm_engine engine)
{
    while_a_value_is_put(engine, put_large, LARGE, 3);
}
ON_ENGINES(while_a_large_value_is_put)

static void while_a_small_value_is_put(dm_engine engine)
{
    while_a_value_is_put(engine, put_little, LITTLE, 4);
}
ON_ENGINES(while_a_small_value_is_put)

/* Until the kernel says that it sleeps: in front of the heap, whoever it is who is at it. */
static void *put_little_noting_who(void *into)
{
    atomic_store(&sleeper, (int)syscall(SYS_gettid));
    return put_little(into);
}

static bool it_sleeps(void)
{
    char path[64], state = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", atomic_load(&sleeper));
    FILE *stat = fopen(path, "r");
    if (stat == NULL)
        return false;
    if (fscanf(stat, "%*d (%*[^)]) %c", &state) != 1)
        state = 0;
    fclose(stat);
    return state == 'S';
}

/* The second does not wait for the system, but for the first. */
static void while_two_values_are_put(dm_engine engine)
{
    residue before;
    dm_ref large = DM_NO_REF, little = DM_NO_REF;
    residue_begin(&before);
    begin(engine);
    dm_ref resident = marked_put(OBJECT, 1), other = marked_put(OBJECT, 2);
    cool_down();
    close_gate();
    atomic_store(&sleeper, 0);
    pthread_t first = begin_thread(put_large, &large);
    assert_soon(atomic_load(&at_gate) > 0);
    pthread_t second = begin_thread(put_little_noting_who, &little);
    assert_soon(atomic_load(&sleeper) != 0 && it_sleeps());
    others_go_on(resident, other);
    atomic_store(&gate, false);
    assert_int_equal(pthread_join(first, NULL), 0);
    assert_int_equal(pthread_join(second, NULL), 0);
    assert_marked(large, LARGE, 3);
    assert_marked(little, LITTLE, 4);
    assert_ok(dm_release(large));
    assert_ok(dm_release(little));
    assert_ok(dm_release(resident));
    marked_end(&before);
}
ON_ENGINES(while_two_values_are_put)

static void while_a_value_comes_back(dm_engine engine)
{
    enum { FILL = STORE / OBJECT + 8 };
    residue before;
    dm_ref fill[FILL];
    residue_begin(&before);
    begin(engine);
    dm_ref away = marked_put(OBJECT, 0);
    for (int i = 0; i < FILL; i++)
        fill[i] = marked_put(OBJECT, 100 + (uint64_t)i);
    assert_soon(marked_stats().spilling_bytes == 0);
    marked_release(fill, FILL);
    assert_int_equal(marked_stats().spilled_objects, 1);
    dm_ref resident = marked_put(OBJECT, 1), other = marked_put(OBJECT, 2);
    cool_down();
    close_gate();
    pthread_t thread = begin_thread(get_what_is_away, &away);
    assert_soon(atomic_load(&at_gate) > 0);
    others_go_on(resident, other);
    atomic_store(&gate, false);
    void *got;
    assert_int_equal(pthread_join(thread, &got), 0);
    assert_ptr_equal(got, &away);
    assert_ok(dm_release(away));
    assert_ok(dm_release(resident));
    marked_end(&before);
}
ON_ENGINES(while_a_value_comes_back)

/* What leaves was a worker's, and the driver's heap is to have room for its return; it leaves early, while there is
 * room. */
static void while_the_reserve_is_had(void **state)
{
    enum { MADE = STORE / OBJECT / 2 };
    (void)state;
    residue before;
    dm_ref made[MADE];
    dm_view views[2]; /* by which the driver's own stays where it is */
    residue_begin(&before);
    begin_spilling_at(DM_ENGINE_PROCESSES, 0.25);
    dm_ref resident = marked_put(OBJECT, 1), other = marked_put(OBJECT, 2);
    assert_ok(dm_get(resident, &views[0]));
    assert_ok(dm_get(other, &views[1]));
    cool_down();
    close_gate();
    for (int i = 0; i < MADE; i++)
        made[i] = dm_remote(marked_make, OBJECT, 100 + i);
    assert_ok(dm_wait(made, MADE, MADE, WATCH_PATIENCE_MS, NULL));
    assert_soon(marked_stats().spilled_objects != 0);
    assert_soon(atomic_load(&at_gate) > 0);
    others_go_on(resident, other);
    dm_view_release(&views[0]);
    dm_view_release(&views[1]);
    atomic_store(&gate, false);
    for (int i = 0; i < MADE; i++)
        assert_marked(made[i], OBJECT, 100 + (uint64_t)i);
    marked_release(made, MADE);
    assert_ok(dm_release(resident));
    marked_end(&before);
}

static const struct CMUnitTest tests[] = {
    ENGINE_CASES(while_a_large_value_is_put),
    ENGINE_CASES(while_a_small_value_is_put),
    ENGINE_CASES(while_two_values_are_put),
    ENGINE_CASES(while_a_value_comes_back),
    cmocka_unit_test(while_the_reserve_is_had),
};
TEST_MAIN(tests, NULL)
