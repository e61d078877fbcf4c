/*
 * clock.h - time that never jumps. A look costs about 20 ns.
 */
#ifndef DMI_CLOCK_H
#define DMI_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t dmi_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline int64_t dmi_now_ms(void)
{
    return (int64_t)(dmi_now_ns() / 1000000u);
}

#endif
