/*
 * A heap gives room within its grant, keeps what is freed warm and joined, gives it back when asked,
 * and writes nothing into the segment by itself.
 */
#include "objectstore/heap.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)

/* jemalloc's; only heap.c includes its header. */
int mallctl(const char *name, void *old, size_t *old_bytes, void *new, size_t new_bytes);

typedef struct store {
    dmi_segment segment;
    dmi_heap *heap;
    dmi_word committed, granted;
    size_t first;
} store;

static store *store_make(size_t bytes, size_t granted)
{
    store *s = calloc(1, sizeof *s);
    s->first = 4096;
    dmi_word_publish(&s->granted, granted);
    if (dmi_segment_create(&s->segment, s->first + bytes, false) != DM_OK ||
        dmi_heap_create(&s->heap, &s->segment, s->first, s->segment.bytes, &s->committed,
                        &s->granted) != DM_OK)
        fail_msg("%s", dm_last_error());
    return s;
}

static void store_end(store *s)
{
    dmi_heap_destroy(s->heap);
    dmi_segment_destroy(&s->segment);
    free(s);
}

static size_t committed(store *s)
{
    return dmi_word_load(&s->committed);
}

static size_t backed(const store *s)
{
    struct stat about;
    assert_int_equal(fstat(s->segment.rw_fd, &about), 0);
    return (size_t)about.st_blocks * 512;
}

/* Pages come one by one, unless this machine makes huge ones of them. */
static bool pages_are_exact(void)
{
    char line[128] = "[never]";
    FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "r");
    if (file) {
        if (!fgets(line, sizeof line, file))
            line[0] = 0;
        fclose(file);
    }
    return strstr(line, "[never]") || strstr(line, "[advise]");
}

static void assert_books_are_right(store *s)
{
    assert_true(committed(s) <= dmi_word_load(&s->granted));
    if (pages_are_exact())
        assert_int_equal(backed(s), committed(s));
}

static size_t must_alloc(store *s, size_t bytes)
{
    size_t offset = dmi_heap_alloc(s->heap, bytes);
    if (offset == 0)
        fail_msg("no room for %zu bytes: %zu committed, %zu granted", bytes, committed(s),
                 (size_t)dmi_word_load(&s->granted));
    return offset;
}

/* The same numbers in each run. */
static uint32_t next_random(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    return *seed ^= *seed << 5;
}

/* Mostly small, sometimes large: what a store holds. */
static size_t mixed_size(uint32_t *seed)
{
    uint32_t kind = next_random(seed) % 100, r = next_random(seed);
    return kind < 70 ? 1 + r % 2000 : kind < 95 ? 1 + r % (60 * KIB) : 1 + r % MIB;
}

/* ---- room ---- */

static void room_is_aligned_inside_and_apart(void **state)
{
    (void)state;
    enum { COUNT = 3000 };
    store *s = store_make(256 * MIB, 256 * MIB);
    size_t *at = calloc(COUNT, sizeof *at), *bytes = calloc(COUNT, sizeof *bytes);
    uint32_t seed = 1;
    for (size_t i = 0; i < COUNT; i++) {
        bytes[i] = mixed_size(&seed) / 8 + 1;
        at[i] = must_alloc(s, bytes[i]);
        assert_int_equal(at[i] % DMI_HEAP_ALIGN, 0);
        assert_true(at[i] >= s->first && dmi_segment_holds(&s->segment, at[i], bytes[i]));
        assert_true(dmi_heap_size_of(bytes[i]) >= bytes[i]);
        memset(s->segment.rw + at[i], (int)i, bytes[i]);
    }
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t k = 0; k < bytes[i]; k++)
            if (s->segment.ro[at[i] + k] != (char)i)
                fail_msg("byte %zu of object %zu was overwritten", k, i);
    }
    store_end(s);
    free(at);
    free(bytes);
}

static void room_of_no_bytes_is_room(void **state)
{
    (void)state;
    store *s = store_make(4 * MIB, 4 * MIB);
    size_t a = must_alloc(s, 0), b = must_alloc(s, 0);
    assert_int_not_equal(a, b);
    dmi_heap_free(s->heap, a);
    dmi_heap_free(s->heap, b);
    store_end(s);
}

static void a_range_that_begins_and_ends_anywhere_is_kept_to(void **state)
{
    (void)state;
    dmi_segment segment;
    assert_int_equal(dmi_segment_create(&segment, 8 * MIB, false), DM_OK);
    dmi_word committed_bytes = 0, granted = 8 * MIB;
    dmi_heap *heap;
    size_t first = MIB + 100, end = 5 * MIB - 100, at;
    assert_int_equal(dmi_heap_create(&heap, &segment, first, end, &committed_bytes, &granted), DM_OK);
    size_t bytes = 0;
    while ((at = dmi_heap_alloc(heap, 10000)) != 0) {
        assert_true(at >= first && at + 10000 <= end);
        memset(segment.rw + at, 1, 10000);
        bytes += 10000;
    }
    assert_true(bytes >= 3 * MIB);
    dmi_heap_destroy(heap);
    dmi_segment_destroy(&segment);
}

static void a_tiny_range_is_used(void **state)
{
    (void)state;
    store *s = store_make(256 * KIB, MIB);
    size_t bytes = 0, at;
    while ((at = dmi_heap_alloc(s->heap, 1024)) != 0) {
        memset(s->segment.rw + at, 1, 1024);
        bytes += 1024;
    }
    assert_true(bytes >= 200 * KIB);
    assert_books_are_right(s);
    store_end(s);
}

static void nearly_all_of_a_range_can_be_had(void **state)
{
    (void)state;
    store *s = store_make(60 * MIB, GIB);
    size_t count = 0;
    while (dmi_heap_alloc(s->heap, MIB) != 0)
        count++;
    assert_in_range(count, 55, 60);
    assert_books_are_right(s);
    store_end(s);
}

/* ---- nothing of the allocator's ---- */

/* All bytes that have memory behind them. */
static void assert_all_zero(const store *s)
{
    off_t at = 0;
    while ((at = lseek(s->segment.rw_fd, at, SEEK_DATA)) >= 0) {
        off_t end = lseek(s->segment.rw_fd, at, SEEK_HOLE);
        for (; at < end; at++)
            if (s->segment.ro[at] != 0)
                fail_msg("byte %lld is not zero", (long long)at);
    }
}

static void the_allocator_writes_nothing_into_the_segment(void **state)
{
    (void)state;
    enum { SLOTS = 300, TURNS = 20000 };
    store *s = store_make(GIB, 256 * MIB);
    size_t at[SLOTS] = {0};
    uint32_t seed = 2;
    for (int i = 0; i < TURNS; i++) {
        size_t k = next_random(&seed) % SLOTS;
        if (at[k])
            dmi_heap_free(s->heap, at[k]);
        at[k] = must_alloc(s, mixed_size(&seed) / 4 + 1);
        if (i == TURNS / 2)
            dmi_heap_trim(s->heap);
    }
    assert_all_zero(s);
    store_end(s);
}

static void what_is_freed_keeps_its_neighbours(void **state)
{
    (void)state;
    enum { SLOTS = 200, TURNS = 20000 };
    store *s = store_make(GIB, 256 * MIB);
    size_t at[SLOTS] = {0}, bytes[SLOTS] = {0};
    uint32_t seed = 3;
    for (int i = 0; i < TURNS; i++) {
        size_t k = next_random(&seed) % SLOTS;
        if (at[k]) {
            const char *object = s->segment.ro + at[k];
            if (object[0] != (char)k || memcmp(object, object + 1, bytes[k] - 1) != 0)
                fail_msg("object %zu of %zu bytes was overwritten", k, bytes[k]);
            dmi_heap_free(s->heap, at[k]);
        }
        bytes[k] = mixed_size(&seed) / 16 + 1;
        at[k] = must_alloc(s, bytes[k]);
        memset(s->segment.rw + at[k], (int)k, bytes[k]);
        if (i % 5000 == 4999)
            dmi_heap_trim(s->heap);
    }
    store_end(s);
}

/* ---- warm memory ---- */

static void memory_is_used_again_over_100000_turns(void **state)
{
    (void)state;
    enum { SLOTS = 400, TURNS = 100000 };
    store *s = store_make(2 * GIB, GIB);
    size_t at[SLOTS] = {0}, bytes[SLOTS] = {0}, live = 0, most_live = 0, early = 0;
    uint32_t seed = 4;
    for (int i = 0; i < TURNS; i++) {
        size_t k = next_random(&seed) % SLOTS;
        if (at[k])
            dmi_heap_free(s->heap, at[k]);
        live -= bytes[k];
        bytes[k] = mixed_size(&seed);
        at[k] = must_alloc(s, bytes[k]);
        live += bytes[k];
        most_live = live > most_live ? live : most_live;
        if (i == TURNS / 4)
            early = committed(s);
    }
    print_message("at most %zu KiB live, %zu KiB committed, %zu KiB after a quarter of the turns\n",
                  most_live / KIB, committed(s) / KIB, early / KIB);
    assert_true(committed(s) <= 2 * most_live);
    assert_true(committed(s) <= early + early / 4);
    assert_books_are_right(s);
    store_end(s);
}

static void the_same_object_again_commits_nothing(void **state)
{
    (void)state;
    store *s = store_make(256 * MIB, 256 * MIB);
    const size_t sizes[] = {1, 64, 1000, 4096, 14336, 16384, 32768, 100000, MIB, 20 * MIB};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        dmi_heap_free(s->heap, must_alloc(s, sizes[i]));
        size_t before = committed(s);
        for (int turn = 0; turn < 1000; turn++)
            dmi_heap_free(s->heap, must_alloc(s, sizes[i]));
        assert_int_equal(committed(s), before);
    }
    store_end(s);
}

static void memory_of_a_large_object_serves_small_ones(void **state)
{
    (void)state;
    store *s = store_make(GIB, 256 * MIB);
    dmi_heap_free(s->heap, must_alloc(s, 128 * MIB));
    size_t before = committed(s);
    for (int i = 0; i < 120; i++)
        must_alloc(s, MIB);
    for (int i = 0; i < 500; i++)
        must_alloc(s, 1000);
    assert_int_equal(committed(s), before);
    store_end(s);
}

/* A large object has memory for itself only, not for what its size is rounded up to; small ones that
 * come to lie in its place must have theirs. */
static void what_lies_where_a_large_object_ended_has_memory(void **state)
{
    (void)state;
    store *s = store_make(GIB, GIB);
    uint32_t seed = 9;
    for (int turn = 0; turn < 200; turn++) {
        dmi_heap_free(s->heap, must_alloc(s, MIB + next_random(&seed) % (3 * MIB)));
        size_t bytes = 1 + next_random(&seed) % (400 * KIB), at = must_alloc(s, bytes);
        memset(s->segment.rw + at, turn, bytes);
        if (turn % 50 == 49)
            dmi_heap_trim(s->heap);
        assert_books_are_right(s);
    }
    store_end(s);
}

static void memory_of_small_objects_serves_a_large_one(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    store *s = store_make(GIB, 256 * MIB);
    size_t *at = calloc(COUNT, sizeof *at);
    for (int i = 0; i < COUNT; i++)
        at[i] = must_alloc(s, 4096);
    size_t before = committed(s);
    for (int i = 0; i < COUNT; i++)
        dmi_heap_free(s->heap, at[i]);
    must_alloc(s, 60 * MIB);
    assert_int_equal(committed(s), before);
    free(at);
    store_end(s);
}

static void an_empty_heap_has_room_for_one_large_object(void **state)
{
    (void)state;
    enum { COUNT = 300 };
    store *s = store_make(800 * MIB, 400 * MIB);
    size_t at[COUNT];
    for (int i = 0; i < COUNT; i++)
        at[i] = must_alloc(s, MIB);
    for (int i = 0; i < COUNT; i++)
        dmi_heap_free(s->heap, at[i]);
    must_alloc(s, 390 * MIB);
    assert_books_are_right(s);
    store_end(s);
}

/* ---- the grant ---- */

static void a_heap_commits_no_more_than_it_needs(void **state)
{
    (void)state;
    store *s = store_make(GIB, GIB);
    assert_int_equal(committed(s), 0);
    must_alloc(s, 1);
    assert_true(committed(s) <= 64 * KIB);
    for (int i = 0; i < 100; i++)
        must_alloc(s, 1000);
    assert_true(committed(s) <= 256 * KIB);
    size_t before = committed(s);
    must_alloc(s, 300 * MIB);
    assert_true(committed(s) - before <= 300 * MIB + 4096);
    before = committed(s);
    must_alloc(s, 5 * MIB + 1);
    assert_true(committed(s) - before <= 5 * MIB + 2 * 4096);
    assert_books_are_right(s);
    store_end(s);
}

static void one_object_of_each_small_size_commits_little(void **state)
{
    (void)state;
    store *s = store_make(GIB, GIB);
    for (size_t bytes = 64; bytes <= 14336; bytes += 64)
        must_alloc(s, bytes);
    print_message("%zu KiB committed for %d KiB\n", committed(s) / KIB, 224 * 225 / 2 * 64 / 1024);
    assert_true(committed(s) <= 3 * MIB);
    store_end(s);
}

static void without_a_grant_there_is_no_room(void **state)
{
    (void)state;
    store *s = store_make(16 * MIB, 0);
    const size_t sizes[] = {0, 1, 4096, 100000, MIB, 100 * MIB, SIZE_MAX / 2, SIZE_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        assert_int_equal(dmi_heap_alloc(s->heap, sizes[i]), 0);
    assert_true(dmi_heap_growth_for(s->heap, 100 * MIB) == SIZE_MAX);
    assert_true(dmi_heap_growth_for(s->heap, SIZE_MAX) == SIZE_MAX);
    assert_true(dmi_heap_size_of(SIZE_MAX) == SIZE_MAX);
    assert_int_equal(committed(s), 0);
    assert_int_equal(backed(s), 0);
    store_end(s);
}

static void the_grant_is_kept_to_the_byte(void **state)
{
    (void)state;
    const size_t sizes[] = {64, 1000, 4096, 14336, 20000, 70000, MIB};
    const size_t grants[] = {4096, 100000, MIB - 1, 5 * MIB + 4096};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (size_t k = 0; k < sizeof grants / sizeof grants[0]; k++) {
            store *s = store_make(64 * MIB, grants[k]);
            size_t had = 0;
            while (dmi_heap_alloc(s->heap, sizes[i]) != 0)
                had += dmi_heap_size_of(sizes[i]);
            assert_true(had <= grants[k]);
            assert_true(had + had / 4 + 2 * dmi_heap_growth_for(s->heap, sizes[i]) >= grants[k]);
            assert_books_are_right(s);
            store_end(s);
        }
    }
}

static void a_grant_taken_back_refuses_growth_and_not_reuse(void **state)
{
    (void)state;
    store *s = store_make(64 * MIB, 8 * MIB);
    size_t at = must_alloc(s, 4 * MIB);
    dmi_word_publish(&s->granted, 0);
    assert_int_equal(dmi_heap_alloc(s->heap, 4 * MIB), 0);
    dmi_heap_free(s->heap, at);
    must_alloc(s, 4 * MIB);
    store_end(s);
}

static void refusals_use_nothing_up(void **state)
{
    (void)state;
    store *s = store_make(500 * MIB, 100 * MIB);
    size_t at = must_alloc(s, 90 * MIB);
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(dmi_heap_alloc(s->heap, 20 * MIB), 0);
        assert_int_equal(dmi_heap_alloc(s->heap, 600 * MIB), 0);
    }
    dmi_heap_free(s->heap, at);
    dmi_word_publish(&s->granted, 300 * MIB);
    must_alloc(s, 290 * MIB);
    store_end(s);
}

static void growth_for_is_enough_from_a_byte_to_300_mib(void **state)
{
    (void)state;
    store *s = store_make(2 * GIB, 0);
    for (size_t bytes = 1; bytes <= 300 * MIB; bytes += bytes / 7 + 1) {
        size_t growth = dmi_heap_growth_for(s->heap, bytes);
        assert_true(growth <= bytes + bytes / 4 + 32 * KIB);
        dmi_word_publish(&s->granted, committed(s) + growth);
        size_t at = must_alloc(s, bytes);
        assert_books_are_right(s);
        if (bytes > MIB) {
            dmi_heap_free(s->heap, at);
            dmi_heap_trim(s->heap);
        }
    }
    dmi_word_publish(&s->granted, committed(s) + dmi_heap_growth_for(s->heap, 300 * MIB));
    must_alloc(s, 300 * MIB);
    store_end(s);
}

static void growth_for_is_enough_in_a_heap_full_of_holes(void **state)
{
    (void)state;
    enum { SLOTS = 300 };
    store *s = store_make(2 * GIB, 0);
    size_t at[SLOTS] = {0};
    uint32_t seed = 5;
    for (int i = 0; i < 10000; i++) {
        size_t k = next_random(&seed) % SLOTS, bytes = mixed_size(&seed);
        if (at[k])
            dmi_heap_free(s->heap, at[k]);
        dmi_word_publish(&s->granted, committed(s) + dmi_heap_growth_for(s->heap, bytes));
        at[k] = must_alloc(s, bytes);
        if (i % 1000 == 999)
            dmi_heap_trim(s->heap);
    }
    store_end(s);
}

/* ---- the system ---- */

static void memory_that_the_system_refuses_is_a_refusal(void **state)
{
    (void)state;
    dmi_segment segment;
    assert_int_equal(dmi_segment_create(&segment, 16 * MIB, false), DM_OK);
    dmi_segment refusing = segment;
    refusing.rw_fd = segment.ro_fd; /* nothing can be reserved through it */
    dmi_word committed_bytes = 0, granted = GIB;
    dmi_heap *heap;
    assert_int_equal(
        dmi_heap_create(&heap, &refusing, 4096, segment.bytes, &committed_bytes, &granted), DM_OK);
    for (size_t bytes = 1; bytes < 20 * MIB; bytes *= 5)
        assert_int_equal(dmi_heap_alloc(heap, bytes), 0);
    assert_true(committed_bytes == 0);
    dmi_heap_destroy(heap);
    dmi_segment_destroy(&segment);
}

static void ignore(int signal_number)
{
    (void)signal_number;
}

static void a_fast_timer_does_not_keep_a_large_object_away(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = ignore}, before;
    sigaction(SIGALRM, &action, &before);
    unsigned watchdog = alarm(0);
    struct itimerval often = {{0, 5000}, {0, 5000}}, never = {{0, 0}, {0, 0}};
    store *s = store_make(GIB, GIB);
    setitimer(ITIMER_REAL, &often, NULL);
    size_t at = dmi_heap_alloc(s->heap, 200 * MIB);
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &before, NULL);
    alarm(watchdog);
    assert_int_not_equal(at, 0);
    assert_books_are_right(s);
    store_end(s);
}

/* ---- trim ---- */

static void trim_gives_back_what_is_free_and_only_that(void **state)
{
    (void)state;
    enum { COUNT = 400 };
    store *s = store_make(GIB, GIB);
    size_t at[COUNT], bytes[COUNT], kept = 0;
    uint32_t seed = 6;
    for (size_t i = 0; i < COUNT; i++) {
        bytes[i] = 1 + next_random(&seed) % (500 * KIB);
        at[i] = must_alloc(s, bytes[i]);
        memset(s->segment.rw + at[i], (int)i | 1, bytes[i]);
    }
    size_t before = backed(s);
    for (size_t i = 0; i < COUNT; i++) {
        if (i % 4 == 0)
            kept += dmi_heap_size_of(bytes[i]) + 4096;
        else
            dmi_heap_free(s->heap, at[i]);
    }
    assert_int_equal(backed(s), before);
    dmi_heap_trim(s->heap);
    assert_books_are_right(s);
    assert_true(committed(s) <= kept + MIB);
    for (size_t i = 0; i < COUNT; i += 4)
        for (size_t k = 0; k < bytes[i]; k++)
            if (s->segment.ro[at[i] + k] != (char)(i | 1))
                fail_msg("byte %zu of object %zu went with the trim", k, i);
    store_end(s);
}

static void trim_of_an_empty_heap_leaves_nothing(void **state)
{
    (void)state;
    enum { COUNT = 5000 };
    store *s = store_make(GIB, GIB);
    size_t *at = calloc(COUNT, sizeof *at);
    uint32_t seed = 7;
    for (int turn = 0; turn < 3; turn++) {
        for (int i = 0; i < COUNT; i++)
            at[i] = must_alloc(s, mixed_size(&seed) / 8 + 1);
        assert_true(backed(s) > 0);
        for (int i = 0; i < COUNT; i++)
            dmi_heap_free(s->heap, at[i]);
        dmi_heap_trim(s->heap);
        assert_int_equal(committed(s), 0);
        assert_int_equal(backed(s), 0);
    }
    free(at);
    store_end(s);
}

static void what_was_trimmed_counts_again_when_it_is_taken_again(void **state)
{
    (void)state;
    store *s = store_make(64 * MIB, 10 * MIB);
    for (int turn = 0; turn < 100; turn++) {
        size_t at = must_alloc(s, 8 * MIB);
        assert_int_equal(dmi_heap_alloc(s->heap, 8 * MIB), 0);
        assert_books_are_right(s);
        dmi_heap_free(s->heap, at);
        dmi_heap_trim(s->heap);
        assert_int_equal(committed(s), 0);
    }
    store_end(s);
}

/* ---- life ---- */

static size_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    size_t pages = 0;
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%*s %zu", &pages), 1);
    fclose(file);
    return pages * 4096;
}

static void thousands_of_heaps_come_and_go_with_objects_in_them(void **state)
{
    (void)state;
    enum { CYCLES = 5000, WARM_UP = 500 }; /* more than jemalloc has arenas */
    size_t before = 0;
    for (int i = 0; i < CYCLES; i++) {
        store *s = store_make(16 * MIB, 16 * MIB);
        must_alloc(s, 100);
        dmi_heap_free(s->heap, must_alloc(s, 3000));
        must_alloc(s, 100000);
        store_end(s);
        if (i == WARM_UP)
            before = resident_bytes();
    }
    size_t after = resident_bytes();
    print_message("resident: %zu KiB after %d heaps, %zu KiB after %d\n", before / KIB, WARM_UP,
                  after / KIB, CYCLES);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    assert_true(after <= before + 4 * MIB);
#endif
}

static void many_heaps_live_side_by_side(void **state)
{
    (void)state;
    enum { HEAPS = 100 };
    store *stores[HEAPS];
    size_t at[HEAPS];
    for (int i = 0; i < HEAPS; i++) {
        stores[i] = store_make(64 * MIB, MIB);
        at[i] = must_alloc(stores[i], 5000);
        memset(stores[i]->segment.rw + at[i], i, 5000);
    }
    for (int i = 0; i < HEAPS; i++) {
        assert_int_equal(stores[i]->segment.ro[at[i] + 4999], (char)i);
        dmi_heap_free(stores[i]->heap, at[i]);
        store_end(stores[i]);
    }
}

static void destroy_of_no_heap_is_nothing(void **state)
{
    (void)state;
    dmi_heap_destroy(NULL);
}

static void to_free_what_is_not_in_the_heap_is_caught(void **state)
{
    (void)state;
#if !defined(NDEBUG) && !defined(__SANITIZE_THREAD__) /* whose runtime dies of jemalloc's many locks at fork */
    store *s = store_make(16 * MIB, MIB);
    size_t at = must_alloc(s, 100);
    const size_t wrong[] = {0, 64, at + 1, 8 * MIB, s->segment.bytes, SIZE_MAX - 63};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            struct rlimit none = {0, 0};
            setrlimit(RLIMIT_CORE, &none);
            signal(SIGABRT, SIG_DFL);
            int quiet = open("/dev/null", O_WRONLY);
            dup2(quiet, 2);
            dmi_heap_free(s->heap, wrong[i]);
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    }
    store_end(s);
#endif
}

/* ---- threads ---- */

enum { BELT = 256, PARCELS = 30000 };

/* One thread allocates and sends, another checks and frees. */
typedef struct belt {
    store *s;
    pthread_mutex_t lock;
    pthread_cond_t moved;
    size_t at[BELT], bytes[BELT];
    unsigned sent, taken;
    bool ended;
} belt;

static void *send_parcels(void *argument)
{
    belt *b = argument;
    uint32_t seed = 8;
    for (unsigned i = 0; i < PARCELS; i++) {
        size_t bytes = mixed_size(&seed) / 16 + 1, at;
        while ((at = dmi_heap_alloc(b->s->heap, bytes)) == 0)
            sched_yield();
        memset(b->s->segment.rw + at, (int)i, bytes);
        pthread_mutex_lock(&b->lock);
        while (b->sent - b->taken == BELT)
            pthread_cond_wait(&b->moved, &b->lock);
        b->at[b->sent % BELT] = at;
        b->bytes[b->sent++ % BELT] = bytes;
        pthread_cond_broadcast(&b->moved);
        pthread_mutex_unlock(&b->lock);
    }
    return NULL;
}

static void *take_parcels(void *argument)
{
    belt *b = argument;
    for (unsigned i = 0; i < PARCELS; i++) {
        pthread_mutex_lock(&b->lock);
        while (b->sent == b->taken)
            pthread_cond_wait(&b->moved, &b->lock);
        size_t at = b->at[b->taken % BELT], bytes = b->bytes[b->taken % BELT];
        pthread_mutex_unlock(&b->lock);
        const char *parcel = b->s->segment.rw + at;
        bool whole = parcel[0] == (char)i && memcmp(parcel, parcel + 1, bytes - 1) == 0;
        dmi_heap_free(b->s->heap, at);
        pthread_mutex_lock(&b->lock);
        b->taken++;
        pthread_cond_broadcast(&b->moved);
        pthread_mutex_unlock(&b->lock);
        if (!whole)
            return b;
    }
    return NULL;
}

static bool has_ended(belt *b)
{
    pthread_mutex_lock(&b->lock);
    bool ended = b->ended;
    pthread_mutex_unlock(&b->lock);
    return ended;
}

/* Trims, and does what a program may do to its own jemalloc: purge all arenas (number 4096). */
static void *trim_and_purge(void *argument)
{
    belt *b = argument;
    while (!has_ended(b)) {
        dmi_heap_trim(b->s->heap);
        mallctl("arena.4096.purge", NULL, NULL, NULL, 0);
        sched_yield();
    }
    return NULL;
}

static void other_threads_free_trim_and_purge(void **state)
{
    (void)state;
    belt b = {.s = store_make(GIB, 64 * MIB),
              .lock = PTHREAD_MUTEX_INITIALIZER,
              .moved = PTHREAD_COND_INITIALIZER};
    pthread_t sender, taker, trimmer;
    void *broken;
    assert_int_equal(pthread_create(&sender, NULL, send_parcels, &b), 0);
    assert_int_equal(pthread_create(&taker, NULL, take_parcels, &b), 0);
    assert_int_equal(pthread_create(&trimmer, NULL, trim_and_purge, &b), 0);
    pthread_join(sender, NULL);
    pthread_join(taker, &broken);
    pthread_mutex_lock(&b.lock);
    b.ended = true;
    pthread_mutex_unlock(&b.lock);
    pthread_join(trimmer, NULL);
    assert_null(broken);
    dmi_heap_trim(b.s->heap);
    assert_int_equal(committed(b.s), 0);
    assert_int_equal(backed(b.s), 0);
    store_end(b.s);
}

/* Nor does it look for what it can never have at hand. */
static void more_than_there_can_be_at_hand(void **state)
{
    (void)state;
    store *s = store_make(16 * MIB, 16 * MIB);
    bool busy = true;
    assert_int_equal(dmi_heap_alloc_at_hand(s->heap, 17 * MIB, &busy), 0);
    assert_false(busy);
    assert_int_equal(committed(s), 0);
    store_end(s);
}

int main(void)
{
    alarm(110);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(room_is_aligned_inside_and_apart),
        cmocka_unit_test(room_of_no_bytes_is_room),
        cmocka_unit_test(a_range_that_begins_and_ends_anywhere_is_kept_to),
        cmocka_unit_test(a_tiny_range_is_used),
        cmocka_unit_test(nearly_all_of_a_range_can_be_had),
        cmocka_unit_test(the_allocator_writes_nothing_into_the_segment),
        cmocka_unit_test(what_is_freed_keeps_its_neighbours),
        cmocka_unit_test(memory_is_used_again_over_100000_turns),
        cmocka_unit_test(the_same_object_again_commits_nothing),
        cmocka_unit_test(memory_of_a_large_object_serves_small_ones),
        cmocka_unit_test(what_lies_where_a_large_object_ended_has_memory),
        cmocka_unit_test(memory_of_small_objects_serves_a_large_one),
        cmocka_unit_test(an_empty_heap_has_room_for_one_large_object),
        cmocka_unit_test(a_heap_commits_no_more_than_it_needs),
        cmocka_unit_test(one_object_of_each_small_size_commits_little),
        cmocka_unit_test(without_a_grant_there_is_no_room),
        cmocka_unit_test(the_grant_is_kept_to_the_byte),
        cmocka_unit_test(a_grant_taken_back_refuses_growth_and_not_reuse),
        cmocka_unit_test(refusals_use_nothing_up),
        cmocka_unit_test(more_than_there_can_be_at_hand),
        cmocka_unit_test(growth_for_is_enough_from_a_byte_to_300_mib),
        cmocka_unit_test(growth_for_is_enough_in_a_heap_full_of_holes),
        cmocka_unit_test(memory_that_the_system_refuses_is_a_refusal),
        cmocka_unit_test(a_fast_timer_does_not_keep_a_large_object_away),
        cmocka_unit_test(trim_gives_back_what_is_free_and_only_that),
        cmocka_unit_test(trim_of_an_empty_heap_leaves_nothing),
        cmocka_unit_test(what_was_trimmed_counts_again_when_it_is_taken_again),
        cmocka_unit_test(thousands_of_heaps_come_and_go_with_objects_in_them),
        cmocka_unit_test(many_heaps_live_side_by_side),
        cmocka_unit_test(destroy_of_no_heap_is_nothing),
        cmocka_unit_test(to_free_what_is_not_in_the_heap_is_caught),
        cmocka_unit_test(other_threads_free_trim_and_purge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
