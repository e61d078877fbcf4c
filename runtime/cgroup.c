/*
 * cgroup.c - finds this process's control groups and the tightest limits from there to their root.
 *
 * /proc/self/cgroup says which group, /proc/self/mountinfo where its hierarchy is mounted; a limit
 * of an ancestor counts as much as one's own. Only reads; any thread.
 */
#include "runtime/cgroup.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 4096, LINE_BYTES = 8192 };

/* A hierarchy as /proc/self/cgroup lists it: v2 has no controllers. */
typedef struct hierarchy {
    char controllers[256];
    char group[PATH_BYTES];
    bool v2;
} hierarchy;

static bool lists(const char *commas, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = commas; at && *at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        if (strncmp(at, word, length) == 0 && (at[length] == ',' || at[length] == '\0'))
            return true;
    }
    return false;
}

static FILE *open_under(const char *root, const char *path)
{
    char whole[PATH_BYTES * 3];
    int n = snprintf(whole, sizeof whole, "%s%s", root, path);
    return n > 0 && (size_t)n < sizeof whole ? fopen(whole, "re") : NULL;
}

/* The first line of a file in a group, without its newline. */
static bool read_line(const char *root, const char *directory, const char *name, char *line,
                      int size)
{
    char path[PATH_BYTES * 2 + 64];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = open_under(root, path);
    if (!file)
        return false;
    bool got = fgets(line, size, file) != NULL;
    fclose(file);
    return got;
}

static void limit_cpus(dmi_cgroup *limits, double quota, double period)
{
    if (quota <= 0 || period <= 0)
        return;
    double cpus = quota / period;
    if (limits->cpus == 0 || cpus < limits->cpus)
        limits->cpus = cpus;
}

/* v1 says "no limit" with a number near 2^63, v2 with the word max. */
static void limit_memory(dmi_cgroup *limits, const char *text)
{
    char *end;
    unsigned long long bytes = strtoull(text, &end, 10);
    if (end == text || bytes == 0 || bytes >= (unsigned long long)INT64_MAX / 2)
        return;
    if (limits->bytes == 0 || bytes < limits->bytes)
        limits->bytes = (size_t)bytes;
}

static void read_group_v2(dmi_cgroup *limits, const char *root, const char *directory)
{
    char line[128];
    double quota, period;
    if (read_line(root, directory, "cpu.max", line, sizeof line) &&
        sscanf(line, "%lf %lf", &quota, &period) == 2)
        limit_cpus(limits, quota, period);
    if (read_line(root, directory, "memory.max", line, sizeof line))
        limit_memory(limits, line);
}

static void read_group_v1(dmi_cgroup *limits, const char *root, const char *directory,
                          const char *controllers)
{
    char quota[128], period[128];
    if (lists(controllers, "cpu") &&
        read_line(root, directory, "cpu.cfs_quota_us", quota, sizeof quota) &&
        read_line(root, directory, "cpu.cfs_period_us", period, sizeof period))
        limit_cpus(limits, atof(quota), atof(period));
    if (lists(controllers, "memory") &&
        read_line(root, directory, "memory.limit_in_bytes", quota, sizeof quota))
        limit_memory(limits, quota);
}

/* From the group up to the mount point of its hierarchy. */
static void read_upwards(dmi_cgroup *limits, const char *root, const char *mount, const char *group,
                         const hierarchy *of)
{
    char directory[PATH_BYTES * 2];
    snprintf(directory, sizeof directory, "%s%s", mount, strcmp(group, "/") == 0 ? "" : group);
    size_t floor = strlen(mount);
    for (;;) {
        if (of->v2)
            read_group_v2(limits, root, directory);
        else
            read_group_v1(limits, root, directory, of->controllers);
        char *slash = strrchr(directory, '/');
        if (!slash || (size_t)(slash - directory) < floor)
            return;
        *slash = '\0';
    }
}

/* A line of mountinfo, if it mounts this hierarchy: where, and which group lies at its root. */
static bool mounts(char *line, const hierarchy *of, char **mount, char **at_root)
{
    char *separator = strstr(line, " - ");
    if (!separator)
        return false;
    *separator = '\0';
    char *save, *type = strtok_r(separator + 3, " ", &save);
    strtok_r(NULL, " ", &save); /* the source */
    char *options = strtok_r(NULL, " \n", &save);
    if (!type || !options || strcmp(type, of->v2 ? "cgroup2" : "cgroup") != 0)
        return false;
    strtok_r(line, " ", &save); /* mount id, parent id, device */
    strtok_r(NULL, " ", &save);
    strtok_r(NULL, " ", &save);
    *at_root = strtok_r(NULL, " ", &save);
    *mount = strtok_r(NULL, " ", &save);
    if (!*at_root || !*mount)
        return false;
    return of->v2 || (lists(of->controllers, "cpu") && lists(options, "cpu")) ||
           (lists(of->controllers, "memory") && lists(options, "memory"));
}

static void read_hierarchy(dmi_cgroup *limits, const char *root, const hierarchy *of)
{
    FILE *file = open_under(root, "/proc/self/mountinfo");
    if (!file)
        return;
    char line[LINE_BYTES];
    while (fgets(line, sizeof line, file)) {
        char *mount, *at_root;
        if (!mounts(line, of, &mount, &at_root))
            continue;
        const char *group = of->group;
        size_t above = strlen(at_root);
        /* In a container the mount's root is the group itself, named as the host names it. */
        if (strcmp(at_root, "/") != 0)
            group = strncmp(group, at_root, above) == 0 ? group + above : "";
        if (strstr(group, "/.."))
            group = "";
        read_upwards(limits, root, mount, group, of);
        break;
    }
    fclose(file);
}

/* "4:memory:/a/group" or, v2, "0::/a/group". */
static bool parse_hierarchy(char *line, hierarchy *out)
{
    char *controllers = strchr(line, ':');
    char *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group)
        return false;
    *group++ = '\0';
    group[strcspn(group, "\n")] = '\0';
    int n = snprintf(out->controllers, sizeof out->controllers, "%s", controllers + 1);
    int m = snprintf(out->group, sizeof out->group, "%s", group);
    out->v2 = n == 0;
    return (size_t)n < sizeof out->controllers && (size_t)m < sizeof out->group;
}

dmi_cgroup dmi_cgroup_read(const char *root)
{
    dmi_cgroup limits = {0};
    FILE *file = open_under(root, "/proc/self/cgroup");
    if (!file)
        return limits;
    char line[LINE_BYTES];
    while (fgets(line, sizeof line, file)) {
        hierarchy found;
        if (!parse_hierarchy(line, &found))
            continue;
        if (found.v2 || lists(found.controllers, "cpu") || lists(found.controllers, "memory"))
            read_hierarchy(&limits, root, &found);
    }
    fclose(file);
    return limits;
}
