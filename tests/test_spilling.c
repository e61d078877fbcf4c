/*
 * A working set larger than the store just works: what does not fit goes to disk and comes back when it
 * is read, by anybody, byte for byte; what is being read stays; in the end nothing is left.
 */
#include "tests/support/test.h"

enum { MIB = 1 << 20, STORE = 16 * MIB, OBJECT = MIB, COUNT = 40, SEED = 20261125 };

/* Bytes that say whose they are, and compress like nothing in particular. */
static void fill(uint64_t *words, size_t bytes, uint64_t whose)
{
    for (size_t i = 0; i < bytes / 8; i++)
        words[i] = (whose << 32 | i) * 0x9e3779b97f4a7c15u;
}

static bool is_filled(const void *data, size_t bytes, uint64_t whose)
{
    const uint64_t *words = data;
    for (size_t i = 0; i < bytes / 8; i++)
        if (words[i] != (whose << 32 | i) * 0x9e3779b97f4a7c15u)
            return false;
    return true;
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static dm_ref put_filled(size_t bytes, uint64_t whose)
{
    dm_buffer buffer;
    size_t words = bytes / 8;
    if (dm_create(DM_U64, 1, &words, &buffer) != DM_OK)
        return DM_NO_REF;
    fill(buffer.data, bytes, whose);
    return dm_seal(&buffer);
}

DM_REMOTE(makes)
{
    size_t bytes, words;
    uint64_t whose;
    dm_buffer buffer;
    DM_TRY(dm_arg(call, 0, &bytes));
    DM_TRY(dm_arg(call, 1, &whose));
    words = bytes / 8;
    DM_TRY(dm_create(DM_U64, 1, &words, &buffer));
    fill(buffer.data, bytes, whose);
    return dm_return(call, &buffer);
}

/* How many of its arguments, after the first, are what they should be: filled as whose, whose + 1, ... */
DM_REMOTE(checks)
{
    uint64_t whose;
    int good = 0;
    DM_TRY(dm_arg(call, 0, &whose));
    for (int i = 1; i < dm_arg_count(call); i++) {
        dm_view view;
        DM_TRY(dm_arg(call, i, &view));
        good += is_filled(view.data, view.bytes, whose + (uint64_t)i - 1);
    }
    return dm_return(call, good);
}

/* Makes `count` values of its own, more than the store holds, and reads them back at random. */
DM_REMOTE(juggles)
{
    int count, good = 0;
    uint64_t state = SEED;
    DM_TRY(dm_arg(call, 0, &count));
    dm_ref refs[COUNT];
    for (int i = 0; i < count; i++)
        refs[i] = put_filled(OBJECT, (uint64_t)i);
    for (int i = 0; i < 2 * count; i++) {
        uint64_t which = next_random(&state) % (uint64_t)count;
        dm_view view;
        DM_TRY(dm_get(refs[which], &view));
        good += is_filled(view.data, view.bytes, which);
        dm_view_release(&view);
    }
    return dm_return(call, good);
}

/* Tasks of a task: their results are more than the store holds. */
DM_REMOTE(delegates)
{
    int count, good = 0;
    DM_TRY(dm_arg(call, 0, &count));
    dm_ref refs[COUNT];
    for (int i = 0; i < count; i++)
        refs[i] = dm_remote(makes, OBJECT, i);
    for (int i = 0; i < count; i++) {
        dm_view view;
        DM_TRY(dm_get(refs[i], &view));
        good += is_filled(view.data, view.bytes, (uint64_t)i);
        dm_view_release(&view);
    }
    return dm_return(call, good);
}

static void begin(dm_engine engine)
{
    session_begin_with(
        &(dm_options){.engine = engine, .workers = 2, .store_bytes = STORE, .log = driver_no_log});
}

static dm_stats stats_now(void)
{
    dm_stats stats = {0};
    assert_ok(dm_stats_get(&stats));
    return stats;
}

static void end_clean(const residue *before)
{
    assert_soon(stats_now().refs == 0);
    dm_stats stats = stats_now();
    assert_int_equal(stats.objects, 0);
    assert_int_equal(stats.store_used, 0);
    assert_int_equal(stats.spilled_objects, 0);
    assert_soon(stats_now().disk_bytes == 0);
    dm_shutdown();
    assert_no_residue(before);
}

static void get_and_check(dm_ref ref, uint64_t whose)
{
    dm_view view;
    assert_ok(dm_get(ref, &view));
    assert_true(is_filled(view.data, view.bytes, whose));
    dm_view_release(&view);
}

static void get_at_random(const dm_ref *refs, int times)
{
    uint64_t state = SEED;
    for (int i = 0; i < times; i++) {
        uint64_t which = next_random(&state) % COUNT;
        get_and_check(refs[which], which);
    }
}

static void release_all(const dm_ref *refs, int count)
{
    for (int i = 0; i < count; i++)
        assert_ok(dm_release(refs[i]));
}

static void puts_beyond_memory(dm_engine engine)
{
    residue before;
    dm_ref refs[COUNT];
    residue_begin(&before);
    begin(engine);
    for (int i = 0; i < COUNT; i++)
        refs[i] = put_filled(OBJECT, (uint64_t)i);
    dm_stats stats = stats_now();
    assert_true(stats.store_used <= STORE);
    assert_int_equal(stats.objects, COUNT);
    assert_true(stats.spilled_total >= (size_t)COUNT * OBJECT - STORE);
    get_at_random(refs, 80);
    assert_true(stats_now().restored_total > 0);
    release_all(refs, COUNT);
    end_clean(&before);
}
ON_ENGINES(puts_beyond_memory)

static void results_beyond_memory(dm_engine engine)
{
    residue before;
    dm_ref refs[COUNT];
    residue_begin(&before);
    begin(engine);
    for (int i = 0; i < COUNT; i++)
        refs[i] = dm_remote(makes, OBJECT, i);
    get_at_random(refs, 80);
    release_all(refs, COUNT);
    end_clean(&before);
}
ON_ENGINES(results_beyond_memory)

static void arguments_beyond_memory(dm_engine engine)
{
    residue before;
    dm_ref refs[COUNT], checked[COUNT];
    int good;
    residue_begin(&before);
    begin(engine);
    for (int i = 0; i < COUNT; i++)
        refs[i] = put_filled(OBJECT, (uint64_t)i);
    for (int i = 0; i < COUNT - 1; i++)
        checked[i] = dm_remote(checks, i, refs[i], refs[i + 1]);
    for (int i = 0; i < COUNT - 1; i++) {
        assert_ok(dm_get(checked[i], &good));
        assert_int_equal(good, 2);
    }
    release_all(checked, COUNT - 1);
    release_all(refs, COUNT);
    end_clean(&before);
}
ON_ENGINES(arguments_beyond_memory)

static void a_task_beyond_memory(dm_engine engine)
{
    residue before;
    int good;
    residue_begin(&before);
    begin(engine);
    dm_ref ref = dm_remote(juggles, COUNT);
    assert_ok(dm_get(ref, &good));
    assert_int_equal(good, 2 * COUNT);
    assert_ok(dm_release(ref));
    end_clean(&before);
}
ON_ENGINES(a_task_beyond_memory)

static void tasks_of_a_task_beyond_memory(dm_engine engine)
{
    residue before;
    int good;
    residue_begin(&before);
    begin(engine);
    dm_ref ref = dm_remote(delegates, COUNT);
    assert_ok(dm_get(ref, &good));
    assert_int_equal(good, COUNT);
    assert_ok(dm_release(ref));
    end_clean(&before);
}
ON_ENGINES(tasks_of_a_task_beyond_memory)

/* What is lent stays where it is, whatever else comes and goes. */
static void views_stay(dm_engine engine)
{
    enum { HELD = 4 };
    residue before;
    dm_ref held[HELD], refs[COUNT];
    dm_view views[HELD], again;
    residue_begin(&before);
    begin(engine);
    for (int i = 0; i < HELD; i++) {
        held[i] = put_filled(OBJECT, 1000 + (uint64_t)i);
        assert_ok(dm_get(held[i], &views[i]));
    }
    for (int i = 0; i < COUNT; i++)
        refs[i] = put_filled(OBJECT, (uint64_t)i);
    for (int i = 0; i < HELD; i++) {
        assert_true(is_filled(views[i].data, views[i].bytes, 1000 + (uint64_t)i));
        assert_ok(dm_get(held[i], &again));
        assert_ptr_equal(again.data, views[i].data);
        dm_view_release(&again);
        dm_view_release(&views[i]);
    }
    release_all(held, HELD);
    release_all(refs, COUNT);
    end_clean(&before);
}
ON_ENGINES(views_stay)

static void small_objects_beyond_memory(dm_engine engine)
{
    enum { SMALL = 2000, MANY = 12000 };
    residue before;
    uint64_t state = SEED;
    dm_ref *refs = calloc(MANY, sizeof *refs);
    residue_begin(&before);
    begin(engine);
    for (int i = 0; i < MANY; i++)
        refs[i] = put_filled(SMALL, (uint64_t)i);
    assert_true(stats_now().spilled_total > 0);
    for (int i = 0; i < 1000; i++) {
        uint64_t which = next_random(&state) % MANY;
        get_and_check(refs[which], which);
    }
    release_all(refs, MANY);
    free(refs);
    end_clean(&before);
}
ON_ENGINES(small_objects_beyond_memory)

/* While something is on disk, room is kept for it to come back; when nothing is, all of the store is there again. */
static void room_kept_for_a_return_comes_back(dm_engine engine)
{
    enum { LARGE = 7 * MIB / 2, MOST = 13 * MIB };
    residue before;
    dm_ref refs[COUNT / 4];
    residue_begin(&before);
    begin(engine);
    for (int i = 0; i < COUNT / 4; i++)
        refs[i] = put_filled(LARGE, (uint64_t)i);
    assert_true(stats_now().spilled_total > 0);
    release_all(refs, COUNT / 4);
    dm_ref most = put_filled(MOST, 1);
    if (most.id == 0)
        fail_msg("%s", dm_last_error());
    get_and_check(most, 1);
    assert_ok(dm_release(most));
    end_clean(&before);
}
ON_ENGINES(room_kept_for_a_return_comes_back)

/* ---- arrays by their type ---- */

/* Whole numbers that grow slowly, with noise in the lowest bits, as the type says. */
static void fill_smoothly(void *data, dm_dtype dtype, uint64_t *state)
{
    for (size_t i = 0; dtype == DM_F32 && i < OBJECT / sizeof(float); i++)
        ((float *)data)[i] = (float)(1000 + i / 64 + next_random(state) % 32);
    for (size_t i = 0; dtype == DM_F64 && i < OBJECT / sizeof(double); i++)
        ((double *)data)[i] = (double)(1000 + i / 64 + next_random(state) % 32);
    for (size_t i = 0; dtype == DM_I16 && i < OBJECT / sizeof(int16_t); i++)
        ((int16_t *)data)[i] = (int16_t)(1000 + i / 64 % 20000 + next_random(state) % 32);
}

/* Of so many bytes as it was, how many on disk? */
static double ratio_of(dm_dtype values, size_t element, bool as_bytes)
{
    static char data[OBJECT];
    uint64_t state = SEED;
    dm_ref refs[COUNT];
    begin(DM_ENGINE_SERIAL);
    for (int i = 0; i < COUNT; i++) {
        fill_smoothly(data, values, &state);
        refs[i] = as_bytes ? dm_put(&DM_BYTES(data, OBJECT)) : dm_put(&DM_ARRAY(data, values, OBJECT / element));
    }
    for (int i = 0; i < COUNT; i++)
        assert_ok(dm_get(refs[i], (void *)NULL));
    dm_stats stats = stats_now();
    assert_true(stats.spilled_total != 0 && stats.restored_total != 0);
    release_all(refs, COUNT);
    dm_shutdown();
    return (double)stats.spilled_total / (double)stats.spilled_stored;
}

/* What an array's elements are is known, and their bytes are sorted by weight; bytes are left as they are. */
static void arrays_shrink_more_than_their_bytes(void **state)
{
    (void)state;
    static const struct {
        dm_dtype dtype;
        size_t element;
    } types[] = {{DM_F32, sizeof(float)}, {DM_F64, sizeof(double)}, {DM_I16, sizeof(int16_t)}};
    for (int i = 0; i < 3; i++) {
        double array = ratio_of(types[i].dtype, types[i].element, false);
        double bytes = ratio_of(types[i].dtype, types[i].element, true);
        print_message("%zu bytes an element: %.2f, and %.2f as bytes\n", types[i].element, array, bytes);
        assert_true(array > bytes);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(arrays_shrink_more_than_their_bytes),
    ENGINE_CASES(room_kept_for_a_return_comes_back),
    ENGINE_CASES(puts_beyond_memory),          ENGINE_CASES(results_beyond_memory),
    ENGINE_CASES(arguments_beyond_memory),     ENGINE_CASES(a_task_beyond_memory),
    ENGINE_CASES(tasks_of_a_task_beyond_memory), ENGINE_CASES(views_stay),
    ENGINE_CASES(small_objects_beyond_memory),
};
TEST_MAIN(tests, NULL)
