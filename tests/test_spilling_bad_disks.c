/*
 * A disk that is full, fails, is slow or goes away: who needs room is told what is wrong, everybody else goes
 * on, and so does all when the disk has come to itself.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "objectstore/file_calls.h"
#include "tests/support/marked.h"

enum { STORE = 8 * MARKED_MIB, OBJECT = MARKED_MIB / 4, MANY = 80, WAIT_MS = 200, SEED = 20261125, NOT_ALLOWED = 77 };

DM_REMOTE(answers)
{
    return dm_return(call, 42);
}

static void begin(dm_engine engine, int64_t wait_ms)
{
    session_begin_with(&(dm_options){.engine = engine,
                                     .workers = 2,
                                     .store_bytes = STORE,
                                     .store_wait_ms = wait_ms,
                                     .log = driver_no_log});
}

static dm_status get_nothing(dm_ref ref)
{
    dm_status status = dm_get_within(ref, (void *)NULL, WATCH_PATIENCE_MS);
    dm_release(ref);
    return status;
}

/* Puts until there is no room; how many there are. */
static int fill_up(dm_ref refs[MANY])
{
    for (int i = 0; i < MANY; i++) {
        refs[i] = marked_put(OBJECT, (uint64_t)i);
        if (refs[i].id == 0)
            return i;
    }
    return MANY;
}

/* Many are put and read; whatever the disk does meanwhile, all is right. */
static bool all_goes_well(void)
{
    static dm_ref refs[MANY];
    bool good = true;
    for (int i = 0; i < MANY; i++) {
        refs[i] = i % 2 ? marked_put(OBJECT, (uint64_t)i) : dm_remote(marked_make, OBJECT, i);
        good &= refs[i].id != 0;
    }
    for (int i = 0; i < MANY && good; i++)
        good = marked_is_there(refs[i], OBJECT, (uint64_t)i);
    for (int i = 0; i < MANY; i++)
        dm_release(refs[i]);
    return good;
}

/* ---- a disk whose calls do what they are told ---- */

static dmi_file_calls real_calls;
static atomic_int write_error, read_error; /* given by each call; 0: none */
static atomic_bool moody;                  /* now and then an error, or a short write */
static atomic_bool gate;                   /* closed: writes wait */
static atomic_int write_ms;                /* each takes so long */
static atomic_long disk_end;               /* beyond there is no room; 0: none */
static atomic_uint mood;

static ssize_t write_at(int fd, const void *bytes, size_t count, off_t at)
{
    static const int errors[] = {EIO, ENOSPC, EINTR, EDQUOT};
    while (atomic_load(&gate))
        watch_pause();
    usleep(1000 * (useconds_t)atomic_load(&write_ms));
    errno = atomic_load(&write_error);
    if (errno == 0 && atomic_load(&disk_end) != 0 && at + (off_t)count > atomic_load(&disk_end))
        errno = ENOSPC;
    if (errno != 0)
        return -1;
    unsigned now = atomic_fetch_add(&mood, 1) * 2654435761u >> 16;
    if (atomic_load(&moody) && now % 8 == 0) {
        errno = errors[now / 8 % 4];
        return -1;
    }
    if (atomic_load(&moody) && now % 8 == 1 && count > 4096)
        count = count / 2 / 512 * 512;
    return real_calls.write_at(fd, bytes, count, at);
}

static ssize_t read_at(int fd, void *bytes, size_t count, off_t at)
{
    errno = atomic_load(&read_error);
    return errno != 0 ? -1 : real_calls.read_at(fd, bytes, count, at);
}

static int be_between_disk_and_runtime(void **state)
{
    (void)state;
    real_calls = dmi_calls;
    dmi_calls.write_at = write_at;
    dmi_calls.read_at = read_at;
    return 0;
}

static void writes_that_fail(dm_engine engine)
{
    residue before;
    dm_ref refs[MANY];
    residue_begin(&before);
    begin(engine, WAIT_MS);
    atomic_store(&write_error, EIO);
    int count = fill_up(refs);
    assert_true(count > 10 && count < 32);
    size_t size = 4 * OBJECT;
    dm_buffer buffer;
    assert_refused(dm_create(DM_U8, 1, &size, &buffer), DM_ERR_IO, "cannot be written");
    assert_refused(get_nothing(dm_remote(marked_make, 4 * OBJECT, 1)), DM_ERR_IO, "");
    for (int i = 0; i < count; i++)
        assert_marked(refs[i], OBJECT, (uint64_t)i);
    atomic_store(&write_error, 0);
    assert_soon(dm_create(DM_U8, 1, &size, &buffer) == DM_OK);
    dm_abandon(&buffer);
    assert_true(all_goes_well());
    for (int i = 0; i < count; i++)
        assert_marked(refs[i], OBJECT, (uint64_t)i);
    marked_release(refs, count);
    marked_end(&before);
}
ON_ENGINES(writes_that_fail)

static void writes_that_fail_now_and_then(dm_engine engine)
{
    residue before;
    residue_begin(&before);
    begin(engine, WATCH_PATIENCE_MS);
    atomic_store(&moody, true);
    for (int i = 0; i < 2; i++)
        if (!all_goes_well())
            fail_msg("%s", dm_last_error());
    atomic_store(&moody, false);
    assert_int_equal(marked_stats().objects_lost, 0);
    marked_end(&before);
}
ON_ENGINES(writes_that_fail_now_and_then)

static void reads_that_fail(dm_engine engine)
{
    residue before;
    dm_ref refs[MANY];
    residue_begin(&before);
    begin(engine, WAIT_MS);
    dm_ref put = marked_put(OBJECT, 1000), made = dm_remote(marked_make_and_note, OBJECT, 1001);
    assert_marked(made, OBJECT, 1001);
    assert_int_equal(fill_up(refs), MANY);
    assert_soon(marked_stats().spilling_bytes == 0);
    atomic_store(&read_error, EIO);
    assert_refused(dm_get_within(put, (void *)NULL, 10000), DM_ERR_IO, "dm_put");
    assert_marked(made, OBJECT, 1001);
    atomic_store(&read_error, 0);
    assert_int_equal(marked_runs(1001), 2);
    for (int i = 0; i < MANY; i++)
        assert_marked(refs[i], OBJECT, (uint64_t)i);
    assert_ok(dm_release(put));
    assert_ok(dm_release(made));
    marked_release(refs, MANY);
    marked_end(&before);
}
ON_ENGINES(reads_that_fail)

/* A read that finds no memory is no loss: it is tried again when it is asked for again. */
static void reads_without_memory(dm_engine engine)
{
    residue before;
    dm_ref refs[MANY];
    residue_begin(&before);
    begin(engine, WAIT_MS);
    dm_ref put = marked_put(OBJECT, 1000);
    assert_int_equal(fill_up(refs), MANY);
    assert_soon(marked_stats().spilling_bytes == 0);
    atomic_store(&read_error, ENOMEM);
    assert_refused(dm_get_within(put, (void *)NULL, 10000), DM_ERR_NOMEM, "dm_put");
    dm_ref checked = dm_remote(marked_check, 1000, put);
    assert_refused(get_nothing(checked), DM_ERR_NOMEM, "marked_check");
    atomic_store(&read_error, 0);
    assert_marked(put, OBJECT, 1000);
    assert_int_equal(marked_stats().objects_lost, 0);
    assert_ok(dm_release(put));
    marked_release(refs, MANY);
    marked_end(&before);
}
ON_ENGINES(reads_without_memory)

/* No write ends for a while. */
static void a_slow_disk(dm_engine engine)
{
    residue before;
    dm_ref refs[MANY], done;
    residue_begin(&before);
    begin(engine, WAIT_MS);
    atomic_store(&gate, true);
    int count = fill_up(refs);
    assert_true(count > 10 && count < 32);
    int64_t start = watch_now_ms();
    for (int round = 0; round < 20; round++)
        for (int i = 0; i < count; i++)
            assert_marked(refs[i], OBJECT, (uint64_t)i);
    done = dm_remote(marked_check, 3, refs[3]);
    assert_ok(dm_get_within(done, (void *)NULL, 5000));
    print_message("%d gets in %d ms\n", 20 * count, (int)(watch_now_ms() - start));
    assert_refused(get_nothing(dm_remote(marked_make, 4 * OBJECT, 1)), DM_ERR_STORE_FULL, "marked_make");
    atomic_store(&gate, false);
    assert_true(all_goes_well());
    assert_ok(dm_release(done));
    marked_release(refs, count);
    marked_end(&before);
}
ON_ENGINES(a_slow_disk)

enum { LARGE = 48 * MARKED_MIB };

static void begin_with_room_for_one(dm_engine engine, int64_t wait_ms)
{
    session_begin_with(&(dm_options){.engine = engine,
                                     .workers = 1,
                                     .store_bytes = LARGE + LARGE / 3,
                                     .store_wait_ms = wait_ms,
                                     .log = driver_no_log});
}

/* Room for another comes once all of it is written, which takes longer than anybody waits while nothing happens. */
static void a_large_object(dm_engine engine)
{
    enum { EACH_MS = 150, NOTHING_FOR_MS = 1500 }; /* twenty pieces */
    residue before;
    residue_begin(&before);
    begin_with_room_for_one(engine, NOTHING_FOR_MS);
    dm_ref one = marked_put(LARGE, 1);
    atomic_store(&write_ms, EACH_MS);
    int64_t start = watch_now_ms();
    dm_ref two = dm_remote(marked_make, LARGE, 2);
    assert_marked(two, LARGE, 2);
    print_message("room came after %d ms\n", (int)(watch_now_ms() - start));
    atomic_store(&write_ms, 0);
    assert_marked(one, LARGE, 1);
    assert_ok(dm_release(one));
    assert_ok(dm_release(two));
    marked_end(&before);
}
ON_ENGINES(a_large_object)

/* It is written as far as the disk goes, again and again: nobody waits for that. */
static void half_of_a_large_object(dm_engine engine)
{
    residue before;
    dm_buffer buffer;
    size_t size = LARGE;
    residue_begin(&before);
    begin_with_room_for_one(engine, 2000);
    atomic_store(&disk_end, LARGE / 2);
    dm_ref one = marked_put(LARGE, 1);
    assert_refused(dm_create(DM_U8, 1, &size, &buffer), DM_ERR_DISK_FULL, "cannot be written");
    assert_refused(get_nothing(dm_remote(marked_make, LARGE, 2)), DM_ERR_DISK_FULL, "cannot be written");
    assert_marked(one, LARGE, 1);
    atomic_store(&disk_end, 0);
    assert_ok(dm_release(one));
    marked_end(&before);
}
ON_ENGINES(half_of_a_large_object)

/* The supervisor does not wait for it: a worker that dies meanwhile is replaced, and tasks go on. */
static void a_death_beside_a_slow_disk(void **state)
{
    (void)state;
    residue before;
    dm_ref refs[MANY];
    int pids[2], answer = 0;
    residue_begin(&before);
    begin(DM_ENGINE_PROCESSES, WAIT_MS);
    atomic_store(&gate, true);
    int count = fill_up(refs);
    assert_true(marked_stats().spilling_bytes != 0);
    int workers = dm_worker_pids(pids, 2);
    assert_in_range(workers, 1, 2);
    for (int i = 0; i < workers; i++)
        assert_int_equal(kill(pids[i], SIGKILL), 0);
    assert_soon(marked_stats().workers_lost == (uint64_t)workers);
    dm_ref after = dm_remote(answers);
    assert_ok(dm_get_within(after, &answer, WATCH_PATIENCE_MS));
    assert_int_equal(answer, 42);
    assert_true(marked_stats().spilling_bytes != 0); /* all that time */
    atomic_store(&gate, false);
    assert_ok(dm_release(after));
    marked_release(refs, count);
    marked_end(&before);
}

/* Refs go, and the session ends, while no write can. */
static void an_end_in_the_middle(dm_engine engine)
{
    residue before;
    dm_ref refs[MANY];
    residue_begin(&before);
    begin(engine, WAIT_MS);
    atomic_store(&gate, true);
    int count = fill_up(refs);
    marked_release(refs, count / 2);
    assert_marked(refs[count - 1], OBJECT, (uint64_t)count - 1);
    atomic_store(&gate, false);
    dm_shutdown();
    assert_no_residue(&before);
}
ON_ENGINES(an_end_in_the_middle)

/* ---- real disks, in drivers that may mount and limit ---- */

static int mount_small(const char *at, const char *options)
{
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", at, "tmpfs", 0, options) != 0)
        return NOT_ALLOWED;
    return 0;
}

static dm_status begin_there(void)
{
    return dm_init(&(dm_options){.workers = 2,
                                 .store_bytes = STORE,
                                 .store_wait_ms = WAIT_MS,
                                 .spill_in_memory = 1,
                                 .log = driver_no_log});
}

/* The store and the disk are full: who needs room, to read back, too, is told why. Room comes back. */
static int full_and_back(dm_status expected, void (*make_room)(void))
{
    static dm_ref refs[MANY];
    dm_buffer buffer;
    size_t size = 4 * OBJECT;
    int count = fill_up(refs);
    NEED(count > 10 && count < MANY);
    NEED(dm_create(DM_U8, 1, &size, &buffer) == expected);
    for (int i = 0; i < count; i++)
        NEED(marked_is_there(refs[i], OBJECT, (uint64_t)i));
    if (make_room)
        make_room();
    for (int i = 0; i < count && (!make_room || i < 4); i++)
        NEED(dm_release(refs[i]) == DM_OK);
    int64_t until = watch_now_ms() + WATCH_PATIENCE_MS;
    while (dm_create(DM_U8, 1, &size, &buffer) != DM_OK)
        NEED(watch_now_ms() < until);
    dm_abandon(&buffer);
    for (int i = make_room ? 4 : count; i < count; i++)
        NEED(marked_is_there(refs[i], OBJECT, (uint64_t)i));
    dm_shutdown();
    return 0;
}

static int on_a_small_disk(const char *unused)
{
    (void)unused;
    if (mount_small(test_directory(), "size=4M") != 0)
        return NOT_ALLOWED;
    NEED(begin_there() == DM_OK);
    return full_and_back(DM_ERR_DISK_FULL, NULL);
}

static void make_it_larger(void)
{
    mount(NULL, test_directory(), NULL, MS_REMOUNT, "size=64M");
}

static int on_a_disk_that_grows(const char *unused)
{
    (void)unused;
    if (mount_small(test_directory(), "size=4M") != 0)
        return NOT_ALLOWED;
    NEED(begin_there() == DM_OK);
    return full_and_back(DM_ERR_DISK_FULL, make_it_larger);
}

static void make_it_writable(void)
{
    mount(NULL, test_directory(), NULL, MS_REMOUNT, "size=64M");
}

static int on_a_disk_made_read_only(const char *unused)
{
    (void)unused;
    if (mount_small(test_directory(), "size=64M") != 0)
        return NOT_ALLOWED;
    NEED(begin_there() == DM_OK);
    NEED(mount(NULL, test_directory(), NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
    return full_and_back(DM_ERR_IO, make_it_writable);
}

static int without_inodes(const char *unused)
{
    (void)unused;
    if (mount_small(test_directory(), "size=64M,nr_inodes=1") != 0)
        return NOT_ALLOWED;
    NEED(begin_there() == DM_OK);
    static dm_ref refs[MANY];
    dm_buffer buffer;
    size_t size = 4 * OBJECT;
    int count = fill_up(refs);
    NEED(count > 10 && count < 32);
    NEED(dm_create(DM_U8, 1, &size, &buffer) == DM_ERR_DISK_FULL);
    for (int i = 0; i < count; i++)
        NEED(marked_is_there(refs[i], OBJECT, (uint64_t)i));
    dm_shutdown();
    return 0;
}

static void lift_the_limit(void)
{
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY});
}

static int below_a_limit_of_file_sizes(const char *unused)
{
    (void)unused;
    NEED(dm_init(&(dm_options){.workers = 2, .store_bytes = STORE, .store_wait_ms = WAIT_MS,
                               .log = driver_no_log}) == DM_OK);
    dm_ref ref = dm_remote(marked_make, 8, 1); /* workers are there, and without the limit */
    NEED(dm_get(ref, (void *)NULL) == DM_OK);
    NEED(setrlimit(RLIMIT_FSIZE, &(struct rlimit){4 << 20, RLIM_INFINITY}) == 0);
    return full_and_back(DM_ERR_DISK_FULL, lift_the_limit);
}

static int in_a_directory_that_goes(const char *unused)
{
    char path[300];
    (void)unused;
    snprintf(path, sizeof path, "%s/goes", test_directory());
    NEED(mkdir(path, 0700) == 0);
    NEED(dm_init(&(dm_options){.workers = 2, .store_bytes = STORE, .spill_dir = path, .store_wait_ms = 5000,
                               .log = driver_no_log}) == DM_OK);
    static dm_ref refs[MANY];
    NEED(fill_up(refs) == MANY);
    NEED(rmdir(path) == 0); /* its files have no names */
    for (int i = 0; i < MANY; i++)
        NEED(marked_is_there(refs[i], OBJECT, (uint64_t)i));
    NEED(all_goes_well());
    dm_shutdown();
    return 0;
}

static void run_there(const char *name)
{
    residue before;
    residue_begin(&before);
    int status = driver_run(name, NULL);
    assert_no_residue(&before);
    if (status == NOT_ALLOWED) {
        print_message("skipped: mounts of one's own are not allowed here\n");
        skip();
    }
    assert_int_equal(status, 0);
}

#define IN_A_DRIVER(name_)                                                                         \
    static void name_##_(void **state)                                                             \
    {                                                                                              \
        (void)state;                                                                               \
        run_there(#name_);                                                                         \
    }

IN_A_DRIVER(on_a_small_disk)
IN_A_DRIVER(on_a_disk_that_grows)
IN_A_DRIVER(on_a_disk_made_read_only)
IN_A_DRIVER(without_inodes)
IN_A_DRIVER(below_a_limit_of_file_sizes)
IN_A_DRIVER(in_a_directory_that_goes)

static const test_driver drivers[] = {{"on_a_small_disk", on_a_small_disk},
                                      {"on_a_disk_that_grows", on_a_disk_that_grows},
                                      {"on_a_disk_made_read_only", on_a_disk_made_read_only},
                                      {"without_inodes", without_inodes},
                                      {"below_a_limit_of_file_sizes", below_a_limit_of_file_sizes},
                                      {"in_a_directory_that_goes", in_a_directory_that_goes},
                                      {0}};

static const struct CMUnitTest tests[] = {
    ENGINE_CASES(writes_that_fail),
    ENGINE_CASES(writes_that_fail_now_and_then),
    ENGINE_CASES(reads_that_fail),
    ENGINE_CASES(reads_without_memory),
    ENGINE_CASES(a_slow_disk),
    ENGINE_CASES(a_large_object),
    ENGINE_CASES(half_of_a_large_object),
    cmocka_unit_test(a_death_beside_a_slow_disk),
    ENGINE_CASES(an_end_in_the_middle),
    cmocka_unit_test(on_a_small_disk_),
    cmocka_unit_test(on_a_disk_that_grows_),
    cmocka_unit_test(on_a_disk_made_read_only_),
    cmocka_unit_test(without_inodes_),
    cmocka_unit_test(below_a_limit_of_file_sizes_),
    cmocka_unit_test(in_a_directory_that_goes_),
};

int main(int argc, char **argv)
{
    int status;
    if (test_began_elsewhere(argc, argv, drivers, &status))
        return status;
    status = cmocka_run_group_tests(tests, be_between_disk_and_runtime, NULL);
    dm_shutdown();
    test_end();
    return status;
}
