/*
 * filter.c - planes of bytes and of bits, in plain C and with AVX2.
 *
 * The vectors use one step and its inverse: to take the even and the odd bytes of a sequence apart. Done
 * once, twice, three times it splits elements of 2, 4 and 8 bytes.
 */
#include "objectstore/filter.h"

#include <assert.h>
#include <string.h>

/* ---- plain C ---- */

static int always(void)
{
    return 1;
}

/* Elements [at, n). */
static void split_from(size_t at, const uint8_t *from, size_t n, unsigned element, uint8_t *planes)
{
    for (unsigned p = 0; p < element; p++)
        for (size_t i = at; i < n; i++)
            planes[p * n + i] = from[i * element + p];
}

static void join_from(size_t at, const uint8_t *planes, size_t n, unsigned element, uint8_t *to)
{
    for (size_t i = at; i < n; i++)
        for (unsigned p = 0; p < element; p++)
            to[i * element + p] = planes[p * n + i];
}

static void plain_split(const uint8_t *from, size_t n, unsigned element, uint8_t *planes)
{
    split_from(0, from, n, element, planes);
}

static void plain_join(const uint8_t *planes, size_t n, unsigned element, uint8_t *to)
{
    join_from(0, planes, n, element, to);
}

/* The 8 x 8 bits of a word, mirrored at the diagonal: swap 1 x 1, 2 x 2, 4 x 4. */
static uint64_t mirror(uint64_t x)
{
    uint64_t t = (x ^ x >> 7) & UINT64_C(0x00aa00aa00aa00aa);
    x ^= t ^ t << 7;
    t = (x ^ x >> 14) & UINT64_C(0x0000cccc0000cccc);
    x ^= t ^ t << 14;
    t = (x ^ x >> 28) & UINT64_C(0x00000000f0f0f0f0);
    return x ^ t ^ t << 28;
}

/* Groups of eight bytes [at, n / 8), and what is left over. */
static void bits_from(size_t at, const uint8_t *from, size_t n, uint8_t *to)
{
    size_t groups = n / 8;
    for (size_t i = at; i < groups; i++) {
        uint64_t x;
        memcpy(&x, from + 8 * i, 8);
        x = mirror(x);
        for (unsigned k = 0; k < 8; k++)
            to[k * groups + i] = (uint8_t)(x >> 8 * k);
    }
    memcpy(to + 8 * groups, from + 8 * groups, n % 8);
}

static void unbits_from(size_t at, const uint8_t *from, size_t n, uint8_t *to)
{
    size_t groups = n / 8;
    for (size_t i = at; i < groups; i++) {
        uint64_t x = 0;
        for (unsigned k = 0; k < 8; k++)
            x |= (uint64_t)from[k * groups + i] << 8 * k;
        x = mirror(x);
        memcpy(to + 8 * i, &x, 8);
    }
    memcpy(to + 8 * groups, from + 8 * groups, n % 8);
}

static void plain_bits(const uint8_t *from, size_t n, uint8_t *to)
{
    bits_from(0, from, n, to);
}

static void plain_unbits(const uint8_t *from, size_t n, uint8_t *to)
{
    unbits_from(0, from, n, to);
}

static const dmi_filter plain = {"plain",    always,     plain_split,
                                 plain_join, plain_bits, plain_unbits};

/* ---- AVX2 ---- */

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX2   __attribute__((target("avx2")))
#define INLINE static inline __attribute__((always_inline))

enum { WIDE = 32 }; /* bytes of a vector */

/* After log2(element) times of "even ones in the first half, odd ones in the second", this plane is where. */
static const uint8_t place_2[] = {0, 1}, place_4[] = {0, 2, 1, 3},
                     place_8[] = {0, 4, 2, 6, 1, 5, 3, 7};

static int has_avx2(void)
{
    return __builtin_cpu_supports("avx2");
}

AVX2 INLINE void apart(__m256i a, __m256i b, __m256i *even, __m256i *odd)
{
    __m256i low = _mm256_set1_epi16(0xff);
    __m256i e = _mm256_packus_epi16(_mm256_and_si256(a, low), _mm256_and_si256(b, low));
    __m256i o = _mm256_packus_epi16(_mm256_srli_epi16(a, 8), _mm256_srli_epi16(b, 8));
    *even = _mm256_permute4x64_epi64(e, 0xd8);
    *odd = _mm256_permute4x64_epi64(o, 0xd8);
}

AVX2 INLINE void together(__m256i even, __m256i odd, __m256i *a, __m256i *b)
{
    __m256i low = _mm256_unpacklo_epi8(even, odd), high = _mm256_unpackhi_epi8(even, odd);
    *a = _mm256_permute2x128_si256(low, high, 0x20);
    *b = _mm256_permute2x128_si256(low, high, 0x31);
}

/* `count` vectors of a sequence: even bytes to the first half, odd ones to the second. */
AVX2 INLINE void halve(__m256i *v, unsigned count)
{
    __m256i odd[4];
#pragma GCC unroll 4
    for (unsigned i = 0; i < count / 2; i++)
        apart(v[2 * i], v[2 * i + 1], &v[i], &odd[i]);
#pragma GCC unroll 4
    for (unsigned i = 0; i < count / 2; i++)
        v[count / 2 + i] = odd[i];
}

AVX2 INLINE void unite(__m256i *v, unsigned count)
{
    __m256i both[8];
#pragma GCC unroll 4
    for (unsigned i = 0; i < count / 2; i++)
        together(v[i], v[count / 2 + i], &both[2 * i], &both[2 * i + 1]);
#pragma GCC unroll 8
    for (unsigned i = 0; i < count; i++)
        v[i] = both[i];
}

AVX2 INLINE void split_vectors(__m256i *v, unsigned element)
{
#pragma GCC unroll 3
    for (unsigned width = element; width > 1; width /= 2)
#pragma GCC unroll 4
        for (unsigned at = 0; at < element; at += width)
            halve(v + at, width);
}

AVX2 INLINE void join_vectors(__m256i *v, unsigned element)
{
#pragma GCC unroll 3
    for (unsigned width = 2; width <= element; width *= 2)
#pragma GCC unroll 4
        for (unsigned at = 0; at < element; at += width)
            unite(v + at, width);
}

AVX2 INLINE void split_all(const uint8_t *from, size_t n, unsigned element, uint8_t *planes,
                           const uint8_t *place)
{
    size_t at = 0;
    for (; at + WIDE <= n; at += WIDE) {
        __m256i v[DMI_ELEMENT_MOST];
#pragma GCC unroll 8
        for (unsigned i = 0; i < element; i++)
            v[i] = _mm256_loadu_si256((const void *)(from + at * element + i * WIDE));
        split_vectors(v, element);
#pragma GCC unroll 8
        for (unsigned i = 0; i < element; i++)
            _mm256_storeu_si256((void *)(planes + place[i] * n + at), v[i]);
    }
    split_from(at, from, n, element, planes);
}

AVX2 INLINE void join_all(const uint8_t *planes, size_t n, unsigned element, uint8_t *to,
                          const uint8_t *place)
{
    size_t at = 0;
    for (; at + WIDE <= n; at += WIDE) {
        __m256i v[DMI_ELEMENT_MOST];
#pragma GCC unroll 8
        for (unsigned i = 0; i < element; i++)
            v[i] = _mm256_loadu_si256((const void *)(planes + place[i] * n + at));
        join_vectors(v, element);
#pragma GCC unroll 8
        for (unsigned i = 0; i < element; i++)
            _mm256_storeu_si256((void *)(to + at * element + i * WIDE), v[i]);
    }
    join_from(at, planes, n, element, to);
}

AVX2 static void avx2_split(const uint8_t *from, size_t n, unsigned element, uint8_t *planes)
{
    if (element == 2)
        split_all(from, n, 2, planes, place_2);
    else if (element == 4)
        split_all(from, n, 4, planes, place_4);
    else
        split_all(from, n, 8, planes, place_8);
}

AVX2 static void avx2_join(const uint8_t *planes, size_t n, unsigned element, uint8_t *to)
{
    if (element == 2)
        join_all(planes, n, 2, to, place_2);
    else if (element == 4)
        join_all(planes, n, 4, to, place_4);
    else
        join_all(planes, n, 8, to, place_8);
}

/* The top bits of 32 bytes are one instruction; doubling brings up the next ones. */
AVX2 static void avx2_bits(const uint8_t *from, size_t n, uint8_t *to)
{
    size_t groups = n / 8, at = 0;
    for (; at + WIDE <= 8 * groups; at += WIDE) {
        __m256i v = _mm256_loadu_si256((const void *)(from + at));
#pragma GCC unroll 8
        for (unsigned k = 8; k-- > 0; v = _mm256_add_epi8(v, v)) {
            int top = _mm256_movemask_epi8(v);
            memcpy(to + k * groups + at / 8, &top, 4);
        }
    }
    bits_from(at / 8, from, n, to);
}

AVX2 INLINE __m256i mirror_vector(__m256i x)
{
    __m256i mask = _mm256_set1_epi64x(0x00aa00aa00aa00aa);
    __m256i t = _mm256_and_si256(_mm256_xor_si256(x, _mm256_srli_epi64(x, 7)), mask);
    x = _mm256_xor_si256(x, _mm256_xor_si256(t, _mm256_slli_epi64(t, 7)));
    mask = _mm256_set1_epi64x(0x0000cccc0000cccc);
    t = _mm256_and_si256(_mm256_xor_si256(x, _mm256_srli_epi64(x, 14)), mask);
    x = _mm256_xor_si256(x, _mm256_xor_si256(t, _mm256_slli_epi64(t, 14)));
    mask = _mm256_set1_epi64x(0x00000000f0f0f0f0);
    t = _mm256_and_si256(_mm256_xor_si256(x, _mm256_srli_epi64(x, 28)), mask);
    return _mm256_xor_si256(x, _mm256_xor_si256(t, _mm256_slli_epi64(t, 28)));
}

/* The eight planes are joined to words of eight bytes, as if they were planes of 8-byte elements. */
AVX2 static void avx2_unbits(const uint8_t *from, size_t n, uint8_t *to)
{
    size_t groups = n / 8, at = 0;
    for (; at + WIDE <= groups; at += WIDE) {
        __m256i v[8];
#pragma GCC unroll 8
        for (unsigned i = 0; i < 8; i++)
            v[i] = _mm256_loadu_si256((const void *)(from + place_8[i] * groups + at));
        join_vectors(v, 8);
#pragma GCC unroll 8
        for (unsigned i = 0; i < 8; i++)
            _mm256_storeu_si256((void *)(to + 8 * at + i * WIDE), mirror_vector(v[i]));
    }
    unbits_from(at, from, n, to);
}

static const dmi_filter avx2 = {"avx2", has_avx2, avx2_split, avx2_join, avx2_bits, avx2_unbits};
const dmi_filter *const dmi_filters[] = {&plain, &avx2, NULL};

#else
const dmi_filter *const dmi_filters[] = {&plain, NULL};
#endif

const dmi_filter *dmi_filter_best(void)
{
    const dmi_filter *best = dmi_filters[0];
    for (size_t i = 1; dmi_filters[i]; i++)
        if (dmi_filters[i]->runs_here())
            best = dmi_filters[i];
    return best;
}
