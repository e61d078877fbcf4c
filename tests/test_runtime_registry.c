/*
 * Remote functions are numbered by name, alike in every process; what is wrong with them is said by
 * the closing of the registry. Each case is a process of its own, because registering is for ever.
 */
#include "runtime/registry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

DM_REMOTE(pear)
{
    (void)call;
    return DM_OK;
}

DM_REMOTE(apple)
{
    (void)call;
    return DM_OK;
}

static void in_child(int (*what)(void))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(what());
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

#define NEED(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s (%s)\n", __FILE__, __LINE__, #condition,            \
                    dm_last_error());                                                              \
            return 1;                                                                              \
        }                                                                                          \
    } while (0)

static int numbers(void)
{
    NEED(dm_function_named("pear") == &pear); /* before it is closed, too */
    NEED(!dmi_registry_at(0) && !dmi_registry_knows(&pear));
    NEED(dmi_registry_close() == DM_OK);
    NEED(dmi_registry_at(0) == &apple && dmi_registry_at(1) == &pear);
    NEED(!dmi_registry_at(2) && !dmi_registry_at(UINT32_MAX));
    NEED(dm_function_named("apple") == &apple && dm_function_named("pear") == &pear);
    NEED(!dm_function_named("plum") && !dm_function_named("") && !dm_function_named(NULL));
    dm_function stranger = apple;
    NEED(dmi_registry_knows(&apple) && !dmi_registry_knows(&stranger) && !dmi_registry_knows(NULL));
    return 0;
}

static int later_ones(void)
{
    static dm_function fig = {.name = "fig", .file = "f.c", .line = 3};
    fig.body = pear.body;
    NEED(dmi_registry_close() == DM_OK);
    uint64_t before = dmi_registry_hash();
    dm_register(&fig);
    dm_register(&fig); /* the same again is nothing new */
    NEED(dmi_registry_close() == DM_OK);
    NEED(dmi_registry_at(1) == &fig && dmi_registry_at(2) == &pear && !dmi_registry_at(3));
    NEED(dmi_registry_hash() != before);
    return 0;
}

static int duplicates(void)
{
    static dm_function other = {.name = "pear", .file = "other.c", .line = 77};
    other.body = pear.body;
    dm_register(&other);
    NEED(dmi_registry_close() == DM_ERR_DUPLICATE);
    NEED(strstr(dm_last_error(), "other.c:77"));
    NEED(strstr(dm_last_error(), "test_runtime_registry.c:"));
    NEED(strstr(dm_last_error(), "pear"));
    return 0;
}

static int bad_name(const char *name)
{
    static dm_function f = {.file = "bad.c", .line = 5};
    f.name = name;
    f.body = pear.body;
    dm_register(&f);
    NEED(dmi_registry_close() == DM_ERR_INVALID);
    NEED(strstr(dm_last_error(), "bad.c:5"));
    return 0;
}

static int empty_name(void)
{
    return bad_name("");
}

static int no_name(void)
{
    return bad_name(NULL);
}

static int long_name(void)
{
    static char name[257];
    memset(name, 'n', 256);
    return bad_name(name);
}

#define CASE(name_)                                                                                \
    static void test_##name_(void **state)                                                         \
    {                                                                                              \
        (void)state;                                                                               \
        in_child(name_);                                                                           \
    }
CASE(numbers)
CASE(later_ones)
CASE(duplicates)
CASE(empty_name)
CASE(no_name)
CASE(long_name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),    cmocka_unit_test(test_later_ones),
        cmocka_unit_test(test_duplicates), cmocka_unit_test(test_empty_name),
        cmocka_unit_test(test_no_name),    cmocka_unit_test(test_long_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
