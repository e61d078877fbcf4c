/*
 * picture.h - a picture of pixels in memory, the few shapes that the maps need, and its PNG file.
 *
 * Coordinates are pixels from the upper left corner; what lies outside is not drawn.
 */
#ifndef DM_PICTURE_H
#define DM_PICTURE_H

#include "dm/status.h"

typedef struct colour {
    unsigned char red, green, blue;
} colour;

typedef struct picture {
    int width, height;
    colour *pixels; /* row by row */
} picture;

/* A picture of one colour. Yours: picture_destroy (which takes NULL). */
dm_status picture_create(int width, int height, colour background, picture **out) DM_NODISCARD;
void picture_destroy(picture *p);

void picture_fill(picture *p, int x, int y, int width, int height, colour c);

/* One pixel, `share` of it in this colour (0: none, 1: all). */
void picture_mix(picture *p, int x, int y, colour c, double share);

/* Capitals, digits and a few signs, 7 pixels high times `size`; others are blanks. */
void picture_text(picture *p, int x, int y, int size, colour c, const char *text);
int picture_text_width(int size, const char *text);

/* Returns DM_ERR_IO naming the file. A file that could not be finished is removed. */
dm_status picture_write_png(const picture *p, const char *path) DM_NODISCARD;

#endif
