/*
 * output.c - files that appear complete: nameless until then, so that a kill leaves nothing behind.
 *
 * Where a file system has no nameless files, a name beside the final one serves; only there a kill
 * can leave something. Knows nothing of contents.
 */
#define _GNU_SOURCE /* O_TMPFILE */
#include "models/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Tries at finding a name that nobody has; more would mean that something else is wrong. */
enum { MOST_NAMES = 1000 };

static dm_status failed(const char *path, const char *what, int cause)
{
    return dmi_error(DM_ERR_IO, "%s: %s: %s", path, what, strerror(cause));
}

static dm_status exists(const char *path)
{
    return dmi_error(DM_ERR_IO,
                     "%s: exists already; remove it, name another file, or ask to overwrite", path);
}

static int open_nameless(const char *path)
{
    char *directory = strdup(path);
    if (!directory)
        return -1;
    char *slash = strrchr(directory, '/');
    if (slash)
        slash[slash == directory] = '\0';
    const int fd = open(slash ? directory : ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
    free(directory);
    return fd;
}

/* Gives the output a name of its own beside the final one: the nameless file, or a new one. */
static int take_temporary_name(dmi_output *out)
{
    char *name = NULL;
    for (int i = 0; i < MOST_NAMES; i++) {
        if (asprintf(&name, "%s.%ld-%d.tmp", out->path, (long)getpid(), i) < 0)
            return ENOMEM;
        char source[64];
        snprintf(source, sizeof source, "/proc/self/fd/%d", out->fd);
        int made = out->fd >= 0
                       ? linkat(AT_FDCWD, source, AT_FDCWD, name, AT_SYMLINK_FOLLOW)
                       : (out->fd = open(name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0666));
        if (made >= 0) {
            out->temporary = name;
            return 0;
        }
        const int cause = errno;
        free(name);
        if (cause != EEXIST)
            return cause;
    }
    return EEXIST;
}

dm_status dmi_output_open(const char *path, bool overwrite, dmi_output *out)
{
    *out = (dmi_output){.path = path, .overwrite = overwrite};
    if (!overwrite && access(path, F_OK) == 0)
        return exists(path);
    out->fd = open_nameless(path);
    if (out->fd >= 0)
        return DM_OK;
    const int cause = take_temporary_name(out);
    return cause ? failed(path, "cannot be created", cause) : DM_OK;
}

void dmi_output_abandon(dmi_output *out)
{
    if (out->temporary)
        unlink(out->temporary);
    free(out->temporary);
    close(out->fd);
}

/* Both ways are one step that fails if the name is taken, so two writers cannot both succeed. */
static int name_anew(dmi_output *out)
{
    if (out->temporary)
        return renameat2(AT_FDCWD, out->temporary, AT_FDCWD, out->path, RENAME_NOREPLACE);
    char source[64];
    snprintf(source, sizeof source, "/proc/self/fd/%d", out->fd);
    return linkat(AT_FDCWD, source, AT_FDCWD, out->path, AT_SYMLINK_FOLLOW);
}

static int name_over(dmi_output *out)
{
    const int cause = out->temporary ? 0 : take_temporary_name(out);
    if (cause) {
        errno = cause;
        return -1;
    }
    return rename(out->temporary, out->path);
}

dm_status dmi_output_commit(dmi_output *out)
{
    dm_status status = DM_OK;
    if (fsync(out->fd) != 0 && errno != EINVAL)
        status = failed(out->path, "writing failed", errno);
    else if ((out->overwrite ? name_over(out) : name_anew(out)) != 0)
        status = errno == EEXIST
                     ? exists(out->path)
                     : failed(out->path, "the complete file cannot get its name", errno);
    if (status != DM_OK) {
        dmi_output_abandon(out);
        return status;
    }
    free(out->temporary);
    close(out->fd);
    return DM_OK;
}
