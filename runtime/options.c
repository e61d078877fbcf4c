/*
 * options.c - settles a session's settings: dm_options, else DM_* variables, else defaults.
 *
 * Starts and opens nothing. Runs in the driver, on the thread that calls dm_init.
 */
#include "runtime/options.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/uio.h>
#include <unistd.h>

#include "runtime/cgroup.h"

enum { MAX_WORKERS = 250, MAX_RETRIES = 1000000, DEFAULT_RETRIES = 3 };

#define MIN_STORE_BYTES ((size_t)1 << 20)
#define MAX_STORE_BYTES ((size_t)1 << 43) /* a place in a segment has 44 bits */
#define MAX_INLINE_BYTES ((size_t)1 << 24)
#define MAX_MS (INT64_MAX / 1000000)

/* ---- reading one value ---- */

static bool parse_integer(const char *text, int64_t *out)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end || errno || (*text != '-' && (*text < '0' || *text > '9')))
        return false;
    *out = value;
    return true;
}

bool dmi_parse_size(const char *text, size_t *bytes)
{
    if (*text < '0' || *text > '9')
        return false;
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno)
        return false;
    static const char units[] = "KMGT";
    unsigned shift = 0;
    if (*end) {
        const char *unit = strchr(units, *end & ~0x20);
        if (!unit || !*unit || end[1])
            return false;
        shift = 10 * (unsigned)(unit - units + 1);
    }
    if (value > SIZE_MAX >> shift)
        return false;
    *bytes = (size_t)value << shift;
    return true;
}

static dm_status bad_variable(const char *variable, const char *value, const char *may_hold)
{
    return dmi_error(DM_ERR_OPTION, "%s is \"%s\", but it may hold %s", variable, value, may_hold);
}

static dm_status bad_option(const char *option, long long value, const char *may_hold)
{
    return dmi_error(DM_ERR_OPTION, "dm_options.%s is %lld, but it may be %s", option, value,
                     may_hold);
}

/*
 * A number of the options (`given`, 0: not given), else of its variable, else `standard`. DM_NONE,
 * or "none" in the variable, becomes `none`; INT64_MIN says that there is no such thing here.
 */
typedef struct number {
    const char *option, *variable, *may_hold;
    int64_t least, most, none, standard;
} number;

static dm_status settle_number(const number *of, int64_t given, int64_t *out)
{
    const bool has_none = of->none != INT64_MIN;
    if (given != 0) {
        if (given == DM_NONE && has_none)
            *out = of->none;
        else if (given < of->least || given > of->most)
            return bad_option(of->option, given, of->may_hold);
        else
            *out = given;
        return DM_OK;
    }
    const char *text = getenv(of->variable);
    *out = of->standard;
    if (!text)
        return DM_OK;
    if (has_none && strcasecmp(text, "none") == 0) {
        *out = of->none;
        return DM_OK;
    }
    int64_t value;
    if (!parse_integer(text, &value) || value < of->least || value > of->most)
        return bad_variable(of->variable, text, of->may_hold);
    *out = value;
    return DM_OK;
}

static dm_status settle_size(const number *of, size_t given, size_t *out)
{
    if (given != 0) {
        if (given < (size_t)of->least || given > (size_t)of->most)
            return bad_option(of->option, (long long)given, of->may_hold);
        *out = given;
        return DM_OK;
    }
    const char *text = getenv(of->variable);
    *out = (size_t)of->standard;
    if (!text)
        return DM_OK;
    if (!dmi_parse_size(text, out) || *out < (size_t)of->least || *out > (size_t)of->most)
        return bad_variable(of->variable, text, of->may_hold);
    return DM_OK;
}

/* ---- what this process may use ---- */

static int usable_cpus(double quota)
{
    cpu_set_t sets[16]; /* 16,384 CPUs; the kernel refuses a set that is too small */
    int cpus = 1;
    if (sched_getaffinity(0, sizeof sets, sets) == 0)
        cpus = CPU_COUNT_S(sizeof sets, sets);
    if (quota > 0 && quota < cpus)
        cpus = (int)quota + ((int)quota < quota);
    return cpus < 1 ? 1 : cpus;
}

static size_t usable_memory(size_t limit)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    size_t bytes = pages > 0 && page > 0 ? (size_t)pages * (size_t)page : (size_t)1 << 30;
    return limit > 0 && limit < bytes ? limit : bytes;
}

dmi_usable dmi_usable_here(void)
{
    dmi_cgroup limits = dmi_cgroup_read("");
    return (dmi_usable){usable_cpus(limits.cpus), usable_memory(limits.bytes)};
}

/* ---- the settings one by one ---- */

/* A choice of the options (0: not given), else the word of its variable, else the first. `words` are those
 * of 1, 2, ... */
typedef struct choice {
    const char *option, *variable, *may_hold, *says;
    const char *const *words;
    int count;
} choice;

static dm_status settle_choice(const choice *of, int given, int *out)
{
    if (given < 0 || given > of->count)
        return bad_option(of->option, given, of->may_hold);
    const char *text = getenv(of->variable);
    *out = given != 0 ? given : 1;
    if (given != 0 || !text)
        return DM_OK;
    for (int i = 0; i < of->count; i++) {
        if (strcmp(text, of->words[i]) == 0) {
            *out = i + 1;
            return DM_OK;
        }
    }
    return bad_variable(of->variable, text, of->says);
}

static dm_status settle_engine(dmi_settings *settings, dm_engine given)
{
    static const char *const words[] = {"processes", "threads", "serial"};
    int engine;
    DM_TRY(settle_choice(&(choice){"engine", "DM_ENGINE", "DM_ENGINE_DEFAULT, _PROCESSES, _THREADS or _SERIAL",
                                   "processes, threads or serial", words, 3},
                         (int)given, &engine));
    settings->engine = (dm_engine)engine;
    return DM_OK;
}

static dm_status settle_workers(dmi_settings *settings, int given)
{
    int64_t workers;
    DM_TRY(settle_number(&(number){"workers", "DM_WORKERS", "1 to 250", 1, MAX_WORKERS, INT64_MIN,
                                   settings->cpus < MAX_WORKERS ? settings->cpus : MAX_WORKERS},
                         given, &workers));
    settings->workers = (int)workers;
    return DM_OK;
}

static dm_status settle_store(dmi_settings *settings, size_t given, size_t memory)
{
    size_t standard = memory / 10 * 3;
    if (standard < MIN_STORE_BYTES)
        standard = MIN_STORE_BYTES;
    if (standard > MAX_STORE_BYTES)
        standard = MAX_STORE_BYTES;
    return settle_size(&(number){"store_bytes", "DM_STORE_BYTES",
                                 "a size of 1M to 8T: digits, then nothing or K, M, G or T",
                                 (int64_t)MIN_STORE_BYTES, (int64_t)MAX_STORE_BYTES, INT64_MIN,
                                 (int64_t)standard},
                       given, &settings->store_bytes);
}

static dm_status settle_spill_dir(dmi_settings *settings, const char *given)
{
    const char *source = given ? "dm_options.spill_dir" : "DM_SPILL_DIR";
    const char *path = given ? given : getenv("DM_SPILL_DIR");
    if (!path)
        path = "/var/tmp";
    if (!*path || strlen(path) >= sizeof settings->spill_dir)
        return bad_variable(source, *path ? "a very long path" : "",
                            "the path of a directory, shorter than 4096 bytes");
    snprintf(settings->spill_dir, sizeof settings->spill_dir, "%s", path);
    return DM_OK;
}

/* A share, more than 0 and at most 1. */
static dm_status settle_share(const char *option, const char *variable, double given, double standard,
                              double *out)
{
    static const double LEAST = 0.01;
    const char *text = getenv(variable);
    char *end = NULL;
    *out = given != 0 ? given : standard;
    if (given == 0 && text) {
        *out = strtod(text, &end);
        if (end == text || *end || !(*out >= LEAST && *out <= 1))
            return bad_variable(variable, text, "a share of 0.01 to 1");
    }
    if (*out >= LEAST && *out <= 1)
        return DM_OK;
    return dmi_error(DM_ERR_OPTION, "dm_options.%s is %g, but it may be a share of 0.01 to 1", option, given);
}

static dm_status settle_flag(const char *option, const char *variable, int given, bool *out)
{
    const char *text = getenv(variable);
    *out = given != 0;
    if (given != 0 && given != 1)
        return bad_option(option, given, "0 or 1");
    if (given == 0 && text) {
        if (strcmp(text, "0") != 0 && strcmp(text, "1") != 0)
            return bad_variable(variable, text, "0 or 1");
        *out = *text == '1';
    }
    return DM_OK;
}

static dm_status settle_spill_choices(dmi_settings *settings, const dm_options *options)
{
    static const char *const policies[] = {"auto", "session", "never", "off"};
    static const char *const filters[] = {"best", "none", "bytes", "bits"};
    int policy, filter;
    DM_TRY(settle_choice(&(choice){"spill_policy", "DM_SPILL_POLICY",
                                   "DM_SPILL_DEFAULT, _AUTO, _SESSION, _NEVER or _OFF",
                                   "auto, session, never or off", policies, 4},
                         (int)options->spill_policy, &policy));
    DM_TRY(settle_choice(&(choice){"spill_filter", "DM_SPILL_FILTER",
                                   "DM_FILTER_DEFAULT, _BEST, _NONE, _BYTES or _BITS",
                                   "best, none, bytes or bits", filters, 4},
                         (int)options->spill_filter, &filter));
    settings->spill_policy = (dm_spill_policy)policy;
    settings->spill_filter = (dm_spill_filter)filter;
    DM_TRY(settle_flag("spill_visible", "DM_SPILL_VISIBLE", options->spill_visible, &settings->spill_visible));
    return settle_flag("spill_in_memory", "DM_SPILL_IN_MEMORY", options->spill_in_memory,
                       &settings->spill_in_memory);
}

static dm_status settle_spill(dmi_settings *settings, const dm_options *options)
{
    enum { ACCELERATION_MOST = 64 };
    int64_t acceleration;
    DM_TRY(settle_spill_dir(settings, options->spill_dir));
    DM_TRY(settle_spill_choices(settings, options));
    DM_TRY(settle_share("spill_threshold", "DM_SPILL_THRESHOLD", options->spill_threshold, 0.8,
                        &settings->spill_threshold));
    DM_TRY(settle_share("spill_fill_limit", "DM_SPILL_FILL_LIMIT", options->spill_fill_limit, 0.95,
                        &settings->spill_fill_limit));
    DM_TRY(settle_number(&(number){"spill_acceleration", "DM_SPILL_ACCELERATION", "1 to 64", 1,
                                   ACCELERATION_MOST, INT64_MIN, 1},
                         options->spill_acceleration, &acceleration));
    settings->spill_acceleration = (int)acceleration;
    DM_TRY(settle_size(&(number){"lineage_bytes", "DM_LINEAGE_BYTES",
                                 "a size of 1 or more: digits, then nothing or K, M, G or T", 1,
                                 INT64_MAX, INT64_MIN, 16 << 20},
                       options->lineage_bytes, &settings->lineage_bytes));
    return settle_size(&(number){"spill_limit_bytes", "DM_SPILL_LIMIT_BYTES",
                                 "a size of 1M or more: digits, then nothing or K, M, G or T",
                                 (int64_t)MIN_STORE_BYTES, INT64_MAX, INT64_MIN, 0},
                       options->spill_limit_bytes, &settings->spill_limit_bytes);
}

static dm_status settle_retries(dmi_settings *settings, int given)
{
    int64_t retries;
    DM_TRY(settle_number(&(number){"retries", "DM_RETRIES", "0 to 1000000, or none (DM_NONE)", 0,
                                   MAX_RETRIES, 0, DEFAULT_RETRIES},
                         given, &retries));
    settings->retries = (int)retries;
    return DM_OK;
}

static dm_status settle_queue(dmi_settings *settings, const dm_options *options)
{
    int64_t refuses;
    DM_TRY(settle_number(&(number){"queue_refuses", "DM_QUEUE_REFUSES", "0 or 1", 0, 1, INT64_MIN, 0},
                         options->queue_refuses, &refuses));
    settings->queue_refuses = refuses == 1;
    return settle_size(&(number){"queue_tasks", "DM_QUEUE_TASKS",
                                 "a number of 1 or more: digits, then nothing or K, M, G or T", 1, INT64_MAX,
                                 INT64_MIN, 4 << 20},
                       options->queue_tasks, &settings->queue_tasks);
}

static dm_status settle_nesting(dmi_settings *settings, const dm_options *options)
{
    enum { STANDARD = 100000, MOST = 1 << 20 }; /* DMI_CELLS: each that waits holds a ref */
    return settle_size(&(number){"nested_tasks", "DM_NESTED_TASKS", "a number of 1 to 1M", 1, MOST, INT64_MIN,
                                 STANDARD},
                       options->nested_tasks, &settings->nested_tasks);
}

static dm_status settle_times(dmi_settings *settings, const dm_options *options)
{
    DM_TRY(settle_number(&(number){"task_limit_ms", "DM_TASK_LIMIT_MS",
                                   "milliseconds, 1 or more, or none (DM_NONE)", 1, MAX_MS, -1, -1},
                         options->task_limit_ms, &settings->task_limit_ms));
    DM_TRY(settle_number(&(number){"cancel_grace_ms", "DM_CANCEL_GRACE_MS",
                                   "milliseconds, 1 or more, or none (DM_NONE: nobody is killed)", 1, MAX_MS,
                                   DM_NONE, 1000},
                         options->cancel_grace_ms, &settings->cancel_grace_ms));
    return settle_number(&(number){"store_wait_ms", "DM_STORE_WAIT_MS",
                                   "milliseconds, 0 or more, or none (DM_NONE: do not wait)", 0,
                                   MAX_MS, 0, 1000},
                         options->store_wait_ms, &settings->store_wait_ms);
}

/* One system call per line, so that lines of several processes do not mix. */
static void log_to_stderr(void *context, const char *line)
{
    (void)context;
    char newline = '\n';
    union {
        const char *in;
        void *out;
    } text = {line}; /* an iovec's pointer is not const, though it is only read */
    struct iovec parts[] = {{text.out, strlen(line)}, {&newline, 1}};
    ssize_t written = writev(STDERR_FILENO, parts, 2);
    (void)written; /* there is nobody to tell */
}

dm_status dmi_settings_settle(dmi_settings *settings, const dm_options *options)
{
    static const dm_options none;
    if (!options)
        options = &none;
    dmi_usable usable = dmi_usable_here();
    *settings = (dmi_settings){.log = log_to_stderr, .cpus = usable.cpus};
    DM_TRY(settle_engine(settings, options->engine));
    DM_TRY(settle_workers(settings, options->workers));
    DM_TRY(settle_store(settings, options->store_bytes, usable.memory));
    DM_TRY(settle_spill(settings, options));
    DM_TRY(settle_retries(settings, options->retries));
    DM_TRY(settle_times(settings, options));
    DM_TRY(settle_queue(settings, options));
    DM_TRY(settle_nesting(settings, options));
    DM_TRY(settle_size(&(number){"inline_bytes", "DM_INLINE_BYTES", "a size of 1 to 16M", 1,
                                 (int64_t)MAX_INLINE_BYTES, INT64_MIN, 1024},
                       options->inline_bytes, &settings->inline_bytes));
    if (options->log) {
        settings->log = options->log;
        settings->log_context = options->log_context;
    }
    return DM_OK;
}
