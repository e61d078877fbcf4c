/*
 * codec.c - blocks, planes, LZ4. docs/formats.md has the format.
 *
 * A block is a word and what it announces: constant (one element follows), raw, or planes: a word for each
 * and what that announces: constant (a byte), raw, LZ4, LZ4 over bits. A word is manner : 4, bytes : 28.
 */
#include "objectstore/codec.h"

#include <assert.h>
#include <lz4.h>
#include <stdlib.h>
#include <string.h>

#include "objectstore/filter.h"
#include "objectstore/sum.h"

typedef enum manner { RAW, CONSTANT, LZ4, LZ4_BITS, PLANES } manner;

enum {
    WORD = 4,
    PLANE_MOST = 64 << 10,           /* up to this size LZ4 uses a smaller, quicker table */
    SMALLEST_BLOCK = 2 * PLANE_MOST, /* two planes */
    SAMPLE = 2 << 10,                /* bytes of each plane that are tried */
    SAMPLE_EVERY = 4,                /* blocks; between, what paid last is done again */
    PLANE_SAVES = 8,  /* LZ4 must save this part of a plane, and all planes this part of a block, */
    BLOCK_SAVES = 16, /* or it is not worth its time, now and when the block is read */
    AT_HAND = 64      /* room behind the planes, so that vectors may read on */
};

struct dmi_codec {
    const dmi_filter *filter;
    LZ4_stream_t *lz4;
    uint8_t *planes, *bits, *tried;
};

/* What an encoding is at. */
typedef struct work {
    dmi_codec *codec;
    const dmi_coding *coding;
    unsigned element; /* of this block */
    unsigned blocks;  /* done with this element */
    manner pays[DMI_ELEMENT_MOST];
    uint8_t *to;
} work;

/* ---- blocks ---- */

/* A part is its plain bytes, its elements, and the bytes behind the last whole element. */
static size_t next_block(const dmi_coding *coding, size_t at, size_t count, unsigned *element)
{
    size_t plain = coding->plain < count ? coding->plain : count;
    size_t end = plain;
    *element = 1;
    if (at >= plain) {
        size_t elements_end = count - (count - plain) % coding->element;
        *element = at < elements_end ? coding->element : 1;
        end = at < elements_end ? elements_end : count;
    }
    size_t most = DMI_CODEC_BLOCK;
    if (*element > 1 && *element * (size_t)PLANE_MOST < most)
        most = *element * (size_t)PLANE_MOST;
    return end - at < most ? end - at : most;
}

size_t dmi_codec_bound(size_t count)
{
    return count + (count / SMALLEST_BLOCK + 4) * WORD * (1 + DMI_ELEMENT_MOST);
}

static void put_word(uint8_t *to, manner how, size_t bytes)
{
    uint32_t word = (uint32_t)how << 28 | (uint32_t)bytes;
    memcpy(to, &word, WORD);
}

static bool is_constant(const uint8_t *bytes, size_t n, unsigned element)
{
    return memcmp(bytes, bytes + element, n - element) == 0;
}

/* ---- encoding ---- */

/* Bytes used, 0 if it does not pay. */
static size_t squeeze(const dmi_codec *codec, int acceleration, const uint8_t *from, size_t n,
                      uint8_t *to)
{
    int most = (int)(n - n / PLANE_SAVES);
    return (size_t)LZ4_compress_fast_extState(codec->lz4, (const char *)from, (char *)to, (int)n,
                                              most, acceleration);
}

/* What pays for a plane, by a sample of it, and how many bytes it comes to. */
static manner try_plane(const work *w, const uint8_t *sample, size_t n, size_t *comes_to)
{
    dmi_codec *codec = w->codec;
    bool may_be_bytes = w->element == 1 || w->coding->filter != DMI_CODING_BITS;
    bool may_be_bits = w->element > 1 && w->coding->filter != DMI_CODING_BYTES;
    size_t bytes = 0, bits = 0;
    if (may_be_bytes)
        bytes = squeeze(codec, w->coding->acceleration, sample, n, codec->tried);
    if (may_be_bits) {
        codec->filter->bits(sample, n, codec->bits);
        bits = squeeze(codec, w->coding->acceleration, codec->bits, n, codec->tried);
    }
    bool better = bits && (!bytes || bits < bytes);
    *comes_to = better ? bits : bytes ? bytes : n;
    return better ? LZ4_BITS : bytes ? LZ4 : RAW;
}

static void nothing_pays(work *w)
{
    for (unsigned p = 0; p < w->element; p++)
        w->pays[p] = RAW;
}

/* What pays, by a sample from the middle. */
static void try_block(work *w, const uint8_t *from, size_t n)
{
    size_t elements = n / w->element, sample = elements < SAMPLE ? elements : SAMPLE, total = 0;
    const uint8_t *middle = from + (elements - sample) / 2 * w->element;
    if (w->element > 1) {
        w->codec->filter->split(middle, sample, w->element, w->codec->planes);
        middle = w->codec->planes;
    }
    for (unsigned p = 0; p < w->element; p++) {
        size_t comes_to;
        w->pays[p] = try_plane(w, middle + p * sample, sample, &comes_to);
        total += comes_to;
    }
    if (total > w->element * sample - w->element * sample / BLOCK_SAVES)
        nothing_pays(w);
}

static bool anything_pays(work *w, const uint8_t *from, size_t n)
{
    if (w->blocks++ % SAMPLE_EVERY == 0)
        try_block(w, from, n);
    for (unsigned p = 0; p < w->element; p++)
        if (w->pays[p] != RAW)
            return true;
    return false;
}

/* A word and n bytes or fewer. */
static void put_raw(work *w, const uint8_t *from, size_t n)
{
    put_word(w->to, RAW, n);
    memcpy(w->to + WORD, from, n);
    w->to += WORD + n;
}

static void put_constant(work *w, const uint8_t *from, unsigned element)
{
    put_word(w->to, CONSTANT, element);
    memcpy(w->to + WORD, from, element);
    w->to += WORD + element;
}

static void put_plane(work *w, manner how, const uint8_t *plane, size_t n)
{
    size_t bytes = 0;
    if (is_constant(plane, n, 1)) {
        put_constant(w, plane, 1);
        return;
    }
    if (how == LZ4_BITS) {
        w->codec->filter->bits(plane, n, w->codec->bits);
        bytes = squeeze(w->codec, w->coding->acceleration, w->codec->bits, n, w->to + WORD);
    } else if (how == LZ4) {
        bytes = squeeze(w->codec, w->coding->acceleration, plane, n, w->to + WORD);
    }
    if (bytes == 0) {
        put_raw(w, plane, n);
        return;
    }
    put_word(w->to, how, bytes);
    w->to += WORD + bytes;
}

/* The sample may have misled: then all over again. */
static void put_planes(work *w, const uint8_t *from, size_t n)
{
    size_t elements = n / w->element;
    uint8_t *begin = w->to;
    put_word(w->to, PLANES, elements);
    w->to += WORD;
    w->codec->filter->split(from, elements, w->element, w->codec->planes);
    for (unsigned p = 0; p < w->element; p++)
        put_plane(w, w->pays[p], w->codec->planes + p * elements, elements);
    if ((size_t)(w->to - begin) <= n - n / BLOCK_SAVES)
        return;
    w->to = begin;
    put_raw(w, from, n);
    nothing_pays(w);
}

static void put_block(work *w, const uint8_t *from, size_t n)
{
    if (is_constant(from, n, w->element))
        put_constant(w, from, w->element);
    else if (!anything_pays(w, from, n))
        put_raw(w, from, n);
    else if (w->element == 1)
        put_plane(w, w->pays[0], from, n);
    else
        put_planes(w, from, n);
}

size_t dmi_codec_encode(dmi_codec *codec, const dmi_coding *coding, const void *from, size_t count,
                        void *to, uint64_t *sum, const atomic_bool *cancelled)
{
    work w = {.codec = codec, .coding = coding, .to = to};
    const uint8_t *bytes = from;
    *sum = 0;
    for (size_t at = 0; at < count;) {
        unsigned element;
        size_t n = next_block(coding, at, count, &element);
        if (cancelled && atomic_load_explicit(cancelled, memory_order_relaxed))
            return SIZE_MAX;
        if (element != w.element)
            w.blocks = 0;
        w.element = element;
        *sum = dmi_sum(bytes + at, n, *sum);
        put_block(&w, bytes + at, n);
        at += n;
    }
    return (size_t)(w.to - (uint8_t *)to);
}

/* ---- decoding ---- */

typedef struct source {
    const uint8_t *at, *end;
} source;

/* The next word and the bytes that it announces, but for PLANES. False if they are not there. */
static bool take_word(source *s, manner *how, size_t *bytes)
{
    uint32_t word;
    if ((size_t)(s->end - s->at) < WORD)
        return false;
    memcpy(&word, s->at, WORD);
    s->at += WORD;
    *how = word >> 28;
    *bytes = word & 0x0fffffff;
    return *how == PLANES || *bytes <= (size_t)(s->end - s->at);
}

static void repeat(uint8_t *to, size_t n, const uint8_t *element, unsigned bytes)
{
    if (bytes == 1) {
        memset(to, *element, n);
        return;
    }
    memcpy(to, element, bytes);
    for (size_t have = bytes; have < n; have *= 2)
        memcpy(to + have, to, have < n - have ? have : n - have);
}

static bool expand(const uint8_t *from, size_t bytes, uint8_t *to, size_t n)
{
    return LZ4_decompress_safe((const char *)from, (char *)to, (int)bytes, (int)n) == (int)n;
}

/* `element` is that of what is constant. */
static bool fill(const dmi_codec *codec, manner how, const uint8_t *from, size_t bytes,
                 unsigned element, uint8_t *to, size_t n)
{
    if (how == RAW && bytes == n)
        memcpy(to, from, n);
    else if (how == CONSTANT && bytes == element)
        repeat(to, n, from, element);
    else if (how == LZ4)
        return expand(from, bytes, to, n);
    else if (how == LZ4_BITS && expand(from, bytes, codec->bits, n))
        codec->filter->unbits(codec->bits, n, to);
    else
        return false;
    return true;
}

static bool take_planes(dmi_codec *codec, source *s, unsigned element, uint8_t *to, size_t n)
{
    size_t elements = n / element;
    for (unsigned p = 0; p < element; p++) {
        manner how;
        size_t bytes;
        if (!take_word(s, &how, &bytes) || how == PLANES ||
            !fill(codec, how, s->at, bytes, 1, codec->planes + p * elements, elements))
            return false;
        s->at += bytes;
    }
    codec->filter->join(codec->planes, elements, element, to);
    return true;
}

static bool take_block(dmi_codec *codec, source *s, unsigned element, uint8_t *to, size_t n)
{
    manner how;
    size_t bytes;
    if (!take_word(s, &how, &bytes))
        return false;
    if (how == PLANES)
        return element > 1 && bytes == n / element && take_planes(codec, s, element, to, n);
    if (how != RAW && how != CONSTANT && element > 1)
        return false;
    if (!fill(codec, how, s->at, bytes, element, to, n))
        return false;
    s->at += bytes;
    return true;
}

bool dmi_codec_decode(dmi_codec *codec, const dmi_coding *coding, const void *from, size_t stored,
                      void *to, size_t count, uint64_t *sum)
{
    source s = {from, (const uint8_t *)from + stored};
    uint8_t *bytes = to;
    *sum = 0;
    for (size_t at = 0; at < count;) {
        unsigned element;
        size_t n = next_block(coding, at, count, &element);
        if (!take_block(codec, &s, element, bytes + at, n))
            return false;
        *sum = dmi_sum(bytes + at, n, *sum);
        at += n;
    }
    return s.at == s.end;
}

/* ---- begin and end ---- */

dmi_codec *dmi_codec_create(void)
{
    size_t room = DMI_CODEC_BLOCK + AT_HAND;
    dmi_codec *codec = calloc(1, sizeof *codec);
    if (codec == NULL)
        return NULL;
    codec->filter = dmi_filter_best();
    codec->lz4 = malloc(sizeof *codec->lz4);
    codec->planes = malloc(room);
    codec->bits = malloc(room);
    codec->tried = malloc(SAMPLE + AT_HAND);
    if (codec->lz4 && codec->planes && codec->bits && codec->tried)
        return codec;
    dmi_codec_destroy(codec);
    return NULL;
}

void dmi_codec_destroy(dmi_codec *codec)
{
    if (codec == NULL)
        return;
    free(codec->lz4);
    free(codec->planes);
    free(codec->bits);
    free(codec->tried);
    free(codec);
}
