/*
 * Of a hundred thousand tasks that wait for one value each can be cancelled as if it waited alone: the test ends
 * before its watchdog bites, which it does not if each cancel looks at all that wait.
 */
#include <stdatomic.h>

#include "tests/support/lawful.h"
#include "tests/support/notes.h"
#include "tests/support/test.h"

enum { MANY = 100000, FEW = 300 };

typedef struct notes {
    _Atomic bool open, open_second;
} notes;

static notes *common;

static void set_up_worker(void)
{
    common = notes_open(sizeof *common);
}

DM_REMOTE(holds_up)
{
    int which;
    DM_TRY(dm_arg(call, 0, &which));
    while (!atomic_load(which == 0 ? &common->open : &common->open_second))
        watch_pause();
    return dm_return(call, 5);
}

DM_REMOTE(adds)
{
    int sum = 0;
    for (int i = 0, x; i < dm_arg_count(call); i++) {
        DM_TRY(dm_arg(call, i, &x));
        sum += x;
    }
    return dm_return(call, sum);
}

static residue before;

static void begin(int workers)
{
    common = notes_make(sizeof *common);
    residue_begin(&before);
    session_begin_with(&(dm_options){.engine = DM_ENGINE_PROCESSES, .workers = workers, .log = driver_no_log});
}

static void end(void)
{
    dm_stats stats = {0};
    assert_soon(dm_stats_get(&stats) == DM_OK && stats.refs == 0);
    assert_int_equal(stats.objects, 0);
    dm_shutdown();
    assert_no_residue(&before);
    notes_end(common, sizeof *common);
}

static size_t straight(size_t i, size_t n)
{
    (void)n;
    return i;
}

static size_t backwards(size_t i, size_t n)
{
    return n - 1 - i;
}

static size_t from_the_middle(size_t i, size_t n)
{
    return (i + n / 2) % n;
}

/* One in a thousand is left, and runs. */
static void in_order(size_t (*order)(size_t i, size_t n))
{
    enum { LEFT = 1000 };
    static dm_ref refs[MANY];
    int x = 0;
    begin(1);
    dm_ref gate = dm_remote(holds_up, 0);
    for (size_t i = 0; i < MANY; i++)
        refs[i] = dm_remote(adds, gate, (int)i);
    for (size_t i = 0; i < MANY; i++)
        if (order(i, MANY) % LEFT != 0)
            assert_ok(dm_cancel(refs[order(i, MANY)]));
    assert_lawful();
    atomic_store(&common->open, true);
    for (size_t i = 0; i < MANY; i++) {
        dm_status status = dm_get(refs[i], &x);
        assert_int_equal(status, i % LEFT == 0 ? DM_OK : DM_ERR_CANCELLED);
        if (status == DM_OK)
            assert_int_equal(x, 5 + (int)i);
        assert_ok(dm_release(refs[i]));
    }
    assert_ok(dm_release(gate));
    end();
}

static void the_first_first(void **state)
{
    (void)state;
    in_order(straight);
}

static void the_last_first(void **state)
{
    (void)state;
    in_order(backwards);
}

static void in_the_middle(void **state)
{
    (void)state;
    in_order(from_the_middle);
}

/* Each names two values, some of them twice; one of the values is there when half of the tasks go. */
static void one_of_two_is_there(void **state)
{
    (void)state;
    dm_ref refs[FEW];
    int x = 0;
    begin(2);
    dm_ref first = dm_remote(holds_up, 0), second = dm_remote(holds_up, 1);
    for (int i = 0; i < FEW; i++)
        refs[i] = i % 3 ? dm_remote(adds, first, second, i) : dm_remote(adds, second, first, first, second, i);
    for (int i = 0; i < FEW; i += 5)
        assert_ok(dm_cancel(refs[i]));
    assert_lawful();
    atomic_store(&common->open, true);
    assert_ok(dm_get(first, &x));
    assert_lawful();
    for (int i = 1; i < FEW; i += 5)
        assert_ok(dm_cancel(refs[i]));
    assert_lawful();
    atomic_store(&common->open_second, true);
    for (int i = 0; i < FEW; i++) {
        dm_status status = dm_get(refs[i], &x);
        assert_int_equal(status, i % 5 < 2 ? DM_ERR_CANCELLED : DM_OK);
        if (status == DM_OK)
            assert_int_equal(x, (i % 3 ? 10 : 20) + i);
        assert_ok(dm_release(refs[i]));
    }
    assert_lawful();
    assert_ok(dm_release(first));
    assert_ok(dm_release(second));
    end();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_first_first),
    cmocka_unit_test(the_last_first),
    cmocka_unit_test(in_the_middle),
    cmocka_unit_test(one_of_two_is_there),
};

__attribute__((constructor)) static void set_up(void)
{
    test_worker_setup = set_up_worker;
}

TEST_MAIN(tests, NULL)
