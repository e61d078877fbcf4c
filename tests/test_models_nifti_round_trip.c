/*
 * test_models_nifti_round_trip.c - what is written is read again, in every type, byte order and
 * scaling, with the place of its voxels in space.
 */
#include "test_models_golden.h"

#include <zlib.h>

enum { N = 2 * 3 * 4 * 2, HEADER = 352 };

static const dm_grid grid = {
    .shape = {2, 3, 4},
    .pixdim = {-1, 1.25f, 1.5f, 2.75f, 3, 0, 0, 0},
    .xyzt_units = 10,
    .qform_code = 1,
    .sform_code = 4,
    .quaternion = {0.1f, -0.2f, 0.3f},
    .offset = {-90.5f, 126, -72.25f},
    .sform = {{-1.25f, 0, 0.125f, 90}, {0, 1.5f, 0, -126}, {0.0625f, 0, 2.75f, -72}},
};

static dm_volume *make_image(dm_volume_type type)
{
    size_t voxels[N / 2];
    double values[N];
    dm_volume *image;
    assert_dm_ok(dm_volume_create(&grid, 2, type, &image));
    for (size_t k = 0; k < N; k++)
        values[k] = k == 5 ? 1e30 : k == 6 ? -1e30 : (double)k;
    for (size_t i = 0; i < N / 2; i++)
        voxels[i] = i;
    dm_volume_scatter(image, N / 2, voxels, values);
    return image;
}

static size_t type_bytes(dm_volume_type type)
{
    static const size_t bytes[DM_VOLUME_TYPE_COUNT] = {1, 1, 2, 2, 4, 4, 8, 8, 4, 8};
    return bytes[type];
}

static void assert_same_image(const dm_volume *a, const dm_volume *b)
{
    assert_memory_equal(&a->grid, &b->grid, sizeof a->grid);
    assert_int_equal(a->n_voxels, b->n_voxels);
    assert_int_equal(a->n_volumes, b->n_volumes);
    assert_int_equal(a->type, b->type);
    assert_true(a->slope == b->slope && a->inter == b->inter);
    assert_memory_equal(a->data, b->data, a->n_voxels * a->n_volumes * type_bytes(a->type));
}

static void every_type_comes_back(void **state)
{
    (void)state;
    static const char *const paths[] = {"map.nii", "map.nii.gz"};
    for (dm_volume_type type = 0; type < DM_VOLUME_TYPE_COUNT; type++)
        for (int k = 0; k < 2; k++) {
            dm_volume *image = make_image(type), *again;
            assert_dm_ok(dm_volume_write(image, paths[k], false));
            assert_dm_ok(dm_volume_read(paths[k], &again));
            assert_same_image(image, again);
            dm_volume_destroy(image);
            dm_volume_destroy(again);
            remove(paths[k]);
        }
}

static void compressed_means_compressed(void **state)
{
    (void)state;
    dm_volume *image = make_image(DM_VOLUME_F64);
    unsigned char first[2];
    assert_dm_ok(dm_volume_write(image, "map.nii.gz", false));
    FILE *file = fopen("map.nii.gz", "rb");
    assert_int_equal(fread(first, 1, 2, file), 2);
    fclose(file);
    assert_true(first[0] == 0x1f && first[1] == 0x8b);
    remove("map.nii.gz");
    dm_volume_destroy(image);
}

static void integers_round_and_clip(void **state)
{
    (void)state;
    const dm_grid one = {.shape = {1, 1, 1}};
    const size_t voxel = 0;
    const double values[6] = {2.5, 3.5, -0.6, 300, -300, NAN};
    const double u8[6] = {2, 4, 0, 255, 0, 0}, i8[6] = {2, 4, -1, 127, -128, 0};
    const double big[2] = {1e19, -1e19};
    double found[6];
    dm_volume *image;
    assert_dm_ok(dm_volume_create(&one, 6, DM_VOLUME_U8, &image));
    dm_volume_scatter(image, 1, &voxel, values);
    dm_volume_gather(image, 1, &voxel, found);
    assert_memory_equal(found, u8, sizeof u8);
    dm_volume_destroy(image);
    assert_dm_ok(dm_volume_create(&one, 6, DM_VOLUME_I8, &image));
    dm_volume_scatter(image, 1, &voxel, values);
    dm_volume_gather(image, 1, &voxel, found);
    assert_memory_equal(found, i8, sizeof i8);
    dm_volume_destroy(image);
    assert_dm_ok(dm_volume_create(&one, 2, DM_VOLUME_I64, &image));
    dm_volume_scatter(image, 1, &voxel, big);
    assert_true(((int64_t *)image->data)[0] == INT64_MAX &&
                ((int64_t *)image->data)[1] == INT64_MIN);
    dm_volume_destroy(image);
}

/* Turns the bytes of n elements. */
static void turn(unsigned char *bytes, size_t n, size_t width)
{
    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < width / 2; i++) {
            unsigned char *a = bytes + k * width + i, *b = bytes + (k + 1) * width - 1 - i;
            const unsigned char kept = *a;
            *a = *b;
            *b = kept;
        }
}

/* A header as a machine of the other byte order writes it. */
static void turn_header(unsigned char *h)
{
    turn(h, 1, 4);            /* sizeof_hdr */
    turn(h + 40, 8, 2);       /* dim */
    turn(h + 68, 4, 2);       /* intent_code to slice_start */
    turn(h + 76, 8 + 3, 4);   /* pixdim, vox_offset, scl_slope, scl_inter */
    turn(h + 252, 2, 2);      /* qform_code, sform_code */
    turn(h + 256, 6 + 12, 4); /* quaternion, offset, srow */
}

static size_t read_file(const char *path, unsigned char *bytes, size_t room)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    const size_t n = fread(bytes, 1, room, file);
    fclose(file);
    return n;
}

static void the_other_byte_order_is_read(void **state)
{
    (void)state;
    for (dm_volume_type type = 0; type < DM_VOLUME_TYPE_COUNT; type++) {
        dm_volume *image = make_image(type), *again;
        unsigned char bytes[HEADER + N * 8];
        assert_dm_ok(dm_volume_write(image, "map.nii", false));
        const size_t n = read_file("map.nii", bytes, sizeof bytes);
        turn_header(bytes);
        turn(bytes + HEADER, N, type_bytes(type));
        write_bytes("map.nii", bytes, n);
        assert_dm_ok(dm_volume_read("map.nii", &again));
        assert_same_image(image, again);
        dm_volume_destroy(image);
        dm_volume_destroy(again);
        remove("map.nii");
    }
}

static void check_scaling(float slope, float inter, double expected_slope, double expected_inter)
{
    dm_volume *image = make_image(DM_VOLUME_I16), *again;
    unsigned char bytes[HEADER + N * 2];
    assert_dm_ok(dm_volume_write(image, "map.nii", false));
    const size_t n = read_file("map.nii", bytes, sizeof bytes);
    memcpy(bytes + 112, &slope, sizeof slope);
    memcpy(bytes + 116, &inter, sizeof inter);
    write_bytes("map.nii", bytes, n);
    assert_dm_ok(dm_volume_read("map.nii", &again));
    const size_t voxel = 4;
    double values[2];
    dm_volume_gather(again, 1, &voxel, values);
    assert_true(values[0] == 8 * expected_slope + expected_inter);
    assert_true(values[1] == 9 * expected_slope + expected_inter);
    dm_volume_destroy(image);
    dm_volume_destroy(again);
    remove("map.nii");
}

static void scaling_is_applied(void **state)
{
    (void)state;
    check_scaling(0.5f, -3, 0.5, -3);
    check_scaling(0, 7, 1, 0);
    check_scaling(NAN, NAN, 1, 0);
    check_scaling(2, NAN, 2, 0);
}

static void extensions_are_skipped(void **state)
{
    (void)state;
    dm_volume *image = make_image(DM_VOLUME_F32), *again;
    unsigned char bytes[HEADER + 5000 + N * 4] = {0}, *data = bytes + HEADER + 5000;
    const float offset = HEADER + 5000;
    assert_dm_ok(dm_volume_write(image, "map.nii", false));
    assert_int_equal(read_file("map.nii", bytes, HEADER), HEADER);
    memcpy(bytes + 108, &offset, sizeof offset);
    memcpy(data, image->data, N * 4);
    gzFile gz = gzopen("map.nii.gz", "wb");
    assert_int_equal(gzwrite(gz, bytes, sizeof bytes), sizeof bytes);
    gzclose(gz);
    assert_dm_ok(dm_volume_read("map.nii.gz", &again));
    assert_same_image(image, again);
    dm_volume_destroy(image);
    dm_volume_destroy(again);
    remove("map.nii");
    remove("map.nii.gz");
}

static void one_volume_is_three_dimensions(void **state)
{
    (void)state;
    dm_volume *image, *again;
    short dim[2];
    unsigned char bytes[HEADER];
    assert_dm_ok(dm_volume_create(&grid, 1, DM_VOLUME_U8, &image));
    assert_dm_ok(dm_volume_write(image, "mask.nii", false));
    assert_int_equal(read_file("mask.nii", bytes, sizeof bytes), HEADER);
    memcpy(dim, bytes + 40, sizeof dim);
    assert_int_equal(dim[0], 3);
    assert_dm_ok(dm_volume_read("mask.nii", &again));
    assert_same_image(image, again);
    dm_volume_destroy(image);
    dm_volume_destroy(again);
    remove("mask.nii");
}

static void overwriting_replaces_the_whole_file(void **state)
{
    (void)state;
    dm_volume *large = make_image(DM_VOLUME_F64), *small = make_image(DM_VOLUME_U8), *again;
    assert_dm_ok(dm_volume_write(large, "map.nii", true));
    assert_dm_ok(dm_volume_write(small, "map.nii", true));
    assert_dm_ok(dm_volume_read("map.nii", &again));
    assert_same_image(small, again);
    dm_volume_destroy(again);
    dm_volume_destroy(large);
    dm_volume_destroy(small);
    remove("map.nii");
}

static void masks_list_what_is_above_zero(void **state)
{
    (void)state;
    const dm_grid line = {.shape = {5, 1, 1}};
    const size_t voxels[5] = {0, 1, 2, 3, 4};
    const double values[5] = {0, 1, NAN, -1, 0.25};
    dm_volume *image;
    dm_mask *mask;
    assert_dm_ok(dm_volume_create(&line, 1, DM_VOLUME_F32, &image));
    dm_volume_scatter(image, 5, voxels, values);
    assert_dm_ok(dm_volume_write(image, "mask.nii.gz", false));
    assert_dm_ok(dm_mask_read("mask.nii.gz", image, &mask));
    assert_int_equal(mask->n, 2);
    assert_true(mask->voxels[0] == 1 && mask->voxels[1] == 4);
    dm_mask_destroy(mask);
    assert_dm_ok(dm_mask_all(image, &mask));
    assert_int_equal(mask->n, 5);
    dm_mask_destroy(mask);
    dm_volume_destroy(image);
    remove("mask.nii.gz");
}

static void images_that_cannot_be_are_refused(void **state)
{
    (void)state;
    dm_volume *image = NULL;
    const dm_grid none = {.shape = {0, 1, 1}}, huge = {.shape = {SIZE_MAX / 2, 3, 1}};
    assert_dm_error(dm_volume_create(&none, 1, DM_VOLUME_U8, &image), DM_ERR_INVALID, "0 x 1 x 1");
    assert_dm_error(dm_volume_create(&huge, 1, DM_VOLUME_U8, &image), DM_ERR_INVALID, "cannot be");
    assert_dm_error(dm_volume_create(&grid, 1, DM_VOLUME_TYPE_COUNT, &image), DM_ERR_INVALID,
                    "type");
    assert_null(image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_comes_back),
        cmocka_unit_test(compressed_means_compressed),
        cmocka_unit_test(integers_round_and_clip),
        cmocka_unit_test(the_other_byte_order_is_read),
        cmocka_unit_test(scaling_is_applied),
        cmocka_unit_test(extensions_are_skipped),
        cmocka_unit_test(one_volume_is_three_dimensions),
        cmocka_unit_test(overwriting_replaces_the_whole_file),
        cmocka_unit_test(masks_list_what_is_above_zero),
        cmocka_unit_test(images_that_cannot_be_are_refused),
    };
    return cmocka_run_group_tests(tests, enter_own_directory, leave_own_directory);
}
