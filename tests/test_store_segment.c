/*
 * A segment is memory that its owner writes and others can only read: not written, resized, punched or
 * left behind, whoever has which descriptor.
 */
#include "objectstore/segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/apart.h"

enum { PAGE = 4096, BYTES = 64 * PAGE };

static dmi_segment made(size_t bytes, bool one_mapping)
{
    dmi_segment segment;
    if (dmi_segment_create(&segment, bytes, one_mapping) != DM_OK)
        fail_msg("dmi_segment_create: %s", dm_last_error());
    return segment;
}

static void assert_empty(const dmi_segment *segment)
{
    assert_null(segment->rw);
    assert_null(segment->ro);
    assert_int_equal(segment->rw_fd, -1);
    assert_int_equal(segment->ro_fd, -1);
    assert_int_equal(segment->bytes, 0);
}

/* Descriptors open now, but for the one that looks. */
static int open_fds(void)
{
    DIR *directory = opendir("/proc/self/fd");
    assert_non_null(directory);
    int count = -1;
    for (struct dirent *entry = readdir(directory); entry; entry = readdir(directory))
        count += entry->d_name[0] != '.';
    closedir(directory);
    return count;
}

static int mappings(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    assert_non_null(maps);
    char line[512];
    int count = 0;
    while (fgets(line, sizeof line, maps))
        count += strstr(line, "memfd:") != NULL;
    fclose(maps);
    return count;
}

static void refuse_attach(int rw_fd, int ro_fd, size_t bytes, const char *words)
{
    int fds = open_fds(), taken = (rw_fd >= 0) + (ro_fd >= 0);
    dmi_segment segment;
    assert_int_equal(dmi_segment_attach(&segment, rw_fd, ro_fd, bytes), DM_ERR_VERSION);
    if (!strstr(dm_last_error(), words))
        fail_msg("\"%s\" is not in \"%s\"", words, dm_last_error());
    assert_empty(&segment);
    assert_int_equal(open_fds(), fds - taken);
}

/* ---- */

static void what_is_written_is_read_through_the_other_mapping(void **state)
{
    (void)state;
    dmi_segment segment = made(BYTES - 1, false);
    assert_int_equal(segment.bytes, BYTES);
    assert_ptr_not_equal(segment.rw, segment.ro);
    strcpy(segment.rw + 5 * PAGE, "hello");
    assert_string_equal(segment.ro + 5 * PAGE, "hello");
    dmi_segment_destroy(&segment);
}

static void one_mapping_is_one_address(void **state)
{
    (void)state;
    dmi_segment segment = made(BYTES, true);
    assert_ptr_equal(segment.rw, segment.ro);
    dmi_segment_destroy(&segment);
}

static void a_terabyte_costs_nothing_until_touched(void **state)
{
    (void)state;
    dmi_segment segment = made((size_t)1 << 40, false);
    struct stat about;
    assert_int_equal(fstat(segment.rw_fd, &about), 0);
    assert_int_equal(about.st_blocks, 0);
    segment.rw[(size_t)1 << 39] = 1;
    assert_int_equal(fstat(segment.rw_fd, &about), 0);
    assert_in_range(about.st_blocks, 1, 4096); /* a page, or a huge one */
    dmi_segment_destroy(&segment);
}

static void destroy_leaves_no_descriptor_and_no_mapping(void **state)
{
    (void)state;
    int fds = open_fds(), maps = mappings();
    for (int one_mapping = 0; one_mapping < 2; one_mapping++) {
        dmi_segment segment = made(BYTES, one_mapping);
        assert_int_equal(open_fds(), fds + 2);
        dmi_segment_destroy(&segment);
        assert_empty(&segment);
        dmi_segment_destroy(&segment);
        assert_int_equal(open_fds(), fds);
        assert_int_equal(mappings(), maps);
    }
}

static void descriptors_do_not_reach_another_program(void **state)
{
    (void)state;
    dmi_segment segment = made(BYTES, false);
    assert_true(fcntl(segment.rw_fd, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(segment.ro_fd, F_GETFD) & FD_CLOEXEC);
    dmi_segment_destroy(&segment);
}

static void the_size_is_sealed_even_for_the_owner(void **state)
{
    (void)state;
    dmi_segment segment = made(BYTES, false);
    assert_int_equal(ftruncate(segment.rw_fd, BYTES - PAGE), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(segment.rw_fd, BYTES + PAGE), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(fcntl(segment.rw_fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    assert_int_equal(errno, EPERM);
    dmi_segment_destroy(&segment);
}

static void the_owner_can_reserve_and_punch(void **state)
{
    (void)state;
    dmi_segment segment = made(BYTES, false);
    assert_int_equal(fallocate(segment.rw_fd, 0, PAGE, PAGE), 0);
    segment.rw[PAGE] = 1;
    int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    assert_int_equal(fallocate(segment.rw_fd, punch, PAGE, PAGE), 0);
    assert_int_equal(segment.ro[PAGE], 0);
    dmi_segment_destroy(&segment);
}

static void a_reader_can_neither_map_writable_nor_write_nor_resize_nor_punch(void **state)
{
    (void)state;
    dmi_segment segment = made(BYTES, false);
    int fd = segment.ro_fd;
    assert_ptr_equal(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    assert_int_equal(errno, EACCES);
    assert_int_equal(mprotect((void *)(uintptr_t)segment.ro, PAGE, PROT_READ | PROT_WRITE), -1);
    assert_int_equal(errno, EACCES);
    assert_int_equal(pwrite(fd, "x", 1, 0), -1);
    assert_int_equal(ftruncate(fd, 0), -1);
    assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE), -1);
    assert_int_equal(fallocate(fd, 0, 0, PAGE), -1);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    dmi_segment_destroy(&segment);
}

/* Opening it anew by the name that /proc has for it gives no right that the descriptor has not. */
static const char *reopens_nothing(void)
{
    enum { OTHER_UID = 65534 };
    char path[40];
    dmi_segment segment;
    if (geteuid() == 0) /* who may open anything */
        apart_must(setgid(OTHER_UID) == 0 && setuid(OTHER_UID) == 0);
    apart_ok(dmi_segment_create(&segment, BYTES, false));
    snprintf(path, sizeof path, "/proc/self/fd/%d", segment.ro_fd);
    apart_must(open(path, O_RDWR) == -1 && errno == EACCES);
    apart_must(truncate(path, 0) == -1 && errno == EACCES);
    strcpy(segment.rw, "its owner goes on");
    apart_must(strcmp(segment.ro, "its owner goes on") == 0);
    dmi_segment_destroy(&segment);
    return NULL;
}

static void a_reader_cannot_reopen_it_for_writing(void **state)
{
    (void)state;
    apart(reopens_nothing);
}

/* In a process of its own: the signal that touching this address gives, 0 for none. */
static int signal_of_touching(char *at, bool write)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGSEGV, SIG_DFL); /* not a sanitizer's */
        signal(SIGBUS, SIG_DFL);
        if (write)
            *(volatile char *)at = 1;
        else
            (void)*(volatile char *)at;
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
}

static void a_forked_child_can_read_and_not_write(void **state)
{
    (void)state;
    dmi_segment segment = made(BYTES, false);
    segment.rw[0] = 7;
    assert_int_equal(signal_of_touching((char *)(uintptr_t)segment.ro, false), 0);
    assert_int_equal(signal_of_touching((char *)(uintptr_t)segment.ro, true), SIGSEGV);
    assert_int_equal(signal_of_touching(segment.rw, true), SIGSEGV);
    assert_int_equal(signal_of_touching(segment.rw, false), SIGSEGV);
    assert_int_equal(segment.ro[0], 7);
    dmi_segment_destroy(&segment);
}

static void a_reader_attaches_and_sees(void **state)
{
    (void)state;
    dmi_segment owner = made(BYTES, false), reader;
    assert_int_equal(dmi_segment_attach(&reader, -1, dup(owner.ro_fd), BYTES), DM_OK);
    assert_null(reader.rw);
    owner.rw[PAGE] = 42;
    assert_int_equal(reader.ro[PAGE], 42);
    dmi_segment_close_fds(&reader);
    assert_int_equal(reader.ro_fd, -1);
    dmi_segment_destroy(&owner);
    assert_int_equal(reader.ro[PAGE], 42); /* memory lives as long as somebody maps it */
    dmi_segment_destroy(&reader);
}

static void an_owner_attaches_and_writes_what_its_maker_gave_up(void **state)
{
    (void)state;
    dmi_segment maker = made(BYTES, false), owner;
    dmi_segment_unmap_rw(&maker);
    assert_null(maker.rw);
    assert_int_equal(dmi_segment_attach(&owner, dup(maker.rw_fd), dup(maker.ro_fd), BYTES), DM_OK);
    owner.rw[0] = 3;
    assert_int_equal(maker.ro[0], 3);
    assert_int_equal(signal_of_touching(owner.rw, true), SIGSEGV);
    dmi_segment_destroy(&owner);
    dmi_segment_destroy(&maker);
}

static void another_size_is_refused(void **state)
{
    (void)state;
    dmi_segment segment = made(BYTES, false);
    refuse_attach(-1, dup(segment.ro_fd), BYTES + PAGE, "announced");
    refuse_attach(dup(segment.rw_fd), dup(segment.ro_fd), BYTES - PAGE, "announced");
    dmi_segment_destroy(&segment);
}

static void memory_that_is_not_sealed_is_refused(void **state)
{
    (void)state;
    int fd = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(fd, BYTES), 0);
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    refuse_attach(-1, open(path, O_RDONLY), BYTES, "not sealed");
    close(fd);
}

static void a_file_is_refused(void **state)
{
    (void)state;
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), BYTES), 0);
    refuse_attach(-1, dup(fileno(file)), BYTES, "not sealed");
    fclose(file);
}

static void a_writable_descriptor_in_place_of_a_reading_one_is_refused(void **state)
{
    (void)state;
    dmi_segment segment = made(BYTES, false);
    refuse_attach(-1, dup(segment.rw_fd), BYTES, "not read-only");
    refuse_attach(dup(segment.ro_fd), dup(segment.ro_fd), BYTES, "not writable");
    dmi_segment_destroy(&segment);
}

static void descriptors_of_two_segments_are_refused(void **state)
{
    (void)state;
    dmi_segment one = made(BYTES, false), other = made(BYTES, false);
    refuse_attach(dup(one.rw_fd), dup(other.ro_fd), BYTES, "different");
    dmi_segment_destroy(&one);
    dmi_segment_destroy(&other);
}

static void without_descriptors_it_says_so_and_leaves_nothing_open(void **state)
{
    (void)state;
    int fds = open_fds(), maps = mappings();
    struct rlimit before, limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int lowest = dup(0);
    assert_true(lowest > 0);
    close(lowest);
    for (int room = 0; room < 2; room++) { /* the second: the memfd is had, its reader is not */
        limit = (struct rlimit){(rlim_t)(lowest + room), before.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        dmi_segment segment;
        dm_status status = dmi_segment_create(&segment, BYTES, false);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        assert_int_equal(status, DM_ERR_FDS);
        assert_non_null(strstr(dm_last_error(), "ulimit -n"));
        assert_empty(&segment);
        assert_int_equal(open_fds(), fds);
    }
    assert_int_equal(mappings(), maps);
}

static void without_address_space_it_says_so_and_leaves_nothing(void **state)
{
    (void)state;
    int fds = open_fds(), maps = mappings();
    dmi_segment segment;
    assert_int_equal(dmi_segment_create(&segment, (size_t)1 << 47, false), DM_ERR_NOMEM);
    assert_non_null(strstr(dm_last_error(), "ulimit -v"));
    assert_empty(&segment);
    assert_int_equal(open_fds(), fds);
    assert_int_equal(mappings(), maps);
}

static void sizes_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    int fds = open_fds();
    const size_t sizes[] = {0, SIZE_MAX, SIZE_MAX / 2};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        dmi_segment segment;
        assert_int_not_equal(dmi_segment_create(&segment, sizes[i], false), DM_OK);
        assert_empty(&segment);
    }
    assert_int_equal(open_fds(), fds);
}

static void holds_is_safe_against_overflow(void **state)
{
    (void)state;
    dmi_segment segment = {.bytes = 100};
    assert_true(dmi_segment_holds(&segment, 0, 100));
    assert_true(dmi_segment_holds(&segment, 100, 0));
    assert_false(dmi_segment_holds(&segment, 1, 100));
    assert_false(dmi_segment_holds(&segment, 101, 0));
    assert_false(dmi_segment_holds(&segment, 50, SIZE_MAX));
    assert_false(dmi_segment_holds(&segment, SIZE_MAX, 2));
}

int main(void)
{
    alarm(110);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_through_the_other_mapping),
        cmocka_unit_test(one_mapping_is_one_address),
        cmocka_unit_test(a_terabyte_costs_nothing_until_touched),
        cmocka_unit_test(destroy_leaves_no_descriptor_and_no_mapping),
        cmocka_unit_test(descriptors_do_not_reach_another_program),
        cmocka_unit_test(the_size_is_sealed_even_for_the_owner),
        cmocka_unit_test(the_owner_can_reserve_and_punch),
        cmocka_unit_test(a_reader_can_neither_map_writable_nor_write_nor_resize_nor_punch),
        cmocka_unit_test(a_reader_cannot_reopen_it_for_writing),
        cmocka_unit_test(a_forked_child_can_read_and_not_write),
        cmocka_unit_test(a_reader_attaches_and_sees),
        cmocka_unit_test(an_owner_attaches_and_writes_what_its_maker_gave_up),
        cmocka_unit_test(another_size_is_refused),
        cmocka_unit_test(memory_that_is_not_sealed_is_refused),
        cmocka_unit_test(a_file_is_refused),
        cmocka_unit_test(a_writable_descriptor_in_place_of_a_reading_one_is_refused),
        cmocka_unit_test(descriptors_of_two_segments_are_refused),
        cmocka_unit_test(without_descriptors_it_says_so_and_leaves_nothing_open),
        cmocka_unit_test(without_address_space_it_says_so_and_leaves_nothing),
        cmocka_unit_test(sizes_that_make_no_sense_are_refused),
        cmocka_unit_test(holds_is_safe_against_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
