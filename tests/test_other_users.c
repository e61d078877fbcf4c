/*
 * Another user of the machine can neither read nor stop a program, nor hand it a spill directory of his making.
 * What he tries is tried by root as well, where it works: it fails for no other reason than who he is. Rows 50
 * and 58 of tests/faults/README.md; the door has a test of its own (test_door).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "tests/support/test.h"

enum { STRANGER = 65534 };

/* What is tried on: a process, its spilled file, and an address in it. */
static struct {
    int pid;
    char home[400];
    const char *secret;
} prey;

static const char secret[] = "nobody else's business";

/* ---- attempts: true if it worked ---- */

static bool opens(const char *format, int flags)
{
    char path[500];
    snprintf(path, sizeof path, format, prey.pid);
    return open(path, flags) >= 0;
}

static bool signals(void) { return kill(prey.pid, 0) == 0; }
static bool reads_its_memory(void) { return opens("/proc/%d/mem", O_RDONLY); }
static bool writes_its_memory(void) { return opens("/proc/%d/mem", O_RDWR); }
static bool lists_its_descriptors(void) { return opens("/proc/%d/fd", O_RDONLY | O_DIRECTORY); }
static bool lists_its_mappings(void) { return opens("/proc/%d/map_files", O_RDONLY | O_DIRECTORY); }
static bool reads_its_environment(void) { return opens("/proc/%d/environ", O_RDONLY); }

static bool copies_its_memory(void)
{
    char copy[sizeof secret] = "";
    struct iovec to = {copy, sizeof copy}, from = {(void *)(uintptr_t)prey.secret, sizeof copy};
    return process_vm_readv(prey.pid, &to, 1, &from, 1, 0) == sizeof copy && strcmp(copy, secret) == 0;
}

static bool traces(void)
{
    return ptrace(PTRACE_SEIZE, prey.pid, 0, 0) == 0;
}

static bool opens_its_shared_memory(void)
{
    for (int fd = 0; fd < 200; fd++) {
        char path[64], target[64] = "";
        snprintf(path, sizeof path, "/proc/%d/fd/%d", prey.pid, fd);
        if (readlink(path, target, sizeof target - 1) > 0 && strstr(target, "memfd:dmrt"))
            return open(path, O_RDONLY) >= 0;
    }
    return false;
}

static bool takes_a_descriptor(void)
{
    int pidfd = (int)syscall(SYS_pidfd_open, prey.pid, 0);
    return syscall(SYS_pidfd_getfd, pidfd, 0, 0) >= 0;
}

static bool changes_its_limits(void)
{
    struct rlimit limit;
    return prlimit(prey.pid, RLIMIT_NOFILE, NULL, &limit) == 0 && prlimit(prey.pid, RLIMIT_NOFILE, &limit, NULL) == 0;
}

static bool lists_what_it_spilled(void)
{
    return open(prey.home, O_RDONLY | O_DIRECTORY) >= 0;
}

static bool reads_what_it_spilled(void)
{
    char path[500];
    snprintf(path, sizeof path, "%s/spill-0", prey.home);
    return open(path, O_RDONLY) >= 0;
}

static bool moves_what_it_spilled(void)
{
    char path[500];
    snprintf(path, sizeof path, "%s.moved", prey.home);
    return rename(prey.home, path) == 0 && rename(path, prey.home) == 0;
}

#define A(name_) {#name_, name_}
static const struct {
    const char *name;
    bool (*works)(void);
} attempts[] = {
    A(signals), A(reads_its_memory), A(writes_its_memory), A(lists_its_descriptors), A(lists_its_mappings),
    A(reads_its_environment), A(copies_its_memory), A(traces), A(opens_its_shared_memory), A(takes_a_descriptor),
    A(changes_its_limits), A(lists_what_it_spilled), A(reads_what_it_spilled), A(moves_what_it_spilled),
};
enum { ATTEMPTS = sizeof attempts / sizeof *attempts };

/* ---- whose attempts ---- */

/* In a process of this user's. */
static bool works_for(uid_t uid, bool (*attempt)(void))
{
    int status;
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (uid != 0 && (setgroups(0, NULL) != 0 || setresgid(uid, uid, uid) != 0 || setresuid(uid, uid, uid) != 0))
            _exit(2);
        _exit(attempt() ? 1 : 0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
    return WEXITSTATUS(status) == 1;
}

static void need_root(void)
{
    if (geteuid() == 0)
        return;
    print_message("skipped: to be another user takes root\n");
    skip();
}

/* ---- a program to look at ---- */

static char place[300]; /* like /tmp: everybody may write there */

static void make_place(void)
{
    snprintf(place, sizeof place, "%s/place", test_directory());
    assert_int_equal(chmod(test_directory(), 0711), 0);
    assert_int_equal(mkdir(place, 0700), 0);
    assert_int_equal(chmod(place, 01777), 0);
}

static void remove_place(void)
{
    assert_int_equal(rmdir(place), 0);
}

static void begin_spilling(const char *where)
{
    session_begin_with(&(dm_options){.engine = DM_ENGINE_PROCESSES, .workers = 1, .store_bytes = 8 << 20,
                                     .spill_dir = where, .spill_visible = 1});
}

DM_REMOTE(answers)
{
    return dm_return(call, 42);
}

/* Fills the store twice, so that there is a spill file. */
static void spill(dm_ref refs[16])
{
    static char bytes[1 << 20];
    int x;
    for (int i = 0; i < 16; i++) {
        memset(bytes, i, sizeof bytes);
        refs[i] = dm_put(&DM_BYTES(bytes, sizeof bytes));
    }
    dm_ref ref = dm_remote(answers);
    assert_ok(dm_get(ref, &x));
    dm_release(ref);
}

static void assert_readable(dm_ref refs[16])
{
    for (int i = 0; i < 16; i++) {
        dm_view view;
        assert_ok(dm_get(refs[i], &view));
        assert_int_equal(((const char *)view.data)[view.bytes - 1], i);
        dm_view_release(&view);
        dm_release(refs[i]);
    }
}

static void find_home(void)
{
    char command[500];
    snprintf(command, sizeof command, "ls -d %s/dmrt-%u-%d-*", place, (unsigned)geteuid(), (int)getpid());
    FILE *list = popen(command, "r");
    assert_non_null(fgets(prey.home, sizeof prey.home, list));
    pclose(list);
    prey.home[strcspn(prey.home, "\n")] = 0;
}

static void try_all_on(int pid)
{
    prey.pid = pid;
    for (int i = 0; i < ATTEMPTS; i++) {
        if (!works_for(0, attempts[i].works))
            print_message("%s: not even root may here\n", attempts[i].name);
        if (works_for(STRANGER, attempts[i].works))
            fail_msg("another user %s of process %d", attempts[i].name, pid);
    }
}

/* ---- cases ---- */

static void others_cannot_look_in(void **state)
{
    (void)state;
    int worker;
    dm_ref refs[16];
    residue before;
    need_root();
    residue_begin(&before);
    make_place();
    begin_spilling(place);
    spill(refs);
    find_home();
    prey.secret = secret; /* at the same address in a worker, or nowhere: then that attempt is idle */
    assert_int_equal(dm_worker_pids(&worker, 1), 1);
    try_all_on(getpid());
    try_all_on(worker);
    assert_true(works_for(0, lists_what_it_spilled) && works_for(0, reads_what_it_spilled)); /* there was something */
    assert_readable(refs);
    dm_shutdown();
    remove_place();
    assert_no_residue(&before);
}

static bool plants_a_directory(void)
{
    char path[400];
    snprintf(path, sizeof path, "%s/planted", place);
    return mkdir(path, 0777) == 0 && chmod(path, 01777) == 0;
}

static bool plants_a_link(void)
{
    char path[400];
    snprintf(path, sizeof path, "%s/link", place);
    return symlink("/etc", path) == 0;
}

/* Named as a dead session's of ours would be, with our file for the sweeper's dinner. */
static bool plants_leftovers(void)
{
    char home[400], path[500], precious[400];
    snprintf(precious, sizeof precious, "%s/precious", place);
    snprintf(home, sizeof home, "%s/dmrt-0-1-aaaaaa", place);
    snprintf(path, sizeof path, "%s/lock", home);
    bool made = mkdir(home, 0777) == 0 && symlink(precious, path) == 0;
    snprintf(path, sizeof path, "%s/dmrt-0-1-bbbbbb", place);
    return made && symlink(place, path) == 0;
}

static void assert_unsafe(const char *name, const char *words)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", place, name);
    assert_refused(dm_init(&(dm_options){.engine = DM_ENGINE_PROCESSES, .workers = 1, .spill_dir = path}),
                   DM_ERR_SPILL_UNSAFE, words);
}

static void remove_all(const char *const *names)
{
    for (; *names; names++) {
        char path[400];
        snprintf(path, sizeof path, "%s/%s", place, *names);
        assert_int_equal(remove(path), 0);
    }
}

static void what_others_planted_is_refused(void **state)
{
    (void)state;
    need_root();
    make_place();
    assert_true(works_for(STRANGER, plants_a_directory) && works_for(STRANGER, plants_a_link));
    assert_unsafe("planted", "another user");
    assert_unsafe("planted/", "another user");
    assert_unsafe("link", "symbolic link");
    assert_unsafe("link/", "symbolic link");
    remove_all((const char *const[]){"planted", "link", NULL});
    remove_place();
}

static void what_others_planted_is_not_swept_into(void **state)
{
    (void)state;
    char path[400];
    dm_ref refs[16];
    need_root();
    make_place();
    snprintf(path, sizeof path, "%s/precious", place);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    assert_true(works_for(STRANGER, plants_leftovers));
    begin_spilling(place);
    spill(refs);
    assert_readable(refs);
    dm_shutdown();
    remove_all((const char *const[]){"precious", "dmrt-0-1-aaaaaa/lock", "dmrt-0-1-aaaaaa", "dmrt-0-1-bbbbbb", NULL});
    remove_place(); /* and nothing else was there */
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(others_cannot_look_in),
    cmocka_unit_test(what_others_planted_is_refused),
    cmocka_unit_test(what_others_planted_is_not_swept_into),
};

TEST_MAIN(tests, NULL)
