/*
 * squeeze.h - LZ4 over float32 whose bytes of equal significance lie together, as a floor does it: nothing is checked,
 * but as fast as the machine can.
 */
#ifndef BENCH_SQUEEZE_H
#define BENCH_SQUEEZE_H

#include <lz4.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = 64 << 10 }; /* what a core's cache holds with room to spare */

/* At most so many bytes become of `count`. */
static inline size_t squeezed_most(size_t count)
{
    return count / PIECE * ((size_t)LZ4_compressBound(PIECE) + sizeof(int));
}

/* As fast as the machine can: a floor that a better compiler flag would beat is none. */
#if defined(__x86_64__) && defined(__gnu_linux__)
#define FOR_THIS_MACHINE __attribute__((target_clones("avx2", "default")))
#else
#define FOR_THIS_MACHINE
#endif

FOR_THIS_MACHINE static void shuffle(const char *restrict from, char *restrict to)
{
    enum { N = PIECE / sizeof(float) };
    for (size_t i = 0; i < N; i++) {
        uint32_t element;
        memcpy(&element, from + i * sizeof element, sizeof element);
        to[i] = (char)element;
        to[N + i] = (char)(element >> 8);
        to[2 * N + i] = (char)(element >> 16);
        to[3 * N + i] = (char)(element >> 24);
    }
}

FOR_THIS_MACHINE static void unshuffle(const char *restrict from, char *restrict to)
{
    enum { N = PIECE / sizeof(float) };
    const unsigned char *planes = (const unsigned char *)from;
    for (size_t i = 0; i < N; i++) {
        uint32_t element = planes[i] | (uint32_t)planes[N + i] << 8 | (uint32_t)planes[2 * N + i] << 16 |
                           (uint32_t)planes[3 * N + i] << 24;
        memcpy(to + i * sizeof element, &element, sizeof element);
    }
}

/* `count` bytes, a multiple of PIECE; how many they became. */
static inline size_t squeeze(const char *from, size_t count, char *to)
{
    static __thread char planes[PIECE];
    const char *begin = to;
    for (size_t at = 0; at < count; at += PIECE) {
        shuffle(from + at, planes);
        int bytes = LZ4_compress_default(planes, to + sizeof bytes, PIECE, LZ4_compressBound(PIECE));
        memcpy(to, &bytes, sizeof bytes);
        to += sizeof bytes + (size_t)bytes;
    }
    return (size_t)(to - begin);
}

static inline void expand(const char *from, char *to, size_t count)
{
    static __thread char planes[PIECE];
    for (size_t at = 0; at < count; at += PIECE) {
        int bytes;
        memcpy(&bytes, from, sizeof bytes);
        if (LZ4_decompress_safe(from + sizeof bytes, planes, bytes, PIECE) != PIECE) {
            fprintf(stderr, "LZ4_decompress_safe: what was squeezed is damaged\n");
            exit(1);
        }
        unshuffle(planes, to + at);
        from += sizeof bytes + (size_t)bytes;
    }
}

#endif
