/*
 * What a worker was lent to read it can only read: whatever a task tries with the descriptors and mappings that
 * it finds in its process, others' memory keeps its size, its pages and its bytes. Rows 31 and 32 of
 * tests/faults/README.md.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "tests/support/test.h"

enum { NUMBERS = 100000, PAGE = 4096 };

static bool is_ours(int fd)
{
    char path[40], target[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(path, target, sizeof target - 1);
    if (length < 0)
        return false;
    target[length] = 0;
    return strstr(target, "memfd:dmrt") != NULL;
}

static bool can_write(int fd)
{
    return (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
}

static bool maps_writable(int fd)
{
    return mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED;
}

static bool punches(int fd)
{
    return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE) == 0;
}

/* Root may open anything; others find it closed (test_store_segment). */
static bool reopens(int fd)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return geteuid() != 0 && open(path, O_RDWR) >= 0;
}

/* What succeeded that must not. */
static void try_descriptor(int fd, char *wrong)
{
    bool shrunk = ftruncate(fd, 0) == 0 || ftruncate(fd, PAGE) == 0;
    bool grown = ftruncate(fd, (off_t)1 << 46) == 0 || fallocate(fd, 0, (off_t)1 << 46, PAGE) == 0;
    bool sealed = fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == 0;
    strcat(wrong, shrunk ? "shrunk " : "");
    strcat(wrong, grown ? "grown " : "");
    strcat(wrong, sealed ? "sealed " : "");
    if (can_write(fd))
        return; /* its own: it may write and punch there */
    strcat(wrong, maps_writable(fd) ? "mapped for writing " : "");
    strcat(wrong, punches(fd) ? "punched " : "");
    strcat(wrong, pwrite(fd, "x", 1, 0) == 1 ? "written " : "");
    strcat(wrong, reopens(fd) ? "reopened " : "");
}

static int try_descriptors(char *wrong, int *writable)
{
    int tried = 0;
    *writable = 0;
    for (int fd = 0; fd < 1000; fd++) {
        if (!is_ours(fd))
            continue;
        tried++;
        *writable += can_write(fd);
        try_descriptor(fd, wrong);
    }
    return tried;
}

/* Every mapping of memory of ours that is not writable. */
static int try_mappings(char *wrong)
{
    int tried = 0;
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        char rights[5];
        if (!strstr(line, "memfd:dmrt") || sscanf(line, "%lx-%lx %4s", &from, &to, rights) != 3 || rights[1] == 'w')
            continue;
        tried++;
        union {
            unsigned long number;
            void *pointer;
        } at = {from};
        strcat(wrong, mprotect(at.pointer, PAGE, PROT_READ | PROT_WRITE) == 0 ? "made writable " : "");
        strcat(wrong, madvise(at.pointer, PAGE, MADV_REMOVE) == 0 ? "removed " : "");
    }
    fclose(maps);
    return tried;
}

/* It has read others' memory before, and so has it mapped. Answers: what it could do and must not, how many
 * descriptors and mappings it found, and how many of the descriptors can write. */
DM_REMOTE(tries_everything)
{
    dm_view theirs, another;
    int writable;
    char wrong[4096] = "", answer[5000];
    DM_TRY(dm_arg(call, 0, &theirs));
    DM_TRY(dm_arg(call, 1, &another));
    int descriptors = try_descriptors(wrong, &writable), mappings = try_mappings(wrong);
    snprintf(answer, sizeof answer, "%d %d %d %s", descriptors, writable, mappings, wrong);
    return dm_return(call, answer);
}

DM_REMOTE(counts)
{
    static double numbers[NUMBERS];
    for (int i = 0; i < NUMBERS; i++)
        numbers[i] = i;
    return dm_return(call, &DM_ARRAY(numbers, DM_F64, NUMBERS));
}

static void assert_counted(dm_ref ref)
{
    dm_view view;
    assert_ok(dm_get(ref, &view));
    assert_int_equal(view.bytes, NUMBERS * sizeof(double));
    for (int i = 0; i < NUMBERS; i++)
        assert_true(((const double *)view.data)[i] == i);
    dm_view_release(&view);
}

static void no_right_can_be_widened(void **state)
{
    (void)state;
    static double numbers[NUMBERS];
    residue before;
    residue_begin(&before);
    for (int i = 0; i < NUMBERS; i++)
        numbers[i] = i;
    session_begin(DM_ENGINE_PROCESSES, 2);
    dm_ref put = dm_put(&DM_ARRAY(numbers, DM_F64, NUMBERS)), made[4], answers[8];
    for (int i = 0; i < 4; i++)
        made[i] = dm_remote(counts);
    for (int i = 0; i < 8; i++)
        answers[i] = dm_remote(tries_everything, put, made[i % 4]);
    for (int i = 0; i < 8; i++) {
        char *answer;
        int descriptors, writable, mappings, end = 0;
        assert_ok(dm_get(answers[i], &answer));
        assert_int_equal(sscanf(answer, "%d %d %d %n", &descriptors, &writable, &mappings, &end), 3);
        assert_true(descriptors >= 1 && writable <= 1 && mappings >= 1); /* it did try */
        assert_string_equal(answer + end, "");
        free(answer);
        dm_release(answers[i]);
    }
    assert_counted(put);
    for (int i = 0; i < 4; i++) {
        assert_counted(made[i]);
        dm_release(made[i]);
    }
    dm_release(put);
    dm_shutdown();
    assert_no_residue(&before);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(no_right_can_be_widened),
};

TEST_MAIN(tests, NULL)
