/*
 * A full store that may not spill is said to be full, after a wait, with sizes; never a crash. Room that is released is
 * found again, whoever made the objects and whoever needs it.
 */
#include <signal.h>
#include <stdatomic.h>

#include "tests/support/notes.h"
#include "tests/support/test.h"

enum { STORE = 32 << 20, MIB = 1 << 20, WAIT_MS = 100 };

DM_REMOTE(makes)
{
    size_t bytes;
    dm_buffer buffer;
    DM_TRY(dm_arg(call, 0, &bytes));
    DM_TRY(dm_create(DM_U8, 1, &bytes, &buffer));
    memset(buffer.data, 7, bytes);
    return dm_return(call, &buffer);
}

DM_REMOTE(copies_out)
{
    size_t bytes;
    DM_TRY(dm_arg(call, 0, &bytes));
    char *data = calloc(1, bytes);
    dm_status status = dm_return(call, &DM_BYTES(data, bytes));
    free(data);
    return status;
}

DM_REMOTE(puts_and_gets)
{
    size_t bytes;
    DM_TRY(dm_arg(call, 0, &bytes));
    char *data = calloc(1, bytes);
    dm_ref ref = dm_put(&DM_BYTES(data, bytes));
    free(data);
    dm_view view;
    DM_TRY(dm_get(ref, &view));
    size_t found = view.bytes;
    dm_view_release(&view);
    return dm_return(call, found);
}

DM_REMOTE(counts)
{
    dm_view view;
    DM_TRY(dm_arg(call, 0, &view));
    return dm_return(call, view.bytes);
}

/* What test and workers know in common. */
typedef struct notes {
    _Atomic int readers;
    _Atomic bool gate;
} notes;

static notes *common;

static void set_up_worker(void)
{
    common = notes_open(sizeof *common);
}

/* Keeps its arguments in memory. */
DM_REMOTE(reads_slowly)
{
    dm_view view;
    for (int i = 0; i < dm_arg_count(call); i++)
        DM_TRY(dm_arg(call, i, &view));
    atomic_fetch_add(&common->readers, 1);
    while (!atomic_load(&common->gate))
        watch_pause();
    return DM_OK;
}

/* The same in a task without arguments. */
DM_REMOTE(is_busy)
{
    (void)call;
    atomic_fetch_add(&common->readers, 1);
    while (!atomic_load(&common->gate))
        watch_pause();
    return DM_OK;
}

/* As many objects of so many bytes as there are places. */
DM_REMOTE(makes_many)
{
    size_t size;
    DM_TRY(dm_arg(call, 0, &size));
    char *data = calloc(1, size);
    dm_status status = DM_OK;
    for (int i = 0; i < dm_return_count(call) && status == DM_OK; i++)
        status = dm_return_at(call, i, &DM_BYTES(data, size));
    free(data);
    return status;
}

static char bytes[STORE];

static void begin(dm_engine engine, int workers)
{
    session_begin_with(&(dm_options){.engine = engine, .workers = workers, .store_bytes = STORE,
                                     .store_wait_ms = WAIT_MS, .spill_policy = DM_SPILL_OFF, .log = driver_no_log});
}

static dm_status get_nothing(dm_ref ref)
{
    dm_status status = dm_get(ref, (void *)NULL);
    dm_release(ref);
    return status;
}

static void all_gone(void)
{
    dm_stats stats = {0};
    assert_soon(dm_stats_get(&stats) == DM_OK && stats.refs == 0);
    assert_int_equal(stats.objects, 0);
    assert_int_equal(stats.store_used, 0);
}

static void larger_than_the_store(dm_engine engine)
{
    begin(engine, 1);
    int64_t start = watch_now_ms();
    assert_refused(get_nothing(dm_put(&DM_BYTES(bytes, STORE))), DM_ERR_STORE_FULL, "33554432 bytes");
    assert_true(watch_now_ms() - start < WAIT_MS); /* it never will fit: no reason to wait */
    dm_buffer buffer;
    size_t size = STORE;
    assert_refused(dm_create(DM_U8, 1, &size, &buffer), DM_ERR_STORE_FULL, "no room for");
    assert_refused(get_nothing(dm_remote(makes, size)), DM_ERR_STORE_FULL, "makes");
    assert_refused(get_nothing(dm_remote(copies_out, size)), DM_ERR_STORE_FULL, "33554");
    assert_refused(get_nothing(dm_remote(puts_and_gets, size)), DM_ERR_STORE_FULL, "DM_STORE_BYTES");
    assert_refused(get_nothing(dm_remote(counts, &DM_BYTES(bytes, STORE))), DM_ERR_STORE_FULL, "argument 0");
    size_t found;
    dm_ref ref = dm_remote(counts, &DM_BYTES(bytes, MIB)); /* it goes on */
    assert_ok(dm_get(ref, &found));
    assert_int_equal(found, MIB);
    dm_release(ref);
    all_gone();
    dm_shutdown();
}
ON_ENGINES(larger_than_the_store)

/* Fill the store with objects of the driver; who comes then is refused, and served when one goes. */
static void full_of_puts(dm_engine engine)
{
    enum { MOST = 64 };
    dm_ref refs[MOST];
    int count = 0;
    begin(engine, 1);
    for (; count < MOST; count++) {
        refs[count] = dm_put(&DM_BYTES(bytes, MIB));
        if (dm_get(refs[count], (void *)NULL) != DM_OK)
            break;
    }
    assert_true(count >= STORE / MIB / 2 && count < STORE / MIB);
    assert_refused(get_nothing(refs[count]), DM_ERR_STORE_FULL, "objects");
    int64_t start = watch_now_ms();
    assert_refused(get_nothing(dm_remote(makes, 8 * MIB)), DM_ERR_STORE_FULL, "");
    assert_true(watch_now_ms() - start >= WAIT_MS);
    dm_view view;
    assert_ok(dm_get(refs[0], &view)); /* what is there is there */
    assert_int_equal(view.bytes, MIB);
    dm_view_release(&view);
    for (int i = 0; i < count; i++)
        assert_ok(dm_release(refs[i]));
    assert_ok(get_nothing(dm_remote(makes, 8 * MIB)));
    assert_ok(get_nothing(dm_put(&DM_BYTES(bytes, 8 * MIB))));
    all_gone();
    dm_shutdown();
}
ON_ENGINES(full_of_puts)

static void half_a_hundred_times(dm_engine engine)
{
    begin(engine, 1);
    for (int i = 0; i < 100; i++) {
        dm_ref ref = dm_put(&DM_BYTES(bytes, STORE / 2 - MIB));
        assert_ok(dm_get(ref, (void *)NULL));
        assert_ok(dm_release(ref));
    }
    all_gone();
    dm_shutdown();
}
ON_ENGINES(half_a_hundred_times)

/* What one worker made and the driver released makes room for another, and for the driver. */
static void room_goes_round(dm_engine engine)
{
    begin(engine, 2);
    for (int i = 0; i < 30; i++) {
        dm_ref results[2], put;
        for (int j = 0; j < 2; j++)
            results[j] = dm_remote(makes, 8 * MIB);
        for (int j = 0; j < 2; j++)
            assert_ok(get_nothing(results[j]));
        put = dm_put(&DM_BYTES(bytes, 14 * MIB));
        assert_ok(get_nothing(put));
    }
    all_gone();
    dm_shutdown();
}
ON_ENGINES(room_goes_round)

static void sizes_vary(dm_engine engine)
{
    unsigned seed = 31;
    begin(engine, 2);
    for (int i = 0; i < 200; i++) {
        size_t size = 1 + (size_t)rand_r(&seed) % (6 * MIB);
        dm_ref made = dm_remote(makes, size), counted = dm_remote(counts, made);
        dm_ref put = dm_put(&DM_BYTES(bytes, size / 2)), other = dm_remote(counts, put);
        size_t found;
        assert_ok(dm_get(counted, &found));
        assert_int_equal(found, size);
        assert_ok(dm_get(other, &found));
        assert_int_equal(found, size / 2);
        dm_release(made), dm_release(counted), dm_release(put), dm_release(other);
    }
    all_gone();
    dm_shutdown();
}
ON_ENGINES(sizes_vary)

/* An argument too long for a record is an object for as long as its task needs it. */
static void long_arguments_go_away(dm_engine engine)
{
    begin(engine, 1);
    for (int i = 0; i < 200; i++) {
        size_t found;
        dm_ref ref = dm_remote(counts, &DM_BYTES(bytes, 4 * MIB));
        assert_ok(dm_get(ref, &found));
        assert_int_equal(found, 4 * MIB);
        dm_release(ref);
        ref = dm_remote(counts, &DM_BYTES(bytes, 900)); /* not an object, and not in the record */
        assert_ok(dm_get(ref, &found));
        assert_int_equal(found, 900);
        dm_release(ref);
    }
    all_gone();
    dm_shutdown();
}
ON_ENGINES(long_arguments_go_away)

/* Objects of workers that died are read while somebody holds them, and are room afterwards. */
static void the_dead_give_room(void **state)
{
    (void)state;
    residue before;
    residue_begin(&before);
    begin(DM_ENGINE_PROCESSES, 1);
    for (int i = 0; i < 15; i++) {
        int pid;
        dm_view view;
        dm_ref made = dm_remote(makes, 10 * MIB);
        assert_ok(dm_get(made, &view));
        assert_int_equal(dm_worker_pids(&pid, 1), 1);
        assert_true(watch_kill(pid));
        dm_ref counted = dm_remote(counts, made);
        size_t found;
        assert_ok(dm_get(counted, &found));
        assert_int_equal(found, 10 * MIB);
        for (size_t at = 0; at < view.bytes; at += 4096)
            assert_int_equal(((const char *)view.data)[at], 7);
        dm_view_release(&view);
        dm_release(made), dm_release(counted);
    }
    all_gone();
    dm_shutdown();
    assert_no_residue(&before);
}

/* Views, buffers and arguments of running tasks: each with its objects and bytes. */
static void who_keeps_it_is_said(void **state)
{
    (void)state;
    enum { VIEWS = 3, BUFFERS = 2, ARGUMENTS = 4, LARGE = 16 };
    dm_ref held[VIEWS], read[ARGUMENTS];
    dm_view views[VIEWS];
    dm_buffer buffers[BUFFERS];
    dm_value values[ARGUMENTS];
    size_t size = MIB;
    residue before;
    common = notes_make(sizeof *common);
    residue_begin(&before);
    begin(DM_ENGINE_PROCESSES, 1);
    for (int i = 0; i < VIEWS; i++) {
        held[i] = dm_put(&DM_BYTES(bytes, MIB));
        assert_ok(dm_get(held[i], &views[i]));
    }
    for (int i = 0; i < BUFFERS; i++)
        assert_ok(dm_create(DM_U8, 1, &size, &buffers[i]));
    for (int i = 0; i < ARGUMENTS; i++) {
        read[i] = dm_put(&DM_BYTES(bytes, MIB));
        values[i] = dm_value_ref(read[i]);
    }
    dm_ref reader = dm_submit(&reads_slowly, NULL, values, ARGUMENTS);
    assert_soon(atomic_load(&common->readers) == 1);
    dm_ref refused = dm_put(&DM_BYTES(bytes, LARGE * MIB)), second = dm_put(&DM_BYTES(bytes, LARGE * MIB));
    assert_refused(dm_get(second, (void *)NULL), DM_ERR_STORE_FULL, "bytes of 3 are lent as views of the program");
    assert_refused(dm_get(second, (void *)NULL), DM_ERR_STORE_FULL, "bytes of 2 are being made (dm_create)");
    assert_refused(dm_get(second, (void *)NULL), DM_ERR_STORE_FULL,
                   "bytes of 4 are arguments of running tasks (reads_slowly)");
    atomic_store(&common->gate, true);
    assert_ok(get_nothing(reader));
    for (int i = 0; i < VIEWS; i++) {
        dm_view_release(&views[i]);
        assert_ok(dm_release(held[i]));
    }
    for (int i = 0; i < BUFFERS; i++)
        dm_abandon(&buffers[i]);
    for (int i = 0; i < ARGUMENTS; i++)
        assert_ok(dm_release(read[i]));
    assert_ok(dm_release(refused));
    assert_ok(dm_release(second));
    all_gone();
    dm_shutdown();
    assert_no_residue(&before);
    notes_end(common, sizeof *common);
}

/*
 * A worker's objects die while it cannot be told: it stands still, and there are more of them than the ring of frees
 * has room for. When it goes on, or is dead, all of that is room.
 */
static void more_frees_than_can_be_told(int signal)
{
    enum { VALUES = 3000, TASKS = 3, SIZE = 2500 };
    static dm_ref refs[TASKS * VALUES];
    residue before;
    int pid;
    residue_begin(&before);
    begin(DM_ENGINE_PROCESSES, 1);
    for (int i = 0; i < TASKS; i++)
        dm_remote_n(refs + i * VALUES, VALUES, makes_many, SIZE);
    for (int i = 0; i < TASKS * VALUES; i++)
        assert_ok(dm_get(refs[i], (void *)NULL));
    dm_ref large = dm_remote(makes, 20 * MIB);
    assert_refused(get_nothing(large), DM_ERR_STORE_FULL, "");
    assert_int_equal(dm_worker_pids(&pid, 1), 1);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    assert_soon(watch_state(pid) == 'T');
    for (int i = 0; i < TASKS * VALUES; i++)
        assert_ok(dm_release(refs[i]));
    all_gone();
    assert_int_equal(kill(pid, signal), 0);
    assert_soon(get_nothing(dm_remote(makes, 20 * MIB)) == DM_OK);
    all_gone();
    dm_shutdown();
    assert_no_residue(&before);
}

static void frees_of_a_worker_that_stands_still(void **state)
{
    (void)state;
    more_frees_than_can_be_told(SIGCONT);
}

static void frees_of_one_that_never_goes_on(void **state)
{
    (void)state;
    more_frees_than_can_be_told(SIGKILL);
}

/* Its objects are in its heap, and it is in a task that does not end: what is released is room all the same. */
static void room_of_a_busy_maker(dm_engine engine)
{
    residue before;
    residue_begin(&before);
    common = notes_make(sizeof *common);
    begin(engine, 1);
    dm_ref made = dm_remote(makes, 20 * MIB);
    assert_ok(dm_get(made, (void *)NULL));
    dm_ref busy = dm_remote(is_busy);
    assert_soon(atomic_load(&common->readers) == 1);
    assert_refused(get_nothing(dm_put(&DM_BYTES(bytes, 25 * MIB))), DM_ERR_STORE_FULL, "");
    assert_ok(dm_release(made));
    assert_soon(get_nothing(dm_put(&DM_BYTES(bytes, 25 * MIB))) == DM_OK);
    atomic_store(&common->gate, true);
    assert_ok(get_nothing(busy));
    all_gone();
    dm_shutdown();
    notes_end(common, sizeof *common);
    assert_no_residue(&before);
}

static void room_of_a_busy_process(void **state)
{
    (void)state;
    room_of_a_busy_maker(DM_ENGINE_PROCESSES);
}

static void room_of_a_busy_thread(void **state)
{
    (void)state;
    room_of_a_busy_maker(DM_ENGINE_THREADS);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(room_of_a_busy_process),
    cmocka_unit_test(room_of_a_busy_thread),
    ENGINE_CASES(larger_than_the_store),
    ENGINE_CASES(full_of_puts),
    ENGINE_CASES(half_a_hundred_times),
    ENGINE_CASES(room_goes_round),
    ENGINE_CASES(sizes_vary),
    ENGINE_CASES(long_arguments_go_away),
    cmocka_unit_test(the_dead_give_room),
    cmocka_unit_test(who_keeps_it_is_said),
    cmocka_unit_test(frees_of_a_worker_that_stands_still),
    cmocka_unit_test(frees_of_one_that_never_goes_on),
};

__attribute__((constructor)) static void set_up(void)
{
    test_worker_setup = set_up_worker;
}

TEST_MAIN(tests, NULL)
