/*
 * moody.h - a disk with moods: of its writes one in a hundred finds no room, one fails, one is short, while it is told to.
 */
#ifndef TEST_SUPPORT_MOODY_H
#define TEST_SUPPORT_MOODY_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "objectstore/file_calls.h"

static dmi_file_calls healthy;
static atomic_bool moody;
static atomic_uint writes, without_room, failing, short_ones;

static ssize_t moody_write_at(int fd, const void *bytes, size_t count, off_t at)
{
    unsigned chance = (atomic_fetch_add(&writes, 1) * 2654435761u >> 16) % 100;
    if (atomic_load(&moody) && chance < 2) {
        atomic_fetch_add(chance ? &failing : &without_room, 1);
        errno = chance ? EIO : ENOSPC;
        return -1;
    }
    if (atomic_load(&moody) && chance == 2 && count > 4096) {
        atomic_fetch_add(&short_ones, 1);
        count = count / 2 / 4096 * 4096;
    }
    return healthy.write_at(fd, bytes, count, at);
}

/* Before any session. */
static void moody_set_up(void)
{
    healthy = dmi_calls;
    dmi_calls.write_at = moody_write_at;
}

#endif
