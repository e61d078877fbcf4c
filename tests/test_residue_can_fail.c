/*
 * The residue check sees each kind of residue: a test of what all other tests rely on.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "tests/support/test.h"

static residue before;

static void assert_seen(const char *words)
{
    char said[4096];
    assert_false(residue_check_within(&before, 0, said, sizeof said));
    if (!strstr(said, words))
        fail_msg("\"%s\" is not in \"%s\"", words, said);
}

static void nothing_is_nothing(void **state)
{
    (void)state;
    residue_begin(&before);
    assert_no_residue(&before);
}

static void a_child_is_seen(void **state)
{
    (void)state;
    residue_begin(&before);
    pid_t child = fork();
    if (child == 0) {
        pause();
        _exit(0);
    }
    assert_seen("processes: 1, before 0");
    assert_true(watch_kill(child));
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_no_residue(&before);
}

static void a_worker_not_reaped_is_seen(void **state)
{
    (void)state;
    residue_begin(&before);
    pid_t child = fork();
    if (child == 0) {
        setpgid(0, 0); /* as workers are */
        _exit(0);
    }
    assert_soon(watch_state(child) == 'Z');
    assert_seen("state Z");
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_no_residue(&before);
}

static void a_grandchild_is_seen(void **state)
{
    (void)state;
    residue_begin(&before);
    int pipes[2];
    pid_t grandchild;
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    pid_t child = fork();
    if (child == 0) {
        pid_t pid = fork();
        if (pid == 0) {
            pause();
            _exit(0);
        }
        _exit(write(pipes[1], &pid, sizeof pid) != sizeof pid);
    }
    assert_int_equal(read(pipes[0], &grandchild, sizeof grandchild), sizeof grandchild);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(pipes[0]);
    close(pipes[1]);
    assert_seen("processes: 1, before 0"); /* orphaned, and still seen */
    assert_true(watch_kill(grandchild));
    assert_no_residue(&before);
}

static void a_descriptor_is_seen(void **state)
{
    (void)state;
    residue_begin(&before);
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_seen("/dev/null, before nothing");
    close(fd);
    assert_no_residue(&before);
}

static void shared_bytes_are_seen(void **state)
{
    (void)state;
    residue_begin(&before);
    int fd = memfd_create("leak", MFD_CLOEXEC);
    assert_int_equal(ftruncate(fd, 1 << 20), 0);
    assert_int_equal(pwrite(fd, "x", 1, 5000), 1);
    assert_seen("shared bytes: 4096, before 0");
    void *map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    assert_seen("shared mappings: 1, before 0");
    munmap(map, 4096);
    assert_no_residue(&before);
}

static void *wait_for_end(void *mutex)
{
    pthread_mutex_lock(mutex);
    pthread_mutex_unlock(mutex);
    return NULL;
}

static void a_thread_is_seen(void **state)
{
    (void)state;
    residue_begin(&before);
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_t thread;
    pthread_mutex_lock(&mutex);
    assert_int_equal(pthread_create(&thread, NULL, wait_for_end, &mutex), 0);
    assert_seen("threads: ");
    pthread_mutex_unlock(&mutex);
    pthread_join(thread, NULL);
    assert_no_residue(&before);
}

static void a_file_is_seen(void **state)
{
    (void)state;
    char path[300];
    residue_begin(&before);
    snprintf(path, sizeof path, "%s/left", test_directory());
    close(open(path, O_CREAT | O_WRONLY, 0600));
    assert_seen("files: 1, before 0");
    unlink(path);
    assert_no_residue(&before);
}

static void a_running_session_is_seen(void **state)
{
    (void)state;
    residue_begin(&before);
    session_begin(DM_ENGINE_PROCESSES, 1);
    assert_seen("shared bytes");
    dm_shutdown();
    assert_no_residue(&before);
}

static void a_kill_that_is_none_is_noticed(void **state)
{
    (void)state;
    assert_false(watch_alive(0));
    assert_true(watch_alive(getpid()));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(nothing_is_nothing),         cmocka_unit_test(a_child_is_seen),
    cmocka_unit_test(a_worker_not_reaped_is_seen), cmocka_unit_test(a_grandchild_is_seen),
    cmocka_unit_test(a_descriptor_is_seen),       cmocka_unit_test(shared_bytes_are_seen),
    cmocka_unit_test(a_thread_is_seen),           cmocka_unit_test(a_file_is_seen),
    cmocka_unit_test(a_running_session_is_seen),  cmocka_unit_test(a_kill_that_is_none_is_noticed),
};

TEST_MAIN(tests, NULL)
