/*
 * programs.c - finds sessions by the names of their sockets, which the kernel lists for everybody.
 */
#include "runtime/dm/programs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/observe.h"

/* A line of /proc/net/unix about a listening socket with a name of ours. */
static bool is_door(const char *line, program *found)
{
    enum { LISTENS = 0x10000 };
    unsigned flags, uid;
    int pid, from = 0, to = 0;
    if (sscanf(line, "%*s %*x %*x %x %*x %*x %*u %n", &flags, &from) != 1 || from == 0 || !(flags & LISTENS))
        return false;
    if (sscanf(line + from, "@" DMI_OBSERVE_PREFIX "%u-%d%n", &uid, &pid, &to) != 2 || pid <= 0 ||
        (line[from + to] != '\n' && line[from + to] != 0))
        return false;
    *found = (program){.pid = pid, .uid = uid};
    return true;
}

static int by_pid(const void *a, const void *b)
{
    const program *x = a, *y = b;
    return (x->pid > y->pid) - (x->pid < y->pid);
}

dm_status programs_find(program list[PROGRAMS_MOST], int *count)
{
    static const char path[] = "/proc/net/unix";
    char line[512];
    FILE *file = fopen(path, "r");
    *count = 0;
    if (!file)
        return dmi_error(DM_ERR_IO, "%s, where running programs are found, cannot be read: %s", path,
                         strerror(errno));
    while (*count < PROGRAMS_MOST && fgets(line, sizeof line, file))
        *count += is_door(line, &list[*count]);
    fclose(file);
    qsort(list, (size_t)*count, sizeof list[0], by_pid);
    return DM_OK;
}

/* Its executable's, without the way there. */
static void name_of(pid_t pid, char *to, size_t room)
{
    char path[64], target[4096];
    snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
    ssize_t length = readlink(path, target, sizeof target - 1);
    target[length > 0 ? length : 0] = 0;
    const char *slash = strrchr(target, '/');
    snprintf(to, room, "%s", slash ? slash + 1 : "?");
}

static dm_status several(const program *list, int count)
{
    char text[900], name[40];
    int at = snprintf(text, sizeof text, "several programs are running; say which one:");
    for (int i = 0; i < count && at < (int)sizeof text - 64; i++) {
        name_of(list[i].pid, name, sizeof name);
        at += snprintf(text + at, sizeof text - (size_t)at, "\n  %d  %s", (int)list[i].pid, name);
    }
    return dmi_error(DM_ERR_INVALID, "%s", text);
}

static dm_status choose_by_pid(const program *list, int count, pid_t pid, program *chosen)
{
    for (int i = 0; i < count; i++) {
        if (list[i].pid != pid)
            continue;
        *chosen = list[i];
        return DM_OK;
    }
    return dmi_error(DM_ERR_NOT_RUNNING, "no program with pid %d has a dmrt session: it has ended, or has not "
                     "called dm_init, or is a worker (its driver is meant)", (int)pid);
}

dm_status programs_choose(pid_t pid, program *chosen)
{
    static program list[PROGRAMS_MOST];
    int count, ours = 0;
    DM_TRY(programs_find(list, &count));
    if (pid != 0)
        return choose_by_pid(list, count, pid, chosen);
    for (int i = 0; i < count; i++)
        if (list[i].uid == geteuid())
            list[ours++] = list[i];
    if (ours == 0)
        return dmi_error(DM_ERR_NOT_RUNNING, "no program of this user has a dmrt session at the moment");
    *chosen = list[0];
    return ours == 1 ? DM_OK : several(list, ours);
}
