/*
 * `dm memory` and `dm status` say of a running program what is true of it: totals, the largest objects,
 * where they are and who holds them; and find the program that is meant, or say why not.
 *
 * In a network of its own, if that is allowed, so that sessions of other tests are not found.
 */
#define _GNU_SOURCE
#include <cjson/cJSON.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include "tests/support/test.h"

enum { MIB = 1 << 20, STORE = 16 * MIB, HEADER = 128 };
enum { SPILLED = 10, VIEWED = MIB, NAMED = 300000, ADOPTED = 500000 }; /* sizes tell objects apart */

/* ---- the program that is looked at ---- */

static const char *file_at(const char *name)
{
    static char path[300];
    snprintf(path, sizeof path, "%s/%s", test_directory(), name);
    return path;
}

static void touch(const char *path)
{
    FILE *file = fopen(path, "w");
    if (file)
        fclose(file);
}

DM_REMOTE(makes)
{
    size_t bytes;
    dm_buffer buffer;
    DM_TRY(dm_arg(call, 0, &bytes));
    DM_TRY(dm_create(DM_U8, 1, &bytes, &buffer));
    for (size_t i = 0; i < bytes; i++)
        ((uint8_t *)buffer.data)[i] = (uint8_t)(i % 251);
    return dm_return(call, &buffer);
}

DM_REMOTE(takes)
{
    dm_view view;
    return dm_arg(call, 0, &view);
}

/* Keeps a hold on its first argument, has an object of its own named by another task, says so, and ends
 * when it is told to. */
DM_REMOTE(holds)
{
    static char bytes[ADOPTED];
    dm_ref held;
    const char *ready, *go;
    DM_TRY(dm_arg(call, 0, &held));
    DM_TRY(dm_arg(call, 1, &ready));
    DM_TRY(dm_arg(call, 2, &go));
    DM_TRY(dm_retain(held));
    dm_ref own = dm_put(&DM_BYTES(bytes, sizeof bytes));
    dm_ref taking = dm_remote(takes, own);
    touch(ready);
    while (access(go, F_OK) != 0)
        watch_pause();
    dm_release(taking);
    dm_release(own);
    return dm_release(held);
}

static int wait_for(const char *path)
{
    int64_t until = watch_now_ms() + 3 * WATCH_PATIENCE_MS;
    while (access(path, F_OK) != 0) {
        if (watch_now_ms() > until)
            return 99;
        watch_pause();
    }
    return 0;
}

/* Objects of 2 MiB, more than fit; one viewed; one named by tasks and held by a worker. */
static int run_keeper(const char *argument)
{
    (void)argument;
    static char bytes[NAMED];
    char ready[300], go[300];
    dm_ref spilled[SPILLED];
    dm_view view;
    snprintf(ready, sizeof ready, "%s", file_at("ready"));
    snprintf(go, sizeof go, "%s", file_at("go"));
    NEED(dm_init(&(dm_options){.engine = DM_ENGINE_PROCESSES,
                               .workers = 1,
                               .store_bytes = STORE,
                               .spill_in_memory = 1,
                               .log = driver_no_log}) == DM_OK);
    dm_ref viewed = dm_remote(makes, VIEWED);
    NEED(dm_get(viewed, &view) == DM_OK);
    for (int i = 0; i < SPILLED; i++)
        NEED(dm_get((spilled[i] = dm_remote(makes, 2 * MIB)), (void *)0) == DM_OK);
    dm_ref named = dm_put(&DM_BYTES(bytes, sizeof bytes));
    NEED(dm_retain(named) == DM_OK); /* held twice here */
    dm_ref holding = dm_remote(holds, named, ready, go);
    dm_ref later = dm_remote(takes, named), broken = dm_remote(takes, 1);
    NEED(wait_for(ready) == 0);
    driver_say("ready");
    NEED(wait_for(go) == 0);
    NEED(dm_get(holding, (void *)0) == DM_OK && dm_get(later, (void *)0) == DM_OK);
    NEED(dm_get(broken, (void *)0) == DM_ERR_TYPE);
    driver_say("done");
    NEED(wait_for(file_at("end")) == 0);
    dm_shutdown();
    return 0;
}

/* A session that is there until it is told to end, or killed. */
static int run_idler(const char *name)
{
    NEED(dm_init(&(dm_options){.engine = DM_ENGINE_THREADS, .workers = 1, .store_bytes = MIB}) == DM_OK);
    driver_say("ready");
    NEED(wait_for(file_at(name)) == 0);
    dm_shutdown();
    return 0;
}

static const test_driver drivers[] = {{"keeper", run_keeper}, {"idler", run_idler}, {0}};

static void start(driver *d, const char *name, const char *argument)
{
    driver_start(d, name, argument);
    const char *line = driver_hear(d);
    if (!line || strcmp(line, "ready") != 0)
        fail_msg("the %s is not ready", name);
}

/* ---- the command ---- */

enum { SAID_MOST = 1 << 20 };
static char said[SAID_MOST]; /* stdout and stderr of the last one */

static int dm(const char *format, ...) DM_PRINTF(1, 2);

static int dm(const char *format, ...)
{
    char line[600];
    int at = snprintf(line, sizeof line, "%s/dm ", DM_BIN_DIR);
    va_list arguments;
    va_start(arguments, format);
    at += vsnprintf(line + at, sizeof line - (size_t)at, format, arguments);
    va_end(arguments);
    snprintf(line + at, sizeof line - (size_t)at, " 2>&1");
    FILE *output = popen(line, "r");
    assert_non_null(output);
    said[fread(said, 1, sizeof said - 1, output)] = 0;
    int status = pclose(output);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

#define assert_said(words_)                                                                        \
    do {                                                                                           \
        if (!strstr(said, (words_)))                                                               \
            fail_msg("\"%s\" is not in:\n%s", (words_), said);                                     \
    } while (0)

static cJSON *json_of(pid_t pid, const char *command)
{
    int code = dm("%s %d --json", command, (int)pid);
    if (code != 0)
        fail_msg("%d:\n%s", code, said);
    cJSON *json = cJSON_Parse(said);
    if (!json)
        fail_msg("no JSON:\n%s", said);
    return json;
}

static double number(const cJSON *in, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(in, name);
    if (!cJSON_IsNumber(item))
        fail_msg("%s is no number in:\n%s", name, said);
    return item->valuedouble;
}

static const char *text(const cJSON *in, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(in, name);
    if (!cJSON_IsString(item))
        fail_msg("%s is no text in:\n%s", name, said);
    return item->valuestring;
}

static const cJSON *within(const cJSON *in, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(in, name);
    if (!item)
        fail_msg("%s is missing in:\n%s", name, said);
    return item;
}

static const cJSON *object_of(const cJSON *memory, double bytes)
{
    const cJSON *object;
    cJSON_ArrayForEach(object, within(memory, "objects"))
    {
        if (number(object, "bytes") == bytes + HEADER || number(object, "bytes") == bytes + HEADER + 1)
            return object;
    }
    fail_msg("no object of %.0f bytes in:\n%s", bytes, said);
    return NULL;
}

/* ---- a program with known objects: one for five cases ---- */

static driver keeper;
static residue before;

static int start_keeper(void **state)
{
    (void)state;
    residue_begin(&before);
    start(&keeper, "keeper", NULL);
    return 0;
}

static int end_keeper(void **state)
{
    (void)state;
    if (access(file_at("go"), F_OK) != 0)
        touch(file_at("go"));
    touch(file_at("end"));
    int status = driver_join(&keeper);
    unlink(file_at("ready"));
    unlink(file_at("go"));
    unlink(file_at("end"));
    return status;
}

/* Nothing is on its way. */
static cJSON *settled_memory(void)
{
    int64_t until = watch_now_ms() + WATCH_PATIENCE_MS;
    for (;;) {
        cJSON *memory = json_of(keeper.pid, "memory");
        const cJSON *totals = within(memory, "totals");
        if (number(totals, "spilling_bytes") == 0 && number(totals, "spilled_objects") >= 3 &&
            number(totals, "objects") == SPILLED + 3)
            return memory;
        cJSON_Delete(memory);
        if (watch_now_ms() > until)
            fail_msg("it does not settle:\n%s", said);
        watch_pause();
    }
}

static void totals_are_right(void **state)
{
    (void)state;
    cJSON *memory = settled_memory();
    const cJSON *totals = within(memory, "totals");
    assert_int_equal(number(totals, "pid"), keeper.pid);
    assert_string_equal(text(totals, "program"), "test_memory_command");
    assert_string_equal(text(totals, "engine"), "processes");
    assert_string_equal(text(totals, "spill_policy"), "auto");
    assert_string_equal(text(totals, "spill_dir"), test_directory());
    assert_int_equal(number(totals, "store_bytes"), STORE);
    assert_int_equal(number(totals, "spill_above"), (int)(0.8 * STORE));
    assert_int_equal(number(totals, "pinned_bytes"), VIEWED + HEADER);
    assert_int_equal(number(totals, "store_used") + number(totals, "spilled_bytes"),
                     SPILLED * (2 * MIB + HEADER) + VIEWED + NAMED + ADOPTED + 3 * HEADER + 1);
    assert_true(number(totals, "store_used") <= number(totals, "spill_above"));
    assert_true(number(totals, "store_committed") >= number(totals, "store_used"));
    assert_true(number(totals, "spilled_total") >= number(totals, "spilled_bytes"));
    assert_true(number(totals, "compression_ratio") > 2);
    assert_true(number(totals, "spill_gb_s") > 0);
    assert_true(number(totals, "disk_bytes") > 0);
    assert_int_equal(number(totals, "objects_lost"), 0);
    cJSON_Delete(memory);
}

static void objects_are_right(void **state)
{
    (void)state;
    cJSON *memory = settled_memory();
    const cJSON *viewed = object_of(memory, VIEWED), *named = object_of(memory, NAMED),
                *adopted = object_of(memory, ADOPTED), *worker;
    assert_string_equal(text(viewed, "state"), "memory");
    assert_string_equal(text(viewed, "made_by"), "makes");
    assert_int_equal(number(viewed, "views"), 1);
    assert_int_equal(number(viewed, "driver_refs"), 1);
    assert_string_equal(text(named, "made_by"), "dm_put");
    assert_int_equal(number(named, "driver_refs"), 2);
    assert_int_equal(number(named, "tasks"), 2); /* holds and takes */
    assert_int_equal(number(named, "worker_refs"), 1);
    worker = cJSON_GetArrayItem(within(named, "workers"), 0);
    assert_int_equal(number(worker, "worker"), 0);
    assert_int_equal(number(worker, "refs"), 1);
    assert_string_equal(text(adopted, "made_by"), "dm_put in a task");
    assert_int_equal(number(adopted, "driver_refs"), 0);
    assert_int_equal(number(adopted, "worker_refs"), 1);
    assert_int_equal(number(adopted, "tasks"), 1);
    assert_true(number(adopted, "value") > number(named, "value")); /* it was made later */
    cJSON_Delete(memory);
}

static void rows_add_up(void **state)
{
    (void)state;
    cJSON *memory = settled_memory();
    const cJSON *object, *totals = within(memory, "totals");
    double away = 0, here = 0, last = 1e18;
    int on_disk = 0;
    cJSON_ArrayForEach(object, within(memory, "objects"))
    {
        bool gone = strcmp(text(object, "state"), "disk") == 0;
        on_disk += gone;
        *(gone ? &away : &here) += number(object, "bytes");
        assert_true(number(object, "bytes") <= last);
        last = number(object, "bytes");
        assert_true(gone == (number(object, "disk_bytes") > 0) || strcmp(text(object, "state"), "both") == 0);
    }
    assert_int_equal(cJSON_GetArraySize(within(memory, "objects")), SPILLED + 3);
    assert_int_equal(number(memory, "objects_seen"), SPILLED + 3);
    assert_int_equal(on_disk, number(totals, "spilled_objects"));
    assert_int_equal(away, number(totals, "spilled_bytes"));
    assert_int_equal(here, number(totals, "store_used"));
    cJSON_Delete(memory);
}

static void the_table_says_the_same(void **state)
{
    (void)state;
    cJSON_Delete(settled_memory());
    assert_int_equal(dm("memory %d --top 100", (int)keeper.pid), 0);
    assert_said("of 16.0 MiB used");
    assert_said("policy auto, from 12.8 MiB on");
    assert_said("1.0 MiB pinned");
    assert_said("1 ref, 1 view\n");
    assert_said("2 refs, 2 tasks, worker 0\n");
    assert_said("dm_put in a task");
    assert_said("13 of 13 objects\n");
    assert_int_equal(dm("memory --top 1 %d", (int)keeper.pid), 0);
    assert_said("1 of 13 objects (--top N shows more)");
    assert_int_equal(dm("memory --top=0 %d", (int)keeper.pid), 0);
    assert_said("0 of 13 objects");
}

static void status_says_what_runs(void **state)
{
    (void)state;
    cJSON_Delete(settled_memory());
    cJSON *status = json_of(keeper.pid, "status");
    const cJSON *totals = within(status, "totals"), *worker = cJSON_GetArrayItem(within(status, "workers"), 0);
    assert_int_equal(number(totals, "tasks_submitted"), SPILLED + 5);
    assert_int_equal(number(totals, "tasks_done"), SPILLED + 1);
    assert_int_equal(number(totals, "tasks_placed") + number(totals, "tasks_queued"), 4);
    assert_int_equal(number(totals, "workers"), 1);
    assert_int_equal(cJSON_GetArraySize(within(status, "workers")), 1);
    assert_string_equal(text(worker, "state"), "running");
    assert_string_equal(text(worker, "function"), "holds");
    assert_true(watch_alive((int)number(worker, "pid")));
    assert_null(cJSON_GetObjectItem(status, "objects"));
    cJSON_Delete(status);
    assert_int_equal(dm("status %d", (int)keeper.pid), 0);
    assert_said("15 submitted; 11 done, 0 failed");
    assert_said("running");
    touch(file_at("go"));
    assert_string_equal(driver_hear(&keeper), "done");
    status = json_of(keeper.pid, "status");
    assert_int_equal(number(within(status, "totals"), "tasks_failed"), 1);
    assert_int_equal(number(within(status, "totals"), "tasks_done"), SPILLED + 4);
    cJSON_Delete(status);
}

/* ---- which program ---- */

static bool private_network; /* nobody else's sessions are seen */

static void needs_private_network(void)
{
    if (private_network)
        return;
    print_message("sessions of other programs would be found: a network of its own is not allowed\n");
    skip();
}

static void none_is_running(void **state)
{
    (void)state;
    needs_private_network();
    assert_int_equal(dm("memory"), 3);
    assert_said("no program of this user");
    assert_int_equal(dm("status --json"), 3);
    assert_int_equal(dm("memory %d", (int)getpid()), 3);
    assert_said("has a dmrt session");
}

static void the_only_one_needs_no_name(void **state)
{
    (void)state;
    char name[64];
    driver one;
    needs_private_network();
    start(&one, "idler", "end1");
    snprintf(name, sizeof name, "pid %d", (int)one.pid);
    assert_int_equal(dm("status"), 0);
    assert_said(name);
    assert_int_equal(dm("memory"), 0);
    assert_said("0 of 0 objects");
    touch(file_at("end1"));
    assert_int_equal(driver_join(&one), 0);
    unlink(file_at("end1"));
}

static void of_two_one_must_be_named(void **state)
{
    (void)state;
    char name[64];
    driver one, two;
    needs_private_network();
    start(&one, "idler", "end1");
    start(&two, "idler", "end2");
    assert_int_equal(dm("memory"), 2);
    assert_said("say which one");
    snprintf(name, sizeof name, "\n  %d  test_memory", (int)one.pid);
    assert_said(name);
    snprintf(name, sizeof name, "\n  %d  test_memory", (int)two.pid);
    assert_said(name);
    assert_int_equal(dm("status %d", (int)one.pid), 0);
    snprintf(name, sizeof name, "pid %d", (int)one.pid);
    assert_said(name);
    touch(file_at("end1"));
    assert_int_equal(driver_join(&one), 0);
    assert_int_equal(dm("status %d", (int)one.pid), 3);
    assert_int_equal(dm("status"), 0); /* one is left */
    touch(file_at("end2"));
    assert_int_equal(driver_join(&two), 0);
    unlink(file_at("end1"));
    unlink(file_at("end2"));
}

/* Asked again and again while it is killed: each time a whole answer, or that it has ended. */
static void one_that_ends_meanwhile_is_told_of(void **state)
{
    (void)state;
    driver one;
    start(&one, "idler", "end1");
    assert_int_equal(dm("memory %d", (int)one.pid), 0);
    pid_t killer = fork();
    if (killer == 0) {
        for (int i = 0; i < 100; i++)
            watch_pause();
        kill(one.pid, SIGKILL);
        _exit(0);
    }
    int code = 0, answers = 0;
    for (int64_t until = watch_now_ms() + WATCH_PATIENCE_MS; code == 0 && watch_now_ms() < until; answers++)
        code = dm("memory %d", (int)one.pid);
    assert_int_equal(code, 3);
    assert_said("ended");
    waitpid(killer, NULL, 0);
    driver_join(&one);
    print_message("%d answers before\n", answers);
}

static void a_stopped_one_is_told_of(void **state)
{
    (void)state;
    driver one;
    start(&one, "idler", "end1");
    kill(one.pid, SIGSTOP);
    assert_soon(watch_state(one.pid) == 'T');
    assert_int_equal(dm("status %d", (int)one.pid), 1);
    assert_said("did not answer");
    kill(one.pid, SIGCONT);
    assert_int_equal(dm("status %d", (int)one.pid), 0);
    touch(file_at("end1"));
    assert_int_equal(driver_join(&one), 0);
    unlink(file_at("end1"));
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    static const char *const nonsense[] = {"memory x", "memory 0", "memory 1 2", "memory --top x", "status -5",
                                           "memory --top 10001", "status --top 5", "memory --json=x"};
    for (size_t i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
        if (dm("%s", nonsense[i]) != 2)
            fail_msg("dm %s:\n%s", nonsense[i], said);
        assert_said("--help)");
    }
    assert_int_equal(dm("memory --help"), 0);
    assert_said("Usage: dm memory [PID]");
    assert_int_equal(dm("help status"), 0);
    assert_said("Usage: dm status [PID]");
}

/* Another user's program is found, and may not be asked; whether root may is seen in every other case. */
static void another_user_is_refused(void **state)
{
    (void)state;
    driver one;
    if (geteuid() != 0 || system("command -v setpriv >/dev/null") != 0) {
        print_message("to be another user takes root, and setpriv\n");
        skip();
    }
    if (system("setpriv --reuid=65534 --clear-groups " DM_BIN_DIR "/dm version >/dev/null 2>&1") != 0) {
        print_message("another user cannot run " DM_BIN_DIR "/dm\n");
        skip();
    }
    start(&one, "idler", "end1");
    char line[400];
    snprintf(line, sizeof line, "setpriv --reuid=65534 --clear-groups %s/dm status %d >%s 2>&1", DM_BIN_DIR,
             (int)one.pid, file_at("said"));
    assert_int_equal(WEXITSTATUS(system(line)), 1);
    FILE *file = fopen(file_at("said"), "r");
    assert_non_null(file);
    said[fread(said, 1, sizeof said - 1, file)] = 0;
    fclose(file);
    assert_said("only that user and root");
    unlink(file_at("said"));
    touch(file_at("end1"));
    assert_int_equal(driver_join(&one), 0);
    unlink(file_at("end1"));
}

static void nothing_is_left(void **state)
{
    (void)state;
    assert_no_residue(&before);
}

static int leave_the_network(void **state)
{
    (void)state;
    private_network = unshare(CLONE_NEWNET) == 0;
    return 0;
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup(none_is_running, leave_the_network),
    cmocka_unit_test_setup(totals_are_right, start_keeper),
    cmocka_unit_test(objects_are_right),
    cmocka_unit_test(rows_add_up),
    cmocka_unit_test(the_table_says_the_same),
    cmocka_unit_test_teardown(status_says_what_runs, end_keeper),
    cmocka_unit_test(nothing_is_left),
    cmocka_unit_test(the_only_one_needs_no_name),
    cmocka_unit_test(of_two_one_must_be_named),
    cmocka_unit_test(one_that_ends_meanwhile_is_told_of),
    cmocka_unit_test(a_stopped_one_is_told_of),
    cmocka_unit_test(nonsense_is_refused),
    cmocka_unit_test(another_user_is_refused),
};

TEST_MAIN(tests, drivers)
