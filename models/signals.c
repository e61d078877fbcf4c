/*
 * signals.c - see signals.h. Neither fits nor files: values between the two.
 */
#include "models/signals.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static_assert((int)DM_VOLUME_U8 == (int)DM_U8 && (int)DM_VOLUME_I16 == (int)DM_I16 &&
                  (int)DM_VOLUME_I64 == (int)DM_I64 && (int)DM_VOLUME_F32 == (int)DM_F32 &&
                  (int)DM_VOLUME_TYPE_COUNT == (int)DM_DTYPE_COUNT,
              "an element of a block has the dtype of its number among volume types");

/* A group is a few milliseconds of copying, and a small part of the store for each worker. */
enum { MOST_GROUP_BYTES = 4 << 20, STORE_PER_GROUP = 16 };

/* Blocks being filled cannot be spilled: a quarter of the store for them leaves room to spill in. */
enum { STORE_PER_SLAB = 4 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t element_bytes(const dm_signals *s)
{
    return dmi_volume_type_bytes(s->image.type);
}

static size_t group_voxels(const dm_signals *s, size_t group)
{
    return least(s->layout->group, s->mask->n - group * s->layout->group);
}

static size_t slab_volumes(const dmi_layout *l, size_t slab)
{
    return least(l->slab, l->n_volumes - slab * l->slab);
}

/* ---- making and ending ----------------------------------------------------------------------- */

static dm_status choose_groups(dm_signals *s)
{
    dm_stats session;
    DM_TRY(dm_stats_get(&session));
    const size_t workers = session.workers > 0 ? (size_t)session.workers : 1;
    const size_t share = session.store_bytes / (STORE_PER_GROUP * workers);
    const size_t voxel_bytes = s->image.n_volumes * element_bytes(s);
    const size_t fitting = least(MOST_GROUP_BYTES, share) / voxel_bytes;
    s->layout->group = fitting < 1 ? 1 : least(fitting, s->mask->n);
    s->n_groups = (s->mask->n + s->layout->group - 1) / s->layout->group;
    return DM_OK;
}

/* `by_place`: the order of the volumes in the blocks; NULL: as selected. */
static dm_status fill_layout(dm_signals *s, size_t slab, const size_t *by_place)
{
    dmi_layout *l = s->layout;
    l->n_volumes = s->image.n_volumes;
    l->slab = slab;
    l->n_slabs = (l->n_volumes + slab - 1) / slab;
    l->type = s->image.type;
    l->slope = s->image.slope;
    l->inter = s->image.inter;
    for (size_t t = 0; t < l->n_volumes; t++)
        l->column[t] = by_place ? by_place[t] : t;
    s->refs = calloc(s->n_groups * l->n_slabs, sizeof *s->refs);
    s->open = calloc(s->n_groups, sizeof *s->open);
    if (!s->refs || !s->open)
        return dmi_error(DM_ERR_NOMEM, "no memory for the blocks of %zu groups", s->n_groups);
    s->layout_ref = dm_put(&DM_BYTES(l, sizeof *l + l->n_volumes * sizeof l->column[0]));
    return dm_get(s->layout_ref, (void *)0);
}

static dm_status signals_create(const dm_volume *image, const dm_mask *mask, dm_signals **signals)
{
    dm_signals *s = calloc(1, sizeof *s);
    dmi_layout *layout = calloc(1, sizeof *layout + image->n_volumes * sizeof layout->column[0]);
    if (!s || !layout) {
        free(s);
        free(layout);
        return dmi_error(DM_ERR_NOMEM, "no memory for the layout of %zu volumes", image->n_volumes);
    }
    *s = (dm_signals){.image = *image, .mask = mask, .layout = layout};
    s->image.data = NULL;
    dm_status status = choose_groups(s);
    if (status != DM_OK) {
        dm_signals_destroy(s);
        return status;
    }
    *signals = s;
    return DM_OK;
}

dm_status dmi_signals_of_volume(const dm_volume *volume, const dm_mask *mask, dm_signals **signals)
{
    dm_signals *s;
    DM_TRY(signals_create(volume, mask, &s));
    s->volume = volume;
    dm_status status = fill_layout(s, volume->n_volumes, NULL);
    if (status != DM_OK)
        dm_signals_destroy(s);
    else
        *signals = s;
    return status;
}

static void release_group(dm_signals *s, size_t group)
{
    dm_ref *refs = s->refs + group * s->layout->n_slabs;
    for (size_t k = 0; k < s->layout->n_slabs; k++) {
        if (refs[k].id != DM_NO_REF.id)
            (void)dm_release(refs[k]);
        refs[k] = DM_NO_REF;
    }
}

void dmi_signals_let_go(dm_signals *signals, size_t before)
{
    const size_t groups =
        before >= signals->mask->n ? signals->n_groups : before / signals->layout->group;
    for (; signals->let_go < groups; signals->let_go++)
        release_group(signals, signals->let_go);
}

void dm_signals_destroy(dm_signals *signals)
{
    if (!signals)
        return;
    for (size_t g = 0; signals->open && g < signals->n_groups; g++)
        dm_abandon(&signals->open[g]);
    if (signals->refs)
        dmi_signals_let_go(signals, signals->mask->n);
    if (signals->layout_ref.id != DM_NO_REF.id)
        (void)dm_release(signals->layout_ref);
    free(signals->refs);
    free(signals->piece);
    free(signals->open);
    free(signals->layout);
    free(signals);
}

/* ---- copying voxels -------------------------------------------------------------------------- */

/* Those of n voxels that lie below `upto`, of values that begin at voxel `first`; returns how many.
 * Values in a file may lie at any byte. */
#define DEFINE_COPY(bytes)                                                                         \
    static size_t copy_##bytes(size_t n, const size_t *voxels, size_t first, size_t upto,          \
                               const unsigned char *from, unsigned char *to)                       \
    {                                                                                              \
        size_t i = 0;                                                                              \
        for (; i < n && voxels[i] < upto; i++)                                                     \
            memcpy(to + i * (bytes), from + (voxels[i] - first) * (bytes), (bytes));               \
        return i;                                                                                  \
    }
DEFINE_COPY(1)
DEFINE_COPY(2)
DEFINE_COPY(4)
DEFINE_COPY(8)

static size_t copy_voxels(const dm_signals *s, size_t n, const size_t *voxels, size_t first,
                          size_t upto, const unsigned char *from, unsigned char *to)
{
    static size_t (*const copies[])(size_t, const size_t *, size_t, size_t, const unsigned char *,
                                    unsigned char *) = {
        [1] = copy_1, [2] = copy_2, [4] = copy_4, [8] = copy_8};
    const size_t copied = copies[element_bytes(s)](n, voxels, first, upto, from, to);
    if (s->swapped)
        dmi_nifti_swap(s->image.type, copied, to);
    return copied;
}

static dm_status open_block(const dm_signals *s, size_t group, size_t slab, dm_buffer *block)
{
    const size_t shape[2] = {slab_volumes(s->layout, slab), group_voxels(s, group)};
    return dm_create((dm_dtype)s->image.type, 2, shape, block);
}

/* ---- groups as they are needed --------------------------------------------------------------- */

/* What is read of the file at a time, and how much that nobody wants is read along rather than
 * skipped by another call. */
enum { PIECE_BYTES = 1 << 20, GAP_BYTES = 1 << 15 };

/* How many of the n voxels are read by one call: those close to each other. */
static size_t run_length(size_t n, const size_t *voxels, size_t element)
{
    size_t i = 1;
    while (i < n && (voxels[i] - voxels[i - 1]) * element <= GAP_BYTES &&
           (voxels[i] - voxels[0] + 1) * element <= PIECE_BYTES)
        i++;
    return i;
}

static dm_status read_voxels(const dm_signals *s, size_t t, size_t n, const size_t *voxels,
                             unsigned char *to)
{
    const size_t element = element_bytes(s);
    while (n > 0) {
        const size_t some = run_length(n, voxels, element), end = voxels[some - 1] + 1;
        DM_TRY(dmi_image_file_at(s->file, t, voxels[0], end - voxels[0], s->piece));
        copy_voxels(s, some, voxels, voxels[0], end, s->piece, to);
        voxels += some;
        to += some * element;
        n -= some;
    }
    return DM_OK;
}

static dm_status take_voxels(const dm_signals *s, size_t t, size_t n, const size_t *voxels,
                             unsigned char *to)
{
    if (s->file)
        return read_voxels(s, t, n, voxels, to);
    const size_t before = t * s->image.n_voxels * element_bytes(s);
    copy_voxels(s, n, voxels, 0, s->image.n_voxels, (const unsigned char *)s->volume->data + before,
                to);
    return DM_OK;
}

static void expect_group(const dm_signals *s, size_t group)
{
    if (!s->file || group >= s->n_groups)
        return;
    const size_t *voxels = s->mask->voxels + group * s->layout->group;
    dmi_image_file_expect(s->file, voxels[0], voxels[group_voxels(s, group) - 1]);
}

static dm_status make_group(dm_signals *s, size_t group)
{
    const size_t n = group_voxels(s, group);
    const size_t *voxels = s->mask->voxels + group * s->layout->group;
    dm_buffer block;
    DM_TRY(open_block(s, group, 0, &block));
    expect_group(s, group + 1);
    for (size_t t = 0; t < s->image.n_volumes; t++) {
        dm_status status =
            take_voxels(s, t, n, voxels, (unsigned char *)block.data + t * n * element_bytes(s));
        if (status != DM_OK) {
            dm_abandon(&block);
            return status;
        }
    }
    s->refs[group] = dm_seal(&block);
    return DM_OK;
}

static size_t first_group(const dm_signals *s, size_t first)
{
    return first / s->layout->group;
}

static size_t last_group(const dm_signals *s, size_t first, size_t n)
{
    return (first + n - 1) / s->layout->group;
}

size_t dmi_signals_block_count(const dm_signals *signals, size_t first, size_t n)
{
    return (last_group(signals, first, n) - first_group(signals, first) + 1) *
           signals->layout->n_slabs;
}

dm_status dmi_signals_blocks(dm_signals *signals, size_t first, size_t n, dm_ref *refs)
{
    const size_t n_slabs = signals->layout->n_slabs;
    for (size_t g = first_group(signals, first); g <= last_group(signals, first, n); g++) {
        if (signals->refs[g * n_slabs].id == DM_NO_REF.id) {
            if (!signals->file && !signals->volume)
                return dmi_error(DM_ERR_INVALID,
                                 "these signals have been used up; read them again");
            DM_TRY(make_group(signals, g));
        }
        for (size_t k = 0; k < n_slabs; k++)
            *refs++ = signals->refs[g * n_slabs + k];
    }
    return DM_OK;
}

/* ---- all groups in one pass ------------------------------------------------------------------ */

typedef struct filling {
    size_t n;
    dm_signals **sets;
    const dm_fit_options *options;
    size_t n_voxels, n_volumes;
} filling;

/* What a volume brings to the group at hand, of voxels up to `upto`. */
static dm_status fill_group(dm_signals *s, size_t place, size_t first, size_t upto,
                            const unsigned char *values)
{
    const size_t group = s->at / s->layout->group, begin = group * s->layout->group;
    const size_t n = group_voxels(s, group), done = s->at - begin;
    const size_t slab = place / s->layout->slab, row = place % s->layout->slab;
    dm_buffer *block = &s->open[group];
    if (!block->data)
        DM_TRY(open_block(s, group, slab, block));
    s->at += copy_voxels(s, n - done, s->mask->voxels + s->at, first, upto, values,
                         (unsigned char *)block->data + (row * n + done) * element_bytes(s));
    if (s->at == begin + n && row == slab_volumes(s->layout, slab) - 1) {
        s->refs[group * s->layout->n_slabs + slab] = dm_seal(block);
        *block = (dm_buffer){0};
    }
    return DM_OK;
}

static dm_status fill(void *context, size_t place, size_t first, size_t n,
                      const unsigned char *values)
{
    const filling *f = context;
    const dm_fit_options *o = f->options;
    if (o && o->stop && o->stop(o->context))
        return dmi_error(DM_ERR_CANCELLED, "stopped while the image was read");
    for (size_t k = 0; k < f->n; k++) {
        dm_signals *s = f->sets[k];
        while (s->at < s->mask->n && s->mask->voxels[s->at] < first + n)
            DM_TRY(fill_group(s, place, first, first + n, values));
        if (first + n == f->n_voxels)
            s->at = 0;
    }
    if (first + n == f->n_voxels && o && o->progress)
        o->progress(o->context, place + 1, f->n_volumes);
    return DM_OK;
}

/* As many volumes as may be open at a time, in slabs that are as even as can be. */
static dm_status choose_slab(size_t n, dm_signals *const *sets, size_t *slab)
{
    dm_stats session;
    DM_TRY(dm_stats_get(&session));
    size_t bytes = 0;
    for (size_t k = 0; k < n; k++)
        bytes += sets[k]->mask->n * element_bytes(sets[k]);
    const size_t n_volumes = sets[0]->image.n_volumes;
    size_t fitting = session.store_bytes / STORE_PER_SLAB / bytes;
    fitting = fitting < 1 ? 1 : least(fitting, n_volumes);
    const size_t n_slabs = (n_volumes + fitting - 1) / fitting;
    *slab = (n_volumes + n_slabs - 1) / n_slabs;
    return DM_OK;
}

static dm_status fill_all(const dm_image_file *file, size_t n, dm_signals **sets,
                          const dm_fit_options *options)
{
    size_t slab;
    DM_TRY(choose_slab(n, sets, &slab));
    for (size_t k = 0; k < n; k++)
        DM_TRY(fill_layout(sets[k], slab, file->by_place));
    const dm_volume *image = dm_image_file_header(file);
    filling f = {n, sets, options, image->n_voxels, image->n_volumes};
    return dmi_image_file_pass(file, fill, &f);
}

/* ---- the door -------------------------------------------------------------------------------- */

static dm_status create_set(const dm_image_file *file, const dm_mask *mask, dm_signals **set)
{
    const dm_volume *image = dm_image_file_header(file);
    if (!mask || mask->n == 0 || mask->voxels[mask->n - 1] >= image->n_voxels)
        return dmi_error(DM_ERR_INVALID, "%s: the mask has no voxel, or is not of this image",
                         file->path);
    DM_TRY(signals_create(image, mask, set));
    (*set)->swapped = file->header.swapped;
    if (!dmi_image_file_is_plain(file))
        return DM_OK;
    (*set)->file = file;
    (*set)->piece = malloc(PIECE_BYTES);
    if (!(*set)->piece)
        return dmi_error(DM_ERR_NOMEM, "%s: no memory to read it", file->path);
    return fill_layout(*set, image->n_volumes, NULL);
}

dm_status dm_signals_read(const dm_image_file *file, size_t n, const dm_mask *const *masks,
                          const dm_fit_options *options, dm_signals **signals)
{
    if (!file || !masks || !signals || n == 0)
        return dmi_error(DM_ERR_INVALID, "signals: a NULL argument; give a file and its masks");
    dm_signals **sets = calloc(n, sizeof *sets);
    dm_status status = sets ? DM_OK : dmi_error(DM_ERR_NOMEM, "no memory for %zu sets", n);
    for (size_t k = 0; k < n && status == DM_OK; k++)
        status = create_set(file, masks[k], &sets[k]);
    if (status == DM_OK && !dmi_image_file_is_plain(file))
        status = fill_all(file, n, sets, options);
    for (size_t k = 0; k < n && sets; k++) {
        if (status == DM_OK)
            signals[k] = sets[k];
        else
            dm_signals_destroy(sets[k]);
    }
    free(sets);
    return status;
}

/* ---- where blocks are read ------------------------------------------------------------------- */

enum { AT_ONCE = 64 };

/* The part of the voxels that lies in one group, from its voxel `at` on. */
static void gather_group(const dmi_chunk *c, size_t group, size_t at, size_t n, double *values)
{
    const dmi_layout *l = c->layout;
    size_t voxels[AT_ONCE];
    for (size_t i = 0; i < n; i++)
        voxels[i] = at + i;
    for (size_t k = 0; k < l->n_slabs; k++) {
        const dm_view *block = &c->blocks[group * l->n_slabs + k];
        const dm_volume part = {.n_voxels = block->shape[1],
                                .n_volumes = block->shape[0],
                                .type = (dm_volume_type)l->type,
                                .slope = l->slope,
                                .inter = l->inter,
                                .data = (void *)(uintptr_t)block->data};
        dmi_volume_gather_columns(&part, n, voxels, l->n_volumes, l->column + k * l->slab, values);
    }
}

void dmi_chunk_gather(const dmi_chunk *chunk, size_t from, size_t n, double *values)
{
    const size_t size = chunk->layout->group;
    for (size_t at = chunk->first + from, end = at + n; at < end;) {
        const size_t left = least(end - at, size - at % size), some = least(left, AT_ONCE);
        gather_group(chunk, at / size, at % size, some, values);
        values += some * chunk->layout->n_volumes;
        at += some;
    }
}

static dm_status check_layout(dm_call *call, const dm_view *bytes, const dmi_layout **layout)
{
    const dmi_layout *l = bytes->data;
    if (bytes->bytes < sizeof *l || l->group == 0 || l->slab == 0 || l->n_volumes > INT32_MAX ||
        bytes->bytes != sizeof *l + l->n_volumes * sizeof l->column[0] ||
        l->n_slabs != (l->n_volumes + l->slab - 1) / l->slab || l->type >= DM_VOLUME_TYPE_COUNT)
        return dm_fail(call, "the layout of a chunk's signals is not one");
    for (size_t t = 0; t < l->n_volumes; t++)
        if (l->column[t] >= l->n_volumes)
            return dm_fail(call, "volume %zu of a chunk's signals has no place", t);
    *layout = l;
    return DM_OK;
}

/* Each block has its slab's volumes, and the voxels of the chunk that lie in its group. */
static dm_status check_blocks(dm_call *call, const dmi_chunk *c)
{
    const dmi_layout *l = c->layout;
    const size_t end = c->first + c->n, n_groups = (end + l->group - 1) / l->group;
    if (c->n == 0 || c->first >= l->group || c->n_blocks != n_groups * l->n_slabs)
        return dm_fail(call, "%zu blocks were given for %zu voxels from %zu on", c->n_blocks, c->n,
                       c->first);
    for (size_t b = 0; b < c->n_blocks; b++) {
        const dm_view *block = &c->blocks[b];
        const size_t group = b / l->n_slabs, needed = least(l->group, end - group * l->group);
        if ((uint64_t)block->dtype != l->type || block->ndim != 2 || block->shape[1] < needed ||
            block->shape[0] != slab_volumes(l, b % l->n_slabs))
            return dm_fail(call, "block %zu of a chunk's signals is not of its layout", b);
    }
    return DM_OK;
}

static dm_status take_blocks(dm_call *call, int index, dmi_chunk *chunk)
{
    chunk->blocks = calloc(chunk->n_blocks, sizeof *chunk->blocks);
    if (!chunk->blocks)
        return dmi_error(DM_ERR_NOMEM, "no memory for %zu blocks", chunk->n_blocks);
    for (size_t b = 0; b < chunk->n_blocks; b++)
        DM_TRY(dm_arg(call, index + (int)b, &chunk->blocks[b]));
    return check_blocks(call, chunk);
}

dm_status dmi_chunk_of_call(dm_call *call, int index, dmi_chunk *chunk)
{
    enum { LAYOUT, FIRST, COUNT, BLOCKS };
    dm_view layout;
    *chunk = (dmi_chunk){0};
    DM_TRY(dm_arg(call, index + LAYOUT, &layout));
    DM_TRY(check_layout(call, &layout, &chunk->layout));
    DM_TRY(dm_arg(call, index + FIRST, &chunk->first));
    DM_TRY(dm_arg(call, index + COUNT, &chunk->n));
    const int n_blocks = dm_arg_count(call) - index - BLOCKS;
    if (n_blocks < 1)
        return dm_fail(call, "a chunk without blocks");
    chunk->n_blocks = (size_t)n_blocks;
    dm_status status = take_blocks(call, index + BLOCKS, chunk);
    if (status != DM_OK)
        dmi_chunk_fini(chunk);
    return status;
}

dm_status dmi_chunk_of_group(dm_signals *signals, size_t group, dmi_chunk *chunk)
{
    const size_t n_slabs = signals->layout->n_slabs, first = group * signals->layout->group;
    *chunk = (dmi_chunk){.layout = signals->layout, .n = group_voxels(signals, group)};
    dm_ref *refs = calloc(n_slabs, sizeof *refs);
    chunk->blocks = calloc(n_slabs, sizeof *chunk->blocks);
    dm_status status = refs && chunk->blocks
                           ? dmi_signals_blocks(signals, first, chunk->n, refs)
                           : dmi_error(DM_ERR_NOMEM, "no memory for %zu blocks", n_slabs);
    for (; chunk->n_blocks < n_slabs && status == DM_OK; chunk->n_blocks += status == DM_OK)
        status = dm_get(refs[chunk->n_blocks], &chunk->blocks[chunk->n_blocks]);
    free(refs);
    if (status != DM_OK)
        dmi_chunk_fini(chunk);
    return status;
}

void dmi_chunk_fini(dmi_chunk *chunk)
{
    for (size_t b = 0; b < chunk->n_blocks; b++)
        dm_view_release(&chunk->blocks[b]);
    free(chunk->blocks);
    *chunk = (dmi_chunk){0};
}
