/*
 * watch.h - a watchdog for the whole test, the clock, and killing that makes sure.
 */
#ifndef TEST_SUPPORT_WATCH_H
#define TEST_SUPPORT_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WATCH_PATIENCE_MS = 20000, WATCH_DOG_S = 110 };

/* From now on the test has so many seconds; then it says where it is and dies, and with it whatever
 * it started. 0: no limit. */
void watch_dog(unsigned seconds);

int64_t watch_now_ms(void);
int64_t watch_now_us(void);

/* A moment between two looks at a condition. */
void watch_pause(void);

/* Kill a process and see it dead: gone, a zombie, or another one with its number. False if it lives. */
bool watch_kill(int pid);

/* Does this process exist, and is it no zombie? */
bool watch_alive(int pid);

/* Kill a random worker of this session; its pid, or 0 if there was none. */
int watch_kill_a_worker(unsigned *seed);

/* The state letter of a process ('R', 'S', 'T', 'Z', ...), 0 if it is gone. */
char watch_state(int pid);

/* Is the program compiled with a sanitizer? Figures of memory and time mean little then. */
bool watch_sanitized(void);

#endif
