/*
 * place.c - checking, sweeping, making. Every path but the user's own is one name below a descriptor.
 */
#include "objectstore/place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "objectstore/file_calls.h"

#ifndef RAMFS_MAGIC
#define RAMFS_MAGIC 0x858458f6
#endif

/* How old something without a lock must be before it is taken for a dead session's: one that begins
 * locks what it made within microseconds. */
enum { GRACE_S = 60 };

static const char lock_name[] = "lock";

dm_status dmi_place_status(int error)
{
    switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return DM_ERR_DISK_FULL;
    case EMFILE:
    case ENFILE:
        return DM_ERR_FDS;
    case ENOMEM:
        return DM_ERR_NOMEM;
    default:
        return DM_ERR_IO;
    }
}

/* ---- what may be trusted ---- */

static dm_status unsafe(const char *path, const char *why)
{
    return dmi_error(DM_ERR_SPILL_UNSAFE,
                     "the spill directory '%s' %s; set DM_SPILL_DIR to a directory of your own",
                     path, why);
}

static dm_status cannot_open(const char *path)
{
    if (errno == ELOOP)
        return unsafe(path, "is a symbolic link, which others could point elsewhere");
    if (errno == EMFILE || errno == ENFILE)
        return dmi_error(DM_ERR_FDS, "no file descriptor is left for the spill directory '%s'",
                         path);
    struct stat about;
    if (errno == ENOTDIR && lstat(path, &about) == 0 && S_ISLNK(about.st_mode))
        return unsafe(path, "is a symbolic link, which others could point elsewhere");
    return dmi_error(DM_ERR_OPTION,
                     "the spill directory '%s' cannot be used: %s; create it or set DM_SPILL_DIR",
                     path, strerror(errno));
}

static dm_status check_owner(const dmi_place *place)
{
    struct stat about;
    if (fstat(place->fd, &about) != 0)
        return dmi_error(DM_ERR_SYSTEM, "the spill directory '%s': %s", place->path,
                         strerror(errno));
    if (about.st_uid != geteuid() && about.st_uid != 0)
        return unsafe(place->path, "belongs to another user");
    if ((about.st_mode & S_IWOTH) && !(about.st_mode & S_ISVTX))
        return unsafe(place->path, "can be written by everybody and has no sticky bit");
    return DM_OK;
}

static dm_status check_kind(const dmi_place *place, bool allow_memory)
{
    struct statfs about;
    if (faccessat(place->fd, ".", W_OK | X_OK, AT_EACCESS) != 0)
        return dmi_error(DM_ERR_OPTION,
                         "the spill directory '%s' cannot be written to: %s; set DM_SPILL_DIR",
                         place->path, strerror(errno));
    if (fstatfs(place->fd, &about) != 0)
        return dmi_error(DM_ERR_SYSTEM, "the spill directory '%s': %s", place->path,
                         strerror(errno));
    bool memory = about.f_type == TMPFS_MAGIC || (unsigned long)about.f_type == RAMFS_MAGIC;
    if (memory && !allow_memory)
        return dmi_error(DM_ERR_OPTION,
                         "the spill directory '%s' is in memory, where spilling gains nothing; set "
                         "DM_SPILL_DIR to a directory on a disk, or allow it by "
                         "dm_options.spill_in_memory or DM_SPILL_IN_MEMORY=1",
                         place->path);
    return DM_OK;
}

/* ---- sweeping ---- */

static bool is_ours(int fd, mode_t type, struct stat *about)
{
    return fstat(fd, about) == 0 && (about->st_mode & S_IFMT) == type && about->st_uid == geteuid();
}

static bool is_old(const struct stat *about)
{
    return time(NULL) - about->st_ctime > GRACE_S;
}

static bool is_dot(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Unlink all files in our kind of directory; it has no others, and no directories. */
static void empty(int fd)
{
    int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = again < 0 ? NULL : fdopendir(again);
    if (listing == NULL) {
        if (again >= 0)
            close(again);
        return;
    }
    for (struct dirent *entry = readdir(listing); entry; entry = readdir(listing))
        if (!is_dot(entry->d_name) && strcmp(entry->d_name, lock_name) != 0)
            unlinkat(fd, entry->d_name, 0);
    closedir(listing);
}

/* Is whoever made this directory dead? Then its lock is ours (*lock_fd), if there is one. */
static bool is_dead(int fd, const struct stat *about, int *lock_fd)
{
    *lock_fd = openat(fd, lock_name, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (*lock_fd < 0)
        return errno == ENOENT && is_old(about);
    return flock(*lock_fd, LOCK_EX | LOCK_NB) == 0;
}

static void sweep_home(const dmi_place *place, const char *name, int fd)
{
    struct stat about;
    int lock_fd = -1;
    if (is_ours(fd, S_IFDIR, &about) && is_dead(fd, &about, &lock_fd)) {
        empty(fd);
        unlinkat(fd, lock_name, 0);
        unlinkat(place->fd, name, AT_REMOVEDIR);
    }
    if (lock_fd >= 0)
        close(lock_fd);
}

/* A file is unlinked as soon as it is made; one with a name means death in between. */
static void sweep_file(const dmi_place *place, const char *name)
{
    struct stat about;
    if (fstatat(place->fd, name, &about, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(about.st_mode) &&
        about.st_uid == geteuid() && is_old(&about))
        unlinkat(place->fd, name, 0);
}

static void sweep_one(const dmi_place *place, const char *name)
{
    int fd = openat(place->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0) {
        sweep_home(place, name, fd);
        close(fd);
    } else if (errno == ENOTDIR) {
        sweep_file(place, name);
    }
}

static void sweep(const dmi_place *place)
{
    char ours[24];
    int length = snprintf(ours, sizeof ours, "dmrt-%u-", (unsigned)geteuid());
    int again = openat(place->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = again < 0 ? NULL : fdopendir(again);
    if (listing == NULL) {
        if (again >= 0)
            close(again);
        return;
    }
    for (struct dirent *entry = readdir(listing); entry; entry = readdir(listing))
        if (strncmp(entry->d_name, ours, (size_t)length) == 0)
            sweep_one(place, entry->d_name);
    closedir(listing);
}

/* ---- closing ---- */

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void name_file(char *name, size_t room, unsigned number)
{
    snprintf(name, room, "spill-%u", number);
}

/* By their names, which takes neither memory nor a descriptor: with the lock gone, what stayed would look like a
 * directory that is just being made, and be left alone for a while. */
static void remove_files(const dmi_place *place)
{
    char name[24];
    for (unsigned i = 0; i < place->made; i++) {
        name_file(name, sizeof name, i);
        unlinkat(place->home_fd, name, 0);
    }
    unlinkat(place->home_fd, lock_name, 0);
}

static void remove_home(dmi_place *place)
{
    if (place->home_fd >= 0)
        remove_files(place);
    if (place->home[0])
        unlinkat(place->fd, place->home, AT_REMOVEDIR);
    close_fd(&place->home_fd);
    close_fd(&place->lock_fd);
    place->home[0] = 0;
}

void dmi_place_close(dmi_place *place)
{
    remove_home(place);
    close_fd(&place->fd);
    free(place->path);
    place->path = NULL;
}

/* ---- making ---- */

static void invent_name(char *name, size_t room)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz012345"; /* 32 of them */
    uint8_t random[6];
    if (getrandom(random, sizeof random, GRND_NONBLOCK) != (ssize_t)sizeof random) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        memcpy(random, &now.tv_nsec, 4);
        random[4] = random[5] = (uint8_t)now.tv_sec;
    }
    for (int i = 0; i < 6; i++)
        random[i] = (uint8_t)letters[random[i] % 32];
    snprintf(name, room, "dmrt-%u-%d-%.6s", (unsigned)geteuid(), (int)getpid(), (char *)random);
}

static dm_status cannot_make(const dmi_place *place, const char *what)
{
    int error = errno;
    return dmi_error(dmi_place_status(error), "%s in the spill directory '%s' cannot be made: %s",
                     what, place->path, strerror(error));
}

/* The lock is held before anybody can take us for dead, unless a sweeper was quicker: then once more. */
static bool lock_home(dmi_place *place)
{
    struct stat about;
    place->lock_fd =
        openat(place->home_fd, lock_name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return place->lock_fd >= 0 && flock(place->lock_fd, LOCK_EX | LOCK_NB) == 0 &&
           fstat(place->lock_fd, &about) == 0 && about.st_nlink > 0;
}

static dm_status make_home(dmi_place *place)
{
    enum { TRIES = 16 };
    for (int i = 0; i < TRIES; i++) {
        invent_name(place->home, sizeof place->home);
        if (mkdirat(place->fd, place->home, 0700) != 0) {
            place->home[0] = 0;
            if (errno == EEXIST)
                continue;
            return cannot_make(place, "a directory");
        }
        place->home_fd =
            openat(place->fd, place->home, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (place->home_fd >= 0 && lock_home(place))
            return DM_OK;
        dm_status status = cannot_make(place, "a lock");
        remove_home(place);
        if (status != DM_ERR_IO)
            return status;
    }
    errno = EEXIST;
    return cannot_make(place, "a directory");
}

/* `name` NULL: nameless. With direct I/O if it is asked for and can be had. */
static int open_with(int dir, const char *name, int flags, bool *direct)
{
    flags |= O_RDWR | O_CLOEXEC | O_NOFOLLOW;
    int fd = -1;
    if (*direct)
        fd = dmi_calls.open_at(dir, name, flags | O_DIRECT, 0600);
    if (fd < 0 && (!*direct || errno == EINVAL || errno == EOPNOTSUPP)) {
        *direct = false;
        if (flags & O_CREAT) /* some make the file before they refuse */
            unlinkat(dir, name, 0);
        fd = dmi_calls.open_at(dir, name, flags, 0600);
    }
    return fd;
}

static int make_and_unlink(dmi_place *place, bool *direct)
{
    char name[48];
    invent_name(name, sizeof name);
    int fd = open_with(place->fd, name, O_CREAT | O_EXCL, direct);
    if (fd >= 0)
        unlinkat(place->fd, name, 0);
    return fd;
}

/* A file system that knows no O_TMPFILE says one of these. */
static bool has_no_nameless(int error)
{
    return error == EOPNOTSUPP || error == EISDIR || error == EINVAL || error == ENOENT;
}

static int make_nameless(dmi_place *place, bool *direct)
{
    bool wanted = *direct;
    int flags = O_TMPFILE | O_EXCL; /* O_EXCL: nobody can give it a name later */
    int fd = open_with(place->fd, ".", flags, direct);
    if (fd >= 0 || !has_no_nameless(errno))
        return fd;
    *direct = wanted;
    return make_and_unlink(place, direct);
}

dm_status dmi_place_make(dmi_place *place, bool visible, bool *direct, int *fd)
{
    if (!visible) {
        *fd = make_nameless(place, direct);
        return *fd >= 0 ? DM_OK : cannot_make(place, "a file");
    }
    dm_status status = place->home_fd >= 0 ? DM_OK : make_home(place);
    if (status != DM_OK)
        return status;
    char name[24];
    name_file(name, sizeof name, place->made);
    *fd = open_with(place->home_fd, name, O_CREAT | O_EXCL, direct);
    if (*fd < 0)
        return cannot_make(place, "a file");
    place->made++;
    return DM_OK;
}

/* ---- opening ---- */

/* Some directories that may be written to take no files, as in /proc. One that is full may have room by the time that it
 * is needed, and what a failing disk does then is told then. */
static dm_status check_use(dmi_place *place)
{
    char name[48];
    int fd = openat(place->fd, ".", O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600), error = errno;
    if (fd < 0 && has_no_nameless(error)) {
        invent_name(name, sizeof name);
        fd = openat(place->fd, name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600), error = errno;
        if (fd >= 0)
            unlinkat(place->fd, name, 0);
    }
    if (fd >= 0)
        close(fd);
    if (fd >= 0 || error == ENOSPC || error == EDQUOT || error == EIO)
        return DM_OK;
    if (error == EMFILE || error == ENFILE)
        return dmi_error(DM_ERR_FDS, "no file descriptor is left for a file in the spill directory '%s'", place->path);
    return dmi_error(DM_ERR_OPTION,
                     "the spill directory '%s' takes no files: %s; set DM_SPILL_DIR to a directory on a disk",
                     place->path, strerror(error));
}

static dm_status check(dmi_place *place, bool allow_memory)
{
    place->fd = open(place->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (place->fd < 0)
        return cannot_open(place->path);
    dm_status status = check_owner(place);
    if (status == DM_OK)
        status = check_kind(place, allow_memory);
    return status == DM_OK ? check_use(place) : status;
}

dm_status dmi_place_open(dmi_place *place, const char *path, size_t length, bool allow_memory)
{
    *place = (dmi_place){.fd = -1, .home_fd = -1, .lock_fd = -1};
    while (length > 1 && path[length - 1] == '/') /* "link/" would follow the link */
        length--;
    place->path = strndup(path, length);
    if (place->path == NULL)
        return dmi_error(DM_ERR_NOMEM, "no memory for the name of a spill directory");
    dm_status status = check(place, allow_memory);
    if (status != DM_OK)
        dmi_place_close(place);
    else
        sweep(place);
    return status;
}
