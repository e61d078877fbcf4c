/*
 * segment.c - memfds, sealed and mapped. No process knows another's; descriptors travel by socket.
 */
#include "objectstore/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

enum { PAGE = 4096, SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL };

/* What the kernel said to what was tried with so many bytes, and what one can do about it. */
static dm_status refused(const char *tried, size_t bytes)
{
    int error = errno;
    if (error == EMFILE || error == ENFILE)
        return dmi_error(DM_ERR_FDS, "%s (%zu bytes): no file descriptor is left; raise ulimit -n",
                         tried, bytes);
    if (error == ENOMEM || error == ENOSPC)
        return dmi_error(
            DM_ERR_NOMEM,
            "%s (%zu bytes): no memory or address space is left; lower DM_STORE_BYTES, or "
            "raise ulimit -v or vm.max_map_count",
            tried, bytes);
    return dmi_error(DM_ERR_SYSTEM,
                     "%s (%zu bytes): %s; the kernel must allow memfd_create and /proc", tried,
                     bytes, strerror(error));
}

static int make_memfd(void)
{
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    int fd = memfd_create("dmrt", flags | MFD_NOEXEC_SEAL);
    return fd < 0 && errno == EINVAL ? memfd_create("dmrt", flags) : fd;
}

/* The same memory again, for reading only: what this descriptor maps can never be written through it. */
static int reopen_for_reading(int fd)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static void *map(int fd, size_t bytes, int protection)
{
    void *at = mmap(NULL, bytes, protection, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (at == MAP_FAILED)
        return NULL;
    madvise(at, bytes, MADV_DONTDUMP);
    return at;
}

/* A child of the driver must never write here; what it was lent it may go on reading. */
static dm_status map_both(dmi_segment *segment, bool one_mapping)
{
    size_t bytes = segment->bytes;
    if (segment->rw_fd >= 0) {
        segment->rw = map(segment->rw_fd, bytes, PROT_READ | PROT_WRITE);
        if (segment->rw == NULL)
            return refused("mapping shared memory for writing", bytes);
        if (madvise(segment->rw, bytes, MADV_DONTFORK) != 0)
            return refused("keeping shared memory from children", bytes);
    }
    segment->ro = one_mapping ? segment->rw : map(segment->ro_fd, bytes, PROT_READ);
    return segment->ro ? DM_OK : refused("mapping shared memory for reading", bytes);
}

static dm_status fill(dmi_segment *segment, size_t bytes, bool one_mapping)
{
    segment->rw_fd = make_memfd();
    if (segment->rw_fd < 0)
        return refused("making shared memory", bytes);
    if (ftruncate(segment->rw_fd, (off_t)bytes) != 0)
        return refused("sizing shared memory", bytes);
    if (fcntl(segment->rw_fd, F_ADD_SEALS, SEALS) != 0)
        return refused("sealing shared memory", bytes);
    segment->ro_fd = reopen_for_reading(segment->rw_fd);
    if (segment->ro_fd < 0)
        return refused("reopening shared memory for reading", bytes);
    if (fchmod(segment->rw_fd, 0) != 0) /* else a reader could reopen it as we just did, for writing */
        return refused("closing shared memory to its readers", bytes);
    segment->bytes = bytes;
    return map_both(segment, one_mapping);
}

dm_status dmi_segment_create(dmi_segment *segment, size_t bytes, bool one_mapping)
{
    *segment = (dmi_segment){.rw_fd = -1, .ro_fd = -1};
    if (bytes == 0 || bytes > (size_t)INT64_MAX - PAGE)
        return dmi_error(DM_ERR_SYSTEM, "shared memory of %zu bytes cannot be made", bytes);
    dm_status status = fill(segment, (bytes + PAGE - 1) / PAGE * PAGE, one_mapping);
    if (status != DM_OK)
        dmi_segment_destroy(segment);
    return status;
}

/* Is it memory of this size that nobody can shrink under us, to be used in this way? */
static dm_status check(int fd, int access, size_t bytes, struct stat *about)
{
    if (fstat(fd, about) != 0)
        return refused("looking at shared memory received", bytes);
    if (about->st_size < 0 || (size_t)about->st_size != bytes)
        return dmi_error(DM_ERR_VERSION,
                         "shared memory of %zu bytes was announced, %lld were received", bytes,
                         (long long)about->st_size);
    int seals = fcntl(fd, F_GET_SEALS); /* -1 for what is no memfd */
    if (seals < 0 || (seals & SEALS) != SEALS)
        return dmi_error(DM_ERR_VERSION, "shared memory was received that is not sealed");
    if ((fcntl(fd, F_GETFL) & O_ACCMODE) != access)
        return dmi_error(DM_ERR_VERSION, "shared memory was received that is not %s",
                         access == O_RDONLY ? "read-only" : "writable");
    return DM_OK;
}

static dm_status check_both(const dmi_segment *segment)
{
    struct stat ro, rw;
    dm_status status = check(segment->ro_fd, O_RDONLY, segment->bytes, &ro);
    if (status != DM_OK || segment->rw_fd < 0)
        return status;
    status = check(segment->rw_fd, O_RDWR, segment->bytes, &rw);
    if (status == DM_OK && rw.st_ino != ro.st_ino)
        return dmi_error(DM_ERR_VERSION,
                         "two descriptors of different shared memory were received");
    return status;
}

dm_status dmi_segment_attach(dmi_segment *segment, int rw_fd, int ro_fd, size_t bytes)
{
    *segment = (dmi_segment){.bytes = bytes, .rw_fd = rw_fd, .ro_fd = ro_fd};
    dm_status status = check_both(segment);
    if (status == DM_OK)
        status = map_both(segment, false);
    if (status != DM_OK)
        dmi_segment_destroy(segment);
    return status;
}

void dmi_segment_unmap_rw(dmi_segment *segment)
{
    if (segment->rw && segment->rw != segment->ro)
        munmap(segment->rw, segment->bytes);
    segment->rw = NULL;
}

void dmi_segment_close_fds(dmi_segment *segment)
{
    if (segment->rw_fd >= 0)
        close(segment->rw_fd);
    if (segment->ro_fd >= 0)
        close(segment->ro_fd);
    segment->rw_fd = segment->ro_fd = -1;
}

void dmi_segment_destroy(dmi_segment *segment)
{
    dmi_segment_unmap_rw(segment);
    if (segment->ro)
        munmap((void *)(uintptr_t)segment->ro, segment->bytes);
    dmi_segment_close_fds(segment);
    *segment = (dmi_segment){.rw_fd = -1, .ro_fd = -1};
}
