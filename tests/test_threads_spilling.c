/*
 * Spilling and reading back while several threads of the driver put, get and release, and tasks read:
 * under ThreadSanitizer.
 */
#include <pthread.h>

#include "tests/support/test.h"

enum { MIB = 1 << 20, STORE = 16 * MIB, OBJECT = 256 << 10, EACH = 60, ROUNDS = 150, THREADS = 3 };

static void fill(uint32_t *words, uint32_t whose)
{
    for (uint32_t i = 0; i < OBJECT / 4; i++)
        words[i] = whose * 2654435761u + i;
}

static bool is_filled(const dm_view *view, uint32_t whose)
{
    const uint32_t *words = view->data;
    for (uint32_t i = 0; i < view->bytes / 4; i++)
        if (words[i] != whose * 2654435761u + i)
            return false;
    return view->bytes == OBJECT;
}

DM_REMOTE(first_word)
{
    dm_view view;
    DM_TRY(dm_arg(call, 0, &view));
    return dm_return(call, *(const uint32_t *)view.data);
}

static dm_ref put_filled(uint32_t whose)
{
    dm_buffer buffer;
    size_t words = OBJECT / 4;
    if (dm_create(DM_U32, 1, &words, &buffer) != DM_OK)
        return DM_NO_REF;
    fill(buffer.data, whose);
    return dm_seal(&buffer);
}

static bool check_here(dm_ref ref, uint32_t whose)
{
    dm_view view;
    if (dm_get(ref, &view) != DM_OK)
        return false;
    bool good = is_filled(&view, whose);
    dm_view_release(&view);
    return good;
}

static bool check_there(dm_ref ref, uint32_t whose)
{
    uint32_t word = 0;
    dm_ref answer = dm_remote(first_word, ref);
    bool good = dm_get(answer, &word) == DM_OK && word == whose * 2654435761u;
    dm_release(answer);
    return good;
}

/* Puts, replaces, reads here and in tasks; how often something was wrong. */
static void *juggle(void *number)
{
    uint32_t seed = (uint32_t)(uintptr_t)number, next = seed * 100000;
    uint32_t whose[EACH];
    dm_ref refs[EACH];
    uintptr_t wrong = 0;
    for (int i = 0; i < EACH; i++)
        refs[i] = put_filled(whose[i] = next++);
    for (int round = 0; round < ROUNDS; round++) {
        seed = seed * 1103515245u + 12345u;
        uint32_t i = (seed >> 16) % EACH;
        wrong += !(round % 3 == 0 ? check_there(refs[i], whose[i]) : check_here(refs[i], whose[i]));
        if (round % 4 != 0)
            continue;
        wrong += dm_release(refs[i]) != DM_OK;
        refs[i] = put_filled(whose[i] = next++);
    }
    for (int i = 0; i < EACH; i++)
        wrong += dm_release(refs[i]) != DM_OK;
    return (void *)wrong;
}

static void many_threads_beyond_memory(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    dm_stats stats = {0};
    session_begin_with(&(dm_options){.engine = DM_ENGINE_THREADS, .workers = 2, .store_bytes = STORE,
                                     .store_wait_ms = 10000, .log = driver_no_log});
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, juggle, (void *)(i + 1)), 0);
    for (int i = 0; i < THREADS; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    assert_ok(dm_stats_get(&stats));
    assert_true(stats.spilled_total > 0 && stats.restored_total > 0);
    assert_soon(dm_stats_get(&stats) == DM_OK && stats.refs == 0 && stats.disk_bytes == 0);
    dm_shutdown();
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(many_threads_beyond_memory)};
TEST_MAIN(tests, NULL)
