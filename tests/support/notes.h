/*
 * notes.h - what a test, its drivers and their workers know in common: a file of the test's directory, mapped by
 * all. Whoever dies, what it wrote is there. Counters in it are the test's own, so they may be atomic.
 */
#ifndef TEST_SUPPORT_NOTES_H
#define TEST_SUPPORT_NOTES_H

#include <stddef.h>

/* In the test, before its session begins: zeroed. Fails by abort(). */
void *notes_make(size_t bytes);

/* In a worker or driver, before it begins; NULL if the test has made none. */
void *notes_open(size_t bytes);

/* Unmapped and removed. */
void notes_end(void *notes, size_t bytes);

/* The same with a variable of the environment of one's own that says where they are: several notes at once. */
void *notes_make_as(const char *variable, size_t bytes);
void *notes_open_as(const char *variable, size_t bytes);
void notes_end_as(const char *variable, void *notes, size_t bytes);

#endif
