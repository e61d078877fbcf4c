/*
 * A task may have several values: each is a future of its own, read, passed on and released by itself. They are
 * there together or not at all, also when their maker dies, and of those that nobody wants nothing is left.
 */

#include "tests/support/steps.h"
#include "tests/support/test.h"

enum { MIB = 1 << 20, MANY = 3000 };

/* ---- tasks ---- */

DM_REMOTE(parts_divide)
{
    int64_t a, b;
    DM_TRY(dm_arg(call, 0, &a));
    DM_TRY(dm_arg(call, 1, &b));
    if (b == 0)
        return dm_fail(call, "%lld is divided by nothing", (long long)a);
    DM_TRY(dm_return_at(call, 1, a % b));
    return dm_return_at(call, 0, a / b);
}

static double filler[MIB / 8];

/* One of each kind; what is at 5 is not returned. */
DM_REMOTE(parts_of_each_kind)
{
    dm_ref inner = dm_remote(parts_divide, 42, 1);
    dm_buffer buffer;
    size_t shape[2] = {3, 4};
    DM_TRY(dm_create(DM_F32, 2, shape, &buffer));
    for (int i = 0; i < 12; i++)
        ((float *)buffer.data)[i] = (float)i;
    for (size_t i = 0; i < MIB / 8; i++)
        filler[i] = (double)i;
    DM_TRY(dm_return_at(call, 0, "a string that does not fit a slot, since it is far too long for it"));
    DM_TRY(dm_return_at(call, 1, 2.5));
    DM_TRY(dm_return_at(call, 2, &DM_ARRAY(filler, DM_F64, MIB / 8)));
    DM_TRY(dm_return_at(call, 3, &buffer));
    DM_TRY(dm_return_at(call, 4, inner));
    DM_TRY(dm_return_at(call, 6, "first"));
    return dm_return_at(call, 6, &DM_ARRAY(filler, DM_F64, 1000)); /* the latter counts */
}

DM_REMOTE(parts_count)
{
    int n = dm_return_count(call);
    for (int i = 0; i < n; i++)
        DM_TRY(dm_return_at(call, i, i));
    return DM_OK;
}

DM_REMOTE(parts_too_many)
{
    return dm_return_at(call, 2, 1);
}

DM_REMOTE(parts_fails_late)
{
    DM_TRY(dm_return_at(call, 0, &DM_ARRAY(filler, DM_F64, MIB / 8)));
    return dm_fail(call, "after all");
}

DM_REMOTE(parts_add)
{
    int64_t sum = 0, x;
    for (int i = 0; i < dm_arg_count(call); i++) {
        DM_TRY(dm_arg(call, i, &x));
        sum += x;
    }
    return dm_return(call, sum);
}

DM_REMOTE(parts_sum_of_array)
{
    dm_view view;
    double sum = 0;
    DM_TRY(dm_arg(call, 0, &view));
    for (size_t i = 0; i < view.shape[0]; i++)
        sum += ((const double *)view.data)[i];
    return dm_return(call, sum);
}

/* Several values for a task, and of a task. */
DM_REMOTE(parts_nested)
{
    int64_t n, sum = 0, x;
    DM_TRY(dm_arg(call, 0, &n));
    dm_ref *refs = malloc((size_t)n * sizeof *refs);
    if (refs == NULL)
        return DM_ERR_NOMEM;
    dm_remote_n(refs, (size_t)n, parts_count);
    dm_status status = DM_OK;
    for (int64_t i = 0; i < n && status == DM_OK; i++) {
        status = dm_get(refs[i], &x);
        sum += x;
    }
    dm_ref last = n > 0 ? refs[n - 1] : DM_NO_REF;
    free(refs);
    DM_TRY(status);
    DM_TRY(dm_return_at(call, 1, last));
    return dm_return_at(call, 0, sum);
}

/* ---- support ---- */

static dm_stats stats_now(void)
{
    dm_stats stats = {0};
    assert_ok(dm_stats_get(&stats));
    return stats;
}

static int64_t int_of(dm_ref ref)
{
    int64_t x = -1;
    assert_ok(dm_get(ref, &x));
    assert_ok(dm_release(ref));
    return x;
}

static void end_clean(const residue *before)
{
    assert_soon(stats_now().refs == 0);
    assert_int_equal(stats_now().objects, 0);
    assert_int_equal(stats_now().store_used, 0);
    dm_shutdown();
    assert_no_residue(before);
}

/* ---- cases ---- */

static void quotients(dm_engine engine)
{
    residue before;
    dm_ref refs[2];
    residue_begin(&before);
    session_begin(engine, 2);
    for (int i = 0; i < 100; i++) {
        dm_remote_n(refs, 2, parts_divide, 1000 + i, 7);
        assert_int_equal(int_of(refs[1]), (1000 + i) % 7); /* in any order */
        assert_int_equal(int_of(refs[0]), (1000 + i) / 7);
    }
    assert_int_equal(stats_now().tasks_submitted, 100);
    assert_int_equal(stats_now().tasks_done, 100);
    dm_remote_n(refs, 1, parts_divide, 1, 1); /* one is several, too, but has no place 1 */
    assert_refused(dm_get(refs[0], (void *)NULL), DM_ERR_INVALID, "value 1 was not asked for");
    assert_ok(dm_release(refs[0]));
    end_clean(&before);
}
ON_ENGINES(quotients)

static void each_kind(dm_engine engine)
{
    enum { N = 7 };
    residue before;
    dm_ref refs[N], inner;
    char *text;
    double x;
    dm_view view;
    residue_begin(&before);
    session_begin(engine, 2);
    dm_remote_n(refs, N, parts_of_each_kind);
    dm_ref sum = dm_remote(parts_sum_of_array, refs[2]); /* before it is there */
    assert_ok(dm_get(refs[0], &text));
    assert_string_equal(text, "a string that does not fit a slot, since it is far too long for it");
    free(text);
    assert_ok(dm_get(refs[1], &x));
    assert_true(x == 2.5);
    assert_ok(dm_get(sum, &x));
    assert_true(x == (double)(MIB / 8) * (MIB / 8 - 1) / 2);
    assert_ok(dm_get(refs[3], &view));
    assert_int_equal(view.ndim, 2);
    assert_int_equal(view.shape[1], 4);
    assert_true(((const float *)view.data)[11] == 11);
    dm_view_release(&view);
    assert_ok(dm_get(refs[4], &inner));
    assert_refused(dm_get(inner, (void *)NULL), DM_ERR_INVALID, "was not asked for");
    assert_ok(dm_release(inner));
    assert_refused(dm_get(refs[5], &x), DM_ERR_TYPE, "nil");
    assert_ok(dm_get(refs[6], &view));
    assert_int_equal(view.shape[0], 1000);
    dm_view_release(&view);
    assert_int_equal(stats_now().objects, 4); /* the string, three arrays */
    for (int i = 0; i < N; i++)
        assert_ok(dm_release(refs[i]));
    assert_ok(dm_release(sum));
    end_clean(&before);
}
ON_ENGINES(each_kind)

static void many(dm_engine engine)
{
    residue before;
    dm_ref refs[MANY];
    residue_begin(&before);
    session_begin(engine, 2);
    dm_remote_n(refs, MANY, parts_count);
    dm_ref all = dm_submit(&parts_add, NULL, NULL, 0);
    assert_ok(dm_release(all));
    dm_value values[MANY];
    for (int i = 0; i < MANY; i++)
        values[i] = dm_value_of(refs[i]);
    all = dm_submit(&parts_add, NULL, values, MANY);
    assert_int_equal(int_of(all), (int64_t)MANY * (MANY - 1) / 2);
    assert_ok(dm_wait(refs, MANY, MANY, DM_NONE, NULL));
    for (int i = 0; i < MANY; i++)
        assert_int_equal(int_of(refs[i]), i);
    end_clean(&before);
}
ON_ENGINES(many)

static void failures(dm_engine engine)
{
    enum { TOO_MANY = 4096 };
    residue before;
    dm_ref refs[3], next;
    residue_begin(&before);
    session_begin(engine, 2);
    dm_remote_n(refs, 2, parts_divide, 5, 0);
    next = dm_remote(parts_add, refs[1]);
    assert_refused(dm_get(refs[0], (void *)NULL), DM_ERR_TASK_FAILED, "5 is divided by nothing");
    assert_refused(dm_get(refs[1], (void *)NULL), DM_ERR_TASK_FAILED, "5 is divided by nothing");
    assert_refused(dm_get(next, (void *)NULL), DM_ERR_DEP_FAILED, "5 is divided by nothing");
    dm_release(refs[0]), dm_release(refs[1]), dm_release(next);
    dm_remote_n(refs, 2, parts_too_many);
    assert_refused(dm_get(refs[1], (void *)NULL), DM_ERR_INVALID, "the caller wants 2");
    dm_release(refs[0]), dm_release(refs[1]);
    dm_remote_n(refs, 3, parts_fails_late);
    assert_refused(dm_get(refs[2], (void *)NULL), DM_ERR_TASK_FAILED, "after all");
    assert_int_equal(stats_now().objects, 0);
    dm_release(refs[0]), dm_release(refs[1]), dm_release(refs[2]);
    dm_ref *large = malloc(TOO_MANY * sizeof *large);
    dm_remote_n(large, TOO_MANY, parts_count);
    assert_refused(dm_get(large[TOO_MANY - 1], (void *)NULL), DM_ERR_INVALID, "at most 4095");
    for (int i = 0; i < TOO_MANY; i++)
        dm_release(large[i]);
    free(large);
    dm_submit_n(NULL, NULL, NULL, 0, refs, 2);
    assert_refused(dm_get(refs[1], (void *)NULL), DM_ERR_NO_FUNCTION, "NULL");
    dm_release(refs[0]), dm_release(refs[1]);
    dm_submit_n(&parts_count, NULL, NULL, 0, refs, 0); /* nothing */
    dm_submit_n(&parts_count, NULL, NULL, 0, NULL, 2);
    end_clean(&before);
}
ON_ENGINES(failures)

/* Some or all of them are released before they are there, or never looked at. */
static void unwanted(dm_engine engine)
{
    residue before;
    dm_ref refs[7];
    residue_begin(&before);
    session_begin(engine, 2);
    for (int i = 0; i < 20; i++) {
        dm_remote_n(refs, 7, parts_of_each_kind);
        for (int k = 0; k < 7; k++)
            if ((i >> k % 4 & 1) == 0)
                assert_ok(dm_release(refs[k]));
        for (int k = 0; k < 7; k++)
            if ((i >> k % 4 & 1) != 0) {
                assert_ok(dm_wait(&refs[k], 1, 1, DM_NONE, NULL));
                assert_ok(dm_release(refs[k]));
            }
    }
    end_clean(&before);
}
ON_ENGINES(unwanted)

static void within_tasks(dm_engine engine)
{
    residue before;
    residue_begin(&before);
    for (int workers = 1; workers <= 2; workers++) {
        session_begin(engine, workers);
        for (int n = 2; n <= MANY; n *= 7) {
            dm_ref refs[2], last;
            dm_remote_n(refs, 2, parts_nested, n);
            assert_int_equal(int_of(refs[0]), (int64_t)n * (n - 1) / 2);
            assert_ok(dm_get(refs[1], &last));
            assert_ok(dm_release(refs[1]));
            assert_int_equal(int_of(last), n - 1);
        }
        assert_soon(stats_now().refs == 0);
        dm_shutdown();
    }
    assert_no_residue(&before);
}
ON_ENGINES(within_tasks)

/* Values that are larger than the store together go to the disk one by one. */
DM_REMOTE(parts_large)
{
    for (int i = 0; i < dm_return_count(call); i++) {
        for (size_t k = 0; k < MIB / 8; k++)
            filler[k] = i;
        DM_TRY(dm_return_at(call, i, &DM_ARRAY(filler, DM_F64, MIB / 8)));
    }
    return DM_OK;
}

static void spilled(dm_engine engine)
{
    enum { N = 6, TASKS = 5 };
    residue before;
    dm_ref refs[TASKS][N];
    residue_begin(&before);
    session_begin_with(&(dm_options){.engine = engine, .workers = 1, .store_bytes = 16 * MIB, .log = driver_no_log});
    for (int i = 0; i < TASKS; i++) {
        dm_remote_n(refs[i], N, parts_large);
        assert_ok(dm_wait(refs[i], N, N, DM_NONE, NULL));
    }
    assert_true(stats_now().spilled_total > 0);
    for (int i = 0; i < TASKS; i++)
        for (int k = 0; k < N; k++) {
            dm_view view;
            assert_ok(dm_get(refs[i][k], &view));
            assert_true(((const double *)view.data)[MIB / 8 - 1] == k);
            dm_view_release(&view);
            assert_ok(dm_release(refs[i][k]));
        }
    assert_soon(stats_now().disk_bytes == 0);
    end_clean(&before);
}
ON_ENGINES(spilled)

/* ---- death ---- */

static void parts_once(void)
{
    dm_ref refs[7], nested[2], inner;
    double x;
    dm_remote_n(refs, 7, parts_of_each_kind);
    dm_remote_n(nested, 2, parts_nested, 3);
    dm_ref sum = dm_remote(parts_sum_of_array, refs[2]);
    assert_ok(dm_get(sum, &x));
    assert_true(x == (double)(MIB / 8) * (MIB / 8 - 1) / 2);
    assert_ok(dm_get(refs[1], &x));
    assert_true(x == 2.5);
    assert_int_equal(int_of(nested[0]), 3);
    assert_ok(dm_get(nested[1], &inner));
    assert_int_equal(int_of(inner), 2);
    assert_ok(dm_release(nested[1]));
    for (int i = 0; i < 7; i++)
        assert_ok(dm_release(refs[i]));
    assert_ok(dm_release(sum));
    assert_soon(stats_now().refs == 0);
    assert_int_equal(stats_now().objects, 0);
}

/* Before each store to shared memory that their worker makes, until it makes no more. */
static void their_worker_dies(void **state)
{
    (void)state;
    residue before;
    steps_begin();
    residue_begin(&before);
    session_begin_with(&(dm_options){.workers = 1, .store_bytes = 64 * MIB, .retries = 50, .log = driver_no_log});
    assert_true(steps_enumerate("several values", 1, 60000, parts_once) > 20);
    dm_shutdown();
    assert_no_residue(&before);
    steps_end();
}

static const struct CMUnitTest tests[] = {
    ENGINE_CASES(quotients), ENGINE_CASES(each_kind),    ENGINE_CASES(many),    ENGINE_CASES(failures),
    ENGINE_CASES(unwanted),  ENGINE_CASES(within_tasks), ENGINE_CASES(spilled), cmocka_unit_test(their_worker_dies),
};

TEST_MAIN(tests, NULL)
