/*
 * What Ray's own spilling tests check, each as a case of ours, scaled to a store of some MiB.
 *
 *   Ray checks                                             here
 *   bad configuration fails before any process starts      a_bad_configuration_starts_nothing
 *   default directory, override, several used in turn      several_directories (options: test_runtime_options)
 *   a pinned object is never spilled                       a_pinned_object_stays
 *   read again, and passed as an argument: equal           read_again_and_passed_on
 *   100 objects through a small store, 1,000 random gets   a_hundred_objects_and_a_thousand_gets
 *   exact counters of used, spilled, restored              exact_counters
 *   gets while creating                                    gets_while_creating
 *   puts mixed with random gets                            puts_mixed_with_gets
 *   4 returns through a store of two                       four_returns_through_a_store_of_two
 *   all references dropped: nothing on disk                all_dropped
 *   60 % dropped while creating                            most_dropped_while_creating
 *   owner killed: its files vanish                         what_a_dead_worker_owned_is_gone
 *   a get with a tiny timeout in a loop leaks nothing      tiny_timeouts
 *   room made for a task's arguments                       room_for_arguments
 *   thresholds 0.1, default, 1.0                           thresholds
 *   arguments larger than the store                        arguments_larger_than_the_store
 *   1,000 tasks reading more than memory, no thrash        a_thousand_tasks_do_not_thrash
 *   disk over its limit, in put, return, task's put, args  the_disk_is_over_its_limit
 *
 * In test_spilling_faults: a backend that fails at random or is slow, a file deleted behind the runtime's back,
 * leftovers of a crash, lost and not recomputable is an error, Ctrl-C (there: any death) leaves nothing.
 * In test_spill_*: fusing; deletion tolerates missing files (a_directory_that_vanishes, for those with names). Not here:
 * the I/O worker killed (movers are threads of the driver).
 */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/stat.h>

#include "tests/support/disk.h"
#include "tests/support/marked.h"

enum { STORE = 4 * MARKED_MIB, OBJECT = MARKED_MIB / 4, MANY = 100, SEED = 20261125 };

static void begin_with(dm_engine engine, dm_options options)
{
    options.engine = engine;
    options.workers = options.workers ? options.workers : 2;
    options.store_bytes = options.store_bytes ? options.store_bytes : STORE;
    options.log = driver_no_log;
    session_begin_with(&options);
}

static void begin(dm_engine engine)
{
    begin_with(engine, (dm_options){0});
}

static void put_many(dm_ref *refs, int count)
{
    for (int i = 0; i < count; i++)
        refs[i] = marked_put(OBJECT, (uint64_t)i);
}

static void get_at_random(const dm_ref *refs, int count, int times)
{
    uint64_t state = SEED;
    for (int i = 0; i < times; i++) {
        uint64_t which = marked_random(&state) % (uint64_t)count;
        assert_marked(refs[which], OBJECT, which);
    }
}

/* ---- configuration ---- */

static void refuses(dm_options options, dm_status status, const char *words)
{
    residue before;
    residue_begin(&before);
    options.workers = 1;
    options.store_bytes = STORE;
    assert_refused(dm_init(&options), status, words);
    assert_int_equal(dm_worker_pids(NULL, 0), 0);
    assert_no_residue(&before);
}

static void a_bad_configuration_starts_nothing(void **state)
{
    (void)state;
    refuses((dm_options){.spill_dir = "/there/is/no/such/directory"}, DM_ERR_OPTION, "/there/is");
    refuses((dm_options){.spill_dir = "/dev/null"}, DM_ERR_OPTION, "/dev/null");
    refuses((dm_options){.spill_dir = ""}, DM_ERR_OPTION, "spill_dir");
    refuses((dm_options){.spill_threshold = 1.5}, DM_ERR_OPTION, "spill_threshold");
    refuses((dm_options){.spill_threshold = -0.1}, DM_ERR_OPTION, "spill_threshold");
    refuses((dm_options){.spill_limit_bytes = 5}, DM_ERR_OPTION, "spill_limit_bytes");
    refuses((dm_options){.spill_acceleration = 65}, DM_ERR_OPTION, "spill_acceleration");
    refuses((dm_options){.spill_dir = "/dev/shm"}, DM_ERR_OPTION, "/dev/shm");
}

static void several_directories(dm_engine engine)
{
    residue before;
    char one[300], two[300], both[700];
    dm_ref refs[MANY];
    residue_begin(&before);
    snprintf(one, sizeof one, "%s/one", test_directory());
    snprintf(two, sizeof two, "%s/two", test_directory());
    snprintf(both, sizeof both, "%s:%s", one, two);
    assert_int_equal(mkdir(one, 0700) | mkdir(two, 0700), 0);
    begin_with(engine, (dm_options){.spill_dir = both});
    put_many(refs, MANY);
    assert_soon(marked_stats().spilling_bytes == 0);
    assert_true(disk_bytes_below(one) > 0);
    assert_true(disk_bytes_below(two) > 0);
    get_at_random(refs, MANY, 50);
    marked_release(refs, MANY);
    assert_soon(marked_stats().refs == 0 && marked_stats().disk_bytes == 0);
    dm_shutdown();
    assert_int_equal(rmdir(one) | rmdir(two), 0);
    assert_no_residue(&before);
}
ON_ENGINES(several_directories)

/* ---- what is read ---- */

static void a_pinned_object_stays(dm_engine engine)
{
    residue before;
    dm_ref pinned, refs[MANY];
    dm_view view;
    residue_begin(&before);
    begin(engine);
    pinned = marked_put(OBJECT, 1000);
    assert_ok(dm_get(pinned, &view));
    put_many(refs, MANY);
    assert_true(marked_stats().spilled_bytes > 0);
    assert_false(disk_has(marked_word(1000, 1000)));
    assert_true(is_marked(view.data, view.bytes, 1000));
    dm_view_release(&view);
    assert_ok(dm_release(pinned));
    marked_release(refs, MANY);
    marked_end(&before);
}
ON_ENGINES(a_pinned_object_stays)

static void read_again_and_passed_on(dm_engine engine)
{
    residue before;
    dm_ref refs[MANY], checked[MANY];
    int good;
    residue_begin(&before);
    begin(engine);
    put_many(refs, MANY);
    for (int i = 0; i < MANY; i++) {
        assert_marked(refs[i], OBJECT, (uint64_t)i);
        checked[i] = dm_remote(marked_check, i, refs[i]);
    }
    for (int i = 0; i < MANY; i++) {
        assert_ok(dm_get(checked[i], &good));
        assert_int_equal(good, 1);
    }
    marked_release(refs, MANY);
    marked_release(checked, MANY);
    marked_end(&before);
}
ON_ENGINES(read_again_and_passed_on)

static void a_hundred_objects_and_a_thousand_gets(dm_engine engine)
{
    residue before;
    dm_ref refs[MANY];
    residue_begin(&before);
    begin(engine);
    put_many(refs, MANY);
    get_at_random(refs, MANY, 1000);
    assert_true(marked_stats().store_committed <= STORE);
    marked_release(refs, MANY);
    marked_end(&before);
}
ON_ENGINES(a_hundred_objects_and_a_thousand_gets)

static void exact_counters(dm_engine engine)
{
    enum { WHOLE = OBJECT + 128 };
    residue before;
    dm_ref refs[MANY];
    residue_begin(&before);
    begin(engine);
    put_many(refs, MANY);
    assert_soon(marked_stats().spilling_bytes == 0);
    dm_stats stats = marked_stats();
    assert_int_equal(stats.objects, MANY);
    assert_int_equal(stats.store_used + stats.spilled_bytes, (size_t)MANY * WHOLE);
    assert_int_equal(stats.spilled_bytes, stats.spilled_objects * WHOLE);
    assert_true(stats.spilled_total >= stats.spilled_bytes && stats.spilled_total % WHOLE == 0);
    assert_int_equal(stats.restored_total, 0);
    assert_true(disk_bytes() >= (int64_t)stats.spilled_bytes);
    assert_true((int64_t)stats.disk_bytes >= (int64_t)stats.spilled_bytes);
    assert_marked(refs[0], OBJECT, 0);
    assert_int_equal(marked_stats().restored_total, WHOLE);
    assert_marked(refs[0], OBJECT, 0);
    assert_int_equal(marked_stats().restored_total, WHOLE); /* once */
    marked_release(refs, MANY);
    marked_end(&before);
    assert_int_equal(disk_bytes(), 0);
}
ON_ENGINES(exact_counters)

static void gets_while_creating(dm_engine engine)
{
    residue before;
    dm_ref refs[MANY];
    residue_begin(&before);
    begin(engine);
    for (int i = 0; i < MANY; i++) {
        refs[i] = dm_remote(marked_make, OBJECT, i);
        if (i >= 8)
            assert_marked(refs[i - 8], OBJECT, (uint64_t)i - 8);
    }
    for (int i = MANY - 1; i >= 0; i--)
        assert_marked(refs[i], OBJECT, (uint64_t)i);
    marked_release(refs, MANY);
    marked_end(&before);
}
ON_ENGINES(gets_while_creating)

static void puts_mixed_with_gets(dm_engine engine)
{
    residue before;
    dm_ref refs[MANY];
    uint64_t state = SEED;
    residue_begin(&before);
    begin(engine);
    for (int i = 0; i < MANY; i++) {
        refs[i] = marked_put(OBJECT, (uint64_t)i);
        for (int j = 0; j < 3; j++) {
            uint64_t which = marked_random(&state) % (uint64_t)(i + 1);
            assert_marked(refs[which], OBJECT, which);
        }
    }
    marked_release(refs, MANY);
    marked_end(&before);
}
ON_ENGINES(puts_mixed_with_gets)

static void four_returns_through_a_store_of_two(dm_engine engine)
{
    enum { HALF = STORE * 3 / 8 };
    residue before;
    dm_ref refs[4];
    residue_begin(&before);
    begin(engine);
    for (int i = 0; i < 4; i++)
        refs[i] = dm_remote(marked_make, HALF, i);
    for (int i = 0; i < 8; i++)
        assert_marked(refs[i % 4], HALF, (uint64_t)i % 4);
    marked_release(refs, 4);
    marked_end(&before);
}
ON_ENGINES(four_returns_through_a_store_of_two)

/* ---- what is dropped ---- */

static void all_dropped(dm_engine engine)
{
    residue before;
    dm_ref refs[MANY];
    residue_begin(&before);
    begin(engine);
    put_many(refs, MANY);
    assert_true(disk_bytes() > 0);
    marked_release(refs, MANY);
    assert_soon(marked_stats().refs == 0);
    assert_soon(disk_bytes() == 0); /* while the session lives */
    marked_end(&before);
}
ON_ENGINES(all_dropped)

static void most_dropped_while_creating(dm_engine engine)
{
    residue before;
    dm_ref refs[MANY], kept[MANY];
    int count = 0;
    uint64_t names[MANY];
    residue_begin(&before);
    begin(engine);
    for (int i = 0; i < MANY; i++) {
        refs[i] = i % 2 ? marked_put(OBJECT, (uint64_t)i) : dm_remote(marked_make, OBJECT, i);
        if (i < 10 || i % 10 < 4) {
            names[count] = (uint64_t)i;
            kept[count++] = refs[i];
        } else {
            assert_ok(dm_release(refs[i]));
        }
    }
    for (int i = 0; i < count; i++)
        assert_marked(kept[i], OBJECT, names[i]);
    assert_soon(marked_stats().refs == (uint64_t)count);
    assert_true(marked_stats().disk_bytes <= (uint64_t)count * (OBJECT + 8192));
    marked_release(kept, count);
    marked_end(&before);
}
ON_ENGINES(most_dropped_while_creating)

/* Puts more than the store holds, says so, and stays. */
DM_REMOTE(puts_and_stays)
{
    dm_ref refs[40];
    for (uint64_t i = 0; i < 40; i++)
        refs[i] = marked_put(OBJECT, i);
    if (!marked_is_there(refs[0], OBJECT, 0))
        return dm_fail(call, "%s", dm_last_error());
    marked_note_run(1);
    for (;;)
        pause();
}

static void what_a_dead_worker_owned_is_gone(void **state)
{
    (void)state;
    residue before;
    char path[300];
    int pid;
    residue_begin(&before);
    begin_with(DM_ENGINE_PROCESSES, (dm_options){.workers = 1, .retries = DM_NONE});
    dm_ref ref = dm_remote(puts_and_stays);
    marked_path(path, 1);
    assert_soon(access(path, F_OK) == 0);
    assert_true(disk_bytes() > 0);
    assert_int_equal(dm_worker_pids(&pid, 1), 1);
    assert_true(watch_kill(pid));
    assert_refused(dm_get(ref, (void *)NULL), DM_ERR_TASK_CRASH, "signal 9");
    assert_soon(marked_stats().objects == 0);
    assert_soon(disk_bytes() == 0);
    assert_int_equal(marked_runs(1), 1);
    assert_ok(dm_release(ref));
    marked_end(&before);
}

static void tiny_timeouts(dm_engine engine)
{
    residue before;
    dm_ref refs[MANY];
    uint64_t state = SEED;
    residue_begin(&before);
    begin(engine);
    put_many(refs, MANY);
    for (int i = 0; i < 1000; i++) {
        dm_view view;
        uint64_t which = marked_random(&state) % MANY;
        dm_status status = dm_get_within(refs[which], &view, i % 2);
        if (status == DM_OK) {
            assert_true(is_marked(view.data, view.bytes, which));
            dm_view_release(&view);
        } else {
            assert_int_equal(status, DM_ERR_TIMEOUT);
        }
    }
    assert_true(marked_stats().store_committed <= STORE);
    get_at_random(refs, MANY, 100);
    marked_release(refs, MANY);
    marked_end(&before);
}
ON_ENGINES(tiny_timeouts)

/* ---- arguments ---- */

static void room_for_arguments(dm_engine engine)
{
    enum { EIGHT = 8 };
    residue before;
    dm_ref refs[MANY], checked[10];
    int good;
    residue_begin(&before);
    begin(engine);
    put_many(refs, MANY);
    for (int i = 0; i < 10; i++) { /* half a store for each */
        dm_value values[1 + EIGHT] = {dm_value_int(i * EIGHT)};
        for (int j = 0; j < EIGHT; j++)
            values[j + 1] = dm_value_ref(refs[i * EIGHT + j]);
        checked[i] = dm_submit(&marked_check, NULL, values, 1 + EIGHT);
    }
    for (int i = 0; i < 10; i++) {
        assert_ok(dm_get(checked[i], &good));
        assert_int_equal(good, EIGHT);
    }
    marked_release(checked, 10);
    marked_release(refs, MANY);
    marked_end(&before);
}
ON_ENGINES(room_for_arguments)

static void thresholds(dm_engine engine)
{
    static const double shares[] = {0.1, 0, 1.0};
    for (int i = 0; i < 3; i++) {
        residue before;
        dm_ref refs[40];
        double share = shares[i] == 0 ? 0.8 : shares[i];
        residue_begin(&before);
        begin_with(engine, (dm_options){.spill_threshold = shares[i]});
        double surely = share < 0.8 ? share : 0.8; /* the rest workers may have, and give it back when asked: in a while */
        int few = (int)(surely * STORE / (OBJECT * 5 / 4)) - 1; /* what the heap takes for one */
        put_many(refs, few);
        assert_int_equal(marked_stats().spilled_total, 0);
        for (int j = few; j < 40; j++)
            refs[j] = marked_put(OBJECT, (uint64_t)j);
        /* Between two writes nothing is being written, though more is due. */
        assert_soon(marked_stats().spilling_bytes == 0 && (double)marked_stats().store_used <= share * STORE);
        get_at_random(refs, 40, 50);
        marked_release(refs, 40);
        marked_end(&before);
    }
}
ON_ENGINES(thresholds)

static void arguments_larger_than_the_store(dm_engine engine)
{
    enum { N = 20 };
    residue before;
    dm_ref refs[N];
    dm_value values[1 + N] = {dm_value_int(0)};
    residue_begin(&before);
    begin_with(engine, (dm_options){.store_wait_ms = 300});
    put_many(refs, N);
    for (int i = 0; i < N; i++)
        values[i + 1] = dm_value_ref(refs[i]);
    dm_ref checked = dm_submit(&marked_check, NULL, values, 1 + N);
    assert_refused(dm_get_within(checked, (void *)NULL, 20000), DM_ERR_STORE_FULL, "marked_check");
    assert_ok(dm_release(checked));
    get_at_random(refs, N, 20); /* it goes on */
    marked_release(refs, N);
    marked_end(&before);
}
ON_ENGINES(arguments_larger_than_the_store)

static void a_thousand_tasks_do_not_thrash(dm_engine engine)
{
    enum { TASKS = 1000, VALUES = 48 };
    residue before;
    dm_ref refs[VALUES], checked[TASKS];
    int good;
    residue_begin(&before);
    begin(engine);
    put_many(refs, VALUES);
    for (int i = 0; i < TASKS; i++) { /* those that read the same come together */
        int which = i * VALUES / TASKS;
        checked[i] = dm_remote(marked_check, which, refs[which]);
    }
    for (int i = 0; i < TASKS; i++) {
        assert_ok(dm_get(checked[i], &good));
        assert_int_equal(good, 1);
    }
    assert_true(marked_stats().restored_total < (uint64_t)3 * VALUES * OBJECT);
    marked_release(checked, TASKS);
    marked_release(refs, VALUES);
    marked_end(&before);
}
ON_ENGINES(a_thousand_tasks_do_not_thrash)

/* ---- a disk over its limit ---- */

DM_REMOTE(puts_one)
{
    size_t bytes;
    dm_view view;
    DM_TRY(dm_arg(call, 0, &bytes));
    dm_ref ref = marked_put(bytes, 77);
    if (ref.id == 0)
        return dm_fail(call, "put: %s", dm_last_error());
    DM_TRY(dm_get(ref, &view));
    dm_view_release(&view);
    return DM_OK;
}

static dm_status get_nothing(dm_ref ref)
{
    dm_status status = dm_get_within(ref, (void *)NULL, 20000);
    dm_release(ref);
    return status;
}

/* Puts until there is no more room, in memory or on disk; how many there are. */
static int fill_up(dm_ref *refs, int most)
{
    for (int i = 0; i < most; i++) {
        refs[i] = marked_put(OBJECT, (uint64_t)i);
        if (refs[i].id == 0)
            return i;
    }
    fail_msg("it is never full");
    return 0;
}

static void the_disk_is_over_its_limit(dm_engine engine)
{
    enum { BIG = 6 * OBJECT };
    residue before;
    dm_ref refs[MANY];
    residue_begin(&before);
    begin_with(engine, (dm_options){.spill_limit_bytes = 4 * MARKED_MIB, .store_wait_ms = 300});
    int count = fill_up(refs, MANY);
    assert_true(count >= 20 && count < 34);
    size_t size = BIG;
    dm_buffer buffer;
    assert_refused(dm_create(DM_U8, 1, &size, &buffer), DM_ERR_DISK_FULL, "limit");
    assert_refused(get_nothing(dm_remote(marked_make, BIG, 1)), DM_ERR_DISK_FULL, "may be spilled");
    assert_refused(get_nothing(dm_remote(puts_one, BIG)), DM_ERR_TASK_FAILED, "may be spilled");
    for (int i = 0; i < count; i++)
        assert_marked(refs[i], OBJECT, (uint64_t)i);
    marked_release(refs, count / 2);
    for (int i = count / 2; i < count; i++)
        assert_marked(refs[i], OBJECT, (uint64_t)i);
    assert_ok(get_nothing(dm_remote(marked_make, BIG, 1)));
    assert_ok(get_nothing(dm_remote(puts_one, BIG)));
    assert_ok(get_nothing(marked_put(BIG, 2)));
    marked_release(refs + count / 2, count - count / 2);
    marked_end(&before);
}
ON_ENGINES(the_disk_is_over_its_limit)

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_bad_configuration_starts_nothing),
    ENGINE_CASES(several_directories),
    ENGINE_CASES(a_pinned_object_stays),
    ENGINE_CASES(read_again_and_passed_on),
    ENGINE_CASES(a_hundred_objects_and_a_thousand_gets),
    ENGINE_CASES(exact_counters),
    ENGINE_CASES(gets_while_creating),
    ENGINE_CASES(puts_mixed_with_gets),
    ENGINE_CASES(four_returns_through_a_store_of_two),
    ENGINE_CASES(all_dropped),
    ENGINE_CASES(most_dropped_while_creating),
    cmocka_unit_test(what_a_dead_worker_owned_is_gone),
    ENGINE_CASES(tiny_timeouts),
    ENGINE_CASES(room_for_arguments),
    ENGINE_CASES(thresholds),
    ENGINE_CASES(arguments_larger_than_the_store),
    ENGINE_CASES(a_thousand_tasks_do_not_thrash),
    ENGINE_CASES(the_disk_is_over_its_limit),
};
TEST_MAIN(tests, NULL)
