/*
 * options.c - settles a session's settings: dm_options, else DM_* variables, else defaults.
 *
 * Starts and opens nothing. Runs in the driver, on the thread that calls dm_init.
 */
#include "runtime/options.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
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

int dmi_usable_cpus(void)
{
    cpu_set_t sets[16]; /* 16,384 CPUs; the kernel refuses a set that is too small */
    int cpus = 1;
    if (sched_getaffinity(0, sizeof sets, sets) == 0)
        cpus = CPU_COUNT_S(sizeof sets, sets);
    double quota = dmi_cgroup_read("").cpus;
    if (quota > 0 && ceil(quota) < cpus)
        cpus = (int)ceil(quota);
    return cpus < 1 ? 1 : cpus;
}

size_t dmi_usable_memory(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    size_t bytes = pages > 0 && page > 0 ? (size_t)pages * (size_t)page : (size_t)1 << 30;
    size_t limit = dmi_cgroup_read("").bytes;
    return limit > 0 && limit < bytes ? limit : bytes;
}

/* ---- the settings one by one ---- */

static dm_status settle_engine(dmi_settings *settings, dm_engine given)
{
    static const char *const names[] = {NULL, "processes", "threads", "serial"};
    settings->engine = given;
    if (given > DM_ENGINE_SERIAL)
        return bad_option("engine", (long long)given,
                          "DM_ENGINE_DEFAULT, _PROCESSES, _THREADS or _SERIAL");
    if (given != DM_ENGINE_DEFAULT)
        return DM_OK;
    const char *text = getenv("DM_ENGINE");
    settings->engine = DM_ENGINE_PROCESSES;
    if (!text)
        return DM_OK;
    for (int i = DM_ENGINE_PROCESSES; i <= DM_ENGINE_SERIAL; i++) {
        if (strcmp(text, names[i]) == 0) {
            settings->engine = (dm_engine)i;
            return DM_OK;
        }
    }
    return bad_variable("DM_ENGINE", text, "processes, threads or serial");
}

static dm_status settle_workers(dmi_settings *settings, int given)
{
    settings->cpus = dmi_usable_cpus();
    int64_t workers;
    DM_TRY(settle_number(&(number){"workers", "DM_WORKERS", "1 to 250", 1, MAX_WORKERS, INT64_MIN,
                                   settings->cpus < MAX_WORKERS ? settings->cpus : MAX_WORKERS},
                         given, &workers));
    settings->workers = (int)workers;
    return DM_OK;
}

static dm_status settle_store(dmi_settings *settings, size_t given)
{
    size_t standard = 0;
    if (given == 0 && !getenv("DM_STORE_BYTES"))
        standard = dmi_usable_memory() / 10 * 3;
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

static dm_status settle_retries(dmi_settings *settings, int given)
{
    int64_t retries;
    DM_TRY(settle_number(&(number){"retries", "DM_RETRIES", "0 to 1000000, or none (DM_NONE)", 0,
                                   MAX_RETRIES, 0, DEFAULT_RETRIES},
                         given, &retries));
    settings->retries = (int)retries;
    return DM_OK;
}

static dm_status settle_times(dmi_settings *settings, const dm_options *options)
{
    DM_TRY(settle_number(&(number){"task_limit_ms", "DM_TASK_LIMIT_MS",
                                   "milliseconds, 1 or more, or none (DM_NONE)", 1, MAX_MS, -1, -1},
                         options->task_limit_ms, &settings->task_limit_ms));
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
    *settings = (dmi_settings){.log = log_to_stderr};
    DM_TRY(settle_engine(settings, options->engine));
    DM_TRY(settle_workers(settings, options->workers));
    DM_TRY(settle_store(settings, options->store_bytes));
    DM_TRY(settle_spill_dir(settings, options->spill_dir));
    DM_TRY(settle_retries(settings, options->retries));
    DM_TRY(settle_times(settings, options));
    DM_TRY(settle_size(&(number){"inline_bytes", "DM_INLINE_BYTES", "a size of 1 to 16M", 1,
                                 (int64_t)MAX_INLINE_BYTES, INT64_MIN, 1024},
                       options->inline_bytes, &settings->inline_bytes));
    if (options->log) {
        settings->log = options->log;
        settings->log_context = options->log_context;
    }
    return DM_OK;
}
