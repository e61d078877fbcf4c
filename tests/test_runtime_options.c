/*
 * Settings come from options, else from DM_ variables, else from defaults; nonsense is an error
 * that names the thing, what it holds and what it may hold. cgroup limits count.
 */
#include "runtime/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/cgroup.h"

static int clear_variables(void **state)
{
    (void)state;
    static const char *const names[] = {"DM_WORKERS",       "DM_ENGINE",        "DM_STORE_BYTES",
                                        "DM_SPILL_DIR",     "DM_RETRIES",       "DM_TASK_LIMIT_MS",
                                        "DM_STORE_WAIT_MS", "DM_INLINE_BYTES",  "DM_SPILL_POLICY", "DM_CANCEL_GRACE_MS",
                                        "DM_SPILL_FILTER",  "DM_SPILL_VISIBLE", "DM_SPILL_IN_MEMORY",
                                        "DM_SPILL_THRESHOLD", "DM_SPILL_FILL_LIMIT", "DM_SPILL_LIMIT_BYTES",
                                        "DM_SPILL_ACCELERATION", "DM_LINEAGE_BYTES"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        unsetenv(names[i]);
    return 0;
}

static void defaults_need_no_thought(void **state)
{
    (void)state;
    dmi_settings s;
    assert_int_equal(dmi_settings_settle(&s, NULL), DM_OK);
    assert_int_equal(s.engine, DM_ENGINE_PROCESSES);
    assert_int_equal(s.workers, dmi_usable_here().cpus);
    assert_int_equal(s.cpus, dmi_usable_here().cpus);
    assert_int_equal(s.store_bytes, dmi_usable_here().memory / 10 * 3);
    assert_string_equal(s.spill_dir, "/var/tmp");
    assert_int_equal(s.retries, 3);
    assert_int_equal(s.task_limit_ms, -1);
    assert_int_equal(s.store_wait_ms, 1000);
    assert_int_equal(s.cancel_grace_ms, 1000);
    assert_int_equal(s.inline_bytes, 1024);
    assert_int_equal(s.nested_tasks, 100000);
    assert_non_null(s.log);
}

static void variables_are_read(void **state)
{
    (void)state;
    setenv("DM_WORKERS", "7", 1);
    setenv("DM_ENGINE", "threads", 1);
    setenv("DM_STORE_BYTES", "64M", 1);
    setenv("DM_SPILL_DIR", "/somewhere", 1);
    setenv("DM_RETRIES", "0", 1);
    setenv("DM_TASK_LIMIT_MS", "250", 1);
    setenv("DM_STORE_WAIT_MS", "0", 1);
    setenv("DM_CANCEL_GRACE_MS", "none", 1);
    setenv("DM_INLINE_BYTES", "2k", 1);
    setenv("DM_QUEUE_TASKS", "3K", 1);
    setenv("DM_QUEUE_REFUSES", "1", 1);
    setenv("DM_NESTED_TASKS", "2k", 1);
    dmi_settings s;
    assert_int_equal(dmi_settings_settle(&s, NULL), DM_OK);
    assert_int_equal(s.workers, 7);
    assert_int_equal(s.engine, DM_ENGINE_THREADS);
    assert_int_equal(s.store_bytes, 64 << 20);
    assert_string_equal(s.spill_dir, "/somewhere");
    assert_int_equal(s.retries, 0);
    assert_int_equal(s.task_limit_ms, 250);
    assert_int_equal(s.store_wait_ms, 0);
    assert_int_equal(s.cancel_grace_ms, DM_NONE);
    assert_int_equal(s.inline_bytes, 2048);
    assert_int_equal(s.queue_tasks, 3 << 10);
    assert_true(s.queue_refuses);
    assert_int_equal(s.nested_tasks, 2 << 10);
}

static void spilling_needs_no_thought_either(void **state)
{
    (void)state;
    dmi_settings s;
    assert_int_equal(dmi_settings_settle(&s, NULL), DM_OK);
    assert_int_equal(s.spill_policy, DM_SPILL_AUTO);
    assert_int_equal(s.spill_filter, DM_FILTER_BEST);
    assert_true(s.spill_threshold == 0.8 && s.spill_fill_limit == 0.95);
    assert_int_equal(s.spill_limit_bytes, 0);
    assert_int_equal(s.spill_acceleration, 1);
    assert_int_equal(s.lineage_bytes, 16 << 20);
    assert_false(s.spill_visible || s.spill_in_memory);
}

static void variables_of_spilling_are_read(void **state)
{
    (void)state;
    setenv("DM_SPILL_POLICY", "never", 1);
    setenv("DM_SPILL_FILTER", "bits", 1);
    setenv("DM_SPILL_THRESHOLD", "0.25", 1);
    setenv("DM_SPILL_FILL_LIMIT", "1", 1);
    setenv("DM_SPILL_LIMIT_BYTES", "2G", 1);
    setenv("DM_SPILL_ACCELERATION", "8", 1);
    setenv("DM_SPILL_VISIBLE", "1", 1);
    setenv("DM_SPILL_IN_MEMORY", "1", 1);
    setenv("DM_LINEAGE_BYTES", "4K", 1);
    dmi_settings s;
    assert_int_equal(dmi_settings_settle(&s, NULL), DM_OK);
    assert_int_equal(s.spill_policy, DM_SPILL_NEVER);
    assert_int_equal(s.spill_filter, DM_FILTER_BITS);
    assert_true(s.spill_threshold == 0.25 && s.spill_fill_limit == 1);
    assert_int_equal(s.spill_limit_bytes, (size_t)2 << 30);
    assert_int_equal(s.spill_acceleration, 8);
    assert_int_equal(s.lineage_bytes, 4096);
    assert_true(s.spill_visible && s.spill_in_memory);
    dm_options options = {.spill_policy = DM_SPILL_OFF, .spill_filter = DM_FILTER_NONE, .spill_threshold = 0.5};
    assert_int_equal(dmi_settings_settle(&s, &options), DM_OK);
    assert_int_equal(s.spill_policy, DM_SPILL_OFF);
    assert_int_equal(s.spill_filter, DM_FILTER_NONE);
    assert_true(s.spill_threshold == 0.5);
}

static void options_come_before_variables(void **state)
{
    (void)state;
    setenv("DM_WORKERS", "not asked", 1);
    setenv("DM_RETRIES", "9", 1);
    dm_options options = {.workers = 3, .retries = DM_NONE, .task_limit_ms = DM_NONE,
                          .engine = DM_ENGINE_SERIAL, .store_bytes = 1 << 20};
    dmi_settings s;
    assert_int_equal(dmi_settings_settle(&s, &options), DM_OK);
    assert_int_equal(s.workers, 3);
    assert_int_equal(s.retries, 0);
    assert_int_equal(s.task_limit_ms, -1);
    assert_int_equal(s.engine, DM_ENGINE_SERIAL);
    assert_int_equal(s.store_bytes, 1 << 20);
}

static void nonsense_in_a_variable_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value;
    } bad[] = {
        {"DM_WORKERS", "0"},         {"DM_WORKERS", "251"},       {"DM_WORKERS", "two"},
        {"DM_WORKERS", ""},          {"DM_WORKERS", "2x"},        {"DM_WORKERS", " 2"},
        {"DM_WORKERS", "none"},      {"DM_ENGINE", "thread"},     {"DM_ENGINE", ""},
        {"DM_STORE_BYTES", "1023K"}, {"DM_STORE_BYTES", "9T"},    {"DM_STORE_BYTES", "-1"},
        {"DM_STORE_BYTES", "64MB"},  {"DM_STORE_BYTES", "1.5G"},  {"DM_SPILL_DIR", ""},
        {"DM_SPILL_POLICY", "always"}, {"DM_SPILL_FILTER", ""}, {"DM_SPILL_THRESHOLD", "80 %"},
        {"DM_SPILL_THRESHOLD", "0"}, {"DM_SPILL_FILL_LIMIT", "1.01"}, {"DM_SPILL_FILL_LIMIT", "nan"},
        {"DM_SPILL_LIMIT_BYTES", "1"}, {"DM_SPILL_ACCELERATION", "0"}, {"DM_SPILL_VISIBLE", "yes"},
        {"DM_SPILL_IN_MEMORY", "2"}, {"DM_LINEAGE_BYTES", "-1"},
        {"DM_RETRIES", "-2"},        {"DM_RETRIES", "1000001"},   {"DM_TASK_LIMIT_MS", "0"},
        {"DM_STORE_WAIT_MS", "-5"},  {"DM_INLINE_BYTES", "0"},    {"DM_INLINE_BYTES", "17M"},
        {"DM_TASK_LIMIT_MS", "99999999999999999999"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        dmi_settings s;
        clear_variables(NULL);
        setenv(bad[i].name, bad[i].value, 1);
        assert_int_equal(dmi_settings_settle(&s, NULL), DM_ERR_OPTION);
        char holds[64];
        snprintf(holds, sizeof holds, "%s is \"%s\"", bad[i].name, bad[i].value);
        assert_non_null(strstr(dm_last_error(), holds));
        assert_non_null(strstr(dm_last_error(), "may hold"));
    }
}

static void nonsense_in_an_option_is_named(void **state)
{
    (void)state;
    static const struct {
        dm_options options;
        const char *says;
    } bad[] = {
        {{.workers = -1}, "workers is -1"},
        {{.workers = 251}, "workers is 251"},
        {{.engine = (dm_engine)7}, "engine is 7"},
        {{.store_bytes = 5}, "store_bytes is 5"},
        {{.retries = -2}, "retries is -2"},
        {{.task_limit_ms = -2}, "task_limit_ms is -2"},
        {{.inline_bytes = (size_t)1 << 30}, "inline_bytes is 1073741824"},
        {{.nested_tasks = ((size_t)1 << 20) + 1}, "nested_tasks is 1048577"},
        {{.spill_dir = ""}, "spill_dir"},
        {{.spill_policy = (dm_spill_policy)9}, "spill_policy"}, {{.spill_filter = (dm_spill_filter)9}, "spill_filter"},
        {{.spill_threshold = 1.5}, "spill_threshold"}, {{.spill_fill_limit = -1}, "spill_fill_limit"},
        {{.spill_limit_bytes = 1}, "spill_limit_bytes"}, {{.spill_acceleration = 65}, "spill_acceleration"},
        {{.spill_visible = 2}, "spill_visible"}, {{.spill_in_memory = -1}, "spill_in_memory"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        dmi_settings s;
        assert_int_equal(dmi_settings_settle(&s, &bad[i].options), DM_ERR_OPTION);
        assert_non_null(strstr(dm_last_error(), bad[i].says));
    }
}

static void sizes_are_parsed(void **state)
{
    (void)state;
    size_t n = 99;
    assert_true(dmi_parse_size("0", &n) && n == 0);
    assert_true(dmi_parse_size("12", &n) && n == 12);
    assert_true(dmi_parse_size("64M", &n) && n == 64 << 20);
    assert_true(dmi_parse_size("3g", &n) && n == (size_t)3 << 30);
    assert_true(dmi_parse_size("2T", &n) && n == (size_t)2 << 40);
    assert_true(dmi_parse_size("18446744073709551615", &n) && n == SIZE_MAX);
    static const char *const bad[] = {"", "M", "-1", "+1", " 1", "1 ", "1Q", "1KB", "1.5M", "0x10",
                                      "18446744073709551616", "18014398509481984K", "16777216T"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(dmi_parse_size(bad[i], &n));
}

static void a_log_of_ones_own_is_kept(void **state)
{
    (void)state;
    extern void test_log(void *context, const char *line);
    int context;
    dmi_settings s;
    dm_options options = {.log = test_log, .log_context = &context};
    assert_int_equal(dmi_settings_settle(&s, &options), DM_OK);
    assert_true(s.log == test_log);
    assert_ptr_equal(s.log_context, &context);
}

void test_log(void *context, const char *line);
void test_log(void *context, const char *line)
{
    (void)context, (void)line;
}

static void the_log_is_one_line_on_stderr(void **state)
{
    (void)state;
    dmi_settings s;
    assert_int_equal(dmi_settings_settle(&s, NULL), DM_OK);
    int ends[2], saved = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    s.log(s.log_context, "what happened");
    dup2(saved, STDERR_FILENO);
    char got[64] = {0};
    assert_int_equal(read(ends[0], got, sizeof got - 1), 14);
    assert_string_equal(got, "what happened\n");
    close(saved), close(ends[0]), close(ends[1]);
}

/* ---- cgroups, as files under a root of our own ---- */

static char root[64];

static void put(const char *path, const char *text)
{
    char whole[512];
    snprintf(whole, sizeof whole, "%s%s", root, path);
    char *slash = whole + strlen(root);
    while ((slash = strchr(slash + 1, '/'))) {
        *slash = '\0';
        mkdir(whole, 0700);
        *slash = '/';
    }
    FILE *file = fopen(whole, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int new_root(void **state)
{
    (void)state;
    strcpy(root, "/tmp/dm_options_XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

static void cgroup_v2_limits_count(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/user/job\n");
    put("/proc/self/mountinfo", "30 24 0:26 / /cg rw,nosuid shared:4 - cgroup2 cgroup2 rw\n");
    put("/cg/user/job/cpu.max", "250000 100000\n");
    put("/cg/user/cpu.max", "150000 100000\n"); /* an ancestor may be tighter */
    put("/cg/user/job/memory.max", "1073741824\n");
    put("/cg/user/memory.max", "max\n");
    dmi_cgroup limits = dmi_cgroup_read(root);
    assert_int_equal((int)(limits.cpus * 10), 15);
    assert_int_equal(limits.bytes, 1 << 30);
}

static void cgroup_v1_limits_count(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "5:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n0::/\n");
    put("/proc/self/mountinfo",
        "30 24 0:26 /docker/x /cg/memory rw - cgroup cgroup rw,memory\n"
        "31 24 0:27 /docker/x /cg/cpu rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n");
    put("/cg/memory/memory.limit_in_bytes", "536870912\n");
    put("/cg/cpu/cpu.cfs_quota_us", "200000\n");
    put("/cg/cpu/cpu.cfs_period_us", "100000\n");
    dmi_cgroup limits = dmi_cgroup_read(root);
    assert_int_equal((int)limits.cpus, 2);
    assert_int_equal(limits.bytes, 512 << 20);
}

static void no_limit_is_no_limit(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "5:memory:/\n3:cpu:/\n0::/../..\nrubbish\n");
    put("/proc/self/mountinfo", "rubbish\n30 24 0:26 / /m rw - cgroup cgroup rw,memory\n"
                                "31 24 0:27 / /c rw - cgroup cgroup rw,cpu\n"
                                "32 24 0:28 / /u rw - cgroup2 cgroup2 rw\n");
    put("/m/memory.limit_in_bytes", "9223372036854771712\n");
    put("/c/cpu.cfs_quota_us", "-1\n");
    put("/c/cpu.cfs_period_us", "100000\n");
    put("/u/memory.max", "rubbish\n");
    dmi_cgroup limits = dmi_cgroup_read(root);
    assert_true(limits.cpus == 0);
    assert_int_equal(limits.bytes, 0);
}

static void nothing_to_read_is_no_limit(void **state)
{
    (void)state;
    dmi_cgroup limits = dmi_cgroup_read("/nonexistent");
    assert_true(limits.cpus == 0);
    assert_int_equal(limits.bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(defaults_need_no_thought, clear_variables),
        cmocka_unit_test_setup(variables_are_read, clear_variables),
        cmocka_unit_test_setup(spilling_needs_no_thought_either, clear_variables),
        cmocka_unit_test_setup(variables_of_spilling_are_read, clear_variables),
        cmocka_unit_test_setup(options_come_before_variables, clear_variables),
        cmocka_unit_test_setup(nonsense_in_a_variable_is_named, clear_variables),
        cmocka_unit_test_setup(nonsense_in_an_option_is_named, clear_variables),
        cmocka_unit_test_setup(sizes_are_parsed, clear_variables),
        cmocka_unit_test_setup(a_log_of_ones_own_is_kept, clear_variables),
        cmocka_unit_test_setup(the_log_is_one_line_on_stderr, clear_variables),
        cmocka_unit_test_setup_teardown(cgroup_v2_limits_count, new_root, remove_root),
        cmocka_unit_test_setup_teardown(cgroup_v1_limits_count, new_root, remove_root),
        cmocka_unit_test_setup_teardown(no_limit_is_no_limit, new_root, remove_root),
        cmocka_unit_test(nothing_to_read_is_no_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
