/*
 * cgroup.h - what the control groups above this process allow it: CPUs and memory, v1 and v2.
 */
#ifndef DMI_CGROUP_H
#define DMI_CGROUP_H

#include <stddef.h>

typedef struct dmi_cgroup {
    double cpus;  /* quota / period of the tightest group; 0: no limit */
    size_t bytes; /* memory limit of the tightest group; 0: no limit */
} dmi_cgroup;

/*
 * Read the limits. `root` is put before every path: "" for this machine, a directory in a test.
 * What cannot be read limits nothing.
 */
dmi_cgroup dmi_cgroup_read(const char *root);

#endif
