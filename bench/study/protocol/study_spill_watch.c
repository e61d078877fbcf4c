/*
 * study_spill_watch.c - the spill experiment seen from outside: starts its process, looks at the disk through /proc
 * every few milliseconds, hears from it which model is done, and kills it in the end or lets it end.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/study/protocol/study_folder.h"
#include "bench/study/protocol/study_spill.h"
#include "bench/study/protocol/study_spill_table.h"
#include "bench/support/clock.h"

enum { LOOK_MS = 4, MOST_ARGUMENTS = 16 };

/* A process that waits longer for its next word than this hangs. */
enum { PATIENCE_MS = 120000, END_MS = 1000 };

typedef struct watch {
    pid_t pid;
    int in, out; /* its stdin and stdout */
    const char *directory;
    char heard[256];
    size_t n_heard;
    bool begun, done, silent; /* it has said so; it has closed its stdout */
    study_spill_row now;
    int64_t began_ns;
} watch;

/* ---- the disk ---- */

/* Blocks of the files below `directory` that this process has open, named or not. */
static int64_t open_bytes(const char *pid, const char *directory)
{
    char path[300], target[4096];
    int64_t total = 0;
    snprintf(path, sizeof path, "/proc/%s/fd", pid);
    DIR *fds = opendir(path);
    for (struct dirent *entry; fds && (entry = readdir(fds)) != NULL;) {
        struct stat about;
        snprintf(path, sizeof path, "/proc/%s/fd/%s", pid, entry->d_name);
        const ssize_t length = readlink(path, target, sizeof target - 1);
        if (length <= 0 || strncmp(target, directory, strlen(directory)) != 0)
            continue;
        if (stat(path, &about) == 0 && S_ISREG(about.st_mode))
            total += (int64_t)about.st_blocks * 512;
    }
    if (fds)
        closedir(fds);
    return total;
}

/* Blocks of files with names in the directory. */
static int64_t named_bytes(const char *directory)
{
    int64_t total = 0;
    DIR *files = opendir(directory);
    for (struct dirent *entry; files && (entry = readdir(files)) != NULL;) {
        struct stat about;
        if (fstatat(dirfd(files), entry->d_name, &about, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(about.st_mode))
            total += (int64_t)about.st_blocks * 512;
    }
    if (files)
        closedir(files);
    return total;
}

/* What anybody still has of it. */
static int64_t left_bytes(const watch *w)
{
    int64_t total = named_bytes(w->directory);
    DIR *processes = opendir("/proc");
    for (struct dirent *entry; processes && (entry = readdir(processes)) != NULL;)
        if (isdigit((unsigned char)entry->d_name[0]))
            total += open_bytes(entry->d_name, w->directory);
    if (processes)
        closedir(processes);
    return total;
}

static int64_t disk_now(const watch *w)
{
    char pid[16];
    snprintf(pid, sizeof pid, "%d", (int)w->pid);
    return open_bytes(pid, w->directory);
}

/* Until nothing is left, or patience is. */
static int64_t wait_empty(const watch *w, int64_t (*bytes)(const watch *))
{
    int64_t left, until = bench_now_ns() + END_MS * INT64_C(1000000);
    while ((left = bytes(w)) != 0 && bench_now_ns() < until)
        bench_sleep_ns(5000000);
    return left;
}

/* ---- the process ---- */

static void close_both(int pipe_fds[2])
{
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

/* The program at hand again, with these arguments, its stdin and stdout ours. */
static dm_status spawn(watch *w, char **arguments)
{
    extern char **environ;
    int in[2], out[2];
    posix_spawn_file_actions_t actions;
    if (pipe2(in, O_CLOEXEC) != 0)
        return dmi_error(DM_ERR_FDS, "no pipe: %s", strerror(errno));
    if (pipe2(out, O_CLOEXEC) != 0) {
        close_both(in);
        return dmi_error(DM_ERR_FDS, "no pipe: %s", strerror(errno));
    }
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    const int refused = posix_spawn(&w->pid, "/proc/self/exe", &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(in[0]);
    close(out[1]);
    w->in = in[1], w->out = out[0];
    if (refused == 0)
        return DM_OK;
    close(w->in);
    close(w->out);
    return dmi_error(DM_ERR_SYSTEM, "this program cannot be started again: %s", strerror(refused));
}

static dm_status watch_begin(watch *w, const char *const *start, const study_spill_case *of, const char *directory)
{
    char name[STUDY_SPILL_NAME];
    char *arguments[MOST_ARGUMENTS + 3];
    int n = 0;
    study_spill_name(of, name);
    for (; start[n] && n < MOST_ARGUMENTS; n++)
        arguments[n] = (char *)(uintptr_t)start[n];
    arguments[n++] = name;
    arguments[n++] = (char *)(uintptr_t)directory;
    arguments[n] = NULL;
    *w = (watch){.directory = directory, .began_ns = bench_now_ns()};
    snprintf(w->now.policy, sizeof w->now.policy, "%s", study_spill_policy(of));
    snprintf(w->now.arguments, sizeof w->now.arguments, "%s", study_spill_arguments(of));
    return spawn(w, arguments);
}

/* Its end; the status is how it ended. */
static int watch_end(watch *w)
{
    int status = -1;
    close(w->in);
    while (waitpid(w->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    close(w->out);
    return status;
}

static void take_line(watch *w, const char *line)
{
    long long models, spilled, stored, live, away;
    if (strcmp(line, "begin") == 0)
        w->begun = true, w->began_ns = bench_now_ns();
    else if (strcmp(line, "done") == 0)
        w->done = true;
    else if (sscanf(line, "model %lld %lld %lld", &models, &spilled, &stored) == 3)
        w->now.models = models, w->now.spilled = spilled, w->now.stored = stored;
    else if (sscanf(line, "now %lld %lld %lld %lld", &live, &away, &spilled, &stored) == 4)
        w->now.live = live, w->now.away = away, w->now.spilled = spilled, w->now.stored = stored;
}

/* What it says within a few milliseconds. */
static void listen_to(watch *w)
{
    struct pollfd ready = {.fd = w->out, .events = POLLIN};
    if (poll(&ready, 1, LOOK_MS) != 1)
        return;
    const ssize_t n = read(w->out, w->heard + w->n_heard, sizeof w->heard - 1 - w->n_heard);
    if (n <= 0) {
        w->silent = true;
        return;
    }
    w->n_heard += (size_t)n;
    w->heard[w->n_heard] = 0;
    char *line = w->heard;
    for (char *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = 0;
        take_line(w, line);
    }
    w->n_heard = strlen(line);
    memmove(w->heard, line, w->n_heard + 1);
    if (w->n_heard == sizeof w->heard - 1)
        w->n_heard = 0; /* no words of ours */
}

static void look(watch *w)
{
    w->now.on_disk = disk_now(w);
    w->now.seconds = (double)(bench_now_ns() - w->began_ns) * 1e-9;
}

/* ---- a case ---- */

static dm_status keep(study_spill_table *t, watch *w, const char *event)
{
    snprintf(w->now.event, sizeof w->now.event, "%s", event);
    return study_spill_table_add(t, &w->now);
}

static dm_status ended_early(const watch *w)
{
    return dmi_error(DM_ERR_SYSTEM, "the experiment %s, %s ended or hung after %lld models", w->now.policy,
                     w->now.arguments, (long long)w->now.models);
}

/* Looks until it is done. Not every look is worth a row: those that changed nothing are left out but the last. */
static dm_status sample(study_spill_table *t, watch *w)
{
    int64_t last = -1, models = -1, live = -1, away = -1;
    study_spill_row unchanged = {0};
    while (!w->done) {
        listen_to(w);
        look(w);
        if (w->silent || w->now.seconds * 1000 > PATIENCE_MS)
            return ended_early(w);
        if (!w->begun)
            continue;
        if (w->now.on_disk == last && w->now.models == models && w->now.live == live && w->now.away == away) {
            unchanged = w->now;
            continue;
        }
        if (unchanged.seconds > 0) {
            study_spill_row now = w->now;
            w->now = unchanged;
            DM_TRY(keep(t, w, STUDY_SPILL_SAMPLE));
            w->now = now;
            unchanged.seconds = 0;
        }
        last = w->now.on_disk;
        models = w->now.models;
        live = w->now.live;
        away = w->now.away;
        DM_TRY(keep(t, w, STUDY_SPILL_SAMPLE));
    }
    return keep(t, w, STUDY_SPILL_SAMPLE);
}

static dm_status let_end(study_spill_table *t, watch *w)
{
    dm_status status = sample(t, w);
    if (status == DM_OK) {
        w->now.on_disk = wait_empty(w, disk_now);
        w->now.seconds = (double)(bench_now_ns() - w->began_ns) * 1e-9;
        status = keep(t, w, STUDY_SPILL_END);
    } else {
        kill(w->pid, SIGKILL);
    }
    return watch_end(w) == 0 || status != DM_OK ? status : ended_early(w);
}

/* In the middle of the last model, with bytes on the disk if there are any within a second. */
static dm_status kill_in_last(study_spill_table *t, watch *w, int models)
{
    int64_t in_last_ns = 0;
    dm_status status = DM_OK;
    while (status == DM_OK && (w->now.models < models - 1 || (w->now.on_disk == 0 && !w->done))) {
        listen_to(w);
        look(w);
        if (w->now.models == models - 1 && in_last_ns == 0)
            in_last_ns = bench_now_ns();
        if (w->silent || w->now.seconds * 1000 > PATIENCE_MS)
            status = ended_early(w);
        if (in_last_ns && bench_now_ns() - in_last_ns > INT64_C(1000000000))
            break;
    }
    kill(w->pid, SIGKILL);
    watch_end(w);
    if (status != DM_OK)
        return status;
    w->now.on_disk = wait_empty(w, left_bytes);
    return keep(t, w, STUDY_SPILL_KILLED);
}

static dm_status measure_case(study_spill_table *t, const study_spill_plan *plan, const char *const *start,
                              const study_spill_case *of, const char *commit, const char *directory)
{
    watch w;
    for (int kills = 0; kills < 2; kills++) {
        DM_TRY(watch_begin(&w, start, of, directory));
        snprintf(w.now.commit, sizeof w.now.commit, "%s", commit);
        w.now.voxels = (int64_t)(plan->shape[0] * plan->shape[1] * plan->shape[2]);
        w.now.store = (int64_t)plan->store_bytes;
        DM_TRY(kills ? kill_in_last(t, &w, plan->models) : let_end(t, &w));
    }
    return DM_OK;
}

/* ---- all ---- */

dm_status study_spill_measure(const study_spill_plan *plan, const char *const *start, const char *commit,
                              const char *path)
{
    study_folder folder;
    study_spill_table table = {.path = path};
    DM_TRY(study_folder_make(&folder));
    signal(SIGPIPE, SIG_IGN); /* a process that is gone does not end us */
    dm_status status = DM_OK;
    for (int i = 0; i < STUDY_SPILL_CASES && status == DM_OK; i++)
        status = measure_case(&table, plan, start, &study_spill_cases[i], commit, folder.path);
    if (status == DM_OK)
        status = study_spill_table_write(&table);
    study_spill_table_close(&table);
    study_folder_remove(&folder);
    return status;
}
