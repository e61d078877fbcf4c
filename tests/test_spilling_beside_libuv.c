/*
 * A program that uses libuv has its pool of threads for itself: objects leave and come back while all of them are busy,
 * and they do the program's work while the disk does not answer. And the program is told once that objects are spilled.
 */
#include <stdatomic.h>
#include <uv.h>

#include "objectstore/file_calls.h"
#include "tests/support/marked.h"

enum { STORE = 4 * MARKED_MIB, OBJECT = MARKED_MIB / 4, MANY = 40, POOL = 4, WORKS = 4 * POOL };

static dmi_file_calls real_calls;
static atomic_bool disk_gate, pool_gate; /* closed: writes wait; the program's work waits */
static atomic_int working, worked, announced;

static ssize_t write_at(int fd, const void *bytes, size_t count, off_t at)
{
    while (atomic_load(&disk_gate))
        watch_pause();
    return real_calls.write_at(fd, bytes, count, at);
}

static void count_lines(void *context, const char *line)
{
    (void)context;
    if (strstr(line, "objects are spilled to") != NULL)
        atomic_fetch_add(&announced, 1);
}

static void begin(void)
{
    if (dmi_calls.write_at != write_at)
        real_calls = dmi_calls;
    dmi_calls.write_at = write_at;
    atomic_store(&announced, 0);
    session_begin_with(
        &(dm_options){.workers = 1, .store_bytes = STORE, .store_wait_ms = WATCH_PATIENCE_MS, .log = count_lines});
}

static void work(uv_work_t *unused)
{
    (void)unused;
    atomic_fetch_add(&working, 1);
    while (atomic_load(&pool_gate))
        watch_pause();
    atomic_fetch_add(&worked, 1);
}

/* More work than the pool has threads. */
static void fill_pool(uv_loop_t *loop, uv_work_t works[WORKS])
{
    atomic_store(&working, 0);
    atomic_store(&worked, 0);
    setenv("UV_THREADPOOL_SIZE", "4", 1); /* for the first time it counts */
    assert_int_equal(uv_loop_init(loop), 0);
    for (int i = 0; i < WORKS; i++)
        assert_int_equal(uv_queue_work(loop, &works[i], work, NULL), 0);
}

static void empty_pool(uv_loop_t *loop)
{
    uv_run(loop, UV_RUN_DEFAULT);
    assert_int_equal(atomic_load(&worked), WORKS);
    assert_int_equal(uv_loop_close(loop), 0);
}

static void out_and_back(void)
{
    dm_ref refs[MANY];
    for (int i = 0; i < MANY; i++)
        refs[i] = marked_put(OBJECT, (uint64_t)i);
    for (int i = 0; i < MANY; i++)
        assert_marked(refs[i], OBJECT, (uint64_t)i);
    assert_true(marked_stats().spilled_total != 0 && marked_stats().restored_total != 0);
    marked_release(refs, MANY);
}

static void while_the_pool_is_busy(void **state)
{
    (void)state;
    uv_loop_t loop;
    uv_work_t works[WORKS];
    atomic_store(&pool_gate, true);
    fill_pool(&loop, works);
    assert_soon(atomic_load(&working) == POOL); /* each of its threads */
    begin();
    out_and_back();
    dm_shutdown();
    assert_int_equal(atomic_load(&worked), 0); /* all that time */
    atomic_store(&pool_gate, false);
    empty_pool(&loop);
}

static void *puts_too_much(void *unused)
{
    (void)unused;
    out_and_back();
    return NULL;
}

static void while_the_disk_does_not_answer(void **state)
{
    (void)state;
    uv_loop_t loop;
    uv_work_t works[WORKS];
    pthread_t thread;
    atomic_store(&disk_gate, true);
    begin();
    assert_int_equal(pthread_create(&thread, NULL, puts_too_much, NULL), 0);
    assert_soon(marked_stats().spilling_bytes != 0);
    fill_pool(&loop, works);
    empty_pool(&loop);
    assert_true(marked_stats().spilling_bytes != 0);
    atomic_store(&disk_gate, false);
    assert_int_equal(pthread_join(thread, NULL), 0);
    dm_shutdown();
}

static void it_is_told_once(void **state)
{
    (void)state;
    begin();
    dm_ref ref = marked_put(OBJECT, 1);
    assert_marked(ref, OBJECT, 1);
    assert_int_equal(atomic_load(&announced), 0); /* nothing has been spilled */
    out_and_back();
    assert_soon(atomic_load(&announced) == 1);
    out_and_back();
    assert_ok(dm_release(ref));
    dm_shutdown();
    assert_int_equal(atomic_load(&announced), 1);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(while_the_pool_is_busy),
    cmocka_unit_test(while_the_disk_does_not_answer),
    cmocka_unit_test(it_is_told_once),
};
TEST_MAIN(tests, NULL)
