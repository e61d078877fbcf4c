/*
 * Whatever becomes of the disk, no wrong byte is ever read: what can be made again is, the rest is said to be
 * lost, everything else goes on, and nobody waits for ever.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "objectstore/file_calls.h"
#include "objectstore/word.h"
#include "runtime/session.h"
#include "runtime/task.h"
#include "runtime/value.h"
#include "tests/support/damaged.h"

enum { OBJECT = DAMAGED_OBJECT, FILL = DAMAGED_FILL, GONE = DAMAGED_GONE };

/* ---- a flipped bit ---- */

static void a_flipped_bit_of_a_result(dm_engine engine)
{
    residue before;
    dm_ref fill[FILL];
    residue_begin(&before);
    damaged_begin(engine, 2);
    dm_ref made = dm_remote(marked_make_and_note, OBJECT, 7);
    assert_marked(made, OBJECT, 7);
    damaged_push_out(fill);
    damaged_flip(7);
    assert_marked(made, OBJECT, 7);
    assert_int_equal(marked_runs(7), 2);
    assert_int_equal(marked_stats().objects_lost, 1);
    assert_ok(dm_release(made));
    damaged_end(fill, &before);
}
ON_ENGINES(a_flipped_bit_of_a_result)

static void a_flipped_bit_of_a_put(dm_engine engine)
{
    residue before;
    dm_ref fill[FILL];
    residue_begin(&before);
    damaged_begin(engine, 2);
    dm_ref put = marked_put(OBJECT, 7);
    damaged_push_out(fill);
    damaged_flip(7);
    for (int i = 0; i < 3; i++)
        assert_refused(dm_get_within(put, (void *)NULL, 10000), DM_ERR_CORRUPT, "put");
    dm_ref checked = dm_remote(marked_check, 7, put);
    assert_refused(dm_get_within(checked, (void *)NULL, 10000), DM_ERR_DEP_FAILED, "lost");
    assert_ok(dm_release(checked));
    assert_ok(dm_release(put));
    damaged_end(fill, &before);
}
ON_ENGINES(a_flipped_bit_of_a_put)

/* It is found when a task's arguments are brought, and by several tasks at once. */
static void a_flipped_bit_of_an_argument(dm_engine engine)
{
    residue before;
    dm_ref fill[FILL], checked[8];
    int good;
    residue_begin(&before);
    damaged_begin(engine, 1);
    dm_ref made = dm_remote(marked_make_and_note, OBJECT, 7);
    assert_marked(made, OBJECT, 7);
    damaged_push_out(fill);
    damaged_flip(7);
    for (int i = 0; i < 8; i++)
        checked[i] = dm_remote(marked_check, 7, made);
    for (int i = 0; i < 8; i++) {
        assert_ok(dm_get_within(checked[i], &good, 10000));
        assert_int_equal(good, 1);
    }
    assert_int_equal(marked_runs(7), 2);
    marked_release(checked, 8);
    assert_ok(dm_release(made));
    damaged_end(fill, &before);
}
ON_ENGINES(a_flipped_bit_of_an_argument)

/* Who makes a value is put aside when it has published it, before it says how far it is. */
static atomic_bool put_aside;
static atomic_uint made_link; /* its index + 1 */
static _Thread_local bool is_maker;

static void wait_if_put_aside(void)
{
    while (is_maker && atomic_load(&put_aside) && atomic_load(&made_link) != 0 &&
           dmi_is_published(dmi_record_at(dmi_the_session, atomic_load(&made_link) - 1)))
        watch_pause();
}

DM_REMOTE(faults_make_and_be_put_aside)
{
    size_t bytes = OBJECT;
    dm_buffer buffer;
    while (atomic_load(&made_link) == 0)
        watch_pause();
    is_maker = true;
    marked_note_run(7);
    DM_TRY(dm_create(DM_U8, 1, &bytes, &buffer));
    marked_fill(buffer.data, bytes, 7);
    return dm_return(call, &buffer);
}

/* What was read before its maker has said so counts as read then: what is put afterwards stays in memory longer. (Needs
 * the hook before each store, which is there with assertions on.) */
static void read_before_its_maker_has_said(void **state)
{
    (void)state;
    residue before;
    dm_ref fill[FILL];
    residue_begin(&before);
    damaged_begin(DM_ENGINE_THREADS, 1);
    atomic_store(&made_link, 0);
    atomic_store(&put_aside, true);
    dmi_step_hook = wait_if_put_aside;
    dm_ref made = dm_remote(faults_make_and_be_put_aside);
    atomic_store(&made_link, (uint32_t)made.id + 1);
    assert_marked(made, OBJECT, 7);
    for (int i = 0; i < FILL; i++) {
        fill[i] = marked_put(OBJECT, GONE + (uint64_t)i);
        if (i == FILL / 2)
            atomic_store(&put_aside, false);
    }
    assert_soon(marked_stats().spilling_bytes == 0);
    damaged_flip(7);
    assert_marked(made, OBJECT, 7);
    assert_int_equal(marked_runs(7), 2);
    dmi_step_hook = NULL;
    assert_ok(dm_release(made));
    damaged_end(fill, &before);
}

/* The disk is damaged by who has its files open: this process, or the driver. */
static void have_it_damaged(void)
{
    char flag[300];
    snprintf(flag, sizeof flag, "%s/damaged", getenv("TMPDIR"));
    marked_note_run(8);
    for (int i = 0; i < 20000 && access(flag, F_OK) != 0; i++) {
        if (disk_flip(marked_word(7, OBJECT / 16)) != 0)
            return;
        watch_pause();
    }
}

/* A task makes a value by another task, pushes it out, waits for its damage, and reads it. */
DM_REMOTE(reads_what_is_damaged)
{
    dm_ref refs[FILL];
    dm_ref made = dm_remote(marked_make_and_note, OBJECT, 7);
    if (!marked_is_there(made, OBJECT, 7))
        return dm_fail(call, "before: %s", dm_last_error());
    for (int i = 0; i < FILL; i++)
        refs[i] = marked_put(OBJECT, GONE + (uint64_t)i);
    have_it_damaged();
    if (!marked_is_there(made, OBJECT, 7))
        return dm_fail(call, "after: %s", dm_last_error());
    for (int i = 0; i < FILL; i++)
        if (!marked_is_there(refs[i], OBJECT, GONE + (uint64_t)i))
            return dm_fail(call, "fill %d: %s", i, dm_last_error());
    return DM_OK;
}

/* The only worker is the one that waits for what must be made again. */
static void a_flipped_bit_read_by_the_only_worker(dm_engine engine)
{
    residue before;
    char flag[300], path[300];
    residue_begin(&before);
    snprintf(flag, sizeof flag, "%s/damaged", test_directory());
    marked_path(path, 8);
    damaged_begin(engine, 1);
    dm_ref reads = dm_remote(reads_what_is_damaged);
    assert_soon(access(path, F_OK) == 0);
    if (engine == DM_ENGINE_PROCESSES) {
        assert_soon(disk_has(marked_word(7, OBJECT / 16)));
        assert_soon(marked_stats().spilling_bytes == 0);
        damaged_flip(7);
        close(open(flag, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    }
    assert_ok(dm_get_within(reads, (void *)NULL, 15000));
    unlink(flag);
    assert_int_equal(marked_runs(7), 2);
    assert_int_equal(marked_runs(8), 1);
    assert_ok(dm_release(reads));
    marked_end(&before);
}
ON_ENGINES(a_flipped_bit_read_by_the_only_worker)

/* Both a result and the result that it was made from are damaged. */
static void flipped_bits_of_a_chain(dm_engine engine)
{
    residue before;
    dm_ref fill[FILL];
    residue_begin(&before);
    damaged_begin(engine, 1);
    dm_ref first = dm_remote(marked_make_and_note, OBJECT, 7), second = dm_remote(marked_remake, 8, 7, first);
    assert_marked(second, OBJECT, 8);
    damaged_push_out(fill);
    damaged_flip(7);
    damaged_flip(8);
    assert_marked(second, OBJECT, 8);
    assert_marked(first, OBJECT, 7);
    assert_int_equal(marked_runs(7), 2);
    assert_int_equal(marked_runs(8), 2);
    assert_ok(dm_release(first));
    assert_ok(dm_release(second));
    damaged_end(fill, &before);
}
ON_ENGINES(flipped_bits_of_a_chain)

/* What it was made from was put and is released: it cannot be made again, and says so. */
static void what_it_was_made_from_is_gone(dm_engine engine)
{
    residue before;
    dm_ref fill[FILL];
    residue_begin(&before);
    damaged_begin(engine, 1);
    dm_ref first = marked_put(OBJECT, 7), second = dm_remote(marked_remake, 8, 7, first);
    assert_marked(second, OBJECT, 8);
    assert_ok(dm_release(first));
    damaged_push_out(fill);
    damaged_flip(8);
    for (int i = 0; i < 3; i++) {
        assert_refused(dm_get_within(second, (void *)NULL, 10000), DM_ERR_CORRUPT, "marked_remake");
        assert_non_null(strstr(dm_last_error(), "was damaged on disk"));
        assert_non_null(strstr(dm_last_error(), "was put, and is released"));
    }
    assert_int_equal(marked_runs(8), 1);
    assert_ok(dm_release(second));
    damaged_end(fill, &before);
}
ON_ENGINES(what_it_was_made_from_is_gone)

/* A task that may not be repeated is not. */
static void no_retries_no_second_run(dm_engine engine)
{
    residue before;
    dm_ref fill[FILL];
    residue_begin(&before);
    damaged_begin(engine, 1);
    dm_ref made = dm_remote_with((&(dm_task_options){.retries = DM_NONE}), marked_make_and_note, OBJECT, 7);
    assert_marked(made, OBJECT, 7);
    damaged_push_out(fill);
    damaged_flip(7);
    assert_refused(dm_get_within(made, (void *)NULL, 10000), DM_ERR_CORRUPT, "marked_make_and_note");
    assert_int_equal(marked_runs(7), 1);
    assert_ok(dm_release(made));
    damaged_end(fill, &before);
}
ON_ENGINES(no_retries_no_second_run)

/* More tasks wait for damaged arguments than may be brought at once; their makers read such, too. */
static void a_store_of_damaged_arguments(dm_engine engine)
{
    enum { N = 12 };
    residue before;
    dm_ref fill[FILL], first[N], second[N], third[N];
    int good;
    residue_begin(&before);
    damaged_begin(engine, 1);
    for (int i = 0; i < N; i++) {
        first[i] = dm_remote(marked_make_and_note, OBJECT, 100 + i);
        second[i] = dm_remote(marked_remake, 200 + i, 100 + i, first[i]);
        assert_marked(second[i], OBJECT, 200 + (uint64_t)i);
    }
    damaged_push_out(fill);
    for (uint64_t i = 0; i < N; i++) {
        disk_flip(marked_word(100 + i, OBJECT / 16));
        disk_flip(marked_word(200 + i, OBJECT / 16));
    }
    for (int i = 0; i < N; i++)
        third[i] = dm_remote(marked_check, 200 + i, second[i]);
    for (int i = 0; i < N; i++) {
        assert_ok(dm_get_within(third[i], &good, 15000));
        assert_int_equal(good, 1);
    }
    for (uint64_t i = 0; i < N; i++) {
        assert_true(marked_runs(100 + i) <= 2);
        assert_int_equal(marked_runs(200 + i), 2);
    }
    marked_release(first, N);
    marked_release(second, N);
    marked_release(third, N);
    damaged_end(fill, &before);
}
ON_ENGINES(a_store_of_damaged_arguments)

/* ---- files that are cut off ---- */

static void a_truncated_file(dm_engine engine)
{
    enum { N = 20 };
    residue before;
    dm_ref made[N], put[N], fill[FILL];
    int lost = 0, runs = 0;
    residue_begin(&before);
    damaged_begin(engine, 2);
    for (int i = 0; i < N; i++) {
        made[i] = dm_remote(marked_make_and_note, OBJECT, i);
        put[i] = marked_put(OBJECT, 100 + (uint64_t)i);
        assert_marked(made[i], OBJECT, (uint64_t)i);
    }
    damaged_push_out(fill);
    disk_truncate();
    for (int i = 0; i < N; i++)
        assert_marked(made[i], OBJECT, (uint64_t)i);
    for (int i = 0; i < N; i++) {
        dm_status status = dm_get_within(put[i], (void *)NULL, 10000);
        lost += status != DM_OK;
        if (status != DM_OK && status != DM_ERR_CORRUPT && status != DM_ERR_IO)
            fail_msg("%s: %s", dm_status_name(status), dm_last_error());
        assert_ok(dm_release(put[i]));
        assert_ok(dm_release(made[i]));
        runs += marked_runs((uint64_t)i);
    }
    assert_true(lost > 0 && runs > N);
    marked_release(fill, FILL);
    marked_end(&before);
}
ON_ENGINES(a_truncated_file)

static const struct CMUnitTest tests[] = {
    ENGINE_CASES(a_flipped_bit_of_a_result),
    ENGINE_CASES(a_flipped_bit_of_a_put),
    ENGINE_CASES(a_flipped_bit_of_an_argument),
    cmocka_unit_test(read_before_its_maker_has_said),
    ENGINE_CASES(a_flipped_bit_read_by_the_only_worker),
    ENGINE_CASES(flipped_bits_of_a_chain),
    ENGINE_CASES(what_it_was_made_from_is_gone),
    ENGINE_CASES(no_retries_no_second_run),
    ENGINE_CASES(a_store_of_damaged_arguments),
    ENGINE_CASES(a_truncated_file),
};
TEST_MAIN(tests, NULL)
