/*
 * signals.h - bytes to spill: signals as a scanner gives them, 288 volumes of a voxel, float32 with integers in
 * them; and their sum, by which they are checked.
 */
#ifndef BENCH_SIGNALS_H
#define BENCH_SIGNALS_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { VOLUMES = 288 };

static inline uint64_t case_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Gaussian enough: the sum of four uniform numbers, sd 1. */
static inline float case_gauss(uint64_t *state)
{
    uint64_t bits = case_random(state);
    float sum = 0;
    for (int i = 0; i < 4; i++)
        sum += (float)(bits >> 16 * i & 0xffff);
    return (sum / 65536.0f - 2.0f) * 1.7320508f;
}

/* A smooth field over voxels times an attenuation by direction. */
static inline float case_smooth(size_t i)
{
    float voxel = (float)(i / VOLUMES), along = sinf((float)(i % VOLUMES) * 1.7f);
    return (900.0f + 600.0f * sinf(voxel * 0.01f)) * expf(-2.0f * along * along);
}

static inline float case_signal(uint64_t *state, size_t i)
{
    float value = case_smooth(i) + 20.0f * case_gauss(state);
    return value < 0 ? 0.0f : (float)(int)value;
}

/* The answer: what came back, folded so that a double holds it. */
static inline uint64_t case_sum(const void *bytes, size_t count)
{
    uint64_t sum = 0, word;
    for (size_t i = 0; i + sizeof word <= count; i += sizeof word) {
        memcpy(&word, (const char *)bytes + i, sizeof word);
        sum = (sum ^ word) * 0x9e3779b97f4a7c15u + i;
    }
    return sum >> 16;
}

#endif
