/*
 * Threads that read the same objects without the role, while one replaces and releases them and the rest leaves for the
 * disk and comes back: each get gives the object that its ref names, or says that it was released; what is lent stays
 * whole while it is; and in the end nothing is left.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "tests/support/lawful.h"
#include "tests/support/test.h"

enum { MIB = 1 << 20, STORE = 8 * MIB, OBJECT = 128 << 10, WORDS = OBJECT / 8, SHARED = 80, HOT = 8, ROUNDS = 3000 };
enum { READERS = 3 };

static _Atomic uint64_t shared[SHARED]; /* ids of refs: each object says which it is */
static atomic_bool over;
static atomic_ulong read_well, stale, wrong;

/* In all its words: the place where its ref is, and its number. */
static dm_ref put_at(uint64_t place, uint64_t number)
{
    dm_buffer buffer;
    assert_ok(dm_create(DM_U64, 1, (size_t[]){WORDS}, &buffer));
    for (size_t i = 0; i < WORDS; i++)
        ((uint64_t *)buffer.data)[i] = number * SHARED + place;
    dm_ref ref = dm_seal(&buffer);
    atomic_store(&shared[place], ref.id);
    return ref;
}

static bool is_whole(const dm_view *view, uint64_t place)
{
    const uint64_t *words = view->data;
    for (size_t i = 0; i < WORDS; i++)
        if (words[i] != words[0])
            return false;
    return view->bytes == OBJECT && words[0] % SHARED == place;
}

/* Of a ref that may be released any time. */
static void read_at(uint64_t place)
{
    dm_view view;
    dm_status status = dm_get((dm_ref){atomic_load(&shared[place])}, &view);
    if (status == DM_OK) {
        atomic_fetch_add(is_whole(&view, place) ? &read_well : &wrong, 1);
        dm_view_release(&view);
    } else {
        atomic_fetch_add(status == DM_ERR_STALE ? &stale : &wrong, 1);
    }
}

static void *read_them(void *number)
{
    uint32_t seed = (uint32_t)(uintptr_t)number;
    while (!atomic_load(&over)) {
        seed = seed * 1103515245u + 12345u;
        uint32_t any = seed >> 16;
        read_at(any % 4 != 0 ? any / 4 % HOT : any / 4 % SHARED); /* most are in memory */
    }
    return NULL;
}

static void released_under_their_readers(void **state)
{
    (void)state;
    pthread_t threads[READERS];
    dm_ref refs[SHARED];
    dm_stats stats = {0};
    session_begin_with(&(dm_options){.engine = DM_ENGINE_THREADS, .workers = 1, .store_bytes = STORE,
                                     .store_wait_ms = 10000, .log = driver_no_log});
    for (uint64_t i = 0; i < SHARED; i++)
        refs[i] = put_at(i, 0);
    for (uintptr_t i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_them, (void *)(i + 1)), 0);
    for (uint64_t round = 1; round <= ROUNDS; round++) {
        uint64_t place = round % 2 ? round / 2 % HOT : round / 2 % SHARED;
        dm_ref old = refs[place];
        refs[place] = put_at(place, round);
        assert_ok(dm_release(old));
        if (round % 500 == 0)
            assert_lawful();
    }
    assert_soon(atomic_load(&read_well) > 0);
    atomic_store(&over, true);
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(atomic_load(&wrong), 0);
    for (int i = 0; i < SHARED; i++)
        assert_ok(dm_release(refs[i]));
    assert_ok(dm_stats_get(&stats));
    assert_true(stats.spilled_total > 0 && stats.restored_total > 0);
    assert_int_equal(stats.pinned_bytes, 0);
    assert_soon(dm_stats_get(&stats) == DM_OK && stats.refs == 0 && stats.objects == 0 && stats.disk_bytes == 0);
    dm_shutdown();
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(released_under_their_readers)};
TEST_MAIN(tests, NULL)
