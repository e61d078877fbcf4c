/*
 * glyphs.c - see glyphs.h. A small rasteriser: the mesh's triangles, seen without perspective, with
 * a depth per pixel, at three times the resolution of the picture.
 *
 * Does not know voxels or slices. A mesh has scratch memory in it: one thread at a time.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dm/models.h"
#include "runtime/dm/glyphs.h"

enum {
    EDGE = 40,   /* triangles along the edge of an octant: about two pixels each in a glyph of 60 */
    FINE = 3,    /* finer pixels along a pixel of the picture */
    OCTANTS = 8,
    OCTANT_VERTICES = (EDGE + 1) * (EDGE + 2) / 2,
    VERTICES = OCTANTS * OCTANT_VERTICES,
    TRIANGLES = OCTANTS * EDGE * EDGE
};

typedef struct point {
    double x, y, z;
} point;

struct glyph_mesh {
    int coefficients;
    dm_vector directions[VERTICES];
    int triangles[TRIANGLES][3];
    double *basis;            /* VERTICES x coefficients */
    point surface[VERTICES];  /* of the glyph being drawn, in fine pixels */
};

/* Fine pixels around a glyph: its colour, and how near to the eye it is there. */
typedef struct tile {
    int side;
    colour *colours;
    double *depths; /* -INFINITY: nothing there */
} tile;

/* ---- the mesh ---- */

static int vertex_of(int octant, int i, int j)
{
    return octant * OCTANT_VERTICES + i * (EDGE + 1) - i * (i - 1) / 2 + j;
}

static void octant_directions(glyph_mesh *mesh, int octant)
{
    for (int i = 0; i <= EDGE; i++) {
        for (int j = 0; i + j <= EDGE; j++) {
            int x = octant & 1 ? -i : i, y = octant & 2 ? -j : j;
            int z = octant & 4 ? i + j - EDGE : EDGE - i - j;
            double length = sqrt(x * x + y * y + z * z);
            double *direction = mesh->directions[vertex_of(octant, i, j)];
            direction[0] = x / length, direction[1] = y / length, direction[2] = z / length;
        }
    }
}

static void octant_triangles(glyph_mesh *mesh, int octant, int *count)
{
    for (int i = 0; i < EDGE; i++) {
        for (int j = 0; i + j < EDGE; j++) {
            int right = vertex_of(octant, i + 1, j), up = vertex_of(octant, i, j + 1);
            int *t = mesh->triangles[(*count)++];
            t[0] = vertex_of(octant, i, j), t[1] = right, t[2] = up;
            if (i + j + 1 == EDGE)
                continue;
            t = mesh->triangles[(*count)++];
            t[0] = vertex_of(octant, i + 1, j + 1), t[1] = up, t[2] = right;
        }
    }
}

dm_status glyph_mesh_create(int lmax, glyph_mesh **out)
{
    glyph_mesh *mesh = calloc(1, sizeof *mesh);
    double *basis = calloc(VERTICES * dm_sh_count(lmax), sizeof *basis);
    if (!mesh || !basis) {
        free(mesh);
        free(basis);
        return dmi_error(DM_ERR_NOMEM, "no memory for the mesh of a glyph");
    }
    mesh->coefficients = (int)dm_sh_count(lmax);
    mesh->basis = basis;
    int triangles = 0;
    for (int octant = 0; octant < OCTANTS; octant++) {
        octant_directions(mesh, octant);
        octant_triangles(mesh, octant, &triangles);
    }
    dm_status status =
        dm_sh_matrix(DM_SH_DESCOTEAUX07_LEGACY, lmax, VERTICES, mesh->directions, basis);
    if (status == DM_OK)
        *out = mesh;
    else
        glyph_mesh_destroy(mesh);
    return status;
}

void glyph_mesh_destroy(glyph_mesh *mesh)
{
    if (mesh)
        free(mesh->basis);
    free(mesh);
}

/* ---- the surface ---- */

static double odf_at(const glyph_mesh *mesh, const double *sh, int vertex)
{
    const double *basis = mesh->basis + (size_t)vertex * (size_t)mesh->coefficients;
    double sum = 0;
    for (int j = 0; j < mesh->coefficients; j++)
        sum += basis[j] * sh[j];
    return sum;
}

/* Negative values, which the constraint leaves small, lie in the centre. False: nothing to draw. */
static bool shape_surface(glyph_mesh *mesh, const double *sh, double radius)
{
    double largest = 0;
    for (int v = 0; v < VERTICES; v++) {
        double value = odf_at(mesh, sh, v);
        if (!isfinite(value))
            return false;
        mesh->surface[v].x = value > 0 ? value : 0; /* kept here until the largest is known */
        largest = value > largest ? value : largest;
    }
    if (largest <= 0)
        return false;
    for (int v = 0; v < VERTICES; v++) {
        const double *d = mesh->directions[v];
        double length = mesh->surface[v].x / largest * radius;
        mesh->surface[v] = (point){d[0] * length, d[1] * length, d[2] * length};
    }
    return true;
}

/* ---- colour ---- */

static point normal_of(const point *a, const point *b, const point *c)
{
    point u = {b->x - a->x, b->y - a->y, b->z - a->z};
    point v = {c->x - a->x, c->y - a->y, c->z - a->z};
    point n = {u.y * v.z - u.z * v.y, u.z * v.x - u.x * v.z, u.x * v.y - u.y * v.x};
    double length = sqrt(n.x * n.x + n.y * n.y + n.z * n.z);
    if (length == 0)
        return (point){0, 0, 0};
    return (point){n.x / length, n.y / length, n.z / length};
}

static unsigned char channel(double component, double light)
{
    double value = 255 * light * fabs(component);
    return (unsigned char)(value > 255 ? 255 : value);
}

/* The light comes from the eye and a little from the upper left, so that lobes look round. */
static colour lit(const double *direction, point normal)
{
    double towards = fabs(-0.30 * normal.x + 0.35 * normal.y + 0.89 * normal.z);
    double light = 0.45 + 0.65 * towards;
    return (colour){channel(direction[0], light), channel(direction[1], light),
                    channel(direction[2], light)};
}

/* ---- triangles into a tile ---- */

static double twice_area(double ax, double ay, double bx, double by, double cx, double cy)
{
    return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax);
}

static int least(double a, double b, double c)
{
    return (int)floor(fmin(a, fmin(b, c)));
}

static int most(double a, double b, double c)
{
    return (int)ceil(fmax(a, fmax(b, c)));
}

static void fill_triangle(tile *t, const point *a, const point *b, const point *c, colour hue)
{
    double area = twice_area(a->x, a->y, b->x, b->y, c->x, c->y);
    if (area == 0)
        return;
    int middle = t->side / 2;
    for (int y = least(a->y, b->y, c->y); y <= most(a->y, b->y, c->y); y++) {
        for (int x = least(a->x, b->x, c->x); x <= most(a->x, b->x, c->x); x++) {
            double wa = twice_area(x, y, b->x, b->y, c->x, c->y) / area;
            double wb = twice_area(a->x, a->y, x, y, c->x, c->y) / area;
            double wc = 1 - wa - wb;
            if (wa < -1e-9 || wb < -1e-9 || wc < -1e-9)
                continue;
            double depth = wa * a->z + wb * b->z + wc * c->z;
            int at = (middle - y) * t->side + middle + x; /* up is y, rows go down */
            if (depth <= t->depths[at])
                continue;
            t->depths[at] = depth;
            t->colours[at] = hue;
        }
    }
}

static void fill_surface(const glyph_mesh *mesh, tile *t)
{
    for (int i = 0; i < TRIANGLES; i++) {
        const int *v = mesh->triangles[i];
        const point *a = &mesh->surface[v[0]], *b = &mesh->surface[v[1]], *c = &mesh->surface[v[2]];
        fill_triangle(t, a, b, c, lit(mesh->directions[v[0]], normal_of(a, b, c)));
    }
}

/* ---- a tile onto the picture ---- */

/* A pixel takes the mean colour of its fine pixels, by the share of them that the glyph covers. */
static void lay_pixel(const tile *t, int column, int row, picture *p, int x, int y)
{
    int red = 0, green = 0, blue = 0, covered = 0;
    for (int i = 0; i < FINE * FINE; i++) {
        int at = (row * FINE + i / FINE) * t->side + column * FINE + i % FINE;
        if (t->depths[at] == -INFINITY)
            continue;
        red += t->colours[at].red, green += t->colours[at].green, blue += t->colours[at].blue;
        covered++;
    }
    if (!covered)
        return;
    colour mean = {(unsigned char)(red / covered), (unsigned char)(green / covered),
                   (unsigned char)(blue / covered)};
    picture_mix(p, x, y, mean, covered / (double)(FINE * FINE));
}

static void lay_tile(const tile *t, picture *p, int x, int y)
{
    int side = t->side / FINE;
    for (int row = 0; row < side; row++) {
        for (int column = 0; column < side; column++)
            lay_pixel(t, column, row, p, x - side / 2 + column, y - side / 2 + row);
    }
}

dm_status glyph_draw(glyph_mesh *mesh, const double *sh, picture *p, double x, double y,
                     double radius)
{
    if (!shape_surface(mesh, sh, radius * FINE))
        return DM_OK;
    int side = (2 * ((int)ceil(radius) + 2) + 1) * FINE;
    tile t = {.side = side};
    size_t count = (size_t)side * (size_t)side;
    t.colours = malloc(count * sizeof *t.colours);
    t.depths = malloc(count * sizeof *t.depths);
    dm_status status = DM_OK;
    if (t.colours && t.depths) {
        for (size_t i = 0; i < count; i++)
            t.depths[i] = -INFINITY;
        fill_surface(mesh, &t);
        lay_tile(&t, p, (int)lround(x), (int)lround(y));
    } else {
        status = dmi_error(DM_ERR_NOMEM, "no memory to draw a glyph");
    }
    free(t.colours);
    free(t.depths);
    return status;
}
