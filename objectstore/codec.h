/*
 * codec.h - bytes made fewer: LZ4 over planes, block by block. The only file that knows LZ4 is codec.c.
 *
 * What is coded are *blocks* of at most DMI_CODEC_BLOCK bytes, which fit into a core's cache together with
 * their planes. For each plane of a block it is tried on a sample what pays: nothing, LZ4, or LZ4 over
 * its bits. So noise is copied, and the noisy low bytes of numbers do not slow down their regular high ones.
 * The checksum is taken of the bytes before coding, while they are in the cache.
 *
 * Decoding trusts nothing that it reads, and writes nowhere but to `to`.
 *
 * A dmi_codec is scratch memory: one thread at a time.
 */
#ifndef DMI_CODEC_H
#define DMI_CODEC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DMI_CODEC_BLOCK = 256 << 10 };

typedef struct dmi_codec dmi_codec;

typedef enum dmi_coding_filter {
    DMI_CODING_BEST,  /* per plane, whatever a sample says */
    DMI_CODING_BYTES, /* LZ4 over planes of bytes */
    DMI_CODING_BITS   /* LZ4 over planes of bits */
} dmi_coding_filter;

typedef struct dmi_coding {
    size_t plain;    /* bytes in front that are not elements */
    uint8_t element; /* 1, 2, 4, 8; 1: no planes */
    uint8_t filter;  /* for encoding only: what was coded says itself how */
    int acceleration;
} dmi_coding;

/* NULL: no memory. */
dmi_codec *dmi_codec_create(void);
void dmi_codec_destroy(dmi_codec *codec);

/* The most that `count` bytes can become. */
size_t dmi_codec_bound(size_t count);

/* Encode into `to`, which has dmi_codec_bound(count) bytes; how many were used, SIZE_MAX if `*cancelled`
 * became true. `sum` is the checksum of what was encoded. */
size_t dmi_codec_encode(dmi_codec *codec, const dmi_coding *coding, const void *from, size_t count,
                        void *to, uint64_t *sum, const atomic_bool *cancelled);

/* False: these are not `count` bytes encoded with this plain and element. */
bool dmi_codec_decode(dmi_codec *codec, const dmi_coding *coding, const void *from, size_t stored,
                      void *to, size_t count, uint64_t *sum);

#endif
