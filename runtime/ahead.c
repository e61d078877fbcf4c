/*
 * ahead.c - asking for fresh pages, and for large ones.
 */
#include "runtime/ahead.h"

#include <stdint.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_READ /* Linux 5.14; an older kernel refuses, which is fine */
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

enum { PAGE = 4096, LEAST = 16 << 10, MOST = 512 << 10, LARGE = 2 << 20 };

void dmi_ahead_grow(dmi_ahead *ahead, size_t bytes)
{
    size_t step = ahead->ready < LEAST ? LEAST : ahead->ready > MOST ? MOST : ahead->ready;
    size_t to = bytes > ahead->ready + step ? bytes : ahead->ready + step;
    to = to > ahead->end ? ahead->end : to;
    uintptr_t from = ((uintptr_t)ahead->base + ahead->ready) & ~(uintptr_t)(PAGE - 1);
    uintptr_t until = ((uintptr_t)ahead->base + to + PAGE - 1) & ~(uintptr_t)(PAGE - 1);
    madvise((void *)from, until - from, ahead->reads ? MADV_POPULATE_READ : MADV_POPULATE_WRITE);
    ahead->ready = to;
}

void dmi_ahead_in_large(char *base, size_t bytes)
{
    uintptr_t from = ((uintptr_t)base + LARGE) & ~(uintptr_t)(LARGE - 1);
    madvise((void *)from, bytes - (from - (uintptr_t)base), MADV_HUGEPAGE);
}
