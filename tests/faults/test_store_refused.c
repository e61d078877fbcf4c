/*
 * Rows 27, 28, 45 in the store by itself, without a session: the K-th call for memory or for a file is refused, for K from 1
 * until a run has none, while segments and heaps are made, spill files are written and read in a directory that is
 * swept before. Each says so or does without; what was stored is right; no descriptor, no file and no memory is left.
 *
 * The calls of the library are wrapped by the linker (tests/CMakeLists.txt).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>

#include "objectstore/backing.h"
#include "objectstore/heap.h"
#include "tests/support/spilling.h"

static long countdown, failed;
static bool all_later, failing; /* those behind the K-th fail, too */
static int also; /* an errno that is given in place of the call's own, if it is not 0 */

static bool is_to_fail(int error)
{
    bool now = countdown != 0 && --countdown == 0;
    failing |= now && all_later;
    if (!now && !failing)
        return false;
    failed++;
    errno = also ? also : error;
    return true;
}

#define WRAPPED(type_, name_, parameters_, arguments_, failure_, error_)                           \
    type_ __real_##name_ parameters_;                                                              \
    type_ __wrap_##name_ parameters_;                                                              \
    type_ __wrap_##name_ parameters_                                                               \
    {                                                                                              \
        return is_to_fail(error_) ? failure_ : __real_##name_ arguments_;                          \
    }

WRAPPED(void *, malloc, (size_t bytes), (bytes), NULL, ENOMEM)
WRAPPED(void *, calloc, (size_t count, size_t bytes), (count, bytes), NULL, ENOMEM)
WRAPPED(char *, strndup, (const char *text, size_t length), (text, length), NULL, ENOMEM)
WRAPPED(void *, mmap, (void *at, size_t bytes, int protection, int flags, int fd, off_t offset),
        (at, bytes, protection, flags, fd, offset), MAP_FAILED, ENOMEM)
WRAPPED(int, memfd_create, (const char *name, unsigned flags), (name, flags), -1, EMFILE)
WRAPPED(int, ftruncate, (int fd, off_t bytes), (fd, bytes), -1, EINVAL)
WRAPPED(int, fchmod, (int fd, mode_t mode), (fd, mode), -1, EPERM)
WRAPPED(int, fstat, (int fd, struct stat *about), (fd, about), -1, EIO)
WRAPPED(int, fstatat, (int fd, const char *name, struct stat *about, int flags), (fd, name, about, flags), -1, EACCES)
WRAPPED(int, fstatfs, (int fd, struct statfs *about), (fd, about), -1, EIO)
WRAPPED(int, fstatvfs, (int fd, struct statvfs *about), (fd, about), -1, EIO)
WRAPPED(int, madvise, (void *at, size_t bytes, int advice), (at, bytes, advice), -1, EAGAIN)
WRAPPED(int, mkdirat, (int fd, const char *name, mode_t mode), (fd, name, mode), -1, EEXIST)
WRAPPED(int, flock, (int fd, int operation), (fd, operation), -1, EWOULDBLOCK)
WRAPPED(DIR *, fdopendir, (int fd), (fd), NULL, ENOMEM)
WRAPPED(ssize_t, getrandom, (void *to, size_t bytes, unsigned flags), (to, bytes, flags), -1, EAGAIN)
WRAPPED(ssize_t, pwrite, (int fd, const void *from, size_t bytes, off_t at), (fd, from, bytes, at), -1, EIO)
WRAPPED(ssize_t, pread, (int fd, void *to, size_t bytes, off_t at), (fd, to, bytes, at), -1, EIO)

/* What happens meanwhile: in a heap that grows, and where one notes what another is to free. */
static void (*in_fallocate)(void);
static bool (*in_realloc)(void);

int __real_fallocate(int fd, int mode, off_t at, off_t bytes);
int __wrap_fallocate(int fd, int mode, off_t at, off_t bytes);
int __wrap_fallocate(int fd, int mode, off_t at, off_t bytes)
{
    if (in_fallocate)
        in_fallocate();
    return is_to_fail(ENOSPC) ? -1 : __real_fallocate(fd, mode, at, bytes);
}

void *__real_realloc(void *at, size_t bytes);
void *__wrap_realloc(void *at, size_t bytes);
void *__wrap_realloc(void *at, size_t bytes)
{
    if (in_realloc && !in_realloc())
        return NULL;
    return is_to_fail(ENOMEM) ? NULL : __real_realloc(at, bytes);
}

/* What an error at the end says is of no interest: it is closed. */
int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd)
{
    int failed_really = __real_close(fd);
    return is_to_fail(EIO) ? -1 : failed_really;
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    return is_to_fail(EMFILE) ? -1 : __real_open(path, flags); /* the library makes no file by it */
}

int __real_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...)
{
    va_list values;
    va_start(values, flags);
    mode_t mode = (flags & (O_CREAT | __O_TMPFILE)) ? va_arg(values, mode_t) : 0;
    va_end(values);
    return is_to_fail(EMFILE) ? -1 : __real_openat(dir, path, flags, mode);
}

int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...)
{
    va_list values;
    va_start(values, command);
    long argument = va_arg(values, long);
    va_end(values);
    return is_to_fail(EBUSY) ? -1 : __real_fcntl(fd, command, argument);
}

/* ---- one run each ---- */

static int open_descriptors(void)
{
    int count = 0;
    for (int fd = 3; fd < 256; fd++)
        count += __real_fcntl(fd, F_GETFD, 0L) >= 0;
    return count;
}

static void says_what(dm_status status)
{
    if (status == DM_OK)
        return;
    assert_true(status != DM_ERR_INVALID && status != DM_ERR_BADREF);
    assert_true(strlen(dm_last_error()) > 10);
}

/* Objects that are freed in another order, so that the heap gives memory back and takes it again. */
static void fill_heap(dmi_heap *heap, dmi_segment *segment)
{
    enum { MANY = 40, BYTES = 100000, LARGE_ONE = 9 << 20 };
    size_t at[MANY], large = dmi_heap_alloc(heap, LARGE_ONE);
    if (large != 0) {
        memset(segment->rw + large, 77, LARGE_ONE);
        dmi_heap_free(heap, large);
    }
    for (int i = 0; i < MANY; i++) {
        at[i] = dmi_heap_alloc(heap, BYTES);
        if (at[i] != 0)
            memset(segment->rw + at[i], i + 1, BYTES);
    }
    for (int i = 0; i < MANY; i++)
        for (int j = 0; at[i] != 0 && j < BYTES; j += 99)
            assert_int_equal(segment->rw[at[i] + (size_t)j], i + 1);
    for (int i = 0; i < MANY; i++)
        if (at[i * 7 % MANY] != 0)
            dmi_heap_free(heap, at[i * 7 % MANY]);
    dmi_heap_trim(heap);
    dmi_heap_trim(heap);
}

static void heaps(void)
{
    enum { SEGMENT = 64 << 20, FIRST = 4096 };
    dmi_segment segment;
    dmi_heap *heap = NULL;
    dmi_word committed = 0, granted = SEGMENT;
    dm_status status = dmi_segment_create(&segment, SEGMENT, false);
    says_what(status);
    if (status != DM_OK) {
        assert_true(segment.rw_fd < 0 && segment.ro_fd < 0);
        return;
    }
    status = dmi_heap_create(&heap, &segment, FIRST, SEGMENT, &committed, &granted);
    says_what(status);
    if (status == DM_OK) {
        fill_heap(heap, &segment);
        dmi_heap_destroy(heap);
    }
    dmi_segment_destroy(&segment);
}

/* One reader of a segment that another has made. */
static void readers(void)
{
    dmi_segment segment, reader;
    if (dmi_segment_create(&segment, 1 << 20, false) != DM_OK)
        return;
    int fd = __real_fcntl(segment.ro_fd, F_DUPFD_CLOEXEC, 3L);
    memset(segment.rw, 5, 100);
    dm_status status = dmi_segment_attach(&reader, -1, fd, 1 << 20);
    says_what(status);
    if (status == DM_OK) {
        assert_int_equal(reader.ro[99], 5);
        dmi_segment_destroy(&reader);
    }
    dmi_segment_destroy(&segment);
}

/* What a dead session left: a directory whose lock is free, with a file in it. */
static void leave_something(void)
{
    char path[400];
    snprintf(path, sizeof path, "%s/dmrt-%u-1-abcdef", spilling_dir(), (unsigned)geteuid());
    mkdir(path, 0700);
    for (int i = 0; i < 2; i++) {
        char name[500];
        snprintf(name, sizeof name, "%s/%s", path, i ? "spill-0" : "lock");
        int fd = __real_open(name, O_CREAT | O_RDWR, 0600);
        if (fd >= 0)
            close(fd);
    }
}

static void write_and_read(dmi_spill *spill)
{
    enum { MANY = 12, TURNS = 2 };
    static char bytes[MANY][70000], found[70000];
    dmi_part parts[MANY];
    for (unsigned turn = 0; turn < TURNS; turn++) {
        for (unsigned i = 0; i < MANY; i++) {
            size_t count = i % 3 == 0 ? sizeof bytes[i] : 700 * (i + 1);
            spilling_fill(bytes[i], count, i % 2 ? SPILLING_SIGNALS : SPILLING_NOISE, 100 * turn + i);
            parts[i] = (dmi_part){.bytes = bytes[i], .count = count, .element = 4, .id = i};
        }
        dm_status status = dmi_spill_write(spill, parts, MANY, NULL);
        says_what(status);
        for (unsigned i = 0; i < MANY; i++) {
            if (status != DM_OK) {
                assert_int_equal(parts[i].ticket, 0);
                continue;
            }
            dm_status read = dmi_spill_read(spill, parts[i].ticket, i, found, parts[i].count);
            says_what(read);
            if (read == DM_OK)
                assert_memory_equal(found, bytes[i], parts[i].count);
            if (i % 4 != turn) /* the rest stays, so that blocks have dead neighbours */
                dmi_spill_free(spill, parts[i].ticket);
        }
        for (int i = 0; i < 50 && dmi_spill_tidy(spill); i++)
            continue;
        assert_true(dmi_spill_is_valid(spill));
    }
}

static dmi_spill_settings how;

static void spills(void)
{
    dmi_spill *spill = NULL;
    leave_something();
    dm_status status = dmi_spill_create(&spill, &how);
    says_what(status);
    if (status == DM_OK)
        write_and_read(spill);
    dmi_spill_destroy(spill);
}

/* ---- what is freed while another allocates ---- */

enum { EARLIER = 100000, LARGE = 4 << 20 };

static dmi_heap *busy;
static size_t earlier; /* is freed by a thread of its own, while the heap grows */
static pthread_t freer;
static atomic_bool noting, may_note;

static void *free_it(void *nothing)
{
    dmi_heap_free(busy, earlier);
    return nothing;
}

/* The heap is locked: the thread notes it for whoever has the lock. We go on when it is about to. */
static void free_meanwhile(void)
{
    in_fallocate = NULL;
    assert_int_equal(pthread_create(&freer, NULL, free_it, NULL), 0);
    while (!atomic_load(&noting))
        watch_pause();
}

/* With memory for the note, or without: then the thread waits for the heap itself. */
static bool note(void)
{
    atomic_store(&noting, true);
    return atomic_load(&may_note);
}

/* It is free in the end: nothing is left. */
static void freed_meanwhile(bool with_memory)
{
    dmi_segment segment;
    dmi_word committed = 0, granted = 0;
    const size_t bytes = 64 << 20, first = 4096;
    assert_ok(dmi_segment_create(&segment, first + bytes, false));
    dmi_word_publish(&granted, bytes);
    assert_ok(dmi_heap_create(&busy, &segment, first, segment.bytes, &committed, &granted));
    earlier = dmi_heap_alloc(busy, EARLIER);
    assert_true(earlier != 0);
    atomic_store(&noting, false), atomic_store(&may_note, with_memory);
    in_realloc = note;
    in_fallocate = free_meanwhile;
    size_t large = dmi_heap_alloc(busy, LARGE);
    assert_null(in_fallocate); /* it has grown */
    assert_int_equal(pthread_join(freer, NULL), 0);
    in_realloc = NULL;
    assert_true(large != 0);
    dmi_heap_free(busy, large);
    dmi_heap_trim(busy);
    assert_int_equal(dmi_word_load(&committed), 0);
    dmi_heap_destroy(busy);
    dmi_segment_destroy(&segment);
}

static void frees_while_a_heap_grows(void **state)
{
    (void)state;
    freed_meanwhile(true);
    freed_meanwhile(false);
}

/* ---- each ---- */

static void each(void (*run)(void), int error)
{
    int before = open_descriptors();
    long k = 1, last;
    also = error;
    do {
        last = failed;
        countdown = k++;
        run();
        countdown = 0;
        failing = false;
        assert_int_equal(open_descriptors(), before);
    } while (failed != last);
    print_message("each of %ld calls was refused\n", k - 2);
    assert_true(k > 3);
}

static void segments_and_heaps(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        each(heaps, (int[]){0, ENOMEM, EINTR, ENOSPC}[i]);
    all_later = true;
    each(heaps, 0);
    all_later = false;
}

/* Pages are had in two goes, since some between them are there: if the second is refused, the first is given back. */
static void pages_with_others_between(void **state)
{
    (void)state;
    enum { PAGES = 16, FROM = 4, TO = 8 };
    dmi_segment segment;
    dmi_backing backing;
    dmi_word committed = 0, granted = PAGES * DMI_PAGE;
    assert_ok(dmi_segment_create(&segment, (PAGES + 1) * DMI_PAGE, false));
    assert_ok(dmi_backing_init(&backing, segment.rw_fd, DMI_PAGE, (PAGES + 1) * DMI_PAGE, &committed, &granted));
    for (int refused = 1; refused <= 3; refused++) {
        assert_true(dmi_backing_take(&backing, (1 + FROM) * DMI_PAGE, (TO - FROM) * DMI_PAGE, true));
        dmi_backing_leave(&backing, (1 + FROM) * DMI_PAGE, (TO - FROM) * DMI_PAGE);
        countdown = refused;
        assert_int_equal(dmi_backing_take(&backing, DMI_PAGE, PAGES * DMI_PAGE, true), refused == 3);
        countdown = 0;
        struct stat about;
        assert_int_equal(__real_fstat(segment.rw_fd, &about), 0);
        assert_int_equal(about.st_blocks * 512, (refused == 3 ? PAGES : TO - FROM) * DMI_PAGE);
        assert_int_equal(dmi_word_load(&committed), about.st_blocks * 512);
    }
    dmi_backing_fini(&backing);
    dmi_segment_destroy(&segment);
}

static void segments_of_others(void **state)
{
    (void)state;
    each(readers, 0);
}

/* Then a run without refusals finds what those before left, and leaves nothing. */
static void spilling(bool visible, int error)
{
    how = (dmi_spill_settings){.dirs = spilling_dir(), .acceleration = 1, .visible = visible, .fill_limit = 0.999};
    each(spills, error);
    all_later = true;
    if (error == 0 || error == EOPNOTSUPP) /* EINTR is tried again for ever, and the rest says nothing new */
        each(spills, error);
    all_later = false;
    spills();
    assert_int_equal(spilling_names(spilling_dir()), 0);
}

static void nameless_files(void **state)
{
    (void)state;
    static const int errors[] = {0, EOPNOTSUPP, EINTR, EDQUOT, EIO, ENFILE};
    for (int i = 0; i < (int)(sizeof errors / sizeof *errors); i++)
        spilling(false, errors[i]);
}

static void visible_files(void **state)
{
    (void)state;
    spilling(true, 0);
    spilling(true, ENOMEM);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(segments_and_heaps),
    cmocka_unit_test(pages_with_others_between),
    cmocka_unit_test(segments_of_others),
    cmocka_unit_test(frees_while_a_heap_grows),
    cmocka_unit_test(nameless_files),
    cmocka_unit_test(visible_files),
};

TEST_MAIN(tests, NULL)
