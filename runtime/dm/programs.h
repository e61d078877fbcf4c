/*
 * programs.h - which programs with a dmrt session are running here, and which one is meant.
 */
#ifndef DM_PROGRAMS_H
#define DM_PROGRAMS_H

#include <sys/types.h>

#include "dm/status.h"

typedef struct program {
    pid_t pid;
    uid_t uid;
} program;

enum { PROGRAMS_MOST = 1024 };

/* All that listen for observers, of any user, by pid. They may end at any moment. DM_ERR_IO. */
dm_status programs_find(program list[PROGRAMS_MOST], int *count) DM_NODISCARD;

/* The program of this pid, or (pid 0) the only one of this user. DM_ERR_NOT_RUNNING: there is none;
 * DM_ERR_INVALID: there are several, and the sentence lists them, a line each; DM_ERR_IO. */
dm_status programs_choose(pid_t pid, program *chosen) DM_NODISCARD;

#endif
