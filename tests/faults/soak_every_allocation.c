/*
 * Row 27: an allocation of the driver fails, or of a worker, any (tests/support/failing.h).
 *
 * malloc, calloc, realloc and strdup of the library are wrapped by the linker (tests/CMakeLists.txt); what other
 * libraries allocate is not. `--short`: some of them, for every run of the suite.
 */
#include "tests/support/failing.h"

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *at, size_t bytes);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *at, size_t bytes);
char *__wrap_strdup(const char *text);

void *__wrap_malloc(size_t bytes)
{
    return is_to_fail(ENOMEM) ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return is_to_fail(ENOMEM) ? NULL : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *at, size_t bytes)
{
    return is_to_fail(ENOMEM) ? NULL : __real_realloc(at, bytes);
}

char *__wrap_strdup(const char *text)
{
    return is_to_fail(ENOMEM) ? NULL : __real_strdup(text);
}

static void once(void **state)
{
    (void)state;
    each_of_the_driver(false);
}

static void until_somebody_is_told(void **state)
{
    (void)state;
    each_of_the_driver(true);
}

static void once_while_objects_leave_and_return(void **state)
{
    (void)state;
    each_of_the_driver_in(objects_on_disk);
}

static void once_with_many_arguments(void **state)
{
    (void)state;
    each_of_the_driver_in(long_argument_lists);
}

static void once_while_workers_die(void **state)
{
    (void)state;
    each_of_the_driver_in(objects_of_the_dead);
}

static void once_in_a_worker(void **state)
{
    (void)state;
    each_of_workers();
}

static const struct CMUnitTest all[] = {cmocka_unit_test(once), cmocka_unit_test(until_somebody_is_told),
                                        cmocka_unit_test(once_while_objects_leave_and_return),
                                        cmocka_unit_test(once_with_many_arguments),
                                        cmocka_unit_test(once_while_workers_die), cmocka_unit_test(once_in_a_worker)};

int main(int argc, char **argv)
{
    return failing_main(argc, argv, all, sizeof all / sizeof *all);
}
