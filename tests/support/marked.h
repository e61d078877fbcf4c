/*
 * marked.h - objects whose bytes say whose they are, and tasks that make and check them: for the tests of
 * spilling. They are plain bytes and do not compress, so they lie on the disk as they are in memory.
 */
#ifndef TEST_SUPPORT_MARKED_H
#define TEST_SUPPORT_MARKED_H

#include <fcntl.h>
#include <sys/stat.h>

#include "tests/support/test.h"

enum { MARKED_MIB = 1 << 20 };

/* ---- bytes ---- */

static inline uint64_t marked_word(uint64_t whose, size_t i)
{
    uint64_t x = (whose << 32 | i) + 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static inline void marked_fill(void *data, size_t bytes, uint64_t whose)
{
    uint64_t *words = data;
    for (size_t i = 0; i < bytes / 8; i++)
        words[i] = marked_word(whose, i);
}

static inline bool is_marked(const void *data, size_t bytes, uint64_t whose)
{
    const uint64_t *words = data;
    for (size_t i = 0; i < bytes / 8; i++)
        if (words[i] != marked_word(whose, i))
            return false;
    return true;
}

/* An object of `bytes`, a multiple of 8; DM_NO_REF if there is no room. */
static inline dm_ref marked_put(size_t bytes, uint64_t whose)
{
    dm_buffer buffer;
    if (dm_create(DM_U8, 1, &bytes, &buffer) != DM_OK)
        return DM_NO_REF;
    marked_fill(buffer.data, bytes, whose);
    return dm_seal(&buffer);
}

/* It can be had, and is what it was. */
static inline bool marked_is_there(dm_ref ref, size_t bytes, uint64_t whose)
{
    dm_view view;
    if (dm_get_within(ref, &view, WATCH_PATIENCE_MS) != DM_OK)
        return false;
    bool good = view.bytes == bytes && is_marked(view.data, bytes, whose);
    dm_view_release(&view);
    if (!good)
        dmi_error(DM_ERR_CORRUPT, "value %llu has wrong bytes", (unsigned long long)whose);
    return good;
}

#define assert_marked(ref_, bytes_, whose_)                                                        \
    do {                                                                                           \
        if (!marked_is_there((ref_), (bytes_), (whose_)))                                          \
            fail_msg("value %llu: %s", (unsigned long long)(whose_), dm_last_error());             \
    } while (0)

/* ---- how often a task ran ---- */

static inline void marked_path(char path[300], uint64_t whose)
{
    snprintf(path, 300, "%s/ran-%llu", getenv("TMPDIR"), (unsigned long long)whose);
}

static inline void marked_note_run(uint64_t whose)
{
    char path[300];
    marked_path(path, whose);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    ssize_t written = write(fd, "!", 1);
    (void)written;
    close(fd);
}

/* So often; and forgets it. */
static inline int marked_runs(uint64_t whose)
{
    char path[300];
    struct stat about = {0};
    marked_path(path, whose);
    stat(path, &about);
    unlink(path);
    return (int)about.st_size;
}

/* ---- tasks ---- */

/* bytes, whose */
DM_REMOTE(marked_make)
{
    size_t bytes;
    uint64_t whose;
    dm_buffer buffer;
    DM_TRY(dm_arg(call, 0, &bytes));
    DM_TRY(dm_arg(call, 1, &whose));
    DM_TRY(dm_create(DM_U8, 1, &bytes, &buffer));
    marked_fill(buffer.data, bytes, whose);
    return dm_return(call, &buffer);
}

/* The same, and it is noted. */
DM_REMOTE(marked_make_and_note)
{
    size_t bytes;
    uint64_t whose;
    dm_buffer buffer;
    DM_TRY(dm_arg(call, 0, &bytes));
    DM_TRY(dm_arg(call, 1, &whose));
    marked_note_run(whose);
    DM_TRY(dm_create(DM_U8, 1, &bytes, &buffer));
    marked_fill(buffer.data, bytes, whose);
    return dm_return(call, &buffer);
}

/* whose, then objects of whose, whose + 1, ...: how many are right. */
DM_REMOTE(marked_check)
{
    uint64_t whose;
    int good = 0;
    DM_TRY(dm_arg(call, 0, &whose));
    for (int i = 1; i < dm_arg_count(call); i++) {
        dm_view view;
        DM_TRY(dm_arg(call, i, &view));
        good += is_marked(view.data, view.bytes, whose + (uint64_t)i - 1);
    }
    return dm_return(call, good);
}

/* An object of the task's own from one that it is given: whose, the other's whose, the other. */
DM_REMOTE(marked_remake)
{
    uint64_t whose, other;
    dm_view view;
    dm_buffer buffer;
    DM_TRY(dm_arg(call, 0, &whose));
    DM_TRY(dm_arg(call, 1, &other));
    DM_TRY(dm_arg(call, 2, &view));
    if (!is_marked(view.data, view.bytes, other))
        return dm_fail(call, "value %llu has wrong bytes", (unsigned long long)other);
    marked_note_run(whose);
    DM_TRY(dm_create(DM_U8, 1, &view.bytes, &buffer));
    marked_fill(buffer.data, view.bytes, whose);
    return dm_return(call, &buffer);
}

/* ---- sessions ---- */

static inline dm_stats marked_stats(void)
{
    dm_stats stats = {0};
    assert_ok(dm_stats_get(&stats));
    return stats;
}

static inline void marked_release(const dm_ref *refs, int count)
{
    for (int i = 0; i < count; i++)
        assert_ok(dm_release(refs[i]));
}

/* All refs are released: nothing is alive, in memory or on disk; and then nothing is left. */
static inline void marked_end(const residue *before)
{
    assert_soon(marked_stats().refs == 0);
    dm_stats stats = marked_stats();
    assert_int_equal(stats.objects, 0);
    assert_int_equal(stats.store_used, 0);
    assert_int_equal(stats.spilled_objects, 0);
    assert_int_equal(stats.spilled_bytes, 0);
    assert_soon(marked_stats().disk_bytes == 0);
    dm_shutdown();
    assert_no_residue(before);
}

/* A step of a random sequence. */
static inline uint64_t marked_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

#endif
