/*
 * The account of a file's blocks agrees with a naive one, block by block, over random histories; its laws hold
 * after each step; what is free is used before anything new.
 */
#include "objectstore/extents.h"

#include "tests/support/test.h"

enum { BLOCKS = 1 << 16, LIVE = 400, STEPS = 30000, STEP = 256 };

static dmi_run_state map[BLOCKS]; /* the naive account */

static uint64_t count(dmi_run_state state, uint64_t blocks)
{
    uint64_t n = 0;
    for (uint64_t i = 0; i < blocks; i++)
        n += map[i] == state;
    return n;
}

static bool has_room(uint64_t blocks, uint64_t end, dmi_run_state state)
{
    uint64_t row = 0;
    for (uint64_t i = 0; i < end; i++) {
        row = map[i] == state ? row + 1 : 0;
        if (row == blocks)
            return true;
    }
    return false;
}

static void mark(const dmi_run *run, dmi_run_state from, dmi_run_state to)
{
    for (uint64_t i = run->first; i < run->first + run->blocks; i++) {
        assert_int_equal(map[i], from);
        map[i] = to;
    }
}

static void agree(const dmi_extents *e)
{
    assert_true(dmi_extents_is_valid(e));
    for (int state = 0; state < DMI_RUN_STATES; state++)
        assert_int_equal(e->count[state], count((dmi_run_state)state, e->blocks));
    for (const dmi_run *run = e->front; run; run = run->next)
        for (uint64_t i = run->first; i < run->first + run->blocks; i++)
            assert_int_equal(map[i], run->state);
}

static dmi_run *taken(dmi_extents *e, uint64_t blocks)
{
    uint64_t end = e->blocks;
    dmi_run *run = dmi_extents_take(e, blocks, UINT64_MAX);
    assert_non_null(run);
    assert_int_equal(run->blocks, blocks);
    assert_true(e->blocks <= BLOCKS);
    if (e->blocks > end) { /* it grew, so there was no room twice as large */
        assert_false(has_room(2 * blocks, end, DMI_RUN_IDLE));
        assert_false(has_room(2 * blocks, end, DMI_RUN_BARE));
    }
    mark(run, map[run->first], DMI_RUN_LIVE);
    return run;
}

static void as_a_naive_account_says(void **state)
{
    (void)state;
    dmi_extents e;
    dmi_run *live[LIVE] = {0}, *lent = NULL;
    unsigned seed = 11;
    memset(map, 0, sizeof map);
    dmi_extents_init(&e, STEP);
    for (int step = 0; step < STEPS; step++) {
        int i = rand_r(&seed) % LIVE;
        if (live[i] == NULL) {
            live[i] = taken(&e, 1 + (uint64_t)rand_r(&seed) % (1u << rand_r(&seed) % 8));
        } else if (rand_r(&seed) % 4 == 0 && live[i]->blocks > 1) {
            int other = rand_r(&seed) % LIVE;
            if (live[other] == NULL)
                live[other] = dmi_extents_cut(&e, live[i], 1 + live[i]->blocks / 3);
        } else {
            bool bare = rand_r(&seed) % 8 == 0;
            mark(live[i], DMI_RUN_LIVE, bare ? DMI_RUN_BARE : DMI_RUN_IDLE);
            (bare ? dmi_extents_abandon : dmi_extents_leave)(&e, live[i]);
            live[i] = NULL;
        }
        if (lent && rand_r(&seed) % 2) {
            bool bare = rand_r(&seed) % 4 != 0;
            mark(lent, DMI_RUN_LENT, bare ? DMI_RUN_BARE : DMI_RUN_IDLE);
            (bare ? dmi_extents_bare : dmi_extents_unlend)(&e, lent);
            lent = NULL;
        }
        if (!lent && rand_r(&seed) % 16 == 0 && (lent = dmi_extents_lend(&e, 2, 64)) != NULL) {
            assert_in_range(lent->blocks, 2, 64);
            mark(lent, DMI_RUN_IDLE, DMI_RUN_LENT);
        }
        if (step % 64 == 0)
            agree(&e);
    }
    agree(&e);
    dmi_extents_fini(&e);
}

static void idle_blocks_come_first(void **state)
{
    (void)state;
    dmi_extents e;
    dmi_extents_init(&e, STEP);
    dmi_run *a = dmi_extents_take(&e, 100, UINT64_MAX), *b = dmi_extents_take(&e, 10, UINT64_MAX);
    assert_non_null(b);
    uint64_t at = a->first;
    dmi_extents_leave(&e, a);
    a = dmi_extents_take(&e, 60, UINT64_MAX);
    assert_int_equal(a->first, at);
    assert_int_equal(e.count[DMI_RUN_IDLE], 40);
    assert_non_null(dmi_extents_take(&e, 40, UINT64_MAX));
    assert_int_equal(e.count[DMI_RUN_IDLE], 0);
    assert_int_equal(e.blocks, STEP);
    dmi_extents_fini(&e);
}

/* Beyond the largest size that is told apart, runs of all lengths lie together. */
static void runs_beyond_all_sizes(void **state)
{
    (void)state;
    const uint64_t large = UINT64_C(1) << 50, larger = large + large / 2;
    dmi_extents e;
    dmi_extents_init(&e, STEP);
    dmi_run *a = dmi_extents_take(&e, large, UINT64_MAX), *between = dmi_extents_take(&e, 1, UINT64_MAX);
    assert_non_null(between);
    uint64_t at = a->first;
    dmi_extents_leave(&e, a);
    dmi_run *b = dmi_extents_take(&e, larger, UINT64_MAX); /* does not fit where a was */
    assert_true(b->first > at && b->blocks == larger);
    assert_true(dmi_extents_is_valid(&e));
    a = dmi_extents_take(&e, large - 1, UINT64_MAX);
    assert_int_equal(a->first, at);
    assert_true(dmi_extents_is_valid(&e));
    dmi_extents_fini(&e);
}

static void neighbours_become_one(void **state)
{
    (void)state;
    enum { N = 32 };
    dmi_extents e;
    dmi_run *runs[N];
    dmi_extents_init(&e, N);
    for (int i = 0; i < N; i++)
        runs[i] = dmi_extents_take(&e, 1, UINT64_MAX);
    for (int i = 0; i < N; i += 2)
        dmi_extents_leave(&e, runs[i]);
    assert_false(dmi_extents_has_idle(&e, 2));
    for (int i = 1; i < N; i += 2)
        dmi_extents_leave(&e, runs[i]);
    assert_true(dmi_extents_has_idle(&e, N));
    assert_ptr_equal(e.front, e.back);
    dmi_extents_fini(&e);
}

static void no_more_than_may_be_backed(void **state)
{
    (void)state;
    dmi_extents e;
    dmi_extents_init(&e, STEP);
    assert_null(dmi_extents_take(&e, 11, 10));
    dmi_run *run = dmi_extents_take(&e, 10, 10);
    assert_non_null(run);
    assert_null(dmi_extents_take(&e, 1, 0));
    dmi_extents_leave(&e, run);
    assert_non_null(dmi_extents_take(&e, 10, 0)); /* they are backed already */
    dmi_extents_fini(&e);
}

static void sizes_from_one_block_to_a_petabyte(void **state)
{
    (void)state;
    dmi_extents e;
    dmi_extents_init(&e, 1);
    for (unsigned shift = 0; shift < 38; shift++)
        for (uint64_t more = 0; more < 3; more++) {
            dmi_run *run = dmi_extents_take(&e, ((uint64_t)1 << shift) + more, UINT64_MAX);
            assert_non_null(run);
            assert_true(dmi_extents_is_valid(&e));
            if (shift % 2)
                dmi_extents_leave(&e, run);
        }
    assert_true(dmi_extents_is_valid(&e));
    dmi_extents_fini(&e);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(as_a_naive_account_says),
    cmocka_unit_test(idle_blocks_come_first),
    cmocka_unit_test(runs_beyond_all_sizes),
    cmocka_unit_test(neighbours_become_one),
    cmocka_unit_test(no_more_than_may_be_backed),
    cmocka_unit_test(sizes_from_one_block_to_a_petabyte),
};

TEST_MAIN(tests, NULL)
