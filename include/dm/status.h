/*
 * status.h - how every call of dmrt says what happened.
 *
 * A fallible call returns a dm_status: DM_OK (0) or one of the names below. The table is the one
 * place where a status, its name and its meaning are written down; dm_strerror() reads it.
 * dm_last_error() has the whole sentence: what happened, to what, and what to do about it.
 *
 * The library never prints and never exits the calling program.
 */
#ifndef DM_STATUS_H
#define DM_STATUS_H

#if defined(__GNUC__)
#define DM_API __attribute__((visibility("default")))
#define DM_NODISCARD __attribute__((warn_unused_result))
#define DM_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define DM_API
#define DM_NODISCARD
#define DM_PRINTF(fmt, args)
#endif

/* X(name, text). The order is the wire's: append only. */
#define DM_STATUS_MAP(X)                                                                           \
    X(DM_OK, "success")                                                                            \
    X(DM_ERR_NOT_RUNNING, "no session: dm_init has not been called")                               \
    X(DM_ERR_SHUT_DOWN, "the session has been shut down")                                          \
    X(DM_ERR_ALREADY_RUNNING, "a session is running already")                                      \
    X(DM_ERR_FORKED, "this process was forked from a driver and has no session")                   \
    X(DM_ERR_OPTION, "an option or a DM_ environment variable has a value that makes no sense")    \
    X(DM_ERR_INVALID, "an argument of this call makes no sense")                                   \
    X(DM_ERR_TYPE, "a value is not of the type asked for")                                         \
    X(DM_ERR_RANGE, "a number does not fit the type asked for")                                    \
    X(DM_ERR_ARG_MISSING, "a task was given fewer arguments than it reads")                        \
    X(DM_ERR_ARG_SURPLUS, "a task was given more arguments than it reads")                         \
    X(DM_ERR_NO_FUNCTION, "no remote function of this name is registered")                         \
    X(DM_ERR_DUPLICATE, "two remote functions are registered under one name")                      \
    X(DM_ERR_STALE, "this ref has been released")                                                  \
    X(DM_ERR_BADREF, "this is not a ref of this session")                                          \
    X(DM_ERR_TIMEOUT, "the time given to this call has passed")                                    \
    X(DM_ERR_NOMEM, "memory could not be had")                                                     \
    X(DM_ERR_STORE_FULL, "the object store is full")                                               \
    X(DM_ERR_TASK_FAILED, "the task reported a failure of its own")                                \
    X(DM_ERR_TASK_CRASH, "the task's process was ended by a signal")                               \
    X(DM_ERR_TASK_TIMEOUT, "the task ran longer than its time limit")                              \
    X(DM_ERR_WORKER_EXITED, "the task ended its worker process")                                   \
    X(DM_ERR_WORKER_CORRUPT, "a worker process wrote nonsense into shared memory")                 \
    X(DM_ERR_WORKERS_UNSTARTABLE, "worker processes cannot be started")                            \
    X(DM_ERR_VIEW_WRITTEN, "the task wrote through a read-only view")                              \
    X(DM_ERR_DEP_FAILED, "a task whose result is an argument of this one failed")                  \
    X(DM_ERR_VERSION, "driver and worker are not the same program")                                \
    X(DM_ERR_SYSTEM, "the operating system refused")                                               \
    X(DM_ERR_FDS, "no file descriptor is left")                                                    \
    X(DM_ERR_IO, "a file could not be read or written")                                            \
    X(DM_ERR_FORMAT, "a file is not what it should be")                                            \
    X(DM_ERR_NUMERIC, "a computation has no answer")                                               \
    X(DM_ERR_CANCELLED, "the task was cancelled")                                                  \
    X(DM_ERR_DISK_FULL, "there is no room on the disk to spill to")                                \
    X(DM_ERR_CORRUPT, "spilled bytes were damaged on the disk")                                    \
    X(DM_ERR_SPILL_UNSAFE, "others could interfere with the spill directory")                      \
    X(DM_ERR_QUEUE_FULL, "as many tasks as may be are unfinished")                                 \
    X(DM_ERR_TOO_DEEP, "as many tasks as may be wait for one another")

typedef enum dm_status {
#define DM_STATUS_ENUM(name, text) name,
    DM_STATUS_MAP(DM_STATUS_ENUM)
#undef DM_STATUS_ENUM
        DM_STATUS_COUNT
} dm_status;

/* The meaning of a status, a static string. Any thread, any time, any number. */
DM_API const char *dm_strerror(dm_status status);

/* The name of a status, "DM_ERR_STALE". Any number: an unknown one gives "DM_ERR_?". */
DM_API const char *dm_status_name(dm_status status);

/*
 * What the last failing call of this thread had to say: one sentence that names the thing, what was
 * found and what to do. Mine: valid until this thread's next failing call. Never NULL.
 */
DM_API const char *dm_last_error(void);

/* For implementers: sets this thread's message and returns the status, so that an error is one line. */
DM_API dm_status dmi_error(dm_status status, const char *format, ...) DM_PRINTF(2, 3);

/* For implementers: forgets this thread's message. */
DM_API void dmi_error_clear(void);

#endif
