/*
 * apart.h - a piece of a test in a process of its own, where it may mount, set limits and die.
 */
#ifndef TEST_SUPPORT_APART_H
#define TEST_SUPPORT_APART_H

#include <stdbool.h>

/* Fork, run `what`, which says what is wrong or NULL; fails the case if it says something or dies. */
void apart(const char *(*what)(void));

/* The same with mounts of its own; skips the case where that is not allowed. */
void apart_with_mounts(const char *(*what)(void));

/* For use in there: what is wrong, as a result of the function that it stands in. */
#define apart_must(condition)                                                                      \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return apart_said(__FILE__, __LINE__, #condition);                                     \
    } while (0)
#define apart_ok(expression) apart_must((expression) == DM_OK)

const char *apart_said(const char *file, int line, const char *what);

#endif
