/*
 * picture.c - see picture.h. The only file that knows libpng, and the home of a small font.
 *
 * Does not know what is drawn. Runs in the driver's process, one thread per picture.
 */
#include <errno.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/dm/picture.h"

dm_status picture_create(int width, int height, colour background, picture **out)
{
    picture *p = malloc(sizeof *p);
    colour *pixels = malloc((size_t)width * (size_t)height * sizeof *pixels);
    if (!p || !pixels) {
        free(p);
        free(pixels);
        return dmi_error(DM_ERR_NOMEM, "no memory for a picture of %d x %d pixels", width, height);
    }
    *p = (picture){.width = width, .height = height, .pixels = pixels};
    picture_fill(p, 0, 0, width, height, background);
    *out = p;
    return DM_OK;
}

void picture_destroy(picture *p)
{
    if (p)
        free(p->pixels);
    free(p);
}

static colour *pixel_at(picture *p, int x, int y)
{
    if (x < 0 || y < 0 || x >= p->width || y >= p->height)
        return NULL;
    return &p->pixels[(size_t)y * (size_t)p->width + (size_t)x];
}

void picture_fill(picture *p, int x, int y, int width, int height, colour c)
{
    for (int row = y; row < y + height; row++) {
        for (int column = x; column < x + width; column++)
            picture_mix(p, column, row, c, 1);
    }
}

static unsigned char mixed(unsigned char below, unsigned char above, double share)
{
    return (unsigned char)(below + (above - below) * share + 0.5);
}

void picture_mix(picture *p, int x, int y, colour c, double share)
{
    colour *at = pixel_at(p, x, y);
    if (!at)
        return;
    *at = (colour){mixed(at->red, c.red, share), mixed(at->green, c.green, share),
                   mixed(at->blue, c.blue, share)};
}

/* ---- text: 5 x 7 dots a sign, one byte a row, the lowest five bits, left dot highest ---- */

enum { FONT_WIDTH = 5, FONT_HEIGHT = 7, FONT_STEP = 6 };

static const char font_signs[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:-=/()+%";
static const unsigned char font_rows[sizeof font_signs - 1][FONT_HEIGHT] = {
    {14, 17, 17, 31, 17, 17, 17}, {30, 17, 17, 30, 17, 17, 30}, {14, 17, 16, 16, 16, 17, 14},
    {30, 17, 17, 17, 17, 17, 30}, {31, 16, 16, 30, 16, 16, 31}, {31, 16, 16, 30, 16, 16, 16},
    {14, 17, 16, 23, 17, 17, 15}, {17, 17, 17, 31, 17, 17, 17}, {14, 4, 4, 4, 4, 4, 14},
    {7, 2, 2, 2, 2, 18, 12},      {17, 18, 20, 24, 20, 18, 17}, {16, 16, 16, 16, 16, 16, 31},
    {17, 27, 21, 21, 17, 17, 17}, {17, 25, 21, 19, 17, 17, 17}, {14, 17, 17, 17, 17, 17, 14},
    {30, 17, 17, 30, 16, 16, 16}, {14, 17, 17, 17, 21, 18, 13}, {30, 17, 17, 30, 20, 18, 17},
    {15, 16, 16, 14, 1, 1, 30},   {31, 4, 4, 4, 4, 4, 4},       {17, 17, 17, 17, 17, 17, 14},
    {17, 17, 17, 17, 17, 10, 4},  {17, 17, 17, 21, 21, 27, 17}, {17, 17, 10, 4, 10, 17, 17},
    {17, 17, 10, 4, 4, 4, 4},     {31, 1, 2, 4, 8, 16, 31},     {14, 17, 19, 21, 25, 17, 14},
    {4, 12, 4, 4, 4, 4, 14},      {14, 17, 1, 6, 8, 16, 31},    {14, 17, 1, 6, 1, 17, 14},
    {2, 6, 10, 18, 31, 2, 2},     {31, 16, 30, 1, 1, 17, 14},   {6, 8, 16, 30, 17, 17, 14},
    {31, 1, 2, 4, 8, 8, 8},       {14, 17, 17, 14, 17, 17, 14}, {14, 17, 17, 15, 1, 2, 12},
    {0, 0, 0, 0, 0, 12, 12},      {0, 0, 0, 0, 12, 4, 8},       {0, 12, 12, 0, 12, 12, 0},
    {0, 0, 0, 14, 0, 0, 0},       {0, 0, 31, 0, 31, 0, 0},      {1, 1, 2, 4, 8, 16, 16},
    {2, 4, 8, 8, 8, 4, 2},        {8, 4, 2, 2, 2, 4, 8},        {0, 4, 4, 31, 4, 4, 0},
    {24, 25, 2, 4, 8, 19, 3},
};

static void sign(picture *p, int x, int y, int size, colour c, const unsigned char *rows)
{
    for (int row = 0; row < FONT_HEIGHT; row++) {
        for (int column = 0; column < FONT_WIDTH; column++) {
            if (rows[row] >> (FONT_WIDTH - 1 - column) & 1)
                picture_fill(p, x + column * size, y + row * size, size, size, c);
        }
    }
}

void picture_text(picture *p, int x, int y, int size, colour c, const char *text)
{
    for (; *text; text++, x += FONT_STEP * size) {
        const char *found = strchr(font_signs, *text);
        if (found)
            sign(p, x, y, size, c, font_rows[found - font_signs]);
    }
}

int picture_text_width(int size, const char *text)
{
    int signs = (int)strlen(text);
    return signs ? (signs * FONT_STEP - (FONT_STEP - FONT_WIDTH)) * size : 0;
}

/* ---- PNG ---- */

dm_status picture_write_png(const picture *p, const char *path)
{
    png_image image = {
        .version = PNG_IMAGE_VERSION,
        .width = (png_uint_32)p->width,
        .height = (png_uint_32)p->height,
        .format = PNG_FORMAT_RGB,
    };
    errno = 0;
    if (png_image_write_to_file(&image, path, 0, p->pixels, 0, NULL))
        return DM_OK;
    int reason = errno;
    remove(path);
    return dmi_error(DM_ERR_IO, "%s: a picture could not be written: %s%s%s", path, image.message,
                     reason ? ": " : "", reason ? strerror(reason) : "");
}
