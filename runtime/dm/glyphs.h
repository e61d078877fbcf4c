/*
 * glyphs.h - a fibre orientation distribution (fODF) drawn as a solid shape: in every direction its
 * surface is as far from the centre as the fODF is large there, and coloured by that direction: red
 * along x, green along y, blue along z of the gradients' axes. Crossing fibres are lobes that cross.
 */
#ifndef DM_GLYPHS_H
#define DM_GLYPHS_H

#include "dm/status.h"
#include "runtime/dm/picture.h"

/* Directions around the sphere, the triangles between them, and the harmonics there. */
typedef struct glyph_mesh glyph_mesh;

/* For coefficients of even order up to lmax. Yours: glyph_mesh_destroy (which takes NULL). */
dm_status glyph_mesh_create(int lmax, glyph_mesh **out) DM_NODISCARD;
void glyph_mesh_destroy(glyph_mesh *mesh);

/*
 * Draw the fODF of these coefficients, its largest lobe `radius` pixels long, around (x, y). The
 * eye looks against the third axis: first axis to the right, second up. Coefficients that are not
 * numbers, or all 0, draw nothing.
 */
dm_status glyph_draw(glyph_mesh *mesh, const double *sh, picture *p, double x, double y,
                     double radius) DM_NODISCARD;

#endif
