/*
 * What is read once when memory is short does not push out what is used often, but what is read again and again comes to
 * stay; and what many ask for at once is read from the disk once.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "objectstore/file_calls.h"
#include "runtime/residence.h"
#include "tests/support/marked.h"

enum { STORE = 4 * MARKED_MIB, OBJECT = MARKED_MIB / 16, HOT = 24, COLD = 160, READERS = 6 };

static dmi_file_calls real_calls;
static atomic_bool gate; /* closed: reads wait */
static atomic_int reads;

static ssize_t read_at(int fd, void *bytes, size_t count, off_t at)
{
    atomic_fetch_add(&reads, 1);
    while (atomic_load(&gate))
        watch_pause();
    return real_calls.read_at(fd, bytes, count, at);
}

static void begin(dm_engine engine)
{
    if (dmi_calls.read_at != read_at)
        real_calls = dmi_calls;
    dmi_calls.read_at = read_at;
    session_begin_with(&(dm_options){.engine = engine, .workers = 1, .store_bytes = STORE, .log = driver_no_log});
}

static bool is_in_memory(dm_ref ref)
{
    uint64_t disk;
    dmi_role_take(&dmi_the_session->role);
    dmi_presence presence = dmi_residence_presence(dmi_the_session, (uint32_t)ref.id, &disk);
    dmi_role_leave(&dmi_the_session->role);
    return presence == DMI_IN_MEMORY || presence == DMI_IN_BOTH;
}

static void what_is_read_once(dm_engine engine)
{
    residue before;
    dm_ref hot[HOT], cold[COLD];
    int still = 0;
    residue_begin(&before);
    begin(engine);
    for (int i = 0; i < COLD; i++)
        cold[i] = marked_put(OBJECT, 100 + (uint64_t)i);
    for (int i = 0; i < HOT; i++)
        hot[i] = marked_put(OBJECT, (uint64_t)i);
    assert_soon(marked_stats().spilling_bytes == 0);
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < HOT; i++)
            assert_marked(hot[i], OBJECT, (uint64_t)i);
    for (int i = 0; i < COLD; i++) /* three times what the store holds */
        assert_marked(cold[i], OBJECT, 100 + (uint64_t)i);
    assert_soon(marked_stats().spilling_bytes == 0);
    for (int i = 0; i < HOT; i++)
        still += is_in_memory(hot[i]);
    assert_int_equal(still, HOT);
    marked_release(hot, HOT);
    marked_release(cold, COLD);
    marked_end(&before);
}
ON_ENGINES(what_is_read_once)

/* Nobody uses what was used before; something else is used instead. */
static void what_is_read_again_stays(dm_engine engine)
{
    enum { ROUNDS = 3 };
    residue before;
    dm_ref cold[HOT], old[COLD];
    uint64_t restored = 0;
    residue_begin(&before);
    begin(engine);
    for (int i = 0; i < HOT; i++)
        cold[i] = marked_put(OBJECT, (uint64_t)i);
    for (int i = 0; i < COLD; i++)
        old[i] = marked_put(OBJECT, 100 + (uint64_t)i);
    assert_soon(marked_stats().spilling_bytes == 0);
    for (int i = COLD / 2; i < COLD; i++)
        assert_marked(old[i], OBJECT, 100 + (uint64_t)i);
    for (int round = 0; round <= ROUNDS; round++) {
        restored = marked_stats().restored_total;
        for (int i = 0; i < HOT; i++)
            assert_marked(cold[i], OBJECT, (uint64_t)i);
    }
    assert_int_equal(marked_stats().restored_total, restored); /* in the last round all were there */
    marked_release(cold, HOT);
    marked_release(old, COLD);
    marked_end(&before);
}
ON_ENGINES(what_is_read_again_stays)

static void *reads_it(void *of)
{
    return marked_is_there(*(dm_ref *)of, OBJECT, 1) ? of : NULL;
}

/* Threads of the program and a task. */
static void many_readers_of_one(dm_engine engine)
{
    enum { FILL = 2 * (STORE / OBJECT) };
    residue before;
    pthread_t readers[READERS];
    dm_ref fill[FILL], checked = DM_NO_REF;
    residue_begin(&before);
    begin(engine);
    dm_ref away = marked_put(OBJECT, 1);
    for (int i = 0; i < FILL; i++)
        fill[i] = marked_put(OBJECT, 100 + (uint64_t)i);
    assert_soon(marked_stats().spilling_bytes == 0 && !is_in_memory(away));
    marked_release(fill, FILL);
    uint64_t before_bytes = marked_stats().restored_total;
    atomic_store(&reads, 0);
    atomic_store(&gate, true);
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, reads_it, &away), 0);
    if (engine != DM_ENGINE_SERIAL) /* there a task runs in dm_remote, and would wait for the gate */
        checked = dm_remote(marked_check, 1, away);
    assert_soon(atomic_load(&reads) != 0);
    atomic_store(&gate, false);
    for (int i = 0; i < READERS; i++) {
        void *got;
        assert_int_equal(pthread_join(readers[i], &got), 0);
        assert_ptr_equal(got, &away);
    }
    if (checked.id != 0)
        assert_ok(dm_get(checked, (void *)NULL));
    assert_in_range(marked_stats().restored_total - before_bytes, OBJECT, OBJECT + 4096);
    assert_ok(dm_release(checked));
    assert_ok(dm_release(away));
    marked_end(&before);
}
ON_ENGINES(many_readers_of_one)

static const struct CMUnitTest tests[] = {
    ENGINE_CASES(what_is_read_once),
    ENGINE_CASES(what_is_read_again_stays),
    ENGINE_CASES(many_readers_of_one),
};
TEST_MAIN(tests, NULL)
