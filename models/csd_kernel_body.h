/*
 * csd_kernel_body.h - the kernel of csd_kernel.h, written once for registers of any width.
 *
 * Included by csd_kernel_plain.c, _avx2.c and _avx512.c, each compiled for its instruction set. Before
 * that they define
 *   LANES        doubles in a register
 *   BLOCKS       registers of rows in a tile; BLOCKS * LANES sums must fit into the registers
 *   DIRECTIONS   registers of directions summed at once; divides DMI_CSD_SPHERE_PAD / LANES
 * and the functions splat, transpose and bits_below, for which there is no common way to say it.
 *
 * The one trick is the tile: BLOCKS registers of rows times LANES columns of a matrix are held in
 * registers while all products are added to them, so that a product costs a fraction of a load. The
 * loops over a tile have constant bounds and must be unrolled for that (-O3).
 */
#ifndef DM_MODELS_CSD_KERNEL_BODY_H
#define DM_MODELS_CSD_KERNEL_BODY_H

#include "models/csd_kernel.h"

#define INLINE static inline __attribute__((always_inline))

INLINE vec load(const double *from)
{
    return *(const vec *)from;
}

INLINE void store(double *to, vec v)
{
    *(vec *)to = v;
}

/* ---- tiles ----------------------------------------------------------------------------------- */

typedef struct tile {
    vec sum[BLOCKS][LANES]; /* [r][c]: rows of block r in column c */
} tile;

INLINE void tile_load(tile *t, int blocks, size_t stride, const double *from)
{
    for (int c = 0; c < LANES; c++)
        for (int r = 0; r < blocks; r++)
            t->sum[r][c] = load(from + (size_t)c * stride + r * LANES);
}

INLINE void tile_store(const tile *t, int blocks, size_t stride, double *to)
{
    for (int c = 0; c < LANES; c++)
        for (int r = 0; r < blocks; r++)
            store(to + (size_t)c * stride + r * LANES, t->sum[r][c]);
}

/* Products of `rows` (blocks * LANES of them) and `columns` (LANES). */
INLINE void tile_add(tile *t, int blocks, const double *rows, const double *columns)
{
    vec v[BLOCKS];
    for (int r = 0; r < blocks; r++)
        v[r] = load(rows + r * LANES);
    for (int c = 0; c < LANES; c++)
        for (int r = 0; r < blocks; r++)
            t->sum[r][c] += v[r] * splat(columns[c]);
}

INLINE void tile_subtract(tile *t, int blocks, const double *rows, const double *columns)
{
    vec v[BLOCKS];
    for (int r = 0; r < blocks; r++)
        v[r] = load(rows + r * LANES);
    for (int c = 0; c < LANES; c++)
        for (int r = 0; r < blocks; r++)
            t->sum[r][c] -= v[r] * splat(columns[c]);
}

/* How many of the blocks that are left the next tile takes: no tile of one after a full one. */
INLINE int next_tile(size_t left)
{
    if (left == BLOCKS + 1)
        return BLOCKS - 1;
    return left < BLOCKS ? (int)left : BLOCKS;
}

/* A tile's function with its number of blocks as a constant. */
#define WITH_BLOCKS(blocks, call)                                                                  \
    do {                                                                                           \
        static_assert(BLOCKS <= 6, "a case for each");                                             \
        switch (blocks) {                                                                          \
        case 1:                                                                                    \
            call(1);                                                                               \
            break;                                                                                 \
        case 2:                                                                                    \
            call(2);                                                                               \
            break;                                                                                 \
        case 3:                                                                                    \
            call(3);                                                                               \
            break;                                                                                 \
            TILES_ABOVE_3(call)                                                                    \
        default: /* next_tile gives no other */                                                    \
            __builtin_unreachable();                                                               \
        }                                                                                          \
    } while (0)

/* Registers of rows that hold anything: n and the right-hand side below it. */
INLINE size_t row_blocks(size_t n)
{
    return n / LANES + 1;
}

/* ---- Q changed by rows ----------------------------------------------------------------------- */

INLINE void add_rows_to_tile(int blocks, size_t stride, size_t row, size_t column, size_t n_plus,
                             const double *const *plus, size_t n_minus, const double *const *minus,
                             const double *from, double *q)
{
    tile t;
    tile_load(&t, blocks, stride, from + column * stride + row);
    for (size_t k = 0; k < n_plus; k++)
        tile_add(&t, blocks, plus[k] + row, plus[k] + column);
    for (size_t k = 0; k < n_minus; k++)
        tile_subtract(&t, blocks, minus[k] + row, minus[k] + column);
    tile_store(&t, blocks, stride, q + column * stride + row);
}

static void add_rows(size_t n, size_t stride, size_t n_plus, const double *const *plus,
                     size_t n_minus, const double *const *minus, const double *from, double *q)
{
#define ADD(b) add_rows_to_tile(b, stride, row, column, n_plus, plus, n_minus, minus, from, q)
    for (size_t column = 0; column < n; column += LANES) {
        int blocks;
        for (size_t row = column; row / LANES < row_blocks(n); row += (size_t)blocks * LANES) {
            blocks = next_tile(row_blocks(n) - row / LANES);
            WITH_BLOCKS(blocks, ADD);
        }
    }
#undef ADD
}

/* ---- factor ---------------------------------------------------------------------------------- */

/* L of one block of columns at its diagonal, as later tiles of these columns need it. */
typedef struct diagonal {
    double inverse[LANES];
    vec l[LANES]; /* [j]: rows of column j */
} diagonal;

/* Elimination inside the tile that has the diagonal block on top. What stands above the diagonal is
 * carried along and means nothing. False if a pivot among the first n_columns is not positive. */
INLINE bool eliminate_diagonal(tile *t, int blocks, size_t n_columns, diagonal *d)
{
    bool good = true;
    for (int j = 0; j < LANES; j++) {
        const bool real = (size_t)j < n_columns;
        const double pivot = t->sum[0][j][j];
        /* Zero past the end: what is computed there then stays finite and has no effect. */
        const double inverse = real ? 1 / pivot : 0;
        good &= !real || pivot > 0;
        d->inverse[j] = inverse;
        d->l[j] = t->sum[0][j] * splat(inverse);
        for (int c = j + 1; c < LANES; c++) {
            const vec l = splat(t->sum[0][j][c]) * splat(inverse);
            for (int r = 0; r < blocks; r++)
                t->sum[r][c] -= t->sum[r][j] * l;
        }
    }
    return good;
}

/* The same in a tile below, whose columns' diagonal is done. */
INLINE void eliminate(tile *t, int blocks, const diagonal *d)
{
    for (int j = 0; j < LANES; j++)
        for (int c = j + 1; c < LANES; c++)
            for (int r = 0; r < blocks; r++)
                t->sum[r][c] -= t->sum[r][j] * splat(d->l[j][c]);
}

/* Columns `column` on, rows `row` on, less what the columns before take away: those are in u and,
 * as rows of L, in `scratch`. */
INLINE void reduce_tile(tile *t, int blocks, size_t stride, size_t row, size_t column,
                        const double *q, const double *scratch, const double *u)
{
    tile_load(t, blocks, stride, q + column * stride + row);
    for (size_t k = 0; k < column; k++)
        tile_subtract(t, blocks, u + k * stride + row, scratch + k * LANES);
}

INLINE bool factor_top(int blocks, size_t n, size_t stride, size_t column, const double *q,
                       const double *scratch, double *u, diagonal *d)
{
    tile t;
    reduce_tile(&t, blocks, stride, column, column, q, scratch, u);
    const bool good = eliminate_diagonal(&t, blocks, n - column, d);
    tile_store(&t, blocks, stride, u + column * stride + column);
    return good;
}

INLINE void factor_below(int blocks, size_t stride, size_t row, size_t column, const double *q,
                         const double *scratch, double *u, const diagonal *d)
{
    tile t;
    reduce_tile(&t, blocks, stride, row, column, q, scratch, u);
    eliminate(&t, blocks, d);
    tile_store(&t, blocks, stride, u + column * stride + row);
}

/* One block of columns, given those before it. */
static bool factor_columns(size_t n, size_t stride, size_t column, const double *q, double *u,
                           double *inverse, double *scratch)
{
#define TOP(b)   good = factor_top(b, n, stride, column, q, scratch, u, &d)
#define BELOW(b) factor_below(b, stride, row, column, q, scratch, u, &d)
    bool good = false;
    diagonal d;
    for (size_t k = 0; k < column; k++)
        store(scratch + k * LANES, load(u + k * stride + column) * splat(inverse[k]));
    int blocks = next_tile(row_blocks(n) - column / LANES);
    WITH_BLOCKS(blocks, TOP);
    for (size_t row = column + (size_t)blocks * LANES; row / LANES < row_blocks(n);
         row += (size_t)blocks * LANES) {
        blocks = next_tile(row_blocks(n) - row / LANES);
        WITH_BLOCKS(blocks, BELOW);
    }
    for (int j = 0; j < LANES; j++)
        inverse[column + (size_t)j] = d.inverse[j];
    return good;
#undef TOP
#undef BELOW
}

static bool factor(size_t n, size_t stride, const double *q, double *u, double *inverse,
                   double *scratch)
{
    bool good = true;
    for (size_t column = 0; column < n; column += LANES)
        good &= factor_columns(n, stride, column, q, u, inverse, scratch);
    return good;
}

/* ---- solve ----------------------------------------------------------------------------------- */

/* The sums over the lanes of LANES registers, side by side. */
INLINE vec sums_of_lanes(vec v[LANES])
{
    transpose(v);
    vec sum = v[0];
    for (int k = 1; k < LANES; k++)
        sum += v[k];
    return sum;
}

/* f_j for the block of columns from `column` on, given all f below: (y_j - sum u_ij f_i) / D_j. */
INLINE void solve_block(size_t n, size_t stride, size_t column, const double *u,
                        const double *inverse, double *f)
{
    const double *from = u + column * stride;
    vec sum[LANES] = {0}, l[LANES], y;
    for (size_t row = column + LANES; row < n; row += LANES)
        for (int j = 0; j < LANES; j++)
            sum[j] += load(from + (size_t)j * stride + row) * load(f + row);
    for (int j = 0; j < LANES; j++) {
        l[j] = load(from + (size_t)j * stride + column);
        y[j] = from[(size_t)j * stride + n];
    }
    const vec d = load(inverse + column);
    vec v = (y - sums_of_lanes(sum)) * d;
    transpose(l); /* l[i]: u_ij of row i */
    for (int i = LANES - 1; i > 0; i--)
        v -= before(i, l[i] * d) * splat(v[i]);
    store(f + column, v);
}

static void solve(size_t n, size_t stride, const double *u, const double *inverse, double *f)
{
    const size_t end = (n + LANES - 1) / LANES * LANES;
    for (size_t j = end; j < stride; j++)
        f[j] = 0;
    for (size_t column = end; column > 0; column -= LANES)
        solve_block(n, stride, column - LANES, u, inverse, f);
}

/* ---- start: lanes are voxels here ------------------------------------------------------------ */

/* Sums in four parts, because one would wait for itself. */
INLINE vec product(size_t begin, size_t end, const double *row, const double *v)
{
    vec sum[4] = {0};
    size_t k = begin;
    for (; k + 4 <= end; k += 4)
        for (size_t part = 0; part < 4; part++)
            sum[part] += splat(row[k + part]) * load(v + (k + part) * LANES);
    for (; k < end; k++)
        sum[0] += splat(row[k]) * load(v + k * LANES);
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static void start(size_t n_dwi, size_t n, size_t stride, const double *x, const dmi_csd_factor *p,
                  const double *s, double *z, double *f)
{
    for (size_t column = 0; column < stride; column += LANES) {
        tile t = {0};
        for (size_t i = 0; i < n_dwi; i++)
            tile_add(&t, 1, s + i * LANES, x + i * stride + column);
        tile_store(&t, 1, LANES, z + column * LANES);
    }
    for (size_t j = 0; j < n; j++)
        store(f + j * LANES, load(z + j * LANES) - product(0, j, p->rows + j * stride, f));
    for (size_t j = n; j-- > 0;)
        store(f + j * LANES, load(f + j * LANES) * splat(p->inverse[j]) -
                                 product(j + 1, n, p->columns + j * stride, f));
}

/* ---- densities ------------------------------------------------------------------------------- */

static void below(size_t n_columns, const double *b, const double *f, double threshold,
                  dmi_csd_set *set)
{
    *set = (dmi_csd_set){{0}};
    for (size_t first = 0; first < DMI_CSD_SPHERE_PAD; first += DIRECTIONS * LANES) {
        vec density[DIRECTIONS] = {0};
        for (size_t j = 0; j < n_columns; j++)
            for (int k = 0; k < DIRECTIONS; k++)
                density[k] +=
                    load(b + j * DMI_CSD_SPHERE_PAD + first + (size_t)k * LANES) * splat(f[j]);
        for (int k = 0; k < DIRECTIONS; k++) {
            const size_t at = first + (size_t)k * LANES;
            set->words[at / 64] |= (uint64_t)bits_below(density[k], splat(threshold)) << at % 64;
        }
    }
}

#define CSD_KERNEL                                                                                 \
    {                                                                                              \
        LANES, start, add_rows, factor, solve, below                                               \
    }

#endif
