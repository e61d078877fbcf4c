/*
 * residue.c - looks at /proc: what belongs to this test, and is it what it was?
 *
 * Orphans below the test become its children (it is their reaper, support/driver.c). They have nobody
 * else to reap them, so that is done here: what leads no group of its own, and the workers of drivers
 * that are gone. Another zombie is a worker that our own supervisor forgot, and stays to be seen.
 */
#include "tests/support/residue.h"

#include <ctype.h>
#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dm/dm.h"
#include "tests/support/driver.h"
#include "tests/support/watch.h"

/* ---- processes ---- */

enum { MAX_PROCESSES = 8192, MAX_FILES = 4096 };

typedef struct process {
    int pid, parent, group, session;
    char state;
    char name[32];
    bool below;
} process;

static bool read_process(int pid, process *p)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return false;
    size_t bytes = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[bytes] = 0;
    const char *open = strchr(text, '('), *close = strrchr(text, ')');
    if (!open || !close)
        return false;
    *p = (process){.pid = pid};
    snprintf(p->name, sizeof p->name, "%.*s", (int)(close - open - 1), open + 1);
    return sscanf(close, ") %c %d %d %d", &p->state, &p->parent, &p->group, &p->session) == 4;
}

static int list_processes(process *list, int room)
{
    int count = 0;
    DIR *proc = opendir("/proc");
    for (struct dirent *entry; proc && count < room && (entry = readdir(proc));)
        if (isdigit((unsigned char)entry->d_name[0]) && read_process(atoi(entry->d_name), &list[count]))
            count++;
    if (proc)
        closedir(proc);
    return count;
}

/* Marks all below `pid`; returns how many. A few rounds, since the list has no order. */
static int mark_below(process *list, int count, int pid)
{
    int below = 0;
    for (bool found = true; found;) {
        found = false;
        for (int i = 0; i < count; i++) {
            bool is = list[i].parent == pid;
            for (int j = 0; j < count && !is; j++)
                is = list[j].below && list[j].pid == list[i].parent;
            if (is && !list[i].below) {
                list[i].below = found = true;
                below++;
            }
        }
    }
    return below;
}

static process processes[MAX_PROCESSES];

static int look_at_processes(void)
{
    int count = list_processes(processes, MAX_PROCESSES);
    mark_below(processes, count, getpid());
    int kept = 0;
    for (int i = 0; i < count; i++) {
        process *p = &processes[i];
        if (!p->below)
            continue;
        bool orphan = p->group != p->pid || driver_is_gone(p->session);
        if (p->state == 'Z' && p->parent == getpid() && orphan && waitpid(p->pid, NULL, WNOHANG) == p->pid)
            continue;
        processes[kept++] = *p;
    }
    return kept;
}

int residue_below(int pid)
{
    static process list[MAX_PROCESSES];
    return mark_below(list, list_processes(list, MAX_PROCESSES), pid);
}

/* ---- descriptors and memory ---- */

static bool read_target(int pid, const char *fd, char *to, size_t room)
{
    char path[300];
    snprintf(path, sizeof path, "/proc/%d/fd/%s", pid, fd);
    ssize_t length = readlink(path, to, room - 1);
    if (length < 0)
        return false;
    to[length] = 0;
    return true;
}

static void look_at_descriptors(residue *r)
{
    DIR *fds = opendir("/proc/self/fd");
    for (struct dirent *entry; fds && (entry = readdir(fds));) {
        int fd = atoi(entry->d_name);
        if (entry->d_name[0] == '.' || fd == dirfd(fds))
            continue;
        r->fds++;
        if (fd < RESIDUE_MAX_FDS)
            read_target(getpid(), entry->d_name, r->targets[fd], sizeof r->targets[fd]);
    }
    if (fds)
        closedir(fds);
}

typedef struct seen {
    dev_t device;
    ino_t file;
} seen;

static seen files_seen[MAX_FILES];
static int files_seen_count;

static int64_t bytes_if_new(const char *path)
{
    struct stat file;
    if (stat(path, &file) != 0)
        return 0;
    for (int i = 0; i < files_seen_count; i++)
        if (files_seen[i].device == file.st_dev && files_seen[i].file == file.st_ino)
            return 0;
    if (files_seen_count < MAX_FILES)
        files_seen[files_seen_count++] = (seen){file.st_dev, file.st_ino};
    return (int64_t)file.st_blocks * 512;
}

static int64_t shared_bytes_of(int pid)
{
    char path[300], target[64];
    int64_t bytes = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *fds = opendir(path);
    for (struct dirent *entry; fds && (entry = readdir(fds));) {
        if (entry->d_name[0] == '.' || !read_target(pid, entry->d_name, target, sizeof target) ||
            strncmp(target, "/memfd:", 7) != 0)
            continue;
        snprintf(path, sizeof path, "/proc/%d/fd/%.20s", pid, entry->d_name);
        bytes += bytes_if_new(path);
    }
    if (fds)
        closedir(fds);
    return bytes;
}

static void look_at_memory(residue *r)
{
    char line[512];
    files_seen_count = 0;
    r->shared_bytes = shared_bytes_of(getpid());
    for (int i = 0; i < r->processes; i++)
        r->shared_bytes += shared_bytes_of(processes[i].pid);
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps))
        r->shared_maps += strstr(line, "/memfd:") != NULL;
    if (maps)
        fclose(maps);
}

static int count_entries(const char *path)
{
    int count = 0;
    DIR *directory = opendir(path);
    for (struct dirent *entry; directory && (entry = readdir(directory));)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    if (directory)
        closedir(directory);
    return count;
}

int64_t residue_machine_shared_bytes(void)
{
    char line[256];
    long long kilobytes = -1;
    FILE *file = fopen("/proc/meminfo", "r");
    while (file && kilobytes < 0 && fgets(line, sizeof line, file))
        sscanf(line, "Shmem: %lld kB", &kilobytes);
    if (file)
        fclose(file);
    return kilobytes * 1024;
}

/* ---- all of it ---- */

static void look(residue *r)
{
    memset(r, 0, sizeof *r);
    r->processes = look_at_processes();
    r->threads = count_entries("/proc/self/task");
    look_at_descriptors(r);
    look_at_memory(r);
    r->files = count_entries(test_directory());
}

/* The event loop's library opens a pipe for ever when it is first used. */
static void run_a_session(void)
{
    static bool done;
    if (done)
        return;
    done = true;
    if (dm_init(&(dm_options){.engine = DM_ENGINE_THREADS, .workers = 1, .store_bytes = 1 << 20}) == DM_OK)
        dm_shutdown();
}

void residue_begin(residue *now)
{
    dm_shutdown(); /* of a case that failed */
    size_t threads = (size_t)count_entries("/proc/self/task");
    run_a_session();
    /* A thread that was joined stands in /proc for a moment longer. */
    for (int i = 0; i < 1000 && (size_t)count_entries("/proc/self/task") > threads; i++)
        usleep(1000);
    look(now);
}

static bool is_as(const residue *a, const residue *b)
{
    return a->processes == b->processes && a->threads == b->threads && a->fds == b->fds &&
           a->shared_bytes == b->shared_bytes && a->shared_maps == b->shared_maps &&
           a->files == b->files;
}

static void say(char **at, size_t *room, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(*at, *room, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= *room)
        return;
    *at += length;
    *room -= (size_t)length;
}

static void compare(char **at, size_t *room, const char *what, int64_t before, int64_t now)
{
    if (before != now)
        say(at, room, "%s: %lld, before %lld\n", what, (long long)now, (long long)before);
}

static void tell(const residue *before, const residue *now, char *at, size_t room)
{
    compare(&at, &room, "processes", before->processes, now->processes);
    for (int i = 0; i < now->processes && now->processes != before->processes; i++)
        say(&at, &room, "    pid %d (%s) state %c\n", processes[i].pid, processes[i].name,
            processes[i].state);
    compare(&at, &room, "descriptors", before->fds, now->fds);
    for (int fd = 0; fd < RESIDUE_MAX_FDS; fd++)
        if (now->targets[fd][0] && strcmp(now->targets[fd], before->targets[fd]) != 0)
            say(&at, &room, "    %d: %s, before %s\n", fd, now->targets[fd],
                before->targets[fd][0] ? before->targets[fd] : "nothing");
    compare(&at, &room, "threads", before->threads, now->threads);
    compare(&at, &room, "shared bytes", before->shared_bytes, now->shared_bytes);
    compare(&at, &room, "shared mappings", before->shared_maps, now->shared_maps);
    compare(&at, &room, "files", before->files, now->files);
}

bool residue_check_within(const residue *before, int patience_ms, char *said, size_t room)
{
    static residue now;
    int64_t until = watch_now_ms() + patience_ms;
    said[0] = 0;
    for (;;) {
        look(&now);
        if (is_as(before, &now))
            return true;
        if (watch_now_ms() > until)
            break;
        watch_pause();
    }
    tell(before, &now, said, room);
    return false;
}

bool residue_check(const residue *before, char *said, size_t room)
{
    return residue_check_within(before, 2000, said, room);
}
