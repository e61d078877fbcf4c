/*
 * session.h - what contestants that run on dmrt share: starting it, and saying how they are called.
 */
#ifndef BENCH_SESSION_H
#define BENCH_SESSION_H

#include <dm/dm.h>
#include <unistd.h>

#include "clock.h"
#include "options.h"

enum { BENCH_MAX_WORKERS = 250 };

#define BENCH_TRY(expression)                                                                      \
    do {                                                                                           \
        dm_status bench_status_ = (expression);                                                    \
        if (__builtin_expect(bench_status_ != DM_OK, 0)) {                                         \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, dm_status_name(bench_status_),  \
                    dm_last_error());                                                              \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* For contestants whose notices would stand between the lines. */
static inline void bench_no_log(void *context, const char *line)
{
    (void)context;
    (void)line;
}

static inline dm_spill_policy bench_spill_policy(const char *name)
{
    static const char *const names[] = {"auto", "session", "never", "off"};
    for (int i = 0; name && i < 4; i++)
        if (strcmp(name, names[i]) == 0)
            return (dm_spill_policy)(DM_SPILL_AUTO + i);
    if (name == NULL)
        return DM_SPILL_DEFAULT;
    fprintf(stderr, "--policy is auto, session, never or off, not '%s'\n", name);
    exit(2);
}

static inline dm_options bench_session_options(const bench_options *options)
{
    dm_options session = {.workers = options->workers, .spill_policy = bench_spill_policy(options->policy)};
    if (strcmp(options->engine, "threads") == 0)
        session.engine = DM_ENGINE_THREADS;
    else if (strcmp(options->engine, "serial") == 0)
        session.engine = DM_ENGINE_SERIAL;
    else if (strcmp(options->engine, "processes") == 0)
        session.engine = DM_ENGINE_PROCESSES;
    else {
        fprintf(stderr, "--engine is processes, threads or serial, not '%s'\n", options->engine);
        exit(2);
    }
    return session;
}

static inline const char *bench_session_name(const bench_options *options)
{
    static char name[32];
    snprintf(name, sizeof name, "dmrt %s", options->engine);
    return name;
}

/* CPU time of the driver and of all workers, so that a figure bought with spinning shows. */
static inline int64_t bench_session_cpu_ns(void)
{
    int pids[BENCH_MAX_WORKERS];
    int n = dm_worker_pids(pids, BENCH_MAX_WORKERS);
    int64_t total = bench_cpu_ns(getpid());
    for (int i = 0; i < n; i++)
        if (pids[i] != getpid())
            total += bench_cpu_ns(pids[i]);
    return total;
}

#endif
