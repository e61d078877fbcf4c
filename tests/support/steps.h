/*
 * steps.h - a worker dies before its K-th store to shared memory, for every K that there is.
 *
 * Complete for "dies at any instruction", because only stores are seen by others (objectstore/word.h). Needs the
 * hook before each store, which is there with assertions on (DM_DEBUG). What was done by it is checked by the
 * driver after each death (runtime/walker.h).
 */
#ifndef TEST_SUPPORT_STEPS_H
#define TEST_SUPPORT_STEPS_H

#include <stdbool.h>
#include <stdint.h>

/* Before the session begins: its workers count their stores from now on. And the end of it. */
void steps_begin(void);
void steps_end(void);

/* The next worker that makes its K-th store from now on dies before it; 0: none does. */
void steps_die_at(int64_t k);

/* Deaths, and stores, of workers since steps_begin. */
int steps_deaths(void);
int64_t steps_made(void);

/*
 * run() again and again, with a death before store 1, 1 + stride, ... until a run has none because it makes fewer
 * stores, or `most_ms` have passed. Prints what was done of what there is; the number of runs with a death.
 */
int steps_enumerate(const char *what, int64_t stride, int64_t most_ms, void (*run)(void));

/* In a worker, before it serves; driver.c calls it. */
void steps_join(void);

#endif
