/*
 * test_models_nifti_refuses.c - a file that is not what it should be is a status that names it, and
 * never a crash, a word on stderr, memory by the word of a header, or half a file.
 */
#include "test_models_golden.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <zlib.h>

/* Places of fields in a NIfTI-1 header. */
enum { DIM = 40, DATATYPE = 70, VOX_OFFSET = 108, MAGIC = 344, HEADER = 352 };

enum { VALUES = 3 * 4 * 5 * 6, BYTES = HEADER + VALUES * 2 };

/* A good file of 3 x 4 x 5 x 6 int16, to be spoilt. */
static void good_bytes(unsigned char *bytes)
{
    const dm_grid grid = {.shape = {3, 4, 5}, .pixdim = {1, 2, 2, 2, 1}};
    dm_volume *image;
    assert_dm_ok(dm_volume_create(&grid, 6, DM_VOLUME_I16, &image));
    for (int16_t k = 0; k < VALUES; k++)
        ((int16_t *)image->data)[k] = (int16_t)(k * 7919);
    assert_dm_ok(dm_volume_write(image, "good.nii", false));
    dm_volume_destroy(image);
    FILE *file = fopen("good.nii", "rb");
    assert_non_null(file);
    assert_int_equal(fread(bytes, 1, BYTES + 1, file), BYTES);
    fclose(file);
    remove("good.nii");
}

static size_t open_descriptors(void)
{
    size_t n = 0;
    DIR *directory = opendir("/proc/self/fd");
    assert_non_null(directory);
    while (readdir(directory))
        n++;
    closedir(directory);
    return n;
}

/* Reading fails so, prints nothing and leaves no descriptor open. */
static void check_read(const char *path, dm_status expected, const char *words)
{
    dm_volume *image = NULL;
    const size_t descriptors = open_descriptors();
    fflush(stderr);
    const int stderr_copy = dup(2), log = open("stderr.log", O_CREAT | O_TRUNC | O_RDWR, 0600);
    dup2(log, 2);
    const dm_status found = dm_volume_read(path, &image);
    fflush(stderr);
    dup2(stderr_copy, 2);
    const off_t printed = lseek(log, 0, SEEK_END);
    close(stderr_copy);
    close(log);
    remove("stderr.log");
    if (found != expected)
        fail_msg("%s: %s (%s) instead of %s", words, dm_status_name(found), dm_last_error(),
                 dm_status_name(expected));
    if (!strstr(dm_last_error(), words) || !strstr(dm_last_error(), path))
        fail_msg("\"%s\" says nothing of \"%s\" or of %s", dm_last_error(), words, path);
    assert_null(image);
    assert_int_equal(printed, 0);
    assert_int_equal(open_descriptors(), descriptors);
}

static void check_bytes(const void *bytes, size_t n, const char *words)
{
    write_bytes("bad.nii", bytes, n);
    check_read("bad.nii", DM_ERR_FORMAT, words);
    remove("bad.nii");
}

/* The good file with `n` bytes changed. */
static void check_changed(size_t at, const void *change, size_t n, const char *words)
{
    unsigned char bytes[BYTES + 1];
    good_bytes(bytes);
    memcpy(bytes + at, change, n);
    check_bytes(bytes, BYTES, words);
}

static void check_short(size_t at, short value, const char *words)
{
    check_changed(at, &value, sizeof value, words);
}

static void files_that_are_no_images(void **state)
{
    (void)state;
    check_read("absent.nii", DM_ERR_IO, "cannot be opened");
    check_read(".", DM_ERR_IO, "not a regular file");
    check_bytes("", 0, "ends after 0 bytes");
    check_bytes("0 1000 2000\n", 12, "ends after 12 bytes");
    char text[1000];
    memset(text, 'x', sizeof text);
    check_bytes(text, sizeof text, "not a NIfTI-1 file");
    const int nifti2 = 540;
    check_changed(0, &nifti2, sizeof nifti2, "found NIfTI-2");
    check_changed(MAGIC, "ni1", 4, ".hdr/.img pair");
    check_changed(MAGIC, "n+2", 4, "magic");
}

static void shapes_that_cannot_be(void **state)
{
    (void)state;
    check_short(DIM, 0, "0 dimensions");
    check_short(DIM, 8, "8 dimensions");
    check_short(DIM, -1, "-1 dimensions");
    check_short(DIM + 2, 0, "size 0 in dimension 1");
    check_short(DIM + 8, -6, "size -6 in dimension 4");
    const short five[6] = {5, 3, 4, 5, 6, 2};
    check_changed(DIM, five, sizeof five, "at most 4 dimensions");
    check_short(DATATYPE, 32, "type 32");
    check_short(DATATYPE, 128, "type 128");
    const float offsets[4] = {0, NAN, INFINITY, -352};
    for (int k = 0; k < 4; k++)
        check_changed(VOX_OFFSET, &offsets[k], sizeof(float), "data begin at byte");
}

/* 2^45 voxels are promised by 352 bytes: asking for so much memory would be DM_ERR_NOMEM. */
static void headers_are_not_believed(void **state)
{
    (void)state;
    const short huge[5] = {4, 32767, 32767, 32767, 1}, most[5] = {4, 32767, 32767, 32767, 32767};
    const float far = 2e9f;
    check_changed(DIM, huge, sizeof huge, "cut off");
    check_changed(DIM, most, sizeof most, "");
    check_changed(VOX_OFFSET, &far, sizeof far, "cut off");

    unsigned char bytes[BYTES + 1];
    good_bytes(bytes);
    memcpy(bytes + DIM, huge, sizeof huge);
    gzFile gz = gzopen("bad.nii.gz", "wb");
    assert_int_equal(gzwrite(gz, bytes, BYTES), BYTES);
    gzclose(gz);
    check_read("bad.nii.gz", DM_ERR_FORMAT, "cut off");
    remove("bad.nii.gz");
}

static void files_that_are_cut_off(void **state)
{
    (void)state;
    unsigned char bytes[BYTES + 1];
    good_bytes(bytes);
    check_bytes(bytes, BYTES - 1, "cut off");
    check_bytes(bytes, HEADER, "found 0 bytes of data");
    check_bytes(bytes, 350, "cut off");
    check_bytes(bytes, 100, "ends after 100 bytes");
}

/* The good file compressed; returns its size. */
static size_t compressed_bytes(unsigned char *compressed, size_t room)
{
    unsigned char bytes[BYTES + 1];
    good_bytes(bytes);
    gzFile gz = gzopen("good.nii.gz", "wb");
    assert_int_equal(gzwrite(gz, bytes, BYTES), BYTES);
    gzclose(gz);
    FILE *file = fopen("good.nii.gz", "rb");
    const size_t n = fread(compressed, 1, room, file);
    fclose(file);
    remove("good.nii.gz");
    return n;
}

static void compressed_files_that_are_damaged(void **state)
{
    (void)state;
    unsigned char gz[2 * BYTES];
    const size_t n = compressed_bytes(gz, sizeof gz);
    dm_volume *image = NULL;
    write_bytes("bad.nii.gz", gz, n);
    assert_dm_ok(dm_volume_read("bad.nii.gz", &image));
    dm_volume_destroy(image);
    const size_t cuts[] = {n - 1, n - 4, n - 8, n - 9, n / 2, n / 4};
    for (size_t k = 0; k < sizeof cuts / sizeof *cuts; k++) {
        write_bytes("bad.nii.gz", gz, cuts[k]);
        check_read("bad.nii.gz", DM_ERR_FORMAT, "get the file again");
    }
    /* The checksum at the end, and a byte in the middle. */
    const size_t places[] = {n - 5, n - 8, n / 2};
    for (size_t k = 0; k < sizeof places / sizeof *places; k++) {
        gz[places[k]] ^= 0x10;
        write_bytes("bad.nii.gz", gz, n);
        check_read("bad.nii.gz", DM_ERR_FORMAT, "");
        gz[places[k]] ^= 0x10;
    }
    remove("bad.nii.gz");
}

static void images_of_the_wrong_shape(void **state)
{
    (void)state;
    golden g = golden_open("s64");
    dm_volume *image = NULL;
    dm_mask *mask = NULL;
    assert_dm_error(dm_dwi_read(golden_path("s64", "mask.nii.gz"), g.gradients, &image),
                    DM_ERR_FORMAT, "a 3-D image of 1 volume, expected 65");
    assert_dm_error(dm_dwi_read(golden_path("s101", "dwi.nii.gz"), g.gradients, &image),
                    DM_ERR_FORMAT, "102 volumes, expected 65");
    assert_dm_error(dm_mask_read(golden_path("s101", "mask.nii.gz"), g.dwi, &mask), DM_ERR_FORMAT,
                    "6 x 10 x 10");
    assert_dm_error(dm_mask_read(golden_path("s64", "dwi.nii.gz"), g.dwi, &mask), DM_ERR_FORMAT,
                    "65 volume(s)");
    assert_dm_error(dm_mask_read("absent.nii", g.dwi, &mask), DM_ERR_IO, "absent.nii");
    assert_null(image);
    assert_null(mask);
    golden_close(&g);
}

static dm_volume *small_image(void)
{
    const dm_grid grid = {.shape = {20, 20, 20}};
    dm_volume *image;
    assert_dm_ok(dm_volume_create(&grid, 3, DM_VOLUME_F64, &image));
    for (size_t k = 0; k < 24000; k++)
        ((double *)image->data)[k] = sin((double)k);
    return image;
}

static void outputs_that_may_not_be_written(void **state)
{
    (void)state;
    dm_volume *image = small_image();
    const size_t descriptors = open_descriptors();
    write_text("there.nii", "precious");
    assert_dm_error(dm_volume_write(image, "there.nii", false), DM_ERR_IO,
                    "there.nii: exists already");
    FILE *file = fopen("there.nii", "rb");
    char text[9] = "";
    assert_int_equal(fread(text, 1, 8, file), 8);
    fclose(file);
    assert_string_equal(text, "precious");
    remove("there.nii");
    assert_dm_error(dm_volume_write(image, "map.img", false), DM_ERR_INVALID, ".nii or .nii.gz");
    assert_dm_error(dm_volume_write(image, ".nii", false), DM_ERR_INVALID, ".nii or .nii.gz");
    assert_dm_error(dm_volume_write(image, "absent/map.nii", false), DM_ERR_IO, "absent/map.nii");
    image->grid.shape[0] = 40000;
    assert_dm_error(dm_volume_write(image, "map.nii", false), DM_ERR_INVALID, "size 40000");
    image->grid.shape[0] = 20;
    assert_int_equal(open_descriptors(), descriptors);
    dm_volume_destroy(image);
}

/* A full disk, played by a limit on the size of files. The directory must be empty afterwards. */
static void a_full_disk_leaves_nothing(void **state)
{
    (void)state;
    dm_volume *image = small_image();
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){10000, before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const dm_status plain = dm_volume_write(image, "map.nii", false);
    const dm_status compressed = dm_volume_write(image, "map.nii.gz", false);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(plain, DM_ERR_IO);
    assert_int_equal(compressed, DM_ERR_IO);
    assert_int_not_equal(access("map.nii", F_OK), 0);
    assert_int_not_equal(access("map.nii.gz", F_OK), 0);
    dm_volume_destroy(image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_that_are_no_images),
        cmocka_unit_test(shapes_that_cannot_be),
        cmocka_unit_test(headers_are_not_believed),
        cmocka_unit_test(files_that_are_cut_off),
        cmocka_unit_test(compressed_files_that_are_damaged),
        cmocka_unit_test(images_of_the_wrong_shape),
        cmocka_unit_test(outputs_that_may_not_be_written),
        cmocka_unit_test(a_full_disk_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, enter_own_directory, leave_own_directory);
}
