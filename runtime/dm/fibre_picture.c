/*
 * fibre_picture.c - see fibre_picture.h. Chooses the slice and lays the picture out; glyphs.c draws
 * the fODFs.
 *
 * Voxels are drawn along the axes of the file, the first to the right, the second up, and fODFs
 * along the axes of the gradients: the same axes, as far as the files go.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "dm/dm.h"
#include "runtime/dm/fibre_picture.h"
#include "runtime/dm/glyphs.h"
#include "runtime/dm/picture.h"

/* Pixels. A voxel is as large as lets the picture be about as wide as a screen. */
enum { MARGIN = 24, TITLE = 40, LEGEND = 44, PANEL = 640, LARGEST_VOXEL = 64, LEAST_VOXEL = 12 };

static const colour paper = {18, 18, 20}, ink = {225, 225, 225};

typedef struct slice {
    const dm_csd_maps *maps;
    size_t n, *voxels; /* those of the mask */
    size_t k;
    int columns, rows; /* voxels */
    int voxel;         /* pixels */
    double *gfa;       /* n */
    double low, high;  /* of the GFA that is shown as black and as white */
    double *sh;        /* n x coefficients */
} slice;

/* ---- which slice ---- */

static dm_status sum_gfa(const dm_csd_maps *maps, const dm_mask *mask, double *sums)
{
    size_t plane = maps->gfa->grid.shape[0] * maps->gfa->grid.shape[1];
    double *gfa = calloc(mask->n + 1, sizeof *gfa);
    if (!gfa)
        return dmi_error(DM_ERR_NOMEM, "no memory to look for a slice");
    dm_volume_gather(maps->gfa, mask->n, mask->voxels, gfa);
    for (size_t i = 0; i < mask->n; i++) {
        if (isfinite(gfa[i]))
            sums[mask->voxels[i] / plane] += gfa[i];
    }
    free(gfa);
    return DM_OK;
}

/* `*k` comes in as 0. */
static dm_status choose_slice(const dm_csd_maps *maps, const dm_mask *mask, size_t *k)
{
    size_t slices = maps->gfa->grid.shape[2];
    double *sums = calloc(slices, sizeof *sums);
    if (!sums)
        return dmi_error(DM_ERR_NOMEM, "no memory to look for a slice");
    dm_status status = sum_gfa(maps, mask, sums);
    for (size_t i = 1; i < slices; i++) {
        if (sums[i] > sums[*k])
            *k = i;
    }
    free(sums);
    return status;
}

/* ---- what is in it ---- */

static int voxel_pixels(int columns, int rows)
{
    int pixels = PANEL / (columns > rows ? columns : rows);
    return pixels > LARGEST_VOXEL ? LARGEST_VOXEL : pixels < LEAST_VOXEL ? LEAST_VOXEL : pixels;
}

/* The GFA of CSD is high everywhere (0.6 to 1 in grey and white matter): show what is there. */
static void choose_window(slice *s)
{
    s->low = 1, s->high = 0;
    for (size_t i = 0; i < s->n; i++) {
        s->low = fmin(s->low, s->gfa[i]); /* fmin and fmax pass NaN over */
        s->high = fmax(s->high, s->gfa[i]);
    }
    s->low = floor(s->low * 20) / 20;
    s->high = fmax(ceil(s->high * 20) / 20, s->low + 0.05);
}

static void slice_fini(slice *s)
{
    free(s->voxels);
    free(s->gfa);
    free(s->sh);
}

static dm_status slice_init(slice *s, const dm_csd_maps *maps, const dm_mask *mask, size_t k)
{
    const size_t *shape = maps->gfa->grid.shape;
    size_t plane = shape[0] * shape[1];
    *s = (slice){.maps = maps, .k = k, .columns = (int)shape[0], .rows = (int)shape[1]};
    s->voxel = voxel_pixels(s->columns, s->rows);
    s->voxels = calloc(plane, sizeof *s->voxels);
    s->gfa = calloc(plane, sizeof *s->gfa);
    s->sh = calloc(plane * maps->coefficients->n_volumes, sizeof *s->sh);
    if (!s->voxels || !s->gfa || !s->sh) {
        slice_fini(s);
        return dmi_error(DM_ERR_NOMEM, "no memory for a slice");
    }
    for (size_t i = 0; i < mask->n; i++) {
        if (mask->voxels[i] / plane == k)
            s->voxels[s->n++] = mask->voxels[i];
    }
    dm_volume_gather(maps->gfa, s->n, s->voxels, s->gfa);
    dm_volume_gather(maps->coefficients, s->n, s->voxels, s->sh);
    choose_window(s);
    return DM_OK;
}

/* The upper left corner of a voxel in a panel that begins at (left, top). */
static void place(const slice *s, size_t i, int left, int top, int *x, int *y)
{
    size_t within = s->voxels[i] % ((size_t)s->columns * (size_t)s->rows);
    *x = left + (int)(within % (size_t)s->columns) * s->voxel;
    *y = top + (s->rows - 1 - (int)(within / (size_t)s->columns)) * s->voxel;
}

/* ---- the panels ---- */

/* From `darkest` to `brightest`, 0 to 255. */
static colour grey(double share, double darkest, double brightest)
{
    double clipped = share > 1 ? 1 : share > 0 ? share : 0; /* also of NaN */
    unsigned char level = (unsigned char)(darkest + clipped * (brightest - darkest) + 0.5);
    return (colour){level, level, level};
}

static void draw_gfa(const slice *s, picture *p, int left, int top, double darkest,
                     double brightest)
{
    picture_fill(p, left, top, s->columns * s->voxel, s->rows * s->voxel, (colour){0, 0, 0});
    for (size_t i = 0; i < s->n; i++) {
        int x, y;
        double share = (s->gfa[i] - s->low) / (s->high - s->low);
        place(s, i, left, top, &x, &y);
        picture_fill(p, x, y, s->voxel, s->voxel, grey(share, darkest, brightest));
    }
}

static dm_status draw_fodfs(const slice *s, glyph_mesh *mesh, picture *p, int left, int top)
{
    size_t coefficients = s->maps->coefficients->n_volumes;
    for (size_t i = 0; i < s->n; i++) {
        int x, y;
        place(s, i, left, top, &x, &y);
        DM_TRY(glyph_draw(mesh, s->sh + i * coefficients, p, x + s->voxel / 2., y + s->voxel / 2.,
                          0.48 * s->voxel));
    }
    return DM_OK;
}

static void draw_grey_bar(const slice *s, picture *p, int left, int top)
{
    enum { LENGTH = 160, HEIGHT = 14 };
    char text[16];
    snprintf(text, sizeof text, "%.2f", s->low);
    picture_text(p, left, top, 2, ink, text);
    left += picture_text_width(2, text) + 10;
    for (int i = 0; i < LENGTH; i++)
        picture_fill(p, left + i, top, 1, HEIGHT, grey(i / (LENGTH - 1.), 40, 255));
    snprintf(text, sizeof text, "%.2f", s->high);
    picture_text(p, left + LENGTH + 10, top, 2, ink, text);
}

static void draw_axes(picture *p, int left, int top)
{
    static const struct {
        const char *text;
        colour c;
    } axes[] = {{"X", {255, 70, 70}}, {"Y", {70, 230, 70}}, {"Z", {110, 130, 255}}};
    picture_text(p, left, top, 2, ink, "DIRECTION:");
    left += picture_text_width(2, "DIRECTION: ");
    for (size_t i = 0; i < sizeof axes / sizeof axes[0]; i++, left += 28)
        picture_text(p, left, top, 2, axes[i].c, axes[i].text);
}

/* ---- the whole ---- */

static dm_status draw(const slice *s, glyph_mesh *mesh, const char *title, picture *p)
{
    int width = s->columns * s->voxel, height = s->rows * s->voxel;
    int right = 2 * MARGIN + width, top = MARGIN + TITLE, below = top + height + 16;
    char text[128];
    snprintf(text, sizeof text, "GFA  %s  Z = %zu", title, s->k);
    picture_text(p, MARGIN, MARGIN, 2, ink, text);
    picture_text(p, right, MARGIN, 2, ink, "FIBRE ORIENTATIONS (CSD)");
    draw_gfa(s, p, MARGIN, top, 40, 255);
    draw_grey_bar(s, p, MARGIN, below);
    draw_gfa(s, p, right, top, 20, 95); /* darker, so that the glyphs stand out */
    draw_axes(p, right, below);
    return draw_fodfs(s, mesh, p, right, top);
}

static dm_status draw_slice(const slice *s, int lmax, const char *title, const char *path)
{
    int width = s->columns * s->voxel, height = s->rows * s->voxel;
    glyph_mesh *mesh;
    picture *p = NULL;
    DM_TRY(glyph_mesh_create(lmax, &mesh));
    dm_status status =
        picture_create(2 * width + 3 * MARGIN, MARGIN + TITLE + height + LEGEND, paper, &p);
    if (status == DM_OK)
        status = draw(s, mesh, title, p);
    if (status == DM_OK)
        status = picture_write_png(p, path);
    picture_destroy(p);
    glyph_mesh_destroy(mesh);
    return status;
}

dm_status fibre_picture_write(const dm_csd_maps *maps, const dm_mask *mask, int lmax,
                              const char *title, const char *path)
{
    size_t k = 0;
    slice s;
    DM_TRY(choose_slice(maps, mask, &k));
    DM_TRY(slice_init(&s, maps, mask, k));
    dm_status status = draw_slice(&s, lmax, title, path);
    slice_fini(&s);
    return status;
}
