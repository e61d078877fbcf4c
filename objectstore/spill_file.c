/*
 * spill_file.c - pwrite until all is written, and what each failure means.
 */
#include "objectstore/spill_file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "objectstore/file_calls.h"

/* Bytes of one call: long enough for the disk, short enough for a cancelled write to end soon. */
enum { WRITE_MOST = 1 << 20 };

/* Address space of a file is free; this many blocks more at a time. */
enum { GROWTH = 16384 };

/* ---- system calls ---- */

static int open_at(int dir, const char *name, int flags, mode_t mode)
{
    return openat(dir, name, flags, mode);
}

static int punch(int fd, off_t at, off_t count)
{
    return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, count);
}

dmi_file_calls dmi_calls = {open_at, pwrite, pread, punch, ftruncate};

/* ---- begin and end ---- */

/* Of a long path the end. */
static void name_it(dmi_spill_file *file, const dmi_place *place, bool visible)
{
    enum { PATH_MOST = 60 };
    size_t length = strlen(place->path), cut = length > PATH_MOST ? length - PATH_MOST : 0;
    const char *dots = cut ? "..." : "", *path = place->path + cut;
    if (visible)
        snprintf(file->name, sizeof file->name, "%s%s/%s/spill-%u", dots, path, place->home,
                 place->made - 1);
    else
        snprintf(file->name, sizeof file->name, "a nameless file in %s%s", dots, path);
}

dm_status dmi_spill_file_open(dmi_spill_file *file, dmi_place *place, bool visible, bool buffered)
{
    bool direct = !buffered;
    dm_status status = dmi_place_make(place, visible, &direct, &file->fd);
    if (status != DM_OK)
        return status;
    atomic_init(&file->direct, direct); /* private atomic */
    atomic_init(&file->punches, true);  /* private atomic */
    name_it(file, place, visible);
    dmi_extents_init(&file->extents, GROWTH);
    return DM_OK;
}

void dmi_spill_file_close(dmi_spill_file *file)
{
    dmi_extents_fini(&file->extents);
    close(file->fd);
    file->fd = -1;
}

/* ---- writing ---- */

/* Beyond the limit of file sizes a write is answered by a signal that ends the process. It comes to the
 * thread that writes: keep it back, and take it away if it was not there before. */
static ssize_t write_without_signal(int fd, const void *bytes, size_t count, off_t at)
{
    sigset_t too_large, before, pending;
    sigemptyset(&too_large);
    sigaddset(&too_large, SIGXFSZ);
    pthread_sigmask(SIG_BLOCK, &too_large, &before);
    sigpending(&pending);
    ssize_t wrote = dmi_calls.write_at(fd, bytes, count, at);
    int error = errno;
    if (wrote < 0 && error == EFBIG && !sigismember(&pending, SIGXFSZ))
        while (sigtimedwait(&too_large, NULL, &(struct timespec){0, 0}) < 0 && errno == EINTR)
            ;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return wrote;
}

static void forgo_direct(dmi_spill_file *file)
{
    atomic_store_explicit(&file->direct, false, memory_order_relaxed); /* private atomic */
    int flags = fcntl(file->fd, F_GETFL);
    if (flags >= 0)
        fcntl(file->fd, F_SETFL, flags & ~O_DIRECT);
}

static bool is_direct(const dmi_spill_file *file)
{
    return atomic_load_explicit(&file->direct, memory_order_relaxed);
}

/* Is it worth another try? */
static bool may_go_on(dmi_spill_file *file, int error)
{
    if (error == EINTR)
        return true;
    if (error != EINVAL || !is_direct(file))
        return false;
    forgo_direct(file);
    return true;
}

static dm_status write_failed(const dmi_spill_file *file, int error, uint64_t at)
{
    static const char *const what_to_do[] = {
        "make room there, or set DM_SPILL_DIR to another disk, or several with colons between",
        "the disk may be failing; set DM_SPILL_DIR to another one"};
    dm_status status = dmi_place_status(error);
    if (error == EFBIG)
        return dmi_error(status, "%s cannot grow beyond %llu bytes; raise ulimit -f", file->name,
                         (unsigned long long)at);
    return dmi_error(status, "%s cannot be written at byte %llu: %s; %s", file->name,
                     (unsigned long long)at, strerror(error), what_to_do[status != DM_ERR_DISK_FULL]);
}

/* How far a write of so many bytes got us: direct I/O cannot go on in the middle of a block. */
static size_t advance(dmi_spill_file *file, size_t wrote)
{
    if (!is_direct(file) || wrote % DMI_BLOCK == 0)
        return wrote;
    if (wrote < DMI_BLOCK)
        forgo_direct(file);
    return wrote < DMI_BLOCK ? wrote : wrote / DMI_BLOCK * DMI_BLOCK;
}

dm_status dmi_spill_file_write(dmi_spill_file *file, const void *bytes, size_t count, uint64_t at,
                               const atomic_bool *cancelled)
{
    const char *from = bytes;
    for (size_t done = 0; done < count;) {
        if (cancelled && atomic_load_explicit(cancelled, memory_order_relaxed))
            return dmi_error(DM_ERR_CANCELLED, "a write to %s was cancelled", file->name);
        size_t piece = count - done < WRITE_MOST ? count - done : WRITE_MOST;
        ssize_t wrote = write_without_signal(file->fd, from + done, piece, (off_t)(at + done));
        if (wrote > 0)
            done += advance(file, (size_t)wrote);
        else if (wrote == 0 || !may_go_on(file, errno))
            return write_failed(file, wrote == 0 ? ENOSPC : errno, at + done);
    }
    return DM_OK;
}

/* ---- reading ---- */

static bool ends_at(const dmi_spill_file *file, uint64_t at)
{
    struct stat about;
    return fstat(file->fd, &about) != 0 || (uint64_t)about.st_size <= at;
}

/* After a short read once more from the border of a block, for direct I/O's sake. */
dm_status dmi_spill_file_read(dmi_spill_file *file, void *bytes, size_t count, uint64_t at,
                              size_t *got)
{
    *got = 0;
    while (*got < count) {
        size_t from = *got / DMI_BLOCK * DMI_BLOCK;
        ssize_t read =
            dmi_calls.read_at(file->fd, (char *)bytes + from, count - from, (off_t)(at + from));
        if (read < 0 && may_go_on(file, errno))
            continue;
        if (read < 0) /* want of memory says nothing of the bytes */
            return dmi_error(errno == ENOMEM ? DM_ERR_NOMEM : DM_ERR_IO, "%s cannot be read at byte %llu: %s", file->name,
                             (unsigned long long)(at + from), strerror(errno));
        if (from + (size_t)read > *got)
            *got = from + (size_t)read;
        else if (read == 0 || ends_at(file, at + *got))
            break;
    }
    return DM_OK;
}

/* ---- giving back ---- */

bool dmi_spill_file_punch(dmi_spill_file *file, uint64_t at, uint64_t count)
{
    int failed;
    do {
        failed = dmi_calls.punch(file->fd, (off_t)at, (off_t)count);
    } while (failed && errno == EINTR);
    if (failed && (errno == EOPNOTSUPP || errno == ENOSYS || errno == ENODEV))
        atomic_store_explicit(&file->punches, false, memory_order_relaxed); /* private atomic */
    return !failed;
}

bool dmi_spill_file_empty(dmi_spill_file *file)
{
    int failed;
    do {
        failed = dmi_calls.truncate(file->fd, 0);
    } while (failed && errno == EINTR);
    return !failed;
}

/* As df counts: of what is used and what we may use, the rest being root's. */
dm_status dmi_spill_file_room(const dmi_spill_file *file, uint64_t more, double limit)
{
    struct statvfs about;
    if (limit <= 0 || limit >= 1 || fstatvfs(file->fd, &about) != 0)
        return DM_OK;
    double unit = (double)about.f_frsize, used = (double)(about.f_blocks - about.f_bfree) * unit;
    double all = used + (double)about.f_bavail * unit;
    if (all <= 0 || used + (double)more <= limit * all)
        return DM_OK;
    return dmi_error(
        DM_ERR_DISK_FULL,
        "%s: its file system is %.0f %% full, and spilling may fill it to %.0f %%; make room "
        "there, set DM_SPILL_DIR to another disk, or raise the fill limit",
        file->name, 100 * used / all, 100 * limit);
}
