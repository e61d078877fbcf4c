/*
 * command.h - what the subcommands of dm share: how they are called, how they end, what they say.
 */
#ifndef DM_COMMAND_H
#define DM_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "dm/dm.h"

/* Exit statuses, the same for every subcommand. DM_EXIT_NONE: there is no such running program. */
enum { DM_EXIT_OK = 0, DM_EXIT_FAILED = 1, DM_EXIT_USAGE = 2, DM_EXIT_NONE = 3 };

/* A subcommand. argv[0] is its own name; run gives the exit status. */
typedef struct command {
    const char *name, *summary, *help;
    int (*run)(int argc, char **argv);
} command;

extern const command command_csd, command_fwdti, command_demo, command_phantom, command_memory, command_status,
    command_bench_tasks, command_bench_study;

/*
 * A subcommand reads its options first, then calls dm_init, and only then does anything that others
 * can see: workers are started with the same arguments and get no further than dm_init. Those that look
 * at other programs (observers.h) start no session of their own.
 */

/* "dm: <dm_last_error()>" on stderr; gives DM_EXIT_FAILED. */
int command_failed(void);

/* "dm NAME: <message>; see dm NAME --help" on stderr; gives DM_EXIT_USAGE. */
int command_usage(const command *c, const char *format, ...) DM_PRINTF(2, 3);

/* The help text on stdout; gives DM_EXIT_OK. */
int command_help(const command *c);

/* A whole number from `least` to `most`. */
bool command_number(const char *text, long least, long most, long *out);

/* A number above 0 and below 1. */
bool command_fraction(const char *text, double *out);

/* A number from 0 on; not infinite. */
bool command_amount(const char *text, double *out);

/* Three numbers from 1 to 32767, as in "145,174,145". */
bool command_shape(const char *text, size_t shape[3]);

/* "processes", "threads", "serial". */
bool command_engine(const char *text, dm_engine *out);
const char *command_engine_name(dm_engine engine);

/* Seconds since some moment, for differences. */
double command_seconds(void);

#endif
