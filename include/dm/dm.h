/*
 * dm.h - a task-graph runtime for C: register functions, call them with dm_remote, get futures,
 * read results with dm_get.
 *
 * Tasks run in worker processes, so a task that crashes costs one retry and never the program.
 * Values live in shared memory and are read where they lie, without copying.
 *
 *     #include <dm/dm.h>
 *     #include <stdio.h>
 *
 *     DM_REMOTE(square)                               // registers itself; runs in a worker
 *     {
 *         double x;
 *         DM_TRY(dm_arg(call, 0, &x));
 *         return dm_return(call, x * x);
 *     }
 *
 *     int main(void)
 *     {
 *         DM_TRY_MAIN(dm_init(NULL));
 *         dm_ref four = dm_remote(square, 2.0);       // a future, at once
 *         dm_ref sixteen = dm_remote(square, four);   // futures are arguments
 *         double y;
 *         DM_TRY_MAIN(dm_get(sixteen, &y));
 *         printf("%g\n", y);
 *         dm_release(four);
 *         dm_release(sixteen);
 *         dm_shutdown();
 *     }
 *
 * Caveats, before anything else:
 *
 *  - dm_init starts workers by executing this program again, with the same arguments. In them
 *    dm_init serves tasks and does not return. So call it first in main; whatever stands before it
 *    happens once in every worker, too.
 *  - A task may be run more than once (its worker may die after its work and before its result is
 *    published), but its result becomes visible exactly once. Side effects are yours to make
 *    repeatable. Tasks that such an attempt had submitted and that have not begun are dropped, unless
 *    somebody else holds them: the next attempt submits its own.
 *  - What dm_get and dm_arg lend is read-only memory. In a worker process a write through it ends
 *    the task with DM_ERR_VIEW_WRITTEN; in your own process it is a segmentation fault.
 *  - Values that nobody reads leave memory for files below DM_SPILL_DIR when the store fills up, and come back
 *    when they are read; so dm_get may wait for a disk. The files have no names unless you ask for them.
 *  - A task that waits for others lends its worker to what it waits for, to any depth (options.nested_tasks). That
 *    runs above it on the same stack or, where half of a stack is used, on another thread of the worker, while the
 *    thread that waits stands still. So a task should not wait while it holds a lock that another may want, and
 *    thread-local variables say nothing to other tasks.
 *  - fork() gives a child in which every call returns DM_ERR_FORKED. exec is fine.
 *  - A worker's standard input is /dev/null; its output is forwarded line by line, with a prefix.
 *  - While a session runs, you and root can look at it from outside, by the commands `dm status` and
 *    `dm memory`: it listens on an abstract Unix socket, and nobody else is let in. Not with engine serial.
 *
 * Ownership, in two words used below. *Yours*: you release, free or destroy it. *Mine*: you may look
 * until the moment named, and never free it. A call that blocks says *Blocks*. Every call may be
 * made from any thread of the driver, and from a task (there from the task's own thread only).
 */
#ifndef DM_DM_H
#define DM_DM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "dm/status.h"

#define DM_VERSION_STRING "0.1.0"

/* The version of the library at hand, "0.1.0". */
DM_API const char *dm_version(void);

/* Return a failure to the caller: `DM_TRY(dm_arg(call, 0, &x));` in a task. */
#define DM_TRY(expression)                                                                         \
    do {                                                                                           \
        dm_status dm_try_status_ = (expression);                                                   \
        if (dm_try_status_ != DM_OK)                                                               \
            return dm_try_status_;                                                                 \
    } while (0)

/* The same in main: says what failed on stderr and returns 1. */
#define DM_TRY_MAIN(expression)                                                                    \
    do {                                                                                           \
        dm_status dm_try_status_ = (expression);                                                   \
        if (dm_try_status_ != DM_OK) {                                                             \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__,                                 \
                    dm_status_name(dm_try_status_), dm_last_error());                              \
            return 1;                                                                              \
        }                                                                                          \
    } while (0)

/* ---- 1. Simple: values, tasks, results -------------------------------------------------------- */

/*
 * A handle on a value that is there, or will be: a future (from dm_remote) or an object (from dm_put,
 * dm_seal). Small, copied freely; the value lives while at least one hold on it is left. A ref is
 * good in the process that was given it; passing it on is what arguments and results are for.
 */
typedef struct dm_ref {
    uint64_t id;
} dm_ref;

/* No ref. Every call takes it for what it is: dm_get says DM_ERR_BADREF, dm_release nothing. */
#define DM_NO_REF ((dm_ref){0})

/* What runs while a task runs: its arguments and the way to its result. Mine, until it returns. */
typedef struct dm_call dm_call;

/* The type of an element of an array. Sizes in bytes are in the name, in bits. */
typedef enum dm_dtype {
    DM_U8, /* plain bytes have this dtype and one dimension */
    DM_I8,
    DM_U16,
    DM_I16,
    DM_U32,
    DM_I32,
    DM_U64,
    DM_I64,
    DM_F32,
    DM_F64,
    DM_DTYPE_COUNT
} dm_dtype;

enum { DM_MAX_DIMS = 8 };

/* The bytes of one element; 0 for a dtype that is none. */
DM_API size_t dm_dtype_bytes(dm_dtype dtype);

/*
 * Memory seen as an array: `ndim` dimensions (0 to 8), the last one fastest, elements side by side.
 * What it points to is whoever's it was.
 */
typedef struct dm_array {
    const void *data;
    dm_dtype dtype;
    int ndim;
    size_t shape[DM_MAX_DIMS];
} dm_array;

/* An array of one dimension over `count` elements at `data`; DM_BYTES for plain bytes. */
#define DM_ARRAY(data_, dtype_, count_)                                                            \
    ((dm_array){.data = (data_), .dtype = (dtype_), .ndim = 1, .shape = {(count_)}})
#define DM_BYTES(data_, bytes_) DM_ARRAY(data_, DM_U8, bytes_)

/*
 * An array, bytes or a string lent by the runtime, read-only. `bytes` counts the whole; a string is
 * DM_U8, its terminating zero follows data and is not counted. `pin` is the runtime's.
 */
typedef struct dm_view {
    const void *data;
    size_t bytes;
    dm_dtype dtype;
    int ndim;
    size_t shape[DM_MAX_DIMS];
    uint64_t pin;
} dm_view;

/* What goes in as an argument, a put value or a result. dm_value_of() makes one of anything. */
typedef enum dm_kind { DM_NIL, DM_INT, DM_UINT, DM_DOUBLE, DM_STRING, DM_DATA, DM_REF, DM_REFS } dm_kind;

/*
 * A list of refs, as a value: it keeps what it names alive. A task that is given one as an argument is given
 * the refs and does not wait for them; it may dm_get or dm_wait itself.
 */
typedef struct dm_ref_list {
    dm_ref *refs;
    size_t count;
} dm_ref_list;

#define DM_REF_LIST(refs_, count_) ((dm_ref_list){(refs_), (count_)})

/* Release the refs of a list that dm_get or dm_arg filled, and the list. A spent or zeroed one is fine. */
DM_API void dm_ref_list_release(dm_ref_list *list);

typedef struct dm_value {
    dm_kind kind;
    union {
        int64_t i;
        uint64_t u;
        double d;
        const char *string;
        const dm_array *array;
        dm_ref ref;
        const dm_ref_list *list;
    };
} dm_value;

static inline dm_value dm_value_int(int64_t i)
{
    return (dm_value){.kind = DM_INT, .i = i};
}
static inline dm_value dm_value_uint(uint64_t u)
{
    return (dm_value){.kind = DM_UINT, .u = u};
}
static inline dm_value dm_value_double(double d)
{
    return (dm_value){.kind = DM_DOUBLE, .d = d};
}
static inline dm_value dm_value_string(const char *s)
{
    return (dm_value){.kind = s ? DM_STRING : DM_NIL, .string = s};
}
static inline dm_value dm_value_array(const dm_array *a)
{
    return (dm_value){.kind = DM_DATA, .array = a};
}
static inline dm_value dm_value_ref(dm_ref r)
{
    return (dm_value){.kind = DM_REF, .ref = r};
}
static inline dm_value dm_value_refs(const dm_ref_list *l)
{
    return (dm_value){.kind = DM_REFS, .list = l};
}
static inline dm_value dm_value_same(dm_value v)
{
    return v;
}

/*
 * A dm_value of an integer, a double or float, a string, a `const dm_array *`, a dm_ref, a
 * `const dm_ref_list *` or a dm_value. Strings, arrays and bytes are copied by the call that takes the value.
 */
#define dm_value_of(x) _Generic((x), DM_VALUE_CASES_)(x)

#define DM_VALUE_CASES_                                                                            \
    bool: dm_value_uint, char: dm_value_int, signed char: dm_value_int, short: dm_value_int,       \
    int: dm_value_int, long: dm_value_int, long long: dm_value_int,                                \
    unsigned char: dm_value_uint, unsigned short: dm_value_uint, unsigned: dm_value_uint,          \
    unsigned long: dm_value_uint, unsigned long long: dm_value_uint,                               \
    float: dm_value_double, double: dm_value_double,                                               \
    char *: dm_value_string, const char *: dm_value_string,                                        \
    dm_array *: dm_value_array, const dm_array *: dm_value_array,                                  \
    dm_ref: dm_value_ref, dm_value: dm_value_same,                                                 \
    dm_ref_list *: dm_value_refs, const dm_ref_list *: dm_value_refs

/* A remote function. Its name is how every process knows it; the rest is the runtime's. */
typedef dm_status (*dm_body)(dm_call *call);

typedef struct dm_function {
    const char *name;
    dm_body body;
    const char *file;
    int line;
    int id; /* set by registration */
    struct dm_function *next;
} dm_function;

/* Called before main by what DM_REMOTE expands to. Errors wait for dm_init to report them. */
DM_API void dm_register(dm_function *function);

/*
 * Define a remote function: DM_REMOTE(square) { ... } gives a body with one parameter, `call`, and an
 * object `square` to name it in dm_remote. The name must be unique in the program. DM_REMOTE_DECLARE
 * (square) makes one of another file known here. What the body returns is the task's end: DM_OK after
 * dm_return (a task that returns nothing has the value nil), or a failure for everyone who asks.
 */
#define DM_REMOTE(name_)                                                                           \
    static dm_status dm_body_##name_(dm_call *call);                                               \
    extern dm_function name_;                                                                      \
    dm_function name_ = {#name_, dm_body_##name_, __FILE__, __LINE__, 0, NULL};                    \
    __attribute__((constructor)) static void dm_register_##name_(void)                             \
    {                                                                                              \
        dm_register(&name_);                                                                       \
    }                                                                                              \
    static dm_status dm_body_##name_(__attribute__((unused)) dm_call *call)

#define DM_REMOTE_DECLARE(name_) extern dm_function name_

/* How tasks are run. Same program, same results, on all three. */
typedef enum dm_engine {
    DM_ENGINE_DEFAULT,   /* DM_ENGINE, else processes */
    DM_ENGINE_PROCESSES, /* each worker is a process */
    DM_ENGINE_THREADS,   /* each worker is a thread of this one: no protection, for ThreadSanitizer */
    DM_ENGINE_SERIAL     /* dm_remote runs the task before it returns: for gdb and valgrind */
} dm_engine;

/* What becomes of the disk that spilled objects take. */
typedef enum dm_spill_policy {
    DM_SPILL_DEFAULT, /* DM_SPILL_POLICY, else auto */
    DM_SPILL_AUTO,    /* given back at once when nobody can read an object any more. The others are for
                         experiments: */
    DM_SPILL_SESSION, /* kept until the outermost dm_scope_end; then all that is dead goes */
    DM_SPILL_NEVER,   /* kept until dm_shutdown */
    DM_SPILL_OFF      /* nothing is spilled: a full store is DM_ERR_STORE_FULL */
} dm_spill_policy;

/* How bytes are rearranged before they are compressed. */
typedef enum dm_spill_filter {
    DM_FILTER_DEFAULT, /* DM_SPILL_FILTER, else best */
    DM_FILTER_BEST,    /* by a sample of the elements; plain bytes stay as they are */
    DM_FILTER_NONE,
    DM_FILTER_BYTES,
    DM_FILTER_BITS
} dm_spill_filter;

/* Where an option says "none" or "no limit" although 0 means "the default". */
#define DM_NONE (-1)

/*
 * Settings. A field left 0 takes its environment variable, else its default. Sizes in variables take
 * K, M, G (powers of 1024). A value that makes no sense is DM_ERR_OPTION, never a silent default.
 */
typedef struct dm_options {
    int workers;             /* DM_WORKERS: 1 to 250; the CPUs this process may use, cgroup included */
    dm_engine engine;        /* DM_ENGINE: processes, threads, serial */
    size_t store_bytes;      /* DM_STORE_BYTES: at least 1M; 30 % of the memory of machine or cgroup */
    /* Spilling: objects that are not in use leave memory for the disk, and come back when read. */
    const char *spill_dir;   /* DM_SPILL_DIR: a directory, or several with colons between; /var/tmp */
    dm_spill_policy spill_policy;    /* DM_SPILL_POLICY: auto, session, never, off */
    double spill_threshold;  /* DM_SPILL_THRESHOLD: begins at this share of the store, 0.01 to 1; 0.8 */
    size_t spill_limit_bytes; /* DM_SPILL_LIMIT_BYTES: at most so much on disk; no limit */
    double spill_fill_limit; /* DM_SPILL_FILL_LIMIT: of a file system, ours and others' bytes; 0.95 */
    dm_spill_filter spill_filter;    /* DM_SPILL_FILTER: best, none, bytes, bits */
    int spill_acceleration;  /* DM_SPILL_ACCELERATION: LZ4's, 1 (small) to 64 (fast); 1 */
    int spill_visible;       /* DM_SPILL_VISIBLE: 1: named files, in a directory of our own; else nameless */
    int spill_in_memory;     /* DM_SPILL_IN_MEMORY: 1: a directory on a tmpfs will do */
    size_t lineage_bytes;    /* DM_LINEAGE_BYTES: for remembering how results were made, in case one is damaged
                              * on the disk: its task runs again, and those that made what it read; 16M. A
                              * task takes 256 bytes and its long arguments, as long as something lives that
                              * was made from its result */
    int retries;             /* DM_RETRIES: after a worker's death, per task; 3. DM_NONE: none */
    int64_t task_limit_ms;   /* DM_TASK_LIMIT_MS: a task running longer is killed; no limit */
    int64_t cancel_grace_ms; /* DM_CANCEL_GRACE_MS: from dm_cancel of a running task to the end of its worker;
                              * 1000. DM_NONE: it is only asked */
    int64_t store_wait_ms;   /* DM_STORE_WAIT_MS: how long to wait for room in the store while nothing
                              * leaves it; 1000. Of tasks that wait for each other's room the youngest is not
                              * refused, but begins again later; unless it may not (retries: DM_NONE) */
    size_t queue_tasks;      /* DM_QUEUE_TASKS: so many unfinished tasks at most, 1 or more; 4M. An unfinished task
                              * takes about 160 bytes, and its arguments */
    int queue_refuses;       /* DM_QUEUE_REFUSES: 1: one more is a failure (DM_ERR_QUEUE_FULL). Else dm_remote waits
                              * until an eighth of them are done. Inside tasks it never waits: they would wait for
                              * each other */
    size_t nested_tasks;     /* DM_NESTED_TASKS: so many tasks that wait one for the next may lie on one worker,
                              * 1 to 1M; 100,000. One more fails with DM_ERR_TOO_DEEP, which names those that wait.
                              * Each takes about 2 KiB while it waits, and what its variables take */
    size_t inline_bytes;     /* DM_INLINE_BYTES: larger arguments become objects; 1K */
    /* Gets forwarded worker output and notices, one line at a time, no newline, from the supervisor's
     * thread; must not call dmrt. Default: writes to stderr. */
    void (*log)(void *context, const char *line);
    void *log_context;
} dm_options;

/*
 * Start a session: the store, the supervisor thread, the workers. Returns at once, workers may still
 * be starting. In a worker process it does not return. `options` may be NULL.
 * Returns DM_ERR_OPTION, DM_ERR_DUPLICATE, DM_ERR_ALREADY_RUNNING, DM_ERR_NOMEM, DM_ERR_SYSTEM.
 * After dm_shutdown it may be called again.
 */
DM_API dm_status dm_init(const dm_options *options) DM_NODISCARD;

/*
 * End the session: unfinished tasks are abandoned, workers ended and reaped, all memory given back.
 * Views and refs are void from here on. Calls of other threads end first: those that wait return
 * DM_ERR_SHUT_DOWN. Does nothing without a session. Blocks, well under a second; with engine threads until the tasks
 * that run have returned, for a thread cannot be ended from outside.
 */
DM_API void dm_shutdown(void);

/*
 * A scope, in which many values are made and released, like one fit of a model. Under DM_SPILL_SESSION
 * the disk that dead values took is given back when the outermost scope ends; otherwise it means nothing. The fits of
 * dm/fit.h open one.
 * Driver only. Returns DM_ERR_INVALID for an end without a beginning.
 */
DM_API dm_status dm_scope_begin(void);
DM_API dm_status dm_scope_end(void);

/* A status as a member of a set: `.retry_on = DM_ON(DM_ERR_IO) | DM_ON(DM_ERR_TASK_FAILED)`. */
#define DM_ON(status_) (UINT64_C(1) << (status_))

/*
 * What may be said of one task. A field left 0 is the session's setting, or says nothing. A value that makes
 * no sense is a ref whose dm_get says DM_ERR_OPTION.
 */
typedef struct dm_task_options {
    int retries;       /* 1 to 32767; DM_NONE: none */
    int64_t limit_ms;  /* 1 to 2147483647; DM_NONE: no limit */
    const char *name;  /* of 1 to 127 bytes, copied: stands for the function's in messages, `dm memory`, `dm status` */
    uint64_t retry_on; /* failures of the task's own after which it is tried again, at once, within `retries`: a set
                        * of DM_ON(status). Without, only the death of its worker is a reason */
    int priority;      /* -1000 to 1000: of the tasks that are ready, those of higher priority are handed out first.
                        * What a worker was handed already stays there, and what a task waits for does not inherit
                        * its priority */
    int cpus;          /* CPUs it keeps busy, if it runs threads of its own: it begins when so many workers are
                        * idle, and they stay idle while it runs. More than there are workers: all of them. One that
                        * a blocked task waits for may begin in its place without them */
    int64_t cost_ns;   /* about how long it takes, if that is known: others are not put behind it as if it took
                        * what tasks took so far */
} dm_task_options;

/*
 * dm_remote(function, arguments...): submit a task, return its future at once. Up to 16 arguments of
 * any type dm_value_of takes; dm_submit takes any number. An argument that is a ref makes the task
 * wait for that value and is read like a plain one. Strings, arrays and bytes are copied; those above
 * options.inline_bytes become objects of the store by themselves. What must be shared by many tasks
 * is put once (dm_put) and passed as a ref.
 * Always a ref: if the submission failed, dm_get on it says why. Yours: dm_release it.
 * Blocks while there is no room for arguments that become objects, and while as many tasks as options.queue_tasks
 * are unfinished.
 */
#define dm_remote(function_, ...)                                                                  \
    dm_submit(&(function_), NULL, DM_VALUES_(__VA_ARGS__), DM_COUNT_(__VA_ARGS__))

/* The same with options: dm_remote_with((&(dm_task_options){.retries = 5}), function, arguments...) */
#define dm_remote_with(options_, function_, ...)                                                   \
    dm_submit(&(function_), (options_), DM_VALUES_(__VA_ARGS__), DM_COUNT_(__VA_ARGS__))

/* What both are made of. `function` is what DM_REMOTE defined, or what dm_function_named gave; a copy of one is none. */
DM_API dm_ref dm_submit(const dm_function *function, const dm_task_options *options,
                        const dm_value *arguments, size_t count);

/*
 * Several values from one task: dm_remote_n(refs, n, function, arguments...) fills refs[0] to refs[n - 1],
 * 1 to 4,095 of them, each a future of its own, to be read, passed on and released by itself. The task
 * returns them with dm_return_at; all become ready together, or fail together. refs are Yours, each. If
 * the disk has damaged one, the task runs again for that one alone.
 */
#define dm_remote_n(refs_, n_, function_, ...)                                                     \
    dm_submit_n(&(function_), NULL, DM_VALUES_(__VA_ARGS__), DM_COUNT_(__VA_ARGS__), (refs_), (n_))

DM_API void dm_submit_n(const dm_function *function, const dm_task_options *options,
                        const dm_value *arguments, size_t count, dm_ref *refs, size_t n);

/* A function by its name; NULL if there is none. For bindings. Mine, for ever. */
DM_API const dm_function *dm_function_named(const char *name);

/*
 * Put a value into the store: dm_put(x) for anything dm_value_of takes but a ref, copied. A failure (the store
 * is full) is a ref whose dm_get says so. Yours: dm_release it.
 */
#define dm_put(x_) dm_put_value(dm_value_of(x_))
DM_API dm_ref dm_put_value(dm_value value);

/*
 * dm_get(ref, &x): wait for a value and read it. `&x` is a pointer to
 *   an integer      the value is an integer that fits (else DM_ERR_RANGE)
 *   a double        a double, or an integer that a double holds exactly; a float takes a double
 *   dm_view         an array, bytes or a string, lent where it lies. Yours to dm_view_release
 *   char *          a string, copied. Yours: free() it
 *   dm_ref          the value is itself a ref. Yours: dm_release it
 *   dm_ref_list     the value is a list of refs. Yours: dm_ref_list_release it
 * and NULL, as `dm_get(ref, (void *)0)`, waits and tells only whether it succeeded.
 * Another type is DM_ERR_TYPE, naming both. If the task failed: its failure, each time. A
 * value that was damaged on the disk and cannot be made again: DM_ERR_CORRUPT or DM_ERR_IO, each time. No room to bring
 * it back from there: DM_ERR_STORE_FULL (or why there is none, DM_ERR_DISK_FULL, DM_ERR_NOMEM), and it stays where
 * it is.
 * Blocks; dm_get_within gives up after `ms` milliseconds with DM_ERR_TIMEOUT (0: does not block; DM_NONE: never gives up;
 * less is DM_ERR_INVALID). In a task, too: what it waits for is run by another worker, one more is started if need be.
 * Only where there can be none (engine serial; threads that all wait; as many workers as may be that wait already) its
 * own runs it, and as that is not interrupted, the task goes on when it is done.
 */
#define dm_get(ref_, out_) dm_get_into((ref_), DM_INTO_(out_), (out_), DM_NONE)
#define dm_get_within(ref_, out_, ms_) dm_get_into((ref_), DM_INTO_(out_), (out_), (ms_))

/*
 * dm_cancel(ref): the task is not wanted any more.
 *   It has not begun:  it never runs. Its value is the failure DM_ERR_CANCELLED, for everyone who asks, and
 *                      tasks that have it as an argument fail with DM_ERR_DEP_FAILED.
 *   It is running:     it is asked to stop, once: dm_cancelled tells it so, and a dm_get or dm_wait in which it
 *                      waits returns DM_ERR_CANCELLED. What it returns from then on is its value. If it still
 *                      runs after the grace, its worker is killed, and its value is DM_ERR_CANCELLED; it is not
 *                      retried. Other tasks of that worker run again elsewhere and lose no attempt by it.
 *                      Engines threads and serial kill nobody: there it is only asked.
 *   It is done:        nothing happens; its value stays.
 * What it has submitted is cancelled with it, unless somebody else holds it or it is an argument of a task that
 * is wanted; what it submits from then on never begins. One of several values (dm_remote_n) stands for its task:
 * the others fail with it.
 * The grace is options.cancel_grace_ms; dm_cancel_within gives another: 0 kills at once, DM_NONE never. A
 * second call sets a new one. From a task the request is posted, and a failure other than the ref's is not told.
 * Returns DM_ERR_INVALID for a value that was put, DM_ERR_STALE, DM_ERR_BADREF, DM_ERR_NOMEM. Does not block, and
 * releases nothing: the ref is still yours.
 */
DM_API dm_status dm_cancel(dm_ref ref);
DM_API dm_status dm_cancel_within(dm_ref ref, int64_t grace_ms);

/*
 * One more hold on a value, or one less. A wrong ref is DM_ERR_STALE or DM_ERR_BADREF, nothing done. When a task ends,
 * what was its own is dropped, what it retained and did not release stays.
 */
DM_API dm_status dm_retain(dm_ref ref);
DM_API dm_status dm_release(dm_ref ref);

/* ---- 2. Inside a task ------------------------------------------------------------------------- */

/*
 * dm_arg(call, i, &x): read argument i, from 0; types as for dm_get, but what it lends (dm_view,
 * `const char *`, dm_ref) is Mine until the task returns, and copies nothing; a dm_ref_list is Yours. An argument that was a
 * ref reads as its value; into a dm_ref, as the ref. To keep a ref beyond the task: dm_retain.
 * Returns DM_ERR_ARG_MISSING, DM_ERR_TYPE, DM_ERR_RANGE.
 */
#define dm_arg(call_, index_, out_) dm_arg_into((call_), (index_), DM_INTO_(out_), (out_))

/*
 * How many arguments there are. A task that succeeds without having read each of its arguments fails
 * with DM_ERR_ARG_SURPLUS, unless it asked this.
 */
DM_API int dm_arg_count(dm_call *call);

/* dm_return(call, x): the task's value, copied; a dm_buffer * is sealed and handed over as it is. */
#define dm_return(call_, x_)                                                                       \
    _Generic((x_), dm_buffer *: dm_return_buffer, default: dm_return_plain_)(                      \
        (call_), _Generic((x_), dm_buffer *: (x_), default: dm_value_or_none_(x_)))

/*
 * dm_return_at(call, i, x): one of several values, from 0, in any order; of two for the same place the latter
 * counts, one that is missing is nil, and dm_return is the one for place 0. dm_return_count: how many the
 * caller asked for; a place beyond is DM_ERR_INVALID.
 */
#define dm_return_at(call_, i_, x_)                                                                \
    _Generic((x_), dm_buffer *: dm_return_buffer_at, default: dm_return_plain_at_)(                \
        (call_), (i_), _Generic((x_), dm_buffer *: (x_), default: dm_value_or_none_(x_)))
DM_API int dm_return_count(dm_call *call);

/*
 * Is this task to stop? It has been cancelled (dm_cancel): tidy up and `return DM_ERR_CANCELLED`, or return
 * what there is. One load, as a rule: ask in every turn of a loop. Any thread of the task.
 */
DM_API bool dm_cancelled(dm_call *call);

/* Report a failure of the task's own: `return dm_fail(call, "voxel %d has no signal", i);` */
DM_API dm_status dm_fail(dm_call *call, const char *format, ...) DM_PRINTF(2, 3);

/*
 * Something costly that is built once per worker, from the shared argument `index` (a ref), and kept:
 * build(context of the argument as a view, &made) on first use, destroy(made) when the worker ends or
 * needs the place (it keeps the 16 used last). `*out` is Mine until the task returns.
 */
typedef dm_status (*dm_local_build)(const dm_view *shared, void **made);
typedef void (*dm_local_destroy)(void *made);
DM_API dm_status dm_local(dm_call *call, int index, dm_local_build build, dm_local_destroy destroy,
                          void **out) DM_NODISCARD;

/* ---- 3. Waiting for several ------------------------------------------------------------------- */

/*
 * Wait until at least `k` of `n` refs are ready (have a value or have failed), or `timeout_ms` passed
 * (DM_NONE: no limit, 0: just look). ready[i] says which are; it may be NULL. Returns DM_OK,
 * DM_ERR_TIMEOUT (ready[] is filled all the same), DM_ERR_INVALID if k > n or the time is less than DM_NONE, or a ref's
 * status. Blocks; where nobody else can run what a task waits for, perhaps longer than that, like dm_get_within.
 */
DM_API dm_status dm_wait(const dm_ref *refs, size_t n, size_t k, int64_t timeout_ms, bool *ready)
    DM_NODISCARD;

/* ---- 4. Without copying ----------------------------------------------------------------------- */

/* An object being made: write to data, then seal or abandon it. Yours. `object` is the runtime's. */
typedef struct dm_buffer {
    void *data;
    size_t bytes;
    dm_dtype dtype;
    int ndim;
    size_t shape[DM_MAX_DIMS];
    uint64_t object;
} dm_buffer;

/*
 * Make room for an array in the store, 64-byte aligned, contents undefined. `shape` has `ndim` sizes
 * (0 to 8 of them). Blocks while there is no room, as long as objects leave for the disk and
 * options.store_wait_ms longer. Returns DM_ERR_STORE_FULL (naming what keeps the rest in memory), DM_ERR_DISK_FULL or
 * DM_ERR_IO (nothing can be spilled, and why), DM_ERR_INVALID.
 */
DM_API dm_status dm_create(dm_dtype dtype, int ndim, const size_t *shape, dm_buffer *out) DM_NODISCARD;

/* No more writes: the object becomes a value. The buffer is spent. Yours: dm_release the ref. */
DM_API dm_ref dm_seal(dm_buffer *buffer);

/* Give the room back. The buffer is spent; a spent or zeroed one is fine. */
DM_API void dm_abandon(dm_buffer *buffer);

/* Return what a view pins. A view already released, or of a task's argument, is fine. */
DM_API void dm_view_release(dm_view *view);

/* ---- 5. Introspection ------------------------------------------------------------------------- */

typedef struct dm_stats {
    dm_engine engine;
    int workers;                /* alive, or starting */
    uint64_t tasks_submitted;   /* since dm_init */
    uint64_t tasks_done;        /* with a value */
    uint64_t tasks_failed;
    uint64_t tasks_retried;     /* attempts beyond the first */
    uint64_t tasks_dropped;     /* never begun, for an attempt that died had submitted them */
    uint64_t workers_lost;      /* died other than by dm_shutdown */
    uint64_t refs;              /* values alive: held, awaited or pinned */
    size_t store_bytes;         /* the limit */
    size_t store_committed;     /* memory taken from the system for objects */
    size_t store_used;          /* bytes of objects in memory */
    uint64_t objects;           /* objects alive, wherever they are */
    uint64_t spilled_objects;   /* of them, on disk and not in memory */
    uint64_t spilled_bytes;     /* what these take when they are in memory */
    uint64_t spilling_bytes;    /* being written now */
    uint64_t disk_bytes;        /* taken on disk now, copies of what was read back included */
    uint64_t spilled_total;     /* bytes of objects written to disk, since dm_init */
    uint64_t spilled_stored;    /* the same, as they lie there: compressed */
    uint64_t restored_total;    /* bytes of objects read back, since dm_init */
    uint64_t punched_total;     /* bytes given back to the file system while its files were open */
    uint64_t spill_ns, restore_ns; /* time that took, all threads added, compression included */
    uint64_t objects_lost;      /* damaged or vanished on disk; made again if that could be done */
    int spill_files;            /* open now */
    bool disk_punches;          /* the file system can give blocks of an open file back */
    uint64_t pinned_bytes;      /* of store_used: lent to this program as views, or being made by dm_create; they
                                   cannot be spilled */
    dm_spill_policy spill_policy;
    uint64_t spill_above;       /* bytes of objects in memory above which spilling begins */
} dm_stats;

/*
 * The session's counters, as of now. spilled_total / spilled_stored is the ratio of compression;
 * spilled_total / spill_ns and restored_total / restore_ns are gigabytes a second. `dm memory PID` and
 * `dm status PID` print the same of a program that runs, from outside.
 */
DM_API dm_status dm_stats_get(dm_stats *out) DM_NODISCARD;

/* The process ids of the workers, at most `n`; returns how many there are. For tests and tools. */
DM_API int dm_worker_pids(int *pids, int n);

/* ---- 6. One function over many items ---------------------------------------------------------- */

/*
 * dm_map runs a function over n items in as many tasks as are worth it, and gathers the results in order:
 *
 *     DM_MAP(lengthen)                              // registers itself; runs in workers, over a range of items
 *     {
 *         double factor, *y;
 *         const double *x;
 *         DM_TRY(dm_arg(call, 0, &factor));         // arguments that all tasks share
 *         DM_TRY(dm_range_items(range, &x));
 *         DM_TRY(dm_range_results(range, &y));
 *         for (size_t i = 0; i < range->n; i++)
 *             y[i] = factor * x[i];
 *         return DM_OK;
 *     }
 *
 *     DM_TRY(dm_map(lengthen, DM_ITEMS(x, n), DM_RESULTS(y), 2.0));
 *
 * The results are the same whatever the engine, the workers and the chunks, if the function treats each item for
 * itself.
 */

/* Items first .. first + n - 1 of the whole: what one task does. Mine, until it returns. */
typedef struct dm_range {
    size_t first, n;
    const void *items;      /* item `first` and the n - 1 behind it; NULL if there are indexes only */
    dm_dtype item_dtype;
    size_t item_elements;   /* of one item */
    void *results;          /* room for n results, zeroed; NULL if none are gathered */
    dm_dtype result_dtype;
    size_t result_elements; /* of one result */
    const char *function;
} dm_range;

/*
 * Define a function to map: DM_MAP(name) { ... } gives a body with two parameters, `call` as in DM_REMOTE and
 * `const dm_range *range`. It writes a result for each of the n items; what it leaves out is 0. dm_arg and dm_local
 * count the shared arguments from 0, and each must be read, as in any task. A failure that it returns is that of its
 * whole chunk. It is run by dm_map only; DM_REMOTE_DECLARE makes it known elsewhere.
 */
#define DM_MAP(name_)                                                                              \
    static dm_status dm_mapped_##name_(dm_call *call, const dm_range *range);                      \
    DM_REMOTE(name_)                                                                               \
    {                                                                                              \
        return dm_map_chunk(call, dm_mapped_##name_);                                              \
    }                                                                                              \
    static dm_status dm_mapped_##name_(__attribute__((unused)) dm_call *call,                      \
                                       __attribute__((unused)) const dm_range *range)

/*
 * dm_range_items(range, &x), dm_range_results(range, &y): the items (x points to const) and the results as what they
 * are: pointers to numbers, to rows (const double (*x)[3]), or to structs. Another element type or size is DM_ERR_TYPE,
 * naming both; rows of a width known only at run time are read through a pointer to their element. Mine, until the
 * task returns.
 */
#define dm_range_items(range_, out_)                                                               \
    dm_range_items_as((range_), DM_DTYPE_OF_(**(out_)), sizeof(**(out_)), (void *)(out_))
#define dm_range_results(range_, out_)                                                             \
    dm_range_results_as((range_), DM_DTYPE_OF_(**(out_)), sizeof(**(out_)), (void *)(out_))

/* Where results go: `elements` of a dtype for each item. `data` may be NULL if options.gather takes them. */
typedef struct dm_results {
    void *data;
    dm_dtype dtype;
    size_t elements;
} dm_results;

/*
 * n items side by side at x, and room for as many results at y: an array (or a pointer to the first) of numbers, of
 * rows (double x[][3]) or of structs, which travel as bytes. Not of pointers: they mean nothing in another process.
 */
#define DM_ITEMS(x_, n_)                                                                           \
    (&(const dm_array){.data = (x_), .dtype = DM_DTYPE_OF_((x_)[0]), .ndim = 2,                    \
                       .shape = {(n_), sizeof((x_)[0]) / dm_dtype_bytes(DM_DTYPE_OF_((x_)[0]))}})
#define DM_RESULTS(y_)                                                                             \
    ((dm_results){(y_), DM_DTYPE_OF_((y_)[0]), sizeof((y_)[0]) / dm_dtype_bytes(DM_DTYPE_OF_((y_)[0]))})
#define DM_NO_RESULTS ((dm_results){0})

/* How it is done. All 0, or NULL for the whole, is fine. Callbacks run in the calling thread, in which they may call
 * dmrt; all are given `context`. */
typedef struct dm_map_options {
    size_t items_per_task; /* 0: chosen while it runs, from the time that items take: a few milliseconds a task */
    size_t in_flight;      /* tasks submitted and not gathered, at most; 0: enough to keep the workers busy, within
                              256 MiB and a quarter of the store */
    const dm_task_options *task;
    void *context;
    /* n_done never falls, and is n in the end. Not called if n is 0. */
    void (*progress)(void *context, size_t n_done, size_t n);
    /* Items that fail: with this, the map goes on, and tells of each of them: its index, and why. A task that fails is
     * run again in halves until the item is found, so all others have their results. Without it, the first failure
     * ends the map. */
    void (*failed)(void *context, size_t item, dm_status status, const char *said);
    /* Items that do not lie side by side: write items first .. first + n - 1 to `items`. The array given to dm_map has
     * their number and type then, and data NULL. May be asked for the same items twice. A failure ends the map. */
    dm_status (*fill)(void *context, size_t first, size_t n, void *items);
    /* Each task's value, in order of items: the array of its results, or, with DM_NO_RESULTS, what the function gave
     * dm_return, of any type and size. Mine until it returns; dm_retain it to keep it. A failure ends the map. */
    dm_status (*gather)(void *context, size_t first, size_t n, dm_ref value);
} dm_map_options;

/*
 * dm_map(function, over, results, shared arguments...): run it over all items, and wait. `over` is
 *   an integer n    for indexes 0 .. n-1, and no items
 *   an array        DM_ITEMS(x, n) or a dm_array *: its first dimension counts the items. Copied, a chunk at a time
 *   a dm_ref        such an array in the store, or to be: each task reads its part where it lies, nothing is copied
 * `results` is DM_RESULTS(y) with room for n of them at y, or DM_NO_RESULTS. Shared arguments are what dm_remote
 * takes, up to 16; strings and arrays are put into the store, once.
 * The first failure ends it (options.failed changes that): no new tasks, and those under way are abandoned. Its status
 * and sentence are those of the first task in order of items that failed, with the items' indexes; the results before
 * them are in place, those after may be or not. Nothing beyond n results is written.
 * Opens a scope. May be called from a task, too: from there it opens none, and the tasks go to all workers.
 * Returns DM_ERR_INVALID for what makes no sense, DM_ERR_TYPE if a task returned something else than its results,
 * what dm_get returns. Blocks.
 */
#define dm_map(function_, over_, results_, ...)                                                    \
    dm_map_over(&(function_), NULL, dm_value_of(over_), (results_), DM_VALUES_(__VA_ARGS__),       \
                DM_COUNT_(__VA_ARGS__))

/* The same with options: dm_map_with((&(dm_map_options){.progress = draw}), function, over, results, shared...) */
#define dm_map_with(options_, function_, over_, results_, ...)                                     \
    dm_map_over(&(function_), (options_), dm_value_of(over_), (results_), DM_VALUES_(__VA_ARGS__), \
                DM_COUNT_(__VA_ARGS__))

/* Beneath the macros. */
typedef dm_status (*dm_map_body)(dm_call *call, const dm_range *range);

DM_API dm_status dm_map_over(const dm_function *function, const dm_map_options *options, dm_value over,
                             dm_results results, const dm_value *shared, size_t count) DM_NODISCARD;
DM_API dm_status dm_map_chunk(dm_call *call, dm_map_body body) DM_NODISCARD;
/* `out` points to a pointer; `bytes` is the size of an element, or of a whole item. */
DM_API dm_status dm_range_items_as(const dm_range *range, dm_dtype dtype, size_t bytes, void *out) DM_NODISCARD;
DM_API dm_status dm_range_results_as(const dm_range *range, dm_dtype dtype, size_t bytes, void *out) DM_NODISCARD;

/* The dtype of a number, or of the elements of a row of numbers; of anything else, bytes. */
#define DM_DTYPE_OF_(x)                                                                            \
    _Generic((x), DM_DTYPE_CASES_(bool, DM_U8), DM_DTYPE_CASES_(char, DM_U8),                      \
             DM_DTYPE_CASES_(signed char, DM_I8), DM_DTYPE_CASES_(unsigned char, DM_U8),           \
             DM_DTYPE_CASES_(short, DM_I16), DM_DTYPE_CASES_(unsigned short, DM_U16),              \
             DM_DTYPE_CASES_(int, DM_I32), DM_DTYPE_CASES_(unsigned, DM_U32),                      \
             DM_DTYPE_CASES_(long, DM_I64), DM_DTYPE_CASES_(unsigned long, DM_U64),                \
             DM_DTYPE_CASES_(long long, DM_I64), DM_DTYPE_CASES_(unsigned long long, DM_U64),      \
             DM_DTYPE_CASES_(float, DM_F32), DM_DTYPE_CASES_(double, DM_F64), default: DM_U8)
#define DM_DTYPE_CASES_(type_, dtype_) type_: dtype_, type_ *: dtype_, const type_ *: dtype_

/* ---- 7. Beneath the macros: plain functions, for bindings -------------------------------------- */

/* What a result pointer points to. */
typedef enum dm_into {
    DM_INTO_NOTHING,
    DM_INTO_BOOL,
    DM_INTO_I8,
    DM_INTO_U8,
    DM_INTO_I16,
    DM_INTO_U16,
    DM_INTO_I32,
    DM_INTO_U32,
    DM_INTO_I64,
    DM_INTO_U64,
    DM_INTO_FLOAT,
    DM_INTO_DOUBLE,
    DM_INTO_STRING,       /* char **: a copy, yours */
    DM_INTO_CONST_STRING, /* const char **: lent; dm_arg only */
    DM_INTO_VIEW,
    DM_INTO_REF,
    DM_INTO_REFS
} dm_into;

DM_API dm_status dm_get_into(dm_ref ref, dm_into into, void *out, int64_t timeout_ms) DM_NODISCARD;
DM_API dm_status dm_arg_into(dm_call *call, int index, dm_into into, void *out) DM_NODISCARD;
DM_API dm_status dm_return_value(dm_call *call, dm_value value) DM_NODISCARD;
DM_API dm_status dm_return_buffer(dm_call *call, dm_buffer *buffer) DM_NODISCARD;
DM_API dm_status dm_return_value_at(dm_call *call, int index, dm_value value) DM_NODISCARD;
DM_API dm_status dm_return_buffer_at(dm_call *call, int index, dm_buffer *buffer) DM_NODISCARD;

static inline dm_status dm_return_plain_(dm_call *call, dm_value value)
{
    return dm_return_value(call, value);
}

static inline dm_status dm_return_plain_at_(dm_call *call, int index, dm_value value)
{
    return dm_return_value_at(call, index, value);
}

#define DM_INTO_(p)                                                                                \
    _Generic((p),                                                                                  \
        void *: DM_INTO_NOTHING, bool *: DM_INTO_BOOL, signed char *: DM_INTO_I8,                  \
        unsigned char *: DM_INTO_U8, short *: DM_INTO_I16, unsigned short *: DM_INTO_U16,          \
        int *: DM_INTO_I32, unsigned *: DM_INTO_U32, long *: DM_INTO_I64,                          \
        unsigned long *: DM_INTO_U64, long long *: DM_INTO_I64,                                    \
        unsigned long long *: DM_INTO_U64, float *: DM_INTO_FLOAT, double *: DM_INTO_DOUBLE,       \
        char **: DM_INTO_STRING, const char **: DM_INTO_CONST_STRING, dm_view *: DM_INTO_VIEW,     \
        dm_ref *: DM_INTO_REF, dm_ref_list *: DM_INTO_REFS)

/* dm_value_of, but a dm_buffer * passes the compiler, too: dm_return's other arm takes it. */
static inline dm_value dm_value_never_(const void *p)
{
    return (dm_value){.kind = DM_NIL, .u = (uint64_t)(uintptr_t)p};
}
#define dm_value_or_none_(x) _Generic((x), DM_VALUE_CASES_, dm_buffer *: dm_value_never_)(x)

/* Argument lists: count them (0 to 16) and make each a dm_value. */
#define DM_COUNT_(...) DM_COUNT_PICK_(0, ##__VA_ARGS__, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#define DM_COUNT_PICK_(z, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, count, ...) count
#define DM_VALUES_(...) DM_GLUE_(DM_VALUES_, DM_COUNT_(__VA_ARGS__))(__VA_ARGS__)
#define DM_GLUE_(a, b) DM_GLUE2_(a, b)
#define DM_GLUE2_(a, b) a##b
#define DM_VALUES_0() NULL
#define DM_VALUES_1(a) ((const dm_value[]){DM_V_1(a)})
#define DM_VALUES_2(...) ((const dm_value[]){DM_V_2(__VA_ARGS__)})
#define DM_VALUES_3(...) ((const dm_value[]){DM_V_3(__VA_ARGS__)})
#define DM_VALUES_4(...) ((const dm_value[]){DM_V_4(__VA_ARGS__)})
#define DM_VALUES_5(...) ((const dm_value[]){DM_V_5(__VA_ARGS__)})
#define DM_VALUES_6(...) ((const dm_value[]){DM_V_6(__VA_ARGS__)})
#define DM_VALUES_7(...) ((const dm_value[]){DM_V_7(__VA_ARGS__)})
#define DM_VALUES_8(...) ((const dm_value[]){DM_V_8(__VA_ARGS__)})
#define DM_VALUES_9(...) ((const dm_value[]){DM_V_9(__VA_ARGS__)})
#define DM_VALUES_10(...) ((const dm_value[]){DM_V_10(__VA_ARGS__)})
#define DM_VALUES_11(...) ((const dm_value[]){DM_V_11(__VA_ARGS__)})
#define DM_VALUES_12(...) ((const dm_value[]){DM_V_12(__VA_ARGS__)})
#define DM_VALUES_13(...) ((const dm_value[]){DM_V_13(__VA_ARGS__)})
#define DM_VALUES_14(...) ((const dm_value[]){DM_V_14(__VA_ARGS__)})
#define DM_VALUES_15(...) ((const dm_value[]){DM_V_15(__VA_ARGS__)})
#define DM_VALUES_16(...) ((const dm_value[]){DM_V_16(__VA_ARGS__)})
#define DM_V_1(a) dm_value_of(a)
#define DM_V_2(a, ...) dm_value_of(a), DM_V_1(__VA_ARGS__)
#define DM_V_3(a, ...) dm_value_of(a), DM_V_2(__VA_ARGS__)
#define DM_V_4(a, ...) dm_value_of(a), DM_V_3(__VA_ARGS__)
#define DM_V_5(a, ...) dm_value_of(a), DM_V_4(__VA_ARGS__)
#define DM_V_6(a, ...) dm_value_of(a), DM_V_5(__VA_ARGS__)
#define DM_V_7(a, ...) dm_value_of(a), DM_V_6(__VA_ARGS__)
#define DM_V_8(a, ...) dm_value_of(a), DM_V_7(__VA_ARGS__)
#define DM_V_9(a, ...) dm_value_of(a), DM_V_8(__VA_ARGS__)
#define DM_V_10(a, ...) dm_value_of(a), DM_V_9(__VA_ARGS__)
#define DM_V_11(a, ...) dm_value_of(a), DM_V_10(__VA_ARGS__)
#define DM_V_12(a, ...) dm_value_of(a), DM_V_11(__VA_ARGS__)
#define DM_V_13(a, ...) dm_value_of(a), DM_V_12(__VA_ARGS__)
#define DM_V_14(a, ...) dm_value_of(a), DM_V_13(__VA_ARGS__)
#define DM_V_15(a, ...) dm_value_of(a), DM_V_14(__VA_ARGS__)
#define DM_V_16(a, ...) dm_value_of(a), DM_V_15(__VA_ARGS__)

#endif
